package state

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// rig applies commands one after another, a second apart.
type rig struct {
	t     testing.TB
	s     *State
	index uint64
	now   time.Time
}

func newRig(t testing.TB) *rig { return &rig{t: t, s: New(), index: 1, now: t0} }

func (r *rig) try(c command.Command) Result {
	r.t.Helper()
	r.index++
	r.now = r.now.Add(time.Second)
	if c.Time == 0 {
		c.Time = r.now.UnixNano()
	}
	before := r.s.Hash()
	res := r.s.Apply(r.index, c)
	if res.Err != nil && r.s.Hash() != before {
		r.t.Fatalf("a rejected %s changed the state: %v", c.Kind(), res.Err)
	}
	return res
}

func (r *rig) do(body command.Body) Result {
	r.t.Helper()
	res := r.try(command.Command{Actor: "admin", Body: body})
	if res.Err != nil {
		r.t.Fatalf("%s: %v", body.Kind(), res.Err)
	}
	return res
}

func (r *rig) refuse(why string, code Code, text string, body command.Body) {
	r.t.Helper()
	r.refuseCommand(why, code, text, command.Command{Actor: "admin", Body: body})
}

func (r *rig) refuseCommand(why string, code Code, text string, c command.Command) {
	r.t.Helper()
	switch res := r.try(c); {
	case res.Err == nil:
		r.t.Errorf("%s: accepted", why)
	case res.Err.Code != code || !strings.Contains(res.Err.Error(), text):
		r.t.Errorf("%s: got %s %q, want %s %q", why, res.Err.Code, res.Err.Error(), code, text)
	}
}

func hashOf(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }

func provider(id string, exits ...string) Provider {
	return Provider{
		ID: id, Dialects: []string{"openai-chat"}, BaseURL: "https://api.example/v1", Exits: exits,
		Auth: Auth{Scheme: "bearer", Secrets: []Secret{{ID: "a", Sealed: []byte("sealed-" + id), Fingerprint: "fp-" + id}}},
	}
}

func model(id, provider string, aliases ...string) Model {
	return Model{ID: id, Aliases: aliases, Targets: []Target{{Provider: provider}}}
}

func key(id, tenant, secret string) Key {
	return Key{ID: id, Tenant: tenant, Hash: hashOf(secret), Fingerprint: "fp-" + secret}
}

// populated is a small mesh: org, tenant, provider, model with alias, key, limit.
func populated(t testing.TB) *rig {
	r := newRig(t)
	r.do(&command.PutOrg{Org: Org{ID: "group"}})
	r.do(&command.PutTenant{Tenant: Tenant{ID: "acme", Org: "group", Home: "EU"}})
	r.do(&command.PutProvider{Provider: provider("openai-us", "us-west")})
	r.do(&command.PutModel{Model: model("gpt-4o", "openai-us", "gpt-4")})
	r.do(&command.PutKey{Key: key("app", "acme", "one")})
	r.do(&command.PutLimit{Limit: Limit{Tenant: "acme", Key: "app", RPM: 600}})
	return r
}

func TestBuiltinRegions(t *testing.T) {
	r := newRig(t)
	var got []string
	for reg := range r.s.Current().Regions.All() {
		got = append(got, reg.ID+" "+reg.Country)
	}
	if diff := cmp.Diff([]string{"cn-east CN", "eu-central DE", "us-west US"}, got); diff != "" {
		t.Error(diff)
	}
	r.refuse("built-in regions stay", Conflict, "built in", &command.Delete{Sort: command.Regions, ID: "cn-east"})
	r.refuseCommand("they exist, so create-only fails", PreconditionFailed, "exists",
		command.Command{Match: command.Match{Absent: true}, Body: &command.PutRegion{Region: Region{ID: "cn-east", Country: "CN"}}})
}

func TestDefaultsAreStored(t *testing.T) {
	s := populated(t).s.Current()
	p, _ := s.Providers.Get("openai-us")
	if p.Timeouts != (Timeouts{Connect: Duration(5 * time.Second), FirstByte: Duration(2 * time.Minute), Gap: Duration(2 * time.Minute), Total: Duration(10 * time.Minute)}) {
		t.Errorf("timeouts %+v", p.Timeouts)
	}
	tenant, _ := s.Tenants.Get("acme")
	m, _ := s.Model("gpt-4")
	l, ok := s.Limits.Get("acme/app/*")
	if tenant.Class != "internal" || m.ID != "gpt-4o" || m.Targets[0] != (Target{Provider: "openai-us", Model: "gpt-4o", Weight: 1}) || !ok || l.Model != "*" {
		t.Errorf("tenant %+v, model %+v, limit %+v %v", tenant, m, l, ok)
	}
	if s.Policy.Default != "allow" || s.Policy.MaxAge.D() != 24*time.Hour || s.Policy.Revision != 0 || s.Route.Attempts != 3 {
		t.Errorf("policy %+v, route %+v", s.Policy, s.Route)
	}
}

