package audit

import (
	"encoding/hex"
	"strconv"
	"unicode/utf8"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/compliance/audit/segment"
)

const (
	maxString = 512 // bytes of one text member; longer ones are cut at a rune
	minString = 32  // the same for a record that would otherwise be too long to keep
	maxID     = 128 // bytes of a tenant or request id
	maxRules  = 32
)

// MaxRoutes is how many routes an intent can name. A caller must not take one beyond them.
const MaxRoutes = 32

// encoder appends canonical JSON. Callers write members in the order of their names, as RFC 8785
// 3.2.3 sorts them; a test holds them to it.
type encoder struct {
	b     []byte
	first bool
	limit int // of one text member, in bytes
}

func (e *encoder) open()  { e.b = append(e.b, '{'); e.first = true }
func (e *encoder) close() { e.b = append(e.b, '}'); e.first = false }

func (e *encoder) key(name string) {
	if !e.first {
		e.b = append(e.b, ',')
	}
	e.first = false
	e.b = append(e.b, '"')
	e.b = append(e.b, name...)
	e.b = append(e.b, '"', ':')
}

// str writes a text member, unless empty.
func (e *encoder) str(name, v string) {
	if v != "" {
		e.key(name)
		e.text(v)
	}
}

func (e *encoder) must(name, v string) { e.key(name); e.text(v) }

// num writes a number, unless zero. Numbers stay below 2^53, where JSON readers agree.
func (e *encoder) num(name string, v int64) {
	if v != 0 {
		e.key(name)
		e.b = strconv.AppendInt(e.b, min(max(v, -1<<53+1), 1<<53-1), 10)
	}
}

func (e *encoder) uint(name string, v uint64) {
	e.key(name)
	e.b = strconv.AppendUint(e.b, min(v, 1<<53-1), 10)
}

func (e *encoder) yes(name string, v bool) {
	if v {
		e.key(name)
		e.b = append(e.b, "true"...)
	}
}

func (e *encoder) hash(name string, h Hash) {
	if h != (Hash{}) {
		e.key(name)
		e.b = append(e.b, '"')
		e.b = hex.AppendEncode(e.b, h[:])
		e.b = append(e.b, '"')
	}
}

func (e *encoder) list(name string, n int, item func(i int)) {
	if n == 0 {
		return
	}
	e.key(name)
	e.b = append(e.b, '[')
	for i := range n {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		item(i)
	}
	e.b = append(e.b, ']')
	e.first = false
}

// text writes a string with RFC 8785's escapes. Invalid UTF-8 becomes U+FFFD.
func (e *encoder) text(s string) {
	s = clip(s, e.limit)
	e.b = append(e.b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				e.b = append(e.b, s[start:i]...)
				e.b = append(e.b, "\uFFFD"...)
				i++
				start = i
				continue
			}
			i += n
			continue
		}
		e.b = append(e.b, s[start:i]...)
		e.b = appendEscape(e.b, c)
		i++
		start = i
	}
	e.b = append(e.b, s[start:]...)
	e.b = append(e.b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\t':
		return append(b, '\\', 't')
	case '\n':
		return append(b, '\\', 'n')
	case '\f':
		return append(b, '\\', 'f')
	case '\r':
		return append(b, '\\', 'r')
	}
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
}

// clip bounds a text, so that no caller can make a record too long to keep.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := limit
	for n > limit-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// encode appends the record in canonical form, never more than segment.MaxRecord bytes of it.
func (r *Record) encode(b []byte) []byte {
	at := len(b)
	if b = r.encodeWithin(b, maxString); len(b)-at > segment.MaxRecord {
		b = r.encodeWithin(b[:at], minString)
	}
	return b
}

