package registry_test

import (
	"math"
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect/convtest"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// TestEstimatesAreNear holds meter.Request to what OpenAI's models said they read, in recorded
// requests without what no estimate can know: media, hosted tools, hidden reasoning in the history.
func TestEstimatesAreNear(t *testing.T) {
	t.Parallel()
	var sum, worst float64
	n := 0
	for _, r := range recordings(t) {
		d, op := r.dialect()
		if r.Vendor != "openai" || r.Status != 200 {
			continue
		}
		client, _ := registry.Client(d)
		q, err := convtest.DecodeRequest(convtest.Codec{Dialect: d, Frontend: registry.Frontend(d), Client: client}, op, r.Request.Body)
		if err != nil || !estimable(q) {
			continue
		}
		u := input(t, r, d)
		if u == 0 {
			continue
		}
		got := meter.Request(q)
		off := math.Abs(float64(got-u)) / float64(u)
		worst = max(worst, off)
		if sum, n = sum+off, n+1; off > 0.35 && math.Abs(float64(got-u)) > 10 {
			t.Errorf("%s: estimated %d, it was %d", r.ID, got, u)
		}
	}
	t.Logf("%d requests: mean error %.0f%%, worst %.0f%%", n, 100*sum/float64(n), 100*worst)
	if n < 30 || sum/float64(n) > 0.2 {
		t.Errorf("%d requests, mean error %.2f", n, sum/float64(n))
	}
}

func estimable(q *llm.Request) bool {
	ok := true
	q.Parts(func(p *llm.Part) {
		ok = ok && p.Media == nil && p.Opaque == nil && p.Kind != llm.PartThinking
	})
	for i := range q.Tools {
		ok = ok && q.Tools[i].Kind != llm.ToolHosted
	}
	return ok
}

// input is the recorded input tokens, of a whole answer or a stream.
func input(t *testing.T, r *recording, d llm.Dialect) int64 {
	t.Helper()
	back := registry.Backend(d)
	u, _ := back.UnaryUsage(llm.OpGenerate, r.body())
	if r.streamed() {
		s, tap := sse.NewScanner(0), back.NewTap(llm.OpGenerate)
		s.Feed(r.body())
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			tap.Event(e.Name, e.Data)
		}
		u, _ = tap.Usage()
	}
	return u.Input
}
