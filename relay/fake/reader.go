package fake

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// reader pulls a request apart in one strict pass: duplicate members and invalid UTF-8 are errors.
// The first problem sticks; every later call is then a no-op, so callers check once.
type reader struct {
	buf bytes.Buffer
	dec *jsontext.Decoder
	err error
}

// fieldError is a member that is unknown or has the wrong type or value.
type fieldError struct {
	at      jsontext.Pointer
	unknown string // name of a member that is not known
	want    string // type that was wanted
	got     jsontext.Kind
}

func (e *fieldError) Error() string { return "field " + string(e.at) }

var readers = sync.Pool{New: func() any { return &reader{dec: jsontext.NewDecoder(new(bytes.Buffer))} }}

// readObject runs f over the members of body's only value, which must be an object.
func readObject(body []byte, f func(r *reader, key []byte)) error {
	r := readers.Get().(*reader)
	defer readers.Put(r)
	r.buf = *bytes.NewBuffer(body)
	r.dec.Reset(&r.buf)
	r.err = nil
	r.object(func(key []byte) { f(r, key) })
	if r.err == nil {
		if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
			r.err = errors.New("data after the JSON value")
		}
	}
	err := r.err
	r.buf = bytes.Buffer{}
	return err
}

func (r *reader) fail(err error) {
	if r.err == nil && err != nil {
		r.err = err
	}
}

// kind peeks at the next value.
func (r *reader) kind() jsontext.Kind {
	if r.err != nil {
		return jsontext.KindInvalid
	}
	return r.dec.PeekKind()
}

// want consumes the next value when it is not of that kind and records the mismatch. null counts as
// absent.
func (r *reader) want(k jsontext.Kind, name string) bool {
	got := r.kind()
	if got == k {
		return true
	}
	if r.err != nil {
		return false
	}
	if _, err := r.dec.ReadValue(); err != nil {
		r.fail(err)
	} else if got != jsontext.KindNull {
		r.fail(&fieldError{at: r.dec.StackPointer(), want: name, got: got})
	}
	return false
}

// object calls f for every member; f must consume the value.
func (r *reader) object(f func(key []byte)) {
	if !r.want(jsontext.KindBeginObject, "an object") {
		return
	}
	r.token()
	for r.err == nil && r.dec.PeekKind() == jsontext.KindString {
		raw, err := r.dec.ReadValue()
		if err != nil {
			r.fail(err)
			return
		}
		// Names of members are short and without escapes, else they are not known ones.
		f(raw[1 : len(raw)-1])
	}
	r.token()
}

// array calls f for every element; f must consume it.
func (r *reader) array(f func(i int)) {
	if !r.want(jsontext.KindBeginArray, "an array") {
		return
	}
	r.token()
	for i := 0; r.err == nil && r.dec.PeekKind() != jsontext.KindEndArray && r.dec.PeekKind() != jsontext.KindInvalid; i++ {
		f(i)
	}
	r.token()
}

func (r *reader) token() jsontext.Token {
	if r.err != nil {
		return jsontext.Null
	}
	t, err := r.dec.ReadToken()
	if err != nil {
		r.fail(err)
		return jsontext.Null
	}
	return t
}

func (r *reader) str() string {
	if !r.want(jsontext.KindString, "a string") {
		return ""
	}
	t := r.token()
	if r.err != nil {
		return ""
	}
	return t.String()
}

func (r *reader) bool() bool {
	switch r.kind() {
	case jsontext.KindTrue, jsontext.KindFalse:
		return r.token().Kind() == jsontext.KindTrue
	}
	r.want(jsontext.KindTrue, "a boolean")
	return false
}

func (r *reader) float() float64 {
	if !r.want(jsontext.KindNumber, "a number") {
		return 0
	}
	t := r.token()
	if r.err != nil {
		return 0
	}
	f, err := t.Float()
	if err != nil {
		r.fail(&fieldError{at: r.dec.StackPointer(), want: "a number", got: jsontext.KindNumber})
	}
	return f
}

func (r *reader) int() int64 {
	if !r.want(jsontext.KindNumber, "an integer") {
		return 0
	}
	t := r.token()
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(t.String(), 10, 64)
	if err != nil {
		r.fail(&fieldError{at: r.dec.StackPointer(), want: "an integer", got: jsontext.KindNumber})
	}
	return n
}

// optFloat and optInt tell absent and null from zero.
func (r *reader) optFloat() *float64 {
	if r.kind() == jsontext.KindNull {
		r.skip()
		return nil
	}
	f := r.float()
	return &f
}

func (r *reader) optInt() *int64 {
	if r.kind() == jsontext.KindNull {
		r.skip()
		return nil
	}
	n := r.int()
	return &n
}

// raw gives a copy of the next value.
func (r *reader) raw() jsontext.Value {
	if r.err != nil {
		return nil
	}
	v, err := r.dec.ReadValue()
	r.fail(err)
	return v.Clone()
}

func (r *reader) skip() {
	if r.err == nil {
		r.fail(r.dec.SkipValue())
	}
}

// unknown refuses the member whose name was just read.
func (r *reader) unknown(key []byte) {
	if r.err == nil {
		at := r.dec.StackPointer()
		r.fail(&fieldError{at: at, unknown: string(key)})
	}
}

// walk reads a value that was kept raw, as JSON Schemas and tool lists are. Its errors are dropped:
// the value has been read once.
func walk(v jsontext.Value, f func(r *reader, key []byte)) {
	if v.Kind() == jsontext.KindBeginObject {
		_ = readObject(v, f)
	}
}
