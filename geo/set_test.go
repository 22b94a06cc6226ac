package geo

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustSet(t testing.TB, list string) CountrySet {
	t.Helper()
	s, err := ParseCountrySet(strings.FieldsFunc(list, func(r rune) bool { return r == ' ' }))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestJurisdictions: what golang.org/x/text still says about GB must not come back here.
func TestJurisdictions(t *testing.T) {
	eu, eea := mustSet(t, "EU"), mustSet(t, "EEA")
	for _, c := range []struct {
		country Country
		eu, eea bool
		why     string
	}{
		{"GB", false, false, "left on 2020-01-31"},
		{"HR", true, true, "joined on 2013-07-01"},
		{"CH", false, false, "never joined, in EFTA only"},
		{"NO", false, true, "in the EEA by the EFTA pillar"},
		{"IS", false, true, "likewise"},
		{"LI", false, true, "likewise"},
		{"SJ", false, false, "Svalbard is outside the agreement"},
		{"RE", true, true, "an outermost region of France"},
		{"AX", true, true, "Åland acceded with Finland"},
		{"NC", false, false, "an overseas territory, associated only"},
		{"GL", false, false, "left in 1985"},
		{"UA", false, false, "a candidate"},
		{"DE", true, true, "a founding member"},
		{"CN", false, false, "no"},
		{"", false, false, "an unknown place is in no jurisdiction"},
	} {
		if eu.Has(c.country) != c.eu || eea.Has(c.country) != c.eea {
			t.Errorf("%q (%s): EU %t EEA %t, want %t %t", c.country, c.why, eu.Has(c.country), eea.Has(c.country), c.eu, c.eea)
		}
	}
	members := 0
	for _, c := range eu.Countries() {
		if !slices.Contains([]Country{"AX", "GF", "GP", "MF", "MQ", "RE", "YT"}, c) {
			members++
		}
	}
	if members != 27 {
		t.Errorf("%d member states, want 27", members)
	}
}

func TestParseCountrySetNamesEveryMistake(t *testing.T) {
	s, err := ParseCountrySet([]string{"US", "UK", "EMEA", "EU"})
	if err == nil || !strings.Contains(err.Error(), `"UK"`) || !strings.Contains(err.Error(), `"EMEA"`) {
		t.Errorf("error %v", err)
	}
	if !s.Empty() {
		t.Error("a list with mistakes permits something")
	}
}

func TestSetString(t *testing.T) {
	for in, want := range map[string]string{
		"": "none", "*": "*", "us de": "DE,US", "EU": "EU", "EEA CH": "EEA,CH", "EU NO IS LI": "EEA",
		"EU NO": "EU,NO", "DE FR *": "*", "EU US CN": "EU,CN,US",
	} {
		if got := mustSet(t, in).String(); got != want {
			t.Errorf("%q prints as %q, want %q", in, got, want)
		}
	}
}

// model is the obvious set that CountrySet must agree with. "" stands for unknown places.
type model map[Country]bool

func drawSet(t *rapid.T) (CountrySet, model) {
	m := model{}
	if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
		for _, c := range countries {
			m[c.code] = true
		}
		m[""] = true
		return AllCountries(), m
	}
	var s CountrySet
	for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(countries)-1), 0, 6).Draw(t, "countries") {
		s = s.With(countries[i].code)
		m[countries[i].code] = true
	}
	return s, m
}

func agree(t *rapid.T, what string, s CountrySet, has func(Country) bool) {
	for _, c := range countries {
		if s.Has(c.code) != has(c.code) {
			t.Fatalf("%s: %s is %t", what, c.code, s.Has(c.code))
		}
	}
	if s.Has("") != has("") {
		t.Fatalf("%s: unknown is %t", what, s.Has(""))
	}
	if n := len(s.Countries()); n != s.Len() || !slices.IsSorted(s.Countries()) {
		t.Fatalf("%s: %d countries, Len %d", what, n, s.Len())
	}
}

func TestSetAlgebra(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, ma := drawSet(t)
		b, mb := drawSet(t)
		agree(t, "a", a, func(c Country) bool { return ma[c] })
		agree(t, "union", a.Union(b), func(c Country) bool { return ma[c] || mb[c] })
		agree(t, "intersection", a.Intersect(b), func(c Country) bool { return ma[c] && mb[c] })
		covers := true
		for c := range mb {
			covers = covers && ma[c]
		}
		if a.Covers(b) != covers {
			t.Fatalf("%s covers %s: %t", a, b, a.Covers(b))
		}
		if a.Empty() != (len(ma) == 0) || (a == b) != (a.Covers(b) && b.Covers(a)) {
			t.Fatalf("%s, %s: empty or equality is wrong", a, b)
		}
		if s, err := ParseCountrySet(strings.Split(a.String(), ",")); !a.Empty() && (err != nil || s != a) {
			t.Fatalf("%s reads back as %s, %v", a, s, err)
		}
	})
}

func BenchmarkSetDecision(b *testing.B) {
	allow, hop := mustSet(b, "EU US GB"), mustSet(b, "US DE")
	b.ReportAllocs()
	for b.Loop() {
		if !allow.Intersect(AllCountries()).Covers(hop) {
			b.Fatal("denied")
		}
	}
}
