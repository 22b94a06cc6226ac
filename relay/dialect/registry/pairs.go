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

// unsupported lists the halves that are not converted, with the reason that a client reads.
var unsupported = []struct {
	Dialect llm.Dialect
	Client  bool // the client half; else the provider half
	Reason  string
}{}

// Unsupported is why requests of client cannot go to a provider that speaks provider; "" = they can.
// The same dialect is never converted.
func Unsupported(client, provider llm.Dialect) string {
	if client == provider {
		return ""
	}
	for _, u := range unsupported {
		if u.Client && u.Dialect == client || !u.Client && u.Dialect == provider {
			return u.Reason
		}
	}
	return ""
}
