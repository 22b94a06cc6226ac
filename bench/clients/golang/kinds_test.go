package golang

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// meaning is what an answer means, whatever its protocol: what two ways to the same answer are
// compared by. What does not matter in a scenario is left out.
type meaning struct {
	Finish   string            `json:"finish,omitempty"`
	Second   string            `json:"second,omitempty"` // how the answer to the tools' results ended
	Text     string            `json:"text,omitempty"`
	Contains bool              `json:"contains,omitempty"`
	Calls    []call            `json:"calls,omitempty"`
	JSON     any               `json:"json,omitempty"`
	Out      int64             `json:"out,omitempty"`
	Counted  bool              `json:"counted,omitempty"`
	Thought  bool              `json:"thought,omitempty"`
	Streamed bool              `json:"streamed,omitempty"`
	Read     bool              `json:"read,omitempty"`
	Did      string            `json:"did,omitempty"`     // of what is not a conversation
	Refused  map[string]string `json:"refused,omitempty"` // the error's class by refusal
}

func differ(what string, got, want any) error {
	g, err := json.Marshal(got)
	if err != nil {
		return err
	}
	w, err := json.Marshal(want)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: got %s, want %s", what, g, w)
}

func same(what string, got, want any) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return differ(what, got, want)
}

func meaningOf[T any](a *answer[T], sc *scenario) (m meaning, err error) {
	m = meaning{Finish: a.finish, Counted: a.in > 0, Out: a.out}
	switch {
	case sc.Calls != nil:
		for _, c := range a.calls {
			m.Calls = append(m.Calls, call{Name: c.Name, Args: c.Args})
		}
	case sc.JSON != nil:
		if err := json.Unmarshal([]byte(a.text), &m.JSON); err != nil {
			return m, err
		}
	case sc.Contains != "":
		m.Contains, m.Out = strings.Contains(a.text, sc.Contains), 0
	default:
		m.Text = a.text
	}
	if sc.Stop != nil {
		m.Out = 0 // where the relay stops, the provider wrote on, and counts it
	}
	m.Thought = sc.Think && (a.thinking != "" || a.reasoning > 0)
	m.Streamed = sc.Stream && sc.Calls == nil && a.chunks > 1 // calls may come whole
	m.Read = sc.AtLeast > 0 && a.in >= sc.AtLeast
	return m, nil
}

// expected holds the direct call too to what the answer must mean.
func expected(m meaning, sc *scenario) error {
	finish := "stop"
	if sc.Calls != nil {
		finish = "tool_calls"
	}
	return errors.Join(
		same("calls", m.Calls, sc.Calls),
		same("json", m.JSON, sc.JSON),
		same("text", m.Text, sc.Text),
		same("contains", m.Contains, sc.Contains != ""),
		same("thought", m.Thought, sc.Think),
		same("streamed", m.Streamed, sc.Stream && sc.Calls == nil),
		same("read", m.Read, sc.AtLeast > 0),
		same("finish", m.Finish, finish),
		same("counted", m.Counted, true),
	)
}

func run[T any](ctx context.Context, s *suite, c client[T], sc *scenario, e end) (meaning, error) {
	r := newRequest[T](s, c.about().family, sc, e)
	switch sc.Name {
	case "error":
		return failing(ctx, s, c, sc, e)
	case "abort":
		return aborted(ctx, c, sc, r)
	case "count":
		n, err := c.count(ctx, r)
		if err == nil && (n <= 3 || n >= 60) {
			err = fmt.Errorf("%d tokens", n)
		}
		return meaning{Did: "counted"}, err
	case "embed":
		r.model = e.model(s.spec.Families[c.about().family].Embed)
		vectors, err := c.embed(ctx, r, sc.Texts)
		if err != nil {
			return meaning{}, err
		}
		return meaning{Did: "embedded"}, unit(vectors, len(sc.Texts))
	}
	return conversation(ctx, c, sc, e, r)
}

func conversation[T any](ctx context.Context, c client[T], sc *scenario, e end, r *request[T]) (m meaning, err error) {
	first, err := c.ask(ctx, r)
	if err != nil {
		return m, err
	}
	if sc.Think && e.dialect == "openai-chat" && first.reasoning < 0 {
		return m, notApplicable("Chat Completions counts thinking without showing it, and this client does not tell the count")
	}
	if m, err = meaningOf(first, sc); err != nil {
		return m, err
	}
	if err := expected(m, sc); err != nil || sc.Results == nil {
		return m, err
	}
	back := turn[T]{said: first.turn}
	for i, call := range first.calls {
		back.results = append(back.results, result{call.ID, call.Name, sc.Results[i]})
	}
	r.turns = append(r.turns, back)
	second, err := c.ask(ctx, r)
	if err != nil {
		return m, fmt.Errorf("with the results: %w", err)
	}
	for _, text := range sc.Results {
		if !strings.Contains(second.text, text) {
			return m, fmt.Errorf("%q lacks %q", second.text, text)
		}
	}
	m.Second = second.finish
	return m, nil
}

// failing: the provider's refusals must come as the same errors when the relay gives them.
func failing[T any](ctx context.Context, s *suite, c client[T], sc *scenario, e end) (meaning, error) {
	m := meaning{Refused: map[string]string{}}
	for _, f := range sc.Failures {
		r := newRequest[T](s, c.about().family, sc, e)
		switch {
		case e.direct():
			r.model = f.Direct
		case f.Model != "":
			r.model = e.model(f.Model)
		default:
			r.key = s.plan.key(f.Key)
		}
		var err error
		for tries := 0; tries < 3 && err == nil; tries++ { // a limit lets the first through
			_, err = c.ask(ctx, r)
		}
		if err == nil {
			return m, fmt.Errorf("%s was answered", f.Direct)
		}
		got := c.failure(err)
		if !e.direct() && got.status != f.Status {
			return m, fmt.Errorf("%s: status %d, want %d: %w", f.Direct, got.status, f.Status, err)
		}
		m.Refused[f.Direct] = got.class
		if f.Except == c.about().family { // Google itself refuses a key with 400
			m.Refused[f.Direct] = "refused"
		}
	}
	return m, nil
}

func aborted[T any](ctx context.Context, c client[T], sc *scenario, r *request[T]) (meaning, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	chunks := 0
	r.chunk = func() {
		if chunks++; chunks == sc.Abort {
			cancel()
		}
	}
	_, err := c.ask(ctx, r)
	if !errors.Is(err, context.Canceled) {
		return meaning{}, fmt.Errorf("after %d chunks: %w", chunks, err)
	}
	if chunks < sc.Abort || chunks >= 100 {
		return meaning{}, fmt.Errorf("%d chunks of 400 came", chunks)
	}
	return meaning{Did: "aborted"}, nil
}

// unit checks n vectors of length one.
func unit(vectors [][]float64, n int) error {
	if len(vectors) != n {
		return fmt.Errorf("%d vectors, want %d", len(vectors), n)
	}
	for _, v := range vectors {
		sum := 0.0
		for _, x := range v {
			sum += x * x
		}
		if len(v) < 256 || math.Abs(math.Sqrt(sum)-1) >= 0.01 {
			return fmt.Errorf("%d dimensions of length %v", len(v), math.Sqrt(sum))
		}
	}
	return nil
}
