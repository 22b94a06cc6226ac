package dialect

import (
	"strconv"
	"strings"

	"github.com/causeway-mesh/causeway/relay/llm"
)

func appendInt(b []byte, i int) []byte { return strconv.AppendInt(b, int64(i), 10) }

// efforts is the one table between efforts and budgets (protocols.md 2.1). Gemini's levels end at
// HIGH; budgets beyond high are left to the model's maximum.
var efforts = [...]struct {
	budget int64
	gemini string
	claude string
}{
	llm.EffortUnset:   {0, "", ""},
	llm.EffortNone:    {0, "MINIMAL", "low"},
	llm.EffortMinimal: {1024, "MINIMAL", "low"},
	llm.EffortLow:     {1024, "LOW", "low"},
	llm.EffortMedium:  {8192, "MEDIUM", "medium"},
	llm.EffortHigh:    {24576, "HIGH", "high"},
	llm.EffortXHigh:   {24576, "HIGH", "xhigh"},
	llm.EffortMax:     {24576, "HIGH", "max"},
}

// Budget is the thinking budget in tokens that stands for e; 0 for none and unset.
func Budget(e llm.Effort) int64 {
	if int(e) >= len(efforts) {
		return 0
	}
	return efforts[e].budget
}

// EffortOf is the effort that stands for a budget in tokens.
func EffortOf(budget int64) llm.Effort {
	switch {
	case budget <= 0:
		return llm.EffortNone
	case budget <= 1024:
		return llm.EffortLow
	case budget <= 8192:
		return llm.EffortMedium
	default:
		return llm.EffortHigh
	}
}

// EffortName is the word for e in protocol d; "" when unset. exact is false when d has a coarser
// scale: FieldEffort is then lost with LostRange.
func EffortName(d llm.Dialect, e llm.Effort) (word string, exact bool) {
	if int(e) >= len(efforts) {
		return "", false
	}
	switch d {
	case llm.AnthropicMessages:
		w := efforts[e].claude
		return w, w == e.String()
	case llm.Gemini:
		w := efforts[e].gemini
		return w, strings.EqualFold(w, e.String())
	default:
		return e.String(), true
	}
}

// WantedEffort is what r comes to as an effort: none when thinking is switched off, else stated, else from
// its budget; unset when the client left it to the model.
func WantedEffort(r *llm.Reasoning) llm.Effort {
	switch {
	case r.Mode == llm.ReasoningOff:
		return llm.EffortNone // beside an effort too, which Anthropic has for the answer as well
	case r.Effort != llm.EffortUnset:
		return r.Effort
	case r.Budget.Set:
		return EffortOf(r.Budget.V)
	}
	return llm.EffortUnset
}

// WantedBudget is what r comes to as a budget in tokens: stated, else from its effort. ok is false
// when the client left it to the model; off is a budget of 0.
func WantedBudget(r *llm.Reasoning) (tokens int64, ok bool) {
	switch {
	case r.Mode == llm.ReasoningOff || r.Effort == llm.EffortNone:
		return 0, true
	case r.Budget.Set:
		return r.Budget.V, true
	case r.Effort != llm.EffortUnset:
		return Budget(r.Effort), true
	}
	return 0, false
}

// StopOf reads a vendor's finish reason: chat finish_reason; for responses incomplete_details.reason,
// or the status where there is none; messages stop_reason; Gemini finishReason or blockReason. The
// decoder still applies StopReason.Derive.
func StopOf(d llm.Dialect, word string) llm.StopReason {
	switch d {
	case llm.OpenAIChat:
		switch word {
		case "stop":
			return llm.StopEnd
		case "length":
			return llm.StopLength
		case "tool_calls", "function_call":
			return llm.StopCalls
		case "content_filter":
			return llm.StopBlocked
		}
	case llm.OpenAIResponses:
		switch word {
		case "completed":
			return llm.StopEnd
		case "max_output_tokens":
			return llm.StopLength
		case "content_filter":
			return llm.StopBlocked
		case "max_messages", "steered", "incomplete":
			return llm.StopPaused
		}
	case llm.AnthropicMessages:
		switch word {
		case "end_turn":
			return llm.StopEnd
		case "stop_sequence":
			return llm.StopSequence
		case "tool_use":
			return llm.StopCalls
		case "max_tokens", "model_context_window_exceeded":
			return llm.StopLength
		case "refusal":
			return llm.StopBlocked
		case "pause_turn", "compaction":
			return llm.StopPaused
		}
	case llm.Gemini:
		switch word {
		case "STOP":
			return llm.StopEnd
		case "MAX_TOKENS":
			return llm.StopLength
		case "SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "MODEL_ARMOR", "IMAGE_SAFETY",
			"IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "LANGUAGE", "OTHER", "IMAGE_OTHER", "NO_IMAGE", "JAILBREAK":
			return llm.StopBlocked
		case "CONTINUATION":
			return llm.StopPaused
		case "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE":
			return llm.StopBroken
		}
	}
	return llm.StopUnknown
}

// stops has the client's word for every reason: chat, responses, messages, gemini. For responses it
// is incomplete_details.reason, or a status.
var stops = [...][4]string{
	llm.StopUnknown:  {"stop", "completed", "end_turn", "STOP"},
	llm.StopEnd:      {"stop", "completed", "end_turn", "STOP"},
	llm.StopSequence: {"stop", "completed", "stop_sequence", "STOP"},
	llm.StopCalls:    {"tool_calls", "completed", "tool_use", "STOP"},
	llm.StopLength:   {"length", "max_output_tokens", "max_tokens", "MAX_TOKENS"},
	llm.StopBlocked:  {"content_filter", "content_filter", "refusal", "SAFETY"},
	llm.StopPaused:   {"stop", "completed", "pause_turn", "CONTINUATION"},
	llm.StopBroken:   {"stop", "failed", "end_turn", "MALFORMED_FUNCTION_CALL"},
}

// StopName is the word for r in protocol d.
func StopName(d llm.Dialect, r llm.StopReason) string {
	i := dialectIndex(d)
	if i < 0 || int(r) >= len(stops) {
		return ""
	}
	return stops[r][i]
}
