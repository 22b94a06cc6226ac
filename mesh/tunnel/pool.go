package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/path"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// Target is an exit: who it must be and where it listens (host:port).
type Target struct {
	Node identity.NodeID
	Addr string
}

// PoolConfig configures a Pool. Only Endpoint is needed.
type PoolConfig struct {
	Endpoint *path.Endpoint
	Log      zerolog.Logger

	InteractiveConns int           // connections an exit may have for ordinary requests; default 2, the first is kept warm
	BulkConns        int           // connections for large bodies, so that tokens never queue behind them; default 1
	BulkThreshold    int64         // bodies above this many bytes are bulk; default 64 KiB
	Spill            int64         // exchanges on a connection before the next one is opened; default 128
	ConnectTimeout   time.Duration // how long Open waits for a first connection; default 1 s
	DeadAfter        time.Duration // unanswered probes for so long: the connection ends with all that waits on it; default 5 s
	MaxAge           time.Duration // connections are replaced in time for renewed certificates; default 12 h
	IdleClose        time.Duration // exits that are not kept warm are let go after so long; default 2 min
}

// Pool is the edge's end of the tunnel: connections to exits, kept warm. It is safe for concurrent use.
type Pool struct {
	cfg    PoolConfig
	ctx    context.Context //nolint:containedctx // lifetime of background dials, which no caller owns
	cancel context.CancelFunc
	kick   chan struct{}
	asleep atomic.Bool // the monitor looks rarely, since nothing is in progress

	mu     sync.RWMutex
	peers  map[identity.NodeID]*peerState
	closed bool
	wg     sync.WaitGroup

	spawning sync.Mutex // orders spawn and Close; nothing is taken under it

	dials, dialErrors atomic.Uint64
}

// PeerStats is what the pool knows of one exit.
type PeerStats struct {
	Node        identity.NodeID
	Addr        string
	Connections int
	Usable      int // connections that new requests may take
	Inflight    int64
	RTT         time.Duration // smallest of the latest few; 0 = unknown
	Jitter      time.Duration // mean deviation of the RTT
	PacketsSent uint64
	PacketsLost uint64
	Failures    int   // dials failed in a row
	Err         error // of the last failed dial
}

// PoolStats is a snapshot, exits in order of their ids.
type PoolStats struct {
	Peers      []PeerStats
	Dials      uint64
	DialErrors uint64
}

// NewPool makes a pool. Open works at once; Run keeps connections warm and notices dead ones.
func NewPool(cfg PoolConfig) *Pool {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&cfg.ConnectTimeout, time.Second)
	def(&cfg.DeadAfter, 5*time.Second)
	def(&cfg.MaxAge, 12*time.Hour)
	def(&cfg.IdleClose, 2*time.Minute)
	if cfg.InteractiveConns == 0 {
		cfg.InteractiveConns = 2
	}
	if cfg.BulkConns == 0 {
		cfg.BulkConns = 1
	}
	if cfg.BulkThreshold == 0 {
		cfg.BulkThreshold = 64 << 10
	}
	if cfg.Spill == 0 {
		cfg.Spill = 128
	}
	p := &Pool{cfg: cfg, kick: make(chan struct{}, 1), peers: make(map[identity.NodeID]*peerState)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Open sends a request and returns when all of its body is on the way. body must give exactly req.BodyLen
// bytes (nil for none); when it has a WriteTo method, large bodies are sent without a copy. req.Timeout is
// set from ctx's deadline when it is 0. The ID in req is not checked for uniqueness.
//
// Errors are *fault.Error. Kind ExitUnreachable always has phase NotSent: another exit may be tried with the
// same body. An exit that is gone is reported at once, or after ConnectTimeout when a connection has yet to
// be made.
func (p *Pool) Open(ctx context.Context, t Target, req Request, body io.Reader) (*Stream, error) {
	if req.Timeout == 0 {
		req.Timeout = remaining(ctx)
	}
	if body == nil && req.BodyLen > 0 {
		return nil, fault.New(fault.Internal, "request without its body")
	}
	blk := getBlock()
	defer putBlock(blk)
	frame, err := AppendRequest(blk[:0], &req)
	if err != nil {
		return nil, fault.New(fault.HeaderTooLarge, "the request's headers are too large for the mesh").With(err)
	}
	inline := min(req.BodyLen, int64(cap(frame)-len(frame)))
	first := frame[:len(frame)+int(inline)]
	if inline > 0 {
		if _, err := io.ReadFull(body, first[len(frame):]); err != nil {
			return nil, fault.New(fault.Internal, "the request's body broke off").With(errBody{err})
		}
	}
	for try := 1; ; try++ {
		c, err := p.acquire(ctx, t, req.BodyLen > p.cfg.BulkThreshold)
		if err != nil {
			return nil, err
		}
		s, err := c.open(ctx, req.Caller)
		if err == nil {
			err = s.send(first, body, req.BodyLen-inline)
		}
		if err == nil {
			return s, nil
		}
		f, final := s.refused(t, err)
		switch {
		case f == nil:
			return s, nil
		case final || try == maxTries:
			return nil, f
		}
	}
}

// maxTries bounds how many connections Open tries that turn out to have just ended.
const maxTries = 3

// acquire finds a usable connection, and counts the exchange in.
func (p *Pool) acquire(ctx context.Context, t Target, bulk bool) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, gaveUp(err)
	}
	ps := p.peer(t)
	if ps == nil {
		return nil, unreachable(t.Node, errPoolClosed)
	}
	now := time.Now()
	if c := ps.pick(now, bulk); c != nil {
		return c, nil
	}
	if why := ps.silent(); why != nil {
		return nil, unreachable(t.Node, why)
	}
	if err := ps.connect(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, gaveUp(ctx.Err())
		}
		return nil, unreachable(t.Node, err)
	}
	if c := ps.pick(now, bulk); c != nil {
		return c, nil
	}
	return nil, unreachable(t.Node, errSilent)
}

