package node_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/fault"
)

func unreachable() error { return fault.New(fault.ExitUnreachable, "the exit is gone") }

const chatBody = `{"model":"gpt-4o","messages":[{"role":"user","content":"say hello"}]`

func TestEveryDialectPassesThrough(t *testing.T) {
	r := newRig(t, nil)
	for _, tc := range []struct{ name, path, body, want string }{
		{"chat", "/v1/chat/completions", chatBody + `}`, `"chat.completion"`},
		{"chat stream", "/v1/chat/completions", chatBody + `,"stream":true}`, "data: [DONE]"},
		{"responses", "/v1/responses", `{"model":"gpt-4o","input":"say hello"}`, `"response"`},
		{"responses stream", "/v1/responses", `{"model":"gpt-4o","input":"say hello","stream":true}`, "response.completed"},
		{"messages", "/v1/messages", `{"model":"claude-3-5-sonnet-20241022","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}`, `"message"`},
		{"messages stream", "/v1/messages", `{"model":"claude-3-5-sonnet-20241022","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"hi"}]}`, "message_stop"},
		{"gemini", "/v1beta/models/gemini-pro:generateContent", `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`, "candidates"},
		{"gemini stream", "/v1beta/models/gemini-pro:streamGenerateContent?alt=sse", `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`, "finishReason"},
		{"gemini array", "/v1beta/models/gemini-pro:streamGenerateContent", `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`, "finishReason"},
		{"embeddings", "/v1/embeddings", `{"model":"text-embedding-3-small","input":"hi"}`, "embedding"},
		{"count", "/v1/messages/count_tokens", `{"model":"claude-3-5-sonnet-20241022","messages":[{"role":"user","content":"hi"}]}`, "input_tokens"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := r.post(tc.path, tc.body, "anthropic-version", "2023-06-01")
			if a.status != 200 || !strings.Contains(a.body, tc.want) {
				t.Fatalf("%d %v\n%s", a.status, a.header, a.body)
			}
			o := r.last()
			if o.Served == nil || o.Fault != nil {
				t.Fatalf("outcome %+v", o)
			}
			if want := edge.UsageMeasured; tc.name != "count" && o.UsageKind != want {
				t.Errorf("usage was not measured: %+v", o)
			}
			if got := a.header.Get("X-Causeway-Route"); !strings.HasPrefix(got, "edge=cn-east;exit=") {
				t.Errorf("route header %q", got)
			}
		})
	}
	if n, m := len(r.audit.intents), len(r.audit.outcomes); n != 11 || m != 11 {
		t.Errorf("%d intents and %d outcomes for 11 requests", n, m)
	}
}

// Usage is always asked for upstream and hidden from a client that did not ask (BerriAI/litellm #5632,
// router-for-me/CLIProxyAPI #2111).
func TestStreamUsageIsInjectedAndHidden(t *testing.T) {
	r := newRig(t, nil)
	a := r.post("/v1/chat/completions", chatBody+`,"stream":true}`)
	if strings.Contains(a.body, "usage") {
		t.Errorf("the client did not ask for usage and got it:\n%s", a.body)
	}
	if o := r.last(); o.Usage.Output == 0 {
		t.Errorf("no usage measured: %+v", o.Usage)
	}
	a = r.post("/v1/chat/completions", chatBody+`,"stream":true,"stream_options":{"include_usage":true}}`)
	if !strings.Contains(a.body, `"usage":{`) {
		t.Errorf("the client asked for usage and got none:\n%s", a.body)
	}
}

