package state

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// A snapshot file:
//
//	"CWSTATE" format(1)
//	record*   section(1) len(uvarint) payload     sections in ascending order, records in order of id
//	end       0xff len(uvarint) payload: index(8) records(8) hash(32), big endian
//	crc       4 bytes, CRC-32C of everything before, big endian
//
// The id of a record is inside its payload. A build reads its own format and the one before it. Fields
// and sections that are new in a format stay unwritten until a command of that format used them, so the
// build before can still read what it could have written itself.
const (
	magic      = "CWSTATE"
	format     = 1
	formatMin  = 1 // the earliest format that is read
	sectionEnd = 0xff
	maxRecord  = command.MaxSize
)

// errSnapshot marks bytes that are no snapshot of this program.
var errSnapshot = errors.New("damaged snapshot")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode writes the current snapshot. Apply may go on meanwhile.
func (s *State) Encode(w io.Writer) error { return s.Current().Encode(w) }

// Encode writes s.
func (s *Snapshot) Encode(w io.Writer) error {
	e := &encoder{w: bufio.NewWriterSize(w, 1<<16)}
	e.write(append([]byte(magic), format))
	e.record(0, &meta{s})
	encodeTable(e, byte(command.Regions), s.Regions)
	encodeTable(e, byte(command.Orgs), s.Orgs)
	encodeTable(e, byte(command.Tenants), s.Tenants)
	encodeTable(e, byte(command.Providers), s.Providers)
	encodeTable(e, byte(command.Models), s.Models)
	encodeTable(e, byte(command.Keys), s.Keys)
	encodeTable(e, byte(command.Limits), s.Limits)
	encodeTable(e, byte(command.Audits), s.Audits)
	encodeTable(e, byte(command.Nodes), s.Nodes)
	encodeTable(e, byte(command.Tokens), s.Tokens)
	encodeTable(e, sectionRevoked, s.Revoked)
	encodeTable(e, sectionAnswers, s.answers)
	end := binary.BigEndian.AppendUint64(nil, s.Index)
	end = binary.BigEndian.AppendUint64(end, e.records)
	hash := s.Hash()
	e.frame(sectionEnd, append(end, hash[:]...))
	e.write(binary.BigEndian.AppendUint32(nil, e.crc))
	if e.err == nil {
		e.err = e.w.Flush()
	}
	if e.err != nil {
		return fmt.Errorf("write snapshot at index %d: %w", s.Index, e.err)
	}
	return nil
}

type encoder struct {
	w       *bufio.Writer
	crc     uint32
	records uint64
	scratch []byte
	err     error
}

func (e *encoder) write(b []byte) {
	if e.err == nil {
		e.crc = crc32.Update(e.crc, castagnoli, b)
		_, e.err = e.w.Write(b)
	}
}

func (e *encoder) frame(section byte, payload []byte) {
	var head [1 + binary.MaxVarintLen64]byte
	head[0] = section
	n := binary.PutUvarint(head[1:], uint64(len(payload)))
	e.write(head[:1+n])
	e.write(payload)
}

func (e *encoder) record(section byte, r command.Record) {
	b, err := command.Append(e.scratch[:0], r)
	if err != nil && e.err == nil {
		e.err = err
	}
	e.scratch = b
	e.records++
	e.frame(section, b)
}

func encodeTable[T any, P interface {
	*T
	command.Record
}](e *encoder, section byte, t Table[T]) {
	for _, c := range t.chunks {
		for i := range c.rows {
			e.record(section, P(c.rows[i].val))
		}
	}
}

// Decode reads what Encode wrote into a new State, all of it or an error.
func Decode(r io.Reader) (*State, error) {
	snap, err := decode(r)
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	s := &State{}
	s.cur.Store(snap)
	return s, nil
}

type decoder struct {
	r   *bufio.Reader
	crc uint32
}

// ReadByte implements io.ByteReader, for the lengths.
func (d *decoder) ReadByte() (byte, error) {
	b, err := d.r.ReadByte()
	if err == nil {
		d.crc = crc32.Update(d.crc, castagnoli, []byte{b})
	}
	return b, err
}

func (d *decoder) read(n uint64) ([]byte, error) {
	// Grow with what is there: a damaged length must not allocate what it claims.
	var out []byte
	for n > 0 {
		part := min(n, 1<<16)
		at := len(out)
		out = append(out, make([]byte, part)...)
		if _, err := io.ReadFull(d.r, out[at:]); err != nil {
			return nil, err
		}
		n -= part
	}
	d.crc = crc32.Update(d.crc, castagnoli, out)
	return out, nil
}

func (d *decoder) frame() (section byte, payload []byte, err error) {
	if section, err = d.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(d)
	if err != nil {
		return 0, nil, err
	}
	if n > maxRecord {
		return 0, nil, fmt.Errorf("%w: a record of %d bytes", errSnapshot, n)
	}
	payload, err = d.read(n)
	return section, payload, err
}

