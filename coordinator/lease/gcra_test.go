package lease

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// use is one admission as an outside observer counts it.
type use struct {
	at time.Duration
	n  int64
}

// busiest is the most units in any half-open window of a Period: windows that start at an admission
// are enough.
func busiest(log []use) int64 {
	var most int64
	for i := range log {
		var sum int64
		for _, u := range log[i:] {
			if u.at-log[i].at >= Period {
				break
			}
			sum += u.n
		}
		most = max(most, sum)
	}
	return most
}

// For every limit and every arrival pattern, with and without refunds at any later time, no window of
// a minute holds more than the limit.
func TestRateNeverExceedsTheLimitInAnyWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 80).Draw(t, "limit")
		r := PerMinute(limit)
		now := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "origin"))
		}).Draw(t, "now")
		b := NewBucket(now)
		var log []use
		type held struct {
			mark Mark
			at   int
		}
		var open []held
		// Steps of the order of one interval, of bursts, and of whole quiet minutes.
		step := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, int64(2*r.Interval)), rapid.Int64Range(0, int64(Period)+1e9),
			rapid.Just(int64(Period)-1), rapid.Just(int64(Period)))
		for range rapid.IntRange(1, 120).Draw(t, "events") {
			now += time.Duration(step.Draw(t, "step"))
			if len(open) > 0 && rapid.IntRange(0, 3).Draw(t, "refund?") == 0 {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				h := open[i]
				open = append(open[:i], open[i+1:]...)
				b.Refund(r, h.mark, log[h.at].n)
				log[h.at].n = 0
				continue
			}
			n := rapid.OneOf(rapid.Just(int64(1)), rapid.Int64Range(1, limit)).Draw(t, "n")
			for range rapid.IntRange(1, 30).Draw(t, "burst") {
				before := b.Look(r, now)
				d, m := b.Take(r, now, n)
				if d.OK != (before.Remaining >= n) {
					t.Fatalf("remaining %d, taking %d said %v", before.Remaining, n, d.OK)
				}
				if !d.OK {
					break
				}
				log = append(log, use{now, n})
				open = append(open, held{m, len(log) - 1})
			}
			if got := busiest(log); got > limit {
				t.Fatalf("limit %d, a window holds %d", limit, got)
			}
		}
	})
}

// A refused request is admitted exactly when RetryIn said, and not a nanosecond before.
func TestRateRetryInIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 5000).Draw(t, "limit")
		r := PerMinute(limit)
		b := NewBucket(0)
		now := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			now += time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "step"))
			n := rapid.Int64Range(1, limit).Draw(t, "n")
			d, _ := b.Take(r, now, n)
			if d.OK {
				continue
			}
			if d.RetryIn <= 0 {
				t.Fatalf("refused with retry in %v", d.RetryIn)
			}
			early, late := b, b
			if d2, _ := early.Take(r, now+d.RetryIn-1, n); d2.OK {
				t.Fatal("admitted before RetryIn")
			}
			if d2, _ := late.Take(r, now+d.RetryIn, n); !d2.OK {
				t.Fatalf("refused at RetryIn, now in %v", d2.RetryIn)
			}
		}
	})
}

// A refund with nothing admitted since leaves no trace that a later request could notice.
func TestRateRefundIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 100).Draw(t, "limit")
		r := PerMinute(limit)
		b := NewBucket(0)
		now := time.Duration(0)
		for range rapid.IntRange(0, 60).Draw(t, "before") {
			now += time.Duration(rapid.Int64Range(0, int64(3*r.Interval)).Draw(t, "step"))
			b.Take(r, now, 1)
		}
		var marks []Mark
		never, n := b, rapid.Int64Range(1, limit).Draw(t, "n")
		for range rapid.IntRange(1, 5).Draw(t, "takes") {
			if d, m := b.Take(r, now, n); d.OK {
				marks = append(marks, m)
			}
		}
		for i := len(marks) - 1; i >= 0; i-- {
			b.Refund(r, marks[i], n)
		}
		if got, want := b.Look(r, now), never.Look(r, now); len(marks) > 0 && got.Remaining != want.Remaining {
			t.Fatalf("after the refund %d remain, had nothing been taken %d", got.Remaining, want.Remaining)
		}
	})
}

