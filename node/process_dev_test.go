package node_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/relay/fake"
)

const devMesh = `version: 1
providers:
  - id: far
    dialects: [openai-chat]
    base_url: US/v1
    auth: {scheme: bearer, secrets: [{id: a, value: "a-literal"}]}
    processing: [US]
    storage: [US]
    exits: [us-west]
  - id: near
    dialects: [openai-chat]
    base_url: CN/some/prefix/v1
    auth: {scheme: bearer, secrets: [{id: a, value: "a-literal"}]}
    processing: [CN]
    storage: [CN]
    exits: [cn-east]
models:
  - id: m
    targets: [{provider: far, model: fake, tier: 0}, {provider: near, model: fake, tier: 1}]
orgs: [{id: acme}]
tenants: [{id: acme, org: acme, home: CN, class: internal}]
keys: [{id: app, tenant: acme, secret: "short"}]
policy:
  rules:
    - {id: cn-stay, when: {home: [CN], class: [confidential, restricted]}, allow: [CN]}
`

// TestDevWithFile: the file is the whole state, its providers are at any URL, and what may not leave
// China is answered there although the better target is abroad.
func TestDevWithFile(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary and starts it")
	}
	far, near := fake.New(fake.Options{Country: "US"}), fake.New(fake.Options{Country: "CN"})
	farURL := httptest.NewServer(far)
	nearURL := httptest.NewServer(http.StripPrefix("/some/prefix", near))
	t.Cleanup(farURL.Close)
	t.Cleanup(nearURL.Close)
	d := newDeployment(t)
	file, data := filepath.Join(d.dir, "mesh.yaml"), filepath.Join(d.dir, "data")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("US/v1", farURL.URL+"/v1", "CN/some", nearURL.URL+"/some").Replace(devMesh)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := d.start("dev", "dev", "-f", file, "--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	var ready struct {
		APIKey string `json:"api_key"`
		Edges  []struct {
			Region string `json:"region"`
			URL    string `json:"url"`
		} `json:"edges"`
		Models []string `json:"models"`
	}
	d.within(15*time.Second, "ready.json", func() string {
		if p.ended() {
			t.Fatalf("dev ended:\n%s", p.said())
		}
		b, err := os.ReadFile(filepath.Join(data, "ready.json"))
		if err != nil {
			return err.Error()
		}
		if err := json.Unmarshal(b, &ready); err != nil {
			t.Fatal(err)
		}
		return ""
	})
	if ready.APIKey != "short" || len(ready.Models) != 1 || len(ready.Edges) != 3 || ready.Edges[0].Region != "cn-east" {
		t.Fatalf("ready.json: %+v", ready)
	}
	p.url = ready.Edges[0].URL
	for _, c := range []struct {
		class, route string
		answered     *fake.Server
	}{
		{"internal", "edge=cn-east;exit=us-west;provider=far;model=fake", far},
		{"confidential", "edge=cn-east;exit=cn-east;provider=near;model=fake", near},
		{"restricted", "edge=cn-east;exit=cn-east;provider=near;model=fake", near},
	} {
		before := c.answered.Requests()
		a := d.ask(t.Context(), p, ready.APIKey, true, 5, "X-Causeway-Class", c.class)
		if !a.done || a.route != c.route || c.answered.Requests() != before+1 {
			t.Errorf("%s: %s, want %s", c.class, a, c.route)
		}
	}
	d.terminate(p)
	if _, err := os.Stat(filepath.Join(data, "ready.json")); err == nil {
		t.Error("ready.json outlives the mesh")
	}
}
