package api

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/ca"
	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/identity"
)

// Lives of join tokens.
const (
	defaultTokenTTL = 15 * time.Minute
	maxTokenTTL     = 24 * time.Hour
)

func (s *Server) listTokens(c *call) *Problem {
	return s.reply(c, http.StatusOK, list[state.Token]{Items: c.snap.Tokens.Slice()})
}

// TokenRequest is POST /v1/cluster/tokens.
type TokenRequest struct {
	Roles  []string       `json:"roles"`
	Region string         `json:"region"`
	Node   string         `json:"node,omitempty"` // "" admits any node id
	TTL    state.Duration `json:"ttl,omitzero"`   // 15m; at most 24h
}

// TokenAnswer is the only place where a join token's secret is ever shown.
type TokenAnswer struct {
	state.Token
	Secret string `json:"token,omitempty"` // cwj1.…
	CAHash string `json:"ca_hash"`
}

func (s *Server) createToken(c *call) *Problem {
	var req TokenRequest
	if p := decode(c.body, &req); p != nil {
		return p
	}
	roles, err := identity.ParseRole(strings.Join(req.Roles, ","))
	if err != nil {
		return problem("invalid", "roles are some of edge, exit, relay, coordinator").at("roles")
	}
	if req.Node != "" {
		if err := (identity.Peer{Mesh: "x", Region: "x", Node: identity.NodeID(req.Node), Roles: roles}).Validate(); err != nil {
			return problem("invalid", "%s", err).at("node")
		}
	}
	ttl := cmp.Or(req.TTL.D(), defaultTokenTTL)
	if ttl > maxTokenTTL {
		return problem("invalid", "a join token lives at most %s", maxTokenTTL).at("ttl")
	}
	token := identity.NewJoinToken(identity.SPKIHash(s.cfg.Vault.Authority.Roots()[0]))
	hash := token.SecretHash()
	res, p := s.propose(c, &command.CreateToken{Token: state.Token{
		ID: token.ID, Hash: hash[:], Region: req.Region, Roles: roles.Strings(), Node: req.Node,
		ExpiresAt: time.Now().Add(ttl).Unix(), CreatedBy: c.who.actor,
	}})
	if p != nil {
		return p
	}
	answer := TokenAnswer{Secret: token.String(), CAHash: hex.EncodeToString(token.CAHash[:])}
	id := token.ID
	if res.Replayed && len(res.Changes) > 0 {
		id, answer.Secret = res.Changes[0].ID, "" // nobody keeps it
	}
	answer.Token, _ = c.snap.Tokens.Get(id)
	return s.reply(c, http.StatusCreated, answer)
}

func (s *Server) deleteToken(c *call) *Problem {
	if _, p := s.propose(c, &command.Delete{Sort: command.Tokens, ID: c.id}); p != nil {
		return p
	}
	return s.empty(c, http.StatusNoContent)
}

// join turns a token into a node: consuming the token and registering the node are one Raft entry, so
// that a token works exactly once whatever fails. The certificate is made before, and is worth
// nothing to anybody when the entry is refused.
func (s *Server) join(c *call) *Problem {
	var req joinRequest
	if p := decode(c.body, &req); p != nil {
		return p
	}
	token := identity.JoinToken{ID: req.TokenID, Secret: req.Secret}
	hash := token.SecretHash()
	known, _ := c.snap.Tokens.Get(req.TokenID)
	// What a stranger may learn without the secret: nothing.
	if subtle.ConstantTimeCompare(known.Hash, hash[:]) != 1 {
		return problem("denied", "the join token is unknown; make a new one with `causeway node token`")
	}
	roles, err := identity.ParseRole(strings.Join(known.Roles, ","))
	if err != nil {
		return problem("internal", "the token's roles cannot be read")
	}
	coordinator := roles.Has(identity.RoleCoordinator)
	if p := checkAddr("addr", req.Addr); p != nil {
		return p
	}
	if p := checkAddr("raft", req.Raft); p != nil {
		return p
	}
	peer := identity.Peer{Mesh: c.snap.Mesh, Region: known.Region, Roles: roles, Node: identity.NodeID(cmp.Or(req.Node, known.Node, nodeName(known)))}
	chain, p := s.issue(req.CSR, peer)
	if p != nil {
		return p
	}
	node := state.Node{ID: string(peer.Node), Region: known.Region, Roles: roles.Strings(), Addr: req.Addr, BuildInfo: req.Build}
	node.Serial, node.NotAfter = chain.serial, chain.end
	res, p := s.propose(c, &command.JoinNode{TokenID: req.TokenID, SecretHash: hash[:], Node: node})
	if p != nil {
		return p
	}
	if res.Replayed {
		// The first answer was lost: the same joiner, by its idempotency key and the same body, gets
		// a certificate for the name that it was given then.
		if chain, p = s.reissue(c, req, peer, res); p != nil {
			return p
		}
	}
	answer := chain.answer(c.snap)
	if coordinator {
		answer.Coordinator = &Escrow{KEK: s.cfg.Vault.KEK, SealedCAKey: c.snap.SealedCAKey, Grants: s.grants()}
	}
	s.cfg.Log.Info().Str("node", answer.Node).Str("region", answer.Region).Strs("roles", answer.Roles).Str("token", req.TokenID).Msg("node joined")
	return s.reply(c, http.StatusCreated, answer)
}

