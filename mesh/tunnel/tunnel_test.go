package tunnel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/relay/fault"
)

const delay = 20 * time.Millisecond // one way, in the bubbles

func readAll(s *Stream) ([]byte, error) {
	if _, err := s.Reply(); err != nil {
		return nil, err
	}
	return io.ReadAll(s)
}

func wantFault(t *testing.T, err error, kind fault.Kind, phase fault.Phase) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Kind != kind || f.Phase != phase {
		t.Fatalf("error %v (phase %v): want kind %v, phase %v", err, phaseIn(err), kind, phase)
	}
}

func phaseIn(err error) fault.Phase {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Phase
	}
	return 99
}

// One request takes one round trip on a warm connection, and everything in it arrives as it was sent.
func TestOneRoundTripPerRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got Request
		p := newPair(t, delay, ServerConfig{Handler: HandlerFunc(func(ctx context.Context, x *Exchange) {
			got = x.Request
			if x.Peer.Node != "edge-1" || x.Peer.Region != "us-west" {
				t.Errorf("peer = %+v", x.Peer)
			}
			echo(ctx, x)
		})}, PoolConfig{})
		defer p.close()
		p.pool.Warm([]Target{p.x.target})
		body := []byte(`{"model":"gpt-4o"}`)
		must(t, roundTrip(t.Context(), p.pool, p.x.target, smallRequest(body), body))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for range 5 {
			start := time.Now()
			req := smallRequest(body)
			s, err := p.pool.Open(ctx, p.x.target, req, bytes.NewReader(body))
			must(t, err)
			reply, err := s.Reply()
			must(t, err)
			b, err := io.ReadAll(s)
			must(t, err)
			if d := time.Since(start); d != 2*delay {
				t.Errorf("took %v, want one round trip of %v", d, 2*delay)
			}
			tr, ok := s.Trailer()
			if !ok || reply.Status != 200 || !bytes.Equal(b, body) || tr.Usage.Input != int64(len(body)) || !tr.Complete || tr.Processing != "US" {
				t.Errorf("reply %+v body %q trailer %+v", reply, b, tr)
			}
			req.Timeout = got.Timeout
			if got.Timeout <= 0 || got.Timeout > time.Minute {
				t.Errorf("timeout %v did not follow the context", got.Timeout)
			}
			if diff := cmp.Diff(req, got); diff != "" {
				t.Errorf("request changed on the way (-sent +got):\n%s", diff)
			}
		}
		if rtt, ok := p.pool.RTT("exit-1"); !ok || rtt < 2*delay {
			t.Errorf("RTT = %v, %v", rtt, ok)
		}
	})
}

// Bodies of every size class arrive whole, in both directions, by every way of sending them.
func TestBodySizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond, ServerConfig{Handler: HandlerFunc(echo)}, PoolConfig{})
		defer p.close()
		for _, n := range []int{0, 1, 1200, blockSize - 1, blockSize, blockSize + 1, 64<<10 + 1, 3 << 20} {
			body := make([]byte, n)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(body)
			for _, r := range []io.Reader{bytes.NewReader(body), onlyReader{bytes.NewReader(body)}} {
				s, err := p.pool.Open(t.Context(), p.x.target, smallRequest(body), r)
				must(t, err)
				got, err := readAll(s)
				must(t, err)
				if !bytes.Equal(got, body) {
					t.Fatalf("%d bytes came back as %d, or changed", n, len(got))
				}
			}
		}
	})
}

type onlyReader struct{ io.Reader }

// The edge gives up: the exit's context ends within one way's delay, so the provider call can be cancelled.
func TestCancelReachesExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		p := newPair(t, delay, ServerConfig{Handler: HandlerFunc(func(ctx context.Context, x *Exchange) {
			_, _ = io.ReadAll(x.Body)
			_ = x.WriteReply(Reply{Status: 200})
			_, _ = x.Write([]byte("data: 1\n\n"))
			<-ctx.Done()
			ended <- time.Now()
			f := faultOf(context.Cause(ctx), fault.Sent)
			if f.Kind != fault.Canceled {
				t.Errorf("cause %v maps to %v", context.Cause(ctx), f.Kind)
			}
		})}, PoolConfig{})
		defer p.close()
		ctx, cancel := context.WithCancel(t.Context())
		s, err := p.pool.Open(ctx, p.x.target, smallRequest(nil), nil)
		must(t, err)
		if _, err := s.NextChunk(); err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		cancel()
		_, err = s.NextChunk()
		wantFault(t, err, fault.Canceled, fault.Partial)
		if d := time.Since(at); d > time.Millisecond {
			t.Errorf("the edge's read returned after %v", d)
		}
		if d := (<-ended).Sub(at); d > delay+5*time.Millisecond {
			t.Errorf("the exit learned after %v, one way is %v", d, delay)
		}
	})
}

