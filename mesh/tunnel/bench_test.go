package tunnel

import (
	"bytes"
	"context"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

func udpPair(b *testing.B, h HandlerFunc) (*edge, *exit) {
	b.Helper()
	ca := newTestCA(b)
	x := startExit(b, ca.node(b, "exit-1", identity.RoleExit), udp(b), ServerConfig{Handler: h})
	e := startEdge(b, ca.node(b, "edge-1", identity.RoleEdge), udp(b), PoolConfig{})
	b.Cleanup(func() { e.stop(); x.stop() })
	e.pool.Warm([]Target{x.target})
	return e, x
}

func cpuTime() time.Duration {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func reportCPU(b *testing.B, from time.Duration) {
	b.ReportMetric(float64((cpuTime()-from).Microseconds())/float64(b.N), "cpu-us/op")
}

func roundTrip(ctx context.Context, p *Pool, t Target, req Request, body []byte) error {
	s, err := p.Open(ctx, t, req, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if _, err := s.Reply(); err != nil {
		return err
	}
	for {
		if _, err := s.NextChunk(); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// BenchmarkUnary is one small request and answer over loopback UDP, one after another.
func BenchmarkUnary(b *testing.B)     { benchUnary(b, 400) }
func BenchmarkUnary100K(b *testing.B) { benchUnary(b, 100<<10) }

func benchUnary(b *testing.B, size int) {
	e, x := udpPair(b, answer420)
	body := make([]byte, size)
	req := smallRequest(body)
	must(b, roundTrip(b.Context(), e.pool, x.target, req, body))
	b.ReportAllocs()
	from := cpuTime()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		must(b, roundTrip(ctx, e.pool, x.target, req, body))
		cancel()
	}
	reportCPU(b, from)
}

func answer420(_ context.Context, x *Exchange) {
	if _, err := io.Copy(io.Discard, x.Body); err != nil {
		return
	}
	_ = x.Respond(Reply{Status: 200, Header: []Field{{"Content-Type", "application/json"}, {"X-Request-Id", "req_123456789"}}},
		make([]byte, 420), Trailer{Complete: true, HasUsage: true, Usage: Usage{Input: 100, Output: 20}, Processing: "US"})
}

// BenchmarkUnary64 is the same by 64 clients at once.
func BenchmarkUnary64(b *testing.B) {
	e, x := udpPair(b, answer420)
	body := make([]byte, 400)
	req := smallRequest(body)
	must(b, roundTrip(b.Context(), e.pool, x.target, req, body))
	b.ReportAllocs()
	b.SetParallelism(32)
	from := cpuTime()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			if err := roundTrip(ctx, e.pool, x.target, req, body); err != nil {
				b.Error(err)
			}
			cancel()
		}
	})
	reportCPU(b, from)
}

// BenchmarkStream200 is an answer of 200 chunks of 150 bytes, each flushed; one op is the whole stream.
func BenchmarkStream200(b *testing.B) {
	chunk := make([]byte, 150)
	e, x := udpPair(b, func(_ context.Context, x *Exchange) {
		_, _ = io.Copy(io.Discard, x.Body)
		_ = x.WriteReply(Reply{Status: 200, Header: []Field{{"Content-Type", "text/event-stream"}}})
		for range 200 {
			if _, err := x.Write(chunk); err != nil {
				return
			}
		}
		_ = x.Finish(Trailer{Complete: true})
	})
	body := make([]byte, 400)
	req := smallRequest(body)
	must(b, roundTrip(b.Context(), e.pool, x.target, req, body))
	b.ReportAllocs()
	from := cpuTime()
	for b.Loop() {
		must(b, roundTrip(b.Context(), e.pool, x.target, req, body))
	}
	reportCPU(b, from)
}
