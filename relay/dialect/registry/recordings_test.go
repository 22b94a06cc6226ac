package registry_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// recording is one real answer of a provider (see the README beside the data).
type recording struct {
	ID       string `json:"id"`
	Vendor   string `json:"vendor"`
	Endpoint string `json:"endpoint"`
	Stream   bool   `json:"stream"`
	Status   int    `json:"status"`
	Request  struct {
		Body json.RawMessage `json:"body"`
	} `json:"request"`
	Response struct {
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
	} `json:"response"`
}

func (r *recording) dialect() (llm.Dialect, llm.Op) {
	switch r.Vendor + "/" + r.Endpoint {
	case "openai/chat":
		return llm.OpenAIChat, llm.OpGenerate
	case "openai/responses":
		return llm.OpenAIResponses, llm.OpGenerate
	case "anthropic/messages":
		return llm.AnthropicMessages, llm.OpGenerate
	case "anthropic/count_tokens":
		return llm.AnthropicMessages, llm.OpCountTokens
	case "gemini/countTokens":
		return llm.Gemini, llm.OpCountTokens
	}
	return llm.Gemini, llm.OpGenerate
}

// body is the answer as it was on the wire: some cassettes keep it in base64, some as parsed JSON.
func (r *recording) body() []byte {
	var s string
	if json.Unmarshal(r.Response.Body, &s) != nil {
		return r.Response.Body
	}
	if raw, err := base64.StdEncoding.DecodeString(s); err == nil && len(s) > 40 {
		return raw
	}
	return []byte(s)
}

func (r *recording) header() http.Header {
	h := http.Header{}
	for k, v := range r.Response.Headers {
		h.Set(k, v)
	}
	return h
}

