package edge

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// maxConverted bounds a unary answer that is converted, in bytes: it must be held whole.
const maxConverted = 64 << 20

// prepare makes the body that a route's provider takes: the client's own with spans changed, or the
// request converted to the provider's dialect. An error means that this route cannot carry the
// request; another may.
func (s *Server) prepare(x *exchange, r *route) (Body, http.Header, error) {
	// A history with our carriers in it was answered elsewhere: passed on unread, the client's own
	// vendor would refuse signatures that are not its own. What is never converted is not looked into.
	foreign := x.op.pass == nil && !embeds(x.op.op) && carrier.Within(x.body)
	if !r.convert && !foreign {
		x.losses, x.after = nil, dialect.After{}
		head := x.head
		if r.target.Facts(r.dialect).Quirks.NoStreamUsage {
			head.Usage = dialect.IncludeUsage{} // the provider would refuse the whole request
		}
		edits := merge(registry.Backend(r.dialect).Splice(x.op.op, head, r.target.Model), x.unmark)
		return Body{Bytes: x.body, Memory: x.memory, Edits: edits}, nil, nil
	}
	enc, err := x.encode(r, x.op.op)
	if err == nil {
		err = s.cover(x, enc.Limit)
	}
	if err != nil {
		return Body{}, nil, err
	}
	return Body{Converted: &enc.Body, Memory: x.memory}, enc.Header, nil
}

// encode writes the request in the dialect of r as operation op, and notes what that loses.
func (x *exchange) encode(r *route, op llm.Op) (enc dialect.Encoded, err error) {
	facts := r.target.Facts(r.dialect)
	o := dialect.EncodeOptions{Model: r.target.Model, MaxOutput: facts.MaxOutput, Fill: facts.Fill, Scope: r.target.Provider.ID, Quirks: facts.Quirks}
	if err := x.decode(); err != nil {
		return enc, err
	}
	if embeds(op) {
		codec, ok := registry.EmbedProvider(r.dialect)
		if !ok {
			return enc, fault.New(fault.Unsupported, "%s", registry.Unsupported(op, x.op.dialect, r.dialect))
		}
		enc, err = codec.EncodeEmbed(x.embed, o)
	} else {
		codec, ok := registry.Provider(r.dialect)
		if !ok {
			return enc, fault.New(fault.Unsupported, "%s", registry.Unsupported(op, x.op.dialect, r.dialect))
		}
		q := *x.canonical
		q.Op = op
		enc, err = codec.EncodeRequest(&q, o)
	}
	if err != nil {
		return enc, err
	}
	if x.strict {
		if f := dialect.Strict(enc.Losses); f != nil {
			return enc, f
		}
	}
	x.losses, x.after = enc.Losses, enc.After
	return enc, nil
}

// decode reads the client's request into the canonical model, once for all attempts.
func (x *exchange) decode() error {
	if x.canonical != nil || x.embed != nil || x.undecodable != nil {
		return x.undecodable
	}
	if embeds(x.op.op) {
		return x.decodeEmbed()
	}
	codec, ok := registry.Client(x.op.dialect)
	if !ok {
		x.undecodable = fault.New(fault.Unsupported, "requests of %s clients are not converted", x.op.dialect)
		return x.undecodable
	}
	req, err := codec.DecodeRequest(x.op.op, splice.Apply(x.body, x.unmark), x.head)
	if err == nil {
		req.Stream = x.head.Stream
		err = dialect.Check(req)
	}
	if err != nil {
		x.undecodable = err
		return err
	}
	x.canonical = req
	return nil
}

func (x *exchange) answerOptions() dialect.AnswerOptions {
	return dialect.AnswerOptions{Request: x.canonical, ID: x.idText, Model: x.head.Model, Created: x.start.Unix()}
}

func (x *exchange) decodeOptions(r *route) dialect.DecodeOptions {
	return dialect.DecodeOptions{Op: x.op.op, ID: x.idText, Scope: r.target.Provider.ID}
}

// whole reads a provider's answer to its end.
func whole(ans Answer) (body []byte, err error) {
	for {
		chunk, err := ans.Next()
		if len(body)+len(chunk) > maxConverted {
			return nil, fault.New(fault.UpstreamProtocol, "the provider's answer is larger than %d bytes and cannot be converted", maxConverted).At(fault.Sent)
		}
		body = append(body, chunk...)
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			return nil, err
		}
		break
	}
	if t, ok := ans.Trailer(); ok && t.Fault != nil {
		return nil, t.Fault
	} else if !ok || !t.Complete {
		return nil, fault.New(fault.UpstreamPartial, "the answer ended before it was complete").At(fault.Partial)
	}
	return body, nil
}

