package tunnel

import (
	"cmp"
	"context"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

// How often the pool looks at its connections: when a probe is overdue, when requests are in progress or
// a probe is out, and otherwise.
const (
	lookDoubt = 5 * time.Millisecond
	lookBusy  = 25 * time.Millisecond
	lookIdle  = 500 * time.Millisecond
)

// Run keeps the connections of warm exits open, probes silent ones, replaces suspected and old ones. It
// returns nil when ctx ends, after Close.
func (p *Pool) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	r := round{next: lookIdle}
	busy := time.Time{} // when anything last was
	for {
		select {
		case <-ctx.Done():
			return p.Close()
		case <-p.ctx.Done():
			return nil
		case <-p.kick:
		case <-timer.C:
		}
		now := time.Now()
		p.asleep.Store(true) // before the look, so that a request which it does not see wakes it
		r = p.maintain(now, r)
		if r.next < lookIdle {
			busy = now
		} else if now.Sub(busy) < lookIdle {
			r.next = lookBusy // requests come one after another: do not fall asleep between them
		}
		if r.next < lookIdle {
			p.asleep.Store(false)
		}
		timer.Reset(r.next)
	}
}

// wake makes the monitor look soon, now that a request is in progress.
func (p *Pool) wake() {
	if p.asleep.Load() && p.asleep.CompareAndSwap(true, false) {
		p.kickMonitor()
	}
}

// round is one look at all connections.
type round struct {
	now     time.Time
	planned time.Duration // since the round before, as it was meant
	doubt   bool          // a connection was in doubt in the round before
	peers   []*peerState

	next    time.Duration // until the next one
	doubted bool          // a connection is in doubt
}

// maintain looks at every exit once.
func (p *Pool) maintain(now time.Time, last round) round {
	r := round{now: now, planned: last.next, doubt: last.doubted, next: lookIdle}
	p.mu.RLock()
	r.peers = make([]*peerState, 0, len(p.peers))
	for _, ps := range p.peers {
		r.peers = append(r.peers, ps)
	}
	p.mu.RUnlock()
	for _, ps := range r.peers {
		if ps.maintain(&r) {
			p.forget(ps.node, ps)
		}
	}
	return r
}

func (p *Pool) forget(node identity.NodeID, ps *peerState) {
	p.mu.Lock()
	if p.peers[node] == ps {
		delete(p.peers, node)
	}
	p.mu.Unlock()
}

func (ps *peerState) maintain(r *round) (drop bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	cfg := &ps.p.cfg
	empty, busy := len(ps.retired) == 0, false
	for i := range ps.slots {
		s := &ps.slots[i]
		if s.c != nil {
			busy = ps.check(r, s.c) || busy
		}
		first := i == 0 || i == cfg.InteractiveConns // the others come on demand
		want := ps.warm && first || s.c != nil
		bad := s.c == nil || !s.c.usable() || r.now.Sub(s.c.born) > cfg.MaxAge
		if s.c != nil && s.c.drained.Load() && s.next.IsZero() {
			s.next = r.now.Add(backoffMax) // it will refuse a while longer
		}
		if want && bad {
			ps.dial(r.now, s)
		}
		empty = empty && s.c == nil && s.dialing == nil
	}
	for _, c := range ps.retired {
		busy = ps.check(r, c) || busy
		if c.live.Load() == 0 && c.dead.CompareAndSwap(false, true) {
			ps.p.spawn(func() { c.close(closeRetired, "replaced") })
		}
	}
	if !ps.warm && !busy && r.now.Sub(ps.used) > cfg.IdleClose {
		for i := range ps.slots {
			if c := ps.slots[i].c; c != nil {
				ps.slots[i].c = nil
				ps.retired = append(ps.retired, c) // closed at the next look
				empty = false
			}
		}
		drop = empty
	}
	return drop
}

// doubt keeps new requests off the exit's idle connections until they have answered: they take the same
// way as c, which does not. It is called with mu held.
func (ps *peerState) doubt(c *conn) {
	for i := range ps.slots {
		if o := ps.slots[i].c; o != nil && o != c && o.live.Load() == 0 && o.watch.heard.Before(c.watch.doubted) {
			o.silent.Store(true)
		}
	}
}

// check looks at one connection's liveness; it reports whether the connection carries requests.
func (ps *peerState) check(r *round, c *conn) (busy bool) {
	if c.dead.Load() {
		return false
	}
	busy = c.live.Load() > 0
	st := c.q.ConnectionStats()
	patience := quietIdle
	switch {
	case r.doubt:
		patience = lookBusy // is it that exit, or are we cut off from all?
	case busy:
		patience = quietBusy
	}
	v, probe := c.watch.look(r.now, r.planned, counters{st.PacketsSent, st.PacketsReceived, st.MinRTT, cmp.Or(c.recent.max(), st.SmoothedRTT)}, patience, ps.p.cfg.DeadAfter)
	if probe {
		// At most maxUnsent of them wait inside QUIC, so that this never blocks; an error means that the
		// connection has just ended, which is noticed elsewhere.
		_ = c.q.SendDatagram(make([]byte, pingSize))
	}
	switch v {
	case quiet:
	case healthy:
		c.recent.add(st.LatestRTT)
		ps.heard.Store(r.now.UnixNano())
		if c.silent.CompareAndSwap(true, false) {
			ps.p.cfg.Log.Info().Str("exit", string(ps.node)).Msg("exit answers again")
		}
	case silent, lost:
		if !c.silent.Load() {
			ps.p.cfg.Log.Warn().Str("exit", string(ps.node)).Dur("waited", r.now.Sub(c.watch.heard)).Msg("exit does not answer")
			ps.doubt(c)
		}
		c.suspect(v == lost && r.othersAnswer(ps, c.watch.doubted))
	case gone:
		c.watch.gone = true // under ps.mu, as lost reads it
		c.dead.Store(true)
		c.suspect(true)
		ps.p.spawn(func() { c.close(closeDead, "no answer") })
	}
	switch {
	case c.watch.dense() && v != gone:
		r.next, r.doubted = lookDoubt, true
	case busy || c.watch.probing:
		r.next = min(r.next, lookBusy)
	}
	return busy
}

// othersAnswer tells whether another exit has been heard since: if none has, it is we who are cut off, and
// asking elsewhere would only spend the attempts.
func (r *round) othersAnswer(than *peerState, since time.Time) bool {
	for _, ps := range r.peers {
		if ps != than && ps.heard.Load() > since.UnixNano() {
			return true
		}
	}
	return false
}
