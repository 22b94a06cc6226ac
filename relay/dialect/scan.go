package dialect

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// maxDepth bounds nesting; the vendors refuse far less.
const maxDepth = 512

// manyMembers is the object size from which duplicates are looked up instead of compared.
const manyMembers = 24

// scanner validates JSON (RFC 8259) by hand: a body is read once, at memory speed, and never
// decoded. Strict refuses duplicate members, invalid UTF-8 and lone surrogates, as I-JSON (RFC 7493)
// does, so that no later parser can read another document than policy did. FuzzPickStrict holds it to
// jsontext.
type scanner struct {
	b      []byte
	i      int
	strict bool
	names  *nameStack  // strict only
	at     splice.Span // the top-level member being read, with its quotes
	why    string
}

// nameStack holds the member names of the open objects, innermost last, as spans with quotes. It has
// a fixed size and points nowhere, so all of it stays on the caller's stack; an object that finds no
// room keeps its names in a set, as large objects do.
type nameStack struct {
	n  int
	at [64]splice.Span
}

func (s *scanner) fail(why string) bool {
	if s.why == "" {
		s.why = why
	}
	return false
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return
		}
	}
}

// value reads one value; leading space must have been skipped.
func (s *scanner) value(depth int) bool {
	if s.i >= len(s.b) {
		return s.fail("unexpected end")
	}
	switch c := s.b[s.i]; c {
	case '{':
		return s.object(depth, nil, nil)
	case '[':
		return s.array(depth)
	case '"':
		_, ok := s.str()
		return ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		if c == '-' || c-'0' < 10 {
			return s.number()
		}
		return s.fail("unexpected character")
	}
}

func (s *scanner) literal(l string) bool {
	if len(s.b)-s.i < len(l) || string(s.b[s.i:s.i+len(l)]) != l {
		return s.fail("unknown literal")
	}
	s.i += len(l)
	return true
}

func (s *scanner) number() bool {
	if s.b[s.i] == '-' {
		s.i++
	}
	switch {
	case s.i >= len(s.b):
		return s.fail("number breaks off")
	case s.b[s.i] == '0':
		s.i++
	case !s.digits():
		return s.fail("malformed number")
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return s.fail("malformed number")
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return s.fail("malformed number")
		}
	}
	return true
}

func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' < 10 {
		s.i++
	}
	return s.i > from
}

func (s *scanner) array(depth int) bool {
	if depth >= maxDepth {
		return s.fail("nested too deeply")
	}
	s.i++
	s.space()
	if s.i < len(s.b) && s.b[s.i] == ']' {
		s.i++
		return true
	}
	for {
		s.space()
		if !s.value(depth + 1) {
			return false
		}
		s.space()
		if s.i >= len(s.b) {
			return s.fail("array breaks off")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case ']':
			s.i++
			return true
		default:
			return s.fail("expected , or ]")
		}
	}
}

// object reads one object. The spans of the values whose member names are in want go to out.
func (s *scanner) object(depth int, want []string, out []splice.Span) bool {
	if depth >= maxDepth {
		return s.fail("nested too deeply")
	}
	s.i++
	s.space()
	if s.i < len(s.b) && s.b[s.i] == '}' {
		s.i++
		return true
	}
	base := 0
	if s.strict {
		base = s.names.n
	}
	var many map[string]struct{}
	for {
		s.space()
		if s.i >= len(s.b) || s.b[s.i] != '"' {
			return s.fail("expected a member name")
		}
		key := splice.Span{Start: s.i}
		escaped, ok := s.str()
		if !ok {
			return false
		}
		key.End = s.i
		if depth == 0 {
			s.at = key
		}
		if s.strict {
			if many == nil && s.names.n < min(base+manyMembers, len(s.names.at)) {
				if s.repeated(key, base) {
					return s.fail("duplicate member")
				}
				s.names.at[s.names.n] = key
				s.names.n++
			} else if many = s.collect(many, base); !addName(many, s.b[key.Start:key.End]) {
				return s.fail("duplicate member")
			}
		}
		s.space()
		if s.i >= len(s.b) || s.b[s.i] != ':' {
			return s.fail("expected :")
		}
		s.i++
		s.space()
		from := s.i
		if !s.value(depth + 1) {
			return false
		}
		if len(want) > 0 {
			name := s.b[key.Start+1 : key.End-1]
			if escaped {
				name = plain(s.b[key.Start:key.End])
			}
			for k, w := range want {
				if w == string(name) {
					out[k] = splice.Span{Start: from, End: s.i}
					break
				}
			}
		}
		s.space()
		if s.i >= len(s.b) {
			return s.fail("object breaks off")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case '}':
			s.i++
			if s.strict {
				s.names.n = base
			}
			return true
		default:
			return s.fail("expected , or }")
		}
	}
}

