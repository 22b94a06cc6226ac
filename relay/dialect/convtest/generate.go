package convtest

import (
	"encoding/base64"
	"fmt"

	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// Features is what a dialect carries without loss. The generators keep to it, so that a round trip
// within the dialect must be exact.
type Features struct {
	Dialect       llm.Dialect // origin of seals
	SystemInPlace bool        // system text after the first turn
	Developer     bool        // tells developer from system
	Images        bool
	ImageURLs     bool
	Documents     bool
	Thinking      bool // in history and answers, with seals
	Redacted      bool
	Refusals      bool
	Custom        bool // custom tools
	ResultMedia   bool
	ResultErrors  bool
	FreeArgs      bool // arguments are text: keeps white space and member order
	Sampling      bool // temperature and top_p
	TopK          bool
	Seed          bool
	Stop          bool
	Schema        bool
	Effort        bool
	Parallel      bool
	User          bool
	ChoiceNamed   bool
	Choices       bool // n
}

var words = []string{"hello", " world", "héllo", "日本語のテキスト", "line\nbreak", `quote " and \ slash`, "\u2028", "emoji 😀", "<tag>", "a"}

func text() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s := ""
		for range rapid.IntRange(1, 4).Draw(t, "words") {
			s += rapid.SampledFrom(words).Draw(t, "word")
		}
		return s
	})
}

func arguments(f Features) *rapid.Generator[string] {
	choices := []string{`{}`, `{"city":"Zürich"}`, `{"a":1,"b":[true,null,"x\"y"],"c":{"d":"\\"}}`, `{"n":-0.5,"s":"日本"}`}
	if f.FreeArgs {
		choices = append(choices, "{ \"a\" : 1 }", `{"b":1,"a":"\u00e9"}`)
	}
	return rapid.SampledFrom(choices)
}

func seal(f Features, t *rapid.T) *llm.Seal {
	raw := rapid.SliceOfN(rapid.Byte(), 3, 40).Draw(t, "seal")
	return &llm.Seal{Origin: f.Dialect, Data: []byte(base64.StdEncoding.EncodeToString(raw))}
}

func image(f Features, t *rapid.T) llm.Part {
	m := &llm.Media{Type: "image/png", Data: []byte("iVBORw0KGgo=")}
	if f.ImageURLs && rapid.Bool().Draw(t, "by url") {
		m = &llm.Media{URL: "https://example.com/a.png"}
	}
	return llm.Part{Kind: llm.PartImage, Media: m}
}

// assistant draws the parts of an assistant turn in the order that every protocol keeps: thinking,
// text or a refusal, calls.
func assistant(f Features, t *rapid.T, id *int) []llm.Part {
	var ps []llm.Part
	if f.Thinking && rapid.Bool().Draw(t, "thinks") {
		p := llm.Part{Kind: llm.PartThinking, Text: text().Draw(t, "thinking"), Seal: seal(f, t)}
		if f.Redacted && rapid.Bool().Draw(t, "redacted") {
			p.Text, p.Redacted = "", true
		}
		ps = append(ps, p)
	}
	calls := rapid.IntRange(0, 3).Draw(t, "calls")
	switch {
	case f.Refusals && calls == 0 && rapid.IntRange(0, 4).Draw(t, "refuses") == 0:
		ps = append(ps, llm.Part{Kind: llm.PartRefusal, Text: text().Draw(t, "refusal")})
	case calls == 0 || rapid.Bool().Draw(t, "speaks"):
		ps = append(ps, llm.Part{Kind: llm.PartText, Text: text().Draw(t, "text")})
	}
	for range calls {
		*id++
		p := llm.Part{Kind: llm.PartCall, ID: fmt.Sprintf("call_%d", *id), Name: "get_weather", Text: arguments(f).Draw(t, "args")}
		if f.Custom && rapid.IntRange(0, 3).Draw(t, "custom") == 0 {
			p.Name, p.Custom, p.Text = "shell", true, text().Draw(t, "input")
		}
		ps = append(ps, p)
	}
	return ps
}

