package segment

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Allocate reserves space without changing the file's length, so that readers meet no zeros.
func Allocate(f File, n int64) error {
	fd, ok := f.(interface{ Fd() uintptr })
	if !ok {
		return nil
	}
	err := unix.Fallocate(int(fd.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}
