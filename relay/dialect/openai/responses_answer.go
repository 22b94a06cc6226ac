package openai

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// outItem is one item of an answer on its way to a client, whole or in a stream. Texts are JSON
// without quotes, so that a stream's deltas add up to them.
type outItem struct {
	kind        llm.PartKind
	custom      bool
	id          string
	callID      string
	name        string
	text        []byte
	sealed      string // encrypted_content
	annotations []byte // JSON, with commas, without brackets
	logprobs    []byte // the same
	phase       []byte // JSON
	raw         []byte // the item itself, when it is the vendor's own
}

// quoted appends s as JSON without quotes.
func quoted(b []byte, s string) []byte {
	n := len(b)
	b, _ = jsontext.AppendQuote(b, s)
	copy(b[n:], b[n+1:len(b)-1])
	return b[:len(b)-2]
}

// append writes the whole item.
func (it *outItem) append(b []byte, status string) []byte {
	if it.raw != nil {
		return append(b, it.raw...)
	}
	b = append(b, `{"id":"`...)
	b = append(b, it.id...)
	switch it.kind {
	case llm.PartThinking:
		b = append(b, `","type":"reasoning","summary":[`...)
		if len(it.text) > 0 {
			b = append(b, `{"type":"summary_text","text":"`...)
			b = append(b, it.text...)
			b = append(b, `"}`...)
		}
		b = append(b, ']')
		if it.sealed != "" {
			b = append(b, `,"encrypted_content":"`...)
			b = quoted(b, it.sealed)
			b = append(b, '"')
		}
		return append(b, '}')
	case llm.PartCall:
		if it.custom {
			b = append(b, `","type":"custom_tool_call","input":"`...)
		} else {
			b = append(b, `","type":"function_call","status":"`...)
			b = append(b, status...)
			b = append(b, `","arguments":"`...)
		}
		b = append(b, it.text...)
		b = append(b, `","call_id":"`...)
		b = quoted(b, it.callID)
		b = append(b, `","name":"`...)
		b = quoted(b, it.name)
		return append(b, `"}`...)
	case llm.PartImage:
		b = append(b, `","type":"image_generation_call","status":"`...)
		b = append(b, status...)
		b = append(b, `","result":"`...)
		b = append(b, it.text...)
		return append(b, `"}`...)
	}
	b = append(b, `","type":"message","status":"`...)
	b = append(b, status...)
	b = append(b, `","role":"assistant",`...)
	b = it.appendPhase(b)
	b = append(b, `"content":[`...)
	b = it.appendContent(b)
	return append(b, "]}"...)
}

func (it *outItem) appendPhase(b []byte) []byte {
	if it.phase == nil {
		return b
	}
	b = append(b, `"phase":`...)
	b = append(b, it.phase...)
	return append(b, ',')
}

// appendContent writes the content part of a message.
func (it *outItem) appendContent(b []byte) []byte {
	if it.kind == llm.PartRefusal {
		b = append(b, `{"type":"refusal","refusal":"`...)
		b = append(b, it.text...)
		return append(b, `"}`...)
	}
	b = append(b, `{"type":"output_text","annotations":[`...)
	b = append(b, it.annotations...)
	b = append(b, `],"logprobs":[`...)
	b = append(b, it.logprobs...)
	b = append(b, `],"text":"`...)
	b = append(b, it.text...)
	return append(b, `"}`...)
}

