package simtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/coordinator"
	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/mesh/gossip"
	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/node"
	"github.com/causeway-mesh/causeway/node/config"
	"github.com/causeway-mesh/causeway/node/obs"
)

// The three built-in regions, and two that a document may declare.
const (
	cn = "cn-east"
	eu = "eu-central"
	us = "us-west"
	fr = "fr-paris"
	gb = "gb-london"
)

// regionNets are the regions' second bytes of an address, and their countries.
var regionNets = []struct {
	region string
	net    int
	in     geo.Country
}{{cn, 1, "CN"}, {eu, 2, "DE"}, {us, 3, "US"}, {fr, 4, "FR"}, {gb, 5, "GB"}}

// Mesh is a whole mesh in a bubble.
type Mesh struct {
	t         *testing.T
	net       *world
	log       *logBuffer
	level     zerolog.Level
	locator   *geo.Locator
	profile   gossip.Profile
	coords    []*coord
	nodes     []*Node
	providers []*Provider
	clients   map[string]*http.Client // by region
	admin     *api.Client
	adminIP   string
	keepalive time.Duration
	data      string // data directories of nodes; "" = memory
}

// simulate runs a scenario in a bubble with one coordinator, and ends everything after it. Whatever
// still runs then fails the test.
func simulate(t *testing.T, scenario func(t *testing.T, m *Mesh)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &Mesh{t: t, net: newWorld(1), log: &logBuffer{}, level: zerolog.InfoLevel, clients: map[string]*http.Client{}, profile: gossip.Local}
		var over []geo.Override
		for _, r := range regionNets {
			over = append(over, geo.Override{Prefix: netip.MustParsePrefix(fmt.Sprintf("198.18.%d.0/24", r.net)), Country: r.in})
		}
		var err error
		if m.locator, err = geo.NewLocator(geo.Config{NoEmbedded: true, Overrides: over}); err != nil {
			t.Fatal(err)
		}
		m.adminIP = m.net.host("10.0.9", us)
		defer m.end()
		m.addCoordinator(us)
		scenario(t, m)
	})
}

// end stops everything, in no particular order, and lets memberlist's timers run out.
func (m *Mesh) end() {
	if m.t.Failed() && testing.Verbose() {
		m.t.Logf("log:\n%s", m.log.tail(100))
	}
	m.net.partition(m.net.everybody(), m.net.everybody(), false)
	for _, c := range m.clients {
		c.CloseIdleConnections()
	}
	var wg sync.WaitGroup
	for _, n := range m.nodes {
		wg.Go(n.Stop)
	}
	wg.Wait()
	for _, p := range m.providers {
		p.server.Close()
	}
	if m.admin != nil {
		m.admin.Close()
	}
	for _, c := range m.coords {
		c.Stop()
	}
	m.locator.Close()
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

func (m *Mesh) logger(who string) zerolog.Logger {
	return zerolog.New(m.log).Level(m.level).With().Timestamp().Str("who", who).Logger()
}

// logBuffer keeps what everybody logs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if os.Getenv("SIMTEST_LOG") != "" {
		os.Stderr.Write(p)
	}
	return l.b.Write(p)
}

func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) tail(n int) string {
	lines := bytes.SplitAfter([]byte(l.text()), []byte("\n"))
	return string(bytes.Join(lines[max(len(lines)-n, 0):], nil))
}

// coord is a running coordinator.
type coord struct {
	m      *Mesh
	ip     string
	cfg    coordinator.Config
	server *coordinator.Server
	cancel context.CancelFunc
	done   chan error // nil while it does not run
}

func (m *Mesh) addCoordinator(region string) *coord {
	m.t.Helper()
	ip := m.net.host("10.0.0", region)
	c := &coord{m: m, ip: ip}
	c.cfg = coordinator.Config{
		Dir: m.t.TempDir(), Mesh: "sim", ListenAPI: ip + ":7700", ListenRaft: ip + ":7702", Profile: consensus.Local(), Log: m.logger("coordinator " + ip),
		Store: consensus.NewMemStore(), Dial: m.net.dialer(ip), Explain: node.Explainer(),
		Listen: func(_, addr string) (net.Listener, error) { return m.net.listenStream(addr) },
	}
	if len(m.coords) == 0 {
		c.cfg.Init = true
	} else {
		c.cfg.Join = &coordinator.Join{Token: m.token("coordinator", region, ""), Servers: []string{m.coords[0].server.APIURL()}}
	}
	m.coords = append(m.coords, c)
	c.start()
	if m.admin == nil {
		m.adminAt(c)
	}
	return c
}

