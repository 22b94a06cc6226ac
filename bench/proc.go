package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// A tick of /proc/PID/stat; Linux reports 100 a second to user space whatever the kernel's own rate.
const tick = 10 * time.Millisecond

// cpuTime is the processes' user and system time so far (proc(5), fields 14 and 15 of stat).
func cpuTime(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		t, err := parseStat(b)
		if err != nil {
			return 0, fmt.Errorf("read CPU time of %d: %w", pid, err)
		}
		sum += t
	}
	return sum, nil
}

func parseStat(b []byte) (time.Duration, error) {
	// The name in parentheses may hold spaces and parentheses; the numbers follow the last one.
	i := bytes.LastIndexByte(b, ')')
	f := bytes.Fields(b[i+1:])
	if i < 0 || len(f) < 13 {
		return 0, errors.New("stat has too few fields")
	}
	user, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// rssOf is the resident memory of each process in bytes (proc(5), VmRSS of status).
func rssOf(pids []int) ([]int64, error) {
	out := make([]int64, 0, len(pids))
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return nil, fmt.Errorf("read memory: %w", err)
		}
		kb, err := parseRSS(b)
		if err != nil {
			return nil, fmt.Errorf("read memory of %d: %w", pid, err)
		}
		out = append(out, kb<<10)
	}
	return out, nil
}

func parseRSS(b []byte) (int64, error) {
	_, rest, ok := bytes.Cut(b, []byte("\nVmRSS:"))
	if !ok {
		return 0, errors.New("status has no VmRSS")
	}
	f := bytes.Fields(rest)
	if len(f) == 0 {
		return 0, errors.New("VmRSS is empty")
	}
	return strconv.ParseInt(string(f[0]), 10, 64)
}
