package edge

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/causeway-mesh/causeway/geo"
)

// clientID is the client's own id for the request, for its side's logs.
func clientID(h http.Header) string {
	for _, name := range [...]string{"X-Request-Id", "X-Client-Request-Id"} {
		if v := h.Get(name); v != "" {
			return printable(cut(v, 128))
		}
	}
	return ""
}

// session is the client's own id of the session that the request belongs to: Claude Code's, Codex's.
func session(h http.Header) string {
	for _, name := range [...]string{"X-Claude-Code-Session-Id", "Session-Id"} {
		if v := h.Get(name); v != "" {
			return printable(cut(v, 128))
		}
	}
	return ""
}

// clientRetry is how often the client's SDK says that it has tried before.
func clientRetry(h http.Header) int {
	n, err := strconv.ParseUint(h.Get("X-Stainless-Retry-Count"), 10, 8)
	if err != nil {
		return 0
	}
	return int(n)
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// traceparent continues the client's trace, or begins one (W3C Trace Context, version 00). The
// parent id is ours from here on.
func traceparent(h http.Header) string {
	var id [24]byte
	rand.Read(id[:])
	var out [55]byte
	copy(out[:], "00-")
	flags := "00"
	if v := h.Get("Traceparent"); validTraceparent(v) {
		copy(out[3:35], v[3:35])
		flags = v[53:55]
	} else {
		hex.Encode(out[3:35], id[:16])
	}
	out[35] = '-'
	hex.Encode(out[36:52], id[16:])
	out[52] = '-'
	copy(out[53:], flags)
	return string(out[:])
}

func validTraceparent(v string) bool {
	if len(v) != 55 || v[:3] != "00-" || v[35] != '-' || v[52] != '-' {
		return false
	}
	for i := 3; i < len(v); i++ {
		c := v[i]
		if i == 35 || i == 52 {
			continue
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return v[3:35] != strings.Repeat("0", 32) && v[36:52] != strings.Repeat("0", 16)
}

// checked compares where a provider says that it processed with where it was declared to.
func checked(said string, r *route) string {
	if said == "" {
		return "claimed" // the declaration is all there is
	}
	set, err := geo.ParseCountrySet([]string{strings.ToUpper(said)})
	switch {
	case err != nil:
		return "claimed"
	case r.target.Provider.Processing.Covers(set):
		return "verified"
	default:
		return "violated"
	}
}
