package edge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/node/passage"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func TestParsePassage(t *testing.T) {
	anthropic := http.Header{"Anthropic-Version": {"2023-06-01"}}
	for _, c := range []struct {
		path     string
		hint     llm.Dialect
		h        http.Header
		pattern  string
		dialect  llm.Dialect
		upstream string
		response string
	}{
		{"/v1/completions", "", nil, "/v1/completions", llm.OpenAIChat, "/completions", ""},
		{"/v1/files", "", nil, "/v1/files", llm.OpenAIChat, "/files", ""},
		{"/v1/files", "", anthropic, "/v1/files", llm.AnthropicMessages, "/v1/files", ""},
		{"/v1/files", llm.AnthropicMessages, nil, "/v1/files", llm.AnthropicMessages, "/v1/files", ""},
		{"/v1/files", llm.OpenAIChat, anthropic, "/v1/files", llm.OpenAIChat, "/files", ""},
		{"/v1/files/file-1_a/content", "", nil, "/v1/files/{id}/content", llm.OpenAIChat, "/files/file-1_a/content", ""},
		{"/v1/responses/compact", "", nil, "/v1/responses/compact", llm.OpenAIResponses, "/responses/compact", ""},
		{"/v1/responses/resp_1", "", nil, "/v1/responses/{id}", llm.OpenAIResponses, "/responses/resp_1", "resp_1"},
		{"/v1/responses/resp_1/cancel", llm.OpenAIChat, nil, "/v1/responses/{id}/cancel", llm.OpenAIResponses, "/responses/resp_1/cancel", "resp_1"},
		{"/v1/messages/batches/b/results", "", nil, "/v1/messages/batches/{id}/results", llm.AnthropicMessages, "/v1/messages/batches/b/results", ""},
		{"/v1beta/files/abc:download", "", nil, "/v1beta/files/{id}:download", llm.Gemini, "/v1beta/files/abc:download", ""},
		{"/upload/v1beta/files", "", nil, "/upload/v1beta/files", llm.Gemini, "/upload/v1beta/files", ""},
	} {
		o, ok := parsePassage(c.path, c.hint, c.h)
		if !ok || o.pass.Pattern != c.pattern || o.dialect != c.dialect || o.path != c.upstream || o.response != c.response {
			t.Errorf("%s: %+v", c.path, o)
		}
	}
	for _, path := range []string{
		"/v1/files/", "/v1/files/../models", "/v1/files/.", "/v1/files/a b", "/v1/files/a?b", "/v1/files/a%2fb", "/v1/files/é", "/v1/files/a/content/b",
		"/v1/responses/", "/v1/responses//cancel", "/v1beta/files/:download", "/v1beta/files/a:upload", "/upload/v1beta/models", "/v1/fine_tuning/jobs", "/v1/assistants",
		"/v1/files/" + strings.Repeat("a", 600),
	} {
		if o, ok := parsePassage(path, "", nil); ok {
			t.Errorf("%s is served as %s", path, o.pass.Pattern)
		}
	}
}

func accounts(ids ...string) (out []*view.Provider) {
	for _, id := range ids {
		out = append(out, &view.Provider{ID: id, Spec: state.Provider{ID: id}})
	}
	return out
}

func TestMarkBindsTenantAccountAndID(t *testing.T) {
	k, other := newTokens([]byte("pepper")), newTokens([]byte("another pepper"))
	both := accounts("a", "b")
	id := "resp_1" + k.mark("acme", "b", "resp_1")
	if raw, p, ok := k.unmark("acme", id, both); !ok || raw != "resp_1" || p != both[1] {
		t.Fatalf("%q %v %v", raw, p, ok)
	}
	if p, got := passage.Find("/v1/responses/"+id, "", nil); p == nil || got != id {
		t.Errorf("%q does not fit into a path", id)
	}
	for why, bad := range map[string]struct {
		k      *tokens
		tenant string
		id     string
		among  []*view.Provider
	}{
		"another tenant":       {k, "evil", id, both},
		"another mesh":         {other, "acme", id, both},
		"an account that left": {k, "acme", id, both[:1]},
		"another id":           {k, "acme", "resp_2" + id[len("resp_1"):], both},
		"a shifted border":     {k, "acmeb", "resp_1" + k.mark("acme", "bresp_1", ""), both},
		"cut":                  {k, "acme", id[:len(id)-1], both},
		"longer":               {k, "acme", id + "A", both},
		"other spelling":       {k, "acme", strings.ToUpper(id), both},
		"none":                 {k, "acme", "resp_1", both},
		"a mark alone":         {k, "acme", k.mark("acme", "b", ""), both},
	} {
		if raw, _, ok := bad.k.unmark(bad.tenant, bad.id, bad.among); ok {
			t.Errorf("%s: taken for %q", why, raw)
		}
	}
}

func FuzzUnmark(f *testing.F) {
	k, among := newTokens([]byte("pepper")), accounts("a")
	f.Add("resp_1" + k.mark("acme", "a", "resp_1"))
	f.Add("_cw")
	f.Fuzz(func(t *testing.T, id string) {
		raw, p, ok := k.unmark("acme", id, among)
		if ok && (raw+k.mark("acme", p.ID, raw) != id || raw == "") {
			t.Fatalf("%q was read as %q", id, raw)
		}
		if marked := id + k.mark("acme", "a", id); id != "" {
			if raw, _, ok := k.unmark("acme", marked, among); !ok || raw != id {
				t.Fatalf("%q does not come back: %q", id, raw)
			}
		}
	})
}

