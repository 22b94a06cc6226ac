package obs

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/causeway-mesh/causeway/node/edge"
)

// quotas is model_quota_remaining. What a request saw is kept until a minute's window has passed and
// the quota is whole again: a gauge that stayed where the last request left it would show a key as
// used up for as long as it is not used.
type quotas struct {
	desc *prometheus.Desc
	now  func() time.Time

	mu   sync.Mutex
	seen map[quotaKey]quota
}

type quotaKey struct{ model, user string }

type quota struct {
	remaining, limit int64
	whole            time.Time // from then on all of limit is free, unless another request says otherwise
}

// keepQuota is how long a quota that is whole again stays in sight.
const keepQuota = 15 * time.Minute

func newQuotas() *quotas {
	return &quotas{
		desc: prometheus.NewDesc("model_quota_remaining",
			"Tokens left this minute in this edge's share of the tightest limit; user_id is the key's id.", []string{"model", "user_id"}, nil),
		now: time.Now, seen: make(map[quotaKey]quota),
	}
}

func (q *quotas) set(o *edge.Outcome) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seen[quotaKey{o.QuotaModel, o.Key}] = quota{o.QuotaRemaining, o.QuotaLimit, o.Start.Add(o.QuotaReset)}
}

// Describe implements prometheus.Collector.
func (q *quotas) Describe(ch chan<- *prometheus.Desc) { ch <- q.desc }

// Collect implements prometheus.Collector.
func (q *quotas) Collect(ch chan<- prometheus.Metric) {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for k, v := range q.seen {
		left := v.remaining
		if !now.Before(v.whole) {
			left = v.limit
		}
		if now.Sub(v.whole) > keepQuota {
			delete(q.seen, k)
		}
		ch <- prometheus.MustNewConstMetric(q.desc, prometheus.GaugeValue, float64(left), k.model, k.user)
	}
}
