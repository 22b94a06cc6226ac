package anthropic

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// invalidJSON is the member in which the vendor's guide for fine-grained tool streaming puts arguments
// that are no object.
const invalidJSON = "INVALID_JSON"

// block writes one block that accept has accepted.
func (e *requestEncoder) block(it item, role llm.Role) {
	w, p := &e.w, it.p
	if p.Opaque.For(llm.AnthropicMessages, e.o.Scope) {
		w.Raw(p.Opaque.JSON)
		return
	}
	w.Open('{')
	switch p.Kind {
	case llm.PartText, llm.PartRefusal:
		w.StrMember("type", "text")
		w.StrMember("text", p.Text)
		if role == llm.RoleAssistant {
			e.citations(p)
		}
	case llm.PartThinking:
		if p.Redacted {
			w.StrMember("type", "redacted_thinking")
			w.Name("data")
			w.Text(p.Seal.Data)
		} else {
			w.StrMember("type", "thinking")
			w.StrMember("thinking", p.Text)
			w.Name("signature")
			w.Text(p.Seal.Data)
		}
	case llm.PartCall:
		w.StrMember("type", "tool_use")
		w.StrMember("id", it.id)
		w.StrMember("name", p.Name)
		w.Name("input")
		writeInput(w, p)
	case llm.PartResult:
		e.result(it)
	case llm.PartImage:
		w.StrMember("type", "image")
		e.source(p)
	case llm.PartDocument:
		w.StrMember("type", "document")
		e.source(p)
		if p.Media.Name != "" {
			w.StrMember("title", p.Media.Name)
		}
		if p.Media.Note != "" {
			w.StrMember("context", p.Media.Note)
		}
		if p.Media.Cite {
			w.Name("citations")
			w.Raw([]byte(`{"enabled":true}`))
		}
	}
	if p.Kind != llm.PartThinking {
		e.mark(p.Cache)
		if e.same {
			w.Extra(p.Extra)
		}
	}
	w.Close('}')
}

// writeInput writes a call's arguments as the object that the vendor wants.
func writeInput(w *dialect.Writer, p *llm.Part) {
	if args := p.Args(); isJSONObject(args) {
		w.Raw([]byte(args))
		return
	}
	w.Open('{')
	w.StrMember(invalidJSON, p.Text)
	w.Close('}')
}

// isJSONObject reports whether s is one JSON object, unambiguous.
func isJSONObject(s string) bool {
	for i := range len(s) {
		switch s[i] {
		case ' ', '\t', '\r', '\n':
			continue
		case '{':
			return dialect.Pick([]byte(s), nil, nil) == nil
		}
		return false
	}
	return false
}

func (e *requestEncoder) citations(p *llm.Part) {
	open := false
	for i := range p.Citations {
		o := p.Citations[i].Opaque
		if !o.For(llm.AnthropicMessages, e.o.Scope) {
			continue
		}
		if !open {
			e.w.Name("citations")
			e.w.Open('[')
			open = true
		}
		e.w.Raw(o.JSON)
	}
	if open {
		e.w.Close(']')
	}
}

func (e *requestEncoder) result(it item) {
	w, p := &e.w, it.p
	w.StrMember("type", "tool_result")
	w.StrMember("tool_use_id", it.id)
	keep := make([]*llm.Part, 0, len(p.Content))
	for i := range p.Content {
		c := &p.Content[i]
		switch {
		case c.Kind == llm.PartText && c.Text == "", c.Kind == llm.PartOpaque && !c.Opaque.For(llm.AnthropicMessages, e.o.Scope):
		default:
			keep = append(keep, c)
		}
	}
	switch {
	case len(keep) == 1 && keep[0].Kind == llm.PartText && keep[0].Cache == llm.CacheUnset && len(keep[0].Extra) == 0:
		w.StrMember("content", keep[0].Text)
	case len(keep) > 0:
		w.Name("content")
		w.Open('[')
		for _, c := range keep {
			e.block(item{p: c}, llm.RoleUser)
		}
		w.Close(']')
	}
	if p.IsError {
		w.BoolMember("is_error", true)
	}
}

