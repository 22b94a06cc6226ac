package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Outcome says what became of a write that was not answered with success.
type Outcome string

// The outcomes.
const (
	OutcomeNone    Outcome = "none"    // nothing happened
	OutcomeApplied Outcome = "applied" // it happened
	OutcomeUnknown Outcome = "unknown" // it may have: retry with the same Idempotency-Key
)

// Problem is an error as the admin API says it (RFC 9457), and as Client returns it.
type Problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	Code      string  `json:"code"`
	Retryable bool    `json:"retryable"`
	Outcome   Outcome `json:"outcome"`
	Field     string  `json:"field,omitempty"`    // path of the member at fault
	Problems  []Place `json:"problems,omitempty"` // when there is more than one
}

// Place is one of several things wrong with a document.
type Place struct {
	Field   string `json:"field,omitempty"`
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

// Error is the detail with its code, for people.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Code)
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	for _, q := range p.Problems {
		fmt.Fprintf(&b, "\n  ")
		if q.Line > 0 {
			fmt.Fprintf(&b, "line %d: ", q.Line)
		}
		if q.Field != "" {
			b.WriteString(q.Field + ": ")
		}
		b.WriteString(q.Message)
	}
	return b.String()
}

// problem makes a Problem for a code of the table below.
func problem(code, format string, args ...any) *Problem {
	k, ok := kinds()[code]
	if !ok {
		k = kind{status: http.StatusInternalServerError, outcome: OutcomeUnknown}
	}
	return &Problem{
		Type: "urn:causeway:problem:" + code, Title: http.StatusText(k.status), Status: k.status,
		Detail: fmt.Sprintf(format, args...), Code: code, Retryable: k.retry, Outcome: k.outcome,
	}
}

func (p *Problem) at(field string) *Problem { p.Field = field; return p }

type kind struct {
	status  int
	retry   bool
	outcome Outcome
}

// kinds is every code the admin API can answer with.
func kinds() map[string]kind {
	return map[string]kind{
		"invalid":               {http.StatusUnprocessableEntity, false, OutcomeNone},
		"malformed":             {http.StatusBadRequest, false, OutcomeNone},
		"unauthorized":          {http.StatusUnauthorized, false, OutcomeNone},
		"forbidden":             {http.StatusForbidden, false, OutcomeNone},
		"not_found":             {http.StatusNotFound, false, OutcomeNone},
		"not_in_this_version":   {http.StatusNotFound, false, OutcomeNone},
		"method_not_allowed":    {http.StatusMethodNotAllowed, false, OutcomeNone},
		"conflict":              {http.StatusConflict, false, OutcomeNone},
		"in_use":                {http.StatusConflict, false, OutcomeNone},
		"idempotency_mismatch":  {http.StatusConflict, false, OutcomeNone},
		"denied":                {http.StatusForbidden, false, OutcomeNone},
		"precondition_failed":   {http.StatusPreconditionFailed, false, OutcomeNone},
		"too_large":             {http.StatusRequestEntityTooLarge, false, OutcomeNone},
		"confirmation_required": {http.StatusConflict, false, OutcomeNone},
		"not_leader":            {http.StatusServiceUnavailable, true, OutcomeNone},
		"no_leader":             {http.StatusServiceUnavailable, true, OutcomeNone},
		"busy":                  {http.StatusServiceUnavailable, true, OutcomeNone},
		"stale":                 {http.StatusServiceUnavailable, true, OutcomeNone},
		"disk_full":             {http.StatusInsufficientStorage, true, OutcomeNone},
		"timeout":               {http.StatusGatewayTimeout, true, OutcomeUnknown},
		"unknown_outcome":       {http.StatusGatewayTimeout, true, OutcomeUnknown},
		"shutting_down":         {http.StatusServiceUnavailable, true, OutcomeUnknown},
		"internal":              {http.StatusInternalServerError, false, OutcomeUnknown},
	}
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	if p.Retryable {
		w.Header().Set("Retry-After", "1")
	}
	body, err := json.Marshal(p)
	if err != nil { // plain strings and numbers: cannot happen
		http.Error(w, p.Code, p.Status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

func itoa(i int) string { return strconv.Itoa(i) }
