package compliance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/geo"
)

func set(tb testing.TB, items ...string) geo.CountrySet {
	tb.Helper()
	s, err := geo.ParseCountrySet(items)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func compile(tb testing.TB, src PolicySource) *Policy {
	tb.Helper()
	p, err := Compile(src)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// sample is the policy of DESIGN.md 4.2.
func sample() PolicySource {
	return PolicySource{Default: "allow", Revision: 7, Rules: []RuleSource{
		{ID: "eu-export", When: WhenSource{Home: []string{"EU"}}, Allow: []string{"EU", "US", "GB"}},
		{ID: "eu-sensitive", When: WhenSource{Home: []string{"EU"}, Class: []string{"confidential", "restricted"}}, Allow: []string{"EU", "US"}, Approval: true},
		{ID: "cn-stay", When: WhenSource{Home: []string{"CN"}, Class: []string{"confidential", "restricted"}}, Allow: []string{"CN"}},
	}}
}

func TestCheckTable(t *testing.T) {
	p := compile(t, sample())
	deny := compile(t, PolicySource{Default: "deny", Rules: []RuleSource{
		{ID: "us", When: WhenSource{Home: []string{"US"}}, Allow: []string{"US"}},
		{ID: "cn", When: WhenSource{Home: []string{"CN"}}, Allow: []string{"CN", "US"}},
		{ID: "de", When: WhenSource{Home: []string{"DE"}}, Allow: []string{"DE"}},
	}})
	tests := []struct {
		why    string
		policy *Policy
		home   string
		class  Class
		client geo.Country
		user   geo.Country
		places []string // of one hop, "" = unknown
		want   Decision
		rule   string
	}{
		{"inside allow", p, "EU", Internal, "DE", "", []string{"US"}, Allow, ""},
		{"outside allow", p, "EU", Internal, "DE", "", []string{"JP"}, Deny, "eu-export"},
		{"the allow lists of all rules that apply intersect", p, "EU", Confidential, "DE", "", []string{"GB"}, Deny, "eu-sensitive"},
		{"outside home, inside allow, approval", p, "EU", Confidential, "DE", "", []string{"US"}, NeedsApproval, "eu-sensitive"},
		{"inside home never needs one", p, "EU", Confidential, "DE", "", []string{"FR"}, Allow, ""},
		{"a hop that may be in several places must have all of them allowed", p, "EU", Internal, "DE", "", []string{"US", "JP"}, Deny, "eu-export"},
		{"anywhere is not allowed somewhere", p, "EU", Internal, "DE", "", []string{"*"}, Deny, "eu-export"},
		{"partly outside home needs approval", p, "EU", Confidential, "DE", "", []string{"DE", "US"}, NeedsApproval, "eu-sensitive"},
		{"the data class is looked at", p, "CN", Internal, "CN", "", []string{"US"}, Allow, ""},
		{"the data class is looked at", p, "CN", Restricted, "CN", "", []string{"US"}, Deny, "cn-stay"},
		{"in country", p, "CN", Restricted, "CN", "", []string{"CN"}, Allow, ""},
		{"an unknown place fails every restricting rule", p, "EU", Internal, "DE", "", nil, Deny, "eu-export"},
		{"no restriction: an unknown place may be", p, "US", Internal, "US", "", nil, Allow, ""},
		{"no restriction: anywhere may be", p, "US", Internal, "US", "", []string{"*"}, Allow, ""},
		{"a country inside the rule's jurisdiction", p, "FR", Internal, "FR", "", []string{"JP"}, Deny, "eu-export"},
		{"GB is not EU: no rule of home EU applies", p, "GB", Internal, "GB", "", []string{"JP"}, Allow, ""},
		{"HR is EU", p, "HR", Internal, "HR", "", []string{"JP"}, Deny, "eu-export"},
		{"the client's address tightens", p, "US", Restricted, "CN", "", []string{"US"}, Deny, "cn-stay"},
		{"the user's country tightens", p, "US", Restricted, "US", "CN", []string{"US"}, Deny, "cn-stay"},
		{"evidence inside home adds nothing", p, "EU", Confidential, "FR", "DE", []string{"NL"}, Allow, ""},
		{"evidence never loosens", p, "CN", Restricted, "US", "US", []string{"US"}, Deny, "cn-stay"},
		{"a tenant without a home falls under every rule that names one", p, "", Internal, "US", "", []string{"JP"}, Deny, "eu-export"},
		{"default deny", deny, "JP", Public, "JP", "", []string{"JP"}, Deny, "default"},
		{"default deny, lifted by a declared home", deny, "US", Public, "US", "", []string{"US"}, Allow, ""},
		{"default deny, not lifted by an address", deny, "JP", Public, "US", "", []string{"US"}, Deny, "default"},
		{"default deny, not lifted by a header", deny, "JP", Public, "JP", "CN", []string{"CN"}, Deny, "default"},
		{"default deny, not lifted where the rule may not cover the home", deny, "EU", Public, "DE", "", []string{"DE"}, Deny, "default"},
	}
	for _, tt := range tests {
		f := Facts{Class: tt.class, Client: tt.client, ClientKnown: tt.client != "", UserCountry: tt.user}
		if tt.home != "" {
			f.Home = set(t, tt.home)
		}
		v := tt.policy.Decide(f)
		got := v.Check([]Hop{{Kind: HopExit, ID: "x", Places: set(t, tt.places...)}}, nil)
		if got.Decision != tt.want || got.Rule != tt.rule {
			t.Errorf("%s: home %s, %s, client %s, user %s, hop %v: got %v by %q (%s), want %v by %q",
				tt.why, tt.home, tt.class, tt.client, tt.user, tt.places, got.Decision, got.Rule, got.Why, tt.want, tt.rule)
		}
	}
}

// The seed article's checker had four faults (reference/compliance.md 3.3, end).
func TestSeedArticleFaults(t *testing.T) {
	seed := compile(t, PolicySource{Rules: []RuleSource{
		{ID: "seed-cn", When: WhenSource{Home: []string{"CN"}, Class: []string{"restricted"}}, Allow: []string{"CN"}, Approval: true},
		{ID: "seed-eu", When: WhenSource{Home: []string{"EU"}, Class: []string{"restricted"}}, Allow: []string{"EU", "US", "GB"}, Approval: true},
	}})
	eu := seed.Decide(Facts{Home: set(t, "EU"), Class: Restricted})
	t.Run("an unknown location was compliant", func(t *testing.T) {
		if got := eu.Check([]Hop{{Kind: HopProcessing}}, nil); got.Decision != Deny {
			t.Errorf("got %v, want deny", got.Decision)
		}
	})
	t.Run("allowed with approval was never possible", func(t *testing.T) {
		got := eu.Check([]Hop{{Kind: HopProcessing, ID: "p", Places: set(t, "US")}}, nil)
		if got.Decision != NeedsApproval || got.Decision.Code() != "export_approval_required" {
			t.Errorf("got %v, want needs_approval", got.Decision)
		}
	})
	t.Run("EU was a country code, UK another", func(t *testing.T) {
		if got := eu.Check([]Hop{{Places: set(t, "DE")}}, nil); got.Decision != Allow {
			t.Errorf("DE: got %v, want allow", got.Decision)
		}
		if got := eu.Check([]Hop{{Places: set(t, "GB")}}, nil); got.Decision != NeedsApproval {
			t.Errorf("GB: got %v, want needs_approval", got.Decision)
		}
		if _, err := Compile(PolicySource{Rules: []RuleSource{{ID: "x", Allow: []string{"EUROPE"}}}}); err == nil {
			t.Error("a place that does not exist compiled")
		}
	})
	t.Run("the data class was ignored", func(t *testing.T) {
		v := seed.Decide(Facts{Home: set(t, "CN"), Class: Internal})
		if got := v.Check([]Hop{{Places: set(t, "US")}}, nil); got.Decision != Allow {
			t.Errorf("internal: got %v, want allow", got.Decision)
		}
		v = seed.Decide(Facts{Home: set(t, "CN"), Class: Restricted})
		if got := v.Check([]Hop{{Places: set(t, "US")}}, nil); got.Decision != Deny {
			t.Errorf("restricted: got %v, want deny", got.Decision)
		}
	})
}

func TestEveryHopIsChecked(t *testing.T) {
	v := compile(t, sample()).Decide(Facts{Home: set(t, "CN"), Class: Restricted})
	cn, us := set(t, "CN"), set(t, "US")
	kinds := []HopKind{HopEdge, HopExit, HopProcessing, HopStorage}
	for bad := range kinds {
		hops := make([]Hop, len(kinds))
		for i, k := range kinds {
			hops[i] = Hop{Kind: k, ID: k.String(), Places: cn}
		}
		if got := v.Check(hops, nil); got.Decision != Allow {
			t.Fatalf("all in CN: got %v (%s)", got.Decision, got.Why)
		}
		hops[bad].Places = us
		got := v.Check(hops, nil)
		if got.Decision != Deny || got.Hop.Kind != kinds[bad] {
			t.Errorf("%s in US: got %v at %s, want deny there", kinds[bad], got.Decision, got.Hop.Kind)
		}
	}
}

func TestStalePolicy(t *testing.T) {
	p := compile(t, sample())
	for _, tt := range []struct {
		why   string
		class Class
		age   time.Duration
		want  Decision
	}{
		{"as old as it may be", Restricted, DefaultMaxAge, Allow},
		{"older", Restricted, DefaultMaxAge + 1, Stale},
		{"other classes go on", Confidential, 30 * DefaultMaxAge, Allow},
	} {
		v := p.Decide(Facts{Home: set(t, "CN"), Class: tt.class, PolicyAge: tt.age})
		if got := v.Check([]Hop{{Places: set(t, "CN")}}, nil); got.Decision != tt.want {
			t.Errorf("%s: got %v, want %v", tt.why, got.Decision, tt.want)
		}
	}
}

func TestAuditModeIsForced(t *testing.T) {
	p := compile(t, PolicySource{Rules: []RuleSource{
		{ID: "s", When: WhenSource{Purpose: []string{"medical"}}, Allow: []string{"*"}, Audit: "strict"},
	}})
	for _, tt := range []struct {
		why     string
		mode    AuditMode
		class   Class
		purpose string
		want    AuditMode
	}{
		{"default", AuditUnset, Internal, "", AuditBuffer},
		{"best effort is for class public only", AuditBestEffort, Internal, "", AuditBuffer},
		{"best effort", AuditBestEffort, Public, "", AuditBestEffort},
		{"class restricted", AuditBuffer, Restricted, "", AuditStrict},
		{"a rule says so", AuditBestEffort, Public, "medical", AuditStrict},
		{"the tenant says so", AuditStrict, Public, "", AuditStrict},
	} {
		v := p.Decide(Facts{Home: set(t, "US"), Audit: tt.mode, Class: tt.class, Purpose: tt.purpose})
		if v.Audit != tt.want {
			t.Errorf("%s: got %v, want %v", tt.why, v.Audit, tt.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, tt := range []struct {
		why  string
		src  PolicySource
		want string
	}{
		{"no such default", PolicySource{Default: "maybe"}, "policy.default"},
		{"negative age", PolicySource{MaxAge: -1}, "max_age"},
		{"no id", PolicySource{Rules: []RuleSource{{Allow: []string{"US"}}}}, "policy.rules[0]: id is missing"},
		{"same id", PolicySource{Rules: []RuleSource{{ID: "a", Allow: []string{"US"}}, {ID: "a", Allow: []string{"US"}}}}, "used twice"},
		{"nowhere or anywhere?", PolicySource{Rules: []RuleSource{{ID: "a"}}}, "allow is empty"},
		{"no such country", PolicySource{Rules: []RuleSource{{ID: "a", Allow: []string{"XX1"}}}}, "XX1"},
		{"no such home", PolicySource{Rules: []RuleSource{{ID: "a", When: WhenSource{Home: []string{"Atlantis"}}, Allow: []string{"US"}}}}, "when.home"},
		{"no such class", PolicySource{Rules: []RuleSource{{ID: "a", When: WhenSource{Class: []string{"secret"}}, Allow: []string{"US"}}}}, "secret"},
		{"no such mode", PolicySource{Rules: []RuleSource{{ID: "a", Allow: []string{"US"}, Audit: "always"}}}, "always"},
	} {
		if _, err := Compile(tt.src); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.why, err, tt.want)
		}
	}
}

func TestRefusalShowsTheNearest(t *testing.T) {
	got := Refusal([]Outcome{{Decision: Deny}, {Decision: NeedsApproval, Why: "a"}, {Decision: TermsRefused}})
	if got.Decision != NeedsApproval || got.Why != "a" {
		t.Errorf("got %+v, want the approval", got)
	}
}

var world = []string{"US", "CN", "DE", "FR", "GB", "JP"}

func genPlaces() *rapid.Generator[[]string] {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(append([]string{"EU", "*"}, world...)), 1, 3, rapid.ID[string])
}

func genPolicy(t *rapid.T) PolicySource {
	src := PolicySource{Default: rapid.SampledFrom([]string{"", "allow", "deny"}).Draw(t, "default")}
	for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
		r := RuleSource{ID: string(rune('a' + i)), Allow: genPlaces().Draw(t, "allow"), Approval: rapid.Bool().Draw(t, "approval")}
		if rapid.Bool().Draw(t, "by home") {
			r.When.Home = genPlaces().Draw(t, "when home")
		}
		if rapid.Bool().Draw(t, "by class") {
			r.When.Class = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"public", "internal", "confidential", "restricted"}), 1, 3, rapid.ID[string]).Draw(t, "when class")
		}
		if rapid.Bool().Draw(t, "by tenant") {
			r.When.Tenant = []string{rapid.SampledFrom([]string{"acme", "other", "*"}).Draw(t, "when tenant")}
		}
		src.Rules = append(src.Rules, r)
	}
	return src
}

