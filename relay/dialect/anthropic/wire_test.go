package anthropic_test

import (
	"encoding/json"
	"testing"

	"github.com/causeway-mesh/causeway/relay/sse"
)

// checkWire holds a stream for clients to what the vendor's SDKs throw on: one message_start, blocks
// numbered 0, 1, 2..., one open at a time, deltas of the block's kind only, no empty text block, every
// event named, message_delta and message_stop at the end.
func checkWire(t testing.TB, stream []byte) {
	t.Helper()
	s := sse.NewScanner(0)
	s.Feed(stream)
	started, stopped, ended := false, false, false
	next, kind, written := 0, "", 0
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		var ev struct {
			Type  string
			Index int
			Block struct {
				Type, Text string
			} `json:"content_block"`
			Delta struct {
				Type       string
				StopReason string `json:"stop_reason"`
			}
			Usage struct {
				Output *int64 `json:"output_tokens"`
			}
		}
		if err := json.Unmarshal(e.Data, &ev); err != nil || e.Name != ev.Type {
			t.Fatalf("event %q: %v: %s", e.Name, err, e.Data)
		}
		if ended || e.Name != "message_start" && !started && e.Name != "error" {
			t.Fatalf("%s is out of order", e.Name)
		}
		switch e.Name {
		case "message_start":
			if started {
				t.Fatal("second message_start")
			}
			started = true
		case "content_block_start":
			if kind != "" || ev.Index != next || ev.Block.Type == "text" && ev.Block.Text != "" {
				t.Fatalf("block %d opens while %q is open, want %d", ev.Index, kind, next)
			}
			kind, written = ev.Block.Type, 0
		case "content_block_delta":
			want := map[string]string{"text_delta": "text", "citations_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking", "input_json_delta": "tool_use"}
			if kind != want[ev.Delta.Type] || ev.Index != next {
				t.Fatalf("%s in a block %q", ev.Delta.Type, kind)
			}
			written++
		case "content_block_stop":
			if kind == "" || ev.Index != next || kind == "text" && written == 0 {
				t.Fatalf("block %d of kind %q ends", ev.Index, kind)
			}
			kind = ""
			next++
		case "message_delta":
			if kind != "" || ev.Delta.StopReason == "" || ev.Usage.Output == nil {
				t.Fatalf("message_delta: %s", e.Data)
			}
			stopped = true
		case "message_stop":
			ended = true
		case "error":
			stopped, ended = true, true
		default:
			t.Fatalf("unknown event %q", e.Name)
		}
	}
	if !stopped || !ended {
		t.Fatalf("the stream does not end: %.200s", stream)
	}
}
