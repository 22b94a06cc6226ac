package dev

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/fake"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// place is where a set of fake providers runs.
type place struct {
	country, region string
	delay           time.Duration
}

// places: providers in the US and in Germany, and an in-country one in China.
var places = [...]place{{"US", "us-west", 15 * time.Millisecond}, {"DE", "eu-central", 15 * time.Millisecond}, {"CN", "cn-east", 15 * time.Millisecond}}

// family is a set of dialects behind one base URL, as a vendor offers them.
type family struct {
	name     string
	dialects []string
	suffix   string // of the base URL
	scheme   string
	env      string // holds the key of the real provider
	base     string // of the real provider
	terms    string
}

var families = [...]family{
	{"openai", []string{string(llm.OpenAIChat), string(llm.OpenAIResponses)}, "/v1", "bearer", "OPENAI_API_KEY", "https://api.openai.com/v1", "openai"},
	{"anthropic", []string{string(llm.AnthropicMessages)}, "", "x-api-key", "ANTHROPIC_API_KEY", "https://api.anthropic.com", "anthropic"},
	{"gemini", []string{string(llm.Gemini)}, "", "x-goog-api-key", "GEMINI_API_KEY", "https://generativelanguage.googleapis.com", "google"},
}

// fakes are the built-in providers, listening on loopback.
type fakes struct {
	servers []*http.Server
	bases   map[string]string // country -> base URL
}

func startFakes(log zerolog.Logger, failed func(error)) (*fakes, error) {
	f := &fakes{bases: make(map[string]string, len(places))}
	for _, p := range places {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			f.close()
			return nil, fmt.Errorf("start the fake provider of %s: %w", p.country, err)
		}
		s := &http.Server{
			Handler:           fake.New(fake.Options{Country: p.country, TokenDelay: p.delay, FirstToken: 4 * p.delay, Log: log}),
			ReadHeaderTimeout: 10 * time.Second,
		}
		f.servers = append(f.servers, s)
		f.bases[p.country] = "http://" + l.Addr().String()
		go func() {
			if err := s.Serve(l); err != http.ErrServerClosed {
				failed(fmt.Errorf("fake provider of %s: %w", p.country, err))
			}
		}()
	}
	return f, nil
}

func (f *fakes) close() {
	for _, s := range f.servers {
		s.Close()
	}
}

func fakeID(country, family string) string { return "fake-" + strings.ToLower(country) + "-" + family }

// builtin is the mesh of a first run: fake providers of every dialect in three countries, and the
// real ones for which the environment holds a key.
func builtin(f *fakes, lookup func(string) (string, bool), secret string) state.Document {
	doc := state.Document{
		Version: 1,
		Orgs:    []state.Org{{ID: "dev"}},
		Tenants: []state.Tenant{{ID: "dev", Org: "dev", Home: "US", Class: "internal"}},
		Keys:    []state.Key{{ID: "dev", Tenant: "dev", Secret: secret, Models: []string{"*"}}},
	}
	for _, p := range places {
		for _, fam := range families {
			doc.Providers = append(doc.Providers, state.Provider{
				ID: fakeID(p.country, fam.name), Dialects: fam.dialects, BaseURL: f.bases[p.country] + fam.suffix,
				Auth:       state.Auth{Scheme: fam.scheme, Secrets: []state.Secret{{ID: "built-in", Value: "fake-provider-key", Weight: 1}}},
				Processing: []string{p.country}, Storage: []string{p.country}, Exits: []string{p.region},
			})
		}
	}
	auto := state.Model{ID: "auto", Price: fakePrice()}
	for _, fam := range families {
		auto.Targets = append(auto.Targets, state.Target{Provider: fakeID("US", fam.name), Model: "fake", Tier: 0})
	}
	for _, fam := range families {
		auto.Targets = append(auto.Targets, state.Target{Provider: fakeID("CN", fam.name), Model: "fake", Tier: 1})
	}
	doc.Models = append(doc.Models, auto)
	for _, name := range append(fake.Models(), fake.FailureModels()...) {
		m := state.Model{ID: name, Price: fakePrice()}
		for _, country := range [...]string{"US", "DE"} {
			for _, fam := range families {
				m.Targets = append(m.Targets, state.Target{Provider: fakeID(country, fam.name), Model: name})
			}
		}
		doc.Models = append(doc.Models, m)
	}
	for _, fam := range families {
		if key, ok := lookup(fam.env); ok && key != "" {
			addReal(&doc, fam, key)
		}
	}
	return doc.Whole()
}

// fakePrice lets costs be seen; nobody is charged.
func fakePrice() state.Price {
	return state.Price{Input: "1.00", CachedInput: "0.10", Output: "4.00", Unit: "token"}
}

// addReal puts a real provider before the fakes of its family: names that it serves go to it, and
// the fake providers stay reachable under the names that are theirs.
func addReal(doc *state.Document, fam family, key string) {
	doc.Providers = append(doc.Providers, state.Provider{
		ID: fam.name, Dialects: fam.dialects, BaseURL: fam.base, Auth: state.Auth{Scheme: fam.scheme, Secrets: []state.Secret{{ID: "environment", Value: key, Weight: 1}}},
		Processing: []string{"*"}, Storage: []string{"*"}, Terms: fam.terms, Exits: []string{"us-west"},
	})
	for i := range doc.Models {
		m := &doc.Models[i]
		if familyOf(m.ID) != fam.name {
			continue
		}
		m.Price = state.Price{} // the real price is not known here
		m.Targets = []state.Target{{Provider: fam.name, Model: m.ID}}
	}
}

// familyOf tells whose model a name is; "" for the fake provider's own.
func familyOf(model string) string {
	for _, p := range [...]struct{ prefix, family string }{
		{"gpt-", "openai"},
		{"o3", "openai"},
		{"o4", "openai"},
		{"text-embedding-3", "openai"},
		{"text-embedding-ada", "openai"},
		{"claude-", "anthropic"},
		{"gemini-", "gemini"},
		{"text-embedding-004", "gemini"},
	} {
		if strings.HasPrefix(model, p.prefix) {
			return p.family
		}
	}
	return ""
}
