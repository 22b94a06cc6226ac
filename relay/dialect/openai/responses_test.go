package openai_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/llm"
)

var responsesCodec = convtest.Codec{
	Dialect: llm.OpenAIResponses, Frontend: openai.Responses{}, Client: openai.Responses{}, Provider: openai.ResponsesBackend{},
}

var responsesFeatures = convtest.Features{
	Dialect: llm.OpenAIResponses, SystemInPlace: true, Developer: true, Images: true, ImageURLs: true, Documents: true, Thinking: true,
	Refusals: true, Custom: true, ResultMedia: true, FreeArgs: true, Sampling: true, Schema: true, Effort: true, Parallel: true,
	User: true, ChoiceNamed: true,
}

var providerOptions = dialect.EncodeOptions{Model: "upstream-model", MaxOutput: 32000}

func TestResponsesRequestsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		convtest.RoundTripRequest(rapidTB{t, rt}, responsesCodec, convtest.Requests(responsesFeatures).Draw(rt, "request"), providerOptions)
	})
}

func TestResponsesAnswersRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		convtest.RoundTripResponse(rapidTB{t, rt}, responsesCodec, convtest.Responses(responsesFeatures).Draw(rt, "answer"))
	})
}

func TestResponsesStreamsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		r := convtest.Responses(responsesFeatures).Draw(rt, "answer")
		convtest.RoundTripEvents(rapidTB{t, rt}, responsesCodec, convtest.Stream(rt, r))
	})
}

// rapidTB lets the harness, which wants a testing.TB, fail a rapid check.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (t rapidTB) Helper()                      {}
func (t rapidTB) Fatal(args ...any)            { t.rt.Fatal(args...) }
func (t rapidTB) Fatalf(f string, args ...any) { t.rt.Fatalf(f, args...) }
func (t rapidTB) Errorf(f string, args ...any) { t.rt.Errorf(f, args...) }
func (t rapidTB) Error(args ...any)            { t.rt.Error(args...) }

// recorded is a real answer of OpenAI (see the README beside the data).
type recorded struct {
	name    string
	Stream  bool `json:"stream"`
	Status  int  `json:"status"`
	Request struct {
		Body json.RawMessage `json:"body"`
	} `json:"request"`
	Response struct {
		Body json.RawMessage `json:"body"`
	} `json:"response"`
}

func (r *recorded) body() []byte {
	var s string
	if json.Unmarshal(r.Response.Body, &s) != nil {
		return r.Response.Body
	}
	if raw, err := base64.StdEncoding.DecodeString(s); err == nil && len(s) > 40 {
		return raw
	}
	return []byte(s)
}

func recordedResponses(t testing.TB) []*recorded {
	t.Helper()
	root := filepath.Join("..", "..", "..", "..", "shared", "data", "recordings", "openai", "responses")
	files, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("recorded answers are not here (../shared/data/recordings): skipping")
	} else if err != nil {
		t.Fatal(err)
	}
	var out []*recorded
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(root, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		r := &recorded{name: f.Name()}
		if err := json.Unmarshal(b, r); err != nil {
			t.Fatal(err)
		}
		if r.Status == 200 {
			out = append(out, r)
		}
	}
	return out
}

// Every recorded request, answer and stream means the same after a trip through the canonical model.
func TestResponsesRecordings(t *testing.T) {
	t.Parallel()
	for _, r := range recordedResponses(t) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			req, err := convtest.DecodeRequest(responsesCodec, llm.OpGenerate, r.Request.Body)
			if err != nil {
				t.Fatalf("request: %v", err)
			}
			convtest.RoundTripRequest(t, responsesCodec, req, providerOptions)
			if !r.Stream {
				a, err := openai.ResponsesBackend{}.DecodeResponse(llm.OpGenerate, r.body(), dialect.DecodeOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if len(a.Choices[0].Parts) == 0 || !a.HasUsage || a.Usage.Output == 0 || a.ID == "" || a.Created == 0 {
					t.Errorf("answer %s", convtest.Dump(a))
				}
				convtest.RoundTripResponse(t, responsesCodec, a)
				convtest.RoundTripEvents(t, responsesCodec, a.Events(nil))
				return
			}
			stream := r.body()
			events, err := convtest.DecodeStream(openai.ResponsesBackend{}, stream)
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < len(stream); at += max(1, len(stream)/64) {
				cut, err := convtest.DecodeStream(openai.ResponsesBackend{}, stream, at)
				if err != nil || len(cut) != len(events) {
					t.Fatalf("cut at %d: %d events, want %d: %v", at, len(cut), len(events), err)
				}
			}
			convtest.RoundTripEvents(t, responsesCodec, events)
			folded, err := llm.Collect(events)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := openai.ResponsesBackend{}.DecodeResponse(llm.OpGenerate, finalResponse(t, stream), dialect.DecodeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			sameSeals(t, whole, folded)
			if d := convtest.DiffAnswers(whole, folded); d != "" {
				t.Errorf("stream and unary differ (-unary +stream):\n%s", d)
			}
		})
	}
}

// sameSeals evens out that OpenAI encrypts reasoning anew for each event that repeats it.
func sameSeals(t testing.TB, a, b *llm.Response) {
	t.Helper()
	for i := range min(len(a.Choices[0].Parts), len(b.Choices[0].Parts)) {
		p, q := &a.Choices[0].Parts[i], &b.Choices[0].Parts[i]
		if (p.Seal == nil) != (q.Seal == nil) {
			t.Errorf("part %d: only one is sealed", i)
		}
		p.Seal, q.Seal = nil, nil
	}
}

// finalResponse is the response object in a stream's last event.
func finalResponse(t testing.TB, stream []byte) []byte {
	t.Helper()
	var found []byte
	for line := range strings.Lines(string(stream)) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e struct {
			Type     string
			Response json.RawMessage
		}
		if json.Unmarshal([]byte(data), &e) == nil && (e.Type == "response.completed" || e.Type == "response.incomplete") {
			found = e.Response
		}
	}
	if found == nil {
		t.Fatal("no final event")
	}
	return found
}
