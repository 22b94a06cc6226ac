package meter

// classMilli is how many thousandths of a token one byte is worth, by the byte's class. Fitted to
// the usual byte-pair vocabularies: English prose is near 4 bytes a token, digits go in threes, and
// a CJK character of three bytes is about one token.
var classMilli = func() (t [256]uint16) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			t[c] = 210
		case c >= '0' && c <= '9':
			t[c] = 340
		case c == ' ':
			t[c] = 150
		case c == '\n', c == '\t', c == '\r':
			t[c] = 300
		case c >= 0xF0: // emoji and rare planes
			t[c] = 1000
		case c >= 0xE0: // three-byte lead: CJK, Indic
			t[c] = 600
		case c >= 0xC0: // two-byte lead: accents, Greek, Cyrillic, Arabic
			t[c] = 350
		case c >= 0x80: // continuation
			t[c] = 200
		default:
			t[c] = 500
		}
	}
	return t
}()

// Samples: a long text is judged by sampleBlocks blocks spread evenly over it.
const (
	sampleBlock  = 64
	sampleBlocks = 64
)

// Count estimates the tokens of a text by byte class. At most 4 KiB are looked at, whatever the
// length, so it costs a few microseconds at most. Only the empty text has none.
func Count[T ~string | ~[]byte](text T) int64 {
	n := len(text)
	if n <= sampleBlock*sampleBlocks {
		return int64((milli(text) + 999) / 1000)
	}
	var sum uint64
	for i := range sampleBlocks {
		at := i * (n - sampleBlock) / (sampleBlocks - 1)
		sum += milli(text[at : at+sampleBlock])
	}
	return int64(sum*uint64(n)/(sampleBlock*sampleBlocks)/1000) + 1
}

func milli[T ~string | ~[]byte](text T) (sum uint64) {
	for i := range len(text) {
		sum += uint64(classMilli[text[i]])
	}
	return sum
}

// DefaultMaxOutput is what an answer may cost when a request does not limit it.
const DefaultMaxOutput = 4096

// Estimate bounds what a request can use before anything is known of its text: a token for every
// four bytes of body, and the whole answer it allows (DefaultMaxOutput when it names no limit).
// Constant time.
func Estimate(bodyLen int, maxOutput int64) int64 {
	if maxOutput <= 0 {
		maxOutput = DefaultMaxOutput
	}
	return (int64(bodyLen)+3)/4 + maxOutput
}

// EstimateBody is Estimate with the body's bytes looked at (Count), for scripts where four bytes a
// token is far off.
func EstimateBody(body []byte, maxOutput int64) int64 {
	if maxOutput <= 0 {
		maxOutput = DefaultMaxOutput
	}
	return Count(body) + maxOutput
}
