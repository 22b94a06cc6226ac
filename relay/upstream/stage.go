package upstream

import (
	"context"
	"errors"
	"math"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// Causes of our own cancellations.
var (
	errConnect   = errors.New("connect timeout")
	errFirstByte = errors.New("first byte timeout")
	errGap       = errors.New("gap timeout")
	errTotal     = errors.New("total timeout")
)

// Stages, in order.
const (
	stConnect int32 = iota
	stFirstByte
	stBody
)

// stage is the clock of one call. What is waited for and until when are two atomic stores; the one
// timer looks at them when it fires, and goes on to the moment that counts by then. Arming a timer
// for every read would cost more than the read.
type stage struct {
	start     time.Time
	client    context.Context //nolint:containedctx // the caller's, to tell its end from ours
	t         Timeouts
	cancel    context.CancelCauseFunc
	trace     httptrace.ClientTrace
	timer     *time.Timer
	due       atomic.Int64 // nanoseconds from start; never: nothing is waited for
	armed     atomic.Int64 // what the timer is set to, at the latest
	at        atomic.Int32
	connected atomic.Int64
	reused    atomic.Bool
	answered  atomic.Bool
	stopped   atomic.Bool
}

const never = math.MaxInt64

// begin starts the clock with the wait for a connection.
func (s *stage) begin() {
	first := min(s.t.Connect, s.t.Total)
	s.due.Store(int64(s.t.Connect))
	s.armed.Store(int64(first))
	s.timer = time.AfterFunc(first, s.expire)
}

// await waits for something from now on, for at most d.
func (s *stage) await(at int32, d time.Duration) {
	s.at.Store(at)
	due := int64(time.Since(s.start) + d)
	s.due.Store(due)
	if due < s.armed.Load() {
		s.armed.Store(due)
		s.timer.Reset(d)
	}
}

// idle ends a wait: until the next one only the total counts.
func (s *stage) idle() { s.due.Store(never) }

// expire runs when the timer fires.
func (s *stage) expire() {
	now := int64(time.Since(s.start))
	due := s.due.Load()
	switch {
	case s.stopped.Load():
		return
	case now >= int64(s.t.Total):
		s.cancel(errTotal)
		return
	case now >= due:
		switch s.at.Load() {
		case stConnect:
			s.cancel(errConnect)
		case stFirstByte:
			s.cancel(errFirstByte)
		default:
			s.cancel(errGap)
		}
		return
	}
	// Without a wait the next look is early enough for one that would begin now.
	next := min(due, int64(s.t.Total), now+int64(s.t.Gap))
	s.armed.Store(next)
	s.timer.Reset(time.Duration(next - now))
}

// hooks are how the transport tells of its progress.
func (s *stage) hooks() *httptrace.ClientTrace {
	s.trace.GotConn = func(i httptrace.GotConnInfo) {
		s.connected.Store(int64(time.Since(s.start)))
		s.reused.Store(i.Reused)
		s.await(stFirstByte, s.t.FirstByte)
	}
	s.trace.GotFirstResponseByte = func() { s.answered.Store(true) }
	return &s.trace
}

func (s *stage) stop() {
	s.stopped.Store(true)
	s.timer.Stop()
	s.cancel(nil)
}
