package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"
	"time"

	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/node/view"
)

// readiness is whether this node should be sent work.
type readiness struct{ draining atomic.Bool }

func (r *readiness) drain() { r.draining.Store(true) }

// Check is one line of /readyz?verbose.
type Check struct {
	Name string
	OK   bool
	Note string
}

const (
	staleView  = 30 * time.Second // when a view that nobody vouches for any more is worth a word; serving goes on
	diskAlarm  = 800              // thousandths of the audit log's file system
	renewAlarm = 24 * time.Hour   // certificates are renewed at a third of their 72 h; one this near its end is not
)

// Checks says what stands in the way of work, part by part. Their names are a closed set, since they
// are values of a metric's label. Only what makes this node the wrong one to send work to fails.
func (n *Node) Checks(now time.Time) []Check {
	s := n.view.Load()
	draining := n.ready.draining.Load() || s != nil && s.Self.State == "draining"
	out := []Check{
		{"not draining", !draining, ""},
		{"view", s != nil, "none yet from a coordinator"},
		expiry("certificate", n.cfg.Identity.Self().NotAfter, now),
	}
	if n.cert != nil {
		out = append(out, expiry("client certificate", n.cert.NotAfter(), now))
	}
	if s != nil {
		out[1].Note = fmt.Sprintf("index %d", s.Index)
		out = append(out, n.coordinatorCheck(s, now))
	}
	if n.edge != nil && s != nil {
		reach := 0
		for _, e := range s.Exits {
			if e.ID == string(n.self.Node) {
				reach++
			} else if _, ok := n.pool.RTT(identity.NodeID(e.ID)); ok {
				reach++
			}
		}
		out = append(out, Check{"exits", reach > 0 || len(s.Exits) == 0, fmt.Sprintf("%d of %d connected", reach, len(s.Exits))})
	}
	if n.exit != nil && s != nil {
		mine := 0
		for _, p := range s.Providers {
			if p.CallableFrom(geo.RegionID(n.self.Region)) {
				mine++
			}
		}
		out = append(out, Check{"providers", true, fmt.Sprintf("%d may be called from %s", mine, n.self.Region)})
	}
	if n.audit != nil {
		st := n.audit.Stats()
		note := fmt.Sprintf("%d records, %d open intents, disk %d.%d %% used", st.Records, st.OpenIntents, st.DiskUsed/10, st.DiskUsed%10)
		if st.DiskUsed >= diskAlarm {
			note += ": make room"
		}
		out = append(out, Check{"audit log", !st.Full, note})
	}
	return out
}

func expiry(name string, notAfter, now time.Time) Check {
	c := Check{name, notAfter.After(now), "until " + notAfter.UTC().Format(time.RFC3339)}
	if left := notAfter.Sub(now); c.OK && left < renewAlarm {
		c.Note += fmt.Sprintf(", in %s: not renewed in time", left.Round(time.Minute))
	}
	return c
}

// coordinatorCheck never fails: edges serve on what they have (DESIGN.md 7). It says what ends when.
func (n *Node) coordinatorCheck(s *view.Snapshot, now time.Time) Check {
	age := n.view.Age(now)
	if age <= staleView {
		return Check{"coordinator", true, ""}
	}
	until := n.view.ConfirmedAt().Add(s.Policy.MaxAge()).UTC().Format(time.RFC3339)
	return Check{"coordinator", true, fmt.Sprintf("silent for %s; class restricted is served until %s, other classes go on", age.Round(time.Second), until)}
}

// Ready reports whether all checks pass.
func (n *Node) Ready() bool {
	for _, c := range n.Checks(time.Now()) {
		if !c.OK {
			return false
		}
	}
	return true
}

// Ops is the node's operations handler: health, routes, mesh, metrics and profiles. It is for a
// loopback or otherwise private listener; it shows no secrets and no content.
func (n *Node) Ops(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		Readyz(w, r, n.Checks(time.Now()))
	})
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /v1/mesh", n.ServeMap)
	mux.HandleFunc("GET /v1/routes:explain", n.ServeExplain)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// Readyz answers a readiness probe; ?verbose lists every check.
func Readyz(w http.ResponseWriter, r *http.Request, checks []Check) {
	status, b := http.StatusOK, strings.Builder{}
	for _, c := range checks {
		mark := "[+]"
		if !c.OK {
			mark, status = "[-]", http.StatusServiceUnavailable
		}
		fmt.Fprintf(&b, "%s %s", mark, c.Name)
		if c.Note != "" {
			fmt.Fprintf(&b, ": %s", c.Note)
		}
		b.WriteByte('\n')
	}
	if !r.URL.Query().Has("verbose") && status == http.StatusOK {
		text(w, status, "ok\n")
		return
	}
	text(w, status, b.String())
}

// Settled reports whether the node has all that it waits for at its start: a view, and, for an edge, a
// tunnel to every exit.
func (n *Node) Settled() bool {
	s := n.view.Load()
	if s == nil {
		return false
	}
	if n.pool != nil {
		for _, e := range s.Exits {
			if _, ok := n.pool.RTT(identity.NodeID(e.ID)); !ok && e.ID != string(n.self.Node) {
				return false
			}
		}
	}
	return true
}

// ServeMap answers GET /v1/mesh.
func (n *Node) ServeMap(w http.ResponseWriter, _ *http.Request) { sendJSON(w, http.StatusOK, n.Map()) }

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(s)) // a prober that went away is no event
}

func sendJSON[T any](w http.ResponseWriter, status int, v T) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}

// Problem is an RFC 9457 answer, as the admin API gives them.
func Problem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		Code      string `json:"code"`
		Retryable bool   `json:"retryable"`
		Outcome   string `json:"outcome"`
	}{"about:blank", http.StatusText(status), status, detail, code, status >= 500, "none"})
}
