package openai

import (
	"encoding/base64"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// item is one input or output item as it is on the wire; the values are raw JSON, nil when absent.
type item struct {
	raw                                []byte
	kind, role                         string
	id, callID, name                   []byte
	arguments, input, output           []byte
	content, summary, encrypted, phase []byte
	extra                              llm.Extra
}

// readItem cuts an item into its members. Ids and states of items are bookkeeping of the vendor's
// store and mean nothing in a whole conversation (recorded requests go without them).
func readItem(v []byte) item {
	it := item{raw: v}
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "type":
			it.kind = itemType(c.Value)
		case "role":
			it.role = word(c.Value)
		case "id":
			it.id = c.Value
		case "call_id":
			it.callID = c.Value
		case "name":
			it.name = c.Value
		case "arguments":
			it.arguments = c.Value
		case "input":
			it.input = c.Value
		case "output":
			it.output = c.Value
		case "content":
			it.content = c.Value
		case "summary":
			it.summary = c.Value
		case "encrypted_content":
			it.encrypted = c.Value
		case "phase":
			it.phase = c.Value
		case "status":
		default:
			it.extra = keep(it.extra, c.Name, c.Value)
		}
	}
	if it.kind == "" && it.role != "" {
		it.kind = itemMessageType
	}
	return it
}

const (
	itemMessageType   = "message"
	itemReasoningType = "reasoning"
	itemCall          = "function_call"
	itemCallOutput    = "function_call_output"
	itemCustom        = "custom_tool_call"
	itemCustomOutput  = "custom_tool_call_output"
)

// itemType reads a type; the usual ones cost nothing.
func itemType(v []byte) string {
	switch string(v) {
	case `"message"`:
		return itemMessageType
	case `"reasoning"`:
		return itemReasoningType
	case `"function_call"`:
		return itemCall
	case `"function_call_output"`:
		return itemCallOutput
	case `"output_text"`:
		return "output_text"
	}
	return word(v)
}

func (d *responsesRequest) readInput(v []byte) error {
	switch v[0] {
	case '"':
		m := llm.Message{Role: llm.RoleUser, At: "/input"}
		if len(v) > 2 {
			m.Parts = []llm.Part{{Kind: llm.PartText, Text: dialect.Unquote(v), At: "/input"}}
		}
		d.r.Messages = append(d.r.Messages, m)
		return nil
	case '[':
		return d.readInputList(v, "/input")
	}
	return wrong("/input", "a string or a list of items")
}

func (d *responsesRequest) readInputList(v []byte, at string) error {
	i := 0
	for c := dialect.Walk(v); c.Next(); i++ {
		at := dialect.Index(at, i)
		if c.Value[0] != '{' {
			return wrong(at, "an object")
		}
		if err := d.readItem(c.Value, at); err != nil {
			return err
		}
	}
	d.dropNext()
	return nil
}

func (d *responsesRequest) readItem(v []byte, at string) error {
	it := readItem(v)
	switch it.kind {
	case itemMessageType:
		return d.readMessage(&it, at)
	case itemCall, itemCustom:
		return d.readCall(&it, at)
	case itemCallOutput, itemCustomOutput:
		return d.readOutput(&it, at)
	case itemReasoningType:
		return d.readReasoningItem(&it, at)
	case "item_reference":
		// Neither another provider nor a mask can see what it points to.
		f := fault.New(fault.Unsupported, "%s refers to an item that only the provider has stored: send the item itself", trimAt(at))
		f.Param, f.Fields = trimAt(at), []string{at + ": " + llm.LostForeign}
		return f
	case "":
		return wrong(at+"/type", "given")
	}
	o := &llm.Opaque{Origin: llm.OpenAIResponses, Type: it.kind, JSON: llm.Raw(v)}
	p := llm.Part{Kind: llm.PartOpaque, Opaque: o, At: at}
	if clientItem(it.kind) {
		d.dropNext()
		d.r.Messages = append(d.r.Messages, llm.Message{Role: llm.RoleUser, At: at, Parts: []llm.Part{p}})
		return nil
	}
	d.say(p)
	return nil
}

// clientItem tells the vendor's own items that the client writes from those that the model does.
func clientItem(kind string) bool {
	switch kind {
	case "mcp_approval_response", "additional_tools", "configuration_update", "compaction_trigger":
		return true
	}
	return strings.HasSuffix(kind, "_output")
}

// say adds a part to the assistant's turn: what the client writes as several items is one message.
func (d *responsesRequest) say(p llm.Part) {
	if p.Kind != llm.PartThinking && d.next != nil && p.Seal == nil {
		p.Seal, d.next = d.next, nil
	}
	ms := d.r.Messages
	if n := len(ms); n > 0 && ms[n-1].Role == llm.RoleAssistant {
		ms[n-1].Parts = append(ms[n-1].Parts, p)
		return
	}
	d.r.Messages = append(ms, llm.Message{Role: llm.RoleAssistant, At: p.At, Parts: []llm.Part{p}})
}

// dropNext notes a carried seal whose part did not come: a loss wherever the request goes.
func (d *responsesRequest) dropNext() {
	if d.next == nil {
		return
	}
	d.next = nil
	d.lostCarrier(d.nextRaw, d.nextAt)
}

// carrierType is the type of an opaque part that is a carrier whose content has no place any more. No
// encoder can use it, so it is reported as lost.
const carrierType = "carrier"

func (d *responsesRequest) lostCarrier(v []byte, at string) {
	d.say(llm.Part{Kind: llm.PartOpaque, At: at, Opaque: &llm.Opaque{Origin: llm.OpenAIResponses, Type: carrierType, JSON: llm.Raw(v)}})
}

func (d *responsesRequest) readMessage(it *item, at string) error {
	m := llm.Message{At: at}
	switch it.role {
	case "user":
		m.Role = llm.RoleUser
	case "system":
		m.Role = llm.RoleSystem
	case "developer":
		m.Role = llm.RoleDeveloper
	case "assistant":
		m.Role = llm.RoleAssistant
	default:
		return wrong(at+"/role", "one of user, assistant, system, developer")
	}
	parts, err := readContent(it.content, at+"/content", partsOf(m.Role))
	if err != nil {
		return err
	}
	if m.Role == llm.RoleAssistant {
		for i := range parts {
			if !unset(it.phase) {
				parts[i].Extra = keep(parts[i].Extra, []byte("phase"), it.phase)
			}
			d.say(parts[i])
		}
		return nil
	}
	d.dropNext()
	m.Parts, m.Extra = parts, it.extra
	if !unset(it.name) {
		if m.Name, err = readText(it.name, at+"/name"); err != nil {
			return err
		}
	}
	d.r.Messages = append(d.r.Messages, m)
	return nil
}

func (d *responsesRequest) readCall(it *item, at string) error {
	p := llm.Part{Kind: llm.PartCall, At: at, Custom: it.kind == itemCustom, Extra: falseless(it.extra)}
	id, err := readText(it.callID, at+"/call_id")
	if err == nil && id == "" {
		id, err = readText(it.id, at+"/id")
	}
	if err != nil {
		return err
	}
	p.ID = id
	if p.Name, err = readName(it.name, at+"/name"); err != nil {
		return err
	}
	if p.Custom {
		p.Text, err = readText(it.input, at+"/input")
	} else {
		p.Text, err = readText(it.arguments, at+"/arguments")
	}
	if err != nil {
		return err
	}
	d.say(p)
	return nil
}

