package simtest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/fake"
)

// oneWay is from a provider in the exit's region to a client in the edge's.
const oneWay = localDelay + defaultDelay + localDelay

// A request costs its light and nothing else: client to edge, one round trip through the tunnel, exit
// to provider, to the nanosecond.
func TestUnaryCostsOneRoundTrip(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		m.Apply(document([]string{model}, p))
		m.Settle()
		for _, d := range dialects {
			cold := m.Request(edge, d.unary(model, "first"))
			warm := m.Request(edge, d.unary(model, "hello"))
			if cold.Status != 200 || warm.Status != 200 {
				t.Fatalf("%s: %d, %d: %s", d.name, cold.Status, warm.Status, warm.Body)
			}
			if warm.Took() != 2*oneWay {
				t.Errorf("%s took %s on warm connections, want exactly %s", d.name, warm.Took(), 2*oneWay)
			}
			if most := 2*oneWay + 4*localDelay; cold.Took() > most {
				t.Errorf("%s took %s cold, want at most %s: a connection to edge and provider each", d.name, cold.Took(), most)
			}
		}
		if n := len(edge.audit.intents); n != 8 || len(edge.audit.outcomes) != n {
			t.Errorf("%d intents and %d outcomes for 8 requests", n, len(edge.audit.outcomes))
		}
	})
}

// A token that the provider writes is at the client one way later, in every dialect, and the bytes
// are the provider's.
func TestTokensAreNotHeldBack(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{FirstToken: 400 * time.Millisecond, TokenDelay: 30 * time.Millisecond})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		m.Apply(document([]string{model}, p))
		m.Settle()
		for _, d := range dialects {
			r := m.Request(edge, d.stream(model, "hello"))
			calls := p.Calls()
			c := calls[len(calls)-1]
			if r.Status != 200 || r.Err != nil {
				t.Fatalf("%s: %d, %v: %s", d.name, r.Status, r.Err, r.Body)
			}
			if r.Body != c.sent.String() {
				t.Errorf("%s: the client got other bytes than the provider sent:\n%q\n%q", d.name, r.Body, c.sent.String())
				continue
			}
			if len(r.Stamps) < 10 {
				t.Errorf("%s came in %d pieces", d.name, len(r.Stamps))
			}
			for _, s := range r.Stamps {
				written := c.stamps[slices.IndexFunc(c.stamps, func(w stamp) bool { return w.len >= s.len })].at
				if late := s.at.Sub(written) - oneWay; late != 0 {
					t.Errorf("%s: byte %d arrived %s later than light", d.name, s.len, late)
				}
			}
		}
	})
}

// keepalives are the protocols' own idle forms.
var keepalives = map[string]string{
	"openai-chat": ": keepalive\n\n", "openai-responses": ": keepalive\n\n",
	"anthropic-messages": "event: ping\ndata: {\"type\": \"ping\"}\n\n", "gemini": "\r\n\r\n",
}

// A stream that stays silent is kept open in its protocol's form, and may still fail over: nothing
// but idle bytes has reached the client. peers.md 4, row 20: "60 s idle timeouts cut silent thinking
// streams" (maximhq/bifrost #5212, BerriAI/litellm #34374).
func TestSilentStreamIsKeptOpenAndFailsOver(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		hung, good := m.AddProvider("hung", us, fake.Options{}), m.AddProvider("good", us, fake.Options{})
		hung.Behave(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })
		edge := m.AddEdge(cn)
		m.AddExit(us)
		doc := document([]string{model}, hung, good)
		for i := range doc.Providers {
			doc.Providers[i].Timeouts.FirstByte = state.Duration(25 * time.Second)
		}
		m.Apply(doc)
		m.Settle()
		for _, d := range dialects {
			r := m.Request(edge, d.stream(model, "hello"))
			idle := keepalives[d.name]
			body, ok := strings.CutPrefix(r.Body, idle+idle)
			if r.Status != 200 || r.Err != nil || !ok {
				t.Fatalf("%s: %d, %v: %q", d.name, r.Status, r.Err, r.Body)
			}
			if wait := r.Head.Sub(r.Sent); wait != 10*time.Second+2*localDelay && wait != 10*time.Second+4*localDelay {
				t.Errorf("%s: first sign of life after %s, want 10 s and the client's own round trip", d.name, wait)
			}
			if wait := r.Stamps[1].at.Sub(r.Stamps[0].at); wait != 10*time.Second {
				t.Errorf("%s: second one %s after the first, want 10 s", d.name, wait)
			}
			calls := good.Calls()
			if want := calls[len(calls)-1].sent.String(); body != want {
				t.Errorf("%s: after the keepalives the client got\n%q\nnot\n%q", d.name, body, want)
			}
		}
	})
}

// A client that goes away is seen by the provider one way later: nothing on the way waits.
func TestCancelReachesTheProvider(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{TokenDelay: 200 * time.Millisecond})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		m.Apply(document([]string{model, "fake-hang"}, p))
		m.Settle()
		for _, d := range dialects {
			for _, tc := range []struct {
				why string
				ask ask
			}{
				{"while a stream runs", d.stream(model, "fake:tokens=100")},
				{"before a stream begins", d.stream("fake-hang", "hello")},
				{"before a unary answer", d.unary("fake-hang", "hello")},
			} {
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					if resp, err := m.Open(ctx, edge, tc.ask); err == nil {
						new(Reply).read(resp)
					}
				}()
				time.Sleep(2 * time.Second)
				gone := time.Now()
				cancel()
				time.Sleep(time.Second)
				synctest.Wait()
				calls := p.Calls()
				learned := calls[len(calls)-1].gone()
				if learned.IsZero() {
					t.Errorf("%s, %s: the provider works on for nobody", d.name, tc.why)
				} else if d := learned.Sub(gone); d > 100*time.Millisecond+oneWay {
					t.Errorf("%s: the provider learned it after %s", tc.why, d)
				}
			}
		}
		if n := p.fake.Inflight(); n != 0 {
			t.Errorf("%d requests are still answered", n)
		}
	})
}
