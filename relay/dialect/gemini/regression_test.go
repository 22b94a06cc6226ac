package gemini_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// The pitfalls that others fell into, as far as they concern Gemini. Each names its thread.

// BerriAI/litellm #16893, Portkey-AI/gateway #1442, lbjlaq/Antigravity-Manager #3202,
// diegosouzapw/OmniRoute #2504: the thought signature of a call was lost, and the second turn got a 400.
// BerriAI/litellm #18570: so was that of text.
func TestThoughtSignaturesComeBack(t *testing.T) {
	t.Parallel()
	r := collect(t, part(`{"text":"I look","thoughtSignature":"dGV4dA=="}`),
		part(`{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"Y2FsbA=="},{"functionCall":{"name":"f","args":{"a":2}}}`), finish)
	ps := r.Choices[0].Parts
	history := &llm.Request{From: llm.OpenAIChat, Messages: []llm.Message{
		user(said("q")), model(ps...),
		results(result(ps[1].ID, "1"), result(ps[2].ID, "2")),
	}}
	got, losses, _ := encode(t, history, dialect.EncodeOptions{})
	want := `{"role":"model","parts":[{"text":"I look","thoughtSignature":"dGV4dA=="},{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"Y2FsbA=="},{"functionCall":{"name":"f","args":{"a":2}}}]}`
	if !strings.Contains(got, want) || losses != nil {
		t.Errorf("%v %s", losses, got)
	}
}

// The same threads, and anthropics/anthropic-sdk-python #1598, ding113/claude-code-hub #518: a signature
// of another vendor is dropped, never sent, and a call that Gemini did not make gets the documented
// placeholder, on the first of parallel calls only.
func TestForeignCallsGetThePlaceholder(t *testing.T) {
	t.Parallel()
	foreign := call("toolu_1", `{}`)
	foreign.Seal = &llm.Seal{Origin: llm.AnthropicMessages, Data: []byte("EuYB")}
	scoped := call("x", `{}`)
	scoped.Seal = &llm.Seal{Origin: llm.Gemini, Scope: "other account", Data: []byte("b3RoZXI=")}
	got, losses, _ := encode(t, &llm.Request{From: llm.AnthropicMessages, Messages: []llm.Message{
		user(said("q")), model(foreign, call("toolu_2", `{}`)), results(result("toolu_1", "a"), result("toolu_2", "b")), model(scoped),
	}}, dialect.EncodeOptions{Scope: "this account"})
	if strings.Contains(got, "EuYB") || strings.Contains(got, "b3RoZXI=") {
		t.Errorf("a foreign signature was sent: %s", got)
	}
	if n := strings.Count(got, `"thoughtSignature":"skip_thought_signature_validator"`); n != 2 {
		t.Errorf("%d placeholders: %s", n, got)
	}
	if d := cmp.Diff([]string{"/c/signature foreign_origin", "/c/signature foreign_origin"}, losses); d != "" {
		t.Errorf("losses (-want +got):\n%s", d)
	}
}

// history is what a client sends back of an answer: Google's SDK for Go keeps a streamed answer as one
// content a chunk, and leaves out the parts without data (genai 1.77.0, chats.go).
func history(t *testing.T, answer []byte, stream bool) *llm.Request {
	t.Helper()
	var bodies [][]byte
	if stream {
		for f := range bytes.SplitSeq(answer, []byte("\r\n\r\n")) {
			if b, ok := bytes.CutPrefix(f, []byte("data: ")); ok {
				bodies = append(bodies, b)
			}
		}
	} else {
		bodies = [][]byte{answer}
	}
	contents := []string{`{"role":"user","parts":[{"text":"q"}]}`}
	for _, b := range bodies {
		var frame struct {
			Candidates []struct {
				Content struct {
					Parts []map[string]json.RawMessage `json:"parts"`
				} `json:"content"`
			} `json:"candidates"`
		}
		if err := json.Unmarshal(b, &frame); err != nil {
			t.Fatal(err)
		}
		for _, c := range frame.Candidates {
			empty := 0
			for _, p := range c.Content.Parts {
				if string(p["text"]) == `""` {
					empty++
				}
			}
			switch {
			case len(c.Content.Parts) == 0 || empty == len(c.Content.Parts):
				continue // left out of the history
			case empty > 0:
				t.Fatalf("the helper throws the whole turn away: %s", b)
			}
			ps, err := json.Marshal(c.Content.Parts)
			if err != nil {
				t.Fatal(err)
			}
			contents = append(contents, `{"role":"model","parts":`+string(ps)+`}`)
		}
	}
	return decode(t, `{"contents":[`+strings.Join(contents, ",")+`]}`)
}

