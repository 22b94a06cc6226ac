package anthropic

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// counts are the vendor's numbers, of which input excludes the cache.
type counts struct {
	input, read, create, create1h, output, thinking int64
	rounds                                          llm.Usage // the sum of usage.iterations
}

// merge overwrites with what a usage object states and keeps the rest: message_delta repeats only
// some of message_start's counts (34 of 91 recorded streams carry output_tokens alone).
func (c *counts) merge(v []byte) bool {
	if len(v) == 0 || v[0] != '{' {
		return false
	}
	for m := dialect.Walk(v); m.Next(); {
		switch string(m.Name) {
		case "input_tokens":
			setCount(&c.input, m.Value)
		case "cache_read_input_tokens":
			setCount(&c.read, m.Value)
		case "cache_creation_input_tokens":
			setCount(&c.create, m.Value)
		case "output_tokens":
			setCount(&c.output, m.Value)
		case "cache_creation":
			for d := dialect.Walk(m.Value); d.Next(); {
				if string(d.Name) == "ephemeral_1h_input_tokens" {
					setCount(&c.create1h, d.Value)
				}
			}
		case "output_tokens_details":
			for d := dialect.Walk(m.Value); d.Next(); {
				if string(d.Name) == "thinking_tokens" {
					setCount(&c.thinking, d.Value)
				}
			}
		case "iterations":
			c.rounds = llm.Usage{}
			for r := dialect.Walk(m.Value); r.Next(); {
				var one counts
				if one.merge(r.Value) {
					c.rounds = c.rounds.Add(one.usage())
				}
			}
		}
	}
	return true
}

func setCount(to *int64, v []byte) {
	if n, ok := dialect.Int(v); ok && n >= 0 {
		*to = n
	}
}

// usage converts to the neutral sums. Where the vendor ran several rounds (compaction), its top-level
// counts are those of the last round only while every round is billed: a recorded answer says 162
// input tokens at the top and 99,195 for the summary round. So the larger number wins, field by field.
func (c *counts) usage() llm.Usage {
	u := llm.Usage{
		Input: c.input + c.read + c.create, Cached: c.read, CacheWrite: c.create, CacheWrite1h: min(c.create1h, c.create),
		Output: c.output, Reasoning: min(c.thinking, c.output),
	}
	r := c.rounds
	u.Input, u.Cached = max(u.Input, r.Input), max(u.Cached, r.Cached)
	u.CacheWrite, u.CacheWrite1h = max(u.CacheWrite, r.CacheWrite), max(u.CacheWrite1h, r.CacheWrite1h)
	u.Output, u.Reasoning = max(u.Output, r.Output), max(u.Reasoning, r.Reasoning)
	return u
}