func (r *Record) encodeWithin(b []byte, limit int) []byte {
	e := encoder{b: b, limit: limit}
	e.open()
	if c := r.Carry; c != nil {
		e.key("carry")
		c.encode(&e)
	}
	if in := r.Intent; in != nil {
		e.key("intent")
		in.encode(&e)
	}
	e.must("kind", string(r.Kind))
	e.must("log", r.Log)
	if l := r.Loss; l != nil {
		e.key("loss")
		e.open()
		e.uint("records", l.Records)
		e.close()
	}
	if o := r.Outcome; o != nil {
		e.key("outcome")
		o.encode(&e)
	}
	e.hash("prev_tenant_hash", r.Prev)
	if rec := r.Recovery; rec != nil {
		e.key("recovery")
		e.open()
		e.num("open_intents", int64(rec.Open))
		e.str("saved", rec.Saved)
		e.num("torn_bytes", rec.Torn)
		e.close()
	}
	e.uint("seq", r.Seq)
	e.str("tenant", r.Tenant)
	e.uint("tenant_seq", r.TenantSeq)
	e.key("time")
	if r.Time != "" {
		e.text(r.Time)
	} else {
		e.b = append(e.b, '"')
		e.b = r.at.UTC().AppendFormat(e.b, timeLayout)
		e.b = append(e.b, '"')
	}
	e.num("v", int64(r.V))
	e.close()
	return e.b
}

func (in *Intent) encode(e *encoder) {
	e.open()
	e.num("body_bytes", in.Body)
	e.str("class", in.Class)
	e.str("client_country", in.Client)
	e.str("code", in.Code)
	e.must("decision", in.Decision)
	e.str("dialect", in.Dialect)
	e.str("edge_country", in.EdgeCountry)
	e.str("edge_region", in.EdgeRegion)
	e.str("home", in.Home)
	e.str("key", in.Key)
	if in.Mode != compliance.AuditUnset {
		e.must("mode", in.Mode.String())
	}
	e.str("model", in.Model)
	e.str("op", in.Op)
	if in.Revision != 0 {
		e.uint("policy_revision", in.Revision)
	}
	e.hash("prompt", in.Prompt)
	e.str("purpose", in.Purpose)
	e.must("request", in.Request)
	e.list("routes", min(len(in.Routes), MaxRoutes), func(i int) { in.Routes[i].encode(e) })
	e.list("rules", min(len(in.Rules), maxRules), func(i int) { e.text(in.Rules[i]) })
	e.yes("stream", in.Stream)
	e.hash("subject", in.Subject)
	e.str("trace", in.Trace)
	e.str("user_country", in.User)
	e.str("why", in.Why)
	e.close()
}

func (w *Way) encode(e *encoder) {
	e.open()
	e.str("country", w.Country)
	e.str("exit", w.Exit)
	e.must("model", w.Model)
	e.str("processing", w.Processing)
	e.must("provider", w.Provider)
	e.str("region", w.Region)
	e.str("storage", w.Storage)
	e.str("terms", w.Terms)
	e.close()
}

func (o *Outcome) encode(e *encoder) {
	e.open()
	e.num("attempts", int64(o.Attempts))
	e.num("cache_write_tokens", o.CacheWrite)
	e.num("cached_tokens", o.Cached)
	e.str("checked", o.Checked)
	e.str("code", o.Code)
	e.num("cost_nano_usd", o.CostNano)
	e.num("first_byte_us", o.FirstUS)
	e.num("input_tokens", o.Input)
	e.uint("intent_seq", o.IntentSeq)
	e.str("losses", o.Losses)
	e.num("output_tokens", o.Output)
	e.str("processing", o.Processing)
	e.num("reasoning_tokens", o.Reasoning)
	e.must("request", o.Request)
	e.must("result", o.Result)
	e.num("route", int64(o.Route))
	e.num("sent_bytes", o.Sent)
	e.num("status", int64(o.Status))
	e.num("total_us", o.TotalUS)
	e.close()
}

func (c *Carry) encode(e *encoder) {
	e.open()
	e.list("open", len(c.Open), func(i int) {
		e.open()
		e.must("request", c.Open[i].Request)
		e.uint("seq", c.Open[i].Seq)
		e.must("tenant", c.Open[i].Tenant)
		e.close()
	})
	e.uint("part", uint64(c.Part))
	e.uint("parts", uint64(c.Parts))
	e.list("tenants", len(c.Tenants), func(i int) {
		e.open()
		e.hash("last", c.Tenants[i].Last)
		e.uint("next", c.Tenants[i].Next)
		e.must("tenant", c.Tenants[i].Tenant)
		e.close()
	})
	e.close()
}
