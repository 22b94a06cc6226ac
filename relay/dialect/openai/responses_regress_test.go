package openai_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// frames writes data objects as a stream; the event name is their type.
func frames(objects ...string) []byte {
	var b []byte
	for _, o := range objects {
		var e struct{ Type string }
		if err := json.Unmarshal([]byte(o), &e); err != nil {
			panic(o)
		}
		b = sse.Append(b, e.Type, []byte(o))
	}
	return b
}

const (
	evCreated   = `{"type":"response.created","response":{"id":"resp_1","object":"response","created_at":1795000000.0,"status":"in_progress","model":"gpt-5","output":[]},"sequence_number":0}`
	evCompleted = `{"type":"response.completed","response":{"id":"resp_1","status":"completed","model":"gpt-5","output":[],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":2},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":16}}}`
)

// foldResponses gives the answer that a stream describes.
func foldResponses(t *testing.T, stream []byte) *llm.Response {
	t.Helper()
	events, err := convtest.DecodeStream(openai.ResponsesBackend{}, stream)
	if err != nil {
		t.Fatal(err)
	}
	r, err := llm.Collect(events)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func calls(r *llm.Response) (out []string) {
	for _, p := range r.Choices[0].Parts {
		if p.Kind == llm.PartCall {
			out = append(out, p.ID+" "+p.Name+" "+p.Text)
		}
	}
	return out
}

// BerriAI/litellm #25321 (and its comments), #25836, #25561: "the upstream sends the arguments only in
// .done"; every way of sending them gives the same call.
func TestResponsesArgumentsHoweverTheyCome(t *testing.T) {
	t.Parallel()
	const (
		added = `{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":""}}`
		args  = `{\"city\":\"Z\\u00fcrich \\\"x\\\"\"}`
		done  = `{"type":"response.function_call_arguments.done","output_index":0,"item_id":"fc_1","arguments":"` + args + `"}`
		item  = `{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":"` + args + `"}}`
	)
	delta := func(s string) string {
		return `{"type":"response.function_call_arguments.delta","output_index":0,"item_id":"fc_1","delta":"` + s + `"}`
	}
	final := strings.Replace(evCompleted, `"output":[]`, `"output":[{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":"`+args+`"}]`, 1)
	tests := []struct {
		why    string
		frames []string
	}{
		{"only in arguments.done", []string{evCreated, added, done, evCompleted}},
		{"only in the finished item", []string{evCreated, added, item, evCompleted}},
		{"only in the final response", []string{evCreated, final}},
		{"item announced, arguments only in the final response", []string{evCreated, added, final}},
		{"item never announced", []string{evCreated, item, evCompleted}},
		{"in one chunk", []string{evCreated, added, delta(args), done, item, final}},
		{"split inside an escape", []string{evCreated, added, delta(`{\"city\":\"Z\\u0`), delta(`0fcrich \\`), delta(`\"x\\\"\"}`), done, item, final}},
		{"deltas end early, done has the rest", []string{evCreated, added, delta(`{\"city\":`), done, item, evCompleted}},
		{"deltas before the name is known", []string{evCreated, delta(`{\"city\":`), delta(`\"Z`), item, evCompleted}},
		{"arguments in the announcement too", []string{evCreated, strings.Replace(added, `"arguments":""`, `"arguments":"`+args+`"`, 1), done, item, final}},
		{"nothing opens the stream", []string{added, delta(args), item, evCompleted}},
	}
	for _, tt := range tests {
		want := []string{`call_1 f {"city":"Z\u00fcrich \"x\""}`}
		if d := cmp.Diff(want, calls(foldResponses(t, frames(tt.frames...)))); d != "" {
			t.Errorf("%s:\n%s", tt.why, d)
		}
	}
}

// su-kaka/gcli2api #406, mcowger/plexus #691: "parallel tool calls collapse to index 0".
func TestResponsesParallelCallsInterleave(t *testing.T) {
	t.Parallel()
	added := func(i int) string {
		return fmt.Sprintf(`{"type":"response.output_item.added","output_index":%d,"item":{"type":"function_call","id":"fc_%d","call_id":"call_%d","name":"f%d","arguments":""}}`, i, i, i, i)
	}
	delta := func(i int, s string) string {
		return fmt.Sprintf(`{"type":"response.function_call_arguments.delta","output_index":%d,"item_id":"fc_%d","delta":%q}`, i, i, s)
	}
	done := func(i int, s string) string {
		return fmt.Sprintf(`{"type":"response.output_item.done","output_index":%d,"item":{"type":"function_call","id":"fc_%d","call_id":"call_%d","name":"f%d","arguments":%q}}`, i, i, i, i, s)
	}
	stream := frames(evCreated, added(0), added(1), delta(1, `{"b"`), delta(0, `{"a"`), delta(1, `:2}`), done(1, `{"b":2}`), added(2), delta(0, `:1}`), done(2, "{}"), done(0, `{"a":1}`), evCompleted)
	r := foldResponses(t, stream)
	want := []string{`call_0 f0 {"a":1}`, `call_1 f1 {"b":2}`, `call_2 f2 {}`}
	if d := cmp.Diff(want, calls(r)); d != "" {
		t.Error(d)
	}
	if r.Choices[0].Stop.Reason != llm.StopCalls { // BerriAI/litellm #34692: completed with calls is a call
		t.Errorf("stop %s", r.Choices[0].Stop.Reason)
	}
	convtest.RoundTripEvents(t, responsesCodec, convtest.EverySplit(t, openai.ResponsesBackend{}, stream))
}

// vercel/ai fixture github-copilot-id-rotation: item ids differ from event to event.
func TestResponsesItemIDsMayRotate(t *testing.T) {
	t.Parallel()
	r := foldResponses(t, frames(evCreated,
		`{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"AAAA","role":"assistant","content":[],"phase":"final_answer"}}`,
		`{"type":"response.content_part.added","output_index":0,"item_id":"BBBB","content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}`,
		`{"type":"response.output_text.delta","output_index":0,"item_id":"CCCC","content_index":0,"delta":"Hel"}`,
		`{"type":"response.output_text.delta","output_index":0,"item_id":"DDDD","content_index":0,"delta":"lo"}`,
		`{"type":"response.output_text.done","output_index":0,"item_id":"EEEE","content_index":0,"text":"Hello"}`,
		`{"type":"response.output_item.done","output_index":0,"item":{"type":"message","id":"FFFF","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[]}],"phase":"final_answer"}}`,
		strings.Replace(evCompleted, `"output":[]`, `"output":[{"type":"message","id":"GGGG","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[]}]}]`, 1)))
	if ps := r.Choices[0].Parts; len(ps) != 1 || ps[0].Text != "Hello" || string(ps[0].Extra.Get("phase")) != `"final_answer"` {
		t.Errorf("%s", convtest.Dump(r))
	}
}

// praxis-proxy/ai #266: "deltas routed to the wrong block". Messages and reasoning that overlap come
// out one after the other, each with its own text.
func TestResponsesOverlappingItemsAreKeptApart(t *testing.T) {
	t.Parallel()
	text := func(i int, s string) string {
		return fmt.Sprintf(`{"type":"response.output_text.delta","output_index":%d,"content_index":0,"delta":%q}`, i, s)
	}
	done := func(i int, s string) string {
		return fmt.Sprintf(`{"type":"response.output_item.done","output_index":%d,"item":{"type":"message","role":"assistant","content":[{"type":"output_text","text":%q}]}}`, i, s)
	}
	r := foldResponses(t, frames(evCreated, text(0, "a"), text(1, "x"),
		`{"type":"response.reasoning_summary_text.delta","output_index":2,"summary_index":0,"delta":"why"}`,
		text(0, "b"), text(1, "y"), done(1, "xyz"), done(0, "abc"),
		`{"type":"response.reasoning_summary_text.delta","output_index":2,"summary_index":1,"delta":"how"}`, evCompleted))
	var got []string
	for _, p := range r.Choices[0].Parts {
		got = append(got, p.Kind.String()+" "+p.Text)
	}
	if d := cmp.Diff([]string{"text abc", "text xyz", "thinking why\n\nhow"}, got); d != "" {
		t.Error(d)
	}
}

// maximhq/bifrost #974: "reasoning deltas not forwarded in streams"; raw reasoning of open models too.
func TestResponsesReasoningIsForwarded(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"reasoning_summary_text", "reasoning_text"} {
		events, _ := convtest.DecodeStream(openai.ResponsesBackend{}, frames(evCreated,
			`{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[]}}`,
			`{"type":"response.`+kind+`.delta","output_index":0,"item_id":"rs_1","delta":"Hm"}`,
			`{"type":"response.`+kind+`.delta","output_index":0,"item_id":"rs_1","delta":", yes"}`,
			`{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}}`, evCompleted))
		n := 0
		for _, e := range events {
			if e.Kind == llm.EventDelta {
				n++
			}
		}
		r, err := llm.Collect(events)
		if err != nil {
			t.Fatal(err)
		}
		if p := r.Choices[0].Parts[0]; n != 2 || p.Kind != llm.PartThinking || p.Text != "Hm, yes" || string(p.Seal.Data) != "gAAA" {
			t.Errorf("%s: %d deltas, %s", kind, n, convtest.Dump(r))
		}
	}
}

