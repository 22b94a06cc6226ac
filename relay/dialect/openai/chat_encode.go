package openai

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// EncodeRequest implements dialect.ProviderCodec.
func (ChatBackend) EncodeRequest(r *llm.Request, o dialect.EncodeOptions) (dialect.Encoded, error) {
	if r.Op != llm.OpGenerate {
		return dialect.Encoded{}, fault.New(fault.Unsupported, "chat completions providers have no operation %s", r.Op)
	}
	e := chatEncoder{
		r: r, o: o, own: r.From == llm.OpenAIChat,
		l: dialect.Losses{From: r.From, To: llm.OpenAIChat},
		w: dialect.NewBodyWriter(sizeHint(r)),
	}
	if !e.own {
		e.r, e.after.Names = dialect.FitNames(r, dialect.NamesOpenAI)
	}
	e.w.Open('{')
	e.w.StrMember("model", o.Model)
	e.messages()
	e.tools()
	e.sampling()
	e.format()
	e.reasoning()
	e.account()
	if r.Stream {
		e.stream()
	}
	e.extra(r.Extra, "")
	e.w.Close('}')
	return dialect.Encoded{Body: e.w.Body(), Losses: e.l.List, Limit: e.limit, After: e.after}, e.l.Err()
}

// sizeHint is about what the body will need beside media.
func sizeHint(r *llm.Request) int {
	n := 1 << 10
	r.Parts(func(p *llm.Part) { n += len(p.Text) + len(p.Text)/16 + 96 })
	for i := range r.Tools {
		n += len(r.Tools[i].Schema) + len(r.Tools[i].Description) + 128
	}
	return n
}

// chatEncoder writes one request.
type chatEncoder struct {
	r   *llm.Request
	o   dialect.EncodeOptions
	own bool // the client speaks chat too: its unknown members go on
	l   dialect.Losses
	w   dialect.Writer

	limit int64 // as written; 0 = none
	after dialect.After
}

// extra writes members that we do not know to their own dialect and reports them to others. What the
// encoder writes itself is not among them.
func (e *chatEncoder) extra(x llm.Extra, at string) {
	if !e.own {
		e.l.Extra(x, at)
		return
	}
	for _, m := range x {
		if at == "" && m.Name == "stream_options" {
			continue
		}
		e.w.Key(m.Name)
		e.w.Raw(m.Value)
	}
}

func (e *chatEncoder) stream() {
	e.w.BoolMember("stream", true)
	kept := e.r.Extra.Get("stream_options")
	if !e.own {
		kept = nil
	}
	if kept == nil && e.o.Quirks.NoStreamUsage {
		return
	}
	e.w.Name("stream_options")
	e.w.Open('{')
	if !e.o.Quirks.NoStreamUsage {
		e.w.BoolMember("include_usage", true)
	}
	for c := dialect.Walk(kept); c.Next(); {
		if string(c.Name) != "include_usage" {
			e.w.Key(string(c.Name))
			e.w.Raw(c.Value)
		}
	}
	e.w.Close('}')
}

func (e *chatEncoder) tools() {
	r, w := e.r, &e.w
	if len(r.Tools) > 0 {
		w.Name("tools")
		w.Open('[')
		for i := range r.Tools {
			e.tool(&r.Tools[i])
		}
		w.Close(']')
	}
	switch {
	case len(r.Tools) > 0:
		e.choice()
		if r.Parallel.Set {
			w.BoolMember("parallel_tool_calls", r.Parallel.V)
		}
	case r.Choice.Mode > llm.ChoiceNone: // auto and none say nothing without tools
		e.l.Field(llm.FieldToolChoice, llm.LostCombination)
	}
}

func (e *chatEncoder) tool(t *llm.Tool) {
	w := &e.w
	if t.Kind == llm.ToolHosted {
		if t.Opaque.For(llm.OpenAIChat, e.o.Scope) {
			w.Raw(t.Opaque.JSON)
		} else {
			e.l.Tool(t, llm.LostNoEquivalent)
		}
		return
	}
	kind := "function"
	if t.Kind == llm.ToolCustom {
		kind = "custom"
	}
	w.Open('{')
	w.StrMember("type", kind)
	w.Name(kind)
	w.Open('{')
	w.StrMember("name", t.Name)
	if t.Description != "" {
		w.StrMember("description", t.Description)
	}
	if t.Schema != nil && t.Kind == llm.ToolFunction {
		w.RawMember("parameters", t.Schema)
	}
	if t.Strict.Set && t.Kind == llm.ToolFunction {
		w.BoolMember("strict", t.Strict.V)
	}
	if t.Grammar != nil {
		w.RawMember("format", t.Grammar)
	}
	w.Close('}')
	e.mark(t.Cache, t.At)
	e.extra(t.Extra, t.At)
	w.Close('}')
}

