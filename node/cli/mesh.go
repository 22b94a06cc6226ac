package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/node"
)

func (a *app) mesh() *cobra.Command {
	c := &cobra.Command{Use: "mesh", Short: "The nodes as one of them sees the others"}
	a.clientFlags(c)
	a.opsFlag(c)
	c.AddCommand(a.meshMap(), a.meshPing())
	return c
}

// meshOf asks a node for its picture of the mesh.
func (a *app) meshOf(ctx context.Context, edge string) (node.MeshMap, []byte, error) {
	q := url.Values{}
	if edge != "" {
		q.Set("edge", edge)
	}
	var m node.MeshMap
	raw, err := a.opsGet(ctx, "/v1/mesh", q)
	if err != nil {
		return m, nil, err
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, nil, fmt.Errorf("read answer of the node: %w", err)
	}
	return m, raw, nil
}

func (a *app) meshMap() *cobra.Command {
	var edge string
	c := &cobra.Command{
		Use: "map", Short: "Every node with its health, load and distance", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			m, raw, err := a.meshOf(c.Context(), edge)
			if err != nil {
				return fail("ask for the map of the mesh", err, "")
			}
			out := answer{raw: raw, table: func() table {
				t := table{head: []string{"NODE", "REGION", "ROLES", "STATE", "LOAD", "RTT", "ADDR", "BUILD"}}
				for _, x := range m.Members {
					t.add(x.ID, x.Region, join(x.Roles), memberState(m.Self, x), strconv.Itoa(int(x.Load*100+0.5))+"%", measured(x), x.Addr, x.Build)
				}
				return t
			}}
			for _, x := range m.Members {
				out.names = append(out.names, x.ID)
			}
			if a.global.output == "table" {
				a.note("as seen from %s in %s", m.Self, m.Region)
			}
			return a.show(c, out)
		},
	}
	c.Flags().StringVar(&edge, "edge", "", "region or node to look from; the first edge, in a dev mesh")
	return c
}

func memberState(self string, x node.MeshMember) string {
	switch {
	case !x.Alive:
		return "down"
	case x.Draining:
		return "draining"
	case x.ID == self:
		return "self"
	}
	return "up"
}

// measured never shows a missing measurement as a figure.
func measured(x node.MeshMember) string {
	if x.RTTMS == nil {
		return ""
	}
	return millis(*x.RTTMS)
}

// pinged is what `mesh ping -o json` prints for every exit, when it is done.
type pinged struct {
	Node   string   `json:"node"`
	Region string   `json:"region"`
	State  string   `json:"state"`
	Count  int      `json:"count"`
	MinMS  *float64 `json:"min_ms,omitempty"` // absent when nothing was measured
	MeanMS *float64 `json:"mean_ms,omitempty"`
	MaxMS  *float64 `json:"max_ms,omitempty"`
}

func (p *pinged) add(ms float64) {
	if p.Count == 0 {
		lo, mean, hi := ms, ms, ms
		p.MinMS, p.MeanMS, p.MaxMS = &lo, &mean, &hi
	}
	*p.MinMS, *p.MaxMS = min(*p.MinMS, ms), max(*p.MaxMS, ms)
	p.Count++
	*p.MeanMS += (ms - *p.MeanMS) / float64(p.Count)
}

func (a *app) meshPing() *cobra.Command {
	var edge string
	var count int
	var interval time.Duration
	c := &cobra.Command{
		Use: "ping [NODE|REGION]", Short: "Round trips to the exits over the tunnels that requests use", Args: cobra.MaximumNArgs(1),
		Long: `Ping watches the round-trip times that an edge measures on its own tunnels to the exits: the very
connections that requests take, without a probe of its own. It ends with 5 when an exit was never reached.`,
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := a.format(c); err != nil {
				return err
			}
			if count < 0 || interval <= 0 {
				return misuse(c, "--count must not be negative, --interval must be positive")
			}
			only := ""
			if len(args) > 0 {
				only = args[0]
			}
			return a.ping(c, edge, only, count, interval)
		},
	}
	f := c.Flags()
	f.StringVar(&edge, "edge", "", "region or node to look from; the first edge, in a dev mesh")
	f.IntVarP(&count, "count", "c", 3, "how often; 0 = until interrupted")
	f.DurationVarP(&interval, "interval", "i", time.Second, "how long to wait in between")
	return c
}

func (a *app) ping(c *cobra.Command, edge, only string, count int, interval time.Duration) error {
	ctx := c.Context()
	var all []*pinged
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for round := 1; ; round++ {
		m, _, err := a.meshOf(ctx, edge)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return fail("ask for round-trip times", err, "")
		}
		for _, x := range m.Members {
			if x.ID == m.Self || !slices.Contains(x.Roles, "exit") || only != "" && only != x.ID && only != x.Region {
				continue
			}
			i := slices.IndexFunc(all, func(p *pinged) bool { return p.Node == x.ID })
			if i < 0 {
				all = append(all, &pinged{Node: x.ID, Region: x.Region})
				i = len(all) - 1
			}
			all[i].State = memberState(m.Self, x)
			line := "no tunnel"
			if x.RTTMS != nil {
				all[i].add(*x.RTTMS)
				line = millis(*x.RTTMS)
			}
			if a.global.output == "table" {
				if err := put(a.Out, fmt.Sprintf("%-24s %-12s %-9s %s\n", x.ID, x.Region, all[i].State, line)); err != nil {
					return err
				}
			}
		}
		if len(all) == 0 {
			return &failure{code: exitNotFound, what: "ping: no exit is known" + map[bool]string{true: " as " + only}[only != ""], next: "causeway mesh map"}
		}
		if round == count {
			break
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	return a.pingSummary(c, all)
}

func (a *app) pingSummary(c *cobra.Command, all []*pinged) error {
	silent := ""
	for _, p := range all {
		if p.Count == 0 {
			silent += " " + p.Node
		}
	}
	if a.global.output == "table" {
		for _, p := range all {
			if p.Count > 0 {
				a.note("%s: %d times, min/mean/max %.1f/%.1f/%.1f ms", p.Node, p.Count, *p.MinMS, *p.MeanMS, *p.MaxMS)
			}
		}
	} else {
		raw, err := json.Marshal(all)
		if err != nil {
			return fmt.Errorf("encode round trips: %w", err)
		}
		out := answer{raw: raw}
		for _, p := range all {
			out.names = append(out.names, p.Node)
		}
		if err := a.show(c, out); err != nil {
			return err
		}
	}
	if silent != "" {
		return &failure{code: exitUnavailable, what: "no tunnel to" + silent, next: "causeway mesh map, then the log and /readyz?verbose of that node"}
	}
	return nil
}
