package gemini_test

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// encode gives the compact body of r without its empty generationConfig, and the losses as "path reason".
func encode(t *testing.T, r *llm.Request, o dialect.EncodeOptions) (body string, losses []string, refused []string) {
	t.Helper()
	if r.Op == llm.OpUnknown {
		r.Op = llm.OpGenerate
	}
	enc, err := gemini.Backend{}.EncodeRequest(r, o)
	if err != nil {
		f := fault.As(err)
		if f.Kind != fault.Unsupported {
			t.Fatalf("%v", err)
		}
		return "", nil, f.Fields
	}
	v := jsontext.Value(enc.Body.Bytes())
	if err := v.Compact(); err != nil {
		t.Fatalf("no JSON: %v\n%s", err, v)
	}
	for _, l := range enc.Losses {
		losses = append(losses, l.Path+" "+l.Reason)
	}
	return strings.Replace(string(v), `,"generationConfig":{}`, "", 1), losses, nil
}

func user(parts ...llm.Part) llm.Message {
	return llm.Message{Role: llm.RoleUser, At: "/u", Parts: parts}
}

func said(s string) llm.Part { return llm.Part{Kind: llm.PartText, Text: s, At: "/t"} }

func model(parts ...llm.Part) llm.Message {
	return llm.Message{Role: llm.RoleAssistant, At: "/m", Parts: parts}
}

func results(parts ...llm.Part) llm.Message {
	return llm.Message{Role: llm.RoleTool, At: "/r", Parts: parts}
}

func call(id, args string) llm.Part {
	return llm.Part{Kind: llm.PartCall, ID: id, Name: "f", Text: args, At: "/c"}
}

func result(id, text string) llm.Part {
	return llm.Part{Kind: llm.PartResult, ID: id, Name: "f", At: "/r/" + id, Content: []llm.Part{{Kind: llm.PartText, Text: text}}}
}

