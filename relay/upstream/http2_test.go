package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// TestHTTP2 runs the own transport against a real TLS server: HTTP/2 is negotiated, calls share one
// connection, and a cancelled call ends the provider's stream but not the connection.
func TestHTTP2(t *testing.T) {
	ended := make(chan struct{}, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		if r.URL.Path == "/hold" {
			<-r.Context().Done()
			ended <- struct{}{}
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	c, err := New(Config{BaseURL: srv.URL, Scheme: XGoog, TLS: &tls.Config{RootCAs: roots}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, path := range []string{"/hold", "/go"} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		call := get(path)
		call.Stream = true
		resp, err := c.Do(ctx, call)
		if err != nil {
			t.Fatal(err)
		}
		if p := resp.Header.Get("X-Proto"); p != "HTTP/2.0" {
			t.Errorf("spoke %s", p)
		}
		if resp.Timings.Reused != (i > 0) {
			t.Errorf("call %d: reused %v", i, resp.Timings.Reused)
		}
		if path == "/hold" {
			cancel()
			_, err = io.Copy(io.Discard, resp.Body)
			wantFault(t, err, fault.Canceled, fault.Partial)
			<-ended
			continue
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "data: 1\n\n" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
	}
}
