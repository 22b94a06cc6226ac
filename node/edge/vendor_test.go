package edge

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/lease"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/node/view"
)

// oneProvider is an edge whose only provider answers as told, and what was asked of it.
type oneProvider struct {
	t       *testing.T
	srv     *Server
	reply   string // content type
	chunks  []string
	asked   tunnel.Request
	body    string
	read    int // chunks
	tpm     int64
	left    int64 // of tpm, when the provider was asked
	closed  bool  // before the end
	outcome Outcome
	head    http.Header // of the answer to the client
	gone    bool        // the client, when it is answered
	written bytes.Buffer
	status  int
}

func newOneProvider(t *testing.T, p state.Provider, model state.Model, tpm int64) *oneProvider {
	t.Helper()
	o := &oneProvider{t: t, reply: "application/json", tpm: tpm}
	pepper := []byte("pepper")
	m := hmac.New(sha256.New, pepper)
	m.Write([]byte(benchKey))
	p.ID, p.Processing, p.Storage = "p", []string{"US"}, []string{"US"}
	model.ID = "m"
	for i := range model.Targets {
		model.Targets[i].Provider = "p"
	}
	v := &api.NodeView{
		Index: 1, Mesh: "one", Node: "edge", Edges: 1, ConfirmedAt: time.Now(), Pepper: pepper,
		Regions: []state.Region{{ID: "us-west", Country: "US"}}, Tenants: []state.Tenant{{ID: "t", Home: "US"}},
		Keys:      []state.Key{{ID: "k", Tenant: "t", Hash: m.Sum(nil)}},
		Providers: []state.Provider{p}, Models: []state.Model{model},
		Nodes: []state.Node{
			{ID: "edge", Region: "us-west", Roles: []string{"edge"}, Addr: "e:1", State: "active"},
			{ID: "exit", Region: "us-west", Roles: []string{"exit"}, Addr: "x:1", State: "active"},
		},
		Policy: state.Policy{Default: "allow"},
	}
	if tpm > 0 {
		v.Limits = []state.Limit{{Tenant: "t", TPM: tpm}}
	}
	h := view.NewHolder("", zerolog.Nop())
	if err := h.Apply(v); err != nil {
		t.Fatal(err)
	}
	o.srv = New(Config{
		Node: "edge", Region: "us-west", View: h, Locate: still{}, Paths: still{}, Forward: o, Audit: still{}, Recorder: o,
		LoopbackAtHome: true, Log: zerolog.Nop(),
	})
	return o
}

func (o *oneProvider) Record(out *Outcome) { o.outcome = *out }

func (o *oneProvider) Forward(_ context.Context, _ view.Exit, req tunnel.Request, body Body) (Answer, error) {
	b, err := io.ReadAll(body.Reader())
	if err != nil {
		o.t.Error(err)
	}
	o.asked, o.body, o.read, o.closed = req, string(b), 0, false
	o.left = o.srv.limits.State(time.Now(), "t\x00\x00", lease.Limits{TPM: o.tpm}).Tokens.Remaining
	return (*oneAnswer)(o), nil
}

type oneAnswer oneProvider

func (a *oneAnswer) Reply() tunnel.Reply {
	return tunnel.Reply{Status: 200, Header: []tunnel.Field{{Name: "Content-Type", Value: a.reply}}}
}

func (a *oneAnswer) Next() ([]byte, error) {
	if a.read == len(a.chunks) {
		return nil, io.EOF
	}
	a.read++
	return []byte(a.chunks[a.read-1]), nil
}

func (a *oneAnswer) Trailer() (tunnel.Trailer, bool) {
	if a.read < len(a.chunks) {
		return tunnel.Trailer{}, false
	}
	return tunnel.Trailer{Complete: true, HasUsage: true, Usage: tunnel.Usage{Input: 10, Output: 5}}, true
}

func (a *oneAnswer) Close() { a.closed = a.read < len(a.chunks) }

