package state

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// draw makes commands over a handful of ids, so that they meet. It is a plain seeded generator: one
// that prefers small cases leaves most of these commands rejected.
type draw struct {
	*rand.Rand
	now time.Time
}

func (d draw) pick(of ...string) string { return of[d.IntN(len(of))] }

func (d draw) chance(percent int) bool { return d.IntN(100) < percent }

func (d draw) some(of ...string) []string {
	var out []string
	for _, i := range d.Perm(len(of))[:d.IntN(2)] {
		out = append(out, of[i])
	}
	return out
}

func (d draw) between(low, high int64) int64 { return low + d.Int64N(high-low+1) }

func (d draw) org() Org { return Org{ID: d.pick("o1", "o2")} }
func (d draw) tenant() Tenant {
	return Tenant{
		ID: d.pick("t1", "t2", "t3"), Org: d.pick("", "o1", "o2"), Home: d.pick("EU", "CN", "US"),
		Labels: d.labels(),
	}
}

func (d draw) labels() map[string]string {
	if d.chance(30) {
		return nil
	}
	out := map[string]string{}
	for i := range d.between(1, 12) {
		out[string('a'+rune(i))] = d.pick("", "x")
	}
	return out
}

func (d draw) key() Key {
	k := Key{ID: d.pick("k1", "k2", "k3"), Tenant: d.pick("t1", "t2"), Models: d.some("*", "m1", "m2")}
	if d.chance(70) {
		k.Hash = []byte(d.pick("h1", "h2", "h3", "h4"))
		k.Fingerprint = "fp-" + string(k.Hash)
	}
	return k
}

func (d draw) provider() Provider {
	p := Provider{ID: d.pick("p1", "p2"), Dialects: []string{"gemini"}, BaseURL: "https://x", Exits: d.some("us-west", "r1")}
	for _, id := range d.some("a", "b") {
		p.Auth.Secrets = append(p.Auth.Secrets, Secret{ID: id, Sealed: []byte(d.pick("s1", "s2")), Fingerprint: d.pick("f1", "f2")})
	}
	return p
}

func (d draw) model() Model {
	return Model{
		ID: d.pick("m1", "m2", "m3"), Aliases: d.some("a1", "a2", "m1", "m3"),
		Targets: []Target{{Provider: d.pick("p1", "p2")}}, Fallbacks: d.some("m1", "m2"),
	}
}

func (d draw) limit() Limit {
	return Limit{Tenant: d.pick("t1", "t2"), Key: d.pick("", "k1", "k2"), Model: d.pick("", "*", "m1"), RPM: d.between(-1, 3)}
}

func (d draw) policy() Policy {
	p := Policy{Default: d.pick("", "allow", "deny")}
	for _, id := range d.some("r1", "r2") {
		p.Rules = append(p.Rules, Rule{ID: id, Allow: []string{"EU"}, When: When{Tenant: d.some("t1", "t2"), Model: d.some("m1", "*")}})
	}
	return p
}

func (d draw) region() Region {
	return Region{ID: d.pick("us-west", "r1", "r2"), Country: d.pick("US", "JP")}
}

func (d draw) node() Node {
	return Node{
		ID: d.pick("n1", "n2", "n3"), Region: d.pick("us-west", "r1"), Roles: d.some("edge", "exit"),
		Serial: fmt.Sprintf("s%d", d.between(1, 99)), NotAfter: d.now.Unix() + d.between(0, 100),
	}
}

// joiner is a node under a fresh id: an id that is taken cannot join.
func (d draw) joiner() Node {
	n := d.node()
	n.ID, n.Region, n.Roles = fmt.Sprintf("j%d", d.between(1, 9)), "us-west", []string{"edge"}
	return n
}

func several[T any](d draw, one func() T) []T {
	if !d.chance(40) {
		return nil
	}
	out := []T{}
	for range d.between(0, 2) {
		out = append(out, one())
	}
	return out
}

func (d draw) document() Document {
	doc := Document{
		Version: 1, Regions: several(d, d.region), Providers: several(d, d.provider), Models: several(d, d.model),
		Orgs: several(d, d.org), Tenants: several(d, d.tenant), Keys: several(d, d.key), Limits: several(d, d.limit),
		Audit: several(d, func() AuditRule { return AuditRule{Tenant: d.pick("t1", "t2")} }),
	}
	if d.chance(40) {
		p := d.policy()
		doc.Policy = &p
	}
	if d.chance(40) {
		doc.Route = &Route{Policy: d.pick("causeway", "seed")}
	}
	return doc
}

