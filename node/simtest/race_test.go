//go:build race

package simtest

// slow: under the race detector a virtual day would take minutes.
const slow = true
