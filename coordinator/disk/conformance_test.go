package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// noGuard keeps tests independent of how full the machine's disk is.
var noGuard = Guard{MinFree: -1}

func open(t testing.TB, dir string, opt Options) *Store {
	t.Helper()
	opt.FreeSpaceGuard = noGuard
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// entry makes an entry whose bytes follow from its index and a generation, so that any reader can
// tell the right one.
func entry(index, gen uint64, size int) *raft.Log {
	data := binary.BigEndian.AppendUint64(nil, index)
	data = binary.BigEndian.AppendUint64(data, gen)
	for len(data) < size {
		data = append(data, byte(index)^byte(len(data)))
	}
	return &raft.Log{Index: index, Term: gen, Type: raft.LogCommand, Data: data}
}

func entries(first, gen uint64, n, size int) []*raft.Log {
	out := make([]*raft.Log, n)
	for i := range out {
		out[i] = entry(first+uint64(i), gen, size)
	}
	return out
}

// What raft itself relies on, each once, by its own rules.
func TestStoreMeetsRaftsInterface(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if f, _ := s.FirstIndex(); f != 0 {
		t.Errorf("first index of an empty log is %d", f)
	}
	var l raft.Log
	if err := s.GetLog(1, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("missing entry: %v, raft compares with ErrLogNotFound", err)
	}
	if v, err := s.GetUint64([]byte("CurrentTerm")); v != 0 || err != nil {
		t.Errorf("value never set: %d, %v", v, err)
	}
	if v, err := s.Get([]byte("LastVoteCand")); v != nil || err != nil {
		t.Errorf("value never set: %q, %v", v, err)
	}
	want := &raft.Log{Index: 10, Term: 3, Type: raft.LogConfiguration, Data: []byte("d"), Extensions: []byte("e")}
	if err := s.StoreLog(want); err != nil {
		t.Fatal("an empty log must start anywhere, after a snapshot it does:", err)
	}
	if err := s.GetLog(10, &l); err != nil {
		t.Fatal(err)
	}
	l.AppendedAt, want.AppendedAt = want.AppendedAt, l.AppendedAt
	if diff := cmp.Diff(*want, l); diff != "" {
		t.Errorf("entry changed on disk (-want +got):\n%s", diff)
	}
	for _, bad := range []uint64{10, 12, 9} {
		if err := s.StoreLog(entry(bad, 1, 16)); err == nil {
			t.Errorf("entry %d after 10 was taken", bad)
		}
	}
	if err := s.StoreLogs([]*raft.Log{entry(11, 1, 16), entry(13, 1, 16)}); err == nil {
		t.Error("a batch with a gap was taken")
	}
	if err := s.StoreLogs(entries(11, 1, 3, 16)); err != nil {
		t.Error("a refused batch must not wedge the log:", err)
	}
	if err := s.Set([]byte("LastVoteCand"), []byte("n1")); err != nil {
		t.Error(err)
	}
	if err := s.SetUint64([]byte("CurrentTerm"), 7); err != nil {
		t.Error(err)
	}
	if !s.IsMonotonic() {
		t.Error("raft must be told that gaps are refused")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if v, _ := s.GetUint64([]byte("CurrentTerm")); v != 7 {
		t.Errorf("term after reopening: %d", v)
	}
	if last, _ := s.LastIndex(); last != 13 {
		t.Errorf("last index after reopening: %d", last)
	}
}

func TestSecondProcessIsToldTheDirectoryIsInUse(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("second open: %v", err)
	}
}

// Random operations against a model in memory, with reopening as one of them.
func TestStoreAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		opt := Options{SegmentSize: 64 << 10, FreeSpaceGuard: noGuard} // small files: rotation and unlinking happen
		s, err := Open(dir, opt)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { s.Close() }()
		model := map[uint64]uint64{} // index -> generation
		first, last, gen := uint64(0), uint64(0), uint64(0)
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				n := rapid.IntRange(1, 40).Draw(rt, "n")
				next := last + 1
				if last == 0 {
					next = rapid.Uint64Range(1, 1000).Draw(rt, "start")
					first = next
				}
				gen++
				if err := s.StoreLogs(entries(next, gen, n, rapid.IntRange(16, 2000).Draw(rt, "size"))); err != nil {
					rt.Fatal(err)
				}
				for i := range uint64(n) {
					model[next+i] = gen
				}
				last = next + uint64(n) - 1
			},
			"drop prefix": func(rt *rapid.T) {
				if last == 0 {
					rt.Skip("empty")
				}
				to := rapid.Uint64Range(first, last).Draw(rt, "to")
				if err := s.DeleteRange(first, to); err != nil {
					rt.Fatal(err)
				}
				for i := first; i <= to; i++ {
					delete(model, i)
				}
				if first = to + 1; first > last {
					first, last = 0, 0
				}
			},
			"drop suffix": func(rt *rapid.T) {
				if last == 0 || first == last {
					rt.Skip("nothing to drop")
				}
				from := rapid.Uint64Range(first+1, last).Draw(rt, "from")
				if err := s.DeleteRange(from, last); err != nil {
					rt.Fatal(err)
				}
				for i := from; i <= last; i++ {
					delete(model, i)
				}
				last = from - 1
			},
			"reopen": func(rt *rapid.T) {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				if s, err = Open(dir, opt); err != nil {
					rt.Fatal(err)
				}
			},
			"read": func(rt *rapid.T) {
				if err := check(s, first, last, model); err != nil {
					rt.Fatal(err)
				}
			},
			// No file is read after each step: that would give a background rotation the time to finish
			// before the next one.
			"": func(rt *rapid.T) {
				gotFirst, _ := s.FirstIndex()
				gotLast, _ := s.LastIndex()
				if gotFirst != first || gotLast != last {
					rt.Fatalf("log is [%d,%d], want [%d,%d]", gotFirst, gotLast, first, last)
				}
			},
		})
		if err := check(s, first, last, model); err != nil {
			rt.Fatal(err)
		}
	})
}

// check reads every entry and compares its bytes with what its index and generation say.
func check(s *Store, first, last uint64, model map[uint64]uint64) error {
	var l raft.Log
	for i := first; i != 0 && i <= last; i++ {
		if err := s.GetLog(i, &l); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if want := entry(i, model[i], len(l.Data)); l.Term != model[i] || !bytes.Equal(l.Data, want.Data) {
			return fmt.Errorf("entry %d is not the one of generation %d", i, model[i])
		}
	}
	return nil
}

func BenchmarkStoreLogs64x256(b *testing.B) {
	s := open(b, b.TempDir(), Options{SegmentSize: 64 << 20})
	next := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.StoreLogs(entries(next, 1, 64, 256)); err != nil {
			b.Fatal(err)
		}
		next += 64
	}
	b.ReportMetric(float64(next-1)/b.Elapsed().Seconds(), "logs/s")
}

func BenchmarkDeleteRange200k(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := open(b, b.TempDir(), Options{})
		for next := uint64(1); next < 200_000; next += 4096 {
			if err := s.StoreLogs(entries(next, 1, 4096, 64)); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		if err := s.DeleteRange(1, 199_000); err != nil {
			b.Fatal(err)
		}
	}
}
