package registry_test

import (
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Every recorded answer says the same to clients of every protocol: text, calls with their arguments,
// usage; streams are legal on both sides, and the client's own reader finds nothing missing.
func TestRecordedAnswersSayTheSameToEveryClient(t *testing.T) {
	t.Parallel()
	seen := map[llm.Dialect]int{}
	for _, r := range recordings(t) {
		d, op := r.dialect()
		if r.Status != 200 || op != llm.OpGenerate {
			continue
		}
		seen[d]++
		t.Run(r.ID, func(t *testing.T) {
			if r.streamed() {
				recordedStream(t, r, d)
			} else {
				recordedAnswer(t, r, d)
			}
		})
	}
	for _, d := range llm.Dialects {
		if seen[d] < 5 {
			t.Errorf("only %d answers of %s were checked", seen[d], d)
		}
	}
}

func recordedAnswer(t *testing.T, r *recording, d llm.Dialect) {
	whole, err := codec(d).Provider.DecodeResponse(llm.OpGenerate, r.body(), dialect.DecodeOptions{ID: convtest.RequestID})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range codecs() {
		body, losses, err := c.Client.EncodeResponse(whole, convtest.Answer(c.Dialect, nil))
		if err != nil {
			t.Errorf("%s: %v", c.Dialect, err)
			continue
		}
		back, err := c.Provider.DecodeResponse(llm.OpGenerate, body, dialect.DecodeOptions{})
		convtest.SameAnswer(t, string(c.Dialect), whole, back, losses, err)
	}
}

func recordedStream(t *testing.T, r *recording, d llm.Dialect) {
	events := recordedEvents(r, d)
	if err := convtest.Legal(events); err != nil {
		t.Fatal(err)
	}
	want, err := llm.Collect(events)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range codecs() {
		stream, losses, err := convtest.EncodeStream(c.Client, convtest.Answer(c.Dialect, nil), events)
		if err != nil {
			t.Errorf("%s: %v", c.Dialect, err)
			continue
		}
		again, err := convtest.DecodeStream(c.Provider, stream)
		if err != nil {
			t.Errorf("%s: %v", c.Dialect, err)
			continue
		}
		back, err := llm.Collect(again)
		convtest.SameAnswer(t, string(c.Dialect), want, back, losses, err)
	}
}

// recordedEvents reads a stream in the framing that it has, Gemini's array included.
func recordedEvents(r *recording, d llm.Dialect) (events []llm.Event) {
	dec := codec(d).Provider.NewEventDecoder(dialect.DecodeOptions{Op: llm.OpGenerate, ID: convtest.RequestID})
	frames := registry.NewFrames(d, r.header().Get("Content-Type"), 0)
	frames.Feed(r.body())
	for e, ok := frames.Next(); ok; e, ok = frames.Next() {
		if e.Data != nil {
			events = dec.Push(events, e.Name, e.Data)
		}
	}
	if e, ok := frames.End(); ok && e.Data != nil {
		events = dec.Push(events, e.Name, e.Data)
	}
	return dec.End(events)
}
