package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// where says who answers a request.
type where uint8

const (
	local  where = iota // this coordinator, from what it has
	reads               // by consistency: the leader after a proof, the leader, or this one
	leader              // the leader, once it has applied all earlier commits
)

// route is one row of the table below: the only place that says which endpoints exist and who may
// use them.
type route struct {
	method, path string // {id} is one segment; a last segment {id}:verb is an action
	who          roleSet
	where        where
	do           func(*Server, *call) *Problem
}

// routes is the admin API.
func routes() []route {
	return []route{
		{"GET", "/v1/health/live", anyone, local, (*Server).live},
		{"GET", "/v1/health/ready", anyone, local, (*Server).ready},
		{"GET", "/v1/health/leader", anyone, local, (*Server).leading},

		{"GET", "/v1/cluster", readers | nodes, reads, (*Server).cluster},
		{"GET", "/v1/cluster/self", staff | nodes, local, (*Server).self},
		{"GET", "/v1/cluster/members", staff, leader, (*Server).members},
		{"POST", "/v1/cluster/members", nodes, leader, (*Server).announce},
		{"GET", "/v1/cluster/members/{id}", staff, leader, (*Server).member},
		{"DELETE", "/v1/cluster/members/{id}", admins | operators, leader, (*Server).removeMember},
		{"POST", "/v1/cluster/members/{id}:promote", admins | operators, leader, (*Server).promote},
		{"POST", "/v1/cluster/members/{id}:demote", admins | operators, leader, (*Server).demote},
		{"POST", "/v1/cluster/members/{id}:transfer", admins | operators, leader, (*Server).transfer},
		{"GET", "/v1/cluster/tokens", admins | operators, reads, (*Server).listTokens},
		{"POST", "/v1/cluster/tokens", admins | operators, leader, (*Server).createToken},
		{"DELETE", "/v1/cluster/tokens/{id}", admins | operators, leader, (*Server).deleteToken},
		{"POST", "/v1/cluster/join", anyone, leader, (*Server).join},

		{"GET", "/v1/regions", readers, reads, listOf(regions())},
		{"POST", "/v1/regions", admins | operators, leader, createOf(regions())},
		{"GET", "/v1/regions/{id}", readers, reads, getOf(regions())},
		{"PUT", "/v1/regions/{id}", admins | operators, leader, putOf(regions())},
		{"DELETE", "/v1/regions/{id}", admins | operators, leader, deleteOf(regions())},

		{"GET", "/v1/orgs", staff, reads, listOf(orgs())},
		{"POST", "/v1/orgs", admins, leader, createOf(orgs())},
		{"GET", "/v1/orgs/{id}", staff, reads, getOf(orgs())},
		{"PUT", "/v1/orgs/{id}", admins, leader, putOf(orgs())},
		{"DELETE", "/v1/orgs/{id}", admins, leader, deleteOf(orgs())},

		{"GET", "/v1/tenants", readers, reads, listOf(tenants())},
		{"POST", "/v1/tenants", admins, leader, createOf(tenants())},
		{"GET", "/v1/tenants/{id}", readers, reads, getOf(tenants())},
		{"PUT", "/v1/tenants/{id}", admins, leader, putOf(tenants())},
		{"DELETE", "/v1/tenants/{id}", admins, leader, deleteOf(tenants())},

		{"GET", "/v1/keys", readers, reads, listOf(keys())},
		{"POST", "/v1/keys", admins | tenantAdmins, leader, (*Server).createKey},
		{"GET", "/v1/keys/{id}", readers, reads, getOf(keys())},
		{"PUT", "/v1/keys/{id}", admins | tenantAdmins, leader, putOf(keys())},
		{"DELETE", "/v1/keys/{id}", admins | tenantAdmins, leader, deleteOf(keys())},
		{"POST", "/v1/keys/{id}:rotate", admins | tenantAdmins, leader, (*Server).rotateKey},
		{"POST", "/v1/keys/{id}:revoke", admins | operators | tenantAdmins, leader, (*Server).revokeKey},

		{"GET", "/v1/providers", staff, reads, listOf(providers())},
		{"POST", "/v1/providers", admins | operators, leader, createOf(providers())},
		{"GET", "/v1/providers/{id}", staff, reads, getOf(providers())},
		{"PUT", "/v1/providers/{id}", admins | operators, leader, putOf(providers())},
		{"DELETE", "/v1/providers/{id}", admins | operators, leader, deleteOf(providers())},

		{"GET", "/v1/models", readers, reads, listOf(models())},
		{"POST", "/v1/models", admins | operators, leader, createOf(models())},
		{"GET", "/v1/models/{id}", readers, reads, getOf(models())},
		{"PUT", "/v1/models/{id}", admins | operators, leader, putOf(models())},
		{"DELETE", "/v1/models/{id}", admins | operators, leader, deleteOf(models())},

		{"GET", "/v1/limits", readers, reads, listOf(limits())},
		{"POST", "/v1/limits", admins | tenantAdmins, leader, createOf(limits())},
		{"GET", "/v1/limits/{id}", readers, reads, getOf(limits())},
		{"PUT", "/v1/limits/{id}", admins | tenantAdmins, leader, putOf(limits())},
		{"DELETE", "/v1/limits/{id}", admins | tenantAdmins, leader, deleteOf(limits())},

		{"GET", "/v1/policy", staff, reads, (*Server).getPolicy},
		{"PUT", "/v1/policy", admins, leader, (*Server).putPolicy},
		{"DELETE", "/v1/policy", admins, leader, (*Server).deletePolicy},

		{"GET", "/v1/nodes", staff, reads, (*Server).listNodes},
		{"GET", "/v1/nodes/{id}", staff, reads, (*Server).getNode},
		{"POST", "/v1/nodes/{id}:drain", admins | operators, leader, (*Server).drainNode},
		{"POST", "/v1/nodes/{id}:resume", admins | operators, leader, (*Server).resumeNode},
		{"POST", "/v1/nodes/{id}:revoke", admins | operators, leader, (*Server).revokeNode},
		{"POST", "/v1/nodes/{id}:renew", nodes, leader, (*Server).renewNode},
		{"GET", "/v1/routes:explain", staff, reads, (*Server).explainRoute},
		{"GET", "/v1/view", nodes, local, (*Server).view},

		{"POST", "/v1/apply", admins | operators, leader, (*Server).apply},
	}
}

