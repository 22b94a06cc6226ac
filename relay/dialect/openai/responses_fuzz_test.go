package openai_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// FuzzResponsesRequest: any body is refused with a place or becomes a request that can be sent on, and
// what is sent on means the same.
func FuzzResponsesRequest(f *testing.F) {
	f.Add([]byte(`{"model":"m","input":"x","instructions":"i","tools":[{"type":"function","name":"f"}],"tool_choice":"auto"}`))
	f.Add([]byte(`{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"input_file","file_data":"data:text/plain;base64,YWJj","filename":"a.txt"}]},{"type":"reasoning","summary":[{"text":"s"}],"encrypted_content":"Y3djYXIxxxxx"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"r"}]}]}`))
	f.Add([]byte(`{"model":"m","input":[{"type":"web_search_call"},{"type":"custom_tool_call","call_id":"c","name":"f","input":"x"},{"type":"custom_tool_call_output","call_id":"c","output":""}],"text":{"format":{"type":"json_schema","schema":{}},"x":1},"include":["reasoning.encrypted_content","y"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := convtest.DecodeRequest(responsesCodec, llm.OpGenerate, body)
		if err != nil {
			if k := fault.As(err).Kind; k != fault.Malformed && k != fault.Unsupported {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, from := range []llm.Dialect{llm.OpenAIResponses, llm.Gemini} {
			r.From = from
			enc, err := openai.ResponsesBackend{}.EncodeRequest(r, providerOptions)
			if err != nil {
				if fault.As(err).Kind != fault.Unsupported {
					t.Fatal(err)
				}
				continue
			}
			out := enc.Body.Bytes()
			if !json.Valid(out) {
				t.Fatalf("not JSON: %s", out)
			}
			if from != llm.OpenAIResponses {
				continue
			}
			again, err := convtest.DecodeRequest(responsesCodec, llm.OpGenerate, out)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if len(again.Messages) > len(r.Messages) || len(again.Tools) != len(r.Tools) {
				t.Fatalf("%s\nbecame %s", body, out)
			}
		}
	})
}

// FuzzResponsesAnswer: any answer is a fault or an answer that a client of this protocol can read.
func FuzzResponsesAnswer(f *testing.F) {
	f.Add([]byte(`{"id":"resp_1","status":"completed","output":[{"type":"reasoning","summary":[],"encrypted_content":"g"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"x","annotations":[{"type":"url_citation","url":"u"}],"logprobs":[{"token":"x","logprob":-1,"bytes":[120]}]},{"type":"refusal","refusal":"no"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call","call_id":"c","name":"f","arguments":""}],"usage":{"input_tokens":-1,"output_tokens":1e3}}`))
	f.Add([]byte(`{"status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[{"type":"web_search_call","a":
1}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := openai.ResponsesBackend{}.DecodeResponse(llm.OpGenerate, body, dialect.DecodeOptions{ID: "x", Scope: "s"})
		if err != nil {
			if r != nil {
				t.Fatal("answer and fault")
			}
			return
		}
		events := r.Events(nil)
		if err := convtest.Legal(events); err != nil {
			t.Fatalf("%v\n%s", err, convtest.Dump(r))
		}
		out, _, err := openai.Responses{}.EncodeResponse(r, convtest.Answer(llm.OpenAIResponses, nil))
		if err != nil || !json.Valid(out) && json.Valid(body) {
			t.Fatalf("%v %s", err, out)
		}
		stream, _, err := convtest.EncodeStream(openai.Responses{}, convtest.Answer(llm.OpenAIResponses, nil), events)
		if err != nil {
			t.Fatal(err)
		}
		checkStream(t, stream, json.Valid(body))
	})
}

// FuzzResponsesEvents: whatever a provider streams, the events are legal, and what a client gets of
// them is whole frames.
func FuzzResponsesEvents(f *testing.F) {
	f.Add(frames(evCreated, `{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":""}}`,
		`{"type":"response.function_call_arguments.delta","output_index":0,"delta":"{"}`, `{"type":"response.function_call_arguments.done","output_index":0,"arguments":"{}"}`, evCompleted))
	f.Add(frames(`{"type":"response.output_text.delta","output_index":1,"delta":"a"}`, `{"type":"response.refusal.delta","output_index":1,"content_index":1,"delta":"b"}`,
		`{"type":"response.reasoning_summary_text.delta","output_index":0,"delta":"c"}`, `{"type":"response.output_item.done","output_index":1,"item":{"type":"message","content":[{"type":"output_text","text":"ab"}]}}`,
		`{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","summary":[{"text":"cd"}],"encrypted_content":"e"}}`, `{"type":"response.incomplete","response":{"status":"incomplete","output":[{"type":"web_search_call"}]}}`))
	f.Add(frames(evCreated, `{"type":"error","code":"x","message":"y"}`))
	f.Fuzz(func(t *testing.T, stream []byte) {
		events, err := convtest.DecodeStream(openai.ResponsesBackend{}, stream)
		if err != nil && !strings.Contains(err.Error(), "sse") {
			if legal := convtest.Legal(events); legal != nil {
				t.Fatal(legal)
			}
			return
		}
		out, _, err := convtest.EncodeStream(openai.Responses{}, convtest.Answer(llm.OpenAIResponses, nil), events)
		if err != nil {
			t.Fatal(err)
		}
		checkStream(t, out, false)
		again, err := convtest.DecodeStream(openai.ResponsesBackend{}, out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		want, werr := llm.Collect(events)
		got, gerr := llm.Collect(again)
		if (werr == nil) != (gerr == nil) || werr == nil && len(want.Choices[0].Parts) < len(calls(got)) {
			t.Fatalf("%v, then %v\n%s", werr, gerr, out)
		}
	})
}

// checkStream reads a client's stream frame by frame.
func checkStream(t *testing.T, stream []byte, valid bool) {
	t.Helper()
	s := sse.NewScanner(0)
	s.Feed(stream)
	n := 0
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		if n += len(e.Raw); valid && !json.Valid(e.Data) || !bytes.HasPrefix(e.Data, []byte(`{"type":"`+e.Name+`"`)) {
			t.Fatalf("frame %s", e.Raw)
		}
	}
	if n != len(stream) {
		t.Fatalf("%d bytes are no frame", len(stream)-n)
	}
}