var errPoolClosed = errors.New("the pool is closed")

func gaveUp(err error) *fault.Error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Deadline, "the request's deadline passed").With(err)
	}
	return fault.New(fault.Canceled, "the request was given up").With(err)
}

// peer finds or makes the state of an exit. A new address is used from the next dial on.
func (p *Pool) peer(t Target) *peerState {
	p.mu.RLock()
	ps, closed := p.peers[t.Node], p.closed
	p.mu.RUnlock()
	if closed {
		return nil
	}
	if ps == nil {
		p.mu.Lock()
		if ps = p.peers[t.Node]; ps == nil && !p.closed {
			ps = &peerState{p: p, node: t.Node, addr: t.Addr, used: time.Now(), slots: make([]slot, p.cfg.InteractiveConns+p.cfg.BulkConns)}
			p.peers[t.Node] = ps
		}
		p.mu.Unlock()
		return ps
	}
	ps.mu.Lock()
	if ps.addr != t.Addr {
		ps.move(t.Addr)
	}
	ps.mu.Unlock()
	return ps
}

// move changes the address: what is connected to the old one finishes what it carries.
func (ps *peerState) move(addr string) {
	ps.addr = addr
	for i := range ps.slots {
		s := &ps.slots[i]
		if s.c != nil {
			ps.retired = append(ps.retired, s.c)
		}
		s.c, s.fails, s.next, s.err = nil, 0, time.Time{}, nil
		if s.giveUp != nil {
			s.giveUp()
		}
	}
}

// Warm sets the exits whose connections are kept open, replacing the last list. Others are let go once idle.
func (p *Pool) Warm(targets []Target) {
	for _, t := range targets {
		if ps := p.peer(t); ps != nil {
			ps.mu.Lock()
			ps.warm = true
			ps.mu.Unlock()
		}
	}
	p.mu.RLock()
	for node, ps := range p.peers {
		if !slices.ContainsFunc(targets, func(t Target) bool { return t.Node == node }) {
			ps.mu.Lock()
			ps.warm = false
			ps.mu.Unlock()
		}
	}
	p.mu.RUnlock()
	p.kickMonitor()
}

// RTT gives the smallest of the latest round trips to an exit, when it is connected.
func (p *Pool) RTT(node identity.NodeID) (time.Duration, bool) {
	p.mu.RLock()
	ps := p.peers[node]
	p.mu.RUnlock()
	if ps == nil {
		return 0, false
	}
	st := ps.stats()
	return st.RTT, st.RTT > 0
}

// Down reports whether an exit is believed to be gone: connections to it were made or tried, and none can
// be used.
func (p *Pool) Down(node identity.NodeID) bool {
	p.mu.RLock()
	ps := p.peers[node]
	p.mu.RUnlock()
	if ps == nil {
		return false
	}
	if ps.silent() != nil {
		return true
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for i := range ps.slots {
		if c := ps.slots[i].c; c != nil && c.usable() {
			return false
		}
	}
	return ps.slots[0].fails > 0
}

// Stats gives a snapshot.
func (p *Pool) Stats() PoolStats {
	out := PoolStats{Dials: p.dials.Load(), DialErrors: p.dialErrors.Load()}
	p.mu.RLock()
	for _, ps := range p.peers {
		out.Peers = append(out.Peers, ps.stats())
	}
	p.mu.RUnlock()
	slices.SortFunc(out.Peers, func(a, b PeerStats) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return out
}

func (ps *peerState) stats() PeerStats {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	st := PeerStats{Node: ps.node, Addr: ps.addr, Failures: ps.slots[0].fails, Err: ps.slots[0].err}
	count := func(c *conn) {
		cs := c.q.ConnectionStats()
		st.Connections++
		st.Inflight += c.live.Load()
		st.PacketsSent += cs.PacketsSent
		st.PacketsLost += cs.PacketsLost
		if c.usable() {
			st.Usable++
			if st.RTT == 0 {
				st.RTT, st.Jitter = cmp.Or(c.recent.min(), cs.MinRTT), cs.MeanDeviation
			}
		}
	}
	for i := range ps.slots {
		if c := ps.slots[i].c; c != nil {
			count(c)
		}
	}
	for _, c := range ps.retired {
		count(c)
	}
	return st
}

// jitter spreads d over [d/2, d].
func (p *Pool) jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// spawn runs f as one of the pool's own goroutines, unless the pool is closed.
func (p *Pool) spawn(f func()) bool {
	p.spawning.Lock()
	defer p.spawning.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.wg.Go(f)
	return true
}

func (p *Pool) kickMonitor() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// Close ends all connections and waits for background dials. Streams in progress fail. It is idempotent.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	peers := make([]*peerState, 0, len(p.peers))
	for _, ps := range p.peers {
		peers = append(peers, ps)
	}
	p.mu.Unlock()
	p.spawning.Lock()
	p.cancel()
	p.spawning.Unlock()
	p.wg.Wait()
	var wg sync.WaitGroup
	for _, ps := range peers {
		ps.mu.Lock()
		for i := range ps.slots {
			if c := ps.slots[i].c; c != nil {
				wg.Go(func() { c.close(path.CloseShutdown, "edge is stopping") })
			}
		}
		for _, c := range ps.retired {
			wg.Go(func() { c.close(path.CloseShutdown, "edge is stopping") })
		}
		ps.mu.Unlock()
	}
	wg.Wait()
	if p.cfg.Endpoint == nil {
		return fmt.Errorf("close pool: no endpoint")
	}
	return nil
}
