package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/causeway-mesh/causeway/bench/clients/internal/dev"
)

// plan is what a suite is told, as the JSON file that CAUSEWAY_CLIENTS names.
type plan struct {
	Edge     string   `json:"edge"`
	Key      string   `json:"key"`
	Limited  string   `json:"limited"` // a key with one request a minute
	Wrong    string   `json:"wrong"`   // one that is unknown
	Fake     string   `json:"fake"`    // the fake provider, for the direct call
	Dialects []string `json:"dialects"`
	Out      string   `json:"out"` // cells, one JSON object a line

	dir string
}

// dialects are what is behind the mesh: their fake provider's path and the model that is asked there
// when the client's own is another vendor's.
var dialects = []struct {
	id, family, scheme, suffix, model, embed string
}{
	{"openai-chat", "openai", "bearer", "/v1", "gpt-5-mini", "text-embedding-3-small"},
	{"openai-responses", "openai", "bearer", "/v1", "gpt-5-mini", "text-embedding-3-small"},
	{"anthropic-messages", "anthropic", "x-api-key", "", "claude-sonnet-4-6", "claude-sonnet-4-6"}, // has no embeddings: refused
	{"gemini", "google", "x-goog-api-key", "", "gemini-3-flash-preview", "gemini-embedding-001"},
}

// asked are the models that the clients name; NAME-via-DIALECT is one of them at that provider.
var asked = []struct{ model, family string }{
	{"gpt-4o", "openai"},
	{"gpt-5-mini", "openai"},
	{"claude-sonnet-4-6", "anthropic"},
	{"gemini-3-flash-preview", "google"},
}

var (
	embedders = []string{"text-embedding-3-small", "gemini-embedding-001"}
	failing   = []string{"fake-500"}
)

type (
	provider struct {
		ID         string   `json:"id"`
		Dialects   []string `json:"dialects"`
		BaseURL    string   `json:"base_url"`
		Auth       auth     `json:"auth"`
		Processing []string `json:"processing"`
		Storage    []string `json:"storage"`
		Exits      []string `json:"exits"`
	}
	auth struct {
		Scheme  string   `json:"scheme"`
		Secrets []secret `json:"secrets"`
	}
	secret struct {
		ID    string `json:"id"`
		Value string `json:"value"`
	}
	model struct {
		ID      string   `json:"id"`
		Targets []target `json:"targets"`
	}
	target struct {
		Provider string `json:"provider"`
		Model    string `json:"model"`
	}
	apiKey struct {
		ID     string   `json:"id"`
		Tenant string   `json:"tenant"`
		Secret string   `json:"secret"`
		Models []string `json:"models"`
	}
	limit struct {
		Tenant string `json:"tenant"`
		Key    string `json:"key"`
		Model  string `json:"model"`
		RPM    int    `json:"rpm"`
	}
	document struct {
		Version   int        `json:"version"`
		Keys      []apiKey   `json:"keys"`
		Limits    []limit    `json:"limits"`
		Providers []provider `json:"providers"`
		Models    []model    `json:"models"`
	}
)

// setUp gives the mesh one provider of each dialect, and one more of each that only fails: a client
// that is refused must not make the relay spare the provider that the others use.
func setUp(ctx context.Context, mesh *dev.Mesh) (*plan, error) {
	fake, err := fakeProvider(ctx, mesh)
	if err != nil {
		return nil, err
	}
	const limited = "cw_test_limited_0123456789abcdef"
	doc := wanted(fake)
	doc.Keys = []apiKey{{"limited", "dev", limited, []string{"*"}}}
	doc.Limits = []limit{{"dev", "limited", "*", len(mesh.Edges)}} // each edge has its share
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	if _, err := mesh.Call(ctx, http.MethodPost, "/v1/apply", string(body)); err != nil {
		return nil, err
	}
	p := &plan{Edge: mesh.Edge("us-west"), Key: mesh.APIKey, Limited: limited, Wrong: "cw_test_wrong_0123456789abcdef", Fake: fake, dir: mesh.Dir}
	if err := mesh.Wait(ctx, "the limited key", limited, "/v1/models"); err != nil {
		return nil, err
	}
	for _, d := range dialects {
		p.Dialects = append(p.Dialects, d.id)
	}
	return p, nil
}

// fakeProvider is the base URL of the dev mesh's own provider in the US.
func fakeProvider(ctx context.Context, mesh *dev.Mesh) (string, error) {
	b, err := mesh.Call(ctx, http.MethodGet, "/v1/providers", "")
	if err != nil {
		return "", err
	}
	var list struct {
		Items []provider `json:"items"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return "", fmt.Errorf("list of providers: %w", err)
	}
	for _, p := range list.Items {
		if p.ID == "fake-us-anthropic" {
			return p.BaseURL, nil
		}
	}
	return "", errors.New("the dev mesh has no provider fake-us-anthropic")
}

func wanted(fake string) document {
	doc := document{Version: 1}
	for _, d := range dialects {
		for _, name := range []string{"only-", "failing-"} {
			doc.Providers = append(doc.Providers, provider{
				ID: name + d.id, Dialects: []string{d.id}, BaseURL: fake + d.suffix,
				Auth:       auth{Scheme: d.scheme, Secrets: []secret{{ID: "built-in", Value: "fake-provider-key"}}},
				Processing: []string{"US"}, Storage: []string{"US"}, Exits: []string{"us-west"},
			})
		}
		add := func(name, provider, upstream string) {
			doc.Models = append(doc.Models, model{ID: name + "-via-" + d.id, Targets: []target{{Provider: provider + d.id, Model: upstream}}})
		}
		for _, m := range asked {
			upstream := d.model
			if m.family == d.family {
				upstream = m.model
			}
			add(m.model, "only-", upstream)
		}
		for _, m := range embedders {
			add(m, "only-", d.embed)
		}
		for _, m := range failing {
			add(m, "failing-", m)
		}
	}
	return doc
}

// file writes the plan for one suite and gives its path and that of its cells.
func (p *plan) file(suite string) (path, out string, err error) {
	name := filepath.Join(p.dir, strings.ReplaceAll(suite, " ", "-"))
	mine := *p
	mine.Out = name + ".jsonl"
	b, err := json.Marshal(mine)
	if err != nil {
		return "", "", err
	}
	return name + ".json", mine.Out, os.WriteFile(name+".json", b, 0o600)
}
