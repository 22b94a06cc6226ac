package convtest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

var update = flag.Bool("update", false, "rewrite golden files")

// toy is a dialect whose wire format is the canonical model itself, in JSON.
type toy struct{ name llm.Dialect }

func (d toy) DecodeRequest(op llm.Op, body []byte, _ dialect.Head) (*llm.Request, error) {
	var in struct {
		Messages []llm.Message
		Hosted   bool
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fault.New(fault.Malformed, "not a toy").With(err)
	}
	r := &llm.Request{From: d.name, Op: op, Messages: in.Messages}
	if in.Hosted {
		r.Extra = llm.Extra{{Name: "hosted", Value: llm.Raw("true")}}
	}
	return r, nil
}

func (d toy) EncodeRequest(r *llm.Request, o dialect.EncodeOptions) (dialect.Encoded, error) {
	l := dialect.Losses{From: r.From, To: d.name}
	if r.From != d.name {
		l.Extra(r.Extra, "")
	}
	b, err := json.Marshal(struct {
		Model    string `json:"model"`
		Messages []llm.Message
		Hosted   bool `json:",omitempty"`
	}{o.Model, r.Messages, r.From == d.name && r.Extra != nil})
	if err != nil {
		return dialect.Encoded{}, err
	}
	return dialect.Encoded{Body: dialect.NewBody(b), Header: map[string][]string{"X-Toy": {"1"}}, Losses: l.List}, l.Err()
}

func (toy) EncodeResponse(r *llm.Response, _ dialect.AnswerOptions) ([]byte, []llm.Loss, error) {
	b, err := json.Marshal(r)
	return b, nil, err
}

func (toy) DecodeResponse(_ llm.Op, body []byte, _ dialect.DecodeOptions) (*llm.Response, error) {
	r := new(llm.Response)
	if err := json.Unmarshal(body, r); err != nil {
		return nil, fault.New(fault.UpstreamProtocol, "not a toy").With(err)
	}
	return r, nil
}

func (toy) NewEventEncoder(dialect.AnswerOptions) dialect.EventEncoder { return &toyEncoder{} }
func (toy) NewEventDecoder(dialect.DecodeOptions) dialect.EventDecoder { return &toyDecoder{} }

type toyEncoder struct{ failed bool }

func (e *toyEncoder) Append(dst []byte, ev *llm.Event) ([]byte, error) {
	if ev.Kind == llm.EventError {
		e.failed = true
		return sse.Append(dst, "error", []byte("{}")), nil
	}
	b, err := json.Marshal(ev)
	return sse.Append(dst, "", b), err
}

func (e *toyEncoder) Close(dst []byte) ([]byte, error) {
	if e.failed {
		return dst, nil
	}
	return sse.Append(dst, "", []byte("done")), nil
}

func (*toyEncoder) Losses() []llm.Loss { return nil }

type toyDecoder struct{ ended bool }

func (d *toyDecoder) Push(dst []llm.Event, name string, data []byte) []llm.Event {
	var e llm.Event
	switch {
	case d.ended:
		return dst
	case string(data) == "done":
		d.ended = true
		return dst
	case name == "error" || json.Unmarshal(data, &e) != nil:
		d.ended = true
		return append(dst, llm.Event{Kind: llm.EventError, Err: fault.New(fault.UpstreamError, "the toy broke")})
	}
	return append(dst, e)
}

func (d *toyDecoder) End(dst []llm.Event) []llm.Event {
	if d.ended {
		return dst
	}
	d.ended = true
	return append(dst, llm.Event{Kind: llm.EventError, Err: fault.New(fault.UpstreamPartial, "the stream broke off")})
}

func codec(d llm.Dialect) convtest.Codec {
	return convtest.Codec{Dialect: d, Client: toy{d}, Provider: toy{d}}
}

func TestRun(t *testing.T) {
	t.Parallel()
	convtest.Run(t, convtest.Config{
		Corpus: "testdata/corpus", Golden: "testdata/golden", Update: *update,
		Codecs: []convtest.Codec{codec(llm.OpenAIChat), codec(llm.Gemini)},
	})
}

var everything = convtest.Features{
	Dialect: llm.OpenAIChat, SystemInPlace: true, Developer: true, Images: true, ImageURLs: true, Documents: true, Thinking: true,
	Redacted: true, Refusals: true, Custom: true, ResultMedia: true, ResultErrors: true, FreeArgs: true, Choices: true,
}

