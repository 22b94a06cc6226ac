package edge

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/retry"
	"github.com/causeway-mesh/causeway/relay/upstream"
)

// forward tries the planned routes until one answers or retry says that it is over. Once content has
// reached the client nothing is tried again.
func (s *Server) forward(x *exchange) error {
	ctx, cancel := context.WithTimeout(x.context(), maxRequest)
	defer cancel()
	x.outcome.Overhead = time.Since(x.start)
	if x.head.Stream {
		x.out.keepalive()
	}
	deadline := x.start.Add(maxRequest)
	var history []retry.Attempt
	r := &x.routes[0]
	for {
		body, header, err := s.prepare(x, r)
		if err != nil {
			// This route cannot carry the request, which says nothing about the others.
			if r.tried = true; untried(x.routes) == 0 {
				if len(history) > 0 {
					return history[len(history)-1].Fault
				}
				return err
			}
			r = next(x.routes, r, fault.As(err))
			continue
		}
		x.elsewhere = len(history)+1 < x.snapshot.Route.Attempts && otherExit(x.routes, r)
		if err = s.attempt(ctx, x, r, body, header); err == nil {
			return nil
		}
		f := fault.As(err)
		history = append(history, retry.Attempt{Target: r.target.Provider.ID + "/" + r.target.Model, Exit: r.exit.ID, Fault: f, At: time.Now()})
		attempts := x.snapshot.Route.Attempts
		if !x.repeats(f) {
			attempts = len(history)
		}
		d := retry.Decide(time.Now(), retry.Policy{Attempts: attempts, Deadline: deadline, Draw: rand.Uint64()},
			history, x.out.contentSent(), untried(x.routes))
		if !d.Retry {
			return d.Final
		}
		if d.After > 0 {
			select {
			case <-time.After(d.After):
			case <-ctx.Done():
				return canceled(ctx)
			}
		}
		if !d.SameTarget {
			r = next(x.routes, r, f)
		}
	}
}

func canceled(ctx context.Context) *fault.Error {
	if context.Cause(ctx) == context.DeadlineExceeded {
		return fault.New(fault.Deadline, "the request took longer than %s", maxRequest)
	}
	return fault.New(fault.Canceled, "the client went away")
}

func untried(routes []route) (n int) {
	for i := range routes {
		if !routes[i].tried {
			n++
		}
	}
	return n
}

// otherExit tells whether a route by another exit than r's has not been tried.
func otherExit(routes []route, r *route) bool {
	for i := range routes {
		if o := &routes[i]; !o.tried && o.exit.ID != r.exit.ID {
			return true
		}
	}
	return false
}

// next picks the best route not tried yet. A fault of the exit passes over the other routes through
// it, and a fault of the provider over the same target at another exit, while anything else is left.
func next(routes []route, failed *route, f *fault.Error) *route {
	byExit := f.Kind == fault.ExitUnreachable || f.Kind == fault.ExitLost || f.Kind == fault.Draining
	var fallback *route
	for i := range routes {
		r := &routes[i]
		if r.tried {
			continue
		}
		same := r.target.Provider == failed.target.Provider && r.target.Model == failed.target.Model
		if byExit {
			same = r.exit.ID == failed.exit.ID
		}
		if !same {
			return r
		}
		if fallback == nil {
			fallback = r
		}
	}
	if fallback == nil {
		return failed
	}
	return fallback
}

