package fake

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// exchange is one request being answered.
type exchange struct {
	s      *Server
	w      http.ResponseWriter
	r      *http.Request
	v      vendor
	id     string
	body   []byte
	flush  http.Flusher
	model  string
	tokens int // sent so far, for the failure models
	fault  []byte
	live   bool // a stream has begun
}

// fakeEpoch is when every scripted answer was "created": 2026-11-22T00:00:00Z.
const fakeEpoch = 1795305600

// headers sets what the vendor sends with every answer.
func (x *exchange) headers() http.Header {
	h := x.w.Header()
	switch x.v {
	case vendorAnthropic:
		h["Request-Id"] = []string{x.id}
		h["Anthropic-Organization-Id"] = fakeOrg
	case vendorGoogle:
		h["Server-Timing"] = []string{"gfet4t7; dur=1"}
	default:
		h["X-Request-Id"] = []string{x.id}
		h["Openai-Version"] = []string{"2020-10-01"}
		h["Openai-Organization"] = fakeOrg
		h["Openai-Processing-Ms"] = []string{"1"}
	}
	if x.v != vendorAnthropic {
		h["X-Causeway-Fake-Country"] = []string{x.s.opt.Country}
	}
	return h
}

var fakeOrg = []string{"org-causeway-fake"} // shared, never written

// limits sets the vendor's rate-limit headers, with the account's (large) numbers.
func (x *exchange) limits(h http.Header) {
	switch x.v {
	case vendorAnthropic:
		reset := time.Now().UTC().Add(time.Second).Format(time.RFC3339)
		for _, kind := range [...]string{"Input-Tokens", "Output-Tokens", "Requests", "Tokens"} {
			p := "Anthropic-Ratelimit-" + kind
			h[p+"-Limit"], h[p+"-Remaining"], h[p+"-Reset"] = []string{"2000000"}, []string{"1999000"}, []string{reset}
		}
	case vendorOpenAI:
		h["X-Ratelimit-Limit-Requests"], h["X-Ratelimit-Remaining-Requests"] = []string{"30000"}, []string{"29999"}
		h["X-Ratelimit-Limit-Tokens"], h["X-Ratelimit-Remaining-Tokens"] = []string{"150000000"}, []string{"149999900"}
		h["X-Ratelimit-Reset-Requests"], h["X-Ratelimit-Reset-Tokens"] = []string{"2ms"}, []string{"0s"}
	}
}

// json answers with a complete body. OpenAI and Google indent theirs.
func (x *exchange) json(status int, b []byte) {
	if x.v != vendorAnthropic {
		v := jsontext.Value(b)
		if v.Indent(jsontext.WithIndent("  ")) == nil {
			b = append(v, '\n')
		}
	}
	h := x.headers()
	if x.v == vendorGoogle {
		h["Content-Type"] = []string{"application/json; charset=UTF-8"}
	} else {
		h["Content-Type"] = []string{"application/json"}
	}
	if status == http.StatusOK {
		x.limits(h)
	}
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	x.w.WriteHeader(status)
	if x.model == "fake-midstream" && status == http.StatusOK {
		_, _ = x.w.Write(b[:len(b)/2])
		x.abort()
	}
	_, _ = x.w.Write(b)
}

func (x *exchange) refuse(p *problem) {
	h := x.w.Header()
	if p.after > 0 && x.v != vendorGoogle {
		h["Retry-After"] = []string{strconv.Itoa(p.after)}
		if x.v == vendorOpenAI {
			h["Retry-After-Ms"] = []string{strconv.Itoa(p.after * 1000)}
		}
	}
	if x.v == vendorAnthropic {
		h["X-Should-Retry"] = []string{strconv.FormatBool(p.status == http.StatusTooManyRequests || p.status >= 500)}
	}
	x.json(p.status, x.v.render(nil, p, x.id))
}

// abort breaks the connection so that the client cannot take the answer for complete.
func (x *exchange) abort() {
	if x.flush != nil {
		x.flush.Flush()
	}
	panic(http.ErrAbortHandler)
}

// sleep waits d, or until the client has gone: then it ends the handler.
func (x *exchange) sleep(d time.Duration) {
	ctx := x.r.Context()
	if d <= 0 {
		if ctx.Err() != nil {
			panic(http.ErrAbortHandler)
		}
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}

// begin plays the failure models that act before any answer, and the wait for the first token.
func (x *exchange) begin(model string) bool {
	x.model = model
	if p := x.v.failure(model); p != nil {
		x.refuse(p)
		return false
	}
	if model == "fake-hang" {
		<-x.r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	first, _ := x.pace()
	x.sleep(first)
	return true
}

func (x *exchange) pace() (first, each time.Duration) {
	first, each = x.s.opt.FirstToken, x.s.opt.TokenDelay
	if x.model == "fake-slow" {
		first, each = first+1500*time.Millisecond, each+100*time.Millisecond
	}
	return first, each
}

// unary waits as long as the tokens would have taken, then answers.
func (x *exchange) unary(s *script, b []byte) {
	_, each := x.pace()
	x.sleep(each * time.Duration(s.out))
	if x.model == "fake-error" {
		x.refuse(x.v.broken())
		return
	}
	x.json(http.StatusOK, b)
}

// stream starts an event stream. fault is the dialect's in-stream error event, for fake-error.
func (x *exchange) stream(contentType string, fault []byte) {
	h := x.headers()
	h["Content-Type"] = []string{contentType}
	h["Cache-Control"] = []string{"no-cache"}
	x.limits(h)
	x.fault, x.live = fault, true
	x.w.WriteHeader(http.StatusOK)
	x.flush, _ = x.w.(http.Flusher)
	if x.flush != nil {
		x.flush.Flush()
	}
}

// token is called before each token's event; it paces the stream and plays the failures. A unary
// answer waits once, for all of them.
func (x *exchange) token() {
	if !x.live {
		return
	}
	if x.tokens == failAfter {
		switch x.model {
		case "fake-midstream":
			x.abort()
		case "fake-error":
			x.send(x.fault)
			panic(http.ErrAbortHandler)
		}
	}
	if x.tokens++; x.tokens > 1 {
		_, each := x.pace()
		x.sleep(each)
	}
}

const failAfter = 3

// send writes one event and flushes it.
func (x *exchange) send(b []byte) {
	if _, err := x.w.Write(b); err != nil {
		panic(http.ErrAbortHandler)
	}
	if x.flush != nil {
		x.flush.Flush()
	}
}
