package edge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// fallbackTier puts the targets of a fallback model behind every target of the models before it.
const fallbackTier = 1 << 10

// plan lists the ways that the verdict leaves, best first. It filters before it scores, so no
// failover can reach a place that the verdict does not allow.
func (s *Server) plan(x *exchange) error {
	var why blocked
	x.ways, x.exits = s.ways(x, &why)
	if x.local = why.counts; len(x.ways) == 0 && x.local != nil {
		return nil
	}
	if len(x.ways) == 0 {
		return s.refusal(x, why)
	}
	if x.own {
		if err := s.single(x); err != nil {
			return err
		}
	}
	p := s.choose(x.model.ID, x.snapshot.Route.Policy, x.exits)
	if len(p.Ordered) == 0 {
		reasons := make([]string, 0, len(p.Rejected))
		for _, r := range p.Rejected {
			reasons = append(reasons, fmt.Sprintf("%s by %s: %s", x.ways[r.Index].target.Provider.ID, x.ways[r.Index].exit.Region.ID, r.Why))
		}
		return fault.New(fault.NoRoute, "no route to %q is healthy: %s", x.model.ID, strings.Join(reasons, "; ")).After(2 * time.Second)
	}
	// No further than the intent can name: what is not on record is not tried.
	p.Ordered = p.Ordered[:min(len(p.Ordered), audit.MaxRoutes)]
	for _, c := range p.Ordered {
		r := x.ways[c.Index]
		r.cost, r.why = c.Cost, c.Why
		x.routes = append(x.routes, r)
	}
	x.outcome.RouteWhy = x.routes[0].why
	return nil
}

// blocked collects what stood in the way of routes.
type blocked struct {
	refused []compliance.Outcome
	mute    []string // providers that do not speak the client's dialect
	counts  *route   // the first way whose tokens the edge would have to estimate
	closed  []string // accounts that are not for this tenant, or not the one that is asked for
	shared  []string // accounts that others use too, where that does not do
	each    func(e view.Exit, t view.Target, why string)
}

func (b *blocked) note(e view.Exit, t view.Target, why string) {
	if b.each != nil {
		b.each(e, t, why)
	}
}

// ways lists every exit and target that the verdict permits, with the candidate to score it by.
func (s *Server) ways(x *exchange, why *blocked) ([]route, []geo.Candidate) {
	routes, cands := x.ways, x.exits
	here := x.snapshot.Regions[s.cfg.Region]
	now := time.Now()
	add := func(m *view.Model, tier int) {
		for _, t := range m.Targets {
			if !t.Provider.Open(x.key.Tenant) || x.only != nil && x.only != t.Provider {
				why.closed = append(why.closed, t.Provider.ID)
				why.note(view.Exit{}, t, "the account is not for this request")
				continue
			}
			d, ok := speaks(t.Provider, x.op)
			convert := false
			if !ok {
				d, convert = convertible(t.Provider, x.op)
			}
			if !ok && !convert {
				if x.op.op == llm.OpCountTokens {
					s.uncounted(x, m, t, why)
				}
				why.mute = append(why.mute, t.Provider.ID)
				why.note(view.Exit{}, t, "does not speak "+string(x.op.dialect))
				continue
			}
			if x.own && (convert || !x.snapshot.Owns(x.key.Tenant, t.Provider)) {
				if convert {
					continue // it keeps nothing of that kind
				}
				why.shared = append(why.shared, t.Provider.ID)
				why.note(view.Exit{}, t, "the account is shared with other tenants")
				continue
			}
			for _, e := range x.snapshot.Exits {
				if !t.Provider.CallableFrom(e.Region.ID) {
					why.note(e, t, "the provider is not for exits of this region")
					continue
				}
				if o := s.permitted(x, e, t.Provider); o.Decision != compliance.Allow {
					why.refused = append(why.refused, o)
					why.note(e, t, o.Decision.Code()+": "+o.Why)
					continue
				}
				routes = append(routes, route{exit: e, target: t, model: m, dialect: d, convert: convert, fallback: tier > 0})
				cands = append(cands, geo.Candidate{
					Exit: e.ID, Region: e.Region.ID, Provider: t.Provider.ID, Model: t.Model,
					Tier: 2*(t.Tier+tier*fallbackTier) + second(convert && m.EqualWeights), Weight: t.Weight, Draining: e.Draining, RTTPrior: geo.RTTPrior(here, e.Region),
				})
				s.cfg.Paths.Fill(now, &cands[len(cands)-1])
			}
		}
	}
	add(x.model, 0)
	for i, m := range x.model.Fallbacks {
		if x.key.MayUse(m.ID) {
			add(m, i+1)
		}
	}
	return routes, cands
}

func (s *Server) choose(key string, policy geo.RoutePolicy, cands []geo.Candidate) geo.Plan {
	s.memoryMu.Lock()
	defer s.memoryMu.Unlock()
	return geo.Choose(time.Now(), geo.Want{Key: key, Policy: policy, Draw: rand.Uint64()}, cands, &s.memory)
}

// speaks finds the dialect in which a provider takes this operation as the client sent it.
func speaks(p *view.Provider, op operation) (llm.Dialect, bool) {
	if p.Speaks(op.dialect) {
		return op.dialect, true
	}
	if op.pass != nil && op.dialect == llm.OpenAIChat && p.Speaks(llm.OpenAIResponses) {
		return op.dialect, true // so does the rest of OpenAI's API
	}
	if op.op == llm.OpEmbed && op.dialect == llm.OpenAIChat && p.Speaks(llm.OpenAIResponses) {
		return llm.OpenAIResponses, true // embeddings belong to either openai dialect
	}
	return "", false
}

