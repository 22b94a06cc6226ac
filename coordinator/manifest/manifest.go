// Package manifest reads mesh.yaml: strict parsing with every problem and its line, resolution of
// secret references, and the difference that applying it would make.
package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/causeway-mesh/causeway/coordinator/state"
)

// MaxSize bounds a file, in bytes.
const MaxSize = 4 << 20

// Problem is one fault of a file: where, what, and how to fix it.
type Problem struct {
	File string
	Line int    // 0 = unknown
	Path string // "providers[0].dialects[1]"; "" = the file as a whole
	What string
	Fix  string
}

// Error renders "FILE:LINE: PATH: WHAT; FIX". It never holds a secret.
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
	}
	if p.Line > 0 {
		b.WriteString(strconv.Itoa(p.Line) + ":")
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.What)
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	return b.String()
}

// Problems is every fault found, in order of line.
type Problems []Problem

// Error renders one problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// err sorts p and returns nil, not an empty list, when there is none.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return p
}

// Document is a parsed file. The embedded document's nil sections are absent from the file.
type Document struct {
	state.Document
	Name  string
	lines map[string]int // path -> line
}

// Parse reads one YAML (or JSON) document and checks all that needs neither the environment nor the
// cluster. The error is Problems. A section of another version is refused: accepting and ignoring it
// would promise what nobody keeps.
func Parse(name string, data []byte) (*Document, error) {
	fail := func(line int, what, fix string) (*Document, error) {
		return nil, Problems{{File: name, Line: line, What: what, Fix: fix}}
	}
	if len(data) > MaxSize {
		return fail(0, fmt.Sprintf("%d bytes", len(data)), fmt.Sprintf("a document may have at most %d; split it over several applies", MaxSize))
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF):
		return fail(1, "the document is empty", "start with `version: 1`")
	case err != nil:
		line, what := syntax(err)
		return fail(line, what, "")
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return fail(max(more.Line, 1), "a second document follows", "keep one document a file")
	}
	doc := &Document{Name: name, lines: make(map[string]int)}
	d := &decoder{doc: doc}
	d.document(root.Content[0])
	if len(d.problems) > 0 {
		return nil, d.problems.err()
	}
	if err := doc.place(Check(doc.Document)).err(); err != nil {
		return nil, err
	}
	return doc, nil
}

// syntax splits yaml's own message into a line and the rest. The library counts lines from 0 in what
// its parser says and from 1 in what its scanner says, and leaves out line 0.
func syntax(err error) (line int, what string) {
	line, what = 1, strings.TrimPrefix(err.Error(), "yaml: ")
	rest, numbered := strings.CutPrefix(what, "line ")
	if n, msg, ok := strings.Cut(rest, ": "); numbered && ok {
		if i, err := strconv.Atoi(n); err == nil {
			line, what = i, msg
			if slices.Contains(parserSays, msg) {
				line++
			}
		}
	}
	return line, "not YAML: " + what
}

var parserSays = []string{
	"did not find expected ',' or ']'", "did not find expected ',' or '}'", "did not find expected key", "did not find expected '-' indicator",
	"did not find expected node content", "did not find expected <document start>",
}

// Line finds where path was written, or the nearest thing around it; 0 when nothing is known. The
// Field of a state.Error from applying the document is such a path.
func (d *Document) Line(path string) int {
	for path != "" {
		if line, ok := d.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return d.lines[""]
}

// Explain places an error of applying d in the file.
func (d *Document) Explain(e *state.Error) Problem {
	return d.place(Problems{{Path: e.Field, What: e.Message}})[0]
}

func (d *Document) place(p Problems) Problems {
	for i := range p {
		p[i].File, p[i].Line = d.Name, d.Line(p[i].Path)
	}
	return p
}

// JSON is what `apply` sends: the resolved document, secrets in clear. It parses back with Parse.
func (d *Document) JSON() ([]byte, error) {
	b, err := json.Marshal(d.Document)
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	return b, nil
}