func (d draw) body() command.Body {
	switch d.between(1, 24) {
	case 1:
		return &command.Init{Mesh: "m", Cluster: "c"}
	case 2:
		return &command.PutRegion{Region: d.region()}
	case 3:
		return &command.PutOrg{Org: d.org()}
	case 4:
		return &command.PutTenant{Tenant: d.tenant()}
	case 5:
		return &command.PutKey{Key: d.key()}
	case 6:
		return &command.PutProvider{Provider: d.provider()}
	case 7:
		return &command.PutModel{Model: d.model()}
	case 8:
		return &command.PutLimit{Limit: d.limit()}
	case 9:
		return &command.PutPolicy{Policy: d.policy()}
	case 10:
		id := d.pick("o1", "t1", "k1", "p1", "m1", "n1", "tok1", "r1", "t1/*/*", "t1/k1/*", "")
		return &command.Delete{Sort: Sort(d.between(0, 13)), ID: id}
	case 11:
		return &command.RotateKey{ID: d.pick("k1", "k2"), Hash: []byte(d.pick("h1", "h2", "h5")), KeepUntil: d.now.Unix() + d.between(-5, 50)}
	case 12:
		return &command.RevokeKey{ID: d.pick("k1", "k2")}
	case 13:
		return &command.CreateToken{Token: Token{ID: d.pick("tok1", "tok2"), Hash: []byte("h"), Region: "us-west", Roles: []string{"edge"}, ExpiresAt: d.now.Unix() + d.between(0, 60)}}
	case 14:
		return &command.JoinNode{TokenID: d.pick("tok1", "tok2"), SecretHash: []byte(d.pick("h", "x")), Node: d.joiner()}
	case 15:
		return &command.RegisterNode{Node: d.node()}
	case 16:
		return &command.RenewNode{ID: d.pick("n1", "n2"), Serial: fmt.Sprintf("s%d", d.between(1, 99)), NotAfter: d.now.Unix() + d.between(0, 200)}
	case 17:
		return &command.SetNodeState{ID: d.pick("n1", "n2"), State: d.pick(NodeActive, NodeDraining, "x")}
	case 18:
		return &command.RevokeNode{ID: d.pick("n1", "n2")}
	default:
		return &command.Apply{Document: d.document(), Prune: d.chance(40)}
	}
}

func (d draw) command() command.Command {
	c := command.Command{Time: d.now.UnixNano(), Actor: d.pick("a", "b"), Body: d.body()}
	if d.chance(15) {
		c.Idempotency = command.Idempotency{Key: d.pick("i1", "i2", "i3", "i4"), Request: [32]byte{byte(d.between(0, 1))}}
	}
	if d.chance(5) {
		c.Match = command.Match{Version: uint64(d.between(0, 20)), Absent: d.chance(30)}
	}
	return c
}

// reseed rebuilds the maps of a command, so that their iteration order has another seed.
func reseed(c command.Command) command.Command {
	rebuild := func(ts []Tenant) []Tenant {
		ts = slices.Clone(ts)
		for i := range ts {
			fresh := make(map[string]string, 64)
			for _, k := range slices.Backward(slices.Sorted(maps.Keys(ts[i].Labels))) {
				fresh[k] = ts[i].Labels[k]
			}
			ts[i].Labels = fresh
		}
		return ts
	}
	switch b := c.Body.(type) {
	case *command.PutTenant:
		c.Body = &command.PutTenant{Tenant: rebuild([]Tenant{b.Tenant})[0]}
	case *command.Apply:
		doc := b.Document
		if doc.Tenants != nil {
			doc.Tenants = rebuild(doc.Tenants)
		}
		c.Body = &command.Apply{Document: doc, Prune: b.Prune}
	}
	return c
}

