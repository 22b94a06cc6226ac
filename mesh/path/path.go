// Package path is a node's one UDP port: a QUIC endpoint on any net.PacketConn that accepts and dials
// connections for several protocols (told apart by ALPN), every one of them mutually authenticated.
// Several network paths to a peer come later and slide under Config.Conn.
package path

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

// Protocol is one service on the port.
type Protocol struct {
	ALPN string
	// Handle owns an accepted connection; the endpoint closes the connection when it returns. ctx ends when
	// the endpoint stops.
	Handle func(ctx context.Context, c *quic.Conn, peer identity.Peer)
}

// Config configures an Endpoint. Only Conn and Identity are needed.
type Config struct {
	// Conn carries the packets. A *net.UDPConn is used with GSO, ECN and batched reads; any other works
	// without them. The endpoint closes it.
	Conn      net.PacketConn
	Identity  *identity.Store
	Protocols []Protocol // more may be added with Handle before Run
	// Resolve turns "host:port" into an address; the default asks the system resolver.
	Resolve func(ctx context.Context, hostport string) (net.Addr, error)
	Log     zerolog.Logger

	// IdleTimeout ends a connection that heard nothing for so long (default 15 s). It is the last resort: the
	// tunnel notices a silent peer within a second.
	IdleTimeout time.Duration
	// HandshakeTimeout bounds a handshake without any answer (default 3 s). Dial also obeys its context.
	HandshakeTimeout time.Duration
	// MaxStreams is how many streams a peer may have open on one connection (default 16384).
	MaxStreams int64
}

// Close codes of whole connections that this package uses. The tunnel's are in its wire.go.
const (
	CloseNone     quic.ApplicationErrorCode = 0x0 // nothing wrong: the handler ended
	CloseShutdown quic.ApplicationErrorCode = 0x1 // this endpoint is stopping
	CloseRevoked  quic.ApplicationErrorCode = 0x2 // the peer's certificate was revoked or has run out
	CloseUnknown  quic.ApplicationErrorCode = 0x3 // no handler for the protocol
)

// recheck is how often the certificates behind live connections are held against the clock.
const recheck = time.Minute

// Endpoint is the QUIC endpoint of one node. Its methods are safe for concurrent use.
type Endpoint struct {
	cfg  Config
	tr   *quic.Transport
	quic *quic.Config

	mu        sync.Mutex
	protocols []Protocol
	conns     map[*quic.Conn]identity.Peer
	running   bool
	closed    bool

	wg sync.WaitGroup // handlers
}

// New makes an endpoint. Dial works at once; nothing is accepted before Run.
func New(cfg Config) (*Endpoint, error) {
	if cfg.Conn == nil || cfg.Identity == nil {
		return nil, errors.New("make endpoint: Conn and Identity are needed")
	}
	if cfg.Resolve == nil {
		cfg.Resolve = resolveUDP
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 15 * time.Second
	}
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = 3 * time.Second
	}
	if cfg.MaxStreams == 0 {
		cfg.MaxStreams = 1 << 14
	}
	reset, err := resetKey(cfg.Identity)
	if err != nil {
		return nil, fmt.Errorf("make endpoint: %w", err)
	}
	e := &Endpoint{
		cfg:   cfg,
		tr:    &quic.Transport{Conn: cfg.Conn, StatelessResetKey: reset},
		quic:  quicConfig(cfg),
		conns: make(map[*quic.Conn]identity.Peer),
	}
	for _, p := range cfg.Protocols {
		if err := e.Handle(p); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// quicConfig: why each value, from measurements on 150 ms paths (mesh DESIGN.md).
func quicConfig(cfg Config) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout: cfg.HandshakeTimeout,
		MaxIdleTimeout:       cfg.IdleTimeout,
		KeepAlivePeriod:      cfg.IdleTimeout / 3,
		// The defaults (512 KB) cap the first round trips at 27 Mbit/s. Windows are upper bounds, not buffers.
		InitialStreamReceiveWindow:     4 << 20,
		MaxStreamReceiveWindow:         8 << 20,
		InitialConnectionReceiveWindow: 16 << 20,
		MaxConnectionReceiveWindow:     64 << 20,
		MaxIncomingStreams:             cfg.MaxStreams, // the default of 100 would block the 101st request
		MaxIncomingUniStreams:          cfg.MaxStreams,
		EnableDatagrams:                true, // gossip packets, tunnel pings
	}
}

