package node_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var shBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestReadmeCommands runs what the README tells a newcomer to type, against a mesh started the way
// `make run` starts it. `make` targets themselves are run by CI.
func TestReadmeCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not on this machine", tool)
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "causeway")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "..").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	startDev(t, bin, dir)
	blocks := shBlock.FindAllSubmatch(readme, -1)
	ran := 0
	for _, b := range blocks {
		script := string(b[1])
		if strings.HasPrefix(script, "make ") {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Errorf("%v\n%s\n%s", err, script, out)
		}
		if bytes.Contains(out, []byte(`"error"`)) || len(bytes.TrimSpace(out)) == 0 {
			t.Errorf("these commands do not answer:\n%s\n%s", script, out)
		}
		ran++
	}
	if ran < 2 {
		t.Errorf("the README holds %d blocks of commands", ran)
	}
}

// startDev runs `causeway dev` in dir on free ports until the test ends.
func startDev(t *testing.T, bin, dir string) {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(bin, "dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	cmd.Dir, cmd.Stderr = dir, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("causeway dev ended with %v\n%s", err, errs.String())
			}
		case <-time.After(20 * time.Second):
			t.Error("causeway dev does not stop")
			_ = cmd.Process.Kill()
		}
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := os.Stat(filepath.Join(dir, ".causeway", "dev", "ready.json")); err == nil {
			return
		}
		select {
		case err := <-done:
			done <- err
			t.Fatalf("causeway dev ended with %v\n%s", err, errs.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("causeway dev is not ready\n%s", errs.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}
