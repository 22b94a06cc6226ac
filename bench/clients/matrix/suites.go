package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/causeway-mesh/causeway/bench/clients/internal/dev"
)

// suite is one language's clients with one set of packages.
type suite struct {
	name, language string
	dir            string
	tools          []string   // that the machine must have
	lock           string     // names the packages; installing is due when it has changed
	into           string     // where they go
	install        [][]string // commands
	test           []string
	versions       func(lock []byte) (map[string]string, error)
}

func suites() []suite {
	all := []suite{
		{
			name: "go", language: "Go", dir: ".", tools: []string{"go"}, lock: "go.mod", versions: goVersions,
			test: []string{"go", "test", "-count=1", "-parallel=16", "-run=^TestClients$", "./golang"},
		},
		{
			name: "node", language: "Node", dir: "node", tools: []string{"node", "npm"}, lock: "package-lock.json", into: "node_modules",
			install: [][]string{{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"}},
			test:    []string{"node", "--test", "--test-reporter=spec"}, versions: npmVersions,
		},
	}
	for _, set := range []string{"current", "previous", "langchain"} {
		venv := filepath.Join(".venv", set)
		all = append(all, suite{
			name: "python " + set, language: "Python", dir: "python", tools: []string{"python3"}, lock: set + ".txt", into: venv,
			install: [][]string{
				{"python3", "-m", "venv", "--clear", venv},
				{venv + "/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", set + ".txt"},
			},
			test: []string{venv + "/bin/python", "-m", "unittest", "test_" + set}, versions: pipVersions,
		})
	}
	return all
}

// prepare installs what the lockfile names, unless it is there. An error says why the suite cannot run here.
func (s suite) prepare(ctx context.Context) error {
	for _, tool := range s.tools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not on this machine", tool)
		}
	}
	if len(s.install) == 0 {
		return nil
	}
	lock, err := os.ReadFile(filepath.Join(s.dir, s.lock))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(lock)
	stamp, want := filepath.Join(s.dir, s.into, ".installed"), hex.EncodeToString(sum[:])
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		return nil
	}
	for _, command := range s.install {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Dir = s.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("install %s: %w\n%s", s.lock, err, bytes.TrimSpace(out))
		}
	}
	return os.WriteFile(stamp, []byte(want), 0o600)
}

// cell is one client's scenario with one provider behind the mesh.
type cell struct {
	Client   string `json:"client"`
	Package  string `json:"package"`
	Provider string `json:"provider"`
	Scenario string `json:"scenario"`
	Status   string `json:"status"` // pass, fail, n/a
	Reason   string `json:"reason,omitempty"`
}

// run runs the suite and reads its cells. A failing cell fails the runner too; the cells tell more.
func (s suite) run(ctx context.Context, p *plan) ([]cell, error) {
	path, out, err := p.file(s.name)
	if err != nil {
		return nil, err
	}
	test := slices.Clone(s.test)
	if filepath.Base(test[0]) != test[0] {
		test[0], err = filepath.Abs(filepath.Join(s.dir, test[0]))
		if err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, test[0], test[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), dev.VendorVariable), "CAUSEWAY_CLIENTS="+path)
	said, runErr := cmd.CombinedOutput()
	cells, err := readCells(out)
	if _, failed := errors.AsType[*exec.ExitError](runErr); runErr != nil && (!failed || len(cells) == 0) || err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(runErr, err), said)
	}
	if runErr != nil && !slices.ContainsFunc(cells, func(c cell) bool { return c.Status == "fail" }) {
		return nil, fmt.Errorf("no cell failed, but the runner did: %w\n%s", runErr, said)
	}
	return cells, nil
}

func readCells(path string) (cells []cell, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c cell
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("a cell in %s: %w", path, err)
		}
		cells = append(cells, c)
	}
	return cells, lines.Err()
}
