package command

import "errors"

// Tags are append-only: a number once used keeps its meaning.

// errPlain stops a secret from reaching the log unsealed.
var errPlain = errors.New("a plain secret may not be encoded")

func (c *Coder) refusePlain(s string) {
	if c.enc && s != "" && c.err == nil {
		c.err = errPlain
	}
}

// Walk implements Record.
func (r *Region) Walk(c *Coder) {
	c.Str(1, &r.ID)
	c.Str(2, &r.Country)
	c.Float(3, &r.Lat)
	c.Float(4, &r.Lon)
	c.Strs(5, &r.Zones)
	c.Uint(6, &r.Version)
}

// Walk implements Record.
func (p *Provider) Walk(c *Coder) {
	c.Str(1, &p.ID)
	c.Strs(2, &p.Dialects)
	c.Str(3, &p.BaseURL)
	c.Nest(4, &p.Auth)
	c.Strs(5, &p.Processing)
	c.Strs(6, &p.Storage)
	c.Str(7, &p.Terms)
	c.Strs(8, &p.Exits)
	c.Nest(9, &p.Limits)
	c.Nest(10, &p.Timeouts)
	c.Uint(11, &p.Version)
	c.Str(12, &p.Tenant)
	c.Str(13, &p.Vendor)
}

// Walk implements Record.
func (a *Auth) Walk(c *Coder) {
	c.Str(1, &a.Scheme)
	List(c, 2, &a.Secrets)
}

// Walk implements Record. It fails on a plain value.
func (s *Secret) Walk(c *Coder) {
	c.refusePlain(s.Value)
	c.Str(1, &s.ID)
	c.Small(2, &s.Weight)
	c.Bytes(3, &s.Sealed)
	c.Str(4, &s.Fingerprint)
}

// Walk implements Record.
func (l *RateLimit) Walk(c *Coder) {
	c.Int(1, &l.RPM)
	c.Int(2, &l.TPM)
}

// Walk implements Record.
func (t *Timeouts) Walk(c *Coder) {
	c.Dur(1, &t.Connect)
	c.Dur(2, &t.FirstByte)
	c.Dur(3, &t.Gap)
	c.Dur(4, &t.Total)
}

// Walk implements Record.
func (m *Model) Walk(c *Coder) {
	c.Str(1, &m.ID)
	c.Strs(2, &m.Aliases)
	List(c, 3, &m.Targets)
	c.Strs(4, &m.Fallbacks)
	c.Nest(5, &m.Price)
	c.Uint(6, &m.Version)
	c.Int(7, &m.MaxOutput)
}

// Walk implements Record.
func (t *Target) Walk(c *Coder) {
	c.Str(1, &t.Provider)
	c.Str(2, &t.Model)
	c.Small(3, &t.Weight)
	c.Small(4, &t.Tier)
	c.Int(5, &t.MaxOutput)
}

// Walk implements Record.
func (p *Price) Walk(c *Coder) {
	c.Str(1, &p.Input)
	c.Str(2, &p.CachedInput)
	c.Str(3, &p.CacheWrite)
	c.Str(4, &p.Output)
	c.Str(5, &p.Unit)
}

// Walk implements Record.
func (o *Org) Walk(c *Coder) {
	c.Str(1, &o.ID)
	c.Uint(2, &o.Version)
}

// Walk implements Record.
func (t *Tenant) Walk(c *Coder) {
	c.Str(1, &t.ID)
	c.Str(2, &t.Org)
	c.Str(3, &t.Home)
	c.Str(4, &t.Ownership)
	c.Str(5, &t.Class)
	c.Pairs(6, &t.Labels)
	c.Strs(7, &t.CORS)
	c.Uint(8, &t.Version)
}

// Walk implements Record. It fails on a plain secret.
func (k *Key) Walk(c *Coder) {
	c.refusePlain(k.Secret)
	c.Str(1, &k.ID)
	c.Str(2, &k.Tenant)
	c.Strs(3, &k.Models)
	c.Strs(4, &k.IPs)
	c.Bytes(5, &k.Hash)
	c.Bytes(6, &k.PreviousHash)
	c.Int(7, &k.PreviousUntil)
	c.Str(8, &k.Fingerprint)
	c.Bool(9, &k.Revoked)
	c.Uint(10, &k.Version)
}

