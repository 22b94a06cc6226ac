package anthropic_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/anthropic"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

var (
	_ dialect.ClientCodec   = anthropic.Frontend{}
	_ dialect.ProviderCodec = anthropic.Backend{}
)

// What the vendor would refuse is refused here with the place, before another vendor answers something
// else.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	user := func(block string) string {
		return `"max_tokens":9,"messages":[{"role":"user","content":[` + block + `]}]`
	}
	assistant := func(block string) string {
		return `"max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[` + block + `]}]`
	}
	const hi = `"max_tokens":9,"messages":[{"role":"user","content":"x"}],`
	tests := []struct{ why, body, param string }{
		{"no max_tokens", `"messages":[{"role":"user","content":"x"}]`, "max_tokens"},
		{"no messages", `"max_tokens":9`, "messages"},
		{"no message", `"max_tokens":9,"messages":[]`, "messages"},
		{"messages of a wrong type", `"max_tokens":9,"messages":"x"`, "messages"},
		{"a role of another vendor", `"max_tokens":9,"messages":[{"role":"tool","content":"x"}]`, "messages/0/role"},
		{"no content", `"max_tokens":9,"messages":[{"role":"user"}]`, "messages/0/content"},
		{"content of a wrong type", `"max_tokens":9,"messages":[{"role":"user","content":{}}]`, "messages/0/content"},
		{"an unknown block", user(`{"type":"hologram"}`), "messages/0/content/0/type"},
		{"a block without a type", user(`{"text":"x"}`), "messages/0/content/0/type"},
		{"text without text", user(`{"type":"text"}`), "messages/0/content/0/text"},
		{"an orphan result", user(`{"type":"tool_result","tool_use_id":"t"}`), "messages/0/content/0"},
		{"a result without its call's id", user(`{"type":"tool_result"}`), "messages/0/content/0/tool_use_id"},
		{"a result in an assistant turn", assistant(`{"type":"tool_result","tool_use_id":"t"}`), "messages/1/content/0"},
		{"a call in a user turn", user(`{"type":"tool_use","id":"t","name":"f","input":{}}`), "messages/0/content/0"},
		{"thinking in a user turn", user(`{"type":"thinking","thinking":"x","signature":"s"}`), "messages/0/content/0"},
		{"a call without an id", assistant(`{"type":"tool_use","name":"f","input":{}}`), "messages/1/content/0/id"},
		{"a call without an input", assistant(`{"type":"tool_use","id":"t","name":"f"}`), "messages/1/content/0/input"},
		{"two calls with one id", assistant(`{"type":"tool_use","id":"t","name":"f","input":{}},{"type":"tool_use","id":"t","name":"f","input":{}}`), "messages/1/content/1"},
		{"an image without a source", user(`{"type":"image"}`), "messages/0/content/0/source"},
		{"bad base64", user(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"*"}}`), "messages/0/content/0/source/data"},
		{"a source of no known kind", user(`{"type":"document","source":{"type":"ftp"}}`), "messages/0/content/0/source/type"},
		{"a cache mark of no known kind", user(`{"type":"text","text":"x","cache_control":{"type":"forever"}}`), "messages/0/content/0/cache_control/type"},
		{"system blocks that are no text", hi + `"system":[{"type":"image"}]`, "system/0"},
		{"images in a system turn", `"max_tokens":9,"messages":[{"role":"system","content":[{"type":"image"}]}]`, "messages/0/content/0"},
		{"a tool without a schema", hi + `"tools":[{"name":"f"}]`, "tools/0/input_schema"},
		{"a tool without a name", hi + `"tools":[{"input_schema":{}}]`, "tools/0/name"},
		{"a choice of no known kind", hi + `"tool_choice":{"type":"required"}`, "tool_choice/type"},
		{"a named choice without a name", hi + `"tool_choice":{"type":"tool"}`, "tool_choice/name"},
		{"a budget that is too small", hi + `"thinking":{"type":"enabled","budget_tokens":100}`, "thinking/budget_tokens"},
		{"no budget", hi + `"thinking":{"type":"enabled"}`, "thinking/budget_tokens"},
		{"a budget for nothing", hi + `"thinking":{"type":"disabled","budget_tokens":2000}`, "thinking/budget_tokens"},
		{"an effort of another vendor", hi + `"output_config":{"effort":"minimal"}`, "output_config/effort"},
		{"a format without a schema", hi + `"output_config":{"format":{"type":"json_schema"}}`, "output_config/format/schema"},
		{"temperature out of range", hi + `"temperature":1.5`, "temperature"},
		{"a stop that is no string", hi + `"stop_sequences":[7]`, "stop_sequences/0"},
		{"metadata that the vendor does not have", hi + `"metadata":{"team":"a"}`, "metadata"},
	}
	for _, tt := range tests {
		_, err := convtest.DecodeRequest(codec, llm.OpGenerate, []byte(`{"model":"m",`+strings.TrimSuffix(tt.body, ",")+`}`))
		f := fault.As(err)
		if f == nil || f.Kind != fault.Malformed || f.Param != tt.param {
			t.Errorf("%s: %+v, want param %q", tt.why, f, tt.param)
		}
	}
	if _, err := convtest.DecodeRequest(codec, llm.OpCountTokens, []byte(`{"model":"m","messages":[{"role":"user","content":"x"}]}`)); err != nil {
		t.Errorf("a count has no limit: %v", err)
	}
}

// Every system message counts, wherever it stands (seen with the npm build of Portkey gateway 1.15.2: only
// the first is kept); a request of system text alone becomes a question.
func TestSystemText(t *testing.T) {
	t.Parallel()
	body, enc, err := encode(t, chat(nil, say(llm.RoleSystem, text("a")), say(llm.RoleDeveloper, text("b"), text("c")), say(llm.RoleUser, text("hi"))), dialect.EncodeOptions{})
	if err != nil || len(enc.Losses) > 0 || string(body["system"]) != `[{"type":"text","text":"a"},{"type":"text","text":"b"},{"type":"text","text":"c"}]` {
		t.Errorf("%v %v %s", err, enc.Losses, body["system"])
	}
	body, enc, err = encode(t, chat(nil, say(llm.RoleSystem, text("a")), say(llm.RoleSystem, text("b"))), dialect.EncodeOptions{})
	if err != nil || len(enc.Losses) != 1 || string(body["messages"]) != `[{"role":"user","content":[{"type":"text","text":"b"}]}]` {
		t.Errorf("%v %v %s", err, enc.Losses, body["messages"])
	}
}

func TestMedia(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		why   string
		kind  llm.PartKind
		media llm.Media
		want  string
	}{
		{"a loose type is read from the bytes", llm.PartImage, llm.Media{Data: []byte("/9j/4AAQ")}, `{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"/9j/4AAQ"}}`},
		{"a common misspelling", llm.PartImage, llm.Media{Type: "image/jpg", Data: []byte("/9j/4AAQ")}, `{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"/9j/4AAQ"}}`},
		{"by address", llm.PartImage, llm.Media{URL: "https://a/b.png"}, `{"type":"image","source":{"type":"url","url":"https://a/b.png"}}`},
		{"a text file", llm.PartDocument, llm.Media{Type: "text/markdown; charset=utf-8", Data: []byte("IyBI"), Name: "a.md"}, `{"type":"document","source":{"type":"text","media_type":"text/plain","data":"# H"},"title":"a.md"}`},
		{"a PDF", llm.PartDocument, llm.Media{Type: "application/pdf", Data: []byte("JVBERi0x")}, `{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0x"}}`},
	} {
		body, _, err := encode(t, chat(nil, say(llm.RoleUser, llm.Part{Kind: tt.kind, Media: &tt.media})), dialect.EncodeOptions{})
		if want := `[{"role":"user","content":[` + tt.want + `]}]`; err != nil || string(body["messages"]) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.why, fault.As(err), body["messages"], want)
		}
	}
}

// What an answer of another vendor has and this protocol does not is shown in another form, or listed.
func TestForeignAnswers(t *testing.T) {
	t.Parallel()
	link := llm.Citation{URL: "https://a", Title: "A", Quote: "q", Opaque: &llm.Opaque{Origin: llm.OpenAIResponses, Type: "url_citation", JSON: llm.Raw(`{"url":"https://a"}`)}}
	r := &llm.Response{
		From: llm.OpenAIResponses, ID: "resp_1", HasUsage: true,
		Choices: []llm.Choice{{Parts: []llm.Part{
			{Kind: llm.PartText, Text: "x", Citations: []llm.Citation{link, {File: "f"}}},
			{Kind: llm.PartImage, Media: &llm.Media{Type: "image/png", Data: []byte("AAAA")}},
			{Kind: llm.PartRefusal, Text: "I will not."},
		}, Stop: llm.Stop{Reason: llm.StopEnd, Note: "policy"}}},
	}
	check := func(how string, wire []byte, ls []llm.Loss) {
		t.Helper()
		want := []string{"/output/0/citations no_equivalent", "/output/1 no_equivalent"}
		if d := cmp.Diff(want, losses(ls)); d != "" {
			t.Errorf("%s (-want +got):\n%s", how, d)
		}
		for _, s := range []string{`"type":"web_search_result_location","cited_text":"q","url":"https://a","title":"A"`, `I will not.`, `"stop_reason":"refusal"`, `"explanation":"policy"`} {
			if !strings.Contains(string(wire), s) {
				t.Errorf("%s: %s is missing in\n%s", how, s, wire)
			}
		}
	}
	whole, ls, err := anthropic.Frontend{}.EncodeResponse(r, again)
	if err != nil {
		t.Fatal(err)
	}
	check("unary", whole, ls)
	streamed, ls, err := convtest.EncodeStream(anthropic.Frontend{}, again, r.Events(nil))
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, streamed)
	check("stream", streamed, ls)
	// The client's next turn brings the citation back as what it was.
	var m struct{ Content json.RawMessage }
	if err := json.Unmarshal(whole, &m); err != nil {
		t.Fatal(err)
	}
	next, err := convtest.DecodeRequest(codec, llm.OpGenerate, []byte(`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":`+string(m.Content)+`},{"role":"user","content":"y"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]llm.Citation{link}, next.Messages[1].Parts[0].Citations); d != "" {
		t.Errorf("(-sent +returned):\n%s", d)
	}
}

// A client that has switched thinking off reads content[0] as text; one that wants it omitted gets the
// signature alone.
func TestThinkingAsTheClientWantsIt(t *testing.T) {
	t.Parallel()
	r := &llm.Response{From: llm.Gemini, Choices: []llm.Choice{{
		Parts: []llm.Part{{Kind: llm.PartThinking, Text: "secret", Seal: &llm.Seal{Origin: llm.AnthropicMessages, Data: []byte("sig")}}, text("x")},
		Stop:  llm.Stop{Reason: llm.StopEnd},
	}}}
	for _, tt := range []struct {
		why  string
		q    llm.Reasoning
		want string
	}{
		{"off", llm.Reasoning{Mode: llm.ReasoningOff}, `[{"type":"text","text":"x"}]`},
		{"omitted", llm.Reasoning{Mode: llm.ReasoningAdaptive, Show: llm.ShowNone}, `[{"type":"thinking","thinking":"","signature":"sig"},{"type":"text","text":"x"}]`},
		{"shown", llm.Reasoning{Mode: llm.ReasoningAdaptive}, `[{"type":"thinking","thinking":"secret","signature":"sig"},{"type":"text","text":"x"}]`},
	} {
		o := again
		o.Request = &llm.Request{From: llm.AnthropicMessages, Op: llm.OpGenerate, Reasoning: tt.q}
		body, _, err := anthropic.Frontend{}.EncodeResponse(r, o)
		if err != nil || !strings.Contains(string(body), `"content":`+tt.want) {
			t.Errorf("%s: %v %s", tt.why, err, body)
		}
		out, _, err := convtest.EncodeStream(anthropic.Frontend{}, o, r.Events(nil))
		if err != nil {
			t.Fatal(err)
		}
		checkWire(t, out)
		if strings.Contains(string(out), "secret") != strings.Contains(tt.want, "secret") || strings.Contains(string(out), `"sig"`) != strings.Contains(tt.want, `"sig"`) {
			t.Errorf("%s: %s", tt.why, out)
		}
	}
}

func TestCountTokens(t *testing.T) {
	t.Parallel()
	r, err := anthropic.Backend{}.DecodeResponse(llm.OpCountTokens, []byte(`{"input_tokens":403}`), dialect.DecodeOptions{})
	if err != nil || !r.HasUsage || r.Usage.Input != 403 {
		t.Fatal(r, err)
	}
	body, _, err := anthropic.Frontend{}.EncodeResponse(r, dialect.AnswerOptions{Request: &llm.Request{Op: llm.OpCountTokens}})
	if err != nil || string(body) != `{"input_tokens":403}` {
		t.Errorf("%s %v", body, err)
	}
	if _, err := (anthropic.Backend{}).DecodeResponse(llm.OpCountTokens, []byte(`{"usage":{}}`), dialect.DecodeOptions{}); fault.As(err) == nil {
		t.Error("a count without a number")
	}
}

func TestFitSchemaThroughRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ why, in, want string }{
		{"references stand alone, older word for definitions", `{"$schema":"x","type":"object","properties":{"a":{"$ref":"#/definitions/A","title":"t"}},"additionalProperties":false,"definitions":{"A":{"type":"string"}}}`, `{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"additionalProperties":false,"$defs":{"A":{"type":"string"}}}`},
		{"oneOf", `{"oneOf":[{"type":"string"},{"type":"null"}]}`, `{"anyOf":[{"type":"string"},{"type":"null"}]}`},
		{"a dictionary stays one", `{"type":"object","additionalProperties":{"type":"string","maxLength":3}}`, `{"type":"object","additionalProperties":{"type":"string","description":"{maxLength: 3}"}}`},
		{"formats and arrays", `{"type":"array","items":{"type":"string","format":"byte"},"minItems":2,"maxItems":4}`, `{"type":"array","items":{"type":"string","description":"{format: \"byte\"}"},"description":"{minItems: 2, maxItems: 4}"}`},
		{"what fits stays byte for byte", `{ "type":"object", "properties":{"a":{"type":["string","null"],"enum":["x",null]}}, "additionalProperties":false }`, `{ "type":"object", "properties":{"a":{"type":["string","null"],"enum":["x",null]}}, "additionalProperties":false }`},
	} {
		r := chat(func(r *llm.Request) { r.Format = llm.Format{Kind: llm.FormatSchema, Schema: llm.Raw(tt.in)} })
		body, enc, err := encode(t, r, dialect.EncodeOptions{})
		if want := `{"format":{"type":"json_schema","schema":` + tt.want + `}}`; err != nil || string(body["output_config"]) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.why, err, body["output_config"], want)
		}
		if changed := tt.in != tt.want; changed != (len(enc.Losses) == 1) {
			t.Errorf("%s: losses %v", tt.why, enc.Losses)
		}
	}
}
