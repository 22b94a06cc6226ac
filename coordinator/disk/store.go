// Package disk keeps the Raft log and Raft's few durable values on a local disk. It wraps raft-wal
// with what that library and raft lack: a watchdog for disks that hang, recovery in place from a full
// disk, a guard that says "nearly full" early, and a lock so that two processes never share a log.
package disk

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Log is what consensus needs of a disk; Store is the one that survives a restart.
type Log interface {
	raft.LogStore
	raft.StableStore
	raft.MonotonicLogStore
	Close() error
}

var _ Log = (*Store)(nil)

var (
	// ErrDiskFull: the write did not happen and nothing is damaged. The next write tries again.
	ErrDiskFull = errors.New("disk full")
	// ErrFailed: a write or fsync failed in a way after which the page cache cannot be trusted. Every
	// later write fails with it until the store is opened anew.
	ErrFailed = errors.New("disk failed, restart this coordinator once it is repaired")
	// ErrInUse: another process has the directory open.
	ErrInUse = errors.New("in use by another process")
)

// DefaultSegmentSize is the size of one log file in bytes, allocated ahead.
const DefaultSegmentSize = 16 << 20

// Options of Open. The zero value is usable.
type Options struct {
	// StallAfter is how long one write may take before OnStall is called. 0 = 2 s. raft's leader
	// writes on its main loop while its heartbeats go on elsewhere, so without this a leader with a
	// hung disk leads for ever and commits nothing (hashicorp/raft #503).
	StallAfter time.Duration
	// OnStall is called once per hung write, from its own goroutine. It must fence this node from
	// its peers; it must not touch the store. May be nil.
	OnStall func()
	// OnResume is called when the hung write returned after all. May be nil.
	OnResume func()
	// OnFail is called once, when the store fails for good (ErrFailed). May be nil.
	OnFail func(error)
	// FreeSpaceGuard says when the disk counts as nearly full.
	FreeSpaceGuard Guard
	// SegmentSize of one log file in bytes. 0 = DefaultSegmentSize.
	SegmentSize int
	Log         zerolog.Logger

	vfs types.VFS // tests inject faults here
}

// Store is a durable raft.LogStore and raft.StableStore. Methods are safe for concurrent use.
//
// Lock order: writeMu, then mu. Reads take only mu for reading, so they go on while a write hangs.
type Store struct {
	dir   string
	opt   Options
	lock  *os.File
	meta  types.MetaStore
	guard *guard
	dog   watchdog

	writeMu sync.Mutex
	acked   uint64    // last index that StoreLogs has answered for; under writeMu
	cutTo   uint64    // acked, or where the log ends if a failed truncation took effect after all; under writeMu
	broken  error     // why the open log must be reopened before the next write; under writeMu
	tried   time.Time // last attempt to do so; under writeMu
	closed  bool      // under writeMu

	mu     sync.RWMutex
	log    *wal.WAL // under mu
	failed atomic.Pointer[error]

	rotation rotation
}

// Open opens or creates the store in dir (made with mode 0700). A torn tail left by a crash is cut
// off; every acknowledged entry is there. ErrInUse when another process holds dir.
func Open(dir string, opt Options) (*Store, error) {
	if opt.StallAfter <= 0 {
		opt.StallAfter = 2 * time.Second
	}
	if opt.SegmentSize <= 0 {
		opt.SegmentSize = DefaultSegmentSize
	}
	if opt.vfs == nil {
		opt.vfs = fs.New()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open raft log: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open raft log %s: %w", dir, err)
	}
	s := &Store{dir: dir, opt: opt, lock: lock, guard: newGuard(dir, opt.FreeSpaceGuard)}
	s.meta = metaStore{&metadb.BoltMetaDB{}, &s.rotation}
	s.dog.init(opt)
	if s.log, err = s.openWAL(keepAll); err == nil {
		s.acked, err = s.log.LastIndex()
		s.cutTo = s.acked
	}
	if err != nil {
		s.release()
		return nil, fmt.Errorf("open raft log %s: %w", dir, err)
	}
	return s, nil
}

