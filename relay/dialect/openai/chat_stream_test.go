package openai_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// foldChunks joins the deltas of a stream's first choice into a message as openai-python does:
// strings grow, lists merge by index, and the first of everything else stays.
func foldChunks(t testing.TB, stream []byte) string {
	t.Helper()
	s := sse.NewScanner(0)
	s.Feed(stream)
	message := map[string]any{}
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		var chunk struct {
			Choices []struct {
				Delta map[string]any `json:"delta"`
			} `json:"choices"`
		}
		if json.Unmarshal(e.Data, &chunk) == nil && len(chunk.Choices) > 0 {
			fold(message, chunk.Choices[0].Delta)
		}
	}
	out, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func fold(into, delta map[string]any) {
	for k, v := range delta {
		switch old := into[k].(type) {
		case string:
			if s, ok := v.(string); ok && k != "type" && k != "id" && k != "role" {
				into[k] = old + s
			}
		case map[string]any:
			if m, ok := v.(map[string]any); ok {
				fold(old, m)
			}
		case []any:
			for _, x := range v.([]any) {
				x := x.(map[string]any)
				if i := int(x["index"].(float64)); i < len(old) {
					fold(old[i].(map[string]any), x)
				} else {
					old = append(old, x)
				}
			}
			into[k] = old
		default:
			into[k] = v
		}
	}
}

// chunks makes a stream of deltas of one choice; "finish:REASON", "usage", "DONE" and raw objects
// ({"choices"...}) stand for themselves.
func chunks(deltas ...string) []byte {
	var b []byte
	for _, d := range deltas {
		reason, ends := strings.CutPrefix(d, "finish:")
		switch {
		case ends:
			d = `{"id":"x","model":"m","created":7,"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}`
		case d == "usage":
			d = `{"id":"x","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}`
		case d == "DONE":
			d = "[DONE]"
		case strings.HasPrefix(d, "frame:"):
			d = d[6:]
		default:
			d = `{"id":"x","model":"m","created":7,"choices":[{"index":0,"delta":{` + d + `},"finish_reason":null}]}`
		}
		b = sse.Append(b, "", []byte(d))
	}
	return b
}

// answerText shows an answer on one line.
func answerText(r *llm.Response) string {
	var out []string
	for _, c := range r.Choices {
		s := ""
		for i := range c.Parts {
			p := &c.Parts[i]
			switch p.Kind {
			case llm.PartText:
				s += "text(" + p.Text + ")"
			case llm.PartCall:
				id := p.ID
				if strings.HasPrefix(id, "call_cw") {
					id = "made"
				}
				s += fmt.Sprintf("%s=%s(%s)", id, p.Name, p.Text)
			default:
				s += p.Kind.String() + "(" + p.Text + ")"
			}
			if p.Seal != nil {
				s += "/" + string(p.Seal.Data)
			}
			s += " "
		}
		out = append(out, s+c.Stop.Reason.String())
	}
	return strings.Join(out, " | ")
}

const (
	startA = `"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]`
	argsA1 = `"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]`
	argsA2 = `"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]`
	startB = `"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}]`
	argsB  = `"tool_calls":[{"index":1,"function":{"arguments":"{\"y\":2}"}}]`
)

