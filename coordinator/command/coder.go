package command

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// The record encoding, used by the log, the snapshot and the state hash alike:
//
//	record = field*              fields in ascending tag order, each at most once
//	field  = tag(1) len(uvarint) payload
//	payload: string, bytes   as they are
//	         int64           zigzag varint      uint64   uvarint      bool   01
//	         float64         8 bytes, IEEE 754 bits, big endian
//	         record          nested
//	         list            count(uvarint), then count times len(uvarint) element
//	         string map      list of key, value, key, value ..., keys strictly ascending
//
// A zero value is not written, varints are minimal and an unknown tag is an error, so each value has
// exactly one encoding: two replicas with equal state have equal bytes. A field added later is absent
// from old records and reads as zero; a reader that does not know it refuses instead of dropping it.

// errCorrupt marks bytes that are no canonical record.
var errCorrupt = errors.New("corrupt record")

// Coder reads or writes one record, field by field in ascending tag order. The zero value is of no
// use: Append and Parse make one.
type Coder struct {
	enc bool
	buf []byte // output when encoding, what is left of the input when decoding
	err error
}

// Record is a value with a canonical encoding; Walk visits every field with its tag, in order, and
// serves both directions.
type Record interface{ Walk(c *Coder) }

// Append writes r's canonical encoding to b. It fails when r holds a plain secret or text that is not
// UTF-8.
func Append(b []byte, r Record) ([]byte, error) {
	c := Coder{enc: true, buf: b}
	r.Walk(&c)
	return c.buf, c.err
}

// Parse reads b, all of it, into r, which must be zero. Nothing of b is retained.
func Parse(b []byte, r Record) error {
	c := Coder{buf: b}
	r.Walk(&c)
	if c.err == nil && len(c.buf) > 0 {
		c.fail("unknown or misplaced field %d", c.buf[0])
	}
	return c.err
}

func (c *Coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: "+format, append([]any{errCorrupt}, args...)...)
	}
}

// take returns the payload of tag when it is the next field.
func (c *Coder) take(tag byte) ([]byte, bool) {
	if c.err != nil || len(c.buf) == 0 || c.buf[0] != tag {
		return nil, false
	}
	rest, p := c.chunk(c.buf[1:])
	if c.err != nil {
		return nil, false
	}
	c.buf = rest
	return p, true
}

// chunk splits a length-prefixed payload off b.
func (c *Coder) chunk(b []byte) (rest, payload []byte) {
	n, size := uvarint(b)
	if size == 0 || n > uint64(len(b)-size) {
		c.fail("length")
		return nil, nil
	}
	return b[size+int(n):], b[size : size+int(n)]
}

func (c *Coder) put(tag byte, payload ...byte) {
	c.buf = append(c.buf, tag)
	c.buf = binary.AppendUvarint(c.buf, uint64(len(payload)))
	c.buf = append(c.buf, payload...)
}

