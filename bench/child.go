package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/causeway-mesh/causeway/bench/floor"
)

// Child runs one of the floor programs in this process until its standard input ends: that way no
// child outlives the bench, however it dies. `causeway bench child ...` calls it.
func Child(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, in)
		cancel()
	}()
	return floor.Main(ctx, args, out)
}

// Proc is a running child.
type Proc struct {
	PID  int
	Addr string // what it printed after the ready word
	stop func() error
}

// Stop ends the child and waits for it. It may be called again.
func (p *Proc) Stop() error { return p.stop() }

const startTimeout = 20 * time.Second

// Spawn starts argv on the given CPU (-1 = any) and waits for a line of its output that begins with
// ready; the rest of that line is the Addr. Stop closes the child's standard input, then asks with
// SIGTERM after a second, and kills after fifteen.
func Spawn(ctx context.Context, argv []string, env []string, cpu int, ready string) (*Proc, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	cmd.WaitDelay = time.Second
	if err := startPinned(cmd, cpu); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	stop := sync.OnceValue(func() error {
		in.Close()
		ask := time.AfterFunc(time.Second, func() { cmd.Process.Signal(syscall.SIGTERM) }) // a node drains
		defer ask.Stop()
		kill := time.AfterFunc(15*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		return cmd.Wait()
	})
	line := make(chan string, 1)
	go func() {
		defer close(line)
		s := bufio.NewScanner(out)
		sent := false
		for s.Scan() {
			if rest, ok := strings.CutPrefix(s.Text(), ready); ok && !sent {
				line <- strings.TrimSpace(rest)
				sent = true
			}
		}
	}()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case addr, ok := <-line:
		if ok {
			return &Proc{PID: cmd.Process.Pid, Addr: addr, stop: stop}, nil
		}
		err = errors.Join(errors.New("it ended before it was ready"), stop())
		return nil, fmt.Errorf("start %s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(complaint.String()))
	case <-timer.C:
		err = fmt.Errorf("not ready after %s", startTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	cmd.Process.Kill()
	return nil, fmt.Errorf("start %s: %w", strings.Join(argv, " "), errors.Join(err, stop()))
}
