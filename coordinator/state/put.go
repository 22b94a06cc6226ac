package state

import (
	"bytes"
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// Ids. Models may carry what vendors write ("meta/llama-3:8b"); all other ids stand alone in paths,
// headers and label values.
var (
	plainID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	modelID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$`)
)

// ValidID reports whether id may name an object of sort.
func ValidID(sort Sort, id string) bool {
	if sort == command.Models {
		return modelID.MatchString(id)
	}
	return plainID.MatchString(id)
}

// touch remembers an upsert or a deletion until the end of the command, when references and indexes
// are settled together: a document may move an alias or a secret from one object to another.
type touch struct {
	sort  Sort
	id    string
	field string // path of the object in the document, "" for a single put
	model *Model // what the model was before, nil = absent
	key   *Key   // what the key was before
}

func at(base, field string) string {
	if base == "" {
		return field
	}
	return base + "." + field
}

func (t *tx) checkID(sort Sort, id, field string) {
	if !ValidID(sort, id) {
		t.fail(Invalid, at(field, "id"), "%q is no %s id: letters, digits, '.', '_' and '-', starting with a letter or digit, at most 63", id, sort.One())
	}
}

// put stores v under id unless it equals what is there. version points into its argument.
func put[T any, P interface {
	*T
	command.Record
}](t *tx, table *Table[T], sort Sort, id string, v T, version func(*T) *uint64) {
	old, exists := table.Get(id)
	*version(&v) = *version(&old)
	if !t.admit(sort, id, *version(&old)) {
		return
	}
	after, err := command.Append(nil, P(&v))
	if err != nil {
		t.fail(Invalid, "", "%s %q: %v", sort.One(), id, err)
		return
	}
	if exists {
		before, _ := command.Append(nil, P(&old))
		if bytes.Equal(before, after) {
			t.note(sort, id, Same, *version(&old))
			return
		}
	}
	*version(&v) = t.index
	*table = table.with(id, v)
	action := Changed
	if !exists {
		action = Added
	}
	t.note(sort, id, action, t.index)
}

func (t *tx) putRegion(r Region, field string) {
	t.checkID(command.Regions, r.ID, field)
	if !(r.Lat >= -90 && r.Lat <= 90 && r.Lon >= -180 && r.Lon <= 180) { // also refuses NaN
		t.fail(Invalid, at(field, "lat"), "latitude is -90 to 90 and longitude -180 to 180")
	}
	if len(r.Country) != 2 {
		t.fail(Invalid, at(field, "country"), "%q is no ISO 3166 alpha-2 country", r.Country)
	}
	old, exists := t.Regions.Get(r.ID)
	if n, _ := t.regional.Get(r.ID); exists && n > 0 && old.Country != r.Country {
		t.fail(InUse, at(field, "country"), "%d nodes stand in region %q, so it stays in %s; revoke them first, or declare another region", n, r.ID, old.Country)
	}
	put(t, &t.Regions, command.Regions, r.ID, r, func(r *Region) *uint64 { return &r.Version })
}

func (t *tx) putOrg(o Org, field string) {
	t.checkID(command.Orgs, o.ID, field)
	put(t, &t.Orgs, command.Orgs, o.ID, o, func(o *Org) *uint64 { return &o.Version })
}

func (t *tx) putTenant(v Tenant, field string) {
	t.checkID(command.Tenants, v.ID, field)
	v.Class = cmp.Or(v.Class, "internal")
	t.touched = append(t.touched, touch{sort: command.Tenants, id: v.ID, field: field})
	put(t, &t.Tenants, command.Tenants, v.ID, v, func(v *Tenant) *uint64 { return &v.Version })
}

func (t *tx) putKey(k Key, field string) {
	t.checkID(command.Keys, k.ID, field)
	for i, ip := range k.IPs {
		if _, err := netip.ParsePrefix(ip); err != nil {
			if _, err := netip.ParseAddr(ip); err != nil {
				t.fail(Invalid, at(field, indexed("ips", i)), "%q is neither an address nor a prefix such as 10.0.0.0/8", ip)
			}
		}
	}
	old, exists := t.Keys.Get(k.ID)
	if len(k.Hash) == 0 {
		if !exists {
			t.fail(Invalid, at(field, "secret"), "a new key needs a secret")
		}
		k.Hash, k.Fingerprint = old.Hash, old.Fingerprint
	}
	k.PreviousHash, k.PreviousUntil = nil, 0
	if bytes.Equal(k.Hash, old.Hash) {
		k.Fingerprint = old.Fingerprint
		k.PreviousHash, k.PreviousUntil = old.PreviousHash, old.PreviousUntil
	}
	k.Revoked = old.Revoked
	t.touchKey(k.ID, field)
	before := len(t.changes)
	put(t, &t.Keys, command.Keys, k.ID, k, func(k *Key) *uint64 { return &k.Version })
	if old.Revoked && len(t.changes) > before && t.changes[before].Action != Same {
		t.fail(Conflict, field, "key %q is revoked for good; use another id, or delete it first", k.ID)
	}
}

func (t *tx) touchKey(id, field string) {
	touched := touch{sort: command.Keys, id: id, field: field}
	if old, ok := t.Keys.Get(id); ok {
		touched.key = &old
	}
	t.touched = append(t.touched, touched)
}

func (t *tx) touchModel(id, field string) {
	touched := touch{sort: command.Models, id: id, field: field}
	if old, ok := t.Models.Get(id); ok {
		touched.model = &old
	}
	t.touched = append(t.touched, touched)
}

func (t *tx) putProvider(p Provider, field string) {
	t.checkID(command.Providers, p.ID, field)
	if len(p.Dialects) == 0 {
		t.fail(Invalid, at(field, "dialects"), "a provider needs at least one dialect")
	}
	if p.BaseURL == "" {
		t.fail(Invalid, at(field, "base_url"), "a provider needs a base_url")
	}
	t.nonNegative(field, counter{"limits.rpm", p.Limits.RPM}, counter{"limits.tpm", p.Limits.TPM},
		counter{"timeouts.connect", int64(p.Timeouts.Connect)}, counter{"timeouts.first_byte", int64(p.Timeouts.FirstByte)},
		counter{"timeouts.gap", int64(p.Timeouts.Gap)}, counter{"timeouts.total", int64(p.Timeouts.Total)})
	p.Timeouts.Connect = cmp.Or(p.Timeouts.Connect, Duration(5*time.Second))
	p.Timeouts.FirstByte = cmp.Or(p.Timeouts.FirstByte, Duration(120*time.Second))
	p.Timeouts.Gap = cmp.Or(p.Timeouts.Gap, Duration(120*time.Second))
	p.Timeouts.Total = cmp.Or(p.Timeouts.Total, Duration(600*time.Second))
	old, _ := t.Providers.Get(p.ID)
	p.Auth.Secrets = slices.Clone(p.Auth.Secrets)
	for i := range p.Auth.Secrets {
		t.keepSealed(&p.Auth.Secrets[i], old.Auth.Secrets, at(field, indexed("auth.secrets", i)))
		if slices.ContainsFunc(p.Auth.Secrets[:i], func(s Secret) bool { return s.ID == p.Auth.Secrets[i].ID }) {
			t.fail(Invalid, at(field, indexed("auth.secrets", i)+".id"), "secret id %q is used twice", p.Auth.Secrets[i].ID)
		}
	}
	t.touched = append(t.touched, touch{sort: command.Providers, id: p.ID, field: field})
	put(t, &t.Providers, command.Providers, p.ID, p, func(p *Provider) *uint64 { return &p.Version })
}

// keepSealed completes one secret: without a value, or with one of the same fingerprint, the sealed
// bytes that the state holds stay. Sealing is randomised, so equal secrets would otherwise always look
// changed.
func (t *tx) keepSealed(s *Secret, old []Secret, field string) {
	if !ValidID(command.Keys, s.ID) {
		t.fail(Invalid, field+".id", "%q is no secret id", s.ID)
	}
	if s.Weight < 0 {
		t.fail(Invalid, field+".weight", "a weight may not be negative")
	}
	s.Weight = cmp.Or(s.Weight, 1)
	i := slices.IndexFunc(old, func(o Secret) bool { return o.ID == s.ID })
	switch {
	case i >= 0 && (len(s.Sealed) == 0 || s.Fingerprint == old[i].Fingerprint):
		s.Sealed, s.Fingerprint = old[i].Sealed, old[i].Fingerprint
	case len(s.Sealed) == 0:
		t.fail(Invalid, field+".value", "secret %q is new and needs a value", s.ID)
	}
}

func (t *tx) putModel(m Model, field string) {
	t.checkID(command.Models, m.ID, field)
	m.Targets = slices.Clone(m.Targets)
	for i := range m.Targets {
		if m.Targets[i].Weight < 0 {
			t.fail(Invalid, at(field, indexed("targets", i)+".weight"), "a weight may not be negative")
		}
		t.nonNegative(at(field, indexed("targets", i)), counter{"max_output", m.Targets[i].MaxOutput})
		m.Targets[i].Weight = cmp.Or(m.Targets[i].Weight, 1)
		m.Targets[i].Model = cmp.Or(m.Targets[i].Model, m.ID)
	}
	for i, a := range m.Aliases {
		if !ValidID(command.Models, a) {
			t.fail(Invalid, at(field, indexed("aliases", i)), "%q is no model name", a)
		}
	}
	t.nonNegative(field, counter{"max_output", m.MaxOutput})
	t.touchModel(m.ID, field)
	put(t, &t.Models, command.Models, m.ID, m, func(m *Model) *uint64 { return &m.Version })
}

func (t *tx) putLimit(l Limit, field string) {
	if l.Key == "*" {
		l.Key = ""
	}
	l.Model = cmp.Or(l.Model, "*")
	t.nonNegative(field, counter{"rpm", l.RPM}, counter{"tpm", l.TPM}, counter{"concurrency", l.Concurrency})
	if l.RPM == 0 && l.TPM == 0 && l.Concurrency == 0 {
		t.fail(Invalid, field, "a limit needs rpm, tpm or concurrency; to lift it, delete it")
	}
	t.touched = append(t.touched, touch{sort: command.Limits, id: l.LimitID(), field: field})
	put(t, &t.Limits, command.Limits, l.LimitID(), l, func(l *Limit) *uint64 { return &l.Version })
}

func (t *tx) putAudit(a AuditRule, field string) {
	a.Mode = cmp.Or(a.Mode, "buffer")
	a.Content = cmp.Or(a.Content, "none")
	t.touched = append(t.touched, touch{sort: command.Audits, id: a.Tenant, field: field})
	put(t, &t.Audits, command.Audits, a.Tenant, a, func(a *AuditRule) *uint64 { return &a.Version })
}

func normalisePolicy(p *Policy) {
	p.Default = cmp.Or(p.Default, "allow")
	p.MaxAge = cmp.Or(p.MaxAge, Duration(24*time.Hour))
}

func normaliseRoute(r *Route) {
	r.Policy = cmp.Or(r.Policy, "causeway")
	r.Attempts = cmp.Or(r.Attempts, 3)
	r.Hedge.MaxExtraUSD = cmp.Or(r.Hedge.MaxExtraUSD, "0")
}

func (t *tx) putPolicy(p Policy, field string) {
	normalisePolicy(&p)
	t.nonNegative(field, counter{"max_age", int64(p.MaxAge)})
	for i, r := range p.Rules {
		if !ValidID(command.Policies, r.ID) {
			t.fail(Invalid, at(field, indexed("rules", i)+".id"), "%q is no rule id", r.ID)
		}
		if slices.ContainsFunc(p.Rules[:i], func(o Rule) bool { return o.ID == r.ID }) {
			t.fail(Invalid, at(field, indexed("rules", i)+".id"), "rule id %q is used twice", r.ID)
		}
	}
	t.touched = append(t.touched, touch{sort: command.Policies, field: field})
	one := Table[Policy]{}.with("", t.Policy)
	put(t, &one, command.Policies, "", p, func(p *Policy) *uint64 { return &p.Revision })
	t.Policy, _ = one.Get("")
}

func (t *tx) putRoute(r Route, field string) {
	normaliseRoute(&r)
	t.nonNegative(field, counter{"attempts", int64(r.Attempts)})
	one := Table[Route]{}.with("", t.Route)
	put(t, &one, command.Routes, "", r, func(*Route) *uint64 { return new(uint64) })
	t.Route, _ = one.Get("")
}

func (t *tx) rotateKey(b *command.RotateKey) {
	k, ok := t.Keys.Get(b.ID)
	switch {
	case !ok:
		t.fail(NotFound, "", "no key %q", b.ID)
	case k.Revoked:
		t.fail(Conflict, "", "key %q is revoked for good; make another one", b.ID)
	case len(b.Hash) == 0:
		t.fail(Invalid, "secret", "a rotation needs a new secret")
	case bytes.Equal(b.Hash, k.Hash):
		t.fail(Invalid, "secret", "the new secret is the present one")
	}
	if t.err != nil {
		return
	}
	t.touchKey(b.ID, "")
	k.PreviousHash, k.PreviousUntil = nil, 0
	if b.KeepUntil > t.unix() {
		k.PreviousHash, k.PreviousUntil = k.Hash, b.KeepUntil
	}
	k.Hash, k.Fingerprint = b.Hash, b.Fingerprint
	put(t, &t.Keys, command.Keys, k.ID, k, func(k *Key) *uint64 { return &k.Version })
}

func (t *tx) revokeKey(id string) {
	k, ok := t.Keys.Get(id)
	if !ok {
		t.fail(NotFound, "", "no key %q", id)
		return
	}
	k.Revoked = true
	put(t, &t.Keys, command.Keys, id, k, func(k *Key) *uint64 { return &k.Version })
}

type counter struct {
	field string
	n     int64
}

func (t *tx) nonNegative(field string, counters ...counter) {
	for _, c := range counters {
		if c.n < 0 {
			t.fail(Invalid, at(field, c.field), "may not be negative")
		}
	}
}
