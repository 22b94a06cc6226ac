package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/bits"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/mesh/probe"
)

// ALPN names this protocol on the node's QUIC endpoint.
//
// On such a connection memberlist's packets are QUIC datagrams, or a unidirectional stream each when
// too big for one; its push/pull and fallback pings are bidirectional streams. Both ends may dial;
// of two connections the one that the smaller node id dialled stays. Two payloads are ours:
//
// Meta, the node meta that membership messages carry, at most 512 bytes (memberlist's own bound):
//
//	version 1 | roles 1 | id, region, addr, build: length 1 + bytes each
//
// Record, a user message, at most recordMax bytes so that it fits one datagram with its neighbours:
//
//	version 1 | flags 1 (bit 0: draining) | load 1 | seq 8 | origin: length 1 + bytes
//	| n 1 | n x peer:     node 4, rtt 2 (0.1 ms), jitter 1 (log, 0.1 ms), loss 1 (log, 1/65535), age 1 (log, 0.1 s)
//	| n 1 | n x provider: id 4, ttft 2 (ms), connect 1 (log, ms), errors 1 (log, 1/65535), state 1
//
// Integers are big-endian. "log" is one byte b for about 2^(b/16)-1 units: 4 % steps, 0 to 65535 units.
// A push/pull's user state is a list of records, length 2 + bytes each.
const ALPN = "causeway-gossip/1"

const (
	metaVersion   = 1
	recordVersion = 1
	metaMax       = 512
	nameMax       = 255

	maxPeers     = 32
	maxProviders = 24
	sampleSize   = 9
	// recordMax is the size of the fullest record; packets are at most packetSize.
	recordMax  = 3 + 8 + 1 + nameMax + 1 + maxPeers*sampleSize + 1 + maxProviders*sampleSize
	packetSize = 1100

	flagDraining = 1
)

var errWire = errors.New("malformed gossip")

// ShortID stands for a node's or provider's id in samples. Receivers match it against the ids they
// know; ids they do not know are of no use to them anyway.
type ShortID uint32

// Short is the ShortID of an id: 32-bit FNV-1a.
func Short(id string) ShortID {
	h := fnv.New32a()
	h.Write([]byte(id)) // never fails
	return ShortID(h.Sum32())
}

// Meta is what never changes while a node runs.
type Meta struct {
	ID     identity.NodeID
	Region string
	Roles  identity.Role
	Addr   string // host:port of its mesh port, as peers dial it
	Build  string
}

// Record is what a node tells about itself and what it sees, again and again.
type Record struct {
	Load      uint8 // 0 idle .. 255 full
	Draining  bool
	Peers     []PeerSample     // at most 32, the rest is dropped
	Providers []ProviderSample // at most 24, the rest is dropped
}

// PeerSample is one node's view of the way to another. RTT is exact to 0.1 ms up to 6.5 s, the rest to 4 %.
type PeerSample struct {
	Node        ShortID
	RTT, Jitter time.Duration
	Loss        float64       // 0..1
	Age         time.Duration // of the last answer, when the record was made
}

// ProviderSample is one exit's view of a provider. TTFT is exact to 1 ms up to 65 s, the rest to 4 %.
type ProviderSample struct {
	Provider      ShortID
	TTFT, Connect time.Duration // 0 = not known
	ErrorRate     float64       // 0..1
	State         probe.State
}

// packLog stores v units in a byte; unpackLog(packLog(v)) is within 4.5 % of v.
func packLog(v float64) byte {
	if !(v > 0) {
		return 0
	}
	return byte(min(255, math.Round(16*math.Log2(1+v))))
}

func unpackLog(b byte) float64 {
	return math.Exp2(float64(b)/16) - 1
}

func packDuration(d, unit time.Duration) byte { return packLog(float64(d) / float64(unit)) }

func unpackDuration(b byte, unit time.Duration) time.Duration {
	return time.Duration(unpackLog(b) * float64(unit))
}

func packRatio(r float64) byte { return packLog(min(r, 1) * 65535) }

func unpackRatio(b byte) float64 { return min(1, unpackLog(b)/65535) }

func pack16(d, unit time.Duration) uint16 {
	return uint16(min(math.MaxUint16, (max(0, d)+unit/2)/unit))
}

func appendString(b []byte, s string) []byte {
	s = s[:min(len(s), nameMax)]
	return append(append(b, byte(len(s))), s...)
}

// reader takes fields off the front of a message; after the first short read ok stays false.
type reader struct {
	b  []byte
	ok bool
}

