package segment

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var header = Header{Base: 42, Created: time.Date(2026, 11, 22, 1, 2, 3, 4, time.UTC), Origin: [16]byte{1, 2, 3}}

func build(tb testing.TB, payloads ...string) []byte {
	tb.Helper()
	b := AppendHeader(nil, header)
	for _, p := range payloads {
		var err error
		if b, err = AppendFrame(b, []byte(p)); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

// readAll returns the good payloads and how the reading ended (nil = cleanly).
func readAll(b []byte) ([]string, int64, error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, 0, err
	}
	var out []string
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, r.Offset(), nil
		}
		if err != nil {
			return out, r.Offset(), err
		}
		out = append(out, string(p))
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	got, err := ParseHeader(AppendHeader(nil, header))
	if err != nil || !cmp.Equal(got, header) {
		t.Fatalf("got %+v, %v", got, err)
	}
	b := AppendHeader(nil, header)
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := ParseHeader(bad); !errors.Is(err, ErrHeader) {
			t.Errorf("byte %d flipped: got %v", i, err)
		}
	}
}

func TestFrameLimits(t *testing.T) {
	for _, n := range []int{0, MaxRecord + 1} {
		if _, err := AppendFrame(nil, make([]byte, n)); !errors.Is(err, ErrTooLong) {
			t.Errorf("%d bytes: got %v", n, err)
		}
	}
	if _, err := AppendFrame(nil, make([]byte, MaxRecord)); err != nil {
		t.Error(err)
	}
}

func TestBeginFinishEqualsAppend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "payload")
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 10).Draw(t, "prefix")
		want, _ := AppendFrame(bytes.Clone(prefix), p)
		got := append(BeginFrame(bytes.Clone(prefix)), p...)
		if err := FinishFrame(got, len(prefix)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %x, %v, want %x", got, err, want)
		}
	})
}

// A file cut at any byte gives back exactly the records that were wholly inside.
func TestEveryTornEnd(t *testing.T) {
	payloads := []string{"one", "two and a bit", "3"}
	whole := build(t, payloads...)
	ends := []int{HeaderSize}
	for _, p := range payloads {
		ends = append(ends, ends[len(ends)-1]+FrameOverhead+len(p))
	}
	for cut := HeaderSize; cut <= len(whole); cut++ {
		want := 0
		for want < len(payloads) && ends[want+1] <= cut {
			want++
		}
		got, offset, err := readAll(whole[:cut])
		if len(got) != want || offset != int64(ends[want]) {
			t.Fatalf("cut at %d: %d records up to %d, want %d up to %d", cut, len(got), offset, want, ends[want])
		}
		if clean := cut == ends[want]; (err == nil) != clean {
			t.Errorf("cut at %d: got %v", cut, err)
		}
		path := filepath.Join(t.TempDir(), "s.seg")
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		w, rec, err := Recover(path, header, Options{}, func([]byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if rec.Records != want || rec.Torn != int64(cut-ends[want]) {
			t.Errorf("cut at %d: recovered %+v", cut, rec)
		}
		if rec.Torn > 0 {
			saved, err := os.ReadFile(rec.Saved)
			if err != nil || !bytes.Equal(saved, whole[ends[want]:cut]) {
				t.Errorf("cut at %d: the torn end was not kept: %v", cut, err)
			}
		}
		frame, _ := AppendFrame(nil, []byte("after"))
		if err := errors.Join(w.Append(frame), w.Finish()); err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(path)
		again, _, err := readAll(b)
		if err != nil || len(again) != want+1 || again[want] != "after" {
			t.Errorf("cut at %d: after recovery %q, %v", cut, again, err)
		}
	}
}

// Any flipped bit is noticed, and no record before it is lost.
func TestEveryFlippedBit(t *testing.T) {
	payloads := []string{"first", "second", "third"}
	whole := build(t, payloads...)
	for i := HeaderSize; i < len(whole); i++ {
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[i] ^= 1 << bit
			got, offset, err := readAll(bad)
			if _, torn := errors.AsType[*TornError](err); !torn {
				t.Fatalf("byte %d bit %d: got %q, %v", i, bit, got, err)
			}
			if offset > int64(i) || !cmp.Equal(got, payloads[:len(got)], cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })) {
				t.Fatalf("byte %d bit %d: %q up to %d", i, bit, got, offset)
			}
		}
	}
}

func TestUnwrittenSpaceIsAnEnd(t *testing.T) {
	b := build(t, "a")
	got, _, err := readAll(append(bytes.Clone(b), make([]byte, 4096)...))
	if err != nil || len(got) != 1 {
		t.Errorf("allocated space: got %q, %v", got, err)
	}
	got, _, err = readAll(append(append(bytes.Clone(b), make([]byte, 100)...), 1))
	if _, torn := errors.AsType[*TornError](err); !torn || len(got) != 1 {
		t.Errorf("a hole with data behind it: got %q, %v", got, err)
	}
}

// failing is a file whose writes stop half way.
type failing struct {
	*os.File
	left int
}

var errDisk = errors.New("no space")

func (f *failing) WriteAt(b []byte, at int64) (int, error) {
	if len(b) <= f.left {
		f.left -= len(b)
		return f.File.WriteAt(b, at)
	}
	n, _ := f.File.WriteAt(b[:f.left], at)
	f.left = 0
	return n, errDisk
}

func TestAppendAfterShortWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.seg")
	var file *failing
	o := Options{Open: func(path string, flag int, perm os.FileMode) (File, error) {
		f, err := os.OpenFile(path, flag, perm)
		file = &failing{f, HeaderSize + 20}
		return file, err
	}}
	w, err := Create(path, header, o)
	if err != nil {
		t.Fatal(err)
	}
	long, _ := AppendFrame(nil, bytes.Repeat([]byte("x"), 40))
	if err := w.Append(long); !errors.Is(err, errDisk) {
		t.Fatalf("got %v, want the disk's error", err)
	}
	file.left = 1000
	short, _ := AppendFrame(nil, []byte("ok"))
	if err := errors.Join(w.Append(short), w.Finish()); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(path)
	if got, _, err := readAll(b); err != nil || len(got) != 1 || got[0] != "ok" {
		t.Errorf("got %q, %v: the half-written frame shows", got, err)
	}
}

func TestListOrdersAndIgnores(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{Path(dir, 900), Path(dir, 7), filepath.Join(dir, "7.seg"), filepath.Join(dir, "lock"), Path(dir, 7) + ".torn-1"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := List(dir)
	if err != nil || len(got) != 2 || got[0].Base != 7 || got[1].Base != 900 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// FuzzReader: no input makes the reader fail other than by saying so, and what it accepts, written
// again, is what it read.
func FuzzReader(f *testing.F) {
	whole := build(f, "one", "two", string(bytes.Repeat([]byte{0}, 300)))
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(append(bytes.Clone(whole), make([]byte, 64)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, offset, err := readAll(b)
		if errors.Is(err, ErrHeader) {
			return
		}
		if _, torn := errors.AsType[*TornError](err); err != nil && !torn {
			t.Fatal(err)
		}
		again := bytes.Clone(b[:HeaderSize])
		for _, p := range got {
			again, _ = AppendFrame(again, []byte(p))
		}
		if !bytes.Equal(again, b[:offset]) {
			t.Fatal("the good part, written again, differs")
		}
	})
}
