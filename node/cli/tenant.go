package cli

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/state"
)

func (a *app) tenant() *cobra.Command {
	n := &noun[state.Tenant]{
		one: "tenant", many: "tenants", short: "Whose data it is: home, owner, class",
		example: "  causeway tenant create acme --home EU --ownership DE --class internal",
		head:    []string{"ID", "ORG", "HOME", "OWNERSHIP", "CLASS", "LABELS"},
		row: func(t state.Tenant) []string {
			var labels []string
			for _, k := range slices.Sorted(maps.Keys(t.Labels)) {
				labels = append(labels, k+"="+t.Labels[k])
			}
			return []string{t.ID, t.Org, t.Home, t.Ownership, t.Class, join(labels)}
		},
		id:    func(v state.Tenant) string { return v.ID },
		setID: func(v *state.Tenant, id string) { v.ID = or(v.ID, id) },
		fields: []field[state.Tenant]{
			text("org", "organisation", func(t *state.Tenant) *string { return &t.Org }),
			text("home", "country or jurisdiction whose law it is under: DE, EU, CN", func(t *state.Tenant) *string { return &t.Home }),
			text("ownership", "country of the majority owner", func(t *state.Tenant) *string { return &t.Ownership }),
			text("class", "public, internal, confidential or restricted", func(t *state.Tenant) *string { return &t.Class }),
			words("cors", "allowed browser origins", func(t *state.Tenant) *[]string { return &t.CORS }),
			{name: "label", usage: "labels: team=search,env=prod", set: func(t *state.Tenant, s []string) error {
				t.Labels = map[string]string{}
				for _, x := range s {
					if x == "" {
						continue
					}
					if err := pairs(x, func(k, v string) error { t.Labels[k] = v; return nil }); err != nil {
						return err
					}
				}
				return nil
			}},
		},
	}
	return n.command(a)
}
