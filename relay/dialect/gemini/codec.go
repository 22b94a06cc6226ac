package gemini

import "github.com/causeway-mesh/causeway/relay/dialect"

var (
	_ dialect.ClientCodec   = Frontend{}
	_ dialect.ProviderCodec = Backend{}
	_ dialect.EventEncoder  = (*ArrayEncoder)(nil)
	_ dialect.EmbedClient   = Frontend{}
	_ dialect.EmbedProvider = Backend{}
)
