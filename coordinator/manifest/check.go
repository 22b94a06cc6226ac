package manifest

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/relay/dialect/vendor"
	"github.com/causeway-mesh/causeway/relay/meter"
)

// The closed vocabularies of DESIGN.md 4.2.
var (
	dialects   = []string{"openai-chat", "openai-responses", "anthropic-messages", "gemini"}
	schemes    = []string{"bearer", "x-api-key", "x-goog-api-key"}
	units      = []string{"token", "character", "image", "second"}
	jurisdicts = []string{"EU", "EEA"}
	classes    = []string{"public", "internal", "confidential", "restricted"}
)

// Check lists what is wrong with the resources of doc by themselves, without their references: words,
// countries, prices, numbers, repetitions. It holds what may depend on dated data and grow with the
// build; state.Apply, which must decide alike on every replica, does not. The admin API calls it with
// a document of one resource. Lines are not set.
func Check(doc state.Document) Problems {
	c := &checker{}
	checkAll(c, command.Regions, doc.Regions, func(r *state.Region) string { return r.ID }, c.region)
	checkAll(c, command.Providers, doc.Providers, func(p *state.Provider) string { return p.ID }, c.provider)
	checkAll(c, command.Models, doc.Models, func(m *state.Model) string { return m.ID }, c.model)
	checkAll(c, command.Orgs, doc.Orgs, func(o *state.Org) string { return o.ID }, func(o *state.Org, path string) { c.id("org", o.ID, path) })
	checkAll(c, command.Tenants, doc.Tenants, func(t *state.Tenant) string { return t.ID }, c.tenant)
	checkAll(c, command.Keys, doc.Keys, func(k *state.Key) string { return k.ID }, c.key)
	checkAll(c, command.Limits, doc.Limits, func(l *state.Limit) string { return l.LimitID() }, c.limit)
	checkAll(c, command.Audits, doc.Audit, func(a *state.AuditRule) string { return a.Tenant }, c.audit)
	c.names(doc.Models)
	if doc.Policy != nil {
		c.policy(doc.Policy, "policy")
	}
	if doc.Route != nil {
		c.route(doc.Route, "route")
	}
	return c.problems
}

type checker struct{ problems Problems }

func (c *checker) add(path, fix, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, What: fmt.Sprintf(format, args...), Fix: fix})
}

// notYet refuses what this version has no engine for.
func (c *checker) notYet(path, what, fix string) {
	c.add(path, fix, "not in this version: %s", what)
}

func checkAll[T any](c *checker, sort state.Sort, items []T, id func(*T) string, check func(*T, string)) {
	seen := make(map[string]int, len(items))
	for i := range items {
		path := indexed(sort.String(), i)
		if j, twice := seen[id(&items[i])]; twice {
			c.add(path, "keep one of them", "%s %q is already given by %s", sort.One(), id(&items[i]), indexed(sort.String(), j))
		}
		seen[id(&items[i])] = i
		check(&items[i], path)
	}
}

func (c *checker) id(noun, id, path string) {
	switch {
	case id == "":
		c.add(path+".id", "give it one", "missing")
	case !state.ValidID(command.Orgs, id):
		c.add(path+".id", "use letters, digits, '.', '_' and '-', starting with a letter or digit, at most 63", "%q is no %s id", clip(id), noun)
	}
}

func (c *checker) word(path, got string, allowed []string) {
	if !slices.Contains(allowed, got) {
		c.add(path, "use one of "+strings.Join(allowed, ", "), "%q is not known", clip(got))
	}
}

// country wants the canonical form, so that equal places are equal text everywhere.
func (c *checker) country(path, got string) {
	if _, err := geo.ParseCountry(got); err != nil || got != strings.ToUpper(got) || len(got) != 2 {
		c.add(path, "use an ISO 3166-1 alpha-2 code in capitals, as in US or DE", "%q is no country", clip(got))
	}
}

