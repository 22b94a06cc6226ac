package openai

import (
	"bytes"
	"strconv"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// NewEventDecoder implements dialect.ProviderCodec.
func (ChatBackend) NewEventDecoder(o dialect.DecodeOptions) dialect.EventDecoder {
	return &chatEvents{o: o}
}

// DecodeResponse implements dialect.ProviderCodec. A whole answer is a stream of one chunk.
func (ChatBackend) DecodeResponse(op llm.Op, body []byte, o dialect.DecodeOptions) (*llm.Response, error) {
	if op != llm.OpGenerate {
		return nil, fault.New(fault.Unsupported, "chat completions providers have no operation %s", op)
	}
	d := chatEvents{o: o, whole: true}
	events := d.Push(nil, "", body)
	if !d.ended && !d.started { // no choices: the caller finds it empty
		d.readHead(body)
		return &llm.Response{From: llm.OpenAIChat, ID: d.head.ID, Model: d.head.Model, Created: d.head.Created, Usage: d.usage, HasUsage: d.counted}, nil
	}
	if !d.ended {
		events = d.finish(events)
	}
	if last := &events[len(events)-1]; last.Kind == llm.EventError {
		return nil, last.Err
	}
	r, err := llm.Collect(events)
	if err != nil {
		return nil, fault.New(fault.UpstreamProtocol, "the provider's answer makes no sense").With(err)
	}
	return r, nil
}

const (
	maxChatChoices = 128
	maxCalls       = 1024
	maxKept        = 64 << 10 // unknown members of one choice
)

// chatEvents reads a chat stream (protocols.md 2.4).
type chatEvents struct {
	o       dialect.DecodeOptions
	head    llm.Start
	whole   bool // a whole answer: its one chunk has messages instead of deltas
	started bool
	content bool // something came that a replay would repeat
	ended   bool
	counted bool
	usage   llm.Usage
	choices []chatChoice
}

// chatChoice is one answer of the stream.
type chatChoice struct {
	next      int // number of the next part
	open      bool
	kind      llm.PartKind // of the open part, which is not a call
	part      int
	runes     int64  // of the texts before the open one
	member    string // where the thinking came from
	details   detailBuilder
	cites     []llm.Citation
	seal      string
	logprobs  []llm.Logprob // of tokens that had no text
	calls     []chatCall
	reason    llm.StopReason
	native    string
	sequence  string
	finished  bool
	refused   bool
	extra     llm.Extra
	extraSize int
	texts     int64 // runes of the open text
}

var eventNames = []string{"choices", "usage", "error", "object", "x_groq"}

const (
	eventChoices = iota
	eventUsage
	eventError
	eventObject
	eventGroq
)

// Push implements dialect.EventDecoder.
func (d *chatEvents) Push(dst []llm.Event, name string, data []byte) []llm.Event {
	if d.ended {
		return dst
	}
	if data = bytes.TrimSpace(data); len(data) == 0 && !d.whole {
		return dst
	}
	if !d.whole && data[0] == '[' && bytes.Equal(data, done) {
		return d.finish(dst)
	}
	var at [5]splice.Span
	if !dialect.Find(data, eventNames, at[:]) {
		return d.protocol(dst, "the provider sent something that is not a chat completion")
	}
	if dialect.Filled(at[eventError].Of(data)) || name == "error" || string(at[eventObject].Of(data)) == `"error"` {
		return d.fail(dst, streamFault(readError(data), data))
	}
	dst = d.count(dst, at[eventUsage].Of(data))
	if g := at[eventGroq].Of(data); len(g) > 0 && at[eventUsage].Empty() {
		var u [1]splice.Span
		if dialect.Find(g, usageNames, u[:]) {
			dst = d.count(dst, u[0].Of(g))
		}
	}
	choices := at[eventChoices].Of(data)
	if d.whole && (unset(choices) || choices[0] != '[') {
		return d.protocol(dst, "the provider's answer has no choices")
	}
	// choices: [] is a chunk about something else: usage, moderation, Azure's filter results.
	for c := dialect.Walk(choices); c.Next() && !d.ended; {
		if !d.started {
			dst = d.start(dst, data)
		}
		dst = d.choice(dst, c.Value)
	}
	return dst
}

func (d *chatEvents) start(dst []llm.Event, data []byte) []llm.Event {
	d.started = true
	d.readHead(data)
	head := d.head
	dst = append(dst, llm.Event{Kind: llm.EventStart, Start: &head})
	if d.counted {
		dst[len(dst)-1].Usage = d.usage
	}
	return dst
}

func (d *chatEvents) readHead(data []byte) {
	d.head.From = llm.OpenAIChat
	for c := dialect.Walk(data); c.Next(); {
		switch string(c.Name) {
		case "id":
			d.head.ID = word(c.Value)
		case "model":
			d.head.Model = word(c.Value)
		case "created":
			d.head.Created = dialect.Count(c.Value)
		case "service_tier":
			d.head.ServiceTier = word(c.Value)
		case "object", "choices", "usage", "error", "x_groq", "obfuscation":
		default:
			if dialect.Filled(c.Value) && len(c.Value) < maxKept {
				d.head.Extra = append(d.head.Extra, llm.Member{Name: string(c.Name), Value: bytes.Clone(c.Value)})
			}
		}
	}
}

// count takes a usage object. Servers that repeat it in every chunk count up.
func (d *chatEvents) count(dst []llm.Event, v []byte) []llm.Event {
	u, ok := readUsage(v)
	if !ok {
		return dst
	}
	u = bounded(bounded(u).Max(d.usage))
	if u.Max(d.usage) != u || d.counted && u == d.usage {
		return dst // says nothing new, or contradicts what came before
	}
	d.usage, d.counted = u, true
	if d.started {
		dst = append(dst, llm.Event{Kind: llm.EventUsage, Usage: u})
	}
	return dst
}

// bounded makes counts that agree with each other.
func bounded(u llm.Usage) llm.Usage {
	return llm.Inclusive.Usage(llm.Counts{
		Prompt: u.Input, Cached: u.Cached, Write: u.CacheWrite, Write1h: u.CacheWrite1h,
		Completion: u.Output, Reasoning: u.Reasoning,
	})
}

func (d *chatEvents) choice(dst []llm.Event, v []byte) []llm.Event {
	var index int64
	var delta, message, logprobs, reason, stop, failure []byte
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "index":
			index, _ = dialect.Int(c.Value)
		case "delta":
			delta = c.Value
		case "message":
			message = c.Value
		case "logprobs":
			logprobs = c.Value
		case "finish_reason":
			reason = c.Value
		case "stop_reason", "matched_stop": // vLLM, SGLang: the stop sequence
			stop = c.Value
		case "error": // OpenRouter
			failure = c.Value
		case "usage": // Moonshot
			dst = d.count(dst, c.Value)
		}
	}
	switch {
	case dialect.Filled(failure):
		return d.fail(dst, streamFault(readErrorObject(failure), v))
	case index < 0 || index >= maxChatChoices:
		return d.protocol(dst, "the provider numbered a choice out of range")
	}
	for int64(len(d.choices)) <= index {
		d.choices = append(d.choices, chatChoice{})
	}
	i := int(index)
	c := &d.choices[i]
	if !unset(logprobs) {
		c.logprobs = append(c.logprobs, readLogprobs(tokens(logprobs))...)
	}
	if (unset(delta) || !dialect.Filled(delta)) && c.next == 0 {
		delta = message // a whole answer, or a server that sends it as one chunk
	}
	if !unset(delta) {
		dst = d.delta(dst, i, delta)
	}
	if isFilledText(stop) {
		c.sequence = word(stop)
	}
	if isFilledText(reason) && !d.ended {
		dst = d.reason(dst, c, word(reason))
	}
	return dst
}

