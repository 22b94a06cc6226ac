package disk

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

const crashDir = "CAUSEWAY_TEST_CRASH_DIR"

// TestMain doubles as the child that writes until it is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stderr, crashChild(dir))
		os.Exit(3)
	}
	// Every step is an fsync or more: few checks unless the command line asks for more.
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// crashChild appends batches and truncates at both ends for ever; it prints each acknowledged index.
func crashChild(dir string) error {
	s, err := Open(dir, Options{SegmentSize: 256 << 10, FreeSpaceGuard: noGuard})
	if err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	for n := 1; ; n = n%17 + 1 {
		if err := s.StoreLogs(entries(last+1, 1, n, 100*n)); err != nil {
			return err
		}
		last += uint64(n)
		if _, err := fmt.Println(last); err != nil {
			return err
		}
		if n == 5 && last > 500 {
			if err := s.DeleteRange(1, last-300); err != nil {
				return err
			}
		}
		if n == 11 || n == 16 {
			// The new end is said first: killed before the cut, the log is merely longer.
			if _, err := fmt.Println(last - 3); err != nil {
				return err
			}
			if err := s.DeleteRange(last-2, last); err != nil {
				return err
			}
			last -= 3
		}
	}
}

// A process killed at any moment leaves a log without a gap that holds every entry it acknowledged.
func TestKilledProcessLosesNoAcknowledgedEntry(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^$")
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked, lines := uint64(0), 0
		stop := 20 + rand.IntN(100)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			n, err := strconv.ParseUint(strings.TrimSpace(sc.Text()), 10, 64)
			if err != nil {
				break // a line cut by the kill
			}
			acked, lines = n, lines+1
			if lines == stop {
				_ = cmd.Process.Kill() // SIGKILL; what is already in the pipe is still read and counted
			}
		}
		_ = cmd.Wait()
		if lines < stop {
			t.Fatalf("round %d: child wrote %d batches of %d: %s", round, lines, stop, stderr.String())
		}
		s, err := Open(dir, Options{SegmentSize: 256 << 10, FreeSpaceGuard: noGuard})
		if err != nil {
			t.Fatalf("round %d: reopen after kill: %v", round, err)
		}
		first, _ := s.FirstIndex()
		last, _ := s.LastIndex()
		if last < acked {
			t.Fatalf("round %d: log ends at %d, entry %d was acknowledged", round, last, acked)
		}
		model := map[uint64]uint64{}
		for i := first; i <= last; i++ {
			model[i] = 1
		}
		if err := check(s, first, last, model); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A batch torn by a power cut is cut off; what was
// acknowledged before stays.
func TestTornTailIsCutOff(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		vfs := newFaultFS()
		s, err := Open(dir, Options{vfs: vfs, FreeSpaceGuard: noGuard, SegmentSize: 128 << 10})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { s.Close() }()
		n := rapid.IntRange(1, 30).Draw(rt, "acked")
		for i := range n {
			if err := s.StoreLog(entry(uint64(i+1), 1, 50)); err != nil {
				rt.Fatal(err)
			}
		}
		// A disk writes sectors, in any order: some of the batch's are there, the others still zero.
		lost := rapid.SliceOfN(rapid.Bool(), 1, 12).Draw(rt, "lost sectors")
		vfs.set(func(p []byte) (int, error) {
			for i := range p {
				if lost[i/512%len(lost)] {
					p[i] = 0
				}
			}
			return len(p), syscall.EIO
		}, nil, nil)
		size := rapid.IntRange(30, 1200).Draw(rt, "size")
		if err := s.StoreLogs(entries(uint64(n+1), 2, 5, size)); !errors.Is(err, ErrFailed) {
			rt.Fatalf("torn write answered %v", err)
		}
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
		vfs.heal()
		if s, err = Open(dir, Options{FreeSpaceGuard: noGuard, SegmentSize: 128 << 10}); err != nil {
			rt.Fatal(err)
		}
		last, _ := s.LastIndex()
		model := map[uint64]uint64{}
		for i := range last {
			model[i+1] = 1
			if i >= uint64(n) {
				model[i+1] = 2
			}
		}
		// The whole batch may have reached the disk (no sector lost): then it must be whole.
		if last != uint64(n) && last != uint64(n+5) {
			rt.Fatalf("log ends at %d after %d acknowledged entries", last, n)
		}
		if err := check(s, 1, last, model); err != nil {
			rt.Fatal(err)
		}
		if err := s.StoreLog(entry(last+1, 3, 50)); err != nil {
			rt.Fatal("append after recovery:", err)
		}
	})
}

