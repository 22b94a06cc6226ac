package lease

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestReserveAllIsAllOrNothing(t *testing.T) {
	l := NewLimiter()
	tenant := Applied{"tenant/acme", Limits{RPM: 100, TPM: 1000, Concurrency: 5}}
	key := Applied{"key/acme-app", Limits{RPM: 2}}
	model := Applied{"model/gpt", Limits{TPM: 500}}
	all := []Applied{tenant, key, model}
	h1, _, ok := l.ReserveAll(t0, all, 300)
	if !ok {
		t.Fatal("first request refused")
	}
	if _, d, ok := l.ReserveAll(t0, all, 300); ok || d.Kind != TPM || d.Index != 2 || d.Limit != 500 || d.RetryAfter != 61*time.Second {
		t.Fatalf("second request: %v %+v, want the model's tpm to refuse for 61s", ok, d)
	}
	want := State{
		Requests:    Level{Limit: 100, Remaining: 99, ResetIn: l.State(t0, tenant.Key, tenant.Limits).Requests.ResetIn},
		Tokens:      Level{Limit: 1000, Remaining: 700, ResetIn: 61 * time.Second},
		Concurrency: Level{Limit: 5, Remaining: 4},
	}
	if diff := cmp.Diff(want, l.State(t0, tenant.Key, tenant.Limits)); diff != "" {
		t.Errorf("a refused request left traces in the tenant (-want +got):\n%s", diff)
	}
	h1.Settle(t0.Add(time.Second), 50)
	h1.Release(t0.Add(time.Second)) // no-op
	h1.Settle(t0.Add(time.Second), 900)
	if got := l.State(t0.Add(time.Second), tenant.Key, tenant.Limits); got.Tokens.Remaining != 950 || got.Concurrency.Remaining != 5 || got.Requests.Remaining != 99 {
		t.Errorf("after settling 50 once: %+v", got)
	}
	h2, _, ok := l.ReserveAll(t0.Add(time.Second), all, 300)
	if !ok {
		t.Fatal("room was given back, still refused")
	}
	if _, d, ok := l.ReserveAll(t0.Add(time.Second), all, 1); ok || d.Kind != RPM || d.Index != 1 {
		t.Errorf("third request: %v %+v, want the key's rpm to refuse", ok, d)
	}
	h2.Release(t0.Add(2 * time.Second))
	if h3, _, ok := l.ReserveAll(t0.Add(2*time.Second), all, 300); !ok {
		t.Error("a released request still counts against the key's rpm")
	} else {
		h3.Release(t0.Add(2 * time.Second))
	}
}

func TestConcurrencyCountsWhatRuns(t *testing.T) {
	l := NewLimiter()
	lim := Limits{Concurrency: 2}
	a, _, _ := l.Reserve(t0, "k", lim, 0)
	b, _, _ := l.Reserve(t0, "k", lim, 0)
	if _, d, ok := l.Reserve(t0, "k", lim, 0); ok || d.Kind != Concurrency || d.RetryAfter <= 0 {
		t.Fatalf("third of two: %v %+v", ok, d)
	}
	a.Settle(t0, -1)
	a.Settle(t0, -1)
	c, _, ok := l.Reserve(t0, "k", lim, 0)
	if !ok {
		t.Fatal("a slot was free")
	}
	if _, _, ok := l.Reserve(t0, "k", lim, 0); ok {
		t.Error("ending a request twice freed two slots")
	}
	b.Release(t0)
	c.Release(t0)
}

// TestNoTokensNeedNone: used up tokens do not refuse a request that takes none, a count of tokens.
func TestNoTokensNeedNone(t *testing.T) {
	l := NewLimiter()
	limits := Limits{RPM: 2, TPM: 10}
	h, _, ok := l.Reserve(t0, "k", limits, 5)
	if !ok {
		t.Fatal("the first request was refused")
	}
	h.Settle(t0, 50) // it used more than it had asked for
	if _, d, ok := l.Reserve(t0, "k", limits, 1); ok || d.Kind != TPM {
		t.Errorf("a request for a token: %v %+v", ok, d)
	}
	h, d, ok := l.Reserve(t0, "k", limits, 0)
	if !ok {
		t.Errorf("a request for none: %+v", d)
	}
	h.Settle(t0, 0)
	if _, d, ok := l.Reserve(t0, "k", limits, 0); ok || d.Kind != RPM {
		t.Errorf("the third request of two: %v %+v", ok, d)
	}
}

