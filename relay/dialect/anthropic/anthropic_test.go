package anthropic_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/anthropic"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

func TestPeek(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why, body string
		want      dialect.Head
	}{
		{
			"messages", `{"model":"claude-sonnet-4-5","max_tokens":1024,"stream":true,"messages":[],"metadata":{"user_id":"u"}}`,
			dialect.Head{Model: "claude-sonnet-4-5", MaxOutput: 1024, Stream: true, User: "u", Choices: 1},
		},
		{"max_tokens 0 warms the cache", `{"model":"m","max_tokens":0}`, dialect.Head{Model: "m", Choices: 1}},
		{"no max_tokens: count_tokens has none, and messages are the provider's to refuse", `{"model":"m"}`, dialect.Head{Model: "m", Choices: 1}},
		{"metadata null", `{"model":"m","metadata":null}`, dialect.Head{Model: "m", Choices: 1}},
		{"a user_id elsewhere does not count", `{"model":"m","messages":[{"user_id":"x"}],"metadata":{"a":{"user_id":"y"}}}`, dialect.Head{Model: "m", Choices: 1}},
	}
	for _, tt := range tests {
		got, err := anthropic.Frontend{}.Peek(llm.OpGenerate, []byte(tt.body))
		if err != nil {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		tt.want.BodyLen, tt.want.ModelSpan = len(tt.body), got.ModelSpan
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.why, d)
		}
		edits := anthropic.Backend{}.Splice(llm.OpGenerate, got, "other")
		renamed, err := anthropic.Frontend{}.Peek(llm.OpGenerate, splice.Apply([]byte(tt.body), edits))
		if err != nil || renamed.Model != "other" {
			t.Errorf("%s: after the splice: %q %v", tt.why, renamed.Model, err)
		}
		if len(anthropic.Backend{}.Splice(llm.OpGenerate, got, got.Model)) != 0 {
			t.Errorf("%s: edits although the name is the same", tt.why)
		}
	}
	for _, bad := range []string{`{}`, `{"model":null}`, `{"model":"a","model":"a"}`, `{"model":"m","max_tokens":"1"}`, `{"model":"m","metadata":{"user_id":7}}`, `{"model":"m","stream":1}`} {
		if _, err := (anthropic.Frontend{}).Peek(llm.OpGenerate, []byte(bad)); fault.As(err) == nil || fault.As(err).Kind != fault.Malformed {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

const start = `{"type":"message_start","message":{"id":"msg_1","content":[],"usage":{"input_tokens":17,"cache_creation_input_tokens":30,"cache_read_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1,"inference_geo":"us"}}}`

func TestTapNotes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why, name, data string
		want            dialect.Note
	}{
		{"start", "message_start", start, 0},
		{"ping", "ping", `{"type": "ping"}`, 0},
		{"text block opens empty", "content_block_start", `{"index":0,"content_block":{"type":"text","text":""}}`, 0},
		{"thinking block opens empty", "content_block_start", `{"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`, 0},
		{"call block names the call", "content_block_start", `{"index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}`, dialect.NoteContent},
		{"a tool result with an empty text inside", "content_block_start", `{"content_block":{"type":"web_search_tool_result","content":[{"type":"text","text":""}]}}`, dialect.NoteContent},
		{"redacted thinking comes whole", "content_block_start", `{"content_block":{"type":"redacted_thinking","data":"x"}}`, dialect.NoteContent},
		{"delta", "content_block_delta", `{"delta":{"type":"text_delta","text":"x"}}`, dialect.NoteContent},
		{"stop of a block", "content_block_stop", `{"index":0}`, 0},
		{"message_delta", "message_delta", `{"usage":{"output_tokens":5}}`, 0},
		{"end", "message_stop", `{"type":"message_stop"}`, dialect.NoteTerminal},
		{"error after 200", "error", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, dialect.NoteError},
		{"no event names: the type tells", "", `{"type":"content_block_delta"}`, dialect.NoteContent},
		{"an event of next year", "hologram", `{}`, dialect.NoteContent},
	}
	for _, tt := range tests {
		tap := anthropic.Backend{}.NewTap(llm.OpGenerate)
		if got := tap.Event(tt.name, []byte(tt.data)); got != tt.want {
			t.Errorf("%s: note %d, want %d", tt.why, got, tt.want)
		}
		if tt.name == "error" && tap.Fault().Kind != fault.UpstreamOverload {
			t.Errorf("%s: fault %v", tt.why, tap.Fault())
		}
	}
}

