package retry

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/fault"
)

var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func attempt(f *fault.Error) Attempt { return Attempt{Target: "p/m", Exit: "x", Fault: f, At: t0} }

// TestEveryKindAndPhase is the whole table: what one first failure leads to, before content, with
// another candidate left and without.
func TestEveryKindAndPhase(t *testing.T) {
	const (
		never     = iota // the client gets it at once
		elsewhere        // elsewhere, else stop
		anywhere         // elsewhere, else the same target later
	)
	want := map[fault.Kind]int{
		fault.UpstreamRate: anywhere, fault.UpstreamOverload: anywhere, fault.UpstreamError: anywhere, fault.UpstreamTimeout: anywhere,
		fault.UpstreamUnreached: anywhere, fault.UpstreamPartial: anywhere, fault.ExitUnreachable: anywhere, fault.ExitLost: anywhere,
		fault.UpstreamProtocol: elsewhere, fault.UpstreamAuth: elsewhere, fault.UpstreamQuota: elsewhere, fault.Draining: elsewhere,
	}
	for _, k := range fault.Kinds() {
		for _, phase := range []fault.Phase{fault.NotSent, fault.Sent, fault.Partial} {
			f := &fault.Error{Kind: k, Phase: phase}
			other := Decide(t0, Policy{}, []Attempt{attempt(f)}, false, 1)
			alone := Decide(t0, Policy{}, []Attempt{attempt(f)}, false, 0)
			if got := other.Retry && !other.SameTarget && other.After == 0; got != (want[k] != never) {
				t.Errorf("%s in phase %d with another candidate: %+v", k, phase, other)
			}
			if got := alone.Retry && alone.SameTarget; got != (want[k] == anywhere) {
				t.Errorf("%s in phase %d alone: %+v", k, phase, alone)
			}
			for _, d := range []Decision{other, alone} {
				if d.Retry == (d.Final != nil) {
					t.Errorf("%s: %+v neither retries nor ends", k, d)
				}
			}
			// peers 19: apache/shenyu #6647, litellm PR #32835: replay after partial output repeats text.
			if d := Decide(t0, Policy{}, []Attempt{attempt(f)}, true, 5); d.Retry || d.Final.Kind != k || d.Final.Phase != fault.Partial {
				t.Errorf("%s after content: %+v", k, d)
			}
		}
	}
}

// TestAgreesWithFaultTable: the classes of relay/fault decide, but for one: an exit that died before
// content is replaced in any phase, so that killing an exit loses no request that could be retried.
func TestAgreesWithFaultTable(t *testing.T) {
	for _, k := range fault.Kinds() {
		if k == fault.ExitLost {
			continue
		}
		for _, phase := range []fault.Phase{fault.NotSent, fault.Sent} {
			allowed := k.Info().Retry == fault.Safe || k.Info().Retry == fault.IfNotSent && phase == fault.NotSent
			if got := Decide(t0, Policy{}, []Attempt{attempt(&fault.Error{Kind: k, Phase: phase})}, false, 1).Retry; got != allowed {
				t.Errorf("%s in phase %d: retry %v, table says %v", k, phase, got, allowed)
			}
		}
	}
}

