package anthropic

import (
	"net/http"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Versions of the API. The newer one refuses sampling parameters and takes system text in place.
const (
	versionOld = "2023-06-01"
	versionNew = "2026-10-21"
)

const (
	maxUserID = 256
	maxMarks  = 4 // cache marks in one request
)

// requestEncoder writes one request for a provider.
type requestEncoder struct {
	r    *llm.Request
	o    dialect.EncodeOptions
	l    dialect.Losses
	w    dialect.Writer
	same bool // the client speaks this dialect: nothing needs to be guessed or clamped

	system []*llm.Part
	turns  []*turn
	called []string // names of calls in history
	tools  []*llm.Tool
	choice llm.ToolChoice
	stubs  bool // only history has tools
	output bool // structured output through a forced tool
	schema llm.Raw
	plan   plan
	skip   int  // cache marks to leave out
	long   bool // cache marks are all of the long lifetime
	files  bool
	stop   []string // sequences that the vendor takes
	after  dialect.After
}

// EncodeRequest implements dialect.ProviderCodec.
func (Backend) EncodeRequest(r *llm.Request, o dialect.EncodeOptions) (dialect.Encoded, error) {
	e := requestEncoder{r: r, o: o, l: dialect.Losses{From: r.From, To: llm.AnthropicMessages}, same: r.From == llm.AnthropicMessages}
	if !e.same {
		e.r, e.after.Names = dialect.FitNames(r, dialect.NamesAnthropic)
	}
	e.build()
	e.chooseTools()
	e.prepareFormat()
	e.planThinking()
	e.settings()
	e.prefill()
	e.countMarks()
	if err := e.l.Err(); err != nil {
		return dialect.Encoded{}, err
	}
	size := 1 << 10
	r.Parts(func(p *llm.Part) { size += min(len(p.Text), 1<<20) + 96 })
	e.w = dialect.NewBodyWriter(size)
	e.write()
	h := http.Header{"Anthropic-Version": {versionOld}}
	if slices.ContainsFunc(e.turns, func(t *turn) bool { return t.role == llm.RoleSystem }) {
		h["Anthropic-Version"] = []string{versionNew}
	}
	if e.files {
		h["Anthropic-Beta"] = []string{"files-api-2025-04-14"}
	}
	return dialect.Encoded{Body: e.w.Body(), Header: h, Losses: e.l.List, Limit: e.plan.maxTokens, After: e.after}, nil
}

func (e *requestEncoder) write() {
	w := &e.w
	w.Open('{')
	w.StrMember("model", e.o.Model)
	generate := e.r.Op != llm.OpCountTokens
	if generate {
		w.IntMember("max_tokens", e.plan.maxTokens)
	}
	if len(e.system) > 0 || e.jsonMode() {
		w.Name("system")
		w.Open('[')
		for _, p := range e.system {
			e.block(item{p: p}, llm.RoleSystem)
		}
		if e.jsonMode() {
			w.Open('{')
			w.StrMember("type", "text")
			w.StrMember("text", jsonInstruction)
			w.Close('}')
		}
		w.Close(']')
	}
	w.Name("messages")
	w.Open('[')
	for _, t := range e.turns {
		w.Open('{')
		w.StrMember("role", t.role.String())
		w.Name("content")
		w.Open('[')
		for _, it := range t.results {
			e.block(it, t.role)
		}
		for _, it := range t.rest {
			e.block(it, t.role)
		}
		w.Close(']')
		w.Close('}')
	}
	w.Close(']')
	e.writeTools()
	e.writeChoice()
	e.writeThinking()
	if generate {
		e.writeSampling()
	}
	if e.r.Cache != llm.CacheUnset {
		e.cacheControl(e.r.Cache)
	}
	if e.same {
		w.Extra(e.r.Extra)
	}
	w.Close('}')
}

// settings reports the settings that this protocol does not have. Values that say what would happen
// anyway are no loss.
func (e *requestEncoder) settings() {
	r, l := e.r, &e.l
	s := &r.Sampling
	if !e.same {
		l.Extra(r.Extra, "")
		l.Extra(r.Format.Extra, dialect.FormatAt(r))
		l.Extra(r.Choice.Extra, dialect.Pointer(r.From, llm.FieldToolChoice))
		l.Extra(r.Reasoning.Extra, dialect.Pointer(r.From, llm.FieldReasoningMode))
	}
	if ttlOf(r.Cache) != r.Cache {
		l.Field(llm.FieldCache, llm.LostRange)
	}
	if r.Op == llm.OpCountTokens {
		return // the count depends on nothing below
	}
	lost := func(has bool, f llm.Field) {
		if has {
			l.Field(f, llm.LostNoEquivalent)
		}
	}
	lost(r.N > 1, llm.FieldN)
	lost(s.FrequencyPenalty.V != 0, llm.FieldFrequencyPenalty)
	lost(s.PresencePenalty.V != 0, llm.FieldPresencePenalty)
	lost(s.Seed.Set, llm.FieldSeed)
	lost(dialect.Filled(s.LogitBias), llm.FieldLogitBias)
	lost(s.Logprobs, llm.FieldLogprobs)
	lost(s.TopLogprobs.V > 0, llm.FieldTopLogprobs)
	lost(r.Verbosity == llm.VerbosityLow || r.Verbosity == llm.VerbosityHigh, llm.FieldVerbosity)
	lost(len(r.Metadata) > 0, llm.FieldMetadata)
	lost(r.Store.Is(true), llm.FieldStore)
	lost(r.CacheKey != "", llm.FieldCacheKey)
	lost(r.ServiceTier != "" && e.tier() == "" && r.ServiceTier != "auto", llm.FieldServiceTier)
	if e.stop = s.Stop; !e.same && slices.ContainsFunc(s.Stop, blank) {
		e.stop, e.after.Stop = nil, s.Stop // the vendor refuses white space
	}
	if len(r.User) > maxUserID {
		l.Field(llm.FieldUser, llm.LostRange)
	}
	e.planSampling()
}

// tier is the client's service tier in the vendor's words: auto | standard_only.
func (e *requestEncoder) tier() string {
	switch e.r.ServiceTier {
	case "standard_only", "default", "standard":
		return "standard_only"
	case "auto":
		if e.same {
			return "auto"
		}
	}
	return ""
}

// prefill handles a final assistant turn, which the model continues.
func (e *requestEncoder) prefill() {
	last := e.lastTurn()
	if last == nil || last.role != llm.RoleAssistant {
		return
	}
	if e.o.Quirks.NoPrefill {
		e.l.Refuse(last.at, llm.LostModel)
		return
	}
	// The vendor refuses a prefill that ends in white space.
	if n := len(last.rest) - 1; last.rest[n].p.Kind == llm.PartText {
		p := *last.rest[n].p
		if p.Text = strings.TrimRight(p.Text, " \t\r\n"); p.Text != last.rest[n].p.Text {
			e.l.Drop(p.At, llm.LostRewritten)
			last.rest[n].p = &p
		}
	}
}

func (e *requestEncoder) lastTurn() *turn {
	if len(e.turns) == 0 {
		return nil
	}
	return e.turns[len(e.turns)-1]
}

// ttlOf is the lifetime that the vendor has for c: the next longer one, or the longest.
func ttlOf(c llm.CacheTTL) llm.CacheTTL {
	if c == llm.Cache30m || c == llm.Cache12h {
		return llm.Cache1h
	}
	return c
}

// countMarks reports cache marks that are too many, or of a lifetime that the vendor does not have.
// Of too many the first are left out: later ones cover more of the prompt.
func (e *requestEncoder) countMarks() {
	n, brief := 0, short(e.r.Cache)
	e.long = ttlOf(e.r.Cache) == llm.Cache1h
	e.marks(func(c llm.CacheTTL, _ string) {
		brief = brief || short(c)
		e.long = e.long || ttlOf(c) == llm.Cache1h
	})
	// The vendor refuses a long one after a short one. Its own clients know that.
	e.long = e.long && brief && !e.same
	visit := func(c llm.CacheTTL, at string) {
		if c == llm.CacheUnset {
			return
		}
		n++
		if ttlOf(c) != c || e.long && short(c) {
			e.l.Drop(dialect.Child(at, dialect.CacheMember(e.r.From)), llm.LostRange)
		}
	}
	e.marks(visit)
	room := maxMarks
	if e.r.Cache != llm.CacheUnset {
		room--
	}
	if e.skip = max(0, n-room); e.skip > 0 {
		left := e.skip
		e.marks(func(c llm.CacheTTL, at string) {
			if c != llm.CacheUnset && left > 0 {
				left--
				e.l.Drop(dialect.Child(at, dialect.CacheMember(e.r.From)), llm.LostRange)
			}
		})
	}
}

// short reports a mark of the vendor's shorter lifetime.
func short(c llm.CacheTTL) bool {
	return c != llm.CacheUnset && ttlOf(c) != llm.Cache1h
}

// marks visits the places of cache marks in the order in which they are written. Opaque parts bring
// their own.
func (e *requestEncoder) marks(f func(c llm.CacheTTL, at string)) {
	part := func(p *llm.Part) {
		if p.Opaque.For(llm.AnthropicMessages, e.o.Scope) || p.Kind == llm.PartThinking {
			return
		}
		for i := range p.Content {
			f(p.Content[i].Cache, p.Content[i].At)
		}
		f(p.Cache, p.At)
	}
	for _, p := range e.system {
		part(p)
	}
	for _, t := range e.turns {
		for _, it := range t.results {
			part(it.p)
		}
		for _, it := range t.rest {
			part(it.p)
		}
	}
	for _, t := range e.tools {
		if t.Kind == llm.ToolFunction {
			f(t.Cache, t.At)
		}
	}
}

// cacheControl writes a mark unless it is one too many.
func (e *requestEncoder) mark(c llm.CacheTTL) {
	if c == llm.CacheUnset {
		return
	}
	if e.skip > 0 {
		e.skip--
		return
	}
	e.cacheControl(c)
}

func (e *requestEncoder) cacheControl(c llm.CacheTTL) {
	w := &e.w
	w.Name("cache_control")
	w.Open('{')
	w.StrMember("type", "ephemeral")
	if c = ttlOf(c); e.long {
		c = llm.Cache1h
	}
	if c != llm.CacheDefault {
		w.StrMember("ttl", c.String())
	}
	w.Close('}')
}