func (r *reader) take(n int) []byte {
	if !r.ok || len(r.b) < n {
		r.ok = false
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) string() string { return string(r.take(int(r.byte()))) }

// appendMeta encodes m. It fails when m does not fit metaMax.
func appendMeta(b []byte, m Meta) ([]byte, error) {
	start := len(b)
	b = append(b, metaVersion, byte(m.Roles))
	for _, s := range [...]string{string(m.ID), m.Region, m.Addr, m.Build} {
		if len(s) > nameMax {
			return nil, fmt.Errorf("encode gossip meta: %q is longer than %d bytes", s[:32]+"...", nameMax)
		}
		b = appendString(b, s)
	}
	if n := len(b) - start; n > metaMax {
		return nil, fmt.Errorf("encode gossip meta: %d bytes, at most %d fit", n, metaMax)
	}
	return b, nil
}

// parseMeta reads what appendMeta wrote; bytes behind it are left for later versions.
func parseMeta(b []byte) (Meta, error) {
	r := reader{b: b, ok: len(b) <= metaMax}
	if v := r.byte(); r.ok && v != metaVersion {
		return Meta{}, fmt.Errorf("parse gossip meta: version %d: %w", v, errWire)
	}
	m := Meta{Roles: identity.Role(r.byte())}
	m.ID = identity.NodeID(r.string())
	m.Region, m.Addr, m.Build = r.string(), r.string(), r.string()
	if !r.ok || m.ID == "" {
		return Meta{}, fmt.Errorf("parse gossip meta: %w", errWire)
	}
	return m, nil
}

// appendRecord encodes a record of a node. It always fits recordMax.
func appendRecord(b []byte, origin identity.NodeID, seq uint64, rec Record) []byte {
	var flags byte
	if rec.Draining {
		flags |= flagDraining
	}
	b = append(b, recordVersion, flags, rec.Load)
	b = binary.BigEndian.AppendUint64(b, seq)
	b = appendString(b, string(origin))
	peers := rec.Peers[:min(len(rec.Peers), maxPeers)]
	b = append(b, byte(len(peers)))
	for _, p := range peers {
		b = binary.BigEndian.AppendUint32(b, uint32(p.Node))
		b = binary.BigEndian.AppendUint16(b, pack16(p.RTT, 100*time.Microsecond))
		b = append(b, packDuration(p.Jitter, 100*time.Microsecond), packRatio(p.Loss), packDuration(p.Age, 100*time.Millisecond))
	}
	providers := rec.Providers[:min(len(rec.Providers), maxProviders)]
	b = append(b, byte(len(providers)))
	for _, p := range providers {
		b = binary.BigEndian.AppendUint32(b, uint32(p.Provider))
		b = binary.BigEndian.AppendUint16(b, pack16(p.TTFT, time.Millisecond))
		b = append(b, packDuration(p.Connect, time.Millisecond), packRatio(p.ErrorRate), byte(p.State))
	}
	return b
}

// parseRecord reads what appendRecord wrote; bytes behind it are left for later versions.
func parseRecord(b []byte) (origin identity.NodeID, seq uint64, rec Record, err error) {
	r := reader{b: b, ok: true}
	if v := r.byte(); r.ok && v != recordVersion {
		return "", 0, Record{}, fmt.Errorf("parse gossip record: version %d: %w", v, errWire)
	}
	rec.Draining = r.byte()&flagDraining != 0
	rec.Load = r.byte()
	seq = binary.BigEndian.Uint64(r.take(8))
	origin = identity.NodeID(r.string())
	if n := int(r.byte()); n > maxPeers || n*sampleSize > len(r.b) {
		r.ok = false
	} else if n > 0 {
		rec.Peers = make([]PeerSample, n)
	}
	for i := range rec.Peers {
		f := r.take(sampleSize)
		rec.Peers[i] = PeerSample{
			Node:   ShortID(binary.BigEndian.Uint32(f)),
			RTT:    time.Duration(binary.BigEndian.Uint16(f[4:])) * 100 * time.Microsecond,
			Jitter: unpackDuration(f[6], 100*time.Microsecond),
			Loss:   unpackRatio(f[7]),
			Age:    unpackDuration(f[8], 100*time.Millisecond),
		}
	}
	if n := int(r.byte()); n > maxProviders || n*sampleSize > len(r.b) {
		r.ok = false
	} else if n > 0 {
		rec.Providers = make([]ProviderSample, n)
	}
	for i := range rec.Providers {
		f := r.take(sampleSize)
		rec.Providers[i] = ProviderSample{
			Provider:  ShortID(binary.BigEndian.Uint32(f)),
			TTFT:      time.Duration(binary.BigEndian.Uint16(f[4:])) * time.Millisecond,
			Connect:   unpackDuration(f[6], time.Millisecond),
			ErrorRate: unpackRatio(f[7]),
			State:     probe.State(f[8]),
		}
	}
	if !r.ok || origin == "" {
		return "", 0, Record{}, fmt.Errorf("parse gossip record: %w", errWire)
	}
	return origin, seq, rec, nil
}

// appendList adds one record to a push/pull's user state.
func appendList(b, record []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(record)))
	return append(b, record...)
}

// eachRecord calls fn for every record of a push/pull's user state, up to the first damage.
func eachRecord(b []byte, fn func(record []byte)) {
	for len(b) >= 2 {
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; n > len(b) {
			return
		}
		fn(b[:n])
		b = b[n:]
	}
}

// newSeq is where a node's sequence begins: the clock, so that a restarted node is newer than its
// former self, and it learns from the mesh when its clock went back.
func newSeq(now time.Time) uint64 {
	ms := now.UnixMilli()
	if ms < 0 || bits.Len64(uint64(ms)) > 48 {
		return 1
	}
	return uint64(ms) << 12
}
