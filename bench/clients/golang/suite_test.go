package golang

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// client is one SDK. What it cannot do it refuses with notApplicable.
type client[T any] interface {
	about() about
	ask(ctx context.Context, r *request[T]) (*answer[T], error)
	count(ctx context.Context, r *request[T]) (int64, error)
	embed(ctx context.Context, r *request[T], texts []string) ([][]float64, error)
	failure(err error) failure
}

type about struct{ name, module, family string }

// failure is what a program learns from an SDK's error.
type failure struct {
	class  string
	status int
	said   string // the provider's or the relay's own words
}

// notApplicable says why a client cannot do what a scenario asks.
type notApplicable string

func (n notApplicable) Error() string { return string(n) }

// suite is the run of all clients against one mesh.
type suite struct {
	spec spec
	plan plan

	mu  sync.Mutex
	out *os.File
}

func open(path string) (*suite, error) {
	p, err := read[plan](path)
	if err != nil {
		return nil, err
	}
	sp, err := read[spec]("../scenarios.json")
	if err != nil {
		return nil, err
	}
	out, err := os.Create(p.Out)
	if err != nil {
		return nil, err
	}
	return &suite{spec: sp, plan: p, out: out}, nil
}

func (s *suite) close() error { return s.out.Close() }

// cell is a line for the matrix program.
type cell struct {
	Client   string `json:"client"`
	Package  string `json:"package"`
	Provider string `json:"provider"`
	Scenario string `json:"scenario"`
	Status   string `json:"status"`
	Reason   string `json:"reason,omitempty"`
}

func (s *suite) record(c cell) error {
	c.Reason, _, _ = strings.Cut(c.Reason, "\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.NewEncoder(s.out).Encode(c)
}

// runAll runs all of the client's scenarios and returns when they have ended.
func runAll[T any](t *testing.T, s *suite, c client[T]) {
	t.Run(c.about().name, func(t *testing.T) {
		for i := range s.spec.Scenarios {
			sc := &s.spec.Scenarios[i]
			t.Run(sc.Name, func(t *testing.T) {
				t.Parallel()
				row(t, s, c, sc)
			})
		}
	})
}

// row runs one scenario with each provider and compares it with the direct call.
func row[T any](t *testing.T, s *suite, c client[T], sc *scenario) {
	a := c.about()
	report := func(dialect, status, reason string) {
		if err := s.record(cell{a.name, a.module, dialect, sc.Name, status, reason}); err != nil {
			t.Error(err)
		}
		if status == "fail" {
			t.Errorf("%s: %s", dialect, reason)
		}
	}
	want, err := run(t.Context(), s, c, sc, end{base: s.plan.Fake, key: "fake-provider-key"})
	if err != nil {
		why := err.Error()
		if _, na := errors.AsType[notApplicable](err); !na {
			why = "fails at the provider itself: " + why
		}
		for _, d := range s.plan.Dialects {
			report(d, "n/a", why)
		}
		return
	}
	for _, d := range s.plan.Dialects {
		got, err := run(t.Context(), s, c, sc, end{d, s.plan.Edge, s.plan.Key})
		if err == nil && !reflect.DeepEqual(got, want) {
			err = differ("via the relay", got, want)
		}
		switch _, na := errors.AsType[notApplicable](err); {
		case err == nil:
			report(d, "pass", "")
		case na:
			report(d, "n/a", err.Error())
		default:
			said := c.failure(err).said
			if strings.Contains(said, "unsupported_conversion") {
				report(d, "n/a", said)
				break
			}
			report(d, "fail", strings.TrimSpace(err.Error()+" "+said))
		}
	}
}
