package tunnel

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/path"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// Handler serves requests at an exit.
type Handler interface {
	// ServeTunnel serves one exchange and ends it with Finish, Respond or Abort; returning without that resets
	// the stream as "sent". ctx ends when the edge gives up, the connection is lost or the request's deadline
	// passes. The handler must have read the whole body before it calls the provider: an edge that could not
	// deliver all of it counts the request as not sent. The exchange must not be used after the return.
	ServeTunnel(ctx context.Context, x *Exchange)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, x *Exchange)

// ServeTunnel calls f.
func (f HandlerFunc) ServeTunnel(ctx context.Context, x *Exchange) { f(ctx, x) }

// ServerConfig configures a Server.
type ServerConfig struct {
	Handler     Handler
	Log         zerolog.Logger
	MaxInflight int   // requests at once over all edges; above it they are refused as not sent. Default 8192
	MaxBody     int64 // largest request body in bytes. Default 64 MiB
}

// Server is the exit's end of the tunnel. It is safe for concurrent use.
type Server struct {
	cfg      ServerConfig
	inflight atomic.Int64
	requests atomic.Uint64
	refused  atomic.Uint64
	draining atomic.Bool
	empty    chan struct{} // signalled when the last request ends while draining

	mu    sync.Mutex
	conns map[*quic.Conn]struct{}
}

// ServerStats is a snapshot of a Server's counters.
type ServerStats struct {
	Inflight    int64
	Requests    uint64 // since the start
	Refused     uint64 // while draining or at the limit
	Connections int
	Draining    bool
}

// NewServer makes a server. Its Protocol goes to path.Endpoint.
func NewServer(cfg ServerConfig) *Server {
	if cfg.MaxInflight == 0 {
		cfg.MaxInflight = 8192
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 64 << 20
	}
	return &Server{cfg: cfg, empty: make(chan struct{}, 1), conns: make(map[*quic.Conn]struct{})}
}

// Protocol is what the endpoint needs to route connections here.
func (s *Server) Protocol() path.Protocol { return path.Protocol{ALPN: ALPN, Handle: s.Handle} }

// Stats gives the counters.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	n := len(s.conns)
	s.mu.Unlock()
	return ServerStats{
		Inflight: s.inflight.Load(), Requests: s.requests.Load(), Refused: s.refused.Load(),
		Connections: n, Draining: s.draining.Load(),
	}
}

// Handle serves one connection until it or ctx ends, and waits for its handlers.
func (s *Server) Handle(ctx context.Context, c *quic.Conn, peer identity.Peer) {
	if !peer.Roles.Has(identity.RoleEdge) {
		s.cfg.Log.Warn().Str("peer", string(peer.Node)).Stringer("roles", peer.Roles).Msg("tunnel refused: not an edge")
		_ = c.CloseWithError(closeRole, "only edges may open tunnels") // the peer is told; nothing else to do
		return
	}
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		str, err := c.AcceptStream(ctx)
		if err != nil {
			if ctx.Err() != nil {
				// Handlers see their streams end, so that the wait is short.
				_ = c.CloseWithError(closeAborted, "stopping")
			}
			return
		}
		wg.Go(func() { s.serveLane(peer, str) })
	}
}

// Drain refuses new requests as not sent and waits for those in progress, until ctx ends. Then it closes all
// connections, telling the edges whether anything was cut off, and returns ctx's error in that case.
func (s *Server) Drain(ctx context.Context) error {
	s.draining.Store(true)
	code, err := closeDrained, error(nil)
wait:
	for s.inflight.Load() > 0 {
		select {
		case <-s.empty:
		case <-ctx.Done():
			code, err = closeAborted, ctx.Err()
			break wait
		}
	}
	s.mu.Lock()
	conns := make([]*quic.Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	if err == nil {
		linger(ctx, conns)
	}
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() { _ = c.CloseWithError(code, "drained") })
	}
	wg.Wait()
	return err
}

// linger waits until what was written last has arrived, lost packets included: closing a QUIC connection
// drops what is still on its way.
func linger(ctx context.Context, conns []*quic.Conn) {
	wait := 0 * time.Second
	for _, c := range conns {
		wait = max(wait, 100*time.Millisecond+4*c.ConnectionStats().SmoothedRTT)
	}
	t := time.NewTimer(min(wait, time.Second))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// begin counts a request in, or says with which code to refuse it. The order (count, then look) makes sure
// that Drain either sees the request or the request sees Drain.
func (s *Server) begin() (quic.StreamErrorCode, bool) {
	n := s.inflight.Add(1)
	switch {
	case s.draining.Load():
		s.refused.Add(1)
		s.end()
		return resetDraining, false
	case n > int64(s.cfg.MaxInflight):
		s.refused.Add(1)
		s.end()
		return resetBusy, false
	}
	s.requests.Add(1)
	return 0, true
}

func (s *Server) end() {
	if s.inflight.Add(-1) == 0 && s.draining.Load() {
		select {
		case s.empty <- struct{}{}:
		default:
		}
	}
}

// serveLane serves the exchanges of one stream, one after another.
func (s *Server) serveLane(peer identity.Peer, str *quic.Stream) {
	l := &lane{str: str, rd: reader{str: str}}
	defer l.rd.drop()
	for !l.dead {
		typ, n, err := l.rd.header()
		if err != nil {
			if errors.Is(err, io.EOF) {
				_ = str.Close() // the edge has put the stream away
			} else {
				l.kill(resetNotSent)
			}
			return
		}
		code, ok := s.begin()
		if !ok {
			l.kill(code)
			return
		}
		s.serveOne(peer, l, typ, n)
		s.end()
	}
}

func (s *Server) serveOne(peer identity.Peer, l *lane, typ byte, n int) {
	var req Request
	payload, err := []byte(nil), errProtocol
	if typ == frameRequest {
		payload, err = l.rd.payload(n, MaxRequestFrame)
	}
	if err == nil {
		req, err = ParseRequest(payload)
	}
	if err != nil {
		s.cfg.Log.Warn().Err(err).Str("peer", string(peer.Node)).Msg("tunnel stream reset: bad request frame")
		l.dead = true
		l.kill(resetProtocol)
		return
	}
	l.rd.release()
	x := &Exchange{Peer: peer, Request: req, ln: l, bodyLeft: req.BodyLen}
	x.Body = body{x}
	if req.BodyLen > s.cfg.MaxBody {
		x.Abort(fault.New(fault.TooLarge, "the body has %d bytes, this exit takes %d", req.BodyLen, s.cfg.MaxBody))
		return
	}
	ctx, cancel := l.limit(&req)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			s.cfg.Log.Error().Bytes("stack", debug.Stack()).Str("peer", string(peer.Node)).Msg("tunnel handler panicked")
		}
		x.reset(fault.Sent) // no-op when the exchange was finished
		if !l.dead && req.Timeout > 0 {
			_ = l.str.SetDeadline(time.Time{})
		}
	}()
	s.cfg.Handler.ServeTunnel(ctx, x)
}