func (s *Server) reissue(c *call, req joinRequest, peer identity.Peer, res state.Result) (issued, *Problem) {
	i := slices.IndexFunc(res.Changes, func(ch state.Change) bool { return ch.Sort == command.Nodes })
	if i < 0 {
		return issued{}, problem("internal", "the earlier join named no node")
	}
	peer.Node = identity.NodeID(res.Changes[i].ID)
	out, p := s.issue(req.CSR, peer)
	if p != nil {
		return issued{}, p
	}
	cmd := command.New(time.Now(), "node/"+string(peer.Node), &command.RenewNode{ID: string(peer.Node), Serial: out.serial, NotAfter: out.end})
	_, p = s.send(c, cmd)
	return out, p
}

func checkAddr(field, addr string) *Problem {
	if addr == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return problem("invalid", "%q is not host:port", addr).at(field)
	}
	return nil
}

// nodeName makes an id such as us-west-exit-3f9a1c.
func nodeName(t state.Token) string {
	var b [3]byte
	rand.Read(b[:])
	name := strings.ToLower(t.Region) + "-" + t.Roles[0] + "-" + hex.EncodeToString(b[:])
	return strings.TrimLeft(name[max(0, len(name)-63):], "-.")
}

// issued is a fresh certificate.
type issued struct {
	peer   identity.Peer
	serial string
	end    int64
	chain  []byte
}

func (s *Server) issue(csr []byte, peer identity.Peer) (issued, *Problem) {
	if err := peer.Validate(); err != nil {
		return issued{}, problem("invalid", "%s", err).at("node")
	}
	chain, err := s.cfg.Vault.Authority.Issue(csr, peer, time.Now(), ca.NodeTTL)
	if err != nil {
		return issued{}, problem("invalid", "%s", err).at("csr")
	}
	got, err := identity.PeerFromCertificate(chain[0])
	if err != nil {
		return issued{}, problem("internal", "%s", err)
	}
	return issued{peer: got, serial: got.Serial, end: chain[0].NotAfter.Unix(), chain: identity.EncodeCertificates(chain)}, nil
}

func (i issued) answer(snap *state.Snapshot) certified {
	return certified{
		Mesh: snap.Mesh, Cluster: snap.Cluster, Node: string(i.peer.Node), Region: i.peer.Region, Roles: i.peer.Roles.Strings(),
		Chain: i.chain, Roots: snap.CACert, NotAfter: i.end, Index: snap.Index,
	}
}

// renewNode gives a node a new certificate for the identity it proves to have. Region and roles come
// from the state, not from the old certificate.
func (s *Server) renewNode(c *call) *Problem {
	if string(c.who.node.Node) != c.id {
		return problem("forbidden", "node %s may renew only itself", c.who.node.Node)
	}
	var req renewRequest
	if p := decode(c.body, &req); p != nil {
		return p
	}
	if p := checkAddr("addr", req.Addr); p != nil {
		return p
	}
	n, ok := c.snap.Nodes.Get(c.id)
	if !ok {
		return problem("not_found", "node %q was removed; join again with a new token", c.id)
	}
	roles, err := identity.ParseRole(strings.Join(n.Roles, ","))
	if err != nil {
		return problem("internal", "the node's roles cannot be read")
	}
	out, p := s.issue(req.CSR, identity.Peer{Mesh: c.snap.Mesh, Region: n.Region, Node: identity.NodeID(n.ID), Roles: roles})
	if p != nil {
		return p
	}
	body := &command.RenewNode{ID: n.ID, Serial: out.serial, NotAfter: out.end, Addr: req.Addr, BuildInfo: req.Build}
	cmd := command.New(time.Now(), c.who.actor, body) // repeating it is harmless: no idempotency
	if _, p := s.send(c, cmd); p != nil {
		return p
	}
	return s.reply(c, http.StatusOK, out.answer(c.snap))
}

func (s *Server) listNodes(c *call) *Problem {
	return s.reply(c, http.StatusOK, list[state.Node]{Items: c.snap.Nodes.Slice()})
}

func (s *Server) getNode(c *call) *Problem {
	n, ok := c.snap.Nodes.Get(c.id)
	if !ok {
		return problem("not_found", "there is no node %q", c.id)
	}
	return s.reply(c, http.StatusOK, n)
}

func (s *Server) drainNode(c *call) *Problem {
	return s.nodeChange(c, &command.SetNodeState{ID: c.id, State: state.NodeDraining})
}

func (s *Server) resumeNode(c *call) *Problem {
	return s.nodeChange(c, &command.SetNodeState{ID: c.id, State: state.NodeActive})
}

func (s *Server) revokeNode(c *call) *Problem {
	return s.nodeChange(c, &command.RevokeNode{ID: c.id})
}

