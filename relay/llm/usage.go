package llm

// Usage is the neutral token count of one answer. Vendors differ in what a total includes
// (reference: OpenAI and Gemini prompt counts include cached tokens, Anthropic's exclude them;
// Gemini's candidates exclude thoughts), so every dialect converts to these inclusive sums.
type Usage struct {
	Input        int64 // every input token, cached and cache-writing ones included
	Cached       int64 // of Input: read from the provider's prompt cache
	CacheWrite   int64 // of Input: written to the provider's prompt cache, all lifetimes
	CacheWrite1h int64 // of CacheWrite: the one-hour lifetime, which costs more
	Output       int64 // every output token, reasoning included
	Reasoning    int64 // of Output
}

// Add returns the sum of two usages.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		Input: u.Input + v.Input, Cached: u.Cached + v.Cached, CacheWrite: u.CacheWrite + v.CacheWrite,
		CacheWrite1h: u.CacheWrite1h + v.CacheWrite1h, Output: u.Output + v.Output, Reasoning: u.Reasoning + v.Reasoning,
	}
}

// Max takes the larger count of each kind: what a stream says twice is cumulative, and a later
// statement may leave kinds out.
func (u Usage) Max(v Usage) Usage {
	return Usage{
		Input: max(u.Input, v.Input), Cached: max(u.Cached, v.Cached), CacheWrite: max(u.CacheWrite, v.CacheWrite),
		CacheWrite1h: max(u.CacheWrite1h, v.CacheWrite1h), Output: max(u.Output, v.Output), Reasoning: max(u.Reasoning, v.Reasoning),
	}
}

// Convention is what a vendor's totals include.
type Convention uint8

// Conventions.
const (
	Inclusive         Convention = iota // OpenAI: prompt includes cached, completion includes reasoning
	ExclusiveCache                      // Anthropic: input excludes cache reads and writes
	ExclusiveThoughts                   // Gemini: candidates exclude thoughts, prompt excludes tool use
)

// ConventionOf is the convention of d.
func ConventionOf(d Dialect) Convention {
	switch d {
	case AnthropicMessages:
		return ExclusiveCache
	case Gemini:
		return ExclusiveThoughts
	default:
		return Inclusive
	}
}

// Counts are token counts in a vendor's own convention.
type Counts struct {
	Prompt, Cached, Write, Write1h, ToolUse, Completion, Reasoning int64
}

// Usage converts a vendor's counts. Counts that contradict each other are bounded, so that the
// result always satisfies Usage's "of" relations.
func (c Convention) Usage(n Counts) Usage {
	for _, p := range []*int64{&n.Prompt, &n.Cached, &n.Write, &n.Write1h, &n.ToolUse, &n.Completion, &n.Reasoning} {
		*p = min(max(*p, 0), 1<<40)
	}
	u := Usage{
		Input: n.Prompt, Cached: n.Cached, CacheWrite: n.Write, CacheWrite1h: min(n.Write1h, n.Write),
		Output: n.Completion, Reasoning: n.Reasoning,
	}
	switch c {
	case ExclusiveCache:
		u.Input += n.Cached + n.Write
	case ExclusiveThoughts:
		u.Input += n.ToolUse
		u.Output += n.Reasoning
	}
	return u.bounded()
}

func (u Usage) bounded() Usage {
	u.Cached = min(u.Cached, u.Input)
	u.CacheWrite = min(u.CacheWrite, u.Input-u.Cached)
	u.CacheWrite1h = min(u.CacheWrite1h, u.CacheWrite)
	u.Reasoning = min(u.Reasoning, u.Output)
	return u
}

// Counts converts back: c.Usage(c.Counts(u)) == u for every consistent u.
func (c Convention) Counts(u Usage) Counts {
	u = u.bounded()
	n := Counts{Prompt: u.Input, Cached: u.Cached, Write: u.CacheWrite, Write1h: u.CacheWrite1h, Completion: u.Output, Reasoning: u.Reasoning}
	switch c {
	case ExclusiveCache:
		n.Prompt -= u.Cached + u.CacheWrite
	case ExclusiveThoughts:
		n.Completion -= u.Reasoning
	}
	return n
}
