// Package obs makes a node observable: logs and metrics. Packages count and report; only this one
// knows Prometheus, and it only reads what they hand over.
package obs

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registerer takes a node's metrics.
type Registerer = prometheus.Registerer

// Registry is the metrics of one process.
type Registry struct{ r *prometheus.Registry }

// NewRegistry makes a registry with the process's own figures.
func NewRegistry(version string) (*Registry, error) {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "causeway_build_info", Help: "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	for _, c := range []prometheus.Collector{build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return &Registry{r}, nil
}

// Node registers a node's metrics under its name and region, since one process may run several.
func (r *Registry) Node(name, region string) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"node": name, "region": region}, r.r)
}

// Process registers what belongs to the process and not to one of its nodes.
func (r *Registry) Process() Registerer { return r.r }

// Coordinator registers a coordinator's metrics under its name.
func (r *Registry) Coordinator(name string) Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"coordinator": name}, r.r)
}

// Handler serves /metrics.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.r, promhttp.HandlerOpts{EnableOpenMetrics: true})
}
