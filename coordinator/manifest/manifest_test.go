package manifest

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/llm"
)

var update = flag.Bool("update", false, "rewrite golden files")

func sources(dev bool) Sources {
	env := map[string]string{
		"OPENAI_API_KEY": "CANARY-sk-0123456789abcdef", "ACME_KEY": "CANARY-acme-0123456789abcdef", "SHORT": "CANARY-short",
		"TWIN": "CANARY-twin-0123456789abcdef", "A": "CANARY-a",
	}
	files := map[string]string{"/empty": "\n", "/newline": "CANARY-newline-0123456\n789abcdef\n", "/good": "CANARY-file-0123456789abcdef\r\n"}
	return Sources{
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		ReadFile: func(name string) ([]byte, error) {
			if v, ok := files[name]; ok {
				return []byte(v), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		Dev: dev,
	}
}

// read does what `apply` does: parse, references, secrets. It gathers what each step says.
func read(name string, data []byte) (*Document, error) {
	doc, err := Parse(name, data)
	if err != nil {
		return nil, err
	}
	return doc, errors.Join(doc.References(nil), doc.Resolve(sources(false)))
}

// TestGolden is every bad input with the one text that its author sees: file, line, what, how to fix.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := "ok\n"
			if _, err := read("mesh.yaml", ar.Files[0].Data); err != nil {
				got = err.Error() + "\n"
			}
			if strings.Contains(got, "CANARY") || strings.Contains(got, "hunter2") {
				t.Fatal("a secret shows in the error")
			}
			for line := range strings.Lines(got) {
				if line != "ok\n" && !strings.HasPrefix(line, "mesh.yaml:") {
					t.Errorf("no place: %s", line)
				}
			}
			if *update {
				ar.Files[1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(ar.Files[1].Data), got); diff != "" {
				t.Errorf("%s(-want +got):\n%s", ar.Comment, diff)
			}
		})
	}
}

func full(t testing.TB) []byte {
	ar, err := txtar.ParseFile("testdata/full.txtar")
	if err != nil {
		t.Fatal(err)
	}
	return ar.Files[0].Data
}

// seal stands for what the leader does with secrets before they enter the log.
func seal(doc state.Document) state.Document {
	doc.Providers, doc.Keys = slices.Clone(doc.Providers), slices.Clone(doc.Keys)
	for i := range doc.Providers {
		doc.Providers[i].Auth.Secrets = slices.Clone(doc.Providers[i].Auth.Secrets)
		for j := range doc.Providers[i].Auth.Secrets {
			if s := &doc.Providers[i].Auth.Secrets[j]; s.Value != "" {
				s.Sealed, s.Fingerprint, s.Value = []byte("sealed "+s.Value), "fp-"+s.Value[len(s.Value)-4:], ""
			}
		}
	}
	for i := range doc.Keys {
		if k := &doc.Keys[i]; k.Secret != "" {
			k.Hash, k.Fingerprint, k.Secret = []byte("hash of "+k.Secret), "fp-"+k.Secret[len(k.Secret)-4:], ""
		}
	}
	return doc
}

