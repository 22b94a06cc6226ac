package openai

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Thinking has no place in OpenAI's own chat protocol. Compatible servers add reasoning_content
// (DeepSeek, Qwen, Moonshot, vLLM) or reasoning and reasoning_details (OpenRouter), and some want it
// back while a tool loop is open. A thinking part of this dialect therefore has a seal whose data says
// where the server wants it: the member's name, or the whole reasoning_details array.
//
// Clients get other vendors' seals as entries of reasoning_details, with a carrier in place of the
// signature: {type: reasoning.text, text, signature} or {type: reasoning.encrypted, data}.

// readThinking reads the thinking of an assistant message in a client's history.
func readThinking(m *wireMessage, at string) []llm.Part {
	if dialect.Filled(m.details) && m.details[0] == '[' {
		if carried(m.details) {
			return readCarried(m.details, at+"/reasoning_details")
		}
		p := llm.Part{
			Kind: llm.PartThinking, Text: word(m.thinking), At: at + "/reasoning_details",
			Seal: &llm.Seal{Origin: llm.OpenAIChat, Data: m.details},
		}
		if p.Text == "" {
			p.Text = detailText(m.details)
		}
		return []llm.Part{p}
	}
	if m.thinking == nil {
		return nil
	}
	return []llm.Part{{
		Kind: llm.PartThinking, Text: dialect.Unquote(m.thinking), At: at + "/" + m.member,
		Seal: &llm.Seal{Origin: llm.OpenAIChat, Data: []byte(m.member)},
	}}
}

// detail is one entry of reasoning_details.
type detail struct{ kind, text, sealed string }

func readDetail(v []byte) (d detail) {
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "type":
			d.kind = word(c.Value)
		case "text", "summary":
			d.text = word(c.Value)
		case "signature", "data":
			d.sealed = word(c.Value)
		}
	}
	return d
}

func detailText(v []byte) string {
	var b strings.Builder
	for c := dialect.Walk(v); c.Next(); {
		b.WriteString(readDetail(c.Value).text)
	}
	return b.String()
}

func carried(v []byte) bool {
	for c := dialect.Walk(v); c.Next(); {
		if carrier.Looks([]byte(readDetail(c.Value).sealed)) {
			return true
		}
	}
	return false
}

func readCarried(v []byte, at string) []llm.Part {
	var out []llm.Part
	i := 0
	for c := dialect.Walk(v); c.Next(); i++ {
		d := readDetail(c.Value)
		p := llm.Part{Kind: llm.PartThinking, Text: d.text, At: dialect.Index(at, i)}
		switch k, ok := carrier.Decode([]byte(d.sealed)); {
		case ok && k.Seal != nil:
			p.Seal = k.Seal
			if p.Redacted = k.Use == carrier.Redacted; p.Redacted {
				p.Text = ""
			}
		case d.sealed != "": // damaged, or of no use: reported as lost, never forwarded
			p.Extra = llm.Extra{{Name: "signature", Value: llm.Raw(dialect.Quote(d.sealed))}}
		}
		if p.Text != "" || p.Seal != nil || p.Extra != nil {
			out = append(out, p)
		}
	}
	return out
}

// writeDetail writes the entry of a client's reasoning_details for thinking of the given text.
func writeDetail(w *dialect.Writer, index int, text []byte, s *llm.Seal, redacted bool) {
	w.Open('{')
	if redacted {
		w.StrMember("type", "reasoning.encrypted")
		w.IntMember("index", int64(index))
		w.StrMember("data", carrier.Encode(carrier.Redacted, s))
	} else {
		w.StrMember("type", "reasoning.text")
		w.IntMember("index", int64(index))
		w.Name("text")
		w.Text(text)
		w.StrMember("signature", carrier.Encode(carrier.Own, s))
	}
	w.Close('}')
}

// plainSeal reports a seal that the client's own members say already: reasoning_content, without an
// account that must be remembered.
func plainSeal(s *llm.Seal) bool {
	return s.Origin == llm.OpenAIChat && s.Scope == "" && thinkingMember(s.Data) != ""
}

func thinkingMember(data []byte) string {
	switch string(data) {
	case "reasoning_content":
		return "reasoning_content"
	case "reasoning":
		return "reasoning"
	}
	return ""
}

