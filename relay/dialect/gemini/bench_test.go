package gemini_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// longStream is a stream of 200 frames as the vendor sends them.
func longStream() []byte {
	fs := make([]string, 0, 200)
	for range 199 {
		fs = append(fs, string(frame))
	}
	return frames(append(fs, finish)...)
}

func TestEventAllocations(t *testing.T) {
	convtest.CheckAllocs(t, gemini.Backend{}, gemini.Frontend{}, llm.Gemini, longStream())
}

func BenchmarkEvent(b *testing.B) {
	convtest.BenchStream(b, gemini.Backend{}, gemini.Frontend{}, llm.Gemini, longStream())
}

// agentBody is a request of 100 KB as coding agents send them: long system text, twenty tools, forty
// turns with calls and results.
func agentBody() []byte {
	var b strings.Builder
	b.WriteString(`{"systemInstruction":{"parts":[{"text":"` + strings.Repeat("You are careful. ", 1500) + `"}]},"tools":[{"functionDeclarations":[`)
	for i := range 20 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"tool%d","description":"%s","parametersJsonSchema":{"type":"object","properties":{"path":{"type":"string","description":"where"}},"required":["path"]}}`, i, strings.Repeat("Reads. ", 40))
	}
	b.WriteString(`]}],"contents":[{"role":"user","parts":[{"text":"go"}]}`)
	for i := range 40 {
		fmt.Fprintf(&b, `,{"role":"model","parts":[{"text":"next"},{"functionCall":{"name":"tool1","args":{"path":"/a/%d"}},"thoughtSignature":"%s"}]}`, i, strings.Repeat("c2ln", 60))
		fmt.Fprintf(&b, `,{"role":"user","parts":[{"functionResponse":{"name":"tool1","response":{"output":"%s"}}}]}`, strings.Repeat(`line of code\n`, 90))
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

func BenchmarkDecodeRequest(b *testing.B) {
	body := agentBody()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (gemini.Frontend{}).DecodeRequest(llm.OpGenerate, body, dialect.Head{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeRequest(b *testing.B) {
	body := agentBody()
	r, err := convtest.DecodeRequest(codec, llm.OpGenerate, body)
	if err != nil {
		b.Fatal(err)
	}
	r.From = llm.OpenAIChat
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (gemini.Backend{}).EncodeRequest(r, dialect.EncodeOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
