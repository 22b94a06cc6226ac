package node_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

const otherKey = "cw_other_0123456789abcdef0123456789"

// shared adds a second tenant with a key of its own, for whom the accounts are open too.
func shared(v *api.NodeView) {
	v.Tenants = append(v.Tenants, state.Tenant{ID: "other", Home: "US"})
	v.Keys = append(v.Keys, state.Key{ID: "other", Tenant: "other", Hash: hashed(v.Pepper, otherKey)})
}

// idOf gives the top-level id of an answer.
func idOf(t *testing.T, body string) string {
	t.Helper()
	var a struct{ ID string }
	decodeJSON(t, body, &a)
	if a.ID == "" {
		t.Fatalf("no id in %s", body)
	}
	return a.ID
}

func marked(id string) bool { return len(id) > 25 && strings.HasPrefix(id[len(id)-25:], "_cw") }

// With one account that is the tenant's own, nothing about stored responses changes on the way.
func TestResponseIDsStayWhereTheyMeanOneThing(t *testing.T) {
	r := newRig(t, nil)
	const body = `{"model":"gpt-4o","input":"one"}`
	a := r.post("/v1/responses", body)
	id := idOf(t, a.body)
	if a.status != 200 || marked(id) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	follow := `{"model":"gpt-4o","input":"two","previous_response_id":"` + id + `"}`
	if a = r.post("/v1/responses", follow); a.status != 200 || r.sent.Load() != follow {
		t.Errorf("%d %s, sent %s", a.status, a.body, r.sent.Load())
	}
	if a = r.do(http.MethodGet, "/v1/responses/"+id, ""); a.status != 200 || idOf(t, a.body) != id {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = r.post("/v1/responses", `{"model":"gpt-4o","input":"x","previous_response_id":"resp_none"}`); a.status != 400 || !strings.Contains(a.body, "previous_response_not_found") {
		t.Errorf("the vendor's own refusal: %d %s", a.status, a.body)
	}
}

// Where tenants share an account, or a tenant has several, ids carry a mark that binds them.
func TestStoredResponsesBelongToTheirTenant(t *testing.T) {
	r := newRig(t, shared)
	a := r.post("/v1/responses", `{"model":"gpt-4o","input":"one"}`)
	id := idOf(t, a.body)
	if a.status != 200 || !marked(id) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	raw := id[:len(id)-25]
	a = r.post("/v1/responses", `{"previous_response_id" : "`+id+`","model":"gpt-4o","input":"two"}`)
	if want := `{"previous_response_id" : "` + raw + `","model":"gpt-4o","input":"two"}`; a.status != 200 || r.sent.Load() != want {
		t.Fatalf("%d %s\nsent %s", a.status, a.body, r.sent.Load())
	}
	var two struct {
		ID       string
		Previous string `json:"previous_response_id"`
	}
	decodeJSON(t, a.body, &two)
	if !marked(two.ID) || two.Previous != id {
		t.Errorf("the answer names %q after %q, want after %q", two.ID, two.Previous, id)
	}
	stream := r.post("/v1/responses", `{"model":"gpt-4o","input":"three","stream":true,"previous_response_id":"`+two.ID+`"}`)
	if n := strings.Count(stream.body, `"previous_response_id":"`+two.ID+`"`); stream.status != 200 || n != 3 {
		t.Errorf("created, in_progress and completed name what they follow: %d times\n%s", n, stream.body)
	}
	for line := range strings.Lines(stream.body) {
		if at := strings.Index(line, `"response":{"id":"`); at >= 0 {
			got, _, _ := strings.Cut(line[at+len(`"response":{"id":"`):], `"`)
			if !marked(got) {
				t.Errorf("an event names %q", got)
			}
		}
	}
	// None of these may reach the account.
	before := r.sent.Load()
	forged := raw + "_cw" + strings.Repeat("A", 22)
	for _, c := range []struct{ why, key, id string }{
		{"another tenant's", otherKey, id},
		{"without the mark", rigKey, raw},
		{"without the mark, of another tenant", otherKey, raw},
		{"forged", rigKey, forged},
		{"another id under the mark", rigKey, two.ID[:len(two.ID)-25] + id[len(id)-25:]},
	} {
		a := r.do(http.MethodPost, "/v1/responses", `{"model":"gpt-4o","input":"x","previous_response_id":"`+c.id+`"}`, "Authorization", "Bearer "+c.key)
		if a.status != 400 || !strings.Contains(a.body, `"code":"previous_response_not_found"`) || !strings.Contains(a.body, `"param":"previous_response_id"`) {
			t.Errorf("%s: %d %s", c.why, a.status, a.body)
		}
		for _, q := range [][2]string{{http.MethodGet, ""}, {http.MethodDelete, ""}, {http.MethodPost, "/cancel"}, {http.MethodGet, "/input_items"}} {
			if a := r.do(q[0], "/v1/responses/"+c.id+q[1], "", "Authorization", "Bearer "+c.key); a.status != 404 || len(r.last().Attempts) != 0 {
				t.Errorf("%s: %s%s gives %d %s", c.why, q[0], q[1], a.status, a.body)
			}
		}
	}
	if r.sent.Load() != before {
		t.Errorf("a refused request reached the provider: %s", r.sent.Load())
	}
	// Its own tenant reads, streams and deletes it.
	if a := r.do(http.MethodGet, "/v1/responses/"+id, ""); a.status != 200 || idOf(t, a.body) != id {
		t.Errorf("%d %s", a.status, a.body)
	}
	if o := r.last(); o.Endpoint != "/v1/responses/{id}" || o.UsageKind != edge.UsageUncounted || o.Usage.Output != 0 {
		t.Errorf("reading counted tokens again: %s %s %+v", o.Endpoint, o.UsageKind, o.Usage)
	}
	if a := r.do(http.MethodGet, "/v1/responses/"+id+"?stream=true", ""); a.status != 200 || !strings.Contains(a.body, `"id":"`+id+`"`) || r.last().Usage.Output != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.do(http.MethodDelete, "/v1/responses/"+id, ""); a.status != 200 || idOf(t, a.body) != id {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.do(http.MethodGet, "/v1/responses/"+id, ""); a.status != 404 || !strings.Contains(a.body, "not found") {
		t.Errorf("%d %s", a.status, a.body)
	}
	// What is not stored needs no mark.
	if a := r.post("/v1/responses", `{"model":"gpt-4o","input":"one","store":false}`); marked(idOf(t, a.body)) {
		t.Errorf("marked for nothing: %s", a.body)
	}
}

// What follows a response goes to the account that keeps it, and nowhere else.
func TestFollowUpsGoToTheAccountThatKeepsThem(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		second := v.Providers[0]
		second.ID = "second"
		second.Auth = state.Auth{Scheme: "bearer", Secrets: []state.Secret{{ID: "b", Value: "provider-secret-b", Weight: 1}}}
		v.Providers = append(v.Providers, second)
		v.Models = append(v.Models,
			state.Model{ID: "pair", Targets: []state.Target{{Provider: "openai", Model: "gpt-4o"}, {Provider: "second", Model: "gpt-4o"}, {Provider: "anthropic", Model: "fake", Tier: 1}}},
			state.Model{ID: "only-second", Targets: []state.Target{{Provider: "second", Model: "gpt-4o"}}},
			state.Model{ID: "falls-back", Targets: []state.Target{{Provider: "anthropic", Model: "fake-500"}}, Fallbacks: []string{"only-second"}},
			state.Model{ID: "claude", Targets: []state.Target{{Provider: "anthropic", Model: "fake"}}})
	})
	kept := map[string]string{}
	for len(kept) < 2 {
		a := r.post("/v1/responses", `{"model":"pair","input":"one"}`)
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		kept[r.last().Served.Provider] = idOf(t, a.body)
	}
	for provider, id := range kept {
		for range 5 {
			a := r.post("/v1/responses", `{"model":"pair","input":"two","previous_response_id":"`+id+`"}`)
			if o := r.last(); a.status != 200 || o.Served.Provider != provider {
				t.Fatalf("a response of %s: %d by %+v %s", provider, a.status, o.Served, a.body)
			}
		}
		if a := r.do(http.MethodGet, "/v1/responses/"+id, ""); a.status != 200 || r.last().Served.Provider != provider {
			t.Errorf("%d by %+v", a.status, r.last().Served)
		}
	}
	// A fallback may be what keeps it.
	if a := r.post("/v1/responses", `{"model":"falls-back","input":"two","previous_response_id":"`+kept["second"]+`"}`); a.status != 200 || r.last().Served.Provider != "second" {
		t.Errorf("%d by %+v: %s", a.status, r.last().Served, a.body)
	}
	refused := func(why, model, id string, status int, want string, header ...string) {
		t.Helper()
		a := r.do(http.MethodPost, "/v1/responses", `{"model":"`+model+`","input":"x","previous_response_id":"`+id+`"}`, header...)
		if a.status != status || !strings.Contains(a.body, want) || len(r.last().Attempts) != 0 {
			t.Errorf("%s: %d %s", why, a.status, a.body)
		}
	}
	refused("another account's model", "only-second", kept["openai"], 400, "does not serve this model")
	refused("another account by header", "pair", kept["openai"], 400, "x-causeway-provider", "X-Causeway-Provider", "second")
	refused("a provider of another dialect", "claude", kept["openai"], 400, "/previous_response_id")
	refused("a provider of another dialect, a foreign id", "claude", "resp_1", 400, "unsupported_conversion")
	// The account may not be used any more: the rule that forbids it is the answer.
	r.view.Index++
	r.view.Policy = state.Policy{Rules: []state.Rule{{ID: "stay", Allow: []string{"CN", "US", "DE"}}}}
	for i := range r.view.Providers {
		if r.view.Providers[i].ID == "openai" {
			r.view.Providers[i].Processing = []string{"FR"}
		}
	}
	r.apply()
	refused("an account that is forbidden now", "pair", kept["openai"], 403, "residency_denied")
}

