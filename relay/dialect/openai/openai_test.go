package openai_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

func TestPeek(t *testing.T) {
	t.Parallel()
	chat, resp := openai.Chat{}, openai.Responses{}
	tests := []struct {
		why  string
		f    dialect.Frontend
		op   llm.Op
		body string
		want dialect.Head
	}{
		{"chat", chat, llm.OpGenerate, `{"model":"gpt-4o","messages":[],"max_tokens":10,"n":2,"user":"u1"}`, dialect.Head{Model: "gpt-4o", MaxOutput: 10, Choices: 2, User: "u1"}},
		{"the larger of both limits bounds the cost", chat, llm.OpGenerate, `{"model":"m","max_tokens":10,"max_completion_tokens":30}`, dialect.Head{Model: "m", MaxOutput: 30, Choices: 1}},
		{"safety_identifier replaced user in 2026", chat, llm.OpGenerate, `{"model":"m","user":"u","safety_identifier":"s"}`, dialect.Head{Model: "m", Choices: 1, User: "s"}},
		{"nulls are not stated", chat, llm.OpGenerate, `{"model":"m","stream":null,"n":null,"max_tokens":null,"user":null}`, dialect.Head{Model: "m", Choices: 1}},
		{"escapes in the name", chat, llm.OpGenerate, `{"model":"gpt\u002d4o"}`, dialect.Head{Model: "gpt-4o", Choices: 1}},
		{"responses", resp, llm.OpGenerate, `{"model":"m","input":"hi","stream":true,"max_output_tokens":16}`, dialect.Head{Model: "m", Stream: true, MaxOutput: 16, Choices: 1}},
		{"responses: n is not a member there", resp, llm.OpGenerate, `{"model":"m","n":7}`, dialect.Head{Model: "m", Choices: 1}},
		{"embeddings under chat", chat, llm.OpEmbed, `{"model":"e","input":["a"],"encoding_format":"base64","user":"u"}`, dialect.Head{Model: "e", Choices: 1, User: "u"}},
		{"embeddings under responses", resp, llm.OpEmbed, `{"model":"e","input":[1,2]}`, dialect.Head{Model: "e", Choices: 1}},
	}
	for _, tt := range tests {
		got, err := tt.f.Peek(tt.op, []byte(tt.body))
		if err != nil {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		tt.want.BodyLen = len(tt.body)
		tt.want.ModelSpan = got.ModelSpan
		tt.want.Usage = got.Usage
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.why, d)
		}
		var named string
		if json.Unmarshal(got.ModelSpan.Of([]byte(tt.body)), &named) != nil || named != got.Model {
			t.Errorf("%s: span holds %s", tt.why, got.ModelSpan.Of([]byte(tt.body)))
		}
	}
}

func TestPeekRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ why, body, param string }{
		{"no model", `{"messages":[]}`, "model"},
		{"empty model", `{"model":" "}`, "model"},
		{"model is a number", `{"model":4}`, "model"},
		{"stream is a string: the vendor refuses it, we must not read it as false", `{"model":"m","stream":"true"}`, "stream"},
		{"negative limit", `{"model":"m","max_tokens":-1}`, "max_tokens"},
		{"n of nothing", `{"model":"m","n":0}`, "n"},
		{"two models", `{"model":"cheap","model":"dear"}`, "model"},
		{"user is an object", `{"model":"m","user":{}}`, "user"},
	}
	for _, tt := range tests {
		_, err := openai.Chat{}.Peek(llm.OpGenerate, []byte(tt.body))
		if f := fault.As(err); f == nil || f.Kind != fault.Malformed || f.Param != tt.param {
			t.Errorf("%s: %v (param %q)", tt.why, err, fault.As(err).Param)
		}
	}
}