// mark writes a cache mark in OpenAI's words. Anthropic's are dropped: OpenAI caches by itself, and
// compatible servers refuse members that they do not know.
func (e *chatEncoder) mark(ttl llm.CacheTTL, at string) {
	switch {
	case ttl == llm.CacheUnset:
	case vendor(e.r.From):
		writeCacheMark(&e.w, ttl)
	default:
		e.l.Drop(at+"/cache_control", llm.LostNoEquivalent)
	}
}

func (e *chatEncoder) choice() {
	ch, w := &e.r.Choice, &e.w
	switch ch.Mode {
	case llm.ChoiceUnset:
		return
	case llm.ChoiceAuto, llm.ChoiceNone, llm.ChoiceRequired:
		w.StrMember("tool_choice", ch.Mode.String())
	case llm.ChoiceNamed:
		w.Name("tool_choice")
		e.named(ch.Name, ch.Custom)
	case llm.ChoiceAllowed:
		w.Name("tool_choice")
		w.Open('{')
		w.StrMember("type", "allowed_tools")
		w.Name("allowed_tools")
		w.Open('{')
		if ch.Must {
			w.StrMember("mode", "required")
		} else {
			w.StrMember("mode", "auto")
		}
		w.Name("tools")
		w.Open('[')
		for _, n := range ch.Allowed {
			t := tool(e.r.Tools, n)
			e.named(n, t != nil && t.Kind == llm.ToolCustom)
		}
		w.Close(']')
		w.Close('}')
		w.Close('}')
	}
	e.l.Extra(ch.Extra, dialect.Pointer(e.r.From, llm.FieldToolChoice))
}

func (e *chatEncoder) named(name string, custom bool) {
	kind := "function"
	if custom {
		kind = "custom"
	}
	e.w.Open('{')
	e.w.StrMember("type", kind)
	e.w.Name(kind)
	e.w.Open('{')
	e.w.StrMember("name", name)
	e.w.Close('}')
	e.w.Close('}')
}

// maxStop is how many stop sequences OpenAI takes.
const maxStop = 4

func (e *chatEncoder) sampling() {
	s, w := &e.r.Sampling, &e.w
	e.steer("temperature", s.Temperature, llm.FieldTemperature)
	e.steer("top_p", s.TopP, llm.FieldTopP)
	if s.TopK.Set {
		e.l.Field(llm.FieldTopK, llm.LostNoEquivalent)
	}
	e.penalty("frequency_penalty", s.FrequencyPenalty, llm.FieldFrequencyPenalty)
	e.penalty("presence_penalty", s.PresencePenalty, llm.FieldPresencePenalty)
	if s.Seed.Set && e.common(llm.FieldSeed) {
		w.IntMember("seed", s.Seed.V)
	}
	if e.o.Quirks.NoStop || len(s.Stop) > maxStop && !e.own {
		e.after.Stop, e.after.Choices = s.Stop, e.r.N
	} else if len(s.Stop) > 0 {
		w.Name("stop")
		w.Open('[')
		for _, x := range s.Stop {
			w.Str(x)
		}
		w.Close(']')
	}
	switch {
	case s.LogitBias == nil:
	case e.o.Quirks.NoLogprobs && dialect.Filled(s.LogitBias):
		e.l.Field(llm.FieldLogitBias, llm.LostModel)
	case vendor(e.r.From):
		w.RawMember("logit_bias", s.LogitBias)
	default:
		e.l.Field(llm.FieldLogitBias, llm.LostForeign)
	}
	if s.Logprobs && e.o.Quirks.NoLogprobs {
		e.l.Field(llm.FieldLogprobs, llm.LostModel)
	} else if s.Logprobs {
		w.BoolMember("logprobs", true)
		if s.TopLogprobs.Set {
			w.IntMember("top_logprobs", min(s.TopLogprobs.V, 20))
		}
	}
	if e.r.N > 1 {
		w.IntMember("n", e.r.N)
	}
	e.maxOutput()
}

