package fake

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/meter"
)

func (q *messagesRequest) member(r *reader, key []byte) {
	switch string(key) {
	case "model":
		q.model, q.hasModel = r.str(), true
	case "messages":
		q.hasMessages = true
		r.array(func(i int) { q.msgs = i + 1; q.message(r, i) })
	case "system":
		q.system(r)
	case "tools":
		r.array(func(i int) { q.tools = append(q.tools, q.tool(r, i)) })
	case "tool_choice":
		q.choiceSeen = r.kind() != jsontext.KindNull
		r.object(func(key []byte) {
			switch string(key) {
			case "type":
				switch r.str() {
				case "any":
					q.choice = toolRequired
				case "tool":
					q.choice = toolNamed
				case "none":
					q.choice = toolNone
				}
			case "name":
				q.named = r.str()
			case "disable_parallel_tool_use":
				q.single = r.bool()
			default:
				r.unknown(key)
			}
		})
	case "thinking":
		r.object(func(key []byte) {
			switch string(key) {
			case "type":
				q.thinking = r.str()
			case "budget_tokens":
				q.budget = r.int()
			case "display":
				q.display = r.str()
			default:
				r.unknown(key)
			}
		})
	case "output_config":
		r.object(func(key []byte) {
			switch string(key) {
			case "format":
				r.object(func(key []byte) {
					if string(key) == "schema" {
						q.json, q.schema = true, r.raw()
					} else {
						r.skip()
					}
				})
			default:
				r.skip()
			}
		})
	case "temperature":
		q.temperature = q.sampling(r, key)
	case "top_p":
		q.topP = q.sampling(r, key)
	case "top_k":
		q.topK = q.sampling(r, key)
	case "max_tokens", "stream", "stop_sequences":
		if q.count {
			r.unknown(key)
			return
		}
		switch string(key) {
		case "max_tokens":
			q.maxTokens = r.optInt()
		case "stream":
			q.stream = r.bool()
		default:
			q.stops = stopList(r)
		}
	case "metadata":
		r.object(func(key []byte) {
			if string(key) == "user_id" {
				r.str()
			} else {
				r.unknown(key)
			}
		})
	case "service_tier", "speed", "cache_control", "container", "inference_geo", "diagnostics", "user_profile_id", "workspace_id",
		"mcp_servers", "context_management", "fallbacks":
		r.skip()
	default:
		r.unknown(key)
	}
}

func (q *messagesRequest) sampling(r *reader, key []byte) *float64 {
	if q.version == anthropicNew {
		r.unknown(key)
		return nil
	}
	return r.optFloat()
}

func (q *messagesRequest) system(r *reader) {
	if r.kind() == jsontext.KindString {
		q.say("system", r.str())
		return
	}
	r.array(func(i int) {
		r.object(func(key []byte) {
			switch string(key) {
			case "text":
				text := r.str()
				if text == "" {
					q.fail("system.%d: text content blocks must be non-empty", i)
				}
				q.say("system", text)
			case "type", "cache_control", "citations":
				r.skip()
			default:
				r.unknown(key)
			}
		})
	})
}

func (q *messagesRequest) tool(r *reader, i int) (t tool) {
	typ := ""
	r.object(func(key []byte) {
		switch string(key) {
		case "name":
			t.name = r.str()
		case "input_schema":
			t.schema = r.raw()
		case "type":
			typ = r.str()
		default:
			r.skip()
		}
	})
	q.tokens += 20
	if typ != "" && typ != "custom" {
		return t
	}
	switch {
	case t.name == "":
		q.fail("tools.%d.custom.name: Field required", i)
	case toolName(t.name, "") != nil:
		q.fail("tools.%d.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'", i)
	case len(t.schema) == 0:
		q.fail("tools.%d.custom.input_schema: Field required", i)
	case readNode(t.schema).typ != "object":
		q.fail("tools.%d.custom.input_schema.type: Input should be 'object'", i)
	}
	return t
}

// turn is one message while it is read.
type turn struct {
	i       int
	role    string
	text    string
	blocks  int
	uses    []string
	results []string
	result  string
}

