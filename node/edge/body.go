package edge

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// Body is a client's request body and the edits that make it the provider's. It can be read any
// number of times, so every attempt sends the same bytes.
type Body struct {
	Bytes []byte
	Edits []splice.Edit
}

// Len is the length after the edits.
func (b Body) Len() int64 { return int64(splice.Len(b.Bytes, b.Edits)) }

// Reader reads the edited body without copying it.
func (b Body) Reader() io.Reader { return splice.NewReader(b.Bytes, b.Edits) }

// Edited gives the edited bytes; without edits they are the client's own.
func (b Body) Edited() []byte {
	if len(b.Edits) == 0 {
		return b.Bytes
	}
	return splice.Apply(b.Bytes, b.Edits)
}

const (
	bodyTimeout = 2 * time.Minute // for the whole upload
	smallBody   = 4 << 10
)

// read takes the body in, once, under the size limit. A compressed body is decoded here, under the
// same limit, and travels on uncompressed.
func (s *Server) read(x *exchange) error {
	tooLarge := func() error {
		return fault.New(fault.TooLarge, "the body is larger than %d bytes, this edge's limit", s.cfg.MaxBody)
	}
	if x.r.ContentLength > s.cfg.MaxBody {
		return tooLarge()
	}
	if x.r.ContentLength != 0 {
		// A client that trickles its upload holds a connection, not a worker: it is cut off here.
		_ = http.NewResponseController(x.w).SetReadDeadline(x.start.Add(bodyTimeout))
	}
	var src io.Reader = x.r.Body
	want := x.r.ContentLength
	switch enc := x.r.Header.Get("Content-Encoding"); {
	case enc == "" || strings.EqualFold(enc, "identity"):
	case strings.EqualFold(enc, "gzip"):
		z, err := gzip.NewReader(x.r.Body)
		if err != nil {
			return fault.New(fault.Malformed, "content-encoding is gzip but the body is not").With(err)
		}
		src, want = z, -1
	default:
		return fault.New(fault.Malformed, "content-encoding %q is not supported; send gzip or none", cut(enc, 32))
	}
	if want < 0 {
		want = smallBody
	}
	// Not from a pool: a transport may still read a body after the answer to it has arrived, so only
	// the collector knows when the memory is free. One byte more shows the end without growing.
	buf := make([]byte, 0, want+1)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > s.cfg.MaxBody {
			return tooLarge()
		}
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			if x.context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) {
				return fault.New(fault.Canceled, "the body ended early").With(err)
			}
			return fault.New(fault.Malformed, "the body could not be read").With(err)
		}
	}
	x.body = buf
	x.outcome.BytesIn = int64(len(buf))
	if x.r.ContentLength != 0 {
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	}
	return nil
}
