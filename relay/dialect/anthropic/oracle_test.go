package anthropic_test

import (
	"net/http/httptest"
	"testing"

	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/anthropic"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/fake"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// ask sends an encoded request to the fake provider, which refuses what the vendor refuses.
func ask(t testing.TB, s *fake.Server, op llm.Op, enc dialect.Encoded) {
	t.Helper()
	req := httptest.NewRequest("POST", anthropic.Backend{}.Path(op, "", "", false), enc.Body.Reader())
	req.Header = enc.Header.Clone()
	req.Header.Set("X-Api-Key", "k")
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, req); w.Code != 200 {
		t.Fatalf("the vendor would answer %d: %s\n%s", w.Code, w.Body, enc.Body.Bytes())
	}
}

var foreign = []convtest.Features{
	{
		Dialect: llm.OpenAIChat, SystemInPlace: true, Developer: true, Images: true, ImageURLs: true, Documents: true, Refusals: true,
		FreeArgs: true, Sampling: true, Seed: true, Schema: true, Effort: true, Parallel: true, User: true, ChoiceNamed: true,
	},
	{
		Dialect: llm.OpenAIResponses, SystemInPlace: true, Images: true, Thinking: true, Refusals: true, ResultMedia: true,
		FreeArgs: true, Sampling: true, Schema: true, Effort: true, Parallel: true, User: true, ChoiceNamed: true,
	},
	{
		Dialect: llm.Gemini, Images: true, Documents: true, Thinking: true, ResultMedia: true, ResultErrors: true,
		Sampling: true, TopK: true, Seed: true, Schema: true, Effort: true,
	},
}

// disturb adds what histories of real clients hold beside the regular.
func disturb(rt *rapid.T, r *llm.Request) {
	some := func(label string) bool { return rapid.IntRange(0, 5).Draw(rt, label) == 0 }
	say := func(role llm.Role, text string) llm.Message {
		return llm.Message{Role: role, Parts: []llm.Part{{Kind: llm.PartText, Text: text}}}
	}
	at := rapid.IntRange(0, len(r.Messages)).Draw(rt, "where")
	insert := func(m llm.Message) {
		r.Messages = append(r.Messages[:at:at], append([]llm.Message{m}, r.Messages[at:]...)...)
	}
	switch rapid.IntRange(0, 6).Draw(rt, "disturbance") {
	case 0:
		insert(say(llm.RoleUser, "and another thing"))
	case 1:
		insert(say(llm.RoleSystem, "be brief"))
	case 2:
		insert(say(llm.RoleUser, " \n"))
	case 3:
		insert(llm.Message{Role: llm.RoleAssistant})
	case 4:
		insert(say(llm.RoleAssistant, "indeed "))
	}
	if some("no tools now") {
		r.Tools, r.Choice = nil, llm.ToolChoice{}
	}
	if some("small") {
		r.MaxOutput = llm.Some(int64(rapid.IntRange(1, 2000).Draw(rt, "limit")))
	}
	if some("budget") {
		r.Reasoning.Budget = llm.Some(int64(rapid.IntRange(1, 70000).Draw(rt, "tokens")))
	}
	if some("hot") {
		r.Sampling.Temperature = llm.Some(1.7)
	}
	if some("show") {
		r.Reasoning.Show = rapid.SampledFrom([]llm.Show{llm.ShowNone, llm.ShowSummary, llm.ShowDetailed}).Draw(rt, "how")
	}
	if some("mode") {
		r.Reasoning.Mode = rapid.SampledFrom([]llm.ReasoningMode{llm.ReasoningOff, llm.ReasoningOn, llm.ReasoningAdaptive}).Draw(rt, "which")
	}
	if some("count") {
		r.Op = llm.OpCountTokens
	}
}

// A request that is encoded is one that the vendor takes, whatever the client's protocol, the history
// and the quirks of the model.
func TestVendorTakesWhateverIsEncoded(t *testing.T) {
	t.Parallel()
	s := fake.New(fake.Options{})
	asked, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		r := convtest.Requests(rapid.SampledFrom(foreign).Draw(rt, "client")).Draw(rt, "request")
		disturb(rt, r)
		o := dialect.EncodeOptions{Model: "claude-sonnet-4-5", MaxOutput: rapid.SampledFrom([]int64{0, 1200, 8192, 64000}).Draw(rt, "max")}
		if rapid.Bool().Draw(rt, "new model") {
			o.Model = "claude-opus-4-7"
			o.Quirks = dialect.Quirks{NoSampling: true, NoPrefill: true, SystemInPlace: true}
		}
		o.Quirks.NoSchema = rapid.Bool().Draw(rt, "no schema")
		o.Quirks.NoEffort = rapid.Bool().Draw(rt, "no effort")
		o.Quirks.NoReasoning = rapid.IntRange(0, 5).Draw(rt, "no reasoning") == 0
		if err := dialect.Check(r); err != nil {
			rt.Skip() // the disturbance made it wrong
		}
		enc, err := anthropic.Backend{}.EncodeRequest(r, o)
		if err != nil {
			if f := fault.As(err); f.Kind != fault.Unsupported || len(f.Fields) == 0 {
				t.Fatalf("%v", err)
			}
			refused++
			return
		}
		asked++
		ask(t, s, r.Op, enc)
		if _, err := convtest.DecodeRequest(codec, r.Op, enc.Body.Bytes()); err != nil {
			t.Fatalf("our own decoder refuses it: %v\n%s", err, enc.Body.Bytes())
		}
	})
	t.Logf("%d encoded, %d refused", asked, refused)
	if asked < 2*refused {
		t.Errorf("%d encoded, %d refused: the test sees too little", asked, refused)
	}
}
