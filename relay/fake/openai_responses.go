package fake

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// responsesRequest is what POST /v1/responses reads beyond the prompt. The raw values are echoed.
type responsesRequest struct {
	prompt
	stream, plain, parallel      bool
	background                   bool
	conversation                 jsontext.Value
	sealed                       bool // wants encrypted reasoning back
	model_, input                bool
	instructions, tools_, choice jsontext.Value
	metadata, format, previous   jsontext.Value
	temperature, topP            *float64
	max                          *int64
	effort, summary, user, store string
	verbosity                    string
	open                         []string // calls without an output yet
	bad                          *problem
}

// accept refuses what the vendor would of a request that has been read, and joins what it follows.
func (x *exchange) accept(q *responsesRequest) *problem {
	if p := q.check(); p != nil {
		return p
	}
	if p := x.openAIModel(q.model, http.StatusBadRequest); p != nil {
		return p
	}
	return x.recall(q)
}

// responses answers POST /v1/responses.
func (x *exchange) responses() *problem {
	q := &responsesRequest{parallel: true, store: "true", verbosity: "medium"}
	if err := readObject(x.body, q.member); err != nil {
		return x.v.problemOf(err)
	}
	if p := x.accept(q); p != nil {
		return p
	}
	if q.tokens > openAIContext {
		return badParam("input", "context_length_exceeded", "Your input exceeds the context window of this model. Please adjust your input and try again.")
	}
	if !x.begin(q.model) {
		return nil
	}
	w := &responsesWriter{x: x, q: q, s: q.perform(x.s.opt.Seed, 0)}
	w.id = w.s.rng.hex("resp_", 50)
	if q.background {
		b := w.object(nil, "queued")
		w.keep(b)
		x.unary(&script{}, b)
		return nil
	}
	if q.stream {
		w.run()
		return nil
	}
	w.build(func([]byte) {})
	status := "completed"
	if w.s.stop == stopLength {
		status = "incomplete"
	}
	b := w.object(nil, status)
	w.keep(b)
	x.unary(w.s, b)
	return nil
}

// inputTokens answers POST /v1/responses/input_tokens: the same body without what steers only the answer.
func (x *exchange) inputTokens() *problem {
	q := &responsesRequest{}
	err := readObject(x.body, func(r *reader, key []byte) {
		switch string(key) {
		case "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "previous_response_id",
			"conversation", "truncation":
			q.member(r, key)
		case "personality":
			r.str()
		default:
			r.unknown(key)
		}
	})
	if err != nil {
		return x.v.problemOf(err)
	}
	if p := x.accept(q); p != nil {
		return p
	}
	if x.begin(q.model) {
		x.json(http.StatusOK, append(strconv.AppendInt([]byte(`{"object":"response.input_tokens","input_tokens":`), q.tokens, 10), '}'))
	}
	return nil
}

// responsesWriter builds the answer's items, one event at a time; the unary form drops the events.
type responsesWriter struct {
	x    *exchange
	q    *responsesRequest
	s    *script
	id   string
	b    []byte
	tail []byte   // members that sort after sequence_number
	n    int      // sequence_number
	out  int      // output_index
	done [][]byte // finished items
}

func (w *responsesWriter) run() {
	errEvent := append(w.x.v.renderFlat([]byte("event: error\ndata: "), w.x.v.broken(), 5), "\n\n"...)
	w.x.stream("text/event-stream; charset=utf-8", errEvent)
	w.state("response.created", "in_progress")
	w.state("response.in_progress", "in_progress")
	w.build(w.x.send)
	status := "completed"
	if w.s.stop == stopLength {
		status = "incomplete"
	}
	w.keep(w.object(nil, status)) // before the client hears of the end: it may ask at once
	w.state("response."+status, status)
}

func (w *responsesWriter) state(name, status string) {
	w.b = w.open(name)
	w.b = w.object(append(w.b, `,"response":`...), status)
	w.x.send(w.close())
}

// open begins an event, close ends it with its number.
func (w *responsesWriter) open(name string) []byte {
	b := append(append(w.b[:0], "event: "...), name...)
	return append(append(append(b, "\ndata: {\"type\":\""...), name...), '"')
}

func (w *responsesWriter) close() []byte {
	w.b = strconv.AppendInt(append(w.b, `,"sequence_number":`...), int64(w.n), 10)
	w.b = append(append(w.b, w.tail...), "}\n\n"...)
	w.tail = w.tail[:0]
	w.n++
	return w.b
}

// at is the index part that every item event carries.
func (w *responsesWriter) at(item string) {
	w.b = appendString(append(w.b, `,"item_id":`...), item)
	w.index()
}

func (w *responsesWriter) index() {
	w.b = strconv.AppendInt(append(w.b, `,"output_index":`...), int64(w.out), 10)
}

func (w *responsesWriter) obfuscate(text string) {
	if !w.q.plain {
		w.b = appendString(append(w.b, `,"obfuscation":`...), w.s.rng.id("", max(16-len(text), 1)))
	}
}

