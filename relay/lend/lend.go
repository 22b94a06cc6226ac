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

// Sizes of buffers: powers of four from 1 KiB to Max. What is larger is not lent but made.
const (
	minBits = 10
	classes = 6
	Max     = 1 << (minBits + 2*(classes-1))
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
	if n > Max {
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

// Body is a request body in lent memory: First, and what follows it when it is too large to be joined.
// The zero Body is an empty one. It does not change.
type Body struct {
	First  []byte
	Rest   [][]byte
	Memory *Buffer // where it lies; nil = memory that nobody lent
}

// Len is the length in bytes.
func (b Body) Len() int64 {
	n := len(b.First)
	for _, p := range b.Rest {
		n += len(p)
	}
	return int64(n)
}

// Reader reads the body from its start and holds its memory until it is closed.
func (b Body) Reader() *Reader {
	b.Memory.Hold()
	return &Reader{p: b.First, rest: b.Rest, buf: b.Memory}
}

// Drop gives the memory back.
func (b Body) Drop() { b.Memory.Drop() }

// Reader reads a Body. After Close no Read touches the memory, not even one that runs at the same time:
// net/http closes a body from other goroutines than the one that reads it.
type Reader struct {
	mu   sync.Mutex
	p    []byte
	rest [][]byte
	buf  *Buffer
	done bool
}

var errClosed = errors.New("read of a closed body")

// Read implements io.Reader.
func (r *Reader) Read(to []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return 0, errClosed
	}
	for len(r.p) == 0 {
		if len(r.rest) == 0 {
			return 0, io.EOF
		}
		r.p, r.rest = r.rest[0], r.rest[1:]
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
		r.p, r.rest, r.done = nil, nil, true
		r.buf.Drop()
	}
	return nil
}
