package openai_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// longResponses is a stream of text and arguments as OpenAI cuts it.
func longResponses() []byte {
	objects := []string{evCreated, `{"type":"response.output_item.added","item":{"id":"msg_00d64fa806f333310169fab1bf324481a0852cda3180856290","type":"message","status":"in_progress","content":[],"role":"assistant"},"output_index":0,"sequence_number":2}`}
	for i := range 200 {
		objects = append(objects, fmt.Sprintf(`{"type":"response.output_text.delta","content_index":0,"delta":" token","item_id":"msg_00d64fa806f333310169fab1bf324481a0852cda3180856290","logprobs":[],"obfuscation":"ReLAoBL6oNRs","output_index":0,"sequence_number":%d}`, i))
	}
	objects = append(objects, `{"type":"response.output_item.done","item":{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"`+strings.Repeat(" token", 200)+`"}],"role":"assistant"},"output_index":0}`,
		`{"type":"response.output_item.added","item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_1","name":"f"},"output_index":1}`)
	for range 100 {
		objects = append(objects, `{"type":"response.function_call_arguments.delta","delta":" ","item_id":"fc_1","obfuscation":"ReLAoBL6oNRsXA","output_index":1,"sequence_number":3}`)
	}
	return frames(append(objects, `{"type":"response.output_item.done","item":{"id":"fc_1","type":"function_call","status":"completed","arguments":"`+strings.Repeat(" ", 100)+`","call_id":"call_1","name":"f"},"output_index":1}`, evCompleted)...)
}

// longChat is the same kind of stream from a chat provider.
func longChat() []byte {
	var b strings.Builder
	b.WriteString(`data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n")
	for range 300 {
		b.WriteString(`data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}` + "\n\n")
	}
	b.WriteString(`data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n")
	return []byte(b.String())
}

func TestResponsesStreamAllocations(t *testing.T) {
	convtest.CheckAllocs(t, openai.ResponsesBackend{}, openai.Responses{}, llm.OpenAIResponses, longResponses())
	convtest.CheckAllocs(t, openai.ChatBackend{}, openai.Responses{}, llm.OpenAIResponses, longChat())
	convtest.CheckAllocs(t, openai.ResponsesBackend{}, openai.Chat{}, llm.OpenAIChat, longResponses())
}

func BenchmarkResponsesStream(b *testing.B) {
	convtest.BenchStream(b, openai.ResponsesBackend{}, openai.Responses{}, llm.OpenAIResponses, longResponses())
}

func BenchmarkChatToResponsesStream(b *testing.B) {
	convtest.BenchStream(b, openai.ChatBackend{}, openai.Responses{}, llm.OpenAIResponses, longChat())
}

func BenchmarkResponsesToChatStream(b *testing.B) {
	convtest.BenchStream(b, openai.ResponsesBackend{}, openai.Chat{}, llm.OpenAIChat, longResponses())
}

// agentRequest is a Codex-like body of about 100 KB.
func agentRequest() []byte {
	var b strings.Builder
	b.WriteString(`{"model":"m","instructions":"` + strings.Repeat("Be careful. ", 800) + `","tools":[`)
	for i := range 15 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"function","name":"f%d","description":"does things","strict":false,"parameters":{"type":"object","properties":{"path":{"type":"string","description":"a path"},"n":{"type":"integer"}},"required":["path"]}}`, i)
	}
	b.WriteString(`],"input":[{"role":"user","content":"go"}`)
	for i := range 60 {
		fmt.Fprintf(&b, `,{"type":"function_call","call_id":"call_%d","name":"f1","arguments":"{\"path\":\"a/b.go\"}"},{"type":"function_call_output","call_id":"call_%d","output":%q}`, i, i, strings.Repeat("line of a file\n", 80))
	}
	b.WriteString(`],"stream":true,"store":false}`)
	return []byte(b.String())
}

func BenchmarkResponsesRequest100KB(b *testing.B) {
	body := agentRequest()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := convtest.DecodeRequest(responsesCodec, llm.OpGenerate, body)
		if err != nil {
			b.Fatal(err)
		}
		r.From = llm.AnthropicMessages
		if _, err := (openai.ResponsesBackend{}).EncodeRequest(r, dialect.EncodeOptions{Model: "m"}); err != nil {
			b.Fatal(err)
		}
	}
}
