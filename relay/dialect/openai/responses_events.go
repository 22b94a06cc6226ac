package openai

import (
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// Bounds of what one stream can make a decoder keep; real answers are far smaller.
const (
	maxItems = 4096
	maxText  = 64 << 20
)

// responsesEvents reads a provider's stream. Items are known by output_index: there are servers whose
// item ids change from event to event (GitHub Copilot). Texts count as they were streamed; whatever a
// done event or the final response has beyond that is added, so that servers which send arguments only
// there are understood (BerriAI/litellm #25321).
type responsesEvents struct {
	o       dialect.DecodeOptions
	started bool
	ended   bool
	id      string
	items   []*eventItem
	last    *eventItem
	next    int // number of the next part
	ids     callIDs
	live    *eventPart // the part that is open and no call
	queue   []queued   // what has to wait for it to end
	bytes   int        // text kept or queued
	seen    int        // items added
}

// eventItem is one output item.
type eventItem struct {
	index int64
	id    string
	kind  string
	phase llm.Extra
	parts []*eventPart
	done  bool
	sub   int64 // the summary part being written
	raw   bool  // reasoning is streamed as raw text, not as a summary
}

// eventPart is one part of an item: a content part, or the item itself.
type eventPart struct {
	llm.Part        // as it is announced; Text is kept in sent
	content  int64  // content_index
	number   int    // in the answer
	sent     []byte // text so far
	state    partState
	closed   bool // its end has been said, or waits to be
	late     []llm.Citation
}

type partState uint8

const (
	partNew partState = iota
	partWaiting
	partOpen
	partEnded
)

// queued is an event of a part that waits for its turn.
type queued struct {
	part  *eventPart
	event llm.Event
}

// NewEventDecoder implements dialect.ProviderCodec.
func (ResponsesBackend) NewEventDecoder(o dialect.DecodeOptions) dialect.EventDecoder {
	return &responsesEvents{o: o}
}

// Push implements dialect.EventDecoder.
func (d *responsesEvents) Push(dst []llm.Event, name string, data []byte) []llm.Event {
	if d.ended || len(data) == 0 || string(data) == "[DONE]" {
		return dst
	}
	if !strings.HasPrefix(name, "response.") && name != "error" {
		if name = eventType(data); name == "" {
			return d.unnamed(dst, data)
		}
	}
	switch name {
	case "response.output_text.delta":
		return d.delta(dst, data, llm.PartText, itemMessageType)
	case "response.function_call_arguments.delta":
		return d.delta(dst, data, llm.PartCall, itemCall)
	case "response.custom_tool_call_input.delta":
		return d.delta(dst, data, llm.PartCall, itemCustom)
	case "response.reasoning_summary_text.delta":
		return d.delta(dst, data, llm.PartThinking, itemReasoningType)
	case "response.reasoning_text.delta":
		return d.delta(dst, data, llm.PartThinking, rawReasoning)
	case "response.refusal.delta":
		return d.delta(dst, data, llm.PartRefusal, itemMessageType)
	case "response.function_call_arguments.done", "response.custom_tool_call_input.done":
		return d.argumentsDone(dst, data)
	case "response.output_text.done", "response.refusal.done":
		return d.textDone(dst, data, name)
	case "response.content_part.done":
		return d.contentDone(dst, data)
	case "response.output_item.added":
		return d.itemAdded(dst, data)
	case "response.output_item.done":
		return d.itemDone(dst, data)
	case "response.created", "response.in_progress", "response.queued":
		return d.opened(dst, data)
	case "response.completed", "response.incomplete", "response.failed", "response.cancelled":
		return d.final(dst, data)
	case "error":
		return d.fail(dst, streamFault(readError(data), data))
	}
	return dst
}

// rawReasoning stands for reasoning items whose own text is streamed, as open models do.
const rawReasoning = "reasoning_text"

// unnamed is an event that says nothing about its kind: an error object, or no JSON.
func (d *responsesEvents) unnamed(dst []llm.Event, data []byte) []llm.Event {
	var at [1]splice.Span
	if !dialect.Find(data, []string{"error"}, at[:]) {
		return d.garbage(dst)
	}
	if dialect.Filled(at[0].Of(data)) {
		return d.fail(dst, streamFault(readError(data), data))
	}
	return dst
}

func (d *responsesEvents) garbage(dst []llm.Event) []llm.Event {
	return d.fail(dst, fault.New(fault.UpstreamProtocol, "an event of the provider's stream cannot be read"))
}

func (d *responsesEvents) fail(dst []llm.Event, f *fault.Error) []llm.Event {
	d.ended = true
	f.Phase = fault.Sent
	if d.next > 0 {
		f.Phase = fault.Partial
	}
	return append(dst, llm.Event{Kind: llm.EventError, Err: f})
}

func (d *responsesEvents) start(dst []llm.Event, a *answerObject) []llm.Event {
	if d.started {
		return dst
	}
	d.started, d.id = true, word(a.id)
	return append(dst, llm.Event{Kind: llm.EventStart, Start: &llm.Start{
		From: llm.OpenAIResponses, ID: d.id, Model: word(a.model), Created: seconds(a.created),
		ServiceTier: word(a.tier), Extra: a.extra,
	}})
}

// response finds the response object of an event.
func response(data []byte) (answerObject, bool) {
	var at [1]splice.Span
	if !dialect.Find(data, []string{"response"}, at[:]) {
		return answerObject{}, false
	}
	return readAnswer(at[0].Of(data))
}

func (d *responsesEvents) opened(dst []llm.Event, data []byte) []llm.Event {
	if d.started {
		return dst
	}
	a, ok := response(data)
	if !ok {
		return d.garbage(dst)
	}
	return d.start(dst, &a)
}

var deltaNames = []string{"delta", "output_index", "content_index", "summary_index", "item_id", "logprobs"}

// delta reads the events that a stream mostly consists of.
func (d *responsesEvents) delta(dst []llm.Event, data []byte, kind llm.PartKind, item string) []llm.Event {
	var at [6]splice.Span
	if !dialect.Find(data, deltaNames, at[:]) {
		return d.garbage(dst)
	}
	if !d.started {
		dst = d.start(dst, &answerObject{})
	}
	text := word(at[0].Of(data))
	it := d.find(at[1].Of(data), at[4].Of(data), true)
	if text == "" || it == nil || it.done {
		if it == nil {
			return d.garbage(dst)
		}
		return dst
	}
	raw := item == rawReasoning
	if raw {
		item = itemReasoningType
	}
	if it.kind == "" {
		it.kind = item
		it.raw = raw
	}
	content := int64(0)
	switch kind {
	case llm.PartText, llm.PartRefusal:
		content = dialect.Count(at[2].Of(data))
	case llm.PartThinking:
		if len(it.parts) == 0 {
			it.raw = raw
		}
		if it.raw != raw {
			return dst // a summary of what is shown in full, or the other way round
		}
		sub := dialect.Count(at[3].Of(data))
		if raw {
			sub = dialect.Count(at[2].Of(data))
		}
		if sub != it.sub && len(it.parts) > 0 && len(it.parts[0].sent) > 0 {
			text = paragraph + text
		}
		it.sub = sub
	}
	p := d.part(it, kind, content)
	if p == nil {
		return d.garbage(dst)
	}
	var logprobs []llm.Logprob
	if kind == llm.PartText {
		if v := at[5].Of(data); dialect.Filled(v) {
			logprobs = readLogprobs(v)
		}
	}
	return d.say(dst, it, p, text, logprobs)
}

// find gives the item that an event is about, by index, else by id, else the last one.
func (d *responsesEvents) find(index, id []byte, create bool) *eventItem {
	n, ok := dialect.Int(index)
	if !ok || n < 0 {
		if id := word(id); id != "" {
			for _, it := range d.items {
				if it.id == id {
					return it
				}
			}
			if create {
				return d.newItem(int64(len(d.items)))
			}
		}
		if d.last != nil || !create {
			return d.last
		}
	}
	return d.at(n, create)
}

// at gives the item with an index: the latest one, should a server use an index twice.
func (d *responsesEvents) at(n int64, create bool) *eventItem {
	if d.last != nil && d.last.index == n {
		return d.last
	}
	for i := len(d.items) - 1; i >= 0; i-- {
		if d.items[i].index == n {
			return d.items[i]
		}
	}
	if !create {
		return nil
	}
	return d.newItem(n)
}

func (d *responsesEvents) newItem(index int64) *eventItem {
	if len(d.items) >= maxItems {
		return nil
	}
	d.last = &eventItem{index: index}
	d.items = append(d.items, d.last)
	d.seen++
	return d.last
}

// part gives the part of an item at content; nil when it is another kind of part.
func (d *responsesEvents) part(it *eventItem, kind llm.PartKind, content int64) *eventPart {
	for _, p := range it.parts {
		if p.content == content {
			if p.Kind != kind {
				return nil
			}
			return p
		}
	}
	if len(it.parts) >= maxItems {
		return nil
	}
	p := &eventPart{Part: llm.Part{Kind: kind, Custom: it.kind == itemCustom}, content: content}
	if kind == llm.PartText || kind == llm.PartRefusal {
		p.Extra = it.phase
	}
	it.parts = append(it.parts, p)
	return p
}

// say adds text to a part and opens it where needed. A call without a name waits for it.
func (d *responsesEvents) say(dst []llm.Event, it *eventItem, p *eventPart, text string, logprobs []llm.Logprob) []llm.Event {
	if p.closed || text == "" {
		return dst
	}
	if d.bytes += len(text); d.bytes > maxText {
		return d.fail(dst, fault.New(fault.UpstreamProtocol, "the provider's answer is too long"))
	}
	if p.state == partNew {
		if p.Kind == llm.PartCall && p.Name == "" {
			p.sent = append(p.sent, text...)
			return dst
		}
		dst = d.open(dst, it, p)
	}
	p.sent = append(p.sent, text...)
	return d.emit(dst, p, llm.Event{Kind: llm.EventDelta, Text: text, Logprobs: logprobs})
}

// open starts a part. A message's earlier part ends first.
func (d *responsesEvents) open(dst []llm.Event, it *eventItem, p *eventPart) []llm.Event {
	for _, q := range it.parts {
		if q != p {
			dst = d.end(dst, q, nil)
		}
	}
	if p.Kind == llm.PartCall {
		p.ID = d.ids.unique(p.ID, firstOf(d.id, d.o.ID))
	}
	part := p.Part
	if p.Kind.Streams() {
		part.Text = ""
	}
	e := llm.Event{Kind: llm.EventPartStart, Part: &part}
	if p.Kind != llm.PartCall {
		if d.live != nil {
			p.state = partWaiting
			return d.wait(dst, p, e)
		}
		d.live = p
	}
	return d.begin(dst, p, e)
}

func (d *responsesEvents) begin(dst []llm.Event, p *eventPart, e llm.Event) []llm.Event {
	if d.ended {
		return dst
	}
	p.state, p.number = partOpen, d.next
	e.Index = p.number
	d.next++
	return append(dst, e)
}

func (d *responsesEvents) emit(dst []llm.Event, p *eventPart, e llm.Event) []llm.Event {
	if p.state == partWaiting {
		return d.wait(dst, p, e)
	}
	if d.ended {
		return dst
	}
	e.Index = p.number
	return append(dst, e)
}

// wait keeps back an event of an item that overlaps another one; only calls may do that in llm.Event.
func (d *responsesEvents) wait(dst []llm.Event, p *eventPart, e llm.Event) []llm.Event {
	if d.ended {
		return dst
	}
	if d.bytes += len(e.Text) + 64; d.bytes > maxText {
		return d.fail(dst, fault.New(fault.UpstreamProtocol, "the provider's answer has too much interleaved output"))
	}
	d.queue = append(d.queue, queued{p, e})
	return dst
}

// end ends a part, with what was learned late.
func (d *responsesEvents) end(dst []llm.Event, p *eventPart, late *llm.Part) []llm.Event {
	if p.closed || p.state == partNew {
		p.closed = true
		return dst
	}
	p.closed, p.sent = true, nil
	if late == nil && p.late != nil {
		late = &llm.Part{Citations: p.late}
	}
	dst = d.emit(dst, p, llm.Event{Kind: llm.EventPartEnd, Part: late})
	if p.state == partOpen {
		p.state = partEnded
	}
	if d.live == p {
		d.live = nil
		dst = d.drain(dst)
	}
	return dst
}

// drain lets what waited flow: the first part that waits, up to its end, and so on.
func (d *responsesEvents) drain(dst []llm.Event) []llm.Event {
	for d.live == nil && len(d.queue) > 0 {
		p := d.queue[0].part
		dst = d.begin(dst, p, d.queue[0].event)
		d.live = p
		rest := d.queue[:0]
		for _, q := range d.queue[1:] {
			if q.part != p {
				rest = append(rest, q)
				continue
			}
			q.event.Index = p.number
			dst = append(dst, q.event)
			if q.event.Kind == llm.EventPartEnd {
				p.state, d.live = partEnded, nil
			}
		}
		clear(d.queue[len(rest):])
		d.queue = rest
	}
	return dst
}

// End implements dialect.EventDecoder.
func (d *responsesEvents) End(dst []llm.Event) []llm.Event {
	if d.ended {
		return dst
	}
	return d.fail(dst, fault.New(fault.UpstreamPartial, "the provider's stream ended before the response was complete"))
}
