package edge

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/openai"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/form"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// passage is an operation that goes through under policy and limits, and is never converted.
type passage struct {
	dialect llm.Dialect
	pattern string // as in metrics; {id} stands for one path segment, or the part of one before a colon
	methods string
	op      llm.Op
	traits
}

// traits are what sets a passage apart.
type traits struct {
	live   bool // the answer is of use from its first byte: it is not held back for a failover
	batch  bool // POST starts a batch
	links  bool // answers hold addresses of the vendor that clients follow
	upload bool // Google's resumable uploads
	model  bool // POST names a model in its JSON body
}

// passages lists them all; what is not here is a 404. Of two patterns that fit the first one counts.
var passages = [...]passage{
	{llm.OpenAIChat, "/v1/completions", "POST", llm.OpComplete, traits{}},
	{llm.OpenAIChat, "/v1/moderations", "POST", llm.OpModerate, traits{}},
	{llm.OpenAIChat, "/v1/images/generations", "POST", llm.OpImage, traits{}},
	{llm.OpenAIChat, "/v1/images/edits", "POST", llm.OpImage, traits{}},
	{llm.OpenAIChat, "/v1/images/variations", "POST", llm.OpImage, traits{}},
	{llm.OpenAIChat, "/v1/audio/speech", "POST", llm.OpSpeech, traits{live: true}},
	{llm.OpenAIChat, "/v1/audio/transcriptions", "POST", llm.OpTranscribe, traits{}},
	{llm.OpenAIChat, "/v1/audio/translations", "POST", llm.OpTranscribe, traits{}},
	{llm.OpenAIResponses, "/v1/responses/compact", "POST", llm.OpCompact, traits{}},

	{llm.OpenAIResponses, "/v1/responses/{id}", "GET, DELETE", llm.OpStored, traits{}},
	{llm.OpenAIResponses, "/v1/responses/{id}/cancel", "POST", llm.OpStored, traits{}},
	{llm.OpenAIResponses, "/v1/responses/{id}/input_items", "GET", llm.OpStored, traits{}},
	{llm.OpenAIResponses, "/v1/conversations", "POST", llm.OpStored, traits{}},
	{llm.OpenAIResponses, "/v1/conversations/{id}", "GET, POST, DELETE", llm.OpStored, traits{}},
	{llm.OpenAIResponses, "/v1/conversations/{id}/items", "GET, POST", llm.OpStored, traits{}},
	{llm.OpenAIResponses, "/v1/conversations/{id}/items/{id}", "GET, DELETE", llm.OpStored, traits{}},

	{llm.AnthropicMessages, "/v1/files", "GET, POST", llm.OpStored, traits{}},
	{llm.AnthropicMessages, "/v1/files/{id}", "GET, DELETE", llm.OpStored, traits{}},
	{llm.AnthropicMessages, "/v1/files/{id}/content", "GET", llm.OpStored, traits{live: true}},
	{llm.AnthropicMessages, "/v1/messages/batches", "GET, POST", llm.OpStored, traits{batch: true, links: true}},
	{llm.AnthropicMessages, "/v1/messages/batches/{id}", "GET, DELETE", llm.OpStored, traits{links: true}},
	{llm.AnthropicMessages, "/v1/messages/batches/{id}/results", "GET", llm.OpStored, traits{live: true}},
	{llm.AnthropicMessages, "/v1/messages/batches/{id}/cancel", "POST", llm.OpStored, traits{links: true}},

	{llm.OpenAIChat, "/v1/files", "GET, POST", llm.OpStored, traits{}},
	{llm.OpenAIChat, "/v1/files/{id}", "GET, DELETE", llm.OpStored, traits{}},
	{llm.OpenAIChat, "/v1/files/{id}/content", "GET", llm.OpStored, traits{live: true}},
	{llm.OpenAIChat, "/v1/uploads", "POST", llm.OpStored, traits{}},
	{llm.OpenAIChat, "/v1/uploads/{id}/parts", "POST", llm.OpStored, traits{}},
	{llm.OpenAIChat, "/v1/uploads/{id}/complete", "POST", llm.OpStored, traits{}},
	{llm.OpenAIChat, "/v1/uploads/{id}/cancel", "POST", llm.OpStored, traits{}},
	{llm.OpenAIChat, "/v1/batches", "GET, POST", llm.OpStored, traits{batch: true}},
	{llm.OpenAIChat, "/v1/batches/{id}", "GET", llm.OpStored, traits{}},
	{llm.OpenAIChat, "/v1/batches/{id}/cancel", "POST", llm.OpStored, traits{}},

	{llm.Gemini, "/upload/v1beta/files", "POST, PUT", llm.OpStored, traits{upload: true}},
	{llm.Gemini, "/v1beta/files", "GET", llm.OpStored, traits{}},
	{llm.Gemini, "/v1beta/files/{id}", "GET, DELETE", llm.OpStored, traits{}},
	{llm.Gemini, "/v1beta/files/{id}:download", "GET", llm.OpStored, traits{live: true}},
	{llm.Gemini, "/v1beta/cachedContents", "GET, POST", llm.OpStored, traits{model: true}},
	{llm.Gemini, "/v1beta/cachedContents/{id}", "GET, PATCH, DELETE", llm.OpStored, traits{}},
}

// parsePassage finds the passage of a path without the dialect's prefix, in its full form. OpenAI and
// Anthropic share paths of files: the version header tells them apart.
func parsePassage(path string, hint llm.Dialect, h http.Header) (operation, bool) {
	if hint == "" && h.Get("Anthropic-Version") != "" {
		hint = llm.AnthropicMessages
	}
	for i := range passages {
		p := &passages[i]
		if hint != "" && family(hint) != family(p.dialect) || hint == "" && p.dialect == llm.AnthropicMessages && strings.HasPrefix(p.pattern, "/v1/files") {
			continue
		}
		id, ok := fits(p.pattern, path)
		if !ok {
			continue
		}
		o := operation{dialect: p.dialect, op: p.op, methods: p.methods, pass: p, path: path}
		if family(p.dialect) == llm.OpenAIChat {
			o.path = strings.TrimPrefix(path, "/v1") // OpenAI's base_url ends in /v1
		}
		if p.op == llm.OpStored && strings.HasPrefix(p.pattern, "/v1/responses/") {
			o.response = id
		}
		return o, true
	}
	return operation{}, false
}

// fits compares a path with a pattern, segment by segment, and gives the first id.
func fits(pattern, path string) (id string, ok bool) {
	for {
		want, restWant, moreWant := strings.Cut(pattern, "/")
		got, rest, more := strings.Cut(path, "/")
		if tail, any := strings.CutPrefix(want, "{id}"); any {
			if got, ok = strings.CutSuffix(got, tail); !ok || !plainSegment(got) {
				return "", false
			}
			if id == "" {
				id = got
			}
		} else if want != got {
			return "", false
		}
		if moreWant != more {
			return "", false
		}
		if !more {
			return id, true
		}
		pattern, path = restWant, rest
	}
}

// family groups the dialects that one vendor's account speaks.
func family(d llm.Dialect) llm.Dialect {
	if d == llm.OpenAIResponses {
		return llm.OpenAIChat
	}
	return d
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
		if !x.op.pass.model || x.r.Method != http.MethodPost {
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
