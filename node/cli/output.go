package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// formats are the values of -o.
func formats() []string { return []string{"table", "json", "yaml", "name"} }

// outputFlag adds -o to a command and those below it.
func (a *app) outputFlag(c *cobra.Command) {
	c.PersistentFlags().StringVarP(&a.global.output, "output", "o", "table", "output format: "+strings.Join(formats(), ", "))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats(), cobra.ShellCompDirectiveNoFileComp))
}

func (a *app) format(c *cobra.Command) (string, error) {
	if !slices.Contains(formats(), a.global.output) {
		return "", misuse(c, "-o %s is not one of %s", a.global.output, strings.Join(formats(), ", "))
	}
	return a.global.output, nil
}

// table is what people read.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write aligns columns by the width of their text; an empty cell shows as "-".
func (t *table) write(w io.Writer, p painter) error {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 1)
		}
	}
	var b strings.Builder
	line := func(row []string, style func(string) string) {
		var l strings.Builder
		for i, cell := range row {
			if cell == "" {
				cell = "-"
			}
			l.WriteString(cell)
			if i < len(row)-1 {
				l.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteString(style(strings.TrimRight(l.String(), " ")) + "\n")
	}
	line(t.head, p.bold)
	for _, row := range t.rows {
		line(row, func(s string) string { return s })
	}
	return put(w, b.String())
}

// put writes text to a stream whose reader may be gone.
func put(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// note writes progress for people.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintf(a.Err, format+"\n", args...) // what cannot be shown is not worth failing for
}

// answer is a result in every format: raw JSON, the ids, and a table.
type answer struct {
	raw   []byte
	names []string
	table func() table
}

// show prints an answer in the format that was asked for.
func (a *app) show(c *cobra.Command, out answer) error {
	format, err := a.format(c)
	if err != nil {
		return err
	}
	switch format {
	case "json":
		b, err := pretty(out.raw)
		if err != nil {
			return err
		}
		return put(a.Out, b)
	case "yaml":
		b, err := asYAML(out.raw)
		if err != nil {
			return err
		}
		return put(a.Out, b)
	case "name":
		for _, n := range out.names {
			if err := put(a.Out, n+"\n"); err != nil {
				return err
			}
		}
		return nil
	}
	t := out.table()
	return t.write(a.Out, paint(a.Out))
}

func pretty(raw []byte) (string, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return "", fmt.Errorf("format JSON: %w", err)
	}
	b.WriteByte('\n')
	return b.String(), nil
}

// asYAML rewrites JSON as block YAML with its order kept: JSON is YAML, so it is parsed as such.
func asYAML(raw []byte) (string, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(raw, &n); err != nil {
		return "", fmt.Errorf("format YAML: %w", err)
	}
	plain(&n)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&n); err != nil {
		return "", fmt.Errorf("format YAML: %w", err)
	}
	return b.String(), nil
}

func plain(n *yaml.Node) {
	n.Style = 0
	if len(n.Content) == 0 && (n.Kind == yaml.SequenceNode || n.Kind == yaml.MappingNode) {
		n.Style = yaml.FlowStyle // [] and {}
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// The cells of tables.

func join(list []string) string { return strings.Join(list, ",") }

func figure(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func millis(ms float64) string { return strconv.FormatFloat(ms, 'f', 1, 64) + " ms" }

// when shows unix seconds as the time until or since then.
func when(unix int64, now time.Time) string {
	if unix == 0 {
		return ""
	}
	d := time.Unix(unix, 0).Sub(now)
	if d < 0 {
		return span(-d) + " ago"
	}
	return "in " + span(d)
}

// span rounds a duration to what matters.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	case d >= 2*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d >= 2*time.Minute:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return strconv.Itoa(int(d/time.Second)) + "s"
}
