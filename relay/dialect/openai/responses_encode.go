package openai

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Limits of the Responses API (openai-go v3.96.0 doc comments).
const (
	minOutput   = 16
	maxMetadata = 16
	maxMetaKey  = 64
	maxMetaText = 512
)

// jsonHint is added where JSON mode is wanted and nothing in the input says so: the API refuses "to use
// 'text.format' of type 'json_object'" unless the input messages contain the word json.
const jsonHint = "Answer with a JSON object."

// responsesBody writes one request.
type responsesBody struct {
	w   dialect.Writer
	l   dialect.Losses
	r   *llm.Request
	o   dialect.EncodeOptions
	own bool // the client speaks Responses too: what only this dialect has goes back as it came

	limit int64 // as written; 0 = none
	after dialect.After
}

// EncodeRequest implements dialect.ProviderCodec.
func (ResponsesBackend) EncodeRequest(r *llm.Request, o dialect.EncodeOptions) (dialect.Encoded, error) {
	if r.Op != llm.OpGenerate && r.Op != llm.OpCountTokens {
		return dialect.Encoded{}, fault.New(fault.Unsupported, "responses have no operation %s that is converted", r.Op)
	}
	e := responsesBody{
		w: dialect.NewBodyWriter(4 << 10), r: r, o: o, own: r.From == llm.OpenAIResponses,
		l: dialect.Losses{From: r.From, To: llm.OpenAIResponses},
	}
	if !e.own {
		e.r, e.after.Names = dialect.FitNames(r, dialect.NamesOpenAI)
	}
	e.w.Open('{')
	e.w.StrMember("model", o.Model)
	e.input()
	e.tools()
	e.reasoning()
	e.format()
	if r.Op == llm.OpGenerate {
		e.sampling()
		e.settings()
	}
	e.extra()
	e.w.Close('}')
	if err := e.l.Err(); err != nil {
		return dialect.Encoded{}, err
	}
	return dialect.Encoded{Body: e.w.Body(), Losses: e.l.List, Limit: e.limit, After: e.after}, nil
}

func (e *responsesBody) tools() {
	if len(e.r.Tools) == 0 {
		return
	}
	e.w.Name("tools")
	e.w.Open('[')
	for i := range e.r.Tools {
		e.tool(&e.r.Tools[i])
	}
	e.w.Close(']')
	e.choice()
	if p := e.r.Parallel; p.Set {
		e.w.BoolMember("parallel_tool_calls", p.V)
	}
}

func (e *responsesBody) tool(t *llm.Tool) {
	if t.Cache != llm.CacheUnset {
		e.l.Drop(dialect.Child(t.At, dialect.CacheMember(e.r.From)), llm.LostNoEquivalent)
	}
	if t.Kind == llm.ToolHosted {
		if t.Opaque.For(llm.OpenAIResponses, e.o.Scope) {
			e.w.Raw(t.Opaque.JSON)
		} else {
			e.l.Tool(t, llm.LostForeign)
		}
		return
	}
	if !e.own {
		e.l.Extra(t.Extra, t.At)
	}
	writeResponsesTool(&e.w, t, e.own)
}

// writeResponsesTool writes a function or custom tool. The API tries strict mode when strict is left
// out, which changes the schema's meaning, so what a client of another protocol did not ask for is
// refused explicitly.
func writeResponsesTool(w *dialect.Writer, t *llm.Tool, own bool) {
	w.Open('{')
	if t.Kind == llm.ToolCustom {
		w.StrMember("type", "custom")
	} else {
		w.StrMember("type", "function")
	}
	w.StrMember("name", t.Name)
	if t.Description != "" {
		w.StrMember("description", t.Description)
	}
	switch {
	case t.Kind == llm.ToolCustom:
		if t.Grammar != nil {
			w.RawMember("format", flatGrammar(t.Grammar))
		}
	default:
		if t.Schema != nil {
			w.RawMember("parameters", t.Schema)
		} else if !own {
			w.RawMember("parameters", []byte(`{"type":"object","properties":{}}`))
		}
		if t.Strict.Set || !own {
			w.BoolMember("strict", t.Strict.V)
		}
	}
	if own {
		w.Extra(t.Extra)
	}
	w.Close('}')
}