// peers.md 4, rows 6 and 7, the other way round: another vendor's signed thinking goes through a Gemini
// client and its SDK, streamed and whole, and comes back byte for byte with its text.
func TestForeignThinkingSurvivesAGeminiClient(t *testing.T) {
	t.Parallel()
	seal := &llm.Seal{Origin: llm.AnthropicMessages, Scope: "acct", Data: []byte("EuYBCkQ+/=")}
	hidden := &llm.Seal{Origin: llm.AnthropicMessages, Data: []byte("hidden")}
	item := &llm.Seal{Origin: llm.OpenAIResponses, Data: []byte("gAAAA")}
	thinking := llm.Part{Kind: llm.PartThinking, Text: "first this,\nthen that", Seal: seal}
	tests := []struct {
		why   string
		parts []llm.Part
	}{
		{"thinking, then a call", []llm.Part{thinking, call("toolu_1", `{"a":1}`)}},
		{"thinking, then text", []llm.Part{thinking, said("hello"), call("toolu_1", `{}`)}},
		{"hidden thinking", []llm.Part{{Kind: llm.PartThinking, Seal: item}, call("call_1", `{}`)}},
		{"redacted thinking", []llm.Part{{Kind: llm.PartThinking, Redacted: true, Seal: hidden}, said("x")}},
		{"a server tool", []llm.Part{{Kind: llm.PartOpaque, Opaque: &llm.Opaque{Origin: llm.AnthropicMessages, Type: "server_tool_use", JSON: llm.Raw(`{"type":"server_tool_use"}`)}}, said("x")}},
	}
	for _, tt := range tests {
		for i := range tt.parts {
			tt.parts[i].At = ""
		}
		r := &llm.Response{From: llm.AnthropicMessages, Choices: []llm.Choice{{Parts: tt.parts, Stop: llm.Stop{Reason: llm.StopEnd.Derive(llm.HasCalls(tt.parts))}}}}
		whole, losses, err := gemini.Frontend{}.EncodeResponse(r, convtest.Answer(llm.Gemini, nil))
		if err != nil || losses != nil {
			t.Errorf("%s: %v %v", tt.why, err, losses)
		}
		// The signature comes when the thinking has been written, as vendors do.
		events := r.Events(nil)
		for i := range events {
			if p := events[i].Part; p != nil && events[i].Kind == llm.EventPartStart && p.Kind == llm.PartThinking && !p.Redacted {
				late := *p
				late.Seal = nil
				events[i].Part = &late
				for j := i; ; j++ {
					if events[j].Kind == llm.EventPartEnd {
						events[j].Part = &llm.Part{Seal: p.Seal}
						break
					}
				}
			}
		}
		streamed, losses, err := convtest.EncodeStream(gemini.Frontend{}, convtest.Answer(llm.Gemini, nil), events)
		if err != nil || losses != nil {
			t.Errorf("%s: %v %v", tt.why, err, losses)
		}
		for _, got := range []*llm.Request{history(t, whole, false), history(t, streamed, true)} {
			if len(got.Messages) != 2 {
				t.Errorf("%s: %d messages", tt.why, len(got.Messages))
				continue
			}
			ps := got.Messages[1].Parts
			for i := range ps {
				ps[i].At = ""
			}
			if d := cmp.Diff(tt.parts, ps); d != "" {
				t.Errorf("%s (-want +got):\n%s\n%s\n%s", tt.why, d, whole, streamed)
			}
		}
	}
}

// BerriAI/litellm #25561, #25321, #25836: arguments vanished in streams, or came only at the end, in one
// piece, cut inside an escape. To a Gemini client they go whole, however they came.
func TestArgumentsInPiecesReachTheClientWhole(t *testing.T) {
	t.Parallel()
	const args = `{"path":"C:\\dir\"x","n":[1,2]}`
	for cut := range len(args) {
		events := []llm.Event{{Kind: llm.EventStart, Start: &llm.Start{From: llm.OpenAIChat}}, {Kind: llm.EventPartStart, Part: &llm.Part{Kind: llm.PartCall, ID: "call_1", Name: "f"}}}
		for _, piece := range []string{args[:cut], args[cut:]} {
			if piece != "" {
				events = append(events, llm.Event{Kind: llm.EventDelta, Text: piece})
			}
		}
		events = append(events, llm.Event{Kind: llm.EventPartEnd}, llm.Event{Kind: llm.EventStop, Stop: llm.Stop{Reason: llm.StopCalls}})
		out, _, err := convtest.EncodeStream(gemini.Frontend{}, convtest.Answer(llm.Gemini, nil), events)
		if err != nil || strings.Count(string(out), "functionCall") != 1 || !strings.Contains(string(out), `"args":`+args+`}`) {
			t.Fatalf("cut at %d: %v\n%s", cut, err, out)
		}
	}
}