// later are the first segments of endpoints that DESIGN.md 4.4 names and this version does not have.
func later() []string {
	return []string{
		"users", "plans", "budgets", "leases", "lease-rpc", "ledger", "approvals", "audit", "requests", "usage",
		"backup", "restore",
	}
}

// table is routes prepared for matching. Sixty rows are scanned in about a microsecond; the admin API
// is not on any request's path.
type table []entry

type entry struct {
	route
	segments []string
	verb     string
}

func newTable() table {
	var t table
	for _, r := range routes() {
		segs := strings.Split(strings.Trim(r.path, "/"), "/")
		last := &segs[len(segs)-1]
		e := entry{route: r, segments: segs}
		if verb, ok := strings.CutPrefix(*last, "{id}:"); ok {
			*last, e.verb = "{id}", verb
		}
		t = append(t, e)
	}
	return t
}

// find matches a request. With no match it answers 404, or 405 with the methods that there are.
func (t table) find(w http.ResponseWriter, r *http.Request) (entry, string, *Problem) {
	segs := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	var allowed []string
	for _, e := range t {
		id, ok := e.match(segs)
		if !ok {
			continue
		}
		if e.method == r.Method || e.method == http.MethodGet && r.Method == http.MethodHead {
			return e, id, nil
		}
		allowed = append(allowed, e.method)
	}
	switch {
	case len(allowed) > 0:
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return entry{}, "", problem("method_not_allowed", "%s does not take %s, only %s", r.URL.Path, r.Method, strings.Join(allowed, ", "))
	case len(segs) >= 2 && segs[0] == "v1" && slices.Contains(later(), strings.SplitN(segs[1], ":", 2)[0]),
		len(segs) == 2 && strings.HasPrefix(segs[1], "policy:"):
		return entry{}, "", problem("not_in_this_version", "%s is not in this version", r.URL.Path)
	}
	return entry{}, "", problem("not_found", "there is no %s in the admin API", r.URL.Path)
}

// match compares segment by segment. An id may hold colons: only a known verb is split off.
func (e entry) match(segs []string) (id string, ok bool) {
	if len(segs) != len(e.segments) {
		return "", false
	}
	for i, want := range e.segments {
		got := segs[i]
		if want != "{id}" {
			if got != want {
				return "", false
			}
			continue
		}
		if e.verb != "" {
			if got, ok = strings.CutSuffix(got, ":"+e.verb); !ok {
				return "", false
			}
		} else if i := strings.LastIndexByte(got, ':'); i >= 0 && verbs(got[i+1:]) {
			return "", false
		}
		plain, err := url.PathUnescape(got)
		if err != nil || plain == "" {
			return "", false
		}
		id = plain
	}
	return id, true
}

func verbs(s string) bool {
	switch s {
	case "promote", "demote", "transfer", "rotate", "revoke", "drain", "resume", "renew":
		return true
	}
	return false
}
