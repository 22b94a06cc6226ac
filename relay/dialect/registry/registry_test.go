package registry_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestLookupKnowsEveryDialect(t *testing.T) {
	t.Parallel()
	for _, d := range llm.Dialects {
		f, b, ok := registry.Lookup(d)
		if !ok || f.Dialect() != d || b.Dialect() != d {
			t.Errorf("%s: %v %v %t", d, f, b, ok)
		}
	}
	if registry.Frontend("cohere") != nil || registry.Backend("") != nil {
		t.Error("an unknown dialect must have no codec")
	}
}

var when = time.Date(2026, 11, 22, 12, 0, 0, 500, time.UTC)

// golden renders what clients of one dialect see of every kind of fault, and the small answers.
func golden(d llm.Dialect) *txtar.Archive {
	f := registry.Frontend(d)
	a := new(txtar.Archive)
	add := func(name string, format string, args ...any) {
		a.Files = append(a.Files, txtar.File{Name: name, Data: fmt.Appendf(nil, format, args...)})
	}
	for _, k := range fault.Kinds() {
		e := &fault.Error{Kind: k}
		switch k {
		case fault.Malformed:
			e = fault.New(k, "invalid JSON at byte 17, in member %q: duplicate member", "model")
			e.Param = "model"
		case fault.RateLimited:
			e = fault.New(k, "60 requests a minute are used up").After(1300 * time.Millisecond)
		case fault.Residency:
			e = fault.New(k, "rule eu-export forbids processing in CN")
		case fault.Lossy:
			e.Fields = []string{"/logprobs", "/n"}
		case fault.UpstreamRejected:
			e = &fault.Error{Kind: k, Status: 422, Message: "prompt is too long: 9 > 8"}
		}
		r := f.EncodeFault(e, "req-1")
		var h []string
		for name, v := range r.Header {
			h = append(h, name+": "+strings.Join(v, ", "))
		}
		slices.Sort(h)
		add("fault "+k.String(), "%d\n%s\n\n%s", r.Status, strings.Join(h, "\n"), r.Body)
	}
	add("event", "%s", f.FaultEvent(fault.New(fault.UpstreamPartial, "the provider's answer broke off after 120 events"), "req-1"))
	add("keepalive", "%q\n", f.Keepalive())
	h := http.Header{}
	f.RateHeaders(h, dialect.RateState{RequestLimit: 60, RequestRemaining: 59, RequestReset: 1500 * time.Microsecond, TokenLimit: 9000, TokenRemaining: -4, TokenReset: 90 * time.Second}, when)
	f.RateHeaders(h, dialect.RateState{RequestLimit: -1, TokenLimit: -1}, when)
	var lines []string
	for name, v := range h {
		lines = append(lines, name+": "+v[0])
	}
	slices.Sort(lines)
	add("rate headers", "%s\n", strings.Join(lines, "\n"))
	models := []dialect.ModelInfo{{ID: "auto"}, {ID: `odd"name`, Created: when, OwnedBy: "openai-us"}}
	add("models", "%s\n", f.EncodeModels(models))
	add("no models", "%s\n", f.EncodeModels(nil))
	add("model", "%s\n", f.EncodeModel(models[1]))
	for i := range a.Files {
		if b := a.Files[i].Data; len(b) > 0 && b[len(b)-1] != '\n' {
			a.Files[i].Data = append(b, '\n')
		}
		a.Files[i].Data = bytes.ReplaceAll(a.Files[i].Data, []byte("\r"), []byte("<CR>"))
	}
	return a
}

func TestClientAnswersGolden(t *testing.T) {
	t.Parallel()
	for _, d := range llm.Dialects {
		path := filepath.Join("testdata", string(d)+".txtar")
		got := txtar.Format(golden(d))
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-golden +got; rewrite with -update):\n%s", d, diff)
		}
	}
}

