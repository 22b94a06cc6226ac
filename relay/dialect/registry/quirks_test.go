package registry_test

import (
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// quirkCase is one quirk at one provider: what stands in the body with it, what does not, and what is
// lost. Without the quirk the body must be another one, or the flag would be dead.
type quirkCase struct {
	why    string
	to     llm.Dialect
	from   llm.Dialect
	ask    string // members of the client's body
	quirks dialect.Quirks
	with   string
	absent string
	lost   string // "path reason", or "refused path: reason"
}

const messagesHead = `{"model":"m","max_tokens":2000,"messages":[{"role":"user","content":"hi"}]`

var quirkCases = []quirkCase{
	{
		"chat: system for developer", llm.OpenAIChat, llm.OpenAIResponses, `{"model":"m","input":[{"role":"developer","content":"x"},{"role":"user","content":"hi"}]}`,
		dialect.Quirks{NoDeveloperRole: true},
		`"role":"system"`, `developer`, "",
	},
	{
		"responses: system for developer", llm.OpenAIResponses, llm.OpenAIChat, `{"model":"m","messages":[{"role":"developer","content":"x"},{"role":"user","content":"hi"}]}`,
		dialect.Quirks{NoDeveloperRole: true},
		`"role":"system"`, `developer`, "",
	},
	{"chat: max_tokens", llm.OpenAIChat, llm.AnthropicMessages, messagesHead + `}`, dialect.Quirks{LegacyMaxTokens: true}, `"max_tokens":2000`, `max_completion_tokens`, ""},
	{"chat: no stream_options", llm.OpenAIChat, llm.AnthropicMessages, messagesHead + `,"stream":true}`, dialect.Quirks{NoStreamUsage: true}, `"stream":true`, `stream_options`, ""},
	{
		"chat: no penalties", llm.OpenAIChat, llm.Gemini, `{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"frequencyPenalty":1,"presencePenalty":0}}`,
		dialect.Quirks{NoPenalties: true},
		``, `penalty`, "/generationConfig/frequencyPenalty model_refuses",
	},
	{
		"chat: no logprobs", llm.OpenAIChat, llm.Gemini, `{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"responseLogprobs":true}}`,
		dialect.Quirks{NoLogprobs: true},
		``, ``, "refused /generationConfig/responseLogprobs: model_refuses",
	},
	{
		"responses: no logprobs", llm.OpenAIResponses, llm.Gemini, `{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"responseLogprobs":true}}`,
		dialect.Quirks{NoLogprobs: true},
		``, ``, "refused /generationConfig/responseLogprobs: model_refuses",
	},
	{"chat: stop is the relay's", llm.OpenAIChat, llm.AnthropicMessages, messagesHead + `,"stop_sequences":["X"]}`, dialect.Quirks{NoStop: true}, ``, `"stop"`, ""},
	{
		"chat: no names", llm.OpenAIChat, llm.OpenAIChat, `{"model":"m","messages":[{"role":"user","name":"li","content":"hi"}]}`,
		dialect.Quirks{NoNames: true},
		``, `"name"`, "/messages/0/name model_refuses",
	},
	{
		"chat: only what all servers know", llm.OpenAIChat, llm.OpenAIResponses,
		`{"model":"m","input":"hi","safety_identifier":"u","service_tier":"flex","text":{"verbosity":"low"},"prompt_cache_key":"k","store":true,"metadata":{"a":"b"}}`,
		dialect.Quirks{OnlyCommon: true},
		``, "store", "/text/verbosity model_refuses /user model_refuses /metadata model_refuses /service_tier model_refuses /store model_refuses /prompt_cache_key model_refuses",
	},
	{
		"chat: no seed", llm.OpenAIChat, llm.Gemini, `{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"seed":7}}`,
		dialect.Quirks{OnlyCommon: true},
		``, `"seed"`, "/generationConfig/seed model_refuses",
	},
	{
		"chat: thinking off by type", llm.OpenAIChat, llm.AnthropicMessages, messagesHead + `,"thinking":{"type":"disabled"}}`,
		dialect.Quirks{Switch: dialect.SwitchType},
		`"thinking":{"type":"disabled"}`, `reasoning_effort`, "",
	},
	{
		"chat: thinking on by type", llm.OpenAIChat, llm.OpenAIResponses, `{"model":"m","input":"hi","reasoning":{"effort":"high"}}`,
		dialect.Quirks{Switch: dialect.SwitchType},
		`"thinking":{"type":"enabled"},"reasoning_effort":"high"`, ``, "",
	},
	{
		"chat: thinking by a bool", llm.OpenAIChat, llm.AnthropicMessages, messagesHead + `,"thinking":{"type":"enabled","budget_tokens":1500}}`,
		dialect.Quirks{Switch: dialect.SwitchBool},
		`"enable_thinking":true,"thinking_budget":1500`, `reasoning_effort`, "",
	},
	{
		"chat: thinking off by a bool", llm.OpenAIChat, llm.OpenAIResponses, `{"model":"m","input":"hi","reasoning":{"effort":"none"}}`,
		dialect.Quirks{Switch: dialect.SwitchBool},
		`"enable_thinking":false`, `reasoning_effort`, "",
	},
	{
		"chat: no schema", llm.OpenAIChat, llm.AnthropicMessages, messagesHead + `,"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}}`,
		dialect.Quirks{NoSchema: true},
		`"response_format":{"type":"json_object"}`, `"json_schema"`, "/output_config/format rewritten",
	},
	{
		"responses: no schema", llm.OpenAIResponses, llm.AnthropicMessages, messagesHead + `,"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}}`,
		dialect.Quirks{NoSchema: true},
		`valid against this JSON Schema`, `"json_schema"`, "/output_config/format rewritten",
	},
	{
		"anthropic: no schema", llm.AnthropicMessages, llm.OpenAIChat, chatHead + `,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}}`,
		dialect.Quirks{NoSchema: true},
		`causeway_structured_output`, `"output_config"`, "",
	},
	{
		"gemini: no schema", llm.Gemini, llm.OpenAIChat, chatHead + `,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}}`,
		dialect.Quirks{NoSchema: true},
		`"responseMimeType":"application/json"`, `responseJsonSchema`, "/response_format model_refuses",
	},
	{"chat: no sampling", llm.OpenAIChat, llm.AnthropicMessages, messagesHead + `,"temperature":0.5}`, dialect.Quirks{NoSampling: true}, ``, `temperature`, "/temperature model_refuses"},
	{"responses: no sampling", llm.OpenAIResponses, llm.OpenAIChat, chatHead + `,"temperature":0.5,"top_p":1}`, dialect.Quirks{NoSampling: true}, ``, `top_p`, "/temperature model_refuses"},
	{"anthropic: no sampling", llm.AnthropicMessages, llm.OpenAIChat, chatHead + `,"temperature":0.5}`, dialect.Quirks{NoSampling: true}, ``, `temperature`, "/temperature model_refuses"},
	{"gemini: no sampling", llm.Gemini, llm.OpenAIChat, chatHead + `,"temperature":0.5}`, dialect.Quirks{NoSampling: true}, ``, `temperature`, "/temperature model_refuses"},
	{"chat: no prefill", llm.OpenAIChat, llm.AnthropicMessages, prefilled, dialect.Quirks{NoPrefill: true}, ``, ``, "refused /messages/1: model_refuses"},
	{"responses: no prefill", llm.OpenAIResponses, llm.AnthropicMessages, prefilled, dialect.Quirks{NoPrefill: true}, ``, ``, "refused /messages/1: model_refuses"},
	{"anthropic: no prefill", llm.AnthropicMessages, llm.OpenAIChat, prefilled, dialect.Quirks{NoPrefill: true}, ``, ``, "refused /messages/1: model_refuses"},
	{"gemini: no prefill", llm.Gemini, llm.AnthropicMessages, prefilled, dialect.Quirks{NoPrefill: true}, ``, ``, "refused /messages/1: model_refuses"},
	{"chat: no reasoning", llm.OpenAIChat, llm.AnthropicMessages, messagesHead + `,"output_config":{"effort":"high"}}`, dialect.Quirks{NoReasoning: true}, ``, `effort`, "/output_config/effort model_refuses"},
	{"responses: no reasoning", llm.OpenAIResponses, llm.OpenAIChat, chatHead + `,"reasoning_effort":"high"}`, dialect.Quirks{NoReasoning: true}, ``, `effort`, "/reasoning_effort model_refuses"},
	{"anthropic: no reasoning", llm.AnthropicMessages, llm.OpenAIChat, chatHead + `,"reasoning_effort":"high"}`, dialect.Quirks{NoReasoning: true}, ``, `effort`, "/reasoning_effort model_refuses"},
	{"gemini: no reasoning", llm.Gemini, llm.OpenAIChat, chatHead + `,"reasoning_effort":"high"}`, dialect.Quirks{NoReasoning: true}, ``, `thinkingConfig`, "/reasoning_effort model_refuses"},
	{"anthropic: budgets only", llm.AnthropicMessages, llm.OpenAIChat, chatHead + `,"reasoning_effort":"medium"}`, dialect.Quirks{NoEffort: true}, `"thinking":{"type":"enabled","budget_tokens":8192}`, `effort`, ""},
	{"gemini: budgets only", llm.Gemini, llm.OpenAIChat, chatHead + `,"reasoning_effort":"medium"}`, dialect.Quirks{NoEffort: true}, `"thinkingBudget":8192`, `thinkingLevel`, ""},
	{
		"anthropic: efforts only", llm.AnthropicMessages, llm.Gemini, `{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"thinkingConfig":{"thinkingBudget":8000}}}`,
		dialect.Quirks{NoBudget: true},
		`"thinking":{"type":"adaptive"},"output_config":{"effort":"medium"}`, `budget_tokens`, "/generationConfig/thinkingConfig/thinkingBudget rewritten",
	},
	{
		"anthropic: too much effort for no thinking", llm.AnthropicMessages, llm.OpenAIChat, chatHead + `,"reasoning_effort":"max","tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}`,
		dialect.Quirks{NoBudget: true},
		`"thinking":{"type":"disabled"},"output_config":{"effort":"high"}`, ``, "/reasoning_effort not_in_this_use /reasoning_effort not_in_this_use",
	},
	{
		"anthropic: always thinks", llm.AnthropicMessages, llm.OpenAIChat, chatHead + `,"reasoning_effort":"none"}`,
		dialect.Quirks{AlwaysThinks: true},
		`"output_config":{"effort":"low"}`, `disabled`, "/reasoning_effort out_of_range",
	},
	{
		"anthropic: no forced tool beside thinking", llm.AnthropicMessages, llm.OpenAIChat, chatHead + `,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}`,
		dialect.Quirks{AlwaysThinks: true},
		`"tool_choice":{"type":"auto"}`, `"any"`, "/tool_choice model_refuses",
	},
	{"gemini: always thinks, by level", llm.Gemini, llm.OpenAIChat, chatHead + `,"reasoning_effort":"minimal"}`, dialect.Quirks{AlwaysThinks: true}, `"thinkingLevel":"LOW"`, ``, "/reasoning_effort out_of_range"},
	{"gemini: always thinks, by budget", llm.Gemini, llm.OpenAIChat, chatHead + `,"reasoning_effort":"none"}`, dialect.Quirks{AlwaysThinks: true, NoEffort: true}, `"thinkingBudget":128`, ``, "/reasoning_effort out_of_range"},
	{"anthropic: least thinking", llm.AnthropicMessages, llm.OpenAIChat, chatHead + `,"reasoning_effort":"none"}`, dialect.Quirks{LeastBetween: true}, `"thinking":{"type":"between_tools"}`, `disabled`, "/reasoning_effort out_of_range"},
	{
		"anthropic: system in place", llm.AnthropicMessages, llm.OpenAIChat, `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"system","content":"x"},{"role":"user","content":"ho"}]}`,
		dialect.Quirks{SystemInPlace: true},
		`"role":"system"`, `"system":[`, "",
	},
	{
		"gemini: remote media", llm.Gemini, llm.OpenAIChat, `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x.example/a.png"}}]}]}`,
		dialect.Quirks{RemoteMedia: true},
		`"fileUri":"https://x.example/a.png"`, ``, "",
	},
}

const (
	chatHead  = `{"model":"m","messages":[{"role":"user","content":"hi"}]`
	prefilled = `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"Well,"}]}`
)

// Every quirk changes what its providers are asked, and says what is lost.
func TestEveryQuirkWorks(t *testing.T) {
	t.Parallel()
	for _, c := range quirkCases {
		r := decoded(t, c.from, c.ask)
		body, lost := encoded(t, r, c.to, dialect.EncodeOptions{Model: "up", Quirks: c.quirks})
		plain, _ := encoded(t, r, c.to, dialect.EncodeOptions{Model: "up"})
		if c.absent != "" && strings.Contains(body, c.absent) || !strings.Contains(body, c.with) || lost != c.lost {
			t.Errorf("%s: lost %q, want %q\n%s", c.why, lost, c.lost, body)
		}
		if plain == body {
			t.Errorf("%s: changes nothing", c.why)
		}
	}
}

func decoded(t *testing.T, from llm.Dialect, body string) *llm.Request {
	t.Helper()
	f := registry.Frontend(from)
	h, err := f.Peek(llm.OpGenerate, []byte(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	codec, _ := registry.Client(from)
	r, err := codec.DecodeRequest(llm.OpGenerate, []byte(body), h)
	if err == nil {
		err = dialect.Check(r)
	}
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return r
}

func encoded(t *testing.T, r *llm.Request, to llm.Dialect, o dialect.EncodeOptions) (body, lost string) {
	t.Helper()
	codec, _ := registry.Provider(to)
	enc, err := codec.EncodeRequest(r, o)
	if err != nil {
		return "", "refused " + strings.Join(fault.As(err).Fields, " ")
	}
	var all []string
	for _, l := range enc.Losses {
		all = append(all, l.Path+" "+l.Reason)
	}
	return string(enc.Body.Bytes()), strings.Join(all, " ")
}

// Call ids of every vendor come back to it: Moonshot's functions.f:0 through any client to any
// provider, Mistral's nine characters, and results always stay with their calls.
func TestCallIDsSurviveEveryProvider(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"functions.f:0", "abcDEF123", "call_PTLP8xhu3uwZk4l3nlnrrJha", "toolu_01A09q90qw90lq917835lq9", strings.Repeat("x", 60)} {
		chat := decoded(t, llm.OpenAIChat, `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"id":"`+id+
			`","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"`+id+`","content":"ok"}],"tools":[{"type":"function","function":{"name":"f"}}]}`)
		for _, to := range llm.Dialects {
			for _, form := range []dialect.CallIDs{dialect.CallIDsUsual, dialect.CallIDsAny, dialect.CallIDsNine} {
				body, lost := encoded(t, chat, to, dialect.EncodeOptions{Model: "up", Quirks: dialect.Quirks{CallIDs: form}})
				if lost != "" {
					t.Errorf("%s at %s: lost %s", id, to, lost)
				}
				switch {
				case to == llm.OpenAIChat && form == dialect.CallIDsAny && strings.Count(body, `"`+id+`"`) != 2:
					t.Errorf("%s does not go back as it came: %s", id, body)
				case to == llm.OpenAIChat && form == dialect.CallIDsNine:
					_, wire, _ := strings.Cut(body, `"id":"`)
					wire, _, _ = strings.Cut(wire, `"`)
					if len(wire) != 9 || strings.ContainsAny(wire, "_-.:") || !strings.Contains(body, `"tool_call_id":"`+wire+`"`) || len(id) == 9 && wire != id {
						t.Errorf("%s became %q: %s", id, wire, body)
					}
				}
			}
		}
		// Through a client of another protocol, which echoes what it was given.
		client, _ := registry.Client(llm.AnthropicMessages)
		shown, _, err := client.EncodeResponse(&llm.Response{Choices: []llm.Choice{{
			Parts: []llm.Part{{Kind: llm.PartCall, ID: id, Name: "f", Text: "{}"}}, Stop: llm.Stop{Reason: llm.StopCalls},
		}}}, dialect.AnswerOptions{Request: &llm.Request{From: llm.AnthropicMessages}})
		if err != nil {
			t.Fatal(err)
		}
		_, echo, _ := strings.Cut(string(shown), `"type":"tool_use","id":"`)
		echo, _, _ = strings.Cut(echo, `"`)
		again := decoded(t, llm.AnthropicMessages, `{"model":"m","max_tokens":9,"tools":[{"name":"f","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"`+echo+
			`","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"`+echo+`","content":"ok"}]}]}`)
		body, _ := encoded(t, again, llm.OpenAIChat, dialect.EncodeOptions{Model: "up", Quirks: dialect.Quirks{CallIDs: dialect.CallIDsAny}})
		if len(id) <= 40 && strings.Count(body, `"`+id+`"`) != 2 {
			t.Errorf("%s came back from an Anthropic client as %s: %s", id, echo, body)
		}
	}
}

// Members of Gemini's generationConfig that ask for another kind of answer are refused by their own
// path; the others are reported by theirs.
func TestGeminiConfigMembers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ config, lost string }{
		{`{"responseModalities":["AUDIO"]}`, "refused /generationConfig/responseModalities: no_equivalent"},
		{`{"responseModalities":["TEXT"]}`, "/generationConfig/responseModalities unknown_member"},
		{`{"responseMimeType":"text/x.enum","responseSchema":{"type":"STRING","enum":["a"]}}`, "refused /generationConfig/responseMimeType: no_equivalent /generationConfig/responseSchema: no_equivalent"},
		{`{"speechConfig":{"voiceConfig":{}}}`, "refused /generationConfig/speechConfig: no_equivalent"},
		{`{"imageConfig":{"aspectRatio":"1:1"}}`, "refused /generationConfig/imageConfig: no_equivalent"},
		{`{"mediaResolution":"MEDIA_RESOLUTION_LOW"}`, "/generationConfig/mediaResolution unknown_member"},
	} {
		r := decoded(t, llm.Gemini, `{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":`+c.config+`}`)
		for _, to := range []llm.Dialect{llm.OpenAIChat, llm.OpenAIResponses, llm.AnthropicMessages} {
			if _, lost := encoded(t, r, to, dialect.EncodeOptions{Model: "up"}); lost != c.lost {
				t.Errorf("%s to %s: %s, want %s", c.config, to, lost, c.lost)
			}
		}
	}
}

