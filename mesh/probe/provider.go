package probe

import (
	"time"
)

// State is a provider's health as it is told to other nodes. Its numbers cross the wire.
type State uint8

// States.
const (
	Healthy  State = 0
	HalfOpen State = 1 // one trial request at a time
	Open     State = 2 // no requests until OpenUntil
	Cooling  State = 3 // the provider asked for a pause (Retry-After)
)

func (s State) String() string {
	switch s {
	case Healthy:
		return "healthy"
	case HalfOpen:
		return "half-open"
	case Open:
		return "open"
	case Cooling:
		return "cooling"
	}
	return "unknown"
}

const (
	ttftTau  = 30 * time.Second
	errorTau = 30 * time.Second
	// The circuit opens after openAfter failures in a row, or when at least openRate of the recent
	// requests failed and there were openMin of them.
	openAfter = 5
	openRate  = 0.5
	openMin   = 20
	// It stays open openBase, doubling with each failed trial up to openMax.
	openBase = 2 * time.Second
	openMax  = time.Minute
	// trialTTL is how long a trial may go unreported before another is let through.
	trialTTL = 30 * time.Second
	// coolMax bounds how long a provider's Retry-After is believed.
	coolMax = 10 * time.Minute
)

// Observation is the end of one call to a provider.
type Observation struct {
	TTFT    time.Duration // until its first byte; 0 = not known
	Connect time.Duration // new connections only; 0 = a pooled one
	// Failed says that the provider, not the request, was at fault (fault.Info.Health). A refused
	// request or a 429 is not a failure.
	Failed     bool
	RetryAfter time.Duration // how long the provider asked to be left alone; 0 = it did not
}

// ProviderStat is what is known of one provider, or one model of it, as seen from here. The zero
// value is a healthy provider that nothing is known of.
type ProviderStat struct {
	at, ttftAt  time.Time
	ttft        float64 // EWMA, ns
	connect     float64
	done, fails float64 // decayed counts
	row         int     // failures in a row

	open      bool
	opened    int // times in a row that the circuit opened
	openUntil time.Time
	trial     time.Time // when the running trial began; zero = none
	coolUntil time.Time
}

// ProviderSnapshot is a ProviderStat at one moment.
type ProviderSnapshot struct {
	TTFT      time.Duration
	TTFTKnown bool
	Connect   time.Duration // 0 = not known
	ErrorRate float64       // 0..1 of the last half minute or so
	State     State
	Until     time.Time // end of Open or Cooling
}

// Acquire asks to send one request. In HalfOpen only one is let through until it is observed; trial
// says that this is the one. Cooling does not refuse: a caller with no other choice may still try.
func (p *ProviderStat) Acquire(now time.Time) (ok, trial bool) {
	if !p.open {
		return true, false
	}
	if now.Before(p.openUntil) || !p.trial.IsZero() && now.Sub(p.trial) < trialTTL {
		return false, false
	}
	p.trial = now
	return true, true
}

// Observe adds the end of one call.
func (p *ProviderStat) Observe(now time.Time, o Observation) {
	if o.RetryAfter > 0 {
		if until := now.Add(min(o.RetryAfter, coolMax)); until.After(p.coolUntil) {
			p.coolUntil = until
		}
	}
	w := decay(now.Sub(p.at), errorTau)
	p.done, p.fails, p.at = p.done*w+1, p.fails*w, now
	if o.Connect > 0 {
		p.connect = blend(p.connect, float64(o.Connect), 0.8)
	}
	if !o.Failed {
		p.row = 0
		if o.TTFT > 0 {
			p.ttft = blend(p.ttft, float64(o.TTFT), min(0.9, decay(now.Sub(p.ttftAt), ttftTau)))
			p.ttftAt = now
		}
		if p.open && !now.Before(p.openUntil) {
			// The trial went well. Older failures are of the time before.
			p.open, p.opened, p.trial, p.fails = false, 0, time.Time{}, 0
		}
		return
	}
	p.fails++
	p.row++
	switch {
	case p.open && now.Before(p.openUntil): // a call that began before the circuit opened
	case p.open, p.row >= openAfter, p.done >= openMin && p.fails/p.done >= openRate:
		pause := openMax
		if p.opened < 5 {
			pause = min(openMax, openBase<<p.opened)
		}
		p.open, p.openUntil, p.trial, p.row = true, now.Add(pause), time.Time{}, 0
		p.opened++
	}
}

// blend is an EWMA step with weight w on the old value; the first value counts in full.
func blend(old, v, w float64) float64 {
	if old == 0 {
		return v
	}
	return old*w + v*(1-w)
}

// Snapshot describes the provider now.
func (p *ProviderStat) Snapshot(now time.Time) ProviderSnapshot {
	s := ProviderSnapshot{
		TTFT: time.Duration(p.ttft), TTFTKnown: p.ttft > 0, Connect: time.Duration(p.connect),
	}
	if p.done > 0 {
		// Without traffic the rate fades towards zero: one failure an hour ago says nothing.
		s.ErrorRate = p.fails / p.done * decay(now.Sub(p.at), errorTau)
	}
	switch {
	case p.open && now.Before(p.openUntil):
		s.State, s.Until = Open, p.openUntil
	case p.open:
		s.State = HalfOpen
	case now.Before(p.coolUntil):
		s.State, s.Until = Cooling, p.coolUntil
	}
	return s
}
