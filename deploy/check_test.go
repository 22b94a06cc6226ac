// Package deploy holds what operators copy: units, an image and examples. It has no product code;
// its tests hold these files to the binary that is built from this repository.
package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// binary is built once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "causeway-deploy-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "causeway")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// causeway runs the CLI with env added to an environment without our own variables.
func causeway(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	c := exec.CommandContext(t.Context(), bin, args...)
	c.Env, c.Stdout, c.Stderr = append(clean(), env...), &out, &said
	err = c.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return out.String(), said.String(), code
}

func clean() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "CAUSEWAY_") })
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var reference = regexp.MustCompile(`env:([A-Z0-9_]+)`)

// TestExamplesAreAccepted applies every mesh.yaml that we ship, as a dry run at a real coordinator.
func TestExamplesAreAccepted(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a coordinator")
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "c")
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	server := exec.Command(bin, "coordinator", "run", "--init", "--data", data, "--admin", "127.0.0.1:0", "--raft", "", "--advertise", "127.0.0.1")
	server.Env, server.Stdout, server.Stderr = clean(), log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	url := ""
	for end := time.Now().Add(20 * time.Second); url == "" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if m := regexp.MustCompile(`admin API\s+(https://\S+)`).FindStringSubmatch(read(t, log.Name())); m != nil {
			url = m[1]
		}
	}
	if url == "" {
		t.Fatalf("the coordinator did not get ready:\n%s", read(t, log.Name()))
	}
	for _, file := range []string{"examples/mesh.yaml", "examples/residency.yaml"} {
		env := []string{"CAUSEWAY_SERVER=" + url, "CAUSEWAY_TOKEN=file:" + filepath.Join(data, "admin.token"), "CAUSEWAY_CA=" + filepath.Join(data, "ca.pem")}
		for i, m := range reference.FindAllStringSubmatch(read(t, file), -1) {
			env = append(env, fmt.Sprintf("%s=not-a-real-secret-%08d", m[1], i))
		}
		out, said, code := causeway(t, env, "apply", "-f", file, "--dry-run")
		if code != 0 || !strings.Contains(said, "nothing was changed") || out == "" {
			t.Errorf("%s: exit code %d\n%s%s", file, code, out, said)
		}
		if strings.Contains(out, "not-a-real-secret") {
			t.Errorf("%s: the diff shows a secret:\n%s", file, out)
		}
	}
}

// TestResidencySaysWhatItIs: each rule has a date and the file says that it is no legal advice.
func TestResidencySaysWhatItIs(t *testing.T) {
	text := read(t, "examples/residency.yaml")
	if !strings.Contains(text, "NOT LEGAL ADVICE") {
		t.Error("the file does not say that it is not legal advice")
	}
	if rules, dates := strings.Count(text, "- {id: "), len(regexp.MustCompile(`Reviewed 20\d\d-\d\d-\d\d\.`).FindAllString(text, -1)); rules == 0 || rules != dates {
		t.Errorf("%d rules, %d review dates", rules, dates)
	}
}

