package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/manifest"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

// noun is a section of the state with uniform verbs: list, get, create, set, delete.
type noun[T any] struct {
	one, many string // "tenant", "tenants": the path is /v1/MANY
	short     string
	example   string
	head      []string
	row       func(T) []string
	id        func(T) string
	setID     func(v *T, id string) // fills what the object does not say of itself yet
	fullID    func(string) string   // completes an abbreviated id; may be nil
	fields    []field[T]
	// secrets puts v into a document, has env: and file: references resolved, and takes it back.
	secrets func(v *T, resolve func(*manifest.Document) error) error // nil: it has none
}

// field is one flag of create and set. A list replaces what was there.
type field[T any] struct {
	name, usage string
	set         func(v *T, values []string) error
	split       bool // values may be separated by commas
}

func text[T any](name, usage string, at func(*T) *string) field[T] {
	return field[T]{name: name, usage: usage, set: func(v *T, s []string) error { *at(v) = s[len(s)-1]; return nil }}
}

func words[T any](name, usage string, at func(*T) *[]string) field[T] {
	return field[T]{name: name, usage: usage + " (repeat it, or separate with commas)", split: true, set: func(v *T, s []string) error {
		*at(v) = nil
		for _, x := range s {
			if x != "" {
				*at(v) = append(*at(v), x)
			}
		}
		return nil
	}}
}

func number[T any](name, usage string, at func(*T) *int64) field[T] {
	return field[T]{name: name, usage: usage, set: func(v *T, s []string) error {
		n, err := strconv.ParseInt(s[len(s)-1], 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is not a whole number", s[len(s)-1])
		}
		*at(v) = n
		return nil
	}}
}

func decimal[T any](name, usage string, at func(*T) *float64) field[T] {
	return field[T]{name: name, usage: usage, set: func(v *T, s []string) error {
		n, err := strconv.ParseFloat(s[len(s)-1], 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", s[len(s)-1])
		}
		*at(v) = n
		return nil
	}}
}

func period[T any](name, usage string, at func(*T) *state.Duration) field[T] {
	return field[T]{name: name, usage: usage, set: func(v *T, s []string) error {
		return at(v).UnmarshalText([]byte(s[len(s)-1]))
	}}
}

// pairs splits "a=1,b=2" and hands every pair on.
func pairs(s string, set func(name, value string) error) error {
	for _, p := range strings.Split(s, ",") {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=VALUE", p)
		}
		if err := set(strings.TrimSpace(name), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	return nil
}

// values are the flags of one create or set command.
type values struct {
	lists []*[]string
	file  string
}

func (n *noun[T]) flags(c *cobra.Command) *values {
	v := &values{}
	for _, f := range n.fields {
		list := new([]string)
		if f.split {
			c.Flags().StringSliceVar(list, f.name, nil, f.usage)
		} else {
			c.Flags().StringArrayVar(list, f.name, nil, f.usage)
		}
		v.lists = append(v.lists, list)
	}
	c.Flags().StringVarP(&v.file, "file", "f", "", "YAML or JSON of one "+n.one+", - for standard input; flags are laid over it")
	return v
}

// fill lays the file and the flags that were given over v.
func (n *noun[T]) fill(a *app, c *cobra.Command, in *values, v *T) error {
	if in.file != "" {
		b, err := a.readFile(c.Context(), in.file)
		if err != nil {
			return err
		}
		dec := yaml.NewDecoder(bytes.NewReader(b))
		dec.KnownFields(true)
		if err := dec.Decode(v); err != nil && !errors.Is(err, io.EOF) {
			return &failure{code: exitError, what: fileName(in.file), why: yamlError(err), next: "write one " + n.one + " with the fields of mesh.yaml: causeway " + n.one + " get ID -o yaml shows one"}
		}
	}
	for i, f := range n.fields {
		if !c.Flags().Changed(f.name) {
			continue
		}
		if err := f.set(v, *in.lists[i]); err != nil {
			return misuse(c, "--%s: %s", f.name, err)
		}
	}
	return nil
}

// yamlError says what is wrong with a file in its own terms, not in those of Go types.
func yamlError(err error) error {
	typed, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err
	}
	var all []string
	for _, text := range typed.Errors {
		if at, rest, ok := strings.Cut(text, ": field "); ok {
			name, _, _ := strings.Cut(rest, " ")
			text = at + ": unknown field " + name
		} else if i := strings.Index(text, " into "); i > 0 {
			text = text[:i] + " here"
		}
		all = append(all, text)
	}
	return errors.New(strings.Join(all, "\n"))
}

