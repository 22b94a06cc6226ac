package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/compliance/audit/segment"
)

// chains is what a log's records add up to: where it stands, each tenant's chain, what is open.
type chains struct {
	name    string // NODE/EPOCH, "" until the first record
	seq     uint64 // of the next record
	tenants map[string]Chain
	open    map[uint64]OpenIntent
	carried int  // carry records seen of the current set
	whole   bool // a whole carry set has been seen: the state is complete
}

func newChains() *chains {
	return &chains{tenants: map[string]Chain{}, open: map[uint64]OpenIntent{}}
}

// replay checks one record against the state and adds it. The error names the property that fails.
func (c *chains) replay(payload []byte) (Record, error) {
	r, err := Parse(payload)
	if err != nil {
		return r, err
	}
	canonical := jsontext.Value(bytes.Clone(payload))
	if err := canonical.Canonicalize(); err != nil || !bytes.Equal(canonical, payload) {
		return r, fmt.Errorf("record %d is not in canonical form", r.Seq)
	}
	if r.Seq != c.seq {
		return r, fmt.Errorf("sequence: record %d where %d was due", r.Seq, c.seq)
	}
	if c.name == "" {
		c.name = r.Log
	}
	if r.Log != c.name {
		return r, fmt.Errorf("record %d belongs to log %s, not %s", r.Seq, r.Log, c.name)
	}
	if r.Kind == KindCarry {
		if err := c.carry(r.Carry); err != nil {
			return r, fmt.Errorf("record %d: %w", r.Seq, err)
		}
	}
	link, known := c.tenants[r.Tenant]
	if (known || c.whole) && (r.TenantSeq != link.Next || r.Prev != link.Last) {
		return r, fmt.Errorf("record %d does not follow record %d of tenant %q", r.Seq, link.Next, r.Tenant)
	}
	switch r.Kind {
	case KindIntent:
		if r.Intent.Decision == "allow" {
			c.open[r.Seq] = OpenIntent{Seq: r.Seq, Tenant: r.Tenant, Request: r.Intent.Request}
		}
	case KindOutcome:
		o, ok := c.open[r.Outcome.IntentSeq]
		if c.whole && (!ok || o.Tenant != r.Tenant || o.Request != r.Outcome.Request) {
			return r, fmt.Errorf("record %d is an outcome without its intent", r.Seq)
		}
		delete(c.open, r.Outcome.IntentSeq)
	case KindCarry, KindRecovery, KindLoss:
	}
	c.advance(r.Tenant, r.TenantSeq, LeafHash(payload))
	return r, nil
}

func (c *chains) advance(tenant string, tenantSeq uint64, leaf Hash) {
	c.tenants[tenant] = Chain{Tenant: tenant, Next: tenantSeq + 1, Last: leaf}
	c.seq++
}

// carry compares a carried state with the one known, or takes it over when none is.
func (c *chains) carry(in *Carry) error {
	if in.Part == 1 {
		c.carried = 0
	}
	if in.Part != c.carried+1 || in.Part > in.Parts {
		return fmt.Errorf("carry part %d of %d is out of place", in.Part, in.Parts)
	}
	c.carried = in.Part
	for _, t := range in.Tenants {
		// The log's own chain moves with every carry part.
		if have, ok := c.tenants[t.Tenant]; t.Tenant != "" && (ok || c.whole) && have != t {
			return fmt.Errorf("carried chain of tenant %q differs from its records", t.Tenant)
		}
		if t.Tenant != "" || !c.whole {
			c.tenants[t.Tenant] = t
		}
	}
	for _, o := range in.Open {
		if have, ok := c.open[o.Seq]; c.whole && (!ok || have != o) {
			return fmt.Errorf("carried intent %d is not open", o.Seq)
		}
		c.open[o.Seq] = o
	}
	if in.Part == in.Parts {
		c.whole = true
	}
	return nil
}

const (
	carryTenants = 64 // per record; with maxID this bounds a record's length
	carryOpen    = 32
)

// carries renders the state for the start of a segment.
func (c *chains) carries() []*Carry {
	tenants := make([]Chain, 0, len(c.tenants))
	for _, t := range c.tenants {
		tenants = append(tenants, t)
	}
	slices.SortFunc(tenants, func(a, b Chain) int { return cmp.Compare(a.Tenant, b.Tenant) })
	open := make([]OpenIntent, 0, len(c.open))
	for _, o := range c.open {
		open = append(open, o)
	}
	slices.SortFunc(open, func(a, b OpenIntent) int { return cmp.Compare(a.Seq, b.Seq) })
	var out []*Carry
	for part := range slices.Chunk(tenants, carryTenants) {
		out = append(out, &Carry{Tenants: part})
	}
	for part := range slices.Chunk(open, carryOpen) {
		out = append(out, &Carry{Open: part})
	}
	if len(out) == 0 {
		out = append(out, &Carry{})
	}
	for i, part := range out {
		part.Part, part.Parts = i+1, len(out)
	}
	return out
}

// origin ties a segment file to its log.
func origin(name string) [16]byte {
	h := LeafHash([]byte("causeway audit origin " + name))
	return [16]byte(h[:16])
}

// startAt finds the latest segment from which the whole state can be read: the last one, unless a
// crash fell between its creation and its carry records.
func startAt(infos []segment.Info, whole func(segment.Info) bool) int {
	for i := len(infos) - 1; i > 0; i-- {
		if whole(infos[i]) {
			return i
		}
	}
	return 0
}
