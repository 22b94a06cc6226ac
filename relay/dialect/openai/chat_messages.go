package openai

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func (d *chatRequest) readMessages(v []byte) error {
	if err := isList(v, "/messages"); err != nil {
		return err
	}
	d.messages = true
	i := 0
	for c := dialect.Walk(v); c.Next(); i++ {
		at := dialect.Index("/messages", i)
		if err := isObject(c.Value, at); err != nil || unset(c.Value) {
			return wrong(at, "an object")
		}
		if err := d.readMessage(c.Value, at); err != nil {
			return err
		}
	}
	return nil
}

// wireMessage is what a message or an answer holds beside its content.
type wireMessage struct {
	role, name, callID      string
	content, refusal        []byte
	calls, call             []byte // tool_calls, function_call
	thinking, details       []byte
	member                  string // which one thinking was: reasoning_content or reasoning
	annotations, audio, pix []byte
	seal                    string // extra_content.google.thought_signature
	extra                   llm.Extra
}

// read sorts the members of a message, an answer's message or a delta. It does not fail: what is of a
// wrong type is found by whoever uses it.
func (m *wireMessage) read(v []byte) {
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "role":
			m.role = word(c.Value)
		case "name":
			m.name = word(c.Value)
		case "tool_call_id":
			m.callID = word(c.Value)
		case "content":
			m.content = c.Value
		case "refusal":
			m.refusal = c.Value
		case "tool_calls":
			m.calls = c.Value
		case "function_call":
			m.call = c.Value
		case "reasoning_content", "reasoning":
			// Servers that write both mean the same by both.
			if isFilledText(c.Value) && m.thinking == nil {
				m.thinking, m.member = c.Value, memberName(c.Name)
			}
		case "reasoning_details":
			m.details = c.Value
		case "annotations":
			m.annotations = c.Value
		case "audio":
			m.audio = c.Value
		case "images":
			m.pix = c.Value
		case "extra_content":
			m.seal = thoughtSignature(c.Value)
		default:
			m.extra = keep(m.extra, c.Name, c.Value)
		}
	}
}

// memberName spares an allocation.
func memberName(name []byte) string {
	if len(name) == len("reasoning") {
		return "reasoning"
	}
	return "reasoning_content"
}

// word is a string, or "" for anything else.
func word(v []byte) string {
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	switch string(v) { // the usual ones cost nothing
	case `"assistant"`:
		return "assistant"
	case `"user"`:
		return "user"
	case `"tool"`:
		return "tool"
	case `"function"`:
		return "function"
	}
	return dialect.Unquote(v)
}

func isFilledText(v []byte) bool { return len(v) > 2 && v[0] == '"' }

// thoughtSignature reads extra_content.google.thought_signature, as Google's OpenAI endpoint has it.
func thoughtSignature(v []byte) string {
	for c := dialect.Walk(v); c.Next(); {
		if string(c.Name) != "google" {
			continue
		}
		for g := dialect.Walk(c.Value); g.Next(); {
			if string(g.Name) == "thought_signature" {
				return word(g.Value)
			}
		}
	}
	return ""
}

func (d *chatRequest) readMessage(v []byte, at string) error {
	var m wireMessage
	m.read(v)
	out := llm.Message{Name: m.name, At: at, Extra: m.extra}
	var err error
	switch m.role {
	case "system", "developer":
		if out.Role = llm.RoleSystem; m.role == "developer" {
			out.Role = llm.RoleDeveloper
		}
		out.Parts, err = readContent(m.content, at+"/content", textOnly.part)
	case "user":
		out.Parts, err = readContent(m.content, at+"/content", anyInput.part)
	case "assistant":
		out.Role = llm.RoleAssistant
		out.Parts, err = readTurn(&m, at)
		if dialect.Filled(m.audio) {
			out.Extra = append(out.Extra, llm.Member{Name: "audio", Value: llm.Raw(m.audio)})
		}
	case "tool", "function":
		return d.readResult(&m, at)
	default:
		return wrong(at+"/role", "one of system, developer, user, assistant, tool, function")
	}
	if err != nil {
		return err
	}
	d.r.Messages = append(d.r.Messages, out)
	return nil
}

