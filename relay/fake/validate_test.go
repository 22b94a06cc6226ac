package fake

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestRefusesWhatTheVendorsRefuse: a relay that rewrites a request into something that its vendor
// would refuse must see that here.
func TestRefusesWhatTheVendorsRefuse(t *testing.T) {
	chat := func(b string) *http.Request { return openAIPost("/v1/chat/completions", b) }
	resp := func(b string) *http.Request { return openAIPost("/v1/responses", b) }
	old := claudePost
	recent := func(b string) *http.Request {
		return post("/v1/messages", b, "Authorization", "Bearer k", "Anthropic-Version", anthropicNew)
	}
	count := func(b string) *http.Request {
		return post("/v1/messages/count_tokens", b, "X-Api-Key", "k", "Anthropic-Version", anthropicOld)
	}
	gem := func(b string) *http.Request {
		return post("/v1beta/models/gemini-3-flash-preview:generateContent?key=k", b)
	}
	const hi = `"messages":[{"role":"user","content":"hi"}]`
	const claude = `"model":"claude-opus-4-7","max_tokens":2000,` + hi
	const toolC = `,"tools":[{"type":"function","function":{"name":"w"}}]`
	const toolA = `,"tools":[{"name":"w","input_schema":{"type":"object"}}]`
	for _, c := range []struct {
		why string
		r   *http.Request
		has string // "" = accepted
	}{
		{"broken JSON", chat(`{"model":`), "could not parse"},
		{"not an object", chat(`[]`), `"type":"invalid_request_error"`},
		{"a member twice", chat(`{"model":"fake","model":"fake",` + hi + `}`), "could not parse"},
		{"invalid UTF-8", chat("{\"model\":\"fa\xffke\"," + hi + `}`), "could not parse"},
		{"data behind the value", chat(`{"model":"fake",` + hi + `} {}`), "could not parse"},
		{"no body", chat(``), "could not parse"},
		{"chat: unknown member", chat(`{"model":"fake","max_output_tokens":5,` + hi + `}`), `"param":"max_output_tokens","code":"unknown_parameter"`},
		{"chat: unknown member inside", chat(`{"model":"fake","messages":[{"role":"user","content":"x","cache_control":{}}]}`), `"param":"messages[0].cache_control"`},
		{"chat: no model", chat(`{` + hi + `}`), "must provide a model"},
		{"chat: no messages", chat(`{"model":"fake"}`), `"code":"missing_required_parameter"`},
		{"chat: empty messages", chat(`{"model":"fake","messages":[]}`), `"code":"empty_array"`},
		{"chat: wrong type", chat(`{"model":"fake","messages":"hi"}`), "expected an array, but got a string"},
		{"chat: temperature", chat(`{"model":"fake","temperature":3,` + hi + `}`), "decimal_above_max_value"},
		{"chat: role", chat(`{"model":"fake","messages":[{"role":"robot","content":"x"}]}`), "Supported values are: 'system'"},
		{"chat: part", chat(`{"model":"fake","messages":[{"role":"user","content":[{"type":"image"}]}]}`), "Invalid value: 'image'"},
		{"chat: stream_options alone", chat(`{"model":"fake","stream_options":{"include_usage":true},` + hi + `}`), `"param":"stream_options"`},
		{"chat: both limits", chat(`{"model":"fake","max_tokens":1,"max_completion_tokens":1,` + hi + `}`), "invalid_parameter_combination"},
		{"chat: max_tokens and reasoning", chat(`{"model":"gpt-5","max_tokens":1,` + hi + `}`), "Use 'max_completion_tokens' instead"},
		{"chat: five stops", chat(`{"model":"fake","stop":["a","b","c","d","e"],` + hi + `}`), "array_above_max_length"},
		{"chat: effort of a model that does not reason", chat(`{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"reasoning_effort":"low"}`), "Unrecognized request argument supplied: reasoning_effort"},
		{"chat: no such effort", chat(`{"model":"gpt-5","messages":[{"role":"user","content":"x"}],"reasoning_effort":"huge"}`), "Invalid value: 'huge'"},
		{"responses: effort of a model that does not reason", openAIPost("/v1/responses", `{"model":"gpt-4o","input":"x","client_metadata":{"cli":"1"},"reasoning":{"effort":"low"}}`), "'reasoning.effort' is not supported"},
		{"responses: no such effort", openAIPost("/v1/responses", `{"model":"gpt-5","input":"x","reasoning":{"effort":"huge"}}`), "Invalid value: 'huge'"},
		{"chat: tool result from nowhere", chat(`{"model":"fake","messages":[{"role":"tool","tool_call_id":"x","content":"y"}]}`), "preceeding message"},
		{"chat: tool call without result", chat(`{"model":"fake","messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"w","arguments":"{}"}}]},{"role":"user","content":"x"}]` + toolC + `}`), "did not have response messages: c"},
		{"chat: tool_choice alone", chat(`{"model":"fake","tool_choice":"auto",` + hi + `}`), "only allowed when 'tools'"},
		{"chat: tool name", chat(`{"model":"fake","tools":[{"type":"function","function":{"name":"a b"}}],` + hi + `}`), "does not match pattern"},
		{"chat: json mode without the word", chat(`{"model":"fake","response_format":{"type":"json_object"},` + hi + `}`), "must contain the word 'json'"},
		{"chat: null counts as absent", chat(`{"model":"fake","stop":null,"tools":null,"tool_choice":null,"parallel_tool_calls":null,"max_tokens":null,"stream_options":null,` + hi + `}`), ""},
		// protocols.md 0.5: Responses has no stop, n, seed, logit_bias or penalties.
		{"responses: stop", resp(`{"model":"fake","input":"x","stop":"y"}`), `"param":"stop","code":"unknown_parameter"`},
		{"responses: max_output_tokens under 16", resp(`{"model":"fake","input":"x","max_output_tokens":15}`), "integer_below_min_value"},
		{"responses: output without call", resp(`{"model":"fake","input":[{"type":"function_call_output","call_id":"x","output":"y"}]}`), "No tool call found"},
		{"responses: call without output", resp(`{"model":"fake","input":[{"type":"function_call","call_id":"x","name":"w","arguments":"{}"}]}`), "No tool output found"},
		{"responses: foreign previous_response_id", resp(`{"model":"fake","input":"x","previous_response_id":"resp_1"}`), "previous_response_not_found"},
		{"responses: chat's content type", resp(`{"model":"fake","input":[{"role":"user","content":[{"type":"image"}]}]}`), "invalid_value"},
		{"messages: no version", post("/v1/messages", `{`+claude+`}`, "X-Api-Key", "k"), "anthropic-version: header is required"},
		{"messages: wrong version", post("/v1/messages", `{`+claude+`}`, "X-Api-Key", "k", "Anthropic-Version", "2024-01-01"), "not a valid version"},
		{"messages: no max_tokens", old(`{"model":"fake",` + hi + `}`), "max_tokens: Field required"},
		{"messages: unknown member", old(`{` + claude + `,"n":1}`), "n: Extra inputs are not permitted"},
		// protocols.md 0.1: the version of 2026-10-21 takes no sampling parameters, even at their defaults.
		{"messages: temperature, new version", recent(`{` + claude + `,"temperature":1}`), "temperature: Extra inputs are not permitted"},
		{"messages: top_k, new version", recent(`{` + claude + `,"top_k":1}`), "top_k: Extra inputs"},
		{"messages: temperature 1, old version", old(`{` + claude + `,"temperature":1}`), ""},
		{"messages: temperature 0.5, old version, new model", old(`{` + claude + `,"temperature":0.5}`), "may only be set to 1"},
		{"messages: document of the assistant, new version", recent(`{"model":"fake","max_tokens":1,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"document","source":{"type":"text","data":"x"}}]},{"role":"user","content":"x"}]}`), "not permitted in `assistant`"},
		{"messages: citations on user text, new version", recent(`{"model":"fake","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"x","citations":[{}]}]}]}`), "citations are not permitted"},
		{"messages: system inside", recent(`{"model":"fake","max_tokens":1,"messages":[{"role":"user","content":"x"},{"role":"system","content":"y"},{"role":"user","content":"z"}]}`), ""},
		{"messages: empty text", old(`{"model":"fake","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":""}]}]}`), "text content blocks must be non-empty"},
		{"messages: role", old(`{"model":"fake","max_tokens":1,"messages":[{"role":"tool","content":"x"}]}`), "Unexpected role"},
		{"messages: tool_use id", old(`{"model":"fake","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a.b","name":"w","input":{}}]}]` + toolA + `}`), "should match pattern"},
		{"messages: tool_use unanswered", old(`{"model":"fake","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"w","input":{}}]},{"role":"user","content":"x"}]` + toolA + `}`), "without `tool_result` blocks immediately after: a"},
		{"messages: results split over two messages", old(`{"model":"fake","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"w","input":{}},{"type":"tool_use","id":"b","name":"w","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"1"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":"2"}]}]` + toolA + `}`), "immediately after: b"},
		{"messages: text before a result", old(`{"model":"fake","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"w","input":{}}]},{"role":"user","content":[{"type":"text","text":"x"},{"type":"tool_result","tool_use_id":"a"}]}]` + toolA + `}`), "must come before any text"},
		{"messages: tool history without tools", old(`{"model":"fake","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"w","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}]}`), "must define tools"},
		{"messages: prefill on a new model", old(`{"model":"claude-opus-4-7","max_tokens":1,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}`), "prefill"},
		{"messages: prefill on an older one", old(`{"model":"claude-haiku-4-5","max_tokens":1,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}`), ""},
		{"messages: small thinking budget", old(`{` + claude + `,"thinking":{"type":"enabled","budget_tokens":10}}`), "greater than or equal to 1024"},
		{"messages: budget over max_tokens", old(`{` + claude + `,"thinking":{"type":"enabled","budget_tokens":2000}}`), "must be greater than `thinking.budget_tokens`"},
		{"messages: thinking and forced tool", old(`{` + claude + toolA + `,"tool_choice":{"type":"any"},"thinking":{"type":"adaptive"}}`), "forces tool use"},
		{"messages: schema without type object", old(`{` + claude + `,"tools":[{"name":"w","input_schema":{}}]}`), "input_schema.type: Input should be 'object'"},
		{"count_tokens: max_tokens", count(`{` + claude + `}`), "max_tokens: Extra inputs"},
		{"count_tokens", count(`{"model":"fake",` + hi + `}`), ""},
		{"gemini: unknown member", gem(`{"contents":[{"parts":[{"text":"x"}]}],"messages":[]}`), `Unknown name \"messages\": Cannot find field.`},
		{"gemini: unknown member inside", gem(`{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"maxTokens":1}}`), `Unknown name \"maxTokens\" at 'generationConfig'`},
		{"gemini: snake_case", gem(`{"system_instruction":{"parts":{"text":"s"}},"contents":{"role":"user","parts":{"text":"x"}},"generation_config":{"top_p":0.5,"stop_sequences":["q"]}}`), ""},
		{"gemini: no contents", gem(`{}`), "contents is not specified"},
		{"gemini: role", gem(`{"contents":[{"role":"assistant","parts":[{"text":"x"}]}]}`), "valid role: user, model"},
		{"gemini: six stops", gem(`{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"stopSequences":["a","b","c","d","e","f"]}}`), "at most 5"},
		{"gemini: candidates", gem(`{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"candidateCount":2}}`), "Multiple candidates"},
		// protocols.md 0.6: Gemini 3 refuses a replayed call of the current turn without its signature.
		{"gemini: unsigned call", gem(`{"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"functionCall":{"name":"w","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"w","response":{}}}]}]}`), "missing a thought_signature"},
		{"gemini: signed call", gem(`{"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"functionCall":{"name":"w","args":{}},"thoughtSignature":"c2ln"}]},{"role":"user","parts":[{"functionResponse":{"name":"w","response":{}}}]}]}`), ""},
		{"gemini: unsigned call of an older turn", gem(`{"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"functionCall":{"name":"w","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"w","response":{}}}]},{"role":"model","parts":[{"text":"y"}]},{"role":"user","parts":[{"text":"z"}]}]}`), ""},
		{"gemini: missing response", gem(`{"contents":[{"role":"model","parts":[{"functionCall":{"name":"w","args":{}},"thoughtSignature":"c2ln"},{"functionCall":{"name":"w","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"w","response":{}}}]}]}`), "number of function response parts"},
		{"gemini: schema without JSON", gem(`{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"responseSchema":{"type":"OBJECT"}}}`), "only supported with response_mime_type"},
	} {
		code, _, b := serve(New(Options{}), c.r)
		b = compact(b)
		if (code == http.StatusOK) != (c.has == "") || code != http.StatusOK && code != http.StatusBadRequest || !strings.Contains(b, c.has) {
			t.Errorf("%s: %d %s; want %q", c.why, code, b, c.has)
		}
	}
}

