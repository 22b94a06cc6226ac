package anthropic

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// NewEventEncoder implements dialect.ClientCodec.
func (Frontend) NewEventEncoder(o dialect.AnswerOptions) dialect.EventEncoder {
	return &eventEncoder{a: answerWriter{o: o, l: dialect.Losses{To: llm.AnthropicMessages}}}
}

// eventEncoder writes message events. Blocks open with their first content, so none is empty; one is
// open at a time, so interleaved calls wait for each other. What message_delta says is known only at
// the end: some providers send usage after the stop.
type eventEncoder struct {
	a     answerWriter
	seq   llm.Sequencer
	ready []llm.Event
	index int // of the next block
	part  llm.Part
	open  bool // the part's block has been opened
	// late is a text's seal that came after it, to be written when more follows: nothing stands behind
	// the last text, which is what some clients take for the answer (Claude Code).
	late     *llm.Seal
	latePart int
	usage    llm.Usage
	tier     string
	stop     llm.Stop
	refused  bool
	stopped  bool
	failed   bool
	lost     bool // other choices were reported
}

// Losses implements dialect.EventEncoder.
func (e *eventEncoder) Losses() []llm.Loss { return e.a.l.List }

// Append implements dialect.EventEncoder.
func (e *eventEncoder) Append(dst []byte, ev *llm.Event) ([]byte, error) {
	switch {
	case e.failed:
		return dst, nil
	case ev.Kind == llm.EventError:
		e.failed = true
		return append(dst, Frontend{}.FaultEvent(fault.As(ev.Err), e.a.o.ID)...), nil
	case ev.Kind == llm.EventStart:
		return e.start(dst, ev), nil
	case ev.Kind == llm.EventUsage:
		e.usage = ev.Usage
		return dst, nil
	case ev.Choice != 0:
		if !e.lost {
			e.lost = true
			e.a.l.Drop(dialect.AnswerChoice(e.a.l.From, ev.Choice), llm.LostNoEquivalent)
		}
		return dst, nil
	case ev.Kind == llm.EventStop:
		e.stop, e.stopped = ev.Stop, true
		return dst, nil
	}
	var err error
	if e.ready, err = e.seq.Push(e.ready[:0], *ev); err != nil {
		e.failed = true
		return dst, fault.New(fault.UpstreamProtocol, "the provider interleaves too much output").With(err).At(fault.Partial)
	}
	for i := range e.ready {
		dst = e.next(dst, &e.ready[i])
	}
	return dst, nil
}

