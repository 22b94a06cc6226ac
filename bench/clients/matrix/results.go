package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// results is results.json: a row a client and scenario, with one cell a dialect.
type results struct {
	Date     string            `json:"date"`
	Runtimes map[string]string `json:"runtimes"`
	Dialects []string          `json:"dialects"`
	Clients  []client          `json:"clients"`
	Agents   *agents           `json:"agents,omitempty"`
	Rows     []row             `json:"rows"`
}

type client struct {
	Name     string `json:"name"`
	Language string `json:"language"`
	Package  string `json:"package"`
	Version  string `json:"version"`
	Lock     string `json:"lock"` // the file that pins the version
}

type row struct {
	Client   string   `json:"client"` // "LANGUAGE NAME"
	Scenario string   `json:"scenario"`
	Cells    []string `json:"cells"` // pass, n/a: WHY, fail: WHY
}

func (c client) id() string { return c.Language + " " + c.Name }

// add takes over what one suite found.
func (r *results) add(s suite, cells []cell) error {
	if r.Date == "" {
		r.Date, r.Runtimes = time.Now().UTC().Format(time.DateOnly), map[string]string{}
		for _, d := range dialects {
			r.Dialects = append(r.Dialects, d.id)
		}
	}
	var err error
	if r.Runtimes[s.language], err = runtimeVersion(s.tools[0]); err != nil {
		return err
	}
	lock, err := os.ReadFile(filepath.Join(s.dir, s.lock))
	if err != nil {
		return err
	}
	versions, err := s.versions(lock)
	if err != nil {
		return err
	}
	for _, c := range cells {
		who := client{c.Client, s.language, c.Package, versions[c.Package], filepath.Join(s.dir, s.lock)}
		if who.Version == "" {
			return fmt.Errorf("%s does not pin %s", who.Lock, c.Package)
		}
		if !slices.Contains(r.Clients, who) {
			r.Clients = append(r.Clients, who)
		}
		at := slices.Index(r.Dialects, c.Provider)
		if at < 0 {
			return fmt.Errorf("%s reports on an unknown provider %q", c.Client, c.Provider)
		}
		i := slices.IndexFunc(r.Rows, func(x row) bool { return x.Client == who.id() && x.Scenario == c.Scenario })
		if i < 0 {
			i = len(r.Rows)
			r.Rows = append(r.Rows, row{who.id(), c.Scenario, make([]string, len(r.Dialects))})
		}
		r.Rows[i].Cells[at] = c.Status
		if c.Reason != "" {
			r.Rows[i].Cells[at] += ": " + tidy(c.Reason)
		}
	}
	return r.complete()
}

// What refusals say is the same in every run but for names, ports and ids.
var (
	refusedField     = regexp.MustCompile(`cannot be converted from \S+ to \S+ \([^ )]+ no_equivalent\)`)
	refusedOperation = regexp.MustCompile(`to which \w+ of \S+ is not converted`)
	refusedState     = regexp.MustCompile(`refers to an item that only the provider has stored`)
	address          = regexp.MustCompile(`https?://\S+`)
)

// tidy makes a reason short and the same in every run.
func tidy(reason string) string {
	switch {
	case refusedField.MatchString(reason):
		return "refused, there is no equivalent"
	case refusedOperation.MatchString(reason):
		return "refused, not converted"
	case refusedState.MatchString(reason):
		return "refused, the client refers to what it takes to be stored at OpenAI (its option store: false sends it)"
	}
	short := []rune(address.ReplaceAllString(reason, "URL"))
	return string(short[:min(len(short), 200)])
}

// complete refuses a client that did not report on every scenario and provider.
func (r *results) complete() error {
	names, err := scenarioNames()
	if err != nil {
		return err
	}
	for _, c := range r.Clients {
		for _, name := range names {
			i := slices.IndexFunc(r.Rows, func(x row) bool { return x.Client == c.id() && x.Scenario == name })
			if i < 0 || slices.Contains(r.Rows[i].Cells, "") {
				return fmt.Errorf("%s says nothing of %s", c.id(), name)
			}
		}
	}
	slices.SortStableFunc(r.Rows, func(a, b row) int {
		if c := cmp.Compare(r.place(a.Client), r.place(b.Client)); c != 0 {
			return c
		}
		return cmp.Compare(slices.Index(names, a.Scenario), slices.Index(names, b.Scenario))
	})
	return nil
}

