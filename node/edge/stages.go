package edge

import (
	"net/http"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/coordinator/lease"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
)

// peek learns the head. It is the only parser whose result decides anything.
func (s *Server) peek(x *exchange) error {
	h, err := x.peekHead()
	if err != nil {
		return err
	}
	if x.op.dialect == llm.Gemini && x.op.pass == nil {
		h.Model, h.Stream = strings.TrimPrefix(x.op.model, "models/"), x.op.stream
	}
	x.head = h
	x.outcome.Stream = h.Stream
	if x.strict, err = strict(x.r.Header); err != nil {
		return err
	}
	if h.Model == "" && x.op.op != llm.OpStored {
		f := fault.New(fault.Malformed, "model: missing; name one of the models that GET /v1/models lists")
		f.Param = "model"
		return f
	}
	return nil
}

// strict reads x-causeway-strict. A value that is not understood is refused: the client would believe
// itself protected.
func strict(h http.Header) (bool, error) {
	switch v := h.Get("X-Causeway-Strict"); strings.ToLower(v) {
	case "1", "true":
		return true, nil
	case "", "0", "false":
		return false, nil
	default:
		f := fault.New(fault.Malformed, "x-causeway-strict: must be 1, true, 0 or false, not %q", cut(v, 64))
		f.Param = "x-causeway-strict"
		return false, f
	}
}

// resolve finds the model and whether this key may use it.
func (s *Server) resolve(x *exchange) error {
	if err := s.narrow(x); err != nil {
		return err
	}
	if x.op.op == llm.OpStored {
		x.own = x.op.response == ""
		if x.head.Model == "" {
			return s.resolveStored(x)
		}
	}
	m, ok := x.snapshot.Model(x.head.Model)
	if !ok {
		f := fault.New(fault.UnknownModel, "The model %q does not exist; GET /v1/models lists those that do", cut(x.head.Model, 100))
		f.Param = "model"
		return f
	}
	if !x.key.MayUse(m.ID) {
		f := fault.New(fault.Forbidden, "this API key may not use the model %q", m.ID)
		f.Param = "model"
		return f
	}
	x.model, x.outcome.Model = m, m.ID
	return s.bind(x)
}

// decide asks what the law and the tenant's policy permit.
func (s *Server) decide(x *exchange) error {
	t := x.key.Tenant
	f := compliance.Facts{
		Tenant: t.ID, Key: x.key.ID, Model: x.model.ID, Purpose: x.r.Header.Get("X-Causeway-Purpose"),
		Home: t.Home, HomeName: t.HomeName, Ownership: t.Ownership, Class: x.class, Audit: t.AuditMode,
		Now: x.start, PolicyAge: s.cfg.View.Age(x.start),
	}
	if s.cfg.LoopbackAtHome && x.client.IsLoopback() {
		f.ClientKnown = true
	} else if p := s.cfg.Locate.Locate(x.client); p.Country != "" {
		f.Client, f.ClientKnown = p.Country, true
	}
	if v := x.r.Header.Get("X-Causeway-User-Country"); v != "" {
		c, err := geo.ParseCountry(v)
		if err != nil {
			return fault.New(fault.Malformed, "x-causeway-user-country: %v", err)
		}
		f.UserCountry = c
	}
	x.facts = f
	if x.touched != nil {
		s.decideStored(x)
		return nil
	}
	x.verdict = x.snapshot.Policy.Decide(f)
	x.outcome.Rules = x.verdict.Rules
	return nil
}

// reserve takes the request's share of every limit that applies, or says when to come back.
func (s *Server) reserve(x *exchange) error {
	x.limits = x.key.Limits(x.limits, x.model.ID)
	tokens := most(x)
	x.reserved = tokens
	if len(x.limits) == 0 {
		return nil
	}
	hold, denial, ok := s.limits.ReserveAll(x.start, x.limits, tokens)
	s.rateHeaders(x)
	if ok {
		x.hold = hold
		return nil
	}
	return denied(denial, tokens)
}

// cover reserves what an encoded request may use beyond what the client stated: some models count
// thinking into a limit that must be higher than it.
func (s *Server) cover(x *exchange, limit int64) error {
	more := limit - x.output
	if more <= 0 {
		return nil
	}
	tokens := x.reserved + min(more, maxStated)*min(max(x.head.Choices, 1), maxStated)
	if len(x.limits) > 0 {
		if denial, ok := x.hold.Raise(time.Now(), tokens); !ok {
			return denied(denial, tokens)
		}
	}
	x.output, x.reserved = limit, tokens
	return nil
}

func denied(denial lease.Denial, tokens int64) *fault.Error {
	after := max(denial.RetryAfter, time.Millisecond)
	switch denial.Kind {
	case lease.Concurrency:
		return fault.New(fault.Concurrency, "too many requests at once: this key or tenant may have %d running here", denial.Limit).After(after)
	case lease.TPM:
		return fault.New(fault.RateLimited, "tokens per minute are used up: this key or tenant may use %d here, and this request can use %d", denial.Limit, tokens).After(after)
	default:
		return fault.New(fault.RateLimited, "requests per minute are used up: this key or tenant may send %d here", denial.Limit).After(after)
	}
}

// maxStated is how far a stated number of tokens or answers is believed; every limit is below it.
const maxStated = 1 << 30

// most bounds the tokens that a request can use: its input and the answer that it allows. Vectors have
// no output tokens, and counting is free everywhere: it takes from the requests per minute only.
func most(x *exchange) int64 {
	switch op := x.op.op; {
	case op == llm.OpCountTokens || !op.CountsTokens():
		return 0
	case embeds(op):
		return meter.Count(x.body)
	}
	if x.output = x.head.MaxOutput; x.output <= 0 {
		x.output = max(meter.DefaultMaxOutput, x.model.Fill)
	}
	// Both are the client's to state: a product that overflows would reserve nearly nothing.
	return meter.EstimateBody(x.body, min(x.output, maxStated)*min(max(x.head.Choices, 1), maxStated))
}

