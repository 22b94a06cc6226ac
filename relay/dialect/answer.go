package dialect

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// Helpers that the dialects' fault encoders share. Every refusal has the same headers; only the
// envelope differs.

// defaultRetry is what a 429, 503 or 529 says when nothing better is known.
const (
	defaultRetry      = time.Second
	defaultRetryQuota = time.Minute
)

// FaultHeader gives the headers of the answer to f with the given status: content type,
// x-should-retry always, and Retry-After in whole seconds, rounded up, on 429, 503 and 529 (SDKs
// obey both, protocols.md 2.5).
func FaultHeader(f *fault.Error, status int) http.Header {
	info := f.Kind.Info()
	h := http.Header{
		"Content-Type":   {"application/json"},
		"X-Should-Retry": {strconv.FormatBool(info.ShouldRetry)},
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable || status == 529 {
		h["Retry-After"] = []string{strconv.FormatInt(retrySeconds(f), 10)}
	}
	return h
}

// Wait is the hint that a client gets for f.
func Wait(f *fault.Error) time.Duration {
	switch {
	case f.RetryAfter > 0:
		return f.RetryAfter
	case f.Kind == fault.QuotaExhausted || f.Kind == fault.UpstreamQuota:
		return defaultRetryQuota
	}
	return defaultRetry
}

func retrySeconds(f *fault.Error) int64 {
	return max(1, int64((Wait(f)+time.Second-1)/time.Second))
}

// FaultText is the message a client reads: what happened, the fields concerned, and for refusals
// that an officer must look up, the request id.
func FaultText(f *fault.Error, id string) string {
	var b strings.Builder
	b.WriteString(f.Text())
	if len(f.Fields) > 0 {
		b.WriteString(" (")
		b.WriteString(strings.Join(f.Fields, ", "))
		b.WriteByte(')')
	}
	switch f.Kind {
	case fault.Residency, fault.Terms, fault.Approval:
		if id != "" && !strings.Contains(f.Message, id) {
			b.WriteString("; request id ")
			b.WriteString(id)
		}
	}
	return b.String()
}

// FaultStatus is the HTTP status of f. A provider's own 4xx keeps its number, unless a client
// would read it as a verdict on its own key.
func FaultStatus(f *fault.Error) int {
	info := f.Kind.Info()
	if f.Kind != fault.UpstreamRejected {
		return info.Status
	}
	switch f.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusGone, http.StatusMethodNotAllowed:
		return f.Status
	}
	return info.Status
}

// ContextOverflow reports whether f says that the prompt is too long for the model. Clients compact
// their history on it, so every protocol must keep it recognisable (protocols.md 2.5).
func ContextOverflow(f *fault.Error) bool {
	if f.Kind != fault.UpstreamRejected {
		return false
	}
	m := strings.ToLower(f.Message)
	return strings.Contains(m, "prompt is too long") || strings.Contains(m, "context window") ||
		strings.Contains(m, "context length") || strings.Contains(m, "context_length_exceeded") ||
		strings.Contains(m, "input token count") && strings.Contains(m, "exceeds")
}

// Quote renders s as a JSON string; it never fails, and replaces invalid UTF-8.
func Quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil { // a string always encodes
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}
