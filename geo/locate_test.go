package geo

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/geo/data"
)

func fixture(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join("testdata", name)
}

// needData skips what the embedded database answers in a binary built without it.
func needData(t testing.TB) {
	t.Helper()
	if data.Embedded() == nil {
		t.Skip("built with the tag nogeodata")
	}
}

func newLocator(t testing.TB, cfg Config) *Locator {
	t.Helper()
	cfg.Log = zerolog.Nop()
	l, err := NewLocator(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestLocateChain(t *testing.T) {
	needData(t)
	l := newLocator(t, Config{
		City: fixture(t, "city.mmdb"), Country: fixture(t, "country.mmdb"),
		Overrides: []Override{override("89.160.20.128/25", "NO")},
	})
	for _, c := range []struct {
		addr    string
		country Country
		source  Source
		prefix  string
		km      int
		why     string
	}{
		{"89.160.20.129", "NO", SourceOverride, "89.160.20.128/25", 500, "the operator knows best"},
		{"89.160.20.1", "SE", SourceCity, "89.160.20.0/24", 76, "then the City file, with its point"},
		{"2001:4860::8888", "US", SourceCity, "2001:4860::/32", 100, "IPv6 too"},
		{"77.88.8.8", "RU", SourceCity, "77.88.8.0/24", 2000, "a point off the map is replaced by the country's"},
		{"9.9.9.9", "CH", SourceCountry, "9.9.9.0/24", 500, "where a block is registered is not where it is: the next stage is asked"},
		{"2.125.1.1", "GB", SourceCountry, "2.125.0.0/16", 500, "then the Country file"},
		{"133.242.0.1", "JP", SourceEmbedded, "133.242.0.0/16", 500, "then the embedded one"},
		{"127.0.0.1", "", SourceNone, "", 0, "loopback is nowhere"},
		{"100.64.1.1", "", SourceNone, "", 0, "nor is a carrier's NAT"},
		{"fe80::1%eth0", "", SourceNone, "", 0, "nor is a link"},
		{"224.0.0.1", "", SourceNone, "", 0, "nor is a group"},
		{"192.0.2.1", "", SourceNone, "", 0, "documentation: no database has it"},
	} {
		p := l.Locate(netip.MustParseAddr(c.addr))
		prefix := ""
		if p.Prefix.IsValid() {
			prefix = p.Prefix.String()
		}
		if p.Country != c.country || p.Source != c.source || prefix != c.prefix || p.AccuracyKM != c.km ||
			p.HasPoint != (c.country != "") {
			t.Errorf("%s (%s): %+v", c.addr, c.why, p)
		}
	}
	if p := l.Locate(netip.Addr{}); p != (Place{}) {
		t.Errorf("the zero address: %+v", p)
	}
}

func TestLocateOtherMakersLayouts(t *testing.T) {
	l := newLocator(t, Config{Country: fixture(t, "flat.mmdb"), NoEmbedded: true})
	for addr, want := range map[string]Country{"8.8.8.8": "US", "1.1.1.1": "AU", "5.5.5.5": "", "6.6.6.6": ""} {
		if p := l.Locate(netip.MustParseAddr(addr)); p.Country != want || (want == "") != (p.Source == SourceNone) {
			t.Errorf("%s: %+v, want %q", addr, p, want)
		}
	}
}

func TestNewLocatorNamesWhatIsWrong(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage.mmdb")
	whole, err := os.ReadFile(fixture(t, "city.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(t.TempDir(), "torn.mmdb")
	empty := filepath.Join(t.TempDir(), "empty.mmdb")
	for path, content := range map[string][]byte{garbage: []byte("not a database"), torn: whole[:len(whole)/2], empty: nil} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{garbage, torn, empty, filepath.Join(t.TempDir(), "absent.mmdb"), t.TempDir()} {
		if _, err := NewLocator(Config{City: path}); err == nil || !strings.Contains(err.Error(), path) ||
			!strings.Contains(err.Error(), "city database") {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

func TestExplain(t *testing.T) {
	needData(t)
	l := newLocator(t, Config{City: fixture(t, "city.mmdb"), Country: fixture(t, "country.mmdb")})
	type line struct{ Name, Country, Note string }
	explain := func(addr string) []line {
		var lines []line
		for _, s := range l.Explain(netip.MustParseAddr(addr)) {
			lines = append(lines, line{s.Name, string(s.Place.Country), s.Note})
		}
		return lines
	}
	for _, c := range []struct {
		addr string
		want []line
	}{
		{"8.8.8.8", []line{
			{"override", "", "no override names it"},
			{"city", "US", "The Dalles, Province of The Dalles"},
			{"country", "CA", "registered in US; disagrees with city"},
			{"embedded", "US", ""},
		}},
		{"9.9.9.9", []line{
			{"override", "", "no override names it"},
			{"city", "", "registered in CH"},
			{"country", "CH", "registered in US"},
			{"embedded", "US", "disagrees with country"},
		}},
		{"192.168.0.1", []line{
			{"override", "", "no override names it"},
			{"none", "", "private address: databases are not asked"},
		}},
	} {
		if d := cmp.Diff(c.want, explain(c.addr)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.addr, d)
		}
	}
	for _, s := range l.Explain(netip.MustParseAddr("8.8.8.8"))[1:] {
		if s.Database == "" || s.Built.IsZero() {
			t.Errorf("stage %s does not say which database, of when: %+v", s.Name, s)
		}
	}
}

// TestExplainAgreesWithLocate: the first stage with a source is the answer.
func TestExplainAgreesWithLocate(t *testing.T) {
	l := newLocator(t, Config{
		City: fixture(t, "city.mmdb"), Country: fixture(t, "country.mmdb"), Overrides: []Override{override("8.8.8.8/32", "")},
	})
	for _, s := range []string{"8.8.8.8", "8.8.8.9", "9.9.9.9", "133.242.0.1", "10.0.0.1", "2001:4860::1", "192.0.2.7", "1.1.1.1"} {
		a, want := netip.MustParseAddr(s), Place{}
		for _, stage := range l.Explain(a) {
			if stage.Place.Source != SourceNone {
				want = stage.Place
				break
			}
		}
		if got := l.Locate(a); got != want {
			t.Errorf("%s: located %+v, explained %+v", s, got, want)
		}
	}
}

func TestLocateDoesNotAllocate(t *testing.T) {
	l := newLocator(t, Config{
		City: fixture(t, "city.mmdb"), Country: fixture(t, "country.mmdb"), Overrides: []Override{override("10.0.0.0/8", "DE")},
	})
	for _, s := range []string{"10.1.2.3", "8.8.8.8", "2.125.1.1", "133.242.0.1", "2400:3200::1", "127.0.0.1", "192.0.2.1"} {
		a := netip.MustParseAddr(s)
		l.Locate(a) // warms the cache of decoded records
		if n := testing.AllocsPerRun(100, func() { l.Locate(a) }); n != 0 {
			t.Errorf("%s: %g allocations", s, n)
		}
	}
}

// install puts a fixture in place as an updater does: a new file, renamed over the old one.
func install(t *testing.T, name, path string) {
	t.Helper()
	content, err := os.ReadFile(fixture(t, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestReload(t *testing.T) {
	for _, c := range []struct {
		file, refused string
		want          Country
		why           string
	}{
		{"city-newer.mmdb", "", "DE", "a newer edition serves"},
		{"city-older.mmdb", "older", "US", "an older one does not"},
		{"city-cut.mmdb", "nodes", "US", "one with a fraction of the networks does not"},
		{"city-forgetful.mmdb", "well-known", "US", "one that lost well-known addresses does not"},
		{"country.mmdb", "well-known", "US", "another database under the same name does not"},
	} {
		path := filepath.Join(t.TempDir(), "city.mmdb")
		install(t, "city.mmdb", path)
		l := newLocator(t, Config{City: path, NoEmbedded: true})
		a := netip.MustParseAddr("8.8.8.8")
		l.Locate(a) // the cache of the old database must not answer for the new one
		install(t, c.file, path)
		err := l.Reload()
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v", c.why, err)
		}
		if p := l.Locate(a); p.Country != c.want {
			t.Errorf("%s: %+v", c.why, p)
		}
		s := l.Stats()[0]
		if good := c.refused == ""; s.Reloads != boolCount(good) || s.Failures != boolCount(!good) || (s.LastErr == "") != good {
			t.Errorf("%s: stats %+v", c.why, s)
		}
		if err := l.Reload(); c.refused == "" && (err != nil || l.Stats()[0].Reloads != 1) {
			t.Errorf("%s: an unchanged file was loaded again: %+v, %v", c.why, l.Stats()[0], err)
		}
	}
}

func boolCount(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// TestFileOverwrittenInPlace: what was verified serves on, whatever `cp` does to the file; a mapped
// file would now be shorter than its map and fault.
func TestFileOverwrittenInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "city.mmdb")
	install(t, "city.mmdb", path)
	l := newLocator(t, Config{City: path, NoEmbedded: true})
	if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Reload(); err == nil {
		t.Error("half a database is accepted")
	}
	for _, a := range []string{"8.8.8.8", "89.160.20.1", "2001:4860::1"} {
		if p := l.Locate(netip.MustParseAddr(a)); p.Source != SourceCity {
			t.Errorf("%s: %+v", a, p)
		}
	}
}

// TestRunReloads waits for real file events; it ends as soon as the new place shows.
func TestRunReloads(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "city.mmdb")
		runReloads(t, path, path)
	})
	t.Run("link", func(t *testing.T) { // the updater's folder is another one than the configured
		path, link := filepath.Join(t.TempDir(), "GeoLite2-City.mmdb"), filepath.Join(t.TempDir(), "city.mmdb")
		if err := os.Symlink(path, link); err != nil {
			t.Skip(err)
		}
		runReloads(t, path, link)
	})
}

func runReloads(t *testing.T, path, configured string) {
	install(t, "city.mmdb", path)
	l := newLocator(t, Config{City: configured, NoEmbedded: true})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	a := netip.MustParseAddr("8.8.8.8")
	deadline := time.After(30 * time.Second)
	for i := 0; l.Locate(a).Country != "DE"; i++ {
		if i%100 == 0 {
			install(t, "city-newer.mmdb", path) // again, should the watch not have been up yet
		}
		select {
		case <-deadline:
			t.Fatal("the new database never served")
		case err := <-done:
			t.Fatalf("Run ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestReloadUnderLookups: databases are freed while others look up; run with -race.
func TestReloadUnderLookups(t *testing.T) {
	path := filepath.Join(t.TempDir(), "city.mmdb")
	install(t, "city.mmdb", path)
	l := newLocator(t, Config{City: path})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if p := l.Locate(netip.AddrFrom4([4]byte{8, 8, 8, byte(i)})); p.Source != SourceCity {
					t.Errorf("in between: %+v", p)
					return
				}
				l.SetOverrides(nil)
			}
		})
	}
	for range 20 {
		install(t, "city-newer.mmdb", path) // a new file of the same edition is loaded too
		if err := l.Reload(); err != nil {
			t.Error(err)
		}
		runtime.GC()
	}
	close(stop)
	wg.Wait()
	if n := l.Stats()[0].Reloads; n != 20 {
		t.Errorf("%d reloads", n)
	}
}

func FuzzDatabase(f *testing.F) {
	for _, name := range []string{"city.mmdb", "flat.mmdb"} {
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, []byte{8, 8, 8, 8})
	}
	f.Fuzz(func(t *testing.T, content, addr []byte) {
		path := filepath.Join(t.TempDir(), "fuzz.mmdb")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := openDatabase(path, SourceCity)
		a, ok := netip.AddrFromSlice(addr)
		if err != nil || !ok {
			return
		}
		if p, ok := d.locate(a); ok && (!p.Country.Known() || !p.Prefix.Contains(a.Unmap()) && p.Prefix.Addr().Is4() == a.Is4()) {
			t.Fatalf("%s: %+v", a, p)
		}
		d.note(a)
	})
}

func BenchmarkLocate(b *testing.B) {
	l := newLocator(b, Config{})
	withCity := newLocator(b, Config{City: fixture(b, "city.mmdb"), Overrides: []Override{override("10.0.0.0/8", "DE")}})
	for _, c := range []struct {
		name string
		l    *Locator
		addr string
	}{
		{"embedded-v4", l, "133.242.0.1"},
		{"embedded-v6", l, "2400:3200::1"},
		{"override", withCity, "10.1.2.3"},
		{"city", withCity, "8.8.8.8"},
		{"city-miss", withCity, "133.242.0.1"},
		{"private", l, "192.168.1.1"},
	} {
		b.Run(c.name, func(b *testing.B) {
			a := netip.MustParseAddr(c.addr)
			b.ReportAllocs()
			for b.Loop() {
				c.l.Locate(a)
			}
		})
	}
	b.Run("embedded-random", func(b *testing.B) {
		addrs := make([]netip.Addr, 1<<16)
		x := uint64(88172645463325252)
		for i := range addrs {
			x = mix(x)
			addrs[i] = netip.AddrFrom4([4]byte{byte(x%222) + 1, byte(x >> 16), byte(x >> 24), byte(x >> 32)})
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			l.Locate(addrs[i&(1<<16-1)])
			i++
		}
	})
}
