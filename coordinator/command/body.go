package command

import "fmt"

// Sort is a section of the state.
type Sort uint8

// The sections, in the order in which a document applies: what is referred to comes first.
const (
	Regions Sort = iota + 1
	Orgs
	Tenants
	Providers
	Models
	Keys
	Limits
	Policies
	Audits
	Routes
	Nodes
	Tokens
	sortEnd
)

// String is the section's name in mesh.yaml and in the admin API.
func (s Sort) String() string {
	switch s {
	case Regions:
		return "regions"
	case Orgs:
		return "orgs"
	case Tenants:
		return "tenants"
	case Providers:
		return "providers"
	case Models:
		return "models"
	case Keys:
		return "keys"
	case Limits:
		return "limits"
	case Policies:
		return "policy"
	case Audits:
		return "audit"
	case Routes:
		return "route"
	case Nodes:
		return "nodes"
	case Tokens:
		return "tokens"
	}
	return fmt.Sprintf("section %d", uint8(s))
}

// One is the singular, for messages.
func (s Sort) One() string {
	switch s {
	case Policies, Routes, Audits:
		return s.String()
	default:
		name := s.String()
		return name[:len(name)-1]
	}
}

// Init gives a new cluster its identity, once.
type Init struct {
	Mesh         string // trust domain of node identities
	Cluster      string // id of this set of coordinators
	CACert       []byte // PEM
	SealedCAKey  []byte
	SealedPepper []byte // of the keyed hash of API keys
}

// Bodies that create or replace one resource. Secrets come sealed, keys hashed; one left empty keeps
// what the state holds under that id.
type (
	PutRegion   struct{ Region Region }
	PutOrg      struct{ Org Org }
	PutTenant   struct{ Tenant Tenant }
	PutKey      struct{ Key Key }
	PutProvider struct{ Provider Provider }
	PutModel    struct{ Model Model }
	PutLimit    struct{ Limit Limit }
	PutPolicy   struct{ Policy Policy }
)

// Delete removes one object: a region, org, tenant, key, provider, model, limit (by LimitID), token
// or the policy (no id).
type Delete struct {
	Sort Sort
	ID   string
}

// Apply upserts what a document names and, with Prune, deletes what is absent from its sections: all
// of it or nothing.
type Apply struct {
	Document Document
	Prune    bool
}

// RotateKey gives a key a new hash; the former one is good until KeepUntil (unix seconds, 0 = ends now).
type RotateKey struct {
	ID          string
	Hash        []byte
	Fingerprint string
	KeepUntil   int64
}

// RevokeKey ends a key for good; its hashes stay taken.
type RevokeKey struct{ ID string }

// CreateToken stores a join token. Version, UsedBy and UsedAt are the state's.
type CreateToken struct{ Token Token }

// JoinNode consumes a token and registers the node, in one step. The certificate's serial and end are
// in Node; SecretHash is SHA-256 of the token's secret.
type JoinNode struct {
	TokenID    string
	SecretHash []byte
	Node       Node
}

// RegisterNode registers a node without a token (the first coordinator, dev), or again after a
// restart with a new certificate.
type RegisterNode struct{ Node Node }

// RenewNode records a renewed certificate and what the node says of itself. Empty Addr and BuildInfo
// keep what is known.
type RenewNode struct {
	ID, Serial      string
	NotAfter        int64 // unix seconds
	Addr, BuildInfo string
}

// SetNodeState drains ("draining") or resumes ("active") a node.
type SetNodeState struct{ ID, State string }

// RevokeNode ends a node's identity for good: every unexpired certificate of it is revoked.
type RevokeNode struct{ ID string }

// Body returns an empty body of kind k, nil when there is no such kind.
func (k Kind) Body() Body {
	switch k {
	case KindInit:
		return &Init{}
	case KindPutRegion:
		return &PutRegion{}
	case KindPutOrg:
		return &PutOrg{}
	case KindPutTenant:
		return &PutTenant{}
	case KindPutKey:
		return &PutKey{}
	case KindPutProvider:
		return &PutProvider{}
	case KindPutModel:
		return &PutModel{}
	case KindPutLimit:
		return &PutLimit{}
	case KindPutPolicy:
		return &PutPolicy{}
	case KindDelete:
		return &Delete{}
	case KindApply:
		return &Apply{}
	case KindRotateKey:
		return &RotateKey{}
	case KindRevokeKey:
		return &RevokeKey{}
	case KindCreateToken:
		return &CreateToken{}
	case KindJoinNode:
		return &JoinNode{}
	case KindRegisterNode:
		return &RegisterNode{}
	case KindRenewNode:
		return &RenewNode{}
	case KindSetNodeState:
		return &SetNodeState{}
	case KindRevokeNode:
		return &RevokeNode{}
	default:
		return nil
	}
}

// String is the kind's name in logs.
func (k Kind) String() string {
	names := [...]string{
		"", "init", "put-region", "put-org", "put-tenant", "put-key", "put-provider", "put-model", "put-limit",
		"put-policy", "delete", "apply", "rotate-key", "revoke-key", "create-token", "join-node", "register-node", "renew-node",
		"set-node-state", "revoke-node",
	}
	if k == 0 || int(k) >= len(names) {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return names[k]
}