// Recorded: the real API nests the error and sends response.failed after it; the specification is flat.
func TestResponsesErrorFrames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why    string
		frames []string
		want   fault.Kind
	}{
		{"flat", []string{evCreated, `{"type":"error","code":"rate_limit_exceeded","message":"slow down","param":null,"sequence_number":3}`}, fault.UpstreamRate},
		{"nested, then failed", []string{evCreated, `{"type":"error","error":{"type":"server_error","code":"server_error","message":"oops","param":null}}`, `{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"oops"}}}`}, fault.UpstreamError},
		{"failed alone", []string{evCreated, `{"type":"response.failed","response":{"status":"failed","error":{"code":"invalid_prompt","message":"no"}}}`}, fault.UpstreamRejected},
		{"failed without a reason", []string{evCreated, `{"type":"response.failed","response":{"status":"failed","error":null}}`}, fault.UpstreamError},
		{"before anything", []string{`{"type":"error","code":"insufficient_quota","message":"pay"}`}, fault.UpstreamQuota},
	}
	for _, tt := range tests {
		events, err := convtest.DecodeStream(openai.ResponsesBackend{}, frames(tt.frames...))
		if err != nil {
			t.Fatal(err)
		}
		last := events[len(events)-1]
		if last.Kind != llm.EventError || fault.As(last.Err).Kind != tt.want {
			t.Errorf("%s: %v", tt.why, last.Err)
		}
		out, _, err := convtest.EncodeStream(openai.Responses{}, convtest.Answer(llm.OpenAIResponses, nil), events)
		if err != nil || strings.Count(string(out), "event: error\n") != 1 || strings.Contains(string(out), "response.completed") || strings.Contains(string(out), `"error":{`) {
			t.Errorf("%s: client gets %s (%v)", tt.why, out, err)
		}
	}
}

