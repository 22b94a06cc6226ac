package convtest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// EmbedClientOf and EmbedProviderOf give the halves of a codec for embeddings, or nil.
func EmbedClientOf(k Codec) dialect.EmbedClient { c, _ := k.Client.(dialect.EmbedClient); return c }

// EmbedProviderOf gives the provider's half, or nil.
func EmbedProviderOf(k Codec) dialect.EmbedProvider {
	p, _ := k.Provider.(dialect.EmbedProvider)
	return p
}

// DecodeEmbed peeks and decodes body, as the edge does. Only Gemini has op as it is; the others know
// lists under their one operation.
func DecodeEmbed(k Codec, op llm.Op, body []byte) (*llm.EmbedRequest, error) {
	if k.Dialect != llm.Gemini {
		op = llm.OpEmbed
	}
	var h dialect.Head
	if k.Frontend != nil {
		var err error
		if h, err = k.Frontend.Peek(op, body); err != nil {
			return nil, err
		}
	}
	return EmbedClientOf(k).DecodeEmbed(op, body, h)
}

// embed runs a case of embeddings over all pairs. What a client receives, the provider half of its own
// dialect must read as the same vectors.
func (c *testCase) embed(t *testing.T, cfg Config) {
	for _, client := range cfg.Codecs {
		body := bytes.TrimSpace(c.file("client/" + string(client.Dialect) + ".json"))
		if len(body) == 0 {
			continue
		}
		q, err := DecodeEmbed(client, c.op, body)
		if err != nil {
			a := new(txtar.Archive)
			add(a, "refused.txt", refusal(err))
			c.compare(t, cfg, string(client.Dialect), a)
			continue
		}
		for _, provider := range cfg.Codecs {
			half := EmbedProviderOf(provider)
			if half == nil || provider.Dialect == client.Dialect {
				continue
			}
			a := new(txtar.Archive)
			if enc, err := half.EncodeEmbed(q, c.encode); err != nil {
				add(a, "refused.txt", refusal(err))
			} else {
				add(a, "upstream.json", Indent(enc.Body.Bytes()))
				add(a, "losses.txt", lossText(enc.Losses))
			}
			if said := bytes.TrimSpace(c.file("provider/" + string(provider.Dialect) + ".json")); len(said) > 0 {
				c.vectors(t, a, client, half, q, said)
			}
			c.compare(t, cfg, string(client.Dialect)+"+"+string(provider.Dialect), a)
		}
	}
}

func (c *testCase) vectors(t *testing.T, a *txtar.Archive, client Codec, provider dialect.EmbedProvider, q *llm.EmbedRequest, said []byte) {
	r, err := provider.DecodeEmbeddings(said, len(q.Inputs))
	if err != nil {
		add(a, "fault.txt", refusal(err))
		return
	}
	out, losses := EmbedClientOf(client).EncodeEmbeddings(r, q)
	add(a, "answer.json", Indent(out))
	add(a, "answer.losses", lossText(losses))
	own := EmbedProviderOf(client)
	if own == nil {
		return
	}
	again, err := own.DecodeEmbeddings(out, len(q.Inputs))
	if err != nil || !slices.EqualFunc(r.Vectors, again.Vectors, slices.Equal) {
		t.Errorf("%s answer: its own decoder reads %v (%v), want %v", client.Dialect, again, err, r.Vectors)
	}
}
