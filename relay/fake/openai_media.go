package fake

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/meter"
)

// pixel is a PNG of one dot: every image of the fake provider.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// upload is a multipart form as it was sent.
type upload struct {
	fields map[string][]string
	files  map[string][]file
}

type file struct {
	name string
	data []byte
}

func (u *upload) get(name string) string {
	if v := u.fields[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// form reads the body as a multipart form that has only the named fields and files.
func (x *exchange) form(fields, files string) (*upload, *problem) {
	t, params, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || t != "multipart/form-data" {
		return nil, bad("Invalid Content-Type: expected multipart/form-data.")
	}
	u := &upload{fields: map[string][]string{}, files: map[string][]file{}}
	r := multipart.NewReader(bytes.NewReader(x.body), params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return u, nil
		}
		if err != nil {
			return nil, bad("Could not parse multipart form")
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return nil, bad("Could not parse multipart form")
		}
		name := p.FormName()
		switch base := strings.TrimSuffix(name, "[]"); {
		case p.FileName() != "" && named(files, base):
			u.files[base] = append(u.files[base], file{p.FileName(), data})
		case p.FileName() == "" && named(fields, base):
			u.fields[base] = append(u.fields[base], string(data))
		default:
			return nil, badParam(clip(name, 40), "unknown_parameter", "Unknown parameter: '%s'.", clip(name, 40))
		}
	}
}

func named(list, name string) bool {
	for n := range strings.FieldsSeq(list) {
		if n == name {
			return true
		}
	}
	return false
}

// completions answers POST /v1/completions.
func (x *exchange) completions() *problem {
	q := prompt{max: 16}
	n, stream, usage := int64(1), false, false
	asked := false
	err := readObject(x.body, func(r *reader, key []byte) {
		switch string(key) {
		case "model":
			q.model = r.str()
		case "prompt":
			asked = true
			q.say("user", r.str())
		case "stream":
			stream = r.bool()
		case "stream_options":
			r.object(func(key []byte) {
				if string(key) == "include_usage" {
					usage = r.bool()
				} else {
					r.unknown(key)
				}
			})
		case "max_tokens":
			if m := r.optInt(); m != nil {
				q.max = *m
			}
		case "n":
			n = r.int()
		case "stop":
			q.stops = stopList(r)
		case "user":
			r.str()
		case "temperature", "top_p", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "presence_penalty", "seed", "suffix":
			r.skip()
		default:
			r.unknown(key)
		}
	})
	switch {
	case err != nil:
		return x.v.problemOf(err)
	case !asked:
		return badParam("prompt", "missing_required_parameter", "Missing required parameter: 'prompt'.")
	case n < 1 || n > 8:
		return badParam("n", "invalid_value", "Invalid value for 'n'.")
	}
	if p := x.openAIModel(q.model, http.StatusNotFound); p != nil {
		return p
	}
	if !x.begin(q.model) {
		return nil
	}
	all := script{}
	var scripts []*script
	for i := range int(n) {
		scripts = append(scripts, q.perform(x.s.opt.Seed, i))
		all.out += scripts[i].out
	}
	id := scripts[0].rng.id("cmpl-", 29)
	head := func(b []byte) []byte {
		b = appendString(append(b, `{"id":`...), id)
		b = strconv.AppendInt(append(b, `,"object":"text_completion","created":`...), fakeEpoch, 10)
		return append(appendString(append(b, `,"model":`...), q.model), `,"choices":[`...)
	}
	choice := func(b []byte, i int, text, finish string) []byte {
		b = strconv.AppendInt(append(b, `{"index":`...), int64(i), 10)
		b = appendString(append(b, `,"text":`...), text)
		return append(appendOrNull(append(b, `,"logprobs":null,"finish_reason":`...), finish), '}')
	}
	if !stream {
		b := head(nil)
		for i, s := range scripts {
			if i > 0 {
				b = append(b, ',')
			}
			b = choice(b, i, s.text(), chatFinish(s.stop))
		}
		b = append(chatUsage(append(b, `],"usage":`...), q.tokens, &all), '}')
		x.unary(&all, b)
		return nil
	}
	x.stream("text/event-stream; charset=utf-8", append(x.v.render([]byte("data: "), x.v.broken(), x.id), "\n\n"...))
	end := "]}\n\n"
	if usage {
		end = "],\"usage\":null}\n\n"
	}
	for i, s := range scripts {
		for _, t := range s.tokens {
			x.token()
			x.send(append(choice(head([]byte("data: ")), i, t, ""), end...))
		}
		x.send(append(choice(head([]byte("data: ")), i, "", chatFinish(s.stop)), end...))
	}
	if usage {
		x.send(append(chatUsage(append(head([]byte("data: ")), `],"usage":`...), q.tokens, &all), "}\n\n"...))
	}
	x.send([]byte("data: [DONE]\n\n"))
	return nil
}

// moderations answers POST /v1/moderations: nothing is ever flagged, but for the word "flagged".
func (x *exchange) moderations() *problem {
	model, texts := "omni-moderation-latest", []string(nil)
	err := readObject(x.body, func(r *reader, key []byte) {
		switch string(key) {
		case "model":
			model = r.str()
		case "input":
			if r.kind() == jsontext.KindString {
				texts = append(texts, r.str())
				return
			}
			r.array(func(int) { texts = append(texts, string(r.raw())) })
		default:
			r.unknown(key)
		}
	})
	switch {
	case err != nil:
		return x.v.problemOf(err)
	case len(texts) == 0:
		return badParam("input", "missing_required_parameter", "Missing required parameter: 'input'.")
	}
	if p := x.openAIModel(model, http.StatusNotFound); p != nil {
		return p
	}
	if !x.begin(model) {
		return nil
	}
	gen := rng(mix(3, strings.Join(texts, "\n")))
	b := appendString([]byte(`{"id":`), gen.id("modr-", 24))
	b = appendString(append(b, `,"model":`...), model)
	b = append(b, `,"results":[`...)
	for i, t := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		yes := strings.Contains(t, "flagged")
		b = strconv.AppendBool(append(b, `{"flagged":`...), yes)
		b = strconv.AppendBool(append(b, `,"categories":{"harassment":false,"violence":`...), yes)
		b = append(b, `},"category_scores":{"harassment":0.0001,"violence":0.0001}}`...)
	}
	x.unary(&script{}, append(b, `]}`...))
	return nil
}

