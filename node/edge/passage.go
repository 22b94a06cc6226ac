package edge

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/causeway-mesh/causeway/node/passage"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/form"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// parsePassage finds the operation of a path around generation.
func parsePassage(path string, hint llm.Dialect, h http.Header) (operation, bool) {
	p, id := passage.Find(path, hint, h)
	if p == nil {
		return operation{}, false
	}
	o := operation{dialect: p.Dialect, op: p.Op, methods: p.Methods, pass: p, path: p.Upstream(path)}
	if p.Op == llm.OpStored && strings.HasPrefix(p.Pattern, "/v1/responses/") {
		o.response = id
	}
	return o, true
}

// peekHead reads the head of whatever body the operation has. What is stored is not looked into, but
// for the model of a cache.
func (x *exchange) peekHead() (dialect.Head, error) {
	if x.op.op == llm.OpStored {
		h := dialect.Head{Choices: 1, BodyLen: len(x.body)}
		if x.op.response != "" {
			var err error
			if h.Stream, err = streamQuery(x.r.URL.RawQuery); err != nil {
				return h, err
			}
		}
		if !x.op.pass.Model || x.r.Method != http.MethodPost {
			return h, nil
		}
		var at [1]splice.Span
		err := dialect.Pick(x.body, []string{"model"}, at[:])
		if err == nil {
			h.ModelSpan = at[0]
			h.Model, err = dialect.Text(at[0].Of(x.body), "model")
		}
		h.Model = strings.TrimPrefix(h.Model, "models/")
		if err == nil && h.Model == "" {
			err = fault.New(fault.Malformed, "model: missing; name one of the models that GET /v1beta/models lists")
		}
		return h, err
	}
	if types := x.r.Header.Values("Content-Type"); x.op.pass != nil && len(types) > 0 && form.Is(types[0]) {
		if len(types) > 1 {
			return dialect.Head{}, fault.New(fault.Malformed, "content-type is given twice")
		}
		return openai.PeekForm(x.op.op, types[0], x.body)
	}
	return x.front.Peek(x.op.op, x.body)
}

// streamQuery reads ?stream= of a stored response. What a provider could read in another way than this
// edge, such as True or 1, is refused: ids stand elsewhere in the events of a stream than in a whole answer.
func streamQuery(raw string) (bool, error) {
	q, err := url.ParseQuery(raw)
	f := fault.New(fault.Malformed, "stream: give it once in the query, as true or false")
	f.Param = "stream"
	if err != nil {
		f.Message = "the query of this address cannot be read: escape what is not a letter or digit in its values"
		f.Param = ""
		return false, f
	}
	switch values := q["stream"]; {
	case len(values) == 0:
		return false, nil
	case len(values) > 1:
	case values[0] == "true":
		return true, nil
	case values[0] == "false":
		return false, nil
	}
	return false, f
}

// readAsJSON reports whether the head was read from a JSON body.
func (x *exchange) readAsJSON() bool {
	return !x.head.Form && (x.op.op != llm.OpStored || x.head.ModelSpan != splice.Span{})
}

// repeats reports whether an attempt may be made again after f. What stores or starts something is
// asked for once, unless it is certain that nothing was done.
func (x *exchange) repeats(f *fault.Error) bool {
	if x.op.op != llm.OpStored || x.r.Method == http.MethodGet || f.Phase == fault.NotSent {
		return true
	}
	switch f.Kind {
	case fault.UpstreamRate, fault.UpstreamAuth, fault.UpstreamQuota:
		return true
	}
	return false
}
