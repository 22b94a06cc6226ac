package dialect

import (
	"bytes"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// aliasFrom is the size from which a Writer made by NewBodyWriter points at bytes instead of copying.
const aliasFrom = 8 << 10

// Writer writes JSON into a buffer: commas by itself, members in the order of the calls. It does not
// check nesting. The caller of Raw vouches for its JSON.
type Writer struct {
	buf   []byte
	segs  [][]byte
	alias bool
	comma bool // the next value or name needs one before it
}

// NewWriter appends to dst; Take gives the result.
func NewWriter(dst []byte) Writer { return Writer{buf: dst} }

// NewBodyWriter writes a Body, in which large pieces alias their source: base64 media exist once in
// memory, however often a request is converted.
func NewBodyWriter(sizeHint int) Writer { return Writer{buf: make([]byte, 0, sizeHint), alias: true} }

// Take gives what NewWriter's buffer holds.
func (w *Writer) Take() []byte { return w.buf }

// Body gives what NewBodyWriter's writer holds.
func (w *Writer) Body() Body {
	segs := w.segs
	if len(w.buf) > 0 {
		segs = append(segs, w.buf)
	}
	return Body{segs: segs}
}

func (w *Writer) sep() {
	if w.comma {
		w.buf = append(w.buf, ',')
	}
	w.comma = true
}

// Open writes { or [.
func (w *Writer) Open(c byte) {
	w.sep()
	w.buf = append(w.buf, c)
	w.comma = false
}

// Close writes } or ].
func (w *Writer) Close(c byte) {
	w.buf = append(w.buf, c)
	w.comma = true
}

// Name writes a member name, which must need no escaping.
func (w *Writer) Name(s string) {
	w.sep()
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, s...)
	w.buf = append(w.buf, '"', ':')
	w.comma = false
}

// Key writes any member name.
func (w *Writer) Key(s string) {
	w.Str(s)
	w.buf = append(w.buf, ':')
	w.comma = false
}

// Str writes a string; invalid UTF-8 becomes U+FFFD.
func (w *Writer) Str(s string) {
	w.sep()
	w.buf, _ = jsontext.AppendQuote(w.buf, s)
}

// Text writes bytes as a string; invalid UTF-8 becomes U+FFFD.
func (w *Writer) Text(b []byte) {
	w.sep()
	w.buf, _ = jsontext.AppendQuote(w.buf, b)
}

// Data writes a string of prefix and base64 data, neither of which needs escaping.
func (w *Writer) Data(prefix string, data []byte) {
	w.sep()
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, prefix...)
	w.bytes(data)
	w.buf = append(w.buf, '"')
}

// Raw writes a JSON value as it is; nil is null.
func (w *Writer) Raw(v []byte) {
	w.sep()
	if v == nil {
		v = []byte("null")
	}
	w.bytes(v)
}

func (w *Writer) bytes(b []byte) {
	if !w.alias || len(b) < aliasFrom {
		w.buf = append(w.buf, b...)
		return
	}
	w.segs = append(w.segs, w.buf, b)
	w.buf = make([]byte, 0, 4<<10)
}

// Int writes a whole number.
func (w *Writer) Int(n int64) {
	w.sep()
	w.buf = strconv.AppendInt(w.buf, n, 10)
}

// Float writes a finite number in its shortest form, as JavaScript does.
func (w *Writer) Float(f float64) {
	w.sep()
	w.buf = strconv.AppendFloat(w.buf, f, 'g', -1, 64)
}

// Bool writes true or false.
func (w *Writer) Bool(b bool) {
	w.sep()
	w.buf = strconv.AppendBool(w.buf, b)
}

// Null writes null.
func (w *Writer) Null() { w.Raw(nil) }

// Members of the usual kinds, name and value at once.

// StrMember writes a member that is a string.
func (w *Writer) StrMember(name, v string) { w.Name(name); w.Str(v) }

// RawMember writes a member that is JSON.
func (w *Writer) RawMember(name string, v []byte) { w.Name(name); w.Raw(v) }

// IntMember writes a member that is a whole number.
func (w *Writer) IntMember(name string, v int64) { w.Name(name); w.Int(v) }

// FloatMember writes a member that is a number.
func (w *Writer) FloatMember(name string, v float64) { w.Name(name); w.Float(v) }

// BoolMember writes a member that is true or false.
func (w *Writer) BoolMember(name string, v bool) { w.Name(name); w.Bool(v) }

// Extra writes members as they came.
func (w *Writer) Extra(e llm.Extra) {
	for _, m := range e {
		w.Key(m.Name)
		w.Raw(m.Value)
	}
}

// Body is a request body in pieces, some of which alias the client's body. Immutable; any number of
// readers may run at once.
type Body struct{ segs [][]byte }

// NewBody is a body of one piece.
func NewBody(b []byte) Body { return Body{segs: [][]byte{b}} }

// Len is the length in bytes.
func (b Body) Len() int {
	n := 0
	for _, s := range b.segs {
		n += len(s)
	}
	return n
}

// Pieces are the pieces in order, at least one. They must not be changed.
func (b Body) Pieces() [][]byte { return b.segs }

// Bytes joins the pieces; it copies unless there is only one.
func (b Body) Bytes() []byte {
	if len(b.segs) == 1 {
		return b.segs[0]
	}
	return bytes.Join(b.segs, nil)
}

// Reader reads the body from its start, without copying it as a whole.
func (b Body) Reader() io.Reader {
	rs := make([]io.Reader, len(b.segs))
	for i, s := range b.segs {
		rs[i] = bytes.NewReader(s)
	}
	return io.MultiReader(rs...)
}
