package geo

import (
	"net/netip"
	"time"
)

// Source is which stage of the chain placed an address.
type Source uint8

// The stages in the order in which they are asked; SourceNone when none knew.
const (
	SourceNone Source = iota
	SourceOverride
	SourceCity
	SourceCountry
	SourceEmbedded
)

func (s Source) String() string {
	switch s {
	case SourceOverride:
		return "override"
	case SourceCity:
		return "city"
	case SourceCountry:
		return "country"
	case SourceEmbedded:
		return "embedded"
	}
	return "none"
}

// MarshalText writes the name, for JSON and tables.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Place is where an address is believed to be. It is a belief: the two best free databases disagree
// about 1.6 % of all addresses, so a Place may tighten a decision about residency but never loosen one.
type Place struct {
	Country    Country // "" = unknown
	Lat, Lon   float64 // valid with HasPoint
	HasPoint   bool
	AccuracyKM int          // how far from the point it may well be; 0 = not stated
	Prefix     netip.Prefix // addresses round it that are in the same place
	Source     Source
	Built      time.Time // when the database was; zero for overrides and none
}

// Stage is what one stage of the chain says about an address.
type Stage struct {
	Name     string // of the Source
	Database string // file, or what was embedded
	Built    time.Time
	Place    Place
	Note     string // for people: a city's name, why there is no answer, a disagreement
}

// fillPoint gives a place without a point that of its country.
func (p *Place) fillPoint() {
	if p.HasPoint {
		return
	}
	if lat, lon, km, ok := p.Country.point(); ok {
		p.Lat, p.Lon, p.AccuracyKM, p.HasPoint = lat, lon, km, true
	}
}

// special are networks that are nowhere in particular, beyond those that netip knows.
var special = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598, behind a carrier's NAT
	netip.MustParsePrefix("198.18.0.0/15"), // RFC 2544, benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),
}

// nowhere is why an address has no place on the map, "" when it may have one.
func nowhere(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "not an address"
	case a.IsLoopback():
		return "loopback address"
	case a.IsPrivate():
		return "private address"
	case a.IsLinkLocalUnicast():
		return "link-local address"
	case a.IsMulticast(), a.IsUnspecified():
		return "not a unicast address"
	}
	if a.Is4() {
		for _, p := range special {
			if p.Contains(a) {
				return "address of a special-purpose network"
			}
		}
	}
	return ""
}
