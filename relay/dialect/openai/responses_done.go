package openai

import (
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// The events of a stream that announce an item or repeat it whole.

var itemNames = []string{"item", "output_index", "item_id"}

func (d *responsesEvents) itemAdded(dst []llm.Event, data []byte) []llm.Event {
	var at [3]splice.Span
	if !dialect.Find(data, itemNames, at[:]) {
		return d.garbage(dst)
	}
	v := at[0].Of(data)
	if unset(v) || v[0] != '{' {
		return d.garbage(dst)
	}
	dst = d.start(dst, &answerObject{})
	w := readItem(v)
	n, ok := dialect.Int(at[1].Of(data))
	if !ok || n < 0 {
		n = int64(len(d.items))
	}
	it := d.find(at[1].Of(data), nil, false)
	if !ok || it != nil && (it.done || it.kind != "" && it.kind != w.kind) {
		if it != nil && ok && !it.done {
			dst = d.closeItem(dst, it)
		}
		it = nil
	}
	if it == nil {
		if it = d.newItem(n); it == nil {
			return d.garbage(dst)
		}
	}
	d.last = it
	it.kind, it.id, it.phase = w.kind, word(w.id), phaseExtra(&w)
	if w.kind != itemCall && w.kind != itemCustom {
		return dst
	}
	p := d.part(it, llm.PartCall, 0)
	if p == nil || p.state != partNew {
		return dst
	}
	return d.nameCall(dst, it, p, &w)
}

// nameCall opens a call whose name is known now, and lets flow what was kept back.
func (d *responsesEvents) nameCall(dst []llm.Event, it *eventItem, p *eventPart, w *item) []llm.Event {
	c := callPart(w)
	if c.Name == "" {
		return dst
	}
	c.Text = ""
	p.Part = c
	dst = d.open(dst, it, p)
	if len(p.sent) > 0 {
		dst = d.emit(dst, p, llm.Event{Kind: llm.EventDelta, Text: string(p.sent)})
	}
	return dst
}

// rest adds what full has beyond the text streamed so far. A full text that contradicts what was
// streamed comes too late to be believed.
func (d *responsesEvents) rest(dst []llm.Event, it *eventItem, p *eventPart, full string, logprobs []llm.Logprob) []llm.Event {
	if p.closed || len(full) <= len(p.sent) || !strings.HasPrefix(full, string(p.sent)) {
		return dst
	}
	if len(p.sent) > 0 {
		logprobs = nil // they came with the deltas
	}
	return d.say(dst, it, p, full[len(p.sent):], logprobs)
}

var argumentNames = []string{"arguments", "input", "output_index", "item_id", "name"}

func (d *responsesEvents) argumentsDone(dst []llm.Event, data []byte) []llm.Event {
	var at [5]splice.Span
	if !dialect.Find(data, argumentNames, at[:]) {
		return d.garbage(dst)
	}
	dst = d.start(dst, &answerObject{})
	it := d.find(at[2].Of(data), at[3].Of(data), false)
	if it == nil || it.done {
		return dst // the whole item is still to come
	}
	p := d.part(it, llm.PartCall, 0)
	if p == nil {
		return dst
	}
	full := word(at[0].Of(data))
	if p.Custom {
		full = word(at[1].Of(data))
	}
	return d.rest(dst, it, p, full, nil)
}

var textNames = []string{"text", "refusal", "output_index", "item_id", "content_index"}

func (d *responsesEvents) textDone(dst []llm.Event, data []byte, name string) []llm.Event {
	var at [5]splice.Span
	if !dialect.Find(data, textNames, at[:]) {
		return d.garbage(dst)
	}
	it := d.find(at[2].Of(data), at[3].Of(data), false)
	if it == nil || it.done {
		return dst
	}
	c := answerPart{Part: llm.Part{Text: word(at[0].Of(data))}}
	if name == "response.refusal.done" {
		c.Part = llm.Part{Kind: llm.PartRefusal, Text: word(at[1].Of(data))}
	}
	if c.Text == "" {
		return dst
	}
	dst = d.start(dst, &answerObject{})
	return d.content(dst, it, &c, dialect.Count(at[4].Of(data)))
}

var contentNames = []string{"part", "output_index", "item_id", "content_index"}

func (d *responsesEvents) contentDone(dst []llm.Event, data []byte) []llm.Event {
	var at [4]splice.Span
	if !dialect.Find(data, contentNames, at[:]) {
		return d.garbage(dst)
	}
	it := d.find(at[1].Of(data), at[2].Of(data), false)
	if it == nil || it.done || it.kind == itemReasoningType {
		return dst
	}
	c, ok := contentPart(at[0].Of(data), d.o.Scope)
	if !ok {
		return dst
	}
	dst = d.start(dst, &answerObject{})
	return d.content(dst, it, &c, dialect.Count(at[3].Of(data)))
}

// content takes over a content part that is complete; its end waits for the item's.
func (d *responsesEvents) content(dst []llm.Event, it *eventItem, c *answerPart, index int64) []llm.Event {
	if it.kind == "" {
		it.kind = itemMessageType
	}
	p := d.part(it, c.Kind, index)
	if p == nil {
		return dst
	}
	dst = d.rest(dst, it, p, c.Text, c.logprobs)
	if c.Citations != nil {
		p.late = c.Citations
	}
	return dst
}

func (d *responsesEvents) itemDone(dst []llm.Event, data []byte) []llm.Event {
	var at [3]splice.Span
	if !dialect.Find(data, itemNames, at[:]) {
		return d.garbage(dst)
	}
	v := at[0].Of(data)
	if unset(v) || v[0] != '{' {
		return d.garbage(dst)
	}
	dst = d.start(dst, &answerObject{})
	w := readItem(v)
	it := d.find(at[1].Of(data), w.id, true)
	if it == nil {
		return d.garbage(dst)
	}
	return d.whole(dst, it, &w)
}

// whole takes over an item that is complete.
func (d *responsesEvents) whole(dst []llm.Event, it *eventItem, w *item) []llm.Event {
	if it.done {
		return dst
	}
	if it.kind != "" && it.kind != w.kind {
		return d.closeItem(dst, it)
	}
	it.kind = w.kind
	if it.phase == nil {
		it.phase = phaseExtra(w)
	}
	switch w.kind {
	case itemMessageType:
		for _, c := range messageParts(w, d.o.Scope) {
			dst = d.content(dst, it, &c, int64(c.index))
			if d.ended {
				return dst
			}
		}
	case itemReasoningType:
		dst = d.reasoning(dst, it, w)
	case itemCall, itemCustom:
		dst = d.call(dst, it, w)
	default:
		p := &eventPart{Part: opaquePart(w, d.o.Scope)}
		it.parts = append(it.parts, p)
		dst = d.open(dst, it, p)
	}
	if d.ended {
		return dst
	}
	return d.closeItem(dst, it)
}

func (d *responsesEvents) reasoning(dst []llm.Event, it *eventItem, w *item) []llm.Event {
	full := reasoningPart(w, d.o.Scope)
	if full.Text == "" && full.Seal == nil && len(it.parts) == 0 {
		return dst
	}
	p := d.part(it, llm.PartThinking, 0)
	if p == nil {
		return dst
	}
	if dst = d.rest(dst, it, p, full.Text, nil); d.ended {
		return dst
	}
	if p.state == partNew {
		dst = d.open(dst, it, p)
	}
	var late *llm.Part
	if full.Seal != nil {
		late = &llm.Part{Seal: full.Seal}
	}
	return d.end(dst, p, late)
}

func (d *responsesEvents) call(dst []llm.Event, it *eventItem, w *item) []llm.Event {
	p := d.part(it, llm.PartCall, 0)
	if p == nil {
		return dst
	}
	if p.state == partNew {
		if dst = d.nameCall(dst, it, p, w); p.state == partNew {
			return d.fail(dst, fault.New(fault.UpstreamProtocol, "a call in the provider's answer has no name"))
		}
	}
	c := callPart(w)
	return d.rest(dst, it, p, c.Text, nil)
}

func (d *responsesEvents) closeItem(dst []llm.Event, it *eventItem) []llm.Event {
	it.done = true
	for _, p := range it.parts {
		if p.Kind == llm.PartCall && p.state == partNew {
			return d.fail(dst, fault.New(fault.UpstreamProtocol, "a call in the provider's answer has no name"))
		}
		var late *llm.Part
		if p.Extra == nil && it.phase != nil && (p.Kind == llm.PartText || p.Kind == llm.PartRefusal) {
			late = &llm.Part{Citations: p.late, Extra: it.phase}
		}
		dst = d.end(dst, p, late)
	}
	return dst
}

// final reads the end: the whole response. Items that the stream did not show are taken from there.
func (d *responsesEvents) final(dst []llm.Event, data []byte) []llm.Event {
	a, ok := response(data)
	if !ok {
		return d.garbage(dst)
	}
	if f := a.failure(); f != nil {
		return d.fail(dst, f)
	}
	dst = d.start(dst, &a)
	i := 0
	shown := d.seen
	for c := dialect.Walk(a.output); c.Next() && !d.ended; i++ {
		if c.Value[0] != '{' {
			continue
		}
		w := readItem(c.Value)
		it := d.at(int64(i), i >= shown)
		if it == nil {
			continue
		}
		dst = d.whole(dst, it, &w)
	}
	for _, it := range d.items {
		if !it.done && !d.ended {
			dst = d.closeItem(dst, it)
		}
	}
	if d.ended {
		return dst
	}
	d.ended = true
	if u, ok := usageOf(a.usage); ok {
		dst = append(dst, llm.Event{Kind: llm.EventUsage, Usage: u})
	}
	stop := a.stop()
	stop.Reason = stop.Reason.Derive(len(d.ids) > 0)
	return append(dst, llm.Event{Kind: llm.EventStop, Stop: stop})
}
