package edge

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// narrow takes the account that the client names.
func (s *Server) narrow(x *exchange) error {
	if id := x.r.Header.Get("X-Causeway-Provider"); id != "" {
		p := x.snapshot.Providers[id]
		if p == nil || !p.Open(x.key.Tenant) {
			f := fault.New(fault.Malformed, "x-causeway-provider: this tenant has no account %q", cut(id, 64))
			f.Param = "x-causeway-provider"
			return f
		}
		x.only = p
	}
	return nil
}

// bind finds the account that keeps what the request refers to.
func (s *Server) bind(x *exchange) error {
	k := x.head.Kept
	if k.Previous == "" && !k.Conversation || !x.reaches(func(p *view.Provider) bool { return p.Speaks(x.op.dialect) }) {
		return nil // what no provider of the model keeps is refused by the conversion, which names the field
	}
	x.own = k.Conversation // conversations are never marked: they are for accounts of one tenant
	if k.Previous == "" {
		return nil
	}
	raw, p, ok := s.tokens(x).unmark(x.key.Tenant.ID, k.Previous, x.key.Tenant.Keepers)
	if !ok && x.key.Tenant.Unmarked {
		return nil
	}
	f := fault.New(fault.PreviousNotFound, "Previous response with id %s not found: this tenant has no such response here", dialect.Quote(cut(k.Previous, 100)))
	f.Param = "previous_response_id"
	switch {
	case !ok:
		return f
	case x.only != nil && x.only != p:
		f.Message = "the previous response is kept by another account than x-causeway-provider names"
		return f
	case !x.reaches(func(to *view.Provider) bool { return to == p }):
		f.Kind, f.Message = fault.Malformed, "the account that keeps the previous response does not serve this model; name one of the models that it serves"
		return f
	}
	x.only = p
	x.unmark = []splice.Edit{{Span: k.PreviousSpan, Text: []byte(dialect.Quote(raw))}}
	return nil
}

// reaches reports whether the model or one of its fallbacks goes to an account of that kind.
func (x *exchange) reaches(kind func(p *view.Provider) bool) bool {
	to := func(t view.Target) bool { return kind(t.Provider) }
	return slices.ContainsFunc(x.model.Targets, to) || slices.ContainsFunc(x.model.Fallbacks, func(m *view.Model) bool {
		return x.key.MayUse(m.ID) && slices.ContainsFunc(m.Targets, to)
	})
}

// merge puts edits of different spans in order.
func merge(a, b []splice.Edit) []splice.Edit {
	if len(b) == 0 {
		return a
	}
	out := slices.Concat(a, b)
	slices.SortFunc(out, byStart)
	return out
}

func byStart(a, b splice.Edit) int { return a.Span.Start - b.Span.Start }

// marker marks the ids of responses in an answer; nil where that is not needed.
type marker struct {
	tokens           *tokens
	tenant, provider string
	spans            []splice.Span
	buf              []byte
}

func (s *Server) marker(x *exchange, r *route) *marker {
	if x.op.op == llm.OpStored && x.op.response == "" {
		return nil
	}
	if x.op.dialect != llm.OpenAIResponses || r.dialect != llm.OpenAIResponses || r.convert || x.key.Tenant.Unmarked || x.head.Kept.NotStored {
		return nil
	}
	return &marker{tokens: s.tokens(x), tenant: x.key.Tenant.ID, provider: r.target.Provider.ID}
}

// whole marks a whole answer.
func (m *marker) whole(doc []byte) []byte {
	m.spans = openai.ResponseIDs(m.spans[:0], doc)
	return m.apply(doc, doc)
}

// event marks one event of a stream. What it returns is valid until the next call.
func (m *marker) event(raw, data []byte) []byte {
	if m.spans = openai.EventResponseIDs(m.spans[:0], data); len(m.spans) == 0 {
		return raw
	}
	return m.apply(raw, data)
}

// apply writes the marks into raw, which holds data in one piece. An id that cannot be marked stays
// as it is, and then cannot be used.
func (m *marker) apply(raw, data []byte) []byte {
	at := bytes.Index(raw, data)
	if at < 0 || len(m.spans) == 0 {
		return raw
	}
	m.buf = m.buf[:0]
	from := 0
	for _, sp := range m.spans {
		end := at + sp.End - 1 // before the closing quote
		m.buf = append(m.buf, raw[from:end]...)
		m.buf = append(m.buf, m.tokens.mark(m.tenant, m.provider, dialect.Unquote(sp.Of(data)))...)
		from = end
	}
	m.buf = append(m.buf, raw[from:]...)
	return m.buf
}

