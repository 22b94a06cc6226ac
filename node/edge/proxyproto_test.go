package edge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// v2 makes a version 2 header.
func v2(command, family byte, body []byte) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(append(b, body...))
}

func v2addr(src, dst string, ports ...uint16) []byte {
	b := append(netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()...)
	for _, p := range ports {
		b = binary.BigEndian.AppendUint16(b, p)
	}
	return b
}

const request = "POST /v1/messages HTTP/1.1\r\n"

func TestProxyHeader(t *testing.T) {
	four, six := v2addr("203.0.113.7", "10.0.0.1", 40000, 443), v2addr("2001:db8::7", "2001:db8::1", 40000, 443)
	for _, c := range []struct {
		in, want string
		bad      bool
		why      string
	}{
		{request, "", false, "none: P of POST"},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", false, "none: HTTP/2 with prior knowledge"},
		{"GET / HTTP/1.1\r\n", "", false, "none"},
		{"\r\n\r\nGET / HTTP/1.1\r\n", "", false, "none: empty lines before the request line"},
		{"\x16\x03\x01\x02\x00", "", false, "none: TLS"},
		{"PROXY TCP4 203.0.113.7 10.0.0.1 40000 443\r\n" + request, "203.0.113.7:40000", false, "version 1"},
		{"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n" + request, "[2001:db8::7]:40000", false, "version 1, IPv6"},
		{"PROXY TCP6 ::ffff:203.0.113.7 ::1 40000 443\r\n" + request, "203.0.113.7:40000", false, "IPv4 in IPv6"},
		{"PROXY UNKNOWN\r\n" + request, "", false, "the proxy does not know"},
		{"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n" + request, "", false, "and what it adds counts for nothing"},
		{"PROXY TCP4 2001:db8::7 10.0.0.1 40000 443\r\n" + request, "", true, "family and address differ"},
		{"PROXY TCP6 203.0.113.7 10.0.0.1 40000 443\r\n" + request, "", true, "family and address differ"},
		{"PROXY TCP6 fe80::1%eth0 ::1 40000 443\r\n" + request, "", true, "a zone is the sender's own"},
		{"PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n" + request, "", true, "no port"},
		{"PROXY TCP4 203.0.113.7 10.0.0.1 -1 443\r\n" + request, "", true, "no port"},
		{"PROXY TCP4 203.0.113.07 10.0.0.1 40000 443\r\n" + request, "", true, "no address"},
		{"PROXY TCP4  203.0.113.7 10.0.0.1 40000 443\r\n" + request, "", true, "two spaces"},
		{"PROXY UDP4 203.0.113.7 10.0.0.1 40000 443\r\n" + request, "", true, "no such family"},
		{"PROXY TCP4 203.0.113.7 10.0.0.1 40000 443\n" + request, "", true, "bare LF"},
		{"PROXY TCP4 203.0.113.7 10.0.0.1 40000 443" + strings.Repeat(" ", 100) + "\r\n", "", true, "longer than 107 bytes"},
		{"PROXY " + strings.Repeat("x", 5000), "", true, "no end in sight"},
		{v2(1, 0x11, four) + request, "203.0.113.7:40000", false, "version 2"},
		{v2(1, 0x21, six) + request, "[2001:db8::7]:40000", false, "version 2, IPv6"},
		{v2(1, 0x11, append(four, 3, 0, 4, 1, 2, 3, 4)) + request, "203.0.113.7:40000", false, "with an extension (TLV)"},
		{v2(0, 0x11, four) + request, "", false, "LOCAL: a health check of the proxy"},
		{v2(1, 0x00, nil) + request, "", false, "UNSPEC"},
		{v2(1, 0x31, make([]byte, 216)) + request, "", false, "a UNIX socket has no address of ours"},
		{v2(1, 0x11, four[:8]), "", false, "too short for its family: no address"},
		{v2(2, 0x11, four) + request, "", true, "an unknown command must be refused"},
		{strings.Replace(v2(1, 0x11, four), "\x21\x11", "\x11\x11", 1), "", true, "an unknown version"},
		{v2(1, 0x11, make([]byte, 4000)), "", true, "too long"},
		{v2(1, 0x11, four)[:20], "", true, "cut off"},
	} {
		r := bufio.NewReaderSize(strings.NewReader(c.in), 4096)
		addr, err := readProxyHeader(r)
		got := ""
		if addr.IsValid() {
			got = addr.String()
		}
		if (err != nil) != c.bad || got != c.want {
			t.Errorf("%q (%s): %q, %v; want %q", c.in, c.why, got, err, c.want)
			continue
		}
		if !c.bad && strings.HasSuffix(c.in, request) {
			if rest, err := io.ReadAll(r); err != nil || string(rest) != request {
				t.Errorf("%q (%s): what follows is %q, %v", c.in, c.why, rest, err)
			}
		}
	}
}