func (r *results) place(id string) int {
	return slices.IndexFunc(r.Clients, func(c client) bool { return c.id() == id })
}

func scenarioNames() ([]string, error) {
	b, err := os.ReadFile("scenarios.json")
	if err != nil {
		return nil, err
	}
	var f struct {
		Scenarios []struct {
			Name string `json:"name"`
		} `json:"scenarios"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("scenarios.json: %w", err)
	}
	var out []string
	for _, s := range f.Scenarios {
		out = append(out, s.Name)
	}
	return out, nil
}

func runtimeVersion(tool string) (string, error) {
	arg := "--version"
	if tool == "go" {
		arg = "version"
	}
	out, err := exec.Command(tool, arg).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", tool, arg, err)
	}
	for f := range strings.FieldsSeq(string(out)) {
		if v := strings.TrimLeft(f, "gov"); v != "" && v[0] >= '0' && v[0] <= '9' {
			return v, nil
		}
	}
	return "", fmt.Errorf("%s %s says %q", tool, arg, out)
}

// status is a cell without its reason.
func status(cell string) string {
	s, _, _ := strings.Cut(cell, ": ")
	return s
}

// bad lists the failing cells for a person to read.
func (r *results) bad() (out []string) {
	for _, x := range r.Rows {
		for i, c := range x.Cells {
			if status(c) == "fail" {
				out = append(out, fmt.Sprintf("%s, %s, %s: %s", x.Client, x.Scenario, r.Dialects[i], c))
			}
		}
	}
	return out
}

// summary is the plain closing line.
func (r *results) summary() string {
	n := map[string]int{}
	for _, x := range r.Rows {
		for _, c := range x.Cells {
			n[status(c)]++
		}
	}
	return fmt.Sprintf("%d passed, %d failed, %d skipped", n["pass"], n["fail"], n["n/a"])
}

// compare refuses what works less well than results.json says.
func (r *results) compare(committed *results) error {
	rank := map[string]int{"pass": 2, "n/a": 1}
	var worse []error
	for _, x := range r.Rows {
		i := slices.IndexFunc(committed.Rows, func(y row) bool { return x.Client == y.Client && x.Scenario == y.Scenario })
		for j, c := range x.Cells {
			was := "n/a" // a client or scenario that is new
			if i >= 0 {
				was = committed.Rows[i].Cells[j]
			}
			if rank[status(c)] < rank[status(was)] {
				worse = append(worse, fmt.Errorf("%s, %s, %s: was %s, is %s", x.Client, x.Scenario, r.Dialects[j], was, c))
			}
		}
	}
	return errors.Join(worse...)
}

func load(path string) (*results, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r results
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &r, nil
}

// save writes results.json, a line a row so that a diff can be read, and the README's table.
func (r *results) save() error {
	if r.Rows == nil {
		return errors.New("no suite ran")
	}
	if r.Agents == nil { // they ran another time
		if was, err := load("results.json"); err == nil {
			r.Agents = was.Agents
		}
	}
	head := *r
	head.Rows = nil
	b, err := json.MarshalIndent(head, "", " ")
	if err != nil {
		return err
	}
	var out bytes.Buffer
	out.Write(bytes.TrimSuffix(b, []byte("null\n}")))
	out.WriteString("[\n")
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for i, x := range r.Rows {
		out.WriteString("  ")
		if err := enc.Encode(x); err != nil {
			return err
		}
		if i < len(r.Rows)-1 {
			out.Truncate(out.Len() - 1)
			out.WriteString(",\n")
		}
	}
	out.WriteString(" ]\n}\n")
	if err := os.WriteFile("results.json", out.Bytes(), 0o600); err != nil {
		return err
	}
	return r.intoReadme()
}
