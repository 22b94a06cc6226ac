package exit

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/upstream"
)

const (
	streamBuffer = 4 << 10 // a held stream keeps one, so it is small
	unaryBuffer  = 32 << 10
	maxMetered   = 32 << 20 // a larger unary answer is passed on but its usage is not read
)

var (
	streamBuffers = sync.Pool{New: func() any { return new([streamBuffer]byte) }}
	unaryBuffers  = sync.Pool{New: func() any { return new([unaryBuffer]byte) }}
)

// Answer is a provider's answer as it comes, watched for usage and for its regular end. For one
// goroutine.
type Answer struct {
	exit   *Exit
	acct   *account
	back   dialect.Backend
	op     llm.Op
	reply  tunnel.Reply
	resp   *upstream.Response
	cancel context.CancelFunc
	begin  time.Time

	small  *[streamBuffer]byte
	large  *[unaryBuffer]byte
	frames registry.Frames // nil for a unary answer
	tap    dialect.Tap
	whole  []byte // the unary answer so far, for its usage; lies in large when it came in one piece
	toobig bool
	ended  bool // the protocol's regular end was seen
	empty  bool
	first  time.Duration

	done    bool
	account bool // finished and not yet reported
	trailer tunnel.Trailer
}

func newAnswer(e *Exit, acct *account, req *tunnel.Request, back dialect.Backend, op llm.Op, secret string, resp *upstream.Response, begin time.Time) *Answer {
	a := &Answer{exit: e, acct: acct, back: back, op: op, resp: resp, begin: begin, empty: true}
	a.reply = tunnel.Reply{Status: resp.Status, Header: fields(resp.Header), Secret: secret}
	a.first = resp.Timings.FirstByte
	a.trailer = tunnel.Trailer{Secret: secret, Connect: resp.Timings.Connect, FirstByte: resp.Timings.FirstByte, Queue: time.Since(begin) - resp.Timings.FirstByte}
	if req.Stream {
		a.frames = registry.NewFrames(llm.Dialect(req.Dialect), resp.Header.Get("Content-Type"), 0)
		a.tap = back.NewTap(op)
		a.small = streamBuffers.Get().(*[streamBuffer]byte)
	} else {
		a.large = unaryBuffers.Get().(*[unaryBuffer]byte)
		a.toobig = op == llm.OpSpeech || op == llm.OpStored // audio and kept things state no usage
	}
	return a
}

func fields(h http.Header) []tunnel.Field {
	out := make([]tunnel.Field, 0, len(h))
	for name, values := range h {
		for _, v := range values {
			out = append(out, tunnel.Field{Name: name, Value: v})
		}
	}
	return out
}

// Reply is the head of the answer.
func (a *Answer) Reply() tunnel.Reply { return a.reply }

// Trailer is what is known at the end; false before it.
func (a *Answer) Trailer() (tunnel.Trailer, bool) { return a.trailer, a.done }

// Next gives the next bytes, valid until the following call. The end is io.EOF, possibly together
// with the last bytes; a broken answer ends the same way, with the fault in the trailer.
func (a *Answer) Next() ([]byte, error) {
	if a.done {
		return nil, io.EOF
	}
	buf := a.buffer()
	n := 0
	var err error
	for n < len(buf) && err == nil {
		var m int
		m, err = a.resp.Body.Read(buf[n:])
		n += m
		if (a.frames != nil || a.op == llm.OpSpeech) && m > 0 {
			break // a stream's bytes are passed on as they come
		}
	}
	if n > 0 {
		a.empty = false
		if err != nil && a.frames == nil && a.whole == nil && !a.toobig {
			a.whole = buf[:n]
		} else {
			a.watch(buf[:n])
		}
	}
	if a.frames != nil && a.frames.Err() != nil {
		err = io.EOF // nobody reads on after an event that is too large
	}
	if err != nil {
		a.finish(err)
		return buf[:n], io.EOF
	}
	return buf[:n], nil
}

func (a *Answer) buffer() []byte {
	if a.small != nil {
		return a.small[:]
	}
	return a.large[:]
}

// watch looks at bytes on their way: events of a stream one by one, a unary answer as a whole.
func (a *Answer) watch(p []byte) {
	if a.frames == nil {
		if !a.toobig && len(a.whole)+len(p) <= maxMetered {
			a.whole = append(a.whole, p...)
		} else {
			a.toobig, a.whole = true, nil
		}
		return
	}
	a.frames.Feed(p)
	for {
		ev, ok := a.frames.Next()
		if !ok {
			return
		}
		if a.tap.Event(ev.Name, ev.Data)&dialect.NoteTerminal != 0 {
			a.ended = true
		}
	}
}

// finish reads the account: usage, where it ran, and whether it came to its regular end.
func (a *Answer) finish(err error) {
	a.done = true
	t := &a.trailer
	t.Total = time.Since(a.begin)
	var usage llm.Usage
	switch {
	case !errors.Is(err, io.EOF):
		t.Fault = fault.As(err)
	case a.empty && a.op != llm.OpStored: // deleting something may be answered with nothing
		t.Fault = fault.New(fault.UpstreamProtocol, "the provider's answer is empty").At(fault.Sent)
	case a.frames != nil:
		if ev, ok := a.frames.End(); ok && a.tap.Event(ev.Name, ev.Data)&dialect.NoteTerminal != 0 {
			a.ended = true
		}
		switch {
		case a.tap.Fault() != nil:
			t.Fault = a.tap.Fault()
		case a.frames.Err() != nil:
			t.Fault = fault.As(a.frames.Err())
		case !a.ended:
			t.Fault = fault.New(fault.UpstreamPartial, "the provider's stream ended before its end").At(fault.Partial)
		default:
			t.Complete = true
		}
	default:
		t.Complete = true
	}
	if a.tap != nil {
		usage, t.HasUsage = a.tap.Usage()
		if t.Processing = a.tap.Processing(); t.Processing == "" {
			t.Processing = a.back.Processing(a.resp.Header, nil)
		}
	} else if a.whole != nil {
		usage, t.HasUsage = a.back.UnaryUsage(a.op, a.whole)
		t.Processing = a.back.Processing(a.resp.Header, a.whole)
	}
	if t.HasUsage {
		t.Usage = tunnel.Usage{
			Input: usage.Input, Cached: usage.Cached, CacheWrite: usage.CacheWrite, CacheWrite1h: usage.CacheWrite1h,
			Output: usage.Output, Reasoning: usage.Reasoning,
		}
	}
	a.account = true
}

// report charges the credential and takes the call as a sample of its provider. It runs when the
// answer has gone on its way: nobody waits for it.
func (a *Answer) report() {
	t, now := &a.trailer, time.Now()
	if t.HasUsage {
		a.acct.secrets.Settle(now, t.Secret, t.Usage.Input+t.Usage.Output)
	}
	if t.Fault == nil || t.Fault.Kind != fault.Canceled {
		a.exit.cfg.Observe(now, Sample{Provider: a.acct.spec.ID, FirstByte: a.first, Connect: t.Connect, Fault: t.Fault})
	}
}

// Close ends the call. Before the end of the answer it cancels it at the provider.
func (a *Answer) Close() {
	if a.account {
		a.account = false
		a.report()
	}
	a.resp.Body.Close()
	if a.cancel != nil {
		a.cancel()
	}
	if a.small != nil {
		streamBuffers.Put(a.small)
		a.small = nil
	}
	if a.large != nil {
		unaryBuffers.Put(a.large)
		a.large = nil
	}
	if !a.done {
		a.done = true
		a.trailer.Total = time.Since(a.begin)
	}
}
