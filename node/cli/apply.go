package cli

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/manifest"
)

func (a *app) apply() *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use: "apply -f FILE", Short: "Make the mesh match a file, as one change: all or nothing", Args: cobra.NoArgs,
		Long: `Apply upserts what the file names. Without --prune nothing is ever deleted; with it, what the file's
own sections leave out is deleted, after it was shown. "env:NAME" and "file:PATH" are resolved here.`,
		Example: "  causeway apply -f mesh.yaml --dry-run\n  causeway apply -f mesh.yaml --prune",
		RunE:    func(c *cobra.Command, _ []string) error { return a.applyFile(c, o) },
	}
	f := c.Flags()
	f.StringVarP(&o.file, "file", "f", "", "mesh.yaml, - for standard input")
	f.BoolVar(&o.dry, "dry-run", false, "show the changes and stop")
	f.BoolVar(&o.prune, "prune", false, "delete what the file's sections leave out")
	f.BoolVarP(&o.yes, "yes", "y", false, "confirm that keys end")
	a.clientFlags(c)
	return c
}

type applyOptions struct {
	file            string
	dry, prune, yes bool
}

func (a *app) applyFile(c *cobra.Command, o applyOptions) error {
	if o.file == "" {
		return misuse(c, "name a file: -f mesh.yaml")
	}
	b, err := a.readFile(c.Context(), o.file)
	if err != nil {
		return err
	}
	name := fileName(o.file)
	doc, err := manifest.Parse(name, b)
	if err != nil {
		return err
	}
	client, t, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := doc.Resolve(sources(t)); err != nil {
		return err
	}
	body, err := doc.JSON()
	if err != nil {
		return err
	}
	post := func(dry bool) (api.Answer, api.ApplyAnswer, error) {
		q := url.Values{}
		for k, on := range map[string]bool{"dry_run": dry, "prune": o.prune, "yes": o.yes} {
			if on {
				q.Set(k, "1")
			}
		}
		var out api.ApplyAnswer
		got, err := client.Do(c.Context(), api.Call{Method: http.MethodPost, Path: "/v1/apply", Query: q, Body: body})
		if err != nil {
			return got, out, fail("apply "+name, place(doc, t.unreached(err)), "")
		}
		return got, out, api.Decode(got, &out)
	}
	if o.prune && !o.dry {
		_, plan, err := post(true)
		if err != nil {
			return err
		}
		for _, ch := range plan.Changes {
			if ch.Action == "delete" {
				a.note("- %s/%s will be deleted", ch.Section, ch.ID)
			}
		}
		if len(plan.NeedsYes) > 0 && !o.yes {
			return &failure{
				code: exitUsage, what: "apply " + name, why: errors.New("this ends " + strings.Join(plan.NeedsYes, ", ") + " for good; nothing was changed"),
				next: "repeat it with --yes if that is meant",
			}
		}
	}
	got, out, err := post(o.dry)
	if err != nil {
		return err
	}
	format, err := a.format(c)
	switch {
	case err != nil:
		return err
	case format == "table":
		if err := manifest.Write(a.Out, out.Changes); err != nil {
			return err
		}
	default:
		var names []string
		for _, ch := range out.Changes {
			if ch.Action != "same" {
				names = append(names, strings.TrimSuffix(ch.Section+"/"+ch.ID, "/"))
			}
		}
		if err := a.show(c, answer{raw: got.Body, names: names}); err != nil {
			return err
		}
	}
	if o.dry {
		a.note("dry run: nothing was changed")
		if len(out.NeedsYes) > 0 {
			a.note("applying it ends %s: it needs --yes", strings.Join(out.NeedsYes, ", "))
		}
	}
	return nil
}

// place turns the places of a refusal into lines of the file that the user wrote.
func place(doc *manifest.Document, err error) error {
	p, ok := errors.AsType[*api.Problem](err)
	if !ok {
		return err
	}
	out := *p
	out.Problems = slices.Clone(p.Problems)
	for i := range out.Problems {
		out.Problems[i].Line = doc.Line(out.Problems[i].Field)
	}
	return &out
}