func TestTooLarge(t *testing.T) {
	code, _, b := serve(New(Options{}), openAIPost("/v1/chat/completions", `{"model":"`+strings.Repeat("x", maxBody)+`"}`))
	if code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", code, clip(b, 200))
	}
	for _, r := range []*http.Request{
		claudePost(`{"model":"fake","max_tokens":1,"messages":[{"role":"user","content":` + quote(strings.Repeat("word ", 250_000)) + `}]}`),
		openAIPost("/v1/responses", `{"model":"fake","input":`+quote(strings.Repeat("word ", 500_000))+`}`),
	} {
		if code, _, b := serve(New(Options{}), r); code != 400 || !strings.Contains(b, "too long") && !strings.Contains(b, "context_length_exceeded") {
			t.Errorf("%d %s", code, clip(b, 200))
		}
	}
}

// FuzzRequests: whatever arrives is answered with 200 or 4xx and never with a panic, and equal
// requests with equal bodies.
func FuzzRequests(f *testing.F) {
	for i, a := range apis() {
		for _, stream := range []bool{false, true} {
			r := a.req("fake", "use the tool", stream, "")
			b := make([]byte, r.ContentLength)
			_, _ = r.Body.Read(b)
			f.Add(i, string(b))
		}
	}
	f.Add(0, `{"model":"fake","messages":[{"role":"user","content":"x"}],"tools":[{"function":{"name":"w","parameters":{"$ref":"#/a/b"}}}],"tool_choice":"required"}`)
	f.Add(2, `{"model":"fake","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result"}]}],"tools":[{"input_schema":{"type":["object"],"anyOf":[]}}]}`)
	f.Fuzz(func(t *testing.T, i int, body string) {
		paths := []string{"/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1beta/models/fake:generateContent", "/v1/embeddings", "/v1beta/models/fake:streamGenerateContent", "/v1beta/models/fake:batchEmbedContents", "/v1/messages/count_tokens", "/v1/responses/input_tokens"}
		path := paths[uint(i)%uint(len(paths))]
		if strings.Contains(body, "fake-") {
			return // the slow and the hanging one
		}
		s := New(Options{})
		req := func() *http.Request {
			return post(path, body, "Authorization", "Bearer k", "Anthropic-Version", anthropicOld)
		}
		c1, _, b1 := serve(s, req())
		c2, _, b2 := serve(New(Options{TokenDelay: time.Nanosecond}), req())
		if c1 != c2 || c1 == http.StatusOK && b1 != b2 || c1 != http.StatusOK && (c1 < 400 || c1 > 499) {
			t.Fatalf("%d %d\n%s\n%s", c1, c2, b1, b2)
		}
	})
}

