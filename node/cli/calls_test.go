package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// scripted is a coordinator, node or edge that answers from a table and remembers what it was asked.
type scripted struct {
	t       *testing.T
	url     string
	answers map[string]string // "METHOD /path?query" -> "STATUS BODY"
	mu      sync.Mutex
	seen    []*http.Request
	bodies  []string
}

func newScripted(t *testing.T, answers map[string]string) *scripted {
	s := &scripted{t: t, answers: answers}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	for _, name := range []string{"CAUSEWAY_SERVER", "CAUSEWAY_TOKEN", "CAUSEWAY_CA", "CAUSEWAY_EDGE", "CAUSEWAY_KEY", "CAUSEWAY_OPS", "CAUSEWAY_DATA"} {
		t.Setenv(name, "")
	}
	t.Chdir(t.TempDir()) // far from any dev mesh
	return s
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.seen, s.bodies = append(s.seen, r), append(s.bodies, string(b))
	s.mu.Unlock()
	got, ok := s.answers[r.Method+" "+r.URL.RequestURI()]
	if !ok {
		s.t.Errorf("unexpected call %s %s", r.Method, r.URL.RequestURI())
		http.Error(w, "unexpected", http.StatusTeapot)
		return
	}
	status, body, _ := strings.Cut(got, " ")
	var code int
	fmt.Sscan(status, &code)
	if strings.HasPrefix(body, "data: ") {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	w.Header().Set("X-Causeway-Request-Id", "req-1")
	w.WriteHeader(code)
	io.WriteString(w, body)
}

func (s *scripted) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	code = Run(s.t.Context(), args, Stdio{In: strings.NewReader(""), Out: &out, Err: &errs})
	s.mu.Lock() // what the handler wrote is seen from here on
	defer s.mu.Unlock()
	return code, out.String(), errs.String()
}

func problem(status int, code, detail, more string) string {
	return fmt.Sprintf(`%d {"status":%d,"code":%q,"detail":%q,"outcome":"none"%s}`, status, status, code, detail, more)
}

func TestExitCodesOfRefusals(t *testing.T) {
	for _, tt := range []struct {
		answer string
		code   int
		next   string
		why    string
	}{
		{problem(404, "not_found", "there is no tenant \"x\"", ""), 3, "causeway tenant list", "an object that is not there"},
		{problem(404, "not_in_this_version", "later", ""), 3, "causeway version", "an endpoint of a later version"},
		{problem(401, "unauthorized", "who are you", ""), 4, "--token", "no token"},
		{problem(403, "forbidden", "auditors may not", ""), 4, "role", "a role that may not"},
		{problem(422, "invalid", "no", `,"field":"home"`), 1, "correct the named field", "a bad value"},
		{problem(412, "precondition_failed", "version 3", ""), 1, "get", "somebody was faster"},
		{problem(409, "confirmation_required", "ends keys", ""), 2, "--yes", "a flag is missing"},
		{problem(503, "no_leader", "none", `,"retryable":true`), 5, "coordinator status", "an election"},
		{problem(504, "unknown_outcome", "?", `,"retryable":false,"outcome":"unknown"`), 5, "look whether", "a write that may have happened"},
		{problem(500, "internal", "oops", ""), 5, "try again", "a bug over there"},
		{"200 <html>", 1, "", "not JSON at all"},
	} {
		s := newScripted(t, map[string]string{"GET /v1/tenants/x": tt.answer})
		code, out, errs := s.run("tenant", "get", "x", "--server", s.url)
		if code != tt.code || !strings.Contains(errs, tt.next) || !strings.HasPrefix(errs, "error: ") || out != "" {
			t.Errorf("%s: exit %d (want %d), stdout %q, stderr %s", tt.why, code, tt.code, out, errs)
		}
	}
}

const tenantsJSON = `200 {"items":[{"id":"acme","home":"EU","class":"internal","labels":{"a":"1"},"version":3},{"id":"b","home":"CN","class":"public","version":4}]}`

func TestFormats(t *testing.T) {
	for format, want := range map[string]string{
		"table": "ID    ORG  HOME  OWNERSHIP  CLASS     LABELS\nacme  -    EU    -          internal  a=1\nb     -    CN    -          public    -\n",
		"name":  "acme\nb\n",
		"yaml":  "- id: acme\n  home: EU\n  class: internal\n  labels:\n    a: \"1\"\n  version: 3\n- id: b\n  home: CN\n  class: public\n  version: 4\n",
	} {
		s := newScripted(t, map[string]string{"GET /v1/tenants": tenantsJSON})
		code, out, errs := s.run("tenant", "list", "-o", format, "--server", s.url)
		if diff := cmp.Diff(want, out); diff != "" || code != 0 || errs != "" {
			t.Errorf("-o %s: exit %d, stderr %q, -want +got:\n%s", format, code, errs, diff)
		}
	}
	s := newScripted(t, map[string]string{"GET /v1/tenants": tenantsJSON})
	_, out, _ := s.run("tenant", "list", "-o", "json", "--server", s.url)
	var list []struct{ ID string }
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 2 {
		t.Errorf("-o json is no list of two: %v\n%s", err, out)
	}
}

