package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"sync"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/identity"
)

type health struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
	Leader  string   `json:"leader,omitempty"`
	Index   uint64   `json:"index"`
}

// live answers as long as the process can.
func (s *Server) live(c *call) *Problem {
	return s.reply(c, http.StatusOK, health{Status: "ok", Index: c.snap.Index})
}

// Ready says why this coordinator should not be sent requests; empty when it should.
func (s *Server) Ready() []string {
	var why []string
	n := s.cfg.Consensus
	if err := n.Err(); err != nil {
		why = append(why, err.Error())
	}
	if n.Snapshot().Cluster == "" {
		why = append(why, "the cluster's state has not arrived yet")
	}
	if id, _ := n.Leader(); id == "" {
		why = append(why, "no leader is known")
	} else if age := s.age(); age < 0 || age > 10*time.Second {
		why = append(why, "the leader has not been heard from for 10 s")
	}
	return why
}

func (s *Server) ready(c *call) *Problem {
	id, _ := s.cfg.Consensus.Leader()
	if why := s.Ready(); len(why) > 0 {
		return s.reply(c, http.StatusServiceUnavailable, health{Status: "unavailable", Reasons: why, Leader: id, Index: c.snap.Index})
	}
	return s.reply(c, http.StatusOK, health{Status: "ok", Leader: id, Index: c.snap.Index})
}

// leading answers 200 on the leader only, for load balancers.
func (s *Server) leading(c *call) *Problem {
	id, _ := s.cfg.Consensus.Leader()
	if !s.cfg.Consensus.IsLeader() {
		return s.reply(c, http.StatusServiceUnavailable, health{Status: "follower", Leader: id, Index: c.snap.Index})
	}
	return s.reply(c, http.StatusOK, health{Status: "leader", Leader: id, Index: c.snap.Index})
}

// ClusterInfo is GET /v1/cluster.
type ClusterInfo struct {
	Mesh      string `json:"mesh"`
	Cluster   string `json:"cluster"`
	Leader    string `json:"leader"`
	Term      uint64 `json:"term"`
	Index     uint64 `json:"index"`
	FSMHash   string `json:"fsm_hash"`
	CAHash    string `json:"ca_hash"` // SHA-256 of the CA's public key info, as in join tokens
	Voters    int    `json:"voters"`
	Nonvoters int    `json:"nonvoters"`
	Tolerance int    `json:"failure_tolerance"` // voters that may fail with writes going on
	Nodes     int    `json:"nodes"`
	Edges     int    `json:"edges"`
}

func (s *Server) cluster(c *call) *Problem {
	ms, err := s.cfg.Consensus.Members(c.ctx)
	if err != nil {
		return asProblem(err)
	}
	hash := c.snap.Hash()
	ca := identity.SPKIHash(s.cfg.Vault.Authority.Roots()[0])
	id, _ := s.cfg.Consensus.Leader()
	out := ClusterInfo{
		Mesh: c.snap.Mesh, Cluster: c.snap.Cluster, Leader: id, Term: s.cfg.Consensus.Term(), Index: c.snap.Index,
		FSMHash: hex.EncodeToString(hash[:]), CAHash: hex.EncodeToString(ca[:]), Nodes: c.snap.Nodes.Len(), Edges: c.snap.EdgeCount(),
	}
	for _, m := range ms {
		if m.Voter {
			out.Voters++
		} else {
			out.Nonvoters++
		}
	}
	out.Tolerance = max(0, (out.Voters-1)/2)
	return s.reply(c, http.StatusOK, out)
}

// Member is one coordinator in GET /v1/cluster/members.
type Member struct {
	ID      string `json:"id"`
	Addr    string `json:"addr"` // Raft
	Voter   bool   `json:"voter"`
	Leader  bool   `json:"leader"`
	Online  bool   `json:"online"`
	API     string `json:"api,omitempty"`
	Build   string `json:"build,omitempty"`
	Term    uint64 `json:"term,omitempty"`
	Index   uint64 `json:"index,omitempty"`    // applied
	FSMHash string `json:"fsm_hash,omitempty"` // of the state at index
}

// self is what a coordinator says of itself, without asking anybody.
func (s *Server) self(c *call) *Problem { return s.reply(c, http.StatusOK, s.describe()) }

