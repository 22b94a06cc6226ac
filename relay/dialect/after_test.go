package dialect_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func answer(stop llm.StopReason, ps ...llm.Part) *llm.Response {
	return &llm.Response{From: llm.OpenAIResponses, ID: "r", Choices: []llm.Choice{{Parts: ps, Stop: llm.Stop{Reason: stop}}}, HasUsage: true, Usage: llm.Usage{Input: 3, Output: 2}}
}

func said(s string) llm.Part { return llm.Part{Kind: llm.PartText, Text: s} }

// A text ends before the first stop sequence, wherever the stream was cut, and a whole answer ends
// where a streamed one does.
func TestStopSequencesAreApplied(t *testing.T) {
	t.Parallel()
	call := llm.Part{Kind: llm.PartCall, ID: "c", Name: "f", Text: `{"x":"END"}`}
	for _, c := range []struct {
		why   string
		stops []string
		in    *llm.Response
		parts []llm.Part
		stop  llm.Stop
	}{
		{"none hit", []string{"END"}, answer(llm.StopEnd, said("abc EN")), []llm.Part{said("abc EN")}, llm.Stop{Reason: llm.StopEnd}},
		{"in the middle", []string{"END"}, answer(llm.StopEnd, said("abcENDdef")), []llm.Part{said("abc")}, llm.Stop{Reason: llm.StopSequence, Sequence: "END"}},
		{"at the end", []string{"END"}, answer(llm.StopLength, said("abcEND")), []llm.Part{said("abc")}, llm.Stop{Reason: llm.StopSequence, Sequence: "END"}},
		{"at the start: an empty text", []string{"END"}, answer(llm.StopEnd, said("ENDabc")), []llm.Part{said("")}, llm.Stop{Reason: llm.StopSequence, Sequence: "END"}},
		{"a false start", []string{"aab"}, answer(llm.StopEnd, said("xaaab")), []llm.Part{said("xa")}, llm.Stop{Reason: llm.StopSequence, Sequence: "aab"}},
		{"what is complete first", []string{"abcd", "bc"}, answer(llm.StopEnd, said("xabcd")), []llm.Part{said("xa")}, llm.Stop{Reason: llm.StopSequence, Sequence: "bc"}},
		{"of two that end together the longer", []string{"bc", "abc"}, answer(llm.StopEnd, said("xabcd")), []llm.Part{said("x")}, llm.Stop{Reason: llm.StopSequence, Sequence: "abc"}},
		{"white space, which Anthropic refuses", []string{"\n\n"}, answer(llm.StopEnd, said("a\nb\n\nc")), []llm.Part{said("a\nb")}, llm.Stop{Reason: llm.StopSequence, Sequence: "\n\n"}},
		{"beyond ASCII", []string{"。完"}, answer(llm.StopEnd, said("好。完了")), []llm.Part{said("好")}, llm.Stop{Reason: llm.StopSequence, Sequence: "。完"}},
		{
			"thinking and arguments are no text",
			[]string{"END"},
			answer(llm.StopCalls, llm.Part{Kind: llm.PartThinking, Text: "END"}, said("x"), call),
			[]llm.Part{{Kind: llm.PartThinking, Text: "END"}, said("x"), call},
			llm.Stop{Reason: llm.StopCalls},
		},
		{"what follows was never written", []string{"END"}, answer(llm.StopCalls, said("aEND"), call), []llm.Part{said("a")}, llm.Stop{Reason: llm.StopSequence, Sequence: "END"}},
		{"calls before it are waited for", []string{"END"}, answer(llm.StopCalls, call, said("aEND")), []llm.Part{call, said("a")}, llm.Stop{Reason: llm.StopCalls}},
		{"parts do not join", []string{"END"}, answer(llm.StopEnd, said("E"), said("ND")), []llm.Part{said("E"), said("ND")}, llm.Stop{Reason: llm.StopEnd}},
	} {
		a := dialect.After{Stop: c.stops}
		whole, err := a.Response(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		want := []llm.Choice{{Parts: c.parts, Stop: c.stop}}
		if d := cmp.Diff(want, whole.Choices); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.why, d)
		}
		for size := 1; size < 8; size++ {
			s := a.Stream()
			var out []llm.Event
			for _, e := range pieces(c.in, size) {
				out = s.Push(out, &e)
				if s.Done() != (c.stop.Sequence != "" || c.why == "calls before it are waited for") && e.Kind == llm.EventUsage {
					t.Errorf("%s: done is %t at the end", c.why, s.Done())
				}
			}
			got, err := llm.Collect(out)
			if err != nil {
				t.Fatalf("%s in pieces of %d: %v", c.why, size, err)
			}
			if d := cmp.Diff(want, got.Choices); d != "" {
				t.Errorf("%s in pieces of %d (-want +got):\n%s", c.why, size, d)
			}
		}
	}
}

