package gossip

import "github.com/hashicorp/memberlist"

func (t *transport) name() memberlist.Address { return memberlist.Address{Name: string(t.self)} }

// connections counts the live connections that this node serves.
func (g *Gossip) connections() int { return int(g.tr.serving.Load()) }
