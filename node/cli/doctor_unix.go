//go:build unix

package cli

import "golang.org/x/sys/unix"

// fileLimit is how many files a process may hold open: Go raises the soft limit to the hard one.
func fileLimit() (uint64, bool) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return uint64(l.Max), true
}

// diskSpace is what an unprivileged user may still write, in bytes, and the used part in per cent.
func diskSpace(dir string) (free uint64, used int, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, false
	}
	total := st.Blocks - st.Bfree + st.Bavail
	if total == 0 {
		return 0, 0, false
	}
	return uint64(st.Bavail) * uint64(st.Bsize), int((st.Blocks - st.Bfree) * 100 / total), true
}
