package fake

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// schemaDepth bounds recursion through $ref and nested objects.
const schemaDepth = 8

// example is a small document that satisfies a JSON Schema: every property present, the first enum
// value, the first alternative. Gemini's upper-case type names are understood too.
func example(schema jsontext.Value) jsontext.Value {
	if len(schema) == 0 {
		return jsontext.Value("{}")
	}
	return appendExample(nil, schema, schema, "", schemaDepth)
}

type node struct {
	typ, ref, format         string
	props, items, enum, cons jsontext.Value
	alt                      jsontext.Value
	min                      jsontext.Value
	minItems                 int64
}

func readNode(v jsontext.Value) (n node) {
	walk(v, func(r *reader, key []byte) {
		switch string(key) {
		case "type":
			if r.kind() == jsontext.KindBeginArray { // ["string","null"]
				r.array(func(i int) {
					if s := r.str(); i == 0 || n.typ == "null" {
						n.typ = s
					}
				})
			} else {
				n.typ = r.str()
			}
			n.typ = strings.ToLower(n.typ)
		case "$ref":
			n.ref = r.str()
		case "format":
			n.format = r.str()
		case "properties":
			n.props = r.raw()
		case "items":
			n.items = r.raw()
		case "enum":
			n.enum = r.raw()
		case "const":
			n.cons = r.raw()
		case "minimum":
			n.min = r.raw()
		case "minItems":
			if r.kind() == jsontext.KindNumber {
				n.minItems = r.int()
			} else {
				r.skip()
			}
		case "anyOf", "oneOf", "allOf":
			n.alt = r.raw()
		default:
			r.skip()
		}
	})
	return n
}

func appendExample(b, root, v jsontext.Value, name string, depth int) jsontext.Value {
	n := readNode(v)
	if depth == 0 {
		return append(b, "null"...)
	}
	switch {
	case len(n.cons) > 0:
		return append(b, n.cons...)
	case n.ref != "":
		return appendExample(b, root, resolve(root, n.ref), name, depth-1)
	case n.enum.Kind() == jsontext.KindBeginArray:
		return append(b, first(n.enum)...)
	case n.alt.Kind() == jsontext.KindBeginArray && n.typ == "":
		return appendExample(b, root, first(n.alt), name, depth-1)
	}
	switch n.typ {
	case "string":
		return appendString(b, exampleText(name, n.format))
	case "integer", "number":
		if n.min.Kind() == jsontext.KindNumber {
			return append(b, n.min...)
		}
		if n.typ == "number" {
			return append(b, "1.5"...)
		}
		return append(b, "42"...)
	case "boolean":
		return append(b, "true"...)
	case "null":
		return append(b, "null"...)
	case "array":
		b = append(b, '[')
		for i := range min(max(n.minItems, 1), 8) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendExample(b, root, n.items, name, depth-1)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	at := len(b)
	walk(n.props, func(r *reader, key []byte) {
		k := string(key)
		v := r.raw()
		if len(b) > at {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), k...), '"', ':')
		b = appendExample(b, root, v, k, depth-1)
	})
	return append(b, '}')
}

// resolve follows a local reference such as #/$defs/Dog.
func resolve(root jsontext.Value, ref string) jsontext.Value {
	v := root
	for part := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(ref, "#"), "/"), "/") {
		if part == "" {
			continue
		}
		var found jsontext.Value
		walk(v, func(r *reader, key []byte) {
			if string(key) == part {
				found = r.raw()
			} else {
				r.skip()
			}
		})
		v = found
	}
	return v
}

func first(array jsontext.Value) jsontext.Value {
	var out jsontext.Value
	_ = readObject(append(append(jsontext.Value(`{"a":`), array...), '}'), func(r *reader, _ []byte) {
		r.array(func(i int) {
			if i == 0 {
				out = r.raw()
			} else {
				r.skip()
			}
		})
	})
	if out == nil {
		return jsontext.Value("null")
	}
	return out
}

func exampleText(name, format string) string {
	switch format {
	case "date-time":
		return "2026-11-22T00:00:00Z"
	case "date":
		return "2026-11-22"
	case "email":
		return "someone@example.com"
	case "uri":
		return "https://example.com/"
	}
	switch low := strings.ToLower(name); {
	case strings.Contains(low, "city"), strings.Contains(low, "location"):
		return "Paris"
	case strings.Contains(low, "country"):
		return "France"
	case name != "":
		return name + " example"
	}
	return "example"
}

// appendString appends s as a JSON string with minimal escapes.
func appendString(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil { // invalid UTF-8 has been replaced
		return b
	}
	return b
}
