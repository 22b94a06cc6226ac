package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(tb testing.TB, serial int64) *authority {
	tb.Helper()
	key, err := NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	a := &authority{key: key}
	a.cert = a.sign(tb, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprint("mesh ", serial)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, key)
	return a
}

func (a *authority) sign(tb testing.TB, tmpl *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	parent := a.cert
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func (a *authority) store(tb testing.TB, p Peer) *Store {
	tb.Helper()
	key, err := NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	c := a.sign(tb, Template(p, time.Now().Add(-time.Minute), time.Now().Add(time.Hour)), key)
	s, err := NewStore(key, []*x509.Certificate{c}, []*x509.Certificate{a.cert})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func peer(id string, r Role) Peer {
	return Peer{Mesh: "prod.example", Node: NodeID(id), Region: "eu-central", Roles: r}
}

// What Template writes, PeerFromCertificate reads.
func TestIdentityRoundTrip(t *testing.T) {
	a := newAuthority(t, 1)
	for r := Role(1); r < roleEnd; r++ {
		want := peer("edge-7", r)
		want.Serial = "abc123"
		key, _ := NewKey()
		end := time.Now().Add(time.Hour)
		c := a.sign(t, Template(want, time.Now(), end), key)
		got, err := PeerFromCertificate(c)
		if err != nil {
			t.Fatal(err)
		}
		want.NotAfter = end.UTC().Truncate(time.Second)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("roles %v (-want +got):\n%s", r, diff)
		}
		if back, err := ParseRole(r.String()); err != nil || back != r {
			t.Errorf("role %q came back as %v, %v", r, back, err)
		}
	}
	if a, b := Template(peer("x", RoleEdge), time.Now(), time.Now()), Template(peer("x", RoleEdge), time.Now(), time.Now()); a.SerialNumber.Cmp(b.SerialNumber) == 0 {
		t.Error("two certificates with one serial")
	}
}

// A certificate that deviates anywhere from the one form is not an identity.
func TestIdentityIsStrict(t *testing.T) {
	a := newAuthority(t, 1)
	key, _ := NewKey()
	uri := func(s string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = []*url.URL{u}
		}
	}
	roles := func(v []byte, n int) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.ExtraExtensions = nil
			for range n {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: RolesOID(), Value: v})
			}
		}
	}
	two, _ := asn1.Marshal(2)
	big0, _ := asn1.Marshal(1 << 20)
	zero, _ := asn1.Marshal(0)
	for why, change := range map[string]func(*x509.Certificate){
		"no URI":            func(c *x509.Certificate) { c.URIs = nil },
		"two URIs":          func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) },
		"other scheme":      uri("https://prod.example/region/eu/node/a"),
		"port":              uri("spiffe://prod.example:1/region/eu/node/a"),
		"user":              uri("spiffe://u@prod.example/region/eu/node/a"),
		"query":             uri("spiffe://prod.example/region/eu/node/a?x=1"),
		"fragment":          uri("spiffe://prod.example/region/eu/node/a#x"),
		"escape":            uri("spiffe://prod.example/region/eu/node/%61"),
		"path too long":     uri("spiffe://prod.example/region/eu/node/a/b"),
		"path too short":    uri("spiffe://prod.example/region/eu"),
		"empty node":        uri("spiffe://prod.example/region/eu/node/"),
		"upper case":        uri("spiffe://prod.example/region/eu/node/A"),
		"no mesh":           uri("spiffe:///region/eu/node/a"),
		"no roles":          roles(nil, 0),
		"roles not DER":     roles([]byte{1, 2, 3}, 1),
		"roles with a tail": roles(append(append([]byte{}, two...), 0), 1),
		"roles unknown":     roles(big0, 1),
		"roles empty":       roles(zero, 1),
		"a CA":              func(c *x509.Certificate) { c.IsCA = true },
	} {
		tmpl := Template(peer("a", RoleEdge), time.Now(), time.Now().Add(time.Hour))
		change(tmpl)
		if p, err := PeerFromCertificate(a.sign(t, tmpl, key)); err == nil {
			t.Errorf("%s: read as %+v", why, p)
		}
	}
}