// A header narrows any request to one account.
func TestOneAccountByName(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		second := v.Providers[0]
		second.ID = "second"
		theirs := v.Providers[0]
		theirs.ID, theirs.Tenant = "theirs", "other"
		v.Providers = append(v.Providers, second, theirs)
		shared(v)
		v.Models = []state.Model{
			{ID: "m", Targets: []state.Target{{Provider: "openai", Model: "gpt-4o"}, {Provider: "second", Model: "gpt-4o"}}},
			{ID: "private", Targets: []state.Target{{Provider: "theirs", Model: "gpt-4o"}}},
		}
	})
	for range 8 {
		if a := r.post("/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`, "X-Causeway-Provider", "second"); a.status != 200 || r.last().Served.Provider != "second" {
			t.Fatalf("%d by %+v", a.status, r.last().Served)
		}
	}
	for _, c := range []struct {
		key, model, provider string
		status               int
		want                 string
	}{
		{rigKey, "m", "nobody", 400, "x-causeway-provider"},
		{rigKey, "m", "theirs", 400, "x-causeway-provider"}, // like one that does not exist
		{rigKey, "m", "anthropic", 503, "no_route"},
		{rigKey, "private", "", 403, "permission_denied"},
		{otherKey, "private", "", 200, "chat.completion"},
	} {
		header := []string{"Authorization", "Bearer " + c.key}
		if c.provider != "" {
			header = append(header, "X-Causeway-Provider", c.provider)
		}
		if a := r.do(http.MethodPost, "/v1/chat/completions", `{"model":"`+c.model+`","messages":[{"role":"user","content":"hi"}]}`, header...); a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%+v: %d %s", c, a.status, a.body)
		}
	}
}

