package anthropic

import (
	"slices"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// outputTool is the tool through which models without structured output give theirs; decoders turn
// calls of it back into text. The name is ours.
const outputTool = "causeway_structured_output"

const jsonInstruction = "Answer with one valid JSON object and nothing else: no explanation, no Markdown fence."

// chooseTools checks the definitions, applies a list of allowed tools, and fills in what the history
// needs.
func (e *requestEncoder) chooseTools() {
	e.choice = e.r.Choice
	for i := range e.r.Tools {
		t := &e.r.Tools[i]
		if e.choice.Mode == llm.ChoiceAllowed && !slices.Contains(e.choice.Allowed, t.Name) {
			continue // the model may not call it: same as not offering it
		}
		switch {
		case t.Kind == llm.ToolHosted && t.Opaque.For(llm.AnthropicMessages, e.o.Scope):
		case t.Kind != llm.ToolFunction:
			e.l.Tool(t, llm.LostNoEquivalent)
			continue
		default:
			e.checkTool(t)
		}
		e.tools = append(e.tools, t)
	}
	if e.choice.Mode == llm.ChoiceAllowed {
		switch {
		case len(e.tools) == 0:
			e.choice = llm.ToolChoice{}
		case e.choice.Must:
			e.choice = llm.ToolChoice{Mode: llm.ChoiceRequired}
		default:
			e.choice = llm.ToolChoice{Mode: llm.ChoiceAuto}
		}
	}
	if e.forced() && e.o.Quirks.AlwaysThinks {
		e.choice = llm.ToolChoice{Mode: llm.ChoiceAuto} // the vendor refuses it beside thinking
		e.l.Field(llm.FieldToolChoice, llm.LostModel)
	}
	if len(e.tools) == 0 {
		// A history with calls needs definitions, but nothing may be called.
		e.choice = llm.ToolChoice{}
		if e.stubs = len(e.called) > 0; e.stubs {
			e.choice.Mode = llm.ChoiceNone
		}
	}
}

func (e *requestEncoder) checkTool(t *llm.Tool) {
	if !e.same {
		e.l.Extra(t.Extra, t.At)
	}
	if kind, has := rootType(t.Schema); has && kind != "object" {
		e.l.Tool(t, llm.LostNoEquivalent)
		return
	}
	if !t.Strict.Is(true) || e.same {
		return
	}
	if e.o.Quirks.NoSchema {
		e.l.Drop(dialect.Child(t.At, "strict"), llm.LostModel)
	} else if _, changed := fitSchema(t.Schema); changed {
		e.l.Drop(dialect.Child(t.At, "parameters"), llm.LostRewritten)
	}
}

func (e *requestEncoder) forced() bool {
	return e.choice.Mode == llm.ChoiceRequired || e.choice.Mode == llm.ChoiceNamed
}

// prepareFormat decides how structured output is asked for.
func (e *requestEncoder) prepareFormat() {
	f := &e.r.Format
	at := dialect.FormatAt(e.r)
	switch f.Kind {
	case llm.FormatJSON:
		e.l.Drop(at, llm.LostRewritten) // becomes an instruction
		return
	case llm.FormatSchema:
	default:
		return
	}
	if !isObject(f.Schema) {
		e.l.Refuse(at, llm.LostNoEquivalent)
		return
	}
	if f.Description != "" {
		e.l.Drop(dialect.Child(at, "description"), llm.LostNoEquivalent)
	}
	e.schema = f.Schema
	if !e.o.Quirks.NoSchema {
		if !e.same {
			var changed bool
			if e.schema, changed = fitSchema(f.Schema); changed {
				e.l.Drop(at, llm.LostRewritten)
			}
		}
		return
	}
	if kind, _ := rootType(f.Schema); kind != "object" {
		e.l.Refuse(at, llm.LostModel) // a tool's arguments are an object
		return
	}
	if e.forced() {
		// The answer is a call anyway.
		e.l.Drop(at, llm.LostCombination)
		e.schema = nil
		return
	}
	e.output = true
	if e.choice = (llm.ToolChoice{Mode: llm.ChoiceNamed, Name: outputTool}); len(e.tools) > 0 && e.r.Choice.Mode != llm.ChoiceNone {
		e.choice = llm.ToolChoice{Mode: llm.ChoiceRequired}
	}
}

func (e *requestEncoder) jsonMode() bool { return e.r.Format.Kind == llm.FormatJSON }

func (e *requestEncoder) writeChoice() {
	w := &e.w
	if len(e.tools) == 0 && !e.stubs && !e.output {
		return
	}
	kind := ""
	switch e.choice.Mode {
	case llm.ChoiceAuto:
		kind = "auto"
	case llm.ChoiceRequired:
		kind = "any"
	case llm.ChoiceNamed:
		kind = "tool"
	case llm.ChoiceNone:
		kind = "none"
	}
	serial := e.r.Parallel.Is(false) && kind != "none"
	if kind == "" {
		if !e.r.Parallel.Set || !serial && !e.same {
			return
		}
		kind = "auto"
	}
	w.Name("tool_choice")
	w.Open('{')
	w.StrMember("type", kind)
	if kind == "tool" {
		w.StrMember("name", e.choice.Name)
	}
	if serial || e.same && e.r.Parallel.Set && kind != "none" {
		w.BoolMember("disable_parallel_tool_use", serial)
	}
	if e.same {
		w.Extra(e.choice.Extra)
	}
	w.Close('}')
}

// planSampling drops what this use or model refuses, and clamps the rest.
func (e *requestEncoder) planSampling() {
	s, p := &e.r.Sampling, &e.plan
	p.temperature, p.topP, p.topK = s.Temperature, s.TopP, s.TopK
	if e.o.Quirks.NoSampling || e.systemInPlace() {
		drop(e, &p.temperature, 1, llm.FieldTemperature, llm.LostModel)
		drop(e, &p.topP, 1, llm.FieldTopP, llm.LostModel)
		dropAny(e, &p.topK, llm.FieldTopK, llm.LostModel)
		return
	}
	if e.same {
		return
	}
	if p.on() {
		drop(e, &p.temperature, 1, llm.FieldTemperature, llm.LostCombination)
		if p.topP.V < 0.95 || p.topP.V == 1 {
			drop(e, &p.topP, 1, llm.FieldTopP, llm.LostCombination)
		}
		dropAny(e, &p.topK, llm.FieldTopK, llm.LostCombination)
	}
	if p.temperature.Set && p.topP.Set {
		// Current models refuse both at once; temperature is what people set on purpose.
		drop(e, &p.topP, 1, llm.FieldTopP, llm.LostCombination)
	}
	if p.temperature.V > 1 {
		p.temperature.V = 1
		e.l.Field(llm.FieldTemperature, llm.LostRange)
	}
}

func (e *requestEncoder) systemInPlace() bool {
	return slices.ContainsFunc(e.turns, func(t *turn) bool { return t.role == llm.RoleSystem })
}

// drop takes a setting out, and reports that unless it said the default.
func drop(e *requestEncoder, v *llm.Opt[float64], usual float64, f llm.Field, why string) {
	if v.Set && v.V != usual {
		e.l.Field(f, why)
	}
	*v = llm.Opt[float64]{}
}

func dropAny(e *requestEncoder, v *llm.Opt[int64], f llm.Field, why string) {
	if v.Set {
		e.l.Field(f, why)
	}
	*v = llm.Opt[int64]{}
}

func (e *requestEncoder) writeSampling() {
	w, p, r := &e.w, &e.plan, e.r
	if len(e.stop) > 0 {
		w.Name("stop_sequences")
		w.Open('[')
		for _, s := range e.stop {
			w.Str(s)
		}
		w.Close(']')
	}
	if p.temperature.Set {
		w.FloatMember("temperature", p.temperature.V)
	}
	if p.topP.Set {
		w.FloatMember("top_p", p.topP.V)
	}
	if p.topK.Set {
		w.IntMember("top_k", p.topK.V)
	}
	if r.Stream {
		w.BoolMember("stream", true)
	}
	if r.User != "" && len(r.User) <= maxUserID {
		w.Name("metadata")
		w.Open('{')
		w.StrMember("user_id", r.User)
		w.Close('}')
	}
	if t := e.tier(); t != "" {
		w.StrMember("service_tier", t)
	}
}
