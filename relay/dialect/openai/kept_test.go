package openai

import (
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

func TestResponseIDsAreFound(t *testing.T) {
	found := func(doc string, spans []splice.Span) string {
		var out []string
		at := 0
		for _, s := range spans {
			if s.Start < at {
				t.Errorf("%s: spans are not in order", doc)
			}
			at = s.End
			out = append(out, string(s.Of([]byte(doc))))
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct{ doc, want string }{
		{`{"id":"resp_1","object":"response","output":[{"id":"msg_1"}],"previous_response_id":null}`, `"resp_1"`},
		{`{"previous_response_id" : "resp_0", "metadata":{"id":"x"}, "id" : "resp_1"}`, `"resp_0" "resp_1"`},
		{`{"id":"","previous_response_id":7}`, ``},
		{`[{"id":"resp_1"}]`, ``},
		{`{"id":"resp_1"`, ``},
	} {
		if got := found(c.doc, ResponseIDs(nil, []byte(c.doc))); got != c.want {
			t.Errorf("%s: %s", c.doc, got)
		}
	}
	for _, c := range []struct{ doc, want string }{
		{`{"type":"response.created","response":{"id":"resp_1","previous_response_id":"resp_0"},"sequence_number":0}`, `"resp_1" "resp_0"`},
		{`{"type":"response.output_text.delta","item_id":"msg_1","delta":"\"response\":{\"id\":\"resp_1\"}"}`, ``},
		{`{"type":"response.output_text.delta","id":"resp_1","delta":"response"}`, ``},
		{`{"delta":"response","response":null}`, ``},
	} {
		if got := found(c.doc, EventResponseIDs(nil, []byte(c.doc))); got != c.want {
			t.Errorf("%s: %s", c.doc, got)
		}
	}
	delta := []byte(`{"type":"response.output_text.delta","item_id":"msg_1","delta":"a \"response\" and more"}`)
	if n := testing.AllocsPerRun(100, func() { EventResponseIDs(nil, delta) }); n > 0 {
		t.Errorf("a delta takes %.0f allocations", n)
	}
}

func TestKeptStateIsRead(t *testing.T) {
	body := `{"model":"m","input":"x","store":false,"conversation":{"id":"conv_1"},"previous_response_id":"resp_\u0031"}`
	h, err := Responses{}.Peek(llm.OpGenerate, []byte(body))
	if k := h.Kept; err != nil || k.Previous != "resp_1" || string(k.PreviousSpan.Of([]byte(body))) != `"resp_\u0031"` || !k.Conversation || !k.NotStored {
		t.Errorf("%+v, %v", k, err)
	}
	h, err = Responses{}.Peek(llm.OpGenerate, []byte(`{"model":"m","store":null,"conversation":null,"previous_response_id":null}`))
	if k := h.Kept; err != nil || k.Previous != "" || k.Conversation || k.NotStored {
		t.Errorf("%+v, %v", k, err)
	}
	for _, body := range []string{`{"model":"m","store":"no"}`, `{"model":"m","previous_response_id":["resp_1"]}`, `{"model":"m","previous_response_id":"a","previous_response_id":"b"}`} {
		if h, err := (Responses{}).Peek(llm.OpGenerate, []byte(body)); err == nil {
			t.Errorf("%s: read as %+v", body, h.Kept)
		}
	}
}
