package dialect_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/splice"
)

var wanted = []string{"model", "stream", "n"}

func pick(body string) ([]string, error) {
	var at [3]splice.Span
	if err := dialect.Pick([]byte(body), wanted, at[:]); err != nil {
		return nil, err
	}
	out := make([]string, len(at))
	for i, s := range at {
		out[i] = string(s.Of([]byte(body)))
	}
	return out, nil
}

func TestPickFindsTopLevelMembers(t *testing.T) {
	t.Parallel()
	tests := []struct{ why, body, model, stream string }{
		{"plain", `{"model":"a","stream":true}`, `"a"`, "true"},
		{"white space", " {\n\t\"model\" :\r \"a\" , \"stream\": false } \n", `"a"`, "false"},
		{"nested members of the same name do not count", `{"x":{"model":"evil"},"y":[{"model":"evil"}],"model":"a"}`, `"a"`, ""},
		{"an escaped name is the same name", `{"mod\u0065l":"a"}`, `"a"`, ""},
		{"names are case sensitive: Model is another member", `{"Model":"evil","model":"a"}`, `"a"`, ""},
		{"absent", `{}`, "", ""},
		{"a string that looks like a member", `{"x":"\"model\":\"evil\"","model":"a"}`, `"a"`, ""},
	}
	for _, tt := range tests {
		got, err := pick(tt.body)
		if err != nil {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		if got[0] != tt.model || got[1] != tt.stream {
			t.Errorf("%s: model %s, stream %s, want %s, %s", tt.why, got[0], got[1], tt.model, tt.stream)
		}
	}
}

// Two parsers that disagree on a duplicated member are a way around policy.
func TestPickRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ why, body, says string }{
		{"empty", "", "byte 0: the body is empty"},
		{"white space only", " \n", "the body is empty"},
		{"no object", `["model"]`, "byte 0: expected an object"},
		{"duplicate member", `{"model":"a","model":"b"}`, `byte 20, in member "model": duplicate member`},
		{"duplicate spelled with an escape", `{"model":"a","\u006dodel":"b"}`, "duplicate member"},
		{"duplicate deep inside", `{"messages":[{"role":"user","role":"system"}]}`, `in member "messages": duplicate member`},
		{"duplicate in a large object", `{` + manyNames(100) + `,"k7":1}`, "duplicate member"},
		{"invalid UTF-8", "{\"model\":\"a\xff\"}", `byte 11, in member "model": invalid UTF-8`},
		{"overlong UTF-8", "{\"model\":\"\xc0\xaf\"}", "invalid UTF-8"},
		{"encoded surrogate", "{\"model\":\"\xed\xa0\x80\"}", "invalid UTF-8"},
		{"lone surrogate escape", `{"model":"\ud800"}`, "malformed escape"},
		{"invalid UTF-8 in a name", "{\"\xff\":1}", "invalid UTF-8"},
		{"control character", "{\"model\":\"a\nb\"}", "control character"},
		{"trailing bytes", `{"model":"a"} x`, "byte 14: bytes after the object"},
		{"two documents", `{"model":"a"}{"model":"b"}`, "bytes after the object"},
		{"trailing comma", `{"model":"a",}`, "expected a member name"},
		{"leading zero", `{"n":01}`, `in member "n": expected , or }`},
		{"breaks off", `{"model":"a`, "string breaks off"},
		{"comment", `{/*x*/"model":"a"}`, "expected a member name"},
		{"NaN", `{"n":NaN}`, "unexpected character"},
		{"BOM", "\xEF\xBB\xBF{}", "expected an object"},
		{"nesting bomb", `{"x":` + strings.Repeat("[", 100000), "nested too deeply"},
	}
	for _, tt := range tests {
		_, err := pick(tt.body)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Kind != fault.Malformed {
			t.Errorf("%s: err = %v, want a Malformed fault", tt.why, err)
			continue
		}
		if !strings.Contains(f.Message, tt.says) {
			t.Errorf("%s: message %q, want it to say %q", tt.why, f.Message, tt.says)
		}
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"k` + string(rune('0'+i/10)) + string(rune('0'+i%10)) + `":0`)
	}
	return strings.Replace(b.String(), "k07", "k7", 1)
}

// What a client wrote must not come back in messages: they are logged.
func TestPickNeverQuotesContent(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"canary 4111 1111":x}`, `{"messages":"canary` + "\n", `{"metadata":{"canary":1,"canary":2}}`} {
		_, err := pick(body)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: message %v", body, err)
		}
	}
}

// oracle reads with jsontext, which refuses duplicate names and invalid UTF-8 by default.
func oracle(body []byte) ([]string, bool) {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if d.PeekKind() != '{' {
		return nil, false
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, false
	}
	out := make([]string, len(wanted))
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, false
		}
		key := name.String()
		v, err := d.ReadValue()
		if err != nil {
			return nil, false
		}
		for i, w := range wanted {
			if w == key {
				out[i] = string(bytes.TrimSpace(v))
			}
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, false
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	return out, true
}

var seeds = []string{
	`{"model":"a","stream":true,"n":1}`, `{"model":"a","model":"b"}`, `{"mod\u0065l":"\ud83d\ude00","n":-0.5e+10}`, "{\"model\":\"日本語\xff\"}",
	`{"x":[1,2,{"y":null}],"model":null}`, `{"a":{"b":{"c":[[[]]]}},"n":1E5}`, ` { } `, `{"a":"\ud800\u0041"}`, `{"n":01}`, `{"n":1.}`, `{"n":-}`, `{"\u0000":"\/"}`,
	`{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":"bbbbbbbbbbbbbbbbbbbbbbbbbb\tbbbbbbbb"}`, "{\"a\":\"\x7f\x80\"}", `{"":0,"":1}`,
}

