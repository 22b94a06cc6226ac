//go:build !race

package edge

import (
	"testing"

	"github.com/causeway-mesh/causeway/mesh/tunnel"
)

// The edge's own part of a request stays within its budget of allocations (node/DESIGN.md). It is
// counted, not timed, so that it holds on any machine; the race detector empties pools at random.
func TestPipelineAllocations(t *testing.T) {
	const budget = 55 // 45 on 2026-11-22, of which 4 are the test's own
	s := benchEdge(t, &canned{reply: tunnel.Reply{Status: 200, Header: []tunnel.Field{{Name: "Content-Type", Value: "application/json"}}}, chunks: [][]byte{[]byte(cannedJSON)}})
	for _, text := range []string{"hello", string(make100K())} {
		body := []byte(`{"model":"bench","messages":[{"role":"user","content":"` + text + `"}]}`)
		h := benchHeader()
		if n := testing.AllocsPerRun(100, func() {
			if w := exchangeOnce(s, body, h); w.status != 200 {
				t.Fatal(w.status)
			}
		}); n > budget {
			t.Errorf("a request of %d bytes takes %.0f allocations, the budget is %d", len(body), n, budget)
		}
	}
}

// What one exchange leaves to the next must never show there.
func TestExchangesShareNothing(t *testing.T) {
	long := &canned{reply: tunnel.Reply{Status: 200, Header: []tunnel.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "X-First", Value: "1"}}}, chunks: [][]byte{[]byte(cannedJSON), []byte("           ")}}
	s := benchEdge(t, long)
	body := []byte(`{"model":"bench","messages":[]}`)
	first := exchangeOnce(s, body, benchHeader())
	long.reply.Header, long.chunks = long.reply.Header[:1], long.chunks[:1]
	second := exchangeOnce(s, body, benchHeader())
	if first.status != 200 || second.status != 200 || second.bytes != len(cannedJSON) || second.header.Get("X-First") != "" {
		t.Errorf("the second answer is %d bytes with %v", second.bytes, second.header)
	}
	if a, b := first.header.Get("X-Causeway-Request-Id"), second.header.Get("X-Causeway-Request-Id"); a == b {
		t.Error("two requests with one id")
	}
	refused := exchangeOnce(s, []byte(`{"model":"other","messages":[]}`), benchHeader())
	if refused.status != 404 || refused.header.Get("X-Causeway-Route") != "" {
		t.Errorf("%d with route %q", refused.status, refused.header.Get("X-Causeway-Route"))
	}
}

func make100K() []byte {
	b := make([]byte, 100_000)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return b
}

// A Connection field costs memory only where it names other fields.
func TestForwardedHeadersAllocateOnce(t *testing.T) {
	h := benchHeader()
	fields := testing.AllocsPerRun(100, func() { forwardedHeaders(h, true) })
	h.Set("Connection", "keep-alive")
	if n := testing.AllocsPerRun(100, func() { forwardedHeaders(h, true) }); n != fields || n > 1 {
		t.Errorf("%.0f allocations, %.0f without Connection, want 1", n, fields)
	}
}
