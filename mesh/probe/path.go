// Package probe turns samples into what routing needs to know: how far a peer is and how lossy the
// way (PathStat), how quick and how well a provider is (ProviderStat). Pure bookkeeping: the time is
// passed in, nothing is sent, no goroutines. The types are not safe for concurrent use; their owner
// locks.
package probe

import (
	"math"
	"time"
)

const (
	// rttTau is the decay of round-trip times: a bad sample counts at once and is forgotten over ten
	// seconds (mesh.md 6.7).
	rttTau = 10 * time.Second
	// lossTau is longer, because single losses are rare events.
	lossTau = 30 * time.Second
	// minAge bounds how long the smallest round trip ever seen is believed: paths move.
	minAge = 5 * time.Minute
)

// decay is the weight left of an old value after dt.
func decay(dt, tau time.Duration) float64 {
	if dt <= 0 {
		return 1
	}
	return math.Exp(-float64(dt) / float64(tau))
}

// PathStat is what is known of the way to one peer. The zero value is ready.
type PathStat struct {
	at      time.Time // of the last sample, answered or lost
	seen    time.Time // of the last answered one
	rtt     float64   // peak EWMA, ns
	last    float64
	jitter  float64
	min     float64
	minAt   time.Time
	sent    float64 // decayed counts
	lost    float64
	samples uint64
}

// PathSnapshot is a PathStat at one moment.
type PathSnapshot struct {
	Known   bool          // at least one answer was ever seen
	RTT     time.Duration // peak EWMA: any higher sample at once, lower ones over 10 s
	MinRTT  time.Duration // smallest of the last 5-10 min
	Jitter  time.Duration // mean change from sample to sample
	Loss    float64       // 0..1 of the samples of the last half minute or so
	Age     time.Duration // since the last answer
	Samples uint64
}

// Observe adds one answered sample. Samples that are not positive are ignored.
func (p *PathStat) Observe(now time.Time, rtt time.Duration) {
	if rtt <= 0 {
		return
	}
	v := float64(rtt)
	if p.samples == 0 {
		p.rtt, p.last, p.min, p.minAt = v, v, v, now
	} else {
		// Finagle's peak EWMA: trouble is believed at once, recovery has to last.
		if v > p.rtt {
			p.rtt = v
		} else {
			w := decay(now.Sub(p.seen), rttTau)
			p.rtt = p.rtt*w + v*(1-w)
		}
		p.jitter += (math.Abs(v-p.last) - p.jitter) / 16 // RFC 3550 6.4.1
		p.last = v
		if v <= p.min || now.Sub(p.minAt) > minAge {
			p.min, p.minAt = v, now
		}
	}
	p.samples++
	p.seen = now
	p.count(now, 0)
}

// Lost adds one sample that was not answered.
func (p *PathStat) Lost(now time.Time) { p.count(now, 1) }

func (p *PathStat) count(now time.Time, lost float64) {
	w := decay(now.Sub(p.at), lossTau)
	p.sent = p.sent*w + 1
	p.lost = p.lost*w + lost
	p.at = now
}

// Snapshot describes the path now.
func (p *PathStat) Snapshot(now time.Time) PathSnapshot {
	s := PathSnapshot{
		Known: p.samples > 0, RTT: time.Duration(p.rtt), MinRTT: time.Duration(p.min),
		Jitter: time.Duration(p.jitter), Samples: p.samples,
	}
	if p.sent > 0 {
		s.Loss = p.lost / p.sent
	}
	if s.Known {
		s.Age = max(0, now.Sub(p.seen))
	}
	return s
}
