package openai

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/form"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// moderationModel is what the vendor takes when a moderation names no model.
const moderationModel = "omni-moderation-latest"

// completionTokens is what the vendor's completions write when the request does not say.
const completionTokens = 16

var otherNames = []string{"model", "stream", "n", "user", "max_tokens", "best_of", "prompt", "stream_options", "input", "stream_format"}

// peekOther reads the head of an operation that is passed through and never converted.
func peekOther(op llm.Op, body []byte) (dialect.Head, error) {
	h := dialect.Head{Choices: 1, BodyLen: len(body)}
	var at [10]splice.Span
	if err := dialect.Pick(body, otherNames, at[:]); err != nil {
		return h, err
	}
	var err error
	switch {
	case op == llm.OpModerate && at[0].Empty():
		if at[8].Empty() {
			return h, missing("input")
		}
		h.Model = moderationModel
		brace := bytes.IndexByte(body, '{') + 1
		h.ModelSpan = splice.Span{Start: brace, End: brace}
	default:
		if h.Model, h.ModelSpan, err = peekModel(body, at[0]); err != nil {
			return h, err
		}
	}
	if h.Stream, err = dialect.Bool(at[1].Of(body), "stream"); err != nil {
		return h, err
	}
	n, err := dialect.Whole(at[2].Of(body), "n", 1)
	if err != nil {
		return h, err
	}
	if h.User, err = dialect.Text(at[3].Of(body), "user"); err != nil {
		return h, err
	}
	switch op {
	case llm.OpComplete:
		best, err := dialect.Whole(at[5].Of(body), "best_of", 1)
		if err != nil {
			return h, err
		}
		h.Choices = max(n, best, 1) * prompts(at[6].Of(body))
		if h.MaxOutput, err = dialect.Whole(at[4].Of(body), "max_tokens", 0); err != nil {
			return h, err
		}
		if unstated := at[4].Empty() || body[at[4].Start] == 'n'; unstated {
			h.MaxOutput = completionTokens
		}
		if h.Stream {
			h.Usage = peekUsage(body, at[1], at[7])
		}
	case llm.OpImage:
		h.Units, h.Unit = max(n, 1), "image"
	case llm.OpSpeech:
		format, err := dialect.Text(at[9].Of(body), "stream_format")
		if err != nil {
			return h, err
		}
		h.Stream = format == "sse"
		text, err := dialect.Text(at[8].Of(body), "input")
		if err != nil {
			return h, err
		}
		h.Units, h.Unit = int64(utf8.RuneCountInString(text)), "character"
	}
	return h, nil
}

// prompts is how many prompts a completion has: a text, a list of tokens, or a list of either.
func prompts(v []byte) int64 {
	n := int64(0)
	for c := dialect.Walk(v); c.Next(); {
		if c.Value[0] == '"' || c.Value[0] == '[' {
			n++
		}
	}
	return max(n, 1)
}

func missing(param string) error {
	f := fault.New(fault.Malformed, "%s is required", param)
	f.Param = param
	return f
}

var formNames = []string{"model", "stream", "n", "user"}

// PeekForm is Peek for an operation whose body is a multipart form.
func PeekForm(op llm.Op, contentType string, body []byte) (dialect.Head, error) {
	h := dialect.Head{Choices: 1, BodyLen: len(body), Form: true}
	var at [4]splice.Span
	if err := form.Pick(contentType, body, formNames, at[:]); err != nil {
		return h, err
	}
	if at[0].Empty() {
		return h, missing("model")
	}
	h.Model, h.ModelSpan = string(at[0].Of(body)), at[0]
	// Servers take more than one spelling of true; one that is not understood must not hide a stream.
	switch v := strings.ToLower(string(at[1].Of(body))); v {
	case "", "false", "0":
	case "true", "1":
		h.Stream = true
	default:
		f := fault.New(fault.Malformed, "stream must be true or false")
		f.Param = "stream"
		return h, f
	}
	if op == llm.OpImage {
		h.Units, h.Unit = 1, "image"
		if v := at[2].Of(body); len(v) > 0 {
			n, err := dialect.Whole(v, "n", 1)
			if err != nil {
				return h, err
			}
			h.Units = n
		}
	}
	h.User = string(at[3].Of(body))
	return h, nil
}

// otherPath is the path after base_url of the operations that are passed through and have only one.
func otherPath(op llm.Op) string {
	switch op {
	case llm.OpComplete:
		return "/completions"
	case llm.OpModerate:
		return "/moderations"
	case llm.OpSpeech:
		return "/audio/speech"
	case llm.OpCompact:
		return "/responses/compact"
	}
	return ""
}

// newTap watches the stream of any operation under either dialect; generate is the dialect's own.
func newTap(op llm.Op, generate dialect.Tap) dialect.Tap {
	switch op {
	case llm.OpComplete:
		return &chatTap{}
	case llm.OpImage, llm.OpSpeech, llm.OpTranscribe:
		return &mediaTap{}
	case llm.OpStored:
		return storedTap{&responsesTap{}}
	}
	return generate
}

// mediaTap watches images, audio and transcripts that come as events: each names its type, and the one
// that ends in .completed or .done is the last and holds the usage.
type mediaTap struct{ chatTap }

// Event implements dialect.Tap.
func (t *mediaTap) Event(name string, data []byte) dialect.Note {
	if len(data) == 0 {
		return 0
	}
	if name == "" {
		name = eventType(data)
	}
	switch {
	case name == "error" || name == "":
		if r := readError(data); name == "error" || r.Message != "" || r.Code != "" {
			t.fault = streamFault(r, data)
			return dialect.NoteError
		}
	case name == "transcript.text.done", name == "speech.audio.done", strings.HasPrefix(name, "image_") && strings.HasSuffix(name, ".completed"):
		if u, ok := unaryUsage(data); ok {
			t.usage, t.has = t.usage.Add(u), true
		}
		return dialect.NoteContent | dialect.NoteTerminal
	}
	return dialect.NoteContent
}

// storedTap watches a stored response that is streamed again: its tokens were counted when it was made.
type storedTap struct{ *responsesTap }

// Usage implements dialect.Tap.
func (storedTap) Usage() (llm.Usage, bool) { return llm.Usage{}, false }
