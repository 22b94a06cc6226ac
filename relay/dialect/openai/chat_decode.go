package openai

import (
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// DecodeRequest implements dialect.ClientCodec.
func (Chat) DecodeRequest(op llm.Op, body []byte, h dialect.Head) (*llm.Request, error) {
	if op != llm.OpGenerate {
		return nil, fault.New(fault.Unsupported, "chat completions have no operation %s that is converted", op)
	}
	d := chatRequest{r: &llm.Request{
		From: llm.OpenAIChat, Op: op, Model: h.Model, Stream: h.Stream, IncludeUsage: h.Usage.Asked,
	}}
	if h.Choices > 1 {
		d.r.N = h.Choices
	}
	for c := dialect.Walk(body); c.Next(); {
		if err := d.member(string(c.Name), c.Value); err != nil {
			return nil, err
		}
	}
	return d.r, d.finish()
}

// chatRequest is a request being decoded, with what the rules between members need.
type chatRequest struct {
	r              *llm.Request
	newMax, oldMax llm.Opt[int64]
	user, safety   string
	legacy         []byte // function_call
	messages       bool
}

func (d *chatRequest) member(name string, v []byte) (err error) {
	r, at := d.r, "/"+name
	s := &r.Sampling
	switch name {
	case "model", "stream", "n": // Peek has read them
	case "messages":
		err = d.readMessages(v)
	case "tools", "functions":
		err = d.readTools(v, at)
	case "tool_choice":
		err = readChatChoice(&r.Choice, v, at)
	case "function_call":
		d.legacy = v
	case "parallel_tool_calls":
		r.Parallel, err = readBool(v, at)
	case "max_completion_tokens":
		d.newMax, err = readWhole(v, at, 1)
	case "max_tokens":
		d.oldMax, err = readWhole(v, at, 1)
	case "temperature":
		s.Temperature, err = readNumber(v, at, 0, 2)
	case "top_p":
		s.TopP, err = readNumber(v, at, 0, 1)
	case "frequency_penalty":
		s.FrequencyPenalty, err = readNumber(v, at, -2, 2)
	case "presence_penalty":
		s.PresencePenalty, err = readNumber(v, at, -2, 2)
	case "seed":
		s.Seed, err = readWhole(v, at, -1<<53)
	case "stop":
		s.Stop, err = readStop(v, at)
	case "logit_bias":
		if err = isObject(v, at); dialect.Filled(v) {
			s.LogitBias = llm.Raw(v)
		}
	case "logprobs":
		var on llm.Opt[bool]
		on, err = readBool(v, at)
		s.Logprobs = on.V
	case "top_logprobs":
		s.TopLogprobs, err = readWhole(v, at, 0)
	case "response_format":
		err = readChatFormat(&r.Format, v, at)
	default:
		return d.setting(name, v)
	}
	return err
}

// setting reads what does not steer the text itself.
func (d *chatRequest) setting(name string, v []byte) (err error) {
	r, at := d.r, "/"+name
	switch name {
	case "reasoning_effort":
		var word string
		if word, err = readText(v, at); err == nil && word != "" {
			var ok bool
			if r.Reasoning.Effort, ok = llm.ParseEffort(word); !ok {
				err = wrong(at, "one of none, minimal, low, medium, high, xhigh, max")
			}
		}
	case "verbosity":
		r.Verbosity, err = readVerbosity(v, at)
	case "metadata":
		r.Metadata, err = readPairs(v, at)
	case "user":
		d.user, err = readText(v, at)
	case "safety_identifier":
		d.safety, err = readText(v, at)
	case "service_tier":
		r.ServiceTier, err = readText(v, at)
	case "store":
		r.Store, err = readBool(v, at)
	case "prompt_cache_key":
		r.CacheKey, err = readText(v, at)
	case "prompt_cache_options":
		err = d.readCache(v, at)
	case "stream_options":
		d.streamOptions(v)
	case "modalities":
		if !onlyText(v) {
			r.Extra = keep(r.Extra, []byte(name), v)
		}
	case "web_search_options":
		if !unset(v) { // an empty object switches the search on
			r.Extra = append(r.Extra, llm.Member{Name: name, Value: llm.Raw(v)})
		}
	default:
		r.Extra = keep(r.Extra, []byte(name), v)
	}
	return err
}

func readVerbosity(v []byte, at string) (llm.Verbosity, error) {
	word, err := readText(v, at)
	if err != nil || word == "" {
		return llm.VerbosityUnset, err
	}
	for _, k := range []llm.Verbosity{llm.VerbosityLow, llm.VerbosityMedium, llm.VerbosityHigh} {
		if k.String() == word {
			return k, nil
		}
	}
	return llm.VerbosityUnset, wrong(at, "one of low, medium, high")
}

// readCache reads prompt_cache_options. In explicit mode there is no mark on the whole prompt, which
// only OpenAI can tell from an unmarked prompt.
func (d *chatRequest) readCache(v []byte, at string) error {
	if err := isObject(v, at); err != nil {
		return err
	}
	for c := dialect.Walk(v); c.Next(); {
		if string(c.Name) == "mode" && string(c.Value) == `"explicit"` {
			d.r.Extra = keep(d.r.Extra, []byte("prompt_cache_options"), v)
			return nil
		}
	}
	if dialect.Filled(v) {
		d.r.Cache = cacheMark("prompt_cache_options", v)
	}
	return nil
}

// streamOptions keeps what Peek has not read: include_obfuscation.
func (d *chatRequest) streamOptions(v []byte) {
	for c := dialect.Walk(v); c.Next(); {
		if string(c.Name) != "include_usage" && dialect.Filled(c.Value) {
			d.r.Extra = keep(d.r.Extra, []byte("stream_options"), v)
			return
		}
	}
}

func onlyText(v []byte) bool {
	n := 0
	for c := dialect.Walk(v); c.Next(); n++ {
		if string(c.Value) != `"text"` {
			return false
		}
	}
	return n == 1
}

func readStop(v []byte, at string) ([]string, error) {
	if unset(v) {
		return nil, nil
	}
	if v[0] == '"' {
		s, err := readName(v, at)
		return []string{s}, err
	}
	if v[0] != '[' {
		return nil, wrong(at, "a string or a list of strings")
	}
	var out []string
	for c := dialect.Walk(v); c.Next(); {
		s, err := readName(c.Value, dialect.Index(at, len(out)))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func readChatFormat(f *llm.Format, v []byte, at string) error {
	if err := isObject(v, at); err != nil || unset(v) {
		return err
	}
	kind := ""
	var schema []byte
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "type":
			var err error
			if kind, err = readText(c.Value, at+"/type"); err != nil {
				return err
			}
		case "json_schema":
			schema = c.Value
		default:
			f.Extra = keep(f.Extra, c.Name, c.Value)
		}
	}
	switch kind {
	case "text":
		f.Kind = llm.FormatText
	case "json_object":
		f.Kind = llm.FormatJSON
	case "json_schema":
		f.Kind = llm.FormatSchema
		return readChatSchema(f, schema, at+"/json_schema")
	default:
		return wrong(at+"/type", "one of text, json_object, json_schema")
	}
	return nil
}

func readChatSchema(f *llm.Format, v []byte, at string) (err error) {
	if unset(v) || v[0] != '{' {
		return wrong(at, "an object")
	}
	for c := dialect.Walk(v); c.Next() && err == nil; {
		err = readSchema(f, c.Name, c.Value, at)
	}
	return err
}

// readTools reads tools, and the functions of clients from before 2024, which are tools without a
// wrapper; their place in the body tells later that the client wants function_call answers.
func (d *chatRequest) readTools(v []byte, at string) error {
	if err := isList(v, at); err != nil {
		return err
	}
	i := 0
	for c := dialect.Walk(v); c.Next(); i++ {
		t := llm.Tool{At: dialect.Index(at, i)}
		err := isObject(c.Value, t.At)
		switch {
		case err != nil:
		case at == "/functions":
			err = readDefinition(&t, c.Value, t.At)
		default:
			err = readChatTool(&t, c.Value)
		}
		if err != nil {
			return err
		}
		d.r.Tools = append(d.r.Tools, t)
	}
	return nil
}

func readChatTool(t *llm.Tool, v []byte) (err error) {
	kind := "function"
	var def []byte
	for c := dialect.Walk(v); c.Next() && err == nil; {
		switch name := string(c.Name); name {
		case "type":
			kind, err = readText(c.Value, t.At+"/type")
		case "function", "custom":
			def = c.Value
		case "cache_control":
			t.Cache = cacheMark(name, c.Value)
		default:
			t.Extra = keep(t.Extra, c.Name, c.Value)
		}
	}
	switch {
	case err != nil:
		return err
	case kind == "custom":
		t.Kind = llm.ToolCustom
	case kind != "function":
		*t = llm.Tool{Kind: llm.ToolHosted, Name: kind, At: t.At, Opaque: &llm.Opaque{Origin: llm.OpenAIChat, Type: kind, JSON: llm.Raw(v)}}
		return nil
	}
	if unset(def) || def[0] != '{' {
		return wrong(t.At+"/"+kind, "an object")
	}
	return readDefinition(t, def, t.At+"/"+kind)
}

func readDefinition(t *llm.Tool, v []byte, at string) (err error) {
	for c := dialect.Walk(v); c.Next() && err == nil; {
		switch string(c.Name) {
		case "name":
			t.Name, err = readText(c.Value, at+"/name")
		case "description":
			t.Description, err = readText(c.Value, at+"/description")
		case "parameters":
			if err = isObject(c.Value, at+"/parameters"); !unset(c.Value) {
				t.Schema = llm.Raw(c.Value)
			}
		case "strict":
			t.Strict, err = readBool(c.Value, at+"/strict")
		case "format":
			if err = isObject(c.Value, at+"/format"); dialect.Filled(c.Value) {
				t.Grammar = llm.Raw(c.Value)
			}
		default:
			t.Extra = keep(t.Extra, c.Name, c.Value)
		}
	}
	if err == nil && t.Name == "" {
		err = wrong(at+"/name", "a string that is not empty")
	}
	return err
}

// readChatChoice reads tool_choice in all its forms; some clients write the words as {type: word}.
func readChatChoice(ch *llm.ToolChoice, v []byte, at string) error {
	if unset(v) {
		return nil
	}
	word := ""
	var inner []byte
	switch v[0] {
	case '"':
		word = dialect.Unquote(v)
	case '{':
		for c := dialect.Walk(v); c.Next(); {
			switch name := string(c.Name); name {
			case "type":
				var err error
				if word, err = readText(c.Value, at+"/type"); err != nil {
					return err
				}
			case "function", "custom", "allowed_tools":
				inner = c.Value
			default:
				ch.Extra = keep(ch.Extra, c.Name, c.Value)
			}
		}
	}
	switch word {
	case "auto":
		ch.Mode = llm.ChoiceAuto
	case "none":
		ch.Mode = llm.ChoiceNone
	case "required", "any":
		ch.Mode = llm.ChoiceRequired
	case "function", "custom":
		ch.Mode, ch.Custom = llm.ChoiceNamed, word == "custom"
		var err error
		ch.Name, err = nameIn(inner, at+"/"+word)
		return err
	case "allowed_tools":
		ch.Mode = llm.ChoiceAllowed
		return readAllowed(ch, inner, at+"/allowed_tools")
	default:
		return wrong(at, "one of none, auto, required, or an object of type function, custom or allowed_tools")
	}
	return nil
}

// nameIn is the member name of an object that must have it.
func nameIn(v []byte, at string) (string, error) {
	for c := dialect.Walk(v); c.Next(); {
		if string(c.Name) == "name" {
			return readName(c.Value, at+"/name")
		}
	}
	return "", wrong(at+"/name", "a string that is not empty")
}

func readAllowed(ch *llm.ToolChoice, v []byte, at string) error {
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "mode":
			ch.Must = string(c.Value) == `"required"`
		case "tools":
			i := 0
			for t := dialect.Walk(c.Value); t.Next(); i++ {
				place := dialect.Index(at+"/tools", i)
				inner := t.Value
				for m := dialect.Walk(t.Value); m.Next(); {
					if n := string(m.Name); n == "function" || n == "custom" {
						inner = m.Value
					}
				}
				name, err := nameIn(inner, place)
				if err != nil {
					return err
				}
				ch.Allowed = append(ch.Allowed, name)
			}
		}
	}
	if len(ch.Allowed) == 0 {
		return wrong(at+"/tools", "a list that is not empty")
	}
	return nil
}

