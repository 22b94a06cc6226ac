package fake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// api is one dialect's way to ask for an answer.
type api struct {
	name string
	req  func(model, prompt string, stream bool, extra string) *http.Request
	text func(t *testing.T, body string) string // of a unary answer
}

func post(path, body string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func quote(s string) string { b, _ := json.Marshal(s); return string(b) }

func openAIPost(path, body string) *http.Request {
	return post(path, body, "Authorization", "Bearer k")
}

func claudePost(body string) *http.Request {
	return post("/v1/messages", body, "X-Api-Key", "k", "Anthropic-Version", anthropicOld)
}

func apis() []api {
	dig := func(path ...string) func(t *testing.T, body string) string {
		return func(t *testing.T, body string) string {
			t.Helper()
			var v any
			if err := json.Unmarshal([]byte(body), &v); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			for _, p := range path {
				if n, err := strconv.Atoi(p); err == nil {
					v = v.([]any)[n]
				} else {
					v = v.(map[string]any)[p]
				}
			}
			return v.(string)
		}
	}
	return []api{
		{"chat", func(model, prompt string, stream bool, extra string) *http.Request {
			return openAIPost("/v1/chat/completions", `{"model":`+quote(model)+`,"messages":[{"role":"user","content":`+quote(prompt)+`}],"stream":`+strconv.FormatBool(stream)+extra+`}`)
		}, dig("choices", "0", "message", "content")},
		{"responses", func(model, prompt string, stream bool, extra string) *http.Request {
			return openAIPost("/v1/responses", `{"model":`+quote(model)+`,"input":`+quote(prompt)+`,"stream":`+strconv.FormatBool(stream)+extra+`}`)
		}, dig("output", "0", "content", "0", "text")},
		{"messages", func(model, prompt string, stream bool, extra string) *http.Request {
			return claudePost(`{"model":` + quote(model) + `,"max_tokens":5000,"messages":[{"role":"user","content":` + quote(prompt) + `}],"stream":` + strconv.FormatBool(stream) + extra + `}`)
		}, dig("content", "0", "text")},
		{"gemini", func(model, prompt string, stream bool, extra string) *http.Request {
			verb := "generateContent"
			if stream {
				verb = "streamGenerateContent?alt=sse"
			}
			return post("/v1beta/models/"+model+":"+verb, `{"contents":[{"role":"user","parts":[{"text":`+quote(prompt)+`}]}]`+extra+`}`, "X-Goog-Api-Key", "k")
		}, dig("candidates", "0", "content", "parts", "0", "text")},
	}
}

func serve(s *Server, r *http.Request) (int, http.Header, string) {
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		s.ServeHTTP(w, r)
	}()
	return w.Code, w.Header(), w.Body.String()
}

func TestEqualRequestsGetEqualBytes(t *testing.T) {
	for _, a := range apis() {
		for _, stream := range []bool{false, true} {
			_, _, one := serve(New(Options{}), a.req("fake", "hello", stream, ""))
			_, _, two := serve(New(Options{TokenDelay: time.Nanosecond}), a.req("fake", "hello", stream, ""))
			if one != two || one == "" {
				t.Errorf("%s stream=%v: two answers:\n%s\n%s", a.name, stream, one, two)
			}
			for why, r := range map[string]*http.Request{
				"prompt": a.req("fake", "hello!", stream, ""), "model": a.req("fake-large", "hello", stream, ""),
			} {
				if _, _, other := serve(New(Options{}), r); strings.EqualFold(other, one) {
					t.Errorf("%s: another %s gave the same answer", a.name, why)
				}
			}
			if _, _, other := serve(New(Options{Seed: 1}), a.req("fake", "hello", stream, "")); other == one {
				t.Errorf("%s: another seed gave the same answer", a.name)
			}
		}
	}
}

