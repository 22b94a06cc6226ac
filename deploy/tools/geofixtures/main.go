// Command geofixtures writes the small databases that geo's tests read, in MaxMind's format and
// layouts, from the made-up places below. Run it from deploy/tools: go run ./geofixtures ../../geo/testdata
package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

type place struct {
	network string
	record  mmdbtype.Map
}

func names(en string) mmdbtype.Map { return mmdbtype.Map{"en": mmdbtype.String(en)} }

func country(iso, registered string) mmdbtype.Map {
	m := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(iso), "names": names("Country " + iso)}}
	if registered != "" {
		m["registered_country"] = mmdbtype.Map{"iso_code": mmdbtype.String(registered)}
	}
	return m
}

func city(iso, name string, lat, lon float64, km int) mmdbtype.Map {
	m := country(iso, "")
	m["city"] = mmdbtype.Map{"names": names(name)}
	m["subdivisions"] = mmdbtype.Slice{mmdbtype.Map{"names": names("Province of " + name)}}
	m["location"] = mmdbtype.Map{
		"latitude": mmdbtype.Float64(lat), "longitude": mmdbtype.Float64(lon), "accuracy_radius": mmdbtype.Uint16(km),
	}
	return m
}

var cities = []place{
	{"8.8.8.0/24", city("US", "The Dalles", 45.6, -121.18, 20)},
	{"114.114.114.0/24", city("CN", "Nanjing", 32.06, 118.78, 50)},
	{"81.2.69.0/24", city("GB", "London", 51.51, -0.09, 10)},
	{"89.160.20.0/24", city("SE", "Linköping", 58.42, 15.62, 76)},
	{"2001:4860::/32", city("US", "Ashburn", 39.03, -77.5, 100)},
	{"9.9.9.0/24", mmdbtype.Map{"registered_country": mmdbtype.Map{"iso_code": mmdbtype.String("CH")}}}, // no country
	{"77.88.8.0/24", city("RU", "Nowhere", 999, 999, 1)},                                                // a point off the map
}

var countries = []place{
	{"8.8.8.0/24", country("CA", "US")}, // disagrees with the city database
	{"9.9.9.0/24", country("CH", "US")},
	{"2.125.0.0/16", country("GB", "")},
}

var flat = []place{
	{"8.8.8.0/24", mmdbtype.Map{"country_code": mmdbtype.String("US")}},
	{"1.1.1.0/24", mmdbtype.Map{"country": mmdbtype.String("AU")}},
	{"5.5.5.0/24", mmdbtype.Map{"country_code": mmdbtype.String("EU")}}, // no country
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		os.Stderr.WriteString("geofixtures: " + err.Error() + "\n")
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: geofixtures DIR")
	}
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	some := append([]place(nil), cities[:1]...)
	forgetful := []place{}
	for _, c := range cities { // as many networks, none of them known before
		_, n, err := net.ParseCIDR(c.network)
		if err != nil {
			return err
		}
		n.IP[2]++
		forgetful = append(forgetful, place{n.String(), c.record})
	}
	moved := append([]place{{"8.8.8.0/24", city("DE", "Frankfurt", 50.1, 8.7, 20)}}, cities[1:]...)
	for _, f := range []struct {
		name, kind string
		built      time.Time
		places     []place
	}{
		{"city.mmdb", "GeoLite2-City", day, cities},
		{"city-newer.mmdb", "GeoLite2-City", day.AddDate(0, 0, 7), moved},
		{"city-older.mmdb", "GeoLite2-City", day.AddDate(0, 0, -7), moved},
		{"city-cut.mmdb", "GeoLite2-City", day.AddDate(0, 0, 7), some},
		{"city-forgetful.mmdb", "GeoLite2-City", day.AddDate(0, 0, 7), forgetful},
		{"country.mmdb", "GeoLite2-Country", day, countries},
		{"flat.mmdb", "ipinfo generic_country_free", day, flat},
	} {
		if err := write(filepath.Join(args[0], f.name), f.kind, f.built, f.places); err != nil {
			return err
		}
	}
	return nil
}

func write(path, kind string, built time.Time, places []place) error {
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, BuildEpoch: built.Unix(), RecordSize: 24})
	if err != nil {
		return err
	}
	for _, p := range places {
		_, network, err := net.ParseCIDR(p.network)
		if err != nil {
			return err
		}
		if err := w.Insert(network, p.record); err != nil {
			return err
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = w.WriteTo(f)
	return errors.Join(err, f.Close())
}
