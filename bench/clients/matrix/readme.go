package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

const (
	readme = "../../README.md"
	begin  = "<!-- written by make clients -->\n"
	end    = "<!-- end -->\n"
)

// table renders the README's part: how many scenarios work, and why the others do not.
func (r *results) table() string {
	var b strings.Builder
	b.WriteString("| client | version |")
	for _, d := range r.Dialects {
		b.WriteString(" " + d + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(r.Dialects)) + "\n")
	for _, c := range r.Clients {
		fmt.Fprintf(&b, "| %s: %s | %s |", c.Language, c.Name, c.Version)
		for i := range r.Dialects {
			pass, apply := r.count(c.id(), i)
			fmt.Fprintf(&b, " %d of %d |", pass, apply)
		}
		b.WriteString("\n")
	}
	if r.Agents != nil {
		b.WriteString(r.agentTable())
	}
	for _, kind := range [...]struct{ status, title string }{{"fail", "Fails"}, {"n/a", "Does not apply"}} {
		if notes := r.notes(kind.status); len(notes) > 0 {
			fmt.Fprintf(&b, "\n%s:\n%s", kind.title, strings.Join(notes, ""))
		}
	}
	return b.String()
}

// agentTable renders the command-line clients: each cell says what of a prompt and a file edit works.
func (r *results) agentTable() string {
	var b strings.Builder
	for _, c := range r.Agents.Clients {
		fmt.Fprintf(&b, "| %s | %s |", c.Name, c.Version)
		for i := range r.Dialects {
			var cell []string
			for _, x := range r.Agents.Rows {
				if x.Client != c.id() {
					continue
				}
				if s := status(x.Cells[i]); s == "pass" {
					cell = append(cell, x.Scenario)
				} else {
					cell = append(cell, x.Scenario+" "+s)
				}
			}
			b.WriteString(" " + strings.Join(cell, ", ") + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// count says how many scenarios of a client pass with a provider, of how many that apply.
func (r *results) count(id string, dialect int) (pass, apply int) {
	for _, x := range r.Rows {
		if x.Client != id {
			continue
		}
		switch status(x.Cells[dialect]) {
		case "pass":
			pass++
			apply++
		case "fail":
			apply++
		}
	}
	return pass, apply
}

// note is a reason with all that it is true of.
type note struct {
	reason, where      string
	scenarios, clients []string
}

// notes gives a line a reason: first for each client and scenario, then joined where all else is equal.
func (r *results) notes(kind string) (lines []string) {
	rows := r.Rows
	if r.Agents != nil {
		rows = slices.Concat(rows, r.Agents.Rows)
	}
	var notes []note
	for _, x := range rows {
		where := map[string][]string{} // reason -> providers
		var reasons []string
		for i, c := range x.Cells {
			if s, why, _ := strings.Cut(c, ": "); s == kind {
				if where[why] == nil {
					reasons = append(reasons, why)
				}
				where[why] = append(where[why], r.Dialects[i])
			}
		}
		for _, why := range reasons {
			n := note{why, " behind " + strings.Join(where[why], ", "), []string{x.Scenario}, []string{x.Client}}
			if len(where[why]) == len(r.Dialects) {
				n.where = ""
			}
			notes = append(notes, n)
		}
	}
	notes = join(notes, func(a, b note) bool { return slices.Equal(a.scenarios, b.scenarios) })
	notes = join(notes, func(a, b note) bool { return slices.Equal(a.clients, b.clients) })
	slices.SortStableFunc(notes, func(a, b note) int { return slices.Compare(a.scenarios, b.scenarios) })
	for _, n := range notes {
		lines = append(lines, fmt.Sprintf("- %s%s: %s (%s)\n", strings.Join(n.scenarios, ", "), n.where, n.reason, strings.Join(n.clients, "; ")))
	}
	return lines
}

// join makes one of notes with one reason and place that agree otherwise too.
func join(notes []note, agree func(a, b note) bool) (out []note) {
	for _, n := range notes {
		i := slices.IndexFunc(out, func(o note) bool { return o.reason == n.reason && o.where == n.where && agree(o, n) })
		if i < 0 {
			out = append(out, n)
			continue
		}
		out[i].scenarios = union(out[i].scenarios, n.scenarios)
		out[i].clients = union(out[i].clients, n.clients)
	}
	return out
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(slices.Clone(a), s)
		}
	}
	return a
}

// split cuts the README around the generated part.
func split(text string) (before, generated, after string, err error) {
	before, rest, ok := strings.Cut(text, begin)
	generated, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", "", "", fmt.Errorf("%s lacks the lines %q and %q", readme, begin, end)
	}
	return before, generated, after, nil
}

func (r *results) intoReadme() error {
	b, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	before, _, after, err := split(string(b))
	if err != nil {
		return err
	}
	return os.WriteFile(readme, []byte(before+begin+r.table()+end+after), 0o600)
}
