package consensus

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

// frozen is a store whose writes hang while it is frozen, with the watchdog of disk.Store.
type frozen struct {
	Store
	mu       sync.Mutex
	gate     chan struct{}
	onStall  func()
	onResume func()
}

func (f *frozen) freeze() {
	f.mu.Lock()
	f.gate = make(chan struct{})
	f.mu.Unlock()
}

func (f *frozen) thaw() {
	f.mu.Lock()
	close(f.gate)
	f.gate = nil
	f.mu.Unlock()
}

func (f *frozen) StoreLogs(l []*raft.Log) error {
	f.mu.Lock()
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		stalled := false
		t := time.NewTimer(2 * time.Second)
		select {
		case <-gate:
		case <-t.C:
			stalled = true
			f.onStall()
			<-gate
		}
		t.Stop()
		if stalled {
			defer f.onResume()
		}
	}
	return f.Store.StoreLogs(l)
}

func (f *frozen) StoreLog(l *raft.Log) error { return f.StoreLogs([]*raft.Log{l}) }

// group is a cluster in memory.
type group struct {
	t     *testing.T
	net   *Network
	nodes []*Node
	disks []*frozen
	tr    []Transport
	dirs  []string
}

func newGroup(t *testing.T, n int, p Profile, threshold uint64) *group {
	t.Helper()
	g := &group{t: t, net: NewNetwork()}
	for i := range n {
		g.disks = append(g.disks, &frozen{Store: NewMemStore()})
		g.dirs = append(g.dirs, t.TempDir())
		g.nodes, g.tr = append(g.nodes, nil), append(g.tr, nil)
		g.start(i, p, threshold)
		if i == 0 {
			g.leader()
			continue
		}
		lead := g.nodes[g.leader()]
		if err := lead.AddNonvoter(t.Context(), g.nodes[i].cfg.ID, g.nodes[i].Addr()); err != nil {
			t.Fatal(err)
		}
		if err := lead.Promote(t.Context(), g.nodes[i].cfg.ID); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func (g *group) start(i int, p Profile, threshold uint64) {
	g.t.Helper()
	g.tr[i] = g.net.Transport(fmt.Sprintf("10.0.0.%d:7702", i+1))
	g.disks[i].onStall, g.disks[i].onResume = g.tr[i].Fence, g.tr[i].Unfence
	n, err := Start(Config{
		ID: fmt.Sprintf("c%d", i), Dir: g.dirs[i], Transport: g.tr[i], Store: g.disks[i], Profile: p, Bootstrap: i == 0,
		Log: zerolog.Nop(), SnapshotThreshold: threshold,
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.nodes[i] = n
}

func (g *group) stop() {
	for _, n := range g.nodes {
		if n != nil {
			if err := n.Shutdown(context.Background()); err != nil {
				g.t.Errorf("shutdown: %v", err)
			}
		}
	}
}

// leader waits for a leader that has proven itself, and for one only.
func (g *group) leader(not ...int) int {
	g.t.Helper()
	for range 4000 {
		for i, n := range g.nodes {
			if n == nil || slices.Contains(not, i) || !n.IsLeader() {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := n.Linearizable(ctx)
			cancel()
			if err == nil {
				return i
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	g.t.Fatal("no leader")
	return -1
}

func put(t *testing.T, n *Node, id string) uint64 {
	t.Helper()
	res, index, err := n.Propose(t.Context(), command.New(time.Now(), "test", &command.PutOrg{Org: state.Org{ID: id}}))
	if err != nil || res.Err != nil {
		t.Fatalf("put %s: %v %v", id, err, res.Err)
	}
	return index
}

func TestReplicatesAndReadsLinearizably(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3, Local(), 0)
		defer g.stop()
		lead := g.nodes[g.leader()]
		for i := range 20 {
			id := fmt.Sprintf("org%d", i)
			index := put(t, lead, id)
			read, err := lead.Linearizable(t.Context())
			if err != nil || read < index || !lead.Snapshot().Orgs.Has(id) {
				t.Fatalf("read at %d after write at %d: %v", read, index, err)
			}
			for _, n := range g.nodes {
				if err := n.WaitIndex(t.Context(), index); err != nil || !n.Snapshot().Orgs.Has(id) {
					t.Fatalf("%s: %v", n.cfg.ID, err)
				}
			}
		}
		h0, i0 := g.nodes[0].FSMHash()
		for _, n := range g.nodes[1:] {
			if h, i := n.FSMHash(); i != i0 || h != h0 {
				t.Errorf("%s: state at %d differs from the one at %d", n.cfg.ID, i, i0)
			}
		}
		for _, n := range g.nodes {
			if n == lead {
				continue
			}
			if _, err := n.Linearizable(t.Context()); !errors.Is(err, ErrNotLeader) {
				t.Errorf("a follower's linearizable read: %v", err)
			}
			if _, _, err := n.Propose(t.Context(), command.New(time.Now(), "test", &command.PutOrg{})); !errors.Is(err, ErrNotLeader) {
				t.Errorf("a follower's write: %v", err)
			}
		}
	})
}

// A leader that the others cannot reach must not answer linearizable reads (Jepsen Consul 2014, etcd
// #20418: stale reads of a leader that did not know it was deposed).
func TestIsolatedLeaderAnswersNoLinearizableRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3, Local(), 0)
		defer g.stop()
		old := g.leader()
		put(t, g.nodes[old], "before")
		g.net.Isolate(g.nodes[old].Addr())
		start := time.Now()
		lead := g.leader(old)
		index := put(t, g.nodes[lead], "after")
		t.Logf("leader cut off to next committed write: %s (virtual)", time.Since(start))
		if d := time.Since(start); d > 1500*time.Millisecond {
			t.Errorf("failover took %s, want 1.5 s at most", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := g.nodes[old].Linearizable(ctx); err == nil {
			t.Error("the deposed leader proved leadership")
		}
		cancel()
		if g.nodes[old].Snapshot().Orgs.Has("after") {
			t.Error("test is void: the old leader has the write")
		}
		ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
		if _, _, err := g.nodes[old].Propose(ctx, command.New(time.Now(), "test", &command.PutOrg{Org: state.Org{ID: "lost"}})); err == nil {
			t.Error("the deposed leader committed a write")
		}
		cancel()
		g.net.Rejoin(g.nodes[old].Addr())
		if err := g.nodes[old].WaitIndex(t.Context(), index); err != nil || !g.nodes[old].Snapshot().Orgs.Has("after") {
			t.Errorf("the old leader did not catch up: %v", err)
		}
	})
}

// hashicorp/raft #503, consul #22064: a leader whose disk hangs in StoreLogs goes on sending
// heartbeats, nobody stands for election, and the cluster accepts no write for ever. The watchdog
// fences it instead.
func TestFrozenDiskOfLeaderMovesLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3, Local(), 0)
		defer g.stop()
		old := g.leader()
		put(t, g.nodes[old], "before")
		g.disks[old].freeze()
		start := time.Now()
		// A write hits the frozen disk; its own call ends with its deadline and an unknown outcome.
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		done := make(chan error, 1)
		go func() {
			_, _, err := g.nodes[old].Propose(ctx, command.New(time.Now(), "test", &command.PutOrg{Org: state.Org{ID: "stuck"}}))
			done <- err
		}()
		lead := g.leader(old)
		put(t, g.nodes[lead], "after")
		took := time.Since(start)
		t.Logf("disk frozen to next committed write: %s (virtual)", took)
		if took > 5*time.Second {
			t.Errorf("took %s, want 5 s at most", took)
		}
		if err := <-done; !errors.Is(err, ErrUnknown) {
			t.Errorf("the stuck write ended with %v", err)
		}
		cancel()
		if g.nodes[old].Snapshot().Orgs.Has("after") {
			t.Error("test is void: the frozen member has the write")
		}
		g.disks[old].thaw()
		want, index := g.nodes[lead].FSMHash()
		if err := g.nodes[old].WaitIndex(t.Context(), index); err != nil {
			t.Fatal(err)
		}
		if got, i := g.nodes[old].FSMHash(); i == index && got != want {
			t.Error("states differ after the thaw")
		}
	})
}