// repeated compares key with the names of the object whose names start at base.
func (s *scanner) repeated(key splice.Span, base int) bool {
	name := s.b[key.Start:key.End]
	for i := base; i < s.names.n; i++ {
		k := s.names.at[i]
		if other := s.b[k.Start:k.End]; bytes.Equal(other, name) || (escapes(other) || escapes(name)) && bytes.Equal(plain(other), plain(name)) {
			return true
		}
	}
	return false
}

// collect moves an object that has grown large to a set, once.
func (s *scanner) collect(many map[string]struct{}, base int) map[string]struct{} {
	if many == nil {
		many = make(map[string]struct{}, 2*manyMembers)
		for i := base; i < s.names.n; i++ {
			k := s.names.at[i]
			addName(many, s.b[k.Start:k.End])
		}
	}
	return many
}

func addName(many map[string]struct{}, quoted []byte) bool {
	name := quoted[1 : len(quoted)-1]
	if escapes(name) {
		name = plain(quoted)
	}
	if _, dup := many[string(name)]; dup {
		return false
	}
	many[string(name)] = struct{}{}
	return true
}

func escapes(b []byte) bool { return bytes.IndexByte(b, '\\') >= 0 }

// plain is a quoted name without quotes and escapes; a lone surrogate becomes U+FFFD.
func plain(quoted []byte) []byte {
	b, _ := jsontext.AppendUnquote(nil, quoted)
	return b
}

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones

	nearWords = 2 * 8 // bytes of a string that are looked at before the call of plainRun pays
)

// special flags quotes, backslashes, control characters and non-ASCII bytes in eight bytes. A borrow
// can only flag a byte above the first true hit, so the lowest flag is exact.
func special(w uint64) uint64 {
	q, e := w^('"'*ones), w^('\\'*ones)
	return ((q-ones)&^q | (e-ones)&^e | (w-0x20*ones)&^w | w) & highs
}

// str reads a string, s.i standing on its opening quote.
func (s *scanner) str() (escaped, ok bool) {
	b, i := s.b, s.i+1
	for {
		// The first words here, since most strings and most pieces between escapes are short.
		for near := i + nearWords; i+8 <= len(b); i += 8 {
			if hit := special(binary.LittleEndian.Uint64(b[i:])); hit != 0 {
				i += bits.TrailingZeros64(hit) / 8
				break
			}
			if i == near {
				i = max(i, i+plainRun(b[i:])-8) // none where too little is left for a block
			}
		}
		if i >= len(b) {
			s.i = len(b)
			return escaped, s.fail("string breaks off")
		}
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return escaped, true
		case c == '\\':
			escaped = true
			n := s.escape(b[i:])
			if n == 0 {
				s.i = i
				return escaped, s.fail("malformed escape")
			}
			i += n
		case c < 0x20:
			s.i = i
			return escaped, s.fail("control character in a string")
		case c < utf8.RuneSelf:
			i++ // only in the last seven bytes
		default:
			n := s.runes(b[i:])
			if n == 0 {
				s.i = i
				return escaped, s.fail("invalid UTF-8")
			}
			i += n
		}
	}
}

