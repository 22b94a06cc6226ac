package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
)

// hashicorp/raft-wal #31: "clearing log suffix: from=424 to=424 # Process is restarted […] failed to
// get log: index=1 error=sealed segment has no index block". Fixed upstream after v0.4.0, never tagged.
func TestSuffixCutThenRestartKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if err := s.StoreLogs(entries(1, 1, 424, 30)); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRange(424, 424); err != nil {
		t.Fatal(err)
	}
	model := map[uint64]uint64{}
	for i := range uint64(423) {
		model[i+1] = 1
	}
	for round := range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
		last := uint64(423 + round)
		if got, _ := s.LastIndex(); got != last {
			t.Fatalf("log ends at %d, want %d", got, last)
		}
		if err := check(s, 1, last, model); err != nil {
			t.Fatal(err)
		}
		if err := s.StoreLog(entry(last+1, 2, 30)); err != nil {
			t.Fatal(err)
		}
		model[last+1] = 2
	}
}

// A crash after the write that seals a file, before the next file is in the metadata: raft-wal alone
// then answers every append with "segment is sealed", also after a restart.
func TestInterruptedRotationIsFinished(t *testing.T) {
	dir := t.TempDir()
	opt := Options{SegmentSize: 8 << 10}
	s := open(t, dir, opt)
	last := uint64(0)
	for files := 1; files < 2; last++ {
		if err := s.StoreLog(entry(last+1, 1, 500)); err != nil {
			t.Fatal(err)
		}
		names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
		if err != nil {
			t.Fatal(err)
		}
		files = len(names)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// Take the metadata back to before the rotation.
	meta := &metadb.BoltMetaDB{}
	state, err := meta.Load(dir)
	if err != nil || len(state.Segments) != 2 {
		t.Fatalf("metadata %+v, %v", state, err)
	}
	next := state.Segments[1]
	if err := os.Remove(filepath.Join(dir, segment.FileName(next))); err != nil {
		t.Fatal(err)
	}
	last = state.Segments[0].MaxIndex
	state.Segments = state.Segments[:1]
	state.Segments[0].SealTime, state.Segments[0].MaxIndex, state.Segments[0].IndexStart = time.Time{}, 0, 0
	if err := meta.CommitState(state); err != nil {
		t.Fatal(err)
	}
	if err := meta.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir, opt)
	model := map[uint64]uint64{}
	for i := range last {
		model[i+1] = 1
	}
	for range 40 {
		last++
		model[last] = 2
		if err := s.StoreLog(entry(last, 2, 500)); err != nil {
			t.Fatalf("append %d after the crash: %v", last, err)
		}
	}
	if err := check(s, 1, last, model); err != nil {
		t.Error(err)
	}
}

// A torn write that looks like an index frame (its first byte is 2) must not seal the file.
func TestTornIndexDoesNotSealTheTail(t *testing.T) {
	for _, acked := range []int{0, 1, 20} {
		t.Run(fmt.Sprint(acked, " entries before"), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			if acked > 0 {
				if err := s.StoreLogs(entries(1, 1, acked, 50)); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
			names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
			if err != nil || len(names) != 1 {
				t.Fatal(names, err)
			}
			data, err := os.ReadFile(names[0])
			if err != nil {
				t.Fatal(err)
			}
			end := len(data)
			for end > 0 && data[end-1] == 0 {
				end--
			}
			at := max((end+7)/8*8, 32) // frames are aligned to 8 bytes, after a 32-byte header
			data[at] = 2
			if err := os.WriteFile(names[0], data, 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, Options{})
			if last, _ := s.LastIndex(); last != uint64(acked) {
				t.Fatalf("log ends at %d, want %d", last, acked)
			}
			if err := s.StoreLog(entry(uint64(acked)+1, 1, 50)); err != nil {
				t.Errorf("append: %v", err)
			}
		})
	}
}

// raft-wal begins the next file in a goroutine. With one processor that goroutine is always late: it
// first runs when its starter waits for something.
func lateRotation(t *testing.T) {
	procs := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(procs) })
}

