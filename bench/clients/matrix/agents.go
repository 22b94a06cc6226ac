package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/bench/clients/internal/dev"
)

// agents is the part of results.json that `make clients CLI=1` writes.
type agents struct {
	Date    string   `json:"date"`
	Clients []client `json:"clients"`
	Rows    []row    `json:"rows"`
}

// agent is one command-line client: what it takes to have one prompt answered without a person.
type agent struct {
	name, pkg, bin string
	env            string   // whose variables `causeway env` prints; "" = as flags
	model          string   // that it asks for, before -via-DIALECT
	edit           string   // a prompt that makes it write note.txt
	args           []string // MODEL and EDGE stand for those, PROMPT for the prompt
	settings       string   // a file below HOME
	content        string
}

var commandLine = suite{
	name: "agents", language: "CLI", dir: "cli", tools: []string{"node", "npm"}, lock: "package-lock.json", into: "node_modules",
	install:  [][]string{{"npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"}},
	versions: npmVersions,
}

var agentList = []agent{
	{
		name: "Claude Code", pkg: "@anthropic-ai/claude-code", bin: "claude", env: "claude", model: "claude-sonnet-4-6",
		edit: `Use the Write tool with {"file_path":"DIR/note.txt","content":"high tide"}`,
		args: []string{"-p", "PROMPT", "--permission-mode", "acceptEdits", "--model", "MODEL"},
	},
	{
		name: "Codex CLI", pkg: "@openai/codex", bin: "codex", env: "codex", model: "gpt-5-mini",
		edit:     `Use the exec_command tool with {"cmd":"printf 'high tide' > note.txt"}`,
		args:     []string{"exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "PROMPT"},
		settings: ".codex/config.toml",
		content:  "model = \"MODEL\"\nweb_search = \"disabled\"\nfeatures.multi_agent = false\nmodel_provider = \"causeway\"\n[model_providers.causeway]\nname = \"Causeway\"\nbase_url = \"EDGE/v1\"\nenv_key = \"CAUSEWAY_API_KEY\"\nwire_api = \"responses\"\n",
	},
	{
		name: "Gemini CLI", pkg: "@google/gemini-cli", bin: "gemini", env: "gemini", model: "gemini-3-flash-preview",
		edit:     `Use the write_file tool with {"file_path":"DIR/note.txt","content":"high tide"}`,
		args:     []string{"--yolo", "-m", "MODEL", "-p", "PROMPT"},
		settings: ".gemini/settings.json",
		content:  `{"security":{"auth":{"selectedType":"gemini-api-key"},"folderTrust":{"enabled":false}},"privacy":{"usageStatisticsEnabled":false}}`,
	},
}

// enclosed runs this program again in a network namespace that has loopback only: what an agent
// sends elsewhere goes nowhere, and is not waited for.
func enclosed(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("skipped agents: a network namespace needs root")
	}
	for _, tool := range []string{"unshare", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("skipped agents: %s is not on this machine", tool)
		}
	}
	if err := commandLine.prepare(ctx); err != nil {
		return fmt.Errorf("skipped agents: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "unshare", "--net", "sh", "-c", `ip link set lo up && exec "$0" -inside`, self)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// runAgents works inside the namespace and puts what it finds into results.json and the README.
func runAgents(ctx context.Context) (err error) {
	committed, err := load("results.json")
	if err != nil {
		return err
	}
	mesh, err := dev.Start("../..")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mesh.Stop()) }()
	plan, err := setUp(ctx, mesh)
	if err != nil {
		return err
	}
	lock, err := os.ReadFile(filepath.Join(commandLine.dir, commandLine.lock))
	if err != nil {
		return err
	}
	versions, err := npmVersions(lock)
	if err != nil {
		return err
	}
	found := &agents{Date: time.Now().UTC().Format(time.DateOnly)}
	for _, a := range agentList {
		who := client{a.name, commandLine.language, a.pkg, versions[a.pkg], filepath.Join(commandLine.dir, commandLine.lock)}
		found.Clients = append(found.Clients, who)
		for _, scenario := range []string{"prompt", "file edit"} {
			x := row{Client: who.id(), Scenario: scenario}
			for _, d := range plan.Dialects {
				x.Cells = append(x.Cells, a.try(ctx, mesh, plan, scenario, d))
				fmt.Printf("%s, %s, %s: %s\n", a.name, scenario, d, x.Cells[len(x.Cells)-1])
			}
			found.Rows = append(found.Rows, x)
		}
	}
	committed.Agents = found
	return committed.save()
}

// try has one prompt answered in an empty home and an empty directory, and gives the cell.
func (a agent) try(ctx context.Context, mesh *dev.Mesh, plan *plan, scenario, dialect string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp(mesh.Dir, "agent-")
	if err != nil {
		return "fail: " + err.Error()
	}
	prompt, want := "Reply with exactly: slack water", "slack water"
	if scenario != "prompt" {
		prompt, want = a.edit, "The tool answered"
	}
	fill := strings.NewReplacer("MODEL", a.model+"-via-"+dialect, "EDGE", plan.Edge, "DIR", dir, "PROMPT", prompt)
	home := filepath.Join(dir, ".home")
	if a.settings != "" {
		path := filepath.Join(home, a.settings)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(fill.Replace(a.content)), 0o600)); err != nil {
			return "fail: " + err.Error()
		}
	}
	vars, err := mesh.Env(ctx, a.env)
	if err != nil {
		return "fail: " + err.Error()
	}
	bin, err := filepath.Abs(filepath.Join(commandLine.dir, commandLine.into, ".bin", a.bin))
	if err != nil {
		return "fail: " + err.Error()
	}
	var args []string
	for _, arg := range a.args {
		args = append(args, strings.ReplaceAll(fill.Replace(arg), "DIR", dir)) // the prompt names it too
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir, cmd.WaitDelay = dir, 5*time.Second
	cmd.Env = append(slices.DeleteFunc(os.Environ(), dev.VendorVariable), append(vars, "HOME="+home, "NO_COLOR=1")...)
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		return fmt.Sprintf("fail: %v: %s", err, tidy(lastLine(out)))
	case !bytes.Contains(out, []byte(want)):
		return fmt.Sprintf("fail: prints %q instead of the answer", tidy(lastLine(out)))
	}
	if scenario != "prompt" {
		if b, err := os.ReadFile(filepath.Join(dir, "note.txt")); err != nil || string(b) != "high tide" {
			return fmt.Sprintf("fail: note.txt holds %q (%v)", b, err)
		}
	}
	return "pass"
}

func lastLine(out []byte) string {
	out = bytes.TrimSpace(out)
	return string(out[bytes.LastIndexByte(out, '\n')+1:])
}
