// Package llm holds the vocabulary of the LLM domain that every dialect shares: dialect and
// operation names, usage, and losses. It imports nothing of ours.
package llm

// Dialect names one wire protocol, as mesh.yaml spells it.
type Dialect string

// The four dialects. Embeddings belong to either OpenAI dialect.
const (
	OpenAIChat        Dialect = "openai-chat"
	OpenAIResponses   Dialect = "openai-responses"
	AnthropicMessages Dialect = "anthropic-messages"
	Gemini            Dialect = "gemini"
)

// Dialects lists every dialect in the order in which documents show them.
var Dialects = [...]Dialect{OpenAIChat, OpenAIResponses, AnthropicMessages, Gemini}

// Valid reports whether d is one of Dialects.
func (d Dialect) Valid() bool {
	for _, k := range Dialects {
		if d == k {
			return true
		}
	}
	return false
}

// Op is what a client asks for.
type Op uint8

// Operations. The numbers cross the tunnel: append only.
const (
	OpUnknown     Op = 0
	OpGenerate    Op = 1 // chat, responses, messages, generateContent
	OpEmbed       Op = 2
	OpEmbedBatch  Op = 3 // Gemini batchEmbedContents
	OpCountTokens Op = 4
	OpModels      Op = 5 // list
	OpModel       Op = 6 // one model
)

// String gives the endpoint label used in metrics and audit records.
func (o Op) String() string {
	switch o {
	case OpGenerate:
		return "generate"
	case OpEmbed:
		return "embed"
	case OpEmbedBatch:
		return "embed_batch"
	case OpCountTokens:
		return "count_tokens"
	case OpModels:
		return "models"
	case OpModel:
		return "model"
	default:
		return "unknown"
	}
}

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

// Loss is one field that a conversion could not carry.
type Loss struct {
	Path   string // where in the client's request, as a JSON pointer
	From   Dialect
	To     Dialect
	Reason string
}