// runes measures the non-ASCII characters at the start of b; 0 = invalid.
func (s *scanner) runes(b []byte) int {
	i := 0
	for i < len(b) && b[i] >= utf8.RuneSelf {
		// Three bytes is the common case (CJK); E0 and ED have narrower second bytes.
		if c := b[i]; i+2 < len(b) && c >= 0xE1 && c <= 0xEF && c != 0xED && b[i+1]&0xC0 == 0x80 && b[i+2]&0xC0 == 0x80 {
			i += 3
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 && s.strict {
			return 0
		}
		i += n
	}
	return i
}

// escape measures the escape sequence at the start of b; 0 = malformed.
func (s *scanner) escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		return 0
	}
	u, ok := hex4(b[2:])
	switch {
	case !ok:
		return 0
	case u < 0xD800 || u > 0xDFFF || !s.strict:
		return 6
	case u >= 0xDC00 || len(b) < 12 || b[6] != '\\' || b[7] != 'u':
		return 0
	}
	low, ok := hex4(b[8:])
	if !ok || low < 0xDC00 || low > 0xDFFF {
		return 0
	}
	return 12
}

func hex4(b []byte) (v uint16, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c-'0' < 10:
			v = v<<4 | uint16(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			v = v<<4 | uint16(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// Pick scans a whole body strictly and notes where the values of the wanted top-level members are;
// out[i] belongs to want[i] and stays empty when the member is absent. The error is a Malformed
// fault that names the byte and the top-level member; it never quotes a value.
func Pick(body []byte, want []string, out []splice.Span) error {
	var names nameStack
	s := scanner{b: body, strict: true, names: &names}
	s.space()
	ok := false
	switch {
	case s.i == len(body):
		s.fail("the body is empty")
	case body[s.i] != '{':
		s.fail("expected an object")
	default:
		ok = s.object(0, want, out)
	}
	if ok {
		s.space()
		if s.i == len(body) {
			return nil
		}
		s.at = splice.Span{}
		s.fail("bytes after the object")
	}
	where, param := "invalid JSON at byte "+strconv.Itoa(s.i), ""
	if s.at.Len() > 2 {
		if at := body[s.at.Start+1 : s.at.End-1]; plainName(at) {
			param = string(at)
			where += ", in member " + strconv.Quote(param)
		}
	}
	return &fault.Error{Kind: fault.Malformed, Message: where + ": " + s.why, Param: param}
}

// plainName keeps what is not a protocol's member name out of messages and logs.
func plainName(b []byte) bool {
	if len(b) == 0 || len(b) > 40 {
		return false
	}
	for _, c := range b {
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// Find is Pick for a provider's answer: it asks only for well-formed JSON, the last of duplicate
// members counts, and it reports success instead of a reason.
func Find(doc []byte, want []string, out []splice.Span) bool {
	s := scanner{b: doc}
	s.space()
	return s.i < len(doc) && doc[s.i] == '{' && s.object(0, want, out)
}

// Cursor walks the members of an object or the elements of an array, without allocating.
type Cursor struct {
	Name  []byte // of the current member, without escapes; nil in an array
	Value []byte
	s     scanner
	open  byte
	begun bool
}

// Walk starts a walk over doc, which must hold an object or an array; anything else has no items.
func Walk(doc []byte) Cursor {
	c := Cursor{s: scanner{b: doc}}
	c.s.space()
	if c.s.i < len(doc) && (doc[c.s.i] == '{' || doc[c.s.i] == '[') {
		c.open = doc[c.s.i]
		c.s.i++
	}
	return c
}

// Next moves to the next item; false at the end or at malformed JSON.
func (c *Cursor) Next() bool {
	s := &c.s
	if c.open == 0 {
		return false
	}
	s.space()
	if c.begun {
		if s.i >= len(s.b) || s.b[s.i] != ',' {
			c.open = 0
			return false
		}
		s.i++
		s.space()
	}
	c.begun = true
	if c.open == '{' {
		name, ok := c.member()
		if !ok {
			c.open = 0
			return false
		}
		c.Name = name
	}
	from := s.i
	if !s.value(1) {
		c.open = 0
		return false
	}
	c.Value = s.b[from:s.i]
	return true
}

// Offset is where Value starts in the walked document.
func (c *Cursor) Offset() int { return c.s.i - len(c.Value) }

func (c *Cursor) member() ([]byte, bool) {
	s := &c.s
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		return nil, false
	}
	from := s.i
	escaped, ok := s.str()
	if !ok {
		return nil, false
	}
	name := s.b[from+1 : s.i-1]
	if escaped {
		name = plain(s.b[from:s.i])
	}
	s.space()
	if s.i >= len(s.b) || s.b[s.i] != ':' {
		return nil, false
	}
	s.i++
	s.space()
	return name, true
}
