package tunnel

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

// The memory of a held stream, both ends together in one process: no buffer is held while nothing moves. The
// bar is 65 KB an end for a whole request with its HTTP parts; the tunnel may take a fraction of it.
func TestHeldStreamMemory(t *testing.T) {
	const streams = 2000
	ca := newTestCA(t)
	release := make(chan struct{})
	x := startExit(t, ca.node(t, "exit-1", identity.RoleExit), udp(t), ServerConfig{Handler: HandlerFunc(func(ctx context.Context, x *Exchange) {
		_, _ = io.Copy(io.Discard, x.Body)
		_ = x.WriteReply(Reply{Status: 200})
		_, _ = x.Write([]byte("data: {}\n\n"))
		select {
		case <-release:
		case <-ctx.Done():
		}
		_ = x.Finish(Trailer{})
	})})
	e := startEdge(t, ca.node(t, "edge-1", identity.RoleEdge), udp(t), PoolConfig{})
	defer x.stop()
	defer e.stop()
	body := make([]byte, 400)
	open := func() *Stream {
		s, err := e.pool.Open(t.Context(), x.target, smallRequest(body), bytes.NewReader(body))
		must(t, err)
		if _, err := s.NextChunk(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	inUse := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	first := open()
	before := inUse()
	for range streams {
		s := open()
		go func() { // as the edge's handler would: waiting for the next chunk
			for {
				if _, err := s.NextChunk(); err != nil {
					return
				}
			}
		}()
	}
	time.Sleep(100 * time.Millisecond)
	per := (inUse() - before) / streams
	t.Logf("%d bytes a held stream, both ends", per)
	if per > 32<<10 {
		t.Errorf("%d bytes a held stream, both ends: want <= 32 KiB", per)
	}
	close(release)
	_, err := io.Copy(io.Discard, first)
	must(t, err)
}
