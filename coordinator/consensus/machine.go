package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

// broadcast wakes everybody who waits for a change. The zero value is ready.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) fire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// machine adapts state.State to the library. Only the library's goroutine writes it; readers take
// immutable snapshots.
type machine struct {
	log     zerolog.Logger
	state   *state.State // the library's goroutine only
	snap    atomic.Pointer[state.Snapshot]
	index   atomic.Uint64 // newest entry seen, configuration entries included
	changed broadcast
	halt    func()
	failed  atomic.Pointer[error]
	stopped chan struct{}
}

func newMachine(log zerolog.Logger) *machine {
	m := &machine{log: log, state: state.New(), stopped: make(chan struct{})}
	m.snap.Store(m.state.Current())
	return m
}

func (m *machine) current() *state.Snapshot { return m.snap.Load() }
func (m *machine) reached() uint64          { return m.index.Load() }

func (m *machine) halted() error {
	if p := m.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// Apply applies one committed command and publishes the state after it.
func (m *machine) Apply(l *raft.Log) any {
	if err := m.halted(); err != nil {
		return err
	}
	out := m.one(l)
	if m.halted() == nil {
		m.snap.Store(m.state.Current())
		m.index.Store(l.Index)
	}
	m.changed.fire()
	return out
}

// StoreConfiguration notes membership entries, which are part of the log but not of the state.
func (m *machine) StoreConfiguration(index uint64, _ raft.Configuration) {
	if m.halted() == nil {
		m.index.Store(index)
		m.changed.fire()
	}
}

// one applies a command. An entry that cannot be read stops this member: going on without it would
// make its state silently different from the others'.
func (m *machine) one(l *raft.Log) any {
	c, err := command.Decode(l.Data)
	if err != nil {
		err = fmt.Errorf("log entry %d cannot be applied by this build, upgrade this coordinator: %w", l.Index, err)
		m.failed.Store(&err)
		m.log.Error().Err(err).Msg("coordinator halts")
		close(m.stopped)
		if m.halt != nil {
			go m.halt()
		}
		return err
	}
	return m.state.Apply(l.Index, c)
}

// await returns once the machine has seen entry idx.
func (m *machine) await(ctx context.Context, idx uint64) error {
	for {
		changed := m.changed.wait()
		if m.reached() >= idx {
			return nil
		}
		select {
		case <-changed:
		case <-m.stopped:
			return m.halted()
		case <-ctx.Done():
			return fmt.Errorf("wait for index %d: %w", idx, ctx.Err())
		}
	}
}

// Snapshot hands the library an immutable copy to write out in the background.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if err := m.halted(); err != nil {
		return nil, err
	}
	return &image{m.current()}, nil
}

// Restore replaces the state by a snapshot; a bad one leaves the state as it was.
func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	s, err := state.Decode(r)
	if err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	m.state = s
	cur := s.Current()
	m.snap.Store(cur)
	m.index.Store(max(cur.Index, m.index.Load()))
	m.changed.fire()
	return nil
}

// image is one snapshot on its way to disk.
type image struct{ snap *state.Snapshot }

func (i *image) Persist(sink raft.SnapshotSink) error {
	if err := i.snap.Encode(sink); err != nil {
		return errors.Join(fmt.Errorf("write snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

func (i *image) Release() {}