// finish applies the rules between members.
func (d *chatRequest) finish() error {
	r := d.r
	switch {
	case !d.messages || len(r.Messages) == 0:
		return wrong("/messages", "a list that is not empty")
	case d.newMax.Set && d.oldMax.Set && d.newMax.V != d.oldMax.V:
		return wrong("/max_tokens", "left out beside max_completion_tokens")
	case r.Sampling.TopLogprobs.Set && !r.Sampling.Logprobs && r.Sampling.TopLogprobs.V > 0:
		return wrong("/top_logprobs", "left out without logprobs")
	case r.Sampling.TopLogprobs.V > 20:
		return wrong("/top_logprobs", "a whole number from 0 to 20")
	}
	if !r.Sampling.Logprobs {
		r.Sampling.TopLogprobs = llm.Opt[int64]{}
	}
	if r.MaxOutput = d.newMax; !r.MaxOutput.Set {
		r.MaxOutput = d.oldMax
	}
	if r.User = d.safety; r.User == "" {
		r.User = d.user
	} else if d.user != "" && d.user != d.safety {
		r.Extra = append(r.Extra, llm.Member{Name: "user", Value: llm.Raw(dialect.Quote(d.user))})
	}
	if !unset(d.legacy) && r.Choice.Mode == llm.ChoiceUnset {
		if err := readLegacyChoice(&r.Choice, d.legacy); err != nil {
			return err
		}
	}
	return d.checkChoice()
}

