// Package fake is the built-in provider: one HTTP server that speaks all four dialects as the
// vendors do, with scripted, deterministic answers. `causeway dev` runs on it, tests and benchmarks
// call it. Equal requests get byte-equal bodies: ids and creation times are derived from the
// conversation, the model and the seed, never from the clock.
//
// A prompt steers its answer (in its first or last KiB): "reply with exactly: X" is answered with X, "fake:tokens=N" makes the
// answer N tokens long. With tools offered, "use the tool" calls the first one, "use the NAME tool"
// that one ("... with {JSON}": with these arguments) and "use the tools" all of them; a tool result is answered with text. Models named
// fake-429, fake-500, … fail in the way that their name says; see FailureModels.
package fake

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Options configure a server. The zero value accepts any key and answers without delay.
type Options struct {
	Country    string        // where it says that it processes; "" = US
	Keys       []string      // accepted credentials; none = any that is not empty
	TokenDelay time.Duration // between two tokens
	FirstToken time.Duration // before the first
	Seed       uint64        // other seeds give other answers
	Log        zerolog.Logger
}

// Server is an http.Handler. It is safe for concurrent use and starts no goroutine of its own.
type Server struct {
	opt  Options
	kept store
	seq  atomic.Uint64
	busy atomic.Int64
}

// New makes a server.
func New(opt Options) *Server {
	if opt.Country == "" {
		opt.Country = "US"
	}
	return &Server{opt: opt}
}

// Inflight is how many requests are being answered: tests use it to see that a cancelled one ended.
func (s *Server) Inflight() int64 { return s.busy.Load() }

// Requests is how many requests have arrived.
func (s *Server) Requests() uint64 { return s.seq.Load() }

// maxBody is what the vendors take: 32 MB (Anthropic's documented limit).
const maxBody = 32 << 20

// ServeHTTP answers every wire path under one base URL (OpenAI clients use it with /v1 appended).
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.seq.Add(1)
	s.busy.Add(1)
	defer s.busy.Add(-1)

	x := exchange{s: s, w: w, r: r}
	serve := x.route()
	x.id = requestID(x.v, n)
	if p := x.authorise(); p != nil {
		x.refuse(p)
		return
	}
	if serve == nil {
		x.refuse(x.lost())
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodDelete {
		buf := bodies.Get()
		defer bodies.Put(buf)
		b, err := readBody(r, buf)
		switch {
		case errors.Is(err, errTooLarge):
			x.refuse(&problem{status: http.StatusRequestEntityTooLarge, message: "Request exceeds the maximum size"})
			return
		case err != nil:
			x.refuse(bad("The request body could not be read."))
			return
		}
		x.body = b
	}
	if p := serve(); p != nil {
		s.opt.Log.Debug().Str("path", r.URL.Path).Int("status", p.status).Str("code", p.code).Msg("fake provider refuses")
		x.refuse(p)
	}
}

func requestID(v vendor, n uint64) string {
	if v == vendorAnthropic {
		return "req_011fake" + strconv.FormatUint(n, 10)
	}
	return "req_fake" + strconv.FormatUint(n, 10)
}

// route finds the vendor and the operation; nil when there is none at that path with that method.
func (x *exchange) route() func() *problem {
	path, post, get := x.r.URL.Path, x.r.Method == http.MethodPost, x.r.Method == http.MethodGet
	switch path {
	case "/v1/chat/completions":
		return when(post, x.chat)
	case "/v1/responses":
		return when(post, x.responses)
	case "/v1/responses/input_tokens":
		return when(post, x.inputTokens)
	case "/v1/embeddings":
		return when(post, x.embeddings)
	case "/v1/conversations", "/v1/files", "/v1/uploads", "/v1/batches", "/v1/messages/batches", "/v1beta/files", "/v1beta/cachedContents", "/upload/v1beta/files":
		return x.storedRoute(path)
	case "/v1/completions":
		return when(post, x.completions)
	case "/v1/moderations":
		return when(post, x.moderations)
	case "/v1/images/generations":
		return when(post, x.images)
	case "/v1/images/edits":
		return when(post, x.editImage)
	case "/v1/images/variations":
		return when(post, x.varyImage)
	case "/v1/audio/speech":
		return when(post, x.speech)
	case "/v1/audio/transcriptions", "/v1/audio/translations":
		return when(post, x.transcribe)
	case "/v1/responses/compact":
		return when(post, x.compact)
	case "/v1/messages":
		x.v = vendorAnthropic
		return when(post, x.messages)
	case "/v1/messages/count_tokens":
		x.v = vendorAnthropic
		return when(post, x.countTokens)
	}
	version, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	name, ok := strings.CutPrefix(rest, "models")
	if f := x.storedRoute(path); f != nil {
		return f
	}
	if !ok || (name != "" && name[0] != '/') || (version != "v1" && version != "v1beta") {
		if version == "v1beta" {
			x.v = vendorGoogle
		}
		return nil
	}
	name = strings.TrimPrefix(name, "/")
	model, verb, hasVerb := strings.Cut(name, ":")
	switch {
	case hasVerb, version == "v1beta", x.r.Header.Get("X-Goog-Api-Key") != "", x.r.URL.Query().Has("key"):
		x.v = vendorGoogle
	case x.r.Header.Get("Anthropic-Version") != "":
		x.v = vendorAnthropic
	}
	switch {
	case hasVerb:
		return when(post, x.gemini(version, model, verb))
	case name == "":
		return when(get, x.list)
	default:
		return when(get, func() *problem { return x.one(name) })
	}
}

func when(ok bool, f func() *problem) func() *problem {
	if ok {
		return f
	}
	return nil
}

func (x *exchange) lost() *problem {
	if x.v == vendorOpenAI {
		return &problem{status: http.StatusNotFound, message: "Invalid URL (" + x.r.Method + " " + clip(x.r.URL.Path, 200) + ")"}
	}
	return &problem{status: http.StatusNotFound, message: "Not found"}
}

// credential is what the caller sent where the vendor looks for it.
func (x *exchange) credential() string {
	bearer, _ := strings.CutPrefix(x.r.Header.Get("Authorization"), "Bearer ")
	key := bearer
	switch x.v {
	case vendorAnthropic: // x-api-key wins when both are there
		if k := x.r.Header.Get("X-Api-Key"); k != "" {
			key = k
		}
	case vendorGoogle:
		if k := x.r.Header.Get("X-Goog-Api-Key"); k != "" {
			key = k
		} else if k := x.r.URL.Query().Get("key"); k != "" {
			key = k
		}
	}
	return key
}

// authorise checks the credential.
func (x *exchange) authorise() *problem {
	key := x.credential()
	switch {
	case key == "":
		return x.v.noKey()
	case len(x.s.opt.Keys) > 0 && !slices.Contains(x.s.opt.Keys, key):
		return x.v.badKey(key)
	}
	return nil
}

var errTooLarge = errors.New("body too large")

// bodies pools request buffers: nothing of a body outlives its exchange.
var bodies = bufferPool{}

func readBody(r *http.Request, buf *bytes.Buffer) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, errTooLarge
	}
	if _, err := buf.ReadFrom(io.LimitReader(r.Body, maxBody+1)); err != nil {
		return nil, err
	}
	if buf.Len() > maxBody {
		return nil, errTooLarge
	}
	return buf.Bytes(), nil
}
