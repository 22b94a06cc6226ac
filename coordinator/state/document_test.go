package state

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

func actions(res Result) map[string]string {
	out := map[string]string{}
	for _, c := range res.Changes {
		if c.Action != Same {
			out[c.Sort.String()+"/"+c.ID] = c.Action.String()
		}
	}
	return out
}

func TestDocumentUpserts(t *testing.T) {
	r := populated(t)
	doc := Document{
		Version: 1,
		// In an order in which nothing is declared before it is used.
		Limits:    []Limit{{Tenant: "new", Key: "newkey", RPM: 5}},
		Keys:      []Key{key("newkey", "new", "fresh")},
		Tenants:   []Tenant{{ID: "new", Org: "neworg"}},
		Orgs:      []Org{{ID: "neworg"}},
		Models:    []Model{{ID: "auto", Targets: []Target{{Provider: "newprov"}}, Fallbacks: []string{"later"}}, model("later", "openai-us")},
		Providers: []Provider{provider("newprov", "ap")},
		Regions:   []Region{{ID: "ap", Country: "JP"}},
		Audit:     []AuditRule{{Tenant: "new"}},
		Route:     &Route{Policy: "seed"},
	}
	want := map[string]string{
		"limits/new/newkey/*": "add", "keys/newkey": "add", "tenants/new": "add", "orgs/neworg": "add", "models/auto": "add", "models/later": "add",
		"providers/newprov": "add", "regions/ap": "add", "audit/new": "add", "route/": "change",
	}
	if diff := cmp.Diff(want, actions(r.do(&command.Apply{Document: doc}))); diff != "" {
		t.Error(diff)
	}
	if got := actions(r.do(&command.Apply{Document: doc})); len(got) != 0 {
		t.Errorf("applying twice changed %v", got)
	}
	if !r.s.Current().Keys.Has("app") {
		t.Error("apply without prune deleted")
	}
	r.refuse(`"later" still needs openai-us`, Invalid, `models[1].targets[0].provider: no provider "openai-us"`, &command.Apply{Document: doc, Prune: true})
	doc.Models[1] = model("later", "newprov")
	want = map[string]string{
		"limits/acme/app/*": "delete", "keys/app": "delete", "tenants/acme": "delete", "orgs/group": "delete", "models/gpt-4o": "delete",
		"models/later": "change", "providers/openai-us": "delete",
	}
	if diff := cmp.Diff(want, actions(r.do(&command.Apply{Document: doc, Prune: true}))); diff != "" {
		t.Error(diff)
	}
}

func TestDocumentIsAllOrNothing(t *testing.T) {
	r := populated(t)
	before := r.s.Hash()
	r.refuse("the last of many is wrong", Invalid, `keys[1].tenant: no tenant "x"`, &command.Apply{Document: Document{
		Tenants: []Tenant{{ID: "fine"}}, Keys: []Key{key("k1", "fine", "s1"), key("k2", "x", "s2")},
	}})
	r.refuse("given twice", Invalid, `tenants[1]: tenant "a" is already given by tenants[0]`, &command.Apply{Document: Document{Tenants: []Tenant{{ID: "a"}, {ID: "a"}}}})
	r.refuse("path of a nested field", Invalid, "providers[0].auth.secrets[0].value", &command.Apply{Document: Document{
		Providers: []Provider{{ID: "p", Dialects: []string{"gemini"}, BaseURL: "https://x", Auth: Auth{Secrets: []Secret{{ID: "a"}}}}},
	}})
	r.refuseCommand("conditions are for objects", Invalid, "not for a document", command.Command{Match: command.Match{Version: 3}, Body: &command.Apply{}})
	if r.s.Hash() != before || r.s.Current().Tenants.Len() != 1 {
		t.Error("half applied")
	}
}