// What is no header is passed on whole; what is one never names anything but a plain address.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte(request))
	f.Add([]byte("PROXY TCP4 203.0.113.7 10.0.0.1 40000 443\r\n" + request))
	f.Add([]byte(v2(1, 0x21, v2addr("2001:db8::7", "2001:db8::1", 1, 2)) + request))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(in), 4096)
		addr, err := readProxyHeader(r)
		rest, rerr := io.ReadAll(r)
		if rerr != nil {
			t.Fatal(rerr)
		}
		header := bytes.HasPrefix(in, []byte("PROXY ")) || len(in) >= 16 && bytes.HasPrefix(in, proxyV2)
		switch {
		case !header && (addr.IsValid() || len(in) > 0 && err != nil || !bytes.Equal(rest, in)):
			t.Errorf("no header, but %v, %v and %q left of %q", addr, err, rest, in)
		case err != nil && addr.IsValid():
			t.Errorf("both %v and %v", addr, err)
		case addr.Addr().Zone() != "":
			t.Errorf("zone in %v", addr)
		case !bytes.HasSuffix(in, rest):
			t.Errorf("bytes were changed: %q", rest)
		}
	})
}

// oneConn is a listener with a single connection.
type oneConn struct{ c net.Conn }

func (l *oneConn) Accept() (net.Conn, error) {
	if l.c == nil {
		return nil, net.ErrClosed
	}
	c := l.c
	l.c = nil
	return c, nil
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// from is a connection that seems to come from an address.
type from struct {
	net.Conn
	addr string
}

func (c from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.addr)) }

func accept(t *testing.T, peer string, trusted ...string) (conn net.Conn, client net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	l := &proxyListener{Listener: &oneConn{from{a, peer}}}
	for _, p := range trusted {
		l.trusted = append(l.trusted, netip.MustParsePrefix(p))
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c, b
}

func TestProxyHeaderOnlyFromTrustedPeers(t *testing.T) {
	const header = "PROXY TCP4 203.0.113.7 10.0.0.1 40000 443\r\n"
	for _, c := range []struct {
		peer, wantAddr, wantRead string
		trusted                  []string
		why                      string
	}{
		{"10.0.0.9:1000", "203.0.113.7:40000", request, []string{"10.0.0.0/8"}, "trusted"},
		{"[::ffff:10.0.0.9]:1000", "203.0.113.7:40000", request, []string{"10.0.0.0/8"}, "trusted, seen through a dual-stack socket"},
		{"198.51.100.1:1000", "198.51.100.1:1000", header + request, []string{"10.0.0.0/8"}, "a stranger's bytes are its own"},
		{"10.0.0.9:1000", "10.0.0.9:1000", header + request, nil, "nobody is trusted"},
	} {
		conn, client := accept(t, c.peer, c.trusted...)
		go func() { _, _ = client.Write([]byte(header + request)); client.Close() }()
		if got := conn.RemoteAddr().String(); got != c.wantAddr {
			t.Errorf("%s (%s): from %s, want %s", c.peer, c.why, got, c.wantAddr)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != c.wantRead {
			t.Errorf("%s (%s): read %q, %v", c.peer, c.why, got, err)
		}
	}
}

// A trusted peer that sends nothing is cut off after a while and holds nobody else up until then:
// Accept has long returned.
func TestProxyHeaderTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := accept(t, "10.0.0.9:1000", "10.0.0.0/8")
		start := time.Now()
		_, err := conn.Read(make([]byte, 1))
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() || time.Since(start) != proxyHeaderTimeout {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// A malformed header ends the connection: its bytes never reach the HTTP server.
func TestMalformedProxyHeaderEndsTheConnection(t *testing.T) {
	conn, client := accept(t, "10.0.0.9:1000", "10.0.0.0/8")
	go func() { _, _ = client.Write([]byte("PROXY TCP4 nonsense\r\n" + request)) }()
	if got := conn.RemoteAddr().String(); got != "10.0.0.9:1000" {
		t.Errorf("from %s", got)
	}
	if n, err := conn.Read(make([]byte, 100)); n != 0 || !errors.Is(err, errBadProxy) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
