package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/coordinator/disk"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

// decode reads a body strictly: unknown and duplicate members, wrong types and invalid UTF-8 are
// refused with their place.
func decode(body []byte, into any) *Problem {
	if len(body) == 0 {
		return problem("malformed", "the body is empty; a JSON object is needed")
	}
	err := json.Unmarshal(body, into, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	var sem *json.SemanticError
	var syn *jsontext.SyntacticError
	switch {
	case errors.As(err, &sem):
		field := fieldOf(string(sem.JSONPointer))
		switch {
		case errors.Is(err, json.ErrUnknownName):
			return problem("invalid", "unknown field").at(field)
		case sem.Err != nil:
			return problem("invalid", "%s", sem.Err).at(field)
		}
		return problem("invalid", "a JSON %s does not fit here", kindName(sem.JSONKind)).at(field)
	case errors.As(err, &syn):
		p := problem("malformed", "byte %d: %s", syn.ByteOffset, syn.Err)
		return p.at(fieldOf(string(syn.JSONPointer)))
	}
	return problem("malformed", "the body is not the JSON object that belongs here")
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '"':
		return "string"
	case '0':
		return "number"
	case '{':
		return "object"
	case '[':
		return "array"
	case 'n':
		return "null"
	}
	return "boolean"
}

// fieldOf turns a JSON pointer into the path form of mesh.yaml: /targets/0/model -> targets[0].model
func fieldOf(pointer string) string {
	var b strings.Builder
	for i, part := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		if _, err := strconv.ParseUint(part, 10, 32); err == nil && i > 0 {
			b.WriteString("[" + part + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

// stamp makes a command of a body: time, actor, idempotency and condition.
func (s *Server) stamp(c *call, body command.Body) (command.Command, *Problem) {
	actor := c.who.actor
	if actor == "" {
		actor = "join"
	}
	cmd := command.New(time.Now(), actor, body)
	h := c.r.Header
	if key := h.Get("Idempotency-Key"); key != "" {
		if len(key) > 200 {
			return cmd, problem("malformed", "the Idempotency-Key is longer than 200 bytes")
		}
		sum := sha256.New()
		_, _ = fmt.Fprintf(sum, "%s\x00%s\x00", c.r.Method, c.r.URL.RequestURI())
		sum.Write(c.body)
		cmd.Idempotency.Key = key
		sum.Sum(cmd.Idempotency.Request[:0])
	}
	if text := h.Get("If-Match"); text != "" {
		v, err := strconv.ParseUint(strings.Trim(strings.TrimPrefix(text, "W/"), `"`), 10, 64)
		if err != nil || v == 0 {
			return cmd, problem("malformed", "If-Match: %s is not a version", text)
		}
		cmd.Match.Version = v
	}
	switch h.Get("If-None-Match") {
	case "":
	case "*":
		cmd.Match.Absent = true
	default:
		return cmd, problem("malformed", "If-None-Match takes only *")
	}
	return cmd, nil
}

// propose replicates a change and waits for its result. After it, c.snap holds the change.
func (s *Server) propose(c *call, body command.Body) (state.Result, *Problem) {
	cmd, p := s.stamp(c, body)
	if p != nil {
		return state.Result{}, p
	}
	return s.send(c, cmd)
}

func (s *Server) send(c *call, cmd command.Command) (state.Result, *Problem) {
	res, _, err := s.cfg.Consensus.Propose(c.ctx, cmd)
	if err != nil {
		return res, asProblem(err)
	}
	c.snap = s.cfg.Consensus.Snapshot()
	if res.Err != nil {
		return res, problem(string(res.Err.Code), "%s", res.Err.Message).at(res.Err.Field)
	}
	if res.Replayed {
		c.w.Header().Set("Idempotency-Replayed", "true")
	}
	return res, nil
}

// asProblem maps an error of consensus.
func asProblem(err error) *Problem {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, consensus.ErrNotLeader):
		return problem("not_leader", "this coordinator is not the leader")
	case errors.Is(err, consensus.ErrNoLeader):
		return problem("no_leader", "the coordinators have no leader")
	case errors.Is(err, consensus.ErrBusy):
		return problem("busy", "the leader takes no writes at the moment; its disk may be slow")
	case errors.Is(err, disk.ErrDiskFull):
		return problem("disk_full", "the leader's disk is full: make room, nothing was written")
	case errors.Is(err, consensus.ErrShutdown):
		return problem("shutting_down", "this coordinator is stopping")
	case errors.Is(err, consensus.ErrUnknown):
		return problem("unknown_outcome", "the write was not confirmed in time: repeat it with the same Idempotency-Key")
	case errors.Is(err, consensus.ErrMember):
		return problem("not_found", "%s", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem("timeout", "no majority of coordinators answered in time")
	}
	return problem("internal", "%s", err)
}

// resource is one section of the state with uniform endpoints.
type resource[T any] struct {
	sort  command.Sort
	table func(*state.Snapshot) state.Table[T]
	id    func(*T) string
	setID func(*T, string) *Problem // nil id in the body takes the path's; another is refused
	ver   func(*T) uint64
	show  func(T) T
	see   func(caller, *T) bool             // filters reads
	may   func(caller, *T) *Problem         // refuses writes
	prep  func(*Server, *call, *T) *Problem // seals and hashes what must not enter Raft
	put   func(T) command.Body
}

type list[T any] struct {
	Items []T `json:"items"`
}

func listOf[T any](r resource[T]) func(*Server, *call) *Problem {
	return func(s *Server, c *call) *Problem {
		out := list[T]{Items: []T{}}
		for v := range r.table(c.snap).All() {
			if r.see == nil || r.see(c.who, &v) {
				out.Items = append(out.Items, r.public(v))
			}
		}
		return s.reply(c, http.StatusOK, out)
	}
}

func (r resource[T]) public(v T) T {
	if r.show != nil {
		return r.show(v)
	}
	return v
}

func (r resource[T]) get(c *call) (T, *Problem) {
	v, ok := r.table(c.snap).Get(c.id)
	if !ok || r.see != nil && !r.see(c.who, &v) {
		return v, problem("not_found", "there is no %s %q", r.sort.One(), c.id)
	}
	return v, nil
}

func getOf[T any](r resource[T]) func(*Server, *call) *Problem {
	return func(s *Server, c *call) *Problem {
		v, p := r.get(c)
		if p != nil {
			return p
		}
		return r.answer(s, c, http.StatusOK, v)
	}
}

func (r resource[T]) answer(s *Server, c *call, status int, v T) *Problem {
	c.w.Header().Set("ETag", strconv.Quote(strconv.FormatUint(r.ver(&v), 10)))
	return s.reply(c, status, r.public(v))
}

// putOf creates or replaces the object that the path names.
func putOf[T any](r resource[T]) func(*Server, *call) *Problem {
	return func(s *Server, c *call) *Problem {
		var v T
		if p := decode(c.body, &v); p != nil {
			return p
		}
		if p := r.setID(&v, c.id); p != nil {
			return p
		}
		return r.write(s, c, v)
	}
}

// createOf creates the object that the body names; an existing one is a conflict.
func createOf[T any](r resource[T]) func(*Server, *call) *Problem {
	return func(s *Server, c *call) *Problem {
		var v T
		if p := decode(c.body, &v); p != nil {
			return p
		}
		c.r.Header.Set("If-None-Match", "*")
		p := r.write(s, c, v)
		if p != nil && p.Code == "precondition_failed" {
			return problem("conflict", "%s", strings.TrimSuffix(p.Detail, " (If-None-Match: *)"))
		}
		return p
	}
}

func (r resource[T]) write(s *Server, c *call, v T) *Problem {
	if r.may != nil {
		// Both what it is and what it would become must be the caller's.
		if p := r.may(c.who, &v); p != nil {
			return p
		}
		if old, ok := r.table(c.snap).Get(r.id(&v)); ok {
			if p := r.may(c.who, &old); p != nil {
				return p
			}
		}
	}
	if r.prep != nil {
		if p := r.prep(s, c, &v); p != nil {
			return p
		}
	}
	res, p := s.propose(c, r.put(v))
	if p != nil {
		return p
	}
	return r.written(s, c, res)
}

func (r resource[T]) written(s *Server, c *call, res state.Result) *Problem {
	status, id := http.StatusOK, ""
	for _, ch := range res.Changes {
		if ch.Sort == r.sort {
			id = ch.ID
			if ch.Action == state.Added {
				status = http.StatusCreated
			}
		}
	}
	v, ok := r.table(c.snap).Get(id)
	if !ok { // deleted again by somebody else since
		return s.empty(c, http.StatusNoContent)
	}
	return r.answer(s, c, status, v)
}

func deleteOf[T any](r resource[T]) func(*Server, *call) *Problem {
	return func(s *Server, c *call) *Problem {
		if v, ok := r.table(c.snap).Get(c.id); ok && r.may != nil {
			if p := r.may(c.who, &v); p != nil {
				return p
			}
		}
		if _, p := s.propose(c, &command.Delete{Sort: r.sort, ID: c.id}); p != nil {
			return p
		}
		return s.empty(c, http.StatusNoContent)
	}
}