func TestUnlimitedAlwaysSucceeds(t *testing.T) {
	l := NewLimiter()
	var zero Hold
	zero.Settle(t0, 5)
	h, _, ok := l.ReserveAll(t0, []Applied{{"a", Limits{}}}, 1<<40)
	if !ok || h.Tokens() != 1<<40 {
		t.Error("no limit refused")
	}
	h.Release(t0)
}

func TestSameKeyTwiceCountsOnce(t *testing.T) {
	l := NewLimiter()
	lim := Limits{RPM: 2, Concurrency: 2}
	all := []Applied{{"k", lim}, {"k", lim}}
	for range 2 {
		if _, d, ok := l.ReserveAll(t0, all, 0); !ok {
			t.Fatalf("refused by %+v", d)
		}
	}
	if _, _, ok := l.ReserveAll(t0, all, 0); ok {
		t.Error("third of two")
	}
}

func TestManyLimitsAtOnce(t *testing.T) {
	l := NewLimiter()
	var all []Applied
	for i := range 20 {
		all = append(all, Applied{fmt.Sprint("k", i), Limits{RPM: 10, TPM: 100, Concurrency: 1}})
	}
	h, _, ok := l.ReserveAll(t0, all, 10)
	if !ok {
		t.Fatal("refused")
	}
	if _, d, ok := l.ReserveAll(t0, all[19:], 10); ok || d.Kind != Concurrency {
		t.Error("the twentieth limit was not taken")
	}
	h.Release(t0)
	if _, _, ok := l.ReserveAll(t0, all, 10); !ok {
		t.Error("the release missed one")
	}
}

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		in    Limits
		edges int
		want  Limits
		why   string
	}{
		{Limits{600, 200_000, 50}, 3, Limits{200, 66_666, 16}, "rounded down, so that the sum stays within the limit"},
		{Limits{2, 1, 1}, 3, Limits{1, 1, 1}, "a share of nothing would refuse for ever"},
		{Limits{}, 3, Limits{}, "not limited stays not limited"},
		{Limits{RPM: 10}, 0, Limits{RPM: 10}, "no edge is known yet: this one"},
	} {
		if got := tt.in.Share(tt.edges); got != tt.want {
			t.Errorf("%v over %d edges: %v, want %v: %s", tt.in, tt.edges, got, tt.want, tt.why)
		}
	}
}

