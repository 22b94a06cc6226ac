//go:build unix

package audit

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockDir keeps a second process out of the directory. The lock goes with the process.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock audit log: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock audit log: %s is in use by another process: %w", path, err), f.Close())
	}
	return f, nil
}

// diskUsed is the used part of dir's file system, in thousandths, as an unprivileged user sees it.
func diskUsed(dir string) (int, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	used, avail := st.Blocks-st.Bfree, st.Bavail
	if used+avail == 0 {
		return 0, false
	}
	return int(used * 1000 / (used + avail)), true
}
