package openai

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// chatCall is one call of a choice. Servers leave out ids, names or indexes in many ways.
type chatCall struct {
	wire    int64 // index; -1 = none, -2 = function_call
	id      string
	name    string
	part    int
	begun   bool
	custom  bool
	held    []byte // arguments that came before the name
	seal    *llm.Seal
	sealNew bool // the seal came after the start
}

// fragment is one entry of tool_calls.
type fragment struct {
	wire    int64
	indexed bool
	custom  bool
	id      string
	inner   []byte // function or custom
	seal    string
}

func (d *chatEvents) fragment(dst []llm.Event, i int, v []byte) []llm.Event {
	f := fragment{wire: -1}
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "index":
			f.wire, f.indexed = dialect.Int(c.Value)
		case "id":
			if isFilledText(c.Value) {
				f.id = dialect.Unquote(c.Value)
			}
		case "function":
			f.inner = c.Value
		case "custom":
			f.inner, f.custom = c.Value, true
		case "extra_content":
			f.seal = thoughtSignature(c.Value)
		}
	}
	if !f.indexed {
		f.wire = -1
	}
	return d.call(dst, i, &f)
}

func (d *chatEvents) call(dst []llm.Event, i int, f *fragment) []llm.Event {
	name, args := "", []byte(nil)
	for c := dialect.Walk(f.inner); c.Next(); {
		switch string(c.Name) {
		case "name":
			name = word(c.Value)
		case "arguments", "input":
			args = c.Value
		}
	}
	c := &d.choices[i]
	k := c.find(f, name, d.whole)
	if k == nil {
		if len(c.calls) == maxCalls {
			return d.protocol(dst, "the provider sent too many calls")
		}
		c.calls = append(c.calls, chatCall{wire: f.wire, id: f.id, custom: f.custom})
		k = &c.calls[len(c.calls)-1]
	}
	if k.name == "" {
		k.name = name
	}
	if k.id == "" {
		k.id = f.id
	}
	if f.seal != "" && k.seal == nil {
		k.seal, k.sealNew = d.sealed([]byte(f.seal)), k.begun
	}
	text := ""
	switch {
	case unset(args):
	case args[0] == '"':
		if len(args) > 2 {
			text = dialect.Unquote(args)
		}
	default: // an object where its text belongs (Ollama)
		text = string(args)
	}
	if !k.begun && k.name != "" && (k.id != "" || text != "") {
		dst = d.begin(dst, i, k)
	}
	switch {
	case text == "":
	case k.begun:
		d.content = true
		dst = append(dst, llm.Event{Kind: llm.EventDelta, Choice: i, Index: k.part, Text: text})
	default:
		if k.held = append(k.held, text...); len(k.held) > maxDetails {
			return d.protocol(dst, "the provider sent arguments of a call without a name")
		}
	}
	return dst
}

// find is the call that a fragment goes on with, or nil for a new one. The index decides, but some
// servers give every call the index 0 (then a new id with a name tells), and some none at all.
func (c *chatChoice) find(f *fragment, name string, whole bool) *chatCall {
	if whole && !f.indexed {
		return nil
	}
	for j := len(c.calls) - 1; j >= 0; j-- {
		k := &c.calls[j]
		switch {
		case f.indexed:
			if k.wire != f.wire {
				continue
			}
			if f.id != "" && k.id != "" && f.id != k.id && name != "" {
				return nil
			}
			return k
		case f.id != "":
			if k.id == f.id {
				return k
			}
		case name != "" && k.name != "":
			return nil
		default:
			return k
		}
	}
	return nil
}

// begin opens a call, with an id of its own.
func (d *chatEvents) begin(dst []llm.Event, i int, k *chatCall) []llm.Event {
	dst = d.close(dst, i)
	c := &d.choices[i]
	k.begun, k.part = true, c.next
	c.next++
	d.content = true
	id := k.id
	if id == "" || c.taken(id, k) {
		id = carrier.CallID(d.seed(), i, k.part)
	}
	dst = append(dst, llm.Event{Kind: llm.EventPartStart, Choice: i, Index: k.part, Part: &llm.Part{
		Kind: llm.PartCall, ID: id, Name: k.name, Custom: k.custom, Seal: k.seal,
	}})
	if len(k.held) > 0 {
		dst = append(dst, llm.Event{Kind: llm.EventDelta, Choice: i, Index: k.part, Text: string(k.held)})
		k.held = nil
	}
	return dst
}

func (c *chatChoice) taken(id string, but *chatCall) bool {
	for j := range c.calls {
		if k := &c.calls[j]; k != but && k.begun && k.id == id {
			return true
		}
	}
	return false
}
