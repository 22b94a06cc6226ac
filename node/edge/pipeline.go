package edge

import "github.com/causeway-mesh/causeway/relay/llm"

// serve is the whole walk of one request. Every stage either moves it on or returns the fault that
// ends it; finish, which runs after it in every case, settles and records. Nothing here leaves the
// process before forward.
func (s *Server) serve(x *exchange) error {
	// Who asks, before anything of theirs is read.
	if err := s.authenticate(x); err != nil {
		return err
	}
	if x.op.op == llm.OpModels || x.op.op == llm.OpModel {
		return s.listModels(x)
	}
	// The body, capped and read once; immutable from here on.
	if err := s.read(x); err != nil {
		return err
	}
	// Its head: the only view of the body that any decision below consults.
	if err := s.peek(x); err != nil {
		return err
	}
	if err := s.resolve(x); err != nil {
		return err
	}
	// What the law and the tenant's policy permit, for every place that the bytes could touch.
	if err := s.decide(x); err != nil {
		return err
	}
	// What it may cost.
	if err := s.reserve(x); err != nil {
		return err
	}
	// Which ways the verdict leaves, best first.
	if err := s.plan(x); err != nil {
		return err
	}
	if len(x.routes) == 0 {
		return s.estimate(x) // nothing leaves
	}
	// The intent is on record before the first byte leaves.
	if err := s.record(x); err != nil {
		return err
	}
	return s.forward(x)
}
