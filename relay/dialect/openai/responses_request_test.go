package openai_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func decodeResponses(t *testing.T, body string) *llm.Request {
	t.Helper()
	r, err := convtest.DecodeRequest(responsesCodec, llm.OpGenerate, []byte(body))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return r
}

// encodeResponses gives what a provider receives, compact, and the losses as text.
func encodeResponses(t *testing.T, r *llm.Request, o dialect.EncodeOptions) (body, losses string) {
	t.Helper()
	if o.Model == "" {
		o.Model = "m"
	}
	enc, err := openai.ResponsesBackend{}.EncodeRequest(r, o)
	if err != nil {
		t.Fatalf("%v %v", err, fault.As(err).Fields)
	}
	if !json.Valid(enc.Body.Bytes()) {
		t.Fatalf("not JSON: %s", enc.Body.Bytes())
	}
	for _, l := range enc.Losses {
		losses += l.Path + " " + l.Reason + "\n"
	}
	return string(enc.Body.Bytes()), losses
}

func words(parts ...llm.Part) []llm.Part { return parts }

func plainText(s string) llm.Part { return llm.Part{Kind: llm.PartText, Text: s, At: "/t"} }

// StringKe/claudex PR 9: "text beside tool_result silently dropped when going to R". CaddyGlow/
// ccproxy-api PR 50: "only the last user message converted, the tool loop repeats for ever".
func TestResponsesWholeConversationArrives(t *testing.T) {
	t.Parallel()
	r := &llm.Request{From: llm.AnthropicMessages, Op: llm.OpGenerate, MaxOutput: llm.Some(int64(100)), Messages: []llm.Message{
		{Role: llm.RoleSystem, Parts: words(plainText("sys"))},
		{Role: llm.RoleUser, Parts: words(plainText("one"))},
		{Role: llm.RoleAssistant, Parts: words(plainText("let me"), llm.Part{Kind: llm.PartCall, ID: "toolu_1", Name: "f", Text: `{"a":1}`}, llm.Part{Kind: llm.PartCall, ID: "toolu_2", Name: "g"})},
		{Role: llm.RoleTool, Parts: words(
			llm.Part{Kind: llm.PartResult, ID: "toolu_1", Name: "f", Content: words(plainText("r1"))},
			llm.Part{Kind: llm.PartResult, ID: "toolu_2", Name: "g", IsError: true, At: "/messages/2/content/1", Content: words(plainText("boom"))})},
		{Role: llm.RoleUser, Parts: words(plainText("beside"))},
	}}
	body, losses := encodeResponses(t, r, dialect.EncodeOptions{})
	want := `{"model":"m","instructions":"sys","input":[{"type":"message","role":"user","content":"one"},` +
		`{"type":"message","role":"assistant","content":[{"type":"output_text","text":"let me"}]},` +
		`{"type":"function_call","call_id":"toolu_1","name":"f","arguments":"{\"a\":1}"},{"type":"function_call","call_id":"toolu_2","name":"g","arguments":"{}"},` +
		`{"type":"function_call_output","call_id":"toolu_1","output":"r1"},{"type":"function_call_output","call_id":"toolu_2","output":"Error: boom"},` +
		`{"type":"message","role":"user","content":"beside"}],"max_output_tokens":100,"store":false}`
	if d := cmp.Diff(want, body); d != "" {
		t.Error(d)
	}
	if losses != "/messages/2/content/1/is_error rewritten\n" {
		t.Errorf("losses %q", losses)
	}
}

// vercel/ai #5576, anthropics/claude-code #62396: empty text in the history is a 400 elsewhere, so it
// is never part of what other encoders see.
func TestResponsesEmptyTextInHistory(t *testing.T) {
	t.Parallel()
	r := decodeResponses(t, `{"model":"m","input":[{"role":"user","content":"x"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":""}]},{"role":"assistant","content":""},{"type":"function_call","call_id":"c","name":"f","arguments":""},{"type":"function_call_output","call_id":"c","output":""},{"role":"user","content":[{"type":"input_text","text":""},{"type":"input_text","text":"y"}]}]}`)
	r.Parts(func(p *llm.Part) {
		if p.Kind == llm.PartText && p.Text == "" {
			t.Errorf("an empty text at %s", p.At)
		}
	})
	if len(r.Messages) != 4 || len(r.Messages[1].Parts) != 1 {
		t.Errorf("%s", convtest.Dump(r))
	}
}