func TestVersions(t *testing.T) {
	r := newRig(t)
	first := r.do(&command.PutTenant{Tenant: Tenant{ID: "acme"}})
	if first.Version() != first.Index {
		t.Errorf("version %d of entry %d", first.Version(), first.Index)
	}
	again := r.do(&command.PutTenant{Tenant: Tenant{ID: "acme", Version: 77}})
	if again.Changes[0].Action != Same || again.Version() != first.Version() {
		t.Errorf("an equal put must change nothing and ignore the version in the body: %+v", again)
	}
	if s := r.s.Current(); s.Index != again.Index || s.Changed != first.Index {
		t.Errorf("index %d, changed %d, want %d, %d", s.Index, s.Changed, again.Index, first.Index)
	}
	put := func(m command.Match, home string) command.Command {
		return command.Command{Match: m, Body: &command.PutTenant{Tenant: Tenant{ID: "acme", Home: home}}}
	}
	r.refuseCommand("create-only", PreconditionFailed, "exists", put(command.Match{Absent: true}, "US"))
	r.refuseCommand("lost update", PreconditionFailed, "not 1", put(command.Match{Version: 1}, "US"))
	r.refuseCommand("a stale version is refused even for an equal body", PreconditionFailed, "not 1", put(command.Match{Version: 1}, ""))
	next := r.try(put(command.Match{Version: first.Version()}, "US"))
	if next.Err != nil || next.Version() <= first.Version() {
		t.Errorf("compare and swap: %+v", next)
	}
	del := &command.Delete{Sort: command.Tenants, ID: "acme"}
	r.refuseCommand("delete of an older version", PreconditionFailed, "is at version", command.Command{Match: command.Match{Version: first.Version()}, Body: del})
	r.do(del)
	r.refuse("gone", NotFound, `no tenant "acme"`, del)
	r.refuseCommand("update only", PreconditionFailed, "does not exist", put(command.Match{Version: next.Version()}, "US"))
	if back := r.do(&command.PutTenant{Tenant: Tenant{ID: "acme"}}); back.Version() <= next.Version() {
		t.Error("a version came back after delete and create: an old If-Match would match")
	}
}

