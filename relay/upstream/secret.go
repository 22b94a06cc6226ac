package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// Value is a credential. Every way of printing or encoding it gives a fingerprint; only Reveal gives
// the credential itself.
type Value struct{ v string }

// NewValue wraps a credential.
func NewValue(s string) Value { return Value{s} }

// Reveal is the credential, for the one header that needs it.
func (v Value) Reveal() string { return v.v }

// Empty reports whether there is none.
func (v Value) Empty() bool { return v.v == "" }

// String is a fingerprint: enough to tell two secrets apart, useless to guess one.
func (v Value) String() string {
	if v.v == "" {
		return "none"
	}
	sum := sha256.Sum256([]byte("causeway secret fingerprint\x00" + v.v))
	return "fp:" + hex.EncodeToString(sum[:4])
}

// GoString is String, for %#v.
func (v Value) GoString() string { return v.String() }

// Format is String, whatever the verb.
func (v Value) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(v.String())) }

// MarshalText is String, for JSON, YAML and logs.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// MarshalJSON is String in quotes.
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + v.String() + `"`), nil }

// Secret is one credential of a provider account with its own limits. 0 = not limited.
type Secret struct {
	ID       string
	Value    Value
	Weight   int // 0 counts as 1
	RPM, TPM int64
}

// Secrets is a provider's pool of credentials. It is safe for concurrent use and takes the time from
// its callers.
type Secrets struct {
	mu   sync.Mutex
	list []secretState
}

type secretState struct {
	Secret
	account rest            // of the whole account: it is out of money
	models  map[string]rest // vendors limit and permit by model, so that is how a secret rests
	rpm     time.Time       // theoretical arrival time of the request rate (GCRA)
	tpm     time.Time       // until when the used tokens are paid off
}

// rest is a pause of a secret.
type rest struct {
	until  time.Time
	firm   bool // until is the provider's word or a refused credential: not even a last resort
	cause  fault.Kind
	strike int // failures in a row that gave no hint
}

// resting is the longer of the two pauses that concern a model.
func (x *secretState) resting(model string) rest {
	if m, ok := x.models[model]; ok && m.until.After(x.account.until) {
		return m
	}
	return x.account
}

// maxModels bounds how many models a secret's pauses are kept for.
const maxModels = 1024

// How long a secret rests when the provider gives no hint.
const (
	rateRest  = time.Second // doubled for each failure in a row
	rateMax   = 30 * time.Second
	authRest  = time.Minute
	quotaRest = time.Minute
	burst     = 10 * time.Second // how much of a minute's allowance may go at once
	maxDebt   = 24 * time.Hour   // of tokens used beyond tpm
)

// NewSecrets checks and takes a pool. An empty pool is allowed: it never has anything to pick.
func NewSecrets(list []Secret) (*Secrets, error) {
	s := &Secrets{list: make([]secretState, 0, len(list))}
	for _, x := range list {
		switch {
		case x.ID == "":
			return nil, errors.New("secret without id")
		case x.Value.Empty():
			return nil, fmt.Errorf("secret %q is empty", x.ID)
		case x.Weight < 0 || x.RPM < 0 || x.TPM < 0:
			return nil, fmt.Errorf("secret %q: negative weight or limit", x.ID)
		case slices.ContainsFunc(s.list, func(y secretState) bool { return y.ID == x.ID }):
			return nil, fmt.Errorf("secret %q is listed twice", x.ID)
		}
		x.Weight = max(x.Weight, 1)
		s.list = append(s.list, secretState{Secret: x})
	}
	return s, nil
}

