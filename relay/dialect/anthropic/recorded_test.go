package anthropic_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/anthropic"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/llm"
)

type recording struct {
	ID       string `json:"id"`
	Stream   bool   `json:"stream"`
	Status   int    `json:"status"`
	Endpoint string `json:"endpoint"`
	Request  struct {
		Body json.RawMessage `json:"body"`
	} `json:"request"`
	Response struct {
		Body json.RawMessage `json:"body"`
	} `json:"response"`
}

func (r *recording) op() llm.Op {
	if r.Endpoint == "count_tokens" {
		return llm.OpCountTokens
	}
	return llm.OpGenerate
}

func (r *recording) answer() []byte {
	var s string
	if json.Unmarshal(r.Response.Body, &s) != nil {
		return r.Response.Body
	}
	if raw, err := base64.StdEncoding.DecodeString(s); err == nil && len(s) > 40 {
		return raw
	}
	return []byte(s)
}

func recordings(t testing.TB) (out []*recording) {
	t.Helper()
	root := filepath.Join("..", "..", "..", "..", "shared", "data", "recordings", "anthropic")
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		t.Skip("recorded answers are not here (../shared/data/recordings): skipping")
	}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		r := new(recording)
		out = append(out, r)
		return json.Unmarshal(b, r)
	})
	if err != nil || len(out) < 40 {
		t.Fatal(len(out), err)
	}
	return out
}

// What clients really sent means the same after a conversion within the dialect.
func TestRecordedRequests(t *testing.T) {
	t.Parallel()
	n := 0
	for _, rec := range recordings(t) {
		if len(rec.Request.Body) < 3 || rec.Request.Body[0] != '{' || string(rec.Request.Body) == "null" {
			continue
		}
		n++
		r, err := convtest.DecodeRequest(codec, rec.op(), rec.Request.Body)
		if err != nil {
			t.Errorf("%s: %v", rec.ID, err)
			continue
		}
		enc, err := anthropic.Backend{}.EncodeRequest(r, dialect.EncodeOptions{Model: r.Model})
		if err != nil || len(enc.Losses) > 0 {
			t.Errorf("%s: losses %v, %v", rec.ID, enc.Losses, err)
			continue
		}
		back, err := convtest.DecodeRequest(codec, rec.op(), enc.Body.Bytes())
		if err != nil {
			t.Errorf("%s: %v", rec.ID, err)
			continue
		}
		if d := convtest.DiffRequests(r, back); d != "" || r.Stream != back.Stream {
			t.Errorf("%s (-recorded +again):\n%s", rec.ID, d)
		}
	}
	if n < 40 {
		t.Errorf("only %d requests", n)
	}
}

// essence is what a client reads of a message, with the vendor's spelling of absence evened out.
type essence struct {
	Content              []json.RawMessage
	StopReason           string
	StopSequence         string
	Input, Output, Reads int64
	Writes, Thinking     int64
}

