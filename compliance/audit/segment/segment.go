// Package segment is an append-only file of CRC-framed records that survives a torn end. It knows
// nothing of what the records mean.
//
// Layout, all integers little endian:
//
//	file   = header frame*
//	header = magic(8) "CWSEG\x00\x00\x01" | base seq u64 | created unix ns i64 | origin(16) | crc32c(header before) u32
//	frame  = length u32 (1..65535) | crc32c(length | payload) u32 | payload
//
// A length of zero ends the file: it is space that was allocated and not yet written.
package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxRecord is the longest payload. C2SP tile bundles carry a record's length as 16 bits.
	MaxRecord = 65535
	// HeaderSize is where the first frame starts.
	HeaderSize = 8 + 8 + 8 + 16 + 4
	// FrameOverhead is what a frame adds to its payload.
	FrameOverhead = 8

	suffix = ".seg"
)

var (
	magic = [8]byte{'C', 'W', 'S', 'E', 'G', 0, 0, 1}
	table = crc32.MakeTable(crc32.Castagnoli)

	// ErrTooLong is returned for a record over MaxRecord, and for an empty one.
	ErrTooLong = errors.New("record length is not between 1 and 65535 bytes")
	// ErrHeader is returned for a file that does not start with a valid header.
	ErrHeader = errors.New("not a segment file")
)

// Header opens a segment.
type Header struct {
	Base    uint64 // sequence number of the first record
	Created time.Time
	Origin  [16]byte // the log that it belongs to
}

// AppendHeader appends the encoded header.
func AppendHeader(b []byte, h Header) []byte {
	start := len(b)
	b = append(b, magic[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.Base)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Created.UnixNano()))
	b = append(b, h.Origin[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], table))
}

// ParseHeader reads an encoded header.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize || [8]byte(b[:8]) != magic {
		return Header{}, ErrHeader
	}
	if crc32.Checksum(b[:HeaderSize-4], table) != binary.LittleEndian.Uint32(b[HeaderSize-4:]) {
		return Header{}, fmt.Errorf("%w: header checksum differs", ErrHeader)
	}
	return Header{
		Base:    binary.LittleEndian.Uint64(b[8:]),
		Created: time.Unix(0, int64(binary.LittleEndian.Uint64(b[16:]))).UTC(),
		Origin:  [16]byte(b[24:40]),
	}, nil
}

// AppendFrame appends one framed record.
func AppendFrame(b, payload []byte) ([]byte, error) {
	if len(payload) == 0 || len(payload) > MaxRecord {
		return b, ErrTooLong
	}
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	sum := crc32.Checksum(b[start:start+4], table)
	b = binary.LittleEndian.AppendUint32(b, crc32.Update(sum, table, payload))
	return append(b, payload...), nil
}

// BeginFrame reserves a frame's head at the end of b; FinishFrame fills it once the payload has been
// appended. Together they frame a record without copying it.
func BeginFrame(b []byte) []byte { return append(b, 0, 0, 0, 0, 0, 0, 0, 0) }

// FinishFrame completes the frame that starts at offset at.
func FinishFrame(b []byte, at int) error {
	n := len(b) - at - FrameOverhead
	if n <= 0 || n > MaxRecord {
		return ErrTooLong
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(n))
	sum := crc32.Checksum(b[at:at+4], table)
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Update(sum, table, b[at+FrameOverhead:]))
	return nil
}

// Info is a segment found in a directory.
type Info struct {
	Path string
	Base uint64
	Size int64
}

// Path is where the segment whose first record is base lives.
func Path(dir string, base uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, suffix))
}

// List finds the segments of a directory in order. Other files are left alone.
func List(dir string) ([]Info, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var out []Info
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || len(name) != 20 || !e.Type().IsRegular() {
			continue
		}
		base, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("list segments: %w", err)
		}
		out = append(out, Info{Path: filepath.Join(dir, e.Name()), Base: base, Size: fi.Size()})
	}
	slices.SortFunc(out, func(a, b Info) int {
		switch {
		case a.Base < b.Base:
			return -1
		case a.Base > b.Base:
			return 1
		}
		return 0
	})
	return out, nil
}
