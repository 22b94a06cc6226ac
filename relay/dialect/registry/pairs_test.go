package registry_test

import (
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// TestEveryPairIsImplementedOrRefused: a pair that is neither would panic or pass through the wrong
// protocol; one that is both would refuse what works.
func TestEveryPairIsImplementedOrRefused(t *testing.T) {
	t.Parallel()
	for _, client := range llm.Dialects {
		for _, provider := range llm.Dialects {
			_, c := registry.Client(client)
			_, p := registry.Provider(provider)
			why := registry.Unsupported(client, provider)
			switch {
			case client == provider && why != "":
				t.Errorf("%s to itself is refused: %s", client, why)
			case client != provider && !(c && p) && why == "":
				t.Errorf("%s to %s is neither implemented nor refused", client, provider)
			case client != provider && c && p && why != "":
				t.Errorf("%s to %s is implemented and refused: %s", client, provider, why)
			}
		}
	}
}
