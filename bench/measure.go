package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/causeway-mesh/causeway/bench/load"
	"github.com/causeway-mesh/causeway/bench/report"
)

const (
	small, large = 400, 100_000 // bytes of body
	chunks       = 200
	warmup       = 200 // requests before the first round
	loadRounds   = 3
)

// bodies are the sizes that are measured.
var bodies = [...]int{small, large}

// figures are one subject's samples, a value per round.
type figures struct {
	added   [len(bodies)][]float64 // us, p50 above direct of the same round
	tail    [len(bodies)][]float64 // us, p99 above direct
	seqCPU  [len(bodies)]cost      // while sequential
	rate    [len(bodies)][]float64 // requests a second, closed loop
	loadCPU [len(bodies)]cost      // while the closed loop ran
	ttft    []float64              // us above direct
	chunk   []float64              // us above direct, one way
	paced   cost                   // of paced streams
	idle    float64                // MB
	held    float64                // KB a stream
	idleOf  []float64              // MB, of each process
	heldOf  []float64              // KB a stream, of each process
}

// cost is CPU time spent on a number of requests.
type cost struct {
	cpu time.Duration
	n   int
}

func (c cost) per1000() report.Figure {
	if c.n == 0 || c.cpu == 0 {
		return report.None()
	}
	return report.Figure{Value: c.cpu.Seconds() * 1000 / float64(c.n)}
}

// spend runs work and adds the subject's CPU time and the count that work returns.
func (s *subject) spend(c *cost, work func() (int, error)) error {
	if len(s.run.Processes) == 0 {
		_, err := work()
		return err
	}
	before, err := cpuTime(s.pids())
	if err != nil {
		return err
	}
	n, err := work()
	if err != nil {
		return err
	}
	after, err := cpuTime(s.pids())
	c.cpu += after - before
	c.n += n
	return err
}

