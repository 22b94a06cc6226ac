package dialect

import "github.com/causeway-mesh/causeway/relay/llm"

// Members that every protocol spells its own way, for the places of losses inside a part: a cache mark,
// what the vendor wants back with a part, and that a result is an error.

// CacheMember is the cache mark of clients of d.
func CacheMember(d llm.Dialect) string {
	if d == llm.AnthropicMessages {
		return "cache_control"
	}
	return "prompt_cache_breakpoint"
}

// SealMember is where clients of d echo a seal.
func SealMember(d llm.Dialect) string {
	switch d {
	case llm.OpenAIResponses:
		return "encrypted_content"
	case llm.AnthropicMessages:
		return "signature"
	case llm.Gemini:
		return "thoughtSignature"
	default:
		return "extra_content"
	}
}

// ErrorMember is where clients of d say that a result is an error.
func ErrorMember(d llm.Dialect) string {
	if d == llm.Gemini {
		return "functionResponse/response/error"
	}
	return "is_error"
}

// Places in a provider's answer.

// AnswerChoice points to one of the answers, where the members beside its content stand; "" = the body.
func AnswerChoice(d llm.Dialect, choice int) string {
	switch d {
	case llm.OpenAIChat:
		return Index("/choices", choice)
	case llm.Gemini:
		return Index("/candidates", choice)
	}
	return ""
}

// AnswerPart points to a part of an answer, as nearly as a decoded part still tells.
func AnswerPart(d llm.Dialect, choice, part int) string {
	switch d {
	case llm.OpenAIResponses:
		return Index("/output", part)
	case llm.AnthropicMessages:
		return Index("/content", part)
	case llm.Gemini:
		return Index(AnswerChoice(d, choice)+"/content/parts", part)
	}
	return AnswerChoice(d, choice) + "/message"
}

// AnswerStop points to what says why an answer ended.
func AnswerStop(d llm.Dialect, choice int) string {
	member := "finish_reason"
	switch d {
	case llm.OpenAIResponses:
		member = "status"
	case llm.AnthropicMessages:
		member = "stop_reason"
	case llm.Gemini:
		member = "finishReason"
	}
	return Child(AnswerChoice(d, choice), member)
}
