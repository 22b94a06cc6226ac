// Package lend lends the memory of request bodies. A transport may read a body after the answer to it
// has arrived, so a buffer is counted: it is used again only when everybody who could read it has
// said that they are done, and left to the collector when somebody never does.
package lend

import (
	"errors"
	"io"
	"math/bits"
	"sync"
	"sync/atomic"
)

// Sizes of buffers: powers of four from 1 KiB to 1 MiB. What is larger is not lent but made.
const (
	minBits  = 10
	classes  = 6
	maxBytes = 1 << (minBits + 2*(classes-1))
)

var free [classes]sync.Pool

// Buffer is lent memory. The one who got it holds it; everybody it is passed to for longer than a
// call holds it too. Hold and Drop are for any goroutine.
type Buffer struct {
	b    []byte
	refs atomic.Int32
}

// Get lends at least n bytes, held once. Their content is whatever was there before.
func Get(n int) *Buffer {
	c := class(n)
	if c < 0 {
		b := &Buffer{b: make([]byte, n)}
		b.refs.Store(1)
		return b
	}
	b, ok := free[c].Get().(*Buffer)
	if !ok {
		b = &Buffer{b: make([]byte, 1<<(minBits+2*c))}
	}
	b.refs.Store(1)
	return b
}

func class(n int) int {
	if n > maxBytes {
		return -1
	}
	return max(bits.Len(uint(max(n, 1)-1))-minBits+1, 0) / 2
}

// Bytes is all of the memory.
func (b *Buffer) Bytes() []byte { return b.b }

// Hold counts one more user. A nil Buffer is memory that nobody lent: Hold and Drop do nothing.
func (b *Buffer) Hold() {
	if b != nil {
		b.refs.Add(1)
	}
}

// Drop counts one user less. After the last one the memory is somebody else's.
func (b *Buffer) Drop() {
	if b == nil {
		return
	}
	switch n := b.refs.Add(-1); {
	case n < 0:
		panic("lend: buffer dropped more often than held")
	case n == 0:
		if c := class(len(b.b)); c >= 0 {
			free[c].Put(b)
		}
	}
}

// Reader reads p, which lies in a buffer, and holds the buffer until it is closed. After Close no
// Read touches the memory, not even one that runs at the same time: net/http closes a body from
// other goroutines than the one that reads it.
type Reader struct {
	mu   sync.Mutex
	p    []byte
	buf  *Buffer
	done bool
}

// NewReader makes a Reader; buf may be nil.
func NewReader(p []byte, buf *Buffer) *Reader {
	buf.Hold()
	return &Reader{p: p, buf: buf}
}

var errClosed = errors.New("read of a closed body")

// Read implements io.Reader.
func (r *Reader) Read(to []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return 0, errClosed
	}
	if len(r.p) == 0 {
		return 0, io.EOF
	}
	n := copy(to, r.p)
	r.p = r.p[n:]
	return n, nil
}

// Close gives the memory back. It may be called again.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.done {
		r.p, r.done = nil, true
		r.buf.Drop()
	}
	return nil
}
