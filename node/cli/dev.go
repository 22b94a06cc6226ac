package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/node/dev"
	"github.com/causeway-mesh/causeway/node/obs"
)

func (a *app) dev() *cobra.Command {
	o := dev.Options{Version: version, LookupEnv: os.LookupEnv}
	c := &cobra.Command{
		Use: "dev", Short: "A whole mesh on this machine: three regions, fake providers, a key", Args: cobra.NoArgs,
		Long: `Dev runs a coordinator, an edge and an exit in each of three regions, and fake providers of every
dialect, in one process on loopback. With -f, the file is the whole state instead. Real providers
are added when OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY are set.`,
		Example: "  causeway dev\n  causeway dev -f mesh.yaml --listen 127.0.0.1:9000 --admin 127.0.0.1:9700",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkLevel(c, o.LogLevel); err != nil {
				return err
			}
			o.Out, o.Log = a.Out, obs.NewLogger(a.Err, o.LogLevel)
			return fail("causeway dev", dev.Run(c.Context(), o), "")
		},
	}
	f := c.Flags()
	f.StringVarP(&o.File, "file", "f", "", "mesh.yaml: the whole state of the mesh")
	f.StringVar(&o.Data, "data", "./"+devDir, "data directory")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8080", "client API of the first edge; the next edges take the next free ports")
	f.StringVar(&o.Admin, "admin", "127.0.0.1:7700", "admin API")
	logFlag(c, &o.LogLevel, "warn") // people read this terminal: info is a line a request
	return c
}

func logFlag(c *cobra.Command, to *string, level string) {
	c.Flags().StringVar(to, "log", level, "log level: debug, info, warn, error")
	_ = c.RegisterFlagCompletionFunc("log", cobra.FixedCompletions(levels(), cobra.ShellCompDirectiveNoFileComp))
}

func levels() []string { return []string{"debug", "info", "warn", "error"} }

func checkLevel(c *cobra.Command, level string) error {
	for _, l := range levels() {
		if l == level {
			return nil
		}
	}
	return misuse(c, "--log %s is not one of debug, info, warn, error", level)
}
