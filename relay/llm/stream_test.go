package llm_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/llm"
)

var everything = convtest.Features{
	Dialect: llm.Gemini, Thinking: true, Redacted: true, Refusals: true, Custom: true, FreeArgs: true, Choices: true,
}

func start() llm.Event { return llm.Event{Kind: llm.EventStart, Start: &llm.Start{}} }

func open(i int, p llm.Part) llm.Event {
	return llm.Event{Kind: llm.EventPartStart, Index: i, Part: &p}
}

func delta(i int, s string) llm.Event {
	return llm.Event{Kind: llm.EventDelta, Index: i, Text: s}
}

func shut(i int) llm.Event { return llm.Event{Kind: llm.EventPartEnd, Index: i} }

func stop(r llm.StopReason) llm.Event {
	return llm.Event{Kind: llm.EventStop, Stop: llm.Stop{Reason: r}}
}

func usage(u llm.Usage) llm.Event { return llm.Event{Kind: llm.EventUsage, Usage: u} }

var (
	text  = llm.Part{Kind: llm.PartText}
	callA = llm.Part{Kind: llm.PartCall, ID: "a", Name: "f"}
	callB = llm.Part{Kind: llm.PartCall, ID: "b", Name: "f"}
	seal  = &llm.Seal{Origin: llm.Gemini, Data: []byte("x")}
	boom  = llm.Event{Kind: llm.EventError, Err: errors.New("boom")}
)

func TestValidator(t *testing.T) {
	t.Parallel()
	type events = []llm.Event
	for _, c := range []struct {
		why  string
		in   events
		want string // part of the error; "" = legal
	}{
		{"plain text", events{start(), open(0, text), delta(0, "hi"), shut(0), stop(llm.StopEnd), usage(llm.Usage{Input: 3, Output: 1})}, ""},
		{"no content at all is legal, and a fault for others to find", events{start(), stop(llm.StopEnd)}, ""},
		{"calls interleave", events{start(), open(0, callA), open(1, callB), delta(1, "{"), delta(0, "{}"), delta(1, "}"), shut(1), shut(0), stop(llm.StopCalls)}, ""},
		{"text beside an open call", events{start(), open(0, callA), open(1, text), delta(0, "{}"), delta(1, "x"), shut(0), shut(1), stop(llm.StopCalls)}, ""},
		{"error alone", events{boom}, ""},
		{"error with parts open", events{start(), open(0, text), boom}, ""},
		{"length beats calls", events{start(), open(0, callA), shut(0), stop(llm.StopLength)}, ""},
		{"late seal", events{start(), open(0, text), delta(0, "x"), {Kind: llm.EventPartEnd, Part: &llm.Part{Seal: seal}}, stop(llm.StopEnd)}, ""},
		{"nothing", nil, "without a start"},
		{"no start", events{stop(llm.StopEnd)}, "before the start"},
		{"two starts", events{start(), start()}, "second start"},
		{"no stop", events{start(), open(0, text), shut(0)}, "before choice 0 stopped"},
		{"only the head", events{start(), usage(llm.Usage{})}, "without a stop"},
		{"choice 0 skipped", events{start(), {Kind: llm.EventStop, Choice: 1, Stop: llm.Stop{Reason: llm.StopEnd}}}, "before choice 0 stopped"},
		{"after the error", events{boom, start()}, "after an error"},
		{"after the stop", events{start(), stop(llm.StopEnd), open(0, text)}, "after the stop"},
		{"number skipped", events{start(), open(1, text)}, "want number 0"},
		{"number used twice", events{start(), open(0, text), shut(0), open(0, text)}, "want number 1"},
		{"two texts at once", events{start(), open(0, text), open(1, text)}, "overlaps"},
		{"thinking in open text (BerriAI/litellm #32357)", events{start(), open(0, text), open(1, llm.Part{Kind: llm.PartThinking})}, "overlaps"},
		{"delta before its part", events{start(), delta(0, "x")}, "not open"},
		{"delta after its part", events{start(), open(0, text), shut(0), delta(0, "x")}, "not open"},
		{"empty delta", events{start(), open(0, text), delta(0, "")}, "is empty"},
		{"delta for an image", events{start(), open(0, llm.Part{Kind: llm.PartImage, Media: &llm.Media{}}), delta(0, "x")}, "comes whole"},
		{"delta for redacted thinking", events{start(), open(0, llm.Part{Kind: llm.PartThinking, Redacted: true, Seal: seal}), delta(0, "x")}, "comes whole"},
		{"text in the start", events{start(), open(0, llm.Part{Kind: llm.PartText, Text: "x"})}, "belongs in deltas"},
		{"redacted without data", events{start(), open(0, llm.Part{Kind: llm.PartThinking, Redacted: true})}, "without a seal"},
		{"call without a name", events{start(), open(0, llm.Part{Kind: llm.PartCall, ID: "a"})}, "without a name"},
		{"call without an id", events{start(), open(0, llm.Part{Kind: llm.PartCall, Name: "f"})}, "without a name, or without an id"},
		{"one id twice (mcowger/plexus #691)", events{start(), open(0, callA), open(1, callA)}, "id of its own"},
		{"a result", events{start(), open(0, llm.Part{Kind: llm.PartResult})}, "not for answers"},
		{"seal twice", events{start(), open(0, llm.Part{Kind: llm.PartText, Seal: seal}), {Kind: llm.EventPartEnd, Part: &llm.Part{Seal: seal}}}, "brought already"},
		{"text at the end", events{start(), open(0, text), {Kind: llm.EventPartEnd, Part: &llm.Part{Text: "x"}}}, "more than"},
		{"stop with a part open", events{start(), open(0, text), stop(llm.StopEnd)}, "part open"},
		{"end_turn after a call (maximhq/bifrost #3638)", events{start(), open(0, callA), shut(0), stop(llm.StopEnd)}, "contradicts"},
		{"calls without a call", events{start(), stop(llm.StopCalls)}, "contradicts"},
		{"reason unknown", events{start(), stop(llm.StopUnknown)}, "contradicts"},
		{"usage shrinks", events{start(), usage(llm.Usage{Input: 9}), usage(llm.Usage{Output: 1})}, "shrink"},
		{"more cached than read", events{start(), usage(llm.Usage{Input: 1, Cached: 2})}, "contradict"},
		{"error without a fault", events{{Kind: llm.EventError}}, "has no error"},
		{"unknown kind", events{start(), {Kind: 99}}, "no known kind"},
		{"impossible choice", events{start(), {Kind: llm.EventStop, Choice: 1 << 30}}, "impossible"},
	} {
		var v llm.Validator
		var err error
		for i := range c.in {
			err = v.Push(&c.in[i])
		}
		if err == nil {
			err = v.End()
		}
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.why, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", c.why, err, c.want)
		}
	}
}

