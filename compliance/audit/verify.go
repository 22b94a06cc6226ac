package audit

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/causeway-mesh/causeway/compliance/audit/segment"
)

// Report is what Verify found. It covers one node's log as it lies on disk: every frame's checksum,
// canonical form, an unbroken sequence, every tenant's hash chain, and an outcome only where an
// intent is open. Someone who can write the whole directory can still rewrite all of it
// consistently: trust is the node's own ("self") until checkpoints are anchored elsewhere.
type Report struct {
	Log         string   // NODE/EPOCH
	Segments    int      //
	First, Next uint64   // records First..Next-1 were read
	Records     uint64   //
	Intents     uint64   //
	Denied      uint64   // intents that were refused
	Outcomes    uint64   //
	Unknown     uint64   // outcomes written for a node that died
	Lost        uint64   // best-effort records that the log says it lost
	OpenIntents int      // at the end: in flight, or a crash not yet recovered
	Tenants     int      //
	Torn        int64    // offset of an unreadable end of the last segment, 0 = none: a write in progress, or a crash
	Bad         *Finding // the first thing that is wrong; nil = all is well
}

// Finding is the first fault of a log.
type Finding struct {
	Segment string // file name
	Index   uint64 // the record that was due
	Problem string
}

// Error reads as a sentence.
func (f *Finding) Error() string {
	return fmt.Sprintf("%s: at record %d: %s", f.Segment, f.Index, f.Problem)
}

// Trust is the level that this verification reaches.
func (r *Report) Trust() string { return "self" }

// Verify reads a whole log. It may run beside the writing node. The error is for a directory that
// cannot be read at all; a log that is wrong is a Report with Bad set.
func Verify(dir string) (Report, error) {
	var rep Report
	infos, err := segment.List(dir)
	if err != nil {
		return rep, fmt.Errorf("verify audit log: %w", err)
	}
	if len(infos) == 0 {
		return rep, fmt.Errorf("verify audit log: no segments in %s", dir)
	}
	c := newChains()
	c.seq, c.whole = infos[0].Base, infos[0].Base == 0
	rep.First = c.seq
	for i, in := range infos {
		if in.Base != c.seq {
			rep.bad(in, c, fmt.Errorf("sequence: the file begins at record %d where %d was due", in.Base, c.seq))
			break
		}
		err := readSegment(in, c.name, func(p []byte) error {
			r, err := c.replay(p)
			if err == nil {
				rep.count(&r)
			}
			return err
		})
		torn, isTorn := errors.AsType[*segment.TornError](err)
		last := i == len(infos)-1
		switch {
		case err == nil:
		case last && isTorn:
			rep.Torn = torn.Offset
		case last && errors.Is(err, segment.ErrHeader) && in.Size < segment.HeaderSize:
			rep.Torn = max(in.Size, 1)
		default:
			rep.bad(in, c, err)
		}
		if rep.Bad != nil {
			break
		}
		rep.Segments++
	}
	if rep.Bad == nil && !c.whole {
		rep.bad(infos[0], c, errors.New("the oldest file does not carry the state before it"))
	}
	rep.Log, rep.Next, rep.OpenIntents, rep.Tenants = c.name, c.seq, len(c.open), len(c.tenants)
	if _, own := c.tenants[""]; own {
		rep.Tenants--
	}
	return rep, nil
}

func (rep *Report) bad(in segment.Info, c *chains, err error) {
	rep.Bad = &Finding{Segment: filepath.Base(in.Path), Index: c.seq, Problem: err.Error()}
}

func (rep *Report) count(r *Record) {
	rep.Records++
	switch r.Kind {
	case KindIntent:
		rep.Intents++
		if r.Intent.Decision != decisionAllow {
			rep.Denied++
		}
	case KindOutcome:
		rep.Outcomes++
		if r.Outcome.Result == ResultUnknown {
			rep.Unknown++
		}
	case KindLoss:
		rep.Lost += r.Loss.Records
	case KindCarry, KindRecovery:
	}
}
