package geo

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

// CountrySet is a set of countries, or all places including unknown ones. It is a comparable value
// of 40 bytes; the zero value is empty. Its bits mean nothing outside the process.
type CountrySet struct {
	bits [4]uint64
	all  bool
}

var (
	euSet  = setOf(euTable)
	eeaSet = setOf(eeaTable)
)

func setOf(codes string) CountrySet {
	var s CountrySet
	for code := range strings.FieldsSeq(codes) {
		s = s.With(Country(code))
	}
	return s
}

// AllCountries is every place there is, the unknown ones too.
func AllCountries() CountrySet { return CountrySet{all: true} }

// ParseCountrySet reads a list of country codes, "EU", "EEA" and "*" (everything), in any case. An
// unknown name is an error that names it; all of them are reported.
func ParseCountrySet(items []string) (CountrySet, error) {
	var (
		s    CountrySet
		errs []error
	)
	for _, item := range items {
		switch name := strings.ToUpper(strings.TrimSpace(item)); name {
		case "*":
			s = AllCountries()
		case "EU":
			s = s.Union(euSet)
		case "EEA":
			s = s.Union(eeaSet)
		default:
			c, err := ParseCountry(name)
			if err != nil {
				errs = append(errs, fmt.Errorf("%w (nor one of EU, EEA, *)", err))
				continue
			}
			s = s.With(c)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return CountrySet{}, err
	}
	return s, nil
}

// With is s and c. A code that is no country changes nothing.
func (s CountrySet) With(c Country) CountrySet {
	if n := c.number(); n != unlisted && !s.all {
		s.bits[n/64] |= 1 << (n % 64)
	}
	return s
}

// Has reports whether c is in the set. An unknown place is only in the set of all.
func (s CountrySet) Has(c Country) bool {
	if s.all {
		return true
	}
	n := c.number()
	return n != unlisted && s.bits[n/64]&(1<<(n%64)) != 0
}

// Covers reports whether every place in o is in s. The empty set is covered by any; the set of all,
// which includes unknown places, only by itself.
func (s CountrySet) Covers(o CountrySet) bool {
	if s.all {
		return true
	}
	if o.all {
		return false
	}
	for i := range s.bits {
		if o.bits[i]&^s.bits[i] != 0 {
			return false
		}
	}
	return true
}

// Intersect is what s and o share.
func (s CountrySet) Intersect(o CountrySet) CountrySet {
	if s.all {
		return o
	}
	if o.all {
		return s
	}
	for i := range s.bits {
		s.bits[i] &= o.bits[i]
	}
	return s
}

// Union is what is in either.
func (s CountrySet) Union(o CountrySet) CountrySet {
	if s.all || o.all {
		return AllCountries()
	}
	for i := range s.bits {
		s.bits[i] |= o.bits[i]
	}
	return s
}

// IsAll reports whether s is every place.
func (s CountrySet) IsAll() bool { return s.all }

// Empty reports whether s has no place in it.
func (s CountrySet) Empty() bool { return s == CountrySet{} }

// Len is the number of countries in s; the set of all has every listed one.
func (s CountrySet) Len() int {
	if s.all {
		return len(countries)
	}
	n := 0
	for _, w := range s.bits {
		n += bits.OnesCount64(w)
	}
	return n
}

// Countries lists the set in alphabetical order; the set of all gives every listed country.
func (s CountrySet) Countries() []Country {
	list := make([]Country, 0, s.Len())
	for i := range countries { // the table is in alphabetical order; a test says so
		if s.Has(countries[i].code) {
			list = append(list, countries[i].code)
		}
	}
	return list
}

// String is the shortest list that ParseCountrySet reads back, separated by commas: "*", "EEA,CH",
// "US"; "none" for the empty set.
func (s CountrySet) String() string {
	switch {
	case s.all:
		return "*"
	case s.Empty():
		return "none"
	}
	var b strings.Builder
	write := func(name string) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name)
	}
	rest := s
	for _, j := range [...]struct {
		name string
		set  CountrySet
	}{{"EEA", eeaSet}, {"EU", euSet}} {
		if rest.Covers(j.set) {
			write(j.name)
			for i := range rest.bits {
				rest.bits[i] &^= j.set.bits[i]
			}
		}
	}
	for _, c := range rest.Countries() {
		write(string(c))
	}
	return b.String()
}