// images answers POST /v1/images/generations.
func (x *exchange) images() *problem {
	model, text, n, stream := "", "", int64(1), false
	err := readObject(x.body, func(r *reader, key []byte) {
		switch string(key) {
		case "model":
			model = r.str()
		case "prompt":
			text = r.str()
		case "n":
			n = r.int()
		case "stream":
			stream = r.bool()
		case "background", "moderation", "output_compression", "output_format", "partial_images", "quality", "response_format", "size", "style", "user":
			r.skip()
		default:
			r.unknown(key)
		}
	})
	if err != nil {
		return x.v.problemOf(err)
	}
	if text == "" {
		return badParam("prompt", "missing_required_parameter", "Missing required parameter: 'prompt'.")
	}
	return x.pictures(model, text, n, stream, "image_generation")
}

// editImage answers POST /v1/images/edits, varyImage POST /v1/images/variations.
func (x *exchange) editImage() *problem {
	u, p := x.form("model prompt n size user stream quality background response_format input_fidelity output_format output_compression partial_images", "image mask")
	switch {
	case p != nil:
		return p
	case len(u.files["image"]) == 0:
		return badParam("image", "missing_required_parameter", "Missing required parameter: 'image'.")
	case u.get("prompt") == "":
		return badParam("prompt", "missing_required_parameter", "Missing required parameter: 'prompt'.")
	}
	n, err := strconv.ParseInt(u.get("n"), 10, 64)
	if err != nil {
		n = 1
	}
	return x.pictures(u.get("model"), u.get("prompt"), n, u.get("stream") == "true", "image_edit")
}

func (x *exchange) varyImage() *problem {
	u, p := x.form("model n size user response_format", "image")
	switch {
	case p != nil:
		return p
	case len(u.files["image"]) != 1:
		return badParam("image", "missing_required_parameter", "Missing required parameter: 'image'.")
	}
	n, err := strconv.ParseInt(u.get("n"), 10, 64)
	if err != nil {
		n = 1
	}
	return x.pictures(u.get("model"), "", n, false, "")
}

