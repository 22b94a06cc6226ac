package anthropic

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// DecodeResponse implements dialect.ProviderCodec.
func (Backend) DecodeResponse(op llm.Op, body []byte, o dialect.DecodeOptions) (*llm.Response, error) {
	if !dialect.Find(body, nil, nil) {
		return nil, broken("the answer is not JSON")
	}
	d := head{r: &llm.Response{From: llm.AnthropicMessages}}
	if err := d.read(body); err != nil {
		return nil, err
	}
	r := d.r
	if op == llm.OpCountTokens {
		if d.tokens == nil {
			return nil, broken("the count has no input_tokens")
		}
		r.Usage, r.HasUsage = llm.Usage{Input: min(dialect.Count(d.tokens), 1<<40)}, true
		return r, nil
	}
	if !isArray(d.content) {
		return nil, broken("the answer has no content")
	}
	ch := llm.Choice{}
	ids := map[string]struct{}{}
	for c := dialect.Walk(d.content); c.Next(); {
		b, ok := readBlock(c.Value)
		if !ok {
			return nil, broken("a content block is not an object")
		}
		p, err := answerPart(&b, o, len(ch.Parts))
		if err != nil {
			return nil, err
		}
		if p.Kind == llm.PartCall {
			p.ID = ownID(ids, p.ID, o.ID, len(ch.Parts))
		}
		ch.Parts = append(ch.Parts, p)
	}
	ch.Stop = d.stop.stop(llm.HasCalls(ch.Parts))
	r.Choices = []llm.Choice{ch}
	r.Usage, r.HasUsage = usageOf(&d.counts), d.hasUsage
	return r, nil
}

func broken(why string) *fault.Error {
	return fault.New(fault.UpstreamProtocol, "the provider's answer cannot be read: %s", why).At(fault.Sent)
}

// ownID gives a call an id of its own: some servers leave it out, or repeat it.
func ownID(ids map[string]struct{}, id, seed string, part int) string {
	if _, dup := ids[id]; dup || id == "" {
		id = carrier.CallID(seed, 0, part)
	}
	ids[id] = struct{}{}
	return id
}

// head reads a message object: a whole answer, or that of message_start.
type head struct {
	r        *llm.Response
	content  []byte
	tokens   []byte // input_tokens, of a count
	stop     stopInfo
	counts   counts
	hasUsage bool
}

func (d *head) read(message []byte) error {
	r := d.r
	for c := dialect.Walk(message); c.Next(); {
		switch name := string(c.Name); name {
		case "id":
			r.ID = str(c.Value)
		case "model":
			r.Model = str(c.Value)
		case "content":
			d.content = c.Value
		case "usage":
			d.hasUsage = d.counts.merge(c.Value) || d.hasUsage
			r.ServiceTier = tierOf(c.Value)
		case "input_tokens":
			d.tokens = c.Value
		case "error":
			if isObject(c.Value) {
				return errorFault(message)
			}
		case "type", "role":
		default:
			if !d.stop.member(name, c.Value) && dialect.Filled(c.Value) {
				r.Extra = append(r.Extra, llm.Member{Name: name, Value: clone(c.Value)})
			}
		}
	}
	return nil
}

// errorFault is the fault of an error object under status 200.
func errorFault(data []byte) *fault.Error {
	r := readError(data)
	r.Status = eventStatus(r.Code)
	f := dialect.Classify(r, nil, data)
	f.Status = 0
	return f
}

func clone(v []byte) llm.Raw { return llm.Raw(append([]byte(nil), v...)) }

func tierOf(usage []byte) string {
	for c := dialect.Walk(usage); c.Next(); {
		if string(c.Name) == "service_tier" {
			return str(c.Value)
		}
	}
	return ""
}

// usageOf is the count in neutral sums that keep llm.Usage's relations.
func usageOf(c *counts) llm.Usage {
	u := c.usage()
	return llm.Inclusive.Usage(llm.Counts{
		Prompt: u.Input, Cached: u.Cached, Write: u.CacheWrite, Write1h: u.CacheWrite1h, Completion: u.Output, Reasoning: u.Reasoning,
	})
}

// stopInfo collects why an answer ended: members of the message, or of message_delta's delta.
type stopInfo struct {
	reason, sequence, note string
	extra                  llm.Extra
}

func (s *stopInfo) member(name string, v []byte) bool {
	switch name {
	case "stop_reason":
		if isText(v) {
			s.reason = str(v)
		}
	case "stop_sequence":
		if isText(v) {
			s.sequence = str(v)
		}
	case "stop_details":
		if isObject(v) {
			for c := dialect.Walk(v); c.Next(); {
				if string(c.Name) == "explanation" {
					s.note = str(c.Value)
				}
			}
			s.extra = llm.Extra{{Name: name, Value: clone(v)}}
		}
	default:
		return false
	}
	return true
}

// stop is the neutral reason; whether there are calls decides, not the vendor's word.
func (s *stopInfo) stop(calls bool) llm.Stop {
	return llm.Stop{
		Reason:   dialect.StopOf(llm.AnthropicMessages, s.reason).Derive(calls),
		Sequence: s.sequence, Native: s.reason, Note: s.note, Extra: s.extra,
	}
}

// answerPart reads one block of an answer. Signatures are not bound to an account (the vendor's guide
// on extended thinking: valid across platforms), opaque blocks may be.
func answerPart(b *block, o dialect.DecodeOptions, part int) (llm.Part, error) {
	p := llm.Part{}
	for _, m := range b.extra {
		p.Extra = append(p.Extra, llm.Member{Name: m.Name, Value: clone(m.Value)})
	}
	switch b.kind {
	case "text":
		p.Text, p.Citations = str(b.text), citations(b.citations, o.Scope)
	case "thinking":
		p.Kind, p.Text = llm.PartThinking, str(b.thinking)
		p.Seal = sealOf(str(b.signature))
	case "redacted_thinking":
		p.Kind, p.Redacted = llm.PartThinking, true
		p.Seal = &llm.Seal{Origin: llm.AnthropicMessages, Data: []byte(str(b.data))}
	case "tool_use":
		p.Kind, p.ID, p.Name = llm.PartCall, str(b.id), str(b.name)
		if p.Name == "" {
			return p, broken("a call has no name")
		}
		if isObject(b.input) {
			p.Text = string(b.input)
		}
		if p.Name == outputTool {
			p = llm.Part{Kind: llm.PartText, Text: p.Args()}
		}
	case "":
		return p, broken("a content block has no type")
	default:
		p = llm.Part{Kind: llm.PartOpaque, Opaque: opaqueOf(b.kind, b.raw, o.Scope)}
	}
	return p, nil
}

func opaqueOf(kind string, raw []byte, scope string) *llm.Opaque {
	return &llm.Opaque{Origin: llm.AnthropicMessages, Scope: scope, Type: kind, JSON: clone(raw)}
}

func sealOf(signature string) *llm.Seal {
	if signature == "" {
		return nil
	}
	return &llm.Seal{Origin: llm.AnthropicMessages, Data: []byte(signature)}
}