// TestChatStreams: what providers send, and what it means.
func TestChatStreams(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why    string
		stream []byte
		want   string
	}{
		{"text", chunks(`"role":"assistant","content":""`, `"content":"Hi"`, `"content":" ✓"`, "finish:stop", "usage", "DONE"), "text(Hi ✓) end"},
		{"a call", chunks(`"role":"assistant","content":null`, startA, argsA1, argsA2, "finish:tool_calls", "DONE"), `a=f({"x":1}) calls`},
		{"interleaved parallel calls (su-kaka/gcli2api #406, praxis-proxy/ai #266)", chunks(startA, startB, argsA1, argsB, argsA2, "finish:tool_calls", "DONE"), `a=f({"x":1}) b=g({"y":2}) calls`},
		{
			"all calls have index 0 (mcowger/plexus #691)", chunks(startA, argsA1, argsA2, strings.Replace(startB, `"index":1`, `"index":0`, 1), strings.Replace(argsB, `"index":1`, `"index":0`, 1), "finish:tool_calls", "DONE"),
			`a=f({"x":1}) b=g({"y":2}) calls`,
		},
		{"calls without an index", chunks(`"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}},{"id":"b","function":{"name":"g","arguments":"{}"}}]`, "finish:stop", "DONE"), `a=f({}) b=g({}) calls`},
		{"calls without ids", chunks(`"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}},{"index":1,"id":"","function":{"name":"g","arguments":""}}]`, "finish:tool_calls", "DONE"), `made=f({}) made=g() calls`},
		{"one id for two calls", chunks(startA, strings.Replace(startB, `"b"`, `"a"`, 1), argsB, "finish:tool_calls", "DONE"), `a=f() made=g({"y":2}) calls`},
		{"another id in every fragment (vLLM)", chunks(startA, `"tool_calls":[{"index":0,"id":"zz","function":{"arguments":"{}"}}]`, "finish:tool_calls", "DONE"), `a=f({}) calls`},
		{"id and name repeated in every fragment", chunks(startA, `"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]`, "finish:tool_calls", "DONE"), `a=f({}) calls`},
		{"the name after the arguments", chunks(`"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{\"x\":"}}]`, `"tool_calls":[{"index":0,"function":{"name":"f","arguments":"1}"}}]`, "finish:tool_calls", "DONE"), `a=f({"x":1}) calls`},
		{"arguments in one chunk with the start (BerriAI/litellm #25836)", chunks(`"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]`, "finish:tool_calls", "DONE"), `a=f({"x":1}) calls`},
		{"arguments only beside the finish reason (BerriAI/litellm #25321)", chunks(startA, `frame:{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":1}"}}]},"finish_reason":"tool_calls"}]}`, "DONE"), `a=f({"x":1}) calls`},
		{"arguments cut inside an escape (BerriAI/litellm #25321)", chunks(startA, `"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":\"\\"}}]`, `"tool_calls":[{"index":0,"function":{"arguments":"n\"}"}}]`, "finish:tool_calls", "DONE"), `a=f({"x":"\n"}) calls`},
		{"arguments as an object", chunks(`"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":{"x":1}}}]`, "finish:tool_calls", "DONE"), `a=f({"x":1}) calls`},
		{"tool_calls: [] beside content (BerriAI/litellm #29286)", chunks(`"role":"assistant","content":"a","tool_calls":[]`, `"content":"b","tool_calls":null`, "finish:stop", "DONE"), "text(ab) end"},
		{"stop with calls (maximhq/bifrost #3638, BerriAI/litellm #34692)", chunks(`"content":"t"`, startA, "finish:stop", "DONE"), `text(t) a=f() calls`},
		{"tool_calls without a call", chunks(`"content":"t"`, "finish:tool_calls", "DONE"), "text(t) end"},
		{"text between calls", chunks(startA, `"content":"t"`, argsA1, argsA2, "finish:tool_calls", "DONE"), `a=f({"x":1}) text(t) calls`},
		{"custom tool", chunks(`"tool_calls":[{"index":0,"id":"a","type":"custom","custom":{"name":"sh","input":""}}]`, `"tool_calls":[{"index":0,"custom":{"input":"ls"}}]`, "finish:tool_calls", "DONE"), "a=sh(ls) calls"},
		{"function_call of old models", chunks(`"function_call":{"name":"f","arguments":""}`, `"function_call":{"arguments":"{}"}`, "finish:function_call", "DONE"), "made=f({}) calls"},
		{"reasoning before text (maximhq/bifrost #974)", chunks(`"reasoning_content":"a","content":null`, `"reasoning_content":"b"`, `"content":"t","reasoning_content":null`, "finish:stop", "DONE"), "thinking(ab)/reasoning_content text(t) end"},
		{"reasoning of vLLM, in both members", chunks(`"reasoning":"a","reasoning_content":"a"`, `"content":"t"`, "finish:stop", "DONE"), "thinking(a)/reasoning text(t) end"},
		{
			"reasoning details of OpenRouter", chunks(`"reasoning":"a","reasoning_details":[{"type":"reasoning.text","text":"a","index":0}]`, `"reasoning":"b","reasoning_details":[{"type":"reasoning.text","text":"b","index":0}]`,
				`"reasoning_details":[{"type":"reasoning.text","signature":"s","index":0}]`, `"content":"t"`, "finish:stop", "DONE"),
			`thinking(ab)/[{"type":"reasoning.text","text":"ab","index":0,"signature":"s"}] text(t) end`,
		},
		{"content in parts (Mistral)", chunks(`"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]}]`, `"content":[{"type":"text","text":"t"}]`, "finish:stop", "DONE"), "thinking(a)/reasoning_content text(t) end"},
		{"Google's thought signature (Portkey-AI/gateway #1442)", chunks(`"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"c2ln"}}}]`, "finish:tool_calls", "DONE"), "a=f({})/c2ln calls"},
		{"a refusal", chunks(`"refusal":"no"`, `"refusal":"pe"`, "finish:stop", "DONE"), "refusal(nope) blocked"},
		{"choices: [] first, in between and last (BerriAI/litellm #36553, #30761, #42484)", chunks(`frame:{"id":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}`, `"content":"a"`, `frame:{"choices":[],"moderation":{}}`, "finish:stop", "usage", `frame:{"choices":[],"x":1}`, "DONE"), "text(a) end"},
		{"several choices", chunks(`frame:{"id":"x","choices":[{"index":1,"delta":{"content":"b"}}]}`, `"content":"a"`, `frame:{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}`, "finish:stop", "DONE"), "text(a) end | text(b) length"},
		{"no [DONE] after the finish reason", chunks(`"content":"a"`, "finish:stop"), "text(a) end"},
		{"[DONE] without a finish reason", chunks(`"content":"a"`, "DONE"), "text(a) end"},
		{"the whole answer in one chunk", chunks(`frame:{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}`, "DONE"), "text(a) end"},
		{"vLLM names the stop sequence", chunks(`"content":"a"`, `frame:{"choices":[{"index":0,"delta":{},"finish_reason":"stop","stop_reason":"END"}]}`, "DONE"), "text(a) sequence"},
		{"the limit", chunks(`"content":"a"`, "finish:length", "DONE"), "text(a) length"},
		{"the limit inside a call", chunks(startA, argsA1, "finish:length", "DONE"), `a=f({"x":) length`},
		{"frames after the end", chunks(`"content":"a"`, "finish:stop", "DONE", `"content":"b"`), "text(a) end"},
		{"no space after data:, CRLF, comments, BOM", []byte("\uFEFF: hello\r\ndata:{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\r\n\r\n: x\r\n\r\ndata:[DONE]"), "text(a) end"},
	} {
		events := everyByte(t, c.stream)
		r, err := llm.Collect(events)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := answerText(r); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.why, got, c.want)
		}
		if d := cmp.Diff(llm.Usage{Input: 9, Cached: 4, Output: 5, Reasoning: 2}, r.Usage); r.HasUsage && d != "" {
			t.Errorf("%s: usage %s", c.why, d)
		}
		out, losses, err := convtest.EncodeStream(openai.Chat{}, convtest.Answer(llm.OpenAIChat, nil), events)
		if err != nil || losses != nil {
			t.Errorf("%s: %v %v", c.why, err, losses)
			continue
		}
		back, err := convtest.DecodeStream(openai.ChatBackend{}, out)
		if err != nil {
			t.Errorf("%s: what we write is illegal: %v\n%s", c.why, err, out)
			continue
		}
		again, err := llm.Collect(back)
		if err != nil || seen(answerText(again)) != seen(c.want) {
			t.Errorf("%s: clients see\n%s, %v\n%s", c.why, answerText(again), err, out)
		}
	}
}

