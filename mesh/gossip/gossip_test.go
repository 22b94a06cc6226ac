package gossip

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/probe"
)

func TestNodesFindEachOtherAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, 75*time.Millisecond)
		defer m.end()
		a := m.start("a", 1, Local, nil, 1, 2, 3)
		b := m.start("b", 2, Local, nil, 1, 2, 3)
		c := m.start("c", 3, Local, nil, 1, 2, 3)
		for _, n := range m.list {
			t.Logf("%s sees all after %v", n.id, n.sees(t, 10*time.Second, a, b, c))
		}
		got := a.Members()
		if len(got) != 3 || got[2].Meta != (Meta{ID: "c", Region: "us-west", Roles: identity.RoleExit, Addr: addrOfPort(3), Build: "test"}) {
			t.Errorf("members of a: %+v", got)
		}
		start := time.Now()
		if err := c.Leave(t.Context()); err != nil {
			t.Errorf("leave: %v", err)
		}
		a.sees(t, 5*time.Second, a, b)
		b.sees(t, 5*time.Second, a, b)
		t.Logf("leaving was known everywhere after %v", time.Since(start))
		for _, mem := range a.Members() {
			if mem.Meta.ID == "c" && (mem.Alive || mem.Since.Before(start)) {
				t.Errorf("c is still listed as %+v", mem)
			}
		}
	})
}

func TestRecordsReachEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, 75*time.Millisecond)
		defer m.end()
		var all []*testNode
		for i := range 7 {
			all = append(all, m.start(fmt.Sprint("n", i), i+1, Local, nil, 1))
		}
		for _, n := range all {
			n.sees(t, 20*time.Second, all...)
		}
		all[3].Publish(Record{Load: 100, Peers: []PeerSample{{Node: Short("n1"), RTT: 150 * time.Millisecond}}})
		for _, n := range all {
			d := n.record(t, 5*time.Second, all[3], func(r Record) bool {
				return r.Load == 100 && len(r.Peers) == 1 && r.Peers[0].RTT == 150*time.Millisecond
			})
			t.Logf("load known at %s after %v", n.id, d)
		}
		// Drain and circuit state are urgent: DESIGN of the mesh wants edges to stop within 1.5 s.
		start := time.Now()
		all[3].Publish(Record{Load: 100, Draining: true, Providers: []ProviderSample{{Provider: Short("openai-us"), State: probe.Open}}})
		for _, n := range all {
			n.record(t, 1500*time.Millisecond, all[3], func(r Record) bool {
				return r.Draining && len(r.Providers) == 1 && r.Providers[0] == ProviderSample{Provider: Short("openai-us"), State: probe.Open}
			})
		}
		t.Logf("drain known everywhere after %v", time.Since(start))
	})
}

// A node whose neighbours fall silent is told dead by memberlist in tens of seconds (that is why it is
// not the failure detector), nothing blocks meanwhile, and it comes back by itself.
func TestSilentNodeIsMissedAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, 20*time.Millisecond)
		defer m.end()
		a := m.start("a", 1, Local, nil, 1, 2, 3)
		b := m.start("b", 2, Local, nil, 1, 2, 3)
		c := m.start("c", 3, Local, nil, 1, 2, 3)
		for _, n := range m.list {
			n.sees(t, 10*time.Second, a, b, c)
		}
		m.link.Isolate(portAddr(3), true)
		t.Logf("silence noticed after %v", a.sees(t, time.Minute, a, b))
		b.sees(t, time.Minute, a, b)
		c.sees(t, time.Minute, c)
		time.Sleep(5 * time.Minute) // memberlist has stopped talking to the dead
		m.link.Isolate(portAddr(3), false)
		for _, n := range m.list {
			t.Logf("%s whole again after %v", n.id, n.sees(t, 2*time.Minute, a, b, c))
		}
	})
}

// A crashed node that starts anew on another port, with an older clock in its records' numbers, is
// taken for what it now is.
func TestRestartedNodeIsNewerThanItsFormerSelf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, 20*time.Millisecond)
		defer m.end()
		a := m.start("a", 1, Local, nil, 1, 2, 3)
		b := m.start("b", 2, Local, nil, 1, 2, 3)
		b.mu.Lock()
		b.ownSeq += 1 << 40 // the former life's clock was far ahead
		b.mu.Unlock()
		b.Publish(Record{Load: 1})
		a.record(t, 10*time.Second, b, func(r Record) bool { return r.Load == 1 })
		b.stop()
		again := m.start("b", 3, Local, nil, 1, 2, 3)
		again.Publish(Record{Load: 2})
		t.Logf("new record after %v", a.record(t, time.Minute, again, func(r Record) bool { return r.Load == 2 }))
		for _, mem := range a.Members() {
			if mem.Meta.ID == "b" && mem.Meta.Addr != addrOfPort(3) {
				t.Errorf("a still has b at %s", mem.Meta.Addr)
			}
		}
		again.Publish(Record{Load: 3})
		a.record(t, 10*time.Second, again, func(r Record) bool { return r.Load == 3 })
	})
}

func TestUnknownNodesAreNotTakenIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, 20*time.Millisecond)
		defer m.end()
		known := func(c *Config) { c.Known = func(id identity.NodeID) bool { return id != "evil" } }
		a := m.start("a", 1, Local, known, 1, 2)
		b := m.start("b", 2, Local, known, 1, 2)
		m.start("evil", 3, Local, nil, 1, 2)
		a.sees(t, 10*time.Second, a, b)
		time.Sleep(time.Minute)
		a.sees(t, time.Second, a, b)
		b.sees(t, time.Second, a, b)
	})
}

func TestRoundTripsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, 75*time.Millisecond)
		defer m.end()
		got := make(chan time.Duration, 100)
		a := m.start("a", 1, Local, func(c *Config) {
			c.OnRTT = func(node identity.NodeID, rtt time.Duration) {
				if node == "b" {
					select {
					case got <- rtt:
					default:
					}
				}
			}
		}, 1, 2)
		b := m.start("b", 2, Local, nil, 1, 2)
		a.sees(t, 10*time.Second, a, b)
		if rtt := <-got; rtt < 150*time.Millisecond || rtt > 160*time.Millisecond {
			t.Errorf("round trip %v on a path of 150 ms", rtt)
		}
	})
}

// After Shutdown the transport drops what it is given, at once: memberlist's MockTransport blocks.
func TestTransportDropsAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, 20*time.Millisecond)
		defer m.end()
		a := m.start("a", 1, Local, nil, 1, 2)
		b := m.start("b", 2, Local, nil, 1, 2)
		a.sees(t, 10*time.Second, a, b)
		tr := a.tr
		a.stop()
		start := time.Now()
		for range 10 * queueLen {
			if _, err := tr.WriteToAddress(make([]byte, 100), b.tr.name()); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := tr.DialAddressTimeout(b.tr.name(), time.Minute); err == nil {
			c.Close()
			t.Error("a stopped transport opened a stream")
		}
		for range 10 * queueLen {
			tr.deliver(nil, nil)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("dropping took %v", d)
		}
		if err := a.Leave(t.Context()); err != nil {
			t.Errorf("leave after the end: %v", err)
		}
	})
}

// Both ends dial at the same time: one connection stays, and no packet path is lost.
func TestTwinConnectionsBecomeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, 75*time.Millisecond)
		defer m.end()
		a := m.start("a", 1, Local, nil, 2)
		b := m.start("b", 2, Local, nil, 1)
		a.sees(t, 10*time.Second, a, b)
		b.sees(t, 10*time.Second, a, b)
		time.Sleep(time.Minute)
		if n := a.connections(); n != 1 {
			t.Errorf("a holds %d connections to b", n)
		}
		if n := b.connections(); n != 1 {
			t.Errorf("b holds %d connections to a", n)
		}
		a.sees(t, time.Second, a, b)
	})
}

// The WAN profile on 150 ms round trips: whole within seconds.
func TestWANProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, 75*time.Millisecond)
		defer m.end()
		var all []*testNode
		for i := range 5 {
			all = append(all, m.start(fmt.Sprint("n", i), i+1, WAN, nil, 1, 2))
		}
		for _, n := range all {
			t.Logf("%s sees all after %v", n.id, n.sees(t, 30*time.Second, all...))
		}
		start := time.Now()
		all[0].Publish(Record{Draining: true})
		for _, n := range all {
			n.record(t, 3*time.Second, all[0], func(r Record) bool { return r.Draining })
		}
		t.Logf("drain known everywhere after %v", time.Since(start))
	})
}

// Packets arrive whole: as datagrams, and on a stream of their own when too big for one. A peer that
// does not answer costs nobody any time.
func TestPacketsOfAllSizesArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, 20*time.Millisecond)
		where := func(id identity.NodeID) string {
			return map[identity.NodeID]string{"a": addrOfPort(1), "b": addrOfPort(2), "gone": addrOfPort(9)}[id]
		}
		a, stopA := m.bare("a", 1, where)
		b, stopB := m.bare("b", 2, where)
		defer func() {
			stopA()
			stopB()
			time.Sleep(time.Minute)
			synctest.Wait()
		}()
		start := time.Now()
		sizes := []int{1, 100, packetSize, 1500, 5000, bigMax}
		for _, n := range sizes {
			for _, to := range []string{"b", "gone", "nobody"} {
				if _, err := a.WriteToAddress(make([]byte, n), memberlist.Address{Name: to}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("sending blocked for %v", d)
		}
		want := map[int]bool{}
		for _, n := range sizes {
			want[n] = true
		}
		for len(want) > 0 {
			select {
			case p := <-b.PacketCh():
				if !want[len(p.Buf)] {
					t.Fatalf("a packet of %d bytes that nobody sent", len(p.Buf))
				}
				delete(want, len(p.Buf))
			case <-time.After(5 * time.Second):
				t.Fatalf("sizes %v never arrived", want)
			}
		}
	})
}
