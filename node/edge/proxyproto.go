package edge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// proxyListener believes a PROXY protocol header (HAProxy, versions 1 and 2) from trusted peers
// only. From anybody else the bytes are the client's own and mean nothing.
type proxyListener struct {
	net.Listener
	trusted []netip.Prefix
}

// Accept gives the next connection. A header is read later, with the connection's first read, so a
// peer that sends none holds nobody up.
func (l *proxyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		for _, p := range l.trusted {
			if p.Contains(ap.Addr().Unmap()) {
				return &proxyConn{Conn: c}, nil
			}
		}
	}
	return c, nil
}

type proxyConn struct {
	net.Conn
	once   sync.Once
	r      *bufio.Reader
	remote net.Addr
	err    error
}

const proxyHeaderTimeout = 5 * time.Second

func (c *proxyConn) start() {
	c.once.Do(func() {
		c.r = bufio.NewReaderSize(c.Conn, 4096)
		_ = c.Conn.SetReadDeadline(time.Now().Add(proxyHeaderTimeout))
		addr, err := readProxyHeader(c.r)
		_ = c.Conn.SetReadDeadline(time.Time{})
		if c.err = err; err == nil && addr.IsValid() {
			c.remote = net.TCPAddrFromAddrPort(addr)
		}
	})
}

// Read reads past the header.
func (c *proxyConn) Read(p []byte) (int, error) {
	if c.start(); c.err != nil {
		return 0, c.err
	}
	return c.r.Read(p)
}

// RemoteAddr is the client that the header names.
func (c *proxyConn) RemoteAddr() net.Addr {
	if c.start(); c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

var (
	proxyV2     = []byte("\r\n\r\n\x00\r\nQUIT\n")
	errBadProxy = errors.New("malformed PROXY protocol header")
)

// readProxyHeader reads a header when there is one; without one it consumes nothing. Format:
// haproxy.org, proxy-protocol.txt, sections 2.1 and 2.2.
func readProxyHeader(r *bufio.Reader) (netip.AddrPort, error) {
	first, err := r.Peek(1)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch first[0] {
	case 'P':
		if head, err := r.Peek(6); err != nil || string(head) != "PROXY " {
			return netip.AddrPort{}, nil // POST, PUT, PATCH
		}
		return readProxyV1(r)
	case '\r':
		head, err := r.Peek(16)
		if err != nil || !bytes.HasPrefix(head, proxyV2) {
			return netip.AddrPort{}, nil
		}
		return readProxyV2(r, head)
	}
	return netip.AddrPort{}, nil
}

const (
	maxProxyV1 = 107  // bytes of a line, its end included
	maxProxyV2 = 2048 // bytes after the first 16, extensions included
)

func readProxyV1(r *bufio.Reader) (netip.AddrPort, error) {
	line, err := r.ReadSlice('\n')
	if err != nil || len(line) > maxProxyV1 || !bytes.HasSuffix(line, []byte("\r\n")) {
		return netip.AddrPort{}, errBadProxy
	}
	f := strings.Split(string(line[:len(line)-2]), " ")
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return netip.AddrPort{}, errBadProxy
	}
	addr, err := netip.ParseAddr(f[2])
	if err != nil || addr.Is4() != (f[1] == "TCP4") || addr.Zone() != "" {
		return netip.AddrPort{}, errBadProxy
	}
	port, err := strconv.ParseUint(f[4], 10, 16)
	if err != nil {
		return netip.AddrPort{}, errBadProxy
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}

func readProxyV2(r *bufio.Reader, head []byte) (netip.AddrPort, error) {
	command, family, size := head[12], head[13], int(binary.BigEndian.Uint16(head[14:]))
	if command>>4 != 2 || command&0xf > 1 || size > maxProxyV2 { // an unknown command must be refused (2.2)
		return netip.AddrPort{}, errBadProxy
	}
	body := make([]byte, 16+size)
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY protocol header: %w", err)
	}
	body = body[16:]
	if command&0xf == 0 { // LOCAL: the proxy speaks for itself
		return netip.AddrPort{}, nil
	}
	switch {
	case family>>4 == 1 && size >= 12:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[:4])), binary.BigEndian.Uint16(body[8:])), nil
	case family>>4 == 2 && size >= 36:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[:16])).Unmap(), binary.BigEndian.Uint16(body[32:])), nil
	}
	return netip.AddrPort{}, nil
}

// stdLogger sends net/http's own complaints (broken handshakes, mostly) to our log at debug.
func stdLogger(l zerolog.Logger) *log.Logger {
	return log.New(debugWriter{l}, "", 0)
}

type debugWriter struct{ log zerolog.Logger }

// Write logs one line.
func (w debugWriter) Write(p []byte) (int, error) {
	w.log.Debug().Str("source", "net/http").Msg(string(bytes.TrimSpace(p)))
	return len(p), nil
}
