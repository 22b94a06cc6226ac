package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func committed(t *testing.T) *results {
	t.Helper()
	t.Chdir("..")
	r, err := load("results.json")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReadmeShowsResults: the README's table is what results.json says, not what somebody wrote.
func TestReadmeShowsResults(t *testing.T) {
	r := committed(t)
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	_, generated, _, err := split(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if generated != r.table() {
		t.Errorf("the README's table is not what results.json renders; `make clients` writes both:\n%s", r.table())
	}
}

// TestResultsAreOfTheseVersions: what ran is what the lockfiles pin, every client on every scenario.
func TestResultsAreOfTheseVersions(t *testing.T) {
	r := committed(t)
	if err := r.complete(); err != nil {
		t.Error(err)
	}
	ran := map[string]bool{}
	for _, s := range suites() {
		lock := filepath.Join(s.dir, s.lock)
		ran[lock] = false
		b, err := os.ReadFile(lock)
		if err != nil {
			t.Fatal(err)
		}
		versions, err := s.versions(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Clients {
			if c.Lock != lock {
				continue
			}
			ran[lock] = true
			if have := versions[c.Package]; have != c.Version {
				t.Errorf("%s ran with %s %s, %s pins %s: run `make clients`", c.id(), c.Package, c.Version, lock, have)
			}
		}
	}
	for lock, ok := range ran {
		if !ok {
			t.Errorf("results.json has no client of %s", lock)
		}
	}
	for _, row := range r.Rows {
		if len(row.Cells) != len(r.Dialects) {
			t.Errorf("%s, %s: %d cells for %d dialects", row.Client, row.Scenario, len(row.Cells), len(r.Dialects))
		}
	}
}

// TestCompareFindsWhatGotWorse: fewer passes fail a run, known failures and new clients do not.
func TestCompareFindsWhatGotWorse(t *testing.T) {
	old := &results{Dialects: []string{"a", "b", "c"}, Rows: []row{{"Go x", "text", []string{"pass", "n/a: no", "fail: known"}}}}
	for _, c := range []struct {
		cells []string
		worse bool
	}{
		{[]string{"pass", "n/a: other words", "fail: known"}, false},
		{[]string{"pass", "pass", "pass"}, false},
		{[]string{"n/a: now", "n/a: no", "fail: known"}, true},
		{[]string{"pass", "fail: now", "fail: known"}, true},
	} {
		now := &results{Dialects: old.Dialects, Rows: []row{{"Go x", "text", c.cells}}}
		if err := now.compare(old); (err != nil) != c.worse {
			t.Errorf("%v: %v", c.cells, err)
		}
	}
	fresh := &results{Dialects: old.Dialects, Rows: []row{{"Go y", "text", []string{"pass", "n/a: no", "pass"}}}}
	if err := fresh.compare(old); err != nil {
		t.Error(err)
	}
}

func TestTidyReasons(t *testing.T) {
	for reason, want := range map[string]string{
		"400 the request cannot be converted from a to b (/stop: no_equivalent)":   "refused, there is no equivalent",
		`"m" is served by x, to which embed of openai-chat is not converted. In …`: "refused, not converted",
		"fetching http://127.0.0.1:1234/v1/x: 400":                                 "fetching URL 400",
	} {
		if got := tidy(reason); got != want {
			t.Errorf("%q became %q, want %q", reason, got, want)
		}
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		read func([]byte) (map[string]string, error)
		lock string
	}{
		{goVersions, "module m\n\nrequire (\n\ta.b/c v1.2.3\n\td v0.1.0 // indirect\n)\n"},
		{npmVersions, `{"packages":{"":{"version":"0"},"node_modules/a.b/c":{"version":"1.2.3"}}}`},
		{pipVersions, "# list\na.b/c==1.2.3\n"},
	} {
		got, err := c.read([]byte(c.lock))
		if err != nil || got["a.b/c"] != "1.2.3" {
			t.Errorf("%v, %v", got, err)
		}
	}
	if names, err := func() ([]string, error) { t.Chdir(".."); return scenarioNames() }(); err != nil || !slices.Contains(names, "parallel") {
		t.Errorf("%v, %v", names, err)
	}
}