func (o *oneProvider) Header() http.Header              { return o.head }
func (o *oneProvider) WriteHeader(status int)           { o.status = status }
func (o *oneProvider) Flush()                           {}
func (o *oneProvider) SetReadDeadline(time.Time) error  { return nil }
func (o *oneProvider) SetWriteDeadline(time.Time) error { return nil }

func (o *oneProvider) Write(p []byte) (int, error) {
	if o.gone {
		return 0, io.ErrClosedPipe
	}
	return o.written.Write(p)
}

func (o *oneProvider) post(path, body string, header ...string) {
	o.t.Helper()
	o.written.Reset()
	o.head = http.Header{}
	h := benchHeader()
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	u, err := url.Parse(path)
	if err != nil {
		o.t.Fatal(err)
	}
	o.srv.ServeHTTP(o, &http.Request{
		Method: http.MethodPost, URL: u, Header: h, Body: io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)), RemoteAddr: "127.0.0.1:1234", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	})
}

func (o *oneProvider) header(name string) (values []string) {
	for _, f := range o.asked.Header {
		if f.Name == name {
			values = append(values, f.Value)
		}
	}
	return values
}

const chatHello = `{"model":"m","messages":[{"role":"developer","content":"Be brief."},{"role":"user","content":"hi"}]`

// Responses has no stop sequences: the relay ends the answer itself, the provider is told to stop, and
// the client is told why.
func TestStopIsAppliedToResponses(t *testing.T) {
	o := newOneProvider(t, state.Provider{Dialects: []string{"openai-responses"}, BaseURL: "https://api.openai.com/v1"}, state.Model{Targets: []state.Target{{Model: "gpt-4.1"}}}, 0)
	const body = `,"stop":["END"]}`
	whole := `{"id":"resp_1","object":"response","status":"completed","model":"x","output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"one ENDtwo","annotations":[]}]}],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}`
	o.chunks = []string{whole}
	o.post("/v1/chat/completions", chatHello+body)
	if got := o.written.String(); !strings.Contains(got, `"content":"one "`) || strings.Contains(got, "two") || !strings.Contains(got, `"finish_reason":"stop"`) || strings.Contains(o.body, "END") {
		t.Errorf("asked %s\nanswered %s", o.body, got)
	}
	if o.outcome.UsageKind != UsageMeasured || !strings.Contains(o.written.String(), `"usage":{"prompt_tokens":10,"completion_tokens":5,`) {
		t.Errorf("whole: usage %s\n%s", o.outcome.UsageKind, o.written.String())
	}
	event := func(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }
	delta := func(text string) string {
		return event("response.output_text.delta", `{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"`+text+`"}`)
	}
	o.reply = "text/event-stream"
	o.chunks = []string{
		event("response.created", `{"type":"response.created","response":{"id":"resp_1","model":"x","status":"in_progress","output":[]}}`),
		event("response.output_item.added", `{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"msg_1","role":"assistant","status":"in_progress","content":[]}}`),
		event("response.content_part.added", `{"type":"response.content_part.added","item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}`),
		delta("one E"), delta("N"), delta("D two"), delta(" three"), event("response.completed", strings.Replace(whole, "{", `{"type":"response.completed","response":{`, 1)+"}"),
	}
	for _, c := range []struct{ path, body, stop string }{
		{"/v1/chat/completions", chatHello + `,"stream":true` + body, `"finish_reason":"stop"`},
		{"/v1/messages", `{"model":"m","max_tokens":100,"stream":true,"stop_sequences":["END"],"messages":[{"role":"user","content":"hi"}]}`, `"stop_reason":"stop_sequence","stop_sequence":"END"`},
	} {
		o.post(c.path, c.body, "anthropic-version", "2023-06-01")
		got := o.written.String()
		if !strings.Contains(got, "one ") || strings.Contains(got, `"text":"E`) || strings.Contains(got, `"content":"E`) || strings.Contains(got, "two") || !strings.Contains(got, c.stop) {
			t.Errorf("%s: answered\n%s", c.path, got)
		}
		if !o.closed || o.outcome.Fault != nil || o.outcome.UsageKind != UsageEstimated {
			t.Errorf("%s: provider cancelled %t, outcome %+v", c.path, o.closed, o.outcome)
		}
	}
}