func (c *checker) places(path string, list []string) {
	for i, got := range list {
		if _, err := geo.ParseCountrySet([]string{got}); err != nil || got != strings.TrimSpace(strings.ToUpper(got)) {
			c.add(indexed(path, i), "use ISO 3166-1 alpha-2 codes in capitals, EU, EEA or \"*\"", "%q is no country or jurisdiction", clip(got))
		}
	}
}

func (c *checker) unique(path string, list []string) {
	for i, s := range list {
		if slices.Contains(list[:i], s) {
			c.add(indexed(path, i), "keep one of them", "%q is given twice", clip(s))
		}
	}
}

func (c *checker) natural(path string, n int64) {
	if n < 0 {
		c.add(path, "", "%d is negative", n)
	}
}

func (c *checker) region(r *state.Region, path string) {
	c.id("region", r.ID, path)
	c.country(path+".country", r.Country)
	if !(r.Lat >= -90 && r.Lat <= 90) {
		c.add(path+".lat", "", "%v is no latitude (-90 to 90)", r.Lat)
	}
	if !(r.Lon >= -180 && r.Lon <= 180) {
		c.add(path+".lon", "", "%v is no longitude (-180 to 180)", r.Lon)
	}
	c.unique(path+".zones", r.Zones)
}

func (c *checker) provider(p *state.Provider, path string) {
	c.id("provider", p.ID, path)
	if len(p.Dialects) == 0 {
		c.add(path+".dialects", "list what its API speaks: "+strings.Join(dialects, ", "), "missing")
	}
	for i, d := range p.Dialects {
		c.word(indexed(path+".dialects", i), d, dialects)
	}
	c.unique(path+".dialects", p.Dialects)
	c.baseURL(path+".base_url", p.BaseURL)
	if p.Vendor != "" {
		c.word(path+".vendor", p.Vendor, vendor.Names())
	}
	if len(p.Auth.Secrets) > 0 || p.Auth.Scheme != "" {
		c.word(path+".auth.scheme", p.Auth.Scheme, schemes)
	}
	if len(p.Auth.Secrets) == 0 {
		c.add(path+".auth.secrets", "give at least one: [{id: a, value: \"env:NAME\"}]", "missing")
	}
	for i, s := range p.Auth.Secrets {
		at := indexed(path+".auth.secrets", i)
		c.id("secret", s.ID, at)
		c.natural(at+".weight", int64(s.Weight))
		for j := range i {
			if p.Auth.Secrets[j].ID == s.ID {
				c.add(at+".id", "give each its own", "secret id %q is given twice", clip(s.ID))
			}
		}
	}
	c.places(path+".processing", p.Processing)
	c.places(path+".storage", p.Storage)
	if _, ok := compliance.TermsFor(p.Terms); p.Terms != "" && !ok {
		c.word(path+".terms", p.Terms, compliance.TermsNames())
	}
	c.unique(path+".exits", p.Exits)
	c.natural(path+".limits.rpm", p.Limits.RPM)
	c.natural(path+".limits.tpm", p.Limits.TPM)
}

func (c *checker) baseURL(path, raw string) {
	const fix = "write it as that vendor's SDK takes it, as in https://api.openai.com/v1"
	if raw == "" {
		c.add(path, fix, "missing")
		return
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		c.add(path, fix, "no http or https URL") // not quoted: it may hold a password
	case u.User != nil:
		c.add(path, "put it in auth.secrets", "a URL may not hold a credential")
	case u.RawQuery != "" || u.Fragment != "":
		c.add(path, fix, "a base URL has no query and no fragment")
	}
}

