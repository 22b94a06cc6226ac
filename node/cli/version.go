package cli

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/geo/data"
)

// licenses are the licence texts of everything linked into the binary; TestLicenses keeps them.
//
//go:embed licenses.txt
var licenses string

// build is what `version -o json` prints.
type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	GeoData  string `json:"geo_data,omitempty"` // build date of the embedded country database
}

func (a *app) versionCmd() *cobra.Command {
	var withLicenses bool
	c := &cobra.Command{
		Use: "version", Short: "The version, and --licenses of all that is in it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if withLicenses {
				return put(a.Out, licenses+"\n"+data.Attribution())
			}
			b := built()
			format, err := a.format(c)
			if err != nil {
				return err
			}
			if format == "table" {
				line := fmt.Sprintf("causeway %s (%s, %s", b.Version, b.Go, b.Platform)
				if b.Commit != "" {
					line += ", commit " + clip(b.Commit, 12)
				}
				return put(a.Out, line+")\n")
			}
			raw, err := json.Marshal(b)
			if err != nil {
				return fmt.Errorf("encode version: %w", err)
			}
			return a.show(c, answer{raw: raw, names: []string{b.Version}})
		},
	}
	a.outputFlag(c)
	c.Flags().BoolVar(&withLicenses, "licenses", false, "print the licences of Causeway and of everything linked into it")
	return c
}

func built() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	if t := data.Embedded(); t != nil {
		b.GeoData = t.Built().UTC().Format("2006-01-02")
	}
	return b
}