// su-kaka/gcli2api #406, mcowger/plexus #691, praxis-proxy/ai #266: parallel calls collapsed into one, or
// their fragments were mixed up. Two calls of one function keep apart, in both directions.
func TestParallelCallsStayApart(t *testing.T) {
	t.Parallel()
	r := collect(t, part(`{"functionCall":{"name":"f","args":{"a":1}}},{"functionCall":{"name":"f","args":{"a":2}}}`), part(`{"functionCall":{"name":"f","args":{"a":3},"id":"own"}},{"functionCall":{"name":"f","args":{"a":4},"id":"own"}}`), finish)
	ids := map[string]bool{}
	for _, p := range r.Choices[0].Parts {
		ids[p.ID] = true
	}
	if len(r.Choices[0].Parts) != 4 || len(ids) != 4 || !ids["own"] {
		t.Errorf("%s", convtest.Dump(r))
	}
	// Without ids the vendor pairs results by order: they go in the order of the calls.
	ps := r.Choices[0].Parts
	got, _, _ := encode(t, &llm.Request{From: llm.OpenAIChat, Messages: []llm.Message{
		user(said("q")), model(ps[0], ps[1]),
		results(result(ps[1].ID, "two")), results(result(ps[0].ID, "one")),
	}}, dialect.EncodeOptions{})
	if i, j := strings.Index(got, `"output":"one"`), strings.Index(got, `"output":"two"`); i < 0 || j < i || strings.Contains(got, `"id"`) {
		t.Error(got)
	}
	start := func(i int) llm.Event {
		return llm.Event{Kind: llm.EventPartStart, Index: i, Part: &llm.Part{Kind: llm.PartCall, ID: fmt.Sprint("c", i), Name: "f"}}
	}
	delta := func(i int, s string) llm.Event { return llm.Event{Kind: llm.EventDelta, Index: i, Text: s} }
	out, _, err := convtest.EncodeStream(gemini.Frontend{}, convtest.Answer(llm.Gemini, nil), []llm.Event{
		{Kind: llm.EventStart, Start: &llm.Start{From: llm.OpenAIChat}},
		start(0), start(1), delta(1, `{"b"`), delta(0, `{"a":`), delta(1, `:2}`), delta(0, `1}`),
		{Kind: llm.EventPartEnd, Index: 1},
		{Kind: llm.EventPartEnd, Index: 0},
		{Kind: llm.EventStop, Stop: llm.Stop{Reason: llm.StopCalls}},
	})
	i, j := strings.Index(string(out), `"args":{"a":1}`), strings.Index(string(out), `"args":{"b":2}`)
	if err != nil || i < 0 || j < i {
		t.Errorf("%v %s", err, out)
	}
}

// router-for-me/CLIProxyAPI #4656, zavora-ai/adk-rust PR 279: results of parallel calls were split over
// several user turns. StringKe/claudex PR 9: text beside a result was dropped.
func TestResultsAreOneContentWithTheTextBesideThem(t *testing.T) {
	t.Parallel()
	got, _, _ := encode(t, &llm.Request{From: llm.OpenAIChat, Messages: []llm.Message{
		model(call("a", ""), call("b", "")),
		results(result("a", "1")), user(said("beside")), results(result("b", "2")),
	}}, dialect.EncodeOptions{})
	if !strings.HasSuffix(got, `{"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"1"}}},`+
		`{"functionResponse":{"id":"b","name":"f","response":{"output":"2"}}},{"text":"beside"}]}]}`) {
		t.Error(got)
	}
	r := decode(t, `{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f"}}]},{"role":"user","parts":[{"text":"beside"},{"functionResponse":{"name":"f","response":{"output":"1"}}}]}]}`)
	if len(r.Messages) != 3 || r.Messages[1].Role != llm.RoleTool || r.Messages[2].Parts[0].Text != "beside" {
		t.Errorf("%s", convtest.Dump(r))
	}
}

