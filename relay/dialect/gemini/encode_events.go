package gemini

import (
	"bytes"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// NewEventEncoder implements dialect.ClientCodec: server-sent events.
func (Frontend) NewEventEncoder(o dialect.AnswerOptions) dialect.EventEncoder {
	return &eventEncoder{a: newAnswerWriter(o)}
}

// ArrayEncoder writes the stream of a client that did not ask for alt=sse: one JSON array, element by
// element.
type ArrayEncoder struct{ eventEncoder }

// NewArrayEncoder returns the array twin of NewEventEncoder.
func (Frontend) NewArrayEncoder(o dialect.AnswerOptions) *ArrayEncoder {
	return &ArrayEncoder{eventEncoder{a: newAnswerWriter(o), array: true}}
}

// Elements is the number of elements written so far, for ArrayFault.
func (e *ArrayEncoder) Elements() int { return e.frames }

// eventEncoder writes text and thoughts as they come, calls when they are complete, and the finish
// reason with the usage in the last frame.
type eventEncoder struct {
	a          answerWriter
	array      bool
	frames     int
	started    bool
	failed     bool
	seq        llm.Sequencer
	queue      []llm.Event
	candidates []openCandidate
	usage      llm.Usage
	counted    bool
}

type openCandidate struct {
	w       partWriter
	part    llm.Part // the open one
	text    []byte   // of it: arguments, hidden thoughts, text with citations to place
	before  int      // bytes of text before the open part
	wrote   bool     // a piece of the open part has gone out
	cites   []cited
	broken  string // path of a call that could not be read
	stop    llm.Stop
	stopped bool
}

// Append implements dialect.EventEncoder. Parts that overlap are written one after the other.
func (e *eventEncoder) Append(dst []byte, ev *llm.Event) ([]byte, error) {
	if e.failed {
		return dst, nil
	}
	q, err := e.seq.Push(e.queue[:0], *ev)
	if err != nil {
		e.failed = true
		return dst, fault.New(fault.UpstreamProtocol, "the provider's answer interleaves too much").With(err).At(fault.Partial)
	}
	for i := range q {
		if dst, err = e.event(dst, &q[i]); err != nil {
			e.failed = true
			break
		}
	}
	clear(q)
	e.queue = q
	return dst, err
}

func (e *eventEncoder) event(dst []byte, ev *llm.Event) ([]byte, error) {
	switch ev.Kind {
	case llm.EventStart:
		s := ev.Start
		e.started = true
		e.a.head(s.From, s.ID, s.ServiceTier, s.Extra)
		e.counted = ev.Usage != (llm.Usage{})
		e.usage = ev.Usage
		return dst, nil
	case llm.EventUsage:
		e.usage, e.counted = ev.Usage, true
		return dst, nil
	case llm.EventError:
		e.failed = true
		if e.array {
			return append(dst, ArrayFault(fault.As(ev.Err), e.a.o.ID, e.frames)...), nil
		}
		return append(dst, Frontend{}.FaultEvent(fault.As(ev.Err), e.a.o.ID)...), nil
	}
	for len(e.candidates) <= ev.Choice {
		e.candidates = append(e.candidates, openCandidate{w: partWriter{choice: len(e.candidates)}})
	}
	c := &e.candidates[ev.Choice]
	c.w.a = &e.a
	switch ev.Kind {
	case llm.EventPartStart:
		c.part, c.text, c.wrote = *ev.Part, c.text[:0], false
		if !ev.Part.Kind.Streams() {
			w, f := e.open(dst, ev.Choice)
			c.w.whole(&w, ev.Part, ev.Index)
			return e.close(dst, w, f), nil
		}
	case llm.EventDelta:
		return e.delta(dst, c, ev), nil
	case llm.EventPartEnd:
		if c.part.Kind.Streams() {
			return e.end(dst, c, ev), nil
		}
	case llm.EventStop:
		c.stop, c.stopped = ev.Stop, true
		if c.broken != "" {
			return dst, e.a.brokenCall(&c.stop, c.broken)
		}
	}
	return dst, nil
}

func (e *eventEncoder) delta(dst []byte, c *openCandidate, ev *llm.Event) []byte {
	thought := c.part.Kind == llm.PartThinking
	if c.part.Kind == llm.PartCall || thought && e.a.hides() {
		c.text = append(c.text, ev.Text...)
		return dst
	}
	if !thought && e.a.from != llm.Gemini { // for the places of citations
		c.text = append(c.text, ev.Text...)
	}
	w, f := e.open(dst, ev.Choice)
	f.logprobs = ev.Logprobs
	c.w.text(&w, ev.Text, thought, nil)
	c.wrote = true
	return e.close(dst, w, f)
}

// end writes what a part's end brings: the call, a hidden thought that is signed, a late signature.
func (e *eventEncoder) end(dst []byte, c *openCandidate, ev *llm.Event) []byte {
	p := &c.part
	if l := ev.Part; l != nil {
		if l.Seal != nil {
			p.Seal = l.Seal
		}
		if e.a.cites(l.Citations) {
			c.cites = append(c.cites, cited{cs: l.Citations, said: bytes.Clone(c.text), before: c.before})
		}
	}
	if p.Kind == llm.PartText || p.Kind == llm.PartRefusal {
		c.before += len(c.text)
	}
	w, f := e.open(dst, ev.Choice)
	switch {
	case p.Kind == llm.PartCall:
		p.Text = string(c.text)
		if !c.w.call(&w, p, p.Args(), p.Seal) {
			c.broken = dialect.AnswerPart(e.a.from, ev.Choice, ev.Index)
		}
	case p.Kind == llm.PartThinking && !c.wrote:
		p.Text = string(c.text)
		c.w.thinking(&w, p)
	case p.Seal == nil:
	case p.Seal.Origin == llm.Gemini && p.Seal.Scope == "":
		c.w.flush(&w, len(c.w.held))
		c.w.text(&w, "", p.Kind == llm.PartThinking, p.Seal)
	default:
		c.w.held = append(c.w.held, carrier.Encode(carrier.Prev, p.Seal))
	}
	return e.close(dst, w, f)
}

// frame is where a frame and its parts begin, to take it back when nothing was written.
type frame struct {
	choice   int
	parts    int
	logprobs []llm.Logprob
}

func (e *eventEncoder) open(dst []byte, choice int) (dialect.Writer, frame) {
	dst = e.lead(dst)
	dst = append(dst, `{"candidates":[{"content":{"parts":[`...)
	return dialect.NewWriter(dst), frame{choice: choice, parts: len(dst)}
}

func (e *eventEncoder) lead(dst []byte) []byte {
	switch {
	case !e.array:
		return append(dst, "data: "...)
	case e.frames == 0:
		return append(dst, '[')
	}
	return append(dst, ",\n"...)
}

func (e *eventEncoder) close(dst []byte, w dialect.Writer, f frame) []byte {
	if len(w.Take()) == f.parts {
		return dst
	}
	w.Close(']')
	w.StrMember("role", "model")
	w.Close('}')
	w.IntMember("index", int64(f.choice))
	if len(f.logprobs) > 0 {
		writeLogprobs(&w, f.logprobs)
	}
	w.Close('}')
	w.Close(']')
	return e.tail(w)
}

func (e *eventEncoder) tail(w dialect.Writer) []byte {
	if e.frames == 0 {
		w.Extra(e.a.extra)
	}
	e.a.tail(&w)
	w.Close('}')
	e.frames++
	dst := w.Take()
	if !e.array {
		dst = append(dst, "\r\n\r\n"...)
	}
	return dst
}

// Close implements dialect.EventEncoder: the last frame of each candidate, with the usage.
func (e *eventEncoder) Close(dst []byte) ([]byte, error) {
	if e.failed || !e.started {
		return dst, nil
	}
	e.failed = true
	if len(e.candidates) == 1 && e.frames == 0 && e.candidates[0].stop.Reason == llm.StopBlocked && e.a.extra.Get("promptFeedback") != nil {
		w := dialect.NewWriter(e.lead(dst))
		w.Open('{')
		e.count(&w)
		dst = e.tail(w)
	} else {
		for i := range e.candidates {
			dst = e.last(dst, &e.candidates[i], i)
		}
	}
	if e.array {
		dst = append(dst, "]\n"...)
	}
	return dst, nil
}

func (e *eventEncoder) last(dst []byte, c *openCandidate, choice int) []byte {
	w, f := e.open(dst, choice)
	c.w.flush(&w, len(c.w.held))
	if len(w.Take()) == f.parts {
		// Google's chat helper for Go takes a frame without content for a broken answer.
		w.Open('{')
		w.StrMember("text", "")
		w.Close('}')
	}
	w.Close(']')
	w.StrMember("role", "model")
	w.Close('}')
	e.a.stop(&w, &c.stop)
	w.IntMember("index", int64(choice))
	if len(c.cites) > 0 {
		writeGrounding(&w, c.cites)
	}
	e.a.stopExtra(&w, &c.stop, choice)
	w.Close('}')
	w.Close(']')
	e.count(&w)
	return e.tail(w)
}

func (e *eventEncoder) count(w *dialect.Writer) {
	if e.counted {
		e.a.usage(w, e.usage)
	}
}

// Losses implements dialect.EventEncoder.
func (e *eventEncoder) Losses() []llm.Loss { return e.a.losses }
