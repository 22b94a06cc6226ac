package coordinator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/identity"
)

// running is a coordinator with its Run.
type running struct {
	*Server
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	once   sync.Once
}

func base(t *testing.T, dir string) Config {
	t.Helper()
	log := zerolog.Nop()
	if testing.Verbose() {
		log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel)
	}
	return Config{
		Dir: dir, Mesh: "test", ListenAPI: "127.0.0.1:0", ListenRaft: "127.0.0.1:0", Profile: consensus.Dev(), Log: log,
		Tokens: []Token{{Name: "op", Role: api.RoleOperator, Secret: "operator-token"}},
	}
}

func run(t *testing.T, cfg Config) *running {
	t.Helper()
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Server: s, t: t, cancel: cancel, done: make(chan struct{})}
	go func() { defer close(r.done); r.err = s.Run(ctx) }()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *running) stop() {
	r.once.Do(func() {
		r.cancel()
		<-r.done
		if r.err != nil {
			r.t.Errorf("%s: Run: %v", r.ID(), r.err)
		}
	})
}

func (r *running) ready() *running {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	if err := r.WaitReady(ctx); err != nil {
		r.t.Fatal(err)
	}
	return r
}

// client is an admin at this coordinator only.
func (r *running) client(admin string) *api.Client {
	r.t.Helper()
	c, err := api.NewClient(api.Config{Servers: []string{r.APIURL()}, Token: admin, Roots: r.Identity().Roots()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

func do(t *testing.T, c *api.Client, method, path, body string) api.Answer {
	t.Helper()
	a, err := try(t, c, method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func try(t *testing.T, c *api.Client, method, path, body string) (api.Answer, error) {
	t.Helper()
	return c.Do(t.Context(), api.Call{Method: method, Path: path, Body: []byte(body)})
}

func joinToken(t *testing.T, c *api.Client, role, region string) string {
	t.Helper()
	a := do(t, c, "POST", "/v1/cluster/tokens", fmt.Sprintf(`{"roles":[%q],"region":%q}`, role, region))
	var out api.TokenAnswer
	if err := json.Unmarshal(a.Body, &out); err != nil {
		t.Fatal(err)
	}
	return out.Secret
}

// cluster starts n coordinators; the first makes the cluster, the others join it.
func cluster(t *testing.T, n int) []*running {
	t.Helper()
	cfg := base(t, t.TempDir())
	cfg.Init = true
	all := []*running{run(t, cfg).ready()}
	admin := all[0].client(all[0].AdminToken())
	for range n - 1 {
		cfg := base(t, t.TempDir())
		cfg.Join = &Join{Token: joinToken(t, admin, "coordinator", "eu-central"), Servers: []string{all[0].APIURL()}}
		all = append(all, run(t, cfg).ready())
	}
	eventually(t, "all members vote", func() bool {
		ms, err := all[0].Consensus().Members(t.Context())
		voters := 0
		for _, m := range ms {
			if m.Voter {
				voters++
			}
		}
		return err == nil && voters == n
	})
	return all
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestStartToLeaderIsShort(t *testing.T) {
	cfg := base(t, t.TempDir())
	cfg.Init, cfg.PlainAPI, cfg.ListenRaft = true, true, ""
	start := time.Now()
	r := run(t, cfg).ready()
	t.Logf("empty directory to initialised leader: %s", time.Since(start))
	if r.AdminToken() == "" || r.Snapshot().Mesh != "test" {
		t.Fatalf("admin token %q, mesh %q", r.AdminToken(), r.Snapshot().Mesh)
	}
	info, err := os.Stat(r.AdminTokenFile())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("admin.token: %v %v", info, err)
	}
	do(t, r.client(r.AdminToken()), "PUT", "/v1/orgs/acme", `{}`)
}

func TestThreeMembersForwardAndFailOver(t *testing.T) {
	all := cluster(t, 3)
	admin := all[0].AdminToken()

	// Each member takes a write, whoever leads; each linearizable read sees the last write.
	for i, r := range all {
		do(t, r.client(admin), "PUT", fmt.Sprintf("/v1/tenants/t%d", i), `{"home":"EU"}`)
		for _, other := range all {
			a := do(t, other.client(admin), "GET", fmt.Sprintf("/v1/tenants/t%d", i), "")
			if a.Header.Get("X-Causeway-Leader") == "" || a.Index == 0 {
				t.Errorf("headers %v", a.Header)
			}
		}
	}

	lead := 0
	for i, r := range all {
		if r.Consensus().IsLeader() {
			lead = i
		}
	}
	members := do(t, all[(lead+1)%3].client(admin), "GET", "/v1/cluster/members", "")
	var list struct{ Items []api.Member }
	if err := json.Unmarshal(members.Body, &list); err != nil || len(list.Items) != 3 {
		t.Fatalf("members %s: %v", members.Body, err)
	}
	for _, m := range list.Items {
		if !m.Online || !m.Voter || m.FSMHash == "" {
			t.Errorf("member %+v", m)
		}
	}

	took := make([]time.Duration, 100)
	follower := all[(lead+1)%3].client(admin)
	for i := range took {
		start := time.Now()
		do(t, follower, "PUT", "/v1/orgs/o", "{}")
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	t.Logf("write through a follower, fsync on 3 disks: p50 %s, p99 %s", took[50], took[98])

	// A node that joined at the first coordinator, and was told of no other.
	edge, err := api.Join(t.Context(), api.JoinConfig{Servers: []string{all[lead].APIURL()}, Token: joinToken(t, follower, "edge", "us-west")})
	if err != nil {
		t.Fatal(err)
	}
	node, err := api.NewClient(api.Config{Servers: []string{all[lead].APIURL()}, Identity: edge.Identity})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	ctx, stopWatch := context.WithCancel(t.Context())
	saw, begun := make(chan struct{}), make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		var once, first sync.Once
		_ = node.Watch(ctx, 0, func(v *api.NodeView, _ time.Time) {
			first.Do(func() { close(begun) })
			if v != nil && slices.ContainsFunc(v.Tenants, func(x state.Tenant) bool { return x.ID == "after" }) {
				once.Do(func() { close(saw) })
			}
		})
	}()
	defer func() { stopWatch(); <-watched }()
	<-begun

	// The leader goes without a word.
	kill(all[lead])
	start := time.Now()
	next := all[(lead+1)%3]
	do(t, next.client(admin), "PUT", "/v1/tenants/after", `{"home":"CN"}`)
	t.Logf("leader gone to next committed write: %s", time.Since(start))
	do(t, all[(lead+2)%3].client(admin), "GET", "/v1/tenants/after", "")
	all[lead].cancel()
	select {
	case <-saw:
		t.Logf("leader gone to a node's view of that write: %s", time.Since(start))
	case <-time.After(20 * time.Second):
		t.Error("the node did not find another coordinator")
	}

	// It comes back on another port and learns what it missed.
	all[lead].stop()
	cfg := base(t, all[lead].cfg.Dir)
	back := run(t, cfg)
	eventually(t, "the restarted member has the write", func() bool { return back.Snapshot().Tenants.Has("after") })
	eventually(t, "the states are equal", func() bool {
		a, ai := back.Consensus().FSMHash()
		b, bi := next.Consensus().FSMHash()
		return ai == bi && a == b
	})
	do(t, back.client(admin), "PUT", "/v1/tenants/back", `{}`)
}

// kill cuts a member off at once, as a power failure would look to the others.
func kill(r *running) {
	r.transport.Fence()
	r.mux.inner.Close()
	r.apiL.Close()
}

func TestRestartFromDisk(t *testing.T) {
	dir := t.TempDir()
	cfg := base(t, dir)
	cfg.Init = true
	first := run(t, cfg).ready()
	token := first.AdminToken()
	do(t, first.client(token), "PUT", "/v1/tenants/acme", `{"home":"EU","labels":{"a":"b"}}`)
	hash, index := first.Consensus().FSMHash()
	if err := first.Consensus().Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	do(t, first.client(token), "PUT", "/v1/tenants/later", `{}`)
	first.stop()

	again := run(t, base(t, dir)).ready()
	if again.AdminToken() != token || again.ID() != first.ID() || again.ClusterID() != first.ClusterID() {
		t.Error("the directory forgot who it is")
	}
	for _, id := range []string{"acme", "later"} {
		if !again.Snapshot().Tenants.Has(id) {
			t.Errorf("tenant %s is lost", id)
		}
	}
	if h, i := again.Consensus().FSMHash(); i <= index || h == hash {
		t.Errorf("index %d after %d", i, index)
	}
	do(t, again.client(token), "PUT", "/v1/tenants/third", `{}`)
}

func TestDirectoryMistakes(t *testing.T) {
	one := base(t, t.TempDir())
	one.Init = true
	a := run(t, one).ready()
	two := base(t, t.TempDir())
	two.Init, two.Mesh = true, "other"
	b := run(t, two).ready()
	tokenA := joinToken(t, a.client(a.AdminToken()), "coordinator", "eu-central")
	edgeA := joinToken(t, a.client(a.AdminToken()), "edge", "eu-central")

	copied := t.TempDir()
	if err := os.WriteFile(filepath.Join(copied, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(copied, raftDir), 0o700); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()

	for _, tc := range []struct {
		why  string
		edit func(*Config)
		want string
	}{
		{"nothing there and nothing asked", func(c *Config) { c.Dir = t.TempDir() }, "coordinator run --init"},
		{"the directory of a running coordinator", func(c *Config) { c.Dir = one.Dir }, "in use by another process"},
		{"a token of another cluster", func(c *Config) {
			c.Dir, c.Join = two.Dir, &Join{Token: tokenA, Servers: []string{a.APIURL()}}
		}, "belongs to another cluster"},
		{"--init with another name", func(c *Config) { c.Dir, c.Init, c.Mesh = two.Dir, true, "third" }, "belongs to another cluster"},
		{"another member's directory", func(c *Config) { c.Dir, c.ID = two.Dir, "somebody" }, "not somebody"},
		{"half a copy", func(c *Config) { c.Dir = copied }, "damaged or was copied in part"},
		{"port in use", func(c *Config) { c.Dir, c.Init, c.ListenAPI = t.TempDir(), true, busy.Addr().String() }, "in use by another process"},
		{"the CA pin meets another server", func(c *Config) {
			c.Dir, c.Join = t.TempDir(), &Join{Token: tokenA, Servers: []string{b.APIURL()}}
		}, "pinned CA key"},
		{"a token for another role", func(c *Config) {
			c.Dir, c.Join = t.TempDir(), &Join{Token: edgeA, Servers: []string{a.APIURL()}}
		}, "--role coordinator"},
		{"both ways at once", func(c *Config) { c.Dir, c.Init, c.Join = t.TempDir(), true, &Join{} }, "one of them"},
		{"the admin API in clear on every address", func(c *Config) { c.Dir, c.Init, c.PlainAPI, c.ListenAPI = t.TempDir(), true, true, ":0" }, "loopback"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			cfg := base(t, "")
			tc.edit(&cfg)
			s, err := New(t.Context(), cfg)
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
			if strings.Contains(err.Error(), strings.Split(tokenA, ".")[2]) {
				t.Error("the error shows the token's secret")
			}
		})
	}
}

func TestLostLogIsNotStartedAnew(t *testing.T) {
	cfg := base(t, t.TempDir())
	cfg.Init = true
	r := run(t, cfg).ready()
	r.stop()
	if err := os.RemoveAll(filepath.Join(cfg.Dir, raftDir)); err != nil {
		t.Fatal(err)
	}
	_, err := New(t.Context(), base(t, cfg.Dir))
	if err == nil || !strings.Contains(err.Error(), "lost its Raft log") {
		t.Fatalf("error %v", err)
	}
}

func TestJoinTokenWorksOnce(t *testing.T) {
	cfg := base(t, t.TempDir())
	cfg.Init = true
	r := run(t, cfg).ready()
	admin := r.client(r.AdminToken())
	token := joinToken(t, admin, "exit", "us-west")
	got, err := api.Join(t.Context(), api.JoinConfig{Servers: []string{r.APIURL()}, Token: token, Addr: "127.0.0.1:7701"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Region != "us-west" || got.Roles != identity.RoleExit || got.Coordinator != nil {
		t.Errorf("joined as %+v", got)
	}
	_, err = api.Join(t.Context(), api.JoinConfig{Servers: []string{r.APIURL()}, Token: token})
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != "denied" || !strings.Contains(p.Detail, "already used by node "+`"`+got.Node) {
		t.Fatalf("second use: %v", err)
	}
	if p.Outcome != api.OutcomeNone || r.Snapshot().Nodes.Len() != 1 {
		t.Errorf("outcome %s, %d nodes", p.Outcome, r.Snapshot().Nodes.Len())
	}
	forged := strings.Replace(token, "."+strings.Split(token, ".")[2]+".", "."+strings.Repeat("A", 32)+".", 1)
	if _, err = api.Join(t.Context(), api.JoinConfig{Servers: []string{r.APIURL()}, Token: forged}); !errors.As(err, &p) || !strings.Contains(p.Detail, "unknown") {
		t.Fatalf("forged: %v", err)
	}
}

func TestNodeLife(t *testing.T) {
	cfg := base(t, t.TempDir())
	cfg.Init = true
	r := run(t, cfg).ready()
	admin := r.client(r.AdminToken())
	join := func(role, region string) (*api.Joined, *api.Client) {
		got, err := api.Join(t.Context(), api.JoinConfig{Servers: []string{r.APIURL()}, Token: joinToken(t, admin, role, region)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := api.NewClient(api.Config{Servers: []string{r.APIURL()}, Identity: got.Identity})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return got, c
	}
	edge, edgeC := join("edge", "cn-east")
	_, exitC := join("exit", "us-west")
	_, farC := join("exit", "eu-central")
	do(t, admin, "PUT", "/v1/providers/p", `{"dialects":["openai-chat"],"base_url":"https://p.example/v1","processing":["US"],"storage":["US"],
		"exits":["us-west"],"auth":{"scheme":"bearer","secrets":[{"id":"a","value":"canary-upstream-credential"}]}}`)
	do(t, admin, "PUT", "/v1/tenants/acme", `{"home":"EU"}`)
	key := do(t, admin, "POST", "/v1/keys", `{"id":"app","tenant":"acme"}`)
	var made struct{ Secret string }
	if err := json.Unmarshal(key.Body, &made); err != nil || !strings.HasPrefix(made.Secret, "cw_") {
		t.Fatalf("key %s: %v", key.Body, err)
	}
	get := func(c *api.Client) *api.NodeView {
		v, _, err := c.View(t.Context(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}

	ve, vx, vf := get(edgeC), get(exitC), get(farC)
	if len(ve.Providers) != 1 || ve.Providers[0].Auth.Secrets[0].Value != "" || len(ve.Keys) != 1 || len(ve.Pepper) == 0 || ve.Edges != 1 {
		t.Errorf("edge's view: %+v", ve)
	}
	if len(vx.Providers) != 1 || vx.Providers[0].Auth.Secrets[0].Value != "canary-upstream-credential" || len(vx.Keys)+len(vx.Pepper) != 0 {
		t.Errorf("permitted exit's view: %+v", vx)
	}
	if len(vf.Providers) != 0 {
		t.Errorf("an exit elsewhere sees %+v", vf.Providers)
	}
	whole, err := json.Marshal(r.Snapshot().Providers.Slice())
	if err != nil || bytes.Contains(whole, []byte("canary")) {
		t.Errorf("the state holds the credential in clear (%v)", err)
	}
	if a := do(t, admin, "GET", "/v1/providers/p", ""); bytes.Contains(a.Body, []byte("canary")) || bytes.Contains(a.Body, []byte("sealed")) {
		t.Errorf("the API shows a credential: %s", a.Body)
	}

	// A watch sees a change at once.
	ctx, cancel := context.WithCancel(t.Context())
	views := make(chan *api.NodeView, 64)
	watched := make(chan error, 1)
	go func() {
		watched <- edgeC.Watch(ctx, ve.Index, func(v *api.NodeView, _ time.Time) {
			if v != nil {
				views <- v
			}
		})
	}()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	do(t, admin, "POST", "/v1/keys/app:revoke", "")
	select {
	case v := <-views:
		t.Logf("revocation reached the watch after %s", time.Since(start))
		if len(v.Keys) != 1 || !v.Keys[0].Revoked || v.Index <= ve.Index {
			t.Errorf("watched %+v", v.Keys)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the watch saw nothing")
	}
	cancel()
	if err := <-watched; !errors.Is(err, context.Canceled) {
		t.Errorf("watch ended with %v", err)
	}

	// Renewal changes the serial; revocation ends both the new and the former certificate.
	former := edge.Identity.Self().Serial
	if err := edgeC.Renew(t.Context(), "127.0.0.1:9", "b1"); err != nil {
		t.Fatal(err)
	}
	if n, _ := r.Snapshot().Nodes.Get(edge.Node); n.Serial == former || n.Serial != edge.Identity.Self().Serial || n.Addr != "127.0.0.1:9" {
		t.Errorf("node %+v, former serial %s", n, former)
	}
	if _, err := try(t, edgeC, "POST", "/v1/nodes/"+vx.Node+":renew", `{"csr":""}`); err == nil {
		t.Error("a node renewed another one")
	}
	do(t, admin, "POST", "/v1/nodes/"+edge.Node+":drain", "")
	if n, _ := r.Snapshot().Nodes.Get(edge.Node); n.State != state.NodeDraining {
		t.Errorf("state %s", n.State)
	}
	do(t, admin, "POST", "/v1/nodes/"+edge.Node+":revoke", "")
	if _, _, err := edgeC.View(t.Context(), 0, 0); err == nil {
		t.Error("a revoked node still gets its view")
	}
	if !r.Snapshot().Revoked.Has(former) {
		t.Error("the former certificate is still good")
	}
}

func TestHealthEndpoints(t *testing.T) {
	cfg := base(t, t.TempDir())
	cfg.Init, cfg.PlainAPI, cfg.ListenRaft = true, true, ""
	r := run(t, cfg).ready()
	for path, want := range map[string]int{
		"/livez": 200, "/readyz?verbose": 200, "/v1/health/live": 200, "/v1/health/ready": 200, "/v1/health/leader": 200,
		"/v1/budgets": 404, "/nothing": 404, "/v1/tenants": 401,
	} {
		resp, err := http.Get(r.APIURL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// fakeLeader leads until a transfer took effect, whatever the transfer's answer was.
type fakeLeader struct {
	answers []error
	effect  int // transfers after which it leads no more
	calls   int
}

func (f *fakeLeader) IsLeader() bool { return f.calls < f.effect }

func (f *fakeLeader) Transfer(context.Context, string) error {
	f.calls++
	return f.answers[f.calls-1]
}

func TestLeadershipIsHandedOver(t *testing.T) {
	for _, c := range []struct {
		why   string
		f     fakeLeader
		calls int
		err   error
	}{
		{"at once", fakeLeader{answers: []error{nil}, effect: 1}, 1, nil},
		{"the first connection was stale", fakeLeader{answers: []error{io.EOF, nil}, effect: 2}, 2, nil},
		{"only the answer was lost", fakeLeader{answers: []error{io.EOF}, effect: 1}, 1, nil},
		{"nobody takes it", fakeLeader{answers: []error{io.EOF, io.EOF, io.EOF}, effect: 9}, 3, io.EOF},
	} {
		if err := handOver(t.Context(), &c.f); !errors.Is(err, c.err) || c.f.calls != c.calls {
			t.Errorf("%s: %v after %d tries, want %v after %d", c.why, err, c.f.calls, c.err, c.calls)
		}
	}
}
