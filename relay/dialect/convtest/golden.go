package convtest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Config says what Run runs.
type Config struct {
	Corpus string // folder of the cases, NAME.txtar
	Golden string // folder of the results: NAME/CLIENT.txtar, NAME/PROVIDER.answer.txtar, NAME/CLIENT+PROVIDER.txtar
	Codecs []Codec
	Update bool        // rewrite Golden instead of comparing
	Only   llm.Dialect // only what this dialect has a part in; "" = all
}

// A case is a txtar archive. Its comment says what it shows. Files, each optional:
//
//	options                  lines "key: value": op (count_tokens, embed, embed_batch), model, max_output, quirks (names of
//	                         dialect.Quirks fields, comma-separated), stream-differs (the reason why a
//	                         stream of this case says something else than the whole answer)
//	client/DIALECT.json      the request, as clients of that dialect write it
//	provider/DIALECT.json    the whole answer
//	provider/DIALECT.sse     the same answer as a stream
//
// Every client request goes to every provider, and every answer to every client. A client without a
// request of its own gets the answers to a plain request.
type testCase struct {
	name    string
	archive *txtar.Archive
	op      llm.Op
	differs string
	encode  dialect.EncodeOptions
}

// Run runs the corpus over all pairs and compares with the golden files. It also checks, for every
// case: streams are legal and the same at every split; stream and whole answer are equal; what a
// client of dialect X receives, X's own provider half reads as the same text, calls and usage; and
// requests and answers keep their meaning through both halves of their own dialect.
func Run(t *testing.T, cfg Config) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.Corpus, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", cfg.Corpus, err)
	}
	for _, f := range files {
		c := load(t, f)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, cfg)
		})
	}
}

func load(t *testing.T, path string) *testCase {
	t.Helper()
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &testCase{
		name: strings.TrimSuffix(filepath.Base(path), ".txtar"), archive: a, op: llm.OpGenerate,
		encode: dialect.EncodeOptions{Model: "upstream-model", MaxOutput: 32000},
	}
	if len(bytes.TrimSpace(a.Comment)) == 0 {
		t.Fatalf("%s: says nothing about what it shows", path)
	}
	for _, f := range a.Files {
		switch {
		case f.Name == "options":
			for line := range strings.Lines(string(f.Data)) {
				if k, v, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !c.option(k, v) {
					t.Fatalf("%s: option %q", path, line)
				}
			}
		case !known(f.Name):
			t.Fatalf("%s: file %q has no meaning", path, f.Name)
		}
	}
	return c
}

func known(name string) bool {
	side, rest, _ := strings.Cut(name, "/")
	d, ext, _ := strings.Cut(rest, ".")
	return llm.Dialect(d).Valid() && (side == "client" && ext == "json" || side == "provider" && (ext == "json" || ext == "sse"))
}

func (c *testCase) option(k, v string) bool {
	switch k {
	case "op":
		for _, op := range [...]llm.Op{llm.OpCountTokens, llm.OpEmbed, llm.OpEmbedBatch} {
			if v == op.String() {
				c.op = op
				return true
			}
		}
		return false
	case "model":
		c.encode.Model = v
	case "max_output":
		n, err := strconv.ParseInt(v, 10, 64)
		c.encode.MaxOutput = n
		return err == nil
	case "stream-differs":
		c.differs = v
	case "quirks":
		q := reflect.ValueOf(&c.encode.Quirks).Elem()
		for name := range strings.SplitSeq(v, ",") {
			f := q.FieldByName(strings.TrimSpace(name))
			if !f.IsValid() {
				return false
			}
			f.SetBool(true)
		}
	default:
		return false
	}
	return true
}

