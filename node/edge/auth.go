package edge

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/relay/fault"
)

// credential finds the client's key wherever its SDK puts it, whatever the protocol. Where several
// are present the vendor's own header wins over Authorization, as the vendors do it.
func credential(r *http.Request) string {
	for _, name := range [...]string{"X-Api-Key", "X-Goog-Api-Key", "Api-Key"} {
		if v := r.Header.Get(name); v != "" {
			return v
		}
	}
	if v := r.Header.Get("Authorization"); len(v) > 7 && strings.EqualFold(v[:7], "bearer ") {
		return strings.TrimSpace(v[7:])
	}
	if strings.Contains(r.URL.RawQuery, "key") {
		return r.URL.Query().Get("key")
	}
	return ""
}

// authenticate finds who asks. It runs before the body is read, so that a stranger costs nothing.
func (s *Server) authenticate(x *exchange) error {
	secret := credential(x.r)
	if secret == "" {
		return fault.New(fault.Unauthenticated, "no API key: send it as Authorization: Bearer, x-api-key or x-goog-api-key")
	}
	key, ok := x.snapshot.Authenticate(secret, x.start)
	if !ok {
		return fault.New(fault.Unauthenticated, "unknown API key")
	}
	x.key, x.outcome.Tenant, x.outcome.Key = key, key.Tenant.ID, key.ID
	s.allowOrigin(x)
	x.client = s.clientAddr(x.r)
	if !key.MayComeFrom(x.client) {
		return fault.New(fault.Forbidden, "this API key may not be used from this address; ask your administrator to add it to the key's ips")
	}
	x.class = key.Tenant.Class
	if v := x.r.Header.Get("X-Causeway-Class"); v != "" {
		c, err := compliance.ParseClass(v)
		if err != nil {
			return fault.New(fault.Malformed, "x-causeway-class: %v", err)
		}
		x.class = max(x.class, c) // a header may raise, never lower
	}
	return nil
}

// clientAddr is the socket's peer, or, when that is a trusted proxy, the nearest address in
// X-Forwarded-For that is not one: what a client writes into the header itself is never believed.
func (s *Server) clientAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := ap.Addr().Unmap()
	if len(s.cfg.TrustedProxies) == 0 || !s.trusted(addr) {
		return addr
	}
	values := r.Header.Values("X-Forwarded-For")
	for i := len(values) - 1; i >= 0; i-- {
		hops := strings.Split(values[i], ",")
		for j := len(hops) - 1; j >= 0; j-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(hops[j]))
			if err != nil {
				return addr
			}
			addr = hop.Unmap()
			if !s.trusted(addr) {
				return addr
			}
		}
	}
	return addr
}

func (s *Server) trusted(a netip.Addr) bool {
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