// openItem makes the item of a part that begins. ok is false for what this protocol has no item for.
func openItem(p *llm.Part, seed string, index int) (it outItem, ok bool) {
	it = outItem{kind: p.Kind, id: itemID(itemPrefix(p), seed, index), custom: p.Custom}
	switch p.Kind {
	case llm.PartText, llm.PartRefusal:
		if phase := p.Extra.Get("phase"); phase != nil {
			it.phase = oneLine(phase)
		}
	case llm.PartThinking:
		if p.Seal != nil {
			it.seal(p)
		}
	case llm.PartCall:
		it.callID, it.name = carrier.ID(llm.OpenAIResponses, p.ID), p.Name
	case llm.PartImage:
		if p.Media == nil || len(p.Media.Data) == 0 {
			return it, false
		}
		it.text = p.Media.Data
	case llm.PartOpaque:
		if p.Opaque.Origin == llm.OpenAIResponses && p.Opaque.Scope == "" {
			it.raw = oneLine(p.Opaque.JSON)
		} else {
			it = outItem{kind: llm.PartThinking, id: itemID("rs_", seed, index), sealed: carrier.EncodePart(p.Opaque)}
		}
	default:
		return it, false
	}
	return it, true
}

// seal notes the seal of thinking, which may come with the start of p or with its end.
func (it *outItem) seal(p *llm.Part) {
	use := carrier.Own
	if p.Redacted {
		use = carrier.Redacted
	}
	it.sealed = carrier.Text(llm.OpenAIResponses, use, p.Seal)
}

// sealItem is the item that carries the seal of another part, in the form of reasoning without text.
func sealItem(use carrier.Use, s *llm.Seal, seed string, index int) outItem {
	return outItem{kind: llm.PartThinking, id: itemID("rs_", seed, index), sealed: carrier.Encode(use, s)}
}

// cite notes citations as annotations; it returns how many have no form here.
func (it *outItem) cite(cs []llm.Citation, length int) (lost int) {
	w := dialect.NewWriter(it.annotations[:0])
	for i := range cs {
		c := &cs[i]
		switch {
		case c.Opaque.For(llm.OpenAIResponses, ""):
			w.Raw(oneLine(c.Opaque.JSON))
		case c.URL != "":
			w.Open('{')
			w.StrMember("type", "url_citation")
			w.IntMember("end_index", c.End.Or(int64(length)))
			w.IntMember("start_index", c.Start.Or(0))
			w.StrMember("title", c.Title)
			w.StrMember("url", c.URL)
			w.Close('}')
		default:
			lost++
		}
	}
	it.annotations = w.Take()
	return lost
}

// addLogprobs notes the log probabilities of tokens.
func (it *outItem) addLogprobs(ps []llm.Logprob) []byte {
	if len(ps) == 0 {
		return nil
	}
	w := dialect.NewWriter(nil)
	writeLogprobs(&w, ps)
	b := w.Take()
	b = b[1 : len(b)-1]
	if len(it.logprobs) > 0 {
		it.logprobs = append(it.logprobs, ',')
	}
	it.logprobs = append(it.logprobs, b...)
	return b
}

const statusDone, statusBroken = "completed", "incomplete"