// message_start is the base; message_delta overwrites what it states (34 of 91 recorded streams state
// output_tokens alone).
func TestTapUsage(t *testing.T) {
	t.Parallel()
	base := llm.Usage{Input: 147, Cached: 100, CacheWrite: 30, CacheWrite1h: 20, Output: 1}
	tests := []struct {
		why    string
		deltas []string
		want   llm.Usage
	}{
		{"cut off after the start", nil, base},
		{"only output", []string{`{"usage":{"output_tokens":42}}`}, llm.Usage{Input: 147, Cached: 100, CacheWrite: 30, CacheWrite1h: 20, Output: 42}},
		{
			"input grew by a web search",
			[]string{`{"usage":{"input_tokens":1000,"output_tokens":42,"output_tokens_details":{"thinking_tokens":7}}}`},
			llm.Usage{Input: 1130, Cached: 100, CacheWrite: 30, CacheWrite1h: 20, Output: 42, Reasoning: 7},
		},
		{"cumulative, the last wins", []string{`{"usage":{"output_tokens":10}}`, `{"usage":{"output_tokens":12}}`}, llm.Usage{Input: 147, Cached: 100, CacheWrite: 30, CacheWrite1h: 20, Output: 12}},
		{"nulls state nothing", []string{`{"usage":{"input_tokens":null,"output_tokens":2}}`}, llm.Usage{Input: 147, Cached: 100, CacheWrite: 30, CacheWrite1h: 20, Output: 2}},
	}
	for _, tt := range tests {
		tap := anthropic.Backend{}.NewTap(llm.OpGenerate)
		tap.Event("message_start", []byte(start))
		for _, d := range tt.deltas {
			tap.Event("message_delta", []byte(d))
		}
		got, ok := tap.Usage()
		if d := cmp.Diff(tt.want, got); d != "" || !ok {
			t.Errorf("%s: stated %t (-want +got):\n%s", tt.why, ok, d)
		}
		if tap.Processing() != "us" {
			t.Errorf("%s: processing %q", tt.why, tap.Processing())
		}
	}
}

// Compaction bills a round whose tokens the top-level counts leave out (recorded answer).
func TestUsageCountsEveryIteration(t *testing.T) {
	t.Parallel()
	body := `{"usage":{"input_tokens":162,"output_tokens":11,"iterations":[{"input_tokens":99195,"output_tokens":81,"type":"compaction"},{"input_tokens":162,"output_tokens":11,"cache_read_input_tokens":3,"type":"message"}]}}`
	got, ok := anthropic.Backend{}.UnaryUsage(llm.OpGenerate, []byte(body))
	if d := cmp.Diff(llm.Usage{Input: 99360, Cached: 3, Output: 92}, got); d != "" || !ok {
		t.Errorf("stated %t (-want +got):\n%s", ok, d)
	}
}

func TestProcessing(t *testing.T) {
	t.Parallel()
	tests := []struct{ body, fake, want string }{
		{`{"usage":{"inference_geo":"us"}}`, "", "us"},
		{`{"usage":{"inference_geo":"not_available"}}`, "", ""},
		{`{"usage":{}}`, "DE", "DE"},
		{`{"inference_geo":"us"}`, "", ""},
	}
	for _, tt := range tests {
		if got := (anthropic.Backend{}).Processing(map[string][]string{dialect.FakeCountry: {tt.fake}}, []byte(tt.body)); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.body, tt.fake, got, tt.want)
		}
	}
}

var delta = []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" Captain"}           }`)

func TestTapDoesNotAllocate(t *testing.T) {
	tap := anthropic.Backend{}.NewTap(llm.OpGenerate)
	tap.Event("message_start", []byte(start))
	usage := []byte(`{"type":"message_delta","usage":{"output_tokens":10}}`)
	if n := testing.AllocsPerRun(100, func() { tap.Event("content_block_delta", delta); tap.Event("message_delta", usage) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTap(b *testing.B) {
	tap := anthropic.Backend{}.NewTap(llm.OpGenerate)
	b.ReportAllocs()
	for b.Loop() {
		tap.Event("content_block_delta", delta)
	}
}
