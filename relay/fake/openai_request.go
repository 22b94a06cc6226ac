package fake

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

func parseChat(body []byte) (*chatRequest, error) {
	q := &chatRequest{n: 1}
	v := chatCheck{q: q}
	err := readObject(body, v.member)
	if err != nil {
		return nil, err
	}
	return q, v.check()
}

// chatCheck collects what the rules between members need.
type chatCheck struct {
	q                      *chatRequest
	model, messages        bool
	maxTokens, maxComplete *int64
	streamOptions          bool
	temperature, topP      *float64
	topLogprobs            *int64
	logprobs               bool
	format, effort         string
	toolChoice, parallel   bool
	texts                  []string // of the messages, for JSON mode's rule
	pending                []string // tool calls that wait for their results
	msg                    int
	bad                    *problem // first problem of the messages
}

func (v *chatCheck) member(r *reader, key []byte) {
	q := v.q
	switch string(key) {
	case "model":
		q.model, v.model = r.str(), true
	case "messages":
		v.messages = true
		r.array(func(i int) { v.msg = i + 1; v.message(r, i) })
	case "stream":
		q.stream = r.bool()
	case "stream_options":
		v.streamOptions = r.kind() != jsontext.KindNull
		r.object(func(key []byte) {
			switch string(key) {
			case "include_usage":
				q.usage = r.bool()
			case "include_obfuscation":
				r.bool()
			default:
				r.unknown(key)
			}
		})
	case "n":
		if n := r.optInt(); n != nil {
			q.n = *n
		}
	case "max_tokens":
		v.maxTokens = r.optInt()
	case "max_completion_tokens":
		v.maxComplete = r.optInt()
	case "temperature":
		v.temperature = r.optFloat()
	case "top_p":
		v.topP = r.optFloat()
	case "logprobs":
		v.logprobs = r.bool()
	case "top_logprobs":
		v.topLogprobs = r.optInt()
	case "stop":
		q.stops = stopList(r)
	case "tools":
		r.array(func(int) { q.tools = append(q.tools, chatTool(r)) })
	case "tool_choice":
		v.toolChoice = r.kind() != jsontext.KindNull
		q.toolChoice(r)
	case "parallel_tool_calls":
		v.parallel = r.kind() != jsontext.KindNull
		q.single = v.parallel && !r.bool()
		if !v.parallel {
			r.skip()
		}
	case "response_format":
		r.object(func(key []byte) {
			switch string(key) {
			case "type":
				v.format = r.str()
			case "json_schema":
				r.object(func(key []byte) {
					if string(key) == "schema" {
						q.schema = r.raw()
					} else {
						r.skip()
					}
				})
			default:
				r.unknown(key)
			}
		})
	case "frequency_penalty", "presence_penalty":
		r.optFloat()
	case "reasoning_effort":
		v.effort = r.str()
	case "audio", "function_call", "functions", "logit_bias", "metadata", "modalities", "moderation", "prediction", "prompt_cache_key",
		"prompt_cache_options", "prompt_cache_retention", "safety_identifier", "seed", "service_tier", "store", "user",
		"verbosity", "web_search_options":
		r.skip()
	default:
		r.unknown(key)
	}
}

// stopList reads a string or a list of them.
func stopList(r *reader) (out []string) {
	if r.kind() == jsontext.KindString {
		return []string{r.str()}
	}
	r.array(func(int) { out = append(out, r.str()) })
	return out
}

func chatTool(r *reader) (t tool) {
	r.object(func(key []byte) {
		switch string(key) {
		case "function", "custom":
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
		default:
			r.skip()
		}
	})
	return t
}

// toolChoice reads both OpenAI forms: a word, {type, function:{name}} and {type, name}.
func (p *prompt) toolChoice(r *reader) {
	if r.kind() == jsontext.KindString {
		switch r.str() {
		case "none":
			p.choice = toolNone
		case "required":
			p.choice = toolRequired
		}
		return
	}
	mode := ""
	r.object(func(key []byte) {
		switch string(key) {
		case "name":
			p.choice, p.named = toolNamed, r.str()
		case "function", "custom":
			r.object(func(key []byte) {
				if string(key) == "name" {
					p.choice, p.named = toolNamed, r.str()
				} else {
					r.skip()
				}
			})
		case "mode":
			mode = r.str()
		case "allowed_tools":
			r.object(func(key []byte) {
				if string(key) == "mode" {
					mode = r.str()
				} else {
					r.skip()
				}
			})
		default:
			r.skip()
		}
	})
	if mode == "required" {
		p.choice = toolRequired
	}
}

func (v *chatCheck) fail(p *problem) {
	if v.bad == nil {
		v.bad = p
	}
}