// The one exception to byte identity: a streamed chat request gets include_usage (DESIGN.md 3).
func TestIncludeUsageIsSplicedIn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why, body, want string
		injects         bool
	}{
		{"absent", `{"stream":true,"model":"a"}`, `{"stream":true,"stream_options":{"include_usage":true},"model":"b"}`, true},
		{"absent, stream last", `{"model":"a","stream":true}`, `{"model":"b","stream":true,"stream_options":{"include_usage":true}}`, true},
		{"null", `{"model":"a","stream":true,"stream_options":null}`, `{"model":"b","stream":true,"stream_options":{"include_usage":true}}`, true},
		{"empty", `{"stream_options":{ },"model":"a","stream":true}`, `{"stream_options":{"include_usage":true },"model":"b","stream":true}`, true},
		{"another option", `{"model":"a","stream":true,"stream_options":{"include_obfuscation":false}}`, `{"model":"b","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}`, true},
		{"false", `{"model":"a","stream":true,"stream_options":{"x":1, "include_usage" : false }}`, `{"model":"b","stream":true,"stream_options":{"x":1, "include_usage" : true }}`, true},
		{"null member", `{"model":"a","stream":true,"stream_options":{"include_usage":null}}`, `{"model":"b","stream":true,"stream_options":{"include_usage":true}}`, true},
		{"asked", `{"model":"a","stream":true,"stream_options":{"include_usage":true}}`, `{"model":"b","stream":true,"stream_options":{"include_usage":true}}`, false},
		{"not streamed", `{"model":"a","stream":false}`, `{"model":"b","stream":false}`, false},
		{"wrong types are the provider's to refuse", `{"model":"a","stream":true,"stream_options":7}`, `{"model":"b","stream":true,"stream_options":7}`, false},
		{"wrong member type", `{"model":"a","stream":true,"stream_options":{"include_usage":"yes"}}`, `{"model":"b","stream":true,"stream_options":{"include_usage":"yes"}}`, false},
	}
	for _, tt := range tests {
		h, err := openai.Chat{}.Peek(llm.OpGenerate, []byte(tt.body))
		if err != nil {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		edits := openai.ChatBackend{}.Splice(llm.OpGenerate, h, "b")
		if !splice.Valid(len(tt.body), edits) {
			t.Errorf("%s: invalid edits %v", tt.why, edits)
			continue
		}
		if got := string(splice.Apply([]byte(tt.body), edits)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.why, got, tt.want)
		}
		if h.Usage.Injects() != tt.injects {
			t.Errorf("%s: Injects = %t", tt.why, h.Usage.Injects())
		}
	}
}

// Same dialect, same model, nothing to inject: the provider gets the client's bytes.
func TestPassThroughIsByteIdentical(t *testing.T) {
	t.Parallel()
	body := []byte(` {"model":"m","stream":true , "stream_options":{"include_usage":true},"x_new":{"a":[1.0,2e5]}}` + "\n")
	h, err := openai.Chat{}.Peek(llm.OpGenerate, body)
	if err != nil {
		t.Fatal(err)
	}
	if e := (openai.ChatBackend{}).Splice(llm.OpGenerate, h, "m"); len(e) != 0 {
		t.Errorf("chat: edits %v", e)
	}
	h, _ = openai.Responses{}.Peek(llm.OpGenerate, body)
	if e := (openai.ResponsesBackend{}).Splice(llm.OpGenerate, h, "m"); len(e) != 0 {
		t.Errorf("responses: edits %v", e)
	}
}

