package edge

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/causeway-mesh/causeway/node/passage"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// operation is what the method, path and headers of a request ask for.
type operation struct {
	dialect  llm.Dialect // whose shape the answer takes, errors included
	op       llm.Op
	version  string // Gemini's v1 or v1beta, as the client wrote it
	model    string // from the path: Gemini generation, and one entry of a models list
	stream   bool   // streamGenerateContent
	methods  string // what the path allows
	root     bool   // GET / and HEAD /: clients probe it
	upgrade  bool   // WebSocket upgrade on /v1/responses
	pass     *passage.Passage
	path     string // of a passage, as it follows the provider's base URL
	prefix   string // of the client's path: /gemini and its like
	response string // id in the path of a stored response
	resumed  bool   // an upload goes on where query says
	query    string
}

// parseOperation maps a request to its operation; ok is false when no API lives at the path. The
// dialect is set either way, so that even a 404 has the shape the client expects. Only exact paths
// match: nothing is cleaned or rebuilt, so what is authorised is what is served.
func parseOperation(method string, u *url.URL, h http.Header) (operation, bool) {
	path, hint, prefix := u.Path, llm.Dialect(""), ""
	for _, p := range [...]struct {
		prefix string
		d      llm.Dialect
	}{{"/openai/", llm.OpenAIChat}, {"/anthropic/", llm.AnthropicMessages}, {"/gemini/", llm.Gemini}} {
		if strings.HasPrefix(path, p.prefix) {
			prefix = path[:len(p.prefix)-1]
			path, hint = path[len(prefix):], p.d
			break
		}
	}
	if path == "/" {
		return operation{dialect: orElse(hint, llm.OpenAIChat), root: true, methods: "GET, HEAD"}, true
	}
	for strings.HasPrefix(path, "/v1/v1/") { // a client whose base URL already ends in /v1
		path = path[len("/v1"):]
	}
	version, rest := "v1", path
	if r, ok := strings.CutPrefix(path, "/v1beta/"); ok {
		version, rest = "v1beta", "/"+r
	} else if r, ok := strings.CutPrefix(path, "/v1/"); ok {
		rest = "/" + r
	}
	if hint == llm.Gemini && !strings.HasPrefix(path, "/v1") {
		version = "v1beta"
	}
	if version == "v1" {
		switch rest {
		case "/chat/completions":
			return operation{dialect: llm.OpenAIChat, op: llm.OpGenerate, methods: http.MethodPost}, true
		case "/responses":
			return operation{
				dialect: llm.OpenAIResponses, op: llm.OpGenerate, methods: http.MethodPost,
				upgrade: method == http.MethodGet && strings.EqualFold(h.Get("Upgrade"), "websocket"),
			}, true
		case "/responses/input_tokens":
			return operation{dialect: llm.OpenAIResponses, op: llm.OpCountTokens, methods: http.MethodPost}, true
		case "/embeddings":
			return operation{dialect: llm.OpenAIChat, op: llm.OpEmbed, methods: http.MethodPost}, true
		case "/messages":
			return operation{dialect: llm.AnthropicMessages, op: llm.OpGenerate, methods: http.MethodPost}, true
		case "/messages/count_tokens":
			return operation{dialect: llm.AnthropicMessages, op: llm.OpCountTokens, methods: http.MethodPost}, true
		}
	}
	name, ok := strings.CutPrefix(rest, "/models")
	if !ok || name != "" && name[0] != '/' {
		full := "/" + version + rest
		if strings.HasPrefix(path, "/upload/") {
			full = path
		}
		if o, ok := parsePassage(full, hint, h); ok {
			o.prefix = prefix
			return o, true
		}
		return operation{dialect: orElse(hint, guessDialect(rest, u, h))}, false
	}
	name = strings.TrimPrefix(name, "/")
	if i := strings.LastIndexByte(name, ':'); i > 0 {
		if o, ok := geminiVerb(name[i+1:]); ok {
			o.version, o.model = version, name[:i]
			return o, true
		}
		if version == "v1beta" || hint == llm.Gemini {
			return operation{dialect: llm.Gemini}, false
		}
	}
	d := hint
	switch {
	case d != "":
	case version == "v1beta" || h.Get("x-goog-api-key") != "" || u.Query().Has("key"):
		d = llm.Gemini
	case h.Get("anthropic-version") != "":
		d = llm.AnthropicMessages
	default:
		d = llm.OpenAIChat
	}
	if name == "" {
		return operation{dialect: d, op: llm.OpModels, methods: http.MethodGet}, true
	}
	return operation{dialect: d, op: llm.OpModel, model: strings.TrimPrefix(name, "models/"), methods: http.MethodGet}, true
}

func geminiVerb(verb string) (operation, bool) {
	o := operation{dialect: llm.Gemini, methods: http.MethodPost}
	switch verb {
	case "generateContent":
		o.op = llm.OpGenerate
	case "streamGenerateContent":
		o.op, o.stream = llm.OpGenerate, true
	case "countTokens":
		o.op = llm.OpCountTokens
	case "embedContent":
		o.op = llm.OpEmbed
	case "batchEmbedContents":
		o.op = llm.OpEmbedBatch
	default:
		return o, false
	}
	return o, true
}

// guessDialect picks whose error shape an unknown path gets.
func guessDialect(rest string, u *url.URL, h http.Header) llm.Dialect {
	switch {
	case strings.HasPrefix(rest, "/responses"):
		return llm.OpenAIResponses
	case strings.HasPrefix(rest, "/messages"), h.Get("anthropic-version") != "":
		return llm.AnthropicMessages
	case strings.HasPrefix(u.Path, "/v1beta"), h.Get("x-goog-api-key") != "":
		return llm.Gemini
	default:
		return llm.OpenAIChat
	}
}

func orElse(a, b llm.Dialect) llm.Dialect {
	if a != "" {
		return a
	}
	return b
}
