package openai_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// FuzzChatRequest: whatever Peek accepts is refused as malformed or decodes to what encodes to valid
// JSON that decodes to the same.
func FuzzChatRequest(f *testing.F) {
	for _, s := range []string{
		`{"model":"m","messages":[{"role":"user","content":"x"}]}`,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"file","file":{"file_id":"a"}}]}],"stream":true,"stream_options":{"include_usage":true}}`,
		`{"model":"m","messages":[{"role":"assistant","reasoning_content":"r","reasoning_details":[{"type":"reasoning.text","text":"t","signature":"s"}],"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"tool_choice":"required"}`,
		`{"model":"m","messages":[{"role":"assistant","function_call":{"name":"f"}},{"role":"function","name":"f","content":"1"}],"functions":[{"name":"f"}],"function_call":{"name":"f"},"stop":["a"],"n":2}`,
		`{"model":"m","messages":[{"role":"system","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}},"metadata":{"a":"b"},"logit_bias":{"1":2},"user":"a","safety_identifier":"b"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := (openai.Chat{}).Peek(llm.OpGenerate, body); err != nil {
			return
		}
		r, err := convtest.DecodeRequest(chatCodec, llm.OpGenerate, body)
		if err != nil {
			if fault.As(err).Kind != fault.Malformed {
				t.Fatal(err)
			}
			return
		}
		for _, from := range []llm.Dialect{llm.OpenAIChat, llm.Gemini} {
			q := *r
			q.From = from
			e, err := openai.ChatBackend{}.EncodeRequest(&q, dialect.EncodeOptions{Model: "m"})
			if err != nil {
				if fault.As(err).Kind != fault.Unsupported {
					t.Fatal(err)
				}
				continue
			}
			out := e.Body.Bytes()
			if !jsontext.Value(out).IsValid() {
				t.Fatalf("not JSON: %s", out)
			}
			again, err := convtest.DecodeRequest(chatCodec, llm.OpGenerate, out)
			if err != nil && len(r.Messages) > 0 && from == llm.OpenAIChat && !emptyTurns(r) {
				t.Fatalf("our own request is refused: %v\n%s", err, out)
			}
			if err == nil && from == llm.OpenAIChat && len(again.Tools) != len(r.Tools) {
				t.Fatalf("tools lost: %s", out)
			}
		}
	})
}

// emptyTurns reports a request with messages that say nothing: they are left out.
func emptyTurns(r *llm.Request) bool {
	for i := range r.Messages {
		if len(r.Messages[i].Parts) == 0 {
			return true
		}
	}
	return false
}

// FuzzChatResponse: an answer is a fault or something that chat clients can be given.
func FuzzChatResponse(f *testing.F) {
	for _, s := range []string{
		`{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"a","refusal":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`,
		`{"choices":[{"message":{"content":[{"type":"thinking","thinking":"a"},{"type":"x"}],"audio":{"id":"a"},"images":[{"image_url":{"url":"data:image/png;base64,AAAA"}}],"annotations":[{"type":"url_citation","url_citation":{"url":"u"}}]},"logprobs":{"content":[{"token":"a"}]}}]}`,
		`{"error":{"message":"x"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := openai.ChatBackend{}.DecodeResponse(llm.OpGenerate, body, dialect.DecodeOptions{ID: "req"})
		if err != nil {
			if _, ok := errors.AsType[*fault.Error](err); !ok || fault.As(err).Kind == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		if err := convtest.Legal(r.Events(nil)); err != nil && len(r.Choices) > 0 {
			t.Fatal(err)
		}
		out, _, err := openai.Chat{}.EncodeResponse(r, convtest.Answer(llm.OpenAIChat, nil))
		if err == nil && !json.Valid(out) { // a provider's unknown members may hold duplicates
			t.Fatalf("not JSON: %s", out)
		}
	})
}

// FuzzChatEvents: any bytes give legal events, the same however they are cut, and a legal chat stream.
func FuzzChatEvents(f *testing.F) {
	f.Add(chunks(`"content":"Hi"`, startA, startB, argsA1, argsB, argsA2, "finish:tool_calls", "usage", "DONE"), 7)
	f.Add(chunks(`"reasoning":"a","reasoning_details":[{"type":"reasoning.text","text":"a","index":0}]`, `"refusal":"x"`, "finish:stop"), 3)
	f.Add(chunks(`"function_call":{"name":"f","arguments":"{}"}`, `frame:{"error":{"message":"x"}}`), 1)
	f.Add(chunks(`"images":[{"image_url":{"url":"data:image/png;base64,AAAA"}}],"audio":{"id":"x"}`, `"content":[{"type":"text","text":"x"}]`, "DONE"), 30)
	f.Add(chunks(`"images":[{}],"audio":{"":""},"content":"after the error"`), 30) // found by fuzzing
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		events, err := convtest.DecodeStream(openai.ChatBackend{}, stream)
		if err != nil {
			t.Fatal(err)
		}
		if cut > 0 && cut < len(stream) {
			other, err := convtest.DecodeStream(openai.ChatBackend{}, stream, cut)
			if err != nil || len(other) != len(events) {
				t.Fatalf("cut at %d: %d events, whole %d: %v", cut, len(other), len(events), err)
			}
		}
		out, _, err := convtest.EncodeStream(openai.Chat{}, convtest.Answer(llm.OpenAIChat, nil), events)
		if err != nil {
			return
		}
		s := sse.NewScanner(0)
		s.Feed(out)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			if string(e.Data) != "[DONE]" && !json.Valid(e.Data) {
				t.Fatalf("not JSON: %s", e.Data)
			}
		}
		back, err := convtest.DecodeStream(openai.ChatBackend{}, out)
		if err != nil {
			t.Fatalf("what we write is illegal: %v\n%s", err, out)
		}
		want, werr := llm.Collect(events)
		got, gerr := llm.Collect(back)
		if werr != nil || gerr != nil {
			if (werr == nil) != (gerr == nil) {
				t.Fatalf("failure %v became %v", werr, gerr)
			}
			return
		}
		if d := cmp.Diff(said(want), said(got)); d != "" {
			t.Fatalf("clients see something else (-want +got):\n%s\n%s", d, out)
		}
	})
}

// said is the text and the calls of an answer, invalid UTF-8 replaced as it is on the wire.
func said(r *llm.Response) []string {
	var out []string
	for _, c := range r.Choices {
		text, calls := "", ""
		for i := range c.Parts {
			switch p := &c.Parts[i]; p.Kind {
			case llm.PartText:
				text += p.Text
			case llm.PartCall:
				calls += " " + p.Name + "=" + p.Args()
			}
		}
		out = append(out, strings.ToValidUTF8(string([]rune(text+"|"+calls)), "\uFFFD"))
	}
	return out
}

// benchBody is a request of about 100 KB as agents send it.
func benchBody() []byte {
	var b bytes.Buffer
	b.WriteString(`{"model":"gpt-5","stream":true,"messages":[{"role":"system","content":` + dialect.Quote(strings.Repeat("You are an agent.\n", 400)) + `}`)
	for i := range 40 {
		fmt.Fprintf(&b, `,{"role":"user","content":%s},{"role":"assistant","content":null,"tool_calls":[{"id":"call_%d","type":"function","function":{"name":"read","arguments":"{\"path\":\"/src/main_%d.go\"}"}}]},{"role":"tool","tool_call_id":"call_%d","content":%s}`,
			dialect.Quote(strings.Repeat("fix \"it\" ", 20)), i, i, i, dialect.Quote(strings.Repeat("func main() {\n\treturn\n}\n", 70)))
	}
	b.WriteString(`],"tools":[`)
	for i := range 20 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"function","function":{"name":"tool_%d","description":"Does things","parameters":{"type":"object","properties":{"path":{"type":"string","description":"the path"},"n":{"type":"integer"}},"required":["path"]}}}`, i)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// BenchmarkChatRequest converts a 100 KB request; the budget is 2 ms.
func BenchmarkChatRequest(b *testing.B) {
	body := benchBody()
	h, err := openai.Chat{}.Peek(llm.OpGenerate, body)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		r, err := openai.Chat{}.DecodeRequest(llm.OpGenerate, body, h)
		if err != nil {
			b.Fatal(err)
		}
		if err := dialect.Check(r); err != nil {
			b.Fatal(err)
		}
		if _, err := (openai.ChatBackend{}).EncodeRequest(r, dialect.EncodeOptions{Model: "m"}); err != nil {
			b.Fatal(err)
		}
	}
}

// benchStreams are streams of some hundred events, as OpenAI sends them.
func benchStreams() map[string][]byte {
	frame := func(delta string) string {
		return `frame:{"id":"chatcmpl-abcdefghijklmnopqrstuvwxyz","object":"chat.completion.chunk","created":1795000000,"model":"gpt-5-2026-08-07","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{` + delta + `},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abcdefgh"}`
	}
	text, calls := []string{frame(`"role":"assistant","content":"","refusal":null`)}, []string{frame(startA), frame(startB)}
	thinking := []string{frame(`"role":"assistant","content":""`)}
	for i := range 300 {
		text = append(text, frame(`"content":" word"`))
		calls = append(calls, frame(fmt.Sprintf(`"tool_calls":[{"index":%d,"function":{"arguments":"\"x\","}}]`, i%2)))
		thinking = append(thinking, frame(`"reasoning_content":" hm","content":null`))
	}
	end := []string{"finish:stop", "usage", "DONE"}
	return map[string][]byte{"text": chunks(append(text, end...)...), "calls": chunks(append(calls, end...)...), "thinking": chunks(append(thinking, end...)...)}
}

// BenchmarkChatEvent converts streamed events; the budget is 3 us and 6 allocations each.
func BenchmarkChatEvent(b *testing.B) {
	for name, s := range benchStreams() {
		b.Run(name, func(b *testing.B) {
			convtest.BenchStream(b, openai.ChatBackend{}, openai.Chat{}, llm.OpenAIChat, s)
		})
	}
}

func TestChatAllocs(t *testing.T) {
	for name, s := range benchStreams() {
		t.Run(name, func(t *testing.T) { convtest.CheckAllocs(t, openai.ChatBackend{}, openai.Chat{}, llm.OpenAIChat, s) })
	}
}

// TestChatMediaMemory: 28 MB of base64 pictures are not copied (envoyproxy/envoy #40028,
// kortix-ai/suna #6831).
func TestChatMediaMemory(t *testing.T) {
	picture := strings.Repeat("A", 700<<10)
	var b bytes.Buffer
	b.WriteString(`{"model":"m","messages":[`)
	for i := range 40 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + picture + `"}}]}`)
	}
	b.WriteString(`]}`)
	body := b.Bytes()
	res := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			r, err := convtest.DecodeRequest(chatCodec, llm.OpGenerate, body)
			if err != nil {
				b.Fatal(err)
			}
			r.From = llm.AnthropicMessages
			if e, err := (openai.ChatBackend{}).EncodeRequest(r, dialect.EncodeOptions{Model: "m"}); err != nil || e.Body.Len() < 27<<20 {
				b.Fatal(e.Body.Len(), err)
			}
		}
	})
	if got := res.AllocedBytesPerOp(); got > int64(len(body))/4 {
		t.Errorf("%d bytes allocated for a body of %d", got, len(body))
	}
}

