package fake

import (
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

func (q *responsesRequest) fail(p *problem) {
	if q.bad == nil {
		q.bad = p
	}
}

func (q *responsesRequest) member(r *reader, key []byte) {
	switch string(key) {
	case "model":
		q.model, q.model_ = r.str(), true
	case "input":
		q.input = true
		if r.kind() == jsontext.KindString {
			q.say("user", r.str())
			return
		}
		r.array(func(i int) { q.item(r, "input["+strconv.Itoa(i)+"]") })
	case "instructions":
		if q.instructions = r.raw(); q.instructions.Kind() == jsontext.KindString {
			text, _ := jsontext.AppendUnquote(nil, q.instructions)
			q.say("system", string(text))
		}
	case "stream":
		q.stream = r.bool()
	case "stream_options":
		r.object(func(key []byte) {
			if string(key) != "include_obfuscation" {
				r.unknown(key)
				return
			}
			q.plain = !r.bool()
		})
	case "tools":
		q.tools_ = r.raw()
		walkArray(q.tools_, func(r *reader) { q.prompt.tools = append(q.prompt.tools, flatTool(r)) })
	case "tool_choice":
		q.choice = r.raw()
		walkValue(q.choice, q.toolChoice)
	case "parallel_tool_calls":
		q.parallel = r.bool()
		q.single = !q.parallel
	case "max_output_tokens":
		q.max = r.optInt()
	case "temperature":
		q.temperature = r.optFloat()
	case "top_p":
		q.topP = r.optFloat()
	case "reasoning":
		r.object(func(key []byte) {
			switch string(key) {
			case "effort":
				q.effort = r.str()
			case "summary":
				q.summary = r.str()
			default:
				r.skip()
			}
		})
	case "text":
		r.object(func(key []byte) {
			switch string(key) {
			case "format":
				q.format = r.raw()
				walk(q.format, func(r *reader, key []byte) {
					switch string(key) {
					case "type":
						q.json = r.str() != "text"
					case "schema":
						q.schema = r.raw()
					default:
						r.skip()
					}
				})
			case "verbosity":
				q.verbosity = r.str()
			default:
				r.unknown(key)
			}
		})
	case "metadata":
		q.metadata = r.raw()
	case "user":
		q.user = r.str()
	case "store":
		if !r.bool() {
			q.store = "false"
		}
	case "previous_response_id":
		q.previous = r.raw()
	case "background":
		q.background = r.bool()
	case "include":
		r.array(func(int) { q.sealed = r.str() == "reasoning.encrypted_content" || q.sealed })
	case "conversation":
		q.conversation = r.raw()
	case "client_metadata", "context_management", "max_tool_calls", "moderation", "prompt", "prompt_cache_key",
		"prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier", "top_logprobs", "truncation":
		r.skip()
	default:
		r.unknown(key)
	}
}

// walkArray and walkValue read what was kept raw.
func walkArray(v jsontext.Value, f func(r *reader)) {
	walkValue(v, func(r *reader) { r.array(func(int) { f(r) }) })
}

func walkValue(v jsontext.Value, f func(r *reader)) {
	if len(v) > 0 {
		_ = readObject(append(append([]byte(`{"v":`), v...), '}'), func(r *reader, _ []byte) { f(r) })
	}
}

func flatTool(r *reader) (t tool) {
	r.object(func(key []byte) {
		switch string(key) {
		case "name":
			t.name = r.str()
		case "parameters":
			t.schema = r.raw()
		default:
			r.skip()
		}
	})
	return t
}

func (q *responsesRequest) item(r *reader, at string) {
	typ, role, text, callID, output := "", "", "", "", ""
	q.tokens += 4
	r.object(func(key []byte) {
		switch string(key) {
		case "type":
			typ = r.str()
		case "role":
			role = r.str()
		case "content":
			if r.kind() == jsontext.KindString {
				text = r.str()
				return
			}
			r.array(func(j int) {
				text += q.part(r, q.fail, at+".content["+strconv.Itoa(j)+"]", "input_text")
			})
		case "call_id":
			callID = r.str()
		case "arguments", "name", "input":
			q.say("assistant", r.str())
		case "output":
			if r.kind() == jsontext.KindString {
				output = r.str()
				return
			}
			r.array(func(j int) { output += q.part(r, q.fail, at+".output["+strconv.Itoa(j)+"]", "input_text") })
		default:
			r.skip()
		}
	})
	if r.err != nil {
		return
	}
	switch typ {
	case "", "message":
		switch role {
		case "user", "system", "developer", "assistant":
			q.say(role, text)
		case "":
			q.fail(badParam(at, "missing_required_parameter", "Missing required parameter: '%s.role'.", at))
		default:
			q.fail(badParam(at, "invalid_value", "Invalid value: '%s'. Supported values are: 'assistant', 'system', 'developer', and 'user'.", clip(role, 40)))
		}
	case "function_call", "custom_tool_call":
		q.open = append(q.open, callID)
	case "function_call_output", "custom_tool_call_output":
		i := slices.Index(q.open, callID)
		if i < 0 {
			q.fail(badParam("input", "", "No tool call found for function call output with call_id %s.", clip(callID, 100)))
			return
		}
		q.open = slices.Delete(q.open, i, i+1)
		q.answer(output)
	}
}

func (q *responsesRequest) check() *problem {
	switch {
	case !q.model_ || q.model == "":
		return badParam("model", "missing_required_parameter", "Missing required parameter: 'model'.")
	case q.bad != nil:
		return q.bad
	case !q.input:
		return badParam("input", "missing_required_parameter", "Missing required parameter: 'input'.")
	case len(q.open) > 0:
		return badParam("input", "", "No tool output found for function call %s.", clip(q.open[0], 100))
	case q.max != nil && *q.max < 16:
		return badParam("max_output_tokens", "integer_below_min_value", "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got %d instead.", *q.max)
	case q.effort != "" && !takesEffort(q.model):
		return badParam("reasoning.effort", "unsupported_parameter", "Unsupported parameter: 'reasoning.effort' is not supported with this model.")
	case !slices.Contains(efforts[:], q.effort):
		return badParam("reasoning.effort", "invalid_value", "Invalid value: '%s'. Supported values are: 'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'.", clip(q.effort, 40))
	case q.temperature != nil && reasons(q.model) && *q.temperature != 1:
		return badParam("temperature", "unsupported_parameter", "Unsupported parameter: 'temperature' is not supported with this model.")
	}
	for i, t := range q.prompt.tools {
		if t.name == "" && len(t.schema) == 0 {
			continue // hosted tools have no name
		}
		if p := toolName(t.name, "tools["+strconv.Itoa(i)+"].name"); p != nil {
			return p
		}
	}
	if q.max != nil {
		q.prompt.max = *q.max
	}
	q.think = q.summary != "" || q.effort != "" && q.effort != "none"
	return ranges(q.temperature, q.topP)
}
