package anthropic

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// EncodeResponse implements dialect.ClientCodec.
func (Frontend) EncodeResponse(r *llm.Response, o dialect.AnswerOptions) ([]byte, []llm.Loss, error) {
	w := dialect.NewWriter(make([]byte, 0, 1<<10))
	if o.Request != nil && o.Request.Op == llm.OpCountTokens {
		w.Open('{')
		w.IntMember("input_tokens", r.Usage.Input)
		w.Close('}')
		return w.Take(), nil, nil
	}
	a := answerWriter{o: o, own: r.From == llm.AnthropicMessages, l: dialect.Losses{From: r.From, To: llm.AnthropicMessages}}
	if !a.own {
		a.l.Extra(r.Extra, "")
	}
	w.Open('{')
	a.head(&w, r.ID)
	w.Name("content")
	w.Open('[')
	var stop llm.Stop
	refused := false
	if len(r.Choices) > 0 {
		stop = r.Choices[0].Stop
		for i := range r.Choices[0].Parts {
			p := &r.Choices[0].Parts[i]
			refused = refused || p.Kind == llm.PartRefusal
			a.part(&w, p, i)
		}
	}
	for i := 1; i < len(r.Choices); i++ {
		a.l.Drop(dialect.AnswerChoice(r.From, i), llm.LostNoEquivalent)
	}
	w.Close(']')
	a.stop(&w, &stop, refused)
	if a.own {
		w.Extra(r.Extra)
	}
	w.Name("usage")
	writeUsage(&w, r.Usage, r.ServiceTier, a.own)
	w.Close('}')
	return w.Take(), a.l.List, nil
}

// answerWriter has what whole answers and streams share.
type answerWriter struct {
	o   dialect.AnswerOptions
	own bool // the provider spoke this dialect
	l   dialect.Losses
}

func (a *answerWriter) head(w *dialect.Writer, id string) {
	if id == "" {
		id = "msg_" + a.o.ID
	}
	w.StrMember("id", id)
	w.StrMember("type", "message")
	w.StrMember("role", "assistant")
	w.StrMember("model", a.o.Model)
}

// thinking reports whether the client gets thinking blocks, and whether with their text. One that has
// switched thinking off reads content[0] as text.
func (a *answerWriter) thinking() (show, text bool) {
	if a.o.Request == nil {
		return true, true
	}
	q := &a.o.Request.Reasoning
	return q.Mode != llm.ReasoningOff, q.Show != llm.ShowNone
}

// reasonWord is the vendor's word for a stop; its own finer words are kept.
func (a *answerWriter) reasonWord(s *llm.Stop, refused bool) string {
	if a.own && s.Native != "" && dialect.StopOf(llm.AnthropicMessages, s.Native) == s.Reason {
		return s.Native
	}
	if refused && (s.Reason == llm.StopEnd || s.Reason == llm.StopUnknown) {
		return "refusal"
	}
	return dialect.StopName(llm.AnthropicMessages, s.Reason)
}

// stop writes the members in which the vendor has null for none, and no others.
func (a *answerWriter) stop(w *dialect.Writer, s *llm.Stop, refused bool) {
	word := a.reasonWord(s, refused)
	w.StrMember("stop_reason", word)
	w.Name("stop_sequence")
	if s.Reason == llm.StopSequence && s.Sequence != "" {
		w.Str(s.Sequence)
	} else {
		w.Null()
	}
	if !a.own {
		a.l.Extra(s.Extra, dialect.AnswerChoice(a.l.From, 0))
	}
	switch {
	case a.own:
		w.Extra(s.Extra)
	case word == "refusal" && s.Note != "":
		w.Name("stop_details")
		w.Open('{')
		w.StrMember("type", "refusal")
		w.Name("category")
		w.Null()
		w.StrMember("explanation", s.Note)
		w.Close('}')
	}
}

func writeUsage(w *dialect.Writer, u llm.Usage, tier string, own bool) {
	n := llm.ExclusiveCache.Counts(u)
	w.Open('{')
	w.IntMember("input_tokens", n.Prompt)
	w.IntMember("cache_creation_input_tokens", n.Write)
	w.IntMember("cache_read_input_tokens", n.Cached)
	if n.Write > 0 {
		w.Name("cache_creation")
		w.Open('{')
		w.IntMember("ephemeral_5m_input_tokens", n.Write-n.Write1h)
		w.IntMember("ephemeral_1h_input_tokens", n.Write1h)
		w.Close('}')
	}
	w.IntMember("output_tokens", n.Completion)
	if n.Reasoning > 0 {
		w.Name("output_tokens_details")
		w.Open('{')
		w.IntMember("thinking_tokens", n.Reasoning)
		w.Close('}')
	}
	if own && tier != "" {
		w.StrMember("service_tier", tier)
	}
	w.Close('}')
}