func tokens(v []byte) []byte {
	var at [1]splice.Span
	if dialect.Find(v, []string{"content"}, at[:]) {
		return at[0].Of(v)
	}
	return nil
}

// reason notes the finish reason. The stop itself waits for the end of the stream: some servers go on
// after it, and usage comes after it.
func (d *chatEvents) reason(dst []llm.Event, c *chatChoice, native string) []llm.Event {
	r := dialect.StopOf(llm.OpenAIChat, native)
	switch native { // words of compatible servers
	case "error", "network_error":
		return d.fail(dst, fault.New(fault.UpstreamError, "the provider stopped with %s", native).At(fault.Sent))
	case "insufficient_system_resource":
		return d.fail(dst, fault.New(fault.UpstreamOverload, "the provider ran out of resources").At(fault.Sent))
	case "abort":
		return d.fail(dst, fault.New(fault.UpstreamPartial, "the provider gave up the answer").At(fault.Sent))
	case "max_tokens", "model_length":
		r = llm.StopLength
	case "sensitive", "safety":
		r = llm.StopBlocked
	}
	c.reason, c.native, c.finished = r, native, true
	return dst
}

func (d *chatEvents) delta(dst []llm.Event, i int, v []byte) []llm.Event {
	var m wireMessage
	m.read(v)
	c := &d.choices[i]
	if m.thinking != nil || len(m.details) > 2 {
		dst = d.thinking(dst, i, &m)
	}
	if len(m.content) > 2 {
		dst = d.text(dst, i, m.content)
	}
	if isFilledText(m.refusal) {
		c.refused = true
		dst = d.say(dst, i, llm.PartRefusal, dialect.Unquote(m.refusal))
	}
	if m.seal != "" && !dialect.Filled(m.calls) {
		c.seal = m.seal
	}
	if len(m.annotations) > 2 {
		c.cites = append(c.cites, readChatCitations(m.annotations, c.runes, d.o.Scope)...)
	}
	for p := dialect.Walk(m.pix); p.Next(); {
		dst = d.image(dst, i, p.Value)
	}
	if dialect.Filled(m.audio) {
		dst = d.opaque(dst, i, "audio", m.audio)
	}
	for t := dialect.Walk(m.calls); t.Next() && !d.ended; {
		dst = d.fragment(dst, i, t.Value)
	}
	if !unset(m.call) && m.call[0] == '{' && !d.ended {
		dst = d.call(dst, i, &fragment{wire: -2, indexed: true, inner: m.call})
	}
	for _, x := range m.extra {
		c.keep(x)
	}
	return dst
}

