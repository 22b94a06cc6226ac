package openai

import (
	"bytes"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// Responses is the client side of openai-responses.
type Responses struct{ common }

// ResponsesBackend is the provider side of openai-responses.
type ResponsesBackend struct{ common }

// Dialect names the dialect.
func (Responses) Dialect() llm.Dialect { return llm.OpenAIResponses }

// Dialect names the dialect.
func (ResponsesBackend) Dialect() llm.Dialect { return llm.OpenAIResponses }

var responsesNames = []string{"model", "stream", "max_output_tokens", "safety_identifier", "user", "previous_response_id", "conversation", "store"}

// Peek implements dialect.Frontend.
func (Responses) Peek(op llm.Op, body []byte) (dialect.Head, error) {
	if op == llm.OpEmbed {
		return peekEmbed(body)
	}
	h := dialect.Head{Choices: 1, BodyLen: len(body)}
	var at [8]splice.Span
	if err := dialect.Pick(body, responsesNames, at[:]); err != nil {
		return h, err
	}
	var err error
	if h.Model, h.ModelSpan, err = peekModel(body, at[0]); err != nil {
		return h, err
	}
	stream, err := dialect.Bool(at[1].Of(body), "stream")
	if err != nil {
		return h, err
	}
	h.Stream = stream && op == llm.OpGenerate // a count never streams
	if h.MaxOutput, err = dialect.Whole(at[2].Of(body), "max_output_tokens", 0); err != nil {
		return h, err
	}
	if h.User, err = dialect.Text(at[3].Of(body), "safety_identifier"); err != nil {
		return h, err
	}
	if h.User == "" {
		if h.User, err = dialect.Text(at[4].Of(body), "user"); err != nil {
			return h, err
		}
	}
	if h.Kept.Previous, err = dialect.Text(at[5].Of(body), "previous_response_id"); err != nil {
		return h, err
	}
	h.Kept.PreviousSpan, h.Kept.Conversation = at[5], !at[6].Empty() && body[at[6].Start] != 'n'
	if !at[7].Empty() && body[at[7].Start] != 'n' {
		store, err := dialect.Bool(at[7].Of(body), "store")
		if err != nil {
			return h, err
		}
		h.Kept.NotStored = !store
	}
	return h, nil
}

// FaultEvent implements dialect.Frontend with the flat shape of OpenAI's specification; readers must
// take the nested one too. The sequence number is 0: nothing reads it, and the relay does not count.
func (Responses) FaultEvent(f *fault.Error, id string) []byte {
	b := []byte(`{"type":"error","code":"` + errorCode(f) + `","message":` + dialect.Quote(dialect.FaultText(f, id)) + `,"param":`)
	b = append(appendParam(b, f), `,"sequence_number":0}`...)
	return sse.Append(nil, "error", b)
}

// Path implements dialect.Backend.
func (ResponsesBackend) Path(op llm.Op, _, model string, _ bool) string {
	if op == llm.OpCountTokens {
		return "/responses/input_tokens"
	}
	return path(op, model, "/responses")
}

// Splice implements dialect.Backend.
func (ResponsesBackend) Splice(_ llm.Op, h dialect.Head, model string) []splice.Edit {
	return rename(h, model)
}

// UnaryUsage implements dialect.Backend.
func (ResponsesBackend) UnaryUsage(_ llm.Op, body []byte) (llm.Usage, bool) { return unaryUsage(body) }

// NewTap implements dialect.Backend.
func (ResponsesBackend) NewTap(op llm.Op) dialect.Tap { return newTap(op, &responsesTap{}) }

// responsesTap watches response.* events. Their names tell nearly everything.
type responsesTap struct {
	usage llm.Usage
	has   bool
	fault *fault.Error
}

// Event implements dialect.Tap.
func (t *responsesTap) Event(name string, data []byte) dialect.Note {
	if len(data) == 0 {
		return 0
	}
	if name == "" {
		name = eventType(data)
	}
	switch name {
	case "response.created", "response.in_progress", "response.queued", "keepalive",
		"response.content_part.added", "response.reasoning_summary_part.added":
		return 0
	case "response.output_item.added":
		return itemNote(data)
	case "response.completed", "response.incomplete":
		t.readResponse(data)
		return dialect.NoteTerminal
	case "response.failed":
		t.readResponse(data)
		return dialect.NoteError
	case "error":
		t.fault = streamFault(readError(data), data)
		return dialect.NoteError
	}
	if strings.HasPrefix(name, "response.") && strings.HasSuffix(name, ".in_progress") {
		return 0
	}
	return dialect.NoteContent
}

var typeNames = []string{"type"}

// eventType serves compatible servers that send no event names.
func eventType(data []byte) string {
	var at [1]splice.Span
	if !dialect.Find(data, typeNames, at[:]) || at[0].Empty() || data[at[0].Start] != '"' {
		return ""
	}
	return dialect.Unquote(at[0].Of(data))
}

var (
	itemMessage   = []byte(`"type":"message"`)
	itemReasoning = []byte(`"type":"reasoning"`)
)

// itemNote: a message or reasoning item opens empty; any other item (a call, with its name) is content.
func itemNote(data []byte) dialect.Note {
	if bytes.Contains(data, itemMessage) || bytes.Contains(data, itemReasoning) {
		return 0
	}
	var at [1]splice.Span
	if dialect.Find(data, []string{"item"}, at[:]) && !at[0].Empty() {
		switch eventType(at[0].Of(data)) {
		case "message", "reasoning":
			return 0
		}
	}
	return dialect.NoteContent
}

// readResponse takes usage and error from the response object of a final event.
func (t *responsesTap) readResponse(data []byte) {
	var top [1]splice.Span
	if !dialect.Find(data, []string{"response"}, top[:]) {
		return
	}
	r := top[0].Of(data)
	var at [3]splice.Span
	if !dialect.Find(r, []string{"usage", "error", "status"}, at[:]) {
		return
	}
	if u, ok := readUsage(at[0].Of(r)); ok {
		t.usage, t.has = u, true
	}
	failed := !at[2].Empty() && string(at[2].Of(r)) == `"failed"`
	if v := at[1].Of(r); t.fault == nil && dialect.Filled(v) {
		t.fault = streamFault(readErrorObject(v), v)
	} else if t.fault == nil && failed {
		t.fault = fault.New(fault.UpstreamError, "the provider reported a failed response").At(fault.Sent)
	}
}

func (t *responsesTap) Usage() (llm.Usage, bool) { return t.usage, t.has }
func (t *responsesTap) Fault() *fault.Error      { return t.fault }
func (t *responsesTap) Processing() string       { return "" }