// An exit does not take an edge's word for whose account it is.
func TestExitKeepsAccountsToTheirTenant(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) { v.Providers[0].Tenant = "acme" })
	req := tunnel.Request{Tenant: "other", Provider: "openai", Dialect: "openai-chat", Model: "gpt-4o", Op: uint8(llm.OpGenerate), Method: http.MethodPost, Path: "/chat/completions"}
	_, err := r.exits["exit-us"].Call(t.Context(), &req, []byte(chatBody+"}"))
	if f := fault.As(err); f == nil || f.Kind != fault.ExitUnreachable || f.Phase != fault.NotSent || r.sent.Load() != nil {
		t.Errorf("another tenant: %v", err)
	}
	req.Tenant = "acme"
	a, err := r.exits["exit-us"].Call(t.Context(), &req, []byte(chatBody+"}"))
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
}

// Nor for what a call may be: an edge that has been taken over gets no more of a provider's API than clients.
func TestExitsSendWhatTheMeshOffers(t *testing.T) {
	r := newRig(t, nil)
	call := func(provider string, d llm.Dialect, model string, op llm.Op, method, path string) *fault.Error {
		req := tunnel.Request{Tenant: "acme", Provider: provider, Dialect: string(d), Model: model, Op: uint8(op), Method: method, Path: path}
		a, err := r.exits["exit-us"].Call(t.Context(), &req, []byte("{}"))
		if err != nil {
			return fault.As(err)
		}
		a.Close()
		return nil
	}
	r.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.sent.Store(q.Method + " " + q.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	})
	for _, c := range []struct {
		d            llm.Dialect
		model        string
		op           llm.Op
		method, path string
	}{
		{llm.OpenAIChat, "", llm.OpStored, http.MethodGet, "/organization/admin_api_keys"},
		{llm.OpenAIChat, "", llm.OpStored, http.MethodPut, "/files"},
		{llm.OpenAIChat, "", llm.OpStored, http.MethodPost, "/chat/completions"},
		{llm.OpenAIChat, "gpt-4o", llm.OpStored, http.MethodPost, "/fine_tuning/jobs"},
		{llm.OpenAIChat, "gpt-4o", llm.OpGenerate, http.MethodPost, "/fine_tuning/jobs"},
		{llm.OpenAIChat, "gpt-4o", llm.OpGenerate, http.MethodDelete, "/chat/completions"},
		{llm.OpenAIChat, "gpt-4o", llm.OpComplete, http.MethodPost, "/files"},
		{llm.OpenAIChat, "gpt-4o", llm.Op(99), http.MethodPost, "/files"},
		{llm.OpenAIChat, "", llm.OpGenerate, http.MethodPost, "/chat/completions"},
	} {
		f := call("openai", c.d, c.model, c.op, c.method, c.path)
		if f == nil || f.Kind != fault.ExitUnreachable || f.Phase != fault.NotSent || r.sent.Load() != nil {
			t.Errorf("%+v: %v, sent %v", c, f, r.sent.Load())
		}
	}
	for want, f := range map[string]*fault.Error{
		"GET /v1/files":             call("openai", llm.OpenAIChat, "", llm.OpStored, http.MethodGet, "/files"),
		"POST /v1/chat/completions": call("openai", llm.OpenAIChat, "gpt-4o", llm.OpGenerate, http.MethodPost, "/chat/completions"),
	} {
		if f != nil {
			t.Errorf("%s: %v", want, f)
		}
	}
}