// recordings lie beside the checkout; a clone elsewhere goes without them.
func recordings(t *testing.T) []*recording {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("module root not found")
		}
		dir = up
	}
	root := filepath.Join(dir, "..", "shared", "data", "recordings")
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		t.Skip("recorded answers are not here (../shared/data/recordings): skipping")
	}
	var out []*recording
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".json" || e.Name() == "index.json" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		r := new(recording)
		if err := json.Unmarshal(b, r); err != nil {
			return err
		}
		out = append(out, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// streamed reports whether the answer is a stream, array streams of Gemini included.
func (r *recording) streamed() bool {
	return r.Status == 200 && (r.Stream || r.Endpoint == "streamGenerateContent")
}

// truth is the usage as a plain JSON decoder reads it: written apart from the code under test.
type truth struct {
	usage llm.Usage
	has   bool
}

type wireUsage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Input      int64 `json:"input_tokens"`
	Output     int64 `json:"output_tokens"`
	PromptD    struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	InputD struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	CompletionD struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	OutputD struct {
		Reasoning int64 `json:"reasoning_tokens"`
		Thinking  int64 `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
	CacheRead   int64       `json:"cache_read_input_tokens"`
	CacheCreate int64       `json:"cache_creation_input_tokens"`
	Iterations  []wireUsage `json:"iterations"`
}

type wireFrame struct {
	Type     string     `json:"type"`
	Usage    *wireUsage `json:"usage"`
	Response *struct {
		Usage *wireUsage `json:"usage"`
	} `json:"response"`
	Message *struct {
		Usage *wireUsage `json:"usage"`
	} `json:"message"`
	Gemini *struct {
		Prompt     int64 `json:"promptTokenCount"`
		Tool       int64 `json:"toolUsePromptTokenCount"`
		Cached     int64 `json:"cachedContentTokenCount"`
		Candidates int64 `json:"candidatesTokenCount"`
		Thoughts   int64 `json:"thoughtsTokenCount"`
	} `json:"usageMetadata"`
}

func (t *truth) openai(u *wireUsage) {
	t.has = true
	t.usage = llm.Usage{
		Input: u.Prompt + u.Input, Output: u.Completion + u.Output, Cached: u.PromptD.Cached + u.InputD.Cached,
		Reasoning: u.CompletionD.Reasoning + u.OutputD.Reasoning,
	}
}

func (t *truth) anthropic(u *wireUsage) {
	t.has = true
	if len(u.Iterations) > 0 {
		t.usage = llm.Usage{}
		for _, i := range u.Iterations {
			t.usage = t.usage.Add(llm.Usage{Input: i.Input + i.CacheRead + i.CacheCreate, Cached: i.CacheRead, CacheWrite: i.CacheCreate, Output: i.Output})
		}
		return
	}
	if in := u.Input + u.CacheRead + u.CacheCreate; in > 0 {
		t.usage.Input, t.usage.Cached, t.usage.CacheWrite = in, u.CacheRead, u.CacheCreate
	}
	t.usage.Output, t.usage.Reasoning = u.Output, u.OutputD.Thinking
}

func (t *truth) frame(d llm.Dialect, data []byte) {
	var f wireFrame
	if json.Unmarshal(data, &f) != nil {
		return
	}
	switch {
	case f.Gemini != nil:
		g := f.Gemini
		t.has = true
		t.usage = llm.Usage{Input: g.Prompt + g.Tool, Cached: g.Cached, Output: g.Candidates + g.Thoughts, Reasoning: g.Thoughts}
	case d == llm.AnthropicMessages && f.Message != nil && f.Message.Usage != nil:
		t.anthropic(f.Message.Usage)
	case d == llm.AnthropicMessages && f.Usage != nil:
		t.anthropic(f.Usage)
	case f.Usage != nil:
		t.openai(f.Usage)
	case f.Response != nil && f.Response.Usage != nil:
		t.openai(f.Response.Usage)
	}
}

// prologue tells events that carry no answer yet, by the vendor's own event names.
func prologue(d llm.Dialect, name string, data string) bool {
	switch d {
	case llm.OpenAIChat:
		return strings.Contains(data, `"delta":{"role":"assistant","content":""`) && !strings.Contains(data, `"tool_calls":[{`) || strings.Contains(data, `"choices":[]`) ||
			strings.Contains(data, `"delta":{}`) || data == "[DONE]"
	case llm.OpenAIResponses:
		return name == "response.created" || name == "response.in_progress" || name == "response.content_part.added" ||
			name == "response.completed" || name == "response.incomplete" ||
			name == "response.output_item.added" && !strings.Contains(data, `"type":"function_call"`) && !strings.Contains(data, `_call"`)
	case llm.AnthropicMessages:
		return name == "message_start" || name == "ping" || name == "content_block_stop" || name == "message_delta" || name == "message_stop" ||
			name == "content_block_start" && (strings.Contains(data, `"type":"text","text":""`) || strings.Contains(data, `"thinking":""`))
	}
	return false
}

func TestRecordedStreams(t *testing.T) {
	t.Parallel()
	seen := map[llm.Dialect]int{}
	for _, r := range recordings(t) {
		if !r.streamed() {
			continue
		}
		d, op := r.dialect()
		seen[d]++
		t.Run(r.ID, func(t *testing.T) {
			body := r.body()
			for _, chunk := range []int{len(body), 1000, 7} {
				checkStream(t, r, d, op, body, chunk)
			}
		})
	}
	for _, d := range llm.Dialects {
		if seen[d] == 0 {
			t.Errorf("no recorded stream of %s was checked", d)
		}
	}
}

func checkStream(t *testing.T, r *recording, d llm.Dialect, op llm.Op, body []byte, chunk int) {
	t.Helper()
	tap := registry.Backend(d).NewTap(op)
	frames := registry.NewFrames(d, r.header().Get("Content-Type"), 0)
	var want truth
	var raw strings.Builder
	var contents, terminals, events int
	one := func(name string, data, whole []byte) {
		raw.Write(whole)
		if data == nil {
			return
		}
		events++
		want.frame(d, data)
		note := tap.Event(name, data)
		if note&dialect.NoteContent != 0 {
			contents++
		}
		if got := note&dialect.NoteContent != 0; d != llm.Gemini && got == prologue(d, name, string(data)) {
			t.Errorf("%s: content note %t for %s", name, got, data)
		}
		if note&dialect.NoteTerminal != 0 {
			terminals++
		}
		if note&dialect.NoteError != 0 {
			t.Errorf("error note for %s", data)
		}
	}
	for rest := body; len(rest) > 0; {
		n := min(chunk, len(rest))
		frames.Feed(rest[:n])
		rest = rest[n:]
		for e, ok := frames.Next(); ok; e, ok = frames.Next() {
			one(e.Name, e.Data, e.Raw)
		}
	}
	if e, ok := frames.End(); ok {
		one(e.Name, e.Data, e.Raw)
	}
	if frames.Err() != nil {
		t.Fatal(frames.Err())
	}
	if raw.String() != string(body) {
		t.Error("raw parts are not the stream")
	}
	most := 1
	if d == llm.OpenAIChat {
		most = 2 // the last finish reason and [DONE], of which some servers leave out one
	}
	if contents == 0 || terminals < 1 || terminals > most {
		t.Errorf("%d events: %d with content, %d terminal, want some and at most %d", events, contents, terminals, most)
	}
	got, has := tap.Usage()
	if d := cmp.Diff(want.usage, got); d != "" || has != want.has {
		t.Errorf("usage stated %t, want %t (-want +got):\n%s", has, want.has, d)
	}
	if !want.has {
		t.Log("the recording states no usage")
	}
	if tap.Fault() != nil {
		t.Errorf("fault %v", tap.Fault())
	}
}

func TestRecordedUnaryUsage(t *testing.T) {
	t.Parallel()
	n := 0
	for _, r := range recordings(t) {
		if r.streamed() || r.Status != 200 {
			continue
		}
		d, op := r.dialect()
		var want truth
		want.frame(d, r.body())
		if op == llm.OpCountTokens {
			want = truth{}
		}
		got, has := registry.Backend(d).UnaryUsage(op, r.body())
		if diff := cmp.Diff(want.usage, got); diff != "" || has != want.has {
			t.Errorf("%s: stated %t, want %t (-want +got):\n%s", r.ID, has, want.has, diff)
		}
		n++
	}
	if n < 50 {
		t.Errorf("only %d answers checked", n)
	}
}

// Every recorded request must pass Peek, name its model, and come out of Splice unchanged when the
// provider's model has the same name.
func TestRecordedRequestsPassPeek(t *testing.T) {
	t.Parallel()
	n := 0
	for _, r := range recordings(t) {
		if len(r.Request.Body) == 0 || r.Request.Body[0] != '{' {
			continue
		}
		d, op := r.dialect()
		h, err := registry.Frontend(d).Peek(op, r.Request.Body)
		if err != nil {
			t.Errorf("%s: %v", r.ID, err)
			continue
		}
		var want struct {
			Model  string `json:"model"`
			Stream bool   `json:"stream"`
		}
		if err := json.Unmarshal(r.Request.Body, &want); err != nil {
			t.Fatal(err)
		}
		if d != llm.Gemini && (h.Model != want.Model || h.Stream != want.Stream) {
			t.Errorf("%s: head %q %t, want %q %t", r.ID, h.Model, h.Stream, want.Model, want.Stream)
		}
		if e := registry.Backend(d).Splice(op, h, h.Model); d != llm.OpenAIChat && d != llm.Gemini && len(e) != 0 {
			t.Errorf("%s: %d edits for the same model", r.ID, len(e))
		}
		n++
	}
	if n < 50 {
		t.Errorf("only %d requests checked", n)
	}
}

func TestRecordedFaults(t *testing.T) {
	t.Parallel()
	want := map[string]fault.Kind{
		"raises_appropriate_auth_error":          fault.UpstreamAuth,
		"uses_context-specific_api_keys":         fault.UpstreamAuth,
		"openai_gpt-5-nano_handles_context":      fault.UpstreamRejected,
		"anthropic_claude-haiku-4-5_handles":     fault.UpstreamRejected,
		"vertexai_gemini-2_5-flash_handles":      fault.UpstreamRejected,
		"_gemini_gemini-2_5-flash_handles_conte": fault.UpstreamRate,
	}
	n := 0
	for _, r := range recordings(t) {
		if r.Status == 200 {
			continue
		}
		n++
		d, _ := r.dialect()
		f := registry.Backend(d).DecodeFault(r.Status, r.header(), r.body())
		found := false
		for part, kind := range want {
			if !strings.Contains(r.ID, part) {
				continue
			}
			found = true
			if f.Kind != kind {
				t.Errorf("%s: %s, want %s", r.ID, f.Kind, kind)
			}
		}
		if !found {
			t.Errorf("%s: no expectation for this recording (%s)", r.ID, f.Kind)
		}
		if f.Phase != fault.Sent || f.Status != r.Status {
			t.Errorf("%s: phase %d, status %d", r.ID, f.Phase, f.Status)
		}
		if f.Kind == fault.UpstreamRejected && (!dialect.ContextOverflow(f) || len(f.Raw) == 0) {
			t.Errorf("%s: context overflow not recognised in %q", r.ID, f.Message)
		}
		if f.Kind == fault.UpstreamRate && f.RetryAfter.Seconds() < 1 {
			t.Errorf("%s: RetryInfo not read: %v", r.ID, f.RetryAfter)
		}
		for _, to := range llm.Dialects { // the upstream's 401 is never the client's, in any protocol
			out := registry.Frontend(to).EncodeFault(f, "req-1")
			if f.Kind == fault.UpstreamAuth && (out.Status < 502 || out.Status > 504) {
				t.Errorf("%s to %s: status %d", r.ID, to, out.Status)
			}
			if strings.Contains(string(out.Body), "invalid-key") || strings.Contains(string(out.Body), "****") {
				t.Errorf("%s to %s: the key shows in %s", r.ID, to, out.Body)
			}
		}
	}
	if n < 7 {
		t.Errorf("only %d faults checked", n)
	}
}
