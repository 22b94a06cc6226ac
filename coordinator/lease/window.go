package lease

import "time"

const (
	slotWidth = time.Second
	// slots covers a Period that starts anywhere inside its first slot.
	slots = int(Period/slotWidth) + 1
)

// Window counts units over the last Period in one-second slots: pure arithmetic like Bucket, 0.5 KB.
// Tokens are limited by it and not by GCRA: they are reserved high and settled to the truth seconds
// later, and a Bucket no longer knows by then which of its units a refund may give back; a slot does.
// A slot counts until it lies wholly outside the Period, so no window ever exceeds the limit.
type Window struct {
	head int64 // number of the newest slot
	sum  int64
	slot [slots]int64
}

func slotOf(now time.Duration) int64 {
	n := int64(now / slotWidth)
	if now < 0 && now%slotWidth != 0 {
		n--
	}
	return n
}

func (w *Window) at(slot int64) *int64 {
	i := slot % int64(slots)
	if i < 0 {
		i += int64(slots)
	}
	return &w.slot[i]
}

// advance drops slots that have left the Period. A clock that goes back is held.
func (w *Window) advance(now time.Duration) {
	s := slotOf(now)
	if s-w.head >= int64(slots) {
		*w = Window{head: s}
		return
	}
	for w.head < s {
		w.head++
		old := w.at(w.head)
		w.sum -= *old
		*old = 0
	}
}

// wait is how long until n units fit under limit.
func (w *Window) wait(limit, n int64, now time.Duration) time.Duration {
	over := w.sum + n - limit
	if over <= 0 {
		return 0
	}
	for s := w.head - int64(slots) + 1; s <= w.head; s++ {
		if over -= *w.at(s); over <= 0 {
			return max(0, time.Duration(s+int64(slots))*slotWidth-now)
		}
	}
	return Period
}

func (w *Window) describe(limit, n int64, now time.Duration) Decision {
	return Decision{Remaining: min(limit, max(0, limit-w.sum)), RetryIn: w.wait(limit, n, now), ResetIn: w.wait(limit, limit, now)}
}

// Take reserves n units. More than the limit counts as all of it: such a request is admitted once the
// window is empty, and Settle makes it pay the rest.
func (w *Window) Take(limit int64, now time.Duration, n int64) (d Decision, reserved, slot int64) {
	w.advance(now)
	n = min(max(0, n), limit)
	if w.sum+n > limit {
		return w.describe(limit, n, now), 0, 0
	}
	w.sum += n
	*w.at(w.head) += n
	d = w.describe(limit, 1, now)
	d.OK, d.RetryIn = true, 0
	return d, n, w.head
}

// Look describes the window without taking.
func (w *Window) Look(limit int64, now time.Duration) Decision {
	w.advance(now)
	d := w.describe(limit, 1, now)
	d.OK = d.Remaining > 0
	return d
}

// Settle replaces a reservation of reserved units made in slot by what was really used. What was too
// much is taken out of the slot that it was put in; what was too little is added now, when it is known.
func (w *Window) Settle(now time.Duration, slot, reserved, actual int64) {
	w.advance(now)
	switch d := max(0, actual) - reserved; {
	case d > 0:
		w.sum += d
		*w.at(w.head) += d
	case d < 0 && slot > w.head-int64(slots):
		w.sum += d
		*w.at(slot) += d
	}
}

// rest is what a reservation of reserved units in slot lacks to be one of n, and how long until that
// fits. It belongs into the slot where the request began; what has left the Period is reserved anew.
func (w *Window) rest(limit int64, now time.Duration, slot, reserved, n int64) (at, more int64, wait time.Duration) {
	w.advance(now)
	if slot <= w.head-int64(slots) {
		slot, reserved = w.head, 0
	}
	more = max(0, min(n, limit)-reserved)
	if more > 0 {
		wait = w.wait(limit, more, now)
	}
	return slot, more, wait
}

func (w *Window) add(slot, n int64) {
	w.sum += n
	*w.at(slot) += n
}
