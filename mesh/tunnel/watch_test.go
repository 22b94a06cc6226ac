package tunnel

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// script feeds a watch with looks as the monitor would make them, and counts.
type script struct {
	t      *testing.T
	w      watch
	now    time.Time
	c      counters
	probes int
}

func newScript(t *testing.T, rtt time.Duration) *script {
	s := &script{t: t, now: time.Unix(0, 0), c: counters{near: rtt, rtt: rtt}}
	s.look(lookBusy, lookBusy, quietBusy)
	return s
}

// look advances by the time planned, or by more, and gives the verdict. Probes leave at once.
func (s *script) look(planned, real, patience time.Duration) verdict {
	s.now = s.now.Add(real)
	v, probe := s.w.look(s.now, planned, s.c, patience, 5*time.Second)
	if probe {
		s.probes++
		s.c.sent++
	}
	return v
}

// until looks like the monitor until a verdict is reached, and gives the silence that it took.
func (s *script) until(want verdict, limit time.Duration) time.Duration {
	s.t.Helper()
	for heard := s.now; s.now.Sub(heard) < limit; {
		d := lookBusy
		if s.w.dense() {
			d = lookDoubt
		}
		if v := s.look(d, d, quietBusy); v >= want && v < gone || v == want {
			return s.now.Sub(heard)
		}
	}
	s.t.Fatalf("verdict %d is not reached within %v", want, limit)
	return 0
}

func (s *script) answer(v verdict) {
	s.t.Helper()
	s.c.received++
	if got := s.look(lookBusy, lookBusy, quietBusy); got != v {
		s.t.Fatalf("verdict %d on an answer, want %d", got, v)
	}
}

// What silence leads to, and when.
func TestWatch(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name         string
		rtt          time.Duration
		silent, lost time.Duration // at most
	}{
		{"a machine's own loopback", 0, 300 * ms, 300 * ms},
		{"a region", 2 * ms, 300 * ms, 300 * ms},
		{"a continent", 40 * ms, 300 * ms, 350 * ms},
		{"an ocean", 160 * ms, 400 * ms, 600 * ms},
		{"two oceans", 330 * ms, 700 * ms, 1200 * ms},
	} {
		t.Run("a dead exit over "+c.name, func(t *testing.T) {
			if d := newScript(t, c.rtt).until(silent, 2*time.Second); d > c.silent || d < 250*ms || d < c.rtt {
				t.Errorf("silent after %v, want 250 ms or a round trip at least, %v at most", d, c.silent)
			}
			s := newScript(t, c.rtt)
			if d := s.until(lost, 2*time.Second); d > c.lost || d < 250*ms || d < c.rtt {
				t.Errorf("lost after %v, want 250 ms or a round trip at least, %v at most", d, c.lost)
			}
			if s.probes < enoughProbes || s.probes > 2*enoughProbes {
				t.Errorf("%d probes", s.probes)
			}
			if d := s.until(gone, 6*time.Second); d < 4*time.Second {
				t.Errorf("gone %v after it was lost", d)
			}
		})
	}
	t.Run("a thinking model", func(t *testing.T) {
		s := newScript(t, 2*ms)
		for range 1000 { // every probe is answered within a look
			before := s.probes
			for s.probes == before {
				if v := s.look(lookBusy, lookBusy, quietBusy); v != quiet {
					t.Fatalf("verdict %d", v)
				}
			}
			s.answer(healthy)
		}
		if per := s.now.Sub(time.Unix(0, 0)) / time.Duration(s.probes); per < 50*ms {
			t.Errorf("a probe every %v", per)
		}
	})
	t.Run("nobody waits", func(t *testing.T) {
		s := newScript(t, 2*ms)
		for range 3 {
			s.look(lookIdle, lookIdle, quietIdle)
		}
		if s.probes != 0 {
			t.Errorf("%d probes in 1.5 s without a request", s.probes)
		}
		if s.look(lookIdle, lookIdle, quietIdle); s.probes != 1 {
			t.Errorf("%d probes after 2 s", s.probes)
		}
		s.c.received++
		s.look(lookIdle, lookIdle, quietIdle) // the answer came long before this look
		if s.w.worst != 0 {
			t.Errorf("a rare look was taken for a wait of %v", s.w.worst)
		}
	})
	t.Run("a process without CPU blames nobody", func(t *testing.T) {
		s := newScript(t, 2*ms)
		for i := range 20 { // 20 s of stalls, of which the clock believes 25 ms each
			if v := s.look(lookBusy, time.Second, quietBusy); v == lost || v == gone {
				t.Fatalf("verdict %d after %d looks", v, i)
			}
			if i%4 == 3 {
				s.answer(healthy)
			}
		}
	})
	t.Run("doubts that ended well are remembered", func(t *testing.T) {
		s := newScript(t, 2*ms)
		s.until(silent, time.Second)
		s.answer(healthy)
		worst := s.w.worst
		if worst < 150*ms || s.w.need() != 2*enoughProbes {
			t.Fatalf("a stall of 250 ms left %v", worst)
		}
		if d := s.until(lost, 2*time.Second); d < 2*worst {
			t.Errorf("lost after %v, though the peer has come back after %v", d, worst)
		}
		s.answer(healthy)
		for range 2 * 60 * 10 {
			s.look(100*ms, 100*ms, quietBusy)
			s.answer(healthy)
		}
		if d := s.until(lost, 2*time.Second); d > 300*ms {
			t.Errorf("lost after %v, an hour after the last doubt", d)
		}
	})
	t.Run("congestion lets no probe leave", func(t *testing.T) {
		s := newScript(t, 2*ms)
		s.c.sent += fewProbes // what QUIC itself repeats
		asked := 0
		for heard := s.now; ; {
			s.now = s.now.Add(lookDoubt)
			v, probe := s.w.look(s.now, lookDoubt, s.c, quietBusy, 5*time.Second)
			if probe {
				asked++
			}
			if v == lost {
				if d := s.now.Sub(heard); d < time.Second || d > 1200*ms {
					t.Errorf("lost after %v", d)
				}
				break
			}
		}
		if asked > maxUnsent+fewProbes {
			t.Errorf("%d probes were queued: QUIC's queue would fill and block", asked)
		}
	})
}

