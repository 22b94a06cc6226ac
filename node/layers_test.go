package node_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/causeway-mesh/causeway"

// layer lists what each of our packages may import of ours, by prefix. The longest matching row
// applies; a package without a row may import nothing of ours. Each edge has its reason.
var layers = []struct {
	pkg   string
	may   []string
	cause string
}{
	{"", []string{"node/cli"}, "main only hands over to the CLI"},
	{"node", []string{"node", "coordinator", "compliance", "mesh", "geo", "relay"}, "composition: the one place that sees everything"},
	{"node/cli", []string{"node", "coordinator", "compliance", "mesh", "geo", "relay", "bench"}, "verbs drive every part, `bench run` the load generator"},
	{"coordinator", []string{"coordinator", "compliance", "geo", "relay/meter", "relay/llm", "relay/dialect/vendor", "mesh/identity"}, "validates rules, prices, dialect and vendor names; authenticates nodes"},
	{"compliance", []string{"compliance", "geo"}, "rules speak of countries"},
	{"compliance/mask", []string{"compliance", "geo", "relay/llm", "relay/dialect", "relay/sse"}, "masks inside messages and streams"},
	{"mesh", []string{"mesh", "geo"}, "samples are places and times"},
	{"mesh/tunnel", []string{"mesh", "geo", "relay/fault"}, "faults cross the tunnel unchanged"},
	{"geo", []string{"geo"}, "pure"},
	{"relay", []string{"relay"}, "knows no topology and no tenants"},
	{"bench", []string{"bench", "relay"}, "talks to a node over HTTP only; uses the fake providers"},
	{"deploy", nil, "no product code"},
}

// homes lists the big third parties and who may import them directly.
var homes = []struct {
	module string
	may    []string
	cause  string
}{
	{"github.com/hashicorp/memberlist", []string{"mesh/gossip"}, "membership stays behind one package"},
	{"github.com/quic-go/quic-go", []string{"mesh/tunnel", "mesh/path", "mesh/gossip", "bench/floor", "node/edge"}, "transport, its floor, and the edge's HTTP/3 listener"},
	{"github.com/hashicorp/raft-wal", []string{"coordinator/disk"}, "the log store is behind our own interface"},
	{"github.com/hashicorp/raft", []string{"coordinator/consensus", "coordinator/disk"}, "consensus is an implementation detail of the coordinator"},
	{"github.com/dgraph-io/badger", []string{"coordinator/disk", "relay/cache", "compliance/audit"}, "holds nothing whose loss stops a request"},
	{"github.com/oschwald/", []string{"geo"}, "databases of places are read in one room"},
	{"github.com/prometheus/client_golang", []string{"node/obs"}, "packages count, obs exposes"},
	{"go.opentelemetry.io/otel/sdk", []string{"node/obs"}, "packages trace through the API only"},
	{"github.com/spf13/cobra", []string{"node/cli"}, "the CLI is the only user of a CLI library"},
	{"github.com/miekg/dns", []string{"geo/dns"}, "wrapped, since it will be replaced"},
	{"go.yaml.in/yaml", []string{"coordinator/manifest", "node/config", "node/cli"}, "YAML is read at the border: mesh.yaml, node.yaml, -o yaml"},
}

type listed struct {
	ImportPath  string
	Imports     []string
	TestImports []string
	Standard    bool
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func within(pkg, prefix string) bool {
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/") || strings.HasSuffix(prefix, "/") && strings.HasPrefix(pkg, prefix)
}

func TestLayers(t *testing.T) {
	for _, p := range packages(t) {
		rel := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		row := -1
		for i, l := range layers {
			if (l.pkg == rel || l.pkg != "" && within(rel, l.pkg)) && (row < 0 || len(l.pkg) > len(layers[row].pkg)) {
				row = i
			}
		}
		if row < 0 {
			t.Errorf("%s has no row in the table of layers", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if target, ours := strings.CutPrefix(imp, module+"/"); ours {
				if !slices.ContainsFunc(layers[row].may, func(m string) bool { return within(target, m) }) {
					t.Errorf("%s imports %s: %q may import only %v (%s)", rel, target, layers[row].pkg, layers[row].may, layers[row].cause)
				}
				continue
			}
			for _, h := range homes {
				if !within(imp, h.module) {
					continue
				}
				if !slices.ContainsFunc(h.may, func(m string) bool { return within(rel, m) }) {
					t.Errorf("%s imports %s, whose homes are %v (%s)", rel, imp, h.may, h.cause)
				}
				break // the first row decides: raft-wal stands before raft
			}
		}
	}
}
