// Package convtest is the test harness of conversions: golden files of every client and provider
// pair from one corpus, properties that every codec must keep, and generators of canonical requests
// and answers. Only tests import it.
package convtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// Codec is one dialect under test. A half that is nil is left out.
type Codec struct {
	Dialect  llm.Dialect
	Frontend dialect.Frontend // for Peek; nil = a zero Head
	Client   dialect.ClientCodec
	Provider dialect.ProviderCodec
}

// RequestID is the request id that the harness gives to codecs.
const RequestID = "req_convtest"

// Created is the time that the harness gives to codecs, in Unix seconds.
const Created = 1795000000

// DecodeRequest peeks, decodes and checks body, as the edge does.
func DecodeRequest(c Codec, op llm.Op, body []byte) (*llm.Request, error) {
	var h dialect.Head
	if c.Frontend != nil {
		var err error
		if h, err = c.Frontend.Peek(op, body); err != nil {
			return nil, err
		}
	}
	r, err := c.Client.DecodeRequest(op, body, h)
	if err != nil {
		return nil, err
	}
	if err := dialect.Check(r); err != nil {
		return nil, err
	}
	if r.From != c.Dialect || r.Op != op {
		return nil, fmt.Errorf("decoded request says %s %s, want %s %s", r.From, r.Op, c.Dialect, op)
	}
	return r, nil
}

// DecodeStream reads a provider's whole SSE stream, cut into chunks at the given offsets. The events
// are checked against the grammar; the error is a breach of it.
func DecodeStream(p dialect.ProviderCodec, stream []byte, cuts ...int) ([]llm.Event, error) {
	d := p.NewEventDecoder(dialect.DecodeOptions{Op: llm.OpGenerate, ID: RequestID})
	s := sse.NewScanner(0)
	var events []llm.Event
	drain := func() {
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			events = d.Push(events, e.Name, e.Data)
		}
	}
	from := 0
	for _, to := range append(cuts, len(stream)) {
		// A copy that is destroyed afterwards: an event that aliases it is found out.
		chunk := append([]byte(nil), stream[from:to]...)
		s.Feed(chunk)
		drain()
		clear(chunk)
		from = to
	}
	if e, ok := s.End(); ok {
		events = d.Push(events, e.Name, e.Data)
	}
	if err := s.Err(); err != nil {
		return events, err
	}
	events = d.End(events)
	if n := len(events); len(d.End(events)) != n {
		return events, errors.New("a second End appends events")
	}
	return events, Legal(events)
}

// Legal checks events against the grammar.
func Legal(events []llm.Event) error {
	var v llm.Validator
	for i := range events {
		if err := v.Push(&events[i]); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
		if err := events[i].Err; events[i].Kind == llm.EventError {
			if _, ok := errors.AsType[*fault.Error](err); !ok {
				return fmt.Errorf("event %d: the error is no fault: %w", i, err)
			}
		}
	}
	return v.End()
}

// EncodeStream writes events for a client; o.Request may be nil.
func EncodeStream(c dialect.ClientCodec, o dialect.AnswerOptions, events []llm.Event) ([]byte, []llm.Loss, error) {
	e := c.NewEventEncoder(o)
	var out []byte
	for i := range events {
		var err error
		if out, err = e.Append(out, &events[i]); err != nil {
			return out, e.Losses(), err
		}
	}
	out, err := e.Close(out)
	return out, e.Losses(), err
}

// Answer gives the options with which the harness answers a client of dialect d that sent r, or
// nothing particular when r is nil.
func Answer(d llm.Dialect, r *llm.Request) dialect.AnswerOptions {
	if r == nil {
		r = &llm.Request{From: d, Op: llm.OpGenerate, Model: "m", Stream: true, IncludeUsage: true}
	}
	return dialect.AnswerOptions{Request: r, ID: RequestID, Model: "m", Created: Created}
}

// EverySplit checks that a stream gives the same legal events whole, byte by byte, and cut in two at
// every offset (at 512 evenly spread offsets of a longer one). It returns the events.
func EverySplit(t testing.TB, p dialect.ProviderCodec, stream []byte) []llm.Event {
	t.Helper()
	want, err := DecodeStream(p, stream)
	if err != nil {
		t.Fatalf("whole: %v", err)
	}
	step := max(1, len(stream)/512)
	var each []int
	for i := 1; i < len(stream); i++ {
		each = append(each, i)
	}
	check := func(what string, cuts ...int) {
		t.Helper()
		got, err := DecodeStream(p, stream, cuts...)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if d := cmp.Diff(want, got, eventOptions); d != "" {
			t.Fatalf("%s: other events (-whole +cut):\n%s", what, d)
		}
	}
	check("byte by byte", each...)
	for at := 1; at < len(stream); at += step {
		check(fmt.Sprintf("cut at %d", at), at)
	}
	return want
}