func (q *messagesRequest) message(r *reader, i int) {
	t := turn{i: i}
	q.tokens += 3
	isString, missing := false, true
	// The role decides what a block may be, and may come after the content: keep the content raw.
	var content jsontext.Value
	r.object(func(key []byte) {
		switch string(key) {
		case "role":
			t.role = r.str()
		case "content":
			missing = false
			if r.kind() == jsontext.KindString {
				isString, t.text = true, r.str()
			} else if r.kind() == jsontext.KindBeginArray {
				content = r.raw()
			} else {
				r.want(jsontext.KindBeginArray, "a valid list")
			}
		default:
			r.unknown(key)
		}
	})
	if r.err != nil {
		return
	}
	switch t.role {
	case "user", "assistant", "system":
	case "":
		q.fail("messages.%d.role: Field required", i)
	default:
		q.fail("messages: Unexpected role %q. The Messages API accepts 'user', 'assistant' and 'system'.", clip(t.role, 40))
	}
	if missing {
		q.fail("messages.%d.content: Field required", i)
	}
	walkArray(content, func(r *reader) { q.block(r, &t) })
	if isString && t.text == "" && t.role != "assistant" || !isString && t.blocks == 0 && t.role != "assistant" {
		q.fail("messages.%d: all messages must have non-empty content except for the optional final assistant message", i)
	}
	q.pair(&t)
	if len(t.results) > 0 {
		if t.text != "" {
			q.say(t.role, t.text)
		}
		q.answer(t.result)
	} else {
		q.say(t.role, t.text)
	}
	q.lastRole = t.role
}

// pair holds every tool_use to its tool_result in the next message.
func (q *messagesRequest) pair(t *turn) {
	for _, id := range t.results {
		if !slices.Contains(q.open, id) {
			q.fail("messages.%d.content.0: unexpected `tool_use_id` found in `tool_result` blocks: %s. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.", t.i, clip(id, 80))
		}
	}
	for _, id := range q.open {
		if !slices.Contains(t.results, id) {
			q.fail("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", t.i-1, clip(id, 80))
		}
	}
	q.open = t.uses
}

func (q *messagesRequest) block(r *reader, t *turn) {
	at := "messages." + strconv.Itoa(t.i) + ".content." + strconv.Itoa(t.blocks)
	t.blocks++
	typ, text, id, mime, result := "", "", "", "", ""
	data, plain := "", false // of a source
	hasText, cites, size := false, false, 0
	r.object(func(key []byte) {
		switch string(key) {
		case "type":
			typ = r.str()
		case "text", "thinking":
			text, hasText = r.str(), true
		case "id", "tool_use_id":
			id = r.str()
		case "source":
			r.object(func(key []byte) {
				switch string(key) {
				case "type":
					plain = r.str() == "text"
				case "media_type":
					mime = r.str()
				case "data", "url":
					data = r.str()
					size += len(data)
				default:
					r.skip()
				}
			})
		case "content":
			if r.kind() == jsontext.KindString {
				result = r.str()
				return
			}
			r.array(func(int) {
				r.object(func(key []byte) {
					if string(key) == "text" {
						result += r.str()
					} else {
						r.skip()
					}
				})
			})
		case "citations":
			list := r.raw()
			cites = list.Kind() == jsontext.KindBeginArray && first(list).Kind() != jsontext.KindNull
		case "input":
			q.say("assistant", string(r.raw()))
		default:
			r.skip()
		}
	})
	if r.err != nil {
		q.fail("%s: Input should be a valid dictionary", at)
		return
	}
	switch typ {
	case "text":
		if text == "" {
			if hasText {
				q.fail("messages: text content blocks must be non-empty")
			} else {
				q.fail("%s.text.text: Field required", at)
			}
		}
		if cites && t.role == "user" && q.version == anthropicNew {
			q.fail("%s.text.citations: citations are not permitted in user text blocks", at)
		}
		t.text += text
	case "tool_use":
		q.toolsInHistory = true
		if t.role != "assistant" {
			q.fail("messages.%d: `tool_use` blocks can only be in `assistant` messages", t.i)
		}
		if toolName(id, "") != nil && len(id) <= 64 || id == "" {
			q.fail("%s.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'", at)
		}
		t.uses = append(t.uses, id)
	case "tool_result":
		q.toolsInHistory = true
		if t.role != "user" {
			q.fail("messages.%d: `tool_result` blocks can only be in `user` messages", t.i)
		}
		if t.text != "" {
			q.fail("messages.%d: `tool_result` blocks must come before any text", t.i)
		}
		t.results = append(t.results, id)
		t.result += result
	case "image":
		q.see(cmp.Or(mime, "image"), size)
	case "document":
		if t.role == "assistant" && q.version == anthropicNew {
			q.fail("%s: `document` blocks are not permitted in `assistant` messages", at)
		}
		q.see(cmp.Or(mime, "document"), size)
		if plain {
			q.tokens += meter.Count(data)
		}
	case "thinking", "redacted_thinking":
		if t.role != "assistant" {
			q.fail("messages.%d: `%s` blocks can only be in `assistant` messages", t.i, typ)
		}
	case "":
		q.fail("%s.type: Field required", at)
	case "search_result", "container_upload":
	default:
		if !strings.HasSuffix(typ, "_tool_use") && !strings.HasSuffix(typ, "_tool_result") {
			q.fail("%s: Input tag %q found using 'type' does not match any of the expected tags", at, clip(typ, 40))
		}
	}
	if t.role == "system" && typ != "text" {
		q.fail("%s: `system` messages may only hold text blocks", at)
	}
}

