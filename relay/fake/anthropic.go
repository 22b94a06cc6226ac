package fake

import (
	"net/http"
	"strconv"
)

// API versions. The newer one has no sampling parameters (vendor's migration page of 2026-10-21).
const (
	anthropicOld  = "2023-06-01"
	anthropicNew  = "2026-10-21"
	claudeContext = 200_000
)

// messagesRequest is POST /v1/messages and its count_tokens.
type messagesRequest struct {
	prompt
	version                 string
	count                   bool
	stream                  bool
	hasModel, hasMessages   bool
	maxTokens               *int64
	temperature, topP, topK *float64
	thinking                string
	budget                  int64
	display                 string
	choiceSeen              bool
	toolsInHistory          bool
	msgs                    int
	lastRole                string
	open                    []string // tool_use ids that the next message must answer
	bad                     *problem
}

func (q *messagesRequest) fail(format string, args ...any) {
	if q.bad == nil {
		q.bad = bad(format, args...)
	}
}

func (x *exchange) parseMessages(count bool) (*messagesRequest, *problem) {
	q := &messagesRequest{version: x.r.Header.Get("Anthropic-Version"), count: count}
	switch q.version {
	case anthropicOld, anthropicNew:
	case "":
		return nil, bad("anthropic-version: header is required")
	default:
		return nil, bad("anthropic-version: %q is not a valid version. Please see https://docs.anthropic.com/en/api/versioning for the supported versions.", clip(q.version, 40))
	}
	if err := readObject(x.body, q.member); err != nil {
		return nil, x.v.problemOf(err)
	}
	if p := q.check(); p != nil {
		return nil, p
	}
	if !known(q.model) {
		return nil, &problem{status: http.StatusNotFound, message: "model: " + clip(q.model, 100)}
	}
	if q.tokens > claudeContext {
		return nil, bad("prompt is too long: %d tokens > %d maximum", q.tokens, int64(claudeContext))
	}
	return q, nil
}

// countTokens answers POST /v1/messages/count_tokens.
func (x *exchange) countTokens() *problem {
	q, p := x.parseMessages(true)
	if p != nil {
		return p
	}
	if x.begin(q.model) {
		x.json(http.StatusOK, append(strconv.AppendInt([]byte(`{"input_tokens":`), q.tokens, 10), '}'))
	}
	return nil
}

// messages answers POST /v1/messages.
func (x *exchange) messages() *problem {
	q, p := x.parseMessages(false)
	if p != nil {
		return p
	}
	if !x.begin(q.model) {
		return nil
	}
	s := q.perform(x.s.opt.Seed, 0)
	if q.stream {
		x.messagesStream(q, s)
		return nil
	}
	b := x.message(make([]byte, 0, 1<<10), q, s)
	b = append(b, `"content":[`...)
	at := len(b)
	if len(s.thoughts) > 0 {
		b = appendString(append(b, `{"type":"thinking","thinking":`...), q.shown(s))
		b = append(appendString(append(b, `,"signature":`...), signature(s)), '}')
	}
	for _, c := range s.calls {
		b = comma(b, at)
		b = append(toolUse(b, s, c, c.args), '}')
	}
	if len(s.calls) == 0 && !q.none {
		b = comma(b, at)
		b = append(appendString(append(b, `{"type":"text","text":`...), s.text()), '}')
	}
	b = append(b, `],`...)
	b = append(claudeStop(b, s), `,"usage":`...)
	b = append(x.claudeUsage(b, q, s, s.out), '}')
	x.unary(s, b)
	return nil
}

func comma(b []byte, start int) []byte {
	if len(b) > start {
		b = append(b, ',')
	}
	return b
}

// message writes the fields before content.
func (x *exchange) message(b []byte, q *messagesRequest, s *script) []byte {
	b = appendString(append(b, `{"model":`...), q.model)
	b = appendString(append(b, `,"id":`...), s.rng.id("msg_01", 22))
	return append(b, `,"type":"message","role":"assistant",`...)
}

func (q *messagesRequest) shown(s *script) string {
	if q.display == "omitted" {
		return ""
	}
	return s.thought()
}

func signature(s *script) string { return s.rng.id("EqFake", 118) + "==" }

func toolUse(b []byte, s *script, c call, input string) []byte {
	b = appendString(append(b, `{"type":"tool_use","id":`...), s.rng.id("toolu_01", 22))
	b = appendString(append(b, `,"name":`...), c.name)
	return append(append(append(b, `,"input":`...), input...), `,"caller":{"type":"direct"}`...)
}

