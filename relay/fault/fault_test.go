package fault_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// The table is the one place that knows a kind: no kind may lack a row, and rows must make sense.
func TestEveryKindHasARow(t *testing.T) {
	t.Parallel()
	snake := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	names := make(map[string]fault.Kind)
	if got := len(fault.Kinds()); got != int(fault.ResourceNotFound)+1 {
		t.Fatalf("%d kinds listed, the last is number %d: a new kind needs its row and the end of the table moved", got, fault.ResourceNotFound)
	}
	for _, k := range fault.Kinds() {
		i := k.Info()
		if !snake.MatchString(i.Name) || !snake.MatchString(i.Code) {
			t.Errorf("kind %d: name %q or code %q is not snake case", k, i.Name, i.Code)
		}
		if other, taken := names[i.Name]; taken {
			t.Errorf("kinds %d and %d share the name %q", k, other, i.Name)
		}
		names[i.Name] = k
		if i.Status < 400 || i.Status > 599 {
			t.Errorf("%s: status %d is no error", i.Name, i.Status)
		}
		if i.Text == "" || strings.HasSuffix(i.Text, ".") {
			t.Errorf("%s: text %q", i.Name, i.Text)
		}
		if i.ShouldRetry && i.Status != 429 && i.Status < 500 {
			t.Errorf("%s: status %d asks for a retry", i.Name, i.Status)
		}
		if i.Health && i.Retry == fault.Never {
			t.Errorf("%s: the provider's fault, yet never tried elsewhere", i.Name)
		}
		if k.String() != i.Name {
			t.Errorf("%s: String = %q", i.Name, k)
		}
	}
	if fault.Kind(250).Info().Name != "unknown" {
		t.Error("a kind of a newer peer must have the unknown row")
	}
}

// DESIGN.md 4.8, row by row.
func TestRefusalContract(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind   fault.Kind
		status int
		code   string
		retry  bool
	}{
		{fault.RateLimited, 429, "rate_limit_exceeded", true},
		{fault.Concurrency, 429, "rate_limit_exceeded", true},
		{fault.QuotaExhausted, 429, "insufficient_quota", false},
		{fault.Residency, 403, "residency_denied", false},
		{fault.Terms, 403, "provider_terms", false},
		{fault.Approval, 403, "export_approval_required", false},
		{fault.AuditUnavailable, 503, "audit_unavailable", true},
		{fault.PolicyStale, 503, "policy_stale", true},
		{fault.NoRoute, 503, "no_route", true},
		{fault.UpstreamRate, 503, "upstream_rate_limited", false},
		{fault.UpstreamOverload, 503, "upstream_overloaded", false},
		{fault.UpstreamError, 502, "upstream_error", false},
		{fault.UpstreamAuth, 502, "upstream_auth", false},
		{fault.UpstreamTimeout, 504, "upstream_timeout", false},
		{fault.UpstreamUnreached, 502, "upstream_unreachable", false},
		{fault.UpstreamProtocol, 502, "upstream_protocol", false},
		{fault.UpstreamPartial, 502, "upstream_partial", false},
		{fault.UpstreamQuota, 503, "upstream_quota", false},
		{fault.ExitUnreachable, 503, "upstream_exit_unreachable", false},
		{fault.ExitLost, 502, "upstream_exit_lost", false},
		{fault.Unsupported, 400, "unsupported_conversion", false},
		{fault.Lossy, 400, "lossy_conversion", false},
		{fault.TooLarge, 413, "request_too_large", false},
		{fault.Malformed, 400, "malformed_request", false},
		{fault.UnknownModel, 404, "model_not_found", false},
		{fault.PreviousNotFound, 400, "previous_response_not_found", false},
	}
	for _, tt := range tests {
		i := tt.kind.Info()
		if i.Status != tt.status || i.Code != tt.code || i.ShouldRetry != tt.retry {
			t.Errorf("%s: %d %q retry=%t, want %d %q %t", i.Name, i.Status, i.Code, i.ShouldRetry, tt.status, tt.code, tt.retry)
		}
	}
}

func TestRefunds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind  fault.Kind
		phase fault.Phase
		want  bool
		why   string
	}{
		{fault.UpstreamTimeout, fault.NotSent, true, "a connect timeout cost nothing"},
		{fault.UpstreamTimeout, fault.Sent, false, "the provider may bill what it worked on"},
		{fault.UpstreamRate, fault.Sent, true, "a 429 is not billed"},
		{fault.UpstreamError, fault.Partial, false, "part of the answer was made"},
		{fault.Canceled, fault.Sent, false, "the provider worked until it noticed"},
	}
	for _, tt := range tests {
		if got := fault.New(tt.kind, "x").At(tt.phase).Refunds(); got != tt.want {
			t.Errorf("%s: Refunds = %t", tt.why, got)
		}
	}
}

