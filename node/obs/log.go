// Package obs makes a node observable: logs, metrics and health. Packages count and report; only
// this one knows Prometheus.
package obs

import (
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// NewLogger writes JSON lines at the level (debug, info, warn, error) with the fields ts, level, msg.
func NewLogger(w io.Writer, level string) zerolog.Logger {
	l, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		l = zerolog.InfoLevel
	}
	return zerolog.New(w).Level(l).With().Timestamp().Logger()
}

// RequestLog writes the one line of every request. It holds ids and figures, never content, keys or
// addresses.
type RequestLog struct {
	log zerolog.Logger
}

// NewRequestLog logs to log.
func NewRequestLog(log zerolog.Logger) RequestLog { return RequestLog{log} }

// Record writes the line.
func (l RequestLog) Record(o *edge.Outcome) {
	e := l.log.Info()
	if o.Status >= 500 && o.Fault != nil && o.Fault.Kind != fault.Canceled {
		e = l.log.Warn()
	}
	if e == nil {
		return
	}
	e = e.Str("request_id", o.ID.String()).Str("trace_id", o.Traceparent[3:35])
	for _, f := range [...]struct{ name, value string }{
		{"client_request_id", o.ClientID}, {"tenant", o.Tenant}, {"key_id", o.Key}, {"region", o.Region}, {"node", o.Node},
		{"dialect", string(o.Dialect)}, {"endpoint", o.Endpoint}, {"model", o.Model}, {"route_reason", o.RouteWhy},
	} {
		if f.value != "" {
			e = e.Str(f.name, f.value)
		}
	}
	if a := o.Served; a != nil {
		e = e.Str("exit", a.Exit).Str("exit_region", a.ExitRegion).Str("provider", a.Provider).Str("upstream_model", a.Model)
	}
	e = e.Int("attempt", len(o.Attempts)).Int("status", o.Status).Bool("stream", o.Stream)
	if o.Fault != nil {
		e = e.Str("err_class", o.Fault.Kind.Info().Name).Str("err", o.Fault.Message)
		if o.Fault.Err != nil {
			e = e.AnErr("cause", o.Fault.Err)
		}
	}
	if o.FirstContent > 0 {
		e = e.Float64("ttft_ms", ms(o.FirstContent))
	}
	e = e.Float64("dur_ms", ms(o.Total)).Float64("overhead_ms", ms(o.Overhead)).Int64("in_bytes", o.BytesIn).Int64("out_bytes", o.BytesOut)
	if o.UsageKind != edge.UsageNone {
		e = e.Int64("in_tok", o.Usage.Input).Int64("out_tok", o.Usage.Output).Int64("cached_tok", o.Usage.Cached).Str("usage", o.UsageKind.String())
	}
	if o.CostKnown {
		e = e.Str("cost_usd", o.Cost.String())
	}
	if len(o.Rules) > 0 {
		e = e.Strs("rules", o.Rules)
	}
	if o.Model != "" {
		e = e.Str("policy_decision", o.Decision.String()).Str("cache", "bypass")
	}
	e.Msg("request")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Recorders passes every outcome to each of several.
type Recorders []edge.Recorder

// Record passes o on.
func (r Recorders) Record(o *edge.Outcome) {
	for _, x := range r {
		x.Record(o)
	}
}
