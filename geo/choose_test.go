package geo

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const ms = time.Millisecond

// cand is a measured, idle, healthy candidate at an exit so far away.
func cand(exit string, rtt time.Duration, change ...func(*Candidate)) Candidate {
	c := Candidate{Exit: exit, Provider: "p", Model: "m", RTT: rtt, RTTKnown: true, TTFT: 300 * ms, TTFTKnown: true}
	for _, f := range change {
		f(&c)
	}
	return c
}

func tier(n int) func(*Candidate)           { return func(c *Candidate) { c.Tier = n } }
func weight(n int) func(*Candidate)         { return func(c *Candidate) { c.Weight = n } }
func loss(p float64) func(*Candidate)       { return func(c *Candidate) { c.Loss = p } }
func errorRate(p float64) func(*Candidate)  { return func(c *Candidate) { c.ErrorRate = p } }
func ttft(d time.Duration) func(*Candidate) { return func(c *Candidate) { c.TTFT = d } }
func busy(n, of int) func(*Candidate)       { return func(c *Candidate) { c.Inflight, c.Capacity = n, of } }
func exclude(why string) func(*Candidate)   { return func(c *Candidate) { c.Exclude = why } }
func cooling(d time.Duration) func(*Candidate) {
	return func(c *Candidate) { c.CooldownUntil = start.Add(d) }
}
func draining(c *Candidate)    { c.Draining = true }
func circuitOpen(c *Candidate) { c.CircuitOpen = true }
func unmeasured(prior time.Duration) func(*Candidate) {
	return func(c *Candidate) {
		c.RTTKnown, c.RTT, c.RTTPrior, c.TTFTKnown, c.TTFT = false, 0, prior, false, 0
	}
}

// render writes a plan as "exit why | exit why | -exit why" for the tables.
func render(cands []Candidate, p Plan) string {
	var words []string
	for _, c := range p.Ordered {
		words = append(words, cands[c.Index].Exit+" "+c.Why)
	}
	for _, r := range p.Rejected {
		words = append(words, "-"+cands[r.Index].Exit+" "+r.Why)
	}
	return strings.Join(words, " | ")
}