func (c *testCase) file(name string) []byte {
	for _, f := range c.archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func (c *testCase) run(t *testing.T, cfg Config) {
	if c.op == llm.OpEmbed || c.op == llm.OpEmbedBatch {
		c.embed(t, cfg)
		return
	}
	requests := make([]*llm.Request, len(cfg.Codecs))
	for i, k := range cfg.Codecs {
		body := bytes.TrimSpace(c.file("client/" + string(k.Dialect) + ".json"))
		if body == nil || k.Client == nil {
			continue
		}
		r, err := DecodeRequest(k, c.op, body)
		if r != nil {
			requests[i] = r
			if k.Provider != nil && (cfg.Only == "" || cfg.Only == k.Dialect) {
				RoundTripRequest(t, k, r, dialect.EncodeOptions{Model: "m", Quirks: dialect.Quirks{SystemInPlace: true}})
			}
		}
		if cfg.Only == "" || cfg.Only == k.Dialect {
			a := new(txtar.Archive)
			if err != nil {
				add(a, "refused.txt", refusal(err))
			} else {
				add(a, "canonical.txt", Dump(r))
			}
			c.compare(t, cfg, string(k.Dialect), a)
		}
	}
	answers := make([]*llm.Response, len(cfg.Codecs))
	streams := make([][]llm.Event, len(cfg.Codecs))
	for i, k := range cfg.Codecs {
		if k.Provider == nil {
			continue
		}
		mine := cfg.Only == "" || cfg.Only == k.Dialect
		answers[i], streams[i] = c.answer(t, cfg, k, mine)
	}
	for i, client := range cfg.Codecs {
		if client.Client != nil && c.op == llm.OpGenerate && (cfg.Only == "" || cfg.Only == client.Dialect) {
			c.home(t, client, answers[i], streams[i])
		}
		for j, provider := range cfg.Codecs {
			if i == j || client.Client == nil || provider.Provider == nil ||
				cfg.Only != "" && cfg.Only != client.Dialect && cfg.Only != provider.Dialect {
				continue
			}
			a := new(txtar.Archive)
			c.request(a, requests[i], provider)
			c.reply(t, a, client, requests[i], answers[j], streams[j])
			if len(a.Files) > 0 {
				c.compare(t, cfg, string(client.Dialect)+"+"+string(provider.Dialect), a)
			}
		}
	}
}

// home takes what a provider said through a client of its own dialect.
func (c *testCase) home(t *testing.T, k Codec, whole *llm.Response, events []llm.Event) {
	if whole != nil {
		RoundTripResponse(t, k, whole)
	}
	if _, err := llm.Collect(events); len(events) > 0 && err == nil {
		RoundTripEvents(t, k, events)
	}
}

// answer decodes what the provider says, whole and streamed.
func (c *testCase) answer(t *testing.T, cfg Config, k Codec, mine bool) (*llm.Response, []llm.Event) {
	unary := bytes.TrimSpace(c.file("provider/" + string(k.Dialect) + ".json"))
	stream := c.file("provider/" + string(k.Dialect) + ".sse")
	a := new(txtar.Archive)
	var whole *llm.Response
	if len(unary) > 0 {
		var err error
		if whole, err = k.Provider.DecodeResponse(c.op, unary, dialect.DecodeOptions{Op: c.op, ID: RequestID}); err != nil {
			whole = nil
			add(a, "fault.txt", refusal(err))
		} else {
			add(a, "canonical.txt", Dump(whole))
		}
	}
	var events []llm.Event
	if len(stream) > 0 {
		if mine {
			events = EverySplit(t, k.Provider, stream)
		} else {
			events, _ = DecodeStream(k.Provider, stream)
		}
		var b strings.Builder
		for i := range events {
			b.WriteString(Dump(&events[i]))
			b.WriteString("\n")
		}
		add(a, "events.txt", b.String())
	}
	if mine && whole != nil && len(stream) > 0 && c.differs == "" {
		StreamEqualsUnary(t, k.Provider, unary, stream)
	}
	if mine && len(a.Files) > 0 {
		c.compare(t, cfg, string(k.Dialect)+".answer", a)
	}
	return whole, events
}

// request encodes r for the provider.
func (c *testCase) request(a *txtar.Archive, r *llm.Request, provider Codec) {
	if r == nil {
		return
	}
	enc, err := provider.Provider.EncodeRequest(r, c.encode)
	if err != nil {
		add(a, "refused.txt", refusal(err))
		return
	}
	for _, name := range slices.Sorted(maps.Keys(enc.Header)) {
		add(a, "upstream.header", name+": "+strings.Join(enc.Header[name], ", "))
	}
	add(a, "upstream.json", Indent(enc.Body.Bytes()))
	add(a, "losses.txt", lossText(enc.Losses))
	add(a, "after.txt", afterText(&enc.After))
}

// afterText is what the relay does itself to the answer.
func afterText(a *dialect.After) string {
	var b strings.Builder
	for _, s := range a.Stop {
		fmt.Fprintf(&b, "stop %q\n", s)
	}
	for _, wire := range slices.Sorted(maps.Keys(a.Names)) {
		fmt.Fprintf(&b, "name %s = %s\n", wire, a.Names[wire])
	}
	return b.String()
}

// reply encodes what a provider said for the client, and has the client's own provider half read it.
func (c *testCase) reply(t *testing.T, a *txtar.Archive, client Codec, r *llm.Request, whole *llm.Response, events []llm.Event) {
	o := Answer(client.Dialect, r)
	if whole != nil {
		body, losses, err := client.Client.EncodeResponse(whole, o)
		if err != nil {
			add(a, "answer.fault", refusal(err))
		} else {
			add(a, "answer.json", Indent(body))
			add(a, "answer.losses", lossText(losses))
			if client.Provider != nil && c.op == llm.OpGenerate {
				back, err := client.Provider.DecodeResponse(c.op, body, dialect.DecodeOptions{Op: c.op})
				SameAnswer(t, string(client.Dialect)+" answer", whole, back, losses, err)
			}
		}
	}
	if len(events) > 0 {
		stream, losses, err := EncodeStream(client.Client, o, events)
		if err != nil {
			add(a, "stream.fault", refusal(err))
			return
		}
		add(a, "stream.sse", string(bytes.ReplaceAll(stream, []byte("\r\n"), []byte("\n"))))
		add(a, "stream.losses", lossText(losses))
		if client.Provider == nil {
			return
		}
		want, werr := llm.Collect(events)
		again, err := DecodeStream(client.Provider, stream)
		if err != nil {
			t.Errorf("%s stream: its own decoder refuses it: %v", client.Dialect, err)
			return
		}
		back, err := llm.Collect(again)
		if werr != nil {
			if err == nil {
				t.Errorf("%s stream: the failure %v is not shown", client.Dialect, werr)
			}
			return
		}
		SameAnswer(t, string(client.Dialect)+" stream", want, back, losses, err)
	}
}

// SameAnswer compares what every protocol can carry: answer text, calls with their arguments, and usage
// where both state it. Only answers beside the first may be missing, when that is reported.
func SameAnswer(t *testing.T, what string, want, got *llm.Response, losses []llm.Loss, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: its own decoder fails: %v", what, err)
		return
	}
	said := content(want)
	if slices.ContainsFunc(losses, func(l llm.Loss) bool { return l.Path == "/choices/1" || l.Path == "/candidates/1" }) {
		said = said[:1]
	}
	if a, b := counts(want), counts(got); want.HasUsage && got.HasUsage && a != b {
		t.Errorf("%s states other usage: %+v, the provider %+v", what, b, a)
	}
	if d := cmp.Diff(said, content(got)); d != "" {
		t.Errorf("%s says something else (-provider +client):\n%s", what, d)
	}
}

