package geo

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// memoryKeys bounds a Memory: a key more, and the oldest is forgotten.
const memoryKeys = 1024

// Memory is what Choose remembers between requests: per Want.Key the route that was first, and
// since when another one has been clearly better. The zero value is ready. It is not safe for
// concurrent use: callers lock it around Choose, or keep one per worker.
type Memory struct {
	byKey map[string]int
	slots []anchor // a ring once full
	next  int
}

// anchor is the route that requests of one key are measured against.
type anchor struct {
	key                   string
	exit, provider, model string
	betterSince           time.Time // zero: none is
}

// Forget drops what is remembered, for example when the route table changed under it.
func (m *Memory) Forget() { *m = Memory{} }

// Len is the number of keys remembered.
func (m *Memory) Len() int { return len(m.byKey) }

func (m *Memory) get(key string) (*anchor, bool) {
	i, ok := m.byKey[key]
	if !ok {
		return nil, false
	}
	return &m.slots[i], true
}

func (m *Memory) put(a anchor) {
	if i, ok := m.byKey[a.key]; ok {
		m.slots[i] = a
		return
	}
	a.key = strings.Clone(a.key) // the caller's may point into a request
	if m.byKey == nil {
		m.byKey = make(map[string]int)
	}
	if len(m.slots) < memoryKeys {
		m.byKey[a.key] = len(m.slots)
		m.slots = append(m.slots, a)
		return
	}
	delete(m.byKey, m.slots[m.next].key)
	m.byKey[a.key] = m.next
	m.slots[m.next] = a
	m.next = (m.next + 1) % memoryKeys
}

// arrange orders the first tier, which is sorted by cost, round the anchor that m keeps.
func (m *Memory) arrange(now time.Time, want Want, cands []Candidate, tier []Choice) {
	if m == nil || want.Key == "" {
		share(want.Draw, cands, tier, 0, WhyBest)
		return
	}
	old, ok := m.get(want.Key)
	at := -1
	if ok {
		at = old.find(cands, tier)
	}
	switch {
	case at < 0:
		m.put(anchorOf(want.Key, &cands[tier[0].Index])) // none yet, or it is gone, refused or cooling
	case cands[tier[at].Index].ErrorRate >= sickErrorRate && at > 0:
		m.put(anchorOf(want.Key, &cands[tier[0].Index]))
	case tier[0].Cost*100 >= tier[at].Cost*switchPercent:
		old.betterSince = time.Time{}
		share(want.Draw, cands, tier, at, keptOrBest(at))
		return
	case old.betterSince.IsZero() || now.Before(old.betterSince):
		old.betterSince = now
		share(want.Draw, cands, tier, at, WhyKept)
		return
	case now.Sub(old.betterSince) < switchAfter:
		share(want.Draw, cands, tier, at, WhyKept)
		return
	default:
		m.put(anchorOf(want.Key, &cands[tier[0].Index]))
	}
	share(want.Draw, cands, tier, 0, WhyBest)
}

func keptOrBest(at int) string {
	if at == 0 {
		return WhyBest
	}
	return WhyKept
}

func (a *anchor) find(cands []Candidate, tier []Choice) int {
	for i, t := range tier {
		if cands[t.Index].same(a) {
			return i
		}
	}
	return -1
}

func anchorOf(key string, c *Candidate) anchor {
	return anchor{key: key, exit: c.Exit, provider: c.Provider, model: c.Model}
}

// Clone is a copy that Choose may change without touching m: for explaining a choice.
func (m *Memory) Clone() Memory {
	return Memory{byKey: maps.Clone(m.byKey), slots: slices.Clone(m.slots), next: m.next}
}
