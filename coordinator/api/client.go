package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

// Config makes a Client. A node gives its Identity; people give a Token and, for https, the Roots or
// the CAHash of the mesh's CA (the certificate is checked against that CA and must be a
// coordinator's; host names do not matter).
type Config struct {
	Servers  []string // base URLs such as https://10.0.0.1:7700; tried in turn; Watch learns more
	Identity *identity.Store
	Token    string
	Roots    []*x509.Certificate
	CAHash   [32]byte      // zero = unused
	Timeout  time.Duration // of one call, long polls excepted; 0 = 30 s
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Client calls the admin API of a set of coordinators, whichever answers. Safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client

	mu      sync.Mutex
	servers []string // those given first, then those learned
	server  int      // index of the one that answered last
}

// NewClient checks cfg and makes a Client; nothing is dialled yet.
func NewClient(cfg Config) (*Client, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("new coordinator client: no server given")
	}
	cfg.Servers = slices.Clone(cfg.Servers)
	for i, s := range cfg.Servers {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fmt.Errorf("new coordinator client: server %q is not a URL such as https://coordinator:7700", s)
		}
		cfg.Servers[i] = strings.TrimSuffix(s, "/")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	t := &http.Transport{
		DialContext:           cfg.Dial,
		TLSHandshakeTimeout:   5 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   4,
		ExpectContinueTimeout: time.Second,
	}
	if t.DialContext == nil {
		t.DialContext = (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	// HTTP/1.1: a long poll then has a connection of its own, and a dead one fails only that poll.
	switch {
	case cfg.Identity != nil:
		t.TLSClientConfig = cfg.Identity.ClientConfig("", identity.RoleCoordinator, "http/1.1")
	case cfg.CAHash != [32]byte{}:
		t.TLSClientConfig = identity.PinnedTLS(cfg.CAHash)
	case len(cfg.Roots) > 0:
		t.TLSClientConfig = identity.RootsTLS(cfg.Roots)
	default:
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13}
	}
	return &Client{cfg: cfg, servers: cfg.Servers, http: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call is one request to the admin API.
type Call struct {
	Method, Path string // Path begins with /v1
	Query        url.Values
	Body         []byte
	ContentType  string // "" = application/json
	// IdempotencyKey makes a write safe to repeat; "" makes one up, so that failing over is safe.
	IdempotencyKey string
	IfMatch        uint64        // 0 = none
	IfNoneMatch    bool          // If-None-Match: *
	Wait           time.Duration // long poll: added to the timeout
}

// Answer is a successful response.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Index  uint64 // X-Causeway-Index
	Stale  time.Duration
}

// Decode reads the JSON body into the value that into points to.
func Decode[T any](a Answer, into *T) error {
	if err := json.Unmarshal(a.Body, into); err != nil {
		return fmt.Errorf("read answer of the coordinator: %w", err)
	}
	return nil
}

// maxAnswer bounds an answer in bytes: a node view of a very large mesh.
const maxAnswer = 256 << 20

// Do makes a call, moving on to the next server when one does not answer or has no leader. A refusal
// is a *Problem; when no server could be reached the error joins what each said.
func (c *Client) Do(ctx context.Context, call Call) (Answer, error) {
	if call.Method != http.MethodGet && call.IdempotencyKey == "" {
		var b [16]byte
		rand.Read(b[:])
		call.IdempotencyKey = hex.EncodeToString(b[:])
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout+call.Wait)
	defer cancel()
	c.mu.Lock()
	first, servers := c.server, c.servers
	c.mu.Unlock()
	var errs []error
	for round := range 2 {
		for i := range servers {
			n := (first + i) % len(servers)
			a, err := c.once(ctx, servers[n], call)
			var p *Problem
			switch {
			case err == nil, errors.As(err, &p) && !(p.Retryable && p.Status >= 500):
				c.mu.Lock()
				c.server = n
				c.mu.Unlock()
				return a, err
			case ctx.Err() != nil:
				return Answer{}, errors.Join(append(errs, err)...)
			}
			if round == 0 {
				errs = append(errs, err)
			}
		}
		if round == 0 && !pause(ctx, 300*time.Millisecond) {
			break
		}
	}
	return Answer{}, errors.Join(errs...)
}

// pause waits for d; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Client) once(ctx context.Context, server string, call Call) (Answer, error) {
	// One that takes the connection and then says nothing must not cost the whole time.
	try := 20 * time.Second
	if call.Wait > 0 {
		try = call.Wait + 5*time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	target := server + call.Path
	if len(call.Query) > 0 {
		target += "?" + call.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, call.Method, target, bytes.NewReader(call.Body))
	if err != nil {
		return Answer{}, fmt.Errorf("call coordinator: %w", err)
	}
	h := req.Header
	h.Set("Accept", "application/json")
	if len(call.Body) > 0 {
		h.Set("Content-Type", "application/json")
		if call.ContentType != "" {
			h.Set("Content-Type", call.ContentType)
		}
	}
	if c.cfg.Token != "" {
		h.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	if call.IdempotencyKey != "" {
		h.Set("Idempotency-Key", call.IdempotencyKey)
	}
	if call.IfMatch != 0 {
		h.Set("If-Match", strconv.Quote(strconv.FormatUint(call.IfMatch, 10)))
	}
	if call.IfNoneMatch {
		h.Set("If-None-Match", "*")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("call coordinator: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return Answer{}, fmt.Errorf("read answer of coordinator %s: %w", server, err)
	}
	if len(body) > maxAnswer {
		return Answer{}, fmt.Errorf("read answer of coordinator %s: more than %d bytes", server, maxAnswer)
	}
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
	a.Index, _ = strconv.ParseUint(resp.Header.Get("X-Causeway-Index"), 10, 64)
	if ms, err := strconv.ParseInt(resp.Header.Get("X-Causeway-Stale-Ms"), 10, 64); err == nil {
		a.Stale = time.Duration(ms) * time.Millisecond
	}
	if resp.StatusCode >= 400 {
		return a, problemFrom(server, resp, body)
	}
	return a, nil
}

func problemFrom(server string, resp *http.Response, body []byte) error {
	p := new(Problem)
	if err := json.Unmarshal(body, p); err != nil || p.Code == "" {
		return fmt.Errorf("%s answered %s and is not a coordinator's admin API", server, resp.Status)
	}
	return p
}

// View asks for the node's view, waiting up to wait for one newer than since. The view is nil when
// there was none; confirmed is when the coordinator last knew its answer to be the cluster's.
func (c *Client) View(ctx context.Context, since uint64, wait time.Duration) (v *NodeView, confirmed time.Time, err error) {
	start := time.Now()
	a, err := c.Do(ctx, Call{Method: http.MethodGet, Path: "/v1/view", Wait: wait, Query: url.Values{
		"index": {strconv.FormatUint(since, 10)}, "wait": {wait.String()},
	}})
	if err != nil {
		return nil, time.Time{}, err
	}
	// Counted from before the question when it was answered at once; a long poll is as fresh as its end.
	confirmed = start
	if wait > 0 {
		confirmed = time.Now()
	}
	confirmed = confirmed.Add(-a.Stale)
	if a.Status == http.StatusNoContent {
		return nil, confirmed, nil
	}
	v = new(NodeView)
	if err := Decode(a, v); err != nil {
		return nil, time.Time{}, err
	}
	v.ConfirmedAt = confirmed
	return v, confirmed, nil
}

// Pauses between tries of Watch while no coordinator answers, half of each at random: nodes that lost the same
// coordinator do not come back at the same moment.
const (
	watchMin = 100 * time.Millisecond
	watchMax = 8 * time.Second // restricted classes wait for a coordinator: seconds after its return, not half a minute
)

// Watch calls on with every new view, newest only, and with nil when a poll confirmed that the last
// one still holds (so that its age can be counted from confirmed). It goes from server to server
// until ctx ends; it returns early only when this node is refused (a *Problem: revoked, removed).
// on is never called concurrently.
func (c *Client) Watch(ctx context.Context, since uint64, on func(v *NodeView, confirmed time.Time)) error {
	backoff := watchMin
	wait := time.Duration(0)
	for {
		v, confirmed, err := c.View(ctx, since, wait)
		var p *Problem
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &p) && !p.Retryable:
			return fmt.Errorf("watch coordinators: %w", err)
		case err != nil:
			if !pause(ctx, backoff/2+mathrand.N(backoff/2)) {
				return ctx.Err()
			}
			backoff = min(backoff*2, watchMax)
			wait = 0
			continue
		}
		backoff = watchMin
		wait = 20 * time.Second
		if v != nil && v.Index <= since {
			v = nil
		}
		if v != nil {
			since = v.Index
			c.learn(v.Servers)
		}
		on(v, confirmed)
		if time.Since(confirmed) > 10*time.Second {
			// This one has lost its leader: ask another, and do not spin when it is the only one.
			c.rotate()
			if wait = 0; !pause(ctx, time.Second) {
				return ctx.Err()
			}
		}
	}
}

func (c *Client) rotate() {
	c.mu.Lock()
	c.server = (c.server + 1) % len(c.servers)
	c.mu.Unlock()
}

// maxServers bounds what a client learns.
const maxServers = 16

// learn adds coordinators that the given ones know, so that a node outlives the one it joined at.
// Only https ones: what is learned is still checked to be a coordinator of the same mesh.
func (c *Client) learn(urls []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range urls {
		if len(c.servers) < maxServers && strings.HasPrefix(u, "https://") && !slices.Contains(c.servers, u) {
			c.servers = append(slices.Clip(c.servers), u)
		}
	}
}
