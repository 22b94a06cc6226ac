package dialect

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// NameRule is which names of tools a provider takes.
type NameRule struct {
	Max   int
	More  string // characters beside [a-zA-Z0-9_-]
	First bool   // the first one must be a letter or _
}

// The vendors' rules.
var (
	NamesOpenAI    = NameRule{Max: 64}                          // openai-go v3.96.0, FunctionDefinition
	NamesAnthropic = NameRule{Max: 128}                         // its 400: '^[a-zA-Z0-9_-]{1,128}$'
	NamesGemini    = NameRule{Max: 64, More: ".:", First: true} // genai v1.77.0, FunctionDeclaration
)

func (n NameRule) fits(s string) bool {
	if s == "" || len(s) > n.Max {
		return false
	}
	for i := range len(s) {
		if !n.takes(s[i]) {
			return false
		}
	}
	return !n.First || s[0] == '_' || letter(s[0])
}

func (n NameRule) takes(c byte) bool {
	for i := range len(n.More) {
		if c == n.More[i] {
			return true
		}
	}
	return letter(c) || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// hashed is how much of a name's hash stands at the end of the one that replaces it.
const hashed = 10

// fit is a name that the rule takes for s: what can be read of s, and a hash of it, so that the same
// name is the same in every turn. salt tells names apart that would meet.
func (n NameRule) fit(s string, salt int) string {
	h := sha256.Sum256([]byte(s + "\x00" + strconv.Itoa(salt)))
	b := make([]byte, 0, n.Max)
	for i := 0; i < len(s) && len(b) < n.Max-hashed-1; i++ {
		switch c := s[i]; {
		case n.takes(c) && (len(b) > 0 || !n.First || letter(c) || c == '_'):
			b = append(b, c)
		case len(b) == 0 || b[len(b)-1] != '_':
			b = append(b, '_')
		}
	}
	return string(b) + "_" + hex.EncodeToString(h[:hashed/2])
}

// FitNames is r with names of tools that a provider takes, in definitions, choice and history, and
// what After needs to give the client its own back. r itself is unchanged; when all names fit it is
// what is returned.
func FitNames(r *llm.Request, rule NameRule) (*llm.Request, map[string]string) {
	f := names{rule: rule}
	foreign := false
	f.visit(r, func(s string) string { foreign = foreign || s != "" && !rule.fits(s); return s })
	if !foreign {
		return r, nil
	}
	f.visit(r, func(s string) string { f.taken = append(f.taken, s); return s })
	out := *r
	out.Tools = slices.Clone(r.Tools)
	out.Choice.Allowed = slices.Clone(r.Choice.Allowed)
	out.Messages = slices.Clone(r.Messages)
	for i := range out.Messages {
		out.Messages[i].Parts = slices.Clone(out.Messages[i].Parts)
	}
	f.visit(&out, f.wire)
	return &out, f.back
}

type names struct {
	rule  NameRule
	taken []string // names in the request
	back  map[string]string
	to    map[string]string
}

// visit replaces every name of a function or custom tool by what f makes of it.
func (n *names) visit(r *llm.Request, f func(string) string) {
	for i := range r.Tools {
		if t := &r.Tools[i]; t.Kind != llm.ToolHosted {
			t.Name = f(t.Name)
		}
	}
	r.Choice.Name = f(r.Choice.Name)
	for i := range r.Choice.Allowed {
		r.Choice.Allowed[i] = f(r.Choice.Allowed[i])
	}
	for i := range r.Messages {
		for j := range r.Messages[i].Parts {
			if p := &r.Messages[i].Parts[j]; p.Kind == llm.PartCall || p.Kind == llm.PartResult {
				p.Name = f(p.Name)
			}
		}
	}
}

func (n *names) wire(s string) string {
	if s == "" || n.rule.fits(s) {
		return s
	}
	if w, ok := n.to[s]; ok {
		return w
	}
	w := n.rule.fit(s, 0)
	for salt := 1; slices.Contains(n.taken, w) || n.back[w] != ""; salt++ {
		w = n.rule.fit(s, salt)
	}
	if n.to == nil {
		n.to, n.back = map[string]string{}, map[string]string{}
	}
	n.to[s], n.back[w] = w, s
	return w
}
