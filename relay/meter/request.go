package meter

import (
	"bytes"
	"encoding/base64"
	"image"
	_ "image/gif" // formats whose size tells the tokens
	_ "image/jpeg"
	_ "image/png"
	"strings"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// What OpenAI's models spend on the frame of a request, beside its texts: the vendor's cookbook on
// counting, and a fit to recorded answers.
const (
	answerTokens  = 3 // that open the answer
	messageTokens = 4
	callTokens    = 8
	toolsTokens   = 8 // once, where there are any
	toolTokens    = 7
	lowDetail     = 85 // an image, and the base of a detailed one
	tileTokens    = 170
	pageTokens    = 1000
	pageBytes     = 50 << 10
	officeBytes   = 64   // of one token
	audioBytes    = 1600 // of one token: 100 ms of 128 kbit/s
)

// Request estimates the input tokens of a request by the rules of OpenAI's models, which most servers
// that speak Chat Completions are near to. Thinking in the history is left out: those servers do not
// get it back.
func Request(r *llm.Request) int64 {
	n := int64(answerTokens)
	for i := range r.Messages {
		m := &r.Messages[i]
		if m.Role != llm.RoleTool {
			n += messageTokens + Count(m.Name)
		}
		for j := range m.Parts {
			n += part(&m.Parts[j])
		}
	}
	if len(r.Tools) > 0 {
		n += toolsTokens
	}
	for i := range r.Tools {
		t := &r.Tools[i]
		n += toolTokens + Count(t.Name) + Count(t.Description) + schema(t.Schema)
	}
	return n + schema(r.Format.Schema)
}

// schema is what a JSON Schema costs: the vendor shows it to the model in a shorter notation.
func schema(s llm.Raw) int64 { return Count(s) * 2 / 5 }

func part(p *llm.Part) int64 {
	switch p.Kind {
	case llm.PartThinking, llm.PartOpaque:
		return 0
	case llm.PartCall:
		return callTokens + Count(p.Name) + Count(p.Text)
	case llm.PartResult:
		n := int64(messageTokens)
		for i := range p.Content {
			n += part(&p.Content[i])
		}
		return n
	case llm.PartImage:
		return picture(p.Media)
	case llm.PartDocument:
		return document(p.Media)
	case llm.PartAudio, llm.PartVideo:
		return 1 + decoded(p.Media)/audioBytes
	}
	return Count(p.Text)
}

// document is a guess from the size where the text lies in a format of its own: of PDF the model gets
// text and a picture of each page, of office files, which are compressed, only the text.
func document(m *llm.Media) int64 {
	switch {
	case m.Text != "":
		return Count(m.Text)
	case strings.HasPrefix(m.Type, "text/"):
		return decoded(m) / 4
	case m.Type == "application/pdf", len(m.Data) == 0:
		return pageTokens * max(1, decoded(m)/pageBytes)
	}
	return decoded(m) / officeBytes
}

func decoded(m *llm.Media) int64 { return int64(len(m.Data)) * 3 / 4 }

// picture is what the vendor's guide on images says: scaled into 2048 x 2048, then to a shorter side
// of 768, then cut into tiles of 512. What cannot be measured counts as 1024 x 1024.
func picture(m *llm.Media) int64 {
	if m.Detail == "low" {
		return lowDetail
	}
	w, h := 1024, 1024
	if c, _, err := image.DecodeConfig(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(m.Data))); err == nil && c.Width > 0 && c.Height > 0 {
		w, h = c.Width, c.Height
	}
	scale := min(1, 2048/float64(max(w, h)))
	scale = min(scale, 768/float64(min(w, h)))
	return lowDetail + tileTokens*tiles(w, scale)*tiles(h, scale)
}

func tiles(side int, scale float64) int64 { return (max(1, int64(float64(side)*scale)) + 511) / 512 }
