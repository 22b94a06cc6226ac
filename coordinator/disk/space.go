package disk

import (
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultMinFree is the free space in bytes below which a disk counts as nearly full.
const DefaultMinFree = 256 << 20

// Guard says when a disk counts as nearly full. Below MinFree the store reports LowSpace, on which
// the coordinator refuses new proposals with a typed error; below a quarter of it StoreLogs refuses
// too, while there is still room for what cannot be refused (votes, truncation, snapshots).
type Guard struct {
	MinFree int64 // bytes; 0 = DefaultMinFree, negative = no guard
}

// guard caches one statfs for a second: it is asked on every write.
type guard struct {
	dir  string
	min  uint64 // 0 = off
	stat func(dir string) (uint64, error)

	mu   sync.Mutex
	at   time.Time
	free uint64
}

func newGuard(dir string, g Guard) *guard {
	switch {
	case g.MinFree < 0:
		return &guard{dir: dir, stat: statfs}
	case g.MinFree == 0:
		g.MinFree = DefaultMinFree
	}
	return &guard{dir: dir, min: uint64(g.MinFree), stat: statfs}
}

func statfs(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// bytes is the free space. A file system that cannot say counts as having room: its writes will tell.
func (g *guard) bytes() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); g.at.IsZero() || now.Sub(g.at) >= time.Second {
		free, err := g.stat(g.dir)
		if err != nil {
			free = math.MaxUint64
		}
		g.at, g.free = now, free
	}
	return g.free
}

func (g *guard) full() bool { return g.min > 0 && g.bytes() < g.min/4 }

// LowSpace is the free space in bytes, and whether it is below the guard's MinFree. At most 1 s old.
func (s *Store) LowSpace() (free uint64, low bool) {
	free = s.guard.bytes()
	return free, free < s.guard.min
}