// deltas joins a stream's text.
func deltas(body string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(body, "\r", "")) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok || !strings.HasPrefix(data, "{") {
			continue
		}
		var e struct {
			Type    string
			Delta   json.RawMessage
			Choices []struct {
				Delta struct{ Content string }
			}
			Candidates []struct {
				Content struct{ Parts []struct{ Text string } }
			}
		}
		if json.Unmarshal([]byte(data), &e) != nil {
			return "bad frame " + data
		}
		for _, c := range e.Choices {
			out.WriteString(c.Delta.Content)
		}
		for _, c := range e.Candidates {
			for _, p := range c.Content.Parts {
				out.WriteString(p.Text)
			}
		}
		switch e.Type {
		case "response.output_text.delta":
			var s string
			_ = json.Unmarshal(e.Delta, &s)
			out.WriteString(s)
		case "content_block_delta":
			var d struct{ Text string }
			_ = json.Unmarshal(e.Delta, &d)
			out.WriteString(d.Text)
		}
	}
	return out.String()
}

func TestStreamsCarryTheUnaryText(t *testing.T) {
	for _, a := range apis() {
		for _, prompt := range []string{"hello", "Reply with exactly: 法国 naïve \"quoted\" \\ end", "fake:tokens=300"} {
			_, _, unary := serve(New(Options{}), a.req("fake", prompt, false, ""))
			_, _, stream := serve(New(Options{}), a.req("fake", prompt, true, ""))
			want := a.text(t, unary)
			if got := deltas(stream); got != want {
				t.Errorf("%s: stream %q, unary %q", a.name, got, want)
			}
			if exact, ok := strings.CutPrefix(prompt, "Reply with exactly: "); ok && want != exact {
				t.Errorf("%s: said %q", a.name, want)
			}
		}
	}
}

func TestFailureModels(t *testing.T) {
	type want struct {
		status int
		in     []string
	}
	cases := map[string]map[string]want{
		"fake-429": {
			"chat": {429, []string{`"code": "rate_limit_exceeded"`}}, "responses": {429, []string{`"type": "requests"`}},
			"messages": {429, []string{`"type":"rate_limit_error"`}}, "gemini": {429, []string{`"RESOURCE_EXHAUSTED"`, `"retryDelay": "1s"`}},
		},
		"fake-500": {
			"chat": {500, []string{`"server_error"`}}, "responses": {500, []string{`"server_error"`}},
			"messages": {500, []string{`"api_error"`}}, "gemini": {500, []string{`"INTERNAL"`}},
		},
		"fake-503": {
			"chat": {503, []string{`"server_error"`}}, "responses": {503, []string{`"server_error"`}},
			"messages": {529, []string{`"overloaded_error"`}}, "gemini": {503, []string{`"UNAVAILABLE"`}},
		},
		"fake-401": {
			"chat": {401, []string{`"invalid_api_key"`}}, "responses": {401, []string{`"invalid_api_key"`}},
			"messages": {401, []string{`"authentication_error"`}}, "gemini": {400, []string{`"API_KEY_INVALID"`}},
		},
		"gpt-none": {
			"chat": {404, []string{`"model_not_found"`}}, "responses": {400, []string{`"model_not_found"`}},
			"messages": {404, []string{`"not_found_error"`}}, "gemini": {404, []string{`"NOT_FOUND"`, "ListModels"}},
		},
	}
	for model, by := range cases {
		for _, a := range apis() {
			for _, stream := range []bool{false, true} {
				code, h, body := serve(New(Options{}), a.req(model, "hi", stream, ""))
				w := by[a.name]
				if code != w.status {
					t.Errorf("%s %s: %d, want %d", a.name, model, code, w.status)
				}
				for _, s := range w.in {
					if !strings.Contains(body, s) {
						t.Errorf("%s %s: no %s in %s", a.name, model, s, body)
					}
				}
				if model == "fake-429" && (h.Get("Retry-After") == "1") != (a.name != "gemini") {
					t.Errorf("%s: Retry-After %q", a.name, h.Get("Retry-After"))
				}
			}
		}
	}
	ends := map[string]string{"chat": "[DONE]", "responses": "response.completed", "messages": "message_stop", "gemini": "finishReason"}
	errs := map[string]string{"chat": `data: {"error":`, "responses": "event: error", "messages": "event: error", "gemini": `data: {"error":`}
	for _, a := range apis() {
		for _, model := range []string{"fake-midstream", "fake-error"} {
			code, _, body := serve(New(Options{}), a.req(model, "hi", true, ""))
			if code != 200 || strings.Contains(body, ends[a.name]) || len(strings.Fields(deltas(body))) != failAfter && model == "fake-midstream" {
				t.Errorf("%s %s: %d %s", a.name, model, code, body)
			}
			if strings.Contains(body, errs[a.name]) != (model == "fake-error") {
				t.Errorf("%s %s ends with %s", a.name, model, body)
			}
		}
		code, h, body := serve(New(Options{}), a.req("fake-midstream", "hi", false, ""))
		if n, _ := strconv.Atoi(h.Get("Content-Length")); code != 200 || len(body) >= n {
			t.Errorf("%s: a broken unary answer is whole (%d of %d)", a.name, len(body), n)
		}
	}
}