// Without the fence the cluster must stay stuck: the test above would otherwise pass for nothing.
func TestFrozenDiskWithoutFenceIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3, Local(), 0)
		defer g.stop()
		old := g.leader()
		g.disks[old].onStall, g.disks[old].onResume = func() {}, func() {}
		g.disks[old].freeze()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := g.nodes[old].Propose(ctx, command.New(time.Now(), "test", &command.PutOrg{Org: state.Org{ID: "stuck"}})); !errors.Is(err, ErrUnknown) {
			t.Errorf("write ended with %v", err)
		}
		for i, n := range g.nodes {
			if id, _ := n.Leader(); id != g.nodes[old].cfg.ID {
				t.Errorf("member %d follows %q", i, id)
			}
		}
		g.disks[old].thaw()
	})
}

func TestRestartReplaysSnapshotAndLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3, Local(), 8)
		defer g.stop()
		lead := g.leader()
		down := (lead + 1) % 3
		if err := g.nodes[down].Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.nodes[down] = nil
		for i := range 40 {
			put(t, g.nodes[lead], fmt.Sprintf("org%d", i))
		}
		if err := g.nodes[lead].Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		index := put(t, g.nodes[lead], "last")
		g.start(down, Local(), 8)
		if err := g.nodes[down].WaitIndex(t.Context(), index); err != nil {
			t.Fatal(err)
		}
		want, _ := g.nodes[lead].FSMHash()
		if got, i := g.nodes[down].FSMHash(); i != index || got != want {
			t.Errorf("state at %d differs", i)
		}
	})
}

func TestTransferAndMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3, Local(), 0)
		defer g.stop()
		lead := g.leader()
		to := (lead + 1) % 3
		if err := g.nodes[lead].Transfer(t.Context(), g.nodes[to].cfg.ID); err != nil {
			t.Fatal(err)
		}
		if got := g.leader(lead); got != to {
			t.Errorf("leader is %d, want %d", got, to)
		}
		third := 3 - lead - to
		if err := g.nodes[to].Demote(t.Context(), g.nodes[third].cfg.ID); err != nil {
			t.Fatal(err)
		}
		if err := g.nodes[to].Remove(t.Context(), g.nodes[third].cfg.ID); err != nil {
			t.Fatal(err)
		}
		if err := g.nodes[to].Remove(t.Context(), "nobody"); !errors.Is(err, ErrMember) {
			t.Errorf("remove nobody: %v", err)
		}
		ms, err := g.nodes[to].Members(t.Context())
		if err != nil || len(ms) != 2 {
			t.Errorf("members %v: %v", ms, err)
		}
	})
}

// An entry that this build cannot read stops the member: skipping it would make its state silently
// different from the others'.
func TestUnknownCommandHaltsMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1, Dev(), 0)
		defer g.stop()
		n := g.nodes[g.leader()]
		put(t, n, "before")
		before := n.Index()
		n.raft.Apply([]byte{0xfe, 1, 0}, 0)
		<-n.Halted()
		if err := n.Err(); err == nil || !strings.Contains(err.Error(), "upgrade this coordinator") {
			t.Errorf("halted with %v", err)
		}
		if n.Index() != before {
			t.Errorf("the state moved from %d to %d", before, n.Index())
		}
		if _, _, err := n.Propose(t.Context(), command.New(time.Now(), "test", &command.PutOrg{Org: state.Org{ID: "x"}})); err == nil {
			t.Error("a halted member took a write")
		}
	})
}

// TestStateNeverRunsAhead: whatever a reader takes from Snapshot carries exactly the entries up to its
// index, while writes go on.
func TestStateNeverRunsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1, Dev(), 0)
		defer g.stop()
		n := g.nodes[g.leader()]
		stop := make(chan struct{})
		var wg sync.WaitGroup
		seen := 0
		wg.Go(func() {
			hashes := map[uint64][32]byte{}
			index, orgs := uint64(0), 0
			for {
				changed := n.Changed()
				s := n.Snapshot()
				if h, ok := hashes[s.Index]; ok && h != s.Hash() {
					t.Errorf("two states at index %d", s.Index)
				}
				if s.Index < index || s.Orgs.Len() < orgs {
					t.Errorf("went back from %d with %d orgs to %d with %d", index, orgs, s.Index, s.Orgs.Len())
				}
				index, orgs = s.Index, s.Orgs.Len()
				hashes[s.Index] = s.Hash()
				select {
				case <-changed:
				case <-stop:
					seen = orgs
					return
				}
			}
		})
		for i := range 50 {
			put(t, n, fmt.Sprintf("org%d", i))
		}
		close(stop)
		wg.Wait()
		if got := n.Snapshot().Orgs.Len(); got != 50 || seen > got {
			t.Errorf("%d orgs in the end, the reader saw %d", got, seen)
		}
	})
}

func BenchmarkPropose(b *testing.B) {
	net := NewNetwork()
	n, err := Start(Config{ID: "c0", Transport: net.Transport("a:1"), Store: NewMemStore(), Profile: Dev(), Bootstrap: true, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Shutdown(context.Background())
	for !n.IsLeader() {
		time.Sleep(time.Millisecond)
	}
	hash := sha256.Sum256([]byte("x"))
	b.ReportAllocs()
	for b.Loop() {
		res, _, err := n.Propose(b.Context(), command.New(time.Now(), "bench", &command.CreateToken{Token: state.Token{
			ID: "t", Hash: hash[:], Region: "us-west", Roles: []string{"edge"}, ExpiresAt: 1,
		}}))
		if err != nil || res.Err == nil {
			b.Fatal(err, res.Err)
		}
	}
}
