package load

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-mesh/causeway/bench/floor"
)

func server(t *testing.T, h http.Handler) Target {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return Target{URL: s.URL, Model: "bench"}
}

func client(t *testing.T, to Target, s Shape) *Client {
	t.Helper()
	c := NewClient(to, s)
	t.Cleanup(c.Close)
	return c
}

func TestBodyIsJSONOfItsLength(t *testing.T) {
	for _, n := range []int{10, 400, 100_000} {
		for _, stream := range []bool{false, true} {
			b := body(`odd"model`, Shape{Bytes: n, Stream: stream, Chunks: 5, Gap: time.Millisecond})
			if !json.Valid(b) {
				t.Fatalf("%d: not JSON: %.80s", n, b)
			}
			if n >= 400 && len(b) != n {
				t.Errorf("%d: %d bytes", n, len(b))
			}
		}
	}
}

func TestClosedAndSequential(t *testing.T) {
	to := server(t, floor.NewMock())
	c := client(t, to, Shape{Bytes: 400})
	if r := Sequential(t.Context(), c, 20); len(r.Latencies) != 20 || r.Errors != 0 {
		t.Errorf("sequential: %d good, %d bad: %v", len(r.Latencies), r.Errors, r.FirstErr)
	}
	if r := Closed(t.Context(), c, 4, 50*time.Millisecond); len(r.Latencies) < 4 || r.Errors != 0 || r.Rate() <= 0 {
		t.Errorf("closed: %d good, %d bad: %v", len(r.Latencies), r.Errors, r.FirstErr)
	}
}

func TestErrorsAreCounted(t *testing.T) {
	to := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no quota", http.StatusTooManyRequests) }))
	r := Sequential(t.Context(), client(t, to, Shape{Bytes: 400}), 3)
	if r.Errors != 3 || len(r.Latencies) != 0 || !strings.Contains(r.FirstErr.Error(), "429: no quota") {
		t.Errorf("%d bad, %d good, first %v", r.Errors, len(r.Latencies), r.FirstErr)
	}
}

// transport answers after the delay that its script says, in bubble time.
type transport struct {
	n     atomic.Int64
	delay func(i int64) time.Duration
}

func (f *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(f.delay(f.n.Add(1) - 1))
	return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
}

// A stall of one second must count for every request that was due during it, not for one only.
func TestOpenLoopCountsTheStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &transport{delay: func(i int64) time.Duration {
			if i == 100 {
				return time.Second
			}
			return time.Millisecond
		}}
		c := NewClient(Target{URL: "http://x"}, Shape{})
		c.http.Transport = f
		r := Open(context.Background(), c, 100, 1, 3*time.Second)
		slow := 0
		for _, d := range r.Latencies {
			if d > 100*time.Millisecond {
				slow++
			}
		}
		// Due at 1 s; the queue of 100 behind it drains at 9 ms a request: about 100 exceed 100 ms.
		if len(r.Latencies) != 300 || slow < 90 || slow > 110 {
			t.Errorf("%d requests, %d slow; a closed loop would have seen 1", len(r.Latencies), slow)
		}
	})
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &transport{delay: func(int64) time.Duration { return 5 * time.Millisecond }}
		c := NewClient(Target{URL: "http://x"}, Shape{})
		c.http.Transport = f
		r := Open(context.Background(), c, 1000, 64, time.Second)
		for _, d := range r.Latencies {
			if d != 5*time.Millisecond {
				t.Fatalf("latency %v, want 5ms", d)
			}
		}
		if len(r.Latencies) != 1000 {
			t.Errorf("%d requests", len(r.Latencies))
		}
	})
}

func TestStreamsMeasureEveryChunk(t *testing.T) {
	to := server(t, floor.NewMock())
	c := client(t, to, Shape{Bytes: 400, Stream: true, Chunks: 10, Gap: time.Millisecond})
	r := Streams(t.Context(), c, 6, 3)
	if r.Errors != 0 || r.Streams != 6 || r.Chunks != 60 || len(r.First) != 6 || len(r.OneWay) != 54 {
		t.Fatalf("%+v", r)
	}
	for _, d := range r.OneWay {
		if d < 0 {
			t.Errorf("a chunk arrived %v before it was sent", -d)
		}
	}
}

func TestTruncatedStreamIsAnError(t *testing.T) {
	to := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("data: {}\n\n")) }))
	r := Streams(t.Context(), client(t, to, Shape{Stream: true}), 1, 1)
	if r.Errors != 1 || r.Streams != 0 {
		t.Errorf("%+v", r)
	}
}

func TestHeldHoldsAllAtOnce(t *testing.T) {
	var open, peak atomic.Int64
	mock := floor.NewMock()
	to := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peak.Store(max(peak.Load(), open.Add(1)))
		defer open.Add(-1)
		mock.ServeHTTP(w, r)
	}))
	c := client(t, to, Shape{Bytes: 400, Stream: true, Chunks: 100000, Gap: time.Hour})
	measured := int64(0)
	r := Held(t.Context(), c, 20, 0, func() { measured = open.Load() })
	if measured != 20 || r.Errors != 0 || len(r.First) != 20 {
		t.Errorf("%d open when measured, %+v", measured, r)
	}
}

// A provider that answers at once must not lose a stream behind the bare proxy (the server closes a
// request's body at the first response byte; see floor.NewGoProxy).
func TestGoProxyKeepsFastStreams(t *testing.T) {
	mock := server(t, floor.NewMock())
	h, err := floor.NewGoProxy(mock.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, server(t, h), Shape{Bytes: 400, Stream: true, Chunks: 3, Gap: time.Millisecond})
	if r := Streams(t.Context(), c, 3000, 16); r.Errors != 0 {
		t.Errorf("%d of 3000 streams lost: %v", r.Errors, r.FirstErr)
	}
}
