package gemini_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

func TestPeek(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why, body string
		max, n    int64
	}{
		{"nothing stated", `{"contents":[]}`, 0, 1},
		{"camel case", `{"generationConfig":{"maxOutputTokens":100,"candidateCount":2}}`, 100, 2},
		{"snake case is the same field in proto-JSON", `{"generation_config":{"max_output_tokens":100,"candidate_count":2}}`, 100, 2},
		{"numbers may be strings in proto-JSON", `{"generationConfig":{"maxOutputTokens":"100"}}`, 100, 1},
		{"null", `{"generationConfig":null}`, 0, 1},
		{"elsewhere it does not count", `{"contents":[{"generationConfig":{"maxOutputTokens":9}}]}`, 0, 1},
	}
	for _, tt := range tests {
		h, err := gemini.Frontend{}.Peek(llm.OpGenerate, []byte(tt.body))
		if err != nil || h.MaxOutput != tt.max || h.Choices != tt.n || h.Model != "" {
			t.Errorf("%s: %+v %v", tt.why, h, err)
		}
	}
	refused := []struct{ why, body string }{
		{"both spellings: which one counts is anyone's guess", `{"generationConfig":{},"generation_config":{}}`},
		{"both spellings inside", `{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":100000}}`},
		{"duplicate", `{"contents":[],"contents":[]}`},
		{"fraction", `{"generationConfig":{"maxOutputTokens":1.5}}`},
		{"words", `{"generationConfig":{"maxOutputTokens":"many"}}`},
		{"model is an object", `{"model":{}}`},
	}
	for _, tt := range refused {
		if _, err := (gemini.Frontend{}).Peek(llm.OpGenerate, []byte(tt.body)); fault.As(err) == nil || fault.As(err).Kind != fault.Malformed {
			t.Errorf("%s: %v", tt.why, err)
		}
	}
}

// The path names the model that was authorised: no model in the body may differ from it upstream.
func TestEveryModelInTheBodyIsOverwritten(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why        string
		op         llm.Op
		body, want string
	}{
		{"none", llm.OpGenerate, `{"contents":[]}`, `{"contents":[]}`},
		{"generate", llm.OpGenerate, `{"model":"models/evil","contents":[]}`, `{"model":"models/up","contents":[]}`},
		{"embed", llm.OpEmbed, `{"content":{},"model":"models/text"}`, `{"content":{},"model":"models/up"}`},
		{
			"batch, as the SDK sends it", llm.OpEmbedBatch, `{"requests":[{"model":"models/a","content":{}},{"content":{"model":"x"}},{"model":"models/b"}],"model":"c"}`,
			`{"requests":[{"model":"models/up","content":{}},{"content":{"model":"x"}},{"model":"models/up"}],"model":"models/up"}`,
		},
		{"count", llm.OpCountTokens, `{"generateContentRequest":{"model":"models/a","contents":[]}}`, `{"generateContentRequest":{"model":"models/up","contents":[]}}`},
		{"count, snake case", llm.OpCountTokens, `{"generate_content_request":{"model":"a"}}`, `{"generate_content_request":{"model":"models/up"}}`},
		{"the same name: the same bytes", llm.OpEmbed, `{"model" : "models/up"}`, `{"model" : "models/up"}`},
	}
	for _, tt := range tests {
		h, err := gemini.Frontend{}.Peek(tt.op, []byte(tt.body))
		if err != nil {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		edits := gemini.Backend{}.Splice(tt.op, h, "up")
		if !splice.Valid(len(tt.body), edits) {
			t.Errorf("%s: edits %v", tt.why, edits)
			continue
		}
		if got := string(splice.Apply([]byte(tt.body), edits)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.why, got, tt.want)
		}
	}
}

func TestTapNotes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why, data string
		want      dialect.Note
	}{
		{"text", `{"candidates":[{"content":{"parts":[{"text":"x"}],"role":"model"},"index":0}]}`, dialect.NoteContent},
		{"empty text", `{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"}}]}`, 0},
		{"thought", `{"candidates":[{"content":{"parts":[{"thought":true,"text":"hm"}]}}]}`, dialect.NoteContent},
		{"call", `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}}]},"finishReason":"STOP"}]}`, dialect.NoteContent | dialect.NoteTerminal},
		{"a late frame with a signature only", `{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"AB=="}]},"finishReason":"STOP"}]}`, dialect.NoteContent | dialect.NoteTerminal},
		{"finish without content (SAFETY)", `{"candidates":[{"finishReason":"SAFETY"}]}`, dialect.NoteTerminal},
		{"finish without parts (MAX_TOKENS while thinking)", `{"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS"}]}`, dialect.NoteTerminal},
		{"prompt blocked", `{"promptFeedback":{"blockReason":"SAFETY"}}`, dialect.NoteTerminal},
		{"prompt not blocked", `{"promptFeedback":{"safetyRatings":[]}}`, 0},
		{"usage first", `{"usageMetadata":{"promptTokenCount":3}}`, 0},
		{"error", `{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}`, dialect.NoteError},
		{"no JSON", `oops`, dialect.NoteContent},
	}
	for _, tt := range tests {
		tap := gemini.Backend{}.NewTap(llm.OpGenerate)
		if got := tap.Event("", []byte(tt.data)); got != tt.want {
			t.Errorf("%s: note %d, want %d", tt.why, got, tt.want)
		}
		if tt.want == dialect.NoteError && tap.Fault().Kind != fault.UpstreamOverload {
			t.Errorf("%s: fault %v", tt.why, tap.Fault())
		}
	}
}

