package gemini

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// noSignature is what the vendor documents for calls that its model did not make: without a signature
// Gemini 3 refuses the call of an open turn.
const noSignature = "skip_thought_signature_validator"

// system writes all system text, in order, as one instruction: the vendor has no other place.
func (e *encoder) system() {
	ms := e.ms
	lead := llm.LeadingSystem(ms)
	open := false
	for i := range ms {
		m := &ms[i]
		if m.Role != llm.RoleSystem && m.Role != llm.RoleDeveloper {
			continue
		}
		e.message(m)
		if i >= lead {
			e.l.Drop(m.At, llm.LostRewritten)
		}
		for j := range m.Parts {
			p := &m.Parts[j]
			if p.Kind != llm.PartText {
				e.l.Part(p, "", llm.LostNoEquivalent)
				continue
			}
			if p.Text == "" {
				continue
			}
			if !open {
				e.Name("systemInstruction")
				e.Open('{')
				e.Name("parts")
				e.Open('[')
				open = true
			}
			e.Open('{')
			e.StrMember("text", p.Text)
			e.members(p)
			e.Close('}')
		}
	}
	if open {
		e.Close(']')
		e.Close('}')
	}
}

// message reports what no content has a place for.
func (e *encoder) message(m *llm.Message) {
	if m.Name != "" {
		e.l.Drop(dialect.Child(m.At, "name"), llm.LostNoEquivalent)
	}
	if !e.home {
		e.l.Extra(m.Extra, m.At)
	}
}

// members writes a part's own members, or reports what has no place.
func (e *encoder) members(p *llm.Part) {
	if p.Cache != llm.CacheUnset {
		e.l.Part(p, dialect.CacheMember(e.r.From), llm.LostNoEquivalent)
	}
	if len(p.Citations) > 0 && !e.home {
		e.l.Part(p, "citations", llm.LostNoEquivalent)
	}
	if !e.home {
		e.l.Extra(p.Extra, p.At)
		return
	}
	for _, m := range p.Extra {
		if m.Name == signatureName { // a damaged carrier
			e.l.Part(p, signatureName, llm.LostForeign)
			continue
		}
		if strings.Contains(m.Name, "/") {
			continue // written inside
		}
		e.Key(m.Name)
		e.Raw(m.Value)
	}
}

// inside writes the client's own members of a part's data.
func (e *encoder) inside(p *llm.Part, prefix string) {
	for _, m := range p.Extra {
		if name, ok := strings.CutPrefix(m.Name, prefix); ok && e.home {
			e.Key(name)
			e.Raw(m.Value)
		}
	}
}

// contents writes the turns: one content for each run of messages of one side. In a user content the
// results come first, in the order of the calls, because without ids the vendor pairs them by order.
func (e *encoder) contents() {
	ms := e.ms
	e.Name("contents")
	e.Open('[')
	var calls []string // ids of the model content before
	last := -1
	for i := 0; i < len(ms); {
		var run []*llm.Message
		assistant := ms[i].Role == llm.RoleAssistant
		for ; i < len(ms); i++ {
			m := &ms[i]
			if m.Role == llm.RoleSystem || m.Role == llm.RoleDeveloper {
				continue
			}
			if (m.Role == llm.RoleAssistant) != assistant {
				break
			}
			run, last = append(run, m), i
		}
		if len(run) == 0 {
			break
		}
		if assistant {
			calls = e.model(run)
		} else {
			e.user(run, calls)
			calls = nil
		}
	}
	e.Close(']')
	if e.o.Quirks.NoPrefill && last >= 0 && ms[last].Role == llm.RoleAssistant {
		e.l.Refuse(ms[last].At, llm.LostModel)
	}
}

// content opens a content at its first part: one without parts is a 400.
type content struct {
	e    *encoder
	role string
	open bool
	m    *llm.Message
}

func (c *content) part() {
	if !c.open {
		c.open = true
		c.e.Open('{')
		c.e.StrMember("role", c.role)
		if c.e.home {
			c.e.Extra(c.m.Extra)
		}
		c.e.Name("parts")
		c.e.Open('[')
	}
	c.e.Open('{')
}

func (c *content) close() {
	if c.open {
		c.e.Close(']')
		c.e.Close('}')
	}
}

