// Package floor holds the bare programs that Causeway is measured against: what the same work costs
// with nothing but the standard library or quic-go in between. They are floors, not products: no
// authentication, no limits, no records.
package floor

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// The programs that Main can run.
const (
	Mock     = "mock"      // a fast scripted provider
	GoProxy  = "goproxy"   // one hop: httputil.ReverseProxy
	QUICEdge = "quic-edge" // two hops: net/http to one QUIC stream per request ...
	QUICExit = "quic-exit" // ... and from there to the provider
)

// Ready is the line that a program writes once it listens, followed by its address and a newline.
const Ready = "listening "

// Main runs one program: PROGRAM [--listen ADDR] [--next URL-or-ADDR]. It writes Ready and the
// address to stdout and serves until ctx ends.
func Main(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("floor: name a program: %s, %s, %s or %s", Mock, GoProxy, QUICEdge, QUICExit)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	listen := flags.String("listen", "127.0.0.1:0", "address to listen on")
	next := flags.String("next", "", "where requests go")
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("floor %s: %w", args[0], err)
	}
	ready := func(a net.Addr) error {
		_, err := fmt.Fprintf(stdout, "%s%s\n", Ready, a)
		return err
	}
	switch args[0] {
	case Mock:
		return serveHTTP(ctx, *listen, NewMock(), ready)
	case GoProxy:
		h, err := NewGoProxy(*next)
		if err != nil {
			return err
		}
		return serveHTTP(ctx, *listen, h, ready)
	case QUICEdge:
		e, err := dialExit(ctx, *next)
		if err != nil {
			return err
		}
		return serveHTTP(ctx, *listen, e, ready)
	case QUICExit:
		return serveExit(ctx, *listen, *next, ready)
	}
	return fmt.Errorf("floor: no program %q", args[0])
}

func serveHTTP(ctx context.Context, addr string, h http.Handler, ready func(net.Addr) error) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("floor: listen: %w", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := ready(ln.Addr()); err != nil {
		return errors.Join(err, ln.Close())
	}
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("floor: serve: %w", err)
	}
	return nil
}

// transport is the upstream side of both floors.
func transport() *http.Transport {
	return &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: 1024, IdleConnTimeout: time.Minute, DisableCompression: true}
}

// NewGoProxy is the bare reverse proxy: the one-hop floor.
func NewGoProxy(next string) (http.Handler, error) {
	u, err := url.Parse(next)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("floor: --next %q is not a URL", next)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(u) },
		FlushInterval: -1,
		Transport:     transport(),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Without this a provider that answers at once loses a stream in about 500: the server closes
		// the request's body at the first response byte, while the transport still looks for its end.
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			http.Error(w, "no full duplex", http.StatusInternalServerError)
			return
		}
		proxy.ServeHTTP(w, r)
	}), nil
}