func mustRead(t testing.TB, data []byte) *Document {
	t.Helper()
	doc, err := read("mesh.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func applied(t testing.TB, s *state.Snapshot, doc state.Document, prune bool) *state.Snapshot {
	t.Helper()
	next, res := s.Next(s.Index+2, command.New(t0, "admin", &command.Apply{Document: seal(doc), Prune: prune}))
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	return next
}

// TestSampleApplies: what Parse and References accept, Apply accepts.
func TestSampleApplies(t *testing.T) {
	doc := mustRead(t, full(t))
	s := applied(t, state.New().Current(), doc.Document, true)
	p, _ := s.Providers.Get("openai-us")
	if len(p.Auth.Secrets) != 1 || len(p.Auth.Secrets[0].Sealed) == 0 || p.Auth.Secrets[0].Value != "" {
		t.Errorf("%+v", p)
	}
	if m, _ := s.Model("gpt-4"); m.Price.CachedInput != "1.25" {
		t.Errorf("an unquoted price is taken as written: %+v", m.Price)
	}
}

func TestJSONParsesBack(t *testing.T) {
	doc := mustRead(t, full(t))
	b, err := doc.JSON()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse("request", b)
	if err != nil {
		t.Fatal(err)
	}
	doc.Keys[0].IPs = nil // an empty list inside a resource means the same as none
	if diff := cmp.Diff(doc.Document, back.Document); diff != "" {
		t.Errorf("what apply sends is not what was read (-read +sent):\n%s", diff)
	}
}

// TestSyntaxErrorLines: the library's own line numbers are off by one for half of its messages.
func TestSyntaxErrorLines(t *testing.T) {
	for text, want := range map[string]int{
		"version: 1\ntenants: [{id: a}\nkeys: []\n": 2, // where the list that never ends begins
		"version: 1\nkeys: []\na: {b: 1\n":          3,
		"version: 1\nkeys:\n- a\n b: c\n":           4,
		"version: 1\nkeys: [\n":                     3,
		"version: 1\na: b: c\n":                     2,
		"a: b: c\n":                                 1,
		"version: 1\nkeys:\n\t- a\n":                3,
		"version: 1\nkeys: \x01\n":                  1,
		"version: 1\ntenants: [{id: \"\xff\"}]\n":   1,
	} {
		_, err := Parse("f", []byte(text))
		problems, ok := AsProblems(err)
		if !ok || problems[0].Line != want {
			t.Errorf("%q: want line %d: %v", text, want, err)
		}
	}
}

// TestEveryFieldParses: each yaml field of the document has a rule in the decoder and its line is kept.
func TestEveryFieldParses(t *testing.T) {
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Slice, reflect.Pointer:
			walk(typ.Elem())
		case reflect.Struct:
			for i, name := range fieldsOf(typ) {
				if name != "" {
					walk(typ.Field(i).Type)
				}
			}
		case reflect.Map:
			walk(typ.Elem())
		case reflect.String, reflect.Int, reflect.Int64, reflect.Float64, reflect.Bool:
		default:
			t.Errorf("a field of kind %s has no rule", typ.Kind())
		}
	}
	walk(reflect.TypeFor[state.Document]())
	doc := mustRead(t, full(t))
	for path, want := range map[string]int{
		"version": 1, "providers[0].auth.secrets[0].value": 7, "providers[0].timeouts.total": 13, "models[1]": 22,
		"policy.rules[2].when.class[1]": 33, "route.hedge.max_extra_usd": 35, "tenants[0].labels.team": 24,
		"keys[0].nothing.there": 25, "nowhere": 1,
	} {
		if got := doc.Line(path); got != want {
			t.Errorf("%s is on line %d, found %d", path, want, got)
		}
	}
}

func TestVocabulary(t *testing.T) {
	var want []string
	for _, d := range llm.Dialects {
		want = append(want, string(d))
	}
	if diff := cmp.Diff(want, dialects); diff != "" {
		t.Errorf("dialects of the relay and of the manifest differ:\n%s", diff)
	}
	for _, c := range classes {
		if got := Check(state.Document{Tenants: []state.Tenant{{ID: "t", Class: c}}}); len(got) != 0 {
			t.Errorf("%s: %v", c, got)
		}
	}
}

func TestAbsentAndEmpty(t *testing.T) {
	doc := mustRead(t, []byte("version: 1\nkeys: []\n"))
	if doc.Keys == nil || doc.Tenants != nil || doc.Policy != nil {
		t.Errorf("%+v", doc.Document)
	}
}

func TestResolve(t *testing.T) {
	const file = `{version: 1, tenants: [{id: acme}], keys: [{id: a, tenant: acme, secret: "file:/good"}, {id: b, tenant: acme, secret: short}]}`
	doc, err := Parse("mesh.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Resolve(sources(false)); err == nil || doc.Keys[0].Secret != "file:/good" {
		t.Errorf("%v; after an error nothing is resolved: %q", err, doc.Keys[0].Secret)
	}
	if err := doc.Resolve(sources(true)); err != nil {
		t.Fatalf("dev takes short literals: %v", err)
	}
	if doc.Keys[0].Secret != "CANARY-file-0123456789abcdef" || doc.Keys[1].Secret != "short" {
		t.Errorf("%+v", doc.Keys)
	}
}