// FuzzSplice: whatever Peek accepts, the spliced body is what a decoder makes of the same change.
func FuzzSplice(f *testing.F) {
	for _, s := range []string{
		`{"model":"a","stream":true}`, `{"stream":true,"stream_options":{"include_usage":false},"model":"a"}`, `{"model":"a","stream":true,"stream_options":{ }}`,
		`{"stream_options":null,"mod\u0065l":"\u0061","stream":true}`, `{"model":"a","stream":true,"stream_options":{"a":{"include_usage":1}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := openai.Chat{}.Peek(llm.OpGenerate, body)
		if err != nil {
			return
		}
		edits := openai.ChatBackend{}.Splice(llm.OpGenerate, h, "up/str\"eam")
		if !splice.Valid(len(body), edits) {
			t.Fatalf("%q: invalid edits %v", body, edits)
		}
		out := splice.Apply(body, edits)
		h2, err := openai.Chat{}.Peek(llm.OpGenerate, out)
		if err != nil {
			t.Fatalf("%q became %q: %v", body, out, err)
		}
		if h2.Model != "up/str\"eam" || h2.Stream != h.Stream || h2.MaxOutput != h.MaxOutput {
			t.Fatalf("%q became %q: head %+v", body, out, h2)
		}
		if h.Usage.Injects() && !h2.Usage.Asked {
			t.Fatalf("%q became %q: usage not asked for", body, out)
		}
	})
}

func TestChatTapNotes(t *testing.T) {
	t.Parallel()
	chunk := func(delta string) string {
		return `{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":` + delta + `,"logprobs":null,"finish_reason":null}],"usage":null}`
	}
	tests := []struct {
		why, data string
		want      dialect.Note
	}{
		{"role chunk", chunk(`{"role":"assistant","content":"","refusal":null}`), 0},
		{"role chunk without content", chunk(`{"role":"assistant"}`), 0},
		{"text", chunk(`{"content":"Hi"}`), dialect.NoteContent},
		{"text that is only a quote", chunk(`{"content":"\""}`), dialect.NoteContent},
		{"text beside the role", chunk(`{"role":"assistant","content":"Hi"}`), dialect.NoteContent},
		{"empty text", chunk(`{"content":""}`), 0},
		{"white space in the JSON", `{ "choices" : [ { "delta" : { "content" : "Hi" } } ] }`, dialect.NoteContent},
		// BerriAI/litellm #29286 (peers.md 4, case 3): empty tool_calls beside content.
		{"content with tool_calls []", chunk(`{"tool_calls":[],"content":"Hi"}`), dialect.NoteContent},
		{"only empty tool_calls", chunk(`{"tool_calls":[],"content":null}`), 0},
		{"call", chunk(`{"tool_calls":[{"index":0,"function":{"arguments":"{\""}}]}`), dialect.NoteContent},
		{"reasoning of compatible servers", chunk(`{"reasoning_content":"hm"}`), dialect.NoteContent},
		{"an unknown kind of content", chunk(`{"video":{"id":"v"}}`), dialect.NoteContent},
		{"second choice has the text", `{"choices":[{"delta":{}},{"delta":{"content":"x"}}]}`, dialect.NoteContent},
		// Several compatible servers close the stream without [DONE].
		{"finish", `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}`, dialect.NoteTerminal},
		{"finish beside content", `{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason": "stop"}]}`, dialect.NoteContent | dialect.NoteTerminal},
		{"one of two finishes", `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{}}]}`, 0},
		{"an empty reason is none", `{"choices":[{"index":0,"delta":{},"finish_reason":""}]}`, 0},
		{"end", `[DONE]`, dialect.NoteTerminal},
		// BerriAI/litellm #36553, #30761, #42484: chunks with empty choices.
		{"usage only", `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`, dialect.NoteUsageOnly},
		{"moderation chunk", `{"choices":[],"moderation":{"flagged":false},"usage":null}`, 0},
		{"usage beside content", `{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}`, dialect.NoteContent},
		{"error", `{"error":{"message":"boom","type":"server_error"}}`, dialect.NoteError},
		{"error: null is none", `{"error":null,"choices":[{"delta":{"content":"x"}}]}`, dialect.NoteContent},
		{"the words error and usage inside text", chunk(`{"content":"\"error\" \"usage\":{}"}`), dialect.NoteContent},
		{"no JSON", `oops`, dialect.NoteContent},
		{"no data", ``, 0},
	}
	for _, tt := range tests {
		if got := (openai.ChatBackend{}).NewTap(llm.OpGenerate).Event("", []byte(tt.data)); got != tt.want {
			t.Errorf("%s: note %d, want %d", tt.why, got, tt.want)
		}
	}
}

// A stream without [DONE] ends with the last of its choices, whatever they began with.
func TestChatTapWaitsForEveryChoice(t *testing.T) {
	t.Parallel()
	choice := func(index int, delta, reason string) string {
		return fmt.Sprintf(`{"index":%d,"delta":%s,"finish_reason":%s}`, index, delta, reason)
	}
	const call, text, none = `{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}`, `{"content":"x"}`, `{}`
	tests := []struct {
		why    string
		events []string // the choices of each chunk; only the last one ends the stream
	}{
		{"one", []string{choice(0, text, "null"), choice(0, text, "null"), choice(0, none, `"stop"`)}},
		{"one with calls", []string{choice(0, call, "null"), choice(0, call, "null"), choice(0, none, `"tool_calls"`)}},
		{"the second only calls", []string{choice(0, text, "null"), choice(1, call, "null"), choice(0, none, `"stop"`), choice(1, none, `"tool_calls"`)}},
		{"its index last", []string{
			choice(0, text, "null"), `{"delta":` + call + `,"finish_reason":null,"index":1}`, choice(0, none, `"stop"`), choice(1, none, `"tool_calls"`),
		}},
		{"its index spaced", []string{
			choice(0, text, "null"), `{"index": 1,"delta":` + call + `,"finish_reason":null}`, choice(0, none, `"stop"`), choice(1, none, `"tool_calls"`),
		}},
		{"both in one chunk", []string{choice(0, text, "null"), choice(0, text, "null") + "," + choice(1, text, "null"), choice(0, none, `"stop"`), choice(1, none, `"stop"`)}},
		{"the second ends first", []string{choice(0, call, "null"), choice(1, call, "null"), choice(1, none, `"tool_calls"`), choice(0, none, `"tool_calls"`)}},
	}
	for _, tt := range tests {
		tap := openai.ChatBackend{}.NewTap(llm.OpGenerate)
		for i, choices := range tt.events {
			n := tap.Event("", []byte(`{"id":"c","choices":[`+choices+`]}`))
			if got, want := n&dialect.NoteTerminal != 0, i == len(tt.events)-1; got != want {
				t.Errorf("%s: terminal %v at event %d of %d", tt.why, got, i+1, len(tt.events))
			}
		}
	}
}

func TestResponsesTapNotes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why, name, data string
		want            dialect.Note
	}{
		{"created", "response.created", `{"type":"response.created","response":{}}`, 0},
		{"in progress", "response.in_progress", `{}`, 0},
		{"keepalive", "keepalive", `{"type":"keepalive"}`, 0},
		{"message item opens empty", "response.output_item.added", `{"item":{"id":"m","type":"message","content":[]}}`, 0},
		{"call item names the call", "response.output_item.added", `{"item":{"type":"function_call","name":"f"}}`, dialect.NoteContent},
		{"text", "response.output_text.delta", `{"delta":"x"}`, dialect.NoteContent},
		// BerriAI/litellm #25321 (peers.md 4, case 2): arguments only in .done.
		{"done-only arguments", "response.function_call_arguments.done", `{"arguments":"{}"}`, dialect.NoteContent},
		{"a hosted tool starts", "response.web_search_call.in_progress", `{}`, 0},
		{"an event of next year", "response.hologram.delta", `{}`, dialect.NoteContent},
		{"completed", "response.completed", `{"response":{"status":"completed","usage":{"input_tokens":1}}}`, dialect.NoteTerminal},
		{"incomplete", "response.incomplete", `{"response":{"status":"incomplete"}}`, dialect.NoteTerminal},
		{"failed", "response.failed", `{"response":{"status":"failed","error":{"code":"server_error","message":"x"}}}`, dialect.NoteError},
		{"error, flat as specified", "error", `{"type":"error","code":"rate_limit_exceeded","message":"slow"}`, dialect.NoteError},
		{"error, nested as recorded", "error", `{"type":"error","error":{"type":"x","code":"rate_limit_exceeded","message":"slow","param":null}}`, dialect.NoteError},
		{"no event names", "", `{"type":"response.created"}`, 0},
	}
	for _, tt := range tests {
		tap := openai.ResponsesBackend{}.NewTap(llm.OpGenerate)
		if got := tap.Event(tt.name, []byte(tt.data)); got != tt.want {
			t.Errorf("%s: note %d, want %d", tt.why, got, tt.want)
		}
		if tt.name == "error" && tap.Fault().Kind != fault.UpstreamRate {
			t.Errorf("%s: fault %v", tt.why, tap.Fault())
		}
	}
}

