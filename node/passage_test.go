package node_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// formBody is a multipart form of a file and fields, name and value in turn, and its content type.
func formBody(t *testing.T, file, data string, fields ...string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary("a-fixed-boundary"); err != nil {
		t.Fatal(err)
	}
	f, err := w.CreateFormFile(file, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

// Operations around generation pass through with their usage or their units, an intent and an outcome
// on record.
func TestOperationsPassThrough(t *testing.T) {
	r := newRig(t, nil)
	heard, formType := formBody(t, "file", "\x00\xffabc", "model", "whisper-1")
	tokens, _ := formBody(t, "file", "\x00\xffabc", "model", "gpt-4o-transcribe")
	live, _ := formBody(t, "file", "\x00\xffabc", "model", "gpt-4o-transcribe", "stream", "true")
	edit, _ := formBody(t, "image", "png", "model", "gpt-image-1", "prompt", "a cat", "n", "2")
	vary, _ := formBody(t, "image", "png", "model", "dall-e-2")
	const jsonType = "application/json"
	for _, c := range []struct {
		path, contentType, body string
		want                    string
		kind                    edge.UsageKind
		unit                    string
		units                   int64
	}{
		{"/v1/completions", jsonType, `{"model":"gpt-3.5-turbo-instruct","prompt":"Reply with exactly: pong"}`, `"text":"pong"`, edge.UsageMeasured, "", 0},
		{"/v1/completions", jsonType, `{"model":"gpt-3.5-turbo-instruct","prompt":"hi","stream":true}`, "data: [DONE]", edge.UsageMeasured, "", 0},
		{"/v1/moderations", jsonType, `{"model":"omni-moderation-latest","input":"hello"}`, `"flagged":false`, edge.UsageUncounted, "", 0},
		{"/v1/moderations", jsonType, `{"input":["hello"]}`, `"model":"omni-moderation-latest"`, edge.UsageUncounted, "", 0},
		{"/v1/images/generations", jsonType, `{"model":"gpt-image-1","prompt":"a cat"}`, `"b64_json"`, edge.UsageMeasured, "", 0},
		{"/v1/images/generations", jsonType, `{"model":"gpt-image-1","prompt":"a cat","stream":true}`, "image_generation.completed", edge.UsageMeasured, "", 0},
		{"/v1/images/edits", formType, edit, `"b64_json"`, edge.UsageMeasured, "", 0},
		{"/v1/images/variations", formType, vary, `"b64_json"`, edge.UsageMeasured, "", 0},
		{"/v1/audio/speech", jsonType, `{"model":"tts-1","voice":"alloy","input":"你好"}`, "\xff\xfb\x90\x00silence\xff", edge.UsageUncounted, "character", 2},
		{"/v1/audio/speech", jsonType, `{"model":"gpt-4o-mini-tts","voice":"alloy","input":"hi","stream_format":"sse"}`, "speech.audio.done", edge.UsageMeasured, "", 0},
		{"/v1/audio/transcriptions", formType, heard, `"text":"heard 5 bytes"`, edge.UsageUncounted, "", 0},
		{"/v1/audio/translations", formType, tokens, `"text":"heard 5 bytes"`, edge.UsageMeasured, "", 0},
		{"/v1/audio/transcriptions", formType, live, "transcript.text.done", edge.UsageMeasured, "", 0},
		{"/v1/responses/compact", jsonType, `{"model":"gpt-5.5","input":"a long story"}`, `"response.compaction"`, edge.UsageMeasured, "", 0},
	} {
		before := len(r.audit.outcomes)
		a := r.post(c.path, c.body, "Content-Type", c.contentType)
		if a.status != 200 || !strings.Contains(strings.ReplaceAll(a.body, `": `, `":`), c.want) {
			t.Errorf("%s: %d %s", c.path, a.status, a.body)
			continue
		}
		if sent := r.sent.Load().(string); sent != c.body && !strings.Contains(sent, "include_usage") {
			t.Errorf("%s: the body changed on its way:\n%q\n%q", c.path, c.body, sent)
		}
		o := r.last()
		if o.Endpoint != c.path || o.Fault != nil || o.UsageKind != c.kind || o.Unit != c.unit || o.Units != c.units || c.kind == edge.UsageMeasured && o.Usage.Output == 0 {
			t.Errorf("%s: endpoint %s, fault %v, %s usage %+v, %d %s", c.path, o.Endpoint, o.Fault, o.UsageKind, o.Usage, o.Units, o.Unit)
		}
		if len(r.audit.outcomes) != before+1 || len(r.audit.intents) != before+1 {
			t.Errorf("%s: %d intents and %d outcomes on record", c.path, len(r.audit.intents), len(r.audit.outcomes))
		}
	}
}

// The model's name is changed where the upstream's differs, and nothing else is.
func TestOperationsRenameTheModel(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		v.Models = []state.Model{
			{ID: "ours", Targets: []state.Target{{Provider: "openai", Model: "gpt-4o-transcribe"}}},
			{ID: "omni-moderation-latest", Targets: []state.Target{{Provider: "openai", Model: "fake"}}},
		}
	})
	body, formType := formBody(t, "file", "model=ours", "model", "ours")
	for _, c := range []struct{ path, contentType, body, sent string }{
		{"/v1/audio/transcriptions", formType, body, strings.Replace(body, "\r\n\r\nours\r\n", "\r\n\r\ngpt-4o-transcribe\r\n", 1)},
		{"/v1/completions", "application/json", `{"prompt":"ours", "model": "ours"}`, `{"prompt":"ours", "model": "gpt-4o-transcribe"}`},
		{"/v1/moderations", "application/json", ` { "input":"ours"}`, ` {"model":"fake", "input":"ours"}`},
	} {
		a := r.post(c.path, c.body, "Content-Type", c.contentType)
		if sent := r.sent.Load(); a.status != 200 || sent != c.sent {
			t.Errorf("%s: %d %s\nsent %q\nwant %q", c.path, a.status, a.body, sent, c.sent)
		}
	}
}

