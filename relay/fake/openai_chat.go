package fake

import (
	"net/http"
	"slices"
	"strconv"
)

// chatRequest is what the chat endpoint reads beyond the prompt.
type chatRequest struct {
	prompt
	stream, usage bool
	n             int64
}

// chat answers POST /v1/chat/completions.
func (x *exchange) chat() *problem {
	q, err := parseChat(x.body)
	if err != nil {
		return x.v.problemOf(err)
	}
	if p := x.openAIModel(q.model, http.StatusNotFound); p != nil {
		return p
	}
	if q.tokens > openAIContext {
		return badParam("messages", "context_length_exceeded", "This model's maximum context length is %d tokens. However, your messages resulted in %d tokens. "+
			"Please reduce the length of the messages.", int64(openAIContext), q.tokens)
	}
	if !x.begin(q.model) {
		return nil
	}
	if q.stream {
		x.chatStream(q)
		return nil
	}
	scripts := make([]*script, q.n)
	all := script{}
	for i := range scripts {
		scripts[i] = q.perform(x.s.opt.Seed, i)
		all.out += scripts[i].out
		all.think += scripts[i].think
	}
	b := append(make([]byte, 0, 1<<10), `{"id":`...)
	b = chatHead(b, scripts[0], "chat.completion", q.model)
	b = append(b, `,"choices":[`...)
	for i, s := range scripts {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, `{"index":`...), int64(i), 10)
		b = append(b, `,"message":{"role":"assistant","content":`...)
		if len(s.calls) > 0 {
			b = append(b, `null,"tool_calls":[`...)
			for j, c := range s.calls {
				if j > 0 {
					b = append(b, ',')
				}
				b = appendString(append(b, `{"id":`...), s.rng.id("call_", 24))
				b = appendString(append(b, `,"type":"function","function":{"name":`...), c.name)
				b = append(appendString(append(b, `,"arguments":`...), c.args), `}}`...)
			}
			b = append(b, ']')
		} else {
			b = appendString(b, s.text())
		}
		b = append(b, `,"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"`...)
		b = append(append(b, chatFinish(s.stop)...), `"}`...)
	}
	b = append(b, `],"usage":`...)
	b = chatUsage(b, q.tokens, &all)
	b = append(b, `,"service_tier":"default","system_fingerprint":"fp_causewayfake"}`...)
	x.unary(&all, b)
	return nil
}

const openAIContext = 400_000

func chatHead(b []byte, s *script, object, model string) []byte {
	b = appendString(b, s.rng.id("chatcmpl-", 29))
	b = append(append(append(b, `,"object":"`...), object...), `","created":`...)
	b = strconv.AppendInt(b, fakeEpoch, 10)
	return appendString(append(b, `,"model":`...), model)
}

func chatUsage(b []byte, in int64, s *script) []byte {
	b = strconv.AppendInt(append(b, `{"prompt_tokens":`...), in, 10)
	b = strconv.AppendInt(append(b, `,"completion_tokens":`...), s.out, 10)
	b = strconv.AppendInt(append(b, `,"total_tokens":`...), in+s.out, 10)
	b = append(b, `,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":`...)
	b = strconv.AppendInt(b, s.think, 10)
	return append(b, `,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`...)
}

func chatFinish(s stop) string {
	switch s {
	case stopLength:
		return "length"
	case stopCalls:
		return "tool_calls"
	default:
		return "stop"
	}
}

// chatStream sends one choice after the other; the vendor interleaves them, clients must not care.
func (x *exchange) chatStream(q *chatRequest) {
	first := q.perform(x.s.opt.Seed, 0)
	head := chatHead([]byte(`data: {"id":`), first, "chat.completion.chunk", q.model)
	head = append(head, `,"service_tier":"default","system_fingerprint":"fp_causewayfake","choices":[`...)
	tail := "]}\n\n"
	if q.usage {
		tail = "],\"usage\":null}\n\n"
	}
	x.stream("text/event-stream; charset=utf-8", append(x.v.render([]byte("data: "), x.v.broken(), x.id), "\n\n"...))
	b := slices.Clone(head)
	chunk := func(i int, finish string, delta func(b []byte) []byte) {
		b = strconv.AppendInt(append(b[:len(head)], `{"index":`...), int64(i), 10)
		b = append(delta(append(b, `,"delta":{`...)), `},"logprobs":null,"finish_reason":`...)
		b = append(append(appendOrNull(b, finish), '}'), tail...)
		x.send(b)
	}
	var sum script
	for i := range int(q.n) {
		s := first
		if i > 0 {
			s = q.perform(x.s.opt.Seed, i)
		}
		sum.out += s.out
		sum.think += s.think
		if len(s.calls) == 0 {
			chunk(i, "", func(b []byte) []byte { return append(b, `"role":"assistant","content":"","refusal":null`...) })
		}
		for _, t := range s.tokens {
			x.token()
			chunk(i, "", func(b []byte) []byte { return appendString(append(b, `"content":`...), t) })
		}
		for j, c := range s.calls {
			x.token()
			chunk(i, "", func(b []byte) []byte {
				if j == 0 {
					b = append(b, `"role":"assistant","content":null,`...)
				}
				b = strconv.AppendInt(append(b, `"tool_calls":[{"index":`...), int64(j), 10)
				b = appendString(append(b, `,"id":`...), s.rng.id("call_", 24))
				b = appendString(append(b, `,"type":"function","function":{"name":`...), c.name)
				b = append(b, `,"arguments":""}}]`...)
				if j == 0 {
					b = append(b, `,"refusal":null`...)
				}
				return b
			})
			for _, t := range c.pieces {
				x.token()
				chunk(i, "", func(b []byte) []byte {
					b = strconv.AppendInt(append(b, `"tool_calls":[{"index":`...), int64(j), 10)
					return append(appendString(append(b, `,"function":{"arguments":`...), t), `}}]`...)
				})
			}
		}
		chunk(i, chatFinish(s.stop), func(b []byte) []byte { return b })
	}
	if q.usage {
		b = append(chatUsage(append(b[:len(head)], `],"usage":`...), q.tokens, &sum), "}\n\n"...)
		x.send(b)
	}
	x.send([]byte("data: [DONE]\n\n"))
}

// openAIModel refuses names that are not served. Responses answers 400 where chat answers 404.
func (x *exchange) openAIModel(model string, status int) *problem {
	if known(model) {
		return nil
	}
	p := &problem{status: status, code: "model_not_found"}
	if status == http.StatusNotFound {
		p.message = "The model `" + clip(model, 100) + "` does not exist or you do not have access to it."
	} else {
		p.param, p.message = "model", "The requested model '"+clip(model, 100)+"' does not exist."
	}
	return p
}
