package tunnel

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/path"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// peerState is an exit as the pool knows it: a slot for each connection it may have.
type peerState struct {
	p    *Pool
	node identity.NodeID

	heard atomic.Int64 // when any of its connections last did, as unix nanoseconds

	mu      sync.Mutex
	addr    string
	warm    bool
	used    time.Time
	slots   []slot // interactive ones first, then bulk
	retired []*conn
}

// slot holds one connection or the state of getting it.
type slot struct {
	c       *conn
	dialing chan struct{} // closed when the dial in progress ends
	giveUp  context.CancelFunc
	fails   int
	next    time.Time // no dial before this
	err     error
}

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 2 * time.Second
	dialLimit  = 5 * time.Second // of a background dial; handshakes on lossy paths take several tries
)

// pick chooses a connection and counts the exchange in. Interactive requests fill one connection before they
// open the next, because streams that share a connection share packets, acknowledgements and system calls.
func (ps *peerState) pick(now time.Time, bulk bool) *conn {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.used = now
	n := ps.p.cfg.InteractiveConns
	if bulk {
		for i := range ps.slots[n:] {
			if c := ps.slots[n+i].c; c != nil && c.usable() {
				c.live.Add(1)
				ps.p.wake()
				return c
			}
		}
	}
	var best *conn
	full := true
	for i := range ps.slots[:n] {
		c := ps.slots[i].c
		if c == nil || !c.usable() {
			continue
		}
		live := c.live.Load()
		if live < ps.p.cfg.Spill {
			best, full = c, false
			break
		}
		if best == nil || live < best.live.Load() {
			best = c
		}
	}
	if best == nil && !bulk {
		for i := range ps.slots[n:] { // a bulk connection is better than none
			if c := ps.slots[n+i].c; c != nil && c.usable() {
				best, full = c, false
			}
		}
	}
	if best == nil {
		return nil
	}
	if full {
		for i := range ps.slots[:n] {
			if ps.slots[i].c == nil {
				ps.dial(now, &ps.slots[i])
				break
			}
		}
	}
	best.live.Add(1)
	ps.p.wake()
	return best
}

// silent reports whether there are connections, all of them suspected dead or draining.
func (ps *peerState) silent() (why error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for i := range ps.slots {
		c := ps.slots[i].c
		switch {
		case c == nil || c.dead.Load():
			continue
		case c.usable():
			return nil
		case c.drained.Load():
			why = errors.New("the exit is draining")
		default:
			why = errSilent
		}
	}
	return why
}

// connect waits for the first connection, at most the pool's connect budget. After a failed dial, or when the
// last connection died, it only sees to it that a dial is under way and fails at once: a request that could
// go elsewhere must not wait for an exit that may be gone.
func (ps *peerState) connect(ctx context.Context) error {
	now := time.Now()
	ps.mu.Lock()
	s := &ps.slots[0]
	started := s.dialing != nil || ps.dial(now, s)
	if !started || s.fails > 0 {
		err := cmp.Or(s.err, errConnect)
		ps.mu.Unlock()
		return err
	}
	done := s.dialing
	ps.mu.Unlock()
	t := time.NewTimer(ps.p.cfg.ConnectTimeout)
	defer t.Stop()
	select {
	case <-done:
		ps.mu.Lock()
		defer ps.mu.Unlock()
		if s.c == nil {
			return s.err
		}
		return nil
	case <-t.C:
		return errConnect
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errConnect = errors.New("no connection within the connect budget")

// dial starts a dial for s unless it is too early for one. It is called with mu held.
func (ps *peerState) dial(now time.Time, s *slot) bool {
	if s.dialing != nil || now.Before(s.next) || ps.p.ctx.Err() != nil {
		return false
	}
	done := make(chan struct{})
	s.dialing = done
	addr := ps.addr
	ctx, cancel := context.WithTimeout(ps.p.ctx, dialLimit)
	s.giveUp = cancel
	return ps.p.spawn(func() {
		q, peer, err := ps.p.cfg.Endpoint.DialRole(ctx, addr, ALPN, ps.node, identity.RoleExit)
		cancel()
		ps.p.dials.Add(1)
		ps.mu.Lock()
		defer ps.mu.Unlock()
		defer close(done)
		s.dialing, s.giveUp = nil, nil
		if addr != ps.addr { // the exit has moved meanwhile: whatever came of this is of no use
			if err == nil {
				_ = q.CloseWithError(closeRetired, "the exit has moved")
			}
			ps.p.kickMonitor()
			return
		}
		if err != nil {
			if s.fails++; s.fails == 1 {
				ps.p.cfg.Log.Warn().Err(err).Str("exit", string(ps.node)).Str("addr", addr).Msg("exit cannot be reached")
			}
			ps.p.dialErrors.Add(1)
			s.err = err
			s.next = time.Now().Add(ps.p.jitter(min(backoffMin<<min(s.fails-1, 10), backoffMax)))
			return
		}
		if s.fails > 0 {
			ps.p.cfg.Log.Info().Str("exit", string(ps.node)).Int("after_failures", s.fails).Msg("exit reached")
		}
		c := &conn{q: q, peer: peer, born: time.Now()}
		if s.c != nil {
			// A suspected or old one: it may finish what it carries. What it learnt of the path stays.
			c.watch.worst = s.c.watch.worst
			ps.retired = append(ps.retired, s.c)
		}
		s.c, s.fails, s.err, s.next = c, 0, nil, time.Time{}
		context.AfterFunc(q.Context(), func() { ps.lost(c) })
	})
}

// lost takes a connection out whose QUIC connection has ended.
func (ps *peerState) lost(c *conn) {
	c.dead.Store(true)
	cause := context.Cause(c.q.Context())
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for i := range ps.slots {
		if s := &ps.slots[i]; s.c == c {
			s.c = nil
			if c.watch.gone {
				s.fails, s.err = 1, errSilent
			}
			if time.Since(c.born) < time.Second { // it answers, but does not stay: not a reason to dial in a loop
				s.fails++
				s.err, s.next = cause, time.Now().Add(ps.p.jitter(min(backoffMin<<min(s.fails-1, 10), backoffMax)))
			}
			e := ps.p.cfg.Log.Info()
			if ps.p.ctx.Err() != nil || planned(cause) {
				e = ps.p.cfg.Log.Debug()
			}
			e.Str("exit", string(ps.node)).AnErr("cause", cause).Msg("exit connection ended")
		}
	}
	for i, r := range ps.retired {
		if r == c {
			ps.retired = append(ps.retired[:i], ps.retired[i+1:]...)
			break
		}
	}
	ps.p.kickMonitor()
}

// planned tells the regular ends of a connection, which nobody needs to look into: either side stopped in
// order or let go of a connection that it did not need.
func planned(cause error) bool {
	e, ok := errors.AsType[*quic.ApplicationError](cause)
	if !ok {
		return false
	}
	switch e.ErrorCode {
	case path.CloseNone, path.CloseShutdown, closeDrained, closeRetired:
		return true
	}
	return false
}

// unreachable makes the fault of an exit that cannot take the request now.
func unreachable(node identity.NodeID, why error) *fault.Error {
	return fault.New(fault.ExitUnreachable, "exit %s cannot be reached", node).At(fault.NotSent).With(why)
}