func TestChooseOrder(t *testing.T) {
	for _, c := range []struct {
		why    string
		policy RoutePolicy
		cands  []Candidate
		want   string
	}{
		{"nothing to choose from", 0, nil, ""},
		{"one", 0, []Candidate{cand("a", 50*ms)}, "a lowest cost"},
		{"nearer is cheaper", 0, []Candidate{cand("far", 200*ms), cand("near", 20*ms)}, "near lowest cost | far higher cost"},
		{
			"a fast provider far away beats a slow one nearby", 0,
			[]Candidate{cand("near", 20*ms, ttft(2*time.Second)), cand("far", 200*ms)},
			"far lowest cost | near higher cost",
		},
		{
			"5 % loss freezes text: a cleaner longer way is better", 0,
			[]Candidate{cand("lossy", 100*ms, loss(0.05)), cand("clean", 200*ms)},
			"clean lowest cost | lossy higher cost",
		},
		{
			"one failure in five costs more than an ocean", 0,
			[]Candidate{cand("flaky", 20*ms, errorRate(0.2)), cand("far", 200*ms)},
			"far lowest cost | flaky higher cost",
		},
		{
			"a nearly full exit is no bargain", 0,
			[]Candidate{cand("full", 20*ms, busy(95, 100)), cand("idle", 150*ms, busy(1, 100))},
			"idle lowest cost | full higher cost",
		},
		{
			"a guess by distance serves until something was measured", 0,
			[]Candidate{cand("new", 0, unmeasured(30*ms)), cand("old", 100*ms)},
			"new lowest cost | old higher cost",
		},
		{
			"tiers come before cost, and later ones stay for failover", 0,
			[]Candidate{cand("near", 5*ms, tier(1)), cand("far", 300*ms), cand("last", ms, tier(7))},
			"far lowest cost | near later tier | last later tier",
		},
		{
			"what may not be used is left out, with the reason", 0,
			[]Candidate{
				cand("cn", ms, exclude("residency: CN not allowed")), cand("d", ms, draining), cand("o", ms, circuitOpen), cand("ok", 300*ms),
			},
			"ok lowest cost | -cn residency: CN not allowed | -d draining | -o circuit open",
		},
		{
			// litellm #7669, #40130: a cooldown is a Retry-After, so it is never cut short for a fresh
			// route, but with all deployments cooled the request still has somewhere to go.
			"in cooldown: last resort, below every tier, the soonest first", 0,
			[]Candidate{
				cand("long", ms, cooling(time.Hour)), cand("short", ms, cooling(time.Minute)), cand("over", 100*ms, cooling(0)),
				cand("later", 300*ms, tier(3)),
			},
			"over lowest cost | later later tier | short cooling down: last resort | long cooling down: last resort",
		},
		{
			"all in cooldown", 0,
			[]Candidate{cand("a", ms, cooling(2*time.Minute)), cand("b", 200*ms, cooling(time.Minute))},
			"b cooling down: last resort | a cooling down: last resort",
		},
		{
			"the seed's way: the lowest latency, whatever else is known", PolicySeed,
			[]Candidate{cand("clean", 60*ms), cand("flaky", 50*ms, errorRate(0.4), loss(0.2), busy(9, 10)), cand("near", ms, tier(1))},
			"flaky lowest latency | clean higher latency | near later tier",
		},
		{
			"which keeps to what operators state", PolicySeed,
			[]Candidate{cand("x", ms, exclude("no")), cand("c", ms, cooling(time.Minute)), cand("guess", 0, unmeasured(30*ms)), cand("far", 90*ms)},
			"guess lowest latency | far higher latency | c cooling down: last resort | -x no",
		},
		{
			"numbers that cannot be do no harm", 0,
			[]Candidate{
				cand("nan", 50*ms, loss(math.NaN()), errorRate(math.Inf(1))), cand("neg", -5*ms, loss(-1), busy(-3, 10), weight(-4)),
			},
			"neg lowest cost | nan higher cost",
		},
	} {
		if got := render(c.cands, Choose(start, Want{Key: "m", Policy: c.policy}, c.cands, &Memory{})); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.why, got, c.want)
		}
	}
}

