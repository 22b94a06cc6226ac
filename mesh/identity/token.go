package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const tokenPrefix = "cwj1"

// JoinToken lets one node join once. ID is public and names the token in the coordinator, Secret is known
// only to the bearer (the coordinator keeps SecretHash), CAHash pins the CA that the joining node will meet.
type JoinToken struct {
	ID, Secret string
	CAHash     [32]byte // SHA-256 of the CA's subject public key info
}

// NewJoinToken makes a token with a random id and 192 random bits of secret.
func NewJoinToken(caHash [32]byte) JoinToken {
	var id [8]byte
	var secret [24]byte
	rand.Read(id[:])
	rand.Read(secret[:])
	return JoinToken{ID: hex.EncodeToString(id[:]), Secret: base64.RawURLEncoding.EncodeToString(secret[:]), CAHash: caHash}
}

// String is the text to hand to the joining node: cwj1.ID.SECRET.HEX. It holds the secret, so it must not be logged.
func (t JoinToken) String() string {
	return tokenPrefix + "." + t.ID + "." + t.Secret + "." + hex.EncodeToString(t.CAHash[:])
}

// SecretHash is what the coordinator stores: SHA-256 over id and secret. The secret has 192 random bits, so
// a plain hash is enough.
func (t JoinToken) SecretHash() [32]byte { return sha256.Sum256([]byte(t.ID + "." + t.Secret)) }

// ParseJoinToken reads the text form. Errors never repeat the token.
func ParseJoinToken(s string) (JoinToken, error) {
	part := strings.Split(strings.TrimSpace(s), ".")
	if len(part) != 4 || part[0] != tokenPrefix {
		return JoinToken{}, errors.New("parse join token: want cwj1.ID.SECRET.HASH, as printed by \"causeway node token\"")
	}
	t := JoinToken{ID: part[1], Secret: part[2]}
	if len(t.ID) > 64 || !label(t.ID) {
		return JoinToken{}, errors.New("parse join token: the id has characters outside a-z, 0-9 and \"-\"")
	}
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(t.Secret); err != nil || len(raw) < 16 || len(raw) > 64 {
		return JoinToken{}, errors.New("parse join token: the secret is cut short or damaged")
	}
	raw, err := hex.DecodeString(part[3])
	if err != nil || len(raw) != len(t.CAHash) || part[3] != strings.ToLower(part[3]) {
		return JoinToken{}, fmt.Errorf("parse join token: the CA hash is not %d lower-case hex digits", 2*len(t.CAHash))
	}
	copy(t.CAHash[:], raw)
	return t, nil
}

// SPKIHash is the SHA-256 of a certificate's public key info: what a join token pins.
func SPKIHash(c *x509.Certificate) [32]byte { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }
