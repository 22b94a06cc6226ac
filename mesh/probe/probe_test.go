package probe

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestPathBelievesTroubleAtOnceAndRecoverySlowly(t *testing.T) {
	var p PathStat
	if s := p.Snapshot(t0); s.Known || s.RTT != 0 || s.Loss != 0 {
		t.Errorf("nothing was seen yet: %+v", s)
	}
	type step struct {
		after, rtt time.Duration // rtt 0 = only look
		min, max   time.Duration
		why        string
	}
	now := t0
	for i, s := range []step{
		{0, 150 * time.Millisecond, 150 * time.Millisecond, 150 * time.Millisecond, "the first sample counts in full"},
		{time.Second, 400 * time.Millisecond, 400 * time.Millisecond, 400 * time.Millisecond, "a peak counts at once"},
		{time.Second, 150 * time.Millisecond, 370 * time.Millisecond, 390 * time.Millisecond, "one good sample says little"},
		{10 * time.Second, 150 * time.Millisecond, 220 * time.Millisecond, 240 * time.Millisecond, "a tau later two thirds are gone"},
		{time.Minute, 150 * time.Millisecond, 150 * time.Millisecond, 151 * time.Millisecond, "after a minute it is forgotten"},
	} {
		now = now.Add(s.after)
		p.Observe(now, s.rtt)
		if got := p.Snapshot(now).RTT; got < s.min || got > s.max {
			t.Errorf("step %d: rtt %v, want %v..%v: %s", i, got, s.min, s.max, s.why)
		}
	}
	s := p.Snapshot(now.Add(3 * time.Second))
	if s.MinRTT != 150*time.Millisecond || s.Age != 3*time.Second || s.Samples != 5 || s.Jitter <= 0 {
		t.Errorf("%+v", s)
	}
}

func TestPathLoss(t *testing.T) {
	var p PathStat
	now := t0
	for i := range 1000 {
		now = now.Add(100 * time.Millisecond)
		if i%5 == 0 {
			p.Lost(now)
		} else {
			p.Observe(now, time.Millisecond)
		}
	}
	if l := p.Snapshot(now).Loss; l < 0.18 || l > 0.22 {
		t.Errorf("every fifth lost reads as %.3f", l)
	}
	for range 1200 {
		now = now.Add(100 * time.Millisecond)
		p.Observe(now, time.Millisecond)
	}
	if l := p.Snapshot(now).Loss; l > 0.01 {
		t.Errorf("two clean minutes later loss reads as %.3f", l)
	}
}

func TestPathStaysWithinItsSamples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p PathStat
		now, lo, hi := t0, time.Duration(1<<62), time.Duration(0)
		for range rapid.IntRange(1, 50).Draw(t, "n") {
			now = now.Add(time.Duration(rapid.Int64Range(-1e9, 60e9).Draw(t, "step")))
			rtt := time.Duration(rapid.Int64Range(1, 5e9).Draw(t, "rtt"))
			lo, hi = min(lo, rtt), max(hi, rtt)
			p.Observe(now, rtt)
			s := p.Snapshot(now)
			if s.RTT < lo-1 || s.RTT > hi || s.Jitter < 0 || s.Loss != 0 || s.RTT < rtt-1 {
				t.Fatalf("samples %v..%v, last %v: %+v", lo, hi, rtt, s)
			}
		}
	})
}

func TestProviderCircuit(t *testing.T) {
	var p ProviderStat
	now := t0
	fail := func() { p.Observe(now, Observation{Failed: true}) }
	state := func(want State, why string) {
		t.Helper()
		if got := p.Snapshot(now).State; got != want {
			t.Errorf("%v after start: %v, want %v: %s", now.Sub(t0), got, want, why)
		}
	}
	acquire := func(wantOK, wantTrial bool, why string) {
		t.Helper()
		if ok, trial := p.Acquire(now); ok != wantOK || trial != wantTrial {
			t.Errorf("%v after start: acquire %v (trial %v), want %v (%v): %s", now.Sub(t0), ok, trial, wantOK, wantTrial, why)
		}
	}
	acquire(true, false, "nothing known is healthy")
	for range openAfter - 1 {
		fail()
	}
	state(Healthy, "four failures are not five")
	p.Observe(now, Observation{TTFT: time.Second})
	for range openAfter - 1 {
		fail()
	}
	state(Healthy, "a success between them starts the row anew")
	fail()
	state(Open, "five in a row")
	acquire(false, false, "open")
	fail()
	if u := p.Snapshot(now).Until; u != now.Add(openBase) {
		t.Errorf("a late failure moved the end to %v", u.Sub(now))
	}
	now = now.Add(openBase)
	state(HalfOpen, "time is up")
	acquire(true, true, "one trial")
	acquire(false, false, "and only one")
	fail()
	state(Open, "the trial failed")
	now = now.Add(openBase)
	acquire(false, false, "the second pause is twice as long")
	now = now.Add(openBase)
	acquire(true, true, "the second trial")
	now = now.Add(trialTTL)
	acquire(true, true, "the trial was never reported: another one")
	p.Observe(now, Observation{TTFT: time.Second})
	state(Healthy, "the trial went well")
	acquire(true, false, "closed")
	for range openAfter {
		fail()
	}
	if u := p.Snapshot(now).Until; u != now.Add(openBase) {
		t.Errorf("after a recovery the pause starts small again, got %v", u.Sub(now))
	}
}

