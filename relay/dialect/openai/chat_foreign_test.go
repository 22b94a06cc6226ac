package openai_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func say(role llm.Role, at string, ps ...llm.Part) llm.Message {
	for i := range ps {
		ps[i].At = dialect.Index(at+"/content", i)
	}
	return llm.Message{Role: role, At: at, Parts: ps}
}

func textPart(s string) llm.Part { return llm.Part{Kind: llm.PartText, Text: s} }

// TestChatFromOtherClients: what chat providers get of requests of other protocols, and what is lost.
func TestChatFromOtherClients(t *testing.T) {
	t.Parallel()
	hello := []llm.Message{say(llm.RoleUser, "/messages/0", textPart("hi"))}
	const said = `"messages":[{"role":"user","content":"hi"}]`
	tools := []llm.Tool{{Name: "f", At: "/tools/0"}}
	const toolText = `"tools":[{"type":"function","function":{"name":"f"}}]`
	image := llm.Part{Kind: llm.PartImage, Media: &llm.Media{Type: "image/png", Data: []byte("AAAA")}}
	call := llm.Part{Kind: llm.PartCall, ID: "toolu_1", Name: "f"}
	for _, c := range []struct {
		why    string
		from   llm.Dialect
		r      llm.Request
		q      dialect.Quirks
		want   string
		losses string
	}{
		{
			"system blocks become one string, user blocks stay apart", llm.AnthropicMessages,
			llm.Request{Messages: []llm.Message{
				say(llm.RoleSystem, "/system", textPart("a"), textPart("b")), say(llm.RoleUser, "/messages/0", textPart("c"), textPart("d")),
			}},
			dialect.Quirks{},
			`"messages":[{"role":"system","content":"a\n\nb"},{"role":"user","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]}]`, "",
		},
		{
			"developer at a server that knows only system", llm.OpenAIResponses,
			llm.Request{Messages: []llm.Message{say(llm.RoleDeveloper, "/input/0", textPart("a"))}},
			dialect.Quirks{NoDeveloperRole: true},
			`"messages":[{"role":"system","content":"a"}]`, "",
		},
		{
			"results of parallel calls, one of them an error, one with a picture (protocols.md 2.1)", llm.AnthropicMessages,
			llm.Request{Tools: tools, Messages: []llm.Message{
				say(llm.RoleAssistant, "/messages/1", textPart("ok"), call, llm.Part{Kind: llm.PartCall, ID: "id with spaces", Name: "f", Text: `{"a": 1}`}),
				say(llm.RoleTool, "/messages/2", llm.Part{Kind: llm.PartResult, ID: "toolu_1", Name: "f", IsError: true, Content: []llm.Part{textPart("x"), textPart("y")}},
					llm.Part{Kind: llm.PartResult, ID: "id with spaces", Name: "f", Content: []llm.Part{image}}),
				say(llm.RoleUser, "/messages/2", textPart("go on")),
			}},
			dialect.Quirks{},
			`"messages":[{"role":"assistant","content":"ok","tool_calls":[{"id":"toolu_1","type":"function","function":{"name":"f","arguments":"{}"}},` +
				`{"id":"` + carrier.ID(llm.OpenAIChat, "id with spaces") + `","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},` +
				`{"role":"tool","tool_call_id":"toolu_1","content":"Error: x\ny"},{"role":"tool","tool_call_id":"` + carrier.ID(llm.OpenAIChat, "id with spaces") + `","content":"(The result is shown below.)"},` +
				`{"role":"user","content":[{"type":"text","text":"Result of the call with the id ` + carrier.ID(llm.OpenAIChat, "id with spaces") + `:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},` +
				`{"role":"user","content":"go on"}],` + toolText,
			"/messages/2/content/0/is_error rewritten\n rewritten",
		},
		{
			"thinking of another vendor is dropped, never forwarded (anthropic-sdk-python #1598)", llm.AnthropicMessages,
			llm.Request{Messages: []llm.Message{
				say(llm.RoleAssistant, "/messages/0", llm.Part{Kind: llm.PartThinking, Text: "hm", Seal: &llm.Seal{Origin: llm.AnthropicMessages, Data: []byte("sig")}},
					llm.Part{Kind: llm.PartOpaque, Opaque: &llm.Opaque{Origin: llm.AnthropicMessages, Type: "server_tool_use", JSON: llm.Raw(`{}`)}}, textPart("a")),
				say(llm.RoleUser, "/messages/1", textPart("b")),
			}},
			dialect.Quirks{},
			`"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"b"}]`,
			"/messages/0/content/0 foreign_origin\n/messages/0/content/1 foreign_origin",
		},
		{
			"a turn of nothing but foreign thinking is left out", llm.Gemini,
			llm.Request{Messages: []llm.Message{
				say(llm.RoleAssistant, "/contents/0", llm.Part{Kind: llm.PartThinking, Text: "hm"}), say(llm.RoleUser, "/contents/1", textPart("b")),
			}},
			dialect.Quirks{},
			`"messages":[{"role":"user","content":"b"}]`, "/contents/0/content/0 no_equivalent",
		},
		{
			"a prefill is answered, not continued", llm.AnthropicMessages,
			llm.Request{Messages: append(hello[:1:1], say(llm.RoleAssistant, "/messages/1", textPart("{")))},
			dialect.Quirks{},
			`"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"{"}]`, "/messages/1 rewritten",
		},
		{
			"plain text documents", llm.AnthropicMessages,
			llm.Request{Messages: []llm.Message{say(llm.RoleUser, "/messages/0",
				llm.Part{Kind: llm.PartDocument, Media: &llm.Media{Text: "body", Name: "T", Note: "n", Cite: true}},
				llm.Part{Kind: llm.PartDocument, Media: &llm.Media{Type: "application/pdf", Data: []byte("AAAA")}})}},
			dialect.Quirks{},
			`"messages":[{"role":"user","content":[{"type":"text","text":"T\n\nbody"},{"type":"file","file":{"filename":"document.pdf","file_data":"data:application/pdf;base64,AAAA"}}]}]`,
			"/messages/0/content/0/context no_equivalent\n/messages/0/content/0/citations no_equivalent\n/messages/0/content/0 rewritten",
		},
		{
			"cache marks of Anthropic: OpenAI caches by itself (envoyproxy/ai-gateway #2528: never silently)", llm.AnthropicMessages,
			llm.Request{Messages: []llm.Message{
				say(llm.RoleUser, "/messages/0", llm.Part{Kind: llm.PartText, Text: "hi", Cache: llm.CacheDefault}),
			}, Cache: llm.Cache1h},
			dialect.Quirks{},
			said, "/messages/0/content/0/cache_control no_equivalent\n/cache_control out_of_range",
		},
		{
			"the same marks of OpenAI's own clients", llm.OpenAIResponses,
			llm.Request{Messages: []llm.Message{
				say(llm.RoleUser, "/input/0", llm.Part{Kind: llm.PartText, Text: "hi", Cache: llm.CacheDefault}),
			}, Cache: llm.Cache12h},
			dialect.Quirks{},
			`"messages":[{"role":"user","content":[{"type":"text","text":"hi","prompt_cache_breakpoint":{"mode":"explicit"}}]}],"prompt_cache_options":{"ttl":"12h"}`, "",
		},
		{
			"choice of a tool", llm.AnthropicMessages,
			llm.Request{Messages: hello, Tools: tools, Choice: llm.ToolChoice{Mode: llm.ChoiceNamed, Name: "f"}, Parallel: llm.Some(false)},
			dialect.Quirks{},
			said + "," + toolText + `,"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false`, "",
		},
		{"parallel_tool_calls without tools is a 400 at OpenAI", llm.OpenAIResponses, llm.Request{Messages: hello, Parallel: llm.Some(true), Choice: llm.ToolChoice{Mode: llm.ChoiceAuto}}, dialect.Quirks{}, said, ""},
		{
			"sampling that chat lacks, and a limit above the model's", llm.AnthropicMessages,
			llm.Request{
				Messages: hello, MaxOutput: llm.Some(int64(9000)),
				Sampling: llm.Sampling{TopK: llm.Some(int64(5)), Temperature: llm.Some(1.0)},
			},
			dialect.Quirks{LegacyMaxTokens: true, NoSampling: true},
			said + `,"max_tokens":4000`, "/top_k no_equivalent\n/max_tokens out_of_range",
		},
		{
			"a model that refuses sampling", llm.Gemini,
			llm.Request{Messages: hello, Sampling: llm.Sampling{Temperature: llm.Some(0.2)}},
			dialect.Quirks{NoSampling: true},
			said, "/generationConfig/temperature model_refuses",
		},
		{
			"budget becomes an effort", llm.AnthropicMessages,
			llm.Request{Messages: hello, Reasoning: llm.Reasoning{Mode: llm.ReasoningOn, Budget: llm.Some(int64(4096)), Show: llm.ShowSummary}},
			dialect.Quirks{},
			said + `,"reasoning_effort":"medium"`, "/thinking/budget_tokens out_of_range\n/thinking/display no_equivalent",
		},
		{"thinking off", llm.AnthropicMessages, llm.Request{Messages: hello, Reasoning: llm.Reasoning{Mode: llm.ReasoningOff}}, dialect.Quirks{}, said + `,"reasoning_effort":"none"`, ""},
		{"thinking off where there is none to switch", llm.AnthropicMessages, llm.Request{Messages: hello, Reasoning: llm.Reasoning{Mode: llm.ReasoningOff}}, dialect.Quirks{NoReasoning: true}, said, ""},
		{"effort at a model without", llm.OpenAIResponses, llm.Request{Messages: hello, Reasoning: llm.Reasoning{Effort: llm.EffortHigh}}, dialect.Quirks{NoReasoning: true}, said, "/reasoning/effort model_refuses"},
		{
			"JSON mode without the word is a 400 at OpenAI", llm.Gemini,
			llm.Request{Messages: hello, Format: llm.Format{Kind: llm.FormatJSON}},
			dialect.Quirks{},
			`"messages":[{"role":"system","content":"Answer with one JSON object and nothing else."},{"role":"user","content":"hi"}],"response_format":{"type":"json_object"}`, "",
		},
		{
			"a schema needs a name", llm.AnthropicMessages,
			llm.Request{Messages: hello, Format: llm.Format{Kind: llm.FormatSchema, Schema: llm.Raw(`{"type":"object"}`)}},
			dialect.Quirks{},
			said + `,"response_format":{"type":"json_schema","json_schema":{"name":"response","schema":{"type":"object"}}}`, "",
		},
		{
			"a schema at a server without", llm.AnthropicMessages,
			llm.Request{Messages: hello, Format: llm.Format{Kind: llm.FormatSchema, Schema: llm.Raw(`{"type":"object"}`)}},
			dialect.Quirks{NoSchema: true},
			`"messages":[{"role":"system","content":"Answer with one JSON object and nothing else. It must be valid against this JSON Schema:\n{\"type\":\"object\"}"},{"role":"user","content":"hi"}],"response_format":{"type":"json_object"}`,
			"/output_config/format rewritten",
		},
		{
			"a user id above OpenAI's limit is hashed", llm.AnthropicMessages,
			llm.Request{Messages: hello, User: strings.Repeat("u", 65), ServiceTier: "standard_only", Metadata: []llm.Pair{{Key: "k", Value: "v"}}},
			dialect.Quirks{},
			said + `,"user":"6ca5d72ca41f5ed07b4c0bf3d0f8ecb0f25d9ea2e5ef0fa2ed2a62ea0d2f3b5c","service_tier":"default"`, "/metadata/user_id rewritten\n/metadata not_in_this_use",
		},
		{"stream", llm.Gemini, llm.Request{Messages: hello, Stream: true, IncludeUsage: true, N: 3}, dialect.Quirks{}, said + `,"n":3,"stream":true,"stream_options":{"include_usage":true}`, ""},
		{"stream at a server without stream_options", llm.Gemini, llm.Request{Messages: hello, Stream: true}, dialect.Quirks{NoStreamUsage: true}, said + `,"stream":true`, ""},
		{"unknown members", llm.Gemini, llm.Request{Messages: hello, Extra: llm.Extra{{Name: "safetySettings", Value: llm.Raw(`[{}]`)}}}, dialect.Quirks{}, said, "/safetySettings unknown_member"},
	} {
		r := c.r
		r.From, r.Op = c.from, llm.OpGenerate
		got, losses := chatBody(t, &r, c.q)
		want := `{"model":"up",` + c.want + `}`
		if strings.HasPrefix(c.why, "a user id") { // only the form of the hash matters
			got = maskUser(got)
			want = maskUser(want)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.why, d)
		}
		ls := lossLines(losses)
		if strings.HasPrefix(c.why, "results") {
			ls = strings.ReplaceAll(ls, "/messages/2/content/1", "")
		}
		if ls != c.losses && !(strings.HasPrefix(c.why, "a user id") && strings.HasPrefix(ls, "/metadata/user_id rewritten")) {
			t.Errorf("%s: losses\n%s\nwant\n%s", c.why, ls, c.losses)
		}
	}
}

