package tunnel

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/memnet"
	"github.com/causeway-mesh/causeway/mesh/path"
)

// testCA signs node certificates. It takes its time from the clock, so it works inside a bubble.
type testCA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newTestCA(tb testing.TB) *testCA {
	tb.Helper()
	key, err := identity.NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test mesh"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &testCA{key: key, cert: cert}
}

func (ca *testCA) node(tb testing.TB, id string, role identity.Role) *identity.Store {
	tb.Helper()
	key, err := identity.NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	p := identity.Peer{Mesh: "test.mesh", Node: identity.NodeID(id), Region: "us-west", Roles: role}
	tmpl := identity.Template(p, time.Now().Add(-time.Minute), time.Now().Add(72*time.Hour))
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, key.Public(), ca.key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	st, err := identity.NewStore(crypto.Signer(key), []*x509.Certificate{cert}, []*x509.Certificate{ca.cert})
	if err != nil {
		tb.Fatal(err)
	}
	return st
}

// memNet is a network in memory with one kind of link.
type memNet struct {
	*memnet.Net
	*memnet.Link
}

func newMemNet(delay time.Duration) *memNet {
	l := memnet.NewLink(delay)
	return &memNet{memnet.New(l.Way), l}
}

func (n *memNet) listen(port int) *memnet.Conn {
	return n.Listen(&net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: port})
}

func testLog() zerolog.Logger { return zerolog.New(io.Discard) }

// exit is a running exit for tests.
type exit struct {
	ep     *path.Endpoint
	srv    *Server
	target Target
	stop   func()
}

func startExit(tb testing.TB, st *identity.Store, pc net.PacketConn, cfg ServerConfig) *exit {
	tb.Helper()
	cfg.Log = testLog()
	srv := NewServer(cfg)
	ep, err := path.New(path.Config{Conn: pc, Identity: st, Log: testLog(), Protocols: []path.Protocol{srv.Protocol()}})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ep.Run(ctx) }()
	x := &exit{ep: ep, srv: srv, target: Target{Node: st.Self().Node, Addr: pc.LocalAddr().String()}}
	x.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("endpoint: %v", err)
		}
	})
	return x
}

// edge is a pool on its own endpoint.
type edge struct {
	pool *Pool
	stop func()
}

func startEdge(tb testing.TB, st *identity.Store, pc net.PacketConn, cfg PoolConfig) *edge {
	tb.Helper()
	ep, err := path.New(path.Config{Conn: pc, Identity: st, Log: testLog()})
	if err != nil {
		tb.Fatal(err)
	}
	cfg.Endpoint, cfg.Log = ep, testLog()
	p := NewPool(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return &edge{pool: p, stop: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("pool: %v", err)
		}
		if err := ep.Close(); err != nil {
			tb.Errorf("endpoint: %v", err)
		}
	})}
}

// pair is one edge and one exit over a memory network.
type pair struct {
	*edge
	x   *exit
	net *memNet
}

func newPair(tb testing.TB, delay time.Duration, sc ServerConfig, pc PoolConfig) *pair {
	tb.Helper()
	ca, n := newTestCA(tb), newMemNet(delay)
	x := startExit(tb, ca.node(tb, "exit-1", identity.RoleExit), n.listen(7701), sc)
	e := startEdge(tb, ca.node(tb, "edge-1", identity.RoleEdge), n.listen(7702), pc)
	return &pair{edge: e, x: x, net: n}
}

func (p *pair) close() {
	p.edge.stop()
	p.x.stop()
}

// echo answers with the request's body.
func echo(_ context.Context, x *Exchange) {
	b, err := io.ReadAll(x.Body)
	if err != nil {
		x.reset(0)
		return
	}
	_ = x.Respond(Reply{Status: 200, Header: []Field{{"Content-Type", "application/json"}}}, b,
		Trailer{Complete: true, HasUsage: true, Usage: Usage{Input: int64(len(b)), Output: 3}, Processing: "US"})
}

func udp(tb testing.TB) *net.UDPConn {
	tb.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func smallRequest(body []byte) Request {
	return Request{
		ID: [16]byte{1, 2, 3}, Tenant: "acme", Provider: "openai-us", Dialect: "openai-chat", Model: "gpt-4o", Op: 1,
		Method: "POST", Path: "/chat/completions", BodyLen: int64(len(body)), ViewIndex: 12345,
		Header:      []Field{{"Content-Type", "application/json"}, {"Accept", "application/json"}, {"User-Agent", "OpenAI/Go 3.1.0"}},
		Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