func claudeStop(b []byte, s *script) []byte {
	reason := "end_turn"
	switch s.stop {
	case stopLength:
		reason = "max_tokens"
	case stopSequence:
		reason = "stop_sequence"
	case stopCalls:
		reason = "tool_use"
	}
	b = append(append(append(b, `"stop_reason":"`...), reason...), `","stop_sequence":`...)
	return append(appendOrNull(b, s.matched), `,"stop_details":null`...)
}

func (x *exchange) claudeUsage(b []byte, q *messagesRequest, s *script, out int64) []byte {
	b = strconv.AppendInt(append(b, `{"input_tokens":`...), q.tokens, 10)
	b = append(b, `,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":`...)
	b = thinkDetails(strconv.AppendInt(b, out, 10), s, out)
	b = appendString(append(b, `,"service_tier":"standard","inference_geo":`...), x.s.opt.Country)
	return append(b, '}')
}

func thinkDetails(b []byte, s *script, out int64) []byte {
	if s.think > 0 && out >= s.think {
		b = append(strconv.AppendInt(append(b, `,"output_tokens_details":{"thinking_tokens":`...), s.think, 10), '}')
	}
	return b
}

// messagesStream writes the named events. The vendor pads its events with blanks before the last
// brace, so that their length does not tell the text's; so do we, the same each time.
func (x *exchange) messagesStream(q *messagesRequest, s *script) {
	fault := append(x.v.render([]byte("event: error\ndata: "), x.v.broken(), x.id), "\n\n"...)
	x.stream("text/event-stream; charset=utf-8", fault)
	pad := rng(s.rng ^ 0x5151)
	var b []byte
	event := func(name string, fill func(b []byte) []byte) {
		b = append(append(append(b[:0], "event: "...), name...), "\ndata: {\"type\":\""...)
		b = fill(append(append(b, name...), '"'))
		b = append(b, "                "[:pad.next()%16]...)
		b = append(b, "}\n\n"...)
		x.send(b)
	}
	event("message_start", func(b []byte) []byte {
		b = x.message(append(b, `,"message":`...), q, s)
		b = append(b, `"content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"usage":`...)
		return append(x.claudeUsage(b, q, s, 1), '}')
	})
	index, pinged := int64(0), false
	block := func(open func(b []byte) []byte, body func(delta func(typ, field, value string))) {
		event("content_block_start", func(b []byte) []byte {
			b = strconv.AppendInt(append(b, `,"index":`...), index, 10)
			return append(open(append(b, `,"content_block":`...)), '}')
		})
		if !pinged {
			pinged = true
			x.send([]byte("event: ping\ndata: {\"type\": \"ping\"}\n\n"))
		}
		body(func(typ, field, value string) {
			event("content_block_delta", func(b []byte) []byte {
				b = strconv.AppendInt(append(b, `,"index":`...), index, 10)
				b = append(append(append(b, `,"delta":{"type":"`...), typ...), `","`...)
				return append(appendString(append(append(b, field...), `":`...), value), '}')
			})
		})
		event("content_block_stop", func(b []byte) []byte {
			return strconv.AppendInt(append(b, `,"index":`...), index, 10)
		})
		index++
	}
	if len(s.thoughts) > 0 {
		block(func(b []byte) []byte { return append(b, `{"type":"thinking","thinking":"","signature":""`...) }, func(delta func(typ, field, value string)) {
			for _, t := range s.thoughts {
				x.token()
				if q.display != "omitted" {
					delta("thinking_delta", "thinking", t)
				}
			}
			delta("signature_delta", "signature", signature(s))
		})
	}
	for _, c := range s.calls {
		block(func(b []byte) []byte { return toolUse(b, s, c, "{}") }, func(delta func(typ, field, value string)) {
			delta("input_json_delta", "partial_json", "")
			if c.args == "{}" {
				return
			}
			for _, t := range c.pieces {
				x.token()
				delta("input_json_delta", "partial_json", t)
			}
		})
	}
	if len(s.calls) == 0 && !q.none {
		block(func(b []byte) []byte { return append(b, `{"type":"text","text":""`...) }, func(delta func(typ, field, value string)) {
			for _, t := range s.tokens {
				x.token()
				delta("text_delta", "text", t)
			}
		})
	}
	event("message_delta", func(b []byte) []byte {
		b = claudeStop(append(b, `,"delta":{`...), s)
		b = strconv.AppendInt(append(b, `},"usage":{"input_tokens":`...), q.tokens, 10)
		b = append(b, `,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":`...)
		return append(thinkDetails(strconv.AppendInt(b, s.out, 10), s, s.out), '}')
	})
	event("message_stop", func(b []byte) []byte { return b })
}