func maskUser(s string) string {
	i := strings.Index(s, `"user":"`)
	if i < 0 || len(s) < i+8+64 {
		return s
	}
	return s[:i+8] + strings.Repeat("#", 64) + s[i+8+64:]
}

// TestChatRefusesWhatItCannotAsk (protocols.md 2.8): each names its place.
func TestChatRefusesWhatItCannotAsk(t *testing.T) {
	t.Parallel()
	part := func(p llm.Part) llm.Request {
		return llm.Request{Messages: []llm.Message{say(llm.RoleUser, "/messages/0", p)}}
	}
	media := func(k llm.PartKind, m llm.Media) llm.Request { return part(llm.Part{Kind: k, Media: &m}) }
	for _, c := range []struct {
		why   string
		from  llm.Dialect
		r     llm.Request
		q     dialect.Quirks
		field string
	}{
		{"file of another vendor", llm.AnthropicMessages, media(llm.PartDocument, llm.Media{FileID: "file_1"}), dialect.Quirks{}, "/messages/0/content/0: foreign_origin"},
		{"image of another vendor", llm.AnthropicMessages, media(llm.PartImage, llm.Media{FileID: "file_1"}), dialect.Quirks{}, "/messages/0/content/0: foreign_origin"},
		{"Google's own URLs", llm.Gemini, media(llm.PartImage, llm.Media{URL: "gs://b/o"}), dialect.Quirks{}, "/messages/0/content/0: no_equivalent"},
		{"document by URL", llm.AnthropicMessages, media(llm.PartDocument, llm.Media{URL: "https://x/a.pdf"}), dialect.Quirks{}, "/messages/0/content/0: no_equivalent"},
		{"a word file", llm.Gemini, media(llm.PartDocument, llm.Media{Type: "application/msword", Data: []byte("AAAA")}), dialect.Quirks{}, "/messages/0/content/0: no_equivalent"},
		{"audio that is neither wav nor mp3", llm.Gemini, media(llm.PartAudio, llm.Media{Type: "audio/flac", Data: []byte("AAAA")}), dialect.Quirks{}, "/messages/0/content/0: no_equivalent"},
		{"video", llm.Gemini, media(llm.PartVideo, llm.Media{Type: "video/mp4", Data: []byte("AAAA")}), dialect.Quirks{}, "/messages/0/content/0: no_equivalent"},
		{"a hosted tool", llm.AnthropicMessages, llm.Request{Tools: []llm.Tool{{Kind: llm.ToolHosted, At: "/tools/0", Opaque: &llm.Opaque{Origin: llm.AnthropicMessages}}}}, dialect.Quirks{}, "/tools/0: no_equivalent"},
		{"warming the cache is not answering", llm.AnthropicMessages, llm.Request{MaxOutput: llm.Some(int64(0))}, dialect.Quirks{}, "/max_tokens: no_equivalent"},
		{"prefill at a model without", llm.AnthropicMessages, llm.Request{Messages: []llm.Message{say(llm.RoleAssistant, "/messages/0", textPart("x"))}}, dialect.Quirks{NoPrefill: true}, "/messages/0: model_refuses"},
		{"state of another protocol", llm.OpenAIResponses, llm.Request{Extra: llm.Extra{{Name: "previous_response_id", Value: llm.Raw(`"resp_1"`)}}}, dialect.Quirks{}, "/previous_response_id: no_equivalent"},
	} {
		r := c.r
		r.From, r.Op = c.from, llm.OpGenerate
		_, err := openai.ChatBackend{}.EncodeRequest(&r, dialect.EncodeOptions{Model: "up", Quirks: c.q})
		f := fault.As(err)
		if f == nil || f.Kind != fault.Unsupported || len(f.Fields) != 1 || f.Fields[0] != c.field {
			t.Errorf("%s: %v", c.why, f)
		}
	}
	if _, err := (openai.ChatBackend{}).EncodeRequest(&llm.Request{Op: llm.OpCountTokens}, dialect.EncodeOptions{}); fault.As(err).Kind != fault.Unsupported {
		t.Error("chat providers do not count tokens")
	}
}

