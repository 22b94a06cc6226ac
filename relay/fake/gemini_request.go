package fake

import (
	"cmp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// geminiRequest is a generateContent or countTokens request.
type geminiRequest struct {
	prompt
	contents    int
	hasContents bool
	mime        string
	allowed     []string
	candidates  int64
	calls       []geminiCall // of the newest model content
	unsigned    *problem     // a call of the current turn without its signature
	bad         *problem
	temperature *float64
	topP        *float64
	step        bool // the newest content was the model's calls
	shown       bool // thoughts are parts of the answer; else they are only counted
}

type geminiCall struct{ name string }

func (q *geminiRequest) fail(format string, args ...any) {
	if q.bad == nil {
		q.bad = bad(format, args...)
	}
}

// camel turns proto names into JSON ones: the vendor takes both.
func camel(key []byte) string {
	if !slices.Contains(key[min(1, len(key)):], '_') {
		return string(key)
	}
	var b strings.Builder
	up := false
	for i, c := range key {
		switch {
		case c == '_' && i > 0:
			up = true
		case up:
			b.WriteString(strings.ToUpper(string(c)))
			up = false
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (q *geminiRequest) countMember(r *reader, key []byte) {
	switch camel(key) {
	case "generateContentRequest":
		r.object(func(key []byte) { q.member(r, key) })
	default:
		q.member(r, key)
	}
}

func (q *geminiRequest) member(r *reader, key []byte) {
	switch camel(key) {
	case "contents":
		q.hasContents = true
		if r.kind() == jsontext.KindBeginObject { // proto-JSON takes one element for a list
			q.contents = 1
			q.content(r, 0)
			return
		}
		r.array(func(i int) { q.contents = i + 1; q.content(r, i) })
	case "systemInstruction":
		if r.kind() == jsontext.KindString {
			r.want(jsontext.KindBeginObject, "type.googleapis.com/google.ai.generativelanguage.v1beta.Content")
			return
		}
		last := q.last
		q.text(r, "system")
		q.last = last
	case "tools":
		r.array(func(int) { q.tool(r) })
	case "toolConfig":
		r.object(func(key []byte) {
			switch camel(key) {
			case "functionCallingConfig":
				r.object(func(key []byte) {
					switch camel(key) {
					case "mode":
						switch r.str() {
						case "ANY":
							q.choice = toolRequired
						case "NONE":
							q.choice = toolNone
						}
					case "allowedFunctionNames":
						r.array(func(int) { q.allowed = append(q.allowed, r.str()) })
					case "streamFunctionCallArguments":
						r.bool()
					default:
						r.unknown(key)
					}
				})
			case "retrievalConfig", "includeServerSideToolInvocations":
				r.skip()
			default:
				r.unknown(key)
			}
		})
	case "generationConfig":
		r.object(func(key []byte) { q.config(r, key) })
	case "model", "cachedContent", "safetySettings", "serviceTier", "store", "labels":
		r.skip()
	default:
		r.unknown(key)
	}
}

func (q *geminiRequest) config(r *reader, key []byte) {
	switch camel(key) {
	case "stopSequences":
		q.stops = stopList(r)
	case "responseMimeType":
		q.mime = r.str()
	case "responseSchema", "responseJsonSchema", "_responseJsonSchema":
		if v := r.raw(); v.Kind() != jsontext.KindNull {
			q.schema = v
		}
	case "candidateCount":
		if n := r.optInt(); n != nil {
			q.candidates = *n
		}
	case "maxOutputTokens":
		if n := r.optInt(); n != nil {
			if q.max = *n; q.max < 1 {
				q.fail("* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.\n")
			}
		}
	case "temperature":
		q.temperature = r.optFloat()
	case "topP":
		q.topP = r.optFloat()
	case "thinkingConfig":
		r.object(func(key []byte) {
			switch camel(key) {
			case "includeThoughts":
				q.shown = r.bool()
				q.think = q.think || q.shown
			case "thinkingBudget":
				q.think = r.int() != 0 || q.think
			case "thinkingLevel":
				q.think = r.str() != "MINIMAL" || q.think
			default:
				r.unknown(key)
			}
		})
	case "topK", "seed", "presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "responseModalities", "speechConfig",
		"imageConfig", "mediaResolution", "enableEnhancedCivicAnswers", "audioTimestamp", "routingConfig", "modelSelectionConfig",
		"responseFormat", "translationConfig":
		r.skip()
	default:
		r.unknown(key)
	}
}

func (q *geminiRequest) tool(r *reader) {
	r.object(func(key []byte) {
		switch camel(key) {
		case "functionDeclarations":
			r.array(func(i int) {
				var t tool
				r.object(func(key []byte) {
					switch camel(key) {
					case "name":
						t.name = r.str()
					case "parameters", "parametersJsonSchema":
						t.schema = r.raw()
					case "description", "response", "responseJsonSchema", "behavior":
						r.skip()
					default:
						r.unknown(key)
					}
				})
				if t.name == "" && r.err == nil {
					q.fail("* GenerateContentRequest.tools[0].function_declarations[%d].name: Invalid function name. Must start with a letter or an underscore.\n", i)
				}
				q.tools = append(q.tools, t)
				q.tokens += 20
			})
		case "googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext", "computerUse", "fileSearch", "googleMaps", "mcpServers":
			r.skip()
		default:
			r.unknown(key)
		}
	})
}

// text reads a Content whose role does not matter.
func (q *geminiRequest) text(r *reader, role string) {
	r.object(func(key []byte) {
		switch string(key) {
		case "parts":
			one := func(int) {
				r.object(func(key []byte) {
					if string(key) == "text" {
						q.say(role, r.str())
					} else {
						r.skip()
					}
				})
			}
			if r.kind() == jsontext.KindBeginObject {
				one(0)
			} else {
				r.array(one)
			}
		case "role":
			r.str()
		default:
			r.unknown(key)
		}
	})
}

// content reads one turn and holds calls and responses together.
func (q *geminiRequest) content(r *reader, i int) {
	role, text, parts := "", "", 0
	var calls []geminiCall
	var results []string
	var unsigned *problem
	result, hasText := "", false
	part := func(int) {
		parts++
		var name, sig, mime string
		thought, isCall, size := false, false, 0
		piece := ""
		r.object(func(key []byte) {
			switch camel(key) {
			case "text":
				piece, hasText = r.str(), true
			case "thought":
				thought = r.bool()
			case "thoughtSignature":
				sig = r.str()
			case "inlineData", "fileData":
				r.object(func(key []byte) {
					switch camel(key) {
					case "mimeType":
						mime = r.str()
					case "data", "fileUri":
						size = len(r.str())
					case "displayName":
						r.str()
					default:
						r.unknown(key)
					}
				})
				q.see(cmp.Or(mime, "file"), size)
			case "functionCall":
				isCall = true
				r.object(func(key []byte) {
					switch camel(key) {
					case "name":
						name = r.str()
					case "args":
						q.say("model", string(r.raw()))
					case "id", "partialArgs", "willContinue":
						r.skip()
					default:
						r.unknown(key)
					}
				})
			case "functionResponse":
				r.object(func(key []byte) {
					switch camel(key) {
					case "name":
						results = append(results, r.str())
					case "response":
						result += string(r.raw())
					case "id", "parts", "willContinue", "scheduling":
						r.skip()
					default:
						r.unknown(key)
					}
				})
			case "executableCode", "codeExecutionResult", "videoMetadata", "partMetadata", "mediaResolution", "toolCall", "toolResponse":
				r.skip()
			default:
				r.unknown(key)
			}
		})
		if !thought {
			text += piece
		}
		if isCall {
			if len(calls) == 0 && sig == "" && strings.HasPrefix(q.model, "gemini-3") {
				unsigned = bad("Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. "+
					"Additional data, function call `default_api:%s`, position %d. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.", clip(name, 64), i+1)
			}
			calls = append(calls, geminiCall{name})
		}
	}
	r.object(func(key []byte) {
		switch string(key) {
		case "role":
			role = r.str()
		case "parts":
			if r.kind() == jsontext.KindBeginObject {
				part(0)
			} else {
				r.array(part)
			}
		default:
			r.unknown(key)
		}
	})
	if r.err != nil {
		return
	}
	switch role {
	case "", "user", "model", "function":
	default:
		q.fail("Please use a valid role: user, model.")
	}
	if parts == 0 {
		q.fail("* GenerateContentRequest.contents[%d].parts: contents.parts must not be empty.\n", i)
	}
	if q.step || len(results) > 0 {
		if len(results) != len(q.calls) {
			q.fail("Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.")
		}
	} else if role != "model" && hasText {
		q.unsigned = nil // a new turn begins: older signatures are not checked
	}
	if unsigned != nil && q.unsigned == nil {
		q.unsigned = unsigned
	}
	q.calls, q.step = calls, role == "model" && len(calls) > 0
	switch {
	case len(results) > 0:
		q.answer(result)
	case role == "model":
		q.say("model", text)
	default:
		q.say("user", text)
	}
}

func (q *geminiRequest) check() *problem {
	switch {
	case !q.hasContents || q.contents == 0:
		return bad("* GenerateContentRequest.contents: contents is not specified\n")
	case q.bad != nil:
		return q.bad
	case q.unsigned != nil:
		return q.unsigned
	case q.candidates > 1:
		return bad("Multiple candidates is not enabled for this model")
	case q.temperature != nil && (*q.temperature < 0 || *q.temperature > 2):
		return bad("* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n")
	case q.topP != nil && (*q.topP < 0 || *q.topP > 1):
		return bad("* GenerateContentRequest.generation_config.top_p: top_p must be in the range [0.0, 1.0].\n")
	case len(q.stops) > 5:
		return bad("* GenerateContentRequest.generation_config.stop_sequences: at most 5 stop sequences are allowed.\n")
	case q.tokens > googleContext:
		return bad("The input token count (%d) exceeds the maximum number of tokens allowed (%d).", q.tokens, int64(googleContext))
	}
	switch q.mime {
	case "", "text/plain":
		if len(q.schema) > 0 {
			return bad("* GenerateContentRequest.generation_config.response_schema: response_schema is only supported with response_mime_type application/json.\n")
		}
	case "application/json":
		q.json = true
	case "text/x.enum":
	default:
		return bad("* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are `text/plain`, `application/json`, `application/xml`, `application/yaml` and `text/x.enum`.\n")
	}
	if q.choice == toolRequired && len(q.allowed) > 0 {
		if len(q.allowed) == 1 {
			q.choice, q.named = toolNamed, q.allowed[0]
		}
		q.tools = slices.DeleteFunc(q.tools, func(t tool) bool { return !slices.Contains(q.allowed, t.name) })
	}
	return nil
}