func TestReferences(t *testing.T) {
	r := populated(t)
	for _, tt := range []struct {
		why  string
		code Code
		text string
		body command.Body
	}{
		{"tenant of an unknown org", Invalid, `org: no org "x"`, &command.PutTenant{Tenant: Tenant{ID: "t", Org: "x"}}},
		{"key of an unknown tenant", Invalid, `tenant: no tenant "x"`, &command.PutKey{Key: key("k", "x", "s")}},
		{"key of no tenant", Invalid, `tenant: no tenant ""`, &command.PutKey{Key: key("k", "", "s")}},
		{"key for an unknown model", Invalid, `models[1]: no model "x"`, &command.PutKey{Key: Key{ID: "k", Tenant: "acme", Hash: []byte("h"), Models: []string{"*", "x"}}}},
		{"a reference names the id, not an alias", Invalid, `write "gpt-4o"`, &command.PutKey{Key: Key{ID: "k", Tenant: "acme", Hash: []byte("h"), Models: []string{"gpt-4"}}}},
		{"provider in an unknown region", Invalid, `exits[0]: no region "mars"`, &command.PutProvider{Provider: provider("p", "mars")}},
		{"model at an unknown provider", Invalid, `targets[0].provider: no provider "x"`, &command.PutModel{Model: model("m", "x")}},
		{"model at no provider", Invalid, `targets[0].provider: no provider ""`, &command.PutModel{Model: model("m", "")}},
		{"unknown fallback", Invalid, `fallbacks[0]: no model "x"`, &command.PutModel{Model: Model{ID: "m", Fallbacks: []string{"x"}}}},
		{"limit of an unknown key", Invalid, `key: no key "x"`, &command.PutLimit{Limit: Limit{Tenant: "acme", Key: "x", RPM: 1}}},
		{"rule for an unknown tenant", Invalid, `rules[0].when.tenant[0]: no tenant "x"`, &command.PutPolicy{Policy: Policy{Rules: []Rule{{ID: "r", When: When{Tenant: []string{"x"}}}}}}},
		{"org in use", InUse, `used by tenant "acme"`, &command.Delete{Sort: command.Orgs, ID: "group"}},
		{"tenant in use", InUse, `used by key "app"`, &command.Delete{Sort: command.Tenants, ID: "acme"}},
		{"provider in use", InUse, `used by model "gpt-4o"`, &command.Delete{Sort: command.Providers, ID: "openai-us"}},
		{"key in use", InUse, `used by limit "acme/app/*"`, &command.Delete{Sort: command.Keys, ID: "app"}},
	} {
		r.refuse(tt.why, tt.code, tt.text, tt.body)
	}
	r.do(&command.PutTenant{Tenant: Tenant{ID: "other"}})
	r.refuse("a limit on another tenant's key", Invalid, "belongs to tenant", &command.PutLimit{Limit: Limit{Tenant: "other", Key: "app", RPM: 1}})
	r.refuse("a key may not leave its limits behind", Invalid, "belongs to tenant", &command.PutKey{Key: Key{ID: "app", Tenant: "other"}})
	r.do(&command.PutPolicy{Policy: Policy{Rules: []Rule{{ID: "r", When: When{Tenant: []string{"other", "*"}, Model: []string{"gpt-4o"}}, Allow: []string{"US"}}}}})
	r.refuse("tenant named by a rule", InUse, "used by the policy", &command.Delete{Sort: command.Tenants, ID: "other"})
	r.refuse("model named by a rule", InUse, "used by the policy", &command.Delete{Sort: command.Models, ID: "gpt-4o"})
	r.do(&command.Delete{Sort: command.Policies})
	r.do(&command.Delete{Sort: command.Tenants, ID: "other"})
	r.do(&command.PutRegion{Region: Region{ID: "ap", Country: "JP"}})
	r.do(&command.PutProvider{Provider: provider("jp", "ap")})
	r.refuse("region with an exit", InUse, `used by provider "jp"`, &command.Delete{Sort: command.Regions, ID: "ap"})
}

func TestShapes(t *testing.T) {
	r := populated(t)
	for _, tt := range []struct {
		why, text string
		body      command.Body
	}{
		{"an id is a path segment", "is no tenant id", &command.PutTenant{Tenant: Tenant{ID: "a/b"}}},
		{"an id is not empty", "is no org id", &command.PutOrg{}},
		{"a limit that limits nothing", "needs rpm", &command.PutLimit{Limit: Limit{Tenant: "acme"}}},
		{"negative", "rpm: may not be negative", &command.PutLimit{Limit: Limit{Tenant: "acme", RPM: -1}}},
		{"text that cannot be stored", "UTF-8", &command.PutTenant{Tenant: Tenant{ID: "t", Home: "\xff"}}},
		{"plain secret", "plain secret", &command.PutKey{Key: Key{ID: "k", Tenant: "acme", Secret: "s", Hash: []byte("h")}}},
		{"new key without secret", "secret: a new key needs", &command.PutKey{Key: Key{ID: "k", Tenant: "acme"}}},
		{"new provider secret without value", "auth.secrets[0].value", &command.PutProvider{Provider: Provider{ID: "p", Dialects: []string{"gemini"}, BaseURL: "x", Auth: Auth{Secrets: []Secret{{ID: "a"}}}}}},
		{"provider without dialect", "dialects: ", &command.PutProvider{Provider: Provider{ID: "p", BaseURL: "x"}}},
		{"rule twice", "rules[1].id", &command.PutPolicy{Policy: Policy{Rules: []Rule{{ID: "r"}, {ID: "r"}}}}},
		{"what cannot be deleted", "route cannot be deleted", &command.Delete{Sort: command.Routes}},
		{"an alias twice", "aliases[1]: the name", &command.PutModel{Model: model("m", "openai-us", "x", "x")}},
		{"latitude", "lat: ", &command.PutRegion{Region: Region{ID: "r", Country: "US", Lat: 91}}},
	} {
		r.refuse(tt.why, Invalid, tt.text, tt.body)
	}
	r.refuse("a name means one model", Conflict, `belongs to model "gpt-4o"`, &command.PutModel{Model: model("gpt-4", "openai-us")})
	r.refuse("an alias is no other model's id", Conflict, `belongs to model "gpt-4o"`, &command.PutModel{Model: model("m", "openai-us", "gpt-4o")})
	r.refuse("one secret, one key", Conflict, "in use by another key", &command.PutKey{Key: key("k2", "acme", "one")})
}

