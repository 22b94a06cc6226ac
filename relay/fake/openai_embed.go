package fake

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/meter"
)

// embedInput is one text (or token list) to embed.
type embedInput struct {
	hash   uint64
	tokens int64
}

func textInput(s string) embedInput { return embedInput{mix(7, s), meter.Count(s)} }

// vector is a deterministic unit vector: equal texts point the same way, others anywhere.
func (e embedInput) vector(model string, seed uint64, dims int) []float32 {
	gen := rng(mix(e.hash^seed, model))
	out := make([]float32, dims)
	sum := 0.0
	for i := range out {
		f := float64(int64(gen.next()>>11))/(1<<52) - 1
		out[i] = float32(f)
		sum += f * f
	}
	scale := float32(1 / math.Sqrt(sum))
	for i := range out {
		out[i] *= scale
	}
	return out
}

func appendVector(b []byte, v []float32) []byte {
	b = append(b, '[')
	for i, f := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(f), 'g', -1, 32)
	}
	return append(b, ']')
}

// dimensions is the size of a model's vectors.
func dimensions(model string) int {
	switch {
	case strings.HasSuffix(model, "-large"), strings.HasPrefix(model, "gemini-embedding"):
		return 3072
	case model == "text-embedding-004":
		return 768
	case strings.HasPrefix(model, "fake"):
		return 256
	default:
		return 1536
	}
}

// embeddings answers POST /v1/embeddings.
func (x *exchange) embeddings() *problem {
	var model, format string
	var inputs []embedInput
	var hasInput bool
	var dims *int64
	err := readObject(x.body, func(r *reader, key []byte) {
		switch string(key) {
		case "model":
			model = r.str()
		case "input":
			hasInput = true
			inputs = embedInputs(r)
		case "encoding_format":
			format = r.str()
		case "dimensions":
			dims = r.optInt()
		case "user":
			r.str()
		default:
			r.unknown(key)
		}
	})
	switch {
	case err != nil:
		return x.v.problemOf(err)
	case model == "":
		return bad("you must provide a model parameter")
	case !hasInput || len(inputs) == 0:
		return badParam("input", "", "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.")
	case len(inputs) > 2048:
		return badParam("input", "", "'$.input' is invalid: at most 2048 inputs are allowed, got %d.", len(inputs))
	case format != "" && format != "float" && format != "base64":
		return badParam("encoding_format", "invalid_value", "Invalid value: '%s'. Supported values are: 'float' and 'base64'.", clip(format, 40))
	}
	if p := x.openAIModel(model, http.StatusNotFound); p != nil {
		return p
	}
	n := dimensions(model)
	if dims != nil {
		if *dims < 1 || *dims > int64(n) {
			return badParam("dimensions", "", "Invalid value for 'dimensions' = %d. Must be less than or equal to %d.", *dims, n)
		}
		n = int(*dims)
	}
	if !x.begin(model) {
		return nil
	}
	var total int64
	b := append(make([]byte, 0, 1<<10), `{"object":"list","data":[`...)
	for i, in := range inputs {
		if i > 0 {
			b = append(b, ',')
		}
		total += in.tokens
		b = strconv.AppendInt(append(b, `{"object":"embedding","index":`...), int64(i), 10)
		b = append(b, `,"embedding":`...)
		v := in.vector(model, x.s.opt.Seed, n)
		if format == "base64" {
			raw := make([]byte, 0, 4*n)
			for _, f := range v {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
			}
			b = append(base64.StdEncoding.AppendEncode(append(b, '"'), raw), '"')
		} else {
			b = appendVector(b, v)
		}
		b = append(b, '}')
	}
	b = appendString(append(b, `],"model":`...), model)
	b = strconv.AppendInt(append(b, `,"usage":{"prompt_tokens":`...), total, 10)
	b = append(strconv.AppendInt(append(b, `,"total_tokens":`...), total, 10), `}}`...)
	x.unary(&script{}, b)
	return nil
}

// embedInputs reads a string, a list of strings, a list of tokens or a list of such lists.
func embedInputs(r *reader) (out []embedInput) {
	if r.kind() == jsontext.KindString {
		return append(out, textInput(r.str()))
	}
	var flat embedInput
	r.array(func(int) {
		switch r.kind() {
		case jsontext.KindNumber:
			flat.hash = mix(flat.hash, strconv.FormatInt(r.int(), 10))
			flat.tokens++
		case jsontext.KindBeginArray:
			var e embedInput
			r.array(func(int) {
				e.hash = mix(e.hash, strconv.FormatInt(r.int(), 10))
				e.tokens++
			})
			out = append(out, e)
		default:
			out = append(out, textInput(r.str()))
		}
	})
	if flat.tokens > 0 {
		out = append(out, flat)
	}
	return out
}