func (e *encoder) user(run []*llm.Message, calls []string) {
	c := content{e: e, role: "user", m: run[0]}
	var results []*llm.Part
	for _, m := range run {
		e.message(m)
		for j := range m.Parts {
			if p := &m.Parts[j]; p.Kind == llm.PartResult {
				results = append(results, p)
			}
		}
	}
	slices.SortStableFunc(results, func(a, b *llm.Part) int { return slices.Index(calls, a.ID) - slices.Index(calls, b.ID) })
	for _, p := range results {
		e.result(&c, p)
	}
	for _, p := range results {
		if e.home {
			continue // inside the response, as the client had them
		}
		for k := range p.Content {
			if q := &p.Content[k]; q.Media != nil {
				e.l.Drop(q.At, llm.LostRewritten)
				e.media(&c, q)
			}
		}
	}
	for _, m := range run {
		for j := range m.Parts {
			switch p := &m.Parts[j]; {
			case p.Kind == llm.PartResult:
			case p.Kind == llm.PartOpaque:
				e.opaque(&c, p)
			case p.Media != nil:
				e.media(&c, p)
			case p.Text != "" || p.Seal != nil:
				c.part()
				e.StrMember("text", p.Text)
				e.sealed(p)
				e.members(p)
				e.Close('}')
			}
		}
	}
	c.close()
}

func (e *encoder) opaque(c *content, p *llm.Part) {
	if !p.Opaque.For(llm.Gemini, e.o.Scope) {
		e.l.Part(p, "", llm.LostForeign)
		return
	}
	c.part()
	for m := dialect.Walk(p.Opaque.JSON); m.Next(); {
		e.Key(string(m.Name))
		e.Raw(m.Value)
	}
	e.Close('}')
}

// result writes a function response. Text that is an object goes as that object, anything else as the
// vendor's output or error.
func (e *encoder) result(c *content, p *llm.Part) {
	c.part()
	e.Name("functionResponse")
	e.Open('{')
	e.id(p.ID)
	e.StrMember("name", p.Name)
	text := ""
	for i := range p.Content {
		q := &p.Content[i]
		switch {
		case q.Kind == llm.PartText:
			if text != "" && q.Text != "" {
				text += "\n"
			}
			text += q.Text
			if q.Cache != llm.CacheUnset {
				e.l.Part(q, dialect.CacheMember(e.r.From), llm.LostNoEquivalent)
			}
		case q.Media == nil:
			e.l.Drop(q.At, llm.LostForeign)
		}
	}
	whole := object(text) && exact(text)
	e.Name("response")
	switch {
	case whole && !p.IsError:
		e.Raw([]byte(text))
	default:
		key := "output"
		if p.IsError {
			key = "error"
		}
		e.Open('{')
		e.Name(key)
		if whole {
			e.Raw([]byte(text))
		} else {
			e.Str(text)
		}
		e.Close('}')
	}
	if e.home && slices.ContainsFunc(p.Content, func(q llm.Part) bool { return q.Media != nil }) {
		e.Name("parts")
		e.Open('[')
		d := content{e: e, open: true}
		for i := range p.Content {
			if q := &p.Content[i]; q.Media != nil {
				e.media(&d, q)
			}
		}
		e.Close(']')
	}
	e.inside(p, partNames[partResponse]+"/")
	e.Close('}')
	e.sealed(p)
	e.members(p)
	e.Close('}')
}

// id writes a call's id, unless it is one that we made because the provider gave none.
func (e *encoder) id(id string) {
	if id != "" && !carrier.Made(id) {
		e.StrMember("id", carrier.ID(llm.Gemini, id))
	}
}

// sealed writes p's thought signature when it is this provider's own.
func (e *encoder) sealed(p *llm.Part) bool {
	switch {
	case p.Seal == nil:
		return false
	case p.Seal.For(llm.Gemini, e.o.Scope):
		e.Name(signatureName)
		e.Text(p.Seal.Data)
		return true
	}
	e.l.Part(p, dialect.SealMember(e.r.From), llm.LostForeign)
	return false
}

// model writes the model's turn and gives the ids of its calls.
func (e *encoder) model(run []*llm.Message) (calls []string) {
	c := content{e: e, role: "model", m: run[0]}
	for _, m := range run {
		e.message(m)
		for j := range m.Parts {
			p := &m.Parts[j]
			switch {
			case p.Kind == llm.PartOpaque:
				e.opaque(&c, p)
			case p.Media != nil:
				e.media(&c, p)
			case p.Kind == llm.PartCall:
				e.call(&c, p, len(calls) == 0)
				calls = append(calls, p.ID)
			case p.Kind == llm.PartThinking:
				e.thought(&c, p)
			case p.Text != "" || p.Seal.For(llm.Gemini, e.o.Scope):
				if p.Kind == llm.PartRefusal {
					e.l.Drop(p.At, llm.LostRewritten)
				}
				c.part()
				e.StrMember("text", p.Text)
				e.sealed(p)
				e.members(p)
				e.Close('}')
			}
		}
	}
	c.close()
	return calls
}