var seals = regexp.MustCompile(`/\S+`)

// seen is what of an answer goes through a chat client: arguments are JSON, stop sequences are not
// told, and seals may be carriers (TestChatThinkingComesBack).
func seen(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "f() ", "f({}) "), "g() ", "g({}) ")
	return strings.ReplaceAll(seals.ReplaceAllString(s, ""), "sequence", "end")
}

// TestChatStreamFailures: every way to break off is one error event, the last.
func TestChatStreamFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why    string
		stream []byte
		kind   fault.Kind
		phase  fault.Phase
	}{
		{"no finish reason", chunks(`"content":"a"`), fault.UpstreamPartial, fault.Partial},
		{"one of two choices not finished", chunks(`frame:{"choices":[{"index":1,"delta":{"content":"b"}}]}`, "finish:stop"), fault.UpstreamPartial, fault.Partial},
		{"nothing", nil, fault.UpstreamPartial, fault.Sent},
		{"only [DONE]: an empty completion", chunks("DONE"), fault.UpstreamProtocol, fault.Sent},
		{"only usage", chunks("usage", "DONE"), fault.UpstreamProtocol, fault.Sent},
		{"error frame", chunks(`"content":"a"`, `frame:{"error":{"message":"boom","type":"server_error"}}`, "finish:stop", "DONE"), fault.UpstreamError, fault.Partial},
		{"rate limit inside a stream", chunks(`frame:{"error":{"message":"slow","code":"rate_limit_exceeded"}}`), fault.UpstreamRate, fault.Sent},
		{"error as text", chunks(`frame:{"error":"boom"}`), fault.UpstreamError, fault.Sent},
		{"error of vLLM", chunks(`frame:{"object":"error","message":"boom","code":400}`), fault.UpstreamError, fault.Sent},
		{"error inside a choice (OpenRouter)", chunks(`"content":"a"`, `frame:{"choices":[{"index":0,"delta":{},"error":{"code":502,"message":"x"},"finish_reason":"error"}]}`), fault.UpstreamError, fault.Partial},
		{"error as a finish reason", chunks("finish:error", "DONE"), fault.UpstreamError, fault.Sent},
		{"DeepSeek ran out of machines", chunks("finish:insufficient_system_resource", "DONE"), fault.UpstreamOverload, fault.Sent},
		{"not JSON", chunks(`frame:<html>`), fault.UpstreamProtocol, fault.Sent},
		{"truncated JSON", chunks(`"content":"a"`, `frame:{"choices":[{"index":0,"delta":{"content":"b`), fault.UpstreamProtocol, fault.Partial},
		{"a call that never gets a name", chunks(`"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{}"}}]`, "finish:tool_calls", "DONE"), fault.UpstreamProtocol, fault.Sent},
		{"choice out of range", chunks(`frame:{"choices":[{"index":100000,"delta":{"content":"b"}}]}`), fault.UpstreamProtocol, fault.Sent},
	} {
		events := everyByte(t, c.stream)
		last := events[len(events)-1]
		f := fault.As(last.Err)
		if last.Kind != llm.EventError || f.Kind != c.kind || f.Phase != c.phase {
			t.Errorf("%s: %v, phase %d", c.why, last.Err, f.Phase)
			continue
		}
		out, _, err := convtest.EncodeStream(openai.Chat{}, convtest.Answer(llm.OpenAIChat, nil), events)
		if frames := strings.Split(strings.TrimSpace(string(out)), "\n\n"); err != nil || !strings.HasPrefix(frames[len(frames)-1], `data: {"error":{"message":`) || strings.Contains(string(out), "[DONE]") {
			t.Errorf("%s: clients see %s %v", c.why, out, err)
		}
	}
}

