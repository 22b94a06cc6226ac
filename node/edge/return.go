package edge

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// uploadToken is the query parameter in which a client brings back where its upload goes on.
const uploadToken = "causeway_upload"

const uploadHeader = "X-Goog-Upload-Url"

// openUpload reads where an upload goes on. Only what this edge or another sealed is followed, and only
// to the account that it was sealed for: the token holds a path, never a host.
func (s *Server) openUpload(x *exchange) error {
	if !x.op.pass.Upload || !strings.Contains(x.r.URL.RawQuery, uploadToken) {
		return nil
	}
	q := x.r.URL.Query()
	provider, target, ok := s.tokens(x).openURL(x.key.Tenant.ID, q.Get(uploadToken), x.start)
	p := x.snapshot.Providers[provider]
	if !ok || p == nil || len(q[uploadToken]) > 1 || x.only != nil && x.only != p {
		return fault.New(fault.ResourceNotFound, "this upload has expired, or it was not begun here by this tenant")
	}
	x.only = p
	x.op.path, x.op.query, _ = strings.Cut(target, "?")
	x.op.resumed = true
	return nil
}

// sendBack makes the header that tells where an upload goes on point here. A provider that names
// another host than its own is not followed.
func (s *Server) sendBack(x *exchange, r *route, reply *tunnel.Reply) error {
	if x.op.pass == nil || x.op.op != llm.OpStored {
		return nil
	}
	kept := make([]tunnel.Field, 0, len(reply.Header))
	for _, f := range reply.Header {
		switch http.CanonicalHeaderKey(f.Name) {
		case "Location", "Content-Location", "X-Goog-Upload-Control-Url":
			continue
		case uploadHeader:
			target, ok := below(r.target.Provider.Spec.BaseURL, x.op.pass.Pattern, f.Value)
			if !ok || !x.op.pass.Upload {
				return fault.New(fault.UpstreamProtocol, "the provider wants the upload to go on at another place than its own").At(fault.Sent)
			}
			token := s.tokens(x).sealURL(x.key.Tenant.ID, r.target.Provider.ID, target, x.start)
			f.Value = s.self(x) + x.op.pass.Pattern + "?" + uploadToken + "=" + token
		}
		kept = append(kept, f)
	}
	reply.Header = kept
	return nil
}

// below gives the path and query of an upload URL as they follow the base URL. Its path must be the one
// where the upload began: exits take no other.
func below(base, pattern, target string) (string, bool) {
	b, err := url.Parse(base)
	if err != nil {
		return "", false
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != b.Scheme || u.Host != b.Host || u.User != nil || u.Opaque != "" {
		return "", false
	}
	path, ok := strings.CutPrefix(u.Path, strings.TrimSuffix(b.Path, "/"))
	if !ok || path != pattern {
		return "", false
	}
	return path + "?" + u.RawQuery, true
}

// self is this edge as the client addressed it, up to where the API's own paths begin.
func (s *Server) self(x *exchange) string {
	scheme := "http"
	peer, err := netip.ParseAddrPort(x.r.RemoteAddr)
	if x.r.TLS != nil || err == nil && s.trusted(peer.Addr().Unmap()) && x.r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + x.r.Host + x.op.prefix
}

// relink makes the addresses of results in Anthropic's batches point here: its SDK follows them, and
// would else send the client's key for this mesh to the vendor.
func (s *Server) relink(x *exchange, doc []byte) []byte {
	var at [2]splice.Span
	if !dialect.Find(doc, []string{"results_url", "data"}, at[:]) {
		return doc
	}
	var edits []splice.Edit
	link := func(v []byte, from int) {
		if len(v) < 2 || v[0] != '"' {
			return
		}
		text := []byte("null")
		if _, path, ok := strings.Cut(dialect.Unquote(v), "/v1/messages/batches/"); ok {
			text = []byte(dialect.Quote(s.self(x) + "/v1/messages/batches/" + path))
		}
		edits = append(edits, splice.Edit{Span: splice.Span{Start: from, End: from + len(v)}, Text: text})
	}
	link(at[0].Of(doc), at[0].Start)
	for c := dialect.Walk(at[1].Of(doc)); c.Next(); {
		var url [1]splice.Span
		if dialect.Find(c.Value, []string{"results_url"}, url[:]) {
			link(url[0].Of(c.Value), at[1].Start+c.Offset()+url[0].Start)
		}
	}
	slices.SortFunc(edits, byStart)
	return splice.Apply(doc, edits)
}

// whole changes what must be changed in a whole answer before the client sees it.
func (s *Server) whole(x *exchange, m *marker, doc []byte) []byte {
	switch {
	case m != nil:
		return m.whole(doc)
	case x.op.pass != nil && x.op.pass.Links:
		return s.relink(x, doc)
	}
	return doc
}
