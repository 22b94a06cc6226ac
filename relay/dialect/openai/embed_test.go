package openai_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

var embedCodec = convtest.Codec{Dialect: llm.OpenAIChat, Frontend: openai.Chat{}, Client: openai.Chat{}, Provider: openai.ChatBackend{}}

func TestEmbedInputs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why, input string
		want       string // texts or token lists, joined; "" = refused
		param      string
	}{
		{"a text", `"a"`, "a", ""},
		{"an empty text is the provider's to refuse", `[""]`, " ", ""},
		{"texts", `["a","b\u00e9"]`, "a|bé", ""},
		{"token ids", `[1, 2]`, "[1, 2]", ""},
		{"lists of token ids", `[[1],[2,3]]`, "[1]|[2,3]", ""},
		{"nothing", `[]`, "", "input"},
		{"null", `null`, "", "input"},
		{"an object", `{}`, "", "input"},
		{"an empty list inside", `[[1],[]]`, "", "input/1"},
		{"two kinds", `["a",1]`, "", "input"},
		{"a token id that is none", `[1,-2]`, "", "input/1"},
		{"a fraction inside a list", `[[1.5]]`, "", "input/0/0"},
		{"null inside", `[null]`, "", "input"},
	} {
		q, err := convtest.DecodeEmbed(embedCodec, llm.OpEmbed, []byte(`{"model":"m","input":`+c.input+`}`))
		if err != nil {
			if f := fault.As(err); c.want != "" || f.Kind != fault.Malformed || f.Param != c.param {
				t.Errorf("%s: %v at %q, want %q", c.why, err, f.Param, c.param)
			}
			continue
		}
		var got []string
		for _, in := range q.Inputs {
			if in.Tokens != nil {
				got = append(got, string(in.Tokens))
			} else {
				got = append(got, in.Content.Parts[0].Text)
			}
		}
		if s := strings.Join(got, "|"); s != strings.TrimSpace(c.want) || c.want == "" {
			t.Errorf("%s: %q", c.why, s)
		}
	}
	for body, param := range map[string]string{
		`{"model":"m","input":"a","encoding_format":"hex"}`: "encoding_format",
		`{"model":"m","input":"a","dimensions":0}`:          "dimensions",
		`{"model":"m","input":"a","dimensions":"3"}`:        "dimensions",
		`{"model":"m","input":"a","user":1}`:                "user",
	} {
		if _, err := convtest.DecodeEmbed(embedCodec, llm.OpEmbed, []byte(body)); fault.As(err) == nil || fault.As(err).Param != param {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// A vector must never be taken for another text's: answers that leave open whose it is are refused.
func TestEmbeddingsAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for why, body := range map[string]string{
		"no data":              `{}`,
		"no object":            `[]`,
		"one too few":          `{"data":[{"embedding":[1]}]}`,
		"one too many":         `{"data":[{"embedding":[1]},{"embedding":[1]},{"embedding":[1]}]}`,
		"the same index twice": `{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`,
		"a foreign index":      `{"data":[{"index":0,"embedding":[1]},{"index":2,"embedding":[1]}]}`,
		"a negative index":     `{"data":[{"index":-1,"embedding":[1]},{"index":0,"embedding":[1]}]}`,
		"no vector":            `{"data":[{"index":0},{"index":1,"embedding":[1]}]}`,
		"an entry of a list":   `{"data":[[],{"index":1,"embedding":[1]}]}`,
	} {
		if _, err := (openai.ChatBackend{}).DecodeEmbeddings([]byte(body), 2); fault.As(err) == nil || fault.As(err).Kind != fault.UpstreamProtocol {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// FuzzDecodeEmbed: whatever Peek accepts is decoded or refused with a typed fault, and what is written
// for another vendor is what its own clients could have sent.
func FuzzDecodeEmbed(f *testing.F) {
	f.Add([]byte(`{"model":"m","input":["a","b"],"dimensions":3,"encoding_format":"base64","user":"u","x":{}}`))
	f.Add([]byte(`{"model":"m","input":[[1],[2]]}`))
	f.Add([]byte(`{"model":"m","input":[1,2,"x"]}`))
	theirs := convtest.Codec{Dialect: llm.Gemini, Frontend: gemini.Frontend{}, Client: gemini.Frontend{}}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := convtest.DecodeEmbed(embedCodec, llm.OpEmbed, body)
		if err != nil {
			if fault.As(err).Kind != fault.Malformed {
				t.Fatal(err)
			}
			return
		}
		enc, err := gemini.Backend{}.EncodeEmbed(q, dialect.EncodeOptions{Model: "up"})
		if err != nil {
			if fault.As(err).Kind != fault.Unsupported {
				t.Fatal(err)
			}
			return
		}
		back, err := convtest.DecodeEmbed(theirs, llm.OpEmbedBatch, enc.Body.Bytes())
		if err != nil || len(back.Inputs) != len(q.Inputs) {
			t.Fatalf("%v\n%s", err, enc.Body.Bytes())
		}
		for i := range q.Inputs {
			if back.Inputs[i].Content.Parts[0].Text != q.Inputs[i].Content.Parts[0].Text || back.Inputs[i].Config.Dims != q.Inputs[i].Config.Dims {
				t.Fatalf("input %d changed\n%s", i, enc.Body.Bytes())
			}
		}
	})
}

// FuzzDecodeEmbeddings: any bytes give one vector for each input or a fault.
func FuzzDecodeEmbeddings(f *testing.F) {
	f.Add([]byte(`{"data":[{"index":1,"embedding":"AACAPw=="},{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":1,"total_tokens":1}}`), 2)
	f.Add([]byte(`{"data":[{"embedding":[1]}]}`), 1)
	f.Fuzz(func(t *testing.T, body []byte, n int) {
		n = max(1, min(n, 8))
		r, err := openai.ResponsesBackend{}.DecodeEmbeddings(body, n)
		if err != nil {
			if fault.As(err).Kind != fault.UpstreamProtocol {
				t.Fatal(err)
			}
			return
		}
		for _, v := range r.Vectors {
			if len(v) == 0 {
				t.Fatal("an empty vector")
			}
		}
		for _, base64 := range []bool{true, false} {
			if out, _ := (openai.Chat{}).EncodeEmbeddings(r, &llm.EmbedRequest{Base64: base64}); len(r.Vectors) != n || !json.Valid(out) {
				t.Fatalf("%s", out)
			}
		}
	})
}
