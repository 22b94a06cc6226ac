package edge

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/causeway-mesh/causeway/relay/llm"
)

func TestParseOperation(t *testing.T) {
	goog := http.Header{"X-Goog-Api-Key": {"k"}}
	anth := http.Header{"Anthropic-Version": {"2023-06-01"}}
	for _, tc := range []struct {
		method, path string
		h            http.Header
		want         operation // methods are checked for presence only
		ok           bool
		why          string
	}{
		{"POST", "/v1/chat/completions", nil, operation{dialect: llm.OpenAIChat, op: llm.OpGenerate}, true, "the plain case"},
		{"POST", "/chat/completions", nil, operation{dialect: llm.OpenAIChat, op: llm.OpGenerate}, true, "Cherry Studio: base URL without /v1"},
		{"POST", "/v1/v1/chat/completions", nil, operation{dialect: llm.OpenAIChat, op: llm.OpGenerate}, true, "base URL with /v1 and a client that adds it"},
		{"POST", "/openai/v1/chat/completions", nil, operation{dialect: llm.OpenAIChat, op: llm.OpGenerate}, true, "prefixed"},
		{"POST", "/anthropic/v1/messages", nil, operation{dialect: llm.AnthropicMessages, op: llm.OpGenerate}, true, "prefixed"},
		{"POST", "/messages", nil, operation{dialect: llm.AnthropicMessages, op: llm.OpGenerate}, true, "Vercel AI SDK posts bare /messages"},
		{"POST", "/v1/messages/count_tokens", nil, operation{dialect: llm.AnthropicMessages, op: llm.OpCountTokens}, true, ""},
		{"POST", "/v1/responses", nil, operation{dialect: llm.OpenAIResponses, op: llm.OpGenerate}, true, ""},
		{"POST", "/v1/responses/input_tokens", nil, operation{dialect: llm.OpenAIResponses, op: llm.OpCountTokens}, true, "the Responses API counts tokens"},
		{"GET", "/v1/responses", http.Header{"Upgrade": {"websocket"}}, operation{dialect: llm.OpenAIResponses, op: llm.OpGenerate, upgrade: true}, true, "Codex tries a WebSocket first"},
		{"POST", "/v1beta/models/gemini-pro:generateContent", nil, operation{dialect: llm.Gemini, op: llm.OpGenerate, version: "v1beta", model: "gemini-pro"}, true, ""},
		{"POST", "/v1/models/gemini-pro:streamGenerateContent", nil, operation{dialect: llm.Gemini, op: llm.OpGenerate, version: "v1", model: "gemini-pro", stream: true}, true, "@google/genai 3.x calls v1"},
		{"POST", "/gemini/models/gemini-pro:embedContent", nil, operation{dialect: llm.Gemini, op: llm.OpEmbed, version: "v1beta", model: "gemini-pro"}, true, "bare form under the prefix"},
		{"POST", "/v1beta/models/text-embedding-004:batchEmbedContents", nil, operation{dialect: llm.Gemini, op: llm.OpEmbedBatch, version: "v1beta", model: "text-embedding-004"}, true, ""},
		{"GET", "/v1/models", nil, operation{dialect: llm.OpenAIChat, op: llm.OpModels}, true, "shared path, no hint"},
		{"GET", "/v1/models", goog, operation{dialect: llm.Gemini, op: llm.OpModels}, true, "shared path, Google's key header"},
		{"GET", "/v1/models?key=x", nil, operation{dialect: llm.Gemini, op: llm.OpModels}, true, "shared path, ?key="},
		{"GET", "/v1/models", anth, operation{dialect: llm.AnthropicMessages, op: llm.OpModels}, true, "shared path, anthropic-version"},
		{"GET", "/v1/models/gpt-4o", nil, operation{dialect: llm.OpenAIChat, op: llm.OpModel, model: "gpt-4o"}, true, ""},
		{"GET", "/v1/models/ft:gpt-4o:acme::1", nil, operation{dialect: llm.OpenAIChat, op: llm.OpModel, model: "ft:gpt-4o:acme::1"}, true, "fine-tuned names hold colons"},
		{"HEAD", "/", nil, operation{dialect: llm.OpenAIChat, root: true}, true, "Claude Code probes first"},
		{"POST", "/v1//chat/completions", nil, operation{dialect: llm.OpenAIChat}, false, "nothing is cleaned"},
		{"POST", "/v1/chat/completions/", nil, operation{dialect: llm.OpenAIChat}, false, "exact paths only"},
		{"POST", "/v1beta/chat/completions", nil, operation{dialect: llm.Gemini}, false, "v1beta is Gemini's"},
		{"POST", "/v1beta/models/x:deleteEverything", nil, operation{dialect: llm.Gemini}, false, "unknown verb"},
		{"POST", "/v1/messages/nothing", nil, operation{dialect: llm.AnthropicMessages}, false, "no API there, but already in Anthropic's shape"},
	} {
		u, err := url.Parse(tc.path)
		if err != nil {
			t.Fatal(err)
		}
		h := tc.h
		if h == nil {
			h = http.Header{}
		}
		got, ok := parseOperation(tc.method, u, h)
		if ok && got.methods == "" {
			t.Errorf("%s: no allowed methods", tc.path)
		}
		got.methods = ""
		if tc.want.version == "" {
			got.version = ""
		}
		if ok != tc.ok || got != tc.want {
			t.Errorf("%s %s (%s): got %+v %v, want %+v %v", tc.method, tc.path, tc.why, got, ok, tc.want, tc.ok)
		}
	}
}
