package anthropic

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// NewTap implements dialect.Backend.
func (Backend) NewTap(llm.Op) dialect.Tap { return &tap{} }

// tap watches message events. Every event is named, so a delta costs one comparison.
type tap struct {
	counts counts
	has    bool
	geo    string
	fault  *fault.Error
}

// Event implements dialect.Tap.
func (t *tap) Event(name string, data []byte) dialect.Note {
	if len(data) == 0 {
		return 0
	}
	if name == "" {
		name = eventType(data)
	}
	switch name {
	case "content_block_delta":
		return dialect.NoteContent
	case "ping", "content_block_stop":
		return 0
	case "content_block_start":
		return blockNote(data)
	case "message_start":
		t.start(data)
		return 0
	case "message_delta":
		t.merge(data)
		return 0
	case "message_stop":
		return dialect.NoteTerminal
	case "error":
		r := readError(data)
		r.Status = eventStatus(r.Code)
		t.fault = dialect.Classify(r, nil, data)
		t.fault.Status = 0 // the HTTP status was 200
		return dialect.NoteError
	}
	return dialect.NoteContent
}

func eventType(data []byte) string {
	var at [1]splice.Span
	if !dialect.Find(data, []string{"type"}, at[:]) || at[0].Empty() || data[at[0].Start] != '"' {
		return ""
	}
	return dialect.Unquote(at[0].Of(data))
}

// blockNote: text and thinking blocks open empty; every other block carries something at once (the id
// and name of a call, a whole result, redacted thinking).
func blockNote(data []byte) dialect.Note {
	var at [1]splice.Span
	if !dialect.Find(data, []string{"content_block"}, at[:]) {
		return dialect.NoteContent
	}
	v := at[0].Of(data)
	var b [3]splice.Span
	if !dialect.Find(v, []string{"type", "text", "thinking"}, b[:]) {
		return dialect.NoteContent
	}
	switch string(b[0].Of(v)) {
	case `"text"`, `"thinking"`:
		if !dialect.Filled(b[1].Of(v)) && !dialect.Filled(b[2].Of(v)) {
			return 0
		}
	}
	return dialect.NoteContent
}

func (t *tap) start(data []byte) {
	var at [1]splice.Span
	if !dialect.Find(data, []string{"message"}, at[:]) {
		return
	}
	t.merge(at[0].Of(data))
}

// merge takes the usage member of doc.
func (t *tap) merge(doc []byte) {
	var at [1]splice.Span
	if !dialect.Find(doc, []string{"usage"}, at[:]) || at[0].Empty() {
		return
	}
	v := at[0].Of(doc)
	if t.counts.merge(v) {
		t.has = true
		if g := inferenceGeo(v); g != "" {
			t.geo = g
		}
	}
}

// Usage implements dialect.Tap.
func (t *tap) Usage() (llm.Usage, bool) { return t.counts.usage(), t.has }

// Fault implements dialect.Tap.
func (t *tap) Fault() *fault.Error { return t.fault }

// Processing implements dialect.Tap.
func (t *tap) Processing() string { return t.geo }
