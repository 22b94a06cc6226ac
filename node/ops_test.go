package node_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// embedRequests are clients that ask for the vectors of "one" and "two", four numbers long.
var embedRequests = []struct {
	name    string
	client  llm.Dialect
	op      llm.Op
	path    string
	body    string
	n       int
	vectors func(t *testing.T, body string) [][]float32
}{
	{"openai", llm.OpenAIChat, llm.OpEmbed, "/v1/embeddings", `{"model":"m","input":["one","two"],"dimensions":4}`, 2, openAIVectors},
	{"openai, base64", llm.OpenAIChat, llm.OpEmbed, "/v1/embeddings", `{"model":"m","input":["one","two"],"dimensions":4,"encoding_format":"base64"}`, 2, openAIVectors},
	{"openai, one text", llm.OpenAIChat, llm.OpEmbed, "/v1/embeddings", `{"model":"m","input":"one","dimensions":4}`, 1, openAIVectors},
	{"gemini", llm.Gemini, llm.OpEmbed, "/v1beta/models/m:embedContent", `{"content":{"parts":[{"text":"one"}]},"outputDimensionality":4}`, 1, geminiVectors},
	{"gemini, config", llm.Gemini, llm.OpEmbed, "/v1/models/m:embedContent", `{"content":{"parts":[{"text":"one"}]},"embedContentConfig":{"outputDimensionality":4}}`, 1, geminiVectors},
	{"gemini, batch", llm.Gemini, llm.OpEmbedBatch, "/v1beta/models/m:batchEmbedContents", `{"requests":[` +
		`{"model":"models/m","content":{"parts":[{"text":"one"}]},"outputDimensionality":4},{"model":"models/m","content":{"parts":[{"text":"two"}]},"outputDimensionality":4}]}`, 2, geminiVectors},
}

func openAIVectors(t *testing.T, body string) (all [][]float32) {
	t.Helper()
	var a struct {
		Data []struct {
			Index     int
			Embedding json.RawMessage
		}
		Usage struct {
			Prompt int64 `json:"prompt_tokens"`
			Total  int64 `json:"total_tokens"`
		}
	}
	decodeJSON(t, body, &a)
	if a.Usage.Prompt == 0 || a.Usage.Total != a.Usage.Prompt {
		t.Errorf("usage %+v", a.Usage)
	}
	for i, d := range a.Data {
		var v []float32
		if raw := []byte(nil); d.Embedding[0] == '"' {
			decodeJSON(t, string(d.Embedding), &raw) // JSON base64
			for ; len(raw) >= 4; raw = raw[4:] {
				v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
			}
		} else {
			decodeJSON(t, string(d.Embedding), &v)
		}
		if d.Index != i {
			t.Errorf("index %d at %d", d.Index, i)
		}
		all = append(all, v)
	}
	return all
}

func geminiVectors(t *testing.T, body string) (all [][]float32) {
	t.Helper()
	type embedding struct{ Values []float32 }
	var a struct {
		Embedding  *embedding
		Embeddings []embedding
	}
	decodeJSON(t, body, &a)
	if a.Embedding != nil {
		a.Embeddings = append(a.Embeddings, *a.Embedding)
	}
	for _, e := range a.Embeddings {
		all = append(all, e.Values)
	}
	return all
}

// embedding makes "m" an embedding model of providers of d.
func embedding(d llm.Dialect, model string) func(v *api.NodeView) {
	return func(v *api.NodeView) {
		only(d)(v)
		v.Models[0].Targets[0].Model = model
	}
}

// TestEveryPairEmbeds asks every kind of provider for vectors through every kind of client: the same
// ones, bit for bit, whatever the way, or a refusal that says what works.
func TestEveryPairEmbeds(t *testing.T) {
	for _, provider := range llm.Dialects {
		var want [][]float32 // of this provider; they depend on the text and the model only
		for _, q := range embedRequests {
			t.Run(q.name+" to "+string(provider), func(t *testing.T) {
				r := newRig(t, embedding(provider, "fake-embed"))
				a := r.post(q.path, q.body)
				if why := registry.Unsupported(q.op, q.client, provider); why != "" {
					if a.status != 400 || !strings.Contains(a.body, "unsupported_conversion") || !strings.Contains(a.body, why) || len(r.last().Attempts) != 0 {
						t.Errorf("%s, and the answer is %d %s", why, a.status, a.body)
					}
					return
				}
				if a.status != 200 {
					t.Fatalf("%d %s", a.status, a.body)
				}
				got := q.vectors(t, a.body)
				if want == nil {
					want = got
				}
				if len(got) != q.n || !slices.EqualFunc(got, want[:len(got)], slices.Equal) || len(got[0]) != 4 {
					t.Errorf("%v, want %v", got, want)
				}
				o := r.last()
				if o.Usage.Input == 0 || o.Usage.Output != 0 || len(o.Attempts) != 1 {
					t.Errorf("usage %+v (%s) after %d attempts", o.Usage, o.UsageKind, len(o.Attempts))
				}
				// The fake states usage as the vendors do: OpenAI always, Gemini's older models never.
				kind, mark := edge.UsageMeasured, ""
				if provider == llm.Gemini {
					if kind = edge.UsageEstimated; q.client != llm.Gemini {
						mark = "tokens"
					}
				}
				if o.UsageKind != kind || a.header.Get("X-Causeway-Estimate") != mark {
					t.Errorf("usage is %s, marked %q", o.UsageKind, a.header.Get("X-Causeway-Estimate"))
				}
			})
		}
	}
}

