package edge

import (
	"time"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
)

// Outcome is the one record of a finished request. Metrics, the log line, the audit outcome and the
// route samples are all made from it; nothing else writes them.
type Outcome struct {
	ID          RequestID
	ClientID    string // the client's own x-request-id, cut to a sane length
	Session     string // the client's own session id, cut likewise
	ClientRetry int    // which try of the client's own this is, as its SDK says; 0 = the first
	Traceparent string
	Node        string
	Region      string

	Tenant, Key string // "" when the caller was not authenticated
	Dialect     llm.Dialect
	Op          llm.Op
	Method      string
	Endpoint    string // the path's pattern: a closed set, safe as a metric label
	Model       string // id of the model asked for; "" when unknown
	Stream      bool
	Status      int
	Fault       *fault.Error // nil on success
	Rules       []string
	Decision    compliance.Decision
	RouteWhy    string

	Attempts []Attempt
	Served   *Attempt // the attempt whose answer the client got

	Losses []llm.Loss // fields that a conversion could not carry

	Usage     llm.Usage
	UsageKind UsageKind
	Cost      meter.NanoUSD
	CostKnown bool
	Units     int64  // what was asked for in an operation that counts no tokens
	Unit      string // image | character; "" = not known from the request

	BytesIn, BytesOut int64
	Start             time.Time
	FirstContent      time.Duration // from Start; 0 = none was sent
	Total             time.Duration
	Overhead          time.Duration // spent here before the first attempt
	Keepalives        int
	QuotaModel        string // the model whose token limit is the tightest, for model_quota_remaining
	QuotaRemaining    int64  // -1 = not limited
	QuotaLimit        int64
	QuotaReset        time.Duration // from Start, until all of QuotaLimit is free again if nothing more is used
}

// UsageKind says how far a usage can be trusted.
type UsageKind uint8

// Kinds of usage.
const (
	UsageNone      UsageKind = iota // nothing was consumed
	UsageUncounted                  // the operation is not billed by tokens, or the provider did not say how many: Units, if known
	UsageMeasured                   // the provider said so
	UsageEstimated                  // counted here: embeddings of a provider that did not say, an answer that was cut before it did
	UsageWorst                      // the provider did not say: what had been reserved
)

// String names the kind for logs and records.
func (k UsageKind) String() string {
	switch k {
	case UsageUncounted:
		return "uncounted"
	case UsageMeasured:
		return "measured"
	case UsageEstimated:
		return "estimated"
	case UsageWorst:
		return "worst_case"
	default:
		return "none"
	}
}

// Attempt is one try to have the request answered.
type Attempt struct {
	Exit       string
	ExitRegion string
	Provider   string
	Model      string // the upstream's name
	Secret     string // id of the credential that the exit chose
	Why        string // why this route
	Start      time.Duration
	FirstByte  time.Duration // provider's, as the exit saw it
	Total      time.Duration
	Upstream   time.Duration // the exit's measure of the whole call
	Processing string        // where the provider says it processed
	Status     int
	Fault      *fault.Error
	Usage      llm.Usage
	HasUsage   bool
}

// Recorder takes every outcome. Record must not block and must not keep o.
type Recorder interface {
	Record(o *Outcome)
}
