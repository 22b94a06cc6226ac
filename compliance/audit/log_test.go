package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/compliance/audit/segment"
)

// crashDir makes the test binary a node that writes intents until it is killed.
const crashDir = "CAUSEWAY_TEST_AUDIT_CRASH"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashNode(dir)
		return
	}
	os.Exit(m.Run())
}

// crashNode says "egress N" only after intent N was accepted, as a real node would send bytes.
func crashNode(dir string) {
	l, err := Open(Config{Dir: dir, Node: "n1", SegmentSize: 8 << 10})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	out := bufio.NewWriter(os.Stdout)
	for i := 0; ; i++ {
		ref, err := l.Intent(context.Background(), Intent{Request: fmt.Sprint("r", i), Tenant: fmt.Sprint("t", i%3), Decision: "allow"})
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		seq, _ := ref.Seq()
		fmt.Fprintln(out, "egress", seq)
		out.Flush()
		if i%4 != 0 {
			if err := l.Outcome(ref, Outcome{Result: ResultOK, Status: 200}); err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
		}
	}
}

func open(tb testing.TB, cfg Config) *Log {
	tb.Helper()
	if cfg.Node == "" {
		cfg.Node = "n1"
	}
	l, err := Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

func intent(tb testing.TB, l *Log, tenant, request string) Ref {
	tb.Helper()
	ref, err := l.Intent(context.Background(), Intent{Request: request, Tenant: tenant, Decision: "allow"})
	if err != nil {
		tb.Fatal(err)
	}
	return ref
}

func verify(tb testing.TB, dir string) Report {
	tb.Helper()
	rep, err := Verify(dir)
	if err != nil {
		tb.Fatal(err)
	}
	if rep.Bad != nil {
		tb.Fatal(rep.Bad)
	}
	return rep
}

func read(tb testing.TB, dir string) []Record {
	tb.Helper()
	var out []Record
	err := Tail(context.Background(), dir, TailOptions{}, func(r Record, _ []byte) error { out = append(out, r); return nil })
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestIntentThenOutcome(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	a, b := intent(t, l, "acme", "r1"), intent(t, l, "other", "r2")
	denied, err := l.Intent(t.Context(), Intent{Request: "r3", Tenant: "acme", Decision: "deny", Code: "residency_denied"})
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []Ref{b, a, denied, {}} {
		if err := l.Outcome(ref, Outcome{Result: ResultOK, Status: 200, Output: 5}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Outcome(a, Outcome{Result: ResultOK}); err == nil {
		t.Error("an intent was closed twice")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Intent(t.Context(), Intent{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
	rep := verify(t, dir)
	if rep.Intents != 3 || rep.Denied != 1 || rep.Outcomes != 2 || rep.OpenIntents != 0 || rep.Tenants != 2 || rep.Torn != 0 {
		t.Errorf("got %+v", rep)
	}
	var last Record
	for _, r := range read(t, dir) {
		if r.Tenant == "acme" {
			last = r
		}
	}
	if last.TenantSeq != 2 || last.Outcome == nil || last.Outcome.Request != "r1" || last.Outcome.IntentSeq != a.seq {
		t.Errorf("last record of acme: %+v", last)
	}
}

// A record is in the file when Intent returns, so that killing the process cannot lose it: SIGKILL
// at a random moment, and every egress that was announced has its intent in the log.
func TestKillLosesNoIntent(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	seen := map[string]bool{}
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stop := 20 + rand.IntN(200)
		lines := bufio.NewScanner(pipe)
		for n := 0; lines.Scan(); n++ {
			word, seq, _ := strings.Cut(lines.Text(), " ")
			if word != "egress" {
				t.Fatal(lines.Text())
			}
			seen[seq] = true
			if n == stop {
				cmd.Process.Signal(syscall.SIGKILL)
			}
		}
		cmd.Wait()
		l := open(t, Config{Dir: dir, SegmentSize: 8 << 10})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		rep := verify(t, dir)
		if rep.OpenIntents != 0 || rep.Unknown == 0 {
			t.Errorf("round %d: %d intents open, %d outcomes unknown: the next Open closes them", round, rep.OpenIntents, rep.Unknown)
		}
	}
	for _, r := range read(t, dir) {
		if r.Intent != nil {
			delete(seen, fmt.Sprint(r.Seq))
		}
	}
	if len(seen) > 0 {
		t.Errorf("%d announced requests have no intent: %v", len(seen), seen)
	}
}

func TestSegmentsRotateAndCarry(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 22, 23, 59, 0, 0, time.UTC)
	cfg := Config{Dir: dir, SegmentSize: 4 << 10, now: func() time.Time { return now }}
	l := open(t, cfg)
	held := intent(t, l, "slow", "held")
	for i := range 200 {
		ref := intent(t, l, fmt.Sprint("t", i%70), fmt.Sprint("r", i))
		if err := l.Outcome(ref, Outcome{Result: ResultOK}); err != nil {
			t.Fatal(err)
		}
	}
	infos, _ := segment.List(dir)
	if len(infos) < 10 {
		t.Fatalf("%d segments", len(infos))
	}
	now = now.Add(2 * time.Minute) // another day
	if err := l.Outcome(held, Outcome{Result: ResultOK}); err != nil {
		t.Fatal(err)
	}
	if again, _ := segment.List(dir); len(again) != len(infos)+1 {
		t.Errorf("a new day did not begin a new segment: %d, then %d", len(infos), len(again))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	verify(t, dir)

	// Old segments may go: the carried state replaces them, for readers and for the next Open.
	infos, _ = segment.List(dir)
	for _, in := range infos[:len(infos)/2] {
		if err := os.Remove(in.Path); err != nil {
			t.Fatal(err)
		}
	}
	if rep := verify(t, dir); rep.First != infos[len(infos)/2].Base || rep.OpenIntents != 0 {
		t.Errorf("after pruning: %+v", rep)
	}
	l = open(t, cfg)
	intent(t, l, "t1", "more")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if rep := verify(t, dir); rep.OpenIntents != 1 {
		t.Errorf("after reopening: %+v", rep)
	}
}

// A crash between a segment's creation and its carried state must not lose the state.
func TestOpenWithoutCarriedState(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	intent(t, l, "acme", "r1")
	next := l.chains.seq
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{nil, segment.AppendHeader(nil, segment.Header{Base: next, Origin: origin(l.name)})} {
		path := segment.Path(dir, next)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, Config{Dir: dir})
		intent(t, l, "acme", "r2")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if rep := verify(t, dir); rep.Intents != 2 || rep.Unknown != 1 {
			t.Errorf("%d bytes: %+v", len(b), rep)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTornEndIsCutAndKept(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	intent(t, l, "acme", "r1")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	infos, _ := segment.List(dir)
	f, err := os.OpenFile(infos[0].Path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("\x20\x00\x00\x00half a frame")
	f.Close()
	if rep := verify(t, dir); rep.Torn == 0 || rep.OpenIntents != 1 {
		t.Errorf("before recovery: %+v", rep)
	}
	open(t, Config{Dir: dir}).Close()
	if rep := verify(t, dir); rep.Torn != 0 || rep.Unknown != 1 {
		t.Errorf("after recovery: %+v", rep)
	}
	var rec *Recovery
	for _, r := range read(t, dir) {
		if r.Recovery != nil {
			rec = r.Recovery
		}
	}
	if rec == nil || rec.Torn != 16 || rec.Open != 1 {
		t.Fatalf("recovery record: %+v", rec)
	}
	if b, err := os.ReadFile(filepath.Join(dir, rec.Saved)); err != nil || !strings.HasSuffix(string(b), "half a frame") {
		t.Errorf("the torn end was not kept: %q, %v", b, err)
	}
}

// Any flipped bit, removed file or swapped file is noticed.
func TestVerifyNoticesChanges(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir, SegmentSize: 2 << 10})
	for i := range 12 {
		ref := intent(t, l, fmt.Sprint("t", i%2), fmt.Sprint("r", i))
		l.Outcome(ref, Outcome{Result: ResultOK})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	verify(t, dir)
	infos, _ := segment.List(dir)
	if len(infos) < 3 {
		t.Fatalf("%d segments", len(infos))
	}
	changed := func(rep Report, err error) bool { return err != nil || rep.Bad != nil || rep.Torn != 0 }
	rng := rand.New(rand.NewPCG(1, 2))
	for _, in := range infos {
		good, err := os.ReadFile(in.Path)
		if err != nil {
			t.Fatal(err)
		}
		for range 150 {
			// Within the header the creation time means nothing to the verifier beyond its checksum.
			bad := append([]byte(nil), good...)
			bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
			os.WriteFile(in.Path, bad, 0o600)
			if !changed(Verify(dir)) {
				t.Fatalf("%s: a flipped bit went unnoticed", filepath.Base(in.Path))
			}
		}
		os.WriteFile(in.Path, good, 0o600)
	}
	middle, _ := os.ReadFile(infos[1].Path)
	os.Remove(infos[1].Path)
	if rep, err := Verify(dir); !changed(rep, err) {
		t.Error("a removed segment went unnoticed")
	}
	other, _ := os.ReadFile(infos[2].Path)
	os.WriteFile(infos[1].Path, other, 0o600)
	if rep, err := Verify(dir); !changed(rep, err) {
		t.Error("a segment in another's place went unnoticed")
	}
	os.WriteFile(infos[1].Path, middle, 0o600)
	verify(t, dir)

	// A record rewritten with a right checksum breaks its tenant's chain at the next one.
	var frames []byte
	r, err := segment.NewReader(strings.NewReader(string(middle)))
	if err != nil {
		t.Fatal(err)
	}
	frames = segment.AppendHeader(frames, r.Header())
	edited := false
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		rec, err := Parse(p)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Outcome != nil && !edited {
			rec.Outcome.Status, edited = 599, true
		}
		frames, _ = segment.AppendFrame(frames, rec.encode(nil))
	}
	os.WriteFile(infos[1].Path, frames, 0o600)
	rep, err := Verify(dir)
	if !edited || err != nil || rep.Bad == nil || !strings.Contains(rep.Bad.Problem, "does not follow") {
		t.Errorf("a rewritten record: %+v, %v", rep.Bad, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	if _, err := Open(Config{Dir: dir, Node: "n1"}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opened twice: got %v", err)
	}
	l.Close()
	if _, err := Open(Config{Dir: dir, Node: "n2"}); err == nil || !strings.Contains(err.Error(), "n2") {
		t.Errorf("another node's log: got %v", err)
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("opened nothing")
	}
}

// disk is a file system whose files can refuse writes and fsyncs.
type disk struct {
	full, broken  atomic.Bool
	syncs, writes atomic.Int64
}

type diskFile struct {
	*os.File
	d *disk
}

func (d *disk) options() segment.Options {
	return segment.Options{Open: func(path string, flag int, perm os.FileMode) (segment.File, error) {
		if d.full.Load() && flag&os.O_CREATE != 0 {
			return nil, syscall.ENOSPC
		}
		f, err := os.OpenFile(path, flag, perm)
		if err != nil {
			return nil, err
		}
		return &diskFile{f, d}, nil
	}}
}

func (f *diskFile) WriteAt(b []byte, at int64) (int, error) {
	if f.d.full.Load() {
		n, _ := f.File.WriteAt(b[:len(b)/2], at)
		return n, syscall.ENOSPC
	}
	f.d.writes.Add(1)
	return f.File.WriteAt(b, at)
}

func (f *diskFile) Sync() error {
	f.d.syncs.Add(1)
	if f.d.broken.Load() {
		return syscall.EIO
	}
	return f.File.Sync()
}

func TestDiskFullByMode(t *testing.T) {
	dir := t.TempDir()
	d := &disk{}
	l := open(t, Config{Dir: dir, MaxPending: 2000, segments: d.options()})
	before := intent(t, l, "acme", "before")
	d.full.Store(true)

	send := func(mode Mode) error {
		_, err := l.Intent(t.Context(), Intent{Request: "r", Tenant: "acme", Decision: "allow", Mode: mode})
		return err
	}
	if err := send(compliance.AuditBuffer); err != nil {
		t.Errorf("buffer: the first goes to memory, got %v", err)
	}
	if err := send(compliance.AuditStrict); !errors.Is(err, ErrUnavailable) {
		t.Errorf("strict: got %v", err)
	}
	if err := send(compliance.AuditBestEffort); err != nil {
		t.Errorf("best effort: got %v", err)
	}
	if err := l.Outcome(before, Outcome{Result: ResultOK}); err != nil {
		t.Errorf("an outcome in flight: got %v", err)
	}
	refused := 0
	for range 20 {
		if err := send(compliance.AuditBuffer); errors.Is(err, ErrUnavailable) {
			refused++
		}
	}
	if refused == 0 || refused == 20 {
		t.Errorf("buffer: %d of 20 refused, want the buffer to fill", refused)
	}
	if s := l.Stats(); !s.Full || s.PendingBytes == 0 || s.Lost != 1 {
		t.Errorf("stats: %+v", s)
	}

	d.full.Store(false)
	l.heal()
	if err := send(compliance.AuditStrict); err != nil {
		t.Errorf("strict, with room again: got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	rep := verify(t, dir)
	if rep.Lost != 1 {
		t.Errorf("the loss is not in the log: %+v", rep)
	}
	if want := uint64(1 + 1 + (20 - refused) + 1); rep.Intents != want {
		t.Errorf("%d intents, want %d", rep.Intents, want)
	}
}

func TestStrictWaitsForItsFsync(t *testing.T) {
	d := &disk{}
	l := open(t, Config{Dir: t.TempDir(), Mode: compliance.AuditStrict, GroupFsync: time.Hour, segments: d.options()})
	start := d.syncs.Load()
	var wg sync.WaitGroup
	const n = 64
	for i := range n {
		wg.Go(func() {
			ref := intent(t, l, "acme", fmt.Sprint("r", i))
			if s := l.Stats(); s.Records-s.Unsynced <= ref.seq {
				t.Errorf("intent %d returned with %d of %d records unsynced", ref.seq, s.Unsynced, s.Records)
			}
		})
	}
	wg.Wait()
	if got := d.syncs.Load() - start; got == 0 || got > n {
		t.Errorf("%d fsyncs for %d intents", got, n)
	}
}

func TestBufferDoesNotWaitForFsync(t *testing.T) {
	d := &disk{}
	l := open(t, Config{Dir: t.TempDir(), GroupFsync: time.Hour, segments: d.options()})
	start := d.syncs.Load()
	for range 100 {
		intent(t, l, "acme", "r")
	}
	if got := d.syncs.Load() - start; got != 0 {
		t.Errorf("%d fsyncs on the request path", got)
	}
	if s := l.Stats(); s.Unsynced != 100 {
		t.Errorf("unsynced: %+v", s)
	}
}

// An intent is in the file when Intent returns; an outcome goes with the next write.
func TestOutcomesWaitForTheNextWrite(t *testing.T) {
	dir := t.TempDir()
	d := &disk{}
	l := open(t, Config{Dir: dir, GroupFsync: time.Hour, segments: d.options()})
	start := d.writes.Load()
	const n = 50
	for i := range n {
		ref := intent(t, l, "acme", fmt.Sprint("r", i))
		if got := d.writes.Load() - start; got != int64(i)+1 {
			t.Fatalf("%d writes after %d intents", got, i+1)
		}
		if err := l.Outcome(ref, Outcome{Result: ResultOK}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := d.writes.Load() - start; got != n+1 {
		t.Errorf("%d writes for %d requests and the close", got, n)
	}
	if rep := verify(t, dir); rep.Intents != n || rep.OpenIntents != 0 || rep.Outcomes != n {
		t.Errorf("%+v", rep)
	}
}

func TestGroupFsync(t *testing.T) {
	d := &disk{}
	l := open(t, Config{Dir: t.TempDir(), GroupFsync: time.Millisecond, segments: d.options()})
	intent(t, l, "acme", "r")
	for l.Stats().Unsynced > 0 { // ends only when the group's fsync came by itself
		time.Sleep(time.Millisecond)
	}
}

// After a failed fsync the strict request is refused, and the log goes on in another file: the kernel
// may have dropped the pages of this one.
func TestFailedFsync(t *testing.T) {
	dir := t.TempDir()
	d := &disk{}
	l := open(t, Config{Dir: dir, Mode: compliance.AuditStrict, segments: d.options()})
	d.broken.Store(true)
	if _, err := l.Intent(t.Context(), Intent{Request: "r", Tenant: "acme", Decision: "allow"}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if s := l.Stats(); s.OpenIntents != 0 || s.SyncErrors == 0 {
		t.Errorf("the refused intent stays open: %+v", s)
	}
	d.broken.Store(false)
	intent(t, l, "acme", "r2")
	if infos, _ := segment.List(dir); len(infos) != 2 {
		t.Errorf("%d segments, want a new one", len(infos))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	verify(t, dir)
}

func TestTailFollows(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir, SegmentSize: 2 << 10})
	for i := range 20 {
		intent(t, l, "acme", fmt.Sprint("old", i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		done <- Tail(ctx, dir, TailOptions{Last: 3, Follow: true}, func(r Record, encoded []byte) error {
			if r.Intent != nil {
				got <- r.Intent.Request
			}
			return nil
		})
	}()
	if first := <-got; first != "old17" && first != "old18" && first != "old19" {
		t.Errorf("first record: %s", first)
	}
	for i := range 30 {
		intent(t, l, "acme", fmt.Sprint("new", i))
	}
	next := 0
	for next < 30 {
		if r := <-got; strings.HasPrefix(r, "new") {
			if r != fmt.Sprint("new", next) {
				t.Fatalf("got %s, want new%d", r, next)
			}
			next++
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func BenchmarkIntentOutcome(b *testing.B) {
	for _, mode := range []Mode{compliance.AuditBuffer, compliance.AuditStrict} {
		b.Run(mode.String(), func(b *testing.B) {
			l := open(b, Config{Dir: b.TempDir(), Mode: mode})
			in := exampleIntent()
			in.Mode = compliance.AuditUnset
			out := Outcome{Result: ResultOK, Status: 200, Input: 10, Output: 20, Attempts: 1, Route: 1, TotalUS: 1234}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ref, err := l.Intent(context.Background(), in)
					if err == nil {
						err = l.Outcome(ref, out)
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
