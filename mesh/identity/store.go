package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// NewKey makes a node key: ECDSA P-256.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// CSR is the DER certificate request for key. It carries the public key only: the coordinator decides the
// names and roles, from the join token or the present certificate.
func CSR(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

// Store holds a node's key, chain, CA bundle and the revocation list, and swaps them atomically, so that
// renewal and revocation need no restart. All methods are safe for concurrent use.
type Store struct {
	// Now is the clock for certificate checks; nil means time.Now. Set it before the first use.
	Now func() time.Time

	state atomic.Pointer[material]
	mu    sync.Mutex // serialises writers
}

// material is immutable once stored.
type material struct {
	key     crypto.Signer
	chain   []*x509.Certificate
	roots   []*x509.Certificate
	pool    *x509.CertPool
	self    Peer
	cert    *tls.Certificate // leaf and intermediates
	full    *tls.Certificate // the same and the roots
	revoked []string         // sorted
	changed chan struct{}    // closed when this material is replaced
}

// NewStore makes a store of one identity. chain is leaf first; it must verify up to one of roots and belong to key.
func NewStore(key crypto.Signer, chain, roots []*x509.Certificate) (*Store, error) {
	s := &Store{}
	return s, s.Update(key, chain, roots)
}

// Update replaces key, chain and CA bundle after checking that they fit together; on an error nothing changes.
// The revocation list stays. Connections made before go on; new ones use the new material.
func (s *Store) Update(key crypto.Signer, chain, roots []*x509.Certificate) error {
	if key == nil || len(chain) == 0 || len(roots) == 0 {
		return errors.New("update identity: key, chain and CA bundle are all needed")
	}
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(chain[0].PublicKey) {
		return errors.New("update identity: the certificate is for another key")
	}
	m := &material{
		key: key, chain: slices.Clone(chain), roots: slices.Clone(roots),
		pool: x509.NewCertPool(), changed: make(chan struct{}),
	}
	m.cert = &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		m.cert.Certificate = append(m.cert.Certificate, c.Raw)
	}
	m.full = &tls.Certificate{PrivateKey: key, Leaf: chain[0], Certificate: slices.Clone(m.cert.Certificate)}
	for _, c := range roots {
		m.pool.AddCert(c)
		m.full.Certificate = append(m.full.Certificate, c.Raw)
	}
	self, err := verifyChain(chain, m.pool, x509.ExtKeyUsageAny, chain[0].NotBefore.Add(time.Second))
	if err != nil {
		return fmt.Errorf("update identity: %w", err)
	}
	m.self = self

	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.state.Load()
	if old != nil {
		if old.self.Mesh != self.Mesh {
			return fmt.Errorf("update identity: certificate is of mesh %q, this node is of %q", self.Mesh, old.self.Mesh)
		}
		m.revoked = old.revoked
	}
	s.replace(old, m)
	return nil
}

// SetRevoked replaces the list of revoked certificate serials (Peer.Serial form).
func (s *Store) SetRevoked(serials []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.state.Load()
	list := slices.Clone(serials)
	slices.Sort(list)
	if slices.Equal(list, old.revoked) {
		return
	}
	m := *old
	m.revoked, m.changed = list, make(chan struct{})
	s.replace(old, &m)
}

func (s *Store) replace(old, m *material) {
	s.state.Store(m)
	if old != nil {
		close(old.changed)
	}
}

// Changed is closed at the next Update or SetRevoked. Take it before reading what it guards.
func (s *Store) Changed() <-chan struct{} { return s.state.Load().changed }

// Self is the identity in the current certificate.
func (s *Store) Self() Peer { return s.state.Load().self }

// Key is the current private key.
func (s *Store) Key() crypto.Signer { return s.state.Load().key }

// Chain is the current chain, leaf first. It must not be modified.
func (s *Store) Chain() []*x509.Certificate { return s.state.Load().chain }

// Roots is the current CA bundle. It must not be modified.
func (s *Store) Roots() []*x509.Certificate { return s.state.Load().roots }

// Revoked reports whether a serial is on the list.
func (s *Store) Revoked(serial string) bool {
	_, ok := slices.BinarySearch(s.state.Load().revoked, serial)
	return ok
}

func (s *Store) certificate(withRoots bool) *tls.Certificate {
	m := s.state.Load()
	if withRoots {
		return m.full
	}
	return m.cert
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Store) verify(chain []*x509.Certificate, use x509.ExtKeyUsage) (Peer, error) {
	m := s.state.Load()
	p, err := verifyChain(chain, m.pool, use, s.now())
	if err != nil {
		return Peer{}, err
	}
	if p.Mesh != m.self.Mesh {
		return Peer{}, fmt.Errorf("verify peer: node %q is of mesh %q, this is %q", p.Node, p.Mesh, m.self.Mesh)
	}
	if _, ok := slices.BinarySearch(m.revoked, p.Serial); ok {
		return Peer{}, fmt.Errorf("verify peer: certificate %s of node %q is revoked", p.Serial, p.Node)
	}
	return p, nil
}

// Names of the files in a node's data directory.
const (
	keyFile   = "node.key"
	chainFile = "node.pem"
	rootsFile = "ca.pem"
)

// Save writes key, chain and CA bundle into dir, each mode 0600 and replaced atomically. The certificate is
// written last: a crash in between leaves a pair that Load refuses rather than a wrong one.
func (s *Store) Save(dir string) error {
	m := s.state.Load()
	der, err := x509.MarshalPKCS8PrivateKey(m.key)
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	for _, f := range [...]struct {
		name string
		data []byte
	}{
		{rootsFile, EncodeCertificates(m.roots)},
		{keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})},
		{chainFile, EncodeCertificates(m.chain)},
	} {
		if err := writeFile(filepath.Join(dir, f.name), f.data); err != nil {
			return fmt.Errorf("save identity: %w", err)
		}
	}
	return nil
}

// Load reads what Save wrote. It refuses a key file that others can read.
func Load(dir string) (*Store, error) {
	name := filepath.Join(dir, keyFile)
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("load identity: %s is readable by others (mode %04o): chmod 600 it", name, info.Mode().Perm())
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("load identity: %s holds no private key", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("load identity: %s: %w", name, err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("load identity: %s holds a key that cannot sign", name)
	}
	var certs [2][]*x509.Certificate
	for i, f := range [...]string{chainFile, rootsFile} {
		data, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			return nil, fmt.Errorf("load identity: %w", err)
		}
		if certs[i], err = ParseCertificates(data); err != nil {
			return nil, fmt.Errorf("load identity: %s: %w", filepath.Join(dir, f), err)
		}
	}
	return NewStore(key, certs[0], certs[1])
}

// EncodeCertificates is the PEM form of a chain or bundle.
func EncodeCertificates(list []*x509.Certificate) []byte {
	var b strings.Builder
	for _, c := range list {
		// A strings.Builder never fails.
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return []byte(b.String())
}

// ParseCertificates reads PEM certificates; anything else in the data is an error.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(strings.TrimSpace(string(data))) > 0 {
		block, rest := pem.Decode(data)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("parse certificates: want PEM blocks of type CERTIFICATE and nothing else")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificates: %w", err)
		}
		out, data = append(out, c), rest
	}
	if len(out) == 0 {
		return nil, errors.New("parse certificates: none found")
	}
	return out, nil
}

func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return err
}
