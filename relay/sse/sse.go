// Package sse cuts a server-sent event stream into its frames. It never changes a byte: the Raw
// parts of all events, joined, are the stream.
package sse

import (
	"bytes"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// DefaultMax bounds one event where the caller states no bound: a final Responses event repeats the
// whole answer, images included.
const DefaultMax = 32 << 20

// Event is one frame. Its memory belongs to the scanner and the last Feed: it is valid until the
// next call of any method of the scanner.
type Event struct {
	Name string // the event field; "" when absent
	Data []byte // the data lines joined by \n; nil when the frame has none (a comment, a lone blank line)
	Raw  []byte // the exact bytes of the frame, its closing blank line included
}

// Scanner finds events in a stream that arrives in pieces of any size. The same bytes give the same
// events however they are cut. Not safe for concurrent use.
//
// Grammar: WHATWG HTML, "Server-sent events", 9.2.5 (LF, CRLF and CR line ends, BOM, comments,
// optional space after the colon).
type Scanner struct {
	max   int
	win   []byte // bytes not yet given out; may alias the last Feed
	own   []byte // memory for the tail kept between feeds
	kept  bool   // win is own, whole: more bytes are simply appended
	line  int    // where in win the current line starts
	seen  int    // win[:seen] has no unhandled line end
	first bool   // the first line of the stream has been read (a BOM can only be there)
	bare  bool   // a CR without LF has ended a line: from now on CR needs no look-ahead
	skip  bool   // a LF that comes next belongs to the CR before it
	err   *fault.Error

	name     string
	data     span // single data line, in win
	lines    int  // data lines so far
	joined   []byte
	names    []string // event names seen: they repeat, so no allocation per event
	finished bool
}

type span struct{ from, to int }

// NewScanner returns a scanner that refuses frames of more than limit bytes; 0 means DefaultMax.
func NewScanner(limit int) *Scanner {
	if limit <= 0 {
		limit = DefaultMax
	}
	return &Scanner{max: limit}
}

// Feed adds p to the stream. p must stay unchanged until Next has returned false.
func (s *Scanner) Feed(p []byte) {
	if s.err != nil {
		return
	}
	if len(s.win) == 0 {
		if cap(s.own) > keepCap {
			s.own = nil
		}
		s.win, s.kept = p, false
		return
	}
	s.keep()
	s.own = Extend(s.own, p, s.max)
	s.win = s.own
}

// Extend appends p to b, whose memory doubles but is never much more than limit bytes: what is longer is
// refused, so that a frame of any length costs no more than twice the largest allowed one.
func Extend(b, p []byte, limit int) []byte {
	if need := len(b) + len(p); need > cap(b) {
		size := 2 * cap(b)
		if size >= limit {
			size = limit + len(p)
		}
		b = append(make([]byte, 0, max(need, size)), b...)
	}
	return append(b, p...)
}

// keepCap is how much memory a quiet stream may hold on to after a large event.
const keepCap = 16 << 10

// keep moves what is left into memory of our own.
func (s *Scanner) keep() {
	if !s.kept {
		s.own = append(s.own[:0], s.win...)
		s.win, s.kept = s.own, true
	}
}

// Err is the fault that ended the scan: a frame over the limit.
func (s *Scanner) Err() error {
	if s.err == nil {
		return nil
	}
	return s.err
}

// Pending is the number of bytes that wait for the rest of their frame.
func (s *Scanner) Pending() int { return len(s.win) }

// Next gives the next whole event; false means that more bytes are needed, or Err is set.
func (s *Scanner) Next() (Event, bool) {
	if s.err != nil {
		return Event{}, false
	}
	for {
		end, next, ok := s.lineEnd()
		if !ok {
			break
		}
		if s.take(s.line, end) {
			return s.emit(next)
		}
		s.line, s.seen = next, next
	}
	if len(s.win) > s.max {
		s.tooBig()
	} else if len(s.win) > 0 {
		s.keep()
	}
	return Event{}, false
}

// End gives the last event of a stream that broke off, or ended without a closing blank line. The
// stream's remaining bytes are its Raw. false means that nothing was left.
func (s *Scanner) End() (Event, bool) {
	if s.err != nil || s.finished {
		return Event{}, false
	}
	s.finished = true
	if len(s.win) == 0 {
		return Event{}, false
	}
	if len(s.win) > s.max {
		s.tooBig()
		return Event{}, false
	}
	end := len(s.win)
	if end > s.line && s.win[end-1] == '\r' {
		end--
	}
	if end > s.line {
		s.take(s.line, end)
	}
	return s.emit(len(s.win))
}

func (s *Scanner) tooBig() {
	s.err = fault.New(fault.UpstreamProtocol, "an event of the stream exceeds %d bytes", s.max).At(fault.Partial)
	s.win, s.own, s.joined = nil, nil, nil
}

// lineEnd finds the end of the current line and the start of the next.
func (s *Scanner) lineEnd() (end, next int, ok bool) {
	if s.skip && s.line < len(s.win) {
		if s.win[s.line] == '\n' {
			s.line++
			s.seen = s.line
		}
		s.skip = false
	}
	from := max(s.seen, s.line)
	rest := s.win[from:]
	lf := bytes.IndexByte(rest, '\n')
	upTo := len(rest)
	if lf >= 0 {
		upTo = lf
	}
	cr := bytes.IndexByte(rest[:upTo], '\r')
	switch {
	case cr < 0 && lf < 0:
		s.seen = len(s.win)
		return 0, 0, false
	case cr < 0:
		return from + lf, from + lf + 1, true
	case s.bare:
		s.skip = true
		return from + cr, from + cr + 1, true
	case from+cr+1 == len(s.win):
		s.seen = from + cr // CR or CRLF: the next byte tells
		return 0, 0, false
	case s.win[from+cr+1] == '\n':
		return from + cr, from + cr + 2, true
	default:
		s.bare = true
		return from + cr, from + cr + 1, true
	}
}

// take reads one line and reports whether it closes the frame.
func (s *Scanner) take(from, to int) bool {
	if !s.first {
		s.first = true
		if bytes.HasPrefix(s.win[from:to], []byte("\xEF\xBB\xBF")) {
			from += 3
		}
	}
	l := s.win[from:to]
	if len(l) == 0 {
		return true
	}
	switch {
	case isField(l, "data"):
		s.addData(value(from, l, len("data")))
	case isField(l, "event"):
		v := value(from, l, len("event"))
		s.name = s.intern(s.win[v.from:v.to])
	}
	return false
}

func isField(l []byte, name string) bool {
	return len(l) >= len(name) && string(l[:len(name)]) == name && (len(l) == len(name) || l[len(name)] == ':')
}

// value is the span after the colon and one space.
func value(at int, l []byte, name int) span {
	v := span{at + name, at + len(l)}
	if v.from < v.to {
		v.from++
		if v.from < v.to && l[name+1] == ' ' {
			v.from++
		}
	}
	return v
}

func (s *Scanner) addData(v span) {
	s.lines++
	switch s.lines {
	case 1:
		s.data = v
		return
	case 2:
		s.joined = append(s.joined[:0], s.win[s.data.from:s.data.to]...)
	}
	s.joined = append(s.joined, '\n')
	s.joined = append(s.joined, s.win[v.from:v.to]...)
}

// emit closes the frame win[:next].
func (s *Scanner) emit(next int) (Event, bool) {
	if next > s.max {
		s.tooBig()
		return Event{}, false
	}
	e := Event{Name: s.name, Raw: s.win[:next:next]}
	switch {
	case s.lines == 1:
		e.Data = s.win[s.data.from:s.data.to:s.data.to]
	case s.lines > 1:
		e.Data = s.joined
	}
	s.win, s.kept = s.win[next:], false
	s.line, s.seen, s.lines, s.name = 0, 0, 0, ""
	return e, true
}

// maxNames bounds the memory that a stream of ever new event names can take.
const maxNames = 64

func (s *Scanner) intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	for _, n := range s.names {
		if n == string(b) {
			return n
		}
	}
	n := string(b)
	if len(s.names) < maxNames && len(n) <= 128 {
		s.names = append(s.names, n)
	}
	return n
}

// Append adds one event to b, with LF line ends. data must not contain a line end.
func Append(b []byte, name string, data []byte) []byte {
	if name != "" {
		b = append(b, "event: "...)
		b = append(b, name...)
		b = append(b, '\n')
	}
	b = append(b, "data: "...)
	b = append(b, data...)
	return append(b, "\n\n"...)
}
