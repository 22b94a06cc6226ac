// Package anthropic speaks Anthropic Messages. Wire facts: @anthropic-ai/sdk 1.12.0 and 0.137.0
// declarations, the vendor's migration page for API version 2026-10-21, and recorded answers.
package anthropic

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// Frontend is the client side of anthropic-messages.
type Frontend struct{}

// Backend is the provider side of anthropic-messages.
type Backend struct{}

// Dialect names the dialect.
func (Frontend) Dialect() llm.Dialect { return llm.AnthropicMessages }

// Dialect names the dialect.
func (Backend) Dialect() llm.Dialect { return llm.AnthropicMessages }

var peekNames = []string{"model", "stream", "max_tokens", "metadata"}

// Peek implements dialect.Frontend. A missing max_tokens is left for the provider to refuse: it is
// required for messages only.
func (Frontend) Peek(op llm.Op, body []byte) (dialect.Head, error) {
	h := dialect.Head{Choices: 1, BodyLen: len(body)}
	var at [4]splice.Span
	if err := dialect.Pick(body, peekNames, at[:]); err != nil {
		return h, err
	}
	var err error
	if h.Model, err = dialect.Text(at[0].Of(body), "model"); err != nil {
		return h, err
	}
	if strings.TrimSpace(h.Model) == "" {
		f := fault.New(fault.Malformed, "model: Field required")
		f.Param = "model"
		return h, f
	}
	h.ModelSpan = at[0]
	stream, err := dialect.Bool(at[1].Of(body), "stream")
	if err != nil {
		return h, err
	}
	h.Stream = stream && op == llm.OpGenerate // a count never streams
	if h.MaxOutput, err = dialect.Whole(at[2].Of(body), "max_tokens", 0); err != nil {
		return h, err
	}
	for c := dialect.Walk(at[3].Of(body)); c.Next(); {
		if string(c.Name) == "user_id" {
			if h.User, err = dialect.Text(c.Value, "metadata.user_id"); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

// errorType is the vendor's name for a status; SDKs choose their error class by the status.
func errorType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusConflict:
		return "conflict_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable, 529:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

func status(f *fault.Error) int {
	if f.Kind == fault.QuotaExhausted {
		return http.StatusPaymentRequired
	}
	return dialect.FaultStatus(f)
}

// envelope renders {type:error, error:{type, message, details}, request_id}. Anthropic's errors have no
// code, so ours is in details, where SDKs leave unknown content alone.
func envelope(f *fault.Error, id string) []byte {
	text := dialect.FaultText(f, id)
	if dialect.ContextOverflow(f) && !strings.Contains(text, "prompt is too long") {
		text = "prompt is too long: " + text // what clients look for
	}
	b := []byte(`{"type":"error","error":{"type":"` + errorType(status(f)) + `","message":` + dialect.Quote(text) +
		`,"details":{"code":"` + f.Kind.Info().Code + `"`)
	if f.Param != "" {
		b = append(b, `,"param":`+dialect.Quote(f.Param)...)
	}
	b = append(b, "}}"...)
	if id != "" {
		b = append(b, `,"request_id":`+dialect.Quote(id)...)
	}
	return append(b, '}')
}

// EncodeFault implements dialect.Frontend.
func (Frontend) EncodeFault(f *fault.Error, id string) dialect.Rendered {
	s := status(f)
	h := dialect.FaultHeader(f, s)
	if id != "" {
		h["Request-Id"] = []string{id}
	}
	return dialect.Rendered{Status: s, Header: h, Body: envelope(f, id)}
}

// FaultEvent implements dialect.Frontend.
func (Frontend) FaultEvent(f *fault.Error, id string) []byte {
	return sse.Append(nil, "error", envelope(f, id))
}

// Keepalive is the vendor's own ping; the SDKs skip it anywhere, even before message_start.
func (Frontend) Keepalive() []byte { return []byte("event: ping\ndata: {\"type\": \"ping\"}\n\n") }

// RateHeaders adds anthropic-ratelimit-*; resets are RFC 3339 times, rounded up to the second.
func (Frontend) RateHeaders(h http.Header, s dialect.RateState, now time.Time) {
	if s.RequestLimit >= 0 {
		h["Anthropic-Ratelimit-Requests-Limit"] = []string{strconv.FormatInt(s.RequestLimit, 10)}
		h["Anthropic-Ratelimit-Requests-Remaining"] = []string{strconv.FormatInt(max(s.RequestRemaining, 0), 10)}
		h["Anthropic-Ratelimit-Requests-Reset"] = []string{resetText(now, s.RequestReset)}
	}
	if s.TokenLimit >= 0 {
		h["Anthropic-Ratelimit-Tokens-Limit"] = []string{strconv.FormatInt(s.TokenLimit, 10)}
		h["Anthropic-Ratelimit-Tokens-Remaining"] = []string{strconv.FormatInt(max(s.TokenRemaining, 0), 10)}
		h["Anthropic-Ratelimit-Tokens-Reset"] = []string{resetText(now, s.TokenReset)}
	}
}

func resetText(now time.Time, d time.Duration) string {
	return now.Add(max(d, 0) + time.Second - 1).UTC().Truncate(time.Second).Format(time.RFC3339)
}

// EncodeModels renders GET /v1/models, always one page.
func (f Frontend) EncodeModels(models []dialect.ModelInfo) []byte {
	b := []byte(`{"data":[`)
	for i, m := range models {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, f.EncodeModel(m)...)
	}
	first, last := "null", "null"
	if len(models) > 0 {
		first, last = dialect.Quote(models[0].ID), dialect.Quote(models[len(models)-1].ID)
	}
	return append(b, `],"has_more":false,"first_id":`+first+`,"last_id":`+last+`}`...)
}

// EncodeModel renders GET /v1/models/{id}. The vendor states the epoch when a release date is
// unknown, and so do we.
func (Frontend) EncodeModel(m dialect.ModelInfo) []byte {
	created := m.Created
	if created.IsZero() {
		created = time.Unix(0, 0)
	}
	id := dialect.Quote(m.ID)
	return []byte(`{"type":"model","id":` + id + `,"display_name":` + id + `,"created_at":"` + created.UTC().Format(time.RFC3339) + `"}`)
}

// Path implements dialect.Backend.
func (Backend) Path(op llm.Op, _, model string, _ bool) string {
	switch op {
	case llm.OpGenerate:
		return "/v1/messages"
	case llm.OpCountTokens:
		return "/v1/messages/count_tokens"
	case llm.OpModels:
		return "/v1/models"
	case llm.OpModel:
		return "/v1/models/" + model
	}
	return ""
}

// Splice implements dialect.Backend.
func (Backend) Splice(_ llm.Op, h dialect.Head, model string) []splice.Edit {
	if h.ModelSpan.Empty() || h.Model == model {
		return nil
	}
	return []splice.Edit{{Span: h.ModelSpan, Text: []byte(dialect.Quote(model))}}
}

// DecodeFault implements dialect.Backend.
func (Backend) DecodeFault(status int, h http.Header, body []byte) *fault.Error {
	r := readError(body)
	r.Status = status
	return dialect.Classify(r, h, body)
}

// readError reads {type:error, error:{type, message}}.
func readError(body []byte) dialect.Refusal {
	var r dialect.Refusal
	var top [1]splice.Span
	if !dialect.Find(body, []string{"error"}, top[:]) {
		return r
	}
	for c := dialect.Walk(top[0].Of(body)); c.Next(); {
		if c.Value[0] != '"' {
			continue
		}
		switch string(c.Name) {
		case "type":
			r.Code = dialect.Unquote(c.Value)
		case "message":
			r.Message = dialect.Unquote(c.Value)
		}
	}
	// An empty account answers 400 invalid_request_error, told apart by its text only.
	r.Quota = r.Code == "billing_error" || strings.Contains(r.Message, "credit balance is too low")
	return r
}

// eventStatus is the status that an error type inside a 200 stands for.
func eventStatus(code string) int {
	switch code {
	case "overloaded_error":
		return 529
	case "rate_limit_error":
		return http.StatusTooManyRequests
	case "invalid_request_error":
		return http.StatusBadRequest
	case "request_too_large":
		return http.StatusRequestEntityTooLarge
	case "authentication_error":
		return http.StatusUnauthorized
	case "permission_error":
		return http.StatusForbidden
	case "not_found_error":
		return http.StatusNotFound
	case "timeout_error":
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}

// Processing implements dialect.Backend: usage.inference_geo of the answer.
func (Backend) Processing(h http.Header, body []byte) string {
	var top [1]splice.Span
	if dialect.Find(body, []string{"usage"}, top[:]) && !top[0].Empty() {
		if g := inferenceGeo(top[0].Of(body)); g != "" {
			return g
		}
	}
	return dialect.Country(h)
}

func inferenceGeo(usage []byte) string {
	var at [1]splice.Span
	if !dialect.Find(usage, []string{"inference_geo"}, at[:]) || at[0].Empty() || usage[at[0].Start] != '"' {
		return ""
	}
	g := dialect.Unquote(at[0].Of(usage))
	if g == "not_available" || len(g) > 64 {
		return ""
	}
	return g
}

// UnaryUsage implements dialect.Backend. Counting tokens uses none.
func (Backend) UnaryUsage(op llm.Op, body []byte) (llm.Usage, bool) {
	var top [1]splice.Span
	if op == llm.OpCountTokens || !dialect.Find(body, []string{"usage"}, top[:]) || top[0].Empty() {
		return llm.Usage{}, false
	}
	var c counts
	if !c.merge(top[0].Of(body)) {
		return llm.Usage{}, false
	}
	return c.usage(), true
}
