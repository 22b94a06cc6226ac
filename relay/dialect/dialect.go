// Package dialect is the border between bytes and meaning: for each wire protocol one Frontend
// (how clients speak to us) and one Backend (how we speak to providers). Conversions go through
// relay/llm, so there are 2N codecs and never a file per pair.
package dialect

import (
	"net/http"
	"time"

	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// Head is what Peek learns of a request without decoding it. It is the only view of the body that
// policy, limits and routing ever consult.
type Head struct {
	Model     string        // as the client wrote it; for Gemini it comes from the path, not from here
	ModelSpan splice.Span   // the JSON string with its quotes; empty when the body names no model
	MoreSpans []splice.Span // Gemini batches repeat the model in every entry: the others, ascending
	Stream    bool
	MaxOutput int64  // 0 = not stated
	User      string // the protocol's end-user field
	Choices   int64  // n or candidateCount; 1 when not stated
	Usage     IncludeUsage
	BodyLen   int
	Kept      Kept
	Form      bool   // the body is multipart/form-data: ModelSpan is the bare value, without quotes
	Units     int64  // what an operation is billed by that counts no tokens, as far as the request tells
	Unit      string // "image" or "character"; "" = not known from the request
}

// Kept is what a Responses request says of state that a provider keeps.
type Kept struct {
	Previous     string      // previous_response_id; "" = none
	PreviousSpan splice.Span // its JSON string
	Conversation bool        // it belongs to one
	NotStored    bool        // store: false, so that nothing can refer to the answer
}

// IncludeUsage is the state of stream_options.include_usage in a streamed openai-chat request:
// where to splice it in when the client did not ask.
type IncludeUsage struct {
	Asked bool        // the client wants the usage chunk
	At    splice.Span // span to replace (empty span = insert); meaningful only when !Asked
	Text  string      // what to write there; "" = nothing to do
}

// Injects reports whether Backend.Splice adds include_usage: only then must the answer be filtered.
func (u IncludeUsage) Injects() bool { return !u.Asked && u.Text != "" }

// Rendered is an HTTP answer ready to be written.
type Rendered struct {
	Status int
	Header http.Header // content type, Retry-After, x-should-retry and the protocol's own
	Body   []byte
}

// ModelInfo is one row of a models list.
type ModelInfo struct {
	ID      string
	Created time.Time
	OwnedBy string
}

// RateState is what the rate-limit headers show: the tenant's own limits, never the upstream's.
// A negative limit means that kind is not limited and its headers are left out.
type RateState struct {
	RequestLimit, RequestRemaining int64
	RequestReset                   time.Duration
	TokenLimit, TokenRemaining     int64
	TokenReset                     time.Duration
}

// Frontend is how clients of one dialect speak to us. Implementations are stateless and safe for
// concurrent use.
type Frontend interface {
	Dialect() llm.Dialect
	// Peek scans body once. It refuses malformed JSON, duplicate members and invalid UTF-8 with a
	// Malformed fault that names the byte offset and, where known, the member.
	Peek(op llm.Op, body []byte) (Head, error)
	// EncodeFault renders f as this protocol's error answer (DESIGN.md 4.8), id being the request id.
	EncodeFault(f *fault.Error, id string) Rendered
	// FaultEvent renders f as this protocol's in-stream error event, for a stream that has begun.
	FaultEvent(f *fault.Error, id string) []byte
	// Keepalive is the bytes that keep an idle stream open without meaning anything.
	Keepalive() []byte
	// RateHeaders adds the protocol's rate-limit headers to h. now is for absolute reset times.
	RateHeaders(h http.Header, s RateState, now time.Time)
	// EncodeModels renders a models list; EncodeModel one entry of it.
	EncodeModels(models []ModelInfo) []byte
	EncodeModel(m ModelInfo) []byte
}

// Backend is how we speak to providers of one dialect. Implementations are stateless and safe for
// concurrent use.
type Backend interface {
	Dialect() llm.Dialect
	// Path is what follows the provider's base URL. version is the client's own (v1, v1beta) and only
	// Gemini uses it; model is the upstream's name.
	Path(op llm.Op, version, model string, stream bool) string
	// Splice lists the edits that make a client's body of this same dialect the provider's: the model's
	// name, and include_usage for a streamed openai-chat request. None = byte-identical.
	Splice(op llm.Op, h Head, model string) []splice.Edit
	// UnaryUsage finds the usage in a complete JSON answer.
	UnaryUsage(op llm.Op, body []byte) (llm.Usage, bool)
	// NewTap watches one streamed answer.
	NewTap(op llm.Op) Tap
	// DecodeFault classifies an error answer. It never returns nil.
	DecodeFault(status int, h http.Header, body []byte) *fault.Error
	// Processing is the place the provider says it processed in ("us", "DE"), or "" when it does not say.
	Processing(h http.Header, body []byte) string
}

// Note is what a tap learned from one event.
type Note uint8

// Notes, as a set of bits.
const (
	NoteContent   Note = 1 << iota // carries answer content: after this a replay would repeat text
	NoteTerminal                   // the protocol's regular end of a stream
	NoteError                      // an in-stream error event
	NoteUsageOnly                  // openai-chat: the extra chunk that carries only usage
)

// Tap watches the events of one streamed answer without changing them. Not safe for concurrent use.
type Tap interface {
	// Event looks at one whole SSE event: its data payload (lines joined by \n) and event name.
	Event(name string, data []byte) Note
	// Usage is the sum so far; false when the provider has sent none.
	Usage() (llm.Usage, bool)
	// Fault is the in-stream error seen, or nil.
	Fault() *fault.Error
	// Processing is as Backend.Processing, from what the stream said so far.
	Processing() string
}
