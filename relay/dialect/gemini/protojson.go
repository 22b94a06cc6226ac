package gemini

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Readers of proto-JSON, where a field has two spellings (camelCase, snake_case), null means absent,
// a number may be a string, and one element may stand for a list. The bodies they see have passed
// Peek; at is the JSON pointer of what is read, for faults.

// fields reads the object v: out[i] gets the member that names[i] spells in camelCase, the rest is
// returned in order, as spelled.
func fields(v []byte, at string, names []string, out []llm.Raw) (llm.Extra, error) {
	if absent(v) {
		return nil, nil
	}
	if v[0] != '{' {
		return nil, bad(at, "an object")
	}
	var extra llm.Extra
	for c := dialect.Walk(v); c.Next(); {
		i := find(names, c.Name)
		switch {
		case absent(c.Value):
		case i < 0:
			extra = append(extra, llm.Member{Name: string(c.Name), Value: c.Value})
		case out[i] != nil:
			return nil, bad(dialect.Child(at, names[i]), "given in one spelling only")
		default:
			out[i] = c.Value
		}
	}
	return extra, nil
}

func find(names []string, name []byte) int {
	if bytes.IndexByte(name, '_') > 0 {
		name = camel(name)
	}
	for i, n := range names {
		if n == string(name) {
			return i
		}
	}
	return -1
}

// camel is the JSON name of a proto field name.
func camel(name []byte) []byte {
	out := make([]byte, 0, len(name))
	up := false
	for i, c := range name {
		switch {
		case c == '_' && i > 0:
			up = true
		case up && c >= 'a' && c <= 'z':
			out, up = append(out, c-'a'+'A'), false
		default:
			out, up = append(out, c), false
		}
	}
	return out
}

func absent(v []byte) bool { return len(v) == 0 || v[0] == 'n' }

func bad(at, want string) error {
	f := fault.New(fault.Malformed, "%s must be %s", place(at), want)
	f.Param = strings.TrimPrefix(at, "/")
	return f
}

func place(at string) string {
	if at == "" {
		return "the body"
	}
	return at
}

func str(v []byte, at string) (string, error) {
	switch {
	case absent(v):
		return "", nil
	case v[0] != '"':
		return "", bad(at, "a string")
	}
	return dialect.Unquote(v), nil
}

func boolean(v []byte, at string) (llm.Opt[bool], error) {
	switch {
	case absent(v):
		return llm.Opt[bool]{}, nil
	case v[0] == 't' || v[0] == 'f':
		return llm.Some(v[0] == 't'), nil
	}
	return llm.Opt[bool]{}, bad(at, "true or false")
}

func whole(v []byte, at string) (llm.Opt[int64], error) {
	if absent(v) {
		return llm.Opt[int64]{}, nil
	}
	if len(v) > 2 && v[0] == '"' {
		v = []byte(dialect.Unquote(v))
	}
	n, ok := dialect.Int(v)
	if !ok {
		return llm.Opt[int64]{}, bad(at, "a whole number")
	}
	return llm.Some(n), nil
}

func float(v []byte, at string) (llm.Opt[float64], error) {
	if absent(v) {
		return llm.Opt[float64]{}, nil
	}
	if len(v) > 2 && v[0] == '"' {
		v = []byte(dialect.Unquote(v))
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || f != f || f > 1e300 || f < -1e300 { // NaN and infinity are no JSON numbers
		return llm.Opt[float64]{}, bad(at, "a number")
	}
	return llm.Some(f), nil
}

func list(v []byte, at string, each func(v []byte, at string) error) error {
	switch {
	case absent(v):
		return nil
	case v[0] == '{' || v[0] == '"':
		return each(v, at)
	case v[0] != '[':
		return bad(at, "a list")
	}
	i := 0
	for c := dialect.Walk(v); c.Next(); i++ {
		if err := each(c.Value, dialect.Index(at, i)); err != nil {
			return err
		}
	}
	return nil
}

func texts(v []byte, at string) ([]string, error) {
	var out []string
	err := list(v, at, func(v []byte, at string) error {
		if absent(v) || v[0] != '"' {
			return bad(at, "a string")
		}
		out = append(out, dialect.Unquote(v))
		return nil
	})
	return out, err
}

// object reports whether text is one JSON object that a strict parser takes: no duplicate members, no
// invalid UTF-8.
func object(text string) bool {
	t := strings.TrimLeft(text, " \t\r\n")
	return t != "" && t[0] == '{' && jsontext.Value(text).IsValid()
}

// tidy makes text of a provider's JSON value: the vendor's line breaks and indents are not the
// model's, and would be tokens of a history that holds the text. It copies.
func tidy(v []byte) string { return strings.ToValidUTF8(string(line(v)), "\uFFFD") }

// line is v without line breaks, which would end a server-sent event. It may alias v.
func line(v []byte) []byte {
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 {
		return v
	}
	c := jsontext.Value(bytes.Clone(v))
	if c.Compact(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return v
	}
	return c
}
