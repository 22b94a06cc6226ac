package openai

import (
	"bytes"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// chatTap watches chat.completion.chunk frames. The substring checks are exact in the direction that
// matters: a quote inside a JSON string is always escaped, so "usage" with plain quotes can only be a
// whole JSON string, and then the structure is looked at.
type chatTap struct {
	usage llm.Usage
	has   bool
	fault *fault.Error
	// begun and ended are the choices that were seen and those with a finish reason, one bit each.
	begun, ended uint64
}

var (
	done      = []byte("[DONE]")
	keyError  = []byte(`"error"`)
	keyUsage  = []byte(`"usage"`)
	nullUsage = []byte(`"usage":null`)
	keyFinish = []byte(`"finish_reason"`)
	notYet    = []byte(`"finish_reason":null`)
	keyIndex  = []byte(`"index"`)
	first     = []byte(`"index":0`)
	// how nearly every content chunk looks
	deltaText = []byte(`"delta":{"content":"`)
	deltaCall = []byte(`"delta":{"tool_calls":[{`)
)

var chunkNames = []string{"choices", "usage", "error", "moderation"}

const (
	chunkChoices = iota
	chunkUsage
	chunkError
	chunkModeration
)

// Event implements dialect.Tap.
func (t *chatTap) Event(_ string, data []byte) dialect.Note {
	if len(data) == 0 {
		return 0
	}
	if data[0] == '[' && bytes.Equal(bytes.TrimSpace(data), done) {
		return dialect.NoteTerminal
	}
	return t.note(data) | t.finish(data)
}

// finish notes finish reasons. When every choice has one, the stream may end: several compatible
// servers close it without [DONE].
func (t *chatTap) finish(data []byte) dialect.Note {
	i := bytes.Index(data, keyFinish)
	if running := i < 0 || bytes.HasPrefix(data[i:], notYet); running && t.begun&1 != 0 && onlyFirst(data) {
		return 0
	}
	var at [1]splice.Span
	if !dialect.Find(data, chunkNames[:1], at[:]) {
		return 0
	}
	was := t.ended
	for c := dialect.Walk(at[0].Of(data)); c.Next(); {
		var m [2]splice.Span
		if !dialect.Find(c.Value, choiceNames, m[:]) {
			continue
		}
		index, _ := dialect.Int(m[0].Of(c.Value))
		if index < 0 || index > 63 {
			continue
		}
		t.begun |= 1 << index
		if isFilledText(m[1].Of(c.Value)) {
			t.ended |= 1 << index
		}
	}
	if t.ended != was && t.ended == t.begun {
		return dialect.NoteTerminal
	}
	return 0
}

// onlyFirst reports a chunk with nothing of other choices than the first. Tool calls have an index too,
// so every index must be 0; a chunk with more than that is looked into.
func onlyFirst(data []byte) bool {
	i := bytes.Index(data, keyIndex)
	for i >= 0 {
		if data = data[i:]; !bytes.HasPrefix(data, first) {
			return false
		}
		data = data[len(first):]
		i = bytes.Index(data, keyIndex)
	}
	return true
}

var choiceNames = []string{"index", "finish_reason"}

func (t *chatTap) note(data []byte) dialect.Note {
	at := bytes.Index(data, keyUsage)
	nothing := at < 0 || bytes.HasPrefix(data[at:], nullUsage)
	if nothing && !bytes.Contains(data, keyError) {
		if plainContent(data) {
			return dialect.NoteContent
		}
		return choicesNote(data)
	}
	return t.look(data)
}

// plainContent recognises the usual content chunk by its bytes.
func plainContent(data []byte) bool {
	if i := bytes.Index(data, deltaText); i >= 0 {
		i += len(deltaText)
		return i < len(data) && data[i] != '"'
	}
	return bytes.Contains(data, deltaCall)
}

// look reads the structure of an unusual frame.
func (t *chatTap) look(data []byte) dialect.Note {
	var at [4]splice.Span
	if !dialect.Find(data, chunkNames, at[:]) {
		return dialect.NoteContent // not JSON: whatever it is, the client has seen it
	}
	if v := at[chunkError].Of(data); dialect.Filled(v) {
		t.fault = streamFault(readError(data), data)
		return dialect.NoteError
	}
	u, ok := readUsage(at[chunkUsage].Of(data))
	if ok {
		t.usage, t.has = u, true
	}
	if ok && usageOnly(data, at[:]) {
		return dialect.NoteUsageOnly
	}
	return choicesNote(data)
}

// usageOnly tells the extra chunk of include_usage: no choices, and nothing else of interest.
func usageOnly(data []byte, at []splice.Span) bool {
	c := at[chunkChoices].Of(data)
	return len(c) > 0 && c[0] == '[' && !dialect.Filled(c) && !dialect.Filled(at[chunkModeration].Of(data))
}

// choicesNote decides whether a chunk has content: any member of a delta that says something, but the
// role. Unknown members count, so that new kinds of content are not replayed by mistake.
func choicesNote(data []byte) dialect.Note {
	var at [1]splice.Span
	if !dialect.Find(data, chunkNames[:1], at[:]) {
		return dialect.NoteContent
	}
	for c := dialect.Walk(at[0].Of(data)); c.Next(); {
		var d [3]splice.Span
		if !dialect.Find(c.Value, []string{"delta", "message", "text"}, d[:]) {
			continue
		}
		if dialect.Filled(d[1].Of(c.Value)) || dialect.Filled(d[2].Of(c.Value)) {
			return dialect.NoteContent
		}
		for m := dialect.Walk(d[0].Of(c.Value)); m.Next(); {
			if string(m.Name) != "role" && dialect.Filled(m.Value) {
				return dialect.NoteContent
			}
		}
	}
	return 0
}

func (t *chatTap) Usage() (llm.Usage, bool) { return t.usage, t.has }
func (t *chatTap) Fault() *fault.Error      { return t.fault }
func (t *chatTap) Processing() string       { return "" }

// UsageFilter undoes the injected include_usage on the way back: it drops the usage-only chunk and
// removes "usage":null members; every other byte stays. One filter serves one stream; not safe for
// concurrent use.
type UsageFilter struct{ buf []byte }

// NewUsageFilter returns a filter for one stream whose request got include_usage from us.
func NewUsageFilter() *UsageFilter { return &UsageFilter{} }

var nullUsageLast = []byte(`,"usage":null}`)

// Filter returns what the client gets of the frame raw, whose data payload is data: raw itself, a
// shorter copy that is valid until the next call, or nil when the frame is dropped. A frame whose
// data spans several lines keeps its null, which says the same.
func (f *UsageFilter) Filter(raw, data []byte) []byte {
	at := bytes.Index(data, keyUsage)
	if at < 0 {
		return raw
	}
	if bytes.HasSuffix(data, nullUsageLast) { // only the closing brace of the whole chunk can follow
		return f.cut(raw, data, splice.Span{Start: len(data) - len(nullUsageLast), End: len(data) - 1})
	}
	var where [4]splice.Span
	if !dialect.Find(data, chunkNames, where[:]) || where[chunkUsage].Empty() {
		return raw
	}
	v := where[chunkUsage].Of(data)
	if v[0] == '{' && usageOnly(data, where[:]) {
		return nil
	}
	if v[0] == 'n' || v[0] == '{' && emptyChoices(data, where[:]) {
		return f.cut(raw, data, member(data, where[chunkUsage]))
	}
	return raw // usage beside content: that provider sends it unasked
}

func emptyChoices(data []byte, at []splice.Span) bool {
	c := at[chunkChoices].Of(data)
	return len(c) > 0 && !dialect.Filled(c)
}

// member widens the span of a value to its whole member and one comma.
func member(data []byte, v splice.Span) splice.Span {
	from := v.Start
	for data[from] != ':' {
		from--
	}
	for data[from] != '"' {
		from--
	}
	from-- // inside the name, whose own quotes are escaped
	for data[from] != '"' {
		from--
	}
	to := v.End
	before := from - 1
	for before > 0 && data[before] <= ' ' {
		before--
	}
	if data[before] == ',' {
		return splice.Span{Start: before, End: to}
	}
	for to < len(data) && data[to] <= ' ' {
		to++
	}
	if to < len(data) && data[to] == ',' {
		to++
	}
	return splice.Span{Start: from, End: to}
}

func (f *UsageFilter) cut(raw, data []byte, gone splice.Span) []byte {
	at := bytes.Index(raw, data)
	if at < 0 {
		return raw
	}
	f.buf = append(f.buf[:0], raw[:at+gone.Start]...)
	f.buf = append(f.buf, raw[at+gone.End:]...)
	return f.buf
}
