package command

// The resources below are the sections of mesh.yaml, of the admin API and of `causeway apply`: one
// set of field names for all three (DESIGN.md 4.2, 4.4). Money is a decimal string here and integer
// nano-USD inside.

// Region is where nodes stand. A node's country comes only from its region.
type Region struct {
	ID      string   `json:"id" yaml:"id"`
	Country string   `json:"country" yaml:"country"` // ISO 3166 alpha-2
	Lat     float64  `json:"lat" yaml:"lat"`
	Lon     float64  `json:"lon" yaml:"lon"`
	Zones   []string `json:"zones,omitempty" yaml:"zones"`
	Version uint64   `json:"version,omitempty" yaml:"-"`
}

// Provider is an upstream account and endpoint.
type Provider struct {
	ID         string    `json:"id" yaml:"id"`
	Dialects   []string  `json:"dialects" yaml:"dialects"`
	BaseURL    string    `json:"base_url" yaml:"base_url"`
	Auth       Auth      `json:"auth" yaml:"auth"`
	Processing []string  `json:"processing,omitempty" yaml:"processing"` // countries, jurisdictions, or "*"
	Storage    []string  `json:"storage,omitempty" yaml:"storage"`
	Terms      string    `json:"terms,omitempty" yaml:"terms"`
	Exits      []string  `json:"exits,omitempty" yaml:"exits"`   // regions; none = all
	Tenant     string    `json:"tenant,omitempty" yaml:"tenant"` // whose account it is: nobody else's requests go there; "" = shared
	Limits     RateLimit `json:"limits,omitzero" yaml:"limits"`
	Timeouts   Timeouts  `json:"timeouts,omitzero" yaml:"timeouts"`
	Vendor     string    `json:"vendor,omitempty" yaml:"vendor"` // a row of the vendors' table; "" = as base_url tells
	Version    uint64    `json:"version,omitempty" yaml:"-"`
}

// Auth is how a provider is authenticated to.
type Auth struct {
	Scheme  string   `json:"scheme" yaml:"scheme"` // bearer | x-api-key | x-goog-api-key
	Secrets []Secret `json:"secrets,omitempty" yaml:"secrets"`
}

// Secret is one provider credential. Value is only ever set on its way in; Sealed is what Raft
// holds; Fingerprint is what anybody may see.
type Secret struct {
	ID          string `json:"id" yaml:"id"`
	Value       string `json:"value,omitempty" yaml:"value"`
	Weight      int    `json:"weight,omitempty" yaml:"weight"`
	Sealed      []byte `json:"sealed,omitempty" yaml:"-"`
	Fingerprint string `json:"fingerprint,omitempty" yaml:"-"`
}

// RateLimit is a provider account's own limits, per secret, shared by all exits. 0 = none.
type RateLimit struct {
	RPM int64 `json:"rpm,omitempty" yaml:"rpm"`
	TPM int64 `json:"tpm,omitempty" yaml:"tpm"`
}

// Timeouts bound the stages of one upstream call. Zero takes the default.
type Timeouts struct {
	Connect   Duration `json:"connect,omitzero" yaml:"connect"`       // 5s
	FirstByte Duration `json:"first_byte,omitzero" yaml:"first_byte"` // 120s
	Gap       Duration `json:"gap,omitzero" yaml:"gap"`               // 120s
	Total     Duration `json:"total,omitzero" yaml:"total"`           // 600s
}

// Model is a name that clients ask for.
type Model struct {
	ID        string   `json:"id" yaml:"id"`
	Aliases   []string `json:"aliases,omitempty" yaml:"aliases"`
	Targets   []Target `json:"targets" yaml:"targets"`
	Fallbacks []string `json:"fallbacks,omitempty" yaml:"fallbacks"`
	Price     Price    `json:"price,omitzero" yaml:"price"`
	MaxOutput int64    `json:"max_output,omitempty" yaml:"max_output"` // tokens; 0 = as the table of model families says
	Version   uint64   `json:"version,omitempty" yaml:"-"`
}

// Target is a provider and the name the model has there.
type Target struct {
	Provider string `json:"provider" yaml:"provider"`
	Model    string `json:"model" yaml:"model"`
	Weight   int    `json:"weight,omitempty" yaml:"weight"` // 0 counts as 1
	Tier     int    `json:"tier,omitempty" yaml:"tier"`
	// MaxOutput counts before the model's.
	MaxOutput int64 `json:"max_output,omitempty" yaml:"max_output"`
}

// Price is USD per million units, as decimal strings; all empty = unknown.
type Price struct {
	Input       string `json:"input,omitempty" yaml:"input"`
	CachedInput string `json:"cached_input,omitempty" yaml:"cached_input"`
	CacheWrite  string `json:"cache_write,omitempty" yaml:"cache_write"`
	Output      string `json:"output,omitempty" yaml:"output"`
	Unit        string `json:"unit,omitempty" yaml:"unit"` // token | character | image | second
}