// thought writes thinking that this vendor signed or nobody did. What another vendor signed means
// nothing here, and neither does what it hides.
func (e *encoder) thought(c *content, p *llm.Part) {
	if p.Redacted || p.Seal != nil && !p.Seal.For(llm.Gemini, e.o.Scope) {
		e.l.Part(p, "", llm.LostForeign)
		return
	}
	if p.Text == "" && p.Seal == nil {
		return
	}
	c.part()
	e.StrMember("text", p.Text)
	e.BoolMember("thought", true)
	e.sealed(p)
	e.members(p)
	e.Close('}')
}

func (e *encoder) call(c *content, p *llm.Part, first bool) {
	c.part()
	e.Name("functionCall")
	e.Open('{')
	e.id(p.ID)
	e.StrMember("name", p.Name)
	e.Name("args")
	if args := p.Args(); !p.Custom && object(args) {
		e.Raw([]byte(args))
	} else {
		// A history with broken arguments must not end the conversation: the vendor takes objects only.
		e.l.Part(p, "arguments", llm.LostRewritten)
		e.Open('{')
		e.StrMember("input", args)
		e.Close('}')
	}
	e.inside(p, partNames[partCall]+"/")
	e.Close('}')
	if !e.sealed(p) && first && !(e.home && p.Seal == nil) {
		e.StrMember(signatureName, noSignature)
	}
	e.members(p)
	e.Close('}')
}

// media writes inlineData or fileData. The relay fetches nothing, so a web address goes only to models
// that fetch themselves.
func (e *encoder) media(c *content, p *llm.Part) {
	m := p.Media
	mime, uri := m.Type, m.URL
	if mime == "" {
		mime = typeByName(m.Name)
	}
	if mime == "" && uri != "" {
		mime = typeByName(uri)
	}
	switch {
	case m.FileID != "" && !e.home:
		e.l.Part(p, "", llm.LostForeign)
		return
	case m.FileID != "":
		uri = m.FileID
	case uri != "" && !e.home && !e.o.Quirks.RemoteMedia && !strings.HasPrefix(uri, "gs://") && !youtube(uri) && !vendorFile(uri):
		e.l.Part(p, "", llm.LostNoEquivalent)
		return
	case uri == "" && m.Text == "" && mime == "" && !e.home:
		e.l.Part(p, "", llm.LostUnknown) // the vendor must be told the type
		return
	}
	c.part()
	switch {
	case uri != "":
		e.Name("fileData")
		e.Open('{')
		if mime != "" {
			e.StrMember("mimeType", mime)
		}
		e.StrMember("fileUri", uri)
	case m.Text != "":
		e.Name("inlineData")
		e.Open('{')
		e.StrMember("mimeType", "text/plain")
		e.Name("data")
		e.Data("", []byte(base64.StdEncoding.EncodeToString([]byte(m.Text))))
	default:
		e.Name("inlineData")
		e.Open('{')
		if mime != "" {
			e.StrMember("mimeType", mime)
		}
		e.Name("data")
		e.Data("", m.Data)
	}
	if e.home && m.Name != "" {
		e.StrMember("displayName", m.Name)
	}
	e.inside(p, partNames[partInline]+"/")
	e.inside(p, partNames[partFile]+"/")
	e.Close('}')
	e.mediaLosses(p)
	e.sealed(p)
	e.members(p)
	e.Close('}')
}

func (e *encoder) mediaLosses(p *llm.Part) {
	m := p.Media
	if m.Name != "" && !e.home {
		name := "filename"
		if e.r.From == llm.AnthropicMessages {
			name = "title"
		}
		e.l.Part(p, name, llm.LostNoEquivalent)
	}
	if m.Detail != "" && m.Detail != "auto" {
		e.l.Part(p, "detail", llm.LostNoEquivalent)
	}
	if m.Note != "" {
		e.l.Part(p, "context", llm.LostNoEquivalent)
	}
	if m.Cite {
		e.l.Part(p, "citations", llm.LostNoEquivalent)
	}
}
