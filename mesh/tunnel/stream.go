package tunnel

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// Stream is one request on the edge's side: Reply, then NextChunk or Read until io.EOF, then Trailer. These
// are for one goroutine; Cancel is for any. A Stream that is not read to its end must be cancelled. When the
// context given to Open ends, both directions are cancelled.
type Stream struct {
	lane  *clientLane
	stop  func() bool
	ctx   context.Context //nolint:containedctx // the cause of a cancellation that arrives by AfterFunc
	reply Reply
	tail  Trailer

	left    int    // bytes of the current data frame that have not come out
	chunk   []byte // rest of a chunk that Read handed out in part
	began   bool   // the body's reader was touched by sendRest
	head    bool   // reply parsed
	ended   bool   // trailer parsed
	err     *fault.Error
	caller  Caller
	sentAll atomic.Bool // this and the next are also read by the monitor
	data    atomic.Bool // content came back

	mu       sync.Mutex
	over     bool // lane given up: nobody may touch it
	canceled bool
	lost     bool // given up because the exit is silent
}

// Caller knows what a request is worth to its client.
type Caller interface {
	// Movable reports whether the request, if it were given up now, would be asked of another exit. It is
	// called from another goroutine while Open or a method of the Stream is running, and must not block.
	Movable() bool
}

// movable is the caller's word, or else that nothing of the answer has come.
func (s *Stream) movable() bool {
	if s.caller != nil {
		return s.caller.Movable()
	}
	return !s.data.Load()
}

// phase is what we know about how far the request came.
func (s *Stream) phase() fault.Phase {
	switch {
	case s.data.Load():
		return fault.Partial
	case s.sentAll.Load():
		return fault.Sent
	default:
		return fault.NotSent
	}
}

// Node is the exit that serves the request, Region its region, as its certificate says.
func (s *Stream) Node() (node, region string) {
	return string(s.lane.c.peer.Node), s.lane.c.peer.Region
}

// Reply waits for the head of the answer. When the exit answers with a fault instead, that is the error
// (and Trailer has the rest of what it said). Errors are *fault.Error.
func (s *Stream) Reply() (Reply, error) {
	for !s.head {
		if s.err != nil {
			return Reply{}, s.err
		}
		if s.ended {
			if s.tail.Fault != nil {
				return Reply{}, s.tail.Fault
			}
			return Reply{}, s.broke(errProtocol)
		}
		if err := s.frame(); err != nil {
			return Reply{}, err
		}
	}
	return s.reply, nil
}

// NextChunk waits for content and returns all that is there, up to 16 KiB, without copying; it is valid until
// the next call. After the trailer it returns io.EOF, or the trailer's fault.
func (s *Stream) NextChunk() ([]byte, error) {
	if len(s.chunk) > 0 {
		c := s.chunk
		s.chunk = nil
		return c, nil
	}
	if _, err := s.Reply(); err != nil {
		return nil, err
	}
	for s.left == 0 {
		switch {
		case s.err != nil:
			return nil, s.err
		case s.ended && s.tail.Fault != nil:
			return nil, s.tail.Fault
		case s.ended:
			return nil, io.EOF
		}
		if err := s.frame(); err != nil {
			return nil, err
		}
	}
	rd := &s.lane.rd
	if rd.buffered() == 0 {
		if err := rd.more(); err != nil {
			return nil, s.broke(err)
		}
	}
	from := rd.r
	n := min(s.left, rd.buffered())
	rd.r += n
	s.left -= n
	if !s.data.Load() {
		s.data.Store(true)
	}
	return rd.blk[from : from+n+s.join(from+n)], nil
}

// join moves the payloads of whole data frames that have already come to the end of the chunk that ends at
// to, so that what is ready together is written to the client together.
func (s *Stream) join(to int) int {
	rd, n := &s.lane.rd, 0
	for s.left == 0 && rd.buffered() > frameHeader {
		typ, size := parseHeader(rd.blk[rd.r:])
		if typ != frameData || size > rd.buffered()-frameHeader {
			break
		}
		copy(rd.blk[to+n:], rd.blk[rd.r+frameHeader:rd.r+frameHeader+size])
		rd.r += frameHeader + size
		n += size
	}
	return n
}

// Read is NextChunk in the shape of io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	if len(s.chunk) == 0 {
		c, err := s.NextChunk()
		if err != nil {
			return 0, err
		}
		s.chunk = c
	}
	n := copy(p, s.chunk)
	s.chunk = s.chunk[n:]
	return n, nil
}

// Trailer gives what the exit said at the end. It is false before the end and when the exchange broke.
func (s *Stream) Trailer() (Trailer, bool) { return s.tail, s.ended }

// Cancel gives the request up in both directions; the exit learns of it at once. It is idempotent, and does
// nothing after the end.
func (s *Stream) Cancel() {
	s.stop()
	s.cut(resetCanceled)
}

// expire is Cancel on behalf of the context.
func (s *Stream) expire() {
	if errors.Is(s.ctx.Err(), context.DeadlineExceeded) {
		s.cut(resetDeadline)
		return
	}
	s.cut(resetCanceled)
}

func (s *Stream) cut(code quic.StreamErrorCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over, s.canceled = true, true
	s.abandon(code)
}

// lose gives the exchange up because the exit is silent; whoever waits for it learns so as ExitLost, or as
// ExitUnreachable while the body was on its way.
func (s *Stream) lose() {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over, s.lost = true, true
	s.abandon(resetCanceled)
}

