package anthropic

import (
	"bytes"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// maxHeld bounds what a stream can make the decoder keep: opaque blocks come whole, signatures at the
// end of their block.
const maxHeld = 64 << 20

// NewEventDecoder implements dialect.ProviderCodec.
func (Backend) NewEventDecoder(o dialect.DecodeOptions) dialect.EventDecoder {
	return &eventDecoder{o: o}
}

// eventDecoder reads message events. Part numbers are its own, because blocks of which nothing is left
// have none and a provider may number anew after a second message_start.
type eventDecoder struct {
	o              dialect.DecodeOptions
	started, ended bool
	counts         counts
	usage          llm.Usage
	stop           stopInfo
	called         bool
	ids            map[string]struct{}
	open           []openBlock
	parts          int
	held           int
}

// openBlock is a block between its start and its stop.
type openBlock struct {
	wire      int64 // the provider's index
	part      int
	kind      llm.PartKind
	whole     bool // has no deltas on our side: redacted or opaque
	seal      []byte
	citations []llm.Citation
	input     string // arguments stated at the start
	delta     bool   // arguments came as deltas
	raw       []byte // opaque: the block as it started
	name      string // opaque: its type
	json      []byte // opaque: its input so far
	content   []byte // opaque: compaction's content
}

var deltaNames = []string{"index", "delta"}

// Push implements dialect.EventDecoder.
func (d *eventDecoder) Push(dst []llm.Event, name string, data []byte) []llm.Event {
	if d.ended || len(data) == 0 {
		return dst
	}
	if name == "" {
		if name = eventType(data); name == "" && (len(data) > 0 && data[0] == '[') {
			return dst // [DONE] of compatible servers
		}
	}
	switch name {
	case "content_block_delta":
		return d.delta(dst, data)
	case "ping":
		return dst
	case "message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop", "error":
	default:
		if !dialect.Find(data, nil, nil) {
			return d.fail(dst, "an event is not JSON")
		}
		return dst // next year's
	}
	if !dialect.Find(data, nil, nil) {
		return d.fail(dst, "an event is not JSON")
	}
	switch name {
	case "error":
		d.ended = true
		return append(dst, llm.Event{Kind: llm.EventError, Err: errorFault(data).At(d.phase())})
	case "message_start":
		return d.start(dst, data)
	}
	if !d.started {
		return d.fail(dst, "the stream does not begin with message_start")
	}
	switch name {
	case "content_block_start":
		return d.blockStart(dst, data)
	case "content_block_stop":
		if i := d.find(indexOf(data)); i >= 0 {
			return d.end(dst, i)
		}
		return dst
	case "message_delta":
		return d.messageDelta(dst, data)
	}
	return d.messageStop(dst)
}

func (d *eventDecoder) phase() fault.Phase {
	if d.parts > 0 {
		return fault.Partial
	}
	return fault.Sent
}

func (d *eventDecoder) fail(dst []llm.Event, why string) []llm.Event {
	d.ended = true
	return append(dst, llm.Event{Kind: llm.EventError, Err: broken(why).At(d.phase())})
}

// End implements dialect.EventDecoder.
func (d *eventDecoder) End(dst []llm.Event) []llm.Event {
	if d.ended {
		return dst
	}
	d.ended = true
	f := fault.New(fault.UpstreamPartial, "the provider's stream ended without message_stop").At(d.phase())
	return append(dst, llm.Event{Kind: llm.EventError, Err: f})
}

func member(data []byte, name string) []byte {
	for c := dialect.Walk(data); c.Next(); {
		if string(c.Name) == name {
			return c.Value
		}
	}
	return nil
}

func indexOf(data []byte) int64 { return dialect.Count(member(data, "index")) }

func (d *eventDecoder) find(wire int64) int {
	for i := range d.open {
		if d.open[i].wire == wire {
			return i
		}
	}
	return -1
}

// start opens the answer. Real streams have a second message_start, after tools of the vendor have run:
// it is the same answer, with blocks numbered anew.
func (d *eventDecoder) start(dst []llm.Event, data []byte) []llm.Event {
	message := member(data, "message")
	if !isObject(message) {
		return d.fail(dst, "message_start has no message")
	}
	if d.started {
		for len(d.open) > 0 && !d.ended {
			dst = d.end(dst, 0)
		}
		if d.ended {
			return dst
		}
		return d.count(dst, member(message, "usage"))
	}
	h := head{r: &llm.Response{}}
	if err := h.read(message); err != nil {
		d.ended = true
		return append(dst, llm.Event{Kind: llm.EventError, Err: err})
	}
	d.started, d.counts = true, h.counts
	d.usage = usageOf(&d.counts)
	return append(dst, llm.Event{Kind: llm.EventStart, Usage: d.usage, Start: &llm.Start{
		From: llm.AnthropicMessages, ID: h.r.ID, Model: h.r.Model, ServiceTier: h.r.ServiceTier, Extra: h.r.Extra,
	}})
}

// count merges a usage object; what the stream says is cumulative, so counts never shrink.
func (d *eventDecoder) count(dst []llm.Event, v []byte) []llm.Event {
	if !d.counts.merge(v) {
		return dst
	}
	u := usageOf(&d.counts).Max(d.usage)
	u.Input = max(u.Input, u.Cached+u.CacheWrite)
	d.usage = u
	return append(dst, llm.Event{Kind: llm.EventUsage, Usage: u})
}

func (d *eventDecoder) blockStart(dst []llm.Event, data []byte) []llm.Event {
	b, ok := readBlock(member(data, "content_block"))
	wire := indexOf(data)
	if !ok {
		return d.fail(dst, "content_block_start has no block")
	}
	if d.find(wire) >= 0 {
		return d.fail(dst, "a content block is opened twice")
	}
	p, err := answerPart(&b, d.o, d.parts)
	if err != nil {
		f := fault.As(err).At(d.phase())
		d.ended = true
		return append(dst, llm.Event{Kind: llm.EventError, Err: f})
	}
	o := openBlock{wire: wire, part: d.parts, kind: p.Kind}
	if p.Kind != llm.PartCall {
		// A block that was never closed ends where the next begins; calls may overlap.
		for i := 0; i < len(d.open) && !d.ended; {
			if d.open[i].kind == llm.PartCall {
				i++
				continue
			}
			dst = d.end(dst, i)
		}
		if d.ended {
			return dst
		}
		o.part = d.parts
	}
	if p.Kind == llm.PartOpaque {
		// Comes whole with its start, so it waits for what its deltas bring.
		o.whole, o.raw, o.name, o.part = true, clone(b.raw), b.kind, -1
		d.open = append(d.open, o)
		return d.hold(dst, len(b.raw))
	}
	text := p.Text
	p.Text = ""
	o.citations, p.Citations = p.Citations, nil
	switch {
	case p.Kind == llm.PartCall:
		if d.ids == nil {
			d.ids = map[string]struct{}{}
		}
		p.ID = ownID(d.ids, p.ID, d.o.ID, d.parts)
		if d.called = true; dialect.Filled([]byte(text)) {
			o.input = text
		}
		text = ""
	case p.Redacted:
		o.whole = true
	case p.Kind == llm.PartThinking && p.Seal != nil:
		o.seal, p.Seal = p.Seal.Data, nil
	case b.kind == "tool_use": // structured output
		if o.input = text; o.input == "{}" {
			o.input = ""
		}
		text = ""
	}
	d.parts++
	d.open = append(d.open, o)
	dst = append(dst, llm.Event{Kind: llm.EventPartStart, Index: o.part, Part: &p})
	if text != "" {
		dst = append(dst, llm.Event{Kind: llm.EventDelta, Index: o.part, Text: text})
	}
	return dst
}

func (d *eventDecoder) hold(dst []llm.Event, n int) []llm.Event {
	if d.held += n; d.held > maxHeld {
		return d.fail(dst, "a content block is too large")
	}
	return dst
}

func (d *eventDecoder) delta(dst []llm.Event, data []byte) []llm.Event {
	var at [2]splice.Span
	if !dialect.Find(data, deltaNames, at[:]) {
		return d.fail(dst, "an event is not JSON")
	}
	i := d.find(dialect.Count(at[0].Of(data)))
	if i < 0 {
		return d.fail(dst, "a delta belongs to no open block")
	}
	o := &d.open[i]
	var kind, text []byte
	for c := dialect.Walk(at[1].Of(data)); c.Next(); {
		switch string(c.Name) {
		case "type":
			kind = c.Value
		case "text", "thinking", "signature", "partial_json", "citation", "content":
			text = c.Value
		}
	}
	want := llm.PartOpaque
	switch string(kind) {
	case `"text_delta"`:
		want = llm.PartText
	case `"thinking_delta"`:
		want = llm.PartThinking
	case `"input_json_delta"`:
		if want = llm.PartCall; o.whole || o.kind == llm.PartText {
			want = o.kind // a server tool's, or structured output
		}
	case `"signature_delta"`:
		if o.kind == llm.PartThinking && !o.whole {
			o.seal = append(o.seal, str(text)...)
			return d.hold(dst, len(text))
		}
		return dst
	case `"citations_delta"`:
		if o.kind == llm.PartText && isObject(text) {
			o.citations = append(o.citations, citation(text, d.o.Scope))
			return d.hold(dst, len(text))
		}
		return dst
	case `"compaction_delta"`:
		if o.whole && isText(text) {
			o.content = append(o.content, str(text)...)
			return d.hold(dst, len(text))
		}
		return dst
	default:
		return dst // next year's
	}
	if want != o.kind {
		return d.fail(dst, "a delta is of another kind than its block")
	}
	if !isText(text) || len(text) == 2 {
		return dst
	}
	if o.whole {
		if o.kind == llm.PartOpaque {
			o.json = append(o.json, str(text)...)
			return d.hold(dst, len(text))
		}
		return dst
	}
	o.delta = true
	return append(dst, llm.Event{Kind: llm.EventDelta, Index: o.part, Text: dialect.Unquote(text)})
}

// end closes the open block number i.
func (d *eventDecoder) end(dst []llm.Event, i int) []llm.Event {
	o := d.open[i]
	d.open = append(d.open[:i], d.open[i+1:]...)
	if o.kind == llm.PartOpaque {
		return d.endOpaque(dst, &o)
	}
	if o.input != "" && !o.delta {
		dst = append(dst, llm.Event{Kind: llm.EventDelta, Index: o.part, Text: o.input})
	}
	e := llm.Event{Kind: llm.EventPartEnd, Index: o.part}
	if o.citations != nil || len(o.seal) > 0 {
		e.Part = &llm.Part{Citations: o.citations}
		if len(o.seal) > 0 {
			e.Part.Seal = &llm.Seal{Origin: llm.AnthropicMessages, Data: o.seal}
		}
	}
	return append(dst, e)
}

// endOpaque gives a block that other vendors do not have, with the input that its deltas brought.
func (d *eventDecoder) endOpaque(dst []llm.Event, o *openBlock) []llm.Event {
	raw := o.raw
	if len(o.json) > 0 || len(o.content) > 0 {
		w := dialect.NewWriter(make([]byte, 0, len(raw)+len(o.json)+len(o.content)))
		w.Open('{')
		for c := dialect.Walk(raw); c.Next(); {
			name := string(c.Name)
			if name == "input" && len(o.json) > 0 || name == "content" && len(o.content) > 0 {
				continue
			}
			w.Key(name)
			w.Raw(c.Value)
		}
		if len(o.json) > 0 {
			if o.json = bytes.TrimSpace(o.json); dialect.Pick(o.json, nil, nil) != nil {
				return d.fail(dst, "the input of a server tool is not JSON")
			}
			w.RawMember("input", o.json)
		}
		if len(o.content) > 0 {
			w.StrMember("content", string(o.content))
		}
		w.Close('}')
		raw = w.Take()
	}
	p := &llm.Part{Kind: llm.PartOpaque, Opaque: opaqueOf(o.name, raw, d.o.Scope)}
	part := d.parts
	d.parts++
	return append(dst, llm.Event{Kind: llm.EventPartStart, Index: part, Part: p}, llm.Event{Kind: llm.EventPartEnd, Index: part})
}

func (d *eventDecoder) messageDelta(dst []llm.Event, data []byte) []llm.Event {
	var usage []byte
	for c := dialect.Walk(data); c.Next(); {
		switch string(c.Name) {
		case "delta":
			for m := dialect.Walk(c.Value); m.Next(); {
				if name := string(m.Name); !d.stop.member(name, m.Value) && dialect.Filled(m.Value) && d.stop.extra.Get(name) == nil {
					d.stop.extra = append(d.stop.extra, llm.Member{Name: name, Value: clone(m.Value)})
				}
			}
		case "usage":
			usage = c.Value
		}
	}
	return d.count(dst, usage)
}

func (d *eventDecoder) messageStop(dst []llm.Event) []llm.Event {
	for len(d.open) > 0 && !d.ended {
		dst = d.end(dst, 0)
	}
	if d.ended {
		return dst
	}
	d.ended = true
	return append(dst, llm.Event{Kind: llm.EventStop, Stop: d.stop.stop(d.called)})
}
