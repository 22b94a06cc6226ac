package anthropic_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/anthropic"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// Each test here is a failure that users of other relays have reported.

// stream joins events as the vendor frames them.
func stream(frames ...string) []byte {
	var b []byte
	for _, f := range frames {
		_, rest, _ := strings.Cut(f, `"type":"`)
		name, _, _ := strings.Cut(rest, `"`)
		b = sse.Append(b, name, []byte(f))
	}
	return b
}

const (
	opened = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":1}}}`
	closed = `{"type":"message_stop"}`
)

func blockStart(i int, block string) string {
	return fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":%s}`, i, block)
}

func blockDelta(i int, d string) string {
	return fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":%s}`, i, d)
}
func blockStop(i int) string { return fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, i) }
func stopped(reason string) string {
	return `{"type":"message_delta","delta":{"stop_reason":"` + reason + `","stop_sequence":null},"usage":{"output_tokens":9}}`
}

func fold(t *testing.T, frames ...string) *llm.Response {
	t.Helper()
	events, err := convtest.DecodeStream(anthropic.Backend{}, stream(frames...))
	if err != nil {
		t.Fatal(err)
	}
	r, err := llm.Collect(events)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t *testing.T, events ...llm.Event) string {
	t.Helper()
	if err := convtest.Legal(events); err != nil {
		t.Fatal(err)
	}
	out, _, err := convtest.EncodeStream(anthropic.Frontend{}, again, events)
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, out)
	return string(out)
}

func begin() llm.Event {
	return llm.Event{Kind: llm.EventStart, Start: &llm.Start{From: llm.OpenAIChat, ID: "chatcmpl-1"}}
}

func partStart(i int, p llm.Part) llm.Event {
	return llm.Event{Kind: llm.EventPartStart, Index: i, Part: &p}
}

func grow(i int, s string) llm.Event { return llm.Event{Kind: llm.EventDelta, Index: i, Text: s} }
func partEnd(i int) llm.Event        { return llm.Event{Kind: llm.EventPartEnd, Index: i} }
func stop(r llm.StopReason) llm.Event {
	return llm.Event{Kind: llm.EventStop, Stop: llm.Stop{Reason: r}}
}

// maximhq/bifrost #3638, regression #6123, #4065; BerriAI/litellm #34692: the stream ends with end_turn
// although a tool call was sent after text.
func TestStopReasonFollowsTheContent(t *testing.T) {
	t.Parallel()
	r := fold(t, opened, blockStart(0, `{"type":"text","text":""}`), blockDelta(0, `{"type":"text_delta","text":"I look."}`), blockStop(0),
		blockStart(1, `{"type":"tool_use","id":"t1","name":"f","input":{}}`), blockDelta(1, `{"type":"input_json_delta","partial_json":"{}"}`), blockStop(1),
		stopped("end_turn"), closed)
	if got := r.Choices[0].Stop.Reason; got != llm.StopCalls {
		t.Errorf("stream: %v", got)
	}
	whole, err := anthropic.Backend{}.DecodeResponse(llm.OpGenerate, []byte(`{"content":[{"type":"tool_use","id":"t1","name":"f","input":{}}],"stop_reason":"end_turn"}`), dialect.DecodeOptions{})
	if err != nil || whole.Choices[0].Stop.Reason != llm.StopCalls {
		t.Errorf("unary: %v %v", whole, err)
	}
	out := write(t, begin(), partStart(0, text("")), grow(0, "I look."), partEnd(0), partStart(1, callPart("c", "f", "")), partEnd(1), stop(llm.StopCalls))
	if !strings.Contains(out, `"stop_reason":"tool_use"`) {
		t.Error(out)
	}
}

