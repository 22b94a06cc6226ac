package data

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Range is a run of addresses of one family with one two-letter code.
type Range struct {
	First, Last netip.Addr
	Code        string
}

// Build writes the ranges as a table. They may come in any order but must not overlap; IPv6 ones
// must lie in 2000::/3. The same ranges give the same bytes.
func Build(ranges []Range, built time.Time) ([]byte, error) {
	b := builder{}
	v4, v6 := []edge{}, []edge{}
	ranges = slices.SortedFunc(slices.Values(ranges), func(x, y Range) int { return x.First.Compare(y.First) })
	if err := b.number(ranges); err != nil {
		return nil, err
	}
	for i, r := range ranges {
		if r.First.Is4() != r.Last.Is4() || r.First.Is4In6() || r.Last.Less(r.First) {
			return nil, fmt.Errorf("geo data: range %s-%s is not one", r.First, r.Last)
		}
		if i > 0 && r.First.Is4() == ranges[i-1].First.Is4() && !ranges[i-1].Last.Less(r.First) {
			return nil, fmt.Errorf("geo data: range %s-%s overlaps the one before", r.First, r.Last)
		}
		if r.First.Is4() {
			v4 = appendRange(v4, r, b.code(r.Code))
			continue
		}
		if outside6(r.First) || outside6(r.Last) {
			return nil, fmt.Errorf("geo data: range %s-%s is outside 2000::/3", r.First, r.Last)
		}
		v6 = appendRange(v6, r, b.code(r.Code))
	}
	b.rows4(v4)
	b.rows6(v6)
	return b.bytes(built), nil
}

func outside6(a netip.Addr) bool { return a.As16()[0]>>5 != 1 }

// edge is an address from which on a code holds, until the next edge.
type edge struct {
	hi, lo uint64 // IPv4: hi = 0
	code   uint8
}

// appendRange adds the edges of r; the gap before it, if there is one, has code 0 by the edge that
// the range before it ended with.
func appendRange(edges []edge, r Range, code uint8) []edge {
	e := edgeAt(r.First, code)
	if n := len(edges); n > 0 && edges[n-1].hi == e.hi && edges[n-1].lo == e.lo {
		edges = edges[:n-1] // no gap
	}
	if n := len(edges); n == 0 || edges[n-1].code != code {
		edges = append(edges, e)
	}
	if next := r.Last.Next(); next.IsValid() && next.Is4() == r.Last.Is4() {
		edges = append(edges, edgeAt(next, 0))
	}
	return edges
}

func edgeAt(a netip.Addr, code uint8) edge {
	if a.Is4() {
		b := a.As4()
		return edge{lo: uint64(binary.BigEndian.Uint32(b[:])), code: code}
	}
	b := a.As16()
	return edge{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), code}
}

type builder struct {
	codes                      []string // sorted
	index4                     []uint32
	low4                       []uint16
	code4                      []uint8
	index6, key6, first6, low6 []uint32
	code6                      []uint8
	fineHi, fineLo             []uint64
	fineCode                   []uint8
}

func (b *builder) number(ranges []Range) error {
	seen := map[string]bool{}
	for _, r := range ranges {
		if len(r.Code) != 2 {
			return fmt.Errorf("geo data: code %q of %s is not two letters", r.Code, r.First)
		}
		if !seen[r.Code] {
			seen[r.Code] = true
			b.codes = append(b.codes, r.Code)
		}
	}
	if len(b.codes)+1 > maxCodes {
		return fmt.Errorf("geo data: %d codes, at most %d fit", len(b.codes), maxCodes-1)
	}
	slices.Sort(b.codes)
	return nil
}

func (b *builder) code(s string) uint8 {
	i, _ := slices.BinarySearch(b.codes, s)
	return uint8(i + 1)
}

