package registry_test

import (
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// asks are the operations that clients of each dialect have.
var asks = map[llm.Dialect][]llm.Op{
	llm.OpenAIChat:        {llm.OpGenerate, llm.OpEmbed},
	llm.OpenAIResponses:   {llm.OpGenerate, llm.OpCountTokens},
	llm.AnthropicMessages: {llm.OpGenerate, llm.OpCountTokens},
	llm.Gemini:            {llm.OpGenerate, llm.OpEmbed, llm.OpEmbedBatch, llm.OpCountTokens},
}

// TestEveryPairIsImplementedOrRefused: a pair that is neither would panic or pass through the wrong
// protocol; one that is both would refuse what works. An operation is implemented where both halves
// are and the provider's protocol has a path for it.
func TestEveryPairIsImplementedOrRefused(t *testing.T) {
	t.Parallel()
	for client, ops := range asks {
		for _, op := range ops {
			for _, provider := range llm.Dialects {
				_, c := registry.Client(client)
				_, p := registry.Provider(provider)
				if op == llm.OpEmbed || op == llm.OpEmbedBatch {
					_, c = registry.EmbedClient(client)
					_, p = registry.EmbedProvider(provider)
				}
				p = p && registry.Backend(provider).Path(registry.Asked(op, provider), "v1beta", "m", false) != ""
				why := registry.Unsupported(op, client, provider)
				switch {
				case client == provider && why != "":
					t.Errorf("%s of %s to itself is refused: %s", op, client, why)
				case client != provider && !(c && p) && why == "":
					t.Errorf("%s of %s to %s is neither implemented nor refused", op, client, provider)
				case client != provider && c && p && why != "":
					t.Errorf("%s of %s to %s is implemented and refused: %s", op, client, provider, why)
				}
			}
		}
	}
}

// TestWhatPassesThroughIsNotConverted: operations without a canonical form are refused between any two
// dialects.
func TestWhatPassesThroughIsNotConverted(t *testing.T) {
	t.Parallel()
	for _, op := range []llm.Op{llm.OpComplete, llm.OpModerate, llm.OpImage, llm.OpSpeech, llm.OpTranscribe, llm.OpCompact, llm.OpStored} {
		for _, client := range llm.Dialects {
			for _, provider := range llm.Dialects {
				if refused := registry.Unsupported(op, client, provider) != ""; refused != (client != provider) {
					t.Errorf("%s of %s to %s: refused %v", op, client, provider, refused)
				}
			}
		}
	}
}

// TestPeekIsStrictForEveryOperation: what two parsers could read differently is refused for counts and
// embeddings as it is for generation, and neither is ever a stream.
func TestPeekIsStrictForEveryOperation(t *testing.T) {
	t.Parallel()
	for client, ops := range asks {
		for _, op := range ops {
			front := registry.Frontend(client)
			for why, body := range map[string]string{
				"two models":          `{"model":"a","model":"b"}`,
				"two models, escaped": `{"model":"a","mod\u0065l":"b"}`,
				"two inputs":          `{"model":"a","input":"x","input":"y"}`,
				"invalid UTF-8":       "{\"model\":\"a\",\"input\":\"\xff\"}",
				"a lone surrogate":    `{"model":"a","input":"\ud800"}`,
				"data after it":       `{"model":"a"}{}`,
				"no object":           `["a"]`,
				"a number for a name": `{"model":1}`,
			} {
				if _, err := front.Peek(op, []byte(body)); err == nil || fault.As(err).Kind != fault.Malformed {
					t.Errorf("%s of %s: %s is let through: %v", op, client, why, err)
				}
			}
			h, err := front.Peek(op, []byte(`{"model":"a","stream":true}`))
			if err != nil || h.Stream != (op == llm.OpGenerate && client != llm.Gemini) || h.Model != "a" && client != llm.Gemini {
				t.Errorf("%s of %s: %+v, %v", op, client, h, err)
			}
		}
	}
}
