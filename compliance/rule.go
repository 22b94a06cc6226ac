// Package compliance decides where a request's bytes may go: a compiled rule table, a pure decision
// over every hop, and the providers' own access terms. The proof of it is in compliance/audit.
package compliance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/geo"
)

// DefaultMaxAge is how old a policy revision may be before class restricted is refused.
const DefaultMaxAge = 24 * time.Hour

// PolicySource is a policy as people write it (DESIGN.md 4.2, section policy).
type PolicySource struct {
	Default  string // allow | deny, when no rule matches; empty = allow
	MaxAge   time.Duration
	Rules    []RuleSource
	Revision uint64 // Raft index of the change
}

// RuleSource restricts where the requests that match may go.
type RuleSource struct {
	ID       string
	When     WhenSource
	Allow    []string // countries, EU, EEA or "*"
	Approval bool     // outside home but inside Allow needs a live approval
	Audit    string   // "strict" forces that mode; empty = the tenant's
}

// WhenSource selects requests: each list is OR inside, the lists are AND, an empty list is any.
type WhenSource struct {
	Home, Class, Tenant, Purpose, Model []string
}

// Policy is a compiled rule table. It is immutable and safe for concurrent use.
type Policy struct {
	deny     bool
	maxAge   time.Duration
	revision uint64
	rules    []rule
}

type rule struct {
	ids      []string // the one id, ready to be a verdict's rule list
	anyHome  bool
	home     geo.CountrySet
	class    uint8 // bit per class
	tenant   []string
	purpose  []string
	model    []string
	allow    geo.CountrySet
	approval bool
	audit    AuditMode
}

// Revision is the Raft index of the policy's last change.
func (p *Policy) Revision() uint64 { return p.revision }

// MaxAge is how old the revision may be for class restricted.
func (p *Policy) MaxAge() time.Duration { return p.maxAge }

// Len is the number of rules.
func (p *Policy) Len() int { return len(p.rules) }

// Compile checks a policy and turns it into a table. The error names every fault with the rule it is in.
func Compile(src PolicySource) (*Policy, error) {
	p := &Policy{maxAge: src.MaxAge, revision: src.Revision, rules: make([]rule, 0, len(src.Rules))}
	var faults []error
	switch src.Default {
	case "", "allow":
	case "deny":
		p.deny = true
	default:
		faults = append(faults, fmt.Errorf("policy.default: %q is neither allow nor deny", src.Default))
	}
	switch {
	case src.MaxAge < 0:
		faults = append(faults, fmt.Errorf("policy.max_age: %s is negative", src.MaxAge))
	case src.MaxAge == 0:
		p.maxAge = DefaultMaxAge
	}
	seen := make(map[string]struct{}, len(src.Rules))
	for i, rs := range src.Rules {
		name := "policy.rules[" + fmt.Sprint(i) + "]"
		if rs.ID != "" {
			name = "policy rule " + rs.ID
		} else {
			faults = append(faults, fmt.Errorf("%s: id is missing", name))
		}
		if _, dup := seen[rs.ID]; dup && rs.ID != "" {
			faults = append(faults, fmt.Errorf("%s: id is used twice", name))
		}
		seen[rs.ID] = struct{}{}
		r, err := compileRule(rs)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
			continue
		}
		p.rules = append(p.rules, r)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return p, nil
}

func compileRule(rs RuleSource) (rule, error) {
	r := rule{ids: []string{rs.ID}, approval: rs.Approval}
	var err error
	if len(rs.Allow) == 0 {
		// An absent list could mean "anywhere" or "nowhere": whoever writes a rule has to say.
		return r, errors.New(`allow is empty: name countries, EU, EEA, or "*" for no restriction`)
	}
	if r.allow, err = geo.ParseCountrySet(rs.Allow); err != nil {
		return r, fmt.Errorf("allow: %w", err)
	}
	if len(rs.When.Home) == 0 {
		r.anyHome = true
	} else if r.home, err = geo.ParseCountrySet(rs.When.Home); err != nil {
		return r, fmt.Errorf("when.home: %w", err)
	} else if r.home.IsAll() {
		r.anyHome = true
	}
	r.class = 1<<classes - 1
	if len(rs.When.Class) > 0 {
		r.class = 0
		for _, name := range rs.When.Class {
			c, err := ParseClass(name)
			if err != nil || name == "" {
				return r, fmt.Errorf("when.class: %q is not one of public, internal, confidential, restricted", name)
			}
			r.class |= 1 << c
		}
	}
	r.tenant, r.purpose, r.model = names(rs.When.Tenant), names(rs.When.Purpose), names(rs.When.Model)
	if r.audit, err = ParseAuditMode(rs.Audit); err != nil {
		return r, fmt.Errorf("audit: %w", err)
	}
	return r, nil
}

// names copies a list; nil = any.
func names(list []string) []string {
	if len(list) == 0 || slices.Contains(list, "*") {
		return nil
	}
	out := slices.Clone(list)
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}

func has(list []string, s string) bool { return list == nil || slices.Contains(list, s) }
