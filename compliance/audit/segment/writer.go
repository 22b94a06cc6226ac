package segment

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// File is what a writer needs of a file; *os.File is one.
type File interface {
	io.WriterAt
	Sync() error
	Truncate(size int64) error
	Close() error
}

// Options adjust how files are opened. The zero value is right for production.
type Options struct {
	// Allocate asks the file system for this many bytes at creation, so that appends inside them
	// cannot meet a full disk. Ignored where the file system cannot do it.
	Allocate int64
	// Open replaces os.OpenFile; tests inject faults here.
	Open func(path string, flag int, perm os.FileMode) (File, error)
}

func (o Options) open(path string, flag int) (File, error) {
	if o.Open != nil {
		return o.Open(path, flag, 0o600)
	}
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err // a nil *os.File must not become a non-nil File
	}
	return f, nil
}

// Writer appends frames. One goroutine may append while another syncs.
type Writer struct {
	f    File
	path string
	size int64
	born bool // the directory entry is not durable yet; only Sync and Finish look
}

// Create makes a new segment; the first Sync makes its directory entry durable too. It refuses to
// replace a file.
func Create(path string, h Header, o Options) (*Writer, error) {
	f, err := o.open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	w := &Writer{f: f, path: path, born: true}
	if o.Allocate > 0 {
		if err := Allocate(f, o.Allocate); err != nil {
			return nil, w.discard(fmt.Errorf("create segment: allocate %d bytes: %w", o.Allocate, err))
		}
	}
	if _, err := f.WriteAt(AppendHeader(nil, h), 0); err != nil {
		return nil, w.discard(fmt.Errorf("create segment: %w", err))
	}
	w.size = HeaderSize
	return w, nil
}

func (w *Writer) discard(err error) error {
	return errors.Join(err, w.f.Close(), os.Remove(w.path))
}

// Recovered says what opening found.
type Recovered struct {
	Header  Header
	Records int
	Torn    int64  // bytes cut off the end
	Saved   string // file that keeps them
}

// Recover opens a segment to append to it: visit sees every good record, and a torn end is copied to
// a file beside it and cut off, so that nothing is destroyed silently. A segment that a crash left
// without a header is made anew with h.
func Recover(path string, h Header, o Options, visit func(payload []byte) error) (*Writer, Recovered, error) {
	var rec Recovered
	in, err := os.Open(path)
	if err != nil {
		return nil, rec, fmt.Errorf("recover segment: %w", err)
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return nil, rec, fmt.Errorf("recover segment: %w", err)
	}
	good := int64(0)
	r, err := NewReader(in)
	switch {
	case errors.Is(err, ErrHeader) && fi.Size() < HeaderSize:
		rec.Header = h
	case err != nil:
		return nil, rec, fmt.Errorf("recover segment %s: %w", filepath.Base(path), err)
	default:
		rec.Header = r.Header()
		for {
			p, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if _, torn := errors.AsType[*TornError](err); torn {
				rec.Torn = fi.Size() - r.Offset()
				break
			}
			if err == nil {
				err = visit(p)
			}
			if err != nil {
				return nil, rec, fmt.Errorf("recover segment %s: %w", filepath.Base(path), err)
			}
			rec.Records++
		}
		good = r.Offset()
	}
	if rec.Torn > 0 {
		if rec.Saved, err = save(in, path, good, rec.Torn); err != nil {
			return nil, rec, err
		}
	}
	f, err := o.open(path, os.O_RDWR)
	if err != nil {
		return nil, rec, fmt.Errorf("recover segment: %w", err)
	}
	w := &Writer{f: f, path: path, size: good}
	err = f.Truncate(good)
	if err == nil && o.Allocate > good {
		err = Allocate(f, o.Allocate)
	}
	if err == nil && good == 0 {
		_, err = f.WriteAt(AppendHeader(nil, h), 0)
		w.size = HeaderSize
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, rec, errors.Join(fmt.Errorf("recover segment: %w", err), f.Close())
	}
	return w, rec, nil
}

// save copies a torn end to PATH.torn-UNIXTIME.
func save(in *os.File, path string, at, n int64) (string, error) {
	name := fmt.Sprintf("%s.torn-%d", path, time.Now().UnixNano())
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("save torn end: %w", err)
	}
	_, err = io.Copy(out, io.NewSectionReader(in, at, n))
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return "", fmt.Errorf("save torn end: %w", err)
	}
	return name, nil
}

// Append writes frames that were built with AppendFrame or FinishFrame. After an error the file is
// as long as before: the next append overwrites what was written of this one.
func (w *Writer) Append(frames []byte) error {
	if _, err := w.f.WriteAt(frames, w.size); err != nil {
		return fmt.Errorf("append to segment: %w", err)
	}
	w.size += int64(len(frames))
	return nil
}

// Size is the length of what was appended, with the header.
func (w *Writer) Size() int64 { return w.size }

// Path is the file's name.
func (w *Writer) Path() string { return w.path }

// Sync makes what was appended durable.
func (w *Writer) Sync() error {
	if w.born {
		if err := SyncDir(filepath.Dir(w.path)); err != nil {
			return err
		}
		w.born = false
	}
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("sync segment: %w", err)
	}
	return nil
}

// Finish gives allocated space back, syncs and closes.
func (w *Writer) Finish() error {
	return errors.Join(w.f.Truncate(w.size), w.Sync(), w.f.Close())
}

// Close closes without syncing.
func (w *Writer) Close() error { return w.f.Close() }

// SyncDir makes a directory's entries durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
