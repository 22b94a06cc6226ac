package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"os"
	"time"

	"github.com/causeway-mesh/causeway/compliance/audit/segment"
)

const (
	rotateRetry = time.Second
	healEvery   = 250 * time.Millisecond
	diskEvery   = 10 * time.Second
)

// leafHasher is LeafHash without the allocation.
type leafHasher struct{ h hash.Hash }

func (l *leafHasher) sum(record []byte) (out Hash) {
	if l.h == nil {
		l.h = sha256.New()
	}
	l.h.Reset()
	l.h.Write([]byte{0})
	l.h.Write(record)
	l.h.Sum(out[:0])
	return out
}

func day(t time.Time) int { return int(t.UTC().Unix() / 86400) }

// rotate begins a new segment when the current one is long enough, of another day, or in doubt. If
// that fails the current one goes on. Called with mu held.
func (l *Log) rotate() {
	now := l.cfg.now()
	if l.w != nil && !l.renew && l.w.Size() < l.cfg.SegmentSize && l.day == day(now) {
		return
	}
	l.flush() // what is numbered already belongs into the old file
	if len(l.pending) > 0 || now.Before(l.retryAt) {
		return
	}
	if err := l.begin(now); err != nil {
		l.retryAt = now.Add(rotateRetry)
		l.cfg.Log.Error().Err(err).Msg("audit segment not begun")
	}
}

func (l *Log) begin(now time.Time) error {
	o := l.cfg.segments
	o.Allocate = l.cfg.SegmentSize
	w, err := segment.Create(segment.Path(l.cfg.Dir, l.chains.seq),
		segment.Header{Base: l.chains.seq, Created: now, Origin: origin(l.name)}, o)
	if err != nil {
		return err
	}
	if l.w != nil {
		l.retired = append(l.retired, l.w)
	}
	l.w, l.day, l.renew = w, day(now), false
	for _, c := range l.chains.carries() {
		l.put(&Record{Kind: KindCarry, Carry: c})
	}
	return nil
}

// run owns the fsyncs: one within GroupFsync of the first write, at once when somebody waits.
func (l *Log) run(ctx context.Context) {
	defer close(l.done)
	group := time.NewTimer(time.Hour)
	group.Stop()
	heal, disk := time.NewTicker(healEvery), time.NewTicker(diskEvery)
	defer heal.Stop()
	defer disk.Stop()
	armed, alarmed := false, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.urgent:
		case <-l.dirty:
			if !armed {
				armed = true
				group.Reset(l.cfg.GroupFsync)
			}
			continue
		case <-group.C:
		case <-heal.C:
			if !l.heal() {
				continue
			}
		case <-disk.C:
			alarmed = l.watch(alarmed)
			continue
		}
		armed = false
		group.Stop()
		l.sync()
	}
}

// sync makes everything written so far durable and wakes those who wait.
func (l *Log) sync() {
	l.mu.Lock()
	l.flush()
	w, retired, upto := l.w, l.retired, l.chains.seq
	stuck := len(l.pending) > 0
	l.retired = nil
	if upto == l.synced && len(retired) == 0 {
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()

	var err error
	for _, old := range retired {
		err = errors.Join(err, old.Finish())
	}
	err = errors.Join(err, w.Sync())

	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Syncs++
	switch {
	case err != nil:
		// After a failed fsync the kernel may have dropped the pages: this file is not trusted further.
		l.stats.SyncErrors++
		l.failed, l.renew = upto, true
		l.cfg.Log.Error().Err(err).Uint64("records", upto-l.synced).Msg("audit log fsync failed: records in doubt")
	case stuck:
		l.failed = upto // what is only in memory is not durable
	default:
		l.synced = upto
	}
	close(l.round)
	l.round = make(chan struct{})
}

// heal writes what waits in memory once the disk takes it again, and restores the reserve. It reports
// whether something was written.
func (l *Log) heal() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	wrote := false
	if len(l.pending) > 0 {
		if err := l.w.Append(l.pending); err != nil {
			return false
		}
		l.pending, wrote = nil, true
	}
	if (l.full || !l.reserve) && l.makeReserve() == nil {
		if l.full {
			l.cfg.Log.Info().Msg("audit log disk has room again")
		}
		l.full = false
	}
	return wrote
}

func (l *Log) makeReserve() error {
	f, err := os.OpenFile(l.reservePath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = segment.Allocate(f, l.cfg.Reserve)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(l.reservePath()))
	}
	l.reserve = true
	return nil
}

// watch raises the alarms at 80 and 90 % of the file system.
func (l *Log) watch(alarmed int) int {
	used, ok := diskUsed(l.cfg.Dir)
	if !ok {
		return alarmed
	}
	l.mu.Lock()
	l.stats.DiskUsed = used
	l.mu.Unlock()
	level := 0
	if used >= 900 {
		level = 2
	} else if used >= 800 {
		level = 1
	}
	if level > alarmed {
		l.cfg.Log.Warn().Int("used_permille", used).Str("dir", l.cfg.Dir).Msg("audit log disk is filling up")
	}
	return level
}

// Close syncs and closes. Intents still open are closed as unknown by the next Open.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	<-l.done
	l.heal()
	l.sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.w.Finish(), l.lock.Close())
}
