package anthropic

import (
	"cmp"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// plan is what thinking and sampling come to.
type plan struct {
	thinking  string // type; "" = not stated
	budget    int64
	display   string
	effort    string
	maxTokens int64

	temperature, topP llm.Opt[float64]
	topK              llm.Opt[int64]
}

func (p *plan) on() bool { return p.thinking != "" && p.thinking != "disabled" }

// planThinking turns effort, budget and mode into what the vendor takes, and takes thinking back where
// something else in the request excludes it: the vendor would refuse the request.
func (e *requestEncoder) planThinking() {
	q, p := &e.r.Reasoning, &e.plan
	p.maxTokens = e.maxOutput()
	if e.o.Quirks.NoReasoning {
		e.dropReasoning()
		return
	}
	e.wantThinking()
	if p.on() && e.excludesThinking() {
		p.thinking, p.budget = e.off(), 0
		e.l.Field(e.statedField(), llm.LostCombination)
	}
	if p.thinking == "disabled" && e.o.Quirks.NoBudget && (p.effort == "xhigh" || p.effort == "max") {
		p.effort = "high" // more than that, models of this kind refuse without thinking
		e.l.Field(llm.FieldEffort, llm.LostCombination)
	}
	if p.thinking == "enabled" {
		e.makeRoom()
	}
	if p.thinking == "enabled" || p.thinking == "adaptive" {
		switch {
		case e.same && q.Implied:
		case q.Show == llm.ShowNone:
			p.display = "omitted"
		case q.Show == llm.ShowSummary:
			p.display = "summarized"
		case q.Show == llm.ShowConcise, q.Show == llm.ShowDetailed:
			p.display = "summarized"
			e.l.Field(llm.FieldShow, llm.LostRange)
		}
	}
}

func (e *requestEncoder) maxOutput() int64 {
	known := e.o.MaxOutput
	if !e.r.MaxOutput.Set {
		fill := cmp.Or(e.o.Fill, dialect.FillMax)
		if known > 0 {
			fill = min(fill, known)
		}
		return fill
	}
	if known > 0 && e.r.MaxOutput.V > known {
		e.l.Field(llm.FieldMaxOutput, llm.LostRange)
		return known
	}
	return e.r.MaxOutput.V
}

func (e *requestEncoder) dropReasoning() {
	q := &e.r.Reasoning
	if q.Mode == llm.ReasoningOff || q.Effort == llm.EffortNone {
		return // what was asked for
	}
	for _, s := range [...]struct {
		stated bool
		field  llm.Field
	}{
		{q.Effort != llm.EffortUnset, llm.FieldEffort},
		{q.Budget.Set, llm.FieldBudget},
		{q.Mode > llm.ReasoningOn, llm.FieldReasoningMode},
		{q.Show > llm.ShowNone && !q.Implied, llm.FieldShow},
	} {
		if s.stated {
			e.l.Field(s.field, llm.LostModel)
		}
	}
}

// statedField is how the client asked for thinking.
func (e *requestEncoder) statedField() llm.Field {
	q := &e.r.Reasoning
	switch {
	case q.Budget.Set:
		return llm.FieldBudget
	case q.Mode != llm.ReasoningUnset:
		return llm.FieldReasoningMode
	case q.Effort != llm.EffortUnset:
		return llm.FieldEffort
	}
	return llm.FieldShow
}

func (e *requestEncoder) wantThinking() {
	q, p := &e.r.Reasoning, &e.plan
	noEffort := e.o.Quirks.NoEffort
	switch {
	case q.Mode == llm.ReasoningOff || q.Effort == llm.EffortNone:
		if p.thinking = e.off(); p.thinking != "disabled" {
			p.effort, _ = dialect.EffortName(llm.AnthropicMessages, llm.EffortNone)
			e.l.Field(e.statedField(), llm.LostRange)
		}
	case q.Budget.Set && e.o.Quirks.NoBudget:
		p.thinking = "adaptive"
		if q.Effort == llm.EffortUnset {
			p.effort, _ = dialect.EffortName(llm.AnthropicMessages, dialect.EffortOf(q.Budget.V))
		}
		e.l.Field(llm.FieldBudget, llm.LostRewritten)
	case q.Budget.Set:
		p.thinking, p.budget = "enabled", q.Budget.V
	case q.Mode == llm.ReasoningUnset && q.Effort == llm.EffortUnset && q.Show <= llm.ShowNone:
		return
	case q.Mode == llm.ReasoningUnset && e.same:
		// The vendor's own effort does not switch thinking on.
	case noEffort:
		p.thinking, p.budget = "enabled", dialect.Budget(llm.EffortMedium)
		if n, ok := dialect.WantedBudget(q); ok {
			p.budget = n
		}
		if q.Mode > llm.ReasoningOn {
			e.l.Field(llm.FieldReasoningMode, llm.LostRewritten)
		}
	case q.Mode == llm.ReasoningBetweenTools:
		p.thinking = "between_tools"
	default:
		p.thinking = "adaptive"
	}
	if q.Effort > llm.EffortNone {
		word, exact := dialect.EffortName(llm.AnthropicMessages, q.Effort)
		switch {
		case noEffort && q.Budget.Set, noEffort && !p.on():
			e.l.Field(llm.FieldEffort, llm.LostModel)
		case noEffort: // it became the budget
		default:
			if p.effort = word; !exact {
				e.l.Field(llm.FieldEffort, llm.LostRange)
			}
		}
	}
	if p.thinking == "enabled" && p.budget < minBudget {
		p.budget = minBudget
		if q.Budget.Set {
			e.l.Field(llm.FieldBudget, llm.LostRange)
		}
	}
}

// off is the word for as little thinking as the model takes; "" when it always thinks as it likes.
func (e *requestEncoder) off() string {
	switch {
	case e.o.Quirks.AlwaysThinks:
		return ""
	case e.o.Quirks.LeastBetween:
		return "between_tools"
	}
	return "disabled"
}

// excludesThinking: no forced tool, no prefill, and with a fixed budget the assistant turn of an open
// tool loop must begin with its thinking, which foreign histories do not have.
func (e *requestEncoder) excludesThinking() bool {
	if e.forced() {
		return true
	}
	if last := e.lastTurn(); last != nil && last.role == llm.RoleAssistant {
		return !e.same
	}
	if e.plan.thinking != "enabled" || e.same {
		return false
	}
	// The loop begins with the first assistant turn after the user's last words.
	first := -1
	for i := len(e.turns) - 1; i >= 0; i-- {
		t := e.turns[i]
		if t.role == llm.RoleUser && len(t.results) == 0 {
			break
		}
		if t.role == llm.RoleAssistant {
			first = i
		}
	}
	return first >= 0 && e.turns[first].rest[0].p.Kind != llm.PartThinking
}

// makeRoom raises max_tokens above the budget, as far as the model goes, and then lowers the budget.
func (e *requestEncoder) makeRoom() {
	p := &e.plan
	if e.r.Op == llm.OpCountTokens || e.same || p.maxTokens > p.budget {
		return
	}
	want := p.maxTokens + p.budget
	if e.r.MaxOutput.Set {
		e.l.Field(llm.FieldMaxOutput, llm.LostRange)
	} else {
		want = p.maxTokens // the model's maximum, or ours
	}
	if m := e.o.MaxOutput; m > 0 {
		want = min(want, m)
	}
	if p.maxTokens = want; p.budget < want {
		return
	}
	p.budget = want * 3 / 4
	if e.r.Reasoning.Budget.Set {
		e.l.Field(llm.FieldBudget, llm.LostRange)
	}
	if p.budget < minBudget {
		p.thinking, p.budget = "disabled", 0
		e.l.Field(e.statedField(), llm.LostCombination)
	}
}

func (e *requestEncoder) writeThinking() {
	w, p := &e.w, &e.plan
	if p.thinking != "" {
		w.Name("thinking")
		w.Open('{')
		w.StrMember("type", p.thinking)
		if p.thinking == "enabled" {
			w.IntMember("budget_tokens", p.budget)
		}
		if p.display != "" {
			w.StrMember("display", p.display)
		}
		if e.same {
			w.Extra(e.r.Reasoning.Extra)
		}
		w.Close('}')
	}
	schema := e.schema != nil && !e.output && e.r.Format.Kind == llm.FormatSchema
	extra := e.same && len(e.r.Format.Extra) > 0
	if p.effort == "" && !schema && !extra {
		return
	}
	w.Name("output_config")
	w.Open('{')
	if p.effort != "" {
		w.StrMember("effort", p.effort)
	}
	if schema {
		w.Name("format")
		w.Open('{')
		w.StrMember("type", "json_schema")
		w.RawMember("schema", e.schema)
		w.Close('}')
	}
	if extra {
		w.Extra(e.r.Format.Extra)
	}
	w.Close('}')
}
