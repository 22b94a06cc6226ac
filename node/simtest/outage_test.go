package simtest

import (
	"strings"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/gossip"
	"github.com/causeway-mesh/causeway/relay/fake"
)

// Without any coordinator an edge serves for a day on what it knows. Class restricted is refused
// once nobody has vouched for the policy for max_age, and served again soon after somebody does.
func TestADayWithoutCoordinators(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		staleAfter := 12
		if slow {
			staleAfter = 1
		}
		m.profile = gossip.WAN
		p := m.AddProvider("p", us, fake.Options{})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		doc := document([]string{model}, p)
		doc.Policy = &state.Policy{Default: "allow", MaxAge: state.Duration(time.Duration(staleAfter) * time.Hour)}
		m.Apply(doc)
		m.Settle()
		plain := dialects[0].unary(model, "hello")
		restricted := plain
		restricted.header = []string{"X-Causeway-Class", "restricted"}
		if r := m.Request(edge, restricted); r.Status != 200 {
			t.Fatalf("restricted, with a coordinator: %d %s", r.Status, r.Body)
		}
		m.coords[0].Crash()
		gone := time.Now()
		for hour := range 2*staleAfter + 1 {
			if hour > 0 {
				time.Sleep(time.Until(gone.Add(time.Duration(hour)*time.Hour - time.Minute)))
			}
			if r := m.Request(edge, plain); r.Status != 200 {
				t.Errorf("%s without a coordinator: %d %s", time.Since(gone), r.Status, r.Body)
			}
			r := m.Request(edge, restricted)
			if hour <= staleAfter && r.Status != 200 {
				t.Errorf("restricted, %s without a coordinator: %d %s", time.Since(gone), r.Status, r.Body)
			}
			if hour > staleAfter && (r.Status != 503 || !strings.Contains(r.Body, "policy_stale") || r.Header.Get("X-Should-Retry") != "true") {
				t.Errorf("restricted, %s without a coordinator: %d, retry %q: %s", time.Since(gone), r.Status, r.Header.Get("X-Should-Retry"), r.Body)
			}
		}
		m.coords[0].Restart()
		back := time.Now()
		m.eventually("restricted is served again", func() bool { return m.Request(edge, restricted).Status == 200 })
		if d := time.Since(back); d > 10*time.Second {
			t.Errorf("restricted was served again %s after the coordinator's return", d)
		}
	})
}

// An edge restarts while no coordinator answers, on the view it kept.
func TestEdgeRestartsWithoutCoordinators(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		m.data = t.TempDir()
		p := m.AddProvider("p", us, fake.Options{})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		m.Apply(document([]string{model}, p))
		m.Settle()
		m.coords[0].Crash()
		edge.Stop()
		edge.Start()
		start := time.Now()
		m.eventually("the edge serves", func() bool {
			r, err := m.try(t.Context(), edge.Region, edge, dialects[0].unary(model, "hello"))
			return err == nil && r.Status == 200
		})
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("served %s after the restart, want 3 s at most", d)
		}
	})
}

// A key revoked by the API is refused by every connected edge within a second.
func TestRevokedKeyIsRefusedWithinASecond(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{})
		edges := []*Node{m.AddEdge(cn), m.AddEdge(eu), m.AddEdge(us)}
		m.AddExit(us)
		m.Apply(document([]string{model}, p))
		m.Settle()
		a := dialects[0].unary(model, "hello")
		for _, e := range edges {
			if r := m.Request(e, a); r.Status != 200 {
				t.Fatalf("%s before: %d %s", e.ID, r.Status, r.Body)
			}
		}
		m.call("POST", "/v1/keys/app:revoke", "")
		at := time.Now()
		for _, e := range edges {
			for {
				if r := m.Request(e, a); r.Status == 401 {
					break
				}
				if time.Since(at) > 10*time.Second {
					t.Fatalf("%s never refused the key", e.ID)
				}
			}
		}
		if d := time.Since(at); d > time.Second {
			t.Errorf("refused everywhere %s after the revocation", d)
		}
	})
}

// A revoked exit is cut off at once: edges ask it nothing more, and it ends.
func TestRevokedExitIsCutOff(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{})
		edge := m.AddEdge(cn)
		bad, good := m.AddExit(us), m.AddExit(us)
		m.Apply(document([]string{model}, p))
		m.Settle()
		bad.mayFail = true
		m.call("POST", "/v1/nodes/"+bad.ID+":revoke", "")
		time.Sleep(time.Second)
		before := len(p.Calls())
		for range 20 {
			if r := m.Request(edge, dialects[0].unary(model, "hello")); r.Status != 200 {
				t.Errorf("after the revocation: %d %s", r.Status, r.Body)
			}
		}
		for _, c := range p.Calls()[before:] {
			if c.From != good.ip {
				t.Errorf("the revoked exit made a call")
			}
		}
	})
}

// With three coordinators, the loss of the leader is seen by nobody who asks for tokens, and changes
// reach the edges again within seconds.
func TestLeaderDies(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		m.addCoordinator(us)
		m.addCoordinator(us)
		m.eventually("all vote", func() bool {
			ms, err := m.coords[0].server.Consensus().Members(t.Context())
			return err == nil && len(ms) == 3 && ms[0].Voter && ms[1].Voter && ms[2].Voter
		})
		p := m.AddProvider("p", us, fake.Options{TokenDelay: 100 * time.Millisecond})
		edge := m.AddEdge(cn)
		m.AddExit(us)
		m.Apply(document([]string{model}, p))
		m.Settle()
		d := dialects[1]
		long := m.Stream(edge, d.stream(model, "fake:tokens=100"))
		time.Sleep(time.Second)
		m.coords[0].Crash()
		died := time.Now()
		m.adminAt(m.coords[1])
		index := m.call("PUT", "/v1/tenants/late", `{"home":"EU"}`).Index
		if d := time.Since(died); d > 4*time.Second {
			t.Errorf("first write %s after the leader's death", d)
		}
		m.Sync(index)
		if d := time.Since(died); d > 30*time.Second {
			t.Errorf("the edge knew of it %s after the leader's death", d)
		}
		for range 20 {
			if r := m.Request(edge, d.unary(model, "hello")); r.Status != 200 {
				t.Errorf("%d: %s", r.Status, r.Body)
			}
		}
		if r := <-long; r.Status != 200 || !strings.Contains(r.Body, "response.completed") {
			t.Errorf("the running stream: %d, %v", r.Status, r.Err)
		}
	})
}
