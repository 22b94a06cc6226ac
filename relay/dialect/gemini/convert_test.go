package gemini_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/llm"
)

var codec = convtest.Codec{Dialect: llm.Gemini, Frontend: gemini.Frontend{}, Client: gemini.Frontend{}, Provider: gemini.Backend{}}

// carries is what the dialect carries without loss.
var carries = convtest.Features{
	Dialect: llm.Gemini, Images: true, Documents: true, Thinking: true, ResultMedia: true, ResultErrors: true,
	Sampling: true, TopK: true, Seed: true, Stop: true, Effort: true, ChoiceNamed: true, Choices: true,
}

func TestRequestsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		r := convtest.Requests(carries).Draw(rt, "request")
		convtest.RoundTripRequest(fatal{t, rt}, codec, r, dialect.EncodeOptions{Model: "gemini-3-pro"})
	})
}

func TestAnswersRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		r := convtest.Responses(carries).Draw(rt, "answer")
		convtest.RoundTripResponse(fatal{t, rt}, codec, r)
		convtest.RoundTripEvents(fatal{t, rt}, codec, convtest.Stream(rt, r))
	})
}

// fatal lets rapid shrink what the harness finds.
type fatal struct {
	*testing.T
	rt *rapid.T
}

func (f fatal) Fatalf(format string, args ...any) { f.rt.Fatalf(format, args...) }
func (f fatal) Errorf(format string, args ...any) { f.rt.Errorf(format, args...) }
