package dialect

import (
	"slices"

	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Check brings a decoded request into the form that encoders rely on, and refuses what no provider
// could answer, with a Malformed fault that names the place:
//   - every call has an id (a made one where the client's protocol has none) and a name;
//   - every result answers a call before it, by id or, without one, by name and order; it has that
//     call's id and name, also where the client left the name out;
//   - parts stand in messages of the roles that llm.Message allows;
//   - a choice of tools names tools that are there.
func Check(r *llm.Request) error {
	if err := checkChoice(r); err != nil {
		return err
	}
	var open []*llm.Part // calls not answered yet, in order
	for i := range r.Messages {
		m := &r.Messages[i]
		if len(m.Parts) == 0 && m.Role != llm.RoleAssistant && m.Role != llm.RoleTool {
			continue // an empty text; vendors differ, encoders leave it out
		}
		for j := range m.Parts {
			p := &m.Parts[j]
			if !allowed(m.Role, p.Kind) {
				return malformed(p, "a "+p.Kind.String()+" part cannot stand in a "+m.Role.String()+" message")
			}
			switch p.Kind {
			case llm.PartCall:
				if p.Name == "" {
					return malformed(p, "the call has no name")
				}
				if p.ID == "" {
					p.ID = carrier.CallID(p.Name, i, j)
				}
				for _, c := range open {
					if c.ID == p.ID {
						return malformed(p, "two unanswered calls have the same id")
					}
				}
				open = append(open, p)
			case llm.PartResult:
				k := answers(open, p)
				if k < 0 {
					return malformed(p, "the result answers no call before it")
				}
				c := open[k]
				p.ID, p.Name, p.Custom = c.ID, c.Name, c.Custom
				open = append(open[:k], open[k+1:]...)
			}
		}
	}
	return nil
}

func checkChoice(r *llm.Request) error {
	names := r.Choice.Allowed
	if r.Choice.Mode == llm.ChoiceNamed {
		names = []string{r.Choice.Name}
	}
	for _, n := range names {
		if !slices.ContainsFunc(r.Tools, func(t llm.Tool) bool { return t.Name == n }) {
			at := Pointer(r.From, llm.FieldToolChoice)
			f := fault.New(fault.Malformed, "at %s: tools has no tool of the name that is chosen", at)
			f.Param = at[1:]
			return f
		}
	}
	return nil
}

func answers(open []*llm.Part, result *llm.Part) int {
	for i, c := range open {
		if result.ID != "" && c.ID == result.ID || result.ID == "" && result.Name != "" && c.Name == result.Name {
			return i
		}
	}
	return -1
}

func allowed(r llm.Role, k llm.PartKind) bool {
	switch k {
	case llm.PartText, llm.PartOpaque:
		return k == llm.PartOpaque || r != llm.RoleTool
	case llm.PartThinking, llm.PartRefusal, llm.PartCall:
		return r == llm.RoleAssistant
	case llm.PartResult:
		return r == llm.RoleTool
	default:
		return r == llm.RoleUser || r == llm.RoleAssistant
	}
}

func malformed(p *llm.Part, why string) error {
	f := fault.New(fault.Malformed, "%s", why)
	if len(p.At) > 1 {
		f.Param = p.At[1:]
		f.Message = "at " + p.At + ": " + why
	}
	return f
}
