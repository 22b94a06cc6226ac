package edge

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

const (
	maxHeld  = 1 << 20 // events held back before the first content
	maxUnary = 1 << 20 // a unary answer up to this is taken whole before the client sees any of it
)

// answer carries an exit's answer to the client and takes its trailer.
func (s *Server) answer(x *exchange, r *route, att *Attempt, ans Answer) error {
	reply := ans.Reply()
	att.Status, att.Secret = reply.Status, reply.Secret
	err := s.sendBack(x, r, &reply)
	switch stream := x.head.Stream && streamed(reply, r.dialect); {
	case err != nil:
	case stream && r.convert:
		err = s.convertStream(x, r, ans, reply)
	case stream:
		err = s.copyStream(x, r, ans, reply)
	case r.convert:
		err = s.convertUnary(x, r, ans, reply)
	default:
		err = s.copyUnary(x, r, ans, reply)
	}
	if t, ok := ans.Trailer(); ok {
		att.take(t)
		if err == nil && t.Fault != nil {
			err = t.Fault
		}
	}
	return err
}

func (a *Attempt) take(t tunnel.Trailer) {
	a.FirstByte, a.Upstream, a.Processing = t.FirstByte, t.Total, t.Processing
	if t.Secret != "" {
		a.Secret = t.Secret
	}
	if t.HasUsage {
		a.HasUsage, a.Usage = true, stated(t.Usage)
	}
}

// stated is the provider's own count, as the exit tells it.
func stated(u tunnel.Usage) llm.Usage {
	return llm.Usage{
		Input: u.Input, Cached: u.Cached, CacheWrite: u.CacheWrite, CacheWrite1h: u.CacheWrite1h, Output: u.Output, Reasoning: u.Reasoning,
	}
}

// streamed tells an answer of events from one whole JSON document: Gemini streams an array when the
// client did not ask for server-sent events.
func streamed(reply tunnel.Reply, d llm.Dialect) bool {
	t, _, _ := strings.Cut(contentType(reply), ";")
	t = strings.TrimSpace(t)
	return strings.EqualFold(t, "text/event-stream") || strings.EqualFold(t, "application/json") && d == llm.Gemini
}

// begin writes the status line and the headers of an answer, unless a keepalive has done so already:
// the provider's headers except what is ours to say. length is the body's, or -1.
func (s *Server) begin(x *exchange, r *route, reply tunnel.Reply, length int) {
	x.out.begin(reply.Status, func(h http.Header) {
		values := make([]string, len(reply.Header)) // one piece of memory for all fields that come once
		for i, f := range reply.Header {
			name := http.CanonicalHeaderKey(f.Name)
			if ours(name) {
				continue
			}
			if have, ok := h[name]; ok {
				h[name] = append(have, f.Value)
				continue
			}
			values[i] = f.Value
			h[name] = values[i : i+1 : i+1]
		}
		way := "edge=" + string(s.cfg.Region) + ";exit=" + string(r.exit.Region.ID) + ";provider=" + r.target.Provider.ID
		if r.target.Model != "" { // what is stored has none
			way += ";model=" + r.target.Model
		}
		h.Set("X-Causeway-Route", way)
		h.Set("X-Causeway-Cache", "bypass")
		if x.guess != nil {
			h.Set(estimated, "tokens")
		}
		if len(x.losses) > 0 {
			h.Set("X-Causeway-Loss", dialect.LossHeader(x.losses))
		}
		if length >= 0 {
			h.Set("Content-Length", strconv.Itoa(length))
		}
	})
}