func TestEncodeContents(t *testing.T) {
	t.Parallel()
	const dummy = `"thoughtSignature":"skip_thought_signature_validator"`
	tests := []struct {
		why    string
		ms     []llm.Message
		quirks dialect.Quirks
		want   string
		losses []string
	}{
		{
			"consecutive turns of one side are one content",
			[]llm.Message{user(said("a")), user(said("b")), model(said("c")), model(said("d"))},
			dialect.Quirks{},
			`{"contents":[{"role":"user","parts":[{"text":"a"},{"text":"b"}]},{"role":"model","parts":[{"text":"c"},{"text":"d"}]}]}`, nil,
		},
		{
			"a content without parts is a 400: it is left out",
			[]llm.Message{user(said("")), user(said("b"))},
			dialect.Quirks{},
			`{"contents":[{"role":"user","parts":[{"text":"b"}]}]}`, nil,
		},
		{
			"JSON results go as objects, others as output, failures as error",
			[]llm.Message{
				model(call("a", `{}`), call("b", ""), call("c", `{"x":1}`)),
				results(result("a", `{"t":20}`), result("b", "sunny"), llm.Part{Kind: llm.PartResult, ID: "c", Name: "f", IsError: true, Content: []llm.Part{said("no")}}),
			},
			dialect.Quirks{},
			`{"contents":[{"role":"model","parts":[{"functionCall":{"id":"a","name":"f","args":{}},` + dummy + `},{"functionCall":{"id":"b","name":"f","args":{}}},{"functionCall":{"id":"c","name":"f","args":{"x":1}}}]},` +
				`{"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"t":20}}},{"functionResponse":{"id":"b","name":"f","response":{"output":"sunny"}}},{"functionResponse":{"id":"c","name":"f","response":{"error":"no"}}}]}]}`, nil,
		},
		{
			"numbers that a double cannot hold stay text",
			[]llm.Message{model(call("a", "")), results(result("a", `{"id":12345678901234567890}`))},
			dialect.Quirks{},
			`{"contents":[{"role":"model","parts":[{"functionCall":{"id":"a","name":"f","args":{}},` + dummy + `}]},` +
				`{"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"{\"id\":12345678901234567890}"}}}]}]}`, nil,
		},
		{
			"an image in a result follows it",
			[]llm.Message{model(call("a", "")), results(llm.Part{Kind: llm.PartResult, ID: "a", Name: "f", Content: []llm.Part{
				said("here"), {Kind: llm.PartImage, At: "/img", Media: &llm.Media{Type: "image/png", Data: []byte("AAAA")}},
			}})},
			dialect.Quirks{},
			`{"contents":[{"role":"model","parts":[{"functionCall":{"id":"a","name":"f","args":{}},` + dummy + `}]},` +
				`{"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"here"}}},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}]}`,
			[]string{"/img rewritten"},
		},
		{
			"arguments that are no object do not end the conversation",
			[]llm.Message{model(call("a", `{"broken`))},
			dialect.Quirks{},
			`{"contents":[{"role":"model","parts":[{"functionCall":{"id":"a","name":"f","args":{"input":"{\"broken"}},` + dummy + `}]}]}`,
			[]string{"/c/arguments rewritten"},
		},
		{
			"late system text joins the rest, and that is told",
			[]llm.Message{{Role: llm.RoleSystem, Parts: []llm.Part{said("one")}}, user(said("a")), {Role: llm.RoleDeveloper, At: "/d", Parts: []llm.Part{said("two")}}, user(said("b"))},
			dialect.Quirks{},
			`{"systemInstruction":{"parts":[{"text":"one"},{"text":"two"}]},"contents":[{"role":"user","parts":[{"text":"a"},{"text":"b"}]}]}`,
			[]string{"/d rewritten"},
		},
		{
			"system text alone: the last is the question",
			[]llm.Message{{Role: llm.RoleSystem, Parts: []llm.Part{said("one")}}, {Role: llm.RoleSystem, At: "/d", Parts: []llm.Part{said("two")}}},
			dialect.Quirks{},
			`{"systemInstruction":{"parts":[{"text":"one"}]},"contents":[{"role":"user","parts":[{"text":"two"}]}]}`,
			[]string{"/d rewritten"},
		},
		{
			"a refusal is text",
			[]llm.Message{model(llm.Part{Kind: llm.PartRefusal, Text: "no", At: "/x"})},
			dialect.Quirks{},
			`{"contents":[{"role":"model","parts":[{"text":"no"}]}]}`,
			[]string{"/x rewritten"},
		},
		{
			"unsigned thinking is a thought, foreign thinking nothing",
			[]llm.Message{model(
				llm.Part{Kind: llm.PartThinking, Text: "mine"},
				llm.Part{Kind: llm.PartThinking, Text: "theirs", At: "/th", Seal: &llm.Seal{Origin: llm.AnthropicMessages, Data: []byte("sig")}}, said("x"))},
			dialect.Quirks{},
			`{"contents":[{"role":"model","parts":[{"text":"mine","thought":true},{"text":"x"}]}]}`,
			[]string{"/th foreign_origin"},
		},
		{
			"web addresses for models that fetch",
			[]llm.Message{user(llm.Part{Kind: llm.PartImage, Media: &llm.Media{URL: "https://x/a.png?b"}})},
			dialect.Quirks{RemoteMedia: true},
			`{"contents":[{"role":"user","parts":[{"fileData":{"mimeType":"image/png","fileUri":"https://x/a.png?b"}}]}]}`, nil,
		},
		{
			"Google's own addresses need no quirk",
			[]llm.Message{user(llm.Part{Kind: llm.PartVideo, Media: &llm.Media{URL: "https://www.youtube.com/watch?v=1"}})},
			dialect.Quirks{},
			`{"contents":[{"role":"user","parts":[{"fileData":{"fileUri":"https://www.youtube.com/watch?v=1"}}]}]}`, nil,
		},
		{
			"a text document",
			[]llm.Message{user(llm.Part{Kind: llm.PartDocument, At: "/doc", Media: &llm.Media{Text: "hi", Name: "notes"}})},
			dialect.Quirks{},
			`{"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"text/plain","data":"aGk="}}]}]}`,
			[]string{"/doc/filename no_equivalent"},
		},
	}
	for _, tt := range tests {
		got, losses, refused := encode(t, &llm.Request{From: llm.OpenAIChat, Messages: tt.ms}, dialect.EncodeOptions{Quirks: tt.quirks})
		if d := cmp.Diff(tt.want, got); d != "" || refused != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.why, refused, d)
		}
		if d := cmp.Diff(tt.losses, losses); d != "" {
			t.Errorf("%s: losses (-want +got):\n%s", tt.why, d)
		}
	}
}