func (e *chatEncoder) steer(name string, v llm.Opt[float64], f llm.Field) {
	switch {
	case !v.Set:
	case e.o.Quirks.NoSampling:
		if v.V != 1 { // the default says nothing
			e.l.Field(f, llm.LostModel)
		}
	default:
		e.w.FloatMember(name, v.V)
	}
}

func (e *chatEncoder) penalty(name string, v llm.Opt[float64], f llm.Field) {
	switch {
	case !v.Set:
	case e.o.Quirks.NoPenalties:
		if v.V != 0 { // the default says nothing
			e.l.Field(f, llm.LostModel)
		}
	default:
		e.w.FloatMember(name, v.V)
	}
}

// common reports whether the provider takes a member that is OpenAI's alone; if not, it is lost.
func (e *chatEncoder) common(f llm.Field) bool {
	if e.o.Quirks.OnlyCommon {
		e.l.Field(f, llm.LostModel)
	}
	return !e.o.Quirks.OnlyCommon
}

func (e *chatEncoder) maxOutput() {
	m := e.r.MaxOutput
	if !m.Set {
		return
	}
	n := m.V
	switch {
	case n == 0: // Anthropic: only warm the cache. A whole answer is not what was asked.
		e.l.Refuse(dialect.Pointer(e.r.From, llm.FieldMaxOutput), llm.LostNoEquivalent)
		return
	case !e.own && e.o.MaxOutput > 0 && n > e.o.MaxOutput: // the vendor refuses it instead of capping
		n = e.o.MaxOutput
		e.l.Field(llm.FieldMaxOutput, llm.LostRange)
	}
	e.limit = n
	name := "max_completion_tokens"
	if e.o.Quirks.LegacyMaxTokens {
		name = "max_tokens"
	}
	e.w.IntMember(name, n)
}

func (e *chatEncoder) format() {
	f, w := &e.r.Format, &e.w
	kind := ""
	switch {
	case f.Kind == llm.FormatText && e.own:
		kind = "text"
	case f.Kind == llm.FormatJSON, f.Kind == llm.FormatSchema && e.o.Quirks.NoSchema:
		kind = "json_object"
	case f.Kind == llm.FormatSchema:
		kind = "json_schema"
	}
	if kind == "" {
		return
	}
	at := dialect.FormatAt(e.r)
	w.Name("response_format")
	w.Open('{')
	w.StrMember("type", kind)
	if kind == "json_schema" {
		w.Name("json_schema")
		w.Open('{')
		w.StrMember("name", schemaName(f.Name))
		if f.Description != "" {
			w.StrMember("description", f.Description)
		}
		if f.Schema != nil {
			w.RawMember("schema", f.Schema)
		}
		if f.Strict.Set {
			w.BoolMember("strict", f.Strict.V)
		}
		e.extra(f.Extra, at)
		w.Close('}')
	} else {
		if f.Kind == llm.FormatSchema {
			e.l.Drop(at, llm.LostRewritten)
		}
		e.extra(f.Extra, at)
	}
	w.Close('}')
}

// formatHint is the system text that a request needs beside its response_format: OpenAI's JSON mode
// refuses prompts without the word, and a server without schemas must read the schema. "" = none.
func (e *chatEncoder) formatHint() string {
	f := &e.r.Format
	switch {
	case f.Kind == llm.FormatSchema && e.o.Quirks.NoSchema:
		return schemaHint(f)
	case f.Kind == llm.FormatJSON && !e.own && !mentionsJSON(e.r):
		return "Answer with one JSON object and nothing else."
	}
	return ""
}

// schemaHint is the instruction that stands for a schema where there is only JSON mode.
func schemaHint(f *llm.Format) string {
	return "Answer with one JSON object and nothing else. It must be valid against this JSON Schema:\n" + string(f.Schema)
}

