package edge

import (
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/lend"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// Body is a client's request body and the edits that make it the provider's. It can be read any
// number of times, so every attempt sends the same bytes.
type Body struct {
	Bytes     []byte
	Edits     []splice.Edit
	Converted *dialect.Body // in place of Bytes: the request in the provider's dialect
	// Memory is where Bytes lies: who reads it after the attempt's answer has been closed must hold it.
	Memory *lend.Buffer
}

// Len is the length after the edits.
func (b Body) Len() int64 {
	if b.Converted != nil {
		return int64(b.Converted.Len())
	}
	return int64(splice.Len(b.Bytes, b.Edits))
}

// Reader reads the edited body without copying it.
func (b Body) Reader() io.Reader {
	if b.Converted != nil {
		return b.Converted.Reader()
	}
	return splice.NewReader(b.Bytes, b.Edits)
}

// Edited gives the edited bytes, held once for the caller. A small body comes in one piece; large ones are
// not copied.
func (b Body) Edited() lend.Body {
	switch {
	case b.Converted != nil:
		b.Memory.Hold() // parts of it may be the client's bytes
		ps := b.Converted.Pieces()
		return lend.Body{First: ps[0], Rest: ps[1:], Memory: b.Memory}
	case len(b.Edits) == 0:
		b.Memory.Hold()
		return lend.Body{First: b.Bytes, Memory: b.Memory}
	case b.Len() > lend.Max:
		b.Memory.Hold()
		ps := splice.Pieces(b.Bytes, b.Edits)
		return lend.Body{First: ps[0], Rest: ps[1:], Memory: b.Memory}
	}
	mem := lend.Get(int(b.Len()))
	out := mem.Bytes()[:b.Len()]
	if _, err := io.ReadFull(b.Reader(), out); err != nil { // Len and Reader disagree: they never do
		mem.Drop()
		return lend.Body{First: splice.Apply(b.Bytes, b.Edits)}
	}
	return lend.Body{First: out, Memory: mem}
}

const (
	bodyTimeout = 2 * time.Minute // for the whole upload
	smallBody   = 4 << 10
	announced   = 8 // times as much memory as has come is made for what is only announced
)

// read takes the body in, once, under the size limit. A compressed body is decoded here, under the
// same limit, and travels on uncompressed.
func (s *Server) read(x *exchange) error {
	tooLarge := func() error {
		if x.op.op == llm.OpStored {
			return fault.New(fault.TooLarge, "the body is larger than %d bytes, this edge's limit; send a larger file in parts, as the protocol's uploads do", s.cfg.MaxBody)
		}
		return fault.New(fault.TooLarge, "the body is larger than %d bytes, this edge's limit", s.cfg.MaxBody)
	}
	if x.r.ContentLength > s.cfg.MaxBody {
		return tooLarge()
	}
	if x.r.ContentLength != 0 {
		// A client that trickles its upload holds a connection, not a worker: it is cut off here.
		_ = x.out.rc.SetReadDeadline(x.start.Add(bodyTimeout))
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
	prompt := s.hasher(x).Prompt(x.key.Tenant.ID)
	// One byte more shows the end without growing.
	x.memory = lend.Get(int(min(want+1, lend.Max)))
	buf := x.memory.Bytes()[:0]
	for {
		if len(buf) == cap(buf) {
			size := 2 * cap(buf)
			if want >= int64(cap(buf)) { // announced: grown seldom, and to no more than it needs
				size = int(min(want+1, announced*int64(cap(buf))))
			}
			larger := lend.Get(size)
			buf = append(larger.Bytes()[:0], buf...)
			x.memory.Drop()
			x.memory = larger
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		prompt.Write(buf[len(buf) : len(buf)+n]) // now, while the rest is on its way
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
	x.body, x.prompt = buf, prompt.Sum()
	x.outcome.BytesIn = int64(len(buf))
	if x.r.ContentLength != 0 {
		_ = x.out.rc.SetReadDeadline(time.Time{})
	}
	return nil
}
