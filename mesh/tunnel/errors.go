package tunnel

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/quic-go/quic-go"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// faultOf makes the fault of a stream or connection error. phase is what this side knows without the error;
// what the other side said about it wins.
func faultOf(err error, phase fault.Phase) *fault.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	msg := "the connection to the exit broke"
	if se, ok := errors.AsType[*quic.StreamError](err); ok && se.Remote {
		switch se.ErrorCode {
		case resetCanceled:
			return fault.New(fault.Canceled, "the edge gave up the request").At(phase).With(err)
		case resetDeadline:
			return fault.New(fault.Deadline, "the request's deadline passed").At(phase).With(err)
		case resetDraining:
			msg = "the exit is draining"
		case resetBusy:
			msg = "the exit is at its limit of concurrent requests"
		case resetProtocol:
			msg = "the exit did not understand the request frame"
		}
		phase = max(phaseOf(se.ErrorCode), keep(phase))
	}
	if ae, ok := errors.AsType[*quic.ApplicationError](err); ok && ae.Remote && ae.ErrorCode == closeDrained {
		phase, msg = keep(phase), "the exit has shut down"
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Deadline, "the request's deadline passed").At(phase).With(err)
	}
	if errors.Is(err, errSilent) {
		msg = errSilent.Error()
	}
	if errors.Is(err, errProtocol) || errors.Is(err, errFrame) || errors.Is(err, io.ErrUnexpectedEOF) {
		msg = "the exit's answer was not understood"
	}
	if phase == fault.NotSent {
		return fault.New(fault.ExitUnreachable, "%s", msg).With(err)
	}
	return fault.New(fault.ExitLost, "%s", msg).At(phase).With(err)
}

// keep is what survives of our own knowledge when the exit says that it did not send: bytes of an answer
// that came back came back.
func keep(p fault.Phase) fault.Phase {
	if p == fault.Partial {
		return p
	}
	return fault.NotSent
}