// rateHeaders shows the tightest of the limits that apply, in the client's own protocol.
func (s *Server) rateHeaders(x *exchange) {
	st := dialect.RateState{RequestLimit: -1, TokenLimit: -1}
	for _, l := range x.limits {
		v := s.limits.State(x.start, l.Key, l.Limits)
		if l.Limits.RPM > 0 && (st.RequestLimit < 0 || v.Requests.Remaining < st.RequestRemaining) {
			st.RequestLimit, st.RequestRemaining, st.RequestReset = l.Limits.RPM, v.Requests.Remaining, v.Requests.ResetIn
		}
		if l.Limits.TPM > 0 && (st.TokenLimit < 0 || v.Tokens.Remaining < st.TokenRemaining) {
			st.TokenLimit, st.TokenRemaining, st.TokenReset = l.Limits.TPM, v.Tokens.Remaining, v.Tokens.ResetIn
			if x.touched == nil { // what is stored has no model to show it for
				x.outcome.QuotaModel, x.outcome.QuotaRemaining = x.model.ID, v.Tokens.Remaining
				x.outcome.QuotaLimit, x.outcome.QuotaReset = l.Limits.TPM, v.Tokens.ResetIn
			}
		}
	}
	x.front.RateHeaders(x.w.Header(), st, x.start)
}

// saltedHasher is the audit hasher of one pepper.
type saltedHasher struct {
	pepper string
	*audit.Hasher
}

// hasher gives the audit hasher for the snapshot's pepper, made once per pepper.
func (s *Server) hasher(x *exchange) *audit.Hasher {
	pepper := x.snapshot.Pepper()
	if h := s.hashers.Load(); h != nil && h.pepper == string(pepper) {
		return h.Hasher
	}
	h := &saltedHasher{pepper: string(pepper), Hasher: audit.NewHasher(pepper)}
	s.hashers.Store(h)
	return h.Hasher
}

// intent is the audit record of what is about to happen, or of what was refused.
func (s *Server) intent(x *exchange, refused *fault.Error) audit.Intent {
	t := x.key.Tenant
	in := audit.Intent{
		Request: x.idText, Tenant: t.ID, Key: x.key.ID, Decision: x.decision.Decision.String(),
		Dialect: string(x.op.dialect), Op: x.op.op.String(), Model: x.model.ID, Stream: x.head.Stream, Body: int64(len(x.body)),
		Class: x.class.String(), Home: t.HomeName, Client: string(x.facts.Client), User: string(x.facts.UserCountry), Purpose: cut(x.facts.Purpose, 64),
		Rules: x.verdict.Rules, Revision: x.verdict.Revision, Mode: x.verdict.Audit,
		EdgeRegion: string(s.cfg.Region), EdgeCountry: string(x.snapshot.Regions[s.cfg.Region].Country), Trace: x.outcome.Traceparent,
	}
	in.Prompt = x.prompt
	subject := x.r.Header.Get("X-Causeway-Subject")
	if subject == "" {
		subject = x.head.User
	}
	in.Subject = s.hasher(x).Subject(t.ID, subject)
	if refused != nil {
		in.Code, in.Why = refused.Kind.Info().Code, refused.Message
		return in
	}
	in.Routes = make([]audit.Way, len(x.routes))
	for i := range x.routes {
		r := &x.routes[i]
		p := r.target.Provider
		in.Routes[i] = audit.Way{
			Exit: r.exit.ID, Region: string(r.exit.Region.ID), Country: string(r.exit.Region.Country),
			Provider: p.ID, Model: r.target.Model, Processing: p.ProcessingText, Storage: p.StorageText, Terms: p.Spec.Terms,
		}
	}
	return in
}

// record puts the intent on record, as durable as the verdict's audit mode asks for.
func (s *Server) record(x *exchange) error {
	ref, err := s.cfg.Audit.Intent(x.context(), s.intent(x, nil))
	if err != nil && x.context().Err() != nil {
		return canceled(x.context())
	}
	if err != nil {
		return fault.New(fault.AuditUnavailable, "the audit record cannot be written, so nothing was sent").After(5 * time.Second).With(err)
	}
	x.ref, x.recorded = ref, true
	return nil
}

// listModels answers the models list, or one entry of it, in the caller's shape: the models that
// this key may use.
func (s *Server) listModels(x *exchange) error {
	if x.op.op == llm.OpModel {
		m, ok := x.snapshot.Model(x.op.model)
		if !ok || !x.key.MayUse(m.ID) {
			return fault.New(fault.UnknownModel, "The model %q does not exist; GET /v1/models lists those that do", cut(x.op.model, 100))
		}
		return s.sendJSON(x, x.front.EncodeModel(modelInfo(x.op.model)))
	}
	list := make([]dialect.ModelInfo, 0, len(x.snapshot.ModelNames))
	for _, id := range x.snapshot.ModelNames {
		if x.key.MayUse(id) {
			list = append(list, modelInfo(id))
		}
	}
	return s.sendJSON(x, x.front.EncodeModels(list))
}

// modelInfo is one row of a list. The mesh does not know when a model was made; clients want a date.
func modelInfo(id string) dialect.ModelInfo {
	return dialect.ModelInfo{ID: id, Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), OwnedBy: "causeway"}
}

func (s *Server) sendJSON(x *exchange, body []byte) error {
	x.w.Header().Set("Content-Type", "application/json")
	x.out.commit(http.StatusOK)
	return x.out.write(body)
}