// modelVerdict is what holds for one model that a request without a model may touch.
type modelVerdict struct {
	model   *view.Model
	verdict compliance.Verdict
}

// storedModel stands for the model in requests about stored things.
const storedModel = "(stored)"

// resolveStored finds the accounts whose stored things the request may be about: those that serve a
// model of this key in the client's protocol and, but for responses, which are marked, belong to this
// tenant alone. A provider does not know our tenants apart: what one stores in a shared account, any
// other could list. Whose the things are is decided by tenant: a key's models say what it may have made,
// not what it may read or delete of its tenant's (DESIGN.md, Stored things).
func (s *Server) resolveStored(x *exchange) error {
	t := x.key.Tenant
	if id := x.op.response; id != "" {
		raw, p, ok := s.tokens(x).unmark(t.ID, id, t.Keepers)
		if !ok && !t.Unmarked || ok && x.only != nil && x.only != p {
			return fault.New(fault.ResourceNotFound, "Response with id '%s' not found: this tenant has no such response here", cut(id, 100))
		}
		if ok {
			x.only = p
			x.op.path = strings.Replace(x.op.path, id, raw, 1)
		}
	}
	if err := s.openUpload(x); err != nil {
		return err
	}
	if x.op.pass.Batch && x.r.Method == http.MethodPost {
		switch {
		case !x.key.Unrestricted():
			return fault.New(fault.Forbidden, `a batch may name any model inside its file, so it takes an API key for all models (models: ["*"])`)
		case x.key.LimitsTokens():
			return fault.New(fault.Forbidden, "the tokens of a batch are not counted here, so a key with a limit on tokens per minute may not start one")
		}
	}
	x.model = &view.Model{ID: storedModel}
	var shared []string
	for _, name := range x.snapshot.ModelNames {
		m, _ := x.snapshot.Model(name)
		if !x.key.MayUse(name) {
			continue
		}
		for _, target := range m.Targets {
			p := target.Provider
			if _, ok := speaks(p, x.op); !ok || !p.Open(t) || x.only != nil && x.only != p {
				continue
			}
			if x.op.response == "" && !x.snapshot.Owns(t, p) {
				if !slices.Contains(shared, p.ID) {
					shared = append(shared, p.ID)
				}
				continue
			}
			if !x.model.At(p) {
				x.model.Targets = append(x.model.Targets, view.Target{Provider: p, Weight: 1})
			}
		}
	}
	// Another key of the tenant may have stored it with a model that this one may not use.
	for _, name := range x.snapshot.ModelNames {
		m, _ := x.snapshot.Model(name)
		if slices.ContainsFunc(m.Targets, func(t view.Target) bool { return x.model.At(t.Provider) }) {
			x.touched = append(x.touched, modelVerdict{model: m})
		}
	}
	switch {
	case len(x.model.Targets) > 0:
		x.outcome.Model = x.model.ID
		return nil
	case len(shared) > 0:
		return fault.New(fault.Forbidden, "what is stored at %s cannot be kept apart from what other tenants store there; give this tenant an account of its own (provider setting tenant: %s)",
			strings.Join(shared, ", "), t.ID)
	case x.only != nil:
		return fault.New(fault.Unsupported, "the account %s serves no model of this key in the protocol %s", x.only.ID, x.op.dialect)
	}
	return fault.New(fault.Unsupported, "no account that serves a model of this key speaks %s", x.op.dialect)
}

// decideStored asks for every model that the stored thing may have to do with, since nobody says which
// it is: all of them must permit it.
func (s *Server) decideStored(x *exchange) {
	for i := range x.touched {
		f := x.facts
		f.Model = x.touched[i].model.ID
		v := x.snapshot.Policy.Decide(f)
		x.touched[i].verdict = v
		if i == 0 {
			x.verdict = v
			x.verdict.Rules = slices.Clone(v.Rules)
			continue
		}
		x.verdict.Audit = max(x.verdict.Audit, v.Audit)
		for _, r := range v.Rules {
			if !slices.Contains(x.verdict.Rules, r) {
				x.verdict.Rules = append(x.verdict.Rules, r)
			}
		}
	}
	x.outcome.Rules = x.verdict.Rules
}

// single refuses a request that several accounts could mean.
func (s *Server) single(x *exchange) error {
	var ids []string
	for i := range x.ways {
		if id := x.ways[i].target.Provider.ID; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) < 2 {
		return nil
	}
	slices.Sort(ids)
	f := fault.New(fault.Malformed, "several accounts could be meant: name one in the header x-causeway-provider (%s)", strings.Join(ids, ", "))
	f.Param = "x-causeway-provider"
	return f
}
