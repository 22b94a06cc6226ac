package node_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// clientRequest is the same question in each client's words. The fake provider answers a prompt of
// this form with the words asked for.
var clientRequest = map[llm.Dialect]struct {
	path, body, stream string
	text               func(t *testing.T, body string) string // of a unary answer
	end                string                                 // regular end of a stream
}{
	llm.OpenAIChat: {
		"/v1/chat/completions", `{"model":"m","max_completion_tokens":200,"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"reply with exactly: 你好 mesh"}]STREAM}`, `,"stream":true`,
		func(t *testing.T, body string) string {
			var a struct {
				Choices []struct{ Message struct{ Content string } }
			}
			decodeJSON(t, body, &a)
			return a.Choices[0].Message.Content
		}, "data: [DONE]",
	},
	llm.OpenAIResponses: {
		"/v1/responses", `{"model":"m","max_output_tokens":200,"instructions":"be brief","input":"reply with exactly: 你好 mesh"STREAM}`, `,"stream":true`,
		func(t *testing.T, body string) string {
			var a struct {
				Output []struct {
					Type    string
					Content []struct{ Text string }
				}
			}
			decodeJSON(t, body, &a)
			for _, o := range a.Output {
				if o.Type == "message" {
					return o.Content[0].Text
				}
			}
			return ""
		}, "event: response.completed",
	},
	llm.AnthropicMessages: {
		"/v1/messages", `{"model":"m","max_tokens":200,"system":"be brief","messages":[{"role":"user","content":"reply with exactly: 你好 mesh"}]STREAM}`, `,"stream":true`,
		func(t *testing.T, body string) string {
			var a struct{ Content []struct{ Text string } }
			decodeJSON(t, body, &a)
			return a.Content[0].Text
		}, "event: message_stop",
	},
	llm.Gemini: {
		"/v1beta/models/m:generateContent", `{"systemInstruction":{"parts":[{"text":"be brief"}]},"generationConfig":{"maxOutputTokens":200},"contents":[{"role":"user","parts":[{"text":"reply with exactly: 你好 mesh"}]}]}`, "",
		func(t *testing.T, body string) string {
			var a struct {
				Candidates []struct {
					Content struct{ Parts []struct{ Text string } }
				}
			}
			decodeJSON(t, body, &a)
			return a.Candidates[0].Content.Parts[0].Text
		}, `"finishReason"`,
	},
}

func decodeJSON[T any](t *testing.T, body string, into *T) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
}

// only makes the model "m" served by one provider that speaks one dialect.
func only(d llm.Dialect) func(v *api.NodeView) {
	return func(v *api.NodeView) {
		p := v.Providers[0]
		p.ID, p.Dialects = "only", []string{string(d)}
		if !strings.HasPrefix(string(d), "openai") {
			p.BaseURL = strings.TrimSuffix(p.BaseURL, "/v1")
		}
		v.Providers = []state.Provider{p}
		v.Models = []state.Model{{ID: "m", Targets: []state.Target{{Provider: "only", Model: "gpt-4o"}}}}
	}
}

// TestEveryPairAnswers asks every kind of provider through every kind of client, whole and streamed.
func TestEveryPairAnswers(t *testing.T) {
	for _, client := range llm.Dialects {
		for _, provider := range llm.Dialects {
			why := registry.Unsupported(llm.OpGenerate, client, provider)
			t.Run(string(client)+" to "+string(provider), func(t *testing.T) {
				r := newRig(t, only(provider))
				q := clientRequest[client]
				a := r.post(q.path, strings.Replace(q.body, "STREAM", "", 1), "anthropic-version", "2023-06-01")
				if why != "" {
					if a.status != 400 || !strings.Contains(a.body, "unsupported_conversion") {
						t.Errorf("not implemented (%s), and the answer is %d %s", why, a.status, a.body)
					}
					return
				}
				if a.status != 200 || q.text(t, a.body) != "你好 mesh" {
					t.Fatalf("whole: %d %s", a.status, a.body)
				}
				if o := r.last(); o.UsageKind != edge.UsageMeasured || o.Usage.Output == 0 {
					t.Errorf("whole: usage %+v", o.Usage)
				}
				path := q.path
				if client == llm.Gemini {
					path = strings.Replace(path, ":generateContent", ":streamGenerateContent?alt=sse", 1)
				}
				a = r.post(path, strings.Replace(q.body, "STREAM", q.stream, 1), "anthropic-version", "2023-06-01")
				if a.status != 200 || !strings.Contains(a.body, q.end) {
					t.Fatalf("streamed: %d %s", a.status, a.body)
				}
				if o := r.last(); o.UsageKind != edge.UsageMeasured || o.Usage.Output == 0 || o.Fault != nil {
					t.Errorf("streamed: usage %+v, fault %v", o.Usage, o.Fault)
				}
				if client != llm.Gemini {
					return
				}
				// Without alt=sse the stream is one JSON array.
				a = r.post("/v1beta/models/m:streamGenerateContent", q.body)
				var elements []json.RawMessage
				decodeJSON(t, a.body, &elements)
				if a.status != 200 || len(elements) == 0 || !strings.Contains(string(elements[len(elements)-1]), q.end) {
					t.Errorf("array: %d %s", a.status, a.body)
				}
			})
		}
	}
}

