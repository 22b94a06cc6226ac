package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/quic-go/quic-go"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/path"
)

const (
	// seedPrefix marks an address that is dialled as it stands, in the place of a node's name: it is
	// the one thing that memberlist passes through Join untouched.
	seedPrefix = "seed:"
	// Every node advertises the same address, from the block for documentation (RFC 5737): peers are
	// found by name, the real address is in their Meta, and a node that moves causes no conflict.
	placeholder     = "192.0.2.1"
	placeholderPort = 1

	dialTimeout = 5 * time.Second
	redialAfter = time.Second      // a peer that did not answer is left alone for so long
	senderIdle  = 2 * time.Minute  // a peer's sender goroutine ends after so long without packets
	lameDuck    = 10 * time.Second // a connection that lost to a twin finishes its streams
	bigTimeout  = 5 * time.Second  // for a packet that needs a stream
	bigMax      = 16 << 10
	queueLen    = 64 // packets waiting for one peer, and for memberlist
	streamQueue = 16
)

// transport carries memberlist over the node's QUIC endpoint. After Shutdown it drops: memberlist's own
// mock transport blocks for ever there, and so would the goroutines of whoever still writes.
//
// No lock is held while waiting for the network, so it works on a synctest bubble's clock.
type transport struct {
	end    *path.Endpoint
	self   identity.NodeID
	addr   func(identity.NodeID) string // where a node is, "" = not known
	log    zerolog.Logger
	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
	wg     sync.WaitGroup

	serving atomic.Int32 // connections

	packets chan *memberlist.Packet
	streams chan net.Conn

	mu     sync.Mutex
	peers  map[identity.NodeID]*peer
	closed bool
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// peer is what the transport knows of one node; conn and mine are under transport.mu.
type peer struct {
	name    identity.NodeID
	conn    *quic.Conn // the connection in use, nil or dead when there is none
	mine    bool       // this node dialled it
	retry   time.Time  // no dial before
	dialing chan struct{}
	queue   chan []byte
	sending bool
}

func newTransport(end *path.Endpoint, self identity.NodeID, addr func(identity.NodeID) string, log zerolog.Logger) *transport {
	ctx, cancel := context.WithCancel(context.Background())
	return &transport{
		end: end, self: self, addr: addr, log: log, ctx: ctx, cancel: cancel,
		packets: make(chan *memberlist.Packet, queueLen), streams: make(chan net.Conn, streamQueue),
		peers: make(map[identity.NodeID]*peer),
	}
}

// FinalAdvertiseAddr is the same for every node, see placeholder.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.ParseIP(placeholder), placeholderPort, nil
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

// WriteTo has no node to send to: every node of a mesh has a name.
func (t *transport) WriteTo([]byte, string) (time.Time, error) {
	return time.Time{}, errors.New("send gossip packet: no node name")
}

// DialTimeout has no node to dial.
func (t *transport) DialTimeout(string, time.Duration) (net.Conn, error) {
	return nil, errors.New("open gossip stream: no node name")
}

// WriteToAddress queues a packet and never blocks. Packets may be lost, as memberlist expects.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	now := time.Now()
	p := t.peer(identity.NodeID(a.Name))
	if p == nil {
		return now, nil
	}
	select {
	case p.queue <- append([]byte(nil), b...): // memberlist reuses b
	default: // full: the peer does not take packets now
	}
	t.mu.Lock()
	start := !p.sending && !t.closed
	if start {
		p.sending = true
		t.wg.Add(1)
	}
	t.mu.Unlock()
	if start {
		go t.send(p)
	}
	return now, nil
}

