package dialect

import (
	"cmp"
	"strings"

	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Losses collects what one conversion cannot carry. Soft losses are reported and dropped, hard ones
// refuse the request (protocols.md 2.8). Which settings are hard is decided here, not by the codecs.
// The zero value with From and To is ready.
type Losses struct {
	From, To llm.Dialect
	List     []llm.Loss
	refused  []string
}

// Field reports a top-level setting, hard or soft by its kind.
func (l *Losses) Field(f llm.Field, reason string) { l.FieldAt("", f, reason) }

// FieldAt reports a setting of the object at path.
func (l *Losses) FieldAt(path string, f llm.Field, reason string) {
	p := path + Pointer(l.From, f)
	switch f {
	case llm.FieldN, llm.FieldStop, llm.FieldLogitBias, llm.FieldLogprobs, llm.FieldTopLogprobs, llm.FieldParallel, llm.FieldDims:
		l.Refuse(p, reason)
	default:
		l.Drop(p, reason)
	}
}

// Drop reports a soft loss at path.
func (l *Losses) Drop(path, reason string) {
	l.List = append(l.List, llm.Loss{Path: path, From: l.From, To: l.To, Reason: reason})
}

// Refuse reports a hard loss at path: without it the answer would not be to what was asked.
func (l *Losses) Refuse(path, reason string) {
	l.refused = append(l.refused, path+": "+reason)
}

// Part reports a part, or with field a member of it (or a path inside it). A part that the user wrote is hard: the model
// would answer something else. History that only the vendor understands is soft.
func (l *Losses) Part(p *llm.Part, field, reason string) {
	path := p.At
	if field != "" {
		path += "/" + field
	}
	switch {
	case field == "" && p.Kind != llm.PartThinking && p.Kind != llm.PartOpaque:
		l.Refuse(path, reason)
	default:
		l.Drop(path, reason)
	}
}

// Tool reports a tool definition that cannot be carried: always hard.
func (l *Losses) Tool(t *llm.Tool, reason string) { l.Refuse(t.At, reason) }

// Extra reports members that only their own dialect understands, found in the object at path; a slash in
// a name is the decoder's, for a member further inside. Members that say nothing (null, false, empty) are
// passed over; those that change what is asked are hard.
func (l *Losses) Extra(e llm.Extra, path string) {
	for _, m := range e {
		at := path
		for name := range strings.SplitSeq(m.Name, "/") {
			at = Child(at, name)
		}
		switch {
		case path == "" && hardExtra(l.From, m):
			l.Refuse(at, llm.LostNoEquivalent)
		case Filled(m.Value) && string(m.Value) != "false":
			l.Drop(at, llm.LostUnknown)
		}
	}
}

// hardExtra knows the request members whose absence would change the meaning of the request.
func hardExtra(d llm.Dialect, m llm.Member) bool {
	name := m.Name
	switch {
	case d == llm.OpenAIChat && name == "web_search_options":
		return !unset(m.Value) // {} switches the search on
	case !Filled(m.Value) || string(m.Value) == "false":
		return false
	}
	switch d {
	case llm.OpenAIChat:
		switch name {
		case "audio", "modalities", "prediction":
			return true
		}
	case llm.OpenAIResponses:
		switch name {
		case "previous_response_id", "conversation", "background", "prompt", "context_management", "max_tool_calls":
			return true
		}
	case llm.AnthropicMessages:
		switch name {
		// Not context_management: without it the model reads the whole conversation, which is what it
		// saves on. Claude Code always sends it.
		case "mcp_servers", "container", "inference_geo", "fallbacks":
			return true
		}
	case llm.Gemini:
		switch name {
		case "cachedContent", "cached_content", "generationConfig/responseMimeType", "generationConfig/responseSchema",
			"generationConfig/responseJsonSchema", "generationConfig/_responseJsonSchema", "generationConfig/speechConfig", "generationConfig/imageConfig":
			return true
		case "generationConfig/responseModalities", "generationConfig/response_modalities":
			for c := Walk(m.Value); c.Next(); {
				if string(c.Value) != `"TEXT"` {
					return true
				}
			}
		}
	}
	return false
}

// Err is the refusal when there was a hard loss, else nil.
func (l *Losses) Err() error {
	if len(l.refused) == 0 {
		return nil
	}
	f := fault.New(fault.Unsupported, "the request cannot be converted from %s to %s", l.From, l.To)
	f.Param = param(l.refused[0])
	f.Fields = l.refused
	return f
}

// Strict is the refusal of soft losses under x-causeway-strict, or nil when there are none.
func Strict(losses []llm.Loss) *fault.Error {
	if len(losses) == 0 {
		return nil
	}
	f := fault.New(fault.Lossy, "the conversion from %s to %s would lose fields", losses[0].From, losses[0].To)
	f.Param = strings.TrimPrefix(losses[0].Path, "/")
	for _, x := range losses {
		f.Fields = append(f.Fields, x.Path+": "+x.Reason)
	}
	return f
}

func param(refusal string) string {
	path, _, _ := strings.Cut(refusal, ": ")
	return strings.TrimPrefix(path, "/")
}

// LossHeader is the value of x-causeway-loss: "/path;reason" joined by commas, at most 2 KiB and then
// a count of the rest. Paths are pointers of member names and indexes, never content; bytes that a
// header cannot hold become %XX.
func LossHeader(losses []llm.Loss) string {
	const limit = 2 << 10
	var b strings.Builder
	for i, x := range losses {
		item := headerSafe(x.Path) + ";" + x.Reason
		if b.Len()+len(item) > limit {
			b.WriteString(", +")
			b.WriteString(itoa(len(losses) - i))
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(item)
	}
	return b.String()
}

func headerSafe(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7F && c != ',' && c != ';' && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// Child is the JSON pointer of member or index name below path (RFC 6901).
func Child(path, name string) string { return path + "/" + escape(name) }

// Index is the JSON pointer of element i below path.
func Index(path string, i int) string { return path + "/" + itoa(i) }

func escape(s string) string {
	if !strings.ContainsAny(s, "~/") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}

func itoa(i int) string {
	const small = "0123456789"
	if i >= 0 && i < 10 {
		return small[i : i+1]
	}
	return string(appendInt(nil, i))
}

// pointers has the client's spelling of every setting: chat, responses, messages, gemini. "" = that
// protocol has no such setting, so no client of it can lose it.
var pointers = [llm.LastField + 1][4]string{
	llm.FieldTemperature:      {"/temperature", "/temperature", "/temperature", "/generationConfig/temperature"},
	llm.FieldTopP:             {"/top_p", "/top_p", "/top_p", "/generationConfig/topP"},
	llm.FieldTopK:             {"", "", "/top_k", "/generationConfig/topK"},
	llm.FieldFrequencyPenalty: {"/frequency_penalty", "", "", "/generationConfig/frequencyPenalty"},
	llm.FieldPresencePenalty:  {"/presence_penalty", "", "", "/generationConfig/presencePenalty"},
	llm.FieldSeed:             {"/seed", "", "", "/generationConfig/seed"},
	llm.FieldStop:             {"/stop", "", "/stop_sequences", "/generationConfig/stopSequences"},
	llm.FieldLogitBias:        {"/logit_bias", "", "", ""},
	llm.FieldLogprobs:         {"/logprobs", "/include", "", "/generationConfig/responseLogprobs"},
	llm.FieldTopLogprobs:      {"/top_logprobs", "/top_logprobs", "", "/generationConfig/logprobs"},
	llm.FieldMaxOutput:        {"/max_completion_tokens", "/max_output_tokens", "/max_tokens", "/generationConfig/maxOutputTokens"},
	llm.FieldN:                {"/n", "", "", "/generationConfig/candidateCount"},
	llm.FieldFormat:           {"/response_format", "/text/format", "/output_config/format", "/generationConfig/responseSchema"},
	llm.FieldToolChoice:       {"/tool_choice", "/tool_choice", "/tool_choice", "/toolConfig/functionCallingConfig"},
	llm.FieldParallel:         {"/parallel_tool_calls", "/parallel_tool_calls", "/tool_choice/disable_parallel_tool_use", ""},
	llm.FieldEffort:           {"/reasoning_effort", "/reasoning/effort", "/output_config/effort", "/generationConfig/thinkingConfig/thinkingLevel"},
	llm.FieldBudget:           {"", "", "/thinking/budget_tokens", "/generationConfig/thinkingConfig/thinkingBudget"},
	llm.FieldShow:             {"", "/reasoning/summary", "/thinking/display", "/generationConfig/thinkingConfig/includeThoughts"},
	llm.FieldReasoningMode:    {"/reasoning_effort", "/reasoning/effort", "/thinking/type", "/generationConfig/thinkingConfig"},
	llm.FieldVerbosity:        {"/verbosity", "/text/verbosity", "", ""},
	llm.FieldUser:             {"/user", "/user", "/metadata/user_id", ""},
	llm.FieldMetadata:         {"/metadata", "/metadata", "", "/labels"},
	llm.FieldServiceTier:      {"/service_tier", "/service_tier", "/service_tier", "/serviceTier"},
	llm.FieldStore:            {"/store", "/store", "", ""},
	llm.FieldCacheKey:         {"/prompt_cache_key", "/prompt_cache_key", "", ""},
	llm.FieldCache:            {"/prompt_cache_options", "/prompt_cache_options", "/cache_control", ""},
	llm.FieldDims:             {"/dimensions", "/dimensions", "", "/outputDimensionality"},
	llm.FieldTask:             {"", "", "", "/taskType"},
	llm.FieldTitle:            {"", "", "", "/title"},
}

// Pointer is the JSON pointer of setting f in a request of dialect d; "/" and a neutral name never
// appear, so a field that d does not have gives "".
func Pointer(d llm.Dialect, f llm.Field) string {
	i := dialectIndex(d)
	if i < 0 || int(f) >= len(pointers) {
		return ""
	}
	return pointers[f][i]
}

// FormatAt is the JSON pointer of r's output format: some protocols have several members for it.
func FormatAt(r *llm.Request) string { return cmp.Or(r.Format.At, Pointer(r.From, llm.FieldFormat)) }

func dialectIndex(d llm.Dialect) int {
	for i, k := range llm.Dialects {
		if d == k {
			return i
		}
	}
	return -1
}
