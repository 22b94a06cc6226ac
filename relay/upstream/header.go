package upstream

import (
	"iter"
	"net/http"
	"net/textproto"
	"strings"
)

// Forwardable reports whether a client's header may reach the provider (DESIGN.md 4.3): no
// credentials, hop-by-hop, cookie or forwarding fields, none that changes the method, and none of our own. The edge has filtered
// already; a credential that slipped through there must still not leave here.
func Forwardable(name string) bool {
	var b [24]byte // longer than any of these
	if len(name) > len(b) {
		return !hasPrefixFold(name, "x-causeway-") && !hasPrefixFold(name, "x-forwarded-")
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b[i] = c
	}
	switch string(b[:len(name)]) {
	case "authorization", "x-api-key", "x-goog-api-key", "api-key", "proxy-authorization", "cookie", "cookie2",
		"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect",
		"host", "content-length", "accept-encoding",
		"forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip",
		"x-http-method", "x-http-method-override", "x-method-override": // what was decided on is what is asked for
		return false
	}
	return !hasPrefixFold(name, "x-causeway-") && !hasPrefixFold(name, "x-forwarded-")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// answerDropped are fields of an answer that concern one connection only, or that name the
// operator's account at the provider.
var answerDropped = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Set-Cookie", "Alt-Svc", "Strict-Transport-Security",
	"Openai-Organization", "Openai-Project", "Anthropic-Organization-Id",
}

// HopByHop gives the fields that Connection names, in canonical form: they end here (RFC 9110 7.6.1).
// What says how a body is to be read belongs to the message and cannot be named away.
func HopByHop(h http.Header) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, v := range h["Connection"] {
			for option := range strings.SplitSeq(v, ",") {
				option = textproto.TrimString(option)
				if option == "" || strings.EqualFold(option, "close") || strings.EqualFold(option, "keep-alive") {
					continue // nearly every message that has the field
				}
				name := http.CanonicalHeaderKey(option)
				if name != "Content-Type" && name != "Content-Encoding" && !yield(name) {
					return
				}
			}
		}
	}
}

func cleanAnswer(h http.Header) {
	for name := range HopByHop(h) {
		delete(h, name)
	}
	for _, name := range answerDropped {
		delete(h, name)
	}
}

// QueryWithoutKey removes every `key` parameter: it is the client's credential. The rest keeps its
// bytes and order.
func QueryWithoutKey(q string) string {
	if !strings.Contains(strings.ToLower(q), "k") && !strings.Contains(q, "%") {
		return q
	}
	var out []string
	for part := range strings.SplitSeq(q, "&") {
		name, _, _ := strings.Cut(part, "=")
		if isKeyParam(name) {
			continue
		}
		out = append(out, part)
	}
	return strings.Join(out, "&")
}

// isKeyParam also sees through escapes: %6Bey is key.
func isKeyParam(name string) bool {
	for _, want := range []byte("key") {
		switch {
		case name == "":
			return false
		case name[0] == want:
			name = name[1:]
		case len(name) >= 3 && name[0] == '%' && unhex(name[1])<<4|unhex(name[2]) == want:
			name = name[3:]
		default:
			return false
		}
	}
	return name == ""
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xF0
}