// A list is one call to the provider, in its order, whichever protocol it comes in.
func TestBatchesStayOneCall(t *testing.T) {
	r := newRig(t, embedding(llm.Gemini, "gemini-embedding-2"))
	a := r.post("/v1/embeddings", `{"model":"m","input":["a","b","c"],"dimensions":2,"user":"u"}`)
	var sent struct {
		Requests []struct {
			Model   string
			Content struct{ Parts []struct{ Text string } }
			Dims    int `json:"outputDimensionality"`
		}
	}
	decodeJSON(t, r.sent.Load().(string), &sent)
	if len(sent.Requests) != 3 || sent.Requests[2].Content.Parts[0].Text != "c" || sent.Requests[1].Model != "models/gemini-embedding-2" || sent.Requests[0].Dims != 2 {
		t.Errorf("sent %s", r.sent.Load())
	}
	if o := r.last(); a.status != 200 || a.header.Get("X-Causeway-Loss") != "/user;no_equivalent" || o.UsageKind != edge.UsageMeasured {
		t.Errorf("%d %v %s: %s", a.status, a.header, o.UsageKind, a.body)
	}
	r = newRig(t, embedding(llm.OpenAIResponses, "fake-embed"))
	a = r.post("/v1beta/models/m:batchEmbedContents", `{"requests":[{"model":"models/m","content":{"parts":[{"text":"a"}]},"taskType":"CLUSTERING"},{"model":"models/m","content":{"parts":[{"text":"b"}]}}]}`)
	if got, want := r.sent.Load().(string), `{"model":"fake-embed","input":["a","b"]}`; a.status != 200 || got != want {
		t.Errorf("%d, sent %s, want %s", a.status, got, want)
	}
	if got := a.header.Get("X-Causeway-Loss"); got != "/requests/0/taskType;no_equivalent" {
		t.Errorf("losses %q", got)
	}
	if !strings.Contains(a.body, `"usageMetadata":{"promptTokenCount":`) {
		t.Errorf("the provider's usage is not passed on: %.300s", a.body)
	}
}

// What cannot become the same vector is refused with its place, before anything is sent.
func TestEmbeddingsThatCannotBeConverted(t *testing.T) {
	for _, c := range []struct{ why, path, body, want string }{
		{"token ids", "/v1/embeddings", `{"model":"m","input":[1,2,3]}`, "/input: foreign_origin"},
		{"lists of token ids", "/v1/embeddings", `{"model":"m","input":[[1],[2,3]]}`, "/input/1: foreign_origin"},
		{"too many for one batch", "/v1/embeddings", `{"model":"m","input":["x"` + strings.Repeat(`,"x"`, 100) + `]}`, "/input/100: out_of_range"},
		{"an image", "/v1beta/models/m:embedContent", `{"content":{"parts":[{"text":"x"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}}`, "/content/parts/1: no_equivalent"},
		{"lengths that differ", "/v1beta/models/m:batchEmbedContents", `{"requests":[{"content":{"parts":[{"text":"x"}]},"outputDimensionality":4},{"content":{"parts":[{"text":"y"}]}}]}`, "/requests/1/outputDimensionality: not_in_this_use"},
	} {
		to := llm.Gemini
		if strings.HasPrefix(c.path, "/v1beta") {
			to = llm.OpenAIChat
		}
		r := newRig(t, embedding(to, "fake-embed"))
		a := r.post(c.path, c.body)
		if o := r.last(); a.status != 400 || o.Fault == nil || !slices.Contains(o.Fault.Fields, c.want) || len(o.Attempts) != 0 {
			t.Errorf("%s: %d %s, %+v", c.why, a.status, a.body, o.Fault)
		}
	}
}

