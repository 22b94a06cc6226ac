package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/mesh/identity"
)

// globals are the flags that several verbs share.
type globals struct {
	server []string
	token  string
	ca     string
	ops    string
	output string
}

// clientFlags adds what a command that talks to a coordinator needs.
func (a *app) clientFlags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringSliceVar(&a.global.server, "server", nil, "coordinators' admin URLs (CAUSEWAY_SERVER; else the nearest .causeway/dev/ready.json)")
	f.StringVar(&a.global.token, "token", "", "admin token, or file:PATH (CAUSEWAY_TOKEN)")
	f.StringVar(&a.global.ca, "ca", "", "the mesh's CA: a PEM file, or its hash as the coordinator printed it (CAUSEWAY_CA)")
	a.outputFlag(c)
}

// opsFlag adds the address of a node's own endpoints.
func (a *app) opsFlag(c *cobra.Command) {
	c.PersistentFlags().StringVar(&a.global.ops, "ops", "", "a node's ops address (CAUSEWAY_OPS; else the dev mesh; else 127.0.0.1:7703)")
}

// devReady is ready.json of a running dev mesh (DESIGN.md 4.1).
type devReady struct {
	Admin      string      `json:"admin"`
	AdminToken string      `json:"admin_token"`
	APIKey     string      `json:"api_key"`
	Edges      []readyEdge `json:"edges"`
	Exits      []readyExit `json:"exits"`
	Models     []string    `json:"models"`

	dir string // the data directory that it lies in
}

type readyEdge struct {
	Region string `json:"region"`
	Node   string `json:"node"`
	URL    string `json:"url"`
}

type readyExit struct {
	Region string `json:"region"`
	Node   string `json:"node"`
}

// devDir is where a dev mesh keeps its data, below the directory it was started in.
const devDir = ".causeway/dev"

// findDev walks up from the working directory to the nearest running dev mesh; nil when there is none.
func findDev() (*devReady, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find dev mesh: %w", err)
	}
	for {
		path := filepath.Join(dir, devDir, "ready.json")
		b, err := os.ReadFile(path)
		if err == nil {
			r := &devReady{dir: filepath.Dir(path)}
			if err := json.Unmarshal(b, r); err != nil {
				return nil, fmt.Errorf("read %s: %w", path, err)
			}
			return r, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("find dev mesh: %w", err)
		}
		up := filepath.Dir(dir)
		if up == dir {
			return nil, nil
		}
		dir = up
	}
}

// target is the cluster that a command talks to.
type target struct {
	servers []string
	token   string
	roots   []*x509.Certificate
	caHash  [32]byte
	dev     *devReady // when it is a dev mesh on this machine
	local   bool      // plain http: only a dev mesh serves that
}

// target resolves --server/--token/--ca, then the environment, then the nearest dev mesh. A dev mesh's
// token is never sent anywhere but to that mesh.
func (a *app) target() (*target, error) {
	dev, err := findDev()
	if err != nil {
		return nil, err
	}
	t := &target{servers: a.global.server}
	if len(t.servers) == 0 {
		if v := os.Getenv("CAUSEWAY_SERVER"); v != "" {
			t.servers = strings.Split(v, ",")
		}
	}
	switch {
	case len(t.servers) > 0:
		for i, s := range t.servers {
			t.servers[i] = strings.TrimRight(strings.TrimSpace(s), "/")
			if dev != nil && t.servers[i] == strings.TrimRight(dev.Admin, "/") {
				t.dev = dev
			}
		}
	case dev != nil:
		t.servers, t.dev = []string{strings.TrimRight(dev.Admin, "/")}, dev
	default:
		return nil, &failure{
			code: exitUnavailable, what: "no mesh to talk to",
			why:  errors.New("neither --server nor CAUSEWAY_SERVER is set, and no .causeway/dev/ready.json lies in this directory or above"),
			next: "causeway dev   (or name a coordinator: --server https://HOST:7700 --token file:admin.token --ca ca.pem)",
		}
	}
	t.local = strings.HasPrefix(t.servers[0], "http://")
	if t.token = or(a.global.token, os.Getenv("CAUSEWAY_TOKEN")); t.token == "" && t.dev != nil {
		t.token = t.dev.AdminToken
	}
	if t.token, err = secretArg(t.token); err != nil {
		return nil, err
	}
	return t, t.readCA(or(a.global.ca, os.Getenv("CAUSEWAY_CA")))
}

