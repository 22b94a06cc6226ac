package dialect_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/llm"
)

func TestWriterWritesJSON(t *testing.T) {
	t.Parallel()
	w := dialect.NewWriter([]byte("data: "))
	w.Open('{')
	w.StrMember("s", "a\"\\\n\u2028é\xff")
	w.Name("list")
	w.Open('[')
	w.Int(-3)
	w.Float(0.7)
	w.Float(1e21)
	w.Bool(true)
	w.Null()
	w.Open('{')
	w.Close('}')
	w.Open('[')
	w.Close(']')
	w.Close(']')
	w.RawMember("raw", []byte(`{"x":1}`))
	w.Name("img")
	w.Data("data:image/png;base64,", []byte("AAAA"))
	w.Extra(llm.Extra{{Name: `odd"name`, Value: llm.Raw(`[1]`)}})
	w.IntMember("n", 1)
	w.FloatMember("f", 2)
	w.BoolMember("b", false)
	w.Close('}')
	got := string(w.Take())
	want := "data: " + `{"s":"a\"\\\n` + "\u2028é\uFFFD" + `","list":[-3,0.7,1e+21,true,null,{},[]],"raw":{"x":1},"img":"data:image/png;base64,AAAA","odd\"name":[1],"n":1,"f":2,"b":false}`
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if !jsontext.Value(got[6:]).IsValid() {
		t.Error("not valid JSON")
	}
}

// TestBodyAliasesMedia: a converted body holds large media once (envoyproxy/envoy #40028,
// kortix-ai/suna #6831).
func TestBodyAliasesMedia(t *testing.T) {
	media := bytes.Repeat([]byte("A"), 1<<20)
	build := func() dialect.Body {
		w := dialect.NewBodyWriter(1 << 10)
		w.Open('{')
		for _, name := range []string{"a", "b"} {
			w.Name(name)
			w.Data("data:image/png;base64,", media)
		}
		w.StrMember("c", "x")
		w.Close('}')
		return w.Body()
	}
	b := build()
	flat, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(b.Reader(), 4<<20)))
	if err != nil || !bytes.Equal(flat, b.Bytes()) || len(flat) != b.Len() || !jsontext.Value(flat).IsValid() {
		t.Fatal(len(flat), b.Len(), err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	build()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
		t.Errorf("%d bytes allocated for two pictures of 1 MiB", got)
	}
	if one := dialect.NewBody([]byte("{}")); string(one.Bytes()) != "{}" || one.Len() != 2 {
		t.Error("one piece")
	}
}