func TestPrune(t *testing.T) {
	r := populated(t)
	r.refuse("a pruned object that a section outside the file uses", InUse, `tenant "acme" is used by key "app"`,
		&command.Apply{Prune: true, Document: Document{Tenants: []Tenant{}}})
	got := actions(r.do(&command.Apply{Prune: true, Document: Document{Limits: []Limit{}}}))
	if diff := cmp.Diff(map[string]string{"limits/acme/app/*": "delete"}, got); diff != "" {
		t.Errorf("prune reaches only sections that the file has:\n%s", diff)
	}
	r.do(&command.PutRegion{Region: Region{ID: "us-west", Country: "US", Lat: 1}})
	r.do(&command.PutRegion{Region: Region{ID: "ap", Country: "JP"}})
	r.do(&command.PutPolicy{Policy: Policy{Default: "deny"}})
	r.do(&command.Apply{Prune: true, Document: Document{Version: 1}.Whole()})
	got2 := r.s.Current()
	if got2.Tenants.Len()+got2.Orgs.Len()+got2.Keys.Len()+got2.Models.Len()+got2.Providers.Len()+got2.Limits.Len() != 0 {
		t.Error("an empty file as the whole state leaves something behind")
	}
	us, _ := got2.Regions.Get("us-west")
	if got2.Regions.Len() != 3 || us.Lat != builtin[2].Lat || got2.Policy.Default != "allow" {
		t.Errorf("regions %v, policy %+v", got2.Regions.Slice(), got2.Policy)
	}
	if got := actions(r.do(&command.Apply{Prune: true, Document: Document{Version: 1}.Whole()})); len(got) != 0 {
		t.Errorf("applied twice, it changed %v", got)
	}
}

func TestNamesAndSecretsMoveInOneDocument(t *testing.T) {
	r := populated(t)
	r.do(&command.Apply{Document: Document{Models: []Model{model("a", "openai-us", "x", "y"), model("b", "openai-us", "z")}}})
	r.do(&command.Apply{Document: Document{Models: []Model{model("b", "openai-us", "x"), model("a", "openai-us", "y", "z")}}})
	for alias, want := range map[string]string{"x": "b", "y": "a", "z": "a"} {
		if m, _ := r.s.Current().Model(alias); m.ID != want {
			t.Errorf("%s means %s, want %s", alias, m.ID, want)
		}
	}
	r.do(&command.Apply{Document: Document{Keys: []Key{key("k1", "acme", "s1"), key("k2", "acme", "s2")}}})
	r.do(&command.Apply{Document: Document{Keys: []Key{key("k1", "acme", "s2"), key("k2", "acme", "s1")}}})
	if k, _ := r.s.Current().KeyByHash(hashOf("s1")); k.ID != "k2" {
		t.Errorf("secrets did not swap: %+v", k)
	}
	// An id freed by prune becomes an alias in the same document.
	r.do(&command.Apply{Prune: true, Document: Document{Models: []Model{model("b", "openai-us", "a")}}})
	if m, _ := r.s.Current().Model("a"); m.ID != "b" {
		t.Errorf("a means %q", m.ID)
	}
}

// TestPolicyNeverLoosensByOmission: a file that leaves a rule out is no wish to lift it.
func TestPolicyNeverLoosensByOmission(t *testing.T) {
	r := newRig(t)
	apply := func(p Policy, prune bool) []string {
		r.do(&command.Apply{Document: Document{Policy: &p}, Prune: prune})
		var out []string
		for _, rule := range r.s.Current().Policy.Rules {
			out = append(out, rule.ID+"="+rule.Allow[0])
		}
		return append(out, r.s.Current().Policy.Default)
	}
	rule := func(id, allow string) Rule { return Rule{ID: id, Allow: []string{allow}} }
	apply(Policy{Default: "deny", Rules: []Rule{rule("a", "US"), rule("b", "EU")}}, false)
	rev := r.s.Current().Policy.Revision
	if diff := cmp.Diff([]string{"a=CN", "b=EU", "c=JP", "deny"}, apply(Policy{Rules: []Rule{rule("c", "JP"), rule("a", "CN")}}, false)); diff != "" {
		t.Error(diff)
	}
	if got := r.s.Current().Policy.Revision; got <= rev {
		t.Errorf("revision %d after %d", got, rev)
	}
	if diff := cmp.Diff([]string{"c=JP", "allow"}, apply(Policy{Rules: []Rule{rule("c", "JP")}}, true)); diff != "" {
		t.Errorf("with prune the file is the policy: %s", diff)
	}
}