// A deadline ends the exchange on both sides by itself.
func TestDeadlineEndsBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var over atomic.Bool
		p := newPair(t, delay, ServerConfig{Handler: HandlerFunc(func(ctx context.Context, x *Exchange) {
			_, _ = io.ReadAll(x.Body)
			<-ctx.Done()
			over.Store(true)
		})}, PoolConfig{})
		defer p.close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := p.pool.Open(ctx, p.x.target, smallRequest([]byte("x")), bytes.NewReader([]byte("x")))
		must(t, err)
		_, err = s.Reply()
		wantFault(t, err, fault.Deadline, fault.Sent)
		time.Sleep(2 * delay)
		if !over.Load() {
			t.Error("the exit still works on it")
		}
	})
}

// The edge does not read: the exit's writes block, and its memory does not grow. Then the edge reads all.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written atomic.Int64
		const total = 64 << 20
		p := newPair(t, time.Millisecond, ServerConfig{Handler: HandlerFunc(func(_ context.Context, x *Exchange) {
			_ = x.WriteReply(Reply{Status: 200})
			chunk := make([]byte, 32<<10)
			for range total / len(chunk) {
				n, err := x.Write(chunk)
				written.Add(int64(n))
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
			_ = x.Finish(Trailer{Complete: true})
		})}, PoolConfig{})
		defer p.close()
		s, err := p.pool.Open(t.Context(), p.x.target, smallRequest(nil), nil)
		must(t, err)
		_, err = s.Reply()
		must(t, err)
		time.Sleep(2 * time.Second)
		if n := written.Load(); n < 1<<20 || n > 9<<20 {
			t.Errorf("%d bytes written while nobody reads: want about the stream window (4-8 MiB)", n)
		}
		n, err := io.Copy(io.Discard, s)
		if n != total || err != nil {
			t.Errorf("read %d of %d, %v", n, total, err)
		}
	})
}

// Content is passed on when it is there: nothing waits for what follows, and what is there together comes together.
func TestChunksAreNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, delay, ServerConfig{Handler: HandlerFunc(func(_ context.Context, x *Exchange) {
			_ = x.WriteReply(Reply{Status: 200})
			for range 3 {
				_, _ = x.Write([]byte("abc"))
				time.Sleep(time.Second)
			}
			_, _ = x.Write([]byte("de"))
			_, _ = x.Write([]byte("f"))
			_ = x.Finish(Trailer{Complete: true})
		})}, PoolConfig{})
		defer p.close()
		must(t, p.pool.peer(p.x.target).connect(t.Context()))
		start := time.Now()
		s, err := p.pool.Open(t.Context(), p.x.target, smallRequest(nil), nil)
		must(t, err)
		for i := range 3 {
			c, err := s.NextChunk()
			if err != nil || string(c) != "abc" || time.Since(start) != 2*delay+time.Duration(i)*time.Second {
				t.Errorf("chunk %d %q after %v, %v", i, c, time.Since(start), err)
			}
		}
		c, err := s.NextChunk()
		if string(c) != "def" || err != nil {
			t.Errorf("last chunk %q, %v: want the two writes joined", c, err)
		}
		if _, err := s.NextChunk(); err != io.EOF {
			t.Errorf("end: %v", err)
		}
	})
}