// Every fault of every dialect: valid JSON in the vendor's envelope, honest headers, and our code
// somewhere a client can find it.
func TestEveryFaultInEveryDialect(t *testing.T) {
	t.Parallel()
	for _, d := range llm.Dialects {
		f := registry.Frontend(d)
		for _, k := range fault.Kinds() {
			info := k.Info()
			r := f.EncodeFault(&fault.Error{Kind: k, Message: "a \"quoted\"\n\xff message"}, "req-1")
			if !json.Valid(r.Body) {
				t.Errorf("%s %s: body %q is not JSON", d, k, r.Body)
			}
			code := info.Code
			if d == llm.Gemini && k == fault.Unauthenticated {
				code = "API_KEY_INVALID"
			}
			if !bytes.Contains(r.Body, []byte(`"`+code+`"`)) {
				t.Errorf("%s %s: code %q not in %s", d, k, code, r.Body)
			}
			want := info.Status
			if d == llm.AnthropicMessages && k == fault.QuotaExhausted {
				want = http.StatusPaymentRequired
			}
			if r.Status != want {
				t.Errorf("%s %s: status %d, want %d", d, k, r.Status, want)
			}
			if got := r.Header["X-Should-Retry"]; len(got) != 1 || got[0] != strconv.FormatBool(info.ShouldRetry) {
				t.Errorf("%s %s: x-should-retry %v", d, k, got)
			}
			if limited := r.Status == 429 || r.Status == 503; limited != (r.Header["Retry-After"] != nil) {
				t.Errorf("%s %s: status %d with Retry-After %v", d, k, r.Status, r.Header["Retry-After"])
			}
			for name := range r.Header {
				if http.CanonicalHeaderKey(name) != name {
					t.Errorf("%s: header %q is not canonical", d, name)
				}
			}
			if (k == fault.Residency || k == fault.Terms || k == fault.Approval) && !bytes.Contains(r.Body, []byte("request id req-1")) {
				t.Errorf("%s %s: no request id for the officer in %s", d, k, r.Body)
			}
			checkEvent(t, d, f.FaultEvent(&fault.Error{Kind: k}, "req-1"))
		}
	}
}

// checkEvent: an in-stream error is one whole event that our own tap of that dialect recognises.
func checkEvent(t *testing.T, d llm.Dialect, raw []byte) {
	t.Helper()
	s := sse.NewScanner(0)
	s.Feed(raw)
	e, ok := s.Next()
	if !ok || len(e.Raw) != len(raw) {
		t.Errorf("%s: %q is not one event", d, raw)
		return
	}
	if !json.Valid(e.Data) {
		t.Errorf("%s: event data %q", d, e.Data)
	}
	tap := registry.Backend(d).NewTap(llm.OpGenerate)
	if n := tap.Event(e.Name, e.Data); n != dialect.NoteError || tap.Fault() == nil {
		t.Errorf("%s: note %d for %s", d, n, raw)
	}
}

