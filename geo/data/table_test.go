package data

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var built = time.Date(2026, 6, 25, 4, 33, 59, 0, time.UTC)

func mustOpen(t testing.TB, ranges []Range) *Table {
	t.Helper()
	blob, err := Build(ranges, built)
	if err != nil {
		t.Fatal(err)
	}
	table, err := Open(string(blob))
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Verify(); err != nil {
		t.Fatal(err)
	}
	return table
}

func rng(first, last, code string) Range {
	return Range{netip.MustParseAddr(first), netip.MustParseAddr(last), code}
}

func TestLookup(t *testing.T) {
	table := mustOpen(t, []Range{
		rng("1.0.0.0", "1.0.0.255", "AU"),
		rng("1.0.1.0", "1.3.255.255", "CN"),
		rng("9.0.0.0", "9.255.255.255", "US"),
		rng("200.1.2.3", "200.1.2.3", "BR"),
		rng("255.255.255.0", "255.255.255.255", "ZA"),
		rng("2001:200::", "2001:200:ffff:ffff:ffff:ffff:ffff:ffff", "JP"),
		rng("2a00:1:2:3::", "2a00:1:2:3:7fff:ffff:ffff:ffff", "DE"),
		rng("2a00:1:2:3:8000::", "2a00:1:2:5:ffff:ffff:ffff:ffff", "FR"),
		rng("2a02::", "2a02:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "GB"),
		rng("2a03::", "2a0f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "GB"),
		rng("3fff:ffff::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "NL"),
	})
	for _, c := range []struct {
		addr, code string
		bits       int
		why        string
	}{
		{"0.0.0.0", "", 16, "before the first range; a prefix is never wider than the index"},
		{"1.0.0.0", "AU", 24, "first address"},
		{"1.0.0.255", "AU", 24, "last address"},
		{"1.0.1.0", "CN", 24, "the next range begins; the /23 would reach back into AU"},
		{"1.0.128.7", "CN", 17, "inside, away from the edge"},
		{"1.2.3.4", "CN", 16, "a block that no row starts in"},
		{"1.4.0.0", "", 16, "a gap between ranges"},
		{"9.200.1.1", "US", 16, "the row starts many blocks before"},
		{"200.1.2.2", "", 32, "right before a single address"},
		{"200.1.2.3", "BR", 32, "a single address"},
		{"200.1.2.4", "", 30, "right after it, to the end of its /30"},
		{"255.255.255.255", "ZA", 24, "the last address of all"},
		{"::ffff:1.0.0.7", "AU", 24, "IPv4 in its IPv6 form"},
		{"2001:200::1", "JP", 32, "a whole group"},
		{"2001:201::1", "", 32, "the gap after it"},
		{"2a00:1:2:3::5", "DE", 65, "half of a /64"},
		{"2a00:1:2:3:8000::", "FR", 65, "the other half"},
		{"2a00:1:2:4::", "FR", 63, "the range goes on in whole /64s"},
		{"2a00:1:2:5:ffff::", "FR", 63, "to its end"},
		{"2a00:1:2:6::", "", 63, "and not further"},
		{"2a01::", "", 32, "no range begins in this group: the gap goes on"},
		{"2a07:1::", "GB", 32, "no row begins in this group: the range goes on"},
		{"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "NL", 32, "the end of the address plan"},
		{"4000::", "", 0, "outside it"},
		{"fe80::1", "", 0, "never handed out"},
		{"::1", "", 0, "never handed out"},
	} {
		code, bits := table.Lookup(netip.MustParseAddr(c.addr))
		if table.Code(code) != c.code || bits != c.bits {
			t.Errorf("%s (%s): got %q/%d, want %q/%d", c.addr, c.why, table.Code(code), bits, c.code, c.bits)
		}
	}
	if code, _ := table.Lookup(netip.Addr{}); code != 0 {
		t.Errorf("the zero address has code %d", code)
	}
	if !table.Built().Equal(built) {
		t.Errorf("built %s, want %s", table.Built(), built)
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, c := range []struct {
		why    string
		ranges []Range
		want   string
	}{
		{"overlap", []Range{rng("1.0.0.0", "1.0.0.9", "AU"), rng("1.0.0.9", "1.0.1.0", "CN")}, "overlaps"},
		{"backwards", []Range{rng("1.0.0.9", "1.0.0.0", "AU")}, "is not one"},
		{"families", []Range{rng("1.0.0.9", "2001::", "AU")}, "is not one"},
		{"outside", []Range{rng("fc00::", "fc00::1", "AU")}, "outside 2000::/3"},
		{"code", []Range{rng("1.0.0.0", "1.0.0.9", "AUS")}, "not two letters"},
	} {
		if _, err := Build(c.ranges, built); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.why, err, c.want)
		}
	}
}

// drawRanges makes disjoint ranges of both families, dense enough to share blocks, groups and /64s.
func drawRanges(t *rapid.T) []Range {
	codes := []string{"AA", "BB", "CC"}
	var list []Range
	for _, v6 := range []bool{false, true} {
		edges := map[netip.Addr]bool{}
		for range rapid.IntRange(0, 24).Draw(t, "edges") {
			edges[drawAddr(t, v6)] = true
		}
		sorted := make([]netip.Addr, 0, len(edges))
		for a := range edges {
			sorted = append(sorted, a)
		}
		slices.SortFunc(sorted, netip.Addr.Compare)
		for i := 0; i+1 < len(sorted); i++ {
			if rapid.Bool().Draw(t, "gap") {
				continue
			}
			list = append(list, Range{sorted[i], sorted[i+1].Prev(), rapid.SampledFrom(codes).Draw(t, "code")})
		}
	}
	return list
}

func drawAddr(t *rapid.T, v6 bool) netip.Addr {
	few := rapid.SampledFrom([]byte{0, 1, 2, 0x7f, 0x80, 0xfe, 0xff})
	if !v6 {
		var b [4]byte
		for i := range b {
			b[i] = few.Draw(t, "byte")
		}
		return netip.AddrFrom4(b)
	}
	b := [16]byte{0x20}
	for _, i := range []int{1, 3, 5, 7, 8, 15} {
		b[i] = few.Draw(t, "byte")
	}
	return netip.AddrFrom16(b)
}

// TestTableAgreesWithRanges: the table says of every address what the ranges say, and of every
// prefix that it answers with, that it is uniform.
func TestTableAgreesWithRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ranges := drawRanges(t)
		blob, err := Build(ranges, built)
		if err != nil {
			t.Fatal(err)
		}
		table, err := Open(string(blob))
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Verify(); err != nil {
			t.Fatal(err)
		}
		truth := func(a netip.Addr) string {
			for _, r := range ranges {
				if a.Is4() == r.First.Is4() && !a.Less(r.First) && !r.Last.Less(a) {
					return r.Code
				}
			}
			return ""
		}
		probe := func(a netip.Addr) {
			code, bits := table.Lookup(a)
			if got, want := table.Code(code), truth(a); got != want {
				t.Fatalf("%s: got %q, want %q", a, got, want)
			}
			p, err := a.Prefix(bits)
			if err != nil {
				t.Fatalf("%s: %v", a, err)
			}
			for _, r := range ranges {
				for _, edge := range []netip.Addr{r.First, r.Last, r.Last.Next()} {
					if p.Contains(edge) && truth(edge) != truth(a) {
						t.Fatalf("%s has %q but %s in its prefix %s has %q", a, truth(a), edge, p, truth(edge))
					}
				}
			}
		}
		for _, r := range ranges {
			probe(r.First)
			probe(r.Last)
			for _, a := range []netip.Addr{r.First.Prev(), r.Last.Next()} {
				if a.IsValid() && (a.Is4() || !outside6(a)) {
					probe(a)
				}
			}
		}
		for range 20 {
			probe(drawAddr(t, rapid.Bool().Draw(t, "v6")))
		}
	})
}

