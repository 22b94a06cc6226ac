package openai

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// What the conversions of both dialects share. Readers take a value as dialect.Walk gives it and its
// JSON pointer; absent and null mean "not stated" everywhere.

// wrong is the fault of a member that does not have the form it must have.
func wrong(at, want string) error {
	f := fault.New(fault.Malformed, "%s must be %s", strings.TrimPrefix(at, "/"), want)
	f.Param = strings.TrimPrefix(at, "/")
	return f
}

func unset(v []byte) bool { return len(v) == 0 || v[0] == 'n' }

func readText(v []byte, at string) (string, error) {
	return dialect.Text(v, strings.TrimPrefix(at, "/"))
}

// readName reads a string that must be there and say something.
func readName(v []byte, at string) (string, error) {
	s, err := readText(v, at)
	if err == nil && s == "" {
		err = wrong(at, "a string that is not empty")
	}
	return s, err
}

// readNumber reads a number from lo to hi.
func readNumber(v []byte, at string, lo, hi float64) (llm.Opt[float64], error) {
	if unset(v) {
		return llm.Opt[float64]{}, nil
	}
	n, err := strconv.ParseFloat(string(v), 64)
	if err != nil || !(n >= lo && n <= hi) {
		return llm.Opt[float64]{}, wrong(at, "a number from "+strconv.FormatFloat(lo, 'g', -1, 64)+" to "+strconv.FormatFloat(hi, 'g', -1, 64))
	}
	return llm.Some(n), nil
}

// readWhole reads a whole number of at least least.
func readWhole(v []byte, at string, least int64) (llm.Opt[int64], error) {
	if unset(v) {
		return llm.Opt[int64]{}, nil
	}
	n, err := dialect.Whole(v, strings.TrimPrefix(at, "/"), least)
	return llm.Opt[int64]{V: n, Set: err == nil}, err
}

func readBool(v []byte, at string) (llm.Opt[bool], error) {
	if unset(v) {
		return llm.Opt[bool]{}, nil
	}
	b, err := dialect.Bool(v, strings.TrimPrefix(at, "/"))
	return llm.Opt[bool]{V: b, Set: err == nil}, err
}

// isList and isObject check the form of a value that is stated.
func isList(v []byte, at string) error {
	if !unset(v) && v[0] != '[' {
		return wrong(at, "a list")
	}
	return nil
}

func isObject(v []byte, at string) error {
	if !unset(v) && v[0] != '{' {
		return wrong(at, "an object")
	}
	return nil
}

// readPairs reads an object of strings: metadata.
func readPairs(v []byte, at string) ([]llm.Pair, error) {
	if err := isObject(v, at); err != nil {
		return nil, err
	}
	var out []llm.Pair
	for c := dialect.Walk(v); c.Next(); {
		s, err := readText(c.Value, dialect.Child(at, string(c.Name)))
		if err != nil {
			return nil, err
		}
		out = append(out, llm.Pair{Key: string(c.Name), Value: s})
	}
	return out, nil
}

// keep notes a member that the canonical model has no place for; one that says nothing is dropped.
func keep(e llm.Extra, name, v []byte) llm.Extra {
	if !dialect.Filled(v) {
		return e
	}
	return append(e, llm.Member{Name: string(name), Value: llm.Raw(v)})
}

// readContent reads content or output, a string or a list of parts that part reads. Text that says nothing
// is no part: some vendors refuse it (vercel/ai #5576).
func readContent(v []byte, at string, part func(p *llm.Part, v []byte) error) ([]llm.Part, error) {
	switch {
	case unset(v):
		return nil, nil
	case v[0] == '"':
		if len(v) == 2 {
			return nil, nil
		}
		return []llm.Part{{Kind: llm.PartText, Text: dialect.Unquote(v), At: at}}, nil
	case v[0] != '[':
		return nil, wrong(at, "a string or a list of parts")
	}
	var out []llm.Part
	i := 0
	for c := dialect.Walk(v); c.Next(); i++ {
		p := llm.Part{At: dialect.Index(at, i)}
		if unset(c.Value) || c.Value[0] != '{' {
			return nil, wrong(p.At, "an object")
		}
		if err := part(&p, c.Value); err != nil {
			return nil, err
		}
		if (p.Kind == llm.PartText || p.Kind == llm.PartRefusal) && p.Text == "" {
			continue
		}
		out = append(out, p)
	}
	return out, nil
}

// readSchema reads a member of the object that describes an output schema: response_format.json_schema
// of chat, text.format of Responses.
func readSchema(f *llm.Format, name, v []byte, at string) (err error) {
	switch string(name) {
	case "name":
		f.Name, err = readText(v, at+"/name")
	case "description":
		f.Description, err = readText(v, at+"/description")
	case "schema":
		if err = isObject(v, at+"/schema"); !unset(v) {
			f.Schema = llm.Raw(v)
		}
	case "strict":
		f.Strict, err = readBool(v, at+"/strict")
	default:
		f.Extra = keep(f.Extra, name, v)
	}
	return err
}

// cacheMark reads prompt_cache_breakpoint {ttl} (openai-go v3.96.0: 30m, 12h), or the cache_control
// {type, ttl} of OpenRouter and LiteLLM, whose default is Anthropic's five minutes.
func cacheMark(name string, v []byte) llm.CacheTTL {
	if unset(v) {
		return llm.CacheUnset
	}
	for c := dialect.Walk(v); c.Next(); {
		if string(c.Name) != "ttl" || c.Value[0] != '"' {
			continue
		}
		switch dialect.Unquote(c.Value) {
		case "5m":
			return llm.Cache5m
		case "30m":
			return llm.Cache30m
		case "1h":
			return llm.Cache1h
		case "12h":
			return llm.Cache12h
		}
	}
	if name == "cache_control" {
		return llm.Cache5m
	}
	return llm.CacheDefault
}

