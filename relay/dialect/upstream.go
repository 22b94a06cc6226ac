package dialect

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/causeway-mesh/causeway/relay/fault"
)

const (
	maxWait    = 24 * time.Hour // a longer hint is a mistake
	maxMessage = 1 << 10
	maxRaw     = 16 << 10
)

// Refusal is what a dialect reads from a provider's error body before it is classified.
type Refusal struct {
	Status  int
	Message string
	Param   string
	Code    string        // the most specific code: OpenAI code, Anthropic error type, Gemini status
	Wait    time.Duration // a hint inside the body; 0 = none
	Auth    bool          // the body blames the credential although the status does not
	Quota   bool          // the body says that the account is out of money
}

// Classify makes the fault of a provider's error answer. Upstream messages are kept, without what
// identifies the provider account; those about credentials are replaced.
func Classify(r Refusal, h http.Header, body []byte) *fault.Error {
	f := &fault.Error{
		Kind: kindOf(r), Phase: fault.Sent, Status: r.Status, Param: clip(r.Param, fault.MaxParam),
		RetryAfter: max(RetryAfter(h), min(max(r.Wait, 0), maxWait)),
	}
	switch f.Kind {
	case fault.UpstreamAuth, fault.UpstreamQuota:
		// The message may hold key fragments and account names, and is about the operator's account.
	case fault.UpstreamRejected:
		f.Message = Redact(r.Message)
		f.Raw = append([]byte(nil), body[:min(len(body), maxRaw)]...)
	default:
		f.Message = f.Kind.Info().Text
		if m := Redact(r.Message); m != "" {
			f.Message += ": " + m
		}
	}
	return f
}

func kindOf(r Refusal) fault.Kind {
	switch {
	case r.Quota || r.Status == http.StatusPaymentRequired:
		return fault.UpstreamQuota
	case r.Auth || r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden || r.Status == http.StatusProxyAuthRequired:
		return fault.UpstreamAuth
	case r.Status == http.StatusTooManyRequests:
		return fault.UpstreamRate
	case r.Status == http.StatusRequestTimeout || r.Status == http.StatusGatewayTimeout:
		return fault.UpstreamTimeout
	case r.Status == http.StatusServiceUnavailable || r.Status == 529:
		return fault.UpstreamOverload
	case r.Status >= 500:
		return fault.UpstreamError
	case r.Status >= 400:
		return fault.UpstreamRejected
	}
	return fault.UpstreamProtocol
}

// RetryAfter reads a provider's hint: retry-after-ms, retry-after (seconds or a date), the OpenAI
// reset durations, the Anthropic reset times. Of several resets those of an exhausted limit count,
// and of these the longest: a hint is never shortened.
func RetryAfter(h http.Header) time.Duration {
	now := time.Now()
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		now = t // the provider's clock wrote the absolute times
	}
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return span(ms / 1e3)
	}
	if v := h.Get("Retry-After"); v != "" {
		if s, err := strconv.ParseFloat(v, 64); err == nil {
			return span(s)
		}
		if t, err := http.ParseTime(v); err == nil {
			return between(t.Sub(now))
		}
	}
	var all, exhausted time.Duration
	for _, r := range resets {
		v := h[r.reset]
		if len(v) == 0 {
			continue
		}
		d, err := time.ParseDuration(v[0])
		if err != nil {
			t, err := time.Parse(time.RFC3339, v[0])
			if err != nil {
				continue
			}
			d = t.Sub(now)
		}
		d = between(d)
		all = max(all, d)
		if left := h[r.left]; len(left) > 0 && left[0] == "0" {
			exhausted = max(exhausted, d)
		}
	}
	if exhausted > 0 {
		return exhausted
	}
	return all
}

var resets = [...]struct{ reset, left string }{
	{"X-Ratelimit-Reset-Requests", "X-Ratelimit-Remaining-Requests"},
	{"X-Ratelimit-Reset-Tokens", "X-Ratelimit-Remaining-Tokens"},
	{"Anthropic-Ratelimit-Requests-Reset", "Anthropic-Ratelimit-Requests-Remaining"},
	{"Anthropic-Ratelimit-Tokens-Reset", "Anthropic-Ratelimit-Tokens-Remaining"},
	{"Anthropic-Ratelimit-Input-Tokens-Reset", "Anthropic-Ratelimit-Input-Tokens-Remaining"},
	{"Anthropic-Ratelimit-Output-Tokens-Reset", "Anthropic-Ratelimit-Output-Tokens-Remaining"},
}

func between(d time.Duration) time.Duration { return min(max(d, 0), maxWait) }

func span(seconds float64) time.Duration {
	if !(seconds > 0) { // NaN too
		return 0
	}
	if seconds > maxWait.Seconds() {
		return maxWait
	}
	return time.Duration(seconds * float64(time.Second))
}

// secretWords begin the words of upstream messages that identify an account.
var secretWords = [...]string{"sk-", "sk_", "org-", "org_", "proj_", "proj-", "user-", "AIza", "ya29.", "gsk_", "xai-", "req_", "projects/", "project_number:"}

// Redact shortens a provider's message and blanks what identifies the operator's account there: keys,
// masked keys, organisation and project names.
func Redact(m string) string {
	m = clip(m, maxMessage)
	words := strings.FieldsFunc(m, func(r rune) bool { return strings.ContainsRune(" \t\n\r,;()[]{}<>\"'`=", r) })
	for _, w := range words {
		if secretWord(w) {
			m = strings.ReplaceAll(m, w, "[redacted]")
		}
	}
	return strings.ToValidUTF8(m, "\uFFFD")
}

func secretWord(w string) bool {
	w = strings.TrimLeft(w, ":.")
	if strings.Contains(w, "****") {
		return true
	}
	for _, p := range secretWords {
		if strings.HasPrefix(w, p) && len(w) >= len(p)+4 {
			return true
		}
	}
	return false
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// FakeCountry is the header in which the built-in fake providers state where they processed.
const FakeCountry = "X-Causeway-Fake-Country"

// Country is the processing place in the built-in fake providers' header, or "".
func Country(h http.Header) string {
	if v := h[FakeCountry]; len(v) > 0 {
		return clip(v[0], 32)
	}
	return ""
}
