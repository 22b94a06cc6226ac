package fake

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// vendor is whose manners an exchange follows.
type vendor uint8

const (
	vendorOpenAI vendor = iota
	vendorAnthropic
	vendorGoogle
)

// problem is a refusal, rendered in its vendor's form.
type problem struct {
	status  int
	code    string // OpenAI's code; Google's ErrorInfo reason
	param   string // OpenAI only
	message string
	details string // Google: the details array, ready-made
	after   int    // seconds until the next try; 0 = not said
}

func (p *problem) Error() string { return p.message }

func bad(format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, message: fmt.Sprintf(format, args...)}
}

func badParam(param, code, format string, args ...any) *problem {
	p := bad(format, args...)
	p.param, p.code = param, code
	return p
}

// problemOf says in the vendor's words what is wrong with a body.
func (v vendor) problemOf(err error) *problem {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	f, ok := errors.AsType[*fieldError](err)
	switch v {
	case vendorAnthropic:
		switch {
		case !ok:
			return bad("The request body is not valid JSON: %s", syntax(err))
		case f.unknown != "":
			return bad("%s: Extra inputs are not permitted", dotted(f.at))
		default:
			return bad("%s: Input should be %s", dotted(f.at), f.want)
		}
	case vendorGoogle:
		switch {
		case !ok:
			return bad("Invalid JSON payload received. %s", syntax(err))
		case f.unknown != "":
			parent := dotted(f.at[:max(strings.LastIndexByte(string(f.at), '/'), 0)])
			where := ""
			if parent != "" {
				where = " at '" + bracketed(f.at[:strings.LastIndexByte(string(f.at), '/')]) + "'"
			}
			p := bad("Invalid JSON payload received. Unknown name %q%s: Cannot find field.", f.unknown, where)
			p.details = violation("", p.message)
			return p
		default:
			p := bad("Invalid value at '%s' (%s), got %s", bracketed(f.at), f.want, f.got)
			p.details = violation(bracketed(f.at), p.message)
			return p
		}
	default:
		switch {
		case !ok:
			return bad("We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON: %s)", syntax(err))
		case f.unknown != "":
			at := bracketed(f.at)
			return badParam(at, "unknown_parameter", "Unknown parameter: '%s'.", at)
		default:
			at := bracketed(f.at)
			return badParam(at, "invalid_type", "Invalid type for '%s': expected %s, but got %s instead.", at, f.want, got(f.got))
		}
	}
}

// syntax keeps positions but no content of the body.
func syntax(err error) string {
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Sprintf("%v at byte %d", e.Err, e.ByteOffset)
	}
	return err.Error()
}

func got(k jsontext.Kind) string {
	switch k {
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	default:
		return "null"
	}
}

