package fault

import (
	"encoding/binary"
	"errors"
	"time"
	"unicode/utf8"
)

// Bounds of the wire form. Append cuts to them, Parse refuses more.
const (
	MaxMessage = 4 << 10
	MaxParam   = 256
	MaxFields  = 64
	MaxField   = 512
	MaxRaw     = 64 << 10
)

var errWire = errors.New("parse fault: malformed")

// Append adds the wire form of e to b: kind, phase, then as varints status and retry hint in
// nanoseconds, then length-prefixed message, param, fields and raw body. The private cause stays
// behind. What exceeds a bound is cut.
func Append(b []byte, e *Error) []byte {
	b = append(b, byte(e.Kind), byte(min(e.Phase, Partial)))
	b = binary.AppendUvarint(b, uint64(min(max(e.Status, 0), 999)))
	b = binary.AppendUvarint(b, uint64(max(e.RetryAfter, 0)))
	b = appendText(b, e.Message, MaxMessage)
	b = appendText(b, e.Param, MaxParam)
	fields := e.Fields[:min(len(e.Fields), MaxFields)]
	b = binary.AppendUvarint(b, uint64(len(fields)))
	for _, f := range fields {
		b = appendText(b, f, MaxField)
	}
	raw := e.Raw[:min(len(e.Raw), MaxRaw)]
	b = binary.AppendUvarint(b, uint64(len(raw)))
	return append(b, raw...)
}

// appendText cuts at a rune border so that the far end never sees half a character.
func appendText(b []byte, s string, limit int) []byte {
	if len(s) > limit {
		s = s[:limit]
		for len(s) > 0 && len(s) > limit-utf8.UTFMax {
			if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
				break
			}
			s = s[:len(s)-1]
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Parse reads one fault and returns what follows it. It copies, so b may be reused. Kinds that
// this version does not know are kept by number.
func Parse(b []byte) (*Error, []byte, error) {
	if len(b) < 2 || Phase(b[1]) > Partial {
		return nil, b, errWire
	}
	e := &Error{Kind: Kind(b[0]), Phase: Phase(b[1])}
	r := reader{rest: b[2:]}
	e.Status = int(r.uvarint(999))
	e.RetryAfter = time.Duration(r.uvarint(1<<63 - 1))
	e.Message = string(r.bytes(MaxMessage))
	e.Param = string(r.bytes(MaxParam))
	if n := r.uvarint(MaxFields); n > 0 && !r.bad {
		e.Fields = make([]string, n)
		for i := range e.Fields {
			e.Fields[i] = string(r.bytes(MaxField))
		}
	}
	if raw := r.bytes(MaxRaw); len(raw) > 0 {
		e.Raw = append([]byte(nil), raw...)
	}
	if r.bad {
		return nil, b, errWire
	}
	return e, r.rest, nil
}

type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad || n <= 0 || v > limit {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes(limit uint64) []byte {
	n := r.uvarint(limit)
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	v := r.rest[:n]
	r.rest = r.rest[n:]
	return v
}
