package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/coordinator/disk"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/identity"
)

// Server is one coordinator.
type Server struct {
	cfg       Config
	m         *material
	raft      *consensus.Node
	transport consensus.Transport
	store     *disk.Store // nil when the store was given
	api       *api.Server
	mux       *mux
	peers     *http.Transport
	apiL      net.Listener
	nodesL    net.Listener
	fail      chan error
	built     chan struct{} // closed when everything that leading needs is there
}

// New opens the data directory (making or joining a cluster when asked to), the listeners and the
// Raft log, and starts taking part in the protocol. Joining talks to Join.Servers. Call Run next, or
// Close.
func New(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, fail: make(chan error, 1), built: make(chan struct{})}
	if err := s.start(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// start opens things in the order in which a mistake costs least: ports before the join token is
// spent, the directory before the log.
func (s *Server) start(ctx context.Context) error {
	cfg := s.cfg
	var err error
	if s.apiL, err = listen(cfg, cfg.ListenAPI, "the admin API", "--admin"); err != nil {
		return err
	}
	if cfg.ListenNodes != "" {
		if s.nodesL, err = listen(cfg, cfg.ListenNodes, "nodes", "the nodes address"); err != nil {
			return err
		}
	}
	var raftL net.Listener
	if cfg.ListenRaft != "" {
		if raftL, err = listen(cfg, cfg.ListenRaft, "Raft", "the raft address"); err != nil {
			return err
		}
		defer func() {
			if s.mux == nil {
				raftL.Close()
			}
		}()
	}
	if s.m, err = open(ctx, cfg, strings.TrimPrefix(s.NodesURL(), "https://")); err != nil {
		return err
	}
	if _, err := s.m.certify(cfg.Dir, s.hosts(), time.Now()); err != nil {
		return fmt.Errorf("coordinator certificate: %w", err)
	}
	s.cfg.Log = cfg.Log.With().Str("coordinator", s.m.Node).Logger()
	s.peers = peers(cfg, s.m.identity)
	if err := s.startTransport(raftL); err != nil {
		return err
	}
	if err := s.startRaft(); err != nil {
		return err
	}
	grants := slices.Clone(s.m.grants)
	for _, t := range cfg.Tokens {
		grants = append(grants, api.NewGrant(t.Name, t.Role, t.Tenant, t.Secret))
	}
	s.api, err = api.NewServer(api.ServerConfig{
		Consensus: s.raft, Vault: s.m.vault, Self: s.m.Node, API: s.NodesURL(), Build: cfg.Build, Peers: s.peers, Dev: cfg.Dev, Explain: cfg.Explain,
		Grants: grants, Log: s.cfg.Log,
	})
	if err != nil {
		return err
	}
	close(s.built)
	return nil
}

func (s *Server) startTransport(l net.Listener) error {
	if l == nil {
		s.transport = consensus.NewNetwork().Transport("local")
		return nil
	}
	s.mux = newMux(l, s.m.identity, s.cfg.Log)
	var err error
	s.transport, err = consensus.NewStreamTransport(consensus.StreamConfig{
		Listener: s.mux.raft, Advertise: s.cfg.reach(l), Dial: dialer(s.cfg, s.m.identity, alpnRaft), Log: s.cfg.Log,
	})
	return err
}

func (s *Server) startRaft() error {
	store := s.cfg.Store
	if store == nil {
		var err error
		s.store, err = disk.Open(filepath.Join(s.cfg.Dir, raftDir), disk.Options{
			StallAfter: s.cfg.Stall, Log: s.cfg.Log,
			// A leader whose disk hangs must be cut off from the others, or it leads for ever.
			OnStall: func() {
				s.cfg.Log.Error().Msg("the Raft log's disk hangs: cut off from the other coordinators until it answers")
				s.transport.Fence()
			},
			OnResume: func() { s.transport.Unfence() },
			OnFail:   func(err error) { s.stop(fmt.Errorf("raft log: %w", err)) },
		})
		if errors.Is(err, disk.ErrInUse) {
			return fmt.Errorf("data directory %s is in use by another process", s.cfg.Dir)
		}
		if err != nil {
			return err
		}
		store = s.store
	}
	if err := s.m.started(s.cfg.Dir); err != nil {
		return err
	}
	var err error
	s.raft, err = consensus.Start(consensus.Config{
		ID: s.m.Node, Dir: s.cfg.Dir, Transport: s.transport, Store: store, Profile: s.cfg.Profile,
		Bootstrap: s.m.genesis.Cluster != "", Log: s.cfg.Log, WhileLeader: s.lead,
	})
	if err != nil {
		return err
	}
	return s.checkCluster()
}

// checkCluster refuses a Raft log that is not of the cluster that the directory says.
func (s *Server) checkCluster() error {
	if c := s.raft.Snapshot().Cluster; c != "" && c != s.m.Cluster {
		return fmt.Errorf("data directory %s belongs to cluster %s, but its Raft log to cluster %s: use the right directory", s.cfg.Dir, s.m.Cluster, c)
	}
	return nil
}

// stop ends Run with an error; the first one counts.
func (s *Server) stop(err error) {
	select {
	case s.fail <- err:
	default:
	}
}

func (s *Server) hosts() []string {
	return s.cfg.hosts(s.cfg.reach(s.apiL), s.cfg.Advertise+":0")
}

// APIAddr is where the admin API listens, as others reach it.
func (s *Server) APIAddr() string { return s.cfg.reach(s.apiL) }

// APIURL is the base URL of the admin API.
func (s *Server) APIURL() string {
	if s.cfg.PlainAPI {
		return "http://" + s.APIAddr()
	}
	return "https://" + s.APIAddr()
}

// NodesURL is the base URL that nodes use: the TLS listener.
func (s *Server) NodesURL() string {
	if s.nodesL != nil {
		return "https://" + s.cfg.reach(s.nodesL)
	}
	return s.APIURL()
}

// RaftAddr is where other coordinators reach this one; "local" without a Raft listener.
func (s *Server) RaftAddr() string { return s.transport.LocalAddr() }

// AdminToken is the admin token, on the coordinator that made the cluster; "" on others.
func (s *Server) AdminToken() string { return s.m.admin }

// Mesh and ClusterID name what this coordinator is part of; ID is its own.
func (s *Server) Mesh() string      { return s.m.Mesh }
func (s *Server) ClusterID() string { return s.m.Cluster }
func (s *Server) ID() string        { return s.m.Node }

// CAHash is the SHA-256 of the mesh CA's public key info, hex: what join tokens pin.
func (s *Server) CAHash() string { return s.m.CAHash }

// CAFile is the PEM file that --ca takes.
func (s *Server) CAFile() string { return filepath.Join(s.cfg.Dir, caFile) }

// AdminTokenFile is where the first coordinator keeps the admin token, mode 0600.
func (s *Server) AdminTokenFile() string { return filepath.Join(s.cfg.Dir, adminFile) }

// Identity is the coordinator's certificate store.
func (s *Server) Identity() *identity.Store { return s.m.identity }

// Consensus is the member underneath, for status and simulations.
func (s *Server) Consensus() *consensus.Node { return s.raft }

// API is the admin API underneath.
func (s *Server) API() *api.Server { return s.api }

// Snapshot is the state as this coordinator has applied it.
func (s *Server) Snapshot() *state.Snapshot { return s.raft.Snapshot() }

// Stats is what a coordinator counts, for metrics. Gauges are as of now, counters since the start.
type Stats struct {
	Leader   bool
	Term     uint64
	Index    uint64        // of the newest command applied
	Commit   uint64        // known to be committed
	Contact  time.Duration // since the leader was last heard; -1 = never
	Requests api.Stats
	Disk     disk.Stats
}

// Stats reads them.
func (s *Server) Stats() Stats {
	st := Stats{
		Leader: s.raft.IsLeader(), Term: s.raft.Term(), Index: s.raft.Index(), Commit: s.raft.Commit(), Contact: -1, Requests: s.api.Stats(),
	}
	if at := s.raft.LastContact(); !at.IsZero() {
		st.Contact = time.Since(at)
	}
	if s.store != nil {
		st.Disk = s.store.Stats()
	}
	return st
}

// WaitReady returns when the cluster has a leader and its identity is in this member's state.
func (s *Server) WaitReady(ctx context.Context) error {
	for {
		changed := s.raft.Changed()
		if s.raft.Snapshot().Cluster != "" && len(s.api.Ready()) == 0 {
			return nil
		}
		t := time.NewTimer(20 * time.Millisecond)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("wait for the coordinators: %w (%s)", ctx.Err(), strings.Join(s.api.Ready(), "; "))
		}
		t.Stop()
	}
}

