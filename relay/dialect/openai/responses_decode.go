package openai

import (
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Values of include that the canonical model has fields for.
const (
	includeSealed   = "reasoning.encrypted_content"
	includeLogprobs = "message.output_text.logprobs"
)

// responsesRequest is a request being decoded.
type responsesRequest struct {
	r            *llm.Request
	input        []byte
	instructions []byte
	user, safety string
	next         *llm.Seal // a carried seal of the part that comes next
	nextAt       string
	nextRaw      []byte
}

// DecodeRequest implements dialect.ClientCodec.
func (Responses) DecodeRequest(op llm.Op, body []byte, h dialect.Head) (*llm.Request, error) {
	if op != llm.OpGenerate && op != llm.OpCountTokens {
		return nil, fault.New(fault.Unsupported, "responses have no operation %s that is converted", op)
	}
	d := responsesRequest{r: &llm.Request{
		From: llm.OpenAIResponses, Op: op, Model: h.Model, Stream: h.Stream, IncludeUsage: true,
	}}
	for c := dialect.Walk(body); c.Next(); {
		if unset(c.Value) {
			continue
		}
		if err := d.member(string(c.Name), c.Value); err != nil {
			return nil, err
		}
	}
	return d.r, d.finish()
}

func (d *responsesRequest) member(name string, v []byte) (err error) {
	r, at := d.r, "/"+name
	switch name {
	case "model":
		r.Model, err = readText(v, at)
	case "stream":
		var on llm.Opt[bool]
		on, err = readBool(v, at)
		r.Stream = on.V
	case "input":
		d.input = v
	case "instructions":
		d.instructions = v
	case "tools":
		err = d.readTools(v)
	case "tool_choice":
		err = readResponsesChoice(&r.Choice, v)
	case "parallel_tool_calls":
		r.Parallel, err = readBool(v, at)
	case "max_output_tokens":
		r.MaxOutput, err = readWhole(v, at, 1)
	case "reasoning":
		err = d.readReasoning(v)
	case "text":
		err = d.readTextConfig(v)
	case "include":
		err = d.readInclude(v)
	case "temperature":
		r.Sampling.Temperature, err = readNumber(v, at, 0, 2)
	case "top_p":
		r.Sampling.TopP, err = readNumber(v, at, 0, 1)
	case "top_logprobs":
		if r.Sampling.TopLogprobs, err = readWhole(v, at, 0); err == nil && r.Sampling.TopLogprobs.V > 20 {
			err = wrong(at, "a whole number from 0 to 20")
		}
	default:
		return d.setting(name, v)
	}
	return err
}

// setting reads what does not steer the text itself.
func (d *responsesRequest) setting(name string, v []byte) (err error) {
	r, at := d.r, "/"+name
	switch name {
	case "store":
		r.Store, err = readBool(v, at)
	case "metadata":
		r.Metadata, err = readPairs(v, at)
	case "service_tier":
		r.ServiceTier, err = readText(v, at)
	case "user":
		d.user, err = readText(v, at)
	case "safety_identifier":
		d.safety, err = readText(v, at)
	case "prompt_cache_key":
		r.CacheKey, err = readText(v, at)
	case "prompt_cache_options":
		err = d.readCacheOptions(v)
	case "truncation":
		if string(v) != `"disabled"` { // the default
			r.Extra = keep(r.Extra, []byte(name), v)
		}
	case "stream_options":
		if err = isObject(v, at); err != nil {
			return err
		}
		for c := dialect.Walk(v); c.Next(); { // no obfuscation is what a converted stream has anyway
			if !unset(c.Value) && string(c.Value) != "false" {
				r.Extra = keep(r.Extra, []byte(name), v)
				break
			}
		}
	default:
		if string(v) != "false" {
			r.Extra = keep(r.Extra, []byte(name), v)
		}
	}
	return err
}

// readCacheOptions reads prompt_cache_options. Anything but a lifetime only OpenAI can act on.
func (d *responsesRequest) readCacheOptions(v []byte) error {
	if err := isObject(v, "/prompt_cache_options"); err != nil {
		return err
	}
	for c := dialect.Walk(v); c.Next(); {
		name := string(c.Name)
		if name != "ttl" && !unset(c.Value) && !(name == "mode" && string(c.Value) == `"implicit"`) {
			d.r.Extra = keep(d.r.Extra, []byte("prompt_cache_options"), v)
			return nil
		}
	}
	if dialect.Filled(v) {
		d.r.Cache = cacheMark("prompt_cache_options", v)
	}
	return nil
}

func (d *responsesRequest) readReasoning(v []byte) error {
	if err := isObject(v, "/reasoning"); err != nil {
		return err
	}
	q := &d.r.Reasoning
	for c := dialect.Walk(v); c.Next(); {
		if unset(c.Value) {
			continue
		}
		at := dialect.Child("/reasoning", string(c.Name))
		switch string(c.Name) {
		case "effort":
			w, err := readText(c.Value, at)
			if err != nil {
				return err
			}
			var ok bool
			if q.Effort, ok = llm.ParseEffort(w); !ok {
				return wrong(at, "one of none, minimal, low, medium, high, xhigh, max")
			}
		case "summary", "generate_summary": // the latter is the older name
			switch word(c.Value) {
			case "auto":
				q.Show = llm.ShowSummary
			case "concise":
				q.Show = llm.ShowConcise
			case "detailed":
				q.Show = llm.ShowDetailed
			default:
				return wrong(at, "one of auto, concise, detailed")
			}
		default:
			q.Extra = keep(q.Extra, c.Name, c.Value)
		}
	}
	return nil
}

func (d *responsesRequest) readTextConfig(v []byte) error {
	if err := isObject(v, "/text"); err != nil {
		return err
	}
	for c := dialect.Walk(v); c.Next(); {
		var err error
		switch string(c.Name) {
		case "format":
			err = readResponsesFormat(&d.r.Format, c.Value)
		case "verbosity":
			d.r.Verbosity, err = readVerbosity(c.Value, "/text/verbosity")
		default:
			d.r.Extra = keep(d.r.Extra, append([]byte(textPath), c.Name...), c.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// textPath marks members of Request.Extra that stood in text.
const textPath = "text/"

// readResponsesFormat reads text.format, which is flat: no json_schema wrapper as in chat.
func readResponsesFormat(f *llm.Format, v []byte) (err error) {
	const at = "/text/format"
	if unset(v) {
		return nil
	}
	if err = isObject(v, at); err != nil {
		return err
	}
	kind := ""
	for c := dialect.Walk(v); c.Next() && err == nil; {
		if string(c.Name) == "type" {
			kind, err = readText(c.Value, at+"/type")
			continue
		}
		err = readSchema(f, c.Name, c.Value, at)
	}
	if err != nil {
		return err
	}
	switch kind {
	case "text":
		f.Kind = llm.FormatText
	case "json_object":
		f.Kind = llm.FormatJSON
	case "json_schema":
		if f.Kind = llm.FormatSchema; f.Schema == nil {
			return wrong(at+"/schema", "an object")
		}
	default:
		return wrong(at+"/type", "one of text, json_object, json_schema")
	}
	return nil
}

func (d *responsesRequest) readInclude(v []byte) error {
	if err := isList(v, "/include"); err != nil {
		return err
	}
	w := dialect.NewWriter(nil)
	w.Open('[')
	rest, i := 0, 0
	for c := dialect.Walk(v); c.Next(); i++ {
		s, err := readName(c.Value, dialect.Index("/include", i))
		if err != nil {
			return err
		}
		switch s {
		case includeSealed:
			d.r.Reasoning.Sealed = true
		case includeLogprobs:
			d.r.Sampling.Logprobs = true
		default:
			w.Str(s)
			rest++
		}
	}
	w.Close(']')
	if rest > 0 {
		d.r.Extra = append(d.r.Extra, llm.Member{Name: "include", Value: w.Take()})
	}
	return nil
}

func (d *responsesRequest) readTools(v []byte) error {
	if err := isList(v, "/tools"); err != nil {
		return err
	}
	i := 0
	for c := dialect.Walk(v); c.Next(); i++ {
		t := llm.Tool{At: dialect.Index("/tools", i)}
		if unset(c.Value) || c.Value[0] != '{' {
			return wrong(t.At, "an object")
		}
		if err := readResponsesTool(&t, c.Value); err != nil {
			return err
		}
		d.r.Tools = append(d.r.Tools, t)
	}
	return nil
}

func readResponsesTool(t *llm.Tool, v []byte) (err error) {
	kind := ""
	for c := dialect.Walk(v); c.Next() && err == nil; {
		switch string(c.Name) {
		case "type":
			kind, err = readName(c.Value, t.At+"/type")
		case "name":
			t.Name, err = readText(c.Value, t.At+"/name")
		case "description":
			t.Description, err = readText(c.Value, t.At+"/description")
		case "parameters":
			if !unset(c.Value) {
				t.Schema = llm.Raw(c.Value)
			}
		case "strict":
			if !unset(c.Value) && (c.Value[0] == 't' || c.Value[0] == 'f') {
				t.Strict = llm.Some(c.Value[0] == 't')
			}
		case "format":
			t.Grammar = llm.Raw(c.Value)
		default:
			if string(c.Value) != "false" {
				t.Extra = keep(t.Extra, c.Name, c.Value)
			}
		}
	}
	switch {
	case err != nil:
		return err
	case kind == "function" || kind == "custom":
		if t.Name == "" {
			return wrong(t.At+"/name", "a string that is not empty")
		}
		if err = isObject(t.Schema, t.At+"/parameters"); err != nil {
			return err
		}
		if kind == "custom" {
			t.Kind = llm.ToolCustom
			if !dialect.Filled(t.Grammar) {
				t.Grammar = nil
			}
			t.Grammar = nestedGrammar(t.Grammar)
		}
		return nil
	case kind == "":
		return wrong(t.At+"/type", "given")
	}
	// The vendor runs it: web_search, file_search, mcp, computer, namespaces and what comes later.
	*t = llm.Tool{Kind: llm.ToolHosted, Name: kind, At: t.At, Opaque: &llm.Opaque{Origin: llm.OpenAIResponses, Type: kind, JSON: llm.Raw(v)}}
	return nil
}

func readResponsesChoice(ch *llm.ToolChoice, v []byte) error {
	const at = "/tool_choice"
	if v[0] == '"' {
		switch word(v) {
		case "auto":
			ch.Mode = llm.ChoiceAuto
		case "none":
			ch.Mode = llm.ChoiceNone
		case "required":
			ch.Mode = llm.ChoiceRequired
		default:
			return wrong(at, "one of none, auto, required, or an object")
		}
		return nil
	}
	if err := isObject(v, at); err != nil {
		return err
	}
	kind, name, mode := "", "", ""
	var tools []byte
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "type":
			kind = word(c.Value)
		case "name":
			name = word(c.Value)
		case "mode":
			mode = word(c.Value)
		case "tools":
			tools = c.Value
		}
	}
	switch kind {
	case "function", "custom":
		if name == "" {
			return wrong(at+"/name", "a string that is not empty")
		}
		ch.Mode, ch.Name, ch.Custom = llm.ChoiceNamed, name, kind == "custom"
		return nil
	case "allowed_tools":
		if mode != "auto" && mode != "required" {
			return wrong(at+"/mode", "auto or required")
		}
		if names, ok := allowedTools(tools); ok {
			ch.Mode, ch.Allowed, ch.Must = llm.ChoiceAllowed, names, mode == "required"
			return nil
		}
	case "":
		return wrong(at+"/type", "given")
	}
	for c := dialect.Walk(v); c.Next(); { // a hosted tool: the vendor's own
		ch.Extra = keep(ch.Extra, c.Name, c.Value)
	}
	return nil
}

// allowedTools reads the names of functions and custom tools; false when there are hosted ones.
func allowedTools(v []byte) (names []string, ok bool) {
	for c := dialect.Walk(v); c.Next(); {
		kind, name := "", ""
		for m := dialect.Walk(c.Value); m.Next(); {
			switch string(m.Name) {
			case "type":
				kind = word(m.Value)
			case "name":
				name = word(m.Value)
			}
		}
		if name == "" || kind != "function" && kind != "custom" {
			return nil, false
		}
		names = append(names, name)
	}
	return names, len(names) > 0
}

func (d *responsesRequest) finish() error {
	r := d.r
	if r.User = d.safety; r.User == "" {
		r.User = d.user
	} else if d.user != "" && d.user != d.safety {
		r.Extra = append(r.Extra, llm.Member{Name: "user", Value: llm.Raw(dialect.Quote(d.user))})
	}
	if err := d.readInstructions(); err != nil {
		return err
	}
	if unset(d.input) {
		for _, name := range []string{"previous_response_id", "conversation", "prompt"} {
			if r.Extra.Get(name) != nil {
				return nil // what to answer is stored at the vendor; encoders refuse that
			}
		}
		return wrong("/input", "a string or a list of items")
	}
	return d.readInput(d.input)
}

func (d *responsesRequest) readInstructions() error {
	const at = "/instructions"
	if unset(d.instructions) {
		return nil
	}
	if d.instructions[0] == '[' { // what older servers echo: items
		return d.readInputList(d.instructions, at)
	}
	s, err := readText(d.instructions, at)
	if err != nil || s == "" {
		return err
	}
	d.r.Messages = append(d.r.Messages, llm.Message{Role: llm.RoleSystem, At: at, Parts: []llm.Part{{Kind: llm.PartText, Text: s, At: at}}})
	return nil
}

// nestedGrammar is a custom tool's format as chat has it, and as llm.Tool keeps it; Responses has the
// grammar's members directly in it.
func nestedGrammar(v llm.Raw) llm.Raw {
	kind, nested := "", false
	for c := dialect.Walk(v); c.Next(); {
		switch string(c.Name) {
		case "type":
			kind = word(c.Value)
		case "grammar":
			nested = true
		}
	}
	if kind != "grammar" || nested {
		return v
	}
	w := dialect.NewWriter(nil)
	w.Open('{')
	w.StrMember("type", "grammar")
	w.Name("grammar")
	w.Open('{')
	for c := dialect.Walk(v); c.Next(); {
		if string(c.Name) != "type" {
			w.Key(string(c.Name))
			w.Raw(c.Value)
		}
	}
	w.Close('}')
	w.Close('}')
	return w.Take()
}

// flatGrammar is its inverse.
func flatGrammar(v llm.Raw) llm.Raw {
	var inner []byte
	for c := dialect.Walk(v); c.Next(); {
		if string(c.Name) == "grammar" && c.Value[0] == '{' {
			inner = c.Value
		}
	}
	if inner == nil {
		return v
	}
	w := dialect.NewWriter(nil)
	w.Open('{')
	w.StrMember("type", "grammar")
	for c := dialect.Walk(inner); c.Next(); {
		w.Key(string(c.Name))
		w.Raw(c.Value)
	}
	w.Close('}')
	return w.Take()
}

// trimAt is a JSON pointer as a fault's Param.
func trimAt(at string) string { return strings.TrimPrefix(at, "/") }
