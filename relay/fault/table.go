package fault

// Class says whether the same request may be tried again elsewhere by us.
type Class uint8

// Classes. Content that has reached the client forbids every retry, whatever the class.
const (
	Never     Class = iota // another try would fail the same way
	Safe                   // may be tried again in any phase as long as no content reached the client
	IfNotSent              // may be tried again only when Phase is NotSent
)

// String names the class as documents do.
func (c Class) String() string {
	switch c {
	case Safe:
		return "safe"
	case IfNotSent:
		return "if_not_sent"
	default:
		return "never"
	}
}

// Info is what every part of the relay needs to know of a kind.
type Info struct {
	Name        string // unique, for logs and metric labels
	Code        string // what the client sees (DESIGN.md 4.8); kinds may share one
	Status      int    // HTTP status; a dialect may differ where its vendor does
	Retry       Class
	ShouldRetry bool   // x-should-retry for the client's SDK
	Health      bool   // counts against the provider's health
	Refund      bool   // nothing was consumed although it was sent; what was not sent is always refunded
	Text        string // public message when the fault brings none
}

const last = ResourceNotFound

// table has one row a kind; TestEveryKindHasARow holds it to that.
var table = [last + 1]Info{
	Unknown:           {"unknown", "internal_error", 500, Never, false, false, true, "internal error"},
	Malformed:         {"malformed", "malformed_request", 400, Never, false, false, true, "the request is malformed"},
	TooLarge:          {"too_large", "request_too_large", 413, Never, false, false, true, "the request body is too large"},
	Unauthenticated:   {"unauthenticated", "invalid_api_key", 401, Never, false, false, true, "the API key is missing or unknown"},
	Forbidden:         {"forbidden", "permission_denied", 403, Never, false, false, true, "this API key may not do that"},
	UnknownModel:      {"unknown_model", "model_not_found", 404, Never, false, false, true, "the model does not exist"},
	NotFound:          {"not_found", "not_found", 404, Never, false, false, true, "no such path"},
	MethodNotAllowed:  {"method_not_allowed", "method_not_allowed", 405, Never, false, false, true, "this path does not take that method"},
	UpgradeRequired:   {"upgrade_required", "upgrade_not_supported", 426, Never, false, false, true, "WebSocket is not offered here: use HTTP with streaming"},
	Unsupported:       {"unsupported", "unsupported_conversion", 400, Never, false, false, true, "no provider of this model speaks this protocol"},
	Lossy:             {"lossy", "lossy_conversion", 400, Never, false, false, true, "the conversion would lose fields"},
	RateLimited:       {"rate_limited", "rate_limit_exceeded", 429, Never, true, false, true, "rate limit reached"},
	Concurrency:       {"concurrency", "rate_limit_exceeded", 429, Never, true, false, true, "too many requests at once"},
	QuotaExhausted:    {"quota_exhausted", "insufficient_quota", 429, Never, false, false, true, "the budget is used up"},
	Residency:         {"residency", "residency_denied", 403, Never, false, false, true, "data residency rules forbid this request"},
	Terms:             {"terms", "provider_terms", 403, Never, false, false, true, "the provider's terms do not cover this country"},
	Approval:          {"approval", "export_approval_required", 403, Never, false, false, true, "this export needs an approval"},
	AuditUnavailable:  {"audit_unavailable", "audit_unavailable", 503, Never, true, false, true, "the audit record cannot be written"},
	PolicyStale:       {"policy_stale", "policy_stale", 503, Never, true, false, true, "the policy here is too old for this class of data"},
	NoRoute:           {"no_route", "no_route", 503, Never, true, false, true, "no healthy route to this model"},
	UpstreamRate:      {"upstream_rate", "upstream_rate_limited", 503, Safe, false, false, true, "the provider's rate limit is reached"},
	UpstreamOverload:  {"upstream_overload", "upstream_overloaded", 503, Safe, false, true, true, "the provider is overloaded"},
	UpstreamError:     {"upstream_error", "upstream_error", 502, Safe, false, true, true, "the provider failed"},
	UpstreamAuth:      {"upstream_auth", "upstream_auth", 502, Safe, false, false, true, "the provider refused the relay's credential"},
	UpstreamRejected:  {"upstream_rejected", "upstream_rejected", 400, Never, false, false, true, "the provider refused the request"},
	UpstreamTimeout:   {"upstream_timeout", "upstream_timeout", 504, Safe, false, true, false, "the provider did not answer in time"},
	UpstreamUnreached: {"upstream_unreached", "upstream_unreachable", 502, Safe, false, true, true, "the provider could not be reached"},
	UpstreamProtocol:  {"upstream_protocol", "upstream_protocol", 502, Safe, false, true, false, "the provider's answer could not be understood"},
	UpstreamPartial:   {"upstream_partial", "upstream_partial", 502, Safe, false, true, false, "the provider's answer broke off"},
	ExitUnreachable:   {"exit_unreachable", "upstream_exit_unreachable", 503, Safe, false, false, true, "the exit could not be reached"},
	ExitLost:          {"exit_lost", "upstream_exit_lost", 502, IfNotSent, false, false, false, "the connection to the exit broke"},
	Canceled:          {"canceled", "client_closed_request", 499, Never, false, false, false, "the client closed the request"},
	Deadline:          {"deadline", "deadline_exceeded", 504, Never, false, false, false, "the request's deadline passed"},
	Internal:          {"internal", "internal_error", 500, Never, false, false, true, "internal error"},
	Draining:          {"draining", "draining", 503, Safe, true, false, true, "this node is shutting down"},
	UpstreamQuota:     {"upstream_quota", "upstream_quota", 503, Safe, false, false, true, "the provider account has no credit left"},
	HeaderTooLarge:    {"header_too_large", "header_too_large", 431, Never, false, false, true, "the request headers are too large"},
	PreviousNotFound:  {"previous_not_found", "previous_response_not_found", 400, Never, false, false, true, "no such response"},
	ResourceNotFound:  {"resource_not_found", "not_found", 404, Never, false, false, true, "no such object"},
}

// Kinds lists every kind, in order.
func Kinds() []Kind {
	ks := make([]Kind, 0, len(table))
	for k := range table {
		ks = append(ks, Kind(k))
	}
	return ks
}

// Info gives the row of k. A number from a newer peer has the row of Unknown.
func (k Kind) Info() Info {
	if int(k) >= len(table) {
		return table[Unknown]
	}
	return table[k]
}

// String gives the unique name of k, for logs and metric labels.
func (k Kind) String() string { return k.Info().Name }

// Text is the public message of e, or its kind's when it brings none.
func (e *Error) Text() string {
	if e.Message != "" {
		return e.Message
	}
	return e.Kind.Info().Text
}

// Refunds reports whether what was reserved for the request can be given back in full.
func (e *Error) Refunds() bool { return e.Phase == NotSent || e.Phase == Sent && e.Kind.Info().Refund }