// TestGeneratorsAreInNormalForm: what the generators draw passes the edge's own check.
func TestGeneratorsAreInNormalForm(t *testing.T) {
	t.Parallel()
	full := everything
	full.Sampling, full.TopK, full.Seed, full.Stop, full.Schema, full.Effort, full.Parallel, full.User, full.ChoiceNamed = true, true, true, true, true, true, true, true, true
	rapid.Check(t, func(t *rapid.T) {
		if err := dialect.Check(convtest.Requests(full).Draw(t, "request")); err != nil {
			t.Fatal(err)
		}
		r := convtest.Responses(full).Draw(t, "answer")
		if r.Empty() {
			t.Fatal("an empty answer")
		}
		if err := convtest.Legal(convtest.Stream(t, r)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := codec(llm.OpenAIChat)
		q := convtest.Requests(everything).Draw(rt, "request")
		q.Tools, q.Choice, q.MaxOutput = nil, llm.ToolChoice{}, llm.Opt[int64]{} // the toy has none
		convtest.RoundTripRequest(t, c, q, dialect.EncodeOptions{})
		r := convtest.Responses(everything).Draw(rt, "answer")
		convtest.RoundTripResponse(t, c, r)
		convtest.RoundTripEvents(t, c, convtest.Stream(rt, r))
	})
}

func stream(t testing.TB, d llm.Dialect, r *llm.Response) []byte {
	t.Helper()
	b, _, err := convtest.EncodeStream(toy{d}, dialect.AnswerOptions{}, r.Events(nil))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func answer() *llm.Response {
	return &llm.Response{HasUsage: true, Usage: llm.Usage{Input: 1, Output: 2}, Choices: []llm.Choice{{
		Parts: []llm.Part{{Kind: llm.PartText, Text: "日本 \"x\""}, {Kind: llm.PartCall, ID: "a", Name: "f", Text: "{}"}},
		Stop:  llm.Stop{Reason: llm.StopCalls},
	}}}
}

func TestSplitAndTruncate(t *testing.T) {
	t.Parallel()
	s := stream(t, llm.Gemini, answer())
	if n := len(convtest.EverySplit(t, toy{llm.Gemini}, s)); n != 9 {
		t.Errorf("%d events", n)
	}
	convtest.Truncated(t, toy{llm.Gemini}, s, 0)
	unary, _, err := toy{}.EncodeResponse(answer(), dialect.AnswerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	convtest.StreamEqualsUnary(t, toy{}, unary, s)
}

// TestHarnessSeesFaults: every property can fail.
func TestHarnessSeesFaults(t *testing.T) {
	t.Parallel()
	a, b := answer(), answer()
	for _, c := range []struct {
		why    string
		change func(*llm.Response)
		same   bool
	}{
		{"white space in arguments", func(r *llm.Response) { r.Choices[0].Parts[1].Text = "{ }" }, true},
		{"another id of the answer", func(r *llm.Response) { r.ID = "other" }, true},
		{"one letter", func(r *llm.Response) { r.Choices[0].Parts[0].Text = "日本 'x'" }, false},
		{"an argument", func(r *llm.Response) { r.Choices[0].Parts[1].Text = `{"a":1}` }, false},
		{"another id of the call", func(r *llm.Response) { r.Choices[0].Parts[1].ID = "b" }, false},
		{"usage", func(r *llm.Response) { r.Usage.Cached = 1 }, false},
		{"reason", func(r *llm.Response) { r.Choices[0].Stop.Reason = llm.StopLength }, false},
		{"a signature", func(r *llm.Response) { r.Choices[0].Parts[0].Seal = &llm.Seal{} }, false},
	} {
		*b = *answer()
		c.change(b)
		if same := convtest.DiffAnswers(a, b) == ""; same != c.same {
			t.Errorf("%s: same = %t", c.why, same)
		}
	}
	q := &llm.Request{Messages: []llm.Message{{Parts: []llm.Part{{Text: "x", At: "/a"}}, At: "/b"}}}
	p := &llm.Request{From: llm.Gemini, Messages: []llm.Message{{Parts: []llm.Part{{Text: "x"}}}}}
	if d := convtest.DiffRequests(q, p); d != "" {
		t.Errorf("places and dialects count: %s", d)
	}
	p.Messages[0].Parts[0].Text = "y"
	if convtest.DiffRequests(q, p) == "" {
		t.Error("another text is the same")
	}
	if _, err := convtest.DecodeStream(toy{}, []byte("data: {\"Kind\":3,\"Text\":\"x\"}\n\ndata: done\n\n")); err == nil {
		t.Error("an illegal stream is accepted")
	}
}

func TestDump(t *testing.T) {
	t.Parallel()
	r := &llm.Request{
		From: llm.Gemini, Op: llm.OpGenerate, Reasoning: llm.Reasoning{Effort: llm.EffortHigh}, Sampling: llm.Sampling{TopP: llm.Some(0.5), Stop: []string{"a\n"}},
		Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartImage, Media: &llm.Media{Data: []byte(strings.Repeat("A", 1000))}}}}},
		Tools:    []llm.Tool{{Name: "f", Schema: llm.Raw("{ \"a\" : 1 }")}}, Extra: llm.Extra{{Name: "x", Value: llm.Raw("1")}},
		Metadata: []llm.Pair{{Key: "k", Value: "v"}}, MaxOutput: llm.Some[int64](0),
	}
	want := `From: gemini
Op: generate
Messages[0]:
  Role: user
  Parts[0]:
    Kind: image
    Media:
      Data: ` + strings.Repeat("A", 160) + `…(1000 bytes)…` + strings.Repeat("A", 40) + `
Tools[0]:
  Kind: function
  Name: "f"
  Schema: {"a":1}
Sampling:
  TopP: 0.5
  Stop[0]: "a\n"
MaxOutput: 0
Reasoning:
  Effort: high
Metadata[0]: k="v"
Extra[0]: x=1
`
	if d := cmp.Diff(want, convtest.Dump(r)); d != "" {
		t.Error(d)
	}
	e := llm.Event{Kind: llm.EventError, Err: fault.New(fault.UpstreamPartial, "gone")}
	if got := convtest.Dump(&e); !strings.Contains(got, "Err: upstream_partial: gone\n") {
		t.Error(got)
	}
	if got := convtest.Indent([]byte(`{"b":1,"a":[]}`)); !bytes.Contains([]byte(got), []byte("\"b\": 1,\n")) {
		t.Error(got)
	}
}

func BenchmarkToy(b *testing.B) {
	convtest.BenchStream(b, toy{}, toy{}, llm.Gemini, stream(b, llm.Gemini, answer()))
}
