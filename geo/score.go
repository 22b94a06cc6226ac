package geo

import "time"

// What the parts of a cost are worth. The form is mesh.md 6.7 with one hop; the constants are set
// so that 1 % loss weighs like 40 ms, one failure in ten like 200 ms, a half full exit like 100 ms.
const (
	freeze       = 200 * time.Millisecond // how long one lost packet holds the text
	answerChunks = 200                    // packets of an ordinary streamed answer
	freezeWeight = 0.1                    // a pause in mid answer hurts less than the same wait before it
	failure      = 2 * time.Second        // a failed attempt: time lost and the retry's
	queue        = 100 * time.Millisecond // waiting at a half full exit
	fullest      = 0.95                   // load above which waiting is no longer told apart
)

// CostPart is one term of a route's cost.
type CostPart struct {
	Name  string
	Value time.Duration
}

// CostParts takes a route's cost apart, for people who ask why. Its sum is the Cost of Choose when
// the candidate's own time to first token is known; otherwise Choose assumes the best known one of
// the candidates, so that an unmeasured route gets measured.
func CostParts(c Candidate) []CostPart {
	name := "rtt"
	if !c.RTTKnown {
		name = "rtt (guess by distance)"
	}
	parts := []CostPart{{name, c.latency()}}
	for _, p := range [...]CostPart{
		{"jitter", c.jitterCost()},
		{"loss", c.lossCost()},
		{"first token", c.ttft(0)},
		{"errors", c.errorCost()},
		{"queue", c.queueCost()},
	} {
		if p.Value > 0 {
			parts = append(parts, p)
		}
	}
	return parts
}

func (c *Candidate) cost(guess time.Duration) time.Duration {
	return c.latency() + c.jitterCost() + c.lossCost() + c.ttft(guess) + c.errorCost() + c.queueCost()
}

func (c *Candidate) latency() time.Duration {
	if c.RTTKnown {
		return max(c.RTT, 0)
	}
	return max(c.RTTPrior, 0)
}

func (c *Candidate) jitterCost() time.Duration { return 2 * max(c.Jitter, 0) }

func (c *Candidate) lossCost() time.Duration {
	return time.Duration(ratio(c.Loss) * answerChunks * freezeWeight * float64(freeze))
}

func (c *Candidate) errorCost() time.Duration {
	return time.Duration(ratio(c.ErrorRate) * float64(failure))
}

// queueCost grows as waiting does: little at first, without bound towards full.
func (c *Candidate) queueCost() time.Duration {
	u := min(c.load(), fullest)
	return time.Duration(u / (1 - u) * float64(queue))
}

func (c *Candidate) ttft(guess time.Duration) time.Duration {
	if c.TTFTKnown {
		return max(c.TTFT, 0)
	}
	return guess
}

// ratio clamps what should be within 0..1; NaN counts as 0.
func ratio(x float64) float64 {
	if x > 0 {
		return min(x, 1)
	}
	return 0
}

// typicalTTFT is what an unmeasured candidate is assumed to take: the best that is known.
func typicalTTFT(cands []Candidate) time.Duration {
	var best time.Duration
	known := false
	for i := range cands {
		c := &cands[i]
		if c.TTFTKnown && c.refusal() == "" && (!known || c.TTFT < best) {
			best, known = max(c.TTFT, 0), true
		}
	}
	return best
}
