package openai

import (
	"bytes"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/splice"
)

var (
	keyResponse   = []byte(`"response"`)
	responseNames = []string{"response"}
	idNames       = []string{"id", "previous_response_id"}
)

// ResponseIDs finds the ids of responses in a whole answer of the Responses API: the response's own
// and the one before it, as JSON strings. It appends their spans to dst in ascending order.
func ResponseIDs(dst []splice.Span, doc []byte) []splice.Span { return responseIDs(dst, doc, 0) }

// EventResponseIDs is ResponseIDs for one event of a stream; only those that hold a response have any.
// It does not allocate for the others: a quote inside a JSON string is always escaped, so the member's
// name with plain quotes is nowhere but in them.
func EventResponseIDs(dst []splice.Span, data []byte) []splice.Span {
	var top [1]splice.Span
	if !bytes.Contains(data, keyResponse) || !dialect.Find(data, responseNames, top[:]) || top[0].Empty() {
		return dst
	}
	return responseIDs(dst, top[0].Of(data), top[0].Start)
}

func responseIDs(dst []splice.Span, doc []byte, base int) []splice.Span {
	var at [2]splice.Span
	if !dialect.Find(doc, idNames, at[:]) {
		return dst
	}
	if at[1].Start < at[0].Start {
		at[0], at[1] = at[1], at[0]
	}
	for _, s := range at {
		if s.Len() > 2 && doc[s.Start] == '"' {
			dst = append(dst, splice.Span{Start: base + s.Start, End: base + s.End})
		}
	}
	return dst
}