// resetKey is derived from the node's key, so that a restarted node tells its peers at once that their old
// connections are gone (RFC 9000, 10.3) instead of letting them time out.
func resetKey(s *identity.Store) (*quic.StatelessResetKey, error) {
	der, err := x509.MarshalPKCS8PrivateKey(crypto.PrivateKey(s.Key()))
	if err != nil {
		return nil, fmt.Errorf("derive reset key: %w", err)
	}
	mac := hmac.New(sha256.New, der)
	mac.Write([]byte("causeway stateless reset 1"))
	return (*quic.StatelessResetKey)(mac.Sum(nil)), nil
}

func resolveUDP(ctx context.Context, hostport string) (net.Addr, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	p, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	return &net.UDPAddr{IP: ips[0].Unmap().AsSlice(), Zone: ips[0].Zone(), Port: p}, nil
}

// Handle adds a protocol. It must come before Run.
func (e *Endpoint) Handle(p Protocol) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running {
		return fmt.Errorf("add protocol %q: the endpoint is running", p.ALPN)
	}
	if p.ALPN == "" || p.Handle == nil || e.protocol(p.ALPN) != nil {
		return fmt.Errorf("add protocol %q: name and handler are needed, once", p.ALPN)
	}
	e.protocols = append(e.protocols, p)
	return nil
}

func (e *Endpoint) protocol(alpn string) *Protocol {
	i := slices.IndexFunc(e.protocols, func(p Protocol) bool { return p.ALPN == alpn })
	if i < 0 {
		return nil
	}
	return &e.protocols[i]
}

// Addr is the local address of Config.Conn.
func (e *Endpoint) Addr() net.Addr { return e.cfg.Conn.LocalAddr() }

// Identity is the store that the endpoint authenticates with.
func (e *Endpoint) Identity() *identity.Store { return e.cfg.Identity }

// Run accepts connections until ctx ends, then closes everything and returns nil once all handlers are done.
func (e *Endpoint) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.running || e.closed {
		e.mu.Unlock()
		return errors.New("run endpoint: already running or closed")
	}
	e.running = true
	var alpn []string
	for _, p := range e.protocols {
		alpn = append(alpn, p.ALPN)
	}
	e.mu.Unlock()
	if len(alpn) == 0 {
		alpn = []string{"causeway-none"} // crypto/tls wants one; nobody offers it
	}

	ln, err := e.tr.Listen(e.cfg.Identity.ServerConfig(alpn...), e.quic)
	if err != nil {
		return fmt.Errorf("run endpoint: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	e.wg.Go(func() { e.watch(ctx) })
	for {
		c, aerr := ln.Accept(ctx)
		if aerr != nil {
			if ctx.Err() == nil && !errors.Is(aerr, quic.ErrServerClosed) && !errors.Is(aerr, quic.ErrTransportClosed) {
				err = fmt.Errorf("run endpoint: accept: %w", aerr)
			}
			break
		}
		e.wg.Go(func() { e.serve(ctx, c) })
	}
	cancel()
	if cerr := e.Close(); err == nil {
		err = cerr
	}
	e.wg.Wait()
	return err
}

func (e *Endpoint) serve(ctx context.Context, c *quic.Conn) {
	cs := c.ConnectionState().TLS
	peer, ok := identity.PeerFromState(cs)
	p := e.protocol(cs.NegotiatedProtocol) // the list is fixed while running
	if !ok || p == nil {
		_ = c.CloseWithError(CloseUnknown, "unknown protocol or identity") // the peer is told; nothing else to do
		return
	}
	if !e.track(c, peer) {
		_ = c.CloseWithError(CloseShutdown, "stopping")
		return
	}
	e.cfg.Log.Debug().Str("peer", string(peer.Node)).Str("proto", p.ALPN).Stringer("addr", c.RemoteAddr()).Msg("mesh connection accepted")
	p.Handle(ctx, c, peer)
	_ = c.CloseWithError(CloseNone, "")
}

// track enters c into the set of connections that revocation, expiry and Close reach.
func (e *Endpoint) track(c *quic.Conn, peer identity.Peer) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.conns[c] = peer
	context.AfterFunc(c.Context(), func() {
		e.mu.Lock()
		delete(e.conns, c)
		e.mu.Unlock()
	})
	return true
}