func TestEncodeSettings(t *testing.T) {
	t.Parallel()
	f := llm.Tool{Name: "f", At: "/tools/0"}
	tests := []struct {
		why    string
		r      llm.Request
		quirks dialect.Quirks
		want   string // after contents
		losses []string
	}{
		{
			"clamped",
			llm.Request{Sampling: llm.Sampling{Temperature: llm.Some(3.0), PresencePenalty: llm.Some(2.0), Seed: llm.Some[int64](1 << 40)}},
			dialect.Quirks{},
			`"generationConfig":{"temperature":2,"presencePenalty":1.99,"seed":256}`,
			[]string{"/temperature out_of_range", "/presence_penalty out_of_range", "/seed out_of_range"},
		},
		{
			"model without sampling",
			llm.Request{Sampling: llm.Sampling{Temperature: llm.Some(1.0), TopK: llm.Some[int64](3)}},
			dialect.Quirks{NoSampling: true},
			``,
			[]string{"/temperature model_refuses", " model_refuses"},
		},
		{"logprobs", llm.Request{Sampling: llm.Sampling{Logprobs: true, TopLogprobs: llm.Some[int64](5)}}, dialect.Quirks{}, `"generationConfig":{"responseLogprobs":true,"logprobs":5}`, nil},
		{"n and limit", llm.Request{N: 3, MaxOutput: llm.Some[int64](7)}, dialect.Quirks{}, `"generationConfig":{"candidateCount":3,"maxOutputTokens":7}`, nil},
		{"JSON", llm.Request{Format: llm.Format{Kind: llm.FormatJSON}}, dialect.Quirks{}, `"generationConfig":{"responseMimeType":"application/json"}`, nil},
		{
			"schema",
			llm.Request{Format: llm.Format{Kind: llm.FormatSchema, Name: "n", Schema: llm.Raw(`{"$ref":"#/$defs/a"}`)}},
			dialect.Quirks{},
			`"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":{"$ref":"#/$defs/a"}}`, nil,
		},
		{
			"schema, of a model that has none",
			llm.Request{Format: llm.Format{Kind: llm.FormatSchema, Schema: llm.Raw(`{}`)}},
			dialect.Quirks{NoSchema: true},
			`"generationConfig":{"responseMimeType":"application/json"}`,
			[]string{"/response_format model_refuses"},
		},
		{"effort", llm.Request{Reasoning: llm.Reasoning{Effort: llm.EffortLow}}, dialect.Quirks{}, `"generationConfig":{"thinkingConfig":{"thinkingLevel":"LOW"}}`, nil},
		{"effort beyond the scale", llm.Request{Reasoning: llm.Reasoning{Effort: llm.EffortMax}}, dialect.Quirks{}, `"generationConfig":{"thinkingConfig":{"thinkingLevel":"HIGH"}}`, []string{"/reasoning_effort out_of_range"}},
		{"effort where there are budgets only", llm.Request{Reasoning: llm.Reasoning{Effort: llm.EffortMedium}}, dialect.Quirks{NoEffort: true}, `"generationConfig":{"thinkingConfig":{"thinkingBudget":8192}}`, nil},
		{"off where there are levels", llm.Request{Reasoning: llm.Reasoning{Effort: llm.EffortNone}}, dialect.Quirks{}, `"generationConfig":{"thinkingConfig":{"thinkingLevel":"MINIMAL"}}`, []string{"/reasoning_effort out_of_range"}},
		{"off where there are budgets", llm.Request{Reasoning: llm.Reasoning{Mode: llm.ReasoningOff}}, dialect.Quirks{NoEffort: true}, `"generationConfig":{"thinkingConfig":{"thinkingBudget":0}}`, nil},
		{"budget and show", llm.Request{Reasoning: llm.Reasoning{Mode: llm.ReasoningOn, Budget: llm.Some[int64](3000), Show: llm.ShowSummary}}, dialect.Quirks{}, `"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingBudget":3000}}`, nil},
		{"thinking switched on is thinking seen", llm.Request{Reasoning: llm.Reasoning{Mode: llm.ReasoningOn, Budget: llm.Some[int64](1024)}}, dialect.Quirks{}, `"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingBudget":1024}}`, nil},
		{"no reasoning at all", llm.Request{Reasoning: llm.Reasoning{Effort: llm.EffortLow}}, dialect.Quirks{NoReasoning: true}, ``, []string{"/reasoning_effort model_refuses"}},
		{"tool choice: any", llm.Request{Tools: []llm.Tool{f}, Choice: llm.ToolChoice{Mode: llm.ChoiceRequired}}, dialect.Quirks{}, `"tools":[{"functionDeclarations":[{"name":"f"}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}`, nil},
		{"tool choice: one", llm.Request{Tools: []llm.Tool{f}, Choice: llm.ToolChoice{Mode: llm.ChoiceNamed, Name: "f"}}, dialect.Quirks{}, `"tools":[{"functionDeclarations":[{"name":"f"}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}}`, nil},
		{"tool choice: none", llm.Request{Tools: []llm.Tool{f}, Choice: llm.ToolChoice{Mode: llm.ChoiceNone}, Parallel: llm.Some(false)}, dialect.Quirks{}, `"tools":[{"functionDeclarations":[{"name":"f"}]}],"toolConfig":{"functionCallingConfig":{"mode":"NONE"}}`, nil},
		{"tool choice: some, if any", llm.Request{Tools: []llm.Tool{f}, Choice: llm.ToolChoice{Mode: llm.ChoiceAllowed, Allowed: []string{"f"}}}, dialect.Quirks{}, `"tools":[{"functionDeclarations":[{"name":"f"}]}],"toolConfig":{"functionCallingConfig":{"mode":"VALIDATED","allowedFunctionNames":["f"]}}`, nil},
		{"a choice without tools is none", llm.Request{Choice: llm.ToolChoice{Mode: llm.ChoiceAuto}, Parallel: llm.Some(false)}, dialect.Quirks{}, ``, nil},
		{"tiers", llm.Request{ServiceTier: "flex"}, dialect.Quirks{}, `"serviceTier":"flex"`, nil},
		{"a tier that is not there", llm.Request{ServiceTier: "scale"}, dialect.Quirks{}, ``, []string{"/service_tier no_equivalent"}},
		{
			"what only concerns the other vendor's account",
			llm.Request{User: "u", Store: llm.Some(true), CacheKey: "k", Verbosity: llm.VerbosityLow, Metadata: []llm.Pair{{Key: "a"}}, Extra: llm.Extra{{Name: "zzz", Value: llm.Raw(`1`)}}},
			dialect.Quirks{},
			``,
			[]string{"/store no_equivalent", "/metadata no_equivalent", "/zzz unknown_member", "/user no_equivalent", "/verbosity no_equivalent", "/prompt_cache_key no_equivalent"},
		},
	}
	for _, tt := range tests {
		tt.r.From = llm.OpenAIChat
		tt.r.Messages = []llm.Message{user(said("a"))}
		got, losses, refused := encode(t, &tt.r, dialect.EncodeOptions{Quirks: tt.quirks})
		want := `{"contents":[{"role":"user","parts":[{"text":"a"}]}]`
		if tt.want != "" {
			want += "," + tt.want
		}
		if d := cmp.Diff(want+"}", got); d != "" || refused != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.why, refused, d)
		}
		if d := cmp.Diff(tt.losses, losses); d != "" {
			t.Errorf("%s: losses (-want +got):\n%s", tt.why, d)
		}
	}
}

