package gossip

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

// delegate is what memberlist calls. None of it blocks.
type delegate struct{ g *Gossip }

var (
	_ memberlist.Delegate      = delegate{}
	_ memberlist.EventDelegate = delegate{}
	_ memberlist.AliveDelegate = delegate{}
	_ memberlist.PingDelegate  = delegate{}
)

// broadcast is one record on its way; a newer one of the same node takes its place.
type broadcast struct {
	name string
	msg  []byte
}

var _ memberlist.NamedBroadcast = broadcast{}

func (b broadcast) Name() string    { return b.name }
func (b broadcast) Message() []byte { return b.msg }
func (b broadcast) Finished()       {}
func (b broadcast) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(broadcast)
	return ok && o.name == b.name
}

func (d delegate) NodeMeta(int) []byte { return d.g.meta }

// NotifyMsg takes one record from a packet.
func (d delegate) NotifyMsg(b []byte) {
	if err := d.g.take(b, time.Now()); err != nil {
		d.g.cfg.Log.Debug().Err(err).Msg("gossip record dropped")
	}
}

func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.g.queue.GetBroadcasts(overhead, limit)
}

// LocalState is every record of an alive member: a push/pull evens out what packets lost.
func (d delegate) LocalState(bool) []byte {
	g := d.g
	g.mu.Lock()
	defer g.mu.Unlock()
	var b []byte
	for _, m := range g.members {
		if m.Alive && m.raw != nil {
			b = appendList(b, m.raw)
		}
	}
	return b
}

func (d delegate) MergeRemoteState(b []byte, _ bool) {
	now := time.Now()
	eachRecord(b, func(record []byte) {
		if err := d.g.take(record, now); err != nil {
			d.g.cfg.Log.Debug().Err(err).Msg("gossip record dropped")
		}
	})
}

// take enters a record that is newer than the one held, and passes it on.
func (g *Gossip) take(b []byte, now time.Time) error {
	origin, seq, rec, err := parseRecord(b)
	if err != nil {
		return err
	}
	g.mu.Lock()
	if origin == g.cfg.Self.ID {
		// The mesh remembers a former life whose clock was ahead: be newer than it.
		if seq >= g.ownSeq {
			g.ownSeq, g.ownBody, g.urgent = seq, nil, true
			select {
			case g.kick <- struct{}{}:
			default:
			}
		}
		g.mu.Unlock()
		return nil
	}
	m := g.members[origin]
	if m == nil || seq <= m.seq {
		g.mu.Unlock()
		return nil // of a node that is not a member (yet), or not news
	}
	raw := append([]byte(nil), b...) // memberlist reuses b
	m.Record, m.RecordAt, m.seq, m.raw = rec, now, seq, raw
	g.notify()
	g.mu.Unlock()
	g.queue.QueueBroadcast(broadcast{name: string(origin), msg: raw})
	return nil
}

// NotifyAlive refuses nodes that are not of the mesh or whose meta is not their own.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	m, err := parseMeta(n.Meta)
	if err != nil {
		return err
	}
	if string(m.ID) != n.Name {
		return fmt.Errorf("gossip about %q carries the meta of %q", n.Name, m.ID)
	}
	if known := d.g.cfg.Known; known != nil && m.ID != d.g.cfg.Self.ID && !known(m.ID) {
		return fmt.Errorf("gossip about %q: the coordinator does not know it", m.ID)
	}
	return nil
}

func (d delegate) NotifyJoin(n *memberlist.Node)   { d.enter(n) }
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.enter(n) }

func (d delegate) enter(n *memberlist.Node) {
	meta, err := parseMeta(n.Meta)
	if err != nil || meta.ID == d.g.cfg.Self.ID {
		return // NotifyAlive has refused the first; this node knows itself
	}
	g, now := d.g, time.Now()
	g.mu.Lock()
	m := g.members[meta.ID]
	if m == nil {
		m = &member{}
		g.members[meta.ID] = m
	}
	if !m.Alive {
		m.Alive, m.Since = true, now
	}
	moved := m.Meta.Addr != "" && m.Meta.Addr != meta.Addr
	m.Meta = meta
	g.notify()
	g.mu.Unlock()
	if moved {
		g.tr.forget(meta.ID)
	}
	g.cfg.Log.Debug().Str("peer", string(meta.ID)).Str("addr", meta.Addr).Msg("gossip member")
}

func (d delegate) NotifyLeave(n *memberlist.Node) {
	g, id := d.g, identity.NodeID(n.Name)
	g.mu.Lock()
	if m := g.members[id]; m != nil && m.Alive && id != g.cfg.Self.ID {
		m.Alive, m.Since = false, time.Now()
		g.notify()
	}
	g.mu.Unlock()
	g.tr.forget(id)
	g.cfg.Log.Debug().Str("peer", string(id)).Int("state", int(n.State)).Msg("gossip member gone")
}

func (d delegate) AckPayload() []byte { return nil }

func (d delegate) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, _ []byte) {
	if f := d.g.cfg.OnRTT; f != nil {
		f(identity.NodeID(n.Name), rtt)
	}
}