// maximhq/bifrost #3451, langwatch #7018: cached tokens are part of the input here, never added to it.
func TestResponsesUsageIsInclusive(t *testing.T) {
	t.Parallel()
	r := foldResponses(t, frames(evCreated, `{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"x"}`, evCompleted))
	want := llm.Usage{Input: 9, Cached: 4, CacheWrite: 2, Output: 7, Reasoning: 3}
	if r.Usage != want {
		t.Errorf("got %+v", r.Usage)
	}
	body, _, err := openai.Responses{}.EncodeResponse(r, convtest.Answer(llm.OpenAIResponses, nil))
	if err != nil || !strings.Contains(string(body), `"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":2},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":16}`) {
		t.Errorf("%v %s", err, body)
	}
}

// QuantumNous/new-api #3275: "200 with empty body counts as success".
func TestResponsesEmptyAnswerIsSeen(t *testing.T) {
	t.Parallel()
	for _, output := range []string{``, `{"type":"message","role":"assistant","content":[]}`, `{"type":"message","role":"assistant","content":[{"type":"output_text","text":""}]}`, `{"type":"reasoning","summary":[],"encrypted_content":"gAAA"}`} {
		r, err := openai.ResponsesBackend{}.DecodeResponse(llm.OpGenerate, []byte(`{"id":"resp_1","status":"completed","output":[`+output+`]}`), dialect.DecodeOptions{})
		if err != nil || !r.Empty() {
			t.Errorf("%s: %v", output, err)
		}
	}
	for _, body := range []string{``, `[]`, `{}`, `{"output":null}`, `{"output":[1]}`, `{"status":"in_progress","output":[]}`, `{"status":"failed","output":[]}`, `{"error":{"message":"x"}}`} {
		if _, err := (openai.ResponsesBackend{}).DecodeResponse(llm.OpGenerate, []byte(body), dialect.DecodeOptions{}); err == nil {
			t.Errorf("%s is taken for an answer", body)
		}
	}
}