// attempt asks one exit to call one target and carries the answer to the client. Its error says how
// far things had come.
func (s *Server) attempt(ctx context.Context, x *exchange, r *route, body Body, header http.Header) error {
	r.tried = true
	begin := time.Now()
	x.outcome.Attempts = append(x.outcome.Attempts, Attempt{
		Exit: r.exit.ID, ExitRegion: string(r.exit.Region.ID), Provider: r.target.Provider.ID, Model: r.target.Model, Why: r.why,
		Start: begin.Sub(x.start),
	})
	att := &x.outcome.Attempts[len(x.outcome.Attempts)-1]
	req := s.request(x, r, body)
	if r.convert {
		s.convertedRequest(x, r, &req, header)
	}
	req.Header = mergeBetas(req.Header, x.r.Header, header)
	ans, err := s.cfg.Forward.Forward(ctx, r.exit, req, body)
	if err == nil {
		err = s.answer(x, r, att, ans)
		ans.Close()
	}
	att.Total = time.Since(begin)
	if err != nil {
		att.Fault = fault.As(err)
		if r.convert {
			att.Fault.Raw = nil // the provider's words are in another dialect than the client's
		}
		if ctx.Err() != nil {
			// Whatever broke, it broke because the client left or the time was up.
			f := canceled(ctx).At(att.Fault.Phase)
			att.Fault = f
			return f
		}
		return att.Fault
	}
	x.outcome.Served = att
	return nil
}

func (s *Server) request(x *exchange, r *route, body Body) tunnel.Request {
	op, path, query := x.op.op, x.op.path, x.r.URL.RawQuery
	if x.op.resumed {
		query = x.op.query
	}
	if r.convert {
		op = registry.Asked(op, r.dialect)
	}
	if x.op.pass == nil {
		path = r.target.Facts(r.dialect).Path(registry.Backend(r.dialect).Path(op, x.op.version, r.target.Model, x.head.Stream))
	}
	return tunnel.Request{
		ID: x.id, Attempt: uint8(len(x.outcome.Attempts)), Timeout: time.Until(x.start.Add(maxRequest)),
		Tenant: x.key.Tenant.ID, Provider: r.target.Provider.ID, Dialect: string(r.dialect), Model: r.target.Model,
		Op: uint8(op), Stream: x.head.Stream, Class: uint8(x.class), Method: x.r.Method,
		Path:     path,
		RawQuery: upstream.QueryWithoutKey(query), Header: forwardedHeaders(x.r.Header, x.readAsJSON()), BodyLen: body.Len(),
		Traceparent: x.outcome.Traceparent, ViewIndex: x.snapshot.Index, Caller: x,
	}
}

// choosesAccount tells headers by which a credential that can act for several organisations, projects
// or workspaces is told which: that is the operator's to say, or tenants would not be kept apart.
func choosesAccount(name string) bool {
	switch name {
	case "Openai-Organization", "Openai-Project", "Anthropic-Workspace-Id", "X-Goog-User-Project":
		return true
	}
	return false
}

// forwardedHeaders are the client's headers as they travel on: no credentials, nothing of one
// connection only, nothing that names the client's address, and no coding that has been undone. A body
// that was read as JSON is called so: a server that took it for a form could find another model in it.
func forwardedHeaders(h http.Header, asJSON bool) []tunnel.Field {
	out := make([]tunnel.Field, 0, len(h)+1)
	if asJSON {
		if types := h["Content-Type"]; len(types) != 1 || !isJSON(types[0]) {
			out = append(out, tunnel.Field{Name: "Content-Type", Value: "application/json"})
		} else {
			asJSON = false // it says so itself
		}
	}
	var ending map[string]bool // a set: a client may name as many as it sends
	for name := range upstream.HopByHop(h) {
		if ending == nil {
			ending = make(map[string]bool)
		}
		ending[name] = true
	}
	for name, values := range h {
		if asJSON && name == "Content-Type" {
			continue
		}
		if name == "Content-Encoding" || name == "Traceparent" || name == "Origin" || name == "Referer" || choosesAccount(name) || ending[name] || !upstream.Forwardable(name) {
			continue
		}
		for _, v := range values {
			out = append(out, tunnel.Field{Name: name, Value: v})
		}
	}
	return out
}

func isJSON(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	t = strings.TrimSpace(t)
	return strings.EqualFold(t, "application/json") || len(t) > 5 && strings.EqualFold(t[len(t)-5:], "+json")
}
