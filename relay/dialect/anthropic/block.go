package anthropic

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// block is one content block as it is on the wire, in a request, an answer or a stream. The values are
// raw JSON, nil when absent.
type block struct {
	raw                                      []byte
	kind                                     string
	text, thinking, signature, data          []byte
	id, name, input                          []byte
	toolUse, content, isError                []byte
	source, title, context, citations, cache []byte
	extra                                    llm.Extra
}

// readBlock cuts a block into its members; false when v is no object.
func readBlock(v []byte) (block, bool) {
	b := block{raw: v}
	if len(v) == 0 || v[0] != '{' {
		return b, false
	}
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "type":
			b.kind = blockType(c.Value)
		case "text":
			b.text = c.Value
		case "thinking":
			b.thinking = c.Value
		case "signature":
			b.signature = c.Value
		case "data":
			b.data = c.Value
		case "id":
			b.id = c.Value
		case "name":
			b.name = c.Value
		case "input":
			b.input = c.Value
		case "tool_use_id":
			b.toolUse = c.Value
		case "content":
			b.content = c.Value
		case "is_error":
			b.isError = c.Value
		case "source":
			b.source = c.Value
		case "title":
			b.title = c.Value
		case "context":
			b.context = c.Value
		case "citations":
			b.citations = c.Value
		case "cache_control":
			b.cache = c.Value
		default:
			if saysSomething(c.Name, c.Value) {
				b.extra = append(b.extra, llm.Member{Name: string(c.Name), Value: llm.Raw(c.Value)})
			}
		}
	}
	return b, true
}

// blockType reads a type member; the usual ones do not allocate.
func blockType(v []byte) string {
	switch string(v) {
	case `"text"`:
		return "text"
	case `"tool_use"`:
		return "tool_use"
	case `"tool_result"`:
		return "tool_result"
	case `"thinking"`:
		return "thinking"
	case `"image"`:
		return "image"
	}
	if len(v) == 0 || v[0] != '"' {
		return ""
	}
	return dialect.Unquote(v)
}

// saysSomething is false for members that only spell out a default: SDKs echo them in every call.
func saysSomething(name, v []byte) bool {
	switch {
	case !dialect.Filled(v):
		return false
	case string(name) == "caller":
		c, ok := readBlock(v)
		return !ok || c.kind != "direct"
	case string(name) == "allowed_callers":
		n, direct := 0, 0
		for c := dialect.Walk(v); c.Next(); n++ {
			if string(c.Value) == `"direct"` {
				direct++
			}
		}
		return n != 1 || direct != 1
	}
	return true
}

// str is the text of a string member; anything else is "".
func str(v []byte) string {
	if len(v) == 0 || v[0] != '"' {
		return ""
	}
	return dialect.Unquote(v)
}

// isText, isObject and isArray tell the kind of a present value.
func isText(v []byte) bool   { return len(v) > 0 && v[0] == '"' }
func isObject(v []byte) bool { return len(v) > 0 && v[0] == '{' }
func isArray(v []byte) bool  { return len(v) > 0 && v[0] == '[' }

// unset reports a member that is absent or null.
func unset(v []byte) bool { return len(v) == 0 || v[0] == 'n' }

// malformed is the fault for a client's body; at is a JSON pointer.
func malformed(at, why string) error {
	f := fault.New(fault.Malformed, "%s: %s", trim(at), why)
	f.Param = trim(at)
	return f
}

func trim(at string) string {
	if len(at) > 0 && at[0] == '/' {
		return at[1:]
	}
	return at
}

// citation reads one citation of a text block. What a relay wrote for a foreign citation (see
// writeCitation) becomes that citation again.
func citation(v []byte, scope string) llm.Citation {
	c := llm.Citation{}
	var kind, index string
	for m := dialect.Walk(v); m.Next(); {
		switch string(m.Name) {
		case "type":
			kind = str(m.Value)
		case "cited_text":
			c.Quote = str(m.Value)
		case "url":
			c.URL = str(m.Value)
		case "source":
			if s := str(m.Value); c.URL == "" && isHTTP(s) {
				c.URL = s
			}
		case "title":
			c.Title = str(m.Value)
		case "document_title":
			c.Title = str(m.Value)
			if c.File == "" {
				c.File = c.Title
			}
		case "file_id":
			if f := str(m.Value); f != "" {
				c.File = f
			}
		case "encrypted_index":
			index = str(m.Value)
		}
	}
	if carrier.Looks([]byte(index)) {
		if x, ok := carrier.Decode([]byte(index)); ok && x.Opaque != nil {
			c.Opaque = x.Opaque
		}
		return c
	}
	if kind == webCitation && index == "" {
		return c // ours, of a source without a form of its own
	}
	c.Opaque = &llm.Opaque{Origin: llm.AnthropicMessages, Scope: scope, Type: kind, JSON: llm.Raw(append([]byte(nil), v...))}
	return c
}

const webCitation = "web_search_result_location"

func citations(v []byte, scope string) []llm.Citation {
	var out []llm.Citation
	for c := dialect.Walk(v); isArray(v) && c.Next(); {
		if isObject(c.Value) {
			out = append(out, citation(c.Value, scope))
		}
	}
	return out
}

// writeCitation shows a citation to a client. A foreign one with an address takes the form of a web
// search's, in which the index is ours: a carrier, or empty. false = there is no form for it.
func writeCitation(w *dialect.Writer, c *llm.Citation) bool {
	if c.Opaque.For(llm.AnthropicMessages, "") {
		w.Raw(c.Opaque.JSON)
		return true
	}
	if c.URL == "" {
		return false
	}
	index := ""
	if c.Opaque != nil {
		index = carrier.EncodePart(c.Opaque)
	}
	w.Open('{')
	w.StrMember("type", webCitation)
	w.StrMember("cited_text", c.Quote)
	w.StrMember("url", c.URL)
	w.StrMember("title", c.Title)
	w.StrMember("encrypted_index", index)
	w.Close('}')
	return true
}

func isHTTP(s string) bool {
	return len(s) > 7 && s[:7] == "http://" || len(s) > 8 && s[:8] == "https://"
}
