package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite licenses.txt and golden files")

// TestLicenses: what `version --licenses` prints is the licence of every module in the binary, at
// the version that is linked. After a change of dependencies: go test ./node/cli -run TestLicenses -update
func TestLicenses(t *testing.T) {
	want := gatherLicenses(t)
	if *update {
		if err := os.WriteFile("licenses.txt", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if licenses != want {
		t.Error("licenses.txt does not match the modules linked into the binary; run: go test ./node/cli -run TestLicenses -update")
	}
}

type module struct {
	Path, Version, Dir string
	Main               bool
	Replace            *module
}

func gatherLicenses(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=Module", "../..")
	// One list for all platforms' binaries: that of the one most are built for.
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	modules := map[string]module{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *module }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if m := p.Module; m != nil {
			if m.Replace != nil {
				m.Dir = m.Replace.Dir
			}
			modules[m.Path] = *m
		}
	}
	goroot, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules["Go standard library"] = module{Path: "Go standard library", Dir: strings.TrimSpace(string(goroot))}
	users := map[string][]string{} // text -> modules
	for _, m := range modules {
		text := licenceOf(t, m)
		name := m.Path
		if m.Version != "" {
			name += " " + m.Version
		}
		users[text] = append(users[text], name)
	}
	var blocks []string
	for text, names := range users {
		slices.Sort(names)
		blocks = append(blocks, strings.Join(names, "\n")+"\n\n"+text)
	}
	slices.SortFunc(blocks, func(x, y string) int {
		// Our own first, then by name.
		mine := func(s string) int {
			if strings.HasPrefix(s, "github.com/causeway-mesh/") {
				return 0
			}
			return 1
		}
		if d := mine(x) - mine(y); d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	var b strings.Builder
	fmt.Fprintf(&b, "Causeway is under the Apache License 2.0. The binary also holds the modules below, each under the\nlicence that follows its name; their source is at the named path and version.\n")
	for _, block := range blocks {
		fmt.Fprintf(&b, "\n%s\n%s", strings.Repeat("=", 80), block)
	}
	return b.String()
}

// licenceOf reads LICENSE and NOTICE of a module.
func licenceOf(t *testing.T, m module) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(m.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	found := false
	for _, f := range files {
		name := strings.ToUpper(filepath.Base(f))
		licence := strings.HasPrefix(name, "LICENSE") || strings.HasPrefix(name, "LICENCE") || strings.HasPrefix(name, "COPYING")
		if !licence && !strings.HasPrefix(name, "NOTICE") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		found = found || licence
		b.WriteString(strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")) + "\n")
	}
	if !found {
		t.Errorf("%s %s has no licence file: do not link it", m.Path, m.Version)
	}
	return b.String()
}
