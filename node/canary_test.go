package node_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/node/exit"
	"github.com/causeway-mesh/causeway/node/obs"
	"github.com/causeway-mesh/causeway/node/view"
)

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take gives what was written since the last time, by line.
func (l *lockedBuffer) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := strings.TrimSpace(l.b.String())
	l.b.Reset()
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// echoing is a provider that repeats in its answers and errors what it was sent, credential included,
// in as many ways as the model's name asks for.
func echoing(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var in struct{ Model string }
		_ = json.Unmarshal(body, &in)
		said, _ := json.Marshal("you sent " + string(body) + " with " + r.Header.Get("Authorization") + " from " + r.URL.String())
		status := map[string]int{"echo-400": 400, "echo-401": 401, "echo-408": 408, "echo-429": 429, "echo-500": 500, "echo-503": 503}[in.Model]
		w.Header().Set("Content-Type", "application/json")
		switch in.Model {
		case "echo-garbage":
			_, _ = w.Write(said)
		case "echo-short":
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(said)
		case "echo-stream":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":`+string(said)+`}}]}`+"\n\n")
			_, _ = io.WriteString(w, `data: {"error":{"message":`+string(said)+`,"type":"server_error"}}`+"\n\n")
		case "echo-early":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, `data: {"error":{"message":`+string(said)+`,"type":"server_error"}}`+"\n\n")
		case "echo-hangup":
			panic(http.ErrAbortHandler)
		default:
			if status != 0 {
				w.WriteHeader(status)
				_, _ = io.WriteString(w, `{"error":{"message":`+string(said)+`,"type":`+string(said)+`,"param":`+string(said)+`,"code":`+string(said)+`}}`)
				return
			}
			_, _ = io.WriteString(w, `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":`+string(said)+`},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// Whatever clients write and providers answer, the log, at any level, holds one line a request and in
// it nothing that they said: no content, no key, no credential, no address, no name that they made up.
func TestLogsHoldNothingThatClientsOrProvidersSaid(t *testing.T) {
	const canary = "canary4711"
	provider := echoing(t)
	models := []string{"echo-ok", "echo-400", "echo-401", "echo-408", "echo-429", "echo-500", "echo-503", "echo-garbage", "echo-short", "echo-stream", "echo-early", "echo-hangup"}
	r := newRig(t, func(v *api.NodeView) {
		v.Providers[0].BaseURL = provider.URL + "/v1"
		v.Providers[0].Auth.Secrets = []state.Secret{{ID: "a", Value: "provider-" + canary, Weight: 1}}
		v.Route.Attempts = 2
		for _, m := range models {
			v.Models = append(v.Models, state.Model{ID: m, Targets: []state.Target{{Provider: "openai", Model: m}}})
		}
	})
	var log lockedBuffer
	logger := obs.NewLogger(&log, "debug")
	for id := range r.exits {
		ev := *r.view
		ev.Node = id
		h := view.NewHolder("", logger)
		x := exit.New(exit.Config{View: h, Observe: func(time.Time, exit.Sample) {}, Log: logger})
		if err := h.Apply(&ev); err != nil {
			t.Fatal(err)
		}
		r.exits[id] = x
	}
	done := make(chan struct{}, 1)
	e := edge.New(edge.Config{
		Node: "edge-1", Region: "cn-east", View: r.holder, Locate: r, Paths: r, Forward: r, Audit: r.audit,
		Recorder: obs.Recorders{r.outcomes, obs.NewRequestLog(logger), recorderFunc(func() { done <- struct{}{} })}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		MaxBody: 1 << 16, LoopbackAtHome: true, Log: logger,
	})
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	r.server = server

	type call struct{ path, body, why string }
	var calls []call
	for _, m := range models {
		calls = append(calls,
			call{"/v1/chat/completions?trace=" + canary, `{"model":"` + m + `","messages":[{"role":"user","content":"` + canary + `"}],"user":"` + canary + `"}`, m},
			call{"/v1/chat/completions", `{"model":"` + m + `","stream":true,"messages":[{"role":"user","content":"` + canary + `"}]}`, m + " streamed"})
	}
	calls = append(calls,
		call{"/v1/chat/completions", `{"model":"` + canary + `","messages":[]}`, "unknown model"},
		call{"/v1/chat/completions", `{"model":"echo-ok","` + canary + `":1,"` + canary + `":2,"messages":[]}`, "duplicate member"},
		call{"/v1/chat/completions", `{"model":"echo-ok","messages":[{"role":"user","content":"` + canary + "\xff" + `"}]}`, "invalid UTF-8"},
		call{"/v1/chat/completions", canary, "no JSON"},
		call{"/v1/chat/completions", `{"model":"echo-ok","x":"` + strings.Repeat(canary, 10_000) + `"}`, "too large"},
		call{"/v1/" + canary, `{}`, "no such path"},
		call{"/v1beta/models/" + canary + ":generateContent", `{"contents":[]}`, "unknown model in the path"},
		call{"/v1beta/models/" + canary + ":" + canary, `{}`, "unknown verb"},
		call{"/v1/messages", `{"model":"echo-ok","max_tokens":1,"messages":[{"role":"user","content":"` + canary + `"}]}`, "unsupported pair"},
	)
	headers := [][]string{
		{"X-Causeway-Purpose", canary, "X-Causeway-Subject", canary, "X-Causeway-Tags", canary, "User-Agent", canary, "Cookie", canary, "Origin", "https://" + canary + ".example", "X-Forwarded-For", "203.0.113.77"},
		{"Authorization", "Bearer cw_" + canary, "X-Forwarded-For", "203.0.113.77"},
		{"Authorization", "", "X-Api-Key", "cw_" + canary, "X-Forwarded-For", "203.0.113.77"},
		{"X-Causeway-Class", canary},
		{"X-Causeway-User-Country", canary},
		{"Content-Encoding", canary},
		{"Traceparent", canary},
	}
	check := func(why string, want int) {
		t.Helper()
		for range want {
			<-done // the answer leaves before its line is written
		}
		lines, requests := log.take(), 0
		for _, l := range lines {
			if strings.Contains(l, `"msg":"request"`) {
				requests++
			}
			for _, secret := range []string{canary, rigKey, "203.0.113.77"} {
				if strings.Contains(l, secret) {
					t.Errorf("%s: %q is in %s", why, secret, l)
				}
			}
		}
		if requests != want {
			t.Errorf("%s: %d request lines, want %d: %q", why, requests, want, lines)
		}
	}
	log.take()
	for _, c := range calls {
		r.post(c.path, c.body)
		check(c.why, 1)
	}
	for _, h := range headers {
		for _, m := range []string{"echo-ok", "echo-500"} {
			r.post("/v1/chat/completions", `{"model":"`+m+`","messages":[{"role":"user","content":"`+canary+`"}]}`, h...)
			check(strings.Join(h, " "), 1)
		}
	}
}

// An outcome is recorded once however the request ends, also when the client goes away.
func TestOneOutcomeForAClientThatLeaves(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hello"}}]}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
	}))
	defer provider.Close()
	r := newRig(t, func(v *api.NodeView) { v.Providers[0].BaseURL = provider.URL + "/v1" })
	var log lockedBuffer
	logger := zerolog.New(&log)
	ended := make(chan struct{}, 4)
	e := edge.New(edge.Config{
		Node: "edge-1", Region: "cn-east", View: r.holder, Locate: r, Paths: r, Forward: r, Audit: r.audit,
		Recorder: obs.Recorders{obs.NewRequestLog(logger), recorderFunc(func() { ended <- struct{}{} })}, MaxBody: 1 << 16, LoopbackAtHome: true, Log: zerolog.Nop(),
	})
	server := httptest.NewServer(e)
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/chat/completions", strings.NewReader(`{"model":"gpt-4","stream":true,"messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+rigKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	<-ended
	server.Close() // waits for the handler: nothing comes after it
	if lines := log.take(); len(lines) != 1 || !strings.Contains(lines[0], `"err_class":"canceled"`) || !strings.Contains(lines[0], `"level":"info"`) {
		t.Errorf("lines %q", lines)
	}
}

type recorderFunc func()

func (f recorderFunc) Record(*edge.Outcome) { f() }
