package openai

import (
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// chatReply is what whole and streamed answers to one client have in common.
type chatReply struct {
	o      dialect.AnswerOptions
	legacy bool // functions instead of tools
	l      dialect.Losses
}

func newChatReply(o dialect.AnswerOptions) chatReply {
	return chatReply{o: o, legacy: legacyFunctions(o.Request), l: dialect.Losses{To: llm.OpenAIChat}}
}

// id is the provider's id, which a client quotes to support, in OpenAI's form.
func (r *chatReply) id(from llm.Dialect, id string) string {
	switch {
	case id == "":
		return "chatcmpl-" + r.o.ID
	case from == llm.OpenAIChat:
		return id
	default:
		return "chatcmpl-" + id
	}
}

// head writes the members that answers and chunks begin with.
func (r *chatReply) head(w *dialect.Writer, object string, s *llm.Start) {
	r.l.From = s.From
	w.StrMember("id", r.id(s.From, s.ID))
	w.StrMember("object", object)
	created := s.Created
	if created == 0 {
		created = r.o.Created
	}
	w.IntMember("created", created)
	model := r.o.Model
	if model == "" {
		model = s.Model
	}
	w.StrMember("model", model)
	if s.ServiceTier != "" && vendor(s.From) {
		w.StrMember("service_tier", s.ServiceTier)
	}
	if s.From == llm.OpenAIChat {
		for _, m := range s.Extra {
			w.Key(m.Name)
			w.Raw(oneLine(m.Value))
		}
	} else {
		r.l.Extra(s.Extra, "")
	}
}

// reason is the finish reason; refused says that the answer holds a refusal, which OpenAI ends with
// stop. What OpenAI has no word for is reported.
func (r *chatReply) reason(s *llm.Stop, choice int, refused bool) string {
	switch {
	case s.Reason == llm.StopBlocked && refused:
		return "stop"
	case s.Reason == llm.StopCalls && r.legacy:
		return "function_call"
	case s.Reason == llm.StopPaused, s.Reason == llm.StopBroken:
		r.l.Drop(dialect.AnswerStop(r.l.From, choice), llm.LostRewritten)
	}
	return dialect.StopName(llm.OpenAIChat, s.Reason)
}

// broken is the failure of an answer whose only content was a call that cannot be read.
func broken(s *llm.Stop, said bool) error {
	if s.Reason != llm.StopBroken || said {
		return nil
	}
	return fault.New(fault.UpstreamProtocol, "the model wrote a call that cannot be read").At(fault.Sent)
}

// lost reports a part that chat has no place for.
func (r *chatReply) lost(p *llm.Part, choice, index int) {
	reason := llm.LostNoEquivalent
	if p.Kind == llm.PartOpaque {
		reason = llm.LostForeign
	}
	r.l.Drop(dialect.AnswerPart(r.l.From, choice, index), reason)
}

// writeChatUsage writes chat's usage object.
func writeChatUsage(w *dialect.Writer, u llm.Usage) {
	n := llm.Inclusive.Counts(u)
	w.Open('{')
	w.IntMember("prompt_tokens", n.Prompt)
	w.IntMember("completion_tokens", n.Completion)
	w.IntMember("total_tokens", n.Prompt+n.Completion)
	w.Name("prompt_tokens_details")
	w.Open('{')
	w.IntMember("cached_tokens", n.Cached)
	if n.Write > 0 {
		w.IntMember("cache_write_tokens", n.Write)
	}
	w.Close('}')
	w.Name("completion_tokens_details")
	w.Open('{')
	w.IntMember("reasoning_tokens", n.Reasoning)
	w.Close('}')
	w.Close('}')
}

// EncodeResponse implements dialect.ClientCodec.
func (Chat) EncodeResponse(r *llm.Response, o dialect.AnswerOptions) ([]byte, []llm.Loss, error) {
	if o.Request != nil && o.Request.Op != llm.OpGenerate {
		return nil, nil, fault.New(fault.Unsupported, "chat completions have no operation %s that is converted", o.Request.Op)
	}
	e := newChatReply(o)
	w := dialect.NewWriter(make([]byte, 0, answerHint(r)))
	w.Open('{')
	e.head(&w, "chat.completion", &llm.Start{From: r.From, ID: r.ID, Model: r.Model, Created: r.Created, ServiceTier: r.ServiceTier, Extra: r.Extra})
	w.Name("choices")
	w.Open('[')
	for i := range r.Choices {
		if err := e.choice(&w, &r.Choices[i], i); err != nil {
			return nil, e.l.List, err
		}
	}
	w.Close(']')
	if r.HasUsage {
		w.Name("usage")
		writeChatUsage(&w, r.Usage)
	}
	w.Close('}')
	return w.Take(), e.l.List, nil
}

func answerHint(r *llm.Response) int {
	n := 1 << 10
	for i := range r.Choices {
		for j := range r.Choices[i].Parts {
			n += len(r.Choices[i].Parts[j].Text) + 128
		}
	}
	return n
}

func (r *chatReply) choice(w *dialect.Writer, c *llm.Choice, i int) error {
	m := r.gather(c.Parts, i)
	if err := broken(&c.Stop, m.said); err != nil {
		return err
	}
	w.Open('{')
	w.IntMember("index", int64(i))
	w.Name("message")
	w.Open('{')
	w.StrMember("role", "assistant")
	w.Name("content")
	if m.text != "" || len(m.calls) == 0 && !m.refused {
		w.Str(m.text)
	} else {
		w.Null()
	}
	w.Name("refusal")
	if m.refused {
		w.Str(m.refusal)
	} else {
		w.Null()
	}
	r.thoughts(w, c.Parts)
	if len(m.calls) > 0 {
		r.calls(w, m.calls, i)
	}
	if m.seal != nil {
		writeSignature(w, carrier.Text(llm.OpenAIChat, carrier.Own, m.seal))
	}
	r.media(w, c.Parts)
	w.Name("annotations")
	w.Open('[')
	var shift int64
	for j := range c.Parts {
		if p := &c.Parts[j]; p.Kind == llm.PartText {
			size := int64(countRunes(p.Text))
			r.citations(w, p.Citations, shift, size, i, j)
			shift += size
		}
	}
	w.Close(']')
	w.Close('}')
	w.Name("logprobs")
	r.logprobs(w, c.Logprobs)
	w.StrMember("finish_reason", r.reason(&c.Stop, i, m.refused))
	w.Close('}')
	r.stopExtra(&c.Stop, i)
	return nil
}

func (r *chatReply) logprobs(w *dialect.Writer, ps []llm.Logprob) {
	if len(ps) == 0 {
		w.Null()
		return
	}
	w.Open('{')
	w.Name("content")
	writeLogprobs(w, ps)
	w.Name("refusal")
	w.Null()
	w.Close('}')
}

func (r *chatReply) stopExtra(s *llm.Stop, choice int) {
	if r.l.From != llm.OpenAIChat { // chat's own are noise: native_finish_reason, content_filter_results
		r.l.Extra(s.Extra, dialect.AnswerChoice(r.l.From, choice))
	}
}

// gathered is an answer's content by kind, as a message has it.
type gathered struct {
	text, refusal string
	refused, said bool
	calls         []*llm.Part
	seal          *llm.Seal // of the last text
}

func (r *chatReply) gather(ps []llm.Part, choice int) (m gathered) {
	var text, refusal strings.Builder
	for i := range ps {
		p := &ps[i]
		m.said = m.said || p.Kind != llm.PartThinking
		switch p.Kind {
		case llm.PartText:
			text.WriteString(p.Text)
			if p.Seal != nil {
				m.seal = p.Seal
			}
		case llm.PartRefusal:
			m.refused = true
			refusal.WriteString(p.Text)
		case llm.PartCall:
			if r.legacy && len(m.calls) > 0 { // old clients can make one call at a time
				r.lost(p, choice, i)
				continue
			}
			m.calls = append(m.calls, p)
		case llm.PartThinking, llm.PartImage:
		default:
			if !audio(p) {
				r.lost(p, choice, i)
			}
		}
	}
	m.text, m.refusal = text.String(), refusal.String()
	return m
}

// audio reports an answer's audio as chat's own providers make it.
func audio(p *llm.Part) bool {
	return p.Kind == llm.PartOpaque && p.Opaque.Origin == llm.OpenAIChat && p.Opaque.Type == "audio"
}

// thoughts writes the thinking twice: as text for clients that show it, and with its seals for
// clients that send it back.
func (r *chatReply) thoughts(w *dialect.Writer, ps []llm.Part) {
	var text strings.Builder
	sealed := 0
	for i := range ps {
		if p := &ps[i]; p.Kind == llm.PartThinking {
			text.WriteString(p.Text)
			if p.Seal != nil && !plainSeal(p.Seal) {
				sealed++
			}
		}
	}
	if text.Len() > 0 {
		w.StrMember("reasoning_content", text.String())
	}
	if sealed == 0 {
		return
	}
	w.Name("reasoning_details")
	w.Open('[')
	n := 0
	for i := range ps {
		if p := &ps[i]; p.Kind == llm.PartThinking && p.Seal != nil && !plainSeal(p.Seal) {
			writeDetail(w, n, []byte(p.Text), p.Seal, p.Redacted)
			n++
		}
	}
	w.Close(']')
}

func (r *chatReply) calls(w *dialect.Writer, ps []*llm.Part, choice int) {
	if r.legacy {
		w.Name("function_call")
		w.Open('{')
		w.StrMember("name", ps[0].Name)
		w.StrMember("arguments", ps[0].Args())
		w.Close('}')
		if ps[0].Seal != nil {
			r.l.Drop(dialect.Index("/choices", choice)+"/message/tool_calls/0", llm.LostForeign)
		}
		return
	}
	w.Name("tool_calls")
	w.Open('[')
	for _, p := range ps {
		w.Open('{')
		w.StrMember("id", carrier.ID(llm.OpenAIChat, p.ID))
		if p.Custom {
			w.StrMember("type", "custom")
			w.Name("custom")
			w.Open('{')
			w.StrMember("name", p.Name)
			w.StrMember("input", p.Text)
		} else {
			w.StrMember("type", "function")
			w.Name("function")
			w.Open('{')
			w.StrMember("name", p.Name)
			w.StrMember("arguments", p.Args())
		}
		w.Close('}')
		if p.Seal != nil {
			writeSignature(w, carrier.Text(llm.OpenAIChat, carrier.Own, p.Seal))
		}
		w.Close('}')
	}
	w.Close(']')
}

// media writes pictures in the way that OpenRouter and LiteLLM began, and chat's own audio.
func (r *chatReply) media(w *dialect.Writer, ps []llm.Part) {
	n := 0
	var sound llm.Raw
	for i := range ps {
		switch p := &ps[i]; {
		case p.Kind == llm.PartImage:
			if n++; n == 1 {
				w.Name("images")
				w.Open('[')
			}
			writeImage(w, p.Media)
		case audio(p):
			sound = p.Opaque.JSON
		}
	}
	if n > 0 {
		w.Close(']')
	}
	if sound != nil {
		w.RawMember("audio", sound)
	}
}

func writeImage(w *dialect.Writer, m *llm.Media) {
	w.Open('{')
	w.StrMember("type", "image_url")
	w.Name("image_url")
	w.Open('{')
	if m.Data != nil {
		w.Name("url")
		w.Data("data:"+mime(m.Type, "image/png")+";base64,", m.Data)
	} else {
		w.StrMember("url", m.URL)
	}
	w.Close('}')
	w.Close('}')
}

// citations writes annotations of a text of the given number of characters; shift is how many stand before
// it. A citation that does not say which of them it supports is for all.
func (r *chatReply) citations(w *dialect.Writer, cs []llm.Citation, shift, size int64, choice, part int) {
	for i := range cs {
		c := &cs[i]
		if !c.Start.Set || !c.End.Set {
			c = &llm.Citation{URL: c.URL, Title: c.Title, Opaque: c.Opaque, Start: llm.Some[int64](0), End: llm.Some(size)}
		}
		if c.URL == "" {
			if c.Opaque.For(llm.OpenAIChat, "") {
				w.Raw(oneLine(c.Opaque.JSON))
			} else {
				r.l.Drop(dialect.Index(dialect.AnswerPart(r.l.From, choice, part)+"/citations", i), llm.LostNoEquivalent)
			}
			continue
		}
		w.Open('{')
		w.StrMember("type", "url_citation")
		w.Name("url_citation")
		w.Open('{')
		w.IntMember("start_index", c.Start.V+shift)
		w.IntMember("end_index", c.End.V+shift)
		w.StrMember("url", c.URL)
		w.StrMember("title", c.Title)
		w.Close('}')
		w.Close('}')
	}
}
