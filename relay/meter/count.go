package meter

// classMilli is how many thousandths of a token a character is worth, by its first byte in UTF-8, which
// tells the script. Measured with o200k_base on the same text (article 1 of the Universal Declaration of
// Human Rights) in each script, on code and on JSON; other current vocabularies are close, older ones
// need up to three times as many outside Latin.
var classMilli = func() (t [256]uint16) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			t[c] = 210
		case c >= '0' && c <= '9':
			t[c] = 400 // digits go in threes at most
		case c == ' ':
			t[c] = 150
		case c == '\n', c == '\t', c == '\r':
			t[c] = 300
		case c < 0x80:
			t[c] = 500 // punctuation
		case c < 0xC0: // continuation: its first byte has counted
		case c < 0xC4:
			t[c] = 600 // accents of western Europe
		case c < 0xC6:
			t[c] = 1300 // accents of eastern Europe break words
		case c < 0xCE:
			t[c] = 400
		case c < 0xD0:
			t[c] = 380 // Greek
		case c < 0xD4:
			t[c] = 280 // Cyrillic
		case c < 0xE0:
			t[c] = 400 // Armenian, Hebrew, Arabic
		case c == 0xE0:
			t[c] = 380 // Indic, Thai
		case c == 0xE1:
			t[c] = 300 // Georgian, Khmer, and the double accents of Vietnamese
		case c == 0xE2:
			t[c] = 700 // dashes, quotes, symbols
		case c < 0xEA:
			t[c] = 850 // kana, Han
		case c < 0xEE:
			t[c] = 600 // Hangul
		case c < 0xF0:
			t[c] = 900 // full-width forms
		default:
			t[c] = 1300 // emoji and rare planes
		}
	}
	return t
}()

// Samples: a long text is judged by sampleBlocks blocks spread evenly over it.
const (
	sampleBlock  = 64
	sampleBlocks = 64
)

// Count estimates the tokens of a text by the classes of its characters. At most 4 KiB are looked at,
// whatever the length, so it costs a few microseconds at most. Only the empty text has none.
func Count[T ~string | ~[]byte](text T) int64 {
	return tokens(sampled(text))
}

// Counter estimates a text that comes in pieces, as Count does the whole: a piece is often less than a
// token. The zero value is ready.
type Counter struct{ milli uint64 }

// Add counts the next piece.
func (c *Counter) Add(piece string) { c.milli += sampled(piece) }

// Tokens is the estimate of all pieces.
func (c *Counter) Tokens() int64 { return tokens(c.milli) }

func tokens(milli uint64) int64 { return int64((milli + 999) / 1000) }

// sampled is the worth of a text in thousandths of a token, judged by its samples when it is long.
func sampled[T ~string | ~[]byte](text T) uint64 {
	n := len(text)
	if n <= sampleBlock*sampleBlocks {
		return milli(text)
	}
	var sum uint64
	for i := range sampleBlocks {
		at := i * (n - sampleBlock) / (sampleBlocks - 1)
		sum += milli(text[at : at+sampleBlock])
	}
	return sum * uint64(n) / (sampleBlock * sampleBlocks)
}

func milli[T ~string | ~[]byte](text T) (sum uint64) {
	for i := range len(text) {
		sum += uint64(classMilli[text[i]])
	}
	return sum
}

// DefaultMaxOutput is what an answer may cost when a request does not limit it.
const DefaultMaxOutput = 4096

// EstimateBody bounds what a request can use before it is decoded: the tokens of all its bytes (Count), and
// the whole answer it allows, DefaultMaxOutput when it names no limit.
func EstimateBody(body []byte, maxOutput int64) int64 {
	if maxOutput <= 0 {
		maxOutput = DefaultMaxOutput
	}
	return Count(body) + maxOutput
}
