package compliance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/geo"
)

func TestShippedTerms(t *testing.T) {
	list, err := parseTerms(shippedTerms)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := TermsNames(), []string{"anthropic", "google", "openai"}; !slices.Equal(got, want) {
		t.Fatalf("shipped lists: got %v, want %v", got, want)
	}
	if !strings.Contains(string(shippedTerms), "not legal advice") {
		t.Error("the data does not say that it is not legal advice")
	}
	for _, terms := range list {
		if !strings.HasPrefix(terms.Source, "https://") || terms.Review == "" {
			t.Errorf("%s: source %q, review %q", terms.Name, terms.Source, terms.Review)
		}
		for _, c := range []geo.Country{"CN", "HK", "MO", "RU", "BY", "IR", "KP", "SY", "CU"} {
			if terms.Countries.Has(c) {
				t.Errorf("%s lists %s, which its provider does not support", terms.Name, c)
			}
		}
		for _, c := range []geo.Country{"US", "DE", "FR", "GB", "JP", "IN", "BR", "SG", "TW", "UA", "HR", "PR"} {
			if !terms.Countries.Has(c) {
				t.Errorf("%s does not list %s", terms.Name, c)
			}
		}
		eu := set(t, "EU")
		if !terms.Countries.Covers(eu) {
			t.Errorf("%s does not cover the EU", terms.Name)
		}
		if n := len(terms.Countries.Countries()); n < 150 || n > 240 {
			t.Errorf("%s has %d countries", terms.Name, n)
		}
	}
}

func TestTermsPermits(t *testing.T) {
	terms, ok := TermsFor("openai")
	if !ok {
		t.Fatal("no list for openai")
	}
	us, eu, cn := set(t, "US"), set(t, "EU"), set(t, "CN")
	for _, tt := range []struct {
		why  string
		f    Facts
		want string // part of the refusal; "" = permitted
	}{
		{"all supported", Facts{Home: us, Client: "US", ClientKnown: true}, ""},
		{"a jurisdiction, wholly supported", Facts{Home: eu, Client: "DE", ClientKnown: true}, ""},
		{"client vouched to be at home", Facts{Home: us, ClientKnown: true}, ""},
		{"client at a home that is not supported", Facts{Home: cn, ClientKnown: true}, "home CN"},
		{"client", Facts{Home: us, Client: "CN", ClientKnown: true}, "client is in CN"},
		{"client in Hong Kong", Facts{Home: us, Client: "HK", ClientKnown: true}, "client is in HK"},
		{"client unknown", Facts{Home: us}, "unknown"},
		{"tenant", Facts{Home: cn, Client: "US", ClientKnown: true}, "home CN"},
		{"tenant anywhere", Facts{Home: geo.AllCountries(), Client: "US", ClientKnown: true}, "home"},
		{"tenant undeclared", Facts{Client: "US", ClientKnown: true}, "declares no home"},
		{"owner", Facts{Home: us, Ownership: "CN", Client: "US", ClientKnown: true}, "owner is in CN"},
		{"end user", Facts{Home: us, Client: "US", ClientKnown: true, UserCountry: "RU"}, "end user is in RU"},
	} {
		ok, why := terms.Permits(tt.f)
		if ok != (tt.want == "") || !strings.Contains(why, tt.want) {
			t.Errorf("%s: got %v %q, want %q", tt.why, ok, why, tt.want)
		}
		v := compile(t, PolicySource{}).Decide(tt.f)
		if got := v.Check(nil, terms); (got.Decision == Allow) != ok {
			t.Errorf("%s: Check says %v, Permits %v", tt.why, got.Decision, ok)
		}
	}
}

func TestTermsStale(t *testing.T) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	terms := &Terms{ReviewedAt: at}
	if terms.Stale(at.Add(TermsMaxAge)) || !terms.Stale(at.Add(TermsMaxAge+1)) {
		t.Error("a review is stale after 90 days, not before")
	}
}

func TestParseTermsRefuses(t *testing.T) {
	for _, in := range []string{
		`{"notice":"x","providers":[{"name":"a","unknown":1}]}`,
		`{"notice":"x","providers":[{"name":"a","reviewed_at":"soon"}]}`,
		`{"notice":"x","providers":[{"name":"a","reviewed_at":"2026-11-22","countries":["Atlantis"]}]}`,
	} {
		if _, err := parseTerms([]byte(in)); err == nil {
			t.Errorf("accepted %s", in)
		}
	}
}

func TestClassAndModeNames(t *testing.T) {
	for c := range classes {
		if got, err := ParseClass(c.String()); err != nil || got != c {
			t.Errorf("class %v: got %v, %v", c, got, err)
		}
	}
	for _, m := range []AuditMode{AuditBestEffort, AuditBuffer, AuditStrict} {
		if got, err := ParseAuditMode(m.String()); err != nil || got != m {
			t.Errorf("mode %v: got %v, %v", m, got, err)
		}
	}
}