// Pick chooses, for a request for the model, among the secrets not in tried, by weight, and counts
// one request against it. When
// none is free, but one only rests on our own guess, that one is used as the last resort. Else ok is
// false and wait is when the first will be free; 0 means that there is nothing left to wait for.
func (s *Secrets) Pick(now time.Time, model string, tried []string, draw uint64) (pick Secret, wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var free, resort []int
	var freeBuf, resortBuf [8]int
	free, resort = freeBuf[:0], resortBuf[:0]
	total := 0
	for i := range s.list {
		x := &s.list[i]
		if slices.Contains(tried, x.ID) {
			continue
		}
		limited, rest := x.limitedUntil(now), x.resting(model)
		switch ready := later(rest.until, limited); {
		case !ready.After(now):
			free = append(free, i)
			total += x.Weight
		case !rest.firm && !limited.After(now):
			resort = append(resort, i)
		case wait == 0 || ready.Sub(now) < wait:
			wait = ready.Sub(now)
		}
	}
	best := -1
	switch {
	case len(free) > 0:
		at := int(draw % uint64(total))
		for _, i := range free {
			if at -= s.list[i].Weight; at < 0 {
				best = i
				break
			}
		}
	case len(resort) > 0:
		best = slices.MinFunc(resort, func(a, b int) int { return s.list[a].resting(model).until.Compare(s.list[b].resting(model).until) })
	default:
		return Secret{}, wait, false
	}
	x := &s.list[best]
	if x.RPM > 0 {
		x.rpm = later(x.rpm, now).Add(time.Minute / time.Duration(x.RPM))
	}
	return x.Secret, 0, true
}

// limitedUntil is when the secret's own rates next allow a request.
func (x *secretState) limitedUntil(now time.Time) time.Time {
	var t time.Time
	if x.RPM > 0 {
		if each := time.Minute / time.Duration(x.RPM); x.rpm.Add(each).Sub(now) > max(burst, each) {
			t = x.rpm.Add(each).Add(-max(burst, each))
		}
	}
	if x.TPM > 0 && x.tpm.Sub(now) > burst {
		t = later(t, x.tpm.Add(-burst))
	}
	return t
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Report says how a request for the model with that secret ended; nil means that the provider took
// it. Only faults that speak of the credential or its account rest it: a provider that is down is
// down for every secret.
func (s *Secrets) Report(now time.Time, model, id string, f *fault.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(id)
	if i < 0 {
		return
	}
	x := &s.list[i]
	if f == nil {
		x.account.strike = 0
		delete(x.models, model)
		return
	}
	r, pause, firm := x.models[model], time.Duration(0), true
	switch f.Kind {
	case fault.UpstreamRate:
		pause = f.RetryAfter
		if pause <= 0 {
			pause, firm = min(rateRest<<min(r.strike, 10), rateMax), false
		}
	case fault.UpstreamAuth:
		pause = authRest
	case fault.UpstreamQuota:
		x.account.take(now.Add(max(quotaRest, f.RetryAfter)), true, f.Kind)
		return
	default:
		return
	}
	r.take(now.Add(pause), firm, f.Kind)
	if x.models == nil || len(x.models) >= maxModels {
		x.models = make(map[string]rest)
	}
	x.models[model] = r
}

// take lengthens a pause, never shortens it.
func (r *rest) take(until time.Time, firm bool, cause fault.Kind) {
	r.strike++
	if until.After(r.until) {
		r.until, r.firm, r.cause = until, firm, cause
	} else {
		r.firm = r.firm || firm
	}
}

// Why says for which reason there is nothing to pick for the model: UpstreamAuth or UpstreamQuota when
// every secret rests for such a cause, so that waiting is of no use to the request, else UpstreamRate.
func (s *Secrets) Why(now time.Time, model string) fault.Kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	why := fault.UpstreamRate
	for i := range s.list {
		r := s.list[i].resting(model)
		if !r.until.After(now) || r.cause != fault.UpstreamAuth && r.cause != fault.UpstreamQuota {
			return fault.UpstreamRate
		}
		why = r.cause
	}
	return why
}

// Settle charges the tokens that a request with that secret used against its tpm.
func (s *Secrets) Settle(now time.Time, id string, tokens int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(id); i >= 0 && s.list[i].TPM > 0 && tokens > 0 {
		x := &s.list[i]
		hi, lo := bits.Mul64(uint64(tokens), uint64(time.Minute))
		use := maxDebt
		if hi < uint64(x.TPM) {
			q, _ := bits.Div64(hi, lo, uint64(x.TPM))
			use = time.Duration(min(q, uint64(maxDebt)))
		}
		x.tpm = later(x.tpm, now).Add(use)
	}
}

func (s *Secrets) find(id string) int {
	return slices.IndexFunc(s.list, func(x secretState) bool { return x.ID == id })
}
