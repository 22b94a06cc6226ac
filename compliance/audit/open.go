package audit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/compliance/audit/segment"
)

// Open opens or begins a node's log. After a crash it cuts a torn end off (keeping a copy), and
// closes every open intent with the result unknown.
func Open(cfg Config) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	lock, err := lockDir(filepath.Join(cfg.Dir, "lock"))
	if err != nil {
		return nil, err
	}
	l := &Log{
		cfg: cfg, lock: lock, chains: newChains(),
		done: make(chan struct{}), round: make(chan struct{}),
		dirty: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
	}
	if err := l.start(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return l, nil
}

func (l *Log) start() error {
	epoch, err := loadEpoch(filepath.Join(l.cfg.Dir, "epoch"))
	if err != nil {
		return err
	}
	l.name = clip(l.cfg.Node, maxID) + "/" + epoch
	rec, err := l.recover()
	if err != nil {
		return err
	}
	if err := l.makeReserve(); err != nil {
		l.full = true
		l.cfg.Log.Error().Err(err).Msg("audit log reserve not made")
	}
	if l.w == nil {
		if err := l.begin(l.cfg.now()); err != nil {
			return fmt.Errorf("open audit log: %w", err)
		}
	}
	l.closeOpen(rec)
	l.sync()
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go l.run(ctx)
	return nil
}

// recover reads the state back from the last segments and opens the last one for appending.
func (l *Log) recover() (segment.Recovered, error) {
	var rec segment.Recovered
	infos, err := segment.List(l.cfg.Dir)
	if err != nil || len(infos) == 0 {
		return rec, err
	}
	first := startAt(infos, startsWhole)
	l.chains.name, l.chains.seq = l.name, infos[first].Base
	l.chains.whole = first == 0 && infos[0].Base == 0
	visit := func(p []byte) error {
		_, err := l.chains.replay(p)
		return err
	}
	advice := "run `causeway audit verify`, then move the directory aside: the node begins a new log"
	for _, in := range infos[first : len(infos)-1] {
		if err := readSegment(in, l.name, visit); err != nil {
			return rec, fmt.Errorf("open audit log: %s: %w; %s", filepath.Base(in.Path), err, advice)
		}
	}
	last := infos[len(infos)-1]
	o := l.cfg.segments
	o.Allocate = l.cfg.SegmentSize
	h := segment.Header{Base: last.Base, Created: l.cfg.now(), Origin: origin(l.name)}
	w, rec, err := segment.Recover(last.Path, h, o, visit)
	if err != nil {
		return rec, fmt.Errorf("open audit log: %w; %s", err, advice)
	}
	if rec.Header.Origin != origin(l.name) {
		return rec, errors.Join(fmt.Errorf("open audit log: %s belongs to another node's log, not to %s", l.cfg.Dir, l.name), w.Close())
	}
	if !l.chains.whole && last.Base != 0 {
		return rec, errors.Join(fmt.Errorf("open audit log: %s: its state cannot be read back; %s", filepath.Base(last.Path), advice), w.Close())
	}
	l.w, l.day = w, day(rec.Header.Created)
	if rec.Torn > 0 {
		l.cfg.Log.Warn().Int64("bytes", rec.Torn).Str("saved", rec.Saved).Msg("audit log had a torn end")
	}
	return rec, nil
}

// closeOpen records what opening found and gives every open intent its outcome.
func (l *Log) closeOpen(rec segment.Recovered) {
	if rec.Torn == 0 && len(l.chains.open) == 0 {
		return
	}
	saved := ""
	if rec.Saved != "" {
		saved = filepath.Base(rec.Saved)
	}
	l.add(&Record{Kind: KindRecovery, Recovery: &Recovery{Torn: rec.Torn, Saved: saved, Open: len(l.chains.open)}})
	open := make([]uint64, 0, len(l.chains.open))
	for seq := range l.chains.open {
		open = append(open, seq)
	}
	slices.Sort(open)
	for _, seq := range open {
		o := l.chains.open[seq]
		l.add(&Record{Kind: KindOutcome, Tenant: o.Tenant, Outcome: &Outcome{IntentSeq: seq, Request: o.Request, Result: ResultUnknown}})
		delete(l.chains.open, seq)
	}
}

// readSegment visits a whole segment; one that does not end cleanly is an error.
func readSegment(in segment.Info, name string, visit func([]byte) error) error {
	f, err := os.Open(in.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := segment.NewReader(f)
	if err != nil {
		return err
	}
	if name != "" && r.Header().Origin != origin(name) {
		return fmt.Errorf("belongs to another log than %s", name)
	}
	if r.Header().Base != in.Base {
		return fmt.Errorf("its header says that it begins at record %d", r.Header().Base)
	}
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = visit(p)
		}
		if err != nil {
			return err
		}
	}
}

// startsWhole reports whether a segment opens with its whole carried state.
func startsWhole(in segment.Info) bool {
	errEnough := errors.New("enough")
	whole := false
	err := readSegment(in, "", func(p []byte) error {
		r, err := Parse(p)
		if err != nil || r.Kind != KindCarry {
			return errEnough
		}
		if r.Carry.Part == r.Carry.Parts {
			whole = true
			return errEnough
		}
		return nil
	})
	return whole && (err == nil || errors.Is(err, errEnough))
}

// loadEpoch reads or draws the name of this life of the directory: a lost directory begins another.
func loadEpoch(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		epoch := strings.TrimSpace(string(b))
		if raw, err := hex.DecodeString(epoch); err != nil || len(raw) != 8 {
			return "", fmt.Errorf("open audit log: %s is not an epoch", path)
		}
		return epoch, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("open audit log: %w", err)
	}
	var raw [8]byte
	rand.Read(raw[:])
	epoch := hex.EncodeToString(raw[:])
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", fmt.Errorf("open audit log: %w", err)
	}
	_, err = f.WriteString(epoch + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = segment.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return "", fmt.Errorf("open audit log: %w", err)
	}
	return epoch, nil
}
