package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/state"
)

func (a *app) limit() *cobra.Command {
	n := &noun[state.Limit]{
		one: "limit", many: "limits", short: "Requests, tokens and concurrency per tenant, key and model",
		example: `  causeway limit create acme --rpm 600 --tpm 200000        # the tenant as a whole
  causeway limit create acme/acme-app/gpt-4o --rpm 60     # one key and model; * stands for all`,
		head: []string{"ID", "RPM", "TPM", "CONCURRENCY", "CUT-OFF"},
		row: func(l state.Limit) []string {
			return []string{l.LimitID(), figure(l.RPM), figure(l.TPM), figure(l.Concurrency), l.CutOff}
		},
		id:     state.Limit.LimitID,
		fullID: limitID,
		setID: func(l *state.Limit, id string) {
			part := strings.SplitN(id, "/", 3)
			l.Tenant, l.Key, l.Model = or(l.Tenant, part[0]), or(l.Key, part[1]), or(l.Model, part[2])
		},
		fields: []field[state.Limit]{
			number("rpm", "requests per minute", func(l *state.Limit) *int64 { return &l.RPM }),
			number("tpm", "tokens per minute", func(l *state.Limit) *int64 { return &l.TPM }),
			number("concurrency", "requests at a time", func(l *state.Limit) *int64 { return &l.Concurrency }),
			text("cut-off", "without coordinators: closed, floor or reuse:24h", func(l *state.Limit) *string { return &l.CutOff }),
		},
	}
	return n.command(a)
}

// limitID completes TENANT[/KEY[/MODEL]].
func limitID(s string) string {
	part := strings.SplitN(s, "/", 3)
	for len(part) < 3 {
		part = append(part, "*")
	}
	return state.LimitID(part[0], part[1], part[2])
}
