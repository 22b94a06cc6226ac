package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// long is a conversation of 100 KB: turns, calls with large arguments, large results.
func long(from llm.Dialect) *llm.Request {
	r := &llm.Request{From: from, Op: llm.OpGenerate, Model: "m", MaxOutput: llm.Some(int64(1000)), Tools: []llm.Tool{{Name: "grep", Schema: llm.Raw(`{"type":"object"}`), At: "/tools/0"}}}
	text := func(n int) []llm.Part {
		return []llm.Part{{Kind: llm.PartText, Text: fmt.Sprintf("%d: ", n) + strings.Repeat("長い文章 \"and\" so on\n", 60)}}
	}
	for i := range 24 {
		id := fmt.Sprintf("call_%d", i)
		args := `{"pattern":"` + strings.Repeat(`\"x\"`, 100) + `"}`
		r.Messages = append(r.Messages,
			llm.Message{Role: llm.RoleUser, Parts: text(i)},
			llm.Message{Role: llm.RoleAssistant, Parts: append(text(i), llm.Part{Kind: llm.PartCall, ID: id, Name: "grep", Text: args})},
			llm.Message{Role: llm.RoleTool, Parts: []llm.Part{{Kind: llm.PartResult, ID: id, Name: "grep", Content: text(i)}}},
		)
	}
	return r
}

// A long conversation is the same at every provider, from every client.
func TestLongInputIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	for _, client := range codecs() {
		want := long(client.Dialect)
		first, err := client.Provider.EncodeRequest(want, dialect.EncodeOptions{Model: "m"})
		if err != nil {
			t.Fatal(err)
		}
		body := first.Body.Bytes()
		if len(body) < 100<<10 {
			t.Fatalf("only %d bytes", len(body))
		}
		r, err := convtest.DecodeRequest(client, llm.OpGenerate, body)
		if err != nil {
			t.Fatal(err)
		}
		for _, provider := range codecs() {
			enc, err := provider.Provider.EncodeRequest(r, dialect.EncodeOptions{Model: "m"})
			if err != nil || len(enc.Losses) > 0 {
				t.Errorf("%s to %s: %v %v", client.Dialect, provider.Dialect, err, enc.Losses)
				continue
			}
			got, err := convtest.DecodeRequest(provider, llm.OpGenerate, enc.Body.Bytes())
			if err != nil {
				t.Errorf("%s to %s: %v", client.Dialect, provider.Dialect, err)
				continue
			}
			for _, x := range [...]*llm.Request{r, got} { // what one side says by default
				for i := range x.Tools {
					x.Tools[i].Strict = llm.Opt[bool]{}
				}
				x.Store = llm.Opt[bool]{}
				x.Parts(func(p *llm.Part) { p.Seal = nil })
			}
			if d := convtest.DiffRequests(r, got); d != "" {
				t.Errorf("%s to %s:\n%.2000s", client.Dialect, provider.Dialect, d)
			}
		}
	}
}

// What a gateway lost in our trial (Portkey 1.15.2, protocols.md 3): thoughts were not counted, calls
// ended with stop, only the first system message was kept, and Anthropic's max_tokens was not filled in.
func TestWhatAnotherGatewayLost(t *testing.T) {
	t.Parallel()
	chat := codec(llm.OpenAIChat)
	r, err := convtest.DecodeRequest(chat, llm.OpGenerate, []byte(`{"model":"m","messages":[{"role":"system","content":"One."},{"role":"user","content":"x"},{"role":"system","content":"Two."}]}`))
	if err != nil {
		t.Fatal(err)
	}
	enc, err := codec(llm.AnthropicMessages).Provider.EncodeRequest(r, dialect.EncodeOptions{Model: "m", MaxOutput: 8192})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"One."`, `"Two."`, `"max_tokens":8192`} {
		if !strings.Contains(string(enc.Body.Bytes()), want) {
			t.Errorf("%s is missing in %s", want, enc.Body.Bytes())
		}
	}
	whole, err := codec(llm.Gemini).Provider.DecodeResponse(llm.OpGenerate, []byte(`{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":3,"thoughtsTokenCount":40,"totalTokenCount":48}}`), dialect.DecodeOptions{ID: convtest.RequestID})
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := chat.Client.EncodeResponse(whole, convtest.Answer(llm.OpenAIChat, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"completion_tokens":43`, `"reasoning_tokens":40`, `"finish_reason":"tool_calls"`} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%s is missing in %s", want, body)
		}
	}
}
