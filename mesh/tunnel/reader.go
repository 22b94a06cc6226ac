package tunnel

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/quic-go/quic-go"
)

// blockSize is a little over eleven full packets. Blocks are only held while there are bytes in them.
const blockSize = 16 << 10

type block [blockSize]byte

var blocks = sync.Pool{New: func() any { return new(block) }}

func getBlock() *block  { return blocks.Get().(*block) }
func putBlock(b *block) { blocks.Put(b) }

var errProtocol = errors.New("read tunnel stream: not a frame of this protocol")

// reader reads frames off a QUIC stream. It holds no buffer while it waits for the peer: a held stream
// costs its quic.Stream and a goroutine's stack, nothing else.
type reader struct {
	str  *quic.Stream
	blk  *block
	r, w int // unread bytes are blk[r:w]
	one  [1]byte
}

func (r *reader) buffered() int { return r.w - r.r }

// release gives the block back when nothing is in it.
func (r *reader) release() {
	if r.blk != nil && r.r == r.w {
		putBlock(r.blk)
		r.blk, r.r, r.w = nil, 0, 0
	}
}

// drop gives the block back with whatever is in it.
func (r *reader) drop() {
	r.r = r.w
	r.release()
}

// more blocks until there is at least one byte more than before.
func (r *reader) more() error {
	r.release()
	if r.blk == nil {
		if _, err := r.str.Peek(r.one[:]); err != nil {
			// Only Read tells QUIC that the end was seen, so that the stream can be forgotten.
			n, rerr := r.str.Read(r.one[:])
			if n == 0 {
				return rerr
			}
			r.blk = getBlock()
			r.blk[0], r.w = r.one[0], n
			return nil
		}
		r.blk = getBlock()
	}
	if r.w == blockSize {
		r.w = copy(r.blk[:], r.blk[r.r:r.w])
		r.r = 0
	}
	n, err := r.str.Read(r.blk[r.w:])
	r.w += n
	if n > 0 {
		return nil // an EOF that came along is found again by the next call
	}
	return err
}

// header waits for a frame header. The end of the stream before its first byte is io.EOF.
func (r *reader) header() (typ byte, n int, err error) {
	for r.buffered() < frameHeader {
		at := r.buffered()
		if err := r.more(); err != nil {
			if errors.Is(err, io.EOF) && at > 0 {
				err = io.ErrUnexpectedEOF
			}
			return 0, 0, err
		}
	}
	typ, n = parseHeader(r.blk[r.r:])
	r.r += frameHeader
	return typ, n, nil
}

// payload gives n bytes in one piece, valid until the next call of any method.
func (r *reader) payload(n, limit int) ([]byte, error) {
	if n > limit {
		return nil, fmt.Errorf("%w: %d bytes of payload, limit %d", errProtocol, n, limit)
	}
	if n > blockSize { // rare: a head with very many or very long fields
		big := make([]byte, n)
		have := 0
		if r.blk != nil {
			have = copy(big, r.blk[r.r:r.w])
			r.r += have
			r.release()
		}
		_, err := io.ReadFull(r.str, big[have:])
		return big, err
	}
	for r.buffered() < n {
		if r.blk != nil && blockSize-r.r < n {
			r.w = copy(r.blk[:], r.blk[r.r:r.w])
			r.r = 0
		}
		if err := r.more(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	if n == 0 {
		return nil, nil
	}
	p := r.blk[r.r : r.r+n]
	r.r += n
	return p, nil
}
