package gemini

import (
	"slices"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// configPath marks members of Request.Extra that stood in generationConfig, toolPath those of toolConfig.
const (
	configPath = "generationConfig/"
	toolPath   = "toolConfig/"
)

var requestNames = []string{
	"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "labels", "serviceTier", "store", "model",
	"generateContentRequest",
}

const (
	reqContents = iota
	reqSystem
	reqTools
	reqToolConfig
	reqConfig
	reqLabels
	reqTier
	reqStore
	reqModel
	reqInner
)

// DecodeRequest implements dialect.ClientCodec. The model and whether to stream are in the path, so
// the caller has put them into h.
func (Frontend) DecodeRequest(op llm.Op, body []byte, h dialect.Head) (*llm.Request, error) {
	if op != llm.OpGenerate && op != llm.OpCountTokens {
		return nil, fault.New(fault.Unsupported, "%s requests are not converted", op)
	}
	r := &llm.Request{From: llm.Gemini, Op: op, Model: h.Model, Stream: h.Stream, IncludeUsage: true}
	if err := decodeRequest(r, body, ""); err != nil {
		return nil, err
	}
	return r, nil
}

func decodeRequest(r *llm.Request, body []byte, at string) error {
	var f [10]llm.Raw
	extra, err := fields(body, at, requestNames, f[:])
	if err != nil {
		return err
	}
	if f[reqInner] != nil {
		if r.Op != llm.OpCountTokens || at != "" {
			return bad(at+"/generateContentRequest", "given to countTokens only")
		}
		if f[reqContents] != nil {
			return bad("/generateContentRequest", "given instead of contents, not beside them")
		}
		return decodeRequest(r, f[reqInner], "/generateContentRequest")
	}
	r.Extra = extra
	if f[reqContents] == nil {
		return bad(at+"/contents", "given")
	}
	if err := decodeSystem(r, f[reqSystem], at+"/systemInstruction"); err != nil {
		return err
	}
	t := turns{r: r}
	if err := list(f[reqContents], at+"/contents", t.decodeContent); err != nil {
		return err
	}
	t.flush()
	if err := list(f[reqTools], at+"/tools", func(v []byte, at string) error { return decodeTool(r, v, at) }); err != nil {
		return err
	}
	if err := decodeToolConfig(r, f[reqToolConfig], at+"/toolConfig"); err != nil {
		return err
	}
	if err := decodeConfig(r, f[reqConfig], at+"/generationConfig"); err != nil {
		return err
	}
	if l := f[reqLabels]; l != nil {
		for c := dialect.Walk(l); c.Next(); {
			v, err := str(c.Value, at+"/labels")
			if err != nil {
				return err
			}
			r.Metadata = append(r.Metadata, llm.Pair{Key: string(c.Name), Value: v})
		}
	}
	if r.ServiceTier, err = str(f[reqTier], at+"/serviceTier"); err != nil {
		return err
	}
	r.Store, err = boolean(f[reqStore], at+"/store")
	return err
}

func decodeTool(r *llm.Request, v []byte, at string) error {
	var f [1]llm.Raw
	hosted, err := fields(v, at, []string{"functionDeclarations"}, f[:])
	if err != nil {
		return err
	}
	for _, m := range hosted {
		name := string(camel([]byte(m.Name)))
		w := dialect.NewWriter(nil)
		w.Open('{')
		w.Key(name)
		w.Raw(m.Value)
		w.Close('}')
		r.Tools = append(r.Tools, llm.Tool{
			Kind: llm.ToolHosted, Name: name, At: dialect.Child(at, m.Name),
			Opaque: &llm.Opaque{Origin: llm.Gemini, Type: name, JSON: w.Take()},
		})
	}
	return list(f[0], at+"/functionDeclarations", func(v []byte, at string) error { return decodeFunction(r, v, at) })
}

func decodeFunction(r *llm.Request, v []byte, at string) error {
	var f [4]llm.Raw
	extra, err := fields(v, at, []string{"name", "description", "parameters", "parametersJsonSchema"}, f[:])
	if err != nil {
		return err
	}
	t := llm.Tool{At: at, Extra: extra, Schema: f[3]}
	if t.Name, err = str(f[0], at+"/name"); err != nil {
		return err
	}
	if t.Name == "" {
		return bad(at+"/name", "given")
	}
	if t.Description, err = str(f[1], at+"/description"); err != nil {
		return err
	}
	if f[2] != nil {
		if f[3] != nil {
			return bad(at+"/parameters", "given instead of parametersJsonSchema, not beside it")
		}
		if t.Schema, err = jsonSchema(f[2], at+"/parameters"); err != nil {
			return err
		}
	}
	r.Tools = append(r.Tools, t)
	return nil
}

func decodeToolConfig(r *llm.Request, v []byte, at string) error {
	var f [1]llm.Raw
	extra, err := fields(v, at, []string{"functionCallingConfig"}, f[:])
	if err != nil {
		return err
	}
	r.Extra = appendExtra(r.Extra, toolPath, extra)
	at += "/functionCallingConfig"
	var g [2]llm.Raw
	c := &r.Choice
	if c.Extra, err = fields(f[0], at, []string{"mode", "allowedFunctionNames"}, g[:]); err != nil {
		return err
	}
	mode, err := str(g[0], at+"/mode")
	if err != nil {
		return err
	}
	if c.Allowed, err = texts(g[1], at+"/allowedFunctionNames"); err != nil {
		return err
	}
	switch mode {
	case "", "MODE_UNSPECIFIED":
	case "AUTO":
		c.Mode = llm.ChoiceAuto
	case "NONE":
		c.Mode = llm.ChoiceNone
	case "ANY":
		c.Mode, c.Must = llm.ChoiceRequired, len(c.Allowed) > 1
	case "VALIDATED":
		// As AUTO, and calls follow their schemas.
		c.Mode = llm.ChoiceAuto
		if len(c.Allowed) == 0 {
			c.Extra = append(c.Extra, llm.Member{Name: "mode", Value: g[0]})
		}
	default:
		return bad(at+"/mode", "AUTO, ANY, NONE or VALIDATED")
	}
	switch {
	case len(c.Allowed) == 0 || c.Mode == llm.ChoiceNone:
		c.Allowed = nil
	case c.Mode == llm.ChoiceRequired && len(c.Allowed) == 1:
		c.Mode, c.Name, c.Allowed = llm.ChoiceNamed, c.Allowed[0], nil
	default:
		c.Mode = llm.ChoiceAllowed
	}
	return nil
}

func appendExtra(e llm.Extra, path string, more llm.Extra) llm.Extra {
	for _, m := range more {
		e = append(e, llm.Member{Name: path + m.Name, Value: m.Value})
	}
	return e
}

var configNames = []string{
	"candidateCount", "stopSequences", "maxOutputTokens", "temperature", "topP", "topK", "seed", "presencePenalty", "frequencyPenalty",
	"responseLogprobs", "logprobs", "responseMimeType", "responseSchema", "responseJsonSchema", "_responseJsonSchema", "thinkingConfig",
}

const (
	cfgCount = iota
	cfgStop
	cfgMax
	cfgTemperature
	cfgTopP
	cfgTopK
	cfgSeed
	cfgPresence
	cfgFrequency
	cfgLogprobs
	cfgTopLogprobs
	cfgMIME
	cfgSchema
	cfgJSONSchema
	cfgJSONSchemaOld
	cfgThinking
)

func decodeConfig(r *llm.Request, v []byte, at string) error {
	var f [16]llm.Raw
	extra, err := fields(v, at, configNames, f[:])
	if err != nil {
		return err
	}
	r.Extra = appendExtra(r.Extra, configPath, extra)
	s := &r.Sampling
	n, err := whole(f[cfgCount], at+"/candidateCount")
	if err != nil {
		return err
	}
	r.N = n.V
	if r.MaxOutput, err = whole(f[cfgMax], at+"/maxOutputTokens"); err != nil {
		return err
	}
	if s.Stop, err = texts(f[cfgStop], at+"/stopSequences"); err != nil {
		return err
	}
	for _, x := range [...]struct {
		i  int
		to *llm.Opt[float64]
	}{
		{cfgTemperature, &s.Temperature},
		{cfgTopP, &s.TopP},
		{cfgPresence, &s.PresencePenalty},
		{cfgFrequency, &s.FrequencyPenalty},
	} {
		if *x.to, err = float(f[x.i], dialect.Child(at, configNames[x.i])); err != nil {
			return err
		}
	}
	for _, x := range [...]struct {
		i  int
		to *llm.Opt[int64]
	}{{cfgTopK, &s.TopK}, {cfgSeed, &s.Seed}, {cfgTopLogprobs, &s.TopLogprobs}} {
		if *x.to, err = whole(f[x.i], dialect.Child(at, configNames[x.i])); err != nil {
			return err
		}
	}
	logprobs, err := boolean(f[cfgLogprobs], at+"/responseLogprobs")
	if err != nil {
		return err
	}
	s.Logprobs = logprobs.V
	if err := decodeFormat(r, f[:], at); err != nil {
		return err
	}
	return decodeThinking(&r.Reasoning, f[cfgThinking], at+"/thinkingConfig")
}

func decodeFormat(r *llm.Request, f []llm.Raw, at string) error {
	mime, err := str(f[cfgMIME], at+"/responseMimeType")
	if err != nil {
		return err
	}
	schema, member := f[cfgJSONSchema], cfgJSONSchema
	if schema == nil {
		schema, member = f[cfgJSONSchemaOld], cfgJSONSchemaOld
	}
	if f[cfgSchema] != nil {
		member = cfgSchema
		if schema != nil {
			return bad(at+"/responseSchema", "given instead of responseJsonSchema, not beside it")
		}
		if schema, err = jsonSchema(f[cfgSchema], at+"/responseSchema"); err != nil {
			return err
		}
	}
	switch {
	case mime == "text/plain" && schema != nil:
		return bad(at+"/responseMimeType", "application/json when there is a schema")
	case mime == "text/plain":
		r.Format = llm.Format{Kind: llm.FormatText, At: at + "/responseMimeType"}
	case (mime == "" || mime == "application/json") && schema != nil:
		r.Format = llm.Format{Kind: llm.FormatSchema, Schema: schema, At: dialect.Child(at, configNames[member])}
	case mime == "application/json":
		r.Format = llm.Format{Kind: llm.FormatJSON, At: at + "/responseMimeType"}
	case mime != "": // text/x.enum and others that nobody else has
		r.Extra = append(r.Extra, llm.Member{Name: configPath + "responseMimeType", Value: f[cfgMIME]})
		for _, i := range [...]int{cfgSchema, cfgJSONSchema, cfgJSONSchemaOld} {
			if f[i] != nil {
				r.Extra = append(r.Extra, llm.Member{Name: configPath + configNames[i], Value: f[i]})
			}
		}
	}
	return nil
}

func decodeThinking(t *llm.Reasoning, v []byte, at string) error {
	var f [3]llm.Raw
	extra, err := fields(v, at, []string{"includeThoughts", "thinkingBudget", "thinkingLevel"}, f[:])
	if err != nil {
		return err
	}
	t.Extra = extra
	show, err := boolean(f[0], at+"/includeThoughts")
	if err != nil {
		return err
	}
	if show.Set {
		t.Show = llm.ShowNone
		if show.V {
			t.Show = llm.ShowSummary
		}
	}
	budget, err := whole(f[1], at+"/thinkingBudget")
	if err != nil {
		return err
	}
	switch {
	case !budget.Set:
	case budget.V == 0:
		t.Mode = llm.ReasoningOff
	case budget.V < 0:
		t.Mode = llm.ReasoningAdaptive
	default:
		t.Mode, t.Budget = llm.ReasoningOn, budget
	}
	level, err := str(f[2], at+"/thinkingLevel")
	if err != nil || level == "" || level == "THINKING_LEVEL_UNSPECIFIED" {
		return err
	}
	if budget.Set {
		return bad(at+"/thinkingLevel", "given instead of thinkingBudget, not beside it")
	}
	e, ok := llm.ParseEffort(level)
	if !ok || !slices.Contains([]llm.Effort{llm.EffortMinimal, llm.EffortLow, llm.EffortMedium, llm.EffortHigh}, e) {
		return bad(at+"/thinkingLevel", "MINIMAL, LOW, MEDIUM or HIGH")
	}
	t.Effort = e
	return nil
}
