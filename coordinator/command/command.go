// Package command is everything that can be said to the replicated state: the resources of a mesh,
// the commands that change them, and their one canonical encoding. It decides nothing; coordinator/state does.
package command

import (
	"errors"
	"fmt"
	"time"
)

// Layout is the version of the command layout that this build writes.
const Layout = 1

// MaxSize bounds one encoded command, in bytes.
const MaxSize = 16 << 20

// Errors of Decode. Both mean that this build cannot know what the entry does: a replica that meets
// one must stop, because skipping it would make it differ from the others.
var (
	ErrUnknownKind   = errors.New("unknown command kind")
	ErrUnknownLayout = errors.New("unknown command layout")
)

// Kind is a command's type on the wire. Append-only: a number is never reused.
type Kind uint8

// The kinds.
const (
	KindInit Kind = iota + 1
	KindPutRegion
	KindPutOrg
	KindPutTenant
	KindPutKey
	KindPutProvider
	KindPutModel
	KindPutLimit
	KindPutPolicy
	KindDelete
	KindApply
	KindRotateKey
	KindRevokeKey
	KindCreateToken
	KindJoinNode
	KindRegisterNode
	KindRenewNode
	KindSetNodeState
	KindRevokeNode
	kindEnd // one past the last
)

// Body is what a command does. The implementations are the pointer types of this package.
type Body interface {
	Record
	Kind() Kind
}

// Command is one entry of the replicated log.
type Command struct {
	Time        int64  // unix nanoseconds, stamped by the leader; the state's only clock
	Actor       string // who asked ("admin", "node/edge-1"); scope of the idempotency key
	Idempotency Idempotency
	Match       Match
	Body        Body
}

// Idempotency makes a retried write harmless: the same key of the same actor within 24 h answers what
// the first one answered, and conflicts when Request differs.
type Idempotency struct {
	Key     string
	Request [32]byte // digest of what the client sent (method, path, body), not of what was generated from it
}

// Match is the condition of a write on one object.
type Match struct {
	Version uint64 // If-Match; 0 = no condition
	Absent  bool   // If-None-Match: *
}

// New stamps a command.
func New(now time.Time, actor string, body Body) Command {
	return Command{Time: now.UnixNano(), Actor: actor, Body: body}
}

// Kind is the body's kind, 0 without a body.
func (c Command) Kind() Kind {
	if c.Body == nil {
		return 0
	}
	return c.Body.Kind()
}

// header is everything but the body.
type header struct{ c *Command }

func (h header) Walk(c *Coder) {
	c.Int(1, &h.c.Time)
	c.Str(2, &h.c.Actor)
	c.Str(3, &h.c.Idempotency.Key)
	c.Hash(4, &h.c.Idempotency.Request)
	c.Uint(5, &h.c.Match.Version)
	c.Bool(6, &h.c.Match.Absent)
}

// Encode writes c: kind(1) layout(1) len(uvarint) header len(uvarint) body. It fails without a body, on
// a plain secret, on text that is not UTF-8 and above MaxSize.
func Encode(c Command) ([]byte, error) {
	if c.Body == nil {
		return nil, errors.New("encode command: no body")
	}
	e := Coder{enc: true, buf: append(make([]byte, 0, 512), byte(c.Kind()), Layout)}
	for _, part := range []Record{header{&c}, c.Body} {
		start := len(e.buf)
		part.Walk(&e)
		e.wrap(start)
	}
	b := e.buf
	if e.err != nil {
		return nil, fmt.Errorf("encode %s: %w", c.Kind(), e.err)
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("encode %s: %d bytes, at most %d fit one command", c.Kind(), len(b), MaxSize)
	}
	return b, nil
}

// Decode reads what Encode wrote, and nothing else: each command has exactly one encoding.
func Decode(b []byte) (Command, error) {
	if len(b) < 3 || len(b) > MaxSize {
		return Command{}, fmt.Errorf("decode command: %w: %d bytes", errCorrupt, len(b))
	}
	body := Kind(b[0]).Body()
	if body == nil {
		return Command{}, fmt.Errorf("decode command: %w %d: run a newer build on this coordinator", ErrUnknownKind, b[0])
	}
	if b[1] != Layout {
		return Command{}, fmt.Errorf("decode command: %w %d: run a newer build on this coordinator", ErrUnknownLayout, b[1])
	}
	c := Command{Body: body}
	rest := b[2:]
	for _, part := range []Record{header{&c}, body} {
		var d Coder
		var payload []byte
		rest, payload = d.chunk(rest)
		d.sub(payload, part)
		if d.err != nil {
			return Command{}, fmt.Errorf("decode %s: %w", body.Kind(), d.err)
		}
	}
	if len(rest) > 0 {
		return Command{}, fmt.Errorf("decode %s: %w: bytes after the body", body.Kind(), errCorrupt)
	}
	return c, nil
}