// BerriAI/litellm #32357: thinking deltas put into a text block, and a second message_start; the SDK
// shows empty content.
func TestThinkingHasItsOwnBlock(t *testing.T) {
	t.Parallel()
	out := write(t, begin(), partStart(0, llm.Part{Kind: llm.PartThinking}), grow(0, "hm"), partEnd(0), partStart(1, text("")), grow(1, "hi"), partEnd(1), stop(llm.StopEnd))
	for _, want := range []string{`"index":0,"content_block":{"type":"thinking"`, `"index":0,"delta":{"type":"thinking_delta","thinking":"hm"}`, `"index":1,"delta":{"type":"text_delta","text":"hi"}`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing in\n%s", want, out)
		}
	}
}

// BerriAI/litellm PR 25852: an empty text block at index 0 before the calls.
func TestNoEmptyTextBlock(t *testing.T) {
	t.Parallel()
	out := write(t, begin(), partStart(0, text("")), partEnd(0), partStart(1, callPart("c", "f", "")), grow(1, `{"a":1}`), partEnd(1), stop(llm.StopCalls))
	if strings.Contains(out, `"type":"text"`) || !strings.Contains(out, `"index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}`) {
		t.Error(out)
	}
	body, _, err := anthropic.Frontend{}.EncodeResponse(&llm.Response{Choices: []llm.Choice{{Parts: []llm.Part{text(""), callPart("c", "f", "")}}}}, again)
	if err != nil || !strings.Contains(string(body), `"content":[{"type":"tool_use","id":"c","name":"f","input":{}}]`) {
		t.Errorf("%s %v", body, err)
	}
}

