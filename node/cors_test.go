package node_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/coordinator/api"
)

func (r *rig) options(path string, header ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodOptions, r.server.URL+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func TestPreflight(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) { v.Tenants[0].CORS = []string{"https://app.example.com"} })
	for _, c := range []struct {
		path, origin, asked    string
		status                 int
		allow, methods, fields string
		body                   string
		why                    string
	}{
		{"/v1/chat/completions", "https://app.example.com", "authorization,content-type,x-stainless-lang", 204, "https://app.example.com", "POST", "authorization,content-type,x-stainless-lang", "", "the tenant's origin"},
		{"/v1/models", "https://app.example.com", "", 204, "https://app.example.com", "GET", "", "", "nothing asked for"},
		{"/anthropic/v1/messages", "https://app.example.com", "x-api-key", 204, "https://app.example.com", "POST", "x-api-key", "", "every dialect"},
		{"/v1/messages", "https://evil.example.com", "x-api-key", 403, "", "", "", `"type":"permission_error"`, "nobody's origin, in Anthropic's shape"},
		{"/v1/chat/completions", "https://app.example.com.evil.com", "", 403, "", "", "", `"error"`, "whole origins only"},
		{"/v1/chat/completions", "null", "", 403, "", "", "", `"error"`, "a sandboxed frame"},
		{"/v1/chat/completions", "", "", 405, "", "", "", `"error"`, "not a browser's question"},
		{"/v1/chat/completions", "https://app.example.com", "authorization, x-é", 204, "https://app.example.com", "POST", "", "", "names that are none are not sent back"},
		{"/nowhere", "https://app.example.com", "", 404, "", "", "", `"error"`, "no API there"},
	} {
		header := []string{"Access-Control-Request-Method", "POST"}
		if c.origin != "" {
			header = append(header, "Origin", c.origin)
		}
		if c.asked != "" {
			header = append(header, "Access-Control-Request-Headers", c.asked)
		}
		a := r.options(c.path, header...)
		h := a.header
		if a.status != c.status || h.Get("Access-Control-Allow-Origin") != c.allow || h.Get("Access-Control-Allow-Methods") != c.methods ||
			h.Get("Access-Control-Allow-Headers") != c.fields || !strings.Contains(a.body, c.body) {
			t.Errorf("%s from %q (%s): status %d, headers %v, body %s", c.path, c.origin, c.why, a.status, h, a.body)
		}
		if c.status == 204 && (!strings.Contains(h.Get("Vary"), "Origin") || a.body != "") {
			t.Errorf("%s (%s): Vary %q, body %q", c.path, c.why, h.Get("Vary"), a.body)
		}
		if o := r.last(); o.Method != http.MethodOptions || o.Status != c.status {
			t.Errorf("%s (%s): outcome %s %d", c.path, c.why, o.Method, o.Status)
		}
	}
}

// A preflight speaks for the mesh; what follows is held to the tenant whose key it carries.
func TestOriginOfAnotherTenantCannotReadAnswers(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		v.Tenants[0].CORS = []string{"https://app.example.com"}
		other := v.Tenants[0]
		other.ID, other.CORS = "other", []string{"https://other.example.com"}
		v.Tenants = append(v.Tenants, other)
	})
	const body = `{"model":"gpt-4","messages":[{"role":"user","content":"hi"}]}`
	for origin, want := range map[string]string{"https://app.example.com": "https://app.example.com", "https://other.example.com": ""} {
		if a := r.options("/v1/chat/completions", "Origin", origin, "Access-Control-Request-Method", "POST"); a.status != http.StatusNoContent {
			t.Errorf("preflight of %s: %d", origin, a.status)
		}
		a := r.post("/v1/chat/completions", body, "Origin", origin)
		if got := a.header.Values("Access-Control-Allow-Origin"); a.status != 200 || strings.Join(got, ",") != want {
			t.Errorf("%s: status %d, Access-Control-Allow-Origin %q, want %q", origin, a.status, got, want)
		}
	}
}

// A page can read why it was refused, also before its key is known; a page of nobody's origin cannot,
// and a known key brings its own tenant's origins.
func TestRefusalsCanBeReadByTheirPage(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) {
		v.Tenants[0].CORS = []string{"https://app.example.com"}
		v.Keys[0].IPs = []string{"192.0.2.1"}
		other := v.Tenants[0]
		other.ID, other.CORS = "other", []string{"https://other.example.com"}
		v.Tenants = append(v.Tenants, other)
	})
	for _, c := range []struct {
		key, origin string
		status      int
		allow       string
	}{
		{"cw_wrong", "https://app.example.com", 401, "https://app.example.com"},
		{"", "https://other.example.com", 401, "https://other.example.com"},
		{"cw_wrong", "https://evil.example.com", 401, ""},
		{"cw_wrong", "", 401, ""},
		{rigKey, "https://app.example.com", 403, "https://app.example.com"}, // from an address that the key is not for
		{rigKey, "https://other.example.com", 403, ""},
	} {
		header := []string{"Authorization", "Bearer " + c.key}
		if c.origin != "" {
			header = append(header, "Origin", c.origin)
		}
		a := r.post("/v1/chat/completions", `{}`, header...)
		if got := strings.Join(a.header.Values("Access-Control-Allow-Origin"), ","); a.status != c.status || got != c.allow || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%q from %q: %d, allowed %q, want %d %q", c.key, c.origin, a.status, got, c.status, c.allow)
		}
	}
}

func TestOriginsAreIndexed(t *testing.T) {
	r := newRig(t, func(v *api.NodeView) { v.Tenants[0].CORS = []string{"*"} })
	for origin, want := range map[string]bool{"https://anything.example": true, "": false} {
		if got := r.holder.Load().AllowsOrigin(origin); got != want {
			t.Errorf("any origin allowed, %q: %v", origin, got)
		}
	}
	r.view.Tenants[0].CORS = nil
	r.view.Index++
	r.apply()
	if r.holder.Load().AllowsOrigin("https://anything.example") {
		t.Error("an origin is allowed that no tenant names")
	}
}
