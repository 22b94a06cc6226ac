package api

import (
	"crypto/rand"
	"encoding/base32"
	"hash/crc32"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/manifest"
	"github.com/causeway-mesh/causeway/coordinator/seal"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

// named takes the id from the path and refuses another one in the body.
func named(sort command.Sort, id *string, path string) *Problem {
	if *id != "" && *id != path {
		return problem("invalid", "the body names %s %q, the path %q", sort.One(), *id, path).at("id")
	}
	*id = path
	return nil
}

func regions() resource[state.Region] {
	return resource[state.Region]{
		sort:  command.Regions,
		table: func(s *state.Snapshot) state.Table[state.Region] { return s.Regions },
		id:    func(v *state.Region) string { return v.ID },
		setID: func(v *state.Region, id string) *Problem { return named(command.Regions, &v.ID, id) },
		ver:   func(v *state.Region) uint64 { return v.Version },
		prep:  (*Server).checkRegion,
		put:   func(v state.Region) command.Body { return &command.PutRegion{Region: v} },
	}
}

func orgs() resource[state.Org] {
	return resource[state.Org]{
		sort:  command.Orgs,
		table: func(s *state.Snapshot) state.Table[state.Org] { return s.Orgs },
		id:    func(v *state.Org) string { return v.ID },
		setID: func(v *state.Org, id string) *Problem { return named(command.Orgs, &v.ID, id) },
		ver:   func(v *state.Org) uint64 { return v.Version },
		put:   func(v state.Org) command.Body { return &command.PutOrg{Org: v} },
	}
}

func tenants() resource[state.Tenant] {
	return resource[state.Tenant]{
		sort:  command.Tenants,
		table: func(s *state.Snapshot) state.Table[state.Tenant] { return s.Tenants },
		id:    func(v *state.Tenant) string { return v.ID },
		setID: func(v *state.Tenant, id string) *Problem { return named(command.Tenants, &v.ID, id) },
		ver:   func(v *state.Tenant) uint64 { return v.Version },
		see:   func(c caller, v *state.Tenant) bool { return c.own(v.ID) == nil },
		prep:  (*Server).checkTenant,
		put:   func(v state.Tenant) command.Body { return &command.PutTenant{Tenant: v} },
	}
}

func keys() resource[state.Key] {
	return resource[state.Key]{
		sort:  command.Keys,
		table: func(s *state.Snapshot) state.Table[state.Key] { return s.Keys },
		id:    func(v *state.Key) string { return v.ID },
		setID: func(v *state.Key, id string) *Problem { return named(command.Keys, &v.ID, id) },
		ver:   func(v *state.Key) uint64 { return v.Version },
		show:  state.Key.Public,
		see:   func(c caller, v *state.Key) bool { return c.own(v.Tenant) == nil },
		may:   func(c caller, v *state.Key) *Problem { return c.own(v.Tenant) },
		prep:  (*Server).hashKey,
		put:   func(v state.Key) command.Body { return &command.PutKey{Key: v} },
	}
}

func providers() resource[state.Provider] {
	return resource[state.Provider]{
		sort:  command.Providers,
		table: func(s *state.Snapshot) state.Table[state.Provider] { return s.Providers },
		id:    func(v *state.Provider) string { return v.ID },
		setID: func(v *state.Provider, id string) *Problem { return named(command.Providers, &v.ID, id) },
		ver:   func(v *state.Provider) uint64 { return v.Version },
		show:  state.Provider.Public,
		prep:  (*Server).sealProvider,
		put:   func(v state.Provider) command.Body { return &command.PutProvider{Provider: v} },
	}
}

func models() resource[state.Model] {
	return resource[state.Model]{
		sort:  command.Models,
		table: func(s *state.Snapshot) state.Table[state.Model] { return s.Models },
		id:    func(v *state.Model) string { return v.ID },
		setID: func(v *state.Model, id string) *Problem { return named(command.Models, &v.ID, id) },
		ver:   func(v *state.Model) uint64 { return v.Version },
		prep:  (*Server).checkModel,
		put:   func(v state.Model) command.Body { return &command.PutModel{Model: v} },
	}
}

func limits() resource[state.Limit] {
	return resource[state.Limit]{
		sort:  command.Limits,
		table: func(s *state.Snapshot) state.Table[state.Limit] { return s.Limits },
		id:    func(v *state.Limit) string { return v.LimitID() },
		setID: limitID,
		ver:   func(v *state.Limit) uint64 { return v.Version },
		see:   func(c caller, v *state.Limit) bool { return c.own(v.Tenant) == nil },
		may:   mayLimit,
		prep:  (*Server).checkLimit,
		put:   func(v state.Limit) command.Body { return &command.PutLimit{Limit: v} },
	}
}

// limitID reads "TENANT/KEY/MODEL", with "*" for all.
func limitID(v *state.Limit, id string) *Problem {
	part := strings.SplitN(id, "/", 3)
	if len(part) != 3 {
		return problem("invalid", "a limit's id is TENANT/KEY/MODEL with * for all, each / written %%2F").at("id")
	}
	if v.Tenant == "" {
		v.Tenant = part[0]
	}
	if v.Key == "" && part[1] != "*" {
		v.Key = part[1]
	}
	if v.Model == "" {
		v.Model = part[2]
	}
	if v.LimitID() != id {
		return problem("invalid", "the body names limit %q, the path %q", v.LimitID(), id).at("id")
	}
	return nil
}

// mayLimit: a tenant-admin divides among the tenant's keys what the tenant as a whole was given.
func mayLimit(c caller, v *state.Limit) *Problem {
	if p := c.own(v.Tenant); p != nil {
		return p
	}
	if c.role == RoleTenantAdmin && (v.Key == "" || v.Key == "*") {
		return problem("forbidden", "%s may set the limits of keys, not of the whole tenant", c.actor)
	}
	return nil
}

// hashKey replaces a key's secret by its keyed hash.
func (s *Server) hashKey(c *call, k *state.Key) *Problem {
	k.Hash, k.PreviousHash, k.PreviousUntil, k.Fingerprint, k.Revoked = nil, nil, 0, "", false
	if k.Secret == "" {
		return nil // an existing key keeps its secret
	}
	if len(k.Secret) < manifest.MinSecret && !s.cfg.Dev {
		return problem("invalid", "a key secret has at least %d characters; leave it out to have one made", manifest.MinSecret).at("secret")
	}
	pepper, err := s.pepperOf(s.cfg.Consensus.Snapshot())
	if err != nil {
		s.cfg.Log.Error().Err(err).Msg("open pepper")
		return problem("internal", "the cluster's key pepper cannot be opened")
	}
	sum := seal.HashKey(pepper, k.Secret)
	k.Hash, k.Fingerprint, k.Secret = sum[:], seal.Fingerprint(k.Secret), ""
	return nil
}

// sealProvider encrypts the credentials of a provider. Those without a value stay as they are.
func (s *Server) sealProvider(_ *call, v *state.Provider) *Problem {
	if p := s.check(state.Document{Providers: []state.Provider{*v}}); p != nil {
		return p
	}
	s.sealSecrets(v)
	return nil
}

func (s *Server) sealSecrets(v *state.Provider) {
	for i := range v.Auth.Secrets {
		x := &v.Auth.Secrets[i]
		x.Sealed, x.Fingerprint = nil, ""
		if x.Value == "" {
			continue
		}
		x.Sealed = s.cfg.Vault.Sealer.Seal([]byte(PlaceSecret(v.ID, x.ID)), []byte(x.Value))
		x.Fingerprint, x.Value = seal.Fingerprint(x.Value), ""
	}
}

func (s *Server) checkRegion(_ *call, v *state.Region) *Problem {
	return s.check(state.Document{Regions: []state.Region{*v}})
}

func (s *Server) checkTenant(_ *call, v *state.Tenant) *Problem {
	return s.check(state.Document{Tenants: []state.Tenant{*v}})
}

func (s *Server) checkModel(_ *call, v *state.Model) *Problem {
	return s.check(state.Document{Models: []state.Model{*v}})
}

func (s *Server) checkLimit(_ *call, v *state.Limit) *Problem {
	return s.check(state.Document{Limits: []state.Limit{*v}})
}

// newSecret makes a key secret: cw_ID_SECRET_CRC. The checksum lets typos and secret scanners be
// told apart from keys without a lookup.
func newSecret(id string) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var b strings.Builder
	b.WriteString("cw_")
	sum := crc32.ChecksumIEEE([]byte(id))
	b.WriteString(strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})))
	b.WriteByte('_')
	for range 43 { // 256 bits
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil { // crypto/rand does not fail
			panic(err)
		}
		b.WriteByte(alphabet[n.Int64()])
	}
	crc := crc32.ChecksumIEEE([]byte(b.String()))
	b.WriteByte('_')
	for range 6 {
		b.WriteByte(alphabet[crc%uint32(len(alphabet))])
		crc /= uint32(len(alphabet))
	}
	return b.String()
}

