// Package openai speaks the two OpenAI dialects, Chat Completions and Responses, with embeddings
// under both. Wire facts: openai SDK 7.57.0 and openai-go v3.96.0 declarations, OpenAI's OpenAPI file,
// and recorded answers.
package openai

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// common is what both dialects share.
type common struct{}

// errorType is the "type" of an error object.
func errorType(k fault.Kind, status int) string {
	switch {
	case k == fault.QuotaExhausted:
		return "insufficient_quota"
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status == http.StatusForbidden:
		return "permission_error"
	case status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

func errorCode(f *fault.Error) string {
	if dialect.ContextOverflow(f) {
		return "context_length_exceeded"
	}
	return f.Kind.Info().Code
}

// appendMembers writes the four members that every error object has.
func appendMembers(b []byte, f *fault.Error, id string) []byte {
	b = append(b, `"message":`...)
	b = append(b, dialect.Quote(dialect.FaultText(f, id))...)
	b = append(b, `,"type":"`...)
	b = append(b, errorType(f.Kind, dialect.FaultStatus(f))...)
	b = append(b, `","param":`...)
	b = appendParam(b, f)
	b = append(b, `,"code":"`...)
	b = append(b, errorCode(f)...)
	return append(b, '"')
}

func appendParam(b []byte, f *fault.Error) []byte {
	if f.Param == "" {
		return append(b, "null"...)
	}
	return append(b, dialect.Quote(f.Param)...)
}

func appendError(b []byte, f *fault.Error, id string) []byte {
	b = append(b, `{"error":{`...)
	b = appendMembers(b, f, id)
	return append(b, "}}"...)
}

// EncodeFault renders f as an OpenAI error answer.
func (common) EncodeFault(f *fault.Error, id string) dialect.Rendered {
	status := dialect.FaultStatus(f)
	h := dialect.FaultHeader(f, status)
	if id != "" {
		h["X-Request-Id"] = []string{id}
	}
	return dialect.Rendered{Status: status, Header: h, Body: append(appendError(nil, f, id), '\n')}
}

// Keepalive is a comment frame: OpenAI's readers skip it.
func (common) Keepalive() []byte { return []byte(": keepalive\n\n") }

// RateHeaders adds x-ratelimit-*; resets are durations such as "6m0s" or "12ms".
func (common) RateHeaders(h http.Header, s dialect.RateState, _ time.Time) {
	if s.RequestLimit >= 0 {
		h["X-Ratelimit-Limit-Requests"] = []string{strconv.FormatInt(s.RequestLimit, 10)}
		h["X-Ratelimit-Remaining-Requests"] = []string{strconv.FormatInt(max(s.RequestRemaining, 0), 10)}
		h["X-Ratelimit-Reset-Requests"] = []string{resetText(s.RequestReset)}
	}
	if s.TokenLimit >= 0 {
		h["X-Ratelimit-Limit-Tokens"] = []string{strconv.FormatInt(s.TokenLimit, 10)}
		h["X-Ratelimit-Remaining-Tokens"] = []string{strconv.FormatInt(max(s.TokenRemaining, 0), 10)}
		h["X-Ratelimit-Reset-Tokens"] = []string{resetText(s.TokenReset)}
	}
}

// resetText rounds up to milliseconds, so that a client never comes back too early.
func resetText(d time.Duration) string {
	return (max(d, 0) + time.Millisecond - 1).Truncate(time.Millisecond).String()
}

// EncodeModels renders GET /v1/models.
func (c common) EncodeModels(models []dialect.ModelInfo) []byte {
	b := []byte(`{"object":"list","data":[`)
	for i, m := range models {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, c.EncodeModel(m)...)
	}
	return append(b, "]}"...)
}

// EncodeModel renders GET /v1/models/{id}.
func (common) EncodeModel(m dialect.ModelInfo) []byte {
	var created int64
	if !m.Created.IsZero() {
		created = m.Created.Unix()
	}
	owner := m.OwnedBy
	if owner == "" {
		owner = "causeway"
	}
	return []byte(`{"id":` + dialect.Quote(m.ID) + `,"object":"model","created":` + strconv.FormatInt(created, 10) +
		`,"owned_by":` + dialect.Quote(owner) + `}`)
}

// DecodeFault classifies an OpenAI error answer.
func (common) DecodeFault(status int, h http.Header, body []byte) *fault.Error {
	r := readError(body)
	r.Status = status
	return dialect.Classify(r, h, body)
}

// Processing reads the fake providers' header: OpenAI itself states no place.
func (common) Processing(h http.Header, _ []byte) string { return dialect.Country(h) }

// readError reads {"error":{...}}, or the flat object of a Responses error event.
func readError(body []byte) dialect.Refusal {
	var top [1]splice.Span
	if dialect.Find(body, []string{"error"}, top[:]) && !top[0].Empty() {
		if v := top[0].Of(body); v[0] == '{' {
			return readErrorObject(v)
		} else if v[0] == '"' {
			return dialect.Refusal{Message: dialect.Unquote(v)} // compatible servers send a bare string
		}
	}
	return readErrorObject(body)
}

func readErrorObject(v []byte) dialect.Refusal {
	var at [4]splice.Span
	if !dialect.Find(v, []string{"message", "param", "code", "type"}, at[:]) {
		return dialect.Refusal{}
	}
	text := func(i int) string {
		if at[i].Empty() || v[at[i].Start] != '"' {
			return ""
		}
		return dialect.Unquote(at[i].Of(v))
	}
	r := dialect.Refusal{Message: text(0), Param: text(1), Code: text(2)}
	if r.Code == "" {
		r.Code = text(3)
	}
	r.Quota = r.Code == "insufficient_quota" || text(3) == "insufficient_quota" || r.Code == "billing_hard_limit_reached"
	r.Auth = r.Code == "invalid_api_key" || r.Code == "unsupported_country_region_territory" || r.Code == "account_deactivated"
	return r
}

// eventStatus is the status that an error object inside a 200 stands for.
func eventStatus(code string) int {
	switch code {
	case "rate_limit_exceeded", "rate_limit_error", "insufficient_quota", "requests", "tokens":
		return http.StatusTooManyRequests
	case "server_overloaded", "overloaded", "overloaded_error", "service_unavailable":
		return http.StatusServiceUnavailable
	case "invalid_request_error", "invalid_prompt", "context_length_exceeded", "content_policy_violation", "model_not_found", "invalid_image":
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// streamFault classifies an error object that came inside a stream.
func streamFault(r dialect.Refusal, raw []byte) *fault.Error {
	r.Status = eventStatus(r.Code)
	f := dialect.Classify(r, nil, raw)
	f.Status = 0 // the HTTP status was 200
	return f
}

// path is the part after base_url for everything but generation, which differs.
func path(op llm.Op, model, generate string) string {
	switch op {
	case llm.OpGenerate:
		return generate
	case llm.OpEmbed:
		return "/embeddings"
	case llm.OpModels:
		return "/models"
	case llm.OpModel:
		return "/models/" + model
	}
	return otherPath(op)
}

// rename is the edit that every operation with a body needs, unless the name is the same.
func rename(h dialect.Head, model string) []splice.Edit {
	switch {
	case h.Model == model || h.ModelSpan == splice.Span{}:
		return nil
	case h.Form:
		return []splice.Edit{{Span: h.ModelSpan, Text: []byte(model)}}
	case h.ModelSpan.Empty(): // the client left it to the provider, whose default has another name there
		return []splice.Edit{{Span: h.ModelSpan, Text: []byte(`"model":` + dialect.Quote(model) + ",")}}
	}
	return []splice.Edit{{Span: h.ModelSpan, Text: []byte(dialect.Quote(model))}}
}

var usageNames = []string{"usage"}

// unaryUsage finds the top-level usage of an answer.
func unaryUsage(body []byte) (llm.Usage, bool) {
	var at [1]splice.Span
	if !dialect.Find(body, usageNames, at[:]) || at[0].Empty() {
		return llm.Usage{}, false
	}
	return readUsage(at[0].Of(body))
}

// readUsage reads both dialects' usage objects: prompt_tokens and completion_tokens in chat and
// embeddings, input_tokens and output_tokens in Responses. Totals include their details.
func readUsage(v []byte) (llm.Usage, bool) {
	if len(v) == 0 || v[0] != '{' {
		return llm.Usage{}, false
	}
	var u llm.Usage
	var total int64
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "type": // a transcript may be billed by its seconds
			if string(c.Value) == `"duration"` {
				return llm.Usage{}, false
			}
		case "total_tokens":
			total = dialect.Count(c.Value)
		case "prompt_cache_hit_tokens", "cached_tokens": // DeepSeek, Moonshot
			u.Cached = max(u.Cached, dialect.Count(c.Value))
		case "prompt_tokens", "input_tokens":
			u.Input = dialect.Count(c.Value)
		case "completion_tokens", "output_tokens":
			u.Output = dialect.Count(c.Value)
		case "prompt_tokens_details", "input_tokens_details", "completion_tokens_details", "output_tokens_details":
			readDetails(&u, c.Value)
		}
	}
	// xAI and Google's OpenAI endpoint leave reasoning out of the completion count, and only their
	// total tells.
	if hidden := total - u.Input - u.Output; hidden > 0 && (u.Reasoning == 0 || u.Reasoning == hidden) {
		u.Output, u.Reasoning = u.Output+hidden, hidden
	}
	return u, true
}

func readDetails(u *llm.Usage, v []byte) {
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "cached_tokens":
			u.Cached = max(u.Cached, dialect.Count(c.Value))
		case "cache_write_tokens":
			u.CacheWrite = dialect.Count(c.Value)
		case "reasoning_tokens":
			u.Reasoning = dialect.Count(c.Value)
		}
	}
}

// peekEmbed reads the head of an embeddings request.
func peekEmbed(body []byte) (dialect.Head, error) {
	h := dialect.Head{Choices: 1, BodyLen: len(body)}
	var at [2]splice.Span
	if err := dialect.Pick(body, []string{"model", "user"}, at[:]); err != nil {
		return h, err
	}
	var err error
	if h.Model, h.ModelSpan, err = peekModel(body, at[0]); err != nil {
		return h, err
	}
	h.User, err = dialect.Text(at[1].Of(body), "user")
	return h, err
}

func peekModel(body []byte, at splice.Span) (string, splice.Span, error) {
	m, err := dialect.Text(at.Of(body), "model")
	if err == nil && strings.TrimSpace(m) == "" {
		f := fault.New(fault.Malformed, "model is required")
		f.Param = "model"
		err = f
	}
	if err != nil {
		return "", splice.Span{}, err
	}
	return m, at, nil
}