func (x *exchange) pictures(model, text string, n int64, stream bool, event string) *problem {
	if n < 1 || n > 10 {
		return badParam("n", "invalid_value", "Invalid 'n': must be between 1 and 10.")
	}
	if p := x.openAIModel(model, http.StatusNotFound); p != nil {
		return p
	}
	if !x.begin(model) {
		return nil
	}
	in, out := meter.Count(text), 272*n
	usage := func(b []byte) []byte { // and the end of the object
		b = strconv.AppendInt(append(b, `"usage":{"input_tokens":`...), in, 10)
		b = strconv.AppendInt(append(b, `,"input_tokens_details":{"image_tokens":0,"text_tokens":`...), in, 10)
		b = strconv.AppendInt(append(b, `},"output_tokens":`...), out, 10)
		return append(strconv.AppendInt(append(b, `,"total_tokens":`...), in+out, 10), `}}`...)
	}
	if stream {
		x.stream("text/event-stream; charset=utf-8", append(x.v.render([]byte("event: error\ndata: "), x.v.broken(), x.id), "\n\n"...))
		frame := func(kind string, more []byte) []byte {
			b := append([]byte("event: "+event+"."+kind+"\ndata: {\"type\":\""+event+"."+kind+"\",\"b64_json\":\""+pixel+"\",\"created_at\":"), strconv.FormatInt(fakeEpoch, 10)...)
			return append(append(b, more...), "\n\n"...)
		}
		x.send(frame("partial_image", []byte(`,"partial_image_index":0}`)))
		x.send(frame("completed", usage([]byte{','})))
		return nil
	}
	b := strconv.AppendInt([]byte(`{"created":`), fakeEpoch, 10)
	b = append(b, `,"data":[`...)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"b64_json":"`+pixel+`"}`...)
	}
	x.unary(&script{}, usage(append(b, `],`...)))
	return nil
}

// speech answers POST /v1/audio/speech with silence, one frame for each character.
func (x *exchange) speech() *problem {
	var model, text, voice, format string
	err := readObject(x.body, func(r *reader, key []byte) {
		switch string(key) {
		case "model":
			model = r.str()
		case "input":
			text = r.str()
		case "voice":
			voice = string(r.raw()) // a name, or an object for a voice of one's own
		case "stream_format":
			format = r.str()
		case "instructions", "response_format", "speed":
			r.skip()
		default:
			r.unknown(key)
		}
	})
	switch {
	case err != nil:
		return x.v.problemOf(err)
	case text == "":
		return badParam("input", "missing_required_parameter", "Missing required parameter: 'input'.")
	case voice == "":
		return badParam("voice", "missing_required_parameter", "Missing required parameter: 'voice'.")
	case utf8.RuneCountInString(text) > 4096:
		return badParam("input", "string_too_long", "Invalid 'input': string too long. Expected a string with maximum length 4096.")
	}
	if p := x.openAIModel(model, http.StatusNotFound); p != nil {
		return p
	}
	if !x.begin(model) {
		return nil
	}
	frame := []byte("\xff\xfb\x90\x00silence")
	if format == "sse" {
		x.stream("text/event-stream; charset=utf-8", nil)
		for range utf8.RuneCountInString(text) {
			x.send([]byte("data: {\"type\":\"speech.audio.delta\",\"audio\":\"" + base64.StdEncoding.EncodeToString(frame) + "\"}\n\n"))
		}
		in := strconv.FormatInt(meter.Count(text), 10)
		x.send([]byte("data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":" + in + ",\"output_tokens\":" + in + "}}\n\n"))
		return nil
	}
	x.stream("audio/mpeg", nil)
	for range utf8.RuneCountInString(text) {
		x.token()
		x.send(frame)
	}
	return nil
}

// transcribe answers POST /v1/audio/transcriptions and translations: the text says what was heard.
func (x *exchange) transcribe() *problem {
	u, p := x.form("model prompt language response_format temperature timestamp_granularities stream include chunking_strategy", "file")
	switch {
	case p != nil:
		return p
	case len(u.files["file"]) != 1:
		return badParam("file", "missing_required_parameter", "Missing required parameter: 'file'.")
	}
	if p := x.openAIModel(u.get("model"), http.StatusNotFound); p != nil {
		return p
	}
	if !x.begin(u.get("model")) {
		return nil
	}
	size := strconv.Itoa(len(u.files["file"][0].data))
	text := "heard " + size + " bytes"
	usage := `"usage":{"type":"tokens","input_tokens":14,"output_tokens":4,"total_tokens":18}}`
	if u.get("model") == "whisper-1" {
		usage = `"usage":{"type":"duration","seconds":2}}`
	}
	switch format := u.get("response_format"); {
	case u.get("stream") == "true":
		x.stream("text/event-stream; charset=utf-8", nil)
		x.send([]byte("data: {\"type\":\"transcript.text.delta\",\"delta\":\"" + text + "\"}\n\n"))
		x.send([]byte("data: {\"type\":\"transcript.text.done\",\"text\":\"" + text + "\"," + usage + "\n\n"))
	case format == "text":
		h := x.headers()
		h["Content-Type"] = []string{"text/plain; charset=utf-8"}
		_, _ = x.w.Write([]byte(text + "\n"))
	case format == "" || format == "json":
		x.unary(&script{}, []byte(`{"text":"`+text+`",`+usage))
	default:
		return badParam("response_format", "invalid_value", "Invalid value: '%s'.", clip(format, 40))
	}
	return nil
}

// compact answers POST /v1/responses/compact.
func (x *exchange) compact() *problem {
	q := &responsesRequest{parallel: true, store: "true"}
	if err := readObject(x.body, q.member); err != nil {
		return x.v.problemOf(err)
	}
	if p := x.accept(q); p != nil {
		return p
	}
	if !x.begin(q.model) {
		return nil
	}
	gen := rng(mix(q.hash, "compact"))
	b := appendString([]byte(`{"id":`), gen.hex("resp_", 50))
	b = strconv.AppendInt(append(b, `,"object":"response.compaction","created_at":`...), fakeEpoch, 10)
	b = appendString(append(b, `,"output":[{"id":`...), gen.hex("cmp_", 50))
	b = appendString(append(b, `,"type":"compaction","encrypted_content":`...), gen.id("gAAAAAfake", 120))
	b = strconv.AppendInt(append(b, `}],"usage":{"input_tokens":`...), q.tokens, 10)
	b = append(b, `,"input_tokens_details":{"cached_tokens":0},"output_tokens":40,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":`...)
	x.unary(&script{}, append(strconv.AppendInt(b, q.tokens+40, 10), `}}`...))
	return nil
}
