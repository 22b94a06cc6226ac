package openai

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// Chat is the client side of openai-chat.
type Chat struct{ common }

// ChatBackend is the provider side of openai-chat.
type ChatBackend struct{ common }

// Dialect names the dialect.
func (Chat) Dialect() llm.Dialect { return llm.OpenAIChat }

// Dialect names the dialect.
func (ChatBackend) Dialect() llm.Dialect { return llm.OpenAIChat }

var chatNames = []string{"model", "stream", "max_completion_tokens", "max_tokens", "n", "safety_identifier", "user", "stream_options"}

// Peek implements dialect.Frontend.
func (Chat) Peek(op llm.Op, body []byte) (dialect.Head, error) {
	switch op {
	case llm.OpEmbed:
		return peekEmbed(body)
	case llm.OpComplete, llm.OpModerate, llm.OpImage, llm.OpSpeech, llm.OpTranscribe:
		return peekOther(op, body)
	}
	h := dialect.Head{Choices: 1, BodyLen: len(body)}
	var at [8]splice.Span
	if err := dialect.Pick(body, chatNames, at[:]); err != nil {
		return h, err
	}
	var err error
	if h.Model, h.ModelSpan, err = peekModel(body, at[0]); err != nil {
		return h, err
	}
	if h.Stream, err = dialect.Bool(at[1].Of(body), "stream"); err != nil {
		return h, err
	}
	newer, err := dialect.Whole(at[2].Of(body), "max_completion_tokens", 0)
	if err != nil {
		return h, err
	}
	older, err := dialect.Whole(at[3].Of(body), "max_tokens", 0)
	if err != nil {
		return h, err
	}
	h.MaxOutput = max(newer, older)
	n, err := dialect.Whole(at[4].Of(body), "n", 1)
	if err != nil {
		return h, err
	}
	h.Choices = max(n, 1)
	if h.User, err = dialect.Text(at[5].Of(body), "safety_identifier"); err != nil {
		return h, err
	}
	if h.User == "" {
		if h.User, err = dialect.Text(at[6].Of(body), "user"); err != nil {
			return h, err
		}
	}
	if h.Stream {
		h.Usage = peekUsage(body, at[1], at[7])
	}
	return h, nil
}

// peekUsage finds where include_usage must be written. What the provider will refuse anyway (a
// stream_options that is no object) is left for it to refuse.
func peekUsage(body []byte, stream, options splice.Span) dialect.IncludeUsage {
	if options.Empty() {
		return dialect.IncludeUsage{At: splice.Span{Start: stream.End, End: stream.End}, Text: `,"stream_options":{"include_usage":true}`}
	}
	v := options.Of(body)
	switch v[0] {
	case 'n':
		return dialect.IncludeUsage{At: options, Text: `{"include_usage":true}`}
	case '{':
	default:
		return dialect.IncludeUsage{}
	}
	for c := dialect.Walk(v); c.Next(); {
		if string(c.Name) != "include_usage" {
			continue
		}
		switch c.Value[0] {
		case 't':
			return dialect.IncludeUsage{Asked: true}
		case 'f', 'n':
			end := options.Start + c.Offset() + len(c.Value)
			return dialect.IncludeUsage{At: splice.Span{Start: end - len(c.Value), End: end}, Text: "true"}
		default:
			return dialect.IncludeUsage{}
		}
	}
	in := dialect.IncludeUsage{At: splice.Span{Start: options.Start + 1, End: options.Start + 1}, Text: `"include_usage":true`}
	if dialect.Filled(v) {
		in.Text += ","
	}
	return in
}

// FaultEvent implements dialect.Frontend: SDKs throw on a frame with a truthy error.
func (Chat) FaultEvent(f *fault.Error, id string) []byte {
	return append(appendError([]byte("data: "), f, id), "\n\n"...)
}

// Path implements dialect.Backend.
func (ChatBackend) Path(op llm.Op, _, model string, _ bool) string {
	return path(op, model, "/chat/completions")
}

// Splice implements dialect.Backend.
func (ChatBackend) Splice(op llm.Op, h dialect.Head, model string) []splice.Edit {
	edits := rename(h, model)
	if op != llm.OpGenerate && op != llm.OpComplete || !h.Stream || !h.Usage.Injects() {
		return edits
	}
	add := splice.Edit{Span: h.Usage.At, Text: []byte(h.Usage.Text)}
	if len(edits) > 0 && add.Span.Start < edits[0].Span.Start {
		return []splice.Edit{add, edits[0]}
	}
	return append(edits, add)
}

// UnaryUsage implements dialect.Backend.
func (ChatBackend) UnaryUsage(_ llm.Op, body []byte) (llm.Usage, bool) { return unaryUsage(body) }

// NewTap implements dialect.Backend.
func (ChatBackend) NewTap(op llm.Op) dialect.Tap { return newTap(op, &chatTap{}) }