// Keepalives mean nothing to a reader: no event data, or an event that the tap ignores.
func TestKeepalivesAreNotContent(t *testing.T) {
	t.Parallel()
	for _, d := range llm.Dialects {
		idle := registry.Frontend(d).Keepalive()
		if d == llm.Gemini {
			// Google's SDKs read frames that begin with "data:" and skip empty ones. Anything else,
			// comments too, ends the stream with an error (genai 1.77.0, iterateResponseStream).
			if len(bytes.Trim(idle, "\r\n")) != 0 {
				t.Errorf("%s: %q is not blank", d, idle)
			}
			continue
		}
		s := sse.NewScanner(0)
		s.Feed(idle)
		e, ok := s.Next()
		if !ok {
			t.Errorf("%s: not a whole frame", d)
		}
		if n := registry.Backend(d).NewTap(llm.OpGenerate).Event(e.Name, e.Data); n != 0 {
			t.Errorf("%s: note %d", d, n)
		}
	}
	whole := string(gemini.ArrayKeepalive()) + "[" + string(gemini.ArrayKeepalive()) + "{}" + string(gemini.ArrayFault(fault.New(fault.NoRoute, "x"), "", 1))
	if !json.Valid([]byte(whole)) || !json.Valid(gemini.ArrayFault(fault.New(fault.NoRoute, "x"), "", 0)) {
		t.Errorf("array stream with keepalives and fault is not JSON: %s", whole)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	tests := []struct {
		d       llm.Dialect
		op      llm.Op
		version string
		stream  bool
		want    string
	}{
		{llm.OpenAIChat, llm.OpGenerate, "v1", true, "/chat/completions"},
		{llm.OpenAIChat, llm.OpEmbed, "v1", false, "/embeddings"},
		{llm.OpenAIResponses, llm.OpGenerate, "v1", false, "/responses"},
		{llm.OpenAIResponses, llm.OpEmbed, "v1", false, "/embeddings"},
		{llm.OpenAIResponses, llm.OpCountTokens, "v1", false, "/responses/input_tokens"},
		{llm.AnthropicMessages, llm.OpGenerate, "v1", true, "/v1/messages"},
		{llm.AnthropicMessages, llm.OpCountTokens, "v1", false, "/v1/messages/count_tokens"},
		{llm.Gemini, llm.OpGenerate, "v1beta", true, "/v1beta/models/m:streamGenerateContent"},
		{llm.Gemini, llm.OpGenerate, "v1", false, "/v1/models/m:generateContent"},
		{llm.Gemini, llm.OpEmbedBatch, "v1beta", false, "/v1beta/models/m:batchEmbedContents"},
		{llm.Gemini, llm.OpCountTokens, "v1beta", false, "/v1beta/models/m:countTokens"},
		{llm.Gemini, llm.OpModels, "", false, "/v1beta/models"},
	}
	for _, tt := range tests {
		if got := registry.Backend(tt.d).Path(tt.op, tt.version, "m", tt.stream); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.d, tt.op, got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	date := when.Format(http.TimeFormat)
	tests := []struct {
		why  string
		h    map[string]string
		want time.Duration
	}{
		// BerriAI/litellm #7669, #40130 (peers.md 4, case 26): seconds, dates and milliseconds, never shortened.
		{"seconds", map[string]string{"Retry-After": "7"}, 7 * time.Second},
		{"fractional seconds", map[string]string{"Retry-After": "0.5"}, 500 * time.Millisecond},
		{"milliseconds win", map[string]string{"Retry-After": "1", "Retry-After-Ms": "1250"}, 1250 * time.Millisecond},
		{"a date, by the provider's clock", map[string]string{"Retry-After": when.Add(9 * time.Second).Format(http.TimeFormat), "Date": date}, 9 * time.Second},
		{"OpenAI resets: the exhausted one", map[string]string{"X-Ratelimit-Reset-Requests": "2ms", "X-Ratelimit-Remaining-Requests": "99", "X-Ratelimit-Reset-Tokens": "6m0s", "X-Ratelimit-Remaining-Tokens": "0"}, 6 * time.Minute},
		{"OpenAI resets: none exhausted, the longest", map[string]string{"X-Ratelimit-Reset-Requests": "2ms", "X-Ratelimit-Reset-Tokens": "1s"}, time.Second},
		{"Anthropic reset times", map[string]string{"Anthropic-Ratelimit-Input-Tokens-Reset": when.Add(30 * time.Second).Format(time.RFC3339), "Anthropic-Ratelimit-Input-Tokens-Remaining": "0", "Date": date}, 30 * time.Second},
		{"a time in the past", map[string]string{"Retry-After": when.Add(-time.Hour).Format(http.TimeFormat), "Date": date}, 0},
		{"absurd", map[string]string{"Retry-After": "1e300"}, 24 * time.Hour},
		{"nonsense", map[string]string{"Retry-After": "NaN", "X-Ratelimit-Reset-Tokens": "soon"}, 0},
		{"nothing", nil, 0},
	}
	for _, tt := range tests {
		h := http.Header{}
		for k, v := range tt.h {
			h.Set(k, v)
		}
		if got := dialect.RetryAfter(h); got.Round(time.Millisecond) != tt.want {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
}

func TestDecodeFaultKinds(t *testing.T) {
	t.Parallel()
	const o, a, g = llm.OpenAIChat, llm.AnthropicMessages, llm.Gemini
	tests := []struct {
		why    string
		d      llm.Dialect
		status int
		body   string
		want   fault.Kind
	}{
		{"rate", o, 429, `{"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}`, fault.UpstreamRate},
		{"money", o, 429, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`, fault.UpstreamQuota},
		{"the exit's country is not served: another exit may do", o, 403, `{"error":{"code":"unsupported_country_region_territory","message":"Country not supported"}}`, fault.UpstreamAuth},
		{"a compatible server's bare string", o, 400, `{"error":"bad things"}`, fault.UpstreamRejected},
		{"an HTML page from a proxy", o, 502, `<html>bad gateway</html>`, fault.UpstreamError},
		{"timeout at the provider", o, 408, `{}`, fault.UpstreamTimeout},
		{"no redirect is followed", o, 302, ``, fault.UpstreamProtocol},
		{"overloaded", a, 529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, fault.UpstreamOverload},
		{"billing", a, 402, `{"type":"error","error":{"type":"billing_error","message":"pay"}}`, fault.UpstreamQuota},
		{"an empty account answers 400", a, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`, fault.UpstreamQuota},
		{"bad request", a, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"temperature: Extra inputs are not permitted"}}`, fault.UpstreamRejected},
		{"permission", a, 403, `{"type":"error","error":{"type":"permission_error","message":"no"}}`, fault.UpstreamAuth},
		{"key", g, 400, `{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}`, fault.UpstreamAuth},
		{"key, in an array stream", g, 400, `[{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]`, fault.UpstreamAuth},
		{"place", g, 400, `{"error":{"code":400,"status":"FAILED_PRECONDITION","message":"User location is not supported for the API use."}}`, fault.UpstreamAuth},
		{"overloaded", g, 503, `{"error":{"code":503,"status":"UNAVAILABLE"}}`, fault.UpstreamOverload},
		{"unknown field", g, 400, `{"error":{"code":400,"message":"Unknown name \"x\"","status":"INVALID_ARGUMENT"}}`, fault.UpstreamRejected},
		{"no body", g, 500, ``, fault.UpstreamError},
	}
	for _, tt := range tests {
		f := registry.Backend(tt.d).DecodeFault(tt.status, http.Header{}, []byte(tt.body))
		if f.Kind != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.d, tt.why, f.Kind, tt.want)
		}
		if f.Kind == fault.UpstreamRejected && string(f.Raw) != tt.body {
			t.Errorf("%s %s: raw %q", tt.d, tt.why, f.Raw)
		}
	}
}

// What identifies the operator's account must not reach tenants.
func TestRedact(t *testing.T) {
	t.Parallel()
	in := "Incorrect key sk-proj-abcd1234 of org-Xy12Zw34 (project_number:123456789) and test-con****-key, AIzaSyD-1234: see https://x.example/docs"
	got := dialect.Redact(in)
	for _, secret := range []string{"sk-proj", "org-Xy", "123456789", "****", "AIza"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q still holds %q", got, secret)
		}
	}
	if !strings.Contains(got, "see https://x.example/docs") {
		t.Errorf("%q lost its harmless part", got)
	}
	if n := len(dialect.Redact(strings.Repeat("é", 5000))); n > 1024 {
		t.Errorf("%d bytes, want at most 1024", n)
	}
}

// FuzzDecodeFault: no answer of a provider can make decoding fail or loop.
func FuzzDecodeFault(f *testing.F) {
	f.Add(429, []byte(`{"error":{"message":"m","details":[{"retryDelay":"7s"}]}}`), "7")
	f.Add(500, []byte(`[{"error":"x"}]`), "Sun, 22 Nov 2026 12:00:00 GMT")
	f.Fuzz(func(t *testing.T, status int, body []byte, after string) {
		for _, d := range llm.Dialects {
			e := registry.Backend(d).DecodeFault(status, http.Header{"Retry-After": {after}}, body)
			if e == nil || e.RetryAfter < 0 || e.RetryAfter > 24*time.Hour {
				t.Fatalf("%s: %+v", d, e)
			}
			for _, to := range llm.Dialects {
				if r := registry.Frontend(to).EncodeFault(e, "id"); !json.Valid(r.Body) || r.Status < 400 || r.Status > 599 {
					t.Fatalf("%s to %s: %d %q", d, to, r.Status, r.Body)
				}
			}
		}
	})
}

// FuzzTaps: no stream can make a tap fail; counts are never negative, and a plain event after garbage
// is still understood.
func FuzzTaps(f *testing.F) {
	f.Add("message_start", []byte(`{"type":"message_start","message":{"usage":{"input_tokens":5,"cache_read_input_tokens":-1}}}`))
	f.Add("", []byte(`{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1e3}}`))
	f.Add("response.completed", []byte(`{"response":{"usage":{"input_tokens":1},"error":null}}`))
	f.Add("", []byte(`{"candidates":[{"content":{"parts":[{"text":"x"}]}}],"usageMetadata":{"promptTokenCount":9}}`))
	f.Add("error", []byte(`{"error":{"type":"overloaded_error"}}`))
	f.Add("content_block_start", []byte(`{"content_block":{"type":"text","text":""}}`))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		for _, d := range llm.Dialects {
			tap := registry.Backend(d).NewTap(llm.OpGenerate)
			n := tap.Event(name, data)
			if (n&dialect.NoteError != 0) != (tap.Fault() != nil) && !strings.HasPrefix(name, "response.failed") {
				t.Fatalf("%s: note %d with fault %v", d, n, tap.Fault())
			}
			if u, _ := tap.Usage(); u.Input < 0 || u.Output < 0 || u.Cached < 0 || u.CacheWrite < 0 || u.Reasoning < 0 {
				t.Fatalf("%s: negative usage %+v", d, u)
			}
		}
	})
}
