package segment

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// TornError says where a segment stops being readable. At the end of the last segment it is what a
// crash leaves; anywhere else it is damage.
type TornError struct {
	Offset int64 // where the first bad frame starts
	Reason string
}

// Error names the offset and the reason.
func (e *TornError) Error() string {
	return fmt.Sprintf("segment is unreadable from byte %d: %s", e.Offset, e.Reason)
}

// Reader reads a segment's records in order. Not safe for concurrent use.
type Reader struct {
	r      *bufio.Reader
	header Header
	offset int64
	head   [FrameOverhead]byte
	buf    []byte
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	var b [HeaderSize]byte
	if _, err := io.ReadFull(br, b[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: shorter than a header", ErrHeader)
		}
		return nil, fmt.Errorf("read segment header: %w", err)
	}
	h, err := ParseHeader(b[:])
	if err != nil {
		return nil, err
	}
	return &Reader{r: br, header: h, offset: HeaderSize}, nil
}

// Resume continues reading at offset, as an earlier reader's Offset said; r starts there.
func Resume(r io.Reader, h Header, offset int64) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), header: h, offset: offset}
}

// Header is the segment's header.
func (r *Reader) Header() Header { return r.header }

// Offset is where the next frame starts: the length of the good part.
func (r *Reader) Offset() int64 { return r.offset }

// Next returns the next payload, valid until the following call. It returns io.EOF at a clean end,
// and *TornError where the file stops making sense.
func (r *Reader) Next() ([]byte, error) {
	n, err := io.ReadFull(r.r, r.head[:])
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		if zero(r.head[:n]) {
			return nil, io.EOF
		}
		return nil, &TornError{r.offset, "frame head cut short"}
	case err != nil:
		return nil, fmt.Errorf("read segment: %w", err)
	}
	length := binary.LittleEndian.Uint32(r.head[:])
	if length == 0 {
		return nil, r.tail()
	}
	if length > MaxRecord {
		return nil, &TornError{r.offset, "frame length is impossible"}
	}
	if cap(r.buf) < int(length) {
		r.buf = make([]byte, max(int(length), 4096))
	}
	p := r.buf[:length]
	if _, err := io.ReadFull(r.r, p); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, &TornError{r.offset, "frame cut short"}
		}
		return nil, fmt.Errorf("read segment: %w", err)
	}
	sum := crc32.Update(crc32.Checksum(r.head[:4], table), table, p)
	if sum != binary.LittleEndian.Uint32(r.head[4:]) {
		return nil, &TornError{r.offset, "frame checksum differs"}
	}
	r.offset += FrameOverhead + int64(length)
	return p, nil
}

// tail tells allocated space from a hole with something behind it.
func (r *Reader) tail() error {
	if !zero(r.head[:]) {
		return &TornError{r.offset, "frame length is zero"}
	}
	for {
		b, err := r.r.ReadByte()
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if err != nil {
			return fmt.Errorf("read segment: %w", err)
		}
		if b != 0 {
			return &TornError{r.offset, "data follows unwritten space"}
		}
	}
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
