package gemini

import (
	"bytes"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// part reads one part of an answer. Pieces of one kind are one part, until one is signed or another
// kind comes.
func (d *eventDecoder) part(dst []llm.Event, c *candidate, choice int, v []byte) []llm.Event {
	if v[0] != '{' {
		return d.protocol(dst, "the provider sent a part that is no object")
	}
	var said, thought, signature, call []byte
	more := false
	for m := dialect.Walk(v); m.Next(); {
		switch string(m.Name) {
		case "text":
			said = m.Value
		case "thought":
			thought = m.Value
		case signatureName:
			signature = m.Value
		case "functionCall":
			call = m.Value
		default:
			more = true
		}
	}
	var seal *llm.Seal
	if sig := text(signature); sig != "" {
		seal = &llm.Seal{Origin: llm.Gemini, Scope: d.o.Scope, Data: []byte(sig)}
	}
	switch {
	case call != nil:
		return d.call(dst, c, choice, call, seal)
	case more || said == nil && seal == nil:
		if c.partial != nil {
			return d.protocol(dst, "the provider broke off a function call")
		}
		return d.other(dst, c, choice, v, seal)
	}
	kind := llm.PartText
	if len(thought) > 0 && thought[0] == 't' {
		kind = llm.PartThinking
	}
	s := text(said)
	if c.partial != nil && (s != "" || seal != nil) {
		return d.protocol(dst, "the provider broke off a function call")
	}
	return c.text(dst, choice, kind, s, seal, nil)
}

func (c *candidate) text(dst []llm.Event, choice int, kind llm.PartKind, s string, seal *llm.Seal, extra llm.Extra) []llm.Event {
	if s == "" && seal == nil && extra == nil {
		return dst
	}
	if !c.open || c.kind != kind || c.seal != nil || extra != nil {
		dst = c.begin(dst, choice, &llm.Part{Kind: kind, Extra: extra})
	}
	if s != "" {
		dst = c.delta(dst, choice, s)
	}
	c.seal = seal
	return dst
}

// other reads a part with more than text.
func (d *eventDecoder) other(dst []llm.Event, c *candidate, choice int, v []byte, seal *llm.Seal) []llm.Event {
	w, err := readPart(bytes.Clone(v), "")
	if err != nil {
		return d.protocol(dst, "the provider sent a part that cannot be read")
	}
	p := w.Part
	p.At = ""
	switch p.Kind {
	case llm.PartText, llm.PartThinking:
		return c.text(dst, choice, p.Kind, p.Text, seal, p.Extra)
	case llm.PartResult: // not for answers: kept whole
		p = llm.Part{Kind: llm.PartOpaque, Opaque: &llm.Opaque{Origin: llm.Gemini, Type: partNames[partResponse], JSON: bytes.Clone(v)}}
	}
	if p.Kind == llm.PartOpaque {
		p.Opaque.Scope = d.o.Scope
	} else {
		p.Seal = seal
	}
	return c.close(c.begin(dst, choice, &p), choice)
}

// call reads a function call, which comes whole, or piece by piece with partialArgs. Its start is
// told as soon as its name is known, its arguments when they are complete.
func (d *eventDecoder) call(dst []llm.Event, c *candidate, choice int, v []byte, seal *llm.Seal) []llm.Event {
	var f [5]llm.Raw
	if _, err := fields(v, "", []string{"id", "name", "args", "partialArgs", "willContinue"}, f[:]); err != nil {
		return d.protocol(dst, "the provider sent a function call that cannot be read")
	}
	name, more := text(f[1]), len(f[4]) > 0 && f[4][0] == 't'
	if c.partial != nil && name != "" {
		dst = c.complete(dst, choice)
	}
	if c.partial == nil {
		if name == "" {
			if f[0] == nil && f[2] == nil && f[3] == nil && !more {
				return dst // the end mark of a call that has ended
			}
			return d.protocol(dst, "the provider sent a function call without a name")
		}
		dst = c.close(dst, choice)
		p := &llm.Part{Kind: llm.PartCall, Name: name, Seal: seal}
		p.ID = d.callID(c, choice, text(f[0]))
		dst = c.begin(dst, choice, p)
		c.partial = &partialCall{sealed: seal != nil}
	} else if seal != nil && !c.partial.sealed {
		c.seal, c.partial.sealed = seal, true
	}
	if a := f[2]; a != nil {
		if a[0] != '{' {
			return d.protocol(dst, "the provider sent arguments that are no object")
		}
		c.partial.args = tidy(a)
	}
	for p := dialect.Walk(f[3]); p.Next(); {
		if !c.partial.add(p.Value) {
			return d.protocol(dst, "the provider sent partial arguments that do not fit together")
		}
	}
	if !more {
		dst = c.complete(dst, choice)
	}
	return dst
}

// complete ends the call that is being read.
func (c *candidate) complete(dst []llm.Event, choice int) []llm.Event {
	args := c.partial.text()
	c.partial = nil
	if args != "" {
		dst = c.delta(dst, choice, args)
	}
	return c.close(dst, choice)
}
