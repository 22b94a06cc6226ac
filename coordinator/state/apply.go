package state

import (
	"fmt"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// Action is what a command did to one object.
type Action uint8

// The actions. Same means that nothing had to change: the version stays.
const (
	Same Action = iota
	Added
	Changed
	Deleted
)

// String is the action's name.
func (a Action) String() string {
	return [...]string{"same", "add", "change", "delete"}[a&3]
}

// Change is one object of a result.
type Change struct {
	Sort    Sort
	ID      string // "" for policy and route
	Action  Action
	Version uint64 // of the object after the change; of the former one for Deleted
}

// Result is what became of a command.
type Result struct {
	Index    uint64   // of the entry; of the first one when Replayed
	Changes  []Change // in order of application; one for a command on one object
	Replayed bool     // an idempotent repetition: Changes are those of the first one
	Err      *Error   // nil = accepted. Rejected = nothing changed
}

// Version is the version of the object that a single-object command left behind.
func (r Result) Version() uint64 {
	if len(r.Changes) == 0 {
		return 0
	}
	return r.Changes[0].Version
}

// tx is a draft of the next snapshot. The first error ends it and the draft is dropped.
type tx struct {
	Snapshot
	index   uint64
	now     int64 // unix nanoseconds, never before Clock
	match   command.Match
	single  bool // the command names one object, so match may apply
	changes []Change
	touched []touch // upserts whose references are checked, and index entries redone, at the end
	err     *Error
}

func (t *tx) unix() int64 { return t.now / int64(time.Second) }

func (t *tx) fail(code Code, field, format string, args ...any) {
	if t.err == nil {
		t.err = reject(code, field, format, args...)
	}
}

// Next is the pure function behind Apply: the snapshot after entry index, and what became of it. It
// also answers "what if": dry runs call it and drop the snapshot.
func (s *Snapshot) Next(index uint64, c command.Command) (*Snapshot, Result) {
	if index <= s.Index && s.Index > 0 {
		panic(fmt.Sprintf("state: entry %d after entry %d", index, s.Index))
	}
	same := *s
	same.Index = index
	key := answerID(c)
	if key != "" {
		if a, ok := s.answers.Get(key); ok && a.At > max(c.Time, s.Clock)-int64(answersKept) {
			if a.Request != c.Idempotency.Request {
				return &same, Result{Index: index, Err: reject(IdempotencyReuse, "", "the idempotency key was used for another request; use a new key")}
			}
			return &same, Result{Index: a.Index, Changes: a.changes(), Replayed: true}
		}
	}
	t := &tx{Snapshot: same, index: index, now: max(c.Time, s.Clock), match: c.Match, single: true}
	t.run(c.Body)
	t.settle()
	if t.err != nil {
		return &same, Result{Index: index, Err: t.err}
	}
	t.forget()
	if key != "" {
		t.remember(key, c)
	}
	t.Clock = t.now
	for _, ch := range t.changes {
		if ch.Action != Same {
			t.Changed = index
		}
	}
	return &t.Snapshot, Result{Index: index, Changes: t.changes}
}

// run dispatches. Every kind has a row: TestEveryKindApplies.
func (t *tx) run(body command.Body) {
	switch b := body.(type) {
	case *command.Init:
		t.init(b)
	case *command.PutRegion:
		t.putRegion(b.Region, "")
	case *command.PutOrg:
		t.putOrg(b.Org, "")
	case *command.PutTenant:
		t.putTenant(b.Tenant, "")
	case *command.PutKey:
		t.putKey(b.Key, "")
	case *command.PutProvider:
		t.putProvider(b.Provider, "")
	case *command.PutModel:
		t.putModel(b.Model, "")
	case *command.PutLimit:
		t.putLimit(b.Limit, "")
	case *command.PutPolicy:
		t.putPolicy(b.Policy, "")
	case *command.Delete:
		t.delete(b.Sort, b.ID)
	case *command.Apply:
		t.document(b.Document, b.Prune)
	case *command.RotateKey:
		t.rotateKey(b)
	case *command.RevokeKey:
		t.revokeKey(b.ID)
	case *command.CreateToken:
		t.createToken(b.Token)
	case *command.JoinNode:
		t.joinNode(b)
	case *command.RegisterNode:
		t.registerNode(b.Node)
	case *command.RenewNode:
		t.renewNode(b)
	case *command.SetNodeState:
		t.setNodeState(b)
	case *command.RevokeNode:
		t.revokeNode(b.ID)
	default:
		panic(fmt.Sprintf("state: no rule for %T", body)) // halt: skipping would split the replicas
	}
}

func (t *tx) init(b *command.Init) {
	switch {
	case t.Cluster != "":
		t.fail(Conflict, "", "the cluster is already initialised as %q", t.Cluster)
	case b.Cluster == "" || b.Mesh == "":
		t.fail(Invalid, "", "a cluster needs an id and a mesh name")
	default:
		t.Mesh, t.Cluster, t.CACert, t.SealedCAKey, t.SealedPepper = b.Mesh, b.Cluster, b.CACert, b.SealedCAKey, b.SealedPepper
		t.Changed = t.index
	}
}

// admit checks the condition of a single-object write against the object's version (0 = absent).
func (t *tx) admit(sort Sort, id string, version uint64) bool {
	if !t.single {
		return t.err == nil
	}
	switch {
	case t.match.Absent && version != 0:
		t.fail(PreconditionFailed, "", "%s %q exists at version %d (If-None-Match: *)", sort.One(), id, version)
	case t.match.Version != 0 && version == 0:
		t.fail(PreconditionFailed, "", "%s %q does not exist (If-Match: %d)", sort.One(), id, t.match.Version)
	case t.match.Version != 0 && t.match.Version != version:
		t.fail(PreconditionFailed, "", "%s %q is at version %d, not %d; read it again", sort.One(), id, version, t.match.Version)
	}
	return t.err == nil
}

func (t *tx) note(sort Sort, id string, a Action, version uint64) {
	t.changes = append(t.changes, Change{sort, id, a, version})
}
