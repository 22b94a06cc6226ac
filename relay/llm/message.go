package llm

// Role is who speaks.
type Role uint8

// Roles.
const (
	RoleUser Role = iota
	RoleAssistant
	RoleTool
	RoleSystem
	RoleDeveloper
)

// String is OpenAI's word.
func (r Role) String() string { return name(roleNames[:], uint8(r)) }

var roleNames = [...]string{"user", "assistant", "tool", "system", "developer"}

// Message is one turn, or a piece of one: consecutive messages of one role are legal, and encoders
// merge or split them as their vendor wants. Normal form:
//   - system and developer messages hold only text and stand where they take effect; what a protocol
//     has as a field of its own (instructions, system, systemInstruction) comes first;
//   - results stand in tool messages, and those hold nothing else: a user turn with results and text
//     is two messages, results first;
//   - thinking, calls and refusals stand in assistant messages only;
//   - what a Responses client writes as separate items of one assistant turn is one message.
type Message struct {
	Role  Role
	Name  string // OpenAI's name of the speaker
	Parts []Part
	At    string // JSON pointer to it in the client's body
	Extra Extra
}

// LeadingSystem is the number of system and developer messages before anything else.
func LeadingSystem(ms []Message) int {
	for i := range ms {
		if ms[i].Role != RoleSystem && ms[i].Role != RoleDeveloper {
			return i
		}
	}
	return len(ms)
}
