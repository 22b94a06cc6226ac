package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const asChild = "CAUSEWAY_TEST_BENCH_CHILD"

// TestMain lets the test binary be the floor programs that a run starts.
func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		if err := Child(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestRunMeasuresEveryTarget(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	started := false
	table, err := Run(t.Context(), Config{
		Child: []string{os.Args[0]}, Env: []string{asChild + "=1"}, NoPin: true,
		Rounds: 1, PerRound: 20, Clients: 4, LoadFor: 100 * time.Millisecond, Streams: 1, Held: 5, Settle: time.Millisecond,
		Targets: []Target{{Name: "again", Floor: QUIC2, Start: func(ctx context.Context, env Env) (Running, error) {
			started = true
			p, err := Spawn(ctx, []string{os.Args[0], "goproxy", "--next", env.Provider}, []string{asChild + "=1"}, env.CPU, "listening ")
			if err != nil {
				return Running{}, err
			}
			r := Running{Processes: []Process{{PID: p.PID, Name: "proxy", MaxIdleMB: 1, MaxHeldKB: 1 << 20}}, Stop: p.Stop}
			r.URL = "http://" + p.Addr
			return r, nil
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Rows) != 4 || !started {
		t.Fatalf("rows: %+v", table.Rows)
	}
	for _, row := range table.Rows {
		if len(row.Figures) != len(table.Columns) {
			t.Fatalf("%s has %d figures for %d columns", row.Name, len(row.Figures), len(table.Columns))
		}
		if f := row.Figures[4]; !f.Ok() || f.Value <= 0 {
			t.Errorf("%s: no requests a second: %v", row.Name, f)
		}
		if idle := row.Figures[10]; row.Name != Direct && (!idle.Ok() || idle.Value <= 1) {
			t.Errorf("%s: idle memory %v MB", row.Name, idle.Value)
		}
	}
	if len(table.Bounds) != 2 || !table.Bounds[0].Over() || table.Bounds[1].Over() {
		t.Errorf("bounds: %+v", table.Bounds)
	}
	var b strings.Builder
	if err := table.Write(&b); err != nil || !strings.Contains(b.String(), "quic2") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

func TestSpawnSaysWhyAChildDied(t *testing.T) {
	_, err := Spawn(t.Context(), []string{os.Args[0], "goproxy", "--next", "nowhere"}, []string{asChild + "=1"}, -1, "listening ")
	if err == nil || !strings.Contains(err.Error(), "not a URL") {
		t.Errorf("got %v", err)
	}
}

func TestParseStat(t *testing.T) {
	// proc(5): a name may hold anything, also ") 1 2".
	got, err := parseStat([]byte("77 (a) 1 2 (b) S 1 77 77 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 5 0 1 2 3"))
	if err != nil || got != 2*time.Second {
		t.Errorf("got %v, %v, want 2s", got, err)
	}
	if _, err := parseStat([]byte("77 (a) S 1")); err == nil {
		t.Error("a cut line has a CPU time")
	}
}

func TestParseRSS(t *testing.T) {
	got, err := parseRSS([]byte("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t  5120 kB\nThreads:\t5\n"))
	if err != nil || got != 5120 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := parseRSS([]byte("Name:\tkthread\n")); err == nil {
		t.Error("a process without memory has some")
	}
}

func TestOwnProcessIsReadable(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	pids := []int{os.Getpid()}
	if b, err := rssOf(pids); err != nil || b[0] < 1<<20 {
		t.Errorf("memory: %d, %v", b, err)
	}
	if _, err := cpuTime(pids); err != nil {
		t.Error(err)
	}
}
