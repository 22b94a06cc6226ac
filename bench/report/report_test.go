package report

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	d := []time.Duration{5, 1, 4, 2, 3}
	for _, tt := range []struct {
		q    float64
		want time.Duration
	}{{0, 1}, {0.2, 1}, {0.21, 2}, {0.5, 3}, {0.99, 5}, {1, 5}} {
		if got := Percentile(d, tt.q); got != tt.want {
			t.Errorf("q %v: got %d, want %d", tt.q, got, tt.want)
		}
	}
	if got := Percentile(nil, 0.5); got != 0 {
		t.Errorf("no sample: got %d", got)
	}
}

func TestOver(t *testing.T) {
	if got := Over([]float64{10, 12, 11, 100}); got != (Spread{11.5, 1}) {
		t.Errorf("got %+v: one wild round must not move it", got)
	}
	if got := Over(nil); !math.IsNaN(got.Median) {
		t.Errorf("no rounds: got %v", got)
	}
}

func TestRatios(t *testing.T) {
	tab := Table{
		Title:   "run",
		Columns: []Column{{Name: "p50 us", Bar: []Bar{{"quic2", 1.3}, {"goproxy", 1.5}}}, {Name: "rss MB"}, {Name: "ttft us"}},
		Rows: []Row{
			{Name: "direct", Figures: []Figure{{Value: 100}, None(), None()}},
			{Name: "quic2", Figures: []Figure{{Value: 600, MAD: 20}, {Value: 30}, {Value: -3}}},
			{Name: "mesh", Floor: "quic2", Figures: []Figure{{Value: 900}, {Value: 60}, {Value: 5}}, Note: "two hops"},
			{Name: "alone", Floor: "goproxy", Figures: []Figure{{Value: 1}, {Value: 1}, {Value: 1}}},
		},
	}
	got := tab.Ratios()
	if len(got) != 2 || got[0].Ratio != 1.5 || !got[0].Over() || got[1].Ratio != 2 || got[1].Over() {
		t.Fatalf("got %+v: a missing floor, a missing figure and a floor below zero give none", got)
	}
	var b strings.Builder
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"600 ±20", "OVER", "mesh: two hops", "1.50  1.30"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

func TestBounds(t *testing.T) {
	tab := Table{
		Columns: []Column{{Name: "p50 us", Bar: []Bar{{"quic2", 1.3}}}},
		Rows:    []Row{{Name: "quic2", Figures: []Figure{{Value: 100}}}, {Name: "mesh", Floor: "quic2", Figures: []Figure{{Value: 140}}}},
		Bounds:  []Bound{{Target: "mesh", Measure: "idle MB", Value: 41, Max: 40}, {Target: "mesh", Measure: "held KB", Value: 64, Max: 65}},
	}
	over := tab.Over()
	if len(over) != 2 || !strings.Contains(over[0], "1.40x of quic2, bar 1.30") || !strings.Contains(over[1], "idle MB: 41.0, limit 40.0") {
		t.Errorf("got %q", over)
	}
	var b strings.Builder
	if err := tab.Write(&b); err != nil || !strings.Contains(b.String(), "idle MB") || strings.Count(b.String(), "OVER") != 2 {
		t.Errorf("%v:\n%s", err, b.String())
	}
}
