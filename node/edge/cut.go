package edge

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
)

// cutting counts a stream that may be cut here at a stop sequence. Closing it then ends the provider's
// work, and with it the way by which its own count would come. It does nothing for other streams.
type cutting struct {
	x      *exchange
	tap    dialect.Tap // nil = nothing is cut
	output meter.Counter
}

func newCutting(x *exchange, r *route) cutting {
	c := cutting{x: x}
	if len(x.after.Stop) > 0 {
		c.tap = registry.Backend(r.dialect).NewTap(x.op.op)
	}
	return c
}

// watch learns what a frame says of usage.
func (c *cutting) watch(name string, data []byte) {
	if c.tap != nil {
		c.tap.Event(name, data)
	}
}

// count adds what was generated, whether the client gets to see it or not.
func (c *cutting) count(e *llm.Event) {
	switch {
	case c.tap == nil:
	case e.Kind == llm.EventDelta:
		c.output.Add(e.Text)
	case e.Kind == llm.EventPartStart && e.Part.Kind == llm.PartCall:
		c.output.Add(e.Part.Name)
	}
}

// usage is that of the stream now that it is cut: the provider's where it has come, else a guess within
// what was reserved. What the provider has said so far is not guessed.
func (c *cutting) usage(ans Answer) llm.Usage {
	if t, ok := ans.Trailer(); ok && t.HasUsage {
		return stated(t.Usage)
	}
	u, _ := c.tap.Usage()
	if u.Input == 0 {
		u.Input = min(meter.Request(c.x.canonical), c.x.reserved)
	}
	u.Output = max(u.Output, min(c.output.Tokens(), c.x.reserved-u.Input))
	c.x.guess = &u
	return u
}
