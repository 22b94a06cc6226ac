// Package memnet is a packet network in memory, for tests: its ports are net.PacketConns whose packets
// arrive when and if a Way says so, by the clock of the synctest bubble that they run in.
package memnet

import (
	"cmp"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Way decides about one packet that leaves a port: when it arrives, or false when it is lost.
type Way func(from *net.UDPAddr, to string, data []byte) (at time.Time, ok bool)

// Net joins ports. It is safe for concurrent use.
type Net struct {
	way Way

	mu    sync.Mutex
	ports map[string]*Conn
	seq   uint64
}

// New makes a network on which every packet takes way.
func New(way Way) *Net { return &Net{way: way, ports: make(map[string]*Conn)} }

// Listen opens a port, taking it over from a former owner.
func (n *Net) Listen(addr *net.UDPAddr) *Conn {
	c := &Conn{net: n, addr: addr, wake: make(chan struct{}, 1), closed: make(chan struct{}), deadline: NewDeadline()}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[addr.String()] = c
	return c
}

func (n *Net) send(from *net.UDPAddr, to string, data []byte) {
	at, ok := n.way(from, to, data)
	n.mu.Lock()
	dst := n.ports[to]
	n.seq++
	seq := n.seq
	n.mu.Unlock()
	if ok && dst != nil {
		dst.deliver(packet{at: at, seq: seq, from: from, data: slices.Clone(data)})
	}
}

// packet is one on its way.
type packet struct {
	at   time.Time
	seq  uint64 // orders packets of one instant
	from *net.UDPAddr
	data []byte
}

// maxPackets is a port's receive buffer.
const maxPackets = 8192

// Conn is a port.
type Conn struct {
	net      *Net
	addr     *net.UDPAddr
	wake     chan struct{}
	closed   chan struct{}
	once     sync.Once
	deadline Deadline

	mu    sync.Mutex
	queue []packet // by time
}

func (c *Conn) deliver(p packet) {
	c.mu.Lock()
	if len(c.queue) < maxPackets {
		i, _ := slices.BinarySearchFunc(c.queue, p, func(a, b packet) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq))
		})
		c.queue = slices.Insert(c.queue, i, p)
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// ReadFrom implements net.PacketConn.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		var due <-chan time.Time
		var timer *time.Timer
		c.mu.Lock()
		if len(c.queue) > 0 {
			p := c.queue[0]
			wait := time.Until(p.at)
			if wait <= 0 {
				c.queue = slices.Delete(c.queue, 0, 1)
				c.mu.Unlock()
				return copy(b, p.data), p.from, nil
			}
			timer = time.NewTimer(wait)
			due = timer.C
		}
		c.mu.Unlock()
		var err error
		select {
		case <-due:
		case <-c.wake:
		case <-c.closed:
			err = net.ErrClosed
		case <-c.deadline.Wait():
			err = os.ErrDeadlineExceeded
		}
		if timer != nil {
			timer.Stop()
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

// WriteTo implements net.PacketConn.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	c.net.send(c.addr, to.String(), b)
	return len(b), nil
}

// Close implements net.PacketConn. What is sent to the port from now on is lost.
func (c *Conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		if c.net.ports[c.addr.String()] == c {
			delete(c.net.ports, c.addr.String())
		}
	})
	return nil
}

// LocalAddr implements net.PacketConn.
func (c *Conn) LocalAddr() net.Addr { return c.addr }

// SetDeadline implements net.PacketConn; writes never wait.
func (c *Conn) SetDeadline(t time.Time) error { c.deadline.Set(t); return nil }

// SetReadDeadline implements net.PacketConn.
func (c *Conn) SetReadDeadline(t time.Time) error { c.deadline.Set(t); return nil }

// SetWriteDeadline implements net.PacketConn.
func (*Conn) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer keeps quic-go from warning about buffers that are too small, as SetWriteBuffer does.
func (*Conn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing.
func (*Conn) SetWriteBuffer(int) error { return nil }

// Link is the one Way between all ports of a small network. Its zero value delivers at once.
type Link struct {
	mu     sync.Mutex
	rng    *rand.Rand
	delay  time.Duration
	jitter time.Duration
	loss   float64
	cut    map[string]bool
	sent   int
}

// NewLink makes a link with a delay in each direction.
func NewLink(delay time.Duration) *Link {
	return &Link{rng: rand.New(rand.NewPCG(1, 2)), delay: delay, cut: make(map[string]bool)}
}

// Set changes what happens to packets from now on: each takes delay and up to jitter more, so that they
// overtake each other, and is lost with the probability loss. What is random is the same in every run.
func (l *Link) Set(delay, jitter time.Duration, loss float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay, l.jitter, l.loss = delay, jitter, loss
}

// Isolate cuts a port off, or connects it again.
func (l *Link) Isolate(addr net.Addr, on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut[addr.String()] = on
}

// Sent counts the packets so far, lost ones included.
func (l *Link) Sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// Way implements Way.
func (l *Link) Way(from *net.UDPAddr, to string, _ []byte) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if l.cut[from.String()] || l.cut[to] || l.loss > 0 && l.rng.Float64() < l.loss {
		return time.Time{}, false
	}
	delay := l.delay
	if l.jitter > 0 {
		delay += time.Duration(l.rng.Int64N(int64(l.jitter)))
	}
	return time.Now().Add(delay), true
}