func TestJoinToken(t *testing.T) {
	a := newAuthority(t, 1)
	tok := NewJoinToken(SPKIHash(a.cert))
	got, err := ParseJoinToken(" " + tok.String() + "\n")
	if err != nil || got != tok {
		t.Fatalf("came back as %+v, %v", got, err)
	}
	if NewJoinToken(tok.CAHash) == tok || got.SecretHash() != tok.SecretHash() {
		t.Error("tokens are not unique, or their hash is not stable")
	}
	for why, s := range map[string]string{
		"empty": "", "other prefix": "cwj2" + tok.String()[4:], "cut": tok.String()[:40], "cut at the end": tok.String()[:len(tok.String())-1],
		"more": tok.String() + ".x", "short secret": "cwj1.id.YWJj." + strings.Repeat("a", 64),
		"upper-case hash": "cwj1." + tok.ID + "." + tok.Secret + "." + strings.Repeat("A", 64),
		"bad id":          "cwj1.I D." + tok.Secret + "." + strings.Repeat("a", 64),
	} {
		_, err := ParseJoinToken(s)
		if err == nil {
			t.Errorf("%s: accepted", why)
		} else if strings.Contains(err.Error(), tok.Secret) {
			t.Errorf("%s: the error shows the secret: %v", why, err)
		}
	}
}

func FuzzParseJoinToken(f *testing.F) {
	f.Add(NewJoinToken([32]byte{1}).String())
	f.Add("cwj1...")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseJoinToken(s)
		if err != nil {
			return
		}
		if tok.String() != strings.TrimSpace(s) {
			t.Fatalf("%q is read as %q", s, tok.String())
		}
	})
}

// handshake runs TLS between two configurations and returns both sides' errors.
func handshake(server, client *tls.Config) (state tls.ConnectionState, serr, cerr error) {
	a, b := net.Pipe()
	done := make(chan error, 1)
	srv := tls.Server(a, server)
	go func() {
		err := srv.Handshake()
		if err == nil {
			_, err = srv.Write([]byte("x"))
		}
		_ = a.Close()
		done <- err
	}()
	cl := tls.Client(b, client)
	cerr = cl.Handshake()
	if cerr == nil {
		_, cerr = cl.Read(make([]byte, 1)) // in TLS 1.3 the client learns of its rejection here
	}
	_ = b.Close()
	serr = <-done
	return srv.ConnectionState(), serr, cerr
}

// Who may talk to whom inside the mesh.
func TestMutualTLS(t *testing.T) {
	a, other := newAuthority(t, 1), newAuthority(t, 2)
	exit, edge := a.store(t, peer("exit-1", RoleExit)), a.store(t, peer("edge-1", RoleEdge))
	foreign := other.store(t, peer("edge-1", RoleEdge))
	p := peer("edge-1", RoleEdge)
	p.Mesh = "staging.example"
	staging := a.store(t, p)
	late := a.store(t, peer("edge-9", RoleEdge))
	late.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	revoked := a.store(t, peer("edge-3", RoleEdge))
	exit.SetRevoked([]string{"ffff", revoked.Self().Serial})
	for _, c := range []struct {
		why            string
		server, client *tls.Config
		ok             bool
	}{
		{"edge to exit", exit.ServerConfig("x"), edge.ClientConfig("exit-1", RoleExit, "x"), true},
		{"any node, any role", exit.ServerConfig("x"), edge.ClientConfig("", 0, "x"), true},
		{"another node was wanted", exit.ServerConfig("x"), edge.ClientConfig("exit-2", 0, "x"), false},
		{"another role was wanted", exit.ServerConfig("x"), edge.ClientConfig("", RoleCoordinator, "x"), false},
		{"a CA of another mesh", exit.ServerConfig("x"), foreign.ClientConfig("", 0, "x"), false},
		{"same CA, other mesh name", exit.ServerConfig("x"), staging.ClientConfig("", 0, "x"), false},
		{"no certificate", exit.ServerConfig("x"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"x"}}, false},
		{"revoked client", exit.ServerConfig("x"), revoked.ClientConfig("", 0, "x"), false},
		{"the server's certificate has run out", exit.ServerConfig("x"), late.ClientConfig("", 0, "x"), false},
		{"no common protocol", exit.ServerConfig("x"), edge.ClientConfig("", 0, "y"), false},
		{"TLS 1.2", exit.ServerConfig("x"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, false},
		{"people need no certificate", exit.HTTPServerConfig(), &tls.Config{InsecureSkipVerify: true}, true},
		{"but a foreign one is refused", exit.HTTPServerConfig(), foreign.ClientConfig("", 0), false},
	} {
		state, serr, cerr := handshake(c.server, c.client)
		if ok := serr == nil && cerr == nil; ok != c.ok {
			t.Errorf("%s: server %v, client %v", c.why, serr, cerr)
		}
		if got, ok := PeerFromState(state); c.ok && c.why == "edge to exit" && (!ok || got != edge.Self()) {
			t.Errorf("%s: peer %+v, %v", c.why, got, ok)
		}
	}
}

