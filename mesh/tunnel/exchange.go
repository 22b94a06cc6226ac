package tunnel

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/relay/fault"
)

var (
	errFinished = errors.New("write tunnel exchange: already finished")
	errOrder    = errors.New("write tunnel exchange: reply after data or a second time")
)

// Exchange is one request on the exit's side. Its methods are for one goroutine, the handler's.
type Exchange struct {
	Peer    identity.Peer
	Request Request
	Body    io.Reader // exactly Request.BodyLen bytes, then io.EOF

	ln       *lane
	bodyLeft int64
	out      *block // frames that wait for the next write
	n        int
	replied  bool
	began    bool // data was written
	finished bool
	err      error // first write error; all later calls return it
}

// body is the reader behind Exchange.Body.
type body struct{ x *Exchange }

func (b body) Read(p []byte) (int, error) {
	x := b.x
	if x.bodyLeft == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), x.bodyLeft)]
	rd := &x.ln.rd
	var n int
	var err error
	if rd.buffered() > 0 {
		n = copy(p, rd.blk[rd.r:rd.w])
		rd.r += n
		rd.release()
	} else {
		n, err = rd.str.Read(p)
	}
	x.bodyLeft -= int64(n)
	switch {
	case x.bodyLeft == 0:
		err = io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteReply queues the head of the answer: it leaves with the first data or the trailer, in one packet when
// they fit. Call Flush when nothing else is ready yet. Fields over the bounds are an error.
func (x *Exchange) WriteReply(r Reply) error {
	switch {
	case x.err != nil:
		return x.err
	case x.finished:
		return errFinished
	case x.replied:
		return errOrder
	}
	b, err := AppendReply(x.space(), &r)
	if err != nil {
		return err
	}
	x.replied = true
	return x.queue(b)
}

// Write sends p as data at once, with whatever is queued before it. It blocks while the edge takes nothing
// more: that is the backpressure that slows the provider down. A reply must have gone before.
func (x *Exchange) Write(p []byte) (int, error) {
	if x.err == nil && !x.finished && !x.replied {
		return 0, errOrder
	}
	if len(p) == 0 {
		return 0, x.Flush()
	}
	if err := x.data(p); err != nil {
		return 0, err
	}
	return len(p), x.Flush()
}

// Respond sends a whole answer: head, body and trailer in one write when they are small. It is WriteReply,
// Write and Finish for answers that are there in one piece.
func (x *Exchange) Respond(r Reply, p []byte, t Trailer) error {
	if err := x.WriteReply(r); err != nil {
		return err
	}
	if len(p) > 0 {
		if err := x.data(p); err != nil {
			return err
		}
	}
	return x.Finish(t)
}

// Flush sends what is queued.
func (x *Exchange) Flush() error {
	switch {
	case x.err != nil:
		return x.err
	case x.finished:
		return errFinished
	}
	return x.flush()
}

// Finish sends the trailer, with whatever is queued, and ends the exchange. A second call is an error.
func (x *Exchange) Finish(t Trailer) error {
	switch {
	case x.err != nil:
		return x.err
	case x.finished:
		return errFinished
	}
	closing := x.bodyLeft > 0 // the rest of the body is in the way of a next request
	b, err := appendTrailer(x.space(), &t, closing)
	if err != nil {
		return err
	}
	if err := x.queue(b); err != nil {
		return err
	}
	if err := x.flush(); err != nil {
		return err
	}
	x.finished = true
	if closing {
		x.ln.dead = true
		x.ln.str.CancelRead(resetEnough)
		return x.ln.str.Close()
	}
	return nil
}

// Abort ends the exchange with a fault, whatever has been written so far. It is Finish with a trailer that
// holds nothing else; where even that cannot be written the stream is reset.
func (x *Exchange) Abort(f *fault.Error) {
	if err := x.Finish(Trailer{Fault: f}); err != nil {
		x.reset(f.Phase)
	}
}

// reset gives up without a trailer. The code tells the edge what it may do.
func (x *Exchange) reset(p fault.Phase) {
	if x.finished {
		return
	}
	code := resetSent
	switch {
	case x.began || p == fault.Partial:
		code = resetPartial
	case p == fault.NotSent && !x.replied:
		code = resetNotSent
	}
	x.finished, x.ln.dead = true, true
	x.drop()
	x.ln.kill(code)
}

// data queues or writes p as data frames.
func (x *Exchange) data(p []byte) error {
	if x.err != nil {
		return x.err
	}
	if x.finished {
		return errFinished
	}
	for len(p) > 0 {
		part := p[:min(len(p), maxDataFrame)]
		p = p[len(part):]
		head, at := beginFrame(x.space(), frameData)
		x.began = true
		if len(head)+len(part) <= blockSize {
			b, err := endFrame(append(head, part...), at, maxDataFrame)
			if err != nil {
				return err
			}
			if err := x.queue(b); err != nil {
				return err
			}
			continue
		}
		// The header goes with as much as fits, so that the first packets are full; the rest is not copied.
		n := blockSize - len(head)
		head = append(head, part[:n]...)
		head[at+1], head[at+2], head[at+3] = byte(len(part)>>16), byte(len(part)>>8), byte(len(part))
		if err := x.queue(head); err != nil {
			return err
		}
		if err := x.flush(); err != nil {
			return err
		}
		if _, err := x.ln.str.Write(part[n:]); err != nil {
			return x.fail(err)
		}
	}
	return nil
}

// space gives the queued bytes to append to.
func (x *Exchange) space() []byte {
	if x.out == nil {
		x.out = getBlock()
	}
	return x.out[:x.n]
}

// queue takes back what space gave. When it outgrew the block it is written at once.
func (x *Exchange) queue(b []byte) error {
	if len(b) <= blockSize {
		x.n = len(b)
		return nil
	}
	x.drop()
	if _, err := x.ln.str.Write(b); err != nil {
		return x.fail(err)
	}
	return nil
}

func (x *Exchange) flush() error {
	if x.n == 0 {
		x.drop()
		return nil
	}
	_, err := x.ln.str.Write(x.out[:x.n])
	x.drop()
	if err != nil {
		return x.fail(err)
	}
	return nil
}

func (x *Exchange) drop() {
	if x.out != nil {
		putBlock(x.out)
		x.out, x.n = nil, 0
	}
}

func (x *Exchange) fail(err error) error {
	x.err = faultOf(err, fault.Sent)
	return x.err
}

// lane is a QUIC stream that carries one exchange after another, on the exit's side.
type lane struct {
	str  *quic.Stream
	rd   reader
	dead bool
}

func (l *lane) kill(code quic.StreamErrorCode) {
	l.str.CancelRead(code)
	l.str.CancelWrite(code)
}

// limit bounds the stream operations of one exchange: half a second after its deadline neither a stalled
// body nor a stalled reader may hold the handler. It returns the handler's context.
func (l *lane) limit(r *Request) (context.Context, context.CancelFunc) {
	if r.Timeout <= 0 {
		return context.WithCancel(l.str.Context())
	}
	end := time.Now().Add(r.Timeout)
	// Errors cannot happen: SetDeadline only fails on a nil stream.
	_ = l.str.SetDeadline(end.Add(500 * time.Millisecond))
	return context.WithDeadline(l.str.Context(), end)
}
