package state

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// Snapshot is the whole state after one log entry: immutable, shared, safe for concurrent use. Reading
// it costs nothing but the lookup; do not change what it returns.
type Snapshot struct {
	Index   uint64 // last entry applied, rejected ones included
	Changed uint64 // last entry that changed anything
	Clock   int64  // time of the last accepted entry, unix nanoseconds; never goes back

	Mesh, Cluster string // "" until Init
	CACert        []byte // PEM
	SealedCAKey   []byte
	SealedPepper  []byte

	Regions   Table[Region]
	Orgs      Table[Org]
	Tenants   Table[Tenant]
	Providers Table[Provider]
	Models    Table[Model]
	Keys      Table[Key]
	Limits    Table[Limit]     // by LimitID
	Audits    Table[AuditRule] // by tenant
	Policy    Policy           // Revision 0 = none was ever set: allow all
	Route     Route
	Nodes     Table[Node]
	Tokens    Table[Token]
	Revoked   Table[Certificate] // by serial, until they expire

	answers Table[answer] // idempotency, by actor and key

	// Derived: rebuilt on restore, in no snapshot and no hash.
	names    Table[string] // model id or alias -> model id
	hashes   Table[string] // key hash -> key id
	oldest   Table[string] // time and index of an answer -> its id
	regional Table[int]    // region -> nodes not revoked there
	edges    int
}

// builtin are the regions that exist from the start (DESIGN.md 4.2). Their version is that of the log's
// first entry, which is never a command: Raft writes it itself.
var builtin = []Region{
	{ID: "cn-east", Country: "CN", Lat: 31.2, Lon: 121.5, Version: 1},
	{ID: "eu-central", Country: "DE", Lat: 50.1, Lon: 8.7, Version: 1},
	{ID: "us-west", Country: "US", Lat: 45.6, Lon: -121.2, Version: 1},
}

// Builtin lists the regions that exist from the start and cannot be deleted.
func Builtin() []Region { return slices.Clone(builtin) }

func isBuiltin(id string) bool {
	return slices.ContainsFunc(builtin, func(r Region) bool { return r.ID == id })
}

// State holds the current snapshot. One goroutine applies; any number read.
type State struct{ cur atomic.Pointer[Snapshot] }

// New returns the state before the first entry: the built-in regions, the policy that allows all and
// the default route.
func New() *State {
	snap := &Snapshot{}
	for _, r := range builtin {
		snap.Regions = snap.Regions.with(r.ID, r)
	}
	normalisePolicy(&snap.Policy)
	normaliseRoute(&snap.Route)
	s := &State{}
	s.cur.Store(snap)
	return s
}

// Current is the latest snapshot: one atomic load.
func (s *State) Current() *Snapshot { return s.cur.Load() }

// Apply applies entry index and publishes the snapshot after it. Rejection is in Result.Err. Indexes
// must rise; a repeated one panics, because a replica that continued would differ from the others.
// Not safe for concurrent use with itself.
func (s *State) Apply(index uint64, c command.Command) Result {
	next, res := s.Current().Next(index, c)
	s.cur.Store(next)
	return res
}

// Hash is fsm_hash of the current snapshot.
func (s *State) Hash() [32]byte { return s.Current().Hash() }

// Model resolves what a client asks for, an id or an alias.
func (s *Snapshot) Model(name string) (Model, bool) {
	id, ok := s.names.Get(name)
	if !ok {
		return Model{}, false
	}
	return s.Models.Get(id)
}

// KeyByHash finds the key that has hash as its present or former one. Whether a former one or a revoked
// key still counts is the caller's to judge by PreviousUntil and Revoked.
func (s *Snapshot) KeyByHash(hash []byte) (Key, bool) {
	id, ok := s.hashes.Get(string(hash))
	if !ok {
		return Key{}, false
	}
	return s.Keys.Get(id)
}

// EdgeCount is the number of registered edges that are not revoked; static shares divide by it.
func (s *Snapshot) EdgeCount() int { return s.edges }

// RevokedSerials lists revoked certificates that have not expired, sorted.
func (s *Snapshot) RevokedSerials() []string {
	out := make([]string, 0, s.Revoked.Len())
	for c := range s.Revoked.All() {
		out = append(out, c.Serial)
	}
	return out
}

// Hash identifies the content: equal for replicas that applied the same entries, whatever the order
// of maps, the cut of chunks or a restore in between. Index is not part of it, so rejected entries do
// not show. It costs what changed since an earlier snapshot was hashed.
func (s *Snapshot) Hash() [32]byte {
	var d digest
	one, _ := recordDigest(nil, 0, "", &meta{s})
	d.add(&one)
	sumTable(&d, byte(command.Regions), s.Regions)
	sumTable(&d, byte(command.Orgs), s.Orgs)
	sumTable(&d, byte(command.Tenants), s.Tenants)
	sumTable(&d, byte(command.Providers), s.Providers)
	sumTable(&d, byte(command.Models), s.Models)
	sumTable(&d, byte(command.Keys), s.Keys)
	sumTable(&d, byte(command.Limits), s.Limits)
	sumTable(&d, byte(command.Audits), s.Audits)
	sumTable(&d, byte(command.Nodes), s.Nodes)
	sumTable(&d, byte(command.Tokens), s.Tokens)
	sumTable(&d, sectionRevoked, s.Revoked)
	sumTable(&d, sectionAnswers, s.answers)
	b := d.bytes()
	return sha256.Sum256(b[:])
}

// Sections of the snapshot that are no resource.
const (
	sectionRevoked = 100
	sectionAnswers = 101
)

// meta is what there is one of. Index is not among it: see Hash.
type meta struct{ s *Snapshot }

// Walk implements command.Record.
func (m *meta) Walk(c *command.Coder) {
	c.Str(1, &m.s.Mesh)
	c.Str(2, &m.s.Cluster)
	c.Bytes(3, &m.s.CACert)
	c.Bytes(4, &m.s.SealedCAKey)
	c.Bytes(5, &m.s.SealedPepper)
	c.Nest(6, &m.s.Policy)
	c.Nest(7, &m.s.Route)
	c.Int(8, &m.s.Clock)
	c.Uint(9, &m.s.Changed)
}

// reindex rebuilds what is derived. It fails on content that no sequence of commands could make.
func (s *Snapshot) reindex() *Error {
	t := &tx{Snapshot: *s}
	t.names, t.hashes, t.oldest, t.regional, t.edges = Table[string]{}, Table[string]{}, Table[string]{}, Table[int]{}, 0
	for m := range s.Models.All() {
		t.nameModel(m, "models/"+m.ID)
	}
	for k := range s.Keys.All() {
		t.hashKey(k, "keys/"+k.ID)
	}
	for a := range s.answers.All() {
		t.oldest = t.oldest.with(a.order(), a.ID)
	}
	for n := range s.Nodes.All() {
		t.countNode(Node{}, n)
	}
	if t.err == nil {
		*s = t.Snapshot
	}
	return t.err
}

func hasRole(n Node, role string) bool {
	return slices.ContainsFunc(n.Roles, func(r string) bool { return strings.EqualFold(r, role) })
}