func (s *Server) nodeChange(c *call, body command.Body) *Problem {
	if _, p := s.propose(c, body); p != nil {
		return p
	}
	s.cfg.Log.Info().Str("node", c.id).Str("by", c.who.actor).Stringer("change", body.Kind()).Msg("node changed")
	return s.getNode(c)
}

// view answers what the calling node may know, at once or when it has changed since ?index. It is
// answered by any coordinator from its own state; X-Causeway-Stale-Ms says how old that may be.
func (s *Server) view(c *call) *Problem {
	index, _, p := indexOf(c.r)
	if p != nil {
		return p
	}
	wait, p := waitOf(c.r)
	if p != nil {
		return p
	}
	s.stats.views.Add(1)
	if index > 0 && !s.awaitChange(c.ctx, index, wait) {
		c.snap = s.cfg.Consensus.Snapshot()
		return s.empty(c, http.StatusNoContent)
	}
	c.snap = s.cfg.Consensus.Snapshot()
	if c.snap.Revoked.Has(c.who.node.Serial) {
		return problem("unauthorized", "certificate %s of node %s is revoked", c.who.node.Serial, c.who.node.Node)
	}
	v, err := s.buildView(c.snap, string(c.who.node.Node))
	if err != nil {
		s.cfg.Log.Error().Err(err).Str("node", string(c.who.node.Node)).Msg("build view")
		return problem("internal", "the view cannot be built")
	}
	if v == nil {
		return problem("not_found", "node %q is not registered; join with a token", c.who.node.Node)
	}
	return s.reply(c, http.StatusOK, v)
}

// explainRoute answers for the edge of ?edge=REGION or NODE, or the first one.
func (s *Server) explainRoute(c *call) *Problem {
	if s.cfg.Explain == nil {
		return problem("not_in_this_version", "this coordinator explains no routes; ask an edge")
	}
	q := c.r.URL.Query()
	where := q.Get("edge")
	for n := range c.snap.Nodes.All() {
		if n.State == state.NodeRevoked || !slices.Contains(n.Roles, "edge") || where != "" && where != n.Region && where != n.ID {
			continue
		}
		v, err := s.buildView(c.snap, n.ID)
		if err != nil {
			s.cfg.Log.Error().Err(err).Str("node", n.ID).Msg("build view")
			return problem("internal", "the view cannot be built")
		}
		b, p := s.cfg.Explain(v, q)
		if p != nil {
			return p
		}
		return s.reply(c, http.StatusOK, b)
	}
	if where == "" {
		return problem("not_found", "the mesh has no edge; join one: causeway node token --role edge --region REGION")
	}
	return problem("not_found", "no edge of region or id %q; list them: causeway node list", where).at("edge")
}

// buildView cuts the state down to what one node may know. nil when the node is not known.
func (s *Server) buildView(snap *state.Snapshot, id string) (*NodeView, error) {
	self, ok := snap.Nodes.Get(id)
	if !ok || self.State == state.NodeRevoked {
		return nil, nil
	}
	edge, exit := slices.Contains(self.Roles, "edge"), slices.Contains(self.Roles, "exit")
	v := &NodeView{
		Index: snap.Changed, Revision: snap.Policy.Revision, Mesh: snap.Mesh, Cluster: snap.Cluster, Node: id,
		Edges: snap.EdgeCount(), Regions: snap.Regions.Slice(), Models: snap.Models.Slice(), Policy: snap.Policy,
		Route: snap.Route, Revoked: snap.RevokedSerials(), Roots: snap.CACert, ConfirmedAt: time.Now(),
		Providers: []state.Provider{}, Nodes: []state.Node{},
	}
	if s.cfg.API != "" {
		v.Servers = append(v.Servers, s.cfg.API)
	}
	for n := range snap.Nodes.All() {
		if n.State == state.NodeRevoked {
			continue
		}
		v.Nodes = append(v.Nodes, n)
		if url := "https://" + n.Addr; n.Addr != "" && slices.Contains(n.Roles, "coordinator") && !slices.Contains(v.Servers, url) {
			v.Servers = append(v.Servers, url)
		}
	}
	for p := range snap.Providers.All() {
		permitted := exit && (len(p.Exits) == 0 || slices.Contains(p.Exits, self.Region))
		if !permitted && !edge {
			continue
		}
		open := p.Public()
		for i, x := range p.Auth.Secrets {
			if !permitted {
				break
			}
			plain, err := s.unseal(PlaceSecret(p.ID, x.ID), x.Sealed)
			if err != nil {
				return nil, err
			}
			open.Auth.Secrets[i].Value = string(plain)
		}
		v.Providers = append(v.Providers, open)
	}
	if edge {
		pepper, err := s.pepperOf(snap)
		if err != nil {
			return nil, err
		}
		v.Pepper = pepper
		v.Orgs, v.Tenants, v.Keys = snap.Orgs.Slice(), snap.Tenants.Slice(), snap.Keys.Slice()
		v.Limits, v.Audit = snap.Limits.Slice(), snap.Audits.Slice()
	}
	return v, nil
}
