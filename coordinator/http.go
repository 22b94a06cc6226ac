package coordinator

import (
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// httpServer has the limits of an API for people and nodes. There is no write timeout: long polls.
func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          log.New(quiet{s.cfg.Log}, "", 0),
	}
}

// quiet takes what net/http has to say, mostly handshakes of strangers, as debug lines.
type quiet struct{ log zerolog.Logger }

// Write implements io.Writer.
func (q quiet) Write(p []byte) (int, error) {
	q.log.Debug().Msg(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (s *Server) tlsListener(l net.Listener) net.Listener {
	return tls.NewListener(l, s.m.identity.HTTPServerConfig())
}

// APIHandler serves /v1, /livez and /readyz, and Config.Extra for the rest.
func (s *Server) APIHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.Override != nil {
			if h := s.cfg.Override(r.URL.Path); h != nil {
				h.ServeHTTP(w, r)
				return
			}
		}
		switch p := r.URL.Path; {
		case strings.HasPrefix(p, "/v1/") || p == "/v1":
			s.api.ServeHTTP(w, r)
		case p == "/livez":
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			fmt.Fprintln(w, "ok")
		case p == "/readyz":
			s.readyz(w, r)
		case s.cfg.Extra != nil:
			s.cfg.Extra.ServeHTTP(w, r)
		default:
			s.api.ServeHTTP(w, r) // answers 404 as a problem
		}
	})
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	why := s.api.Ready()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(why) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if r.URL.Query().Has("verbose") {
		for _, reason := range why {
			fmt.Fprintln(w, "[-]", reason)
		}
		id, _ := s.raft.Leader()
		fmt.Fprintf(w, "[+] member %s, leader %s, term %d, index %d\n", s.m.Node, id, s.raft.Term(), s.raft.Index())
	}
	if len(why) > 0 {
		fmt.Fprintln(w, "unavailable")
	} else {
		fmt.Fprintln(w, "ok")
	}
}
