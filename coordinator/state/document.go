package state

import (
	"slices"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// document applies a mesh.yaml: upserts in an order in which everything referred to comes first, then
// with prune the deletions.
func (t *tx) document(d Document, prune bool) {
	if t.match != (command.Match{}) {
		t.fail(Invalid, "", "If-Match and If-None-Match are for one object, not for a document")
		return
	}
	t.single = false
	each(t, command.Regions, d.Regions, func(v *Region) string { return v.ID }, t.putRegion)
	each(t, command.Orgs, d.Orgs, func(v *Org) string { return v.ID }, t.putOrg)
	each(t, command.Tenants, d.Tenants, func(v *Tenant) string { return v.ID }, t.putTenant)
	each(t, command.Providers, d.Providers, func(v *Provider) string { return v.ID }, t.putProvider)
	each(t, command.Models, d.Models, func(v *Model) string { return v.ID }, t.putModel)
	each(t, command.Keys, d.Keys, func(v *Key) string { return v.ID }, t.putKey)
	each(t, command.Limits, d.Limits, func(v *Limit) string { return v.LimitID() }, t.putLimit)
	each(t, command.Audits, d.Audit, func(v *AuditRule) string { return v.Tenant }, t.putAudit)
	if d.Policy != nil {
		t.putPolicy(merge(t.Policy, *d.Policy, prune), "policy")
	}
	if d.Route != nil {
		t.putRoute(*d.Route, "route")
	}
	if !prune {
		return
	}
	absent(t, command.Audits, d.Audit, func(v *AuditRule) string { return v.Tenant })
	absent(t, command.Limits, d.Limits, func(v *Limit) string { return v.LimitID() })
	absent(t, command.Keys, d.Keys, func(v *Key) string { return v.ID })
	absent(t, command.Models, d.Models, func(v *Model) string { return v.ID })
	absent(t, command.Providers, d.Providers, func(v *Provider) string { return v.ID })
	absent(t, command.Tenants, d.Tenants, func(v *Tenant) string { return v.ID })
	absent(t, command.Orgs, d.Orgs, func(v *Org) string { return v.ID })
	absent(t, command.Regions, d.Regions, func(v *Region) string { return v.ID })
}

// each upserts one section and refuses an id that it names twice.
func each[T any](t *tx, sort Sort, items []T, id func(*T) string, put func(T, string)) {
	seen := make(map[string]int, len(items))
	for i := range items {
		field := indexed(sort.String(), i)
		if j, twice := seen[id(&items[i])]; twice {
			t.fail(Invalid, field, "%s %q is already given by %s", sort.One(), id(&items[i]), indexed(sort.String(), j))
			return
		}
		seen[id(&items[i])] = i
		if put(items[i], field); t.err != nil {
			if t.err.Field == "" {
				t.err.Field = field
			}
			return
		}
	}
}

// absent deletes what a present section does not name. Built-in regions go back to what they were.
func absent[T any](t *tx, sort Sort, items []T, id func(*T) string) {
	if items == nil {
		return
	}
	keep := make(map[string]bool, len(items))
	for i := range items {
		keep[id(&items[i])] = true
	}
	for _, have := range t.ids(sort) {
		switch {
		case keep[have] || t.err != nil:
		case sort == command.Regions && isBuiltin(have):
			i := slices.IndexFunc(builtin, func(r Region) bool { return r.ID == have })
			if r, _ := t.Regions.Get(have); r.Version != builtin[i].Version {
				t.putRegion(builtin[i], "")
			}
		default:
			t.delete(sort, have)
		}
	}
}

// merge is what a document's policy means: with prune it is the whole policy; without, rules that it
// does not name stay, because leaving one out must never loosen anything.
func merge(old, doc Policy, prune bool) Policy {
	if prune {
		return doc
	}
	out := old
	out.Rules = slices.Clone(old.Rules)
	if doc.Default != "" {
		out.Default = doc.Default
	}
	if doc.MaxAge != 0 {
		out.MaxAge = doc.MaxAge
	}
	for _, r := range doc.Rules {
		if i := slices.IndexFunc(out.Rules, func(o Rule) bool { return o.ID == r.ID }); i >= 0 {
			out.Rules[i] = r
		} else {
			out.Rules = append(out.Rules, r)
		}
	}
	return out
}
