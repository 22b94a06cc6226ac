//go:build !unix

package cli

func fileLimit() (uint64, bool) { return 0, false }

func diskSpace(string) (free uint64, used int, ok bool) { return 0, 0, false }