// pipeListener and client run a server in a bubble without sockets.
type pipeListener struct{ conns chan net.Conn }

func (l pipeListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l pipeListener) Close() error   { close(l.conns); return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func inBubble(t *testing.T, o Options, f func(t *testing.T, s *Server, c *http.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := pipeListener{make(chan net.Conn)}
		s := New(o)
		srv := &http.Server{Handler: s}
		go func() { _ = srv.Serve(l) }()
		tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			l.conns <- theirs
			return ours, nil
		}}
		f(t, s, &http.Client{Transport: tr})
		tr.CloseIdleConnections()
		_ = srv.Close()
		synctest.Wait()
	})
}

func wire(r *http.Request) *http.Request {
	r.URL.Scheme, r.URL.Host, r.RequestURI = "http", "fake.test", ""
	return r
}

func TestPacing(t *testing.T) {
	for _, a := range apis() {
		for _, c := range []struct {
			model       string
			first, each time.Duration
		}{{"fake", 200 * time.Millisecond, 20 * time.Millisecond}, {"fake-slow", 1700 * time.Millisecond, 120 * time.Millisecond}} {
			inBubble(t, Options{FirstToken: 200 * time.Millisecond, TokenDelay: 20 * time.Millisecond}, func(t *testing.T, _ *Server, client *http.Client) {
				start := time.Now()
				resp, err := client.Do(wire(a.req(c.model, "fake:tokens=10", true, "")))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if got := time.Since(start); got != c.first {
					t.Errorf("%s %s: header after %s, want %s", a.name, c.model, got, c.first)
				}
				var at []time.Duration
				in := bufio.NewReader(resp.Body)
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						break
					}
					if deltas(line) != "" {
						at = append(at, time.Since(start))
					}
				}
				for i, d := range at {
					if want := c.first + time.Duration(i)*c.each; d != want {
						t.Errorf("%s %s: token %d at %s, want %s", a.name, c.model, i, d, want)
					}
				}
				if len(at) != 10 {
					t.Errorf("%s: %d tokens", a.name, len(at))
				}
			})
		}
	}
}

// TestClientGoneEndsTheRequest: tests and chaos runs rely on Inflight to see cancelled work end.
func TestClientGoneEndsTheRequest(t *testing.T) {
	for _, a := range apis() {
		for _, model := range []string{"fake-hang", "fake"} {
			inBubble(t, Options{TokenDelay: time.Hour}, func(t *testing.T, s *Server, client *http.Client) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				resp, err := client.Do(wire(a.req(model, "hi", true, "")).WithContext(ctx))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if err == nil {
					t.Fatal("it answered")
				}
				synctest.Wait()
				if n := s.Inflight(); n != 0 || s.Requests() != 1 {
					t.Errorf("%s %s: %d requests still run", a.name, model, n)
				}
			})
		}
	}
}

