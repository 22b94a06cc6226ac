package anthropic_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/anthropic"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

const everyBlock = `{"model":"m","max_tokens":2000,"stream":true,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],
"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}},
{"type":"document","title":"t","context":"c","citations":{"enabled":true},"source":{"type":"text","media_type":"text/plain","data":"d"}},
{"type":"document","source":{"type":"content","content":[{"type":"text","text":"1"},{"type":"text","text":"2"}]}},
{"type":"document","source":{"type":"content","content":[{"type":"text","text":"1"},{"type":"image","source":{"type":"url","url":"https://a/b.png"}}]}},
{"type":"document","source":{"type":"url","url":"https://a/b.pdf"}},{"type":"image","source":{"type":"file","file_id":"file_1"}},
{"type":"search_result","source":"https://a","title":"t","content":[{"type":"text","text":"x"}],"citations":{"enabled":true}},{"type":"container_upload","file_id":"f"}]},
{"role":"system","content":"late"},
{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"sig"},{"type":"redacted_thinking","data":"d"},
{"type":"text","text":"b","citations":[{"type":"char_location","cited_text":"d","document_index":0,"document_title":"t","start_char_index":0,"end_char_index":1}]},
{"type":"server_tool_use","id":"s1","name":"web_search","input":{"query":"q"}},{"type":"web_search_tool_result","tool_use_id":"s1","content":[]},
{"type":"tool_use","id":"t1","name":"f","input":{"a":1},"caller":{"type":"direct"}}]},
{"role":"user","content":[{"type":"text","text":"after"},{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":[{"type":"text","text":"r"},{"type":"tool_reference","tool_name":"x"}]}]}],
"tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"strict":true,"input_examples":[{}]},{"type":"web_search_20260318","name":"web_search","max_uses":3}],
"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"thinking":{"type":"enabled","budget_tokens":1024,"display":"omitted"},
"output_config":{"effort":"high","format":{"type":"json_schema","schema":{"type":"object"}}},"stop_sequences":["x"],"temperature":1,"top_p":1,"top_k":3,
"metadata":{"user_id":"u"},"service_tier":"auto","cache_control":{"type":"ephemeral"},"inference_geo":"us","context_management":{"edits":[]}}`