// The model writes call arguments freely: they must not be able to state the bill.
func TestUsageInArgumentsIsNotUsage(t *testing.T) {
	t.Parallel()
	tap := gemini.Backend{}.NewTap(llm.OpGenerate)
	tap.Event("", []byte(`{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"usageMetadata":{"promptTokenCount":0}},"name":"f"}}]}}],"usageMetadata":{"promptTokenCount":10,"toolUsePromptTokenCount":5,"cachedContentTokenCount":4,"candidatesTokenCount":3,"thoughtsTokenCount":2}}`))
	tap.Event("", []byte(`{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"usageMetadata":{"promptTokenCount":0}}}}]}}]}`))
	got, ok := tap.Usage()
	if d := cmp.Diff(llm.Usage{Input: 15, Cached: 4, Output: 5, Reasoning: 2}, got); d != "" || !ok {
		t.Errorf("stated %t (-want +got):\n%s", ok, d)
	}
}

type ev struct{ Data, Raw string }

func scan(limit int, cuts ...[]byte) ([]ev, error) {
	s := gemini.NewArrayScanner(limit)
	var out []ev
	var window []byte
	for _, c := range cuts {
		window = append(window[:0], c...)
		s.Feed(window)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			out = append(out, ev{string(e.Data), string(e.Raw)})
		}
		for i := range window {
			window[i] = 'X'
		}
	}
	if e, ok := s.End(); ok {
		out = append(out, ev{string(e.Data), string(e.Raw)})
	}
	return out, s.Err()
}

func TestArrayScanner(t *testing.T) {
	t.Parallel()
	in := "[{\n \"a\": \"]}\\\"[{\"\n}\n,\r\n{\"b\":[[{}]]}\n]\n"
	want := []ev{
		{"{\n \"a\": \"]}\\\"[{\"\n}", "[{\n \"a\": \"]}\\\"[{\"\n}"},
		{`{"b":[[{}]]}`, "\n,\r\n{\"b\":[[{}]]}"},
		{"", "\n]\n"},
	}
	got, err := scan(0, []byte(in))
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("err %v (-want +got):\n%s", err, d)
	}
	if _, err := scan(10, []byte(in)); fault.As(err) == nil || fault.As(err).Kind != fault.UpstreamProtocol {
		t.Errorf("oversized element: %v", err)
	}
}

// FuzzArrayScanner: cuts do not matter, no byte is lost, and a JSON array of objects gives its elements.
func FuzzArrayScanner(f *testing.F) {
	f.Add([]byte(`[{"a":1},{"b":"]"}]`), uint64(1))
	f.Add([]byte("[\n{}\n,\r\n{\"x\":[{}]}]\n"), uint64(2))
	f.Add([]byte(`]}{[`), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		whole, _ := scan(1<<16, in)
		r := rand.New(rand.NewPCG(seed, 2))
		var cuts [][]byte
		for rest := in; len(rest) > 0; {
			n := 1 + r.IntN(min(len(rest), 7))
			cuts = append(cuts, rest[:n])
			rest = rest[n:]
		}
		cut, _ := scan(1<<16, cuts...)
		if d := cmp.Diff(whole, cut); d != "" {
			t.Fatalf("(-whole +cut):\n%s", d)
		}
		var raw bytes.Buffer
		var data []string
		for _, e := range whole {
			raw.WriteString(e.Raw)
			if e.Data != "" {
				data = append(data, e.Data)
			}
		}
		if !bytes.Equal(raw.Bytes(), in) && len(in) < 1<<16 {
			t.Fatalf("raw %q is not %q", raw.Bytes(), in)
		}
		var elements []json.RawMessage
		if json.Unmarshal(in, &elements) != nil {
			return
		}
		var want []string
		for _, e := range elements {
			if e[0] == '{' || e[0] == '[' {
				want = append(want, string(e))
			}
		}
		if d := cmp.Diff(want, data); d != "" {
			t.Fatalf("elements (-want +got):\n%s", d)
		}
	})
}

var frame = []byte(`{"candidates": [{"content": {"parts": [{"text": " is 15 degrees with a wind of 10 km/h. It may rain later today, so take an umbrella."}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 233,"candidatesTokenCount": 21,"totalTokenCount": 254,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 233}],"serviceTier": "standard"},"modelVersion": "gemini-2.5-flash","responseId": "VL-Fao_BIOTbvdIPyZ3HiAQ"}`)

func TestTapDoesNotAllocate(t *testing.T) {
	tap := gemini.Backend{}.NewTap(llm.OpGenerate)
	if n := testing.AllocsPerRun(100, func() { tap.Event("", frame) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTap(b *testing.B) {
	tap := gemini.Backend{}.NewTap(llm.OpGenerate)
	b.ReportAllocs()
	for b.Loop() {
		tap.Event("", frame)
	}
}
