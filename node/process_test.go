package node_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/relay/fake"
)

const (
	clientKey   = "cw_test_0123456789abcdefghijkl"
	lateKey     = "cw_late_0123456789abcdefghijkl"
	providerKey = "provider-key-0123456789abcdef"
)

const processMesh = `version: 1
providers:
  - id: fake
    dialects: [openai-chat]
    base_url: BASE/v1
    auth: {scheme: bearer, secrets: [{id: a, value: "env:PROVIDER_KEY", weight: 1}]}
    processing: [US]
    storage: [US]
models: [{id: m, targets: [{provider: fake, model: fake}]}]
orgs: [{id: acme}]
tenants: [{id: acme, org: acme, home: US, class: internal}]
keys: [{id: app, tenant: acme, secret: "env:CLIENT_KEY", models: ["*"]}]
route: {policy: causeway, attempts: 3}
`

// TestRealProcesses runs three coordinators, two edges and two exits as processes of their own, and
// takes an exit and the leading coordinator away with SIGKILL while requests run.
func TestRealProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts seven processes and takes half a minute")
	}
	provider := httptest.NewServer(fake.New(fake.Options{Country: "US", Keys: []string{providerKey}, FirstToken: 20 * time.Millisecond, TokenDelay: 4 * time.Millisecond}))
	t.Cleanup(provider.Close)
	d := newDeployment(t)

	first := d.coordinator("c1", "coordinator", "run", "--init")
	d.env = []string{
		"CAUSEWAY_SERVER=" + first.url, "CAUSEWAY_TOKEN=file:" + filepath.Join(first.data, "admin.token"), "CAUSEWAY_CA=" + filepath.Join(first.data, "ca.pem"),
		"PROVIDER_KEY=" + providerKey, "CLIENT_KEY=" + clientKey, "LATE_KEY=" + lateKey,
	}
	others := make([]*process, 2)
	for i, name := range []string{"c2", "c3"} {
		token := d.run("node", "token", "--role", "coordinator", "--region", "eu-central")
		others[i] = d.coordinator(name, "coordinator", "join", "--token", token, "--server", first.url)
	}
	servers := strings.Join([]string{first.url, others[0].url, others[1].url}, ",")
	edges, exits := make([]*process, 2), make([]*process, 2)
	var spent string
	for i, region := range []string{"us-west", "eu-central"} {
		edges[i], spent = d.node("edge-"+region, region, "edge", servers)
		exits[i], _ = d.node("exit-"+region, region, "exit", servers)
	}

	t.Run("join token used twice", func(t *testing.T) {
		_, said, code := d.try("node", "join", "--token", spent, "--server", first.url, "--data", filepath.Join(d.dir, "twice"))
		if code != 4 || !strings.Contains(said, "already used by node \"edge-eu-central\"") || !strings.Contains(said, "causeway node token") {
			t.Errorf("exit code %d: %s", code, said)
		}
		if _, err := os.Stat(filepath.Join(d.dir, "twice", "node.key")); err == nil {
			t.Error("a refused join left an identity behind")
		}
	})
	t.Run("data directory of another node", func(t *testing.T) {
		token := d.run("node", "token", "--region", "us-west", "--role", "exit")
		_, said, code := d.try("node", "join", "--token", token, "--server", first.url, "--data", edges[0].data)
		if code == 0 || !strings.Contains(said, "already holds node edge-us-west") {
			t.Errorf("exit code %d: %s", code, said)
		}
		// The refusal came before the token was spent.
		d.run("node", "join", "--token", token, "--server", first.url, "--data", filepath.Join(d.dir, "spare"))
	})
	t.Run("data directory of another cluster", func(t *testing.T) {
		stranger := d.coordinator("stranger", "coordinator", "run", "--init", "--mesh", "other")
		d.terminate(stranger)
		token := d.run("node", "token", "--role", "coordinator", "--region", "us-west")
		_, said, code := d.try("coordinator", "join", "--token", token, "--server", first.url, "--data", stranger.data,
			"--admin", "127.0.0.1:0", "--raft", "127.0.0.1:0", "--advertise", "127.0.0.1")
		if code == 0 || !strings.Contains(said, stranger.data) || !strings.Contains(said, "other") {
			t.Errorf("exit code %d: %s", code, said)
		}
	})

	file, late := filepath.Join(d.dir, "mesh.yaml"), filepath.Join(d.dir, "late.yaml")
	for name, text := range map[string]string{
		file: strings.ReplaceAll(processMesh, "BASE", provider.URL),
		late: "version: 1\nkeys: [{id: late, tenant: acme, secret: \"env:LATE_KEY\", models: [\"*\"]}]\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := d.run("apply", "-f", file, "--dry-run"); !strings.Contains(out, "fake") || strings.Contains(out, providerKey) || strings.Contains(out, clientKey) {
		t.Errorf("dry run:\n%s", out)
	}
	d.run("apply", "-f", file)
	for _, p := range append(append([]*process{}, edges...), exits...) {
		d.within(10*time.Second, p.name+" ready", func() string { return d.notReady(p) })
	}
	for _, e := range edges {
		d.within(10*time.Second, e.name+" serves", func() string {
			if a := d.ask(t.Context(), e, clientKey, false, 5); !a.done {
				return a.String()
			}
			return ""
		})
		if a := d.ask(t.Context(), e, clientKey, true, 20); !a.done {
			t.Errorf("stream through %s: %s", e.name, a)
		}
	}

	t.Run("an exit dies", func(t *testing.T) {
		load := d.drive(edges, 24)
		time.Sleep(700 * time.Millisecond)
		victim, region := exits[0], "us-west" // the one that is in use
		if a := d.ask(t.Context(), edges[1], clientKey, false, 5); strings.Contains(a.route, "exit=eu-central;") {
			victim, region = exits[1], "eu-central"
		}
		if err := victim.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		load.check(t, 50)
		for _, e := range edges {
			if a := d.ask(t.Context(), e, clientKey, true, 5); !a.done || strings.Contains(a.route, "exit="+region+";") {
				t.Errorf("%s after the death of %s: %s", e.name, victim.name, a)
			}
		}
	})

	t.Run("the leader dies", func(t *testing.T) {
		coordinators := append([]*process{first}, others...)
		var leader *process
		d.within(15*time.Second, "three voters", func() string {
			m, err := d.status()
			if err != nil {
				return err.Error()
			}
			for _, x := range m.Members {
				for _, p := range coordinators {
					if x.Leader && x.API == p.url {
						leader = p
					}
				}
			}
			if m.Voters != 3 || leader == nil {
				return "not yet"
			}
			return ""
		})
		load := d.drive(edges, 8)
		if err := leader.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-leader.done
		killed := time.Now()
		for _, p := range coordinators {
			if p != leader {
				d.env[0] = "CAUSEWAY_SERVER=" + p.url
			}
		}
		d.within(15*time.Second, "admin writes", func() string {
			if _, said, code := d.try("apply", "-f", late); code != 0 {
				return said
			}
			return ""
		})
		t.Logf("an admin write succeeded %s after the leader's death", time.Since(killed).Round(time.Millisecond))
		for _, e := range edges {
			d.within(15*time.Second, e.name+" hears of the write", func() string {
				if a := d.ask(t.Context(), e, lateKey, false, 5); !a.done {
					return a.String()
				}
				return ""
			})
		}
		load.check(t, 20)
		if load.broken.Load() != 0 {
			t.Errorf("%d streams broke because of a coordinator", load.broken.Load())
		}
	})

	t.Run("end", func(t *testing.T) {
		for _, p := range d.all {
			if !p.ended() {
				d.terminate(p)
			}
		}
	})
}

