package node_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// What providers send that is no regular answer, end to end through every pair of protocols.

// corpus gives a provider's recorded-like answer of the conversion corpus.
func corpus(t *testing.T, name string, d llm.Dialect) (unary, stream string) {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("..", "relay", "dialect", "registry", "testdata", "convert", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		switch f.Name {
		case "provider/" + string(d) + ".json":
			unary = string(f.Data)
		case "provider/" + string(d) + ".sse":
			stream = string(f.Data)
		}
	}
	return unary, stream
}

// scripted is a rig whose model m has two targets of dialect d: the first says what script writes, the
// second is the fake provider.
func scripted(t *testing.T, d llm.Dialect, script func(w io.Writer)) (r *rig, calls *int) {
	calls = new(int)
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		*calls++
		w.Header().Set("Content-Type", "text/event-stream")
		script(w)
	}))
	t.Cleanup(bad.Close)
	return newRig(t, func(v *api.NodeView) {
		only(d)(v)
		first := v.Providers[0]
		first.ID, first.BaseURL = "bad", bad.URL
		v.Providers = append(v.Providers, first)
		v.Models = []state.Model{
			{ID: "m", Targets: []state.Target{{Provider: "bad", Model: "gpt-4o"}, {Provider: "only", Model: "gpt-4o", Tier: 1}}},
			{ID: "lone", Targets: []state.Target{{Provider: "bad", Model: "gpt-4o"}}},
		}
	}), calls
}

// ask streams the usual question from a client of dialect d and reads the answer as that client does.
func (r *rig) ask(d llm.Dialect, model string) (text string, a answer, err error) {
	r.t.Helper()
	q := clientRequest[d]
	path := strings.Replace(strings.Replace(q.path, ":generateContent", ":streamGenerateContent?alt=sse", 1), "/m:", "/"+model+":", 1)
	body := strings.Replace(strings.Replace(q.body, "STREAM", q.stream, 1), `"model":"m"`, `"model":"`+model+`"`, 1)
	a = r.post(path, body, "anthropic-version", "2023-06-01")
	if a.status != 200 {
		return "", a, nil
	}
	p, _ := registry.Provider(d)
	events, err := convtest.DecodeStream(p, []byte(a.body))
	if err != nil {
		r.t.Errorf("%s: the client gets an illegal stream: %v\n%.2000s", d, err, a.body)
		return "", a, err
	}
	whole, err := llm.Collect(events)
	if err != nil {
		return "", a, err
	}
	for _, part := range whole.Choices[0].Parts {
		if part.Kind == llm.PartText {
			text += part.Text
		}
	}
	return text, a, nil
}

func pairs(t *testing.T, f func(t *testing.T, client, provider llm.Dialect)) {
	for _, provider := range llm.Dialects {
		for _, client := range llm.Dialects {
			t.Run(string(client)+" to "+string(provider), func(t *testing.T) { f(t, client, provider) })
		}
	}
}

// The forms that the SSE grammar allows, and some that it does not but that servers use, are read.
func TestStreamsInEveryFraming(t *testing.T) {
	shapes := map[string]func(s string) string{
		"CRLF": func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"CR":   func(s string) string { return strings.ReplaceAll(s, "\n", "\r") },
		"no space": func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(s, "data: ", "data:"), "event: ", "event:")
		},
		"BOM and comments": func(s string) string { return "\ufeff: hello\n\n" + strings.ReplaceAll(s, "\n\n", "\n\n: ping\n\n") },
		"other fields": func(s string) string {
			return strings.ReplaceAll(s, "data: ", "id: 7\nretry: 100\nx-unknown: y\ndata: ")
		},
		"no blank line after": func(s string) string { return strings.TrimRight(s, "\n") + "\n" },
	}
	pairs(t, func(t *testing.T, client, provider llm.Dialect) {
		if client == provider {
			t.Skip("bytes pass through as they are: TestEveryDialectPassesThrough")
		}
		_, stream := corpus(t, "text", provider)
		shape := ""
		r, _ := scripted(t, provider, func(w io.Writer) { _, _ = io.WriteString(w, shapes[shape](stream)) })
		for shape = range shapes {
			if text, a, err := r.ask(client, "lone"); err != nil || text != `こんにちは "hello"` {
				t.Errorf("%s: %q %v: %d\n%.600s", shape, text, err, a.status, a.body)
			}
		}
	})
}

