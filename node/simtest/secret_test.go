package simtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/quic-go/quic-go"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/gossip"
	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/path"
	"github.com/causeway-mesh/causeway/relay/fake"
)

// spy is a member of the mesh that only listens: what others gossip to it, as it is inside QUIC.
type spy struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *spy) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *spy) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// addSpy joins a relay node that speaks no gossip but takes what it is told.
func (m *Mesh) addSpy() (*spy, func()) {
	m.t.Helper()
	s := &spy{}
	ip := m.net.host("10.3.7", us)
	joined, err := api.Join(m.t.Context(), api.JoinConfig{
		Servers: []string{m.coords[0].server.APIURL()}, Token: m.token("relay", us, "spy"), Node: "spy", Addr: ip + ":7701", Build: "sim",
		Dial: m.net.dialer(ip),
	})
	if err != nil {
		m.t.Fatal(err)
	}
	end, err := path.New(path.Config{
		Conn: m.net.listenPacket(ip, 7701), Identity: joined.Identity, Log: zerolog.Nop(),
		Resolve: func(_ context.Context, hostport string) (net.Addr, error) { return udpAddr(hostport) },
		Protocols: []path.Protocol{{ALPN: gossip.ALPN, Handle: func(ctx context.Context, c *quic.Conn, _ identity.Peer) {
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					p, err := c.ReceiveDatagram(ctx)
					if err != nil {
						return
					}
					_, _ = s.Write(p)
				}
			})
			wg.Go(func() {
				for {
					str, err := c.AcceptUniStream(ctx)
					if err != nil {
						return
					}
					wg.Go(func() { _, _ = io.Copy(s, str) })
				}
			})
			for {
				str, err := c.AcceptStream(ctx)
				if err != nil {
					break
				}
				wg.Go(func() { _, _ = io.Copy(s, str) })
			}
			wg.Wait()
		}}},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- end.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("spy: %v", err)
		}
	}
}

const (
	promptCanary = "PROMPT-CANARY-5d41402abc4b2a76"
	answerCanary = "ANSWER-CANARY-7d793037a0760186"
	wrongKey     = "cw_sim_WRONG-KEY-CANARY-9b74c9897bac770f"
)