func (e *responsesBody) choice() {
	ch := &e.r.Choice
	if !e.own {
		e.l.Extra(ch.Extra, dialect.Pointer(e.r.From, llm.FieldToolChoice))
	} else if ch.Mode == llm.ChoiceUnset && ch.Extra == nil {
		return
	}
	if ch.Mode == llm.ChoiceUnset && !e.own {
		return
	}
	e.w.Name("tool_choice")
	writeResponsesChoice(&e.w, ch, e.r.Tools)
}

// writeResponsesChoice writes a stated choice; a hosted tool's is in Extra.
func writeResponsesChoice(w *dialect.Writer, ch *llm.ToolChoice, tools []llm.Tool) {
	switch ch.Mode {
	case llm.ChoiceAuto:
		w.Str("auto")
	case llm.ChoiceNone:
		w.Str("none")
	case llm.ChoiceRequired:
		w.Str("required")
	case llm.ChoiceNamed:
		w.Open('{')
		writeToolName(w, ch.Name, ch.Custom || isCustom(tools, ch.Name))
		w.Close('}')
	case llm.ChoiceAllowed:
		w.Open('{')
		w.StrMember("type", "allowed_tools")
		if ch.Must {
			w.StrMember("mode", "required")
		} else {
			w.StrMember("mode", "auto")
		}
		w.Name("tools")
		w.Open('[')
		for _, n := range ch.Allowed {
			w.Open('{')
			writeToolName(w, n, isCustom(tools, n))
			w.Close('}')
		}
		w.Close(']')
		w.Close('}')
	default:
		w.Open('{')
		w.Extra(ch.Extra)
		w.Close('}')
	}
}

func writeToolName(w *dialect.Writer, name string, custom bool) {
	if custom {
		w.StrMember("type", "custom")
	} else {
		w.StrMember("type", "function")
	}
	w.StrMember("name", name)
}

func isCustom(ts []llm.Tool, name string) bool {
	for i := range ts {
		if ts[i].Name == name {
			return ts[i].Kind == llm.ToolCustom
		}
	}
	return false
}

func (e *responsesBody) reasoning() {
	q := &e.r.Reasoning
	if e.o.Quirks.NoReasoning {
		for _, x := range []struct {
			field  llm.Field
			stated bool
		}{
			{llm.FieldEffort, q.Effort > llm.EffortNone},
			{llm.FieldBudget, q.Budget.Set},
			{llm.FieldShow, q.Show > llm.ShowNone && !q.Implied},
		} {
			if x.stated {
				e.l.Field(x.field, llm.LostModel)
			}
		}
		return
	}
	effort := dialect.WantedEffort(q)
	if effort == llm.EffortNone && q.Effort > effort {
		e.l.Field(llm.FieldEffort, llm.LostCombination)
	}
	if q.Effort == llm.EffortUnset {
		switch {
		case q.Budget.Set:
			e.l.Field(llm.FieldBudget, llm.LostRewritten)
		case q.Mode == llm.ReasoningOn:
			effort = llm.EffortMedium
		case q.Mode == llm.ReasoningBetweenTools:
			e.l.Field(llm.FieldReasoningMode, llm.LostNoEquivalent)
		}
	}
	summary := summaryName(q)
	if !e.own {
		e.l.Extra(q.Extra, dialect.Pointer(e.r.From, llm.FieldReasoningMode))
	}
	if effort == llm.EffortUnset && summary == "" && (!e.own || len(q.Extra) == 0) {
		return
	}
	e.w.Name("reasoning")
	e.w.Open('{')
	if effort != llm.EffortUnset {
		e.w.StrMember("effort", effort.String())
	}
	if summary != "" {
		e.w.StrMember("summary", summary)
	}
	if e.own {
		e.w.Extra(q.Extra)
	}
	e.w.Close('}')
}