func readLegacyChoice(ch *llm.ToolChoice, v []byte) (err error) {
	switch {
	case v[0] == '{':
		ch.Mode = llm.ChoiceNamed
		ch.Name, err = nameIn(v, "/function_call")
	case string(v) == `"auto"`:
		ch.Mode = llm.ChoiceAuto
	case string(v) == `"none"`:
		ch.Mode = llm.ChoiceNone
	default:
		err = wrong("/function_call", "none, auto or an object with a name")
	}
	return err
}

// checkChoice refuses a choice of tools that are not there, as OpenAI does; auto and none without any
// tool say nothing.
func (d *chatRequest) checkChoice() error {
	ch := &d.r.Choice
	if ch.Mode == llm.ChoiceUnset || len(d.r.Tools) > 0 {
		return nil
	}
	if ch.Mode != llm.ChoiceAuto && ch.Mode != llm.ChoiceNone {
		return wrong("/tool_choice", "left out without tools")
	}
	*ch = llm.ToolChoice{}
	return nil
}

func tool(ts []llm.Tool, name string) *llm.Tool {
	for i := range ts {
		if ts[i].Name == name && ts[i].Kind != llm.ToolHosted {
			return &ts[i]
		}
	}
	return nil
}

// legacyFunctions reports whether the client of r speaks of functions instead of tools.
func legacyFunctions(r *llm.Request) bool {
	return r != nil && r.From == llm.OpenAIChat && len(r.Tools) > 0 && strings.HasPrefix(r.Tools[0].At, "/functions/")
}
