// Package fake is the built-in provider: one HTTP server that speaks all four dialects as the
// vendors do, with scripted, deterministic answers. `causeway dev` runs on it, tests and benchmarks
// call it. Equal requests get byte-equal bodies: ids and creation times are derived from the
// request, the model and the seed, never from the clock.
//
// A prompt steers its answer: "reply with exactly: X" is answered with X, "fake:tokens=N" makes the
// answer N tokens long, "use the tool" (with tools offered) calls every offered tool's first one.
// Models named fake-429, fake-500, … fail in the way that their name says; see FailureModels.
package fake

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Options configure a server. The zero value accepts any key and answers without delay.
type Options struct {
	Country    string   // where it says that it processes; "" = US
	Keys       []string // accepted credentials; none = any that is not empty
	TokenDelay time.Duration
	FirstToken time.Duration
	Seed       uint64 // other seeds give other answers
	Log        zerolog.Logger
}

// Server is an http.Handler. It is safe for concurrent use and starts no goroutine of its own.
type Server struct {
	opt  Options
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

// ServeHTTP answers every wire path under one base URL.
func (s *Server) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.seq.Add(1)
	s.busy.Add(1)
	defer s.busy.Add(-1)
	w.Header().Set("x-causeway-fake-country", s.opt.Country)
	w.WriteHeader(http.StatusNotFound)
}