func TestAsAndError(t *testing.T) {
	t.Parallel()
	if fault.As(nil) != nil {
		t.Error("As(nil) is not nil")
	}
	inner := fault.New(fault.NoRoute, "no exit for %s", "gpt-4o")
	if got := fault.As(fmt.Errorf("open tunnel: %w", inner)); got != inner {
		t.Errorf("As = %v, want the fault inside", got)
	}
	cause := errors.New("disk full")
	got := fault.As(cause)
	if got.Kind != fault.Internal || !errors.Is(got, cause) {
		t.Errorf("As of a plain error = %v", got)
	}
	if strings.Contains(got.Text(), "disk") {
		t.Error("the private cause is in the public text")
	}
	if (&fault.Error{Kind: fault.NoRoute}).Text() != fault.NoRoute.Info().Text {
		t.Error("a fault without message must have its kind's text")
	}
}

func drawFault(t *rapid.T) *fault.Error {
	e := &fault.Error{
		Kind:       fault.Kind(rapid.Byte().Draw(t, "kind")),
		Phase:      fault.Phase(rapid.ByteRange(0, 2).Draw(t, "phase")),
		Message:    rapid.String().Draw(t, "message"),
		Param:      rapid.StringN(0, 40, 200).Draw(t, "param"),
		Status:     rapid.IntRange(0, 999).Draw(t, "status"),
		RetryAfter: time.Duration(rapid.Int64Min(0).Draw(t, "wait")),
		Fields:     rapid.SliceOfN(rapid.StringN(0, 40, 200), 0, 5).Draw(t, "fields"),
		Raw:        rapid.SliceOf(rapid.Byte()).Draw(t, "raw"),
	}
	if len(e.Fields) == 0 {
		e.Fields = nil
	}
	if len(e.Raw) == 0 {
		e.Raw = nil
	}
	return e
}

func TestWireRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := drawFault(t)
		tail := []byte("tail")
		got, rest, err := fault.Parse(append(fault.Append(nil, e), tail...))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e, got); d != "" {
			t.Fatalf("(-sent +got):\n%s", d)
		}
		if string(rest) != "tail" {
			t.Fatalf("rest = %q", rest)
		}
	})
}

// Whatever is appended can be parsed: bounds cut, they do not break.
func TestWireCutsAtBounds(t *testing.T) {
	t.Parallel()
	e := &fault.Error{
		Kind: fault.Lossy, Message: strings.Repeat("日本", fault.MaxMessage), Param: strings.Repeat("p", 1000), Status: -3, RetryAfter: -time.Second,
		Fields: make([]string, 500), Raw: make([]byte, fault.MaxRaw+9), Err: errors.New("private"),
	}
	e.Fields[0] = strings.Repeat("é", fault.MaxField)
	got, rest, err := fault.Parse(fault.Append(nil, e))
	if err != nil || len(rest) != 0 {
		t.Fatalf("parse: %v, %d bytes left", err, len(rest))
	}
	if len(got.Message) > fault.MaxMessage || !utf8.ValidString(got.Message) || !utf8.ValidString(got.Fields[0]) {
		t.Errorf("message of %d bytes, valid %t", len(got.Message), utf8.ValidString(got.Message))
	}
	if len(got.Fields) != fault.MaxFields || len(got.Raw) != fault.MaxRaw || got.Status != 0 || got.RetryAfter != 0 || got.Err != nil {
		t.Errorf("fields %d, raw %d, status %d, wait %v, err %v", len(got.Fields), len(got.Raw), got.Status, got.RetryAfter, got.Err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(fault.Append(nil, fault.New(fault.RateLimited, "slow down").After(time.Second)))
	f.Add(fault.Append(nil, &fault.Error{Kind: fault.UpstreamRejected, Status: 400, Param: "n", Fields: []string{"a", "b"}, Raw: []byte("{}")}))
	f.Add([]byte{1, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := fault.Parse(b)
		if err != nil {
			return
		}
		if len(rest) >= len(b) {
			t.Fatal("parsed without consuming")
		}
		again, more, err := fault.Parse(fault.Append(nil, e))
		if err != nil || len(more) != 0 {
			t.Fatalf("second parse: %v, %d bytes left", err, len(more))
		}
		if len(e.Fields) == 0 {
			e.Fields = nil
		}
		if utf8.ValidString(e.Message) { // only whole runes are promised to survive a cut
			if d := cmp.Diff(e, again); d != "" {
				t.Fatalf("(-first +second):\n%s", d)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	e := fault.New(fault.UpstreamRate, "the provider's rate limit is reached").After(7 * time.Second)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = fault.Append(buf[:0], e)
	}
}