// discard is a ResponseWriter that costs nothing, so that the benchmark measures the provider.
type discard struct {
	h http.Header
	n int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Flush()                      {}

func benchmark(b *testing.B, prompt string, stream bool) {
	for _, a := range apis() {
		b.Run(a.name, func(b *testing.B) {
			s := New(Options{})
			r := a.req("fake", prompt, stream, "")
			body := make([]byte, r.ContentLength)
			_, _ = r.Body.Read(body)
			w := &discard{h: http.Header{}}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				r.Body = &replay{data: string(body)}
				s.ServeHTTP(w, r)
			}
		})
	}
}

type replay struct {
	data string
	at   int
}

func (r *replay) Read(p []byte) (int, error) {
	if r.at == len(r.data) {
		return 0, io.EOF
	}
	n := copy(p, r.data[r.at:])
	r.at += n
	return n, nil
}
func (r *replay) Close() error { return nil }

func BenchmarkUnary400B(b *testing.B)  { benchmark(b, strings.Repeat("a few words ", 25), false) }
func BenchmarkUnary100KB(b *testing.B) { benchmark(b, strings.Repeat("a few words ", 8400), false) }
func BenchmarkStream(b *testing.B)     { benchmark(b, "fake:tokens=100", true) }

// TestTextDocumentsCount: a long document costs what its text does, not what a picture does.
func TestTextDocumentsCount(t *testing.T) {
	long := strings.Repeat("a word ", 10_000)
	body := `{"model":"fake","messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"` + long + `"}}]}]}`
	r := post("/v1/messages/count_tokens", body, "X-Api-Key", "k", "Anthropic-Version", anthropicOld)
	w := httptest.NewRecorder()
	New(Options{}).ServeHTTP(w, r)
	var got struct {
		Tokens int64 `json:"input_tokens"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Tokens < 10_000 {
		t.Errorf("%d tokens, %v: %s", got.Tokens, err, w.Body)
	}
}