// The order of events, their numbers and ids, as recorded from the real API (protocols.md 1.2).
func TestResponsesStreamOrder(t *testing.T) {
	t.Parallel()
	seal := &llm.Seal{Origin: llm.AnthropicMessages, Data: []byte("sig==")}
	r := &llm.Response{From: llm.AnthropicMessages, ID: "msg_01", HasUsage: true, Usage: llm.Usage{Input: 3, Output: 2}, Choices: []llm.Choice{{
		Stop: llm.Stop{Reason: llm.StopCalls},
		Parts: []llm.Part{
			{Kind: llm.PartThinking, Text: "Hm", Seal: seal},
			{Kind: llm.PartText, Text: "Hi\n\"you\"", Citations: []llm.Citation{{URL: "https://example.com", Title: "E"}}},
			{Kind: llm.PartCall, ID: "toolu_1", Name: "f", Text: `{"a":1}`},
			{Kind: llm.PartCall, ID: "toolu_2", Name: "g"},
			{Kind: llm.PartCall, ID: "toolu_3", Name: "sh", Custom: true, Text: "ls"},
		},
	}}}
	stream, losses, err := convtest.EncodeStream(openai.Responses{}, convtest.Answer(llm.OpenAIResponses, nil), r.Events(nil))
	if err != nil || len(losses) != 0 {
		t.Fatal(err, losses)
	}
	var names []string
	items := map[int]json.RawMessage{}
	ids := map[string]bool{}
	s := sse.NewScanner(0)
	s.Feed(stream)
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		var f struct {
			Type     string
			Sequence int             `json:"sequence_number"`
			Index    int             `json:"output_index"`
			ItemID   string          `json:"item_id"`
			Item     json.RawMessage `json:"item"`
			Response struct {
				ID     string
				Output []json.RawMessage
				Status string
			}
		}
		if err := json.Unmarshal(e.Data, &f); err != nil || f.Type != e.Name || f.Sequence != len(names) {
			t.Fatalf("frame %d: %v\n%s", len(names), err, e.Raw)
		}
		names = append(names, strings.TrimPrefix(f.Type, "response."))
		switch f.Type {
		case "response.output_item.done":
			items[f.Index] = slices.Clone(f.Item)
		case "response.completed":
			for i, o := range f.Response.Output {
				if string(o) != string(items[i]) {
					t.Errorf("item %d is %s at the end and %s when done", i, o, items[i])
				}
			}
			if len(f.Response.Output) != len(items) || f.Response.Status != "completed" {
				t.Errorf("%d items at the end, %s", len(f.Response.Output), f.Response.Status)
			}
		}
		if f.Response.ID != "" {
			ids[f.Response.ID] = true
		}
		if f.ItemID != "" {
			ids[fmt.Sprint(f.Index, f.ItemID)] = true
		}
	}
	want := strings.Fields(`created in_progress
		output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done output_item.done
		output_item.added content_part.added output_text.delta output_text.annotation.added output_text.done content_part.done output_item.done
		output_item.added function_call_arguments.delta function_call_arguments.done output_item.done
		output_item.added function_call_arguments.delta function_call_arguments.done output_item.done
		output_item.added custom_tool_call_input.delta custom_tool_call_input.done output_item.done
		completed`)
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
	if len(ids) != 6 {
		t.Errorf("ids change: %v", ids)
	}
}

