package openai

import (
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// Embeddings belong to both dialects, so common implements them.
var (
	_ dialect.EmbedClient   = common{}
	_ dialect.EmbedProvider = common{}
)

// DecodeEmbed implements dialect.EmbedClient.
func (common) DecodeEmbed(op llm.Op, body []byte, h dialect.Head) (*llm.EmbedRequest, error) {
	q := &llm.EmbedRequest{From: llm.OpenAIChat, Op: op, Model: h.Model, User: h.User}
	var dims llm.Opt[int64]
	for c := dialect.Walk(body); c.Next(); {
		var err error
		switch name := string(c.Name); name {
		case "model", "user": // in h
		case "input":
			q.Inputs, err = readInputs(c.Value)
		case "dimensions":
			dims, err = readWhole(c.Value, "/dimensions", 1)
		case "encoding_format":
			var word string
			word, err = readText(c.Value, "/encoding_format")
			if q.Base64 = word == "base64"; err == nil && !q.Base64 && word != "" && word != "float" {
				err = wrong("/encoding_format", "float or base64")
			}
		default:
			q.Extra = keep(q.Extra, c.Name, c.Value)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(q.Inputs) == 0 {
		return nil, wrong("/input", "a string, a list of strings, a list of token ids or a list of such lists, and not empty")
	}
	for i := range q.Inputs {
		q.Inputs[i].Config.Dims = dims
	}
	return q, nil
}

// readInputs reads the four forms of input: a string, strings, token ids, lists of token ids.
func readInputs(v []byte) ([]llm.EmbedInput, error) {
	const at = "/input"
	switch {
	case unset(v):
		return nil, nil
	case v[0] == '"':
		return []llm.EmbedInput{textInput(v, at)}, nil
	case v[0] != '[':
		return nil, wrong(at, "a string or a list")
	}
	var out []llm.EmbedInput
	form := byte(0)
	for c := dialect.Walk(v); c.Next(); {
		at := dialect.Index(at, len(out))
		kind := c.Value[0]
		if kind == '-' || kind >= '0' && kind <= '9' {
			kind = '0'
		}
		switch {
		case form == 0 && (kind == '"' || kind == '[' || kind == '0'):
			form = kind
		case kind != form:
			return nil, wrong("/input", "a list of strings, of token ids or of lists of token ids, and of one kind only")
		}
		switch kind {
		case '"':
			out = append(out, textInput(c.Value, at))
		case '[':
			if err := tokenIDs(c.Value, at); err != nil {
				return nil, err
			}
			out = append(out, llm.EmbedInput{Tokens: c.Value, At: at})
		default: // the whole list is one input
			return []llm.EmbedInput{{Tokens: v, At: "/input"}}, tokenIDs(v, "/input")
		}
	}
	return out, nil
}

func textInput(v []byte, at string) llm.EmbedInput {
	return llm.EmbedInput{At: at, Content: llm.Message{At: at, Parts: []llm.Part{{Text: dialect.Unquote(v), At: at}}}}
}

func tokenIDs(v []byte, at string) error {
	n := 0
	for c := dialect.Walk(v); c.Next(); n++ {
		if id, ok := dialect.Int(c.Value); !ok || id < 0 {
			return wrong(dialect.Index(at, n), "a token id")
		}
	}
	if n == 0 {
		return wrong(at, "a list of token ids, and not empty")
	}
	return nil
}

// EncodeEmbed implements dialect.EmbedProvider. It asks for no encoding: numbers are the default, and
// all that many compatible servers know.
func (common) EncodeEmbed(q *llm.EmbedRequest, o dialect.EncodeOptions) (dialect.Encoded, error) {
	l := dialect.Losses{From: q.From, To: llm.OpenAIChat}
	w := dialect.NewBodyWriter(4 << 10)
	w.Open('{')
	w.StrMember("model", o.Model)
	w.Name("input")
	w.Open('[')
	for i := range q.Inputs {
		in := &q.Inputs[i]
		if in.Tokens != nil {
			w.Raw(in.Tokens)
		} else {
			w.Str(inputText(&l, in))
		}
		l.Extra(in.Extra, in.At)
		c := &in.Config
		l.Extra(c.Extra, c.At)
		if c.Task != "" {
			l.FieldAt(c.At, llm.FieldTask, llm.LostNoEquivalent)
		}
		if c.Title != "" {
			l.FieldAt(c.At, llm.FieldTitle, llm.LostNoEquivalent)
		}
		if c.Dims != q.Inputs[0].Config.Dims { // one length for all
			l.FieldAt(c.At, llm.FieldDims, llm.LostCombination)
		}
	}
	w.Close(']')
	if d := q.Inputs[0].Config.Dims; d.Set {
		w.IntMember("dimensions", d.V)
	}
	if q.User != "" {
		w.StrMember("user", q.User)
	}
	w.Close('}')
	l.Extra(q.Extra, "")
	if err := l.Err(); err != nil {
		return dialect.Encoded{}, err
	}
	return dialect.Encoded{Body: w.Body(), Losses: l.List}, nil
}

// inputText is the text of an input: one string, in lines where there are several parts.
func inputText(l *dialect.Losses, in *llm.EmbedInput) string {
	l.Extra(in.Content.Extra, in.Content.At)
	var texts []string
	for i := range in.Content.Parts {
		p := &in.Content.Parts[i]
		if p.Kind != llm.PartText {
			l.Part(p, "", llm.LostNoEquivalent)
			continue
		}
		l.Extra(p.Extra, p.At)
		texts = append(texts, p.Text)
	}
	if len(texts) > 1 {
		l.Drop(in.Content.At, llm.LostRewritten)
	}
	return strings.Join(texts, "\n")
}

// DecodeEmbeddings implements dialect.EmbedProvider. Vectors stand by their index, wherever a server
// puts them.
func (common) DecodeEmbeddings(body []byte, inputs int) (*llm.EmbedResponse, error) {
	var at [2]splice.Span
	if !dialect.Find(body, []string{"data", "usage"}, at[:]) {
		return nil, noAnswer("the provider's answer is not a JSON object")
	}
	data := at[0].Of(body)
	if len(data) == 0 || data[0] != '[' {
		return nil, noAnswer("the provider's answer has no data")
	}
	r := &llm.EmbedResponse{From: llm.OpenAIChat, Vectors: make([][]float32, inputs)}
	n := 0
	for c := dialect.Walk(data); c.Next(); n++ {
		var m [2]splice.Span
		if !dialect.Find(c.Value, []string{"index", "embedding"}, m[:]) {
			return nil, noAnswer("an entry of the provider's data is no object")
		}
		i := n
		if v := m[0].Of(c.Value); !unset(v) {
			k, ok := dialect.Int(v)
			if !ok || k < 0 || k >= int64(inputs) {
				return nil, noAnswer("an embedding of the provider's answer has an index that nobody asked for")
			}
			i = int(k)
		}
		if i >= inputs || r.Vectors[i] != nil {
			return nil, noAnswer("the provider's answer has more embeddings than inputs")
		}
		var ok bool
		if r.Vectors[i], ok = dialect.Vector(m[1].Of(c.Value)); !ok {
			return nil, noAnswer("an embedding of the provider's answer is no vector")
		}
	}
	if n != inputs {
		return nil, noAnswer("the provider's answer has fewer embeddings than inputs")
	}
	r.Usage, r.HasUsage = usageOf(at[1].Of(body))
	for c := dialect.Walk(body); c.Next(); {
		switch string(c.Name) {
		case "object", "data", "model", "usage":
		default:
			r.Extra = keep(r.Extra, c.Name, c.Value)
		}
	}
	return r, nil
}

// EncodeEmbeddings implements dialect.EmbedClient.
func (common) EncodeEmbeddings(r *llm.EmbedResponse, q *llm.EmbedRequest) ([]byte, []llm.Loss) {
	l := dialect.Losses{From: r.From, To: llm.OpenAIChat}
	l.Extra(r.Extra, "")
	size := 128
	for _, v := range r.Vectors {
		size += 64 + 12*len(v)
	}
	w := dialect.NewWriter(make([]byte, 0, size))
	w.Open('{')
	w.StrMember("object", "list")
	w.Name("data")
	w.Open('[')
	for i, v := range r.Vectors {
		w.Open('{')
		w.StrMember("object", "embedding")
		w.IntMember("index", int64(i))
		w.Name("embedding")
		if q.Base64 {
			w.VectorBase64(v)
		} else {
			w.Vector(v)
		}
		w.Close('}')
	}
	w.Close(']')
	w.StrMember("model", q.Model)
	w.Name("usage")
	w.Open('{')
	w.IntMember("prompt_tokens", r.Usage.Input)
	w.IntMember("total_tokens", r.Usage.Input)
	w.Close('}')
	w.Close('}')
	return w.Take(), l.List
}
