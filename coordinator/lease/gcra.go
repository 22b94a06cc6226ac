package lease

import "time"

// Period is the interval that limits are stated for: a minute.
const Period = time.Minute

// Rate is a limit on requests per minute as the generic cell rate algorithm sees it. Zero = no limit.
//
// Plain GCRA with a burst of the whole limit admits nearly twice the limit in some minutes. Here the
// steady burst is a tenth and units come back at (limit+1-burst) per minute, which keeps every window
// within the limit: n admissions need at least (n-burst)·interval, and limit+1 of them a full Period.
// The whole limit may still be taken at once after a quiet minute, see Bucket.
type Rate struct {
	Limit    int64
	Burst    int64
	Interval time.Duration // between two units when busy; rounded up, so never too short
}

// PerMinute makes the rate for a limit; limits below 1 make the zero Rate.
func PerMinute(limit int64) Rate {
	if limit < 1 {
		return Rate{}
	}
	burst := max(1, limit/10)
	n := limit + 1 - burst
	return Rate{Limit: limit, Burst: burst, Interval: (Period + time.Duration(n) - 1) / time.Duration(n)}
}

// Bucket is the state of one Rate: pure arithmetic, no clock, no lock. Times are offsets from any one
// origin on a monotonic clock. Make one with NewBucket.
type Bucket struct {
	tat    time.Duration // theoretical arrival time: when all that was taken has been paid off
	credit int64         // what is left of the allowance that a quiet time earned; may be negative
	last   time.Duration // of the latest admission
	taken  int64         // units ever taken, for Refund
	earned int64         // taken, when credit was earned
}

// Mark remembers an admission for Refund.
type Mark struct{ taken int64 }

// NewBucket is a bucket that has been quiet for a Period before now.
func NewBucket(now time.Duration) Bucket { return Bucket{tat: now - Period, last: now - Period} }

// Decision is the answer about one request. Its durations are from the asking.
type Decision struct {
	OK        bool
	Remaining int64         // units that could be taken now
	RetryIn   time.Duration // when the refused units would be admitted, if nobody else takes any
	ResetIn   time.Duration // when Remaining is the whole limit again
}

// earn turns quiet time into allowance. At rest (tat <= now) the past window holds at most what tat
// says, so burst plus one unit per interval of rest may be taken in one go, up to the limit.
func (b *Bucket) earn(r Rate, now time.Duration) {
	if b.tat <= now {
		if c := min(r.Limit, r.Burst+int64((now-b.tat)/r.Interval)); c > b.credit {
			b.credit, b.earned = c, b.taken
		}
	}
	b.credit = min(b.credit, r.Limit) // the limit may have been lowered
}

func (b *Bucket) remaining(r Rate, now time.Duration) int64 {
	line := r.Burst
	if b.tat > now {
		line -= int64((b.tat - now + r.Interval - 1) / r.Interval)
	}
	return min(r.Limit, max(0, line, b.credit))
}

func (b *Bucket) describe(r Rate, now time.Duration, n int64) Decision {
	wait := func(n int64) time.Duration {
		return max(0, b.tat+time.Duration(n-r.Burst)*r.Interval-now)
	}
	return Decision{Remaining: b.remaining(r, now), RetryIn: wait(n), ResetIn: wait(r.Limit)}
}

// Take asks for n units. Asking for more than the limit counts as asking for all of it. A clock that
// goes back is held at the latest admission.
func (b *Bucket) Take(r Rate, now time.Duration, n int64) (Decision, Mark) {
	now = max(now, b.last)
	n = min(n, r.Limit)
	b.earn(r, now)
	if b.remaining(r, now) < n {
		return b.describe(r, now, n), Mark{}
	}
	b.credit -= n
	b.tat = max(b.tat, now) + time.Duration(n)*r.Interval
	b.last = now
	b.taken += n
	d := b.describe(r, now, 1)
	d.OK, d.RetryIn = true, 0
	return d, Mark{taken: b.taken}
}

// Look describes the bucket without taking.
func (b *Bucket) Look(r Rate, now time.Duration) Decision {
	c := *b
	now = max(now, c.last)
	c.earn(r, now)
	d := c.describe(r, now, 1)
	d.OK = d.Remaining > 0
	return d
}

// Refund gives n units of an admission back. It is exact as long as nothing was admitted since. Later
// admissions may have used the time that those units were being paid off in, so what they need stays:
// giving it back too would let a window exceed the limit.
func (b *Bucket) Refund(r Rate, m Mark, n int64) {
	if n <= 0 || r.Limit < 1 {
		return
	}
	if m.taken > b.earned {
		b.credit = min(r.Limit, b.credit+n) // it was drawn from the allowance that still runs
	}
	since := b.taken - m.taken
	if since == 0 {
		b.tat -= time.Duration(n) * r.Interval
		b.taken -= n
		return
	}
	b.tat = max(b.tat-time.Duration(n)*r.Interval, min(b.tat, b.last+time.Duration(since)*r.Interval))
}