func (v *chatCheck) message(r *reader, i int) {
	at := "messages[" + strconv.Itoa(i) + "]"
	var role, text, callID string
	var calls []string
	content, parts := false, 0
	v.q.tokens += 4
	r.object(func(key []byte) {
		switch string(key) {
		case "role":
			role = r.str()
		case "content":
			content = r.kind() != jsontext.KindNull
			if r.kind() == jsontext.KindString {
				text = r.str()
				return
			}
			r.array(func(j int) {
				parts++
				text += v.q.part(r, func(p *problem) { v.fail(p) }, at+".content["+strconv.Itoa(j)+"]", "text")
			})
		case "tool_call_id":
			callID = r.str()
		case "tool_calls":
			r.array(func(int) {
				r.object(func(key []byte) {
					switch string(key) {
					case "id":
						calls = append(calls, r.str())
					case "function":
						r.object(func(key []byte) {
							if k := string(key); k == "arguments" || k == "name" {
								v.q.say("assistant", r.str())
							} else {
								r.skip()
							}
						})
					default:
						r.skip()
					}
				})
			})
		case "name", "refusal", "audio", "function_call", "annotations":
			r.skip()
		default:
			r.unknown(key)
		}
	})
	if r.err != nil {
		return
	}
	if len(v.pending) > 0 && role != "tool" {
		v.fail(badParam("messages."+at[9:len(at)-1]+".role", "", "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "+
			"The following tool_call_ids did not have response messages: %s", strings.Join(v.pending, ", ")))
	}
	v.texts = append(v.texts, text)
	switch role {
	case "system", "developer", "user", "function":
		if !content {
			v.fail(badParam(at+".content", "", "Invalid value for 'content': expected a string, got null."))
		}
		v.q.say(role, text)
	case "assistant":
		if !content && len(calls) == 0 {
			v.fail(badParam(at+".content", "", "Invalid value for 'content': expected a string, got null."))
		}
		v.q.say(role, text)
		v.pending = calls
	case "tool":
		if j := slices.Index(v.pending, callID); j < 0 {
			v.fail(badParam(at+".role", "", "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."))
		} else {
			v.pending = slices.Delete(v.pending, j, j+1)
		}
		v.q.answer(text)
	case "":
		v.fail(badParam(at+".role", "missing_required_parameter", "Missing required parameter: '%s.role'.", at))
	default:
		v.fail(badParam(at+".role", "invalid_value", "Invalid value: '%s'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.", clip(role, 40)))
	}
}

// efforts are the values of reasoning effort, none stated among them.
var efforts = [...]string{"", "none", "minimal", "low", "medium", "high", "xhigh", "max"}

func containsJSON(s string) bool {
	return strings.Contains(s, "json") || strings.Contains(s, "JSON") || strings.Contains(s, "Json")
}

// part reads one content part of either OpenAI dialect and gives its text.
func (p *prompt) part(r *reader, fail func(*problem), at, textType string) (text string) {
	typ, link := "", ""
	size := 0
	r.object(func(key []byte) {
		switch string(key) {
		case "type":
			typ = r.str()
		case "text", "refusal":
			text = r.str()
		case "image_url", "file_data", "file_url":
			if r.kind() == jsontext.KindString {
				link = r.str()
				return
			}
			r.object(func(key []byte) {
				if string(key) == "url" {
					link = r.str()
				} else {
					r.skip()
				}
			})
		case "input_audio", "file":
			r.object(func(key []byte) {
				switch k := string(key); {
				case k == "data" || k == "file_data":
					link = r.str()
				case k == "format":
					link = "data:audio/" + r.str() + ";"
				default:
					r.skip()
				}
			})
		default:
			r.skip()
		}
	})
	size = len(link)
	switch typ {
	case "text", "input_text", "output_text", "refusal":
		return text
	case "image_url", "input_image":
		p.see(mimeOf(link, "image"), size)
	case "file", "input_file":
		p.see(mimeOf(link, "file"), size)
	case "input_audio":
		p.see(mimeOf(link, "audio"), size)
	case "":
		fail(badParam(at+".type", "missing_required_parameter", "Missing required parameter: '%s.type'.", at))
	default:
		fail(badParam(at+".type", "invalid_value", "Invalid value: '%s'. Supported values are: '%s', 'image_url', 'input_audio', 'refusal', and 'file'.", clip(typ, 40), textType))
	}
	return ""
}

// mimeOf reads the media type of a data URL.
func mimeOf(link, fallback string) string {
	if rest, ok := strings.CutPrefix(link, "data:"); ok {
		if mime, _, ok := strings.Cut(rest, ";"); ok && len(mime) < 60 {
			return mime
		}
	}
	return fallback
}

