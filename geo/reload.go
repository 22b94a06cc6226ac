package geo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleFor is how long a directory must be quiet before a file in it is read: writers come in
	// many events.
	settleFor = 500 * time.Millisecond
	// shrinkLimit: a new database with a fifth fewer nodes was cut off or built wrong.
	shrinkLimit = 0.8
	// canaryLimit is the share of the canaries that the serving database places which a new one
	// must place too.
	canaryLimit = 0.8
)

// canaries are public resolvers and first addresses of large networks on every continent. What
// country they are in does not matter, only that the new database still knows them.
var canaries = [...]netip.Addr{
	netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("9.9.9.9"),
	netip.MustParseAddr("114.114.114.114"), netip.MustParseAddr("119.29.29.29"), netip.MustParseAddr("223.5.5.5"),
	netip.MustParseAddr("77.88.8.8"), netip.MustParseAddr("80.67.169.12"), netip.MustParseAddr("194.0.5.3"),
	netip.MustParseAddr("168.126.63.1"), netip.MustParseAddr("202.12.27.33"), netip.MustParseAddr("200.160.0.8"),
	netip.MustParseAddr("196.216.2.6"), netip.MustParseAddr("139.130.4.5"), netip.MustParseAddr("2001:4860:4860::8888"),
	netip.MustParseAddr("2620:fe::fe"), netip.MustParseAddr("2400:3200::1"), netip.MustParseAddr("2a02:6b8::feed:ff"),
}

// Run reloads the operator's files when they change, until ctx ends. It watches directories, not
// files, because updaters rename and Kubernetes swaps links. A new file that does not verify, is
// older, much smaller or forgets well-known addresses is refused and the former one keeps serving.
// Run returns nil when ctx ends; without files it only waits.
func (l *Locator) Run(ctx context.Context) error {
	if len(l.files) == 0 {
		<-ctx.Done()
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("geo: watch databases: %w", err)
	}
	defer w.Close()
	for _, f := range l.files {
		if err := w.Add(filepath.Dir(f.path)); err != nil {
			return fmt.Errorf("geo: watch %s: %w", filepath.Dir(f.path), err)
		}
		// Where the path is a link, the file behind it may be replaced too.
		if real, err := filepath.EvalSymlinks(f.path); err == nil && filepath.Dir(real) != filepath.Dir(f.path) {
			if err := w.Add(filepath.Dir(real)); err != nil {
				return fmt.Errorf("geo: watch %s: %w", filepath.Dir(real), err)
			}
		}
	}
	l.Reload() // for what changed between NewLocator and the watch
	quiet := time.NewTimer(settleFor)
	quiet.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Events:
			if !ok {
				return errors.New("geo: watch databases: watcher closed")
			}
			if e.Op != fsnotify.Chmod {
				quiet.Reset(settleFor)
			}
		case err, ok := <-w.Errors:
			if !ok {
				return errors.New("geo: watch databases: watcher closed")
			}
			l.log.Warn().Err(err).Msg("geo watch lost events, reading all databases")
			quiet.Reset(settleFor)
		case <-quiet.C:
			l.Reload()
		}
	}
}

// Reload reads the operator's files again now and swaps in those that changed and pass the checks.
// The errors of refused ones are logged, counted in Stats and returned.
func (l *Locator) Reload() error {
	var errs []error
	for _, f := range l.files {
		changed, err := f.reload()
		switch {
		case err != nil:
			errs = append(errs, err)
			l.log.Error().Err(err).Str("db", f.source.String()).Time("built", f.current.Load().built).
				Msg("geo database refused, the former one keeps serving")
		case changed:
			l.log.Info().Str("db", f.source.String()).Time("built", f.current.Load().built).Msg("geo database reloaded")
		}
	}
	return errors.Join(errs...)
}

func (f *file) reload() (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.current.Load()
	if old.unchanged() {
		f.stats.LastErr = ""
		return false, nil
	}
	d, err := openDatabase(f.path, f.source)
	if err == nil {
		err = acceptable(old, d)
	}
	if err != nil {
		f.stats.Failures++
		f.stats.LastErr = err.Error()
		return false, err
	}
	f.current.Store(d)
	f.stats.Built, f.stats.Loaded, f.stats.LastErr = d.built, time.Now().UTC(), ""
	f.stats.Reloads++
	return true, nil
}

// acceptable says why the new database may not replace the old one.
func acceptable(old, d *database) error {
	om, nm := old.reader.Metadata, d.reader.Metadata
	switch {
	case d.built.Before(old.built):
		return fmt.Errorf("geo %s database %s: built %s, older than the one of %s that serves",
			d.source, d.path, d.built.Format(time.DateOnly), old.built.Format(time.DateOnly))
	case float64(nm.NodeCount) < shrinkLimit*float64(om.NodeCount):
		return fmt.Errorf("geo %s database %s: %d nodes, the one that serves has %d",
			d.source, d.path, nm.NodeCount, om.NodeCount)
	case nm.IPVersion < om.IPVersion:
		return fmt.Errorf("geo %s database %s: IPv%d only, the one that serves has both", d.source, d.path, nm.IPVersion)
	}
	knew, knows := 0, 0
	for _, a := range canaries {
		if _, ok := old.locate(a); !ok {
			continue
		}
		knew++
		if _, ok := d.locate(a); ok {
			knows++
		}
	}
	if float64(knows) < canaryLimit*float64(knew) {
		return fmt.Errorf("geo %s database %s: places %d of %d well-known addresses that the one that serves places",
			d.source, d.path, knows, knew)
	}
	return nil
}