// build writes every item through emit and keeps the finished ones.
func (w *responsesWriter) build(emit func([]byte)) {
	s := w.s
	event := func(name string, fill func()) {
		w.b = w.open(name)
		fill()
		emit(w.close())
	}
	item := func(name string, raw []byte) {
		event(name, func() { w.b = append(append(w.b, `,"item":`...), raw...); w.index() })
	}
	if len(s.thoughts) > 0 && w.q.summary != "" { // effort alone is counted, not shown
		id := s.rng.hex("rs_", 50)
		sealed := ""
		if w.q.sealed {
			sealed = s.rng.id("gAAAAAfake", 190)
		}
		item("response.output_item.added", reasoningItem(id, sealed, ""))
		summary := func(name, field, value string) {
			event(name, func() {
				if field == "delta" {
					w.b = appendString(append(w.b, `,"delta":`...), value)
				}
				w.b = appendString(append(w.b, `,"item_id":`...), id)
				if field == "delta" {
					w.obfuscate(value)
				}
				w.index()
				if field == "part" {
					w.b = append(appendString(append(w.b, `,"part":{"type":"summary_text","text":`...), value), '}')
				}
				if w.tail = append(w.tail, `,"summary_index":0`...); field == "text" {
					w.tail = appendString(append(w.tail, `,"text":`...), value)
				}
			})
		}
		summary("response.reasoning_summary_part.added", "part", "")
		for _, t := range s.thoughts {
			w.x.token()
			summary("response.reasoning_summary_text.delta", "delta", t)
		}
		summary("response.reasoning_summary_text.done", "text", s.thought())
		summary("response.reasoning_summary_part.done", "part", s.thought())
		w.finish(item, reasoningItem(id, sealed, s.thought()))
	}
	for _, c := range s.calls {
		id, callID := s.rng.hex("fc_", 50), s.rng.id("call_", 24)
		item("response.output_item.added", callItem(id, callID, c.name, "", "in_progress"))
		for _, t := range c.pieces {
			w.x.token()
			event("response.function_call_arguments.delta", func() {
				w.b = appendString(append(w.b, `,"delta":`...), t)
				w.b = appendString(append(w.b, `,"item_id":`...), id)
				w.obfuscate(t)
				w.index()
			})
		}
		event("response.function_call_arguments.done", func() {
			w.b = appendString(append(w.b, `,"arguments":`...), c.args)
			w.at(id)
		})
		w.finish(item, callItem(id, callID, c.name, c.args, "completed"))
	}
	if len(s.calls) > 0 {
		return
	}
	id := s.rng.hex("msg_", 50)
	text := s.text()
	item("response.output_item.added", messageItem(id, "", "in_progress", false))
	part := func(name, text string) {
		event(name, func() {
			w.b = append(w.b, `,"content_index":0`...)
			w.at(id)
			w.b = appendPart(append(w.b, `,"part":`...), text)
		})
	}
	part("response.content_part.added", "")
	for _, t := range s.tokens {
		w.x.token()
		event("response.output_text.delta", func() {
			w.b = appendString(append(w.b, `,"content_index":0,"delta":`...), t)
			w.b = appendString(append(w.b, `,"item_id":`...), id)
			w.b = append(w.b, `,"logprobs":[]`...)
			w.obfuscate(t)
			w.index()
		})
	}
	event("response.output_text.done", func() {
		w.b = appendString(append(w.b, `,"content_index":0,"item_id":`...), id)
		w.b = append(w.b, `,"logprobs":[]`...)
		w.index()
		w.tail = appendString(append(w.tail, `,"text":`...), text)
	})
	part("response.content_part.done", text)
	status := "completed"
	if s.stop == stopLength {
		status = "incomplete"
	}
	w.finish(item, messageItem(id, text, status, true))
}

func (w *responsesWriter) finish(item func(string, []byte), raw []byte) {
	item("response.output_item.done", raw)
	w.done = append(w.done, raw)
	w.out++
}

func appendPart(b []byte, text string) []byte {
	return append(appendString(append(b, `{"type":"output_text","annotations":[],"logprobs":[],"text":`...), text), '}')
}

func messageItem(id, text, status string, full bool) []byte {
	b := appendString([]byte(`{"id":`), id)
	b = append(append(append(b, `,"type":"message","status":"`...), status...), `","content":[`...)
	if full {
		b = appendPart(b, text)
	}
	return append(b, `],"phase":"final_answer","role":"assistant"}`...)
}

func callItem(id, callID, name, args, status string) []byte {
	b := appendString([]byte(`{"id":`), id)
	b = append(append(append(b, `,"type":"function_call","status":"`...), status...), `","arguments":`...)
	b = appendString(append(appendString(b, args), `,"call_id":`...), callID)
	return append(appendString(append(b, `,"name":`...), name), '}')
}