// noSampling and noPrefill are models newer than Opus 4.6 and those from it on.
func noSampling(model string) bool { return strings.HasPrefix(model, "claude-opus-4-7") }

func noPrefill(model string) bool {
	return strings.HasPrefix(model, "claude-opus-4-6") || strings.HasPrefix(model, "claude-sonnet-4-6") || noSampling(model)
}

// check applies the rules between members, in the vendor's words.
func (q *messagesRequest) check() *problem {
	switch {
	case !q.hasModel:
		return bad("model: Field required")
	case !q.count && q.maxTokens == nil:
		return bad("max_tokens: Field required")
	case !q.hasMessages:
		return bad("messages: Field required")
	case q.msgs == 0:
		return bad("messages: at least one message is required")
	case q.bad != nil:
		return q.bad
	case len(q.open) > 0:
		return bad("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", q.msgs-1, clip(q.open[0], 80))
	case q.lastRole == "assistant" && noPrefill(q.model):
		return bad("This model does not support assistant message prefill. The conversation must end with a user message.")
	case q.choiceSeen && len(q.tools) == 0:
		return bad("tool_choice: tool_choice may only be specified while providing tools")
	case q.toolsInHistory && len(q.tools) == 0:
		return bad("Requests which include `tool_use` or `tool_result` blocks must define tools")
	case q.choice == toolNamed && !slices.ContainsFunc(q.tools, func(t tool) bool { return t.name == q.named }):
		return bad("Tool '%s' not found in provided tools", clip(q.named, 64))
	case len(q.stops) > 0 && slices.ContainsFunc(q.stops, func(s string) bool { return strings.TrimSpace(s) == "" }):
		return bad("stop_sequences: each stop sequence must contain non-whitespace")
	}
	for _, f := range [...]struct {
		name string
		v    *float64
	}{{"temperature", q.temperature}, {"top_p", q.topP}} {
		if f.v != nil && (*f.v < 0 || *f.v > 1) {
			return bad("%s: range: 0..1", f.name)
		}
	}
	if noSampling(q.model) && (q.topK != nil || q.temperature != nil && *q.temperature != 1) {
		return bad("`temperature` may only be set to 1 and `top_k` may not be set for this model.")
	}
	switch q.thinking {
	case "", "disabled":
		if q.thinking == "disabled" && q.budget != 0 {
			return bad("thinking.disabled.budget_tokens: Extra inputs are not permitted")
		}
	case "enabled":
		switch {
		case q.budget < 1024:
			return bad("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
		case q.maxTokens != nil && *q.maxTokens <= q.budget:
			return bad("`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size")
		}
		q.think = true
	case "adaptive", "between_tools":
		q.think = true
	default:
		return bad("thinking: Input tag %q found using 'type' does not match any of the expected tags: 'adaptive', 'between_tools', 'disabled', 'enabled'", clip(q.thinking, 40))
	}
	switch {
	case q.think && q.choice != toolAuto && q.choice != toolNone:
		return bad("Thinking may not be enabled when tool_choice forces tool use.")
	case q.think && q.temperature != nil && *q.temperature != 1:
		return bad("`temperature` may only be set to 1 when thinking is enabled.")
	}
	if q.maxTokens != nil {
		if q.max = *q.maxTokens; q.max < 0 {
			return bad("max_tokens: Input should be greater than or equal to 0")
		}
		q.none = q.max == 0 // only warms the cache
	}
	return nil
}