// summaryName is what the client wants to see.
func summaryName(q *llm.Reasoning) string {
	switch show := q.Visible(); show {
	case llm.ShowSummary:
		return "auto"
	case llm.ShowConcise, llm.ShowDetailed:
		return show.String()
	}
	return ""
}

func (e *responsesBody) format() {
	f := &e.r.Format
	if f.Kind == llm.FormatUnset && e.r.Verbosity == llm.VerbosityUnset && !e.ownText() {
		return
	}
	e.w.Name("text")
	e.w.Open('{')
	if f.Kind != llm.FormatUnset {
		e.w.Name("format")
		e.w.Open('{')
		if f.Kind == llm.FormatSchema && e.o.Quirks.NoSchema {
			e.w.StrMember("type", "json_object")
			e.l.Drop(dialect.FormatAt(e.r), llm.LostRewritten)
		} else {
			writeResponsesFormat(&e.w, f)
		}
		if e.own {
			e.w.Extra(f.Extra)
		} else {
			e.l.Extra(f.Extra, dialect.FormatAt(e.r))
		}
		e.w.Close('}')
	}
	if v := e.r.Verbosity; v != llm.VerbosityUnset {
		e.w.StrMember("verbosity", v.String())
	}
	if e.own {
		for _, m := range e.r.Extra {
			if name, ok := textMember(m.Name); ok {
				e.w.Key(name)
				e.w.Raw(m.Value)
			}
		}
	}
	e.w.Close('}')
}

func textMember(name string) (string, bool) {
	if len(name) > len(textPath) && name[:len(textPath)] == textPath {
		return name[len(textPath):], true
	}
	return "", false
}

func (e *responsesBody) ownText() bool {
	for _, m := range e.r.Extra {
		if _, ok := textMember(m.Name); ok && e.own {
			return true
		}
	}
	return false
}

// writeResponsesFormat writes the members of text.format.
func writeResponsesFormat(w *dialect.Writer, f *llm.Format) {
	switch f.Kind {
	case llm.FormatJSON:
		w.StrMember("type", "json_object")
	case llm.FormatSchema:
		w.StrMember("type", "json_schema")
		w.StrMember("name", schemaName(f.Name))
		if f.Description != "" {
			w.StrMember("description", f.Description)
		}
		w.RawMember("schema", f.Schema)
		if f.Strict.Set {
			w.BoolMember("strict", f.Strict.V)
		}
	default:
		w.StrMember("type", "text")
	}
}

func (e *responsesBody) sampling() {
	s := &e.r.Sampling
	for _, x := range []struct {
		field llm.Field
		name  string
		v     llm.Opt[float64]
	}{{llm.FieldTemperature, "temperature", s.Temperature}, {llm.FieldTopP, "top_p", s.TopP}} {
		switch {
		case !x.v.Set:
		case e.o.Quirks.NoSampling:
			if x.v.V != 1 { // the default says nothing
				e.l.Field(x.field, llm.LostModel)
			}
		default:
			e.w.FloatMember(x.name, x.v.V)
		}
	}
	for _, x := range []struct {
		field  llm.Field
		stated bool
	}{
		{llm.FieldTopK, s.TopK.Set},
		{llm.FieldFrequencyPenalty, s.FrequencyPenalty.Set && s.FrequencyPenalty.V != 0},
		{llm.FieldPresencePenalty, s.PresencePenalty.Set && s.PresencePenalty.V != 0},
		{llm.FieldSeed, s.Seed.Set},
		{llm.FieldLogitBias, dialect.Filled(s.LogitBias)},
		{llm.FieldN, e.r.N > 1},
	} {
		if x.stated {
			e.l.Field(x.field, llm.LostNoEquivalent)
		}
	}
	e.after.Stop = s.Stop // the API has none
	if e.o.Quirks.NoLogprobs && s.Logprobs {
		e.l.Field(llm.FieldLogprobs, llm.LostModel)
	}
	if s.TopLogprobs.Set && (s.Logprobs || e.own) {
		e.w.IntMember("top_logprobs", s.TopLogprobs.V)
	}
	if m := e.r.MaxOutput; m.Set {
		if m.V < minOutput && !e.own {
			e.l.Field(llm.FieldMaxOutput, llm.LostRange)
			m.V = minOutput
		} else if most := e.o.MaxOutput; most > 0 && m.V > most && !e.own {
			e.l.Field(llm.FieldMaxOutput, llm.LostRange)
			m.V = most
		}
		e.limit = m.V
		e.w.IntMember("max_output_tokens", m.V)
	}
}

