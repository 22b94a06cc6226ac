package edge

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mesh/causeway/relay/dialect/gemini"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// writeTimeout is how long one write to a client may block: a reader that is slower than that has gone.
const writeTimeout = time.Minute

// clientWriter is the client's side of an answer. The keepalive timer writes too, so every method
// locks. Nothing but this type touches the ResponseWriter once the pipeline has begun, except its
// header map before commit.
type clientWriter struct {
	mu        sync.Mutex
	x         *exchange
	rc        *http.ResponseController
	after     time.Duration
	timer     *time.Timer
	last      time.Time // of the last write
	deadline  time.Time // for writes, as last set
	committed bool
	sent      atomic.Bool // answer content has been written; it only becomes true, under mu
	told      bool        // the client has already been given the fault in the stream
	array     bool        // the stream is a JSON array (Gemini without alt=sse), not server-sent events
	elements  int         // of the array, sent so far
	abort     bool        // break the connection: the answer is cut short and cannot say so
	stopped   bool
	loose     bool // the timer may run once more, and then do nothing
	status    int
	bytes     int64
}

func (c *clientWriter) init(x *exchange, after time.Duration) {
	c.x, c.after, c.rc = x, after, http.NewResponseController(x.w)
}

// commit writes the status line, once. After it the header map belongs to the connection.
func (c *clientWriter) commit(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commitLocked(status)
}

// begin lets set fill the header map and commits, unless that has happened already.
func (c *clientWriter) begin(status int, set func(h http.Header)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.committed {
		set(c.x.w.Header())
		c.commitLocked(status)
	}
}

func (c *clientWriter) commitLocked(status int) {
	if c.committed {
		return
	}
	c.committed, c.status = true, status
	c.x.w.WriteHeader(status)
}

// content writes the first content and marks the point of no return.
func (c *clientWriter) content(parts ...[]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commitLocked(http.StatusOK)
	if !c.sent.Load() {
		c.sent.Store(true)
		c.x.outcome.FirstContent = c.x.sinceStart()
	}
	for _, p := range parts {
		if err := c.writeLocked(p); err != nil {
			return err
		}
	}
	return nil
}

func (c *clientWriter) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeLocked(p)
}

func (c *clientWriter) writeLocked(p []byte) error {
	now := time.Now()
	if c.last = now; now.After(c.deadline.Add(-writeTimeout / 2)) {
		c.deadline = now.Add(writeTimeout)
		_ = c.rc.SetWriteDeadline(c.deadline) // an in-memory writer has none; then the context is the bound
	}
	n, err := c.x.w.Write(p)
	c.bytes += int64(n)
	if err != nil {
		return fault.New(fault.Canceled, "the client went away").At(fault.Partial).With(err)
	}
	return nil
}

// flush pushes what has been written out to the client.
func (c *clientWriter) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.rc.Flush() // an error shows at the next write
}

func (c *clientWriter) contentSent() bool { return c.sent.Load() }

// keepalive starts the timer that keeps a silent stream open: after the configured silence the client
// gets 200 and the protocol's own idle bytes, again and again, until stop.
func (c *clientWriter) keepalive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
	c.timer = time.AfterFunc(c.after, c.tick)
}

// streamType is the content type of the client's stream.
func (c *clientWriter) streamType() string {
	if c.array {
		return "application/json; charset=utf-8"
	}
	return "text/event-stream; charset=utf-8"
}

func (c *clientWriter) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	if silent := time.Since(c.last); silent < c.after {
		c.timer.Reset(c.after - silent)
		return
	}
	if !c.committed {
		h := c.x.w.Header()
		h.Set("Content-Type", c.streamType())
		h.Set("Cache-Control", "no-cache")
		c.commitLocked(http.StatusOK)
	}
	idle := c.x.front.Keepalive()
	if c.array {
		idle = gemini.ArrayKeepalive()
	}
	if c.writeLocked(idle) == nil {
		_ = c.rc.Flush()
		c.x.outcome.Keepalives++
	}
	c.timer.Reset(c.after)
}

// stop ends the keepalives; after it no other goroutine writes.
func (c *clientWriter) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.timer != nil && !c.timer.Stop() {
		c.loose = true
	}
	c.timer = nil
}
