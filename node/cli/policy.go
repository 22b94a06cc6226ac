package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/manifest"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "The residency rules in force"}
	a.clientFlags(c)
	c.AddCommand(
		&cobra.Command{
			Use: "get", Short: "Show the policy", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				got, err := a.call(c.Context(), api.Call{Method: http.MethodGet, Path: "/v1/policy"})
				if err != nil {
					return fail("get the policy", err, "")
				}
				return a.showPolicy(c, got.Body)
			},
		},
		a.policySet(),
	)
	return c
}

func (a *app) showPolicy(c *cobra.Command, raw []byte) error {
	var p state.Policy
	if err := json.Unmarshal(raw, &p); err != nil {
		return fmt.Errorf("read answer of the coordinator: %w", err)
	}
	out := answer{raw: raw, table: func() table {
		t := table{head: []string{"RULE", "HOME", "CLASS", "TENANT", "PURPOSE", "MODEL", "ALLOW", "APPROVAL"}}
		for _, r := range p.Rules {
			approval := ""
			if r.Approval {
				approval = "outside home"
			}
			w := r.When
			t.add(r.ID, any0(w.Home), any0(w.Class), any0(w.Tenant), any0(w.Purpose), any0(w.Model), join(r.Allow), approval)
		}
		t.add("otherwise", "", "", "", "", "", or(p.Default, "allow"), "")
		return t
	}}
	for _, r := range p.Rules {
		out.names = append(out.names, r.ID)
	}
	if err := a.show(c, out); err != nil {
		return err
	}
	if a.global.output == "table" {
		age := "24h0m0s"
		if p.MaxAge > 0 {
			age = p.MaxAge.D().String()
		}
		a.note("revision %s, restricted classes are refused %s after edges last heard of it", strconv.FormatUint(p.Revision, 10), age)
	}
	return nil
}

// any0 shows an empty condition as what it means.
func any0(list []string) string { return or(join(list), "*") }

func (a *app) policySet() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "set -f FILE", Short: "Replace the policy", Args: cobra.NoArgs,
		Long:    "Replace the policy by that of a file: a mesh.yaml with a policy section and no other, or the section's content alone.",
		Example: "  causeway policy set -f policy.yaml\n  causeway policy get -o yaml | sed s/allow/deny/ | causeway policy set -f -",
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return misuse(c, "a policy comes from a file: -f policy.yaml")
			}
			b, err := a.readFile(c.Context(), file)
			if err != nil {
				return err
			}
			p, err := readPolicy(fileName(file), b)
			if err != nil {
				return err
			}
			body, err := json.Marshal(p)
			if err != nil {
				return fmt.Errorf("encode policy: %w", err)
			}
			got, err := a.call(c.Context(), api.Call{Method: http.MethodPut, Path: "/v1/policy", Body: body})
			if err != nil {
				return fail("set the policy", err, "")
			}
			return a.showPolicy(c, got.Body)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the file, - for standard input")
	return c
}

// readPolicy takes a mesh.yaml that holds only a policy, or what stands under its `policy:`.
func readPolicy(name string, b []byte) (*state.Policy, error) {
	fix := "correct the file; causeway policy get -o yaml shows the form"
	var probe struct {
		Policy *yaml.Node `yaml:"policy"`
	}
	if err := yaml.Unmarshal(b, &probe); err == nil && probe.Policy != nil {
		doc, err := manifest.Parse(name, b)
		if err != nil {
			return nil, err
		}
		only := state.Document{Version: doc.Version, Policy: doc.Policy}
		if x, y := mustJSON(only), mustJSON(doc.Document); !bytes.Equal(x, y) {
			return nil, &failure{code: exitUsage, what: name, why: errors.New("it has other sections than policy"), next: "causeway apply -f FILE"}
		}
		return doc.Policy, nil
	}
	p := new(state.Policy)
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	// What `policy get` prints can be set again: the revision is not the file's to say.
	var whole struct {
		state.Policy `yaml:",inline"`
		Revision     uint64 `yaml:"revision"`
	}
	if err := dec.Decode(&whole); errors.Is(err, io.EOF) {
		return nil, &failure{code: exitError, what: name, why: errors.New("the file is empty"), next: fix}
	} else if err != nil {
		return nil, &failure{code: exitError, what: name, why: yamlError(err), next: fix}
	}
	*p = whole.Policy
	if problems := manifest.Check(state.Document{Policy: p}); len(problems) > 0 {
		for i := range problems {
			problems[i].File = name
		}
		return nil, problems
	}
	return p, nil
}

func mustJSON(d state.Document) []byte {
	b, err := json.Marshal(d)
	if err != nil { // plain records
		return nil
	}
	return b
}