// hub is an edge with two exits, the second one to show that the edge itself is not cut off.
type hub struct {
	*edge
	net  *memNet
	x, y *exit
}

// newHub makes exits that keep requests for /hold until they are given up, answer /begin with content and
// then fall silent, and echo others.
func newHub(t *testing.T, delay time.Duration) *hub {
	t.Helper()
	ca, n := newTestCA(t), newMemNet(delay)
	serve := ServerConfig{Handler: HandlerFunc(func(ctx context.Context, x *Exchange) {
		switch x.Request.Path {
		case "/begin":
			_ = x.WriteReply(Reply{Status: 200})
			_, _ = x.Write([]byte("data: {}\n\n"))
			<-ctx.Done()
		case "/hold":
			<-ctx.Done()
		default:
			echo(ctx, x)
		}
	})}
	h := &hub{
		net: n,
		x:   startExit(t, ca.node(t, "exit-1", identity.RoleExit), n.listen(7701), serve),
		y:   startExit(t, ca.node(t, "exit-2", identity.RoleExit), n.listen(7703), serve),
	}
	h.edge = startEdge(t, ca.node(t, "edge-1", identity.RoleEdge), n.listen(7702), PoolConfig{MaxAge: 48 * time.Hour})
	h.pool.Warm([]Target{h.x.target, h.y.target})
	time.Sleep(3 * time.Second)
	return h
}

func (h *hub) stop() {
	h.edge.stop()
	h.x.stop()
	h.y.stop()
}

func (h *hub) open(t *testing.T, at *exit, path string, caller Caller) *Stream {
	t.Helper()
	r := smallRequest(nil)
	r.Path, r.Caller = path, caller
	s, err := h.pool.Open(t.Context(), at.target, r, nil)
	must(t, err)
	return s
}

type stays struct{}

func (stays) Movable() bool { return false }

