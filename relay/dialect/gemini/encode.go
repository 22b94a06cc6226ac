package gemini

import (
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// encoder writes one request for a provider.
type encoder struct {
	dialect.Writer
	l    dialect.Losses
	r    *llm.Request
	ms   []llm.Message
	o    dialect.EncodeOptions
	home bool // the client speaks this dialect too: its own members go back

	limit int64 // as written; 0 = none
	after dialect.After
}

// EncodeRequest implements dialect.ProviderCodec. The model and whether to stream are in the path.
func (Backend) EncodeRequest(r *llm.Request, o dialect.EncodeOptions) (dialect.Encoded, error) {
	if r.Op != llm.OpGenerate && r.Op != llm.OpCountTokens {
		return dialect.Encoded{}, fault.New(fault.Unsupported, "%s requests are not converted", r.Op)
	}
	e := &encoder{
		Writer: dialect.NewBodyWriter(4 << 10), r: r, o: o, home: r.From == llm.Gemini,
		l: dialect.Losses{From: r.From, To: llm.Gemini},
	}
	if !e.home {
		e.r, e.after.Names = dialect.FitNames(r, dialect.NamesGemini)
	}
	e.ms = e.question()
	if r.Op == llm.OpCountTokens {
		// The plain form has no place for tools and system text.
		e.Open('{')
		e.Name("generateContentRequest")
		e.Open('{')
		e.StrMember("model", resource(o.Model))
		e.request()
		e.Close('}')
		e.Close('}')
	} else {
		e.Open('{')
		e.request()
		e.Close('}')
	}
	if err := e.l.Err(); err != nil {
		return dialect.Encoded{}, err
	}
	return dialect.Encoded{Body: e.Body(), Losses: e.l.List, Limit: e.limit, After: e.after}, nil
}

// question gives the messages, of which one at least must be a turn: of system text alone, which other
// vendors answer, the last message becomes the question.
func (e *encoder) question() []llm.Message {
	ms := e.r.Messages
	if n := len(ms); n > 0 && llm.LeadingSystem(ms) == n && !e.home {
		ms = slices.Clone(ms)
		ms[n-1].Role = llm.RoleUser
		e.l.Drop(ms[n-1].At, llm.LostRewritten)
	}
	return ms
}

func (e *encoder) request() {
	e.system()
	e.contents()
	e.tools()
	e.choice()
	e.config()
	e.rest()
}

func (e *encoder) tools() {
	r, functions := e.r, 0
	for i := range r.Tools {
		t := &r.Tools[i]
		switch {
		case t.Kind == llm.ToolFunction:
			functions++
		case !t.Opaque.For(llm.Gemini, e.o.Scope):
			e.l.Tool(t, llm.LostNoEquivalent)
		}
	}
	if len(r.Tools) == 0 {
		return
	}
	e.Name("tools")
	e.Open('[')
	if functions > 0 {
		e.Open('{')
		e.Name("functionDeclarations")
		e.Open('[')
		for i := range r.Tools {
			if t := &r.Tools[i]; t.Kind == llm.ToolFunction {
				e.function(t)
			}
		}
		e.Close(']')
		e.Close('}')
	}
	for i := range r.Tools {
		if t := &r.Tools[i]; t.Kind == llm.ToolHosted && t.Opaque.For(llm.Gemini, e.o.Scope) {
			e.Raw(t.Opaque.JSON)
		}
	}
	e.Close(']')
}

// function writes a declaration. Its schema goes as it is: parametersJsonSchema takes what the OpenAPI
// subset of parameters refuses ($ref, additionalProperties, const...).
func (e *encoder) function(t *llm.Tool) {
	e.Open('{')
	e.StrMember("name", t.Name)
	if t.Description != "" {
		e.StrMember("description", t.Description)
	}
	if len(t.Schema) > 0 && t.Schema[0] == '{' {
		e.RawMember("parametersJsonSchema", t.Schema)
	}
	if e.home {
		e.Extra(t.Extra)
	} else {
		e.l.Extra(t.Extra, t.At)
	}
	if t.Strict.Is(true) {
		e.l.Drop(dialect.Child(t.At, "strict"), llm.LostNoEquivalent)
	}
	if t.Cache != llm.CacheUnset {
		e.l.Drop(dialect.Child(t.At, dialect.CacheMember(e.r.From)), llm.LostNoEquivalent)
	}
	e.Close('}')
}

func (e *encoder) functions() bool {
	for i := range e.r.Tools {
		if e.r.Tools[i].Kind == llm.ToolFunction {
			return true
		}
	}
	return false
}

func (e *encoder) choice() {
	c, own := &e.r.Choice, toolPath
	if !e.home {
		e.l.Extra(c.Extra, dialect.Pointer(e.r.From, llm.FieldToolChoice))
	}
	functions := e.functions()
	if functions && e.r.Parallel.Is(false) && c.Mode != llm.ChoiceNone {
		e.l.Field(llm.FieldParallel, llm.LostNoEquivalent)
	}
	mode, names := "", c.Allowed
	if functions {
		mode, names = e.mode(c)
	}
	extra := e.home && (len(c.Extra) > 0 || hasPrefix(e.r.Extra, own))
	if mode == "" && !extra {
		return
	}
	e.Name("toolConfig")
	e.Open('{')
	if mode != "" || len(c.Extra) > 0 && e.home {
		e.Name("functionCallingConfig")
		e.Open('{')
		if e.home {
			for _, m := range c.Extra {
				if m.Name == "mode" {
					mode = "" // VALIDATED, as the client wrote it
				}
			}
			e.Extra(c.Extra)
		}
		if mode != "" {
			e.StrMember("mode", mode)
		}
		if len(names) > 0 {
			e.Name("allowedFunctionNames")
			e.strings(names)
		}
		e.Close('}')
	}
	if e.home {
		e.extraAt(own)
	}
	e.Close('}')
}

// mode is the function calling mode for c, and the functions it is confined to.
func (e *encoder) mode(c *llm.ToolChoice) (string, []string) {
	switch c.Mode {
	case llm.ChoiceAuto:
		return "AUTO", nil
	case llm.ChoiceNone:
		return "NONE", nil
	case llm.ChoiceRequired:
		return "ANY", nil
	case llm.ChoiceNamed:
		return "ANY", []string{c.Name}
	case llm.ChoiceAllowed:
		if c.Must {
			return "ANY", c.Allowed
		}
		return "VALIDATED", c.Allowed // AUTO takes no names
	}
	return "", nil
}

func (e *encoder) strings(v []string) {
	e.Open('[')
	for _, s := range v {
		e.Str(s)
	}
	e.Close(']')
}

func hasPrefix(x llm.Extra, prefix string) bool {
	for _, m := range x {
		if strings.HasPrefix(m.Name, prefix) {
			return true
		}
	}
	return false
}

// extraAt writes the client's own members that stood at prefix ("" = at the top).
func (e *encoder) extraAt(prefix string) {
	for _, m := range e.r.Extra {
		name, ok := strings.CutPrefix(m.Name, prefix)
		if ok && (prefix != "" || !strings.HasPrefix(name, configPath) && !strings.HasPrefix(name, toolPath)) {
			e.Key(name)
			e.Raw(m.Value)
		}
	}
}

// tiers are the vendor's words for the service tiers of others.
func tier(s string) (word string, known bool) {
	switch s {
	case "", "auto":
		return "", true // the vendor's default too
	case "default", "standard", "standard_only":
		return "standard", true
	case "flex", "priority":
		return s, true
	}
	return "", false
}

// rest writes the top-level settings, or reports them.
func (e *encoder) rest() {
	r := e.r
	if e.home {
		if r.ServiceTier != "" {
			e.StrMember("serviceTier", r.ServiceTier)
		}
		if r.Store.Set {
			e.BoolMember("store", r.Store.V)
		}
		if len(r.Metadata) > 0 {
			e.Name("labels")
			e.Open('{')
			for _, p := range r.Metadata {
				e.Key(p.Key)
				e.Str(p.Value)
			}
			e.Close('}')
		}
		e.extraAt("")
	} else {
		word, known := tier(r.ServiceTier)
		if word != "" {
			e.StrMember("serviceTier", word)
		}
		if !known {
			e.l.Field(llm.FieldServiceTier, llm.LostNoEquivalent)
		}
		if r.Store.Is(true) { // nothing is kept for the client either way
			e.l.Field(llm.FieldStore, llm.LostNoEquivalent)
		}
		if len(r.Metadata) > 0 {
			e.l.Field(llm.FieldMetadata, llm.LostNoEquivalent)
		}
		e.l.Extra(r.Extra, "")
	}
	if r.User != "" {
		e.l.Field(llm.FieldUser, llm.LostNoEquivalent)
	}
	if r.Verbosity == llm.VerbosityLow || r.Verbosity == llm.VerbosityHigh {
		e.l.Field(llm.FieldVerbosity, llm.LostNoEquivalent)
	}
	if r.CacheKey != "" {
		e.l.Field(llm.FieldCacheKey, llm.LostNoEquivalent)
	}
	if r.Cache != llm.CacheUnset {
		e.l.Field(llm.FieldCache, llm.LostNoEquivalent)
	}
}
