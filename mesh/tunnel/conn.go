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

	mu   sync.Mutex
	idle []*clientLane
	busy map[*Stream]struct{} // exchanges whose body is still being written in several pieces

	watch  watch
	recent recentRTT // under the peer's mu
}

// clientLane is a QUIC stream that carries one exchange after another, on the edge's side.
type clientLane struct {
	c   *conn
	str *quic.Stream
	rd  reader
}

var errLimit = errors.New("the exit's limit of open streams is reached")

// open takes an unused stream or opens one, for an exchange that was counted in. It never blocks: at the
// peer's stream limit it fails.
func (c *conn) open(ctx context.Context) (*Stream, error) {
	c.mu.Lock()
	var l *clientLane
	if n := len(c.idle); n > 0 {
		l, c.idle = c.idle[n-1], c.idle[:n-1]
	}
	c.mu.Unlock()
	if l == nil {
		str, err := c.q.OpenStream()
		if err != nil {
			c.live.Add(-1)
			if _, ok := errors.AsType[*quic.StreamLimitReachedError](err); ok {
				return nil, errLimit
			}
			c.dead.Store(true)
			return nil, err
		}
		l = &clientLane{c: c, str: str, rd: reader{str: str}}
	}
	s := &Stream{lane: l, ctx: ctx}
	s.stop = context.AfterFunc(ctx, s.expire)
	return s, nil
}

// put takes a stream back whose exchange ended cleanly.
func (c *conn) put(l *clientLane) {
	c.mu.Lock()
	if len(c.idle) < maxIdleLanes && !c.dead.Load() {
		c.idle = append(c.idle, l)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	l.finish()
}

// finish ends a stream between exchanges.
func (l *clientLane) finish() {
	_ = l.str.Close()               // only fails on a stream that is gone already
	l.str.CancelRead(resetCanceled) // nothing more is wanted
}

func (c *conn) usable() bool { return !c.dead.Load() && !c.silent.Load() && !c.drained.Load() }

// writing marks an exchange whose body takes several writes: those may block for long when the exit is gone,
// and are cut off as soon as it is suspected. It reports false when it is suspected already.
func (c *conn) writing(s *Stream, on bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !on {
		delete(c.busy, s)
		return true
	}
	if !c.usable() {
		return false
	}
	if c.busy == nil {
		c.busy = make(map[*Stream]struct{})
	}
	c.busy[s] = struct{}{}
	return true
}

// suspect marks the connection silent and cuts off the bodies that are on their way: they are provably not
// sent. Exchanges that wait for an answer stay, as the path may come back.
func (c *conn) suspect() {
	c.silent.Store(true)
	c.mu.Lock()
	cut := c.busy
	c.busy = nil
	c.mu.Unlock()
	for s := range cut {
		s.lane.str.CancelWrite(resetCanceled)
		s.lane.str.CancelRead(resetCanceled)
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

// min is the smallest of the latest round trips; 0 = none yet.
func (r *recentRTT) min() time.Duration {
	if r.n == 0 {
		return 0
	}
	return slices.Min(r.samples[:min(r.n, len(r.samples))])
}

// watch is the liveness state of a connection; only the pool's monitor touches it.
type watch struct {
	packets uint64    // received, at the last look
	heard   time.Time // when that number last grew
	pinged  time.Time // first ping since then; zero = none
	pings   int
	gone    bool // the monitor has given it up
}

// Limits of the monitor. QUIC repeats an unanswered ping by itself, so that a few are enough.
const (
	pingAfter     = 200 * time.Millisecond // of silence, while something is in progress
	pingIdleAfter = 2 * time.Second        // of silence otherwise
	maxPings      = 8
	ackSlack      = 50 * time.Millisecond // the peer may hold an acknowledgement for 25 ms
)

// verdict of one look at a connection.
type verdict uint8

const (
	healthy verdict = iota
	ping            // silence: ask
	silent          // asked, no answer: do not use it for new requests
	gone            // no answer for so long that waiting requests are better off failed
)

// look judges silence, given what the connection's counters say now. It is pure but for its own state.
func (w *watch) look(now time.Time, packets uint64, busy bool, rtt, dev, suspectAfter, deadAfter time.Duration) verdict {
	if packets != w.packets || w.heard.IsZero() {
		*w = watch{packets: packets, heard: now}
		return healthy
	}
	after := pingIdleAfter
	if busy {
		after = pingAfter
	}
	if w.pinged.IsZero() {
		if now.Sub(w.heard) < after {
			return healthy
		}
		w.pinged, w.pings = now, 1
		return ping
	}
	waited := now.Sub(w.pinged)
	if waited >= deadAfter {
		return gone
	}
	if waited >= max(suspectAfter, 2*rtt+4*dev+ackSlack) {
		return silent
	}
	if w.pings < maxPings && waited >= time.Duration(w.pings)*suspectAfter/3 {
		w.pings++ // the first one may have been lost
		return ping
	}
	return healthy
}