func (c *coord) start() {
	m := c.m
	m.t.Helper()
	var err error
	if c.server, err = coordinator.New(m.t.Context(), c.cfg); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel, c.done = cancel, make(chan error, 1)
	server, done := c.server, c.done
	go func() { done <- server.Run(ctx) }()
	wait, stop := context.WithTimeout(m.t.Context(), time.Minute)
	defer stop()
	if err := c.server.WaitReady(wait); err != nil {
		m.t.Fatal(err)
	}
}

// adminAt makes the admin talk to a coordinator.
func (m *Mesh) adminAt(c *coord) {
	m.t.Helper()
	if m.admin != nil {
		m.admin.Close()
	}
	var err error
	m.admin, err = api.NewClient(api.Config{
		Servers: []string{c.server.APIURL()}, Token: m.coords[0].server.AdminToken(), Roots: c.server.Identity().Roots(), Dial: m.net.dialer(m.adminIP),
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// Stop ends a coordinator in order.
func (c *coord) Stop() {
	if c.done == nil {
		return
	}
	c.cancel()
	if err := <-c.done; err != nil {
		c.m.t.Errorf("coordinator %s: %v", c.ip, err)
	}
	c.done = nil
}

// Crash ends a coordinator's process. What it had in its log stays.
func (c *coord) Crash() {
	c.m.net.crash(c.ip)
	c.Stop()
}

// Restart starts it again.
func (c *coord) Restart() {
	c.m.net.revive(c.ip)
	c.start()
}

// call asks the admin API.
func (m *Mesh) call(method, path, body string) api.Answer {
	m.t.Helper()
	a, err := m.admin.Do(m.t.Context(), api.Call{Method: method, Path: path, Body: []byte(body)})
	if err != nil {
		m.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (m *Mesh) token(role, region, id string) string {
	m.t.Helper()
	a := m.call("POST", "/v1/cluster/tokens", fmt.Sprintf(`{"roles":[%q],"region":%q,"node":%q}`, role, region, id))
	var out api.TokenAnswer
	if err := api.Decode(a, &out); err != nil {
		m.t.Fatal(err)
	}
	return out.Secret
}

// Apply makes doc the whole state and waits until every node serves by it.
func (m *Mesh) Apply(doc state.Document) {
	m.t.Helper()
	body, err := json.Marshal(doc.Whole())
	if err != nil {
		m.t.Fatal(err)
	}
	a, err := m.admin.Do(m.t.Context(), api.Call{Method: "POST", Path: "/v1/apply", Body: body, Query: url.Values{"prune": {"1"}, "yes": {"1"}}})
	if err != nil {
		m.t.Fatalf("apply: %v", err)
	}
	m.Sync(a.Index)
}

// Sync waits until every running node has the state of a Raft index.
func (m *Mesh) Sync(index uint64) {
	m.t.Helper()
	m.eventually("every node has the new state", func() bool {
		changed := uint64(1 << 63)
		for _, c := range m.coords {
			if s := c.server.Snapshot(); c.done != nil && s.Index >= index {
				changed = min(changed, s.Changed) // a command may change nothing
			}
		}
		return !slices.ContainsFunc(m.nodes, func(n *Node) bool {
			s := n.node.View().Load()
			return n.running() && (s == nil || s.Index < changed)
		})
	})
}

// Settle waits until every edge is connected to every exit.
func (m *Mesh) Settle() {
	m.t.Helper()
	m.eventually("every edge is connected to every exit", func() bool {
		return !slices.ContainsFunc(m.nodes, func(n *Node) bool { return n.running() && !n.node.Settled() })
	})
}

func (m *Mesh) eventually(what string, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	m.t.Fatalf("never: %s", what)
}

// Node is a node of the mesh, through all its lives.
type Node struct {
	m       *Mesh
	ID      string
	Region  string
	Role    identity.Role
	ip      string
	dir     string
	id      *identity.Store
	audit   *memoryAudit
	metrics *obs.Registry
	mayFail bool // its Run may end with an error

	node   *node.Node
	client *api.Client
	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{} // nil while it does not run
}

// AddEdge joins an edge to the mesh and starts it.
func (m *Mesh) AddEdge(region string) *Node { m.t.Helper(); return m.add(region, identity.RoleEdge) }

// AddExit joins an exit to the mesh and starts it.
func (m *Mesh) AddExit(region string) *Node { m.t.Helper(); return m.add(region, identity.RoleExit) }

func (m *Mesh) add(region string, role identity.Role) *Node {
	m.t.Helper()
	n := &Node{m: m, Region: region, Role: role, audit: &memoryAudit{}}
	n.ip = m.net.host(fmt.Sprintf("10.%d.0", regionNet(region)), region)
	n.ID = fmt.Sprintf("%s-%s-%d", role, region, len(m.nodes)+1)
	if m.data != "" {
		n.dir = filepath.Join(m.data, n.ID)
		if err := os.MkdirAll(n.dir, 0o700); err != nil {
			m.t.Fatal(err)
		}
	}
	joined, err := api.Join(m.t.Context(), api.JoinConfig{
		Servers: []string{m.coords[0].server.APIURL()}, Token: m.token(role.String(), region, n.ID), Node: n.ID, Addr: n.ip + ":7701", Build: "sim",
		Dial: m.net.dialer(n.ip),
	})
	if err != nil {
		m.t.Fatalf("join %s: %v", n.ID, err)
	}
	n.id = joined.Identity
	m.nodes = append(m.nodes, n)
	n.Start()
	return n
}

func countryOf(region string) string {
	for _, r := range regionNets {
		if r.region == region {
			return string(r.in)
		}
	}
	return ""
}

func regionNet(region string) int {
	for _, r := range regionNets {
		if r.region == region {
			return r.net
		}
	}
	return 0
}

// Start runs the node with the identity it joined with.
func (n *Node) Start() {
	m := n.m
	m.t.Helper()
	m.net.revive(n.ip)
	var err error
	if n.client, err = api.NewClient(api.Config{Servers: []string{m.coords[0].server.APIURL()}, Identity: n.id, Dial: m.net.dialer(n.ip)}); err != nil {
		m.t.Fatal(err)
	}
	if n.metrics, err = obs.NewRegistry("sim"); err != nil {
		m.t.Fatal(err)
	}
	s := config.Default()
	s.Data, s.TLS.Mode, s.Drain, s.Advertise = n.dir, "off", 30*time.Second, n.ip+":7701"
	if m.keepalive > 0 {
		s.KeepaliveAfter = m.keepalive
	}
	client := n.client
	cfg := node.Config{
		Settings: s, Identity: n.id, Watcher: client, Renew: func(ctx context.Context) error { return client.Renew(ctx, "", "sim") },
		Mesh: m.net.listenPacket(n.ip, 7701), Dial: m.net.dialer(n.ip), Locator: m.locator, Profile: m.profile,
		Resolve:  func(_ context.Context, hostport string) (net.Addr, error) { return udpAddr(hostport) },
		Registry: n.metrics.Node(n.ID, n.Region), Version: "sim", Log: m.logger(n.ID),
	}
	if n.dir == "" {
		cfg.Auditor = n.audit
	}
	if n.Role == identity.RoleEdge {
		if cfg.Client, err = m.net.listenStream(n.ip + ":80"); err != nil {
			m.t.Fatal(err)
		}
	}
	if n.node, err = node.New(cfg); err != nil {
		m.t.Fatalf("%s: %v", n.ID, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	n.mu.Lock()
	n.cancel, n.done = cancel, done
	n.mu.Unlock()
	life := n.node
	go func() {
		defer close(done)
		defer client.Close()
		if err := life.Run(ctx); err != nil && !n.mayFail {
			m.t.Errorf("%s: %v", n.ID, err)
		}
	}()
}

func udpAddr(hostport string) (net.Addr, error) {
	a, err := tcpAddr(hostport)
	if err != nil {
		return nil, err
	}
	return &net.UDPAddr{IP: a.IP, Port: a.Port}, nil
}

func (n *Node) isExit() bool { return n.Role.Has(identity.RoleExit) }

func (n *Node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done != nil
}

// Stop ends the node in order: it drains first.
func (n *Node) Stop() {
	n.mu.Lock()
	done := n.done
	n.done = nil
	n.mu.Unlock()
	if done == nil {
		return
	}
	n.cancel()
	<-done
}

// Kill ends the node's process: from now on nothing leaves it or reaches it.
func (n *Node) Kill() {
	n.m.net.crash(n.ip)
	n.mu.Lock()
	done := n.done
	n.done = nil
	n.mu.Unlock()
	if done != nil {
		n.cancel()
		n.m.t.Cleanup(func() { <-done })
	}
}

// URL is an edge's client API.
func (n *Node) URL() string { return "http://" + n.ip }

// Partition cuts every way between two nodes; Heal opens it again.
func (m *Mesh) Partition(a, b *Node) { m.net.partition([]string{a.ip}, []string{b.ip}, true) }

// Heal undoes Partition.
func (m *Mesh) Heal(a, b *Node) { m.net.partition([]string{a.ip}, []string{b.ip}, false) }

// memoryAudit is an audit log that remembers.
type memoryAudit struct {
	mu       sync.Mutex
	intents  []audit.Intent
	outcomes []audit.Outcome
}

func (a *memoryAudit) Intent(_ context.Context, in audit.Intent) (audit.Ref, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.intents = append(a.intents, in)
	return audit.Ref{}, nil
}

func (a *memoryAudit) Outcome(_ audit.Ref, o audit.Outcome) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outcomes = append(a.outcomes, o)
	return nil
}
