package manifest

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// later are the sections of DESIGN.md 4.2 whose engine this version does not have.
var later = []string{"users", "plans", "budgets", "cache", "mask"}

// decoder fills structs from YAML nodes by their yaml tags, noting each line. It is stricter than the
// library's: unknown and repeated fields, nulls, aliases and doubtful scalars are problems, and all
// problems are found, not the first.
type decoder struct {
	doc      *Document
	problems Problems
}

func (d *decoder) add(n *yaml.Node, path, fix, format string, args ...any) {
	d.problems = append(d.problems, Problem{
		File: d.doc.Name, Line: n.Line, Path: path, What: fmt.Sprintf(format, args...), Fix: fix,
	})
}

func (d *decoder) document(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.add(n, "", "write sections such as `tenants:` at the left margin", "the document is no mapping")
		return
	}
	d.doc.lines[""] = n.Line
	d.value(n, "", reflect.ValueOf(&d.doc.Document).Elem())
	switch v, stated := d.doc.lines["version"]; {
	case !stated:
		d.add(n, "version", "write `version: 1`", "missing")
	case d.doc.Version != 1 && len(d.problems) == 0:
		d.add(&yaml.Node{Line: v}, "version", "write `version: 1`", "this build reads version 1, not %d", d.doc.Version)
	}
}

func (d *decoder) value(n *yaml.Node, path string, v reflect.Value) {
	if path != "" {
		d.doc.lines[path] = n.Line
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.add(n, path, "write the value out", "anchors and aliases are not supported")
		return
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		d.add(n, path, "give it a value, or [] for an empty list, or remove the line", "no value")
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if d.scalar(n, path, "text") {
			if err := u.UnmarshalText([]byte(n.Value)); err != nil {
				d.add(n, path, "", "%v", err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, path, v.Elem())
	case reflect.Struct:
		d.mapping(n, path, v)
	case reflect.Map:
		d.pairs(n, path, v)
	case reflect.Slice:
		d.sequence(n, path, v)
	default:
		d.plain(n, path, v)
	}
}

func (d *decoder) mapping(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.add(n, path, "write it as {field: value}", "want fields, found %s", kind(n))
		return
	}
	fields := fieldsOf(v.Type())
	d.keys(n, path, func(key, val *yaml.Node, at string) {
		i := slices.Index(fields, key.Value)
		switch {
		case i >= 0 && key.Value != "": // "" stands for the fields that a file cannot set
			d.value(val, at, v.Field(i))
		case path == "" && slices.Contains(later, key.Value):
			d.add(key, "", "remove the section", "not in this version: %s (line %d)", key.Value, key.Line)
		default:
			d.add(key, at, suggest(key.Value, fields), "unknown field")
		}
	})
}

// keys visits a mapping's pairs and refuses repeated and complex keys.
func (d *decoder) keys(n *yaml.Node, path string, visit func(key, val *yaml.Node, at string)) {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			d.add(key, path, "write plain field names", "a key that is no name")
			continue
		}
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		if line, twice := seen[key.Value]; twice {
			d.add(key, at, "keep one of them", "given twice, first on line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		visit(key, val, at)
	}
}

func (d *decoder) pairs(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.add(n, path, "write it as {name: value}", "want names and values, found %s", kind(n))
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Content)/2))
	d.keys(n, path, func(key, val *yaml.Node, at string) {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(val, at, e)
		v.SetMapIndex(reflect.ValueOf(key.Value), e)
	})
}

func (d *decoder) sequence(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.add(n, path, "write it as a list: [a, b]", "want a list, found %s", kind(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, e := range n.Content {
		d.value(e, indexed(path, i), v.Index(i))
	}
}

func (d *decoder) scalar(n *yaml.Node, path, want string) bool {
	if n.Kind != yaml.ScalarNode {
		d.add(n, path, "", "want %s, found %s", want, kind(n))
		return false
	}
	return true
}

func (d *decoder) plain(n *yaml.Node, path string, v reflect.Value) {
	tag := n.ShortTag()
	switch v.Kind() {
	case reflect.String:
		// Numbers are taken as they are written, so an unquoted 2.50 stays exact.
		if d.scalar(n, path, "text") {
			if tag != "!!str" && tag != "!!int" && tag != "!!float" {
				d.add(n, path, "put it in quotes", "want text, found %s", strings.TrimPrefix(tag, "!!"))
				return
			}
			v.SetString(n.Value)
		}
	case reflect.Int, reflect.Int64:
		if d.scalar(n, path, "a whole number") {
			i, err := strconv.ParseInt(n.Value, 10, 64)
			if err != nil || tag != "!!int" {
				d.add(n, path, "", "%q is no whole number", clip(n.Value))
				return
			}
			v.SetInt(i)
		}
	case reflect.Float64:
		if d.scalar(n, path, "a number") {
			f, err := strconv.ParseFloat(n.Value, 64)
			if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || tag != "!!int" && tag != "!!float" {
				d.add(n, path, "", "%q is no number", clip(n.Value))
				return
			}
			v.SetFloat(f)
		}
	case reflect.Bool:
		if d.scalar(n, path, "true or false") {
			if tag != "!!bool" {
				d.add(n, path, "write true or false", "%q is neither true nor false", clip(n.Value))
				return
			}
			v.SetBool(strings.EqualFold(n.Value, "true"))
		}
	default:
		panic("manifest: no rule for a field of kind " + v.Kind().String()) // TestEveryFieldParses
	}
}

// fieldsOf lists the yaml names of a struct by field index, "" for those that a file cannot set.
func fieldsOf(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); tag != "-" {
			names[i] = tag
		}
	}
	return names
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "fields"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

// clip keeps a value short enough for a message.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}

// suggest names the nearest field, else all of them.
func suggest(got string, fields []string) string {
	best, bestAt := 3, ""
	var all []string
	for _, f := range fields {
		if f == "" {
			continue
		}
		all = append(all, f)
		if n := distance(got, f); n < best {
			best, bestAt = n, f
		}
	}
	if bestAt != "" {
		return "did you mean " + bestAt + "?"
	}
	return "the fields are " + strings.Join(all, ", ")
}

// distance is the edit distance of two short names.
func distance(a, b string) int {
	if len(a) > 32 || len(b) > 32 {
		return 32
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, prev+cost)
			prev, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