func (b *builder) rows4(edges []edge) {
	if len(edges) == 0 || edges[0].lo != 0 {
		edges = slices.Insert(edges, 0, edge{})
	}
	b.index4 = make([]uint32, index4Size)
	block := 0
	for _, e := range edges {
		for ; block <= int(e.lo>>16); block++ {
			b.index4[block] = uint32(len(b.low4))
		}
		b.low4 = append(b.low4, uint16(e.lo))
		b.code4 = append(b.code4, e.code)
	}
	for ; block < index4Size; block++ {
		b.index4[block] = uint32(len(b.low4))
	}
}

// rows6 cuts the edges at /64: a /64 in which the code changes becomes one mixed row, and its edges
// go to the fine rows.
func (b *builder) rows6(edges []edge) {
	var rows []edge
	push := func(hi uint64, code uint8) {
		if n := len(rows); n > 0 && rows[n-1].hi == hi {
			rows[n-1].code = code
			return
		}
		if n := len(rows); n > 0 && rows[n-1].code == code && code != mixed {
			return
		}
		rows = append(rows, edge{hi: hi, code: code})
	}
	var before uint8 // the code that holds before the edge at hand
	for i := 0; i < len(edges); {
		hi := edges[i].hi
		end := i
		for end < len(edges) && edges[end].hi == hi {
			end++
		}
		if end-i == 1 && edges[i].lo == 0 {
			push(hi, edges[i].code)
		} else {
			push(hi, mixed)
			if edges[i].lo != 0 {
				b.fine(edge{hi, 0, before})
			}
			for _, e := range edges[i:end] {
				b.fine(e)
			}
			if hi != math.MaxUint64 {
				push(hi+1, edges[end-1].code)
			}
		}
		before = edges[end-1].code
		i = end
	}
	b.index6 = make([]uint32, index6Size)
	block := 0
	for i, r := range rows {
		key := uint32(r.hi >> 32)
		if i == 0 || key != uint32(rows[i-1].hi>>32) {
			for ; block <= int(key>>16)-base6 && block < index6Size; block++ {
				b.index6[block] = uint32(len(b.key6))
			}
			b.key6 = append(b.key6, key)
			b.first6 = append(b.first6, uint32(i))
		}
		b.low6 = append(b.low6, uint32(r.hi))
		b.code6 = append(b.code6, r.code)
	}
	for ; block < index6Size; block++ {
		b.index6[block] = uint32(len(b.key6))
	}
	b.first6 = append(b.first6, uint32(len(rows)))
	// The edge after 3fff:... starts a group that no index reaches: leave it out.
	if n := len(b.key6); n > 0 && b.key6[n-1]>>29 != 1 {
		last := b.first6[n-1]
		b.key6, b.first6 = b.key6[:n-1], b.first6[:n]
		b.low6, b.code6 = b.low6[:last], b.code6[:last]
		for i := range b.index6 {
			b.index6[i] = min(b.index6[i], uint32(n-1))
		}
	}
}

func (b *builder) fine(e edge) {
	b.fineHi = append(b.fineHi, e.hi)
	b.fineLo = append(b.fineLo, e.lo)
	b.fineCode = append(b.fineCode, e.code)
}

func (b *builder) bytes(built time.Time) []byte {
	le := binary.LittleEndian
	body := []byte{0, 0}
	for _, c := range b.codes {
		body = append(body, c...)
	}
	body = append32(body, b.index4)
	for _, v := range b.low4 {
		body = le.AppendUint16(body, v)
	}
	body = append(body, b.code4...)
	body = append32(append32(append32(append32(body, b.index6), b.key6), b.first6), b.low6)
	body = append(body, b.code6...)
	for _, section := range [...][]uint64{b.fineHi, b.fineLo} {
		for _, v := range section {
			body = le.AppendUint64(body, v)
		}
	}
	body = append(body, b.fineCode...)

	out := append(make([]byte, 0, headerSize+len(body)), magic...)
	out = le.AppendUint64(out, uint64(built.Unix()))
	for _, n := range [...]int{len(b.codes) + 1, len(b.low4), len(b.key6), len(b.low6), len(b.fineHi)} {
		out = le.AppendUint32(out, uint32(n))
	}
	out = le.AppendUint32(out, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append(out, body...)
}

func append32(b []byte, section []uint32) []byte {
	for _, v := range section {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
