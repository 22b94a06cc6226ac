package simtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/fake"
)

// Whatever breaks meanwhile, a client gets one whole answer, or a stream that ends with its
// protocol's error event, or a refusal that says whether to try again; nothing goes on for nobody,
// every intent gets its outcome, and no slot of a limit is lost.
func TestFaultsAtRandom(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { simulate(t, func(t *testing.T, m *Mesh) { chaos(t, m, seed) }) })
	}
}

func chaos(t *testing.T, m *Mesh, seed uint64) {
	m.net.setLink(cn, us, link{delay: 75 * time.Millisecond, loss: 0.02, rate: 2 << 20})
	m.net.setLink(cn, eu, link{delay: 100 * time.Millisecond, loss: 0.05, rate: 1 << 20})
	m.net.setLink(eu, us, link{delay: 40 * time.Millisecond, loss: 0.01})
	near, far := m.AddProvider("near", us, fake.Options{FirstToken: 300 * time.Millisecond, TokenDelay: 50 * time.Millisecond}), m.AddProvider("far", eu, fake.Options{FirstToken: 300 * time.Millisecond, TokenDelay: 50 * time.Millisecond})
	edges := []*Node{m.AddEdge(cn), m.AddEdge(eu)}
	exits := []*Node{m.AddExit(us), m.AddExit(us), m.AddExit(eu)}
	doc := document([]string{model, "fake-midstream", "fake-500", "fake-error"}, near, far)
	doc.Limits = []state.Limit{{Tenant: "acme", Concurrency: 200}}
	for i := range doc.Providers {
		doc.Providers[i].Timeouts = state.Provider{}.Timeouts
		doc.Providers[i].Timeouts.FirstByte, doc.Providers[i].Timeouts.Gap = state.Duration(10*time.Second), state.Duration(10*time.Second)
	}
	m.Apply(doc)
	m.Settle()
	for _, e := range edges {
		m.client(e.Region)
	}

	rng := rand.New(rand.NewPCG(seed, 99))
	var mu sync.Mutex
	counts := map[string]int{}
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		counts[what]++
	}
	models := []string{model, model, model, model, model, model, "fake-midstream", "fake-500", "fake-error"}
	var load sync.WaitGroup
	seconds := 90
	if slow {
		seconds = 20
	}
	for i := range seconds * 4 {
		d, edge, name := dialects[rng.IntN(4)], edges[rng.IntN(2)], models[rng.IntN(len(models))]
		prompt := fmt.Sprintf("request %d fake:tokens=%d", i, 5+rng.IntN(60))
		if rng.IntN(10) == 0 {
			prompt += strings.Repeat(" padding", 12000) // bulk
		}
		a, streamed := d.unary(name, prompt), rng.IntN(2) == 0
		if streamed {
			a = d.stream(name, prompt)
		}
		leaves := time.Duration(0)
		if rng.IntN(8) == 0 {
			leaves = time.Duration(rng.Int64N(int64(3 * time.Second)))
		}
		at := time.Duration(i) * time.Second / 4
		load.Go(func() {
			time.Sleep(at)
			ctx, cancel := context.Background(), context.CancelFunc(func() {})
			if leaves > 0 {
				ctx, cancel = context.WithTimeout(ctx, leaves)
			}
			defer cancel()
			r, err := m.try(ctx, edge.Region, edge, a)
			switch {
			case ctx.Err() != nil:
				note("left")
			case err != nil:
				t.Errorf("%s: %v", prompt[:20], err)
			case r.Status == 200:
				note(m.judge(t, d, name, prompt, streamed, r, near, far))
			case r.Status == 429 || r.Status >= 500:
				if r.Header.Get("X-Should-Retry") == "" || !strings.Contains(r.Body, "error") {
					t.Errorf("%d without a word about trying again: %v %s", r.Status, r.Header, r.Body)
				}
				note(fmt.Sprintf("%d for %s", r.Status, name))
				if name == model {
					// One thing is broken at a time, so there is always a way.
					t.Errorf("%s: %d after %s: %s", prompt[:12], r.Status, r.Took(), r.Body)
				}
			default:
				t.Errorf("%s %s: %d %s", d.name, name, r.Status, r.Body)
			}
		})
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); {
			time.Sleep(time.Duration(rng.Int64N(int64(8 * time.Second))))
			x, e := exits[rng.IntN(len(exits))], edges[rng.IntN(2)]
			pause := time.Duration(rng.Int64N(int64(5 * time.Second)))
			switch rng.IntN(5) {
			case 0:
				x.Kill()
				time.Sleep(pause)
				x.Start()
			case 1:
				x.Stop()
				x.Start()
			case 2, 3:
				m.Partition(e, x)
				time.Sleep(pause)
				m.Heal(e, x)
			case 4:
				m.coords[0].Crash()
				time.Sleep(pause)
				m.coords[0].Restart()
			}
		}
	}()
	load.Wait()
	<-stopped
	m.Settle()
	time.Sleep(5 * time.Second)

	t.Logf("seed %d: %v", seed, counts)
	if counts["whole"] < 3*seconds/2 {
		t.Errorf("only %d whole answers", counts["whole"])
	}
	for _, p := range []*Provider{near, far} {
		if n := p.fake.Inflight(); n != 0 {
			t.Errorf("%s still answers %d requests of nobody", p.ID, n)
		}
	}
	for _, e := range edges {
		if n := e.node.Edge().Inflight(); n != 0 {
			t.Errorf("%s still serves %d requests", e.ID, n)
		}
		e.audit.mu.Lock()
		if in, out := len(e.audit.intents), len(e.audit.outcomes); in != out {
			t.Errorf("%s: %d intents, %d outcomes", e.ID, in, out)
		}
		e.audit.mu.Unlock()
		// Each edge's share of the limit is 100: all of it is there again.
		var busy []<-chan Reply
		for range 100 {
			busy = append(busy, m.Stream(e, dialects[0].stream(model, "fake:tokens=40")))
		}
		for _, b := range busy {
			if r := <-b; r.Status != 200 {
				t.Errorf("%s: a slot is lost: %d %s", e.ID, r.Status, r.Body)
			}
		}
	}
}

