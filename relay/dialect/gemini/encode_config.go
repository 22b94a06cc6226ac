package gemini

import (
	"math"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

const (
	maxStops    = 5   // the vendor's limit on stop sequences
	leastBudget = 128 // of models that cannot do without thinking (gemini-2.5-pro)
)

// config writes generationConfig.
func (e *encoder) config() {
	e.Name("generationConfig")
	e.Open('{')
	r, s := e.r, &e.r.Sampling
	if r.N > 1 {
		e.IntMember("candidateCount", r.N)
	}
	if n := r.MaxOutput; n.Set {
		e.limit = n.V
		if n.V < 1 { // Anthropic's wish to warm the cache only
			e.limit = 1
		} else if m := e.o.MaxOutput; m > 0 && n.V > m && !e.home { // refused, not cut
			e.limit = m
		}
		if e.limit != n.V {
			e.l.Field(llm.FieldMaxOutput, llm.LostRange)
		}
		e.IntMember("maxOutputTokens", e.limit)
	}
	e.sampling()
	if len(s.Stop) > maxStops && !e.home {
		e.after.Stop, e.after.Choices = s.Stop, r.N
	} else if len(s.Stop) > 0 {
		e.Name("stopSequences")
		e.strings(s.Stop)
	}
	if dialect.Filled(s.LogitBias) {
		e.l.Field(llm.FieldLogitBias, llm.LostNoEquivalent)
	}
	if s.Logprobs {
		e.BoolMember("responseLogprobs", true)
	}
	if s.Logprobs && s.TopLogprobs.V > 0 {
		e.IntMember("logprobs", s.TopLogprobs.V)
	}
	e.format()
	e.thinking()
	if e.home {
		e.extraAt(configPath)
	}
	e.Close('}')
}

func (e *encoder) sampling() {
	s := &e.r.Sampling
	for _, x := range [...]struct {
		name     string
		v        llm.Opt[float64]
		f        llm.Field
		low, top float64
		refused  bool
	}{
		{"temperature", s.Temperature, llm.FieldTemperature, 0, 2, e.o.Quirks.NoSampling},
		{"topP", s.TopP, llm.FieldTopP, 0, 1, e.o.Quirks.NoSampling},
		{"presencePenalty", s.PresencePenalty, llm.FieldPresencePenalty, -2, 1.99, false}, // 2 is outside the vendor's range
		{"frequencyPenalty", s.FrequencyPenalty, llm.FieldFrequencyPenalty, -2, 1.99, false},
	} {
		v := min(max(x.v.V, x.low), x.top)
		switch {
		case !x.v.Set:
			continue
		case x.refused:
			e.l.Field(x.f, llm.LostModel)
			continue
		case v != x.v.V:
			e.l.Field(x.f, llm.LostRange)
		}
		e.FloatMember(x.name, v)
	}
	switch {
	case !s.TopK.Set:
	case e.o.Quirks.NoSampling:
		e.l.Field(llm.FieldTopK, llm.LostModel)
	default:
		e.IntMember("topK", s.TopK.V)
	}
	if seed := s.Seed; seed.Set {
		if seed.V != int64(int32(seed.V)) { // the vendor's field has 32 bits; the same seed stays the same
			e.l.Field(llm.FieldSeed, llm.LostRange)
			seed.V = (seed.V ^ seed.V>>32) & math.MaxInt32
		}
		e.IntMember("seed", seed.V)
	}
}

func (e *encoder) format() {
	f := &e.r.Format
	at := dialect.FormatAt(e.r)
	switch f.Kind {
	case llm.FormatText:
		e.StrMember("responseMimeType", "text/plain")
	case llm.FormatJSON:
		e.StrMember("responseMimeType", "application/json")
	case llm.FormatSchema:
		e.StrMember("responseMimeType", "application/json")
		switch {
		case e.o.Quirks.NoSchema:
			e.l.Drop(at, llm.LostModel)
		case len(f.Schema) > 0:
			e.RawMember("responseJsonSchema", f.Schema)
		}
		if f.Description != "" {
			e.l.Drop(dialect.Child(at, "description"), llm.LostNoEquivalent)
		}
	}
	e.l.Extra(f.Extra, at)
}

// thinking writes thinkingConfig. Level and budget exclude each other: what the client stated is used,
// and converted only where the model lacks it.
func (e *encoder) thinking() {
	t := &e.r.Reasoning
	if e.o.Quirks.NoReasoning {
		if t.Stated() {
			e.l.Field(llm.FieldReasoningMode, llm.LostModel)
		}
		return
	}
	if !t.Stated() && (len(t.Extra) == 0 || !e.home) {
		e.l.Extra(t.Extra, dialect.Pointer(e.r.From, llm.FieldReasoningMode))
		return
	}
	e.Name("thinkingConfig")
	e.Open('{')
	show := t.Show
	if !e.home {
		show = t.Visible()
	}
	switch show {
	case llm.ShowNone:
		e.BoolMember("includeThoughts", false)
	case llm.ShowConcise, llm.ShowDetailed:
		e.l.Field(llm.FieldShow, llm.LostRange)
		fallthrough
	case llm.ShowSummary:
		e.BoolMember("includeThoughts", true)
	}
	if t.Mode == llm.ReasoningBetweenTools {
		e.l.Field(llm.FieldReasoningMode, llm.LostRange)
	}
	e.effort(t)
	if e.home {
		e.Extra(t.Extra)
	} else {
		e.l.Extra(t.Extra, dialect.Pointer(e.r.From, llm.FieldReasoningMode))
	}
	e.Close('}')
}

func (e *encoder) effort(t *llm.Reasoning) {
	off := t.Mode == llm.ReasoningOff || t.Effort == llm.EffortNone
	if off && t.Effort > llm.EffortNone {
		e.l.Field(llm.FieldEffort, llm.LostCombination)
	}
	switch {
	case off && e.o.Quirks.AlwaysThinks && e.o.Quirks.NoEffort && !e.home:
		e.IntMember("thinkingBudget", leastBudget)
		e.lostOff(t)
	case off && (e.home || e.o.Quirks.NoEffort):
		e.IntMember("thinkingBudget", 0)
	case off: // models with levels cannot be switched off
		e.StrMember("thinkingLevel", e.level(llm.EffortNone))
		e.lostOff(t)
	case t.Budget.Set:
		e.IntMember("thinkingBudget", t.Budget.V)
		if t.Effort != llm.EffortUnset {
			e.l.Field(llm.FieldEffort, llm.LostCombination)
		}
	case t.Effort != llm.EffortUnset && e.o.Quirks.NoEffort:
		e.IntMember("thinkingBudget", dialect.Budget(t.Effort))
		if t.Effort > llm.EffortHigh {
			e.l.Field(llm.FieldEffort, llm.LostRange)
		}
	case t.Effort != llm.EffortUnset:
		word := e.level(t.Effort)
		e.StrMember("thinkingLevel", word)
		if !strings.EqualFold(word, t.Effort.String()) {
			e.l.Field(llm.FieldEffort, llm.LostRange)
		}
	case t.Mode != llm.ReasoningUnset: // on, adaptive: as much as the model wants
		e.IntMember("thinkingBudget", -1)
	}
}

// level is the word for an effort; models that always think have no MINIMAL.
func (e *encoder) level(f llm.Effort) string {
	if e.o.Quirks.AlwaysThinks && !e.home {
		f = max(f, llm.EffortLow)
	}
	word, _ := dialect.EffortName(llm.Gemini, f)
	return word
}

// lostOff reports that thinking could not be switched off.
func (e *encoder) lostOff(t *llm.Reasoning) {
	if t.Effort == llm.EffortNone {
		e.l.Field(llm.FieldEffort, llm.LostRange)
	} else {
		e.l.Field(llm.FieldReasoningMode, llm.LostRange)
	}
}