func (e *responsesBody) settings() {
	r := e.r
	if r.Stream {
		e.w.BoolMember("stream", true)
	}
	// The API keeps answers unless told not to; only its own clients can ask for a stored one.
	if r.Store.Set || !e.own {
		e.w.BoolMember("store", r.Store.V)
	}
	e.include()
	if r.User != "" {
		id, rewritten := endUser(r.User)
		if rewritten {
			e.l.Field(llm.FieldUser, llm.LostRewritten)
		}
		e.w.StrMember("safety_identifier", id)
	}
	e.metadata()
	if w, ok := tier(r); !ok {
		e.l.Field(llm.FieldServiceTier, llm.LostNoEquivalent)
	} else if w != "" {
		e.w.StrMember("service_tier", w)
	}
	if r.CacheKey != "" {
		e.w.StrMember("prompt_cache_key", r.CacheKey)
	}
	switch r.Cache {
	case llm.Cache30m, llm.Cache12h:
		e.w.Name("prompt_cache_options")
		e.w.Open('{')
		e.w.StrMember("ttl", r.Cache.String())
		e.w.Close('}')
	case llm.Cache1h: // the vendor marks the whole prompt by itself, for half an hour
		e.l.Field(llm.FieldCache, llm.LostRange)
	}
}

// include asks for what the client wants to get or needs to have back. Encrypted reasoning only where
// thinking plays a part: models without it refuse the wish.
func (e *responsesBody) include() {
	q := &e.r.Reasoning
	sealed := q.Sealed || !e.own && !e.o.Quirks.NoReasoning && (e.hasReasoning() || q.Stated() && dialect.WantedEffort(q) != llm.EffortNone)
	var rest llm.Raw
	if e.own {
		rest = e.r.Extra.Get("include")
	}
	if !sealed && !e.r.Sampling.Logprobs && rest == nil {
		return
	}
	e.w.Name("include")
	e.w.Open('[')
	if sealed {
		e.w.Str(includeSealed)
	}
	if e.r.Sampling.Logprobs {
		e.w.Str(includeLogprobs)
	}
	for c := dialect.Walk(rest); c.Next(); {
		e.w.Raw(c.Value)
	}
	e.w.Close(']')
}

// hasReasoning reports whether the history has reasoning of this provider.
func (e *responsesBody) hasReasoning() bool {
	found := false
	e.r.Parts(func(p *llm.Part) {
		found = found || p.Kind == llm.PartThinking && p.Seal.For(llm.OpenAIResponses, e.o.Scope)
	})
	return found
}

func (e *responsesBody) metadata() {
	ps := e.r.Metadata
	if len(ps) == 0 {
		return
	}
	e.w.Name("metadata")
	e.w.Open('{')
	n := 0
	for _, p := range ps {
		if !e.own && (n == maxMetadata || len(p.Key) > maxMetaKey || len(p.Value) > maxMetaText) {
			e.l.Drop(dialect.Child(dialect.Pointer(e.r.From, llm.FieldMetadata), p.Key), llm.LostRange)
			continue
		}
		n++
		e.w.Key(p.Key)
		e.w.Str(p.Value)
	}
	e.w.Close('}')
}

func (e *responsesBody) extra() {
	if !e.own {
		e.l.Extra(e.r.Extra, "")
		return
	}
	for _, m := range e.r.Extra {
		if _, inText := textMember(m.Name); m.Name != "include" && !inText {
			e.w.Key(m.Name)
			e.w.Raw(m.Value)
		}
	}
}