// lostPart reports part i as something that this protocol cannot show.
func (a *answerWriter) lostPart(i int, member, reason string) {
	at := dialect.AnswerPart(a.l.From, 0, i)
	if member != "" {
		at = dialect.Child(at, member)
	}
	a.l.Drop(at, reason)
}

// part writes the blocks of one part of a whole answer.
func (a *answerWriter) part(w *dialect.Writer, p *llm.Part, i int) {
	if !a.own {
		a.l.Extra(p.Extra, dialect.AnswerPart(a.l.From, 0, i))
	}
	switch p.Kind {
	case llm.PartThinking:
		a.thinkingBlock(w, p)
		return
	case llm.PartOpaque:
		opaqueBlock(w, p.Opaque)
		return
	case llm.PartText, llm.PartRefusal, llm.PartCall:
	default:
		a.lostPart(i, "", llm.LostNoEquivalent)
		return
	}
	empty := p.Kind != llm.PartCall && p.Text == ""
	if p.Seal != nil {
		use := carrier.Next
		if empty {
			use = carrier.Prev
		}
		sealBlock(w, use, p.Seal)
	}
	if empty {
		return
	}
	w.Open('{')
	if p.Kind == llm.PartCall {
		w.StrMember("type", "tool_use")
		w.StrMember("id", carrier.ID(llm.AnthropicMessages, p.ID))
		w.StrMember("name", p.Name)
		w.Name("input")
		if !isJSONObject(p.Args()) {
			a.lostPart(i, "arguments", llm.LostRewritten)
		}
		writeInput(w, p)
	} else {
		w.StrMember("type", "text")
		w.StrMember("text", p.Text)
		a.citations(w, p.Citations, i)
	}
	if a.own {
		w.Extra(p.Extra)
	}
	w.Close('}')
}

func (a *answerWriter) citations(w *dialect.Writer, cs []llm.Citation, i int) {
	open := false
	for j := range cs {
		if !cs[j].Opaque.For(llm.AnthropicMessages, "") && cs[j].URL == "" {
			a.lostPart(i, "citations", llm.LostNoEquivalent)
			continue
		}
		if !open {
			w.Name("citations")
			w.Open('[')
			open = true
		}
		writeCitation(w, &cs[j])
	}
	if open {
		w.Close(']')
	}
}

func (a *answerWriter) thinkingBlock(w *dialect.Writer, p *llm.Part) {
	show, text := a.thinking()
	switch {
	case !show:
	case p.Redacted:
		redactedBlock(w, carrier.Text(llm.AnthropicMessages, carrier.Redacted, p.Seal))
	case p.Seal != nil || text && p.Text != "":
		w.Open('{')
		w.StrMember("type", "thinking")
		shown := p.Text
		if !text {
			shown = ""
		}
		w.StrMember("thinking", shown)
		signature := ""
		if p.Seal != nil {
			signature = carrier.Text(llm.AnthropicMessages, carrier.Own, p.Seal)
		}
		w.StrMember("signature", signature)
		w.Close('}')
	}
}

func redactedBlock(w *dialect.Writer, data string) {
	w.Open('{')
	w.StrMember("type", "redacted_thinking")
	w.StrMember("data", data)
	w.Close('}')
}

// opaqueBlock writes the vendor's own block, or takes another vendor's through the client unread.
func opaqueBlock(w *dialect.Writer, o *llm.Opaque) {
	if o.Origin == llm.AnthropicMessages {
		w.Raw(o.JSON)
		return
	}
	redactedBlock(w, carrier.EncodePart(o))
}

// sealBlock carries the seal of a neighbouring part.
func sealBlock(w *dialect.Writer, use carrier.Use, s *llm.Seal) {
	w.Open('{')
	w.StrMember("type", "thinking")
	w.StrMember("thinking", "")
	w.StrMember("signature", carrier.Encode(use, s))
	w.Close('}')
}
