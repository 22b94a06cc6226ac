package disk

import (
	"sync/atomic"
	"time"
)

// watchdog notices writes that do not come back. It never interrupts one: nothing can.
type watchdog struct {
	opt     Options
	stalled atomic.Int32 // writes now over StallAfter
	writes  atomic.Uint64
	stalls  atomic.Uint64
	slowest atomic.Int64
}

func (w *watchdog) init(opt Options) { w.opt = opt }

// watch starts the clock of one write; the returned function stops it.
func (w *watchdog) watch() func() {
	start := time.Now()
	// state: 0 running, 1 stalled, 2 done. The timer and the write race for it.
	var state atomic.Int32
	timer := time.AfterFunc(w.opt.StallAfter, func() {
		if !state.CompareAndSwap(0, 1) {
			return
		}
		w.stalls.Add(1)
		w.opt.Log.Error().Dur("after", w.opt.StallAfter).Msg("raft log write hangs")
		if w.stalled.Add(1) == 1 && w.opt.OnStall != nil {
			w.opt.OnStall()
		}
	})
	return func() {
		timer.Stop()
		took := time.Since(start)
		w.writes.Add(1)
		for old := w.slowest.Load(); int64(took) > old && !w.slowest.CompareAndSwap(old, int64(took)); old = w.slowest.Load() {
		}
		if state.Swap(2) != 1 {
			return
		}
		w.opt.Log.Warn().Dur("took", took).Msg("raft log write came back")
		if w.stalled.Add(-1) == 0 && w.opt.OnResume != nil {
			w.opt.OnResume()
		}
	}
}

// Stats is what a store has seen since it was opened.
type Stats struct {
	Writes    uint64        // changes of the log or of a value
	Stalls    uint64        // writes that took longer than StallAfter
	Stalled   bool          // one hangs now
	Slowest   time.Duration // the longest finished write
	FreeBytes uint64        // of the file system, at most 1 s old
	LowSpace  bool
}

// Stats reads the counters. Safe while a write hangs.
func (s *Store) Stats() Stats {
	free, low := s.LowSpace()
	return Stats{
		Writes: s.dog.writes.Load(), Stalls: s.dog.stalls.Load(), Stalled: s.dog.stalled.Load() > 0,
		Slowest: time.Duration(s.dog.slowest.Load()), FreeBytes: free, LowSpace: low,
	}
}
