package geo

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"
)

func override(prefix string, c Country) Override {
	return Override{Prefix: netip.MustParsePrefix(prefix), Country: c}
}

func TestOverrides(t *testing.T) {
	needData(t)
	l, err := NewLocator(Config{Overrides: []Override{
		override("10.0.0.0/8", "DE"),
		override("10.1.0.0/16", "US"),
		override("10.1.2.0/24", ""),
		override("10.1.2.3/32", "CN"),
		override("8.8.8.8/32", "CH"),
		override("8.8.8.8/32", "JP"),
		override("::ffff:9.9.9.0/120", "FR"),
		override("2001:db8:1::/48", "SG"),
		override("255.255.255.255/32", "BR"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addr   string
		want   Country
		source Source
		prefix string
		why    string
	}{
		{"10.2.0.1", "DE", SourceOverride, "10.0.0.0/8", "a private network of the operator has a place"},
		{"10.1.3.1", "US", SourceOverride, "10.1.0.0/16", "the longer prefix"},
		{"10.1.2.1", "", SourceOverride, "10.1.2.0/24", "unknown on purpose"},
		{"10.1.2.3", "CN", SourceOverride, "10.1.2.3/32", "one address"},
		{"10.1.2.4", "", SourceOverride, "10.1.2.0/24", "back out of it"},
		{"10.255.255.255", "DE", SourceOverride, "10.0.0.0/8", "the end of the outermost"},
		{"11.0.0.0", "US", SourceEmbedded, "11.0.0.0/16", "and past it"},
		{"8.8.8.8", "JP", SourceOverride, "8.8.8.8/32", "of two for one prefix the later counts"},
		{"::ffff:10.1.2.3", "CN", SourceOverride, "10.1.2.3/32", "IPv4 in its IPv6 form"},
		{"9.9.9.9", "FR", SourceOverride, "9.9.9.0/24", "a prefix in that form"},
		{"2001:db8:1::7%eth0", "SG", SourceOverride, "2001:db8:1::/48", "a zone is no part of a place"},
		{"255.255.255.255", "BR", SourceOverride, "255.255.255.255/32", "the last address of all"},
		{"192.168.1.1", "", SourceNone, "", "private, and nobody says where"},
	} {
		p := l.Locate(netip.MustParseAddr(c.addr))
		prefix := ""
		if p.Prefix.IsValid() {
			prefix = p.Prefix.String()
		}
		if p.Country != c.want || p.Source != c.source || prefix != c.prefix {
			t.Errorf("%s (%s): %q by %s in %s", c.addr, c.why, p.Country, p.Source, prefix)
		}
	}
}

func TestWrongOverrides(t *testing.T) {
	wrong := []Override{
		{},
		override("1.2.3.0/24", "EU"),
		{Prefix: netip.MustParsePrefix("1.2.3.0/24"), Country: "DE", HasPoint: true, Lat: 91},
	}
	_, err := NewLocator(Config{Overrides: wrong})
	if err == nil || !strings.Contains(err.Error(), "EU") || !strings.Contains(err.Error(), "91") {
		t.Errorf("error %v, want all three", err)
	}

	var log strings.Builder
	l, err := NewLocator(Config{Log: zerolog.New(&log), NoEmbedded: true})
	if err != nil {
		t.Fatal(err)
	}
	l.SetOverrides(append(wrong, override("5.5.5.0/24", "IT")))
	if p := l.Locate(netip.MustParseAddr("5.5.5.5")); p.Country != "IT" {
		t.Errorf("the good override beside wrong ones: %+v", p)
	}
	if p := l.Locate(netip.MustParseAddr("1.2.3.4")); p.Source != SourceNone {
		t.Errorf("a wrong override counts: %+v", p)
	}
	if n := strings.Count(log.String(), "left out"); n != len(wrong) {
		t.Errorf("%d wrong overrides logged, want %d", n, len(wrong))
	}
}

// TestOverridesAgreeWithScan: the runs say what a scan for the longest prefix says.
func TestOverridesAgreeWithScan(t *testing.T) {
	addr := func(t *rapid.T) netip.Addr {
		few := rapid.SampledFrom([]byte{0, 1, 0x7f, 0x80, 0xff})
		if rapid.Bool().Draw(t, "v6") {
			b := [16]byte{0x20, few.Draw(t, "b"), 2: few.Draw(t, "b"), 15: few.Draw(t, "b")}
			return netip.AddrFrom16(b)
		}
		return netip.AddrFrom4([4]byte{few.Draw(t, "b"), few.Draw(t, "b"), few.Draw(t, "b"), few.Draw(t, "b")})
	}
	rapid.Check(t, func(t *rapid.T) {
		var list []Override
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			a := addr(t)
			p, err := a.Prefix(rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, Override{Prefix: p, Country: rapid.SampledFrom([]Country{"DE", "US", "CN", ""}).Draw(t, "country")})
		}
		o := newOverrides(list)
		probes := []netip.Addr{}
		for _, v := range list {
			last := lastAddr(v.Prefix)
			for _, a := range []netip.Addr{v.Prefix.Addr(), v.Prefix.Addr().Prev(), last, last.Next()} {
				if a.IsValid() {
					probes = append(probes, a)
				}
			}
		}
		for range 8 {
			probes = append(probes, addr(t))
		}
		for _, a := range probes {
			want, bits := Country("-"), -1
			for _, v := range list {
				if v.Prefix.Contains(a) && v.Prefix.Bits() >= bits {
					want, bits = v.Country, v.Prefix.Bits()
				}
			}
			got, gotBits := Country("-"), -1
			if p, ok := o.find(a); ok {
				got, gotBits = p.Country, p.Prefix.Bits()
			}
			if got != want || gotBits != bits {
				t.Fatalf("%s: %q/%d, want %q/%d", a, got, gotBits, want, bits)
			}
		}
	})
}