// peer finds or makes the state of a node; nil after Shutdown and for nobody.
func (t *transport) peer(name identity.NodeID) *peer {
	if name == "" || name == t.self {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	p := t.peers[name]
	if p == nil {
		p = &peer{name: name, dialing: make(chan struct{}, 1), queue: make(chan []byte, queueLen)}
		t.peers[name] = p
	}
	return p
}

// send is a peer's one sender: quic-go's SendDatagram blocks when the peer is stuck, and must not
// block memberlist.
func (t *transport) send(p *peer) {
	defer t.wg.Done()
	idle := time.NewTimer(senderIdle)
	defer idle.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case b := <-p.queue:
			idle.Reset(senderIdle)
			c, err := t.connect(t.ctx, p)
			if err != nil {
				t.log.Debug().Err(err).Str("peer", string(p.name)).Msg("gossip packet dropped")
				continue
			}
			if err := sendPacket(t.ctx, c, b); err != nil {
				t.log.Debug().Err(err).Str("peer", string(p.name)).Msg("gossip packet lost")
			}
		case <-idle.C:
			t.mu.Lock()
			if len(p.queue) == 0 {
				p.sending = false
				t.mu.Unlock()
				return
			}
			t.mu.Unlock()
			idle.Reset(senderIdle)
		}
	}
}

// sendPacket sends a datagram, or a stream of its own when it is too big for one.
func sendPacket(ctx context.Context, c *quic.Conn, b []byte) error {
	err := c.SendDatagram(b)
	if _, tooBig := errors.AsType[*quic.DatagramTooLargeError](err); !tooBig {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bigTimeout)
	defer cancel()
	s, err := c.OpenUniStreamSync(ctx)
	if err != nil {
		return err
	}
	if err := s.SetWriteDeadline(time.Now().Add(bigTimeout)); err != nil {
		return err
	}
	if _, err := s.Write(b); err != nil {
		s.CancelWrite(0)
		return err
	}
	return s.Close()
}

// live is the peer's usable connection, nil when there is none.
func (t *transport) live(p *peer) *quic.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.conn != nil && p.conn.Context().Err() == nil {
		return p.conn
	}
	return nil
}

// connect returns the connection to a peer and dials when there is none, one caller at a time.
func (t *transport) connect(ctx context.Context, p *peer) (*quic.Conn, error) {
	if c := t.live(p); c != nil {
		return c, nil
	}
	select {
	case p.dialing <- struct{}{}: // a channel and not a mutex: waiting here must let a bubble's clock run
		defer func() { <-p.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := t.live(p); c != nil {
		return c, nil
	}
	addr := t.addr(p.name)
	if addr == "" {
		return nil, errors.New("address not known")
	}
	t.mu.Lock()
	wait := time.Until(p.retry)
	t.mu.Unlock()
	if wait > 0 {
		return nil, errors.New("did not answer just now")
	}
	c, who, err := t.dial(ctx, addr, p.name)
	if err != nil {
		t.mu.Lock()
		p.retry = time.Now().Add(redialAfter)
		t.mu.Unlock()
		return nil, err
	}
	return t.adopt(c, who.Node, true), nil
}

func (t *transport) dial(ctx context.Context, addr string, want identity.NodeID) (*quic.Conn, identity.Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return t.end.Dial(ctx, addr, ALPN, want)
}

// adopt makes c the connection to a node, unless there is a better one, and returns the one to use.
// A connection that this node dialled is served here; an accepted one by its handler.
func (t *transport) adopt(c *quic.Conn, node identity.NodeID, mine bool) *quic.Conn {
	p := t.peer(node)
	if p == nil {
		_ = c.CloseWithError(path.CloseShutdown, "stopping") // nobody is left to tell
		return c
	}
	t.mu.Lock()
	loser := p.conn
	if p.conn == nil || p.conn.Context().Err() != nil {
		p.conn, p.mine, loser = c, mine, nil
	} else if p.mine != mine && mine == (t.self < node) {
		// Both ends dialled at once and both know the rule: the smaller id's connection stays.
		p.conn, p.mine = c, mine
	} else if p.mine == mine {
		p.conn = c // the peer dialled again: it does not believe in the old one
	} else {
		loser = c
	}
	winner := p.conn
	serve := mine && !t.closed
	if serve {
		t.wg.Add(1)
	}
	t.mu.Unlock()
	if serve {
		go func() {
			defer t.wg.Done()
			t.serve(c, node)
		}()
	}
	if loser != nil {
		time.AfterFunc(lameDuck, func() { _ = loser.CloseWithError(path.CloseNone, "replaced") })
	}
	return winner
}

// handle serves an accepted connection until it ends.
func (t *transport) handle(ctx context.Context, c *quic.Conn, who identity.Peer) {
	if who.Node == t.self {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = c.CloseWithError(path.CloseShutdown, "stopping") })
	defer stop()
	t.adopt(c, who.Node, false)
	t.serve(c, who.Node)
}

// serve hands what arrives on c to memberlist until c ends.
func (t *transport) serve(c *quic.Conn, node identity.NodeID) {
	stop := context.AfterFunc(t.ctx, func() { _ = c.CloseWithError(path.CloseShutdown, "stopping") })
	defer stop()
	t.serving.Add(1)
	defer t.serving.Add(-1)
	ctx := c.Context()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			b, err := c.ReceiveDatagram(ctx)
			if err != nil {
				return
			}
			t.deliver(b, c.RemoteAddr())
		}
	})
	wg.Go(func() {
		for {
			s, err := c.AcceptUniStream(ctx)
			if err != nil {
				return
			}
			wg.Go(func() { t.big(s, c.RemoteAddr()) })
		}
	})
	for {
		s, err := c.AcceptStream(ctx)
		if err != nil {
			break
		}
		conn := &streamConn{Stream: s, conn: c}
		select {
		case t.streams <- conn:
		case <-t.ctx.Done():
			conn.Close()
		case <-ctx.Done():
		}
	}
	wg.Wait()
	t.log.Debug().Str("peer", string(node)).AnErr("cause", context.Cause(ctx)).Msg("gossip connection ended")
}

