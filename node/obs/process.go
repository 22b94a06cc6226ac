package obs

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/causeway-mesh/causeway/coordinator"
	"github.com/causeway-mesh/causeway/geo"
)

var (
	geoBuild  = gauge("geo_db_build_timestamp_seconds", "When the database of places that serves was built.", "db")
	geoReload = counter("geo_db_reload_total", "Reloads of a database of places: ok, or refused while the former one kept serving.", "db", "result")

	raftLeader  = gauge("causeway_raft_leader", "1 when this coordinator is the leader.")
	raftTerm    = gauge("causeway_raft_term", "Current term.")
	raftApplied = gauge("causeway_raft_applied_index", "Index of the newest command applied.")
	raftCommit  = gauge("causeway_raft_commit_index", "Index of the newest command known to be committed.")
	raftContact = gauge("causeway_raft_last_contact_seconds", "Time since the leader was last heard, 0 on the leader.")
	raftWrites  = counter("causeway_raft_log_writes_total", "Changes of the log or of a vote written to disk.")
	raftStalls  = counter("causeway_raft_log_stalls_total", "Writes that hung.")
	raftStalled = gauge("causeway_raft_log_stalled", "1 while a write hangs: this coordinator is cut off from the others.")
	raftSlowest = gauge("causeway_raft_log_slowest_write_seconds", "Longest finished write since the start.")
	raftFree    = gauge("causeway_raft_disk_free_bytes", "Free space of the log's file system.")
	apiRequests = counter("causeway_coordinator_api_requests_total", "Requests to the admin API.")
	apiFailed   = counter("causeway_coordinator_api_failures_total", "Requests to the admin API answered with an error.")
	apiForward  = counter("causeway_coordinator_api_forwarded_total", "Requests passed on to the leader.")
	apiViews    = counter("causeway_coordinator_views_total", "Views sent to nodes.")
)

// NewLocator registers the databases of places of one process.
func NewLocator(r Registerer, stats func() []geo.DatabaseStats) error {
	return r.Register(locatorCollector(stats))
}

type locatorCollector func() []geo.DatabaseStats

// Describe implements prometheus.Collector.
func (c locatorCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- geoBuild.desc
	ch <- geoReload.desc
}

// Collect implements prometheus.Collector.
func (c locatorCollector) Collect(out chan<- prometheus.Metric) {
	ch := sink(out)
	for _, d := range c() {
		ch.put(geoBuild, float64(d.Built.Unix()), d.Name)
		if d.Path != "" { // the embedded one never changes
			ch.put(geoReload, float64(d.Reloads), d.Name, "ok")
			ch.put(geoReload, float64(d.Failures), d.Name, "refused")
		}
	}
}

// NewCoordinator registers the metrics of one coordinator.
func NewCoordinator(r Registerer, stats func() coordinator.Stats) error {
	return r.Register(coordinatorCollector(stats))
}

type coordinatorCollector func() coordinator.Stats

// Describe implements prometheus.Collector.
func (c coordinatorCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range [...]metric{
		raftLeader, raftTerm, raftApplied, raftCommit, raftContact, raftWrites, raftStalls, raftStalled, raftSlowest, raftFree,
		apiRequests, apiFailed, apiForward, apiViews,
	} {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c coordinatorCollector) Collect(out chan<- prometheus.Metric) {
	ch, st := sink(out), c()
	ch.put(raftLeader, oneIf(st.Leader))
	ch.put(raftTerm, float64(st.Term))
	ch.put(raftApplied, float64(st.Index))
	ch.put(raftCommit, float64(st.Commit))
	if st.Leader {
		st.Contact = 0
	}
	if st.Contact >= 0 {
		ch.put(raftContact, st.Contact.Seconds())
	}
	ch.put(raftWrites, float64(st.Disk.Writes))
	ch.put(raftStalls, float64(st.Disk.Stalls))
	ch.put(raftStalled, oneIf(st.Disk.Stalled))
	ch.put(raftSlowest, st.Disk.Slowest.Seconds())
	if st.Disk.FreeBytes > 0 {
		ch.put(raftFree, float64(st.Disk.FreeBytes))
	}
	ch.put(apiRequests, float64(st.Requests.Requests))
	ch.put(apiFailed, float64(st.Requests.Failed))
	ch.put(apiForward, float64(st.Requests.Forwarded))
	ch.put(apiViews, float64(st.Requests.Views))
}