// TestChooseSteps: what is kept and what is switched over time. Costs are 300 ms and the round trip.
func TestChooseSteps(t *testing.T) {
	type step struct {
		at    time.Duration
		cands []Candidate
		want  string // the first route and why
		why   string
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"a better route must stay better", []step{
			{0, []Candidate{cand("a", 200*ms), cand("b", 300*ms)}, "a lowest cost", "the first choice"},
			{1 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 10*ms)}, "a " + WhyKept, "b is 38 % better, for the first time"},
			{3 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 10*ms)}, "a " + WhyKept, "for 2 s"},
			{4 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 10*ms)}, "b lowest cost", "for 3 s: switch"},
			{5 * time.Second, []Candidate{cand("a", 10*ms), cand("b", 200*ms)}, "b " + WhyKept, "and the way back takes as long"},
		}},
		{"a blip does not switch", []step{
			{0, []Candidate{cand("a", 200*ms), cand("b", 300*ms)}, "a lowest cost", "the first choice"},
			{1 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 10*ms)}, "a " + WhyKept, "b is better"},
			{3 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 300*ms)}, "a lowest cost", "no longer"},
			{5 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 10*ms)}, "a " + WhyKept, "better again: the 3 s start anew"},
			{7 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 10*ms)}, "a " + WhyKept, "2 s"},
			{8 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 10*ms)}, "b lowest cost", "3 s"},
		}},
		{"a little better never switches", []step{
			{0, []Candidate{cand("a", 200*ms), cand("b", 300*ms)}, "a lowest cost", "the first choice"},
			{1 * time.Minute, []Candidate{cand("a", 200*ms), cand("b", 140*ms)}, "a " + WhyKept, "12 % better"},
			{2 * time.Minute, []Candidate{cand("a", 200*ms), cand("b", 140*ms)}, "a " + WhyKept, "still"},
		}},
		{"an unhealthy route is left at once", []step{
			{0, []Candidate{cand("a", 20*ms), cand("b", 200*ms)}, "a lowest cost", "the first choice"},
			{1 * time.Second, []Candidate{cand("a", 20*ms, errorRate(0.6)), cand("b", 200*ms)}, "b lowest cost", "it fails more often than not"},
			{2 * time.Second, []Candidate{cand("a", 20*ms), cand("b", 200*ms)}, "b " + WhyKept, "back in health: 3 s as for any other"},
		}},
		{"a drained, cooled, refused or vanished route is left at once", []step{
			{0, []Candidate{cand("a", 20*ms), cand("b", 100*ms), cand("c", 300*ms)}, "a lowest cost", "the first choice"},
			{1 * time.Second, []Candidate{cand("a", 20*ms, draining), cand("b", 100*ms), cand("c", 300*ms)}, "b lowest cost", "drained"},
			{2 * time.Second, []Candidate{cand("b", 100*ms, cooling(time.Hour)), cand("c", 300*ms)}, "c lowest cost", "cooled"},
			{3 * time.Second, []Candidate{cand("b", 100*ms, exclude("x")), cand("c", 300*ms)}, "c lowest cost", "the other refused changes nothing"},
			{4 * time.Second, []Candidate{cand("d", 500*ms)}, "d lowest cost", "vanished"},
		}},
		{"an operator's tier is obeyed at once", []step{
			{0, []Candidate{cand("a", 20*ms, draining), cand("b", 20*ms, tier(1))}, "b lowest cost", "the first tier is gone"},
			{1 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 20*ms, tier(1))}, "a lowest cost", "it is back"},
		}},
		{"a clock that steps back does not hold a route for ever", []step{
			{10 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 300*ms)}, "a lowest cost", "the first choice"},
			{11 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 10*ms)}, "a " + WhyKept, "b is better"},
			{2 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 10*ms)}, "a " + WhyKept, "back in time: counted from here"},
			{5 * time.Second, []Candidate{cand("a", 200*ms), cand("b", 10*ms)}, "b lowest cost", "3 s later"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mem Memory
			for _, s := range c.steps {
				plan := Choose(start.Add(s.at), Want{Key: "m"}, s.cands, &mem)
				if got := s.cands[plan.Ordered[0].Index].Exit + " " + plan.Ordered[0].Why; got != s.want {
					t.Errorf("at %s (%s): %s, want %s", s.at, s.why, got, s.want)
				}
			}
		})
	}
}

