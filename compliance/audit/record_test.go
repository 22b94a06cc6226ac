package audit

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/compliance/audit/segment"
)

func exampleIntent() Intent {
	return Intent{
		Request: "req_01jd", Tenant: "acme", Key: "acme-app", Decision: "allow",
		Dialect: "openai-chat", Op: "chat", Model: "gpt-4o", Stream: true, Body: 412,
		Class: "internal", Home: "EU", Client: "DE", Rules: []string{"eu-export"}, Revision: 17,
		Prompt: LeafHash([]byte("p")), Mode: compliance.AuditBuffer, EdgeRegion: "eu-central", EdgeCountry: "DE",
		Routes: []Way{
			{Exit: "exit-us-1", Region: "us-west", Country: "US", Provider: "openai-us", Model: "gpt-4o", Processing: "US", Storage: "US", Terms: "openai"},
			{Exit: "exit-de-1", Region: "eu-central", Country: "DE", Provider: "fake-de", Model: "gpt-4o", Processing: "DE", Storage: "DE"},
		},
	}
}

func genText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z"\\]{0,12}`),
		rapid.SampledFrom([]string{"", "\x00\x1f\b\t\n\f\r\x7f", "\u2028\u2029 </é漢\U0001F600", "a\xffb\xc3", strings.Repeat("漢", 400)}))
}

func genRecord(t *rapid.T) *Record {
	text := genText()
	num := rapid.Int64Range(0, 1<<53-1)
	r := &Record{
		V: Schema, Log: text.Draw(t, "log"), Seq: uint64(num.Draw(t, "seq")), Tenant: text.Draw(t, "tenant"),
		TenantSeq: uint64(num.Draw(t, "tseq")), at: time.Unix(1e9, num.Draw(t, "ns")),
	}
	if rapid.Bool().Draw(t, "prev") {
		r.Prev = LeafHash([]byte(r.Log))
	}
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		in := exampleIntent()
		in.Request, in.Purpose, in.Why, in.Rules = text.Draw(t, "request"), text.Draw(t, "purpose"), text.Draw(t, "why"), rapid.SliceOfN(text, 0, 4).Draw(t, "rules")
		in.Subject = r.Prev
		in.Routes[0].Exit = text.Draw(t, "exit")
		in.Body, in.Stream = num.Draw(t, "body"), rapid.Bool().Draw(t, "stream")
		in.Mode = Mode(rapid.IntRange(0, 3).Draw(t, "mode"))
		r.Kind, r.Intent = KindIntent, &in
	case 1:
		r.Kind, r.Outcome = KindOutcome, &Outcome{
			Request: text.Draw(t, "request"), Result: ResultOK, Status: 200, Attempts: 2, Route: 1,
			Input: num.Draw(t, "in"), Cached: 1, CacheWrite: 2, Output: num.Draw(t, "out"), Reasoning: 3, CostNano: num.Draw(t, "cost"),
			Sent: 9, FirstUS: 1, TotalUS: 2, Processing: text.Draw(t, "place"), Checked: "verified", Code: text.Draw(t, "code"),
		}
	case 2:
		r.Kind, r.Carry = KindCarry, &Carry{
			Part: 1, Parts: 2, Tenants: []Chain{{Tenant: text.Draw(t, "t"), Next: 3, Last: r.Prev}},
			Open: []OpenIntent{{Seq: 1, Tenant: text.Draw(t, "ot"), Request: text.Draw(t, "or")}},
		}
	case 3:
		r.Kind, r.Recovery = KindRecovery, &Recovery{Torn: 3, Saved: text.Draw(t, "saved"), Open: 2}
	case 4:
		r.Kind, r.Loss = KindLoss, &Loss{Records: 4}
	}
	return r
}

// Every record is RFC 8785 canonical, checked against another implementation, and parses back.
func TestRecordsAreCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRecord(t)
		b := r.encode(nil)
		canonical := jsontext.Value(bytes.Clone(b))
		if err := canonical.Canonicalize(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if !bytes.Equal(canonical, b) {
			t.Fatalf("not canonical:\n%s\n%s", b, canonical)
		}
		got, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if again := got.encode(nil); !bytes.Equal(again, b) {
			t.Fatalf("parsed and encoded again:\n%s\n%s", again, b)
		}
	})
}

func TestRecordRoundTrip(t *testing.T) {
	in := exampleIntent()
	want := Record{
		V: Schema, Kind: KindIntent, Log: "n/e", Seq: 3, Tenant: "acme", TenantSeq: 2, Prev: LeafHash([]byte("x")),
		Time: "2026-11-22T10:00:00.000001Z", Intent: &in,
	}
	got, err := Parse(want.encode(nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Record{})); d != "" {
		t.Error(d)
	}
	if at, err := got.At(); err != nil || at.Nanosecond() != 1000 {
		t.Errorf("time: got %v, %v", at, err)
	}
}