// A stream that fails before its first content is asked for elsewhere, whatever opening events came
// (peers.md 4, row 18: maximhq/bifrost #5395, BerriAI/litellm #29808: "fallback does not fire when the
// error follows the first chunk"); so is one that ends regularly with nothing in it (row 34:
// QuantumNous/new-api #3275). With nobody else to ask the client gets a status, not a stream.
func TestFailureBeforeContentIsAskedElsewhere(t *testing.T) {
	pairs(t, func(t *testing.T, client, provider llm.Dialect) {
		_, failing := corpus(t, "error-stream", provider)
		_, empty := corpus(t, "empty", provider)
		if i := strings.Index(failing, "Half"); i > 0 { // the events before the first content, then the error
			begin := strings.LastIndex(failing[:i], "\n\n")
			failing = failing[:max(begin, 0)] + failing[i+strings.Index(failing[i:], "\n\n"):]
		}
		for name, script := range map[string]string{"error": failing, "empty": empty, "nothing": "", "no JSON": "data: {\n\n"} {
			if client == provider && (name == "empty" || name == "no JSON") {
				continue // what the client's own protocol says passes
			}
			r, calls := scripted(t, provider, func(w io.Writer) { _, _ = io.WriteString(w, script) })
			if text, a, err := r.ask(client, "m"); err != nil || text != "你好 mesh" || *calls != 1 {
				t.Errorf("%s: %q %v after %d calls: %d %.600s", name, text, err, *calls, a.status, a.body)
			}
			if _, a, _ := r.ask(client, "lone"); a.status < 502 || a.status > 504 {
				t.Errorf("%s, nobody else: %d %.600s", name, a.status, a.body)
			}
		}
	})
}

// After content nothing is replayed (row 19: apache/shenyu #6647, BerriAI/litellm PR 32835): the client
// gets its own protocol's error event and no regular end, however the provider's stream breaks.
func TestFailureAfterContentIsTheClientsErrorEvent(t *testing.T) {
	pairs(t, func(t *testing.T, client, provider llm.Dialect) {
		_, failing := corpus(t, "error-stream", provider)
		_, cut := corpus(t, "text", provider)
		cut = cut[:strings.Index(cut, "hello")-4] // inside the second piece of text
		bad := strings.Replace(failing, "Half", "Ha\xfflf", 1)
		for name, script := range map[string]string{"error": failing, "cut": cut, "invalid UTF-8": bad} {
			if client == provider && name == "invalid UTF-8" {
				continue // bytes pass
			}
			r, calls := scripted(t, provider, func(w io.Writer) { _, _ = io.WriteString(w, script) })
			text, a, err := r.ask(client, "m")
			switch {
			case name == "invalid UTF-8" && err == nil && text == "你好 mesh": // no content before it: asked elsewhere
			case err == nil || fault.As(err).Kind == fault.Unknown || *calls != 1:
				t.Errorf("%s: %q %v after %d calls: %d\n%.900s", name, text, err, *calls, a.status, a.body)
			}
			head := string(registry.Frontend(client).FaultEvent(fault.As(err), "")[:12])
			if at := strings.LastIndex(a.body, head); err != nil && (at < 1 || a.body[at-1] != '\n') {
				t.Errorf("%s: the error is no event of its own:\n%.900s", name, a.body)
			}
			if strings.Contains(a.body, "\xff") {
				t.Errorf("%s: invalid UTF-8 reaches the client", name)
			}
		}
	})
}

// endless writes an event of n bytes.
func endless(w io.Writer, n int) {
	_, _ = io.WriteString(w, "data: {\"x\":\"")
	piece := strings.Repeat("x", 64<<10)
	for range n / len(piece) {
		if _, err := io.WriteString(w, piece); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, "\"}\n\n")
}

// An event of 100 MB is a fault of the provider, found with memory for the largest allowed one.
func TestHugeEventsAreRefused(t *testing.T) {
	for _, tt := range []struct{ client, provider llm.Dialect }{
		{llm.AnthropicMessages, llm.OpenAIChat}, {llm.OpenAIChat, llm.OpenAIChat}, {llm.OpenAIResponses, llm.AnthropicMessages},
	} {
		t.Run(fmt.Sprintf("%s to %s", tt.client, tt.provider), func(t *testing.T) {
			r, calls := scripted(t, tt.provider, func(w io.Writer) { endless(w, 100<<20) })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, a, _ := r.ask(tt.client, "lone")
			runtime.ReadMemStats(&after)
			if a.status != fault.UpstreamProtocol.Info().Status || !strings.Contains(a.body, fault.UpstreamProtocol.Info().Code) {
				t.Errorf("%d %.300s", a.status, a.body)
			}
			// The exit and the edge each look for its end, and every attempt does that anew.
			if got, want := after.TotalAlloc-before.TotalAlloc, uint64(*calls*2*3*sse.DefaultMax); got > want {
				t.Errorf("%d bytes allocated in %d attempts, want at most %d", got, *calls, want)
			}
		})
	}
}
