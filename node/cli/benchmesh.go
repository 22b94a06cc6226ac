package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/bench"
	"github.com/causeway-mesh/causeway/bench/floor"
	"github.com/causeway-mesh/causeway/bench/load"
	"github.com/causeway-mesh/causeway/coordinator"
	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/node"
)

// benchReady opens the line that a measured node prints once it listens.
const benchReady = floor.Ready

// devReadyLine begins what `causeway dev` prints when it is ready.
const devReadyLine = "The mesh is ready"

// benchmarked makes the meshes that `bench run` measures: real nodes as processes, admitted by a real
// coordinator, which runs in this process because no request ever meets it.
type benchmarked struct {
	exe    string
	say    io.Writer
	mu     sync.Mutex
	closed []func()
}

func newBenchmarked(exe string, say io.Writer) *benchmarked { return &benchmarked{exe: exe, say: say} }

func (b *benchmarked) onClose(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = append(b.closed, f)
}

func (b *benchmarked) close() {
	for i := len(b.closed) - 1; i >= 0; i-- {
		b.closed[i]()
	}
}

func (b *benchmarked) targets() []bench.Target {
	return []bench.Target{
		{Name: "causeway", Floor: bench.QUIC2, Note: "edge and exit, a process each", Start: b.start("internal", []string{"exit"}, []string{"edge"})},
		{Name: "causeway-1", Floor: bench.GoProxy, Note: "edge and exit in one process", Start: b.start("internal", []string{"edge", "exit"})},
		{
			Name: "causeway-strict", Note: "as causeway, every audit intent fsynced before egress", Only: bench.Latency, Beside: "causeway", P99: 5 * time.Millisecond,
			Start: b.start("restricted", []string{"exit"}, []string{"edge"}),
		},
		{Name: "causeway-dev", Note: "causeway dev, no request yet", Only: bench.Idle, Start: b.dev},
	}
}

// The bars of issue 2 for memory, in the units of bench.Process.
const (
	maxNodeMB, maxDevMB, maxStreamKB = 40, 120, 65 // the last at each end: a node that is both holds both
)

// benchDocument has everything on that a request meets: a key, limits, a rule, a provider with a place.
func benchDocument(provider, class, secret string) state.Document {
	return state.Document{
		Version: 1,
		Providers: []state.Provider{{
			ID: "mock", Dialects: []string{"openai-chat"}, BaseURL: provider + "/v1", Processing: []string{"US"}, Storage: []string{"US"},
			Auth: state.Auth{Scheme: "bearer", Secrets: []state.Secret{{ID: "a", Value: "bench-provider-key", Weight: 1}}},
		}},
		Models: []state.Model{{
			ID: "bench", Targets: []state.Target{{Provider: "mock", Model: "bench", Weight: 1}}, Price: state.Price{Input: "2.50", Output: "10.00", Unit: "token"},
		}},
		Orgs:    []state.Org{{ID: "bench"}},
		Tenants: []state.Tenant{{ID: "bench", Org: "bench", Home: "US", Ownership: "US", Class: class}},
		Keys:    []state.Key{{ID: "bench", Tenant: "bench", Secret: secret}},
		Limits: []state.Limit{
			{Tenant: "bench", RPM: 1 << 30, TPM: 1 << 40, Concurrency: 1 << 20},
			{Tenant: "bench", Key: "bench", Model: "bench", RPM: 1 << 30, TPM: 1 << 40, Concurrency: 1 << 20},
		},
		Policy: &state.Policy{Default: "allow", Rules: []state.Rule{
			{ID: "stay", When: state.When{Home: []string{"US"}}, Allow: []string{"US"}},
			{ID: "eu-export", When: state.When{Home: []string{"EU"}}, Allow: []string{"EU", "US", "GB"}},
			{ID: "restricted", When: state.When{Class: []string{"restricted"}}, Allow: []string{"US", "EU"}},
		}},
	}
}

const benchSecret = "cw_bench_0123456789abcdef0123456789abcdef"