// TestChatThinkingComesBack: what a compatible server wants back (reasoning_content inside a tool loop,
// reasoning_details) reaches it again through a client of chat and through carriers, and no other
// account.
func TestChatThinkingComesBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ why, message, back string }{
		{"DeepSeek, Moonshot", `"reasoning_content":"hm"`, `"reasoning_content":"hm"`},
		{"vLLM", `"reasoning":"hm"`, `"reasoning":"hm"`},
		{"both are one", `"reasoning_content":"hm","reasoning":"hm"`, `"reasoning_content":"hm"`},
		{
			"OpenRouter", `"reasoning":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm","signature":"sig==","index":0},{"type":"reasoning.encrypted","data":"xyz","index":1}]`,
			`"reasoning_details":[{"type":"reasoning.text","text":"hm","signature":"sig==","index":0},{"type":"reasoning.encrypted","data":"xyz","index":1}]`,
		},
	} {
		answer := `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"a",` + c.message + `},"finish_reason":"stop"}]}`
		r, err := openai.ChatBackend{}.DecodeResponse(llm.OpGenerate, []byte(answer), dialect.DecodeOptions{Scope: "acct"})
		if err != nil {
			t.Fatal(err)
		}
		shown, _, err := openai.Chat{}.EncodeResponse(r, convtest.Answer(llm.OpenAIChat, nil))
		if err != nil {
			t.Fatal(err)
		}
		// The client sends the message back as it came.
		message := string(shown[bytes.Index(shown, []byte(`"message":`))+10 : bytes.Index(shown, []byte(`,"logprobs"`))])
		back := chatRequest(t, `{"model":"m","messages":[`+message+`,{"role":"user","content":"b"}]}`)
		if body, losses := chatBody(t, back, dialect.Quirks{}); !strings.Contains(body, c.back) || losses != nil {
			t.Errorf("%s: %s\nlosses %v", c.why, body, losses)
		}
		e, err := openai.ChatBackend{}.EncodeRequest(back, dialect.EncodeOptions{Model: "up", Scope: "another account"})
		if err != nil || len(e.Losses) != 1 || strings.Contains(string(e.Body.Bytes()), "hm") {
			t.Errorf("%s, another account: %s %v %v", c.why, e.Body.Bytes(), e.Losses, err)
		}
	}
}

