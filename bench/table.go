package bench

import (
	"fmt"
	"runtime"

	"github.com/causeway-mesh/causeway/bench/report"
)

// The bars are those of reference/performance.md 4: one hop against the bare proxy, two hops against
// the bare QUIC hops.
func bars(one, two float64) []report.Bar {
	return []report.Bar{{Floor: GoProxy, Ratio: one}, {Floor: QUIC2, Ratio: two}}
}

func (r *runner) table() *report.Table {
	t := &report.Table{
		Title: fmt.Sprintf("%s %s/%s, %d CPUs, pinned: %v; medians of %d rounds ± MAD; p50 and p99 above direct of the same round",
			runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), r.cpu >= 0, r.cfg.Rounds),
		Columns: []report.Column{
			{Name: "p50 400B us", Bar: bars(1.5, 1.3)},
			{Name: "p50 100KB us", Bar: bars(1.5, 1.3)},
			{Name: "p99 400B us"},
			{Name: "seq CPU-s/1000"},
			{Name: fmt.Sprintf("c%d rps", r.cfg.Clients)},
			{Name: fmt.Sprintf("c%d CPU-s/1000", r.cfg.Clients), Bar: bars(1.4, 1.4)},
			{Name: fmt.Sprintf("c%d 100KB CPU-s/1000", r.cfg.Clients), Bar: bars(1.4, 1.4)},
			{Name: "TTFT us", Bar: bars(1.5, 1.3)},
			{Name: "chunk us", Bar: bars(1.3, 1.3)},
			{Name: "CPU-s/1000 streams"},
			{Name: "idle MB"},
			{Name: "KB/held stream"},
		},
	}
	for _, s := range r.subjects {
		f := &s.figures
		row := report.Row{Name: s.name, Floor: s.Floor, Note: s.Note, Figures: []report.Figure{
			over(f.added[0]), over(f.added[1]), over(f.tail[0]), f.seqCPU[0].per1000(),
			over(f.rate[0]), f.loadCPU[0].per1000(), f.loadCPU[1].per1000(),
			over(f.ttft), over(f.chunk), f.paced.per1000(),
			{Value: f.idle},
			{Value: f.held},
		}}
		t.Rows = append(t.Rows, row)
		t.Bounds = append(t.Bounds, r.bounds(s)...)
	}
	return t
}

// bounds are the measures of a subject that have a limit of their own, whatever the floor takes.
func (r *runner) bounds(s *subject) []report.Bound {
	var out []report.Bound
	for i, p := range s.run.Processes {
		if f := s.figures; p.MaxIdleMB > 0 && i < len(f.idleOf) {
			out = append(out, report.Bound{Target: s.name, Measure: "idle MB, " + p.Name, Value: f.idleOf[i], Max: p.MaxIdleMB})
		}
		if f := s.figures; p.MaxHeldKB > 0 && i < len(f.heldOf) {
			out = append(out, report.Bound{Target: s.name, Measure: "KB/held stream, " + p.Name, Value: f.heldOf[i], Max: p.MaxHeldKB})
		}
	}
	for _, o := range r.subjects {
		if s.Beside == "" || o.name != s.Beside || len(o.figures.tail[0]) != len(s.figures.tail[0]) {
			continue
		}
		more := make([]float64, len(s.figures.tail[0])) // of the same round
		for i := range more {
			more[i] = (s.figures.tail[0][i] - o.figures.tail[0][i]) / 1e3
		}
		out = append(out, report.Bound{Target: s.name, Measure: "p99 400B ms above " + o.name, Value: over(more).Value, Max: float64(s.P99) / 1e6})
	}
	return out
}

func over(rounds []float64) report.Figure {
	s := report.Over(rounds)
	return report.Figure{Value: s.Median, MAD: s.MAD}
}