func (c *checker) model(m *state.Model, path string) {
	switch {
	case m.ID == "":
		c.add(path+".id", "give it one", "missing")
	case !state.ValidID(command.Models, m.ID):
		c.add(path+".id", "use letters, digits and . _ : / @ + -, at most 128", "%q is no model id", clip(m.ID))
	}
	for i, a := range m.Aliases {
		if !state.ValidID(command.Models, a) {
			c.add(indexed(path+".aliases", i), "use letters, digits and . _ : / @ + -, at most 128", "%q is no model name", clip(a))
		}
	}
	if len(m.Targets) == 0 {
		c.add(path+".targets", "name who serves it: [{provider: ID, model: NAME}]", "missing")
	}
	for i, t := range m.Targets {
		at := indexed(path+".targets", i)
		if t.Provider == "" {
			c.add(at+".provider", "name a provider", "missing")
		}
		c.natural(at+".weight", int64(t.Weight))
		c.natural(at+".tier", int64(t.Tier))
		c.natural(at+".max_output", t.MaxOutput)
		for j := range i {
			if o := m.Targets[j]; o.Provider == t.Provider && o.Model == t.Model {
				c.add(at, "keep one of them", "the same target as %s", indexed("targets", j))
			}
		}
	}
	c.unique(path+".fallbacks", m.Fallbacks)
	if i := slices.Index(m.Fallbacks, m.ID); i >= 0 {
		c.add(indexed(path+".fallbacks", i), "name another model", "a model cannot be its own fallback")
	}
	c.price(path+".price", m.Price)
	c.natural(path+".max_output", m.MaxOutput)
}

func (c *checker) price(path string, p state.Price) {
	for _, f := range []struct{ name, value string }{
		{"input", p.Input}, {"cached_input", p.CachedInput}, {"cache_write", p.CacheWrite}, {"output", p.Output},
	} {
		if _, err := meter.ParseUSD(f.value); f.value != "" && err != nil {
			c.add(path+"."+f.name, "write USD per million units as decimal text, as in \"2.50\"", "%q is no price", clip(f.value))
		}
	}
	if p.Unit != "" {
		c.word(path+".unit", p.Unit, units)
	}
}

// names checks that a name means one model only, ids and aliases together.
func (c *checker) names(models []state.Model) {
	owner := make(map[string]string, len(models))
	for _, m := range models {
		owner[m.ID] = m.ID
	}
	for i, m := range models {
		for j, a := range m.Aliases {
			path := indexed(indexed("models", i)+".aliases", j)
			if o, taken := owner[a]; taken {
				c.add(path, "a name can mean one model only", "the name %q already belongs to model %q", clip(a), clip(o))
			}
			owner[a] = m.ID
		}
	}
}

func (c *checker) tenant(t *state.Tenant, path string) {
	c.id("tenant", t.ID, path)
	if t.Home != "" && !slices.Contains(jurisdicts, t.Home) {
		if _, err := geo.ParseCountry(t.Home); err != nil || t.Home != strings.ToUpper(t.Home) || len(t.Home) != 2 {
			c.add(path+".home", "use EU, EEA or an ISO 3166-1 alpha-2 code in capitals", "%q is no country or jurisdiction", clip(t.Home))
		}
	}
	if t.Ownership != "" {
		c.country(path+".ownership", t.Ownership)
	}
	if t.Class != "" {
		c.word(path+".class", t.Class, classes)
	}
	for i, o := range t.CORS {
		u, err := url.Parse(o)
		if o != "*" && (err != nil || u.Host == "" || u.Scheme+"://"+u.Host != o) {
			c.add(indexed(path+".cors", i), "write an origin such as https://app.example.com, or \"*\"", "%q is no origin", clip(o))
		}
	}
}

func (c *checker) key(k *state.Key, path string) {
	c.id("key", k.ID, path)
	if k.Tenant == "" {
		c.add(path+".tenant", "name the tenant that it belongs to", "missing")
	}
	c.unique(path+".models", k.Models)
	for i, ip := range k.IPs {
		_, errPrefix := netip.ParsePrefix(ip)
		if _, err := netip.ParseAddr(ip); err != nil && errPrefix != nil {
			c.add(indexed(path+".ips", i), "write 192.0.2.7 or 10.0.0.0/8", "%q is neither an address nor a prefix", clip(ip))
		}
	}
}