// Members of hostile length cannot make a record that the log cannot keep.
func TestRecordNeverTooLong(t *testing.T) {
	long := strings.Repeat("\x01\"", 1<<16)
	in := Intent{
		Request: long, Key: long, Decision: long, Code: long, Why: long, Dialect: long, Op: long, Model: long, Class: long,
		Home: long, Client: long, User: long, Purpose: long, EdgeRegion: long, EdgeCountry: long, Trace: long,
	}
	for range 1000 {
		in.Rules = append(in.Rules, long)
		in.Routes = append(in.Routes, Way{long, long, long, long, long, long, long, long})
	}
	c := newChains()
	for i := range 1000 {
		name := clip(string(rune(i+0x4e00))+long, maxID)
		c.tenants[name] = Chain{Tenant: name, Next: 1 << 60, Last: LeafHash(nil)}
		c.open[uint64(i)] = OpenIntent{Seq: 1 << 60, Tenant: name, Request: clip(long, maxID)}
	}
	records := []*Record{{Kind: KindIntent, Intent: &in, Log: long, Tenant: long}}
	for _, part := range c.carries() {
		records = append(records, &Record{Kind: KindCarry, Carry: part, Log: clip(long, maxID) + "/0123456789abcdef"})
	}
	for _, r := range records {
		r.V = Schema
		b := r.encode(nil)
		if len(b) > segment.MaxRecord {
			t.Errorf("%s: %d bytes", r.Kind, len(b))
		}
		got, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", r.Kind, err)
		}
		if r.Carry != nil && !cmp.Equal(got.Carry, r.Carry, cmpopts.EquateEmpty(), cmp.Transformer("cap", func(n uint64) uint64 { return min(n, 1<<53-1) })) {
			t.Errorf("a carried state was clipped")
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ why, in string }{
		{"unknown member", `{"v":1,"kind":"loss","loss":{"records":1},"extra":1}`},
		{"duplicate member", `{"v":1,"v":1,"kind":"loss","loss":{"records":1}}`},
		{"another schema", `{"v":2,"kind":"loss","loss":{"records":1}}`},
		{"kind without its member", `{"v":1,"kind":"intent","loss":{"records":1}}`},
		{"two bodies", `{"v":1,"kind":"loss","loss":{"records":1},"carry":{"part":1,"parts":1}}`},
		{"invalid UTF-8", "{\"v\":1,\"kind\":\"loss\",\"log\":\"\xff\",\"loss\":{\"records\":1}}"},
		{"hash too short", `{"v":1,"kind":"loss","loss":{"records":1},"prev_tenant_hash":"00"}`},
	} {
		if _, err := Parse([]byte(tt.in)); err == nil {
			t.Errorf("%s: accepted", tt.why)
		}
	}
}

// RFC 6962 2.1.1 test: the hash of a leaf is SHA-256 of a zero byte and the leaf; for the empty leaf
// the value is that of certificate-transparency's own test vectors.
func TestLeafHash(t *testing.T) {
	if got, want := LeafHash(nil).String(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var l leafHasher
	if l.sum([]byte("abc")) != LeafHash([]byte("abc")) {
		t.Error("the log hashes otherwise")
	}
}

// prompt hashes text in pieces: how a body arrives does not matter.
func prompt(h *Hasher, tenant string, text []byte) Hash {
	p := h.Prompt(tenant)
	for _, b := range text {
		p.Write([]byte{b})
	}
	return p.Sum()
}

func TestHasherSeparates(t *testing.T) {
	h, other := NewHasher([]byte("pepper")), NewHasher([]byte("another"))
	a := prompt(h, "acme", []byte("hello"))
	if !a.Equal(prompt(h, "acme", []byte("hello"))) {
		t.Error("not deterministic")
	}
	for why, b := range map[string]Hash{
		"tenants": prompt(h, "other", []byte("hello")), "domains": h.Subject("acme", "hello"),
		"peppers": prompt(other, "acme", []byte("hello")), "texts": prompt(h, "acme", []byte("hellO")),
	} {
		if a.Equal(b) {
			t.Errorf("two %s give one hash", why)
		}
	}
	whole := h.Prompt("acme")
	whole.Write([]byte("hello"))
	if !a.Equal(whole.Sum()) {
		t.Error("pieces and the whole differ")
	}
	if h.Subject("acme", "") != (Hash{}) {
		t.Error("no subject has a hash")
	}
}

func FuzzParse(f *testing.F) {
	in := exampleIntent()
	for _, r := range []*Record{
		{Kind: KindIntent, Intent: &in},
		{Kind: KindOutcome, Outcome: &Outcome{Result: ResultOK}},
		{Kind: KindCarry, Carry: &Carry{Part: 1, Parts: 1, Open: []OpenIntent{{Seq: 1}}}},
		{Kind: KindLoss, Loss: &Loss{}},
	} {
		r.V = Schema
		f.Add(r.encode(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		again := r.encode(nil)
		if len(again) > segment.MaxRecord {
			t.Fatalf("%d bytes", len(again))
		}
		if v := jsontext.Value(bytes.Clone(again)); v.Canonicalize() != nil || !bytes.Equal(v, again) {
			t.Fatalf("not canonical: %s", again)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	in := exampleIntent()
	r := Record{
		V: Schema, Kind: KindIntent, Log: "eu-edge-1/0123456789abcdef", Seq: 12345, Tenant: "acme", TenantSeq: 99,
		Prev: LeafHash(nil), Intent: &in, at: time.Unix(1763800000, 1),
	}
	buf := r.encode(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = r.encode(buf[:0])
	}
}