// raft-wal v0.4.0 alone refuses every append after one that failed (its in-memory offsets are ahead):
// a coordinator would need a restart after a full disk. The store resumes by itself.
func TestFullDiskResumesWithoutRestart(t *testing.T) {
	for _, tt := range []struct {
		name  string
		allow int // bytes of the failing write that reach the disk
		sync  bool
	}{
		{"nothing written", 0, false},
		{"half the batch written", 300, false},
		{"all written, fsync refused", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				vfs := newFaultFS()
				s := open(t, t.TempDir(), Options{vfs: vfs})
				if err := s.StoreLogs(entries(1, 1, 10, 100)); err != nil {
					t.Fatal(err)
				}
				full := func([]byte) (int, error) { return tt.allow, syscall.ENOSPC }
				if tt.sync {
					vfs.set(nil, func() error { return syscall.ENOSPC }, nil)
				} else {
					vfs.set(full, nil, nil)
				}
				for range 5 {
					if err := s.StoreLogs(entries(11, 2, 10, 100)); !errors.Is(err, ErrDiskFull) {
						t.Fatalf("on a full disk: %v", err)
					}
					time.Sleep(400 * time.Millisecond)
				}
				var l raft.Log
				if err := s.GetLog(10, &l); err != nil {
					t.Errorf("acknowledged entry while the disk is full: %v", err)
				}
				vfs.heal()
				time.Sleep(reopenEvery)
				if err := s.StoreLogs(entries(11, 3, 4, 100)); err != nil {
					t.Fatalf("after space came back: %v", err)
				}
				model := map[uint64]uint64{11: 3, 12: 3, 13: 3, 14: 3}
				for i := range uint64(10) {
					model[i+1] = 1
				}
				if last, _ := s.LastIndex(); last != 14 {
					t.Errorf("log ends at %d, want 14: an unacknowledged batch came back", last)
				}
				if err := check(s, 1, 14, model); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// The file after the current one is made in the background and its error is only logged there.
func TestFailedRotationResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vfs := newFaultFS()
		s := open(t, t.TempDir(), Options{vfs: vfs, SegmentSize: 16 << 10})
		vfs.set(nil, nil, func() error { return syscall.ENOSPC })
		next := uint64(1)
		var err error
		for ; err == nil && next < 1000; next++ {
			err = s.StoreLog(entry(next, 1, 500))
		}
		if !errors.Is(err, ErrDiskFull) {
			t.Fatalf("no room for the next file: %v", err)
		}
		var l raft.Log
		if err := s.GetLog(1, &l); err != nil {
			t.Errorf("acknowledged entry while the disk is full: %v", err)
		}
		next-- // the refused one
		vfs.heal()
		time.Sleep(reopenEvery)
		for ; next < 200; next++ {
			if err := s.StoreLog(entry(next, 1, 500)); err != nil {
				t.Fatalf("entry %d after space came back: %v", next, err)
			}
		}
		model := map[uint64]uint64{}
		for i := range uint64(199) {
			model[i+1] = 1
		}
		if err := check(s, 1, 199, model); err != nil {
			t.Error(err)
		}
	})
}

