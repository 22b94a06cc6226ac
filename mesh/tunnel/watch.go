package tunnel

import "time"

// When a connection that something waits on is given up. A probe is a datagram of pingSize bytes and
// its answer QUIC's acknowledgement: it comes from the exit's endpoint, whatever a provider does, and any
// other packet is as good. A probe may take as long as the longest of the latest eight round trips, and
// ackSlack. The rule (reference/mesh.md 6.8: three missed probes; here for paths whose losses nothing
// repairs yet):
//
//   - probe after quietBusy of silence, then every probeEvery: on a clean path the first one is answered;
//   - a probe is overdue: doubt, one probe every lookDoubt, until enough have left;
//   - fewProbes missed and waitAtLeast waited: silent. New requests avoid the exit, which costs nothing if it is wrong;
//   - enoughProbes missed: lost. What waits is asked elsewhere, which may pay the provider twice.
//
// A probe with its answer is missed on a path that loses p both ways with q = 1-(1-p)^2: 0.51 at 30 %.
// Sixteen are missed by chance with 0.51^16 = 2e-5 at 30 %, 8e-8 at 20 %, 2e-12 at 10 %. A doubt that
// ended well doubles the number for a minute (4e-10) and asks for twice the wait that it took: loss, jitter and peers that get no
// CPU are seen as such doubts before they can be taken for a death. Losses that come together are a blackout:
// one shorter than waitAtLeast is never enough.
const (
	quietBusy  = 50 * time.Millisecond // silence before the first probe, while something is in progress
	quietIdle  = 2 * time.Second       // and otherwise
	probeEvery = 50 * time.Millisecond
	probeSlow  = 200 * time.Millisecond // once lost: the path may come back
	ackSlack   = 30 * time.Millisecond  // the peer may hold an acknowledgement for 25 ms

	waitAtLeast  = 200 * time.Millisecond // after the first probe; for lost a round trip more, which an answer takes after a blackout
	waitAnyway   = time.Second            // enough, when congestion control lets no more probes leave
	fewProbes    = 3
	enoughProbes = 16
	doubtMemory  = time.Minute
	maxUnsent    = 8 // probes that may wait inside QUIC: its queue of 32 must never fill, it would block the monitor
)

// verdict of one look at a connection.
type verdict uint8

const (
	quiet   verdict = iota // nothing came, nothing follows from it
	healthy                // a packet came
	silent                 // probes are not answered: not for new requests
	lost                   // so many that it is no accident: what can be asked elsewhere should be
	gone                   // for so long that whatever still waits is better off failed
)

// counters is what QUIC says of a connection at one moment.
type counters struct {
	sent, received uint64        // packets
	near, rtt      time.Duration // shortest round trip ever, longest of the latest few
}

// watch judges one connection's silence. Only the pool's monitor touches it.
//
// Its clock counts a late look as if it had come in time: a process that got no CPU has not listened either, and
// must not take its own absence for the peer's.
type watch struct {
	looked time.Time
	clock  time.Duration

	received uint64        // packets, at the last look
	sent     uint64        // packets, when that number last grew
	heard    time.Time     // when it did
	since    time.Duration // the same by our clock

	probing bool
	first   time.Duration // first probe since then
	next    time.Duration // no probe before
	probes  uint64
	few     time.Duration // when fewProbes packets had left; 0 = not yet
	enough  time.Duration // likewise
	overdue time.Duration // how long the first one had been out at the latest look, when that was too long
	doubted time.Time     // since when it is

	worst   time.Duration // longest doubt of the last doubtMemory that ended well
	worstAt time.Duration
	gone    bool // the monitor has given it up
}

// lookSlack is how late a look may be without being taken for starvation.
const lookSlack = 20 * time.Millisecond

// look judges what the counters say now, and tells whether to send a probe. planned is the time since the
// last look as the monitor meant it to be, patience the silence before the first probe. It is pure but
// for its own state.
func (w *watch) look(now time.Time, planned time.Duration, c counters, patience, deadAfter time.Duration) (v verdict, probe bool) {
	if w.looked.IsZero() {
		*w = watch{looked: now, clock: 1, since: 1, heard: now, received: c.received, sent: c.sent, worst: w.worst, worstAt: 1}
		return healthy, false
	}
	passed := now.Sub(w.looked)
	if passed > planned+lookSlack {
		passed = planned
	}
	w.clock += passed
	w.looked = now
	bound := c.rtt + ackSlack
	if c.received != w.received {
		w.answered(now, c)
		return healthy, false
	}
	if !w.probing {
		if w.clock-w.since < patience {
			return quiet, false
		}
		w.probing, w.first, w.next = true, w.clock, w.clock
	}
	waited, left := w.clock-w.first, c.sent-w.sent
	if w.few == 0 && left >= fewProbes {
		w.few = w.clock
	}
	if w.enough == 0 && left >= w.need() {
		w.enough = w.clock
	}
	if waited > bound {
		if w.overdue == 0 {
			w.doubted, w.next = now, w.clock
		}
		w.overdue = waited
	}
	few, enough := w.few > 0 && w.clock-w.few >= bound, w.enough > 0 && w.clock-w.enough >= bound
	switch {
	case waited >= deadAfter:
		return gone, false
	case waited >= max(waitAtLeast, 2*w.worst)+c.near && enough, waited >= max(waitAnyway, 2*w.worst) && few:
		v = lost
	case waited >= max(waitAtLeast, w.worst) && few:
		v = silent
	}
	if v == lost && w.enough == 0 {
		w.enough = w.clock
	}
	if w.clock >= w.next && w.probes < left+maxUnsent {
		w.probes++
		w.next, probe = w.clock+w.pace(v), true
	}
	return v, probe
}

// answered notes a packet, and what the wait for it says about the path.
func (w *watch) answered(now time.Time, c counters) {
	if w.clock-w.worstAt > doubtMemory {
		w.worst = 0
	}
	if w.overdue > 0 && w.overdue >= w.worst {
		w.worst, w.worstAt = w.overdue, w.clock
	}
	*w = watch{
		looked: now, clock: w.clock, received: c.received, sent: c.sent, heard: now, since: w.clock, worst: w.worst, worstAt: w.worstAt,
	}
}

// need is how many packets must have gone unanswered.
func (w *watch) need() uint64 {
	if w.worst > 0 {
		return 2 * enoughProbes
	}
	return enoughProbes
}

// pace is the time to the next probe.
func (w *watch) pace(v verdict) time.Duration {
	switch {
	case v == lost:
		return probeSlow
	case w.dense():
		return lookDoubt
	case w.overdue > 0:
		return lookBusy // so that the end of a blackout is noticed
	default:
		return probeEvery
	}
}

// dense tells whether a probe is overdue and more evidence is wanted soon.
func (w *watch) dense() bool { return w.overdue > 0 && w.enough == 0 }
