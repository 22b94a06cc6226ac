package simtest

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/fake"
)

// places is a set of countries as the oracle knows them: the five that the simulation has, and one
// that stands for the rest of the world, so that EU is not just DE and FR.
type places map[string]bool

var everywhere = []string{"CN", "DE", "FR", "GB", "US", "rest of EU", "rest"}

func placesOf(names []string) places {
	out := places{}
	for _, n := range names {
		switch n {
		case "EU":
			out["DE"], out["FR"], out["rest of EU"] = true, true, true
		case "*":
			for _, c := range everywhere {
				out[c] = true
			}
		case "":
		default:
			out[n] = true
		}
	}
	return out
}

func (p places) covers(q places) bool {
	for c := range q {
		if !p[c] {
			return false
		}
	}
	return true
}

func (p places) meets(q places) bool {
	for c := range q {
		if p[c] {
			return true
		}
	}
	return false
}

func (p places) keep(q places) {
	for c := range p {
		if !q[c] {
			delete(p, c)
		}
	}
}

var classes = []string{"public", "internal", "confidential", "restricted"}

// oracle says, by brute force and from the document alone, where a tenant's bytes may be.
func oracle(doc *state.Document, tenant state.Tenant, class string) places {
	home := placesOf([]string{tenant.Home})
	allowed := placesOf([]string{"*"})
	certain := false
	for _, r := range doc.Policy.Rules {
		w := r.When
		if len(w.Class) > 0 && !slices.Contains(w.Class, class) || len(w.Tenant) > 0 && !slices.Contains(w.Tenant, tenant.ID) {
			continue
		}
		if len(w.Home) > 0 {
			at := placesOf(w.Home)
			if len(home) > 0 && !at.meets(home) {
				continue
			}
			certain = certain || len(home) > 0 && at.covers(home)
		} else {
			certain = true
		}
		allowed.keep(placesOf(r.Allow))
		if r.Approval {
			allowed.keep(home) // nobody has approved anything
		}
	}
	if doc.Policy.Default == "deny" && !certain {
		return places{}
	}
	return allowed
}

// way is an exit and a provider.
type way struct{ exitIP, provider string }

// permitted lists the ways that the oracle leaves from an edge.
func (m *Mesh) permitted(doc *state.Document, allowed places, edge *Node) map[way]bool {
	out := map[way]bool{}
	if !allowed[countryOf(edge.Region)] {
		return out
	}
	for _, p := range doc.Providers {
		if !allowed.covers(placesOf(p.Processing)) || !allowed.covers(placesOf(p.Storage)) {
			continue
		}
		for _, n := range m.nodes {
			if n.isExit() && allowed[countryOf(n.Region)] && (len(p.Exits) == 0 || slices.Contains(p.Exits, n.Region)) {
				out[way{n.ip, p.ID}] = true
			}
		}
	}
	return out
}

// watcher sees where a request's bytes are: its text in streams, its volume in the tunnel's sealed
// packets.
type watcher struct {
	mu     sync.Mutex
	canary []byte
	volume map[flow]int
	seen   map[flow]bool
}

func (w *watcher) begin(canary string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.canary, w.volume, w.seen = []byte(canary), map[flow]int{}, map[flow]bool{}
}

func (w *watcher) look(t traffic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.canary == nil:
	case !t.stream && t.data[0]&0x80 == 0: // a short header: not a handshake (RFC 9000, 17.3)
		w.volume[t.flow] += len(t.data)
	case bytes.Contains(t.data, w.canary):
		w.seen[t.flow] = true
	}
}

const bodySize = 40 << 10 // of a request in the property, far above what the mesh says to itself in that time

