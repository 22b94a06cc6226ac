package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
)

// Hasher makes the salted hashes that stand in records for what must not be there. Each tenant has
// its own salt, derived from the mesh's pepper, so equal prompts of two tenants do not show.
// Safe for concurrent use.
type Hasher struct {
	pepper []byte
	salts  sync.Map // tenant (string) -> salt (*[32]byte)
}

// NewHasher takes the mesh's pepper.
func NewHasher(pepper []byte) *Hasher {
	// A derived key, so that these hashes share nothing with the key lookup's.
	return &Hasher{pepper: mac(pepper, "causeway audit salt v1")}
}

// Prompt is HMAC-SHA256 of a request body under the tenant's salt. It reads the whole body: about
// 60 us for 100 KB where the CPU has SHA extensions.
func (h *Hasher) Prompt(tenant string, body []byte) Hash { return h.sum(tenant, "prompt", body) }

// Subject is the pseudonym of an end user; zero for "".
func (h *Hasher) Subject(tenant, subject string) Hash {
	if subject == "" {
		return Hash{}
	}
	return h.sum(tenant, "subject", []byte(subject))
}

// Equal compares in constant time.
func (h Hash) Equal(o Hash) bool { return subtle.ConstantTimeCompare(h[:], o[:]) == 1 }

func (h *Hasher) sum(tenant, domain string, data []byte) Hash {
	salt, ok := h.salts.Load(tenant)
	if !ok {
		salt, _ = h.salts.LoadOrStore(tenant, (*[32]byte)(mac(h.pepper, tenant)))
	}
	m := hmac.New(sha256.New, salt.(*[32]byte)[:])
	m.Write([]byte(domain))
	m.Write([]byte{0})
	m.Write(data)
	var out Hash
	m.Sum(out[:0])
	return out
}

func mac(key []byte, data string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(data))
	return m.Sum(nil)
}
