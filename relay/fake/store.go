package fake

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of what one credential can store; the oldest goes first.
const (
	maxShelves = 64
	maxThings  = 512
	maxKept    = 64 << 20
)

// store is what a vendor keeps for its accounts: each credential has a shelf of its own.
type store struct {
	mu      sync.Mutex
	shelves map[string]*shelf
	order   []string
	seq     uint64
}

type shelf struct {
	things []*thing // oldest first
	size   int
}

// thing is one stored object.
type thing struct {
	kind, id string
	object   []byte // its JSON; replaced as a whole, never changed
	data     []byte // its content
	of       string // what it belongs to
}

// shelf gives the credential's own, made when it is missing. The caller holds mu.
func (s *store) shelf(key string) *shelf {
	if h := s.shelves[key]; h != nil {
		return h
	}
	if s.shelves == nil {
		s.shelves = map[string]*shelf{}
	}
	if len(s.order) == maxShelves {
		delete(s.shelves, s.order[0])
		s.order = s.order[1:]
	}
	h := &shelf{}
	s.shelves[key], s.order = h, append(s.order, key)
	return h
}

// put stores t, in place of one of the same kind and id.
func (s *store) put(key string, t *thing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.shelf(key)
	h.drop(t.kind, t.id)
	h.things = append(h.things, t)
	h.size += len(t.object) + len(t.data)
	for len(h.things) > maxThings || h.size > maxKept {
		h.drop(h.things[0].kind, h.things[0].id)
	}
}

func (h *shelf) drop(kind, id string) bool {
	i := slices.IndexFunc(h.things, func(t *thing) bool { return t.kind == kind && t.id == id })
	if i < 0 {
		return false
	}
	h.size -= len(h.things[i].object) + len(h.things[i].data)
	h.things = slices.Delete(h.things, i, i+1)
	return true
}

func (s *store) drop(key, kind, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shelf(key).drop(kind, id)
}

func (s *store) get(key, kind, id string) *thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.shelf(key).things {
		if t.kind == kind && t.id == id {
			return t
		}
	}
	return nil
}

// list gives all of a kind that belong to of, oldest first.
func (s *store) list(key, kind, of string) (out []*thing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.shelf(key).things {
		if t.kind == kind && t.of == of {
			out = append(out, t)
		}
	}
	return out
}

// id makes an identifier that is unique in this server.
func (s *store) id(prefix string, seed uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	gen := rng(seed ^ s.seq)
	return gen.pick(prefix, "abcdefghijklmnopqrstuvwxyz0123456789", 24)
}

func (x *exchange) keep(t *thing)                { x.s.kept.put(x.credential(), t) }
func (x *exchange) find(kind, id string) *thing  { return x.s.kept.get(x.credential(), kind, id) }
func (x *exchange) forget(kind, id string) bool  { return x.s.kept.drop(x.credential(), kind, id) }
func (x *exchange) all(kind, of string) []*thing { return x.s.kept.list(x.credential(), kind, of) }
func (x *exchange) newID(prefix string) string   { return x.s.kept.id(prefix, x.s.opt.Seed) }
func (x *exchange) missing(what, id string) *problem {
	return &problem{status: http.StatusNotFound, message: "No such " + what + ": " + clip(id, 100)}
}

// storedRoute finds what answers for stored things; nil when nothing does.
func (x *exchange) storedRoute(path string) func() *problem {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	method := x.r.Method
	switch {
	case parts[0] == "upload" && path == "/upload/v1beta/files":
		x.v = vendorGoogle
		return when(method == http.MethodPost, x.googleUpload)
	case parts[0] == "v1beta" && len(parts) <= 3 && (parts[1] == "files" || parts[1] == "cachedContents"):
		x.v = vendorGoogle
		return x.googleStored(parts[1], append(parts, "")[2])
	case parts[0] != "v1" || len(parts) < 2:
		return nil
	case parts[1] == "messages" && len(parts) > 2 && parts[2] == "batches":
		x.v = vendorAnthropic
		return x.messageBatches(parts[3:])
	case parts[1] == "files" && x.r.Header.Get("Anthropic-Version") != "":
		x.v = vendorAnthropic
		return x.files(parts[2:])
	}
	switch parts[1] {
	case "files":
		return x.files(parts[2:])
	case "uploads":
		return when(method == http.MethodPost, x.uploads(parts[2:]))
	case "batches":
		return x.batches(parts[2:])
	case "conversations":
		return x.conversations(parts[2:])
	case "responses":
		return x.keptResponse(parts[2:])
	}
	return nil
}

// show answers with a stored object, or 404.
func (x *exchange) show(t *thing, what, id string) *problem {
	if t == nil {
		return x.missing(what, id)
	}
	x.json(http.StatusOK, bytes.Clone(t.object))
	return nil
}

// page answers with a list, newest first as the vendors have it.
func (x *exchange) page(things []*thing) *problem {
	slices.Reverse(things)
	b := []byte(`{"object":"list","data":[`)
	for i, t := range things {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, t.object...)
	}
	b = append(b, `],"has_more":false`...)
	if len(things) > 0 {
		b = appendString(append(b, `,"first_id":`...), things[0].id)
		b = appendString(append(b, `,"last_id":`...), things[len(things)-1].id)
	} else {
		b = append(b, `,"first_id":null,"last_id":null`...)
	}
	x.json(http.StatusOK, append(b, '}'))
	return nil
}

// raw answers with stored content.
func (x *exchange) raw(data []byte, contentType string) *problem {
	h := x.headers()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(data))}
	_, _ = x.w.Write(data)
	return nil
}

// members reads the named string members of a JSON body; an unknown one is refused.
func (x *exchange) members(names string) (map[string]jsontext.Value, *problem) {
	out := map[string]jsontext.Value{}
	if len(bytes.TrimSpace(x.body)) == 0 {
		return out, nil
	}
	err := readObject(x.body, func(r *reader, key []byte) {
		if !named(names, string(key)) {
			r.unknown(key)
			return
		}
		out[string(key)] = r.raw()
	})
	return out, x.v.problemOf(err)
}

func text(v jsontext.Value) string {
	if v.Kind() != jsontext.KindString {
		return ""
	}
	b, _ := jsontext.AppendUnquote(nil, v)
	return string(b)
}