// TestChatRecordings: recorded answers of real providers decode, legally in any chunks, and what a
// chat client gets of them says the same.
func TestChatRecordings(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../../shared/data/recordings/openai/chat/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("recorded answers are not here (../shared/data/recordings): skipping")
	}
	seen := 0
	for _, name := range files {
		var rec struct {
			Status   int
			Stream   bool
			Request  struct{ Body json.RawMessage }
			Response struct{ Body json.RawMessage }
		}
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || json.Unmarshal(b, &rec) != nil {
			t.Fatal(name, err)
		}
		id := filepath.Base(name)
		if q := unwrap(rec.Request.Body); len(q) > 0 && q[0] == '{' {
			recordedRequest(t, id, q)
		}
		if rec.Status != 200 {
			continue
		}
		seen++
		body := unwrap(rec.Response.Body)
		var want *llm.Response
		if rec.Stream {
			want, err = llm.Collect(everyByte(t, body))
		} else {
			want, err = openai.ChatBackend{}.DecodeResponse(llm.OpGenerate, body, dialect.DecodeOptions{ID: convtest.RequestID})
		}
		if err != nil || want.Empty() || !want.HasUsage && !rec.Stream {
			t.Errorf("%s: %v, empty %v", id, err, want.Empty())
			continue
		}
		for i := range want.Choices[0].Parts { // ids that some provider refuses are escaped for all
			p := &want.Choices[0].Parts[i]
			if p.Kind == llm.PartCall {
				p.ID = carrier.ID(llm.OpenAIChat, p.ID)
			}
		}
		convtest.RoundTripResponse(t, chatCodec, want)
		convtest.RoundTripEvents(t, chatCodec, want.Events(nil))
	}
	if seen < 10 {
		t.Errorf("only %d recorded answers", seen)
	}
}

