package golang

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// spec is scenarios.json: what every language's clients are asked.
type spec struct {
	Families map[string]struct {
		Model, Embed string
	}
	Reasoning map[string]string
	System    string
	Image     string
	Tools     []tool
	Schema    schema
	Scenarios []scenario
}

type tool struct {
	Name, Description string
	Parameters        struct {
		Type                 string         `json:"type"`
		Properties           map[string]any `json:"properties"`
		Required             []string       `json:"required"`
		AdditionalProperties bool           `json:"additionalProperties"`
	}
}

// object is the tool's parameters as the SDKs without a type for them take them.
func (t tool) object() map[string]any {
	p := t.Parameters
	return map[string]any{"type": p.Type, "properties": p.Properties, "required": p.Required, "additionalProperties": p.AdditionalProperties}
}

type schema struct {
	Name   string
	Schema map[string]any
}

type scenario struct {
	Name                         string
	User                         string
	Repeat                       string
	Times                        int
	Stream, Image, Schema, Think bool
	Tools                        int
	Stop                         []string
	Text, Contains               string
	JSON                         any
	Calls                        []call
	Results                      []string
	Failures                     []refusal
	Abort                        int
	AtLeast                      int64
	Texts                        []string
}

// refusal is one way to be refused: Direct is the model that makes the fake provider do it.
type refusal struct {
	Direct, Key, Model, Except string
	Status                     int
}

// plan is what the matrix program tells a suite, in the file that CAUSEWAY_CLIENTS names.
type plan struct {
	Edge, Key, Limited, Wrong, Fake, Out string
	Dialects                             []string
}

// key is one of the keys that are refused.
func (p plan) key(name string) string {
	return map[string]string{"limited": p.Limited, "wrong": p.Wrong}[name]
}

func read[T any](path string) (v T, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// end is where a request goes: the provider itself (no dialect), or one behind the relay.
type end struct {
	dialect, base, key string
}

func (e end) direct() bool { return e.dialect == "" }

func (e end) model(name string) string {
	if e.direct() {
		return name
	}
	return name + "-via-" + e.dialect
}

// request is what a client is to ask. T is how its SDK holds the assistant's turn.
type request[T any] struct {
	base, key, model string
	system, user     string
	image            string // PNG in base64
	turns            []turn[T]
	tools            []tool
	schema           *schema
	think, stream    bool
	stop             []string
	max              int64
	chunk            func() // for each piece of a stream's answer
}

// turn is an earlier answer and what its calls gave.
type turn[T any] struct {
	said    T
	results []result
}

type result struct{ id, name, text string }

type answer[T any] struct {
	text, thinking string
	calls          []call
	finish         string
	in, out        int64
	reasoning      int64 // -1: the client does not tell it
	chunks         int
	turn           T
}

type call struct {
	ID   string `json:"-"`
	Name string `json:"name"`
	Args any    `json:"args"`
}

func newRequest[T any](s *suite, family string, sc *scenario, e end) *request[T] {
	model := s.spec.Families[family].Model
	if sc.Think {
		model = s.spec.Reasoning[family]
	}
	r := &request[T]{
		base: e.base, key: e.key, model: e.model(model), system: s.spec.System, user: strings.Repeat(sc.Repeat, sc.Times) + sc.User,
		tools: s.spec.Tools[:sc.Tools], think: sc.Think, stream: sc.Stream, stop: sc.Stop, max: 4000, chunk: func() {},
	}
	if sc.Image {
		r.image = s.spec.Image
	}
	if sc.Schema {
		r.schema = &s.spec.Schema
	}
	return r
}
