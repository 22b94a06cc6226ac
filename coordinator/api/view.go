package api

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/state"
)

// NodeView is everything one node needs from the coordinator, cut to what that node may know:
// exits get the credentials of the providers that their region may call, edges get key hashes and
// the pepper to look keys up, neither gets the other's. A NodeView is never changed after Watch
// has handed it out.
type NodeView struct {
	Index     uint64            `json:"index"`    // Raft index of the last change it contains
	Revision  uint64            `json:"revision"` // of the policy
	Mesh      string            `json:"mesh"`
	Cluster   string            `json:"cluster"`
	Node      string            `json:"node"`
	Edges     int               `json:"edges"` // registered edges that are not revoked: limits are shared by that many
	Regions   []state.Region    `json:"regions"`
	Orgs      []state.Org       `json:"orgs,omitempty"`
	Tenants   []state.Tenant    `json:"tenants,omitempty"`
	Keys      []state.Key       `json:"keys,omitempty"`   // edges only: hashes, never secrets
	Pepper    []byte            `json:"pepper,omitempty"` // edges only
	Providers []state.Provider  `json:"providers"`
	Models    []state.Model     `json:"models"`
	Limits    []state.Limit     `json:"limits,omitempty"`
	Policy    state.Policy      `json:"policy"`
	Audit     []state.AuditRule `json:"audit,omitempty"`
	Route     state.Route       `json:"route"`
	Nodes     []state.Node      `json:"nodes"`
	Revoked   []string          `json:"revoked,omitempty"` // certificate serials
	Roots     []byte            `json:"roots,omitempty"`   // PEM of the CA certificates in force
	Servers   []string          `json:"servers,omitempty"` // base URLs of coordinators: those that registered one, and the one that answered

	// ConfirmedAt is when a coordinator last knew this to be the cluster's truth: the leader's
	// clock for the leader, its last contact for the others. The age of a policy counts from it.
	ConfirmedAt time.Time `json:"confirmed_at"`
}

// Self finds the node's own record; false when it was removed.
func (v *NodeView) Self() (state.Node, bool) {
	i := slices.IndexFunc(v.Nodes, func(n state.Node) bool { return n.ID == v.Node })
	if i < 0 {
		return state.Node{}, false
	}
	return v.Nodes[i], true
}

// Encode and DecodeNodeView are how a node keeps the last view on disk: it serves from that when
// no coordinator answers. The file holds credentials on exits and belongs in a 0600 file.
func (v *NodeView) Encode() ([]byte, error) { return json.Marshal(v) }

// DecodeNodeView is the reverse of Encode.
func DecodeNodeView(data []byte) (*NodeView, error) {
	v := new(NodeView)
	if err := json.Unmarshal(data, v); err != nil {
		return nil, err
	}
	return v, nil
}