// TestChatStreamCuts: a stream with everything in it is the same at every split, and an error at every
// length but the whole.
func TestChatStreamCuts(t *testing.T) {
	t.Parallel()
	all := chunks(`"reasoning":"r","reasoning_details":[{"type":"reasoning.text","text":"é","index":0}]`, `"content":"日本"`, startA, startB, argsA1, argsB, argsA2, "finish:stop", "usage", "DONE")
	convtest.EverySplit(t, openai.ChatBackend{}, all)
	end := bytes.Index(all, []byte(`"finish_reason":"stop"}]}`)) + len(`"finish_reason":"stop"}]}`)
	convtest.Truncated(t, openai.ChatBackend{}, all, end)
}

// TestChatUsageConventions: what totals include differs between compatible servers.
func TestChatUsageConventions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why, usage string
		want       llm.Usage
	}{
		{"OpenAI", `{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":3},"completion_tokens_details":{"reasoning_tokens":5}}`, llm.Usage{Input: 10, Cached: 4, CacheWrite: 3, Output: 20, Reasoning: 5}},
		{"xAI: reasoning beside the completion", `{"prompt_tokens":10,"completion_tokens":20,"total_tokens":80,"completion_tokens_details":{"reasoning_tokens":50}}`, llm.Usage{Input: 10, Output: 70, Reasoning: 50}},
		{"Google: thoughts only in the total", `{"prompt_tokens":10,"completion_tokens":20,"total_tokens":80}`, llm.Usage{Input: 10, Output: 70, Reasoning: 50}},
		{"DeepSeek", `{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,"prompt_cache_hit_tokens":8,"prompt_cache_miss_tokens":2}`, llm.Usage{Input: 10, Cached: 8, Output: 2}},
		{"counts that contradict each other", `{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9}}`, llm.Usage{Input: 1, Cached: 1, Output: 1}},
	} {
		r, err := openai.ChatBackend{}.DecodeResponse(llm.OpGenerate, []byte(`{"choices":[{"message":{"content":"a"}}],"usage":`+c.usage+`}`), dialect.DecodeOptions{})
		if err != nil || r.Usage != c.want || !r.HasUsage {
			t.Errorf("%s: %+v %v", c.why, r, err)
		}
	}
	// Counts that go on with every chunk (vLLM), and one that falls back.
	events := convtest.EverySplit(t, openai.ChatBackend{}, chunks(
		`frame:{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}`,
		`frame:{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`,
		`frame:{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":0}}`, "DONE"))
	if r, err := llm.Collect(events); err != nil || r.Usage != (llm.Usage{Input: 5, Output: 2}) {
		t.Errorf("%+v %v", r, err)
	}
}

