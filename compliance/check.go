package compliance

import (
	"fmt"
	"strings"

	"github.com/causeway-mesh/causeway/geo"
)

// HopKind says what a hop does with the bytes.
type HopKind uint8

// The places that a request's bytes can touch.
const (
	HopEdge       HopKind = iota + 1 // opens the client's TLS, sees everything
	HopExit                          // sees what is sent to the provider
	HopProcessing                    // where the provider may process
	HopStorage                       // where the provider may store
)

// String gives the name used in records and refusals.
func (k HopKind) String() string {
	switch k {
	case HopEdge:
		return "edge"
	case HopExit:
		return "exit"
	case HopProcessing:
		return "processing"
	case HopStorage:
		return "storage"
	}
	return "hop"
}

// Hop is one place that the bytes would touch. Places holds every country it may be in; empty is an
// unknown place, which no restriction permits.
type Hop struct {
	Kind   HopKind
	ID     string // region or provider
	Places geo.CountrySet
}

// Decision is the answer for one route.
type Decision uint8

// The answers, nearest to allowed first.
const (
	Allow         Decision = iota
	NeedsApproval          // would be allowed with a live approval
	TermsRefused           // the provider's published terms do not cover this client, tenant or owner
	Deny                   // a hop lies outside what the rules allow
	Stale                  // the policy is too old to be trusted with this class
)

// String gives the name used in records.
func (d Decision) String() string {
	switch d {
	case Allow:
		return "allow"
	case NeedsApproval:
		return "needs_approval"
	case TermsRefused:
		return "terms_refused"
	case Stale:
		return "stale"
	case Deny:
	}
	return "deny"
}

// Code is the refusal's code in DESIGN.md 4.8; empty for Allow.
func (d Decision) Code() string {
	switch d {
	case Allow:
		return ""
	case NeedsApproval:
		return "export_approval_required"
	case TermsRefused:
		return "provider_terms"
	case Stale:
		return "policy_stale"
	case Deny:
	}
	return "residency_denied"
}

// Outcome is the answer for one route, with the hop and the rule that decided it.
type Outcome struct {
	Decision Decision
	Hop      Hop    // the hop that failed; zero for Allow, terms and stale
	Rule     string // id of the rule that failed it, "default" for the policy's default
	Why      string // one line for the client; empty for Allow
}

// Check answers for one candidate route: every hop it would touch, and the access terms of its
// provider (nil = none). It does not allocate when the answer is Allow.
func (v *Verdict) Check(hops []Hop, terms *Terms) Outcome {
	if v.Stale {
		return Outcome{Decision: Stale, Why: "the residency policy known here is older than max_age; this class is not served on it"}
	}
	approval := -1
	for i := range hops {
		h := &hops[i]
		if h.Places.Empty() {
			if !v.Allowed.IsAll() || v.NeedsApproval {
				return v.deny(*h)
			}
			continue
		}
		if !v.Allowed.Covers(h.Places) {
			return v.deny(*h)
		}
		if approval < 0 && v.NeedsApproval && (v.Home.Empty() || !v.Home.Covers(h.Places)) {
			approval = i
		}
	}
	if terms != nil {
		if why := terms.refuses(v.places); why != "" {
			return Outcome{Decision: TermsRefused, Rule: terms.Name, Why: why}
		}
	}
	if approval >= 0 {
		h := hops[approval]
		return Outcome{Decision: NeedsApproval, Hop: h, Rule: v.approvalRule(h), Why: fmt.Sprintf(
			"%s %s in %s is outside home: an export approval is required", h.Kind, h.ID, place(h.Places))}
	}
	return Outcome{Decision: Allow}
}

func (v *Verdict) deny(h Hop) Outcome {
	o := Outcome{Decision: Deny, Hop: h, Rule: v.denyRule(h)}
	why := fmt.Sprintf("%s %s in %s is not allowed by %s", h.Kind, h.ID, place(h.Places), o.Rule)
	if v.unknown {
		why += "; the tenant declares no home, so every rule that names one applies to it"
	}
	o.Why = why
	return o
}

// denyRule names the first rule that the hop fails; only the intersection may be at fault, then all
// rules are named.
func (v *Verdict) denyRule(h Hop) string {
	if v.denied {
		return "default"
	}
	for _, id := range v.Rules {
		if r := v.policy.find(id); r != nil && (!r.allow.Covers(h.Places) || h.Places.Empty() && !r.allow.IsAll()) {
			return id
		}
	}
	return strings.Join(v.Rules, "+")
}

func (v *Verdict) approvalRule(Hop) string {
	for _, id := range v.Rules {
		if r := v.policy.find(id); r != nil && r.approval {
			return id
		}
	}
	return ""
}

func (p *Policy) find(id string) *rule {
	for i := range p.rules {
		if p.rules[i].ids[0] == id {
			return &p.rules[i]
		}
	}
	return nil
}

func place(s geo.CountrySet) string {
	if s.Empty() {
		return "an unknown place"
	}
	return s.String()
}

// Refusal picks, among the outcomes of all candidate routes, the one to show a client: the nearest
// to allowed, because it says what would help. With no outcome it is Allow.
func Refusal(outcomes []Outcome) Outcome {
	var best Outcome
	for i, o := range outcomes {
		if i == 0 || o.Decision < best.Decision {
			best = o
		}
	}
	return best
}