// BerriAI/litellm #16893, Portkey-AI/gateway #1442, anthropics/anthropic-sdk-python #1598: what another
// vendor wants back survives the trip through a Responses client byte for byte, streamed and not.
func TestResponsesCarriesForeignSeals(t *testing.T) {
	t.Parallel()
	claude := &llm.Seal{Origin: llm.AnthropicMessages, Data: []byte("EqQB+/=="), Scope: "acct-1"}
	google := &llm.Seal{Origin: llm.Gemini, Data: []byte("CvcB")}
	late := &llm.Seal{Origin: llm.Gemini, Data: []byte("bGF0ZQ==")}
	opaque := &llm.Opaque{Origin: llm.AnthropicMessages, Type: "server_tool_use", JSON: llm.Raw(`{"type":"server_tool_use","id":"srvtoolu_1"}`)}
	parts := []llm.Part{
		{Kind: llm.PartThinking, Text: "Hm", Seal: claude},
		{Kind: llm.PartThinking, Redacted: true, Seal: claude},
		{Kind: llm.PartOpaque, Opaque: opaque},
		{Kind: llm.PartText, Text: "Hi", Seal: late},
		{Kind: llm.PartCall, ID: "call_1", Name: "f", Text: "{}", Seal: google},
	}
	r := &llm.Response{From: llm.Gemini, Choices: []llm.Choice{{Parts: parts, Stop: llm.Stop{Reason: llm.StopCalls}}}}
	events := r.Events(nil)
	for i := range events { // the text's seal comes with its end
		if e := &events[i]; e.Kind == llm.EventPartStart && e.Part.Kind == llm.PartText {
			e.Part.Seal = nil
			events[i+2].Part = &llm.Part{Seal: late}
		}
	}
	o := convtest.Answer(llm.OpenAIResponses, nil)
	whole, _, err := openai.Responses{}.EncodeResponse(r, o)
	if err != nil {
		t.Fatal(err)
	}
	stream, losses, err := convtest.EncodeStream(openai.Responses{}, o, events)
	if err != nil || len(losses) > 0 {
		t.Fatal(err, losses)
	}
	for what, body := range map[string][]byte{"whole": whole, "streamed": finalResponse(t, stream)} {
		var a struct{ Output []json.RawMessage }
		if err := json.Unmarshal(body, &a); err != nil {
			t.Fatal(err)
		}
		items, err := json.Marshal(a.Output)
		if err != nil {
			t.Fatal(err)
		}
		req, err := convtest.DecodeRequest(responsesCodec, llm.OpGenerate, []byte(`{"model":"m","input":`+string(items)+`}`))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := &llm.Response{Choices: []llm.Choice{{Parts: req.Messages[0].Parts, Stop: llm.Stop{Reason: llm.StopCalls}}}}
		if d := convtest.DiffAnswers(r, got); d != "" || len(req.Messages) != 1 {
			t.Errorf("%s (-said +echoed):\n%s", what, d)
		}
	}
}

// A carrier that was damaged, or whose part is gone, is reported and goes nowhere.
func TestResponsesDamagedCarriersAreLost(t *testing.T) {
	t.Parallel()
	good := carrier.Encode(carrier.Next, &llm.Seal{Origin: llm.Gemini, Data: []byte("CvcB")})
	for why, input := range map[string]string{
		"damaged":     `{"type":"reasoning","summary":[],"encrypted_content":"` + good[:len(good)-6] + `"}`,
		"part gone":   `{"type":"reasoning","summary":[],"encrypted_content":"` + good + `"}`,
		"two in turn": `{"type":"reasoning","summary":[],"encrypted_content":"` + good + `"},{"type":"reasoning","summary":[],"encrypted_content":"` + good + `"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"1"}`,
	} {
		req, err := convtest.DecodeRequest(responsesCodec, llm.OpGenerate, []byte(`{"model":"m","input":[{"role":"user","content":"x"},`+input+`]}`))
		if err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		enc, err := openai.ResponsesBackend{}.EncodeRequest(req, providerOptions)
		if err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		if strings.Contains(string(enc.Body.Bytes()), good[:8]) || len(enc.Losses) == 0 || enc.Losses[0].Reason != llm.LostForeign {
			t.Errorf("%s: losses %v\n%s", why, enc.Losses, enc.Body.Bytes())
		}
	}
}

// higress-group/higress #3841, BerriAI/litellm #29733: encrypted reasoning sent to another account.
func TestResponsesEncryptedReasoningStaysWithItsAccount(t *testing.T) {
	t.Parallel()
	back := openai.ResponsesBackend{}
	r, err := back.DecodeResponse(llm.OpGenerate, []byte(`{"id":"resp_1","status":"completed","output":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"x"}]}]}`), dialect.DecodeOptions{Scope: "acct-1"})
	if err != nil {
		t.Fatal(err)
	}
	req := &llm.Request{From: llm.AnthropicMessages, Op: llm.OpGenerate, Messages: []llm.Message{
		{Role: llm.RoleAssistant, Parts: r.Choices[0].Parts}, {Role: llm.RoleUser, Parts: words(llm.Part{Text: "y"})},
	}}
	for scope, want := range map[string]bool{"acct-1": true, "acct-2": false} {
		enc, err := back.EncodeRequest(req, dialect.EncodeOptions{Model: "m", Scope: scope})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(enc.Body.Bytes()), `"encrypted_content":"gAAA"`); got != want || want == (len(enc.Losses) > 0) {
			t.Errorf("%s: sent %v, losses %v", scope, got, enc.Losses)
		}
	}
}