// Many goroutines on few limits, on the bubble's clock: what gets through a minute is the limit.
func TestParallelRequestsNeverExceedTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter()
		all := []Applied{{"tenant", Limits{RPM: 500, TPM: 20_000, Concurrency: 7}}, {"key", Limits{RPM: 400}}}
		var admitted, running, over atomic.Int64
		var wg sync.WaitGroup
		stop := time.Now().Add(59 * time.Second)
		for g := range 16 {
			wg.Go(func() {
				for time.Now().Before(stop) {
					if h, _, ok := l.ReserveAll(time.Now(), all, 40); ok {
						if running.Add(1) > 7 {
							over.Add(1)
						}
						admitted.Add(1)
						time.Sleep(time.Duration(1+g) * time.Millisecond)
						running.Add(-1)
						h.Settle(time.Now(), 40)
					}
					time.Sleep(time.Duration(3+g) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if admitted.Load() != 400 || over.Load() != 0 {
			t.Errorf("%d requests in 59 s under 400 rpm, %d times over 7 at a time", admitted.Load(), over.Load())
		}
	})
}

func TestIdleLimitsAreForgottenAndHeldOnesAreNot(t *testing.T) {
	l := NewLimiter()
	lim := Limits{RPM: 10, Concurrency: 1}
	held, _, ok := l.Reserve(t0, "held", lim, 0)
	if !ok {
		t.Fatal("refused")
	}
	for i := range shards * sweepEvery * 2 {
		h, _, _ := l.Reserve(t0, fmt.Sprint("a", i), lim, 0)
		h.Release(t0)
	}
	later := t0.Add(idle + time.Second)
	for i := range shards * sweepEvery * 2 {
		h, _, _ := l.Reserve(later, fmt.Sprint("b", i), lim, 0)
		h.Release(later)
	}
	kept := 0
	for i := range l.shard {
		kept += len(l.shard[i].byKey)
	}
	if kept > shards*sweepEvery*3 {
		t.Errorf("%d entries kept of %d seen", kept, shards*sweepEvery*4)
	}
	if _, _, ok := l.Reserve(later, "held", lim, 0); ok {
		t.Error("a running request was forgotten")
	}
	held.Release(later)
}

func TestReserveDoesNotAllocate(t *testing.T) {
	l := NewLimiter()
	all := []Applied{
		{"tenant/acme", Limits{RPM: 1e9, TPM: 1e12, Concurrency: 1e6}}, {"key/acme-app", Limits{RPM: 1e9}}, {"model/gpt", Limits{TPM: 1e12}},
	}
	now := t0
	work := func() {
		h, _, ok := l.ReserveAll(now, all, 1000)
		if !ok {
			t.Fatal("refused")
		}
		h.Settle(now, 400)
		now = now.Add(time.Millisecond)
	}
	work()
	if n := testing.AllocsPerRun(1000, work); n != 0 {
		t.Errorf("%v allocations per request", n)
	}
}

func BenchmarkReserveSettleOneLimit(b *testing.B) {
	benchmark(b, []Applied{{"tenant/acme", Limits{RPM: 1e9, TPM: 1e12, Concurrency: 1e6}}})
}

func BenchmarkReserveSettleThreeLimits(b *testing.B) {
	benchmark(b, []Applied{
		{"tenant/acme", Limits{RPM: 1e9, TPM: 1e12, Concurrency: 1e6}}, {"key/acme-app", Limits{RPM: 1e9}}, {"model/gpt", Limits{TPM: 1e12}},
	})
}

func benchmark(b *testing.B, all []Applied) {
	l := NewLimiter()
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		h, _, ok := l.ReserveAll(now, all, 1000)
		if !ok {
			b.Fatal("refused")
		}
		h.Settle(now, 400)
		now = now.Add(time.Microsecond)
	}
}

// TestRaise: a reservation grows under all limits or under none, and keeps its request and its slot.
func TestRaise(t *testing.T) {
	l := NewLimiter()
	all := []Applied{{"tenant", Limits{RPM: 1, TPM: 100, Concurrency: 1}}, {"key", Limits{TPM: 50}}}
	tokens := func(now time.Time, i int) int64 { return l.State(now, all[i].Key, all[i].Limits).Tokens.Remaining }
	h, _, ok := l.ReserveAll(t0, all, 10)
	other, _, _ := l.Reserve(t0, "key", all[1].Limits, 20)
	if d, ok := h.Raise(t0, 40); ok || d.Kind != TPM || d.Index != 1 || d.RetryAfter <= 0 || tokens(t0, 0) != 90 || tokens(t0, 1) != 20 {
		t.Fatalf("%v %+v: %d and %d left", ok, d, tokens(t0, 0), tokens(t0, 1))
	}
	if d, more := h.Raise(t0, 30); !ok || !more || tokens(t0, 0) != 70 || tokens(t0, 1) != 0 {
		t.Fatalf("%+v: %d and %d left", d, tokens(t0, 0), tokens(t0, 1))
	}
	if _, d, ok := l.ReserveAll(t0, all, 0); ok || d.Kind == TPM {
		t.Errorf("its request and its slot are somebody else's: %v %+v", ok, d)
	}
	other.Release(t0)
	h.Settle(t0, 12)
	if tokens(t0, 0) != 88 || tokens(t0, 1) != 38 {
		t.Errorf("%d and %d left", tokens(t0, 0), tokens(t0, 1))
	}

	// What has left the window counts no more: all of it is reserved anew. More than the limit is all of it.
	one := all[1:]
	later, after := t0.Add(Period*2), t0.Add(Period*4)
	h, _, _ = l.ReserveAll(later, one, 10)
	if d, ok := h.Raise(after, 1000); !ok || l.State(after, "key", one[0].Limits).Tokens.Remaining != 0 {
		t.Errorf("%v %+v", ok, d)
	}
	h.Settle(after, 5)
	if left := l.State(after, "key", one[0].Limits).Tokens.Remaining; left != 45 {
		t.Errorf("%d left", left)
	}
	if _, ok := h.Raise(after, 2000); !ok || l.State(after, "key", one[0].Limits).Tokens.Remaining != 45 {
		t.Error("an ended reservation grew")
	}
	if _, ok := new(Hold).Raise(t0, 5); !ok {
		t.Error("a reservation of nothing is not limited")
	}
}
