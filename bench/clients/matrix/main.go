// Matrix runs every client library against every provider dialect behind one dev mesh and writes
// results.json and the README's table. `make clients` is how people call it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/causeway-mesh/causeway/bench/clients/internal/dev"
)

func main() {
	write := flag.Bool("write", false, "write results.json and the README's table; else compare with them")
	only := flag.String("suite", "", "run only the suites whose name starts with this; needs no -write")
	cli := flag.Bool("cli", false, "run the agent CLIs instead, in a network namespace with loopback only")
	inside := flag.Bool("inside", false, "set by -cli for the run inside the namespace")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	work := func() error { return run(ctx, *write, *only) }
	switch {
	case *cli:
		work = func() error { return enclosed(ctx) }
	case *inside:
		work = func() error { return runAgents(ctx) }
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		os.Exit(1)
	}
}

// run works in bench/clients.
func run(ctx context.Context, write bool, only string) (err error) {
	if write && only != "" {
		return errors.New("-write takes all suites: leave -suite out")
	}
	var ready []suite
	var skipped []string
	for _, s := range suites() {
		if !strings.HasPrefix(s.name, only) {
			continue
		}
		if err := s.prepare(ctx); err != nil {
			skipped = append(skipped, s.name)
			fmt.Printf("skipped %s: %v\n", s.name, err)
			continue
		}
		ready = append(ready, s)
	}
	if write && len(skipped) > 0 {
		return fmt.Errorf("results.json is written by whole runs only; skipped: %s", strings.Join(skipped, ", "))
	}
	mesh, err := dev.Start("../..")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mesh.Stop()) }()
	plan, err := setUp(ctx, mesh)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(ready, func(s suite) bool { return s.name == "python current" }) {
		if err := seeds(ctx, mesh); err != nil {
			return err
		}
	}
	var got results
	for _, s := range ready {
		cells, err := s.run(ctx, plan)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := got.add(s, cells); err != nil {
			return err
		}
	}
	for _, line := range got.bad() {
		fmt.Println(line)
	}
	fmt.Println(got.summary())
	if write {
		return got.save()
	}
	committed, err := load("results.json")
	if err != nil {
		return err
	}
	return got.compare(committed)
}
