package dialect_test

import (
	"math"
	"slices"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/dialect"
)

// TestVectorsAreExact: numbers and base64 are two forms of the same float32, bit for bit.
func TestVectorsAreExact(t *testing.T) {
	t.Parallel()
	value := rapid.Custom(func(t *rapid.T) float32 {
		f := math.Float32frombits(rapid.Uint32().Draw(t, "bits"))
		if f != f || math.IsInf(float64(f), 0) {
			return -0.5
		}
		return f
	})
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(value, 1, 40).Draw(t, "vector")
		w := dialect.NewWriter(nil)
		w.Vector(v)
		numbers := w.Take()
		w = dialect.NewWriter(nil)
		w.VectorBase64(v)
		for _, text := range [][]byte{numbers, w.Take()} {
			back, ok := dialect.Vector(text)
			if !ok || !slices.EqualFunc(back, v, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
				t.Fatalf("%v is written as %s and read as %v", v, text, back)
			}
		}
	})
}

func TestVectorRefuses(t *testing.T) {
	t.Parallel()
	for why, text := range map[string]string{
		"nothing": ``, "null": `null`, "empty": `[]`, "empty base64": `""`, "text inside": `["1"]`, "null inside": `[1,null]`, "nested": `[[1]]`,
		"too large for a float32": `[1e39]`, "no base64": `"AA"`, "three bytes": `"AAAA"`, "not a number": `"AADAfw=="`, "infinite": `"AACAfw=="`, "an object": `{}`,
	} {
		if v, ok := dialect.Vector([]byte(text)); ok {
			t.Errorf("%s: %s is read as %v", why, text, v)
		}
	}
}

// FuzzVector: what is read is finite and is written so that it reads the same.
func FuzzVector(f *testing.F) {
	for _, s := range []string{`[0.1,-2e-3]`, `"AACAPwAAAEA="`, `[-0]`, `[1e39]`, `"AADAfw=="`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !jsontext.Value(text).IsValid() || len(text) == 0 || text[0] <= ' ' {
			return // only what a scan has accepted gets here
		}
		v, ok := dialect.Vector(text)
		if !ok {
			return
		}
		w := dialect.NewWriter(nil)
		w.VectorBase64(v)
		if back, ok := dialect.Vector(w.Take()); !ok || !slices.Equal(back, v) {
			t.Fatalf("%s: %v, then %v", text, v, back)
		}
	})
}
