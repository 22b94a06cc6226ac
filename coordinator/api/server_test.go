package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/ca"
	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/coordinator/seal"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/identity"
)

// fixture is an admin API over a cluster of one in memory.
type fixture struct {
	*Server
	t *testing.T
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	authority, err := ca.New("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	kek := seal.NewKEK()
	sealer, err := seal.New(kek)
	if err != nil {
		t.Fatal(err)
	}
	n, err := consensus.Start(consensus.Config{
		ID: "c0", Transport: consensus.NewNetwork().Transport("c0:1"), Store: consensus.NewMemStore(), Profile: consensus.Dev(),
		Bootstrap: true, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Shutdown(context.Background()) })
	for !n.IsLeader() {
		time.Sleep(time.Millisecond)
	}
	keyPEM, err := authority.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = n.Propose(t.Context(), command.New(time.Now(), "test", &command.Init{
		Mesh: "test", Cluster: "abc", CACert: authority.CertPEM(), SealedCAKey: sealer.Seal([]byte(PlaceCAKey), keyPEM),
		SealedPepper: sealer.Seal([]byte(PlacePepper), []byte("pepper-pepper-pepper-pepper-pepp")),
	}))
	if err != nil {
		t.Fatal(err)
	}
	var grants []Grant
	for _, r := range Roles() {
		if r != RoleNode {
			grants = append(grants, NewGrant(string(r), r, map[Role]string{RoleTenantAdmin: "acme"}[r], "token-"+string(r)))
		}
	}
	s, err := NewServer(ServerConfig{
		Consensus: n, Vault: Vault{KEK: kek, Sealer: sealer, Authority: authority}, Self: "c0", Grants: grants, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Server: s, t: t}
}

// as sends a request in a role; extra are header pairs.
func (f *fixture) as(role Role, method, path, body string, extra ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	switch role {
	case "":
	case RoleNode:
		r = r.WithContext(WithPeer(r.Context(), identity.Peer{Mesh: "test", Region: "us-west", Node: "edge-1", Roles: identity.RoleEdge, Serial: "ab"}))
	default:
		r.Header.Set("Authorization", "Bearer token-"+string(role))
	}
	for i := 0; i+1 < len(extra); i += 2 {
		r.Header.Set(extra[i], extra[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

func (f *fixture) ok(method, path, body string, extra ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	w := f.as(RoleAdmin, method, path, body, extra...)
	if w.Code >= 300 {
		f.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w
}

func code(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Code < 400 {
		return ""
	}
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d is no problem document: %s", w.Code, w.Body)
	}
	if p.Status != w.Code || p.Title == "" || p.Type != "urn:causeway:problem:"+p.Code || p.Outcome == "" {
		t.Errorf("problem %+v for status %d", p, w.Code)
	}
	return p.Code
}

// rights is who may do what, written a second time on purpose: a letter per role in the order admin,
// operator, tenant-admin, compliance-officer, auditor, node, and - for nobody without a credential.
const rights = `
GET /v1/health/live                          AOTCUN*
GET /v1/health/ready                         AOTCUN*
GET /v1/health/leader                        AOTCUN*
GET /v1/cluster                              AOTCUN
GET /v1/cluster/self                         AO.CUN
GET /v1/cluster/members                      AO.CU.
POST /v1/cluster/members                     .....N
GET /v1/cluster/members/x                    AO.CU.
DELETE /v1/cluster/members/x                 AO....
POST /v1/cluster/members/x:promote           AO....
POST /v1/cluster/members/x:demote            AO....
POST /v1/cluster/members/x:transfer          AO....
GET /v1/cluster/tokens                       AO....
POST /v1/cluster/tokens                      AO....
DELETE /v1/cluster/tokens/x                  AO....
POST /v1/cluster/join                        AOTCUN*
GET /v1/regions                              AOTCU.
POST /v1/regions                             AO....
GET /v1/regions/x                            AOTCU.
PUT /v1/regions/x                            AO....
DELETE /v1/regions/x                         AO....
GET /v1/orgs                                 AO.CU.
POST /v1/orgs                                A.....
GET /v1/orgs/x                               AO.CU.
PUT /v1/orgs/x                               A.....
DELETE /v1/orgs/x                            A.....
GET /v1/tenants                              AOTCU.
POST /v1/tenants                             A.....
GET /v1/tenants/x                            AOTCU.
PUT /v1/tenants/x                            A.....
DELETE /v1/tenants/x                         A.....
GET /v1/keys                                 AOTCU.
POST /v1/keys                                A.T...
GET /v1/keys/x                               AOTCU.
PUT /v1/keys/x                               A.T...
DELETE /v1/keys/x                            A.T...
POST /v1/keys/x:rotate                       A.T...
POST /v1/keys/x:revoke                       AOT...
GET /v1/providers                            AO.CU.
POST /v1/providers                           AO....
GET /v1/providers/x                          AO.CU.
PUT /v1/providers/x                          AO....
DELETE /v1/providers/x                       AO....
GET /v1/models                               AOTCU.
POST /v1/models                              AO....
GET /v1/models/x                             AOTCU.
PUT /v1/models/x                             AO....
DELETE /v1/models/x                          AO....
GET /v1/limits                               AOTCU.
POST /v1/limits                              A.T...
GET /v1/limits/x                             AOTCU.
PUT /v1/limits/x                             A.T...
DELETE /v1/limits/x                          A.T...
GET /v1/policy                               AO.CU.
PUT /v1/policy                               A.....
DELETE /v1/policy                            A.....
GET /v1/nodes                                AO.CU.
GET /v1/nodes/x                              AO.CU.
POST /v1/nodes/x:drain                       AO....
POST /v1/nodes/x:resume                      AO....
POST /v1/nodes/x:revoke                      AO....
POST /v1/nodes/x:renew                       .....N
GET /v1/routes:explain                       AO.CU.
GET /v1/view                                 .....N
POST /v1/apply                               AO....
`

func TestEveryRoleAtEveryEndpoint(t *testing.T) {
	f := newFixture(t)
	f.cfg.Consensus.Snapshot()
	rows := map[string]string{}
	for line := range strings.Lines(strings.TrimSpace(rights)) {
		parts := strings.Fields(line)
		rows[parts[0]+" "+parts[1]] = parts[2]
	}
	known := map[string]bool{}
	for _, r := range routes() {
		known[r.method+" "+strings.ReplaceAll(r.path, "{id}", "x")] = true
	}
	for row := range rows {
		if !known[row] {
			t.Errorf("%s is no endpoint", row)
		}
	}
	for endpoint := range known {
		who, ok := rows[endpoint]
		if !ok {
			t.Errorf("%s has no row in the table", endpoint)
			continue
		}
		method, path, _ := strings.Cut(endpoint, " ")
		for i, role := range Roles() {
			// A body that no endpoint takes: what is tested is who gets that far.
			w := f.as(role, method, path, `{"no such field":1}`)
			c := code(t, w)
			refused := c == "forbidden" && strings.Contains(w.Body.String(), " is for ")
			if refused != (who[i] == '.') || c == "unauthorized" {
				t.Errorf("%s as %s: %d %s, table says %q", endpoint, role, w.Code, c, who)
			}
		}
		w := f.as("", method, path, `{}`)
		if open := strings.HasSuffix(who, "*"); (code(t, w) == "unauthorized") == open {
			t.Errorf("%s without a credential: %d", endpoint, w.Code)
		}
		if w := f.as("", method, path, "{}", "Authorization", "Bearer wrong"); !strings.HasSuffix(who, "*") && code(t, w) != "unauthorized" {
			t.Errorf("%s with a wrong token: %d", endpoint, w.Code)
		}
	}
}

func TestTenantAdminStaysAtHome(t *testing.T) {
	f := newFixture(t)
	for _, tenant := range []string{"acme", "globex"} {
		f.ok("PUT", "/v1/tenants/"+tenant, `{"home":"EU"}`)
		f.ok("POST", "/v1/keys", `{"id":"`+tenant+`-app","tenant":"`+tenant+`"}`)
		f.ok("POST", "/v1/limits", `{"tenant":"`+tenant+`","rpm":10}`)
	}
	for _, tc := range []struct {
		method, path, body, want, why string
	}{
		{"GET", "/v1/tenants/acme", "", "", "its own"},
		{"GET", "/v1/tenants/globex", "", "not_found", "another's looks like none"},
		{"GET", "/v1/keys/globex-app", "", "not_found", "another's key"},
		{"POST", "/v1/keys/globex-app:rotate", "", "not_found", "another's key"},
		{"POST", "/v1/keys/globex-app:revoke", "", "not_found", "another's key"},
		{"DELETE", "/v1/keys/globex-app", "", "forbidden", "another's key"},
		{"POST", "/v1/keys", `{"id":"n1","tenant":"globex"}`, "forbidden", "a key for another tenant"},
		{"PUT", "/v1/keys/globex-app", `{"tenant":"acme"}`, "forbidden", "taking another's key over"},
		{"PUT", "/v1/keys/acme-app", `{"tenant":"globex"}`, "forbidden", "giving a key away"},
		{"PUT", "/v1/limits/acme%2F*%2F*", `{"rpm":1000}`, "forbidden", "raising what the tenant was given"},
		{"DELETE", "/v1/limits/acme%2F*%2F*", "", "forbidden", "lifting what the tenant was given"},
		{"POST", "/v1/limits", `{"tenant":"acme","key":"acme-app","rpm":5}`, "", "dividing it"},
		{"POST", "/v1/keys", `{"id":"n2","tenant":"acme"}`, "", "a key of its own"},
		{"POST", "/v1/keys/n2:rotate", "", "", "its own key"},
	} {
		if got := code(t, f.as(RoleTenantAdmin, tc.method, tc.path, tc.body)); got != tc.want {
			t.Errorf("%s %s (%s): %q, want %q", tc.method, tc.path, tc.why, got, tc.want)
		}
	}
	for _, path := range []string{"/v1/tenants", "/v1/keys", "/v1/limits"} {
		if w := f.as(RoleTenantAdmin, "GET", path, ""); strings.Contains(w.Body.String(), "globex") {
			t.Errorf("%s shows another tenant: %s", path, w.Body)
		}
	}
}

func TestConditionsAndIdempotency(t *testing.T) {
	f := newFixture(t)
	w := f.ok("PUT", "/v1/tenants/acme", `{"home":"EU"}`)
	if w.Code != http.StatusCreated {
		t.Errorf("first put: %d", w.Code)
	}
	v1 := w.Header().Get("ETag")
	w = f.ok("PUT", "/v1/tenants/acme", `{"home":"US"}`, "If-Match", v1)
	v2 := w.Header().Get("ETag")
	if v1 == v2 || w.Code != http.StatusOK {
		t.Errorf("versions %s %s, %d", v1, v2, w.Code)
	}
	for _, tc := range []struct {
		why, method, path, body, want string
		extra                         []string
	}{
		{"lost update", "PUT", "/v1/tenants/acme", `{"home":"CN"}`, "precondition_failed", []string{"If-Match", v1}},
		{"create only", "PUT", "/v1/tenants/acme", `{"home":"CN"}`, "precondition_failed", []string{"If-None-Match", "*"}},
		{"condition on nothing", "PUT", "/v1/tenants/none", `{"home":"CN"}`, "precondition_failed", []string{"If-Match", "7"}},
		{"stale delete", "DELETE", "/v1/tenants/acme", "", "precondition_failed", []string{"If-Match", v1}},
		{"bad condition", "PUT", "/v1/tenants/acme", `{}`, "malformed", []string{"If-Match", "x"}},
		{"post of what exists", "POST", "/v1/tenants", `{"id":"acme"}`, "conflict", nil},
		{"another id in the body", "PUT", "/v1/tenants/acme", `{"id":"b"}`, "invalid", nil},
	} {
		if got := code(t, f.as(RoleAdmin, tc.method, tc.path, tc.body, tc.extra...)); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.why, got, tc.want)
		}
	}
	if got, _ := f.cfg.Consensus.Snapshot().Tenants.Get("acme"); got.Home != "US" {
		t.Errorf("a refused write changed the tenant: %+v", got)
	}

	first := f.ok("POST", "/v1/keys", `{"id":"app","tenant":"acme"}`, "Idempotency-Key", "k1")
	again := f.ok("POST", "/v1/keys", `{"id":"app","tenant":"acme"}`, "Idempotency-Key", "k1")
	if again.Header().Get("Idempotency-Replayed") != "true" || again.Code != first.Code {
		t.Errorf("replay: %d %v", again.Code, again.Header())
	}
	if strings.Contains(again.Body.String(), `"secret"`) || !strings.Contains(first.Body.String(), `"secret":"cw_`) {
		t.Errorf("secrets: first %s, replay %s", first.Body, again.Body)
	}
	if got := code(t, f.as(RoleAdmin, "POST", "/v1/keys", `{"id":"other","tenant":"acme"}`, "Idempotency-Key", "k1")); got != "idempotency_mismatch" {
		t.Errorf("key reused: %q", got)
	}
}

func TestBadInputNamesThePlace(t *testing.T) {
	f := newFixture(t)
	f.ok("PUT", "/v1/tenants/acme", `{}`)
	for _, tc := range []struct {
		why, method, path, body, code, field string
	}{
		{"not JSON", "PUT", "/v1/tenants/a", `{"home":`, "malformed", "home"},
		{"empty", "PUT", "/v1/tenants/a", ``, "malformed", ""},
		{"unknown field", "PUT", "/v1/tenants/a", `{"hom":"EU"}`, "invalid", "hom"},
		{"wrong case", "PUT", "/v1/tenants/a", `{"Home":"EU"}`, "invalid", "Home"},
		{"twice", "PUT", "/v1/tenants/a", `{"home":"EU","home":"US"}`, "malformed", "home"},
		{"wrong type", "PUT", "/v1/models/m", `{"targets":[{"provider":1}]}`, "invalid", "targets[0].provider"},
		{"bad UTF-8", "PUT", "/v1/tenants/a", "{\"home\":\"\xff\"}", "malformed", "home"},
		{"unknown country", "PUT", "/v1/tenants/a", `{"home":"XX"}`, "invalid", "home"},
		{"unknown org", "PUT", "/v1/tenants/a", `{"org":"none"}`, "invalid", "org"},
		{"bad price", "PUT", "/v1/models/m", `{"targets":[{"provider":"p"}],"price":{"input":"a lot"}}`, "invalid", "price.input"},
		{"short secret", "POST", "/v1/keys", `{"id":"k","tenant":"acme","secret":"short"}`, "invalid", "secret"},
		{"policy", "PUT", "/v1/policy", `{"rules":[{"id":"r","allow":["Atlantis"]}]}`, "invalid", "rules[0].allow[0]"},
		{"two things in one document", "POST", "/v1/apply", "version: 1\ntenants: [{id: a, home: XX}]\nbudgets: []\n", "invalid", ""},
		{"duration", "POST", "/v1/cluster/tokens", `{"roles":["edge"],"region":"us-west","ttl":"soon"}`, "invalid", "ttl"},
		{"role", "POST", "/v1/cluster/tokens", `{"roles":["king"],"region":"us-west"}`, "invalid", "roles"},
		{"long life", "POST", "/v1/cluster/tokens", `{"roles":["edge"],"region":"us-west","ttl":"48h"}`, "invalid", "ttl"},
		{"region", "POST", "/v1/cluster/tokens", `{"roles":["edge"],"region":"atlantis"}`, "invalid", "region"},
		{"consistency", "GET", "/v1/tenants?consistency=maybe", "", "malformed", "consistency"},
		{"too large", "PUT", "/v1/tenants/a", `{"home":"` + strings.Repeat("x", maxBody) + `"}`, "too_large", ""},
		{"later", "GET", "/v1/budgets", "", "not_in_this_version", ""},
		{"later verb", "POST", "/v1/policy:explain", "", "not_in_this_version", ""},
		{"nothing", "GET", "/v1/tenant", "", "not_found", ""},
		{"method", "PATCH", "/v1/tenants/a", "{}", "method_not_allowed", ""},
	} {
		before := f.cfg.Consensus.Snapshot().Changed
		w := f.as(RoleAdmin, tc.method, tc.path, tc.body)
		var p Problem
		_ = json.Unmarshal(w.Body.Bytes(), &p)
		if code(t, w) != tc.code || tc.field != "" && p.Field != tc.field {
			t.Errorf("%s: %d %s at %q (%s), want %s at %q", tc.why, w.Code, p.Code, p.Field, p.Detail, tc.code, tc.field)
		}
		if p.Outcome != OutcomeNone || f.cfg.Consensus.Snapshot().Changed != before {
			t.Errorf("%s: outcome %s, something changed", tc.why, p.Outcome)
		}
	}
}

const document = `
version: 1
providers:
  - id: p
    dialects: [openai-chat]
    base_url: https://p.example/v1
    auth: {scheme: bearer, secrets: [{id: a, value: canary-credential-of-the-provider}]}
    processing: [US]
    storage: [US]
models: [{id: m, targets: [{provider: p, model: up}]}]
tenants: [{id: acme, home: EU}, {id: old, home: US}]
keys: [{id: app, tenant: acme, secret: canary-secret-of-a-client-key}, {id: oldkey, tenant: old, secret: canary-secret-of-another-key}]
limits: [{tenant: acme, rpm: 5}]
policy: {rules: [{id: r, when: {home: [EU]}, allow: [EU, US]}]}
`

func TestApplyIsAllOrNothing(t *testing.T) {
	f := newFixture(t)
	n := f.cfg.Consensus
	apply := func(query, body string, want string) (a ApplyAnswer) {
		t.Helper()
		w := f.as(RoleAdmin, "POST", "/v1/apply"+query, body)
		if got := code(t, w); got != want {
			t.Fatalf("apply%s: %d %s, want %q", query, w.Code, w.Body, want)
		}
		if strings.Contains(w.Body.String(), "canary") {
			t.Errorf("the answer shows a secret: %s", w.Body)
		}
		if want == "" {
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
				t.Fatal(err)
			}
		}
		return a
	}
	count := func(a ApplyAnswer, action string) (n int) {
		for _, c := range a.Changes {
			if c.Action == action {
				n++
			}
		}
		return n
	}

	if a := apply("?dry_run=1", document, ""); a.Applied || count(a, "add") != 7 || n.Snapshot().Tenants.Len() != 0 {
		t.Errorf("dry run: %+v", a)
	}
	before := n.Commit()
	a := apply("", document, "")
	if !a.Applied || count(a, "add") != 7 || n.Commit() != before+1 {
		t.Errorf("applied %+v in %d entries", a, n.Commit()-before)
	}
	pepper, err := f.pepperOf(n.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	sum := seal.HashKey(pepper, "canary-secret-of-a-client-key")
	if k, ok := n.Snapshot().KeyByHash(sum[:]); !ok || k.ID != "app" {
		t.Errorf("key lookup: %+v %v", k, ok)
	}
	if a := apply("", document, ""); count(a, "same") != len(a.Changes) {
		t.Errorf("second time: %+v", a.Changes)
	}

	// One bad reference and nothing of the rest happens.
	bad := strings.Replace(document, "provider: p, model: up", "provider: nowhere, model: up", 1)
	bad = strings.Replace(bad, "rpm: 5", "rpm: 6", 1)
	apply("", bad, "invalid")
	if l, _ := n.Snapshot().Limits.Get("acme/*/*"); l.RPM != 5 {
		t.Errorf("half applied: %+v", l)
	}
	w := f.as(RoleAdmin, "POST", "/v1/apply", bad)
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || len(p.Problems) != 1 || p.Problems[0].Line == 0 {
		t.Errorf("problem without a line: %s", w.Body)
	}

	// Pruning deletes what is absent, in the sections that the file has, and keys only when confirmed.
	pruned := strings.Replace(document, ", {id: old, home: US}", "", 1)
	pruned = strings.Replace(pruned, ", {id: oldkey, tenant: old, secret: canary-secret-of-another-key}", "", 1)
	if a := apply("?prune=1&dry_run=1", pruned, ""); !slices.Equal(a.NeedsYes, []string{"keys/oldkey"}) {
		t.Errorf("needs yes: %v", a.NeedsYes)
	}
	apply("?prune=1", pruned, "confirmation_required")
	if !n.Snapshot().Tenants.Has("old") {
		t.Error("pruned without confirmation")
	}
	apply("?prune=1&yes=1", pruned, "")
	if n.Snapshot().Tenants.Has("old") || n.Snapshot().Keys.Has("oldkey") || !n.Snapshot().Regions.Has("us-west") {
		t.Error("prune did not do what it said")
	}

	if got := code(t, f.as(RoleOperator, "POST", "/v1/apply", document)); got != "forbidden" {
		t.Errorf("operator applies keys: %q", got)
	}
	if got := code(t, f.as(RoleOperator, "POST", "/v1/apply", "version: 1\nmodels: [{id: m2, targets: [{provider: p}]}]\n")); got != "" {
		t.Errorf("operator applies models: %q", got)
	}
	for _, path := range []string{"/v1/providers", "/v1/keys", "/v1/providers/p", "/v1/keys/app"} {
		if w := f.ok("GET", path, ""); bytes.Contains(w.Body.Bytes(), []byte("canary")) || bytes.Contains(w.Body.Bytes(), []byte(`"hash"`)) {
			t.Errorf("%s shows %s", path, w.Body)
		}
	}
}

func TestLongPollWakesOnChange(t *testing.T) {
	f := newFixture(t)
	f.ok("PUT", "/v1/tenants/acme", `{}`)
	index := f.cfg.Consensus.Snapshot().Changed
	start := time.Now()
	if w := f.ok("GET", fmt.Sprintf("/v1/tenants?index=%d&wait=10s", index-1), ""); time.Since(start) > 5*time.Second || w.Code != 200 {
		t.Error("a poll for an older index waited")
	}
	got := make(chan *httptest.ResponseRecorder, 1)
	go func() { got <- f.as(RoleAdmin, "GET", fmt.Sprintf("/v1/tenants?index=%d&wait=30s", index), "") }()
	time.Sleep(20 * time.Millisecond)
	f.ok("PUT", "/v1/tenants/globex", `{}`)
	select {
	case w := <-got:
		if !strings.Contains(w.Body.String(), "globex") {
			t.Errorf("woken with %s", w.Body)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not woken")
	}
}

func TestForwardedIdentityIsOnlyBelievedFromCoordinators(t *testing.T) {
	f := newFixture(t)
	forged := formatPeer(identity.Peer{Mesh: "test", Region: "r", Node: "n", Roles: identity.RoleCoordinator, Serial: "1", NotAfter: time.Now()})
	if got := code(t, f.as("", "GET", "/v1/view", "", headerPeer, forged)); got != "unauthorized" {
		t.Errorf("forged identity from outside: %q", got)
	}
	for role, want := range map[identity.Role]string{identity.RoleEdge: "unauthorized", identity.RoleCoordinator: "not_found"} {
		r := httptest.NewRequest("GET", "/v1/view", nil)
		r.Header.Set(headerPeer, forged)
		r = r.WithContext(WithPeer(r.Context(), identity.Peer{Mesh: "test", Region: "r", Node: "x", Roles: role, Serial: "2"}))
		w := httptest.NewRecorder()
		f.Forwarded().ServeHTTP(w, r)
		if got := code(t, w); got != want {
			t.Errorf("from %s: %q, want %q", role, got, want)
		}
	}
	p, err := parsePeer(forged)
	if err != nil || p.Node != "n" || p.Roles != identity.RoleCoordinator {
		t.Errorf("parse: %+v %v", p, err)
	}
}

func FuzzParsePeer(fz *testing.F) {
	fz.Add("mesh r n 1 ab 5")
	fz.Add("  a ")
	fz.Fuzz(func(t *testing.T, text string) {
		p, err := parsePeer(text)
		if err != nil {
			return
		}
		if q, err := parsePeer(formatPeer(p)); err != nil || q != p {
			t.Errorf("%q: %+v is not %+v (%v)", text, q, p, err)
		}
	})
}

func TestProblemTable(t *testing.T) {
	for c, k := range kinds() {
		if k.status < 400 || k.status > 599 || k.outcome == "" {
			t.Errorf("%s: %+v", c, k)
		}
		if k.outcome == OutcomeUnknown && k.status < 500 {
			t.Errorf("%s: a client error with an unknown outcome", c)
		}
	}
	for _, c := range []state.Code{state.NotFound, state.Conflict, state.PreconditionFailed, state.Invalid, state.InUse, state.Denied, state.IdempotencyReuse} {
		if _, ok := kinds()[string(c)]; !ok {
			t.Errorf("state's %q has no status", c)
		}
	}
}
