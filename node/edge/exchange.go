package edge

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"net/netip"
	"time"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/coordinator/lease"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/lend"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// RequestID identifies a request in every record: a UUID of version 7 (RFC 9562), so ids sort by time.
type RequestID [16]byte

func newRequestID(now time.Time) RequestID {
	var id RequestID
	rand.Read(id[:]) // never fails: crypto/rand.Read ends the program instead
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String gives the usual hyphenated form.
func (id RequestID) String() string {
	var b [36]byte
	hex.Encode(b[0:], id[0:4])
	hex.Encode(b[9:], id[4:6])
	hex.Encode(b[14:], id[6:8])
	hex.Encode(b[19:], id[8:10])
	hex.Encode(b[24:], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// exchange is one request on its way through the rooms. Each field is written by exactly one stage
// of the pipeline and only read after it.
type exchange struct {
	// set by ServeHTTP
	id       RequestID
	idText   string
	start    time.Time
	w        http.ResponseWriter
	r        *http.Request
	op       operation
	front    dialect.Frontend
	client   netip.Addr
	snapshot *view.Snapshot

	// authenticate
	key   *view.Key
	class compliance.Class

	// read
	body   []byte
	memory *lend.Buffer // where body lies
	prompt audit.Hash   // of body
	head   dialect.Head
	strict bool // a conversion that loses anything is refused

	// resolve
	model   *view.Model
	only    *view.Provider // the one account that the request may go to; nil = any
	own     bool           // only to an account of this tenant alone
	unmark  []splice.Edit  // of the body: ids as the provider knows them
	touched []modelVerdict // the models that a request without a model may have to do with

	// decide
	facts    compliance.Facts
	verdict  compliance.Verdict
	decision compliance.Outcome

	// reserve
	hold     lease.Hold
	reserved int64 // tokens: the most that the request can use
	output   int64 // of them, for one answer
	limits   []lease.Applied

	// plan
	local  *route          // set and no routes: the edge answers with an estimate of its own
	routes []route         // best first
	ways   []route         // as found
	exits  []geo.Candidate // of ways

	// record
	ref      audit.Ref
	recorded bool

	// forward
	out         clientWriter
	elsewhere   bool         // another exit would be asked if this attempt failed
	held        []byte       // of the answer, until it may be sent
	canonical   *llm.Request // decoded once, when a route converts
	undecodable error        // why that is not possible
	embed       *llm.EmbedRequest
	guess       *llm.Usage    // our count of the last attempt, where its provider's is missing; nil = none
	losses      []llm.Loss    // of the attempt that is running or that answered
	after       dialect.After // as losses

	outcome Outcome
}

// scratch is the memory that one exchange leaves to the next: a request needs most of it only once
// and for a short time, and it is large.
type scratch struct {
	routes, ways []route
	exits        []geo.Candidate
	limits       []lease.Applied
	held         []byte
}

// maxScratch is how much held memory is worth keeping.
const maxScratch = 16 << 10

// scratch empties the memory, so that nothing of one request is seen by the next or kept alive by it.
func (x *exchange) scratch() scratch {
	clear(x.routes)
	clear(x.ways)
	clear(x.exits)
	clear(x.limits)
	if cap(x.held) > maxScratch {
		x.held = nil
	}
	return scratch{x.routes[:0], x.ways[:0], x.exits[:0], x.limits[:0], x.held[:0]}
}

// end gives x back. Nothing may use it from here on.
func (s *Server) end(x *exchange) {
	x.memory.Drop()
	if x.out.loose {
		return // a timer may still hold it
	}
	m := x.scratch()
	*x = exchange{routes: m.routes, ways: m.ways, exits: m.exits, limits: m.limits, held: m.held}
	s.exchanges.Put(x)
}

// Movable implements tunnel.Caller: a silent exit is given up for another one only while the client has
// seen nothing of the answer.
func (x *exchange) Movable() bool { return x.elsewhere && !x.out.sent.Load() }

func (x *exchange) context() context.Context { return x.r.Context() }

// route is one way to have the request answered: an exit and a target there.
type route struct {
	exit     view.Exit
	target   view.Target
	model    *view.Model
	dialect  llm.Dialect
	convert  bool // the provider does not speak the client's dialect
	cost     time.Duration
	why      string
	tried    bool
	fallback bool
}