// A lossy conversion names what it lost, and is refused under x-causeway-strict.
func TestLossesAreReported(t *testing.T) {
	if why := registry.Unsupported(llm.OpGenerate, llm.OpenAIChat, llm.AnthropicMessages); why != "" {
		t.Skip(why)
	}
	r := newRig(t, only(llm.AnthropicMessages))
	body := `{"model":"m","seed":7,"messages":[{"role":"user","content":"hi"}]}`
	a := r.post("/v1/chat/completions", body)
	if a.status != 200 || !strings.Contains(a.header.Get("X-Causeway-Loss"), "/seed") {
		t.Errorf("%d, loss %q: %s", a.status, a.header.Get("X-Causeway-Loss"), a.body)
	}
	if out := r.audit.outcomes[len(r.audit.outcomes)-1]; !strings.Contains(out.Losses, "/seed") {
		t.Errorf("the record does not name the loss: %+v", out)
	}
	for _, v := range []string{"1", "true", "True"} {
		a = r.post("/v1/chat/completions", body, "X-Causeway-Strict", v)
		if a.status != 400 || !strings.Contains(a.body, "lossy_conversion") || !strings.Contains(a.body, "seed") {
			t.Errorf("strict %q: %d %s", v, a.status, a.body)
		}
	}
	for _, v := range []string{"", "0", "false", "FALSE"} {
		if a = r.post("/v1/chat/completions", body, "X-Causeway-Strict", v); a.status != 200 {
			t.Errorf("strict %q: %d %s", v, a.status, a.body)
		}
	}
}

// With equal weights the provider that speaks the client's dialect answers; with stated shares the
// shares are kept.
func TestPassThroughIsPreferred(t *testing.T) {
	if why := registry.Unsupported(llm.OpGenerate, llm.AnthropicMessages, llm.Gemini); why != "" {
		t.Skip(why)
	}
	r := newRig(t, nil)
	for range 8 {
		a := r.post("/v1/messages", `{"model":"fake","max_tokens":20,"messages":[{"role":"user","content":"hi"}]}`, "anthropic-version", "2023-06-01")
		if o := r.last(); a.status != 200 || o.Served.Provider != "anthropic" {
			t.Errorf("%d by %+v", a.status, o.Served)
		}
	}
}

// A route that cannot carry the request is passed over for one that can; what no route can carry is
// a 400 that names the field, not an attempt.
func TestRefusedConversionTriesOtherRoutes(t *testing.T) {
	if why := registry.Unsupported(llm.OpGenerate, llm.OpenAIChat, llm.AnthropicMessages); why != "" {
		t.Skip(why)
	}
	r := newRig(t, only(llm.AnthropicMessages))
	a := r.post("/v1/chat/completions", `{"model":"m","n":3,"messages":[{"role":"user","content":"hi"}]}`)
	if a.status != 400 || !strings.Contains(a.body, `"n"`) || len(r.last().Attempts) != 0 {
		t.Errorf("n=3: %d %s after %d attempts", a.status, a.body, len(r.last().Attempts))
	}
}

// A history that another vendor's model answered does not pass unread to the client's own vendor,
// which would refuse signatures that are not its own; one without passes byte for byte.
func TestForeignHistoryIsNotPassedUnread(t *testing.T) {
	r := newRig(t, only(llm.AnthropicMessages))
	foreign := carrier.Encode(carrier.Own, &llm.Seal{Origin: llm.Gemini, Data: []byte("c2lnbmF0dXJl")})
	history := func(signature string) string {
		return `{"model":"gpt-4o","max_tokens":50,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[` +
			`{"type":"thinking","thinking":"so","signature":"` + signature + `"},{"type":"text","text":"hello"}]},{"role":"user","content":"more"}]}`
	}
	r.view.Index++
	r.view.Models[0].Aliases = []string{"gpt-4o"}
	r.apply()
	if a := r.post("/v1/messages", history(foreign), "anthropic-version", "2023-06-01"); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if sent := r.sent.Load().(string); strings.Contains(sent, foreign) {
		t.Errorf("the foreign signature left: %s", sent)
	}
	own := history("RXFRQkNrZ0lC")
	if a := r.post("/v1/messages", own, "anthropic-version", "2023-06-01"); a.status != 200 || r.sent.Load().(string) != own {
		t.Errorf("%d, sent %s", a.status, r.sent.Load())
	}
}
