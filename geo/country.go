package geo

import (
	"fmt"
	"strconv"
	"strings"
)

// Country is an ISO 3166-1 alpha-2 code in upper case, like "US"; "" means unknown.
type Country string

// unlisted is the index of a code that is no country.
const unlisted = 0xff

// country is one row of the table: a code, the continent whose cables it hangs on, and the point
// that stands for it when nothing better is known.
type country struct {
	code      Country
	continent string
	lat, lon  float64
}

// The table is parsed once and never written again.
var (
	countries    = parseCountries(countryTable)
	countryIndex = indexCountries(countries)
)

func parseCountries(table string) []country {
	fields := strings.Fields(table)
	rows := make([]country, 0, len(fields)/4)
	for i := 0; i+3 < len(fields); i += 4 {
		lat, errLat := strconv.ParseFloat(fields[i+2], 64)
		lon, errLon := strconv.ParseFloat(fields[i+3], 64)
		if errLat != nil || errLon != nil {
			panic("geo: country table: bad point of " + fields[i]) // a typing error in the source; tests read it
		}
		rows = append(rows, country{Country(fields[i]), fields[i+1], lat, lon})
	}
	return rows
}

func indexCountries(rows []country) *[26 * 26]uint8 {
	var index [26 * 26]uint8
	for i := range index {
		index[i] = unlisted
	}
	for i, r := range rows {
		index[int(r.code[0]-'A')*26+int(r.code[1]-'A')] = uint8(i)
	}
	return &index
}

// number is the row of c in the table, unlisted when c is no country in canonical form.
func (c Country) number() uint8 {
	if len(c) != 2 || c[0]-'A' >= 26 || c[1]-'A' >= 26 {
		return unlisted
	}
	return countryIndex[int(c[0]-'A')*26+int(c[1]-'A')]
}

// Known reports whether c is a listed country in canonical form.
func (c Country) Known() bool { return c.number() != unlisted }

// ParseCountry upper-cases s and checks it against the ISO 3166-1 list (and XK, which databases use
// for Kosovo). Jurisdictions like "EU" and the colloquial "UK" are not countries.
func ParseCountry(s string) (Country, error) {
	c := Country(strings.ToUpper(strings.TrimSpace(s)))
	if n := c.number(); n != unlisted {
		return countries[n].code, nil
	}
	switch c {
	case "UK":
		return "", fmt.Errorf("country %q: the ISO code of the United Kingdom is GB", s)
	case "EU", "EEA":
		return "", fmt.Errorf("country %q: that is a jurisdiction of several countries", s)
	}
	return "", fmt.Errorf("country %q: not an ISO 3166 alpha-2 code", s)
}

// point is the place that stands for a country and how far from it, roughly, its people may be.
func (c Country) point() (lat, lon float64, km int, ok bool) {
	n := c.number()
	if n == unlisted {
		return 0, 0, 0, false
	}
	km = 500
	switch c {
	case "AR", "AU", "BR", "CA", "CN", "DZ", "ID", "IN", "KZ", "RU", "US":
		km = 2000
	}
	return countries[n].lat, countries[n].lon, km, true
}

func (c Country) continent() string {
	if n := c.number(); n != unlisted {
		return countries[n].continent
	}
	return ""
}
