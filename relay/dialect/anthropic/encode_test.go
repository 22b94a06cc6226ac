package anthropic_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/anthropic"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func text(s string) llm.Part { return llm.Part{Kind: llm.PartText, Text: s} }

func say(role llm.Role, ps ...llm.Part) llm.Message { return llm.Message{Role: role, Parts: ps} }

func callPart(id, name, args string) llm.Part {
	return llm.Part{Kind: llm.PartCall, ID: id, Name: name, Text: args}
}

func resultPart(id string, content ...llm.Part) llm.Part {
	return llm.Part{Kind: llm.PartResult, ID: id, Content: content}
}

// chat is a request of a chat client, places filled in.
func chat(f func(*llm.Request), ms ...llm.Message) *llm.Request {
	return request(llm.OpenAIChat, f, ms...)
}

func request(from llm.Dialect, f func(*llm.Request), ms ...llm.Message) *llm.Request {
	if ms == nil {
		ms = []llm.Message{say(llm.RoleUser, text("hi"))}
	}
	r := &llm.Request{From: from, Op: llm.OpGenerate, Model: "m", Messages: ms}
	if f != nil {
		f(r)
	}
	for i := range r.Messages {
		m := &r.Messages[i]
		m.At = dialect.Index("/messages", i)
		for j := range m.Parts {
			m.Parts[j].At = dialect.Index(m.At+"/content", j)
		}
	}
	for i := range r.Tools {
		r.Tools[i].At = dialect.Index("/tools", i)
	}
	return r
}