func (e *chatEncoder) reasoning() {
	g, l := &e.r.Reasoning, &e.l
	effort := dialect.WantedEffort(g)
	if e.o.Quirks.NoReasoning {
		if effort > llm.EffortNone || g.Mode > llm.ReasoningOff {
			e.lostReasoning(llm.LostModel)
		}
	} else if !e.switched(effort) && effort != llm.EffortUnset {
		e.w.StrMember("reasoning_effort", effort.String())
		if effort == llm.EffortNone && g.Effort > effort {
			l.Field(llm.FieldEffort, llm.LostCombination)
		}
		if g.Budget.Set && g.Effort == llm.EffortUnset && g.Mode != llm.ReasoningOff {
			l.Field(llm.FieldBudget, llm.LostRange)
		}
	}
	if g.Mode == llm.ReasoningBetweenTools && !e.o.Quirks.NoReasoning {
		l.Field(llm.FieldReasoningMode, llm.LostNoEquivalent)
	}
	if g.Show > llm.ShowNone && !g.Implied {
		l.Field(llm.FieldShow, llm.LostNoEquivalent)
	}
	l.Extra(g.Extra, "/reasoning")
	if v := e.r.Verbosity; v != llm.VerbosityUnset && e.common(llm.FieldVerbosity) {
		e.w.StrMember("verbosity", v.String())
	}
}

// switched writes whether to think in the words of vendors that have words of their own for it, and
// reports whether that says all. A chat client's own words go on as they are.
func (e *chatEncoder) switched(effort llm.Effort) bool {
	g, w := &e.r.Reasoning, &e.w
	on := effort > llm.EffortNone || g.Mode > llm.ReasoningOff
	if e.own || !on && effort != llm.EffortNone {
		return false
	}
	switch e.o.Quirks.Switch {
	case dialect.SwitchType:
		word := "disabled"
		if on {
			word = "enabled"
		}
		w.Name("thinking")
		w.Open('{')
		w.StrMember("type", word)
		w.Close('}')
		return !on
	case dialect.SwitchBool:
		w.BoolMember("enable_thinking", on)
		if n, ok := dialect.WantedBudget(g); ok && on {
			w.IntMember("thinking_budget", n)
		}
		return true
	}
	return false
}

func (e *chatEncoder) lostReasoning(reason string) {
	g := &e.r.Reasoning
	switch {
	case g.Effort != llm.EffortUnset:
		e.l.Field(llm.FieldEffort, reason)
	case g.Budget.Set:
		e.l.Field(llm.FieldBudget, reason)
	default:
		e.l.Field(llm.FieldReasoningMode, reason)
	}
}

// account writes what says who asks, what is kept, and at which price.
func (e *chatEncoder) account() {
	r, w, l := e.r, &e.w, &e.l
	if r.User != "" && e.common(llm.FieldUser) {
		id, rewritten := endUser(r.User)
		name := "user" // which compatible servers know too
		if e.own && r.Extra.Get("user") != nil {
			name = "safety_identifier" // the client has stated both
		}
		w.StrMember(name, id)
		if rewritten {
			l.Field(llm.FieldUser, llm.LostRewritten)
		}
	}
	if len(r.Metadata) > 0 && e.common(llm.FieldMetadata) {
		if e.own || r.Store.Is(true) {
			w.Name("metadata")
			w.Open('{')
			for _, p := range r.Metadata {
				w.Key(p.Key)
				w.Str(p.Value)
			}
			w.Close('}')
		} else { // OpenAI takes it only with answers that it stores
			l.Field(llm.FieldMetadata, llm.LostCombination)
		}
	}
	switch word, ok := tier(r); {
	case ok && word != "" && !e.common(llm.FieldServiceTier):
	case !ok:
		l.Field(llm.FieldServiceTier, llm.LostNoEquivalent)
	case word != "":
		w.StrMember("service_tier", word)
	}
	if r.Store.Set && (e.own || r.Store.V) && e.common(llm.FieldStore) {
		w.BoolMember("store", r.Store.V)
	}
	if r.CacheKey != "" && e.common(llm.FieldCacheKey) {
		w.StrMember("prompt_cache_key", r.CacheKey)
	}
	e.cache()
}

// cache writes the mark on the whole prompt. OpenAI sets one by itself, for half an hour.
func (e *chatEncoder) cache() {
	switch ttl := e.r.Cache; {
	case ttl == llm.CacheUnset || ttl == llm.CacheDefault || ttl == llm.Cache5m:
	case e.o.Quirks.OnlyCommon:
		e.l.Field(llm.FieldCache, llm.LostModel)
	case vendor(e.r.From):
		e.w.Name("prompt_cache_options")
		e.w.Open('{')
		e.w.StrMember("ttl", ttl.String())
		e.w.Close('}')
	default:
		e.l.Field(llm.FieldCache, llm.LostRange)
	}
}
