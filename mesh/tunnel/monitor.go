package tunnel

import (
	"context"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

// How often the pool looks at its connections: when requests are in progress, and otherwise.
const (
	lookBusy = 100 * time.Millisecond
	lookIdle = 500 * time.Millisecond
)

// Run keeps the connections of warm exits open, pings silent ones, replaces suspected and old ones. It
// returns nil when ctx ends, after Close.
func (p *Pool) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return p.Close()
		case <-p.ctx.Done():
			return nil
		case <-p.kick:
		case <-timer.C:
		}
		if p.maintain(time.Now()) {
			timer.Reset(lookBusy)
		} else {
			timer.Reset(lookIdle)
		}
	}
}

// maintain looks at every exit once; it reports whether any request is in progress.
func (p *Pool) maintain(now time.Time) (busy bool) {
	p.mu.RLock()
	peers := make([]*peerState, 0, len(p.peers))
	for _, ps := range p.peers {
		peers = append(peers, ps)
	}
	p.mu.RUnlock()
	for _, ps := range peers {
		b, drop := ps.maintain(now)
		busy = busy || b
		if drop {
			p.forget(ps.node, ps)
		}
	}
	return busy
}

func (p *Pool) forget(node identity.NodeID, ps *peerState) {
	p.mu.Lock()
	if p.peers[node] == ps {
		delete(p.peers, node)
	}
	p.mu.Unlock()
}

func (ps *peerState) maintain(now time.Time) (busy, drop bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	cfg := &ps.p.cfg
	empty := len(ps.retired) == 0
	for i := range ps.slots {
		s := &ps.slots[i]
		if s.c != nil {
			busy = ps.check(now, s.c) || busy
		}
		first := i == 0 || i == cfg.InteractiveConns // the others come on demand
		want := ps.warm && first || s.c != nil
		bad := s.c == nil || !s.c.usable() || now.Sub(s.c.born) > cfg.MaxAge
		if s.c != nil && s.c.drained.Load() && s.next.IsZero() {
			s.next = now.Add(backoffMax) // it will refuse a while longer
		}
		if want && bad {
			ps.dial(now, s)
		}
		empty = empty && s.c == nil && s.dialing == nil
	}
	for _, c := range ps.retired {
		busy = ps.check(now, c) || busy
		if c.live.Load() == 0 && c.dead.CompareAndSwap(false, true) {
			ps.p.spawn(func() { c.close(closeRetired, "replaced") })
		}
	}
	if !ps.warm && !busy && now.Sub(ps.used) > cfg.IdleClose {
		for i := range ps.slots {
			if c := ps.slots[i].c; c != nil {
				ps.slots[i].c = nil
				ps.retired = append(ps.retired, c) // closed at the next look
				empty = false
			}
		}
		drop = empty
	}
	return busy, drop
}

// doubt makes the exit's idle connections answer before they are used again: they take the same way as c,
// which does not answer, and an idle one would not be looked at for seconds. It is called with mu held.
func (ps *peerState) doubt(now time.Time, c *conn) {
	for i := range ps.slots {
		o := ps.slots[i].c
		if o == nil || o == c || !o.usable() || o.live.Load() > 0 || o.watch.heard.After(c.watch.pinged) {
			continue
		}
		o.silent.Store(true)
		if o.watch.pinged.IsZero() {
			o.watch.pinged, o.watch.pings = now, 1
			_ = o.q.SendDatagram(make([]byte, pingSize)) // as in check
		}
	}
}

// check looks at one connection's liveness; it reports whether the connection carries requests.
func (ps *peerState) check(now time.Time, c *conn) (busy bool) {
	if c.dead.Load() {
		return false
	}
	busy = c.live.Load() > 0
	st := c.q.ConnectionStats()
	cfg := &ps.p.cfg
	if st.PacketsReceived != c.watch.packets {
		c.recent.add(st.LatestRTT)
	}
	switch c.watch.look(now, st.PacketsReceived, busy, st.SmoothedRTT, st.MeanDeviation, cfg.SuspectAfter, cfg.DeadAfter) {
	case healthy:
		if c.watch.pinged.IsZero() && c.silent.CompareAndSwap(true, false) {
			cfg.Log.Info().Str("exit", string(ps.node)).Msg("exit answers again")
		}
	case ping:
		// At most maxPings wait in QUIC's queue of 32, so that this never blocks; an error means that the
		// connection has just ended, which is noticed elsewhere.
		_ = c.q.SendDatagram(make([]byte, pingSize))
	case silent:
		if !c.silent.Load() {
			cfg.Log.Warn().Str("exit", string(ps.node)).Dur("waited", now.Sub(c.watch.pinged)).Msg("exit does not answer")
			c.suspect()
			ps.doubt(now, c)
		}
	case gone:
		c.watch.gone = true // under ps.mu, as lost reads it
		c.dead.Store(true)
		c.suspect()
		ps.p.spawn(func() { c.close(closeDead, "no answer") })
	}
	return busy
}