func TestRateSteps(t *testing.T) {
	type step struct {
		at   time.Duration
		n    int64
		ok   bool
		left int64
		why  string
	}
	for _, tt := range []struct {
		name  string
		limit int64
		steps []step
	}{
		{"one a minute", 1, []step{
			{0, 1, true, 0, "the first"},
			{time.Minute - 1, 1, false, 0, "the window still holds it"},
			{time.Minute, 1, true, 0, "a half-open window later"},
		}},
		{"whole limit at once", 60, []step{
			{0, 60, true, 0, "a quiet minute earned all of it"},
			{time.Second, 1, false, 0, "nothing until the burst allowance is paid off"},
			{time.Minute + time.Microsecond, 1, true, 0, "the sixty-first after a whole minute"},
			{67 * time.Second, 6, true, 0, "paid off: the steady burst, a tenth"},
			{67 * time.Second, 1, false, 0, "and no more"},
		}},
		{"steady", 6, []step{
			{0, 1, true, 5, ""},
			{0, 1, true, 4, ""},
			{0, 1, true, 3, ""},
			{0, 1, true, 2, ""},
			{0, 1, true, 1, ""},
			{0, 1, true, 0, "six at once"},
			{59 * time.Second, 1, false, 0, ""},
			{60 * time.Second, 1, true, 0, "one every ten seconds from here"},
			{69 * time.Second, 1, false, 0, ""},
			{70 * time.Second, 1, true, 0, ""},
		}},
		{"clock goes back", 2, []step{
			{time.Hour, 1, true, 1, ""},
			{0, 1, true, 0, "held at the latest time"},
			{0, 1, false, 0, ""},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := PerMinute(tt.limit)
			b := NewBucket(0)
			for i, s := range tt.steps {
				d, _ := b.Take(r, s.at, s.n)
				if d.OK != s.ok || d.Remaining != s.left {
					t.Errorf("step %d at %v: ok %v, %d left; want %v, %d: %s", i, s.at, d.OK, d.Remaining, s.ok, s.left, s.why)
				}
			}
		})
	}
}

func TestPerMinute(t *testing.T) {
	for _, tt := range []struct {
		limit int64
		want  Rate
	}{
		{0, Rate{}},
		{-5, Rate{}},
		{1, Rate{1, 1, time.Minute}},
		{60, Rate{60, 6, 1090909091 * time.Nanosecond}},
		{1e12, Rate{1e12, 1e11, 1}},
	} {
		if diff := cmp.Diff(tt.want, PerMinute(tt.limit)); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", tt.limit, diff)
		}
	}
}

// The token window keeps the same promise, and its refunds are exact at any later time.
func TestWindowNeverExceedsTheLimitAndRefundsExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 1000).Draw(t, "limit")
		now := time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "origin"))
		w := Window{head: slotOf(now)}
		type held struct {
			at             int
			reserved, slot int64
		}
		var log []use
		var open []held
		step := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 5e9), rapid.Int64Range(0, 70e9), rapid.Just(int64(Period)-1), rapid.Just(int64(Period)+1e9))
		for range rapid.IntRange(1, 150).Draw(t, "events") {
			now += time.Duration(step.Draw(t, "step"))
			if len(open) > 0 && rapid.Bool().Draw(t, "settle?") {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				h := open[i]
				open = append(open[:i], open[i+1:]...)
				actual := rapid.Int64Range(0, h.reserved).Draw(t, "actual")
				w.Settle(now, h.slot, h.reserved, actual)
				log[h.at].n = actual
			} else {
				n := rapid.Int64Range(0, limit).Draw(t, "n")
				if d, reserved, slot := w.Take(limit, now, n); d.OK {
					log = append(log, use{now, n})
					open = append(open, held{len(log) - 1, reserved, slot})
				} else {
					early, late := w, w
					if d2, _, _ := early.Take(limit, now+d.RetryIn-1, n); d2.OK {
						t.Fatal("admitted before RetryIn")
					}
					if d2, _, _ := late.Take(limit, now+d.RetryIn, n); !d2.OK {
						t.Fatal("refused at RetryIn")
					}
				}
			}
			if got := busiest(log); got > limit {
				t.Fatalf("limit %d, a window holds %d", limit, got)
			}
			// Exact: what remains is the limit less what the last slots really hold, no more, no less.
			var held int64
			for _, u := range log {
				if slotOf(u.at) > slotOf(now)-int64(slots) {
					held += u.n
				}
			}
			if got := w.Look(limit, now).Remaining; got != limit-held {
				t.Fatalf("%d remain, want %d", got, limit-held)
			}
		}
	})
}

// An answer longer than its estimate is paid for afterwards, not forgotten.
func TestWindowChargesWhatWasUnderestimated(t *testing.T) {
	w := Window{}
	d, reserved, slot := w.Take(100, 0, 250)
	if !d.OK || reserved != 100 {
		t.Fatalf("a request over the whole limit on an empty window: %+v, reserved %d", d, reserved)
	}
	w.Settle(30*time.Second, slot, reserved, 250)
	if d, _, _ := w.Take(100, 70*time.Second, 1); d.OK {
		t.Error("150 tokens came 40 s ago and the limit is 100")
	}
	if d, _, _ := w.Take(100, 91*time.Second, 1); !d.OK {
		t.Error("a minute after the excess the window is empty")
	}
}