// convertUnary reads a provider's whole answer and writes it in the client's dialect.
func (s *Server) convertUnary(x *exchange, r *route, ans Answer, reply tunnel.Reply) error {
	body, err := whole(ans)
	if err != nil {
		return err
	}
	if embeds(x.op.op) {
		return s.convertVectors(x, r, body)
	}
	provider, _ := registry.Provider(r.dialect)
	client, _ := registry.Client(x.op.dialect)
	resp, err := provider.DecodeResponse(x.op.op, body, x.decodeOptions(r))
	if err != nil {
		return fault.As(err).At(fault.Sent)
	}
	if x.op.op == llm.OpGenerate && resp.Empty() {
		return fault.New(fault.UpstreamProtocol, "the provider's answer holds no content").At(fault.Sent)
	}
	if resp, err = x.after.Response(resp); err != nil {
		return fault.As(err).At(fault.Sent)
	}
	if x.head.Stream { // asked to stream, the provider answered whole
		return s.replay(x, r, client, resp)
	}
	out, losses, err := client.EncodeResponse(resp, x.answerOptions())
	if err != nil {
		return fault.As(err).At(fault.Sent)
	}
	x.losses = append(x.losses, losses...)
	s.begin(x, r, tunnel.Reply{Status: http.StatusOK, Header: converted("application/json")}, len(out))
	return x.out.content(out)
}

// replay streams a whole answer to a client that asked for a stream.
func (s *Server) replay(x *exchange, r *route, client dialect.ClientCodec, resp *llm.Response) error {
	c := s.newConversion(x, r, client)
	events := resp.Events(nil)
	for i := range events {
		if err := c.take(&events[i]); err != nil {
			return err
		}
	}
	return c.end()
}

