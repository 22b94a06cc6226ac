package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/causeway-mesh/causeway/compliance/audit/segment"
)

const pollEvery = 100 * time.Millisecond

// TailOptions choose what Tail shows.
type TailOptions struct {
	Last   int  // at most this many of the records that are there; 0 = all
	Follow bool // then wait for more until ctx ends
}

// Tail calls fn for every record of a log in order, with its exact encoded form (valid during the
// call). It may run beside the writing node and does not check chains. It returns fn's error; a log
// that is damaged before its end is an error; with Follow, the end of ctx is not.
func Tail(ctx context.Context, dir string, o TailOptions, fn func(r Record, encoded []byte) error) error {
	t := tailer{dir: dir, fn: fn}
	if o.Last > 0 {
		t.ring = make([][]byte, 0, o.Last)
	}
	defer t.close()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if err := t.drain(ctx); err != nil {
			return err
		}
		if err := t.flush(); err != nil {
			return err
		}
		if !o.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

type tailer struct {
	dir    string
	fn     func(Record, []byte) error
	ring   [][]byte // nil = hand on at once
	next   int      // oldest entry of a full ring
	f      *os.File
	base   uint64
	header segment.Header
	offset int64 // 0 = no header read yet
}

func (t *tailer) close() {
	if t.f != nil {
		t.f.Close()
	}
}

// drain reads all there is.
func (t *tailer) drain(ctx context.Context) error {
	infos, err := segment.List(t.dir)
	if err != nil {
		return fmt.Errorf("tail audit log: %w", err)
	}
	if t.f == nil && t.ring != nil && len(infos) > 2 {
		infos = infos[len(infos)-2:] // enough for a screenful, without reading a year
	}
	for i, in := range infos {
		if t.f != nil && in.Base < t.base || ctx.Err() != nil {
			continue
		}
		if t.f == nil || in.Base > t.base {
			t.close()
			if t.f, err = os.Open(in.Path); err != nil {
				t.f = nil
				return fmt.Errorf("tail audit log: %w", err)
			}
			t.base, t.offset = in.Base, 0
		}
		if err := t.segment(i == len(infos)-1); err != nil {
			return err
		}
	}
	return nil
}

// segment reads on in the current file. At the end of the last one an unfinished frame is what a
// running writer leaves for a moment.
func (t *tailer) segment(last bool) error {
	if _, err := t.f.Seek(t.offset, io.SeekStart); err != nil {
		return fmt.Errorf("tail audit log: %w", err)
	}
	var r *segment.Reader
	if t.offset > 0 {
		r = segment.Resume(t.f, t.header, t.offset)
	} else {
		var err error
		if r, err = segment.NewReader(t.f); err != nil {
			if last && errors.Is(err, segment.ErrHeader) {
				return nil
			}
			return fmt.Errorf("tail audit log: %w", err)
		}
		t.header, t.offset = r.Header(), r.Offset()
	}
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if _, torn := errors.AsType[*segment.TornError](err); torn && last {
			return nil
		}
		if err != nil {
			return fmt.Errorf("tail audit log: %w", err)
		}
		t.offset = r.Offset()
		if err := t.take(p); err != nil {
			return err
		}
	}
}

func (t *tailer) take(p []byte) error {
	if t.ring == nil {
		return t.emit(p)
	}
	if len(t.ring) < cap(t.ring) {
		t.ring = append(t.ring, append([]byte(nil), p...))
		return nil
	}
	t.ring[t.next] = append(t.ring[t.next][:0], p...)
	t.next = (t.next + 1) % len(t.ring)
	return nil
}

// flush hands the ring on; from then on records are handed on as they come.
func (t *tailer) flush() error {
	ring := t.ring
	t.ring = nil
	for i := range ring {
		if err := t.emit(ring[(t.next+i)%len(ring)]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tailer) emit(p []byte) error {
	r, err := Parse(p)
	if err != nil {
		return fmt.Errorf("tail audit log: %w", err)
	}
	return t.fn(r, p)
}