// watch closes connections whose certificates were revoked or have run out since the handshake.
func (e *Endpoint) watch(ctx context.Context) {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		changed := e.cfg.Identity.Changed()
		e.sweep(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

func (e *Endpoint) sweep(now time.Time) {
	var gone []*quic.Conn
	e.mu.Lock()
	for c, p := range e.conns {
		if e.cfg.Identity.Revoked(p.Serial) || now.After(p.NotAfter) {
			gone = append(gone, c)
			e.cfg.Log.Info().Str("peer", string(p.Node)).Str("serial", p.Serial).Msg("mesh connection closed: certificate revoked or expired")
		}
	}
	e.mu.Unlock()
	for _, c := range gone {
		_ = c.CloseWithError(CloseRevoked, "certificate revoked or expired")
	}
}

// Dial connects to hostport with a protocol and returns the connection and who answered. When want is not
// empty, another node's answer is an error. The connection outlives ctx, which only bounds the dial.
func (e *Endpoint) Dial(ctx context.Context, hostport, alpn string, want identity.NodeID) (*quic.Conn, identity.Peer, error) {
	return e.dial(ctx, hostport, e.cfg.Identity.ClientConfig(want, 0, alpn))
}

// DialRole is Dial with the further demand that the node holds role.
func (e *Endpoint) DialRole(ctx context.Context, hostport, alpn string, want identity.NodeID, role identity.Role) (*quic.Conn, identity.Peer, error) {
	return e.dial(ctx, hostport, e.cfg.Identity.ClientConfig(want, role, alpn))
}

func (e *Endpoint) dial(ctx context.Context, hostport string, conf *tls.Config) (*quic.Conn, identity.Peer, error) {
	addr, err := e.cfg.Resolve(ctx, hostport)
	if err != nil {
		return nil, identity.Peer{}, fmt.Errorf("dial %s: resolve: %w", hostport, err)
	}
	c, err := e.tr.Dial(ctx, addr, conf, e.quic)
	if err != nil {
		return nil, identity.Peer{}, fmt.Errorf("dial %s: %w", hostport, err)
	}
	peer, ok := identity.PeerFromState(c.ConnectionState().TLS)
	if !ok || !e.track(c, peer) {
		_ = c.CloseWithError(CloseShutdown, "stopping")
		return nil, identity.Peer{}, fmt.Errorf("dial %s: the endpoint is closed", hostport)
	}
	return c, peer, nil
}

// Close tells every peer, closes all connections and the socket. It is idempotent; a running Run returns.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	var open []*quic.Conn
	for c := range e.conns {
		open = append(open, c)
	}
	e.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range open {
		wg.Go(func() { _ = c.CloseWithError(CloseShutdown, "stopping") })
	}
	wg.Wait()
	err := e.tr.Close()
	if cerr := e.cfg.Conn.Close(); err == nil && !errors.Is(cerr, net.ErrClosed) {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("close endpoint: %w", err)
	}
	return nil
}
