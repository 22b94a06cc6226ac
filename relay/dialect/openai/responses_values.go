package openai

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// oneLine is JSON without line breaks, as an SSE data line needs it.
func oneLine(v []byte) []byte {
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 {
		return v
	}
	d := jsontext.Value(append([]byte(nil), v...))
	if d.Compact() != nil {
		return []byte("null")
	}
	return d
}

// audioFormat is OpenAI's name of an audio MIME type; "" for one that it does not take.
func audioFormat(mime string) string {
	switch mime {
	case "audio/mpeg", "audio/mp3":
		return "mp3"
	case "audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave":
		return "wav"
	}
	return ""
}

// Ids that we give to answers and items say so, to tell them from the vendor's own.
const (
	responsePrefix = "resp_"
	madeMark       = "cw"
)

// itemPrefix is how the ids of a part's item must begin.
func itemPrefix(p *llm.Part) string {
	switch {
	case p.Kind == llm.PartThinking:
		return "rs_"
	case p.Kind == llm.PartCall && p.Custom:
		return "ctc_"
	case p.Kind == llm.PartCall:
		return "fc_"
	case p.Kind == llm.PartImage:
		return "ig_"
	}
	return "msg_"
}

// idSeed is what all ids of one answer have in common.
func idSeed(providerID, requestID string) string {
	if providerID == "" {
		providerID = requestID
	}
	h := sha256.Sum256([]byte(providerID))
	return hex.EncodeToString(h[:16])
}

// responseID is the vendor's own id where there is one, else made of the seed.
func responseID(providerID, seed string) string {
	if strings.HasPrefix(providerID, responsePrefix) {
		return providerID
	}
	return responsePrefix + madeMark + seed
}

func itemID(prefix, seed string, index int) string {
	return prefix + madeMark + seed + strconv.Itoa(index)
}

// madeID reports whether itemID made id.
func madeID(id string) bool {
	_, rest, ok := strings.Cut(id, "_")
	return ok && strings.HasPrefix(rest, madeMark) && len(rest) > len(madeMark)+32
}
