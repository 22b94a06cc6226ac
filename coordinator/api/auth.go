package api

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

// Role is what a caller may do.
type Role string

// The roles of DESIGN.md 4.4. RoleCoordinator is another coordinator that forwards for itself.
const (
	RoleAdmin       Role = "admin"
	RoleOperator    Role = "operator"
	RoleTenantAdmin Role = "tenant-admin"
	RoleOfficer     Role = "compliance-officer"
	RoleAuditor     Role = "auditor"
	RoleNode        Role = "node"
)

// Roles lists them all, for tests and messages.
func Roles() []Role {
	return []Role{RoleAdmin, RoleOperator, RoleTenantAdmin, RoleOfficer, RoleAuditor, RoleNode}
}

// Grant lets the bearer of a token act in a role. The token itself is never kept, only its SHA-256:
// tokens have full entropy.
type Grant struct {
	Name   string   `json:"name"` // shows in records as the actor
	Role   Role     `json:"role"`
	Tenant string   `json:"tenant,omitempty"` // of a tenant-admin
	Hash   [32]byte `json:"hash"`
}

// NewGrant binds a token to a role.
func NewGrant(name string, role Role, tenant, token string) Grant {
	return Grant{Name: name, Role: role, Tenant: tenant, Hash: sha256.Sum256([]byte(token))}
}

// caller is who asks.
type caller struct {
	actor  string // "admin", "node/edge-1"
	role   Role
	tenant string // a tenant-admin's own
	node   identity.Peer
}

// peerKey carries the identity of a caller whose certificate another coordinator has checked.
type peerKey struct{}

// WithPeer marks a request's context as coming from a node whose certificate was verified elsewhere:
// by the coordinator that forwarded it over mutual TLS.
func WithPeer(ctx context.Context, p identity.Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// authenticate finds out who asks: a bearer token first, else the client certificate.
func (s *Server) authenticate(r *http.Request) (caller, *Problem) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return caller{}, problem("unauthorized", "the Authorization header must be \"Bearer TOKEN\"")
		}
		// Looked up by hash: nothing about the secret shows in the timing.
		sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
		i := slices.IndexFunc(s.grants(), func(g Grant) bool { return g.Hash == sum })
		if i < 0 {
			return caller{}, problem("unauthorized", "the token is not known to this cluster: use the one in the coordinator's admin.token file")
		}
		g := s.grants()[i]
		return caller{actor: g.Name, role: g.Role, tenant: g.Tenant}, nil
	}
	p, ok := r.Context().Value(peerKey{}).(identity.Peer)
	if !ok && r.TLS != nil {
		p, ok = identity.PeerFromState(*r.TLS)
	}
	if !ok {
		return caller{}, problem("unauthorized", "give a token (Authorization: Bearer …) or a node certificate")
	}
	// The handshake checked the list too; a kept connection may be older than the revocation.
	if s.cfg.Consensus.Snapshot().Revoked.Has(p.Serial) {
		return caller{}, problem("unauthorized", "certificate %s of node %s is revoked", p.Serial, p.Node)
	}
	return caller{actor: "node/" + string(p.Node), role: RoleNode, node: p}, nil
}

func (s *Server) grants() []Grant { return *s.grantList.Load() }

// SetGrants replaces the list of token grants.
func (s *Server) SetGrants(g []Grant) {
	g = slices.Clone(g)
	s.grantList.Store(&g)
}

// roleSet is who may use an endpoint.
type roleSet uint8

const (
	admins roleSet = 1 << iota
	operators
	tenantAdmins
	officers
	auditors
	nodes
	anyone // no authentication at all

	staff   = admins | operators | officers | auditors // may read the configuration
	readers = staff | tenantAdmins
)

func (r roleSet) has(role Role) bool {
	switch role {
	case RoleAdmin:
		return r&admins != 0
	case RoleOperator:
		return r&operators != 0
	case RoleTenantAdmin:
		return r&tenantAdmins != 0
	case RoleOfficer:
		return r&officers != 0
	case RoleAuditor:
		return r&auditors != 0
	case RoleNode:
		return r&nodes != 0
	}
	return false
}

func (r roleSet) String() string {
	var out []string
	for _, role := range Roles() {
		if r.has(role) {
			out = append(out, string(role))
		}
	}
	return strings.Join(out, ", ")
}

// own says whether c may touch something of a tenant.
func (c caller) own(tenant string) *Problem {
	if c.role == RoleTenantAdmin && c.tenant != tenant {
		// Not "not found": names of other tenants are no secret to admins only, but refusing tells less.
		return problem("forbidden", "%s may only use tenant %s", c.actor, c.tenant)
	}
	return nil
}
