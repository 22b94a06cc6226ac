// Package view is a node's picture of the mesh: an immutable Snapshot compiled from what the
// coordinator sent, swapped atomically. A request loads it once and uses that one to its end.
package view

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/coordinator/lease"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/relay/dialect/vendor"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/meter"
)

// Snapshot is one consistent state of the mesh. Everything in it is read-only.
type Snapshot struct {
	Index       uint64
	Mesh        string
	Self        state.Node
	ConfirmedAt time.Time // when a coordinator last vouched for it
	Regions     map[geo.RegionID]geo.Region
	Policy      *compliance.Policy
	Route       Route
	Exits       []Exit // not revoked
	Providers   map[string]*Provider
	ModelNames  []string // ids in the coordinator's order
	Revoked     []string
	Roots       []byte
	Nodes       []state.Node

	places  map[geo.RegionID]geo.CountrySet
	pepper  []byte
	macs    *sync.Pool // of *mac under pepper
	keys    map[[sha256.Size]byte]*Key
	models  map[string]*Model
	tenants map[string]*Tenant

	firstTenant string
	origins     map[string]bool // that some tenant lets browsers call from; "*" = any
}

// Route is the mesh-wide routing behaviour.
type Route struct {
	Policy   geo.RoutePolicy
	Attempts int // upstream attempts in all, at least 1
}

// Exit is a node that may call providers.
type Exit struct {
	ID       string
	Region   geo.Region
	Addr     string
	Draining bool
}

// Tenant is whose data a request carries.
type Tenant struct {
	ID        string
	Org       string
	HomeName  string // as declared
	Home      geo.CountrySet
	Ownership geo.Country
	Class     compliance.Class
	AuditMode compliance.AuditMode
	CORS      []string

	// Keepers are the accounts open to the tenant that keep Responses and serve some model.
	Keepers []*Provider
	// Unmarked: there is only one such account and it is the tenant's own, so that the id of a response
	// can mean only one thing.
	Unmarked bool
}

// Key is a virtual API key.
type Key struct {
	ID          string
	Tenant      *Tenant
	previousEnd time.Time // of a rotated secret; zero for the current one
	models      []string  // sorted; nil = all
	prefixes    []netip.Prefix
	limits      []Limit
}

// Limit is this edge's static share of one limit that applies to a key.
type Limit struct {
	Model string // "" = every model
	lease.Applied
}

// Provider is an upstream account.
type Provider struct {
	ID         string
	Dialects   []llm.Dialect
	Processing geo.CountrySet
	Storage    geo.CountrySet
	Terms      *compliance.Terms // nil = none declared
	// ProcessingText and StorageText are the places as records name them.
	ProcessingText, StorageText string

	Spec  state.Provider // as the coordinator sent it; holds credentials on exits
	exits []string
}

// Speaks reports whether the provider takes requests of dialect d.
func (p *Provider) Speaks(d llm.Dialect) bool { return slices.Contains(p.Dialects, d) }

// Open reports whether requests of the tenant may go to the account at all.
func (p *Provider) Open(t *Tenant) bool { return p.Spec.Tenant == "" || p.Spec.Tenant == t.ID }

// CallableFrom reports whether exits of the region may call the provider.
func (p *Provider) CallableFrom(r geo.RegionID) bool {
	return len(p.exits) == 0 || slices.Contains(p.exits, string(r))
}

// Model is a name that clients ask for.
type Model struct {
	ID        string
	Targets   []Target
	Fallbacks []*Model
	Price     meter.Price
	Unit      string // that Price is for: token, character, image, second
	// Fill is the most that an encoder states as a limit where the client states none.
	Fill int64
	// EqualWeights: the operator stated no shares among the targets.
	EqualWeights bool
}

// At reports whether the provider serves the model.
func (m *Model) At(p *Provider) bool {
	return slices.ContainsFunc(m.Targets, func(t Target) bool { return t.Provider == p })
}

