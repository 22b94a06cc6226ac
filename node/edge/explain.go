package edge

import (
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Question is a request to be explained, not sent.
type Question struct {
	Model   string
	Tenant  string // "" = the first one
	Class   string
	Purpose string
	From    string // client address; "" = a client at the tenant's home
	Dialect llm.Dialect
}

// Explanation is what the edge would do with a request, and why.
type Explanation struct {
	Edge     string        `json:"edge"`
	Model    string        `json:"model"`
	Tenant   string        `json:"tenant"`
	Class    string        `json:"class"`
	Client   string        `json:"client_country,omitempty"`
	Home     string        `json:"home,omitempty"`           // of the tenant
	AtHome   bool          `json:"client_at_home,omitempty"` // the client counts as being there, wherever its address is
	Allowed  string        `json:"allowed"`
	Rules    []string      `json:"rules,omitempty"`
	Revision uint64        `json:"policy_revision,omitempty"`
	Audit    string        `json:"audit"`
	Why      string        `json:"why"`
	Routes   []RouteAnswer `json:"routes"`
	Refused  []RouteAnswer `json:"refused,omitempty"`
	Answer   string        `json:"answer,omitempty"` // the refusal a client would get; "" = it would be sent
	Note     string        `json:"note,omitempty"`   // what this answer cannot know
}

// RouteAnswer is one way and what speaks for or against it.
type RouteAnswer struct {
	Exit     string  `json:"exit,omitempty"`
	Region   string  `json:"region,omitempty"`
	Provider string  `json:"provider"`
	Model    string  `json:"model"`
	Tier     int     `json:"tier"`
	CostMS   float64 `json:"cost_ms,omitempty"`
	RTTMS    float64 `json:"rtt_ms,omitempty"`
	Measured bool    `json:"measured,omitempty"` // the RTT is; else it is the distance's prior
	Why      string  `json:"why"`
}

// Explain walks the same stages as a request up to the plan, without sending, reserving or
// recording anything. It does not move the choice's memory.
func (s *Server) Explain(q Question) (Explanation, error) {
	snap := s.cfg.View.Load()
	if snap == nil {
		return Explanation{}, fault.New(fault.NoRoute, "this edge has not heard from a coordinator yet")
	}
	if q.Dialect == "" {
		q.Dialect = llm.OpenAIChat
	}
	r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/"}, Header: http.Header{}}
	if q.Class != "" {
		r.Header.Set("X-Causeway-Class", q.Class)
	}
	r.Header.Set("X-Causeway-Purpose", q.Purpose)
	x := &exchange{start: time.Now(), r: r, snapshot: snap, op: operation{dialect: q.Dialect, op: llm.OpGenerate}}
	t, ok := snap.Tenant(q.Tenant)
	if !ok {
		return Explanation{}, fault.New(fault.NotFound, "no tenant %q", q.Tenant)
	}
	x.key = view.KeyOf(t)
	x.class = t.Class
	if q.Class != "" {
		c, err := compliance.ParseClass(q.Class)
		if err != nil {
			return Explanation{}, fault.New(fault.Malformed, "%v", err)
		}
		x.class = max(x.class, c)
	}
	x.client = netip.IPv6Loopback()
	if q.From != "" {
		a, err := netip.ParseAddr(q.From)
		if err != nil {
			return Explanation{}, fault.New(fault.Malformed, "from: %q is not an address", q.From)
		}
		x.client = a.Unmap()
	}
	x.head.Model = q.Model
	if err := s.resolve(x); err != nil {
		return Explanation{}, err
	}
	if err := s.decide(x); err != nil {
		return Explanation{}, err
	}
	if q.From == "" && !x.facts.ClientKnown {
		x.facts.ClientKnown = true // asked for a client at home
		x.verdict = snap.Policy.Decide(x.facts)
	}
	out := Explanation{
		Edge: string(s.cfg.Region), Model: x.model.ID, Tenant: t.ID, Class: x.class.String(), Client: string(x.facts.Client),
		Home: t.HomeName, AtHome: x.facts.ClientKnown && x.facts.Client == "",
		Allowed: x.verdict.Allowed.String(), Rules: x.verdict.Rules, Revision: x.verdict.Revision, Audit: x.verdict.Audit.String(), Why: x.verdict.Why,
		Routes: []RouteAnswer{},
	}
	why := blocked{each: func(e view.Exit, t view.Target, why string) {
		out.Refused = append(out.Refused, RouteAnswer{Exit: e.ID, Region: string(e.Region.ID), Provider: t.Provider.ID, Model: t.Model, Tier: t.Tier, Why: why})
	}}
	routes, cands := s.ways(x, &why)
	if len(routes) == 0 {
		out.Answer = compliance.Refusal(why.refused).Decision.Code()
		if len(why.refused) == 0 {
			out.Answer = fault.NoRoute.Info().Code
			if len(why.mute) > 0 {
				out.Answer = fault.Unsupported.Info().Code
			}
		}
		return out, nil
	}
	s.memoryMu.Lock()
	memory := s.memory.Clone()
	s.memoryMu.Unlock()
	p := geo.Choose(time.Now(), geo.Want{Key: x.model.ID, Policy: snap.Route.Policy}, cands, &memory)
	for _, c := range p.Ordered {
		out.Routes = append(out.Routes, explained(routes[c.Index], cands[c.Index], c.Cost, c.Why))
	}
	for _, c := range p.Rejected {
		out.Refused = append(out.Refused, explained(routes[c.Index], cands[c.Index], 0, c.Why))
	}
	return out, nil
}

func explained(r route, c geo.Candidate, cost time.Duration, why string) RouteAnswer {
	rtt := c.RTT
	if !c.RTTKnown {
		rtt = c.RTTPrior
	}
	if r.convert {
		why += " (converted to " + string(r.dialect) + ")"
	}
	if r.fallback {
		why += " (fallback " + r.model.ID + ")"
	}
	return RouteAnswer{
		Exit: r.exit.ID, Region: string(r.exit.Region.ID), Provider: r.target.Provider.ID, Model: r.target.Model, Tier: r.target.Tier,
		CostMS: float64(cost.Microseconds()) / 1000, RTTMS: float64(rtt.Microseconds()) / 1000, Measured: c.RTTKnown, Why: why,
	}
}
