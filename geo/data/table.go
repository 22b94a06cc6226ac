// Package data is the country database that every node carries: address ranges of the IPFire
// Location project, converted to a table that is searched where it lies in the binary, so that a
// node that never locates an address pays nothing for it and one that does pays only for the pages
// that it touches. See ATTRIBUTION and LICENSE for whose data it is; build.sh makes it anew.
package data

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"net/netip"
	"time"
)

// The format, little endian, one section after another:
//
//	header   magic 8, built i64 (unix seconds), then u32 each: codes, rows4, groups6, rows6, fine6,
//	         CRC-32C of everything after the header
//	codes    2 bytes each; number 0 is "no data"
//	index4   65537 x u32: the first row that starts in or after the /16 of that number
//	low4     rows4 x u16: the lower half of the address at which a row starts; its upper half is
//	         the /16 whose index points to it. A row reaches to the next one.
//	code4    rows4 x u8
//	index6   8193 x u32: the first group in or after the /16 of number 0x2000 + i
//	key6     groups6 x u32: the upper 32 bits of the rows of a group, ascending
//	first6   groups6+1 x u32: the first row of a group
//	low6     rows6 x u32: bits 32 to 63 of the address at which a row starts
//	code6    rows6 x u8: mixed = look in fine6
//	fineHi   fine6 x u64, fineLo fine6 x u64, fineCode fine6 x u8: the rows within the /64 networks
//	         that have several countries
//
// IPv6 is 2000::/3 only: nothing else is handed out.
const (
	magic      = "CWGEO\x00\x01\n"
	headerSize = 8 + 8 + 6*4
	index4Size = 1<<16 + 1
	index6Size = 1<<13 + 1
	base6      = 0x2000
	mixed      = 0xff // code6: this /64 has several countries
	maxCodes   = mixed
)

// Table is a country database in memory. It is immutable and safe for concurrent use.
type Table struct {
	built time.Time
	sum   uint32
	body  string

	codes, index4, low4, code4                 string
	index6, key6, first6, low6, code6          string
	fineHi, fineLo, fineCode                   string
	rows4Len, groups6Len, rows6Len, fineLength int
}

// Open reads the header of a table and finds its sections. It keeps blob, copies nothing and does
// not look at the rows: Verify does.
func Open(blob string) (*Table, error) {
	if len(blob) < headerSize || blob[:len(magic)] != magic {
		return nil, errors.New("geo data: not a country table of this version")
	}
	t := &Table{
		built:      time.Unix(int64(uint64(u32(blob[8:], 0))|uint64(u32(blob[8:], 1))<<32), 0).UTC(),
		rows4Len:   int(u32(blob[16:], 1)),
		groups6Len: int(u32(blob[16:], 2)),
		rows6Len:   int(u32(blob[16:], 3)),
		fineLength: int(u32(blob[16:], 4)),
		sum:        u32(blob[16:], 5),
		body:       blob[headerSize:],
	}
	codes := int(u32(blob[16:], 0))
	rest, ok := t.body, true
	take := func(count, size int) string {
		n := count * size
		if count > len(rest) || n > len(rest) {
			ok = false
			return ""
		}
		s := rest[:n]
		rest = rest[n:]
		return s
	}
	t.codes = take(codes, 2)
	t.index4, t.low4, t.code4 = take(index4Size, 4), take(t.rows4Len, 2), take(t.rows4Len, 1)
	t.index6, t.key6, t.first6 = take(index6Size, 4), take(t.groups6Len, 4), take(t.groups6Len+1, 4)
	t.low6, t.code6 = take(t.rows6Len, 4), take(t.rows6Len, 1)
	t.fineHi, t.fineLo, t.fineCode = take(t.fineLength, 8), take(t.fineLength, 8), take(t.fineLength, 1)
	if !ok || rest != "" || codes < 1 || codes > maxCodes || t.rows4Len < 1 {
		return nil, fmt.Errorf("geo data: table of %d bytes does not have the sections its header names", len(blob))
	}
	return t, nil
}

// Built is when the data was exported by its maker.
func (t *Table) Built() time.Time { return t.built }

