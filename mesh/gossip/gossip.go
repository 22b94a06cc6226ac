// Package gossip tells every node of a mesh which others there are and how they are doing. It runs
// memberlist over the node's QUIC endpoint: one identity, one port. What it says are hints: who a node
// is and what it may do comes from certificates and the coordinator, and whether a path works from the
// tunnel, within a second; memberlist takes half a minute to call a node dead.
package gossip

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/path"
)

// Profile is how fast and how patient the gossip is.
type Profile uint8

// Profiles.
const (
	WAN   Profile = iota // nodes on several continents
	Local                // one machine: the dev mesh, tests
)

// Config configures a Gossip. Endpoint and Self are needed.
type Config struct {
	Endpoint *path.Endpoint
	Self     Meta
	// Seeds gives addresses (host:port) to join through, asked again and again: nodes that are missing
	// are joined later, so a partitioned mesh heals. May include this node. nil = only be joined.
	Seeds   func() []string
	Profile Profile
	// Known, if set, says whether a node belongs to the mesh by the coordinator's word. Others are not
	// taken in, however they are spoken of.
	Known func(identity.NodeID) bool
	// OnRTT, if set, gets a round trip to another node whenever one was measured. It must not block.
	OnRTT func(node identity.NodeID, rtt time.Duration)
	// Log gets everything at debug level, memberlist's own lines too.
	Log zerolog.Logger
}

const (
	refresh   = 10 * time.Second // an unchanged record is told again after so long
	forgetAt  = 10 * time.Minute // a dead member is listed for so long
	joinEvery = 30 * time.Second
	joinFirst = 500 * time.Millisecond // while alone, doubling up to joinEvery
)

// Member is one node as the mesh sees it.
type Member struct {
	Meta     Meta
	Record   Record
	RecordAt time.Time // when Record came; zero = none yet
	Alive    bool
	Since    time.Time // since when Alive is what it is
}

// Gossip is this node's part. Methods are safe for concurrent use.
type Gossip struct {
	cfg   Config
	meta  []byte
	pace  time.Duration // least time between two records that tell nothing urgent
	tr    *transport
	queue *memberlist.TransmitLimitedQueue
	kick  chan struct{}
	leave chan goodbye
	ended chan struct{} // closed when Run has returned

	mu      sync.Mutex
	members map[identity.NodeID]*member
	own     Record
	ownBody []byte // own as last sent, without its sequence number
	ownSeq  uint64
	sentAt  time.Time
	urgent  bool
	running bool
	changed chan struct{} // closed at the next change; nil when nobody waits
}

type member struct {
	Member
	seq uint64
	raw []byte // the record's message, for push/pull
}

// New checks the configuration. Register Protocol with the endpoint before running it, then Run.
func New(cfg Config) (*Gossip, error) {
	if cfg.Endpoint == nil || cfg.Self.ID == "" || cfg.Self.Addr == "" {
		return nil, errors.New("make gossip: Endpoint, Self.ID and Self.Addr are needed")
	}
	meta, err := appendMeta(nil, cfg.Self)
	if err != nil {
		return nil, fmt.Errorf("make gossip: %w", err)
	}
	now := time.Now()
	g := &Gossip{
		cfg: cfg, meta: meta, pace: time.Second,
		kick: make(chan struct{}, 1), leave: make(chan goodbye), ended: make(chan struct{}),
		members: map[identity.NodeID]*member{}, ownSeq: newSeq(now),
	}
	if cfg.Profile == Local {
		g.pace = 200 * time.Millisecond
	}
	g.queue = &memberlist.TransmitLimitedQueue{NumNodes: g.alive, RetransmitMult: 4}
	g.members[cfg.Self.ID] = &member{Member: Member{Meta: cfg.Self, Alive: true, Since: now}}
	g.tr = newTransport(cfg.Endpoint, cfg.Self.ID, g.addrOf, cfg.Log)
	return g, nil
}

