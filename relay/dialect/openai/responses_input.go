package openai

import (
	"encoding/base64"
	"slices"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// resultError marks a result that is an error: this protocol has no field for it.
const resultError = "Error: "

// input writes instructions and input.
func (e *responsesBody) input() {
	ms := e.r.Messages
	if m := instructions(e.r); m != nil {
		e.w.StrMember("instructions", m.Parts[0].Text)
		ms = ms[1:]
	}
	e.w.Name("input")
	e.w.Open('[')
	if e.r.Format.Kind == llm.FormatSchema && e.o.Quirks.NoSchema {
		e.plain(e.role(llm.RoleDeveloper), schemaHint(&e.r.Format))
	}
	if !e.own && e.r.Format.Kind == llm.FormatJSON && !mentionsJSON(e.r) {
		e.l.Drop(dialect.FormatAt(e.r), llm.LostRewritten)
		e.plain(e.role(llm.RoleDeveloper), jsonHint)
	}
	for i := range ms {
		e.message(&ms[i])
	}
	if n := len(ms); n > 0 && ms[n-1].Role == llm.RoleAssistant && !llm.HasCalls(ms[n-1].Parts) {
		e.prefill(&ms[n-1])
	}
	e.w.Close(']')
}

// prefill reports a final assistant turn, which the model answers instead of going on with it.
func (e *responsesBody) prefill(m *llm.Message) {
	said := slices.ContainsFunc(m.Parts, func(p llm.Part) bool { return p.Kind == llm.PartText })
	switch {
	case e.o.Quirks.NoPrefill:
		e.l.Refuse(m.At, llm.LostModel)
	case said && !vendor(e.r.From): // whose clients know that
		e.l.Drop(m.At, llm.LostRewritten)
	}
}

// instructions is the message that goes into the field of that name: a first system text of one piece.
// In JSON mode it stays in the input, because the word JSON only counts there.
func instructions(r *llm.Request) *llm.Message {
	if len(r.Messages) == 0 || r.Format.Kind == llm.FormatJSON {
		return nil
	}
	m := &r.Messages[0]
	if m.Role != llm.RoleSystem || len(m.Parts) != 1 || m.Parts[0].Kind != llm.PartText || m.Name != "" ||
		m.Parts[0].Cache != llm.CacheUnset || len(m.Extra) > 0 || len(m.Parts[0].Extra) > 0 {
		return nil
	}
	return m
}

func (e *responsesBody) role(r llm.Role) string {
	if r == llm.RoleDeveloper && e.o.Quirks.NoDeveloperRole {
		r = llm.RoleSystem
	}
	return r.String()
}

func (e *responsesBody) plain(role, text string) {
	e.w.Open('{')
	e.w.StrMember("type", itemMessageType)
	e.w.StrMember("role", role)
	e.w.StrMember("content", text)
	e.w.Close('}')
}

func (e *responsesBody) message(m *llm.Message) {
	if m.Name != "" && !e.own {
		e.l.Drop(dialect.Child(m.At, "name"), llm.LostNoEquivalent)
	}
	if !e.own {
		e.l.Extra(m.Extra, m.At)
	}
	switch m.Role {
	case llm.RoleAssistant:
		e.turn(m.Parts)
	case llm.RoleTool:
		for i := range m.Parts {
			if p := &m.Parts[i]; p.Kind == llm.PartResult {
				e.result(p)
			} else {
				e.opaque(p)
			}
		}
	default:
		e.userMessage(m)
	}
}

// userMessage writes a user, system or developer message. One without content is left out: the API
// refuses it.
func (e *responsesBody) userMessage(m *llm.Message) {
	content := 0
	for i := range m.Parts {
		if m.Parts[i].Kind != llm.PartOpaque {
			content++
		} else {
			e.opaque(&m.Parts[i])
		}
	}
	if content == 0 {
		return
	}
	e.w.Open('{')
	e.w.StrMember("type", itemMessageType)
	e.w.StrMember("role", e.role(m.Role))
	if e.own && m.Name != "" {
		e.w.StrMember("name", m.Name)
	}
	e.w.Name("content")
	if p := &m.Parts[0]; len(m.Parts) == 1 && p.Kind == llm.PartText && p.Cache == llm.CacheUnset && len(p.Extra) == 0 {
		e.w.Str(p.Text)
	} else {
		e.content(m.Parts)
	}
	if e.own {
		e.w.Extra(m.Extra)
	}
	e.w.Close('}')
}

// content writes input parts.
func (e *responsesBody) content(ps []llm.Part) {
	e.w.Open('[')
	for i := range ps {
		if ps[i].Kind != llm.PartOpaque {
			e.inputPart(&ps[i])
		}
	}
	e.w.Close(']')
}

func (e *responsesBody) inputPart(p *llm.Part) {
	kind := ""
	switch p.Kind {
	case llm.PartText:
		kind = "input_text"
	case llm.PartImage:
		kind = "input_image"
	case llm.PartDocument:
		kind = "input_file"
	case llm.PartAudio:
		if kind = "input_audio"; p.Media.Data == nil || audioFormat(p.Media.Type) == "" {
			kind = ""
		}
	}
	foreign := p.Media != nil && p.Media.FileID != "" && !vendor(e.r.From)
	switch {
	case foreign:
		e.l.Part(p, "", llm.LostForeign)
		return
	case kind == "":
		e.l.Part(p, "", llm.LostNoEquivalent)
		return
	}
	e.w.Open('{')
	e.w.StrMember("type", kind)
	switch p.Kind {
	case llm.PartText:
		e.w.StrMember("text", p.Text)
	case llm.PartImage:
		e.image(p.Media)
	case llm.PartAudio:
		e.w.Name("input_audio")
		e.w.Open('{')
		e.w.Name("data")
		e.w.Data("", p.Media.Data)
		e.w.StrMember("format", audioFormat(p.Media.Type))
		e.w.Close('}')
	default:
		e.file(p)
	}
	e.cache(p)
	e.partExtra(p)
	e.w.Close('}')
}

func (e *responsesBody) image(m *llm.Media) {
	switch {
	case m.FileID != "":
		e.w.StrMember("file_id", m.FileID)
	case m.URL != "":
		e.w.StrMember("image_url", m.URL)
	default:
		mime := m.Type
		if mime == "" {
			mime = "image/png" // the vendor looks at the bytes
		}
		e.w.Name("image_url")
		e.w.Data("data:"+mime+";base64,", m.Data)
	}
	if m.Detail != "" {
		e.w.StrMember("detail", m.Detail)
	}
}

func (e *responsesBody) file(p *llm.Part) {
	m := p.Media
	name := m.Name
	switch {
	case m.FileID != "":
		e.w.StrMember("file_id", m.FileID)
		name = ""
	case m.URL != "":
		e.w.StrMember("file_url", m.URL)
		name = ""
	default:
		mime, data := m.Type, m.Data
		if data == nil {
			mime, data = "text/plain", base64.StdEncoding.AppendEncode(nil, []byte(m.Text))
		} else if mime == "" {
			mime = "application/pdf"
		}
		if name == "" {
			name = defaultFileName(mime)
		}
		e.w.Name("file_data")
		e.w.Data("data:"+mime+";base64,", data)
	}
	if name != "" {
		e.w.StrMember("filename", name)
	}
	if m.Detail != "" {
		e.w.StrMember("detail", m.Detail)
	}
	if m.Note != "" {
		e.l.Part(p, "context", llm.LostNoEquivalent)
	}
	if m.Cite {
		e.l.Part(p, "citations", llm.LostNoEquivalent)
	}
}

// cache writes a cache mark where the client's vendor is the provider's. Elsewhere it is a loss: only
// OpenAI's newest models take marks, and all cache by themselves.
func (e *responsesBody) cache(p *llm.Part) {
	switch {
	case p.Cache == llm.CacheUnset:
	case vendor(e.r.From) && p.Cache != llm.Cache5m && p.Cache != llm.Cache1h:
		writeCacheMark(&e.w, p.Cache)
	default:
		e.l.Part(p, dialect.CacheMember(e.r.From), llm.LostNoEquivalent)
	}
}

func (e *responsesBody) partExtra(p *llm.Part) {
	if e.own {
		e.w.Extra(p.Extra)
	} else {
		e.l.Extra(p.Extra, p.At)
	}
}

func (e *responsesBody) opaque(p *llm.Part) {
	if p.Opaque.For(llm.OpenAIResponses, e.o.Scope) && p.Opaque.Type != carrierType {
		e.w.Raw(p.Opaque.JSON)
		return
	}
	e.l.Part(p, "", llm.LostForeign)
}

// turn writes an assistant's turn as items.
func (e *responsesBody) turn(ps []llm.Part) {
	for i := 0; i < len(ps); {
		p := &ps[i]
		if p.Seal != nil && p.Kind != llm.PartThinking {
			e.l.Part(p, dialect.SealMember(e.r.From), llm.LostForeign)
		}
		i++
		switch p.Kind {
		case llm.PartText, llm.PartRefusal:
			i += e.spoken(ps[i-1:]) - 1
		case llm.PartThinking:
			e.thinking(p)
		case llm.PartCall:
			e.call(p)
		case llm.PartOpaque:
			e.opaque(p)
		default:
			e.l.Part(p, "", llm.LostNoEquivalent)
		}
	}
}

// spoken writes a run of texts and refusals as one message and returns how many they are.
func (e *responsesBody) spoken(ps []llm.Part) int {
	n := 1
	for n < len(ps) && (ps[n].Kind == llm.PartText || ps[n].Kind == llm.PartRefusal) && ps[n].Seal == nil &&
		string(ps[n].Extra.Get("phase")) == string(ps[0].Extra.Get("phase")) {
		n++
	}
	e.w.Open('{')
	e.w.StrMember("type", itemMessageType)
	e.w.StrMember("role", "assistant")
	if phase := ps[0].Extra.Get("phase"); phase != nil && e.own {
		e.w.RawMember("phase", phase)
	}
	e.w.Name("content")
	e.w.Open('[')
	for i := range n {
		p := &ps[i]
		e.w.Open('{')
		if p.Kind == llm.PartRefusal {
			e.w.StrMember("type", "refusal")
			e.w.StrMember("refusal", p.Text)
		} else {
			e.w.StrMember("type", "output_text")
			e.w.StrMember("text", p.Text)
			e.citations(p)
		}
		if p.Cache != llm.CacheUnset { // marks are for input
			e.l.Part(p, dialect.CacheMember(e.r.From), llm.LostNoEquivalent)
		}
		for _, m := range p.Extra {
			if m.Name != "phase" && e.own {
				e.w.Key(m.Name)
				e.w.Raw(m.Value)
			}
		}
		if !e.own {
			e.l.Extra(p.Extra, p.At)
		}
		e.w.Close('}')
	}
	e.w.Close(']')
	e.w.Close('}')
	return n
}

// citations writes what the vendor itself said about its sources; others' are not for it.
func (e *responsesBody) citations(p *llm.Part) {
	own := 0
	for i := range p.Citations {
		if p.Citations[i].Opaque.For(llm.OpenAIResponses, e.o.Scope) {
			own++
		}
	}
	if own < len(p.Citations) {
		e.l.Part(p, "citations", llm.LostForeign)
	}
	if own == 0 {
		return
	}
	e.w.Name("annotations")
	e.w.Open('[')
	for i := range p.Citations {
		if o := p.Citations[i].Opaque; o.For(llm.OpenAIResponses, e.o.Scope) {
			e.w.Raw(o.JSON)
		}
	}
	e.w.Close(']')
}

func (e *responsesBody) thinking(p *llm.Part) {
	switch {
	case p.Opaque.For(llm.OpenAIResponses, e.o.Scope):
		e.w.Raw(p.Opaque.JSON)
	case p.Seal.For(llm.OpenAIResponses, e.o.Scope):
		e.w.Open('{')
		e.w.StrMember("type", itemReasoningType)
		e.w.Name("summary")
		writeSummary(&e.w, p.Text)
		e.w.Name("encrypted_content")
		e.w.Text(p.Seal.Data)
		e.partExtra(p)
		e.w.Close('}')
	case p.Seal != nil:
		e.l.Part(p, "", llm.LostForeign)
	default:
		e.l.Part(p, "", llm.LostNoEquivalent)
	}
}

// writeSummary writes a reasoning item's summary.
func writeSummary(w *dialect.Writer, text string) {
	w.Open('[')
	if text != "" {
		w.Open('{')
		w.StrMember("type", "summary_text")
		w.StrMember("text", text)
		w.Close('}')
	}
	w.Close(']')
}

func (e *responsesBody) call(p *llm.Part) {
	if p.Cache != llm.CacheUnset {
		e.l.Part(p, dialect.CacheMember(e.r.From), llm.LostNoEquivalent)
	}
	e.w.Open('{')
	if p.Custom {
		e.w.StrMember("type", itemCustom)
	} else {
		e.w.StrMember("type", itemCall)
	}
	e.w.StrMember("call_id", carrier.ID(llm.OpenAIResponses, p.ID))
	e.w.StrMember("name", p.Name)
	if p.Custom {
		e.w.StrMember("input", p.Text)
	} else {
		e.w.StrMember("arguments", p.Args())
	}
	e.partExtra(p)
	e.w.Close('}')
}

func (e *responsesBody) result(p *llm.Part) {
	if p.Cache != llm.CacheUnset {
		e.l.Part(p, dialect.CacheMember(e.r.From), llm.LostNoEquivalent)
	}
	e.w.Open('{')
	if p.Custom {
		e.w.StrMember("type", itemCustomOutput)
	} else {
		e.w.StrMember("type", itemCallOutput)
	}
	e.w.StrMember("call_id", carrier.ID(llm.OpenAIResponses, p.ID))
	e.w.Name("output")
	prefix := ""
	if p.IsError {
		prefix = resultError
		e.l.Part(p, dialect.ErrorMember(e.r.From), llm.LostRewritten)
	}
	ps := p.Content
	switch {
	case len(ps) == 0:
		e.w.Str(prefix)
	case len(ps) == 1 && ps[0].Kind == llm.PartText && ps[0].Cache == llm.CacheUnset && len(ps[0].Extra) == 0:
		e.w.Str(prefix + ps[0].Text)
	default:
		e.w.Open('[')
		if prefix != "" {
			e.w.Open('{')
			e.w.StrMember("type", "input_text")
			e.w.StrMember("text", prefix)
			e.w.Close('}')
		}
		for i := range ps {
			switch c := &ps[i]; c.Kind {
			case llm.PartOpaque:
				e.l.Part(c, "", llm.LostForeign)
			case llm.PartAudio:
				e.l.Part(c, "", llm.LostNoEquivalent)
			default:
				e.inputPart(c)
			}
		}
		e.w.Close(']')
	}
	e.partExtra(p)
	e.w.Close('}')
}