func unwrap(b json.RawMessage) []byte {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return b
	}
	if raw, err := base64.StdEncoding.DecodeString(s); err == nil && len(s) > 40 {
		return raw
	}
	return []byte(s)
}

func recordedRequest(t *testing.T, id string, body []byte) {
	t.Helper()
	r, err := convtest.DecodeRequest(chatCodec, llm.OpGenerate, body)
	if err != nil {
		t.Errorf("%s: request: %v", id, err)
		return
	}
	// Turns without content are left out.
	r.Messages = slices.DeleteFunc(r.Messages, func(m llm.Message) bool { return len(m.Parts) == 0 })
	convtest.RoundTripRequest(t, chatCodec, r, dialect.EncodeOptions{Model: "m"})
}

// everyByte decodes a stream whole and byte by byte.
func everyByte(t testing.TB, stream []byte) []llm.Event {
	t.Helper()
	want, err := convtest.DecodeStream(openai.ChatBackend{}, stream)
	if err != nil {
		t.Fatal(err)
	}
	cuts := make([]int, 0, len(stream))
	for i := 1; i < len(stream); i++ {
		cuts = append(cuts, i)
	}
	got, err := convtest.DecodeStream(openai.ChatBackend{}, stream, cuts...)
	if err != nil {
		t.Fatal(err)
	}
	var a, b strings.Builder
	for i := range want {
		a.WriteString(convtest.Dump(&want[i]))
	}
	for i := range got {
		b.WriteString(convtest.Dump(&got[i]))
	}
	if a.String() != b.String() {
		t.Fatalf("byte by byte says something else:\n%s", cmp.Diff(a.String(), b.String()))
	}
	return want
}
