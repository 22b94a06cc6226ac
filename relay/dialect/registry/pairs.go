package registry

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Client gives the conversion half for clients of d; false when d has none.
func Client(d llm.Dialect) (dialect.ClientCodec, bool) {
	c, ok := Frontend(d).(dialect.ClientCodec)
	return c, ok
}

// Provider gives the conversion half for providers of d; false when d has none.
func Provider(d llm.Dialect) (dialect.ProviderCodec, bool) {
	p, ok := Backend(d).(dialect.ProviderCodec)
	return p, ok
}

// EmbedClient gives the half for clients of d that ask for embeddings; false when d has none.
func EmbedClient(d llm.Dialect) (dialect.EmbedClient, bool) {
	c, ok := Frontend(d).(dialect.EmbedClient)
	return c, ok
}

// EmbedProvider gives the half for providers of d that embed; false when d has none.
func EmbedProvider(d llm.Dialect) (dialect.EmbedProvider, bool) {
	p, ok := Backend(d).(dialect.EmbedProvider)
	return p, ok
}

// lacking lists the operations that a protocol does not have, with the reason that a client reads.
var lacking = []struct {
	op      llm.Op
	dialect llm.Dialect
	reason  string
}{
	{llm.OpEmbed, llm.AnthropicMessages, "Anthropic Messages has no embeddings"},
	{llm.OpEmbedBatch, llm.AnthropicMessages, "Anthropic Messages has no embeddings"},
	{llm.OpCountTokens, llm.OpenAIChat, "Chat Completions counts no tokens"},
}

// Unsupported is why op of client cannot go to a provider that speaks provider; "" = it can. The same
// dialect is never converted.
func Unsupported(op llm.Op, client, provider llm.Dialect) string {
	if client == provider {
		return ""
	}
	switch op {
	case llm.OpGenerate, llm.OpEmbed, llm.OpEmbedBatch, llm.OpCountTokens:
	default:
		return op.String() + " is only passed through"
	}
	for _, x := range lacking {
		if x.op == op && (x.dialect == client || x.dialect == provider) {
			return x.reason
		}
	}
	return ""
}

// Asked is the operation by which op of a client is asked of a provider of another dialect, d: lists
// of inputs are a batch for Gemini and the only form that OpenAI has.
func Asked(op llm.Op, d llm.Dialect) llm.Op {
	switch {
	case op != llm.OpEmbed && op != llm.OpEmbedBatch:
		return op
	case d == llm.Gemini:
		return llm.OpEmbedBatch
	default:
		return llm.OpEmbed
	}
}
