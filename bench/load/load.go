// Package load sends requests to a relay and measures what comes back: closed loop, open loop with
// intended start times, and streams chunk by chunk.
package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/causeway-mesh/causeway/bench/floor"
)

// Target is where requests go.
type Target struct {
	URL   string // base: /v1/chat/completions is appended
	Key   string // client key, "" = none
	Model string
	Class string // sent as x-causeway-class; "" = none
}

// Shape is what one request asks for.
type Shape struct {
	Bytes  int  // length of the JSON body, about
	Stream bool //
	Chunks int  // of the scripted stream
	Gap    time.Duration
}

// Client sends one shape of request to one target. Safe for concurrent use.
type Client struct {
	http *http.Client
	url  string
	head http.Header
	body []byte
}

// NewClient makes a client with its own connections, kept alive without limit.
func NewClient(t Target, s Shape) *Client {
	tr := &http.Transport{
		MaxIdleConnsPerHost: 1 << 16, IdleConnTimeout: 5 * time.Minute, DisableCompression: true,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"causeway-bench"}}
	if t.Key != "" {
		h.Set("Authorization", "Bearer "+t.Key)
	}
	if t.Class != "" {
		h.Set("X-Causeway-Class", t.Class)
	}
	return &Client{
		http: &http.Client{Transport: tr},
		url:  strings.TrimSuffix(t.URL, "/") + "/v1/chat/completions",
		head: h, body: body(t.Model, s),
	}
}

// Close closes the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// body is a chat request of about s.Bytes bytes whose text carries the mock's script.
func body(model string, s Shape) []byte {
	text := fmt.Sprintf("chunks=%d gap=%d ", s.Chunks, s.Gap.Microseconds())
	const words = "the quick brown fox jumps over the lazy dog "
	b := []byte(`{"model":` + strconv.Quote(model))
	if s.Stream {
		b = append(b, `,"stream":true`...)
	}
	b = append(b, `,"messages":[{"role":"user","content":"`...)
	b = append(b, text...)
	for len(b) < s.Bytes-4 {
		b = append(b, words[:min(len(words), s.Bytes-4-len(b))]...)
	}
	return append(b, `"}]}`...)
}

func (c *Client) send(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	req.Header = c.head.Clone()
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		msg, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		resp.Body.Close()
		return nil, fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(msg))
	}
	return resp, nil
}

// One sends one request and reads the whole answer.
func (c *Client) One(ctx context.Context) error {
	resp, err := c.send(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// Result is what a run measured. Latencies are of good requests.
type Result struct {
	Latencies []time.Duration
	Elapsed   time.Duration
	Errors    int
	FirstErr  error
}

func (r *Result) add(d time.Duration, err error) {
	if err != nil {
		if r.Errors++; r.FirstErr == nil {
			r.FirstErr = err
		}
		return
	}
	r.Latencies = append(r.Latencies, d)
}

func (r *Result) merge(o Result) {
	r.Latencies = append(r.Latencies, o.Latencies...)
	r.Errors += o.Errors
	if r.FirstErr == nil {
		r.FirstErr = o.FirstErr
	}
}

// Rate is good requests per second.
func (r *Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(len(r.Latencies)) / r.Elapsed.Seconds()
}

// Sequential sends n requests one after another.
func Sequential(ctx context.Context, c *Client, n int) Result {
	var r Result
	start := time.Now()
	for range n {
		if ctx.Err() != nil {
			break
		}
		t := time.Now()
		err := c.One(ctx)
		r.add(time.Since(t), err)
	}
	r.Elapsed = time.Since(start)
	return r
}

// Closed keeps clients requests in flight for d. Each client waits for its answer before it asks
// again, so its latencies say what the system can do, not what users meet: see Open.
func Closed(ctx context.Context, c *Client, clients int, d time.Duration) Result {
	start := time.Now()
	end := start.Add(d)
	return gather(clients, start, func(r *Result) {
		for ctx.Err() == nil && time.Now().Before(end) {
			t := time.Now()
			err := c.One(ctx)
			r.add(time.Since(t), err)
		}
	})
}

// Open sends at a fixed rate for d whatever the answers do. A latency counts from the moment the
// request was due, so that a stall counts for every request it delayed (no coordinated omission).
// At most inflight requests are open at once; later ones wait, and their wait counts.
func Open(ctx context.Context, c *Client, rate float64, inflight int, d time.Duration) Result {
	start := time.Now()
	total := int(rate * d.Seconds())
	due := make(chan time.Time, total) // the generator never blocks
	go func() {
		defer close(due)
		timer := time.NewTimer(0)
		defer timer.Stop()
		for i := range total {
			at := start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
			if wait := time.Until(at); wait > 0 {
				timer.Reset(wait)
				select {
				case <-timer.C:
				case <-ctx.Done():
					return
				}
			}
			due <- at
		}
	}()
	return gather(inflight, start, func(r *Result) {
		for at := range due {
			err := c.One(ctx)
			r.add(time.Since(at), err)
		}
	})
}

func gather(workers int, start time.Time, work func(*Result)) Result {
	parts := make([]Result, workers)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { work(&parts[i]) })
	}
	wg.Wait()
	var r Result
	r.Elapsed = time.Since(start)
	for _, p := range parts {
		r.merge(p)
	}
	return r
}

