package compliance

import (
	"time"

	"github.com/causeway-mesh/causeway/geo"
)

// Facts are what is known of a request before a target is chosen.
type Facts struct {
	Tenant, Key, Model, Purpose string

	// Home is the tenant's declared jurisdiction, empty when it declared none; HomeName is how it
	// was written. Ownership is the country of the tenant's majority owner, "" = as home.
	Home      geo.CountrySet
	HomeName  string
	Ownership geo.Country

	// Class is the highest of the tenant's, the key's and the header's.
	Class Class
	// Audit is the tenant's audit mode.
	Audit AuditMode

	// Client is where the client's address is. ClientKnown with an empty Client means that the
	// caller vouches for the client being at the tenant's home (a loopback client of dev).
	Client      geo.Country
	ClientKnown bool
	// UserCountry is what x-causeway-user-country claims; it can only tighten.
	UserCountry geo.Country

	Now time.Time
	// PolicyAge is how long ago the policy was last known to be the one in force.
	PolicyAge time.Duration
}

// Verdict is the answer for one request, before targets. It is a value: the whole request, with all
// its retries, uses the same one, so failover cannot widen what is allowed.
type Verdict struct {
	Allowed geo.CountrySet // every hop must lie inside
	Home    geo.CountrySet // hops inside never need an approval

	NeedsApproval bool      // hops inside Allowed but outside Home need a live approval
	Stale         bool      // the policy is too old for this class: nothing may be sent
	Audit         AuditMode // the mode to record with, never unset
	Rules         []string  // ids of the rules that apply, in policy order; shared, read-only
	Revision      uint64
	Why           string // one line for logs and explanations

	policy  *Policy
	places  termsFacts
	denied  bool // by default: deny
	unknown bool // the tenant's home is not declared
}

// match says how firmly a rule applies.
type match uint8

const (
	matchNone match = iota
	// matchPossible: evidence (an address, a header) or an undeclared or wider home says that the
	// rule may apply. It restricts like any other, but cannot lift a default of deny.
	matchPossible
	matchCertain
)

// Decide evaluates every rule. It is pure, safe for concurrent use, and does not allocate unless
// more than one rule applies.
//
// The allow lists of all rules that apply intersect. A rule's home list is compared with the
// declared home, and with the client's and the user's country where these lie outside the declared
// home: evidence may tighten a decision, never loosen one.
func (p *Policy) Decide(f Facts) Verdict {
	v := Verdict{
		Allowed:  geo.AllCountries(),
		Home:     f.Home,
		Revision: p.revision,
		Why:      "no rule applies; default allow",
		policy:   p,
		places: termsFacts{
			client: f.Client, clientKnown: f.ClientKnown, user: f.UserCountry,
			home: f.Home, ownership: f.Ownership,
		},
		unknown: f.Home.Empty(),
	}
	certain, forced := false, AuditUnset
	for i := range p.rules {
		r := &p.rules[i]
		m, free := r.match(&f)
		if m == matchNone {
			continue
		}
		certain = certain || m == matchCertain
		v.Allowed = v.Allowed.Intersect(r.allow)
		forced = max(forced, r.audit)
		if r.approval {
			v.NeedsApproval = true
			v.Home = v.Home.Intersect(free)
		}
		if v.Rules == nil {
			v.Rules = r.ids
		} else {
			v.Rules = append(v.Rules, r.ids[0])
		}
		v.Why = "rules apply"
	}
	if p.deny && !certain {
		v.Allowed, v.denied = geo.CountrySet{}, true
		v.Why = "no rule applies for certain; default deny"
	}
	v.Audit = effectiveMode(f.Audit, forced, f.Class)
	if f.Class == Restricted && f.PolicyAge > p.maxAge {
		v.Stale = true
		v.Why = "policy revision is older than max_age"
	}
	return v
}

// match tells whether the rule applies, and which places it counts as home.
func (r *rule) match(f *Facts) (match, geo.CountrySet) {
	if r.class&(1<<f.Class) == 0 || !has(r.tenant, f.Tenant) || !has(r.model, f.Model) || !has(r.purpose, f.Purpose) {
		return matchNone, geo.CountrySet{}
	}
	m, free := matchNone, f.Home
	switch {
	case r.anyHome:
		return matchCertain, free
	case f.Home.Empty():
		// Nobody said where this tenant is, so no rule can be ruled out.
		m = matchPossible
	case r.home.Covers(f.Home):
		m = matchCertain
	case !r.home.Intersect(f.Home).Empty():
		m = matchPossible
	}
	for _, c := range [2]geo.Country{f.Client, f.UserCountry} {
		if c == "" || f.Home.Has(c) || !r.home.Has(c) {
			continue
		}
		if m == matchNone {
			m = matchPossible
		}
		free = free.Intersect(one(c))
	}
	return m, free
}

// one is the set of a single country; a country that is not one gives the empty set.
func one(c geo.Country) geo.CountrySet {
	s, err := geo.ParseCountrySet([]string{string(c)})
	if err != nil {
		return geo.CountrySet{}
	}
	return s
}