// Protocol is what the endpoint must serve.
func (g *Gossip) Protocol() path.Protocol { return path.Protocol{ALPN: ALPN, Handle: g.tr.handle} }

func (g *Gossip) alive() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, m := range g.members {
		if m.Alive {
			n++
		}
	}
	return n
}

func (g *Gossip) addrOf(id identity.NodeID) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.members[id]; m != nil {
		return m.Meta.Addr
	}
	return ""
}

func (g *Gossip) config() *memberlist.Config {
	c := memberlist.DefaultWANConfig()
	if g.cfg.Profile == Local {
		c.GossipInterval, c.ProbeInterval, c.ProbeTimeout = 200*time.Millisecond, time.Second, 500*time.Millisecond
		c.PushPullInterval, c.GossipNodes, c.SuspicionMult = 15*time.Second, 3, 4
		c.GossipToTheDeadTime, c.TCPTimeout = 30*time.Second, 5*time.Second
	}
	c.Name = string(g.cfg.Self.ID)
	c.Transport = g.tr
	c.UDPBufferSize = packetSize
	c.EnableCompression = false // packets are small, and the datagram costs the same
	c.DNSConfigPath = ""
	c.LogOutput = logWriter{g.cfg.Log}
	d := delegate{g}
	c.Delegate, c.Events, c.Alive, c.Ping = d, d, d, d
	return c
}

// Run gossips until ctx ends or Leave was called. It returns nil then, once its own goroutines and
// connections are gone; memberlist's last timers may run a few seconds longer.
func (g *Gossip) Run(ctx context.Context) error {
	g.mu.Lock()
	again := g.running
	g.running = true
	g.mu.Unlock()
	if again {
		return errors.New("run gossip: a Gossip runs once")
	}
	defer close(g.ended)
	list, err := memberlist.Create(g.config())
	if err != nil {
		return errors.Join(fmt.Errorf("run gossip: %w", err), g.tr.Shutdown())
	}
	// Joining waits for peers, so it has its own goroutine; it ends with the transport.
	var wg sync.WaitGroup
	joinCtx, stop := context.WithCancel(ctx)
	wg.Go(func() { g.join(joinCtx, list) })
	g.publish(ctx, list)
	stop()
	err = list.Shutdown()
	wg.Wait()
	g.tr.wait()
	if err != nil {
		return fmt.Errorf("stop gossip: %w", err)
	}
	return nil
}

// publish sends records until ctx ends or the node leaves.
func (g *Gossip) publish(ctx context.Context, list *memberlist.Memberlist) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case bye := <-g.leave:
			bye.done <- list.Leave(bye.within)
			return
		case <-g.kick:
		case <-timer.C:
		}
		timer.Reset(g.flush(time.Now()))
	}
}

// leaveTimeout bounds the wait for the last word to go out where the caller sets no bound.
const leaveTimeout = 3 * time.Second

// goodbye asks the running loop to leave.
type goodbye struct {
	within time.Duration
	done   chan error
}

// flush sends the own record when it is due and says when to ask again.
func (g *Gossip) flush(now time.Time) time.Duration {
	g.mu.Lock()
	since := now.Sub(g.sentAt)
	body := appendRecord(nil, g.cfg.Self.ID, 0, g.own)
	changed := !bytes.Equal(body, g.ownBody)
	if !changed && since < refresh {
		g.mu.Unlock()
		return refresh - since
	}
	if !g.urgent && since < g.pace {
		g.mu.Unlock()
		return g.pace - since
	}
	g.ownSeq++
	raw := appendRecord(nil, g.cfg.Self.ID, g.ownSeq, g.own)
	g.ownBody, g.sentAt, g.urgent = body, now, false
	self := g.members[g.cfg.Self.ID]
	self.Record, self.RecordAt, self.seq, self.raw = g.own, now, g.ownSeq, raw
	g.prune(now)
	g.notify()
	g.mu.Unlock()
	g.queue.QueueBroadcast(broadcast{name: string(g.cfg.Self.ID), msg: raw})
	return g.pace
}

