package anthropic

import (
	"strconv"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// minBudget is the vendor's smallest thinking budget in tokens.
const minBudget = 1024

// requestDecoder reads one client request.
type requestDecoder struct {
	r      *llm.Request
	system []llm.Message
	older  llm.Raw // output_format, what output_config.format was called in beta
}

// DecodeRequest implements dialect.ClientCodec.
func (Frontend) DecodeRequest(op llm.Op, body []byte, _ dialect.Head) (*llm.Request, error) {
	d := requestDecoder{r: &llm.Request{From: llm.AnthropicMessages, Op: op, IncludeUsage: true}}
	for c := dialect.Walk(body); c.Next(); {
		if unset(c.Value) {
			continue
		}
		if err := d.member(string(c.Name), c.Value); err != nil {
			return nil, err
		}
	}
	r := d.r
	switch {
	case r.Model == "":
		return nil, malformed("/model", "Field required")
	case op == llm.OpGenerate && !r.MaxOutput.Set:
		return nil, malformed("/max_tokens", "Field required")
	case len(r.Messages) == 0:
		return nil, malformed("/messages", "at least one message is required")
	}
	if r.Format.Kind == llm.FormatUnset && d.older != nil {
		if err := d.format(d.older, "/output_format"); err != nil {
			return nil, err
		}
	}
	if d.system != nil {
		r.Messages = append(d.system, r.Messages...)
	}
	return r, nil
}

func (d *requestDecoder) member(name string, v []byte) (err error) {
	r := d.r
	switch name {
	case "model":
		r.Model, err = dialect.Text(v, name)
	case "max_tokens":
		r.MaxOutput.Set = true
		r.MaxOutput.V, err = dialect.Whole(v, name, 0)
	case "stream":
		r.Stream, err = dialect.Bool(v, name)
	case "system":
		return d.systemText(v)
	case "messages":
		return d.messages(v)
	case "tools":
		return d.tools(v)
	case "tool_choice":
		return d.choice(v)
	case "thinking":
		return d.thinking(v)
	case "output_config":
		return d.output(v)
	case "output_format":
		d.older = v
	case "stop_sequences":
		return each(v, "/stop_sequences", func(at string, v []byte) error {
			if !isText(v) {
				return malformed(at, "must be a string")
			}
			r.Sampling.Stop = append(r.Sampling.Stop, dialect.Unquote(v))
			return nil
		})
	case "temperature":
		r.Sampling.Temperature, err = number(v, name, 0, 1)
	case "top_p":
		r.Sampling.TopP, err = number(v, name, 0, 1)
	case "top_k":
		r.Sampling.TopK.Set = true
		r.Sampling.TopK.V, err = dialect.Whole(v, name, 0)
	case "metadata":
		return d.metadata(v)
	case "service_tier":
		r.ServiceTier, err = dialect.Text(v, name)
	case "cache_control":
		r.Cache, err = cacheMark(v, "/cache_control")
	default:
		r.Extra = append(r.Extra, llm.Member{Name: name, Value: llm.Raw(v)})
	}
	return err
}

// each walks an array.
func each(v []byte, at string, f func(at string, v []byte) error) error {
	if !isArray(v) {
		return malformed(at, "must be an array")
	}
	i := 0
	for c := dialect.Walk(v); c.Next(); i++ {
		if err := f(dialect.Index(at, i), c.Value); err != nil {
			return err
		}
	}
	return nil
}

// members walks an object.
func members(v []byte, at string, f func(name string, v []byte) error) error {
	if !isObject(v) {
		return malformed(at, "must be an object")
	}
	for c := dialect.Walk(v); c.Next(); {
		if unset(c.Value) {
			continue
		}
		if err := f(string(c.Name), c.Value); err != nil {
			return err
		}
	}
	return nil
}

func number(v []byte, name string, low, high float64) (llm.Opt[float64], error) {
	n, err := strconv.ParseFloat(string(v), 64)
	if err != nil || n < low || n > high {
		return llm.Opt[float64]{}, malformed("/"+name, "must be a number from "+strconv.FormatFloat(low, 'g', -1, 64)+" to "+strconv.FormatFloat(high, 'g', -1, 64))
	}
	return llm.Some(n), nil
}

func cacheMark(v []byte, at string) (llm.CacheTTL, error) {
	if unset(v) {
		return llm.CacheUnset, nil
	}
	mark := llm.CacheDefault
	return mark, members(v, at, func(name string, v []byte) error {
		switch {
		case name == "type" && str(v) != "ephemeral":
			return malformed(at+"/type", "must be ephemeral")
		case name != "ttl":
		case str(v) == "5m":
			mark = llm.Cache5m
		case str(v) == "1h":
			mark = llm.Cache1h
		default:
			return malformed(at+"/ttl", "must be 5m or 1h")
		}
		return nil
	})
}

func (d *requestDecoder) systemText(v []byte) error {
	m := llm.Message{Role: llm.RoleSystem, At: "/system"}
	if isText(v) {
		if s := dialect.Unquote(v); s != "" {
			m.Parts = []llm.Part{{Kind: llm.PartText, Text: s, At: m.At}}
		}
	} else if err := each(v, m.At, func(at string, v []byte) error { return systemBlock(&m, at, v) }); err != nil {
		return err
	}
	if m.Parts != nil {
		d.system = []llm.Message{m}
	}
	return nil
}

func systemBlock(m *llm.Message, at string, v []byte) error {
	b, ok := readBlock(v)
	if !ok || b.kind != "text" || !isText(b.text) {
		return malformed(at, "system text must be text blocks")
	}
	p := llm.Part{Kind: llm.PartText, Text: dialect.Unquote(b.text), At: at, Extra: b.extra}
	var err error
	if p.Cache, err = cacheMark(b.cache, at+"/cache_control"); err != nil {
		return err
	}
	if p.Text != "" {
		m.Parts = append(m.Parts, p)
	}
	return nil
}

func (d *requestDecoder) tools(v []byte) error {
	return each(v, "/tools", func(at string, v []byte) error {
		t := llm.Tool{At: at}
		kind := ""
		err := members(v, at, func(name string, v []byte) (err error) {
			switch name {
			case "type":
				kind, err = dialect.Text(v, trim(at)+"/type")
			case "name":
				t.Name, err = dialect.Text(v, trim(at)+"/name")
			case "description":
				t.Description, err = dialect.Text(v, trim(at)+"/description")
			case "input_schema":
				if !isObject(v) {
					return malformed(at+"/input_schema", "must be an object")
				}
				t.Schema = llm.Raw(v)
			case "strict":
				t.Strict.Set = true
				t.Strict.V, err = dialect.Bool(v, trim(at)+"/strict")
			case "cache_control":
				t.Cache, err = cacheMark(v, at+"/cache_control")
			default:
				if saysSomething([]byte(name), v) {
					t.Extra = append(t.Extra, llm.Member{Name: name, Value: llm.Raw(v)})
				}
			}
			return err
		})
		switch {
		case err != nil:
			return err
		case kind != "" && kind != "custom":
			// The vendor runs it, or defines its schema: only the vendor knows it.
			t = llm.Tool{
				Kind: llm.ToolHosted, Name: t.Name, Cache: t.Cache, At: at,
				Opaque: &llm.Opaque{Origin: llm.AnthropicMessages, Type: kind, JSON: llm.Raw(v)},
			}
		case t.Name == "":
			return malformed(at+"/name", "Field required")
		case t.Schema == nil:
			return malformed(at+"/input_schema", "Field required")
		}
		d.r.Tools = append(d.r.Tools, t)
		return nil
	})
}

func (d *requestDecoder) choice(v []byte) error {
	c := &d.r.Choice
	kind, name := "", ""
	if err := members(v, "/tool_choice", func(member string, v []byte) (err error) {
		switch member {
		case "type":
			kind, err = dialect.Text(v, "tool_choice/type")
		case "name":
			name, err = dialect.Text(v, "tool_choice/name")
		case "disable_parallel_tool_use":
			var off bool
			if off, err = dialect.Bool(v, "tool_choice/disable_parallel_tool_use"); err == nil {
				d.r.Parallel = llm.Some(!off)
			}
		default:
			c.Extra = append(c.Extra, llm.Member{Name: member, Value: llm.Raw(v)})
		}
		return err
	}); err != nil {
		return err
	}
	switch kind {
	case "auto":
		c.Mode = llm.ChoiceAuto
	case "any":
		c.Mode = llm.ChoiceRequired
	case "none":
		c.Mode = llm.ChoiceNone
	case "tool":
		if name == "" {
			return malformed("/tool_choice/name", "Field required")
		}
		c.Mode, c.Name = llm.ChoiceNamed, name
	default:
		return malformed("/tool_choice/type", "must be auto, any, tool or none")
	}
	return nil
}

func (d *requestDecoder) thinking(v []byte) error {
	q := &d.r.Reasoning
	kind := ""
	if err := members(v, "/thinking", func(name string, v []byte) (err error) {
		switch name {
		case "type":
			kind, err = dialect.Text(v, "thinking/type")
		case "budget_tokens":
			q.Budget.Set = true
			q.Budget.V, err = dialect.Whole(v, "thinking/budget_tokens", minBudget)
		case "display":
			switch str(v) {
			case "summarized":
				q.Show = llm.ShowSummary
			case "omitted":
				q.Show = llm.ShowNone
			default:
				return malformed("/thinking/display", "must be summarized or omitted")
			}
		default:
			q.Extra = append(q.Extra, llm.Member{Name: name, Value: llm.Raw(v)})
		}
		return err
	}); err != nil {
		return err
	}
	if q.Show == llm.ShowUnset && kind != "disabled" {
		q.Show, q.Implied = llm.ShowSummary, true // who switches thinking on gets to see it
	}
	switch kind {
	case "enabled":
		if q.Mode = llm.ReasoningOn; !q.Budget.Set {
			return malformed("/thinking/budget_tokens", "Field required")
		}
		return nil
	case "adaptive":
		q.Mode = llm.ReasoningAdaptive
	case "between_tools":
		q.Mode = llm.ReasoningBetweenTools
	case "disabled":
		q.Mode = llm.ReasoningOff
	default:
		return malformed("/thinking/type", "must be enabled, adaptive, between_tools or disabled")
	}
	if q.Budget.Set {
		return malformed("/thinking/budget_tokens", "belongs to type enabled only")
	}
	return nil
}

func (d *requestDecoder) output(v []byte) error {
	return members(v, "/output_config", func(name string, v []byte) error {
		switch name {
		case "effort":
			e, ok := llm.ParseEffort(str(v))
			if !ok || e < llm.EffortLow {
				return malformed("/output_config/effort", "must be low, medium, high, xhigh or max")
			}
			d.r.Reasoning.Effort = e
		case "format":
			return d.format(v, "/output_config/format")
		default:
			d.r.Format.Extra = append(d.r.Format.Extra, llm.Member{Name: name, Value: llm.Raw(v)})
		}
		return nil
	})
}

func (d *requestDecoder) format(v []byte, at string) error {
	f := &d.r.Format
	kind := ""
	if err := members(v, at, func(name string, v []byte) error {
		switch name {
		case "type":
			kind = str(v)
		case "schema":
			if !isObject(v) {
				return malformed(at+"/schema", "must be an object")
			}
			f.Schema = llm.Raw(v)
		}
		return nil
	}); err != nil {
		return err
	}
	switch {
	case kind != "json_schema":
		return malformed(at+"/type", "must be json_schema")
	case f.Schema == nil:
		return malformed(at+"/schema", "Field required")
	}
	f.Kind, f.At = llm.FormatSchema, at
	return nil
}

func (d *requestDecoder) metadata(v []byte) error {
	return members(v, "/metadata", func(name string, v []byte) (err error) {
		if name != "user_id" {
			return malformed("/metadata", "takes user_id only")
		}
		d.r.User, err = dialect.Text(v, "metadata/user_id")
		return err
	})
}
