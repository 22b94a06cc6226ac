package anthropic

import (
	"bytes"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Structured output and strict tools take a part of JSON Schema; what is outside is a 400. As the
// vendor's SDKs do before sending, objects are closed and other keywords move into the description,
// where the model still reads them (anthropic-sdk-go v1.84.0, schemautil.go, as documentation of the
// limits).

const maxSchemaDepth = 64

// fitSchema is s within the vendor's part of JSON Schema; changed is false when it was already.
func fitSchema(s llm.Raw) (out llm.Raw, changed bool) {
	f := schemaFitter{w: dialect.NewWriter(make([]byte, 0, len(s)+64))}
	f.schema(s, 0)
	if !f.changed {
		return s, false
	}
	return llm.Raw(f.w.Take()), true
}

type schemaFitter struct {
	w       dialect.Writer
	changed bool
}

// keywords that stay, with their values as they are.
var plainKeywords = []string{"type", "title", "enum", "const", "required", "pattern"}

var stringFormats = []string{"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}

// node is what the rules must know of a schema before it is written.
type node struct {
	object, properties, anyOf, additional, ref bool
	description                                []byte
}

func look(v []byte) (n node) {
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "type":
			n.object = str(c.Value) == "object" || bytes.Contains(c.Value, []byte(`"object"`))
		case "properties":
			n.properties = isObject(c.Value)
		case "anyOf":
			n.anyOf = true
		case "additionalProperties":
			n.additional = true
		case "$ref":
			n.ref = true
		case "description":
			n.description = c.Value
		}
	}
	n.object = n.object || n.properties
	return n
}

func (f *schemaFitter) schema(v []byte, depth int) {
	if !isObject(v) || depth > maxSchemaDepth {
		f.w.Raw(v) // true, false, or the vendor's to refuse
		return
	}
	n := look(v)
	var moved []string
	move := func(name, value []byte) {
		f.changed = true
		moved = append(moved, string(name)+": "+string(value))
	}
	f.w.Open('{')
	for c := dialect.Walk(v); c.Next(); {
		name := string(c.Name)
		switch {
		case name == "$schema" || name == "$id" || name == "$comment":
			f.changed = true // says nothing to the model
		case name == "$ref":
			f.w.Name(name)
			f.w.Raw(f.ref(c.Value))
		case name == "$defs" || name == "definitions":
			f.changed = f.changed || name != "$defs"
			f.w.Name("$defs")
			f.each(c.Value, depth)
		case n.ref:
			f.changed = true // nothing may stand beside $ref
		case name == "description": // last, with what moves there
		case slices.Contains(plainKeywords, name):
			f.w.Name(name)
			f.w.Raw(c.Value)
		case name == "properties":
			f.w.Name(name)
			f.each(c.Value, depth)
		case name == "items" && isObject(c.Value):
			f.w.Name(name)
			f.schema(c.Value, depth+1)
		case name == "anyOf" || name == "allOf" || name == "oneOf" && !n.anyOf:
			if name == "oneOf" {
				name, f.changed = "anyOf", true
			}
			f.w.Name(name)
			f.list(c.Value, depth)
		case name == "additionalProperties":
			f.additional(c.Value, n, depth)
		case name == "format" && slices.Contains(stringFormats, str(c.Value)), name == "minItems" && (string(c.Value) == "0" || string(c.Value) == "1"):
			f.w.Name(name)
			f.w.Raw(c.Value)
		default:
			move(c.Name, c.Value)
		}
	}
	if n.object && !n.additional && !n.ref {
		f.changed = true
		f.w.BoolMember("additionalProperties", false)
	}
	if text := str(n.description); (text != "" || moved != nil) && !n.ref {
		if moved != nil {
			if text != "" {
				text += "\n\n"
			}
			text += "{" + strings.Join(moved, ", ") + "}"
		}
		f.w.StrMember("description", text)
	}
	f.w.Close('}')
}

// additional closes an object that has properties; one without is a dictionary and stays one.
func (f *schemaFitter) additional(v []byte, n node, depth int) {
	f.w.Name("additionalProperties")
	if n.properties || !isObject(v) {
		f.changed = f.changed || string(v) != "false"
		f.w.Bool(false)
		return
	}
	f.schema(v, depth+1)
}

func (f *schemaFitter) each(v []byte, depth int) {
	if !isObject(v) {
		f.w.Raw(v)
		return
	}
	f.w.Open('{')
	for c := dialect.Walk(v); c.Next(); {
		f.w.Key(string(c.Name))
		f.schema(c.Value, depth+1)
	}
	f.w.Close('}')
}

func (f *schemaFitter) list(v []byte, depth int) {
	if !isArray(v) {
		f.w.Raw(v)
		return
	}
	f.w.Open('[')
	for c := dialect.Walk(v); c.Next(); {
		f.schema(c.Value, depth+1)
	}
	f.w.Close(']')
}

// ref renames the older word for definitions.
func (f *schemaFitter) ref(v []byte) []byte {
	if s := str(v); strings.HasPrefix(s, "#/definitions/") {
		f.changed = true
		return quoted("#/$defs/" + strings.TrimPrefix(s, "#/definitions/"))
	}
	return v
}