// Requests draws requests in normal form, with calls answered and turns that alternate.
func Requests(f Features) *rapid.Generator[*llm.Request] {
	return rapid.Custom(func(t *rapid.T) *llm.Request {
		r := &llm.Request{From: f.Dialect, Op: llm.OpGenerate, Model: "m", MaxOutput: llm.Some(int64(rapid.IntRange(16, 9000).Draw(t, "max")))}
		if rapid.Bool().Draw(t, "system") {
			r.Messages = append(r.Messages, llm.Message{Role: llm.RoleSystem, Parts: []llm.Part{{Kind: llm.PartText, Text: text().Draw(t, "system text")}}})
		}
		id, called := 0, false
		for range rapid.IntRange(1, 4).Draw(t, "turns") {
			user := llm.Message{Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartText, Text: text().Draw(t, "user text")}}}
			if f.Images && rapid.IntRange(0, 2).Draw(t, "with image") == 0 {
				user.Parts = append(user.Parts, image(f, t))
			}
			if f.Documents && rapid.IntRange(0, 3).Draw(t, "with document") == 0 {
				user.Parts = append(user.Parts, llm.Part{Kind: llm.PartDocument, Media: &llm.Media{Type: "application/pdf", Data: []byte("JVBERi0xLjQK")}})
			}
			r.Messages = append(r.Messages, user)
			if f.SystemInPlace && rapid.IntRange(0, 4).Draw(t, "system in place") == 0 {
				role := llm.RoleSystem
				if f.Developer {
					role = llm.RoleDeveloper
				}
				r.Messages = append(r.Messages, llm.Message{Role: role, Parts: []llm.Part{{Kind: llm.PartText, Text: text().Draw(t, "late system")}}})
			}
			a := llm.Message{Role: llm.RoleAssistant, Parts: assistant(f, t, &id)}
			r.Messages = append(r.Messages, a)
			var results []llm.Part
			for _, p := range a.Parts {
				if p.Kind == llm.PartCall {
					results = append(results, result(f, t, p))
				}
			}
			if results != nil {
				called = true
				r.Messages = append(r.Messages, llm.Message{Role: llm.RoleTool, Parts: results},
					llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{{Kind: llm.PartText, Text: text().Draw(t, "closing")}}})
			}
		}
		r.Messages = append(r.Messages, llm.Message{Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartText, Text: text().Draw(t, "question")}}})
		tools(f, t, r, called)
		settings(f, t, r)
		return r
	})
}

func result(f Features, t *rapid.T, call llm.Part) llm.Part {
	p := llm.Part{
		Kind: llm.PartResult, ID: call.ID, Name: call.Name, Custom: call.Custom,
		Content: []llm.Part{{Kind: llm.PartText, Text: text().Draw(t, "result")}},
	}
	if f.ResultMedia && !call.Custom && rapid.IntRange(0, 2).Draw(t, "result image") == 0 {
		p.Content = append(p.Content, image(Features{}, t))
	}
	p.IsError = f.ResultErrors && rapid.IntRange(0, 3).Draw(t, "failed") == 0
	return p
}

func tools(f Features, t *rapid.T, r *llm.Request, called bool) {
	if !called && rapid.Bool().Draw(t, "no tools") {
		return
	}
	r.Tools = []llm.Tool{{
		Kind: llm.ToolFunction, Name: "get_weather", Description: "Weather of a city",
		Schema: llm.Raw(`{"type":"object","properties":{"city":{"type":"string"}},"additionalProperties":false}`),
	}}
	if f.Custom {
		r.Tools = append(r.Tools, llm.Tool{Kind: llm.ToolCustom, Name: "shell", Description: "Runs a command"})
	}
	r.Choice.Mode = rapid.SampledFrom([]llm.ChoiceMode{llm.ChoiceUnset, llm.ChoiceAuto, llm.ChoiceRequired}).Draw(t, "choice")
	if f.ChoiceNamed && rapid.IntRange(0, 3).Draw(t, "named") == 0 {
		r.Choice = llm.ToolChoice{Mode: llm.ChoiceNamed, Name: "get_weather"}
	}
	if f.Parallel && r.Choice.Mode == llm.ChoiceAuto && rapid.Bool().Draw(t, "serial") {
		r.Parallel = llm.Some(false)
	}
}

