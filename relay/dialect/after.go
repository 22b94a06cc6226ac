package dialect

import (
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// After is what the relay does to an answer because the provider does not: it gives tools their own
// names back and ends texts at stop sequences. The zero value changes nothing.
type After struct {
	Names   map[string]string // the client's name of a tool by the one on the wire
	Stop    []string
	Choices int64 // answers that were asked for, for Stop; 0 and 1 are the same
}

func (a *After) idle() bool { return len(a.Names) == 0 && len(a.Stop) == 0 }

// Response changes a whole answer. An answer that is cut is as the same answer streamed would be.
func (a *After) Response(r *llm.Response) (*llm.Response, error) {
	if a.idle() {
		return r, nil
	}
	s := a.Stream()
	var events []llm.Event
	for _, e := range r.Events(nil) {
		events = s.Push(events, &e)
	}
	out, err := llm.Collect(events)
	if err != nil {
		return nil, fault.New(fault.UpstreamProtocol, "the provider's answer makes no sense").With(err)
	}
	return out, nil
}

// Stream changes a streamed answer event by event; nil when there is nothing to change.
func (a *After) Stream() *AfterStream {
	if a.idle() {
		return nil
	}
	return &AfterStream{a: a}
}

// AfterStream is After at work on one stream. Not safe for concurrent use.
type AfterStream struct {
	a       *After
	choices []afterChoice
}

// afterChoice is one answer of the stream.
type afterChoice struct {
	text     int // number of the open text; meaningful when open
	open     bool
	held     string        // the end of the text that may begin a stop sequence
	logprobs []llm.Logprob // of held
	calls    []int         // numbers of open calls
	called   bool
	hit      string // the sequence that ended it
	ended    bool   // and said so
}

// Push appends what the client gets to see of e.
func (s *AfterStream) Push(dst []llm.Event, e *llm.Event) []llm.Event {
	switch e.Kind {
	case llm.EventStart, llm.EventUsage:
		return append(dst, *e)
	case llm.EventError:
		for i := range s.choices {
			dst = s.choices[i].flush(dst, i)
		}
		return append(dst, *e)
	}
	for len(s.choices) <= e.Choice {
		s.choices = append(s.choices, afterChoice{})
	}
	c := &s.choices[e.Choice]
	if c.hit != "" && !c.concerns(e) {
		return dst
	}
	switch e.Kind {
	case llm.EventPartStart:
		out := *e
		if e.Part.Kind == llm.PartText {
			c.text, c.open = e.Index, len(s.a.Stop) > 0
		}
		if e.Part.Kind == llm.PartCall {
			c.called = true
			c.calls = append(c.calls, e.Index)
			if name, ok := s.a.Names[e.Part.Name]; ok {
				p := *e.Part
				p.Name = name
				out.Part = &p
			}
		}
		return append(dst, out)
	case llm.EventDelta:
		if c.open && e.Index == c.text {
			return s.delta(dst, c, e)
		}
	case llm.EventPartEnd:
		if c.open && e.Index == c.text {
			dst = c.flush(dst, e.Choice)
			c.open = false
		}
		c.calls = slices.DeleteFunc(c.calls, func(i int) bool { return i == e.Index })
		dst = append(dst, *e)
		return c.end(dst, e.Choice)
	}
	return append(dst, *e)
}

// concerns tells what still passes after a hit: the rest of calls that were open beside the text.
func (c *afterChoice) concerns(e *llm.Event) bool {
	return !c.ended && (e.Kind == llm.EventDelta || e.Kind == llm.EventPartEnd) && slices.Contains(c.calls, e.Index)
}

func (s *AfterStream) delta(dst []llm.Event, c *afterChoice, e *llm.Event) []llm.Event {
	text := c.held + e.Text
	c.logprobs = append(c.logprobs, e.Logprobs...)
	at, hit := firstStop(text, s.a.Stop)
	if hit == "" {
		keep := pendingStop(text, s.a.Stop)
		c.held = text
		return c.emit(dst, e.Choice, len(text)-keep)
	}
	c.held, c.hit = text[:at], hit
	dst = c.emit(dst, e.Choice, at)
	c.logprobs, c.open = nil, false
	dst = append(dst, llm.Event{Kind: llm.EventPartEnd, Choice: e.Choice, Index: e.Index})
	return c.end(dst, e.Choice)
}

// emit gives the first n bytes of what is held, with the logprobs of the tokens that they hold whole.
func (c *afterChoice) emit(dst []llm.Event, choice, n int) []llm.Event {
	if n == 0 {
		return dst
	}
	tokens, size := 0, 0
	for tokens < len(c.logprobs) && size+len(c.logprobs[tokens].Token) <= n {
		size += len(c.logprobs[tokens].Token)
		tokens++
	}
	e := llm.Event{Kind: llm.EventDelta, Choice: choice, Index: c.text, Text: c.held[:n]}
	if tokens > 0 {
		e.Logprobs = slices.Clip(c.logprobs[:tokens])
	}
	c.held, c.logprobs = c.held[n:], c.logprobs[tokens:]
	return append(dst, e)
}

// flush gives all that is held: no stop sequence can end in it any more.
func (c *afterChoice) flush(dst []llm.Event, choice int) []llm.Event {
	if !c.open || c.held == "" {
		return dst
	}
	e := llm.Event{Kind: llm.EventDelta, Choice: choice, Index: c.text, Text: c.held, Logprobs: c.logprobs}
	c.held, c.logprobs = "", nil
	return append(dst, e)
}

// end says that the choice has stopped, once it was cut and no call is open.
func (c *afterChoice) end(dst []llm.Event, choice int) []llm.Event {
	if c.hit == "" || c.ended || len(c.calls) > 0 {
		return dst
	}
	c.ended = true
	stop := llm.Stop{Reason: llm.StopSequence, Sequence: c.hit}
	if c.called { // its results are waited for all the same
		stop = llm.Stop{Reason: llm.StopCalls}
	}
	return append(dst, llm.Event{Kind: llm.EventStop, Choice: choice, Stop: stop})
}

// Done reports that every answer was cut: nothing of what the provider still sends would be seen, so
// it may be told to stop.
func (s *AfterStream) Done() bool {
	n := int64(0)
	for i := range s.choices {
		if s.choices[i].ended {
			n++
		}
	}
	return n > 0 && n >= s.a.Choices
}

// firstStop finds the stop sequence that is complete first, however the text comes; of two that end
// together the longer one. hit is "" when there is none.
func firstStop(text string, stops []string) (at int, hit string) {
	end := len(text) + 1
	for _, s := range stops {
		i := strings.Index(text, s)
		if s == "" || i < 0 {
			continue
		}
		if e := i + len(s); e < end || e == end && i < at {
			at, hit, end = i, s, e
		}
	}
	return at, hit
}

// pendingStop is the length of the end of text that may become a stop sequence.
func pendingStop(text string, stops []string) int {
	longest := 0
	for _, s := range stops {
		for n := min(len(s)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, s[:n]) {
				longest = n
				break
			}
		}
	}
	return longest
}
