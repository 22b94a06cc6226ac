package llm

// ToolKind is what a tool is.
type ToolKind uint8

// Kinds of tools.
const (
	ToolFunction ToolKind = iota
	ToolCustom            // free-form input, OpenAI only
	ToolHosted            // the vendor runs it, or defines it: Opaque is the definition
)

// String names k for dumps.
func (k ToolKind) String() string { return name(toolNames[:], uint8(k)) }

var toolNames = [...]string{"function", "custom", "hosted"}

// Tool is one tool definition.
type Tool struct {
	Kind        ToolKind
	Name        string
	Description string
	Schema      Raw // JSON Schema of the arguments; nil = none
	Strict      Opt[bool]
	Grammar     Raw // custom: OpenAI's format member
	Opaque      *Opaque
	Cache       CacheTTL
	At          string // JSON pointer in the client's body
	Extra       Extra
}

// ChoiceMode says which tools the model may or must call.
type ChoiceMode uint8

// Modes of tool choice.
const (
	ChoiceUnset ChoiceMode = iota
	ChoiceAuto
	ChoiceNone
	ChoiceRequired // any tool
	ChoiceNamed    // Name, must
	ChoiceAllowed  // Allowed, may; must when Must
)

// String names m for dumps.
func (m ChoiceMode) String() string { return name(choiceNames[:], uint8(m)) }

var choiceNames = [...]string{"unset", "auto", "none", "required", "named", "allowed"}

// ToolChoice is the client's tool choice.
type ToolChoice struct {
	Mode    ChoiceMode
	Name    string
	Custom  bool // the named tool is a custom one
	Allowed []string
	Must    bool
	Extra   Extra
}
