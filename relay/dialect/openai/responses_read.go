package openai

import (
	"bytes"
	"slices"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// answerObject is the response object of an answer, or of the events that open and end a stream.
type answerObject struct {
	id, model, created, status, err, incomplete, output, usage, tier, inputTokens []byte
	extra                                                                         llm.Extra
}

// readAnswer cuts a response object; false when v is none. What echoes the request is passed over.
func readAnswer(v []byte) (a answerObject, ok bool) {
	if len(v) == 0 || v[0] != '{' {
		return a, false
	}
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "id":
			a.id = c.Value
		case "model":
			a.model = c.Value
		case "created_at":
			a.created = c.Value
		case "status":
			a.status = c.Value
		case "error":
			a.err = c.Value
		case "incomplete_details":
			a.incomplete = c.Value
		case "output":
			a.output = c.Value
		case "usage":
			a.usage = c.Value
		case "service_tier":
			a.tier = c.Value
		case "input_tokens":
			a.inputTokens = c.Value
		case "moderation", "conversation": // said only here
			if dialect.Filled(c.Value) {
				a.extra = append(a.extra, llm.Member{Name: string(c.Name), Value: bytes.Clone(c.Value)})
			}
		}
	}
	return a, true
}

// stop is why the answer ended, before the content is looked at.
func (a *answerObject) stop() llm.Stop {
	native := statusDone
	if word(a.status) == statusBroken {
		native = statusBroken
		var at [1]splice.Span
		if dialect.Find(a.incomplete, []string{"reason"}, at[:]) {
			if w := word(at[0].Of(a.incomplete)); w != "" {
				native = w
			}
		}
	}
	reason := dialect.StopOf(llm.OpenAIResponses, native)
	if reason == llm.StopUnknown {
		reason = dialect.StopOf(llm.OpenAIResponses, statusBroken)
	}
	return llm.Stop{Reason: reason, Native: native}
}

// failure is what a response object reports instead of an answer, or nil.
func (a *answerObject) failure() *fault.Error {
	status := word(a.status)
	switch {
	case dialect.Filled(a.err) && a.err[0] == '{':
		return streamFault(readErrorObject(a.err), a.err)
	case status == "failed":
		return fault.New(fault.UpstreamError, "the provider reported a failed response").At(fault.Sent)
	case status == "cancelled":
		return fault.New(fault.UpstreamError, "the provider cancelled the response").At(fault.Sent)
	case status == "queued" || status == "in_progress":
		return fault.New(fault.UpstreamProtocol, "the provider answered before the response was complete").At(fault.Sent)
	}
	return nil
}

// usageOf reads a usage object; false when there is none.
func usageOf(v []byte) (llm.Usage, bool) {
	u, ok := readUsage(v)
	if !ok {
		return u, false
	}
	return llm.Inclusive.Usage(llm.Counts{
		Prompt: u.Input, Cached: u.Cached, Write: u.CacheWrite, Completion: u.Output, Reasoning: u.Reasoning,
	}), true
}

func noAnswer(why string) error { return fault.New(fault.UpstreamProtocol, "%s", why).At(fault.Sent) }