// TestEmbeddedTable reads the committed table whole: its checksum, its order, and places that every
// source agrees about.
func TestEmbeddedTable(t *testing.T) {
	table := Embedded()
	if table == nil {
		t.Skip("built without data")
	}
	if err := table.Verify(); err != nil {
		t.Fatal(err)
	}
	if table.Built().Year() < 2026 {
		t.Errorf("built %s", table.Built())
	}
	if n := table.Size(); n > 5<<20 {
		t.Errorf("table has %d bytes; it is meant to stay under 5 MB", n)
	}
	for addr, want := range map[string]string{
		"114.114.114.114": "CN", "202.96.209.133": "CN", "13.250.0.1": "SG", "203.80.96.10": "HK",
		"47.64.113.136": "DE", "8.8.8.8": "US", "133.242.0.1": "JP", "200.160.0.8": "BR", "196.25.1.1": "ZA",
		"2001:4860:4860::8888": "US", "2400:3200::1": "CN", "2a02:6b8::feed:ff": "RU", "2001:200::1": "JP",
		"10.1.2.3": "", "127.0.0.1": "",
	} {
		if code, _ := table.Lookup(netip.MustParseAddr(addr)); table.Code(code) != want {
			t.Errorf("%s is in %q, want %q", addr, table.Code(code), want)
		}
	}
}

