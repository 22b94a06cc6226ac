package registry_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Second turns: a client keeps what it got and sends it back with the result of the call.

const question = `"Weather?"`

// echo is the next request of a client of dialect d that got answer: the message as it came, and a
// result for every call in it.
func echo(t *testing.T, d llm.Dialect, answer []byte) []byte {
	t.Helper()
	var a struct {
		Choices []struct {
			Message json.RawMessage `json:"message"`
		} `json:"choices"`
		Output     []json.RawMessage `json:"output"`
		Content    json.RawMessage   `json:"content"`
		Candidates []struct {
			Content json.RawMessage `json:"content"`
		} `json:"candidates"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		t.Fatal(err)
	}
	var ms []string
	add := func(m string) { ms = append(ms, m) }
	calls := callsOf(t, d, answer)
	switch d {
	case llm.OpenAIChat:
		add(`{"role":"user","content":` + question + `}`)
		add(string(a.Choices[0].Message))
		for _, c := range calls {
			add(`{"role":"tool","tool_call_id":"` + c.ID + `","content":"sunny"}`)
		}
		return []byte(`{"model":"m","messages":[` + strings.Join(ms, ",") + `]}`)
	case llm.OpenAIResponses:
		add(`{"role":"user","content":` + question + `}`)
		for _, item := range a.Output {
			add(string(item))
		}
		for _, c := range calls {
			add(`{"type":"function_call_output","call_id":"` + c.ID + `","output":"sunny"}`)
		}
		return []byte(`{"model":"m","store":false,"input":[` + strings.Join(ms, ",") + `]}`)
	case llm.AnthropicMessages:
		add(`{"role":"user","content":` + question + `}`)
		add(`{"role":"assistant","content":` + string(a.Content) + `}`)
		for _, c := range calls {
			add(`{"role":"user","content":[{"type":"tool_result","tool_use_id":"` + c.ID + `","content":"sunny"}]}`)
		}
		return []byte(`{"model":"m","max_tokens":9000,"messages":[` + strings.Join(ms, ",") + `]}`)
	default:
		add(`{"role":"user","parts":[{"text":` + question + `}]}`)
		add(string(a.Candidates[0].Content))
		for _, c := range calls {
			add(`{"role":"user","parts":[{"functionResponse":{"name":"` + c.Name + `","response":{"output":"sunny"}}}]}`)
		}
		return []byte(`{"contents":[` + strings.Join(ms, ",") + `]}`)
	}
}

// callsOf reads an answer as its client does.
func callsOf(t *testing.T, d llm.Dialect, answer []byte) (calls []llm.Part) {
	t.Helper()
	r, err := codec(d).Provider.DecodeResponse(llm.OpGenerate, answer, dialect.DecodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Choices[0].Parts {
		if p.Kind == llm.PartCall {
			calls = append(calls, p)
		}
	}
	return calls
}

func codec(d llm.Dialect) convtest.Codec {
	for _, c := range codecs() {
		if c.Dialect == d {
			return c
		}
	}
	panic("no such dialect: " + d)
}

// bound is what belongs to a vendor in a part: where it stands, and the bytes.
type bound struct{ Kind, Text, Seal, Opaque string }

func bounds(ps []llm.Part) (out []bound) {
	for i := range ps {
		p := &ps[i]
		b := bound{Kind: p.Kind.String()}
		switch {
		case p.Opaque != nil && p.Kind == llm.PartOpaque:
			b.Opaque = string(p.Opaque.JSON)
		case p.Seal != nil:
			b.Seal = string(p.Seal.Data)
			if p.Kind == llm.PartThinking {
				b.Text = p.Text
			}
		default:
			continue
		}
		out = append(out, b)
	}
	return out
}

// corpusAnswer is a provider's answer of a corpus case.
func corpusAnswer(t *testing.T, name string, d llm.Dialect) (unary, stream []byte) {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", "convert", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		switch f.Name {
		case "provider/" + string(d) + ".json":
			unary = f.Data
		case "provider/" + string(d) + ".sse":
			stream = f.Data
		}
	}
	return unary, stream
}

// What a provider signs, hides or encrypts comes back to it byte for byte, and beside the same part, when
// a client of any other protocol sends back what it got, whole or streamed; and no other provider gets
// it. peers.md 4, rows 6 and 7: "thinking signature changed or lost -> 400"
// (anthropics/anthropic-sdk-python #1598, ding113/claude-code-hub #518), "Gemini thought_signature lost"
// (BerriAI/litellm #16893, #18570, Portkey-AI/gateway #1442, lbjlaq/Antigravity-Manager #3202,
// diegosouzapw/OmniRoute #2504, langgenius/dify-official-plugins #2088).
func TestSealsComeHomeThroughEveryClient(t *testing.T) {
	t.Parallel()
	n := 0
	for _, name := range []string{"thinking", "thinking-late", "pause", "code"} {
		for _, from := range llm.Dialects {
			unary, stream := corpusAnswer(t, name, from)
			if unary == nil {
				continue
			}
			for _, through := range llm.Dialects {
				if through == from || through == llm.OpenAIChat && (name == "pause" || name == "code") {
					continue // chat has no place for whole parts: TestChatAnswerLosses
				}
				n++
				t.Run(name+"/"+string(from)+"/"+string(through), func(t *testing.T) {
					sealsComeHome(t, codec(from), codec(through), unary, stream)
				})
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d ways were tried", n)
	}
}

func sealsComeHome(t *testing.T, from, through convtest.Codec, unary, stream []byte) {
	whole, err := from.Provider.DecodeResponse(llm.OpGenerate, unary, dialect.DecodeOptions{ID: convtest.RequestID, Scope: "acct-1"})
	if err != nil {
		t.Fatal(err)
	}
	want := bounds(whole.Choices[0].Parts)
	if len(want) == 0 {
		t.Fatal("the answer has nothing that is bound to its vendor")
	}
	o := convtest.Answer(through.Dialect, nil)
	body, _, err := through.Client.EncodeResponse(whole, o)
	if err != nil {
		t.Fatal(err)
	}
	events, err := convtest.DecodeStream(from.Provider, stream)
	if err != nil {
		t.Fatal(err)
	}
	streamed, losses, err := convtest.EncodeStream(through.Client, o, events)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, l := range losses { // a seal that came behind the last text, where an Anthropic stream has no place
		if strings.HasSuffix(l.Path, "/thoughtSignature") {
			told++
		}
	}
	for how, body := range map[string][]byte{"whole": body, "streamed": accumulate(t, through, streamed)} {
		r, err := convtest.DecodeRequest(through, llm.OpGenerate, echo(t, through.Dialect, body))
		if err != nil {
			t.Fatalf("%s: %v\n%s", how, err, body)
		}
		for _, to := range codecs() {
			enc, err := to.Provider.EncodeRequest(r, dialect.EncodeOptions{Model: "m", MaxOutput: 9000, Scope: "acct-1"})
			if err != nil {
				t.Fatalf("%s to %s: %v", how, to.Dialect, err)
			}
			sent := string(enc.Body.Bytes())
			if to.Dialect == through.Dialect {
				continue // a carrier is an unknown blob there: TestSealGoesHomeOnly
			}
			if to.Dialect != from.Dialect {
				for _, b := range want {
					if s := b.Seal + b.Opaque; strings.Contains(sent, s) && b.Seal != "reasoning_content" {
						t.Errorf("%s: %s got %s", how, to.Dialect, s)
					}
				}
				continue
			}
			back, err := convtest.DecodeRequest(to, llm.OpGenerate, []byte(sent))
			if err != nil {
				t.Fatalf("%s: %v\n%s", how, err, sent)
			}
			var got []bound
			for i := range back.Messages {
				if back.Messages[i].Role == llm.RoleAssistant {
					got = append(got, bounds(back.Messages[i].Parts)...)
				}
			}
			home := want
			if how == "streamed" {
				home = want[:len(want)-told]
			}
			if d := cmp.Diff(home, got, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("%s (-answered +sent back):\n%s\nlosses %v\n%s", how, d, enc.Losses, sent)
			}
		}
	}
}

// accumulate makes of a stream the whole answer that the client keeps, as SDKs join it.
func accumulate(t *testing.T, c convtest.Codec, stream []byte) []byte {
	t.Helper()
	if c.Dialect == llm.OpenAIChat {
		return joinChunks(t, stream)
	}
	events, err := convtest.DecodeStream(c.Provider, stream)
	if err != nil {
		t.Fatal(err)
	}
	r, err := llm.Collect(events)
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := c.Client.EncodeResponse(r, convtest.Answer(c.Dialect, nil))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// joinChunks joins deltas as clients of OpenRouter and DeepSeek do: strings grow, list entries with an
// index are merged, others are appended.
func joinChunks(t *testing.T, stream []byte) []byte {
	t.Helper()
	message := map[string]any{}
	for line := range strings.Lines(string(stream)) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var chunk struct {
			Choices []struct {
				Delta map[string]any `json:"delta"`
			} `json:"choices"`
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			t.Fatal(err)
		}
		if len(chunk.Choices) > 0 {
			merge(message, chunk.Choices[0].Delta)
		}
	}
	b, err := json.Marshal(map[string]any{"choices": []any{map[string]any{"message": message, "finish_reason": "stop"}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func merge(into, delta map[string]any) {
	for k, v := range delta {
		switch v := v.(type) {
		case string:
			if s, ok := into[k].(string); ok && k != "role" && k != "id" && k != "type" && k != "name" {
				into[k] = s + v
				continue
			}
			into[k] = v
		case map[string]any:
			if m, ok := into[k].(map[string]any); ok {
				merge(m, v)
				continue
			}
			into[k] = v
		case []any:
			list, _ := into[k].([]any)
			for _, e := range v {
				entry := e.(map[string]any)
				at := slices.IndexFunc(list, func(have any) bool {
					return entry["index"] != nil && have.(map[string]any)["index"] == entry["index"]
				})
				if at < 0 {
					list = append(list, e)
				} else {
					merge(list[at].(map[string]any), entry)
				}
			}
			into[k] = list
		default:
			if into[k] == nil {
				into[k] = v
			}
		}
	}
}
