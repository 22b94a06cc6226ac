package simtest

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/fake"
)

// nodeAt finds a node by its address.
func (m *Mesh) nodeAt(ip string) *Node {
	for _, n := range m.nodes {
		if n.ip == ip {
			return n
		}
	}
	m.t.Fatalf("no node at %s", ip)
	return nil
}

// last is the newest call; n counts from the end.
func (p *Provider) last(n int) *call {
	calls := p.Calls()
	return calls[len(calls)-1-n]
}

// endsWithFault checks the protocol's own form of an error in a stream.
func endsWithFault(d dialectCase, tail string) bool {
	switch d.name {
	case "openai-chat":
		return strings.HasPrefix(tail, `data: {"error":{`) && strings.HasSuffix(tail, "\n\n")
	case "openai-responses":
		return strings.HasPrefix(tail, "event: error\ndata: {") && strings.HasSuffix(tail, "\n\n")
	case "anthropic-messages":
		return strings.HasPrefix(tail, `event: error`+"\n"+`data: {"type":"error","error":{`) && strings.HasSuffix(tail, "\n\n")
	default:
		return strings.HasPrefix(tail, `data: {"error":{`) && strings.HasSuffix(tail, "\r\n\r\n")
	}
}

// How long the death of an exit may go unnoticed on a path of 150 ms while a request waits for it that
// can be asked elsewhere, and while a stream hangs that cannot.
const (
	detection = 700 * time.Millisecond
	givenUp   = 5500 * time.Millisecond
)

// An exit that dies takes no request with it that was not answered yet: another exit is asked, and
// the client gets one answer, whole.
func TestExitDiesBeforeTheAnswer(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{FirstToken: 10 * time.Second})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		m.AddExit(us)
		m.Apply(document([]string{model}, p))
		m.Settle()
		for _, d := range dialects {
			for _, a := range []ask{d.unary(model, "hello"), d.stream(model, "hello")} {
				before := len(p.Calls())
				reply := m.Stream(edge, a)
				time.Sleep(time.Second)
				dying := m.nodeAt(p.last(0).From)
				killed := time.Now()
				dying.Kill()
				r := <-reply
				if r.Status != 200 || r.Err != nil {
					t.Fatalf("%s: %d, %v: %s", d.name, r.Status, r.Err, r.Body)
				}
				if n := len(p.Calls()) - before; n != 2 || p.last(0).From == dying.ip {
					t.Errorf("%s: %d calls, the last one from %s; want 2, the last one by the other exit", d.name, n, p.last(0).From)
				}
				body := strings.TrimPrefix(r.Body, keepalives[d.name])
				if want := p.last(0).sent.String(); body != want {
					t.Errorf("%s: the client got\n%q\nnot\n%q", d.name, body, want)
				}
				if d := p.last(0).At.Sub(killed) - oneWay; d > detection {
					t.Errorf("asked elsewhere %s after the death, want %s at most", d, detection)
				}
				dying.Start()
				m.Settle()
			}
		}
	})
}

// A request that meets a dead exit before anything was sent costs one detection, and the next ones
// nothing.
func TestRequestsAvoidADeadExit(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		m.AddExit(us)
		m.Apply(document([]string{model}, p))
		m.Settle()
		d := dialects[0]
		m.Request(edge, d.unary(model, "hello"))
		m.nodeAt(p.last(0).From).Kill()
		slow := 0
		for range 20 {
			r := m.Request(edge, d.unary(model, "hello"))
			if r.Status != 200 || r.Took() > detection+2*oneWay+4*localDelay {
				t.Errorf("%d after %s: %.200s", r.Status, r.Took(), r.Body)
			}
			if r.Took() > 2*oneWay+4*localDelay {
				slow++
			}
		}
		if slow > 1 {
			t.Errorf("%d requests waited for the dead exit, want one", slow)
		}
	})
}

// A stream in progress ends with its protocol's error event when its exit dies: what came before
// stands once, and nobody is asked again.
func TestExitDiesDuringAStream(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{TokenDelay: 100 * time.Millisecond})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		m.AddExit(us)
		m.Apply(document([]string{model}, p))
		m.Settle()
		for _, d := range dialects {
			before := len(p.Calls())
			reply := m.Stream(edge, d.stream(model, "fake:tokens=200"))
			time.Sleep(2 * time.Second)
			dying := m.nodeAt(p.last(0).From)
			killed := time.Now()
			dying.Kill()
			r := <-reply
			sent := p.last(0).sent.String()
			n := 0
			for n < len(sent) && n < len(r.Body) && sent[n] == r.Body[n] {
				n++
			}
			if d.name == "gemini" {
				n = strings.LastIndex(r.Body[:n], "\r\n\r\n") + 4
			} else {
				n = strings.LastIndex(r.Body[:n], "\n\n") + 2
			}
			if r.Status != 200 || r.Err != nil || n < 500 || !endsWithFault(d, r.Body[n:]) {
				t.Errorf("%s: %d, %v; after %d bytes as sent: %q", d.name, r.Status, r.Err, n, r.Body[n:])
			}
			if calls := len(p.Calls()) - before; calls != 1 {
				t.Errorf("%s: %d calls, want 1: content had reached the client", d.name, calls)
			}
			if late := r.Done.Sub(killed); late > givenUp {
				t.Errorf("%s: told %s after the death, want %s at most", d.name, late, givenUp)
			}
			dying.Start()
			m.Settle()
		}
	})
}