func TestReferencesToTheCluster(t *testing.T) {
	s := applied(t, state.New().Current(), mustRead(t, full(t)).Document, false)
	doc, err := Parse("more.yaml", []byte("version: 1\nkeys: [{id: two, tenant: acme, models: [gpt-4o]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.References(s); err != nil {
		t.Errorf("the tenant is in the cluster: %v", err)
	}
	if problems, ok := AsProblems(doc.References(nil)); !ok || len(problems) != 2 || problems[0].Line != 2 {
		t.Errorf("alone, the file refers to nothing: %v", problems)
	}
}

func TestExplain(t *testing.T) {
	doc, err := Parse("mesh.yaml", []byte("version: 1\ntenants: [{id: acme}]\nkeys:\n  - id: k\n    tenant: acme\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, rejected := Diff(state.New().Current(), doc.Document, false, t0.UnixNano())
	if rejected == nil {
		t.Fatal("a new key without secret was accepted")
	}
	const want = "mesh.yaml:4: keys[0].secret: a new key needs a secret"
	if got := doc.Explain(rejected).Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDiff(t *testing.T) {
	doc := mustRead(t, full(t))
	s := applied(t, state.New().Current(), doc.Document, false)
	render := func(doc state.Document, prune bool) string {
		t.Helper()
		hash := s.Hash()
		changes, rejected := Diff(s, seal(doc), prune, t0.UnixNano())
		if rejected != nil {
			t.Fatal(rejected)
		}
		if s.Hash() != hash {
			t.Fatal("a dry run changed something")
		}
		var b bytes.Buffer
		if err := Write(&b, changes); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "CANARY") {
			t.Fatal("a secret shows in the diff")
		}
		return b.String()
	}
	if got := render(doc.Document, true); got != "0 to add, 0 to change, 0 to delete, 11 unchanged\n" {
		t.Errorf("applied twice, it would change\n%s", got)
	}
	next := doc.Document
	next.Tenants = append(slices.Clone(next.Tenants), state.Tenant{ID: "new", Home: "JP"})
	next.Keys = []state.Key{{ID: "other", Tenant: "new", Secret: "CANARY-0123456789-wxyz"}}
	next.Limits = []state.Limit{}
	next.Providers = slices.Clone(next.Providers)
	next.Providers[0].Timeouts.Total = state.Duration(time.Minute)
	next.Providers[0].Exits = []string{"us-west"}
	next.Providers[0].Auth.Secrets = []state.Secret{{ID: "a", Value: "CANARY-new-secret-1234"}, {ID: "b", Value: "CANARY-second-5678"}}
	policy := *next.Policy
	policy.Rules = append([]state.Rule{{ID: "zero", Allow: []string{"US"}}}, policy.Rules[1:]...)
	next.Policy = &policy
	const want = `+ tenants/new
    home: "JP"
    class: "internal"
~ providers/openai-us
    auth.secrets[a].fingerprint: "fp-cdef" -> "fp-1234"
    auth.secrets[b].id: "b"
    auth.secrets[b].weight: 1
    auth.secrets[b].fingerprint: "fp-5678"
    exits: ["us-west","us-east"] -> ["us-west"]
    timeouts.total: "10m0s" -> "1m0s"
+ keys/other
    tenant: "new"
    fingerprint: "fp-wxyz"
~ policy
    rules[zero].id: "zero"
    rules[zero].allow: ["US"]
    rules[eu-export].id: "eu-export" -> none
    rules[eu-export].when.home: ["EU"] -> none
    rules[eu-export].allow: ["EU","US","GB"] -> none
- limits/acme/acme-app/*
- keys/acme-app
2 to add, 2 to change, 2 to delete, 7 unchanged
`
	if diff := cmp.Diff(want, render(next, true)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	changes, _ := Diff(s, seal(next), true, t0.UnixNano())
	if diff := cmp.Diff([]string{"keys/acme-app"}, NeedsYes(changes)); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := Parse("f", data)
		if err != nil {
			if problems, ok := AsProblems(err); !ok || len(problems) == 0 {
				t.Fatalf("an error that is no list of problems: %v", err)
			}
			return
		}
		_ = doc.References(nil)
		b, err := doc.JSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse("f", b)
		if err != nil {
			t.Fatalf("what apply would send does not parse: %v\n%s", err, b)
		}
		again, err := back.JSON()
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("%v\n%s\n%s", err, b, again)
		}
		// A document that parses may be refused by the state, but never halts it.
		_, _ = Diff(state.New().Current(), seal(doc.Document), true, 0)
	})
}

func BenchmarkParse(b *testing.B) {
	data := full(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("mesh.yaml", data); err != nil {
			b.Fatal(err)
		}
	}
}