func TestCredentials(t *testing.T) {
	s := New(Options{Keys: []string{"right"}})
	body := `{"model":"fake","max_tokens":9,"messages":[{"role":"user","content":"x"}]}`
	gem := `{"contents":[{"parts":[{"text":"x"}]}]}`
	for _, c := range []struct {
		why  string
		r    *http.Request
		want int
	}{
		{"chat, none", post("/v1/chat/completions", body), 401},
		{"chat, wrong", post("/v1/chat/completions", body, "Authorization", "Bearer wrong"), 401},
		{"chat takes no x-api-key", post("/v1/chat/completions", body, "X-Api-Key", "right"), 401},
		{"messages, none", post("/v1/messages", body, "Anthropic-Version", anthropicOld), 401},
		{"messages, x-api-key", post("/v1/messages", body, "Anthropic-Version", anthropicOld, "X-Api-Key", "right"), 200},
		// protocols.md 0.2: current Anthropic SDKs send the key as a bearer token.
		{"messages, bearer", post("/v1/messages", body, "Anthropic-Version", anthropicNew, "Authorization", "Bearer right"), 200},
		{"messages, both: x-api-key decides", post("/v1/messages", body, "Anthropic-Version", anthropicOld, "X-Api-Key", "wrong", "Authorization", "Bearer right"), 401},
		{"gemini, none", post("/v1beta/models/fake:generateContent", gem), 403},
		{"gemini, wrong is a 400", post("/v1beta/models/fake:generateContent", gem, "X-Goog-Api-Key", "wrong"), 400},
		{"gemini, header", post("/v1/models/fake:generateContent", gem, "X-Goog-Api-Key", "right"), 200},
		{"gemini, query", post("/v1beta/models/fake:generateContent?key=right", gem), 200},
		{"gemini, bearer", post("/v1beta/models/fake:generateContent", gem, "Authorization", "Bearer right"), 200},
	} {
		if code, _, b := serve(s, c.r); code != c.want {
			t.Errorf("%s: %d, want %d: %s", c.why, code, c.want, b)
		}
	}
}