// Tools with names that the provider refuses come back under their own.
func TestToolNamesComeBack(t *testing.T) {
	o := newOneProvider(t, state.Provider{Dialects: []string{"openai-chat"}, BaseURL: "https://api.openai.com/v1"}, state.Model{Targets: []state.Target{{Model: "gpt-4.1"}}}, 0)
	const ask = `{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}],"tools":[{"name":"mcp__a_server_with_a_long_name__and_a_tool_with_a_long_name_of_its_own","input_schema":{"type":"object"}}]`
	o.post("/v1/messages", ask+"}", "anthropic-version", "2023-06-01") // learns the name on the wire
	_, wire, _ := strings.Cut(o.body, `"function":{"name":"`)
	wire, _, _ = strings.Cut(wire, `"`)
	if len(wire) > 64 || !strings.HasPrefix(wire, "mcp__a_server") {
		t.Fatalf("asked %s", o.body)
	}
	call := `"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"` + wire + `","arguments":"{}"}}]`
	o.chunks = []string{`{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":null,` + call + `},"finish_reason":"tool_calls"}]}`}
	o.post("/v1/messages", ask+"}", "anthropic-version", "2023-06-01")
	whole := o.written.String()
	o.reply = "text/event-stream"
	o.chunks = []string{
		`data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant",` + call + `},"finish_reason":null}]}` + "\n\n",
		`data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}` + "\n\n",
	}
	o.post("/v1/messages", ask+`,"stream":true}`, "anthropic-version", "2023-06-01")
	for _, got := range []string{whole, o.written.String()} {
		if strings.Contains(got, wire) || !strings.Contains(got, `"name":"mcp__a_server_with_a_long_name__and_a_tool_with_a_long_name_of_its_own"`) {
			t.Errorf("answered %s", got)
		}
	}
}

// The vendor decides what is asked: by base_url, or by the vendor field; the client's bytes stay its
// own but for include_usage, which some vendors refuse.
func TestVendorQuirksReachTheProvider(t *testing.T) {
	chat := func(p state.Provider) *oneProvider {
		p.Dialects = []string{"openai-chat"}
		return newOneProvider(t, p, state.Model{Targets: []state.Target{{Model: "x"}}}, 0)
	}
	const claude = `{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`
	o := chat(state.Provider{BaseURL: "https://api.mistral.ai/v1"})
	o.post("/v1/messages", claude, "anthropic-version", "2023-06-01")
	if !strings.Contains(o.body, `"max_tokens":100`) || strings.Contains(o.body, "max_completion_tokens") {
		t.Errorf("Mistral is asked %s", o.body)
	}
	o.post("/v1/chat/completions", chatHello+`,"stream":true}`)
	if want := strings.Replace(chatHello, `"m"`, `"x"`, 1) + `,"stream":true}`; o.body != want {
		t.Errorf("Mistral is asked %s, want %s", o.body, want)
	}
	o = chat(state.Provider{BaseURL: "https://gateway.example/v1"})
	o.post("/v1/chat/completions", chatHello+`,"stream":true}`)
	if !strings.Contains(o.body, "include_usage") {
		t.Errorf("a server that is not known is asked %s", o.body)
	}
	o.post("/v1/messages", claude, "anthropic-version", "2023-06-01")
	if !strings.Contains(o.body, `"max_completion_tokens":100`) {
		t.Errorf("a server that is not known is asked %s", o.body)
	}
	o = chat(state.Provider{BaseURL: "https://gateway.example/v1", Vendor: "vllm"})
	o.post("/v1/messages", claude, "anthropic-version", "2023-06-01")
	if !strings.Contains(o.body, `"max_tokens":100`) {
		t.Errorf("vLLM is asked %s", o.body)
	}
	g := newOneProvider(t, state.Provider{Dialects: []string{"gemini"}, BaseURL: "https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu/publishers/google"}, state.Model{Targets: []state.Target{{Model: "gemini-2.5-flash"}}}, 0)
	g.post("/v1/chat/completions", chatHello+`,"reasoning_effort":"medium"}`)
	if g.asked.Path != "/models/gemini-2.5-flash:generateContent" || !strings.Contains(g.body, `"thinkingBudget":8192`) {
		t.Errorf("Vertex is asked %s %s", g.asked.Path, g.body)
	}
	g.post("/v1beta/models/m:generateContent", `{"contents":[{"parts":[{"text":"hi"}]}]}`)
	if g.asked.Path != "/models/gemini-2.5-flash:generateContent" {
		t.Errorf("a Gemini client's request goes to %s", g.asked.Path)
	}
}

