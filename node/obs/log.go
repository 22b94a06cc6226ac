package obs

import (
	"io"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// fieldNames makes lines carry ts, level and msg. The library keeps its field names for the whole
// process; this is the one place that sets them, before the first line is written.
var fieldNames = sync.OnceFunc(func() {
	zerolog.TimestampFieldName, zerolog.MessageFieldName = "ts", "msg"
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
})

// NewLogger writes JSON lines at the level (debug, info, warn, error; anything else is info) with the
// fields ts (UTC), level and msg.
func NewLogger(w io.Writer, level string) zerolog.Logger {
	fieldNames()
	l, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		l = zerolog.InfoLevel
	}
	return zerolog.New(w).Level(l).With().Timestamp().Logger()
}

// RequestLog writes the one line of every request. It holds ids and figures, never content, keys or
// addresses, nor anything that a client or a provider put into words.
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
	e = e.Str("request_id", o.ID.String())
	if len(o.Traceparent) >= 35 {
		e = e.Str("trace_id", o.Traceparent[3:35])
	}
	for _, f := range [...]struct{ name, value string }{
		{"client_request_id", o.ClientID},
		{"client_session", o.Session},
		{"tenant", o.Tenant},
		{"key_id", o.Key},
		{"region", o.Region},
		{"node", o.Node},
		{"dialect", string(o.Dialect)},
		{"method", method(o.Method)},
		{"endpoint", o.Endpoint},
		{"model", o.Model},
		{"route_reason", o.RouteWhy},
	} {
		if f.value != "" {
			e = e.Str(f.name, f.value)
		}
	}
	if o.ClientRetry > 0 {
		e = e.Int("client_retry", o.ClientRetry)
	}
	if a := o.Served; a != nil {
		e = e.Str("exit", a.Exit).Str("exit_region", a.ExitRegion).Str("provider", a.Provider).Str("upstream_model", a.Model)
	}
	e = e.Int("attempt", len(o.Attempts)).Int("status", o.Status).Bool("stream", o.Stream)
	if f := o.Fault; f != nil {
		e = e.Str("err_class", f.Kind.Info().Name)
		if f.Status != 0 {
			e = e.Int("upstream_status", f.Status)
		}
		if ownWords(f) {
			e = e.Str("err", f.Message)
			if f.Err != nil && f.Kind != fault.Canceled { // whose cause names the client's address
				e = e.AnErr("cause", f.Err)
			}
		}
	}
	if o.FirstContent > 0 {
		e = e.Float64("ttft_ms", ms(o.FirstContent))
	}
	e = e.Float64("dur_ms", ms(o.Total)).Float64("overhead_ms", ms(o.Overhead)).Int64("in_bytes", o.BytesIn).Int64("out_bytes", o.BytesOut)
	if o.UsageKind != edge.UsageNone {
		e = e.Int64("in_tok", o.Usage.Input).Int64("out_tok", o.Usage.Output).Int64("cached_tok", o.Usage.Cached).Str("usage", o.UsageKind.String())
	}
	if o.Unit != "" {
		e = e.Int64("units", o.Units).Str("unit", o.Unit)
	}
	if o.CostKnown {
		e = e.Str("cost_usd", o.Cost.String())
	}
	if len(o.Losses) > 0 {
		e = e.Str("loss", lost(o.Losses))
	}
	if len(o.Rules) > 0 {
		e = e.Strs("rules", o.Rules)
	}
	if o.Model != "" {
		e = e.Str("policy_decision", o.Decision.String()).Str("cache", "bypass")
	}
	e.Msg("request")
}

// lost lists losses by place and reason. The name of an unknown member is the client's own word and
// stays out.
func lost(losses []llm.Loss) string {
	named := slices.Clone(losses)
	for i := range named {
		if named[i].Reason == llm.LostUnknown {
			named[i].Path = ""
		}
	}
	return dialect.LossHeader(named)
}

// ownWords reports whether a fault's message and cause are made of nothing but the mesh's own words:
// ids, limits, places, times, system errors. The other kinds quote what the client sent (a path, a
// model's name, a member of its body) or what the provider answered, which may echo the client; for
// those the class says what happened, and the client has the text. A kind is listed once its makers
// have been looked at; a new one is not.
func ownWords(f *fault.Error) bool {
	if f.Status != 0 {
		return false // a provider's answer, whatever was made of it
	}
	switch f.Kind {
	case fault.TooLarge, fault.Unauthenticated, fault.Forbidden, fault.UpgradeRequired, fault.Unsupported, fault.RateLimited,
		fault.Concurrency, fault.QuotaExhausted, fault.Residency, fault.Terms, fault.Approval, fault.AuditUnavailable, fault.PolicyStale, fault.NoRoute,
		fault.UpstreamTimeout, fault.UpstreamUnreached, fault.ExitUnreachable, fault.ExitLost, fault.Canceled, fault.Deadline,
		fault.Internal, fault.Draining, fault.HeaderTooLarge:
		return true
	}
	return false
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
