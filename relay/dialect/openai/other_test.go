package openai

import (
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func TestPeekOther(t *testing.T) {
	for _, c := range []struct {
		op   llm.Op
		body string
		want dialect.Head
	}{
		{llm.OpComplete, `{"model":"m","prompt":"hi"}`, dialect.Head{Choices: 1, MaxOutput: 16}},
		{llm.OpComplete, `{"model":"m","prompt":["a","b","c"],"n":2,"best_of":4,"max_tokens":0}`, dialect.Head{Choices: 12}},
		{llm.OpComplete, `{"model":"m","prompt":[1,2,3],"max_tokens":null,"user":"u"}`, dialect.Head{Choices: 1, MaxOutput: 16, User: "u"}},
		{llm.OpComplete, `{"model":"m","prompt":[[1],[2,3]],"max_tokens":5}`, dialect.Head{Choices: 2, MaxOutput: 5}},
		{llm.OpImage, `{"model":"m","prompt":"a cat","n":3}`, dialect.Head{Choices: 1, Units: 3, Unit: "image"}},
		{llm.OpSpeech, `{"model":"m","input":"\u4f60好","stream_format":"sse"}`, dialect.Head{Choices: 1, Units: 2, Unit: "character", Stream: true}},
		{llm.OpSpeech, `{"model":"m","input":"hi","stream_format":"audio"}`, dialect.Head{Choices: 1, Units: 2, Unit: "character"}},
	} {
		got, err := Chat{}.Peek(c.op, []byte(c.body))
		if err != nil || got.Model != "m" || string(got.ModelSpan.Of([]byte(c.body))) != `"m"` {
			t.Errorf("%s %s: model %q, %v", c.op, c.body, got.Model, err)
		}
		w := c.want
		if got.Choices != w.Choices || got.MaxOutput != w.MaxOutput || got.User != w.User || got.Units != w.Units || got.Unit != w.Unit || got.Stream != w.Stream {
			t.Errorf("%s %s: %+v", c.op, c.body, got)
		}
	}
	for _, c := range []struct {
		op   llm.Op
		body string
	}{
		{llm.OpModerate, `{}`}, // names neither a model nor anything to look at
		{llm.OpModerate, `{"model":"","input":"x"}`},
		{llm.OpImage, `{"model":"m","n":"3"}`},
		{llm.OpImage, `{"model":"m","n":0}`},
		{llm.OpComplete, `{"model":"m","stream":"true"}`},
		{llm.OpComplete, `{"model":"m","best_of":1.5}`},
		{llm.OpSpeech, `{"model":"m","input":7}`},
		{llm.OpSpeech, `{"model":"m","input":"x","stream_format":true}`},
	} {
		if h, err := (Chat{}).Peek(c.op, []byte(c.body)); err == nil {
			t.Errorf("%s %s: read as %+v", c.op, c.body, h)
		}
	}
}

func TestPeekForm(t *testing.T) {
	const contentType = "multipart/form-data; boundary=b"
	part := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	body := part("n", "4") + part("model", "m") + part("stream", "True") + part("user", "u") + "--b--\r\n"
	h, err := PeekForm(llm.OpImage, contentType, []byte(body))
	if err != nil || h.Model != "m" || !h.Stream || h.User != "u" || h.Units != 4 || h.Unit != "image" {
		t.Errorf("%+v, %v", h, err)
	}
	for _, body := range []string{"--b--", part("n", "4") + "--b--", part("model", "m") + part("n", "x") + "--b--", part("model", "m") + part("stream", "on") + "--b--"} {
		if h, err := PeekForm(llm.OpImage, contentType, []byte(body)); err == nil {
			t.Errorf("%q: read as %+v", body, h)
		}
	}
}

func TestMediaTap(t *testing.T) {
	tap := ChatBackend{}.NewTap(llm.OpImage)
	if n := tap.Event("", []byte(`{"type":"image_generation.partial_image","b64_json":"x"}`)); n != dialect.NoteContent {
		t.Errorf("a partial image: %b", n)
	}
	for _, out := range []int64{7, 16} { // one for each image
		if n := tap.Event("image_generation.completed", []byte(`{"type":"image_generation.completed","usage":{"input_tokens":3,"output_tokens":7}}`)); n&dialect.NoteTerminal == 0 {
			t.Errorf("the end is not seen: %b", n)
		}
		if u, ok := tap.Usage(); !ok || u.Output > out {
			t.Errorf("usage %+v, %v", u, ok)
		}
	}
	tap = ResponsesBackend{}.NewTap(llm.OpTranscribe)
	if n := tap.Event("", []byte(`{"type":"transcript.text.done","text":"done","usage":{"type":"duration","seconds":4}}`)); n&dialect.NoteTerminal == 0 {
		t.Errorf("the end is not seen: %b", n)
	}
	if u, ok := tap.Usage(); ok {
		t.Errorf("seconds were read as tokens: %+v", u)
	}
	for _, data := range []string{`{"error":{"message":"no","type":"server_error"}}`, `{"type":"error","message":"no"}`} {
		tap := ChatBackend{}.NewTap(llm.OpSpeech)
		if n := tap.Event("", []byte(data)); n != dialect.NoteError || tap.Fault() == nil {
			t.Errorf("%s: %b, %v", data, n, tap.Fault())
		}
	}
	stored := ResponsesBackend{}.NewTap(llm.OpStored)
	if n := stored.Event("response.completed", []byte(`{"response":{"usage":{"input_tokens":3,"output_tokens":7}}}`)); n != dialect.NoteTerminal {
		t.Errorf("the end of a stored response: %b", n)
	}
	if u, ok := stored.Usage(); ok {
		t.Errorf("a stored response was counted again: %+v", u)
	}
}
