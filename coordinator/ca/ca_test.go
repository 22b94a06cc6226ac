package ca

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func authority(t testing.TB) *Authority {
	t.Helper()
	a, err := New("test-mesh", start)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func csr(t testing.TB) []byte {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := identity.CSR(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func peer() identity.Peer {
	return identity.Peer{Mesh: "test-mesh", Node: "n1", Region: "us-west", Roles: identity.RoleEdge | identity.RoleExit}
}

func TestIssueGivesTheIdentityThatWasDecided(t *testing.T) {
	a := authority(t)
	chain, err := a.Issue(csr(t), peer(), start, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(chain) != 2 || !chain[1].Equal(a.Roots()[0]) {
		t.Fatalf("chain of %d: a joiner who knows only the root's hash needs the root in it", len(chain))
	}
	got, err := identity.PeerFromCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	want := peer()
	want.Serial, want.NotAfter = got.Serial, start.Add(NodeTTL)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Roots()[0])
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		for _, at := range []time.Time{start.Add(-time.Minute), start, start.Add(NodeTTL)} {
			if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
				t.Errorf("at %s: %v", at, err)
			}
		}
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, CurrentTime: start.Add(NodeTTL + time.Second), KeyUsages: []x509.ExtKeyUsage{use}}); err == nil {
			t.Error("valid after its 72 h")
		}
	}
	again, err := a.Issue(csr(t), peer(), start, 0)
	if err != nil {
		t.Fatal(err)
	}
	if again[0].SerialNumber.Cmp(chain[0].SerialNumber) == 0 {
		t.Error("two certificates share a serial: revoking one would revoke both")
	}
}

// The signing request proves possession of a key and nothing else.
func TestIssueIgnoresNamesInTheRequest(t *testing.T) {
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	evil, err := url.Parse("spiffe://test-mesh/region/us-west/node/coordinator-1")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "root"}, DNSNames: []string{"coordinator.example"}, URIs: []*url.URL{evil},
		ExtraExtensions: []pkix.Extension{{Id: identity.RolesOID(), Value: []byte{2, 1, 8}}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authority(t).Issue(der, peer(), start, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	got, err := identity.PeerFromCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if got.Node != "n1" || got.Roles != peer().Roles || len(chain[0].DNSNames) != 0 || chain[0].Subject.CommonName == "root" {
		t.Errorf("the request's names got in: %+v, %v", got, chain[0].DNSNames)
	}
}

func TestIssueRefuses(t *testing.T) {
	a := authority(t)
	good := csr(t)
	bent := append([]byte(nil), good...)
	bent[len(bent)-1] ^= 1
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edCSR, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, edKey)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384CSR, err := identity.CSR(p384)
	if err != nil {
		t.Fatal(err)
	}
	with := func(f func(*identity.Peer)) identity.Peer { p := peer(); f(&p); return p }
	for _, tt := range []struct {
		why  string
		csr  []byte
		peer identity.Peer
		now  time.Time
		want string
	}{
		{"not a request", []byte("x"), peer(), start, "signing request"},
		{"no proof of possession", bent, peer(), start, "signing request"},
		{"another key type", edCSR, peer(), start, "P-256"},
		{"another curve", p384CSR, peer(), start, "P-256"},
		{"another mesh", good, with(func(p *identity.Peer) { p.Mesh = "other" }), start, `mesh "other"`},
		{"a name that would not survive", good, with(func(p *identity.Peer) { p.Node = "a/b" }), start, "node"},
		{"no role", good, with(func(p *identity.Peer) { p.Roles = 0 }), start, "roles"},
		{"expired root", good, peer(), start.Add(RootTTL), "expired"},
	} {
		if _, err := a.Issue(tt.csr, tt.peer, tt.now, time.Hour); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one naming %q", tt.why, err, tt.want)
		}
	}
	chain, err := a.Issue(good, peer(), start.Add(RootTTL-time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	if chain[0].NotAfter.After(a.Roots()[0].NotAfter) {
		t.Error("a certificate outlives its root")
	}
}

func TestLoadRestoresTheAuthority(t *testing.T) {
	a := authority(t)
	keyPEM, err := a.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load(a.CertPEM(), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if b.Mesh() != "test-mesh" || identity.SPKIHash(b.Roots()[0]) != identity.SPKIHash(a.Roots()[0]) {
		t.Error("another authority came back")
	}
	chain, err := b.Issue(csr(t), peer(), start, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := chain[0].CheckSignatureFrom(a.Roots()[0]); err != nil {
		t.Error(err)
	}
	otherKey, err := authority(t).KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for why, in := range map[string][2][]byte{
		"another authority's key": {a.CertPEM(), otherKey},
		"swapped":                 {keyPEM, a.CertPEM()},
		"no key":                  {a.CertPEM(), nil},
		"two certificates":        {append(a.CertPEM(), a.CertPEM()...), keyPEM},
		"damaged":                 {a.CertPEM(), []byte(strings.Replace(string(keyPEM), "M", "N", 3))},
	} {
		if _, err := Load(in[0], in[1]); err == nil {
			t.Errorf("%s: loaded", why)
		} else if strings.Contains(err.Error(), "PRIVATE KEY-----") {
			t.Errorf("%s: the error shows the key: %v", why, err)
		}
	}
}

// What is issued must be what nodes accept from each other, inside a bubble's clock too.
func TestIssuedCertificatesMakeMutualTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := New("test-mesh", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		node := func(id identity.NodeID, roles identity.Role) *identity.Store {
			key, err := identity.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			req, err := identity.CSR(key)
			if err != nil {
				t.Fatal(err)
			}
			p := peer()
			p.Node, p.Roles = id, roles
			chain, err := a.Issue(req, p, time.Now(), 0)
			if err != nil {
				t.Fatal(err)
			}
			s, err := identity.NewStore(key, chain, a.Roots())
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		edge, exit := node("edge-1", identity.RoleEdge), node("exit-1", identity.RoleExit)
		cert := edge.ClientConfig("exit-1", identity.RoleExit, "x")
		if err := handshake(cert, exit.ServerConfig("x")); err != nil {
			t.Error(err)
		}
		if err := handshake(exit.ClientConfig("exit-2", identity.RoleExit, "x"), edge.ServerConfig("x")); err == nil {
			t.Error("a peer of another name was accepted")
		}
		time.Sleep(NodeTTL + time.Hour)
		if err := handshake(edge.ClientConfig("exit-1", identity.RoleExit, "x"), exit.ServerConfig("x")); err == nil {
			t.Error("expired certificates were accepted")
		}
	})
}

func handshake(client, server *tls.Config) error {
	c, s := net.Pipe()
	defer c.Close()
	defer s.Close()
	errs := make(chan error, 1)
	go func() {
		err := tls.Server(s, server).Handshake()
		s.Close()
		errs <- err
	}()
	err := tls.Client(c, client).Handshake()
	c.Close()
	if serr := <-errs; err == nil {
		err = serr
	}
	return err
}
