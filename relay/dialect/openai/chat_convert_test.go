package openai_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

var chatCodec = convtest.Codec{Dialect: llm.OpenAIChat, Frontend: openai.Chat{}, Client: openai.Chat{}, Provider: openai.ChatBackend{}}

// chatFeatures is what chat carries to itself. Thinking has seals of this dialect, which name members
// (TestChatThinkingComesBack); refusals change the reason (TestChatRefusalIsBlocked).
var chatFeatures = convtest.Features{
	Dialect: llm.OpenAIChat, SystemInPlace: true, Developer: true, Images: true, ImageURLs: true, Documents: true, Custom: true, FreeArgs: true,
	Sampling: true, Seed: true, Stop: true, Schema: true, Effort: true, Parallel: true, User: true, ChoiceNamed: true, Choices: true,
}

func TestChatRoundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := chatFeatures
		f.Refusals = true
		convtest.RoundTripRequest(t, chatCodec, convtest.Requests(f).Draw(rt, "request"), dialect.EncodeOptions{Model: "m"})
		r := convtest.Responses(chatFeatures).Draw(rt, "answer")
		convtest.RoundTripResponse(t, chatCodec, r)
		convtest.RoundTripEvents(t, chatCodec, convtest.Stream(rt, r))
	})
}

// chatRequest decodes body or fails the test.
func chatRequest(t testing.TB, body string) *llm.Request {
	t.Helper()
	r, err := convtest.DecodeRequest(chatCodec, llm.OpGenerate, []byte(body))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return r
}

// chatBody encodes r for a chat provider.
func chatBody(t testing.TB, r *llm.Request, q dialect.Quirks) (string, []llm.Loss) {
	t.Helper()
	e, err := openai.ChatBackend{}.EncodeRequest(r, dialect.EncodeOptions{Model: "up", MaxOutput: 4000, Scope: "acct", Quirks: q})
	if err != nil {
		t.Fatalf("%v %q", err, fault.As(err).Fields)
	}
	return string(e.Body.Bytes()), e.Losses
}

func lossLines(ls []llm.Loss) string {
	out := make([]string, len(ls))
	for i, l := range ls {
		out[i] = l.Path + " " + l.Reason
	}
	return strings.Join(out, "\n")
}