// An exit is killed: what waits for it is told within 300 ms on a short path and within a few round trips
// on a long one, uploads as not sent; new requests are refused at once. What has content, or nowhere else to
// go, is given until DeadAfter.
func TestSilentExit(t *testing.T) {
	for _, c := range []struct{ oneWay, limit time.Duration }{
		{100 * time.Microsecond, 300 * time.Millisecond}, {time.Millisecond, 300 * time.Millisecond}, {75 * time.Millisecond, 700 * time.Millisecond},
	} {
		t.Run(c.oneWay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, c.oneWay)
				defer h.stop()
				held, begun, alone := h.open(t, h.x, "/hold", nil), h.open(t, h.x, "/begin", nil), h.open(t, h.x, "/hold", stays{})
				_, err := begun.NextChunk()
				must(t, err)
				time.Sleep(30 * time.Second) // a model that thinks is not an exit that is silent
				must(t, roundTrip(t.Context(), h.pool, h.x.target, smallRequest(nil), nil))

				h.net.Isolate(h.x.ep.Addr(), true)
				cut := time.Now()
				uploaded := make(chan error, 1)
				go func() {
					body := make([]byte, 20<<20)
					_, err := h.pool.Open(t.Context(), h.x.target, smallRequest(body), bytes.NewReader(body))
					// Its own packets fill the congestion window: the probes leave up to two round trips later.
					if d, limit := time.Since(cut), c.limit+4*c.oneWay; d > limit {
						t.Errorf("the upload was cut off after %v, want %v at most", d, limit)
					}
					uploaded <- err
				}()
				_, err = held.Reply()
				wantFault(t, err, fault.ExitLost, fault.Sent)
				if d := time.Since(cut); d > c.limit || d < 2*c.oneWay {
					t.Errorf("the waiting request was told after %v, want %v at most", d, c.limit)
				}
				wantFault(t, <-uploaded, fault.ExitUnreachable, fault.NotSent)
				now := time.Now()
				_, err = h.pool.Open(t.Context(), h.x.target, smallRequest(nil), nil)
				wantFault(t, err, fault.ExitUnreachable, fault.NotSent)
				if d := time.Since(now); d != 0 {
					t.Errorf("the refusal took %v", d)
				}
				if !h.pool.Down(h.x.target.Node) || h.pool.Down(h.y.target.Node) {
					t.Error("not the one exit that is down is")
				}
				_, err = begun.NextChunk()
				wantFault(t, err, fault.ExitLost, fault.Partial)
				_, err = alone.Reply()
				wantFault(t, err, fault.ExitLost, fault.Sent)
				if d := time.Since(cut); d < 4*time.Second || d > 6*time.Second {
					t.Errorf("what has content was told after %v, want 5 s", d)
				}
			})
		})
	}
}

// A request that begins on a connection which has been idle for long is noticed as quickly: the monitor
// does not sleep through it.
func TestSilentExitAfterIdling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, time.Millisecond)
		defer h.stop()
		time.Sleep(time.Hour + 7*time.Millisecond)
		h.net.Isolate(h.x.ep.Addr(), true)
		start := time.Now()
		held := h.open(t, h.x, "/hold", nil)
		_, err := held.Reply()
		wantFault(t, err, fault.ExitLost, fault.Sent)
		if d := time.Since(start); d > 300*time.Millisecond {
			t.Errorf("told after %v", d)
		}
	})
}

// An edge that is cut off from all exits gives nothing up before DeadAfter: no other exit could do better.
// A blackout ends for everybody as if nothing had been.
func TestCutOffEdgeKeepsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, 10*time.Millisecond)
		defer h.stop()
		held := h.open(t, h.x, "/hold", nil)
		time.Sleep(10 * time.Second)
		for _, d := range []time.Duration{time.Second, 3 * time.Second, 4 * time.Second} {
			h.net.Isolate(edgeAddr, true)
			time.Sleep(d)
			if _, err := h.pool.Open(t.Context(), h.x.target, smallRequest(nil), nil); err == nil {
				t.Errorf("a new request was given to an exit that was silent for %v", d)
			}
			h.net.Isolate(edgeAddr, false)
			time.Sleep(3 * time.Second)
			must(t, roundTrip(t.Context(), h.pool, h.x.target, smallRequest(nil), nil))
		}
		h.net.Isolate(h.x.ep.Addr(), true)
		_, err := held.Reply() // it has lived through all of that
		wantFault(t, err, fault.ExitLost, fault.Sent)
	})
}

