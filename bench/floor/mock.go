package floor

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Script says what the mock answers; it rides in the prompt's text, which every relay leaves alone:
// "chunks=200 gap=1000" (gap in microseconds).
const (
	scriptChunks = "chunks="
	scriptGap    = "gap="
)

// Stamp opens the text of every chunk, followed by 19 digits: when it was sent, in Unix nanoseconds.
const Stamp = `"content":"@`

const answer = `{"id":"chatcmpl-bench","object":"chat.completion","created":1763800000,"model":"bench","choices":[{"index":0,` +
	`"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog and then it sleeps."},"finish_reason":"stop"}],` +
	`"usage":{"prompt_tokens":100,"completion_tokens":16,"total_tokens":116}}`

const (
	chunkHead = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1763800000,"model":"bench","choices":[{"index":0,"delta":{` + Stamp
	chunkTail = ` token"},"finish_reason":null}]}` + "\n\n"
	finish    = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1763800000,"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	usage     = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1763800000,"model":"bench","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":200,"total_tokens":300}}` + "\n\n"
	done      = "data: [DONE]\n\n"
)

// NewMock is a provider that speaks OpenAI chat as fast as net/http can.
func NewMock() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Contains(body, []byte(`"messages"`)) {
			http.Error(w, `{"error":{"message":"bad request","type":"invalid_request_error"}}`, http.StatusBadRequest)
			return
		}
		if !bytes.Contains(body, []byte(`"stream":true`)) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
			io.WriteString(w, answer)
			return
		}
		stream(w, r, script(body, scriptChunks, 20), time.Duration(script(body, scriptGap, 0))*time.Microsecond,
			bytes.Contains(body, []byte(`"include_usage":true`)))
	})
}

func stream(w http.ResponseWriter, r *http.Request, chunks int, gap time.Duration, withUsage bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	tick := time.NewTimer(0)
	defer tick.Stop()
	<-tick.C
	due := time.Now()
	buf := make([]byte, 0, 256)
	for i := range chunks {
		if i > 0 && gap > 0 {
			due = due.Add(gap)
			tick.Reset(time.Until(due))
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
		buf = append(buf[:0], chunkHead...)
		buf = strconv.AppendInt(buf, time.Now().UnixNano(), 10)
		buf = append(buf, chunkTail...)
		if _, err := w.Write(buf); err != nil {
			return
		}
		if flush() != nil {
			return
		}
	}
	buf = append(buf[:0], finish...)
	if withUsage {
		buf = append(buf, usage...)
	}
	buf = append(buf, done...)
	w.Write(buf)
}

// script reads a number of the prompt's script.
func script(body []byte, name string, otherwise int) int {
	_, rest, ok := bytes.Cut(body, []byte(name))
	if !ok {
		return otherwise
	}
	n := 0
	for n < len(rest) && n < 9 && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	v, err := strconv.Atoi(string(rest[:n]))
	if err != nil {
		return otherwise
	}
	return v
}