// TestChatDecodesEverything: one request with every member of the protocol that is converted.
func TestChatDecodesEverything(t *testing.T) {
	t.Parallel()
	got := chatRequest(t, `{"model":"gpt","messages":[
		{"role":"system","content":"s"},
		{"role":"developer","content":[{"type":"text","text":"d","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}}]},
		{"role":"user","name":"ann","content":[{"type":"text","text":"look"},{"type":"text","text":""},
			{"type":"image_url","image_url":{"url":"data:image\/png;base64,AAAA","detail":"low"}},
			{"type":"image_url","image_url":{"url":"https://x/y.png"}},
			{"type":"input_audio","input_audio":{"data":"AAAA","format":"mp3"}},
			{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"}},
			{"type":"file","file":{"file_id":"file-1"}}]},
		{"role":"assistant","content":null,"refusal":null,"annotations":[],"tool_calls":[
			{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}},
			{"id":"c2","type":"custom","custom":{"name":"sh","input":"ls -l"}}]},
		{"role":"tool","tool_call_id":"c2","content":"files"},
		{"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"one"}]},
		{"role":"assistant","content":[{"type":"text","text":"t"},{"type":"refusal","refusal":"no"}]}],
		"tools":[{"type":"function","function":{"name":"f","description":"F","parameters":{"type":"object"},"strict":true}},
			{"type":"custom","custom":{"name":"sh","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"x"}}}},
			{"type":"web_search","x":1}],
		"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{"name":"sh"}}]}},
		"parallel_tool_calls":false,"temperature":0.5,"top_p":0.9,"frequency_penalty":-1,"presence_penalty":2,"seed":-7,"stop":"END","n":2,
		"logit_bias":{"50256":-100},"logprobs":true,"top_logprobs":3,"max_completion_tokens":100,
		"response_format":{"type":"json_schema","json_schema":{"name":"r","description":"R","schema":{"type":"object"},"strict":true}},
		"reasoning_effort":"xhigh","verbosity":"low","metadata":{"k":"v"},"user":"u","safety_identifier":"s","service_tier":"flex","store":true,
		"prompt_cache_key":"ck","prompt_cache_options":{"ttl":"30m"},"modalities":["text"],"prediction":{"type":"content","content":"p"},
		"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},"future":[1]}`)
	text := func(s, at string) llm.Part { return llm.Part{Kind: llm.PartText, Text: s, At: at} }
	want := &llm.Request{
		From: llm.OpenAIChat, Op: llm.OpGenerate, Model: "gpt", Stream: true, IncludeUsage: true, N: 2,
		Messages: []llm.Message{
			{Role: llm.RoleSystem, At: "/messages/0", Parts: []llm.Part{text("s", "/messages/0/content")}},
			{Role: llm.RoleDeveloper, At: "/messages/1", Parts: []llm.Part{{Kind: llm.PartText, Text: "d", Cache: llm.Cache12h, At: "/messages/1/content/0"}}},
			{Role: llm.RoleUser, Name: "ann", At: "/messages/2", Parts: []llm.Part{
				text("look", "/messages/2/content/0"),
				{Kind: llm.PartImage, Media: &llm.Media{Type: "image/png", Data: []byte("AAAA"), Detail: "low"}, At: "/messages/2/content/2"},
				{Kind: llm.PartImage, Media: &llm.Media{URL: "https://x/y.png"}, At: "/messages/2/content/3"},
				{Kind: llm.PartAudio, Media: &llm.Media{Type: "audio/mpeg", Data: []byte("AAAA")}, At: "/messages/2/content/4"},
				{Kind: llm.PartDocument, Media: &llm.Media{Type: "application/pdf", Data: []byte("AAAA"), Name: "a.pdf"}, At: "/messages/2/content/5"},
				{Kind: llm.PartDocument, Media: &llm.Media{FileID: "file-1"}, At: "/messages/2/content/6"},
			}},
			{Role: llm.RoleAssistant, At: "/messages/3", Parts: []llm.Part{
				{Kind: llm.PartCall, ID: "c1", Name: "f", Text: `{"a": 1}`, At: "/messages/3/tool_calls/0"},
				{Kind: llm.PartCall, ID: "c2", Name: "sh", Text: "ls -l", Custom: true, At: "/messages/3/tool_calls/1"},
			}},
			{Role: llm.RoleTool, At: "/messages/4", Parts: []llm.Part{
				{Kind: llm.PartResult, ID: "c2", Name: "sh", Custom: true, At: "/messages/4", Content: []llm.Part{text("files", "/messages/4/content")}},
				{Kind: llm.PartResult, ID: "c1", Name: "f", At: "/messages/5", Content: []llm.Part{text("one", "/messages/5/content/0")}},
			}},
			{Role: llm.RoleAssistant, At: "/messages/6", Parts: []llm.Part{
				text("t", "/messages/6/content/0"),
				{Kind: llm.PartRefusal, Text: "no", At: "/messages/6/content/1"},
			}},
		},
		Tools: []llm.Tool{
			{Name: "f", Description: "F", Schema: llm.Raw(`{"type":"object"}`), Strict: llm.Some(true), At: "/tools/0"},
			{Kind: llm.ToolCustom, Name: "sh", Grammar: llm.Raw(`{"type":"grammar","grammar":{"syntax":"lark","definition":"x"}}`), At: "/tools/1"},
			{Kind: llm.ToolHosted, Name: "web_search", At: "/tools/2", Opaque: &llm.Opaque{Origin: llm.OpenAIChat, Type: "web_search", JSON: llm.Raw(`{"type":"web_search","x":1}`)}},
		},
		Choice:   llm.ToolChoice{Mode: llm.ChoiceAllowed, Allowed: []string{"f", "sh"}, Must: true},
		Parallel: llm.Some(false),
		Sampling: llm.Sampling{
			Temperature: llm.Some(0.5), TopP: llm.Some(0.9), FrequencyPenalty: llm.Some(-1.0), PresencePenalty: llm.Some(2.0),
			Seed: llm.Some(int64(-7)), Stop: []string{"END"}, LogitBias: llm.Raw(`{"50256":-100}`), Logprobs: true, TopLogprobs: llm.Some(int64(3)),
		},
		MaxOutput: llm.Some(int64(100)),
		Format:    llm.Format{Kind: llm.FormatSchema, Name: "r", Description: "R", Schema: llm.Raw(`{"type":"object"}`), Strict: llm.Some(true)},
		Reasoning: llm.Reasoning{Effort: llm.EffortXHigh}, Verbosity: llm.VerbosityLow,
		User: "s", Metadata: []llm.Pair{{Key: "k", Value: "v"}}, ServiceTier: "flex", Store: llm.Some(true), CacheKey: "ck", Cache: llm.Cache30m,
		Extra: llm.Extra{
			{Name: "prediction", Value: llm.Raw(`{"type":"content","content":"p"}`)},
			{Name: "stream_options", Value: llm.Raw(`{"include_usage":true,"include_obfuscation":false}`)},
			{Name: "future", Value: llm.Raw(`[1]`)},
			{Name: "user", Value: llm.Raw(`"u"`)},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	body, losses := chatBody(t, got, dialect.Quirks{})
	if losses != nil {
		t.Errorf("losses to the same dialect: %v", losses)
	}
	again := chatRequest(t, body)
	slices.SortFunc(want.Extra, byName)
	slices.SortFunc(again.Extra, byName)
	if d := convtest.DiffRequests(want, again); d != "" {
		t.Errorf("after encoding (-want +got):\n%s\n%s", d, body)
	}
	for _, x := range []string{`"prediction":{"type":"content","content":"p"}`, `"future":[1]`, `"include_obfuscation":false`, `"include_usage":true`} {
		if !strings.Contains(body, x) {
			t.Errorf("%s is missing in %s", x, body)
		}
	}
}

func byName(a, b llm.Member) int { return strings.Compare(a.Name, b.Name) }

func TestChatRefusesBadRequests(t *testing.T) {
	t.Parallel()
	msg := func(m string) string { return `{"model":"m","messages":[` + m + `]}` }
	with := func(s string) string { return `{"model":"m","messages":[{"role":"user","content":"x"}],` + s + `}` }
	for _, c := range []struct{ why, body, param string }{
		{"no messages", `{"model":"m"}`, "messages"},
		{"no message", `{"model":"m","messages":[]}`, "messages"},
		{"messages is an object", `{"model":"m","messages":{}}`, "messages"},
		{"a message is a string", msg(`"x"`), "messages/0"},
		{"unknown role", msg(`{"role":"bot","content":"x"}`), "messages/0/role"},
		{"content is a number", msg(`{"role":"user","content":7}`), "messages/0/content"},
		{"unknown part", msg(`{"role":"user","content":[{"type":"hologram","hologram":{}}]}`), "messages/0/content/0/type"},
		{"image in a system message", msg(`{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://x"}}]}`), "messages/0/content/0/type"},
		{"image without a URL", msg(`{"role":"user","content":[{"type":"image_url","image_url":{}}]}`), "messages/0/content/0/image_url/url"},
		{"broken base64", msg(`{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,!"}}]}`), "messages/0/content/0/image_url/url"},
		{"audio without a format", msg(`{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA"}}]}`), "messages/0/content/0/input_audio/format"},
		{"file without content", msg(`{"role":"user","content":[{"type":"file","file":{"filename":"a"}}]}`), "messages/0/content/0/file"},
		{"tool message without an id", msg(`{"role":"tool","content":"x"}`), "messages/0/tool_call_id"},
		{"orphan result", msg(`{"role":"tool","tool_call_id":"c","content":"x"}`), "messages/0"},
		{"result of another call", msg(`{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"b","content":"x"}`), "messages/1"},
		{"call without an id", msg(`{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f"}}]}`), "messages/0/tool_calls/0/id"},
		{"call without a name", msg(`{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{}}]}`), "messages/0/tool_calls/0/function/name"},
		{"call without a function", msg(`{"role":"assistant","tool_calls":[{"id":"a","type":"function"}]}`), "messages/0/tool_calls/0/function"},
		{"both limits", with(`"max_tokens":5,"max_completion_tokens":6`), "max_tokens"},
		{"no output", with(`"max_tokens":0`), "max_tokens"},
		{"temperature", with(`"temperature":2.5`), "temperature"},
		{"temperature is a string", with(`"temperature":"1"`), "temperature"},
		{"alternatives without logprobs", with(`"top_logprobs":2`), "top_logprobs"},
		{"too many alternatives", with(`"logprobs":true,"top_logprobs":21`), "top_logprobs"},
		{"format", with(`"response_format":{"type":"xml"}`), "response_format/type"},
		{"schema missing", with(`"response_format":{"type":"json_schema"}`), "response_format/json_schema"},
		{"effort", with(`"reasoning_effort":"huge"`), "reasoning_effort"},
		{"stop of nothing", with(`"stop":[""]`), "stop/0"},
		{"choice without tools", with(`"tool_choice":"required"`), "tool_choice"},
		{"choice of no tool", with(`"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}`), "tool_choice"},
		{"unknown choice", with(`"tool_choice":"maybe"`), "tool_choice"},
		{"tool without a name", with(`"tools":[{"type":"function","function":{}}]`), "tools/0/function/name"},
		{"tool without a function", with(`"tools":[{"type":"function"}]`), "tools/0/function"},
		{"metadata of a number", with(`"metadata":{"a":1}`), "metadata/a"},
		{"verbosity", with(`"verbosity":"loud"`), "verbosity"},
	} {
		_, err := convtest.DecodeRequest(chatCodec, llm.OpGenerate, []byte(c.body))
		if f := fault.As(err); f == nil || f.Kind != fault.Malformed || f.Param != c.param {
			t.Errorf("%s: %v, param %q, want %q", c.why, err, fault.As(err).Param, c.param)
		}
	}
}

// TestChatTakesWhatClientsWrite: forms beside the documented ones.
func TestChatTakesWhatClientsWrite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ why, body, want string }{
		{
			"functions of before 2024 (the seed article's samples)",
			`{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"1"}],"functions":[{"name":"f","parameters":{"type":"object"}}],"function_call":{"name":"f"}}`,
			`user x|assistant call f {} |tool result f [1]|tools f|named f`,
		},
		{"image_url as a string", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://x/y"}]}]}`, `user image https://x/y`},
		{"bare base64 in a file", `{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_data":"AAAA"}}]}]}`, `user document application/pdf AAAA`},
		{"choice as an object", `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"any"}}`, `user x|tools f|required `},
		{"auto without tools says nothing", `{"model":"m","messages":[{"role":"user","content":"x"}],"tool_choice":"auto"}`, `user x`},
		{"cache_control of OpenRouter (envoyproxy/ai-gateway #2528)", `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}]}]}`, `user x cache 1h`},
		{"arguments as an object", `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":{"a":1}}}]}]}`, `assistant call f {"a":1} a`},
		{
			"image in a tool message", `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f"}}]},{"role":"tool","tool_call_id":"a","content":[{"type":"image_url","image_url":{"url":"https://x/y"}}]}]}`,
			`assistant call f {} a|tool result f [image https://x/y]`,
		},
		{
			"empty text in history (vercel/ai #5576)", `{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":""},{"role":"assistant","content":[{"type":"text","text":""}]},{"role":"user","content":"y"}]}`,
			`user x|assistant|assistant|user y`,
		},
	} {
		r := chatRequest(t, c.body)
		if got := brief(r); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.why, got, c.want)
		}
	}
}