// TestChatCarriesSeals: signatures of other vendors survive a chat client (BerriAI/litellm #16893,
// Portkey-AI/gateway #1442, ding113/claude-code-hub #518), streamed and whole.
func TestChatCarriesSeals(t *testing.T) {
	t.Parallel()
	sig := func(d llm.Dialect, s string) *llm.Seal {
		return &llm.Seal{Origin: d, Scope: "acct", Data: []byte(s)}
	}
	r := &llm.Response{From: llm.AnthropicMessages, Choices: []llm.Choice{{Stop: llm.Stop{Reason: llm.StopCalls}, Parts: []llm.Part{
		{Kind: llm.PartThinking, Text: "first", Seal: sig(llm.AnthropicMessages, "c2ln\x00\"bytes")},
		{Kind: llm.PartThinking, Redacted: true, Seal: sig(llm.AnthropicMessages, "hidden")},
		{Kind: llm.PartThinking, Seal: sig(llm.AnthropicMessages, "no text")},
		{Kind: llm.PartText, Text: "t", Seal: sig(llm.Gemini, "on text")},
		{Kind: llm.PartCall, ID: "c", Name: "f", Text: `{"a":1}`, Seal: sig(llm.Gemini, "on call")},
		{Kind: llm.PartCall, ID: "d", Name: "g"},
	}}}}
	want := r.Choices[0].Parts
	body, losses, err := openai.Chat{}.EncodeResponse(r, convtest.Answer(llm.OpenAIChat, nil))
	if err != nil || losses != nil {
		t.Fatal(err, losses)
	}
	stream, losses, err := convtest.EncodeStream(openai.Chat{}, convtest.Answer(llm.OpenAIChat, nil), r.Events(nil))
	if err != nil || losses != nil {
		t.Fatal(err, losses)
	}
	whole := string(body[bytes.Index(body, []byte(`"message":`))+10 : bytes.Index(body, []byte(`,"logprobs"`))])
	for _, c := range []struct{ why, message string }{{"whole", whole}, {"streamed", foldChunks(t, stream)}} {
		q := chatRequest(t, `{"model":"m","messages":[`+c.message+`,{"role":"tool","tool_call_id":"c","content":"1"},{"role":"tool","tool_call_id":"d","content":"1"}]}`)
		got := q.Messages[0].Parts
		for i := range got {
			got[i].At = ""
			if got[i].Kind == llm.PartCall && got[i].Text == "{}" {
				got[i].Text = ""
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", c.why, d, c.message)
		}
	}
	damaged := strings.Replace(whole, `"signature":"Y3djYXIx`, `"signature":"Y3djYXIxAA`, 1)
	q := chatRequest(t, `{"model":"m","messages":[`+damaged+`]}`)
	if p := q.Messages[0].Parts[0]; p.Seal != nil || len(p.Extra) != 1 {
		t.Errorf("a damaged carrier: %+v", p)
	}
}

// TestChatSealsAreNoWayIn: a carrier is not signed; what a client forges must not become structure of
// the provider's body.
func TestChatSealsAreNoWayIn(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`[{"a":1}],"model":"other","x":[]`, `[`, `{"a":1}`, `model`, `"x"`, ``} {
		r := &llm.Request{From: llm.AnthropicMessages, Op: llm.OpGenerate, Messages: []llm.Message{say(llm.RoleAssistant, "/messages/0",
			llm.Part{Kind: llm.PartThinking, Text: "t", Seal: &llm.Seal{Origin: llm.OpenAIChat, Data: []byte(data)}}, textPart("a"))}}
		body, losses := chatBody(t, r, dialect.Quirks{})
		if want := `{"model":"up","messages":[{"role":"assistant","content":"a"}]}`; body != want || len(losses) != 2 {
			t.Errorf("%s: %s %v", data, body, losses)
		}
	}
}