func (t *target) readCA(ca string) error {
	if ca == "" {
		return nil
	}
	if b, err := hex.DecodeString(strings.TrimPrefix(ca, "sha256:")); err == nil && len(b) == 32 {
		t.caHash = [32]byte(b)
		return nil
	}
	b, err := os.ReadFile(ca)
	if err != nil {
		return fail("read the CA", err, "--ca takes DIR/ca.pem of a coordinator, or the hash that it printed")
	}
	if t.roots, err = identity.ParseCertificates(b); err != nil {
		return fail("read the CA in "+ca, err, "--ca takes DIR/ca.pem of a coordinator, or the hash that it printed")
	}
	return nil
}

// client makes a client for the target.
func (a *app) client() (*api.Client, *target, error) {
	t, err := a.target()
	if err != nil {
		return nil, nil, err
	}
	c, err := api.NewClient(api.Config{Servers: t.servers, Token: t.token, Roots: t.roots, CAHash: t.caHash})
	if err != nil {
		return nil, nil, &failure{code: exitUsage, why: err, next: "name it as a URL: --server https://HOST:7700"}
	}
	return c, t, nil
}

// call makes one call to the admin API.
func (a *app) call(ctx context.Context, call api.Call) (api.Answer, error) {
	c, t, err := a.client()
	if err != nil {
		return api.Answer{}, err
	}
	defer c.Close()
	got, err := c.Do(ctx, call)
	return got, t.unreached(err)
}

// unreached names the servers in an error that is not a refusal by one of them.
func (t *target) unreached(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, refused := errors.AsType[*api.Problem](err); refused {
		return err
	}
	next := "check that it runs: causeway coordinator status --server URL"
	if t.dev != nil {
		next = "start it again: causeway dev   (ready.json was left by one that was killed)"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		next = "give the mesh's CA: --ca DIR/ca.pem, or the hash that the coordinator printed"
	}
	return &failure{code: exitUnavailable, what: "no coordinator answered at " + strings.Join(t.servers, ", "), why: last(err), next: next}
}

// last unwraps joined errors to one: a person needs to read the same refusal once.
func last(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		if all := many.Unwrap(); len(all) > 0 {
			return all[len(all)-1]
		}
	}
	return err
}

// opsGet asks a node's own endpoints.
func (a *app) opsGet(ctx context.Context, path string, query url.Values) ([]byte, error) {
	base, token, err := a.opsBase()
	if err != nil {
		return nil, err
	}
	target := base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, &failure{code: exitUsage, what: "--ops " + base, why: err, next: "name it as --ops 127.0.0.1:7703"}
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fail("no node answered at "+base, err, "run this on a node, or name its ops listener: --ops HOST:7703   (a whole mesh: causeway dev)")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fail("read the answer of "+base, err, "")
	}
	if resp.StatusCode != http.StatusOK {
		p := new(api.Problem)
		if json.Unmarshal(body, p) == nil && p.Code != "" {
			return nil, p
		}
		return nil, &failure{code: exitUnavailable, what: base + path + " answered " + resp.Status, next: "name a node's ops listener: --ops HOST:7703"}
	}
	return bytes.TrimSpace(body), nil
}

// opsBase is the base URL of a node's ops listener; in a dev mesh that is the admin listener, which
// wants its token.
func (a *app) opsBase() (base, token string, err error) {
	if ops := or(a.global.ops, os.Getenv("CAUSEWAY_OPS")); ops != "" {
		if !strings.Contains(ops, "://") {
			if host, port, err := net.SplitHostPort(ops); err == nil && host == "" {
				ops = net.JoinHostPort("127.0.0.1", port)
			}
			ops = "http://" + ops
		}
		base = strings.TrimRight(ops, "/")
		if dev, err := findDev(); err == nil && dev != nil && base == strings.TrimRight(dev.Admin, "/") {
			token = dev.AdminToken
		}
		return base, token, nil
	}
	t, err := a.target()
	var none *failure
	switch {
	case err == nil && t.local:
		return t.servers[0], t.token, nil
	case err == nil, errors.As(err, &none) && none.code == exitUnavailable:
		return "http://127.0.0.1:7703", "", nil
	}
	return "", "", err
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// secretArg reads "file:PATH" arguments, so that a secret need not stand in the list of processes.
func secretArg(s string) (string, error) {
	path, ok := strings.CutPrefix(s, "file:")
	if !ok {
		return s, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fail("read the token", err, "")
	}
	return strings.TrimSpace(string(b)), nil
}
