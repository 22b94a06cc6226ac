// Package retry decides whether a failed attempt is followed by another. It is pure: the caller
// brings the clock, the history and the random draw.
package retry

import (
	"time"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// Policy bounds one request.
type Policy struct {
	Attempts int       // in all, the first included; 0 takes DefaultAttempts
	Deadline time.Time // zero = none
	Draw     uint64    // random bits for the jitter of this decision
}

// DefaultAttempts is what mesh.yaml's route.attempts defaults to.
const DefaultAttempts = 3

// Attempt is one try that has ended.
type Attempt struct {
	Target, Exit string
	Fault        *fault.Error // nil = it succeeded
	At           time.Time    // when it ended
}

// Decision is what to do next.
type Decision struct {
	Retry      bool
	After      time.Duration // wait this long first
	SameTarget bool          // no untried candidate is left: try the last target again
	// Final is what the client gets when Retry is false: the most telling fault of the history, its
	// RetryAfter the soonest moment at which another request could do better. nil after a success.
	Final *fault.Error
	Why   string // for logs and `route explain`
}

// Full-jitter backoff before a second try at the same target.
const (
	backoffBase = 250 * time.Millisecond
	backoffCap  = 8 * time.Second
)

// Backoff is a full-jitter delay for the n-th retry (from 0): a draw from [0, min(cap, base*2^n)).
func Backoff(n int, draw uint64) time.Duration {
	ceil := backoffCap
	if n < 5 {
		ceil = min(backoffBase<<max(n, 0), backoffCap)
	}
	return time.Duration(draw % uint64(ceil))
}

// Decide looks at the attempts so far, the last one being the newest. contentSent says that the
// client has received answer content: from then on nothing is ever replayed. left counts candidates
// (secret, target, exit) that have not been tried.
func Decide(now time.Time, p Policy, history []Attempt, contentSent bool, left int) Decision {
	if len(history) == 0 {
		return Decision{Retry: left > 0, Why: "first attempt"}
	}
	last := history[len(history)-1].Fault
	if last == nil {
		return Decision{Why: "succeeded"}
	}
	if contentSent {
		// The client must learn why its stream broke, not what went wrong before it began.
		f := *last
		f.Phase = fault.Partial
		return Decision{Final: &f, Why: "content has reached the client"}
	}
	stop := func(why string) Decision { return Decision{Final: final(now, history), Why: why} }

	rule := ruleOf(last)
	if !rule.elsewhere && !rule.again {
		return Decision{Final: last, Why: rule.why}
	}
	limit := p.Attempts
	if limit <= 0 {
		limit = DefaultAttempts
	}
	if len(history) >= limit {
		return stop("attempts are spent")
	}
	d := Decision{Retry: true, Why: rule.why}
	switch {
	case left > 0 && rule.elsewhere:
	case rule.again:
		// A hint is a promise about that target: it may be lengthened by jitter, never shortened.
		d.SameTarget = true
		d.After = last.RetryAfter + Backoff(len(history)-1, p.Draw)
	default:
		return stop("no other candidate, and the same one would fail again")
	}
	if !p.Deadline.IsZero() && !now.Add(d.After).Before(p.Deadline) {
		return stop("the deadline comes first")
	}
	return d
}

// rule is what one fault allows before content.
type rule struct {
	elsewhere bool // another candidate may do better
	again     bool // the same candidate may do better a little later
	why       string
}

// ruleOf reads the fault table and adds what only a repeated try needs to know. A provider that
// answered 4xx or 5xx did not complete the request, so another may be asked although the first was
// sent; a broken or silent answer may have been billed, and before content a second bill is the
// lesser evil (DESIGN.md 3.10, 7). The same holds for an exit that died, whatever the phase.
func ruleOf(f *fault.Error) rule {
	info := f.Kind.Info()
	r := rule{why: f.Kind.String()}
	switch info.Retry {
	case fault.Safe:
		r.elsewhere = true
	case fault.IfNotSent:
		r.elsewhere = f.Phase == fault.NotSent || f.Kind == fault.ExitLost
	default:
		return r
	}
	switch f.Kind {
	case fault.UpstreamRate, fault.UpstreamOverload, fault.UpstreamError, fault.UpstreamTimeout, fault.UpstreamUnreached,
		fault.UpstreamPartial, fault.ExitUnreachable, fault.ExitLost:
		r.again = r.elsewhere // transient; a bad credential, account or answer form is not
	}
	return r
}

// final picks what to tell the client. The provider's word about the request or its account beats a
// transport failure; among equals the newest wins.
func final(now time.Time, history []Attempt) *fault.Error {
	best, rank := history[len(history)-1].Fault, -1
	var soonest time.Duration
	for _, a := range history {
		if a.Fault == nil {
			continue
		}
		if r := rankOf(a.Fault.Kind); r >= rank {
			best, rank = a.Fault, r
		}
		if a.Fault.RetryAfter > 0 {
			wait := max(a.At.Add(a.Fault.RetryAfter).Sub(now), time.Millisecond)
			if soonest == 0 || wait < soonest {
				soonest = wait
			}
		}
	}
	f := *best
	if f.RetryAfter > 0 {
		f.RetryAfter = soonest
	}
	return &f
}

func rankOf(k fault.Kind) int {
	switch k {
	case fault.UpstreamRate:
		return 5
	case fault.UpstreamOverload:
		return 4
	case fault.UpstreamError, fault.UpstreamProtocol, fault.UpstreamPartial:
		return 3
	case fault.UpstreamTimeout:
		return 2
	case fault.UpstreamQuota, fault.UpstreamAuth:
		return 1
	default:
		return 0
	}
}