// StreamResult is what streams measured.
type StreamResult struct {
	First    []time.Duration // request sent to first chunk read, one a stream
	OneWay   []time.Duration // provider's send to client's read, one a chunk after the first
	Streams  int
	Chunks   int
	Errors   int
	FirstErr error
	Elapsed  time.Duration
}

// Streams runs n streams, at most clients at once.
func Streams(ctx context.Context, c *Client, n, clients int) StreamResult {
	start := time.Now()
	turns := make(chan struct{}, n)
	for range n {
		turns <- struct{}{}
	}
	close(turns)
	parts := make([]StreamResult, clients)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			for range turns {
				if ctx.Err() != nil {
					return
				}
				parts[i].stream(ctx, c, nil)
			}
		})
	}
	wg.Wait()
	return mergeStreams(parts, start)
}

// Held opens n streams spread over ramp, calls measure when all have had their first chunk, and ends
// them.
func Held(ctx context.Context, c *Client, n int, ramp time.Duration, measure func()) StreamResult {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	parts := make([]StreamResult, n)
	var opened, wg sync.WaitGroup
	opened.Add(n)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range n {
		if wait := time.Until(start.Add(ramp * time.Duration(i) / time.Duration(n))); wait > 0 {
			timer.Reset(wait)
			<-timer.C
		}
		wg.Go(func() {
			once := sync.OnceFunc(opened.Done)
			parts[i].stream(ctx, c, once)
			once()
		})
	}
	opened.Wait()
	measure()
	cancel()
	wg.Wait()
	return mergeStreams(parts, start)
}

func mergeStreams(parts []StreamResult, start time.Time) StreamResult {
	var r StreamResult
	for _, p := range parts {
		r.First = append(r.First, p.First...)
		r.OneWay = append(r.OneWay, p.OneWay...)
		r.Streams += p.Streams
		r.Chunks += p.Chunks
		r.Errors += p.Errors
		if r.FirstErr == nil {
			r.FirstErr = p.FirstErr
		}
	}
	r.Elapsed = time.Since(start)
	return r
}

func (r *StreamResult) stream(ctx context.Context, c *Client, first func()) {
	start := time.Now()
	resp, err := c.send(ctx)
	if err == nil {
		err = r.read(resp.Body, start, first)
		resp.Body.Close()
	}
	if err != nil && ctx.Err() == nil {
		if r.Errors++; r.FirstErr == nil {
			r.FirstErr = err
		}
		return
	}
	r.Streams++
}

var (
	errTruncated = errors.New("stream ended without [DONE]")
	stamp        = []byte(floor.Stamp)
	endMark      = []byte("data: [DONE]")
)

func (r *StreamResult) read(body io.Reader, start time.Time, first func()) error {
	br := bufio.NewReaderSize(body, 4096)
	n := 0
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				return errTruncated
			}
			return err
		}
		if bytes.HasPrefix(line, endMark) {
			_, err := io.Copy(io.Discard, br)
			return err
		}
		_, at, ok := bytes.Cut(line, stamp)
		if !ok || len(at) < 19 {
			continue
		}
		ns, err := strconv.ParseInt(string(at[:19]), 10, 64)
		if err != nil {
			return fmt.Errorf("chunk's stamp: %w", err)
		}
		now := time.Now()
		if n == 0 {
			r.First = append(r.First, now.Sub(start))
			if first != nil {
				first()
			}
		} else {
			r.OneWay = append(r.OneWay, time.Duration(now.UnixNano()-ns))
		}
		n++
		r.Chunks++
	}
}