// Which of the operator's organisations, projects or workspaces a credential acts for is not the client's
// to say.
func TestClientsDoNotChooseTheProject(t *testing.T) {
	r := newRig(t, nil)
	names := []string{"OpenAI-Organization", "OpenAI-Project", "Anthropic-Workspace-Id", "X-Goog-User-Project"}
	var got http.Header
	next := r.upstream.Config.Handler
	r.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		got = q.Header.Clone()
		next.ServeHTTP(w, q)
	})
	var header []string
	for _, n := range names {
		header = append(header, n, "theirs")
	}
	for _, path := range []string{"/v1/files", "/v1beta/files", "/anthropic/v1/files"} {
		if a := r.do(http.MethodGet, path, "", append(header, "X-Kept", "yes")...); a.status != 200 || got.Get("X-Kept") != "yes" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		for _, n := range names {
			if v := got.Get(n); v != "" {
				t.Errorf("%s: %s: %s reached the provider", path, n, v)
			}
		}
	}
}

// What is stored is for accounts of one tenant: in a shared one, nobody's list shows what others keep,
// since nobody can list.
func TestStoredThingsNeedAnAccountOfOnesOwn(t *testing.T) {
	paths := []struct{ method, path, body string }{
		{http.MethodGet, "/v1/files", ""},
		{http.MethodPost, "/v1/files", "x"},
		{http.MethodGet, "/v1/files/file-1", ""},
		{http.MethodDelete, "/v1/files/file-1", ""},
		{http.MethodGet, "/v1/files/file-1/content", ""},
		{http.MethodPost, "/v1/uploads", "{}"},
		{http.MethodGet, "/v1/batches", ""},
		{http.MethodPost, "/v1/batches", "{}"},
		{http.MethodGet, "/v1/batches/b", ""},
		{http.MethodPost, "/v1/conversations", "{}"},
		{http.MethodGet, "/v1/conversations/c", ""},
		{http.MethodGet, "/v1/messages/batches", ""},
		{http.MethodGet, "/v1/messages/batches/b/results", ""},
		{http.MethodGet, "/anthropic/v1/files", ""},
		{http.MethodGet, "/v1beta/files", ""},
		{http.MethodPost, "/upload/v1beta/files", "{}"},
		{http.MethodGet, "/v1beta/cachedContents", ""},
		{http.MethodPost, "/v1beta/cachedContents", `{"model":"models/gemini-pro"}`},
		{http.MethodPost, "/v1/responses", `{"model":"gpt-4o","input":"x","conversation":"conv_1"}`},
	}
	r := newRig(t, shared)
	for _, q := range paths {
		a := r.do(q.method, q.path, q.body)
		if o := r.last(); a.status != 403 || !strings.Contains(a.body, "account of its own") || len(o.Attempts) != 0 {
			t.Errorf("%s %s: %d %s", q.method, q.path, a.status, a.body)
		}
	}
	// With accounts of its own the same tenant may, and the other one still may not.
	r = newRig(t, func(v *api.NodeView) {
		shared(v)
		for i := range v.Providers {
			v.Providers[i].Tenant = "acme"
		}
	})
	for _, q := range paths {
		if a := r.do(q.method, q.path, q.body, "Authorization", "Bearer "+otherKey); a.status != 400 && a.status != 403 || len(r.last().Attempts) != 0 {
			t.Errorf("%s %s of another tenant: %d %s", q.method, q.path, a.status, a.body)
		}
		if a := r.do(q.method, q.path, q.body); strings.Contains(a.body, "account of its own") || len(r.last().Attempts) == 0 {
			t.Errorf("%s %s of the owner: %d %s", q.method, q.path, a.status, a.body)
		}
	}
}