// praxis-proxy/ai #266: deltas reach the wrong block when upstream interleaves calls; maximhq/bifrost PR
// 3441: overlapping blocks; mcowger/plexus #691: parallel calls collapse to index 0.
func TestInterleavedCallsWaitForEachOther(t *testing.T) {
	t.Parallel()
	out := write(t, begin(), partStart(0, text("")), grow(0, "ok"),
		partStart(1, callPart("c1", "f", "")), partStart(2, callPart("c2", "g", "")),
		grow(2, `{"b":`), grow(1, `{"a":`), grow(2, `2}`), grow(1, `1}`), partEnd(2), partEnd(0), partEnd(1), stop(llm.StopCalls))
	back, err := convtest.DecodeStream(anthropic.Backend{}, []byte(out))
	if err != nil {
		t.Fatal(err)
	}
	r, err := llm.Collect(back)
	if err != nil {
		t.Fatal(err)
	}
	want := []llm.Part{text("ok"), callPart("c1", "f", `{"a":1}`), callPart("c2", "g", `{"b":2}`)}
	if d := cmp.Diff(want, r.Choices[0].Parts); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// BerriAI/litellm #25321 (comment), #25836: arguments that come only at the end, in one chunk, or cut
// inside an escape.
func TestArgumentsInAnyForm(t *testing.T) {
	t.Parallel()
	use := func(input string) string {
		return blockStart(0, `{"type":"tool_use","id":"t1","name":"f","input":`+input+`}`)
	}
	json := func(s string) string {
		return blockDelta(0, `{"type":"input_json_delta","partial_json":`+dialect.Quote(s)+`}`)
	}
	for why, frames := range map[string][]string{
		"whole at the start":         {use(`{"a":"x\ny"}`)},
		"one chunk":                  {use(`{}`), json(`{"a":"x\ny"}`)},
		"cut inside an escape":       {use(`{}`), json(""), json(`{"a":"x\`), json(`ny"}`)},
		"stated twice counts once":   {use(`{"a":"x\ny"}`), json(`{"a":"x\ny"}`)},
		"byte by byte":               append([]string{use(`{}`)}, strings.Split(json("{")+"|"+json(`"a":"x\ny"`)+"|"+json("}"), "|")...),
		"without an input at all":    {blockStart(0, `{"type":"tool_use","id":"t1","name":"f"}`), json(`{"a":"x\ny"}`)},
		"a first delta that is null": {use(`{}`), blockDelta(0, `{"type":"input_json_delta","partial_json":null}`), json(`{"a":"x\ny"}`)},
	} {
		all := append(append([]string{opened}, frames...), blockStop(0), stopped("tool_use"), closed)
		if got := fold(t, all...).Choices[0].Parts; len(got) != 1 || got[0].Text != `{"a":"x\ny"}` {
			t.Errorf("%s: %+v", why, got)
		}
	}
}

// anthropics/anthropic-sdk-python #1598, ding113/claude-code-hub #518: a signature that comes back
// changed is a 400. Here it crosses a client of another protocol, which knows only the carrier's text.
func TestSignatureSurvivesByteForByte(t *testing.T) {
	t.Parallel()
	const signature = "Eq+/AbC==\\\"é"
	r := fold(t, opened, blockStart(0, `{"type":"thinking","thinking":"","signature":""}`), blockDelta(0, `{"type":"thinking_delta","thinking":"hm"}`),
		blockDelta(0, `{"type":"signature_delta","signature":`+dialect.Quote(signature)+`}`), blockStop(0),
		blockStart(1, `{"type":"redacted_thinking","data":"EmwK"}`), blockStop(1),
		blockStart(2, `{"type":"tool_use","id":"t1","name":"get_weather","input":{}}`), blockStop(2), stopped("tool_use"), closed)
	parts := r.Choices[0].Parts
	for i := range parts {
		if parts[i].Seal == nil {
			continue
		}
		use := carrier.Own
		if parts[i].Redacted {
			use = carrier.Redacted
		}
		parts[i].Seal, _ = carrier.SealOf(llm.OpenAIChat, []byte(carrier.Text(llm.OpenAIChat, use, parts[i].Seal)))
	}
	next := chat(func(r *llm.Request) { r.Tools = []llm.Tool{weather} },
		say(llm.RoleUser, text("hi")), llm.Message{Role: llm.RoleAssistant, Parts: parts}, say(llm.RoleTool, resultPart("t1", text("x"))))
	body, enc, err := encode(t, next, dialect.EncodeOptions{})
	if err != nil || len(enc.Losses) > 0 {
		t.Fatal(enc.Losses, err)
	}
	want := `{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":` + dialect.Quote(signature) + `},{"type":"redacted_thinking","data":"EmwK"},{"type":"tool_use","id":"t1"`
	if !bytes.Contains(body["messages"], []byte(want)) {
		t.Errorf("%s\nis not in\n%s", want, body["messages"])
	}
}

// lbjlaq/Antigravity-Manager #3202, diegosouzapw/OmniRoute #2504, BerriAI/litellm #16893: a Gemini call's
// thought signature is lost on its way through a Messages client, and the second turn is a 400.
func TestForeignSealsCrossAMessagesClient(t *testing.T) {
	t.Parallel()
	seal := func(s string) *llm.Seal { return &llm.Seal{Origin: llm.Gemini, Scope: "acct", Data: []byte(s)} }
	withSeal := func(p llm.Part, s string) llm.Part { p.Seal = seal(s); return p }
	parts := []llm.Part{
		{Kind: llm.PartThinking, Text: "hm", Seal: seal("c2lnMA==")},
		withSeal(text("I look."), "c2lnMQ=="),
		withSeal(callPart("c1", "get_weather", `{"city":"A"}`), "c2lnMg=="),
		callPart("c2", "get_weather", `{"city":"B"}`),
		{Kind: llm.PartOpaque, Opaque: &llm.Opaque{Origin: llm.Gemini, Scope: "acct", Type: "executableCode", JSON: llm.Raw(`{"code":"1"}`)}},
		{Kind: llm.PartThinking, Redacted: true, Seal: seal("c2lnMw==")},
	}
	answer := &llm.Response{From: llm.Gemini, Choices: []llm.Choice{{Parts: parts, Stop: llm.Stop{Reason: llm.StopCalls}}}}
	body, losses, err := anthropic.Frontend{}.EncodeResponse(answer, again)
	if err != nil || len(losses) > 0 {
		t.Fatal(losses, err)
	}
	streamed, _, err := convtest.EncodeStream(anthropic.Frontend{}, again, answer.Events(nil))
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, streamed)
	back, err := convtest.DecodeStream(anthropic.Backend{}, streamed)
	if err != nil {
		t.Fatal(err)
	}
	folded, err := llm.Collect(back)
	if err != nil {
		t.Fatal(err)
	}
	again2, _, err := anthropic.Frontend{}.EncodeResponse(folded, again)
	if err != nil {
		t.Fatal(err)
	}
	for how, wire := range map[string][]byte{"unary": body, "stream": again2} {
		_, content, _ := bytes.Cut(wire, []byte(`"content":`))
		content, _, _ = bytes.Cut(content, []byte(`,"stop_reason"`))
		request := `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":` + string(content) +
			`},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"x"},{"type":"tool_result","tool_use_id":"c2","content":"y"}]}]}`
		r, err := convtest.DecodeRequest(codec, llm.OpGenerate, []byte(request))
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if d := convtest.DiffAnswers(answer, &llm.Response{Choices: []llm.Choice{{Parts: r.Messages[1].Parts, Stop: answer.Choices[0].Stop}}}); d != "" {
			t.Errorf("%s (-sent +returned):\n%s", how, d)
		}
		// The vendor of this protocol gets none of it.
		enc, err := anthropic.Backend{}.EncodeRequest(r, upstream)
		if err != nil || strings.Contains(string(enc.Body.Bytes()), "Y3djYX") || strings.Contains(string(enc.Body.Bytes()), "thinking") || len(enc.Losses) == 0 {
			t.Errorf("%s: %v %v\n%s", how, enc.Losses, err, enc.Body.Bytes())
		}
	}
}

// A carrier that a client has damaged is dropped and reported, not sent as a signature.
func TestDamagedCarrierIsDropped(t *testing.T) {
	t.Parallel()
	whole := carrier.Encode(carrier.Own, &llm.Seal{Origin: llm.Gemini, Data: []byte("abc")})
	for _, block := range []string{
		`{"type":"thinking","thinking":"hm","signature":"` + whole[:len(whole)-4] + `"}`,
		`{"type":"redacted_thinking","data":"` + whole[:len(whole)-4] + `"}`,
	} {
		r, err := convtest.DecodeRequest(codec, llm.OpGenerate, []byte(`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[`+block+`,{"type":"text","text":"x"}]},{"role":"user","content":"y"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		enc, err := anthropic.Backend{}.EncodeRequest(r, upstream)
		if err != nil || strings.Contains(string(enc.Body.Bytes()), "thinking") || len(enc.Losses) != 1 {
			t.Errorf("%v %v %s", enc.Losses, err, enc.Body.Bytes())
		}
	}
}

// router-for-me/CLIProxyAPI #4656, zavora-ai/adk-rust PR 279: parallel results split over several user
// messages; StringKe/claudex PR 9: text beside a result dropped; CaddyGlow/ccproxy-api PR 50: only the
// last user message converted.
func TestResultsStandTogetherAndFirst(t *testing.T) {
	t.Parallel()
	r := chat(func(r *llm.Request) { r.Tools = []llm.Tool{weather} },
		say(llm.RoleUser, text("first")),
		say(llm.RoleAssistant, callPart("c1", "get_weather", "{}")), say(llm.RoleAssistant, callPart("c2", "get_weather", `{"city":"B"}`)),
		say(llm.RoleUser, text("hurry")),
		say(llm.RoleTool, resultPart("c2", text("two"))), say(llm.RoleSystem, text("be kind")), say(llm.RoleTool, llm.Part{Kind: llm.PartResult, ID: "c1", IsError: true, Content: []llm.Part{text("one")}}),
		say(llm.RoleUser, text("last")))
	const want = `[{"role":"user","content":[{"type":"text","text":"first"}]},` +
		`{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"get_weather","input":{}},{"type":"tool_use","id":"c2","name":"get_weather","input":{"city":"B"}}]},` +
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"c2","content":"two"},{"type":"tool_result","tool_use_id":"c1","content":"one","is_error":true},{"type":"text","text":"hurry"},{"type":"text","text":"last"}]}]`
	body, _, err := encode(t, r, dialect.EncodeOptions{})
	if err != nil || string(body["messages"]) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, body["messages"], want)
	}
	// The other way: results are messages of their own, before the text of their turn.
	back, err := convtest.DecodeRequest(codec, llm.OpGenerate, []byte(`{"model":"m","max_tokens":9,"messages":`+want+`}`))
	if err != nil {
		t.Fatal(err)
	}
	var roles []llm.Role
	for _, m := range back.Messages {
		roles = append(roles, m.Role)
	}
	if d := cmp.Diff([]llm.Role{llm.RoleUser, llm.RoleAssistant, llm.RoleTool, llm.RoleUser}, roles); d != "" || len(back.Messages[3].Parts) != 2 {
		t.Error(d, back.Messages[3].Parts)
	}
}

// vercel/ai #5576, anthropics/claude-code #62396: an empty text block in the history is a 400.
func TestEmptyTextInHistoryIsLeftOut(t *testing.T) {
	t.Parallel()
	r := chat(nil, say(llm.RoleUser, text("hi")), say(llm.RoleAssistant, text(""), text(" \n")), say(llm.RoleUser, text(""), text("go on")))
	body, _, err := encode(t, r, dialect.EncodeOptions{})
	if want := `[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"text","text":"go on"}]}]`; err != nil || string(body["messages"]) != want {
		t.Errorf("%v %s", err, body["messages"])
	}
}

// envoyproxy/ai-gateway #2528, maximhq/bifrost #5629, agentgateway #2628: cache_control dropped silently.
func TestCacheMarksAreCarriedOrReported(t *testing.T) {
	t.Parallel()
	marked := func(s string, c llm.CacheTTL) llm.Part { return llm.Part{Kind: llm.PartText, Text: s, Cache: c} }
	r := request(llm.AnthropicMessages, func(r *llm.Request) {
		r.Tools = []llm.Tool{{Name: "f", Schema: llm.Raw(`{"type":"object"}`), Cache: llm.CacheDefault}}
	}, say(llm.RoleSystem, marked("s", llm.Cache1h)), say(llm.RoleUser, marked("a", llm.Cache5m)), say(llm.RoleAssistant, text("b")), say(llm.RoleUser, marked("c", llm.CacheDefault)))
	body, enc, err := encode(t, r, dialect.EncodeOptions{})
	if err != nil || len(enc.Losses) > 0 || bytes.Count(enc.Body.Bytes(), []byte(`"cache_control":{"type":"ephemeral"`)) != 4 {
		t.Fatalf("%v %v %s", err, enc.Losses, enc.Body.Bytes())
	}
	if got := string(body["system"]); got != `[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}]` {
		t.Error(got)
	}
	r.Messages[2].Parts[0].Cache = llm.CacheDefault // a fifth is a 400: the first goes
	body, enc, err = encode(t, r, dialect.EncodeOptions{})
	if d := cmp.Diff([]string{"/messages/0/content/0/cache_control out_of_range"}, losses(enc.Losses)); err != nil || d != "" || bytes.Contains(body["system"], []byte("cache_control")) {
		t.Errorf("%v %s %s", err, d, body["system"])
	}
}

// maximhq/bifrost #3451, langwatch #7018, QuantumNous/new-api PR 2744: cached tokens counted twice or
// lost, because input_tokens excludes them here and includes them elsewhere.
func TestUsageExcludesTheCache(t *testing.T) {
	t.Parallel()
	r := fold(t, opened, blockStart(0, `{"type":"text","text":"x"}`), blockStop(0), stopped("end_turn"), closed)
	if want := (llm.Usage{Input: 15, Cached: 5, Output: 9}); r.Usage != want {
		t.Errorf("%+v", r.Usage)
	}
	whole := &llm.Response{
		From: llm.OpenAIChat, HasUsage: true, Usage: llm.Usage{Input: 100, Cached: 60, CacheWrite: 30, Output: 20, Reasoning: 7},
		Choices: []llm.Choice{{Parts: []llm.Part{text("x")}, Stop: llm.Stop{Reason: llm.StopEnd}}},
	}
	body, _, err := anthropic.Frontend{}.EncodeResponse(whole, again)
	const want = `"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":60,"cache_creation":{"ephemeral_5m_input_tokens":30,"ephemeral_1h_input_tokens":0},"output_tokens":20,"output_tokens_details":{"thinking_tokens":7}}`
	if err != nil || !strings.Contains(string(body), want) {
		t.Errorf("%s %v", body, err)
	}
	// BerriAI/litellm #5632: no usage in streams. It comes with the last event wherever upstream has it.
	out := write(t, begin(), partStart(0, text("")), grow(0, "x"), partEnd(0), stop(llm.StopEnd), llm.Event{Kind: llm.EventUsage, Usage: whole.Usage})
	if !strings.Contains(out, `"stop_sequence":null},`+want) {
		t.Error(out)
	}
}

// @ai-sdk/anthropic 3.0.139 refuses a text block whose citations are null: absent optionals are left out.
func TestAbsentOptionalsAreLeftOut(t *testing.T) {
	t.Parallel()
	out := write(t, begin(), partStart(0, text("")), grow(0, "x"), partEnd(0), stop(llm.StopEnd))
	body, _, err := anthropic.Frontend{}.EncodeResponse(&llm.Response{From: llm.Gemini, Choices: []llm.Choice{{Parts: []llm.Part{text("x")}}}}, again)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{out, string(body)} {
		s = strings.ReplaceAll(strings.ReplaceAll(s, `"stop_sequence":null`, ""), `"stop_reason":null`, "") // as on the vendor's wire
		if strings.Contains(s, "null") {
			t.Error(s)
		}
	}
}

// Fixtures of vercel/ai (tool search): a real stream has a second message_start after the vendor's
// tools have run, and numbers blocks anew.
func TestSecondMessageStart(t *testing.T) {
	t.Parallel()
	r := fold(t, opened, blockStart(0, `{"type":"server_tool_use","id":"s1","name":"tool_search","input":{}}`),
		blockDelta(0, `{"type":"input_json_delta","partial_json":"{\"q\":"}`), blockDelta(0, `{"type":"input_json_delta","partial_json":"1}"}`), blockStop(0),
		opened, blockStart(0, `{"type":"text","text":""}`), blockDelta(0, `{"type":"text_delta","text":"x"}`), blockStop(0), stopped("end_turn"), closed)
	want := []llm.Part{{Kind: llm.PartOpaque, Opaque: &llm.Opaque{
		Origin: llm.AnthropicMessages, Type: "server_tool_use", JSON: llm.Raw(`{"type":"server_tool_use","id":"s1","name":"tool_search","input":{"q":1}}`),
	}}, text("x")}
	if d := cmp.Diff(want, r.Choices[0].Parts); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// QuantumNous/new-api #3275: 200 with an empty body counts as success.
func TestEmptyAnswerIsSeen(t *testing.T) {
	t.Parallel()
	if r := fold(t, opened, stopped("end_turn"), closed); !r.Empty() {
		t.Error("not empty")
	}
	for _, body := range []string{``, `{}`, `null`, `[]`, `<html>`, `{"content":null}`, `{"content":[7]}`, `{"content":[{}]}`} {
		if _, err := (anthropic.Backend{}).DecodeResponse(llm.OpGenerate, []byte(body), dialect.DecodeOptions{}); fault.As(err) == nil || fault.As(err).Kind != fault.UpstreamProtocol {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// apache/shenyu #6647, maximhq/bifrost #5395: a failure after content is the protocol's own error
// event, and nothing follows it.
func TestFailureInTheMiddle(t *testing.T) {
	t.Parallel()
	broken := fault.New(fault.UpstreamPartial, "gone").At(fault.Partial)
	out := write(t, begin(), partStart(0, text("")), grow(0, "x"), llm.Event{Kind: llm.EventError, Err: broken})
	if !strings.Contains(out, "event: error\ndata: {\"type\":\"error\"") || strings.Contains(out, "message_stop") {
		t.Error(out)
	}
	for why, frames := range map[string][]string{
		"cut off":                  {opened, blockStart(0, `{"type":"text","text":""}`), blockDelta(0, `{"type":"text_delta","text":"x"}`)},
		"no message_start":         {blockStart(0, `{"type":"text","text":""}`), closed},
		"a delta of no block":      {opened, blockDelta(3, `{"type":"text_delta","text":"x"}`), closed},
		"a delta of another kind":  {opened, blockStart(0, `{"type":"text","text":""}`), blockDelta(0, `{"type":"thinking_delta","thinking":"x"}`), closed},
		"a block opened twice":     {opened, blockStart(0, `{"type":"text","text":""}`), blockStart(0, `{"type":"text","text":""}`), closed},
		"a call without a name":    {opened, blockStart(0, `{"type":"tool_use","id":"t","input":{}}`), closed},
		"an error event":           {opened, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, closed},
		"an event that is no JSON": {opened, `{"type":"message_delta"`, closed},
	} {
		events, err := convtest.DecodeStream(anthropic.Backend{}, stream(frames...))
		if err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		if last := events[len(events)-1]; last.Kind != llm.EventError {
			t.Errorf("%s: ends with %v", why, last.Kind)
		}
	}
}

// A history without a tool loop's thinking excludes thinking with a fixed budget: the vendor wants the
// turn to begin with it ("Expected `thinking` or `redacted_thinking`, but found `tool_use`").
func TestThinkingOffInAForeignToolLoop(t *testing.T) {
	t.Parallel()
	ms := []llm.Message{say(llm.RoleUser, text("x")), say(llm.RoleAssistant, callPart("c", "get_weather", "{}")), say(llm.RoleTool, resultPart("c", text("y")))}
	f := func(r *llm.Request) {
		r.Tools, r.Reasoning.Effort, r.MaxOutput = []llm.Tool{weather}, llm.EffortLow, llm.Some(int64(4000))
	}
	o := dialect.EncodeOptions{Quirks: dialect.Quirks{NoEffort: true}}
	body, enc, err := encode(t, chat(f, ms...), o)
	if err != nil || string(body["thinking"]) != `{"type":"disabled"}` || len(enc.Losses) != 1 {
		t.Errorf("%v %s %v", err, body["thinking"], enc.Losses)
	}
	body, enc, err = encode(t, chat(f, append(ms, say(llm.RoleAssistant, text("z")), say(llm.RoleUser, text("more")))...), o)
	if err != nil || string(body["thinking"]) != `{"type":"enabled","budget_tokens":1024}` || len(enc.Losses) > 0 {
		t.Errorf("the loop is over: %v %s %v", err, body["thinking"], enc.Losses)
	}
}

// Clients that drop the tools after a tool loop: the vendor wants them defined. agno-agi/agno #5382 and
// others: ids longer than 40 characters. Some clients use an id again.
func TestHistoryOfCalls(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 70)
	r := chat(nil, say(llm.RoleUser, text("x")),
		say(llm.RoleAssistant, callPart(long, "f", `[1]`)), say(llm.RoleTool, resultPart(long, text("1"))),
		say(llm.RoleAssistant, callPart("call_0", "g", ``)), say(llm.RoleTool, resultPart("call_0", text("2"))),
		say(llm.RoleAssistant, callPart("call_0", "g", `{}`)), say(llm.RoleTool, resultPart("call_0", text("3"))))
	body, enc, err := encode(t, r, dialect.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(body["tools"]); got != `[{"name":"f","input_schema":{"type":"object"}},{"name":"g","input_schema":{"type":"object"}}]` || string(body["tool_choice"]) != `{"type":"none"}` {
		t.Error(got, string(body["tool_choice"]))
	}
	ms := string(body["messages"])
	if strings.Contains(ms, long) || strings.Count(ms, `"call_0"`) != 2 || !strings.Contains(ms, `"input":{"INVALID_JSON":"[1]"}`) {
		t.Error(ms)
	}
	if d := cmp.Diff([]string{"/messages/1/content/0/arguments rewritten"}, losses(enc.Losses)); d != "" {
		t.Error(d)
	}
}

// Structured output through the forced tool comes back as text, streamed and whole.
func TestStructuredOutputIsUnwrapped(t *testing.T) {
	t.Parallel()
	const use = `{"type":"tool_use","id":"t1","name":"causeway_structured_output","input":`
	r := fold(t, opened, blockStart(0, use+`{}}`), blockDelta(0, `{"type":"input_json_delta","partial_json":"{\"a\""}`), blockDelta(0, `{"type":"input_json_delta","partial_json":":1}"}`), blockStop(0), stopped("tool_use"), closed)
	whole, err := anthropic.Backend{}.DecodeResponse(llm.OpGenerate, []byte(`{"content":[`+use+`{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":9}}`), dialect.DecodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := convtest.DiffAnswers(whole, r); d != "" {
		t.Error(d)
	}
	if c := r.Choices[0]; len(c.Parts) != 1 || c.Parts[0].Kind != llm.PartText || c.Parts[0].Text != `{"a":1}` || c.Stop.Reason != llm.StopEnd {
		t.Errorf("%+v", c)
	}
}

// A provider that tells its input at the end only: until then the estimate stands in message_start, where
// LangChain.js reads the input and nowhere else, and message_delta says what the provider said.
func TestInputIsEstimatedUntilItIsKnown(t *testing.T) {
	answer := &llm.Response{
		Choices:  []llm.Choice{{Parts: []llm.Part{{Kind: llm.PartText, Text: "hello"}}, Stop: llm.Stop{Reason: llm.StopEnd}}},
		HasUsage: true, Usage: llm.Usage{Input: 7, Output: 2},
	}
	for _, c := range []struct {
		from       llm.Dialect
		told       int64
		start, end string
	}{
		{llm.OpenAIChat, 0, `"usage":{"input_tokens":40,`, `"usage":{"input_tokens":7,`},
		{llm.Gemini, 7, `"usage":{"input_tokens":7,`, `"usage":{"input_tokens":7,`},
		{llm.AnthropicMessages, 0, `"usage":{"input_tokens":0,`, `"usage":{"input_tokens":7,`},
	} {
		answer.From = c.from
		enc := anthropic.Frontend{}.NewEventEncoder(dialect.AnswerOptions{Request: &llm.Request{}, ID: "req", Model: "m", InputEstimate: 40})
		var out []byte
		for _, e := range answer.Events(nil) {
			if e.Kind == llm.EventStart {
				e.Usage = llm.Usage{Input: c.told}
			}
			var err error
			if out, err = enc.Append(out, &e); err != nil {
				t.Fatal(err)
			}
		}
		out, err := enc.Close(out)
		if err != nil {
			t.Fatal(err)
		}
		begin, rest, _ := bytes.Cut(out, []byte("\n\n"))
		_, end, _ := bytes.Cut(rest, []byte("event: message_delta"))
		if !bytes.Contains(begin, []byte(c.start)) || !bytes.Contains(end, []byte(c.end)) {
			t.Errorf("%s:\n%s\n%s", c.from, begin, end)
		}
	}
}
