// Package consensus keeps the coordinators agreed: hashicorp/raft around state.State, with
// linearizable reads, membership changes and a transport that can be fenced when a disk hangs.
package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/disk"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

// Errors that callers tell apart. Outcome says what each means for a write.
var (
	ErrNotLeader = errors.New("this coordinator is not the leader")
	ErrNoLeader  = errors.New("the coordinators have no leader")
	ErrBusy      = errors.New("the leader did not take the write in time; nothing happened")
	ErrUnknown   = errors.New("the write was not confirmed and may or may not have happened")
	ErrShutdown  = errors.New("this coordinator is shutting down")
	ErrMember    = errors.New("no such member")
)

// Store is the log and the votes: disk.Store, or NewMemStore.
type Store interface {
	raft.LogStore
	raft.StableStore
}

// NewMemStore keeps the log in memory. It outlives the Node, so that a simulation can restart one.
func NewMemStore() Store { return raft.NewInmemStore() }

// Config starts a Node. It is not changed after Start.
type Config struct {
	ID        string
	Dir       string // snapshots go to Dir/snapshots; "" keeps them in memory
	Transport Transport
	Store     Store
	Profile   Profile
	Bootstrap bool // make a cluster of this member alone, if the store is empty
	Log       zerolog.Logger

	// WhileLeader, if set, runs from when this member has caught up as a leader until ctx ends
	// because it is no longer one.
	WhileLeader func(ctx context.Context)

	SnapshotThreshold uint64 // log entries between snapshots; 0 = 8192
}

// Member is one coordinator of the cluster.
type Member struct {
	ID, Addr string
	Voter    bool
	Leader   bool
}

// Node is one member. All methods are safe for concurrent use.
type Node struct {
	cfg   Config
	raft  *raft.Raft
	fsm   *machine
	logs  raft.LogStore
	ready atomic.Uint64 // the term in which this member leads and has applied all before it

	readyChanged broadcast
	notify       chan bool
	stop         context.CancelFunc
	wg           sync.WaitGroup
	once         sync.Once

	callsMu sync.Mutex
	closing bool           // under callsMu: no new calls into the library
	calls   sync.WaitGroup // added to under callsMu
}