// TestNodeExample: the node refuses for want of an identity, that is after its configuration was read.
func TestNodeExample(t *testing.T) {
	_, said, code := causeway(t, nil, "node", "run", "--config", "examples/node.yaml", "--data", t.TempDir())
	if code == 0 || !strings.Contains(said, "holds no node identity") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// commandLine finds the verbs and flags of a `causeway` call in a unit or an image.
func commandLine(line string) (verbs, flags []string) {
	for _, w := range strings.Fields(line) {
		switch {
		case strings.HasPrefix(w, "--"):
			flags = append(flags, w)
		case len(flags) == 0 && regexp.MustCompile(`^[a-z]+$`).MatchString(w):
			verbs = append(verbs, w)
		}
	}
	return verbs, flags
}

// TestUnits holds the systemd units to the binary's own flags and to what we promise of them.
func TestUnits(t *testing.T) {
	for _, unit := range []string{"systemd/causeway-coordinator.service", "systemd/causeway-node.service"} {
		text := read(t, unit)
		for _, want := range []string{
			"Type=exec", "User=causeway", "ProtectSystem=strict", "NoNewPrivileges=yes", "AmbientCapabilities=CAP_NET_BIND_SERVICE",
			"CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "StateDirectory=causeway", "KillSignal=SIGTERM", "Restart=always",
		} {
			if !regexp.MustCompile(`(?m)^` + want + `( |$)`).MatchString(text) {
				t.Errorf("%s lacks %s", unit, want)
			}
		}
		start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/causeway (.*)$`).FindStringSubmatch(text)
		if start == nil {
			t.Fatalf("%s: no ExecStart", unit)
		}
		line := strings.NewReplacer("$CAUSEWAY_COORDINATOR_FLAGS", "", "$CAUSEWAY_COORDINATOR", "run").Replace(start[1])
		checkFlags(t, unit, line)
	}
	// A drain must not be cut short: systemd waits longer than the node does.
	help, _, _ := causeway(t, nil, "node", "run", "--help")
	drain := regexp.MustCompile(`--drain duration.*default (\S+)\)`).FindStringSubmatch(help)
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindStringSubmatch(read(t, "systemd/causeway-node.service"))
	if drain == nil || stop == nil {
		t.Fatalf("drain %v, TimeoutStopSec %v", drain, stop)
	}
	d, err := time.ParseDuration(drain[1])
	if err != nil {
		t.Fatal(err)
	}
	if s, err := time.ParseDuration(stop[1] + "s"); err != nil || s <= d {
		t.Errorf("TimeoutStopSec is %s, the node drains for up to %s", s, d)
	}
	for _, line := range regexp.MustCompile(`(?m)^#?.*CAUSEWAY_COORDINATOR=(.*)$`).FindAllStringSubmatch(read(t, "systemd/coordinator.env"), -1) {
		checkFlags(t, "systemd/coordinator.env", "coordinator "+line[1])
	}
}

// checkFlags wants every flag of a command line to exist in the binary.
func checkFlags(t *testing.T, where, line string) {
	t.Helper()
	verbs, flags := commandLine(line)
	help, said, code := causeway(t, nil, append(verbs, "--help")...)
	if code != 0 {
		t.Errorf("%s: causeway %s: %s", where, strings.Join(verbs, " "), said)
	}
	for _, f := range flags {
		if !regexp.MustCompile(regexp.QuoteMeta(f) + `\b`).MatchString(help) {
			t.Errorf("%s: causeway %s has no %s", where, strings.Join(verbs, " "), f)
		}
	}
}

// TestUnitsVerify asks systemd itself, where it is installed.
func TestUnitsVerify(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed here")
	}
	for _, unit := range []string{"causeway-coordinator.service", "causeway-node.service"} {
		out, _ := exec.CommandContext(t.Context(), tool, "verify", "--man=no", filepath.Join("systemd", unit)).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			// Other units of this machine are not ours; our binary is not installed on it.
			if strings.Contains(line, unit) && !strings.Contains(line, "is not executable") {
				t.Error(strings.TrimSpace(line))
			}
		}
	}
}

// TestImage: the image is built from files that exist, runs as nobody, and starts a verb that exists.
func TestImage(t *testing.T) {
	text := read(t, "Dockerfile")
	for _, want := range []string{"CGO_ENABLED=0", "FROM scratch", "ca-certificates.crt", "ENTRYPOINT [\"/usr/local/bin/causeway\"]"} {
		if !strings.Contains(text, want) {
			t.Errorf("Dockerfile lacks %s", want)
		}
	}
	if user := regexp.MustCompile(`(?m)^USER (\d+):`).FindStringSubmatch(text); user == nil || user[1] == "0" {
		t.Errorf("the image runs as %v", user)
	}
	version := regexp.MustCompile(`(?m)^FROM golang:(\d+\.\d+)-`).FindStringSubmatch(text)
	if mod := read(t, filepath.Join("..", "go.mod")); version == nil || !regexp.MustCompile(`(?m)^go `+regexp.QuoteMeta(version[1])+`(\.|$)`).MatchString(mod) {
		t.Errorf("the image builds with Go %v, go.mod wants another", version)
	}
	for _, m := range regexp.MustCompile(`(?m)^COPY ([a-zA-Z][^\n]*) \S+$`).FindAllStringSubmatch(text, -1) {
		for _, f := range strings.Fields(m[1]) {
			if _, err := os.Stat(filepath.Join("..", f)); err != nil {
				t.Errorf("COPY %s: %v", f, err)
			}
		}
	}
	cmd := regexp.MustCompile(`(?m)^CMD \[(.*)\]$`).FindStringSubmatch(text)
	if cmd == nil {
		t.Fatal("no CMD")
	}
	checkFlags(t, "Dockerfile", strings.NewReplacer(`"`, "", ",", "").Replace(cmd[1]))
}