func TestSecretsSurviveUpdates(t *testing.T) {
	r := populated(t)
	p, _ := r.s.Current().Providers.Get("openai-us")
	p = p.Public()
	p.Storage = []string{"US"}
	r.do(&command.PutProvider{Provider: p})
	got, _ := r.s.Current().Providers.Get("openai-us")
	if string(got.Auth.Secrets[0].Sealed) != "sealed-openai-us" || len(got.Storage) != 1 {
		t.Errorf("reading and writing back lost the secret: %+v", got)
	}
	p.Auth.Secrets[0].Sealed = []byte("sealed again, other nonce")
	if res := r.do(&command.PutProvider{Provider: p}); res.Changes[0].Action != Same {
		t.Errorf("the same secret sealed again is no change: %+v", res)
	}
	p.Auth.Secrets[0].Fingerprint = "fp-new"
	r.do(&command.PutProvider{Provider: p})
	if got, _ := r.s.Current().Providers.Get("openai-us"); string(got.Auth.Secrets[0].Sealed) != "sealed again, other nonce" {
		t.Errorf("a new secret was not taken: %+v", got)
	}
	if json := p.Public().Auth.Secrets[0]; json.Sealed != nil || json.Value != "" {
		t.Error("Public shows a secret")
	}
}

func TestKeyLifeCycle(t *testing.T) {
	r := populated(t)
	until := r.now.Add(time.Hour).Unix()
	r.do(&command.RotateKey{ID: "app", Hash: hashOf("two"), Fingerprint: "fp-two", KeepUntil: until})
	for _, secret := range []string{"one", "two"} {
		if k, ok := r.s.Current().KeyByHash(hashOf(secret)); !ok || k.ID != "app" || k.PreviousUntil != until {
			t.Errorf("secret %s: %+v %v", secret, k, ok)
		}
	}
	r.refuse("the former secret is still taken", Conflict, "in use", &command.PutKey{Key: key("k2", "acme", "one")})
	r.do(&command.PutKey{Key: Key{ID: "app", Tenant: "acme", IPs: []string{"10.0.0.0/8"}}})
	if k, _ := r.s.Current().Keys.Get("app"); k.PreviousUntil != until || len(k.IPs) != 1 || k.Fingerprint != "fp-two" {
		t.Errorf("an update without secret must keep both hashes: %+v", k)
	}
	r.do(&command.RotateKey{ID: "app", Hash: hashOf("three"), Fingerprint: "fp-three"})
	for _, secret := range []string{"one", "two"} {
		if _, ok := r.s.Current().KeyByHash(hashOf(secret)); ok {
			t.Errorf("secret %s outlived a rotation without grace", secret)
		}
	}
	r.refuse("rotation to the present secret", Invalid, "present one", &command.RotateKey{ID: "app", Hash: hashOf("three")})
	r.do(&command.RevokeKey{ID: "app"})
	if k, ok := r.s.Current().KeyByHash(hashOf("three")); !ok || !k.Revoked {
		t.Errorf("a revoked key stays known as revoked: %+v %v", k, ok)
	}
	r.refuse("revoked for good", Conflict, "revoked", &command.RotateKey{ID: "app", Hash: hashOf("four")})
	r.refuse("revoked for good", Conflict, "revoked", &command.PutKey{Key: key("app", "acme", "four")})
	if res := r.do(&command.PutKey{Key: Key{ID: "app", Tenant: "acme", IPs: []string{"10.0.0.0/8"}}}); res.Changes[0].Action != Same {
		t.Error("a file that still names a revoked key unchanged must apply")
	}
	r.do(&command.Delete{Sort: command.Limits, ID: "acme/app/*"})
	r.do(&command.Delete{Sort: command.Keys, ID: "app"})
	r.do(&command.PutKey{Key: key("fresh", "acme", "three")})
}