// Start opens the store, restores the newest snapshot and joins the protocol. It does not wait for
// a leader.
func Start(cfg Config) (*Node, error) {
	if cfg.ID == "" || cfg.Transport == nil || cfg.Store == nil {
		return nil, errors.New("start consensus: id, transport and store are required")
	}
	if cfg.Profile.Heartbeat == 0 {
		cfg.Profile = Local()
	}
	n := &Node{cfg: cfg, fsm: newMachine(cfg.Log), notify: make(chan bool, 16)}
	// Appends read the newest entries back for every follower: keep those in memory.
	logs, err := raft.NewLogCache(512, cfg.Store)
	if err != nil {
		return nil, fmt.Errorf("start consensus: %w", err)
	}
	n.logs = logs
	var snaps raft.SnapshotStore = raft.NewInmemSnapshotStore()
	if cfg.Dir != "" {
		fs, err := raft.NewFileSnapshotStore(filepath.Join(cfg.Dir, "snapshots"), 2, logWriter{cfg.Log})
		if err != nil {
			return nil, fmt.Errorf("open snapshots: %w", err)
		}
		snaps = fs
	}
	fresh := false
	if cfg.Bootstrap {
		has, err := raft.HasExistingState(cfg.Store, cfg.Store, snaps)
		if err != nil {
			return nil, fmt.Errorf("read raft state: %w", err)
		}
		fresh = !has
	}
	rc := n.raftConfig()
	tr := cfg.Transport.raft()
	if fresh {
		servers := raft.Configuration{Servers: []raft.Server{{ID: rc.LocalID, Address: raft.ServerAddress(cfg.Transport.LocalAddr())}}}
		if err := raft.BootstrapCluster(rc, logs, cfg.Store, snaps, tr, servers); err != nil {
			return nil, fmt.Errorf("bootstrap cluster: %w", err)
		}
	}
	r, err := raft.NewRaft(rc, n.fsm, logs, cfg.Store, snaps, tr)
	if err != nil {
		return nil, fmt.Errorf("start raft: %w", err)
	}
	n.raft = r
	n.fsm.halt = func() { r.Shutdown() }
	if err := n.fsm.halted(); err != nil {
		r.Shutdown()
		return nil, fmt.Errorf("start raft: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.wg.Go(func() { n.lead(ctx) })
	return n, nil
}

func (n *Node) raftConfig() *raft.Config {
	p := n.cfg.Profile
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(n.cfg.ID)
	rc.HeartbeatTimeout, rc.ElectionTimeout, rc.LeaderLeaseTimeout = p.Heartbeat, p.Election, p.Lease
	rc.NoLegacyTelemetry = true
	rc.ShutdownOnRemove = false // a removed member keeps serving stale reads until it is stopped
	rc.LogOutput = logWriter{n.cfg.Log}
	rc.LogLevel = "INFO"
	rc.NotifyCh = n.notify
	if n.cfg.SnapshotThreshold > 0 {
		rc.SnapshotThreshold = n.cfg.SnapshotThreshold
		rc.SnapshotInterval = time.Second
	}
	return rc
}

// lead follows gains and losses of leadership, one spell at a time.
func (n *Node) lead(ctx context.Context) {
	spell := func() {}
	for {
		select {
		case <-ctx.Done():
			spell()
			return
		case leading := <-n.notify:
			spell()
			spell = func() {}
			n.ready.Store(0)
			n.readyChanged.fire()
			if leading {
				spell = n.begin(ctx)
			} else {
				n.cfg.Log.Info().Str("node", n.cfg.ID).Msg("coordinator is no longer the leader")
			}
		}
	}
}

// begin starts a spell of leadership; the function returned ends it and waits.
func (n *Node) begin(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.term(ctx)
	}()
	return func() { cancel(); <-done }
}

// term is one spell of leadership: first apply everything that earlier leaders committed, then act.
func (n *Node) term(ctx context.Context) {
	number := n.raft.CurrentTerm()
	if err := n.wait(ctx, func() raft.Future { return n.raft.Barrier(0) }); err != nil {
		return
	}
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != number {
		return
	}
	n.ready.Store(number)
	n.readyChanged.fire()
	n.cfg.Log.Info().Str("node", n.cfg.ID).Uint64("term", number).Msg("coordinator is the leader")
	if n.cfg.WhileLeader != nil {
		n.cfg.WhileLeader(ctx)
	}
}

// Propose replicates a command and returns what applying it gave, with its index. The command's
// time must already be stamped. Result.Err is the command's own refusal; an error
// here is one of ErrNotLeader (nothing happened), ErrUnknown or ErrShutdown.
func (n *Node) Propose(ctx context.Context, c command.Command) (state.Result, uint64, error) {
	data, err := command.Encode(c)
	if err != nil {
		return state.Result{}, 0, fmt.Errorf("encode command: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return state.Result{}, 0, err
	}
	// The library's timeout covers queueing only, behind a main loop that a disk may block.
	queue := 10 * time.Second
	if d, ok := ctx.Deadline(); ok {
		queue = max(time.Until(d), time.Millisecond)
	}
	var f raft.ApplyFuture
	if err := n.wait(ctx, func() raft.Future { f = n.raft.Apply(data, queue); return f }); err != nil {
		return state.Result{}, 0, n.outcome(err)
	}
	switch r := f.Response().(type) {
	case state.Result:
		return r, f.Index(), nil
	case error:
		return state.Result{}, f.Index(), r
	}
	return state.Result{}, f.Index(), fmt.Errorf("apply command: %w", ErrUnknown)
}

// outcome maps the library's errors to ours.
func (n *Node) outcome(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrNotLeader
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrBusy
	case errors.Is(err, disk.ErrDiskFull):
		return err
	case errors.Is(err, raft.ErrRaftShutdown):
		if herr := n.fsm.halted(); herr != nil {
			return fmt.Errorf("%w: %w", ErrShutdown, herr)
		}
		return fmt.Errorf("%w: %w", ErrShutdown, ErrUnknown)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrAbortedByRestore):
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

// wait calls the library and waits for what it promised, or for ctx: both the call and the future
// can block for as long as a disk hangs. Some of the library's futures never resolve when they meet a
// shutdown, so Shutdown lets the running calls end first and wait starts no new ones.
func (n *Node) wait(ctx context.Context, call func() raft.Future) error {
	n.callsMu.Lock()
	if n.closing {
		n.callsMu.Unlock()
		return raft.ErrRaftShutdown
	}
	done := make(chan error, 1)
	n.calls.Go(func() { done <- call().Error() })
	n.callsMu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-n.fsm.stopped:
		return raft.ErrRaftShutdown
	}
}

// Snapshot is the state as this member has applied it: immutable, and possibly old on a follower.
func (n *Node) Snapshot() *state.Snapshot { return n.fsm.current() }

// Linearizable returns once Snapshot is at least as new as everything that was committed when it
// was called, and the index up to which that holds. Only a leader can; others get ErrNotLeader.
//
// The order matters (a process may pause anywhere): take the commit index, prove leadership after
// that, check that the term did not change, then wait for the state machine to get there.
func (n *Node) Linearizable(ctx context.Context) (uint64, error) {
	term, err := n.awaitReady(ctx)
	if err != nil {
		return 0, err
	}
	commit := n.raft.CommitIndex()
	if err := n.wait(ctx, n.raft.VerifyLeader); err != nil {
		if ctx.Err() != nil {
			return 0, fmt.Errorf("verify leadership: %w", ctx.Err())
		}
		return 0, ErrNotLeader
	}
	if n.raft.CurrentTerm() != term || n.ready.Load() != term {
		return 0, ErrNotLeader
	}
	if err := n.settle(ctx, commit); err != nil {
		return 0, err
	}
	return commit, nil
}

// awaitReady returns the term that this member leads in, waiting out the start of one.
func (n *Node) awaitReady(ctx context.Context) (uint64, error) {
	for {
		changed := n.readyChanged.wait()
		if t := n.ready.Load(); t != 0 {
			return t, nil
		}
		if n.raft.State() != raft.Leader {
			return 0, ErrNotLeader
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// settle waits until the state machine holds every entry up to index. Entries that never reach it
// (no-op and barrier) are looked for in the log, newest first; they are few.
func (n *Node) settle(ctx context.Context, index uint64) error {
	target := index
	for target > n.fsm.reached() {
		var entry raft.Log
		err := n.logs.GetLog(target, &entry)
		if errors.Is(err, raft.ErrLogNotFound) {
			break // compacted: a snapshot of the state machine covers it
		}
		if err != nil {
			return fmt.Errorf("read log entry %d: %w", target, err)
		}
		if entry.Type == raft.LogCommand || entry.Type == raft.LogConfiguration {
			break
		}
		target--
	}
	return n.fsm.await(ctx, target)
}

// WaitIndex returns once the state contains the command at index idx or a later one.
func (n *Node) WaitIndex(ctx context.Context, idx uint64) error { return n.fsm.await(ctx, idx) }

// Changed is closed at the next change of the state. Take it before looking at Snapshot.
func (n *Node) Changed() <-chan struct{} { return n.fsm.changed.wait() }

// Leader is the member that this one believes to lead; empty when it knows none.
func (n *Node) Leader() (id, addr string) {
	a, i := n.raft.LeaderWithID()
	return string(i), string(a)
}

// IsLeader says whether this member leads and has applied all earlier commits. It is a belief, not
// a proof: Linearizable proves.
func (n *Node) IsLeader() bool { return n.ready.Load() != 0 }

// Term is the current term.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// Index is the newest command in the state, Commit what this member knows to be committed.
func (n *Node) Index() uint64 { return n.Snapshot().Index }

// Commit is the index that this member knows to be committed.
func (n *Node) Commit() uint64 { return n.raft.CommitIndex() }

// LastContact is when this member last heard from a leader, and now for a leader that is ready; the
// zero time when it never did.
func (n *Node) LastContact() time.Time {
	if n.IsLeader() && n.raft.State() == raft.Leader {
		return time.Now()
	}
	return n.raft.LastContact()
}

// FSMHash is the hash of the state and the index it holds at; equal indexes must mean equal hashes
// on all members.
func (n *Node) FSMHash() (hash [32]byte, index uint64) {
	s := n.Snapshot()
	return s.Hash(), s.Index
}

// Members lists the coordinators of the newest configuration.
func (n *Node) Members(ctx context.Context) ([]Member, error) {
	var f raft.ConfigurationFuture
	if err := n.wait(ctx, func() raft.Future { f = n.raft.GetConfiguration(); return f }); err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	leader, _ := n.Leader()
	var out []Member
	for _, s := range f.Configuration().Servers {
		out = append(out, Member{ID: string(s.ID), Addr: string(s.Address), Voter: s.Suffrage == raft.Voter, Leader: string(s.ID) == leader})
	}
	return out, nil
}

// AddNonvoter adds a member that receives the log and does not vote.
func (n *Node) AddNonvoter(ctx context.Context, id, addr string) error {
	return n.change(ctx, "add member "+id, func() raft.Future { return n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, 0) })
}

// Promote lets a member vote.
func (n *Node) Promote(ctx context.Context, id string) error {
	m, err := n.member(ctx, id)
	if err != nil {
		return err
	}
	return n.change(ctx, "promote member "+id, func() raft.Future { return n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(m.Addr), 0, 0) })
}

// Readdress notes a voter's new Raft address.
func (n *Node) Readdress(ctx context.Context, id, addr string) error {
	return n.change(ctx, "readdress member "+id, func() raft.Future { return n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, 0) })
}

// Addr is the address at which the other members reach this one.
func (n *Node) Addr() string { return n.cfg.Transport.LocalAddr() }

// Demote takes a member's vote away.
func (n *Node) Demote(ctx context.Context, id string) error {
	if _, err := n.member(ctx, id); err != nil {
		return err
	}
	return n.change(ctx, "demote member "+id, func() raft.Future { return n.raft.DemoteVoter(raft.ServerID(id), 0, 0) })
}

// Remove takes a member out of the cluster.
func (n *Node) Remove(ctx context.Context, id string) error {
	if _, err := n.member(ctx, id); err != nil {
		return err
	}
	return n.change(ctx, "remove member "+id, func() raft.Future { return n.raft.RemoveServer(raft.ServerID(id), 0, 0) })
}

// Transfer hands leadership to a member, or to the most up to date one when id is empty.
func (n *Node) Transfer(ctx context.Context, id string) error {
	if id == "" {
		return n.change(ctx, "transfer leadership", func() raft.Future { return n.raft.LeadershipTransfer() })
	}
	m, err := n.member(ctx, id)
	if err != nil {
		return err
	}
	return n.change(ctx, "transfer leadership to "+id, func() raft.Future {
		return n.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(m.Addr))
	})
}

