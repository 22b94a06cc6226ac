package llm

import "errors"

// Accumulator folds a stream into the Response it describes, so that a streamed and a whole answer
// can be compared, and a streamed one answered whole. It checks the grammar as it goes. The zero
// value is ready; not safe for concurrent use.
type Accumulator struct {
	check Validator
	resp  Response
	texts [][]textBuf // by choice and part
	fault error
}

type textBuf struct{ b []byte }

// Push folds in the next event. The error is a breach of the grammar; an EventError is none.
func (a *Accumulator) Push(e *Event) error {
	if err := a.check.Push(e); err != nil {
		return err
	}
	switch e.Kind {
	case EventStart:
		s := e.Start
		a.resp.From, a.resp.ID, a.resp.Model, a.resp.Created = s.From, s.ID, s.Model, s.Created
		a.resp.ServiceTier, a.resp.Extra = s.ServiceTier, s.Extra
		if e.Usage != (Usage{}) {
			a.resp.Usage, a.resp.HasUsage = e.Usage, true
		}
	case EventUsage:
		a.resp.Usage, a.resp.HasUsage = e.Usage, true
	case EventError:
		a.fault = e.Err
	case EventPartStart:
		c := a.choice(e.Choice)
		c.Parts = append(c.Parts, *e.Part)
		a.texts[e.Choice] = append(a.texts[e.Choice], textBuf{})
	case EventDelta:
		t := &a.texts[e.Choice][e.Index]
		t.b = append(t.b, e.Text...)
		c := a.choice(e.Choice)
		c.Logprobs = append(c.Logprobs, e.Logprobs...)
	case EventPartEnd:
		p := &a.choice(e.Choice).Parts[e.Index]
		a.close(e.Choice, e.Index)
		if l := e.Part; l != nil {
			p.Citations = l.Citations
			if l.Seal != nil {
				p.Seal = l.Seal
			}
			if l.Opaque != nil {
				p.Opaque = l.Opaque
			}
			if l.Extra != nil {
				p.Extra = l.Extra
			}
		}
	case EventStop:
		a.choice(e.Choice).Stop = e.Stop
	}
	return nil
}

func (a *Accumulator) choice(i int) *Choice {
	for len(a.resp.Choices) <= i {
		a.resp.Choices = append(a.resp.Choices, Choice{})
		a.texts = append(a.texts, nil)
	}
	return &a.resp.Choices[i]
}

func (a *Accumulator) close(choice, index int) {
	t := &a.texts[choice][index]
	if t.b != nil {
		a.resp.Choices[choice].Parts[index].Text = string(t.b)
		t.b = nil
	}
}

// End gives the whole answer. The error is the stream's own (a *fault.Error), or a breach of the
// grammar; with the former the answer so far is given too.
func (a *Accumulator) End() (*Response, error) {
	if err := a.check.End(); err != nil {
		return nil, err
	}
	for c := range a.texts {
		for i := range a.texts[c] {
			a.close(c, i)
		}
	}
	if a.fault != nil {
		return &a.resp, a.fault
	}
	return &a.resp, nil
}

// Collect folds events; it is Accumulator for a finished slice.
func Collect(events []Event) (*Response, error) {
	var a Accumulator
	for i := range events {
		if err := a.Push(&events[i]); err != nil {
			return nil, err
		}
	}
	return a.End()
}

// maxQueued bounds the bytes a Sequencer keeps back; vendors' calls are far smaller.
const maxQueued = 64 << 20

var errQueue = errors.New("too much interleaved output")

// Sequencer turns a stream with overlapping parts into one in which a part starts only after the one
// before has ended. The first open part flows on at once, later ones wait for it. The zero value is
// ready; a stream without overlap passes through without allocation. Not safe for concurrent use.
type Sequencer struct {
	choices []seqState
	queued  int
}

type seqState struct {
	live  int // the part that flows
	queue []Event
}

// Push appends to dst what may be written now. An error means the stream must be given up.
func (s *Sequencer) Push(dst []Event, e Event) ([]Event, error) {
	switch e.Kind {
	case EventPartStart, EventDelta, EventPartEnd:
	default:
		return append(dst, e), nil // a stop comes when nothing is open, so nothing waits
	}
	if e.Choice < 0 || e.Choice >= maxChoices {
		return dst, errQueue
	}
	for len(s.choices) <= e.Choice {
		s.choices = append(s.choices, seqState{})
	}
	c := &s.choices[e.Choice]
	if e.Index != c.live {
		if s.queued += len(e.Text) + 64; s.queued > maxQueued {
			return dst, errQueue
		}
		c.queue = append(c.queue, e)
		return dst, nil
	}
	dst = append(dst, e)
	if e.Kind != EventPartEnd {
		return dst, nil
	}
	for moved := true; moved; {
		c.live++
		moved = false
		keep := c.queue[:0]
		for _, q := range c.queue {
			if q.Index != c.live {
				keep = append(keep, q)
				continue
			}
			s.queued -= len(q.Text) + 64
			dst = append(dst, q)
			moved = moved || q.Kind == EventPartEnd
		}
		clear(c.queue[len(keep):])
		c.queue = keep
	}
	return dst, nil
}