// Walk implements Record.
func (l *Limit) Walk(c *Coder) {
	c.Str(1, &l.Tenant)
	c.Str(2, &l.Key)
	c.Str(3, &l.Model)
	c.Int(4, &l.RPM)
	c.Int(5, &l.TPM)
	c.Int(6, &l.Concurrency)
	c.Str(7, &l.CutOff)
	c.Uint(8, &l.Version)
}

// Walk implements Record.
func (p *Policy) Walk(c *Coder) {
	c.Str(1, &p.Default)
	c.Dur(2, &p.MaxAge)
	List(c, 3, &p.Rules)
	c.Uint(4, &p.Revision)
}

// Walk implements Record.
func (r *Rule) Walk(c *Coder) {
	c.Str(1, &r.ID)
	c.Nest(2, &r.When)
	c.Strs(3, &r.Allow)
	c.Bool(4, &r.Approval)
	c.Str(5, &r.Audit)
}

// Walk implements Record.
func (w *When) Walk(c *Coder) {
	c.Strs(1, &w.Home)
	c.Strs(2, &w.Class)
	c.Strs(3, &w.Tenant)
	c.Strs(4, &w.Purpose)
	c.Strs(5, &w.Model)
}

// Walk implements Record.
func (a *AuditRule) Walk(c *Coder) {
	c.Str(1, &a.Tenant)
	c.Str(2, &a.Mode)
	c.Str(3, &a.Retain)
	c.Str(4, &a.Content)
	c.Uint(5, &a.Version)
}

// Walk implements Record.
func (r *Route) Walk(c *Coder) {
	c.Str(1, &r.Policy)
	c.Small(2, &r.Attempts)
	c.Nest(3, &r.Hedge)
}

// Walk implements Record.
func (h *Hedge) Walk(c *Coder) { c.Str(1, &h.MaxExtraUSD) }

// Walk implements Record.
func (n *Node) Walk(c *Coder) {
	c.Str(1, &n.ID)
	c.Str(2, &n.Region)
	c.Strs(3, &n.Roles)
	c.Str(4, &n.Addr)
	c.Str(5, &n.State)
	c.Str(6, &n.Serial)
	c.Int(7, &n.NotAfter)
	List(c, 8, &n.Former)
	c.Int(9, &n.JoinedAt)
	c.Str(10, &n.BuildInfo)
	c.Uint(11, &n.Version)
}

// Walk implements Record.
func (r *Certificate) Walk(c *Coder) {
	c.Str(1, &r.Serial)
	c.Int(2, &r.NotAfter)
}

// Walk implements Record.
func (t *Token) Walk(c *Coder) {
	c.Str(1, &t.ID)
	c.Bytes(2, &t.Hash)
	c.Str(3, &t.Region)
	c.Strs(4, &t.Roles)
	c.Str(5, &t.Node)
	c.Int(6, &t.ExpiresAt)
	c.Str(7, &t.CreatedBy)
	c.Str(8, &t.UsedBy)
	c.Int(9, &t.UsedAt)
	c.Uint(10, &t.Version)
}

// Walk implements Record.
func (d *Document) Walk(c *Coder) {
	c.Small(1, &d.Version)
	Section(c, 2, &d.Regions)
	Section(c, 3, &d.Providers)
	Section(c, 4, &d.Models)
	Section(c, 5, &d.Orgs)
	Section(c, 6, &d.Tenants)
	Section(c, 7, &d.Keys)
	Section(c, 8, &d.Limits)
	optional(c, 9, &d.Policy)
	Section(c, 10, &d.Audit)
	optional(c, 11, &d.Route)
}

// optional visits a record whose presence counts, as a list of none or one.
func optional[T any, P walker[T]](c *Coder, tag byte, v **T) {
	var one []T
	if c.enc && *v != nil {
		one = []T{**v}
	}
	List[T, P](c, tag, &one)
	if !c.enc && len(one) > 0 {
		if len(one) > 1 {
			c.fail("field %d: more than one", tag)
		}
		*v = &one[0]
	}
}