func TestIdempotency(t *testing.T) {
	r := newRig(t)
	write := func(actor, idem, request, home string) command.Command {
		return command.Command{
			Actor: actor, Idempotency: command.Idempotency{Key: idem, Request: sha256.Sum256([]byte(request))},
			Body: &command.PutTenant{Tenant: Tenant{ID: "acme", Home: home}},
		}
	}
	first := r.try(write("a", "k", "body", "US"))
	r.do(&command.PutTenant{Tenant: Tenant{ID: "acme", Home: "EU"}})
	again := r.try(write("a", "k", "body", "US"))
	if !again.Replayed || again.Index != first.Index || cmp.Diff(first.Changes, again.Changes) != "" {
		t.Errorf("the repetition answered %+v, the first %+v", again, first)
	}
	if got, _ := r.s.Current().Tenants.Get("acme"); got.Home != "EU" {
		t.Error("the repetition was applied again and undid a later write")
	}
	r.refuseCommand("one key, two requests", IdempotencyReuse, "new key", write("a", "k", "other", "US"))
	if res := r.try(write("b", "k", "other", "US")); res.Err != nil || res.Replayed {
		t.Errorf("another actor's key is another key: %+v", res)
	}
	refused := write("a", "k2", "x", "US")
	refused.Match.Absent = true
	r.refuseCommand("first try", PreconditionFailed, "exists", refused)
	r.do(&command.Delete{Sort: command.Tenants, ID: "acme"})
	if res := r.try(refused); res.Err != nil || res.Replayed {
		t.Errorf("a rejection is not remembered: nothing happened, so a retry may succeed: %+v", res)
	}
	// A restored replica answers alike.
	r.s = reload(t, r.s)
	if res := r.try(write("a", "k", "body", "US")); !res.Replayed {
		t.Errorf("forgotten in the snapshot: %+v", res)
	}
	r.now = r.now.Add(24 * time.Hour)
	if res := r.try(write("a", "k", "other", "US")); res.Err != nil || res.Replayed {
		t.Errorf("24 h later the key is free: %+v", res)
	}
	if n := r.s.Current().answers.Len(); n != 1 {
		t.Errorf("%d answers kept, want the last one", n)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	s := New().Current()
	for i := range maxAnswers {
		a := answer{ID: string(rune('a'+i%26)) + "\x00" + time.Duration(i).String(), At: t0.UnixNano() + int64(i), Index: uint64(i + 2)}
		s.answers, s.oldest = s.answers.with(a.ID, a), s.oldest.with(a.order(), a.ID)
	}
	_, first, _ := s.oldest.first()
	s.Index = maxAnswers + 2
	next, res := s.Next(s.Index+1, command.Command{Time: t0.Add(time.Minute).UnixNano(), Idempotency: command.Idempotency{Key: "new"}, Body: &command.PutOrg{Org: Org{ID: "o"}}})
	if res.Err != nil || next.answers.Len() != maxAnswers || next.answers.Has(*first) || next.oldest.Len() != maxAnswers {
		t.Errorf("%v: %d answers, %d in order, oldest still there: %v", res.Err, next.answers.Len(), next.oldest.Len(), next.answers.Has(*first))
	}
}

func TestClockNeverGoesBack(t *testing.T) {
	r := newRig(t)
	r.do(&command.PutOrg{Org: Org{ID: "a"}})
	clock := r.s.Current().Clock
	res := r.try(command.Command{Time: t0.Add(-time.Hour).UnixNano(), Body: &command.PutOrg{Org: Org{ID: "b"}}})
	if res.Err != nil || r.s.Current().Clock != clock {
		t.Errorf("clock %d after %d: a new leader's slow clock must not revive what expired", r.s.Current().Clock, clock)
	}
}

func TestInitOnce(t *testing.T) {
	r := newRig(t)
	r.refuse("an identity is needed", Invalid, "needs an id", &command.Init{Mesh: "m"})
	r.do(&command.Init{Mesh: "m", Cluster: "c1", CACert: []byte("pem"), SealedCAKey: []byte("k"), SealedPepper: []byte("p")})
	r.refuse("once", Conflict, `already initialised as "c1"`, &command.Init{Mesh: "m", Cluster: "c2"})
	if s := r.s.Current(); s.Cluster != "c1" || s.Mesh != "m" || string(s.SealedPepper) != "p" {
		t.Errorf("%+v", s)
	}
}

func TestEntriesOutOfOrderHalt(t *testing.T) {
	r := newRig(t)
	r.do(&command.PutOrg{Org: Org{ID: "a"}})
	defer func() {
		if recover() == nil {
			t.Error("an entry was applied twice")
		}
	}()
	r.s.Apply(r.index, command.Command{Body: &command.PutOrg{Org: Org{ID: "b"}}})
}
