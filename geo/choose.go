package geo

import (
	"cmp"
	"slices"
	"time"
)

// RoutePolicy is how routes are put in order.
type RoutePolicy uint8

const (
	// PolicyCauseway weighs everything that is known: see Cost and Choose.
	PolicyCauseway RoutePolicy = iota
	// PolicySeed is the simple behaviour: the lowest latency first, no weights, no memory. What may
	// not be used, tiers and cooldowns count here too, because operators state them.
	PolicySeed
)

// Candidate is one way to serve a request: an exit and what it would call there. Durations are
// zero when not known.
type Candidate struct {
	Exit            string // node id
	Region          RegionID
	Provider, Model string // the target
	Tier            int    // lower is tried first
	Weight          int    // share among near-equals; 0 counts as 1

	RTT      time.Duration // edge to exit, smoothed
	RTTKnown bool
	RTTPrior time.Duration // used until RTT is known
	Jitter   time.Duration
	Loss     float64 // 0..1, on the way there or back, whichever is worse

	TTFT      time.Duration // provider's time to first token, seen at this exit
	TTFTKnown bool
	ErrorRate float64 // 0..1, recent

	Inflight, Capacity int // at the exit; Capacity 0 = not known

	Draining      bool
	CircuitOpen   bool
	CooldownUntil time.Time
	Exclude       string // not empty: may not be used, and why
}

// Want is what a request asks of Choose.
type Want struct {
	Key    string // what the memory is kept by, for example the model; "" keeps none
	Policy RoutePolicy
	Draw   uint64 // random bits, for weights and load; the same bits give the same plan
}

// Plan is every usable candidate in the order in which to try them, and the others.
type Plan struct {
	Ordered  []Choice
	Rejected []Rejection
}

// Choice is a usable candidate.
type Choice struct {
	Index int           // into the candidates
	Cost  time.Duration // what the route is expected to cost a user; see Cost
	Why   string        // a constant: why it stands where it stands
}

// Rejection is a candidate that may not be used.
type Rejection struct {
	Index int
	Why   string
}

// Why a choice stands where it stands.
const (
	WhyBest     = "lowest cost"
	WhyShare    = "by weight and load among routes within 10 %"
	WhyKept     = "kept: no other route was 15 % better for 3 s"
	WhyNear     = "within 10 % of the first"
	WhyCost     = "higher cost"
	WhyWaiting  = "better, but not for 3 s yet"
	WhyTier     = "later tier"
	WhyCooling  = "cooling down: last resort"
	WhyLatency  = "lowest latency"
	WhySlower   = "higher latency"
	WhyDraining = "draining"
	WhyCircuit  = "circuit open"
)

const (
	nearPercent   = 10              // routes this close to the anchor share the load
	switchPercent = 85              // another route must cost less than this share of the anchor's
	switchAfter   = 3 * time.Second // for this long
	sickErrorRate = 0.5             // an anchor that fails this often is left at once
	loadGap       = 0.1             // of two drawn routes the idler wins when their loads differ by this
)

// Choose puts candidates in order: those that may not be used are rejected with the reason; the
// rest go by tier, then by cost; near-equals share by weight and load; the former first route is
// kept until another was 15 % better for 3 s or it is unhealthy. A candidate in cooldown is not
// removed but sinks below every tier, the one that is over soonest first, because a client with no
// other route is better served by a late answer than by none. The plan holds all tiers so that
// failover can walk it.
//
// Choose is deterministic in its arguments and keeps nothing else. It reads and writes mem, which
// the caller guards; nil means no hysteresis. One allocation, two when something is rejected.
func Choose(now time.Time, want Want, cands []Candidate, mem *Memory) Plan {
	var plan Plan
	if len(cands) == 0 {
		return plan
	}
	plan.Ordered = make([]Choice, 0, len(cands))
	guess := typicalTTFT(cands)
	for i := range cands {
		c := &cands[i]
		if why := c.refusal(); why != "" {
			if plan.Rejected == nil {
				plan.Rejected = make([]Rejection, 0, len(cands)-i)
			}
			plan.Rejected = append(plan.Rejected, Rejection{i, why})
			continue
		}
		cost := c.latency()
		if want.Policy != PolicySeed {
			cost = c.cost(guess)
		}
		plan.Ordered = append(plan.Ordered, Choice{Index: i, Cost: cost})
	}
	order := plan.Ordered
	slices.SortFunc(order, func(a, b Choice) int { return compare(now, cands, a, b) })

	rest := order
	for first := true; len(rest) > 0; first = false {
		c := &cands[rest[0].Index]
		if c.cooling(now) {
			for i := range rest {
				rest[i].Why = WhyCooling
			}
			break
		}
		end := 1
		for end < len(rest) && cands[rest[end].Index].Tier == c.Tier && !cands[rest[end].Index].cooling(now) {
			end++
		}
		tier := rest[:end]
		switch {
		case want.Policy == PolicySeed:
			label(tier, WhyLatency, WhySlower)
		case first:
			mem.arrange(now, want, cands, tier)
		default:
			share(want.Draw, cands, tier, 0, WhyBest)
		}
		if !first {
			label(tier, WhyTier, WhyTier)
		}
		rest = rest[end:]
	}
	return plan
}

