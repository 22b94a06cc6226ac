package gemini

import (
	"bytes"
	"net/http"
	"time"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// maxCandidates is what the grammar allows; the vendor's limit is 8.
const maxCandidates = 128

// DecodeResponse implements dialect.ProviderCodec. A whole answer is read as a stream of one frame, so
// that both give the same Response.
func (Backend) DecodeResponse(op llm.Op, body []byte, o dialect.DecodeOptions) (*llm.Response, error) {
	switch op {
	case llm.OpCountTokens:
		return decodeCount(body)
	case llm.OpGenerate:
	default:
		return nil, fault.New(fault.Unsupported, "%s answers are not converted", op)
	}
	d := &eventDecoder{o: o, whole: true}
	var events []llm.Event
	if t := bytes.TrimLeft(body, " \t\r\n"); len(t) > 0 && t[0] == '[' {
		for c := dialect.Walk(t); c.Next(); {
			events = d.Push(events, "", c.Value)
		}
	} else {
		events = d.Push(events, "", body)
	}
	events = d.End(events)
	r, err := llm.Collect(events)
	if err != nil {
		f := fault.As(err)
		if f.Kind == fault.Internal { // a breach of the grammar
			f = fault.New(fault.UpstreamProtocol, "the provider's answer contradicts itself").With(err).At(fault.Partial)
		}
		return nil, f
	}
	return r, nil
}

func decodeCount(body []byte) (*llm.Response, error) {
	var at [2]splice.Span
	if !dialect.Find(body, []string{"totalTokens", "cachedContentTokenCount"}, at[:]) || at[0].Empty() {
		return nil, fault.New(fault.UpstreamProtocol, "the provider's token count has no totalTokens").At(fault.Partial)
	}
	total := dialect.Count(at[0].Of(body))
	return &llm.Response{
		From: llm.Gemini, HasUsage: true,
		Usage: llm.Usage{Input: total, Cached: min(total, dialect.Count(at[1].Of(body)))},
	}, nil
}

// NewEventDecoder implements dialect.ProviderCodec.
func (Backend) NewEventDecoder(o dialect.DecodeOptions) dialect.EventDecoder {
	return &eventDecoder{o: o}
}

// eventDecoder reads GenerateContentResponse frames. What closes an answer (part ends, stops, usage)
// waits for the end of the stream: a frame may follow the finish reason, with a late signature.
type eventDecoder struct {
	o             dialect.DecodeOptions
	whole         bool // one frame is the answer: it may lack a finish reason
	started, done bool
	seed          string // of call ids
	first         llm.Usage
	usage         []byte // the newest usageMetadata
	choices       []candidate
	blocked       string // promptFeedback.blockReason
	note          string
}

var answerNames = []string{"candidates", "usageMetadata", "promptFeedback", "error", "modelVersion", "responseId", "createTime"}

const (
	ansCandidates = iota
	ansUsage
	ansFeedback
	ansError
	ansModel
	ansID
	ansTime
)

// Push implements dialect.EventDecoder.
func (d *eventDecoder) Push(dst []llm.Event, _ string, data []byte) []llm.Event {
	data = bytes.TrimSpace(data)
	if d.done || len(data) == 0 || string(data) == "[DONE]" { // compatible servers end like OpenAI
		return dst
	}
	var at [7]splice.Span
	if !dialect.Find(data, answerNames, at[:]) {
		return d.fail(dst, fault.New(fault.UpstreamProtocol, "the provider sent a frame that is no JSON object"))
	}
	if dialect.Filled(at[ansError].Of(data)) {
		r := readError(data)
		if r.Status < 400 {
			r.Status = http.StatusInternalServerError
		}
		f := dialect.Classify(r, nil, data)
		f.Status = 0 // the HTTP status was 200
		return d.fail(dst, f)
	}
	if u := at[ansUsage].Of(data); len(u) > 0 {
		d.usage = append(d.usage[:0], u...)
	}
	if !d.started {
		dst = d.start(dst, data, at[:])
	}
	if f := at[ansFeedback].Of(data); len(f) > 0 {
		var b [2]splice.Span
		if dialect.Find(f, []string{"blockReason", "blockReasonMessage"}, b[:]) {
			if word := text(b[0].Of(f)); word != "" {
				d.blocked, d.note = word, text(b[1].Of(f))
			}
		}
	}
	i := 0
	for c := dialect.Walk(at[ansCandidates].Of(data)); c.Next(); i++ {
		if dst = d.candidate(dst, c.Value, i); d.done {
			return dst
		}
	}
	return dst
}

func (d *eventDecoder) start(dst []llm.Event, data []byte, at []splice.Span) []llm.Event {
	d.started = true
	s := &llm.Start{From: llm.Gemini, ID: text(at[ansID].Of(data)), Model: text(at[ansModel].Of(data))}
	if t, err := time.Parse(time.RFC3339, text(at[ansTime].Of(data))); err == nil {
		s.Created = t.Unix()
	}
	if d.seed = s.ID; d.seed == "" {
		d.seed = d.o.ID
	}
	for c := dialect.Walk(data); c.Next(); {
		if find(answerNames, c.Name) < 0 || string(c.Name) == "promptFeedback" && dialect.Filled(c.Value) {
			s.Extra = append(s.Extra, llm.Member{Name: string(c.Name), Value: llm.Raw(tidy(c.Value))})
		}
	}
	for c := dialect.Walk(d.usage); c.Next(); {
		if string(c.Name) == "serviceTier" {
			s.ServiceTier = text(c.Value)
		}
	}
	d.first, _ = counts(d.usage)
	return append(dst, llm.Event{Kind: llm.EventStart, Start: s, Usage: d.first})
}

// counts is readUsage with the relations between the counts kept.
func counts(v []byte) (llm.Usage, bool) {
	u, ok := readUsage(v)
	return llm.Inclusive.Usage(llm.Inclusive.Counts(u)), ok
}

func (d *eventDecoder) fail(dst []llm.Event, f *fault.Error) []llm.Event {
	d.done = true
	f.Phase = fault.Sent
	if d.started {
		f.Phase = fault.Partial
	}
	return append(dst, llm.Event{Kind: llm.EventError, Err: f})
}

func (d *eventDecoder) protocol(dst []llm.Event, why string) []llm.Event {
	return d.fail(dst, fault.New(fault.UpstreamProtocol, "%s", why))
}

// End implements dialect.EventDecoder.
func (d *eventDecoder) End(dst []llm.Event) []llm.Event {
	if d.done {
		return dst
	}
	switch {
	case len(d.choices) == 0 && d.started && (d.blocked != "" || d.whole):
		d.choices = append(d.choices, candidate{})
	case len(d.choices) == 0:
		return d.broken(dst)
	}
	for i := range d.choices {
		c := &d.choices[i]
		if c.partial != nil || !c.finished && d.blocked == "" && !d.whole {
			return d.broken(dst)
		}
	}
	d.done = true
	for i := range d.choices {
		c := &d.choices[i]
		dst = c.close(dst, i)
		if !c.finished && d.blocked != "" {
			c.stop.Native, c.stop.Note, c.stop.Reason = d.blocked, d.note, llm.StopBlocked
		}
		c.stop.Reason = c.stop.Reason.Derive(len(c.ids) > 0)
		dst = append(dst, llm.Event{Kind: llm.EventStop, Choice: i, Stop: c.stop})
	}
	if u, ok := counts(d.usage); ok {
		dst = append(dst, llm.Event{Kind: llm.EventUsage, Usage: u.Max(d.first)})
	}
	return dst
}

func (d *eventDecoder) broken(dst []llm.Event) []llm.Event {
	return d.fail(dst, fault.New(fault.UpstreamPartial, "the provider's answer broke off before its finish reason"))
}

var candidateNames = []string{
	"content", "finishReason", "index", "finishMessage", "logprobsResult", "groundingMetadata", "citationMetadata",
	"avgLogprobs", "tokenCount", "safetyRatings",
}

const (
	candContent = iota
	candFinish
	candIndex
	candMessage
	candLogprobs
	candGrounding
	candCitations
	candNamesRead = 5 // the rest goes to Stop.Extra as it is
)

func (d *eventDecoder) candidate(dst []llm.Event, v []byte, i int) []llm.Event {
	var at [10]splice.Span
	if !dialect.Find(v, candidateNames, at[:]) {
		return d.protocol(dst, "the provider sent a candidate that is no object")
	}
	if n := at[candIndex].Of(v); len(n) > 0 {
		i = int(min(dialect.Count(n), maxCandidates))
	}
	if i >= maxCandidates {
		return d.protocol(dst, "the provider sent too many candidates")
	}
	for len(d.choices) <= i {
		d.choices = append(d.choices, candidate{})
	}
	c := &d.choices[i]
	if l := at[candLogprobs].Of(v); len(l) > 0 {
		c.logprobs = readLogprobs(c.logprobs, l)
	}
	for m := dialect.Walk(at[candContent].Of(v)); m.Next(); {
		if string(m.Name) != "parts" {
			continue
		}
		for p := dialect.Walk(m.Value); p.Next(); {
			if dst = d.part(dst, c, i, p.Value); d.done {
				return dst
			}
		}
	}
	for k, n := range candidateNames[candNamesRead:] {
		if x := at[candNamesRead+k].Of(v); dialect.Filled(x) {
			c.keep(n, x)
		}
	}
	if g := at[candGrounding].Of(v); dialect.Filled(g) {
		c.citations = readGrounding(c.citations, g, c.said)
	}
	if g := at[candCitations].Of(v); dialect.Filled(g) {
		c.citations = readCitations(c.citations, g, c.said)
	}
	if word := text(at[candFinish].Of(v)); word != "" && word != "FINISH_REASON_UNSPECIFIED" {
		c.finished = true
		c.stop.Native, c.stop.Reason = word, dialect.StopOf(llm.Gemini, word)
		c.stop.Note = text(at[candMessage].Of(v))
		for m := dialect.Walk(v); m.Next(); {
			if find(candidateNames, m.Name) < 0 && dialect.Filled(m.Value) {
				c.keep(string(m.Name), m.Value)
			}
		}
	}
	return dst
}

// candidate is the state of one answer.
type candidate struct {
	next      int // number of the next part
	open      bool
	kind      llm.PartKind // of the open part, number next-1
	seal      *llm.Seal    // of the open part
	said      []byte       // its text, to count code points of citations
	partial   *partialCall
	ids       []string
	logprobs  []llm.Logprob
	citations []llm.Citation
	finished  bool
	stop      llm.Stop
}

// keep notes a member of the candidate; the newest of a stream counts.
func (c *candidate) keep(name string, v []byte) {
	for i := range c.stop.Extra {
		if c.stop.Extra[i].Name == name {
			c.stop.Extra[i].Value = llm.Raw(tidy(v))
			return
		}
	}
	c.stop.Extra = append(c.stop.Extra, llm.Member{Name: name, Value: llm.Raw(tidy(v))})
}

func (c *candidate) close(dst []llm.Event, choice int) []llm.Event {
	if !c.open {
		return dst
	}
	e := llm.Event{Kind: llm.EventPartEnd, Choice: choice, Index: c.next - 1}
	if c.kind == llm.PartText && c.citations != nil || c.seal != nil {
		e.Part = &llm.Part{Kind: c.kind, Seal: c.seal}
		if c.kind == llm.PartText {
			e.Part.Citations, c.citations = c.citations, nil
		}
	}
	c.open, c.seal, c.said = false, nil, c.said[:0]
	return append(dst, e)
}

func (c *candidate) begin(dst []llm.Event, choice int, p *llm.Part) []llm.Event {
	dst = c.close(dst, choice)
	c.open, c.kind = true, p.Kind
	dst = append(dst, llm.Event{Kind: llm.EventPartStart, Choice: choice, Index: c.next, Part: p})
	c.next++
	return dst
}

func (c *candidate) delta(dst []llm.Event, choice int, s string) []llm.Event {
	e := llm.Event{Kind: llm.EventDelta, Choice: choice, Index: c.next - 1, Text: s}
	if c.kind == llm.PartText {
		e.Logprobs, c.logprobs = c.logprobs, nil
		if len(c.said) < 1<<20 { // beyond that citations have no place, but their sources
			c.said = append(c.said, s...)
		}
	}
	return append(dst, e)
}

// callID is the provider's id of a call when it has one of its own, else a made one.
func (d *eventDecoder) callID(c *candidate, choice int, id string) string {
	for _, used := range c.ids {
		if used == id {
			id = ""
		}
	}
	if id == "" {
		id = carrier.CallID(d.seed, choice, c.next)
	}
	c.ids = append(c.ids, id)
	return id
}
