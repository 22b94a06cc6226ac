package gemini

import (
	"slices"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// answerWriter holds what whole and streamed answers are written with.
type answerWriter struct {
	o      dialect.AnswerOptions
	from   llm.Dialect
	id     string
	extra  llm.Extra // of the provider's answer, when it is of this dialect
	tier   string
	losses []llm.Loss
}

func newAnswerWriter(o dialect.AnswerOptions) answerWriter { return answerWriter{o: o} }

func (a *answerWriter) head(from llm.Dialect, id, tier string, extra llm.Extra) {
	a.from, a.id = from, id
	if a.id == "" {
		a.id = a.o.ID
	}
	if a.from == llm.Gemini {
		a.extra, a.tier = extra, tier
	} else {
		a.lostExtra(extra, "")
	}
}

func (a *answerWriter) lost(path, reason string) {
	a.losses = append(a.losses, llm.Loss{Path: path, From: a.from, To: llm.Gemini, Reason: reason})
}

func (a *answerWriter) lostExtra(e llm.Extra, path string) {
	for _, m := range e {
		if dialect.Filled(m.Value) && string(m.Value) != "false" {
			a.lost(dialect.Child(path, m.Name), llm.LostUnknown)
		}
	}
}

// hides reports whether the client does not want to read thoughts. What is signed must come back as it
// was, so it is shown nevertheless.
func (a *answerWriter) hides() bool {
	return a.o.Request != nil && a.o.Request.Reasoning.Show == llm.ShowNone
}

// writer of one candidate's parts.
type partWriter struct {
	a      *answerWriter
	choice int
	// held are the carriers of thinking without text. A part without data is thrown away by Google's
	// own chat helpers (genai for Go drops the whole turn), so they ride on the next part that has any.
	held   []string
	number int // of parts written
}

// signature is what p's thoughtSignature says: its own seal, else what is held for it.
func (p *partWriter) signature(w *dialect.Writer, seal *llm.Seal) {
	switch {
	case seal != nil:
		w.StrMember(signatureName, carrier.Text(llm.Gemini, carrier.Own, seal))
	case len(p.held) > 0:
		w.StrMember(signatureName, p.held[0])
		p.held = p.held[:0]
	}
}

// before writes what is held and cannot ride on the next part, which can take one signature and has
// perhaps its own.
func (p *partWriter) before(w *dialect.Writer, seal *llm.Seal) {
	n := len(p.held)
	if n > 0 && seal == nil {
		n--
	}
	p.flush(w, n)
}

func (p *partWriter) flush(w *dialect.Writer, n int) {
	for _, h := range p.held[:n] {
		w.Open('{')
		w.StrMember("text", "")
		w.BoolMember("thought", true)
		w.StrMember(signatureName, h)
		w.Close('}')
		p.number++
	}
	p.held = slices.Delete(p.held, 0, n)
}

// text writes a piece of text.
func (p *partWriter) text(w *dialect.Writer, s string, thought bool, seal *llm.Seal) {
	p.before(w, seal)
	w.Open('{')
	w.StrMember("text", s)
	if thought {
		w.BoolMember("thought", true)
	}
	p.signature(w, seal)
	w.Close('}')
	p.number++
}

// thinking writes a whole thinking part.
func (p *partWriter) thinking(w *dialect.Writer, t *llm.Part) {
	switch {
	case t.Redacted:
		p.held = append(p.held, carrier.Text(llm.Gemini, carrier.Redacted, t.Seal))
		if !carrier.Looks([]byte(p.held[len(p.held)-1])) {
			p.flush(w, len(p.held)) // the vendor's own: it stands for itself
		}
	case t.Text != "" && t.Seal == nil && p.a.hides():
	case t.Text != "":
		p.text(w, t.Text, true, t.Seal)
	case t.Seal != nil && t.Seal.Origin == llm.Gemini:
		p.text(w, "", true, t.Seal)
	case t.Seal != nil:
		p.held = append(p.held, carrier.Encode(carrier.Prev, t.Seal))
	}
}

// call writes a function call; false when its arguments are no object.
func (p *partWriter) call(w *dialect.Writer, c *llm.Part, args string, seal *llm.Seal) bool {
	if !c.Custom && !object(args) {
		return false
	}
	p.before(w, seal)
	w.Open('{')
	w.Name("functionCall")
	w.Open('{')
	if !carrier.Made(c.ID) {
		w.StrMember("id", carrier.ID(llm.Gemini, c.ID))
	}
	w.StrMember("name", c.Name)
	w.Name("args")
	if c.Custom {
		w.Open('{')
		w.StrMember("input", args)
		w.Close('}')
	} else {
		w.Raw(line([]byte(args)))
	}
	w.Close('}')
	p.signature(w, seal)
	w.Close('}')
	p.number++
	return true
}

// whole writes a part that comes whole in streams too.
func (p *partWriter) whole(w *dialect.Writer, q *llm.Part, index int) {
	switch {
	case q.Kind == llm.PartOpaque && q.Opaque.Origin == llm.Gemini:
		p.flush(w, len(p.held))
		w.Raw(line(q.Opaque.JSON))
		p.number++
	case q.Kind == llm.PartOpaque:
		p.held = append(p.held, carrier.EncodePart(q.Opaque))
	case q.Media == nil:
	case q.Media.FileID != "" && p.a.from != llm.Gemini, q.Media.Text != "":
		p.a.lost(dialect.AnswerPart(p.a.from, p.choice, index), llm.LostForeign)
	default:
		p.media(w, q)
	}
}

func (p *partWriter) media(w *dialect.Writer, q *llm.Part) {
	m := q.Media
	p.before(w, q.Seal)
	w.Open('{')
	if uri := m.URL + m.FileID; uri != "" {
		w.Name("fileData")
		w.Open('{')
		if m.Type != "" {
			w.StrMember("mimeType", m.Type)
		}
		w.StrMember("fileUri", uri)
	} else {
		w.Name("inlineData")
		w.Open('{')
		w.StrMember("mimeType", m.Type)
		w.Name("data")
		w.Data("", m.Data)
	}
	w.Close('}')
	p.signature(w, q.Seal)
	w.Close('}')
	p.number++
}

// stop writes what ends a candidate, after its content.
func (a *answerWriter) stop(w *dialect.Writer, s *llm.Stop) {
	w.StrMember("finishReason", a.finish(s))
	if s.Note != "" {
		w.StrMember("finishMessage", s.Note)
	}
}

func (a *answerWriter) finish(s *llm.Stop) string {
	if a.from == llm.Gemini && s.Native != "" && dialect.StopOf(llm.Gemini, s.Native).Derive(s.Reason == llm.StopCalls) == s.Reason {
		return s.Native
	}
	return dialect.StopName(llm.Gemini, s.Reason)
}

// stopExtra writes the provider's own members of a candidate, or reports them.
func (a *answerWriter) stopExtra(w *dialect.Writer, s *llm.Stop, choice int) {
	if a.from != llm.Gemini {
		a.lostExtra(s.Extra, dialect.AnswerChoice(a.from, choice))
		return
	}
	w.Extra(s.Extra)
}

// cites reports whether citations must be written: the vendor's own are in Stop.Extra as they came.
func (a *answerWriter) cites(cs []llm.Citation) bool { return len(cs) > 0 && a.from != llm.Gemini }

func (a *answerWriter) usage(w *dialect.Writer, u llm.Usage) {
	n := llm.ExclusiveThoughts.Counts(u)
	w.Name("usageMetadata")
	w.Open('{')
	w.IntMember("promptTokenCount", n.Prompt)
	if n.Cached > 0 {
		w.IntMember("cachedContentTokenCount", n.Cached)
	}
	w.IntMember("candidatesTokenCount", n.Completion)
	if n.Reasoning > 0 {
		w.IntMember("thoughtsTokenCount", n.Reasoning)
	}
	w.IntMember("totalTokenCount", n.Prompt+n.Completion+n.Reasoning)
	if a.tier != "" {
		w.StrMember("serviceTier", a.tier)
	}
	w.Close('}')
}

func (a *answerWriter) tail(w *dialect.Writer) {
	if a.o.Model != "" {
		w.StrMember("modelVersion", a.o.Model)
	}
	if a.id != "" {
		w.StrMember("responseId", a.id)
	}
}

// brokenCall is what a call with unreadable arguments comes to: after a cut-off answer it is left out,
// as the vendor does, else the answer is wrong.
func (a *answerWriter) brokenCall(s *llm.Stop, path string) error {
	switch s.Reason {
	case llm.StopLength, llm.StopBroken, llm.StopBlocked, llm.StopPaused:
		a.lost(path, llm.LostNoEquivalent)
		return nil
	}
	return fault.New(fault.UpstreamProtocol, "the provider wrote call arguments that are no JSON object").At(fault.Partial)
}

// EncodeResponse implements dialect.ClientCodec.
func (Frontend) EncodeResponse(r *llm.Response, o dialect.AnswerOptions) ([]byte, []llm.Loss, error) {
	w := dialect.NewWriter(make([]byte, 0, 1<<10))
	w.Open('{')
	if o.Request != nil && o.Request.Op == llm.OpCountTokens {
		w.IntMember("totalTokens", r.Usage.Input)
		if r.Usage.Cached > 0 {
			w.IntMember("cachedContentTokenCount", r.Usage.Cached)
		}
		w.Close('}')
		return w.Take(), nil, nil
	}
	a := newAnswerWriter(o)
	a.head(r.From, r.ID, r.ServiceTier, r.Extra)
	if !a.blockedPrompt(r.Choices) {
		w.Name("candidates")
		w.Open('[')
		for i := range r.Choices {
			if err := a.candidate(&w, &r.Choices[i], i); err != nil {
				return nil, nil, err
			}
		}
		w.Close(']')
	}
	w.Extra(a.extra)
	if r.HasUsage {
		a.usage(&w, r.Usage)
	}
	a.tail(&w)
	w.Close('}')
	return w.Take(), a.losses, nil
}

// blockedPrompt reports an answer that is only the vendor's promptFeedback.
func (a *answerWriter) blockedPrompt(cs []llm.Choice) bool {
	return a.extra.Get("promptFeedback") != nil && len(cs) == 1 && len(cs[0].Parts) == 0 && cs[0].Stop.Reason == llm.StopBlocked
}

func (a *answerWriter) candidate(w *dialect.Writer, c *llm.Choice, choice int) error {
	p := partWriter{a: a, choice: choice}
	w.Open('{')
	if len(c.Parts) > 0 {
		w.Name("content")
		w.Open('{')
		w.Name("parts")
		w.Open('[')
	}
	var cites []cited
	for i := range c.Parts {
		q := &c.Parts[i]
		switch q.Kind {
		case llm.PartText, llm.PartRefusal:
			if q.Text != "" || q.Seal != nil {
				p.text(w, q.Text, false, q.Seal)
			}
			if a.cites(q.Citations) {
				cites = append(cites, cited{cs: q.Citations, said: []byte(q.Text), part: p.number - 1})
			}
		case llm.PartThinking:
			p.thinking(w, q)
		case llm.PartCall:
			if !p.call(w, q, q.Args(), q.Seal) {
				if err := a.brokenCall(&c.Stop, dialect.AnswerPart(a.from, choice, i)); err != nil {
					return err
				}
			}
		default:
			p.whole(w, q, i)
		}
	}
	p.flush(w, len(p.held))
	if len(c.Parts) > 0 {
		w.Close(']')
		w.StrMember("role", "model")
		w.Close('}')
	}
	a.stop(w, &c.Stop)
	w.IntMember("index", int64(choice))
	if len(c.Logprobs) > 0 {
		writeLogprobs(w, c.Logprobs)
	}
	if len(cites) > 0 {
		writeGrounding(w, cites)
	}
	a.stopExtra(w, &c.Stop, choice)
	w.Close('}')
	return nil
}
