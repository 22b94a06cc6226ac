package simtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/relay/fake"
)

// A coordinator explains a route as the edge itself does, but for what only probes can tell: it says so.
func TestACoordinatorExplainsRoutes(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		near, far := m.AddProvider("near", cn, fake.Options{}), m.AddProvider("far", us, fake.Options{})
		asked := m.AddEdge(cn)
		m.AddExit(cn)
		m.AddExit(us)
		doc := document([]string{model}, near, far)
		doc.Policy = &state.Policy{Default: "allow", Rules: []state.Rule{{ID: "cn-stay", When: state.When{Class: []string{"restricted"}}, Allow: []string{"CN"}}}}
		m.Apply(doc)
		m.Settle()
		explain := func(query ...string) (edge.Explanation, error) {
			q := map[string][]string{"model": {model}}
			for i := 0; i < len(query); i += 2 {
				q[query[i]] = []string{query[i+1]}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var e edge.Explanation
			a, err := m.admin.Do(ctx, api.Call{Method: "GET", Path: "/v1/routes:explain", Query: q})
			if err == nil {
				err = api.Decode(a, &e)
			}
			return e, err
		}
		for _, class := range []string{"", "restricted"} {
			got, err := explain("class", class, "edge", asked.ID)
			if err != nil {
				t.Fatal(err)
			}
			want, err := asked.node.Edge().Explain(edge.Question{Model: model, Class: class})
			if err != nil {
				t.Fatal(err)
			}
			ways := func(rs []edge.RouteAnswer) (out []string) {
				for _, r := range rs {
					out = append(out, r.Exit+"/"+r.Provider)
				}
				return out
			}
			if !slices.Equal(ways(got.Routes), ways(want.Routes)) || !slices.Equal(ways(got.Refused), ways(want.Refused)) ||
				got.Allowed != want.Allowed || got.Answer != want.Answer || got.AtHome != want.AtHome || got.Edge != want.Edge {
				t.Errorf("class %q: the coordinator says\n%+v\nthe edge\n%+v", class, got, want)
			}
			if len(got.Routes) == 0 || got.Routes[0].Measured || !want.Routes[0].Measured {
				t.Errorf("measured: coordinator %v, edge %v", got.Routes, want.Routes)
			}
			if !strings.Contains(got.Note, "by a coordinator") || want.Note != "" {
				t.Errorf("notes: coordinator %q, edge %q", got.Note, want.Note)
			}
		}
		for _, c := range []struct{ name, value, code string }{
			{"edge", "nowhere", "not_found"}, {"tenant", "stranger", "not_found"}, {"class", "secret-ish", "malformed_request"}, {"model", "none", "model_not_found"},
		} {
			_, err := explain(c.name, c.value)
			var p *api.Problem
			if !errors.As(err, &p) || p.Code != c.code || p.Detail == "" {
				t.Errorf("%s=%s: %v, want %s", c.name, c.value, err, c.code)
			}
		}
	})
}