func frame(data string) string { return "data: " + data + "\n\n" }

func filter(f *openai.UsageFilter, data string) string {
	raw := []byte(frame(data))
	return string(f.Filter(raw, raw[6:len(raw)-2]))
}

// What the client did not ask for must not show; what it did not ask about must not change.
func TestUsageFilter(t *testing.T) {
	t.Parallel()
	tests := []struct{ why, in, want string }{
		{"null at the end", `{"id":"c","choices":[{"delta":{"content":"x"}}],"usage":null}`, `{"id":"c","choices":[{"delta":{"content":"x"}}]}`},
		{"null before obfuscation", `{"choices":[{"delta":{}}],"usage":null,"obfuscation":"ab"}`, `{"choices":[{"delta":{}}],"obfuscation":"ab"}`},
		{"null first", `{"usage":null,"choices":[]}`, `{"choices":[]}`},
		{"null first, spaced", `{ "usage" : null , "choices":[]}`, `{  "choices":[]}`},
		{"null spaced", `{"choices":[] , "usage" : null }`, `{"choices":[]  }`},
		{"only null", `{"usage":null}`, `{}`},
		{"usage only", `{"choices":[],"usage":{"prompt_tokens":1}}`, ""},
		{"usage beside a moderation", `{"choices":[],"moderation":{"flagged":true},"usage":{"prompt_tokens":1}}`, `{"choices":[],"moderation":{"flagged":true}}`},
		{"usage beside content comes unasked", `{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}`, `{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}`},
		{"nested usage is not ours", `{"choices":[{"delta":{"audio":{"usage":null}}}]}`, `{"choices":[{"delta":{"audio":{"usage":null}}}]}`},
		{"nested usage last", `{"choices":[],"x":{"a":1,"usage":null}}`, `{"choices":[],"x":{"a":1,"usage":null}}`},
		{"text about usage", `{"choices":[{"delta":{"content":",\"usage\":null}"}}]}`, `{"choices":[{"delta":{"content":",\"usage\":null}"}}]}`},
		{"end", `[DONE]`, `[DONE]`},
		{"error", `{"error":{"message":"x"}}`, `{"error":{"message":"x"}}`},
		{"no JSON", `{"usage":null`, `{"usage":null`},
	}
	f := openai.NewUsageFilter()
	for _, tt := range tests {
		want := tt.want
		if want != "" {
			want = frame(want)
		}
		if got := filter(f, tt.in); got != want {
			t.Errorf("%s:\n got %q\nwant %q", tt.why, got, want)
		}
	}
	if got := f.Filter([]byte(": c\n\n"), nil); string(got) != ": c\n\n" {
		t.Errorf("comment became %q", got)
	}
}

