package gemini

import (
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// ArrayKeepalive keeps an array stream open: white space means nothing in JSON, before and between
// elements.
func ArrayKeepalive() []byte { return []byte("\n") }

// ArrayFault ends an array stream with f, after the given number of whole elements have gone out.
func ArrayFault(f *fault.Error, id string, elements int) []byte {
	lead := "["
	if elements > 0 {
		lead = ",\n"
	}
	return append(append([]byte(lead), envelope(f, id)...), "]\n"...)
}

// ArrayScanner cuts a streamed JSON array into its elements, with the interface of sse.Scanner: Data
// is the element, Raw the element with the punctuation before it. Raw parts of all events, joined, are
// the stream. Not safe for concurrent use.
type ArrayScanner struct {
	limit    int
	win, own []byte
	kept     bool // win is own, whole: more bytes are simply appended
	at       int  // scanned so far
	from     int  // where the current element starts; -1 = between elements
	depth    int
	quoted   bool
	escaped  bool
	finished bool
	err      *fault.Error
}

// NewArrayScanner returns a scanner that refuses elements of more than limit bytes; 0 means
// sse.DefaultMax.
func NewArrayScanner(limit int) *ArrayScanner {
	if limit <= 0 {
		limit = sse.DefaultMax
	}
	return &ArrayScanner{limit: limit, from: -1}
}

// Feed adds p to the stream. p must stay unchanged until Next has returned false.
func (s *ArrayScanner) Feed(p []byte) {
	if s.err != nil {
		return
	}
	if len(s.win) == 0 {
		s.win, s.kept = p, false
		return
	}
	s.keep()
	s.own = sse.Extend(s.own, p, s.limit)
	s.win = s.own
}

func (s *ArrayScanner) keep() {
	if !s.kept {
		s.own = append(s.own[:0], s.win...)
		s.win, s.kept = s.own, true
	}
}

// Err is the fault that ended the scan: an element over the limit.
func (s *ArrayScanner) Err() error {
	if s.err == nil {
		return nil
	}
	return s.err
}

// Next gives the next whole element; false means that more bytes are needed, or Err is set.
func (s *ArrayScanner) Next() (sse.Event, bool) {
	if s.err != nil {
		return sse.Event{}, false
	}
	for ; s.at < len(s.win); s.at++ {
		c := s.win[s.at]
		switch {
		case s.escaped:
			s.escaped = false
		case s.quoted:
			s.quoted = c != '"'
			s.escaped = c == '\\'
		case c == '"':
			s.quoted = true
		case c == '{' || c == '[':
			s.depth++
			if s.depth == 2 { // 1 is the array itself
				s.from = s.at
			}
		case c == '}' || c == ']':
			s.depth--
			if s.depth == 1 && s.from >= 0 {
				return s.emit(s.at + 1)
			}
		}
	}
	if len(s.win) > s.limit {
		s.tooBig()
	} else if len(s.win) > 0 {
		s.keep()
	}
	return sse.Event{}, false
}

// End gives what is left, normally the closing bracket, as an event without data.
func (s *ArrayScanner) End() (sse.Event, bool) {
	if s.err != nil || s.finished || len(s.win) == 0 {
		return sse.Event{}, false
	}
	s.finished = true
	e := sse.Event{Raw: s.win}
	s.win = nil
	return e, true
}

func (s *ArrayScanner) emit(next int) (sse.Event, bool) {
	if next > s.limit {
		s.tooBig()
		return sse.Event{}, false
	}
	e := sse.Event{Data: s.win[s.from:next:next], Raw: s.win[:next:next]}
	s.win, s.kept = s.win[next:], false
	s.at, s.from = 0, -1
	return e, true
}

func (s *ArrayScanner) tooBig() {
	s.err = fault.New(fault.UpstreamProtocol, "an element of the stream exceeds %d bytes", s.limit).At(fault.Partial)
	s.win, s.own = nil, nil
}
