// Package bench compares a relay with what the same work costs without it: direct, one bare proxy,
// two bare QUIC hops and Causeway, interleaved in one run on one machine, reported as ratios.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/causeway-mesh/causeway/bench/floor"
	"github.com/causeway-mesh/causeway/bench/load"
	"github.com/causeway-mesh/causeway/bench/report"
)

// The names of the targets that every run has.
const (
	Direct  = "direct"
	GoProxy = "goproxy"
	QUIC2   = "quic2"
)

// Config says what to run. The zero value with Child set is a run of a few minutes of the floors.
type Config struct {
	// Child is the command that runs Child with the arguments appended to it, for example the
	// program itself with "bench", "child". Env is added to its environment.
	Child []string
	Env   []string

	Targets []Target // besides the floors
	Only    []string // names to run; none = all. Direct always runs

	Rounds   int           // 9 interleaved rounds
	PerRound int           // 100 sequential requests per target, body and round
	Clients  int           // 64 in the closed loop
	LoadFor  time.Duration // 2 s of closed loop per target, body, in each of three rounds
	Streams  int           // 16 streams per target and round, one after another, 200 chunks with a gap of 1 ms
	Paced    int           // 16 streams at once, 5 ms gap, for CPU per chunk; 0 = not
	Held     int           // 500 streams held open at once, for memory; 0 = not
	Settle   time.Duration // 5 s before idle memory is read: what starting took goes back to the system with delay
	NoPin    bool          // do not put loader and provider on CPU 0 and what is measured on CPU 1
	Seed     uint64        // of the order of targets

	Progress io.Writer // nil = silent
}

// Target is something to measure besides the floors.
type Target struct {
	Name  string
	Floor string // the floor to compare with: GoProxy for one hop, QUIC2 for two
	Note  string
	Only  Scope // what is measured of it
	// Beside names a target to which the p99 is compared, and P99 is the most that it may be above it.
	Beside string
	P99    time.Duration
	// Start brings the target up in front of the provider at Env.Provider, as processes on Env.CPU.
	Start func(ctx context.Context, env Env) (Running, error)
}

// Scope is how much of a target is measured.
type Scope uint8

// Scopes.
const (
	Everything Scope = iota
	Latency          // small requests, one after another
	Idle             // memory before any request; it is stopped after that
)

// Env is what a target needs to start.
type Env struct {
	Provider string // base URL of the mock provider: an OpenAI SDK's base_url is this + "/v1"
	CPU      int    // where its processes belong, for Spawn; -1 = anywhere
	Spare    int    // where helpers belong that no request passes through
}

// Running is a target that is up.
type Running struct {
	load.Target
	Processes []Process // those whose CPU and memory count
	Stop      func() error
}

// Process is one of a target's, with what it may hold at most; 0 = no bound.
type Process struct {
	PID       int
	Name      string // for the report, when there are bounds
	MaxIdleMB float64
	MaxHeldKB float64 // a held stream
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.Rounds, 9)
	def(&c.PerRound, 100)
	def(&c.Clients, 64)
	if c.LoadFor <= 0 {
		c.LoadFor = 2 * time.Second
	}
	if c.Settle <= 0 {
		c.Settle = 5 * time.Second
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	if runtime.NumCPU() < 2 {
		c.NoPin = true
	}
	return c
}

// Run starts everything, measures, stops everything and returns the table.
func Run(ctx context.Context, cfg Config) (t *report.Table, err error) {
	cfg = cfg.withDefaults()
	r := &runner{cfg: cfg, cpu: -1}
	r.rng = rand.New(rand.NewPCG(cfg.Seed, 1))
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.start(ctx); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if err := r.measure(ctx); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return r.table(), nil
}

type runner struct {
	cfg      Config
	cpu      int
	rng      *rand.Rand
	stops    []func() error
	subjects []*subject
}

// subject is a target under measurement with its samples.
type subject struct {
	Target
	name    string
	run     Running
	figures figures
}

func (s *subject) pids() []int {
	out := make([]int, len(s.run.Processes))
	for i, p := range s.run.Processes {
		out[i] = p.PID
	}
	return out
}

func (r *runner) stop() error {
	var errs []error
	for _, stop := range slices.Backward(r.stops) {
		errs = append(errs, stop())
	}
	return errors.Join(errs...)
}

func (r *runner) child(ctx context.Context, cpu int, args ...string) (*Proc, error) {
	p, err := Spawn(ctx, slices.Concat(r.cfg.Child, args), r.cfg.Env, cpu, floor.Ready)
	if err == nil {
		r.stops = append(r.stops, p.Stop)
	}
	return p, err
}

func (r *runner) start(ctx context.Context) error {
	loader := -1
	if !r.cfg.NoPin {
		if err := pinSelf(0); err != nil {
			fmt.Fprintf(r.cfg.Progress, "not pinned: %v\n", err)
		} else {
			loader, r.cpu = 0, 1
		}
	}
	mock, err := r.child(ctx, loader, floor.Mock)
	if err != nil {
		return err
	}
	provider := "http://" + mock.Addr
	floors := []Target{
		{Name: Direct, Start: func(context.Context, Env) (Running, error) {
			return Running{Target: load.Target{URL: provider}}, nil
		}},
		{Name: GoProxy, Start: func(ctx context.Context, env Env) (Running, error) {
			p, err := r.child(ctx, env.CPU, floor.GoProxy, "--next", provider)
			if err != nil {
				return Running{}, err
			}
			return Running{Target: load.Target{URL: "http://" + p.Addr}, Processes: []Process{{PID: p.PID}}}, nil
		}},
		{Name: QUIC2, Start: func(ctx context.Context, env Env) (Running, error) {
			exit, err := r.child(ctx, env.CPU, floor.QUICExit, "--next", provider)
			if err != nil {
				return Running{}, err
			}
			edge, err := r.child(ctx, env.CPU, floor.QUICEdge, "--next", exit.Addr)
			if err != nil {
				return Running{}, err
			}
			return Running{Target: load.Target{URL: "http://" + edge.Addr}, Processes: []Process{{PID: edge.PID}, {PID: exit.PID}}}, nil
		}},
	}
	for _, t := range slices.Concat(floors, r.cfg.Targets) {
		if len(r.cfg.Only) > 0 && t.Name != Direct && !slices.Contains(r.cfg.Only, t.Name) {
			continue
		}
		run, err := t.Start(ctx, Env{Provider: provider, CPU: r.cpu, Spare: loader})
		if err != nil {
			return fmt.Errorf("start %s: %w", t.Name, err)
		}
		if run.Stop != nil {
			r.stops = append(r.stops, run.Stop)
		}
		if run.Model == "" {
			run.Model = "bench"
		}
		r.subjects = append(r.subjects, &subject{Target: t, name: t.Name, run: run})
	}
	return nil
}
