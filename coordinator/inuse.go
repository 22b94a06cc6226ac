package coordinator

import (
	"errors"
	"syscall"
)

// isInUse tells a taken port from other reasons not to listen. syscall.EADDRINUSE exists on every
// system that Go supports, plan9 excepted, where the disk store does not build either.
func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