// fileName is a file as messages name it.
func fileName(name string) string {
	if name == "-" {
		return "stdin"
	}
	return name
}

// readFile reads a file, or standard input for "-".
func (a *app) readFile(ctx context.Context, name string) ([]byte, error) {
	if name == "-" {
		return a.readInput(ctx)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fail("read the file", err, "check the path given with -f; - reads standard input")
	}
	return b, nil
}

// readInput reads standard input to its end, or until ctx ends: a read itself cannot be interrupted.
func (a *app) readInput(ctx context.Context) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		b, err := io.ReadAll(io.LimitReader(a.In, manifest.MaxSize+1))
		done <- result{b, err}
	}()
	select {
	case r := <-done:
		return r.data, fail("read standard input", r.err, "")
	case <-ctx.Done():
		return nil, fail("read standard input", ctx.Err(), "")
	}
}

// sources resolves secret references on this machine.
func sources(t *target) manifest.Sources {
	return manifest.Sources{Env: os.LookupEnv, ReadFile: os.ReadFile, Dev: t.local}
}

func (n *noun[T]) path(id string) string { return "/v1/" + n.many + "/" + url.PathEscape(id) }

// command builds the noun with its verbs. The caller may add more.
func (n *noun[T]) command(a *app) *cobra.Command {
	c := &cobra.Command{Use: n.one, Short: n.short, Example: n.example}
	a.clientFlags(c)
	c.AddCommand(n.list(a), n.get(a), n.create(a), n.set(a), n.remove(a))
	if n.fullID == nil {
		return c
	}
	for _, sub := range c.Commands() {
		run := sub.RunE
		sub.RunE = func(c *cobra.Command, args []string) error {
			for i := range args {
				args[i] = n.fullID(args[i])
			}
			return run(c, args)
		}
	}
	return c
}

// a is the noun with its article.
func (n *noun[T]) a() string {
	if strings.ContainsRune("aeiou", rune(n.one[0])) {
		return "an " + n.one
	}
	return "a " + n.one
}

func (n *noun[T]) list(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List " + n.many, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			got, err := a.call(c.Context(), api.Call{Method: http.MethodGet, Path: "/v1/" + n.many})
			if err != nil {
				return fail("list "+n.many, err, "")
			}
			return showList(a, c, got, n.head, n.id, n.row)
		},
	}
}

// showList prints {"items": [...]}; in JSON and YAML, the items.
func showList[T any](a *app, c *cobra.Command, got api.Answer, head []string, ident func(T) string, row func(T) []string) error {
	var body struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := api.Decode(got, &body); err != nil {
		return err
	}
	items := make([]T, len(body.Items))
	out := answer{raw: []byte("[")}
	for i, raw := range body.Items {
		if err := json.Unmarshal(raw, &items[i]); err != nil {
			return fmt.Errorf("read answer of the coordinator: %w", err)
		}
		if i > 0 {
			out.raw = append(out.raw, ',')
		}
		out.raw = append(out.raw, raw...)
		out.names = append(out.names, ident(items[i]))
	}
	out.raw = append(out.raw, ']')
	out.table = func() table {
		t := table{head: head}
		for _, v := range items {
			t.add(row(v)...)
		}
		return t
	}
	return a.show(c, out)
}

// showOne prints one object.
func showOne[T any](a *app, c *cobra.Command, raw []byte, head []string, ident func(T) string, row func(T) []string) error {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("read answer of the coordinator: %w", err)
	}
	return a.show(c, answer{raw: raw, names: []string{ident(v)}, table: func() table {
		return table{head: head, rows: [][]string{row(v)}}
	}})
}

func (n *noun[T]) get(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show one " + n.one, Args: cobra.ExactArgs(1), ValidArgsFunction: a.complete(n.many),
		RunE: func(c *cobra.Command, args []string) error {
			got, err := a.call(c.Context(), api.Call{Method: http.MethodGet, Path: n.path(args[0])})
			if err != nil {
				return fail("get "+n.one+" "+args[0], err, n.listHint(err))
			}
			return showOne(a, c, got.Body, n.head, n.id, n.row)
		},
	}
}