// pieces is r as a stream whose deltas have at most size code points.
func pieces(r *llm.Response, size int) (out []llm.Event) {
	for _, e := range r.Events(nil) {
		text := []rune(e.Text)
		if e.Kind != llm.EventDelta || len(text) <= size {
			out = append(out, e)
			continue
		}
		for len(text) > 0 {
			n := min(size, len(text))
			e.Text = string(text[:n])
			out = append(out, e)
			text = text[n:]
		}
	}
	return out
}

// A call that is open beside the text is written to its end; only then the answer stops.
func TestStopWaitsForOpenCalls(t *testing.T) {
	t.Parallel()
	a := dialect.After{Stop: []string{"END"}}
	s := a.Stream()
	var out []llm.Event
	for _, e := range []llm.Event{
		{Kind: llm.EventStart, Start: &llm.Start{}},
		{Kind: llm.EventPartStart, Index: 0, Part: &llm.Part{Kind: llm.PartCall, ID: "c", Name: "f"}},
		{Kind: llm.EventDelta, Index: 0, Text: `{"x":`},
		{Kind: llm.EventPartStart, Index: 1, Part: &llm.Part{Kind: llm.PartText}},
		{Kind: llm.EventDelta, Index: 1, Text: "okEND more"},
		{Kind: llm.EventDelta, Index: 0, Text: `1}`},
		{Kind: llm.EventDelta, Index: 1, Text: "and more"},
		{Kind: llm.EventPartEnd, Index: 0},
		{Kind: llm.EventPartEnd, Index: 1},
		{Kind: llm.EventStop, Stop: llm.Stop{Reason: llm.StopCalls}},
	} {
		out = s.Push(out, &e)
	}
	r, err := llm.Collect(out)
	if err != nil {
		t.Fatal(err)
	}
	want := []llm.Part{{Kind: llm.PartCall, ID: "c", Name: "f", Text: `{"x":1}`}, said("ok")}
	if d := cmp.Diff(want, r.Choices[0].Parts); d != "" || r.Choices[0].Stop.Reason != llm.StopCalls || !s.Done() {
		t.Errorf("stop %v, done %t (-want +got):\n%s", r.Choices[0].Stop, s.Done(), d)
	}
}

// What was held back is shown before a failure: the model has written it.
func TestHeldTextPrecedesAFailure(t *testing.T) {
	t.Parallel()
	s := (&dialect.After{Stop: []string{"END"}}).Stream()
	var out []llm.Event
	for _, e := range []llm.Event{
		{Kind: llm.EventStart, Start: &llm.Start{}},
		{Kind: llm.EventPartStart, Part: &llm.Part{Kind: llm.PartText}},
		{Kind: llm.EventDelta, Text: "abcEN"},
		{Kind: llm.EventError, Err: fault.New(fault.UpstreamPartial, "broke off")},
	} {
		out = s.Push(out, &e)
	}
	var text strings.Builder
	for _, e := range out {
		text.WriteString(e.Text)
	}
	if text.String() != "abcEN" || out[len(out)-1].Kind != llm.EventError {
		t.Errorf("%q, then %s", text.String(), out[len(out)-1].Kind)
	}
}

