package geo

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestCountryTable(t *testing.T) {
	if len(countries) != 250 {
		t.Fatalf("%d countries, ISO 3166-1 has 249 and XK makes 250", len(countries))
	}
	for i, c := range countries {
		if i > 0 && countries[i-1].code >= c.code {
			t.Errorf("%s is not in alphabetical order", c.code)
		}
		if !slices.Contains([]string{"AF", "AN", "AS", "EU", "NA", "OC", "SA"}, c.continent) {
			t.Errorf("%s: continent %q", c.code, c.continent)
		}
		if math.Abs(c.lat) > 90 || math.Abs(c.lon) > 180 {
			t.Errorf("%s: point %g,%g", c.code, c.lat, c.lon)
		}
	}
	for _, j := range []string{euTable, eeaTable} {
		for code := range strings.FieldsSeq(j) {
			if !Country(code).Known() {
				t.Errorf("jurisdiction lists %q, which is no country", code)
			}
		}
	}
}

func TestParseCountry(t *testing.T) {
	for _, c := range []struct{ in, want, fails, why string }{
		{"US", "US", "", "as it is"},
		{" de ", "DE", "", "case and space"},
		{"XK", "XK", "", "not ISO but in every database"},
		{"UK", "", "GB", "a frequent mistake gets told what is meant"},
		{"EU", "", "jurisdiction", "several countries"},
		{"", "", "not an ISO", "unknown is not parsed, it is left out"},
		{"USA", "", "not an ISO", "alpha-3"},
		{"ZZ", "", `"ZZ"`, "names what was given"},
		{"U{", "", "not an ISO", "next to the letters"},
		{"é", "", "not an ISO", "two bytes, one letter"},
	} {
		got, err := ParseCountry(c.in)
		if string(got) != c.want || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q (%s): got %q, %v", c.in, c.why, got, err)
		}
	}
}

func FuzzParseCountrySet(f *testing.F) {
	f.Add("EU,CH,us")
	f.Add("*")
	f.Add("EEA, ,ZZ")
	f.Fuzz(func(t *testing.T, list string) {
		s, err := ParseCountrySet(strings.Split(list, ","))
		if err != nil {
			if !s.Empty() {
				t.Fatal("an error with a set that permits something")
			}
			return
		}
		again, err := ParseCountrySet(strings.Split(s.String(), ","))
		if err != nil || again != s {
			t.Fatalf("%q reads back as %q, %v", s, again, err)
		}
	})
}