func (s *Server) describe() Member {
	hash, index := s.cfg.Consensus.FSMHash()
	return Member{
		ID: s.cfg.Self, API: s.cfg.API, Build: s.cfg.Build, Online: true, Term: s.cfg.Consensus.Term(), Index: index,
		FSMHash: hex.EncodeToString(hash[:]), Leader: s.cfg.Consensus.IsLeader(),
	}
}

// Survey asks every member how far it is. One that does not answer is offline, not an error.
func (s *Server) Survey(ctx context.Context) ([]Member, error) {
	ms, err := s.cfg.Consensus.Members(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Member, len(ms))
	var wg sync.WaitGroup
	for i, m := range ms {
		wg.Go(func() { out[i] = s.probe(ctx, m) })
	}
	wg.Wait()
	return out, nil
}

func (s *Server) probe(ctx context.Context, m consensus.Member) Member {
	var got Member
	if m.ID == s.cfg.Self {
		got = s.describe()
	} else if err := s.ask(ctx, m.Addr, "/v1/cluster/self", &got); err != nil || got.ID != m.ID {
		got = Member{}
	}
	got.ID, got.Addr, got.Voter, got.Leader = m.ID, m.Addr, m.Voter, m.Leader
	return got
}

func (s *Server) members(c *call) *Problem {
	ms, err := s.Survey(c.ctx)
	if err != nil {
		return asProblem(err)
	}
	return s.reply(c, http.StatusOK, list[Member]{Items: ms})
}

func (s *Server) member(c *call) *Problem {
	ms, err := s.Survey(c.ctx)
	if err != nil {
		return asProblem(err)
	}
	for _, m := range ms {
		if m.ID == c.id {
			return s.reply(c, http.StatusOK, m)
		}
	}
	return problem("not_found", "there is no coordinator %q", c.id)
}

type announcement struct {
	Addr string `json:"addr"` // Raft, host:port
}

// announce adds the coordinator that calls, without a vote, or notes its new address. It is safe to
// repeat; the leader promotes it when it has caught up.
func (s *Server) announce(c *call) *Problem {
	if !c.who.node.Roles.Has(identity.RoleCoordinator) {
		return problem("forbidden", "%s is not a coordinator", c.who.actor)
	}
	var req announcement
	if p := decode(c.body, &req); p != nil {
		return p
	}
	if req.Addr == "" {
		return problem("invalid", "the Raft address is missing").at("addr")
	}
	id := string(c.who.node.Node)
	if n, ok := c.snap.Nodes.Get(id); ok && n.State == state.NodeRevoked {
		return problem("forbidden", "coordinator %s is revoked", id)
	}
	if err := s.cfg.Consensus.AddNonvoter(c.ctx, id, req.Addr); err != nil {
		return asProblem(err)
	}
	return s.reply(c, http.StatusOK, Member{ID: id, Addr: req.Addr})
}

func (s *Server) removeMember(c *call) *Problem {
	if p := s.keepsQuorum(c); p != nil {
		return p
	}
	if err := s.cfg.Consensus.Remove(c.ctx, c.id); err != nil {
		return asProblem(err)
	}
	return s.empty(c, http.StatusNoContent)
}

// keepsQuorum refuses to take the vote of the only voter.
func (s *Server) keepsQuorum(c *call) *Problem {
	ms, err := s.cfg.Consensus.Members(c.ctx)
	if err != nil {
		return asProblem(err)
	}
	voters, target := 0, false
	for _, m := range ms {
		if m.Voter {
			voters++
			target = target || m.ID == c.id
		}
	}
	if target && voters == 1 {
		return problem("conflict", "%s is the only voter", c.id)
	}
	return nil
}

func (s *Server) promote(c *call) *Problem {
	if err := s.cfg.Consensus.Promote(c.ctx, c.id); err != nil {
		return asProblem(err)
	}
	return s.member(c)
}

func (s *Server) demote(c *call) *Problem {
	if p := s.keepsQuorum(c); p != nil {
		return p
	}
	if err := s.cfg.Consensus.Demote(c.ctx, c.id); err != nil {
		return asProblem(err)
	}
	return s.member(c)
}

// transfer makes the member the leader.
func (s *Server) transfer(c *call) *Problem {
	if c.id == s.cfg.Self {
		return s.member(c)
	}
	if err := s.cfg.Consensus.Transfer(c.ctx, c.id); err != nil {
		return asProblem(err)
	}
	return s.empty(c, http.StatusNoContent)
}