func reasoningItem(id, sealed, summary string) []byte {
	b := append(appendString([]byte(`{"id":`), id), `,"type":"reasoning","content":[]`...)
	if sealed != "" {
		b = appendString(append(b, `,"encrypted_content":`...), sealed)
	}
	b = append(b, `,"summary":[`...)
	if summary != "" {
		b = append(appendString(append(b, `{"type":"summary_text","text":`...), summary), '}')
	}
	return append(b, `]}`...)
}

// object writes the response object with its echo of the request.
func (w *responsesWriter) object(b []byte, status string) []byte {
	q, ended := w.q, status != "in_progress" && status != "queued"
	b = appendString(append(b, `{"id":`...), w.id)
	b = strconv.AppendInt(append(b, `,"object":"response","created_at":`...), fakeEpoch, 10)
	b = strconv.AppendBool(append(append(append(b, `,"status":"`...), status...), `","background":`...), q.background)
	if ended && !q.stream {
		b = append(b, `,"billing":{"payer":"developer"}`...)
	}
	b = append(b, `,"completed_at":`...)
	if status == "completed" {
		b = strconv.AppendInt(b, fakeEpoch+1, 10)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"error":null,"frequency_penalty":0.0,"incomplete_details":`...)
	if status == "incomplete" {
		b = append(b, `{"reason":"max_output_tokens"}`...)
	} else {
		b = append(b, "null"...)
	}
	b = appendRaw(append(b, `,"instructions":`...), q.instructions, "null")
	b = append(b, `,"max_output_tokens":`...)
	if q.max != nil {
		b = strconv.AppendInt(b, *q.max, 10)
	} else {
		b = append(b, "null"...)
	}
	b = appendString(append(b, `,"max_tool_calls":null,"model":`...), q.model)
	b = append(b, `,"moderation":null,"output":[`...)
	for i, item := range w.done {
		if !ended {
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, item...)
	}
	b = strconv.AppendBool(append(b, `],"parallel_tool_calls":`...), q.parallel)
	b = append(b, `,"presence_penalty":0.0,"previous_response_id":`...)
	b = append(appendRaw(b, q.previous, "null"), `,"prompt_cache_key":null,"prompt_cache_retention":"24h","reasoning":{"effort":`...)
	b = appendOrNull(append(appendOrNull(b, q.effort), `,"summary":`...), q.summary)
	tier := "auto"
	if ended {
		tier = "default"
	}
	b = append(append(append(b, `},"safety_identifier":null,"service_tier":"`...), tier...), `","store":`...)
	b = appendFloat(append(append(b, q.store...), `,"temperature":`...), q.temperature, "1.0")
	b = appendRaw(append(b, `,"text":{"format":`...), q.format, `{"type":"text"}`)
	b = appendString(append(b, `,"verbosity":`...), q.verbosity)
	b = appendRaw(append(b, `},"tool_choice":`...), q.choice, `"auto"`)
	b = appendRaw(append(b, `,"tools":`...), q.tools_, "[]")
	b = appendFloat(append(b, `,"top_logprobs":0,"top_p":`...), q.topP, "1.0")
	b = append(b, `,"truncation":"disabled","usage":`...)
	if ended {
		b = strconv.AppendInt(append(b, `{"input_tokens":`...), q.tokens, 10)
		b = strconv.AppendInt(append(b, `,"input_tokens_details":{"cached_tokens":0},"output_tokens":`...), w.s.out, 10)
		b = strconv.AppendInt(append(b, `,"output_tokens_details":{"reasoning_tokens":`...), w.s.think, 10)
		b = append(strconv.AppendInt(append(b, `},"total_tokens":`...), q.tokens+w.s.out, 10), '}')
	} else {
		b = append(b, "null"...)
	}
	b = appendOrNull(append(b, `,"user":`...), q.user)
	return append(appendRaw(append(b, `,"metadata":`...), q.metadata, "{}"), '}')
}

func appendRaw(b []byte, v jsontext.Value, absent string) []byte {
	if len(v) == 0 || v.Kind() == jsontext.KindNull {
		return append(b, absent...)
	}
	at := len(b)
	c, err := jsontext.AppendFormat(b, v, jsontext.AllowDuplicateNames(false))
	if err != nil {
		return append(b[:at], absent...)
	}
	return c
}

func appendFloat(b []byte, f *float64, absent string) []byte {
	if f == nil {
		return append(b, absent...)
	}
	return strconv.AppendFloat(b, *f, 'f', -1, 64)
}

// renderFlat is the Responses stream's error event: flat, with the number of its event.
func (v vendor) renderFlat(b []byte, p *problem, n int64) []byte {
	b = append(append(b, `{"type":"error","code":"`...), openAIType(p)...)
	b = appendString(append(b, `","message":`...), p.message)
	b = strconv.AppendInt(append(b, `,"param":null,"sequence_number":`...), n, 10)
	return append(b, '}')
}
