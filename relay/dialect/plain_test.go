package dialect

import (
	"bytes"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/splice"
)

// What ends a run of plain text is found at every place and whatever is around it, and nothing else
// ends one but the end of the bytes.
func TestPlainRun(t *testing.T) {
	const block = 16 // of the widest implementation: it may stop that much before the end
	for n := range 100 {
		text := bytes.Repeat([]byte("a~ ]"), 25)[:n]
		if got := plainRun(text); got > n || n-got >= block {
			t.Fatalf("%d plain bytes: a run of %d", n, got)
		}
		for at := range n {
			for c := range 256 {
				text[at] = byte(c)
				got := plainRun(text)
				if plain := c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; plain && (got > n || n-got >= block) ||
					!plain && (got > at || got < at && n-got >= block) {
					t.Fatalf("byte %#x at %d of %d: a run of %d", c, at, n, got)
				}
			}
			text[at] = 'a'
		}
	}
}

// Strings of every length are read to their end, wherever the blocks fall.
func TestStringsOfEveryLength(t *testing.T) {
	var at [1]splice.Span
	for n := range 200 {
		body := `{"a":"` + strings.Repeat("x", n) + `"}`
		if err := Pick([]byte(body), []string{"a"}, at[:]); err != nil || at[0].Len() != n+2 {
			t.Fatalf("%d bytes: %v, %v", n, at[0], err)
		}
		if err := Pick([]byte(body[:len(body)-2]), []string{"a"}, at[:]); err == nil {
			t.Fatalf("%d bytes without their end are accepted", n)
		}
	}
}