// Whatever the policy, the tenants, the placement and the faults: a request's bytes are only ever at
// exits and providers that a brute-force reading of the policy allows, across retries and failovers.
// And where nothing is broken and a way is allowed, the request is served.
func TestBytesStayWhereThePolicyAllows(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		base := state.Document{Version: 1}
		for _, r := range regionNets[3:] {
			base.Regions = append(base.Regions, state.Region{ID: r.region, Country: string(r.in)})
		}
		m.Apply(base)
		watch := &watcher{}
		m.net.tap(watch.look)
		var edges []*Node
		for _, r := range []string{cn, eu, us, gb} {
			edges = append(edges, m.AddEdge(r))
		}
		var providers []*Provider
		for _, r := range regionNets {
			m.AddExit(r.region)
			providers = append(providers, m.AddProvider("p-"+r.region, r.region, fake.Options{}))
		}
		count := 0
		stats := map[string]int{}
		rapid.Check(bubbleTB{t}, func(rt *rapid.T) {
			doc := drawDocument(rt, base, providers)
			if slow && count > 60 {
				return
			}
			m.Apply(doc)
			m.Settle()
			for range 3 {
				count++
				m.checkResidency(rt, &doc, watch, edges, providers, count, stats)
			}
		})
		t.Logf("%d requests: %v", count, stats)
		if stats["served"] == 0 || stats["refused"] == 0 || stats["served after a failover"] == 0 {
			t.Errorf("the property was not exercised: %v", stats)
		}
	})
}

// bubbleTB hides Deadline, which may not be asked for in a bubble.
type bubbleTB struct{ rapid.TB }

func drawDocument(rt *rapid.T, base state.Document, providers []*Provider) state.Document {
	doc := base
	doc.Version = 1
	lands := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"EU", "US", "GB", "CN", "DE", "FR"}), 1, 4, rapid.ID[string])
	regions := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{cn, eu, us, fr, gb}), 0, 3, rapid.ID[string])
	doc.Tenants, doc.Keys, doc.Providers = nil, nil, nil
	for i := range 3 {
		id := fmt.Sprintf("t%d", i)
		doc.Tenants = append(doc.Tenants, state.Tenant{
			ID: id, Home: rapid.SampledFrom([]string{"EU", "US", "CN", "GB", "DE", ""}).Draw(rt, "home"), Class: rapid.SampledFrom(classes).Draw(rt, "class"),
		})
		doc.Keys = append(doc.Keys, state.Key{ID: id, Tenant: id, Secret: clientKey + id, Models: []string{"*"}})
	}
	chosen := state.Model{ID: model}
	for _, p := range providers {
		a := p.account()
		a.ID = p.ID
		a.Exits = regions.Draw(rt, "exits")
		if rapid.IntRange(0, 3).Draw(rt, "wide") == 0 {
			a.Processing = append(a.Processing, rapid.SampledFrom([]string{"EU", "US", "*"}).Draw(rt, "processing"))
		}
		if rapid.IntRange(0, 3).Draw(rt, "stored elsewhere") == 0 {
			a.Storage = lands.Draw(rt, "storage")
		}
		doc.Providers = append(doc.Providers, a)
		chosen.Targets = append(chosen.Targets, state.Target{Provider: a.ID, Model: model, Tier: rapid.IntRange(0, 2).Draw(rt, "tier")})
	}
	doc.Models = []state.Model{chosen}
	doc.Policy = &state.Policy{Default: rapid.SampledFrom([]string{"allow", "allow", "allow", "deny"}).Draw(rt, "default")}
	for i := range rapid.IntRange(0, 3).Draw(rt, "rules") {
		r := state.Rule{ID: fmt.Sprintf("r%d", i), Allow: lands.Draw(rt, "allow")}
		if rapid.Bool().Draw(rt, "by home") {
			r.When.Home = lands.Draw(rt, "when home")
		}
		if rapid.Bool().Draw(rt, "by class") {
			r.When.Class = rapid.SliceOfNDistinct(rapid.SampledFrom(classes), 1, 3, rapid.ID[string]).Draw(rt, "when class")
		}
		if rapid.IntRange(0, 4).Draw(rt, "by tenant") == 0 {
			r.When.Tenant = []string{"t0", "t1"}
		}
		r.Approval = rapid.IntRange(0, 4).Draw(rt, "approval") == 0
		doc.Policy.Rules = append(doc.Policy.Rules, r)
	}
	doc.Route = &state.Route{Attempts: 5}
	return doc
}