// After a failed fsync the page cache may hold what the disk does not: no later success may be
// reported (fsyncgate, PostgreSQL 2018).
func TestFailedFsyncStopsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vfs := newFaultFS()
		failed := make(chan error, 2)
		s := open(t, t.TempDir(), Options{vfs: vfs, OnFail: func(err error) { failed <- err }})
		if err := s.StoreLog(entry(1, 1, 20)); err != nil {
			t.Fatal(err)
		}
		vfs.set(nil, func() error { return syscall.EIO }, nil)
		for range 2 {
			if err := s.StoreLog(entry(2, 1, 20)); !errors.Is(err, ErrFailed) {
				t.Fatalf("after EIO: %v", err)
			}
		}
		vfs.heal()
		time.Sleep(time.Minute)
		if err := s.StoreLog(entry(2, 1, 20)); !errors.Is(err, ErrFailed) || s.Err() == nil {
			t.Errorf("a failed store came back to life: %v", err)
		}
		if len(failed) != 1 {
			t.Errorf("OnFail called %d times", len(failed))
		}
	})
}

// hashicorp/raft #503: "leader stuck when disk hangs": the watchdog is the only one who notices.
func TestHungDiskIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vfs := newFaultFS()
		var events []string
		start := time.Now()
		note := func(what string) func() {
			return func() { events = append(events, fmt.Sprint(what, " ", time.Since(start))) }
		}
		s := open(t, t.TempDir(), Options{vfs: vfs, OnStall: note("stall"), OnResume: note("resume")})
		if err := s.StoreLog(entry(1, 1, 20)); err != nil {
			t.Fatal(err)
		}
		thaw := make(chan struct{})
		vfs.set(nil, func() error { <-thaw; return nil }, nil)
		done := make(chan error)
		go func() { done <- s.StoreLog(entry(2, 1, 20)) }()
		time.Sleep(60 * time.Second)
		synctest.Wait()
		if st := s.Stats(); !st.Stalled || st.Stalls != 1 {
			t.Errorf("stats while it hangs: %+v", st)
		}
		var l raft.Log
		if err := s.GetLog(1, &l); err != nil {
			t.Errorf("reading while a write hangs: %v", err)
		}
		close(thaw)
		if err := <-done; err != nil {
			t.Errorf("the write came back with %v", err)
		}
		if got, want := fmt.Sprint(events), "[stall 2s resume 1m0s]"; got != want {
			t.Errorf("events %s, want %s", got, want)
		}
		if s.Stats().Stalled {
			t.Error("still stalled")
		}
	})
}

func TestGuardRefusesBeforeTheDiskIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		free := uint64(1 << 30)
		s.guard.min, s.guard.stat = DefaultMinFree, func(string) (uint64, error) { return free, nil }
		next := uint64(1)
		for _, step := range []struct {
			free uint64
			low  bool
			err  error
			why  string
		}{
			{1 << 30, false, nil, "plenty"},
			{200 << 20, true, nil, "low: proposals stop, raft's own entries still go"},
			{63 << 20, true, ErrDiskFull, "below a quarter: the rest is for votes and truncation"},
			{1 << 30, false, nil, "room again: no restart needed"},
		} {
			free = step.free
			time.Sleep(time.Second)
			if got, low := s.LowSpace(); got != step.free || low != step.low {
				t.Errorf("%s: %d bytes, low %v", step.why, got, low)
			}
			err := s.StoreLog(entry(next, 1, 20))
			if !errors.Is(err, step.err) {
				t.Errorf("%s: %v", step.why, err)
			}
			if err == nil {
				next++
			}
			if err := s.SetUint64([]byte("CurrentTerm"), next); err != nil {
				t.Errorf("%s: a vote was refused: %v", step.why, err)
			}
		}
	})
}

// Damage inside the acknowledged log is never passed off as data.
func TestFlippedBitIsNoticed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{SegmentSize: 64 << 10})
	if err := s.StoreLogs(entries(1, 1, 20, 400)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(files) != 1 {
		t.Fatalf("log files %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, entry(7, 1, 400).Data)
	if at < 0 {
		t.Fatal("entry 7 is not in the file")
	}
	data[at+200] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err = Open(dir, Options{FreeSpaceGuard: noGuard})
	if err != nil {
		return // refused: noticed
	}
	defer s.Close()
	if last, _ := s.LastIndex(); last != 0 {
		t.Errorf("a batch with a flipped bit is served as %d entries", last)
	}
}
