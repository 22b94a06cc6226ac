package llm

// Request is one generate or count-tokens request. A decoder leaves it in normal form (Message,
// Part), and nothing changes it afterwards but masking and the pairing of calls with results.
type Request struct {
	From         Dialect // the client's
	Op           Op      // OpGenerate or OpCountTokens
	Model        string  // as the client wrote it
	Stream       bool
	IncludeUsage bool // the client wants usage in the stream; true where its protocol always has it

	Messages []Message // system text too, in place: there is no second field for it
	Tools    []Tool
	Choice   ToolChoice
	Parallel Opt[bool] // parallel tool calls

	Sampling  Sampling
	MaxOutput Opt[int64] // tokens; 0 stated = only warm the cache (Anthropic)
	N         int64      // answers wanted; 0 and 1 are the same
	Format    Format
	Reasoning Reasoning
	Verbosity Verbosity

	User        string // the end user's id: safety_identifier before user, metadata.user_id
	Metadata    []Pair // OpenAI metadata, Gemini labels
	ServiceTier string // in the client's own words
	Store       Opt[bool]
	CacheKey    string   // prompt_cache_key
	Cache       CacheTTL // a mark on the whole prompt (Anthropic's top-level cache_control)
	Extra       Extra
}

// Sampling is what steers the choice of tokens. Ranges are the client protocol's; an encoder clamps
// to its own and reports that.
type Sampling struct {
	Temperature      Opt[float64]
	TopP             Opt[float64]
	TopK             Opt[int64]
	FrequencyPenalty Opt[float64]
	PresencePenalty  Opt[float64]
	Seed             Opt[int64]
	Stop             []string
	LogitBias        Raw // {"token id": -100..100}; token ids belong to one vendor's tokenizer
	Logprobs         bool
	TopLogprobs      Opt[int64]
}

// FormatKind is the kind of structured output.
type FormatKind uint8

// Kinds of structured output.
const (
	FormatUnset  FormatKind = iota // nothing stated; plain text
	FormatText                     // stated
	FormatJSON                     // any JSON object
	FormatSchema                   // JSON of Format.Schema
)

// String names k for dumps.
func (k FormatKind) String() string { return name(formatNames[:], uint8(k)) }

var formatNames = [...]string{"unset", "text", "json", "schema"}

// Format asks for structured output.
type Format struct {
	Kind        FormatKind
	Name        string // of the schema; OpenAI requires one
	Description string
	Schema      Raw // JSON Schema
	Strict      Opt[bool]
	Extra       Extra
	At          string // JSON pointer to it in the client's body; "" = where its protocol has it
}

// Effort is how much the model should think.
type Effort uint8

// Efforts, ascending.
const (
	EffortUnset Effort = iota
	EffortNone
	EffortMinimal
	EffortLow
	EffortMedium
	EffortHigh
	EffortXHigh
	EffortMax
)

// String is the word OpenAI uses; "" when unset.
func (e Effort) String() string { return name(effortNames[:], uint8(e)) }

var effortNames = [...]string{"", "none", "minimal", "low", "medium", "high", "xhigh", "max"}

// ParseEffort reads OpenAI's and Anthropic's words, and Gemini's thinking levels in any case.
func ParseEffort(s string) (Effort, bool) {
	for i, n := range effortNames {
		if i > 0 && equalFold(n, s) {
			return Effort(i), true
		}
	}
	return EffortUnset, false
}

// ReasoningMode switches thinking.
type ReasoningMode uint8

// Modes of thinking.
const (
	ReasoningUnset ReasoningMode = iota
	ReasoningOff
	ReasoningOn
	ReasoningAdaptive     // the model decides (Anthropic adaptive, Gemini budget -1)
	ReasoningBetweenTools // Anthropic between_tools
)

// String names m for dumps.
func (m ReasoningMode) String() string { return name(reasoningNames[:], uint8(m)) }

var reasoningNames = [...]string{"unset", "off", "on", "adaptive", "between_tools"}

// Show says how much of the thinking the client wants to see.
type Show uint8

// Visibilities of thinking.
const (
	ShowUnset    Show = iota
	ShowNone          // signatures only (Anthropic omitted, includeThoughts false)
	ShowSummary       // summary auto, summarized, includeThoughts true
	ShowConcise       // OpenAI only
	ShowDetailed      // OpenAI only
)

// String names s for dumps.
func (s Show) String() string { return name(showNames[:], uint8(s)) }

var showNames = [...]string{"unset", "none", "summary", "concise", "detailed"}

// Reasoning controls thinking. A client states an effort or a budget; dialect.Budget and
// dialect.EffortOf convert, and only where the provider's protocol lacks the stated one.
type Reasoning struct {
	Mode   ReasoningMode
	Effort Effort
	Budget Opt[int64] // tokens, > 0; off and adaptive are modes
	Show   Show
	// Implied: the client did not state Show; it is what its protocol does by itself.
	Implied bool
	Sealed  bool // a Responses client asks for reasoning.encrypted_content
	Extra   Extra
}

// Visible is how much of the thinking the client expects to see: who switches it on and does not say
// gets to see it, as protocols with such a switch have it.
func (r *Reasoning) Visible() Show {
	if r.Show == ShowUnset && r.Mode > ReasoningOff {
		return ShowSummary
	}
	return r.Show
}

// Stated reports whether the client said anything about thinking.
func (r *Reasoning) Stated() bool {
	return r.Mode != ReasoningUnset || r.Effort != EffortUnset || r.Budget.Set || r.Show != ShowUnset
}

// Verbosity is OpenAI's wish for longer or shorter answers.
type Verbosity uint8

// Verbosities.
const (
	VerbosityUnset Verbosity = iota
	VerbosityLow
	VerbosityMedium
	VerbosityHigh
)

// String is the word on the wire; "" when unset.
func (v Verbosity) String() string { return name(verbosityNames[:], uint8(v)) }

var verbosityNames = [...]string{"", "low", "medium", "high"}

// CacheTTL is a prompt-cache mark with its lifetime.
type CacheTTL uint8

// Cache marks.
const (
	CacheUnset   CacheTTL = iota
	CacheDefault          // marked, lifetime not stated
	Cache5m
	Cache30m
	Cache1h
	Cache12h
)

// String is the lifetime on the wire; "" when unset, "default" when not stated.
func (c CacheTTL) String() string { return name(cacheNames[:], uint8(c)) }

var cacheNames = [...]string{"", "default", "5m", "30m", "1h", "12h"}

// Parts calls f for every part of every message, and for the parts inside results.
func (r *Request) Parts(f func(*Part)) {
	for i := range r.Messages {
		eachPart(r.Messages[i].Parts, f)
	}
}

func eachPart(ps []Part, f func(*Part)) {
	for i := range ps {
		f(&ps[i])
		eachPart(ps[i].Content, f)
	}
}

func name(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "invalid"
}

func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i]|0x20 != b[i]|0x20 {
			return false
		}
	}
	return true
}
