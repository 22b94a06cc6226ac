package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/mesh/gossip"
	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/path"
	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/node/config"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/node/exit"
	"github.com/causeway-mesh/causeway/node/obs"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/upstream"
)

// Config assembles a node. The process around it brings the sockets, so that the same assembly runs
// in production, in dev and in a simulation. It is not changed after New.
type Config struct {
	Settings config.Node
	Identity *identity.Store
	Watcher  view.Watcher
	Renew    func(ctx context.Context) error // renews the certificate; nil = somebody else does

	Mesh    net.PacketConn
	Resolve func(ctx context.Context, hostport string) (net.Addr, error) // nil = the system's
	Client  net.Listener                                                 // client API; needed by the role edge
	HTTP3   net.PacketConn                                               // nil = no HTTP/3
	Dial    upstream.DialFunc                                            // to providers; nil = the system's

	Locator  *geo.Locator // shared by the nodes of one process
	Profile  gossip.Profile
	Registry obs.Registerer // labelled with node and region by the caller
	Auditor  edge.Auditor   // nil = a log in Settings.Data/audit
	Dev      bool           // loopback clients are at home
	Version  string
	Log      zerolog.Logger
}

// Node is one node with its roles running.
type Node struct {
	cfg      Config
	self     identity.Peer
	log      zerolog.Logger
	view     *view.Holder
	endpoint *path.Endpoint
	pool     *tunnel.Pool
	server   *tunnel.Server
	gossip   *gossip.Gossip
	edge     *edge.Server
	exit     *exit.Exit
	listener *edge.Listener
	cert     *edge.Certificate
	audit    *audit.Log
	health   *health
	seen     *providers
	ready    readiness
	peers    atomic.Pointer[map[string]gossip.Member]
}

// New assembles a node. It opens the audit log and starts no goroutine.
func New(cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, self: cfg.Identity.Self(), seen: newProviders()}
	n.log = cfg.Log.With().Str("node", string(n.self.Node)).Str("region", n.self.Region).Logger()
	n.view = view.NewHolder(viewPath(cfg.Settings.Data), n.log)
	n.view.OnChange(n.follow)
	var err error
	if n.endpoint, err = path.New(path.Config{Conn: cfg.Mesh, Identity: cfg.Identity, Resolve: cfg.Resolve, Log: n.log}); err != nil {
		return nil, fmt.Errorf("mesh endpoint: %w", err)
	}
	if n.has(identity.RoleExit) {
		n.exit = exit.New(exit.Config{View: n.view, Observe: n.seen.observe, MaxBody: int64(cfg.Settings.Limits.Body), Dial: cfg.Dial, Log: n.log})
		n.server = tunnel.NewServer(tunnel.ServerConfig{Handler: n.exit, MaxBody: int64(cfg.Settings.Limits.Body), Log: n.log})
		if err := n.endpoint.Handle(n.server.Protocol()); err != nil {
			return nil, err
		}
	}
	if n.gossip, err = gossip.New(gossip.Config{
		Endpoint: n.endpoint, Profile: cfg.Profile, Log: n.log, Seeds: n.seeds, Known: n.known,
		Self: gossip.Meta{ID: n.self.Node, Region: n.self.Region, Roles: n.self.Roles, Addr: n.advertised(), Build: cfg.Version},
	}); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if err := n.endpoint.Handle(n.gossip.Protocol()); err != nil {
		return nil, err
	}
	if n.has(identity.RoleEdge) {
		if err := n.newEdge(); err != nil {
			return nil, err
		}
	}
	if err := obs.NewNode(cfg.Registry, n.sources()); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return n, nil
}

func viewPath(data string) string {
	if data == "" {
		return ""
	}
	return filepath.Join(data, "view.json")
}

// has tells whether this node runs a role: its certificate grants it and its settings do not leave it out.
func (n *Node) has(r identity.Role) bool {
	if !n.self.Roles.Has(r) {
		return false
	}
	if len(n.cfg.Settings.Roles) == 0 {
		return true
	}
	for _, s := range n.cfg.Settings.Roles {
		if p, err := identity.ParseRole(s); err == nil && p.Has(r) {
			return true
		}
	}
	return false
}

func (n *Node) newEdge() error {
	cfg := n.cfg
	n.pool = tunnel.NewPool(tunnel.PoolConfig{Endpoint: n.endpoint, Log: n.log})
	n.health = newHealth(string(n.self.Node), func(id string) (time.Duration, bool) { return n.pool.RTT(identity.NodeID(id)) },
		func(id string) bool { return n.pool.Down(identity.NodeID(id)) }, n.peerState)
	metrics, err := obs.NewRequests(cfg.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	auditor := cfg.Auditor
	if auditor == nil {
		if n.audit, err = audit.Open(audit.Config{Dir: filepath.Join(cfg.Settings.Data, "audit"), Node: string(n.self.Node), Log: n.log}); err != nil {
			return fmt.Errorf("open audit log: %w", err)
		}
		auditor = n.audit
	}
	proxies, err := cfg.Settings.Proxies()
	if err != nil {
		return err
	}
	n.edge = edge.New(edge.Config{
		Node: string(n.self.Node), Region: geo.RegionID(n.self.Region), View: n.view, Locate: cfg.Locator, Paths: n.health,
		Forward: &forwarder{self: string(n.self.Node), here: n.exit, pool: n.pool}, Audit: auditor,
		Recorder: obs.Recorders{n.health, metrics, obs.NewRequestLog(cfg.Log)}, TrustedProxies: proxies,
		MaxBody: int64(cfg.Settings.Limits.Body), KeepaliveAfter: cfg.Settings.KeepaliveAfter, LoopbackAtHome: cfg.Dev, Log: n.log,
	})
	var tlsConfig *tls.Config
	if cfg.Settings.TLS.Mode != "off" {
		if cfg.Settings.TLS.Mode == "files" {
			n.cert, err = edge.LoadCertificate(cfg.Settings.TLS.Cert, cfg.Settings.TLS.Key, n.log)
		} else {
			host, _, _ := net.SplitHostPort(n.advertised())
			n.cert, err = edge.SelfSigned(cfg.Settings.Data, []string{host}, n.log)
		}
		if err != nil {
			return err
		}
		minimum := uint16(tls.VersionTLS13)
		if cfg.Settings.TLS.Min == "1.2" {
			minimum = tls.VersionTLS12
		}
		tlsConfig = n.cert.TLS(minimum)
	}
	n.listener = edge.NewListener(n.edge, edge.ListenConfig{
		TCP: cfg.Client, UDP: cfg.HTTP3, TLS: tlsConfig, MaxHeader: int(cfg.Settings.Limits.Header), TrustedProxies: proxies, Log: n.log,
	})
	return nil
}

// advertised is the mesh address that others use.
func (n *Node) advertised() string {
	if a := n.cfg.Settings.Advertise; a != "" {
		return a
	}
	return n.cfg.Mesh.LocalAddr().String()
}

// seeds are the mesh addresses of the other nodes, as the coordinator knows them.
func (n *Node) seeds() []string {
	s := n.view.Load()
	if s == nil {
		return nil
	}
	var out []string
	for _, p := range s.Nodes {
		if p.ID != string(n.self.Node) && p.State != "revoked" && p.Addr != "" {
			out = append(out, p.Addr)
		}
	}
	return out
}

// known tells whether a node belongs to the mesh by the coordinator's word.
func (n *Node) known(id identity.NodeID) bool {
	s := n.view.Load()
	return s == nil || slices.ContainsFunc(s.Nodes, func(p state.Node) bool { return p.ID == string(id) && p.State != "revoked" })
}

// follow reacts to a new view: revoked peers are cut off, exits are connected to before the first
// request needs them.
func (n *Node) follow(s *view.Snapshot) {
	n.cfg.Identity.SetRevoked(s.Revoked)
	if n.pool == nil {
		return
	}
	targets := make([]tunnel.Target, 0, len(s.Exits))
	for _, e := range s.Exits {
		if e.ID != string(n.self.Node) {
			targets = append(targets, tunnel.Target{Node: identity.NodeID(e.ID), Addr: e.Addr})
		}
	}
	n.pool.Warm(targets)
}

// Handler is the client API.
func (n *Node) Handler() http.Handler { return n.edge }

// Edge is the edge role, nil without it.
func (n *Node) Edge() *edge.Server { return n.edge }

// Self is the node's identity.
func (n *Node) Self() identity.Peer { return n.self }

// View is the node's picture of the mesh.
func (n *Node) View() *view.Holder { return n.view }

const (
	renewEvery  = 24 * time.Hour
	renewRetry  = time.Minute
	publishTick = time.Second
)

// Run serves until ctx ends, then drains and stops. A first fatal error of any part stops all.
func (n *Node) Run(ctx context.Context) error {
	if err := n.view.Restore(); err != nil {
		n.log.Warn().Err(err).Msg("last view not restored")
	}
	// Parts outlive ctx: they are stopped one by one, in an order that loses nothing.
	parts, stopParts := context.WithCancel(context.WithoutCancel(ctx))
	defer stopParts()
	g, gctx := errgroup.WithContext(parts)
	run := func(what string, f func(context.Context) error) {
		g.Go(func() error {
			if err := f(gctx); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	run("mesh endpoint", n.endpoint.Run)
	run("view", func(ctx context.Context) error { return n.view.Run(ctx, n.cfg.Watcher) })
	run("gossip", n.gossip.Run)
	run("publish", n.publish)
	if n.cfg.Renew != nil {
		run("certificate", n.renew)
	}
	if n.pool != nil {
		run("tunnel pool", n.pool.Run)
	}
	if n.cert != nil {
		run("client certificate", n.cert.Run)
	}
	if n.listener != nil {
		g.Go(n.listener.Serve)
	}
	select {
	case <-ctx.Done():
	case <-gctx.Done():
	}
	n.stop(ctx)
	stopParts()
	err := g.Wait()
	if n.exit != nil {
		n.exit.Close()
	}
	if n.audit != nil {
		err = errors.Join(err, n.audit.Close())
	}
	return err
}

// stop winds down: others first learn that this node takes nothing new; then what runs here may end;
// then the node leaves. Tunnels and disks close last, when nothing uses them.
func (n *Node) stop(ctx context.Context) {
	n.ready.drain()
	n.publishNow()
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(n.cfg.Settings.Drain, time.Second))
	defer cancel()
	if n.edge != nil {
		n.edge.Drain()
		if err := n.listener.Shutdown(wait); err != nil {
			n.log.Warn().Err(err).Msg("client API closed with requests running")
		}
	}
	if n.server != nil {
		if err := n.server.Drain(wait); err != nil {
			n.log.Warn().Err(err).Msg("tunnel closed with requests running")
		}
	}
	leave, done := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
	defer done()
	if err := n.gossip.Leave(leave); err != nil {
		n.log.Debug().Err(err).Msg("leave gossip")
	}
	if n.pool != nil {
		if err := n.pool.Close(); err != nil {
			n.log.Debug().Err(err).Msg("close tunnels")
		}
	}
}

// renew keeps the certificate fresh: every 24 h of its 72 h, sooner again after a failure.
func (n *Node) renew(ctx context.Context) error {
	wait := renewEvery
	for {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		wait = renewEvery
		if err := n.cfg.Renew(ctx); err != nil {
			wait = renewRetry
			n.log.Warn().Err(err).Time("not_after", n.cfg.Identity.Self().NotAfter).Msg("certificate not renewed")
			continue
		}
		n.log.Info().Time("not_after", n.cfg.Identity.Self().NotAfter).Msg("certificate renewed")
		if n.cfg.Settings.Data != "" {
			if err := n.cfg.Identity.Save(n.cfg.Settings.Data); err != nil {
				n.log.Error().Err(err).Msg("renewed certificate not saved")
			}
		}
	}
}
