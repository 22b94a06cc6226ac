package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/node/edge"
)

func (a *app) route() *cobra.Command {
	c := &cobra.Command{Use: "route", Short: "Which way requests go, and why"}
	a.clientFlags(c)
	a.opsFlag(c)
	c.AddCommand(a.routeExplain(), a.routeTable())
	return c
}

// question is a request that is not sent.
type question struct {
	edge, tenant, class, purpose, from, dialect string
}

func (q *question) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&q.edge, "edge", "", "region or node of the edge to ask; the first one, in a dev mesh")
	f.StringVar(&q.tenant, "tenant", "", "whose request; the first key's tenant")
	f.StringVar(&q.class, "class", "", "data class: public, internal, confidential, restricted")
	f.StringVar(&q.purpose, "purpose", "", "purpose that rules may ask for")
	f.StringVar(&q.from, "from", "", "client address; a client at the tenant's home")
	f.StringVar(&q.dialect, "dialect", "", "openai-chat, openai-responses, anthropic-messages or gemini")
}

func (q *question) query(model string) url.Values {
	v := url.Values{}
	for name, value := range map[string]string{
		"edge": q.edge, "model": model, "tenant": q.tenant, "class": q.class, "purpose": q.purpose, "from": q.from, "dialect": q.dialect,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

func (a *app) routeExplain() *cobra.Command {
	var q question
	var model string
	c := &cobra.Command{
		Use: "explain [MODEL]", Short: "What an edge would do with a request, without sending it", Args: cobra.MaximumNArgs(1),
		Example:           "  causeway route explain auto --class restricted --edge cn-east\n  causeway route explain gpt-4o --tenant acme --from 203.0.113.7",
		ValidArgsFunction: a.complete("models"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				if model != "" && model != args[0] {
					return misuse(c, "two models were named: %s and %s", model, args[0])
				}
				model = args[0]
			}
			if model == "" {
				return misuse(c, "name a model: causeway route explain auto")
			}
			raw, err := a.explained(c.Context(), q.query(model))
			if err != nil {
				return fail("explain the route of "+model, err, "")
			}
			return a.showExplanation(c, raw)
		},
	}
	q.flags(c)
	c.Flags().StringVar(&model, "model", "", "the model that a client asks for")
	return c
}

// explained asks a coordinator when one is named, and otherwise an edge, which knows more.
func (a *app) explained(ctx context.Context, q url.Values) ([]byte, error) {
	const path = "/v1/routes:explain"
	if t, err := a.target(); err == nil && !t.local && or(a.global.ops, os.Getenv("CAUSEWAY_OPS")) == "" {
		got, err := a.call(ctx, api.Call{Method: http.MethodGet, Path: path, Query: q})
		return got.Body, err
	}
	return a.opsGet(ctx, path, q)
}

func (a *app) showExplanation(c *cobra.Command, raw []byte) error {
	var e edge.Explanation
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("read answer of the node: %w", err)
	}
	out := answer{raw: raw, table: func() table {
		t := table{head: []string{"#", "EXIT", "REGION", "PROVIDER", "MODEL", "TIER", "COST", "RTT", "WHY"}}
		for i, r := range e.Routes {
			t.add(strconv.Itoa(i+1), r.Exit, r.Region, r.Provider, r.Model, strconv.Itoa(r.Tier), millis(r.CostMS), rtt(r), r.Why)
		}
		for _, r := range e.Refused {
			t.add("no", r.Exit, r.Region, r.Provider, r.Model, strconv.Itoa(r.Tier), "", "", r.Why)
		}
		return t
	}}
	for _, r := range e.Routes {
		out.names = append(out.names, r.Exit+"/"+r.Provider+"/"+r.Model)
	}
	if a.global.output == "table" {
		client := "in " + or(e.Client, "an unknown place")
		if e.AtHome {
			client = "at home (" + e.Home + ")"
		}
		if err := put(a.Out, fmt.Sprintf("edge %s, tenant %s, class %s, client %s\nallowed: %s   (%s)\n", e.Edge, e.Tenant, e.Class, client, or(e.Allowed, "nowhere"), or(e.Why, "by no rule"))); err != nil {
			return err
		}
		if e.Note != "" {
			a.note("%s", e.Note)
		}
		if e.Answer != "" {
			p := paint(a.Out)
			if err := put(a.Out, p.warn("answer: "+e.Answer)+"\n"); err != nil {
				return err
			}
		}
	}
	return a.show(c, out)
}

func rtt(r edge.RouteAnswer) string {
	s := millis(r.RTTMS)
	if !r.Measured {
		s += " (by distance)"
	}
	return s
}

// routeRow is one line of `route table`.
type routeRow struct {
	Model string `json:"model"`
	Rank  int    `json:"rank"` // from 1; 0 = there is none
	edge.RouteAnswer
	Answer string `json:"answer,omitempty"`
}

func (a *app) routeTable() *cobra.Command {
	var q question
	var models []string
	c := &cobra.Command{
		Use: "table", Short: "The routes of every model as an edge would try them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(models) == 0 {
				got, err := a.call(c.Context(), api.Call{Method: http.MethodGet, Path: "/v1/models"})
				if err != nil {
					return fail("list models", err, "name them: --model ID")
				}
				var list struct {
					Items []struct {
						ID string `json:"id"`
					}
				}
				if err := api.Decode(got, &list); err != nil {
					return err
				}
				for _, m := range list.Items {
					models = append(models, m.ID)
				}
			}
			var rows []routeRow
			for _, m := range models {
				raw, err := a.explained(c.Context(), q.query(m))
				if err != nil {
					return fail("explain the routes of "+m, err, "")
				}
				var e edge.Explanation
				if err := json.Unmarshal(raw, &e); err != nil {
					return fail("read answer of the node", err, "")
				}
				if len(e.Routes) == 0 {
					rows = append(rows, routeRow{Model: m, Answer: e.Answer})
				}
				for i, r := range e.Routes {
					rows = append(rows, routeRow{Model: m, Rank: i + 1, RouteAnswer: r})
				}
			}
			return a.showRoutes(c, rows)
		},
	}
	q.flags(c)
	c.Flags().StringSliceVar(&models, "model", nil, "only these models")
	return c
}

func (a *app) showRoutes(c *cobra.Command, rows []routeRow) error {
	if rows == nil {
		rows = []routeRow{}
	}
	raw, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("encode routes: %w", err)
	}
	out := answer{raw: raw, table: func() table {
		t := table{head: []string{"MODEL", "#", "EXIT", "REGION", "PROVIDER", "UPSTREAM", "TIER", "COST", "RTT"}}
		for _, r := range rows {
			if r.Rank == 0 {
				t.add(r.Model, "no", "", "", "", r.Answer, "", "", "")
				continue
			}
			t.add(r.Model, strconv.Itoa(r.Rank), r.Exit, r.Region, r.Provider, r.RouteAnswer.Model, strconv.Itoa(r.Tier), millis(r.CostMS), rtt(r.RouteAnswer))
		}
		return t
	}}
	for _, r := range rows {
		out.names = append(out.names, r.Model+"/"+r.Exit+"/"+r.Provider)
	}
	return a.show(c, out)
}