// The exit's faults arrive as they were made, before and after the reply.
func TestFaultsCross(t *testing.T) {
	want := fault.New(fault.UpstreamRate, "slow down").At(fault.Sent).After(3 * time.Second)
	want.Raw, want.Status = []byte(`{"error":{}}`), 429
	for _, c := range []struct {
		why     string
		handler HandlerFunc
		kind    fault.Kind
		phase   fault.Phase
		data    bool
	}{
		{"instead of a reply", func(_ context.Context, x *Exchange) { x.Abort(want) }, fault.UpstreamRate, fault.Sent, false},
		{"after content", func(_ context.Context, x *Exchange) {
			_ = x.WriteReply(Reply{Status: 200})
			_, _ = x.Write([]byte("abc"))
			x.Abort(fault.New(fault.UpstreamPartial, "broke off").At(fault.Partial))
		}, fault.UpstreamPartial, fault.Partial, true},
		{"handler forgets to finish", func(_ context.Context, x *Exchange) { _, _ = io.ReadAll(x.Body) }, fault.ExitLost, fault.Sent, false},
		{"handler panics", func(context.Context, *Exchange) { panic("boom") }, fault.ExitLost, fault.Sent, false},
		{"handler says not sent", func(_ context.Context, x *Exchange) { x.reset(fault.NotSent) }, fault.ExitUnreachable, fault.NotSent, false},
		{"trailer without reply or fault", func(_ context.Context, x *Exchange) { _ = x.Finish(Trailer{}) }, fault.ExitLost, fault.Sent, false},
	} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, delay, ServerConfig{Handler: c.handler}, PoolConfig{})
				defer p.close()
				s, err := p.pool.Open(t.Context(), p.x.target, smallRequest([]byte("{}")), bytes.NewReader([]byte("{}")))
				must(t, err)
				_, err = s.Reply()
				if c.data {
					must(t, err)
					_, err = io.ReadAll(s)
				}
				wantFault(t, err, c.kind, c.phase)
				if c.kind == fault.UpstreamRate {
					if diff := cmp.Diff(want, fault.As(err)); diff != "" {
						t.Errorf("fault changed on the way:\n%s", diff)
					}
				}
				if n := p.pool.Stats().Peers[0].Inflight; n != 0 {
					t.Errorf("%d in flight after the end", n)
				}
			})
		})
	}
}

// A body over the limit is refused by its announced length; the edge learns why although it was still sending.
func TestTooLargeBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, delay, ServerConfig{Handler: HandlerFunc(echo), MaxBody: 1 << 20}, PoolConfig{})
		defer p.close()
		body := make([]byte, 40<<20) // more than the windows take
		s, err := p.pool.Open(t.Context(), p.x.target, smallRequest(body), bytes.NewReader(body))
		must(t, err)
		_, err = s.Reply()
		wantFault(t, err, fault.TooLarge, fault.NotSent)
		must(t, roundTrip(t.Context(), p.pool, p.x.target, smallRequest(body[:9]), body[:9]))
	})
}

// Bodies above the threshold take the bulk connection, so that tokens do not queue behind them.
func TestBulkHasItsOwnConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, delay, ServerConfig{Handler: HandlerFunc(echo)}, PoolConfig{})
		defer p.close()
		p.pool.Warm([]Target{p.x.target})
		time.Sleep(time.Second)
		ps := p.pool.peer(p.x.target)
		for _, bulk := range []bool{false, true} {
			c := ps.pick(time.Now(), bulk)
			c.live.Add(-1)
			if (c == ps.slots[p.pool.cfg.InteractiveConns].c) != bulk {
				t.Errorf("bulk=%v took the wrong connection", bulk)
			}
		}
		if n := p.pool.Stats().Peers[0].Connections; n != 2 {
			t.Errorf("%d connections kept warm, want 2", n)
		}
	})
}

// A drain lets running requests end, refuses new ones as not sent, and says so on the connection.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, delay, ServerConfig{Handler: HandlerFunc(func(_ context.Context, x *Exchange) {
			_ = x.WriteReply(Reply{Status: 200})
			_ = x.Flush()
			time.Sleep(2 * time.Second)
			_, _ = x.Write([]byte("late"))
			_ = x.Finish(Trailer{Complete: true})
		})}, PoolConfig{})
		defer p.close()
		s, err := p.pool.Open(t.Context(), p.x.target, smallRequest(nil), nil)
		must(t, err)
		_, err = s.Reply()
		must(t, err)
		drained := make(chan error, 1)
		go func() { drained <- p.x.srv.Drain(t.Context()) }()
		time.Sleep(time.Second)

		s2, err := p.pool.Open(t.Context(), p.x.target, smallRequest(nil), nil)
		if err == nil {
			_, err = s2.Reply()
		}
		wantFault(t, err, fault.ExitUnreachable, fault.NotSent)
		start := time.Now()
		_, err = p.pool.Open(t.Context(), p.x.target, smallRequest(nil), nil)
		wantFault(t, err, fault.ExitUnreachable, fault.NotSent)
		if time.Since(start) != 0 {
			t.Errorf("the second refusal took %v: the edge knew already", time.Since(start))
		}
		b, err := io.ReadAll(s)
		if string(b) != "late" || err != nil {
			t.Errorf("running request ended with %q, %v", b, err)
		}
		if err := <-drained; err != nil {
			t.Errorf("drain: %v", err)
		}
	})
}

