package simtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/causeway-mesh/causeway/mesh/memnet"
)

const (
	streamWindow = 256 << 10 // bytes under way or unread before Write blocks
	dialTimeout  = 3 * time.Second
)

// segment is a run of a stream's bytes on its way.
type segment struct {
	at   time.Time
	data []byte
	err  error // io.EOF: the writer closed; ECONNRESET: its process died
}

// half is one direction of a stream.
type half struct {
	w    *world
	flow flow
	wake chan struct{} // for the reader
	room chan struct{} // for the writer

	mu     sync.Mutex
	queue  []segment
	size   int
	last   time.Time // arrival of the newest segment
	ended  bool      // nothing more is taken in
	err    error     // sticky, for the reader
	broken time.Time // when the writer learns that nobody reads
}

func newHalf(w *world, from, to string) *half {
	return &half{w: w, flow: flow{from, to}, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func (h *half) nudge() { notify(h.wake) }

// put sends a segment; false when the writer must wait for room.
func (h *half) put(s segment) (bool, error) {
	h.w.mu.Lock()
	l, _ := h.w.path(h.flow.from, h.flow.to)
	if len(s.data) > 0 {
		h.w.show(traffic{flow: h.flow, stream: true, data: s.data})
	}
	h.w.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case !h.broken.IsZero() && !now.Before(h.broken):
		return true, syscall.EPIPE
	case h.ended:
		return true, net.ErrClosed
	case s.err == nil && h.size+len(s.data) > streamWindow && h.size > 0:
		return false, nil
	}
	s.at = now.Add(l.delay)
	if s.at.Before(h.last) {
		s.at = h.last
	}
	h.last = s.at
	h.ended = s.err != nil
	h.size += len(s.data)
	h.queue = append(h.queue, s)
	h.nudge()
	return true, nil
}

// take gives what has arrived, or how long to wait; 0 means until nudged.
func (h *half) take(p []byte) (n int, wait time.Duration, err error) {
	h.w.mu.Lock()
	_, open := h.w.path(h.flow.from, h.flow.to)
	h.w.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return 0, 0, h.err
	}
	if !open || len(h.queue) == 0 {
		return 0, 0, nil
	}
	s := &h.queue[0]
	if d := time.Until(s.at); d > 0 {
		return 0, d, nil
	}
	if s.err != nil {
		h.err = s.err
		return 0, 0, h.err
	}
	n = copy(p, s.data)
	s.data = s.data[n:]
	if len(s.data) == 0 {
		h.queue = h.queue[1:]
	}
	h.size -= n
	notify(h.room)
	return n, 0, nil
}

// shut is the reader's close: the writer learns of it one way later.
func (h *half) shut() {
	h.w.mu.Lock()
	l, _ := h.w.path(h.flow.to, h.flow.from)
	h.w.mu.Unlock()
	h.mu.Lock()
	if h.broken.IsZero() {
		h.broken = time.Now().Add(l.delay)
	}
	if h.err == nil {
		h.err = net.ErrClosed
	}
	h.mu.Unlock()
	h.nudge()
	notify(h.room)
}

// streamConn is one end of a stream.
type streamConn struct {
	w             *world
	in, out       *half
	local, remote *net.TCPAddr
	read, write   memnet.Deadline
	closed        chan struct{}
	once          sync.Once
}

func (w *world) pair(client, server *net.TCPAddr) (here, there *streamConn) {
	up, down := newHalf(w, client.IP.String(), server.IP.String()), newHalf(w, server.IP.String(), client.IP.String())
	here = &streamConn{w: w, in: down, out: up, local: client, remote: server, read: memnet.NewDeadline(), write: memnet.NewDeadline(), closed: make(chan struct{})}
	there = &streamConn{w: w, in: up, out: down, local: server, remote: client, read: memnet.NewDeadline(), write: memnet.NewDeadline(), closed: make(chan struct{})}
	w.conns[here], w.conns[there] = struct{}{}, struct{}{}
	return here, there
}

