package obs

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// served is the outcome of a request that went well at the second try.
func served() *edge.Outcome {
	o := &edge.Outcome{
		ID: edge.RequestID{1, 2, 3}, ClientID: "client-1", Session: "session-1", ClientRetry: 2,
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Node: "edge-1", Region: "cn-east",
		Tenant: "acme", Key: "app", Dialect: llm.OpenAIChat, Op: llm.OpGenerate, Method: "POST", Endpoint: "/v1/chat/completions",
		Model: "gpt-4", Stream: true, Status: 200, Rules: []string{"eu-export"}, RouteWhy: "lowest cost",
		Attempts: []edge.Attempt{
			{Exit: "exit-de", ExitRegion: "eu-central", Provider: "openai-eu", Model: "gpt-4o", Fault: fault.New(fault.UpstreamOverload, "busy")},
			{Exit: "exit-us", ExitRegion: "us-west", Provider: "openai-us", Model: "gpt-4o", Secret: "a"},
		},
		Usage: llm.Usage{Input: 10, Output: 20, Cached: 4}, UsageKind: edge.UsageMeasured, Cost: 122_000, CostKnown: true,
		BytesIn: 100, BytesOut: 900, FirstContent: 120 * time.Millisecond, Total: 340500 * time.Microsecond, Overhead: 150 * time.Microsecond,
		QuotaRemaining: -1,
	}
	o.Served = &o.Attempts[1]
	return o
}