func (e *requestEncoder) source(p *llm.Part) {
	w, m := &e.w, p.Media
	w.Name("source")
	w.Open('{')
	defer w.Close('}')
	switch {
	case m.FileID != "":
		w.StrMember("type", "file")
		w.StrMember("file_id", m.FileID)
	case m.URL != "":
		w.StrMember("type", "url")
		w.StrMember("url", m.URL)
	case p.Kind == llm.PartImage:
		base64Source(w, imageType(m), m.Data)
	case m.Data == nil:
		w.StrMember("type", "text")
		w.StrMember("media_type", "text/plain")
		w.StrMember("data", m.Text)
	case isTextType(m.Type):
		text, _ := plainText(m)
		w.StrMember("type", "text")
		w.StrMember("media_type", "text/plain")
		w.Name("data")
		w.Text(text)
	default:
		base64Source(w, "application/pdf", m.Data)
	}
}

func base64Source(w *dialect.Writer, mime string, data []byte) {
	w.StrMember("type", "base64")
	w.StrMember("media_type", mime)
	w.Name("data")
	w.Data("", data)
}

// writeTools writes the definitions; where only the history has calls, names without arguments, since
// the vendor wants every tool of the history defined.
func (e *requestEncoder) writeTools() {
	w := &e.w
	if len(e.tools) == 0 && !e.stubs && !e.output {
		return
	}
	w.Name("tools")
	w.Open('[')
	for _, t := range e.tools {
		if t.Kind == llm.ToolHosted {
			w.Raw(t.Opaque.JSON)
			continue
		}
		e.tool(t)
	}
	if e.stubs {
		for _, name := range e.called {
			w.Open('{')
			w.StrMember("name", name)
			w.RawMember("input_schema", []byte(`{"type":"object"}`))
			w.Close('}')
		}
	}
	if e.output {
		w.Open('{')
		w.StrMember("name", outputTool)
		w.StrMember("description", "Gives the final answer. Call it exactly once, with the whole answer.")
		w.RawMember("input_schema", e.schema)
		w.Close('}')
	}
	w.Close(']')
}

func (e *requestEncoder) tool(t *llm.Tool) {
	w := &e.w
	w.Open('{')
	w.StrMember("name", t.Name)
	if t.Description != "" {
		w.StrMember("description", t.Description)
	}
	w.RawMember("input_schema", e.inputSchema(t))
	if t.Strict.Set && (e.same || t.Strict.V) && !e.o.Quirks.NoSchema {
		w.BoolMember("strict", t.Strict.V)
	}
	e.mark(t.Cache)
	if e.same {
		w.Extra(t.Extra)
	}
	w.Close('}')
}

// inputSchema is the tool's schema with the type that the vendor requires at its root.
func (e *requestEncoder) inputSchema(t *llm.Tool) []byte {
	if t.Schema == nil {
		return []byte(`{"type":"object"}`)
	}
	s := t.Schema
	if t.Strict.Is(true) && !e.same && !e.o.Quirks.NoSchema {
		s, _ = fitSchema(s)
	}
	if kind, has := rootType(s); has && kind == "object" {
		return s
	}
	w := dialect.NewWriter(make([]byte, 0, len(s)+20))
	w.Open('{')
	w.StrMember("type", "object")
	for c := dialect.Walk(s); c.Next(); {
		if string(c.Name) != "type" {
			w.Key(string(c.Name))
			w.Raw(c.Value)
		}
	}
	w.Close('}')
	return w.Take()
}

// rootType is the type member of a schema; "" when it is not a string.
func rootType(s llm.Raw) (kind string, has bool) {
	for c := dialect.Walk(s); c.Next(); {
		if string(c.Name) == "type" {
			return str(c.Value), !unset(c.Value)
		}
	}
	return "", false
}

// quoted is s as JSON.
func quoted(s string) []byte {
	b, _ := jsontext.AppendQuote(nil, s)
	return b
}