// writeCacheMark is the other way round; ttl keeps which of both it was.
func writeCacheMark(w *dialect.Writer, ttl llm.CacheTTL) {
	switch ttl {
	case llm.CacheUnset:
	case llm.Cache5m:
		w.RawMember("cache_control", []byte(`{"type":"ephemeral"}`))
	case llm.Cache1h:
		w.RawMember("cache_control", []byte(`{"type":"ephemeral","ttl":"1h"}`))
	case llm.CacheDefault:
		w.RawMember("prompt_cache_breakpoint", []byte(`{"mode":"explicit"}`))
	default:
		w.RawMember("prompt_cache_breakpoint", []byte(`{"mode":"explicit","ttl":"`+ttl.String()+`"}`))
	}
}

// vendor reports whether d is one of OpenAI's own protocols, whose words and file ids are the same.
func vendor(d llm.Dialect) bool { return d == llm.OpenAIChat || d == llm.OpenAIResponses }

// maxUser is OpenAI's limit for user and safety_identifier.
const maxUser = 64

// endUser is the end user's id as OpenAI takes it: a longer one (Claude Code's has 150 characters) is
// hashed, which still tells users apart; rewritten says so.
func endUser(id string) (short string, rewritten bool) {
	if len(id) <= maxUser {
		return id, false
	}
	h := sha256.Sum256([]byte(id))
	return hex.EncodeToString(h[:]), true
}

// tier is the service tier in OpenAI's words; ok is false when there is none for it, "" = the default.
func tier(r *llm.Request) (word string, ok bool) {
	if r.ServiceTier == "" || vendor(r.From) {
		return r.ServiceTier, true
	}
	switch strings.ToLower(r.ServiceTier) {
	case "auto", "unspecified":
		return "", true
	case "standard_only", "standard", "default":
		return "default", true
	case "flex":
		return "flex", true
	case "priority":
		return "priority", true
	}
	return "", false
}

// schemaName is name as OpenAI takes it: required, at most 64 of [a-zA-Z0-9_-].
func schemaName(name string) string {
	b := []byte(name[:min(len(name), 64)])
	for i, c := range b {
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			b[i] = '_'
		}
	}
	if len(b) == 0 {
		return "response"
	}
	return string(b)
}

// mentionsJSON reports whether a text of r has the word that OpenAI demands for its JSON mode.
func mentionsJSON(r *llm.Request) bool {
	found := false
	r.Parts(func(p *llm.Part) {
		found = found || p.Kind == llm.PartText && (strings.Contains(p.Text, "JSON") || strings.Contains(p.Text, "json") || strings.Contains(p.Text, "Json"))
	})
	return found
}

// documentText is a document that is plain text, stated as such or by its type; ok is false for others.
func documentText(m *llm.Media) (text string, ok bool) {
	switch {
	case m.Text != "":
		text = m.Text
	case m.Data != nil && (strings.HasPrefix(m.Type, "text/") || m.Type == "application/json"):
		b, err := base64.StdEncoding.DecodeString(string(m.Data))
		if err != nil {
			return "", false
		}
		text = string(b)
	default:
		return "", false
	}
	if m.Name != "" {
		text = m.Name + "\n\n" + text
	}
	return text, true
}

// readLogprobs reads a list of tokens with their log probabilities.
func readLogprobs(v []byte) []llm.Logprob {
	var out []llm.Logprob
	for c := dialect.Walk(v); c.Next(); {
		var p llm.Logprob
		for m := dialect.Walk(c.Value); m.Next(); {
			if string(m.Name) != "top_logprobs" {
				readLogprob(&p.Token, &p.Value, &p.Bytes, &m)
				continue
			}
			for t := dialect.Walk(m.Value); t.Next(); {
				var top llm.TopLogprob
				for x := dialect.Walk(t.Value); x.Next(); {
					readLogprob(&top.Token, &top.Value, &top.Bytes, &x)
				}
				p.Top = append(p.Top, top)
			}
		}
		out = append(out, p)
	}
	return out
}

func readLogprob(token *string, value *float64, raw *[]byte, m *dialect.Cursor) {
	switch string(m.Name) {
	case "token":
		if m.Value[0] == '"' {
			*token = dialect.Unquote(m.Value)
		}
	case "logprob":
		if f, err := strconv.ParseFloat(string(m.Value), 64); err == nil {
			*value = f
		}
	case "bytes":
		if m.Value[0] != '[' {
			return
		}
		*raw = []byte{}
		for b := dialect.Walk(m.Value); b.Next(); {
			*raw = append(*raw, byte(dialect.Count(b.Value)))
		}
	}
}

// writeLogprobs writes such a list.
func writeLogprobs(w *dialect.Writer, ps []llm.Logprob) {
	w.Open('[')
	for i := range ps {
		p := &ps[i]
		w.Open('{')
		writeLogprob(w, p.Token, p.Value, p.Bytes)
		w.Name("top_logprobs")
		w.Open('[')
		for j := range p.Top {
			w.Open('{')
			writeLogprob(w, p.Top[j].Token, p.Top[j].Value, p.Top[j].Bytes)
			w.Close('}')
		}
		w.Close(']')
		w.Close('}')
	}
	w.Close(']')
}

func writeLogprob(w *dialect.Writer, token string, value float64, raw []byte) {
	w.StrMember("token", token)
	w.FloatMember("logprob", value)
	w.Name("bytes")
	if raw == nil {
		w.Null()
		return
	}
	w.Open('[')
	for _, b := range raw {
		w.Int(int64(b))
	}
	w.Close(']')
}