// EncodeResponse implements dialect.ClientCodec.
func (Responses) EncodeResponse(r *llm.Response, o dialect.AnswerOptions) ([]byte, []llm.Loss, error) {
	if o.Request != nil && o.Request.Op == llm.OpCountTokens {
		w := dialect.NewWriter(nil)
		w.Open('{')
		w.StrMember("object", "response.input_tokens")
		w.IntMember("input_tokens", r.Usage.Input)
		w.Close('}')
		return w.Take(), nil, nil
	}
	if len(r.Choices) == 0 {
		return nil, nil, fault.New(fault.UpstreamProtocol, "the provider's answer has no content").At(fault.Partial)
	}
	l := dialect.Losses{From: r.From, To: llm.OpenAIResponses}
	own := r.From == llm.OpenAIResponses
	if !own {
		l.Extra(r.Extra, "")
		l.Extra(r.Choices[0].Stop.Extra, dialect.AnswerChoice(r.From, 0))
	}
	for i := range r.Choices[1:] {
		l.Drop(dialect.AnswerChoice(r.From, i+1), llm.LostNoEquivalent)
	}
	a := responseWriter{o: o, seed: idSeed(r.ID, o.ID), created: r.Created, tier: r.ServiceTier}
	a.id = responseID(r.ID, a.seed)
	a.settings = echo(&o)
	c := &r.Choices[0]
	var output []byte
	n := 0
	add := func(it *outItem, status string) {
		if n++; n > 1 {
			output = append(output, ',')
		}
		output = it.append(output, status)
	}
	logprobs := c.Logprobs
	for i := range c.Parts {
		p := &c.Parts[i]
		if p.Seal != nil && p.Kind != llm.PartThinking {
			it := sealItem(carrier.Next, p.Seal, a.seed, n)
			add(&it, statusDone)
		}
		it, ok := openItem(p, a.seed, n)
		if !ok {
			l.Drop(dialect.AnswerPart(r.From, 0, i), llm.LostNoEquivalent)
			continue
		}
		if p.Kind.Streams() {
			it.text = quoted(nil, p.Text)
			if p.Kind == llm.PartCall && !p.Custom {
				it.text = quoted(nil, p.Args())
			}
		}
		if p.Kind == llm.PartText {
			it.addLogprobs(logprobs)
			logprobs = nil
		}
		if it.cite(p.Citations, runes(it.text)) > 0 {
			l.Drop(dialect.Child(dialect.AnswerPart(r.From, 0, i), "citations"), llm.LostNoEquivalent)
		}
		if !own {
			l.Extra(p.Extra, dialect.AnswerPart(r.From, 0, i))
		}
		status := statusDone
		if i == len(c.Parts)-1 && c.Stop.Reason == llm.StopLength {
			status = statusBroken
		}
		add(&it, status)
	}
	b := a.append(nil, c.Stop.Reason, c.Stop.Note, output, r.Usage, r.HasUsage, true)
	return b, l.List, nil
}

// runes counts the code points of a JSON text without quotes, escapes counting as one.
func runes(b []byte) int {
	n := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\' && i+1 < len(b):
			if n++; b[i+1] == 'u' {
				i += 5
			} else {
				i++
			}
		case c&0xC0 != 0x80:
			n++
		}
	}
	return n
}

// responseWriter writes the response object, which stands in an answer and three times in a stream.
type responseWriter struct {
	o        dialect.AnswerOptions
	id, seed string
	created  int64
	tier     string
	settings []byte // echo of the request, once made
}

// append writes the object. ended is false at the start of a stream.
func (a *responseWriter) append(b []byte, stop llm.StopReason, note string, output []byte, u llm.Usage, hasUsage, ended bool) []byte {
	status, reason := "in_progress", ""
	if ended {
		status = statusDone
		switch reason = dialect.StopName(llm.OpenAIResponses, stop); reason {
		case statusDone, "failed":
			status, reason = reason, ""
		default:
			status = statusBroken
		}
	}
	created := a.created
	if created == 0 {
		created = a.o.Created
	}
	w := dialect.NewWriter(b)
	w.Open('{')
	w.StrMember("id", a.id)
	w.StrMember("object", "response")
	w.IntMember("created_at", created)
	w.StrMember("status", status)
	w.Name("error")
	if status == "failed" {
		if note == "" {
			note = "the model's answer cannot be read"
		}
		w.Open('{')
		w.StrMember("code", "server_error")
		w.StrMember("message", note)
		w.Close('}')
	} else {
		w.Null()
	}
	w.Name("incomplete_details")
	if reason != "" {
		w.Open('{')
		w.StrMember("reason", reason)
		w.Close('}')
	} else {
		w.Null()
	}
	w.StrMember("model", a.o.Model)
	b = append(w.Take(), `,"output":[`...)
	b = append(b, output...)
	b = append(b, "],"...)
	b = append(b, a.settings...)
	b = append(b, `,"service_tier":"`...)
	if t := answerTier(a.tier); t != "" {
		b = append(b, t...)
	} else {
		b = append(b, "default"...)
	}
	b = append(b, `","usage":`...)
	if !hasUsage {
		return append(b, "null}"...)
	}
	w = dialect.NewWriter(b)
	writeResponsesUsage(&w, u)
	return append(w.Take(), '}')
}