// convertStream carries a provider's stream to a client of another dialect, event by event.
func (s *Server) convertStream(x *exchange, r *route, ans Answer, reply tunnel.Reply) error {
	frames := registry.NewFrames(r.dialect, contentType(reply), 0)
	provider, _ := registry.Provider(r.dialect)
	client, _ := registry.Client(x.op.dialect)
	dec := provider.NewEventDecoder(x.decodeOptions(r))
	c := s.newConversion(x, r, client)
	after, cut := x.after.Stream(), newCutting(x, r)
	var events, seen []llm.Event
	take := func() error {
		out := events
		if after != nil {
			seen = seen[:0]
			for i := range events {
				cut.count(&events[i])
				seen = after.Push(seen, &events[i])
			}
			if after.Done() {
				seen = append(seen, llm.Event{Kind: llm.EventUsage, Usage: cut.usage(ans)})
			}
			out = seen
		}
		for i := range out {
			if err := c.take(&out[i]); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		chunk, err := ans.Next()
		frames.Feed(chunk)
		for {
			ev, ok := nextFrame(frames, ans, err)
			if !ok {
				break
			}
			if ev.Data == nil {
				continue
			}
			cut.watch(ev.Name, ev.Data)
			events = dec.Push(events[:0], ev.Name, ev.Data)
			if terr := take(); terr != nil {
				return terr
			}
			if after != nil && after.Done() {
				return c.end() // nothing that still comes would be seen: closing ends the provider's work
			}
		}
		if ferr := frames.Err(); ferr != nil {
			return fault.As(ferr)
		}
		if err == nil {
			c.flush()
			continue
		}
		if t, ok := ans.Trailer(); ok && t.Fault != nil {
			return t.Fault
		} else if !errors.Is(err, io.EOF) {
			return fault.As(err)
		}
		events = dec.End(events[:0])
		if terr := take(); terr != nil {
			return terr
		}
		return c.end()
	}
}

// conversion writes canonical events as a client's stream, holding back what precedes the first
// content.
type conversion struct {
	s   *Server
	x   *exchange
	r   *route
	enc dialect.EventEncoder
	// array is enc for a Gemini client without alt=sse, whose stream is one JSON array.
	array *gemini.ArrayEncoder
	buf   []byte // of the event being written
	held  []byte
	ends  bool // a stop that may come without content was seen: length, refusal
}

func (s *Server) newConversion(x *exchange, r *route, client dialect.ClientCodec) *conversion {
	x.out.elements = 0
	c := &conversion{s: s, x: x, r: r}
	if x.out.array {
		c.array = gemini.Frontend{}.NewArrayEncoder(x.answerOptions())
		c.enc = c.array
	} else {
		o := x.answerOptions()
		if x.op.dialect == llm.AnthropicMessages {
			o.InputEstimate = meter.Request(x.canonical)
		}
		c.enc = client.NewEventEncoder(o)
	}
	return c
}

// take writes one event. A failure before content is returned, so that another route may answer;
// after it the client has been told in its own protocol.
func (c *conversion) take(e *llm.Event) error {
	if e.Kind == llm.EventError {
		f := fault.As(e.Err)
		if !c.x.out.contentSent() {
			return f.At(fault.Sent)
		}
		return f.At(fault.Partial)
	}
	if e.Kind == llm.EventStop && e.Stop.Reason != llm.StopEnd && e.Stop.Reason != llm.StopCalls {
		c.ends = true
	}
	var err error
	if c.buf, err = c.enc.Append(c.buf[:0], e); err != nil {
		return fault.As(err).At(fault.Partial)
	}
	return c.write(carriesContent(e))
}

func (c *conversion) write(content bool) error {
	out := c.buf
	if c.array != nil {
		c.x.out.elements = c.array.Elements()
	}
	switch {
	case c.x.out.contentSent():
		return c.x.out.write(out)
	case content || len(c.held)+len(out) > maxHeld:
		c.s.begin(c.x, c.r, tunnel.Reply{Status: http.StatusOK, Header: converted(c.x.out.streamType())}, -1)
		held := c.held
		c.held = nil
		return c.x.out.content(held, out)
	default:
		c.held = append(c.held, out...)
		return nil
	}
}

func (c *conversion) flush() {
	if c.x.out.contentSent() {
		c.x.out.flush()
	}
}

// end closes the stream regularly.
func (c *conversion) end() error {
	var err error
	if c.buf, err = c.enc.Close(c.buf[:0]); err != nil {
		return fault.As(err).At(fault.Partial)
	}
	if !c.x.out.contentSent() && !c.ends {
		return fault.New(fault.UpstreamProtocol, "the provider's stream held no content").At(fault.Sent)
	}
	if err := c.write(true); err != nil {
		return err
	}
	c.x.losses = append(c.x.losses, c.enc.Losses()...)
	c.x.out.flush()
	return nil
}

// carriesContent tells events after which a replay would repeat something.
func carriesContent(e *llm.Event) bool {
	switch e.Kind {
	case llm.EventDelta:
		return true
	case llm.EventPartStart:
		return e.Part != nil && !e.Part.Kind.Streams() || e.Part != nil && e.Part.Kind == llm.PartCall
	}
	return false
}

func converted(contentType string) []tunnel.Field {
	return []tunnel.Field{{Name: "Content-Type", Value: contentType}}
}

// convertedRequest changes a tunnel request to that of a converted body: nothing of the client's own protocol
// travels but what names the client.
func (s *Server) convertedRequest(x *exchange, r *route, req *tunnel.Request, header http.Header) {
	req.Method = http.MethodPost
	req.RawQuery = ""
	if r.dialect == llm.Gemini {
		req.Path = r.target.Facts(r.dialect).Path(registry.Backend(r.dialect).Path(llm.Op(req.Op), "v1beta", r.target.Model, x.head.Stream))
		if x.head.Stream {
			req.RawQuery = "alt=sse"
		}
	}
	accept := "application/json"
	if x.head.Stream {
		accept = "text/event-stream"
	}
	req.Header = []tunnel.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "Accept", Value: accept}}
	if ua := x.r.Header.Get("User-Agent"); ua != "" {
		req.Header = append(req.Header, tunnel.Field{Name: "User-Agent", Value: ua})
	}
	for name, values := range header {
		if name == betaHeader {
			continue
		}
		for _, v := range values {
			req.Header = append(req.Header, tunnel.Field{Name: name, Value: v})
		}
	}
}

const betaHeader = "Anthropic-Beta"

// mergeBetas adds the betas that an encoded body needs to those that the client asked for. A client of
// another protocol may name betas too; what they stand for is in the body, not in the protocol.
func mergeBetas(fields []tunnel.Field, client, encoded http.Header) []tunnel.Field {
	ours := encoded.Values(betaHeader)
	theirs := client.Values(betaHeader)
	if len(ours) == 0 {
		return fields
	}
	var all []string
	for _, list := range append(slices.Clone(theirs), ours...) {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name != "" && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	fields = slices.DeleteFunc(fields, func(f tunnel.Field) bool { return f.Name == betaHeader })
	return append(fields, tunnel.Field{Name: betaHeader, Value: strings.Join(all, ",")})
}
