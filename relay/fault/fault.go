// Package fault is the closed list of what can go wrong with a request. A fault is made where the
// failure is seen, crosses the tunnel unchanged, and is rendered once, at the edge, in the
// client's own protocol.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind is the stable number of a fault. Numbers cross the wire: append only, never reuse.
type Kind uint8

// The kinds. Kind.Info gives each one's code, status and retry behaviour.
const (
	Unknown           Kind = 0
	Malformed         Kind = 1  // the client's body or parameters are wrong; Message names the place
	TooLarge          Kind = 2  // body over the limit
	Unauthenticated   Kind = 3  // key missing or unknown
	Forbidden         Kind = 4  // key may not use this model or come from this address
	UnknownModel      Kind = 5  // no such model
	NotFound          Kind = 6  // no such path
	MethodNotAllowed  Kind = 7  //
	UpgradeRequired   Kind = 8  // WebSocket upgrade on /v1/responses
	Unsupported       Kind = 9  // unsupported_conversion
	Lossy             Kind = 10 // lossy_conversion under x-causeway-strict
	RateLimited       Kind = 11 // our own rpm or tpm
	Concurrency       Kind = 12 // our own concurrency share
	QuotaExhausted    Kind = 13 // hard budget or prepaid balance
	Residency         Kind = 14
	Terms             Kind = 15
	Approval          Kind = 16
	AuditUnavailable  Kind = 17
	PolicyStale       Kind = 18
	NoRoute           Kind = 19
	UpstreamRate      Kind = 20 // provider answered 429
	UpstreamOverload  Kind = 21 // provider answered 503 or 529
	UpstreamError     Kind = 22 // provider answered another 5xx
	UpstreamAuth      Kind = 23 // provider refused our credential (401, 403, Gemini API_KEY_INVALID)
	UpstreamRejected  Kind = 24 // provider answered 4xx: the request itself is at fault; Raw holds the answer
	UpstreamTimeout   Kind = 25 // connect, first byte, gap or total; Message says which
	UpstreamUnreached Kind = 26 // could not connect
	UpstreamProtocol  Kind = 27 // malformed or empty answer
	UpstreamPartial   Kind = 28 // answer broke off after it had begun
	ExitUnreachable   Kind = 29 // tunnel could not be opened, or the exit is draining
	ExitLost          Kind = 30 // tunnel broke after the request was handed over
	Canceled          Kind = 31 // client went away
	Deadline          Kind = 32 // the request's own deadline passed
	Internal          Kind = 33
	Draining          Kind = 34 // this node is shutting down
	UpstreamQuota     Kind = 35 // provider account is out of money (insufficient_quota, billing_error)
	HeaderTooLarge    Kind = 36 // 431
	PreviousNotFound  Kind = 37 // no such response for this tenant: previous_response_id
	ResourceNotFound  Kind = 38 // no such stored thing for this tenant
)

// Phase says how far a request had come when the fault happened. Its numbers cross the wire.
type Phase uint8

// Phases, in order.
const (
	NotSent Phase = 0 // no byte reached the provider: always safe to send again
	Sent    Phase = 1 // the provider may have seen and billed it
	Partial Phase = 2 // part of the answer has come back
)

// Error is the one error type that crosses package and process borders on the request path.
type Error struct {
	Kind       Kind
	Phase      Phase
	Message    string        // public: what, where, how to fix. Never a secret, never prompt text.
	Param      string        // the offending field, when there is one
	Status     int           // the provider's status, when it answered
	RetryAfter time.Duration // hint for the next try; 0 = none
	Fields     []string      // losses, missing approvals: what the client needs listed
	Raw        []byte        // the provider's error body, for a client of the same dialect; capped
	Err        error         // private cause, for logs only
}

// New makes a fault with a formatted public message.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Error shows the code and the public message.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Kind.Info().Code + ": " + e.Message + ": " + e.Err.Error()
	}
	return e.Kind.Info().Code + ": " + e.Message
}

// Unwrap gives the private cause.
func (e *Error) Unwrap() error { return e.Err }

// With sets the private cause and returns e.
func (e *Error) With(err error) *Error { e.Err = err; return e }

// At sets the phase and returns e.
func (e *Error) At(p Phase) *Error { e.Phase = p; return e }

// After sets the retry hint and returns e.
func (e *Error) After(d time.Duration) *Error { e.RetryAfter = d; return e }

// As finds the fault in err's chain, or wraps err as Internal. It returns nil for nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Message: "internal error", Err: err}
}