// Run serves until ctx ends or something fails for good, then stops in order and returns. It returns
// nil when it was ctx.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	var servers []*http.Server
	serve := func(l net.Listener, srv *http.Server) {
		srv.BaseContext = func(net.Listener) context.Context { return gctx } // ends long polls
		servers = append(servers, srv)
		g.Go(func() error {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	handler := s.APIHandler()
	if s.cfg.PlainAPI {
		serve(s.apiL, s.httpServer(handler))
	} else {
		serve(s.tlsListener(s.apiL), s.httpServer(handler))
	}
	if s.nodesL != nil {
		serve(s.tlsListener(s.nodesL), s.httpServer(handler))
	}
	var muxDone chan struct{}
	muxCtx, stopMux := context.WithCancel(context.WithoutCancel(ctx))
	defer stopMux()
	if s.mux != nil {
		muxDone = make(chan struct{})
		go func() { defer close(muxDone); s.mux.run(muxCtx) }()
		srv := s.httpServer(s.api.Forwarded())
		srv.ConnContext = withPeer
		serve(s.mux.admin, srv)
		g.Go(func() error { s.announce(gctx); return nil })
	}
	g.Go(func() error { return s.follow(gctx) })
	g.Go(func() error { s.renew(gctx); return nil })
	g.Go(func() error {
		select {
		case <-gctx.Done():
			return nil
		case err := <-s.fail:
			return err
		case <-s.raft.Halted():
			return fmt.Errorf("coordinator: %w", s.raft.Err())
		}
	})
	<-gctx.Done()

	// Stopping, in order: no new requests and the running ones finish; leadership goes to another
	// member so that nobody waits for an election; Raft; its connections; the disk last.
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	if s.raft.IsLeader() && s.mux != nil {
		if ms, err := s.raft.Members(stop); err == nil && slices.ContainsFunc(ms, func(m consensus.Member) bool { return m.Voter && m.ID != s.m.Node }) {
			if err := handOver(stop, s.raft); err != nil {
				s.cfg.Log.Info().Err(err).Msg("leadership was not handed over; the other members elect a leader")
			}
		}
	}
	for _, srv := range servers {
		if srv.Shutdown(stop) != nil {
			srv.Close()
		}
	}
	err := g.Wait()
	cerr := s.close(stop)
	stopMux()
	if muxDone != nil {
		<-muxDone
	}
	if err == nil || errors.Is(err, context.Canceled) {
		err = cerr
	}
	return err
}

// Close releases everything without ceremony. Run does it itself.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if s.mux != nil {
		s.mux.inner.Close()
	}
	return s.close(ctx)
}