// What is lost is refused under x-causeway-strict, and a target that cannot carry the inputs is passed over
// for one that can.
func TestEmbeddingsFollowTheirRoutes(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		v.Models = []state.Model{{ID: "m", Targets: []state.Target{{Provider: "gemini", Model: "fake-embed"}, {Provider: "openai", Model: "fake-embed", Tier: 1}}}}
	})
	lossy := `{"model":"m","input":"x","dimensions":2,"user":"u"}`
	if a := r.post("/v1/embeddings", lossy); a.status != 200 || r.last().Served.Provider != "gemini" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := r.post("/v1/embeddings", lossy, "X-Causeway-Strict", "1"); a.status != 200 || r.last().Served.Provider != "openai" || len(r.last().Attempts) != 1 {
		t.Errorf("strict: %d %s", a.status, a.body)
	}
	if a := r.post("/v1/embeddings", `{"model":"m","input":[[1,2]],"dimensions":2}`); a.status != 200 || r.last().Served.Provider != "openai" {
		t.Errorf("token ids: %d %s", a.status, a.body)
	}
	r = newRig(t, embedding(llm.Gemini, "fake-embed"))
	if a := r.post("/v1/embeddings", lossy, "X-Causeway-Strict", "1"); a.status != 400 || !strings.Contains(a.body, "lossy_conversion") || len(r.last().Attempts) != 0 {
		t.Errorf("strict without another route: %d %s", a.status, a.body)
	}
}

// countRequests are the clients that count, asking for the same conversation.
var countRequests = []struct {
	client     llm.Dialect
	path, body string
	member     string // of the answer
}{
	{llm.AnthropicMessages, "/v1/messages/count_tokens", `{"model":"m","system":"be brief","messages":[{"role":"user","content":"What is the capital of France?"}]}`, `"input_tokens":`},
	{llm.OpenAIResponses, "/v1/responses/input_tokens", `{"model":"m","instructions":"be brief","input":"What is the capital of France?"}`, `"object":"response.input_tokens","input_tokens":`},
	{llm.Gemini, "/v1beta/models/m:countTokens", `{"generateContentRequest":{"model":"models/m","systemInstruction":{"parts":[{"text":"be brief"}]},"contents":[{"parts":[{"text":"What is the capital of France?"}]}]}}`, `"totalTokens":`},
	{llm.Gemini, "/v1beta/models/m:countTokens", `{"contents":[{"role":"user","parts":[{"text":"be brief\n\nWhat is the capital of France?"}]}]}`, `"totalTokens":`},
}

// TestEveryPairCounts asks every kind of provider for a count through every kind of client. Where the
// provider counts, its number comes; where it does not, ours, marked, and nothing leaves.
func TestEveryPairCounts(t *testing.T) {
	for _, provider := range llm.Dialects {
		for _, q := range countRequests {
			t.Run(string(q.client)+" to "+string(provider), func(t *testing.T) {
				r := newRig(t, only(provider))
				a := r.post(q.path, q.body, "anthropic-version", "2023-06-01")
				_, rest, ok := strings.Cut(strings.Join(strings.Fields(a.body), ""), q.member)
				n := 0
				for ; ok && len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9'; rest = rest[1:] {
					n = n*10 + int(rest[0]-'0')
				}
				if a.status != 200 || n < 8 || n > 25 {
					t.Fatalf("%d %s", a.status, a.body)
				}
				o, asked := r.last(), 1
				if provider == llm.OpenAIChat {
					asked = 0
				}
				if o.UsageKind != edge.UsageNone || o.Usage != (llm.Usage{}) || len(o.Attempts) != asked || len(r.audit.intents) != asked {
					t.Errorf("usage %+v, %d attempts, %d intents", o.Usage, len(o.Attempts), len(r.audit.intents))
				}
				if marked := a.header.Get("X-Causeway-Estimate") == "tokens"; marked != (asked == 0) {
					t.Errorf("headers %v", a.header)
				}
			})
		}
	}
}