func decode(r io.Reader) (*Snapshot, error) {
	d := &decoder{r: bufio.NewReaderSize(r, 1<<16)}
	head, err := d.read(uint64(len(magic) + 1))
	if err != nil || string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: no snapshot of causeway", errSnapshot)
	}
	if v := head[len(magic)]; v < formatMin || v > format {
		return nil, fmt.Errorf("snapshot format %d; this build reads %d to %d: use the build that wrote it or a newer one", v, formatMin, format)
	}
	l := &loader{snap: &Snapshot{}}
	for {
		section, payload, err := d.frame()
		if err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", errSnapshot, l.records, err)
		}
		if section != sectionEnd {
			if err := l.load(section, payload); err != nil {
				return nil, fmt.Errorf("%w: record %d of section %d: %w", errSnapshot, l.records, section, err)
			}
			continue
		}
		if err := l.finish(payload); err != nil {
			return nil, err
		}
		want := d.crc
		sum, err := d.read(4)
		if err != nil || binary.BigEndian.Uint32(sum) != want {
			return nil, fmt.Errorf("%w: checksum", errSnapshot)
		}
		if _, err := d.ReadByte(); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: bytes after the end", errSnapshot)
		}
		return l.snap, nil
	}
}

// loader fills a new snapshot, record by record.
type loader struct {
	snap    *Snapshot
	records uint64
	section byte
	id      string
}

func (l *loader) load(section byte, payload []byte) error {
	if section < l.section || section == 0 && l.records > 0 || section > 0 && l.records == 0 {
		return errors.New("sections out of order")
	}
	if section > l.section {
		l.section, l.id = section, ""
	}
	l.records++
	s := l.snap
	switch section {
	case 0:
		return command.Parse(payload, &meta{s})
	case byte(command.Regions):
		return load(l, &s.Regions, payload, func(v *Region) string { return v.ID })
	case byte(command.Orgs):
		return load(l, &s.Orgs, payload, func(v *Org) string { return v.ID })
	case byte(command.Tenants):
		return load(l, &s.Tenants, payload, func(v *Tenant) string { return v.ID })
	case byte(command.Providers):
		return load(l, &s.Providers, payload, func(v *Provider) string { return v.ID })
	case byte(command.Models):
		return load(l, &s.Models, payload, func(v *Model) string { return v.ID })
	case byte(command.Keys):
		return load(l, &s.Keys, payload, func(v *Key) string { return v.ID })
	case byte(command.Limits):
		return load(l, &s.Limits, payload, func(v *Limit) string { return v.LimitID() })
	case byte(command.Audits):
		return load(l, &s.Audits, payload, func(v *AuditRule) string { return v.Tenant })
	case byte(command.Nodes):
		return load(l, &s.Nodes, payload, func(v *Node) string { return v.ID })
	case byte(command.Tokens):
		return load(l, &s.Tokens, payload, func(v *Token) string { return v.ID })
	case sectionRevoked:
		return load(l, &s.Revoked, payload, func(v *Certificate) string { return v.Serial })
	case sectionAnswers:
		return load(l, &s.answers, payload, func(v *answer) string { return v.ID })
	default:
		return errors.New("a section that this build does not know: use a newer one")
	}
}

func load[T any, P interface {
	*T
	command.Record
}](l *loader, t *Table[T], payload []byte, id func(*T) string) error {
	var v T
	if err := command.Parse(payload, P(&v)); err != nil {
		return err
	}
	if id(&v) <= l.id {
		return errors.New("ids out of order")
	}
	l.id = id(&v)
	t.grow(row[T]{l.id, &v})
	return nil
}

// grow appends in place, for a table that nobody else has yet.
func (t *Table[T]) grow(r row[T]) {
	if n := len(t.chunks); n > 0 && len(t.chunks[n-1].rows) < chunkRows {
		t.chunks[n-1].rows = append(t.chunks[n-1].rows, r)
	} else {
		t.chunks = append(t.chunks, &chunk[T]{rows: append(make([]row[T], 0, chunkRows), r)})
	}
	t.n++
}

// finish checks the end record and rebuilds the indexes.
func (l *loader) finish(payload []byte) error {
	if len(payload) != 48 || l.records == 0 || binary.BigEndian.Uint64(payload[8:]) != l.records {
		return fmt.Errorf("%w: end record", errSnapshot)
	}
	l.snap.Index = binary.BigEndian.Uint64(payload)
	if err := l.snap.reindex(); err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if hash := l.snap.Hash(); string(hash[:]) != string(payload[16:]) {
		return fmt.Errorf("%w: the content is not what was written", errSnapshot)
	}
	return nil
}
