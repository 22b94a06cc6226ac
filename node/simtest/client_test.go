package simtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// clientKey is the secret of the key that document gives to every scenario.
const clientKey = "cw_sim_0123456789abcdef0123456789abcdef"

// ask is a client's request.
type ask struct {
	path   string
	body   string
	key    string // "" = clientKey
	header []string
}

// stamp is when a body had reached a length.
type stamp struct {
	at  time.Time
	len int
}

// Reply is an answer as the client got it.
type Reply struct {
	Status int
	Header http.Header
	Body   string
	Err    error // the body broke off
	Sent   time.Time
	Head   time.Time // when the status line was there
	Done   time.Time
	Stamps []stamp
}

// Took is from the first byte sent to the last received.
func (r Reply) Took() time.Duration { return r.Done.Sub(r.Sent) }

// Exit is the region whose exit answered.
func (r Reply) Exit() string {
	for part := range strings.SplitSeq(r.Header.Get("X-Causeway-Route"), ";") {
		if v, ok := strings.CutPrefix(part, "exit="); ok {
			return v
		}
	}
	return ""
}

// client is a client machine of a region.
func (m *Mesh) client(region string) *http.Client {
	if c := m.clients[region]; c != nil {
		return c
	}
	ip := m.net.host(fmt.Sprintf("198.18.%d", regionNet(region)), region)
	c := &http.Client{Transport: &http.Transport{DialContext: m.net.dialer(ip), DisableCompression: true, MaxIdleConnsPerHost: 64}}
	m.clients[region] = c
	return c
}

// Open sends a request from the edge's own region and returns at the answer's head.
func (m *Mesh) Open(ctx context.Context, edge *Node, a ask) (*http.Response, error) {
	return m.OpenFrom(ctx, edge.Region, edge, a)
}

// OpenFrom is Open for a client elsewhere.
func (m *Mesh) OpenFrom(ctx context.Context, region string, edge *Node, a ask) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, edge.URL()+a.path, strings.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	key := a.key
	if key == "" {
		key = clientKey
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Anthropic-Version", "2023-06-01")
	for i := 0; i+1 < len(a.header); i += 2 {
		req.Header.Set(a.header[i], a.header[i+1])
	}
	return m.client(region).Do(req)
}

// Request sends a request and reads the whole answer, noting when each part came.
func (m *Mesh) Request(edge *Node, a ask) Reply {
	m.t.Helper()
	r, err := m.try(context.Background(), edge.Region, edge, a)
	if err != nil {
		m.t.Fatalf("request to %s: %v", edge.ID, err)
	}
	return r
}

func (m *Mesh) try(ctx context.Context, region string, edge *Node, a ask) (Reply, error) {
	r := Reply{Sent: time.Now()}
	resp, err := m.OpenFrom(ctx, region, edge, a)
	if err != nil {
		return r, err
	}
	r.Head, r.Status, r.Header = time.Now(), resp.StatusCode, resp.Header
	r.read(resp)
	return r, nil
}

// Stream sends a request and reads its answer in the background; the channel gives it at its end.
func (m *Mesh) Stream(edge *Node, a ask) <-chan Reply {
	out := make(chan Reply, 1)
	m.client(edge.Region)
	go func() {
		r, err := m.try(context.Background(), edge.Region, edge, a)
		if err != nil {
			r.Err = err
		}
		out <- r
	}()
	return out
}

func (r *Reply) read(resp *http.Response) {
	defer resp.Body.Close()
	var b strings.Builder
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			b.Write(buf[:n])
			r.Stamps = append(r.Stamps, stamp{time.Now(), b.Len()})
		}
		if err != nil {
			if err != io.EOF {
				r.Err = err
			}
			break
		}
	}
	r.Body, r.Done = b.String(), time.Now()
}
