package edge

import (
	"net/http"
	"slices"

	"github.com/causeway-mesh/causeway/relay/fault"
)

const (
	preflightAge  = "600" // seconds that a browser may keep the answer
	maxAskedNames = 2048  // bytes of Access-Control-Request-Headers
)

// allowOrigin lets a browser read the answer when its origin is one that the tenant permits.
func (s *Server) allowOrigin(x *exchange) {
	origin := x.r.Header.Get("Origin")
	if origin == "" {
		return
	}
	if cors := x.key.Tenant.CORS; slices.Contains(cors, origin) || slices.Contains(cors, "*") {
		exposed(x.w.Header(), origin)
	}
}

// allowStranger lets a browser read why it was refused before anybody knows whose key it has: a page
// would else see a CORS error in place of a 401. It says no more than the preflight has said already,
// that some tenant of this mesh allows the origin, and the answer holds nothing of any tenant.
func (s *Server) allowStranger(x *exchange) {
	if origin := x.r.Header.Get("Origin"); x.key == nil && x.snapshot != nil && x.r.Method != http.MethodOptions && x.snapshot.AllowsOrigin(origin) {
		exposed(x.w.Header(), origin)
	}
}

func exposed(h http.Header, origin string) {
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", "x-causeway-request-id, x-causeway-route, x-causeway-cache, x-causeway-estimate, retry-after")
}

// preflight answers a browser's question whether a page of its origin may call the path (Fetch
// standard, 4.9). It comes without a key, so it is answered for the mesh; the call that follows is
// held to its own tenant's origins. Credentials in the sense of the standard (cookies) are never
// allowed: the key is a header like any other.
func (s *Server) preflight(x *exchange) error {
	origin := x.r.Header.Get("Origin")
	h := x.w.Header()
	if origin == "" {
		h.Set("Allow", x.op.methods)
		return fault.New(fault.MethodNotAllowed, "this path takes %s", x.op.methods)
	}
	h.Add("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	if !x.snapshot.AllowsOrigin(origin) {
		return fault.New(fault.Forbidden, "no tenant of this mesh allows browsers of this origin; ask your administrator to add it to the tenant's cors")
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", x.op.methods)
	if asked := x.r.Header.Get("Access-Control-Request-Headers"); asked != "" && len(asked) <= maxAskedNames && fieldNames(asked) {
		// Vendors' SDKs send headers of their own, and a list of "*" would leave Authorization out.
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", preflightAge)
	x.out.commit(http.StatusNoContent)
	return nil
}

// fieldNames reports whether s is a list of header names and nothing else, fit to be sent back.
func fieldNames(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == ',', c == ' ':
		default:
			return false
		}
	}
	return true
}
