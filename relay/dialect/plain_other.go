//go:build !amd64

package dialect

import (
	"encoding/binary"
	"math/bits"
)

// plainRun counts the bytes at the start of b that a JSON string holds as they are: printable ASCII
// but for quote and backslash. It looks at whole words only, so it may stop up to seven bytes short.
func plainRun(b []byte) int {
	i := 0
	for i+8 <= len(b) {
		if hit := special(binary.LittleEndian.Uint64(b[i:])); hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
		i += 8
	}
	return i
}
