package node

import (
	"sync"
	"time"

	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/mesh/probe"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/node/exit"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// maxTargets bounds what is remembered: more (exit, provider, model) triples than any mesh offers.
const maxTargets = 1 << 16

// target is what health is kept by. A provider's models fail and rest one by one.
type target struct{ exit, provider, model string }

// health is what an edge has learned from its own requests, completed by what exits gossip. It feeds
// geo.Choose. Safe for concurrent use.
type health struct {
	rtt  func(exit string) (time.Duration, bool)
	down func(exit string) bool
	peer func(exit string) (peerState, bool)
	self string

	mu      sync.Mutex
	targets map[target]*probe.ProviderStat
	rest    map[target]time.Time // exit empty: a provider that asked for a pause asked it of the account
}

// peerState is what an exit says of itself by gossip.
type peerState struct {
	draining bool
	load     int // 0..255
	provider func(id string) (probe.ProviderSnapshot, bool)
}

func newHealth(self string, rtt func(string) (time.Duration, bool), down func(string) bool, peer func(string) (peerState, bool)) *health {
	return &health{self: self, rtt: rtt, down: down, peer: peer, targets: map[target]*probe.ProviderStat{}, rest: map[target]time.Time{}}
}

// Fill implements edge.Paths. A provider whose circuit is open or that asked for a pause is not
// excluded but cooling: it is the last resort, because a client with no other choice is better
// served by a try than by a refusal.
func (h *health) Fill(now time.Time, c *geo.Candidate) {
	if c.Exit == h.self {
		c.RTT, c.RTTKnown = 0, true
	} else if rtt, ok := h.rtt(c.Exit); ok {
		c.RTT, c.RTTKnown = rtt, true
	} else if h.down(c.Exit) {
		c.CooldownUntil = now.Add(time.Second) // it does not answer: last resort until it does
	}
	p, gossiped := h.peer(c.Exit)
	if gossiped {
		// A tunnel that takes requests knows better than a record, which may be of the exit's former life.
		c.Draining = c.Draining || p.draining && !c.RTTKnown
		c.Inflight, c.Capacity = p.load, 255
	}
	h.mu.Lock()
	s, seen := h.targets[target{c.Exit, c.Provider, c.Model}]
	var own probe.ProviderSnapshot
	if seen {
		own = s.Snapshot(now)
	}
	rest := h.rest[target{"", c.Provider, c.Model}]
	h.mu.Unlock()
	if seen {
		c.TTFT, c.TTFTKnown, c.ErrorRate = own.TTFT, own.TTFTKnown, own.ErrorRate
		if own.State == probe.Open {
			if own.Until.After(c.CooldownUntil) {
				c.CooldownUntil = own.Until
			}
		}
	} else if gossiped {
		if s, ok := p.provider(c.Provider); ok {
			c.TTFT, c.TTFTKnown, c.ErrorRate = s.TTFT, s.TTFTKnown, s.ErrorRate
		}
	}
	if rest.After(c.CooldownUntil) && rest.After(now) {
		c.CooldownUntil = rest
	}
}

// Record implements edge.Recorder: every attempt is a sample.
func (h *health) Record(o *edge.Outcome) {
	if len(o.Attempts) == 0 {
		return
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range o.Attempts {
		a := &o.Attempts[i]
		k := target{a.Exit, a.Provider, a.Model}
		s := h.targets[k]
		if s == nil {
			if len(h.targets) >= maxTargets {
				clear(h.targets)
				clear(h.rest)
			}
			s = new(probe.ProviderStat)
			h.targets[k] = s
		}
		ob, counts := observation(a.FirstByte, a.Fault)
		if counts {
			s.Observe(now, ob)
		}
		if a.Fault != nil && a.Fault.RetryAfter > 0 && (a.Fault.Kind == fault.UpstreamRate || a.Fault.Kind == fault.UpstreamOverload) {
			k.exit = ""
			if until := now.Add(a.Fault.RetryAfter); until.After(h.rest[k]) { // never shortened
				h.rest[k] = until
			}
		}
	}
}

// each calls f with the circuit state of every target that was tried, in no order.
func (h *health) each(now time.Time, f func(exit, provider string, state probe.State)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, s := range h.targets {
		state := s.Snapshot(now).State
		if state == probe.Healthy && h.rest[target{"", k.provider, k.model}].After(now) {
			state = probe.Cooling
		}
		f(k.exit, k.provider, state)
	}
}

// observation turns an attempt's end into a sample of its provider; false when it says nothing of it.
func observation(firstByte time.Duration, f *fault.Error) (probe.Observation, bool) {
	if f == nil {
		return probe.Observation{TTFT: firstByte}, true
	}
	switch f.Kind {
	case fault.Canceled, fault.ExitUnreachable, fault.ExitLost, fault.Draining, fault.Deadline:
		return probe.Observation{}, false
	}
	return probe.Observation{Failed: f.Kind.Info().Health}, true
}

// providers is an exit's own view of its providers, for gossip. Safe for concurrent use.
type providers struct {
	mu    sync.Mutex
	stats map[string]*probe.ProviderStat
}

func newProviders() *providers { return &providers{stats: map[string]*probe.ProviderStat{}} }

// observe takes a sample from the exit.
func (p *providers) observe(now time.Time, s exit.Sample) {
	ob, counts := observation(s.FirstByte, s.Fault)
	if !counts {
		return
	}
	ob.Connect = s.Connect
	p.mu.Lock()
	defer p.mu.Unlock()
	st := p.stats[s.Provider]
	if st == nil {
		st = new(probe.ProviderStat)
		p.stats[s.Provider] = st
	}
	st.Observe(now, ob)
}

// each calls f with every provider's snapshot, in no order.
func (p *providers) each(now time.Time, f func(id string, s probe.ProviderSnapshot)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, s := range p.stats {
		f(id, s.Snapshot(now))
	}
}
