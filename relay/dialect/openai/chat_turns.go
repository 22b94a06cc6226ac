package openai

import (
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func (e *chatEncoder) messages() {
	w := &e.w
	w.Name("messages")
	w.Open('[')
	if hint := e.formatHint(); hint != "" {
		w.Open('{')
		w.StrMember("role", e.systemRole(llm.RoleSystem))
		w.StrMember("content", hint)
		w.Close('}')
	}
	ms := e.r.Messages
	var media []*llm.Part // results whose media wait for the end of the results
	for i := range ms {
		m := &ms[i]
		if m.Role != llm.RoleTool {
			e.resultMedia(media)
			media = nil
		}
		switch m.Role {
		case llm.RoleTool:
			for j := range m.Parts {
				if p := &m.Parts[j]; p.Kind == llm.PartResult && e.result(p) {
					media = append(media, p)
				}
			}
		case llm.RoleAssistant:
			e.turn(m, i == len(ms)-1)
		default:
			e.said(m)
		}
	}
	e.resultMedia(media)
	w.Close(']')
}

func (e *chatEncoder) systemRole(r llm.Role) string {
	if r == llm.RoleDeveloper && e.o.Quirks.NoDeveloperRole {
		return "system"
	}
	return r.String()
}

// open begins a message: what is common to all roles comes first.
func (e *chatEncoder) open(role string, m *llm.Message) {
	e.w.Open('{')
	e.w.StrMember("role", role)
	switch {
	case m.Name == "":
	case e.o.Quirks.NoNames:
		e.l.Drop(dialect.Child(m.At, "name"), llm.LostModel)
	default:
		e.w.StrMember("name", m.Name)
	}
}

// said writes a system, developer or user message. An empty one is left out: nothing was said.
func (e *chatEncoder) said(m *llm.Message) {
	if len(m.Parts) == 0 {
		return
	}
	e.open(e.systemRole(m.Role), m)
	e.w.Name("content")
	switch {
	case len(m.Parts) == 1 && plainText(&m.Parts[0], e):
		e.w.Str(m.Parts[0].Text)
	case m.Role != llm.RoleUser && !vendor(e.r.From):
		e.joined(m.Parts)
	default:
		e.w.Open('[')
		for i := range m.Parts {
			e.part(&m.Parts[i])
		}
		e.w.Close(']')
	}
	e.extra(m.Extra, m.At)
	e.w.Close('}')
}

// plainText reports a text that needs no object around it.
func plainText(p *llm.Part, e *chatEncoder) bool {
	return p.Kind == llm.PartText && (p.Cache == llm.CacheUnset || !vendor(e.r.From)) && p.Extra == nil && e.note(p)
}

// note reports what a text loses by being only text. It is always true.
func (e *chatEncoder) note(p *llm.Part) bool {
	if p.Cache != llm.CacheUnset {
		e.mark(p.Cache, p.At)
	}
	e.unsaid(p)
	return true
}

// unsaid reports seals and citations, which texts of a request cannot have here.
func (e *chatEncoder) unsaid(p *llm.Part) {
	if p.Seal != nil && !p.Seal.For(llm.OpenAIChat, e.o.Scope) {
		e.l.Drop(p.At+"/"+dialect.SealMember(e.r.From), llm.LostForeign)
	}
	if len(p.Citations) > 0 {
		e.l.Part(p, "citations", llm.LostNoEquivalent)
	}
}

// joined writes the system texts of other protocols as one string: not every compatible server takes
// a list there.
func (e *chatEncoder) joined(ps []llm.Part) {
	texts := make([]string, 0, len(ps))
	for i := range ps {
		if p := &ps[i]; p.Kind == llm.PartText {
			e.note(p)
			e.extra(p.Extra, p.At)
			texts = append(texts, p.Text)
		} else {
			e.l.Part(p, "", llm.LostNoEquivalent)
		}
	}
	e.w.Str(strings.Join(texts, "\n\n"))
}

// part writes one part of a user or system message.
func (e *chatEncoder) part(p *llm.Part) {
	w := &e.w
	if p.Opaque.For(llm.OpenAIChat, e.o.Scope) {
		w.Raw(p.Opaque.JSON)
		return
	}
	m := p.Media
	switch p.Kind {
	case llm.PartText:
		e.unsaid(p)
		e.textPart(p.Text, p)
	case llm.PartImage:
		e.image(p, m)
	case llm.PartAudio:
		format := audioFormat(m.Type)
		if m.Data == nil || format == "" && !e.own {
			e.l.Part(p, "", llm.LostNoEquivalent)
			return
		}
		if format == "" {
			format = strings.TrimPrefix(m.Type, "audio/")
		}
		w.Open('{')
		w.StrMember("type", "input_audio")
		w.Name("input_audio")
		w.Open('{')
		w.Name("data")
		w.Data("", m.Data)
		w.StrMember("format", format)
		w.Close('}')
		e.endPart(p)
	case llm.PartDocument:
		e.document(p, m)
	case llm.PartVideo:
		if !e.own { // not OpenAI's; Qwen and vLLM have it
			e.l.Part(p, "", llm.LostNoEquivalent)
			return
		}
		e.link(p, m, "video_url")
	default:
		e.l.Part(p, "", llm.LostNoEquivalent)
	}
}

func (e *chatEncoder) endPart(p *llm.Part) {
	e.mark(p.Cache, p.At)
	e.extra(p.Extra, p.At)
	e.w.Close('}')
}

func (e *chatEncoder) textPart(text string, p *llm.Part) {
	e.w.Open('{')
	e.w.StrMember("type", "text")
	e.w.StrMember("text", text)
	e.endPart(p)
}

func (e *chatEncoder) image(p *llm.Part, m *llm.Media) {
	switch {
	case m.Data != nil, isHTTP(m.URL), e.own && m.URL != "":
		e.link(p, m, "image_url")
	case m.FileID != "":
		e.l.Part(p, "", llm.LostForeign)
	default: // a vendor's own scheme
		e.l.Part(p, "", llm.LostNoEquivalent)
	}
}

func isHTTP(u string) bool {
	return strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://")
}

func (e *chatEncoder) link(p *llm.Part, m *llm.Media, name string) {
	w := &e.w
	w.Open('{')
	w.StrMember("type", name)
	w.Name(name)
	w.Open('{')
	if m.Data != nil {
		w.Name("url")
		w.Data("data:"+mime(m.Type, "image/png")+";base64,", m.Data)
	} else {
		w.StrMember("url", m.URL)
	}
	if m.Detail != "" {
		w.StrMember("detail", m.Detail)
	}
	w.Close('}')
	e.endPart(p)
}

// mime is a type that may stand in a data URL.
func mime(t, fallback string) string {
	for i := range len(t) {
		if c := t[i]; c <= ' ' || c >= 0x7F || c == '"' || c == '\\' || c == ',' || c == ';' {
			return fallback
		}
	}
	if t == "" {
		return fallback
	}
	return t
}

// document writes a file. OpenAI reads PDF; plain text of other protocols becomes text.
func (e *chatEncoder) document(p *llm.Part, m *llm.Media) {
	if m.Note != "" {
		e.l.Part(p, "context", llm.LostNoEquivalent)
	}
	if m.Cite {
		e.l.Part(p, "citations", llm.LostNoEquivalent)
	}
	if !e.own {
		if text, ok := documentText(m); ok {
			e.l.Drop(p.At, llm.LostRewritten)
			e.textPart(text, p)
			return
		}
	}
	switch {
	case m.FileID != "" && !vendor(e.r.From):
		e.l.Part(p, "", llm.LostForeign)
	case m.FileID != "", m.Data != nil && (e.own || m.Type == "application/pdf" || m.Type == ""):
		e.file(p, m)
	case m.URL != "" && e.own:
		e.file(p, m)
	default:
		e.l.Part(p, "", llm.LostNoEquivalent)
	}
}

func (e *chatEncoder) file(p *llm.Part, m *llm.Media) {
	w := &e.w
	w.Open('{')
	w.StrMember("type", "file")
	w.Name("file")
	w.Open('{')
	switch {
	case m.FileID != "":
		w.StrMember("file_id", m.FileID)
	case m.Data != nil:
		name := m.Name
		if name == "" && !e.own { // OpenAI wants one beside data
			name = "document.pdf"
		}
		if name != "" {
			w.StrMember("filename", name)
		}
		w.Name("file_data")
		w.Data("data:"+mime(m.Type, "application/pdf")+";base64,", m.Data)
	default:
		w.StrMember("file_data", m.URL)
	}
	w.Close('}')
	e.endPart(p)
}

// turn writes an assistant message: thinking for whom it belongs to, text, refusal, calls.
func (e *chatEncoder) turn(m *llm.Message, last bool) {
	w := &e.w
	var texts, calls, own int
	for i := range m.Parts {
		switch p := &m.Parts[i]; p.Kind {
		case llm.PartText, llm.PartRefusal:
			texts++
		case llm.PartCall:
			calls++
		case llm.PartThinking:
			if p.Seal.For(llm.OpenAIChat, e.o.Scope) {
				own++
			}
		}
	}
	if texts+calls+own == 0 && len(m.Extra) == 0 {
		writeThinking(w, &e.l, m.Parts, e.o.Scope) // only to report it
		e.strangers(m.Parts)
		return
	}
	if last && calls == 0 && !e.own {
		e.prefill(m)
	}
	e.open("assistant", m)
	writeThinking(w, &e.l, m.Parts, e.o.Scope)
	e.turnText(m.Parts, texts)
	if calls > 0 {
		w.Name("tool_calls")
		w.Open('[')
		for i := range m.Parts {
			if p := &m.Parts[i]; p.Kind == llm.PartCall {
				e.call(p)
			}
		}
		w.Close(']')
	}
	e.strangers(m.Parts)
	e.extra(m.Extra, m.At)
	w.Close('}')
}

// prefill reports a final assistant turn: chat models answer it instead of going on with it.
func (e *chatEncoder) prefill(m *llm.Message) {
	if e.o.Quirks.NoPrefill {
		e.l.Refuse(m.At, llm.LostModel)
	} else if !vendor(e.r.From) { // whose clients know that
		e.l.Drop(m.At, llm.LostRewritten)
	}
}

// strangers reports what an assistant message has no place for.
func (e *chatEncoder) strangers(ps []llm.Part) {
	for i := range ps {
		switch p := &ps[i]; p.Kind {
		case llm.PartText, llm.PartRefusal, llm.PartCall, llm.PartThinking:
		case llm.PartOpaque:
			e.l.Part(p, "", llm.LostForeign)
		default:
			e.l.Part(p, "", llm.LostNoEquivalent)
		}
	}
}

// turnText writes content and refusal. Several texts of OpenAI's own clients stay apart; those of
// other protocols are one text cut by thinking or tools.
func (e *chatEncoder) turnText(ps []llm.Part, n int) {
	w := &e.w
	var text, refusal strings.Builder
	var own string
	marked := false
	for i := range ps {
		switch p := &ps[i]; p.Kind {
		case llm.PartText:
			e.unsaid(p)
			text.WriteString(p.Text)
			if p.Seal.For(llm.OpenAIChat, e.o.Scope) {
				own = string(p.Seal.Data)
			}
			marked = marked || p.Cache != llm.CacheUnset || p.Extra != nil
		case llm.PartRefusal:
			if e.o.Quirks.OnlyCommon {
				text.WriteString(p.Text)
				e.l.Drop(p.At, llm.LostRewritten)
			} else {
				refusal.WriteString(p.Text)
			}
		}
	}
	switch {
	case vendor(e.r.From) && text.Len() > 0 && (n > 1 || marked) && !e.o.Quirks.OnlyCommon:
		w.Name("content")
		w.Open('[')
		for i := range ps {
			switch p := &ps[i]; p.Kind {
			case llm.PartText:
				e.textPart(p.Text, p)
			case llm.PartRefusal:
				w.Open('{')
				w.StrMember("type", "refusal")
				w.StrMember("refusal", p.Text)
				e.endPart(p)
			}
		}
		w.Close(']')
		refusal.Reset()
	case text.Len() > 0:
		w.StrMember("content", text.String())
		for i := range ps {
			if ps[i].Kind == llm.PartText {
				e.mark(ps[i].Cache, ps[i].At)
				e.extra(ps[i].Extra, ps[i].At)
			}
		}
	default:
		w.Name("content")
		w.Null()
	}
	if refusal.Len() > 0 {
		w.StrMember("refusal", refusal.String())
	}
	if own != "" {
		writeSignature(w, own)
	}
}

// writeSignature writes a thought signature as Google's OpenAI endpoint has it.
func writeSignature(w *dialect.Writer, signature string) {
	w.Name("extra_content")
	w.Open('{')
	w.Name("google")
	w.Open('{')
	w.StrMember("thought_signature", signature)
	w.Close('}')
	w.Close('}')
}

// callID is a call's id as this provider takes it.
func (e *chatEncoder) callID(id string) string {
	switch e.o.Quirks.CallIDs {
	case dialect.CallIDsAny:
		return carrier.Original(id)
	case dialect.CallIDsNine:
		return carrier.Nine(id)
	}
	return carrier.ID(llm.OpenAIChat, id)
}

func (e *chatEncoder) call(p *llm.Part) {
	w := &e.w
	w.Open('{')
	w.StrMember("id", e.callID(p.ID))
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
	switch {
	case p.Seal.For(llm.OpenAIChat, e.o.Scope):
		writeSignature(w, string(p.Seal.Data))
	case p.Seal != nil:
		e.l.Drop(p.At+"/"+dialect.SealMember(e.r.From), llm.LostForeign)
	}
	if p.Cache != llm.CacheUnset {
		e.l.Drop(p.At+"/cache_control", llm.LostNoEquivalent)
	}
	e.extra(p.Extra, p.At)
	w.Close('}')
}

const (
	failed   = "Error: "                         // before the text of a result that is an error
	seeBelow = "(The result is shown below.)"    // in a result that has only media
	resultOf = "Result of the call with the id " // before media of a result
)

// result writes a tool message and reports whether media must follow it.
func (e *chatEncoder) result(p *llm.Part) (media bool) {
	w := &e.w
	var texts []string
	for i := range p.Content {
		switch c := &p.Content[i]; c.Kind {
		case llm.PartText:
			e.unsaid(c)
			if c.Cache != llm.CacheUnset && !vendor(e.r.From) {
				e.mark(c.Cache, c.At)
			}
			texts = append(texts, c.Text)
		case llm.PartDocument:
			if text, ok := documentText(c.Media); ok {
				e.l.Drop(c.At, llm.LostRewritten)
				texts = append(texts, text)
			} else {
				media = true
			}
		case llm.PartImage, llm.PartAudio, llm.PartVideo:
			media = true
		default:
			e.l.Part(c, "", llm.LostForeign)
		}
	}
	if p.Cache != llm.CacheUnset {
		e.l.Drop(p.At+"/cache_control", llm.LostNoEquivalent)
	}
	text := strings.Join(texts, "\n")
	if p.IsError {
		text = failed + text
		e.l.Part(p, dialect.ErrorMember(e.r.From), llm.LostRewritten)
	}
	if text == "" && media {
		text = seeBelow
	}
	w.Open('{')
	w.StrMember("role", "tool")
	w.StrMember("tool_call_id", e.callID(p.ID))
	w.StrMember("content", text)
	e.extra(p.Extra, p.At)
	w.Close('}')
	return media
}

// resultMedia writes the user message that shows what tool messages cannot hold.
func (e *chatEncoder) resultMedia(ps []*llm.Part) {
	if len(ps) == 0 {
		return
	}
	w := &e.w
	w.Open('{')
	w.StrMember("role", "user")
	w.Name("content")
	w.Open('[')
	for _, p := range ps {
		var none llm.Part
		e.textPart(resultOf+e.callID(p.ID)+":", &none)
		for i := range p.Content {
			c := &p.Content[i]
			switch c.Kind {
			case llm.PartImage, llm.PartAudio, llm.PartVideo, llm.PartDocument:
			default:
				continue
			}
			if c.Kind == llm.PartDocument {
				if _, ok := documentText(c.Media); ok {
					continue
				}
			}
			e.l.Drop(c.At, llm.LostRewritten)
			e.part(c)
		}
	}
	w.Close(']')
	w.Close('}')
}