// prune drops members that are dead for long. Caller holds mu.
func (g *Gossip) prune(now time.Time) {
	for id, m := range g.members {
		if !m.Alive && now.Sub(m.Since) > forgetAt {
			delete(g.members, id)
		}
	}
}

// notify wakes those who wait for a change. Caller holds mu.
func (g *Gossip) notify() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// join brings the node together with every seed that is not an alive member.
func (g *Gossip) join(ctx context.Context, list *memberlist.Memberlist) {
	if g.cfg.Seeds == nil {
		return
	}
	wait := joinFirst
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for _, addr := range g.missing(g.cfg.Seeds()) {
			if ctx.Err() != nil {
				return
			}
			if !slices.Contains(g.missing([]string{addr}), addr) {
				continue // came in through the one before
			}
			if _, err := list.Join([]string{seedPrefix + addr + "/" + placeholder}); err != nil {
				g.cfg.Log.Debug().Err(err).Str("seed", addr).Msg("gossip join")
			}
		}
		wait = min(2*wait, joinEvery)
		timer.Reset(wait)
	}
}

// missing is the seeds that are neither this node nor an alive member.
func (g *Gossip) missing(seeds []string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	have := make(map[string]bool, len(g.members))
	for _, m := range g.members {
		if m.Alive {
			have[m.Meta.Addr] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(seeds), func(a string) bool { return a == "" || have[a] || strings.Contains(a, "/") })
}

// Publish tells the mesh a new record. A change of Draining or of a provider's state goes out at
// once, the rest at most once a second (Local: five times). r must not be changed afterwards.
func (g *Gossip) Publish(r Record) {
	g.mu.Lock()
	g.urgent = g.urgent || r.Draining != g.own.Draining || statesDiffer(r.Providers, g.own.Providers)
	g.own = r
	g.mu.Unlock()
	select {
	case g.kick <- struct{}{}:
	default: // Run is about to look anyway
	}
}

func statesDiffer(a, b []ProviderSample) bool {
	return !slices.EqualFunc(a, b, func(x, y ProviderSample) bool { return x.Provider == y.Provider && x.State == y.State })
}

// Members is every node known, this one included, by id; dead ones for ten more minutes. The samples
// in the records are shared: do not change them.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	out := make([]Member, 0, len(g.members))
	for _, m := range g.members {
		out = append(out, m.Member)
	}
	g.mu.Unlock()
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.Meta.ID, b.Meta.ID) })
	return out
}

// Changed is closed at the next change of what Members answers. Take it before Members, so that no
// change falls between.
func (g *Gossip) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.changed
}

// Leave tells the others that this node goes, and ends Run. The others then list it as not alive at
// once instead of after half a minute. It does nothing when Run is not running.
func (g *Gossip) Leave(ctx context.Context) error {
	g.mu.Lock()
	running := g.running
	g.mu.Unlock()
	if !running {
		return nil
	}
	done, within := make(chan error, 1), leaveTimeout
	if end, ok := ctx.Deadline(); ok {
		within = max(time.Until(end), time.Millisecond)
	}
	select {
	case g.leave <- goodbye{within, done}:
	case <-g.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave gossip: %w", ctx.Err())
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("leave gossip: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave gossip: %w", ctx.Err())
	}
}

// logWriter turns memberlist's lines ("2026/11/22 12:00:00 [WARN] memberlist: text") into debug lines.
type logWriter struct{ log zerolog.Logger }

var _ io.Writer = logWriter{}

func (w logWriter) Write(p []byte) (int, error) {
	if e := w.log.Debug(); e.Enabled() {
		line := bytes.TrimSpace(p)
		if i := bytes.IndexByte(line, '['); i >= 0 {
			line = line[i:]
		}
		e.Str("component", "memberlist").Msg(string(line))
	}
	return len(p), nil
}