func TestResponsesEncodes(t *testing.T) {
	t.Parallel()
	user := []llm.Message{{Role: llm.RoleUser, Parts: words(plainText("hi"))}}
	schema := llm.Raw(`{"type":"object"}`)
	tests := []struct {
		why    string
		r      llm.Request
		o      dialect.EncodeOptions
		want   string // in the body
		absent string
		losses string
	}{
		{why: "strict is refused explicitly: left out, the vendor tries it", r: llm.Request{Tools: []llm.Tool{{Name: "f", Schema: schema}, {Name: "g"}}}, want: `"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":false},{"type":"function","name":"g","parameters":{"type":"object","properties":{}},"strict":false}]`},
		{why: "chat's grammar is one level deeper", r: llm.Request{Tools: []llm.Tool{{Kind: llm.ToolCustom, Name: "c", Grammar: llm.Raw(`{"type":"grammar","grammar":{"syntax":"lark","definition":"x"}}`)}}}, want: `{"type":"custom","name":"c","format":{"type":"grammar","syntax":"lark","definition":"x"}}`},
		{why: "nothing is stored for clients that cannot ask for it again", want: `"store":false`},
		{why: "fewer than 16 tokens are refused", r: llm.Request{MaxOutput: llm.Some(int64(5))}, want: `"max_output_tokens":16`, losses: "/max_tokens out_of_range\n"},
		{why: "thinking that was switched on is shown and comes back sealed", r: llm.Request{Reasoning: llm.Reasoning{Mode: llm.ReasoningOn, Budget: llm.Some(int64(8000))}}, want: `"reasoning":{"effort":"medium","summary":"auto"},"store":false,"include":["reasoning.encrypted_content"]`, losses: "/thinking/budget_tokens rewritten\n"},
		{why: "no thinking", r: llm.Request{Reasoning: llm.Reasoning{Mode: llm.ReasoningOff}}, want: `"reasoning":{"effort":"none"}`, absent: "include"},
		{why: "a model without reasoning", r: llm.Request{Reasoning: llm.Reasoning{Effort: llm.EffortHigh}}, o: dialect.EncodeOptions{Quirks: dialect.Quirks{NoReasoning: true}}, absent: "reasoning", losses: "/output_config/effort model_refuses\n"},
		{why: "a model without sampling", r: llm.Request{Sampling: llm.Sampling{Temperature: llm.Some(0.5), TopP: llm.Some(0.9)}}, o: dialect.EncodeOptions{Quirks: dialect.Quirks{NoSampling: true}}, absent: "temperature", losses: "/temperature model_refuses\n/top_p model_refuses\n"},
		{why: "top_k", r: llm.Request{Sampling: llm.Sampling{TopK: llm.Some(int64(5))}}, absent: "top_k", losses: "/top_k no_equivalent\n"},
		{why: "schema output", r: llm.Request{Format: llm.Format{Kind: llm.FormatSchema, Schema: schema}}, want: `"text":{"format":{"type":"json_schema","name":"response","schema":{"type":"object"}}}`},
		{why: "JSON mode needs the word in the input", r: llm.Request{Format: llm.Format{Kind: llm.FormatJSON}}, want: `"input":[{"type":"message","role":"developer","content":"Answer with a JSON object."}`, losses: "/output_config/format rewritten\n"},
		{why: "JSON mode: the system text stays in the input, where the word counts", r: llm.Request{Format: llm.Format{Kind: llm.FormatJSON}, Messages: []llm.Message{{Role: llm.RoleSystem, Parts: words(plainText("as JSON"))}, user[0]}}, want: `"input":[{"type":"message","role":"system","content":"as JSON"}`, absent: "instructions"},
		{why: "Claude Code's user id has 150 characters, the vendor takes 64", r: llm.Request{User: strings.Repeat("u", 150)}, want: `"safety_identifier":"816752062318c8f2`, losses: "/metadata/user_id rewritten\n"},
		{why: "a later system text stays in its place", r: llm.Request{Messages: []llm.Message{user[0], {Role: llm.RoleDeveloper, Parts: words(plainText("dev"))}}}, o: dialect.EncodeOptions{Quirks: dialect.Quirks{NoDeveloperRole: true}}, want: `,{"type":"message","role":"system","content":"dev"}`},
		{why: "envoyproxy/ai-gateway #2528: cache_control dropped silently", r: llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: words(llm.Part{Text: "x", At: "/messages/0/content/0", Cache: llm.Cache5m})}}}, absent: "cache", losses: "/messages/0/content/0/cache_control no_equivalent\n"},
		{
			why: "media", r: llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: words(
				llm.Part{Kind: llm.PartImage, Media: &llm.Media{Type: "image/jpeg", Data: []byte("AAAA"), Detail: "low"}},
				llm.Part{Kind: llm.PartDocument, Media: &llm.Media{Type: "application/pdf", URL: "https://e.com/a.pdf"}},
				llm.Part{Kind: llm.PartDocument, Media: &llm.Media{Text: "abc", Name: "a.txt"}},
				llm.Part{Kind: llm.PartAudio, Media: &llm.Media{Type: "audio/mpeg", Data: []byte("BBBB")}})}}},
			want: `[{"type":"input_image","image_url":"data:image/jpeg;base64,AAAA","detail":"low"},{"type":"input_file","file_url":"https://e.com/a.pdf"},{"type":"input_file","file_data":"data:text/plain;base64,YWJj","filename":"a.txt"},{"type":"input_audio","input_audio":{"data":"BBBB","format":"mp3"}}]`,
		},
		{why: "an image in a result", r: llm.Request{Messages: []llm.Message{{Role: llm.RoleTool, Parts: words(llm.Part{Kind: llm.PartResult, ID: "c", Content: words(plainText("see"), llm.Part{Kind: llm.PartImage, Media: &llm.Media{URL: "https://e.com/a.png"}})})}}}, want: `"output":[{"type":"input_text","text":"see"},{"type":"input_image","image_url":"https://e.com/a.png"}]`},
		{why: "tools that may be called", r: llm.Request{Tools: []llm.Tool{{Name: "f"}}, Choice: llm.ToolChoice{Mode: llm.ChoiceAllowed, Allowed: []string{"f"}, Must: true}, Parallel: llm.Some(false)}, want: `"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"}]},"parallel_tool_calls":false`},
		{why: "thinking of another vendor", r: llm.Request{Messages: []llm.Message{{Role: llm.RoleAssistant, Parts: words(llm.Part{Kind: llm.PartThinking, Text: "secret", At: "/messages/1/content/0", Seal: &llm.Seal{Origin: llm.AnthropicMessages, Data: []byte("s")}})}}}, absent: "secret", losses: "/messages/1/content/0 foreign_origin\n"},
		{why: "log probabilities", r: llm.Request{Sampling: llm.Sampling{Logprobs: true, TopLogprobs: llm.Some(int64(2))}}, want: `"top_logprobs":2,"store":false,"include":["message.output_text.logprobs"]`},
	}
	for _, tt := range tests {
		tt.r.From, tt.r.Op = llm.AnthropicMessages, llm.OpGenerate
		if tt.r.Messages == nil {
			tt.r.Messages = user
		}
		body, losses := encodeResponses(t, &tt.r, tt.o)
		if !strings.Contains(body, tt.want) || tt.absent != "" && strings.Contains(body, tt.absent) || losses != tt.losses {
			t.Errorf("%s: losses %q\n%s", tt.why, losses, body)
		}
	}
}

