package upstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/lend"
)

const canary = "sk-CANARY-0123456789"

// pipeListener is an in-memory provider: everything in it is a channel, so it lives in a bubble.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// provider starts a server in the bubble and a client of it. stop must run before the bubble ends.
func provider(t *testing.T, to Timeouts, h http.HandlerFunc) (c *Client, stop func()) {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // net/http notices a lost client only once the body is read
		r.Body = io.NopCloser(bytes.NewReader(b))
		h(w, r)
	})}
	go func() { _ = srv.Serve(l) }()
	tr := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case l.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	c, err := New(Config{BaseURL: "http://provider.test/base/", Scheme: Bearer, Timeouts: to, Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() {
		tr.CloseIdleConnections()
		_ = srv.Close()
		synctest.Wait()
	}
}

func get(path string) Call {
	return Call{Method: http.MethodPost, Path: path, Body: lend.Body{First: []byte(`{"prompt":"PROMPTCANARY"}`)}, Secret: NewValue(canary)}
}

func wantFault(t *testing.T, err error, k fault.Kind, p fault.Phase) *fault.Error {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Kind != k || f.Phase != p {
		t.Fatalf("got %v (%+v), want %s in phase %d", err, f, k, p)
	}
	if s := err.Error() + f.Text(); strings.Contains(s, "CANARY") {
		t.Fatalf("a secret or prompt leaked into %q", s)
	}
	return f
}

// TestTimeoutPerStage: F15 of coordinator.md: every stage ends at its own limit, to the millisecond.
func TestTimeoutPerStage(t *testing.T) {
	limits := Timeouts{Connect: 5 * time.Second, FirstByte: 7 * time.Second, Gap: 11 * time.Second, Total: time.Minute}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, c := range []struct {
		stage  string
		h      http.HandlerFunc
		noDial bool
		phase  fault.Phase
		after  time.Duration
	}{
		{stage: "connect", noDial: true, phase: fault.NotSent, after: limits.Connect},
		{stage: "first_byte", h: hang, phase: fault.Sent, after: limits.FirstByte},
		{stage: "gap", h: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, phase: fault.Partial, after: limits.Gap},
		{stage: "total", h: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, ": still here\n\n")
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Second)
			}
		}, phase: fault.Partial, after: limits.Total},
	} {
		t.Run(c.stage, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, stop := provider(t, limits, c.h)
				defer stop()
				if c.noDial {
					// net/http lets a dial outlive its request: the own transport's Dialer bounds it.
					client.rt = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
						time.Sleep(time.Minute)
						return nil, net.ErrClosed
					}}
				}
				start := time.Now()
				resp, err := client.Do(t.Context(), get("/x"))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
				}
				f := wantFault(t, err, fault.UpstreamTimeout, c.phase)
				if !strings.HasPrefix(f.Message, c.stage) {
					t.Errorf("message %q does not name the stage", f.Message)
				}
				if got := time.Since(start); got != c.after {
					t.Errorf("ended after %s, want %s", got, c.after)
				}
				time.Sleep(2 * time.Minute) // let the handler and the dial end
			})
		})
	}
}

// TestGapIgnoresSlowReader: backpressure from our own client must not look like a silent provider.
func TestGapIgnoresSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, stop := provider(t, Timeouts{Gap: time.Second}, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
		})
		defer stop()
		resp, err := client.Do(t.Context(), get("/x"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if n, err := io.Copy(io.Discard, resp.Body); n != 100_000 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	})
}

// TestCancelReachesProvider: peers 8 (QuantumNous/new-api #4184, litellm #17364): the client is gone
// and the provider keeps generating. Ours sees the end in no time at all.
func TestCancelReachesProvider(t *testing.T) {
	for _, how := range []string{"before the answer", "by context", "by Close"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended time.Time
				client, stop := provider(t, Timeouts{}, func(w http.ResponseWriter, r *http.Request) {
					if how != "before the answer" {
						_, _ = io.WriteString(w, "data: 1\n\n")
						w.(http.Flusher).Flush()
					}
					<-r.Context().Done()
					ended = time.Now()
				})
				defer stop()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if how == "before the answer" {
					time.AfterFunc(time.Second, cancel)
					_, err := client.Do(ctx, get("/x"))
					wantFault(t, err, fault.Canceled, fault.Sent)
				} else {
					resp, err := client.Do(ctx, get("/x"))
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
					if how == "by Close" {
						_ = resp.Body.Close()
						_ = resp.Body.Close()
					} else {
						cancel()
						_, err = io.Copy(io.Discard, resp.Body)
						wantFault(t, err, fault.Canceled, fault.Partial)
					}
				}
				at := time.Now()
				synctest.Wait()
				if !ended.Equal(at) {
					t.Errorf("provider ended at %s, want %s", ended, at)
				}
			})
		})
	}
}

func TestDeadlineIsNotCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, stop := provider(t, Timeouts{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Do(ctx, get("/x"))
		wantFault(t, err, fault.Deadline, fault.Sent)
		_, err = client.Do(ctx, get("/x"))
		wantFault(t, err, fault.Deadline, fault.NotSent)
	})
}

func TestFailurePhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, stop := provider(t, Timeouts{}, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/base/drop":
				panic(http.ErrAbortHandler)
			case "/base/cut":
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, "half")
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			case "/base/move":
				http.Redirect(w, r, "https://elsewhere.test/", http.StatusTemporaryRedirect)
			case "/base/junk":
				c, _, _ := w.(http.Hijacker).Hijack()
				_, _ = io.WriteString(c, "SSH-2.0-notHTTP\r\n\r\n")
				_ = c.Close()
			}
		})
		defer stop()
		do := func(path string) error {
			resp, err := client.Do(t.Context(), get(path))
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
			}
			return err
		}
		wantFault(t, do("/drop"), fault.UpstreamPartial, fault.Sent)
		wantFault(t, do("/cut"), fault.UpstreamPartial, fault.Partial)
		if f := wantFault(t, do("/move"), fault.UpstreamProtocol, fault.Sent); f.Status != 307 {
			t.Errorf("status %d", f.Status)
		}
		wantFault(t, do("/junk"), fault.UpstreamProtocol, fault.Sent)
	})
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip("no loopback network")
	}
	addr := l.Addr().String()
	_ = l.Close()
	c, err := New(Config{BaseURL: "http://" + addr, Scheme: XAPIKey})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Do(t.Context(), get("/x"))
	wantFault(t, err, fault.UpstreamUnreached, fault.NotSent)
}

