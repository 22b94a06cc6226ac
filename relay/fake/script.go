package fake

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/meter"
)

// choice says whether tools may or must be called.
type choice uint8

const (
	toolAuto choice = iota
	toolNone
	toolRequired
	toolNamed
)

type tool struct {
	name   string
	schema jsontext.Value
}

// prompt is what the script needs of a request, whatever its dialect.
type prompt struct {
	model   string
	last    string // the newest user text
	result  string // the newest tool results, when the conversation ends with them
	answers bool   // the conversation ends with a tool result
	hash    uint64
	tokens  int64
	media   []string // MIME types, or "image" where only a link is given
	tools   []tool
	choice  choice
	named   string
	single  bool // no parallel calls
	json    bool
	schema  jsontext.Value
	stops   []string
	max     int64 // 0 = not limited
	none    bool  // max is zero on purpose: no output at all
	think   bool
}

// say adds a text of the conversation. Instructions end no tool's turn: some SDKs write them last.
func (p *prompt) say(role, text string) {
	p.hash = mix(p.hash^uint64(len(role)), text)
	p.tokens += meter.Count(text)
	switch role {
	case "system", "developer":
		return
	case "user":
		p.last = text
	}
	p.answers, p.result = false, ""
}

func (p *prompt) see(mime string, size int) {
	p.media = append(p.media, mime)
	p.hash = mix(p.hash, mime) ^ uint64(size)
	p.tokens += 258
}

// answer adds a tool's result; those of parallel calls follow each other.
func (p *prompt) answer(text string) {
	before := p.result
	p.say("tool", text)
	if before != "" {
		text = before + " " + text
	}
	p.answers, p.result = true, text
}

// mix folds text into h eight bytes at a time. It need not withstand anybody, only spread.
func mix(h uint64, text string) uint64 {
	const k0, k1 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
	h ^= uint64(len(text)) * k0
	for ; len(text) >= 8; text = text[8:] {
		hi, lo := bits.Mul64(h^binary.LittleEndian.Uint64([]byte(text[:8])), k1)
		h = hi ^ lo ^ k0
	}
	var tail [8]byte
	copy(tail[:], text)
	hi, lo := bits.Mul64(h^binary.LittleEndian.Uint64(tail[:]), k1)
	return hi ^ lo
}

// rng is splitmix64.
type rng uint64

