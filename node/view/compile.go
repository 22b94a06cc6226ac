package view

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/lease"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/relay/dialect/vendor"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
)

// Compile turns what the coordinator sent into a Snapshot. The coordinator has validated it all, so
// an error here means a version skew between it and this node: the node keeps its former snapshot.
func Compile(v *api.NodeView) (*Snapshot, error) {
	s := &Snapshot{
		Index: v.Index, Mesh: v.Mesh, ConfirmedAt: v.ConfirmedAt, Revoked: v.Revoked, Roots: v.Roots, Nodes: v.Nodes,
		Regions: make(map[geo.RegionID]geo.Region, len(v.Regions)), Providers: make(map[string]*Provider, len(v.Providers)),
		places: make(map[geo.RegionID]geo.CountrySet, len(v.Regions)), pepper: v.Pepper, macs: newMACs(v.Pepper), keys: make(map[[sha256.Size]byte]*Key, len(v.Keys)),
		models: make(map[string]*Model, len(v.Models)), tenants: make(map[string]*Tenant, len(v.Tenants)),
		origins: make(map[string]bool),
	}
	s.Self, _ = v.Self()
	for _, r := range v.Regions {
		c, err := geo.ParseCountry(r.Country)
		if err != nil {
			return nil, fmt.Errorf("region %s: %w", r.ID, err)
		}
		s.Regions[geo.RegionID(r.ID)] = geo.Region{ID: geo.RegionID(r.ID), Country: c, Lat: r.Lat, Lon: r.Lon, Zones: r.Zones}
		s.places[geo.RegionID(r.ID)] = geo.CountrySet{}.With(c)
	}
	s.Route = Route{Policy: geo.PolicyCauseway, Attempts: 3}
	if v.Route.Policy == "seed" {
		s.Route.Policy = geo.PolicySeed
	}
	if v.Route.Attempts > 0 {
		s.Route.Attempts = v.Route.Attempts
	}
	var err error
	if s.Policy, err = compliance.Compile(policySource(v.Policy)); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if err := s.compileTenants(v); err != nil {
		return nil, err
	}
	if err := s.compileProviders(v); err != nil {
		return nil, err
	}
	if err := s.compileModels(v); err != nil {
		return nil, err
	}
	s.compileKeepers(v)
	if err := s.compileKeys(v); err != nil {
		return nil, err
	}
	for _, n := range v.Nodes {
		if !slices.Contains(n.Roles, "exit") || n.State == "revoked" || n.Addr == "" {
			continue
		}
		if r, ok := s.Regions[geo.RegionID(n.Region)]; ok {
			s.Exits = append(s.Exits, Exit{ID: n.ID, Region: r, Addr: n.Addr, Draining: n.State == "draining"})
		}
	}
	return s, nil
}

func policySource(p state.Policy) compliance.PolicySource {
	src := compliance.PolicySource{Default: p.Default, MaxAge: p.MaxAge.D(), Revision: p.Revision}
	for _, r := range p.Rules {
		src.Rules = append(src.Rules, compliance.RuleSource{
			ID: r.ID, Allow: r.Allow, Approval: r.Approval, Audit: r.Audit,
			When: compliance.WhenSource{Home: r.When.Home, Class: r.When.Class, Tenant: r.When.Tenant, Purpose: r.When.Purpose, Model: r.When.Model},
		})
	}
	return src
}

func (s *Snapshot) compileTenants(v *api.NodeView) error {
	for _, t := range v.Tenants {
		out := &Tenant{ID: t.ID, Org: t.Org, HomeName: t.Home, CORS: t.CORS}
		var err error
		if t.Home != "" {
			if out.Home, err = geo.ParseCountrySet([]string{t.Home}); err != nil {
				return fmt.Errorf("tenant %s: home: %w", t.ID, err)
			}
		}
		if t.Ownership != "" {
			if out.Ownership, err = geo.ParseCountry(t.Ownership); err != nil {
				return fmt.Errorf("tenant %s: ownership: %w", t.ID, err)
			}
		}
		if out.Class, err = compliance.ParseClass(t.Class); err != nil {
			return fmt.Errorf("tenant %s: %w", t.ID, err)
		}
		for _, a := range v.Audit {
			if a.Tenant == t.ID {
				if out.AuditMode, err = compliance.ParseAuditMode(a.Mode); err != nil {
					return fmt.Errorf("tenant %s: %w", t.ID, err)
				}
			}
		}
		for _, o := range t.CORS {
			s.origins[o] = true
		}
		s.tenants[t.ID] = out
		if s.firstTenant == "" {
			s.firstTenant = t.ID
		}
	}
	return nil
}

func (s *Snapshot) compileProviders(v *api.NodeView) error {
	for _, p := range v.Providers {
		out := &Provider{ID: p.ID, Spec: p, exits: p.Exits}
		for _, d := range p.Dialects {
			out.Dialects = append(out.Dialects, llm.Dialect(d))
		}
		var err error
		if out.Processing, err = geo.ParseCountrySet(p.Processing); err != nil {
			return fmt.Errorf("provider %s: processing: %w", p.ID, err)
		}
		if out.Storage, err = geo.ParseCountrySet(p.Storage); err != nil {
			return fmt.Errorf("provider %s: storage: %w", p.ID, err)
		}
		out.ProcessingText, out.StorageText = out.Processing.String(), out.Storage.String()
		if p.Terms != "" {
			t, ok := compliance.TermsFor(p.Terms)
			if !ok {
				return fmt.Errorf("provider %s: terms %q are not shipped", p.ID, p.Terms)
			}
			out.Terms = t
		}
		s.Providers[p.ID] = out
	}
	return nil
}

