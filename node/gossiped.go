package node

import (
	"context"
	"time"

	"github.com/causeway-mesh/causeway/mesh/gossip"
	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/probe"
)

// fullLoad is how many requests at once count as a load of 1: about what two cores stream.
const fullLoad = 2000

// publish sends this node's record once a second, which gossip suppresses when nothing changed, and
// keeps what the others said where a request finds it without a lock.
func (n *Node) publish(ctx context.Context) error {
	t := time.NewTicker(publishTick)
	defer t.Stop()
	for {
		n.publishNow()
		n.keepPeers()
		select {
		case <-ctx.Done():
			return nil
		case <-n.gossip.Changed():
			n.keepPeers()
		case <-t.C:
		}
	}
}

func (n *Node) publishNow() {
	now := time.Now()
	r := gossip.Record{Draining: n.ready.draining.Load()}
	s := n.view.Load()
	if s != nil && s.Self.State == "draining" {
		r.Draining = true
	}
	if n.server != nil {
		r.Load = uint8(min(n.server.Stats().Inflight*255/fullLoad, 255))
	}
	n.seen.each(now, func(id string, s probe.ProviderSnapshot) {
		r.Providers = append(r.Providers, gossip.ProviderSample{Provider: gossip.Short(id), TTFT: s.TTFT, Connect: s.Connect, ErrorRate: s.ErrorRate, State: s.State})
	})
	if n.pool != nil && s != nil {
		for _, e := range s.Exits {
			if rtt, ok := n.pool.RTT(identity.NodeID(e.ID)); ok {
				r.Peers = append(r.Peers, gossip.PeerSample{Node: gossip.Short(e.ID), RTT: rtt})
			}
		}
	}
	n.gossip.Publish(r)
}

func (n *Node) keepPeers() {
	list := n.gossip.Members()
	peers := make(map[string]gossip.Member, len(list))
	for _, m := range list {
		peers[string(m.Meta.ID)] = m
	}
	n.peers.Store(&peers)
}

// peerState is what an exit last said of itself.
func (n *Node) peerState(id string) (peerState, bool) {
	peers := n.peers.Load()
	if peers == nil {
		return peerState{}, false
	}
	m, ok := (*peers)[id]
	if !ok || m.RecordAt.IsZero() {
		return peerState{}, false
	}
	return peerState{
		draining: m.Record.Draining, load: int(m.Record.Load),
		provider: func(p string) (probe.ProviderSnapshot, bool) {
			short := gossip.Short(p)
			for _, s := range m.Record.Providers {
				if s.Provider == short {
					return probe.ProviderSnapshot{TTFT: s.TTFT, TTFTKnown: s.TTFT > 0, ErrorRate: s.ErrorRate, State: s.State}, true
				}
			}
			return probe.ProviderSnapshot{}, false
		},
	}, true
}

// MeshMap is a node's picture of the mesh, for `causeway mesh map`.
type MeshMap struct {
	Self    string       `json:"self"`
	Region  string       `json:"region"`
	Members []MeshMember `json:"members"`
}

// MeshMember is one node as seen from here.
type MeshMember struct {
	ID       string   `json:"id"`
	Region   string   `json:"region"`
	Roles    []string `json:"roles"`
	Addr     string   `json:"addr"`
	Build    string   `json:"build,omitempty"`
	Alive    bool     `json:"alive"` // by gossip, which takes half a minute to notice a death
	Draining bool     `json:"draining"`
	Load     float64  `json:"load"`             // 0..1
	RTTMS    *float64 `json:"rtt_ms,omitempty"` // of the tunnel; absent when there is none
}

// Map lists the members.
func (n *Node) Map() MeshMap {
	out := MeshMap{Self: string(n.self.Node), Region: n.self.Region, Members: []MeshMember{}}
	for _, m := range n.gossip.Members() {
		x := MeshMember{
			ID: string(m.Meta.ID), Region: m.Meta.Region, Roles: m.Meta.Roles.Strings(), Addr: m.Meta.Addr, Build: m.Meta.Build,
			Alive: m.Alive, Draining: m.Record.Draining, Load: float64(m.Record.Load) / 255,
		}
		if n.pool != nil {
			if rtt, ok := n.pool.RTT(m.Meta.ID); ok {
				ms := float64(rtt.Microseconds()) / 1000
				x.RTTMS = &ms
			}
		}
		out.Members = append(out.Members, x)
	}
	return out
}
