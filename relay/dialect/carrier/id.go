package carrier

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// MaxID is the longest tool-call id that every provider takes (protocols.md 2.6).
const MaxID = 40

const (
	madePrefix    = "call_cw" // made by CallID
	escapedPrefix = "cwx_"    // base64url of an id with characters that some provider refuses
	hashedPrefix  = "cwh_"    // hash of an id that is too long
)

// CallID makes the id of a call whose provider gave none: the same for the same answer (seed: the
// provider's response id, or ours), choice or message, and part number.
func CallID(seed string, choice, part int) string {
	h := sha256.Sum256([]byte(seed + "\x00" + strconv.Itoa(choice) + "\x00" + strconv.Itoa(part)))
	return madePrefix + hex.EncodeToString(h[:12])
}

// Made reports whether id comes from CallID: Gemini, where ids are optional, need not get it.
func Made(id string) bool {
	if len(id) != len(madePrefix)+24 || !strings.HasPrefix(id, madePrefix) {
		return false
	}
	for _, c := range id[len(madePrefix):] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ID is id as a provider or client of dialect d takes it: unchanged when it fits ([a-zA-Z0-9_-], at
// most MaxID; anything goes at Gemini, so there an escaped id becomes the original again), else escaped
// reversibly, else, when too long, hashed. The same id always becomes the same, so calls and results
// stay together; ID(ID(x)) is ID(x), so an id that a client echoes stays what it is. Encoders of
// requests and of answers use it, decoders leave ids as they are.
func ID(d llm.Dialect, id string) string {
	if d == llm.Gemini {
		return Original(id)
	}
	if fits(id) && (Original(id) != id || !reserved(id)) {
		return id
	}
	if e := escapedPrefix + base64.RawURLEncoding.EncodeToString([]byte(id)); len(e) <= MaxID {
		return e
	}
	h := sha256.Sum256([]byte(id))
	return hashedPrefix + hex.EncodeToString(h[:16])
}

// Original undoes ID where it is reversible; any other id is returned as it is.
func Original(id string) string {
	e, ok := strings.CutPrefix(id, escapedPrefix)
	if !ok || len(id) > MaxID {
		return id
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(e)
	if err != nil || fits(string(b)) && !reserved(string(b)) {
		return id // not one of ours: ID leaves such ids alone
	}
	return string(b)
}

// Nine is id in nine letters and digits: unchanged when it is that already, else a hash of it, so that
// calls and results stay together (mistralai/mistral-common, validator.py; anomalyco/opencode #1680).
func Nine(id string) string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	const length = 9
	if len(id) == length && strings.Trim(id, letters) == "" {
		return id
	}
	h := sha256.Sum256([]byte(id))
	var b [length]byte
	for i := range b {
		b[i] = letters[int(h[i])%len(letters)]
	}
	return string(b[:])
}

// reserved ids would be read as escaped ones.
func reserved(id string) bool { return strings.HasPrefix(id, escapedPrefix) }

func fits(id string) bool {
	if id == "" || len(id) > MaxID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

func isObject(b []byte) bool {
	return len(b) > 1 && b[0] == '{' && jsontext.Value(b).IsValid()
}
