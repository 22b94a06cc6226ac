// Package lease limits what one node lets through: requests and tokens per minute, and requests at a
// time. A node holds a share of each limit (Share, until the coordinator leases shares) and never
// asks anybody: every decision here is local arithmetic.
package lease

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

// Limits is a node's share of one limit. A zero member is not limited.
type Limits struct{ RPM, TPM, Concurrency int64 }

// Share is the static share of one node out of edges: limit / edges, but at least 1, because a share
// of nothing would refuse for ever.
func (l Limits) Share(edges int) Limits {
	one := func(v int64) int64 {
		if v <= 0 {
			return 0
		}
		return max(1, v/int64(max(1, edges)))
	}
	return Limits{RPM: one(l.RPM), TPM: one(l.TPM), Concurrency: one(l.Concurrency)}
}

// Kind is which member of a limit refused.
type Kind uint8

// The kinds.
const (
	RPM Kind = iota + 1
	TPM
	Concurrency
)

func (k Kind) String() string {
	switch k {
	case RPM:
		return "rpm"
	case TPM:
		return "tpm"
	case Concurrency:
		return "concurrency"
	}
	return "none"
}

// concurrencyRetry is the hint when all slots are taken: nobody knows when one ends.
const concurrencyRetry = time.Second

// Denial says which limit refused a request and when to try again.
type Denial struct {
	Kind       Kind
	Index      int // into the applied limits
	Limit      int64
	RetryAfter time.Duration
}

// Applied is one limit that a request falls under. Key is the limit's identity, the same string each
// time; the limiter keeps it.
type Applied struct {
	Key    string
	Limits Limits
}

const (
	shards = 64 // a bit mask of them fits a word
	// inline is how many limits a Hold carries without allocating: tenant, key and model each with a
	// wildcard make six.
	inline = 6
	// idle is how long an unused limit's state is kept. After a Period it says nothing any more.
	idle = 2 * Period
	// sweepEvery bounds how often a shard is searched for idle state, in new keys.
	sweepEvery = 256
)

// Limiter holds the state of all limits of a node. Methods are safe for concurrent use. now is passed
// in; it should carry Go's monotonic reading so that a clock change moves no limit.
//
// Lock order: shards in ascending order. Nothing is called with one held.
type Limiter struct {
	seed  maphash.Seed
	epoch time.Time
	start sync.Once
	shard [shards]shard
}

type shard struct {
	mu    sync.Mutex
	byKey map[string]*entry
	added int
	_     [64]byte // keep two shards' locks off one cache line
}

// entry is the state of one limit; under its shard's lock.
type entry struct {
	shard   *shard
	seen    time.Duration
	holds   int64 // Holds that point here: not to be dropped
	running int64
	rate    Bucket
	tokens  *Window // made with the first tpm limit
}

// NewLimiter makes an empty limiter.
func NewLimiter() *Limiter {
	l := &Limiter{seed: maphash.MakeSeed()}
	for i := range l.shard {
		l.shard[i].byKey = make(map[string]*entry)
	}
	return l
}

// offset is now on the limiter's own clock, which starts with the first call.
func (l *Limiter) offset(now time.Time) time.Duration {
	l.start.Do(func() { l.epoch = now })
	return now.Sub(l.epoch)
}

func (l *Limiter) index(key string) int {
	return int(maphash.String(l.seed, key) % shards)
}

// lock locks every shard in mask, in order.
func (l *Limiter) lock(mask uint64) {
	for m := mask; m != 0; m &= m - 1 {
		l.shard[bits.TrailingZeros64(m)].mu.Lock()
	}
}

func (l *Limiter) unlock(mask uint64) {
	for m := mask; m != 0; m &= m - 1 {
		l.shard[bits.TrailingZeros64(m)].mu.Unlock()
	}
}

// entry finds or makes the state of a key. Caller holds the shard's lock.
func (s *shard) entry(key string, now time.Duration) *entry {
	if e := s.byKey[key]; e != nil {
		return e
	}
	if s.added++; s.added >= sweepEvery {
		s.added = 0
		for k, e := range s.byKey {
			if e.holds == 0 && now-e.seen > idle {
				delete(s.byKey, k)
			}
		}
	}
	e := &entry{shard: s, seen: now, rate: NewBucket(now)}
	s.byKey[key] = e
	return e
}

