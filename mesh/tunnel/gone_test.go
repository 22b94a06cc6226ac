package tunnel

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/path"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// Nobody listens: the first request fails within the connect budget, later ones at once, none was sent.
func TestUnreachableFailsWithinBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, n := newTestCA(t), newMemNet(delay)
		e := startEdge(t, ca.node(t, "edge-1", identity.RoleEdge), n.listen(7702), PoolConfig{ConnectTimeout: 400 * time.Millisecond})
		defer e.stop()
		target := Target{Node: "exit-1", Addr: "10.0.0.1:7701"}
		start := time.Now()
		_, err := e.pool.Open(t.Context(), target, smallRequest(nil), nil)
		wantFault(t, err, fault.ExitUnreachable, fault.NotSent)
		if d := time.Since(start); d != 400*time.Millisecond {
			t.Errorf("first failure after %v, the budget is 400ms", d)
		}
		time.Sleep(5 * time.Second) // the handshake has timed out by now
		start = time.Now()
		_, err = e.pool.Open(t.Context(), target, smallRequest(nil), nil)
		wantFault(t, err, fault.ExitUnreachable, fault.NotSent)
		if d := time.Since(start); d != 0 {
			t.Errorf("a later failure took %v", d)
		}
		// It comes up: dials in the background find it without any request waiting for them.
		e.pool.Warm([]Target{target})
		x := startExit(t, ca.node(t, "exit-1", identity.RoleExit), n.listen(7701), ServerConfig{Handler: HandlerFunc(echo)})
		defer x.stop()
		time.Sleep(6 * time.Second)
		must(t, roundTrip(t.Context(), e.pool, target, smallRequest(nil), nil))
	})
}

// An exit that is killed and comes back at the same address answers the first packet of an old connection
// with a stateless reset: requests fail over to the new connection at once.
func TestRestartedExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, n := newTestCA(t), newMemNet(delay)
		st := ca.node(t, "exit-1", identity.RoleExit)
		pc := n.listen(7701)
		x := startExit(t, st, pc, ServerConfig{Handler: HandlerFunc(func(ctx context.Context, _ *Exchange) { <-ctx.Done() })})
		e := startEdge(t, ca.node(t, "edge-1", identity.RoleEdge), n.listen(7702), PoolConfig{})
		defer e.stop()
		e.pool.Warm([]Target{x.target})
		held, err := e.pool.Open(t.Context(), x.target, smallRequest(nil), nil)
		must(t, err)
		time.Sleep(time.Second)
		n.Isolate(pc.LocalAddr(), true) // as a kill: no goodbye gets out
		x.stop()
		n.Isolate(pc.LocalAddr(), false)
		y := startExit(t, st, n.listen(7701), ServerConfig{Handler: HandlerFunc(echo)})
		defer y.stop()
		start := time.Now()
		_, err = held.Reply()
		wantFault(t, err, fault.ExitLost, fault.Sent)
		if d := time.Since(start); d > time.Second {
			t.Errorf("the old request failed after %v", d)
		}
		time.Sleep(time.Second)
		must(t, roundTrip(t.Context(), e.pool, y.target, smallRequest(nil), nil))
	})
}

// A closed pool refuses, and what was open ends.
func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, delay, ServerConfig{Handler: HandlerFunc(func(ctx context.Context, _ *Exchange) { <-ctx.Done() })}, PoolConfig{})
		defer p.close()
		s, err := p.pool.Open(t.Context(), p.x.target, smallRequest(nil), nil)
		must(t, err)
		must(t, p.pool.Close())
		must(t, p.pool.Close())
		_, err = s.Reply()
		wantFault(t, err, fault.ExitLost, fault.Sent)
		_, err = p.pool.Open(t.Context(), p.x.target, smallRequest(nil), nil)
		wantFault(t, err, fault.ExitUnreachable, fault.NotSent)
	})
}

