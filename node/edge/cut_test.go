package edge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
)

// Providers of streams that are cut here: what they send before, a text of the answer, and their end.
var cutStreams = []struct {
	dialect, model string
	before         []string
	text           func(s string) string
	after          string
	stops          int   // from so many on the provider does not take them
	input          int64 // that it states before the end
}{
	{
		"openai-responses", "gpt-4.1",
		[]string{
			sseEvent("response.created", `{"type":"response.created","response":{"id":"resp_1","model":"x","status":"in_progress","output":[]}}`),
			sseEvent("response.output_item.added", `{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"msg_1","role":"assistant","status":"in_progress","content":[]}}`),
			sseEvent("response.content_part.added", `{"type":"response.content_part.added","item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}`),
		},
		func(s string) string {
			return sseEvent("response.output_text.delta", `{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"`+s+`"}`)
		},
		sseEvent("response.completed", `{"type":"response.completed","response":{"id":"resp_1","status":"completed","model":"x","output":[],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}}`),
		1, 0,
	},
	{
		"openai-chat", "gpt-4.1", nil,
		func(s string) string {
			return `data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"` + s + `"},"finish_reason":null}]}` + "\n\n"
		},
		`data: {"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}` + "\n\ndata: [DONE]\n\n",
		5, 0,
	},
	{
		"gemini", "gemini-2.5-flash", nil,
		func(s string) string {
			return `data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"` + s + `"}]}}],"usageMetadata":{"promptTokenCount":21}}` + "\n\n"
		},
		`data: {"candidates":[{"index":0,"content":{"parts":[{"text":""}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":21,"candidatesTokenCount":5}}` + "\n\n",
		6, 21,
	},
}

// Clients that can ask for stop sequences (Responses cannot), and how they are told of the usage.
var cutClients = []struct {
	dialect    llm.Dialect
	path, body string // MAX and STOPS stand for values
	usage      string // input and output
}{
	{
		llm.OpenAIChat, "/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":MAX,"stop":STOPS,"messages":[{"role":"user","content":"hi"}]}`,
		`"usage":{"prompt_tokens":%d,"completion_tokens":%d,`,
	},
	{
		llm.AnthropicMessages, "/v1/messages", `{"model":"m","stream":true,"max_tokens":MAX,"stop_sequences":STOPS,"messages":[{"role":"user","content":"hi"}]}`,
		`"usage":{"input_tokens":%d,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":%d`,
	},
	{
		llm.Gemini, "/v1beta/models/m:streamGenerateContent?alt=sse", `{"generationConfig":{"maxOutputTokens":MAX,"stopSequences":STOPS},"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`,
		`"usageMetadata":{"promptTokenCount":%d,"candidatesTokenCount":%d,`,
	},
	{
		llm.Gemini, "/v1beta/models/m:streamGenerateContent", `{"generationConfig":{"maxOutputTokens":MAX,"stopSequences":STOPS},"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`,
		`"usageMetadata":{"promptTokenCount":%d,"candidatesTokenCount":%d,`,
	},
}

// A stream that is cut here ends before its provider says what it used: what was generated is counted,
// settled and shown to the client, never more than had been reserved.
func TestCutStreamIsEstimated(t *testing.T) {
	asked := meter.Request(&llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartText, Text: "hi"}}}}})
	for _, p := range cutStreams {
		for _, c := range cutClients {
			if p.dialect == string(c.dialect) {
				continue
			}
			t.Run(c.path+" to "+p.dialect, func(t *testing.T) {
				stops := `["END"` + strings.Repeat(`,"never"`, p.stops-1) + `]`
				body := func(most string) string { return strings.NewReplacer("STOPS", stops, "MAX", most).Replace(c.body) }
				model := state.Model{Targets: []state.Target{{Model: p.model}}}
				o := newOneProvider(t, state.Provider{Dialects: []string{p.dialect}, BaseURL: "https://vendor.example/v1"}, model, 6000)
				o.reply = "text/event-stream"
				input := p.input
				if input == 0 {
					input = asked
				}
				check := func(why string, output int64, kind UsageKind, mark string) {
					t.Helper()
					got := o.outcome
					if want := (llm.Usage{Input: input, Output: output}); o.status != 200 || got.Fault != nil || got.Usage != want || got.UsageKind != kind {
						t.Errorf("%s: %d, fault %v, usage %+v (%s), want %+v (%s)", why, o.status, got.Fault, got.Usage, got.UsageKind, want, kind)
					}
					if told := fmt.Sprintf(c.usage, input, output); !strings.Contains(o.written.String(), told) {
						t.Errorf("%s: the client is not told %s:\n%s", why, told, o.written.String())
					}
					if h := o.head.Get(estimated); h != mark {
						t.Errorf("%s: marked %q, want %q", why, h, mark)
					}
				}
				stream := func(texts ...string) []string {
					chunks := append([]string(nil), p.before...)
					for _, s := range texts {
						chunks = append(chunks, p.text(s))
					}
					return append(chunks, p.after)
				}
				o.chunks = stream("one E", "N", "D two", " three")
				for range 4 { // each could have used most of the limit
					o.post(c.path, body("4000"), "anthropic-version", "2023-06-01")
					check("late", meter.Count("one END two"), UsageEstimated, "") // the headers have gone
				}
				o.chunks = stream("one END", " two")
				o.post(c.path, body("4000"), "anthropic-version", "2023-06-01")
				check("at once", meter.Count("one END"), UsageEstimated, "tokens")
				long := strings.Repeat("all of it ", 100)
				o.chunks = stream("one", long+"END")
				o.post(c.path, body("16"), "anthropic-version", "2023-06-01")
				check("too long", meter.EstimateBody([]byte(body("16")), 16)-input, UsageEstimated, "")
				o.chunks = o.chunks[:len(o.chunks)-1] // nothing follows the text: the exit has its count by then
				o.post(c.path, body("4000"), "anthropic-version", "2023-06-01")
				input = 10
				check("at the end", 5, UsageMeasured, "")
			})
		}
	}
}

// Who leaves in the middle of an answer has used nobody knows how much of what was reserved.
func TestLeavingCountsAllReserved(t *testing.T) {
	p, c := cutStreams[0], cutClients[1]
	o := newOneProvider(t, state.Provider{Dialects: []string{p.dialect}, BaseURL: "https://vendor.example/v1"}, state.Model{Targets: []state.Target{{Model: p.model}}}, 6000)
	o.reply, o.chunks, o.gone = "text/event-stream", append(append([]string(nil), p.before...), p.text("one"), p.after), true
	body := strings.NewReplacer("STOPS", `["END"]`, "MAX", "4000").Replace(c.body)
	if o.post(c.path, body, "anthropic-version", "2023-06-01"); !o.closed || o.outcome.Fault == nil || o.outcome.UsageKind != UsageWorst {
		t.Errorf("closed %t, fault %v, usage %s", o.closed, o.outcome.Fault, o.outcome.UsageKind)
	}
	o.gone = false
	if o.post(c.path, body, "anthropic-version", "2023-06-01"); o.status != 429 {
		t.Errorf("the rest of the limit is not enough, and the next request gets %d", o.status)
	}
}

func sseEvent(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }
