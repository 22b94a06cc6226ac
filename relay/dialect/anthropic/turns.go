package anthropic

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// item is one block to be written: a part, with its id on this wire.
type item struct {
	p  *llm.Part
	id string
}

// turn is one message on the wire. Consecutive messages of a role are one turn, because the vendor
// joins them anyway and wants all results of a turn together and first.
type turn struct {
	role    llm.Role // user, assistant, system
	results []item
	rest    []item
	answer  *turn  // the user turn right after an assistant turn
	at      string // of its last message
}

type openCall struct {
	p    *llm.Part
	wire string
	by   *turn
}

// turnBuilder brings messages into the vendor's order.
type turnBuilder struct {
	e     *requestEncoder
	turns []*turn
	open  []openCall
	used  map[string]struct{} // ids on the wire
	tools []string            // names called in history
}

func (e *requestEncoder) build() {
	b := turnBuilder{e: e, used: map[string]struct{}{}}
	for i := range e.r.Messages {
		b.message(i)
	}
	for _, c := range b.open {
		// The vendor wants every call answered; so does every other.
		e.l.Refuse(c.p.At, llm.LostCombination)
	}
	b.turns = slices.DeleteFunc(b.turns, func(t *turn) bool { return len(t.results)+len(t.rest) == 0 })
	if len(b.turns) == 0 && len(e.system) > 0 {
		// Only system text, which other vendors answer: its last piece becomes the question.
		last := e.system[len(e.system)-1]
		e.system = e.system[:len(e.system)-1]
		b.turns = []*turn{{role: llm.RoleUser, rest: []item{{p: last}}}}
		e.l.Drop(last.At, llm.LostRewritten)
	}
	e.turns, e.called = b.turns, b.tools
}

func (b *turnBuilder) message(i int) {
	e, m := b.e, &b.e.r.Messages[i]
	if m.Name != "" {
		e.l.Drop(dialect.Child(m.At, "name"), llm.LostNoEquivalent)
	}
	e.l.Extra(m.Extra, m.At) // the vendor's messages have two members
	role := m.Role
	switch role {
	case llm.RoleSystem, llm.RoleDeveloper:
		role = llm.RoleSystem
		if !e.o.Quirks.SystemInPlace || !b.inPlace() {
			moved := false
			for j := range m.Parts {
				if p := &m.Parts[j]; e.accept(p, role) {
					e.system = append(e.system, p)
					moved = len(b.turns) > 0
				}
			}
			if moved {
				e.l.Drop(m.At, llm.LostRewritten)
			}
			return
		}
	case llm.RoleTool:
		for j := range m.Parts {
			b.result(&m.Parts[j])
		}
		return
	}
	var t *turn
	for j := range m.Parts {
		p := &m.Parts[j]
		if !e.accept(p, role) {
			continue
		}
		if t == nil {
			t = b.turn(role)
			t.at = m.At
		}
		it := item{p: p}
		if p.Kind == llm.PartCall {
			it.id = b.wireID(p, i, j)
			b.open = append(b.open, openCall{p, it.id, t})
			if !slices.Contains(b.tools, p.Name) {
				b.tools = append(b.tools, p.Name)
			}
		}
		t.rest = append(t.rest, it)
	}
}

// inPlace reports where the vendor takes system text: right after the user's words, or where its own
// client put it.
func (b *turnBuilder) inPlace() bool {
	n := len(b.turns)
	return n > 0 && (b.e.same || b.turns[n-1].role != llm.RoleAssistant)
}

// turn is the last turn when it has this role, else a new one.
func (b *turnBuilder) turn(role llm.Role) *turn {
	if n := len(b.turns); n > 0 {
		last := b.turns[n-1]
		if last.role == role {
			return last
		}
		t := &turn{role: role}
		if role == llm.RoleUser && last.role == llm.RoleAssistant {
			last.answer = t
		}
		b.turns = append(b.turns, t)
		return t
	}
	b.turns = append(b.turns, &turn{role: role})
	return b.turns[0]
}

// wireID is the call's id as the vendor takes it. Some clients use an id again in a later turn, which
// the vendor refuses.
func (b *turnBuilder) wireID(p *llm.Part, i, j int) string {
	id := carrier.ID(llm.AnthropicMessages, p.ID)
	if _, dup := b.used[id]; dup {
		id = carrier.CallID(p.ID, i, j)
	}
	b.used[id] = struct{}{}
	return id
}

// result puts a result into the user turn right after its call, wherever it stands in the history.
func (b *turnBuilder) result(p *llm.Part) {
	if p.Kind != llm.PartResult {
		if b.e.accept(p, llm.RoleUser) {
			t := b.turn(llm.RoleUser)
			t.rest = append(t.rest, item{p: p})
		}
		return
	}
	k := slices.IndexFunc(b.open, func(c openCall) bool { return c.p.ID == p.ID })
	if !b.e.accept(p, llm.RoleTool) || k < 0 { // Check has refused orphans
		if k >= 0 {
			b.open = slices.Delete(b.open, k, k+1)
		}
		return
	}
	c := b.open[k]
	b.open = slices.Delete(b.open, k, k+1)
	t := c.by.answer
	if t == nil {
		t = &turn{role: llm.RoleUser, at: p.At}
		c.by.answer = t
		b.turns = slices.Insert(b.turns, slices.Index(b.turns, c.by)+1, t)
	}
	t.results = append(t.results, item{p: p, id: c.wire})
}

