// Package gemini speaks Gemini generateContent, streamed as server-sent events or as one JSON array,
// with embeddings and token counts. Wire facts: @google/genai 3.1.0 and 2.32.0, google.golang.org/genai
// v1.77.0, and recorded answers.
package gemini

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// Frontend is the client side of gemini.
type Frontend struct{}

// Backend is the provider side of gemini.
type Backend struct{}

// Dialect names the dialect.
func (Frontend) Dialect() llm.Dialect { return llm.Gemini }

// Dialect names the dialect.
func (Backend) Dialect() llm.Dialect { return llm.Gemini }

// Gemini JSON is proto-JSON: both spellings are the same field. A body with both is refused, because
// which one counts would be the provider's choice.
var peekNames = []string{
	"generationConfig", "generation_config",
	"model", "requests",
	"generateContentRequest", "generate_content_request",
}

const (
	peekConfig = iota
	peekConfigSnake
	peekModel
	peekRequests
	peekInner
	peekInnerSnake
)

// Peek implements dialect.Frontend. Model and Stream stay unset: both are in the path. Model names that
// some operations repeat in the body are listed in ModelSpan and MoreSpans; Splice overwrites all of
// them, so that the body can never name another model than the one that was authorised.
func (Frontend) Peek(op llm.Op, body []byte) (dialect.Head, error) {
	h := dialect.Head{Choices: 1, BodyLen: len(body)}
	var at [6]splice.Span
	if err := dialect.Pick(body, peekNames, at[:]); err != nil {
		return h, err
	}
	if op == llm.OpGenerate {
		config, err := either(at[peekConfig], at[peekConfigSnake], "generationConfig")
		if err != nil {
			return h, err
		}
		if err := readConfig(&h, config.Of(body)); err != nil {
			return h, err
		}
	}
	inner, err := either(at[peekInner], at[peekInnerSnake], "generateContentRequest")
	if err != nil {
		return h, err
	}
	return h, findModels(&h, body, at[peekModel], at[peekRequests], inner)
}

func either(a, b splice.Span, param string) (splice.Span, error) {
	switch {
	case a.Empty():
		return b, nil
	case b.Empty():
		return a, nil
	}
	f := fault.New(fault.Malformed, "%s is given in both spellings", param)
	f.Param = param
	return splice.Span{}, f
}

func readConfig(h *dialect.Head, config []byte) error {
	if len(config) == 0 || config[0] != '{' {
		return nil // null, or wrong in a way that the provider refuses
	}
	var at [4]splice.Span
	if !dialect.Find(config, []string{"maxOutputTokens", "max_output_tokens", "candidateCount", "candidate_count"}, at[:]) {
		return nil
	}
	limit, err := either(at[0], at[1], "generationConfig.maxOutputTokens")
	if err != nil {
		return err
	}
	if h.MaxOutput, err = protoInt(limit.Of(config), "generationConfig.maxOutputTokens"); err != nil {
		return err
	}
	count, err := either(at[2], at[3], "generationConfig.candidateCount")
	if err != nil {
		return err
	}
	n, err := protoInt(count.Of(config), "generationConfig.candidateCount")
	h.Choices = max(n, 1)
	return err
}

// protoInt reads an int32 of proto-JSON, which may be a number or a string.
func protoInt(v []byte, param string) (int64, error) {
	if len(v) > 2 && v[0] == '"' {
		v = []byte(dialect.Unquote(v))
	}
	return dialect.Whole(v, param, 0)
}

// findModels notes every place where a body names the model: at the top (bound to the path by the
// vendor's HTTP mapping), in the entries of a batch, in the request whose tokens are counted.
func findModels(h *dialect.Head, body []byte, top, requests, inner splice.Span) error {
	spans := make([]splice.Span, 0, 1)
	add := func(at splice.Span) error {
		m, err := dialect.Text(at.Of(body), "model")
		if m != "" {
			spans = append(spans, at)
		}
		return err
	}
	if err := add(top); err != nil {
		return err
	}
	if err := add(within(body, inner, "model")); err != nil {
		return err
	}
	if !requests.Empty() && body[requests.Start] == '[' {
		for c := dialect.Walk(requests.Of(body)); c.Next(); {
			from := requests.Start + c.Offset()
			if err := add(within(body, splice.Span{Start: from, End: from + len(c.Value)}, "model")); err != nil {
				return err
			}
		}
	}
	if len(spans) == 0 {
		return nil
	}
	slices.SortFunc(spans, func(a, b splice.Span) int { return cmp.Compare(a.Start, b.Start) })
	h.ModelSpan, h.MoreSpans = spans[0], spans[1:]
	return nil
}

// within finds a member of the object at span, in offsets of body.
func within(body []byte, span splice.Span, name string) splice.Span {
	var at [1]splice.Span
	if !dialect.Find(span.Of(body), []string{name}, at[:]) || at[0].Empty() {
		return splice.Span{}
	}
	return splice.Span{Start: span.Start + at[0].Start, End: span.Start + at[0].End}
}