func TestEmptyListIsAList(t *testing.T) {
	s := newScripted(t, map[string]string{"GET /v1/keys": `200 {"items":[]}`})
	if code, out, errs := s.run("key", "list", "-o", "json", "--server", s.url); out != "[]\n" || code != 0 {
		t.Errorf("exit %d, got %q %s", code, out, errs)
	}
}

// TestSetChangesOnlyWhatIsNamed: set reads, lays the flags over it and writes on the version it read.
func TestSetChangesOnlyWhatIsNamed(t *testing.T) {
	s := newScripted(t, map[string]string{
		"GET /v1/tenants/acme": `200 {"id":"acme","home":"EU","class":"internal","cors":["https://a"],"version":7}`,
		"PUT /v1/tenants/acme": `200 {"id":"acme","home":"EU","class":"restricted","version":8}`,
	})
	code, _, errs := s.run("tenant", "set", "acme", "--class", "restricted", "--server", s.url, "--token", "t1")
	if code != 0 {
		t.Fatal(errs)
	}
	put := s.seen[1]
	if got := put.Header.Get("If-Match"); got != `"7"` {
		t.Errorf("If-Match %s, want the version that was read", got)
	}
	if got := put.Header.Get("Authorization"); got != "Bearer t1" {
		t.Errorf("Authorization %q", got)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(s.bodies[1]), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"id": "acme", "home": "EU", "class": "restricted", "cors": []any{"https://a"}, "version": 7.0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body -want +got:\n%s", diff)
	}
}

func TestCreateBodies(t *testing.T) {
	t.Setenv("CAUSEWAY_TEST_KEY", "sk-from-the-environment")
	for _, tt := range []struct {
		args []string
		path string
		want string
	}{
		{
			[]string{"model", "create", "m", "--alias", "a,b", "--target", "provider=p,model=x,tier=1,weight=2", "--target", "provider=q", "--price", "input=2.50,output=10"},
			"/v1/models",
			`{"id":"m","aliases":["a","b"],"targets":[{"provider":"p","model":"x","weight":2,"tier":1},{"provider":"q","model":"m"}],"price":{"input":"2.50","output":"10"}}`,
		},
		{
			[]string{"provider", "create", "p", "--dialect", "gemini", "--base-url", "https://g", "--scheme", "bearer", "--secret", "id=a,value=env:CAUSEWAY_TEST_KEY", "--gap-timeout", "90s"},
			"/v1/providers",
			`{"id":"p","dialects":["gemini"],"base_url":"https://g","auth":{"scheme":"bearer","secrets":[{"id":"a","value":"sk-from-the-environment"}]},"timeouts":{"gap":"1m30s"}}`,
		},
		{
			[]string{"limit", "create", "acme/*/gpt-4o", "--rpm", "60", "--cut-off", "reuse:24h"},
			"/v1/limits", `{"tenant":"acme","key":"*","model":"gpt-4o","rpm":60,"cut_off":"reuse:24h"}`,
		},
		{
			[]string{"region", "create", "r", "--country", "SG", "--lat", "1.5", "--lon", "-103.8", "--zone", "a", "--zone", "b"},
			"/v1/regions", `{"id":"r","country":"SG","lat":1.5,"lon":-103.8,"zones":["a","b"]}`,
		},
	} {
		s := newScripted(t, map[string]string{"POST " + tt.path: "201 {}"})
		if code, _, errs := s.run(append(tt.args, "--server", s.url)...); code != 0 {
			t.Errorf("%v: exit %d: %s", tt.args, code, errs)
			continue
		}
		if diff := cmp.Diff(tt.want, s.bodies[0]); diff != "" {
			t.Errorf("%v -want +got:\n%s", tt.args, diff)
		}
		if s.seen[0].Header.Get("Idempotency-Key") == "" {
			t.Errorf("%v: no Idempotency-Key", tt.args)
		}
	}
}

