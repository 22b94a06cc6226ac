package edge

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/coordinator/lease"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/node/passage"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// maxRequest is how long one request may take in all, retries included.
const maxRequest = 15 * time.Minute

// Locator tells where an address is; *geo.Locator is the real one.
type Locator interface {
	Locate(a netip.Addr) geo.Place
}

// Paths knows how the ways to exits and providers are doing.
type Paths interface {
	// Fill completes a candidate with what is known: RTT, loss, load, provider health, cooldowns.
	Fill(now time.Time, c *geo.Candidate)
}

// Auditor is the node's audit log; *audit.Log is the real one.
type Auditor interface {
	Intent(ctx context.Context, in audit.Intent) (audit.Ref, error)
	Outcome(ref audit.Ref, out audit.Outcome) error
}

// Forwarder carries an attempt to an exit. Errors are *fault.Error with their phase.
type Forwarder interface {
	Forward(ctx context.Context, exit view.Exit, req tunnel.Request, body Body) (Answer, error)
}

// Answer is an exit's answer as it arrives. Next gives the next run of body bytes, valid until the
// following call, and io.EOF at the end, after which Trailer is there. Close before the end cancels
// the call upstream.
type Answer interface {
	Reply() tunnel.Reply
	Next() ([]byte, error)
	Trailer() (tunnel.Trailer, bool)
	Close()
}

// Config is what an edge needs. It is not changed after New.
type Config struct {
	Node           string
	Region         geo.RegionID
	View           *view.Holder
	Locate         Locator
	Paths          Paths
	Forward        Forwarder
	Audit          Auditor
	Recorder       Recorder
	TrustedProxies []netip.Prefix
	MaxBody        int64
	KeepaliveAfter time.Duration
	// LoopbackAtHome counts a loopback client as being in its tenant's home (dev only).
	LoopbackAtHome bool
	Log            zerolog.Logger
}

// Server is an edge's client API, an http.Handler safe for concurrent use.
type Server struct {
	cfg      Config
	limits   *lease.Limiter
	memoryMu sync.Mutex
	memory   geo.Memory

	exchanges sync.Pool
	hashers   atomic.Pointer[saltedHasher]
	bindings  atomic.Pointer[tokens]
	inflight  atomic.Int64
	draining  atomic.Bool
}

// New makes an edge.
func New(cfg Config) *Server {
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 64 << 20
	}
	if cfg.KeepaliveAfter <= 0 {
		cfg.KeepaliveAfter = 10 * time.Second
	}
	return &Server{cfg: cfg, limits: lease.NewLimiter(), exchanges: sync.Pool{New: func() any { return new(exchange) }}}
}

// Inflight is the number of requests being served.
func (s *Server) Inflight() int64 { return s.inflight.Load() }

// Drain makes the edge refuse new requests with a retryable fault; running ones go on.
func (s *Server) Drain() { s.draining.Store(true) }

// ServeHTTP serves one client request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.inflight.Add(1)
	defer s.inflight.Add(-1)
	x := s.exchanges.Get().(*exchange)
	x.start, x.w, x.r = time.Now(), w, r
	x.id = newRequestID(x.start)
	x.idText = x.id.String()
	x.out.init(x, s.cfg.KeepaliveAfter)
	ended := false
	defer func() {
		if !ended { // a panic: the timer must not outlive the request
			x.out.stop()
		}
	}()

	op, ok := parseOperation(r.Method, r.URL, r.Header)
	x.op, x.front = op, registry.Frontend(op.dialect)
	x.out.array = op.stream && !strings.Contains(r.URL.RawQuery, "alt=sse")
	x.outcome = Outcome{
		ID: x.id, ClientID: clientID(r.Header), Session: session(r.Header), ClientRetry: clientRetry(r.Header), Traceparent: traceparent(r.Header), Node: s.cfg.Node, Region: string(s.cfg.Region),
		Dialect: op.dialect, Op: op.op, Method: r.Method, Endpoint: endpoint(op, ok), Start: x.start, QuotaRemaining: -1,
	}
	h := w.Header()
	h.Set("X-Causeway-Request-Id", x.idText)
	h.Set("Traceparent", x.outcome.Traceparent)

	err := s.admit(x, ok)
	switch {
	case err == nil && r.Method == http.MethodOptions:
		err = s.preflight(x)
	case err == nil && op.root:
		s.welcome(x)
	case err == nil:
		err = s.serve(x)
	}
	s.finish(x, err)
	if x.out.abort {
		panic(http.ErrAbortHandler) // the server's way to close without a regular end
	}
	ended = true
	s.end(x)
}

// admit answers everything that can be said from the request line alone.
func (s *Server) admit(x *exchange, known bool) error {
	switch {
	case !known:
		return fault.New(fault.NotFound, "no API at %s; the paths are /v1/chat/completions, /v1/responses, /v1/responses/input_tokens, /v1/embeddings, /v1/messages, /v1/messages/count_tokens, /v1/models, /v1beta/models/MODEL:VERB, and those around generation that README.md lists", cut(x.r.URL.Path, 80))
	case x.op.upgrade:
		return fault.New(fault.UpgradeRequired, "WebSocket is not offered on this path; send POST with \"stream\": true")
	case !passage.Allows(x.op.methods, x.r.Method) && x.r.Method != http.MethodOptions:
		x.w.Header().Set("Allow", x.op.methods)
		return fault.New(fault.MethodNotAllowed, "this path takes %s, not %s", x.op.methods, cut(x.r.Method, 16))
	case s.draining.Load():
		return fault.New(fault.Draining, "this edge is shutting down; connect again to reach another").After(time.Second)
	}
	if x.snapshot = s.cfg.View.Load(); x.snapshot == nil && (!x.op.root || x.r.Method == http.MethodOptions) {
		return fault.New(fault.NoRoute, "this edge has not heard from a coordinator yet").After(time.Second)
	}
	return nil
}

// welcome answers GET / and HEAD /, which clients use to see whether anybody is there.
func (s *Server) welcome(x *exchange) {
	h := x.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	x.out.commit(http.StatusOK)
	if x.r.Method == http.MethodGet {
		_ = x.out.write([]byte("causeway edge " + string(s.cfg.Region) + "\n"))
	}
}

// endpoint is the metric label of a path: its pattern, so that the label's values stay few.
func endpoint(op operation, known bool) string {
	switch {
	case !known:
		return "unknown"
	case op.pass != nil:
		return op.pass.Pattern
	case op.root:
		return "/"
	case op.op == llm.OpModels:
		return "/v1/models"
	case op.op == llm.OpModel:
		return "/v1/models/{model}"
	}
	switch op.dialect {
	case llm.OpenAIChat:
		if op.op == llm.OpEmbed {
			return "/v1/embeddings"
		}
		return "/v1/chat/completions"
	case llm.OpenAIResponses:
		if op.op == llm.OpCountTokens {
			return "/v1/responses/input_tokens"
		}
		return "/v1/responses"
	case llm.AnthropicMessages:
		if op.op == llm.OpCountTokens {
			return "/v1/messages/count_tokens"
		}
		return "/v1/messages"
	case llm.Gemini:
		switch op.op {
		case llm.OpEmbed:
			return "/models/{model}:embedContent"
		case llm.OpEmbedBatch:
			return "/models/{model}:batchEmbedContents"
		case llm.OpCountTokens:
			return "/models/{model}:countTokens"
		}
		if op.stream {
			return "/models/{model}:streamGenerateContent"
		}
		return "/models/{model}:generateContent"
	}
	return "unknown"
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
