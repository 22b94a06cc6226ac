// Command gen converts the country ranges of Debian's tor-geoipdb package (IPFire Location data,
// CC BY-SA 4.0) to the table that geo/data embeds. build.sh runs it.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/geo/data"
)

func main() {
	v4 := flag.String("v4", "", "tor's geoip file")
	v6 := flag.String("v6", "", "tor's geoip6 file")
	out := flag.String("out", "", "table to write")
	flag.Parse()
	if err := run(*v4, *v6, *out); err != nil {
		os.Stderr.WriteString("gen: " + err.Error() + "\n")
		os.Exit(1)
	}
}

func run(v4, v6, out string) error {
	if v4 == "" || v6 == "" || out == "" {
		return errors.New("-v4, -v6 and -out are needed")
	}
	ranges, built, err := read(nil, v4)
	if err != nil {
		return err
	}
	ranges, built6, err := read(ranges, v6)
	if err != nil {
		return err
	}
	if built6.Before(built) {
		built = built6
	}
	blob, err := data.Build(ranges, built)
	if err != nil {
		return err
	}
	t, err := data.Open(string(blob))
	if err != nil {
		return err
	}
	if err := t.Verify(); err != nil {
		return err
	}
	for _, r := range ranges { // the table says what the text said
		for _, a := range [...]netip.Addr{r.First, r.Last} {
			if n, _ := t.Lookup(a); t.Code(n) != r.Code {
				return fmt.Errorf("%s reads back as %q, not %q", a, t.Code(n), r.Code)
			}
		}
	}
	fmt.Fprintf(os.Stderr, "%d ranges of %s, %d bytes\n", len(ranges), built.Format(time.DateOnly), len(blob))
	return os.WriteFile(out, blob, 0o644)
}

// read appends the ranges of one file: "first,last,code" with numbers for IPv4 and text for IPv6,
// "??" where nothing is known, and the export's date in a comment.
func read(ranges []data.Range, name string) ([]data.Range, time.Time, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	var built time.Time
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			if date, ok := strings.CutPrefix(strings.TrimSpace(comment), "Generated:"); ok {
				if built, err = time.Parse(time.RFC1123, strings.TrimSpace(date)); err != nil {
					return nil, built, fmt.Errorf("%s:%d: %w", name, n, err)
				}
			}
			continue
		}
		first, rest, _ := strings.Cut(line, ",")
		last, code, _ := strings.Cut(rest, ",")
		a, errA := address(first)
		z, errZ := address(last)
		if err := errors.Join(errA, errZ); err != nil {
			return nil, built, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if code = place(code); code == "" {
			continue
		}
		ranges = append(ranges, data.Range{First: a, Last: z, Code: code})
	}
	if built.IsZero() {
		return nil, built, fmt.Errorf("%s: no line says when it was generated", name)
	}
	return ranges, built, lines.Err()
}

// place keeps countries, and "EU" and "AP", which the registries write where they know no country:
// they locate nothing but explain why. Countries of the past and typing errors go.
func place(code string) string {
	switch code {
	case "EU", "AP":
		return code
	case "UK":
		return "GB"
	}
	if !geo.Country(code).Known() {
		return ""
	}
	return code
}

func address(s string) (netip.Addr, error) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), nil
	}
	return netip.ParseAddr(s)
}