// keep notes an unknown member for the end, once.
func (c *chatChoice) keep(x llm.Member) {
	if c.extra.Get(x.Name) != nil || c.extraSize+len(x.Value) > maxKept {
		return
	}
	c.extraSize += len(x.Value)
	c.extra = append(c.extra, llm.Member{Name: x.Name, Value: bytes.Clone(x.Value)})
}

// say adds to the open part of a kind, or opens one.
func (d *chatEvents) say(dst []llm.Event, i int, kind llm.PartKind, text string) []llm.Event {
	if d.ended {
		return dst
	}
	c := &d.choices[i]
	if !c.open || c.kind != kind {
		dst = d.close(dst, i)
		c.open, c.kind, c.part, c.texts = true, kind, c.next, 0
		c.next++
		dst = append(dst, llm.Event{Kind: llm.EventPartStart, Choice: i, Index: c.part, Part: &llm.Part{Kind: kind}})
	}
	if text == "" {
		return dst
	}
	d.content = true
	e := llm.Event{Kind: llm.EventDelta, Choice: i, Index: c.part, Text: text}
	if kind == llm.PartText {
		c.texts += int64(countRunes(text))
		e.Logprobs, c.logprobs = c.logprobs, nil
	}
	return append(dst, e)
}

func countRunes(s string) (n int) {
	for i := range len(s) {
		if s[i]&0xC0 != 0x80 {
			n++
		}
	}
	return n
}