// A loss of the output format is told by the member that the client asked for it with.
func TestFormatLossNamesTheClientsMember(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"object","properties":{"a":{"type":"string"}}}`
	gemini := func(config string) string {
		return `{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"responseMimeType":"application/json"` + config + `}}`
	}
	for _, c := range []struct {
		from       llm.Dialect
		body, lost string
	}{
		{llm.Gemini, gemini(`,"responseSchema":` + schema), "/generationConfig/responseSchema"},
		{llm.Gemini, gemini(`,"responseJsonSchema":` + schema), "/generationConfig/responseJsonSchema"},
		{llm.Gemini, gemini(`,"response_json_schema":` + schema), "/generationConfig/responseJsonSchema"},
		{llm.Gemini, gemini(`,"_responseJsonSchema":` + schema), "/generationConfig/_responseJsonSchema"},
		{llm.AnthropicMessages, messagesHead + `,"output_format":{"type":"json_schema","schema":` + schema + `}}`, "/output_format"},
		{llm.AnthropicMessages, messagesHead + `,"output_config":{"format":{"type":"json_schema","schema":` + schema + `}}}`, "/output_config/format"},
	} {
		r := decoded(t, c.from, c.body)
		for _, to := range []llm.Dialect{llm.OpenAIChat, llm.OpenAIResponses} {
			if _, lost := encoded(t, r, to, dialect.EncodeOptions{Model: "up", Quirks: dialect.Quirks{NoSchema: true}}); lost != c.lost+" rewritten" {
				t.Errorf("%s to %s: lost %q, want %s", c.body, to, lost, c.lost)
			}
		}
	}
	r := decoded(t, llm.Gemini, gemini(""))
	if _, lost := encoded(t, r, llm.AnthropicMessages, dialect.EncodeOptions{Model: "up"}); lost != "/generationConfig/responseMimeType rewritten" {
		t.Errorf("JSON without a schema: lost %q", lost)
	}
	r = decoded(t, llm.Gemini, gemini(`,"responseJsonSchema":`+`{"type":"array","items":{}}`))
	if _, lost := encoded(t, r, llm.AnthropicMessages, dialect.EncodeOptions{Model: "up", Quirks: dialect.Quirks{NoSchema: true}}); lost != "refused /generationConfig/responseJsonSchema: model_refuses" {
		t.Errorf("a schema that the model cannot have: %q", lost)
	}
}

// The phase of a Responses message is reported where there is none.
func TestPhaseIsReported(t *testing.T) {
	t.Parallel()
	r := decoded(t, llm.OpenAIResponses, `{"model":"m","input":[{"role":"user","content":"a"},{"type":"message","role":"assistant","phase":"commentary","content":[{"type":"output_text","text":"b"}]},{"role":"user","content":"c"}]}`)
	for _, to := range []llm.Dialect{llm.OpenAIChat, llm.AnthropicMessages, llm.Gemini} {
		if _, lost := encoded(t, r, to, dialect.EncodeOptions{Model: "up"}); !strings.Contains(lost, "/phase unknown_member") {
			t.Errorf("%s: %q", to, lost)
		}
	}
}

// Who switches thinking on at Anthropic's protocol and does not say gets to see it, and nobody is told
// that what was not asked for is lost.
func TestThinkingIsShownUnlessOmitted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		thinking string
		show     llm.Show
		gemini   string
	}{
		{`{"type":"enabled","budget_tokens":1500}`, llm.ShowSummary, `"includeThoughts":true`},
		{`{"type":"adaptive"}`, llm.ShowSummary, `"includeThoughts":true`},
		{`{"type":"adaptive","display":"omitted"}`, llm.ShowNone, `"includeThoughts":false`},
		{`{"type":"disabled"}`, llm.ShowUnset, `"thinkingConfig":{`},
	} {
		r := decoded(t, llm.AnthropicMessages, messagesHead+`,"thinking":`+c.thinking+`}`)
		if r.Reasoning.Show != c.show {
			t.Errorf("%s: show %s", c.thinking, r.Reasoning.Show)
		}
		if body, _ := encoded(t, r, llm.Gemini, dialect.EncodeOptions{Model: "up"}); !strings.Contains(body, c.gemini) {
			t.Errorf("%s: %s", c.thinking, body)
		}
		if _, lost := encoded(t, r, llm.OpenAIChat, dialect.EncodeOptions{Model: "up"}); strings.Contains(lost, "display") {
			t.Errorf("%s: lost %s", c.thinking, lost)
		}
		if body, _ := encoded(t, r, llm.AnthropicMessages, dialect.EncodeOptions{Model: "up"}); !strings.Contains(body, `"thinking":`+c.thinking) {
			t.Errorf("%s goes back as %s", c.thinking, body)
		}
	}
}