func TestProviderOpensOnErrorRate(t *testing.T) {
	var p ProviderStat
	now := t0
	for i := range 40 {
		now = now.Add(50 * time.Millisecond)
		p.Observe(now, Observation{Failed: i%3 != 0, TTFT: time.Second})
		if i < openMin-1 && p.Snapshot(now).State != Healthy {
			t.Fatalf("opened after %d requests without five failures in a row", i+1)
		}
	}
	if s := p.Snapshot(now); s.State != Open || s.ErrorRate < 0.5 {
		t.Errorf("two of three fail: %+v", s)
	}
	if s := p.Snapshot(now.Add(10 * time.Minute)); s.ErrorRate > 0.001 {
		t.Errorf("ten silent minutes later the error rate reads %.3f", s.ErrorRate)
	}
}

func TestProviderPauseIsBounded(t *testing.T) {
	var p ProviderStat
	now := t0
	for range 200 {
		p.Observe(now, Observation{Failed: true})
		if s := p.Snapshot(now); s.State == Open {
			if d := s.Until.Sub(now); d <= 0 || d > openMax {
				t.Fatalf("open for %v", d)
			}
			now = s.Until
		}
	}
}

func TestProviderCooldown(t *testing.T) {
	var p ProviderStat
	p.Observe(t0, Observation{RetryAfter: 20 * time.Second})
	p.Observe(t0, Observation{RetryAfter: 5 * time.Second})
	if s := p.Snapshot(t0); s.State != Cooling || s.Until != t0.Add(20*time.Second) || s.ErrorRate != 0 {
		t.Errorf("a shorter hint never shortens a longer one, and a 429 is no failure: %+v", s)
	}
	if ok, _ := p.Acquire(t0); !ok {
		t.Error("a cooling provider is a last resort, not gone")
	}
	if s := p.Snapshot(t0.Add(20 * time.Second)); s.State != Healthy {
		t.Errorf("%+v", s)
	}
	p.Observe(t0, Observation{RetryAfter: 1000 * time.Hour})
	if s := p.Snapshot(t0); s.Until != t0.Add(coolMax) {
		t.Errorf("an absurd Retry-After is believed until %v", s.Until)
	}
}

func TestProviderTTFT(t *testing.T) {
	var p ProviderStat
	if p.Snapshot(t0).TTFTKnown {
		t.Error("known before any sample")
	}
	now := t0
	p.Observe(now, Observation{TTFT: time.Second, Connect: 200 * time.Millisecond})
	p.Observe(now, Observation{Failed: true, TTFT: 90 * time.Second})
	if s := p.Snapshot(now); s.TTFT != time.Second || s.Connect != 200*time.Millisecond {
		t.Errorf("first samples count in full, a failure's time does not: %+v", s)
	}
	for range 200 {
		now = now.Add(time.Second)
		p.Observe(now, Observation{TTFT: 2 * time.Second})
	}
	if s := p.Snapshot(now); s.TTFT < 1990*time.Millisecond || s.TTFT > 2*time.Second {
		t.Errorf("ttft %v after 200 samples of 2s", s.TTFT)
	}
}

func BenchmarkObserve(b *testing.B) {
	b.ReportAllocs()
	var p PathStat
	now := t0
	for b.Loop() {
		now = now.Add(time.Millisecond)
		p.Observe(now, 150*time.Millisecond)
	}
}