func (s *Snapshot) compileModels(v *api.NodeView) error {
	for _, m := range v.Models {
		out := &Model{ID: m.ID}
		price, err := meter.ParsePrice(m.Price.Input, m.Price.CachedInput, m.Price.CacheWrite, m.Price.Output)
		if err != nil {
			return fmt.Errorf("model %s: %w", m.ID, err)
		}
		out.Price, out.Unit = price, cmp.Or(m.Price.Unit, "token")
		for _, t := range m.Targets {
			p, ok := s.Providers[t.Provider]
			if !ok {
				continue // an exit's view leaves out the providers that it may not call
			}
			target := Target{Provider: p, Model: t.Model, Weight: max(t.Weight, 1), Tier: t.Tier, facts: new([len(llm.Dialects)]vendor.Facts)}
			for i, d := range llm.Dialects {
				target.facts[i] = vendor.For(p.Spec.Vendor, p.Spec.BaseURL, d, t.Model, cmp.Or(t.MaxOutput, m.MaxOutput))
			}
			if len(p.Dialects) > 0 { // a request is converted to the first
				out.Fill = max(out.Fill, target.Facts(p.Dialects[0]).Fill)
			}
			out.Targets = append(out.Targets, target)
		}
		out.EqualWeights = !slices.ContainsFunc(out.Targets, func(t Target) bool { return t.Weight != out.Targets[0].Weight })
		s.ModelNames = append(s.ModelNames, m.ID)
		s.models[m.ID] = out
	}
	for _, m := range v.Models {
		for _, a := range m.Aliases {
			if _, taken := s.models[a]; !taken {
				s.models[a] = s.models[m.ID]
			}
		}
		for _, f := range m.Fallbacks {
			if fm, ok := s.models[f]; ok && fm != s.models[m.ID] {
				s.models[m.ID].Fallbacks = append(s.models[m.ID].Fallbacks, fm)
				s.models[m.ID].Fill = max(s.models[m.ID].Fill, fm.Fill)
			}
		}
	}
	return nil
}

func (s *Snapshot) compileKeepers(v *api.NodeView) {
	used := make(map[*Provider]bool, len(s.Providers))
	for _, m := range s.models {
		for _, t := range m.Targets {
			used[t.Provider] = true
		}
	}
	for _, t := range s.tenants {
		for _, spec := range v.Providers {
			if p := s.Providers[spec.ID]; used[p] && p.Speaks(llm.OpenAIResponses) && p.Open(t) {
				t.Keepers = append(t.Keepers, p)
			}
		}
		t.Unmarked = len(t.Keepers) == 1 && s.Owns(t, t.Keepers[0])
	}
}

func (s *Snapshot) compileKeys(v *api.NodeView) error {
	for _, k := range v.Keys {
		t, ok := s.tenants[k.Tenant]
		if !ok {
			return fmt.Errorf("key %s: tenant %s is unknown", k.ID, k.Tenant)
		}
		if k.Revoked {
			continue
		}
		out := &Key{ID: k.ID, Tenant: t}
		if len(k.Models) > 0 && !slices.Contains(k.Models, "*") {
			out.models = []string{}
			for _, name := range k.Models { // an alias in the list stands for its model
				if m, ok := s.models[name]; ok {
					name = m.ID
				}
				out.models = append(out.models, name)
			}
			slices.Sort(out.models)
		}
		for _, ip := range k.IPs {
			if p, err := netip.ParsePrefix(ip); err == nil {
				out.prefixes = append(out.prefixes, p.Masked())
			} else if a, err := netip.ParseAddr(ip); err == nil {
				out.prefixes = append(out.prefixes, netip.PrefixFrom(a, a.BitLen()))
			} else {
				return fmt.Errorf("key %s: ips: %q is neither an address nor a prefix", k.ID, ip)
			}
		}
		for _, l := range v.Limits {
			if l.Tenant == k.Tenant && (l.Key == "" || l.Key == k.ID) {
				out.limits = append(out.limits, s.limit(l, v.Edges))
			}
		}
		if len(k.Hash) == sha256.Size {
			s.keys[[sha256.Size]byte(k.Hash)] = out
		}
		if len(k.PreviousHash) == sha256.Size && k.PreviousUntil > 0 {
			former := *out
			former.previousEnd = time.Unix(k.PreviousUntil, 0)
			s.keys[[sha256.Size]byte(k.PreviousHash)] = &former
		}
	}
	return nil
}

// limit gives this edge its static share: the limit divided by the registered edges, so that the
// sum over all edges stays within it.
func (s *Snapshot) limit(l state.Limit, edges int) Limit {
	model := l.Model
	if model == "*" {
		model = ""
	} else if m, ok := s.models[model]; ok {
		model = m.ID
	}
	stated := lease.Limits{RPM: l.RPM, TPM: l.TPM, Concurrency: l.Concurrency}
	return Limit{Model: model, Applied: lease.Applied{Key: l.Tenant + "\x00" + l.Key + "\x00" + model, Limits: stated.Share(edges)}}
}
