package obs

import (
	"flag"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/coordinator"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/mesh/gossip"
	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/probe"
	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/fault"
)

var update = flag.Bool("update", false, "rewrite testdata/metrics.txt")

// everything is a process in which each metric has a value: two edges that are exits too, and a
// coordinator, as in dev.
func everything(t *testing.T) *Registry {
	t.Helper()
	r, err := NewRegistry("test")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"edge-a", "edge-b"} {
		node := r.Node(name, "us-west")
		m, err := NewRequests(node)
		if err != nil {
			t.Fatal(err)
		}
		o := served()
		o.QuotaRemaining, o.QuotaLimit, o.QuotaModel, o.Keepalives, o.Start = 5, 10, "gpt-4", 1, time.Now()
		m.Record(o)
		m.Record(&edge.Outcome{Method: "POST", Endpoint: "unknown", Status: 404, Fault: fault.New(fault.NotFound, ""), QuotaRemaining: -1})
		if err := NewNode(node, fullSources()); err != nil {
			t.Fatal(err)
		}
	}
	if err := NewLocator(r.Process(), func() []geo.DatabaseStats {
		return []geo.DatabaseStats{{Name: "city", Path: "/x.mmdb", Built: time.Unix(1000, 0), Reloads: 2, Failures: 1}, {Name: "embedded", Built: time.Unix(500, 0)}}
	}); err != nil {
		t.Fatal(err)
	}
	if err := NewCoordinator(r.Coordinator("c0"), func() coordinator.Stats {
		s := coordinator.Stats{Leader: true, Term: 3, Index: 40, Commit: 41, Contact: -1}
		s.Disk.FreeBytes = 1 << 30
		return s
	}); err != nil {
		t.Fatal(err)
	}
	return r
}

func fullSources() Sources {
	return Sources{
		View:   func() (View, bool) { return View{Index: 7, Confirmed: time.Now(), Exits: 2}, true },
		Region: func(string) string { return "eu-central" },
		Members: func() []gossip.Member {
			return []gossip.Member{{Alive: true}, {Alive: true, Record: gossip.Record{Draining: true}}, {}}
		},
		Checks:       func() []Check { return []Check{{"view", true}, {"exits", false}} },
		Certificates: func() []Certificate { return []Certificate{{"mesh", time.Unix(2000, 0)}} },
		Inflight:     func() int64 { return 4 },
		Pool: func() tunnel.PoolStats {
			return tunnel.PoolStats{Dials: 5, DialErrors: 2, Peers: []tunnel.PeerStats{
				{Node: "exit-de", Connections: 2, Usable: 1, Inflight: 3, RTT: 20 * time.Millisecond, Jitter: time.Millisecond, PacketsSent: 100, PacketsLost: 3},
			}}
		},
		Targets: func() []TargetState {
			return []TargetState{{"exit-de", "openai", probe.Healthy}, {"exit-de", "openai", probe.Open}, {"exit-de", "openai", probe.Open}}
		},
		Audit: func() audit.Stats { return audit.Stats{Records: 9, Syncs: 4, SyncErrors: 1, DiskUsed: 830} },
		Server: func() tunnel.ServerStats {
			return tunnel.ServerStats{Inflight: 1, Requests: 20, Refused: 2, Connections: 3}
		},
		Providers: func() []ProviderHealth {
			return []ProviderHealth{{"openai", probe.ProviderSnapshot{TTFT: time.Second, TTFTKnown: true, ErrorRate: .25, State: probe.HalfOpen}}}
		},
	}
}

