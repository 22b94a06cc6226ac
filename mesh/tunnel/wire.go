// Package tunnel carries LLM requests from an edge to an exit over QUIC: one compact header frame, the raw
// body, and back a reply frame, data frames and a trailer. Streams are kept and reused for one request after
// another, because opening and closing one costs as much as the round trip itself.
package tunnel

import (
	"time"

	"github.com/quic-go/quic-go"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// ALPN names this protocol in the TLS handshake. A change that an older peer cannot read gets a new name;
// fields may be appended to frames, since readers ignore what follows the fields they know.
const ALPN = "causeway/1"

// A stream is opened by the edge. It carries exchanges one after another, never two at once:
//
//	edge -> exit   request frame, then exactly Request.BodyLen raw body bytes
//	exit -> edge   [reply frame], data frames ..., trailer frame
//
// The next request may follow as soon as the trailer has come, unless the trailer says that the exit closes
// the stream. Either side gives up on an exchange by resetting both directions; the stream is then gone.
// FIN from the edge between exchanges ends the stream. Probes of the edge are QUIC datagrams of pingSize zeros, ignored by
// the receiver: QUIC's acknowledgement is the answer (watch.go says when and how many).
//
// Every frame begins with 4 bytes: type (1), payload length (3, big endian). Integers below are uvarints
// (encoding/binary) unless a size is given; a string is its length and its bytes; durations are microseconds.
const (
	frameHeader = 4

	// pingSize makes a ping large enough for a restarted exit to answer it with a stateless reset, which
	// must be smaller than what it answers (RFC 9000, 10.3.3).
	pingSize = 40

	// frameRequest: id [16], attempt [1], flags [1], op [1], class [1], timeout, body length, view index,
	// tenant, provider, dialect, model, method, path, raw query, traceparent,
	// header count, then name and value each.
	frameRequest = 0x01
	// frameReply: status, secret id, header count, then name and value each.
	frameReply = 0x02
	// frameData: raw body bytes of the answer.
	frameData = 0x03
	// frameTrailer: flags [1], fault (length and fault.Append form, if flagged), usage (input, cached,
	// cache write, cache write 1 h, output, reasoning, if flagged), processing place, secret id,
	// queue, connect, first byte, total.
	frameTrailer = 0x04
)

// Flags of the request frame.
const flagStream = 1 << 0

// Flags of the trailer frame.
const (
	flagFault    = 1 << 0
	flagUsage    = 1 << 1
	flagComplete = 1 << 2
	flagClosing  = 1 << 3 // the exit closes the stream after this exchange
)

// Bounds, checked before anything is allocated.
const (
	MaxRequestFrame = 256 << 10 // all of the request but its body
	MaxReplyFrame   = 256 << 10
	MaxTrailerFrame = 160 << 10 // a fault with its raw body is up to 103 KiB
	MaxFields       = 1024      // header fields of a request or reply
	maxDataFrame    = 1<<24 - 1
	maxTimeout      = 24 * time.Hour
)

// Reset codes say what the side that gives up knows about the request. They are the retry classes of a
// request whose trailer never came.
const (
	resetNotSent  quic.StreamErrorCode = 0x100 // the provider has not been called
	resetSent     quic.StreamErrorCode = 0x101 // the provider may have been called
	resetPartial  quic.StreamErrorCode = 0x102 // part of the answer was passed on
	resetCanceled quic.StreamErrorCode = 0x103 // edge to exit: nobody wants the answer any more
	resetDraining quic.StreamErrorCode = 0x104 // not sent: the exit is going away
	resetBusy     quic.StreamErrorCode = 0x105 // not sent: the exit is at its limit of concurrent requests
	resetProtocol quic.StreamErrorCode = 0x106 // what came is not this protocol
	resetDeadline quic.StreamErrorCode = 0x107 // edge to exit: the request's deadline passed
	resetEnough   quic.StreamErrorCode = 0x108 // exit to edge: the answer is on its way, the rest of the body is not wanted
)

// Close codes of whole connections.
const (
	closeRole    quic.ApplicationErrorCode = 0x10 // the peer's certificate does not carry the needed role
	closeDrained quic.ApplicationErrorCode = 0x11 // drained: whatever has no reply was not sent
	closeAborted quic.ApplicationErrorCode = 0x12 // stopped with requests in progress
	closeDead    quic.ApplicationErrorCode = 0x13 // silent for too long
	closeRetired quic.ApplicationErrorCode = 0x14 // replaced by a newer connection, nothing in progress
	closeProto   quic.ApplicationErrorCode = 0x15 // protocol violation
)

// phaseOf maps the reset code of an exit to the phase of the fault.
func phaseOf(code quic.StreamErrorCode) fault.Phase {
	switch code {
	case resetNotSent, resetDraining, resetBusy:
		return fault.NotSent
	case resetPartial:
		return fault.Partial
	default:
		return fault.Sent // also what a newer exit says and we do not know: the careful reading
	}
}

// Field is one header field. Names keep the case they came in.
type Field struct{ Name, Value string }

// Request is everything an exit needs to call the provider, except secrets and the body.
type Request struct {
	ID          [16]byte // the request, the same over all attempts
	Attempt     uint8
	Timeout     time.Duration // left until the request's deadline; 0 = none; at most 24 h
	Tenant      string
	Provider    string
	Dialect     string
	Model       string // the provider's name of it
	Op          uint8
	Stream      bool
	Class       uint8 // data class
	Method      string
	Path        string
	RawQuery    string
	Header      []Field
	BodyLen     int64 // exact; the body follows the frame
	Traceparent string
	ViewIndex   uint64 // Raft index of the snapshot the edge decided on

	Caller Caller // stays at the edge; nil = the request may be given up until its answer has begun
}

// Reply is the head of the provider's answer.
type Reply struct {
	Status int
	Header []Field
	Secret string // id of the secret that was used
}

// Usage is what the provider said it consumed, in its own units (tokens, mostly).
type Usage struct{ Input, Cached, CacheWrite, CacheWrite1h, Output, Reasoning int64 }

// Trailer ends an exchange. Fault is nil when the exit has nothing to complain of.
type Trailer struct {
	Fault      *fault.Error
	Usage      Usage
	HasUsage   bool
	Processing string // country where the provider says it processed
	Secret     string // id of the secret that was used last
	Complete   bool   // the provider's answer came to its end

	Queue, Connect, FirstByte, Total time.Duration // as the exit saw them
}
