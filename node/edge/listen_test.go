package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/rs/zerolog"
)

// running is a listener on loopback, with or without TLS.
type running struct {
	*Listener
	addr  string
	roots *x509.CertPool
	cert  *Certificate
	done  chan error
}

// listen serves h. A minimum of 0 means no TLS.
func listen(t *testing.T, h http.Handler, minimum uint16, change func(*ListenConfig)) *running {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{addr: tcp.Addr().String(), done: make(chan error, 1)}
	cfg := ListenConfig{TCP: tcp, Log: zerolog.Nop()}
	if minimum != 0 {
		udp, err := net.ListenPacket("udp", r.addr)
		if err != nil {
			t.Skipf("the UDP port of the same number is taken: %v", err)
		}
		t.Cleanup(func() { udp.Close() })
		r.cert, r.roots = selfSigned(t, t.TempDir())
		cfg.UDP, cfg.TLS = udp, r.cert.TLS(minimum)
	}
	if change != nil {
		change(&cfg)
	}
	r.Listener = NewListener(h, cfg)
	go func() { r.done <- r.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-r.done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return r
}

func selfSigned(t *testing.T, dir string) (*Certificate, *x509.CertPool) {
	t.Helper()
	c, err := SelfSigned(dir, []string{"edge.example"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c.current.Load().Leaf)
	return c, pool
}

// proto tells the client how it was heard.
var proto = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fmt.Fprintf(w, "%s %s %d", r.Proto, r.RemoteAddr, len(body))
})

func get(t *testing.T, rt http.RoundTripper, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func protocols(set func(*http.Protocols)) *http.Protocols {
	p := new(http.Protocols)
	set(p)
	return p
}

func TestPlainListenerSpeaksHTTP1AndH2C(t *testing.T) {
	r := listen(t, proto, 0, nil)
	for want, p := range map[string]*http.Protocols{
		"HTTP/1.1": protocols(func(p *http.Protocols) { p.SetHTTP1(true) }),
		"HTTP/2.0": protocols(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }),
	} {
		tr := &http.Transport{Protocols: p}
		resp, body := get(t, tr, "http://"+r.addr+"/")
		if !strings.HasPrefix(body, want+" 127.0.0.1:") || !strings.HasSuffix(body, " 5") {
			t.Errorf("%s: %s", want, body)
		}
		if v := resp.Header.Get("Alt-Svc"); v != "" {
			t.Errorf("%s: plain text advertises %q", want, v)
		}
		tr.CloseIdleConnections()
	}
}

func TestTLSListenerSpeaksEveryHTTP(t *testing.T) {
	r := listen(t, proto, tls.VersionTLS13, nil)
	conf := &tls.Config{RootCAs: r.roots}
	_, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		t.Fatal(err)
	}
	h3 := &http3.Transport{TLSClientConfig: conf.Clone()}
	defer h3.Close()
	for want, rt := range map[string]http.RoundTripper{
		"HTTP/1.1": &http.Transport{TLSClientConfig: conf.Clone(), Protocols: protocols(func(p *http.Protocols) { p.SetHTTP1(true) })},
		"HTTP/2.0": &http.Transport{TLSClientConfig: conf.Clone(), Protocols: protocols(func(p *http.Protocols) { p.SetHTTP2(true) })},
		"HTTP/3.0": h3,
	} {
		resp, body := get(t, rt, "https://"+r.addr+"/")
		if !strings.HasPrefix(body, want+" 127.0.0.1:") || !strings.HasSuffix(body, " 5") {
			t.Errorf("%s: %s", want, body)
		}
		if resp.TLS == nil || resp.TLS.Version != tls.VersionTLS13 {
			t.Errorf("%s: TLS %+v", want, resp.TLS)
		}
		alt := resp.Header.Get("Alt-Svc")
		if tcp := want != "HTTP/3.0"; tcp != strings.Contains(alt, `h3=":`+port+`"`) {
			t.Errorf("%s: Alt-Svc %q", want, alt)
		}
		if tr, ok := rt.(*http.Transport); ok {
			tr.CloseIdleConnections()
		}
	}
}

// Old TLS is refused unless the operator asks for it, and 1.1 even then.
func TestTLSMinimum(t *testing.T) {
	for _, c := range []struct {
		minimum, client uint16
		ok              bool
	}{
		{tls.VersionTLS13, tls.VersionTLS13, true},
		{tls.VersionTLS13, tls.VersionTLS12, false},
		{tls.VersionTLS12, tls.VersionTLS12, true},
		{tls.VersionTLS12, tls.VersionTLS11, false},
	} {
		r := listen(t, proto, c.minimum, nil)
		conn, err := tls.Dial("tcp", r.addr, &tls.Config{RootCAs: r.roots, MinVersion: tls.VersionTLS10, MaxVersion: c.client})
		if (err == nil) != c.ok {
			t.Errorf("minimum %s, client %s: %v", tls.VersionName(c.minimum), tls.VersionName(c.client), err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// The second connection of a client skips the certificates: one round trip and less work.
func TestTLSResumption(t *testing.T) {
	r := listen(t, proto, tls.VersionTLS13, nil)
	cache := tls.NewLRUClientSessionCache(4)
	for i, want := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.roots, ClientSessionCache: cache}, ForceAttemptHTTP2: true}
		resp, _ := get(t, tr, "https://"+r.addr+"/")
		if resp.TLS.DidResume != want {
			t.Errorf("connection %d: resumed %v", i+1, resp.TLS.DidResume)
		}
		tr.CloseIdleConnections()
	}
}

// A load balancer in front passes TLS through and names the client.
func TestProxyProtocolBeforeTLS(t *testing.T) {
	r := listen(t, proto, tls.VersionTLS13, func(c *ListenConfig) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.roots}, ForceAttemptHTTP2: true}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			_, err = io.WriteString(c, v2(1, 0x11, v2addr("203.0.113.7", "10.0.0.1", 40000, 443)))
		}
		return c, err
	}
	if _, body := get(t, tr, "https://"+r.addr+"/"); body != "HTTP/2.0 203.0.113.7:40000 5" {
		t.Errorf("heard %q", body)
	}
	tr.CloseIdleConnections()
}