func TestModelsInEveryShape(t *testing.T) {
	get := func(path string, header ...string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		code, _, b := serve(New(Options{}), r)
		return code, strings.Join(strings.Fields(b), "")
	}
	for _, c := range []struct {
		path   string
		header []string
		code   int
		has    string
	}{
		{"/v1/models", []string{"Authorization", "Bearer k"}, 200, `{"object":"list","data":[{"id":"gpt-4","object":"model"`},
		{"/v1/models", []string{"X-Api-Key", "k", "Anthropic-Version", anthropicOld}, 200, `{"data":[{"type":"model","id":"claude-3.5"`},
		{"/v1/models", []string{"X-Goog-Api-Key", "k"}, 200, `{"models":[{"name":"models/gemini-pro"`},
		{"/v1beta/models?key=k", nil, 200, `"supportedGenerationMethods":["generateContent"`},
		{"/v1/models/gpt-4o", []string{"Authorization", "Bearer k"}, 200, `{"id":"gpt-4o"`},
		{"/v1/models/claude-haiku-4-5", []string{"Authorization", "Bearer k", "Anthropic-Version", anthropicNew}, 200, `"type":"model"`},
		{"/v1beta/models/gemini-2.5-pro?key=k", nil, 200, `"name":"models/gemini-2.5-pro"`},
		{"/v1/models/none", []string{"Authorization", "Bearer k"}, 404, `"model_not_found"`},
		{"/v1/nothing", []string{"Authorization", "Bearer k"}, 404, `InvalidURL`},
		{"/v1/chat/completions", []string{"Authorization", "Bearer k"}, 404, `"error"`},
	} {
		code, b := get(c.path, c.header...)
		if code != c.code || !strings.Contains(b, c.has) {
			t.Errorf("%s %v: %d %s", c.path, c.header, code, clip(b, 200))
		}
	}
	for _, name := range []string{"gpt-4", "claude-3.5", "claude-3-5-sonnet-20241022", "gemini-pro", "gemini-pro-vision", "gpt-4o-2024-08-06", "claude-haiku-4-5-20251001", "claude-sonnet-4-5-latest"} {
		if !known(name) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{"", "gpt", "gpt-4-20", "gpt-4o-2024-08-06-evil", "none-2024-01-01"} {
		if known(name) {
			t.Errorf("%q is known", name)
		}
	}
}

func TestEmbeddings(t *testing.T) {
	type answer struct {
		Data  []struct{ Embedding json.RawMessage }
		Usage struct{ PromptTokens int }
	}
	ask := func(extra string) (a answer) {
		t.Helper()
		_, _, b := serve(New(Options{}), openAIPost("/v1/embeddings", `{"model":"text-embedding-3-small","input":["hello","world"],"dimensions":8`+extra+`}`))
		if err := json.Unmarshal([]byte(b), &a); err != nil || len(a.Data) != 2 {
			t.Fatalf("%v: %s", err, b)
		}
		return a
	}
	var floats []float32
	var text string
	if err := json.Unmarshal(ask("").Data[0].Embedding, &floats); err != nil || len(floats) != 8 {
		t.Fatal(floats, err)
	}
	if err := json.Unmarshal(ask(`,"encoding_format":"base64"`).Data[0].Embedding, &text); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 32 {
		t.Fatal(text, err)
	}
	var again []float32
	for b := raw; len(b) > 0; b = b[4:] {
		again = append(again, floatLE(b))
	}
	if d := cmp.Diff(floats, again); d != "" {
		t.Errorf("base64 differs from floats:\n%s", d)
	}
	for why, body := range map[string]string{
		"tokens": `[1,2,3]`, "lists of tokens": `[[1,2],[3]]`, "a text": `"x"`,
	} {
		if code, _, b := serve(New(Options{}), openAIPost("/v1/embeddings", `{"model":"fake-embed","input":`+body+`}`)); code != 200 {
			t.Errorf("%s: %d %s", why, code, b)
		}
	}
	for why, r := range map[string]*http.Request{
		"one":   post("/v1beta/models/gemini-embedding-001:embedContent?key=k", `{"content":{"parts":[{"text":"hello"}]},"outputDimensionality":3}`),
		"batch": post("/v1beta/models/gemini-embedding-001:batchEmbedContents?key=k", `{"requests":[{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"hello"}]},"output_dimensionality":3}]}`),
	} {
		code, _, b := serve(New(Options{}), r)
		if code != 200 || strings.Count(b, ",") != 2 {
			t.Errorf("%s: %d %s", why, code, b)
		}
	}
}

func TestToolsJSONAndLimits(t *testing.T) {
	schema := `{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"},"unit":{"enum":["C","F"]},"tags":{"type":"array","items":{"type":"string"}},"who":{"$ref":"#/$defs/P"}},"$defs":{"P":{"type":"object","properties":{"ok":{"type":"boolean"}}}},"required":["city"]}`
	want := `{"city":"Paris","days":42,"unit":"C","tags":["tags example"],"who":{"ok":true}}`
	if got := string(example([]byte(schema))); got != want {
		t.Errorf("example %s\nwant    %s", got, want)
	}
	loop := `{"type":"object","properties":{"next":{"$ref":"#"}}}`
	if got := string(example([]byte(loop))); !json.Valid([]byte(got)) {
		t.Errorf("a recursive schema gives %s", got)
	}
	q := strings.ReplaceAll(quote(want), `"`, `"`)
	oai := `,"tools":[{"type":"function","function":{"name":"w","parameters":` + schema + `}},{"type":"function","function":{"name":"z","parameters":{}}}]`
	claude := `,"tools":[{"name":"w","input_schema":` + schema + `},{"name":"z","input_schema":{"type":"object"}}]`
	for _, c := range []struct {
		why, body string
		r         *http.Request
		has, not  string
	}{
		{why: "chat: asked", r: apis()[0].req("fake", "Use the tool.", false, oai), has: `"arguments":` + q, not: `"z"`},
		{why: "chat: named", r: apis()[0].req("fake", "hi", false, oai+`,"tool_choice":{"type":"function","function":{"name":"z"}}`), has: `"name":"z"`, not: `"w"`},
		{why: "chat: all", r: apis()[0].req("fake", "use the tools", false, oai), has: `"name":"z"`},
		{why: "chat: none", r: apis()[0].req("fake", "use the tool", false, oai+`,"tool_choice":"none"`), has: `"finish_reason":"stop"`},
		{why: "chat: offered but not asked", r: apis()[0].req("fake", "hi", false, oai), not: "tool_calls"},
		{why: "chat: stated arguments", r: apis()[0].req("fake", `Use the z tool with {"a": [1]}, please.`, false, oai), has: `"arguments":"{\"a\": [1]}"`},
		{why: "chat: arguments that are none", r: apis()[0].req("fake", `use the z tool with care`, false, oai), has: `"arguments":"{`},
		{why: "messages: any", r: apis()[2].req("fake", "hi", false, claude+`,"tool_choice":{"type":"any"}`), has: `"input":` + want, not: `"z"`},
		{why: "chat: JSON", r: apis()[0].req("fake", "json please", false, `,"response_format":{"type":"json_object"}`), has: `\"ok\":true`},
		{why: "chat: schema", r: apis()[0].req("fake", "x", false, `,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":`+schema+`}}`), has: q},
		{why: "chat: length", r: apis()[0].req("fake", "fake:tokens=50", false, `,"max_tokens":3`), has: `"finish_reason":"length"`},
		{why: "chat: stop", r: apis()[0].req("fake", "reply with exactly: one two three", false, `,"stop":" two"`), has: `"content":"one"`},
		{why: "messages: stop_sequence", r: apis()[2].req("fake", "reply with exactly: one two three", false, `,"stop_sequences":["two"]`), has: `"stop_sequence":"two"`},
		{why: "messages: max_tokens 0 warms the cache", r: claudePost(`{"model":"fake","max_tokens":0,"messages":[{"role":"user","content":"x"}]}`), has: `"content":[],"stop_reason":"max_tokens"`},
		{why: "responses: incomplete", r: apis()[1].req("fake", "fake:tokens=50", false, `,"max_output_tokens":16`), has: `"reason":"max_output_tokens"`},
		{why: "gemini: length", r: apis()[3].req("fake", "fake:tokens=50", false, `,"generation_config":{"max_output_tokens":2}`), has: `"finishReason":"MAX_TOKENS"`},
		{why: "an image is seen", r: openAIPost("/v1/chat/completions", `{"model":"fake","messages":[{"role":"user","content":[{"type":"text","text":"?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}`), has: "I see 1 attachment(s): image/png."},
		{why: "a tool result is answered with text", r: openAIPost("/v1/chat/completions", `{"model":"fake","messages":[{"role":"user","content":"use the tool"},{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"w","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"sunny"}]`+oai+`}`), has: "The tool answered: sunny"},
		{why: "results of parallel calls are answered together", r: openAIPost("/v1/chat/completions", `{"model":"fake","messages":[{"role":"user","content":"use the tools"},{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"w","arguments":"{}"}},{"id":"c2","type":"function","function":{"name":"z","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"sunny"},{"role":"tool","tool_call_id":"c2","content":"late"}]`+oai+`}`), has: "The tool answered: sunny late"},
		{why: "instructions after a result do not hide it", r: post("/v1beta/models/fake:generateContent?key=k", `{"contents":[{"role":"user","parts":[{"text":"use the tool"}]},{"role":"model","parts":[{"functionCall":{"name":"w"}}]},{"role":"user","parts":[{"functionResponse":{"name":"w","response":{"output":"sunny"}}}]}],"systemInstruction":{"parts":[{"text":"terse"}]},"tools":[{"functionDeclarations":[{"name":"w"}]}]}`), has: `The tool answered: {\"output\":\"sunny\"}`},
		{why: "chat: effort is counted", r: apis()[0].req("gpt-5", "x", false, `,"reasoning_effort":"low"`), has: `"reasoning_tokens":8`},
		{why: "chat: no effort", r: apis()[0].req("gpt-5", "x", false, `,"reasoning_effort":"none"`), has: `"reasoning_tokens":0`},
		{why: "gemini: a level is counted", r: apis()[3].req("fake", "x", false, `,"generationConfig":{"thinkingConfig":{"thinkingLevel":"LOW"}}`), has: `"thoughtsTokenCount":8`, not: `"thought":true`},
		{why: "gemini: and in a stream", r: apis()[3].req("fake", "x", true, `,"generationConfig":{"thinkingConfig":{"thinkingBudget":-1}}`), has: `"thoughtsTokenCount": 8`, not: `"thought": true`},
		{why: "gemini: thoughts are shown", r: apis()[3].req("fake", "x", false, `,"generationConfig":{"thinkingConfig":{"includeThoughts":true}}`), has: `"thought":true`},
		{why: "responses: effort is counted", r: apis()[1].req("gpt-5", "x", false, `,"reasoning":{"effort":"low"}`), has: `"reasoning_tokens":8`, not: "summary_text"},
		{why: "responses: a summary is shown", r: apis()[1].req("gpt-5", "x", false, `,"reasoning":{"effort":"low","summary":"auto"}`), has: "summary_text"},
		{why: "the country is stated", r: apis()[2].req("fake", "x", false, ""), has: `"inference_geo":"CN"`},
	} {
		code, _, b := serve(New(Options{Country: "CN"}), c.r)
		b = compact(b)
		if code != 200 || !strings.Contains(b, c.has) || c.not != "" && strings.Contains(b, c.not) {
			t.Errorf("%s: %d %s", c.why, code, b)
		}
	}
	_, h, _ := serve(New(Options{Country: "DE"}), apis()[0].req("fake", "x", false, ""))
	if h.Get("X-Causeway-Fake-Country") != "DE" {
		t.Error("no country header")
	}
}

func compact(s string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(s)) != nil {
		return s
	}
	return b.String()
}