// TestReplicasAgree is the property that the cluster stands on. The same log goes to four replicas: one
// applies the commands as they are, one with maps of another seed, one from their encoding, and one
// from their encoding with restores from a snapshot in between. After every entry all have the same
// hash and answered alike; a rejected entry left the hash as it was; and the invariants hold.
func TestReplicasAgree(t *testing.T) {
	accepted := map[command.Kind]int{}
	for seed := range uint64(150) {
		d := draw{rand.New(rand.NewPCG(seed, 7)), t0}
		replicas := [4]*State{New(), New(), New(), New()}
		opening := []command.Body{
			&command.PutOrg{Org: Org{ID: "o1"}}, &command.PutTenant{Tenant: Tenant{ID: "t1"}}, &command.PutProvider{Provider: provider("p1")},
			&command.PutModel{Model: model("m1", "p1")}, &command.PutKey{Key: key("k1", "t1", "x")},
			&command.CreateToken{Token: Token{ID: "tok1", Hash: []byte("h"), Region: "us-west", Roles: []string{"edge", "exit"}, ExpiresAt: t0.Unix() + 50}},
		}
		for index := uint64(2); index < 60; index++ {
			d.now = d.now.Add(time.Duration(d.between(-2, 8)) * time.Second)
			if d.chance(1) {
				d.now = d.now.Add(25 * time.Hour)
			}
			c := d.command()
			if i := int(index) - 2; i < len(opening) {
				c = command.New(d.now, "admin", opening[i])
			}
			before, frozen := replicas[0].Hash(), replicas[0].Current()
			b, err := command.Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			decoded, err := command.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			fail := func(format string, args ...any) {
				t.Fatalf("seed %d, entry %d, %s: %s", seed, index, c.Kind(), fmt.Sprintf(format, args...))
			}
			var results [4]Result
			for i, c := range []command.Command{c, reseed(c), decoded, decoded} {
				results[i] = replicas[i].Apply(index, c)
			}
			if again, err := command.Encode(c); err != nil || !bytes.Equal(again, b) {
				fail("applying changed the command itself")
			}
			if d.chance(20) {
				replicas[3] = reload(t, replicas[3])
			}
			want := replicas[0].Hash()
			for i := range replicas {
				if got := replicas[i].Hash(); got != want {
					fail("replica %d has hash %x, replica 0 has %x", i, got, want)
				}
				if a, b := fmt.Sprintf("%+v", results[0]), fmt.Sprintf("%+v", results[i]); a != b {
					fail("replica %d answered %s, replica 0 %s", i, b, a)
				}
			}
			switch {
			case results[0].Err == nil && !results[0].Replayed:
				accepted[c.Kind()]++
			case want != before:
				fail("changed the hash, but answered %+v", results[0])
			}
			if got := recomputed(t, frozen); got != before {
				fail("changed a snapshot that readers hold")
			}
			if got := recomputed(t, replicas[0].Current()); got != want {
				fail("the hash kept per chunk is %x, from scratch it is %x", want, got)
			}
			checkInvariants(t, replicas[0].Current(), fail)
		}
	}
	for k := command.Kind(1); k.Body() != nil; k++ {
		if accepted[k] < 10 {
			t.Errorf("only %d commands %s were accepted: the generator tests nothing there", accepted[k], k)
		}
	}
	t.Log(accepted)
}

func reloadWith(t testingT, s *Snapshot) *Snapshot {
	one := &State{}
	one.cur.Store(s)
	return reload(t, one).Current()
}

// recomputed is the hash of a copy that shares nothing with s.
func recomputed(t testingT, s *Snapshot) [32]byte { return reloadWith(t, s).Hash() }