// Target is one place that serves a model.
type Target struct {
	Provider *Provider
	Model    string // the upstream's name
	Weight   int
	Tier     int

	facts *[len(llm.Dialects)]vendor.Facts // in the order of llm.Dialects
}

// Facts is what the provider and the model refuse, and where they differ, when asked in dialect d.
func (t *Target) Facts(d llm.Dialect) *vendor.Facts {
	if i := slices.Index(llm.Dialects[:], d); i >= 0 && t.facts != nil {
		return &t.facts[i]
	}
	return &unknown
}

var unknown vendor.Facts

// Authenticate finds the key whose secret this is. It compares keyed hashes, so its time does not
// depend on how much of a secret is right; expired former secrets of rotated keys do not count.
func (s *Snapshot) Authenticate(secret string, now time.Time) (*Key, bool) {
	m := s.macs.Get().(*mac)
	m.text = append(m.text[:0], secret...)
	m.Reset()
	m.Write(m.text)
	m.Sum(m.sum[:0])
	k, ok := s.keys[m.sum]
	clear(m.text)
	s.macs.Put(m)
	if !ok || !k.previousEnd.IsZero() && now.After(k.previousEnd) {
		return nil, false
	}
	return k, true
}

// mac is an HMAC that is used again and again, since setting one up costs more than a short secret.
type mac struct {
	hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

func newMACs(key []byte) *sync.Pool {
	return &sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, key)} }}
}

// Model finds a model by id or alias.
func (s *Snapshot) Model(name string) (*Model, bool) {
	m, ok := s.models[name]
	return m, ok
}

// Place is a region's country as a set; empty for a region that is not known, which no restricting
// rule permits.
func (s *Snapshot) Place(r geo.RegionID) geo.CountrySet { return s.places[r] }

// AllowsOrigin reports whether some tenant lets browsers of the origin call. It answers a preflight,
// which carries no key and so no tenant; the call itself is held to its own tenant's list.
func (s *Snapshot) AllowsOrigin(origin string) bool {
	return origin != "" && (s.origins[origin] || s.origins["*"])
}

// Tenant finds a tenant by id; "" is the first one in the coordinator's order.
func (s *Snapshot) Tenant(id string) (*Tenant, bool) {
	if id == "" {
		id = s.firstTenant
	}
	t, ok := s.tenants[id]
	return t, ok
}

// MayUse reports whether the key is for this model.
func (k *Key) MayUse(model string) bool {
	if k.models == nil {
		return true
	}
	_, ok := slices.BinarySearch(k.models, model)
	return ok
}

// Unrestricted reports whether the key is for all models.
func (k *Key) Unrestricted() bool { return k.models == nil }

// LimitsTokens reports whether some limit on tokens holds for the key.
func (k *Key) LimitsTokens() bool {
	return slices.ContainsFunc(k.limits, func(l Limit) bool { return l.Limits.TPM > 0 })
}

// MayComeFrom reports whether the key may be used from this address.
func (k *Key) MayComeFrom(a netip.Addr) bool {
	return len(k.prefixes) == 0 || slices.ContainsFunc(k.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Limits appends to dst the limits that apply to a request for the model.
func (k *Key) Limits(dst []lease.Applied, model string) []lease.Applied {
	for i := range k.limits {
		if l := &k.limits[i]; l.Model == "" || l.Model == model {
			dst = append(dst, l.Applied)
		}
	}
	return dst
}

// Owns reports whether nobody but the tenant uses the account: it names the tenant, or the mesh has
// only this one.
func (s *Snapshot) Owns(t *Tenant, p *Provider) bool {
	return p.Spec.Tenant == t.ID || p.Spec.Tenant == "" && len(s.tenants) == 1
}

// Pepper is the key under which key secrets and audit salts are hashed. Read-only.
func (s *Snapshot) Pepper() []byte { return s.pepper }

// KeyOf is an unrestricted key of the tenant, for explanations: it authenticates nobody.
func KeyOf(t *Tenant) *Key { return &Key{Tenant: t} }