// readResult reads a tool message, or the function message of old clients, which names the function
// only. Results that follow each other are one message, as elsewhere.
func (d *chatRequest) readResult(m *wireMessage, at string) error {
	p := llm.Part{Kind: llm.PartResult, At: at, Extra: m.extra}
	if m.role == "tool" {
		if p.ID = m.callID; p.ID == "" {
			return wrong(at+"/tool_call_id", "a string that is not empty")
		}
	} else if p.Name = m.name; p.Name == "" {
		return wrong(at+"/name", "a string that is not empty")
	}
	var err error
	if p.Content, err = readContent(m.content, at+"/content", anyInput.part); err != nil {
		return err
	}
	if n := len(d.r.Messages); n > 0 && d.r.Messages[n-1].Role == llm.RoleTool {
		last := &d.r.Messages[n-1]
		last.Parts = append(last.Parts, p)
		return nil
	}
	d.r.Messages = append(d.r.Messages, llm.Message{Role: llm.RoleTool, Parts: []llm.Part{p}, At: at})
	return nil
}

// readTurn reads an assistant message of the history.
func readTurn(m *wireMessage, at string) ([]llm.Part, error) {
	parts := readThinking(m, at)
	content, err := readContent(m.content, at+"/content", turnContent.part)
	if err != nil {
		return nil, err
	}
	if s, _ := carrier.SealOf(llm.OpenAIChat, []byte(m.seal)); s != nil {
		seal(content, s)
	}
	parts = append(parts, content...)
	if s, err := readText(m.refusal, at+"/refusal"); err != nil {
		return nil, err
	} else if s != "" {
		parts = append(parts, llm.Part{Kind: llm.PartRefusal, Text: s, At: at + "/refusal"})
	}
	if err := isList(m.calls, at+"/tool_calls"); err != nil {
		return nil, err
	}
	i := 0
	for c := dialect.Walk(m.calls); c.Next(); i++ {
		p, err := readCall(c.Value, dialect.Index(at+"/tool_calls", i))
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	if !unset(m.call) {
		at += "/function_call"
		if m.call[0] != '{' {
			return nil, wrong(at, "an object")
		}
		p := llm.Part{Kind: llm.PartCall, At: at}
		if err := readFunction(&p, m.call, at); err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// seal gives s to the last text, where Gemini wants it.
func seal(ps []llm.Part, s *llm.Seal) {
	for i := len(ps) - 1; i >= 0; i-- {
		if ps[i].Kind == llm.PartText {
			ps[i].Seal = s
			return
		}
	}
}

func readCall(v []byte, at string) (llm.Part, error) {
	p := llm.Part{Kind: llm.PartCall, At: at}
	if unset(v) || v[0] != '{' {
		return p, wrong(at, "an object")
	}
	inner, place := []byte(nil), at+"/function"
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "id":
			id, err := readText(c.Value, at+"/id")
			if err != nil {
				return p, err
			}
			p.ID = id
		case "function":
			inner = c.Value
		case "custom":
			inner, place, p.Custom = c.Value, at+"/custom", true
		case "type", "index":
		case "extra_content":
			p.Seal, _ = carrier.SealOf(llm.OpenAIChat, []byte(thoughtSignature(c.Value)))
		default:
			p.Extra = keep(p.Extra, c.Name, c.Value)
		}
	}
	if unset(inner) || inner[0] != '{' {
		return p, wrong(place, "an object")
	}
	if p.ID == "" {
		return p, wrong(at+"/id", "a string that is not empty")
	}
	return p, readFunction(&p, inner, place)
}

// readFunction reads {name, arguments} or {name, input}.
func readFunction(p *llm.Part, v []byte, at string) (err error) {
	for c := dialect.Walk(v); c.Next() && err == nil; {
		switch string(c.Name) {
		case "name":
			p.Name, err = readText(c.Value, at+"/name")
		case "arguments", "input":
			if !unset(c.Value) && c.Value[0] == '{' { // an object where its text belongs
				p.Text = string(c.Value)
				continue
			}
			p.Text, err = readText(c.Value, at+"/"+string(c.Name))
		}
	}
	if err == nil && p.Name == "" {
		err = wrong(at+"/name", "a string that is not empty")
	}
	return err
}

// accepts says which parts a content may have.
type accepts uint8

const (
	textOnly    accepts = iota
	anyInput            // what users write, and what tools give back
	turnContent         // text and refusals
)

// part reads one part of a content that has what a allows.
func (a accepts) part(p *llm.Part, v []byte) error { return readPart(p, v, a) }

func readPart(p *llm.Part, v []byte, what accepts) (err error) {
	kind := ""
	var body []byte // of the member that the type is named after
	for c := dialect.Walk(v); c.Next() && err == nil; {
		switch name := string(c.Name); name {
		case "type":
			kind, err = readText(c.Value, p.At+"/type")
		case "text", "refusal", "image_url", "input_audio", "file", "video_url":
			body = c.Value
		case "prompt_cache_breakpoint", "cache_control":
			p.Cache = cacheMark(name, c.Value)
		default:
			p.Extra = keep(p.Extra, c.Name, c.Value)
		}
	}
	switch {
	case err != nil:
		return err
	case kind == "text", kind == "" && len(body) > 0 && body[0] == '"':
		p.Text, err = readText(body, p.At+"/text")
		return err
	case kind == "refusal" && what == turnContent:
		p.Kind = llm.PartRefusal
		p.Text, err = readText(body, p.At+"/refusal")
		return err
	case what != anyInput:
		return wrong(p.At+"/type", "text in a message of this role")
	}
	switch kind {
	case "image_url":
		p.Kind = llm.PartImage
		return readLink(p, body, p.At+"/image_url")
	case "video_url": // Qwen, vLLM
		p.Kind = llm.PartVideo
		return readLink(p, body, p.At+"/video_url")
	case "input_audio":
		p.Kind = llm.PartAudio
		return readAudio(p, body, p.At+"/input_audio")
	case "file":
		p.Kind = llm.PartDocument
		return readFile(p, body, p.At+"/file")
	}
	return wrong(p.At+"/type", "one of text, image_url, input_audio, file")
}

// readLink reads {url, detail}, or the bare URL that some clients write.
func readLink(p *llm.Part, v []byte, at string) (err error) {
	p.Media = &llm.Media{}
	link := v
	if len(v) > 0 && v[0] == '{' {
		link = nil
		for c := dialect.Walk(v); c.Next() && err == nil; {
			switch string(c.Name) {
			case "url":
				link = c.Value
			case "detail":
				p.Media.Detail, err = readText(c.Value, at+"/detail")
			default:
				p.Extra = keep(p.Extra, c.Name, c.Value)
			}
		}
		at += "/url"
	}
	if err != nil {
		return err
	}
	mime, data, ok, err := dialect.DataURL(link, at[1:])
	switch {
	case err != nil:
		return err
	case ok:
		p.Media.Type, p.Media.Data = mime, data
		return nil
	}
	p.Media.URL, err = readName(link, at)
	return err
}

func readAudio(p *llm.Part, v []byte, at string) (err error) {
	p.Media = &llm.Media{}
	format := ""
	var data []byte
	for c := dialect.Walk(v); c.Next() && err == nil; {
		switch string(c.Name) {
		case "data":
			data = c.Value
		case "format":
			format, err = readName(c.Value, at+"/format")
		}
	}
	if err != nil {
		return err
	}
	switch format {
	case "":
		return wrong(at+"/format", "wav or mp3")
	case "mp3":
		p.Media.Type = "audio/mpeg"
	default:
		p.Media.Type = "audio/" + format
	}
	p.Media.Data, err = dialect.Base64(data, at[1:]+"/data")
	return err
}

func readFile(p *llm.Part, v []byte, at string) (err error) {
	p.Media = &llm.Media{}
	var data []byte
	for c := dialect.Walk(v); c.Next() && err == nil; {
		switch string(c.Name) {
		case "file_data":
			data = c.Value
		case "file_id":
			p.Media.FileID, err = readText(c.Value, at+"/file_id")
		case "filename":
			p.Media.Name, err = readText(c.Value, at+"/filename")
		default:
			p.Extra = keep(p.Extra, c.Name, c.Value)
		}
	}
	switch {
	case err != nil:
		return err
	case unset(data) && p.Media.FileID == "":
		return wrong(at, "an object with file_data or file_id")
	case unset(data):
		return nil
	case p.Media.FileID != "":
		return wrong(at, "an object with one of file_data and file_id")
	}
	mime, raw, ok, err := dialect.DataURL(data, at[1:]+"/file_data")
	switch {
	case err != nil:
		return err
	case ok:
		p.Media.Type, p.Media.Data = mime, raw
	case isLink(data): // OpenRouter
		p.Media.URL = dialect.Unquote(data)
	default: // bare base64, as older clients write it
		p.Media.Type = "application/pdf"
		p.Media.Data, err = dialect.Base64(data, at[1:]+"/file_data")
	}
	return err
}

func isLink(v []byte) bool {
	return len(v) > 9 && (string(v[:8]) == `"http://` || string(v[:9]) == `"https://`)
}
