package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/compliance"
	"github.com/causeway-mesh/causeway/compliance/audit/segment"
)

// Errors of the log.
var (
	// ErrUnavailable: the record cannot be kept as its mode asks, so nothing may leave.
	ErrUnavailable = errors.New("audit log unavailable")
	// ErrClosed: the log is closed.
	ErrClosed = errors.New("audit log closed")
)

// Config opens a log. Only Dir and Node are needed.
type Config struct {
	Dir  string // made if missing; one process at a time
	Node string
	Mode Mode // for intents that name none; unset = buffer

	GroupFsync  time.Duration // 10 ms: the longest that a written record waits for its fsync
	SegmentSize int64         // 16 MiB: a new file begins at this size and each UTC day
	Reserve     int64         // 1 MiB: disk space kept back for outcomes in flight when the disk is full
	MaxPending  int64         // 16 MiB: records kept in memory while the disk refuses them (mode buffer)
	PendingFor  time.Duration // 10 min: for how long

	Log zerolog.Logger

	segments segment.Options // tests inject faults here
	now      func() time.Time
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" || c.Node == "" {
		return c, errors.New("open audit log: dir and node must be set")
	}
	if c.Mode == compliance.AuditUnset {
		c.Mode = compliance.AuditBuffer
	}
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.SegmentSize, 16<<20)
	def(&c.Reserve, 1<<20)
	def(&c.MaxPending, 16<<20)
	if c.GroupFsync <= 0 {
		c.GroupFsync = 10 * time.Millisecond
	}
	if c.PendingFor <= 0 {
		c.PendingFor = 10 * time.Minute
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// Ref is an intent that waits for its outcome. The zero Ref closes nothing.
type Ref struct {
	seq uint64
	ok  bool
}

// Seq is the intent's index in the log; ok is false when no record was kept.
func (r Ref) Seq() (seq uint64, ok bool) { return r.seq, r.ok }

// Log is a node's audit log. Safe for concurrent use.
type Log struct {
	cfg    Config
	name   string
	lock   *os.File
	cancel context.CancelFunc
	done   chan struct{}
	dirty  chan struct{} // something was written
	urgent chan struct{} // somebody waits for an fsync

	mu      sync.Mutex // guards all below; never held across an fsync
	chains  *chains
	w       *segment.Writer
	day     int // UTC day of the current segment
	retired []*segment.Writer
	buf     []byte
	waiting []byte // frames of outcomes that go to the file with the next intent or fsync
	leaf    leafHasher
	synced  uint64        // records below this index are durable
	failed  uint64        // records below this index and not below synced are in doubt: an fsync failed
	round   chan struct{} // closed when synced or failed moves
	renew   bool          // the current file's fsync failed: begin another
	full    bool          // the disk refused a write
	reserve bool          // the reserve file is there
	retryAt time.Time     // no rotation before this, after one failed
	pending []byte        // frames that the disk refused
	since   time.Time     // when pending began
	lost    uint64        // best-effort records not kept and not yet reported
	closed  bool
	stats   Stats
}

// Stats are counters and states for metrics and readiness.
type Stats struct {
	Records      uint64 // kept since opening
	Lost         uint64 // best-effort records not kept
	Refused      uint64 // intents refused with ErrUnavailable
	Syncs        uint64
	SyncErrors   uint64
	OpenIntents  int
	PendingBytes int64
	Unsynced     uint64 // records written and not yet durable
	Full         bool
	DiskUsed     int // thousandths of the file system; 0 = unknown
}

// Intent keeps the record of what is about to happen, before its first byte leaves. In mode buffer it
// returns when the record is written, in strict when it is fsynced. Any error means that the request
// must not leave; it wraps ErrUnavailable when the record cannot be kept, or is ctx's.
func (l *Log) Intent(ctx context.Context, in Intent) (Ref, error) {
	mode := in.Mode
	if mode == compliance.AuditUnset {
		mode = l.cfg.Mode
	}
	in.Mode = mode
	in.Tenant, in.Request = clip(in.Tenant, maxID), clip(in.Request, maxID)

	l.mu.Lock()
	if err := l.admit(mode); err != nil {
		lossy := mode == compliance.AuditBestEffort && !errors.Is(err, ErrClosed)
		if lossy {
			l.lost++
			l.stats.Lost++
		} else {
			l.stats.Refused++
		}
		l.mu.Unlock()
		if lossy {
			return Ref{}, nil
		}
		return Ref{}, err
	}
	seq := l.add(&Record{Kind: KindIntent, Tenant: in.Tenant, Intent: &in})
	if in.Decision == decisionAllow {
		l.chains.open[seq] = OpenIntent{Seq: seq, Tenant: in.Tenant, Request: in.Request}
	}
	stuck := len(l.pending) > 0
	l.mu.Unlock()

	if mode == compliance.AuditStrict {
		err := error(nil)
		if stuck {
			err = l.refuse("the disk refused the record")
		} else {
			err = l.wait(ctx, seq)
		}
		if err != nil {
			l.abandon(seq)
			return Ref{}, err
		}
	} else {
		signal(l.dirty)
	}
	return Ref{seq: seq, ok: in.Decision == decisionAllow}, nil
}

// maxWaiting is how many bytes of outcomes are written at once at most.
const maxWaiting = 64 << 10

// decisionAllow marks an intent that an outcome will close.
const decisionAllow = "allow"

// admit says whether an intent can be kept now. Called with mu held.
func (l *Log) admit(mode Mode) error {
	switch {
	case l.closed:
		return ErrClosed
	case !l.full && len(l.pending) == 0:
		return nil
	case mode == compliance.AuditStrict:
		return fmt.Errorf("%w: the disk is full", ErrUnavailable)
	case mode == compliance.AuditBestEffort && len(l.pending) > 0:
		return fmt.Errorf("%w: the disk is full", ErrUnavailable)
	case int64(len(l.pending)) >= l.cfg.MaxPending:
		return fmt.Errorf("%w: the disk is full and so is the buffer", ErrUnavailable)
	case len(l.pending) > 0 && l.cfg.now().Sub(l.since) > l.cfg.PendingFor:
		return fmt.Errorf("%w: the disk has been full for too long", ErrUnavailable)
	}
	return nil
}

// Outcome closes an intent. It is kept even on a full disk, where intents are refused: in the
// reserve, then in memory.
func (l *Log) Outcome(ref Ref, o Outcome) error {
	if !ref.ok {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	open, ok := l.chains.open[ref.seq]
	if !ok {
		return fmt.Errorf("record outcome: intent %d is not open", ref.seq)
	}
	if int64(len(l.pending)) >= 2*l.cfg.MaxPending {
		return fmt.Errorf("%w: the disk is full and so is the buffer", ErrUnavailable)
	}
	o.IntentSeq, o.Request = open.Seq, open.Request
	l.add(&Record{Kind: KindOutcome, Tenant: open.Tenant, Outcome: &o})
	delete(l.chains.open, ref.seq) // after: a segment begun in between carries the intent as open
	signal(l.dirty)
	return nil
}

// add numbers, chains and writes a record. Called with mu held, after admission.
func (l *Log) add(r *Record) uint64 {
	if l.lost > 0 && len(l.pending) == 0 {
		lost := l.lost
		l.lost = 0
		l.put(&Record{Kind: KindLoss, Loss: &Loss{Records: lost}})
	}
	l.rotate()
	return l.put(r)
}

func (l *Log) put(r *Record) uint64 {
	link := l.chains.tenants[r.Tenant]
	r.V, r.Log, r.Seq, r.TenantSeq, r.Prev, r.at = Schema, l.name, l.chains.seq, link.Next, link.Last, l.cfg.now()
	l.buf = r.encode(segment.BeginFrame(l.buf[:0]))
	if err := segment.FinishFrame(l.buf, 0); err != nil {
		// encode bounds the length; TestRecordNeverTooLong holds it to that.
		l.cfg.Log.Error().Err(err).Str("kind", string(r.Kind)).Msg("audit record too long")
	}
	l.write(l.buf, r.Kind == KindOutcome)
	l.chains.advance(r.Tenant, r.TenantSeq, l.leaf.sum(l.buf[segment.FrameOverhead:]))
	l.stats.Records++
	return r.Seq
}

// write appends a frame to the file, or to memory when the disk refuses it. One that may wait for the
// next does: an outcome does not have to survive a kill, since its intent is then closed as unknown.
func (l *Log) write(frame []byte, wait bool) {
	if len(l.pending) > 0 {
		l.pending = append(l.pending, frame...)
		return
	}
	l.waiting = append(l.waiting, frame...)
	if !wait || len(l.waiting) >= maxWaiting {
		l.flush()
	}
}

// flush hands the frames that wait to the file. Called with mu held.
func (l *Log) flush() {
	frames := l.waiting
	if len(frames) == 0 {
		return
	}
	l.waiting = frames[:0]
	err := l.w.Append(frames)
	if err == nil {
		return
	}
	l.cfg.Log.Error().Err(err).Msg("audit log write refused")
	l.full = true
	if l.reserve {
		l.reserve = false
		if os.Remove(l.reservePath()) == nil && l.w.Append(frames) == nil {
			return
		}
	}
	l.since = l.cfg.now()
	l.pending = append(l.pending, frames...)
}

func (l *Log) refuse(why string) error {
	l.mu.Lock()
	l.stats.Refused++
	l.mu.Unlock()
	return fmt.Errorf("%w: %s", ErrUnavailable, why)
}

// abandon closes an intent whose request is refused because its record is not durable.
func (l *Log) abandon(seq uint64) {
	err := l.Outcome(Ref{seq: seq, ok: true}, Outcome{Result: ResultError, Code: "audit_unavailable"})
	if err != nil && !errors.Is(err, ErrClosed) {
		l.cfg.Log.Error().Err(err).Uint64("seq", seq).Msg("refused intent left open")
	}
}

// wait blocks until the record is durable.
func (l *Log) wait(ctx context.Context, seq uint64) error {
	signal(l.urgent)
	for {
		l.mu.Lock()
		synced, failed, round, closed := l.synced, l.failed, l.round, l.closed
		l.mu.Unlock()
		switch {
		case seq < synced:
			return nil
		case seq < failed:
			return l.refuse("the disk did not confirm the record")
		case closed:
			return ErrClosed
		}
		select {
		case <-round:
		case <-ctx.Done():
			return fmt.Errorf("wait for audit record: %w", context.Cause(ctx))
		}
	}
}

func (l *Log) reservePath() string { return filepath.Join(l.cfg.Dir, "reserve") }

// Stats returns counters and states.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.OpenIntents = len(l.chains.open)
	s.PendingBytes = int64(len(l.pending))
	s.Full = l.full
	s.Unsynced = l.chains.seq - l.synced
	return s
}

// Name is NODE/EPOCH, as records carry it.
func (l *Log) Name() string { return l.name }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
