package memnet

import (
	"sync"
	"time"
)

// Deadline is a moment that can be moved while somebody waits for it.
type Deadline struct{ s *deadlineState }

type deadlineState struct {
	mu    sync.Mutex
	timer *time.Timer
	past  chan struct{} // closed once the moment has come
}

// NewDeadline makes one that never comes.
func NewDeadline() Deadline { return Deadline{&deadlineState{past: make(chan struct{})}} }

// Wait gives a channel that is closed when the moment, as set now, has come.
func (d Deadline) Wait() <-chan struct{} {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.s.past
}

// Set moves it; the zero time means never.
func (d Deadline) Set(t time.Time) {
	s := d.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil && !s.timer.Stop() {
		<-s.past // it has fired and is closing this one
	}
	s.timer = nil
	closed := false
	select {
	case <-s.past:
		closed = true
	default:
	}
	if t.IsZero() {
		if closed {
			s.past = make(chan struct{})
		}
		return
	}
	if left := time.Until(t); left > 0 {
		if closed {
			s.past = make(chan struct{})
		}
		past := s.past
		s.timer = time.AfterFunc(left, func() { close(past) })
		return
	}
	if !closed {
		close(s.past)
	}
}
