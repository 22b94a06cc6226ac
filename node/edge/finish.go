package edge

import (
	"strconv"
	"time"

	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
)

// finish runs once for every request: it tells the client of a fault, settles what was reserved, and
// makes the one Outcome from which metrics, the log line, the audit outcome and the samples come. A
// whole answer leaves in between: its client need not wait for our records, and finds what it held
// given back when it asks again.
func (s *Server) finish(x *exchange, err error) {
	x.out.stop()
	o := &x.outcome
	if err != nil {
		o.Fault = fault.As(err)
		s.tell(x, o.Fault)
	}
	o.Status, o.BytesOut, o.Losses = x.out.status, x.out.bytes, x.losses
	now := time.Now()
	o.Total = now.Sub(x.start)
	s.settle(x, now)
	if o.Served != nil && !x.out.abort {
		x.out.flush()
	}
	if x.recorded {
		if err := s.cfg.Audit.Outcome(x.ref, s.auditOutcome(x)); err != nil {
			s.cfg.Log.Error().Err(err).Str("request_id", x.idText).Msg("audit outcome not written; the intent stays open")
		}
	}
	s.cfg.Recorder.Record(o)
}

// settle sums what all attempts used and gives back the rest of what was reserved. An attempt that
// may have been billed and did not say how much counts for all that was reserved.
func (s *Server) settle(x *exchange, now time.Time) {
	o := &x.outcome
	tokens := int64(0)
	for i := range o.Attempts {
		a := &o.Attempts[i]
		switch {
		case o.Op == llm.OpCountTokens: // free, and its answer is no usage
		case a.billed() && !o.Op.CountsTokens() && (!a.HasUsage || o.Op == llm.OpStored):
			o.UsageKind = max(o.UsageKind, UsageUncounted)
			o.Units, o.Unit = o.Units+x.head.Units, x.head.Unit
		case a.HasUsage:
			o.Usage = o.Usage.Add(a.Usage)
			o.UsageKind = max(o.UsageKind, UsageMeasured)
			tokens += a.Usage.Input + a.Usage.Output
		case a.billed() && x.guess != nil && i == len(o.Attempts)-1:
			o.Usage = o.Usage.Add(*x.guess)
			o.UsageKind = max(o.UsageKind, UsageEstimated)
			tokens += min(x.guess.Input+x.guess.Output, x.reserved)
		case a.billed() && embeds(o.Op): // all of it is input, which has been estimated
			o.Usage.Input += x.reserved
			o.UsageKind = max(o.UsageKind, UsageEstimated)
			tokens += x.reserved
		case a.billed():
			o.UsageKind = UsageWorst
			tokens += x.reserved
		}
	}
	switch {
	case x.model == nil || !x.model.Price.Known || o.UsageKind == UsageNone:
	case x.model.Unit == "token":
		o.Cost, o.CostKnown = meter.Cost(x.model.Price, o.Usage), o.UsageKind == UsageMeasured
	case x.model.Unit == o.Unit: // priced by what the request asked for
		o.Cost, o.CostKnown = meter.Cost(x.model.Price, llm.Usage{Input: o.Units}), o.UsageKind == UsageUncounted
	}
	if o.Fault != nil && (len(o.Attempts) == 0 || tokens == 0 && o.Served == nil && o.Attempts[len(o.Attempts)-1].Fault.Phase == fault.NotSent) {
		x.hold.Release(now) // nothing was asked of anybody
		return
	}
	x.hold.Settle(now, tokens)
}

// billed reports whether the provider may have charged for an attempt.
func (a *Attempt) billed() bool {
	if a.Fault == nil {
		return a.Status != 0
	}
	return !a.Fault.Refunds()
}

func (s *Server) auditOutcome(x *exchange) audit.Outcome {
	o := &x.outcome
	out := audit.Outcome{
		Result: audit.ResultOK, Status: o.Status, Attempts: len(o.Attempts),
		Input: o.Usage.Input, Cached: o.Usage.Cached, CacheWrite: o.Usage.CacheWrite, Output: o.Usage.Output, Reasoning: o.Usage.Reasoning,
		Losses: dialect.LossHeader(o.Losses), CostNano: int64(o.Cost), Sent: o.BytesOut, FirstUS: o.FirstContent.Microseconds(), TotalUS: o.Total.Microseconds(),
	}
	if f := o.Fault; f != nil {
		out.Code, out.Result = f.Kind.Info().Code, audit.ResultError
		switch {
		case f.Kind == fault.Canceled:
			out.Result = audit.ResultCanceled
		case x.out.sent.Load():
			out.Result = audit.ResultPartial
		}
	}
	if a := o.Served; a != nil {
		for i := range x.routes {
			if r := &x.routes[i]; r.exit.ID == a.Exit && r.target.Provider.ID == a.Provider && r.target.Model == a.Model {
				out.Route = i + 1
				out.Processing = a.Processing
				out.Checked = checked(a.Processing, r)
				break
			}
		}
	}
	return out
}

// tell gives the client a fault in its own protocol: as an answer while nothing has been written, as
// an event of the stream afterwards. What cannot be told any more, because the answer was not a
// stream, is shown by a broken connection: a short answer must not look whole.
func (s *Server) tell(x *exchange, f *fault.Error) {
	w := &x.out
	switch {
	case f.Kind == fault.Canceled:
		w.status = f.Kind.Info().Status // nobody is left to read it
		if !w.committed {
			x.w.Header().Set("Connection", "close")
		}
	case !w.committed:
		s.tellWhole(x, f)
	case x.head.Stream && !w.told:
		event := x.front.FaultEvent(f, x.idText)
		if w.array {
			if !w.sent.Load() {
				w.elements = 0 // what was held back never went out: the fault is the first element
			}
			event = gemini.ArrayFault(f, x.idText, w.elements)
		}
		_ = w.write(event)
		w.flush()
	case !x.head.Stream:
		w.abort = true
	}
}

func (s *Server) tellWhole(x *exchange, f *fault.Error) {
	s.allowStranger(x)
	if f.Kind == fault.UpstreamRejected && len(f.Raw) > 0 && len(x.outcome.Attempts) > 0 {
		// The provider's own words, byte for byte: the client speaks the same dialect.
		h := x.w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("X-Should-Retry", "false")
		h.Set("Content-Length", strconv.Itoa(len(f.Raw)))
		x.out.commit(f.Status)
		_ = x.out.write(f.Raw)
		return
	}
	a := x.front.EncodeFault(f, x.idText)
	h := x.w.Header()
	for k, v := range a.Header {
		h[k] = v
	}
	h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	if f.Kind == fault.TooLarge || f.Kind == fault.Unauthenticated {
		h.Set("Connection", "close") // the rest of the body is not worth reading
	}
	x.out.commit(a.Status)
	if x.r.Method != "HEAD" {
		_ = x.out.write(a.Body)
	}
}