func TestStoredThingsComeBack(t *testing.T) {
	r := newRig(t, nil)
	form, formType := formBody(t, "file", "{\"custom_id\":\"a\"}\n", "purpose", "batch")
	a := r.do(http.MethodPost, "/v1/files", form, "Content-Type", formType)
	if a.status != 200 || r.sent.Load() != form {
		t.Fatalf("%d %s", a.status, a.body)
	}
	file := idOf(t, a.body)
	if o := r.last(); o.Model != "(stored)" || o.UsageKind != edge.UsageUncounted || len(r.audit.intents) != 1 || len(r.audit.outcomes) != 1 {
		t.Errorf("%s %s, %d intents", o.Model, o.UsageKind, len(r.audit.intents))
	}
	if a := r.do(http.MethodPost, "/v1/files", strings.Repeat("x", 1<<20+1)); a.status != 413 || !strings.Contains(a.body, "in parts") {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, c := range []struct{ method, path, body, want string }{
		{http.MethodGet, "/v1/files", "", file},
		{http.MethodGet, "/v1/files/" + file, "", `"purpose": "batch"`},
		{http.MethodGet, "/v1/files/" + file + "/content", "", "{\"custom_id\":\"a\"}\n"},
		{http.MethodPost, "/v1/batches", `{"input_file_id":"` + file + `","endpoint":"/v1/chat/completions","completion_window":"24h"}`, `"completed": 1`},
		{http.MethodGet, "/v1/batches", "", "batch_"},
		{http.MethodDelete, "/v1/files/" + file, "", `"deleted": true`},
		{http.MethodPost, "/v1/conversations", `{}`, "conv_"},
		{http.MethodPost, "/v1beta/cachedContents", `{"model":"models/gemini-pro","contents":[]}`, "cachedContents/"},
	} {
		if a := r.do(c.method, c.path, c.body); a.status != 200 || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
		}
	}
	if a := r.do(http.MethodGet, "/v1/files/"+file, ""); a.status != 404 || !strings.Contains(a.body, "No such File object") {
		t.Errorf("the vendor's own refusal: %d %s", a.status, a.body)
	}
	// Google answers 403 for what is not there; that must not make the credential rest.
	for range 3 {
		if a := r.do(http.MethodGet, "/v1beta/files/nothing", ""); a.status != 404 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if a := r.do(http.MethodGet, "/v1beta/files", ""); a.status != 200 {
		t.Errorf("the account rests: %d %s", a.status, a.body)
	}
}

// A batch names models where nobody looks, and its tokens are not counted.
func TestBatchesTakeAKeyForEverything(t *testing.T) {
	for why, change := range map[string]func(v *api.NodeView){
		"all models":             func(v *api.NodeView) { v.Keys[0].Models = []string{"gpt-4o"} },
		"limit on tokens":        func(v *api.NodeView) { v.Limits = []state.Limit{{Tenant: "acme", Model: "*", TPM: 1000}} },
		"not counted here, so a": func(v *api.NodeView) { v.Limits = []state.Limit{{Tenant: "acme", Model: "gpt-4o", TPM: 1000}} },
	} {
		r := newRig(t, change)
		for _, path := range []string{"/v1/batches", "/v1/messages/batches"} {
			if path == "/v1/messages/batches" && why == "all models" {
				r.view.Index++
				r.view.Keys[0].Models = []string{"fake"}
				r.apply()
			}
			if a := r.do(http.MethodPost, path, `{}`); a.status != 403 || !strings.Contains(a.body, why) {
				t.Errorf("%s: %d %s", why, a.status, a.body)
			}
		}
		if a := r.do(http.MethodGet, "/v1/batches", ""); a.status != 200 {
			t.Errorf("reading starts nothing: %d %s", a.status, a.body)
		}
	}
}

// A stored thing may have to do with any model of the account: a rule for one of them holds for all.
func TestStoredThingsObeyTheRulesOfEveryModel(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		v.Policy = state.Policy{Rules: []state.Rule{{ID: "home", When: state.When{Model: []string{"gpt-5.5"}}, Allow: []string{"CN"}}}}
	})
	if a := r.post("/v1/chat/completions", chatBody+"}"); a.status != 200 {
		t.Fatalf("the rule is for another model: %d %s", a.status, a.body)
	}
	a := r.do(http.MethodGet, "/v1/files", "")
	if in := r.audit.intents[len(r.audit.intents)-1]; a.status != 403 || !strings.Contains(a.body, "residency_denied") || in.Code != "residency_denied" {
		t.Errorf("%d %s, on record: %+v", a.status, a.body, in)
	}
}

