package gemini_test

import (
	"encoding/json"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// TestEmbedConfig: the settings stand in the request or in its embedContentConfig, in either spelling,
// and come out where every version of the API reads them.
func TestEmbedConfig(t *testing.T) {
	t.Parallel()
	const want = `{"requests":[{"model":"models/up","content":{"parts":[{"text":"x"}]},"taskType":"CLUSTERING","title":"t","outputDimensionality":3}]}`
	for _, body := range []string{
		`{"content":{"parts":[{"text":"x"}]},"taskType":"CLUSTERING","title":"t","outputDimensionality":3}`,
		`{"model":"models/m","content":{"role":"user","parts":{"text":"x"}},"embedContentConfig":{"taskType":"CLUSTERING","title":"t","outputDimensionality":3}}`,
		`{"content":{"parts":[{"text":"x"}]},"embed_content_config":{"task_type":"CLUSTERING","title":"t","output_dimensionality":"3"}}`,
	} {
		q, err := convtest.DecodeEmbed(codec, llm.OpEmbed, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		enc, err := gemini.Backend{}.EncodeEmbed(q, dialect.EncodeOptions{Model: "up"})
		if err != nil || string(enc.Body.Bytes()) != want || len(enc.Losses) != 0 {
			t.Errorf("%s\ngives %s, %v, %v", body, enc.Body.Bytes(), enc.Losses, err)
		}
	}
	for body, param := range map[string]string{
		`{"taskType":"CLUSTERING"}`: "content",
		`{"content":{"parts":[{"text":"x"}]},"title":"a","embedContentConfig":{"title":"b"}}`:      "title",
		`{"content":{"parts":[{"text":"x"}]},"taskType":"CLUSTERING","task_type":"CLUSTERING"}`:    "taskType",
		`{"content":{"parts":[{"text":"x"}]},"embedContentConfig":{"outputDimensionality":"two"}}`: "embedContentConfig/outputDimensionality",
		`{"content":"x"}`:            "content",
		`{"content":{"parts":[{}]}}`: "content/parts/0",
	} {
		if _, err := convtest.DecodeEmbed(codec, llm.OpEmbed, []byte(body)); fault.As(err) == nil || fault.As(err).Param != param {
			t.Errorf("%s: %v", body, err)
		}
	}
	if _, err := convtest.DecodeEmbed(codec, llm.OpEmbedBatch, []byte(`{"requests":[]}`)); fault.As(err) == nil || fault.As(err).Param != "requests" {
		t.Errorf("an empty batch: %v", err)
	}
}

func TestEmbeddingAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for why, body := range map[string]string{
		"no object": `[]`, "nothing": `{}`, "one too few": `{"embeddings":[{"values":[1]}]}`, "one for two": `{"embedding":{"values":[1]}}`,
		"an empty one": `{"embeddings":[{"values":[1]},{}]}`, "text": `{"embeddings":[{"values":[1]},{"values":["x"]}]}`,
	} {
		if _, err := (gemini.Backend{}).DecodeEmbeddings([]byte(body), 2); fault.As(err) == nil || fault.As(err).Kind != fault.UpstreamProtocol {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// FuzzDecodeEmbed: whatever Peek accepts is decoded or refused with a typed fault, and what is written
// for another vendor is what its own clients could have sent.
func FuzzDecodeEmbed(f *testing.F) {
	f.Add([]byte(`{"requests":[{"model":"models/m","content":{"parts":[{"text":"a"},{"text":"b"}]},"taskType":"CLUSTERING","outputDimensionality":3},{"content":{"parts":{"text":"c"}}}]}`), true)
	f.Add([]byte(`{"content":{"parts":[{"text":"a"}]},"embed_content_config":{"title":"t"}}`), false)
	f.Add([]byte(`{"content":{"parts":[{"fileData":{"fileUri":"files/x"}}]}}`), false)
	theirs := convtest.Codec{Dialect: llm.OpenAIChat, Frontend: openai.Chat{}, Client: openai.Chat{}}
	f.Fuzz(func(t *testing.T, body []byte, batch bool) {
		op := llm.OpEmbed
		if batch {
			op = llm.OpEmbedBatch
		}
		q, err := convtest.DecodeEmbed(codec, op, body)
		if err != nil {
			if fault.As(err).Kind != fault.Malformed {
				t.Fatal(err)
			}
			return
		}
		enc, err := openai.ChatBackend{}.EncodeEmbed(q, dialect.EncodeOptions{Model: "up"})
		if err != nil {
			if fault.As(err).Kind != fault.Unsupported {
				t.Fatal(err)
			}
			return
		}
		back, err := convtest.DecodeEmbed(theirs, llm.OpEmbed, enc.Body.Bytes())
		if d := q.Inputs[0].Config.Dims; err != nil && d.Set && d.V < 1 {
			return // no length of a vector: the provider's to refuse
		}
		if err != nil || len(back.Inputs) != len(q.Inputs) {
			t.Fatalf("%v\n%s", err, enc.Body.Bytes())
		}
	})
}

// FuzzDecodeEmbeddings: any bytes give one vector for each input or a fault.
func FuzzDecodeEmbeddings(f *testing.F) {
	f.Add([]byte(`{"embeddings":[{"values":[1]},{"values":[0.5]}],"usageMetadata":{"promptTokenCount":1},"metadata":{"x":1}}`), 2)
	f.Add([]byte(`{"embedding":{"values":[1]}}`), 1)
	f.Fuzz(func(t *testing.T, body []byte, n int) {
		n = max(1, min(n, 8))
		r, err := gemini.Backend{}.DecodeEmbeddings(body, n)
		if err != nil {
			if fault.As(err).Kind != fault.UpstreamProtocol {
				t.Fatal(err)
			}
			return
		}
		for _, op := range []llm.Op{llm.OpEmbed, llm.OpEmbedBatch} {
			if out, _ := (gemini.Frontend{}).EncodeEmbeddings(r, &llm.EmbedRequest{Op: op}); len(r.Vectors) != n || !json.Valid(out) {
				t.Fatalf("%s", out)
			}
		}
	})
}