func (m *Mesh) checkResidency(rt *rapid.T, doc *state.Document, watch *watcher, edges []*Node, providers []*Provider, n int, stats map[string]int) {
	edge := rapid.SampledFrom(edges).Draw(rt, "edge")
	tenant := rapid.SampledFrom(doc.Tenants).Draw(rt, "tenant")
	class := rapid.SampledFrom(classes).Draw(rt, "raised class")
	from := rapid.SampledFrom([]string{cn, eu, us, fr, gb}).Draw(rt, "client")
	broken := rapid.SliceOfN(rapid.IntRange(0, 9), len(providers), len(providers)).Draw(rt, "broken")
	faults := 0
	before := map[string]int{}
	for i, p := range providers {
		before[p.ID] = len(p.Calls())
		switch {
		case broken[i] < 2:
			faults++
			p.Behave(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				http.Error(w, `{"error":{"message":"down"}}`, 500)
			})
		case broken[i] == 2:
			faults++
			p.Behave(func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
		default:
			p.Behave(nil)
		}
	}
	var cut *Node
	if rapid.IntRange(0, 9).Draw(rt, "cut an exit off") == 0 {
		faults++
		cut = rapid.SampledFrom(m.exits()).Draw(rt, "exit")
		m.Partition(edge, cut)
	}
	effective := classes[max(slices.Index(classes, tenant.Class), slices.Index(classes, class))]
	allowed := oracle(doc, tenant, effective)
	ways := m.permitted(doc, allowed, edge)

	canary := fmt.Sprintf("canary-%08d", n)
	watch.begin(canary)
	a := dialects[0].unary(model, strings.Repeat(canary+" ", bodySize/(len(canary)+1)))
	a.key, a.header = clientKey+tenant.ID, []string{"X-Causeway-Class", class}
	r, err := m.try(rt.Context(), from, edge, a)
	if err != nil {
		rt.Fatalf("request: %v", err)
	}
	time.Sleep(500 * time.Millisecond) // what still travels

	about := fmt.Sprintf("tenant %+v as %s at %s: allowed %v, ways %v; answered %d %.300s", tenant, effective, edge.Region, allowed, ways, r.Status, r.Body)
	calls := 0
	for _, p := range providers {
		for _, c := range p.Calls()[before[p.ID]:] {
			calls++
			if w := (way{c.From, p.ID}); !ways[w] {
				rt.Errorf("the provider %s was called from %s: %s", p.ID, m.nodeAt(c.From).Region, about)
			}
		}
	}
	watch.mu.Lock()
	for f := range watch.seen {
		if f.to != edge.ip && !slices.ContainsFunc(providers, func(p *Provider) bool { return p.ip == f.to && ways[way{f.from, p.ID}] }) {
			rt.Errorf("the text was on the link %s to %s: %s", f.from, f.to, about)
		}
	}
	for f, size := range watch.volume {
		open := false
		for w := range ways {
			open = open || w.exitIP == f.to && f.from == edge.ip
		}
		if size > bodySize/2 && !open {
			rt.Errorf("%d bytes went from %s to %s, which is as much as the request: %s", size, f.from, f.to, about)
		}
	}
	watch.mu.Unlock()
	atHome := placesOf([]string{tenant.Home})[countryOf(from)]
	switch {
	case len(ways) == 0 && r.Status != 403:
		rt.Errorf("no way is allowed: %s", about)
	case len(ways) > 0 && faults == 0 && atHome && r.Status != 200:
		rt.Errorf("a way is allowed and nothing is broken: %s", about)
	case r.Status == 200 && calls > 1:
		stats["served after a failover"]++
	case r.Status == 200:
		stats["served"]++
	case r.Status == 403:
		stats["refused"]++
	default:
		stats["failed"]++
	}
	if cut != nil {
		m.Heal(edge, cut)
		m.Settle()
	}
}

func (m *Mesh) exits() []*Node {
	return slices.DeleteFunc(slices.Clone(m.nodes), func(n *Node) bool { return !n.isExit() })
}