// The border around what is stored is the tenant: a key that may use some model of the account reaches
// what others of its tenant stored, under the rules of the models that it may not use, too.
func TestKeysOfATenantShareWhatIsStored(t *testing.T) {
	const narrowKey = "cw_narrow_0123456789abcdef012345678"
	r := newRig(t, func(v *api.NodeView) {
		shared(v)
		v.Keys = append(v.Keys, state.Key{ID: "narrow", Tenant: "acme", Models: []string{"gpt-5.5"}, Hash: hashed(v.Pepper, narrowKey)})
	})
	auth := []string{"Authorization", "Bearer " + narrowKey}
	id := idOf(t, r.post("/v1/responses", `{"model":"gpt-4o","input":"one"}`).body)
	if a := r.post("/v1/responses", `{"model":"gpt-4o","input":"two"}`, auth...); a.status != 403 {
		t.Fatalf("the key may use another model only: %d %s", a.status, a.body)
	}
	if a := r.do(http.MethodGet, "/v1/responses/"+id, "", auth...); a.status != 200 || idOf(t, a.body) != id {
		t.Errorf("%d %s", a.status, a.body)
	}
	r.view.Index++
	r.view.Policy = state.Policy{Rules: []state.Rule{{ID: "home", When: state.When{Model: []string{"gpt-4o"}}, Allow: []string{"CN"}}}}
	r.apply()
	if a := r.do(http.MethodDelete, "/v1/responses/"+id, "", auth...); a.status != 403 || !strings.Contains(a.body, "residency_denied") || len(r.last().Attempts) != 0 {
		t.Errorf("a rule for the model that made it: %d %s", a.status, a.body)
	}
	r.view.Index++
	r.view.Policy = state.Policy{}
	r.apply()
	if a := r.do(http.MethodDelete, "/v1/responses/"+id, "", auth...); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// ?stream= is true or false: a spelling that a provider might take for true would bring events whose
// ids are not marked.
func TestStreamsOfStoredResponsesAreNotGuessed(t *testing.T) {
	r := newRig(t, shared)
	id := idOf(t, r.post("/v1/responses", `{"model":"gpt-4o","input":"one"}`).body)
	for query, stream := range map[string]bool{"stream=true": true, "%73tream=tru%65": true, "": false, "stream=false": false} {
		if a := r.do(http.MethodGet, "/v1/responses/"+id+"?"+query, ""); a.status != 200 || r.last().Stream != stream || !strings.Contains(a.body, `"`+id+`"`) {
			t.Errorf("%q: stream %v, %d %s", query, r.last().Stream, a.status, a.body)
		}
	}
	for _, query := range []string{"stream=", "stream=yes", "stream=True", "stream=TRUE", "stream=1", "stream=0", "stream=False", "stream=false&stream=true", "stream=true;x", "stream=%zz"} {
		if a := r.do(http.MethodGet, "/v1/responses/"+id+"?"+query, ""); a.status != 400 || len(r.last().Attempts) != 0 {
			t.Errorf("%q: %d %s", query, a.status, a.body)
		}
	}
	if a := r.do(http.MethodGet, "/v1/responses/"+id+"?stream=yes", ""); !strings.Contains(a.body, `"param":"stream"`) || !strings.Contains(a.body, "true or false") {
		t.Errorf("%s", a.body)
	}
}

// What is stored has no model to name: neither in the route that the client is told nor in a metric.
func TestStoredThingsNameNoModel(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) { v.Limits = []state.Limit{{Tenant: "acme", Model: "*", TPM: 100_000}} })
	a := r.do(http.MethodGet, "/v1/files", "")
	if route := a.header.Get("X-Causeway-Route"); a.status != 200 || !strings.HasSuffix(route, ";provider=openai") {
		t.Errorf("%d, route %q", a.status, route)
	}
	if o := r.last(); o.QuotaModel != "" || o.QuotaRemaining >= 0 || a.header.Get("X-Ratelimit-Limit-Tokens") == "" {
		t.Errorf("quota of %q: %d, %v", o.QuotaModel, o.QuotaRemaining, a.header)
	}
}