// Tokens keep their log probabilities, and those that were cut have none.
func TestStopCutsLogprobs(t *testing.T) {
	t.Parallel()
	s := (&dialect.After{Stop: []string{"END"}}).Stream()
	var got []string
	for _, e := range []llm.Event{
		{Kind: llm.EventStart, Start: &llm.Start{}},
		{Kind: llm.EventPartStart, Part: &llm.Part{Kind: llm.PartText}},
		{Kind: llm.EventDelta, Text: "ab", Logprobs: []llm.Logprob{{Token: "ab"}}},
		{Kind: llm.EventDelta, Text: "E", Logprobs: []llm.Logprob{{Token: "E"}}},
		{Kind: llm.EventDelta, Text: "xND", Logprobs: []llm.Logprob{{Token: "xN"}, {Token: "D"}}},
		{Kind: llm.EventDelta, Text: " EN", Logprobs: []llm.Logprob{{Token: " "}, {Token: "EN"}}},
		{Kind: llm.EventDelta, Text: "Dz", Logprobs: []llm.Logprob{{Token: "Dz"}}},
	} {
		for _, o := range s.Push(nil, &e) {
			for _, l := range o.Logprobs {
				got = append(got, l.Token)
			}
		}
	}
	if d := cmp.Diff([]string{"ab", "E", "xN", "D", " "}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// With several answers the provider goes on until the last of them was cut.
func TestDoneCountsAnswers(t *testing.T) {
	t.Parallel()
	s := (&dialect.After{Stop: []string{"END"}, Choices: 2}).Stream()
	for i, want := range []bool{false, true} {
		for _, e := range []llm.Event{
			{Kind: llm.EventPartStart, Choice: i, Part: &llm.Part{Kind: llm.PartText}},
			{Kind: llm.EventDelta, Choice: i, Text: "aEND"},
		} {
			s.Push(nil, &e)
		}
		if s.Done() != want {
			t.Errorf("after answer %d: done %t", i, s.Done())
		}
	}
}

// Names that a provider refuses are replaced in definitions, choice and history, and come back in the
// answer, whole and streamed.
func TestNamesFitAndComeBack(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("mcp__server__", 6) + "read"
	request := func() *llm.Request {
		return &llm.Request{
			From:   llm.AnthropicMessages,
			Tools:  []llm.Tool{{Name: long}, {Name: "fs.read/file"}, {Name: "plain"}, {Kind: llm.ToolHosted, Name: "web search"}},
			Choice: llm.ToolChoice{Mode: llm.ChoiceAllowed, Allowed: []string{long, "plain"}},
			Messages: []llm.Message{
				{Role: llm.RoleAssistant, Parts: []llm.Part{{Kind: llm.PartCall, ID: "c", Name: long}, {Kind: llm.PartCall, ID: "d", Name: "ünïcode"}}},
				{Role: llm.RoleTool, Parts: []llm.Part{{Kind: llm.PartResult, ID: "c", Name: long}}},
			},
		}
	}
	for _, rule := range []dialect.NameRule{dialect.NamesOpenAI, dialect.NamesAnthropic, dialect.NamesGemini} {
		r := request()
		out, back := dialect.FitNames(r, rule)
		if d := cmp.Diff(request(), r); d != "" {
			t.Fatalf("the request was changed:\n%s", d)
		}
		again, _ := dialect.FitNames(request(), rule)
		if d := cmp.Diff(out, again); d != "" {
			t.Errorf("not the same twice:\n%s", d)
		}
		wire := out.Tools[0].Name
		if len(wire) > rule.Max || strings.Trim(wire, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || !strings.HasPrefix(wire, "mcp__") {
			t.Errorf("%q does not fit, or cannot be read", wire)
		}
		if out.Choice.Allowed[0] != wire || out.Messages[0].Parts[0].Name != wire || out.Messages[1].Parts[0].Name != wire {
			t.Errorf("one tool has several names: %+v", out)
		}
		if out.Tools[2].Name != "plain" || out.Tools[3].Name != "web search" {
			t.Errorf("names that fit, or are the vendor's, were changed: %+v", out.Tools)
		}
		a := dialect.After{Names: back}
		for i, own := range []string{long, "fs.read/file"} {
			got, err := a.Response(answer(llm.StopCalls, llm.Part{Kind: llm.PartCall, ID: "c", Name: out.Tools[i].Name, Text: "{}"}))
			if err != nil || got.Choices[0].Parts[0].Name != own {
				t.Errorf("%q came back as %+v, %v", own, got, err)
			}
		}
	}
	if r := request(); r.Tools[2].Name == "plain" {
		r.Tools, r.Messages, r.Choice = r.Tools[2:], nil, llm.ToolChoice{}
		if same, back := dialect.FitNames(r, dialect.NamesOpenAI); same != r || back != nil {
			t.Error("a request whose names fit was copied")
		}
	}
}

// A name that a client chose as if it were one of ours stays its own.
func TestFittedNamesDoNotMeet(t *testing.T) {
	t.Parallel()
	r := &llm.Request{Tools: []llm.Tool{{Name: "a.b"}}}
	out, _ := dialect.FitNames(r, dialect.NamesOpenAI)
	r.Tools = append(r.Tools, llm.Tool{Name: out.Tools[0].Name})
	again, back := dialect.FitNames(r, dialect.NamesOpenAI)
	if again.Tools[0].Name == again.Tools[1].Name || back[again.Tools[0].Name] != "a.b" || back[again.Tools[1].Name] != "" {
		t.Errorf("%+v, back %v", again.Tools, back)
	}
}
