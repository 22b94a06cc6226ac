package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func none(string) (string, bool) { return "", false }

func TestLoadPrecedence(t *testing.T) {
	p := write(t, "listen: 127.0.0.1:9000\nlimits: {body: 1MiB}\nkeepalive_after: 3s\nroles: [exit]\n")
	n, err := Load(p, func(k string) (string, bool) {
		if k == "CAUSEWAY_LISTEN" {
			return "127.0.0.1:9001", true
		}
		return "", false
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Validate(); err != nil {
		t.Fatal(err)
	}
	if n.Listen != "127.0.0.1:9001" || n.Limits.Body != 1<<20 || n.Limits.Header != 64<<10 || n.KeepaliveAfter != 3*time.Second || n.Ops != "127.0.0.1:7703" {
		t.Errorf("got %+v", n)
	}
}

// A unit file or a compose file that passes variables through sets them empty where they are not given.
func TestEmptyVariablesAreUnset(t *testing.T) {
	p := write(t, "listen: 127.0.0.1:9000\nroles: [exit]\nregion: us-west\n")
	want, err := Load(p, none)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	got, err := Load(p, func(k string) (string, bool) { asked = append(asked, k); return "", true })
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: got %+v, want %+v", err, got, want)
	}
	if len(asked) < 11 {
		t.Errorf("only %v were looked up", asked)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, tc := range []struct{ yaml, want, why string }{
		{"listen: a:1\nlissten: b\n", "line 2", "an unknown field names its line"},
		{"limits: {body: huge}\n", "not a size", "a bad size"},
		{"data: x\n---\ndata: y\n", "more than one document", "a second document"},
	} {
		if _, err := Load(write(t, tc.yaml), none); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.why, err, tc.want)
		}
	}
}

func TestValidateReportsEverything(t *testing.T) {
	n := Default()
	n.Listen, n.Roles, n.TLS.Mode, n.TrustedProxies = "nowhere", []string{"king"}, "maybe", []string{"here"}
	err := n.Validate()
	for _, want := range []string{"listen:", "roles:", "tls.mode:", "trusted_proxies[0]"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func FuzzSize(f *testing.F) {
	f.Add("64KiB")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, s string) {
		var v Size
		if v.UnmarshalText([]byte(s)) == nil && v <= 0 {
			t.Errorf("%q gave %d", s, v)
		}
	})
}
