// Package meter turns token counts into money and bodies into token estimates. Money is integer
// nano-USD from end to end; there is no floating point here.
package meter

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// NanoUSD is a sum of money in billionths of a US dollar. An int64 holds +-9.2 billion dollars.
type NanoUSD int64

// Limits of the type; sums saturate here and never wrap.
const (
	MaxNanoUSD NanoUSD = math.MaxInt64
	oneUSD             = 1_000_000_000
	decimals           = 9
	perMillion         = 1_000_000
)

// ParseUSD reads a decimal amount such as "2.50" exactly. It refuses signs, exponents, empty
// strings, more than nine decimals and amounts that an int64 of nano-USD cannot hold.
func ParseUSD(s string) (NanoUSD, error) {
	whole, frac, dotted := strings.Cut(s, ".")
	if whole == "" || (dotted && frac == "") {
		return 0, fmt.Errorf("parse amount %q: want digits with an optional decimal part, as in \"2.50\"", s)
	}
	if len(frac) > decimals {
		if strings.TrimRight(frac[decimals:], "0") != "" {
			return 0, fmt.Errorf("parse amount %q: more than %d decimals", s, decimals)
		}
		frac = frac[:decimals]
	}
	w, err := digits(whole)
	if err != nil {
		return 0, fmt.Errorf("parse amount %q: %w", s, err)
	}
	f, err := digits(frac)
	if err != nil {
		return 0, fmt.Errorf("parse amount %q: %w", s, err)
	}
	for range decimals - len(frac) {
		f *= 10
	}
	hi, lo := bits.Mul64(w, oneUSD)
	lo, carry := bits.Add64(lo, f, 0)
	if hi+carry != 0 || lo > math.MaxInt64 {
		return 0, fmt.Errorf("parse amount %q: more than %s USD", s, MaxNanoUSD)
	}
	return NanoUSD(lo), nil
}

var (
	errDigit = errors.New("only digits and one point are allowed")
	errRange = errors.New("too large")
)

// digits is ParseUint without its leniency for underscores and signs.
func digits(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, errDigit
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errRange
	}
	return n, nil
}

// String gives the shortest exact decimal with at least two decimals: "2.50", "0.00000015".
func (n NanoUSD) String() string {
	var buf [24]byte
	return string(n.Append(buf[:0]))
}

// Append appends String's form to b.
func (n NanoUSD) Append(b []byte) []byte {
	u := uint64(n)
	if n < 0 {
		b, u = append(b, '-'), -u
	}
	b = strconv.AppendUint(b, u/oneUSD, 10)
	b = append(b, '.')
	frac, keep := u%oneUSD, len(b)+2
	for div := uint64(oneUSD / 10); div > 0; div /= 10 {
		b = append(b, byte('0'+frac/div%10))
	}
	for len(b) > keep && b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// MarshalText gives String's form, so money is a decimal string in JSON.
func (n NanoUSD) MarshalText() ([]byte, error) { return n.Append(nil), nil }

// UnmarshalText is ParseUSD.
func (n *NanoUSD) UnmarshalText(b []byte) error {
	v, err := ParseUSD(string(b))
	if err != nil {
		return err
	}
	*n = v
	return nil
}

// Add is a saturating sum.
func (n NanoUSD) Add(m NanoUSD) NanoUSD {
	s := n + m
	switch {
	case n > 0 && m > 0 && s < 0:
		return math.MaxInt64
	case n < 0 && m < 0 && s >= 0:
		return math.MinInt64
	default:
		return s
	}
}

// Price is what a model costs: nano-USD per million units. Known is false when nobody has said,
// which a hard budget must refuse: an unknown price is not a price of nothing.
type Price struct {
	Input       NanoUSD
	CachedInput NanoUSD // reading the provider's prompt cache
	CacheWrite  NanoUSD // writing to it; 0 = as Input
	Output      NanoUSD
	Known       bool
}

// ParsePrice reads mesh.yaml's four decimal strings (USD per million). All empty is an unknown
// price. With some given, a missing cached_input or cache_write costs what input costs and a
// missing input or output costs nothing; "0" always means nothing.
func ParsePrice(input, cachedInput, cacheWrite, output string) (Price, error) {
	var p Price
	if input+cachedInput+cacheWrite+output == "" {
		return p, nil
	}
	p.Known = true
	for _, f := range [...]struct {
		name, text string
		to         *NanoUSD
	}{
		{"input", input, &p.Input},
		{"cached_input", cachedInput, &p.CachedInput},
		{"cache_write", cacheWrite, &p.CacheWrite},
		{"output", output, &p.Output},
	} {
		if f.text == "" {
			continue
		}
		v, err := ParseUSD(f.text)
		if err != nil {
			return Price{}, fmt.Errorf("price %s: %w", f.name, err)
		}
		*f.to = v
	}
	if cachedInput == "" {
		p.CachedInput = p.Input
	}
	return p, nil
}

// Cost prices a usage. It rounds up to the next nano-USD, so that a sum of costs never falls below
// the provider's bill, and saturates at MaxNanoUSD. Cached and cache-writing tokens are parts of
// Input (llm.Usage) and are charged once: a usage whose parts exceed Input is charged for its parts.
// A one-hour cache write costs 1.6 times a five-minute one (Anthropic: 2x against 1.25x input).
func Cost(p Price, u llm.Usage) NanoUSD {
	if p.CacheWrite == 0 {
		p.CacheWrite = p.Input
	}
	cached, write := max(u.Cached, 0), max(u.CacheWrite, 0)
	hour := min(max(u.CacheWrite1h, 0), write)
	plain := max(u.Input-cached-write, 0)

	var t tally
	t.add(p.Input, plain)
	t.add(p.CachedInput, cached)
	t.add(p.CacheWrite, write)
	t.addRatio(p.CacheWrite, hour, 3, 5)
	t.add(p.Output, u.Output)
	return t.total()
}

// tally is a 128-bit sum of price times units, in nano-USD per million.
type tally struct{ hi, lo uint64 }

func (t *tally) add(price NanoUSD, units int64) { t.addRatio(price, units, 1, 1) }

func (t *tally) addRatio(price NanoUSD, units int64, num, den uint64) {
	if price <= 0 || units <= 0 {
		return
	}
	hi, lo := bits.Mul64(uint64(price), uint64(units)) // < 2^126
	if num != den {
		h1, l1 := bits.Mul64(lo, num)
		hi = hi*num + h1 // hi < 2^62 and num is 3 at most
		q, r := hi/den, hi%den
		l, rem := bits.Div64(r, l1, den)
		if rem != 0 {
			l++
		}
		hi, lo = q, l
	}
	var carry uint64
	t.lo, carry = bits.Add64(t.lo, lo, 0)
	t.hi, carry = bits.Add64(t.hi, hi, carry)
	if carry != 0 {
		t.hi, t.lo = math.MaxUint64, math.MaxUint64
	}
}

func (t *tally) total() NanoUSD {
	if t.hi >= perMillion {
		return MaxNanoUSD
	}
	q, r := bits.Div64(t.hi, t.lo, perMillion)
	if q >= math.MaxInt64 {
		return MaxNanoUSD
	}
	if r != 0 {
		q++
	}
	return NanoUSD(q)
}