// answerTier is a tier as an OpenAI answer may state it.
func answerTier(s string) string {
	switch s {
	case "default", "flex", "priority", "scale", "fast", "auto":
		return s
	}
	return ""
}

func writeResponsesUsage(w *dialect.Writer, u llm.Usage) {
	n := llm.Inclusive.Counts(u)
	w.Open('{')
	w.IntMember("input_tokens", n.Prompt)
	w.Name("input_tokens_details")
	w.Open('{')
	w.IntMember("cached_tokens", n.Cached)
	w.IntMember("cache_write_tokens", n.Write)
	w.Close('}')
	w.IntMember("output_tokens", n.Completion)
	w.Name("output_tokens_details")
	w.Open('{')
	w.IntMember("reasoning_tokens", n.Reasoning)
	w.Close('}')
	w.IntMember("total_tokens", n.Prompt+n.Completion)
	w.Close('}')
}

// echo writes the members that echo the request, on one line and without braces. Whatever the
// client wanted, nothing is stored here.
func echo(o *dialect.AnswerOptions) []byte {
	r := o.Request
	if r == nil {
		r = &llm.Request{From: llm.OpenAIResponses}
	}
	w := dialect.NewWriter(nil)
	w.Open('{')
	w.BoolMember("background", false)
	w.Name("completed_at")
	w.Null()
	w.Name("instructions")
	if m := instructions(r); m != nil && m.At == "/instructions" {
		w.Str(m.Parts[0].Text)
	} else {
		w.Null()
	}
	w.Name("max_output_tokens")
	if r.MaxOutput.Set {
		w.Int(r.MaxOutput.V)
	} else {
		w.Null()
	}
	w.RawMember("max_tool_calls", nil)
	w.Name("metadata")
	w.Open('{')
	for _, p := range r.Metadata {
		w.Key(p.Key)
		w.Str(p.Value)
	}
	w.Close('}')
	w.BoolMember("parallel_tool_calls", r.Parallel.Or(true))
	w.RawMember("previous_response_id", nil)
	w.Name("prompt_cache_key")
	strOrNull(&w, r.CacheKey)
	w.Name("reasoning")
	w.Open('{')
	w.Name("effort")
	strOrNull(&w, r.Reasoning.Effort.String())
	w.Name("summary")
	strOrNull(&w, summaryName(&r.Reasoning))
	w.Close('}')
	w.Name("safety_identifier")
	strOrNull(&w, r.User)
	w.BoolMember("store", false)
	w.FloatMember("temperature", r.Sampling.Temperature.Or(1))
	w.Name("text")
	w.Open('{')
	w.Name("format")
	w.Open('{')
	writeResponsesFormat(&w, &r.Format)
	w.Close('}')
	verbosity := r.Verbosity
	if verbosity == llm.VerbosityUnset {
		verbosity = llm.VerbosityMedium
	}
	w.StrMember("verbosity", verbosity.String())
	w.Close('}')
	w.Name("tool_choice")
	if r.Choice.Mode == llm.ChoiceUnset && r.Choice.Extra == nil {
		w.Str("auto")
	} else {
		writeResponsesChoice(&w, &r.Choice, r.Tools)
	}
	w.Name("tools")
	w.Open('[')
	for i := range r.Tools {
		t := &r.Tools[i]
		if t.Kind != llm.ToolHosted {
			writeResponsesTool(&w, t, r.From == llm.OpenAIResponses)
		} else if t.Opaque != nil {
			w.Raw(t.Opaque.JSON)
		}
	}
	w.Close(']')
	w.IntMember("top_logprobs", r.Sampling.TopLogprobs.V)
	w.FloatMember("top_p", r.Sampling.TopP.Or(1))
	w.StrMember("truncation", "disabled")
	w.Close('}')
	out := oneLine(w.Take())
	return out[1 : len(out)-1]
}

func strOrNull(w *dialect.Writer, s string) {
	if s == "" {
		w.Null()
	} else {
		w.Str(s)
	}
}