func TestKeySecretIsShownOnce(t *testing.T) {
	s := newScripted(t, map[string]string{"POST /v1/keys": `201 {"id":"k","tenant":"t","secret":"cw_abc"}`})
	code, out, errs := s.run("key", "create", "k", "--tenant", "t", "--server", s.url)
	if code != 0 || out != "ID  TENANT  SECRET\nk   t       cw_abc\n" || !strings.Contains(errs, "this once") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

func TestJoinTokenAloneOnStdout(t *testing.T) {
	s := newScripted(t, map[string]string{"POST /v1/cluster/tokens": `201 {"id":"i","region":"us-west","roles":["exit"],"token":"cwj1.i.s.h"}`})
	code, out, errs := s.run("node", "token", "--region", "us-west", "--role", "exit", "--ttl", "1h", "--server", s.url)
	if code != 0 || out != "cwj1.i.s.h\n" {
		t.Errorf("exit %d, %q %s", code, out, errs)
	}
	if want := `{"roles":["exit"],"region":"us-west","ttl":"1h0m0s"}`; s.bodies[0] != want {
		t.Errorf("body %s, want %s", s.bodies[0], want)
	}
}

const meshYAML = "version: 1\ntenants:\n  - {id: acme, home: EU}\nkeys:\n  - {id: k, tenant: acme, secret: \"env:CAUSEWAY_TEST_KEY\"}\n"

// TestApplyShowsDeletionsFirst: with --prune the deletions are shown by a dry run, and keys need --yes.
func TestApplyShowsDeletionsFirst(t *testing.T) {
	plan := `200 {"applied":false,"changes":[{"section":"tenants","id":"old","action":"delete"},{"section":"keys","id":"gone","action":"delete"}],"needs_yes":["keys/gone"]}`
	done := strings.Replace(plan, "false", "true", 1)
	s := newScripted(t, map[string]string{
		"POST /v1/apply?dry_run=1&prune=1": plan, "POST /v1/apply?dry_run=1&prune=1&yes=1": plan, "POST /v1/apply?prune=1&yes=1": done,
	})
	t.Setenv("CAUSEWAY_TEST_KEY", "0123456789abcdef0123456789")
	if err := os.WriteFile("mesh.yaml", []byte(meshYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := s.run("apply", "-f", "mesh.yaml", "--prune", "--server", s.url)
	if code != 2 || len(s.seen) != 1 || out != "" || !strings.Contains(errs, "- tenants/old will be deleted") || !strings.Contains(errs, "--yes") {
		t.Errorf("without --yes: exit %d, %d calls, %q\n%s", code, len(s.seen), out, errs)
	}
	code, out, errs = s.run("apply", "-f", "mesh.yaml", "--prune", "--yes", "--server", s.url)
	if code != 0 || len(s.seen) != 3 || !strings.Contains(out, "2 to delete") {
		t.Errorf("with --yes: exit %d, %d calls\n%s%s", code, len(s.seen), out, errs)
	}
	if !strings.Contains(s.bodies[2], `"secret":"0123456789abcdef0123456789"`) {
		t.Errorf("the reference was not resolved: %s", s.bodies[2])
	}
}

// TestApplyNamesTheLine: the coordinator saw JSON; the user wrote YAML and gets its lines.
func TestApplyNamesTheLine(t *testing.T) {
	s := newScripted(t, map[string]string{
		"POST /v1/apply": problem(422, "invalid", "no jurisdiction \"EUX\"", `,"field":"tenants[0].home","problems":[{"field":"tenants[0].home","line":1,"message":"no jurisdiction \"EUX\""}]`),
	})
	t.Setenv("CAUSEWAY_TEST_KEY", "0123456789abcdef0123456789")
	if err := os.WriteFile("mesh.yaml", []byte(meshYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := s.run("apply", "-f", "mesh.yaml", "--server", s.url)
	if code != 1 || !strings.Contains(errs, `line 3: tenants[0].home: no jurisdiction "EUX"`) {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestDevTokenStaysHome: a dev mesh's credentials are sent to no other server.
func TestDevTokenStaysHome(t *testing.T) {
	s := newScripted(t, map[string]string{"GET /v1/orgs": `200 {"items":[]}`})
	if err := os.MkdirAll(devDir, 0o700); err != nil {
		t.Fatal(err)
	}
	ready := func(admin string) {
		b, err := json.Marshal(devReady{Admin: admin, AdminToken: "dev-token"})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(devDir, "ready.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ready("http://127.0.0.1:1")
	s.run("org", "list", "--server", s.url)
	ready(s.url)
	s.run("org", "list")
	s.run("org", "list", "--server", s.url+"/")
	var got []string
	for _, r := range s.seen {
		got = append(got, r.Header.Get("Authorization"))
	}
	if want := []string{"", "Bearer dev-token", "Bearer dev-token"}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

const explanation = `200 {"edge":"cn-east","model":"auto","tenant":"acme","class":"restricted","client_country":"CN","allowed":"CN","rules":["cn-stay"],"audit":"buffer","why":"rule cn-stay",
 "routes":[{"exit":"exit-1","region":"cn-east","provider":"p","model":"x","tier":1,"cost_ms":12.3,"rtt_ms":4,"measured":true,"why":"lowest cost"}],
 "refused":[{"exit":"exit-2","region":"us-west","provider":"q","model":"x","tier":0,"why":"US is outside CN"}]}`

func TestRouteExplain(t *testing.T) {
	s := newScripted(t, map[string]string{"GET /v1/routes:explain?class=restricted&edge=cn-east&model=auto": explanation})
	code, out, errs := s.run("route", "explain", "auto", "--class", "restricted", "--edge", "cn-east", "--ops", strings.TrimPrefix(s.url, "http://"))
	want := `edge cn-east, tenant acme, class restricted, client in CN
allowed: CN   (rule cn-stay)
#   EXIT    REGION   PROVIDER  MODEL  TIER  COST     RTT     WHY
1   exit-1  cn-east  p         x      1     12.3 ms  4.0 ms  lowest cost
no  exit-2  us-west  q         x      0     -        -       US is outside CN
`
	if diff := cmp.Diff(want, out); diff != "" || code != 0 {
		t.Errorf("exit %d %s -want +got:\n%s", code, errs, diff)
	}
}

// A coordinator is asked when one is named, and says what it cannot know; --ops asks an edge nevertheless.
func TestRouteExplainByACoordinator(t *testing.T) {
	const answer = `200 {"edge":"eu-central","model":"auto","tenant":"acme","class":"internal","home":"EU","client_at_home":true,"allowed":"*","audit":"buffer","why":"",
 "note":"answered by a coordinator","routes":[{"exit":"exit-1","region":"eu-central","provider":"p","model":"x","tier":0,"cost_ms":3,"rtt_ms":1,"why":"lowest cost"}]}`
	coordinator := newScripted(t, map[string]string{"GET /v1/routes:explain?edge=eu-central&model=auto": answer})
	edge := newScripted(t, map[string]string{"GET /v1/routes:explain?edge=eu-central&model=auto": strings.Replace(answer, `"answered by a coordinator"`, `""`, 1)})
	want := `edge eu-central, tenant acme, class internal, client at home (EU)
allowed: *   (by no rule)
#  EXIT    REGION      PROVIDER  MODEL  TIER  COST    RTT                   WHY
1  exit-1  eu-central  p         x      0     3.0 ms  1.0 ms (by distance)  lowest cost
`
	for _, args := range [][]string{{"--server", coordinator.url, "--token", "t"}, {"--server", coordinator.url, "--token", "t", "--ops", edge.url}} {
		code, out, errs := coordinator.run(append([]string{"route", "explain", "auto", "--edge", "eu-central"}, args...)...)
		if diff := cmp.Diff(want, out); diff != "" || code != 0 {
			t.Errorf("%v: exit %d %s -want +got:\n%s", args, code, errs, diff)
		}
		if noted := strings.Contains(errs, "answered by a coordinator"); noted == slices.Contains(args, "--ops") {
			t.Errorf("%v: %s", args, errs)
		}
	}
}

const meshMap = `200 {"self":"e1","region":"cn-east","members":[
 {"id":"e1","region":"cn-east","roles":["edge"],"addr":"a:1","alive":true,"load":0.5},
 {"id":"x1","region":"cn-east","roles":["exit"],"addr":"a:2","alive":true,"draining":true,"rtt_ms":3.25},
 {"id":"x2","region":"us-west","roles":["exit"],"addr":"a:3","alive":false}]}`

func TestMeshMapAndPing(t *testing.T) {
	s := newScripted(t, map[string]string{"GET /v1/mesh": meshMap})
	_, out, _ := s.run("mesh", "map", "--ops", s.url)
	want := `NODE  REGION   ROLES  STATE     LOAD  RTT     ADDR  BUILD
e1    cn-east  edge   self      50%   -       a:1   -
x1    cn-east  exit   draining  0%    3.2 ms  a:2   -
x2    us-west  exit   down      0%    -       a:3   -
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("map -want +got:\n%s", diff)
	}
	// A missing measurement is said, never shown as a figure.
	code, out, errs := s.run("mesh", "ping", "--ops", s.url, "-c", "2", "-i", "1ms")
	if code != 5 || strings.Count(out, "no tunnel") != 2 || strings.Count(out, "3.2 ms") != 2 || !strings.Contains(errs, "no tunnel to x2") {
		t.Errorf("ping: exit %d\n%s%s", code, out, errs)
	}
	if code, out, _ := s.run("mesh", "ping", "cn-east", "--ops", s.url, "-c", "1", "-o", "json"); code != 0 || !strings.Contains(out, `"mean_ms": 3.25`) {
		t.Errorf("ping of one region: exit %d %s", code, out)
	}
	if code, _, _ := s.run("mesh", "ping", "mars", "--ops", s.url, "-c", "1"); code != 3 {
		t.Errorf("ping of an unknown exit: %d, want 3", code)
	}
}

const chunks = "200 data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n: keepalive\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n"

func TestAsk(t *testing.T) {
	for _, tt := range []struct {
		answer string
		args   []string
		code   int
		out    string
		err    string
		why    string
	}{
		{chunks + "data: [DONE]\n\n", nil, 0, "Hello\n", "", "a stream"},
		{chunks, nil, 1, "Hello\n", "broke off", "a stream without its end is not a whole answer"},
		{chunks + "data: {\"error\":{\"message\":\"gone\",\"code\":\"upstream_partial\"}}\n\n", nil, 5, "Hello\n", "upstream_partial: gone", "the provider broke off"},
		{`200 {"choices":[{"message":{"content":"Hi"}}]}`, []string{"--stream=false"}, 0, "Hi\n", "", "a unary answer"},
		{`403 {"error":{"message":"stays in CN","code":"residency_denied"}}`, nil, 4, "", "residency_denied: stays in CN", "a residency refusal"},
		{`404 {"error":{"message":"no such model","code":null,"type":"x"}}`, nil, 3, "", "no such model", "an unknown model"},
		{`503 oops`, nil, 5, "", "req-1", "an answer that is no JSON"},
	} {
		s := newScripted(t, map[string]string{"POST /v1/chat/completions": tt.answer})
		code, out, errs := s.run(append([]string{"ask", "--edge", s.url, "--key", "cw_k", "hello", "there"}, tt.args...)...)
		if code != tt.code || out != tt.out || !strings.Contains(errs, tt.err) {
			t.Errorf("%s: exit %d (want %d), %q, %s", tt.why, code, tt.code, out, errs)
		}
		if s.seen[0].Header.Get("Authorization") != "Bearer cw_k" || !strings.Contains(s.bodies[0], `"content":"hello there"`) {
			t.Errorf("%s: sent %s", tt.why, s.bodies[0])
		}
	}
}

// TestDoctorFails: a failed check ends with 6, whatever else is well.
func TestDoctorFails(t *testing.T) {
	s := newScripted(t, map[string]string{
		"GET /v1/health/live":     `200 {"status":"ok"}`,
		"GET /v1/cluster":         `200 {"leader":"c1","voters":3}`,
		"GET /v1/cluster/members": `200 {"items":[{"id":"c1","voter":true,"online":true,"index":9,"fsm_hash":"aa"},{"id":"c2","voter":true,"online":true,"index":9,"fsm_hash":"bb"}]}`,
		"GET /v1/nodes":           `200 {"items":[{"id":"e","roles":["edge","exit"],"state":"active","not_after":1}]}`,
	})
	code, out, errs := s.run("doctor", "--server", s.url)
	for _, want := range []string{"c2 has another state at the same index", "its certificate: ended", "1 edges, 1 exits"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not say %q:\n%s", want, out)
		}
	}
	if code != 6 {
		t.Errorf("exit %d, want 6: %s", code, errs)
	}
}

// TestExportSurvivesTheShell: whatever a value holds, it is one word of the shell.
func TestExportSurvivesTheShell(t *testing.T) {
	for shell, want := range map[string]string{
		"sh": `export X='a'\''b\c'`, "fish": `set -gx X 'a\'b\\c'`, "powershell": `$env:X = 'a''b\c'`,
	} {
		if got, ok := export(shell, variable{"X", `a'b\c`}); !ok || got != want {
			t.Errorf("%s: %s, want %s", shell, got, want)
		}
	}
}

// TestEveryVerbIsDescribed: no command without a description, in one style; no flag without a use.
func TestEveryVerbIsDescribed(t *testing.T) {
	a := &app{Stdio: Stdio{Out: io.Discard, Err: io.Discard}}
	var walk func(path string, c *cobra.Command)
	walk = func(path string, c *cobra.Command) {
		if !c.Hidden && c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: description %q", path, c.Short)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s has no description", path, f.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(path+" "+sub.Name(), sub)
		}
	}
	for _, c := range a.root().Commands() {
		if !c.Hidden {
			walk(c.Name(), c)
		}
	}
}