// withSecret is the one answer that holds a key's secret: to the call that made it.
type withSecret struct {
	state.Key
	Secret string `json:"secret,omitempty"`
}

// createKey makes a key, with a generated secret when none is given.
func (s *Server) createKey(c *call) *Problem {
	var k state.Key
	if p := decode(c.body, &k); p != nil {
		return p
	}
	if p := c.who.own(k.Tenant); p != nil {
		return p
	}
	if k.ID == "" {
		return problem("invalid", "a key needs an id").at("id")
	}
	secret := k.Secret
	if secret == "" {
		secret = newSecret(k.ID)
		k.Secret = secret
	}
	if p := s.hashKey(c, &k); p != nil {
		return p
	}
	c.r.Header.Set("If-None-Match", "*")
	res, p := s.propose(c, &command.PutKey{Key: k})
	if p != nil {
		if p.Code == "precondition_failed" {
			return problem("conflict", "key %q exists; rotate it to get a new secret", k.ID)
		}
		return p
	}
	return s.keyAnswer(c, res, k.ID, secret, http.StatusCreated)
}

// keyAnswer shows the secret once: a replayed answer cannot, since nobody keeps it.
func (s *Server) keyAnswer(c *call, res state.Result, id, secret string, status int) *Problem {
	k, ok := c.snap.Keys.Get(id)
	if !ok {
		return problem("not_found", "key %q was deleted meanwhile", id)
	}
	if res.Replayed {
		secret = ""
	}
	return s.reply(c, status, withSecret{Key: k.Public(), Secret: secret})
}

