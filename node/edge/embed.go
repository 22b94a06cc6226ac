package edge

import (
	"net/http"

	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
)

// estimated marks answers with token counts that are the edge's own estimate.
const estimated = "X-Causeway-Estimate"

func embeds(op llm.Op) bool { return op == llm.OpEmbed || op == llm.OpEmbedBatch }

// decodeEmbed is decode for embeddings.
func (x *exchange) decodeEmbed() error {
	codec, ok := registry.EmbedClient(x.op.dialect)
	if !ok {
		x.undecodable = fault.New(fault.Unsupported, "embeddings of %s clients are not converted", x.op.dialect)
		return x.undecodable
	}
	x.embed, x.undecodable = codec.DecodeEmbed(x.op.op, x.body, x.head)
	return x.undecodable
}

// convertVectors writes a provider's vectors in the client's dialect.
func (s *Server) convertVectors(x *exchange, r *route, body []byte) error {
	provider, _ := registry.EmbedProvider(r.dialect)
	client, _ := registry.EmbedClient(x.op.dialect)
	resp, err := provider.DecodeEmbeddings(body, len(x.embed.Inputs))
	if err != nil {
		return fault.As(err).At(fault.Sent)
	}
	if !resp.HasUsage {
		x.embed.EachText(func(text string) { resp.Usage.Input += meter.Count(text) })
		x.guess = &resp.Usage
	}
	out, losses := client.EncodeEmbeddings(resp, x.embed)
	x.losses = append(x.losses, losses...)
	s.begin(x, r, tunnel.Reply{Status: http.StatusOK, Header: converted("application/json")}, len(out))
	return x.out.content(out)
}
