package simtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/fake"
)

// providerSecret is the credential of every provider account.
const providerSecret = "sk-provider-secret-0123456789abcdef"

// Provider is an upstream of every dialect at one place.
type Provider struct {
	ID     string
	Region string
	ip     string
	fake   *fake.Server
	server *http.Server

	mu     sync.Mutex
	calls  []*call
	behave func(w http.ResponseWriter, r *http.Request, next http.Handler) // nil = next
}

// call is one request that a provider got.
type call struct {
	At     time.Time
	From   string // address of the exit
	Path   string
	Header http.Header
	Body   []byte

	mu       sync.Mutex
	sent     bytes.Buffer
	stamps   []stamp
	canceled time.Time // when it learned that nobody waits any more
}

// gone is when the provider learned that nobody waits any more; zero if it did not.
func (c *call) gone() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.canceled
}

// AddProvider starts a provider in a region.
func (m *Mesh) AddProvider(id, region string, opt fake.Options) *Provider {
	m.t.Helper()
	p := &Provider{ID: id, Region: region}
	p.ip = m.net.host(fmt.Sprintf("10.%d.8", regionNet(region)), region)
	if opt.Country == "" {
		opt.Country = countryOf(region)
	}
	opt.Log = zerolog.Nop()
	p.fake = fake.New(opt)
	l, err := m.net.listenStream(p.ip + ":80")
	if err != nil {
		m.t.Fatal(err)
	}
	p.server = &http.Server{Handler: http.HandlerFunc(p.serve)}
	go p.server.Serve(l) //nolint:errcheck // ends with Close
	m.providers = append(m.providers, p)
	return p
}

// Behave lets a scenario answer in the provider's place; nil undoes it.
func (p *Provider) Behave(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.behave = f
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	// One base URL for all dialects: OpenAI's ends in /v1, to which the others add their own.
	if rest, ok := strings.CutPrefix(r.URL.Path, "/v1/v1"); ok {
		r.URL.Path = "/v1" + rest
	}
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	c := &call{At: time.Now(), From: from, Path: r.URL.Path, Header: r.Header.Clone(), Body: body}
	p.mu.Lock()
	p.calls = append(p.calls, c)
	behave := p.behave
	p.mu.Unlock()
	note := func() {
		c.mu.Lock()
		c.canceled = time.Now()
		c.mu.Unlock()
	}
	stop := context.AfterFunc(r.Context(), note)
	defer func() {
		if stop() && r.Context().Err() != nil { // who waits on the context itself may be here before the note
			note()
		}
	}()
	rec := &recorder{ResponseWriter: w, c: c}
	if behave != nil {
		behave(rec, r, p.fake)
		return
	}
	p.fake.ServeHTTP(rec, r)
}

// Calls are the requests so far.
func (p *Provider) Calls() []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*call(nil), p.calls...)
}

// recorder notes when each byte of an answer was written.
type recorder struct {
	http.ResponseWriter
	c *call
}

func (w *recorder) Write(p []byte) (int, error) {
	w.c.mu.Lock()
	w.c.sent.Write(p)
	w.c.stamps = append(w.c.stamps, stamp{time.Now(), w.c.sent.Len()})
	w.c.mu.Unlock()
	return w.ResponseWriter.Write(p)
}

func (w *recorder) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// account is the provider as the mesh configures it. It speaks every dialect, so that nothing is
// converted: these scenarios compare what clients get with what was sent, byte for byte.
func (p *Provider) account() state.Provider {
	country := countryOf(p.Region)
	return state.Provider{
		ID: p.ID, Dialects: []string{"openai-chat", "openai-responses", "anthropic-messages", "gemini"}, BaseURL: "http://" + p.ip + "/v1",
		Auth:       state.Auth{Scheme: "bearer", Secrets: []state.Secret{{ID: "a", Value: providerSecret, Weight: 1}}},
		Processing: []string{country}, Storage: []string{country}, Exits: []string{p.Region},
	}
}

// document is a state with one tenant, its key, the providers, and one model per name whose targets
// are all of them, tier by tier in their order.
func document(names []string, providers ...*Provider) state.Document {
	doc := state.Document{
		Version: 1,
		Tenants: []state.Tenant{{ID: "acme", Home: "US", Class: "internal"}},
		Keys:    []state.Key{{ID: "app", Tenant: "acme", Secret: clientKey, Models: []string{"*"}}},
	}
	for _, p := range providers {
		doc.Providers = append(doc.Providers, p.account())
	}
	for _, name := range names {
		model := state.Model{ID: name}
		for tier, p := range providers {
			model.Targets = append(model.Targets, state.Target{Provider: p.ID, Model: name, Tier: tier})
		}
		doc.Models = append(doc.Models, model)
	}
	return doc
}

// dialectCase is a request of one dialect, unary and streamed.
type dialectCase struct {
	name, path, streamPath string
	body                   func(model, prompt string, stream bool) string
}

const model = "fake"

var dialects = []dialectCase{
	{"openai-chat", "/v1/chat/completions", "/v1/chat/completions", func(model, prompt string, stream bool) string {
		extra := ""
		if stream {
			extra = `,"stream":true,"stream_options":{"include_usage":true}`
		}
		return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]%s}`, model, prompt, extra)
	}},
	{"openai-responses", "/v1/responses", "/v1/responses", func(model, prompt string, stream bool) string {
		// Not stored, so that no mark goes into its id: answers are compared byte by byte here.
		return fmt.Sprintf(`{"model":%q,"input":%q,"stream":%v,"store":false}`, model, prompt, stream)
	}},
	{"anthropic-messages", "/v1/messages", "/v1/messages", func(model, prompt string, stream bool) string {
		return fmt.Sprintf(`{"model":%q,"max_tokens":400,"stream":%v,"messages":[{"role":"user","content":%q}]}`, model, stream, prompt)
	}},
	{"gemini", "/v1beta/models/MODEL:generateContent", "/v1beta/models/MODEL:streamGenerateContent?alt=sse", func(_, prompt string, _ bool) string {
		return fmt.Sprintf(`{"contents":[{"role":"user","parts":[{"text":%q}]}]}`, prompt)
	}},
}

func (d dialectCase) unary(model, prompt string) ask {
	return ask{path: withModel(d.path, model), body: d.body(model, prompt, false)}
}

func (d dialectCase) stream(model, prompt string) ask {
	return ask{path: withModel(d.streamPath, model), body: d.body(model, prompt, true)}
}

func withModel(path, model string) string {
	return string(bytes.ReplaceAll([]byte(path), []byte("MODEL"), []byte(model)))
}