// PublicAffairs/openai-gemini #70, zed-industries/zed #44875, QuantumNous/new-api #7455, vercel/ai #14369,
// router-for-me/CLIProxyAPI #6065, diegosouzapw/OmniRoute #1421: Gemini refuses JSON Schema in parameters,
// and cleaning it changes its meaning. It goes untouched where JSON Schema is taken; results with the same
// words are data.
func TestSchemasAreNotRewritten(t *testing.T) {
	t.Parallel()
	const schema = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"a":{"$ref":"#/$defs/a"},"b":{"const":1},"c":{"type":["string","null"]},"d":{"oneOf":[{"exclusiveMinimum":0}]}},"$defs":{"a":{"propertyNames":{"pattern":"^x"}}},"additionalProperties":false}`
	got, losses, _ := encode(t, &llm.Request{
		From: llm.OpenAIChat, Tools: []llm.Tool{{Name: "f", Schema: llm.Raw(schema)}},
		Format:   llm.Format{Kind: llm.FormatSchema, Schema: llm.Raw(schema)},
		Messages: []llm.Message{model(call("a", "")), results(result("a", schema))},
	}, dialect.EncodeOptions{})
	for _, want := range []string{`"parametersJsonSchema":` + schema, `"responseJsonSchema":` + schema, `"response":` + schema} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
	if losses != nil {
		t.Error(losses)
	}
}

// envoyproxy/ai-gateway #2528, maximhq/bifrost #5629, agentgateway #2628: cache_control was dropped without
// a word.
func TestCacheMarksAreReported(t *testing.T) {
	t.Parallel()
	p := said("long")
	p.Cache = llm.Cache5m
	_, losses, _ := encode(t, &llm.Request{
		From: llm.AnthropicMessages, Cache: llm.Cache1h, CacheKey: "", Messages: []llm.Message{user(p)},
		Tools: []llm.Tool{{Name: "f", At: "/tools/0", Cache: llm.CacheDefault}},
	}, dialect.EncodeOptions{})
	if d := cmp.Diff([]string{"/t/cache_control no_equivalent", "/tools/0/cache_control no_equivalent", "/cache_control no_equivalent"}, losses); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// maximhq/bifrost #3451, QuantumNous/new-api PR 2744, router-for-me/CLIProxyAPI #5238, diegosouzapw/OmniRoute
// #12862: cached tokens were counted twice or lost. Portkey 1.15.2, tried by us: thoughts were not counted.
func TestUsageCountsEachTokenOnce(t *testing.T) {
	t.Parallel()
	r := collect(t, part(`{"text":"x"}`), `{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":100,"cachedContentTokenCount":60,"toolUsePromptTokenCount":7,"candidatesTokenCount":20,"thoughtsTokenCount":30,"totalTokenCount":157}}`)
	if want := (llm.Usage{Input: 107, Cached: 60, Output: 50, Reasoning: 30}); r.Usage != want {
		t.Errorf("%+v, want %+v", r.Usage, want)
	}
	r.Usage = llm.Usage{Input: 107, Cached: 60, CacheWrite: 9, Output: 50, Reasoning: 30}
	out, _, err := gemini.Frontend{}.EncodeResponse(r, convtest.Answer(llm.Gemini, nil))
	if err != nil || !strings.Contains(string(out), `"usageMetadata":{"promptTokenCount":107,"cachedContentTokenCount":60,"candidatesTokenCount":20,"thoughtsTokenCount":30,"totalTokenCount":157}`) {
		t.Errorf("%v %s", err, out)
	}
}

// maximhq/bifrost #3638, #6123, BerriAI/litellm #34692: text and a call, and the reason says that nothing is
// to do. BerriAI/litellm #36553, #30761: a frame without candidates broke the reader.
func TestCallsDecideTheReason(t *testing.T) {
	t.Parallel()
	r := collect(t, part(`{"text":"I look"}`), `{"candidates":[],"usageMetadata":{"promptTokenCount":3}}`, part(`{"functionCall":{"name":"f","args":{}}}`), finish)
	if r.Choices[0].Stop.Reason != llm.StopCalls || len(r.Choices[0].Parts) != 2 {
		t.Errorf("%s", convtest.Dump(r))
	}
}