func encode(t *testing.T, r *llm.Request, o dialect.EncodeOptions) (map[string]json.RawMessage, dialect.Encoded, error) {
	t.Helper()
	if o.Model == "" {
		o.Model = "claude"
	}
	if err := dialect.Check(r); err != nil {
		t.Fatal(err)
	}
	enc, err := anthropic.Backend{}.EncodeRequest(r, o)
	if err != nil {
		return nil, enc, err
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(enc.Body.Bytes(), &body); err != nil {
		t.Fatalf("%v: %s", err, enc.Body.Bytes())
	}
	return body, enc, nil
}

func losses(ls []llm.Loss) (out []string) {
	for _, l := range ls {
		out = append(out, l.Path+" "+l.Reason)
	}
	return out
}

var weather = llm.Tool{Name: "get_weather", Description: "Weather", Schema: llm.Raw(`{"type":"object","properties":{"city":{"type":"string"}}}`)}

func TestSettings(t *testing.T) {
	t.Parallel()
	effort := func(e llm.Effort) func(*llm.Request) { return func(r *llm.Request) { r.Reasoning.Effort = e } }
	schema := func(s string) func(*llm.Request) {
		return func(r *llm.Request) {
			r.Format = llm.Format{Kind: llm.FormatSchema, Name: "n", Schema: llm.Raw(s)}
		}
	}
	const closed = `{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}`
	both := func(fs ...func(*llm.Request)) func(*llm.Request) {
		return func(r *llm.Request) {
			for _, f := range fs {
				f(r)
			}
		}
	}
	forced := func(r *llm.Request) {
		r.Tools, r.Choice = []llm.Tool{weather}, llm.ToolChoice{Mode: llm.ChoiceRequired}
	}
	tests := []struct {
		why  string
		f    func(*llm.Request)
		o    dialect.EncodeOptions
		want string // members, "-name" for absent ones
		lost []string
	}{
		{"what an edge can reserve, never a tiny constant", nil, dialect.EncodeOptions{MaxOutput: 64000}, `{"max_tokens":32000}`, nil},
		{"what the operator says", nil, dialect.EncodeOptions{MaxOutput: 64000, Fill: 64000}, `{"max_tokens":64000}`, nil},
		{"a model that writes less", nil, dialect.EncodeOptions{MaxOutput: 4096}, `{"max_tokens":4096}`, nil},
		{"a known limit is not passed", func(r *llm.Request) { r.MaxOutput = llm.Some(int64(100000)) }, dialect.EncodeOptions{MaxOutput: 64000}, `{"max_tokens":64000}`, []string{"/max_completion_tokens out_of_range"}},
		{"effort is adaptive thinking", effort(llm.EffortHigh), dialect.EncodeOptions{}, `{"thinking":{"type":"adaptive"},"output_config":{"effort":"high"}}`, nil},
		{"minimal is coarser here", effort(llm.EffortMinimal), dialect.EncodeOptions{}, `{"output_config":{"effort":"low"}}`, []string{"/reasoning_effort out_of_range"}},
		{"none switches off", effort(llm.EffortNone), dialect.EncodeOptions{}, `{"thinking":{"type":"disabled"},"-output_config":0}`, nil},
		{"a model with budgets only", effort(llm.EffortMedium), dialect.EncodeOptions{Quirks: dialect.Quirks{NoEffort: true}}, `{"thinking":{"type":"enabled","budget_tokens":8192},"max_tokens":32000,"-output_config":0}`, nil},
		{
			"max_tokens rises above the budget", both(effort(llm.EffortHigh), func(r *llm.Request) { r.MaxOutput = llm.Some(int64(1000)) }),
			dialect.EncodeOptions{MaxOutput: 64000, Quirks: dialect.Quirks{NoEffort: true}},
			`{"thinking":{"type":"enabled","budget_tokens":24576},"max_tokens":25576}`,
			[]string{"/max_completion_tokens out_of_range"},
		},
		{
			"and the budget falls below the model's maximum", effort(llm.EffortHigh),
			dialect.EncodeOptions{MaxOutput: 8192, Quirks: dialect.Quirks{NoEffort: true}},
			`{"thinking":{"type":"enabled","budget_tokens":6144},"max_tokens":8192}`, nil,
		},
		{"a forced tool excludes thinking", both(effort(llm.EffortHigh), forced), dialect.EncodeOptions{}, `{"thinking":{"type":"disabled"},"tool_choice":{"type":"any"},"output_config":{"effort":"high"}}`, []string{"/reasoning_effort not_in_this_use"}},
		{"no reasoning at all", effort(llm.EffortHigh), dialect.EncodeOptions{Quirks: dialect.Quirks{NoReasoning: true}}, `{"-thinking":0,"-output_config":0}`, []string{"/reasoning_effort model_refuses"}},
		{"a summary wanted", func(r *llm.Request) { r.Reasoning.Show = llm.ShowSummary }, dialect.EncodeOptions{}, `{"thinking":{"type":"adaptive","display":"summarized"}}`, nil},
		{"temperature is cut to 1", func(r *llm.Request) { r.Sampling.Temperature = llm.Some(1.5) }, dialect.EncodeOptions{}, `{"temperature":1}`, []string{"/temperature out_of_range"}},
		{"temperature and thinking", both(effort(llm.EffortLow), func(r *llm.Request) { r.Sampling.Temperature = llm.Some(0.2) }), dialect.EncodeOptions{}, `{"-temperature":0}`, []string{"/temperature not_in_this_use"}},
		{"the usual value is no loss", both(effort(llm.EffortLow), func(r *llm.Request) {
			r.Sampling.Temperature, r.Sampling.TopP = llm.Some(1.0), llm.Some(1.0)
		}), dialect.EncodeOptions{}, `{"-temperature":0,"-top_p":0}`, nil},
		{"a model that refuses sampling", func(r *llm.Request) { r.Sampling.Temperature = llm.Some(0.5) }, dialect.EncodeOptions{Quirks: dialect.Quirks{NoSampling: true}}, `{"-temperature":0}`, []string{"/temperature model_refuses"}},
		{"what the protocol does not have", func(r *llm.Request) {
			r.Sampling.Seed, r.Sampling.PresencePenalty, r.Verbosity, r.CacheKey = llm.Some(int64(7)), llm.Some(0.5), llm.VerbosityLow, "k"
			r.Sampling.FrequencyPenalty, r.Store, r.N = llm.Some(0.0), llm.Some(false), 1
		}, dialect.EncodeOptions{}, `{}`, []string{"/presence_penalty no_equivalent", "/seed no_equivalent", "/verbosity no_equivalent", "/prompt_cache_key no_equivalent"}},
		{"user, stops, tier, stream", func(r *llm.Request) {
			r.User, r.Sampling.Stop, r.ServiceTier, r.Stream = "u1", []string{"END"}, "default", true
		}, dialect.EncodeOptions{}, `{"metadata":{"user_id":"u1"},"stop_sequences":["END"],"service_tier":"standard_only","stream":true}`, nil},
		{"parallel off without a choice", func(r *llm.Request) { r.Tools, r.Parallel = []llm.Tool{weather}, llm.Some(false) }, dialect.EncodeOptions{}, `{"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}`, nil},
		{"a choice without tools is none", func(r *llm.Request) { r.Choice.Mode, r.Parallel = llm.ChoiceAuto, llm.Some(false) }, dialect.EncodeOptions{}, `{"-tool_choice":0,"-tools":0}`, nil},
		{"allowed tools are the offered ones", func(r *llm.Request) {
			r.Tools = []llm.Tool{weather, {Name: "other"}}
			r.Choice = llm.ToolChoice{Mode: llm.ChoiceAllowed, Allowed: []string{"other"}, Must: true}
		}, dialect.EncodeOptions{}, `{"tools":[{"name":"other","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"}}`, nil},
		{"a schema in the vendor's part", schema(closed), dialect.EncodeOptions{}, `{"output_config":{"format":{"type":"json_schema","schema":` + closed + `}}}`, nil},
		{
			"an open schema is closed, limits become words", schema(`{"type":"object","properties":{"a":{"type":"integer","minimum":3,"description":"n"}}}`),
			dialect.EncodeOptions{},
			`{"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"type":"integer","description":"n\n\n{minimum: 3}"}},"additionalProperties":false}}}}`,
			[]string{"/response_format rewritten"},
		},
		{
			"structured output through a forced tool", schema(closed),
			dialect.EncodeOptions{Quirks: dialect.Quirks{NoSchema: true}},
			`{"tool_choice":{"type":"tool","name":"causeway_structured_output"},"-output_config":0}`, nil,
		},
		{
			"beside other tools the model may choose", both(schema(closed), func(r *llm.Request) { r.Tools = []llm.Tool{weather} }),
			dialect.EncodeOptions{Quirks: dialect.Quirks{NoSchema: true}},
			`{"tool_choice":{"type":"any"}}`, nil,
		},
		{
			"JSON mode is an instruction", func(r *llm.Request) { r.Format.Kind = llm.FormatJSON },
			dialect.EncodeOptions{},
			`{"system":[{"type":"text","text":"Answer with one valid JSON object and nothing else: no explanation, no Markdown fence."}]}`,
			[]string{"/response_format rewritten"},
		},
		{"a count has no settings", func(r *llm.Request) {
			r.Op, r.Sampling.Stop, r.Sampling.Temperature, r.User, r.Stream = llm.OpCountTokens, []string{"x"}, llm.Some(0.1), "u", true
		}, dialect.EncodeOptions{MaxOutput: 9}, `{"-max_tokens":0,"-stop_sequences":0,"-temperature":0,"-metadata":0,"-stream":0}`, nil},
		{"a lifetime that the vendor does not have", func(r *llm.Request) { r.Cache = llm.Cache30m }, dialect.EncodeOptions{}, `{"cache_control":{"type":"ephemeral","ttl":"1h"}}`, []string{"/prompt_cache_options out_of_range"}},
	}
	for _, tt := range tests {
		body, enc, err := encode(t, chat(tt.f), tt.o)
		if err != nil {
			t.Errorf("%s: %v %q", tt.why, err, fault.As(err).Fields)
			continue
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(tt.why, err)
		}
		for name, v := range want {
			if absent, ok := strings.CutPrefix(name, "-"); ok {
				if body[absent] != nil {
					t.Errorf("%s: has %s: %s", tt.why, absent, body[absent])
				}
			} else if string(body[name]) != string(v) {
				t.Errorf("%s: %s is %s, want %s", tt.why, name, body[name], v)
			}
		}
		if d := cmp.Diff(tt.lost, losses(enc.Losses)); d != "" {
			t.Errorf("%s: losses (-want +got):\n%s", tt.why, d)
		}
	}
}

// What would change the answer is refused by name, never dropped.
func TestRefusals(t *testing.T) {
	t.Parallel()
	media := func(k llm.PartKind, m llm.Media) []llm.Message {
		return []llm.Message{say(llm.RoleUser, llm.Part{Kind: k, Media: &m})}
	}
	tests := []struct {
		why string
		f   func(*llm.Request)
		ms  []llm.Message
		o   dialect.EncodeOptions
		at  string
	}{
		{"several answers", func(r *llm.Request) { r.N = 2 }, nil, dialect.EncodeOptions{}, "n: no_equivalent"},
		{"logprobs", func(r *llm.Request) { r.Sampling.Logprobs = true }, nil, dialect.EncodeOptions{}, "logprobs: no_equivalent"},
		{"logit bias", func(r *llm.Request) { r.Sampling.LogitBias = llm.Raw(`{"1":2}`) }, nil, dialect.EncodeOptions{}, "logit_bias: no_equivalent"},
		{"a custom tool", func(r *llm.Request) { r.Tools = []llm.Tool{{Kind: llm.ToolCustom, Name: "x"}} }, nil, dialect.EncodeOptions{}, "tools/0: no_equivalent"},
		{"another vendor's tool", func(r *llm.Request) {
			r.Tools = []llm.Tool{{Kind: llm.ToolHosted, Opaque: &llm.Opaque{Origin: llm.Gemini, JSON: llm.Raw(`{}`)}}}
		}, nil, dialect.EncodeOptions{}, "tools/0: no_equivalent"},
		{"arguments that are no object", func(r *llm.Request) { r.Tools = []llm.Tool{{Name: "a", Schema: llm.Raw(`{"type":"array"}`)}} }, nil, dialect.EncodeOptions{}, "tools/0: no_equivalent"},
		{"audio", nil, media(llm.PartAudio, llm.Media{Type: "audio/wav", Data: []byte("AAAA")}), dialect.EncodeOptions{}, "messages/0/content/0: no_equivalent"},
		{"another vendor's file", nil, media(llm.PartImage, llm.Media{FileID: "file-1"}), dialect.EncodeOptions{}, "messages/0/content/0: foreign_origin"},
		{"an image that the vendor does not read", nil, media(llm.PartImage, llm.Media{Type: "image/svg+xml", Data: []byte("AAAA")}), dialect.EncodeOptions{}, "messages/0/content/0: no_equivalent"},
		{"an address that the vendor does not fetch", nil, media(llm.PartImage, llm.Media{URL: "http://a/b.png"}), dialect.EncodeOptions{}, "messages/0/content/0: no_equivalent"},
		{"an office file", nil, media(llm.PartDocument, llm.Media{Type: "application/msword", Data: []byte("AAAA")}), dialect.EncodeOptions{}, "messages/0/content/0: no_equivalent"},
		{"a call without its result", func(r *llm.Request) { r.Tools = []llm.Tool{weather} }, []llm.Message{
			say(llm.RoleUser, text("x")), say(llm.RoleAssistant, callPart("c", "get_weather", "{}")), say(llm.RoleUser, text("y")),
		}, dialect.EncodeOptions{}, "messages/1/content/0: not_in_this_use"},
		{
			"a prefill where the model takes none", nil,
			[]llm.Message{say(llm.RoleUser, text("x")), say(llm.RoleAssistant, text("y"))},
			dialect.EncodeOptions{Quirks: dialect.Quirks{NoPrefill: true}},
			"messages/1: model_refuses",
		},
		{"stored conversations", func(r *llm.Request) {
			r.From = llm.OpenAIResponses
			r.Extra = llm.Extra{{Name: "previous_response_id", Value: llm.Raw(`"resp_1"`)}}
		}, nil, dialect.EncodeOptions{}, "previous_response_id: no_equivalent"},
	}
	for _, tt := range tests {
		_, _, err := encode(t, chat(tt.f, tt.ms...), tt.o)
		f := fault.As(err)
		if f == nil || f.Kind != fault.Unsupported || !slices.Contains(f.Fields, "/"+tt.at) {
			t.Errorf("%s: %v", tt.why, f)
			continue
		}
		if want, _, _ := strings.Cut(tt.at, ":"); f.Param != want {
			t.Errorf("%s: param %q", tt.why, f.Param)
		}
	}
}

func TestVersionHeader(t *testing.T) {
	t.Parallel()
	late := []llm.Message{say(llm.RoleUser, text("a")), say(llm.RoleSystem, text("b")), say(llm.RoleUser, text("c"))}
	sampled := func(r *llm.Request) { r.Sampling.Temperature = llm.Some(0.5) }
	in := dialect.EncodeOptions{Quirks: dialect.Quirks{SystemInPlace: true}}
	body, enc, err := encode(t, chat(sampled, late...), in)
	if err != nil || enc.Header.Get("Anthropic-Version") != "2026-10-21" || body["temperature"] != nil || len(enc.Losses) != 1 {
		t.Errorf("%v %v %v %v", enc.Header, body, enc.Losses, err)
	}
	if got := string(body["messages"]); !strings.Contains(got, `{"role":"system","content":[{"type":"text","text":"b"}]}`) {
		t.Error(got)
	}
	body, enc, err = encode(t, chat(sampled, late...), dialect.EncodeOptions{})
	if err != nil || enc.Header.Get("Anthropic-Version") != "2023-06-01" || string(body["temperature"]) != "0.5" {
		t.Errorf("%v %v %v", enc.Header, body, err)
	}
	if d := cmp.Diff([]string{"/messages/1 rewritten"}, losses(enc.Losses)); d != "" || string(body["system"]) != `[{"type":"text","text":"b"}]` {
		t.Errorf("%s\n%s", d, body["system"])
	}
	r := request(llm.AnthropicMessages, nil, say(llm.RoleUser, llm.Part{Kind: llm.PartImage, Media: &llm.Media{FileID: "file_1"}}))
	if _, enc, err := encode(t, r, dialect.EncodeOptions{}); err != nil || enc.Header.Get("Anthropic-Beta") == "" {
		t.Errorf("a file needs the beta header: %v %v", enc.Header, err)
	}
}
