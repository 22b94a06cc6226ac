package disk

import (
	"sync"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// faultFS is a real file system whose next operations fail or hang as told.
type faultFS struct {
	types.VFS
	mu     sync.Mutex
	write  func(p []byte) (allow int, err error) // nil = write all
	sync   func() error                          // nil = real fsync
	create func() error
}

func newFaultFS() *faultFS { return &faultFS{VFS: fs.New()} }

func (f *faultFS) set(write func([]byte) (int, error), sync, create func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.write, f.sync, f.create = write, sync, create
}

func (f *faultFS) heal() { f.set(nil, nil, nil) }

func (f *faultFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f.mu.Lock()
	fail := f.create
	f.mu.Unlock()
	if fail != nil {
		if err := fail(); err != nil {
			return nil, err
		}
	}
	w, err := f.VFS.Create(dir, name, size)
	return f.wrap(w, err)
}

func (f *faultFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	w, err := f.VFS.OpenWriter(dir, name)
	return f.wrap(w, err)
}

func (f *faultFS) wrap(w types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{WritableFile: w, fs: f}, nil
}

type faultFile struct {
	types.WritableFile
	fs *faultFS
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	fail := f.fs.write
	f.fs.mu.Unlock()
	if fail == nil {
		return f.WritableFile.WriteAt(p, off)
	}
	allow, err := fail(p)
	if allow > 0 {
		if n, werr := f.WritableFile.WriteAt(p[:min(allow, len(p))], off); werr != nil {
			return n, werr
		}
	}
	return allow, err
}

func (f *faultFile) Sync() error {
	f.fs.mu.Lock()
	fail := f.fs.sync
	f.fs.mu.Unlock()
	if fail != nil {
		if err := fail(); err != nil {
			return err
		}
	}
	return f.WritableFile.Sync()
}
