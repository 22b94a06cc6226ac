//go:build !unix

package audit

import (
	"fmt"
	"os"
)

func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock audit log: %w", err)
	}
	return f, nil
}

func diskUsed(string) (int, bool) { return 0, false }
