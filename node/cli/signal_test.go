//go:build unix

package cli

import (
	"bytes"
	"io"
	"syscall"
	"testing"
)

// interrupted is a standard input at which the user presses Ctrl-C.
type interrupted struct{ t *testing.T }

func (r interrupted) Read([]byte) (int, error) {
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
		r.t.Error(err)
	}
	select {} // as a terminal does, until the process ends
}

// TestFirstSignalCancels: what a command waits for ends at once, with the code of the signal.
func TestFirstSignalCancels(t *testing.T) {
	var errs bytes.Buffer
	code := Run(t.Context(), []string{"apply", "-f", "-"}, Stdio{In: interrupted{t}, Out: io.Discard, Err: &errs})
	if code != 130 || errs.Len() != 0 {
		t.Errorf("exit %d, want 130 in silence: %s", code, errs.String())
	}
}
