package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// goVersions reads go.mod's lines of a path and a version.
func goVersions(lock []byte) (map[string]string, error) {
	out := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(lock))
	for lines.Scan() {
		if f := strings.Fields(strings.TrimPrefix(lines.Text(), "require ")); len(f) > 1 && strings.HasPrefix(f[1], "v") {
			out[f[0]] = f[1][1:]
		}
	}
	return out, lines.Err()
}

// npmVersions reads package-lock.json.
func npmVersions(lock []byte) (map[string]string, error) {
	var f struct {
		Packages map[string]struct {
			Version string `json:"version"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(lock, &f); err != nil {
		return nil, fmt.Errorf("package-lock.json: %w", err)
	}
	out := map[string]string{}
	for path, p := range f.Packages {
		if name, ok := strings.CutPrefix(path, "node_modules/"); ok {
			out[name] = p.Version
		}
	}
	return out, nil
}

// pipVersions reads a list of NAME==VERSION lines.
func pipVersions(lock []byte) (map[string]string, error) {
	out := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(lock))
	for lines.Scan() {
		if name, version, ok := strings.Cut(lines.Text(), "=="); ok {
			out[name] = version
		}
	}
	return out, lines.Err()
}