func TestMetricsPassPromlint(t *testing.T) {
	problems, err := testutil.GatherAndLint(everything(t).r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Metric, "go_") && !strings.HasPrefix(p.Metric, "process_") { // the library's own
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// fixedNames are those that the field knows; all others name their package.
var fixedNames = []string{"api_requests_total", "api_request_duration_seconds", "model_quota_remaining", "geo_db_build_timestamp_seconds", "geo_db_reload_total"}

var ownName = regexp.MustCompile(`^causeway_(build|view|node|gossip|edge|mesh|tunnel|exit|audit|raft|coordinator)_[a-z_]+$`)

// allowedLabels is closed: a label that a client can fill without end has no place here. user_id is the
// one key id, by the name that dashboards of other gateways read.
var allowedLabels = []string{
	"node", "region", "coordinator", "version", "go", "method", "endpoint", "status", "dialect", "model", "user_id", "provider", "exit_region", "result",
	"reason", "type", "code", "check", "certificate", "state", "exit", "peer", "peer_region", "db",
}

// TestMetricsList keeps testdata/metrics.txt, the list that dashboards are written from.
func TestMetricsList(t *testing.T) {
	families, err := everything(t).r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		name := f.GetName()
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		if !slices.Contains(fixedNames, name) && !ownName.MatchString(name) {
			t.Errorf("%s is not named after its package", name)
		}
		labels := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
				if !slices.Contains(allowedLabels, l.GetName()) {
					t.Errorf("%s has the label %s", name, l.GetName())
				}
			}
		}
		b.WriteString(strings.Join([]string{name, strings.ToLower(f.GetType().String()), strings.Join(slices.Sorted(maps.Keys(labels)), ","), f.GetHelp()}, " | ") + "\n")
	}
	golden := filepath.Join("testdata", "metrics.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("the list has changed (go test ./node/obs -run MetricsList -update):\n%s", d)
	}
}

var metricWord = regexp.MustCompile(`\b(?:causeway_|api_request|model_quota_|geo_db_)[a-z0-9_]*\b`)

// Every metric that a dashboard or an alert asks for exists.
func TestDeployedMetricsExist(t *testing.T) {
	families, err := everything(t).r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range families {
		have[f.GetName()] = true
		if f.GetType().String() == "HISTOGRAM" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				have[f.GetName()+suffix] = true
			}
		}
	}
	read := 0
	err = filepath.WalkDir(filepath.Join("..", "..", "deploy"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".json", ".yml", ".yaml", ".rules", ".tmpl"}, filepath.Ext(path)) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "expr") {
			return err
		}
		read++
		for _, w := range metricWord.FindAllString(string(text), -1) {
			if !have[w] && !strings.Contains(string(text), "record: "+w) {
				t.Errorf("%s asks for %s, which no node has", path, w)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read == 0 {
		t.Skip("deploy holds no dashboards or rules")
	}
}

func value(t *testing.T, r *Registry, series string) float64 {
	t.Helper()
	v, ok := lookup(t, r, series)
	if !ok {
		t.Errorf("no series %s", series)
	}
	return v
}

// lookup finds name{label="value",…} by a scrape, as a dashboard does.
func lookup(t *testing.T, r *Registry, series string) (float64, bool) {
	t.Helper()
	name, rest, _ := strings.Cut(series, "{")
	want := strings.FieldsFunc(strings.TrimSuffix(rest, "}"), func(r rune) bool { return r == ',' })
	families, err := r.r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]bool{}
			for _, l := range m.GetLabel() {
				have[l.GetName()+"="+l.GetValue()] = true
			}
			if slices.ContainsFunc(want, func(w string) bool { return !have[w] }) {
				continue
			}
			switch {
			case m.GetCounter() != nil:
				return m.GetCounter().GetValue(), true
			case m.GetGauge() != nil:
				return m.GetGauge().GetValue(), true
			case m.GetHistogram() != nil:
				return float64(m.GetHistogram().GetSampleCount()), true
			}
		}
	}
	return 0, false
}

func TestFigures(t *testing.T) {
	r := everything(t)
	for series, want := range map[string]float64{
		"api_requests_total{node=edge-a,method=POST,endpoint=/v1/chat/completions,status=200,dialect=openai-chat,model=gpt-4}": 1,
		"api_requests_total{endpoint=unknown,status=404,model=}":                                                               1,
		"api_request_duration_seconds{method=POST,endpoint=/v1/chat/completions}":                                              1,
		"model_quota_remaining{model=gpt-4,user_id=app}":                                                                       10, // no time left to wait: whole again
		"causeway_edge_attempts_total{provider=openai-eu,result=upstream_overload}":                                            1,
		"causeway_edge_attempts_total{provider=openai-us,result=ok}":                                                           1,
		"causeway_edge_failovers_total{reason=upstream_overload}":                                                              1,
		"causeway_edge_tokens_total{type=output}":                                                                              20,
		"causeway_edge_cost_usd_total{provider=openai-us}":                                                                     0.000122,
		"causeway_edge_refusals_total{code=not_found}":                                                                         1,
		"causeway_edge_keepalives_total{node=edge-b}":                                                                          1,
		"causeway_edge_inflight_requests{node=edge-a}":                                                                         4,
		"causeway_edge_targets{exit=exit-de,provider=openai,state=open}":                                                       2,
		"causeway_edge_targets{exit=exit-de,provider=openai,state=cooling}":                                                    0,
		"causeway_mesh_rtt_seconds{node=edge-a,peer=exit-de,peer_region=eu-central}":                                           .02,
		"causeway_mesh_peer_up{peer=exit-de}":                                                                                  1,
		"causeway_mesh_packets_lost_total{peer=exit-de}":                                                                       3,
		"causeway_tunnel_dials_total{result=ok}":                                                                               3,
		"causeway_tunnel_server_refused_total{node=edge-a}":                                                                    2,
		"causeway_gossip_members{state=draining}":                                                                              1,
		"causeway_gossip_members{state=gone}":                                                                                  1,
		"causeway_view_index{node=edge-a}":                                                                                     7,
		"causeway_node_check{check=exits}":                                                                                     0,
		"causeway_node_certificate_expiry_timestamp_seconds{certificate=mesh}":                                                 2000,
		"causeway_exit_provider_state{provider=openai,state=half-open}":                                                        1,
		"causeway_exit_provider_state{provider=openai,state=healthy}":                                                          0,
		"causeway_exit_provider_error_ratio{provider=openai}":                                                                  .25,
		"causeway_audit_syncs_total{result=ok}":                                                                                3,
		"causeway_audit_disk_used_ratio{node=edge-a}":                                                                          .83,
		"causeway_raft_leader{coordinator=c0}":                                                                                 1,
		"causeway_raft_last_contact_seconds{coordinator=c0}":                                                                   0,
		"geo_db_build_timestamp_seconds{db=embedded}":                                                                          500,
		"geo_db_reload_total{db=city,result=refused}":                                                                          1,
	} {
		if got := value(t, r, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
}

// Metrics of a role that a node does not have are absent, not zero.
func TestAbsentRoles(t *testing.T) {
	r, err := NewRegistry("test")
	if err != nil {
		t.Fatal(err)
	}
	if err := NewNode(r.Node("exit-a", "us-west"), Sources{View: func() (View, bool) { return View{}, false }}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"causeway_view_index", "causeway_edge_inflight_requests", "causeway_mesh_rtt_seconds", "causeway_audit_full", "causeway_tunnel_server_connections"} {
		if v, ok := lookup(t, r, name); ok {
			t.Errorf("%s is %v", name, v)
		}
	}
	follower, err := NewRegistry("test")
	if err != nil {
		t.Fatal(err)
	}
	if err := NewCoordinator(follower.Coordinator("c1"), func() coordinator.Stats { return coordinator.Stats{Contact: -1} }); err != nil {
		t.Fatal(err)
	}
	if v, ok := lookup(t, follower, "causeway_raft_last_contact_seconds"); ok {
		t.Errorf("a leader was heard %v s ago that never was", v)
	}
}

// A connection that ends takes its packet counts along; the counters go on from where they were.
func TestPacketCountersNeverFall(t *testing.T) {
	r, err := NewRegistry("test")
	if err != nil {
		t.Fatal(err)
	}
	var st tunnel.PeerStats
	if err := NewNode(r.Node("edge-a", "us-west"), Sources{Pool: func() tunnel.PoolStats { return tunnel.PoolStats{Peers: []tunnel.PeerStats{st}} }}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sent, lost, wantSent, wantLost uint64
		why                            string
	}{
		{100, 5, 100, 5, "first look"},
		{150, 6, 150, 6, "more of the same"},
		{40, 0, 150, 6, "a connection ended, another goes on"},
		{60, 2, 170, 8, "which sends more"},
	} {
		st = tunnel.PeerStats{Node: identity.NodeID("exit-a"), PacketsSent: c.sent, PacketsLost: c.lost}
		if got := value(t, r, "causeway_mesh_packets_sent_total{peer=exit-a}"); got != float64(c.wantSent) {
			t.Errorf("%s: %v sent, want %d", c.why, got, c.wantSent)
		}
		// The second scrape sees the same sums and adds nothing.
		if got := value(t, r, "causeway_mesh_packets_lost_total{peer=exit-a}"); got != float64(c.wantLost) {
			t.Errorf("%s: %v lost, want %d", c.why, got, c.wantLost)
		}
	}
}

// A key that used its tokens up and then rests is not out of quota for ever.
func TestQuotaGaugeRecovers(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	q := newQuotas()
	start := time.Unix(1_000_000, 0)
	now := start
	q.now = func() time.Time { return now }
	r.MustRegister(q)
	q.set(&edge.Outcome{Key: "app", QuotaModel: "gpt-4", QuotaRemaining: 0, QuotaLimit: 1000, QuotaReset: 40 * time.Second, Start: start})
	for _, c := range []struct {
		after time.Duration
		want  string
		why   string
	}{
		{0, "0", "used up"},
		{39 * time.Second, "0", "the window still holds it"},
		{40 * time.Second, "1000", "the window has passed"},
		{16 * time.Minute, "1000", "the last time that it is shown"},
		{17 * time.Minute, "", "forgotten"},
	} {
		now = start.Add(c.after)
		want := ""
		if c.want != "" {
			want = "# HELP model_quota_remaining Tokens left this minute in this edge's share of the tightest limit; user_id is the key's id.\n" +
				"# TYPE model_quota_remaining gauge\nmodel_quota_remaining{model=\"gpt-4\",user_id=\"app\"} " + c.want + "\n"
		}
		if err := testutil.GatherAndCompare(r, strings.NewReader(want), "model_quota_remaining"); err != nil {
			t.Errorf("after %s (%s): %v", c.after, c.why, err)
		}
	}
}

// The labels of the seed's metrics keep to closed sets, whatever clients send.
func TestLabelsStayFew(t *testing.T) {
	r, err := NewRegistry("test")
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewRequests(r.Node("edge-a", "us-west"))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"BREW", "GET\x00", "get", "PROPFIND"} {
		m.Record(&edge.Outcome{Method: verb, Endpoint: "unknown", Status: 405, QuotaRemaining: -1})
	}
	if got := value(t, r, "api_requests_total{method=other}"); got != 4 {
		t.Errorf("%v requests with other methods, want 4", got)
	}
}

func TestScrape(t *testing.T) {
	w := httptest.NewRecorder()
	everything(t).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	for _, want := range []string{`causeway_build_info{go="go`, `api_requests_total{dialect="openai-chat",endpoint="/v1/chat/completions",method="POST",model="gpt-4",node="edge-a",region="us-west",status="200"} 1`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in the scrape", want)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	b.ReportAllocs()
	m, err := NewRequests(prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	o := served()
	for b.Loop() {
		m.Record(o)
	}
}
