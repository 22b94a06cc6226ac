package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

// Change is what applying a document does to one object.
type Change struct {
	Section string  `json:"section"`
	ID      string  `json:"id,omitempty"`
	Action  string  `json:"action"` // add | change | delete | same
	Fields  []Field `json:"fields,omitempty"`
}

// Field is one value of an object before and after, as JSON text; "" = absent. A secret shows as its
// fingerprint.
type Field struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Diff says what applying doc to cur would do. It runs state's own rules on a draft, so it cannot
// differ from the real thing; the *state.Error is what applying would answer. doc comes sealed and
// hashed. now is unix nanoseconds.
func Diff(cur *state.Snapshot, doc state.Document, prune bool, now int64) ([]Change, *state.Error) {
	next, res := cur.Next(cur.Index+1, command.Command{Time: now, Actor: "dry-run", Body: &command.Apply{Document: doc, Prune: prune}})
	if res.Err != nil {
		return nil, res.Err
	}
	return Between(cur, next, res.Changes), nil
}

// Between describes changes that led from one snapshot to another.
func Between(before, after *state.Snapshot, changes []state.Change) []Change {
	out := make([]Change, 0, len(changes))
	for _, c := range changes {
		ch := Change{Section: c.Sort.String(), ID: c.ID, Action: c.Action.String()}
		if c.Action != state.Same {
			ch.Fields = compare(flatten(object(before, c.Sort, c.ID)), flatten(object(after, c.Sort, c.ID)))
		}
		out = append(out, ch)
	}
	return out
}

// object renders what anybody may see of an object as JSON; nil when it does not exist.
func object(s *state.Snapshot, sort state.Sort, id string) []byte {
	switch sort {
	case command.Regions:
		return render(s.Regions, id, func(v state.Region) state.Region { v.Version = 0; return v })
	case command.Orgs:
		return render(s.Orgs, id, func(v state.Org) state.Org { v.Version = 0; return v })
	case command.Tenants:
		return render(s.Tenants, id, func(v state.Tenant) state.Tenant { v.Version = 0; return v })
	case command.Providers:
		return render(s.Providers, id, func(v state.Provider) state.Provider { v.Version = 0; return v.Public() })
	case command.Models:
		return render(s.Models, id, func(v state.Model) state.Model { v.Version = 0; return v })
	case command.Keys:
		return render(s.Keys, id, func(v state.Key) state.Key { v.Version = 0; return v.Public() })
	case command.Limits:
		return render(s.Limits, id, func(v state.Limit) state.Limit { v.Version = 0; return v })
	case command.Audits:
		return render(s.Audits, id, func(v state.AuditRule) state.AuditRule { v.Version = 0; return v })
	case command.Policies:
		p := s.Policy
		p.Revision = 0
		return marshal(p)
	case command.Routes:
		return marshal(s.Route)
	default:
		return nil
	}
}

func render[T any](t state.Table[T], id string, public func(T) T) []byte {
	v, ok := t.Get(id)
	if !ok {
		return nil
	}
	return marshal(public(v))
}

func marshal[T any](v T) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("manifest: %T: %v", v, err)) // plain records: only a float that Apply refuses could
	}
	return b
}

// flatten turns JSON into path and scalar, in order of appearance. Lists of rules, secrets and the like
// are told by the element's id, so that an insertion does not look like a change of all that follow.
func flatten(b []byte) (out []Field) {
	if b != nil {
		flattenValue(b, "", &out)
	}
	return out
}

func flattenValue(raw json.RawMessage, path string, out *[]Field) {
	switch raw[0] {
	case '{':
		dec := json.NewDecoder(bytes.NewReader(raw))
		_, _ = dec.Token()
		for dec.More() {
			key, err := dec.Token()
			var val json.RawMessage
			if err != nil || dec.Decode(&val) != nil {
				return
			}
			name, _ := key.(string)
			if path != "" {
				name = path + "." + name
			}
			flattenValue(val, name, out)
		}
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return
		}
		if len(list) == 0 || list[0][0] != '{' {
			*out = append(*out, Field{Path: path, After: string(raw)})
			return
		}
		for i, e := range list {
			var named struct{ ID string }
			at := indexed(path, i)
			if json.Unmarshal(e, &named) == nil && named.ID != "" {
				at = path + "[" + named.ID + "]"
			}
			flattenValue(e, at, out)
		}
	default:
		*out = append(*out, Field{Path: path, After: string(raw)})
	}
}

func compare(before, after []Field) (out []Field) {
	old := make(map[string]string, len(before))
	for _, f := range before {
		old[f.Path] = f.After
	}
	for _, f := range after {
		if was, had := old[f.Path]; !had || was != f.After {
			out = append(out, Field{Path: f.Path, Before: was, After: f.After})
		}
		delete(old, f.Path)
	}
	for _, f := range before {
		if _, gone := old[f.Path]; gone {
			out = append(out, Field{Path: f.Path, Before: f.After})
		}
	}
	return out
}

// Write renders changes for people: + added, ~ changed, - deleted, then a count.
func Write(w io.Writer, changes []Change) error {
	var b strings.Builder
	count := map[string]int{}
	for _, c := range changes {
		count[c.Action]++
		mark, ok := map[string]string{"add": "+", "change": "~", "delete": "-"}[c.Action]
		if !ok {
			continue
		}
		name := c.Section
		if c.ID != "" {
			name += "/" + c.ID
		}
		fmt.Fprintf(&b, "%s %s\n", mark, name)
		if c.Action == "delete" {
			continue
		}
		for _, f := range c.Fields {
			switch {
			case c.Action == "add" && f.Path == "id":
			case f.Before == "":
				fmt.Fprintf(&b, "    %s: %s\n", f.Path, f.After)
			case f.After == "":
				fmt.Fprintf(&b, "    %s: %s -> none\n", f.Path, f.Before)
			default:
				fmt.Fprintf(&b, "    %s: %s -> %s\n", f.Path, f.Before, f.After)
			}
		}
	}
	fmt.Fprintf(&b, "%d to add, %d to change, %d to delete, %d unchanged\n", count["add"], count["change"], count["delete"], count["same"])
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write diff: %w", err)
	}
	return nil
}

// NeedsYes lists what applying would take from somebody: deleted keys. The CLI asks for --yes.
func NeedsYes(changes []Change) []string {
	var out []string
	for _, c := range changes {
		if c.Section == command.Keys.String() && c.Action == state.Deleted.String() {
			out = append(out, c.Section+"/"+c.ID)
		}
	}
	slices.Sort(out)
	return out
}
