package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/ca"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/coordinator/seal"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

// Limits of one request.
const (
	maxBody     = 8 << 20
	callTimeout = 15 * time.Second // long polls excepted
	maxWait     = 60 * time.Second
	// leaderWait is how long a write waits for a leader before it is refused: an election of the
	// wan profile fits.
	leaderWait = 5 * time.Second
)

// Vault is what a coordinator holds outside Raft. Immutable.
type Vault struct {
	KEK       []byte
	Sealer    *seal.Sealer
	Authority *ca.Authority
}

// Places that sealed values belong to: the aad of each.
const (
	PlaceCAKey  = "ca/key"
	PlacePepper = "keys/pepper"
)

// PlaceSecret is where a provider's credential belongs.
func PlaceSecret(provider, id string) string { return "provider/" + provider + "/" + id }

// ServerConfig makes a Server.
type ServerConfig struct {
	Consensus *consensus.Node
	Vault     Vault
	Self      string // member id
	API       string // base URL at which nodes reach this coordinator
	Build     string
	// Peers reaches another coordinator by its Raft address, authenticated as a coordinator; nil for
	// a cluster of one.
	Peers http.RoundTripper
	// Dev accepts short literal key secrets.
	Dev    bool
	Grants []Grant
	// Explain says what the edge with this view would do with the request that q describes. It is a part of
	// the node, which lies above this package; nil = not in this version.
	Explain func(v *NodeView, q url.Values) (json.RawMessage, *Problem)
	Log     zerolog.Logger
}

// Server answers the admin API. ServeHTTP is for everybody; Forwarded is for other coordinators.
type Server struct {
	cfg       ServerConfig
	table     table
	grantList atomic.Pointer[[]Grant]
	pepper    struct {
		sync.Mutex
		sealed, plain []byte
	}
	stats stats
}

type stats struct{ requests, failed, forwarded, views atomic.Uint64 }

// Stats counts requests since the start.
type Stats struct{ Requests, Failed, Forwarded, Views uint64 }

// Stats reads the counters.
func (s *Server) Stats() Stats {
	return Stats{s.stats.requests.Load(), s.stats.failed.Load(), s.stats.forwarded.Load(), s.stats.views.Load()}
}

// NewServer makes a Server.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Consensus == nil || cfg.Vault.Sealer == nil || cfg.Vault.Authority == nil {
		return nil, errors.New("new admin API: consensus, sealer and authority are required")
	}
	s := &Server{cfg: cfg, table: newTable()}
	s.SetGrants(cfg.Grants)
	return s, nil
}

// call is one request on its way through.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	ctx       context.Context
	who       caller
	id        string
	body      []byte
	snap      *state.Snapshot
	forwarded bool
	done      bool // the answer has been written
}

// ServeHTTP serves clients. What only coordinators may say to each other is not believed here.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Header.Del(headerPeer)
	r.Header.Del(headerForwarded)
	s.serve(w, r, false)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, forwarded bool) {
	s.stats.requests.Add(1)
	c := &call{w: w, r: r, forwarded: forwarded}
	if p := s.handle(c); p != nil {
		s.stats.failed.Add(1)
		s.head(w, s.cfg.Consensus.Snapshot().Index)
		if p.Status >= 500 {
			s.cfg.Log.Warn().Str("method", r.Method).Str("path", r.URL.Path).Str("code", p.Code).Str("detail", p.Detail).Msg("admin request failed")
		}
		writeProblem(w, p)
	}
}

func (s *Server) handle(c *call) *Problem {
	e, id, p := s.table.find(c.w, c.r)
	if p != nil {
		return p
	}
	c.id = id
	if e.who&anyone == 0 {
		if c.who, p = s.authenticate(c.r); p != nil {
			c.w.Header().Set("WWW-Authenticate", `Bearer realm="causeway"`)
			return p
		}
		if !e.who.has(c.who.role) {
			return problem("forbidden", "%s %s is for %s; %s is %s", e.method, e.path, e.who, c.who.actor, c.who.role)
		}
	}
	if e.path == "/v1/cluster/join" && c.r.TLS == nil && !c.forwarded {
		return problem("forbidden", "a join token is only taken over TLS")
	}
	wait, p := waitOf(c.r)
	if p != nil {
		return p
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), callTimeout+wait)
	defer cancel()
	c.ctx = ctx
	if c.body, p = readBody(c); p != nil {
		return p
	}
	switch e.where {
	case leader:
		p = s.lead(c)
	case reads:
		p = s.fresh(c)
	case local:
	}
	if p != nil || c.done {
		return p
	}
	if e.where == reads {
		s.longPoll(c, wait)
	}
	c.snap = s.cfg.Consensus.Snapshot()
	p = e.do(s, c)
	// Leadership can end between the check and the write: nothing happened, so hand it on.
	if p != nil && p.Code == "not_leader" && !c.forwarded && e.where == leader {
		return s.forward(c)
	}
	return p
}

func readBody(c *call) ([]byte, *Problem) {
	if c.r.Body == nil || c.r.Method == http.MethodGet {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return nil, problem("too_large", "the body is larger than %d bytes", maxBody)
		}
		return nil, problem("malformed", "the body could not be read")
	}
	return body, nil
}

