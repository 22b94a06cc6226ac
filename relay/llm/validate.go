package llm

import (
	"errors"
	"fmt"
	"slices"
)

// maxChoices bounds what one stream can make a validator or an accumulator keep; vendors allow 128.
const maxChoices = 128

// Validator checks a stream against the grammar of Event. The zero value is ready. It runs in every
// test and fuzzer of a decoder, and costs no allocation for a delta. Not safe for concurrent use.
type Validator struct {
	started, failed bool
	choices         []choiceState
	usage           Usage
	err             error
}

type choiceState struct {
	begun, stopped, called bool
	next                   int
	open                   []openPart
	ids                    []string
}

type openPart struct {
	index  int
	kind   PartKind
	silent bool // redacted thinking
	late   lateSet
}

// lateSet notes what the start of a part has brought already.
type lateSet struct{ seal, opaque, extra bool }

// Push checks the next event. After an error every call returns that error.
func (v *Validator) Push(e *Event) error {
	if v.err == nil {
		if err := v.push(e); err != nil {
			v.err = fmt.Errorf("event %s of choice %d, part %d: %w", e.Kind, e.Choice, e.Index, err)
		}
	}
	return v.err
}

func (v *Validator) push(e *Event) error {
	switch {
	case v.failed:
		return errors.New("comes after an error")
	case e.Kind == EventError:
		v.failed = true
		if e.Err == nil {
			return errors.New("has no error")
		}
		return nil
	case e.Kind == EventStart:
		if v.started || e.Start == nil {
			return errors.New("is a second start, or has no head")
		}
		v.started = true
		return v.count(e.Usage)
	case !v.started:
		return errors.New("comes before the start")
	case e.Kind == EventUsage:
		return v.count(e.Usage)
	}
	if e.Choice < 0 || e.Choice >= maxChoices {
		return errors.New("has an impossible choice")
	}
	for len(v.choices) <= e.Choice {
		v.choices = append(v.choices, choiceState{})
	}
	c := &v.choices[e.Choice]
	if c.stopped {
		return errors.New("comes after the stop")
	}
	c.begun = true
	switch e.Kind {
	case EventPartStart:
		return c.start(e)
	case EventDelta:
		i := c.find(e.Index)
		switch {
		case i < 0:
			return errors.New("names a part that is not open")
		case e.Text == "":
			return errors.New("is empty")
		case !c.open[i].kind.Streams() || c.open[i].silent:
			return errors.New("belongs to a part that comes whole")
		}
		return nil
	case EventPartEnd:
		return c.end(e)
	case EventStop:
		switch {
		case len(c.open) > 0:
			return errors.New("leaves a part open")
		case e.Stop.Reason == StopUnknown || e.Stop.Reason > StopBroken || e.Stop.Reason.Derive(c.called) != e.Stop.Reason:
			return errors.New("has a reason that contradicts the content: " + e.Stop.Reason.String())
		}
		c.stopped = true
		return nil
	}
	return errors.New("is of no known kind")
}

func (v *Validator) count(u Usage) error {
	o := v.usage
	if u != u.Max(Usage{}) || u != u.bounded() {
		return errors.New("has counts that contradict each other")
	}
	if u != u.Max(o) {
		return errors.New("has counts that shrink")
	}
	v.usage = u
	return nil
}

func (c *choiceState) find(index int) int {
	for i := range c.open {
		if c.open[i].index == index {
			return i
		}
	}
	return -1
}

func (c *choiceState) start(e *Event) error {
	p := e.Part
	switch {
	case p == nil:
		return errors.New("has no part")
	case e.Index != c.next:
		return fmt.Errorf("is out of order: want number %d", c.next)
	case p.Kind > PartOpaque || p.Kind == PartResult:
		return errors.New("has a part that is not for answers: " + p.Kind.String())
	case p.Kind.Streams() && p.Text != "":
		return errors.New("brings text that belongs in deltas")
	case p.Citations != nil:
		return errors.New("brings citations that belong at the end")
	case p.Redacted && (p.Kind != PartThinking || p.Seal == nil):
		return errors.New("is redacted without a seal")
	case p.Kind == PartOpaque && p.Opaque == nil:
		return errors.New("is opaque without content")
	case p.Kind >= PartImage && p.Kind <= PartVideo && p.Media == nil:
		return errors.New("has no media")
	}
	if p.Kind == PartCall {
		if p.ID == "" || p.Name == "" || slices.Contains(c.ids, p.ID) {
			return errors.New("is a call without a name, or without an id of its own")
		}
		c.ids, c.called = append(c.ids, p.ID), true
	} else {
		for i := range c.open {
			if c.open[i].kind != PartCall {
				return errors.New("overlaps an open " + c.open[i].kind.String())
			}
		}
	}
	c.next++
	c.open = append(c.open, openPart{e.Index, p.Kind, p.Redacted, lateSet{p.Seal != nil, p.Opaque != nil, p.Extra != nil}})
	return nil
}

func (c *choiceState) end(e *Event) error {
	i := c.find(e.Index)
	if i < 0 {
		return errors.New("names a part that is not open")
	}
	if p := e.Part; p != nil {
		l := c.open[i].late
		switch {
		case p.Text != "" || p.ID != "" || p.Name != "" || p.Media != nil || p.Content != nil:
			return errors.New("brings more than a seal, citations, opaque and extra")
		case l.seal && p.Seal != nil || l.opaque && p.Opaque != nil || l.extra && p.Extra != nil:
			return errors.New("brings what the start brought already")
		}
	}
	c.open = slices.Delete(c.open, i, i+1)
	return nil
}

// End checks that the stream may end here.
func (v *Validator) End() error {
	switch {
	case v.err != nil:
		return v.err
	case v.failed:
		return nil
	case !v.started:
		return errors.New("stream without a start")
	case len(v.choices) == 0:
		return errors.New("stream without a stop")
	}
	for i := range v.choices {
		if !v.choices[i].stopped {
			return fmt.Errorf("stream ends before choice %d stopped", i)
		}
	}
	return nil
}