// counts is the usage without what only one vendor tells apart.
func counts(r *llm.Response) llm.Usage {
	u := r.Usage
	return llm.Usage{Input: u.Input, Cached: u.Cached, Output: u.Output, Reasoning: u.Reasoning}
}

type said struct {
	Text  string
	Calls []string
}

func content(r *llm.Response) (all []said) {
	for i := range r.Choices {
		var s said
		for j := range r.Choices[i].Parts {
			switch p := &r.Choices[i].Parts[j]; p.Kind {
			case llm.PartText, llm.PartRefusal: // a refusal is text where there is no part for it
				s.Text += p.Text
			case llm.PartCall:
				s.Calls = append(s.Calls, p.Name+compact(llm.Raw(p.Args())))
			}
		}
		all = append(all, s)
	}
	return all
}

func add(a *txtar.Archive, name, text string) {
	if text == "" {
		return
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if n := len(a.Files); n > 0 && a.Files[n-1].Name == name {
		a.Files[n-1].Data = append(a.Files[n-1].Data, text...)
		return
	}
	a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(text)})
}

func refusal(err error) string {
	f := fault.As(err)
	s := f.Kind.String() + ": " + f.Text() + "\n"
	if f.Param != "" {
		s += "param " + f.Param + "\n"
	}
	for _, x := range f.Fields {
		s += "field " + x + "\n"
	}
	if f.Kind == fault.Internal {
		s += "cause " + err.Error() + "\n"
	}
	return s
}

func lossText(ls []llm.Loss) string {
	var b strings.Builder
	for _, l := range ls {
		fmt.Fprintf(&b, "%s %s\n", l.Path, l.Reason)
	}
	return b.String()
}

func (c *testCase) compare(t *testing.T, cfg Config, name string, got *txtar.Archive) {
	t.Helper()
	path := filepath.Join(cfg.Golden, c.name, name+".txtar")
	text := txtar.Format(got)
	if cfg.Update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is missing: run with -update and read it", path)
		return
	} else if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(text)); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, d)
	}
}