func TestFailover(t *testing.T) {
	two := func(first string) func(v *api.NodeView) {
		return func(v *api.NodeView) {
			v.Models = append(v.Models, state.Model{ID: "pair", Targets: []state.Target{
				{Provider: "openai", Model: first, Tier: 0}, {Provider: "openai", Model: "gpt-4o", Tier: 1},
			}})
		}
	}
	for _, first := range []string{"fake-429", "fake-500"} {
		for _, stream := range []string{"", `,"stream":true`} {
			t.Run(first+stream, func(t *testing.T) {
				r := newRig(t, two(first))
				a := r.post("/v1/chat/completions", `{"model":"pair","messages":[{"role":"user","content":"hi"}]`+stream+`}`)
				o := r.last()
				if a.status != 200 || len(o.Attempts) < 2 || o.Served.Model != "gpt-4o" {
					t.Fatalf("%d after %d attempts: %s", a.status, len(o.Attempts), a.body)
				}
			})
		}
	}
	t.Run("exit", func(t *testing.T) {
		r := newRig(t, nil)
		r.broken["exit-us"] = true
		for range 5 {
			if a := r.post("/v1/chat/completions", chatBody+`}`); a.status != 200 {
				t.Fatalf("%d: %s", a.status, a.body)
			}
			if o := r.last(); o.Served.Exit != "exit-de" {
				t.Errorf("served by %s", o.Served.Exit)
			}
		}
	})
}

// A stream that breaks after content ends with the protocol's error event and is never replayed
// (apache/shenyu #6647, BerriAI/litellm PR 32835).
func TestMidstreamFailureIsNotReplayed(t *testing.T) {
	r := newRig(t, nil)
	for _, tc := range []struct{ path, body, want string }{
		{"/v1/chat/completions", `{"model":"fake-midstream","stream":true,"messages":[{"role":"user","content":"hi"}]}`, `"error"`},
		{"/v1/messages", `{"model":"fake-midstream","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"hi"}]}`, "event: error"},
	} {
		a := r.post(tc.path, tc.body, "anthropic-version", "2023-06-01")
		o := r.last()
		if a.status != 200 || !strings.Contains(a.body, tc.want) || strings.Contains(a.body, "[DONE]") {
			t.Errorf("%s: %d\n%s", tc.path, a.status, a.body)
		}
		if len(o.Attempts) != 1 || o.Fault == nil || o.UsageKind == edge.UsageNone {
			t.Errorf("%s: attempts %d, fault %v, usage %v", tc.path, len(o.Attempts), o.Fault, o.UsageKind)
		}
	}
}

