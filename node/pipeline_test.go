package node_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/node/exit"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/fake"
)

// rig is an edge with its exits in one process, without a network between them: what the pipeline
// does, apart from how bytes travel.
type rig struct {
	t        *testing.T
	view     *api.NodeView
	holder   *view.Holder
	edge     *edge.Server
	exits    map[string]*exit.Exit
	server   *httptest.Server
	upstream *httptest.Server
	audit    *memoryAudit
	outcomes *outcomes
	places   map[netip.Addr]geo.Country
	broken   map[string]bool // exits that cannot be reached
	sent     atomic.Value    // the last body that a provider got
}

const rigKey = "cw_test_0123456789abcdef0123456789"

func hashed(pepper []byte, secret string) []byte {
	m := hmac.New(sha256.New, pepper)
	m.Write([]byte(secret))
	return m.Sum(nil)
}

func newRig(t *testing.T, change func(v *api.NodeView)) *rig {
	t.Helper()
	r := &rig{t: t, exits: map[string]*exit.Exit{}, audit: &memoryAudit{}, outcomes: &outcomes{}, places: map[netip.Addr]geo.Country{}, broken: map[string]bool{}}
	vendor := fake.New(fake.Options{Country: "US", Log: zerolog.Nop()})
	r.upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.sent.Store(string(body))
		q.Body = io.NopCloser(bytes.NewReader(body))
		vendor.ServeHTTP(w, q)
	}))
	t.Cleanup(r.upstream.Close)
	pepper := []byte("pepper")
	secrets := []state.Secret{{ID: "a", Value: "provider-secret-a", Weight: 1}}
	provider := func(id, base string, dialects ...string) state.Provider {
		return state.Provider{ID: id, Dialects: dialects, BaseURL: base, Auth: state.Auth{Scheme: "bearer", Secrets: secrets}, Processing: []string{"US"}, Storage: []string{"US"}}
	}
	v := &api.NodeView{
		Index: 1, Mesh: "test", Node: "edge-1", Edges: 1, ConfirmedAt: time.Now(), Pepper: pepper,
		Regions: []state.Region{{ID: "cn-east", Country: "CN"}, {ID: "us-west", Country: "US"}, {ID: "eu-central", Country: "DE"}},
		Tenants: []state.Tenant{{ID: "acme", Home: "US"}},
		Keys:    []state.Key{{ID: "app", Tenant: "acme", Hash: hashed(pepper, rigKey)}},
		Providers: []state.Provider{
			provider("openai", r.upstream.URL+"/v1", "openai-chat", "openai-responses"),
			provider("anthropic", r.upstream.URL, "anthropic-messages"),
			provider("gemini", r.upstream.URL, "gemini"),
		},
		Nodes: []state.Node{
			{ID: "edge-1", Region: "cn-east", Roles: []string{"edge"}, Addr: "e:1", State: "active"},
			{ID: "exit-us", Region: "us-west", Roles: []string{"exit"}, Addr: "x:1", State: "active"},
			{ID: "exit-de", Region: "eu-central", Roles: []string{"exit"}, Addr: "y:1", State: "active"},
		},
	}
	for _, m := range append(fake.Models(), "fake-midstream", "fake-hang") {
		v.Models = append(v.Models, state.Model{ID: m, Targets: []state.Target{{Provider: "openai", Model: m}, {Provider: "anthropic", Model: m}, {Provider: "gemini", Model: m}}})
	}
	if change != nil {
		change(v)
	}
	r.view = v
	r.holder = view.NewHolder("", zerolog.Nop())
	r.apply()
	for _, n := range v.Nodes {
		if n.Roles[0] != "exit" {
			continue
		}
		ev := *v
		ev.Node = n.ID
		h := view.NewHolder("", zerolog.Nop())
		if err := h.Apply(&ev); err != nil {
			t.Fatal(err)
		}
		r.exits[n.ID] = exit.New(exit.Config{View: h, Observe: func(time.Time, exit.Sample) {}, Log: zerolog.Nop()})
	}
	r.serve(1 << 20)
	return r
}

// serve starts the edge with a limit of bodies, in place of the one before.
func (r *rig) serve(maxBody int64) {
	r.edge = edge.New(edge.Config{
		Node: "edge-1", Region: "cn-east", View: r.holder, Locate: r, Paths: r, Forward: r, Audit: r.audit, Recorder: r.outcomes,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, MaxBody: maxBody, LoopbackAtHome: true, Log: zerolog.Nop(),
	})
	r.server = httptest.NewServer(r.edge)
	r.t.Cleanup(r.server.Close)
}

func (r *rig) apply() {
	r.t.Helper()
	if err := r.holder.Apply(r.view); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) Locate(a netip.Addr) geo.Place      { return geo.Place{Country: r.places[a]} }
func (r *rig) Fill(_ time.Time, c *geo.Candidate) { c.RTT, c.RTTKnown = time.Millisecond, true }
func (r *rig) Forward(ctx context.Context, to view.Exit, req tunnel.Request, body edge.Body) (edge.Answer, error) {
	if r.broken[to.ID] {
		return nil, unreachable()
	}
	sent := body.Edited()
	a, err := r.exits[to.ID].CallIn(ctx, &req, sent)
	sent.Drop()
	if err != nil {
		return nil, err
	}
	return a, nil
}

type memoryAudit struct {
	mu       sync.Mutex
	intents  []audit.Intent
	outcomes []audit.Outcome
	fail     error
}

func (m *memoryAudit) Intent(_ context.Context, in audit.Intent) (audit.Ref, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return audit.Ref{}, m.fail
	}
	m.intents = append(m.intents, in)
	return audit.Ref{}, nil
}

func (m *memoryAudit) Outcome(_ audit.Ref, o audit.Outcome) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcomes = append(m.outcomes, o)
	return nil
}

type outcomes struct {
	mu   sync.Mutex
	list []edge.Outcome
}

func (o *outcomes) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.list)
}

func (o *outcomes) Record(x *edge.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, *x)
}

func (r *rig) last() edge.Outcome {
	r.outcomes.mu.Lock()
	defer r.outcomes.mu.Unlock()
	return r.outcomes.list[len(r.outcomes.list)-1]
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (r *rig) post(path, body string, header ...string) answer {
	r.t.Helper()
	return r.do(http.MethodPost, path, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

// do sends any request; header pairs follow the body. It returns when the edge has its records.
func (r *rig) do(method, path, body string, header ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.server.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+rigKey)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	before := r.outcomes.count()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); r.outcomes.count() == before && time.Now().Before(until); {
		time.Sleep(time.Millisecond) // a client has its answer before the edge has its records
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}