func TestAttributionNamesMakerAndLicence(t *testing.T) {
	if Embedded() == nil {
		t.Skip("built without data")
	}
	for _, want := range []string{
		"IPFire", "https://location.ipfire.org/", "CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/",
		Embedded().Built().Format("02 Jan 2006"), "Changed here:",
	} {
		if !strings.Contains(Attribution(), want) {
			t.Errorf("attribution lacks %q", want)
		}
	}
}

func TestDamagedTables(t *testing.T) {
	blob, err := Build([]Range{rng("1.0.0.0", "1.0.0.255", "AU"), rng("2a00::", "2a00::5", "DE")}, built)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(blob) {
		if n > headerSize+64 && n%997 != 0 {
			continue // cut anywhere: each section ends somewhere
		}
		if _, err := Open(string(blob[:n])); err == nil {
			t.Fatalf("a table cut to %d of %d bytes opens", n, len(blob))
		}
	}
	if _, err := Open(string(blob) + "x"); err == nil {
		t.Error("a table with a byte too many opens")
	}
	blob[len(blob)-1] ^= 1
	damaged, err := Open(string(blob))
	if err != nil {
		t.Fatal(err)
	}
	if damaged.Verify() == nil {
		t.Error("a flipped bit is not noticed")
	}
}

// FuzzTable: a table whose rows verify answers any address without leaving itself. The fuzzer
// changes single bytes of a good table, since it would never hit on one by itself.
func FuzzTable(f *testing.F) {
	good, err := Build([]Range{
		rng("1.0.0.0", "1.0.0.255", "AU"), rng("1.0.1.0", "1.3.255.255", "CN"),
		rng("2a00:1:2:3::", "2a00:1:2:3:7fff:ffff:ffff:ffff", "DE"), rng("2a02::", "2a02::ffff", "GB"),
	}, built)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(20), byte(1), []byte{1, 0, 0, 1})
	f.Add(uint32(len(good)-3), byte(0x80), netip.MustParseAddr("2a00:1:2:3::1").AsSlice())
	f.Add(uint32(headerSize+4), byte(7), netip.MustParseAddr("2a02::1").AsSlice())
	f.Fuzz(func(t *testing.T, at uint32, flip byte, addr []byte) {
		blob := slices.Clone(good)
		blob[int(at)%len(blob)] ^= flip
		if len(addr) > 24 { // long inputs bring a second change
			blob[int(binary.LittleEndian.Uint32(addr[16:]))%len(blob)] ^= addr[20]
			addr = addr[:16]
		}
		table, err := Open(string(blob))
		if err != nil || table.verifyRows() != nil {
			return
		}
		if a, ok := netip.AddrFromSlice(addr); ok {
			if _, bits := table.Lookup(a); bits < 0 || bits > a.Unmap().BitLen() {
				t.Fatalf("%s: prefix length %d", a, bits)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	table := Embedded()
	if table == nil {
		b.Skip("built without data")
	}
	for _, c := range []struct {
		name string
		addr func(x uint64) netip.Addr
	}{
		{"v4", func(x uint64) netip.Addr {
			return netip.AddrFrom4([4]byte{byte(x>>56)%223 + 1, byte(x >> 48), byte(x >> 40), byte(x >> 32)})
		}},
		{"v6", func(x uint64) netip.Addr {
			a := [16]byte{0x2a, byte(x>>56) % 16}
			binary.BigEndian.PutUint64(a[2:], x*0x9e3779b97f4a7c15)
			return netip.AddrFrom16(a)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			addrs := make([]netip.Addr, 1<<16)
			x := uint64(88172645463325252)
			for i := range addrs {
				x ^= x << 13
				x ^= x >> 7
				x ^= x << 17
				addrs[i] = c.addr(x)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				table.Lookup(addrs[i&(1<<16-1)])
				i++
			}
		})
	}
}