func waitOf(r *http.Request) (time.Duration, *Problem) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, problem("malformed", "wait=%q is not a duration such as 30s", text).at("wait")
	}
	return min(d, maxWait), nil
}

// indexOf reads ?index=N: answer when the state is newer than that.
func indexOf(r *http.Request) (uint64, bool, *Problem) {
	text := r.URL.Query().Get("index")
	if text == "" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, false, problem("malformed", "index=%q is not a number", text).at("index")
	}
	return n, true, nil
}

// lead makes sure that this coordinator leads, or has the leader answer.
func (s *Server) lead(c *call) *Problem {
	if s.cfg.Consensus.IsLeader() {
		return nil
	}
	if c.forwarded {
		return problem("not_leader", "this coordinator is not the leader")
	}
	return s.forward(c)
}

// fresh makes the state as new as the caller asks, or has the leader answer.
func (s *Server) fresh(c *call) *Problem {
	q := c.r.URL.Query()
	n := s.cfg.Consensus
	switch mode := q.Get("consistency"); mode {
	case "", "linearizable":
		if !n.IsLeader() {
			return s.lead(c)
		}
		_, err := n.Linearizable(c.ctx)
		if errors.Is(err, consensus.ErrNotLeader) && !c.forwarded {
			return s.forward(c)
		}
		return asProblem(err)
	case "leader":
		return s.lead(c)
	case "stale":
		most := time.Duration(-1)
		if text := q.Get("max_stale"); text != "" {
			d, err := time.ParseDuration(text)
			if err != nil || d < 0 {
				return problem("malformed", "max_stale=%q is not a duration such as 5s", text).at("max_stale")
			}
			most = d
		}
		if age := s.age(); most >= 0 && (age < 0 || age > most) {
			if c.forwarded {
				return problem("stale", "this coordinator last heard from a leader %s ago", age)
			}
			return s.forward(c)
		}
		return nil
	default:
		return problem("malformed", "consistency=%q is not one of linearizable, leader, stale", mode).at("consistency")
	}
}

// age is how long ago this coordinator knew its state to be the cluster's; -1 = never.
func (s *Server) age() time.Duration {
	at := s.cfg.Consensus.LastContact()
	if at.IsZero() {
		return -1
	}
	return max(0, time.Since(at))
}

// longPoll waits for a state newer than ?index, at most ?wait.
func (s *Server) longPoll(c *call, wait time.Duration) {
	index, ok, p := indexOf(c.r)
	if !ok || p != nil || wait == 0 {
		return
	}
	s.awaitChange(c.ctx, index, wait)
}

// awaitChange returns whether the state has changed since index within wait.
func (s *Server) awaitChange(ctx context.Context, index uint64, wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		changed := s.cfg.Consensus.Changed()
		if s.cfg.Consensus.Snapshot().Changed > index {
			return true
		}
		select {
		case <-changed:
		case <-t.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// head sets what every answer carries.
func (s *Server) head(w http.ResponseWriter, index uint64) {
	h := w.Header()
	id, _ := s.cfg.Consensus.Leader()
	h.Set("X-Causeway-Index", strconv.FormatUint(index, 10))
	h.Set("X-Causeway-Term", strconv.FormatUint(s.cfg.Consensus.Term(), 10))
	h.Set("X-Causeway-Leader", id)
	// A coordinator that never met a leader is as stale as can be said.
	stale := int64(1<<53 - 1)
	if age := s.age(); age >= 0 {
		stale = age.Milliseconds()
	}
	h.Set("X-Causeway-Stale-Ms", strconv.FormatInt(stale, 10))
	h.Set("Cache-Control", "no-store")
}

// reply writes a JSON answer.
func (s *Server) reply(c *call, status int, v any) *Problem {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		s.cfg.Log.Error().Err(err).Str("path", c.r.URL.Path).Msg("encode answer")
		return problem("internal", "the answer could not be written")
	}
	s.head(c.w, c.snap.Index)
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b.Bytes()) // a client that went away is not our error
	return nil
}

// empty answers without a body.
func (s *Server) empty(c *call, status int) *Problem {
	s.head(c.w, c.snap.Index)
	c.w.WriteHeader(status)
	return nil
}

// unseal opens a sealed value of the state.
func (s *Server) unseal(place string, sealed []byte) ([]byte, error) {
	plain, err := s.cfg.Vault.Sealer.Open([]byte(place), sealed)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", place, err)
	}
	return plain, nil
}

// pepperOf opens the pepper once per value.
func (s *Server) pepperOf(snap *state.Snapshot) ([]byte, error) {
	s.pepper.Lock()
	defer s.pepper.Unlock()
	if len(snap.SealedPepper) == 0 {
		return nil, errors.New("the cluster is not initialised")
	}
	if bytes.Equal(s.pepper.sealed, snap.SealedPepper) {
		return s.pepper.plain, nil
	}
	plain, err := s.unseal(PlacePepper, snap.SealedPepper)
	if err != nil {
		return nil, err
	}
	s.pepper.sealed, s.pepper.plain = snap.SealedPepper, plain
	return plain, nil
}
