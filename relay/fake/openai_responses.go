package fake

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// responsesRequest is what POST /v1/responses reads beyond the prompt. The raw values are echoed.
type responsesRequest struct {
	prompt
	stream, plain, parallel      bool
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

// responses answers POST /v1/responses.
func (x *exchange) responses() *problem {
	q := &responsesRequest{parallel: true, store: "true", verbosity: "medium"}
	if err := readObject(x.body, q.member); err != nil {
		return x.v.problemOf(err)
	}
	if p := q.check(); p != nil {
		return p
	}
	if p := x.openAIModel(q.model, http.StatusBadRequest); p != nil {
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
	if q.stream {
		w.run()
		return nil
	}
	w.build(func([]byte) {})
	status := "completed"
	if w.s.stop == stopLength {
		status = "incomplete"
	}
	x.unary(w.s, w.object(nil, status))
	return nil
}

func (q *responsesRequest) fail(p *problem) {
	if q.bad == nil {
		q.bad = p
	}
}

func (q *responsesRequest) member(r *reader, key []byte) {
	switch string(key) {
	case "model":
		q.model, q.model_ = r.str(), true
	case "input":
		q.input = true
		if r.kind() == jsontext.KindString {
			q.say("user", r.str())
			return
		}
		r.array(func(i int) { q.item(r, "input["+strconv.Itoa(i)+"]") })
	case "instructions":
		if q.instructions = r.raw(); q.instructions.Kind() == jsontext.KindString {
			text, _ := jsontext.AppendUnquote(nil, q.instructions)
			q.say("system", string(text))
		}
	case "stream":
		q.stream = r.bool()
	case "stream_options":
		r.object(func(key []byte) {
			if string(key) != "include_obfuscation" {
				r.unknown(key)
				return
			}
			q.plain = !r.bool()
		})
	case "tools":
		q.tools_ = r.raw()
		walkArray(q.tools_, func(r *reader) { q.prompt.tools = append(q.prompt.tools, flatTool(r)) })
	case "tool_choice":
		q.choice = r.raw()
		walkValue(q.choice, q.toolChoice)
	case "parallel_tool_calls":
		q.parallel = r.bool()
		q.single = !q.parallel
	case "max_output_tokens":
		q.max = r.optInt()
	case "temperature":
		q.temperature = r.optFloat()
	case "top_p":
		q.topP = r.optFloat()
	case "reasoning":
		r.object(func(key []byte) {
			switch string(key) {
			case "effort":
				q.effort = r.str()
			case "summary":
				q.summary = r.str()
			default:
				r.skip()
			}
		})
	case "text":
		r.object(func(key []byte) {
			switch string(key) {
			case "format":
				q.format = r.raw()
				walk(q.format, func(r *reader, key []byte) {
					switch string(key) {
					case "type":
						q.json = r.str() != "text"
					case "schema":
						q.schema = r.raw()
					default:
						r.skip()
					}
				})
			case "verbosity":
				q.verbosity = r.str()
			default:
				r.unknown(key)
			}
		})
	case "metadata":
		q.metadata = r.raw()
	case "user":
		q.user = r.str()
	case "store":
		if !r.bool() {
			q.store = "false"
		}
	case "previous_response_id":
		if q.previous = r.raw(); q.previous.Kind() == jsontext.KindString {
			q.fail(badParam("previous_response_id", "previous_response_not_found", "Previous response with id %s not found.", clip(string(q.previous), 100)))
		}
	case "background", "context_management", "conversation", "include", "max_tool_calls", "moderation", "prompt", "prompt_cache_key",
		"prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier", "top_logprobs", "truncation":
		r.skip()
	default:
		r.unknown(key)
	}
}

// walkArray and walkValue read what was kept raw.
func walkArray(v jsontext.Value, f func(r *reader)) {
	walkValue(v, func(r *reader) { r.array(func(int) { f(r) }) })
}

func walkValue(v jsontext.Value, f func(r *reader)) {
	if len(v) > 0 {
		_ = readObject(append(append([]byte(`{"v":`), v...), '}'), func(r *reader, _ []byte) { f(r) })
	}
}

func flatTool(r *reader) (t tool) {
	r.object(func(key []byte) {
		switch string(key) {
		case "name":
			t.name = r.str()
		case "parameters":
			t.schema = r.raw()
		default:
			r.skip()
		}
	})
	return t
}

func (q *responsesRequest) item(r *reader, at string) {
	typ, role, text, callID, output := "", "", "", "", ""
	q.tokens += 4
	r.object(func(key []byte) {
		switch string(key) {
		case "type":
			typ = r.str()
		case "role":
			role = r.str()
		case "content":
			if r.kind() == jsontext.KindString {
				text = r.str()
				return
			}
			r.array(func(j int) {
				text += q.part(r, q.fail, at+".content["+strconv.Itoa(j)+"]", "input_text")
			})
		case "call_id":
			callID = r.str()
		case "arguments", "name", "input":
			q.say("assistant", r.str())
		case "output":
			if r.kind() == jsontext.KindString {
				output = r.str()
				return
			}
			r.array(func(j int) { output += q.part(r, q.fail, at+".output["+strconv.Itoa(j)+"]", "input_text") })
		default:
			r.skip()
		}
	})
	if r.err != nil {
		return
	}
	switch typ {
	case "", "message":
		switch role {
		case "user", "system", "developer", "assistant":
			q.say(role, text)
		case "":
			q.fail(badParam(at, "missing_required_parameter", "Missing required parameter: '%s.role'.", at))
		default:
			q.fail(badParam(at, "invalid_value", "Invalid value: '%s'. Supported values are: 'assistant', 'system', 'developer', and 'user'.", clip(role, 40)))
		}
	case "function_call", "custom_tool_call":
		q.open = append(q.open, callID)
	case "function_call_output", "custom_tool_call_output":
		i := slices.Index(q.open, callID)
		if i < 0 {
			q.fail(badParam("input", "", "No tool call found for function call output with call_id %s.", clip(callID, 100)))
			return
		}
		q.open = slices.Delete(q.open, i, i+1)
		q.answer(output)
	}
}

func (q *responsesRequest) check() *problem {
	switch {
	case !q.model_ || q.model == "":
		return badParam("model", "missing_required_parameter", "Missing required parameter: 'model'.")
	case q.bad != nil:
		return q.bad
	case !q.input:
		return badParam("input", "missing_required_parameter", "Missing required parameter: 'input'.")
	case len(q.open) > 0:
		return badParam("input", "", "No tool output found for function call %s.", clip(q.open[0], 100))
	case q.max != nil && *q.max < 16:
		return badParam("max_output_tokens", "integer_below_min_value", "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got %d instead.", *q.max)
	case q.temperature != nil && reasons(q.model) && *q.temperature != 1:
		return badParam("temperature", "unsupported_parameter", "Unsupported parameter: 'temperature' is not supported with this model.")
	}
	for i, t := range q.prompt.tools {
		if t.name == "" && len(t.schema) == 0 {
			continue // hosted tools have no name
		}
		if p := toolName(t.name, "tools["+strconv.Itoa(i)+"].name"); p != nil {
			return p
		}
	}
	if q.max != nil {
		q.prompt.max = *q.max
	}
	q.think = q.summary != ""
	return ranges(q.temperature, q.topP)
}

// responsesWriter builds the answer's items, one event at a time; the unary form drops the events.
type responsesWriter struct {
	x    *exchange
	q    *responsesRequest
	s    *script
	id   string
	b    []byte
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
	if w.s.stop == stopLength {
		w.state("response.incomplete", "incomplete")
	} else {
		w.state("response.completed", "completed")
	}
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
	w.b = append(strconv.AppendInt(append(w.b, `,"sequence_number":`...), int64(w.n), 10), "}\n\n"...)
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
	if len(s.thoughts) > 0 {
		id := s.rng.hex("rs_", 50)
		item("response.output_item.added", reasoningItem(id, ""))
		summary := func(name, field, value string) {
			event(name, func() {
				if field == "delta" {
					w.b = appendString(append(w.b, `,"delta":`...), value)
				}
				w.at(id)
				if field == "delta" {
					w.obfuscate(value)
				}
				w.b = append(w.b, `,"summary_index":0`...)
				switch field {
				case "part":
					w.b = append(appendString(append(w.b, `,"part":{"type":"summary_text","text":`...), value), '}')
				case "text":
					w.b = appendString(append(w.b, `,"text":`...), value)
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
		w.finish(item, reasoningItem(id, s.thought()))
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
		w.b = appendString(append(w.b, `,"text":`...), text)
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

func reasoningItem(id, summary string) []byte {
	b := append(appendString([]byte(`{"id":`), id), `,"type":"reasoning","summary":[`...)
	if summary != "" {
		b = append(appendString(append(b, `{"type":"summary_text","text":`...), summary), '}')
	}
	return append(b, `]}`...)
}

// object writes the response object with its echo of the request.
func (w *responsesWriter) object(b []byte, status string) []byte {
	q, ended := w.q, status != "in_progress"
	b = appendString(append(b, `{"id":`...), w.id)
	b = strconv.AppendInt(append(b, `,"object":"response","created_at":`...), fakeEpoch, 10)
	b = append(append(append(b, `,"status":"`...), status...), `","background":false,"completed_at":`...)
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
	b = append(b, `,"presence_penalty":0.0,"previous_response_id":null,"prompt_cache_key":null,"prompt_cache_retention":"24h","reasoning":{"effort":`...)
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
