package passage_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/node/passage"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// What an edge finds for a client is what an exit permits, and nothing else is.
func TestExitsPermitWhatEdgesFind(t *testing.T) {
	for path, methods := range map[string]string{
		"/v1/completions": "POST", "/v1/responses/resp_1": "GET DELETE", "/v1/responses/resp_1/cancel": "POST", "/v1/files": "GET POST",
		"/v1/messages/batches/b/results": "GET", "/v1beta/files/a:download": "GET", "/v1beta/cachedContents/c": "GET PATCH DELETE", "/upload/v1beta/files": "POST PUT",
	} {
		p, _ := passage.Find(path, "", nil)
		if p == nil {
			t.Fatalf("%s is not found", path)
		}
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "get", "", "GET, POST"} {
			want := false
			for m := range strings.FieldsSeq(methods) {
				want = want || m == method
			}
			if got := passage.Permits(p.Dialect, p.Op, method, p.Upstream(path)); got != want {
				t.Errorf("%s %s: %v, want %v", method, path, got, want)
			}
		}
	}
	for _, c := range []struct {
		d      llm.Dialect
		op     llm.Op
		method string
		path   string
	}{
		{llm.OpenAIChat, llm.OpStored, "GET", "/fine_tuning/jobs"},
		{llm.OpenAIChat, llm.OpStored, "GET", "/organization/admin_api_keys"},
		{llm.OpenAIChat, llm.OpStored, "GET", "/files/../organization/users"},
		{llm.OpenAIChat, llm.OpStored, "GET", "/files/a?b"},
		{llm.OpenAIChat, llm.OpStored, "GET", "/v1/files"},     // the base URL ends in /v1
		{llm.OpenAIChat, llm.OpStored, "POST", "/completions"}, // costs tokens
		{llm.OpenAIChat, llm.OpComplete, "GET", "/files"},      // costs none
		{llm.AnthropicMessages, llm.OpStored, "GET", "/v1beta/files"},
		{llm.Gemini, llm.OpStored, "POST", "/upload/v1beta/corpora"},
		{"", llm.OpStored, "GET", "/files"},
	} {
		if passage.Permits(c.d, c.op, c.method, c.path) {
			t.Errorf("%s %s as %s of %q is permitted", c.method, c.path, c.op, c.d)
		}
	}
	if !passage.Has(llm.OpStored) || passage.Has(llm.OpGenerate) {
		t.Error("the table holds what is stored, and not generation")
	}
}