// protocols.md 2.8: refused with the place, not dropped.
func TestResponsesRefusesWhatItCannotAsk(t *testing.T) {
	t.Parallel()
	user := func(p llm.Part) []llm.Message {
		p.At = "/messages/0/content/0"
		return []llm.Message{{Role: llm.RoleUser, Parts: words(p)}}
	}
	tests := []struct {
		why, param string
		r          llm.Request
	}{
		{"several answers", "n", llm.Request{N: 2}},
		{"logit_bias", "logit_bias", llm.Request{Sampling: llm.Sampling{LogitBias: llm.Raw(`{"1":2}`)}}},
		{"another vendor's tool", "tools/0", llm.Request{Tools: []llm.Tool{{Kind: llm.ToolHosted, At: "/tools/0", Opaque: &llm.Opaque{Origin: llm.Gemini}}}}},
		{"video", "messages/0/content/0", llm.Request{Messages: user(llm.Part{Kind: llm.PartVideo, Media: &llm.Media{Type: "video/mp4", Data: []byte("AAAA")}})}},
		{"audio that is neither wav nor mp3", "messages/0/content/0", llm.Request{Messages: user(llm.Part{Kind: llm.PartAudio, Media: &llm.Media{Type: "audio/flac", Data: []byte("AAAA")}})}},
	}
	for _, tt := range tests {
		tt.r.From, tt.r.Op = llm.OpenAIChat, llm.OpGenerate
		_, err := openai.ResponsesBackend{}.EncodeRequest(&tt.r, providerOptions)
		if f := fault.As(err); f == nil || f.Kind != fault.Unsupported || f.Param != tt.param {
			t.Errorf("%s: %+v", tt.why, f)
		}
	}
	r := &llm.Request{From: llm.AnthropicMessages, Op: llm.OpGenerate, Messages: user(llm.Part{Kind: llm.PartImage, Media: &llm.Media{FileID: "file_1"}})}
	if _, err := (openai.ResponsesBackend{}).EncodeRequest(r, providerOptions); err == nil {
		t.Error("another vendor's file id is sent")
	}
}

