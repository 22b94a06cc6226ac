package anthropic_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/anthropic"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// longStream is an answer of thinking, text and two calls, 200 deltas in all.
func longStream() []byte {
	frames := []string{opened}
	add := func(i int, start, kind, member, piece string) {
		frames = append(frames, blockStart(i, start))
		for range 50 {
			frames = append(frames, blockDelta(i, `{"type":"`+kind+`","`+member+`":`+dialect.Quote(piece)+`}`))
		}
		frames = append(frames, blockStop(i))
	}
	add(0, `{"type":"thinking","thinking":"","signature":""}`, "thinking_delta", "thinking", " let me see")
	add(1, `{"type":"text","text":""}`, "text_delta", "text", " a \"word\"\n")
	add(2, `{"type":"tool_use","id":"t1","name":"f","input":{}}`, "input_json_delta", "partial_json", `"k":1,`)
	add(3, `{"type":"tool_use","id":"t2","name":"g","input":{}}`, "input_json_delta", "partial_json", `日本`)
	return stream(append(frames, stopped("tool_use"), closed)...)
}

// agentBody is a request of an agent in the middle of its work, of some size bytes.
func agentBody(size int) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"m","max_tokens":8000,"stream":true,"system":[{"type":"text","text":` + dialect.Quote(strings.Repeat("You are careful.\n", 200)) + `,"cache_control":{"type":"ephemeral"}}],"tools":[`)
	for i := range 15 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"tool_%d","description":"Does a thing of kind %d.","input_schema":{"type":"object","properties":{"path":{"type":"string","description":"where"},"n":{"type":"integer"}},"required":["path"]}}`, i, i)
	}
	b.WriteString(`],"messages":[{"role":"user","content":"Fix the bug."}`)
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `,{"role":"assistant","content":[{"type":"text","text":"I read file %d."},{"type":"tool_use","id":"toolu_%d","name":"tool_1","input":{"path":"/src/%d.go","n":%d}}]}`, i, i, i, i)
		fmt.Fprintf(&b, `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_%d","content":%s}]}`, i, dialect.Quote(strings.Repeat("func main() {\n\treturn \"x\"\n}\n", 40)))
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

func TestAllocationsPerEvent(t *testing.T) {
	convtest.CheckAllocs(t, anthropic.Backend{}, anthropic.Frontend{}, llm.AnthropicMessages, longStream())
}

func BenchmarkStream(b *testing.B) {
	convtest.BenchStream(b, anthropic.Backend{}, anthropic.Frontend{}, llm.AnthropicMessages, longStream())
}

func convert(t testing.TB, body []byte) dialect.Encoded {
	r, err := anthropic.Frontend{}.DecodeRequest(llm.OpGenerate, body, dialect.Head{})
	if err == nil {
		err = dialect.Check(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	enc, err := anthropic.Backend{}.EncodeRequest(r, upstream)
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

func BenchmarkRequest100KB(b *testing.B) {
	body := agentBody(100 << 10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		convert(b, body)
	}
}

// What pass-through costs of a request: one scan, and the model's name changed.
func BenchmarkPeekAndSplice100KB(b *testing.B) {
	body := agentBody(100 << 10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		h, err := anthropic.Frontend{}.Peek(llm.OpGenerate, body)
		if err != nil {
			b.Fatal(err)
		}
		edits := anthropic.Backend{}.Splice(llm.OpGenerate, h, "another-model")
		if n, err := splice.NewReader(body, edits).WriteTo(io.Discard); err != nil || n <= int64(len(body)) {
			b.Fatal(n, err)
		}
	}
}

// envoyproxy/ai-gateway #827, kortix-ai/suna #6831: large bodies of screenshots; base64 exists once in
// memory, however often a request is converted.
func TestImagesAreNotCopied(t *testing.T) {
	image := bytes.Repeat([]byte("QUJD"), 700<<10/4)
	var body bytes.Buffer
	body.WriteString(`{"model":"m","max_tokens":8000,"messages":[{"role":"user","content":[`)
	const n = 40
	for i := range n {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"%s"}}`, image)
	}
	body.WriteString(`]}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	enc := convert(t, body.Bytes())
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(body.Len()/20) {
		t.Errorf("%d bytes allocated for a body of %d", got, body.Len())
	}
	if enc.Body.Len() < n*len(image) {
		t.Errorf("body of %d bytes", enc.Body.Len())
	}
}