func (s *Server) close(ctx context.Context) error {
	var errs []error
	for _, l := range []net.Listener{s.apiL, s.nodesL} {
		if l != nil {
			l.Close()
		}
	}
	if s.peers != nil {
		s.peers.CloseIdleConnections()
	}
	if s.raft != nil {
		errs = append(errs, s.raft.Shutdown(ctx))
	} else if s.transport != nil {
		s.transport.Close()
	}
	if s.store != nil {
		closed := make(chan error, 1)
		go func() { closed <- s.store.Close() }() // waits for a write, which a hung disk never ends
		select {
		case err := <-closed:
			errs = append(errs, err)
		case <-ctx.Done():
			errs = append(errs, errors.New("close raft log: the disk does not answer"))
		}
	}
	return errors.Join(errs...)
}

// lead is what only a leader does, until ctx ends.
func (s *Server) lead(ctx context.Context) {
	select {
	case <-s.built:
	case <-ctx.Done():
		return
	}
	if s.raft.Snapshot().Cluster == "" && s.m.genesis.Cluster != "" {
		genesis := s.m.genesis
		_, _, err := s.raft.Propose(ctx, command.New(time.Now(), "coordinator/"+s.m.Node, &genesis))
		if err != nil {
			s.cfg.Log.Warn().Err(err).Msg("initialise the cluster")
			return // the next spell of leadership tries again
		}
	}
	s.tend(ctx)
}

// follow reacts to changes of the state: revocations take effect, and the first state tells whether
// this is the right cluster.
func (s *Server) follow(ctx context.Context) error {
	first := true
	for {
		changed := s.raft.Changed()
		snap := s.raft.Snapshot()
		if err := s.checkCluster(); err != nil {
			return err
		}
		s.m.identity.SetRevoked(snap.RevokedSerials())
		if first && snap.Cluster != "" {
			first = false
			// The cluster's beginning is in Raft: a log that is lost later must not begin it anew.
			if err := os.Remove(filepath.Join(s.cfg.Dir, pepperFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
				s.cfg.Log.Warn().Err(err).Msg("remove used file")
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// renew keeps the coordinator's own certificate fresh. It holds the CA key, so it asks nobody.
func (s *Server) renew(ctx context.Context) {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			switch done, err := s.m.certify(s.cfg.Dir, s.hosts(), time.Now()); {
			case err != nil:
				s.cfg.Log.Error().Err(err).Msg("renew coordinator certificate")
			case done:
				s.cfg.Log.Info().Time("until", s.m.identity.Self().NotAfter).Msg("coordinator certificate renewed")
			}
		}
	}
}

// leadership is what handOver needs of *consensus.Node.
type leadership interface {
	IsLeader() bool
	Transfer(ctx context.Context, id string) error
}

// handOver makes another member the leader. The first try often meets a connection that the other side
// has closed while nothing used it; and where only the answer was lost, leadership is gone all the same.
func handOver(ctx context.Context, n leadership) error {
	for try := 1; ; try++ {
		err := n.Transfer(ctx, "")
		switch {
		case err == nil, !n.IsLeader():
			return nil
		case try == 3, ctx.Err() != nil:
			return err
		}
	}
}
