package geo

import (
	"fmt"
	"net/netip"
	"slices"
)

// Override says where a network is, before any database is asked: an operator's own ranges,
// private ones too. An empty Country makes the network's place unknown on purpose.
type Override struct {
	Prefix   netip.Prefix
	Country  Country
	Lat, Lon float64
	HasPoint bool
}

func (o Override) check() error {
	if !o.Prefix.IsValid() {
		return fmt.Errorf("geo override %s: not a prefix", o.Prefix)
	}
	if o.Country != "" && !o.Country.Known() {
		return fmt.Errorf("geo override %s: country %q: not an ISO 3166 alpha-2 code", o.Prefix, o.Country)
	}
	if o.HasPoint && (o.Lat < -90 || o.Lat > 90 || o.Lon < -180 || o.Lon > 180) {
		return fmt.Errorf("geo override %s: point %g,%g is not on the map", o.Prefix, o.Lat, o.Lon)
	}
	return nil
}

// overrides answers longest-prefix matches by binary search in disjoint runs of addresses.
type overrides struct {
	places []Place
	v4, v6 []run
}

// run is the addresses from first up to the next run; place is -1 where no override holds.
type run struct {
	first netip.Addr
	place int
}

// newOverrides needs valid overrides. Of two for the same prefix the later one counts.
func newOverrides(list []Override) *overrides {
	o := &overrides{}
	canonical := make([]Override, len(list))
	for i, v := range list {
		if p := v.Prefix; p.Addr().Is4In6() && p.Bits() >= 96 {
			v.Prefix = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		v.Prefix = v.Prefix.Masked()
		canonical[i] = v
	}
	// Outer networks before inner ones, so that a stack can walk them.
	slices.SortStableFunc(canonical, func(x, y Override) int {
		if d := x.Prefix.Addr().Compare(y.Prefix.Addr()); d != 0 {
			return d
		}
		return x.Prefix.Bits() - y.Prefix.Bits()
	})
	var open []int // places whose networks contain the address at hand, the innermost last
	var runs []run
	start := func(a netip.Addr, place int) {
		if n := len(runs); n > 0 && runs[n-1].first == a {
			runs[n-1].place = place
			return
		}
		runs = append(runs, run{a, place})
	}
	closeUntil := func(a netip.Addr) { // ends the networks that do not contain a; the zero a ends all
		for len(open) > 0 {
			inner := o.places[open[len(open)-1]].Prefix
			if a.IsValid() && inner.Contains(a) {
				return
			}
			open = open[:len(open)-1]
			if next := lastAddr(inner).Next(); next.IsValid() && next.Is4() == inner.Addr().Is4() {
				outer := -1
				if len(open) > 0 {
					outer = open[len(open)-1]
				}
				start(next, outer)
			}
		}
	}
	for _, v := range canonical {
		closeUntil(v.Prefix.Addr())
		p := Place{Country: v.Country, Lat: v.Lat, Lon: v.Lon, HasPoint: v.HasPoint, Prefix: v.Prefix, Source: SourceOverride}
		p.fillPoint()
		o.places = append(o.places, p)
		open = append(open, len(o.places)-1)
		start(v.Prefix.Addr(), len(o.places)-1)
	}
	closeUntil(netip.Addr{})
	split, _ := slices.BinarySearchFunc(runs, true, func(r run, _ bool) int {
		if r.first.Is4() {
			return -1
		}
		return 0
	})
	o.v4, o.v6 = runs[:split], runs[split:]
	return o
}

func (o *overrides) find(a netip.Addr) (*Place, bool) {
	runs := o.v6
	if a.Is4() {
		runs = o.v4
	}
	lo, hi := 0, len(runs)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if a.Less(runs[mid].first) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if lo == 0 || runs[lo-1].place < 0 {
		return nil, false
	}
	return &o.places[runs[lo-1].place], true
}

func lastAddr(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		fillOnes(b[:], p.Bits())
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	fillOnes(b[:], p.Bits())
	return netip.AddrFrom16(b)
}

func fillOnes(b []byte, from int) {
	for i := range b {
		if n := from - i*8; n <= 0 {
			b[i] = 0xff
		} else if n < 8 {
			b[i] |= 0xff >> n
		}
	}
}
