package registry_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// seeds adds what the corpus has for one side, with the number of its dialect.
func seeds(f *testing.F, side, ext string) {
	files, err := filepath.Glob(filepath.Join("testdata", "convert", "*.txtar"))
	if err != nil || len(files) == 0 {
		f.Fatal("no corpus", err)
	}
	for _, path := range files {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, x := range a.Files {
			for i, d := range llm.Dialects {
				if strings.HasPrefix(x.Name, side+"/"+string(d)) && strings.HasSuffix(x.Name, ext) {
					f.Add(uint8(i), x.Data)
				}
			}
		}
	}
}

// FuzzRequestsOverAllPairs: whatever a client sends is refused with a fault of its own making, or becomes
// JSON that every provider's own reader takes, or is refused for that provider with the places named.
func FuzzRequestsOverAllPairs(f *testing.F) {
	seeds(f, "client", ".json")
	all := codecs()
	f.Fuzz(func(t *testing.T, from uint8, body []byte) {
		client := all[int(from)%len(all)]
		r, err := convtest.DecodeRequest(client, llm.OpGenerate, body)
		if err != nil {
			if k := fault.As(err).Kind; k != fault.Malformed && k != fault.Unsupported {
				t.Fatalf("%s: %v", client.Dialect, err)
			}
			return
		}
		for _, p := range all {
			enc, err := p.Provider.EncodeRequest(r, dialect.EncodeOptions{Model: "m"})
			if err != nil {
				if x := fault.As(err); x.Kind != fault.Unsupported || len(x.Fields) == 0 {
					t.Fatalf("%s to %s: %v", client.Dialect, p.Dialect, err)
				}
				continue
			}
			sent := enc.Body.Bytes()
			if !json.Valid(sent) {
				t.Fatalf("%s to %s: no JSON: %s", client.Dialect, p.Dialect, sent)
			}
			for _, l := range enc.Losses {
				if l.From != client.Dialect || l.To != p.Dialect || l.Reason == "" {
					t.Fatalf("%s to %s: loss %+v", client.Dialect, p.Dialect, l)
				}
			}
		}
	})
}

// FuzzStreamsOverAllPairs: whatever a provider streams becomes, for every client, a stream that its own
// reader finds legal, and that fails where the provider's did.
func FuzzStreamsOverAllPairs(f *testing.F) {
	seeds(f, "provider", ".sse")
	all := codecs()
	f.Fuzz(func(t *testing.T, from uint8, stream []byte) {
		p := all[int(from)%len(all)]
		events, err := convtest.DecodeStream(p.Provider, stream)
		if err != nil {
			if k := fault.As(err).Kind; k == fault.UpstreamProtocol {
				return // an event that is too large
			}
			t.Fatalf("%s: %v", p.Dialect, err)
		}
		for _, c := range all {
			out, _, err := convtest.EncodeStream(c.Client, convtest.Answer(c.Dialect, nil), events)
			if err != nil {
				continue // a call that cannot be read, or too much that interleaves: the edge says so
			}
			back, err := convtest.DecodeStream(c.Provider, out)
			if err != nil {
				t.Fatalf("%s to %s: %v\n%s", p.Dialect, c.Dialect, err, out)
			}
			_, failed := llm.Collect(events)
			if _, shown := llm.Collect(back); failed != nil && shown == nil {
				t.Fatalf("%s to %s: the failure %v is not shown\n%s", p.Dialect, c.Dialect, failed, out)
			}
		}
	})
}