// A field that the client's Connection names ends at the edge.
func TestConnectionFieldsEndHere(t *testing.T) {
	r := newRig(t, nil)
	var got http.Header
	next := r.upstream.Config.Handler
	r.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		got = q.Header.Clone()
		next.ServeHTTP(w, q)
	})
	if a := r.post("/v1/chat/completions", chatBody+"}", "Connection", "keep-alive, x-hop , X-OTHER,content-type", "X-Hop", "1", "X-Other", "2", "X-Kept", "3"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got.Get("X-Hop") != "" || got.Get("X-Other") != "" || got.Get("X-Kept") != "3" || got.Get("Content-Type") != "application/json" {
		t.Errorf("the provider got %v", got)
	}
}

func TestSeveralAccountsAreNotGuessed(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		second := v.Providers[0]
		second.ID = "second"
		v.Providers = append(v.Providers, second)
		v.Models = append(v.Models, state.Model{ID: "m", Targets: []state.Target{{Provider: "second", Model: "gpt-4o"}}})
	})
	if a := r.do(http.MethodGet, "/v1/files", ""); a.status != 400 || !strings.Contains(a.body, "x-causeway-provider (openai, second)") {
		t.Errorf("%d %s", a.status, a.body)
	}
	a := r.do(http.MethodPost, "/v1/conversations", "{}", "X-Causeway-Provider", "second")
	id := idOf(t, a.body)
	if a = r.post("/v1/responses", `{"model":"m","input":"x","conversation":{"id":"`+id+`"}}`, "X-Causeway-Provider", "second"); marked(id) || a.status != 200 {
		t.Errorf("a conversation: %q, %d %s", id, a.status, a.body)
	}
	if a := r.do(http.MethodGet, "/v1/files", "", "X-Causeway-Provider", "second"); a.status != 200 || r.last().Served.Provider != "second" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Storing and starting are asked for once: a second try could do it twice.
func TestStoringIsNotRepeated(t *testing.T) {
	r := newRig(t, nil)
	calls := 0
	r.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.WriteHeader(http.StatusInternalServerError)
	})
	if a := r.do(http.MethodPost, "/v1/batches", `{}`); a.status != 502 || calls != 1 {
		t.Errorf("%d after %d calls: %s", a.status, calls, a.body)
	}
	if r.do(http.MethodGet, "/v1/batches", ""); calls < 3 {
		t.Errorf("reading was tried %d times", calls-1)
	}
}

