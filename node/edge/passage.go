package edge

import (
	"net/http"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/form"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// passage is an operation that goes through under policy and limits, and is never converted.
type passage struct {
	dialect llm.Dialect
	pattern string // as in metrics; {id} stands for one path segment
	methods string
	op      llm.Op
	live    bool // the answer is of use from its first byte: it is not held back for a failover
}

const post = http.MethodPost

// passages lists them all; what is not here is a 404.
var passages = [...]passage{
	{llm.OpenAIChat, "/v1/completions", post, llm.OpComplete, false},
	{llm.OpenAIChat, "/v1/moderations", post, llm.OpModerate, false},
	{llm.OpenAIChat, "/v1/images/generations", post, llm.OpImage, false},
	{llm.OpenAIChat, "/v1/images/edits", post, llm.OpImage, false},
	{llm.OpenAIChat, "/v1/images/variations", post, llm.OpImage, false},
	{llm.OpenAIChat, "/v1/audio/speech", post, llm.OpSpeech, true},
	{llm.OpenAIChat, "/v1/audio/transcriptions", post, llm.OpTranscribe, false},
	{llm.OpenAIChat, "/v1/audio/translations", post, llm.OpTranscribe, false},
	{llm.OpenAIResponses, "/v1/responses/compact", post, llm.OpCompact, false},
}

// parsePassage finds the passage of a path without the dialect's prefix, in its full form.
func parsePassage(path string, hint llm.Dialect) (operation, bool) {
	for i := range passages {
		p := &passages[i]
		if hint != "" && family(hint) != family(p.dialect) || path != p.pattern {
			continue
		}
		return operation{
			dialect: p.dialect, op: p.op, methods: p.methods, pass: p,
			path: strings.TrimPrefix(path, "/v1"), // OpenAI's base_url ends in /v1
		}, true
	}
	return operation{}, false
}

// family groups the dialects that one vendor's account speaks.
func family(d llm.Dialect) llm.Dialect {
	if d == llm.OpenAIResponses {
		return llm.OpenAIChat
	}
	return d
}

// peekHead reads the head of whatever body the operation has.
func (x *exchange) peekHead() (dialect.Head, error) {
	if types := x.r.Header.Values("Content-Type"); x.op.pass != nil && len(types) > 0 && form.Is(types[0]) {
		if len(types) > 1 {
			return dialect.Head{}, fault.New(fault.Malformed, "content-type is given twice")
		}
		return openai.PeekForm(x.op.op, types[0], x.body)
	}
	return x.front.Peek(x.op.op, x.body)
}
