package dialect

import (
	"net/http"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// Conversion: the client side of one dialect decodes requests and encodes answers, the provider side
// of another encodes requests and decodes answers. Both meet in relay/llm. A dialect's Frontend
// implements ClientCodec beside it, its Backend ProviderCodec. Implementations are stateless and safe
// for concurrent use; event decoders and encoders belong to one stream and one goroutine.

// ClientCodec converts for clients of one dialect.
type ClientCodec interface {
	// DecodeRequest reads a body that Peek has accepted. What the canonical model has no place for goes
	// to Extra or an opaque part. Errors are Malformed faults with Param; they quote no content. The
	// result may alias body. It has not been through Check yet.
	DecodeRequest(op llm.Op, body []byte, h Head) (*llm.Request, error)
	// EncodeResponse writes a whole answer. The losses' paths point into the provider's answer.
	EncodeResponse(r *llm.Response, o AnswerOptions) ([]byte, []llm.Loss, error)
	NewEventEncoder(o AnswerOptions) EventEncoder
}

// ProviderCodec converts for providers of one dialect.
type ProviderCodec interface {
	// EncodeRequest writes r for a provider. An error is an Unsupported fault whose Fields list every
	// place that cannot be carried and may not be dropped; what may be dropped is in Losses.
	EncodeRequest(r *llm.Request, o EncodeOptions) (Encoded, error)
	// DecodeResponse reads a whole 2xx answer. Errors are UpstreamProtocol faults, or what the body
	// itself reports (a failed response). An answer without content is not an error here: the caller
	// asks Response.Empty.
	DecodeResponse(op llm.Op, body []byte, o DecodeOptions) (*llm.Response, error)
	NewEventDecoder(o DecodeOptions) EventDecoder
}

// EmbedClient converts embeddings for clients of one dialect. A Frontend whose protocol has them
// implements it beside ClientCodec.
type EmbedClient interface {
	// DecodeEmbed is to embeddings what DecodeRequest is to generation.
	DecodeEmbed(op llm.Op, body []byte, h Head) (*llm.EmbedRequest, error)
	// EncodeEmbeddings writes the answer to q, with r's usage where the protocol demands one.
	EncodeEmbeddings(r *llm.EmbedResponse, q *llm.EmbedRequest) ([]byte, []llm.Loss)
}

// EmbedProvider converts embeddings for providers of one dialect.
type EmbedProvider interface {
	// EncodeEmbed is to embeddings what EncodeRequest is to generation: all inputs in one request.
	EncodeEmbed(q *llm.EmbedRequest, o EncodeOptions) (Encoded, error)
	// DecodeEmbeddings reads the answer to a request of that many inputs. Errors are UpstreamProtocol
	// faults: a vector that is missing or no vector would be taken for another's.
	DecodeEmbeddings(body []byte, inputs int) (*llm.EmbedResponse, error)
}

// EncodeOptions is what an encoder must know beside the request.
type EncodeOptions struct {
	Model     string // the provider's name
	MaxOutput int64  // the model's maximum; 0 = not known
	Fill      int64  // what to state where the protocol demands a limit and the client stated none; 0 = FillMax
	Scope     string // the provider account, for seals that are bound to it; "" = not known
	Quirks    Quirks
}

// FillMax is the limit for protocols that demand one where neither client nor configuration states
// it: every current model takes it, no answer of usual length reaches it, and an edge can reserve it.
const FillMax = 32000

// Quirks is how a provider or model differs from the dialect's vendor as of today. Zero = not at all.
// The facts are rows of package vendor.
type Quirks struct {
	// Chat.
	NoDeveloperRole bool        // knows only the system role
	LegacyMaxTokens bool        // max_tokens instead of max_completion_tokens
	NoStreamUsage   bool        // refuses stream_options
	NoPenalties     bool        // refuses frequency and presence penalties
	NoLogprobs      bool        // refuses logprobs and logit_bias
	NoStop          bool        // takes no stop sequences
	NoNames         bool        // refuses names on messages
	OnlyCommon      bool        // refuses members that are OpenAI's alone, beginning with user and seed
	CallIDs         CallIDs     // which ids it takes
	Switch          ThinkSwitch // how thinking is switched on and off

	// All.
	NoSchema    bool // no JSON schema output: Anthropic uses a forced tool, the others their JSON mode
	NoSampling  bool // refuses temperature, top_p and top_k
	NoPrefill   bool // refuses a final assistant turn
	NoReasoning bool // takes no reasoning setting at all

	// Anthropic and Gemini.
	NoEffort     bool // thinking budgets only
	NoBudget     bool // Anthropic: efforts only
	AlwaysThinks bool // thinking cannot be switched off; Anthropic: nor a tool forced
	LeastBetween bool // Anthropic: the least thinking is between_tools, not disabled

	SystemInPlace bool // Anthropic: takes role system inside messages
	RemoteMedia   bool // Gemini: takes http(s) fileData
}

// CallIDs is which ids of calls a chat server takes.
type CallIDs uint8

// Forms of call ids.
const (
	CallIDsUsual CallIDs = iota // at most 40 of [a-zA-Z0-9_-]
	CallIDsAny                  // whatever it or anybody made
	CallIDsNine                 // exactly nine of [a-zA-Z0-9] (Mistral)
)

// ThinkSwitch is how a chat server is told whether to think, beside reasoning_effort.
type ThinkSwitch uint8

// Switches of thinking.
const (
	SwitchEffort ThinkSwitch = iota // reasoning_effort none
	SwitchType                      // thinking {type: enabled | disabled} (DeepSeek, Moonshot)
	SwitchBool                      // enable_thinking (DashScope)
)

// Encoded is a request for a provider.
type Encoded struct {
	Body   Body
	Header http.Header // the protocol's own, beside Content-Type: anthropic-version, anthropic-beta
	Losses []llm.Loss
	Limit  int64 // the limit on output that the body states; 0 = none
	After  After // what the caller must do to the answer
}

// DecodeOptions is what a decoder of answers must know.
type DecodeOptions struct {
	Op    llm.Op
	ID    string // our request id; seeds ids that the provider does not give
	Scope string // the provider account, noted in seals and opaque parts
}

// AnswerOptions is what an encoder of answers must know.
type AnswerOptions struct {
	Request *llm.Request // the client's: settings to echo, whether it wants usage and thinking
	ID      string       // our request id, for answers whose provider gave none
	Model   string       // the name to show: the one that the client used
	Created int64        // Unix seconds, for answers whose provider gave none
	// InputEstimate is shown where a stream's begin must state the input and the provider tells it only at
	// the end, in tokens; 0 = none. What the provider tells replaces it.
	InputEstimate int64
}

// EventDecoder reads a provider's stream. It is not safe for concurrent use.
type EventDecoder interface {
	// Push reads one SSE event (data lines joined by \n, or one element of Gemini's array) and appends
	// what it means to dst, often nothing. Together the events obey the grammar of llm.Event. Whatever
	// goes wrong is an EventError, the last event; there is no second way to fail, and after it Push
	// appends nothing. Events do not alias data.
	Push(dst []llm.Event, name string, data []byte) []llm.Event
	// End reads the end of the stream: it appends what was held back, or an EventError with an
	// UpstreamPartial fault when the protocol's regular end is missing. A second call appends nothing.
	End(dst []llm.Event) []llm.Event
}

// EventEncoder writes a client's stream. It is not safe for concurrent use.
type EventEncoder interface {
	// Append writes the frames of the next event to dst, often none. It takes every legal stream. For
	// EventError it writes the protocol's error frame. An error is a fault that ends the stream: the
	// caller shows it with Frontend.FaultEvent.
	Append(dst []byte, e *llm.Event) ([]byte, error)
	// Close writes what ends the stream; nothing after an EventError.
	Close(dst []byte) ([]byte, error)
	// Losses lists what the stream so far could not carry.
	Losses() []llm.Loss
}