func TestValidatorDoesNotAllocatePerDelta(t *testing.T) {
	var v llm.Validator
	for _, e := range []llm.Event{start(), open(0, text)} {
		if err := v.Push(&e); err != nil {
			t.Fatal(err)
		}
	}
	d := delta(0, "token")
	if n := testing.AllocsPerRun(100, func() { _ = v.Push(&d) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestStreamFoldsToItsResponse: any legal way to stream an answer is that answer.
func TestStreamFoldsToItsResponse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := convtest.Responses(everything).Draw(t, "answer")
		for _, events := range [][]llm.Event{want.Events(nil), convtest.Stream(t, want)} {
			if err := convtest.Legal(events); err != nil {
				t.Fatal(err)
			}
			got, err := llm.Collect(events)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatal(d)
			}
		}
	})
}

// TestSequencerUndoesInterleaving: the same answer, legal, and no part opens before the last has
// ended (praxis-proxy/ai #266, BerriAI/litellm PR 25852).
func TestSequencerUndoesInterleaving(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := convtest.Responses(everything).Draw(t, "answer")
		var s llm.Sequencer
		var out []llm.Event
		for _, e := range convtest.Stream(t, want) {
			var err error
			if out, err = s.Push(out, e); err != nil {
				t.Fatal(err)
			}
		}
		isOpen := map[int]bool{}
		for _, e := range out {
			switch e.Kind {
			case llm.EventPartStart:
				if isOpen[e.Choice] {
					t.Fatalf("part %d overlaps", e.Index)
				}
				isOpen[e.Choice] = true
			case llm.EventPartEnd:
				isOpen[e.Choice] = false
			}
		}
		if err := convtest.Legal(out); err != nil {
			t.Fatal(err)
		}
		got, err := llm.Collect(out)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

// TestSequencerHoldsNothingOfTheLivePart: the first open part flows on at once.
func TestSequencerHoldsNothingOfTheLivePart(t *testing.T) {
	t.Parallel()
	var s llm.Sequencer
	for i, c := range []struct {
		in   llm.Event
		want int
	}{
		{start(), 1},
		{open(0, callA), 1},
		{open(1, callB), 0},
		{delta(1, "x"), 0},
		{delta(0, "y"), 1},
		{shut(0), 3},
		{delta(1, "z"), 1},
		{shut(1), 1},
		{stop(llm.StopCalls), 1},
	} {
		out, err := s.Push(nil, c.in)
		if err != nil || len(out) != c.want {
			t.Errorf("step %d: %d events, want %d (%v)", i, len(out), c.want, err)
		}
	}
}

func TestSequencerIsBounded(t *testing.T) {
	t.Parallel()
	var s llm.Sequencer
	big := strings.Repeat("x", 1<<20)
	for _, e := range []llm.Event{open(0, callA), open(1, callB)} {
		if _, err := s.Push(nil, e); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		if _, err := s.Push(nil, delta(1, big)); err != nil {
			return
		} else if i > 64 {
			t.Fatal("holds more than 64 MiB back")
		}
	}
}

func TestFailedStreamKeepsWhatCame(t *testing.T) {
	t.Parallel()
	got, err := llm.Collect([]llm.Event{start(), open(0, text), delta(0, "half"), boom})
	if err == nil || err.Error() != "boom" || got.Choices[0].Parts[0].Text != "half" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := llm.Collect([]llm.Event{start()}); err == nil {
		t.Error("an unfinished stream is an answer")
	}
}

// TestUsageConventions: no count is lost or doubled between vendors (QuantumNous/new-api PR 2744,
// maximhq/bifrost #3451).
func TestUsageConventions(t *testing.T) {
	t.Parallel()
	count := rapid.Int64Range(0, 1<<38)
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom([]llm.Convention{llm.Inclusive, llm.ExclusiveCache, llm.ExclusiveThoughts}).Draw(t, "convention")
		n := llm.Counts{
			Prompt: count.Draw(t, "prompt"), Cached: count.Draw(t, "cached"), Write: count.Draw(t, "write"), Write1h: count.Draw(t, "1h"),
			ToolUse: count.Draw(t, "tool use"), Completion: count.Draw(t, "completion"), Reasoning: count.Draw(t, "reasoning"),
		}
		u := c.Usage(n)
		if u.Cached+u.CacheWrite > u.Input || u.CacheWrite1h > u.CacheWrite || u.Reasoning > u.Output {
			t.Fatalf("%+v contradicts itself", u)
		}
		for _, d := range llm.Dialects {
			k := llm.ConventionOf(d)
			if got := k.Usage(k.Counts(u)); got != u {
				t.Fatalf("%s: %+v became %+v", d, u, got)
			}
		}
	})
	a := llm.ExclusiveCache.Usage(llm.Counts{Prompt: 10, Cached: 100, Write: 5, Completion: 7, Reasoning: 3})
	if want := (llm.Usage{Input: 115, Cached: 100, CacheWrite: 5, Output: 7, Reasoning: 3}); a != want {
		t.Errorf("anthropic: %+v", a)
	}
	g := llm.ExclusiveThoughts.Usage(llm.Counts{Prompt: 10, Cached: 4, ToolUse: 2, Completion: 7, Reasoning: 3})
	if want := (llm.Usage{Input: 12, Cached: 4, Output: 10, Reasoning: 3}); g != want {
		t.Errorf("gemini: %+v", g)
	}
	if n := llm.Inclusive.Usage(llm.Counts{Prompt: -1, Cached: 5}); n != (llm.Usage{}) {
		t.Errorf("negative counts: %+v", n)
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	one := func(r llm.StopReason, ps ...llm.Part) *llm.Response {
		return &llm.Response{Choices: []llm.Choice{{Parts: ps, Stop: llm.Stop{Reason: r}}}}
	}
	for _, c := range []struct {
		why  string
		r    *llm.Response
		want bool
	}{
		{"no choice", &llm.Response{}, true},
		{"nothing, yet done (QuantumNous/new-api #3275)", one(llm.StopEnd), true},
		{"thinking and nothing else", one(llm.StopEnd, llm.Part{Kind: llm.PartThinking, Text: "hm"}), true},
		{"empty text", one(llm.StopEnd, llm.Part{Kind: llm.PartText}), true},
		{"text", one(llm.StopEnd, llm.Part{Kind: llm.PartText, Text: "x"}), false},
		{"call without arguments", one(llm.StopCalls, callA), false},
		{"refusal", one(llm.StopEnd, llm.Part{Kind: llm.PartRefusal, Text: "no"}), false},
		{"limit reached while thinking", one(llm.StopLength), false},
		{"filtered", one(llm.StopBlocked), false},
		{"stop sequence at once", one(llm.StopSequence), false},
	} {
		if got := c.r.Empty(); got != c.want {
			t.Errorf("%s: %t", c.why, got)
		}
	}
}

func TestNamesAreClosed(t *testing.T) {
	t.Parallel()
	for e := llm.EffortNone; e <= llm.EffortMax; e++ {
		for _, s := range []string{e.String(), strings.ToUpper(e.String())} {
			if got, ok := llm.ParseEffort(s); !ok || got != e {
				t.Errorf("%s: %v %t", s, got, ok)
			}
		}
	}
	if _, ok := llm.ParseEffort(""); ok {
		t.Error("no effort is an effort")
	}
	if got := llm.PartKind(200).String(); got != "invalid" {
		t.Errorf("a number without a name is %q", got)
	}
}

func BenchmarkValidator(b *testing.B) {
	var v llm.Validator
	for _, e := range []llm.Event{start(), open(0, text)} {
		_ = v.Push(&e)
	}
	d := delta(0, "token")
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Push(&d); err != nil {
			b.Fatal(err)
		}
	}
}
