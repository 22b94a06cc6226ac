package state

import (
	"encoding/binary"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// The idempotency table answers a repeated write for 24 h by command time, at most maxAnswers of them
// (the oldest go first), so that a busy client cannot grow the state without end.
const (
	answersKept = 24 * time.Hour
	maxAnswers  = 1 << 16
)

// answer is what a keyed command was answered.
type answer struct {
	ID      string // actor NUL key
	Request [32]byte
	At      int64 // unix nanoseconds
	Index   uint64
	Done    []done
}

// done is a Change in storage.
type done struct{ Change }

// Walk implements command.Record.
func (a *answer) Walk(c *command.Coder) {
	c.Str(1, &a.ID)
	c.Hash(2, &a.Request)
	c.Int(3, &a.At)
	c.Uint(4, &a.Index)
	command.List(c, 5, &a.Done)
}

// Walk implements command.Record.
func (d *done) Walk(c *command.Coder) {
	c.Octet(1, (*uint8)(&d.Sort))
	c.Str(2, &d.ID)
	c.Octet(3, (*uint8)(&d.Action))
	c.Uint(4, &d.Version)
}

// answerID is the table's key for c, "" when c carries no idempotency key.
func answerID(c command.Command) string {
	if c.Idempotency.Key == "" {
		return ""
	}
	return c.Actor + "\x00" + c.Idempotency.Key
}

// order sorts answers by age.
func (a answer) order() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(a.At))
	return string(binary.BigEndian.AppendUint64(b, a.Index))
}

func (a answer) changes() []Change {
	out := make([]Change, len(a.Done))
	for i, d := range a.Done {
		out[i] = d.Change
	}
	return out
}

// remember stores the answer of c. A document's untouched objects are left out: they are many and say
// nothing.
func (t *tx) remember(id string, c command.Command) {
	a := answer{ID: id, Request: c.Idempotency.Request, At: t.now, Index: t.index}
	for _, ch := range t.changes {
		if ch.Action != Same || len(t.changes) == 1 {
			a.Done = append(a.Done, done{ch})
		}
	}
	if old, ok := t.answers.Get(id); ok { // expired, or it would have answered
		t.oldest = t.oldest.without(old.order())
	}
	t.answers = t.answers.with(id, a)
	t.oldest = t.oldest.with(a.order(), id)
}

// forget drops answers that are too old, or too many for one more.
func (t *tx) forget() {
	for {
		order, id, ok := t.oldest.first()
		if !ok {
			return
		}
		a, _ := t.answers.Get(*id)
		if a.At > t.now-int64(answersKept) && t.answers.Len() < maxAnswers {
			return
		}
		t.oldest = t.oldest.without(order)
		t.answers = t.answers.without(*id)
	}
}
