package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"sync"
)

// Hasher makes the salted hashes that stand in records for what must not be there. Each tenant has
// its own salt, derived from the mesh's pepper, so equal prompts of two tenants do not show.
// Safe for concurrent use.
type Hasher struct {
	pepper []byte
	salted sync.Map // tenant (string) -> *sync.Pool of *keyed under its salt
}

// NewHasher takes the mesh's pepper.
func NewHasher(pepper []byte) *Hasher {
	// A derived key, so that these hashes share nothing with the key lookup's.
	return &Hasher{pepper: mac(pepper, "causeway audit salt v1")}
}

// Prompt begins the hash of a request body: HMAC-SHA256 under the tenant's salt. It is written to
// piece by piece, so that it is done when the body has arrived: 100 KB cost about 60 us where the CPU
// has SHA extensions.
func (h *Hasher) Prompt(tenant string) *Prompt { return &Prompt{m: h.begin(tenant, "prompt")} }

// Prompt is the hash of a request body that is being read. It belongs to one goroutine.
type Prompt struct{ m *keyed }

// Write adds the next bytes. It never fails.
func (p *Prompt) Write(b []byte) (int, error) { return p.m.Write(b) }

// Sum ends the hash; p must not be used after it.
func (p *Prompt) Sum() Hash { return p.m.end() }

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
	m := h.begin(tenant, domain)
	m.Write(data)
	return m.end()
}

func (h *Hasher) begin(tenant, domain string) *keyed {
	p, ok := h.salted.Load(tenant)
	if !ok {
		salt := mac(h.pepper, tenant)
		p, _ = h.salted.LoadOrStore(tenant, &sync.Pool{New: func() any { return &keyed{Hash: hmac.New(sha256.New, salt)} }})
	}
	pool := p.(*sync.Pool)
	m := pool.Get().(*keyed)
	m.pool = pool
	m.Reset()
	m.head = append(append(m.head[:0], domain...), 0)
	m.Write(m.head)
	return m
}

// keyed is an HMAC that is used again and again: setting one up costs as much as a short text.
type keyed struct {
	hash.Hash
	pool *sync.Pool
	head []byte
	sum  Hash
}

func (m *keyed) end() Hash {
	m.Sum(m.sum[:0])
	out := m.sum
	m.pool.Put(m)
	return out
}

func mac(key []byte, data string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(data))
	return m.Sum(nil)
}