// TestKeysDoNotMix: what is kept for one model says nothing about another, and no key keeps nothing.
func TestKeysDoNotMix(t *testing.T) {
	var mem Memory
	near, far := []Candidate{cand("a", 10*ms), cand("b", 400*ms)}, []Candidate{cand("a", 400*ms), cand("b", 10*ms)}
	Choose(start, Want{Key: "m1"}, near, &mem)
	for _, key := range []string{"m2", ""} {
		if got := Choose(start, Want{Key: key}, far, &mem).Ordered[0].Index; far[got].Exit != "b" {
			t.Errorf("key %q is held by another's memory", key)
		}
	}
	if got := Choose(start, Want{Key: "m1"}, far, nil).Ordered[0].Index; far[got].Exit != "b" {
		t.Error("no memory, and yet held")
	}
	if mem.Len() != 2 {
		t.Errorf("%d keys remembered, want 2", mem.Len())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var mem Memory
	cands := []Candidate{cand("a", 10*ms), cand("b", 20*ms)}
	for i := range 3 * memoryKeys {
		Choose(start, Want{Key: fmt.Sprint(i)}, cands, &mem)
	}
	if mem.Len() != memoryKeys || len(mem.slots) != memoryKeys {
		t.Errorf("%d keys in %d slots, want %d", mem.Len(), len(mem.slots), memoryKeys)
	}
	if _, ok := mem.get(fmt.Sprint(3*memoryKeys - 1)); !ok {
		t.Error("the newest key is forgotten")
	}
	mem.Forget()
	if mem.Len() != 0 {
		t.Error("forgetting leaves something")
	}
}

// TestCloneIsApart: explaining a choice leaves the choice alone.
func TestCloneIsApart(t *testing.T) {
	var mem Memory
	Choose(start, Want{Key: "m"}, []Candidate{cand("a", 10*ms), cand("b", 400*ms)}, &mem)
	twin := mem.Clone()
	Choose(start, Want{Key: "m"}, []Candidate{cand("b", 400*ms)}, &twin)
	Choose(start, Want{Key: "n"}, []Candidate{cand("b", 400*ms)}, &twin)
	if a, _ := mem.get("m"); a.exit != "a" || mem.Len() != 1 || twin.Len() != 2 {
		t.Errorf("the original remembers %q of %d keys", a.exit, mem.Len())
	}
}

// TestShares: near-equals share by weight, the idler of two draws wins, and others get nothing.
func TestShares(t *testing.T) {
	for _, c := range []struct {
		why   string
		cands []Candidate
		want  []float64 // share of first places, within 2 points
	}{
		{"by weight, 1 where none is stated", []Candidate{cand("a", 100*ms, weight(3)), cand("b", 110*ms)}, []float64{0.75, 0.25}},
		{"not beyond 10 %", []Candidate{cand("a", 100*ms), cand("b", 105*ms), cand("c", 150*ms, weight(100))}, []float64{0.5, 0.5, 0}},
		{
			"not across tiers",
			[]Candidate{cand("a", 100*ms), cand("b", 100*ms, tier(1), weight(100))},
			[]float64{1, 0},
		},
		{
			"of two draws the idler: the busy one is first only when drawn twice",
			[]Candidate{cand("a", 100*ms, busy(0, 100)), cand("b", 80*ms, busy(15, 100))},
			[]float64{0.75, 0.25},
		},
	} {
		got := make([]float64, len(c.cands))
		const n = 20000
		for draw := range uint64(n) {
			var mem Memory
			got[Choose(start, Want{Key: "m", Draw: draw}, c.cands, &mem).Ordered[0].Index] += 1.0 / n
		}
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 0.02 {
				t.Errorf("%s: shares %.3f, want %.3f", c.why, got, c.want)
				break
			}
		}
	}
}

func TestCostParts(t *testing.T) {
	c := cand("a", 100*ms, loss(0.01), errorRate(0.1), busy(49, 100), func(c *Candidate) { c.Jitter = 5 * ms })
	want := []CostPart{
		{"rtt", 100 * ms}, {"jitter", 10 * ms}, {"loss", 40 * ms}, {"first token", 300 * ms}, {"errors", 200 * ms}, {"queue", 100 * ms},
	}
	if d := cmp.Diff(want, CostParts(c)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	var sum time.Duration
	for _, p := range CostParts(c) {
		sum += p.Value
	}
	if cost := Choose(start, Want{}, []Candidate{c}, nil).Ordered[0].Cost; cost != sum {
		t.Errorf("cost %s, parts make %s", cost, sum)
	}
	if p := CostParts(Candidate{RTTPrior: 30 * ms}); len(p) != 1 || p[0].Name != "rtt (guess by distance)" {
		t.Errorf("unmeasured: %+v", p)
	}
}

func drawCandidates(t *rapid.T) []Candidate {
	n := rapid.IntRange(0, 8).Draw(t, "n")
	cands := make([]Candidate, n)
	for i := range cands {
		cands[i] = Candidate{
			Exit: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "exit"), Provider: fmt.Sprint(i % 3),
			Tier: rapid.IntRange(0, 2).Draw(t, "tier"), Weight: rapid.IntRange(0, 5).Draw(t, "weight"),
			RTT: time.Duration(rapid.IntRange(0, 500).Draw(t, "rtt")) * ms, RTTKnown: rapid.Bool().Draw(t, "known"),
			RTTPrior: 100 * ms, Loss: rapid.Float64Range(0, 1).Draw(t, "loss"), ErrorRate: rapid.Float64Range(0, 1).Draw(t, "errors"),
			Inflight: rapid.IntRange(0, 20).Draw(t, "inflight"), Capacity: rapid.IntRange(0, 20).Draw(t, "capacity"),
			Draining: rapid.IntRange(0, 5).Draw(t, "drain") == 0, CircuitOpen: rapid.IntRange(0, 5).Draw(t, "circuit") == 0,
			CooldownUntil: start.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "cool")) * time.Second),
			Exclude:       rapid.SampledFrom([]string{"", "", "", "residency"}).Draw(t, "exclude"),
		}
	}
	return cands
}

