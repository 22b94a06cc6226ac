// Package upstream is one provider endpoint: pooled connections, a timeout for every stage, a
// credential per call, and every failure as a fault that says how far the request had come.
//
// It asks for uncompressed answers, because usage is read from every one of them and a stream must
// not sit in a compressor. A provider that compresses all the same is decoded here under a size
// limit when it used gzip; another coding is passed through untouched with its header.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/lend"
)

// AuthScheme is how a provider wants its key.
type AuthScheme string

// The schemes, as mesh.yaml spells them.
const (
	Bearer  AuthScheme = "bearer"
	XAPIKey AuthScheme = "x-api-key"
	XGoog   AuthScheme = "x-goog-api-key"
)

// Timeouts bound the stages of one call; a zero field takes its default.
type Timeouts struct {
	Connect   time.Duration // name lookup, TCP and TLS; 5 s
	FirstByte time.Duration // from a connection in hand to the answer's header; 120 s
	Gap       time.Duration // between reads of the body, counted only while the caller reads; 120 s
	Total     time.Duration // everything; 600 s
}

func (t Timeouts) withDefaults() Timeouts {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&t.Connect, 5*time.Second)
	def(&t.FirstByte, 120*time.Second)
	def(&t.Gap, 120*time.Second)
	def(&t.Total, 600*time.Second)
	return t
}

// Limits on what a provider may send.
const (
	MaxErrorBody  = 64 << 10  // of an error answer, decoded
	MaxUnaryBody  = 64 << 20  // of any other answer that is not a stream, decoded
	maxHeader     = 128 << 10 // of an answer's header block
	defaultIdle   = 64
	idleTimeout   = 90 * time.Second
	pingAfter     = 15 * time.Second // HTTP/2: an idle connection is probed, so a dead one is never used
	pingTimeout   = 5 * time.Second
	keepAliveTime = 30 * time.Second
)

// DialFunc opens a connection as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Config describes one endpoint.
type Config struct {
	BaseURL      string // http or https, may carry a path prefix; as the vendor's SDK takes it
	Scheme       AuthScheme
	Timeouts     Timeouts
	Transport    http.RoundTripper // nil = an own pooled one
	MaxIdle      int               // idle connections kept; 0 = 64
	TLS          *tls.Config       // for the own transport; nil = system roots
	Dial         DialFunc          // for the own transport; nil = the system's
	ProxyFromEnv bool              // honour HTTPS_PROXY; off by default, the path bytes take is policy
}

// Client calls one endpoint. It is safe for concurrent use.
type Client struct {
	base     url.URL
	prefix   string
	scheme   AuthScheme
	timeouts Timeouts
	rt       http.RoundTripper
	own      *http.Transport
}

// New checks cfg and makes a client. It opens no connection.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("base_url: %w", errors.Unwrap(err)) // url.Error repeats the text, which may hold a password
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("base_url: scheme %q, want http or https", u.Scheme)
	case u.Host == "" || u.Hostname() == "":
		return nil, errors.New("base_url: no host")
	case u.User != nil:
		return nil, errors.New("base_url: must not carry a user or password; use auth.secrets")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, errors.New("base_url: must not carry a query or fragment")
	}
	switch cfg.Scheme {
	case Bearer, XAPIKey, XGoog:
	default:
		return nil, fmt.Errorf("auth scheme %q, want bearer, x-api-key or x-goog-api-key", cfg.Scheme)
	}
	c := &Client{
		base: url.URL{Scheme: u.Scheme, Host: u.Host}, prefix: strings.TrimRight(u.EscapedPath(), "/"),
		scheme: cfg.Scheme, timeouts: cfg.Timeouts.withDefaults(), rt: cfg.Transport,
	}
	if c.rt == nil {
		c.own = newTransport(cfg, c.timeouts)
		c.rt = c.own
	}
	return c, nil
}

func newTransport(cfg Config, t Timeouts) *http.Transport {
	idle := cfg.MaxIdle
	if idle <= 0 {
		idle = defaultIdle
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: t.Connect, KeepAlive: keepAliveTime}).DialContext
	}
	tr := &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        cfg.TLS.Clone(),
		TLSHandshakeTimeout:    t.Connect,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           idle,
		MaxIdleConnsPerHost:    idle,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
		ReadBufferSize:         8 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	if cfg.ProxyFromEnv {
		tr.Proxy = http.ProxyFromEnvironment
	}
	return tr
}

// Close drops the idle connections. Calls in flight are not touched.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// Call is one request to the provider.
type Call struct {
	Method, Path, RawQuery string // Path follows the base URL, escaped, with its leading slash
	Header                 http.Header
	// Body is held by the caller until Do has returned; the transport may hold it for longer.
	Body   lend.Body
	Secret Value
	Stream bool // the answer is expected to be a stream: no limit on its size
}

// Timings are the stages of one call, from its start.
type Timings struct {
	Connect   time.Duration // a connection was in hand
	FirstByte time.Duration // the answer's header had arrived
	Reused    bool          // the connection came from the pool
}

// Response is a provider's answer, whatever its status. The caller must close Body, or read it to
// its end.
type Response struct {
	Status  int
	Header  http.Header // without hop-by-hop, cookie and account-naming fields
	Body    io.ReadCloser
	Timings Timings
}

