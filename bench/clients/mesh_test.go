package clients

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/bench/clients/internal/dev"
)

var mesh *dev.Mesh // written once, before any test runs

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait, they do not compute: let more of them wait at once than there are processors.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	code, err := withMesh(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/clients:", err)
		code = 1
	}
	os.Exit(code)
}

// withMesh runs the tests against a mesh of their own. One that does not end well fails the run.
func withMesh(run func() int) (code int, err error) {
	if mesh, err = dev.Start("../.."); err != nil {
		return 1, err
	}
	code = run()
	if err := mesh.Stop(); err != nil {
		return 1, err
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "causeway dev said:\n%s", mesh.Log())
	}
	return code, nil
}

// edge is the base URL of a region's edge.
func edge(t testing.TB, region string) string {
	t.Helper()
	url := mesh.Edge(region)
	if url == "" {
		t.Fatalf("no edge in %s", region)
	}
	return url
}

// limitedKey makes a virtual key of its own with one request per minute at each edge.
func limitedKey(t testing.TB, id string) string {
	t.Helper()
	secret := "cw_test_" + id + "_0123456789abcdef"
	doc := fmt.Sprintf(`{"version":1,"keys":[{"id":%q,"tenant":"dev","secret":%q,"models":["*"]}],"limits":[{"tenant":"dev","key":%q,"model":"*","rpm":%d}]}`,
		id, secret, id, len(mesh.Edges))
	apply(t, doc)
	wait(t, "the new key", secret, "/v1/models")
	return secret
}

// apply adds what doc, in the form of mesh.yaml, holds.
func apply(t testing.TB, doc string) {
	t.Helper()
	admin(t, http.MethodPost, "/v1/apply", doc)
}

// admin asks the admin API and gives the answer's body.
func admin(t testing.TB, method, path, body string) []byte {
	t.Helper()
	b, err := mesh.Call(t.Context(), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pinned makes a model of its own that only one provider serves, and waits until the edge knows it.
func pinned(t testing.TB, provider, model string) string {
	t.Helper()
	id := "only-" + provider + "-" + model
	apply(t, fmt.Sprintf(`{"version":1,"models":[{"id":%q,"targets":[{"provider":%q,"model":%q}]}]}`, id, provider, model))
	wait(t, "the new model", mesh.APIKey, "/v1/models/"+id)
	return id
}

// wait waits until the edge serves path to a key.
func wait(t testing.TB, what, key, path string) {
	t.Helper()
	if err := mesh.Wait(t.Context(), what, key, path); err != nil {
		t.Fatal(err)
	}
}

var routeForm = regexp.MustCompile(`^edge=us-west;exit=(us-west|eu-central);provider=([a-z-]+);model=(.+)$`)

// checkHeaders holds an answer that went through an exit to what DESIGN.md 4.3 promises.
func checkHeaders(t testing.TB, h http.Header, provider, model string) {
	t.Helper()
	if v := h.Get("X-Causeway-Request-Id"); v == "" {
		t.Error("x-causeway-request-id is missing")
	}
	if v := h.Get("X-Causeway-Cache"); !slices.Contains([]string{"miss", "hit", "coalesced", "bypass"}, v) {
		t.Errorf("x-causeway-cache = %q", v)
	}
	if v := h.Get("Traceparent"); len(v) != 55 {
		t.Errorf("traceparent = %q", v)
	}
	m := routeForm.FindStringSubmatch(h.Get("X-Causeway-Route"))
	if m == nil || !strings.HasSuffix(m[2], provider) || m[3] != model {
		t.Errorf("x-causeway-route = %q, want a provider of %s and model %s", h.Get("X-Causeway-Route"), provider, model)
	}
}

// checkRefusal holds a refusal to DESIGN.md 4.8: an id to ask about and a word on retrying.
func checkRefusal(t testing.TB, h http.Header, retry string) {
	t.Helper()
	if h.Get("X-Causeway-Request-Id") == "" {
		t.Error("x-causeway-request-id is missing on a refusal")
	}
	if v := h.Get("X-Should-Retry"); v != retry {
		t.Errorf("x-should-retry = %q, want %q", v, retry)
	}
	if after := h.Get("Retry-After"); retry == "true" && after == "" {
		t.Error("retry-after is missing on a refusal that may be retried")
	}
}

// abandoned runs a call that never ends by itself and cancels it: the call must return at once.
func abandoned(t testing.TB, call func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled call ended with %v, want context.Canceled", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a cancelled call did not end within 10 s")
	}
}

// pixel is a PNG of one dot.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// weather is the seed article's function, as the vendors' samples write it.
var weather = map[string]any{
	"type":       "object",
	"properties": map[string]any{"location": map[string]any{"type": "string"}, "unit": map[string]any{"type": "string", "enum": []string{"celsius", "fahrenheit"}}},
	"required":   []string{"location"},
}

// place is what the structured answers are unmarshalled into, and placeSchema says so.
type place struct {
	City       string `json:"city"`
	Population int64  `json:"population"`
}

var placeSchema = map[string]any{
	"type":                 "object",
	"properties":           map[string]any{"city": map[string]any{"type": "string"}, "population": map[string]any{"type": "integer"}},
	"required":             []string{"city", "population"},
	"additionalProperties": false,
}

func checkPlace(t testing.TB, text string) {
	t.Helper()
	var p place
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil || p.City == "" {
		t.Errorf("structured answer %q does not follow the schema: %v", text, err)
	}
}

// checkArguments holds a tool call's arguments to the schema of weather.
func checkArguments(t testing.TB, args string) {
	t.Helper()
	var v struct {
		Location string `json:"location"`
		Unit     string `json:"unit"`
	}
	if err := json.Unmarshal([]byte(args), &v); err != nil || v.Location == "" {
		t.Errorf("tool arguments %q: %v", args, err)
	}
}