// A header bomb is answered, once, and never reaches the pipeline.
func TestHeaderBomb(t *testing.T) {
	r := listen(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") }), 0, func(c *ListenConfig) { c.MaxHeader = 8 << 10 })
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n")
		for range 64 {
			if _, err := io.WriteString(conn, "X-Bomb: "+strings.Repeat("b", 1000)+"\r\n"); err != nil {
				return // the server has had enough
			}
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d, want 431", resp.StatusCode)
	}
}

// Shutdown lets running requests end, over every protocol, and takes no new ones.
func TestShutdownDrains(t *testing.T) {
	started, release := make(chan struct{}, 3), make(chan struct{})
	r := listen(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, "first ")
		_ = http.NewResponseController(w).Flush()
		started <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "last")
	}), tls.VersionTLS13, nil)
	conf := &tls.Config{RootCAs: r.roots}
	h3 := &http3.Transport{TLSClientConfig: conf.Clone()}
	defer h3.Close()
	clients := []http.RoundTripper{
		&http.Transport{TLSClientConfig: conf.Clone(), Protocols: protocols(func(p *http.Protocols) { p.SetHTTP1(true) })},
		&http.Transport{TLSClientConfig: conf.Clone(), Protocols: protocols(func(p *http.Protocols) { p.SetHTTP2(true) })},
		h3,
	}
	bodies := make(chan string, len(clients))
	for _, rt := range clients {
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.addr+"/", nil)
			if err != nil {
				bodies <- err.Error()
				return
			}
			resp, err := rt.RoundTrip(req)
			if err != nil {
				bodies <- err.Error()
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			bodies <- fmt.Sprint(string(b), " ", err)
		}()
	}
	for range clients {
		<-started
	}
	stopped := make(chan error, 1)
	go func() { stopped <- r.Shutdown(t.Context()) }()
	for { // the port closes first
		c, err := net.DialTimeout("tcp", r.addr, time.Second)
		if err != nil {
			break
		}
		c.Close()
	}
	select {
	case err := <-stopped:
		t.Fatalf("shutdown returned with requests running: %v", err)
	default:
	}
	close(release)
	for range clients {
		if got := <-bodies; got != "first last <nil>" {
			t.Errorf("a client read %q", got)
		}
	}
	if err := <-stopped; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func TestShutdownGivesUpOnTime(t *testing.T) {
	entered := make(chan struct{})
	r := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		close(entered)
		<-req.Context().Done() // closing the connection ends it
	}), 0, nil)
	go func() {
		if resp, err := http.Get("http://" + r.addr + "/"); err == nil {
			resp.Body.Close()
			t.Error("a request that was cut off looks whole")
		}
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func TestSelfSignedIsKept(t *testing.T) {
	dir := t.TempDir()
	first, _ := selfSigned(t, dir)
	again, _ := selfSigned(t, dir)
	a, b := first.current.Load().Leaf, again.current.Load().Leaf
	if !a.Equal(b) {
		t.Error("a restart made another certificate: its fingerprint would change")
	}
	for _, name := range []string{"edge.example", "localhost", "127.0.0.1", "::1"} {
		if err := a.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	fi, err := os.Stat(filepath.Join(dir, "client-api.key"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("key file %v, %v", fi.Mode(), err)
	}
	if first.NotAfter() != a.NotAfter {
		t.Errorf("NotAfter %s, want %s", first.NotAfter(), a.NotAfter)
	}
}

// Replaced files serve within one look; a pair that does not fit changes nothing.
func TestCertificateReload(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	write := func(cert, key string, now time.Time) {
		t.Helper()
		if err := writeSelfSigned(cert, key, nil, now); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write(certFile, keyFile, time.Now())
		var log strings.Builder
		c, err := LoadCertificate(certFile, keyFile, zerolog.New(&log))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		serving := func() *x509.Certificate {
			t.Helper()
			got, err := c.TLS(tls.VersionTLS13).GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return got.Leaf
		}
		first := serving()

		write(certFile, filepath.Join(dir, "other.pem"), time.Now()) // the key has not arrived yet
		time.Sleep(certPoll + time.Second)
		if !serving().Equal(first) {
			t.Error("a certificate without its key serves")
		}
		write(certFile, keyFile, time.Now().AddDate(1, 0, 0))
		time.Sleep(certPoll)
		second := serving()
		if second.Equal(first) {
			t.Error("the new pair does not serve")
		}
		if err := os.Remove(certFile); err != nil {
			t.Fatal(err)
		}
		time.Sleep(certPoll)
		if !serving().Equal(second) {
			t.Error("a deleted file took the certificate away")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, want := range []string{"not reloaded; the former one stays in use", "client certificate reloaded"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %q in the log: %s", want, log.String())
			}
		}
		if strings.Contains(log.String(), "PRIVATE KEY") {
			t.Error("the log holds a key")
		}
	})
	if _, err := LoadCertificate(filepath.Join(dir, "absent.pem"), keyFile, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "absent.pem") {
		t.Errorf("error %v does not name the file", err)
	}
}