// What would change the question is refused with its place.
func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	f := llm.Tool{Name: "f", At: "/tools/0"}
	tests := []struct {
		why    string
		r      llm.Request
		quirks dialect.Quirks
		want   string
	}{
		{"logit_bias", llm.Request{Sampling: llm.Sampling{LogitBias: llm.Raw(`{"1":2}`)}}, dialect.Quirks{}, "/logit_bias: no_equivalent"},
		{"serial calls", llm.Request{Tools: []llm.Tool{f}, Parallel: llm.Some(false)}, dialect.Quirks{}, "/parallel_tool_calls: no_equivalent"},
		{"a custom tool", llm.Request{Tools: []llm.Tool{{Kind: llm.ToolCustom, Name: "x", At: "/tools/0"}}}, dialect.Quirks{}, "/tools/0: no_equivalent"},
		{"another vendor's tool", llm.Request{Tools: []llm.Tool{{Kind: llm.ToolHosted, At: "/tools/0", Opaque: &llm.Opaque{Origin: llm.OpenAIResponses}}}}, dialect.Quirks{}, "/tools/0: no_equivalent"},
		{"a web image", llm.Request{Messages: []llm.Message{user(llm.Part{Kind: llm.PartImage, At: "/i", Media: &llm.Media{URL: "https://x/a.png"}})}}, dialect.Quirks{}, "/i: no_equivalent"},
		{"another vendor's file", llm.Request{Messages: []llm.Message{user(llm.Part{Kind: llm.PartDocument, At: "/f", Media: &llm.Media{FileID: "file-1"}})}}, dialect.Quirks{RemoteMedia: true}, "/f: foreign_origin"},
		{"a prefill", llm.Request{Messages: []llm.Message{user(said("a")), model(said("b"))}}, dialect.Quirks{NoPrefill: true}, "/m: model_refuses"},
	}
	for _, tt := range tests {
		tt.r.From = llm.OpenAIChat
		if tt.r.Messages == nil {
			tt.r.Messages = []llm.Message{user(said("a"))}
		}
		_, _, refused := encode(t, &tt.r, dialect.EncodeOptions{Quirks: tt.quirks})
		if d := cmp.Diff([]string{tt.want}, refused); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.why, d)
		}
	}
}
