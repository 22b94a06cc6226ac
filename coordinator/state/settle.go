package state

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

func indexed(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// ref is one reference from an object to another.
type ref struct {
	field string
	sort  Sort
	id    string
}

// settle ends a draft: index entries of what was touched are redone, then references are checked, both
// from upserted objects outwards and from everybody who might refer to what was deleted.
func (t *tx) settle() {
	if t.err != nil {
		return
	}
	for _, c := range t.touched {
		if c.model != nil {
			t.names = t.names.without(c.model.ID)
			for _, a := range c.model.Aliases {
				t.names = t.names.without(a)
			}
		}
		if c.key != nil {
			t.hashes = t.hashes.without(string(c.key.Hash)).without(string(c.key.PreviousHash))
		}
	}
	for _, c := range t.touched {
		switch c.sort {
		case command.Models:
			if m, ok := t.Models.Get(c.id); ok {
				t.nameModel(m, c.field)
			}
		case command.Keys:
			if k, ok := t.Keys.Get(c.id); ok {
				t.hashKey(k, c.field)
			}
		}
	}
	for _, c := range t.touched {
		t.owned(c)
		for _, r := range t.refs(c.sort, c.id) {
			if t.err == nil && !t.exists(r.sort, r.id) {
				t.dangling(c, r)
			}
		}
	}
	for _, ch := range t.changes {
		if ch.Action == Deleted && t.err == nil {
			t.unused(ch.Sort, ch.ID)
		}
	}
}

func (t *tx) dangling(c touch, r ref) {
	if model, ok := t.names.Get(r.id); ok && r.sort == command.Models {
		t.fail(Invalid, at(c.field, r.field), "%q is an alias of model %q; write %q", r.id, model, model)
		return
	}
	t.fail(Invalid, at(c.field, r.field), "no %s %q; declare it first", r.sort.One(), r.id)
}

func (t *tx) nameModel(m Model, field string) {
	for i, name := range append([]string{m.ID}, m.Aliases...) {
		path := at(field, "id")
		if i > 0 {
			path = at(field, indexed("aliases", i-1))
		}
		if owner, taken := t.names.Get(name); taken {
			if owner == m.ID {
				t.fail(Invalid, path, "the name %q is given twice", name)
			} else {
				t.fail(Conflict, path, "the name %q belongs to model %q; a name can mean one model only", name, owner)
			}
			return
		}
		t.names = t.names.with(name, m.ID)
	}
}

// hashKey does not say whose the secret already is: that would tell a tenant about another's key.
func (t *tx) hashKey(k Key, field string) {
	for _, h := range [][]byte{k.Hash, k.PreviousHash} {
		if len(h) == 0 {
			continue
		}
		if t.hashes.Has(string(h)) {
			t.fail(Conflict, at(field, "secret"), "the secret is in use by another key; each key needs its own")
			return
		}
		t.hashes = t.hashes.with(string(h), k.ID)
	}
}

func (t *tx) exists(sort Sort, id string) bool {
	switch sort {
	case command.Regions:
		return t.Regions.Has(id)
	case command.Orgs:
		return t.Orgs.Has(id)
	case command.Tenants:
		return t.Tenants.Has(id)
	case command.Providers:
		return t.Providers.Has(id)
	case command.Models:
		return t.Models.Has(id)
	case command.Keys:
		return t.Keys.Has(id)
	default:
		return false
	}
}

// refs lists what one object refers to.
func (t *tx) refs(sort Sort, id string) (out []ref) {
	add := func(field string, sort Sort, id string) {
		if id != "" {
			out = append(out, ref{field, sort, id})
		}
	}
	switch sort {
	case command.Tenants:
		v, _ := t.Tenants.Get(id)
		add("org", command.Orgs, v.Org)
	case command.Keys:
		v, ok := t.Keys.Get(id)
		if ok && v.Tenant == "" {
			out = append(out, ref{"tenant", command.Tenants, ""})
		}
		add("tenant", command.Tenants, v.Tenant)
		for i, m := range v.Models {
			if m != "*" {
				add(indexed("models", i), command.Models, m)
			}
		}
	case command.Providers:
		v, _ := t.Providers.Get(id)
		for i, r := range v.Exits {
			add(indexed("exits", i), command.Regions, r)
		}
		add("tenant", command.Tenants, v.Tenant)
	case command.Models:
		v, _ := t.Models.Get(id)
		for i, g := range v.Targets {
			out = append(out, ref{indexed("targets", i) + ".provider", command.Providers, g.Provider})
		}
		for i, f := range v.Fallbacks {
			add(indexed("fallbacks", i), command.Models, f)
		}
	case command.Limits:
		if v, ok := t.Limits.Get(id); ok {
			out = t.limitRefs(v)
		}
	case command.Audits:
		if v, ok := t.Audits.Get(id); ok {
			out = append(out, ref{"tenant", command.Tenants, v.Tenant})
		}
	case command.Policies:
		for i, r := range t.Policy.Rules {
			for j, id := range r.When.Tenant {
				if id != "*" {
					add(indexed("rules", i)+"."+indexed("when.tenant", j), command.Tenants, id)
				}
			}
			for j, id := range r.When.Model {
				if id != "*" {
					add(indexed("rules", i)+"."+indexed("when.model", j), command.Models, id)
				}
			}
		}
	case command.Nodes:
		v, _ := t.Nodes.Get(id)
		add("region", command.Regions, v.Region)
	}
	return out
}

// owned checks that limits and keys agree on the tenant, from whichever side changed.
func (t *tx) owned(c touch) {
	check := func(l Limit, field string) {
		if k, ok := t.Keys.Get(l.Key); ok && k.Tenant != l.Tenant {
			t.fail(Invalid, field, "key %q belongs to tenant %q, but limit %q says tenant %q", k.ID, k.Tenant, l.LimitID(), l.Tenant)
		}
	}
	switch c.sort {
	case command.Limits:
		if l, ok := t.Limits.Get(c.id); ok {
			check(l, at(c.field, "key"))
		}
	case command.Keys:
		if k, ok := t.Keys.Get(c.id); ok && c.key != nil && c.key.Tenant != k.Tenant {
			for l := range t.Limits.All() {
				if l.Key == c.id {
					check(l, at(c.field, "tenant"))
				}
			}
		}
	}
}

func (t *tx) limitRefs(v Limit) []ref {
	out := []ref{{"tenant", command.Tenants, v.Tenant}}
	if v.Key != "" {
		out = append(out, ref{"key", command.Keys, v.Key})
	}
	if v.Model != "*" {
		out = append(out, ref{"model", command.Models, v.Model})
	}
	return out
}

// referrers lists the sections whose objects may refer to one of sort.
func referrers(sort Sort) []Sort {
	switch sort {
	case command.Regions:
		return []Sort{command.Nodes, command.Providers}
	case command.Orgs:
		return []Sort{command.Tenants}
	case command.Tenants:
		return []Sort{command.Keys, command.Limits, command.Audits, command.Policies, command.Providers}
	case command.Providers:
		return []Sort{command.Models}
	case command.Models:
		return []Sort{command.Models, command.Keys, command.Limits, command.Policies}
	case command.Keys:
		return []Sort{command.Limits}
	default:
		return nil
	}
}

// unused fails when somebody still refers to a deleted object.
func (t *tx) unused(sort Sort, id string) {
	for _, from := range referrers(sort) {
		for _, other := range t.ids(from) {
			if slices.ContainsFunc(t.refs(from, other), func(r ref) bool { return r.sort == sort && r.id == id }) {
				t.fail(InUse, "", "%s %q is used by %s; change that first", sort.One(), id, describe(from, other))
				return
			}
		}
	}
}

func describe(sort Sort, id string) string {
	if id == "" {
		return "the " + sort.One()
	}
	return fmt.Sprintf("%s %q", sort.One(), id)
}

// ids lists the ids of a section, in order.
func (t *tx) ids(sort Sort) []string {
	switch sort {
	case command.Regions:
		return t.Regions.ids()
	case command.Orgs:
		return t.Orgs.ids()
	case command.Tenants:
		return t.Tenants.ids()
	case command.Providers:
		return t.Providers.ids()
	case command.Models:
		return t.Models.ids()
	case command.Keys:
		return t.Keys.ids()
	case command.Limits:
		return t.Limits.ids()
	case command.Audits:
		return t.Audits.ids()
	case command.Nodes:
		return t.Nodes.ids()
	case command.Policies:
		return []string{""}
	default:
		return nil
	}
}

// delete removes one object.
func (t *tx) delete(sort Sort, id string) {
	switch sort {
	case command.Regions:
		if isBuiltin(id) {
			t.fail(Conflict, "", "region %q is built in and stays", id)
			return
		}
		remove(t, &t.Regions, sort, id, func(r Region) uint64 { return r.Version })
	case command.Orgs:
		remove(t, &t.Orgs, sort, id, func(o Org) uint64 { return o.Version })
	case command.Tenants:
		remove(t, &t.Tenants, sort, id, func(v Tenant) uint64 { return v.Version })
	case command.Providers:
		remove(t, &t.Providers, sort, id, func(p Provider) uint64 { return p.Version })
	case command.Models:
		t.touchModel(id, "")
		remove(t, &t.Models, sort, id, func(m Model) uint64 { return m.Version })
	case command.Keys:
		t.touchKey(id, "")
		remove(t, &t.Keys, sort, id, func(k Key) uint64 { return k.Version })
	case command.Limits:
		remove(t, &t.Limits, sort, id, func(l Limit) uint64 { return l.Version })
	case command.Audits:
		remove(t, &t.Audits, sort, id, func(a AuditRule) uint64 { return a.Version })
	case command.Tokens:
		remove(t, &t.Tokens, sort, id, func(k Token) uint64 { return k.Version })
	case command.Nodes:
		if n, ok := t.Nodes.Get(id); ok && n.State != NodeRevoked {
			t.fail(Conflict, "", "node %q is %s; revoke it first", id, n.State)
			return
		}
		remove(t, &t.Nodes, sort, id, func(n Node) uint64 { return n.Version })
	case command.Policies:
		t.putPolicy(Policy{}, "")
	default:
		t.fail(Invalid, "", "%s cannot be deleted", sort)
	}
}

func remove[T any](t *tx, table *Table[T], sort Sort, id string, version func(T) uint64) {
	old, ok := table.Get(id)
	if !ok {
		t.fail(NotFound, "", "no %s %q", sort.One(), id)
		return
	}
	if !t.admit(sort, id, version(old)) {
		return
	}
	*table = table.without(id)
	t.note(sort, id, Deleted, version(old))
}

func (t Table[T]) ids() []string {
	out := make([]string, 0, t.n)
	for _, c := range t.chunks {
		for i := range c.rows {
			out = append(out, c.rows[i].id)
		}
	}
	return out
}

// secretEqual compares hashes of secrets.
func secretEqual(a, b []byte) bool { return len(a) > 0 && bytes.Equal(a, b) }
