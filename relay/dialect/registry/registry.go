// Package registry gives the two halves of every dialect by name. It is apart from package dialect
// because the dialects import that.
package registry

import (
	"mime"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/anthropic"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// Lookup gives both halves of d; false when d is not a dialect.
func Lookup(d llm.Dialect) (dialect.Frontend, dialect.Backend, bool) {
	switch d {
	case llm.OpenAIChat:
		return openai.Chat{}, openai.ChatBackend{}, true
	case llm.OpenAIResponses:
		return openai.Responses{}, openai.ResponsesBackend{}, true
	case llm.AnthropicMessages:
		return anthropic.Frontend{}, anthropic.Backend{}, true
	case llm.Gemini:
		return gemini.Frontend{}, gemini.Backend{}, true
	}
	return nil, nil, false
}

// Frontend gives the client side of d, or nil.
func Frontend(d llm.Dialect) dialect.Frontend { f, _, _ := Lookup(d); return f }

// Backend gives the provider side of d, or nil.
func Backend(d llm.Dialect) dialect.Backend { _, b, _ := Lookup(d); return b }

// Frames cuts a streamed answer into events, whatever its framing.
type Frames interface {
	Feed(p []byte)
	Next() (sse.Event, bool)
	End() (sse.Event, bool)
	Err() error
}

// NewFrames picks the framing of a streamed answer by its content type: server-sent events, or
// Gemini's JSON array (a streamGenerateContent without alt=sse). limit bounds one event in bytes; 0
// means sse.DefaultMax.
func NewFrames(d llm.Dialect, contentType string, limit int) Frames {
	if d == llm.Gemini {
		if t, _, err := mime.ParseMediaType(contentType); err == nil && t == "application/json" {
			return gemini.NewArrayScanner(limit)
		}
	}
	return sse.NewScanner(limit)
}