// Close implements dialect.EventEncoder.
func (e *eventEncoder) Close(dst []byte) ([]byte, error) {
	if e.failed || !e.stopped {
		return dst, nil
	}
	e.failed = true // a second Close writes nothing
	if e.late != nil {
		e.a.lostPart(e.latePart, "thoughtSignature", llm.LostNoEquivalent)
	}
	w := frame(dst, "message_delta")
	w.Name("delta")
	w.Open('{')
	e.a.stop(&w, &e.stop, e.refused)
	w.Close('}')
	w.Name("usage")
	writeUsage(&w, e.usage, e.tier, false)
	return append(done(&w), "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...), nil
}

// frame begins an event whose data is an object with its type.
func frame(dst []byte, name string) dialect.Writer {
	dst = append(dst, "event: "...)
	dst = append(dst, name...)
	dst = append(dst, "\ndata: "...)
	w := dialect.NewWriter(dst)
	w.Open('{')
	w.StrMember("type", name)
	return w
}

func done(w *dialect.Writer) []byte {
	w.Close('}')
	return append(w.Take(), '\n', '\n')
}

func (e *eventEncoder) start(dst []byte, ev *llm.Event) []byte {
	s := ev.Start
	e.a.own, e.a.l.From = s.From == llm.AnthropicMessages, s.From
	e.usage, e.tier = ev.Usage, s.ServiceTier
	if !e.a.own {
		e.a.l.Extra(s.Extra, "")
	}
	w := frame(dst, "message_start")
	w.Name("message")
	w.Open('{')
	e.a.head(&w, s.ID)
	w.Name("content")
	w.Open('[')
	w.Close(']')
	w.Name("stop_reason")
	w.Null()
	w.Name("stop_sequence")
	w.Null()
	if e.a.own {
		w.Extra(s.Extra)
	}
	w.Name("usage")
	usage := ev.Usage
	if !e.a.own {
		// No more than the vendor has there, the count of a begun answer: another provider's comes again
		// in message_delta, and some clients add the two (LangChain).
		usage.Output, usage.Reasoning = min(usage.Output, 1), 0
		if usage.Input == 0 {
			usage.Input = e.a.o.InputEstimate // some read the input here and nowhere else (LangChain.js)
		}
	}
	writeUsage(&w, usage, e.tier, e.a.own)
	w.Close('}')
	return done(&w)
}

func (e *eventEncoder) next(dst []byte, ev *llm.Event) []byte {
	switch ev.Kind {
	case llm.EventPartStart:
		return e.partStart(dst, ev)
	case llm.EventDelta:
		return e.delta(dst, ev.Text)
	}
	return e.partEnd(dst, ev)
}

func (e *eventEncoder) partStart(dst []byte, ev *llm.Event) []byte {
	if e.late != nil {
		dst = e.sealed(dst, carrier.Prev, e.late)
		e.late = nil
	}
	p := ev.Part
	e.part, e.open = *p, false
	if !e.a.own {
		e.a.l.Extra(p.Extra, dialect.AnswerPart(e.a.l.From, 0, ev.Index))
	}
	switch p.Kind {
	case llm.PartThinking:
		if show, _ := e.a.thinking(); p.Redacted && show {
			return e.whole(dst, func(w *dialect.Writer) { e.a.thinkingBlock(w, p) })
		}
	case llm.PartOpaque:
		return e.whole(dst, func(w *dialect.Writer) { opaqueBlock(w, p.Opaque) })
	case llm.PartCall:
		if p.Seal != nil {
			dst = e.sealed(dst, carrier.Next, p.Seal)
		}
		return e.openBlock(dst)
	case llm.PartText:
	case llm.PartRefusal:
		e.refused = true
	default:
		e.a.lostPart(ev.Index, "", llm.LostNoEquivalent)
	}
	return dst
}

// whole writes a block that has no deltas.
func (e *eventEncoder) whole(dst []byte, block func(*dialect.Writer)) []byte {
	w := e.blockStart(dst)
	block(&w)
	return e.closeBlock(done(&w))
}

func (e *eventEncoder) blockStart(dst []byte) dialect.Writer {
	w := frame(dst, "content_block_start")
	w.IntMember("index", int64(e.index))
	w.Name("content_block")
	return w
}

func (e *eventEncoder) closeBlock(dst []byte) []byte {
	dst = append(dst, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":"...)
	dst = appendIndex(dst, e.index)
	e.index++
	e.open = false
	return append(dst, "}\n\n"...)
}

// openBlock opens the part's own block.
func (e *eventEncoder) openBlock(dst []byte) []byte {
	p := &e.part
	if p.Seal != nil && (p.Kind == llm.PartText || p.Kind == llm.PartRefusal) {
		dst = e.sealed(dst, carrier.Next, p.Seal)
		p.Seal = nil
	}
	w := e.blockStart(dst)
	switch p.Kind {
	case llm.PartThinking:
		w.Raw([]byte(`{"type":"thinking","thinking":"","signature":""}`))
	case llm.PartCall:
		w.Open('{')
		w.StrMember("type", "tool_use")
		w.StrMember("id", carrier.ID(llm.AnthropicMessages, p.ID))
		w.StrMember("name", p.Name)
		w.RawMember("input", []byte("{}"))
		if e.a.own {
			w.Extra(p.Extra)
		}
		w.Close('}')
	default:
		w.Raw([]byte(`{"type":"text","text":""}`))
	}
	e.open = true
	return done(&w)
}

func (e *eventEncoder) delta(dst []byte, text string) []byte {
	head := `{"type":"text_delta","text":`
	switch e.part.Kind {
	case llm.PartThinking:
		if show, shown := e.a.thinking(); !show || !shown {
			return dst
		}
		head = `{"type":"thinking_delta","thinking":`
	case llm.PartCall:
		head = `{"type":"input_json_delta","partial_json":`
	}
	if !e.open {
		dst = e.openBlock(dst)
	}
	return e.writeDelta(dst, head, text)
}

func (e *eventEncoder) writeDelta(dst []byte, head, text string) []byte {
	dst = append(dst, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"...)
	dst = appendIndex(dst, e.index)
	dst = append(dst, ",\"delta\":"...)
	dst = append(dst, head...)
	dst, _ = jsontext.AppendQuote(dst, text)
	return append(dst, "}}\n\n"...)
}

func (e *eventEncoder) partEnd(dst []byte, ev *llm.Event) []byte {
	seal := e.part.Seal
	var cites []llm.Citation
	if ev.Part != nil {
		if cites = ev.Part.Citations; ev.Part.Seal != nil {
			seal = ev.Part.Seal
		}
		if !e.a.own {
			e.a.l.Extra(ev.Part.Extra, dialect.AnswerPart(e.a.l.From, 0, ev.Index))
		}
	}
	switch e.part.Kind {
	case llm.PartThinking:
		return e.endThinking(dst, seal)
	case llm.PartText, llm.PartRefusal, llm.PartCall:
	default:
		return dst
	}
	if e.open {
		for i := range cites {
			dst = e.citation(dst, &cites[i], ev.Index)
		}
		dst = e.closeBlock(dst)
	}
	switch {
	case seal == nil:
	case e.part.Kind != llm.PartCall:
		e.late, e.latePart = seal, ev.Index
	case e.part.Seal == nil:
		dst = e.sealed(dst, carrier.Prev, seal)
	}
	return dst
}

func (e *eventEncoder) endThinking(dst []byte, seal *llm.Seal) []byte {
	show, _ := e.a.thinking()
	if !show || e.part.Redacted {
		return dst
	}
	if seal != nil {
		if !e.open {
			dst = e.openBlock(dst)
		}
		dst = e.writeDelta(dst, `{"type":"signature_delta","signature":`, carrier.Text(llm.AnthropicMessages, carrier.Own, seal))
	}
	if e.open {
		dst = e.closeBlock(dst)
	}
	return dst
}

func (e *eventEncoder) citation(dst []byte, c *llm.Citation, part int) []byte {
	if !c.Opaque.For(llm.AnthropicMessages, "") && c.URL == "" {
		e.a.lostPart(part, "citations", llm.LostNoEquivalent)
		return dst
	}
	w := frame(dst, "content_block_delta")
	w.IntMember("index", int64(e.index))
	w.Name("delta")
	w.Open('{')
	w.StrMember("type", "citations_delta")
	w.Name("citation")
	writeCitation(&w, c)
	w.Close('}')
	return done(&w)
}

// sealed carries a neighbour's seal in an empty thinking block, its signature as a delta: SDKs collect
// it there.
func (e *eventEncoder) sealed(dst []byte, use carrier.Use, s *llm.Seal) []byte {
	w := e.blockStart(dst)
	w.Raw([]byte(`{"type":"thinking","thinking":"","signature":""}`))
	dst = e.writeDelta(done(&w), `{"type":"signature_delta","signature":`, carrier.Encode(use, s))
	return e.closeBlock(dst)
}

func appendIndex(dst []byte, i int) []byte {
	if i < 10 {
		return append(dst, byte('0'+i))
	}
	return append(appendIndex(dst, i/10), byte('0'+i%10))
}