// TestChatWritesAsOpenAI: the exact bytes of a stream (protocols.md 1.1), with usage only for clients
// that asked and then in a chunk of its own (router-for-me/CLIProxyAPI #796, BerriAI/litellm #5632).
func TestChatWritesAsOpenAI(t *testing.T) {
	t.Parallel()
	r := &llm.Response{From: llm.AnthropicMessages, ID: "msg_1", HasUsage: true, Usage: llm.Usage{Input: 9, Cached: 4, Output: 5}, Choices: []llm.Choice{{
		Parts: []llm.Part{{Kind: llm.PartText, Text: "é\"\n"}, {Kind: llm.PartCall, ID: "toolu_1", Name: "f", Text: `{"a":1}`}, {Kind: llm.PartCall, ID: "toolu_2", Name: "g"}},
		Stop:  llm.Stop{Reason: llm.StopCalls},
	}}}
	o := convtest.Answer(llm.OpenAIChat, nil)
	const head = `data: {"id":"chatcmpl-msg_1","object":"chat.completion.chunk","created":1795000000,"model":"m","choices":[`
	frame := func(delta, reason, usage string) string {
		return head + `{"index":0,"delta":{` + delta + `},"logprobs":null,"finish_reason":` + reason + `}]` + usage + "}\n\n"
	}
	for _, asked := range []bool{true, false} {
		o.Request = &llm.Request{From: llm.OpenAIChat, Op: llm.OpGenerate, Stream: true, IncludeUsage: asked}
		null, last := "", ""
		if asked {
			null = `,"usage":null`
			last = head + `],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":0}}}` + "\n\n"
		}
		want := frame(`"role":"assistant","content":"","refusal":null`, "null", null) +
			frame(`"content":"é\"\n"`, "null", null) +
			frame(`"tool_calls":[{"index":0,"id":"toolu_1","type":"function","function":{"name":"f","arguments":""}}]`, "null", null) +
			frame(`"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]`, "null", null) +
			frame(`"tool_calls":[{"index":1,"id":"toolu_2","type":"function","function":{"name":"g","arguments":""}}]`, "null", null) +
			frame(`"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]`, "null", null) +
			frame("", `"tool_calls"`, null) + last + "data: [DONE]\n\n"
		got, losses, err := convtest.EncodeStream(openai.Chat{}, o, r.Events(nil))
		if d := cmp.Diff(want, string(got)); d != "" || err != nil || losses != nil {
			t.Errorf("asked %v: %v %v\n%s", asked, err, losses, d)
		}
	}
	body, _, err := openai.Chat{}.EncodeResponse(r, o)
	want := `{"id":"chatcmpl-msg_1","object":"chat.completion","created":1795000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"é\"\n","refusal":null,` +
		`"tool_calls":[{"id":"toolu_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"toolu_2","type":"function","function":{"name":"g","arguments":"{}"}}],"annotations":[]},` +
		`"logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":0}}}`
	if d := cmp.Diff(want, string(body)); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

// TestChatAnswersOldClients: functions are answered with function_call, one at a time.
func TestChatAnswersOldClients(t *testing.T) {
	t.Parallel()
	q := chatRequest(t, `{"model":"m","messages":[{"role":"user","content":"x"}],"functions":[{"name":"f"}]}`)
	r := &llm.Response{From: llm.Gemini, Choices: []llm.Choice{{Stop: llm.Stop{Reason: llm.StopCalls}, Parts: []llm.Part{
		{Kind: llm.PartCall, ID: "1", Name: "f", Text: `{"a":1}`}, {Kind: llm.PartCall, ID: "2", Name: "f", Text: `{"a":2}`},
	}}}}
	body, losses, err := openai.Chat{}.EncodeResponse(r, convtest.Answer(llm.OpenAIChat, q))
	if s := string(body); err != nil || lossLines(losses) != "/candidates/0/content/parts/1 no_equivalent" || strings.Contains(s, "tool_calls") ||
		!strings.Contains(s, `"function_call":{"name":"f","arguments":"{\"a\":1}"}`) || !strings.Contains(s, `"finish_reason":"function_call"`) {
		t.Errorf("%s %v %v", body, losses, err)
	}
	stream, losses, err := convtest.EncodeStream(openai.Chat{}, convtest.Answer(llm.OpenAIChat, q), r.Events(nil))
	if err != nil || len(losses) != 1 || foldChunks(t, stream) != `{"content":null,"function_call":{"arguments":"{\"a\":1}","name":"f"},"refusal":null,"role":"assistant"}` {
		t.Errorf("%s %v %v", foldChunks(t, stream), losses, err)
	}
}

// TestChatRefusalIsBlocked: OpenAI ends a refusal with stop; the neutral reason is blocked, and chat
// clients get OpenAI's form again.
func TestChatRefusalIsBlocked(t *testing.T) {
	t.Parallel()
	in := `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":"no"},"finish_reason":"stop"}]}`
	r, err := openai.ChatBackend{}.DecodeResponse(llm.OpGenerate, []byte(in), dialect.DecodeOptions{})
	if err != nil || answerText(r) != "refusal(no) blocked" {
		t.Fatal(answerText(r), err)
	}
	out, _, err := openai.Chat{}.EncodeResponse(r, convtest.Answer(llm.OpenAIChat, nil))
	if err != nil || !strings.Contains(string(out), `"content":null,"refusal":"no"`) || !strings.Contains(string(out), `"finish_reason":"stop"`) {
		t.Errorf("%s %v", out, err)
	}
	// A filtered answer of another vendor has no refusal text.
	r = &llm.Response{From: llm.Gemini, Choices: []llm.Choice{{Stop: llm.Stop{Reason: llm.StopBlocked}}}}
	if out, _, err = (openai.Chat{}).EncodeResponse(r, convtest.Answer(llm.OpenAIChat, nil)); err != nil || !strings.Contains(string(out), `"finish_reason":"content_filter"`) {
		t.Errorf("%s %v", out, err)
	}
}

// TestChatAnswerLosses: parts that chat has no place for are reported, and an answer that was only a
// broken call is a failure.
func TestChatAnswerLosses(t *testing.T) {
	t.Parallel()
	r := &llm.Response{From: llm.AnthropicMessages, Choices: []llm.Choice{{Stop: llm.Stop{Reason: llm.StopPaused}, Parts: []llm.Part{
		{Kind: llm.PartOpaque, Opaque: &llm.Opaque{Origin: llm.AnthropicMessages, Type: "server_tool_use", JSON: llm.Raw("{}")}},
		{Kind: llm.PartImage, Media: &llm.Media{Type: "image/png", Data: []byte("AAAA")}},
		{Kind: llm.PartText, Text: "日本", Citations: []llm.Citation{{File: "doc"}, {URL: "https://x", Title: "T", Start: llm.Some(int64(0)), End: llm.Some(int64(2))}}},
		{Kind: llm.PartText, Text: "b", Citations: []llm.Citation{{URL: "https://y", Start: llm.Some(int64(0)), End: llm.Some(int64(1))}}},
	}}}}
	const want = "/content/0 foreign_origin\n/content/2/citations/0 no_equivalent\n/stop_reason rewritten"
	body, losses, err := openai.Chat{}.EncodeResponse(r, convtest.Answer(llm.OpenAIChat, nil))
	if err != nil || lossLines(losses) != want {
		t.Errorf("%v\n%s", err, lossLines(losses))
	}
	stream, losses, err := convtest.EncodeStream(openai.Chat{}, convtest.Answer(llm.OpenAIChat, nil), r.Events(nil))
	if err != nil || lossLines(losses) != want {
		t.Errorf("%v\n%s", err, lossLines(losses))
	}
	for _, s := range []string{
		`{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}`,
		`"url_citation":{"start_index":0,"end_index":2,"url":"https://x","title":"T"}`, `"url_citation":{"start_index":2,"end_index":3,"url":"https://y","title":""}`,
	} {
		if !strings.Contains(string(body), s) || !strings.Contains(string(stream), s) {
			t.Errorf("%s is missing in\n%s\n%s", s, body, stream)
		}
	}
	broken := &llm.Response{From: llm.Gemini, Choices: []llm.Choice{{Stop: llm.Stop{Reason: llm.StopBroken}}}}
	if _, _, err := (openai.Chat{}).EncodeResponse(broken, convtest.Answer(llm.OpenAIChat, nil)); err == nil || fault.As(err).Kind != fault.UpstreamProtocol {
		t.Error(err)
	}
	if _, _, err := convtest.EncodeStream(openai.Chat{}, convtest.Answer(llm.OpenAIChat, nil), broken.Events(nil)); err == nil {
		t.Error("a stream of a broken call looks well")
	}
}

// TestChatLogprobs: tokens with their alternatives, streamed and whole.
func TestChatLogprobs(t *testing.T) {
	t.Parallel()
	const lp = `{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"b","logprob":-2,"bytes":null}]}],"refusal":null}`
	in := `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"logprobs":` + lp + `,"finish_reason":"stop"}]}`
	r, err := openai.ChatBackend{}.DecodeResponse(llm.OpGenerate, []byte(in), dialect.DecodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := openai.Chat{}.EncodeResponse(r, convtest.Answer(llm.OpenAIChat, nil))
	if err != nil || !strings.Contains(string(out), `"logprobs":`+lp) {
		t.Errorf("%s %v", out, err)
	}
	convtest.StreamEqualsUnary(t, openai.ChatBackend{}, []byte(in), chunks(`frame:{"id":"x","choices":[{"index":0,"delta":{"content":"a"},"logprobs":`+lp+`}]}`, "finish:stop", "DONE"))
}

// TestChatWholeAnswers: failures inside a 200, and answers of nothing.
func TestChatWholeAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why, body string
		kind      fault.Kind
	}{
		{"error object", `{"error":{"message":"x","type":"server_error"}}`, fault.UpstreamError},
		{"no JSON", `<html>`, fault.UpstreamProtocol},
		{"empty body (QuantumNous/new-api #3275)", ``, fault.UpstreamProtocol},
		{"no choices", `{"id":"x"}`, fault.UpstreamProtocol},
		{"choices of another form", `{"choices":{}}`, fault.UpstreamProtocol},
		{"call without a name", `{"choices":[{"message":{"tool_calls":[{"id":"a","function":{"arguments":"{}"}}]}}]}`, fault.UpstreamProtocol},
	} {
		_, err := openai.ChatBackend{}.DecodeResponse(llm.OpGenerate, []byte(c.body), dialect.DecodeOptions{})
		if err == nil || fault.As(err).Kind != c.kind {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	for _, body := range []string{`{"id":"x","choices":[]}`, `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"stop"}]}`} {
		r, err := openai.ChatBackend{}.DecodeResponse(llm.OpGenerate, []byte(body), dialect.DecodeOptions{})
		if err != nil || !r.Empty() {
			t.Errorf("%s: %v %v", body, r, err)
		}
	}
	r, err := openai.ChatBackend{}.DecodeResponse(llm.OpGenerate, []byte(`{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}},{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}]}`),
		dialect.DecodeOptions{ID: "req"})
	if err != nil || answerText(r) != "made=f({}) made=f({}) calls" || r.Choices[0].Parts[0].ID == r.Choices[0].Parts[1].ID {
		t.Errorf("calls of one function without ids: %v %v", r, err)
	}
}