// Hold is what a request has reserved. It ends with exactly one Settle or Release; further calls do
// nothing. The zero Hold is one of nothing. It must not be copied once used, nor used by two
// goroutines at once.
type Hold struct {
	l    *Limiter
	n    int
	done bool
	asks int64 // tokens asked for
	part [inline]part
	more []part
}

// part is the share of a Hold in one limit.
type part struct {
	e        *entry
	shard    int // of e
	applied  int // which of the limits it is
	rate     Rate
	mark     Mark
	slot     int64
	reserved int64
	limits   Limits
}

func (h *Hold) at(i int) *part {
	if i < inline {
		return &h.part[i]
	}
	return &h.more[i-inline]
}

// Tokens is what was asked for: the worst case, for a request whose usage never became known.
func (h *Hold) Tokens() int64 { return h.asks }

// Reserve is ReserveAll for one limit.
func (l *Limiter) Reserve(now time.Time, key string, share Limits, tokens int64) (Hold, Denial, bool) {
	one := [1]Applied{{Key: key, Limits: share}}
	return l.ReserveAll(now, one[:], tokens)
}

// ReserveAll reserves one request with an estimate of tokens under every limit, or under none. On
// refusal the Denial is the one with the longest wait. Limits with the same Key count once, the first.
// Without limits that bind it always succeeds, and a request of no tokens waits for none. It does not
// allocate for up to six known keys.
func (l *Limiter) ReserveAll(now time.Time, all []Applied, tokens int64) (Hold, Denial, bool) {
	t := l.offset(now)
	var mask uint64
	for i := range all {
		if all[i].Limits != (Limits{}) {
			mask |= 1 << l.index(all[i].Key)
		}
	}
	h := Hold{l: l, asks: tokens}
	if mask == 0 {
		return h, Denial{}, true
	}
	l.lock(mask)
	defer l.unlock(mask)

	var worst Denial
	for i := range all {
		if all[i].Limits == (Limits{}) {
			continue
		}
		at := l.index(all[i].Key)
		e := l.shard[at].entry(all[i].Key, t)
		e.seen = t
		if h.has(e) {
			continue
		}
		p := part{e: e, shard: at, applied: i, rate: PerMinute(all[i].Limits.RPM), limits: all[i].Limits}
		if d := p.refusal(t, tokens); d.Kind != 0 && (worst.Kind == 0 || d.RetryAfter > worst.RetryAfter) {
			worst, worst.Index = d, i
		}
		if h.n < inline {
			h.part[h.n] = p
		} else {
			h.more = append(h.more, p)
		}
		h.n++
	}
	if worst.Kind != 0 {
		return Hold{}, worst, false
	}
	for i := range h.n {
		h.at(i).take(t, tokens)
	}
	return h, Denial{}, true
}

func (h *Hold) has(e *entry) bool {
	for i := range h.n {
		if h.at(i).e == e {
			return true
		}
	}
	return false
}

// refusal says why this limit would refuse, without taking anything.
func (p *part) refusal(t time.Duration, tokens int64) (worst Denial) {
	note := func(k Kind, limit int64, wait time.Duration) {
		if worst.Kind == 0 || wait > worst.RetryAfter {
			worst = Denial{Kind: k, Limit: limit, RetryAfter: wait}
		}
	}
	if p.rate.Limit > 0 {
		if d := p.e.rate.Look(p.rate, t); !d.OK {
			note(RPM, p.rate.Limit, d.RetryIn)
		}
	}
	if lim := p.limits.TPM; lim > 0 {
		if p.e.tokens == nil {
			p.e.tokens = &Window{head: slotOf(t)}
		}
		p.e.tokens.advance(t)
		if wait := p.e.tokens.wait(lim, min(max(0, tokens), lim), t); wait > 0 && tokens > 0 {
			note(TPM, lim, wait)
		}
	}
	if lim := p.limits.Concurrency; lim > 0 && p.e.running >= lim {
		note(Concurrency, lim, concurrencyRetry)
	}
	return worst
}

