package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/causeway-mesh/causeway/relay/fault"
)

var errFrame = errors.New("parse tunnel frame: malformed")

// beginFrame reserves a frame header; endFrame fills it in for the frame that starts at at.
func beginFrame(b []byte, typ byte) ([]byte, int) {
	return append(b, typ, 0, 0, 0), len(b)
}

func endFrame(b []byte, at, limit int) ([]byte, error) {
	n := len(b) - at - frameHeader
	if n > limit {
		return b[:at], fmt.Errorf("make tunnel frame: %d bytes, limit %d", n, limit)
	}
	b[at+1], b[at+2], b[at+3] = byte(n>>16), byte(n>>8), byte(n)
	return b, nil
}

func parseHeader(b []byte) (typ byte, n int) {
	return b[0], int(b[1])<<16 | int(b[2])<<8 | int(b[3])
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendDuration(b []byte, d time.Duration) []byte {
	return binary.AppendUvarint(b, uint64(max(d, 0)/time.Microsecond))
}

func appendCount(b []byte, n int64) []byte { return binary.AppendUvarint(b, uint64(max(n, 0))) }

func appendFields(b []byte, fields []Field) ([]byte, error) {
	if len(fields) > MaxFields {
		return b, fmt.Errorf("make tunnel frame: %d header fields, limit %d", len(fields), MaxFields)
	}
	b = binary.AppendUvarint(b, uint64(len(fields)))
	for _, f := range fields {
		b = appendString(b, f.Name)
		b = appendString(b, f.Value)
	}
	return b, nil
}

// AppendRequest adds r's frame to b. It fails, adding nothing, when r is over the bounds.
func AppendRequest(b []byte, r *Request) ([]byte, error) {
	if r.BodyLen < 0 || r.Timeout < 0 || r.Timeout > maxTimeout {
		return b, fmt.Errorf("make request frame: body length %d or timeout %v out of range", r.BodyLen, r.Timeout)
	}
	start := b
	b, at := beginFrame(b, frameRequest)
	b = append(b, r.ID[:]...)
	flags := byte(0)
	if r.Stream {
		flags |= flagStream
	}
	b = append(b, r.Attempt, flags, r.Op, r.Class)
	b = appendDuration(b, r.Timeout)
	b = binary.AppendUvarint(b, uint64(r.BodyLen))
	b = binary.AppendUvarint(b, r.ViewIndex)
	for _, s := range [...]string{r.Tenant, r.Provider, r.Dialect, r.Model, r.Method, r.Path, r.RawQuery, r.Traceparent} {
		b = appendString(b, s)
	}
	b, err := appendFields(b, r.Header)
	if err != nil {
		return start, err
	}
	return endFrame(b, at, MaxRequestFrame)
}

// ParseRequest reads the payload of a request frame. It copies, once.
func ParseRequest(payload []byte) (Request, error) {
	if len(payload) > MaxRequestFrame || len(payload) < 20 {
		return Request{}, errFrame
	}
	p := parser{rest: string(payload[20:])} // every string of the request is a part of this one
	r := Request{
		ID: [16]byte(payload), Attempt: payload[16], Stream: payload[17]&flagStream != 0, Op: payload[18], Class: payload[19],
		Timeout: p.duration(), BodyLen: p.count(), ViewIndex: p.uvarint(),
		Tenant: p.string(), Provider: p.string(), Dialect: p.string(), Model: p.string(),
		Method: p.string(), Path: p.string(), RawQuery: p.string(), Traceparent: p.string(),
		Header: p.fields(),
	}
	if p.bad || r.Timeout > maxTimeout {
		return Request{}, errFrame
	}
	return r, nil
}

// AppendReply adds r's frame to b. It fails, adding nothing, when r is over the bounds.
func AppendReply(b []byte, r *Reply) ([]byte, error) {
	if r.Status < 0 || r.Status > 999 {
		return b, fmt.Errorf("make reply frame: status %d", r.Status)
	}
	start := b
	b, at := beginFrame(b, frameReply)
	b = binary.AppendUvarint(b, uint64(r.Status))
	b = appendString(b, r.Secret)
	b, err := appendFields(b, r.Header)
	if err != nil {
		return start, err
	}
	return endFrame(b, at, MaxReplyFrame)
}

// ParseReply reads the payload of a reply frame. It copies, once.
func ParseReply(payload []byte) (Reply, error) {
	if len(payload) > MaxReplyFrame {
		return Reply{}, errFrame
	}
	p := parser{rest: string(payload)}
	status := p.uvarint()
	r := Reply{Status: int(min(status, 1000)), Secret: p.string(), Header: p.fields()}
	if p.bad || r.Status > 999 {
		return Reply{}, errFrame
	}
	return r, nil
}

// AppendTrailer adds t's frame to b. A fault is cut to fault's own bounds, so that it always fits.
func AppendTrailer(b []byte, t *Trailer) ([]byte, error) { return appendTrailer(b, t, false) }

func appendTrailer(b []byte, t *Trailer, closing bool) ([]byte, error) {
	b, at := beginFrame(b, frameTrailer)
	flags := byte(0)
	if t.Fault != nil {
		flags |= flagFault
	}
	if t.HasUsage {
		flags |= flagUsage
	}
	if t.Complete {
		flags |= flagComplete
	}
	if closing {
		flags |= flagClosing
	}
	b = append(b, flags)
	if t.Fault != nil {
		enc := fault.Append(nil, t.Fault)
		b = binary.AppendUvarint(b, uint64(len(enc)))
		b = append(b, enc...)
	}
	if t.HasUsage {
		u := &t.Usage
		for _, n := range [...]int64{u.Input, u.Cached, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning} {
			b = appendCount(b, n)
		}
	}
	b = appendString(b, t.Processing)
	b = appendString(b, t.Secret)
	for _, d := range [...]time.Duration{t.Queue, t.Connect, t.FirstByte, t.Total} {
		b = appendDuration(b, d)
	}
	return endFrame(b, at, MaxTrailerFrame)
}

// ParseTrailer reads the payload of a trailer frame. It copies what it keeps.
func ParseTrailer(payload []byte) (Trailer, error) {
	t, _, err := parseTrailer(payload)
	return t, err
}

func parseTrailer(payload []byte) (t Trailer, closing bool, err error) {
	if len(payload) > MaxTrailerFrame || len(payload) == 0 {
		return Trailer{}, false, errFrame
	}
	flags, payload := payload[0], payload[1:]
	if flags&flagFault != 0 {
		n, w := binary.Uvarint(payload)
		if w <= 0 || n > uint64(len(payload)-w) {
			return Trailer{}, false, errFrame
		}
		if t.Fault, _, err = fault.Parse(payload[w : w+int(n)]); err != nil {
			return Trailer{}, false, fmt.Errorf("parse tunnel frame: %w", err)
		}
		payload = payload[w+int(n):]
	}
	p := parser{rest: string(payload)}
	if t.HasUsage = flags&flagUsage != 0; t.HasUsage {
		u := &t.Usage
		for _, n := range [...]*int64{&u.Input, &u.Cached, &u.CacheWrite, &u.CacheWrite1h, &u.Output, &u.Reasoning} {
			*n = p.count()
		}
	}
	t.Complete = flags&flagComplete != 0
	t.Processing, t.Secret = p.string(), p.string()
	t.Queue, t.Connect, t.FirstByte, t.Total = p.duration(), p.duration(), p.duration(), p.duration()
	if p.bad {
		return Trailer{}, false, errFrame
	}
	return t, flags&flagClosing != 0, nil
}

// parser reads fields off a string. After an error everything reads as zero and bad stays set.
type parser struct {
	rest string
	bad  bool
}

func (p *parser) uvarint() uint64 {
	var n uint64
	for i := 0; i < len(p.rest) && i < binary.MaxVarintLen64; i++ {
		c := p.rest[i]
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 {
				break // over 64 bits
			}
			p.rest = p.rest[i+1:]
			return n | uint64(c)<<(7*i)
		}
		n |= uint64(c&0x7f) << (7 * i)
	}
	p.bad, p.rest = true, ""
	return 0
}

func (p *parser) count() int64 {
	n := p.uvarint()
	if n > math.MaxInt64 {
		p.bad = true
		return 0
	}
	return int64(n)
}

func (p *parser) duration() time.Duration {
	n := p.uvarint()
	if n > uint64(math.MaxInt64/int64(time.Microsecond)) {
		p.bad = true
		return 0
	}
	return time.Duration(n) * time.Microsecond
}

func (p *parser) string() string {
	n := p.uvarint()
	if n > uint64(len(p.rest)) {
		p.bad, p.rest = true, ""
		return ""
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func (p *parser) fields() []Field {
	n := p.uvarint()
	if n > MaxFields || n > uint64(len(p.rest)/2) { // a field takes two bytes at least
		p.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	out := make([]Field, n)
	for i := range out {
		out[i] = Field{Name: p.string(), Value: p.string()}
	}
	return out
}