func TestBadInput(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		v.Providers[1].Dialects = []string{"anthropic-messages"}
		v.Models = append(v.Models, state.Model{ID: "only-claude", Targets: []state.Target{{Provider: "anthropic", Model: "claude-3.5"}}})
		v.Keys = append(v.Keys, state.Key{ID: "tied", Tenant: "acme", Models: []string{"gpt-4o"}, IPs: []string{"10.9.0.0/16"}, Hash: hashed(v.Pepper, "cw_tied_0123456789abcdef0123456789")})
	})
	for _, tc := range []struct {
		name, path, body string
		header           []string
		status           int
		want             []string
	}{
		{"malformed", "/v1/chat/completions", `{"model":`, nil, 400, []string{`"invalid_request_error"`}},
		{"duplicate member", "/v1/chat/completions", `{"model":"a","model":"gpt-4o","messages":[]}`, nil, 400, []string{"model"}},
		{"invalid utf-8", "/v1/chat/completions", "{\"model\":\"gpt-4o\xff\"}", nil, 400, []string{"UTF-8"}},
		{"unknown model", "/v1/chat/completions", `{"model":"nope","messages":[]}`, nil, 404, []string{"model_not_found", "nope"}},
		{"unknown model, anthropic", "/v1/messages", `{"model":"nope","max_tokens":1,"messages":[]}`, nil, 404, []string{"not_found_error"}},
		{"unknown model, gemini", "/v1beta/models/nope:generateContent", `{"contents":[]}`, nil, 404, []string{"NOT_FOUND"}},
		{"wrong key", "/v1/chat/completions", chatBody + `}`, []string{"Authorization", "Bearer cw_wrong"}, 401, []string{"invalid_api_key"}},
		{"wrong key, anthropic", "/v1/messages", `{}`, []string{"Authorization", "Bearer cw_wrong"}, 401, []string{"authentication_error"}},
		{"no key", "/v1/chat/completions", chatBody + `}`, []string{"Authorization", ""}, 401, []string{"no API key"}},
		{"too large", "/v1/chat/completions", `{"model":"gpt-4o","x":"` + strings.Repeat("a", 1<<20) + `"}`, nil, 413, []string{"1048576"}},
		{"no model", "/v1/chat/completions", `{"messages":[]}`, nil, 400, []string{"model"}},
		{"no such path", "/v1/nothing", `{}`, nil, 404, []string{"/v1/nothing"}},
		{"unsupported pair", "/v1/embeddings", `{"model":"only-claude","input":"x"}`, nil, 400, []string{"unsupported_conversion", "anthropic-messages", "gpt-4"}},
		{"key's address", "/v1/chat/completions", chatBody + `}`, []string{"Authorization", "Bearer cw_tied_0123456789abcdef0123456789"}, 403, []string{"address"}},
		{"key's models", "/v1/chat/completions", `{"model":"gpt-4","messages":[]}`, []string{"Authorization", "Bearer cw_tied_0123456789abcdef0123456789", "X-Forwarded-For", "10.9.1.1"}, 403, []string{"gpt-4"}},
		{"bad class", "/v1/chat/completions", chatBody + `}`, []string{"X-Causeway-Class", "secret"}, 400, []string{"x-causeway-class"}},
		{"bad strictness", "/v1/chat/completions", chatBody + `}`, []string{"X-Causeway-Strict", "yes"}, 400, []string{"x-causeway-strict", "yes"}},
		{"bad strictness, anthropic", "/v1/messages", `{"model":"gpt-4o","max_tokens":1,"messages":[]}`, []string{"X-Causeway-Strict", "2"}, 400, []string{"x-causeway-strict", "invalid_request_error"}},
		{"provider's own refusal", "/v1/chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"no_such_parameter":1}`, nil, 400, []string{"no_such_parameter"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := r.post(tc.path, tc.body, tc.header...)
			if a.status != tc.status {
				t.Fatalf("%d, want %d: %s", a.status, tc.status, a.body)
			}
			for _, w := range tc.want {
				if !strings.Contains(a.body, w) {
					t.Errorf("%q is not in %s", w, a.body)
				}
			}
			if strings.Contains(a.body, "provider-secret") || strings.Contains(a.body, "cw_wrong") {
				t.Errorf("a secret shows: %s", a.body)
			}
		})
	}
}

func TestResidencyOnEveryHop(t *testing.T) {
	policy := state.Policy{Default: "allow", Rules: []state.Rule{
		{ID: "cn-stay", When: state.When{Home: []string{"CN"}, Class: []string{"confidential", "restricted"}}, Allow: []string{"CN"}},
		{ID: "eu-sensitive", When: state.When{Home: []string{"EU"}, Class: []string{"confidential"}}, Allow: []string{"EU", "US", "CN"}, Approval: true},
	}}
	r := newRig(t, func(v *api.NodeView) {
		v.Policy = policy
		v.Tenants = append(v.Tenants, state.Tenant{ID: "cn", Home: "CN", Class: "restricted"}, state.Tenant{ID: "eu", Home: "EU", Class: "confidential"})
		v.Keys = append(v.Keys,
			state.Key{ID: "cn", Tenant: "cn", Hash: hashed(v.Pepper, "cw_cn_0123456789abcdef0123456789")},
			state.Key{ID: "eu", Tenant: "eu", Hash: hashed(v.Pepper, "cw_eu_0123456789abcdef0123456789")})
		home := v.Providers[0]
		home.ID, home.Processing, home.Storage, home.Exits = "home", []string{"CN"}, []string{"CN"}, []string{"cn-east"}
		v.Providers = append(v.Providers, home)
		v.Nodes = append(v.Nodes, state.Node{ID: "exit-cn", Region: "cn-east", Roles: []string{"exit"}, Addr: "z:1", State: "active"})
		v.Models = append([]state.Model{{ID: "auto", Targets: []state.Target{{Provider: "openai", Model: "gpt-4o"}, {Provider: "home", Model: "gpt-4o", Tier: 1}}}}, v.Models...)
	})
	body := `{"model":"auto","messages":[{"role":"user","content":"hi"}]}`
	a := r.post("/v1/chat/completions", body, "Authorization", "Bearer cw_cn_0123456789abcdef0123456789")
	if want := "edge=cn-east;exit=cn-east;provider=home;model=gpt-4o"; a.status != 200 || a.header.Get("X-Causeway-Route") != want {
		t.Errorf("restricted CN: %d %s %s", a.status, a.header.Get("X-Causeway-Route"), a.body)
	}
	for _, a := range r.last().Attempts {
		if a.ExitRegion != "cn-east" {
			t.Errorf("an attempt left the country: %+v", a)
		}
	}
	a = r.post("/v1/chat/completions", chatBody+`}`, "Authorization", "Bearer cw_cn_0123456789abcdef0123456789")
	if a.status != 403 || !strings.Contains(a.body, "residency_denied") || a.header.Get("X-Should-Retry") != "false" {
		t.Errorf("restricted CN to a US model: %d %s", a.status, a.body)
	}
	if in := r.audit.intents[len(r.audit.intents)-1]; in.Code != "residency_denied" {
		t.Errorf("the refusal is not on record: %+v", in)
	}
	a = r.post("/v1/chat/completions", chatBody+`}`, "Authorization", "Bearer cw_eu_0123456789abcdef0123456789")
	if a.status != 403 || !strings.Contains(a.body, "export_approval_required") {
		t.Errorf("EU confidential without an approval: %d %s", a.status, a.body)
	}
	if n := len(r.last().Attempts); n != 0 {
		t.Errorf("%d attempts of a refused request", n)
	}
}