// ownDetails is the array that a seal of this dialect holds, without its brackets; nil when it holds
// none. A carrier is not signed, so what a client sent is checked before it becomes part of a body.
func ownDetails(data []byte) []byte {
	v := jsontext.Value(data)
	if len(v) < 2 || v[0] != '[' || v[len(v)-1] != ']' || !v.IsValid() {
		return nil
	}
	return v[1 : len(v)-1]
}

// writeThinking writes the thinking of an assistant turn for the provider that made it; everything
// else is lost.
func writeThinking(w *dialect.Writer, l *dialect.Losses, ps []llm.Part, scope string) {
	var members [2]strings.Builder // reasoning_content, reasoning
	var details []byte
	for i := range ps {
		p := &ps[i]
		if p.Kind != llm.PartThinking {
			continue
		}
		if p.Extra != nil {
			l.Extra(p.Extra, p.At)
		}
		switch {
		case p.Seal == nil:
			l.Part(p, "", llm.LostNoEquivalent)
		case !p.Seal.For(llm.OpenAIChat, scope):
			l.Part(p, "", llm.LostForeign)
		case string(p.Seal.Data) == "reasoning_content":
			members[0].WriteString(p.Text)
		case string(p.Seal.Data) == "reasoning":
			members[1].WriteString(p.Text)
		default:
			inner := ownDetails(p.Seal.Data)
			if inner == nil {
				l.Part(p, "", llm.LostForeign)
				continue
			}
			if len(details) > 0 && dialect.Filled(p.Seal.Data) {
				details = append(details, ',')
			}
			details = append(details, inner...)
		}
	}
	for i, name := range []string{"reasoning_content", "reasoning"} {
		if members[i].Len() > 0 {
			w.StrMember(name, members[i].String())
		}
	}
	if len(details) > 0 {
		w.RawMember("reasoning_details", append(append([]byte{'['}, details...), ']'))
	}
}

// detailBuilder joins the fragments of reasoning_details that a stream brings: strings that grow
// (text, summary, data, arguments of the same entry) are joined, other members are the latest.
type detailBuilder struct {
	entries []builtDetail
	size    int
}

type builtDetail struct {
	kind, index string // raw JSON
	members     llm.Extra
}

// maxDetails bounds what one part of a stream may keep.
const maxDetails = 8 << 20

// add takes one array; false when it has grown too large.
func (b *detailBuilder) add(v []byte) bool {
	if b.size += len(v); b.size > maxDetails {
		return false
	}
	for c := dialect.Walk(v); c.Next(); {
		var kind, index []byte
		for m := dialect.Walk(c.Value); m.Next(); {
			switch string(m.Name) {
			case "type":
				kind = m.Value
			case "index":
				index = m.Value
			}
		}
		var e *builtDetail
		if n := len(b.entries); n > 0 && string(kind) == b.entries[n-1].kind && string(index) == b.entries[n-1].index {
			e = &b.entries[n-1]
		} else {
			b.entries = append(b.entries, builtDetail{kind: string(kind), index: string(index)})
			e = &b.entries[n]
		}
		for m := dialect.Walk(c.Value); m.Next(); {
			e.join(m.Name, m.Value)
		}
	}
	return true
}

func (e *builtDetail) join(name, v []byte) {
	for i := range e.members {
		m := &e.members[i]
		if m.Name != string(name) {
			continue
		}
		if grows(m.Name) && isFilledText(v) && isFilledText(m.Value) {
			m.Value = append(append(m.Value[:len(m.Value)-1], v[1:len(v)-1]...), '"')
		} else if dialect.Filled(v) || !dialect.Filled(m.Value) {
			m.Value = append(m.Value[:0], v...)
		}
		return
	}
	e.members = append(e.members, llm.Member{Name: string(name), Value: append(llm.Raw(nil), v...)})
}

func grows(name string) bool { return name == "text" || name == "summary" }

// take gives the array and empties the builder; nil when nothing came.
func (b *detailBuilder) take() []byte {
	if len(b.entries) == 0 {
		return nil
	}
	w := dialect.NewWriter(nil)
	w.Open('[')
	for i := range b.entries {
		w.Open('{')
		w.Extra(b.entries[i].members)
		w.Close('}')
	}
	w.Close(']')
	*b = detailBuilder{size: b.size}
	return w.Take()
}
