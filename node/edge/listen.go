package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

const (
	headerTimeout = 10 * time.Second // a client that trickles its header is cut off
	idleTimeout   = 2 * time.Minute
)

// ListenConfig is how the client API is reached.
type ListenConfig struct {
	TCP            net.Listener
	UDP            net.PacketConn // HTTP/3, on the same port; nil = none. Ignored without TLS.
	TLS            *tls.Config    // nil = plain text, HTTP/1.1 and HTTP/2 with prior knowledge
	MaxHeader      int            // bytes of all header fields together
	TrustedProxies []netip.Prefix // whose PROXY protocol header is believed
	Log            zerolog.Logger
}

// Listener serves the client API over HTTP/1.1, HTTP/2 and HTTP/3.
type Listener struct {
	cfg  ListenConfig
	http *http.Server
	h3   *http3.Server
}

// NewListener makes a listener for h; Serve starts it.
func NewListener(h http.Handler, cfg ListenConfig) *Listener {
	l := &Listener{cfg: cfg}
	if cfg.MaxHeader <= 0 {
		cfg.MaxHeader = 64 << 10
	}
	if cfg.TLS != nil && cfg.UDP != nil {
		l.h3 = &http3.Server{
			Handler: h, TLSConfig: http3.ConfigureTLSConfig(cfg.TLS), MaxHeaderBytes: cfg.MaxHeader, IdleTimeout: idleTimeout,
			QUICConfig: &quic.Config{MaxIncomingStreams: 1000, MaxIdleTimeout: idleTimeout},
		}
		h = l.advertise(h)
	}
	l.http = &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: cfg.MaxHeader,
		TLSConfig: cfg.TLS, ErrorLog: nil, Protocols: new(http.Protocols),
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000},
	}
	l.http.ErrorLog = stdLogger(cfg.Log)
	l.http.Protocols.SetHTTP1(true)
	if cfg.TLS != nil {
		l.http.Protocols.SetHTTP2(true)
	} else {
		l.http.Protocols.SetUnencryptedHTTP2(true)
	}
	return l
}

// advertise tells clients on TCP that HTTP/3 is there.
func (l *Listener) advertise(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = l.h3.SetQUICHeaders(w.Header())
		h.ServeHTTP(w, r)
	})
}

// Serve blocks until Shutdown or a listener fails.
func (l *Listener) Serve() error {
	var g errgroup.Group
	g.Go(func() error {
		tcp := net.Listener(&proxyListener{Listener: l.cfg.TCP, trusted: l.cfg.TrustedProxies})
		var err error
		if l.cfg.TLS != nil {
			err = l.http.ServeTLS(tcp, "", "")
		} else {
			err = l.http.Serve(tcp)
		}
		return ended("client API", err)
	})
	if l.h3 != nil {
		g.Go(func() error { return ended("client API over HTTP/3", l.h3.Serve(l.cfg.UDP)) })
	}
	return g.Wait()
}

func ended(what string, err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, quic.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", what, err)
}

// Shutdown stops accepting and waits for running requests until ctx ends, then closes what is left.
func (l *Listener) Shutdown(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error {
		if err := l.http.Shutdown(ctx); err != nil {
			return l.http.Close()
		}
		return nil
	})
	if l.h3 != nil {
		g.Go(func() error {
			if err := l.h3.Shutdown(ctx); err != nil {
				return l.h3.Close()
			}
			return nil
		})
	}
	return g.Wait()
}
