package node

import (
	"encoding/json"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/node/edge"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// ServeExplain answers GET /v1/routes:explain from this node's edge.
func (n *Node) ServeExplain(w http.ResponseWriter, r *http.Request) {
	if n.edge == nil {
		Problem(w, http.StatusNotFound, "no_edge", "this node is not an edge; ask one that is")
		return
	}
	e, err := n.edge.Explain(question(r.URL.Query()))
	if err != nil {
		f := fault.As(err)
		Problem(w, f.Kind.Info().Status, f.Kind.Info().Code, f.Message)
		return
	}
	sendJSON(w, http.StatusOK, e)
}

func question(q url.Values) edge.Question {
	return edge.Question{
		Model: q.Get("model"), Tenant: q.Get("tenant"), Class: q.Get("class"), Purpose: q.Get("purpose"), From: q.Get("from"),
		Dialect: llm.Dialect(q.Get("dialect")),
	}
}

// unmeasuredNote says what an answer without an edge cannot know.
const unmeasuredNote = "answered by a coordinator from the mesh's state, not by the edge: round trips are by distance, every exit and provider counts as healthy, " +
	"client addresses are looked up in the built-in database. For what the edge measures, ask it: causeway route explain --ops HOST:7703"

// Explainer answers GET /v1/routes:explain on coordinators, which hear no probes: it decides as the edge
// whose view it is given would, knowing only what is replicated.
func Explainer() func(v *api.NodeView, q url.Values) (json.RawMessage, *api.Problem) {
	// The database is read when somebody asks for the first time, which is never on most coordinators.
	locate := sync.OnceValues(func() (*geo.Locator, error) { return geo.NewLocator(geo.Config{Log: zerolog.Nop()}) })
	return func(v *api.NodeView, q url.Values) (json.RawMessage, *api.Problem) {
		internal := func(err error) *api.Problem {
			return &api.Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: err.Error(), Outcome: "none"}
		}
		l, err := locate()
		if err != nil {
			return nil, internal(err)
		}
		h := view.NewHolder("", zerolog.Nop())
		if err := h.Apply(v); err != nil {
			return nil, internal(err)
		}
		self, _ := v.Self()
		s := edge.New(edge.Config{Node: v.Node, Region: geo.RegionID(self.Region), View: h, Locate: l, Paths: unmeasured{}, Log: zerolog.Nop()})
		e, err := s.Explain(question(q))
		if err != nil {
			f := fault.As(err)
			return nil, &api.Problem{Status: f.Kind.Info().Status, Code: f.Kind.Info().Code, Detail: f.Message, Outcome: "none"}
		}
		e.Note = unmeasuredNote
		b, err := json.MarshalIndent(e, "", "  ")
		if err != nil {
			return nil, internal(err)
		}
		return b, nil
	}
}

// unmeasured knows of no path more than its distance.
type unmeasured struct{}

// Fill implements edge.Paths.
func (unmeasured) Fill(time.Time, *geo.Candidate) {}
