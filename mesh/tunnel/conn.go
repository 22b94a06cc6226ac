package tunnel

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

// maxIdleLanes is how many unused streams a connection keeps. At the exit each holds a goroutine and no buffer.
const maxIdleLanes = 64

// conn is one connection to an exit and its streams, on the edge's side.
type conn struct {
	q       *quic.Conn
	peer    identity.Peer
	born    time.Time
	live    atomic.Int64 // exchanges in progress
	silent  atomic.Bool  // suspected dead: no answer to pings
	drained atomic.Bool  // the exit said that it takes nothing more
	dead    atomic.Bool

	mu    sync.Mutex
	idle  []*clientLane
	lanes []*clientLane // all of them

	watch  watch // this and the next under the peer's mu
	recent recentRTT
}

// clientLane is a QUIC stream that carries one exchange after another, on the edge's side.
type clientLane struct {
	c   *conn
	str *quic.Stream
	rd  reader

	cur *Stream // the exchange in progress; this and the next under conn.mu
	at  int     // in conn.lanes
}

var errLimit = errors.New("the exit's limit of open streams is reached")

// open takes an unused stream or opens one, for an exchange that was counted in. It never blocks: at the
// peer's stream limit it fails.
func (c *conn) open(ctx context.Context, caller Caller) (*Stream, error) {
	s := &Stream{ctx: ctx, caller: caller}
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		l := c.idle[n-1]
		c.idle = c.idle[:n-1]
		s.start(l)
		c.mu.Unlock()
		return s, nil
	}
	c.mu.Unlock()
	str, err := c.q.OpenStream()
	if err != nil {
		c.live.Add(-1)
		if _, ok := errors.AsType[*quic.StreamLimitReachedError](err); ok {
			return nil, errLimit
		}
		c.dead.Store(true)
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &clientLane{c: c, str: str, rd: reader{str: str}, at: len(c.lanes)}
	c.lanes = append(c.lanes, l)
	s.start(l)
	return s, nil
}

// start puts s on a lane, where the monitor and the context find it. It is called with conn.mu held.
func (s *Stream) start(l *clientLane) {
	s.lane, l.cur = l, s
	s.stop = context.AfterFunc(s.ctx, s.expire)
}

// put takes a stream back whose exchange ended cleanly.
func (c *conn) put(l *clientLane) {
	c.mu.Lock()
	if len(c.idle) < maxIdleLanes && !c.dead.Load() {
		c.idle = append(c.idle, l)
		l.cur = nil
		c.mu.Unlock()
		return
	}
	c.forget(l)
	c.mu.Unlock()
	l.finish()
}

// drop takes a stream out that was given up.
func (c *conn) drop(l *clientLane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(l)
}

// forget is called with mu held.
func (c *conn) forget(l *clientLane) {
	last := len(c.lanes) - 1
	c.lanes[l.at] = c.lanes[last]
	c.lanes[l.at].at = l.at
	c.lanes[last], l.cur = nil, nil
	c.lanes = c.lanes[:last]
}

// finish ends a stream between exchanges.
func (l *clientLane) finish() {
	_ = l.str.Close()               // only fails on a stream that is gone already
	l.str.CancelRead(resetCanceled) // nothing more is wanted
}

func (c *conn) usable() bool { return !c.dead.Load() && !c.silent.Load() && !c.drained.Load() }

// suspect cuts off what gains nothing by waiting on a silent exit: bodies on their way are provably not
// sent; with all, exchanges that wait for an answer which another exit could give. What has begun to answer
// stays, as the path may come back.
func (c *conn) suspect(all bool) {
	c.silent.Store(true)
	var cut []*Stream
	c.mu.Lock()
	for _, l := range c.lanes {
		if s := l.cur; s != nil && (!s.sentAll.Load() || all && s.movable()) {
			cut = append(cut, s)
		}
	}
	c.mu.Unlock()
	for _, s := range cut {
		s.lose()
	}
}

func (c *conn) close(code quic.ApplicationErrorCode, why string) {
	c.dead.Store(true)
	_ = c.q.CloseWithError(code, why) // waits for the connection's own goroutines; nothing to be done about an error
}

// recentRTT holds the latest round trips of a connection. The smallest is the path's: an acknowledgement
// may be held back for 25 ms, and where that is much against the round trip itself QUIC's estimate keeps it.
type recentRTT struct {
	samples [8]time.Duration
	n       int
}

func (r *recentRTT) add(d time.Duration) {
	if d > 0 {
		r.samples[r.n%len(r.samples)] = d
		r.n++
	}
}

// max is the longest of the latest round trips; 0 = none yet.
func (r *recentRTT) max() time.Duration { return slices.Max(r.samples[:]) }

// min is the smallest of the latest round trips; 0 = none yet.
func (r *recentRTT) min() time.Duration {
	if r.n == 0 {
		return 0
	}
	return slices.Min(r.samples[:min(r.n, len(r.samples))])
}
