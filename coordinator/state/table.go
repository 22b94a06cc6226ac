package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// chunkRows bounds what one write copies: a table of n rows costs a write one chunk and a directory
// of n/chunkRows pointers, whatever readers hold.
const chunkRows = 128

// Table is an immutable set of records sorted by id. A write makes a new table that shares all but one
// chunk with the old one, so readers keep theirs for nothing. The zero value is empty; safe for
// concurrent use.
type Table[T any] struct {
	chunks []*chunk[T]
	n      int
}

type chunk[T any] struct {
	rows []row[T] // never empty
	sum  atomic.Pointer[digest]
}

type row[T any] struct {
	id  string
	val *T
}

// Len is the number of records.
func (t Table[T]) Len() int { return t.n }

// Get returns the record of id. What its slices and maps refer to is shared: do not change it.
func (t Table[T]) Get(id string) (T, bool) {
	if v := t.ref(id); v != nil {
		return *v, true
	}
	var zero T
	return zero, false
}

// Has reports whether id exists.
func (t Table[T]) Has(id string) bool { return t.ref(id) != nil }

// All yields the records in order of id.
func (t Table[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, c := range t.chunks {
			for i := range c.rows {
				if !yield(*c.rows[i].val) {
					return
				}
			}
		}
	}
}

// Slice copies the records, in order of id, never nil.
func (t Table[T]) Slice() []T {
	return slices.AppendSeq(make([]T, 0, t.n), t.All())
}

// find returns the chunk and row where id is or would be. The chunk index is -1 for an empty table.
func (t Table[T]) find(id string) (ci, ri int, found bool) {
	ci, exact := slices.BinarySearchFunc(t.chunks, id, func(c *chunk[T], id string) int {
		return strings.Compare(c.rows[0].id, id)
	})
	if !exact {
		ci--
	}
	if ci < 0 {
		return min(0, len(t.chunks)-1), 0, false
	}
	ri, found = slices.BinarySearchFunc(t.chunks[ci].rows, id, func(r row[T], id string) int {
		return strings.Compare(r.id, id)
	})
	return ci, ri, found
}

func (t Table[T]) ref(id string) *T {
	if ci, ri, ok := t.find(id); ok {
		return t.chunks[ci].rows[ri].val
	}
	return nil
}

// first returns the smallest id.
func (t Table[T]) first() (id string, v *T, ok bool) {
	if t.n == 0 {
		return "", nil, false
	}
	r := t.chunks[0].rows[0]
	return r.id, r.val, true
}

// with returns t with id set to v.
func (t Table[T]) with(id string, v T) Table[T] {
	r := row[T]{id, &v}
	ci, ri, found := t.find(id)
	if ci < 0 {
		return Table[T]{chunks: []*chunk[T]{{rows: []row[T]{r}}}, n: 1}
	}
	old := t.chunks[ci].rows
	if found {
		rows := slices.Clone(old)
		rows[ri] = r
		chunks := slices.Clone(t.chunks)
		chunks[ci] = &chunk[T]{rows: rows}
		return Table[T]{chunks, t.n}
	}
	rows := make([]row[T], 0, len(old)+1)
	rows = append(append(append(rows, old[:ri]...), r), old[ri:]...)
	if len(rows) <= chunkRows {
		chunks := slices.Clone(t.chunks)
		chunks[ci] = &chunk[T]{rows: rows}
		return Table[T]{chunks, t.n + 1}
	}
	cut := len(rows) / 2
	if ci == len(t.chunks)-1 && ri == len(old) {
		cut = chunkRows // ascending inserts (restore, time order) fill chunks
	}
	chunks := make([]*chunk[T], 0, len(t.chunks)+1)
	chunks = append(chunks, t.chunks[:ci]...)
	chunks = append(chunks, &chunk[T]{rows: slices.Clip(rows[:cut])}, &chunk[T]{rows: slices.Clone(rows[cut:])})
	chunks = append(chunks, t.chunks[ci+1:]...)
	return Table[T]{chunks, t.n + 1}
}

// without returns t with id removed.
func (t Table[T]) without(id string) Table[T] {
	ci, ri, found := t.find(id)
	if !found {
		return t
	}
	chunks := slices.Clone(t.chunks)
	if old := t.chunks[ci].rows; len(old) > 1 {
		rows := make([]row[T], 0, len(old)-1)
		chunks[ci] = &chunk[T]{rows: append(append(rows, old[:ri]...), old[ri+1:]...)}
	} else {
		chunks = slices.Delete(chunks, ci, ci+1)
	}
	return Table[T]{chunks, t.n - 1}
}

// digest is a number of 256 bits, least significant word first. Sums of record digests do not depend
// on order nor on where chunks are cut, so each chunk keeps its own and a hash of the state costs only
// what changed since the last one. This finds divergence between honest replicas; it is no commitment
// against somebody who chooses records.
type digest [4]uint64

func (d *digest) add(o *digest) {
	var carry uint64
	for i := range d {
		sum := d[i] + carry
		c1 := sum < carry
		sum += o[i]
		carry = 0
		if c1 || sum < o[i] {
			carry = 1
		}
		d[i] = sum
	}
}

func (d *digest) bytes() (b [32]byte) {
	for i, w := range d {
		binary.LittleEndian.PutUint64(b[i*8:], w)
	}
	return b
}

// record digests one record: section, id, canonical bytes.
func recordDigest(scratch []byte, section byte, id string, r command.Record) (digest, []byte) {
	scratch = append(scratch[:0], section)
	scratch = binary.AppendUvarint(scratch, uint64(len(id)))
	scratch = append(scratch, id...)
	scratch, err := command.Append(scratch, r)
	if err != nil {
		panic(fmt.Sprintf("state: record %d/%s entered without validation: %v", section, id, err))
	}
	sum := sha256.Sum256(scratch)
	var d digest
	for i := range d {
		d[i] = binary.LittleEndian.Uint64(sum[i*8:])
	}
	return d, scratch
}

// sumTable adds the digests of t's records to d.
func sumTable[T any, P interface {
	*T
	command.Record
}](d *digest, section byte, t Table[T]) {
	var scratch []byte
	for _, c := range t.chunks {
		sum := c.sum.Load()
		if sum == nil {
			sum = new(digest)
			for i := range c.rows {
				var one digest
				one, scratch = recordDigest(scratch, section, c.rows[i].id, P(c.rows[i].val))
				sum.add(&one)
			}
			c.sum.Store(sum)
		}
		d.add(sum)
	}
}
