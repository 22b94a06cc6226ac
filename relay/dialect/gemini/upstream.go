package gemini

import (
	"net/http"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// DecodeFault implements dialect.Backend. A bad key is a 400 here, told by ErrorInfo; the retry hint
// of a 429 is a RetryInfo in the body.
func (Backend) DecodeFault(status int, h http.Header, body []byte) *fault.Error {
	r := readError(body)
	r.Status = status
	return dialect.Classify(r, h, body)
}

// readError reads {error:{code, message, status, details}}; an array stream wraps it in [ ].
func readError(body []byte) dialect.Refusal {
	var r dialect.Refusal
	if c := dialect.Walk(body); c.Next() && c.Name == nil {
		body = c.Value
	}
	var top [1]splice.Span
	if !dialect.Find(body, []string{"error"}, top[:]) {
		return r
	}
	for c := dialect.Walk(top[0].Of(body)); c.Next(); {
		switch string(c.Name) {
		case "code":
			r.Status = int(dialect.Count(c.Value))
		case "message":
			r.Message = text(c.Value)
		case "status":
			r.Code = text(c.Value)
		case "details":
			for d := dialect.Walk(c.Value); d.Next(); {
				readDetail(&r, d.Value)
			}
		}
	}
	// A key from a place that Google does not serve: another exit may do, the client's request is fine.
	r.Auth = r.Auth || r.Code == "FAILED_PRECONDITION" && strings.Contains(r.Message, "location is not supported")
	return r
}

func readDetail(r *dialect.Refusal, v []byte) {
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "reason":
			switch text(c.Value) {
			case "API_KEY_INVALID", "API_KEY_EXPIRED", "ACCESS_TOKEN_EXPIRED", "SERVICE_DISABLED", "API_KEY_SERVICE_BLOCKED":
				r.Auth = true
			case "BILLING_DISABLED":
				r.Quota = true
			}
		case "retryDelay":
			if d, err := time.ParseDuration(text(c.Value)); err == nil {
				r.Wait = d
			}
		}
	}
}

func text(v []byte) string {
	if len(v) == 0 || v[0] != '"' {
		return ""
	}
	return dialect.Unquote(v)
}

// UnaryUsage implements dialect.Backend. Counting tokens uses none.
func (Backend) UnaryUsage(op llm.Op, body []byte) (llm.Usage, bool) {
	var top [1]splice.Span
	if op == llm.OpCountTokens || !dialect.Find(body, []string{"usageMetadata"}, top[:]) {
		return llm.Usage{}, false
	}
	return readUsage(top[0].Of(body))
}

// readUsage converts usageMetadata: prompt includes cached tokens, candidates exclude thoughts.
func readUsage(v []byte) (llm.Usage, bool) {
	if len(v) == 0 || v[0] != '{' {
		return llm.Usage{}, false
	}
	var u llm.Usage
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "promptTokenCount", "toolUsePromptTokenCount":
			u.Input += dialect.Count(c.Value)
		case "cachedContentTokenCount":
			u.Cached = dialect.Count(c.Value)
		case "candidatesTokenCount":
			u.Output += dialect.Count(c.Value)
		case "thoughtsTokenCount":
			u.Reasoning = dialect.Count(c.Value)
			u.Output += u.Reasoning
		}
	}
	return u, true
}

// NewTap implements dialect.Backend.
func (Backend) NewTap(llm.Op) dialect.Tap { return &tap{} }

// tap watches GenerateContentResponse frames. Calls carry free-form objects written by the model, so
// nothing may be found by its name alone: each frame is walked once, without allocating.
type tap struct {
	usage llm.Usage
	has   bool
	fault *fault.Error
}

var frameNames = []string{"candidates", "usageMetadata", "promptFeedback", "error"}

// Event implements dialect.Tap. The frame that has a finish reason is terminal; there is no other end
// mark, and a frame may follow it.
func (t *tap) Event(_ string, data []byte) dialect.Note {
	if len(data) == 0 {
		return 0
	}
	var at [4]splice.Span
	if !dialect.Find(data, frameNames, at[:]) {
		return dialect.NoteContent // not JSON: whatever it is, the client has seen it
	}
	if v := at[3].Of(data); dialect.Filled(v) {
		r := readError(data)
		if r.Status < 400 {
			r.Status = http.StatusInternalServerError
		}
		t.fault = dialect.Classify(r, nil, data)
		t.fault.Status = 0 // the HTTP status was 200
		return dialect.NoteError
	}
	if u, ok := readUsage(at[1].Of(data)); ok {
		t.usage, t.has = u, true // cumulative: the last one wins
	}
	var note dialect.Note
	for c := dialect.Walk(at[0].Of(data)); c.Next(); {
		note |= candidateNote(c.Value)
	}
	for c := dialect.Walk(at[2].Of(data)); c.Next(); {
		if string(c.Name) == "blockReason" && dialect.Filled(c.Value) {
			note |= dialect.NoteTerminal
		}
	}
	return note
}

func candidateNote(v []byte) dialect.Note {
	var at [2]splice.Span
	if !dialect.Find(v, []string{"content", "finishReason"}, at[:]) {
		return 0
	}
	var note dialect.Note
	if dialect.Filled(at[1].Of(v)) {
		note = dialect.NoteTerminal
	}
	for c := dialect.Walk(at[0].Of(v)); c.Next(); {
		if string(c.Name) != "parts" {
			continue
		}
		for p := dialect.Walk(c.Value); p.Next(); {
			for m := dialect.Walk(p.Value); m.Next(); {
				if string(m.Name) != "thought" && dialect.Filled(m.Value) {
					return note | dialect.NoteContent
				}
			}
		}
	}
	return note
}

// Usage implements dialect.Tap.
func (t *tap) Usage() (llm.Usage, bool) { return t.usage, t.has }

// Fault implements dialect.Tap.
func (t *tap) Fault() *fault.Error { return t.fault }

// Processing implements dialect.Tap.
func (t *tap) Processing() string { return "" }
