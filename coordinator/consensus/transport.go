package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"
)

// Transport carries Raft's messages between members, and can be fenced: cut off from all of them at
// once, which is the only safe answer to a leader whose disk hangs (its main loop is stuck in a
// write, its heartbeats go on, and nobody else stands for election).
type Transport interface {
	// LocalAddr is the address that the other members reach this one at.
	LocalAddr() string
	// Fence cuts every connection and refuses new ones until Unfence. Both are idempotent and safe
	// to call from any goroutine; Fence never waits for a peer.
	Fence()
	Unfence()
	// Close ends the transport for good.
	Close() error

	raft() raft.Transport
}

// errFenced is what calls meet while the disk of this member hangs.
var errFenced = errors.New("raft transport is fenced: this member's disk does not answer")

// StreamConfig is what the stream transport needs: connections that are already authenticated
// (mutual TLS between coordinators), so that nothing here has to judge peers.
type StreamConfig struct {
	Listener  net.Listener                                             // accepts members' connections only
	Advertise string                                                   // host:port for the others; "" = the listener's
	Dial      func(ctx context.Context, addr string) (net.Conn, error) // returns after the handshake
	Timeout   time.Duration                                            // per message; 0 = 2 s
	Log       zerolog.Logger
}

// NewStreamTransport runs Raft over a listener and a dialer.
func NewStreamTransport(cfg StreamConfig) (Transport, error) {
	if cfg.Listener == nil || cfg.Dial == nil {
		return nil, errors.New("new raft transport: listener and dialer are required")
	}
	if cfg.Advertise == "" {
		cfg.Advertise = cfg.Listener.Addr().String()
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 2 * time.Second
	}
	l := &layer{cfg: cfg, conns: make(map[net.Conn]struct{})}
	t := raft.NewNetworkTransport(l, 3, cfg.Timeout, logWriter{cfg.Log})
	return &streamTransport{NetworkTransport: t, layer: l}, nil
}

type streamTransport struct {
	*raft.NetworkTransport
	layer *layer
}

func (t *streamTransport) LocalAddr() string { return t.layer.cfg.Advertise }
func (t *streamTransport) Fence()            { t.layer.fence(true) }
func (t *streamTransport) Unfence()          { t.layer.fence(false) }
func (t *streamTransport) Close() error      { t.layer.fence(true); return t.NetworkTransport.Close() }

// raft returns the library's view; LocalAddr has another type there.
func (t *streamTransport) raft() raft.Transport { return t.NetworkTransport }

// layer is raft.StreamLayer with a list of live connections to cut.
type layer struct {
	cfg    StreamConfig
	mu     sync.Mutex
	fenced bool
	conns  map[net.Conn]struct{}
}

func (l *layer) fence(on bool) {
	l.mu.Lock()
	l.fenced = on
	var cut []net.Conn
	if on {
		for c := range l.conns {
			cut = append(cut, c)
		}
		clear(l.conns)
	}
	l.mu.Unlock()
	for _, c := range cut {
		c.(*tracked).Conn.Close()
	}
}

// track registers a connection, or closes it when the transport is fenced.
func (l *layer) track(c net.Conn) (net.Conn, error) {
	t := &tracked{Conn: c, layer: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fenced {
		c.Close()
		return nil, errFenced
	}
	l.conns[t] = struct{}{}
	return t, nil
}

// Accept gives the next member's connection. A fenced transport accepts and drops.
func (l *layer) Accept() (net.Conn, error) {
	for {
		c, err := l.cfg.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if t, err := l.track(c); err == nil {
			return t, nil
		}
	}
}

// Dial reaches a member.
func (l *layer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	l.mu.Lock()
	fenced := l.fenced
	l.mu.Unlock()
	if fenced {
		return nil, errFenced
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := l.cfg.Dial(ctx, string(addr))
	if err != nil {
		return nil, fmt.Errorf("dial coordinator %s: %w", addr, err)
	}
	return l.track(c)
}

func (l *layer) Close() error   { return l.cfg.Listener.Close() }
func (l *layer) Addr() net.Addr { return advertised(l.cfg.Advertise) }

type tracked struct {
	net.Conn
	layer *layer
}

func (t *tracked) Close() error {
	t.layer.mu.Lock()
	delete(t.layer.conns, t)
	t.layer.mu.Unlock()
	return t.Conn.Close()
}

type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }

// Network joins in-memory transports, for tests and whole-mesh simulations.
type Network struct {
	mu    sync.Mutex
	peers map[string]*memTransport
}

// NewNetwork makes an empty network.
func NewNetwork() *Network { return &Network{peers: make(map[string]*memTransport)} }

// Transport adds a member under an address, replacing one of the same address (a restart).
func (n *Network) Transport(addr string) Transport {
	_, in := raft.NewInmemTransportWithTimeout(raft.ServerAddress(addr), 500*time.Millisecond)
	t := &memTransport{InmemTransport: in, net: n, addr: addr}
	n.mu.Lock()
	n.peers[addr] = t
	n.mu.Unlock()
	n.link()
	return t
}

// Isolate cuts a member off from all others; Rejoin undoes it.
func (n *Network) Isolate(addr string) { n.set(addr, true) }

// Rejoin undoes Isolate.
func (n *Network) Rejoin(addr string) { n.set(addr, false) }

func (n *Network) set(addr string, cut bool) {
	n.mu.Lock()
	if t, ok := n.peers[addr]; ok {
		t.cut = cut
	}
	n.mu.Unlock()
	n.link()
}

// link makes the connections agree with who is cut.
func (n *Network) link() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.peers {
		for _, b := range n.peers {
			switch {
			case a == b:
			case a.cut || b.cut:
				a.Disconnect(raft.ServerAddress(b.addr))
			default:
				a.Connect(raft.ServerAddress(b.addr), b.InmemTransport)
			}
		}
	}
}

type memTransport struct {
	*raft.InmemTransport
	net  *Network
	addr string
	cut  bool // guarded by net.mu
}

func (t *memTransport) LocalAddr() string    { return t.addr }
func (t *memTransport) Fence()               { t.net.set(t.addr, true) }
func (t *memTransport) Unfence()             { t.net.set(t.addr, false) }
func (t *memTransport) raft() raft.Transport { return t.InmemTransport }

func (t *memTransport) Close() error {
	n := t.net
	n.mu.Lock()
	if n.peers[t.addr] == t {
		delete(n.peers, t.addr)
	}
	for _, p := range n.peers {
		p.Disconnect(raft.ServerAddress(t.addr))
	}
	n.mu.Unlock()
	return t.InmemTransport.Close()
}