// statusName is the canonical RPC status for an HTTP one.
func statusName(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusNotFound:
		return "NOT_FOUND"
	case http.StatusConflict:
		return "ABORTED"
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED"
	case 499:
		return "CANCELLED"
	case http.StatusInternalServerError, http.StatusBadGateway:
		return "INTERNAL"
	case http.StatusServiceUnavailable:
		return "UNAVAILABLE"
	case http.StatusGatewayTimeout:
		return "DEADLINE_EXCEEDED"
	}
	return "INVALID_ARGUMENT"
}

// envelope renders {error:{code, message, status, details}}; our code is the reason of an ErrorInfo.
func envelope(f *fault.Error, id string) []byte {
	s := dialect.FaultStatus(f)
	text := dialect.FaultText(f, id)
	if dialect.ContextOverflow(f) && !strings.Contains(text, "input token count") {
		text = "The input token count exceeds the maximum number of tokens allowed: " + text // what clients look for
	}
	reason := f.Kind.Info().Code
	if f.Kind == fault.Unauthenticated {
		reason = "API_KEY_INVALID" // the vendor's own reason, which its SDKs know
	}
	b := []byte(`{"error":{"code":` + strconv.Itoa(s) + `,"message":` + dialect.Quote(text) +
		`,"status":"` + statusName(s) + `","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"` +
		reason + `","domain":"causeway"`)
	if id != "" {
		b = append(b, `,"metadata":{"requestId":`+dialect.Quote(id)+`}`...)
	}
	b = append(b, '}')
	if f.Param != "" {
		b = append(b, `,{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":`+dialect.Quote(f.Param)+`}]}`...)
	}
	if f.Kind.Info().ShouldRetry {
		b = append(b, `,{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"`...)
		b = strconv.AppendFloat(b, dialect.Wait(f).Seconds(), 'f', -1, 64)
		b = append(b, `s"}`...)
	}
	return append(b, "]}}"...)
}

// EncodeFault implements dialect.Frontend.
func (Frontend) EncodeFault(f *fault.Error, id string) dialect.Rendered {
	s := dialect.FaultStatus(f)
	return dialect.Rendered{Status: s, Header: dialect.FaultHeader(f, s), Body: append(envelope(f, id), '\n')}
}

// FaultEvent implements dialect.Frontend, for a stream of server-sent events. ArrayFault is its twin
// for an array stream.
func (Frontend) FaultEvent(f *fault.Error, id string) []byte {
	return append(append([]byte("data: "), envelope(f, id)...), "\r\n\r\n"...)
}

// Keepalive is a blank line, which ends no event: Google's own SDKs for Go (genai 1.77.0) and Python
// take a comment frame for a broken stream. In an array stream ArrayKeepalive takes its place.
func (Frontend) Keepalive() []byte { return []byte("\r\n\r\n") }

// RateHeaders adds nothing: the vendor has no rate-limit headers, and its SDKs read none.
func (Frontend) RateHeaders(http.Header, dialect.RateState, time.Time) {}

// EncodeModels renders GET /v1beta/models, always one page.
func (f Frontend) EncodeModels(models []dialect.ModelInfo) []byte {
	b := []byte(`{"models":[`)
	for i, m := range models {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, f.EncodeModel(m)...)
	}
	return append(b, "]}"...)
}

// EncodeModel renders GET /v1beta/models/{id}.
func (Frontend) EncodeModel(m dialect.ModelInfo) []byte {
	return []byte(`{"name":` + dialect.Quote("models/"+m.ID) + `,"displayName":` + dialect.Quote(m.ID) +
		`,"supportedGenerationMethods":["generateContent","streamGenerateContent","countTokens","embedContent","batchEmbedContents"]}`)
}

// Path implements dialect.Backend. A model that names its collection (tunedModels/x) keeps it.
func (Backend) Path(op llm.Op, version, model string, stream bool) string {
	if version == "" {
		version = "v1beta"
	}
	if op == llm.OpModels {
		return "/" + version + "/models"
	}
	at := "/" + version + "/" + resource(model)
	switch op {
	case llm.OpGenerate:
		if stream {
			return at + ":streamGenerateContent"
		}
		return at + ":generateContent"
	case llm.OpEmbed:
		return at + ":embedContent"
	case llm.OpEmbedBatch:
		return at + ":batchEmbedContents"
	case llm.OpCountTokens:
		return at + ":countTokens"
	case llm.OpModel:
		return at
	}
	return ""
}

func resource(model string) string {
	if strings.Contains(model, "/") {
		return model
	}
	return "models/" + model
}

// Splice implements dialect.Backend: every model name in the body becomes the provider's. Where it
// already is, the bytes come out the same.
func (Backend) Splice(_ llm.Op, h dialect.Head, model string) []splice.Edit {
	if h.ModelSpan.Empty() {
		return nil
	}
	text := []byte(dialect.Quote(resource(model)))
	edits := make([]splice.Edit, 0, 1+len(h.MoreSpans))
	edits = append(edits, splice.Edit{Span: h.ModelSpan, Text: text})
	for _, s := range h.MoreSpans {
		edits = append(edits, splice.Edit{Span: s, Text: text})
	}
	return edits
}

// Processing implements dialect.Backend: Gemini states no place, the built-in fake does.
func (Backend) Processing(h http.Header, _ []byte) string { return dialect.Country(h) }