// judge looks at an answer with status 200: it must be what one provider call wrote, whole, or that
// far and then an error event.
func (m *Mesh) judge(t *testing.T, d dialectCase, name, prompt string, streamed bool, r Reply, providers ...*Provider) string {
	body := r.Body
	for strings.HasPrefix(body, keepalives[d.name]) {
		body = body[len(keepalives[d.name]):]
	}
	best, whole := 0, false
	for _, p := range providers {
		for _, c := range p.Calls() {
			if !strings.Contains(string(c.Body), prompt) {
				continue
			}
			c.mu.Lock()
			sent := c.sent.String()
			c.mu.Unlock()
			n := 0
			for n < len(sent) && n < len(body) && sent[n] == body[n] {
				n++
			}
			whole = whole || n == len(body) && n == len(sent)
			best = max(best, n)
		}
	}
	if whole && r.Err == nil {
		if name == "fake-error" {
			return "told by the provider"
		}
		return "whole"
	}
	if !streamed {
		t.Errorf("%s %s: a unary answer is not whole: %v %q", d.name, name, r.Err, body)
		return "broken"
	}
	// The error event begins somewhere before the first difference: its first bytes may agree.
	tail := body
	if i := strings.LastIndex(body, "event: error"); i >= 0 {
		tail = body[i:]
	} else if i := strings.LastIndex(body, `data: {"error"`); i >= 0 {
		tail = body[i:]
	}
	for strings.HasPrefix(tail, keepalives[d.name]) {
		tail = tail[len(keepalives[d.name]):]
	}
	if r.Err != nil || !endsWithFault(d, tail) || best < len(body)-len(tail) && !strings.Contains(body[best:], keepalives[d.name]) {
		t.Errorf("%s %s: the stream ended without its error event, or is not one provider's: %v, %d bytes as sent, then %q", d.name, name, r.Err, best, body[min(best, len(body)):])
	}
	return "cut short"
}
