package registry_test

import (
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func codecs() []convtest.Codec {
	var all []convtest.Codec
	for _, d := range llm.Dialects {
		c := convtest.Codec{Dialect: d, Frontend: registry.Frontend(d)}
		c.Client, _ = registry.Client(d)
		c.Provider, _ = registry.Provider(d)
		all = append(all, c)
	}
	return all
}

// TestConversions runs the corpus over every pair of dialects.
func TestConversions(t *testing.T) {
	t.Parallel()
	convtest.Run(t, convtest.Config{
		Corpus: "testdata/convert", Golden: "testdata/convert/golden", Codecs: codecs(), Update: *update,
	})
}
