package gemini

import (
	"bytes"
	"slices"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// jsonSchema translates the vendor's OpenAPI subset (parameters, responseSchema) to JSON Schema with
// the same meaning. The other direction is never needed: the vendor takes JSON Schema as it is in
// parametersJsonSchema and responseJsonSchema.
func jsonSchema(v []byte, at string) (llm.Raw, error) {
	w := dialect.NewWriter(make([]byte, 0, len(v)+64))
	if err := writeSchema(&w, v, at); err != nil {
		return nil, err
	}
	return w.Take(), nil
}

var schemaNames = []string{"type", "nullable", "properties", "propertyOrdering", "items", "anyOf", "enum", "example", "format"}

const (
	schemaType = iota
	schemaNullable
	schemaProperties
	schemaOrdering
	schemaItems
	schemaAnyOf
	schemaEnum
	schemaExample
	schemaFormat
)

func writeSchema(w *dialect.Writer, v []byte, at string) error {
	var f [9]llm.Raw
	rest, err := fields(v, at, schemaNames, f[:])
	if err != nil {
		return err
	}
	nullable, err := boolean(f[schemaNullable], dialect.Child(at, "nullable"))
	if err != nil {
		return err
	}
	null := nullable.Is(true)
	w.Open('{')
	if err := writeType(w, f[schemaType], dialect.Child(at, "type"), null); err != nil {
		return err
	}
	for _, m := range rest {
		if err := writeKeyword(w, m, at); err != nil {
			return err
		}
	}
	// format: "enum" is a marker of the vendor's, not a format.
	if format := f[schemaFormat]; format != nil && string(format) != `"enum"` {
		w.RawMember("format", format)
	}
	if f[schemaExample] != nil {
		w.Name("examples")
		w.Open('[')
		w.Raw(f[schemaExample])
		w.Close(']')
	}
	if enum := f[schemaEnum]; enum != nil {
		w.Name("enum")
		writeItems(w, enum, null)
	}
	if items := f[schemaItems]; items != nil {
		w.Name("items")
		if err := writeSchema(w, items, dialect.Child(at, "items")); err != nil {
			return err
		}
	}
	if anyOf := f[schemaAnyOf]; anyOf != nil {
		w.Name("anyOf")
		w.Open('[')
		err := list(anyOf, dialect.Child(at, "anyOf"), func(v []byte, at string) error { return writeSchema(w, v, at) })
		if err != nil {
			return err
		}
		if null && f[schemaType] == nil {
			w.Raw([]byte(`{"type":"null"}`))
		}
		w.Close(']')
	}
	if err := writeProperties(w, f[schemaProperties], f[schemaOrdering], at); err != nil {
		return err
	}
	w.Close('}')
	return nil
}

func writeType(w *dialect.Writer, v []byte, at string, null bool) error {
	if absent(v) {
		return nil
	}
	if v[0] == '[' { // JSON Schema in the wrong field: its meaning is plain
		w.RawMember("type", v)
		return nil
	}
	t, err := str(v, at)
	if err != nil || t == "TYPE_UNSPECIFIED" {
		return err
	}
	w.Name("type")
	t = string(bytes.ToLower([]byte(t)))
	if !null {
		w.Str(t)
		return nil
	}
	w.Open('[')
	w.Str(t)
	w.Str("null")
	w.Close(']')
	return nil
}

func writeItems(w *dialect.Writer, v []byte, null bool) {
	w.Open('[')
	for c := dialect.Walk(v); c.Next(); {
		w.Raw(c.Value)
	}
	if null {
		w.Null()
	}
	w.Close(']')
}

// writeKeyword writes a keyword that both schema languages have. int64 fields may be strings in
// proto-JSON, which JSON Schema does not take.
func writeKeyword(w *dialect.Writer, m llm.Member, at string) error {
	name := m.Name
	if c := camel([]byte(name)); bytes.IndexByte([]byte(name), '_') > 0 {
		name = string(c)
	}
	switch name {
	case "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties":
		n, err := whole(m.Value, dialect.Child(at, m.Name))
		if err != nil {
			return err
		}
		w.IntMember(name, n.V)
	case "defs":
		w.Name("$defs")
		w.Open('{')
		for c := dialect.Walk(m.Value); c.Next(); {
			w.Key(string(c.Name))
			if err := writeSchema(w, c.Value, dialect.Child(dialect.Child(at, m.Name), string(c.Name))); err != nil {
				return err
			}
		}
		w.Close('}')
	case "ref":
		w.RawMember("$ref", m.Value)
	default:
		w.Key(name)
		w.Raw(m.Value)
	}
	return nil
}

// writeProperties keeps propertyOrdering as the order of the members: there is no keyword for it.
func writeProperties(w *dialect.Writer, v, ordering []byte, at string) error {
	if absent(v) {
		return nil
	}
	if v[0] != '{' {
		return bad(dialect.Child(at, "properties"), "an object")
	}
	order, err := texts(ordering, dialect.Child(at, "propertyOrdering"))
	if err != nil {
		return err
	}
	type property struct {
		name  string
		value []byte
		rank  int
	}
	var ps []property
	for c := dialect.Walk(v); c.Next(); {
		p := property{string(c.Name), c.Value, slices.Index(order, string(c.Name))}
		if p.rank < 0 {
			p.rank = len(order)
		}
		ps = append(ps, p)
	}
	slices.SortStableFunc(ps, func(a, b property) int { return a.rank - b.rank })
	w.Name("properties")
	w.Open('{')
	for _, p := range ps {
		w.Key(p.name)
		if err := writeSchema(w, p.value, dialect.Child(dialect.Child(at, "properties"), p.name)); err != nil {
			return err
		}
	}
	w.Close('}')
	return nil
}

// exact reports whether every whole number in a JSON text survives the vendor's Struct, which holds
// doubles: longer ones (ids) would change silently.
func exact(text string) bool {
	digits, quoted, fraction := 0, false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '.':
			fraction = true
		case c < '0' || c > '9':
			digits, fraction = 0, false
		case !fraction:
			if digits++; digits > 15 {
				return false
			}
		}
	}
	return true
}