// TestBodyLimits: F18 of coordinator.md: an error page is cut at 64 KiB, and a compressed answer may
// not blow up in memory.
func TestBodyLimits(t *testing.T) {
	bomb := func(n int) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.CopyN(z, zeros{}, int64(n))
		_ = z.Close()
		return b.Bytes()
	}
	big, small := bomb(MaxUnaryBody+1), bomb(1000)
	synctest.Test(t, func(t *testing.T) {
		client, stop := provider(t, Timeouts{}, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/base/error":
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = io.WriteString(w, strings.Repeat("e", 1<<20))
			case "/base/zerror":
				w.Header().Set("Content-Encoding", "gzip")
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = w.Write(big)
			case "/base/small":
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(small)
			case "/base/bomb":
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(big)
			case "/base/damaged":
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = io.WriteString(w, "this is not gzip")
			case "/base/br":
				w.Header().Set("Content-Encoding", "br")
				_, _ = io.WriteString(w, "opaque")
			}
		})
		defer stop()
		do := func(path string) *Response {
			t.Helper()
			resp, err := client.Do(t.Context(), get(path))
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		for _, path := range []string{"/error", "/zerror"} {
			if got := do(path).ErrorBody(); len(got) != MaxErrorBody {
				t.Errorf("%s gave %d bytes", path, len(got))
			}
		}
		resp := do("/small")
		if b, err := io.ReadAll(resp.Body); len(b) != 1000 || err != nil || resp.Header.Get("Content-Encoding") != "" || resp.Header.Get("Content-Length") != "" {
			t.Errorf("decoded %d bytes, %v, %v", len(b), err, resp.Header)
		}
		_, err := io.Copy(io.Discard, do("/bomb").Body)
		wantFault(t, err, fault.UpstreamProtocol, fault.Partial)
		_, err = io.Copy(io.Discard, do("/damaged").Body)
		wantFault(t, err, fault.UpstreamProtocol, fault.Partial)
		resp = do("/br")
		if b, _ := io.ReadAll(resp.Body); string(b) != "opaque" || resp.Header.Get("Content-Encoding") != "br" {
			t.Errorf("an unknown coding was touched: %q %v", b, resp.Header)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestWhatLeaves checks the request that the provider sees and the header that comes back.
func TestWhatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen *http.Request
		var body []byte
		client, stop := provider(t, Timeouts{}, func(w http.ResponseWriter, r *http.Request) {
			seen = r.Clone(context.Background())
			body, _ = io.ReadAll(r.Body)
			h := w.Header()
			h.Set("Connection", "X-Hop")
			h.Set("X-Hop", "1")
			h.Set("Set-Cookie", "a=b")
			h.Set("Openai-Organization", "org-of-the-operator")
			h.Set("X-Ratelimit-Limit-Requests", "5")
			h["Date"] = nil
		})
		defer stop()
		call := get("/v1/models/gemini%2Fpro:go")
		call.RawQuery = "alt=sse&key=CLIENTCANARY&%6bey=x&monkey=1&keys=2"
		call.Header = http.Header{
			"Authorization": {"Bearer CLIENT"}, "X-Api-Key": {"CLIENT"}, "x-goog-api-key": {"CLIENT"}, "Api-Key": {"CLIENT"}, "Cookie": {"c"},
			"X-Forwarded-For": {"10.0.0.1"}, "Forwarded": {"for=10.0.0.1"}, "X-Causeway-Class": {"restricted"}, "Connection": {"close"},
			"Accept-Encoding": {"br"}, "X-HTTP-Method-Override": {"DELETE"}, "X-Method-Override": {"DELETE"}, "Content-Type": {"application/json"}, "Anthropic-Beta": {"a,b"},
		}
		resp, err := client.Do(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		want := http.Header{
			"Authorization": {"Bearer " + canary}, "Accept-Encoding": {"identity"}, "Content-Type": {"application/json"},
			"Anthropic-Beta": {"a,b"}, "Content-Length": {strconv.FormatInt(call.Body.Len(), 10)},
		}
		if d := cmp.Diff(want, seen.Header); d != "" {
			t.Errorf("header at the provider (-want +got):\n%s", d)
		}
		if got, want := seen.RequestURI, "/base/v1/models/gemini%2Fpro:go?alt=sse&monkey=1&keys=2"; got != want {
			t.Errorf("URI %q, want %q", got, want)
		}
		if !bytes.Equal(body, call.Body.First) {
			t.Errorf("body %q", body)
		}
		if d := cmp.Diff(http.Header{"X-Ratelimit-Limit-Requests": {"5"}, "Content-Length": {"0"}}, resp.Header); d != "" {
			t.Errorf("header of the answer (-want +got):\n%s", d)
		}
	})
}

func TestConnectionsAreReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, stop := provider(t, Timeouts{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
		defer stop()
		for i := range 3 {
			resp, err := client.Do(t.Context(), get("/x"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if resp.Timings.Reused != (i > 0) {
				t.Errorf("call %d: reused %v", i, resp.Timings.Reused)
			}
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, u := range []string{"", "ftp://x", "https://", "https://user:CANARY@x/", "https://x/?key=CANARY", "https://x/#f", "https://x:CANARY/", "https://[CANARY"} {
		_, err := New(Config{BaseURL: u, Scheme: Bearer})
		if err == nil || strings.Contains(err.Error(), "@x") || strings.Contains(err.Error(), "key=") {
			t.Errorf("New(%q) = %v", u, err)
		}
	}
	if _, err := New(Config{BaseURL: "https://x", Scheme: "basic"}); err == nil {
		t.Error("an unknown scheme was taken")
	}
}

// FuzzQueryWithoutKey: whatever the escapes, no parameter that a server reads as key survives, and a
// query without one is not changed.
func FuzzQueryWithoutKey(f *testing.F) {
	for _, s := range []string{"", "key=a", "a=b&key=c", "%6b%65%79=1", "k%65y", "key", "keys=1", "a;key=1", "%6", "KEY=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, q string) {
		got := QueryWithoutKey(q)
		has := false
		for part := range strings.SplitSeq(q, "&") {
			name, _, _ := strings.Cut(part, "=")
			has = has || isKeyParam(name)
		}
		if !has && got != q {
			t.Fatalf("%q became %q", q, got)
		}
		r := http.Request{}
		r.URL = mustURL(got)
		if r.URL != nil && r.URL.Query().Has("key") {
			t.Fatalf("%q keeps a key: %q", q, got)
		}
	})
}

func BenchmarkDo(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Skip("no loopback network")
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	c, err := New(Config{BaseURL: "http://" + l.Addr().String(), Scheme: Bearer})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		resp, err := c.Do(b.Context(), get("/x"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
	}
}
