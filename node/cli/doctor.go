package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// verdict of one check.
const (
	checkOK   = "ok"
	checkWarn = "warn" // works, will not for long or not well
	checkFail = "fail"
	checkSkip = "skip" // could not be looked at, and why
)

// finding is what one check saw.
type finding struct {
	Part   string `json:"part"` // machine, node, coordinator, provider
	Check  string `json:"check"`
	Result string `json:"result"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// doctor is one examination.
type doctor struct {
	a         *app
	node      nodeFlags
	cmd       *cobra.Command
	providers bool
	found     []finding
}

func (d *doctor) say(part, check, result, fix, format string, args ...any) {
	if result == checkOK {
		fix = ""
	}
	d.found = append(d.found, finding{part, check, result, fmt.Sprintf(format, args...), fix})
}

func (a *app) doctor() *cobra.Command {
	d := &doctor{a: a}
	c := &cobra.Command{
		Use: "doctor", Short: "Look for what stands, or soon will stand, in the way", Args: cobra.NoArgs,
		Long: `Doctor checks this machine, the node that is configured here (--config or --data), and the coordinators.
It changes nothing and calls no provider; --providers connects to each provider's host, without a key.
It ends with 6 when a check fails; warnings do not count.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := a.format(c); err != nil {
				return err
			}
			d.cmd = c
			d.machine()
			d.thisNode(c.Context())
			d.coordinators(c.Context())
			return a.showFindings(c, d.found)
		},
	}
	a.clientFlags(c)
	f := c.Flags()
	f.StringVar(&d.node.file, "config", "", "node.yaml of the node to check")
	f.StringVar(&d.node.node.Data, "data", "", "data directory of the node to check")
	f.BoolVar(&d.providers, "providers", false, "also connect to the hosts of all providers, from here")
	return c
}

func (a *app) showFindings(c *cobra.Command, found []finding) error {
	raw, err := json.Marshal(found)
	if err != nil {
		return fmt.Errorf("encode findings: %w", err)
	}
	out := answer{raw: raw}
	bad := 0
	for _, f := range found {
		if f.Result == checkFail {
			bad++
			out.names = append(out.names, f.Part+"/"+f.Check)
		}
	}
	if a.global.output == "table" {
		if err := put(a.Out, findingsText(found, paint(a.Out))); err != nil {
			return err
		}
	} else if err := a.show(c, out); err != nil {
		return err
	}
	if bad > 0 {
		return &failure{code: exitCheck, what: fmt.Sprintf("%d of %d checks failed", bad, len(found)), next: "do what stands under each failed check, then run causeway doctor again"}
	}
	return nil
}

func findingsText(found []finding, p painter) string {
	var b strings.Builder
	width := 0
	for _, f := range found {
		width = max(width, len(f.Check))
	}
	part := ""
	for _, f := range found {
		if f.Part != part {
			part = f.Part
			b.WriteString(p.bold(part) + "\n")
		}
		mark := map[string]func(string) string{checkOK: p.good, checkWarn: p.warn, checkFail: p.bad, checkSkip: p.dim}[f.Result]
		fmt.Fprintf(&b, "  %s %-*s  %s\n", mark(fmt.Sprintf("%-4s", f.Result)), width, f.Check, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(&b, "       %*s  fix: %s\n", width, "", f.Fix)
		}
	}
	return b.String()
}

// reached is a result that a deadline or a cancellation can spoil.
func reached(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return "interrupted"
	}
	text := last(err).Error()
	if i := strings.LastIndex(text, ": dial "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// worst is the gravest of some results.
func worst(results ...string) string {
	order := []string{checkSkip, checkOK, checkWarn, checkFail}
	out := checkSkip
	for _, r := range results {
		if slices.Index(order, r) > slices.Index(order, out) {
			out = r
		}
	}
	return out
}
