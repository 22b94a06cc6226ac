package gemini_test

import (
	"encoding/json"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// FuzzDecodeRequest: whatever Peek accepts is decoded or refused with a typed fault, and what is
// decoded is written as strict JSON that decodes again.
func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"contents":[{"role":"user","parts":[{"text":"hi"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}]}`))
	f.Add([]byte(everything))
	f.Add([]byte(`{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f"}}]},{"parts":[{"functionResponse":{"name":"f","response":{"output":"x"}}}]}]}`))
	f.Add([]byte(`{"contents":{"parts":{"text":"one for a list"}},"generation_config":{"response_schema":{"type":"OBJECT","properties":{"a":{"type":"STRING","nullable":true}}},"response_mime_type":"application/json"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := convtest.DecodeRequest(codec, llm.OpGenerate, body)
		if err != nil {
			if k := fault.As(err).Kind; k != fault.Malformed {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, from := range []llm.Dialect{llm.Gemini, llm.AnthropicMessages} {
			r.From = from
			enc, err := gemini.Backend{}.EncodeRequest(r, dialect.EncodeOptions{Model: "m"})
			if err != nil {
				if from == llm.Gemini || fault.As(err).Kind != fault.Unsupported || len(fault.As(err).Fields) == 0 {
					t.Fatalf("from %s: %v", from, err)
				}
				continue
			}
			out := enc.Body.Bytes()
			if !jsontext.Value(out).IsValid(jsontext.AllowDuplicateNames(true)) {
				t.Fatalf("from %s: no JSON:\n%s", from, out)
			}
			if from != llm.Gemini {
				continue
			}
			if _, err := convtest.DecodeRequest(codec, llm.OpGenerate, out); err != nil {
				t.Fatalf("what was written does not decode: %v\n%s\n%s", err, body, out)
			}
		}
	})
}

// FuzzDecodeResponse: any bytes give a legal answer or a fault, and the answer can be written.
func FuzzDecodeResponse(f *testing.F) {
	f.Add([]byte(`{"candidates":[{"content":{"parts":[{"text":"x","thoughtSignature":"QQ=="},{"functionCall":{"name":"f","args":{}}}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3}}`))
	f.Add([]byte(`{"promptFeedback":{"blockReason":"SAFETY"}}`))
	f.Add([]byte(`[{"error":{"code":429}}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := gemini.Backend{}.DecodeResponse(llm.OpGenerate, body, dialect.DecodeOptions{ID: "r"})
		if err != nil {
			if fault.As(err).Kind == fault.Internal || fault.As(err).Phase == fault.NotSent {
				t.Fatal(err)
			}
			return
		}
		out, _, err := gemini.Frontend{}.EncodeResponse(r, convtest.Answer(llm.Gemini, nil))
		if err == nil && !json.Valid(out) {
			t.Fatalf("no JSON:\n%s", out)
		}
	})
}

// FuzzEventDecoder: any frames give a legal stream, which can be written as a legal stream.
func FuzzEventDecoder(f *testing.F) {
	f.Add([]byte(stream))
	f.Add([]byte("data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"willContinue\":true}}]}}]}\n\n" +
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"partialArgs\":[{\"jsonPath\":\"$.a[0].b\",\"stringValue\":\"x\",\"willContinue\":true}],\"willContinue\":true}}]}}]}\n\n" +
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{}}]},\"finishReason\":\"STOP\"}]}\n\n"))
	f.Add([]byte("data: {\"candidates\":[{\"index\":3,\"finishReason\":\"SAFETY\"}]}\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		d := gemini.Backend{}.NewEventDecoder(dialect.DecodeOptions{ID: "r"})
		s := sse.NewScanner(1 << 16)
		s.Feed(in)
		var events []llm.Event
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			events = d.Push(events, e.Name, e.Data)
		}
		events = d.End(events)
		if err := convtest.Legal(events); err != nil {
			t.Fatalf("%v\n%s", err, in)
		}
		out, _, err := convtest.EncodeStream(gemini.Frontend{}, convtest.Answer(llm.Gemini, nil), events)
		if err != nil {
			return
		}
		if _, err := convtest.DecodeStream(gemini.Backend{}, out); err != nil {
			t.Fatalf("what was written is illegal: %v\n%s\n%s", err, in, out)
		}
	})
}

// everything has every member of a request.
const everything = `{
"system_instruction":{"parts":[{"text":"be brief"}]},
"contents":[
 {"role":"user","parts":[{"text":"look"},{"inline_data":{"mime_type":"image/png","data":"iVBORw0KGgo="}},{"fileData":{"fileUri":"gs://b/v.mp4","mimeType":"video/mp4"},"videoMetadata":{"fps":1}}]},
 {"role":"model","parts":[{"text":"hmm","thought":true},{"text":"I ask","thoughtSignature":"c2ln"},{"functionCall":{"id":"c1","name":"f","args":{"a":1}},"thoughtSignature":"c2lnMg=="},{"functionCall":{"name":"f","args":{"a":2}}}]},
 {"role":"user","parts":[{"functionResponse":{"id":"c1","name":"f","response":{"output":"one"}}},{"functionResponse":{"name":"f","response":{"error":"no"}}},{"text":"go on"}]},
 {"role":"model","parts":[{"executableCode":{"language":"PYTHON","code":"1"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}}]},
 {"role":"user","parts":[{"text":"and?"}]}],
"tools":[{"functionDeclarations":[{"name":"f","description":"d","parameters":{"type":"OBJECT","properties":{"a":{"type":"INTEGER","nullable":true}}}},{"name":"g","parametersJsonSchema":{"type":"object","additionalProperties":false}}]},{"googleSearch":{}}],
"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f","g"]},"retrievalConfig":{"languageCode":"de"}},
"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}],
"generationConfig":{"candidateCount":2,"stopSequences":["a"],"maxOutputTokens":"100","temperature":0.5,"topP":0.9,"topK":40,"seed":7,"presencePenalty":0.1,
 "frequencyPenalty":0.2,"responseLogprobs":true,"logprobs":3,"responseMimeType":"application/json","responseJsonSchema":{"type":"object"},
 "thinkingConfig":{"includeThoughts":true,"thinkingBudget":2000},"mediaResolution":"MEDIA_RESOLUTION_LOW"},
"labels":{"team":"x"},"serviceTier":"flex"}`

const stream = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Let me think\",\"thought\": true}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 9,\"totalTokenCount\": 12,\"thoughtsTokenCount\": 3},\"modelVersion\": \"gemini-3-pro\",\"responseId\": \"r1\"}\r\n\r\n" +
	"data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Grüße \"}],\"role\": \"model\"},\"index\": 0}],\"responseId\": \"r1\"}\r\n\r\n" +
	"data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"aus Zürich\"}],\"role\": \"model\"},\"index\": 0}],\"responseId\": \"r1\"}\r\n\r\n" +
	"data: {\"candidates\": [{\"content\": {\"parts\": [{\"functionCall\": {\"name\": \"f\",\"args\": {\"a\": 1}},\"thoughtSignature\": \"c2ln\"},{\"functionCall\": {\"name\": \"f\",\"args\": {\"a\": 2}}}],\"role\": \"model\"},\"index\": 0}],\"responseId\": \"r1\"}\r\n\r\n" +
	"data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"\",\"thoughtSignature\": \"bGF0ZQ==\"}],\"role\": \"model\"},\"finishReason\": \"STOP\",\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 9,\"candidatesTokenCount\": 20,\"totalTokenCount\": 32,\"thoughtsTokenCount\": 3},\"responseId\": \"r1\"}\r\n\r\n"