// Truncated checks that every proper prefix of a stream that misses the regular end gives legal events
// that end in an EventError, and that the prefix that has it does not. end is where the regular end is
// complete; 0 = only at the end of the stream.
func Truncated(t testing.TB, p dialect.ProviderCodec, stream []byte, end int) {
	t.Helper()
	if end == 0 {
		end = len(stream)
	}
	step := max(1, len(stream)/1024)
	for at := 0; at < end; at += step {
		events, err := DecodeStream(p, stream[:at])
		if err != nil {
			t.Fatalf("cut off at %d: %v", at, err)
		}
		if n := len(events); n == 0 || events[n-1].Kind != llm.EventError {
			// White space after the last frame is not part of the end.
			if len(sseTrim(stream[at:end])) > 0 {
				t.Fatalf("cut off at %d: no error event after %d events", at, n)
			}
		}
	}
}

func sseTrim(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// StreamEqualsUnary checks that a provider's stream and whole answer of the same content decode to
// the same Response, but for ids, times and what only one form has room for.
func StreamEqualsUnary(t testing.TB, p dialect.ProviderCodec, unary, stream []byte) {
	t.Helper()
	whole, err := p.DecodeResponse(llm.OpGenerate, unary, dialect.DecodeOptions{Op: llm.OpGenerate, ID: RequestID})
	if err != nil {
		t.Fatalf("unary: %v", err)
	}
	events, err := DecodeStream(p, stream)
	if err != nil {
		t.Fatalf("stream: %v", err)
	}
	folded, err := llm.Collect(events)
	if err != nil {
		t.Fatalf("stream: %v", err)
	}
	if d := DiffAnswers(whole, folded); d != "" {
		t.Errorf("stream and unary differ (-unary +stream):\n%s", d)
	}
}

// RoundTripRequest checks that what c's provider half writes, c's client half reads as the same.
func RoundTripRequest(t testing.TB, c Codec, r *llm.Request, o dialect.EncodeOptions) {
	t.Helper()
	enc, err := c.Provider.EncodeRequest(r, o)
	if err != nil {
		t.Fatalf("encode: %v %q", err, fault.As(err).Fields)
	}
	got, err := DecodeRequest(c, r.Op, enc.Body.Bytes())
	if err != nil {
		t.Fatalf("decode: %v\n%s", err, enc.Body.Bytes())
	}
	if d := DiffRequests(r, got); d != "" {
		t.Errorf("request changed (-want +got):\n%s\nlosses %v\n%s", d, enc.Losses, enc.Body.Bytes())
	}
}

// RoundTripResponse is RoundTripRequest for whole answers.
func RoundTripResponse(t testing.TB, c Codec, r *llm.Response) {
	t.Helper()
	body, losses, err := c.Client.EncodeResponse(r, Answer(c.Dialect, nil))
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	got, err := c.Provider.DecodeResponse(llm.OpGenerate, body, dialect.DecodeOptions{Op: llm.OpGenerate, ID: RequestID})
	if err != nil {
		t.Fatalf("decode: %v\n%s", err, body)
	}
	if d := DiffAnswers(r, got); d != "" {
		t.Errorf("answer changed (-want +got):\n%s\nlosses %v\n%s", d, losses, body)
	}
}

// RoundTripEvents writes a legal stream with c's client half, reads it back with c's provider half,
// and compares the answers that both streams describe.
func RoundTripEvents(t testing.TB, c Codec, events []llm.Event) {
	t.Helper()
	want, err := llm.Collect(events)
	if err != nil {
		t.Fatalf("events are illegal: %v", err)
	}
	out, losses, err := EncodeStream(c.Client, Answer(c.Dialect, nil), events)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	back, err := DecodeStream(c.Provider, out)
	if err != nil {
		t.Fatalf("decode: %v\n%s", err, out)
	}
	got, err := llm.Collect(back)
	if err != nil {
		t.Fatalf("decode: %v\n%s", err, out)
	}
	if d := DiffAnswers(want, got); d != "" {
		t.Errorf("stream changed (-want +got):\n%s\nlosses %v\n%s", d, losses, out)
	}
}

var (
	rawJSON = cmp.FilterValues(
		func(a, b llm.Raw) bool { return len(a) > 0 || len(b) > 0 }, // the empty ones are EquateEmpty's
		cmp.Comparer(func(a, b llm.Raw) bool { return compact(a) == compact(b) }))
	faults = cmp.Comparer(func(a, b error) bool {
		if a == nil || b == nil {
			return a == b
		}
		return fault.As(a).Kind == fault.As(b).Kind && a.Error() == b.Error()
	})
	base         = cmp.Options{rawJSON, cmpopts.EquateEmpty()}
	eventOptions = cmp.Options{base, faults}
)

func compact(v llm.Raw) string {
	c := jsontext.Value(append([]byte(nil), v...))
	if c.Canonicalize() != nil {
		return string(v)
	}
	return string(c)
}

// DiffRequests compares the meaning of two requests: places in the body and the dialect do not count,
// nor white space in the arguments of calls, which providers that take objects cannot keep, nor the order
// of results, which calls determine, nor how the text of a result or the turns of one side are divided.
func DiffRequests(a, b *llm.Request) string {
	return cmp.Diff(plainRequest(a), plainRequest(b), base,
		cmpopts.IgnoreFields(llm.Request{}, "From", "Model", "Stream", "IncludeUsage"),
		cmpopts.IgnoreFields(llm.Message{}, "At"),
		cmpopts.IgnoreFields(llm.Tool{}, "At"),
		cmpopts.IgnoreFields(llm.Format{}, "At"))
}

// DiffAnswers compares the meaning of two answers: ids, times, dialects, unknown members and the
// vendor's own words do not count.
func DiffAnswers(a, b *llm.Response) string {
	return cmp.Diff(plainResponse(a), plainResponse(b), base,
		cmpopts.IgnoreFields(llm.Response{}, "From", "ID", "Model", "Created", "ServiceTier", "Extra"),
		cmpopts.IgnoreFields(llm.Stop{}, "Native", "Note", "Extra"))
}

func plainRequest(r *llm.Request) *llm.Request {
	c := *r
	c.Messages = oneTurn(r.Messages)
	for i := range c.Messages {
		c.Messages[i].Parts = plainParts(c.Messages[i].Parts)
		if c.Messages[i].Role == llm.RoleTool {
			slices.SortStableFunc(c.Messages[i].Parts, func(a, b llm.Part) int { return strings.Compare(a.ID, b.ID) })
		}
	}
	return &c
}

// oneTurn joins what a side says in a row, and leaves out messages that say nothing.
func oneTurn(ms []llm.Message) []llm.Message {
	var out []llm.Message
	for _, m := range ms {
		n := len(out) - 1
		switch {
		case len(m.Parts)+len(m.Extra) == 0:
		case n >= 0 && m.Role == out[n].Role && m.Name == out[n].Name && (m.Role == llm.RoleUser || m.Role == llm.RoleAssistant):
			out[n].Parts = slices.Concat(out[n].Parts, m.Parts)
			out[n].Extra = slices.Concat(out[n].Extra, m.Extra)
		default:
			out = append(out, m)
		}
	}
	return out
}

// oneText joins the texts of a result.
func oneText(ps []llm.Part) []llm.Part {
	var out []llm.Part
	for _, p := range ps {
		if n := len(out) - 1; n >= 0 && p.Kind == llm.PartText && out[n].Kind == llm.PartText {
			out[n].Text += "\n" + p.Text
			continue
		}
		out = append(out, p)
	}
	return out
}

func plainResponse(r *llm.Response) *llm.Response {
	c := *r
	c.Choices = slices.Clone(r.Choices)
	for i := range c.Choices {
		c.Choices[i].Parts = plainParts(c.Choices[i].Parts)
	}
	return &c
}

func plainParts(ps []llm.Part) []llm.Part {
	ps = slices.Clone(ps)
	for i := range ps {
		p := &ps[i]
		p.At = ""
		p.Content = oneText(plainParts(p.Content))
		if p.Kind == llm.PartCall && !p.Custom {
			p.Text = compact(llm.Raw(p.Args()))
		}
	}
	return ps
}
