package dev

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/coordinator"
	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/node"
)

// readyFile is DATA/ready.json (DESIGN.md 4.1): what a program needs to use the mesh.
type readyFile struct {
	Admin      string      `json:"admin"`
	AdminToken string      `json:"admin_token"`
	Console    string      `json:"console"`
	APIKey     string      `json:"api_key"`
	Tokens     readyTokens `json:"tokens"`
	Edges      []readyEdge `json:"edges"`
	Exits      []readyExit `json:"exits"`
	Models     []string    `json:"models"`
}

type readyTokens struct {
	Officer1 string `json:"officer1"`
	Officer2 string `json:"officer2"`
	Auditor  string `json:"auditor"`
	Operator string `json:"operator"`
}

type readyEdge struct {
	Region string `json:"region"`
	Node   string `json:"node"`
	URL    string `json:"url"`
}

type readyExit struct {
	Region string `json:"region"`
	Node   string `json:"node"`
}

// makeTokens makes the admin tokens of this run.
func (r *readyFile) makeTokens() []coordinator.Token {
	r.Tokens = readyTokens{Officer1: "cwt_" + rand.Text(), Officer2: "cwt_" + rand.Text(), Auditor: "cwt_" + rand.Text(), Operator: "cwt_" + rand.Text()}
	return []coordinator.Token{
		{Name: "officer1", Role: api.RoleOfficer, Secret: r.Tokens.Officer1},
		{Name: "officer2", Role: api.RoleOfficer, Secret: r.Tokens.Officer2},
		{Name: "auditor", Role: api.RoleAuditor, Secret: r.Tokens.Auditor},
		{Name: "operator", Role: api.RoleOperator, Secret: r.Tokens.Operator},
	}
}

// keptSecret is the built-in tenant's API key: made once, so that a restart does not break the
// client that was set up with it.
func keptSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(b))) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read API key: %w", err)
	}
	secret := "cw_dev_" + rand.Text() + rand.Text()
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep API key: %w", err)
	}
	return secret, nil
}

// apply makes doc the whole state, as one change.
func (m *mesh) apply(ctx context.Context, doc state.Document) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	_, err = m.client.Do(ctx, api.Call{
		Method: http.MethodPost, Path: "/v1/apply", Body: body, Query: url.Values{"prune": {"1"}, "yes": {"1"}},
	})
	if err != nil {
		return fmt.Errorf("apply the mesh's state: %w", err)
	}
	return nil
}

// announce tells programs (ready.json) and people (a short block) that the mesh is there.
func (m *mesh) announce(doc state.Document, path string) error {
	r := &m.ready
	r.Admin, r.AdminToken = m.coord.APIURL(), m.coord.AdminToken()
	r.Console = r.Admin + "/ui/"
	r.Edges, r.Exits, r.Models = []readyEdge{}, []readyExit{}, []string{}
	for _, x := range m.members {
		id := string(x.node.Self().Node)
		if x.role == identity.RoleEdge {
			r.Edges = append(r.Edges, readyEdge{x.region, id, x.url})
		} else {
			r.Exits = append(r.Exits, readyExit{x.region, id})
		}
	}
	for _, d := range doc.Models {
		r.Models = append(r.Models, d.ID)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".ready-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write ready.json: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write ready.json: %w", err), os.Remove(f.Name()))
	}
	return m.print(path)
}

func (m *mesh) print(path string) error {
	r := &m.ready
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe mesh is ready: %d edges, %d exits, one coordinator, all on this machine.\n\n", len(r.Edges), len(r.Exits))
	for _, e := range r.Edges {
		fmt.Fprintf(&b, "  edge %-12s %s\n", e.Region, e.URL)
	}
	fmt.Fprintf(&b, "  admin API         %s\n", r.Admin)
	key := r.APIKey
	if m.opt.File != "" && key != "" {
		key = "(the first key of " + m.opt.File + ")"
	}
	fmt.Fprintf(&b, "  API key           %s\n", key)
	fmt.Fprintf(&b, "  all of it         %s\n", path)
	if len(r.Models) > 0 && len(r.Edges) > 0 && m.opt.File == "" {
		fmt.Fprintf(&b, "\nTry:\n  curl -N %s/v1/chat/completions -H 'Authorization: Bearer %s' \\\n    -H 'Content-Type: application/json' \\\n    -d '{\"model\":%q,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}'\n",
			r.Edges[0].URL, r.APIKey, r.Models[0])
	}
	b.WriteString("\nCtrl-C stops it.\n")
	_, err := m.opt.Out.Write([]byte(b.String()))
	return err
}

// endpoint serves what belongs to the nodes of this process on the admin listener.
func (m *mesh) endpoint(path string) http.Handler {
	switch path {
	case "/metrics":
		return m.metrics.Handler()
	case "/readyz":
		return http.HandlerFunc(m.readyz)
	case "/healthz":
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	case "/v1/mesh":
		return m.edgeHandler(func(n *node.Node) http.HandlerFunc { return n.ServeMap })
	case "/v1/routes:explain":
		return m.edgeHandler(func(n *node.Node) http.HandlerFunc { return n.ServeExplain })
	}
	return nil
}

// edgeHandler asks the edge of ?edge=REGION, or the first one.
func (m *mesh) edgeHandler(pick func(*node.Node) http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		region := r.URL.Query().Get("edge")
		for _, x := range m.members {
			if x.role == identity.RoleEdge && (region == "" || x.region == region || string(x.node.Self().Node) == region) {
				pick(x.node)(w, r)
				return
			}
		}
		node.Problem(w, http.StatusNotFound, "not_found", "no edge in region "+region)
	})
}

func (m *mesh) readyz(w http.ResponseWriter, r *http.Request) {
	checks := []node.Check{}
	why := m.coord.API().Ready()
	checks = append(checks, node.Check{Name: "coordinator", OK: len(why) == 0, Note: strings.Join(why, "; ")})
	for _, x := range m.members {
		for _, c := range x.node.Checks(time.Now()) {
			c.Name = string(x.node.Self().Node) + ": " + c.Name
			checks = append(checks, c)
		}
	}
	node.Readyz(w, r, checks)
}