// An upload goes on through the edge: the provider's address is sealed, for one tenant and one account.
func TestUploadsComeBackThroughTheEdge(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		shared(v)
		for i := range v.Providers {
			v.Providers[i].Tenant = "acme"
		}
	})
	start := func(path string) (answer, string) {
		a := r.do(http.MethodPost, path, `{"file":{"displayName":"a"}}`, "X-Goog-Upload-Protocol", "resumable", "X-Goog-Upload-Command", "start", "X-Goog-Upload-Header-Content-Type", "text/plain")
		return a, a.header.Get("X-Goog-Upload-Url")
	}
	a, link := start("/gemini/upload/v1beta/files")
	rest, here := strings.CutPrefix(link, r.server.URL+"/gemini")
	if a.status != 200 || a.body != "" || !here || strings.Contains(link, "upload_id") {
		t.Fatalf("%d, upload URL %q", a.status, link)
	}
	command := []string{"X-Goog-Upload-Command", "upload, finalize", "X-Goog-Upload-Offset", "0"}
	for why, c := range map[string]struct{ path, key string }{
		"another tenant": {rest, otherKey},
		"another token":  {rest[:len(rest)-4] + "AAAA", rigKey},
		"two tokens":     {rest + "&causeway_upload=x", rigKey},
		"an address":     {"/upload/v1beta/files?causeway_upload=http://169.254.169.254/", rigKey},
	} {
		before := r.upstreamRequests()
		if a := r.do(http.MethodPost, c.path, "hello", append(command, "Authorization", "Bearer "+c.key)...); a.status != 404 || r.upstreamRequests() != before {
			t.Errorf("%s: %d %s", why, a.status, a.body)
		}
	}
	a = r.do(http.MethodPost, "/gemini"+rest, "hello", command...)
	if a.status != 200 || !strings.Contains(a.body, `"sizeBytes": "5"`) || a.header.Get("X-Goog-Upload-Status") != "final" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}

	// A provider that sends the upload elsewhere is not followed, nor is its address shown.
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody was sent elsewhere") }))
	defer elsewhere.Close()
	r.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Goog-Upload-Url", elsewhere.URL+"/upload/v1beta/files?upload_id=1")
		w.Header().Set("Location", elsewhere.URL)
	})
	if a, link := start("/upload/v1beta/files"); a.status != 502 || link != "" || a.header.Get("Location") != "" {
		t.Errorf("%d, upload URL %q", a.status, link)
	}
}

func (r *rig) upstreamRequests() int {
	n := 0
	r.outcomes.mu.Lock()
	defer r.outcomes.mu.Unlock()
	for _, o := range r.outcomes.list {
		n += len(o.Attempts)
	}
	return n
}

// Anthropic's SDK follows results_url with the client's key: it must lead back here.
func TestResultsOfBatchesLeadBackHere(t *testing.T) {
	r := newRig(t, nil)
	a := r.do(http.MethodPost, "/anthropic/v1/messages/batches", `{"requests":[{"custom_id":"a","params":{}}]}`, "Anthropic-Version", "2023-06-01")
	id := idOf(t, a.body)
	want := r.server.URL + "/anthropic/v1/messages/batches/" + id + "/results"
	if a.status != 200 || !strings.Contains(a.body, `"results_url":"`+want+`"`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := r.do(http.MethodGet, "/anthropic/v1/messages/batches", "", "Anthropic-Version", "2023-06-01"); !strings.Contains(a.body, want) || strings.Contains(a.body, r.upstream.URL) {
		t.Errorf("in the list: %s", a.body)
	}
	if a := r.do(http.MethodGet, strings.TrimPrefix(want, r.server.URL), "", "Anthropic-Version", "2023-06-01"); a.status != 200 || !strings.Contains(a.body, `"custom_id":"a"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A fallback may keep what the model that was asked for cannot: the id is checked before either is tried.
func TestFallbacksSeeNoForeignResponse(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		shared(v)
		v.Models = append(v.Models,
			state.Model{ID: "first", Targets: []state.Target{{Provider: "anthropic", Model: "fake"}}, Fallbacks: []string{"second"}},
			state.Model{ID: "second", Targets: []state.Target{{Provider: "openai", Model: "gpt-4o"}}})
	})
	id := idOf(t, r.post("/v1/responses", `{"model":"gpt-4o","input":"one"}`).body)
	raw := id[:len(id)-25]
	for _, member := range []string{`"previous_response_id":"` + raw + `"`, `"previous_response_id":"` + id + `"`, `"conversation":"conv_1"`} {
		a := r.post("/v1/responses", `{"model":"first","input":"x",`+member+`}`, "Authorization", "Bearer "+otherKey)
		if a.status != 400 && a.status != 403 || len(r.last().Attempts) != 0 {
			t.Errorf("%s: %d %s", member, a.status, a.body)
		}
	}
	// Its own tenant is answered by the account that keeps it.
	if a := r.post("/v1/responses", `{"model":"first","input":"x","previous_response_id":"`+id+`"}`); a.status != 200 || r.last().Served.Provider != "openai" {
		t.Errorf("%d %s", a.status, a.body)
	}
}
