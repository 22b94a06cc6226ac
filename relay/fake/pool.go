package fake

import (
	"bytes"
	"sync"
)

// bufferPool is a pool that forgets outsized buffers.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() *bytes.Buffer {
	if b, ok := p.pool.Get().(*bytes.Buffer); ok {
		return b
	}
	return bytes.NewBuffer(make([]byte, 0, 4<<10))
}

func (p *bufferPool) Put(b *bytes.Buffer) {
	if b.Cap() <= 256<<10 {
		b.Reset()
		p.pool.Put(b)
	}
}