func (r *rng) next() uint64 {
	*r += 0x9E3779B97F4A7C15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

const base62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// id makes a vendor-shaped identifier: prefix and n letters and digits.
func (r *rng) id(prefix string, n int) string { return r.pick(prefix, base62, n) }

func (r *rng) hex(prefix string, n int) string { return r.pick(prefix, "0123456789abcdef", n) }

func (r *rng) pick(prefix, alphabet string, n int) string {
	b := make([]byte, len(prefix)+n)
	copy(b, prefix)
	for i := len(prefix); i < len(b); i++ {
		b[i] = alphabet[r.next()%uint64(len(alphabet))]
	}
	return string(b)
}

type stop uint8

const (
	stopEnd stop = iota
	stopLength
	stopSequence
	stopCalls
)

type call struct {
	name, args string
	pieces     []string
}

// script is one scripted answer.
type script struct {
	thoughts []string
	tokens   []string
	calls    []call
	stop     stop
	matched  string // the stop sequence
	think    int64  // tokens of thoughts
	out      int64  // all output tokens, thoughts included
	rng      rng    // for ids
}

func (s *script) text() string    { return strings.Join(s.tokens, "") }
func (s *script) thought() string { return strings.Join(s.thoughts, "") }

// The scripted vocabulary: short, plain words, two of them outside ASCII so that every path carries
// more than one byte a character.
var words = [...]string{
	"the", "mesh", "carries", "every", "token", "from", "edge", "to", "exit", "and", "back", "again", "a", "quiet",
	"path", "under", "the", "sea", "keeps", "its", "promise", "while", "routes", "change", "with", "weather", "naïve", "clocks",
	"drift", "but", "order", "holds", "small", "packets", "find", "their", "way", "home", "after", "long", "nights", "over",
	"water", "語", "light", "bends", "around", "stone", "bridges", "answer", "in", "turn",
}

const (
	minWords = 12
	maxWords = 4096
)

// perform writes the answer to p. choice index i of several gets another one.
func (p *prompt) perform(seed uint64, i int) *script {
	h := mix(p.hash^seed, p.model) + uint64(i)*0x632BE59BD9B4E019
	s := &script{rng: rng(h)}
	gen := rng(h ^ 0xA5A5A5A5A5A5A5A5)
	switch {
	case p.none:
		s.stop = stopLength
		return s
	case p.think:
		s.thoughts = sentence(&gen, 8, "Thinking about")
		s.think = int64(len(s.thoughts))
	}
	if calls := p.wanted(); len(calls) > 0 {
		s.stop = stopCalls
		for _, t := range calls {
			args := p.arguments(t)
			s.calls = append(s.calls, call{t.name, args, pieces(args)})
			s.out += int64(len(s.calls[len(s.calls)-1].pieces)) + 7
		}
		s.out += s.think
		return s
	}
	s.tokens = p.lines(&gen)
	p.cut(s)
	s.out = int64(len(s.tokens)) + s.think
	return s
}

func (p *prompt) lines(gen *rng) []string {
	if p.json {
		if len(p.schema) > 0 {
			return pieces(string(example(p.schema)))
		}
		return pieces(`{"answer":"` + strings.TrimSpace(strings.Join(sentence(gen, 5, ""), "")) + `","ok":true}`)
	}
	if _, exact, ok := strings.Cut(ends(p.last), "eply with exactly:"); ok {
		exact, _, _ = strings.Cut(strings.TrimSpace(exact), "\n")
		return pieces(exact)
	}
	if p.answers {
		return append([]string{"The", " tool", " answered", ":"}, pieces(" "+clip(p.result, 400))...)
	}
	var out []string
	if len(p.media) > 0 {
		out = pieces("I see " + strconv.Itoa(len(p.media)) + " attachment(s): " + strings.Join(p.media, ", ") + ".")
	}
	n := minWords + int(gen.next()%20)
	if _, rest, ok := strings.Cut(ends(p.last), "fake:tokens="); ok {
		end := 0
		for end < len(rest) && end < 6 && rest[end] >= '0' && rest[end] <= '9' {
			end++
		}
		if v, err := strconv.Atoi(rest[:end]); err == nil {
			n = min(max(v, 1), maxWords)
			return sentence(gen, n, "")
		}
	}
	return append(out, sentence(gen, n, "")...)
}

// sentence gives n tokens.
func sentence(gen *rng, n int, head string) []string {
	out := make([]string, 0, n)
	for i := range n {
		w := words[gen.next()%uint64(len(words))]
		switch {
		case i == 0 && head != "":
			out = append(out, head)
		case i == 0:
			c := runeLen(w[0])
			out = append(out, strings.ToUpper(w[:c])+w[c:])
		case i == n-1 && n > 1:
			out = append(out, ".")
		default:
			out = append(out, " "+w)
		}
	}
	return out
}

// pieces cuts a text into token-like pieces of four characters.
func pieces(s string) []string {
	if s == "" {
		return nil
	}
	out := make([]string, 0, len(s)/4+1)
	for n, at := 0, 0; ; {
		if at >= len(s) {
			return append(out, s)
		}
		if n++; n > 4 {
			out = append(out, s[:at])
			s, n, at = s[at:], 1, 0
		}
		at += runeLen(s[at])
	}
}

func runeLen(c byte) int {
	switch {
	case c < 0x80:
		return 1
	case c < 0xE0:
		return 2
	case c < 0xF0:
		return 3
	default:
		return 4
	}
}

// cut applies the stop sequences and the output limit.
func (p *prompt) cut(s *script) {
	text := s.text()
	at := -1
	for _, q := range p.stops {
		if i := strings.Index(text, q); q != "" && i >= 0 && (at < 0 || i < at) {
			at, s.matched, s.stop = i, q, stopSequence
		}
	}
	if at >= 0 {
		n := 0
		for i, t := range s.tokens {
			if n+len(t) >= at {
				s.tokens = append(s.tokens[:i:i], t[:at-n])
				break
			}
			n += len(t)
		}
		if at == 0 {
			s.tokens = nil
		}
	}
	if room := p.max - s.think; p.max > 0 && int64(len(s.tokens)) > room {
		s.tokens, s.stop, s.matched = s.tokens[:max(room, 0)], stopLength, ""
	}
}

// wanted is the tools to call. Tools are called when the request forces it, or when the prompt asks
// ("use the tool", "use the weather tool", a named tool); after a tool result the answer is text.
func (p *prompt) wanted() []tool {
	if len(p.tools) == 0 || p.choice == toolNone {
		return nil
	}
	if p.choice == toolNamed {
		if i := slices.IndexFunc(p.tools, func(t tool) bool { return t.name == p.named }); i >= 0 {
			return p.tools[i : i+1]
		}
	}
	if p.answers {
		return nil
	}
	low := strings.ToLower(p.last)
	asked := p.choice == toolRequired || strings.Contains(low, "use the tool")
	if !p.single && (strings.Contains(low, "use the tools") || strings.Contains(low, "use all tools") || strings.Contains(low, "use both tools")) {
		return p.tools
	}
	for i, t := range p.tools {
		if t.name != "" && strings.Contains(low, "use the "+strings.ToLower(t.name)) {
			return p.tools[i : i+1]
		}
	}
	if asked {
		return p.tools[:1]
	}
	return nil
}

// arguments are those that the prompt states, as in: use the NAME tool with {"a":1}. Else an example
// of the tool's schema.
func (p *prompt) arguments(t tool) string {
	low := strings.ToLower(p.last) // may be of another length where letters are: then there is no JSON at the place
	phrase := "use the " + strings.ToLower(t.name) + " tool with "
	if i := strings.Index(low, phrase); i >= 0 && i+len(phrase) < len(p.last) {
		d := jsontext.NewDecoder(strings.NewReader(p.last[i+len(phrase):]))
		if v, err := d.ReadValue(); err == nil && v.Kind() == jsontext.KindBeginObject {
			return string(v)
		}
	}
	return string(example(t.schema))
}

// ends is where a prompt may steer: all of a short one, the first and last KiB of a long one.
func ends(s string) string {
	if len(s) <= 2048 {
		return s
	}
	return s[:1024] + "\n" + s[len(s)-1024:]
}

// clip shortens s to at most n bytes, at a character's border.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