// bracketed writes a pointer as OpenAI and Google do: messages[0].role.
func bracketed(p jsontext.Pointer) string {
	var b strings.Builder
	for t := range p.Tokens() {
		if _, err := strconv.Atoi(t); err == nil && b.Len() > 0 {
			b.WriteString("[" + t + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(t)
	}
	return b.String()
}

// dotted writes a pointer as Anthropic does: messages.0.role.
func dotted(p jsontext.Pointer) string {
	return strings.ReplaceAll(strings.TrimPrefix(string(p), "/"), "/", ".")
}

// violation is Google's BadRequest detail.
func violation(field, text string) string {
	b := []byte(`[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{`)
	if field != "" {
		b = append(appendString(append(b, `"field":`...), field), ',')
	}
	b = appendString(append(b, `"description":`...), text)
	return string(append(b, `}]}]`...))
}

// render writes p as its vendor would. id is the request id.
func (v vendor) render(b []byte, p *problem, id string) []byte {
	switch v {
	case vendorAnthropic:
		b = append(b, `{"type":"error","error":{"type":"`...)
		b = append(append(b, anthropicType(p.status)...), `","message":`...)
		b = appendString(b, p.message)
		b = appendString(append(b, `},"request_id":`...), id)
		return append(b, '}')
	case vendorGoogle:
		b = strconv.AppendInt(append(b, `{"error":{"code":`...), int64(p.status), 10)
		b = appendString(append(b, `,"message":`...), p.message)
		b = append(append(append(b, `,"status":"`...), googleStatus(p.status)...), '"')
		if p.details != "" {
			b = append(append(b, `,"details":`...), p.details...)
		}
		return append(b, `}}`...)
	default:
		b = appendString(append(b, `{"error":{"message":`...), p.message)
		b = append(append(append(b, `,"type":"`...), openAIType(p)...), `","param":`...)
		b = appendOrNull(b, p.param)
		b = appendOrNull(append(b, `,"code":`...), p.code)
		return append(b, `}}`...)
	}
}

func appendOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

func openAIType(p *problem) string {
	switch {
	case p.status == http.StatusTooManyRequests:
		return "requests"
	case p.status >= 500:
		return "server_error"
	default:
		return "invalid_request_error"
	}
}

func anthropicType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case 529:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

func googleStatus(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusNotFound:
		return "NOT_FOUND"
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED"
	case http.StatusServiceUnavailable:
		return "UNAVAILABLE"
	}
	if status >= 500 {
		return "INTERNAL"
	}
	return "INVALID_ARGUMENT"
}

// failure is what a failure model answers at once, or nil.
func (v vendor) failure(model string) *problem {
	switch model {
	case "fake-429":
		p := &problem{status: http.StatusTooManyRequests, after: 1}
		switch v {
		case vendorAnthropic:
			p.message = "This request would exceed your organization's rate limit of 50 requests per minute. Please try again later."
		case vendorGoogle:
			p.message = "You exceeded your current quota, please check your plan and billing details. \nPlease retry in 1s."
			p.details = `[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/generate_content_requests","quotaId":"GenerateRequestsPerMinute","quotaValue":"50"}]},` +
				`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1s"}]`
		default:
			p.code = "rate_limit_exceeded"
			p.message = "Rate limit reached for " + model + " on requests per min (RPM): Limit 50, Used 50, Requested 1. Please try again in 1s."
		}
		return p
	case "fake-500":
		return v.broken()
	case "fake-503":
		p := &problem{status: http.StatusServiceUnavailable, message: "The server is currently overloaded with other requests. Sorry about that!"}
		switch v {
		case vendorAnthropic:
			p.status, p.message = 529, "Overloaded"
		case vendorGoogle:
			p.message = "The model is overloaded. Please try again later."
		}
		return p
	case "fake-401":
		return v.badKey("fake-401")
	}
	return nil
}

func (v vendor) broken() *problem {
	p := &problem{status: http.StatusInternalServerError}
	switch v {
	case vendorAnthropic:
		p.message = "Internal server error"
	case vendorGoogle:
		p.message = "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"
	default:
		p.message = "The server had an error while processing your request. Sorry about that!"
	}
	return p
}

// noKey and badKey are the vendors' answers to a missing and to a wrong credential.
func (v vendor) noKey() *problem {
	switch v {
	case vendorAnthropic:
		return &problem{status: http.StatusUnauthorized, message: "x-api-key header is required"}
	case vendorGoogle:
		return &problem{
			status:  http.StatusForbidden,
			message: "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.",
		}
	default:
		return &problem{
			status: http.StatusUnauthorized,
			message: "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth " +
				"(i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from https://platform.openai.com/account/api-keys.",
		}
	}
}

func (v vendor) badKey(key string) *problem {
	switch v {
	case vendorAnthropic:
		return &problem{status: http.StatusUnauthorized, message: "invalid x-api-key"}
	case vendorGoogle:
		p := bad("API key not valid. Please pass a valid API key.")
		p.details = `[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com","metadata":{"service":"generativelanguage.googleapis.com"}},` +
			`{"@type":"type.googleapis.com/google.rpc.LocalizedMessage","locale":"en-US","message":"API key not valid. Please pass a valid API key."}]`
		return p
	default:
		// The vendor shows the ends of the key; a relay must not pass that on.
		shown := "****"
		if len(key) >= 12 {
			shown = key[:4] + strings.Repeat("*", 4) + key[len(key)-4:]
		}
		return &problem{
			status: http.StatusUnauthorized, code: "invalid_api_key",
			message: "Incorrect API key provided: " + shown + ". You can find your API key at https://platform.openai.com/account/api-keys.",
		}
	}
}
