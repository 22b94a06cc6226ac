// Package ca is the mesh's own certificate authority: it turns a node's signing request into a short
// certificate that carries the node's mesh identity. It decides nothing: who may have which identity
// was decided by the caller (a join token, or the certificate being renewed).
package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

const (
	// NodeTTL is how long a node certificate lives; nodes renew every 24 h (DESIGN.md 4.6), so a mesh
	// survives two days without a coordinator.
	NodeTTL = 72 * time.Hour
	// RootTTL is how long a root lives. Rotation is by overlapping bundles, long before this.
	RootTTL = 10 * 365 * 24 * time.Hour
	// backdate forgives clocks that run behind the coordinator's.
	backdate = 5 * time.Minute
)

// Authority holds a mesh's root certificate and key. It is immutable and safe for concurrent use.
type Authority struct {
	mesh string
	key  *ecdsa.PrivateKey
	root *x509.Certificate
}

// New makes an authority with a fresh P-256 root for a mesh. The root may sign leaves only.
func New(mesh string, now time.Time) (*Authority, error) {
	if mesh == "" {
		return nil, errors.New("new mesh authority: the mesh has no name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("new mesh authority: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Causeway mesh CA", Organization: []string{mesh}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(RootTTL),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("new mesh authority: %w", err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("new mesh authority: %w", err)
	}
	return &Authority{mesh: mesh, key: key, root: root}, nil
}

// Load restores an authority from CertPEM and KeyPEM. It refuses a key that is not the certificate's.
func Load(certPEM, keyPEM []byte) (*Authority, error) {
	root, err := one(certPEM, "CERTIFICATE", x509.ParseCertificate)
	if err != nil {
		return nil, fmt.Errorf("load mesh authority: certificate: %w", err)
	}
	key, err := one(keyPEM, "EC PRIVATE KEY", x509.ParseECPrivateKey)
	if err != nil {
		return nil, fmt.Errorf("load mesh authority: key: %w", err)
	}
	pub, ok := root.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || !key.PublicKey.Equal(pub):
		return nil, errors.New("load mesh authority: the key does not belong to the certificate")
	case !root.IsCA || len(root.Subject.Organization) != 1:
		return nil, errors.New("load mesh authority: not a mesh CA certificate")
	}
	return &Authority{mesh: root.Subject.Organization[0], key: key, root: root}, nil
}

// one parses a PEM file that must hold exactly one block of a type.
func one[T any](data []byte, typ string, parse func([]byte) (T, error)) (T, error) {
	var none T
	block, rest := pem.Decode(data)
	if block == nil || block.Type != typ || len(bytes.TrimSpace(rest)) > 0 {
		return none, fmt.Errorf("want exactly one %s block", typ)
	}
	v, err := parse(block.Bytes)
	if err != nil {
		return none, fmt.Errorf("parse: %w", err)
	}
	return v, nil
}

// Mesh is the name of the mesh this authority speaks for: the trust domain of its SPIFFE ids.
func (a *Authority) Mesh() string { return a.mesh }

// Roots is what nodes trust. One certificate, until rotation overlaps two.
func (a *Authority) Roots() []*x509.Certificate { return []*x509.Certificate{a.root} }

// CertPEM is the public half, the content of ca.pem.
func (a *Authority) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})
}

// KeyPEM is the private key in clear. The caller seals it before it goes anywhere.
func (a *Authority) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("marshal mesh authority key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// Issue signs a node certificate. Only the public key and its proof of possession are taken from the
// signing request: every name in it is ignored, because peer says who the node is. peer.Serial and
// peer.NotAfter are ignored; ttl 0 means NodeTTL and nothing outlives the root. The chain ends with
// the root itself, so that a joiner who only knows the root's hash can verify it.
func (a *Authority) Issue(csrDER []byte, peer identity.Peer, now time.Time, ttl time.Duration) ([]*x509.Certificate, error) {
	return a.IssueServer(csrDER, peer, nil, now, ttl)
}

// IssueServer is Issue with host names or IP addresses besides the mesh identity, for a coordinator
// whose admin API people reach by name.
func (a *Authority) IssueServer(csrDER []byte, peer identity.Peer, hosts []string, now time.Time, ttl time.Duration) ([]*x509.Certificate, error) {
	peer.Serial = "" // a fresh one each time: revocation is by serial
	if err := peer.Validate(); err != nil {
		return nil, fmt.Errorf("issue node certificate: %w", err)
	}
	if peer.Mesh != a.mesh {
		return nil, fmt.Errorf("issue node certificate: node is of mesh %q, this authority is for %q", peer.Mesh, a.mesh)
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("issue node certificate: signing request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("issue node certificate: signing request: %w", err)
	}
	if pub, ok := csr.PublicKey.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		return nil, errors.New("issue node certificate: the key must be ECDSA P-256")
	}
	if ttl <= 0 {
		ttl = NodeTTL
	}
	notAfter := now.Add(ttl)
	if notAfter.After(a.root.NotAfter) {
		notAfter = a.root.NotAfter
	}
	if !notAfter.After(now) {
		return nil, fmt.Errorf("issue node certificate: the mesh CA expired on %s", a.root.NotAfter.Format(time.DateOnly))
	}
	tmpl := identity.Template(peer, now.Add(-backdate), notAfter)
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.root, csr.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue node certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issue node certificate: %w", err)
	}
	// What is handed out must read back as what was asked for, whoever wrote the template.
	got, err := identity.PeerFromCertificate(leaf)
	if err != nil {
		return nil, fmt.Errorf("issue node certificate: %w", err)
	}
	if got.Mesh != peer.Mesh || got.Node != peer.Node || got.Region != peer.Region || got.Roles != peer.Roles {
		return nil, fmt.Errorf("issue node certificate: node %q does not survive the certificate encoding", peer.Node)
	}
	return []*x509.Certificate{leaf, a.root}, nil
}

// serial is 127 random bits: positive, at most 20 octets (RFC 5280 4.1.2.2), unguessable.
func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] = b[0]&0x7f | 0x40 // never zero, always the same length
	return new(big.Int).SetBytes(b[:])
}
