package obs

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// requestBuckets reach from a refused request to a long stream, in seconds.
var requestBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// overheadBuckets are for what the edge itself adds, in seconds.
var overheadBuckets = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01}

// Requests counts and times requests. The first three metrics have the names that the field knows;
// dashboards built for other gateways read them as they are.
type Requests struct {
	total     *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	quota     *quotas
	overhead  prometheus.Histogram
	ttft      *prometheus.HistogramVec
	attempts  *prometheus.CounterVec
	failovers *prometheus.CounterVec
	tokens    *prometheus.CounterVec
	cost      *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	losses    *prometheus.CounterVec
	keepalive prometheus.Counter
}

// NewRequests registers the request metrics of one edge.
func NewRequests(r prometheus.Registerer) (*Requests, error) {
	m := &Requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "api_requests_total", Help: "Requests of clients that have ended.",
		}, []string{"method", "endpoint", "status", "dialect", "model"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "api_request_duration_seconds", Help: "Time from a request's arrival to the end of its answer.", Buckets: requestBuckets,
		}, []string{"method", "endpoint"}),
		quota: newQuotas(),
		overhead: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "causeway_edge_overhead_seconds", Help: "Time spent at the edge before the first attempt.", Buckets: overheadBuckets,
		}),
		ttft: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "causeway_edge_ttft_seconds", Help: "Time from a request's arrival to its first content.", Buckets: requestBuckets,
		}, []string{"provider", "model"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "causeway_edge_attempts_total", Help: "Attempts by exit region, provider and result (ok or the fault's name).",
		}, []string{"exit_region", "provider", "result"}),
		failovers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "causeway_edge_failovers_total", Help: "Requests answered after a failed attempt, by what the first attempt failed with.",
		}, []string{"reason"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "causeway_edge_tokens_total", Help: "Tokens that providers reported.",
		}, []string{"provider", "model", "type"}),
		cost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "causeway_edge_cost_usd_total", Help: "Cost of requests whose model has a price, in US dollars.",
		}, []string{"provider", "model"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "causeway_edge_refusals_total", Help: "Requests refused here, by code.",
		}, []string{"code"}),
		losses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "causeway_edge_losses_total", Help: "Fields that a conversion could not carry, by dialects and reason.",
		}, []string{"from", "to", "reason"}),
		keepalive: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "causeway_edge_keepalives_total", Help: "Keepalives written into silent streams.",
		}),
	}
	for _, c := range []prometheus.Collector{m.total, m.duration, m.quota, m.overhead, m.ttft, m.attempts, m.failovers, m.tokens, m.cost, m.refusals, m.losses, m.keepalive} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register request metrics: %w", err)
		}
	}
	return m, nil
}

// Record counts one outcome.
func (m *Requests) Record(o *edge.Outcome) {
	m.total.WithLabelValues(method(o.Method), o.Endpoint, strconv.Itoa(o.Status), string(o.Dialect), o.Model).Inc()
	m.duration.WithLabelValues(method(o.Method), o.Endpoint).Observe(o.Total.Seconds())
	if o.QuotaRemaining >= 0 {
		m.quota.set(o)
	}
	if o.Overhead > 0 {
		m.overhead.Observe(o.Overhead.Seconds())
	}
	if o.Keepalives > 0 {
		m.keepalive.Add(float64(o.Keepalives))
	}
	for _, l := range o.Losses {
		m.losses.WithLabelValues(string(l.From), string(l.To), l.Reason).Inc()
	}
	for i := range o.Attempts {
		a := &o.Attempts[i]
		result := "ok"
		if a.Fault != nil {
			result = a.Fault.Kind.Info().Name
		}
		m.attempts.WithLabelValues(a.ExitRegion, a.Provider, result).Inc()
	}
	if a := o.Served; a != nil {
		if len(o.Attempts) > 1 && o.Attempts[0].Fault != nil {
			m.failovers.WithLabelValues(o.Attempts[0].Fault.Kind.Info().Name).Inc()
		}
		if o.FirstContent > 0 {
			m.ttft.WithLabelValues(a.Provider, o.Model).Observe(o.FirstContent.Seconds())
		}
		if o.UsageKind == edge.UsageMeasured {
			m.tokens.WithLabelValues(a.Provider, o.Model, "input").Add(float64(o.Usage.Input))
			m.tokens.WithLabelValues(a.Provider, o.Model, "output").Add(float64(o.Usage.Output))
			m.tokens.WithLabelValues(a.Provider, o.Model, "cached").Add(float64(o.Usage.Cached))
		}
		if o.CostKnown {
			m.cost.WithLabelValues(a.Provider, o.Model).Add(float64(o.Cost) / float64(time.Second)) // nano to one
		}
	}
	if o.Fault != nil && len(o.Attempts) == 0 && o.Fault.Kind != fault.Canceled {
		m.refusals.WithLabelValues(o.Fault.Kind.Info().Code).Inc()
	}
}

// method keeps the label's values few: a client may send any word.
func method(m string) string {
	switch m {
	case "GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH":
		return m
	}
	return "other"
}