// A path that goes black for seconds costs the requests on it nothing when no other exit could answer
// them; where one can, they do not wait for the path.
func TestBlackoutOfOneExit(t *testing.T) {
	for _, exits := range []int{1, 2} {
		t.Run(strconv.Itoa(exits), func(t *testing.T) {
			simulate(t, func(t *testing.T, m *Mesh) {
				p := m.AddProvider("p", us, fake.Options{FirstToken: 5 * time.Second})
				edge := m.AddEdge(cn)
				for range exits {
					m.AddExit(us)
				}
				m.AddExit(cn) // may not call p: it only shows that the edge is not cut off
				doc := document([]string{model}, p)
				doc.Providers[0].Exits = []string{us}
				m.Apply(doc)
				m.Settle()
				d := dialects[0]
				reply := m.Stream(edge, d.stream(model, "hello"))
				time.Sleep(time.Second)
				first := p.last(0)
				m.net.partition([]string{edge.ip}, []string{first.From}, true)
				black := time.Now()
				time.Sleep(3 * time.Second)
				m.net.partition([]string{edge.ip}, []string{first.From}, false)
				r := <-reply
				if r.Status != 200 || r.Err != nil || r.Body != p.last(0).sent.String() {
					t.Errorf("%d, %v: %s", r.Status, r.Err, r.Body)
				}
				if n := len(p.Calls()); n != exits {
					t.Errorf("%d calls", n)
				}
				if exits == 1 {
					return
				}
				if d := p.last(0).At.Sub(black) - oneWay; d > detection {
					t.Errorf("asked elsewhere after %s", d)
				}
				if first.gone().IsZero() {
					t.Error("the first exit's call was not given up when the path was back")
				}
			})
		})
	}
}

// A provider that takes a request and says nothing costs its first-byte timeout, then another one is
// asked.
func TestProviderHangsBeforeItsAnswer(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		hung, good := m.AddProvider("hung", us, fake.Options{}), m.AddProvider("good", us, fake.Options{})
		hung.Behave(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })
		edge := m.AddEdge(cn)
		m.AddExit(us)
		doc := document([]string{model}, hung, good)
		for i := range doc.Providers {
			doc.Providers[i].Timeouts.FirstByte = state.Duration(5 * time.Second)
		}
		m.Apply(doc)
		m.Settle()
		for _, d := range dialects {
			for _, a := range []ask{d.unary(model, "hello"), d.stream(model, "hello")} {
				r := m.Request(edge, a)
				if r.Status != 200 || r.Body != good.last(0).sent.String() {
					t.Fatalf("%s: %d: %s", d.name, r.Status, r.Body)
				}
				// Two tries, two round trips through the tunnel, and at most a new connection each.
				if most := 5*time.Second + 4*oneWay + 100*time.Millisecond; r.Took() > most {
					t.Errorf("%s: answered after %s, want %s at most", d.name, r.Took(), most)
				}
				if hung.last(0).gone().IsZero() {
					t.Errorf("%s: the silent provider was not told that nobody waits", d.name)
				}
			}
		}
	})
}

// A provider that stops in the middle ends the stream with an error event after the gap timeout.
func TestProviderHangsDuringAStream(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		hung, good := m.AddProvider("hung", us, fake.Options{TokenDelay: 50 * time.Millisecond}), m.AddProvider("good", us, fake.Options{})
		hung.Behave(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(&stopsAfter{recorder: w.(*recorder), left: 3000, r: r}, r)
		})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		doc := document([]string{model}, hung, good)
		for i := range doc.Providers {
			doc.Providers[i].Timeouts.Gap = state.Duration(7 * time.Second)
		}
		m.Apply(doc)
		m.Settle()
		for _, d := range dialects {
			r := m.Request(edge, d.stream(model, "fake:tokens=200"))
			c := hung.last(0)
			tail, ok := strings.CutPrefix(r.Body, c.sent.String())
			if r.Status != 200 || r.Err != nil || !ok || !endsWithFault(d, tail) {
				t.Errorf("%s: %d, %v: %q", d.name, r.Status, r.Err, r.Body[max(0, len(r.Body)-400):])
				continue
			}
			if late := r.Done.Sub(c.stamps[len(c.stamps)-1].at) - 7*time.Second; late < 0 || late > oneWay+100*time.Millisecond {
				t.Errorf("%s: told %s after the timeout", d.name, late)
			}
		}
		if n := len(good.Calls()); n != 0 {
			t.Errorf("%d requests were repeated after content had reached the client", n)
		}
	})
}