// FuzzUsageFilter: the filter only ever takes the usage member away, or the whole usage-only chunk.
func FuzzUsageFilter(f *testing.F) {
	for _, s := range []string{`{"a":1,"usage":null}`, `{"usage":null,"a":"b"}`, `{"choices":[],"usage":{}}`, `{ "usage" : null }`, `{"x":{"usage":null},"usage":null,"y":[]}`, `{"u":"\"usage\":null","usage":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.ContainsAny(data, "\r\n") {
			return // cannot be one data line
		}
		raw := append(append([]byte("data: "), data...), "\n\n"...)
		before := bytes.Clone(raw)
		out := openai.NewUsageFilter().Filter(raw, raw[6:len(raw)-2])
		if !bytes.Equal(before, raw) {
			t.Fatal("the frame was written to")
		}
		var in map[string]json.RawMessage
		var at [1]splice.Span
		if err := dialect.Pick(data, []string{"usage"}, at[:]); err != nil {
			return // not strictly JSON: nothing is promised but the absence of panics
		}
		if err := json.Unmarshal(data, &in); err != nil {
			return
		}
		if out == nil {
			if c := bytes.TrimSpace(in["choices"]); len(c) < 2 || c[0] != '[' || len(bytes.TrimSpace(c[1:len(c)-1])) != 0 || in["usage"][0] != '{' {
				t.Fatalf("dropped %s", data)
			}
			return
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(out[6:], &got); err != nil {
			t.Fatalf("%s became %q: %v", data, out, err)
		}
		if bytes.Equal(out, raw) {
			if string(in["usage"]) == "null" && bytes.Contains(data, []byte(`"usage"`)) {
				t.Fatalf("%s kept its null", data)
			}
			return
		}
		delete(in, "usage")
		if d := cmp.Diff(in, got); d != "" {
			t.Fatalf("%s became %q (-want +got):\n%s", data, out, d)
		}
	})
}

var (
	chunkText  = []byte(`{"id":"chatcmpl-BWlJCN7VZTtSHROczp0AbrjFGhRMA","object":"chat.completion.chunk","created":1747148050,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_0392822090","choices":[{"index":0,"delta":{"content":" result"},"logprobs":null,"finish_reason":null}],"usage":null}`)
	chunkCall  = []byte(`{"id":"chatcmpl-BWlJBDk2xe66hjff60joVYpXi1hh4","object":"chat.completion.chunk","created":1747148049,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"123"}}]},"logprobs":null,"finish_reason":null}],"usage":null}`)
	chunkThink = []byte(`{"id":"c","object":"chat.completion.chunk","created":1747148049,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"Let me see"},"finish_reason":null}]}`)
	chunkUsage = []byte(`{"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":87,"completion_tokens":26,"total_tokens":113,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}`)
	respDelta  = []byte(`{"type":"response.output_text.delta","content_index":0,"delta":"Hi","item_id":"msg_1","logprobs":[],"obfuscation":"x","output_index":0,"sequence_number":4}`)
)

func TestTapsDoNotAllocate(t *testing.T) {
	tests := []struct {
		why, name string
		b         dialect.Backend
		data      []byte
	}{
		{"text", "", openai.ChatBackend{}, chunkText},
		{"call", "", openai.ChatBackend{}, chunkCall},
		{"reasoning", "", openai.ChatBackend{}, chunkThink},
		{"usage", "", openai.ChatBackend{}, chunkUsage},
		{"responses delta", "response.output_text.delta", openai.ResponsesBackend{}, respDelta},
	}
	for _, tt := range tests {
		tap := tt.b.NewTap(llm.OpGenerate)
		if n := testing.AllocsPerRun(100, func() { tap.Event(tt.name, tt.data) }); n != 0 {
			t.Errorf("%s: %v allocations an event", tt.why, n)
		}
	}
	f := openai.NewUsageFilter()
	raw := []byte(frame(string(chunkText)))
	if n := testing.AllocsPerRun(100, func() { f.Filter(raw, raw[6:len(raw)-2]) }); n != 0 {
		t.Errorf("filter: %v allocations an event", n)
	}
	body := []byte(`{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
	if n := testing.AllocsPerRun(100, func() { _, _ = openai.Chat{}.Peek(llm.OpGenerate, body) }); n > 1 {
		t.Errorf("peek: %v allocations, want the model's name only", n)
	}
}

func BenchmarkChatPeek(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"400B", 1}, {"100KB", 300}} {
		body := []byte(`{"model":"gpt-4o","stream":true,"messages":[{"role":"system","content":"You answer briefly."}` +
			strings.Repeat(`,{"role":"user","content":"`+strings.Repeat(`Tell me about bridges.\n`, 12)+`"}`, size.n) + `],"temperature":0.7,"user":"u-1"}`)
		b.Run(size.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := (openai.Chat{}).Peek(llm.OpGenerate, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkChatTap(b *testing.B) {
	for _, c := range []struct {
		name string
		data []byte
	}{{"text", chunkText}, {"call", chunkCall}, {"reasoning", chunkThink}, {"usage", chunkUsage}} {
		b.Run(c.name, func(b *testing.B) {
			tap := openai.ChatBackend{}.NewTap(llm.OpGenerate)
			b.ReportAllocs()
			for b.Loop() {
				tap.Event("", c.data)
			}
		})
	}
}

func BenchmarkResponsesTap(b *testing.B) {
	tap := openai.ResponsesBackend{}.NewTap(llm.OpGenerate)
	b.ReportAllocs()
	for b.Loop() {
		tap.Event("response.output_text.delta", respDelta)
	}
}

func BenchmarkUsageFilter(b *testing.B) {
	f := openai.NewUsageFilter()
	raw := []byte(frame(string(chunkText)))
	b.ReportAllocs()
	for b.Loop() {
		f.Filter(raw, raw[6:len(raw)-2])
	}
}
