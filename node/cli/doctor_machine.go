package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/node/config"
)

const (
	wantFiles    = 65536
	wantBuffer   = 7 << 20 // bytes; quic-go asks for it to keep a fast path full
	geoMaxAge    = 200 * 24 * time.Hour
	freeWarn     = 5 << 30 // bytes
	freeFail     = 200 << 20
	usedWarn     = 80 // per cent, DESIGN.md 7
	clockWarn    = 2 * time.Second
	clockFail    = 30 * time.Second
	certWarnLeft = 24 * time.Hour // 72 h certificates are renewed every 24 h
)

func (d *doctor) machine() {
	d.files()
	d.buffers()
	d.geoAge(config.Geo{})
	d.termsAge(time.Now())
}

func (d *doctor) files() {
	n, ok := fileLimit()
	switch {
	case !ok:
		d.say("machine", "open files", checkSkip, "", "this system does not tell")
	case n < 1024:
		d.say("machine", "open files", checkFail, "ulimit -n 65536, or LimitNOFILE=65536 in the unit", "at most %d", n)
	case n < wantFiles:
		d.say("machine", "open files", checkWarn, "ulimit -n 65536, or LimitNOFILE=65536 in the unit", "at most %d; each client takes one", n)
	default:
		d.say("machine", "open files", checkOK, "", "at most %d", n)
	}
}

// buffers reads what the kernel lets a socket have: a small buffer loses packets in bursts.
func (d *doctor) buffers() {
	for _, b := range []struct{ check, file string }{
		{"UDP receive buffer", "/proc/sys/net/core/rmem_max"}, {"UDP send buffer", "/proc/sys/net/core/wmem_max"},
	} {
		text, err := os.ReadFile(b.file)
		n, perr := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || perr != nil {
			d.say("machine", b.check, checkSkip, "", "this system does not tell")
			continue
		}
		if n < wantBuffer {
			name := strings.ReplaceAll(strings.TrimPrefix(b.file, "/proc/sys/"), "/", ".")
			d.say("machine", b.check, checkWarn, fmt.Sprintf("sysctl -w %s=%d", name, wantBuffer), "at most %d KiB; %d KiB keep a fast path full", n>>10, wantBuffer>>10)
			continue
		}
		d.say("machine", b.check, checkOK, "", "up to %d KiB", n>>10)
	}
}

// geoAge checks the databases that say where clients are.
func (d *doctor) geoAge(g config.Geo) {
	l, err := geo.NewLocator(geo.Config{City: g.City, Country: g.Country, Log: zerolog.Nop()})
	if err != nil {
		d.say("machine", "geo databases", checkFail, "correct geo.city and geo.country in node.yaml", "%s", err)
		return
	}
	defer l.Close()
	for _, s := range l.Stats() {
		age := time.Since(s.Built)
		name := "geo data (" + s.Name + ")"
		if age > geoMaxAge {
			d.say("machine", name, checkWarn, "use a newer release, or an own database: geo.city in node.yaml", "of %s, %s old", s.Built.UTC().Format(time.DateOnly), span(age))
			continue
		}
		d.say("machine", name, checkOK, "", "of %s", s.Built.UTC().Format(time.DateOnly))
	}
}

func (d *doctor) termsAge(now time.Time) {
	for _, name := range compliance.TermsNames() {
		t, ok := compliance.TermsFor(name)
		if !ok {
			continue
		}
		if t.Stale(now) {
			d.say("machine", "terms of "+name, checkWarn, "review "+t.Source+", and use a newer release", "reviewed %s, more than %s ago", t.ReviewedAt.Format(time.DateOnly), span(compliance.TermsMaxAge))
			continue
		}
		d.say("machine", "terms of "+name, checkOK, "", "reviewed %s", t.ReviewedAt.Format(time.DateOnly))
	}
}

// disk checks the file system that dir is or will be on.
func (d *doctor) disk(part, dir string) {
	at := dir
	for {
		if _, err := os.Stat(at); err == nil || !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	free, used, ok := diskSpace(at)
	fix := "make room, or move " + dir + " to a larger disk"
	switch {
	case !ok:
		d.say(part, "disk", checkSkip, "", "the file system of %s does not tell", dir)
	case free < freeFail:
		d.say(part, "disk", checkFail, fix, "%d MiB free where %s is", free>>20, dir)
	case free < freeWarn && used >= usedWarn:
		d.say(part, "disk", checkWarn, fix, "%d %% used, %d MiB free where %s is", used, free>>20, dir)
	default:
		d.say(part, "disk", checkOK, "", "%d %% used, %d MiB free where %s is", used, free>>20, dir)
	}
}