// brief shows a request on one line.
func brief(r *llm.Request) string {
	var out []string
	for _, m := range r.Messages {
		s := m.Role.String()
		for i := range m.Parts {
			s += " " + briefPart(&m.Parts[i])
		}
		out = append(out, s)
	}
	if len(r.Tools) > 0 {
		s := "tools"
		for _, t := range r.Tools {
			s += " " + t.Name
		}
		out = append(out, s, r.Choice.Mode.String()+" "+r.Choice.Name)
	}
	return strings.Join(out, "|")
}

func briefPart(p *llm.Part) string {
	s := p.Kind.String()
	switch p.Kind {
	case llm.PartText:
		s = p.Text
	case llm.PartCall:
		s += " " + p.Name + " " + p.Args() + " "
		if !strings.HasPrefix(p.ID, "call_cw") {
			s += p.ID
		}
	case llm.PartResult:
		s += " " + p.Name + " ["
		for i := range p.Content {
			s += briefPart(&p.Content[i])
		}
		s += "]"
	case llm.PartThinking, llm.PartRefusal:
		s += " " + p.Text
	}
	if m := p.Media; m != nil {
		s += strings.TrimRight(" "+m.Type+" "+string(m.Data), " ") + m.URL
		s = strings.Replace(s, "image"+m.URL, "image "+m.URL, 1)
	}
	if p.Cache != llm.CacheUnset {
		s += " cache " + p.Cache.String()
	}
	return s
}
