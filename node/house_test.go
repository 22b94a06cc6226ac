package node_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const maxFileLines = 700

// goFiles walks the module's own Go files; nested modules keep their own house.
func goFiles(t *testing.T, visit func(path string, src []byte)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || hasFile(filepath.Join(path, "go.mod"))) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err == nil {
			visit(filepath.ToSlash(strings.TrimPrefix(path, "../")), src)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func hasFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestFilesStaySmall(t *testing.T) {
	goFiles(t, func(path string, src []byte) {
		if n := bytes.Count(src, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines; %d is the most: split it by idea", path, n, maxFileLines)
		}
	})
}

func TestOnePackageComment(t *testing.T) {
	seen := map[string][]string{}
	dirs := map[string]bool{}
	goFiles(t, func(path string, src []byte) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(path)
		dirs[dir] = true
		if f.Doc != nil {
			seen[dir] = append(seen[dir], path)
		}
	})
	for dir := range dirs {
		if n := len(seen[dir]); n != 1 {
			t.Errorf("%s has %d package comments %v, want one", dir, n, seen[dir])
		}
	}
}

func TestNoSleepOutsideTests(t *testing.T) {
	goFiles(t, func(path string, src []byte) {
		if !strings.HasSuffix(path, "_test.go") && bytes.Contains(src, []byte("time.Sleep(")) {
			t.Errorf("%s sleeps: wait on a timer or a context instead", path)
		}
	})
}

// anyAllowed names the exported functions whose untyped parameter is another package's shape.
var anyAllowed = map[string]string{
	"relay/fault/fault.go:New": "printf arguments",
}

func TestNoUntypedExportedSignatures(t *testing.T) {
	goFiles(t, func(path string, src []byte) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !fn.Name.IsExported() || anyAllowed[path+":"+fn.Name.Name] != "" || thirdPartyMethod(fn) {
				continue
			}
			sig := &ast.FuncType{Params: fn.Type.Params, Results: fn.Type.Results} // type parameters may be constrained by any
			ast.Inspect(sig, func(n ast.Node) bool {
				switch x := n.(type) {
				case *ast.Ident:
					if x.Name == "any" {
						t.Errorf("%s: %s has any in its signature", path, fn.Name.Name)
					}
				case *ast.InterfaceType:
					if len(x.Methods.List) == 0 {
						t.Errorf("%s: %s has interface{} in its signature", path, fn.Name.Name)
					}
				}
				return true
			})
		}
	})
}

// thirdPartyMethod spares methods that an interface of the standard library or of a dependency fixes.
func thirdPartyMethod(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return false
	}
	switch fn.Name.Name {
	case "Apply", "Pop", "Push", "Scan", "Value", "Is", "As", "MarshalYAML":
		return true
	}
	return false
}

var (
	invariant = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
)

// TestDesignNamesRealTests: every test that a document names as the keeper of something exists.
func TestDesignNamesRealTests(t *testing.T) {
	have := map[string]bool{}
	goFiles(t, func(_ string, src []byte) {
		for _, m := range testFunc.FindAllSubmatch(src, -1) {
			have[string(m[1])] = true
		}
	})
	paths := []string{"relay/EVIDENCE.md"}
	for _, top := range []string{"geo", "relay", "compliance", "mesh", "coordinator", "node", "bench", "deploy"} {
		paths = append(paths, top+"/DESIGN.md")
	}
	for _, path := range paths {
		doc, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Errorf("there is no %s", path)
			continue
		}
		if n := bytes.Count(doc, []byte("\n")); n > 150 {
			t.Errorf("%s has %d lines, 150 is the most", path, n)
		}
		named := invariant.FindAllSubmatch(doc, -1)
		if len(named) == 0 && path != "deploy/DESIGN.md" {
			t.Errorf("%s names no test", path)
		}
		for _, m := range named {
			if !have[string(m[1])] {
				t.Errorf("%s names %s, which does not exist", path, m[1])
			}
		}
	}
}
