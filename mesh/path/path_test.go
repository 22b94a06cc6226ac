package path

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	key, err := identity.NewKey()
	must(tb, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mesh"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(tb, err)
	cert, err := x509.ParseCertificate(der)
	must(tb, err)
	return &authority{key, cert}
}

func (a *authority) store(tb testing.TB, id string, ttl time.Duration) *identity.Store {
	tb.Helper()
	key, err := identity.NewKey()
	must(tb, err)
	p := identity.Peer{Mesh: "m.test", Node: identity.NodeID(id), Region: "us-west", Roles: identity.RoleExit}
	der, err := x509.CreateCertificate(rand.Reader, identity.Template(p, time.Now().Add(-time.Minute), time.Now().Add(ttl)), a.cert, key.Public(), a.key)
	must(tb, err)
	cert, err := x509.ParseCertificate(der)
	must(tb, err)
	st, err := identity.NewStore(key, []*x509.Certificate{cert}, []*x509.Certificate{a.cert})
	must(tb, err)
	return st
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// bubble runs f in a synctest bubble with two hosts 30 ms apart.
func bubble(t *testing.T, f func(t *testing.T, a, b net.PacketConn)) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Simnet{Router: &simnet.PerfectRouter{}}
		link := simnet.NodeBiDiLinkSettings{Latency: 30 * time.Millisecond}
		a := n.NewEndpoint(&net.UDPAddr{IP: net.IP{1, 0, 0, 1}, Port: 7701}, link)
		b := n.NewEndpoint(&net.UDPAddr{IP: net.IP{1, 0, 0, 2}, Port: 7701}, link)
		must(t, n.Start())
		f(t, a, b)
		must(t, n.Close())
	})
}

func start(t *testing.T, cfg Config) (*Endpoint, func()) {
	t.Helper()
	cfg.Log = zerolog.New(io.Discard)
	e, err := New(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return e, func() {
		cancel()
		must(t, <-done)
		must(t, e.Close())
	}
}

// hold is a protocol that keeps the connection until it ends, and says who came.
func hold(alpn string, came chan<- identity.Peer) Protocol {
	return Protocol{ALPN: alpn, Handle: func(ctx context.Context, c *quic.Conn, p identity.Peer) {
		came <- p
		select {
		case <-ctx.Done():
		case <-c.Context().Done():
		}
	}}
}

// One port serves several protocols, each side knows the other, and the same endpoint dials.
func TestProtocolsShareThePort(t *testing.T) {
	bubble(t, func(t *testing.T, pa, pb net.PacketConn) {
		ca := newAuthority(t)
		one, two := make(chan identity.Peer, 1), make(chan identity.Peer, 1)
		a, stopA := start(t, Config{Conn: pa, Identity: ca.store(t, "a", time.Hour), Protocols: []Protocol{hold("one", one), hold("two", two)}})
		b, stopB := start(t, Config{Conn: pb, Identity: ca.store(t, "b", time.Hour), Protocols: []Protocol{hold("one", one)}})
		for _, alpn := range []string{"one", "two"} {
			c, p, err := b.Dial(t.Context(), a.Addr().String(), alpn, "a")
			must(t, err)
			if p.Node != "a" || c.ConnectionState().TLS.NegotiatedProtocol != alpn {
				t.Errorf("dialled %s: %+v", alpn, p)
			}
		}
		if p := <-two; p.Node != "b" {
			t.Errorf("served %+v", p)
		}
		if p := <-one; p.Node != "b" {
			t.Errorf("served %+v", p)
		}
		_, _, err := a.Dial(t.Context(), b.Addr().String(), "one", "b")
		must(t, err)
		<-one
		if _, _, err := a.Dial(t.Context(), b.Addr().String(), "two", "b"); err == nil {
			t.Error("a protocol that b does not serve")
		}
		if _, _, err := a.Dial(t.Context(), b.Addr().String(), "one", "c"); err == nil {
			t.Error("b answered for c")
		}
		if err := a.Handle(hold("three", one)); err == nil {
			t.Error("a protocol was added while running")
		}
		stopA()
		stopB()
	})
}

// A dial to nobody ends with its context.
func TestDialObeysContext(t *testing.T) {
	bubble(t, func(t *testing.T, pa, pb net.PacketConn) {
		e, stop := start(t, Config{Conn: pa, Identity: newAuthority(t).store(t, "a", time.Hour)})
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		at := time.Now()
		_, _, err := e.Dial(ctx, pb.LocalAddr().String(), "x", "")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(at) != 250*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(at))
		}
		stop()
		if _, _, err := e.Dial(t.Context(), pb.LocalAddr().String(), "x", ""); err == nil {
			t.Error("a closed endpoint dials")
		}
		must(t, pb.Close())
	})
}

// Revocation and expiry end live connections, not only new ones.
func TestRevocationReachesLiveConnections(t *testing.T) {
	for _, why := range []string{"revoked", "expired"} {
		t.Run(why, func(t *testing.T) {
			bubble(t, func(t *testing.T, pa, pb net.PacketConn) {
				ca := newAuthority(t)
				came := make(chan identity.Peer, 1)
				ida, idb := ca.store(t, "a", 100*time.Hour), ca.store(t, "b", 2*time.Hour)
				a, stopA := start(t, Config{Conn: pa, Identity: ida, Protocols: []Protocol{hold("x", came)}})
				b, stopB := start(t, Config{Conn: pb, Identity: idb})
				c, _, err := b.Dial(t.Context(), a.Addr().String(), "x", "a")
				must(t, err)
				<-came
				time.Sleep(time.Hour)
				if c.Context().Err() != nil {
					t.Fatal("ended before its time")
				}
				if why == "revoked" {
					ida.SetRevoked([]string{idb.Self().Serial})
					time.Sleep(100 * time.Millisecond)
				} else {
					time.Sleep(time.Hour + 2*recheck)
				}
				ae, ok := errors.AsType[*quic.ApplicationError](context.Cause(c.Context()))
				if !ok || ae.ErrorCode != CloseRevoked || !ae.Remote {
					t.Errorf("connection: %v", context.Cause(c.Context()))
				}
				if _, _, err := b.Dial(t.Context(), a.Addr().String(), "x", "a"); err == nil {
					c2, _, _ := b.Dial(t.Context(), a.Addr().String(), "x", "a")
					time.Sleep(time.Second)
					if c2.Context().Err() == nil {
						t.Error("a new connection was accepted")
					}
				}
				stopB()
				stopA()
			})
		})
	}
}

// Close tells the peers: they learn at once, not by a timeout.
func TestCloseTellsPeers(t *testing.T) {
	bubble(t, func(t *testing.T, pa, pb net.PacketConn) {
		ca := newAuthority(t)
		came := make(chan identity.Peer, 1)
		a, stopA := start(t, Config{Conn: pa, Identity: ca.store(t, "a", time.Hour), Protocols: []Protocol{hold("x", came)}})
		b, stopB := start(t, Config{Conn: pb, Identity: ca.store(t, "b", time.Hour)})
		c, _, err := b.Dial(t.Context(), a.Addr().String(), "x", "a")
		must(t, err)
		<-came
		at := time.Now()
		go stopA()
		<-c.Context().Done()
		if d := time.Since(at); d > 60*time.Millisecond {
			t.Errorf("learned after %v", d)
		}
		stopB()
	})
}
