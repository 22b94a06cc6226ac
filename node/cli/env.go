package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// edgeFlags say which edge a client is to use, and with which key.
type edgeFlags struct{ edge, key string }

func (o *edgeFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&o.edge, "edge", "", "an edge's URL, or a region of the dev mesh (CAUSEWAY_EDGE; else the first edge of the dev mesh)")
	c.Flags().StringVar(&o.key, "key", "", "virtual API key, or file:PATH (CAUSEWAY_KEY; else that of the dev mesh)")
}

// resolve finds the edge's base URL and the key. A dev mesh's key goes to that mesh only.
func (o *edgeFlags) resolve() (base, key string, dev *devReady, err error) {
	if dev, err = findDev(); err != nil {
		return "", "", nil, err
	}
	base = strings.TrimRight(or(o.edge, os.Getenv("CAUSEWAY_EDGE")), "/")
	ours := false
	if dev != nil {
		for i, e := range dev.Edges {
			url := strings.TrimRight(e.URL, "/")
			if base == "" && i == 0 || base == url || base != "" && (base == e.Region || base == e.Node) {
				base, ours = url, true
			}
		}
	}
	switch {
	case base == "":
		return "", "", dev, &failure{
			code: exitUnavailable, what: "no edge to talk to", why: errors.New("neither --edge nor CAUSEWAY_EDGE is set, and no dev mesh runs in this directory or above"),
			next: "causeway dev   (or: --edge https://HOST --key cw_…)",
		}
	case !strings.HasPrefix(base, "http://") && !strings.HasPrefix(base, "https://"):
		return "", "", dev, &failure{code: exitNotFound, what: "there is no edge " + base, why: errors.New("it is neither a URL nor a region of the dev mesh"), next: "name it as --edge https://HOST, or a region: causeway node list"}
	}
	if key, err = secretArg(or(o.key, os.Getenv("CAUSEWAY_KEY"))); err != nil {
		return "", "", dev, err
	}
	if key == "" && ours {
		key = dev.APIKey
	}
	if key == "" {
		return "", "", dev, &failure{code: exitUsage, what: "no API key for " + base, next: "give one: --key cw_…   (make one: causeway key create ID --tenant TENANT)"}
	}
	return base, key, dev, nil
}

// variable is one line of `env`.
type variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// clients lists who `env` knows.
func clients() []string { return []string{"openai", "anthropic", "gemini", "claude", "codex"} }

// variables are what a client reads, as each was seen to (reference/ecosystem.md 6.1), and remarks.
func variables(client, base, key, model string) (vars []variable, remarks []string) {
	switch client {
	case "openai":
		vars = []variable{{"OPENAI_BASE_URL", base + "/v1"}, {"OPENAI_API_KEY", key}}
	case "anthropic":
		vars = []variable{{"ANTHROPIC_BASE_URL", base}, {"ANTHROPIC_API_KEY", key}}
	case "gemini":
		vars = []variable{{"GOOGLE_GEMINI_BASE_URL", base}, {"GEMINI_API_KEY", key}}
	case "claude":
		vars = []variable{
			{"ANTHROPIC_BASE_URL", base},
			{"ANTHROPIC_AUTH_TOKEN", key},
			{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"},
			{"DISABLE_TELEMETRY", "1"},
			{"DISABLE_ERROR_REPORTING", "1"},
			{"DISABLE_AUTOUPDATER", "1"},
		}
		if model != "" {
			vars = append(vars, variable{"ANTHROPIC_MODEL", model})
		}
	case "codex":
		vars = []variable{{"CAUSEWAY_API_KEY", key}}
		remarks = []string{
			"in ~/.codex/config.toml:", `  model = "` + or(model, "auto") + `"`, `  model_provider = "causeway"`, `  [model_providers.causeway]`, `  name = "Causeway"`,
			`  base_url = "` + base + `/v1"`, `  env_key = "CAUSEWAY_API_KEY"`, `  wire_api = "responses"`,
			"for models of other protocols, which have neither OpenAI's search nor its tool namespaces, also, above the first [table]:",
			`  web_search = "disabled"`, `  features.multi_agent = false`,
		}
	}
	return vars, remarks
}

func (a *app) env() *cobra.Command {
	var o edgeFlags
	var shell, model string
	c := &cobra.Command{
		Use: "env " + strings.Join(clients(), "|"), Short: "The variables that point a client at the mesh", ValidArgs: clients(),
		Args:    cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		Example: "  eval \"$(causeway env openai)\"\n  eval \"$(causeway env claude --edge eu-central)\" && claude",
		RunE: func(c *cobra.Command, args []string) error {
			base, key, _, err := o.resolve()
			if err != nil {
				return err
			}
			vars, remarks := variables(args[0], base, key, model)
			format, err := a.format(c)
			if err != nil {
				return err
			}
			if format != "table" {
				raw, err := json.Marshal(vars)
				if err != nil {
					return fmt.Errorf("encode variables: %w", err)
				}
				out := answer{raw: raw}
				for _, v := range vars {
					out.names = append(out.names, v.Name)
				}
				return a.show(c, out)
			}
			for _, v := range vars {
				line, ok := export(shell, v)
				if !ok {
					return misuse(c, "--shell %s is not one of sh, fish, powershell", shell)
				}
				if err := put(a.Out, line+"\n"); err != nil {
					return err
				}
			}
			for _, r := range remarks {
				if err := put(a.Out, "# "+r+"\n"); err != nil {
					return err
				}
			}
			return nil
		},
	}
	o.add(c)
	a.outputFlag(c)
	c.Flags().StringVar(&shell, "shell", "sh", "sh, fish or powershell")
	c.Flags().StringVar(&model, "model", "", "model to ask for, where the client takes it from here (claude, codex)")
	return c
}

// export is a line that the shell evaluates, whatever the value holds.
func export(shell string, v variable) (string, bool) {
	switch shell {
	case "sh":
		return "export " + v.Name + "='" + strings.ReplaceAll(v.Value, "'", `'\''`) + "'", true
	case "fish":
		return "set -gx " + v.Name + " '" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v.Value) + "'", true
	case "powershell":
		return "$env:" + v.Name + " = '" + strings.ReplaceAll(v.Value, "'", "''") + "'", true
	}
	return "", false
}