var edgeAddr = &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7702}

// Paths that lose, delay and reorder, and black out for less than the threshold: nothing that waits is given
// up, and nothing is dialled again. The seconds are virtual, the draws fixed.
func TestNoFalseAlarms(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name          string
		delay, jitter time.Duration // one way
		loss          float64
		blackout      time.Duration // every 10 s
		run           time.Duration
		changes       bool // the path is clean at first
	}{
		{name: "clean", delay: ms, run: 5 * time.Minute},
		{name: "2 percent", delay: 5 * ms, loss: 0.02, run: 5 * time.Minute},
		{name: "10 percent", delay: 20 * ms, loss: 0.1, run: 5 * time.Minute},
		{name: "30 percent", delay: ms, loss: 0.3, run: 5 * time.Minute},
		{name: "30 percent over 300 ms", delay: 150 * ms, jitter: 50 * ms, loss: 0.3, run: 5 * time.Minute},
		{name: "suddenly 30 percent", delay: 10 * ms, loss: 0.3, run: 5 * time.Minute, changes: true},
		{name: "jitter", delay: ms, jitter: 120 * ms, run: 5 * time.Minute},
		{name: "blackouts", delay: ms, blackout: 150 * ms, run: 5 * time.Minute},
		{name: "blackouts and loss", delay: 40 * ms, jitter: 20 * ms, loss: 0.1, blackout: 150 * ms, run: 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, c.delay)
				defer h.stop()
				if !c.changes {
					h.net.Set(c.delay, c.jitter, c.loss)
				}
				held, begun := h.open(t, h.x, "/hold", nil), h.open(t, h.x, "/begin", nil)
				dials := h.pool.Stats().Dials
				ended := make(chan error, 2)
				go func() { _, err := held.Reply(); ended <- err }()
				go func() { _, err := io.Copy(io.Discard, begun); ended <- err }()
				time.Sleep(10 * time.Second)
				h.net.Set(c.delay, c.jitter, c.loss)
				if testing.Short() {
					c.run = 30 * time.Second
				}
				for until := time.Now().Add(c.run); time.Now().Before(until); {
					h.net.Isolate(h.x.ep.Addr(), c.blackout > 0)
					time.Sleep(c.blackout)
					h.net.Isolate(h.x.ep.Addr(), false)
					time.Sleep(10 * time.Second)
				}
				select {
				case err := <-ended:
					t.Errorf("given up: %v", err)
				default:
				}
				t.Logf("%d dials, %d packets", h.pool.Stats().Dials-dials, h.net.Sent())
			})
		})
	}
}

// A day without requests, and one of requests that nobody answers: no alarm, and a cost that does not
// depend on how many wait.
func TestProbesCostPerConnection(t *testing.T) {
	packets := func(t *testing.T, streams int, run time.Duration) (n int) {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, time.Millisecond)
			defer h.stop()
			var open []*Stream
			for range streams {
				open = append(open, h.open(t, h.x, "/hold", nil))
			}
			time.Sleep(10 * time.Second)
			st := h.pool.Stats()
			before := h.net.Sent()
			time.Sleep(run)
			n = h.net.Sent() - before
			if now := h.pool.Stats(); now.Dials != st.Dials || now.Peers[0].Inflight != int64(streams) {
				t.Errorf("%d dials, %d of %d requests left", now.Dials-st.Dials, now.Peers[0].Inflight, streams)
			}
			for _, s := range open {
				s.Cancel()
			}
		})
		return n
	}
	day := 24 * time.Hour
	if testing.Short() {
		day = time.Hour
	}
	if n := packets(t, 0, day); n > 6*int(day/time.Second) {
		t.Errorf("%d packets in %v without requests", n, day)
	}
	one, many := packets(t, 1, time.Minute), packets(t, 1000, time.Minute)
	if one < 60*10 || one > 60*60 {
		t.Errorf("%d packets a minute for one waiting request, want 10 to 60 a second", one)
	}
	if many > 2*one+60 { // they lie on two connections, 10000 would
		t.Errorf("%d packets a minute for 1000 waiting requests, %d for one", many, one)
	}
}