// An estimate is subject to everything that a sent request is: rules, what cannot be converted, and
// requests per minute; tokens per minute are not touched, even when they are used up.
func TestEstimatesAreNotAWayAround(t *testing.T) {
	q := countRequests[0]
	r := newRig(t, func(v *api.NodeView) {
		only(llm.OpenAIChat)(v)
		v.Policy = state.Policy{Default: "allow", Rules: []state.Rule{{ID: "cn-stay", When: state.When{Home: []string{"CN"}}, Allow: []string{"CN"}}}}
		v.Tenants = append(v.Tenants, state.Tenant{ID: "cn", Home: "CN"})
		v.Keys = append(v.Keys, state.Key{ID: "cn", Tenant: "cn", Hash: hashed(v.Pepper, "cw_cn_0123456789abcdef0123456789")})
		v.Limits = []state.Limit{{Tenant: "acme", RPM: 4, TPM: 5}}
	})
	a := r.post(q.path, q.body, "Authorization", "Bearer cw_cn_0123456789abcdef0123456789")
	if a.status != 403 || !strings.Contains(a.body, "residency_denied") || len(r.audit.intents) != 1 {
		t.Errorf("a count of a model that may not be used: %d %s", a.status, a.body)
	}
	if a := r.post("/v1/messages", `{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}`, "anthropic-version", "2023-06-01"); a.status != 200 {
		t.Fatalf("using up the tokens: %d %s", a.status, a.body)
	}
	hosted := strings.Replace(q.body, `{"model"`, `{"tools":[{"type":"web_search_20260318","name":"web_search"}],"model"`, 1)
	if a := r.post(q.path, hosted); a.status != 400 || !strings.Contains(a.body, "tools/0") {
		t.Errorf("a count of what cannot be converted: %d %s", a.status, a.body)
	}
	for i, want := range []int{200, 200, 200, 429} {
		if a := r.post(q.path, q.body); a.status != want {
			t.Errorf("count %d: %d %s", i, a.status, a.body)
		}
	}
}

// Where several providers serve a model, one that counts is asked before anything is estimated.
func TestCountsAreAskedForWhereSomebodyCounts(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		v.Providers[0].Dialects = []string{"openai-chat"}
		v.Models = []state.Model{{ID: "m", Targets: []state.Target{{Provider: "openai", Model: "gpt-4o"}, {Provider: "gemini", Model: "gemini-pro", Tier: 1}}}}
	})
	a := r.post("/v1/messages/count_tokens", countRequests[0].body, "anthropic-version", "2023-06-01")
	if o := r.last(); a.status != 200 || o.Served == nil || o.Served.Provider != "gemini" || a.header.Get("X-Causeway-Estimate") != "" {
		t.Errorf("%d %s, %+v", a.status, a.body, o.Served)
	}
}

// Vectors have no output: a limit on tokens holds them by their input alone, and settles what was used.
func TestEmbeddingsReserveTheirInputOnly(t *testing.T) {
	for _, provider := range []llm.Dialect{llm.OpenAIChat, llm.Gemini} {
		r := newRig(t, func(v *api.NodeView) {
			embedding(provider, "fake-embed")(v)
			v.Limits = []state.Limit{{Tenant: "acme", TPM: 60}}
		})
		body := `{"model":"m","input":"a few words to embed","dimensions":4}`
		for i := range 5 {
			if a := r.post("/v1/embeddings", body); a.status != 200 {
				t.Errorf("%s, request %d: %d %s", provider, i, a.status, a.body)
			}
		}
		if a := r.post("/v1/embeddings", strings.Replace(body, "a few", strings.Repeat("many ", 100), 1)); a.status != 429 {
			t.Errorf("%s: a large one is not held: %d", provider, a.status)
		}
	}
}

// A count over a stored response is held to what generation is: another's is not found, and where nobody
// keeps it there is no estimate of it.
func TestCountsOfStoredResponses(t *testing.T) {
	count := func(r *rig, id string, header ...string) answer {
		return r.post("/v1/responses/input_tokens", `{"model":"m","input":"go on","previous_response_id":"`+id+`"}`, header...)
	}
	r := newRig(t, func(v *api.NodeView) {
		shared(v)
		only(llm.OpenAIResponses)(v)
	})
	var first struct{ ID string }
	a := r.post("/v1/responses", `{"model":"m","input":"hello"}`)
	decodeJSON(t, a.body, &first)
	if a := count(r, first.ID); a.status != 200 || strings.Contains(r.sent.Load().(string), first.ID) {
		t.Errorf("its own: %d %s, sent %s", a.status, a.body, r.sent.Load())
	}
	if a := count(r, first.ID, "Authorization", "Bearer "+otherKey); a.status != 400 || !strings.Contains(a.body, "previous_response_not_found") || len(r.last().Attempts) != 0 {
		t.Errorf("another tenant's: %d %s", a.status, a.body)
	}
	r = newRig(t, only(llm.OpenAIChat))
	if a := count(r, first.ID); a.status != 400 || !strings.Contains(a.body, "previous_response_id") {
		t.Errorf("where nobody keeps it: %d %s", a.status, a.body)
	}
}
