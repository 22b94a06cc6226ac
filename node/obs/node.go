package obs

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/mesh/gossip"
	"github.com/causeway-mesh/causeway/mesh/probe"
	"github.com/causeway-mesh/causeway/mesh/tunnel"
)

// Sources are where a node's figures come from, read at each scrape from any goroutine. A nil one
// belongs to a role that the node does not have; its metrics are absent.
type Sources struct {
	View         func() (View, bool) // false before the first view
	Region       func(node string) string
	Members      func() []gossip.Member
	Checks       func() []Check
	Certificates func() []Certificate

	// an edge's
	Inflight func() int64
	Pool     func() tunnel.PoolStats
	Targets  func() []TargetState
	Audit    func() audit.Stats

	// an exit's
	Server    func() tunnel.ServerStats
	Providers func() []ProviderHealth
}

// View is a node's picture of the mesh: which one, and when a coordinator last vouched for it.
type View struct {
	Index     uint64
	Confirmed time.Time
	Exits     int
}

// Check is one of the node's readiness checks. Its names are a closed set.
type Check struct {
	Name string
	OK   bool
}

// Certificate is one of the node's certificates: "mesh" or "client".
type Certificate struct {
	Name     string
	NotAfter time.Time
}

// TargetState is how an edge sees one upstream model of a provider at an exit.
type TargetState struct {
	Exit, Provider string
	State          probe.State
}

// ProviderHealth is how an exit sees one of its providers.
type ProviderHealth struct {
	Provider string
	probe.ProviderSnapshot
}

// states are the values of the label state, those of probe.State.
var states = [...]probe.State{probe.Healthy, probe.HalfOpen, probe.Open, probe.Cooling}

// NewNode registers the metrics of one node.
func NewNode(r Registerer, s Sources) error {
	return r.Register(&nodeCollector{src: s, now: time.Now, last: map[string]packets{}})
}

// nodeCollector reads the sources when it is asked, so that nothing is counted twice and an idle node
// does nothing for its metrics.
type nodeCollector struct {
	src Sources
	now func() time.Time

	mu   sync.Mutex
	last map[string]packets // by peer
}

// packets turns sums over the connections that happen to be open into counters: when a connection
// goes, its sum goes with it, and a counter must not fall.
type packets struct{ sent, lost, sentTotal, lostTotal uint64 }

func (p packets) next(sent, lost uint64) packets {
	if sent >= p.sent {
		p.sentTotal += sent - p.sent
	}
	if lost >= p.lost {
		p.lostTotal += lost - p.lost
	}
	p.sent, p.lost = sent, lost
	return p
}