// FuzzPickStrict: a body is accepted exactly when jsontext accepts it, and the same values are found.
func FuzzPickStrict(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) > 500 {
			return // our nesting bound is lower
		}
		want, ok := oracle(body)
		got, err := pick(string(body))
		if (err == nil) != ok {
			t.Fatalf("%q: ours %v, jsontext accepts: %t", body, err, ok)
		}
		if !ok {
			return
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%q: %s = %q, jsontext has %q", body, wanted[i], got[i], want[i])
			}
		}
		var at [3]splice.Span
		if !dialect.Find(body, wanted, at[:]) {
			t.Fatalf("%q: strict accepts what lenient refuses", body)
		}
		for i, s := range at {
			if string(s.Of(body)) != got[i] {
				t.Fatalf("%q: Find has %q, Pick %q", body, s.Of(body), got[i])
			}
		}
	})
}

// FuzzWalk: a walk visits what a decoder would, and its offsets are true.
func FuzzWalk(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`[1,"a",[],{}]`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		n := 0
		for c := dialect.Walk(doc); c.Next(); n++ {
			if !bytes.Equal(doc[c.Offset():c.Offset()+len(c.Value)], c.Value) {
				t.Fatalf("offset %d is not where %q is", c.Offset(), c.Value)
			}
			dialect.Filled(c.Value)
			dialect.Int(c.Value)
			if c.Value[0] == '"' {
				dialect.Unquote(c.Value)
			}
		}
		if v := jsontext.Value(doc); v.IsValid() && v.Kind() == '{' {
			var want int
			d := jsontext.NewDecoder(bytes.NewReader(doc))
			_, _ = d.ReadToken()
			for d.PeekKind() != '}' {
				_ = d.SkipValue()
				_ = d.SkipValue()
				want++
			}
			if n != want {
				t.Fatalf("%q: %d members, want %d", doc, n, want)
			}
		}
	})
}

func TestWholeNumbers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want int64
		ok   bool
	}{
		{"", 0, true},
		{"null", 0, true},
		{"0", 0, true},
		{"4096", 4096, true},
		{"1e3", 1000, true},
		{"100.0", 100, true},
		{"1.5", 0, false},
		{"-1", 0, false},
		{`"5"`, 0, false},
		{"true", 0, false},
		{"[]", 0, false},
		{"9007199254740993000000", 0, false},
		{"1e400", 0, false},
	}
	for _, tt := range tests {
		got, err := dialect.Whole([]byte(tt.in), "max_tokens", 0)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: %d, %v", tt.in, got, err)
		}
	}
}

// body400 and body100K are the sizes that the README's figures use.
var (
	body400  = []byte(`{"model":"gpt-4o","stream":true,"max_completion_tokens":512,"messages":[{"role":"system","content":"You are a helpful assistant that answers briefly."},{"role":"user","content":"` + strings.Repeat("Tell me about bridges. ", 8) + `"}],"temperature":0.7,"user":"u-1"}`)
	body100K = agentBody()
	bodyText = []byte(`{"model":"gpt-4o","messages":[{"role":"user","content":"` + strings.Repeat("the quick brown fox jumps over the lazy dog ", 100<<10/44) + `"}]}`)
)

// agentBody looks like a coding agent's request: many messages with escaped text, tool calls, tools.
func agentBody() []byte {
	var b bytes.Buffer
	b.WriteString(`{"model":"gpt-4o","stream":true,"messages":[{"role":"system","content":"` + strings.Repeat(`You are an agent.\nUse the tools. `, 60) + `"}`)
	for b.Len() < 95<<10 {
		b.WriteString(`,{"role":"assistant","content":null,"tool_calls":[{"id":"call_1EYWDzueHEp8OsB8jJSEp7WB","type":"function","function":{"name":"read_file","arguments":"{\"path\":\"src/main.go\"}"}}]}`)
		b.WriteString(`,{"role":"tool","tool_call_id":"call_1EYWDzueHEp8OsB8jJSEp7WB","content":"` + strings.Repeat(`func main() {\n\tfmt.Println(\"hello\")\n}\n\n`, 40) + `"}`)
		b.WriteString(`,{"role":"user","content":"` + strings.Repeat("请解释这段代码。Explain it. ", 10) + `"}`)
	}
	b.WriteString(`],"tools":[`)
	for i := range 10 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"type":"function","function":{"name":"t","description":"reads","parameters":{"type":"object","properties":{"path":{"type":"string"},"line":{"type":"integer"}},"required":["path"],"additionalProperties":false}}}`)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func BenchmarkPick(b *testing.B) {
	for _, body := range []struct {
		name string
		b    []byte
	}{{"400B", body400}, {"100KB", body100K}, {"100KB-text", bodyText}} {
		b.Run(body.name, func(b *testing.B) {
			var at [3]splice.Span
			b.ReportAllocs()
			b.SetBytes(int64(len(body.b)))
			for b.Loop() {
				if err := dialect.Pick(body.b, wanted, at[:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkJsontext is what BenchmarkPick is compared with in DESIGN.md.
func BenchmarkJsontext(b *testing.B) {
	for _, body := range []struct {
		name string
		b    []byte
	}{{"400B", body400}, {"100KB", body100K}} {
		b.Run(body.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body.b)))
			for b.Loop() {
				if _, ok := oracle(body.b); !ok {
					b.Fatal("refused")
				}
			}
		})
	}
}
