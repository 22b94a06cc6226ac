// Package llm is the canonical model of the LLM domain: dialect and operation names, requests,
// messages and parts, tools, answers, stream events with their grammar, usage and losses. Every
// conversion between dialects goes through it. It imports nothing of ours.
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

	// The operations below are passed through to providers of the client's own dialect, never converted.
	OpComplete   Op = 7  // OpenAI's completions, before chat
	OpModerate   Op = 8  // moderations
	OpImage      Op = 9  // image generations, edits, variations
	OpSpeech     Op = 10 // text to audio
	OpTranscribe Op = 11 // audio to text: transcriptions, translations
	OpCompact    Op = 12 // Responses compaction
	OpStored     Op = 13 // what a provider keeps: files, batches, stored responses
)

// CountsTokens reports whether limits on tokens hold for the operation: providers bill the others by
// image, character or second, or not at all.
func (o Op) CountsTokens() bool {
	switch o {
	case OpModerate, OpImage, OpSpeech, OpTranscribe, OpStored:
		return false
	}
	return true
}

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
	case OpComplete:
		return "complete"
	case OpModerate:
		return "moderate"
	case OpImage:
		return "image"
	case OpSpeech:
		return "speech"
	case OpTranscribe:
		return "transcribe"
	case OpCompact:
		return "compact"
	case OpStored:
		return "stored"
	default:
		return "unknown"
	}
}