func TestSealedURL(t *testing.T) {
	k := newTokens([]byte("pepper"))
	now := time.Unix(1_800_000_000, 0)
	token := k.sealURL("acme", "gemini", "/upload/v1beta/files?upload_id=secret", now)
	if p, target, ok := k.openURL("acme", token, now.Add(sealedFor-time.Minute)); !ok || p != "gemini" || target != "/upload/v1beta/files?upload_id=secret" {
		t.Errorf("%q %q %v", p, target, ok)
	}
	if strings.Contains(token, "secret") || token == k.sealURL("acme", "gemini", "/upload/v1beta/files?upload_id=secret", now) {
		t.Error("the token shows what it holds")
	}
	flipped := []byte(token)
	flipped[30] ^= 1
	for why, c := range map[string]struct {
		k     *tokens
		who   string
		token string
		at    time.Time
	}{
		"expired":        {k, "acme", token, now.Add(sealedFor + time.Minute)},
		"another tenant": {k, "evil", token, now},
		"another mesh":   {newTokens([]byte("other")), "acme", token, now},
		"changed":        {k, "acme", string(flipped), now},
		"cut":            {k, "acme", token[:20], now},
		"empty":          {k, "acme", "", now},
		"no token":       {k, "acme", "https://evil.example/", now},
	} {
		if p, target, ok := c.k.openURL(c.who, c.token, c.at); ok {
			t.Errorf("%s: leads to %s%s", why, p, target)
		}
	}
}

func FuzzOpenURL(f *testing.F) {
	k := newTokens([]byte("pepper"))
	f.Add(k.sealURL("other", "p", "/x", time.Now()))
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		if _, _, ok := k.openURL("acme", token, time.Now()); ok {
			t.Fatalf("%q was not sealed for this tenant", token)
		}
	})
}

// An upload goes on at the provider's own host, below its base URL, or not at all.
func TestUploadsStayBelowTheBaseURL(t *testing.T) {
	for _, c := range []struct{ base, target, want string }{
		{"https://g.example", "https://g.example/upload/v1beta/files?upload_id=1", "/upload/v1beta/files?upload_id=1"},
		{"https://gw.example/google", "https://gw.example/google/upload/v1beta/files?a=b", "/upload/v1beta/files?a=b"},
		{"https://gw.example/google/", "https://gw.example/google/upload/v1beta/files?", "/upload/v1beta/files?"},
		{"https://g.example", "https://g.example/upload/v1beta/corpora?a=b", ""},
		{"https://g.example", "https://evil.example/upload/v1beta/files", ""},
		{"https://g.example", "https://g.example.evil.example/upload/x", ""},
		{"https://g.example", "https://g.example@evil.example/upload/x", ""},
		{"https://g.example", "https://user@g.example/upload/x", ""},
		{"https://g.example", "http://g.example/upload/x", ""},
		{"https://g.example", "https://g.example:444/upload/x", ""},
		{"https://g.example", "//evil.example/upload/x", ""},
		{"https://g.example", "https://g.example/v1beta/files", ""},
		{"https://g.example", "https://g.example/upload/../v1beta/models", ""},
		{"https://g.example", "https://g.example/upload/%2e%2e/v1beta/models", ""},
		{"https://g.example", "https://g.example/upload//x", ""},
		{"https://gw.example/google", "https://gw.example/upload/x", ""},
		{"https://g.example", "http://169.254.169.254/upload/x", ""},
		{"https://g.example", "%zz", ""},
	} {
		got, ok := below(c.base, "/upload/v1beta/files", c.target)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s below %s: %q, %v", c.target, c.base, got, ok)
		}
	}
}

// Addresses stand in any order in an answer.
func TestRelinkInAnyOrder(t *testing.T) {
	x := &exchange{r: httptest.NewRequest(http.MethodGet, "http://edge.example/", http.NoBody), op: operation{prefix: "/anthropic"}}
	list, own := `"data":[{"results_url":"https://v.example/v1/messages/batches/a/results"},{"results_url":null}]`, `"results_url":"https://v.example/v1/messages/batches/b/results"`
	for _, doc := range []string{"{" + list + "," + own + "}", "{" + own + "," + list + "}"} {
		want := strings.ReplaceAll(doc, "https://v.example", "http://edge.example/anthropic")
		if got := string(new(Server).relink(x, []byte(doc))); got != want {
			t.Errorf("%s\nbecomes %s", doc, got)
		}
	}
}

// Large numbers that a client states must not turn into a small reservation.
func TestStatedTokensDoNotOverflow(t *testing.T) {
	for _, h := range []dialect.Head{
		{MaxOutput: 999_999_999_999_999_999, Choices: 10},
		{MaxOutput: 999_999_999_999_999_999, Choices: 999_999_999_999_999_999},
		{MaxOutput: 1 << 40, Choices: 1},
	} {
		x := &exchange{op: operation{op: llm.OpGenerate}, head: h, model: &view.Model{}, body: []byte(`{}`)}
		if n := most(x); n < maxStated {
			t.Errorf("%d x %d reserves %d", h.MaxOutput, h.Choices, n)
		}
	}
}
