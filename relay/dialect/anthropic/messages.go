package anthropic

import (
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// messages reads the turns. A user turn with tool results becomes two messages, results first.
func (d *requestDecoder) messages(v []byte) error {
	return each(v, "/messages", func(at string, v []byte) error {
		role, content := "", []byte(nil)
		t := turnDecoder{at: at}
		if err := members(v, at, func(name string, v []byte) (err error) {
			switch name {
			case "role":
				role, err = dialect.Text(v, trim(at)+"/role")
			case "content":
				content = v
			default:
				t.extra = append(t.extra, llm.Member{Name: name, Value: llm.Raw(v)})
			}
			return err
		}); err != nil {
			return err
		}
		switch role {
		case "user":
			t.role = llm.RoleUser
		case "assistant":
			t.role = llm.RoleAssistant
		case "system":
			t.role = llm.RoleSystem
		default:
			return malformed(at+"/role", "must be user, assistant or system")
		}
		if err := t.content(content); err != nil {
			return err
		}
		t.appendTo(d.r)
		return nil
	})
}

// turnDecoder reads the content of one message.
type turnDecoder struct {
	role    llm.Role
	at      string
	parts   []llm.Part
	results []llm.Part
	next    *llm.Seal // for the part that follows
	extra   llm.Extra
}

func (t *turnDecoder) content(v []byte) error {
	at := t.at + "/content"
	switch {
	case unset(v):
		return malformed(at, "Field required")
	case isText(v):
		if s := dialect.Unquote(v); s != "" {
			t.parts = []llm.Part{{Kind: llm.PartText, Text: s, At: at}}
		}
		return nil
	}
	if err := each(v, at, t.block); err != nil {
		return err
	}
	if t.next != nil {
		t.parts = append(t.parts, llm.Part{Kind: llm.PartText, Seal: t.next, At: at})
	}
	return nil
}

func (t *turnDecoder) appendTo(r *llm.Request) {
	if t.results != nil {
		r.Messages = append(r.Messages, llm.Message{Role: llm.RoleTool, Parts: t.results, At: t.at})
		if t.parts == nil && t.extra == nil {
			return
		}
	}
	r.Messages = append(r.Messages, llm.Message{Role: t.role, Parts: t.parts, At: t.at, Extra: t.extra})
}

func (t *turnDecoder) add(p llm.Part) {
	if t.next != nil && p.Seal == nil {
		p.Seal, t.next = t.next, nil
	}
	t.parts = append(t.parts, p)
}

func (t *turnDecoder) block(at string, v []byte) error {
	b, ok := readBlock(v)
	switch {
	case !ok:
		return malformed(at, "must be an object")
	case b.kind == "":
		return malformed(at+"/type", "Field required")
	case t.role == llm.RoleSystem && b.kind != "text":
		return malformed(at, "system messages hold text only")
	}
	switch b.kind {
	case "thinking", "redacted_thinking":
		if t.role != llm.RoleAssistant {
			return malformed(at, "thinking stands in assistant messages only")
		}
		return t.thinking(&b, at)
	case "tool_use":
		p, err := call(&b, at)
		if err == nil {
			t.add(p)
		}
		return err
	case "tool_result":
		if t.role != llm.RoleUser {
			return malformed(at, "tool results stand in user messages only")
		}
		p, err := result(&b, at)
		t.results = append(t.results, p)
		return err
	}
	ps, err := contentParts(&b, at, t.role == llm.RoleAssistant)
	for _, p := range ps {
		t.add(p)
	}
	return err
}

// thinking reads both kinds of thinking blocks, in which carriers come back (package carrier).
func (t *turnDecoder) thinking(b *block, at string) error {
	p := llm.Part{Kind: llm.PartThinking, At: at, Extra: b.extra}
	field, name := b.signature, "signature"
	if b.kind == "thinking" {
		if !isText(b.thinking) {
			return malformed(at+"/thinking", "Field required")
		}
		p.Text = dialect.Unquote(b.thinking)
	} else {
		field, name, p.Redacted = b.data, "data", true
	}
	if !unset(field) && !isText(field) || p.Redacted && unset(field) {
		return malformed(at+"/"+name, "must be a string")
	}
	blob := []byte(str(field))
	c, ok := carrier.Decode(blob)
	switch {
	case !ok && carrier.Looks(blob):
		// Damaged on its way through the client: kept only to be reported.
		p.Extra = append(p.Extra, llm.Member{Name: name, Value: llm.Raw(field)})
		p.Redacted = false
	case !ok && len(blob) > 0:
		p.Seal = &llm.Seal{Origin: llm.AnthropicMessages, Data: blob}
	case !ok:
		p.Redacted = false
	case c.Use == carrier.Own:
		p.Seal, p.Redacted = c.Seal, false
	case c.Use == carrier.Redacted:
		p.Seal, p.Redacted, p.Text = c.Seal, true, ""
	case c.Use == carrier.Part:
		t.add(llm.Part{Kind: llm.PartOpaque, Opaque: c.Opaque, At: at})
		return nil
	case c.Use == carrier.Next:
		t.next = c.Seal
		return nil
	case c.Use == carrier.Prev:
		if n := len(t.parts); n > 0 && t.parts[n-1].Seal == nil {
			t.parts[n-1].Seal = c.Seal
		} else {
			t.parts = append(t.parts, llm.Part{Kind: llm.PartText, Seal: c.Seal, At: at})
		}
		return nil
	}
	t.parts = append(t.parts, p)
	return nil
}

func call(b *block, at string) (llm.Part, error) {
	p := llm.Part{Kind: llm.PartCall, ID: str(b.id), Name: str(b.name), At: at, Extra: b.extra}
	switch {
	case p.ID == "":
		return p, malformed(at+"/id", "Field required")
	case p.Name == "":
		return p, malformed(at+"/name", "Field required")
	case !isObject(b.input):
		return p, malformed(at+"/input", "must be an object")
	}
	p.Text = string(b.input)
	var err error
	p.Cache, err = cacheMark(b.cache, at+"/cache_control")
	return p, err
}

func result(b *block, at string) (llm.Part, error) {
	p := llm.Part{Kind: llm.PartResult, ID: str(b.toolUse), At: at, Extra: b.extra}
	if p.ID == "" {
		return p, malformed(at+"/tool_use_id", "Field required")
	}
	var err error
	if p.IsError, err = dialect.Bool(b.isError, trim(at)+"/is_error"); err != nil {
		return p, err
	}
	if p.Cache, err = cacheMark(b.cache, at+"/cache_control"); err != nil {
		return p, err
	}
	p.Content, err = nested(b.content, at+"/content")
	return p, err
}

// nested reads content that is a string or blocks: of a result, or of a document.
func nested(v []byte, at string) ([]llm.Part, error) {
	if unset(v) {
		return nil, nil
	}
	if isText(v) {
		if s := dialect.Unquote(v); s != "" {
			return []llm.Part{{Kind: llm.PartText, Text: s, At: at}}, nil
		}
		return nil, nil
	}
	var out []llm.Part
	err := each(v, at, func(at string, v []byte) error {
		b, ok := readBlock(v)
		if !ok {
			return malformed(at, "must be an object")
		}
		if b.kind == "tool_reference" {
			out = append(out, opaque(&b, at))
			return nil
		}
		ps, err := contentParts(&b, at, false)
		out = append(out, ps...)
		return err
	})
	return out, err
}

func opaque(b *block, at string) llm.Part {
	return llm.Part{
		Kind: llm.PartOpaque, At: at,
		Opaque: &llm.Opaque{Origin: llm.AnthropicMessages, Type: b.kind, JSON: llm.Raw(b.raw)},
	}
}

// contentParts reads text, media and what only the vendor knows. The latter stands in assistant turns
// (server tools and their results); in a user turn an unknown block is refused as the vendor does.
func contentParts(b *block, at string, assistant bool) (ps []llm.Part, err error) {
	p := llm.Part{At: at, Extra: b.extra}
	if p.Cache, err = cacheMark(b.cache, at+"/cache_control"); err != nil {
		return nil, err
	}
	switch b.kind {
	case "text":
		if !isText(b.text) {
			return nil, malformed(at+"/text", "Field required")
		}
		p.Text, p.Citations = dialect.Unquote(b.text), citations(b.citations, "")
		if p.Text == "" {
			return nil, nil
		}
		return []llm.Part{p}, nil
	case "image":
		p.Kind = llm.PartImage
		p.Media, err = source(b.source, at+"/source")
		return []llm.Part{p}, err
	case "document":
		return document(b, p)
	case "search_result":
		return searchResult(b, p)
	case "container_upload":
		p.Kind, p.Extra = llm.PartDocument, nil
		p.Media = &llm.Media{FileID: str(b.extra.Get("file_id"))}
		p.Opaque = opaque(b, at).Opaque
		return []llm.Part{p}, nil
	}
	if !assistant {
		return nil, malformed(at+"/type", "unknown kind of block")
	}
	return []llm.Part{opaque(b, at)}, nil
}

// source reads where the bytes of an image or a document are.
func source(v []byte, at string) (*llm.Media, error) {
	m := &llm.Media{}
	var kind string
	var data []byte
	if err := members(v, at, func(name string, v []byte) (err error) {
		switch name {
		case "type":
			kind = str(v)
		case "media_type":
			m.Type, err = dialect.Text(v, trim(at)+"/media_type")
		case "data":
			data = v
		case "url":
			m.URL, err = dialect.Text(v, trim(at)+"/url")
		case "file_id":
			m.FileID, err = dialect.Text(v, trim(at)+"/file_id")
		}
		return err
	}); err != nil {
		return nil, err
	}
	var err error
	switch kind {
	case "base64":
		m.URL, m.FileID = "", ""
		m.Data, err = dialect.Base64(data, trim(at)+"/data")
	case "text":
		m.URL, m.FileID = "", ""
		m.Text, err = dialect.Text(data, trim(at)+"/data")
	case "url":
		if m.FileID = ""; m.URL == "" {
			err = malformed(at+"/url", "Field required")
		}
	case "file":
		if m.URL = ""; m.FileID == "" {
			err = malformed(at+"/file_id", "Field required")
		}
	default:
		err = malformed(at+"/type", "unknown kind of source")
	}
	return m, err
}

func document(b *block, p llm.Part) ([]llm.Part, error) {
	p.Kind = llm.PartDocument
	kind, _ := readBlock(b.source)
	var more []llm.Part
	if kind.kind == "content" {
		// A document in chunks: its text for others, as it is for the vendor.
		ps, err := nested(kind.content, p.At+"/source/content")
		if err != nil {
			return nil, err
		}
		text, media := split(ps)
		if more = media; more == nil {
			p.Opaque, p.Extra = opaque(b, p.At).Opaque, nil
		}
		p.Media = &llm.Media{Type: "text/plain", Text: text}
	} else {
		m, err := source(b.source, p.At+"/source")
		if err != nil {
			return nil, err
		}
		if p.Media = m; m.URL != "" && m.Type == "" {
			m.Type = "application/pdf" // the only documents that the vendor fetches
		}
	}
	p.Media.Name, p.Media.Note = str(b.title), str(b.context)
	p.Media.Cite = citing(b.citations)
	return append([]llm.Part{p}, more...), nil
}

// split joins the texts and keeps the rest.
func split(ps []llm.Part) (string, []llm.Part) {
	var text strings.Builder
	var media []llm.Part
	for i := range ps {
		if ps[i].Kind != llm.PartText {
			media = append(media, ps[i])
			continue
		}
		if text.Len() > 0 {
			text.WriteString("\n\n")
		}
		text.WriteString(ps[i].Text)
	}
	return text.String(), media
}

func citing(v []byte) bool {
	for c := dialect.Walk(v); isObject(v) && c.Next(); {
		if string(c.Name) == "enabled" {
			return len(c.Value) > 0 && c.Value[0] == 't'
		}
	}
	return false
}

// searchResult reads what the client found for the model: a document for others.
func searchResult(b *block, p llm.Part) ([]llm.Part, error) {
	ps, err := nested(b.content, p.At+"/content")
	if err != nil {
		return nil, err
	}
	text, _ := split(ps)
	p.Kind, p.Extra = llm.PartDocument, nil
	p.Media = &llm.Media{Type: "text/plain", Text: text, Name: str(b.title), Note: str(b.source), Cite: citing(b.citations)}
	p.Opaque = opaque(b, p.At).Opaque
	return []llm.Part{p}, nil
}