func TestBase64(t *testing.T) {
	for _, c := range []struct{ why, in, want string }{
		{"as it is", `"AA+/"`, "AA+/"},
		{"padded", `"AAA="`, "AAA="},
		{"URL alphabet", `"AA-_"`, "AA+/"},
		{"padding missing", `"AA"`, "AA=="},
		{"escaped slash", `"AA+\/"`, "AA+/"},
		{"empty", `""`, ""},
		{"a rest of one", `"AAAAA"`, ""},
		{"white space", `"AA AA"`, ""},
		{"too much padding", `"AA==="`, ""},
		{"padding inside", `"A=AA"`, ""},
		{"no string", `17`, ""},
		{"quote inside", `"A\"AA"`, ""},
	} {
		got, err := dialect.Base64([]byte(c.in), "data")
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", c.why, got, err)
		}
		if err != nil && fault.As(err).Kind != fault.Malformed {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	in := []byte(`"` + strings.Repeat("A", 1<<16) + `"`)
	if n := testing.AllocsPerRun(10, func() { _, _ = dialect.Base64(in, "data") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := dialect.DecodedLen([]byte("AAA=")); n != 2 {
		t.Errorf("decoded length %d", n)
	}
}

func TestDataURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why, in, mime, data string
		ok, bad             bool
	}{
		{"png", `"data:image/png;base64,AAAA"`, "image/png", "AAAA", true, false},
		{"escaped slashes, as PHP writes them", `"data:image\/png;base64,AA\/A"`, "image/png", "AA/A", true, false},
		{"escaped slash far in", `"data:image/png;base64,` + strings.Repeat("A", 400) + `AA\/A"`, "image/png", strings.Repeat("A", 400) + "AA/A", true, false},
		{"parameter", `"data:text/plain;charset=utf-8;base64,AAAA"`, "text/plain", "AAAA", true, false},
		{"no type", `"data:;base64,AAAA"`, "", "AAAA", true, false},
		{"capitals", `"DATA:image/png;base64,AAAA"`, "image/png", "AAAA", true, false},
		{"link", `"https://example.com/a.png"`, "", "", false, false},
		{"not base64", `"data:text/plain,hello"`, "", "", true, true},
		{"no comma", `"data:image/png;base64"`, "", "", true, true},
		{"broken data", `"data:image/png;base64,A!AA"`, "image/png", "", true, true},
	} {
		mime, data, ok, err := dialect.DataURL([]byte(c.in), "url")
		if ok != c.ok || (err != nil) != c.bad || !c.bad && (mime != c.mime || string(data) != c.data) {
			t.Errorf("%s: %q %q %t %v", c.why, mime, data, ok, err)
		}
	}
}

func TestLosses(t *testing.T) {
	t.Parallel()
	l := dialect.Losses{From: llm.OpenAIChat, To: llm.AnthropicMessages}
	l.Field(llm.FieldSeed, llm.LostNoEquivalent)
	l.Part(&llm.Part{Kind: llm.PartText, At: "/messages/0/content/1"}, "inner/x", llm.LostNoEquivalent)
	l.Part(&llm.Part{Kind: llm.PartThinking, At: "/messages/1"}, "", llm.LostForeign)
	l.Extra(llm.Extra{
		{Name: "prediction", Value: llm.Raw("null")}, {Name: "store", Value: llm.Raw("false")}, {Name: "generation/new~thing", Value: llm.Raw("1")},
	}, "")
	if err := l.Err(); err != nil {
		t.Fatalf("soft losses refuse: %v", err)
	}
	want := "/seed;no_equivalent, /messages/0/content/1/inner/x;no_equivalent, /messages/1;foreign_origin, /generation/new~0thing;unknown_member"
	if got := dialect.LossHeader(l.List); got != want {
		t.Errorf("header\n got %s\nwant %s", got, want)
	}
	if f := dialect.Strict(l.List); f.Kind != fault.Lossy || f.Param != "seed" || len(f.Fields) != 4 || f.Fields[0] != "/seed: no_equivalent" {
		t.Errorf("strict: %+v", f)
	}
	if dialect.Strict(nil) != nil {
		t.Error("no loss is refused")
	}

	l.Field(llm.FieldN, llm.LostNoEquivalent)
	l.Extra(llm.Extra{{Name: "prediction", Value: llm.Raw(`{"type":"content"}`)}}, "")
	l.Part(&llm.Part{Kind: llm.PartAudio, At: "/messages/2/content/0"}, "", llm.LostNoEquivalent)
	l.Tool(&llm.Tool{At: "/tools/0"}, llm.LostNoEquivalent)
	f := fault.As(l.Err())
	if d := cmp.Diff([]string{"/n: no_equivalent", "/prediction: no_equivalent", "/messages/2/content/0: no_equivalent", "/tools/0: no_equivalent"}, f.Fields); d != "" || f.Kind != fault.Unsupported || f.Param != "n" {
		t.Errorf("%+v\n%s", f, d)
	}
}

func TestLossHeaderIsSafeAndBounded(t *testing.T) {
	t.Parallel()
	many := make([]llm.Loss, 500)
	for i := range many {
		many[i] = llm.Loss{Path: dialect.Index("/messages", i), Reason: llm.LostForeign}
	}
	if h := dialect.LossHeader(many); len(h) > 2100 || !strings.Contains(h, ", +") {
		t.Errorf("%d bytes: %s", len(h), h)
	}
	rapid.Check(t, func(t *rapid.T) {
		h := dialect.LossHeader([]llm.Loss{{Path: dialect.Child("", rapid.String().Draw(t, "name")), Reason: llm.LostUnknown}})
		for i := range len(h) {
			if h[i] <= ' ' || h[i] >= 0x7F {
				t.Fatalf("%q", h)
			}
		}
	})
}

// TestEveryFieldHasItsPointers: a setting that some client can state has a place there.
func TestEveryFieldHasItsPointers(t *testing.T) {
	t.Parallel()
	for f := llm.FieldTemperature; f <= llm.LastField; f++ {
		some := false
		for _, d := range llm.Dialects {
			p := dialect.Pointer(d, f)
			some = some || p != ""
			if p != "" && (p[0] != '/' || strings.HasSuffix(p, "/")) {
				t.Errorf("field %d in %s: %q", f, d, p)
			}
		}
		if !some {
			t.Errorf("field %d is nowhere", f)
		}
	}
	if dialect.Pointer("cohere", llm.FieldN) != "" || dialect.Pointer(llm.Gemini, llm.LastField+1) != "" {
		t.Error("unknown names have no pointer")
	}
}

func TestEfforts(t *testing.T) {
	t.Parallel()
	for e := llm.EffortUnset; e <= llm.EffortMax; e++ {
		if b := dialect.Budget(e); e > llm.EffortNone && b < 1024 {
			t.Errorf("%s: Anthropic refuses a budget of %d", e, b)
		}
		for _, d := range llm.Dialects {
			w, exact := dialect.EffortName(d, e)
			back, ok := llm.ParseEffort(w)
			if e != llm.EffortUnset && (!ok || exact && back != e) || e == llm.EffortUnset && w != "" {
				t.Errorf("%s in %s: %q reads as %s", e, d, w, back)
			}
		}
	}
	for _, e := range []llm.Effort{llm.EffortLow, llm.EffortMedium, llm.EffortHigh} {
		if got := dialect.EffortOf(dialect.Budget(e)); got != e {
			t.Errorf("%s becomes %s", e, got)
		}
	}
	for _, c := range []struct {
		why    string
		r      llm.Reasoning
		effort llm.Effort
		budget int64
		ok     bool
	}{
		{"nothing stated", llm.Reasoning{}, llm.EffortUnset, 0, false},
		{"off", llm.Reasoning{Mode: llm.ReasoningOff}, llm.EffortNone, 0, true},
		{"budget", llm.Reasoning{Mode: llm.ReasoningOn, Budget: llm.Some[int64](5000)}, llm.EffortMedium, 5000, true},
		{"effort", llm.Reasoning{Effort: llm.EffortHigh}, llm.EffortHigh, 24576, true},
		{"the model decides", llm.Reasoning{Mode: llm.ReasoningAdaptive}, llm.EffortUnset, 0, false},
	} {
		b, ok := dialect.WantedBudget(&c.r)
		if e := dialect.WantedEffort(&c.r); e != c.effort || b != c.budget || ok != c.ok {
			t.Errorf("%s: %s %d %t", c.why, e, b, ok)
		}
	}
}

// TestStopReasonsRoundTrip: what a client reads means what the provider meant, as far as the client's
// protocol has a word for it.
func TestStopReasonsRoundTrip(t *testing.T) {
	t.Parallel()
	coarse := map[llm.Dialect][]llm.StopReason{
		llm.OpenAIChat:        {llm.StopSequence, llm.StopPaused, llm.StopBroken},
		llm.OpenAIResponses:   {llm.StopSequence, llm.StopPaused, llm.StopBroken},
		llm.AnthropicMessages: {llm.StopBroken},
		llm.Gemini:            {llm.StopSequence},
	}
	for _, d := range llm.Dialects {
		for r := llm.StopEnd; r <= llm.StopBroken; r++ {
			w := dialect.StopName(d, r)
			got := dialect.StopOf(d, w).Derive(r == llm.StopCalls)
			lost := false
			for _, c := range coarse[d] {
				lost = lost || c == r
			}
			if w == "" || (got == r) == lost {
				t.Errorf("%s in %s is %q and reads as %s", r, d, w, got)
			}
		}
		if dialect.StopOf(d, "something_new") != llm.StopUnknown {
			t.Errorf("%s knows something_new", d)
		}
	}
}

func call(id, name string) llm.Part {
	return llm.Part{Kind: llm.PartCall, ID: id, Name: name, At: "/c"}
}

func result(id, name string) llm.Part {
	return llm.Part{Kind: llm.PartResult, ID: id, Name: name, At: "/r"}
}

func TestCheckPairsResults(t *testing.T) {
	t.Parallel()
	chat := func(calls, results []llm.Part) *llm.Request {
		return &llm.Request{Messages: []llm.Message{
			{Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartText, Text: "x"}}},
			{Role: llm.RoleAssistant, Parts: calls},
			{Role: llm.RoleTool, Parts: results},
		}}
	}
	ps := func(p ...llm.Part) []llm.Part { return p }
	for _, c := range []struct {
		why  string
		r    *llm.Request
		want string // ids and names of the results, or part of the error
	}{
		{"by id, any order", chat(ps(call("a", "f"), call("b", "g")), ps(result("b", ""), result("a", ""))), "b g a f"},
		{"two calls of one function without ids, as Gemini sends them", chat(ps(call("", "f"), call("", "f")), ps(result("", "f"), result("", "f"))), "made0 f made1 f"},
		{"by name", chat(ps(call("a", "f"), call("b", "g")), ps(result("", "g"))), "b g"},
		{"orphan", chat(ps(call("a", "f")), ps(result("zzz", ""))), "answers no call"},
		{"answered twice", chat(ps(call("a", "f")), ps(result("a", ""), result("a", ""))), "answers no call"},
		{"neither id nor name", chat(ps(call("a", "f")), ps(result("", ""))), "answers no call"},
		{"one id twice", chat(ps(call("a", "f"), call("a", "f")), nil), "same id"},
		{"no name", chat(ps(call("a", "")), nil), "has no name"},
		{"text among results", chat(ps(call("a", "f")), ps(llm.Part{Kind: llm.PartText, Text: "x"})), "cannot stand"},
		{"result in a user turn", &llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: ps(result("a", ""))}}}, "cannot stand"},
		{"image from the system", &llm.Request{Messages: []llm.Message{{Role: llm.RoleSystem, Parts: ps(llm.Part{Kind: llm.PartImage})}}}, "cannot stand"},
	} {
		err := dialect.Check(c.r)
		if err != nil {
			if !strings.Contains(err.Error(), c.want) || fault.As(err).Kind != fault.Malformed {
				t.Errorf("%s: %v", c.why, err)
			}
			continue
		}
		var got []string
		for _, p := range c.r.Messages[2].Parts {
			id := p.ID
			for k, m := range c.r.Messages[1].Parts {
				if carrier.Made(id) && m.ID == id {
					id = "made" + string(rune('0'+k))
				}
			}
			got = append(got, id, p.Name)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %q, want %q", c.why, s, c.want)
		}
	}
	// The same id in a later turn is normal: some servers number calls from 0 in every answer.
	again := chat(ps(call("a", "f")), ps(result("a", "")))
	again.Messages = append(again.Messages, again.Messages[1], llm.Message{Role: llm.RoleTool, Parts: ps(result("a", ""))})
	if err := dialect.Check(again); err != nil {
		t.Error(err)
	}
}

func FuzzDataURL(f *testing.F) {
	f.Add("data:image/png;base64,AAAA")
	f.Add(`data:image\/png;base64,AA\/A`)
	f.Fuzz(func(t *testing.T, s string) {
		v, err := json.Marshal(s)
		if err != nil {
			t.Skip()
		}
		for _, in := range [][]byte{v, []byte(`"` + s + `"`)} {
			if !jsontext.Value(in).IsValid() {
				continue
			}
			_, data, ok, err := dialect.DataURL(in, "url")
			if ok && err == nil && (len(data) == 0 || len(data)%4 != 0) {
				t.Errorf("%s gave %q", in, data)
			}
			if f := (*fault.Error)(nil); err != nil && !errors.As(err, &f) {
				t.Errorf("%v is no fault", err)
			}
		}
	})
}