// TestChooseProperties: every candidate is in the plan once; nothing that is refused is ordered;
// cooling ones come last; tiers never mix; and the same arguments give the same plan.
func TestChooseProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var mem, twin Memory
		for step := range rapid.IntRange(1, 4).Draw(t, "steps") {
			now := start.Add(time.Duration(step) * 2 * time.Second)
			cands := drawCandidates(t)
			want := Want{Key: "m", Draw: rapid.Uint64().Draw(t, "draw"), Policy: RoutePolicy(rapid.IntRange(0, 1).Draw(t, "policy"))}
			before := slices.Clone(cands)
			plan := Choose(now, want, cands, &mem)
			if d := cmp.Diff(before, cands); d != "" {
				t.Fatalf("candidates were changed:\n%s", d)
			}
			if d := cmp.Diff(plan, Choose(now, want, cands, &twin)); d != "" {
				t.Fatalf("not deterministic:\n%s", d)
			}
			seen := make([]int, len(cands))
			for i, c := range plan.Ordered {
				x := cands[c.Index]
				seen[c.Index]++
				if x.refusal() != "" || c.Why == "" || c.Cost < 0 {
					t.Fatalf("ordered: %+v as %+v", x, c)
				}
				if i == 0 {
					continue
				}
				prev := cands[plan.Ordered[i-1].Index]
				if prev.cooling(now) && !x.cooling(now) {
					t.Fatalf("cooling before ready: %+v, %+v", prev, x)
				}
				if !x.cooling(now) && prev.Tier > x.Tier {
					t.Fatalf("tier %d before %d", prev.Tier, x.Tier)
				}
			}
			for _, r := range plan.Rejected {
				seen[r.Index]++
				if r.Why == "" || r.Why != cands[r.Index].refusal() {
					t.Fatalf("rejected: %+v as %+v", cands[r.Index], r)
				}
			}
			for i, n := range seen {
				if n != 1 {
					t.Fatalf("candidate %d is in the plan %d times", i, n)
				}
			}
		}
	})
}

func TestChooseAllocations(t *testing.T) {
	var mem Memory
	cands := []Candidate{cand("a", 100*ms), cand("b", 105*ms), cand("c", 200*ms), cand("d", 20*ms, tier(1))}
	if n := testing.AllocsPerRun(100, func() { Choose(start, Want{Key: "m", Draw: 7}, cands, &mem) }); n > 1 {
		t.Errorf("%g allocations, want 1", n)
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{3, 12, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var mem Memory
			cands := make([]Candidate, n)
			for i := range cands {
				cands[i] = cand(fmt.Sprint("exit-", i), time.Duration(20+i*7%90)*ms, tier(i%2), loss(float64(i%3)/100), busy(i, 100))
			}
			b.ReportAllocs()
			draw := uint64(0)
			for b.Loop() {
				draw++
				Choose(start, Want{Key: "m", Draw: draw}, cands, &mem)
			}
		})
	}
}
