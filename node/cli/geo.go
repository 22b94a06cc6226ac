package cli

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/node/config"
)

func (a *app) geo() *cobra.Command {
	c := &cobra.Command{Use: "geo", Short: "Where addresses are believed to be"}
	a.outputFlag(c)
	c.AddCommand(a.geoLookup())
	return c
}

// located is one answer of `geo lookup`.
type located struct {
	Address  string  `json:"address"`
	Country  string  `json:"country"`
	Lat      float64 `json:"lat,omitzero"`
	Lon      float64 `json:"lon,omitzero"`
	Accuracy int     `json:"accuracy_km,omitzero"`
	Prefix   string  `json:"prefix,omitempty"`
	Source   string  `json:"source"`
	Database string  `json:"database,omitempty"`
	Built    string  `json:"built,omitempty"`
	Note     string  `json:"note,omitempty"`
}

func (a *app) geoLookup() *cobra.Command {
	var path, city, country string
	var explain bool
	c := &cobra.Command{
		Use: "lookup ADDRESS...", Short: "The country of addresses, by the databases a node would use", Args: cobra.MinimumNArgs(1),
		Long: `Lookup asks the databases on this machine: overrides and databases of --config or the flags, then the
embedded country data. --explain shows what each of them says.`,
		Example: "  causeway geo lookup 8.8.8.8 2001:4860:4860::8888 --explain",
		RunE: func(c *cobra.Command, args []string) error {
			n, err := config.Load(path, os.LookupEnv)
			if err != nil {
				return fail("read the node's configuration", err, "")
			}
			cfg := geo.Config{City: or(city, n.Geo.City), Country: or(country, n.Geo.Country), Log: zerolog.Nop()}
			for _, o := range n.Geo.Overrides {
				p, err := netip.ParsePrefix(o.CIDR)
				if err != nil {
					return fail("read the node's configuration", err, "write geo.overrides as {cidr: 10.0.0.0/8, country: DE}")
				}
				cc, err := geo.ParseCountry(o.Country)
				if err != nil {
					return fail("read the node's configuration", err, "write geo.overrides as {cidr: 10.0.0.0/8, country: DE}")
				}
				cfg.Overrides = append(cfg.Overrides, geo.Override{Prefix: p, Country: cc})
			}
			var addrs []netip.Addr
			for _, s := range args {
				addr, err := netip.ParseAddr(s)
				if err != nil {
					return misuse(c, "%q is not an IP address", s)
				}
				addrs = append(addrs, addr)
			}
			l, err := geo.NewLocator(cfg)
			if err != nil {
				return fail("open the databases", err, "check the paths of --city and --country")
			}
			defer l.Close()
			return a.showPlaces(c, l, addrs, explain)
		},
	}
	f := c.Flags()
	f.BoolVar(&explain, "explain", false, "show what every database says; the first answer counts")
	f.StringVar(&path, "config", "", "node.yaml whose geo section is used")
	f.StringVar(&city, "city", "", "GeoIP2/GeoLite2 City database (mmdb)")
	f.StringVar(&country, "country", "", "GeoIP2/GeoLite2 Country database (mmdb)")
	return c
}

func (a *app) showPlaces(c *cobra.Command, l *geo.Locator, addrs []netip.Addr, explain bool) error {
	var rows []located
	for _, addr := range addrs {
		stages := l.Explain(addr)
		if !explain {
			stages = answering(stages)
		}
		for _, s := range stages {
			rows = append(rows, locatedBy(addr, s))
		}
		if len(stages) == 0 {
			rows = append(rows, located{Address: addr.String(), Source: geo.Place{}.Source.String()})
		}
	}
	raw, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("encode places: %w", err)
	}
	out := answer{raw: raw, table: func() table {
		t := table{head: []string{"ADDRESS", "COUNTRY", "POINT", "PREFIX", "SOURCE", "DATABASE", "BUILT", "NOTE"}}
		for _, r := range rows {
			point := ""
			if r.Lat != 0 || r.Lon != 0 {
				point = strconv.FormatFloat(r.Lat, 'f', 2, 64) + "," + strconv.FormatFloat(r.Lon, 'f', 2, 64)
			}
			t.add(r.Address, or(r.Country, "unknown"), point, r.Prefix, r.Source, r.Database, r.Built, r.Note)
		}
		return t
	}}
	for _, r := range rows {
		out.names = append(out.names, or(r.Country, "unknown"))
	}
	return a.show(c, out)
}

// answering is the first stage that knows, or the last one to say why none does.
func answering(stages []geo.Stage) []geo.Stage {
	for i, s := range stages {
		if s.Place.Country.Known() {
			return stages[i : i+1]
		}
	}
	if len(stages) > 0 {
		return stages[len(stages)-1:]
	}
	return nil
}

func locatedBy(addr netip.Addr, s geo.Stage) located {
	r := located{
		Address: addr.String(), Country: string(s.Place.Country), Accuracy: s.Place.AccuracyKM, Source: s.Name, Database: s.Database, Note: s.Note,
	}
	if s.Place.HasPoint {
		r.Lat, r.Lon = s.Place.Lat, s.Place.Lon
	}
	if s.Place.Prefix.IsValid() {
		r.Prefix = s.Place.Prefix.String()
	}
	if !s.Built.IsZero() {
		r.Built = s.Built.UTC().Format(time.DateOnly)
	}
	return r
}