// Exits that are not kept warm are let go; warm ones and their connections' age are looked after.
func TestIdleAndOldConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, delay, ServerConfig{Handler: HandlerFunc(func(ctx context.Context, x *Exchange) {
			if x.Request.Path == "/hold" {
				time.Sleep(15 * time.Minute)
			}
			echo(ctx, x)
		})}, PoolConfig{MaxAge: 10 * time.Minute})
		defer p.close()
		must(t, roundTrip(t.Context(), p.pool, p.x.target, smallRequest(nil), nil))
		time.Sleep(3 * time.Minute)
		if n := len(p.pool.Stats().Peers); n != 0 {
			t.Errorf("%d exits kept although idle", n)
		}
		p.pool.Warm([]Target{p.x.target})
		time.Sleep(time.Second)
		hold := smallRequest(nil)
		hold.Path = "/hold"
		s, err := p.pool.Open(t.Context(), p.x.target, hold, nil)
		must(t, err)
		before := p.pool.Stats().Dials
		time.Sleep(11 * time.Minute)
		if got := p.pool.Stats().Dials - before; got != 2 {
			t.Errorf("%d dials after the age limit, want one for each of the two warm connections", got)
		}
		if _, err := s.Reply(); err != nil {
			t.Errorf("the request on the replaced connection: %v", err)
		}
		s.Cancel()
	})
}

// Every reset code maps to the phase that the retry rules may rely on.
func TestResetCodesAreRetryClasses(t *testing.T) {
	for _, c := range []struct {
		err   error
		know  fault.Phase
		kind  fault.Kind
		phase fault.Phase
		why   string
	}{
		{remote(resetNotSent), fault.Sent, fault.ExitUnreachable, fault.NotSent, "the exit knows that it did not call"},
		{remote(resetDraining), fault.Sent, fault.ExitUnreachable, fault.NotSent, "refused before anything"},
		{remote(resetBusy), fault.Sent, fault.ExitUnreachable, fault.NotSent, "refused before anything"},
		{remote(resetSent), fault.Sent, fault.ExitLost, fault.Sent, ""},
		{remote(resetSent), fault.NotSent, fault.ExitLost, fault.Sent, "the exit knows better"},
		{remote(resetPartial), fault.Sent, fault.ExitLost, fault.Partial, "content was passed on, even if none arrived"},
		{remote(resetNotSent), fault.Partial, fault.ExitLost, fault.Partial, "content arrived, whatever the exit says"},
		{remote(0x7fff), fault.Sent, fault.ExitLost, fault.Sent, "a code of the future"},
		{closed(closeDrained), fault.Sent, fault.ExitUnreachable, fault.NotSent, "a drained exit has nothing in progress"},
		{closed(closeAborted), fault.Sent, fault.ExitLost, fault.Sent, ""},
		{errors.New("idle timeout"), fault.Sent, fault.ExitLost, fault.Sent, "connection lost"},
		{errors.New("idle timeout"), fault.NotSent, fault.ExitUnreachable, fault.NotSent, "lost before the body was out"},
		{remote(resetCanceled), fault.Sent, fault.Canceled, fault.Sent, "exit side: the edge gave up"},
		{remote(resetDeadline), fault.Sent, fault.Deadline, fault.Sent, "exit side: the deadline passed"},
	} {
		f := faultOf(c.err, c.know)
		if f.Kind != c.kind || f.Phase != c.phase {
			t.Errorf("%v with phase %d (%s): %v phase %d, want %v phase %d", c.err, c.know, c.why, f.Kind, f.Phase, c.kind, c.phase)
		}
	}
}

// An operator reads of an exit's connection only when its end was not meant.
func TestPlannedEndings(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
		why  string
	}{
		{closed(path.CloseNone), true, "the handler ended"},
		{closed(path.CloseShutdown), true, "a side is stopping"},
		{closed(closeDrained), true, "the exit was drained"},
		{closed(closeRetired), true, "replaced by a newer one"},
		{closed(closeAborted), false, "requests were cut off"},
		{closed(closeDead), false, "it did not answer"},
		{closed(closeRole), false, "the peer is no exit any more"},
		{closed(path.CloseRevoked), false, "revoked"},
		{errors.New("timeout: no recent network activity"), false, "lost"},
	} {
		if got := planned(c.err); got != c.want {
			t.Errorf("%v (%s): planned %v", c.err, c.why, got)
		}
	}
}