// load is a run of concurrent clients.
type load struct {
	stop             context.CancelFunc
	wg               sync.WaitGroup
	complete, broken atomic.Int64
	mu               sync.Mutex
	lost             []reply
	longest          time.Duration
}

// drive lets n clients ask the edges in turn, half of them for streams, until check.
func (d *deployment) drive(edges []*process, n int) *load {
	ctx, stop := context.WithCancel(d.t.Context())
	l := &load{stop: stop}
	for i := range n {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				begin := time.Now()
				a := d.ask(d.t.Context(), edges[i%len(edges)], clientKey, i/2%2 == 0, 30)
				l.mu.Lock()
				l.longest = max(l.longest, time.Since(begin))
				l.mu.Unlock()
				switch {
				case a.done:
					l.complete.Add(1)
				case a.ok():
					l.broken.Add(1)
				default:
					l.mu.Lock()
					l.lost = append(l.lost, a)
					l.mu.Unlock()
				}
			}
		})
	}
	return l
}

// check stops the clients: no request may be lost but a stream that already had content, and that one
// was told so.
func (l *load) check(t *testing.T, atLeast int64) {
	t.Helper()
	l.stop()
	l.wg.Wait()
	t.Logf("%d requests complete, %d streams broken after content, the longest took %s", l.complete.Load(), l.broken.Load(), l.longest.Round(time.Millisecond))
	if n := l.complete.Load(); n < atLeast {
		t.Errorf("only %d requests in the run, want at least %d", n, atLeast)
	}
	for _, a := range l.lost[:min(len(l.lost), 5)] {
		t.Errorf("lost: %s", a)
	}
	if len(l.lost) > 5 {
		t.Errorf("and %d more", len(l.lost)-5)
	}
}
