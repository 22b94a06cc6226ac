// Package dev builds the binary and runs `causeway dev` for the client suites, on ports of its own.
package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Mesh is a running dev mesh: what its ready.json says.
type Mesh struct {
	Admin      string   `json:"admin"`
	AdminToken string   `json:"admin_token"`
	APIKey     string   `json:"api_key"`
	Models     []string `json:"models"`
	Edges      []Edge   `json:"edges"`

	Dir string `json:"-"` // of the data; `causeway env` works there
	Bin string `json:"-"`

	cmd   *exec.Cmd
	ended chan error
	log   bytes.Buffer
}

// Edge is one of the mesh's client APIs.
type Edge struct {
	Region string `json:"region"`
	URL    string `json:"url"`
}

// Start runs a mesh until Stop. CAUSEWAY_BIN names a binary that is built already; root is the
// repository's.
func Start(root string) (m *Mesh, err error) {
	dir, err := os.MkdirTemp("", "causeway-clients-")
	if err != nil {
		return nil, err
	}
	m = &Mesh{Dir: dir, Bin: os.Getenv("CAUSEWAY_BIN"), ended: make(chan error, 1)}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	if m.Bin == "" {
		m.Bin = filepath.Join(dir, "causeway")
		build := exec.Command("go", "build", "-o", m.Bin, ".")
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the binary: %w\n%s", err, out)
		}
	}
	data := filepath.Join(dir, ".causeway", "dev")
	m.cmd = exec.Command(m.Bin, "dev", "--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	m.cmd.Env = slices.DeleteFunc(os.Environ(), VendorVariable)
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start causeway dev: %w", err)
	}
	go func() { m.ended <- m.cmd.Wait() }()
	if err := m.waitReady(filepath.Join(data, "ready.json")); err != nil {
		_ = m.cmd.Process.Kill()
		<-m.ended
		return nil, fmt.Errorf("%w\n%s", err, &m.log)
	}
	return m, nil
}

func (m *Mesh) waitReady(path string) error {
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(path)
		if err == nil {
			return json.Unmarshal(b, m)
		}
		select {
		case err := <-m.ended:
			m.ended <- err
			return fmt.Errorf("causeway dev ended before it was ready: %w", err)
		case <-deadline:
			return errors.New("causeway dev was not ready within 30 s")
		case <-tick.C:
		}
	}
}

// Stop ends the mesh with SIGTERM. A mesh that does not end well is an error.
func (m *Mesh) Stop() error {
	defer os.RemoveAll(m.Dir)
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop causeway dev: %w\n%s", err, &m.log)
	}
	select {
	case err := <-m.ended:
		if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() != 128+int(syscall.SIGTERM) {
			return fmt.Errorf("causeway dev: %w\n%s", err, &m.log)
		}
	case <-time.After(20 * time.Second):
		_ = m.cmd.Process.Kill()
		<-m.ended
		return fmt.Errorf("causeway dev did not stop within 20 s of SIGTERM\n%s", &m.log)
	}
	return nil
}

// Log is what the mesh has said; read it after Stop.
func (m *Mesh) Log() string { return m.log.String() }

// Edge is the base URL of a region's edge, or "".
func (m *Mesh) Edge(region string) string {
	for _, e := range m.Edges {
		if e.Region == region {
			return e.URL
		}
	}
	return ""
}

// Call asks the admin API and gives its answer.
func (m *Mesh) Call(ctx context.Context, method, path, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, m.Admin+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+m.AdminToken)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, b)
	}
	return b, err
}

// Env gives the variables that `causeway env` prints for a client, as NAME=VALUE.
func (m *Mesh) Env(ctx context.Context, client string, args ...string) ([]string, error) {
	cmd := exec.CommandContext(ctx, m.Bin, append([]string{"env", client, "-o", "json"}, args...)...)
	cmd.Dir = m.Dir // the dev mesh's files are found from here
	cmd.Env = slices.DeleteFunc(os.Environ(), VendorVariable)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("causeway env %s: %w", client, err)
	}
	var vars []struct{ Name, Value string }
	if err := json.Unmarshal(out, &vars); err != nil {
		return nil, fmt.Errorf("causeway env %s: %w", client, err)
	}
	var env []string
	for _, v := range vars {
		env = append(env, v.Name+"="+v.Value)
	}
	return env, nil
}

// Wait waits until the edge in us-west serves path to a key. Listing models takes nothing from any limit.
func (m *Mesh) Wait(ctx context.Context, what, key, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Edge("us-west")+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+key)
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the edge did not learn of %s within 10 s", what), err)
		case <-tick.C:
		}
	}
}

// VendorVariable reports what would make dev use real providers or redirect an SDK.
func VendorVariable(kv string) bool {
	for _, p := range [...]string{"OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "CAUSEWAY_"} {
		if strings.HasPrefix(kv, p) {
			return true
		}
	}
	return false
}
