package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/probe"
	"github.com/causeway-mesh/causeway/node/obs"
	"github.com/causeway-mesh/causeway/node/view"
)

// sources hands the node's figures to obs, which reads them at each scrape.
func (n *Node) sources() obs.Sources {
	s := obs.Sources{
		View: func() (obs.View, bool) {
			v := n.view.Load()
			if v == nil {
				return obs.View{}, false
			}
			return obs.View{Index: v.Index, Confirmed: n.view.ConfirmedAt(), Exits: len(v.Exits)}, true
		},
		Region:       n.regionOf,
		Members:      n.gossip.Members,
		Certificates: n.certificates,
		Checks: func() []obs.Check {
			var out []obs.Check
			for _, c := range n.Checks(time.Now()) {
				out = append(out, obs.Check{Name: c.Name, OK: c.OK})
			}
			return out
		},
	}
	if n.edge != nil {
		s.Inflight, s.Pool, s.Targets = n.edge.Inflight, n.pool.Stats, n.targets
	}
	if n.audit != nil {
		s.Audit = n.audit.Stats
	}
	if n.exit != nil {
		s.Server, s.Providers = n.server.Stats, n.providerHealth
	}
	return s
}

// regionOf is where a node of the mesh is, by the coordinator's word.
func (n *Node) regionOf(id string) string {
	if s := n.view.Load(); s != nil {
		if i := slices.IndexFunc(s.Nodes, func(p state.Node) bool { return p.ID == id }); i >= 0 {
			return s.Nodes[i].Region
		}
	}
	return ""
}

func (n *Node) certificates() []obs.Certificate {
	out := []obs.Certificate{{Name: "mesh", NotAfter: n.cfg.Identity.Self().NotAfter}}
	if n.cert != nil {
		out = append(out, obs.Certificate{Name: "client", NotAfter: n.cert.NotAfter()})
	}
	return out
}

// targets are what this edge has tried, of the exits that are still there.
func (n *Node) targets() []obs.TargetState {
	s := n.view.Load()
	if s == nil {
		return nil
	}
	var out []obs.TargetState
	n.health.each(time.Now(), func(exit, provider string, st probe.State) {
		if s.Providers[provider] != nil && slices.ContainsFunc(s.Exits, func(e view.Exit) bool { return e.ID == exit }) {
			out = append(out, obs.TargetState{Exit: exit, Provider: provider, State: st})
		}
	})
	return out
}

// providerHealth is what this exit has seen of its providers.
func (n *Node) providerHealth() []obs.ProviderHealth {
	s := n.view.Load()
	if s == nil {
		return nil
	}
	var out []obs.ProviderHealth
	n.seen.each(time.Now(), func(id string, p probe.ProviderSnapshot) {
		if s.Providers[id] != nil {
			out = append(out, obs.ProviderHealth{Provider: id, ProviderSnapshot: p})
		}
	})
	slices.SortFunc(out, func(a, b obs.ProviderHealth) int { return cmp.Compare(a.Provider, b.Provider) })
	return out
}