// line records one outcome and gives the one line that comes of it, which must be strict JSON: a name
// that is there twice is lost by half of the tools that read logs.
func line(t *testing.T, level string, o *edge.Outcome) map[string]any {
	t.Helper()
	var b bytes.Buffer
	NewRequestLog(NewLogger(&b, level)).Record(o)
	if n := strings.Count(b.String(), "\n"); n != 1 {
		t.Fatalf("%d lines, want one: %s", n, b.String())
	}
	if err := jsontext.NewDecoder(&b).SkipValue(); err != nil {
		t.Fatalf("not strict JSON: %v", err)
	}
	b.Reset()
	NewRequestLog(NewLogger(&b, level)).Record(o)
	got := map[string]any{}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRequestLine(t *testing.T) {
	got := line(t, "info", served())
	ts, err := time.Parse(time.RFC3339, got["ts"].(string))
	if err != nil || !strings.HasSuffix(got["ts"].(string), "Z") || time.Since(ts) > time.Hour {
		t.Errorf("ts %v is not a time in UTC: %v", got["ts"], err)
	}
	delete(got, "ts")
	want := map[string]any{
		"level": "info", "msg": "request", "request_id": "01020300-0000-0000-0000-000000000000", "trace_id": "0af7651916cd43dd8448eb211c80319c",
		"client_request_id": "client-1", "client_session": "session-1", "client_retry": 2.0, "tenant": "acme", "key_id": "app",
		"region": "cn-east", "node": "edge-1", "dialect": "openai-chat", "method": "POST", "endpoint": "/v1/chat/completions", "model": "gpt-4",
		"route_reason": "lowest cost", "exit": "exit-us", "exit_region": "us-west", "provider": "openai-us", "upstream_model": "gpt-4o",
		"attempt": 2.0, "status": 200.0, "stream": true, "ttft_ms": 120.0, "dur_ms": 340.5, "overhead_ms": 0.15, "in_bytes": 100.0, "out_bytes": 900.0,
		"in_tok": 10.0, "out_tok": 20.0, "cached_tok": 4.0, "usage": "measured", "cost_usd": "0.000122", "cache": "bypass",
		"policy_decision": "allow", "rules": []any{"eu-export"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("line (-want +got):\n%s", d)
	}
}

func TestRequestLineOfAFailure(t *testing.T) {
	o := served()
	o.Served, o.Status, o.UsageKind, o.CostKnown, o.FirstContent = nil, 503, edge.UsageNone, false, 0
	o.Fault = fault.New(fault.NoRoute, "no exit in the mesh may call a provider of %q", "gpt-4").With(errors.New("cause-1"))
	got := line(t, "warn", o)
	for name, want := range map[string]any{
		"level": "warn", "err_class": "no_route", "err": `no exit in the mesh may call a provider of "gpt-4"`, "cause": "cause-1", "status": 503.0,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"exit", "provider", "ttft_ms", "in_tok", "cost_usd", "usage", "upstream_status"} {
		if v, there := got[name]; there {
			t.Errorf("%s is %v though nobody served it", name, v)
		}
	}
}

// What a client did wrong, or left, is not the operator's warning.
func TestLevels(t *testing.T) {
	for _, c := range []struct {
		kind   fault.Kind
		status int
		warns  bool
		why    string
	}{
		{fault.Malformed, 400, false, "the client's fault"},
		{fault.RateLimited, 429, false, "as configured"},
		{fault.Canceled, 499, false, "the client left"},
		{fault.Canceled, 502, false, "the client left"},
		{fault.UpstreamError, 502, true, ""},
		{fault.AuditUnavailable, 503, true, ""},
	} {
		var b bytes.Buffer
		o := served()
		o.Status, o.Fault = c.status, fault.New(c.kind, "")
		NewRequestLog(NewLogger(&b, "warn")).Record(o)
		if (b.Len() > 0) != c.warns {
			t.Errorf("%v with status %d (%s): %q", c.kind, c.status, c.why, b.String())
		}
	}
	var b bytes.Buffer
	NewRequestLog(zerolog.Nop()).Record(served())
	NewRequestLog(NewLogger(&b, "error")).Record(served())
	if b.Len() > 0 {
		t.Errorf("at level error: %s", b.String())
	}
}

// No fault that a provider answered, and none of a kind that quotes its client, brings its words into
// the log: only its class, and the provider's status.
func TestOnlyOwnWordsAreLogged(t *testing.T) {
	const canary = "canary-4711"
	quoting := []fault.Kind{
		fault.Unknown, fault.Malformed, fault.UnknownModel, fault.NotFound, fault.MethodNotAllowed, fault.Lossy, fault.UpstreamRate,
		fault.UpstreamOverload, fault.UpstreamError, fault.UpstreamAuth, fault.UpstreamRejected, fault.UpstreamProtocol, fault.UpstreamPartial,
		fault.UpstreamQuota, fault.PreviousNotFound, fault.ResourceNotFound,
	}
	record := func(f *fault.Error) string {
		var b bytes.Buffer
		o := served()
		o.Fault, o.Status = f, max(f.Kind.Info().Status, 500)
		NewRequestLog(NewLogger(&b, "debug")).Record(o)
		if !strings.Contains(b.String(), `"err_class":"`+f.Kind.Info().Name+`"`) {
			t.Errorf("%v: no class in %s", f.Kind, b.String())
		}
		return b.String()
	}
	for _, k := range fault.Kinds() {
		f := func() *fault.Error {
			f := fault.New(k, canary).With(errors.New(canary))
			f.Param, f.Raw, f.Fields = canary, []byte(canary), []string{canary}
			return f
		}
		if s := record(f()); slices.Contains(quoting, k) && strings.Contains(s, canary) {
			t.Errorf("%v: %s", k, s)
		} else if !slices.Contains(quoting, k) && !strings.Contains(s, canary) {
			t.Errorf("%v: its own words are missing: %s", k, s)
		}
		answered := f()
		answered.Status = 418
		if s := record(answered); strings.Contains(s, canary) || !strings.Contains(s, `"upstream_status":418`) {
			t.Errorf("%v, answered by a provider: %s", k, s)
		}
	}
	if s := record(fault.New(fault.Canceled, "the client went away").With(errors.New("write tcp 10.0.0.1:443->203.0.113.9:5555: broken pipe"))); strings.Contains(s, "203.0.113.9") {
		t.Errorf("the client's address is in %s", s)
	}
}

func TestLoggerLevels(t *testing.T) {
	for level, want := range map[string]zerolog.Level{
		"debug": zerolog.DebugLevel, "info": zerolog.InfoLevel, "warn": zerolog.WarnLevel, "error": zerolog.ErrorLevel, "": zerolog.InfoLevel, "loud": zerolog.InfoLevel,
	} {
		if got := NewLogger(nil, level).GetLevel(); got != want {
			t.Errorf("level %q is %v, want %v", level, got, want)
		}
	}
	var b bytes.Buffer
	l := NewLogger(&b, "info")
	l.Info().Time("not_after", time.Unix(0, 0).UTC()).Msg("x")
	if !regexp.MustCompile(`"not_after":"1970-01-01T00:00:00.000Z","ts":"20\d\d-[^"]+\.\d{3}Z","msg":"x"`).Match(b.Bytes()) {
		t.Errorf("line %s", b.String())
	}
}

func BenchmarkRequestLine(b *testing.B) {
	b.ReportAllocs()
	l := NewRequestLog(NewLogger(discard{}, "info"))
	o := served()
	for b.Loop() {
		l.Record(o)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
