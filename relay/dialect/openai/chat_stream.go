package openai

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// NewEventEncoder implements dialect.ClientCodec.
func (Chat) NewEventEncoder(o dialect.AnswerOptions) dialect.EventEncoder {
	return &chatStream{r: newChatReply(o), usageAsked: o.Request == nil || o.Request.IncludeUsage}
}

// chatStream writes chat.completion.chunk frames.
type chatStream struct {
	r          chatReply
	usageAsked bool
	prefix     []byte // of every chunk, up to the list of choices
	failed     bool
	usage      llm.Usage
	counted    bool
	choices    []streamChoice
}

type streamChoice struct {
	begun, refused, said bool
	parts                []streamPart // open ones
	called               int          // calls so far: their index on the wire counts calls, not parts
	detailed             int          // entries of reasoning_details so far
	runes                int64        // of the texts so far
}

// streamPart is a part that is open.
type streamPart struct {
	index  int
	kind   llm.PartKind
	call   int // number of the call
	custom bool
	skip   bool // cannot be shown
	filled bool // a delta came
	runes  int64
	seal   *llm.Seal
	text   []byte // of thinking, which its seal goes with
}

// Append implements dialect.EventEncoder.
func (s *chatStream) Append(dst []byte, e *llm.Event) ([]byte, error) {
	switch e.Kind {
	case llm.EventStart:
		w := dialect.NewWriter([]byte("data: "))
		w.Open('{')
		s.r.head(&w, "chat.completion.chunk", e.Start)
		w.Name("choices")
		w.Open('[')
		s.prefix = w.Take()
		s.usage, s.counted = e.Usage, e.Usage != llm.Usage{}
		return dst, nil
	case llm.EventUsage:
		s.usage, s.counted = e.Usage, true
		return dst, nil
	case llm.EventError:
		s.failed = true
		return append(dst, Chat{}.FaultEvent(fault.As(e.Err), s.r.o.ID)...), nil
	}
	for len(s.choices) <= e.Choice {
		s.choices = append(s.choices, streamChoice{})
	}
	c := &s.choices[e.Choice]
	switch e.Kind {
	case llm.EventPartStart:
		return s.partStart(dst, c, e), nil
	case llm.EventDelta:
		return s.delta(dst, c, e), nil
	case llm.EventPartEnd:
		return s.partEnd(dst, c, e), nil
	case llm.EventStop:
		if err := broken(&e.Stop, c.said); err != nil {
			s.failed = true
			return dst, err
		}
		dst = s.role(dst, c, e.Choice, false)
		s.r.stopExtra(&e.Stop, e.Choice)
		w := s.open(dst, e.Choice)
		w.Close('}')
		return s.end(&w, nil, s.r.reason(&e.Stop, e.Choice, c.refused)), nil
	}
	return dst, nil
}

// open begins a chunk, up to the members of its delta.
func (s *chatStream) open(dst []byte, choice int) dialect.Writer {
	w := dialect.NewWriter(append(dst, s.prefix...))
	w.Open('{')
	w.IntMember("index", int64(choice))
	w.Name("delta")
	w.Open('{')
	return w
}

// end writes what follows the delta.
func (s *chatStream) end(w *dialect.Writer, ps []llm.Logprob, reason string) []byte {
	w.Name("logprobs")
	s.r.logprobs(w, ps)
	w.Name("finish_reason")
	if reason == "" {
		w.Null()
	} else {
		w.Str(reason)
	}
	dst := append(w.Take(), "}]"...)
	if s.usageAsked {
		dst = append(dst, `,"usage":null`...)
	}
	return append(dst, "}\n\n"...)
}

// role writes a choice's first chunk, with null for content when a call comes first.
func (s *chatStream) role(dst []byte, c *streamChoice, choice int, call bool) []byte {
	if c.begun {
		return dst
	}
	c.begun = true
	w := s.open(dst, choice)
	w.StrMember("role", "assistant")
	w.Name("content")
	if call {
		w.Null()
	} else {
		w.Str("")
	}
	w.Name("refusal")
	w.Null()
	w.Close('}')
	return s.end(&w, nil, "")
}

