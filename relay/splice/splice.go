// Package splice changes a few spans of a body and leaves every other byte alone. It is how a
// request that stays in its own dialect gets another model name without being decoded.
package splice

import (
	"io"
)

// Span is a half-open byte range of a body.
type Span struct{ Start, End int }

// Len is the number of bytes in s.
func (s Span) Len() int { return s.End - s.Start }

// Empty reports whether s covers no byte.
func (s Span) Empty() bool { return s.End <= s.Start }

// Of returns the bytes of s in body, sharing memory.
func (s Span) Of(body []byte) []byte { return body[s.Start:s.End:s.End] }

// Edit replaces Span by Text; an empty span inserts, an empty text deletes.
type Edit struct {
	Span Span
	Text []byte
}

// Valid reports whether edits can be applied to a body of n bytes: in ascending order, inside the
// body, not overlapping. Apply, Len and NewReader require it.
func Valid(n int, edits []Edit) bool {
	at := 0
	for _, e := range edits {
		if e.Span.Start < at || e.Span.End < e.Span.Start || e.Span.End > n {
			return false
		}
		at = e.Span.End
	}
	return true
}

// Len is the length of body after edits.
func Len(body []byte, edits []Edit) int {
	n := len(body)
	for _, e := range edits {
		n += len(e.Text) - e.Span.Len()
	}
	return n
}

// Apply returns body with edits made. Without edits it returns body itself, not a copy; body is
// never written to.
func Apply(body []byte, edits []Edit) []byte {
	if len(edits) == 0 {
		return body
	}
	out := make([]byte, 0, Len(body, edits))
	at := 0
	for _, e := range edits {
		out = append(out, body[at:e.Span.Start]...)
		out = append(out, e.Text...)
		at = e.Span.End
	}
	return append(out, body[at:]...)
}

// Pieces are the runs of body and edits that make the edited body, in order; nothing is copied.
func Pieces(body []byte, edits []Edit) [][]byte {
	out := make([][]byte, 0, 2*len(edits)+1)
	for r := NewReader(body, edits); ; {
		run := r.next()
		if len(run) == 0 {
			return out
		}
		r.advance(len(run))
		out = append(out, run)
	}
}

// Reader reads a body with edits made, without copying it first. Not safe for concurrent use.
type Reader struct {
	body  []byte
	edits []Edit
	at    int // bytes of body consumed
	edit  int // edits consumed
	text  int // bytes of edits[edit].Text consumed
}

// NewReader returns a reader over body with edits made. Neither may change while it is in use.
func NewReader(body []byte, edits []Edit) *Reader { return &Reader{body: body, edits: edits} }

// next is the rest of the current run of bytes; empty at the end.
func (r *Reader) next() []byte {
	for r.edit < len(r.edits) {
		e := r.edits[r.edit]
		if r.at < e.Span.Start {
			return r.body[r.at:e.Span.Start]
		}
		if r.text < len(e.Text) {
			return e.Text[r.text:]
		}
		r.at, r.text = e.Span.End, 0
		r.edit++
	}
	return r.body[r.at:]
}

func (r *Reader) advance(n int) {
	if r.edit < len(r.edits) && r.at >= r.edits[r.edit].Span.Start {
		r.text += n
		return
	}
	r.at += n
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		run := r.next()
		if len(run) == 0 {
			if n == 0 {
				return 0, io.EOF
			}
			break
		}
		k := copy(p[n:], run)
		r.advance(k)
		n += k
	}
	return n, nil
}

// WriteTo implements io.WriterTo: one write for each unchanged run and each edit.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		run := r.next()
		if len(run) == 0 {
			return total, nil
		}
		n, err := w.Write(run)
		r.advance(n)
		total += int64(n)
		if err != nil {
			return total, err
		}
		if n < len(run) {
			return total, io.ErrShortWrite
		}
	}
}
