package coordinator

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
)

// memNet is a network of pipes: addresses exist while somebody listens.
type memNet struct {
	mu   sync.Mutex
	next int
	at   map[string]*chanListener
}

type memAddr string

func (memAddr) Network() string  { return "tcp" }
func (a memAddr) String() string { return string(a) }

func (n *memNet) listen(_, addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if strings.HasSuffix(addr, ":0") {
		n.next++
		addr = fmt.Sprintf("%s:%d", strings.TrimSuffix(addr, ":0"), 1000+n.next)
	}
	l := newChanListener(memAddr(addr))
	n.at[addr] = l
	return l, nil
}

func (n *memNet) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.at[addr]
	n.mu.Unlock()
	here, there := net.Pipe()
	if l == nil || !l.give(ctx, there) {
		return nil, fmt.Errorf("dial %s: nobody listens", addr)
	}
	return here, nil
}

func (n *memNet) config(t *testing.T) Config {
	cfg := base(t, t.TempDir())
	cfg.ListenAPI, cfg.ListenRaft = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Listen, cfg.Dial, cfg.Store = n.listen, n.dial, consensus.NewMemStore()
	return cfg
}

// A whole cluster, its TLS and its HTTP included, runs in virtual time without a socket.
func TestClusterInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mesh := &memNet{at: map[string]*chanListener{}}
		cfg := mesh.config(t)
		cfg.Init, cfg.Profile = true, consensus.WAN()
		first := run(t, cfg).ready()
		admin := mesh.client(t, first, api.Config{Token: first.AdminToken()})
		all := []*running{first}
		for range 2 {
			cfg := mesh.config(t)
			cfg.Profile = consensus.WAN()
			cfg.Join = &Join{Token: joinToken(t, admin, "coordinator", "us-west"), Servers: []string{first.APIURL()}}
			all = append(all, run(t, cfg).ready())
		}
		eventually(t, "all vote", func() bool {
			ms, err := first.Consensus().Members(t.Context())
			return err == nil && len(ms) == 3 && ms[1].Voter && ms[2].Voter
		})
		do(t, mesh.client(t, all[2], api.Config{Token: first.AdminToken()}), "PUT", "/v1/tenants/acme", `{"home":"EU"}`)

		start := time.Now()
		first.stop()
		do(t, mesh.client(t, all[1], api.Config{Token: first.AdminToken()}), "PUT", "/v1/tenants/b", `{"home":"EU"}`)
		t.Logf("orderly stop of the leader to next committed write: %s (virtual)", time.Since(start))
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("took %s, want 4 s at most", d)
		}
		for _, r := range all[1:] {
			r.stop()
		}
	})
}

func (n *memNet) client(t *testing.T, r *running, cfg api.Config) *api.Client {
	t.Helper()
	cfg.Servers, cfg.Dial = []string{r.APIURL()}, n.dial
	if cfg.Identity == nil {
		cfg.Roots = r.Identity().Roots()
	}
	c, err := api.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Certificates live 72 h and are renewed every 24 h, the coordinator's own too.
func TestCertificatesAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mesh := &memNet{at: map[string]*chanListener{}}
		cfg := mesh.config(t)
		cfg.Init, cfg.Profile = true, consensus.WAN()
		r := run(t, cfg).ready()
		admin := mesh.client(t, r, api.Config{Token: r.AdminToken()})
		got, err := api.Join(t.Context(), api.JoinConfig{Servers: []string{r.APIURL()}, Token: joinToken(t, admin, "edge", "us-west"), Dial: mesh.dial})
		if err != nil {
			t.Fatal(err)
		}
		c := mesh.client(t, r, api.Config{Identity: got.Identity})
		ctx, cancel := context.WithCancel(t.Context())
		renewals := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = c.KeepRenewed(ctx, "127.0.0.1:1", "build", func(err error) {
				if err != nil {
					t.Errorf("renewal: %v", err)
				}
				renewals++
			})
		}()
		own := r.Identity().Self().Serial
		time.Sleep(28 * time.Hour)
		if renewals != 2 { // at the start, and once after about a day
			t.Errorf("%d renewals in 28 h, want 2", renewals)
		}
		if r.Identity().Self().Serial == own {
			t.Error("the coordinator kept its first certificate")
		}
		if left := time.Until(got.Identity.Self().NotAfter); left < 48*time.Hour {
			t.Errorf("the node's certificate has %s left", left)
		}
		cancel()
		<-done
		r.stop()
	})
}