// refusal is why c may not be used, "" when it may.
func (c *Candidate) refusal() string {
	switch {
	case c.Exclude != "":
		return c.Exclude
	case c.Draining:
		return WhyDraining
	case c.CircuitOpen:
		return WhyCircuit
	}
	return ""
}

func (c *Candidate) cooling(now time.Time) bool { return now.Before(c.CooldownUntil) }

// same reports whether c is the route that m names.
func (c *Candidate) same(m *anchor) bool {
	return c.Exit == m.exit && c.Provider == m.provider && c.Model == m.model
}

// compare sorts the cooling below the rest and by their end, then by tier, cost and position.
func compare(now time.Time, cands []Candidate, a, b Choice) int {
	x, y := &cands[a.Index], &cands[b.Index]
	cx, cy := x.cooling(now), y.cooling(now)
	if cx != cy {
		if cx {
			return 1
		}
		return -1
	}
	if cx {
		if d := x.CooldownUntil.Compare(y.CooldownUntil); d != 0 {
			return d
		}
	}
	return cmp.Or(cmp.Compare(x.Tier, y.Tier), cmp.Compare(a.Cost, b.Cost), cmp.Compare(a.Index, b.Index))
}

func label(tier []Choice, first, others string) {
	for i := range tier {
		tier[i].Why = others
	}
	tier[0].Why = first
}

// share puts one of the routes near the anchor first, drawn by weight, the idler of two draws, and
// says of each route why it stands where it stands. The tier is sorted by cost; anchor is a position in it.
func share(draw uint64, cands []Candidate, tier []Choice, anchor int, whyAnchor string) {
	lo, hi := near(tier, anchor)
	for i := range tier {
		switch {
		case i < lo:
			tier[i].Why = WhyWaiting
		case i < hi:
			tier[i].Why = WhyNear
		default:
			tier[i].Why = WhyCost
		}
	}
	pick := anchor
	if hi-lo > 1 {
		a := drawWeighted(mix(draw), cands, tier[lo:hi]) + lo
		b := drawWeighted(mix(draw+1), cands, tier[lo:hi]) + lo
		pick = a
		if cands[tier[a].Index].load()-cands[tier[b].Index].load() > loadGap {
			pick = b
		}
		tier[pick].Why = WhyShare
	}
	if pick == anchor {
		tier[pick].Why = whyAnchor
	}
	first := tier[pick]
	copy(tier[1:pick+1], tier[:pick])
	tier[0] = first
}

// near is the run of the sorted tier that costs within 10 % of the anchor, either way.
func near(tier []Choice, anchor int) (lo, hi int) {
	cost := tier[anchor].Cost
	for lo = anchor; lo > 0 && within(tier[lo-1].Cost, cost); lo-- {
	}
	for hi = anchor + 1; hi < len(tier) && within(cost, tier[hi].Cost); hi++ {
	}
	return lo, hi
}

func within(less, more time.Duration) bool { return more*100 <= less*(100+nearPercent) }

// load is how full the exit would be with this request, 0 when its capacity is not known.
func (c *Candidate) load() float64 {
	if c.Capacity <= 0 {
		return 0
	}
	return float64(max(c.Inflight, 0)+1) / float64(c.Capacity)
}

func (c *Candidate) weight() uint64 { return uint64(max(c.Weight, 1)) }

func drawWeighted(draw uint64, cands []Candidate, tier []Choice) int {
	var total uint64
	for _, t := range tier {
		total += cands[t.Index].weight()
	}
	at := draw % total
	for i, t := range tier {
		w := cands[t.Index].weight()
		if at < w {
			return i
		}
		at -= w
	}
	return 0
}

// mix spreads the bits of a draw (the finaliser of splitmix64), so that callers may count up.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