// listHint is the next step after a "not found".
func (n *noun[T]) listHint(err error) string {
	if p, ok := errors.AsType[*api.Problem](err); ok && p.Code == "not_found" {
		return "causeway " + n.one + " list"
	}
	return ""
}

func (n *noun[T]) create(a *app) *cobra.Command {
	c := &cobra.Command{Use: "create ID", Short: "Create " + n.a() + "; one that exists is an error", Args: cobra.ExactArgs(1)}
	in := n.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var v T
		body, err := n.body(a, c, in, args[0], &v)
		if err != nil {
			return err
		}
		got, err := a.call(c.Context(), api.Call{Method: http.MethodPost, Path: "/v1/" + n.many, Body: body})
		if err != nil {
			return fail("create "+n.one+" "+args[0], err, n.existsHint(err, args[0]))
		}
		return showOne(a, c, got.Body, n.head, n.id, n.row)
	}
	return c
}

func (n *noun[T]) existsHint(err error, id string) string {
	if p, ok := errors.AsType[*api.Problem](err); ok && p.Code == "conflict" {
		return "causeway " + n.one + " get " + id + ", or change it with set"
	}
	return ""
}

// body reads flags and file into v and encodes it for sending.
func (n *noun[T]) body(a *app, c *cobra.Command, in *values, id string, v *T) ([]byte, error) {
	n.setID(v, id)
	if err := n.fill(a, c, in, v); err != nil {
		return nil, err
	}
	if n.id(*v) != id {
		return nil, misuse(c, "the fields are of %s %q, the argument is %q", n.one, n.id(*v), id)
	}
	if n.secrets != nil {
		t, err := a.target()
		if err != nil {
			return nil, err
		}
		if err := n.secrets(v, func(doc *manifest.Document) error { return doc.Resolve(sources(t)) }); err != nil {
			return nil, err
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", n.one, err)
	}
	return b, nil
}

func (n *noun[T]) set(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "set ID", Aliases: []string{"update"}, Short: "Change " + n.a() + ": fields that are not named stay as they are",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.complete(n.many),
	}
	in := n.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		what := "set " + n.one + " " + args[0]
		old, err := a.call(c.Context(), api.Call{Method: http.MethodGet, Path: n.path(args[0])})
		if err != nil {
			return fail(what, err, n.listHint(err))
		}
		var v T
		var version struct{ Version uint64 }
		if err := api.Decode(old, &v); err != nil {
			return fail(what, err, "")
		}
		if err := api.Decode(old, &version); err != nil {
			return fail(what, err, "")
		}
		body, err := n.body(a, c, in, args[0], &v)
		if err != nil {
			return err
		}
		// If-Match: somebody else's change in between is reported, not overwritten.
		got, err := a.call(c.Context(), api.Call{Method: http.MethodPut, Path: n.path(args[0]), Body: body, IfMatch: version.Version})
		if err != nil {
			return fail(what, err, "")
		}
		return showOne(a, c, got.Body, n.head, n.id, n.row)
	}
	return c
}

func (n *noun[T]) remove(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID...", Aliases: []string{"rm"}, Short: "Delete " + n.many, Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.complete(n.many),
		RunE: func(c *cobra.Command, args []string) error {
			for _, id := range args {
				if _, err := a.call(c.Context(), api.Call{Method: http.MethodDelete, Path: n.path(id)}); err != nil {
					return fail("delete "+n.one+" "+id, err, n.listHint(err))
				}
				a.note("%s %s deleted", n.one, id)
			}
			return nil
		},
	}
}

// complete offers the ids of a section to the shell.
func (a *app) complete(section string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		got, err := a.call(c.Context(), api.Call{Method: http.MethodGet, Path: "/v1/" + section, Query: url.Values{"consistency": {"stale"}}})
		var list struct {
			Items []struct {
				ID string `json:"id"`
			} `json:"items"`
		}
		if err != nil || api.Decode(got, &list) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for _, v := range list.Items {
			ids = append(ids, v.ID)
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