// stopsAfter blocks for good after so many bytes.
type stopsAfter struct {
	*recorder
	left int
	r    *http.Request
}

func (w *stopsAfter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		<-w.r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	return w.recorder.Write(p)
}

// A draining exit takes nothing new and finishes what runs; resumed, it serves again. No request
// fails on the way.
func TestDrainingExit(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{TokenDelay: 100 * time.Millisecond})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		m.AddExit(us)
		m.Apply(document([]string{model}, p))
		m.Settle()
		d := dialects[0]
		long := m.Stream(edge, d.stream(model, "fake:tokens=150"))
		time.Sleep(time.Second)
		running := p.last(0)
		draining := m.nodeAt(running.From)
		m.Sync(m.call("POST", "/v1/nodes/"+draining.ID+":drain", "").Index)
		for range 20 {
			r := m.Request(edge, d.unary(model, "hello"))
			if r.Status != 200 || p.last(0).From == draining.ip {
				t.Errorf("%d by %s while it drains: %s", r.Status, p.last(0).From, r.Body)
			}
		}
		if r := <-long; r.Status != 200 || r.Body != running.sent.String() || !strings.HasSuffix(r.Body, "data: [DONE]\n\n") {
			t.Errorf("the running stream ended as %d, %v", r.Status, r.Err)
		}
		m.Sync(m.call("POST", "/v1/nodes/"+draining.ID+":resume", "").Index)
		other := m.nodes[1]
		if other == draining {
			other = m.nodes[2]
		}
		other.Stop()
		m.Settle()
		if r := m.Request(edge, d.unary(model, "hello")); r.Status != 200 || p.last(0).From != draining.ip {
			t.Errorf("resumed and alone: %d by %s", r.Status, p.last(0).From)
		}
	})
}

// Nodes stop in order and start again with the same identity: streams that run end whole, requests
// go to the other exit meanwhile, and the mesh is as before.
func TestRestartWithTheSameIdentity(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{TokenDelay: 100 * time.Millisecond})
		edge := m.AddEdge(cn)
		exits := []*Node{m.AddExit(us), m.AddExit(us)}
		m.Apply(document([]string{model}, p))
		m.Settle()
		d := dialects[2]
		for _, x := range exits {
			var long []<-chan Reply
			for range 4 {
				long = append(long, m.Stream(edge, d.stream(model, "fake:tokens=100")))
			}
			time.Sleep(time.Second)
			stopped := make(chan struct{})
			go func() { defer close(stopped); x.Stop() }()
			for range 10 {
				if r := m.Request(edge, d.unary(model, "hello")); r.Status != 200 {
					t.Errorf("%d while %s stops: %s", r.Status, x.ID, r.Body)
				}
			}
			for _, l := range long {
				if r := <-l; r.Status != 200 || r.Err != nil || !strings.Contains(r.Body, "message_stop") {
					t.Errorf("a running stream ended as %d, %v: %s", r.Status, r.Err, r.Body)
				}
			}
			<-stopped
			x.Start()
			m.Settle()
		}
		for _, x := range exits {
			served := func() (n int) {
				for _, c := range p.Calls() {
					if c.From == x.ip {
						n++
					}
				}
				return n
			}
			other := exits[0]
			if x == other {
				other = exits[1]
			}
			other.Stop()
			before := served()
			if r := m.Request(edge, d.unary(model, "hello")); r.Status != 200 || served() != before+1 {
				t.Errorf("%s does not serve after its restart: %d %s", x.ID, r.Status, r.Body)
			}
			other.Start()
			m.Settle()
		}

		last := m.Stream(edge, d.stream(model, "fake:tokens=50"))
		time.Sleep(time.Second)
		edge.Stop()
		if r := <-last; r.Status != 200 || !strings.Contains(r.Body, "message_stop") {
			t.Errorf("the edge stopped before its stream had ended: %d, %v: %s", r.Status, r.Err, r.Body)
		}
		edge.Start()
		m.Settle()
		if r := m.Request(edge, d.unary(model, "hello")); r.Status != 200 {
			t.Errorf("after the edge's restart: %d %s", r.Status, r.Body)
		}
	})
}
