package edge

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/node/view"
)

// tokens bind what providers give out to a tenant and an account, without any state: every edge of the
// mesh has the pepper, and nobody else.
type tokens struct {
	pepper string
	mac    []byte
	seal   cipher.AEAD
}

func newTokens(pepper []byte) *tokens {
	derive := func(purpose string) []byte {
		k, err := hkdf.Key(sha256.New, pepper, nil, "causeway "+purpose, 32)
		if err != nil {
			panic(err) // only for lengths that SHA-256 cannot give
		}
		return k
	}
	block, err := aes.NewCipher(derive("sealed urls 1"))
	if err != nil {
		panic(err) // only for other key lengths
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &tokens{pepper: string(pepper), mac: derive("marked ids 1"), seal: aead}
}

// tokens gives those of the snapshot's pepper, made once per pepper.
func (s *Server) tokens(x *exchange) *tokens {
	pepper := x.snapshot.Pepper()
	if t := s.bindings.Load(); t != nil && t.pepper == string(pepper) {
		return t
	}
	t := newTokens(pepper)
	s.bindings.Store(t)
	return t
}

// A mark follows an id: "_cw" and 128 bits of a keyed hash over tenant, account and id. It is fit for
// paths and JSON strings as it is.
const (
	markStart = "_cw"
	markLen   = len(markStart) + 22
)

func (t *tokens) mark(tenant, provider, id string) string {
	m := hmac.New(sha256.New, t.mac)
	var n [8]byte
	for _, s := range [...]string{tenant, provider, id} {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		m.Write(n[:])
		m.Write([]byte(s))
	}
	return markStart + base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:16])
}

// unmark gives the provider's own id and the account that it belongs to. It fails for what this tenant
// was not given, forged or not.
func (t *tokens) unmark(tenant, id string, among []*view.Provider) (string, *view.Provider, bool) {
	at := len(id) - markLen
	if at <= 0 || !strings.HasPrefix(id[at:], markStart) {
		return "", nil, false
	}
	raw, mark := id[:at], []byte(id[at:])
	for _, p := range among {
		if hmac.Equal([]byte(t.mark(tenant, p.ID, raw)), mark) {
			return raw, p, true
		}
	}
	return "", nil, false
}

// sealedFor is how long a sealed URL may be used: the vendors' own end sooner.
const sealedFor = 48 * time.Hour

// sealURL hides where an upload goes on: the account and the path there with its query, which may hold
// more than the client should see.
func (t *tokens) sealURL(tenant, provider, target string, now time.Time) string {
	plain := binary.BigEndian.AppendUint64(nil, uint64(now.Add(sealedFor).Unix()))
	plain = append(plain, provider...)
	plain = append(append(plain, 0), target...)
	nonce := make([]byte, t.seal.NonceSize(), t.seal.NonceSize()+len(plain)+t.seal.Overhead())
	rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(t.seal.Seal(nonce, nonce, plain, []byte(tenant)))
}

func (t *tokens) openURL(tenant, token string, now time.Time) (provider, target string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < t.seal.NonceSize() {
		return "", "", false
	}
	plain, err := t.seal.Open(nil, b[:t.seal.NonceSize()], b[t.seal.NonceSize():], []byte(tenant))
	if err != nil || len(plain) < 8 || now.Unix() > int64(binary.BigEndian.Uint64(plain)) {
		return "", "", false
	}
	provider, target, ok = strings.Cut(string(plain[8:]), "\x00")
	return provider, target, ok
}