func genFacts(t *rapid.T) (Facts, []string) {
	home := rapid.SampledFrom([][]string{nil, {"US"}, {"CN"}, {"DE"}, {"EU"}, {"GB"}, {"DE", "CN"}}).Draw(t, "home")
	s, err := geo.ParseCountrySet(home)
	if err != nil {
		t.Fatal(err)
	}
	country := rapid.SampledFrom(append([]string{""}, world...))
	return Facts{
		Tenant: rapid.SampledFrom([]string{"acme", "other"}).Draw(t, "tenant"),
		Home:   s, Class: Class(rapid.IntRange(0, 3).Draw(t, "class")),
		Client: geo.Country(country.Draw(t, "client")), UserCountry: geo.Country(country.Draw(t, "user")),
		ClientKnown: true,
	}, expand(home)
}

// The oracle works on lists of country codes and knows nothing of bit sets.
var oracleEU = strings.Fields("AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE")

func expand(items []string) []string {
	var out []string
	for _, it := range items {
		if it == "EU" {
			out = append(out, oracleEU...)
		} else {
			out = append(out, it)
		}
	}
	return out
}

func within(part, whole []string) bool {
	if slices.Contains(whole, "*") {
		return true
	}
	for _, p := range part {
		if !slices.Contains(whole, p) {
			return false
		}
	}
	return true
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(c string) bool { return slices.Contains(b, c) })
}

