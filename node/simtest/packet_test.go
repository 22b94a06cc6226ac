package simtest

import (
	"cmp"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// packet is one on its way.
type packet struct {
	at   time.Time
	seq  uint64 // orders packets of one instant
	from *net.UDPAddr
	data []byte
}

// maxPackets is a socket's receive buffer.
const maxPackets = 8192

// packetConn is a host's UDP port.
type packetConn struct {
	w        *world
	addr     *net.UDPAddr
	mu       sync.Mutex
	queue    []packet // by time
	wake     chan struct{}
	closed   chan struct{}
	once     sync.Once
	deadline deadline
}

// listenPacket opens a UDP port, taking it over from a former process.
func (w *world) listenPacket(ip string, port int) *packetConn {
	c := &packetConn{
		w: w, addr: &net.UDPAddr{IP: net.ParseIP(ip).To4(), Port: port}, wake: make(chan struct{}, 1), closed: make(chan struct{}), deadline: newDeadline(),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports[c.addr.String()] = c
	return c
}

func (c *packetConn) deliver(p packet) {
	c.mu.Lock()
	if len(c.queue) < maxPackets {
		i, _ := slices.BinarySearchFunc(c.queue, p, func(a, b packet) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq))
		})
		c.queue = slices.Insert(c.queue, i, p)
	}
	c.mu.Unlock()
	notify(c.wake)
}

// ReadFrom implements net.PacketConn.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
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
		case <-c.deadline.wait():
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
func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	c.w.sendPacket(c.addr, to.String(), b)
	return len(b), nil
}

// Close implements net.PacketConn.
func (c *packetConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		if c.w.ports[c.addr.String()] == c {
			delete(c.w.ports, c.addr.String())
		}
	})
	return nil
}

func (c *packetConn) LocalAddr() net.Addr               { return c.addr }
func (c *packetConn) SetDeadline(t time.Time) error     { c.deadline.set(t); return nil }
func (c *packetConn) SetReadDeadline(t time.Time) error { c.deadline.set(t); return nil }
func (*packetConn) SetWriteDeadline(time.Time) error    { return nil }

// SetReadBuffer and SetWriteBuffer keep quic-go from warning about buffers that are too small.
func (*packetConn) SetReadBuffer(int) error  { return nil }
func (*packetConn) SetWriteBuffer(int) error { return nil }

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// deadline is a moment that can be moved while somebody waits for it.
type deadline struct{ s *deadlineState }

type deadlineState struct {
	mu    sync.Mutex
	timer *time.Timer
	past  chan struct{} // closed once the moment has come
}

func newDeadline() deadline { return deadline{&deadlineState{past: make(chan struct{})}} }

func (d deadline) wait() <-chan struct{} {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.s.past
}

func (d deadline) set(t time.Time) {
	s := d.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil && !s.timer.Stop() {
		<-s.past // it has fired and is closing this one
	}
	s.timer = nil
	closed := false
	select {
	case <-s.past:
		closed = true
	default:
	}
	if t.IsZero() {
		if closed {
			s.past = make(chan struct{})
		}
		return
	}
	if left := time.Until(t); left > 0 {
		if closed {
			s.past = make(chan struct{})
		}
		past := s.past
		s.timer = time.AfterFunc(left, func() { close(past) })
		return
	}
	if !closed {
		close(s.past)
	}
}