func TestNothingLeavesWithoutAnIntent(t *testing.T) {
	r := newRig(t, nil)
	r.audit.fail = errors.New("disk full")
	a := r.post("/v1/chat/completions", chatBody+`}`)
	if a.status != 503 || !strings.Contains(a.body, "audit_unavailable") || len(r.last().Attempts) != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestLimitsAreEnforced(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		v.Tenants = append(v.Tenants, state.Tenant{ID: "free", Home: "US"})
		v.Keys = append(v.Keys, state.Key{ID: "free", Tenant: "free", Hash: hashed(v.Pepper, "cw_free_0123456789abcdef0123456789")})
		v.Limits = []state.Limit{{Tenant: "acme", RPM: 2}, {Tenant: "free", Key: "free", Model: "gpt-4", TPM: 10}}
	})
	// A request that may use more than the whole limit is let in alone, else it could never be.
	for i, want := range []int{200, 429} {
		a := r.post("/v1/chat/completions", `{"model":"gpt-4","messages":[{"role":"user","content":"hi"}]}`, "Authorization", "Bearer cw_free_0123456789abcdef0123456789")
		if a.status != want || want == 429 && !strings.Contains(a.body, "rate_limit_exceeded") {
			t.Errorf("tpm, request %d: %d %s", i, a.status, a.body)
		}
	}
	var refused answer
	for range 4 {
		if a := r.post("/v1/chat/completions", chatBody+`}`); a.status == 429 {
			refused = a
		} else if a.header.Get("X-Ratelimit-Limit-Requests") != "2" {
			t.Errorf("headers %v", a.header)
		}
	}
	if refused.status != 429 || refused.header.Get("Retry-After") == "" || refused.header.Get("X-Should-Retry") != "true" {
		t.Errorf("rpm: %d %v %s", refused.status, refused.header, refused.body)
	}
}

func TestClientAddressIsNotBelieved(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) { v.Keys[0].IPs = []string{"192.0.2.1"} })
	r.places[netip.MustParseAddr("192.0.2.1")] = "US"
	if a := r.post("/v1/chat/completions", chatBody+`}`, "X-Forwarded-For", "192.0.2.1"); a.status != 200 {
		t.Errorf("through the trusted proxy: %d %s", a.status, a.body)
	}
	if a := r.post("/v1/chat/completions", chatBody+`}`, "X-Forwarded-For", "192.0.2.1, 198.51.100.7"); a.status != 403 {
		t.Errorf("the client's own X-Forwarded-For was believed: %d", a.status)
	}
}