func (r *runner) measure(ctx context.Context) error {
	if err := r.idle(ctx); err != nil {
		return fmt.Errorf("idle memory: %w", err)
	}
	steps := []struct {
		name   string
		rounds int
		do     func(context.Context) error
	}{
		{"held streams", 1, r.held}, // first: memory that load has left behind would hide what streams take
		{"sequential", r.cfg.Rounds, r.sequential},
		{"closed loop", loadRounds, r.closed},
		{"streams", min(r.cfg.Rounds, 5), r.streams},
		{"paced streams", 1, r.paced},
	}
	for _, step := range steps {
		for n := range step.rounds {
			fmt.Fprintf(r.cfg.Progress, "%s, round %d of %d\n", step.name, n+1, step.rounds)
			if err := step.do(ctx); err != nil {
				return fmt.Errorf("%s: %w", step.name, err)
			}
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// idle reads the memory of what has been started and not used.
func (r *runner) idle(ctx context.Context) error {
	fmt.Fprintf(r.cfg.Progress, "idle, %s\n", r.cfg.Settle)
	t := time.NewTimer(r.cfg.Settle)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for _, s := range r.subjects {
		s.figures.idle, s.figures.held = math.NaN(), math.NaN()
		if len(s.run.Processes) == 0 {
			continue
		}
		each, err := rssOf(s.pids())
		if err != nil {
			return err
		}
		s.figures.idle = 0
		for _, b := range each {
			mb := float64(b) / (1 << 20)
			s.figures.idle += mb
			s.figures.idleOf = append(s.figures.idleOf, mb)
		}
		if s.Only == Idle {
			if err := s.run.Stop(); err != nil {
				return fmt.Errorf("stop %s: %w", s.name, err)
			}
		}
	}
	return nil
}

// each visits the subjects of a scope in a new order.
func (r *runner) each(scope Scope, visit func(*subject) error) error {
	for _, i := range r.rng.Perm(len(r.subjects)) {
		if r.subjects[i].Only > scope {
			continue
		}
		if err := visit(r.subjects[i]); err != nil {
			return fmt.Errorf("%s: %w", r.subjects[i].name, err)
		}
	}
	return nil
}

func failed(n int, first error) error {
	if n > 0 {
		return fmt.Errorf("%d requests failed, the first: %w", n, first)
	}
	return nil
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func (r *runner) sequential(ctx context.Context) error {
	for b, size := range bodies {
		p50, p99 := map[string]float64{}, map[string]float64{}
		scope := Everything
		if size == small {
			scope = Latency
		}
		err := r.each(scope, func(s *subject) error {
			c := load.NewClient(s.run.Target, load.Shape{Bytes: size})
			defer c.Close()
			warm := 20
			if len(s.figures.added[b]) == 0 {
				warm = warmup
			}
			if w := load.Sequential(ctx, c, warm); w.Errors > 0 {
				return failed(w.Errors, w.FirstErr)
			}
			return s.spend(&s.figures.seqCPU[b], func() (int, error) {
				res := load.Sequential(ctx, c, r.cfg.PerRound)
				p50[s.name] = us(report.Percentile(res.Latencies, 0.5))
				p99[s.name] = us(report.Percentile(res.Latencies, 0.99))
				return len(res.Latencies), failed(res.Errors, res.FirstErr)
			})
		})
		if err != nil {
			return err
		}
		for _, s := range r.subjects {
			if _, ok := p50[s.name]; !ok {
				continue
			}
			s.figures.added[b] = append(s.figures.added[b], p50[s.name]-p50[Direct])
			s.figures.tail[b] = append(s.figures.tail[b], p99[s.name]-p99[Direct])
		}
	}
	return nil
}

func (r *runner) closed(ctx context.Context) error {
	for b, size := range bodies {
		err := r.each(Everything, func(s *subject) error {
			c := load.NewClient(s.run.Target, load.Shape{Bytes: size})
			defer c.Close()
			if w := load.Closed(ctx, c, r.cfg.Clients, r.cfg.LoadFor/8); w.Errors > 0 {
				return failed(w.Errors, w.FirstErr)
			}
			return s.spend(&s.figures.loadCPU[b], func() (int, error) {
				res := load.Closed(ctx, c, r.cfg.Clients, r.cfg.LoadFor)
				s.figures.rate[b] = append(s.figures.rate[b], res.Rate())
				return len(res.Latencies), failed(res.Errors, res.FirstErr)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) streams(ctx context.Context) error {
	if r.cfg.Streams <= 0 {
		return nil
	}
	first, way := map[string]float64{}, map[string]float64{}
	err := r.each(Everything, func(s *subject) error {
		c := load.NewClient(s.run.Target, load.Shape{Bytes: small, Stream: true, Chunks: chunks, Gap: time.Millisecond})
		defer c.Close()
		if w := load.Streams(ctx, c, 1, 1); w.Errors > 0 {
			return failed(w.Errors, w.FirstErr)
		}
		res := load.Streams(ctx, c, r.cfg.Streams, 1)
		first[s.name] = us(report.Percentile(res.First, 0.5))
		way[s.name] = us(report.Percentile(res.OneWay, 0.5))
		return failed(res.Errors, res.FirstErr)
	})
	if err != nil {
		return err
	}
	for _, s := range r.subjects {
		if _, ok := first[s.name]; !ok {
			continue
		}
		s.figures.ttft = append(s.figures.ttft, first[s.name]-first[Direct])
		s.figures.chunk = append(s.figures.chunk, way[s.name]-way[Direct])
	}
	return nil
}

func (r *runner) paced(ctx context.Context) error {
	if r.cfg.Paced <= 0 {
		return nil
	}
	return r.each(Everything, func(s *subject) error {
		c := load.NewClient(s.run.Target, load.Shape{Bytes: small, Stream: true, Chunks: chunks, Gap: 5 * time.Millisecond})
		defer c.Close()
		return s.spend(&s.figures.paced, func() (int, error) {
			res := load.Streams(ctx, c, 3*r.cfg.Paced, r.cfg.Paced)
			return res.Streams, failed(res.Errors, res.FirstErr)
		})
	})
}

// held measures memory with streams open: what they add to what was there just before.
func (r *runner) held(ctx context.Context) error {
	if r.cfg.Held <= 0 {
		return nil
	}
	return r.each(Everything, func(s *subject) error {
		if len(s.run.Processes) == 0 {
			return nil
		}
		c := load.NewClient(s.run.Target, load.Shape{Bytes: small, Stream: true, Chunks: 1000, Gap: 500 * time.Millisecond})
		defer c.Close()
		if w := load.Sequential(ctx, load.NewClient(s.run.Target, load.Shape{Bytes: small}), warmup); w.Errors > 0 {
			return failed(w.Errors, w.FirstErr)
		}
		before, err := rssOf(s.pids())
		if err != nil {
			return err
		}
		var peak []int64
		res := load.Held(ctx, c, r.cfg.Held, 2*time.Second, func() { peak, err = r.watch(ctx, s.pids()) })
		if err != nil {
			return err
		}
		s.figures.held = 0
		for i := range peak {
			kb := float64(peak[i]-before[i]) / 1024 / float64(r.cfg.Held)
			s.figures.held += kb
			s.figures.heldOf = append(s.figures.heldOf, kb)
		}
		return failed(res.Errors, res.FirstErr)
	})
}

// watch returns the most memory of each process seen over a few seconds of streaming.
func (r *runner) watch(ctx context.Context, pids []int) ([]int64, error) {
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	peak := make([]int64, len(pids))
	for range 12 {
		now, err := rssOf(pids)
		if err != nil {
			return nil, err
		}
		for i := range peak {
			peak[i] = max(peak[i], now[i])
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return peak, nil
		}
	}
	return peak, nil
}