// ours are the answer's headers that the edge states itself: the limits shown are the tenant's, not
// the upstream account's.
func ours(name string) bool {
	switch name {
	case "Content-Length", "Date", "Server", "Traceparent", "Retry-After":
		return true
	}
	for _, p := range [...]string{"X-Ratelimit-", "Anthropic-Ratelimit-", "X-Causeway-", "Access-Control-"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

func contentType(reply tunnel.Reply) string {
	for _, f := range reply.Header {
		if strings.EqualFold(f.Name, "Content-Type") {
			return f.Value
		}
	}
	return ""
}

// copyUnary takes the answer whole, so that a broken one can still be asked for elsewhere; one that
// is larger than that is worth its memory streams through.
func (s *Server) copyUnary(x *exchange, r *route, ans Answer, reply tunnel.Reply) error {
	held, most := x.held[:0], maxUnary
	defer func() { x.held = held[:0] }()
	live := x.op.pass != nil && x.op.pass.Live
	mark := s.marker(x, r)
	switch {
	case live:
		most = 0
	case mark != nil || x.op.pass != nil && x.op.pass.Links:
		most = maxConverted // what is larger goes as it is: its ids cannot be used then
	}
	for {
		chunk, err := ans.Next()
		switch {
		case x.out.contentSent():
			if werr := x.out.write(chunk); werr != nil {
				return werr
			}
		case len(held)+len(chunk) > most:
			s.begin(x, r, reply, -1)
			if werr := x.out.content(held, chunk); werr != nil {
				return werr
			}
			held = held[:0]
		default:
			held = append(held, chunk...)
		}
		if err == nil {
			if live {
				x.out.flush()
			}
			continue
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
		if t, ok := ans.Trailer(); ok && t.Fault != nil {
			return t.Fault
		} else if !ok || !t.Complete {
			return fault.New(fault.UpstreamPartial, "the answer ended before it was complete").At(fault.Partial)
		}
		if x.out.contentSent() {
			return nil
		}
		out := s.whole(x, mark, held)
		s.begin(x, r, reply, len(out))
		return x.out.content(out)
	}
}

// copyStream passes whole events on as they come. What precedes the first content is held back, so
// that until then another route can take over without the client noticing.
func (s *Server) copyStream(x *exchange, r *route, ans Answer, reply tunnel.Reply) error {
	frames := registry.NewFrames(r.dialect, contentType(reply), 0)
	tap := registry.Backend(r.dialect).NewTap(x.op.op)
	x.out.elements = 0
	var filter *openai.UsageFilter
	if r.dialect == llm.OpenAIChat && x.head.Usage.Injects() && !r.target.Facts(r.dialect).Quirks.NoStreamUsage {
		filter = openai.NewUsageFilter()
	}
	held := x.held[:0]
	defer func() { x.held = held[:0] }()
	mark := s.marker(x, r)
	var brokeWith *fault.Error // an in-stream error that the client has been given as it was
	for {
		chunk, err := ans.Next()
		frames.Feed(chunk)
		for {
			ev, ok := nextFrame(frames, ans, err)
			if !ok {
				break
			}
			raw := ev.Raw
			if ev.Data != nil {
				x.out.elements++
			}
			if filter != nil {
				raw = filter.Filter(ev.Raw, ev.Data)
			}
			if mark != nil {
				raw = mark.event(raw, ev.Data)
			}
			if x.out.contentSent() {
				if brokeWith == nil && tap != nil && mayBeError(ev.Name, ev.Data) && tap.Event(ev.Name, ev.Data)&dialect.NoteError != 0 {
					brokeWith = tap.Fault()
				}
				if werr := x.out.write(raw); werr != nil {
					return werr
				}
				continue
			}
			note := tap.Event(ev.Name, ev.Data)
			switch {
			case note&dialect.NoteError != 0:
				f := tap.Fault()
				if f == nil {
					f = fault.New(fault.UpstreamError, "the provider's stream reported an error")
				}
				return f.At(fault.Partial)
			case note&(dialect.NoteContent|dialect.NoteTerminal) != 0 || len(held)+len(raw) > maxHeld:
				s.begin(x, r, reply, -1)
				if werr := x.out.content(held, raw); werr != nil {
					return werr
				}
				held = held[:0]
			default:
				held = append(held, raw...)
			}
		}
		if ferr := frames.Err(); ferr != nil {
			return fault.As(ferr)
		}
		if err == nil {
			if x.out.contentSent() {
				x.out.flush()
			}
			continue
		}
		t, ok := ans.Trailer()
		switch {
		case brokeWith != nil:
			x.out.flush()
			x.out.told = true
			return brokeWith.At(fault.Partial)
		case !errors.Is(err, io.EOF):
			return fault.As(err)
		case ok && t.Fault != nil:
			return t.Fault
		case !ok || !t.Complete:
			return fault.New(fault.UpstreamPartial, "the provider's stream ended before its end").At(fault.Partial)
		case !x.out.contentSent():
			// A regular end without any content: an empty answer is not an answer (a provider that is
			// overloaded behind its gateway does this).
			return fault.New(fault.UpstreamProtocol, "the provider's stream held no content").At(fault.Sent)
		}
		x.out.flush()
		return nil
	}
}

// nextFrame gives a stream's next event; err is what ended the stream, if anything has. What has no closing
// line is an event only where the answer came to its end: half of one would swallow the error event that
// follows.
func nextFrame(frames registry.Frames, ans Answer, err error) (sse.Event, bool) {
	ev, ok := frames.Next()
	if ok || err == nil {
		return ev, ok
	}
	if t, over := ans.Trailer(); !over || t.Fault != nil {
		return ev, false
	}
	return frames.End()
}

// mayBeError is a cheap look before an event of a running stream is parsed: only error events matter
// there, since usage is counted at the exit.
func mayBeError(name string, data []byte) bool {
	return name == "error" || name == "response.failed" || name == "" && len(data) > 8 && string(data[:8]) == `{"error"`
}

// sinceStart is used where a moment is stored relative to the request's start; never zero.
func (x *exchange) sinceStart() time.Duration { return max(time.Since(x.start), 1) }
