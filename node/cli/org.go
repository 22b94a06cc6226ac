package cli

import (
	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/state"
)

func (a *app) org() *cobra.Command {
	n := &noun[state.Org]{
		one: "org", many: "orgs", short: "Organisations: groups of tenants",
		head:  []string{"ID"},
		row:   func(o state.Org) []string { return []string{o.ID} },
		id:    func(v state.Org) string { return v.ID },
		setID: func(v *state.Org, id string) { v.ID = or(v.ID, id) },
	}
	return n.command(a)
}