// DecodeResponse implements dialect.ProviderCodec.
func (ResponsesBackend) DecodeResponse(op llm.Op, body []byte, o dialect.DecodeOptions) (*llm.Response, error) {
	var top [1]splice.Span
	if !dialect.Find(body, []string{"output"}, top[:]) {
		return nil, noAnswer("the provider's answer is not a JSON object")
	}
	a, ok := readAnswer(bytes.TrimLeft(body, " \t\r\n"))
	if !ok {
		return nil, noAnswer("the provider's answer is not a JSON object")
	}
	if op == llm.OpCountTokens {
		if unset(a.inputTokens) {
			return nil, noAnswer("the provider's answer has no input_tokens")
		}
		return &llm.Response{From: llm.OpenAIResponses, HasUsage: true, Usage: llm.Usage{Input: dialect.Count(a.inputTokens)}}, nil
	}
	if f := a.failure(); f != nil {
		return nil, f
	}
	if unset(a.output) || a.output[0] != '[' {
		return nil, noAnswer("the provider's answer has no output")
	}
	r := &llm.Response{
		From: llm.OpenAIResponses, ID: word(a.id), Model: word(a.model), Created: seconds(a.created),
		ServiceTier: word(a.tier), Extra: a.extra,
	}
	r.Usage, r.HasUsage = usageOf(a.usage)
	var ids callIDs
	var choice llm.Choice
	for c := dialect.Walk(a.output); c.Next(); {
		if c.Value[0] != '{' {
			return nil, noAnswer("an item of the provider's answer is no object")
		}
		ps, err := itemParts(c.Value, o.Scope)
		if err != nil {
			return nil, err
		}
		for j := range ps {
			if ps[j].Kind == llm.PartCall {
				ps[j].ID = ids.unique(ps[j].ID, firstOf(r.ID, o.ID))
			}
			choice.Logprobs = append(choice.Logprobs, ps[j].logprobs...)
			choice.Parts = append(choice.Parts, ps[j].Part)
		}
	}
	choice.Stop = a.stop()
	choice.Stop.Reason = choice.Stop.Reason.Derive(llm.HasCalls(choice.Parts))
	r.Choices = []llm.Choice{choice}
	return r, nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// seconds reads created_at, which some servers write as a fraction.
func seconds(v []byte) int64 {
	if i := bytes.IndexByte(v, '.'); i > 0 {
		v = v[:i]
	}
	return dialect.Count(v)
}

// callIDs makes the ids of one answer's calls differ, and present.
type callIDs []string

func (s *callIDs) unique(id, seed string) string {
	if id == "" || slices.Contains(*s, id) {
		id = carrier.CallID(seed, 0, len(*s))
	}
	*s = append(*s, id)
	return id
}

// answerPart is a part with what llm.Choice has in one place for all parts.
type answerPart struct {
	llm.Part
	index    int // content_index
	logprobs []llm.Logprob
}

// itemParts reads a whole output item. It does not alias v. What says nothing is no part, so that a
// stream, in which such a part never starts, means the same.
func itemParts(v []byte, scope string) ([]answerPart, error) {
	it := readItem(v)
	switch it.kind {
	case itemMessageType:
		return messageParts(&it, scope), nil
	case itemReasoningType:
		p := reasoningPart(&it, scope)
		if p.Text == "" && p.Seal == nil {
			return nil, nil
		}
		return []answerPart{{Part: p}}, nil
	case itemCall, itemCustom:
		p := callPart(&it)
		if p.Name == "" {
			return nil, noAnswer("a call in the provider's answer has no name")
		}
		return []answerPart{{Part: p}}, nil
	}
	return []answerPart{{Part: opaquePart(&it, scope)}}, nil
}

func opaquePart(it *item, scope string) llm.Part {
	return llm.Part{Kind: llm.PartOpaque, Opaque: &llm.Opaque{
		Origin: llm.OpenAIResponses, Scope: scope, Type: it.kind, JSON: oneLine(bytes.Clone(it.raw)),
	}}
}

func reasoningPart(it *item, scope string) llm.Part {
	p := llm.Part{Kind: llm.PartThinking, Text: reasoningText(it)}
	if s := word(it.encrypted); s != "" {
		p.Seal = &llm.Seal{Origin: llm.OpenAIResponses, Scope: scope, Data: []byte(s)}
	}
	return p
}

func callPart(it *item) llm.Part {
	p := llm.Part{Kind: llm.PartCall, Custom: it.kind == itemCustom, Name: word(it.name), Extra: cloneExtra(falseless(it.extra))}
	if p.ID = word(it.callID); p.ID == "" {
		p.ID = word(it.id)
	}
	if p.Custom {
		p.Text = word(it.input)
	} else {
		p.Text = word(it.arguments)
	}
	return p
}

func cloneExtra(e llm.Extra) llm.Extra {
	for i := range e {
		e[i].Value = bytes.Clone(e[i].Value)
	}
	return e
}

func phaseExtra(it *item) llm.Extra {
	if !dialect.Filled(it.phase) {
		return nil
	}
	return llm.Extra{{Name: "phase", Value: bytes.Clone(it.phase)}}
}

func messageParts(it *item, scope string) []answerPart {
	if isFilledText(it.content) { // compatible servers
		return []answerPart{{Part: llm.Part{Kind: llm.PartText, Text: dialect.Unquote(it.content), Extra: phaseExtra(it)}}}
	}
	if unset(it.content) || it.content[0] != '[' {
		return nil
	}
	var out []answerPart
	i := 0
	for c := dialect.Walk(it.content); c.Next(); i++ {
		if p, ok := contentPart(c.Value, scope); ok {
			p.index, p.Extra = i, phaseExtra(it)
			out = append(out, p)
		}
	}
	return out
}

// contentPart reads a content part of a message; false when it says nothing.
func contentPart(v []byte, scope string) (p answerPart, ok bool) {
	kind := ""
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "type":
			kind = itemType(c.Value)
		case "text":
			if p.Text == "" {
				p.Text = word(c.Value)
			}
		case "refusal":
			p.Kind, p.Text = llm.PartRefusal, word(c.Value)
		case "annotations":
			p.Citations = readAnnotations(c.Value, scope)
		case "logprobs":
			p.logprobs = readLogprobs(c.Value)
		}
	}
	if p.Kind == llm.PartRefusal && kind != "refusal" {
		p.Kind = llm.PartText
	}
	if p.Kind == llm.PartRefusal {
		p.Citations, p.logprobs = nil, nil
	}
	return p, p.Text != ""
}
