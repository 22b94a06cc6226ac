package fake

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const googleContext = 1_048_576

// gemini answers POST /{v1|v1beta}/models/{model}:{verb}.
func (x *exchange) gemini(version, model, verb string) func() *problem {
	return func() *problem {
		var err error
		q := &geminiRequest{}
		q.model = model
		switch verb {
		case "generateContent", "streamGenerateContent":
			err = readObject(x.body, q.member)
		case "countTokens":
			err = readObject(x.body, q.countMember)
		case "embedContent", "batchEmbedContents":
			return x.geminiEmbed(model, verb)
		default:
			return &problem{status: http.StatusNotFound, message: "Method not found: " + clip(verb, 40)}
		}
		if err != nil {
			return x.v.problemOf(err)
		}
		if !known(model) {
			return geminiLost(version, model, verb)
		}
		if p := q.check(); p != nil {
			return p
		}
		if !x.begin(model) {
			return nil
		}
		if verb == "countTokens" {
			b := strconv.AppendInt([]byte(`{"totalTokens":`), q.tokens, 10)
			b = strconv.AppendInt(append(b, `,"promptTokensDetails":[{"modality":"TEXT","tokenCount":`...), q.tokens, 10)
			x.json(http.StatusOK, append(b, `}]}`...))
			return nil
		}
		s := q.perform(x.s.opt.Seed, 0)
		if !q.shown {
			s.thoughts = nil
		}
		w := &geminiWriter{x: x, q: q, s: s, id: s.rng.id("", 23)}
		if verb == "streamGenerateContent" {
			w.stream(x.r.URL.Query().Get("alt") == "sse")
			return nil
		}
		w.sent = s.out
		parts := w.thoughtPart(nil, s.thought())
		for i, c := range s.calls {
			parts = w.callPart(comma(parts, 0), c, i)
		}
		if len(s.tokens) > 0 {
			parts = w.textPart(comma(parts, 0), s.text(), true)
		}
		x.unary(s, w.frame(nil, parts, true))
		return nil
	}
}

func geminiLost(version, model, verb string) *problem {
	return &problem{
		status: http.StatusNotFound,
		message: fmt.Sprintf("models/%s is not found for API version %s, or is not supported for %s. Call ListModels to see the list of available models and their supported methods.",
			clip(model, 100), version, verb),
	}
}

type geminiWriter struct {
	x    *exchange
	q    *geminiRequest
	s    *script
	id   string
	sent int64 // output tokens so far, thoughts included
	sig  string
}

func (w *geminiWriter) thoughtPart(b []byte, text string) []byte {
	if text == "" {
		return b
	}
	return append(appendString(append(b, `{"text": `...), text), `,"thought": true}`...)
}

func (w *geminiWriter) callPart(b []byte, c call, i int) []byte {
	b = appendString(append(b, `{"functionCall": {"name": `...), c.name)
	b = append(append(append(b, `,"args": `...), c.args...), '}')
	if i == 0 && w.thinks() {
		b = w.signature(b) // only the first of parallel calls is signed
	}
	return append(b, '}')
}

func (w *geminiWriter) textPart(b []byte, text string, last bool) []byte {
	b = appendString(append(b, `{"text": `...), text)
	if last && w.thinks() {
		b = w.signature(b)
	}
	return append(b, '}')
}

func (w *geminiWriter) signature(b []byte) []byte {
	if w.sig == "" {
		w.sig = w.s.rng.id("CfakeS", 154)
	}
	return appendString(append(b, `,"thoughtSignature": `...), w.sig)
}

// thinks reports whether the model signs its parts.
func (w *geminiWriter) thinks() bool { return w.q.think || strings.HasPrefix(w.q.model, "gemini-3") }

// frame writes one GenerateContentResponse with the vendor's own spacing.
func (w *geminiWriter) frame(b, parts []byte, last bool) []byte {
	b = append(b, `{"candidates": [{"content": {`...)
	if len(parts) > 0 {
		b = append(append(append(b, `"parts": [`...), parts...), `],`...)
	}
	b = append(b, `"role": "model"}`...)
	if last {
		reason := "STOP"
		if w.s.stop == stopLength {
			reason = "MAX_TOKENS"
		}
		b = append(append(append(b, `,"finishReason": "`...), reason...), '"')
	}
	b = append(b, `,"index": 0`...)
	if last && w.s.stop == stopCalls {
		b = append(b, `,"finishMessage": "Model generated function call(s)."`...)
	}
	in, thoughts := w.q.tokens, min(w.s.think, w.sent)
	b = strconv.AppendInt(append(b, `}],"usageMetadata": {"promptTokenCount": `...), in, 10)
	if out := w.sent - thoughts; out > 0 {
		b = strconv.AppendInt(append(b, `,"candidatesTokenCount": `...), out, 10)
	}
	b = strconv.AppendInt(append(b, `,"totalTokenCount": `...), in+w.sent, 10)
	b = strconv.AppendInt(append(b, `,"promptTokensDetails": [{"modality": "TEXT","tokenCount": `...), in, 10)
	b = append(b, `}]`...)
	if thoughts > 0 {
		b = strconv.AppendInt(append(b, `,"thoughtsTokenCount": `...), thoughts, 10)
	}
	b = appendString(append(b, `,"serviceTier": "standard"},"modelVersion": `...), w.q.model)
	return append(appendString(append(b, `,"responseId": `...), w.id), '}')
}

// stream writes SSE frames with CRLF, or without alt=sse one JSON array, element by element.
func (w *geminiWriter) stream(sse bool) {
	x, s := w.x, w.s
	frames, b := 0, []byte(nil)
	fault := x.v.render(nil, x.v.broken(), x.id)
	if sse {
		x.stream("text/event-stream", append(append([]byte("data: "), fault...), "\r\n\r\n"...))
	} else {
		x.stream("application/json; charset=UTF-8", append(append([]byte(",\n"), fault...), "\n]"...))
	}
	emit := func(parts []byte, last bool) {
		switch {
		case sse:
			b = append(w.frame(append(b[:0], "data: "...), parts, last), "\r\n\r\n"...)
		default:
			v := jsontext.Value(w.frame(nil, parts, last))
			_ = v.Indent(jsontext.WithIndent("  "))
			sep := "\n,\n"
			if frames == 0 {
				sep = "["
			}
			if b = append(append(b[:0], sep...), v...); last {
				b = append(b, "\n]"...)
			}
		}
		frames++
		x.send(b)
	}
	w.sent = s.think - int64(len(s.thoughts)) // those that are not shown
	for _, t := range s.thoughts {
		x.token()
		w.sent++
		emit(w.thoughtPart(nil, t), false)
	}
	for i, c := range s.calls {
		x.token()
		w.sent += int64(len(c.pieces)) + 7
		emit(w.callPart(nil, c, i), i == len(s.calls)-1)
	}
	late := w.thinks() || len(s.tokens) == 0
	for i, t := range s.tokens {
		x.token()
		w.sent++
		emit(w.textPart(nil, t, false), !late && i == len(s.tokens)-1)
	}
	switch {
	case len(s.calls) > 0 || !late:
	case len(s.tokens) == 0:
		emit(nil, true)
	default:
		emit(w.textPart(nil, "", true), true)
	}
}