func essential(t *testing.T, message []byte) essence {
	t.Helper()
	var m struct {
		Content      []map[string]json.RawMessage `json:"content"`
		StopReason   string                       `json:"stop_reason"`
		StopSequence *string                      `json:"stop_sequence"`
		Usage        struct {
			Input   int64 `json:"input_tokens"`
			Output  int64 `json:"output_tokens"`
			Reads   int64 `json:"cache_read_input_tokens"`
			Writes  int64 `json:"cache_creation_input_tokens"`
			Details struct {
				Thinking int64 `json:"thinking_tokens"`
			} `json:"output_tokens_details"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(message, &m); err != nil {
		t.Fatalf("%v: %.200s", err, message)
	}
	u := m.Usage
	e := essence{StopReason: m.StopReason, Input: u.Input, Output: u.Output, Reads: u.Reads, Writes: u.Writes, Thinking: u.Details.Thinking}
	if m.StopSequence != nil {
		e.StopSequence = *m.StopSequence
	}
	for _, b := range m.Content {
		if string(b["caller"]) == `{"type":"direct"}` {
			delete(b, "caller")
		}
		if string(b["type"]) == `"text"` && string(b["citations"]) == "[]" {
			delete(b, "citations")
		}
		raw, err := json.Marshal(b) // sorts members
		if err != nil {
			t.Fatal(err)
		}
		e.Content = append(e.Content, raw)
	}
	return e
}

var again = dialect.AnswerOptions{Request: &llm.Request{From: llm.AnthropicMessages, Op: llm.OpGenerate}, ID: "req", Model: "m"}

func TestRecordedAnswers(t *testing.T) {
	t.Parallel()
	n := 0
	for _, rec := range recordings(t) {
		if rec.Stream || rec.Status != 200 {
			continue
		}
		n++
		r, err := anthropic.Backend{}.DecodeResponse(rec.op(), rec.answer(), dialect.DecodeOptions{Op: rec.op(), ID: "req"})
		if err != nil {
			t.Errorf("%s: %v", rec.ID, err)
			continue
		}
		o := again
		o.Request = &llm.Request{From: llm.AnthropicMessages, Op: rec.op()}
		body, losses, err := anthropic.Frontend{}.EncodeResponse(r, o)
		if err != nil || len(losses) > 0 {
			t.Errorf("%s: losses %v, %v", rec.ID, losses, err)
		}
		if rec.op() == llm.OpCountTokens {
			if bytes.Equal(body, []byte(`{"input_tokens":0}`)) || !bytes.Contains(rec.answer(), body[1:len(body)-1]) {
				t.Errorf("%s: %s", rec.ID, body)
			}
			continue
		}
		want, got := essential(t, rec.answer()), essential(t, body)
		if r.Usage.Input > want.Input+want.Reads+want.Writes {
			want.Input, want.Output = got.Input, got.Output // compaction: our sums include its own round
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-recorded +again):\n%s\n%s", rec.ID, d, body)
		}
	}
	if n < 10 {
		t.Errorf("only %d answers", n)
	}
}

// Every recorded stream is legal, and however it is cut the same; folded, it is the message that a client of our own
// stream reads from it.
func TestRecordedStreams(t *testing.T) {
	t.Parallel()
	n := 0
	for _, rec := range recordings(t) {
		if !rec.Stream || rec.Status != 200 {
			continue
		}
		n++
		everywhere := !testing.Short() && n%6 == 0 && len(rec.answer()) < 6<<10 // one in six shows it
		t.Run(filepath.Base(rec.ID), func(t *testing.T) {
			t.Parallel()
			stream := rec.answer()
			events, err := convtest.DecodeStream(anthropic.Backend{}, stream)
			if err != nil {
				t.Fatal(err)
			}
			if everywhere {
				events = convtest.EverySplit(t, anthropic.Backend{}, stream)
			}
			r, err := llm.Collect(events)
			if err != nil {
				t.Fatal(err)
			}
			out, losses, err := convtest.EncodeStream(anthropic.Frontend{}, again, events)
			if err != nil || len(losses) > 0 {
				t.Fatal(losses, err)
			}
			back, err := convtest.DecodeStream(anthropic.Backend{}, out)
			if err != nil {
				t.Fatal(err)
			}
			folded, err := llm.Collect(back)
			if err != nil {
				t.Fatal(err)
			}
			if d := convtest.DiffAnswers(r, folded); d != "" {
				t.Errorf("(-recorded +again):\n%s", d)
			}
			unary, _, err := anthropic.Frontend{}.EncodeResponse(r, again)
			if err != nil {
				t.Fatal(err)
			}
			convtest.StreamEqualsUnary(t, anthropic.Backend{}, unary, stream)
			checkWire(t, out)
		})
	}
	if n < 30 {
		t.Errorf("only %d streams", n)
	}
}

func TestRecordedStreamsCutOff(t *testing.T) {
	t.Parallel()
	n := 0
	for _, rec := range recordings(t) {
		if !rec.Stream || rec.Status != 200 || len(rec.answer()) > 3<<10 {
			continue
		}
		if n++; n > 3 {
			return
		}
		convtest.Truncated(t, anthropic.Backend{}, rec.answer(), 0)
	}
}