func settings(f Features, t *rapid.T, r *llm.Request) {
	some := func(has bool, label string) bool { return has && rapid.Bool().Draw(t, label) }
	if some(f.Sampling, "sampling") {
		r.Sampling.Temperature = llm.Some(float64(rapid.IntRange(0, 10).Draw(t, "temperature")) / 10)
		r.Sampling.TopP = llm.Some(0.95)
	}
	if some(f.TopK, "top k") {
		r.Sampling.TopK = llm.Some(int64(40))
	}
	if some(f.Seed, "seed") {
		r.Sampling.Seed = llm.Some(int64(7))
	}
	if some(f.Stop, "stop") {
		r.Sampling.Stop = []string{"END", "\n\n"}
	}
	if some(f.Schema, "schema") {
		r.Format = llm.Format{Kind: llm.FormatSchema, Name: "answer", Schema: llm.Raw(`{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]}`)}
	}
	if some(f.Effort, "effort") {
		r.Reasoning.Effort = rapid.SampledFrom([]llm.Effort{llm.EffortLow, llm.EffortMedium, llm.EffortHigh}).Draw(t, "effort level")
	}
	if some(f.User, "user") {
		r.User = "user-123"
	}
}

// Responses draws whole answers in normal form.
func Responses(f Features) *rapid.Generator[*llm.Response] {
	return rapid.Custom(func(t *rapid.T) *llm.Response {
		r := &llm.Response{From: f.Dialect, ID: "id_1", Model: "m", Created: Created, HasUsage: true}
		n := 1
		if f.Choices {
			n = rapid.IntRange(1, 3).Draw(t, "n")
		}
		id := 0
		for range n {
			ps := assistant(f, t, &id)
			stop := llm.StopEnd
			switch {
			case llm.HasCalls(ps):
				stop = llm.StopCalls
			case rapid.IntRange(0, 3).Draw(t, "long") == 0:
				stop = llm.StopLength
			}
			r.Choices = append(r.Choices, llm.Choice{Parts: ps, Stop: llm.Stop{Reason: stop}})
		}
		in, out := int64(rapid.IntRange(3, 1000).Draw(t, "input")), int64(rapid.IntRange(1, 500).Draw(t, "output"))
		r.Usage = llm.Usage{Input: in, Cached: in / 3, Output: out}
		if f.Thinking {
			r.Usage.Reasoning = out / 2
		}
		return r
	})
}

// Stream draws one of the legal streams that say r: any cut of the texts, calls interleaved.
func Stream(t *rapid.T, r *llm.Response) []llm.Event {
	type lane struct{ events []llm.Event }
	whole := r.Events(nil)
	out := []llm.Event{whole[0]}
	var lanes []*lane // of the calls that are open side by side
	flush := func() {
		for len(lanes) > 0 {
			i := rapid.IntRange(0, len(lanes)-1).Draw(t, "lane")
			l := lanes[i]
			out = append(out, l.events[0])
			if l.events = l.events[1:]; len(l.events) == 0 {
				lanes = append(lanes[:i], lanes[i+1:]...)
			}
		}
	}
	var calling *lane
	for _, e := range whole[1:] {
		if e.Kind == llm.EventPartStart && e.Part.Kind == llm.PartCall {
			// All starts stay in order; what follows a start is interleaved.
			out = append(out, e)
			calling = &lane{}
			lanes = append(lanes, calling)
			continue
		}
		pieces := []llm.Event{e}
		if e.Kind == llm.EventDelta {
			pieces = cutText(t, e)
		}
		if calling != nil && (e.Kind == llm.EventDelta || e.Kind == llm.EventPartEnd) {
			calling.events = append(calling.events, pieces...)
			if e.Kind == llm.EventPartEnd {
				calling = nil
			}
			continue
		}
		flush()
		out = append(out, pieces...)
	}
	flush()
	return out
}

func cutText(t *rapid.T, e llm.Event) (out []llm.Event) {
	rest := []rune(e.Text)
	for len(rest) > 0 {
		n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
		piece := e
		piece.Text, piece.Logprobs = string(rest[:n]), nil
		if len(out) == 0 {
			piece.Logprobs = e.Logprobs
		}
		out, rest = append(out, piece), rest[n:]
	}
	return out
}