func TestDecide(t *testing.T) {
	rate := func(after time.Duration) *fault.Error {
		return &fault.Error{Kind: fault.UpstreamRate, Phase: fault.Sent, RetryAfter: after}
	}
	down := &fault.Error{Kind: fault.UpstreamUnreached}
	hist := func(fs ...*fault.Error) (h []Attempt) {
		for _, f := range fs {
			h = append(h, attempt(f))
		}
		return h
	}
	for _, c := range []struct {
		why   string
		p     Policy
		h     []Attempt
		left  int
		retry bool
		after time.Duration
		kind  fault.Kind
	}{
		{why: "the first attempt", left: 1, retry: true},
		{why: "nothing to try at all"},
		{why: "a success ends it", h: hist(down, nil), left: 3},
		{why: "another target does not inherit the wait", h: hist(rate(time.Minute)), left: 1, retry: true},
		{why: "the same target: Retry-After, never shortened", p: Policy{Draw: 0}, h: hist(rate(time.Minute)), retry: true, after: time.Minute},
		{why: "jitter only adds", p: Policy{Draw: 7}, h: hist(rate(time.Minute)), retry: true, after: time.Minute + 7},
		{why: "three attempts by default", h: hist(down, down, down), left: 9, kind: fault.UpstreamUnreached},
		{why: "attempts as configured", p: Policy{Attempts: 1}, h: hist(down), left: 9, kind: fault.UpstreamUnreached},
		{why: "no wait past the deadline", p: Policy{Deadline: t0.Add(time.Second)}, h: hist(rate(time.Minute)), kind: fault.UpstreamRate},
		{why: "no try at the deadline itself", p: Policy{Deadline: t0}, h: hist(down), left: 1, kind: fault.UpstreamUnreached},
		{why: "time is left", p: Policy{Deadline: t0.Add(2 * time.Minute)}, h: hist(rate(time.Minute)), retry: true, after: time.Minute},
		{why: "the provider's word beats a dead exit", h: hist(rate(time.Minute), down, down), kind: fault.UpstreamRate},
	} {
		d := Decide(t0, c.p, c.h, false, c.left)
		if d.Retry != c.retry || d.After != c.after {
			t.Errorf("%s: %+v", c.why, d)
		}
		if c.kind != 0 && (d.Final == nil || d.Final.Kind != c.kind) {
			t.Errorf("%s: final %v, want %s", c.why, d.Final, c.kind)
		}
	}
}

// TestFinalHint: the client is told the soonest moment, counted from now.
func TestFinalHint(t *testing.T) {
	h := []Attempt{
		{Fault: &fault.Error{Kind: fault.UpstreamRate, RetryAfter: 40 * time.Second}, At: t0.Add(-30 * time.Second)},
		{Fault: &fault.Error{Kind: fault.UpstreamRate, RetryAfter: 60 * time.Second}, At: t0},
	}
	d := Decide(t0, Policy{Attempts: 2}, h, false, 4)
	if d.Retry || d.Final.RetryAfter != 10*time.Second {
		t.Errorf("%+v", d.Final)
	}
	if h[1].Fault.RetryAfter != 60*time.Second {
		t.Error("the history was changed")
	}
}

func TestBackoffBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, draw := rapid.IntRange(-1, 80).Draw(t, "n"), rapid.Uint64().Draw(t, "draw")
		if d := Backoff(n, draw); d < 0 || d >= backoffCap || n <= 0 && d >= backoffBase {
			t.Fatalf("Backoff(%d) = %s", n, d)
		}
	})
}

// TestDecideTerminates: whatever happens, a request ends after its attempts.
func TestDecideTerminates(t *testing.T) {
	kinds := fault.Kinds()
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Attempts: rapid.IntRange(0, 6).Draw(t, "attempts"), Draw: rapid.Uint64().Draw(t, "draw")}
		now, left := t0, rapid.IntRange(0, 5).Draw(t, "left")
		var h []Attempt
		for n := 0; ; n++ {
			d := Decide(now, p, h, false, left)
			if !d.Retry {
				return
			}
			if limit := max(p.Attempts, DefaultAttempts); n > limit {
				t.Fatalf("attempt %d of %d", n, limit)
			}
			if !d.SameTarget {
				if left == 0 {
					t.Fatal("a candidate that does not exist")
				}
				left--
			}
			now = now.Add(d.After)
			h = append(h, Attempt{Fault: &fault.Error{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}, At: now})
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	h := []Attempt{attempt(&fault.Error{Kind: fault.UpstreamRate}), attempt(&fault.Error{Kind: fault.UpstreamError})}
	b.ReportAllocs()
	for b.Loop() {
		_ = Decide(t0, Policy{}, h, false, 1)
	}
}