// close ends the open part that is not a call, with what was learned late.
func (d *chatEvents) close(dst []llm.Event, i int) []llm.Event {
	c := &d.choices[i]
	if !c.open {
		return dst
	}
	c.open = false
	e := llm.Event{Kind: llm.EventPartEnd, Choice: i, Index: c.part}
	switch c.kind {
	case llm.PartThinking:
		data := c.details.take()
		if data == nil {
			data = []byte(c.member)
		}
		e.Part = &llm.Part{Seal: d.sealed(data)}
	case llm.PartText:
		c.runes += c.texts
		if c.seal != "" || c.cites != nil {
			e.Part = &llm.Part{Citations: c.cites}
			if c.seal != "" {
				e.Part.Seal = d.sealed([]byte(c.seal))
			}
			c.seal, c.cites = "", nil
		}
	}
	return append(dst, e)
}

func (d *chatEvents) sealed(data []byte) *llm.Seal {
	return &llm.Seal{Origin: llm.OpenAIChat, Scope: d.o.Scope, Data: data}
}

func (d *chatEvents) thinking(dst []llm.Event, i int, m *wireMessage) []llm.Event {
	c := &d.choices[i]
	text := ""
	if m.thinking != nil {
		text, c.member = dialect.Unquote(m.thinking), m.member
	}
	details := dialect.Filled(m.details) && m.details[0] == '['
	if details && c.member == "" { // else they repeat what the plain member said
		text = detailText(m.details)
	}
	if text == "" && !details {
		return dst
	}
	dst = d.say(dst, i, llm.PartThinking, text)
	if details && !c.details.add(m.details) {
		return d.protocol(dst, "the provider's reasoning details are too long")
	}
	return dst
}

// text reads content: a string, or the list of parts that Mistral sends.
func (d *chatEvents) text(dst []llm.Event, i int, v []byte) []llm.Event {
	if v[0] == '"' {
		return d.say(dst, i, llm.PartText, dialect.Unquote(v))
	}
	if v[0] != '[' {
		return dst
	}
	for c := dialect.Walk(v); c.Next(); {
		var at [3]splice.Span
		if !dialect.Find(c.Value, []string{"type", "text", "thinking"}, at[:]) {
			continue
		}
		switch kind := word(at[0].Of(c.Value)); kind {
		case "text":
			if t := word(at[1].Of(c.Value)); t != "" {
				dst = d.say(dst, i, llm.PartText, t)
			}
		case "thinking":
			thought := at[2].Of(c.Value)
			text := word(thought)
			if text == "" {
				text = detailText(thought)
			}
			if text != "" {
				d.choices[i].member = "reasoning_content"
				dst = d.say(dst, i, llm.PartThinking, text)
			}
		case "image_url":
			dst = d.image(dst, i, c.Value)
		default:
			dst = d.opaque(dst, i, kind, c.Value)
		}
	}
	return dst
}

// image reads {type: image_url, image_url: {url}}: what OpenRouter and LiteLLM make of pictures.
func (d *chatEvents) image(dst []llm.Event, i int, v []byte) []llm.Event {
	var at [1]splice.Span
	if !dialect.Find(v, []string{"image_url"}, at[:]) {
		return dst
	}
	p := &llm.Part{Kind: llm.PartImage}
	if err := readLink(p, at[0].Of(v), "/image_url"); err != nil {
		return d.protocol(dst, "the provider sent an image that cannot be read")
	}
	p.Media.Data, p.Extra = bytes.Clone(p.Media.Data), nil
	return d.put(dst, i, p)
}

func (d *chatEvents) opaque(dst []llm.Event, i int, kind string, v []byte) []llm.Event {
	return d.put(dst, i, &llm.Part{Kind: llm.PartOpaque, Opaque: &llm.Opaque{
		Origin: llm.OpenAIChat, Scope: d.o.Scope, Type: kind, JSON: bytes.Clone(v),
	}})
}

// put adds a part that comes whole.
func (d *chatEvents) put(dst []llm.Event, i int, p *llm.Part) []llm.Event {
	if d.ended {
		return dst
	}
	dst = d.close(dst, i)
	c := &d.choices[i]
	d.content = true
	dst = append(dst, llm.Event{Kind: llm.EventPartStart, Choice: i, Index: c.next, Part: p},
		llm.Event{Kind: llm.EventPartEnd, Choice: i, Index: c.next})
	c.next++
	return dst
}