// Org groups tenants.
type Org struct {
	ID      string `json:"id" yaml:"id"`
	Version uint64 `json:"version,omitempty" yaml:"-"`
}

// Tenant is whose data it is.
type Tenant struct {
	ID        string            `json:"id" yaml:"id"`
	Org       string            `json:"org,omitempty" yaml:"org"`
	Home      string            `json:"home,omitempty" yaml:"home"`           // jurisdiction or country
	Ownership string            `json:"ownership,omitempty" yaml:"ownership"` // country of the majority owner
	Class     string            `json:"class,omitempty" yaml:"class"`         // public | internal | confidential | restricted
	Labels    map[string]string `json:"labels,omitempty" yaml:"labels"`
	CORS      []string          `json:"cors,omitempty" yaml:"cors"` // allowed origins
	Version   uint64            `json:"version,omitempty" yaml:"-"`
}

// Key is a virtual API key. Secret is only ever set on its way in; Hash is the keyed hash by which
// edges look it up; a rotated key keeps its former hash until PreviousUntil.
type Key struct {
	ID            string   `json:"id" yaml:"id"`
	Tenant        string   `json:"tenant" yaml:"tenant"`
	Secret        string   `json:"secret,omitempty" yaml:"secret"`
	Models        []string `json:"models,omitempty" yaml:"models"` // none or "*" = all
	IPs           []string `json:"ips,omitempty" yaml:"ips"`       // addresses or prefixes; none = any
	Hash          []byte   `json:"hash,omitempty" yaml:"-"`
	PreviousHash  []byte   `json:"previous_hash,omitempty" yaml:"-"`
	PreviousUntil int64    `json:"previous_until,omitempty" yaml:"-"` // unix seconds
	Fingerprint   string   `json:"fingerprint,omitempty" yaml:"-"`
	Revoked       bool     `json:"revoked,omitempty" yaml:"-"`
	Version       uint64   `json:"version,omitempty" yaml:"-"`
}

// User is a person who signs in, and what they may do.
type User struct {
	ID      string     `json:"id" yaml:"id"`
	OIDC    string     `json:"oidc,omitempty" yaml:"oidc"` // "issuer|subject"
	Roles   []UserRole `json:"roles,omitempty" yaml:"roles"`
	Version uint64     `json:"version,omitempty" yaml:"-"`
}

// UserRole binds a role, to one tenant when Tenant is set.
type UserRole struct {
	Role   string `json:"role" yaml:"role"`
	Tenant string `json:"tenant,omitempty" yaml:"tenant"`
}

// Limit caps a tenant's, key's or model's use. Identity: tenant + key + model.
type Limit struct {
	Tenant      string `json:"tenant" yaml:"tenant"`
	Key         string `json:"key,omitempty" yaml:"key"`     // "" = the tenant as a whole
	Model       string `json:"model,omitempty" yaml:"model"` // "" or "*" = all models together
	RPM         int64  `json:"rpm,omitempty" yaml:"rpm"`
	TPM         int64  `json:"tpm,omitempty" yaml:"tpm"`
	Concurrency int64  `json:"concurrency,omitempty" yaml:"concurrency"`
	CutOff      string `json:"cut_off,omitempty" yaml:"cut_off"` // closed | floor | reuse:DURATION
	Version     uint64 `json:"version,omitempty" yaml:"-"`
}

// Policy is the residency rules in force.
type Policy struct {
	Default  string   `json:"default" yaml:"default"`          // allow | deny, when no rule matches
	MaxAge   Duration `json:"max_age,omitzero" yaml:"max_age"` // 24h; restricted classes are refused on an older revision
	Rules    []Rule   `json:"rules,omitempty" yaml:"rules"`    //
	Revision uint64   `json:"revision,omitempty" yaml:"-"`     // Raft index of the change
}

// Rule restricts where requests that match may go.
type Rule struct {
	ID       string   `json:"id" yaml:"id"`
	When     When     `json:"when,omitzero" yaml:"when"`
	Allow    []string `json:"allow,omitempty" yaml:"allow"` // countries or jurisdictions
	Approval bool     `json:"approval,omitempty" yaml:"approval"`
	Audit    string   `json:"audit,omitempty" yaml:"audit"` // "strict" forces that mode
}

// When selects requests: each list is OR inside, the lists are AND.
type When struct {
	Home    []string `json:"home,omitempty" yaml:"home"`
	Class   []string `json:"class,omitempty" yaml:"class"`
	Tenant  []string `json:"tenant,omitempty" yaml:"tenant"`
	Purpose []string `json:"purpose,omitempty" yaml:"purpose"`
	Model   []string `json:"model,omitempty" yaml:"model"`
}

// AuditRule is a tenant's audit mode.
type AuditRule struct {
	Tenant  string `json:"tenant" yaml:"tenant"`
	Mode    string `json:"mode,omitempty" yaml:"mode"` // strict | buffer | best_effort
	Retain  string `json:"retain,omitempty" yaml:"retain"`
	Content string `json:"content,omitempty" yaml:"content"` // none
	Version uint64 `json:"version,omitempty" yaml:"-"`
}

