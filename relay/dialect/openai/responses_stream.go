package openai

import (
	"strconv"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// responsesStream writes a client's stream in the order of recorded ones: created, in_progress, the
// items, and a final event with the whole response.
type responsesStream struct {
	w        responseWriter
	seq      int64
	items    []*streamItem // by output_index
	parts    []*streamItem // by number of the part; nil = not shown
	usage    llm.Usage
	hasUsage bool
	stop     llm.Stop
	from     llm.Dialect
	l        dialect.Losses
	started  bool
	failed   bool
	others   bool // a choice that this protocol has no place for was reported
}

// streamItem is an item that has begun.
type streamItem struct {
	outItem
	index int
	begun bool   // the first delta has come
	done  []byte // the whole item
}

// NewEventEncoder implements dialect.ClientCodec.
func (Responses) NewEventEncoder(o dialect.AnswerOptions) dialect.EventEncoder {
	return &responsesStream{w: responseWriter{o: o}, l: dialect.Losses{To: llm.OpenAIResponses}}
}

// Append implements dialect.EventEncoder.
func (s *responsesStream) Append(dst []byte, e *llm.Event) ([]byte, error) {
	if e.Kind == llm.EventDelta && e.Choice == 0 && e.Index < len(s.parts) {
		if it := s.parts[e.Index]; it != nil {
			dst = s.delta(dst, it, e.Text, e.Logprobs)
		}
		return dst, nil
	}
	switch e.Kind {
	case llm.EventStart:
		return s.start(dst, e), nil
	case llm.EventUsage:
		s.usage, s.hasUsage = e.Usage, true
		return dst, nil
	case llm.EventError:
		s.failed = true
		return s.fail(dst, e.Err), nil
	}
	if e.Choice != 0 {
		if !s.others {
			s.others = true
			s.l.Drop(dialect.AnswerChoice(s.from, e.Choice), llm.LostNoEquivalent)
		}
		return dst, nil
	}
	switch e.Kind {
	case llm.EventPartStart:
		return s.open(dst, e.Part), nil
	case llm.EventPartEnd:
		if it := s.parts[e.Index]; it != nil {
			return s.close(dst, it, e), nil
		}
	case llm.EventStop:
		s.stop = e.Stop
		if s.from != llm.OpenAIResponses {
			s.l.Extra(e.Stop.Extra, dialect.AnswerChoice(s.from, 0))
		}
	}
	return dst, nil
}

func (s *responsesStream) start(dst []byte, e *llm.Event) []byte {
	h := e.Start
	s.started, s.from, s.l.From = true, h.From, h.From
	if e.Usage != (llm.Usage{}) {
		s.usage, s.hasUsage = e.Usage, true
	}
	if h.From != llm.OpenAIResponses {
		s.l.Extra(h.Extra, "")
	}
	s.w.seed = idSeed(h.ID, s.w.o.ID)
	s.w.id, s.w.created, s.w.tier = responseID(h.ID, s.w.seed), h.Created, h.ServiceTier
	s.w.settings = echo(&s.w.o)
	for _, name := range []string{"response.created", "response.in_progress"} {
		dst = s.head(dst, name)
		dst = append(dst, `,"response":`...)
		dst = s.w.append(dst, llm.StopUnknown, "", nil, llm.Usage{}, false, false)
		dst = append(dst, "}\n\n"...)
	}
	return dst
}

// head begins a frame; "}\n\n" ends it.
func (s *responsesStream) head(b []byte, name string) []byte {
	b = append(b, "event: "...)
	b = append(b, name...)
	b = append(b, "\ndata: {\"type\":\""...)
	b = append(b, name...)
	b = append(b, `","sequence_number":`...)
	b = strconv.AppendInt(b, s.seq, 10)
	s.seq++
	return b
}

// about names the item that a frame is about.
func about(b []byte, it *streamItem) []byte {
	b = append(b, `,"item_id":"`...)
	b = append(b, it.id...)
	b = append(b, `","output_index":`...)
	return strconv.AppendInt(b, int64(it.index), 10)
}

// inner names the piece of the item: content and summaries have only one here.
func (it *streamItem) inner(b []byte) []byte {
	switch it.kind {
	case llm.PartThinking:
		return append(b, `,"summary_index":0`...)
	case llm.PartCall:
		return b
	}
	return append(b, `,"content_index":0`...)
}

func (s *responsesStream) add(dst []byte, o outItem) ([]byte, *streamItem) {
	it := &streamItem{outItem: o, index: len(s.items)}
	s.items = append(s.items, it)
	dst = s.head(dst, "response.output_item.added")
	dst = append(dst, `,"output_index":`...)
	dst = strconv.AppendInt(dst, int64(it.index), 10)
	dst = append(dst, `,"item":`...)
	switch {
	case it.kind == llm.PartText || it.kind == llm.PartRefusal:
		dst = append(dst, `{"id":"`...)
		dst = append(dst, it.id...)
		dst = append(dst, `","type":"message","status":"in_progress","role":"assistant",`...)
		dst = it.appendPhase(dst)
		dst = append(dst, `"content":[]}`...)
	case it.kind == llm.PartImage:
		empty := outItem{kind: llm.PartImage, id: it.id}
		dst = empty.append(dst, "in_progress")
	default:
		dst = it.append(dst, "in_progress")
	}
	return append(dst, "}\n\n"...), it
}

// finish writes an item's last frame and keeps the item for the final event.
func (s *responsesStream) finish(dst []byte, it *streamItem) []byte {
	it.done = it.append(make([]byte, 0, len(it.text)+len(it.sealed)+256), statusDone)
	dst = s.head(dst, "response.output_item.done")
	dst = append(dst, `,"output_index":`...)
	dst = strconv.AppendInt(dst, int64(it.index), 10)
	dst = append(dst, `,"item":`...)
	dst = append(dst, it.done...)
	it.text, it.annotations, it.logprobs = nil, nil, nil
	return append(dst, "}\n\n"...)
}

func (s *responsesStream) open(dst []byte, p *llm.Part) []byte {
	at := dialect.AnswerPart(s.from, 0, len(s.parts))
	if s.from != llm.OpenAIResponses {
		s.l.Extra(p.Extra, at)
	}
	var it *streamItem
	if p.Seal != nil && p.Kind != llm.PartThinking {
		dst, it = s.add(dst, sealItem(carrier.Next, p.Seal, s.w.seed, len(s.items)))
		dst = s.finish(dst, it)
	}
	o, ok := openItem(p, s.w.seed, len(s.items))
	if !ok {
		s.parts = append(s.parts, nil)
		s.l.Drop(at, llm.LostNoEquivalent)
		return dst
	}
	dst, it = s.add(dst, o)
	s.parts = append(s.parts, it)
	if it.kind == llm.PartText || it.kind == llm.PartRefusal {
		dst = s.content(dst, it, "response.content_part.added")
	}
	return dst
}

func (s *responsesStream) content(dst []byte, it *streamItem, name string) []byte {
	dst = s.head(dst, name)
	dst = about(dst, it)
	dst = append(dst, `,"content_index":0,"part":`...)
	dst = it.appendContent(dst)
	return append(dst, "}\n\n"...)
}

func (s *responsesStream) summary(dst []byte, it *streamItem, name string) []byte {
	dst = s.head(dst, name)
	dst = about(dst, it)
	dst = append(dst, `,"summary_index":0,"part":{"type":"summary_text","text":"`...)
	dst = append(dst, it.text...)
	return append(dst, "\"}}\n\n"...)
}

func (it *streamItem) deltaName() string {
	switch it.kind {
	case llm.PartThinking:
		return "response.reasoning_summary_text.delta"
	case llm.PartRefusal:
		return "response.refusal.delta"
	case llm.PartCall:
		if it.custom {
			return "response.custom_tool_call_input.delta"
		}
		return "response.function_call_arguments.delta"
	}
	return "response.output_text.delta"
}

func (s *responsesStream) delta(dst []byte, it *streamItem, text string, logprobs []llm.Logprob) []byte {
	if !it.begun {
		it.begun = true
		if it.kind == llm.PartThinking {
			dst = s.summary(dst, it, "response.reasoning_summary_part.added")
		}
	}
	dst = s.head(dst, it.deltaName())
	dst = about(dst, it)
	dst = it.inner(dst)
	dst = append(dst, `,"delta":"`...)
	n := len(dst)
	dst = quoted(dst, text)
	it.text = append(it.text, dst[n:]...)
	dst = append(dst, '"')
	if it.kind == llm.PartText {
		dst = append(dst, `,"logprobs":[`...)
		dst = append(dst, it.addLogprobs(logprobs)...)
		dst = append(dst, ']')
	}
	return append(dst, "}\n\n"...)
}

// close ends a part: what was learned late, its done events, and the item's.
func (s *responsesStream) close(dst []byte, it *streamItem, e *llm.Event) []byte {
	var late llm.Part
	if e.Part != nil {
		late = *e.Part
	}
	at := dialect.AnswerPart(s.from, 0, e.Index)
	if s.from != llm.OpenAIResponses {
		s.l.Extra(late.Extra, at)
	} else if phase := late.Extra.Get("phase"); phase != nil && it.phase == nil {
		it.phase = oneLine(phase)
	}
	switch it.kind {
	case llm.PartThinking:
		if late.Seal != nil && it.raw == nil {
			it.seal(&late)
		}
		if it.begun {
			dst = s.whole(dst, it, "response.reasoning_summary_text.done", "text")
			dst = s.summary(dst, it, "response.reasoning_summary_part.done")
		}
	case llm.PartCall:
		if len(it.text) == 0 && !it.custom {
			dst = s.delta(dst, it, "{}", nil)
		}
		if it.custom {
			dst = s.whole(dst, it, "response.custom_tool_call_input.done", "input")
		} else {
			dst = s.whole(dst, it, "response.function_call_arguments.done", "arguments")
		}
	case llm.PartText:
		if it.cite(late.Citations, runes(it.text)) > 0 {
			s.l.Drop(dialect.Child(at, "citations"), llm.LostNoEquivalent)
		}
		dst = s.annotations(dst, it)
		dst = s.whole(dst, it, "response.output_text.done", "text")
		dst = s.content(dst, it, "response.content_part.done")
	case llm.PartRefusal:
		dst = s.whole(dst, it, "response.refusal.done", "refusal")
		dst = s.content(dst, it, "response.content_part.done")
	}
	dst = s.finish(dst, it)
	if late.Seal == nil || it.kind == llm.PartThinking {
		return dst
	}
	if it.index != len(s.items)-1 {
		// Another item has begun: a carrier here would belong to that one.
		s.l.Drop(at, llm.LostCombination)
		return dst
	}
	dst, c := s.add(dst, sealItem(carrier.Prev, late.Seal, s.w.seed, len(s.items)))
	return s.finish(dst, c)
}

// whole writes a done event with all of the text.
func (s *responsesStream) whole(dst []byte, it *streamItem, name, member string) []byte {
	dst = s.head(dst, name)
	dst = about(dst, it)
	dst = it.inner(dst)
	if it.kind == llm.PartCall {
		dst = append(dst, `,"name":"`...)
		dst = quoted(dst, it.name)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"`...)
	dst = append(dst, member...)
	dst = append(dst, `":"`...)
	dst = append(dst, it.text...)
	dst = append(dst, '"')
	if it.kind == llm.PartText {
		dst = append(dst, `,"logprobs":[`...)
		dst = append(dst, it.logprobs...)
		dst = append(dst, ']')
	}
	return append(dst, "}\n\n"...)
}

func (s *responsesStream) annotations(dst []byte, it *streamItem) []byte {
	if len(it.annotations) == 0 {
		return dst
	}
	list := append(append([]byte{'['}, it.annotations...), ']')
	i := int64(0)
	for c := dialect.Walk(list); c.Next(); i++ {
		dst = s.head(dst, "response.output_text.annotation.added")
		dst = about(dst, it)
		dst = append(dst, `,"content_index":0,"annotation_index":`...)
		dst = strconv.AppendInt(dst, i, 10)
		dst = append(dst, `,"annotation":`...)
		dst = append(dst, c.Value...)
		dst = append(dst, "}\n\n"...)
	}
	return dst
}

// fail writes the error frame in the flat form of OpenAI's specification.
func (s *responsesStream) fail(dst []byte, err error) []byte {
	f := fault.As(err)
	w := dialect.NewWriter(nil)
	w.Str(dialect.FaultText(f, s.w.o.ID))
	dst = s.head(dst, "error")
	dst = append(dst, `,"code":"`...)
	dst = append(dst, errorCode(f)...)
	dst = append(dst, `","message":`...)
	dst = append(dst, w.Take()...)
	dst = append(dst, `,"param":`...)
	dst = appendParam(dst, f)
	return append(dst, "}\n\n"...)
}

// Close implements dialect.EventEncoder: the final event has the whole response.
func (s *responsesStream) Close(dst []byte) ([]byte, error) {
	if s.failed || !s.started {
		return dst, nil
	}
	name := "response.completed"
	switch dialect.StopName(llm.OpenAIResponses, s.stop.Reason) {
	case statusDone:
	case "failed":
		name = "response.failed"
	default:
		name = "response.incomplete"
	}
	n := 0
	for _, it := range s.items {
		n += len(it.done) + 1
	}
	output := make([]byte, 0, n)
	for _, it := range s.items {
		if len(output) > 0 {
			output = append(output, ',')
		}
		output = append(output, it.done...)
	}
	dst = s.head(dst, name)
	dst = append(dst, `,"response":`...)
	dst = s.w.append(dst, s.stop.Reason, s.stop.Note, output, s.usage, s.hasUsage, true)
	return append(dst, "}\n\n"...), nil
}

// Losses implements dialect.EventEncoder.
func (s *responsesStream) Losses() []llm.Loss { return s.l.List }