// A drain that runs out of time cuts what is left and says so.
func TestDrainDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, delay, ServerConfig{Handler: HandlerFunc(func(ctx context.Context, _ *Exchange) { <-ctx.Done() })}, PoolConfig{})
		defer p.close()
		s, err := p.pool.Open(t.Context(), p.x.target, smallRequest(nil), nil)
		must(t, err)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.x.srv.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drain: %v", err)
		}
		_, err = s.Reply()
		wantFault(t, err, fault.ExitLost, fault.Sent)
	})
}

// Above the limit of concurrent requests the exit refuses as not sent.
func TestMaxInflight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := newPair(t, delay, ServerConfig{MaxInflight: 2, Handler: HandlerFunc(func(_ context.Context, x *Exchange) {
			<-release
			_ = x.Respond(Reply{Status: 200}, nil, Trailer{})
		})}, PoolConfig{})
		defer p.close()
		var open []*Stream
		for range 2 {
			s, err := p.pool.Open(t.Context(), p.x.target, smallRequest(nil), nil)
			must(t, err)
			open = append(open, s)
		}
		time.Sleep(time.Second)
		s, err := p.pool.Open(t.Context(), p.x.target, smallRequest(nil), nil)
		if err == nil {
			_, err = s.Reply()
		}
		wantFault(t, err, fault.ExitUnreachable, fault.NotSent)
		close(release)
		for _, s := range open {
			if _, err := readAll(s); err != nil {
				t.Error(err)
			}
		}
	})
}

// Only edges may open tunnels, and only to exits.
func TestRolesAreChecked(t *testing.T) {
	for _, c := range []struct {
		why          string
		client, host identity.Role
		id           identity.NodeID
		ok           bool
	}{
		{"edge to exit", identity.RoleEdge, identity.RoleExit, "exit-1", true},
		{"exit to exit", identity.RoleExit, identity.RoleExit, "exit-1", false},
		{"edge to edge", identity.RoleEdge, identity.RoleEdge, "exit-1", false},
		{"another node answers", identity.RoleEdge, identity.RoleExit, "exit-2", false},
		{"both roles on both", identity.RoleEdge | identity.RoleExit, identity.RoleEdge | identity.RoleExit, "exit-1", true},
	} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, n := newTestCA(t), newMemNet(delay)
				x := startExit(t, ca.node(t, "exit-1", c.host), n.listen(7701), ServerConfig{Handler: HandlerFunc(echo)})
				e := startEdge(t, ca.node(t, "edge-1", c.client), n.listen(7702), PoolConfig{})
				defer x.stop()
				defer e.stop()
				x.target.Node = c.id
				err := roundTrip(t.Context(), e.pool, x.target, smallRequest(nil), nil)
				if c.ok {
					must(t, err)
					return
				}
				if err == nil {
					t.Fatal("served")
				}
				// The server's refusal arrives after the handshake: the request may look handed over.
				if f := fault.As(err); f.Kind != fault.ExitUnreachable && f.Kind != fault.ExitLost {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

// Many requests at once over one pair, with every tenth one cancelled: no mix-up, nothing left behind.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond, ServerConfig{Handler: HandlerFunc(echo)}, PoolConfig{Spill: 16})
		defer p.close()
		var wg sync.WaitGroup
		for i := range 400 {
			wg.Go(func() {
				body := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 10+i*7)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s, err := p.pool.Open(ctx, p.x.target, smallRequest(body), bytes.NewReader(body))
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				if i%10 == 0 {
					s.Cancel()
					s.Cancel()
					return
				}
				got, err := readAll(s)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("request %d: %d bytes of %d, %v", i, len(got), len(body), err)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		st := p.pool.Stats().Peers[0]
		if st.Inflight != 0 || p.x.srv.Stats().Inflight != 0 {
			t.Errorf("left in flight: edge %d, exit %d", st.Inflight, p.x.srv.Stats().Inflight)
		}
	})
}
