package gemini

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// maxBatch is how many inputs the vendor takes in one batchEmbedContents.
const maxBatch = 100

// Names of the members of an EmbedContentRequest. The settings stand in it, or, as the vendor's newer
// reference has it, in its embedContentConfig.
var (
	embedNames  = []string{"taskType", "title", "outputDimensionality", "content", "embedContentConfig", "model"}
	configOwned = embedNames[:3]
)

const (
	embedTask = iota
	embedTitle
	embedDims
	embedContent
	embedConfig
)

// DecodeEmbed implements dialect.EmbedClient: embedContent, and batchEmbedContents as OpEmbedBatch.
func (Frontend) DecodeEmbed(op llm.Op, body []byte, h dialect.Head) (*llm.EmbedRequest, error) {
	q := &llm.EmbedRequest{From: llm.Gemini, Op: op, Model: h.Model}
	each := func(v []byte, at string) error {
		in, err := decodeInput(v, at)
		q.Inputs = append(q.Inputs, in)
		return err
	}
	if op == llm.OpEmbed {
		return q, each(body, "")
	}
	var f [2]llm.Raw
	extra, err := fields(body, "", []string{"requests", "model"}, f[:])
	if err != nil {
		return nil, err
	}
	q.Extra = extra
	if err := list(f[0], "/requests", each); err != nil {
		return nil, err
	}
	if len(q.Inputs) == 0 {
		return nil, bad("/requests", "given and not empty")
	}
	return q, nil
}

func decodeInput(v []byte, at string) (in llm.EmbedInput, err error) {
	in.At, in.Config.At = at, at
	var f [6]llm.Raw
	if in.Extra, err = fields(v, at, embedNames, f[:]); err != nil {
		return in, err
	}
	settings := f[:embedContent]
	if f[embedConfig] != nil {
		for i, name := range configOwned {
			if f[i] != nil {
				return in, bad(dialect.Child(at, name), "given in embedContentConfig, not beside it")
			}
		}
		in.Config.At = at + "/embedContentConfig"
		if in.Config.Extra, err = fields(f[embedConfig], in.Config.At, configOwned, settings); err != nil {
			return in, err
		}
	}
	if in.Config.Task, err = str(settings[embedTask], in.Config.At+"/taskType"); err != nil {
		return in, err
	}
	if in.Config.Task == "TASK_TYPE_UNSPECIFIED" {
		in.Config.Task = ""
	}
	if in.Config.Title, err = str(settings[embedTitle], in.Config.At+"/title"); err != nil {
		return in, err
	}
	if in.Config.Dims, err = whole(settings[embedDims], in.Config.At+"/outputDimensionality"); err != nil {
		return in, err
	}
	m := &in.Content
	m.At = at + "/content"
	if f[embedContent] == nil {
		return in, bad(m.At, "given")
	}
	var c [2]llm.Raw
	if m.Extra, err = fields(f[embedContent], m.At, []string{"role", "parts"}, c[:]); err != nil {
		return in, err
	}
	return in, list(c[1], m.At+"/parts", func(v []byte, at string) error {
		p, err := readPart(v, at)
		m.Parts = append(m.Parts, p.Part)
		return err
	})
}

// EncodeEmbed implements dialect.EmbedProvider. It always asks in a batch, as Google's own SDKs do, and
// states the settings where every version of the API reads them.
func (Backend) EncodeEmbed(q *llm.EmbedRequest, o dialect.EncodeOptions) (dialect.Encoded, error) {
	l := dialect.Losses{From: q.From, To: llm.Gemini}
	w := dialect.NewBodyWriter(4 << 10)
	w.Open('{')
	w.Name("requests")
	w.Open('[')
	for i := range q.Inputs {
		encodeInput(&w, &l, &q.Inputs[i], resource(o.Model))
	}
	w.Close(']')
	w.Close('}')
	if len(q.Inputs) > maxBatch {
		l.Refuse(q.Inputs[maxBatch].At, llm.LostRange)
	}
	if q.User != "" {
		l.Field(llm.FieldUser, llm.LostNoEquivalent)
	}
	l.Extra(q.Extra, "")
	if err := l.Err(); err != nil {
		return dialect.Encoded{}, err
	}
	return dialect.Encoded{Body: w.Body(), Losses: l.List}, nil
}

