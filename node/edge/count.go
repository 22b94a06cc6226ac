package edge

import (
	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
)

// uncounted looks at a target whose provider counts no tokens. It is held to the same rules as one
// that does, although nothing will be sent: who may not use the target gets no answer about it.
func (s *Server) uncounted(x *exchange, m *view.Model, t view.Target, why *blocked) {
	d, ok := convertible(t.Provider, operation{dialect: x.op.dialect, op: llm.OpGenerate})
	if !ok {
		return
	}
	for _, e := range x.snapshot.Exits {
		if !t.Provider.CallableFrom(e.Region.ID) {
			continue
		}
		if o := s.permitted(x, e, t.Provider); o.Decision != compliance.Allow {
			why.refused = append(why.refused, o)
			continue
		}
		if why.counts == nil {
			why.counts = &route{exit: e, target: t, model: m, dialect: d, convert: true}
		}
	}
}

// estimate answers a count without asking anybody. What the provider could not be asked to generate
// from is refused here too: there is no right count of it.
func (s *Server) estimate(x *exchange) error {
	if _, err := x.encode(x.local, llm.OpGenerate); err != nil {
		return err
	}
	client, _ := registry.Client(x.op.dialect)
	out, _, err := client.EncodeResponse(&llm.Response{
		From: x.local.dialect, HasUsage: true, Usage: llm.Usage{Input: meter.Request(x.canonical)},
	}, x.answerOptions())
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set(estimated, "tokens")
	if len(x.losses) > 0 {
		h.Set("X-Causeway-Loss", dialect.LossHeader(x.losses))
	}
	return s.sendJSON(x, out)
}
