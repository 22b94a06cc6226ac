// Package node is one process of the mesh in any set of roles: it assembles the parts, starts them in
// order and stops them in the reverse one.
package node

import (
	"context"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/node/exit"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// forwarder carries attempts to exits: over the tunnel, or by a plain call when the exit is a role
// of this same node.
type forwarder struct {
	self string
	here *exit.Exit // nil unless this node is an exit too
	pool *tunnel.Pool
}

// Forward implements edge.Forwarder.
func (f *forwarder) Forward(ctx context.Context, to view.Exit, req tunnel.Request, body edge.Body) (edge.Answer, error) {
	if f.here != nil && to.ID == f.self {
		sent := body.Edited()
		a, err := f.here.CallIn(ctx, &req, sent)
		sent.Drop()
		if err != nil {
			return nil, err
		}
		return a, nil
	}
	s, err := f.pool.Open(ctx, tunnel.Target{Node: identity.NodeID(to.ID), Addr: to.Addr}, req, body.Reader())
	if err != nil {
		return nil, fault.As(err)
	}
	reply, err := s.Reply()
	if err != nil {
		s.Cancel()
		return nil, fault.As(err)
	}
	return &remote{stream: s, reply: reply}, nil
}

// remote is an answer that comes over the tunnel.
type remote struct {
	stream *tunnel.Stream
	reply  tunnel.Reply
}

func (r *remote) Reply() tunnel.Reply             { return r.reply }
func (r *remote) Next() ([]byte, error)           { return r.stream.NextChunk() }
func (r *remote) Trailer() (tunnel.Trailer, bool) { return r.stream.Trailer() }
func (r *remote) Close()                          { r.stream.Cancel() }