func encodeInput(w *dialect.Writer, l *dialect.Losses, in *llm.EmbedInput, model string) {
	c := &in.Config
	w.Open('{')
	w.StrMember("model", model)
	w.Name("content")
	w.Open('{')
	w.Name("parts")
	w.Open('[')
	for j := range in.Content.Parts {
		p := &in.Content.Parts[j]
		if p.Kind != llm.PartText {
			l.Part(p, "", llm.LostNoEquivalent)
			continue
		}
		l.Extra(p.Extra, p.At)
		w.Open('{')
		w.StrMember("text", p.Text)
		w.Close('}')
	}
	w.Close(']')
	w.Close('}')
	if c.Task != "" {
		w.StrMember("taskType", c.Task)
	}
	if c.Title != "" {
		w.StrMember("title", c.Title)
	}
	if c.Dims.Set {
		w.IntMember("outputDimensionality", c.Dims.V)
	}
	w.Close('}')
	if in.Tokens != nil {
		l.Refuse(in.At, llm.LostForeign)
	}
	l.Extra(in.Extra, in.At)
	l.Extra(in.Content.Extra, in.Content.At)
	l.Extra(c.Extra, c.At)
}

// DecodeEmbeddings implements dialect.EmbedProvider, for both operations.
func (Backend) DecodeEmbeddings(body []byte, inputs int) (*llm.EmbedResponse, error) {
	var at [3]splice.Span
	if !dialect.Find(body, []string{"embeddings", "embedding", "usageMetadata"}, at[:]) {
		return nil, noVectors("is not a JSON object")
	}
	r := &llm.EmbedResponse{From: llm.Gemini, Vectors: make([][]float32, 0, inputs)}
	add := func(v []byte) bool {
		var m [1]splice.Span
		if !dialect.Find(v, []string{"values"}, m[:]) {
			return false
		}
		x, ok := dialect.Vector(m[0].Of(v))
		r.Vectors = append(r.Vectors, x)
		return ok
	}
	if v := at[0].Of(body); len(v) > 0 && v[0] == '[' {
		for c := dialect.Walk(v); c.Next(); {
			if !add(c.Value) {
				return nil, noVectors("has an embedding that is no vector")
			}
		}
	} else if v := at[1].Of(body); len(v) > 0 && !add(v) {
		return nil, noVectors("has an embedding that is no vector")
	}
	if len(r.Vectors) != inputs {
		return nil, noVectors("does not have one embedding for each input")
	}
	r.Usage, r.HasUsage = counts(at[2].Of(body))
	for c := dialect.Walk(body); c.Next(); {
		switch string(c.Name) {
		case "embeddings", "embedding", "usageMetadata":
		default:
			r.Extra = append(r.Extra, llm.Member{Name: string(c.Name), Value: llm.Raw(c.Value)})
		}
	}
	return r, nil
}

func noVectors(why string) error {
	return fault.New(fault.UpstreamProtocol, "the provider's answer %s", why).At(fault.Sent)
}

// EncodeEmbeddings implements dialect.EmbedClient. Usage is written only where the provider stated it:
// this protocol does not demand it.
func (Frontend) EncodeEmbeddings(r *llm.EmbedResponse, q *llm.EmbedRequest) ([]byte, []llm.Loss) {
	l := dialect.Losses{From: r.From, To: llm.Gemini}
	l.Extra(r.Extra, "")
	size := 64
	for _, v := range r.Vectors {
		size += 16 + 12*len(v)
	}
	w := dialect.NewWriter(make([]byte, 0, size))
	w.Open('{')
	one := func(v []float32) {
		w.Open('{')
		w.Name("values")
		w.Vector(v)
		w.Close('}')
	}
	if q.Op == llm.OpEmbed {
		w.Name("embedding")
		one(r.Vectors[0])
	} else {
		w.Name("embeddings")
		w.Open('[')
		for _, v := range r.Vectors {
			one(v)
		}
		w.Close(']')
	}
	if r.HasUsage {
		w.Name("usageMetadata")
		w.Open('{')
		w.IntMember("promptTokenCount", r.Usage.Input)
		w.Close('}')
	}
	w.Close('}')
	return w.Take(), l.List
}
