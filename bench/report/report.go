// Package report turns samples into figures and figures into a table: percentiles, medians over
// rounds, ratios against a floor.
package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Percentile is the value at q (0..1) of a sample, by the nearest rank; 0 for none. It sorts d.
func Percentile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(max(int(math.Ceil(q*float64(len(d))))-1, 0), len(d)-1)]
}

// Spread is a median and the median absolute deviation from it.
type Spread struct{ Median, MAD float64 }

// Over summarises one figure per round. It is NaN for none.
func Over(rounds []float64) Spread {
	m := median(rounds)
	dev := make([]float64, len(rounds))
	for i, v := range rounds {
		dev[i] = math.Abs(v - m)
	}
	return Spread{m, median(dev)}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// Figure is one measured value. NaN means that it was not measured.
type Figure struct {
	Value float64
	MAD   float64 // over rounds; 0 = measured once
}

// None is a figure that was not measured.
func None() Figure { return Figure{Value: math.NaN()} }

// Ok reports whether the figure was measured.
func (f Figure) Ok() bool { return !math.IsNaN(f.Value) }

// Row is one target's figures, in the order of Table.Columns.
type Row struct {
	Name    string
	Floor   string // row to compare with, "" = none
	Figures []Figure
	Note    string
}

// Column is one measure.
type Column struct {
	Name string // with its unit
	// Bar is the highest allowed ratio to the floor, by floor name. A measure without one is shown only.
	Bar []Bar
}

// Bar is a limit for targets that compare with one floor.
type Bar struct {
	Floor string
	Ratio float64
}

// Table is what a run found.
type Table struct {
	Title   string
	Columns []Column
	Rows    []Row
	Bounds  []Bound
}

// Bound is a measure with a limit of its own.
type Bound struct {
	Target, Measure string
	Value, Max      float64
}

// Over reports whether the limit is exceeded.
func (b Bound) Over() bool { return b.Value > b.Max }

// Over lists what exceeds its bar or limit.
func (t *Table) Over() []string {
	var out []string
	for _, r := range t.Ratios() {
		if r.Over() {
			out = append(out, fmt.Sprintf("%s, %s: %.2fx of %s, bar %.2f", r.Target, r.Measure, r.Ratio, r.Floor, r.Bar))
		}
	}
	for _, b := range t.Bounds {
		if b.Over() {
			out = append(out, fmt.Sprintf("%s, %s: %s, limit %s", b.Target, b.Measure, number(Figure{Value: b.Value}), number(Figure{Value: b.Max})))
		}
	}
	return out
}

// Ratio compares a target with its floor in one measure.
type Ratio struct {
	Target, Floor, Measure string
	Ratio                  float64
	Bar                    float64 // 0 = none
}

// Over reports whether the ratio exceeds its bar.
func (r Ratio) Over() bool { return r.Bar > 0 && r.Ratio > r.Bar }

// Ratios compares every row that names a floor with it. Figures that are missing, or a floor that is
// zero or below (noise larger than the cost), give none.
func (t *Table) Ratios() []Ratio {
	var out []Ratio
	for _, row := range t.Rows {
		at := slices.IndexFunc(t.Rows, func(r Row) bool { return r.Name == row.Floor })
		if row.Floor == "" || at < 0 {
			continue
		}
		for i, c := range t.Columns {
			a, b := row.Figures[i], t.Rows[at].Figures[i]
			if !a.Ok() || !b.Ok() || b.Value <= 0 {
				continue
			}
			r := Ratio{Target: row.Name, Floor: row.Floor, Measure: c.Name, Ratio: a.Value / b.Value}
			for _, bar := range c.Bar {
				if bar.Floor == row.Floor {
					r.Bar = bar.Ratio
				}
			}
			out = append(out, r)
		}
	}
	return out
}

// Write prints the table and, below it, the ratios with their bars.
func (t *Table) Write(w io.Writer) error {
	cells := [][]string{{"target"}}
	for _, c := range t.Columns {
		cells[0] = append(cells[0], c.Name)
	}
	for _, r := range t.Rows {
		line := []string{r.Name}
		for _, f := range r.Figures {
			line = append(line, number(f))
		}
		cells = append(cells, line)
	}
	if err := grid(w, t.Title, cells); err != nil {
		return err
	}
	for _, r := range t.Rows {
		if r.Note != "" {
			if _, err := fmt.Fprintf(w, "%s: %s\n", r.Name, r.Note); err != nil {
				return err
			}
		}
	}
	if ratios := t.Ratios(); len(ratios) > 0 {
		if err := writeRatios(w, ratios); err != nil {
			return err
		}
	}
	if len(t.Bounds) == 0 {
		return nil
	}
	cells = [][]string{{"target", "measure", "value", "limit", ""}}
	for _, b := range t.Bounds {
		cells = append(cells, []string{b.Target, b.Measure, number(Figure{Value: b.Value}), number(Figure{Value: b.Max}), verdict(b.Over())})
	}
	return grid(w, "\nlimits of their own", cells)
}

func verdict(over bool) string {
	if over {
		return "OVER"
	}
	return "ok"
}

func writeRatios(w io.Writer, ratios []Ratio) error {
	cells := [][]string{{"target", "floor", "measure", "ratio", "bar", ""}}
	for _, r := range ratios {
		bar, word := "-", ""
		if r.Bar > 0 {
			bar, word = fmt.Sprintf("%.2f", r.Bar), verdict(r.Over())
		}
		cells = append(cells, []string{r.Target, r.Floor, r.Measure, fmt.Sprintf("%.2f", r.Ratio), bar, word})
	}
	return grid(w, "\nratios to the floor of the same run", cells)
}

func number(f Figure) string {
	if !f.Ok() {
		return "-"
	}
	digits := 0
	if math.Abs(f.Value) < 10 {
		digits = 2
	} else if math.Abs(f.Value) < 100 {
		digits = 1
	}
	s := fmt.Sprintf("%.*f", digits, f.Value)
	if f.MAD > 0 {
		s += fmt.Sprintf(" ±%.*f", digits, f.MAD)
	}
	return s
}

// grid prints cells in columns: the first left, numbers right.
func grid(w io.Writer, title string, cells [][]string) error {
	width := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	b.WriteString(title)
	b.WriteByte('\n')
	for n, line := range cells {
		var l strings.Builder
		for i, c := range line {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if left := i == 0 || n > 0 && strings.Trim(c, "0123456789.±- ") != ""; left {
				l.WriteString(c + pad)
			} else {
				l.WriteString(pad + c)
			}
			l.WriteString("  ")
		}
		b.WriteString(strings.TrimRight(l.String(), " "))
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