// What is reserved covers the limit that the encoder states: filled in, or raised above a thinking budget.
func TestReservationCoversTheEncodedLimit(t *testing.T) {
	anthropic := state.Provider{Dialects: []string{"anthropic-messages"}, BaseURL: "https://api.anthropic.com"}
	target := func(model string, limit int64) state.Model {
		return state.Model{Targets: []state.Target{{Model: model, MaxOutput: limit}}}
	}
	for _, c := range []struct {
		why, ask string
		model    state.Model
		limit    int64
	}{
		{"filled in", `}`, target("claude-sonnet-4-6", 0), 32000},
		{"the operator's own limit", `}`, target("claude-sonnet-4-6", 2000), 2000},
		{"a model that writes less", `}`, target("claude-3-haiku-20240307", 0), 4096},
		{"stated", `,"max_completion_tokens":1000}`, target("claude-sonnet-4-6", 0), 1000},
		{"raised above a thinking budget", `,"max_completion_tokens":1000,"reasoning_effort":"medium"}`, target("claude-sonnet-4-5", 0), 9192},
	} {
		const tpm = 100_000
		o := newOneProvider(t, anthropic, c.model, tpm)
		o.chunks = []string{`{"id":"msg_1","type":"message","role":"assistant","model":"x","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":5}}`}
		for range 2 { // what was not used is given back
			o.post("/v1/chat/completions", chatHello+c.ask)
			if want := `"max_tokens":` + strconv.FormatInt(c.limit, 10) + ","; !strings.Contains(o.body, want) || o.outcome.Fault != nil {
				t.Errorf("%s: asked %s, fault %v", c.why, o.body, o.outcome.Fault)
			}
			// The prompt is some tokens, and a limit of 2000 fills in less than an answer without a limit counts for.
			if held := tpm - o.left; held < c.limit || held > max(c.limit, 4096)+200 {
				t.Errorf("%s: %d tokens are held for a limit of %d", c.why, held, c.limit)
			}
		}
	}
	// A tenant whose limit is below what the request may use is asked to wait, not turned away for ever.
	o := newOneProvider(t, anthropic, target("claude-sonnet-4-5", 0), 5000)
	o.post("/v1/chat/completions", chatHello+`,"max_completion_tokens":1000,"reasoning_effort":"medium"}`)
	if !strings.Contains(o.body, `"max_tokens":9192`) {
		t.Errorf("refused: %s", o.written.String())
	}
}

// A client's betas stay when a history is re-encoded, and ours come beside them.
func TestBetasAreMerged(t *testing.T) {
	o := newOneProvider(t, state.Provider{Dialects: []string{"anthropic-messages"}, BaseURL: "https://api.anthropic.com"}, state.Model{Targets: []state.Target{{Model: "claude-sonnet-4-6"}}}, 0)
	fields := mergeBetas([]tunnel.Field{{Name: betaHeader, Value: "x"}, {Name: "Accept", Value: "y"}},
		http.Header{betaHeader: {"context-1m-2025-08-07, files-api-2025-04-14"}}, http.Header{betaHeader: {"files-api-2025-04-14"}})
	if len(fields) != 2 || fields[1].Value != "context-1m-2025-08-07,files-api-2025-04-14" {
		t.Errorf("%+v", fields)
	}
	o.post("/v1/messages", `{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}`, "anthropic-version", "2023-06-01", "anthropic-beta", "context-1m-2025-08-07")
	if got := o.header(betaHeader); len(got) != 1 || got[0] != "context-1m-2025-08-07" {
		t.Errorf("passed on as %v", got)
	}
}
