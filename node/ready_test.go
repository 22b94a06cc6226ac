package node

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/probe"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/fault"
)

func TestCertificateCheck(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		left time.Duration
		ok   bool
		note string
	}{
		{48 * time.Hour, true, "until 2026-11-24T12:00:00Z"},
		{23 * time.Hour, true, "until 2026-11-23T11:00:00Z, in 23h0m0s: not renewed in time"},
		{0, false, "until 2026-11-22T12:00:00Z"},
		{-time.Hour, false, "until 2026-11-22T11:00:00Z"},
	} {
		if got := expiry("certificate", now.Add(c.left), now); got != (Check{"certificate", c.ok, c.note}) {
			t.Errorf("%s left: %+v", c.left, got)
		}
	}
}

// Without coordinators a node stays ready and says until when what goes on.
func TestSilentCoordinatorsDoNotMakeUnready(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	h := view.NewHolder("", zerolog.Nop())
	if err := h.Apply(&api.NodeView{Index: 7, ConfirmedAt: now, Policy: state.Policy{MaxAge: state.Duration(2 * time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	n := &Node{view: h}
	for age, want := range map[time.Duration]string{
		30 * time.Second: "",
		time.Hour:        "silent for 1h0m0s; class restricted is served until " + now.Add(2*time.Hour).UTC().Format(time.RFC3339) + ", other classes go on",
	} {
		if got := n.coordinatorCheck(h.Load(), now.Add(age)); got != (Check{"coordinator", true, want}) {
			t.Errorf("after %s: %+v", age, got)
		}
	}
}

func TestReadyz(t *testing.T) {
	checks := []Check{{"view", true, "index 7"}, {"exits", true, "2 of 2 connected"}}
	for _, c := range []struct {
		url    string
		failed bool
		status int
		body   string
	}{
		{"/readyz", false, 200, "ok\n"},
		{"/readyz?verbose", false, 200, "[+] view: index 7\n[+] exits: 2 of 2 connected\n"},
		{"/readyz", true, 503, "[+] view: index 7\n[-] exits: 2 of 2 connected\n"},
		{"/readyz?verbose", true, 503, "[+] view: index 7\n[-] exits: 2 of 2 connected\n"},
	} {
		checks[1].OK = !c.failed
		w := httptest.NewRecorder()
		Readyz(w, httptest.NewRequest("GET", c.url, nil), checks)
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s: %d %q", c.url, w.Code, w.Body)
		}
	}
}

// The circuit states that metrics show are those that routes are chosen by.
func TestCircuitStatesForMetrics(t *testing.T) {
	h := newHealth("edge-1", nil, nil, nil)
	now := time.Now()
	fail := func(model string, f *fault.Error, times int) {
		for range times {
			h.Record(&edge.Outcome{Attempts: []edge.Attempt{{Exit: "exit-1", Provider: "openai", Model: model, Fault: f}}})
		}
	}
	fail("broken", fault.New(fault.UpstreamError, ""), 10)
	fail("busy", fault.New(fault.UpstreamRate, "").After(time.Minute), 1)
	fail("fine", nil, 3)
	got := map[probe.State]int{}
	h.each(now, func(exit, provider string, s probe.State) {
		if exit != "exit-1" || provider != "openai" {
			t.Errorf("target of %s at %s", provider, exit)
		}
		got[s]++
	})
	if got[probe.Open] != 1 || got[probe.Cooling] != 1 || got[probe.Healthy] != 1 {
		t.Errorf("states %v", got)
	}
	h.each(now.Add(time.Hour), func(_, _ string, s probe.State) {
		if s == probe.Cooling || s == probe.Open {
			t.Errorf("%v after an hour", s)
		}
	})
}

// A scrape reads what is there at that moment, also before the first view.
func TestFiguresBeforeTheFirstView(t *testing.T) {
	n := &Node{view: view.NewHolder("", zerolog.Nop()), health: newHealth("edge-1", nil, nil, nil), seen: newProviders()}
	if got := n.targets(); got != nil {
		t.Errorf("targets %v", got)
	}
	if got := n.providerHealth(); got != nil {
		t.Errorf("providers %v", got)
	}
	if got := n.regionOf("exit-1"); got != "" {
		t.Errorf("region %q", got)
	}
	if err := n.view.Apply(&api.NodeView{Index: 1, Nodes: []state.Node{{ID: "exit-1", Region: "us-west"}}}); err != nil {
		t.Fatal(err)
	}
	if got := n.regionOf("exit-1"); !strings.HasPrefix(got, "us-") {
		t.Errorf("region %q", got)
	}
}