// checkInvariants looks at a snapshot from outside, without the indexes that Apply uses.
func checkInvariants(t testingT, s *Snapshot, fail func(string, ...any)) {
	tx := &tx{Snapshot: *s}
	for sort := Sort(1); sort <= command.Tokens; sort++ {
		for _, id := range tx.ids(sort) {
			for _, r := range tx.refs(sort, id) {
				if !tx.exists(r.sort, r.id) {
					fail("%s %q refers to %s %q, which does not exist", sort.One(), id, r.sort.One(), r.id)
				}
			}
		}
	}
	names := map[string]string{}
	for m := range s.Models.All() {
		for _, n := range append([]string{m.ID}, m.Aliases...) {
			if other, taken := names[n]; taken {
				fail("%q means %q and %q", n, other, m.ID)
			}
			names[n] = m.ID
		}
	}
	hashes := map[string]string{}
	for k := range s.Keys.All() {
		for _, h := range [][]byte{k.Hash, k.PreviousHash} {
			if other, taken := hashes[string(h)]; taken && len(h) > 0 {
				fail("keys %q and %q share a secret", other, k.ID)
			}
			hashes[string(h)] = k.ID
		}
	}
	for l := range s.Limits.All() {
		if k, ok := s.Keys.Get(l.Key); ok && k.Tenant != l.Tenant {
			fail("limit %s is on a key of tenant %s", l.LimitID(), k.Tenant)
		}
	}
	edges := 0
	for n := range s.Nodes.All() {
		if n.State != NodeRevoked && slices.Contains(n.Roles, "edge") {
			edges++
		}
		if s.Revoked.Has(n.Serial) != (n.State == NodeRevoked) && n.NotAfter > s.Clock/int64(time.Second) {
			fail("node %s is %s, its certificate revoked: %v", n.ID, n.State, s.Revoked.Has(n.Serial))
		}
	}
	fresh := reloadWith(t, s)
	if s.EdgeCount() != edges || fresh.edges != edges {
		fail("%d edges counted, %d after a restore, %d there", s.EdgeCount(), fresh.edges, edges)
	}
	for what, pair := range map[string][2]Table[string]{"names": {s.names, fresh.names}, "hashes": {s.hashes, fresh.hashes}, "oldest": {s.oldest, fresh.oldest}} {
		if !slices.Equal(pair[0].Slice(), pair[1].Slice()) || !slices.Equal(pair[0].ids(), pair[1].ids()) {
			fail("index %s: %v, rebuilt %v", what, pair[0].ids(), pair[1].ids())
		}
	}
}

func TestEveryKindApplies(t *testing.T) {
	for k := command.Kind(1); k.Body() != nil; k++ {
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("%s: %v", k, r)
				}
			}()
			New().Apply(2, command.Command{Body: k.Body()})
		}()
	}
}

// TestReadersNeedNoLock runs readers beside Apply; the race detector is the judge.
func TestReadersNeedNoLock(t *testing.T) {
	r := populated(t)
	done := make(chan struct{})
	for range 3 {
		go func() {
			defer func() { done <- struct{}{} }()
			for r.s.Current().Index < 60 {
				s := r.s.Current()
				s.Hash()
				if _, ok := s.Keys.Get("app"); !ok {
					t.Error("lost a key")
					return
				}
				var b bytes.Buffer
				if err := s.Encode(&b); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for i := uint64(20); i <= 60; i++ {
		r.s.Apply(i, command.Command{Body: &command.PutOrg{Org: Org{ID: fmt.Sprintf("o%d", i)}}})
	}
	for range 3 {
		<-done
	}
}

func big(b *testing.B, keys int) *State {
	s := New().Current()
	s.Tenants = s.Tenants.with("acme", Tenant{ID: "acme", Version: 2})
	for i := range keys {
		k := Key{ID: fmt.Sprintf("key-%07d", i), Tenant: "acme", Hash: hashOf(fmt.Sprint(i)), Fingerprint: "0123456789abcdef", Version: 3}
		s.Keys.grow(row[Key]{k.ID, &k})
	}
	if err := s.reindex(); err != nil {
		b.Fatal(err)
	}
	s.Index = 10
	out := &State{}
	out.cur.Store(s)
	return out
}

func BenchmarkRead(b *testing.B) {
	s := big(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Current().Keys.Get("key-0050000"); !ok {
			b.Fatal("lost")
		}
	}
}

func BenchmarkApplyPutKey(b *testing.B) {
	s := big(b, 100_000)
	s.Hash()
	index := s.Current().Index
	b.ReportAllocs()
	for b.Loop() {
		index++
		k := Key{ID: fmt.Sprintf("key-%07d", index*7919%100_000), Tenant: "acme", Hash: hashOf(fmt.Sprint("new", index))}
		if res := s.Apply(index, command.Command{Time: int64(index), Body: &command.PutKey{Key: k}}); res.Err != nil {
			b.Fatal(res.Err)
		}
	}
}

func BenchmarkHashAfterOneChange(b *testing.B) {
	s := big(b, 100_000)
	s.Hash()
	index := s.Current().Index
	b.ReportAllocs()
	for b.Loop() {
		index++
		s.Apply(index, command.Command{Body: &command.RevokeKey{ID: fmt.Sprintf("key-%07d", index*7919%100_000)}})
		s.Hash()
	}
}

func BenchmarkEncodeSnapshot(b *testing.B) {
	s := big(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Encode(discard{}); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
