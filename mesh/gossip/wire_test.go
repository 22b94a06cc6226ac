package gossip

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/probe"
)

func TestMetaRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.Rune(), 0, 60, 100)
		want := Meta{
			ID: identity.NodeID("n" + s.Draw(t, "id")), Region: s.Draw(t, "region"),
			Roles: identity.Role(rapid.Byte().Draw(t, "roles")), Addr: s.Draw(t, "addr"), Build: s.Draw(t, "build"),
		}
		b, err := appendMeta(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseMeta(append(b, "a later version's field"...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
	for _, m := range []Meta{
		{ID: identity.NodeID(strings.Repeat("x", 300))},
		{ID: "n", Region: strings.Repeat("x", 255), Addr: strings.Repeat("x", 255)},
	} {
		if b, err := appendMeta(nil, m); err == nil {
			t.Errorf("a meta of %d bytes was made, memberlist panics over 512", len(b))
		}
	}
}

// The stated precision: what a byte cannot hold is rounded by at most 4.5 %, and what is exact is exact.
func TestRecordPrecision(t *testing.T) {
	near := func(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance }
	rapid.Check(t, func(t *rapid.T) {
		ratio := rapid.Float64Range(0, 1)
		ms := func(what string, unit time.Duration, most int64) time.Duration {
			return time.Duration(rapid.Int64Range(0, most).Draw(t, what)) * unit
		}
		want := Record{
			Load: rapid.Byte().Draw(t, "load"), Draining: rapid.Bool().Draw(t, "drain"),
			Peers: []PeerSample{{
				Node: Short("n1"), RTT: ms("rtt", 100*time.Microsecond, 65535), Jitter: ms("jitter", 100*time.Microsecond, 60000),
				Loss: ratio.Draw(t, "loss"), Age: ms("age", 100*time.Millisecond, 60000),
			}},
			Providers: []ProviderSample{{
				Provider: Short("p1"), TTFT: ms("ttft", time.Millisecond, 65535), Connect: ms("connect", time.Millisecond, 60000),
				ErrorRate: ratio.Draw(t, "errors"), State: probe.HalfOpen,
			}},
		}
		_, _, got, err := parseRecord(appendRecord(nil, "n", 1, want))
		if err != nil {
			t.Fatal(err)
		}
		p, q := got.Peers[0], want.Peers[0]
		if p.RTT != q.RTT || p.Node != q.Node || !near(float64(p.Jitter), float64(q.Jitter), 0.045*float64(q.Jitter)+5e4) ||
			!near(p.Loss, q.Loss, 0.045*q.Loss+1e-5) || !near(float64(p.Age), float64(q.Age), 0.045*float64(q.Age)+5e7) {
			t.Errorf("peer %+v became %+v", q, p)
		}
		v, w := got.Providers[0], want.Providers[0]
		if v.TTFT != w.TTFT || v.Provider != w.Provider || v.State != w.State || !near(v.ErrorRate, w.ErrorRate, 0.045*w.ErrorRate+1e-5) ||
			!near(float64(v.Connect), float64(w.Connect), 0.045*float64(w.Connect)+5e5) {
			t.Errorf("provider %+v became %+v", w, v)
		}
		if got.Load != want.Load || got.Draining != want.Draining {
			t.Errorf("%+v became %+v", want, got)
		}
	})
}

func TestFullestRecordFitsAPacket(t *testing.T) {
	rec := Record{Peers: make([]PeerSample, 50), Providers: make([]ProviderSample, 50)}
	id := identity.NodeID(strings.Repeat("n", 63)) // the longest that a certificate takes
	b := appendRecord(nil, id, 1<<63, rec)
	if len(b) > 600 {
		t.Errorf("%d bytes", len(b))
	}
	_, _, got, err := parseRecord(b)
	if err != nil || len(got.Peers) != maxPeers || len(got.Providers) != maxProviders {
		t.Errorf("%d peers, %d providers, %v", len(got.Peers), len(got.Providers), err)
	}
	if recordMax > packetSize-50 {
		t.Errorf("a record of %d bytes would never leave memberlist's queue", recordMax)
	}
	typical := appendRecord(nil, "exit-us-west-1", 1<<50, Record{Peers: make([]PeerSample, 5), Providers: make([]ProviderSample, 4)})
	t.Logf("fullest %d bytes, of a six-node mesh %d", len(b), len(typical))
}

func TestLogScaleIsItsOwnInverse(t *testing.T) {
	for i := range 256 {
		if got := packLog(unpackLog(byte(i))); got != byte(i) {
			t.Errorf("byte %d comes back as %d: a relayed record would drift", i, got)
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 1e300} {
		if b := packLog(v); b != 0 && b != 255 {
			t.Errorf("packLog(%v) = %d", v, b)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(appendRecord(nil, "n1", 7, Record{
		Load: 3, Draining: true,
		Peers:     []PeerSample{{Node: 1, RTT: time.Second, Loss: 0.5}},
		Providers: []ProviderSample{{Provider: 2, TTFT: time.Second, State: probe.Open}},
	}))
	f.Add([]byte{1})
	f.Add([]byte{2, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		origin, seq, rec, err := parseRecord(b)
		if err != nil {
			return
		}
		again := appendRecord(nil, origin, seq, rec)
		o2, s2, rec2, err := parseRecord(again)
		if err != nil || o2 != origin || s2 != seq {
			t.Fatalf("%q %d became %q %d: %v", origin, seq, o2, s2, err)
		}
		if diff := cmp.Diff(rec, rec2); diff != "" {
			t.Fatalf("not stable (-first +second):\n%s", diff)
		}
		if len(again) > recordMax {
			t.Fatalf("%d bytes", len(again))
		}
	})
}

func FuzzParseMeta(f *testing.F) {
	b, err := appendMeta(nil, Meta{ID: "n1", Region: "r", Addr: "1.2.3.4:7701", Build: "dev"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMeta(b)
		if err != nil {
			return
		}
		again, err := appendMeta(nil, m)
		if err != nil || !bytes.HasPrefix(b, again) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
	})
}

func FuzzEachRecord(f *testing.F) {
	f.Add(appendList(appendList(nil, []byte("abc")), nil))
	f.Add([]byte{255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		eachRecord(b, func(r []byte) { total += 2 + len(r) })
		if total > len(b) {
			t.Fatalf("%d bytes of records in %d", total, len(b))
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	rec := Record{Peers: make([]PeerSample, 32), Providers: make([]ProviderSample, 24)}
	buf := appendRecord(nil, "n1", 1, rec)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendRecord(buf[:0], "n1", 1, rec)
		if _, _, _, err := parseRecord(buf); err != nil {
			b.Fatal(err)
		}
	}
}
