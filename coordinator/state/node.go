package state

import (
	"cmp"
	"slices"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// Node states.
const (
	NodeActive   = "active"
	NodeDraining = "draining"
	NodeRevoked  = "revoked"
)

func nodeVersion(n *Node) *uint64   { return &n.Version }
func tokenVersion(t *Token) *uint64 { return &t.Version }

// putNode stores n and keeps the counts by region and of edges.
func (t *tx) putNode(n Node) {
	old, _ := t.Nodes.Get(n.ID)
	before := len(t.changes)
	put(t, &t.Nodes, command.Nodes, n.ID, n, nodeVersion)
	if t.err == nil && t.changes[before].Action != Same {
		t.countNode(old, n)
	}
}

func (t *tx) countNode(old, n Node) {
	count := func(n Node, by int) {
		if n.ID == "" || n.State == NodeRevoked {
			return
		}
		have, _ := t.regional.Get(n.Region)
		t.regional = t.regional.with(n.Region, have+by)
		if hasRole(n, "edge") {
			t.edges += by
		}
	}
	count(old, -1)
	count(n, +1)
}

// checkNode is what registering and joining have in common.
func (t *tx) checkNode(n Node) {
	if !ValidID(command.Nodes, n.ID) {
		t.fail(Invalid, "id", "%q is no node id: letters, digits, '.', '_' and '-', at most 63", n.ID)
	}
	if !t.Regions.Has(n.Region) {
		t.fail(Invalid, "region", "no region %q; declare it first", n.Region)
	}
	if len(n.Roles) == 0 {
		t.fail(Invalid, "roles", "a node needs a role")
	}
	t.checkSerial(n.Serial)
}

func (t *tx) checkSerial(serial string) {
	if serial == "" {
		t.fail(Invalid, "serial", "a node needs a certificate")
	}
	if t.Revoked.Has(serial) {
		t.fail(Conflict, "serial", "certificate %s is revoked", serial)
	}
}

func (t *tx) registerNode(n Node) {
	t.checkNode(n)
	old, exists := t.Nodes.Get(n.ID)
	n.State, n.JoinedAt, n.Former = NodeActive, t.unix(), nil
	if exists {
		switch {
		case old.State == NodeRevoked:
			t.fail(Conflict, "id", "node %q is revoked for good; join under another id", n.ID)
		case old.Region != n.Region:
			t.fail(Conflict, "region", "node %q stands in region %q; revoke it and join under another id to move it", n.ID, old.Region)
		}
		n.State, n.JoinedAt = old.State, old.JoinedAt
		n.Former = t.former(old, n.Serial)
	}
	t.putNode(n)
}

// former lists the earlier certificates of a node that are still good.
func (t *tx) former(n Node, next string) []Certificate {
	all := slices.Clone(n.Former)
	if n.Serial != "" && n.Serial != next {
		all = append(all, Certificate{Serial: n.Serial, NotAfter: n.NotAfter})
	}
	return slices.DeleteFunc(all, func(c Certificate) bool { return c.NotAfter <= t.unix() || c.Serial == next })
}

func (t *tx) createToken(k Token) {
	if !ValidID(command.Tokens, k.ID) {
		t.fail(Invalid, "id", "%q is no token id", k.ID)
	}
	if len(k.Hash) == 0 {
		t.fail(Invalid, "hash", "a token needs the hash of its secret")
	}
	if !t.Regions.Has(k.Region) {
		t.fail(Invalid, "region", "no region %q; declare it first", k.Region)
	}
	if len(k.Roles) == 0 {
		t.fail(Invalid, "roles", "a token needs the roles that it admits")
	}
	if k.ExpiresAt <= t.unix() {
		t.fail(Invalid, "expires_at", "the token would be expired already")
	}
	if t.Tokens.Has(k.ID) {
		t.fail(Conflict, "id", "token %q exists", k.ID)
	}
	k.UsedBy, k.UsedAt = "", 0
	// Old tokens answer why they do not work for a day, then go.
	for _, id := range t.Tokens.ids() {
		if old, _ := t.Tokens.Get(id); old.ExpiresAt < t.unix()-int64(24*time.Hour/time.Second) {
			t.Tokens = t.Tokens.without(id)
		}
	}
	put(t, &t.Tokens, command.Tokens, k.ID, k, tokenVersion)
}

func (t *tx) joinNode(b *command.JoinNode) {
	n := b.Node
	k, ok := t.Tokens.Get(b.TokenID)
	const fresh = "; make a new one with `causeway node token`"
	switch {
	case !ok || !secretEqual(k.Hash, b.SecretHash):
		t.fail(Denied, "token", "the join token is unknown"+fresh)
	case k.UsedBy != "":
		t.fail(Denied, "token", "join token %q was already used by node %q"+fresh, k.ID, k.UsedBy)
	case k.ExpiresAt <= t.unix():
		t.fail(Denied, "token", "join token %q expired at %s"+fresh, k.ID, time.Unix(k.ExpiresAt, 0).UTC().Format(time.RFC3339))
	case k.Region != n.Region:
		t.fail(Denied, "region", "join token %q admits to region %q, not %q"+fresh, k.ID, k.Region, n.Region)
	case k.Node != "" && k.Node != n.ID:
		t.fail(Denied, "id", "join token %q admits node %q, not %q"+fresh, k.ID, k.Node, n.ID)
	}
	for _, r := range n.Roles {
		if !slices.Contains(k.Roles, r) {
			t.fail(Denied, "roles", "join token %q does not admit the role %q"+fresh, k.ID, r)
		}
	}
	t.checkNode(n)
	if old, exists := t.Nodes.Get(n.ID); exists {
		t.fail(Conflict, "id", "node id %q is taken (%s); join under another id", n.ID, old.State)
	}
	if t.err != nil {
		return
	}
	n.State, n.JoinedAt, n.Former = NodeActive, t.unix(), nil
	t.putNode(n)
	k.UsedBy, k.UsedAt = n.ID, t.unix()
	put(t, &t.Tokens, command.Tokens, k.ID, k, tokenVersion)
}

// live fetches a node that is not revoked.
func (t *tx) live(id string) Node {
	n, ok := t.Nodes.Get(id)
	switch {
	case !ok:
		t.fail(NotFound, "", "no node %q", id)
	case n.State == NodeRevoked:
		t.fail(Conflict, "", "node %q is revoked for good", id)
	}
	return n
}

func (t *tx) renewNode(b *command.RenewNode) {
	n := t.live(b.ID)
	t.checkSerial(b.Serial)
	if t.err != nil {
		return
	}
	n.Former = t.former(n, b.Serial)
	n.Serial, n.NotAfter = b.Serial, b.NotAfter
	n.Addr, n.BuildInfo = cmp.Or(b.Addr, n.Addr), cmp.Or(b.BuildInfo, n.BuildInfo)
	t.putNode(n)
}

func (t *tx) setNodeState(b *command.SetNodeState) {
	n := t.live(b.ID)
	if b.State != NodeActive && b.State != NodeDraining {
		t.fail(Invalid, "state", "%q is no state to set: active or draining", b.State)
	}
	if t.err != nil {
		return
	}
	n.State = b.State
	t.putNode(n)
}

func (t *tx) revokeNode(id string) {
	n, ok := t.Nodes.Get(id)
	if !ok {
		t.fail(NotFound, "", "no node %q", id)
		return
	}
	for _, c := range t.former(n, "") {
		t.Revoked = t.Revoked.with(c.Serial, c)
	}
	for c := range t.Revoked.All() {
		if c.NotAfter <= t.unix() {
			t.Revoked = t.Revoked.without(c.Serial)
		}
	}
	n.State, n.Former = NodeRevoked, nil
	t.putNode(n)
}