// Route is the mesh-wide routing behaviour.
type Route struct {
	Policy   string `json:"policy,omitempty" yaml:"policy"` // causeway | seed
	Attempts int    `json:"attempts,omitempty" yaml:"attempts"`
	Hedge    Hedge  `json:"hedge,omitzero" yaml:"hedge"`
}

// Hedge bounds what a second attempt may cost.
type Hedge struct {
	MaxExtraUSD string `json:"max_extra_usd,omitempty" yaml:"max_extra_usd"`
}

// Node is a member of the mesh, as the coordinator knows it.
type Node struct {
	ID       string   `json:"id"`
	Region   string   `json:"region"`
	Roles    []string `json:"roles"` // edge | exit | relay | coordinator
	Addr     string   `json:"addr"`  // mesh address, host:port
	State    string   `json:"state"` // active | draining | revoked
	Serial   string   `json:"serial,omitempty"`
	NotAfter int64    `json:"not_after,omitempty"` // unix seconds
	// Former are earlier certificates that have not expired: revoking the node revokes them too.
	Former    []Certificate `json:"-"`
	JoinedAt  int64         `json:"joined_at,omitempty"` // unix seconds
	BuildInfo string        `json:"build,omitempty"`
	Version   uint64        `json:"version,omitempty"`
}

// Certificate is an issued node certificate by its serial (lower-case hex).
type Certificate struct {
	Serial   string `json:"serial"`
	NotAfter int64  `json:"not_after"` // unix seconds
}

// Token admits one node once. Only the hash of its secret is held.
type Token struct {
	ID        string   `json:"id"`
	Hash      []byte   `json:"-"` // SHA-256 of the secret
	Region    string   `json:"region"`
	Roles     []string `json:"roles"`
	Node      string   `json:"node,omitempty"` // "" = any node id
	ExpiresAt int64    `json:"expires_at"`     // unix seconds
	CreatedBy string   `json:"created_by,omitempty"`
	UsedBy    string   `json:"used_by,omitempty"` // node id
	UsedAt    int64    `json:"used_at,omitempty"` // unix seconds
	Version   uint64   `json:"version,omitempty"`
}

// Document is a mesh.yaml as one command: a nil section is absent, an empty one says "none".
// Policy and Route are absent when nil.
type Document struct {
	Version   int         `json:"version" yaml:"version"`
	Regions   []Region    `json:"regions,omitzero" yaml:"regions"`
	Providers []Provider  `json:"providers,omitzero" yaml:"providers"`
	Models    []Model     `json:"models,omitzero" yaml:"models"`
	Orgs      []Org       `json:"orgs,omitzero" yaml:"orgs"`
	Tenants   []Tenant    `json:"tenants,omitzero" yaml:"tenants"`
	Keys      []Key       `json:"keys,omitzero" yaml:"keys"`
	Limits    []Limit     `json:"limits,omitzero" yaml:"limits"`
	Policy    *Policy     `json:"policy,omitzero" yaml:"policy"`
	Audit     []AuditRule `json:"audit,omitzero" yaml:"audit"`
	Route     *Route      `json:"route,omitzero" yaml:"route"`
}

// Whole returns d with every absent list present and empty, so that applying it with prune makes it
// the entire state (`dev -f`).
func (d Document) Whole() Document {
	d.Regions = present(d.Regions)
	d.Providers = present(d.Providers)
	d.Models = present(d.Models)
	d.Orgs = present(d.Orgs)
	d.Tenants = present(d.Tenants)
	d.Keys = present(d.Keys)
	d.Limits = present(d.Limits)
	d.Audit = present(d.Audit)
	if d.Policy == nil {
		d.Policy = &Policy{}
	}
	if d.Route == nil {
		d.Route = &Route{}
	}
	return d
}

func present[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Public returns p as anybody may see it: no secret value, sealed or not.
func (p Provider) Public() Provider {
	p.Auth.Secrets = append([]Secret(nil), p.Auth.Secrets...)
	for i := range p.Auth.Secrets {
		p.Auth.Secrets[i].Value, p.Auth.Secrets[i].Sealed = "", nil
	}
	return p
}

// Public returns k as anybody may see it: neither secret nor hash.
func (k Key) Public() Key {
	k.Secret, k.Hash, k.PreviousHash = "", nil, nil
	return k
}

// LimitID is the identity of a limit: "TENANT/KEY/MODEL", with "*" for the whole tenant and for all
// models together.
func LimitID(tenant, key, model string) string {
	if key == "" {
		key = "*"
	}
	if model == "" {
		model = "*"
	}
	return tenant + "/" + key + "/" + model
}

// LimitID is the identity of l.
func (l Limit) LimitID() string { return LimitID(l.Tenant, l.Key, l.Model) }
