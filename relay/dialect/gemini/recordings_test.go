package gemini_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/llm"
)

type recording struct {
	Endpoint string `json:"endpoint"`
	Status   int    `json:"status"`
	Request  struct {
		Body json.RawMessage `json:"body"`
	} `json:"request"`
	Response struct {
		Body json.RawMessage `json:"body"`
	} `json:"response"`
}

func (r *recording) answer() []byte {
	var s string
	if json.Unmarshal(r.Response.Body, &s) != nil {
		return r.Response.Body
	}
	if raw, err := base64.StdEncoding.DecodeString(s); err == nil && len(s) > 40 {
		return raw
	}
	return []byte(s)
}

// recordings are real answers of the vendor; they lie beside the checkout, and a clone elsewhere goes
// without them.
func recordings(t *testing.T) map[string]*recording {
	t.Helper()
	root := filepath.Join("..", "..", "..", "..", "shared", "data", "recordings", "gemini")
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		t.Skip("recorded answers are not here (../shared/data/recordings): skipping")
	}
	out := map[string]*recording{}
	files, err := filepath.Glob(filepath.Join(root, "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r := new(recording)
		if err := json.Unmarshal(b, r); err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = r
	}
	return out
}

// arrayEvents decodes an array stream that comes in chunks of n bytes.
func arrayEvents(t testing.TB, stream []byte, n int) []llm.Event {
	t.Helper()
	d := gemini.Backend{}.NewEventDecoder(dialect.DecodeOptions{Op: llm.OpGenerate, ID: convtest.RequestID})
	s := gemini.NewArrayScanner(0)
	var events []llm.Event
	for rest := stream; len(rest) > 0; {
		k := min(n, len(rest))
		chunk := bytes.Clone(rest[:k])
		rest = rest[k:]
		s.Feed(chunk)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			events = d.Push(events, e.Name, e.Data)
		}
		clear(chunk)
	}
	if e, ok := s.End(); ok {
		events = d.Push(events, e.Name, e.Data)
	}
	events = d.End(events)
	if err := convtest.Legal(events); err != nil {
		t.Fatal(err)
	}
	return events
}

// everySplit is convtest.EverySplit with a cheap comparison, for long streams.
func everySplit(t testing.TB, stream []byte) []llm.Event {
	t.Helper()
	want, err := convtest.DecodeStream(gemini.Backend{}, stream)
	if err != nil {
		t.Fatal(err)
	}
	for at := 1; at < len(stream); at++ {
		if got, err := convtest.DecodeStream(gemini.Backend{}, stream, at); err != nil || !reflect.DeepEqual(want, got) {
			t.Fatalf("cut at %d: %v (-whole +cut):\n%s", at, err, cmp.Diff(want, got))
		}
	}
	return want
}

func TestRecordedAnswersKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	n := 0
	for name, r := range recordings(t) {
		if r.Endpoint != "generateContent" || r.Status != 200 {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			o := dialect.DecodeOptions{Op: llm.OpGenerate, ID: convtest.RequestID, Scope: "account"}
			want, err := gemini.Backend{}.DecodeResponse(llm.OpGenerate, r.answer(), o)
			if err != nil {
				t.Fatal(err)
			}
			if want.Empty() || !want.HasUsage || want.Model == "" || want.ID == "" {
				t.Errorf("not understood: %s", convtest.Dump(want))
			}
			unscoped, err := gemini.Backend{}.DecodeResponse(llm.OpGenerate, r.answer(), dialect.DecodeOptions{ID: convtest.RequestID})
			if err != nil {
				t.Fatal(err)
			}
			convtest.RoundTripResponse(t, codec, unscoped)
			convtest.RoundTripEvents(t, codec, unscoped.Events(nil))
		})
	}
	if n < 20 {
		t.Errorf("only %d answers", n)
	}
}

func TestRecordedStreamsKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	n := 0
	for name, r := range recordings(t) {
		if r.Endpoint != "streamGenerateContent" || r.Status != 200 {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			body := r.answer()
			var events []llm.Event
			if body[0] == '[' {
				events = arrayEvents(t, body, len(body))
				for _, n := range []int{1, 7, 100} {
					got, err := llm.Collect(arrayEvents(t, body, n))
					want, werr := llm.Collect(events)
					if d := cmp.Diff(want, got); d != "" || err != nil || werr != nil {
						t.Errorf("chunks of %d: %v %v (-whole +cut):\n%s", n, err, werr, d)
					}
				}
			} else {
				events = everySplit(t, body)
			}
			folded, err := llm.Collect(events)
			if err != nil {
				t.Fatal(err)
			}
			if folded.Empty() || !folded.HasUsage {
				t.Errorf("not understood: %s", convtest.Dump(folded))
			}
			convtest.RoundTripEvents(t, codec, events)
			arrayRoundTrip(t, events)
		})
	}
	if n < 20 {
		t.Errorf("only %d streams", n)
	}
}

// arrayRoundTrip writes events as an array stream and reads it back.
func arrayRoundTrip(t *testing.T, events []llm.Event) {
	t.Helper()
	e := gemini.Frontend{}.NewArrayEncoder(convtest.Answer(llm.Gemini, nil))
	var out []byte
	var err error
	for i := range events {
		if out, err = e.Append(out, &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if out, err = e.Close(out); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(out) {
		t.Fatalf("the array is no JSON:\n%s", out)
	}
	want, err := llm.Collect(events)
	if err != nil {
		t.Fatal(err)
	}
	got, err := llm.Collect(arrayEvents(t, out, 5))
	if d := convtest.DiffAnswers(want, got); d != "" || err != nil {
		t.Errorf("array: %v (-want +got):\n%s\n%s", err, d, out)
	}
}

func TestRecordedRequestsKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	n := 0
	for name, r := range recordings(t) {
		op := llm.OpGenerate
		if r.Endpoint == "countTokens" {
			op = llm.OpCountTokens
		}
		if len(r.Request.Body) == 0 || r.Request.Body[0] != '{' {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			q, err := convtest.DecodeRequest(codec, op, r.Request.Body)
			if err != nil {
				t.Fatal(err)
			}
			convtest.RoundTripRequest(t, codec, q, dialect.EncodeOptions{Model: "gemini-2.5-flash"})
			if op == llm.OpCountTokens && r.Status == 200 {
				a, err := gemini.Backend{}.DecodeResponse(op, r.answer(), dialect.DecodeOptions{Op: op})
				if err != nil || a.Usage.Input == 0 {
					t.Errorf("count: %v %v", a, err)
				}
			}
		})
	}
	if n < 40 {
		t.Errorf("only %d requests", n)
	}
}