// convertible finds the dialect that this operation is converted to for a provider that does not
// speak the client's: the first that it lists and that has the operation.
func convertible(p *view.Provider, op operation) (llm.Dialect, bool) {
	for _, d := range p.Dialects {
		if registry.Unsupported(op.op, op.dialect, d) == "" {
			return d, true
		}
	}
	return "", false
}

// second puts a converting route behind the others of its tier. It does so only where the operator
// gave all targets the same weight: stated shares are kept, whatever the dialect.
func second(b bool) int {
	if b {
		return 1
	}
	return 0
}

// permitted checks every place that this way touches: the edge, the exit, and where the provider
// processes and stores; and the provider's own terms.
func (s *Server) permitted(x *exchange, e view.Exit, p *view.Provider) compliance.Outcome {
	hops := [...]compliance.Hop{
		{Kind: compliance.HopEdge, ID: string(s.cfg.Region), Places: x.snapshot.Place(s.cfg.Region)},
		{Kind: compliance.HopExit, ID: string(e.Region.ID), Places: x.snapshot.Place(e.Region.ID)},
		{Kind: compliance.HopProcessing, ID: p.ID, Places: p.Processing},
		{Kind: compliance.HopStorage, ID: p.ID, Places: p.Storage},
	}
	for i := range x.touched {
		if !x.touched[i].model.At(p) {
			continue
		}
		if o := x.touched[i].verdict.Check(hops[:], p.Terms); o.Decision != compliance.Allow {
			return o
		}
	}
	if x.touched != nil {
		return compliance.Outcome{Decision: compliance.Allow}
	}
	return x.verdict.Check(hops[:], p.Terms)
}

// refusal is the fault for a request without any way: the nearest to allowed of what stood in the way.
func (s *Server) refusal(x *exchange, why blocked) error {
	if len(why.refused) == 0 {
		switch {
		case len(why.shared) > 0:
			return fault.New(fault.Forbidden, "what is kept at %s cannot be kept apart from what other tenants keep there; give this tenant an account of its own (provider setting tenant: %s)",
				strings.Join(why.shared, ", "), x.key.Tenant.ID)
		case len(why.mute) == 0 && x.only != nil:
			return fault.New(fault.NoRoute, "%s cannot serve %q here; x-causeway-provider or what the request refers to leaves no other account", x.only.ID, x.model.ID).After(5 * time.Second)
		case len(why.mute) == 0 && len(why.closed) > 0:
			return fault.New(fault.Forbidden, "no account that serves %q is open to this tenant", x.model.ID)
		case len(why.mute) == 0:
			return fault.New(fault.NoRoute, "no exit in the mesh may call a provider of %q", x.model.ID).After(5 * time.Second)
		}
		f := fault.New(fault.Unsupported, "%q is served by providers that speak %s, to which %s of %s is not converted%s. %s",
			x.model.ID, spoken(x), x.op.op, x.op.dialect, because(x), s.alternatives(x))
		f.Param = "model"
		return f
	}
	x.decision = compliance.Refusal(why.refused)
	x.outcome.Decision = x.decision.Decision
	kind := fault.Residency
	switch x.decision.Decision {
	case compliance.NeedsApproval:
		kind = fault.Approval
	case compliance.TermsRefused:
		kind = fault.Terms
	case compliance.Stale:
		kind = fault.PolicyStale
	case compliance.Deny, compliance.Allow:
	}
	f := fault.New(kind, "%s (request %s)", x.decision.Why, x.idText)
	if kind == fault.PolicyStale {
		f.RetryAfter = 10 * time.Second
	}
	// A refusal is evidence too: an officer asks what was stopped. Not being able to record it changes
	// nothing for the client, since nothing leaves.
	if _, err := s.cfg.Audit.Intent(x.context(), s.intent(x, f)); err != nil {
		s.cfg.Log.Error().Err(err).Str("request_id", x.idText).Msg("refusal not recorded")
	}
	return f
}

func spoken(x *exchange) string {
	var names []string
	for _, t := range x.model.Targets {
		for _, d := range t.Provider.Dialects {
			if !slices.Contains(names, string(d)) {
				names = append(names, string(d))
			}
		}
	}
	return strings.Join(names, ", ")
}

// because says what the providers lack, where the registry knows.
func because(x *exchange) string {
	for _, t := range x.model.Targets {
		for _, d := range t.Provider.Dialects {
			if why := registry.Unsupported(x.op.op, x.op.dialect, d); why != "" {
				return ": " + why
			}
		}
	}
	return ""
}

// serves reports whether p can be asked for this operation, as the client sent it or converted.
func serves(p *view.Provider, op operation) bool {
	_, ok := speaks(p, op)
	if !ok {
		_, ok = convertible(p, op)
	}
	return ok
}

// alternatives names what would work: models of this key with a provider that has the operation.
func (s *Server) alternatives(x *exchange) string {
	var names []string
	for _, id := range x.snapshot.ModelNames {
		m, _ := x.snapshot.Model(id)
		if !x.key.MayUse(id) || !slices.ContainsFunc(m.Targets, func(t view.Target) bool { return t.Provider.Open(x.key.Tenant) && serves(t.Provider, x.op) }) {
			continue
		}
		if names = append(names, id); len(names) == 5 {
			break
		}
	}
	if len(names) == 0 {
		return "No model of this key is served in that protocol."
	}
	return "With that request these models work: " + strings.Join(names, ", ") + "."
}
