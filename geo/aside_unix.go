//go:build unix

package geo

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readAside reads a file into memory outside the heap, where it does not make the collector wait
// for twice its size, and says how to free it.
func readAside(path string) ([]byte, os.FileInfo, func(), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, nil, err
	}
	size := info.Size()
	if size <= 0 || size != int64(int(size)) || !info.Mode().IsRegular() {
		return nil, nil, nil, errors.New("read " + path + ": not a file with something in it")
	}
	blob, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("map %d bytes for %s: %w", size, path, err)
	}
	free := func() { _ = unix.Munmap(blob) } // it can only fail for arguments that mmap did not give
	if _, err := io.ReadFull(f, blob); err != nil {
		free()
		return nil, nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	return blob, info, free, nil
}
