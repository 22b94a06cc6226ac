package simtest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/relay/fake"
)

// A Gemini stream without alt=sse is one JSON array. When its provider breaks off after elements that
// were held back, because nothing in them was content yet, the client has seen at most keepalives: it gets
// the fault as the first and only element of a whole array, never the rest of one that had not begun.
func TestArrayStreamBreaksBeforeContent(t *testing.T) {
	for _, c := range []struct{ name, dialect, contentType, begin string }{
		{"passed through", "gemini", "application/json", `[{"candidates": [], "usageMetadata": {"promptTokenCount": 3}, "modelVersion": "m", "responseId": "held"}` + "\n"},
		{"converted", "openai-chat", "text/event-stream", `data: {"id":"held","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}` + "\n\n"},
	} {
		for _, kept := range []bool{false, true} { // open by keepalives, so that the status is out already
			name := c.name
			if kept {
				name += ", after keepalives"
			}
			t.Run(name, func(t *testing.T) {
				simulate(t, func(t *testing.T, m *Mesh) {
					p := m.AddProvider("p", us, fake.Options{})
					p.Behave(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
						w.Header().Set("Content-Type", c.contentType)
						_, _ = io.WriteString(w, c.begin)
						_ = http.NewResponseController(w).Flush()
						if kept {
							time.Sleep(25 * time.Second)
						}
						panic(http.ErrAbortHandler)
					})
					edge := m.AddEdge(cn)
					m.AddExit(us)
					doc := document([]string{model}, p)
					doc.Providers[0].Dialects = []string{c.dialect}
					m.Apply(doc)
					m.Settle()
					gemini := dialects[slices.IndexFunc(dialects, func(d dialectCase) bool { return d.name == "gemini" })]
					a := gemini.stream(model, "hello")
					a.path = strings.TrimSuffix(a.path, "?alt=sse")
					r := m.Request(edge, a)
					type failure struct {
						Error struct{ Code int } `json:"error"`
					}
					got, status := make([]failure, 1), http.StatusBadGateway
					var into any = &got[0] // the whole answer is an error, no stream has begun
					if kept {
						into, status = &got, http.StatusOK
					}
					if err := json.Unmarshal([]byte(r.Body), into); err != nil || r.Status != status {
						t.Fatalf("%d %v: %q", r.Status, err, r.Body)
					}
					if len(got) != 1 || got[0].Error.Code != http.StatusBadGateway || strings.Contains(r.Body, "held") {
						t.Errorf("want one fault and nothing else: %q", r.Body)
					}
				})
			})
		}
	}
}