// check applies the rules between members, in the vendor's words.
func (v *chatCheck) check() error {
	q := v.q
	switch {
	case !v.model || q.model == "":
		return bad("you must provide a model parameter")
	case !v.messages:
		return badParam("messages", "missing_required_parameter", "Missing required parameter: 'messages'.")
	case v.msg == 0:
		return badParam("messages", "empty_array", "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.")
	case v.bad != nil:
		return v.bad
	case len(v.pending) > 0:
		return badParam("messages", "", "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "+
			"The following tool_call_ids did not have response messages: %s", strings.Join(v.pending, ", "))
	case v.streamOptions && !q.stream:
		return badParam("stream_options", "", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
	case v.maxTokens != nil && v.maxComplete != nil:
		return badParam("max_tokens", "invalid_parameter_combination", "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
	case v.maxTokens != nil && reasons(q.model):
		return badParam("max_tokens", "unsupported_parameter", "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
	case v.temperature != nil && *v.temperature != 1 && reasons(q.model):
		return badParam("temperature", "unsupported_value", "Unsupported value: 'temperature' does not support %v with this model. Only the default (1) value is supported.", *v.temperature)
	case v.effort != "" && !takesEffort(q.model):
		return badParam("reasoning_effort", "unknown_parameter", "Unrecognized request argument supplied: reasoning_effort")
	case !slices.Contains(efforts[:], v.effort):
		return badParam("reasoning_effort", "invalid_value", "Invalid value: '%s'. Supported values are: 'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'.", clip(v.effort, 40))
	case len(q.stops) > 4:
		return badParam("stop", "array_above_max_length", "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length %d instead.", len(q.stops))
	case q.n < 1 || q.n > 128:
		return badParam("n", "integer_above_max_value", "Invalid 'n': Expected a value between 1 and 128, but got %d instead.", q.n)
	case v.topLogprobs != nil && !v.logprobs:
		return badParam("top_logprobs", "", "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.")
	case (v.toolChoice || v.parallel) && len(q.tools) == 0:
		name := "tool_choice"
		if !v.toolChoice {
			name = "parallel_tool_calls"
		}
		return badParam(name, "", "Invalid value for '%s': '%s' is only allowed when 'tools' are specified.", name, name)
	}
	for i, t := range q.tools {
		if p := toolName(t.name, "tools["+strconv.Itoa(i)+"].function.name"); p != nil {
			return p
		}
	}
	q.think = v.effort != "" && v.effort != "none" // chat counts it and shows nothing
	switch v.format {
	case "", "text":
	case "json_object":
		if q.json = true; !slices.ContainsFunc(v.texts, containsJSON) {
			return badParam("messages", "", "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.")
		}
		q.schema = nil
	case "json_schema":
		if q.json = true; len(q.schema) == 0 {
			return badParam("response_format.json_schema", "missing_required_parameter", "Missing required parameter: 'response_format.json_schema'.")
		}
	default:
		return badParam("response_format.type", "invalid_value", "Invalid value: '%s'. Supported values are: 'json_object', 'json_schema', and 'text'.", clip(v.format, 40))
	}
	if p := ranges(v.temperature, v.topP); p != nil {
		return p
	}
	for _, m := range [...]*int64{v.maxTokens, v.maxComplete} {
		if m != nil && *m < 1 {
			return badParam("max_tokens", "integer_below_min_value", "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1, but got %d instead.", *m)
		} else if m != nil {
			q.max = *m
		}
	}
	return nil
}

// ranges checks the sampling parameters that both OpenAI dialects share.
func ranges(temperature, topP *float64) *problem {
	for _, f := range [...]struct {
		name string
		v    *float64
		max  float64
	}{{"temperature", temperature, 2}, {"top_p", topP, 1}} {
		switch {
		case f.v == nil:
		case *f.v > f.max:
			return badParam(f.name, "decimal_above_max_value", "Invalid '%s': decimal above maximum value. Expected a value <= %v, but got %v instead.", f.name, f.max, *f.v)
		case *f.v < 0:
			return badParam(f.name, "decimal_below_min_value", "Invalid '%s': decimal below minimum value. Expected a value >= 0, but got %v instead.", f.name, *f.v)
		}
	}
	return nil
}

func toolName(name, at string) *problem {
	switch {
	case name == "":
		return badParam(at, "missing_required_parameter", "Missing required parameter: '%s'.", at)
	case len(name) > 64 || strings.ContainsFunc(name, func(c rune) bool {
		return (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' && c != '-'
	}):
		return badParam(at, "invalid_value", "Invalid '%s': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.", at)
	}
	return nil
}