func (n *Node) member(ctx context.Context, id string) (Member, error) {
	ms, err := n.Members(ctx)
	if err != nil {
		return Member{}, err
	}
	for _, m := range ms {
		if m.ID == id {
			return m, nil
		}
	}
	return Member{}, fmt.Errorf("member %q: %w", id, ErrMember)
}

func (n *Node) change(ctx context.Context, what string, call func() raft.Future) error {
	if err := n.wait(ctx, call); err != nil {
		return fmt.Errorf("%s: %w", what, n.outcome(err))
	}
	return nil
}

// Compact writes a snapshot of the state now, to be kept and the log cut behind it.
func (n *Node) Compact(ctx context.Context) error {
	if err := n.wait(ctx, func() raft.Future { return n.raft.Snapshot() }); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// Halted is closed when the state machine refused to go on: an entry that this build cannot read.
// Err tells why.
func (n *Node) Halted() <-chan struct{} { return n.fsm.stopped }

// Err is why the state machine halted, or nil.
func (n *Node) Err() error { return n.fsm.halted() }

// Shutdown leaves the protocol and waits for everything to end. A leader should Transfer first. The
// caller closes the transport and the store afterwards. A second call does nothing.
func (n *Node) Shutdown(ctx context.Context) error {
	var err error
	n.once.Do(func() {
		n.stop()
		n.callsMu.Lock()
		n.closing = true
		n.callsMu.Unlock()
		quiet := make(chan struct{})
		go func() { n.calls.Wait(); close(quiet) }()
		patience := time.NewTimer(2 * time.Second) // a hung disk ends no call
		defer patience.Stop()
		select {
		case <-quiet:
		case <-patience.C:
		case <-ctx.Done():
		}
		down := make(chan error, 1)
		go func() { down <- n.raft.Shutdown().Error() }()
		select {
		case err = <-down:
		case <-ctx.Done():
			err = fmt.Errorf("stop raft: %w", ctx.Err())
		}
		n.wg.Wait()
		if c, ok := n.cfg.Transport.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	})
	return err
}
