//go:build !race

package simtest

const slow = false
