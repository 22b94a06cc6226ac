package tunnel

import (
	"context"
	"io"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/path"
)

// floorPair is the comparison: bare quic-go on the same endpoint settings, one new stream per request, no
// frames, no pools, no deadlines.
func floorPair(b *testing.B, serve func(*quic.Stream)) *quic.Conn {
	b.Helper()
	ca := newTestCA(b)
	pc := udp(b)
	ep, err := path.New(path.Config{Conn: pc, Identity: ca.node(b, "exit-1", identity.RoleExit), Log: testLog(), Protocols: []path.Protocol{{
		ALPN: "floor", Handle: func(ctx context.Context, c *quic.Conn, _ identity.Peer) {
			for {
				str, err := c.AcceptStream(ctx)
				if err != nil {
					return
				}
				go serve(str)
			}
		},
	}}})
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ep.Run(ctx) }()
	cl, err := path.New(path.Config{Conn: udp(b), Identity: ca.node(b, "edge-1", identity.RoleEdge), Log: testLog()})
	must(b, err)
	b.Cleanup(func() { _ = cl.Close(); cancel(); <-done })
	q, _, err := cl.Dial(b.Context(), pc.LocalAddr().String(), "floor", "")
	must(b, err)
	return q
}

func floorTrip(q *quic.Conn, body, buf []byte) error {
	str, err := q.OpenStream()
	if err != nil {
		return err
	}
	if _, err := str.Write(body); err != nil {
		return err
	}
	if err := str.Close(); err != nil {
		return err
	}
	for {
		if _, err := str.Read(buf); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

func floorUnary(str *quic.Stream) {
	_, _ = io.Copy(io.Discard, str)
	_, _ = str.Write(make([]byte, 500))
	_ = str.Close()
}

func BenchmarkFloorUnary(b *testing.B)     { benchFloor(b, 600) }
func BenchmarkFloorUnary100K(b *testing.B) { benchFloor(b, 100<<10) }

func benchFloor(b *testing.B, size int) {
	q := floorPair(b, floorUnary)
	body, buf := make([]byte, size), make([]byte, 32<<10)
	b.ReportAllocs()
	from := cpuTime()
	for b.Loop() {
		must(b, floorTrip(q, body, buf))
	}
	reportCPU(b, from)
}

func BenchmarkFloorUnary64(b *testing.B) {
	q := floorPair(b, floorUnary)
	body := make([]byte, 600)
	b.ReportAllocs()
	b.SetParallelism(32)
	from := cpuTime()
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]byte, 32<<10)
		for pb.Next() {
			if err := floorTrip(q, body, buf); err != nil {
				b.Error(err)
			}
		}
	})
	reportCPU(b, from)
}

func BenchmarkFloorStream200(b *testing.B) {
	chunk := make([]byte, 150)
	q := floorPair(b, func(str *quic.Stream) {
		_, _ = io.Copy(io.Discard, str)
		for range 200 {
			_, _ = str.Write(chunk)
		}
		_ = str.Close()
	})
	body, buf := make([]byte, 600), make([]byte, 32<<10)
	b.ReportAllocs()
	from := cpuTime()
	for b.Loop() {
		must(b, floorTrip(q, body, buf))
	}
	reportCPU(b, from)
}