type rotateRequest struct {
	Secret string         `json:"secret,omitempty"`
	Keep   state.Duration `json:"keep,omitzero"` // how long the former secret stays good
}

// rotateKey gives a key a new secret; the former one stays good for `keep` (default 24 h, "0s" ends it).
func (s *Server) rotateKey(c *call) *Problem {
	k, p := keys().get(c)
	if p != nil {
		return p
	}
	req := rotateRequest{Keep: state.Duration(24 * time.Hour)}
	if len(c.body) > 0 {
		if p := decode(c.body, &req); p != nil {
			return p
		}
	}
	if req.Keep.D() > 30*24*time.Hour {
		return problem("invalid", "a former secret stays good for 30 days at most").at("keep")
	}
	secret := req.Secret
	if secret == "" {
		secret = newSecret(k.ID)
	}
	next := state.Key{ID: k.ID, Secret: secret}
	if p := s.hashKey(c, &next); p != nil {
		return p
	}
	body := &command.RotateKey{ID: k.ID, Hash: next.Hash, Fingerprint: next.Fingerprint}
	if req.Keep > 0 {
		body.KeepUntil = time.Now().Add(req.Keep.D()).Unix()
	}
	res, p := s.propose(c, body)
	if p != nil {
		return p
	}
	return s.keyAnswer(c, res, k.ID, secret, http.StatusOK)
}

func (s *Server) revokeKey(c *call) *Problem {
	if _, p := keys().get(c); p != nil {
		return p
	}
	res, p := s.propose(c, &command.RevokeKey{ID: c.id})
	if p != nil {
		return p
	}
	return keys().written(s, c, res)
}

func (s *Server) getPolicy(c *call) *Problem { return s.reply(c, http.StatusOK, c.snap.Policy) }

func (s *Server) putPolicy(c *call) *Problem {
	var v state.Policy
	if p := decode(c.body, &v); p != nil {
		return p
	}
	v.Revision = 0
	if p := s.check(state.Document{Policy: &v}); p != nil {
		return p
	}
	if _, p := s.propose(c, &command.PutPolicy{Policy: v}); p != nil {
		return p
	}
	return s.reply(c, http.StatusOK, c.snap.Policy)
}

// deletePolicy goes back to "allow all".
func (s *Server) deletePolicy(c *call) *Problem {
	if _, p := s.propose(c, &command.Delete{Sort: command.Policies}); p != nil {
		return p
	}
	return s.empty(c, http.StatusNoContent)
}