// oracle decides for one hop as the prose of DESIGN.md 4.2 says it.
func oracle(src PolicySource, f Facts, home, hop []string) Decision {
	certain, needs := false, false
	for _, r := range src.Rules {
		if len(r.When.Class) > 0 && !slices.Contains(r.When.Class, f.Class.String()) {
			continue
		}
		if len(r.When.Tenant) > 0 && !slices.Contains(r.When.Tenant, f.Tenant) && !slices.Contains(r.When.Tenant, "*") {
			continue
		}
		where, free := expand(r.When.Home), home
		any := len(where) == 0 || slices.Contains(where, "*")
		applies := any
		certain = certain || any
		if !any {
			if len(home) == 0 {
				applies = true
			} else {
				applies = overlap(home, where)
				certain = certain || within(home, where)
			}
			for _, c := range []string{string(f.Client), string(f.UserCountry)} {
				if c != "" && !slices.Contains(home, c) && slices.Contains(where, c) {
					applies = true
					free = slices.DeleteFunc(slices.Clone(free), func(x string) bool { return x != c })
				}
			}
		}
		if !applies {
			continue
		}
		allow := expand(r.Allow)
		unrestricted := slices.Contains(allow, "*") && !r.Approval
		if len(hop) == 0 && !unrestricted || !within(hop, allow) {
			return Deny
		}
		if r.Approval && (len(free) == 0 || !within(hop, free)) {
			needs = true
		}
	}
	if src.Default == "deny" && !certain {
		return Deny
	}
	if needs {
		return NeedsApproval
	}
	return Allow
}

func TestDecideEqualsOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := genPolicy(t)
		p, err := Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		f, home := genFacts(t)
		hop := rapid.SampledFrom([][]string{nil, {"US"}, {"CN"}, {"DE"}, {"GB"}, {"US", "DE"}, {"EU"}, {"*"}, {"JP"}}).Draw(t, "hop")
		places, err := geo.ParseCountrySet(hop)
		if err != nil {
			t.Fatal(err)
		}
		v := p.Decide(f)
		got := v.Check([]Hop{{Kind: HopExit, ID: "x", Places: places}}, nil)
		if want := oracle(src, f, home, expand(hop)); got.Decision != want {
			t.Fatalf("got %v (%s), want %v", got.Decision, got.Why, want)
		}
	})
}

func TestEvidenceNeverLoosens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := Compile(genPolicy(t))
		if err != nil {
			t.Fatal(err)
		}
		f, _ := genFacts(t)
		bare := f
		bare.Client, bare.UserCountry = "", ""
		with, without := p.Decide(f), p.Decide(bare)
		terms, _ := TermsFor("openai")
		for _, c := range append([]string{"*"}, world...) {
			places, err := geo.ParseCountrySet([]string{c})
			if err != nil {
				t.Fatal(err)
			}
			hops := []Hop{{Places: places}}
			a, b := with.Check(hops, terms).Decision, without.Check(hops, terms).Decision
			if a < b {
				t.Fatalf("hop %s: %v with evidence, %v without", c, a, b)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	p := compile(b, sample())
	terms, _ := TermsFor("openai")
	us := set(b, "US")
	hops := []Hop{{HopEdge, "us", us}, {HopExit, "us", us}, {HopProcessing, "p", us}, {HopStorage, "p", us}}
	for name, f := range map[string]Facts{
		"none":  {Home: us, Client: "US", ClientKnown: true, Class: Internal},
		"one":   {Home: set(b, "EU"), Client: "DE", ClientKnown: true, Class: Internal},
		"three": {Home: set(b, "EU"), Client: "CN", ClientKnown: true, Class: Restricted},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v := p.Decide(f)
				v.Check(hops, terms)
			}
		})
	}
}
