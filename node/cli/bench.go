package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/bench"
	"github.com/causeway-mesh/causeway/node"
	"github.com/causeway-mesh/causeway/node/config"
	"github.com/causeway-mesh/causeway/node/obs"
)

func (a *app) bench() *cobra.Command {
	c := &cobra.Command{Use: "bench", Short: "What Causeway costs beside bare proxies, in one run on this machine"}
	c.AddCommand(a.benchRun(), a.benchChild())
	return c
}

func (a *app) benchRun() *cobra.Command {
	var cfg bench.Config
	var quick, check bool
	c := &cobra.Command{
		Use: "run", Short: "Compare with a bare proxy and two bare QUIC hops, interleaved, as ratios", Args: cobra.NoArgs,
		Long: `Run starts a scripted provider, a bare Go proxy, a bare QUIC edge and exit, and Causeway: an edge and an
exit as two processes ("causeway"), both roles in one process ("causeway-1"), and both with every audit
record fsynced first ("causeway-strict"); with authentication, limits, a policy, audit and metrics on. It
measures them in turns and prints the ratios. It takes some minutes; nothing else should run meanwhile.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if quick {
				brief(c, &cfg)
			}
			exe, err := a.exe()
			if err != nil {
				return fail("find this program", err, "")
			}
			b := newBenchmarked(exe, a.Err)
			defer b.close()
			known := []string{bench.Direct, bench.GoProxy, bench.QUIC2}
			for _, t := range b.targets() {
				known = append(known, t.Name)
			}
			for _, name := range cfg.Only {
				if !slices.Contains(known, name) {
					return misuse(c, "--only %s is not one of %v", name, known)
				}
			}
			cfg.Child, cfg.Targets, cfg.Progress = []string{exe, "bench", "child"}, b.targets(), a.Err
			t, err := bench.Run(c.Context(), cfg)
			if err != nil {
				return fail("run the benchmark", err, "causeway bench run --only "+bench.GoProxy+" tells whether the floors run")
			}
			if err := t.Write(a.Out); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			if over := t.Over(); check && len(over) > 0 {
				return &failure{code: exitCheck, what: "over the bar:\n" + strings.Join(over, "\n"), next: "run it again on a quiet machine"}
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&cfg.Rounds, "rounds", 9, "interleaved rounds")
	f.IntVar(&cfg.PerRound, "requests", 100, "sequential requests per target, body and round")
	f.IntVar(&cfg.Clients, "clients", 64, "clients of the closed loop")
	f.DurationVar(&cfg.LoadFor, "for", 2*time.Second, "length of each closed loop")
	f.IntVar(&cfg.Streams, "streams", 16, "streams per target and round, one after another")
	f.IntVar(&cfg.Paced, "paced", 16, "paced streams at once, for CPU per stream; 0 = not")
	f.IntVar(&cfg.Held, "held", 500, "streams held open, for memory; 0 = not")
	f.StringSliceVar(&cfg.Only, "only", nil, "only these targets")
	f.BoolVar(&cfg.NoPin, "no-pin", false, "do not pin loader and provider to CPU 0 and what is measured to CPU 1")
	f.BoolVar(&quick, "quick", false, "few rounds, for a first impression")
	f.BoolVar(&check, "check", false, "end with 6 when a ratio is over its bar")
	return c
}

// brief is a run of well under a minute.
func brief(c *cobra.Command, cfg *bench.Config) {
	for _, x := range []struct {
		flag string
		to   *int
		n    int
	}{{"rounds", &cfg.Rounds, 3}, {"requests", &cfg.PerRound, 50}, {"streams", &cfg.Streams, 4}, {"paced", &cfg.Paced, 4}, {"held", &cfg.Held, 100}} {
		if !c.Flags().Changed(x.flag) {
			*x.to = x.n
		}
	}
	if !c.Flags().Changed("for") {
		cfg.LoadFor = 500 * time.Millisecond
	}
}

// benchChild is how `bench run` starts the programs that it measures, as processes of their own that
// live as long as their standard input.
func (a *app) benchChild() *cobra.Command {
	return &cobra.Command{
		Use: "child PROGRAM", Hidden: true, DisableFlagParsing: true, Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] == "node" {
				return a.benchNode(c.Context(), args[1])
			}
			return bench.Child(c.Context(), args, a.In, a.Out)
		},
	}
}

// benchNode runs the node of a data directory on ports of its own choice, exactly as `node run` does,
// and says where.
func (a *app) benchNode(ctx context.Context, data string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		var b [512]byte
		for {
			if _, err := a.In.Read(b[:]); err != nil {
				cancel()
				return
			}
		}
	}()
	s := config.Default()
	s.Data, s.Listen, s.Mesh, s.Ops = data, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	s.TLS.Mode, s.Drain = "off", time.Second
	// A line of every request, as in production; the parent's pipe would cost the loader's time.
	log, err := os.OpenFile(filepath.Join(data, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	err = node.Run(ctx, node.Options{
		Settings: s, Version: version, Log: obs.NewLogger(log, s.Log),
		Started: func(client, mesh, ops string) {
			_ = put(a.Out, benchReady+or(client, mesh)+" "+ops+"\n") // the parent that asked is gone otherwise, and so is this process
		},
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}