// A cut right after an append that fills a file: raft-wal v0.4.0 alone then seals the new, empty tail
// as ending at entry 0 and begins again at entry 1; on the next start, "unsealed segment is not at tail".
func TestTruncationAfterTheFileIsFull(t *testing.T) {
	for name, cut := range map[string]func(first, last uint64) (from, to uint64){
		"suffix":     func(_, last uint64) (uint64, uint64) { return last - 1, last },
		"prefix":     func(first, last uint64) (uint64, uint64) { return first, first + (last-first)/2 },
		"everything": func(first, last uint64) (uint64, uint64) { return first, last },
	} {
		t.Run(name, func(t *testing.T) {
			lateRotation(t)
			dir := t.TempDir()
			opt := Options{SegmentSize: 4 << 10}
			s := open(t, dir, opt)
			model := map[uint64]uint64{}
			first, last := uint64(1), uint64(0)
			for gen := range uint64(20) {
				if err := s.StoreLogs(entries(last+1, gen, 12, 500)); err != nil { // more than a file
					t.Fatal(err)
				}
				for range 12 {
					last++
					model[last] = gen
				}
				from, to := cut(first, last)
				if err := s.DeleteRange(from, to); err != nil {
					t.Fatal(err)
				}
				if from > first {
					last = from - 1
				} else {
					first = to + 1
				}
				if gen%4 == 3 {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s = open(t, dir, opt)
				}
				wantFirst, wantLast := first, last
				if first > last {
					wantFirst, wantLast = 0, 0
				}
				gotFirst, err1 := s.FirstIndex()
				gotLast, err2 := s.LastIndex()
				if gotFirst != wantFirst || gotLast != wantLast || err1 != nil || err2 != nil {
					t.Fatalf("log is [%d,%d], want [%d,%d] (%v, %v)", gotFirst, gotLast, wantFirst, wantLast, err1, err2)
				}
				if err := check(s, wantFirst, wantLast, model); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// When an append has been answered nothing goes on behind it: the next file is there and committed.
func TestAppendIsAnsweredAfterTheRotation(t *testing.T) {
	lateRotation(t)
	dir := t.TempDir()
	s := open(t, dir, Options{SegmentSize: 4 << 10})
	for n := range uint64(10) {
		if err := s.StoreLogs(entries(n*12+1, 1, 12, 500)); err != nil {
			t.Fatal(err)
		}
		state, err := s.meta.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		tail := state.Segments[len(state.Segments)-1]
		if want := n*12 + 13; tail.BaseIndex != want || !tail.SealTime.IsZero() {
			t.Fatalf("batch %d is answered while the log is at file %+v, want a new one for entry %d", n, tail, want)
		}
		if _, err := os.Stat(filepath.Join(dir, segment.FileName(tail))); err != nil {
			t.Fatal(err)
		}
	}
}

// raft-wal counts a reader after it has chosen the file, so a truncation may close it under the read.
// raft's replication panics on any error but ErrLogNotFound.
func TestReadsBesideTruncations(t *testing.T) {
	s := open(t, t.TempDir(), Options{SegmentSize: 4 << 10})
	next := uint64(1)
	store := func() {
		if err := s.StoreLogs(entries(next, 1, 12, 500)); err != nil {
			t.Fatal(err)
		}
		next += 12
	}
	store()
	var first atomic.Uint64
	first.Store(1)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var l raft.Log
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.GetLog(first.Load(), &l); err != nil && !errors.Is(err, raft.ErrLogNotFound) {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 40 {
		store()
		if err := s.DeleteRange(1, next-13); err != nil {
			t.Error(err)
			break
		}
		first.Store(next - 12)
	}
	close(stop)
	readers.Wait()
}

// A truncation that fails half way may or may not have happened; the log goes on from what is there.
func TestFailedTruncationResumes(t *testing.T) {
	for name, cut := range map[string]struct{ from, to, last uint64 }{
		"suffix":     {15, 20, 14},
		"everything": {1, 20, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				vfs := newFaultFS()
				s := open(t, t.TempDir(), Options{vfs: vfs})
				if err := s.StoreLogs(entries(1, 1, 20, 100)); err != nil {
					t.Fatal(err)
				}
				vfs.set(nil, nil, func() error { return syscall.ENOSPC })
				for range 3 {
					if err := s.DeleteRange(cut.from, cut.to); !errors.Is(err, ErrDiskFull) {
						t.Fatalf("no room for the next file: %v", err)
					}
					time.Sleep(reopenEvery)
				}
				vfs.heal()
				if err := s.DeleteRange(cut.from, cut.to); err != nil {
					t.Fatalf("after space came back: %v", err)
				}
				if last, err := s.LastIndex(); last != cut.last || err != nil {
					t.Fatalf("log ends at %d (%v), want %d", last, err, cut.last)
				}
				if err := s.StoreLogs(entries(cut.last+1, 2, 3, 100)); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
