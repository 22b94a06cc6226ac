package gemini

import (
	"bytes"
	"net/url"
	"path"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func decodeSystem(r *llm.Request, v []byte, at string) error {
	var f [2]llm.Raw
	extra, err := fields(v, at, []string{"role", "parts"}, f[:])
	if err != nil || f[1] == nil {
		return err
	}
	m := llm.Message{Role: llm.RoleSystem, At: at, Extra: extra}
	err = list(f[1], at+"/parts", func(v []byte, at string) error {
		p, err := readPart(v, at)
		if err != nil {
			return err
		}
		if p.Kind != llm.PartText {
			return bad(at, "text")
		}
		m.Parts = append(m.Parts, p.Part)
		return nil
	})
	r.Messages = append(r.Messages, m)
	return err
}

// decodeContent reads one turn. Consecutive model contents become one message: Google's SDKs for Go
// and JavaScript keep a streamed answer as one content a chunk. So do parts of one kind: thoughts must
// go back to other vendors as the whole that was signed.
func (t *turns) decodeContent(v []byte, at string) error {
	r := t.r
	var f [2]llm.Raw
	extra, err := fields(v, at, []string{"role", "parts"}, f[:])
	if err != nil {
		return err
	}
	role, err := str(f[0], at+"/role")
	if err != nil {
		return err
	}
	switch role {
	case "model":
		if n := len(r.Messages); n == 0 || r.Messages[n-1].Role != llm.RoleAssistant {
			r.Messages = append(r.Messages, llm.Message{Role: llm.RoleAssistant, At: at})
		}
		m := &r.Messages[len(r.Messages)-1]
		m.Extra = append(m.Extra, extra...)
		return list(f[1], at+"/parts", func(v []byte, at string) error {
			// The empty text that ended a stream comes back so from Google's SDK for Go, which leaves
			// out empty strings.
			if emptyObject(v) {
				return nil
			}
			p, err := readPart(v, at)
			if err != nil {
				return err
			}
			if p.Kind == llm.PartResult {
				return bad(at, "in a user content: the model gives no function responses")
			}
			t.add(m, p)
			return nil
		})
	case "user", "", "function":
	default:
		return bad(at+"/role", "user or model")
	}
	t.flush()
	user := llm.Message{Role: llm.RoleUser, At: at, Extra: extra}
	results := llm.Message{Role: llm.RoleTool, At: at}
	err = list(f[1], at+"/parts", func(v []byte, at string) error {
		p, err := readPart(v, at)
		if err != nil {
			return err
		}
		p.seal(&p.Part)
		switch {
		case p.Kind == llm.PartResult:
			results.Parts = append(results.Parts, p.Part)
		case p.Kind == llm.PartCall || p.Kind == llm.PartThinking:
			return bad(at, "in a model content")
		case p.Kind == llm.PartOpaque && p.unknown:
			return bad(at, "of a known type")
		default:
			user.Parts = append(user.Parts, p.Part)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if results.Parts != nil {
		r.Messages = append(r.Messages, results)
	}
	if user.Parts != nil || results.Parts == nil {
		r.Messages = append(r.Messages, user)
	}
	return nil
}

func emptyObject(v []byte) bool {
	return len(v) > 1 && v[0] == '{' && len(bytes.TrimSpace(v[1:len(v)-1])) == 0
}

// turns reads contents into the messages of r.
type turns struct {
	r    *llm.Request
	tail []byte // text of the last part, when it grew beyond that part's Text
}

func (t *turns) flush() {
	if len(t.tail) > 0 {
		ps := t.r.Messages[len(t.r.Messages)-1].Parts
		ps[len(ps)-1].Text = string(t.tail)
		t.tail = t.tail[:0]
	}
}

// wirePart is a part with its signature, which may be a carrier of something else.
type wirePart struct {
	llm.Part
	signature []byte
	unknown   bool
}

var partNames = []string{
	"text", "inlineData", "fileData", "functionCall", "functionResponse",
	"executableCode", "codeExecutionResult", "toolCall", "toolResponse",
	"thought", "thoughtSignature",
}

const (
	partText = iota
	partInline
	partFile
	partCall
	partResponse
	partOpaque       // and the three after it
	partThought      = 9
	partSignature    = 10
	partDataKindsEnd = 9
)

// readPart reads a part of a request or an answer. It copies nothing but text. Unknown members inside
// its data are in Extra as "functionCall/name".
func readPart(v []byte, at string) (wirePart, error) {
	var f [11]llm.Raw
	var p wirePart
	extra, err := fields(v, at, partNames, f[:])
	if err != nil {
		return p, err
	}
	p.At, p.Extra = at, extra
	kind := -1
	for i := range partDataKindsEnd {
		if f[i] == nil {
			continue
		}
		if kind >= 0 {
			return p, bad(at, "of one type: it has "+partNames[kind]+" and "+partNames[i])
		}
		kind = i
	}
	thought, err := boolean(f[partThought], at+"/thought")
	if err != nil {
		return p, err
	}
	if sig := f[partSignature]; sig != nil {
		s, err := str(sig, at+"/thoughtSignature")
		if err != nil {
			return p, err
		}
		p.signature = []byte(s)
	}
	switch kind {
	case partText:
		if thought.V {
			p.Kind = llm.PartThinking
		}
		p.Text, err = str(f[partText], at+"/text")
	case partInline:
		err = p.inline(f[partInline], at+"/inlineData")
	case partFile:
		err = p.file(f[partFile], at+"/fileData")
	case partCall:
		err = p.call(f[partCall], at+"/functionCall")
	case partResponse:
		err = p.result(f[partResponse], at+"/functionResponse")
	case -1:
		switch {
		case p.signature != nil:
			if thought.V {
				p.Kind = llm.PartThinking
			}
		case len(extra) > 0:
			p.opaque(v, extra[0].Name)
			p.unknown = true
		default:
			return p, bad(at, "of some type: it is empty")
		}
	default:
		p.opaque(v, partNames[kind])
	}
	return p, err
}

// opaque keeps the part whole; its signature and unknown members are inside.
func (p *wirePart) opaque(v []byte, name string) {
	p.Kind, p.signature, p.Extra = llm.PartOpaque, nil, nil
	p.Opaque = &llm.Opaque{Origin: llm.Gemini, Type: name, JSON: v}
}

func (p *wirePart) inline(v []byte, at string) error {
	var f [3]llm.Raw
	extra, err := fields(v, at, []string{"mimeType", "data", "displayName"}, f[:])
	if err != nil {
		return err
	}
	m := &llm.Media{}
	p.Media, p.Extra = m, appendExtra(p.Extra, partNames[partInline]+"/", extra)
	if m.Type, err = str(f[0], at+"/mimeType"); err != nil {
		return err
	}
	if m.Name, err = str(f[2], at+"/displayName"); err != nil {
		return err
	}
	p.Kind = mediaKind(m.Type)
	m.Data, err = dialect.Base64(f[1], strings.TrimPrefix(at, "/")+"/data")
	return err
}

func (p *wirePart) file(v []byte, at string) error {
	var f [3]llm.Raw
	extra, err := fields(v, at, []string{"mimeType", "fileUri", "displayName"}, f[:])
	if err != nil {
		return err
	}
	m := &llm.Media{}
	p.Media, p.Extra = m, appendExtra(p.Extra, partNames[partFile]+"/", extra)
	if m.Type, err = str(f[0], at+"/mimeType"); err != nil {
		return err
	}
	if m.Name, err = str(f[2], at+"/displayName"); err != nil {
		return err
	}
	uri, err := str(f[1], at+"/fileUri")
	if err != nil {
		return err
	}
	if uri == "" {
		return bad(at+"/fileUri", "given")
	}
	if vendorFile(uri) {
		m.FileID = uri
	} else {
		m.URL = uri
	}
	switch {
	case m.Type != "":
		p.Kind = mediaKind(m.Type)
	case youtube(uri):
		p.Kind = llm.PartVideo
	default:
		p.Kind = mediaKind(typeByName(uri))
	}
	return nil
}

// vendorFile tells uploads at the vendor from files anywhere.
func vendorFile(uri string) bool {
	return strings.HasPrefix(uri, "https://generativelanguage.googleapis.com/") || strings.HasPrefix(uri, "files/")
}

func youtube(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	switch strings.TrimPrefix(u.Hostname(), "www.") {
	case "youtube.com", "youtu.be", "m.youtube.com":
		return u.Scheme == "https" || u.Scheme == "http"
	}
	return false
}

func mediaKind(mime string) llm.PartKind {
	family, _, _ := strings.Cut(mime, "/")
	switch family {
	case "image":
		return llm.PartImage
	case "audio":
		return llm.PartAudio
	case "video":
		return llm.PartVideo
	}
	return llm.PartDocument
}

// typeByName guesses a MIME type from the end of a file name or URL; "" = no idea.
func typeByName(name string) string {
	if u, err := url.Parse(name); err == nil {
		name = u.Path
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".png":
		return "image/png"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".webp":
		return "image/webp"
	case ".gif":
		return "image/gif"
	case ".heic":
		return "image/heic"
	case ".pdf":
		return "application/pdf"
	case ".txt", ".md":
		return "text/plain"
	case ".csv":
		return "text/csv"
	case ".wav":
		return "audio/wav"
	case ".mp3":
		return "audio/mp3"
	case ".mp4":
		return "video/mp4"
	case ".mov":
		return "video/quicktime"
	case ".webm":
		return "video/webm"
	}
	return ""
}

func (p *wirePart) call(v []byte, at string) error {
	var f [3]llm.Raw
	extra, err := fields(v, at, []string{"id", "name", "args"}, f[:])
	if err != nil {
		return err
	}
	p.Kind, p.Extra = llm.PartCall, appendExtra(p.Extra, partNames[partCall]+"/", extra)
	if p.ID, err = str(f[0], at+"/id"); err != nil {
		return err
	}
	if p.Name, err = str(f[1], at+"/name"); err != nil {
		return err
	}
	if f[2] != nil {
		if f[2][0] != '{' {
			return bad(at+"/args", "an object")
		}
		p.Text = tidy(f[2])
	}
	return nil
}

// result reads a function response. The vendor's rule: output is what the function gave, error what
// went wrong, and without these the whole object is the output.
func (p *wirePart) result(v []byte, at string) error {
	var f [4]llm.Raw
	extra, err := fields(v, at, []string{"id", "name", "response", "parts"}, f[:])
	if err != nil {
		return err
	}
	p.Kind, p.Extra = llm.PartResult, appendExtra(p.Extra, partNames[partResponse]+"/", extra)
	if p.ID, err = str(f[0], at+"/id"); err != nil {
		return err
	}
	if p.Name, err = str(f[1], at+"/name"); err != nil {
		return err
	}
	if r := f[2]; r != nil {
		if r[0] != '{' {
			return bad(at+"/response", "an object")
		}
		text := tidy(r)
		c := dialect.Walk(r)
		if c.Next() {
			name, value := string(c.Name), c.Value
			if !c.Next() {
				switch {
				case (name == "output" || name == "error") && value[0] == '"':
					text, p.IsError = dialect.Unquote(value), name == "error"
				case name == "error" && value[0] == '{':
					text, p.IsError = tidy(value), true
				}
			}
		} else {
			text = ""
		}
		if text != "" {
			p.Content = append(p.Content, llm.Part{Kind: llm.PartText, Text: text, At: at + "/response"})
		}
	}
	return list(f[3], at+"/parts", func(v []byte, at string) error {
		q, err := readPart(v, at)
		if err != nil {
			return err
		}
		if q.Media == nil {
			return bad(at, "inlineData or fileData")
		}
		p.Content = append(p.Content, q.Part)
		return nil
	})
}

// seal is the signature as q's own, unless it is a carrier of something else. A damaged carrier stays
// in Extra, so that it is reported and never sent.
func (p *wirePart) seal(q *llm.Part) (c carrier.Carried, carried bool) {
	if len(p.signature) == 0 {
		return c, false
	}
	if c, ok := carrier.Decode(p.signature); ok {
		if c.Use == carrier.Own || c.Use == carrier.Redacted && q.Kind == llm.PartThinking {
			q.Seal, q.Redacted = c.Seal, c.Use == carrier.Redacted
		}
		return c, true
	}
	if carrier.Looks(p.signature) {
		q.Extra = append(q.Extra, llm.Member{Name: signatureName, Value: llm.Raw(dialect.Quote(string(p.signature)))})
		return c, false
	}
	q.Seal = &llm.Seal{Origin: llm.Gemini, Data: bytes.Clone(p.signature)}
	return c, false
}

const signatureName = "thoughtSignature"

// add adds a part of the model's turn to m, the last message: pieces of one text or thought become one
// again, and what a carrier holds goes to the part it belongs to.
func (t *turns) add(m *llm.Message, w wirePart) {
	p := w.Part
	c, carried := w.seal(&p)
	if carried {
		t.flush()
		t.unpack(m, c, &p)
	}
	if (p.Kind == llm.PartText || p.Kind == llm.PartThinking) && p.Extra == nil {
		if p.Text == "" && p.Seal == nil {
			return
		}
		if n := len(m.Parts); n > 0 && !carried {
			last := &m.Parts[n-1]
			if last.Kind == p.Kind && last.Seal == nil && last.Extra == nil {
				if len(t.tail) == 0 {
					t.tail = append(t.tail, last.Text...)
				}
				t.tail = append(t.tail, p.Text...)
				last.Seal = p.Seal
				return
			}
		}
	}
	t.flush()
	m.Parts = append(m.Parts, p)
}

// unpack gives what the carrier on p holds to the part before, or makes that part.
func (*turns) unpack(m *llm.Message, c carrier.Carried, p *llm.Part) {
	n := len(m.Parts)
	switch c.Use {
	case carrier.Prev:
		bare := p.Text == "" && p.Kind <= llm.PartThinking
		if n > 0 && m.Parts[n-1].Seal == nil && (bare || m.Parts[n-1].Kind == llm.PartThinking) {
			m.Parts[n-1].Seal = c.Seal
			return
		}
		if p.Kind == llm.PartThinking && !bare { // a client that joins the thoughts of a stream
			p.Seal = c.Seal
			return
		}
		m.Parts = append(m.Parts, llm.Part{Kind: llm.PartThinking, Seal: c.Seal, At: p.At})
	case carrier.Part:
		m.Parts = append(m.Parts, llm.Part{Kind: llm.PartOpaque, Opaque: c.Opaque, At: p.At})
	case carrier.Redacted:
		if !p.Redacted {
			m.Parts = append(m.Parts, llm.Part{Kind: llm.PartThinking, Redacted: true, Seal: c.Seal, At: p.At})
		}
	}
}