// Do sends one call and waits for the answer's header. Errors are always *fault.Error: UpstreamUnreached
// (NotSent), UpstreamTimeout, UpstreamProtocol, UpstreamPartial, Canceled or Deadline. Reads of the
// body give faults too, with Phase Partial. Redirects are not followed but are a fault, since a
// redirected request would leave the place that policy allowed. When ctx ends the provider's
// connection is closed (HTTP/2: its stream is reset) at once.
func (c *Client) Do(ctx context.Context, call Call) (*Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, contextFault(ctx, fault.NotSent)
	}
	s := &stage{start: time.Now(), client: ctx, t: c.timeouts}
	cctx, cancel := context.WithCancelCause(ctx)
	s.cancel = cancel
	req, err := c.request(httptrace.WithClientTrace(cctx, s.hooks()), call)
	if err != nil {
		cancel(nil)
		return nil, fault.New(fault.Malformed, "the provider's URL cannot be formed").With(err)
	}
	s.begin()
	resp, err := c.rt.RoundTrip(req)
	s.idle()
	if err != nil {
		s.stop()
		return nil, s.fault(cctx, err)
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		resp.Body.Close()
		s.stop()
		f := fault.New(fault.UpstreamProtocol, "the provider answered with a redirect (%d), which is not followed", resp.StatusCode)
		f.Status = resp.StatusCode
		return nil, f.At(fault.Sent)
	}
	out := &Response{Status: resp.StatusCode, Header: resp.Header, Timings: Timings{
		Connect: time.Duration(s.connected.Load()), FirstByte: time.Since(s.start), Reused: s.reused.Load(),
	}}
	cleanAnswer(out.Header)
	limit := int64(MaxUnaryBody)
	switch {
	case resp.StatusCode >= 400:
		limit = MaxErrorBody
	case call.Stream:
		limit = 0
	}
	b := &body{rc: resp.Body, src: resp.Body, s: s, ctx: cctx, left: limit, limited: limit > 0, truncate: resp.StatusCode >= 400}
	if enc := out.Header.Get("Content-Encoding"); strings.EqualFold(enc, "gzip") || strings.EqualFold(enc, "x-gzip") {
		b.gunzip()
		out.Header.Del("Content-Encoding")
		out.Header.Del("Content-Length")
	}
	out.Body = b
	return out, nil
}

func (c *Client) request(ctx context.Context, call Call) (*http.Request, error) {
	u := c.base
	path := c.prefix + call.Path
	un, err := url.PathUnescape(path)
	if err != nil {
		return nil, errors.New("bad escape in path")
	}
	u.Path, u.RawPath = un, path
	u.RawQuery = QueryWithoutKey(call.RawQuery)
	h := make(http.Header, len(call.Header)+3)
	for name, vv := range call.Header {
		if Forwardable(name) {
			h[http.CanonicalHeaderKey(name)] = vv
		}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // none, rather than Go's own
	}
	h["Accept-Encoding"] = identity
	switch c.scheme {
	case Bearer:
		h["Authorization"] = []string{"Bearer " + call.Secret.Reveal()}
	case XAPIKey:
		h["X-Api-Key"] = []string{call.Secret.Reveal()}
	case XGoog:
		h["X-Goog-Api-Key"] = []string{call.Secret.Reveal()}
	}
	req := (&http.Request{}).WithContext(ctx)
	req.Method, req.URL, req.Header, req.Host = call.Method, &u, h, u.Host
	req.Proto, req.ProtoMajor, req.ProtoMinor = "HTTP/1.1", 1, 1
	if body := call.Body; body.Len() > 0 {
		req.ContentLength = body.Len()
		// The transport repeats a request that met a connection just closed; it does so within RoundTrip.
		req.GetBody = func() (io.ReadCloser, error) { return body.Reader(), nil }
		req.Body = body.Reader()
	}
	return req, nil
}

var identity = []string{"identity"} // shared, never written

// fault classifies what RoundTrip returned.
func (s *stage) fault(ctx context.Context, err error) *fault.Error {
	phase := fault.NotSent
	if s.at.Load() != stConnect {
		phase = fault.Sent
	}
	if f := s.cause(ctx, phase); f != nil {
		return f.With(err)
	}
	if phase == fault.NotSent {
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return fault.New(fault.UpstreamTimeout, "connect: no connection to the provider within %s", s.t.Connect).With(err)
		}
		return fault.New(fault.UpstreamUnreached, "the provider could not be reached").With(err)
	}
	if s.answered.Load() {
		return fault.New(fault.UpstreamProtocol, "the provider's answer could not be read").At(phase).With(err)
	}
	return fault.New(fault.UpstreamPartial, "the provider closed the connection without an answer").At(phase).With(err)
}

// cause is the fault for a call that was cancelled: by one of our timeouts or by the caller.
func (s *stage) cause(ctx context.Context, phase fault.Phase) *fault.Error {
	if s.client.Err() != nil {
		return contextFault(s.client, phase)
	}
	switch context.Cause(ctx) {
	case errConnect:
		return fault.New(fault.UpstreamTimeout, "connect: no connection to the provider within %s", s.t.Connect).At(phase)
	case errFirstByte:
		return fault.New(fault.UpstreamTimeout, "first_byte: the provider did not begin to answer within %s", s.t.FirstByte).At(phase)
	case errGap:
		return fault.New(fault.UpstreamTimeout, "gap: the provider sent nothing for %s", s.t.Gap).At(phase)
	case errTotal:
		return fault.New(fault.UpstreamTimeout, "total: the provider's answer took longer than %s", s.t.Total).At(phase)
	}
	return nil
}

// contextFault tells a client that went away from a request whose time ran out.
func contextFault(ctx context.Context, phase fault.Phase) *fault.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.New(fault.Deadline, "the request's deadline passed").At(phase).With(context.Cause(ctx))
	}
	return fault.New(fault.Canceled, "the client went away").At(phase).With(context.Cause(ctx))
}
