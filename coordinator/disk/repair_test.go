package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"

	"github.com/hashicorp/raft"
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

// TestTruncationDuringRotation cuts the log right after an append that fills a file, while raft-wal is
// about to begin the next one in its background. Without care the log then begins at entry 1, empty.
func TestTruncationDuringRotation(t *testing.T) {
	for name, cut := range map[string]func(first, last uint64) (from, to uint64){
		"suffix":     func(_, last uint64) (uint64, uint64) { return last - 1, last },
		"prefix":     func(first, last uint64) (uint64, uint64) { return first, first + (last-first)/2 },
		"everything": func(first, last uint64) (uint64, uint64) { return first, last },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			opt := Options{SegmentSize: 4 << 10, FreeSpaceGuard: noGuard}
			s := open(t, dir, opt)
			first, last, next := uint64(1), uint64(0), uint64(1)
			for range 25 {
				if err := s.StoreLogs(entries(next, 1, 12, 500)); err != nil { // more than a file
					t.Fatal(err)
				}
				last = next + 11
				from, to := cut(first, last)
				if err := s.DeleteRange(from, to); err != nil {
					t.Fatal(err)
				}
				if from > first {
					last = from - 1
				} else if first = to + 1; first > last {
					first, last = 0, 0
				}
				gotFirst, err1 := s.FirstIndex()
				gotLast, err2 := s.LastIndex()
				if gotFirst != first || gotLast != last || err1 != nil || err2 != nil {
					t.Fatalf("log is [%d,%d], want [%d,%d] (%v, %v)", gotFirst, gotLast, first, last, err1, err2)
				}
				if next = last + 1; last == 0 {
					next, first = to+1, to+1
				}
			}
			var l raft.Log
			for i := first; last != 0 && i <= last; i++ {
				if err := s.GetLog(i, &l); err != nil {
					t.Fatalf("entry %d: %v", i, err)
				}
			}
		})
	}
}