func (s *chatStream) partStart(dst []byte, c *streamChoice, e *llm.Event) []byte {
	p := e.Part
	part := streamPart{index: e.Index, kind: p.Kind, custom: p.Custom, seal: p.Seal}
	c.said = c.said || p.Kind != llm.PartThinking
	dst = s.role(dst, c, e.Choice, p.Kind == llm.PartCall)
	switch p.Kind {
	case llm.PartText:
	case llm.PartThinking:
		if p.Redacted {
			dst = s.detail(dst, c, e.Choice, nil, p.Seal, true)
			part.seal = nil
		}
	case llm.PartRefusal:
		c.refused = true
	case llm.PartCall:
		part.call = c.called
		if c.called++; s.r.legacy && c.called > 1 {
			part.skip = true
			s.r.lost(p, e.Choice, e.Index)
			break
		}
		dst = s.callStart(dst, p, part.call, e.Choice)
		part.seal = nil
	case llm.PartImage:
		w := s.open(dst, e.Choice)
		w.Name("images")
		w.Open('[')
		writeImage(&w, p.Media)
		w.Close(']')
		w.Close('}')
		dst = s.end(&w, nil, "")
	default:
		if !audio(p) {
			s.r.lost(p, e.Choice, e.Index)
			break
		}
		w := s.open(dst, e.Choice)
		w.RawMember("audio", oneLine(p.Opaque.JSON))
		w.Close('}')
		dst = s.end(&w, nil, "")
	}
	c.parts = append(c.parts, part)
	return dst
}

func (s *chatStream) callStart(dst []byte, p *llm.Part, call, choice int) []byte {
	w := s.open(dst, choice)
	if s.r.legacy {
		w.Name("function_call")
		w.Open('{')
		w.StrMember("name", p.Name)
		w.StrMember("arguments", "")
		w.Close('}')
		w.Close('}')
		return s.end(&w, nil, "")
	}
	w.Name("tool_calls")
	w.Open('[')
	w.Open('{')
	w.IntMember("index", int64(call))
	w.StrMember("id", carrier.ID(llm.OpenAIChat, p.ID))
	kind, args := "function", "arguments"
	if p.Custom {
		kind, args = "custom", "input"
	}
	w.StrMember("type", kind)
	w.Name(kind)
	w.Open('{')
	w.StrMember("name", p.Name)
	w.StrMember(args, "")
	w.Close('}')
	if p.Seal != nil {
		writeSignature(&w, carrier.Text(llm.OpenAIChat, carrier.Own, p.Seal))
	}
	w.Close('}')
	w.Close(']')
	w.Close('}')
	return s.end(&w, nil, "")
}

func (s *chatStream) delta(dst []byte, c *streamChoice, e *llm.Event) []byte {
	p := c.find(e.Index)
	if p == nil || p.skip {
		return dst
	}
	p.filled = true
	w := s.open(dst, e.Choice)
	switch p.kind {
	case llm.PartText:
		p.runes += int64(countRunes(e.Text))
		w.StrMember("content", e.Text)
	case llm.PartThinking:
		p.text = append(p.text, e.Text...)
		w.StrMember("reasoning_content", e.Text)
	case llm.PartRefusal:
		w.StrMember("refusal", e.Text)
	default:
		s.arguments(&w, p, e.Text)
	}
	w.Close('}')
	return s.end(&w, e.Logprobs, "")
}

func (s *chatStream) arguments(w *dialect.Writer, p *streamPart, text string) {
	if s.r.legacy {
		w.Name("function_call")
		w.Open('{')
		w.StrMember("arguments", text)
		w.Close('}')
		return
	}
	w.Name("tool_calls")
	w.Open('[')
	w.Open('{')
	w.IntMember("index", int64(p.call))
	kind, args := "function", "arguments"
	if p.custom {
		kind, args = "custom", "input"
	}
	w.Name(kind)
	w.Open('{')
	w.StrMember(args, text)
	w.Close('}')
	w.Close('}')
	w.Close(']')
}

func (c *streamChoice) find(index int) *streamPart {
	for i := range c.parts {
		if c.parts[i].index == index {
			return &c.parts[i]
		}
	}
	return nil
}

func (s *chatStream) partEnd(dst []byte, c *streamChoice, e *llm.Event) []byte {
	p := c.find(e.Index)
	if p == nil {
		return dst
	}
	var cites []llm.Citation
	if e.Part != nil {
		cites = e.Part.Citations
		if e.Part.Seal != nil {
			p.seal = e.Part.Seal
		}
	}
	switch {
	case p.skip:
	case p.kind == llm.PartThinking:
		if p.seal != nil && !plainSeal(p.seal) {
			dst = s.detail(dst, c, e.Choice, p.text, p.seal, false)
		}
	case p.kind == llm.PartText:
		dst = s.textEnd(dst, c, p, cites, e)
		c.runes += p.runes
	case p.kind == llm.PartCall:
		dst = s.callEnd(dst, p, e.Choice)
	}
	*p = c.parts[len(c.parts)-1]
	c.parts = c.parts[:len(c.parts)-1]
	return dst
}

// detail writes one entry of reasoning_details whole: clients merge chunks in different ways, and all
// of them keep what comes once.
func (s *chatStream) detail(dst []byte, c *streamChoice, choice int, text []byte, seal *llm.Seal, redacted bool) []byte {
	w := s.open(dst, choice)
	w.Name("reasoning_details")
	w.Open('[')
	writeDetail(&w, c.detailed, text, seal, redacted)
	c.detailed++
	w.Close(']')
	w.Close('}')
	return s.end(&w, nil, "")
}

func (s *chatStream) textEnd(dst []byte, c *streamChoice, p *streamPart, cites []llm.Citation, e *llm.Event) []byte {
	if p.seal == nil && len(cites) == 0 {
		return dst
	}
	w := s.open(dst, e.Choice)
	if len(cites) > 0 {
		w.Name("annotations")
		w.Open('[')
		s.r.citations(&w, cites, c.runes, p.runes, e.Choice, e.Index)
		w.Close(']')
	}
	if p.seal != nil {
		writeSignature(&w, carrier.Text(llm.OpenAIChat, carrier.Own, p.seal))
	}
	w.Close('}')
	return s.end(&w, nil, "")
}

// callEnd writes what a call still lacks: arguments, since an empty string is no JSON, and a late seal.
func (s *chatStream) callEnd(dst []byte, p *streamPart, choice int) []byte {
	if !p.filled && !p.custom {
		w := s.open(dst, choice)
		s.arguments(&w, p, "{}")
		w.Close('}')
		dst = s.end(&w, nil, "")
	}
	if p.seal == nil {
		return dst
	}
	if s.r.legacy {
		s.r.l.Drop(dialect.Index("/choices", choice)+"/message/tool_calls/0", llm.LostForeign)
		return dst
	}
	w := s.open(dst, choice)
	w.Name("tool_calls")
	w.Open('[')
	w.Open('{')
	w.IntMember("index", int64(p.call))
	writeSignature(&w, carrier.Text(llm.OpenAIChat, carrier.Own, p.seal))
	w.Close('}')
	w.Close(']')
	w.Close('}')
	return s.end(&w, nil, "")
}

// Close implements dialect.EventEncoder. Usage comes only to those who asked, in a chunk of its own
// after the finish reason: clients that stop there must not lose it inside another chunk's meaning
// (router-for-me/CLIProxyAPI #796).
func (s *chatStream) Close(dst []byte) ([]byte, error) {
	if s.failed {
		return dst, nil
	}
	if s.usageAsked && s.counted {
		dst = append(append(dst, s.prefix...), `],"usage":`...)
		w := dialect.NewWriter(dst)
		writeChatUsage(&w, s.usage)
		dst = append(w.Take(), "}\n\n"...)
	}
	return append(dst, "data: [DONE]\n\n"...), nil
}

// Losses implements dialect.EventEncoder.
func (s *chatStream) Losses() []llm.Loss { return s.r.l.List }
