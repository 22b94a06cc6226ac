package api

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/manifest"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

// section is the list index at the front of a path: "tenants[0].home" is "home" to the caller of
// PUT /v1/tenants/acme.
var section = regexp.MustCompile(`^(\w+\[0\]|policy)\.?`)

// check refuses one resource for what only this build's data can tell: countries, terms, prices.
func (s *Server) check(doc state.Document) *Problem {
	all := manifest.Check(doc)
	if len(all) == 0 {
		return nil
	}
	p := problem("invalid", "%s", said(all[0])).at(section.ReplaceAllString(all[0].Path, ""))
	if len(all) > 1 {
		for _, q := range all {
			p.Problems = append(p.Problems, Place{Field: section.ReplaceAllString(q.Path, ""), Message: said(q)})
		}
	}
	return p
}

func said(p manifest.Problem) string {
	if p.Fix == "" {
		return p.What
	}
	return p.What + "; " + p.Fix
}

// ApplyAnswer is POST /v1/apply.
type ApplyAnswer struct {
	Applied  bool              `json:"applied"` // false for a dry run
	Index    uint64            `json:"index"`
	Changes  []manifest.Change `json:"changes"`
	NeedsYes []string          `json:"needs_yes,omitempty"` // what &yes=1 has to confirm
	Replayed bool              `json:"replayed,omitempty"`
}

// apply takes a whole document as one Raft entry: all or nothing. ?dry_run=1 only shows the changes,
// ?prune=1 deletes what the document's sections leave out, ?yes=1 confirms that keys end.
func (s *Server) apply(c *call) *Problem {
	q := c.r.URL.Query()
	dry, p := flag(q.Get("dry_run"), "dry_run")
	if p != nil {
		return p
	}
	prune, p := flag(q.Get("prune"), "prune")
	if p != nil {
		return p
	}
	yes, p := flag(q.Get("yes"), "yes")
	if p != nil {
		return p
	}
	doc, err := manifest.Parse("", c.body)
	if err != nil {
		return documentProblem(err)
	}
	if p := mayApply(c.who, doc.Document); p != nil {
		return p
	}
	sealed, p := s.sealDocument(c, doc)
	if p != nil {
		return p
	}
	before := c.snap
	changes, refused := manifest.Diff(before, sealed, prune, time.Now().UnixNano())
	if refused != nil {
		return explain(doc, refused)
	}
	out := ApplyAnswer{Index: before.Index, Changes: changes, NeedsYes: manifest.NeedsYes(changes)}
	if dry {
		return s.reply(c, http.StatusOK, out)
	}
	if len(out.NeedsYes) > 0 && !yes {
		return problem("confirmation_required", "this would end %s for good: repeat it with yes=1 (--yes) if that is meant", strings.Join(out.NeedsYes, ", "))
	}
	cmd, p := s.stamp(c, &command.Apply{Document: sealed, Prune: prune})
	if p != nil {
		return p
	}
	res, _, err := s.cfg.Consensus.Propose(c.ctx, cmd)
	if err != nil {
		return asProblem(err)
	}
	if res.Err != nil {
		return explain(doc, res.Err)
	}
	c.snap = s.cfg.Consensus.Snapshot()
	// Somebody may have written between the draft and the entry: report what the entry did.
	out.Applied, out.Index, out.Replayed = true, res.Index, res.Replayed
	out.Changes = manifest.Between(before, c.snap, res.Changes)
	changed := slices.ContainsFunc(out.Changes, func(ch manifest.Change) bool { return ch.Action != state.Same.String() })
	if changed && !res.Replayed {
		s.cfg.Log.Info().Str("by", c.who.actor).Uint64("index", res.Index).Int("objects", len(out.Changes)).Bool("prune", prune).Msg("document applied")
	}
	return s.reply(c, http.StatusOK, out)
}

func flag(text, name string) (bool, *Problem) {
	switch text {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	}
	return false, problem("malformed", "%s=%q is neither 1 nor 0", name, text).at(name)
}

// mayApply keeps operators out of the sections that say who may do what.
func mayApply(who caller, doc state.Document) *Problem {
	if who.role == RoleAdmin {
		return nil
	}
	for _, s := range []struct {
		name string
		has  bool
	}{
		{"orgs", doc.Orgs != nil},
		{"tenants", doc.Tenants != nil},
		{"keys", doc.Keys != nil},
		{"limits", doc.Limits != nil},
		{"policy", doc.Policy != nil},
		{"audit", doc.Audit != nil},
	} {
		if s.has {
			return problem("forbidden", "only an admin applies the section %s", s.name).at(s.name)
		}
	}
	return nil
}

// sealDocument returns the document as it may enter Raft: credentials sealed, key secrets hashed.
func (s *Server) sealDocument(c *call, doc *manifest.Document) (state.Document, *Problem) {
	out := doc.Document
	if out.Providers != nil {
		out.Providers = append([]state.Provider{}, out.Providers...)
		for i := range out.Providers {
			p := &out.Providers[i]
			p.Auth.Secrets = slices.Clone(p.Auth.Secrets)
			s.sealSecrets(p)
		}
	}
	if out.Keys != nil {
		out.Keys = append([]state.Key{}, out.Keys...)
		for i := range out.Keys {
			if p := s.hashKey(c, &out.Keys[i]); p != nil {
				path := "keys[" + itoa(i) + "].secret"
				p.Problems = []Place{{Field: path, Line: doc.Line(path), Message: p.Detail}}
				return out, p.at(path)
			}
		}
	}
	return out, nil
}

// documentProblem lists everything wrong with a document, with lines.
func documentProblem(err error) *Problem {
	all, ok := manifest.AsProblems(err)
	if !ok || len(all) == 0 {
		return problem("malformed", "%s", err)
	}
	p := problem("invalid", "the document has %d problems; nothing was changed", len(all)).at(all[0].Path)
	if len(all) == 1 {
		p.Detail = "the document has a problem; nothing was changed"
	}
	for _, q := range all {
		p.Problems = append(p.Problems, Place{Field: q.Path, Line: q.Line, Message: said(q)})
	}
	return p
}

// explain places a refusal of the state in the document.
func explain(doc *manifest.Document, e *state.Error) *Problem {
	p := problem(string(e.Code), "%s", e.Message).at(e.Field)
	p.Problems = []Place{{Field: e.Field, Line: doc.Line(e.Field), Message: e.Message}}
	return p
}