func TestOperationsAreRefused(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		v.Models = append(v.Models, state.Model{ID: "claude", Targets: []state.Target{{Provider: "anthropic", Model: "claude-opus-4-7"}}})
		v.Keys[0].Models = []string{"claude", "gpt-4o"}
	})
	r.sent.Store("nothing")
	twice, formType := formBody(t, "file", "x", "model", "gpt-4o", "model", "whisper-1")
	other, _ := formBody(t, "file", "x", "model", "whisper-1")
	stream, _ := formBody(t, "file", "x", "model", "gpt-4o", "stream", "maybe")
	for _, c := range []struct {
		path, contentType, body string
		status                  int
		want                    string
	}{
		{"/v1/completions", "", `{"model":"claude","prompt":"hi"}`, 400, "unsupported_conversion"},
		{"/v1/audio/speech", "", `{"model":"claude","voice":"a","input":"hi"}`, 400, "unsupported_conversion"},
		{"/v1/images/generations", "", `{"model":"gpt-image-1","prompt":"hi"}`, 403, "permission_denied"},
		{"/v1/images/generations", "", `{"prompt":"hi"}`, 400, `"model"`},
		{"/v1/images/generations", "", `{"model":"gpt-4o","model":"gpt-image-1","prompt":"hi"}`, 400, "duplicate"},
		{"/v1/audio/transcriptions", formType, twice, 400, "given twice"},
		{"/v1/audio/transcriptions", formType, other, 403, "permission_denied"},
		{"/v1/audio/transcriptions", formType, stream, 400, "stream must be"},
		{"/v1/audio/transcriptions", formType, "nonsense", 400, "multipart"},
		{"/v1/audio/transcriptions", "", `{}`, 400, "model"},
		{"/v1/completions", "", `{"model":"nobody","prompt":"hi"}`, 404, "model_not_found"},
		{"/anthropic/v1/completions", "", `{}`, 404, "not_found"},
	} {
		if c.contentType == "" {
			c.contentType = "application/json"
		}
		a := r.post(c.path, c.body, "Content-Type", c.contentType)
		if a.status != c.status || !strings.Contains(a.body, c.want) || r.sent.Load() != "nothing" {
			t.Errorf("%s %q: %d %s", c.path, c.body, a.status, a.body)
		}
	}
}

// Audio reaches the client while the provider is still speaking.
func TestSpeechIsNotHeldBack(t *testing.T) {
	r := newRig(t, nil)
	release := make(chan struct{})
	r.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "audio/mpeg")
		_, _ = w.Write([]byte("first"))
		w.(http.Flusher).Flush()
		<-release
		_, _ = w.Write([]byte("second"))
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.server.URL+"/v1/audio/speech", strings.NewReader(`{"model":"tts-1","voice":"a","input":"hi"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+rigKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "first" {
		t.Fatalf("%q, %v", first, err)
	}
	close(release)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "second" {
		t.Errorf("%q, %v", rest, err)
	}
}

// What counts no tokens takes nothing from a limit on tokens, whatever its body weighs.
func TestOperationsWithoutTokensReserveNone(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) { v.Limits = []state.Limit{{Tenant: "acme", Model: "*", TPM: 100}} })
	body, formType := formBody(t, "file", strings.Repeat("x", 100_000), "model", "whisper-1")
	const complete = `{"model":"fake","prompt":"hi","max_tokens":1000}`
	if a := r.post("/v1/completions", complete); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := r.post("/v1/completions", complete); a.status != 429 || r.last().Op != llm.OpComplete {
		t.Fatalf("the limit does not bind: %d %s", a.status, a.body)
	}
	if a := r.post("/v1/audio/transcriptions", body, "Content-Type", formType); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// What was read as JSON is called JSON: no provider may read it as a form with another model in it.
func TestBodiesAreWhatTheyWereReadAs(t *testing.T) {
	r := newRig(t, nil)
	var got []string
	next := r.upstream.Config.Handler
	r.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		got = q.Header["Content-Type"]
		next.ServeHTTP(w, q)
	})
	form, formType := formBody(t, "file", "x", "model", "whisper-1")
	for _, c := range []struct{ path, body, said, want string }{
		{"/v1/chat/completions", chatBody + "}", "application/x-www-form-urlencoded", "application/json"},
		{"/v1/chat/completions", chatBody + "}", "text/plain; charset=utf-8", "application/json"},
		{"/v1/chat/completions", chatBody + "}", "Application/JSON; charset=utf-8", "Application/JSON; charset=utf-8"},
		{"/v1/images/edits", `{"model":"gpt-image-1","prompt":"&model=gpt-5.5","images":[{"file_id":"f"}]}`, "application/x-www-form-urlencoded", "application/json"},
		{"/v1/audio/transcriptions", form, formType, formType},
		{"/v1/files", "anything", "text/csv", "text/csv"},
	} {
		got = nil
		a := r.post(c.path, c.body, "Content-Type", c.said)
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s as %s arrives as %q (%d %s)", c.path, c.said, got, a.status, a.body)
		}
	}
}