// abandon resets the lane in both directions. It is called with mu held.
func (s *Stream) abandon(code quic.StreamErrorCode) {
	s.lane.str.CancelRead(code)
	s.lane.str.CancelWrite(code)
	s.lane.c.live.Add(-1)
	s.lane.c.drop(s.lane)
}

// settle gives the lane up: back to the connection when it can carry another exchange, else reset.
func (s *Stream) settle(reuse bool) {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lane.rd.release()
	if s.over {
		return
	}
	s.over = true
	if !reuse {
		s.abandon(resetCanceled)
		return
	}
	s.lane.c.live.Add(-1)
	s.lane.c.put(s.lane)
}

// frame reads the next frame header, and the frame unless it holds data.
func (s *Stream) frame() error {
	rd := &s.lane.rd
	typ, n, err := rd.header()
	if err != nil {
		return s.broke(err)
	}
	switch {
	case typ == frameData && s.head:
		s.left = n
		return nil
	case typ == frameReply && !s.head:
		p, err := rd.payload(n, MaxReplyFrame)
		if err == nil {
			s.reply, err = ParseReply(p)
		}
		if err != nil {
			return s.broke(err)
		}
		s.head = true
		return nil
	case typ == frameTrailer:
		p, err := rd.payload(n, MaxTrailerFrame)
		if err != nil {
			return s.broke(err)
		}
		var closing bool
		if s.tail, closing, err = parseTrailer(p); err != nil {
			return s.broke(err)
		}
		if rd.buffered() > 0 {
			return s.broke(errProtocol)
		}
		s.ended = true
		s.settle(s.sentAll.Load() && !closing)
		return nil
	default:
		return s.broke(errProtocol)
	}
}

// broke ends the exchange without a trailer.
func (s *Stream) broke(err error) error {
	s.mu.Lock()
	canceled, lost := s.canceled, s.lost
	s.mu.Unlock()
	switch {
	case lost:
		s.err = faultOf(errSilent, s.phase())
	case canceled && errors.Is(s.ctx.Err(), context.DeadlineExceeded):
		s.err = fault.New(fault.Deadline, "the request's deadline passed").At(s.phase()).With(context.Cause(s.ctx))
	case canceled:
		s.err = fault.New(fault.Canceled, "the request was given up").At(s.phase()).With(context.Cause(s.ctx))
	default:
		s.err = faultOf(err, s.phase())
		if se, ok := errors.AsType[*quic.StreamError](err); ok && se.Remote && se.ErrorCode == resetDraining {
			s.lane.c.drained.Store(true)
		}
	}
	s.lane.rd.drop()
	s.settle(false)
	return s.err
}

// send writes the request: first holds the frame and the beginning of the body, of which rest bytes follow.
func (s *Stream) send(first []byte, body io.Reader, rest int64) error {
	if rest == 0 {
		_, err := s.lane.str.Write(first)
		s.sentAll.Store(err == nil)
		return err
	}
	if !s.lane.c.usable() {
		return errSilent
	}
	if _, err := s.lane.str.Write(first); err != nil {
		return err
	}
	s.began = true
	err := s.sendRest(body, rest)
	s.sentAll.Store(err == nil)
	return err
}

// refused judges an error of open or send. A nil fault means that the exit has answered before it read all,
// and its answer can be read; final means that another connection would not help or that the body's reader
// has been used.
func (s *Stream) refused(t Target, err error) (f *fault.Error, final bool) {
	if s == nil {
		return unreachable(t.Node, err), errors.Is(err, errLimit)
	}
	if be, ok := errors.AsType[errBody](err); ok {
		s.Cancel()
		return fault.New(fault.Internal, "the request's body broke off").With(be), true
	}
	se, ok := errors.AsType[*quic.StreamError](err)
	remote := ok && se.Remote
	if remote && phaseOf(se.ErrorCode) != fault.NotSent {
		return nil, false
	}
	f = fault.As(s.broke(err))
	return f, remote || s.began || f.Kind != fault.ExitUnreachable
}

func (s *Stream) sendRest(body io.Reader, rest int64) error {
	if w, ok := body.(io.WriterTo); ok { // bytes.Reader and the like hand over what they hold, uncopied
		lw := &exactWriter{str: s.lane.str, left: rest}
		if _, err := w.WriteTo(lw); err != nil {
			return err
		}
		if lw.left > 0 {
			return errBody{io.ErrUnexpectedEOF}
		}
		return nil
	}
	blk := getBlock()
	defer putBlock(blk)
	for rest > 0 {
		part := blk[:min(rest, blockSize)]
		if _, err := io.ReadFull(body, part); err != nil {
			return errBody{err}
		}
		if _, err := s.lane.str.Write(part); err != nil {
			return err
		}
		rest -= int64(len(part))
	}
	return nil
}

// exactWriter passes on no more than the announced length.
type exactWriter struct {
	str  *quic.Stream
	left int64
}

func (w *exactWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		return 0, errBody{errors.New("body is longer than announced")}
	}
	n, err := w.str.Write(p)
	w.left -= int64(n)
	return n, err
}

// errBody is a failure of the caller's own body reader.
type errBody struct{ err error }

func (e errBody) Error() string { return "read request body: " + e.err.Error() }
func (e errBody) Unwrap() error { return e.err }

var errSilent = errors.New("the exit does not answer")

// remaining is the time left until ctx ends, for the request frame; 0 = no deadline.
func remaining(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return min(max(time.Until(end), time.Millisecond), maxTimeout)
}