func (c *checker) limit(l *state.Limit, path string) {
	if l.Tenant == "" {
		c.add(path+".tenant", "name the tenant that it caps", "missing")
	}
	c.natural(path+".rpm", l.RPM)
	c.natural(path+".tpm", l.TPM)
	c.natural(path+".concurrency", l.Concurrency)
	if l.RPM == 0 && l.TPM == 0 && l.Concurrency == 0 {
		c.add(path, "give rpm, tpm or concurrency", "limits nothing")
	}
	reuse, isReuse := strings.CutPrefix(l.CutOff, "reuse:")
	_, err := command.ParseDuration(reuse)
	switch {
	case l.CutOff == "" || l.CutOff == "floor":
	case l.CutOff == "closed" || isReuse && err == nil:
		// Shares are static until leases exist, so an edge that is cut off keeps its share: floor.
		c.notYet(path+".cut_off", "cut_off "+l.CutOff, "use floor, or leave it out")
	default:
		c.add(path+".cut_off", "use floor", "%q is not known", clip(l.CutOff))
	}
}

func (c *checker) policy(p *state.Policy, path string) {
	if p.Default != "" {
		c.word(path+".default", p.Default, []string{"allow", "deny"})
	}
	for i := range p.Rules {
		r, at := &p.Rules[i], indexed(path+".rules", i)
		c.id("rule", r.ID, at)
		for j := range i {
			if p.Rules[j].ID == r.ID {
				c.add(at+".id", "give each its own", "rule id %q is already given by %s", clip(r.ID), indexed("rules", j))
			}
		}
		if len(r.Allow) == 0 {
			c.add(at+".allow", "name countries, EU, EEA, or \"*\" for no restriction", "missing")
		}
		c.places(at+".allow", r.Allow)
		c.places(at+".when.home", r.When.Home)
		for j, class := range r.When.Class {
			c.word(indexed(at+".when.class", j), class, classes)
		}
		switch r.Audit {
		case "":
		case "strict":
			c.notYet(at+".audit", "audit strict", "remove it")
		default:
			c.add(at+".audit", "remove it", "%q is not known", clip(r.Audit))
		}
	}
}

func (c *checker) audit(a *state.AuditRule, path string) {
	if a.Tenant == "" {
		c.add(path+".tenant", "name the tenant", "missing")
	}
	switch a.Mode {
	case "", "buffer", "best_effort":
	case "strict":
		c.notYet(path+".mode", "audit mode strict", "use buffer, which survives a kill of the process")
	default:
		c.word(path+".mode", a.Mode, []string{"buffer", "best_effort"})
	}
	if _, err := command.ParseDuration(a.Retain); a.Retain != "" && err != nil {
		c.add(path+".retain", "", "%v", err)
	}
	if a.Content != "" && a.Content != "none" {
		c.notYet(path+".content", "audit content "+clip(a.Content), "use none")
	}
}

func (c *checker) route(r *state.Route, path string) {
	if r.Policy != "" {
		c.word(path+".policy", r.Policy, []string{"causeway", "seed"})
	}
	if r.Attempts < 0 || r.Attempts > 10 {
		c.add(path+".attempts", "use 1 to 10; 3 when left out", "%d attempts", r.Attempts)
	}
	usd, err := meter.ParseUSD(r.Hedge.MaxExtraUSD)
	switch {
	case r.Hedge.MaxExtraUSD == "":
	case err != nil:
		c.add(path+".hedge.max_extra_usd", "write USD as decimal text, as in \"0\"", "%q is no amount", clip(r.Hedge.MaxExtraUSD))
	case usd > 0:
		c.notYet(path+".hedge.max_extra_usd", "hedge", "write \"0\"")
	}
}
