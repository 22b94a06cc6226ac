// Package passage is the table of the operations that go through to a provider as the client sent them.
// The edge finds them by the client's path; the exit takes nothing from an edge that is not in the table.
package passage

import (
	"net/http"
	"strings"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// Passage is an operation that goes through under policy and limits, and is never converted.
type Passage struct {
	Dialect llm.Dialect
	Pattern string // as in metrics; {id} stands for one path segment, or the part of one before a colon
	Methods string
	Op      llm.Op
	Traits
}

// Traits are what sets a passage apart.
type Traits struct {
	Live   bool // the answer is of use from its first byte: it is not held back for a failover
	Batch  bool // POST starts a batch
	Links  bool // answers hold addresses of the vendor that clients follow
	Upload bool // Google's resumable uploads
	Model  bool // POST names a model in its JSON body
}

// passages lists them all; what is not here is a 404. Of two patterns that fit the first one counts.
var passages = [...]Passage{
	{llm.OpenAIChat, "/v1/completions", "POST", llm.OpComplete, Traits{}},
	{llm.OpenAIChat, "/v1/moderations", "POST", llm.OpModerate, Traits{}},
	{llm.OpenAIChat, "/v1/images/generations", "POST", llm.OpImage, Traits{}},
	{llm.OpenAIChat, "/v1/images/edits", "POST", llm.OpImage, Traits{}},
	{llm.OpenAIChat, "/v1/images/variations", "POST", llm.OpImage, Traits{}},
	{llm.OpenAIChat, "/v1/audio/speech", "POST", llm.OpSpeech, Traits{Live: true}},
	{llm.OpenAIChat, "/v1/audio/transcriptions", "POST", llm.OpTranscribe, Traits{}},
	{llm.OpenAIChat, "/v1/audio/translations", "POST", llm.OpTranscribe, Traits{}},
	{llm.OpenAIResponses, "/v1/responses/compact", "POST", llm.OpCompact, Traits{}},

	{llm.OpenAIResponses, "/v1/responses/{id}", "GET, DELETE", llm.OpStored, Traits{}},
	{llm.OpenAIResponses, "/v1/responses/{id}/cancel", "POST", llm.OpStored, Traits{}},
	{llm.OpenAIResponses, "/v1/responses/{id}/input_items", "GET", llm.OpStored, Traits{}},
	{llm.OpenAIResponses, "/v1/conversations", "POST", llm.OpStored, Traits{}},
	{llm.OpenAIResponses, "/v1/conversations/{id}", "GET, POST, DELETE", llm.OpStored, Traits{}},
	{llm.OpenAIResponses, "/v1/conversations/{id}/items", "GET, POST", llm.OpStored, Traits{}},
	{llm.OpenAIResponses, "/v1/conversations/{id}/items/{id}", "GET, DELETE", llm.OpStored, Traits{}},

	{llm.AnthropicMessages, "/v1/files", "GET, POST", llm.OpStored, Traits{}},
	{llm.AnthropicMessages, "/v1/files/{id}", "GET, DELETE", llm.OpStored, Traits{}},
	{llm.AnthropicMessages, "/v1/files/{id}/content", "GET", llm.OpStored, Traits{Live: true}},
	{llm.AnthropicMessages, "/v1/messages/batches", "GET, POST", llm.OpStored, Traits{Batch: true, Links: true}},
	{llm.AnthropicMessages, "/v1/messages/batches/{id}", "GET, DELETE", llm.OpStored, Traits{Links: true}},
	{llm.AnthropicMessages, "/v1/messages/batches/{id}/results", "GET", llm.OpStored, Traits{Live: true}},
	{llm.AnthropicMessages, "/v1/messages/batches/{id}/cancel", "POST", llm.OpStored, Traits{Links: true}},

	{llm.OpenAIChat, "/v1/files", "GET, POST", llm.OpStored, Traits{}},
	{llm.OpenAIChat, "/v1/files/{id}", "GET, DELETE", llm.OpStored, Traits{}},
	{llm.OpenAIChat, "/v1/files/{id}/content", "GET", llm.OpStored, Traits{Live: true}},
	{llm.OpenAIChat, "/v1/uploads", "POST", llm.OpStored, Traits{}},
	{llm.OpenAIChat, "/v1/uploads/{id}/parts", "POST", llm.OpStored, Traits{}},
	{llm.OpenAIChat, "/v1/uploads/{id}/complete", "POST", llm.OpStored, Traits{}},
	{llm.OpenAIChat, "/v1/uploads/{id}/cancel", "POST", llm.OpStored, Traits{}},
	{llm.OpenAIChat, "/v1/batches", "GET, POST", llm.OpStored, Traits{Batch: true}},
	{llm.OpenAIChat, "/v1/batches/{id}", "GET", llm.OpStored, Traits{}},
	{llm.OpenAIChat, "/v1/batches/{id}/cancel", "POST", llm.OpStored, Traits{}},

	{llm.Gemini, "/upload/v1beta/files", "POST, PUT", llm.OpStored, Traits{Upload: true}},
	{llm.Gemini, "/v1beta/files", "GET", llm.OpStored, Traits{}},
	{llm.Gemini, "/v1beta/files/{id}", "GET, DELETE", llm.OpStored, Traits{}},
	{llm.Gemini, "/v1beta/files/{id}:download", "GET", llm.OpStored, Traits{Live: true}},
	{llm.Gemini, "/v1beta/cachedContents", "GET, POST", llm.OpStored, Traits{Model: true}},
	{llm.Gemini, "/v1beta/cachedContents/{id}", "GET, PATCH, DELETE", llm.OpStored, Traits{}},
}

// Find gives the passage of a path without the dialect's prefix, in its full form, and the first id in the
// path. OpenAI and Anthropic share paths of files: the version header tells them apart.
func Find(path string, hint llm.Dialect, h http.Header) (p *Passage, id string) {
	if hint == "" && h.Get("Anthropic-Version") != "" {
		hint = llm.AnthropicMessages
	}
	for i := range passages {
		p := &passages[i]
		if hint != "" && Family(hint) != Family(p.Dialect) || hint == "" && p.Dialect == llm.AnthropicMessages && strings.HasPrefix(p.Pattern, "/v1/files") {
			continue
		}
		if id, ok := fits(p.Pattern, path); ok {
			return p, id
		}
	}
	return nil, ""
}

// Upstream is a path, or a pattern, of the passage as it follows the provider's base URL: OpenAI's ends in /v1.
func (p *Passage) Upstream(path string) string {
	if Family(p.Dialect) == llm.OpenAIChat {
		return strings.TrimPrefix(path, "/v1")
	}
	return path
}

// Has reports whether the operation is one of those in the table.
func Has(op llm.Op) bool {
	for i := range passages {
		if passages[i].Op == op {
			return true
		}
	}
	return false
}

// Permits reports whether the table has the call: path as it follows the provider's base URL.
func Permits(d llm.Dialect, op llm.Op, method, path string) bool {
	for i := range passages {
		p := &passages[i]
		if p.Dialect != d {
			continue
		}
		if _, ok := fits(p.Upstream(p.Pattern), path); ok {
			return p.Op == op && Allows(p.Methods, method)
		}
	}
	return false
}

// Allows reports whether a list of methods, as in an Allow header, holds the method.
func Allows(methods, method string) bool {
	for m := range strings.SplitSeq(methods, ", ") {
		if m == method {
			return true
		}
	}
	return false
}

// fits compares a path with a pattern, segment by segment, and gives the first id.
func fits(pattern, path string) (id string, ok bool) {
	for {
		want, restWant, moreWant := strings.Cut(pattern, "/")
		got, rest, more := strings.Cut(path, "/")
		if tail, any := strings.CutPrefix(want, "{id}"); any {
			if got, ok = strings.CutSuffix(got, tail); !ok || !plain(got) {
				return "", false
			}
			if id == "" {
				id = got
			}
		} else if want != got {
			return "", false
		}
		if moreWant != more {
			return "", false
		}
		if !more {
			return id, true
		}
		pattern, path = restWant, rest
	}
}

// Family groups the dialects that one vendor's account speaks.
func Family(d llm.Dialect) llm.Dialect {
	if d == llm.OpenAIResponses {
		return llm.OpenAIChat
	}
	return d
}

// plain reports whether s is one segment of a path, whoever reads it.
func plain(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > 512 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
