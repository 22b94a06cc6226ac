package llm

// Response is one whole answer.
type Response struct {
	From        Dialect // the provider's
	ID          string  // the provider's id; "" = none
	Model       string  // as the provider names it
	Created     int64   // Unix seconds; 0 = not stated
	Choices     []Choice
	Usage       Usage
	HasUsage    bool
	ServiceTier string
	Extra       Extra
}

// Choice is one of the answers that were asked for; all protocols but two have exactly one. Choices
// stand in the order of their Index, which has no gaps.
type Choice struct {
	Parts    []Part
	Stop     Stop
	Logprobs []Logprob
}

// Stop says why an answer ended.
type Stop struct {
	Reason   StopReason
	Sequence string // the stop sequence that was hit, when the vendor says
	Native   string // the vendor's own word, for logs
	Note     string // the vendor's explanation (refusal details, finishMessage)
	Extra    Extra
}

// StopReason is the neutral reason.
type StopReason uint8

// Reasons (protocols.md 2.2).
const (
	StopUnknown  StopReason = iota // the vendor said nothing that we know
	StopEnd                        // the model was done
	StopSequence                   // a stop sequence was hit
	StopCalls                      // the model waits for tool results
	StopLength                     // token limit or context full
	StopBlocked                    // refused or filtered
	StopPaused                     // the vendor wants to be asked to go on
	StopBroken                     // the model wrote a call that cannot be read
)

// String names r for dumps.
func (r StopReason) String() string { return name(stopNames[:], uint8(r)) }

var stopNames = [...]string{"unknown", "end", "sequence", "calls", "length", "blocked", "paused", "broken"}

// Derive corrects a vendor's reason by the content: whether there are calls decides between end and
// calls, whatever the vendor says (Gemini says STOP, compatible servers say stop; maximhq/bifrost
// #3638, BerriAI/litellm #34692).
func (r StopReason) Derive(calls bool) StopReason {
	switch {
	case calls && (r == StopEnd || r == StopUnknown):
		return StopCalls
	case !calls && (r == StopCalls || r == StopUnknown):
		return StopEnd
	}
	return r
}

// Logprob is one output token with its log probability.
type Logprob struct {
	Token string
	Value float64
	Bytes []byte // UTF-8 of the token where the vendor states it; nil = not stated
	Top   []TopLogprob
}

// TopLogprob is one alternative token.
type TopLogprob struct {
	Token string
	Value float64
	Bytes []byte
}

// Empty reports an answer without content that claims to be complete: a provider failure that was
// dressed as success (QuantumNous/new-api #3275).
func (r *Response) Empty() bool {
	for i := range r.Choices {
		c := &r.Choices[i]
		switch c.Stop.Reason {
		case StopEnd, StopCalls, StopUnknown:
		default:
			return false
		}
		for j := range c.Parts {
			p := &c.Parts[j]
			if p.Kind != PartThinking && (p.Text != "" || !p.Kind.Streams() || p.Kind == PartCall) {
				return false
			}
		}
	}
	return true
}

// HasCalls reports whether ps holds a call.
func HasCalls(ps []Part) bool {
	for i := range ps {
		if ps[i].Kind == PartCall {
			return true
		}
	}
	return false
}
