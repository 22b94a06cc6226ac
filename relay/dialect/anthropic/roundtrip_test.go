package anthropic_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/anthropic"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/llm"
)

var codec = convtest.Codec{
	Dialect: llm.AnthropicMessages, Frontend: anthropic.Frontend{}, Client: anthropic.Frontend{}, Provider: anthropic.Backend{},
}

// features is what the protocol carries without loss. Stop sequences and schemas have tests of their
// own: the vendor refuses stops of white space only, and schemas have no name here.
var features = convtest.Features{
	Dialect: llm.AnthropicMessages, SystemInPlace: true, Images: true, ImageURLs: true, Documents: true, Thinking: true, Redacted: true,
	ResultMedia: true, ResultErrors: true, Sampling: true, TopK: true, Effort: true, Parallel: true, User: true, ChoiceNamed: true, FreeArgs: true,
}

var upstream = dialect.EncodeOptions{Model: "claude-upstream", MaxOutput: 64000}

func TestRequestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f, o := features, upstream
		if f.SystemInPlace = rapid.Bool().Draw(rt, "in place"); f.SystemInPlace {
			// The API version that takes system text in place refuses sampling.
			f.Sampling, f.TopK, o.Quirks.SystemInPlace = false, false, true
		}
		r := convtest.Requests(f).Draw(rt, "request")
		convtest.RoundTripRequest(t, codec, r, o)
	})
}

func TestResponseRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		convtest.RoundTripResponse(t, codec, convtest.Responses(features).Draw(rt, "answer"))
	})
}

// BerriAI/litellm #25561: arguments vanish in translated streams; su-kaka/gcli2api #406: parallel calls
// collapse into one. Any cut of the deltas and any interleaving of calls says the same.
func TestStreamRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		r := convtest.Responses(features).Draw(rt, "answer")
		convtest.RoundTripEvents(t, codec, convtest.Stream(rt, r))
	})
}