// openWAL opens the log and drops what lies behind entry cut.
func (s *Store) openWAL(cut uint64) (*wal.WAL, error) {
	f := filer{segment.NewFiler(s.dir, s.opt.vfs), &s.rotation}
	if err := finishRotation(s.dir, s.meta, f, time.Now(), cut); err != nil {
		return nil, err
	}
	return wal.Open(s.dir,
		wal.WithMetaStore(s.meta),
		wal.WithSegmentFiler(f),
		wal.WithSegmentSize(s.opt.SegmentSize),
		wal.WithLogger(HCLog(s.opt.Log, "raft-wal")))
}

// lockDir takes the directory's lock without waiting: bbolt's own lock would hang a second process
// for ever instead of telling it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}

func (s *Store) release() error {
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	errs = append(errs, s.meta.Close(), s.lock.Close())
	return errors.Join(errs...)
}

// Close closes the store. It waits for a write in progress.
func (s *Store) Close() error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := s.release(); err != nil {
		return fmt.Errorf("close raft log: %w", err)
	}
	return nil
}

// IsMonotonic tells raft that indexes must follow on without a gap.
func (s *Store) IsMonotonic() bool { return true }

// FirstIndex is the first index held, 0 when empty.
func (s *Store) FirstIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.log.FirstIndex()
}

// LastIndex is the last index held, 0 when empty.
func (s *Store) LastIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.log.LastIndex()
}

// GetLog reads one entry. raft.ErrLogNotFound when it is not held; other errors are damage.
func (s *Store) GetLog(index uint64, out *raft.Log) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for try := 0; ; try++ {
		err := s.log.GetLog(index, out)
		if try == staleReads || !errors.Is(err, os.ErrClosed) {
			return err
		}
		// A truncation closed the file between raft-wal's choice of it and its read (it counts the
		// reader a moment too late). The next try sees the log after the truncation.
	}
}

// staleReads bounds how often one read is overtaken by truncations before it fails.
const staleReads = 100

// StoreLog is StoreLogs of one.
func (s *Store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries with one fsync. When it returns nil they survive a crash; on error none
// of them is part of the log. Errors: ErrDiskFull (try again later), ErrFailed (never), or a plain
// error when the indexes do not follow on.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	return s.write("store raft log", func() error {
		next := s.acked + 1
		if s.acked == 0 {
			next = logs[0].Index // an empty log starts anywhere: after a snapshot it does
		}
		for _, l := range logs {
			if l.Index != next {
				return refusal{fmt.Errorf("entry %d does not follow on, the next index is %d", l.Index, next)}
			}
			next++
		}
		if s.guard.full() {
			return refusal{ErrDiskFull}
		}
		s.rotation.take()
		if err := s.log.StoreLogs(logs); err != nil {
			return err
		}
		s.acked, s.cutTo = next-1, next-1
		s.awaitRotation()
		return nil
	})
}

// awaitRotation returns when raft-wal, after an append that filled a file, has begun the next one, or
// failed to, so that it never does anything in the background of another call (see repair.go). Caller
// holds writeMu and has just appended.
func (s *Store) awaitRotation() {
	// An append waits for the rotation first of all, even one that is refused: this entry is there already.
	_ = s.log.StoreLogs([]*raft.Log{{Index: s.acked}})
	if err := s.rotation.take(); err != nil {
		// The entries are safe; it is the next write that has to begin with recovery.
		err = s.note(fmt.Errorf("begin the next file: %w", err))
		s.opt.Log.Warn().Err(err).Msg("raft log rotation failed")
	}
}

// DeleteRange removes a prefix (after a snapshot) or a suffix (entries that lost an election) of the
// log, both ends included.
func (s *Store) DeleteRange(first, last uint64) error {
	return s.write("truncate raft log", func() error {
		s.cutTo = s.acked
		if last >= s.acked {
			held, err := s.log.FirstIndex()
			if err != nil {
				return err
			}
			if s.cutTo = first - 1; first <= held {
				s.cutTo = 0
			}
		}
		if err := s.log.DeleteRange(first, last); err != nil {
			return err
		}
		var err error
		s.acked, err = s.log.LastIndex()
		s.cutTo = s.acked
		return err
	})
}