// Everything that a client may say comes out again in the same dialect, and what another vendor would
// lose is listed, not dropped.
func TestEveryBlock(t *testing.T) {
	t.Parallel()
	r, err := convtest.DecodeRequest(codec, llm.OpGenerate, []byte(everyBlock))
	if err != nil {
		t.Fatal(err)
	}
	enc, err := anthropic.Backend{}.EncodeRequest(r, dialect.EncodeOptions{Model: "m", Quirks: dialect.Quirks{SystemInPlace: true}})
	if err != nil || len(enc.Losses) != 1 || enc.Losses[0].Path != "/top_k" { // the version that takes system text in place
		t.Fatal(enc.Losses, err, fault.As(err))
	}
	back, err := convtest.DecodeRequest(codec, llm.OpGenerate, enc.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	r.Sampling, back.Sampling = llm.Sampling{}, llm.Sampling{}
	if d := convtest.DiffRequests(r, back); d != "" {
		t.Errorf("(-sent +again):\n%s\n%s", d, enc.Body.Bytes())
	}
	for _, want := range []string{`"input_examples":[{}]`, `"max_uses":3`, `"tool_reference"`, `"inference_geo":"us"`, `"char_location"`, `"display":"omitted"`, `"container_upload"`} {
		if !strings.Contains(string(enc.Body.Bytes()), want) {
			t.Errorf("%s is lost", want)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(everyBlock))
	f.Add([]byte(`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"system":"y","output_format":{"type":"json_schema","schema":{}}}`))
	f.Add([]byte(`{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"Y3djYXIx"},{"type":"mystery"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, op := range []llm.Op{llm.OpGenerate, llm.OpCountTokens} {
			r, err := convtest.DecodeRequest(codec, op, body)
			if err != nil {
				if k := fault.As(err).Kind; k != fault.Malformed {
					t.Fatalf("%v: %v", k, err)
				}
				continue
			}
			for _, q := range []dialect.Quirks{{}, {NoSchema: true, NoSampling: true, NoEffort: true, SystemInPlace: true}} {
				enc, err := anthropic.Backend{}.EncodeRequest(r, dialect.EncodeOptions{Model: "m", Quirks: q})
				if err != nil {
					if k := fault.As(err).Kind; k != fault.Unsupported {
						t.Fatalf("%v: %v", k, err)
					}
					continue
				}
				if _, err := convtest.DecodeRequest(codec, op, enc.Body.Bytes()); err != nil && strings.Contains(err.Error(), "at least one message") {
					continue // a request whose messages are all empty
				} else if err != nil {
					t.Fatalf("%v\n%s", err, enc.Body.Bytes())
				}
			}
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	f.Add([]byte(`{"id":"msg_1","model":"m","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"text","text":"x","citations":[{"type":"page_location","cited_text":"c"}]},{"type":"tool_use","id":"t","name":"f","input":{}},{"type":"mystery"}],"stop_reason":"refusal","stop_details":{"type":"refusal","explanation":"no"},"usage":{"input_tokens":1,"output_tokens":2,"iterations":[{"input_tokens":9}]},"container":{"id":"c"}}`))
	f.Add([]byte(`{"type":"error","error":{"type":"overloaded_error","message":"m"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := anthropic.Backend{}.DecodeResponse(llm.OpGenerate, body, dialect.DecodeOptions{ID: "req"})
		if err != nil {
			if fault.As(err).Kind == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		if err := convtest.Legal(r.Events(nil)); err != nil && !strings.Contains(err.Error(), "id of its own") {
			t.Fatalf("no legal stream says it: %v", err)
		}
		out, _, err := anthropic.Frontend{}.EncodeResponse(r, again)
		if err != nil || json.Valid(body) && !json.Valid(out) {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}

func FuzzEventDecoder(f *testing.F) {
	f.Add(stream(opened, blockStart(0, `{"type":"thinking","thinking":"","signature":""}`), blockDelta(0, `{"type":"signature_delta","signature":"s"}`), blockStop(0),
		blockStart(1, `{"type":"redacted_thinking","data":"d"}`), blockDelta(1, `{"type":"signature_delta","signature":"s"}`), blockStop(1), stopped("end_turn"), closed))
	f.Add(stream(opened, blockStart(0, `{"type":"server_tool_use","id":"s","name":"w","input":{}}`), blockDelta(0, `{"type":"input_json_delta","partial_json":"{}"}`), blockStop(0), closed))
	f.Add(stream(opened, blockStart(0, `{"type":"text","text":"a"}`), blockDelta(0, `{"type":"citations_delta","citation":{"type":"x"}}`), blockStart(1, `{"type":"tool_use","id":"t","name":"f","input":{"a":1}}`), blockStart(2, `{"type":"tool_use","id":"t","name":"f"}`), opened, closed))
	f.Add([]byte("event: error\ndata: {}\n\ndata: [DONE]\n\nevent: message_stop\ndata: {}\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		events, err := convtest.DecodeStream(anthropic.Backend{}, in)
		if err != nil {
			t.Fatalf("%v", err)
		}
		out, _, err := convtest.EncodeStream(anthropic.Frontend{}, again, events)
		if err != nil {
			t.Fatal(err)
		}
		checkWire(t, out)
		want, werr := llm.Collect(events)
		if werr != nil {
			return
		}
		back, err := convtest.DecodeStream(anthropic.Backend{}, out)
		if err != nil {
			t.Fatal(err)
		}
		got, err := llm.Collect(back)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if len(got.Choices) != 1 || llm.HasCalls(want.Choices[0].Parts) != llm.HasCalls(got.Choices[0].Parts) {
			t.Fatalf("other calls:\n%s", out)
		}
	})
}