// falseless drops members that only state a default.
func falseless(e llm.Extra) llm.Extra {
	out := e[:0]
	for _, m := range e {
		if string(m.Value) != "false" && !directCaller(m) {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// directCaller reports that the model itself, not a program of its own, called.
func directCaller(m llm.Member) bool {
	if m.Name != "caller" {
		return false
	}
	for c := dialect.Walk(m.Value); c.Next(); {
		if string(c.Name) == "type" {
			return string(c.Value) == `"direct"`
		}
	}
	return false
}

func (d *responsesRequest) readOutput(it *item, at string) (err error) {
	p := llm.Part{Kind: llm.PartResult, At: at, Custom: it.kind == itemCustomOutput, Extra: falseless(it.extra)}
	if p.ID, err = readName(it.callID, at+"/call_id"); err != nil {
		return err
	}
	if unset(it.output) {
		return wrong(at+"/output", "a string or a list of parts")
	}
	if p.Content, err = readContent(it.output, at+"/output", partsOf(llm.RoleUser)); err != nil {
		return err
	}
	d.dropNext()
	ms := d.r.Messages
	if n := len(ms); n > 0 && ms[n-1].Role == llm.RoleTool {
		ms[n-1].Parts = append(ms[n-1].Parts, p)
		return nil
	}
	d.r.Messages = append(ms, llm.Message{Role: llm.RoleTool, At: at, Parts: []llm.Part{p}})
	return nil
}

// readReasoningItem reads reasoning of the history: OpenAI's own, or a carrier in its form.
func (d *responsesRequest) readReasoningItem(it *item, at string) error {
	if !unset(it.encrypted) && it.encrypted[0] != '"' {
		return wrong(at+"/encrypted_content", "a string")
	}
	sealed := []byte(word(it.encrypted))
	p := llm.Part{Kind: llm.PartThinking, Text: reasoningText(it), At: at, Extra: falseless(it.extra)}
	if carrier.Looks(sealed) {
		return d.readCarrier(p, it, sealed, at)
	}
	switch {
	case len(sealed) > 0:
		p.Seal = &llm.Seal{Origin: llm.OpenAIResponses, Data: sealed}
	case !unset(it.id) && !madeID(word(it.id)):
		// The vendor has the content under this id; the text is only its summary.
		p.Opaque = &llm.Opaque{Origin: llm.OpenAIResponses, Type: itemReasoningType, JSON: llm.Raw(it.raw)}
	case p.Text == "":
		return nil
	}
	d.say(p)
	return nil
}

func (d *responsesRequest) readCarrier(p llm.Part, it *item, sealed []byte, at string) error {
	c, ok := carrier.Decode(sealed)
	switch {
	case !ok:
		d.lostCarrier(it.raw, at)
	case c.Use == carrier.Own, c.Use == carrier.Redacted:
		p.Seal, p.Redacted = c.Seal, c.Use == carrier.Redacted
		if p.Redacted {
			p.Text = ""
		}
		d.say(p)
	case c.Use == carrier.Part:
		d.say(llm.Part{Kind: llm.PartOpaque, Opaque: c.Opaque, At: at})
	case c.Use == carrier.Next:
		d.dropNext()
		d.next, d.nextAt, d.nextRaw = c.Seal, at, it.raw
	default: // Prev
		if last := d.lastSaid(); last != nil && last.Seal == nil {
			last.Seal = c.Seal
		} else {
			d.lostCarrier(it.raw, at)
		}
	}
	return nil
}

func (d *responsesRequest) lastSaid() *llm.Part {
	n := len(d.r.Messages)
	if n == 0 || d.r.Messages[n-1].Role != llm.RoleAssistant {
		return nil
	}
	ps := d.r.Messages[n-1].Parts
	return &ps[len(ps)-1]
}

// reasoningText is the summary, or the raw reasoning of open models where there is no summary. Parts
// are joined as paragraphs.
func reasoningText(it *item) string {
	s := joinTexts(it.summary)
	if s == "" {
		s = joinTexts(it.content)
	}
	return s
}

func joinTexts(v []byte) string {
	if unset(v) || v[0] != '[' {
		return ""
	}
	out := ""
	for c := dialect.Walk(v); c.Next(); {
		for m := dialect.Walk(c.Value); m.Next(); {
			if string(m.Name) == "text" && isFilledText(m.Value) {
				if out != "" {
					out += paragraph
				}
				out += dialect.Unquote(m.Value)
			}
		}
	}
	return out
}

const paragraph = "\n\n"

// partsOf reads the parts of content or output in a message of role.
func partsOf(role llm.Role) func(*llm.Part, []byte) error {
	return func(p *llm.Part, v []byte) error { return readItemPart(p, v, role) }
}

// itemPart is one content part on the wire.
type itemPart struct {
	kind                             string
	text, refusal, annotations       []byte
	image, fileID, fileData, fileURL []byte
	filename, detail, audio          []byte
}

func readItemPart(p *llm.Part, v []byte, role llm.Role) (err error) {
	var w itemPart
	for c := dialect.Walk(v); c.Next(); {
		switch name := string(c.Name); name {
		case "type":
			w.kind = itemType(c.Value)
		case "text":
			w.text = c.Value
		case "refusal":
			w.refusal = c.Value
		case "annotations":
			w.annotations = c.Value
		case "image_url":
			w.image = c.Value
		case "file_id":
			w.fileID = c.Value
		case "file_data":
			w.fileData = c.Value
		case "file_url":
			w.fileURL = c.Value
		case "filename":
			w.filename = c.Value
		case "detail":
			w.detail = c.Value
		case "input_audio":
			w.audio = c.Value
		case "prompt_cache_breakpoint":
			p.Cache = cacheMark(name, c.Value)
		case "logprobs":
		default:
			p.Extra = keep(p.Extra, c.Name, c.Value)
		}
	}
	switch w.kind {
	case "input_text", "output_text", "text":
		if unset(w.text) {
			return wrong(p.At+"/text", "a string")
		}
		p.Citations = readAnnotations(w.annotations, "")
		p.Text, err = readText(w.text, p.At+"/text")
		return err
	case "refusal":
		p.Kind = llm.PartRefusal
		p.Text, err = readText(w.refusal, p.At+"/refusal")
		return err
	}
	if role != llm.RoleUser && role != llm.RoleAssistant {
		return wrong(p.At+"/type", "input_text in a message of this role")
	}
	switch w.kind {
	case "input_image", "computer_screenshot":
		p.Kind = llm.PartImage
		return w.readImage(p)
	case "input_file":
		p.Kind = llm.PartDocument
		return w.readFile(p)
	case "input_audio":
		p.Kind = llm.PartAudio
		return readAudio(p, w.audio, p.At+"/input_audio")
	}
	return wrong(p.At+"/type", "one of input_text, input_image, input_file, input_audio, output_text, refusal")
}

func (w *itemPart) readImage(p *llm.Part) (err error) {
	m := &llm.Media{}
	p.Media = m
	if m.Detail, err = readText(w.detail, p.At+"/detail"); err != nil {
		return err
	}
	if unset(w.image) {
		m.FileID, err = readName(w.fileID, p.At+"/image_url")
		return err
	}
	at := p.At + "/image_url"
	mime, data, ok, err := dialect.DataURL(w.image, trimAt(at))
	switch {
	case err != nil:
		return err
	case ok:
		m.Type, m.Data = mime, data
		return nil
	}
	m.URL, err = readName(w.image, at)
	return err
}

func (w *itemPart) readFile(p *llm.Part) (err error) {
	m := &llm.Media{}
	p.Media = m
	if dialect.Filled(w.detail) {
		m.Detail, err = readText(w.detail, p.At+"/detail")
	}
	if err == nil {
		m.Name, err = readText(w.filename, p.At+"/filename")
	}
	switch {
	case err != nil:
		return err
	case !unset(w.fileData):
		return readFileData(p, w.fileData)
	case !unset(w.fileURL):
		m.URL, err = readName(w.fileURL, p.At+"/file_url")
	case !unset(w.fileID):
		m.FileID, err = readName(w.fileID, p.At+"/file_id")
	default:
		return wrong(p.At, "an object with file_data, file_url or file_id")
	}
	return err
}

// readFileData reads base64, as a data URL or bare. Plain text becomes text: more providers take that.
func readFileData(p *llm.Part, v []byte) error {
	m, at := p.Media, trimAt(p.At+"/file_data")
	mime, data, ok, err := dialect.DataURL(v, at)
	if err == nil && !ok {
		data, err = dialect.Base64(v, at)
	}
	if err != nil {
		return err
	}
	if m.Type, m.Data = mime, data; mime == "" {
		if m.Type = "application/pdf"; strings.HasSuffix(strings.ToLower(m.Name), ".txt") {
			m.Type = "text/plain"
		}
	}
	if m.Name == defaultFileName(m.Type) {
		m.Name = "" // ours
	}
	switch {
	case strings.HasPrefix(m.Type, "image/"):
		p.Kind = llm.PartImage
	case strings.HasPrefix(m.Type, "audio/"):
		p.Kind = llm.PartAudio
	case strings.HasPrefix(m.Type, "video/"):
		p.Kind = llm.PartVideo
	case m.Type == "text/plain":
		if b, err := base64.StdEncoding.DecodeString(string(data)); err == nil && len(b) > 0 {
			m.Text, m.Data = string(b), nil
		}
	}
	return nil
}

// defaultFileName is the name of a file that has none: the API demands one.
func defaultFileName(mime string) string {
	switch {
	case mime == "application/pdf" || mime == "":
		return "document.pdf"
	case strings.HasPrefix(mime, "text/"):
		return "document.txt"
	}
	return "document"
}

// readAnnotations reads the annotations of a text: where it comes from.
func readAnnotations(v []byte, scope string) []llm.Citation {
	if !dialect.Filled(v) || v[0] != '[' {
		return nil
	}
	var out []llm.Citation
	for c := dialect.Walk(v); c.Next(); {
		var a llm.Citation
		kind := ""
		for m := dialect.Walk(c.Value); m.Next(); {
			switch string(m.Name) {
			case "type":
				kind = word(m.Value)
			case "url":
				a.URL = word(m.Value)
			case "title":
				a.Title = word(m.Value)
			case "filename":
				a.Title = word(m.Value)
			case "file_id":
				a.File = word(m.Value)
			case "start_index":
				if n, ok := dialect.Int(m.Value); ok {
					a.Start = llm.Some(n)
				}
			case "end_index":
				if n, ok := dialect.Int(m.Value); ok {
					a.End = llm.Some(n)
				}
			}
		}
		a.Opaque = &llm.Opaque{Origin: llm.OpenAIResponses, Scope: scope, Type: kind, JSON: oneLine(append([]byte(nil), c.Value...))}
		out = append(out, a)
	}
	return out
}
