package manifest

import (
	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

// References checks that whatever d names is declared, by d or by cur (nil = nothing but the built-in
// regions, as under `dev -f`). The error is Problems, with lines.
func (d *Document) References(cur *state.Snapshot) error {
	if cur == nil {
		cur = state.New().Current()
	}
	return d.place(references(d.Document, cur)).err()
}

func references(doc state.Document, cur *state.Snapshot) Problems {
	c := &checker{}
	regions := declared(doc.Regions, func(r *state.Region) string { return r.ID }, cur.Regions.Has)
	orgs := declared(doc.Orgs, func(o *state.Org) string { return o.ID }, cur.Orgs.Has)
	tenants := declared(doc.Tenants, func(t *state.Tenant) string { return t.ID }, cur.Tenants.Has)
	providers := declared(doc.Providers, func(p *state.Provider) string { return p.ID }, cur.Providers.Has)
	models := declared(doc.Models, func(m *state.Model) string { return m.ID }, cur.Models.Has)
	keys := declared(doc.Keys, func(k *state.Key) string { return k.ID }, cur.Keys.Has)
	aliases := make(map[string]string)
	for _, m := range doc.Models {
		for _, a := range m.Aliases {
			aliases[a] = m.ID
		}
	}
	want := func(sort state.Sort, has func(string) bool, id, path string) {
		switch {
		case id == "" || id == "*" || has(id):
		case sort == command.Models && aliases[id] != "":
			c.add(path, "write "+aliases[id], "%q is an alias", clip(id))
		default:
			c.add(path, "declare it under "+sort.String()+":", "no %s %q", sort.One(), clip(id))
		}
	}
	for i, t := range doc.Tenants {
		want(command.Orgs, orgs, t.Org, indexed("tenants", i)+".org")
	}
	for i, p := range doc.Providers {
		want(command.Tenants, tenants, p.Tenant, indexed("providers", i)+".tenant")
		for j, r := range p.Exits {
			want(command.Regions, regions, r, indexed(indexed("providers", i)+".exits", j))
		}
	}
	for i, m := range doc.Models {
		for j, t := range m.Targets {
			want(command.Providers, providers, t.Provider, indexed(indexed("models", i)+".targets", j)+".provider")
		}
		for j, f := range m.Fallbacks {
			want(command.Models, models, f, indexed(indexed("models", i)+".fallbacks", j))
		}
	}
	for i, k := range doc.Keys {
		want(command.Tenants, tenants, k.Tenant, indexed("keys", i)+".tenant")
		for j, m := range k.Models {
			want(command.Models, models, m, indexed(indexed("keys", i)+".models", j))
		}
	}
	for i, l := range doc.Limits {
		path := indexed("limits", i)
		want(command.Tenants, tenants, l.Tenant, path+".tenant")
		want(command.Keys, keys, l.Key, path+".key")
		want(command.Models, models, l.Model, path+".model")
	}
	for i, a := range doc.Audit {
		path := indexed("audit", i)
		want(command.Tenants, tenants, a.Tenant, path+".tenant")
		if a.Mode == "best_effort" && classOf(doc, cur, a.Tenant) != "public" {
			c.add(path+".mode", "use buffer", "best_effort is for tenants of class public only")
		}
	}
	if doc.Policy != nil {
		for i, r := range doc.Policy.Rules {
			path := indexed("policy.rules", i) + ".when"
			for j, t := range r.When.Tenant {
				want(command.Tenants, tenants, t, indexed(path+".tenant", j))
			}
			for j, m := range r.When.Model {
				want(command.Models, models, m, indexed(path+".model", j))
			}
		}
	}
	return c.problems
}

func declared[T any](items []T, id func(*T) string, has func(string) bool) func(string) bool {
	own := make(map[string]bool, len(items))
	for i := range items {
		own[id(&items[i])] = true
	}
	return func(id string) bool { return own[id] || has(id) }
}

func classOf(doc state.Document, cur *state.Snapshot, tenant string) string {
	for _, t := range doc.Tenants {
		if t.ID == tenant {
			return t.Class
		}
	}
	t, _ := cur.Tenants.Get(tenant)
	return t.Class
}
