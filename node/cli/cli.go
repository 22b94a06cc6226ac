// Package cli is the command line: one file per verb, built by functions, with no state of its own
// but the version that the linker writes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is set by -ldflags "-X .../node/cli.version=v1.2.3".
var version = "devel"

// Stdio is where a command reads and writes: data to Out, progress and errors to Err.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what every verb shares.
type app struct {
	Stdio
	global globals
	exe    func() (string, error) // this program, for `bench run`
}

// Run executes one command line (without the program's name) and returns its exit code. The first
// SIGINT or SIGTERM cancels ctx, so that servers drain and calls end; the second ends the process.
func Run(ctx context.Context, args []string, std Stdio) int {
	ctx, caught, stop := signals(ctx)
	defer stop()
	a := &app{Stdio: std, exe: os.Executable}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if n := caught(); n != 0 && errors.Is(err, context.Canceled) {
		return 128 + n
	}
	f := explain(err)
	f.write(std.Err, paint(std.Err))
	return f.code
}

// signals cancels the returned context at the first signal and exits at the second. caught is the
// number of the signal, 0 when there was none.
func signals(parent context.Context) (ctx context.Context, caught func() int, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	var first atomic.Int64
	go func() {
		for {
			select {
			case s := <-ch:
				n, _ := s.(syscall.Signal)
				if first.Load() != 0 {
					os.Exit(128 + int(n))
				}
				first.Store(int64(n))
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() int { return int(first.Load()) }, func() {
		signal.Stop(ch)
		close(done)
		cancel()
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "causeway",
		Short: "A multi-region relay for LLM APIs",
		Long: `Causeway relays LLM APIs (OpenAI Chat and Responses, Anthropic Messages, Gemini) through a mesh of
your own nodes: an edge near the client decides, an exit near the provider calls it.

Start with:  causeway dev          a whole mesh on this machine, no keys needed
       then:  causeway ask "hello"`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
	}
	root.SetVersionTemplate("causeway {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return misuse(c, "%s", err) })
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", `{{if and .Runnable (not (index .Annotations "noun"))}}`, 1))
	root.SetGlobalNormalizationFunc(normalize)
	root.CompletionOptions.HiddenDefaultCmd = false
	for _, g := range []struct{ id, title string }{
		{"run", "Run:"}, {"config", "Configure a mesh:"}, {"see", "See what it does:"}, {"use", "Use it:"},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
	}
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", a.dev(), a.coordinator(), a.node())
	add("config", a.apply(), a.tenant(), a.org(), a.key(), a.limit(), a.region(), a.provider(), a.model(), a.policy())
	add("see", a.route(), a.mesh(), a.audit(), a.geo(), a.doctor(), a.bench())
	add("use", a.ask(), a.env())
	root.AddCommand(a.versionCmd(), a.man())
	strict(root)
	return root
}

// normalize lets people write --role for --roles and --cut_off for --cut-off.
func normalize(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	name = strings.ReplaceAll(name, "_", "-")
	if name == "role" {
		name = "roles"
	}
	return pflag.NormalizedName(name)
}

// strict makes every wrong call of a command exit with "usage": a noun without a verb, an unknown
// verb, too many arguments. Cobra by itself prints help and reports success for the first two.
func strict(c *cobra.Command) {
	if c.HasSubCommands() && !c.Runnable() {
		c.Args = cobra.ArbitraryArgs
		c.Annotations = map[string]string{"noun": "yes"} // takes a verb: not shown as runnable
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				c.SetOut(c.ErrOrStderr())
				if err := c.Help(); err != nil {
					return err
				}
				return &failure{code: exitUsage, quiet: true}
			}
			c.SuggestionsMinimumDistance = 2
			hint := ""
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				best := near[0]
				for _, n := range near {
					if n[0] == args[0][0] && best[0] != args[0][0] {
						best = n
					}
				}
				hint = fmt.Sprintf("; did you mean %q?", best)
			}
			return misuse(c, "unknown command %q%s", args[0], hint)
		}
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return misuse(c, "%s", err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}
