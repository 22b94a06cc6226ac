package coordinator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/ca"
	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/identity"
)

// maxTrail is how many entries a member may lack and still count as keeping up.
const maxTrail = 1000

// tend is the leader's care for the membership: its own address is right, and members without a vote
// get one when they have kept up for Profile.Promote.
func (s *Server) tend(ctx context.Context) {
	steady := make(map[string]time.Time) // member without a vote -> since when it keeps up
	t := time.NewTicker(max(s.cfg.Profile.Promote/4, 50*time.Millisecond))
	defer t.Stop()
	for {
		if err := s.tendOnce(ctx, steady); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn().Err(err).Msg("tend members")
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (s *Server) tendOnce(ctx context.Context, steady map[string]time.Time) error {
	ms, err := s.raft.Members(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(ms, func(m consensus.Member) bool { return m.ID == s.m.Node }); i >= 0 && ms[i].Addr != s.raft.Addr() {
		if err := s.raft.Readdress(ctx, s.m.Node, s.raft.Addr()); err != nil {
			return err
		}
	}
	s.register(ctx)
	if !slices.ContainsFunc(ms, func(m consensus.Member) bool { return !m.Voter }) {
		clear(steady)
		return nil
	}
	commit := s.raft.Index()
	now, err := s.api.Survey(ctx)
	if err != nil {
		return err
	}
	for _, m := range now {
		switch {
		case m.Voter:
			delete(steady, m.ID)
		case !m.Online || m.Index+maxTrail < commit || m.Index == 0:
			delete(steady, m.ID)
		case steady[m.ID].IsZero():
			steady[m.ID] = time.Now()
		case time.Since(steady[m.ID]) >= s.cfg.Profile.Promote:
			if err := s.raft.Promote(ctx, m.ID); err != nil {
				return err
			}
			s.cfg.Log.Info().Str("member", m.ID).Msg("coordinator may vote now")
			delete(steady, m.ID)
		}
	}
	return nil
}

// register lists the coordinator that made the cluster among the nodes, as those that joined are, so
// that nodes learn its address. It needs a declared region to stand in.
func (s *Server) register(ctx context.Context) {
	snap, addr := s.raft.Snapshot(), strings.TrimPrefix(s.NodesURL(), "https://")
	self := s.m.identity.Self()
	if n, ok := snap.Nodes.Get(s.m.Node); ok && (n.Addr == addr && n.Serial == self.Serial || n.State == state.NodeRevoked) || !snap.Regions.Has(self.Region) || s.cfg.PlainAPI && s.nodesL == nil {
		return
	}
	_, _, err := s.raft.Propose(ctx, command.New(time.Now(), "coordinator/"+s.m.Node, &command.RegisterNode{Node: state.Node{
		ID: s.m.Node, Region: self.Region, Roles: identity.RoleCoordinator.Strings(), Addr: addr, BuildInfo: s.cfg.Build,
		Serial: self.Serial, NotAfter: self.NotAfter.Unix(),
	}}))
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Warn().Err(err).Msg("register this coordinator")
	}
}

// announce makes the cluster know this member at its present address. It is over at once for a member
// that is known already.
func (s *Server) announce(ctx context.Context) {
	for {
		known, err := s.announceOnce(ctx)
		if known || ctx.Err() != nil {
			return
		}
		if err != nil {
			s.cfg.Log.Info().Err(err).Msg("announce to the other coordinators; trying again")
		}
		t := time.NewTimer(500 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

func (s *Server) announceOnce(ctx context.Context) (known bool, err error) {
	ms, err := s.raft.Members(ctx)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(ms, func(m consensus.Member) bool { return m.ID == s.m.Node && m.Addr == s.raft.Addr() }) {
		return true, nil
	}
	if len(ms) == 1 && ms[0].ID == s.m.Node {
		return true, nil // a cluster of this member alone: the leader, that is itself, corrects the address
	}
	body, err := json.Marshal(struct {
		Addr string `json:"addr"`
	}{s.raft.Addr()})
	if err != nil {
		return false, err
	}
	var errs []error
	for _, m := range ms {
		if m.ID == s.m.Node {
			continue
		}
		if err := s.announceTo(ctx, m.Addr, body); err == nil {
			return false, nil // the next round sees it in the configuration
		} else {
			errs = append(errs, err)
		}
	}
	if len(s.m.Servers) > 0 {
		c, err := api.NewClient(api.Config{Servers: s.m.Servers, Identity: s.m.identity, Dial: s.cfg.Dial, Timeout: 5 * time.Second})
		if err != nil {
			return false, err
		}
		defer c.Close()
		_, err = c.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/cluster/members", Body: body})
		if err == nil {
			return false, nil
		}
		errs = append(errs, err)
	}
	return false, errors.Join(errs...)
}

func (s *Server) announceTo(ctx context.Context, addr string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr+"/v1/cluster/members", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := s.peers.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("announce to %s: %w", addr, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("announce to %s: %s", addr, resp.Status)
	}
	return nil
}

// Enrolment describes a node of this very process (dev).
type Enrolment struct {
	ID, Region  string
	Roles       identity.Role
	Addr, Build string
}

// Enroll issues an identity to a node of this process, without a token. Only on the leader. Calling it
// again for the same id renews.
func (s *Server) Enroll(ctx context.Context, e Enrolment) (*identity.Store, error) {
	peer := identity.Peer{Mesh: s.m.Mesh, Node: identity.NodeID(e.ID), Region: e.Region, Roles: e.Roles}
	if err := peer.Validate(); err != nil {
		return nil, fmt.Errorf("enroll %s: %w", e.ID, err)
	}
	key, err := identity.NewKey()
	if err != nil {
		return nil, fmt.Errorf("enroll %s: %w", e.ID, err)
	}
	csr, err := identity.CSR(key)
	if err != nil {
		return nil, fmt.Errorf("enroll %s: %w", e.ID, err)
	}
	chain, err := s.m.vault.Authority.Issue(csr, peer, time.Now(), ca.NodeTTL)
	if err != nil {
		return nil, fmt.Errorf("enroll %s: %w", e.ID, err)
	}
	store, err := identity.NewStore(key, chain, s.m.vault.Authority.Roots())
	if err != nil {
		return nil, fmt.Errorf("enroll %s: %w", e.ID, err)
	}
	self := store.Self()
	res, _, err := s.raft.Propose(ctx, command.New(time.Now(), "coordinator/"+s.m.Node, &command.RegisterNode{Node: state.Node{
		ID: e.ID, Region: e.Region, Roles: e.Roles.Strings(), Addr: e.Addr, BuildInfo: e.Build,
		Serial: self.Serial, NotAfter: self.NotAfter.Unix(),
	}}))
	if err != nil {
		return nil, fmt.Errorf("enroll %s: %w", e.ID, err)
	}
	if res.Err != nil {
		return nil, fmt.Errorf("enroll %s: %w", e.ID, res.Err)
	}
	return store, nil
}