// big reads one packet that came on a stream of its own.
func (t *transport) big(s *quic.ReceiveStream, from net.Addr) {
	defer s.CancelRead(0)
	if s.SetReadDeadline(time.Now().Add(bigTimeout)) != nil {
		return
	}
	if b, err := io.ReadAll(io.LimitReader(s, bigMax+1)); err == nil && len(b) <= bigMax {
		t.deliver(b, from)
	}
}

// deliver hands a packet to memberlist, or drops it when that is behind or gone.
func (t *transport) deliver(b []byte, from net.Addr) {
	select {
	case t.packets <- &memberlist.Packet{Buf: b, From: from, Timestamp: time.Now()}:
	case <-t.ctx.Done():
	default:
	}
}

// DialAddressTimeout opens a stream to a node, or to a seed whose name is not known yet.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	c, err := t.open(ctx, a.Name)
	if err != nil {
		return nil, fmt.Errorf("open gossip stream to %s: %w", a.Name, err)
	}
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		return nil, fmt.Errorf("open gossip stream to %s: %w", a.Name, err)
	}
	return &streamConn{Stream: s, conn: c}, nil
}

func (t *transport) open(ctx context.Context, name string) (*quic.Conn, error) {
	addr, seed := strings.CutPrefix(name, seedPrefix)
	if !seed {
		p := t.peer(identity.NodeID(name))
		if p == nil {
			return nil, errors.New("stopped, or no such node")
		}
		return t.connect(ctx, p)
	}
	c, who, err := t.dial(ctx, addr, "")
	if err != nil {
		return nil, err
	}
	if who.Node == t.self {
		_ = c.CloseWithError(path.CloseNone, "self")
		return nil, errors.New("this is the node itself")
	}
	return t.adopt(c, who.Node, true), nil
}

// forget closes the connection to a node that has left.
func (t *transport) forget(node identity.NodeID) {
	t.mu.Lock()
	p := t.peers[node]
	var c *quic.Conn
	if p != nil {
		c = p.conn
		delete(t.peers, node)
	}
	t.mu.Unlock()
	if c != nil {
		time.AfterFunc(lameDuck, func() { _ = c.CloseWithError(path.CloseNone, "left") })
	}
}

// Shutdown drops everything from now on and closes the connections. wait returns once all goroutines
// are gone.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	return nil
}

func (t *transport) wait() {
	t.wg.Wait()
	for {
		select {
		case c := <-t.streams:
			c.Close()
		default:
			return
		}
	}
}

// streamConn makes a QUIC stream the net.Conn that memberlist wants.
type streamConn struct {
	*quic.Stream
	conn *quic.Conn
}

func (s *streamConn) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s *streamConn) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Close closes both directions; a QUIC stream's own Close ends only the sending one.
func (s *streamConn) Close() error {
	s.CancelRead(0)
	return s.Stream.Close()
}