// What needs the vendor's store is refused for any other provider: the client asked for a conversation
// that is not in the request. peers.md 4, row 27: "previous_response_id sent to the wrong account"
// (higress-group/higress #3841, #4688).
func TestResponsesStateIsRefusedElsewhere(t *testing.T) {
	t.Parallel()
	for _, member := range []string{`"previous_response_id":"resp_1"`, `"conversation":"conv_1"`, `"background":true`, `"prompt":{"id":"pmpt_1"}`, `"max_tool_calls":3`, `"context_management":[{"type":"compaction"}]`} {
		r := decodeResponses(t, `{"model":"m","input":"x",`+member+`}`)
		name, _, _ := strings.Cut(strings.TrimPrefix(member, `"`), `"`)
		l := dialect.Losses{From: llm.OpenAIResponses, To: llm.Gemini}
		l.Extra(r.Extra, "")
		if f := fault.As(l.Err()); f == nil || f.Param != name {
			t.Errorf("%s: %v", member, f)
		}
		if body, _ := encodeResponses(t, r, dialect.EncodeOptions{}); !strings.Contains(body, member) {
			t.Errorf("%s does not reach its own vendor: %s", member, body)
		}
	}
	_, err := convtest.DecodeRequest(responsesCodec, llm.OpGenerate, []byte(`{"model":"m","input":[{"type":"item_reference","id":"msg_1"}]}`))
	if f := fault.As(err); f == nil || f.Kind != fault.Unsupported || f.Param != "input/0" {
		t.Errorf("item_reference: %v", err)
	}
}

func TestResponsesDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ why, member, param string }{
		{"no input", `"store":true`, "input"},
		{"input of a wrong type", `"input":7`, "input"},
		{"unknown part", `"input":[{"role":"user","content":[{"type":"hologram"}]}]`, "input/0/content/0/type"},
		{"unknown role", `"input":[{"role":"king","content":"x"}]`, "input/0/role"},
		{"item without a type", `"input":[{"id":"x"}]`, "input/0/type"},
		{"item that is no object", `"input":["x"]`, "input/0"},
		{"orphan result", `"input":[{"type":"function_call_output","call_id":"c","output":"x"}]`, "input/0"},
		{"result of another call", `"input":[{"type":"function_call","call_id":"a","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"b","output":"x"}]`, "input/1"},
		{"two calls with one id", `"input":[{"type":"function_call","call_id":"a","name":"f","arguments":"{}"},{"type":"function_call","call_id":"a","name":"f","arguments":"{}"}]`, "input/1"},
		{"call without a name", `"input":[{"type":"function_call","call_id":"a","arguments":"{}"}]`, "input/0/name"},
		{"result without output", `"input":[{"type":"function_call_output","call_id":"a"}]`, "input/0/output"},
		{"image in a system text", `"input":[{"role":"system","content":[{"type":"input_image","image_url":"https://e.com"}]}]`, "input/0/content/0/type"},
		{"broken base64", `"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,***"}]}]`, "input/0/content/0/image_url"},
		{"temperature", `"input":"x","temperature":3`, "temperature"},
		{"effort", `"input":"x","reasoning":{"effort":"huge"}`, "reasoning/effort"},
		{"format", `"input":"x","text":{"format":{"type":"xml"}}`, "text/format/type"},
		{"schema missing", `"input":"x","text":{"format":{"type":"json_schema","name":"n"}}`, "text/format/schema"},
		{"tool without a name", `"input":"x","tools":[{"type":"function"}]`, "tools/0/name"},
		{"tool choice", `"input":"x","tool_choice":"maybe"`, "tool_choice"},
	}
	for _, tt := range tests {
		_, err := convtest.DecodeRequest(responsesCodec, llm.OpGenerate, []byte(`{"model":"m",`+tt.member+`}`))
		if f := fault.As(err); f == nil || f.Kind != fault.Malformed || f.Param != tt.param {
			t.Errorf("%s: %v, param %q", tt.why, err, f.Param)
		}
	}
}

