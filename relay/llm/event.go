package llm

// EventKind is what happens in a streamed answer.
type EventKind uint8

// Kinds of events; the comment names the fields that are used.
const (
	EventStart     EventKind = iota + 1 // Start; Usage when known so early
	EventPartStart                      // Choice, Index, Part
	EventDelta                          // Choice, Index, Text, Logprobs
	EventPartEnd                        // Choice, Index; Part with what was learned late, or nil
	EventUsage                          // Usage
	EventStop                           // Choice, Stop
	EventError                          // Err
)

// String names k for dumps.
func (k EventKind) String() string { return name(eventNames[:], uint8(k)) }

var eventNames = [...]string{"none", "start", "part_start", "delta", "part_end", "usage", "stop", "error"}

// Event is one step of a streamed answer. The grammar, which Validator checks:
//
//  1. The first event is EventStart, and there is only one. EventError alone may come before it.
//  2. Parts of a choice are numbered 0, 1, 2... in the order in which they start.
//  3. At most one part that is not a call is open in a choice. Calls may be open beside it and beside
//     each other, and their deltas may interleave (Sequencer undoes that for encoders whose protocol
//     forbids it).
//  4. Text, thinking, refusals and calls start with empty Text and grow by deltas; a delta is never
//     empty and belongs to an open part. All other parts come whole with EventPartStart and have no
//     delta. Results are not part of an answer.
//  5. A call has its ID and Name from its start on; no two calls of a choice have the same ID.
//  6. A Seal comes with EventPartStart where it is known by then, else with EventPartEnd, never with
//     both. So do Opaque and Extra. Citations come with EventPartEnd. EventPartEnd's Part has nothing
//     else (its Kind is ignored). Redacted thinking has its Seal at the start and no deltas.
//  7. EventUsage is cumulative: each one replaces the one before, no count shrinks, and the relations
//     of Usage hold. It may come anywhere between start and the end, also after the last stop.
//  8. EventStop comes once for each choice that has begun, and at least for choice 0, when no part of
//     it is open; after it comes nothing of that choice. Its reason agrees with StopReason.Derive
//     and is never StopUnknown.
//  9. EventError ends the stream at once, whatever is open. Otherwise the stream ends when every
//     choice has stopped. Nothing comes after the end.
//
// What a decoder cannot place in an event it keeps for Start.Extra or Stop.Extra.
type Event struct {
	Kind     EventKind
	Choice   int
	Index    int
	Text     string
	Part     *Part
	Start    *Start
	Usage    Usage
	Stop     Stop
	Logprobs []Logprob
	Err      error // a *fault.Error; the caller's fault.As gives it
}

// Start opens an answer: the head of a Response.
type Start struct {
	From        Dialect
	ID          string
	Model       string
	Created     int64
	ServiceTier string
	Extra       Extra
}

// Events appends r as a stream: one delta a part.
func (r *Response) Events(dst []Event) []Event {
	dst = append(dst, Event{Kind: EventStart, Start: &Start{
		From: r.From, ID: r.ID, Model: r.Model, Created: r.Created, ServiceTier: r.ServiceTier, Extra: r.Extra,
	}})
	for c := range r.Choices {
		ch := &r.Choices[c]
		logprobs := ch.Logprobs
		for i := range ch.Parts {
			p := ch.Parts[i]
			text, citations := p.Text, p.Citations
			p.Citations = nil
			if p.Kind.Streams() {
				p.Text = ""
			}
			dst = append(dst, Event{Kind: EventPartStart, Choice: c, Index: i, Part: &p})
			if p.Kind.Streams() && text != "" {
				e := Event{Kind: EventDelta, Choice: c, Index: i, Text: text}
				if p.Kind == PartText {
					e.Logprobs, logprobs = logprobs, nil
				}
				dst = append(dst, e)
			}
			end := Event{Kind: EventPartEnd, Choice: c, Index: i}
			if citations != nil {
				end.Part = &Part{Citations: citations}
			}
			dst = append(dst, end)
		}
		dst = append(dst, Event{Kind: EventStop, Choice: c, Stop: ch.Stop})
	}
	if r.HasUsage {
		dst = append(dst, Event{Kind: EventUsage, Usage: r.Usage})
	}
	return dst
}