// Size is the length of the table in bytes.
func (t *Table) Size() int { return headerSize + len(t.body) }

// Codes is the number of codes, code 0 ("no data") included.
func (t *Table) Codes() int { return len(t.codes) / 2 }

// Code is the text of code n as the source writes it: mostly countries, but also "EU" or "AP" for
// networks that the registries know no better place for. Code 0 is "".
func (t *Table) Code(n uint8) string {
	if n == 0 || int(n) >= t.Codes() {
		return ""
	}
	return t.codes[2*int(n) : 2*int(n)+2]
}

// Lookup finds the code of an address and the length of a prefix round it that has the same code
// throughout: the longest there is up to /16 for IPv4 and /32 for IPv6. Code 0 means no data; bits
// is 0 where the table cannot have any. It allocates nothing.
func (t *Table) Lookup(a netip.Addr) (code uint8, prefix int) {
	if a.Is4() || a.Is4In6() {
		b := a.As4()
		return t.lookup4(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
	}
	if !a.Is6() {
		return 0, 0
	}
	b := a.As16()
	return t.lookup6(be64(b[:8]), be64(b[8:]))
}

func (t *Table) lookup4(a uint32) (uint8, int) {
	block, low := int(a>>16), uint32(a&0xffff)
	from, to := int(u32(t.index4, block)), int(u32(t.index4, block+1))
	lo, hi := from, to // the first row in lo..hi that starts after low
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if u16(t.low4, mid) <= low {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	prefix := 16
	if lo > from {
		if start := u16(t.low4, lo-1); start > 0 {
			prefix = max(prefix, 17+commonBits16(low, start-1))
		}
	}
	if lo < to {
		prefix = max(prefix, 17+commonBits16(low, u16(t.low4, lo)))
	}
	if lo == 0 {
		return 0, prefix // only in a damaged table: the first row starts at 0.0.0.0
	}
	return t.code4[lo-1], prefix
}

func (t *Table) lookup6(hi64, lo64 uint64) (uint8, int) {
	block := int(hi64>>48) - base6
	if block < 0 || block >= index6Size-1 {
		return 0, 0
	}
	key := uint32(hi64 >> 32)
	g, end := int(u32(t.index6, block)), int(u32(t.index6, block+1))
	for g < end { // the first group with this key or a later one
		mid := int(uint(g+end) >> 1)
		if u32(t.key6, mid) < key {
			g = mid + 1
		} else {
			end = mid
		}
	}
	first := int(u32(t.first6, g))
	if g >= t.groups6Len || u32(t.key6, g) != key {
		if first == 0 {
			return 0, 32
		}
		return t.code6[first-1], 32
	}
	low := uint32(hi64)
	lo, hi := first, int(u32(t.first6, g+1))
	to := hi
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if u32(t.low6, mid) <= low {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	var code uint8 // before the very first row nothing is known
	if lo > 0 {
		code = t.code6[lo-1]
	}
	if code == mixed {
		return t.lookupFine(hi64, lo64)
	}
	prefix := 32
	if lo > first {
		if start := u32(t.low6, lo-1); start > 0 {
			prefix = max(prefix, 33+bits.LeadingZeros32(low^(start-1)))
		}
	}
	if lo < to {
		prefix = max(prefix, 33+bits.LeadingZeros32(low^u32(t.low6, lo)))
	}
	return code, prefix
}

// lookupFine finds the row within a /64 that has several.
func (t *Table) lookupFine(hi64, lo64 uint64) (uint8, int) {
	lo, hi := 0, t.fineLength
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if h := u64(t.fineHi, mid); h < hi64 || h == hi64 && u64(t.fineLo, mid) <= lo64 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 || u64(t.fineHi, lo-1) != hi64 {
		return 0, 64
	}
	prefix := 64
	if start := u64(t.fineLo, lo-1); start > 0 {
		prefix = max(prefix, 65+bits.LeadingZeros64(lo64^(start-1)))
	}
	if lo < t.fineLength && u64(t.fineHi, lo) == hi64 {
		prefix = max(prefix, 65+bits.LeadingZeros64(lo64^u64(t.fineLo, lo)))
	}
	return t.fineCode[lo-1], min(prefix, 128)
}

// Verify reads the whole table: its checksum, and that no lookup can leave it. The embedded table
// is verified by a test, not at every start, so as not to page it in.
func (t *Table) Verify() error {
	if sum := crc32.Checksum([]byte(t.body), crc32.MakeTable(crc32.Castagnoli)); sum != t.sum {
		return fmt.Errorf("geo data: checksum %08x, header says %08x", sum, t.sum)
	}
	return t.verifyRows()
}

func (t *Table) verifyRows() error {
	if u32(t.index4, 0) != 0 || u16(t.low4, 0) != 0 || int(u32(t.index4, index4Size-1)) != t.rows4Len {
		return errors.New("geo data: IPv4 index does not span its rows")
	}
	for i := range index4Size - 1 {
		from, to := int(u32(t.index4, i)), int(u32(t.index4, i+1))
		if from > to || to > t.rows4Len {
			return fmt.Errorf("geo data: IPv4 index falls at /16 %#x", i)
		}
		if !ascending(t.low4, from, to, u16) {
			return fmt.Errorf("geo data: IPv4 rows of /16 %#x are not in order", i)
		}
	}
	if u32(t.first6, 0) != 0 || int(u32(t.first6, t.groups6Len)) != t.rows6Len ||
		u32(t.index6, 0) != 0 || int(u32(t.index6, index6Size-1)) != t.groups6Len {
		return errors.New("geo data: IPv6 index does not span its rows")
	}
	for i := range index6Size - 1 {
		from, to := int(u32(t.index6, i)), int(u32(t.index6, i+1))
		if from > to || to > t.groups6Len || !ascending(t.key6, from, to, u32) {
			return fmt.Errorf("geo data: IPv6 groups of /16 %#x are not in order", base6+i)
		}
		for g := from; g < to; g++ {
			if int(u32(t.key6, g)>>16) != base6+i {
				return fmt.Errorf("geo data: IPv6 group %d is indexed under the wrong /16", g)
			}
		}
	}
	for g := range t.groups6Len {
		from, to := int(u32(t.first6, g)), int(u32(t.first6, g+1))
		if from > to || to > t.rows6Len || !ascending(t.low6, from, to, u32) {
			return fmt.Errorf("geo data: IPv6 rows of group %d are not in order", g)
		}
	}
	for i := 1; i < t.fineLength; i++ {
		h, g := u64(t.fineHi, i-1), u64(t.fineHi, i)
		if h > g || h == g && u64(t.fineLo, i-1) >= u64(t.fineLo, i) {
			return fmt.Errorf("geo data: fine row %d is not in order", i)
		}
	}
	for _, codes := range [...]string{t.code4, t.fineCode} {
		for i := range len(codes) {
			if int(codes[i]) >= t.Codes() {
				return fmt.Errorf("geo data: row %d has code %d of %d", i, codes[i], t.Codes())
			}
		}
	}
	for i := range len(t.code6) {
		if c := t.code6[i]; c != mixed && int(c) >= t.Codes() {
			return fmt.Errorf("geo data: IPv6 row %d has code %d of %d", i, c, t.Codes())
		}
	}
	return nil
}

func ascending(s string, from, to int, at func(string, int) uint32) bool {
	for i := from + 1; i < to; i++ {
		if at(s, i-1) >= at(s, i) {
			return false
		}
	}
	return true
}

func commonBits16(a, b uint32) int { return bits.LeadingZeros16(uint16(a ^ b)) }

// The readers below take the i-th number of a section. The compiler makes one load of each.

func u16(s string, i int) uint32 {
	s = s[2*i : 2*i+2]
	return uint32(s[0]) | uint32(s[1])<<8
}

func u32(s string, i int) uint32 {
	s = s[4*i : 4*i+4]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func u64(s string, i int) uint64 {
	s = s[8*i : 8*i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func be64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[7]) | uint64(b[6])<<8 | uint64(b[5])<<16 | uint64(b[4])<<24 |
		uint64(b[3])<<32 | uint64(b[2])<<40 | uint64(b[1])<<48 | uint64(b[0])<<56
}
