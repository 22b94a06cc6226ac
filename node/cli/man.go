package cli

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// man writes manual pages: for packagers, so it is hidden.
func (a *app) man() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write manual pages into a directory", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fail("write manual pages", err, "")
			}
			root := c.Root()
			root.DisableAutoGenTag = true // the same source makes the same pages
			head := &doc.GenManHeader{Title: "CAUSEWAY", Section: "1", Source: "causeway " + version, Manual: "Causeway"}
			return fail("write manual pages", doc.GenManTree(root, head, args[0]), "")
		},
	}
}