// accept decides whether a part can be written, and reports what is lost with it or instead of it.
func (e *requestEncoder) accept(p *llm.Part, role llm.Role) bool {
	if p.Opaque.For(llm.AnthropicMessages, e.o.Scope) {
		return true
	}
	if !e.same {
		e.l.Extra(p.Extra, p.At)
	}
	if p.Seal != nil && p.Kind != llm.PartThinking {
		e.l.Part(p, dialect.SealMember(e.r.From), llm.LostForeign)
	}
	for i := range p.Citations {
		if role != llm.RoleAssistant || !p.Citations[i].Opaque.For(llm.AnthropicMessages, e.o.Scope) {
			e.l.Part(p, "citations", llm.LostForeign)
			break
		}
	}
	switch p.Kind {
	case llm.PartText, llm.PartRefusal:
		// The vendor refuses blocks without visible text (vercel/ai #5576).
		if p.Text == "" || !e.same && blank(p.Text) {
			if p.Cache != llm.CacheUnset {
				e.l.Part(p, dialect.CacheMember(e.r.From), llm.LostCombination)
			}
			return false
		}
		if p.Kind == llm.PartRefusal {
			e.l.Drop(p.At, llm.LostRewritten)
		}
		return true
	case llm.PartThinking:
		if p.Seal.For(llm.AnthropicMessages, e.o.Scope) {
			return true
		}
		// Never forged, and the vendor takes none without its signature.
		e.l.Part(p, "", llm.LostForeign)
		return false
	case llm.PartCall:
		return e.acceptCall(p)
	case llm.PartResult:
		ok := true
		for i := range p.Content {
			c := &p.Content[i]
			if c.Kind == llm.PartText || e.accept(c, llm.RoleUser) || c.Kind == llm.PartOpaque {
				continue
			}
			ok = false
		}
		return ok
	case llm.PartImage, llm.PartDocument:
		if why := e.mediaProblem(p, role); why != "" {
			e.l.Part(p, "", why)
			return false
		}
		if d := p.Media.Detail; d != "" && d != "auto" {
			e.l.Part(p, "detail", llm.LostNoEquivalent)
		}
		return true
	case llm.PartOpaque:
		e.l.Part(p, "", llm.LostForeign)
		return false
	}
	e.l.Part(p, "", llm.LostNoEquivalent)
	return false
}

// blank reports text of ASCII white space only.
func blank(s string) bool { return strings.Trim(s, " \t\r\n\v\f") == "" }

func (e *requestEncoder) acceptCall(p *llm.Part) bool {
	if p.Custom {
		e.l.Part(p, "", llm.LostNoEquivalent)
		return false
	}
	if !isJSONObject(p.Args()) {
		e.l.Part(p, "arguments", llm.LostRewritten)
	}
	return true
}

// mediaProblem is why an image or a document cannot be carried; "" = it can.
func (e *requestEncoder) mediaProblem(p *llm.Part, role llm.Role) string {
	m := p.Media
	switch {
	case role == llm.RoleAssistant:
		return llm.LostNoEquivalent // both kinds are the user's
	case m.FileID != "":
		if !e.same {
			return llm.LostForeign
		}
		e.files = true
		return ""
	case m.URL != "":
		if !strings.HasPrefix(m.URL, "https://") && (!e.same || !isHTTP(m.URL)) {
			return llm.LostNoEquivalent // the vendor fetches nothing else
		}
		return ""
	case p.Kind == llm.PartImage:
		if imageType(m) == "" {
			return llm.LostNoEquivalent
		}
		return ""
	case m.Text != "" || m.Data == nil:
		return ""
	case m.Type == "application/pdf":
		return ""
	case isTextType(m.Type):
		if _, ok := plainText(m); ok {
			return ""
		}
	case m.Type == "" && bytes.HasPrefix(m.Data, []byte("JVBERi")):
		return ""
	}
	return llm.LostNoEquivalent
}

// imageType is the MIME type of an image that the vendor takes, or "". Where the client states none, or
// a loose one, the first bytes tell: the vendor refuses a type that contradicts them.
func imageType(m *llm.Media) string {
	switch t := strings.ToLower(m.Type); t {
	case "image/jpeg", "image/png", "image/gif", "image/webp":
		return t
	case "image/jpg":
		return "image/jpeg"
	case "", "image/*", "application/octet-stream":
	default:
		return ""
	}
	for _, s := range [...]struct{ head, mime string }{
		{"/9j/", "image/jpeg"}, {"iVBORw0KGgo", "image/png"}, {"R0lGOD", "image/gif"}, {"UklGR", "image/webp"},
	} {
		if bytes.HasPrefix(m.Data, []byte(s.head)) {
			return s.mime
		}
	}
	return ""
}

func isTextType(t string) bool {
	t, _, _ = strings.Cut(t, ";")
	switch t = strings.ToLower(strings.TrimSpace(t)); t {
	case "application/json", "application/xml", "application/yaml", "application/x-yaml", "application/javascript", "application/x-ndjson":
		return true
	}
	return strings.HasPrefix(t, "text/")
}

// plainText decodes a text file.
func plainText(m *llm.Media) ([]byte, bool) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(m.Data)))
	n, err := base64.StdEncoding.Decode(b, m.Data)
	return b[:n], err == nil && n > 0 && utf8.Valid(b[:n])
}
