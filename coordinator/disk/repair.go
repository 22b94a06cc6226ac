package disk

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// raft-wal v0.4.0, the newest version there is, has three faults that lose a coordinator its log.
//
//   - Cutting a suffix off the log marks the last file as sealed but writes no index into it; after
//     a restart every entry in it is unreadable ("sealed segment has no index block",
//     hashicorp/raft-wal #31). A follower does this whenever it held entries of a deposed leader.
//   - A crash between the write that seals a file and the creation of the next one, or a torn write
//     that looks like an index, leaves a tail that recovery takes for sealed and that refuses every
//     append from then on.
//   - An append that fills a file leaves the change to the next one to a goroutine, and only another
//     append waits for it. A truncation that comes first makes a new tail; the rotation then takes that
//     one, empty, for the full one: it seals it as ending at entry 0 and starts a file at entry 1, in
//     front of all others. Nothing can be appended any more, and the log does not open again.
//
// The first two are healed when the log is opened: filer reads an index-less file by scanning it, and
// finishRotation completes what the crash cut short. The third cannot begin: Store.awaitRotation lets
// nothing follow an append before the rotation is over.

// rotation keeps the first error of making files and committing metadata: in the background raft-wal
// only logs it.
type rotation struct {
	mu  sync.Mutex
	err error
}

func (r *rotation) note(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = cmp.Or(r.err, err)
	return err
}

// take returns the error kept and forgets it.
func (r *rotation) take() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	r.err = nil
	return err
}

// metaStore is a MetaStore whose failed commits are kept.
type metaStore struct {
	types.MetaStore
	rotation *rotation
}

func (m metaStore) CommitState(state types.PersistentState) error {
	return m.rotation.note(m.MetaStore.CommitState(state))
}

// filer is raft-wal's own file format, with the missing index rebuilt and failed creations kept.
type filer struct {
	*segment.Filer
	rotation *rotation
}

// Create makes the file that is appended to from now on.
func (f filer) Create(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := f.Filer.Create(info)
	return w, f.rotation.note(err)
}

// Open opens a sealed file for reading.
func (f filer) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	if info.IndexStart != 0 {
		return f.Filer.Open(info)
	}
	w, err := f.RecoverTail(info)
	if err != nil {
		return nil, err
	}
	if last := w.LastIndex(); last < info.MaxIndex {
		return nil, errors.Join(fmt.Errorf("%w: file %s ends at entry %d, want %d",
			types.ErrCorrupt, segment.FileName(info), last, info.MaxIndex), w.Close())
	}
	return w, nil
}

// keepAll as the cut of finishRotation keeps everything that was committed.
const keepAll = math.MaxUint64

// finishRotation completes an interrupted rotation in the metadata, before raft-wal reads it. With
// another cut than keepAll it ends the tail file there and starts a new one, so that nothing is ever
// appended behind the remains of a failed write: a later recovery could take those for entries.
// Running it again after a crash in its middle is harmless.
func finishRotation(dir string, meta types.MetaStore, f filer, now time.Time, cut uint64) error {
	state, err := meta.Load(dir)
	if err != nil || len(state.Segments) == 0 {
		return err
	}
	tail := &state.Segments[len(state.Segments)-1]
	if !tail.SealTime.IsZero() {
		return nil
	}
	w, err := f.RecoverTail(*tail)
	if errors.Is(err, os.ErrNotExist) {
		return nil // never created: raft-wal creates it
	}
	if err != nil {
		return fmt.Errorf("recover %s: %w", segment.FileName(*tail), err)
	}
	sealed, _, err := w.Sealed()
	last := min(w.LastIndex(), cut)
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("recover %s: %w", segment.FileName(*tail), err)
	}
	if !sealed && cut == keepAll {
		return nil
	}
	if last < tail.BaseIndex {
		// Nothing in this file counts: raft-wal creates it anew.
		if err := f.Delete(tail.BaseIndex, tail.ID); err != nil {
			return fmt.Errorf("remove torn %s: %w", segment.FileName(*tail), err)
		}
		return nil
	}
	// IndexStart stays 0: whether the index is whole is not known, and filer does not need it.
	tail.SealTime, tail.MaxIndex = now, last
	state.Segments = append(state.Segments, types.SegmentInfo{
		ID: state.NextSegmentID, BaseIndex: last + 1, MinIndex: last + 1,
		Codec: tail.Codec, CreateTime: now, SizeLimit: tail.SizeLimit,
	})
	state.NextSegmentID++
	if err := meta.CommitState(state); err != nil {
		return fmt.Errorf("finish rotation of the raft log: %w", err)
	}
	return nil
}
