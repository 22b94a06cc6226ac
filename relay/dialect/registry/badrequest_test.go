package registry_test

import (
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Requests that no provider could take as they were meant: one fault each, which names the member, in the
// client's own protocol.
func TestBadRequestsNameTheMember(t *testing.T) {
	t.Parallel()
	const (
		c, r, a, g = llm.OpenAIChat, llm.OpenAIResponses, llm.AnthropicMessages, llm.Gemini
		chatTool   = `"tools":[{"type":"function","function":{"name":"f"}}]`
		claudeTool = `"tools":[{"name":"f","input_schema":{"type":"object"}}]`
		geminiTool = `"tools":[{"functionDeclarations":[{"name":"f"}]}]`
	)
	for _, tt := range []struct {
		why  string
		d    llm.Dialect
		body string
		at   string // the member, as clients of d read it
	}{
		{"unknown part", c, `{"model":"m","messages":[{"role":"user","content":[{"type":"hologram","hologram":{}}]}]}`, "messages/0/content/0/type"},
		{"unknown role", c, `{"model":"m","messages":[{"role":"wizard","content":"x"}]}`, "messages/0/role"},
		{"orphan result", c, `{"model":"m","messages":[{"role":"user","content":"x"},{"role":"tool","tool_call_id":"call_9","content":"x"}]}`, "messages/1"},
		{"mismatched id", c, `{"model":"m",` + chatTool + `,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_2","content":"x"}]}`, "messages/2"},
		{"result without id", c, `{"model":"m","messages":[{"role":"user","content":"x"},{"role":"tool","content":"x"}]}`, "messages/1/tool_call_id"},
		{"call without a name", c, `{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"arguments":"{}"}}]}]}`, "messages/1/tool_calls/0/function/name"},
		{"no messages", c, `{"model":"m"}`, "messages"},
		{"two limits", c, `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":5,"max_completion_tokens":6}`, "max_tokens"},
		{"absent tool", c, `{"model":"m","messages":[{"role":"user","content":"x"}],` + chatTool + `,"tool_choice":{"type":"function","function":{"name":"g"}}}`, "tool_choice"},
		{"choice without tools", c, `{"model":"m","messages":[{"role":"user","content":"x"}],"tool_choice":"required"}`, "tool_choice"},
		{"top_logprobs alone", c, `{"model":"m","messages":[{"role":"user","content":"x"}],"top_logprobs":2}`, "top_logprobs"},
		{"temperature out of range", c, `{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":3}`, "temperature"},
		{"picture that is no base64", c, `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,%%%"}}]}]}`, "messages/0/content/0/image_url/url"},

		{"unknown part", r, `{"model":"m","input":[{"role":"user","content":[{"type":"hologram"}]}]}`, "input/0/content/0/type"},
		{"orphan result", r, `{"model":"m","input":[{"role":"user","content":"x"},{"type":"function_call_output","call_id":"call_9","output":"x"}]}`, "input/1"},
		{"result without output", r, `{"model":"m","input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c"}]}`, "input/1/output"},
		{"call without a name", r, `{"model":"m","input":[{"type":"function_call","call_id":"c","arguments":"{}"}]}`, "input/0/name"},
		{"reference", r, `{"model":"m","input":[{"type":"item_reference","id":"msg_1"}]}`, "input/0"},
		{"no input", r, `{"model":"m"}`, "input"},
		{"absent tool", r, `{"model":"m","input":"x","tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","name":"g"}}`, "tool_choice"},
		{"schema missing", r, `{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"x"}}}`, "text/format/schema"},
		{"unknown effort", r, `{"model":"m","input":"x","reasoning":{"effort":"heroic"}}`, "reasoning/effort"},

		{"unknown part", a, `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"hologram"}]}]}`, "messages/0/content/0/type"},
		{"unknown role", a, `{"model":"m","max_tokens":9,"messages":[{"role":"wizard","content":"x"}]}`, "messages/0/role"},
		{"no max_tokens", a, `{"model":"m","messages":[{"role":"user","content":"x"}]}`, "max_tokens"},
		{"no messages", a, `{"model":"m","max_tokens":9,"messages":[]}`, "messages"},
		{"orphan result", a, `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_9","content":"x"}]}]}`, "messages/0/content/0"},
		{"result of the model", a, `{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"tool_result","tool_use_id":"toolu_9","content":"x"}]}]}`, "messages/0/content/0"},
		{"thinking of the user", a, `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"thinking","thinking":"x","signature":"c2ln"}]}]}`, "messages/0/content/0"},
		{"absent tool", a, `{"model":"m","max_tokens":9,` + claudeTool + `,"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"tool","name":"g"}}`, "tool_choice"},
		{"tool without schema", a, `{"model":"m","max_tokens":9,"tools":[{"name":"f"}],"messages":[{"role":"user","content":"x"}]}`, "tools/0/input_schema"},
		{"temperature out of range", a, `{"model":"m","max_tokens":9,"temperature":1.5,"messages":[{"role":"user","content":"x"}]}`, "temperature"},

		{"unknown part", g, `{"contents":[{"role":"user","parts":[{"hologram":{}}]}]}`, "contents/0/parts/0"},
		{"two kinds", g, `{"contents":[{"role":"user","parts":[{"text":"x","inlineData":{"mimeType":"image/png","data":"AAAA"}}]}]}`, "contents/0/parts/0"},
		{"unknown role", g, `{"contents":[{"role":"wizard","parts":[{"text":"x"}]}]}`, "contents/0/role"},
		{"no contents", g, `{}`, "contents"},
		{"orphan result", g, `{"contents":[{"role":"user","parts":[{"functionResponse":{"name":"f","response":{}}}]}]}`, "contents/0/parts/0"},
		{"mismatched name", g, `{` + geminiTool + `,"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"functionCall":{"name":"f"}}]},{"role":"user","parts":[{"functionResponse":{"name":"g","response":{}}}]}]}`, "contents/2/parts/0"},
		{"two schemas", g, `{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"OBJECT"},"responseJsonSchema":{"type":"object"}}}`, "generationConfig/responseSchema"},
		{"two spellings", g, `{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"maxOutputTokens":5,"max_output_tokens":6}}`, "generationConfig.maxOutputTokens"},
		{"budget and level", g, `{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"thinkingConfig":{"thinkingBudget":5,"thinkingLevel":"LOW"}}}`, "generationConfig/thinkingConfig/thinkingLevel"},
		{"absent tool", g, `{"contents":[{"parts":[{"text":"x"}]}],` + geminiTool + `,"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["g"]}}}`, "toolConfig/functionCallingConfig"},
	} {
		t.Run(string(tt.d)+"/"+tt.why, func(t *testing.T) {
			t.Parallel()
			_, err := convtest.DecodeRequest(codec(tt.d), llm.OpGenerate, []byte(tt.body))
			if err == nil {
				t.Fatal("it is taken")
			}
			f := fault.As(err)
			if f.Kind != fault.Malformed && f.Kind != fault.Unsupported || !strings.HasPrefix(f.Param, tt.at) {
				t.Errorf("%s at %q, want %q: %v", f.Kind, f.Param, tt.at, err)
			}
			if e := registry.Frontend(tt.d).EncodeFault(f, "req-1"); e.Status != 400 || !strings.Contains(string(e.Body), f.Param) {
				t.Errorf("the client reads %d %s", e.Status, e.Body)
			}
		})
	}
}