// Provider credentials, client keys, prompts and answers are nowhere but on their way: not in logs at
// the lowest level, metrics, audit records, files of nodes and coordinators, the Raft log, gossip, or
// the errors that clients see.
func TestSecretsAndTextStayOnTheirWay(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		m.level = zerolog.TraceLevel
		m.data = t.TempDir()
		listener, stop := m.addSpy()
		defer stop()
		p := m.AddProvider("p", us, fake.Options{Keys: []string{providerSecret}, TokenDelay: 10 * time.Millisecond})
		edge := m.AddEdge(us)
		m.AddExit(us)
		m.AddExit(us)
		doc := document(append(fake.FailureModels(), model), p)
		doc.Tenants = append(doc.Tenants, state.Tenant{ID: "kept", Home: "CN", Class: "restricted"})
		doc.Keys = append(doc.Keys, state.Key{ID: "kept", Tenant: "kept", Secret: clientKey + "kept"})
		doc.Policy = &state.Policy{Default: "allow", Rules: []state.Rule{{ID: "stay", When: state.When{Home: []string{"CN"}}, Allow: []string{"CN"}}}}
		doc.Limits = []state.Limit{{Tenant: "acme", RPM: 100000, TPM: 100000000}}
		for i := range doc.Providers {
			doc.Providers[i].Timeouts.FirstByte = state.Duration(2 * time.Second)
		}
		m.Apply(doc)
		m.Settle()

		shown := &strings.Builder{} // what clients were told went wrong
		prompt := promptCanary + " reply with exactly: " + answerCanary
		do := func(a ask) Reply {
			r, err := m.try(t.Context(), edge.Region, edge, a)
			if err != nil {
				fmt.Fprintf(shown, "%v\n", err)
				return r
			}
			fmt.Fprintf(shown, "%v\n", r.Header)
			if r.Status != 200 {
				shown.WriteString(r.Body)
			} else if i := max(strings.LastIndex(r.Body, `"error":{`), strings.LastIndex(r.Body, "event: error")); i >= 0 {
				shown.WriteString(r.Body[i:])
			}
			return r
		}
		answered := 0
		for _, d := range dialects {
			for _, name := range append([]string{model, "no-such-model"}, fake.FailureModels()...) {
				for _, a := range []ask{d.unary(name, prompt), d.stream(name, prompt)} {
					if r := do(a); r.Status == 200 && strings.Contains(r.Body, "ANSW") {
						answered++
					}
				}
			}
			time.Sleep(2 * time.Minute) // the credential that fake-401 refused rests
			good := d.unary(model, prompt)
			for _, bad := range []ask{
				{path: good.path, body: good.body, key: wrongKey},
				{path: good.path, body: good.body, key: clientKey + "kept"},
				{path: good.path, body: good.body[:len(good.body)-3]},
				{path: good.path, body: strings.Replace(good.body, "{", `{"model":"`+promptCanary+`","model":"x",`, 1)},
				{path: good.path, body: strings.Replace(good.body, "{", `{"no_such_field":{"a":1},`, 1)},
				{path: good.path, body: good.body, header: []string{"Content-Encoding", "gzip"}},
				{path: good.path + "?key=" + wrongKey, body: good.body, key: " "},
				{path: "/v1/nowhere", body: good.body},
			} {
				if r := do(bad); r.Status == 200 {
					t.Errorf("%s: a bad request was answered: %s", d.name, r.Body)
				}
			}
		}
		if answered < 8 {
			t.Fatalf("only %d requests were answered", answered)
		}
		// Trouble that logs like to talk about: a death in the middle, a stop, a coordinator's end.
		dying := m.Stream(edge, dialects[0].stream(model, promptCanary+" fake:tokens=500"))
		time.Sleep(time.Second)
		m.nodeAt(p.last(0).From).Kill()
		<-dying
		time.Sleep(time.Minute) // gossip talks

		metrics := &strings.Builder{}
		for _, n := range m.nodes {
			w := httptest.NewRecorder()
			n.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			metrics.WriteString(w.Body.String())
		}
		edge.Stop()
		files := m.files(t, m.data, m.coords[0].cfg.Dir)
		log := &strings.Builder{}
		last, err := m.coords[0].cfg.Store.LastIndex()
		if err != nil {
			t.Fatal(err)
		}
		for i := uint64(1); i <= last; i++ {
			var l raft.Log
			if err := m.coords[0].cfg.Store.GetLog(i, &l); err == nil {
				log.Write(l.Data)
			}
		}
		sum := sha256.Sum256([]byte(clientKey)) // an unkeyed hash would give a guess away
		for where, tc := range map[string]struct{ text, mark string }{
			"logs": {m.log.text(), "request_id"}, "metrics": {metrics.String(), "api_requests_total"}, "files": {files, `"kind":"outcome"`},
			"the Raft log": {log.String(), "acme"}, "gossip": {listener.text(), "exit-us-west"}, "errors": {shown.String(), "invalid"},
		} {
			if !strings.Contains(tc.text, tc.mark) {
				t.Errorf("%s do not hold %q: the tap is broken", where, tc.mark)
			}
			for _, secret := range []string{providerSecret, clientKey, wrongKey, "CANARY", string(sum[:]), fmt.Sprintf("%x", sum[:])} {
				if i := strings.Index(tc.text, secret); i >= 0 {
					t.Errorf("%s hold %q: %q", where, secret, tc.text[max(0, i-300):min(len(tc.text), i+100)])
				}
			}
		}
	})
}

// files is everything in the directories.
func (m *Mesh) files(t *testing.T, dirs ...string) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			b.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
