package node_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// sink is a provider that reads a body to its end without keeping it, and says one word.
func sink(t *testing.T, d llm.Dialect, read *int64) *httptest.Server {
	answer := map[llm.Dialect]string{
		llm.OpenAIChat:        `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"seen"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`,
		llm.OpenAIResponses:   `{"id":"resp_1","object":"response","status":"completed","model":"m","output":[{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"text":"seen"}]}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}`,
		llm.AnthropicMessages: `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"seen"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}`,
		llm.Gemini:            `{"candidates":[{"content":{"role":"model","parts":[{"text":"seen"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}`,
	}[d]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Error(err)
		}
		*read = n
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s
}

// 40 screenshots, 28 MB of base64, through edge and exit in one process to every kind of provider: all
// that is allocated on the way, freed or not, is at most half as much again as the body (peers.md 4, row
// 31: envoyproxy/ai-gateway #827, kortix-ai/suna #6831, envoyproxy/envoy #40028).
func TestLargeBodiesExistOnce(t *testing.T) {
	shot := strings.Repeat("QUJD", 700<<10/4)
	var b strings.Builder
	b.WriteString(`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"What do you see?"}`)
	for range 40 {
		b.WriteString(`,{"type":"image_url","image_url":{"url":"data:image/png;base64,` + shot + `"}}`)
	}
	b.WriteString(`]}]}`)
	body := b.String()
	for _, d := range llm.Dialects {
		t.Run(string(d), func(t *testing.T) {
			var read int64
			provider := sink(t, d, &read)
			r := newRig(t, func(v *api.NodeView) {
				only(d)(v)
				v.Providers[0].BaseURL = provider.URL
			})
			r.serve(64 << 20)
			r.post("/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"warm up"}]}`)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			a := r.post("/v1/chat/completions", body)
			runtime.ReadMemStats(&after)
			if a.status != 200 || !strings.Contains(a.body, "seen") || read < int64(40*len(shot)) {
				t.Fatalf("%d %.300s, the provider read %d bytes", a.status, a.body, read)
			}
			if got := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(body)); got > 1.5 {
				t.Errorf("%.2f times the body was allocated", got)
			} else {
				t.Logf("%.2f times the body", got)
			}
		})
	}
}