// take takes what refusal found free.
func (p *part) take(t time.Duration, tokens int64) {
	e := p.e
	e.holds++
	e.running++
	if p.rate.Limit > 0 {
		_, p.mark = e.rate.Take(p.rate, t, 1)
	}
	if p.limits.TPM > 0 {
		_, p.reserved, p.slot = e.tokens.Take(p.limits.TPM, t, tokens)
	}
}

// Raise reserves tokens in all instead of what was asked for, under every limit or under none: a Denial
// leaves the Hold as it was. The request keeps its place in the other limits.
func (h *Hold) Raise(now time.Time, tokens int64) (Denial, bool) {
	if h.l == nil || h.done || tokens <= h.asks {
		return Denial{}, true
	}
	t := h.l.offset(now)
	var mask uint64
	for i := range h.n {
		mask |= 1 << h.at(i).shard
	}
	h.l.lock(mask)
	defer h.l.unlock(mask)
	var worst Denial
	for i := range h.n {
		if p := h.at(i); p.limits.TPM > 0 {
			if _, _, wait := p.e.tokens.rest(p.limits.TPM, t, p.slot, p.reserved, tokens); wait > worst.RetryAfter {
				worst = Denial{Kind: TPM, Index: p.applied, Limit: p.limits.TPM, RetryAfter: wait}
			}
		}
	}
	if worst.Kind != 0 {
		return worst, false
	}
	for i := range h.n {
		if p := h.at(i); p.limits.TPM > 0 {
			slot, more, _ := p.e.tokens.rest(p.limits.TPM, t, p.slot, p.reserved, tokens)
			if slot != p.slot {
				p.slot, p.reserved = slot, 0
			}
			p.e.tokens.add(slot, more)
			p.reserved += more
		}
	}
	h.asks = tokens
	return Denial{}, true
}

// Settle ends the request: its concurrency slot is free and its tokens count as actual. A negative
// actual means unknown and counts as what was asked for.
func (h *Hold) Settle(now time.Time, actual int64) {
	if actual < 0 {
		actual = h.asks
	}
	h.end(now, actual, false)
}

// Release ends a request that used nothing: everything it reserved is given back.
func (h *Hold) Release(now time.Time) { h.end(now, 0, true) }

func (h *Hold) end(now time.Time, actual int64, refund bool) {
	if h.done || h.l == nil {
		return
	}
	h.done = true
	t := h.l.offset(now)
	for i := range h.n {
		p := h.at(i)
		p.e.shard.mu.Lock()
		p.e.holds--
		p.e.running--
		p.e.seen = max(p.e.seen, t)
		if p.limits.TPM > 0 {
			p.e.tokens.Settle(t, p.slot, p.reserved, actual)
		}
		if refund && p.rate.Limit > 0 {
			p.e.rate.Refund(p.rate, p.mark, 1)
		}
		p.e.shard.mu.Unlock()
	}
}

// Level is one member of a limit as the rate-limit headers show it. Limit 0 = not limited.
type Level struct {
	Limit, Remaining int64
	ResetIn          time.Duration
}

// State is how full a limit is.
type State struct{ Requests, Tokens, Concurrency Level }

// State describes a limit without taking from it.
func (l *Limiter) State(now time.Time, key string, share Limits) State {
	t := l.offset(now)
	s := &l.shard[l.index(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byKey[key]
	var fresh entry
	if e == nil {
		fresh = entry{rate: NewBucket(t)}
		e = &fresh
	}
	var st State
	if r := PerMinute(share.RPM); r.Limit > 0 {
		d := e.rate.Look(r, t)
		st.Requests = Level{Limit: r.Limit, Remaining: d.Remaining, ResetIn: d.ResetIn}
	}
	if lim := share.TPM; lim > 0 {
		st.Tokens = Level{Limit: lim, Remaining: lim}
		if e.tokens != nil {
			d := e.tokens.Look(lim, t)
			st.Tokens.Remaining, st.Tokens.ResetIn = d.Remaining, d.ResetIn
		}
	}
	if lim := share.Concurrency; lim > 0 {
		st.Concurrency = Level{Limit: lim, Remaining: max(0, lim-e.running)}
	}
	return st
}