// A joining node trusts exactly the pinned CA, and only a coordinator under it.
func TestPinnedTLS(t *testing.T) {
	a, other := newAuthority(t, 1), newAuthority(t, 2)
	coord, edge := a.store(t, peer("c-1", RoleCoordinator)), a.store(t, peer("edge-1", RoleEdge))
	forged := other.store(t, peer("c-1", RoleCoordinator))
	graft := forged.HTTPServerConfig() // presents the right CA next to a leaf that it did not sign
	cert := *forged.certificate(false)
	cert.Certificate = append(cert.Certificate, a.cert.Raw)
	graft.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
	for _, c := range []struct {
		why    string
		server *tls.Config
		ok     bool
	}{
		{"coordinator", coord.HTTPServerConfig(), true},
		{"an edge poses as one", edge.HTTPServerConfig(), false},
		{"another CA", forged.HTTPServerConfig(), false},
		{"another CA, the right one attached", graft, false},
	} {
		for name, conf := range map[string]*tls.Config{"pinned": PinnedTLS(SPKIHash(a.cert)), "roots": RootsTLS([]*x509.Certificate{a.cert})} {
			if _, _, err := handshake(c.server, conf); (err == nil) != c.ok {
				t.Errorf("%s, %s: %v", c.why, name, err)
			}
		}
	}
}

// Renewal and revocation take effect without new configurations, and are announced.
func TestStoreUpdates(t *testing.T) {
	a := newAuthority(t, 1)
	exit, edge := a.store(t, peer("exit-1", RoleExit)), a.store(t, peer("edge-1", RoleEdge))
	server, client := exit.ServerConfig("x"), edge.ClientConfig("exit-1", 0, "x")
	changed := exit.Changed()
	exit.SetRevoked([]string{edge.Self().Serial})
	select {
	case <-changed:
	default:
		t.Error("revocation was not announced")
	}
	if _, serr, _ := handshake(server, client); serr == nil {
		t.Error("revoked certificate accepted")
	}
	fresh := a.store(t, peer("edge-1", RoleEdge))
	if err := edge.Update(fresh.Key(), fresh.Chain(), fresh.Roots()); err != nil {
		t.Fatal(err)
	}
	if _, serr, cerr := handshake(server, client); serr != nil || cerr != nil {
		t.Errorf("renewed certificate: %v, %v", serr, cerr)
	}
	if exit.Revoked(fresh.Self().Serial) {
		t.Error("a serial that was never revoked is on the list")
	}
	for why, err := range map[string]error{
		"another key": edge.Update(exit.Key(), fresh.Chain(), fresh.Roots()),
		"no chain":    edge.Update(fresh.Key(), nil, fresh.Roots()),
		"another CA":  edge.Update(fresh.Key(), fresh.Chain(), []*x509.Certificate{newAuthority(t, 9).cert}),
		"another mesh": func() error {
			p := peer("edge-1", RoleEdge)
			p.Mesh = "m"
			s := a.store(t, p)
			return edge.Update(s.Key(), s.Chain(), s.Roots())
		}(),
		"nothing given": edge.Update(nil, nil, nil),
	} {
		if err == nil {
			t.Errorf("%s: accepted", why)
		}
	}
	if edge.Self() != fresh.Self() {
		t.Error("a refused update changed something")
	}
}

func TestSaveLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "id")
	s := newAuthority(t, 1).store(t, peer("exit-1", RoleExit))
	for range 2 { // also over itself
		if err := s.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(dir)
	if err != nil || got.Self() != s.Self() {
		t.Fatalf("loaded %+v, %v", got, err)
	}
	for _, f := range []string{keyFile, chainFile, rootsFile} {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, keyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("a key for everybody to read: %v", err)
	}
	for _, f := range []string{keyFile, chainFile, rootsFile} {
		if err := s.Save(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), []byte("-----BEGIN X-----\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil {
			t.Errorf("damaged %s accepted", f)
		}
	}
}

// The certificate request carries the key and nothing the node could claim about itself.
func TestCSR(t *testing.T) {
	key, _ := NewKey()
	der, err := CSR(key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := x509.ParseCertificateRequest(der)
	if err != nil || r.CheckSignature() != nil || !key.PublicKey.Equal(r.PublicKey) || len(r.URIs)+len(r.DNSNames)+len(r.Extensions) != 0 || r.Subject.CommonName != "" {
		t.Errorf("request %+v, %v", r, err)
	}
}