// QuantumNous/new-api #3275: a 200 without content counted as success.
func TestEmptyAnswersAreSeen(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"candidates":[{"content":{"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3}}`,
		`{"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":"STOP"}]}`, `{"usageMetadata":{"promptTokenCount":3}}`, `{}`,
	} {
		r, err := gemini.Backend{}.DecodeResponse(llm.OpGenerate, []byte(body), dialect.DecodeOptions{})
		if err != nil || !r.Empty() {
			t.Errorf("%s: %v %v", body, err, r)
		}
	}
}

// vercel/ai #5576, BerriAI/litellm PR 25852: empty text blocks. A late frame with a signature only makes no
// second text, and an empty one makes none.
func TestEmptyTextMakesNoPart(t *testing.T) {
	t.Parallel()
	r := collect(t, part(`{"text":""}`), part(`{"text":"x"}`), part(`{"text":"","thought":true}`), `{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"c2ln"}]},"finishReason":"STOP"}]}`)
	if ps := r.Choices[0].Parts; len(ps) != 1 || ps[0].Text != "x" || ps[0].Seal == nil {
		t.Errorf("%s", convtest.Dump(r))
	}
}

// maximhq/bifrost #5395, apache/shenyu #6647: a failure after the first words is the protocol's own error
// frame and the end of the stream, without a regular finish.
func TestFailureInMidStream(t *testing.T) {
	t.Parallel()
	events := []llm.Event{
		{Kind: llm.EventStart, Start: &llm.Start{From: llm.OpenAIChat}},
		{Kind: llm.EventPartStart, Part: &llm.Part{}},
		{Kind: llm.EventDelta, Text: "x"},
		{Kind: llm.EventError, Err: fault.New(fault.UpstreamPartial, "broke off")},
	}
	out, _, err := convtest.EncodeStream(gemini.Frontend{}, convtest.Answer(llm.Gemini, nil), events)
	if err != nil || !strings.Contains(string(out), `"text":"x"`) || !strings.Contains(string(out), "\r\n\r\ndata: {\"error\":{\"code\":502") || strings.Contains(string(out), "finishReason") {
		t.Errorf("%v %s", err, out)
	}
	e := gemini.Frontend{}.NewArrayEncoder(convtest.Answer(llm.Gemini, nil))
	var array []byte
	for i := range events {
		array, _ = e.Append(array, &events[i])
	}
	array, _ = e.Close(array)
	if !json.Valid(array) || e.Elements() != 1 {
		t.Errorf("%d elements: %s", e.Elements(), array)
	}
}

// A call that the limit cut off is left out, as the vendor does; a broken one in a finished answer is a
// failure.
func TestBrokenArgumentsFromElsewhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		stop llm.StopReason
		ok   bool
	}{{llm.StopLength, true}, {llm.StopCalls, false}} {
		r := &llm.Response{From: llm.OpenAIChat, Choices: []llm.Choice{{Parts: []llm.Part{said("x"), call("a", `{"cut`)}, Stop: llm.Stop{Reason: tt.stop}}}}
		out, losses, err := gemini.Frontend{}.EncodeResponse(r, convtest.Answer(llm.Gemini, nil))
		streamed, _, serr := convtest.EncodeStream(gemini.Frontend{}, convtest.Answer(llm.Gemini, nil), r.Events(nil))
		if tt.ok && (err != nil || serr != nil || len(losses) != 1 || !strings.Contains(string(out), "MAX_TOKENS") || !strings.Contains(string(streamed), "MAX_TOKENS")) {
			t.Errorf("%v %v %v %s", err, serr, losses, out)
		}
		if !tt.ok && (fault.As(err) == nil || fault.As(serr) == nil || fault.As(err).Kind != fault.UpstreamProtocol || fault.As(serr).Kind != fault.UpstreamProtocol) {
			t.Errorf("%v %v", err, serr)
		}
	}
}

// envoyproxy/ai-gateway #827, kortix-ai/suna #6831: bodies with screenshots. 28 MB of images are decoded and
// written without a copy of them.
func TestImagesAreNotCopied(t *testing.T) {
	images := make([]string, 28)
	for i := range images {
		images[i] = `{"inlineData":{"mimeType":"image/png","data":"` + strings.Repeat("iVBO", 1<<18) + `"}}`
	}
	body := []byte(`{"contents":[{"role":"user","parts":[` + strings.Join(images, ",") + `]}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := convtest.DecodeRequest(codec, llm.OpGenerate, body)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := gemini.Backend{}.EncodeRequest(r, dialect.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 || enc.Body.Len() < len(body) {
		t.Errorf("%d bytes allocated for a body of %d", n, len(body))
	}
}

// A carrier that a client damaged is reported and not sent: it is nobody's signature.
func TestDamagedCarrierIsNotSent(t *testing.T) {
	t.Parallel()
	r := decode(t, `{"contents":[{"role":"model","parts":[{"text":"x","thoughtSignature":"Y3djYXIxAAAA"}]}]}`)
	for _, from := range []llm.Dialect{llm.Gemini, llm.OpenAIChat} {
		r.From = from
		got, losses, _ := encode(t, r, dialect.EncodeOptions{})
		if strings.Contains(got, "Y3dj") || len(losses) != 1 {
			t.Errorf("%v %s", losses, got)
		}
	}
}
