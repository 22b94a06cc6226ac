package registry_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// providerErrors are answers as the vendors give them (protocols.md 1 and 2.5; recorded where one is).
var providerErrors = []struct {
	name   string
	d      llm.Dialect
	status int
	header map[string]string
	body   string
}{
	{"rate", llm.OpenAIChat, 429, map[string]string{"Retry-After-Ms": "1250"}, `{"error":{"message":"Rate limit reached for gpt-x in organization org-abc123 on tokens per min","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`},
	{"no money", llm.OpenAIResponses, 429, nil, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`},
	{"bad parameter", llm.OpenAIChat, 400, nil, `{"error":{"message":"Unsupported value: 'temperature' does not support 0.2 with this model.","type":"invalid_request_error","param":"temperature","code":"unsupported_value"}}`},
	{"too long", llm.OpenAIResponses, 400, nil, `{"error":{"message":"Your input exceeds the context window of this model.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}`},
	{"wrong key", llm.OpenAIChat, 401, nil, `{"error":{"message":"Incorrect API key provided: sk-proj-abcd1234","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`},
	{"down", llm.OpenAIChat, 503, map[string]string{"Retry-After": "20"}, `{"error":{"message":"The server is overloaded","type":"server_error","param":null,"code":null}}`},
	{"overloaded", llm.AnthropicMessages, 529, nil, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}`},
	{"rate", llm.AnthropicMessages, 429, map[string]string{"Retry-After": "7"}, `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit"}}`},
	{"too long", llm.AnthropicMessages, 400, nil, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}`},
	{"too large", llm.AnthropicMessages, 413, nil, `{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}`},
	{"no model", llm.AnthropicMessages, 404, nil, `{"type":"error","error":{"type":"not_found_error","message":"model: claude-0"}}`},
	{"rate", llm.Gemini, 429, nil, `{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7.5s"}]}}`},
	{"wrong key", llm.Gemini, 400, nil, `{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}`},
	{"unknown field", llm.Gemini, 400, nil, `{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \"x\": Cannot find field.","status":"INVALID_ARGUMENT"}}`},
	{"deadline", llm.Gemini, 504, nil, `{"error":{"code":504,"message":"Deadline expired before operation could complete.","status":"DEADLINE_EXCEEDED"}}`},
	{"page of a proxy", llm.Gemini, 502, nil, `<html>Bad gateway</html>`},
}

// Every provider's error in every client's protocol: status, headers, type, code and message. Golden, so
// that a row is read when it changes.
func TestProviderErrorsGolden(t *testing.T) {
	t.Parallel()
	a := new(txtar.Archive)
	for _, e := range providerErrors {
		h := http.Header{}
		for k, v := range e.header {
			h.Set(k, v)
		}
		f := registry.Backend(e.d).DecodeFault(e.status, h, []byte(e.body))
		a.Files = append(a.Files, txtar.File{
			Name: fmt.Sprintf("%s %d %s", e.d, e.status, e.name),
			Data: fmt.Appendf(nil, "%s\nis %s, retry hint %v\n", e.body, f.Kind, f.RetryAfter),
		})
		for _, to := range llm.Dialects {
			r := registry.Frontend(to).EncodeFault(f, "req-1")
			a.Files = append(a.Files, txtar.File{
				Name: "for " + string(to),
				Data: fmt.Appendf(nil, "%d retry-after %q x-should-retry %q\n%s\n", r.Status, r.Header.Get("Retry-After"), r.Header.Get("X-Should-Retry"), r.Body),
			})
			if f.Kind == fault.UpstreamAuth && r.Status < 500 {
				t.Errorf("%s %s to %s: %d would make the client throw away its own key", e.d, e.name, to, r.Status)
			}
		}
	}
	path := filepath.Join("testdata", "provider-errors.txtar")
	got := txtar.Format(a)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("(-golden +got; rewrite with -update):\n%s", d)
	}
}
