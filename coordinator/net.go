package coordinator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/mesh/identity"
)

// What coordinators speak to each other on the Raft port, told apart by ALPN.
const (
	alpnRaft  = "causeway-raft/1"
	alpnAdmin = "causeway-admin/1" // HTTP/1.1: calls forwarded to the leader
)

// listen opens a listener, with an error that names what it was for and what to do.
func listen(cfg Config, addr, what, flag string) (net.Listener, error) {
	l, err := cfg.Listen("tcp", addr)
	if err == nil {
		return l, nil
	}
	var op *net.OpError
	if errors.As(err, &op) && isInUse(err) {
		return nil, fmt.Errorf("listen for %s: port %s is in use by another process: stop it or choose another with %s", what, addr, flag)
	}
	return nil, fmt.Errorf("listen for %s: %w", what, err)
}

// mux accepts mutually authenticated connections of coordinators and hands them out by protocol.
type mux struct {
	inner net.Listener
	tls   *tls.Config
	log   zerolog.Logger
	raft  *chanListener
	admin *chanListener
	wg    sync.WaitGroup
}

func newMux(inner net.Listener, id *identity.Store, log zerolog.Logger) *mux {
	return &mux{
		inner: inner, tls: id.ServerConfig(alpnRaft, alpnAdmin), log: log,
		raft: newChanListener(inner.Addr()), admin: newChanListener(inner.Addr()),
	}
}

// run accepts until the listener closes.
func (m *mux) run(ctx context.Context) {
	defer func() {
		m.raft.Close()
		m.admin.Close()
		m.wg.Wait()
	}()
	stop := context.AfterFunc(ctx, func() { m.inner.Close() })
	defer stop()
	for {
		c, err := m.inner.Accept()
		if err != nil {
			return
		}
		m.wg.Go(func() { m.handshake(ctx, c) })
	}
}

func (m *mux) handshake(ctx context.Context, c net.Conn) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	t := tls.Server(c, m.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		m.log.Debug().Err(err).Str("from", c.RemoteAddr().String()).Msg("coordinator handshake")
		c.Close()
		return
	}
	state := t.ConnectionState()
	peer, ok := identity.PeerFromState(state)
	to := m.raft
	if state.NegotiatedProtocol == alpnAdmin {
		to = m.admin
	}
	if !ok || !peer.Roles.Has(identity.RoleCoordinator) || !to.give(ctx, peerConn{t, peer}) {
		m.log.Warn().Str("node", string(peer.Node)).Str("from", c.RemoteAddr().String()).Msg("refused a connection: not a coordinator")
		c.Close()
	}
}

// peerConn hides the TLS layer from net/http, which would look its protocol up, and carries who is
// at the other end.
type peerConn struct {
	net.Conn
	peer identity.Peer
}

// withPeer is http.Server.ConnContext.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.(peerConn); ok {
		return api.WithPeer(ctx, p.peer)
	}
	return ctx
}

// chanListener is a net.Listener fed by hand.
type chanListener struct {
	addr net.Addr
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newChanListener(addr net.Addr) *chanListener {
	return &chanListener{addr: addr, ch: make(chan net.Conn), done: make(chan struct{})}
}

func (l *chanListener) give(ctx context.Context, c net.Conn) bool {
	select {
	case l.ch <- c:
		return true
	case <-l.done:
	case <-ctx.Done():
	}
	return false
}

// Accept implements net.Listener.
func (l *chanListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ch:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *chanListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *chanListener) Addr() net.Addr { return l.addr }

// dialer reaches other coordinators' Raft port with a protocol.
func dialer(cfg Config, id *identity.Store, alpn string) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := cfg.Dial(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		t := tls.Client(c, id.ClientConfig("", identity.RoleCoordinator, alpn))
		if err := t.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, fmt.Errorf("handshake with coordinator %s: %w", addr, err)
		}
		return t, nil
	}
}

// peers is the HTTP side of it: calls to other coordinators by their Raft address.
func peers(cfg Config, id *identity.Store) *http.Transport {
	dial := dialer(cfg, id, alpnAdmin)
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			c, err := dial(ctx, addr)
			if err != nil {
				return nil, api.NotSent(err)
			}
			return c, nil
		},
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}
}