// Read implements net.Conn.
func (c *streamConn) Read(p []byte) (int, error) {
	for {
		select {
		case <-c.closed:
			return 0, net.ErrClosed
		case <-c.read.Wait():
			return 0, os.ErrDeadlineExceeded
		default:
		}
		n, wait, err := c.in.take(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		var due <-chan time.Time
		var t *time.Timer
		if wait > 0 {
			t = time.NewTimer(wait)
			due = t.C
		}
		select {
		case <-due:
		case <-c.in.wake:
		case <-c.closed:
		case <-c.read.Wait():
		}
		if t != nil {
			t.Stop()
		}
	}
}

// Write implements net.Conn.
func (c *streamConn) Write(p []byte) (int, error) {
	for {
		select {
		case <-c.closed:
			return 0, net.ErrClosed
		case <-c.write.Wait():
			return 0, os.ErrDeadlineExceeded
		default:
		}
		done, err := c.out.put(segment{data: append([]byte(nil), p...)})
		if err != nil {
			return 0, err
		}
		if done {
			return len(p), nil
		}
		select {
		case <-c.out.room:
		case <-c.closed:
		case <-c.write.Wait():
		}
	}
}

// Close implements net.Conn: what was written still arrives.
func (c *streamConn) Close() error { c.end(io.EOF); return nil }

// reset is the end of the process at this end.
func (c *streamConn) reset() { c.end(syscall.ECONNRESET) }

func (c *streamConn) end(why error) {
	c.once.Do(func() {
		close(c.closed)
		_, _ = c.out.put(segment{err: why}) // the other end may have gone first
		c.in.shut()
		c.w.mu.Lock()
		delete(c.w.conns, c)
		c.w.mu.Unlock()
	})
}

func (c *streamConn) LocalAddr() net.Addr                { return c.local }
func (c *streamConn) RemoteAddr() net.Addr               { return c.remote }
func (c *streamConn) SetDeadline(t time.Time) error      { c.read.Set(t); c.write.Set(t); return nil }
func (c *streamConn) SetReadDeadline(t time.Time) error  { c.read.Set(t); return nil }
func (c *streamConn) SetWriteDeadline(t time.Time) error { c.write.Set(t); return nil }

// streamListener is a host's TCP port.
type streamListener struct {
	w      *world
	addr   *net.TCPAddr
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func tcpAddr(addr string) (*net.TCPAddr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	ip := net.ParseIP(host)
	if err != nil || ip == nil {
		return nil, fmt.Errorf("address %q is not IP:PORT", addr)
	}
	return &net.TCPAddr{IP: ip.To4(), Port: n}, nil
}

// listenStream opens a TCP port.
func (w *world) listenStream(addr string) (*streamListener, error) {
	a, err := tcpAddr(addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l := &streamListener{w: w, addr: a, accept: make(chan net.Conn, 128), closed: make(chan struct{})}
	if w.listen[a.String()] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: a, Err: syscall.EADDRINUSE}
	}
	w.listen[a.String()] = l
	return l, nil
}

// Accept implements net.Listener.
func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *streamListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.w.mu.Lock()
		if l.w.listen[l.addr.String()] == l {
			delete(l.w.listen, l.addr.String())
		}
		l.w.mu.Unlock()
		for {
			select {
			case c := <-l.accept:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

func (l *streamListener) Addr() net.Addr { return l.addr }

// dialer gives a host's way to open streams: one round trip when somebody listens, a refusal after
// as long when nobody does, silence until the timeout when the way is cut.
func (w *world) dialer(ip string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		to, err := tcpAddr(addr)
		if err != nil {
			return nil, err
		}
		fail := func(err error) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: err}
		}
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		w.mu.Lock()
		l, open := w.path(ip, to.IP.String())
		w.mu.Unlock()
		trip := time.NewTimer(2 * l.delay)
		defer trip.Stop()
		due := trip.C
		if !open {
			due = nil
		}
		select {
		case <-due:
		case <-ctx.Done():
			return fail(ctx.Err())
		}
		w.mu.Lock()
		at := w.listen[to.String()]
		if at == nil || w.hosts[to.IP.String()].down || w.hosts[ip].down {
			w.mu.Unlock()
			return fail(syscall.ECONNREFUSED)
		}
		w.dialed++
		here, there := w.pair(&net.TCPAddr{IP: net.ParseIP(ip).To4(), Port: 20000 + w.dialed%40000}, to)
		w.mu.Unlock()
		select {
		case at.accept <- there:
			return here, nil
		case <-at.closed:
		case <-ctx.Done():
		}
		here.Close()
		there.Close()
		return fail(errors.New("nobody accepts"))
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