// wrap prefixes what was written since start with its length.
func (c *Coder) wrap(start int) {
	var p [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(p[:], uint64(len(c.buf)-start))
	c.buf = slices.Insert(c.buf, start, p[:n]...)
}

func (c *Coder) text(s string) {
	if c.err == nil && !utf8.ValidString(s) {
		c.fail("text is not UTF-8")
	}
}

// Str visits a string.
func (c *Coder) Str(tag byte, v *string) {
	if c.enc {
		if *v != "" {
			c.text(*v)
			c.put(tag, []byte(*v)...)
		}
		return
	}
	if p, ok := c.take(tag); ok {
		*v = string(p)
		c.text(*v)
		c.filled(*v != "", tag)
	}
}

// filled refuses a zero value that was written: it would be a second encoding.
func (c *Coder) filled(ok bool, tag byte) {
	if !ok {
		c.fail("field %d holds a zero value", tag)
	}
}

// Bytes visits a byte slice.
func (c *Coder) Bytes(tag byte, v *[]byte) {
	if c.enc {
		if len(*v) > 0 {
			c.put(tag, *v...)
		}
		return
	}
	if p, ok := c.take(tag); ok {
		c.filled(len(p) > 0, tag)
		*v = slices.Clone(p)
	}
}

// Hash visits a 32-byte digest; all zeros is its zero value.
func (c *Coder) Hash(tag byte, v *[32]byte) {
	if c.enc {
		if *v != ([32]byte{}) {
			c.put(tag, v[:]...)
		}
		return
	}
	if p, ok := c.take(tag); ok {
		if len(p) != len(v) {
			c.fail("field %d: %d bytes, want 32", tag, len(p))
			return
		}
		copy(v[:], p)
		c.filled(*v != ([32]byte{}), tag)
	}
}

// Uint visits an unsigned number.
func (c *Coder) Uint(tag byte, v *uint64) {
	if c.enc {
		if *v != 0 {
			var p [binary.MaxVarintLen64]byte
			c.put(tag, p[:binary.PutUvarint(p[:], *v)]...)
		}
		return
	}
	if p, ok := c.take(tag); ok {
		n, size := uvarint(p)
		if size != len(p) || size == 0 {
			c.fail("field %d: number", tag)
		}
		*v = n
		c.filled(n != 0, tag)
	}
}

// Int visits a signed number.
func (c *Coder) Int(tag byte, v *int64) {
	u := uint64(*v)<<1 ^ uint64(*v>>63)
	c.Uint(tag, &u)
	if !c.enc {
		*v = int64(u>>1) ^ -int64(u&1)
	}
}

// Small visits an int.
func (c *Coder) Small(tag byte, v *int) {
	n := int64(*v)
	c.Int(tag, &n)
	if !c.enc {
		*v = int(n)
	}
}

// Octet visits a byte.
func (c *Coder) Octet(tag byte, v *uint8) {
	n := uint64(*v)
	c.Uint(tag, &n)
	if !c.enc {
		if n > math.MaxUint8 {
			c.fail("field %d: number", tag)
		}
		*v = uint8(n)
	}
}

// Dur visits a duration.
func (c *Coder) Dur(tag byte, v *Duration) {
	n := int64(*v)
	c.Int(tag, &n)
	if !c.enc {
		*v = Duration(n)
	}
}

// Bool visits a flag.
func (c *Coder) Bool(tag byte, v *bool) {
	if c.enc {
		if *v {
			c.put(tag, 1)
		}
		return
	}
	if p, ok := c.take(tag); ok {
		if len(p) != 1 || p[0] != 1 {
			c.fail("field %d: flag", tag)
		}
		*v = true
	}
}

// Float visits a float64 by its bits.
func (c *Coder) Float(tag byte, v *float64) {
	if c.enc {
		if bits := math.Float64bits(*v); bits != 0 {
			c.put(tag, binary.BigEndian.AppendUint64(nil, bits)...)
		}
		return
	}
	if p, ok := c.take(tag); ok {
		if len(p) != 8 {
			c.fail("field %d: float", tag)
			return
		}
		*v = math.Float64frombits(binary.BigEndian.Uint64(p))
		c.filled(math.Float64bits(*v) != 0, tag)
	}
}

// Nest visits a record inside this one. An empty one is not written.
func (c *Coder) Nest(tag byte, r Record) {
	if c.enc {
		at := len(c.buf)
		c.buf = append(c.buf, tag)
		r.Walk(c)
		if len(c.buf) == at+1 {
			c.buf = c.buf[:at]
			return
		}
		c.wrap(at + 1)
		return
	}
	if p, ok := c.take(tag); ok {
		c.filled(len(p) > 0, tag)
		c.sub(p, r)
	}
}

func (c *Coder) sub(p []byte, r Record) {
	if c.err == nil {
		c.err = Parse(p, r)
	}
}

// Strs visits a list of strings; nil and empty are the same.
func (c *Coder) Strs(tag byte, v *[]string) {
	list(c, tag, v, false, func(c *Coder, s *string) {
		if c.enc {
			c.text(*s)
			c.buf = append(c.buf, *s...)
			return
		}
		*s = string(c.buf)
		c.text(*s)
		c.buf = nil
	})
}

// Pairs visits a string map, in key order.
func (c *Coder) Pairs(tag byte, v *map[string]string) {
	var flat []string
	if c.enc {
		keys := make([]string, 0, len(*v))
		for k := range *v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			flat = append(flat, k, (*v)[k])
		}
		c.Strs(tag, &flat)
		return
	}
	c.Strs(tag, &flat)
	if len(flat) == 0 || c.err != nil {
		return
	}
	if len(flat)%2 != 0 {
		c.fail("field %d: odd map", tag)
		return
	}
	*v = make(map[string]string, len(flat)/2)
	for i := 0; i < len(flat); i += 2 {
		if i > 0 && flat[i] <= flat[i-2] {
			c.fail("field %d: map keys out of order", tag)
			return
		}
		(*v)[flat[i]] = flat[i+1]
	}
}

// walker is a pointer to T that is a Record.
type walker[T any] interface {
	*T
	Record
}

// List visits a list of records; nil and empty are the same.
func List[T any, P walker[T]](c *Coder, tag byte, v *[]T) {
	list(c, tag, v, false, func(c *Coder, e *T) { P(e).Walk(c) })
}

// Section visits a list of records whose presence counts: nil is absent, empty is written.
func Section[T any, P walker[T]](c *Coder, tag byte, v *[]T) {
	list(c, tag, v, true, func(c *Coder, e *T) { P(e).Walk(c) })
}

func list[T any](c *Coder, tag byte, v *[]T, presence bool, walk func(*Coder, *T)) {
	if c.enc {
		if len(*v) == 0 && (!presence || *v == nil) {
			return
		}
		c.buf = append(c.buf, tag)
		start := len(c.buf)
		c.buf = binary.AppendUvarint(c.buf, uint64(len(*v)))
		for i := range *v {
			at := len(c.buf)
			walk(c, &(*v)[i])
			c.wrap(at)
		}
		c.wrap(start)
		return
	}
	p, ok := c.take(tag)
	if !ok {
		return
	}
	n, size := uvarint(p)
	p = p[size:]
	if size == 0 || n > uint64(len(p)) || n == 0 && !presence {
		c.fail("field %d: list", tag)
		return
	}
	out := make([]T, 0, min(n, 1024))
	for range n {
		var e T
		var body []byte
		if p, body = c.chunk(p); c.err != nil {
			return
		}
		sub := Coder{buf: body}
		walk(&sub, &e)
		if sub.err == nil && len(sub.buf) > 0 {
			sub.fail("field %d: unknown or misplaced field %d in an element", tag, sub.buf[0])
		}
		if c.err = sub.err; c.err != nil {
			return
		}
		out = append(out, e)
	}
	if len(p) > 0 {
		c.fail("field %d: bytes after the list", tag)
		return
	}
	*v = out
}

// uvarint reads a minimal varint; size 0 means it is none.
func uvarint(b []byte) (v uint64, size int) {
	v, size = binary.Uvarint(b)
	if size <= 0 || size > 1 && b[size-1] == 0 {
		return 0, 0
	}
	return v, size
}
