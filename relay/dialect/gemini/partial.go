package gemini

import (
	"strconv"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Bounds of arguments that come in pieces: a path of ten bytes must not make a gigabyte.
const (
	maxPath  = 64
	maxNodes = 1 << 16
	maxArgs  = 32 << 20
)

// partialCall puts the arguments of one call together from partialArgs: values at JSON paths (RFC
// 9535), strings in pieces.
type partialCall struct {
	sealed bool
	args   string // arguments that came whole
	root   *node
	nodes  int
	size   int
}

type node struct {
	kind  byte // '{', '[', '"', or 'v' for any other value; 0 = not known
	name  string
	kids  []*node
	value []byte
}

// add takes one PartialArg; false when it does not fit what came before.
func (c *partialCall) add(v []byte) bool {
	var f [5]llm.Raw
	if _, err := fields(v, "", []string{"jsonPath", "stringValue", "numberValue", "boolValue", "willContinue"}, f[:]); err != nil {
		return false
	}
	if c.root == nil {
		c.root = &node{kind: '{'}
	}
	n := c.at(text(f[0]))
	if n == nil || n.kind == '{' || n.kind == '[' {
		return false
	}
	switch {
	case len(f[1]) > 0:
		if f[1][0] != '"' || n.kind == 'v' {
			return false
		}
		s := dialect.Unquote(f[1])
		if c.size += len(s); c.size > maxArgs {
			return false
		}
		n.kind, n.value = '"', append(n.value, s...)
		return true
	case n.kind == '"':
		return true // the end mark of a string
	case len(f[2]) > 0:
		v = f[2]
	case len(f[3]) > 0:
		v = f[3]
	default:
		v = []byte("null")
	}
	if len(v) > 64 || v[0] == '"' || v[0] == '{' || v[0] == '[' {
		return false
	}
	n.kind, n.value = 'v', append(n.value[:0], v...)
	return true
}

// at finds or makes the node at a path.
func (c *partialCall) at(path string) *node {
	rest, ok := strings.CutPrefix(path, "$")
	if !ok {
		return nil
	}
	n := c.root
	for range maxPath {
		if rest == "" {
			return n
		}
		var kid *node
		name, index, tail, ok := step(rest)
		switch {
		case !ok:
			return nil
		case index < 0:
			kid = c.member(n, name)
		default:
			kid = c.item(n, index)
		}
		if kid == nil {
			return nil
		}
		n, rest = kid, tail
	}
	return nil
}

// step cuts .name, ['name'], ["name"] or [7] from a path; index is -1 for names.
func step(s string) (name string, index int, rest string, ok bool) {
	if tail, dot := strings.CutPrefix(s, "."); dot {
		n := strings.IndexAny(tail, ".[")
		if n < 0 {
			n = len(tail)
		}
		return tail[:n], -1, tail[n:], n > 0
	}
	if len(s) < 3 || s[0] != '[' {
		return "", 0, "", false
	}
	if q := s[1]; q == '\'' || q == '"' {
		var b strings.Builder
		for i := 2; i < len(s); i++ {
			switch {
			case s[i] == '\\' && i+1 < len(s):
				i++
				b.WriteByte(s[i])
			case s[i] == q:
				rest, ok = strings.CutPrefix(s[i+1:], "]")
				return b.String(), -1, rest, ok
			default:
				b.WriteByte(s[i])
			}
		}
		return "", 0, "", false
	}
	number, rest, ok := strings.Cut(s[1:], "]")
	index, err := strconv.Atoi(number)
	return "", index, rest, ok && err == nil && index >= 0
}

func (c *partialCall) member(n *node, name string) *node {
	if n.kind != '{' && n.kind != 0 {
		return nil
	}
	n.kind = '{'
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	c.size += len(name)
	return c.grow(n, name)
}

func (c *partialCall) item(n *node, index int) *node {
	if n.kind != '[' && n.kind != 0 || index > len(n.kids) {
		return nil
	}
	n.kind = '['
	if index < len(n.kids) {
		return n.kids[index]
	}
	return c.grow(n, "")
}

func (c *partialCall) grow(n *node, name string) *node {
	if c.nodes++; c.nodes > maxNodes || c.size > maxArgs {
		return nil
	}
	k := &node{name: name}
	n.kids = append(n.kids, k)
	return k
}

// text is the arguments as JSON; "" = none came.
func (c *partialCall) text() string {
	if c.root == nil {
		return c.args
	}
	w := dialect.NewWriter(nil)
	c.root.write(&w)
	return string(w.Take())
}

func (n *node) write(w *dialect.Writer) {
	switch n.kind {
	case '{':
		w.Open('{')
		for _, k := range n.kids {
			w.Key(k.name)
			k.write(w)
		}
		w.Close('}')
	case '[':
		w.Open('[')
		for _, k := range n.kids {
			k.write(w)
		}
		w.Close(']')
	case '"':
		w.Text(n.value)
	case 'v':
		w.Raw(n.value)
	default:
		w.Null()
	}
}