// Codex's request, with everything that only Responses has, comes back to a Responses provider as it was.
func TestResponsesKeepsItsOwn(t *testing.T) {
	t.Parallel()
	const body = `{"model":"m","instructions":"be brief","input":[` +
		`{"type":"message","role":"developer","content":"ctx"},{"type":"message","role":"user","content":[{"type":"input_text","text":"hi","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}},{"type":"input_image","file_id":"file_1"}]},` +
		`{"type":"reasoning","summary":[{"type":"summary_text","text":"s"}],"encrypted_content":"gAAA"},` +
		`{"type":"message","role":"assistant","phase":"commentary","content":[{"type":"output_text","text":"ok","annotations":[{"type":"file_path","file_id":"f","index":1}]}]},` +
		`{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"q"}},` +
		`{"type":"custom_tool_call","call_id":"c1","name":"apply_patch","input":"*** Begin"},{"type":"custom_tool_call_output","call_id":"c1","output":"done"},` +
		`{"type":"reasoning","id":"rs_stored","summary":[]},{"type":"mcp_approval_response","approval_request_id":"m","approve":true}],` +
		`"tools":[{"type":"function","name":"shell","parameters":{"type":"object"},"strict":false,"defer_loading":true},{"type":"custom","name":"apply_patch","format":{"type":"grammar","syntax":"lark","definition":"x"}},{"type":"web_search","filters":{"a":1}}],` +
		`"tool_choice":{"type":"web_search"},"parallel_tool_calls":false,"reasoning":{"effort":"high","summary":"auto","mode":"pro"},"text":{"format":{"type":"text"},"verbosity":"low"},` +
		`"temperature":1,"stream":true,"store":false,"include":["reasoning.encrypted_content","web_search_call.results"],"safety_identifier":"u","metadata":{"k":"v"},"service_tier":"flex","prompt_cache_key":"pck",` +
		`"prompt_cache_options":{"ttl":"12h"},"truncation":"auto","previous_response_id":"resp_0"}`
	got, losses := encodeResponses(t, decodeResponses(t, body), dialect.EncodeOptions{})
	var want, have map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &want) != nil || json.Unmarshal([]byte(got), &have) != nil {
		t.Fatal(got)
	}
	if d := cmp.Diff(want, have, cmp.Transformer("text", func(r json.RawMessage) string { return string(r) })); d != "" || losses != "" {
		t.Errorf("losses %q (-want +got):\n%s", losses, d)
	}
}

// The settings that a client sent are echoed on one line in every response object.
func TestResponsesEchoesSettings(t *testing.T) {
	t.Parallel()
	r := decodeResponses(t, "{\"model\":\"m\",\"instructions\":\"be\\nbrief\",\"input\":\"x\",\"temperature\":0.5,\"max_output_tokens\":64,\"store\":true,\"metadata\":{\"a\":\"b\"},\n\"tools\":[{\"type\":\"function\",\"name\":\"f\",\n\"parameters\":{\n\"type\":\"object\"}}],\"tool_choice\":\"required\",\"reasoning\":{\"effort\":\"low\"}}")
	stream, _, err := convtest.EncodeStream(openai.Responses{}, convtest.Answer(llm.OpenAIResponses, r), (&llm.Response{From: llm.Gemini, Choices: []llm.Choice{{Parts: words(llm.Part{Text: "y"}), Stop: llm.Stop{Reason: llm.StopLength}}}}).Events(nil))
	if err != nil {
		t.Fatal(err)
	}
	var a struct {
		Instructions, Status, ToolChoice string
		Temperature                      float64
		Max                              int  `json:"max_output_tokens"`
		Store                            bool // we keep nothing, whatever was asked
		Metadata                         map[string]string
		Tools                            []struct{ Name string }
		Reasoning                        struct{ Effort string }
		Incomplete                       struct{ Reason string } `json:"incomplete_details"`
	}
	if err := json.Unmarshal(finalResponse(t, stream), &a); err != nil {
		t.Fatal(err)
	}
	if a.Instructions != "be\nbrief" || a.Status != "incomplete" || a.Incomplete.Reason != "max_output_tokens" || a.Temperature != 0.5 || a.Max != 64 || a.Store || a.Metadata["a"] != "b" || len(a.Tools) != 1 || a.Reasoning.Effort != "low" {
		t.Errorf("%+v", a)
	}
}