var (
	viewIndex    = gauge("causeway_view_index", "Raft index of the view that this node works from.")
	viewAge      = gauge("causeway_view_age_seconds", "Time since a coordinator last vouched for the view.")
	viewExits    = gauge("causeway_view_exits", "Exits in the view, revoked ones left out.")
	nodeCheck    = gauge("causeway_node_check", "1 when the readiness check passes.", "check")
	nodeCert     = gauge("causeway_node_certificate_expiry_timestamp_seconds", "When the certificate runs out: of the mesh identity, and of the client API.", "certificate")
	gossipCount  = gauge("causeway_gossip_members", "Nodes by what gossip says of them, this one included.", "state")
	edgeInflight = gauge("causeway_edge_inflight_requests", "Requests of clients being served.")
	edgeTargets  = gauge("causeway_edge_targets", "Upstream models that this edge has tried, by exit, provider and circuit state.", "exit", "provider", "state")

	meshUp     = gauge("causeway_mesh_peer_up", "1 when new requests can go to the exit.", "peer", "peer_region")
	meshRTT    = gauge("causeway_mesh_rtt_seconds", "Smoothed round trip to the exit.", "peer", "peer_region")
	meshJitter = gauge("causeway_mesh_jitter_seconds", "Mean deviation of the round trip.", "peer", "peer_region")
	meshSent   = counter("causeway_mesh_packets_sent_total", "Packets sent to the exit.", "peer", "peer_region")
	meshLost   = counter("causeway_mesh_packets_lost_total", "Packets declared lost on the way to the exit.", "peer", "peer_region")
	poolConns  = gauge("causeway_tunnel_connections", "Connections to the exit.", "peer", "peer_region")
	poolBusy   = gauge("causeway_tunnel_inflight_requests", "Requests in progress at the exit.", "peer", "peer_region")
	poolDials  = counter("causeway_tunnel_dials_total", "Attempts to connect to exits, by result.", "result")

	serverConns    = gauge("causeway_tunnel_server_connections", "Connections of edges to this exit.")
	serverInflight = gauge("causeway_tunnel_server_inflight_requests", "Requests of edges in progress.")
	serverRequests = counter("causeway_tunnel_server_requests_total", "Requests taken from edges.")
	serverRefused  = counter("causeway_tunnel_server_refused_total", "Requests refused because of drain or load.")

	exitTTFT  = gauge("causeway_exit_provider_ttft_seconds", "Smoothed time to the provider's first byte.", "provider")
	exitError = gauge("causeway_exit_provider_error_ratio", "Share of recent calls that failed by the provider's fault.", "provider")
	exitState = gauge("causeway_exit_provider_state", "1 for the state that the provider is in.", "provider", "state")

	auditRecords  = counter("causeway_audit_records_total", "Records kept.")
	auditLost     = counter("causeway_audit_lost_total", "Best-effort records not kept.")
	auditRefused  = counter("causeway_audit_refused_total", "Intents refused because they could not be kept.")
	auditSyncs    = counter("causeway_audit_syncs_total", "Group fsyncs, by result.", "result")
	auditOpen     = gauge("causeway_audit_open_intents", "Intents without an outcome yet.")
	auditPending  = gauge("causeway_audit_pending_bytes", "Bytes held in memory because the disk refused them.")
	auditUnsynced = gauge("causeway_audit_unsynced_records", "Records written and not durable yet.")
	auditFull     = gauge("causeway_audit_full", "1 while the disk refuses records.")
	auditDisk     = gauge("causeway_audit_disk_used_ratio", "Used share of the audit log's file system.")
)

// metric is a description and its type.
type metric struct {
	desc *prometheus.Desc
	typ  prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

// sink collects one scrape.
type sink chan<- prometheus.Metric

func (ch sink) put(m metric, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(m.desc, m.typ, v, labels...)
}

// Describe implements prometheus.Collector.
func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range [...]metric{
		viewIndex, viewAge, viewExits, nodeCheck, nodeCert, gossipCount, edgeInflight, edgeTargets,
		meshUp, meshRTT, meshJitter, meshSent, meshLost, poolConns, poolBusy, poolDials,
		serverConns, serverInflight, serverRequests, serverRefused, exitTTFT, exitError, exitState,
		auditRecords, auditLost, auditRefused, auditSyncs, auditOpen, auditPending, auditUnsynced, auditFull, auditDisk,
	} {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *nodeCollector) Collect(out chan<- prometheus.Metric) {
	ch, s, now := sink(out), &c.src, c.now()
	if s.View != nil {
		if v, ok := s.View(); ok {
			ch.put(viewIndex, float64(v.Index))
			ch.put(viewAge, max(now.Sub(v.Confirmed), 0).Seconds())
			ch.put(viewExits, float64(v.Exits))
		}
	}
	if s.Checks != nil {
		for _, k := range s.Checks() {
			ch.put(nodeCheck, oneIf(k.OK), k.Name)
		}
	}
	if s.Certificates != nil {
		for _, k := range s.Certificates() {
			ch.put(nodeCert, float64(k.NotAfter.Unix()), k.Name)
		}
	}
	if s.Members != nil {
		members(ch, s.Members())
	}
	if s.Inflight != nil {
		ch.put(edgeInflight, float64(s.Inflight()))
	}
	if s.Targets != nil {
		targets(ch, s.Targets())
	}
	if s.Pool != nil {
		c.pool(ch, s.Pool())
	}
	if s.Server != nil {
		st := s.Server()
		ch.put(serverConns, float64(st.Connections))
		ch.put(serverInflight, float64(st.Inflight))
		ch.put(serverRequests, float64(st.Requests))
		ch.put(serverRefused, float64(st.Refused))
	}
	if s.Providers != nil {
		for _, p := range s.Providers() {
			if p.TTFTKnown {
				ch.put(exitTTFT, p.TTFT.Seconds(), p.Provider)
			}
			ch.put(exitError, p.ErrorRate, p.Provider)
			for _, x := range states {
				ch.put(exitState, oneIf(p.State == x), p.Provider, x.String())
			}
		}
	}
	if s.Audit != nil {
		auditLog(ch, s.Audit())
	}
}

func members(ch sink, list []gossip.Member) {
	alive, draining, gone := 0, 0, 0
	for _, m := range list {
		switch {
		case !m.Alive:
			gone++
		case m.Record.Draining:
			draining++
		default:
			alive++
		}
	}
	ch.put(gossipCount, float64(alive), "alive")
	ch.put(gossipCount, float64(draining), "draining")
	ch.put(gossipCount, float64(gone), "gone")
}

func targets(ch sink, list []TargetState) {
	type place struct{ exit, provider string }
	n := make(map[place]*[len(states)]int, len(list))
	for _, t := range list {
		p := place{t.Exit, t.Provider}
		if n[p] == nil {
			n[p] = new([len(states)]int)
		}
		if int(t.State) < len(states) {
			n[p][t.State]++
		}
	}
	for p, counts := range n {
		for _, x := range states {
			ch.put(edgeTargets, float64(counts[x]), p.exit, p.provider, x.String())
		}
	}
}

func (c *nodeCollector) pool(ch sink, st tunnel.PoolStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := make(map[string]packets, len(st.Peers))
	for _, p := range st.Peers {
		id, region := string(p.Node), ""
		if c.src.Region != nil {
			region = c.src.Region(id)
		}
		ch.put(meshUp, oneIf(p.Usable > 0), id, region)
		if p.RTT > 0 {
			ch.put(meshRTT, p.RTT.Seconds(), id, region)
			ch.put(meshJitter, p.Jitter.Seconds(), id, region)
		}
		k := c.last[id].next(p.PacketsSent, p.PacketsLost)
		next[id] = k
		ch.put(meshSent, float64(k.sentTotal), id, region)
		ch.put(meshLost, float64(k.lostTotal), id, region)
		ch.put(poolConns, float64(p.Connections), id, region)
		ch.put(poolBusy, float64(p.Inflight), id, region)
	}
	c.last = next
	ch.put(poolDials, float64(st.Dials-min(st.DialErrors, st.Dials)), "ok")
	ch.put(poolDials, float64(st.DialErrors), "error")
}

func auditLog(ch sink, st audit.Stats) {
	ch.put(auditRecords, float64(st.Records))
	ch.put(auditLost, float64(st.Lost))
	ch.put(auditRefused, float64(st.Refused))
	ch.put(auditSyncs, float64(st.Syncs-min(st.SyncErrors, st.Syncs)), "ok")
	ch.put(auditSyncs, float64(st.SyncErrors), "error")
	ch.put(auditOpen, float64(st.OpenIntents))
	ch.put(auditPending, float64(st.PendingBytes))
	ch.put(auditUnsynced, float64(st.Unsynced))
	ch.put(auditFull, oneIf(st.Full))
	if st.DiskUsed > 0 {
		ch.put(auditDisk, float64(st.DiskUsed)/1000)
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
