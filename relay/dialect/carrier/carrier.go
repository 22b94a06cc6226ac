// Package carrier takes what only one vendor understands (signatures, encrypted reasoning, whole
// blocks) through clients of another protocol and back, byte for byte, inside fields that those
// clients echo unread. A carrier says where its content came from, so that it is never sent to
// another vendor; what is not exactly a carrier is the client's vendor's own and stays as it is.
// It also keeps tool-call ids within the limits of every protocol.
package carrier

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// Layout, before base64: magic (6), origin (1), use (1), scope length (1), scope, data, CRC-32C (4,
// big endian) over all before. Standard base64 with padding on the way out, because a Gemini
// thoughtSignature must be base64; the URL alphabet and no padding are read too, because Google's
// SDKs decode and encode it again. Origin and use numbers are append-only; a new layout gets a new
// magic, and old relays then drop it as foreign.
const (
	magic    = "cwcar1"
	prefix   = "Y3djYXIx" // magic in base64
	overhead = len(magic) + 3 + 4
	// MaxLen bounds a carrier's text; longer ones are not read.
	MaxLen = 8 << 20
)

// Use says what a carrier's data is.
type Use uint8

// Uses.
const (
	// Own is the seal of the thinking part that the carrier stands in.
	Own Use = 1
	// Next is the seal of the part after it: an Anthropic client gets a Gemini call's signature in an
	// empty thinking block before the call.
	Next Use = 2
	// Prev is the seal of the part before it, for seals that come when that part has been written.
	Prev Use = 3
	// Redacted is the seal of a redacted thinking part.
	Redacted Use = 4
	// Part is a whole opaque part: data is its type name, a zero byte, and its JSON.
	Part Use = 5
)

// String names u for tests.
func (u Use) String() string {
	switch u {
	case Own:
		return "own"
	case Next:
		return "next"
	case Prev:
		return "prev"
	case Redacted:
		return "redacted"
	case Part:
		return "part"
	default:
		return "unknown"
	}
}

// Carried is the content of a carrier.
type Carried struct {
	Use    Use
	Seal   *llm.Seal   // Own, Next, Prev, Redacted
	Opaque *llm.Opaque // Part
}

// Encode is the carrier of s.
func Encode(u Use, s *llm.Seal) string { return encode(u, s.Origin, s.Scope, nil, s.Data) }

// EncodePart is the carrier of a whole opaque part.
func EncodePart(o *llm.Opaque) string {
	return encode(Part, o.Origin, o.Scope, append([]byte(o.Type), 0), o.JSON)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encode(u Use, origin llm.Dialect, scope string, head, data []byte) string {
	scope = scope[:min(len(scope), 255)]
	b := make([]byte, 0, overhead+len(scope)+len(head)+len(data))
	b = append(b, magic...)
	b = append(b, originByte(origin), byte(u), byte(len(scope)))
	b = append(b, scope...)
	b = append(b, head...)
	b = append(b, data...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return base64.StdEncoding.EncodeToString(b)
}

// Decode reads a carrier. ok is false for anything else, also for a damaged one, and then text means
// what it means in the client's own protocol. A damaged carrier still begins like one: Looks tells,
// and such text must be dropped as a loss, not forwarded.
func Decode(text []byte) (c Carried, ok bool) {
	if !Looks(text) || len(text) > MaxLen {
		return c, false
	}
	b := make([]byte, len(text))
	for i, t := range text { // one alphabet
		switch t {
		case '-':
			t = '+'
		case '_':
			t = '/'
		}
		b[i] = t
	}
	b = bytes.TrimRight(b, "=")
	n, err := base64.RawStdEncoding.Strict().Decode(b, b)
	b = b[:n]
	if err != nil || len(b) < overhead {
		return c, false
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return c, false
	}
	origin, use, scopeLen := originOf(body[6]), Use(body[7]), int(body[8])
	rest := body[9:]
	if origin == "" || len(rest) < scopeLen {
		return c, false
	}
	scope, data := string(rest[:scopeLen]), rest[scopeLen:]
	switch use {
	case Own, Next, Prev, Redacted:
		return Carried{Use: use, Seal: &llm.Seal{Origin: origin, Scope: scope, Data: data}}, true
	case Part:
		name, json, found := bytes.Cut(data, []byte{0})
		if !found || !isObject(json) {
			return c, false
		}
		return Carried{Use: use, Opaque: &llm.Opaque{Origin: origin, Scope: scope, Type: string(name), JSON: json}}, true
	}
	return c, false
}

// Looks reports whether text begins like a carrier, whole or damaged, of this or a later version.
func Looks(text []byte) bool { return bytes.HasPrefix(text, []byte(prefix[:6])) }

// Within reports whether a request body holds a carrier: its history was answered by a provider of
// another dialect, so it may not pass to the client's own unread.
func Within(body []byte) bool { return bytes.Contains(body, []byte(prefix[:6])) }

// SealOf reads a field in which a client of dialect own echoes seals: a carrier's seal, or the text
// itself as own's. nil = empty, a damaged carrier, or a carrier of something else.
func SealOf(own llm.Dialect, text []byte) (*llm.Seal, Use) {
	if c, ok := Decode(text); ok {
		return c.Seal, c.Use
	}
	if len(text) == 0 || Looks(text) {
		return nil, Own
	}
	return &llm.Seal{Origin: own, Data: bytes.Clone(text)}, Own
}

// Text is what a client of dialect d gets of s: d's own seal as it is, another's in a carrier. A
// scope is kept by carrying d's own seal too.
func Text(d llm.Dialect, u Use, s *llm.Seal) string {
	if s.Origin == d && s.Scope == "" && (u == Own || u == Redacted) {
		return string(s.Data)
	}
	return Encode(u, s)
}

func originByte(d llm.Dialect) byte {
	for i, k := range llm.Dialects {
		if k == d {
			return byte(i + 1)
		}
	}
	return 0
}

func originOf(b byte) llm.Dialect {
	if b == 0 || int(b) > len(llm.Dialects) {
		return ""
	}
	return llm.Dialects[b-1]
}
