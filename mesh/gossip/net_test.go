package gossip

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/memnet"
	"github.com/causeway-mesh/causeway/mesh/path"
)

// testMesh makes nodes with certificates of one CA on one memNet.
type testMesh struct {
	t    *testing.T
	net  *memnet.Net
	link *memnet.Link
	key  *ecdsa.PrivateKey
	root *x509.Certificate
	list []*testNode
}

func newTestMesh(t *testing.T, delay time.Duration) *testMesh {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test mesh"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	link := memnet.NewLink(delay)
	return &testMesh{t: t, key: key, root: root, link: link, net: memnet.New(link.Way)}
}

type testNode struct {
	*Gossip
	id     identity.NodeID
	port   int
	cancel context.CancelFunc
	done   chan struct{}
}

func (m *testMesh) identity(id string) *identity.Store {
	m.t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		m.t.Fatal(err)
	}
	p := identity.Peer{Mesh: "test", Node: identity.NodeID(id), Region: "us-west", Roles: identity.RoleExit}
	tmpl := identity.Template(p, time.Now().Add(-time.Minute), time.Now().Add(72*time.Hour))
	der, err := x509.CreateCertificate(rand.Reader, tmpl, m.root, key.Public(), m.key)
	if err != nil {
		m.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	store, err := identity.NewStore(key, []*x509.Certificate{leaf}, []*x509.Certificate{m.root})
	if err != nil {
		m.t.Fatal(err)
	}
	return store
}

func portAddr(port int) *net.UDPAddr { return &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: port} }

func addrOfPort(port int) string { return portAddr(port).String() }

// start runs a node that joins through the given ports.
func (m *testMesh) start(id string, port int, profile Profile, tweak func(*Config), seeds ...int) *testNode {
	m.t.Helper()
	log := zerolog.Nop()
	if os.Getenv("GOSSIP_LOG") != "" {
		log = zerolog.New(os.Stderr).With().Str("node", id).Logger()
	}
	end, err := path.New(path.Config{
		Conn: m.net.Listen(portAddr(port)), Identity: m.identity(id), Log: log,
		Resolve: func(_ context.Context, a string) (net.Addr, error) { return net.ResolveUDPAddr("udp", a) },
	})
	if err != nil {
		m.t.Fatal(err)
	}
	cfg := Config{
		Endpoint: end, Profile: profile, Log: log,
		Self: Meta{ID: identity.NodeID(id), Region: "us-west", Roles: identity.RoleExit, Addr: addrOfPort(port), Build: "test"},
		Seeds: func() []string {
			var out []string
			for _, p := range seeds {
				out = append(out, addrOfPort(p))
			}
			return out
		},
	}
	if tweak != nil {
		tweak(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := end.Handle(g.Protocol()); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &testNode{Gossip: g, id: identity.NodeID(id), port: port, cancel: cancel, done: make(chan struct{})}
	m.list = append(m.list, n)
	endCtx, endStop := context.WithCancel(context.Background())
	go func() {
		if err := end.Run(endCtx); err != nil {
			m.t.Errorf("endpoint of %s: %v", id, err)
		}
		close(n.done)
	}()
	go func() {
		if err := g.Run(ctx); err != nil {
			m.t.Errorf("gossip of %s: %v", id, err)
		}
		endStop()
	}()
	return n
}

// stop ends a node without a word to the others: to them it crashed.
func (n *testNode) stop() {
	n.cancel()
	<-n.done
}

// end stops everything and lets memberlist's timers run out on the bubble's clock.
func (m *testMesh) end() {
	for _, n := range m.list {
		n.cancel()
	}
	for _, n := range m.list {
		<-n.done
	}
	time.Sleep(5 * time.Minute)
	synctest.Wait()
}

// sees waits until n lists exactly the given nodes as alive, and says how long that took.
func (n *testNode) sees(t *testing.T, within time.Duration, want ...*testNode) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		changed := n.Changed()
		alive := map[identity.NodeID]bool{}
		for _, m := range n.Members() {
			if m.Alive {
				alive[m.Meta.ID] = true
			}
		}
		ok := len(alive) == len(want)
		for _, w := range want {
			ok = ok && alive[w.id]
		}
		if ok {
			return time.Since(start)
		}
		select {
		case <-changed:
		case <-time.After(within - time.Since(start)):
			t.Fatalf("%s sees %v after %v, want %d nodes", n.id, alive, within, len(want))
		}
	}
}

// record waits until n holds a record of from that ok likes.
func (n *testNode) record(t *testing.T, within time.Duration, from *testNode, ok func(Record) bool) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		changed := n.Changed()
		for _, m := range n.Members() {
			if m.Meta.ID == from.id && !m.RecordAt.IsZero() && ok(m.Record) {
				return time.Since(start)
			}
		}
		select {
		case <-changed:
		case <-time.After(within - time.Since(start)):
			t.Fatalf("%s has no such record of %s after %v", n.id, from.id, within)
		}
	}
}

// bare is a transport on its own endpoint, without memberlist behind it.
func (m *testMesh) bare(id string, port int, where func(identity.NodeID) string) (*transport, func()) {
	m.t.Helper()
	end, err := path.New(path.Config{
		Conn: m.net.Listen(portAddr(port)), Identity: m.identity(id),
		Resolve: func(_ context.Context, a string) (net.Addr, error) { return net.ResolveUDPAddr("udp", a) },
	})
	if err != nil {
		m.t.Fatal(err)
	}
	tr := newTransport(end, identity.NodeID(id), where, zerolog.Nop())
	if err := end.Handle(path.Protocol{ALPN: ALPN, Handle: tr.handle}); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- end.Run(ctx) }()
	return tr, func() {
		if err := tr.Shutdown(); err != nil {
			m.t.Error(err)
		}
		tr.wait()
		cancel()
		if err := <-done; err != nil {
			m.t.Error(err)
		}
	}
}