func floatLE(b []byte) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b))
}

// TestEmbedAndCountAreStrict: what the vendors refuse is refused, so that a conversion that writes it is
// found out here.
func TestEmbedAndCountAreStrict(t *testing.T) {
	const one, batch, count = "/v1beta/models/gemini-embedding-001:embedContent?key=k", "/v1beta/models/gemini-embedding-001:batchEmbedContents?key=k", "/v1/responses/input_tokens"
	text := `"content":{"parts":[{"text":"hello"}]}`
	for _, c := range []struct {
		why, path, body string
		code            int
		want            string
	}{
		{"settings beside the content", one, `{` + text + `,"taskType":"CLUSTERING","title":"t","outputDimensionality":3}`, 200, `"embedding"`},
		{"settings in their object", one, `{` + text + `,"embedContentConfig":{"task_type":"CLUSTERING","outputDimensionality":3}}`, 200, `"embedding"`},
		{"an unknown task", one, `{` + text + `,"taskType":"DREAM"}`, 400, "task_type"},
		{"an unknown setting", one, `{` + text + `,"embedContentConfig":{"dims":3}}`, 400, "dims"},
		{"no content", one, `{"taskType":"CLUSTERING"}`, 400, "content"},
		{"too long a vector", one, `{` + text + `,"outputDimensionality":4000}`, 400, "3072"},
		{"an entry without its model", batch, `{"requests":[{` + text + `}]}`, 400, "model"},
		{"an entry of another model", batch, `{"requests":[{"model":"models/gemini-pro",` + text + `}]}`, 400, "match"},
		{"an older model states no usage", batch, `{"requests":[{"model":"models/gemini-embedding-001",` + text + `,"outputDimensionality":1}]}`, 200, "]}]}"},
		{"a newer one does", "/v1beta/models/gemini-embedding-2:batchEmbedContents?key=k", `{"requests":[{"model":"models/gemini-embedding-2",` + text + `,"outputDimensionality":1}]}`, 200, `"usageMetadata":{"promptTokenCount":`},
		{"a count", count, `{"model":"gpt-5","input":"hello","instructions":"be brief","truncation":"auto"}`, 200, `{"object":"response.input_tokens","input_tokens":`},
		{"a count with what steers only answers", count, `{"model":"gpt-5","input":"hello","max_output_tokens":100}`, 400, "max_output_tokens"},
		{"a count of nothing", count, `{"model":"gpt-5"}`, 400, "input"},
		{"a count that streams", count, `{"model":"gpt-5","input":"hello","stream":true}`, 400, "stream"},
	} {
		code, _, b := serve(New(Options{}), openAIPost(c.path, c.body))
		if code == http.StatusOK {
			b = strings.Join(strings.Fields(b), "") // answers have the vendors' line breaks
		}
		if code != c.code || !strings.Contains(b, c.want) {
			t.Errorf("%s: %d %s", c.why, code, b)
		}
	}
}
