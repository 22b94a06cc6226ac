//go:build !linux

package bench

import (
	"errors"
	"os/exec"
)

func startPinned(cmd *exec.Cmd, cpu int) error {
	if cpu >= 0 {
		return errors.New("pinning needs Linux")
	}
	return cmd.Start()
}

func pinSelf(int) error { return errors.New("pinning needs Linux") }
