// Package seal keeps secrets unreadable at rest. A Sealer encrypts what Raft replicates (provider
// credentials, the CA key, the pepper) under one key-encryption key that lives in a file beside the
// log; HashKey turns a client's key into what edges compare; Fingerprint is what people may see.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// KEKSize is the length of a key-encryption key in bytes: AES-256.
const KEKSize = 32

// version1 is AES-256-GCM: version byte, 12 random nonce bytes, ciphertext, 16 tag bytes. A random
// 96-bit nonce is safe for 2^32 messages per key (NIST SP 800-38D 8.3); a mesh seals thousands.
const version1 = 1

// overhead is what version1 adds to a plaintext, in bytes.
const overhead = 1 + 12 + 16

// ErrOpen says that a sealed value is damaged, was sealed for another place (aad), or under another
// key. The three are not told apart on purpose.
var ErrOpen = errors.New("open sealed value: wrong key, wrong place or damaged")

// Sealer encrypts and decrypts under one key. It is immutable and safe for concurrent use.
type Sealer struct{ gcm cipher.AEAD }

// NewKEK makes a fresh random key-encryption key.
func NewKEK() []byte {
	k := make([]byte, KEKSize)
	rand.Read(k) // never fails since Go 1.24
	return k
}

// New makes a Sealer from a KEKSize-byte key. The key is copied into the cipher; the caller may wipe it.
func New(kek []byte) (*Sealer, error) {
	if len(kek) != KEKSize {
		return nil, fmt.Errorf("new sealer: key is %d bytes, want %d", len(kek), KEKSize)
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, fmt.Errorf("new sealer: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("new sealer: %w", err)
	}
	return &Sealer{gcm: gcm}, nil
}

// Seal encrypts plaintext for one place. aad names that place (such as "provider/openai-us/a") and
// must be given again to Open, so that a sealed value moved to another record does not open there.
// The result is random: never compute it inside a state machine's Apply.
func (s *Sealer) Seal(aad, plaintext []byte) []byte {
	out := make([]byte, 1, overhead+len(plaintext))
	out[0] = version1
	return s.gcm.Seal(out, nil, plaintext, bind(aad))
}

// Open decrypts what Seal made with the same key and aad. Its error is ErrOpen, or names an unknown version.
func (s *Sealer) Open(aad, sealed []byte) ([]byte, error) {
	if len(sealed) < overhead {
		return nil, ErrOpen
	}
	if sealed[0] != version1 {
		return nil, fmt.Errorf("open sealed value: version %d is not known to this build", sealed[0])
	}
	out, err := s.gcm.Open(nil, nil, sealed[1:], bind(aad))
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

// bind puts the version under the tag, so that a later version cannot be relabelled as this one.
func bind(aad []byte) []byte {
	return append([]byte{version1}, aad...)
}

// Fingerprint identifies a secret to people: 12 hex digits of a domain-separated SHA-256. It is
// stable across meshes and restarts, and "" for an empty secret. Only for full-entropy secrets: of a
// guessable one it would confirm the guess.
func Fingerprint(secret string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("causeway fingerprint v1\x00" + secret))
	return hex.EncodeToString(sum[:6])
}

// HashKey is what the mesh stores of a client's key: HMAC-SHA-256 under the mesh's pepper. Keys have
// full entropy, so no slow hash is needed; edges compute this once per request. Compare with
// hmac.Equal or as a lookup index: a stolen snapshot without the pepper tells nothing.
//
// It does not allocate for peppers up to 64 bytes and secrets up to 256.
func HashKey(pepper []byte, secret string) [32]byte {
	const block = sha256.BlockSize
	if len(pepper) > block || len(secret) > 256 {
		return hashLong(pepper, secret)
	}
	// RFC 2104 spelled out on the stack: crypto/hmac costs seven allocations per request.
	var inner [block + 256]byte
	var outer [block + sha256.Size]byte
	copy(inner[:block], pepper)
	copy(outer[:block], pepper)
	for i := range block {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	n := copy(inner[block:], secret)
	sum := sha256.Sum256(inner[:block+n])
	copy(outer[block:], sum[:])
	return sha256.Sum256(outer[:])
}

func hashLong(pepper []byte, secret string) [32]byte {
	m := hmac.New(sha256.New, pepper)
	m.Write([]byte(secret))
	var out [32]byte
	m.Sum(out[:0])
	return out
}
