package upstream

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// body is an answer's body under the gap and total timeouts and a size limit. Read and Close may be
// called from different goroutines.
type body struct {
	rc       io.ReadCloser // the connection's
	src      io.Reader     // rc, or a decoder over it
	s        *stage
	ctx      context.Context //nolint:containedctx // the call's own; its cause says which timeout fired
	left     int64
	limited  bool
	truncate bool // over the limit: end early instead of failing (error answers)
	once     sync.Once
	err      error // sticky; only Read touches it
}

// Read gives the next bytes. The gap timeout runs only inside Read, so a slow reader is not the
// provider's fault. After an error or the end, the connection is already given back or closed.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.limited && b.left == 0 {
		return 0, b.overLimit()
	}
	if b.limited && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	b.s.await(stBody, b.s.t.Gap)
	n, err := b.src.Read(p)
	b.s.idle()
	if b.limited {
		b.left -= int64(n)
	}
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		b.err = io.EOF
	} else {
		b.err = b.readFault(err)
	}
	b.release()
	return n, b.err
}

// overLimit runs when the limit is used up: the answer may end exactly there.
func (b *body) overLimit() error {
	var one [1]byte
	b.limited = false
	n, err := b.Read(one[:])
	b.limited = true
	if n == 0 {
		return err
	}
	if b.truncate {
		b.err = io.EOF
	} else {
		b.err = fault.New(fault.UpstreamProtocol, "the provider's answer is larger than %d bytes", int64(MaxUnaryBody)).At(fault.Partial)
	}
	b.release()
	return b.err
}

func (b *body) readFault(err error) error {
	if f := b.s.cause(b.ctx, fault.Partial); f != nil {
		return f.With(err)
	}
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return fault.New(fault.UpstreamProtocol, "the provider's compressed answer is damaged").At(fault.Partial).With(err)
	}
	return fault.New(fault.UpstreamPartial, "the provider's answer broke off").At(fault.Partial).With(err)
}

// Close ends the call. Before the end of the body it closes the provider's connection (HTTP/2:
// resets the stream), so that nothing more is generated or billed. It may be called again.
func (b *body) Close() error {
	b.release()
	return nil
}

func (b *body) release() {
	b.once.Do(func() {
		b.s.stop() // cancels first: closing an unread HTTP/1 body must not wait for more of it
		b.rc.Close()
	})
}

// gunzip puts a lazy decoder in front: its header is read in Read, under the gap timeout.
func (b *body) gunzip() { b.src = &lazyGzip{r: b.rc} }

type lazyGzip struct {
	r io.Reader
	z *gzip.Reader
}

func (l *lazyGzip) Read(p []byte) (int, error) {
	if l.z == nil {
		z, err := gzip.NewReader(l.r)
		if err != nil {
			return 0, err
		}
		l.z = z
	}
	return l.z.Read(p)
}

// ErrorBody reads an error answer's body (at most MaxErrorBody) and closes it. What could be read
// before a failure is returned too: a truncated explanation is better than none.
func (r *Response) ErrorBody() []byte {
	b, err := io.ReadAll(io.LimitReader(r.Body, MaxErrorBody))
	if cerr := r.Body.Close(); err == nil && cerr != nil {
		return nil
	}
	return b
}