// start admits and starts one node per role set; the last one is the edge.
func (b *benchmarked) start(class string, roleSets ...[]string) func(context.Context, bench.Env) (bench.Running, error) {
	return func(ctx context.Context, env bench.Env) (run bench.Running, err error) {
		dir, err := os.MkdirTemp("", "causeway-bench-")
		if err != nil {
			return run, fmt.Errorf("make a directory for the benchmark: %w", err)
		}
		b.onClose(func() { os.RemoveAll(dir) })
		coord, client, err := b.coordinator(ctx, filepath.Join(dir, "coordinator"))
		if err != nil {
			return run, err
		}
		body, err := json.Marshal(benchDocument(env.Provider, class, benchSecret))
		if err != nil {
			return run, fmt.Errorf("encode document: %w", err)
		}
		if _, err := client.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/apply", Body: body}); err != nil {
			return run, fmt.Errorf("apply the benchmark's state: %w", err)
		}
		var procs []*bench.Proc
		run.Stop = func() error {
			var errs []error
			for i := len(procs) - 1; i >= 0; i-- {
				errs = append(errs, procs[i].Stop())
			}
			return errors.Join(errs...)
		}
		for i, roles := range roleSets {
			data := filepath.Join(dir, fmt.Sprintf("node%d", i))
			if err := admit(ctx, client, coord, data, roles); err != nil {
				return run, errors.Join(err, run.Stop())
			}
			p, err := bench.Spawn(ctx, []string{b.exe, "bench", "child", "node", data}, nil, env.CPU, benchReady)
			if err != nil {
				return run, errors.Join(err, run.Stop())
			}
			var ops string
			p.Addr, ops, _ = strings.Cut(p.Addr, " ")
			fmt.Fprintf(b.say, "process %d: %s; profiles at http://%s/debug/pprof/\n", p.PID, strings.Join(roles, "+"), ops)
			procs = append(procs, p)
			run.Processes = append(run.Processes, bench.Process{PID: p.PID, Name: strings.Join(roles, "+"), MaxIdleMB: maxNodeMB, MaxHeldKB: maxStreamKB * float64(len(roles))})
		}
		run.Target = load.Target{URL: "http://" + procs[len(procs)-1].Addr, Key: benchSecret, Model: "bench"}
		if err := answers(ctx, run.Target); err != nil {
			return run, errors.Join(err, run.Stop())
		}
		return run, nil
	}
}

// dev starts a whole dev mesh, only to be weighed.
func (b *benchmarked) dev(ctx context.Context, env bench.Env) (run bench.Running, err error) {
	dir, err := os.MkdirTemp("", "causeway-bench-")
	if err != nil {
		return run, fmt.Errorf("make a directory for the benchmark: %w", err)
	}
	b.onClose(func() { os.RemoveAll(dir) })
	argv := []string{b.exe, "dev", "--data", dir, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log", "error"}
	p, err := bench.Spawn(ctx, argv, nil, env.CPU, devReadyLine)
	if err != nil {
		return run, err
	}
	run.Processes = []bench.Process{{PID: p.PID, Name: "dev", MaxIdleMB: maxDevMB}}
	run.Stop = p.Stop
	return run, nil
}

func (b *benchmarked) coordinator(ctx context.Context, dir string) (*coordinator.Server, *api.Client, error) {
	s, err := coordinator.New(ctx, coordinator.Config{
		Dir: dir, Init: true, Mesh: "bench", ListenAPI: "127.0.0.1:0", PlainAPI: true, ListenNodes: "127.0.0.1:0", Build: version, Log: zerolog.Nop(),
	})
	if err != nil {
		return nil, nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(run) }() // what it fails with shows in the calls below
	b.onClose(func() { stop(); <-done })
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := s.WaitReady(wait); err != nil {
		return nil, nil, err
	}
	c, err := api.NewClient(api.Config{Servers: []string{s.APIURL()}, Token: s.AdminToken()})
	if err != nil {
		return nil, nil, err
	}
	b.onClose(c.Close)
	return s, c, nil
}

// admit makes a join token and spends it.
func admit(ctx context.Context, c *api.Client, s *coordinator.Server, data string, roles []string) error {
	body, err := json.Marshal(api.TokenRequest{Roles: roles, Region: "us-west"})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	got, err := c.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/cluster/tokens", Body: body})
	if err != nil {
		return fmt.Errorf("make a join token: %w", err)
	}
	var t api.TokenAnswer
	if err := api.Decode(got, &t); err != nil {
		return err
	}
	return node.Join(ctx, node.JoinOptions{Token: t.Secret, Server: s.NodesURL(), Data: data, Version: version, Log: zerolog.Nop()})
}

// answers waits until the edge has its view and its way to the exit.
func answers(ctx context.Context, t load.Target) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c := load.NewClient(t, load.Shape{Bytes: 400})
	defer c.Close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.One(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the first answer: %w", err)
		}
	}
}
