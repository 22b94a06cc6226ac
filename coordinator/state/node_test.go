package state

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

func (r *rig) token(id string) {
	r.t.Helper()
	r.do(&command.CreateToken{Token: Token{ID: id, Hash: hashOf("secret-" + id), Region: "us-west", Roles: []string{"edge", "exit"}, ExpiresAt: r.now.Add(15 * time.Minute).Unix()}})
}

func join(token, node string) *command.JoinNode {
	return &command.JoinNode{TokenID: token, SecretHash: hashOf("secret-" + token), Node: Node{
		ID: node, Region: "us-west", Roles: []string{"edge"}, Addr: "192.0.2.1:7701", Serial: "serial-" + node, NotAfter: t0.Add(72 * time.Hour).Unix(),
	}}
}

func TestJoinToken(t *testing.T) {
	r := newRig(t)
	r.token("tok")
	for _, tt := range []struct {
		why, text string
		change    func(*command.JoinNode)
	}{
		{"unknown token", "unknown", func(j *command.JoinNode) { j.TokenID = "x" }},
		{"wrong secret, same words as an unknown token", "unknown", func(j *command.JoinNode) { j.SecretHash = hashOf("x") }},
		{"no secret", "unknown", func(j *command.JoinNode) { j.SecretHash = nil }},
		{"the token binds the region: a node's country is not its own to say", `not "cn-east"`, func(j *command.JoinNode) { j.Node.Region = "cn-east" }},
		{"the token binds the roles", `role "coordinator"`, func(j *command.JoinNode) { j.Node.Roles = []string{"edge", "coordinator"} }},
	} {
		j := join("tok", "edge-1")
		tt.change(j)
		r.refuse(tt.why, Denied, tt.text, j)
	}
	r.do(join("tok", "edge-1"))
	r.refuse("single use", Denied, `already used by node "edge-1"`, join("tok", "edge-2"))
	if k, _ := r.s.Current().Tokens.Get("tok"); k.UsedBy != "edge-1" || k.UsedAt == 0 {
		t.Errorf("%+v", k)
	}
	r.token("tok2")
	r.refuse("an id is taken by whoever has it", Conflict, "is taken", join("tok2", "edge-1"))
	r.do(&command.CreateToken{Token: Token{ID: "named", Node: "edge-9", Hash: hashOf("secret-named"), Region: "us-west", Roles: []string{"edge"}, ExpiresAt: r.now.Add(time.Hour).Unix()}})
	r.refuse("a token for one name", Denied, `admits node "edge-9"`, join("named", "edge-2"))
	r.refuse("a dead token", Invalid, "expired already", &command.CreateToken{Token: Token{ID: "old", Hash: []byte("h"), Region: "us-west", Roles: []string{"edge"}, ExpiresAt: r.now.Unix()}})
	r.now = r.now.Add(20 * time.Minute)
	r.refuse("expired", Denied, "expired at 2026-11-22T12:1", join("tok2", "edge-2"))
	r.now = r.now.Add(48 * time.Hour)
	r.token("tok3")
	if s := r.s.Current(); s.Tokens.Len() != 1 {
		t.Errorf("%d tokens kept, want the new one", s.Tokens.Len())
	}
}

func TestNodeLifeCycle(t *testing.T) {
	r := newRig(t)
	r.token("tok")
	r.do(join("tok", "edge-1"))
	if n, _ := r.s.Current().Nodes.Get("edge-1"); n.State != NodeActive || n.JoinedAt != r.now.Unix() || r.s.Current().EdgeCount() != 1 {
		t.Errorf("%+v, %d edges", n, r.s.Current().EdgeCount())
	}
	r.refuse("a region with nodes keeps its country", InUse, "stays in US", &command.PutRegion{Region: Region{ID: "us-west", Country: "CA"}})
	r.do(&command.PutRegion{Region: Region{ID: "us-west", Country: "US", Lat: 40, Lon: -120}})
	r.do(&command.RenewNode{ID: "edge-1", Serial: "s2", NotAfter: t0.Add(96 * time.Hour).Unix(), BuildInfo: "v2"})
	if n, _ := r.s.Current().Nodes.Get("edge-1"); n.Serial != "s2" || n.Addr != "192.0.2.1:7701" || n.BuildInfo != "v2" || len(n.Former) != 1 {
		t.Errorf("%+v", n)
	}
	r.do(&command.SetNodeState{ID: "edge-1", State: NodeDraining})
	r.do(&command.RegisterNode{Node: Node{ID: "edge-1", Region: "us-west", Roles: []string{"edge"}, Serial: "s3", NotAfter: t0.Add(97 * time.Hour).Unix()}})
	if n, _ := r.s.Current().Nodes.Get("edge-1"); n.State != NodeDraining || len(n.Former) != 2 {
		t.Errorf("registering again must not undo a drain nor forget certificates: %+v", n)
	}
	r.refuse("a node cannot move to another country", Conflict, `stands in region "us-west"`, &command.RegisterNode{Node: Node{ID: "edge-1", Region: "cn-east", Roles: []string{"edge"}, Serial: "s4"}})
	r.refuse("a state is active or draining", Invalid, "no state to set", &command.SetNodeState{ID: "edge-1", State: NodeRevoked})
	r.refuse("delete asks for revocation first", Conflict, "revoke it first", &command.Delete{Sort: command.Nodes, ID: "edge-1"})
	r.do(&command.RevokeNode{ID: "edge-1"})
	if diff := cmp.Diff([]string{"s2", "s3", "serial-edge-1"}, r.s.Current().RevokedSerials()); diff != "" {
		t.Errorf("every certificate that is still good must be revoked:\n%s", diff)
	}
	if n := r.s.Current().EdgeCount(); n != 0 {
		t.Errorf("%d edges", n)
	}
	for _, body := range []command.Body{
		&command.RenewNode{ID: "edge-1", Serial: "s9"},
		&command.SetNodeState{ID: "edge-1", State: NodeActive},
		&command.RegisterNode{Node: Node{ID: "edge-1", Region: "us-west", Roles: []string{"edge"}, Serial: "s9"}},
		&command.RegisterNode{Node: Node{ID: "edge-2", Region: "us-west", Roles: []string{"edge"}, Serial: "s2"}},
	} {
		r.refuse("revoked is for good", Conflict, "revoked", body)
	}
	r.do(&command.Delete{Sort: command.Nodes, ID: "edge-1"})
	if n := r.s.Current().Revoked.Len(); n != 3 {
		t.Errorf("deleting the node freed its certificates: %d left", n)
	}
	r.now = t0.Add(96*time.Hour + time.Minute)
	r.do(&command.RegisterNode{Node: Node{ID: "edge-3", Region: "us-west", Roles: []string{"edge"}, Serial: "s10", NotAfter: r.now.Add(time.Hour).Unix()}})
	r.do(&command.RevokeNode{ID: "edge-3"})
	if diff := cmp.Diff([]string{"s10", "s3"}, r.s.Current().RevokedSerials()); diff != "" {
		t.Errorf("expired certificates leave the list:\n%s", diff)
	}
	r.refuse("no such node", NotFound, "no node", &command.RevokeNode{ID: "nobody"})
	r.do(&command.PutRegion{Region: Region{ID: "us-west", Country: "CA"}})
}
