package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/geo/data"
)

// Config is what a Locator works from. The zero value serves the embedded database alone.
type Config struct {
	City       string     // path of an operator's City database (.mmdb), optional
	Country    string     // path of an operator's Country database (.mmdb), optional
	Overrides  []Override // asked before any database
	NoEmbedded bool
	Log        zerolog.Logger
}

// Locator says where addresses are: overrides, then the operator's City file, then the operator's
// Country file, then the embedded database; the first that knows a country answers. All methods
// are safe for concurrent use; lookups take no lock.
type Locator struct {
	log       zerolog.Logger
	overrides atomic.Pointer[overrides]
	files     []*file // city before country
	embedded  *embeddedStage
}

// file is an operator's database and its reloads.
type file struct {
	path    string
	source  Source
	current atomic.Pointer[database]

	mu    sync.Mutex // orders reloads; guards stats
	stats DatabaseStats
}

// DatabaseStats is what an operator watches of one database. Times are UTC.
type DatabaseStats struct {
	Name     string // of the Source
	Path     string // "" = embedded
	Built    time.Time
	Loaded   time.Time // zero = embedded
	Reloads  uint64    // good ones, after the first load
	Failures uint64    // refused or unreadable ones; the former database kept serving
	LastErr  string    // of the last failure, "" after a good reload
}

// embeddedStage turns the codes of the embedded table into places.
type embeddedStage struct {
	table  *data.Table
	places []Place // by code
}

// NewLocator opens and verifies the databases. It fails when a file that cfg names cannot be used
// or an override is wrong, naming which.
func NewLocator(cfg Config) (*Locator, error) {
	l := &Locator{log: cfg.Log}
	var errs []error
	for _, o := range cfg.Overrides {
		errs = append(errs, o.check())
	}
	for _, f := range []*file{{path: cfg.City, source: SourceCity}, {path: cfg.Country, source: SourceCountry}} {
		if f.path == "" {
			continue
		}
		d, err := openDatabase(f.path, f.source)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f.current.Store(d)
		f.stats = DatabaseStats{Name: f.source.String(), Path: f.path, Built: d.built, Loaded: time.Now().UTC()}
		l.files = append(l.files, f)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	l.overrides.Store(newOverrides(cfg.Overrides))
	if t := data.Embedded(); t != nil && !cfg.NoEmbedded {
		l.embedded = newEmbeddedStage(t)
	}
	return l, nil
}

func newEmbeddedStage(t *data.Table) *embeddedStage {
	e := &embeddedStage{table: t, places: make([]Place, t.Codes())}
	for i := range e.places {
		p := Place{Country: Country(t.Code(uint8(i))), Source: SourceEmbedded, Built: t.Built()}
		if !p.Country.Known() {
			p = Place{}
		}
		p.fillPoint()
		e.places[i] = p
	}
	return e
}

func (e *embeddedStage) locate(a netip.Addr) (Place, bool) {
	code, bits := e.table.Lookup(a)
	p := e.places[code]
	if p.Country == "" {
		return Place{}, false
	}
	p.Prefix, _ = a.Prefix(bits)
	return p, true
}

// Locate says where a is believed to be. Addresses that no override names and that are private,
// loopback or otherwise of no place have SourceNone and no country, like those that no database
// knows. No allocation, once an operator's database has seen a record.
func (l *Locator) Locate(a netip.Addr) Place {
	a = a.Unmap().WithZone("")
	if p, ok := l.overrides.Load().find(a); ok {
		return *p
	}
	if nowhere(a) != "" {
		return Place{}
	}
	for _, f := range l.files {
		if p, ok := f.current.Load().locate(a); ok {
			return p
		}
	}
	if l.embedded != nil {
		if p, ok := l.embedded.locate(a); ok {
			return p
		}
	}
	return Place{}
}

// Explain asks every stage, in order, so that a person sees who says what. The first stage whose
// Place has a Source is what Locate answers.
func (l *Locator) Explain(a netip.Addr) []Stage {
	a = a.Unmap().WithZone("")
	stages := make([]Stage, 0, 2+len(l.files))
	s := Stage{Name: SourceOverride.String(), Note: "no override names it"}
	if p, ok := l.overrides.Load().find(a); ok {
		s.Place, s.Note = *p, ""
	}
	stages = append(stages, s)
	if why := nowhere(a); why != "" {
		return append(stages, Stage{Name: SourceNone.String(), Note: why + ": databases are not asked"})
	}
	for _, f := range l.files {
		d := f.current.Load()
		s := Stage{Name: f.source.String(), Database: d.label(), Built: d.built, Note: d.note(a)}
		s.Place, _ = d.locate(a)
		stages = append(stages, s)
	}
	if e := l.embedded; e != nil {
		s := Stage{Name: SourceEmbedded.String(), Database: "IPFire Location (CC BY-SA 4.0)", Built: e.table.Built()}
		s.Place, _ = e.locate(a)
		if code, _ := e.table.Lookup(a); s.Place.Source == SourceNone {
			s.Note = "no record"
			if c := e.table.Code(code); c != "" {
				s.Note = fmt.Sprintf("registered for %q, which is no country", c)
			}
		}
		stages = append(stages, s)
	}
	return noteDisagreement(stages)
}

// noteDisagreement marks the stages that name another country than the one that answers.
func noteDisagreement(stages []Stage) []Stage {
	var first *Place
	for i := range stages {
		p := &stages[i].Place
		switch {
		case p.Source == SourceNone:
		case first == nil:
			first = p
		case p.Country != first.Country:
			note := fmt.Sprintf("disagrees with %s", first.Source)
			if stages[i].Note != "" {
				note = stages[i].Note + "; " + note
			}
			stages[i].Note = note
		}
	}
	return stages
}

// SetOverrides replaces the overrides. Wrong ones are left out and logged, since a node must keep
// going on what its coordinator sends.
func (l *Locator) SetOverrides(list []Override) {
	good := make([]Override, 0, len(list))
	for _, o := range list {
		if err := o.check(); err != nil {
			l.log.Error().Err(err).Msg("geo override left out")
			continue
		}
		good = append(good, o)
	}
	l.overrides.Store(newOverrides(good))
}

// Stats describes the databases in the order in which they are asked.
func (l *Locator) Stats() []DatabaseStats {
	list := make([]DatabaseStats, 0, len(l.files)+1)
	for _, f := range l.files {
		f.mu.Lock()
		list = append(list, f.stats)
		f.mu.Unlock()
	}
	if l.embedded != nil {
		list = append(list, DatabaseStats{Name: SourceEmbedded.String(), Built: l.embedded.table.Built()})
	}
	return list
}

// Close is there for symmetry: what a Locator holds is freed with it. Run ends with its context.
func (l *Locator) Close() error { return nil }
