package geo

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"
)

// cacheSlots bounds the decoded records that a database keeps; City files have some 10^5 distinct
// ones, of which a region's clients use few.
const cacheSlots = 1 << 12

// database is one operator's file, read whole: what serves is what was verified, whatever happens
// to the file, and a file that is overwritten in place cannot fault the process. It is immutable
// but for its cache, and freed by the collector once nobody looks anything up in it.
type database struct {
	path   string
	source Source
	reader *maxminddb.Reader
	built  time.Time
	info   os.FileInfo // of the file when it was read
	// cache holds decoded records by a hash of their offset; a collision just decodes again.
	cache [cacheSlots]atomic.Pointer[cached]
}

type cached struct {
	offset uintptr
	place  Place // without Prefix
}

// record is what Locate takes from a record, in the layouts of MaxMind (and DB-IP), and the flat
// one of other makers.
type record struct {
	iso, flat  string
	lat, lon   *float64
	accuracyKM uint16
}

// openDatabase reads and verifies the file at path.
func openDatabase(path string, source Source) (*database, error) {
	blob, info, release, err := readAside(path)
	if err != nil {
		return nil, fmt.Errorf("geo %s database: %w", source, err)
	}
	d := &database{path: path, source: source, info: info}
	runtime.AddCleanup(d, func(free func()) { free() }, release)
	if d.reader, err = maxminddb.OpenBytes(blob, maxminddb.DisableStringCache()); err != nil {
		return nil, fmt.Errorf("geo %s database %s: %w", source, path, err)
	}
	// Verify insists on texts that only people read and that home-made files lack.
	meta := &d.reader.Metadata
	meta.DatabaseType = cmp.Or(meta.DatabaseType, "unnamed")
	if len(meta.Description) == 0 {
		meta.Description = map[string]string{"en": meta.DatabaseType}
	}
	if err := d.reader.Verify(); err != nil {
		return nil, fmt.Errorf("geo %s database %s: verify: %w", source, path, err)
	}
	d.built = d.reader.Metadata.BuildTime().UTC()
	runtime.KeepAlive(d)
	return d, nil
}

// locate is the place of an address, false when the database has no country for it. Zero
// allocations once the record was seen.
func (d *database) locate(a netip.Addr) (Place, bool) {
	result := d.reader.Lookup(a)
	if !result.Found() {
		return Place{}, false
	}
	offset := result.Offset()
	slot := &d.cache[uint32(offset*0x9e3779b1)>>20%cacheSlots]
	c := slot.Load()
	if c == nil || c.offset != offset {
		c = &cached{offset: offset, place: d.decode(result)}
		slot.Store(c)
	}
	if c.place.Country == "" {
		return Place{}, false
	}
	p := c.place
	p.Prefix = result.Prefix()
	runtime.KeepAlive(d)
	return p, true
}

// decode reads a record. What does not decode, or names no country, is a place without one: the
// next stage is asked.
func (d *database) decode(result maxminddb.Result) Place {
	var r record
	// A missing path leaves its target alone; a path through something else than a map is an error,
	// which for a flat record is what country.iso_code must be.
	if result.DecodePath(&r.iso, "country", "iso_code") != nil || r.iso == "" {
		if err := result.DecodePath(&r.flat, "country_code"); err != nil {
			r.flat = ""
		}
		if r.flat == "" && result.DecodePath(&r.flat, "country") != nil {
			r.flat = ""
		}
	}
	p := Place{Source: d.source, Built: d.built}
	country, err := ParseCountry(cmp.Or(r.iso, r.flat))
	if err != nil {
		return p
	}
	p.Country = country
	errLat := result.DecodePath(&r.lat, "location", "latitude")
	errLon := result.DecodePath(&r.lon, "location", "longitude")
	errKM := result.DecodePath(&r.accuracyKM, "location", "accuracy_radius")
	if errors.Join(errLat, errLon, errKM) == nil && r.lat != nil && r.lon != nil &&
		math.Abs(*r.lat) <= 90 && math.Abs(*r.lon) <= 180 {
		p.Lat, p.Lon, p.HasPoint, p.AccuracyKM = *r.lat, *r.lon, true, int(r.accuracyKM)
	}
	p.fillPoint()
	return p
}

// note says for people what else a record knows; the layout is geoip2-golang's.
func (d *database) note(a netip.Addr) string {
	result := d.reader.Lookup(a)
	if err := result.Err(); err != nil {
		return err.Error()
	}
	if !result.Found() {
		return "no record"
	}
	var r geoip2.City
	if err := result.Decode(&r); err != nil {
		return "record of another maker's layout"
	}
	runtime.KeepAlive(d)
	var words []string
	if r.City.Names.English != "" {
		words = append(words, r.City.Names.English)
	}
	for _, s := range r.Subdivisions {
		words = append(words, s.Names.English)
	}
	if reg := r.RegisteredCountry.ISOCode; reg != "" && reg != r.Country.ISOCode {
		words = append(words, "registered in "+reg)
	}
	if r.Traits.IsAnycast {
		words = append(words, "anycast")
	}
	return strings.Join(words, ", ")
}

// label is the database's own name for itself and the file it came from.
func (d *database) label() string { return d.reader.Metadata.DatabaseType + " " + d.path }

// unchanged reports whether the file is still the one that was read.
func (d *database) unchanged() bool {
	now, err := os.Stat(d.path)
	return err == nil && os.SameFile(d.info, now) && now.Size() == d.info.Size() && now.ModTime().Equal(d.info.ModTime())
}
