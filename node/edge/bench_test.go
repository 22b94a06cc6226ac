package edge

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/node/view"
)

// still is a world in which nothing happens: no places, no samples, no records kept.
type still struct{}

func (still) Locate(netip.Addr) geo.Place            { return geo.Place{} }
func (still) Fill(time.Time, *geo.Candidate)         {}
func (still) Record(*Outcome)                        {}
func (still) Outcome(audit.Ref, audit.Outcome) error { return nil }
func (still) Intent(context.Context, audit.Intent) (audit.Ref, error) {
	return audit.Ref{}, nil
}

// canned answers every attempt with the same chunks.
type canned struct {
	reply  tunnel.Reply
	chunks [][]byte
}

func (c *canned) Forward(context.Context, view.Exit, tunnel.Request, Body) (Answer, error) {
	return &cannedAnswer{canned: c}, nil
}

type cannedAnswer struct {
	*canned
	next int
}

func (a *cannedAnswer) Reply() tunnel.Reply { return a.reply }
func (a *cannedAnswer) Next() ([]byte, error) {
	if a.next == len(a.chunks) {
		return nil, io.EOF
	}
	a.next++
	return a.chunks[a.next-1], nil
}

func (a *cannedAnswer) Trailer() (tunnel.Trailer, bool) {
	return tunnel.Trailer{Complete: true, HasUsage: true, Usage: tunnel.Usage{Input: 100, Output: 16}}, true
}
func (a *cannedAnswer) Close() {}

// sink is a connection that takes everything.
type sink struct {
	header http.Header
	status int
	bytes  int
}

func (s *sink) Header() http.Header              { return s.header }
func (s *sink) WriteHeader(status int)           { s.status = status }
func (s *sink) Write(p []byte) (int, error)      { s.bytes += len(p); return len(p), nil }
func (s *sink) Flush()                           {}
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

const benchKey = "cw_bench_0123456789abcdef0123456789"

func benchEdge(tb testing.TB, forward Forwarder) *Server {
	tb.Helper()
	pepper := []byte("pepper")
	m := hmac.New(sha256.New, pepper)
	m.Write([]byte(benchKey))
	h := view.NewHolder("", zerolog.Nop())
	err := h.Apply(&api.NodeView{
		Index: 1, Mesh: "bench", Node: "edge", Edges: 1, ConfirmedAt: time.Now(), Pepper: pepper,
		Regions: []state.Region{{ID: "us-west", Country: "US"}, {ID: "eu-central", Country: "DE"}},
		Tenants: []state.Tenant{{ID: "bench", Home: "US"}},
		Keys:    []state.Key{{ID: "bench", Tenant: "bench", Hash: m.Sum(nil)}},
		Limits: []state.Limit{
			{Tenant: "bench", RPM: 1 << 40, TPM: 1 << 40, Concurrency: 1 << 30},
			{Tenant: "bench", Key: "bench", Model: "bench", RPM: 1 << 40, TPM: 1 << 40, Concurrency: 1 << 30},
		},
		Providers: []state.Provider{{ID: "openai", Dialects: []string{"openai-chat"}, BaseURL: "http://127.0.0.1:1/v1", Auth: state.Auth{Scheme: "bearer"}, Processing: []string{"US"}, Storage: []string{"US"}}},
		Models:    []state.Model{{ID: "bench", Targets: []state.Target{{Provider: "openai", Model: "bench"}}, Price: state.Price{Input: "1", Output: "2"}}},
		Nodes: []state.Node{
			{ID: "edge", Region: "us-west", Roles: []string{"edge"}, Addr: "e:1", State: "active"},
			{ID: "exit-us", Region: "us-west", Roles: []string{"exit"}, Addr: "x:1", State: "active"},
			{ID: "exit-de", Region: "eu-central", Roles: []string{"exit"}, Addr: "y:1", State: "active"},
		},
		Policy: state.Policy{Default: "allow", Rules: []state.Rule{
			{ID: "us", When: state.When{Home: []string{"US"}}, Allow: []string{"US", "EU"}},
			{ID: "eu", When: state.When{Home: []string{"EU"}}, Allow: []string{"EU"}},
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return New(Config{
		Node: "edge", Region: "us-west", View: h, Locate: still{}, Paths: still{}, Forward: forward, Audit: still{}, Recorder: still{},
		LoopbackAtHome: true, Log: zerolog.Nop(),
	})
}

const cannedJSON = `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":16,"total_tokens":116}}`

// exchangeOnce is one request to a server without a network, and what it wrote.
func exchangeOnce(s *Server, body []byte, header http.Header) *sink {
	w := &sink{header: make(http.Header, 8)}
	s.ServeHTTP(w, &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: "/v1/chat/completions"}, Header: header, Body: io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)), RemoteAddr: "127.0.0.1:1234", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	})
	return w
}

func benchHeader() http.Header {
	return http.Header{"Authorization": {"Bearer " + benchKey}, "Content-Type": {"application/json"}, "User-Agent": {"bench"}}
}

// BenchmarkPipeline is everything that an edge does for a request besides the network, the audit log
// and the records: what it costs in time and garbage. Budgets stand in node/DESIGN.md.
func BenchmarkPipeline(b *testing.B) {
	unary := &canned{reply: tunnel.Reply{Status: 200, Header: []tunnel.Field{{Name: "Content-Type", Value: "application/json"}}}, chunks: [][]byte{[]byte(cannedJSON)}}
	const event = `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"token"},"finish_reason":null}]}` + "\n\n"
	stream := &canned{reply: tunnel.Reply{Status: 200, Header: []tunnel.Field{{Name: "Content-Type", Value: "text/event-stream"}}}}
	for range 200 {
		stream.chunks = append(stream.chunks, []byte(event))
	}
	stream.chunks = append(stream.chunks, []byte("data: [DONE]\n\n"))
	for _, bb := range []struct {
		name   string
		size   int
		stream bool
	}{{"unary/400", 400, false}, {"unary/100k", 100_000, false}, {"stream/200", 400, true}} {
		b.Run(bb.name, func(b *testing.B) {
			var s *Server
			if bb.stream {
				s = benchEdge(b, stream)
			} else {
				s = benchEdge(b, unary)
			}
			head := `{"model":"bench","stream":` + strconv.FormatBool(bb.stream) + `,"messages":[{"role":"user","content":"`
			body := []byte(head + strings.Repeat("the quick brown fox jumps over the lazy dog ", (bb.size-len(head))/44) + `"}]}`)
			h := benchHeader()
			b.ReportAllocs()
			for b.Loop() {
				if w := exchangeOnce(s, body, h); w.status != 200 {
					b.Fatal(w.status, w.bytes)
				}
			}
		})
	}
}