func (d *chatEvents) seed() string {
	if d.head.ID != "" {
		return d.head.ID
	}
	return d.o.ID
}

// finish ends every choice and the stream.
func (d *chatEvents) finish(dst []llm.Event) []llm.Event {
	if !d.started {
		return d.protocol(dst, "the provider sent an empty stream")
	}
	for i := range d.choices {
		c := &d.choices[i]
		dst = d.close(dst, i)
		for j := range c.calls {
			k := &c.calls[j]
			if !k.begun {
				if k.name == "" {
					return d.protocol(dst, "the provider sent a call without a name, number "+strconv.Itoa(j))
				}
				dst = d.begin(dst, i, k)
			}
			e := llm.Event{Kind: llm.EventPartEnd, Choice: i, Index: k.part}
			if k.sealNew {
				e.Part = &llm.Part{Seal: k.seal}
			}
			dst = append(dst, e)
		}
		dst = append(dst, llm.Event{Kind: llm.EventStop, Choice: i, Stop: c.stop()})
	}
	d.ended = true
	return dst
}

// stop is why a choice ended. A refusal comes with the reason stop (protocols.md 2.2), and whether
// there are calls decides the content.
func (c *chatChoice) stop() llm.Stop {
	s := llm.Stop{Reason: c.reason, Native: c.native, Extra: c.extra}
	switch {
	case c.refused && (s.Reason == llm.StopEnd || s.Reason == llm.StopUnknown):
		s.Reason = llm.StopBlocked
	case s.Reason == llm.StopEnd && c.sequence != "" && len(c.calls) == 0:
		s.Reason, s.Sequence = llm.StopSequence, c.sequence
	}
	s.Reason = s.Reason.Derive(len(c.calls) > 0)
	return s
}

// End implements dialect.EventDecoder. Without [DONE] the finish reason of every choice counts as the
// end: compatible servers often leave the former out.
func (d *chatEvents) End(dst []llm.Event) []llm.Event {
	if d.ended {
		return dst
	}
	whole := d.started
	for i := range d.choices {
		whole = whole && d.choices[i].finished
	}
	if whole {
		return d.finish(dst)
	}
	return d.fail(dst, fault.New(fault.UpstreamPartial, "the provider's stream broke off").At(fault.Sent))
}

func (d *chatEvents) protocol(dst []llm.Event, why string) []llm.Event {
	return d.fail(dst, fault.New(fault.UpstreamProtocol, "%s", why).At(fault.Sent))
}

func (d *chatEvents) fail(dst []llm.Event, f *fault.Error) []llm.Event {
	if d.ended {
		return dst
	}
	d.ended = true
	if d.content {
		f.Phase = fault.Partial
	}
	return append(dst, llm.Event{Kind: llm.EventError, Err: f})
}

// readChatCitations reads annotations; shift is where the text begins that follows other texts.
func readChatCitations(v []byte, shift int64, scope string) []llm.Citation {
	var out []llm.Citation
	for c := dialect.Walk(v); c.Next(); {
		var at [2]splice.Span
		if !dialect.Find(c.Value, []string{"type", "url_citation"}, at[:]) {
			continue
		}
		x := llm.Citation{Opaque: &llm.Opaque{Origin: llm.OpenAIChat, Scope: scope, Type: word(at[0].Of(c.Value)), JSON: bytes.Clone(c.Value)}}
		for m := dialect.Walk(at[1].Of(c.Value)); m.Next(); {
			switch string(m.Name) {
			case "url":
				x.URL = word(m.Value)
			case "title":
				x.Title = word(m.Value)
			case "content":
				x.Quote = word(m.Value)
			case "start_index":
				if n, ok := dialect.Int(m.Value); ok {
					x.Start = llm.Some(max(n-shift, 0))
				}
			case "end_index":
				if n, ok := dialect.Int(m.Value); ok {
					x.End = llm.Some(max(n-shift, 0))
				}
			}
		}
		out = append(out, x)
	}
	return out
}