// Set stores one durable value.
func (s *Store) Set(key, val []byte) error {
	return s.stable("store raft value", func() error { return s.log.Set(key, val) })
}

// SetUint64 stores one durable number: the term or the vote, so an error here must reach raft.
func (s *Store) SetUint64(key []byte, val uint64) error {
	return s.stable("store raft value", func() error { return s.log.SetUint64(key, val) })
}

// Get reads a value; nil when it was never set.
func (s *Store) Get(key []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.log.Get(key)
}

// GetUint64 reads a number; 0 when it was never set.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.log.GetUint64(key)
}

// stable writes to the value store, which is transactional: a failed write leaves nothing behind.
func (s *Store) stable(op string, fn func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	defer s.dog.watch()()
	if err := fn(); err != nil {
		return fmt.Errorf("%s: %w", op, classify(err))
	}
	return nil
}

// write runs one change of the log under the watchdog. raft-wal v0.4.0 keeps half-appended entries in
// memory when a write fails and then refuses every later append, so a failed write marks the log
// broken and the next one reopens it, cutting back to what was acknowledged.
func (s *Store) write(op string, fn func() error) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.closed {
		return fmt.Errorf("%s: %w", op, wal.ErrClosed)
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer s.dog.watch()()
	if s.broken != nil {
		if err := s.reopen(); err != nil {
			return fmt.Errorf("%s: %w", op, s.note(err))
		}
	}
	err := fn()
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[refusal](err); ok {
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s: %w", op, s.note(err))
}

// note records what a failed change means for the changes after it. Caller holds writeMu.
func (s *Store) note(err error) error {
	err = classify(err)
	s.broken = err
	if errors.Is(err, ErrFailed) && s.failed.CompareAndSwap(nil, &err) {
		s.opt.Log.Error().Err(err).Msg("raft log failed")
		if s.opt.OnFail != nil {
			go s.opt.OnFail(err)
		}
	}
	return err
}

// Err is non-nil once the store has failed for good.
func (s *Store) Err() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// reopenEvery bounds how often a log that cannot be recovered yet is tried: raft asks in a tight loop.
const reopenEvery = time.Second

// reopen recovers the log in place after a failed write. Caller holds writeMu.
func (s *Store) reopen() error {
	now := time.Now()
	if s.guard.full() || !s.tried.IsZero() && now.Sub(s.tried) < reopenEvery {
		return cmp.Or(s.broken, ErrDiskFull)
	}
	s.tried = now
	// The batch that failed may have reached the file after all. raft was told it did not: cut it off.
	// Reads go on in the old log meanwhile, which does nothing of its own accord.
	fresh, err := s.openWAL(s.acked)
	if err != nil {
		return err
	}
	last, err := fresh.LastIndex()
	if err == nil && last != s.acked && last != s.cutTo {
		err = fmt.Errorf("reopened log ends at %d, entry %d was acknowledged: %w", last, s.acked, ErrFailed)
	}
	if err != nil {
		return errors.Join(err, fresh.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.log.Close(); err != nil {
		s.opt.Log.Debug().Err(err).Msg("close broken raft log")
	}
	s.log, s.acked, s.cutTo = fresh, last, last
	s.broken, s.tried = nil, time.Time{}
	s.opt.Log.Warn().Uint64("last_index", last).Msg("raft log recovered")
	return nil
}

// classify says whether a failed write may be tried again. After any other error than a full disk
// the kernel may have dropped the dirty page, and a second fsync would lie.
func classify(err error) error {
	switch {
	case errors.Is(err, ErrFailed), errors.Is(err, ErrDiskFull), errors.Is(err, wal.ErrClosed):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

// refusal is an error of our own making: the log was not touched.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }
