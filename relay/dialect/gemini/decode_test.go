package gemini_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func decode(t *testing.T, body string) *llm.Request {
	t.Helper()
	r, err := convtest.DecodeRequest(codec, llm.OpGenerate, []byte(body))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return r
}

// Both spellings of every field mean the same.
func TestSnakeCaseIsTheSame(t *testing.T) {
	t.Parallel()
	snake := everything
	for _, n := range []string{
		"systemInstruction", "inlineData", "mimeType", "fileData", "fileUri", "thoughtSignature", "functionCall", "functionResponse", "functionDeclarations",
		"parametersJsonSchema", "toolConfig", "functionCallingConfig", "allowedFunctionNames", "generationConfig", "candidateCount", "stopSequences",
		"maxOutputTokens", "topP", "topK", "presencePenalty", "frequencyPenalty", "responseLogprobs", "responseMimeType", "responseJsonSchema", "thinkingConfig",
		"includeThoughts", "thinkingBudget", "serviceTier",
	} {
		var b strings.Builder
		for _, c := range n {
			if c >= 'A' && c <= 'Z' {
				b.WriteByte('_')
			}
			b.WriteString(strings.ToLower(string(c)))
		}
		snake = strings.ReplaceAll(snake, `"`+n+`"`, `"`+b.String()+`"`)
	}
	if snake == everything {
		t.Fatal("nothing to compare")
	}
	if d := convtest.DiffRequests(decode(t, everything), decode(t, snake)); d != "" {
		t.Errorf("(-camel +snake):\n%s", d)
	}
}

func TestDecodeRequest(t *testing.T) {
	t.Parallel()
	r := decode(t, everything)
	var roles []string
	for _, m := range r.Messages {
		s := m.Role.String()
		for _, p := range m.Parts {
			s += " " + p.Kind.String()
		}
		roles = append(roles, s)
	}
	want := []string{"system text", "user text image video", "assistant thinking text call call", "tool result result", "user text", "assistant opaque opaque", "user text"}
	if d := cmp.Diff(want, roles); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	calls, answers := r.Messages[2].Parts[2:], r.Messages[3].Parts
	if calls[0].ID != "c1" || calls[1].ID == "" || answers[1].ID != calls[1].ID || !answers[1].IsError {
		t.Errorf("calls %+v answered by %+v", calls, answers)
	}
	if got := string(r.Tools[0].Schema); got != `{"type":"object","properties":{"a":{"type":["integer","null"]}}}` {
		t.Errorf("schema %s", got)
	}
	if r.Choice.Mode != llm.ChoiceAllowed || !r.Choice.Must || r.Reasoning.Budget.V != 2000 || r.Reasoning.Show != llm.ShowSummary {
		t.Errorf("choice %+v, reasoning %+v", r.Choice, r.Reasoning)
	}
	var names []string
	for _, m := range r.Extra {
		names = append(names, m.Name)
	}
	if d := cmp.Diff([]string{"safetySettings", "toolConfig/retrievalConfig", "generationConfig/mediaResolution"}, names); d != "" {
		t.Errorf("unknown members (-want +got):\n%s", d)
	}
}

// An answer's empty text that a client sends back without its empty string is nothing.
func TestEmptyPartOfTheModel(t *testing.T) {
	t.Parallel()
	turn := func(more string) *llm.Request {
		return decode(t, `{"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}`+more+`]}]}`)
	}
	for _, empty := range []string{`,{}`, `,{ }`, `,{"text":""}`} {
		if d := convtest.DiffRequests(turn(""), turn(empty)); d != "" {
			t.Errorf("%s (-without +with):\n%s", empty, d)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ why, body, param string }{
		{"no contents", `{}`, "contents"},
		{"contents of a wrong type", `{"contents":7}`, "contents"},
		{"a role of nobody", `{"contents":[{"role":"system","parts":[{"text":"x"}]}]}`, "contents/0/role"},
		{"an empty part", `{"contents":[{"parts":[{}]}]}`, "contents/0/parts/0"},
		{"a part of an unknown kind", `{"contents":[{"parts":[{"hologram":{}}]}]}`, "contents/0/parts/0"},
		{"a part of two kinds", `{"contents":[{"parts":[{"text":"x","inlineData":{}}]}]}`, "contents/0/parts/0"},
		{"both spellings", `{"contents":[],"tool_config":{},"toolConfig":{}}`, "toolConfig"},
		{"both spellings inside", `{"contents":[{"parts":[{"inline_data":{},"inlineData":{}}]}]}`, "contents/0/parts/0/inlineData"},
		{"not base64", `{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"%"}}]}]}`, "contents/0/parts/0/inlineData/data"},
		{"an orphan result", `{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{}}}]}]}`, "contents/0/parts/0"},
		{"a result of another id", `{"contents":[{"role":"model","parts":[{"functionCall":{"id":"a","name":"f"}}]},{"parts":[{"functionResponse":{"id":"b","name":"f","response":{}}}]}]}`, "contents/1/parts/0"},
		{"a call by the user", `{"contents":[{"parts":[{"functionCall":{"name":"f"}}]}]}`, "contents/0/parts/0"},
		{"a result by the model", `{"contents":[{"role":"model","parts":[{"functionResponse":{"name":"f"}}]}]}`, "contents/0/parts/0"},
		{"arguments that are no object", `{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":"x"}}]}]}`, "contents/0/parts/0/functionCall/args"},
		{"an instruction that is a string", `{"contents":[],"systemInstruction":"x"}`, "systemInstruction"},
		{"a function without a name", `{"contents":[],"tools":[{"functionDeclarations":[{}]}]}`, "tools/0/functionDeclarations/0/name"},
		{"two schemas", `{"contents":[],"tools":[{"functionDeclarations":[{"name":"f","parameters":{},"parametersJsonSchema":{}}]}]}`, "tools/0/functionDeclarations/0/parameters"},
		{"a mode of no meaning", `{"contents":[],"toolConfig":{"functionCallingConfig":{"mode":"SOME"}}}`, "toolConfig/functionCallingConfig/mode"},
		{"level and budget", `{"contents":[],"generationConfig":{"thinkingConfig":{"thinkingLevel":"LOW","thinkingBudget":5}}}`, "generationConfig/thinkingConfig/thinkingLevel"},
		{"a schema for plain text", `{"contents":[],"generationConfig":{"responseMimeType":"text/plain","responseSchema":{}}}`, "generationConfig/responseMimeType"},
		{"a temperature in words", `{"contents":[],"generationConfig":{"temperature":"warm"}}`, "generationConfig/temperature"},
		{"not a number", `{"contents":[],"generationConfig":{"topP":"NaN"}}`, "generationConfig/topP"},
	}
	for _, tt := range tests {
		_, err := convtest.DecodeRequest(codec, llm.OpGenerate, []byte(tt.body))
		if f := fault.As(err); f == nil || f.Kind != fault.Malformed || f.Param != tt.param {
			t.Errorf("%s: %+v", tt.why, f)
		}
	}
}

func TestDecodeSchema(t *testing.T) {
	t.Parallel()
	tests := []struct{ why, in, want string }{
		{"types in lower case", `{"type":"STRING","format":"date-time"}`, `{"type":"string","format":"date-time"}`},
		{"null in type and enum", `{"type":"STRING","nullable":true,"enum":["a"],"format":"enum"}`, `{"type":["string","null"],"enum":["a",null]}`},
		{"null beside alternatives", `{"any_of":[{"type":"STRING"}],"nullable":true}`, `{"anyOf":[{"type":"string"},{"type":"null"}]}`},
		{"int64 as strings", `{"type":"ARRAY","min_items":"2","items":{"type":"NUMBER"}}`, `{"type":"array","minItems":2,"items":{"type":"number"}}`},
		{
			"the order of properties", `{"type":"OBJECT","properties":{"b":{"type":"STRING"},"a_b":{"type":"STRING"}},"propertyOrdering":["a_b","b"],"required":["b"]}`,
			`{"type":"object","required":["b"],"properties":{"a_b":{"type":"string"},"b":{"type":"string"}}}`,
		},
		{"JSON Schema in the wrong field stays what it is", `{"type":"object","additionalProperties":false,"$defs":{}}`, `{"type":"object","additionalProperties":false,"$defs":{}}`},
		{"example", `{"example":3}`, `{"examples":[3]}`},
	}
	for _, tt := range tests {
		r := decode(t, `{"contents":[],"tools":[{"functionDeclarations":[{"name":"f","parameters":`+tt.in+`}]}]}`)
		if got := string(r.Tools[0].Schema); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.why, got, tt.want)
		}
	}
}

// frames makes an SSE stream of JSON frames.
func frames(fs ...string) []byte {
	var b bytes.Buffer
	for _, f := range fs {
		b.WriteString("data: " + f + "\r\n\r\n")
	}
	return b.Bytes()
}

func part(p string) string {
	return `{"candidates":[{"content":{"parts":[` + p + `],"role":"model"},"index":0}],"responseId":"r"}`
}

const finish = `{"candidates":[{"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1}}`

func collect(t *testing.T, fs ...string) *llm.Response {
	t.Helper()
	r, err := llm.Collect(everySplit(t, frames(fs...)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStreamEqualsUnary(t *testing.T) {
	t.Parallel()
	unary := `{"candidates":[{"content":{"parts":[{"text":"Let me think","thought":true},{"text":"Grüße aus Zürich"},` +
		`{"functionCall":{"name":"f","args":{"a": 1}},"thoughtSignature":"c2ln"},{"functionCall":{"name":"f","args":{"a":2}}},{"text":"","thoughtSignature":"bGF0ZQ=="}],"role":"model"},` +
		`"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":20,"thoughtsTokenCount":3},"responseId":"r1"}`
	convtest.StreamEqualsUnary(t, gemini.Backend{}, []byte(unary), []byte(stream))
	convtest.EverySplit(t, gemini.Backend{}, []byte(stream))
	convtest.Truncated(t, gemini.Backend{}, []byte(stream), 0)
}

// Vertex streams arguments when streamFunctionCallArguments is on.
func TestPartialArguments(t *testing.T) {
	t.Parallel()
	p := func(s string) string { return part(`{"functionCall":{` + s + `}}`) }
	r := collect(t,
		p(`"name":"book","willContinue":true`),
		p(`"partialArgs":[{"jsonPath":"$.city","stringValue":"Zü","willContinue":true}],"willContinue":true`),
		p(`"partialArgs":[{"jsonPath":"$.city","stringValue":"rich \"N\""}],"willContinue":true`),
		p(`"partialArgs":[{"jsonPath":"$.guests[0].name","stringValue":"A"},{"jsonPath":"$.guests[0]['a.b']","numberValue":2},{"jsonPath":"$.guests[1]","boolValue":true},{"jsonPath":"$.none","nullValue":"NULL_VALUE"}],"willContinue":true`),
		p(``), part(`{"functionCall":{"name":"next","args":{}}}`), finish)
	want := []string{`{"city":"Zürich \"N\"","guests":[{"name":"A","a.b":2},true],"none":null}`, `{}`}
	var got []string
	for _, c := range r.Choices[0].Parts {
		got = append(got, c.Text)
	}
	if d := cmp.Diff(want, got); d != "" || r.Choices[0].Stop.Reason != llm.StopCalls {
		t.Errorf("%v (-want +got):\n%s", r.Choices[0].Stop, d)
	}
	bad := []struct{ why, args string }{
		{"an index that leaves a gap", `{"jsonPath":"$.a[1000000000]","numberValue":1}`},
		{"a path that is none", `{"jsonPath":"a","numberValue":1}`},
		{"a value in place of an object", `{"jsonPath":"$","numberValue":1}`},
		{"text after a number", `{"jsonPath":"$.x","numberValue":1},{"jsonPath":"$.x","stringValue":"a"}`},
	}
	for _, tt := range bad {
		events, err := convtest.DecodeStream(gemini.Backend{}, frames(p(`"name":"f","willContinue":true`), p(`"partialArgs":[`+tt.args+`],"willContinue":true`), p(``), finish))
		if n := len(events); err != nil || events[n-1].Kind != llm.EventError || fault.As(events[n-1].Err).Kind != fault.UpstreamProtocol {
			t.Errorf("%s: %v %v", tt.why, err, events)
		}
	}
	events, err := convtest.DecodeStream(gemini.Backend{}, frames(p(`"name":"f","willContinue":true`), finish))
	if n := len(events); err != nil || fault.As(events[n-1].Err) == nil || fault.As(events[n-1].Err).Kind != fault.UpstreamPartial {
		t.Errorf("a call that never ends: %v %v", err, events)
	}
}

func TestStops(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why, frame string
		want       llm.StopReason
		client     string // the finish reason that a Gemini client reads
	}{
		{"safety without content", `{"candidates":[{"finishReason":"SAFETY"}]}`, llm.StopBlocked, "SAFETY"},
		{"the prompt is blocked", `{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":3}}`, llm.StopBlocked, ""},
		{"recitation", `{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"RECITATION"}]}`, llm.StopBlocked, "RECITATION"},
		{"length while thinking", `{"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS"}]}`, llm.StopLength, "MAX_TOKENS"},
		{"a broken call", `{"candidates":[{"content":{},"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"print(1)"}]}`, llm.StopBroken, "MALFORMED_FUNCTION_CALL"},
		{"a call that nobody offered", `{"candidates":[{"finishReason":"UNEXPECTED_TOOL_CALL"}]}`, llm.StopBroken, "UNEXPECTED_TOOL_CALL"},
		{"paused", `{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"CONTINUATION"}]}`, llm.StopPaused, "CONTINUATION"},
		{"a reason of tomorrow", `{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"TIRED"}]}`, llm.StopEnd, "TIRED"},
		{"STOP with calls", `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}]}`, llm.StopCalls, "STOP"},
	}
	for _, tt := range tests {
		r := collect(t, tt.frame)
		if len(r.Choices) != 1 || r.Choices[0].Stop.Reason != tt.want {
			t.Errorf("%s: %s", tt.why, convtest.Dump(r))
		}
		out, _, err := gemini.Frontend{}.EncodeResponse(r, convtest.Answer(llm.Gemini, nil))
		if err != nil || tt.client != "" && !strings.Contains(string(out), `"finishReason":"`+tt.client+`"`) {
			t.Errorf("%s: %v %s", tt.why, err, out)
		}
		events := r.Events(nil)
		streamed, _, err := convtest.EncodeStream(gemini.Frontend{}, convtest.Answer(llm.Gemini, nil), events)
		back, derr := convtest.DecodeStream(gemini.Backend{}, streamed)
		again, cerr := llm.Collect(back)
		if err != nil || derr != nil || cerr != nil || again.Choices[0].Stop.Reason != tt.want {
			t.Errorf("%s: streamed %v %v %v\n%s", tt.why, err, derr, cerr, streamed)
		}
		if tt.client == "" && (strings.Contains(string(out), "candidates\"") || !strings.Contains(string(out), "PROHIBITED_CONTENT") || strings.Contains(string(streamed), "candidates\"")) {
			t.Errorf("%s: %s\n%s", tt.why, out, streamed)
		}
	}
}

func TestBrokenStreams(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why  string
		fs   []string
		kind fault.Kind
	}{
		{"nothing", nil, fault.UpstreamPartial},
		{"no finish reason", []string{part(`{"text":"x"}`)}, fault.UpstreamPartial},
		{"one of two candidates has none", []string{`{"candidates":[{"finishReason":"STOP","index":1}]}`}, fault.UpstreamPartial},
		{"no JSON", []string{`{"candidates":`}, fault.UpstreamProtocol},
		{"a call without a name", []string{part(`{"functionCall":{"args":{}}}`), finish}, fault.UpstreamProtocol},
		{"arguments that are no object", []string{part(`{"functionCall":{"name":"f","args":[]}}`), finish}, fault.UpstreamProtocol},
		{"an error in a frame", []string{part(`{"text":"x"}`), `{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}`}, fault.UpstreamOverload},
		{"a rate limit in a frame", []string{`{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED"}}`}, fault.UpstreamRate},
		{"too many candidates", []string{`{"candidates":[{"finishReason":"STOP","index":4000000000}]}`}, fault.UpstreamProtocol},
	}
	for _, tt := range tests {
		events := everySplit(t, frames(tt.fs...))
		last := events[len(events)-1]
		if last.Kind != llm.EventError || fault.As(last.Err).Kind != tt.kind || fault.As(last.Err).Phase == fault.NotSent {
			t.Errorf("%s: %v", tt.why, last.Err)
		}
	}
}

func TestGrounding(t *testing.T) {
	t.Parallel()
	r := collect(t, part(`{"text":"Zürich ist schön."}`),
		`{"candidates":[{"finishReason":"STOP","groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://a","title":"A"}},{"retrievedContext":{"uri":"https://b","title":"B","text":"q"}}],`+
			`"groundingSupports":[{"segment":{"startIndex":8,"endIndex":19,"text":"ist schön."},"groundingChunkIndices":[0,1]},{"segment":{"endIndex":7,"text":"other"},"groundingChunkIndices":[1,9]}]}}]}`)
	want := []llm.Citation{
		{URL: "https://a", Title: "A", Start: llm.Some[int64](7), End: llm.Some[int64](17)},
		{URL: "https://b", Title: "B", Quote: "q", Start: llm.Some[int64](7), End: llm.Some[int64](17)},
		{URL: "https://b", Title: "B", Quote: "q"},
	}
	if d := cmp.Diff(want, r.Choices[0].Parts[0].Citations); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// Another vendor's citations reach a Gemini client as grounding, and say the same there.
	r.From, r.Choices[0].Stop.Extra = llm.AnthropicMessages, nil
	r.Choices[0].Parts[0].Citations = want[:2]
	convtest.RoundTripResponse(t, codec, r)
	convtest.RoundTripEvents(t, codec, r.Events(nil))
}

func TestCountTokens(t *testing.T) {
	t.Parallel()
	body := `{"generateContentRequest":{"model":"models/m","contents":[{"parts":[{"text":"hi"}]}],"systemInstruction":{"parts":[{"text":"s"}]}}}`
	r, err := convtest.DecodeRequest(codec, llm.OpCountTokens, []byte(body))
	if err != nil || len(r.Messages) != 2 {
		t.Fatalf("%v %+v", err, r)
	}
	enc, err := gemini.Backend{}.EncodeRequest(r, dialect.EncodeOptions{Model: "up"})
	if err != nil || !strings.HasPrefix(string(enc.Body.Bytes()), `{"generateContentRequest":{"model":"models/up",`) {
		t.Fatalf("%v %s", err, enc.Body.Bytes())
	}
	a, err := gemini.Backend{}.DecodeResponse(llm.OpCountTokens, []byte(`{"totalTokens":12,"cachedContentTokenCount":4}`), dialect.DecodeOptions{})
	if err != nil || a.Usage != (llm.Usage{Input: 12, Cached: 4}) {
		t.Fatalf("%v %+v", err, a)
	}
	out, _, err := gemini.Frontend{}.EncodeResponse(a, dialect.AnswerOptions{Request: r})
	if err != nil || string(out) != `{"totalTokens":12,"cachedContentTokenCount":4}` {
		t.Errorf("%v %s", err, out)
	}
	if _, err := (gemini.Backend{}).DecodeResponse(llm.OpCountTokens, []byte(`{}`), dialect.DecodeOptions{}); fault.As(err).Kind != fault.UpstreamProtocol {
		t.Errorf("no count: %v", err)
	}
}
