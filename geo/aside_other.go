//go:build !unix

package geo

import (
	"io"
	"os"
)

// readAside reads a file into memory and says how to free it: here the collector does.
func readAside(path string) ([]byte, os.FileInfo, func(), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, nil, err
	}
	blob, err := io.ReadAll(f)
	return blob, info, func() {}, err
}
