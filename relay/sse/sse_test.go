package sse_test

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// ev is an event that outlives the scanner.
type ev struct {
	Name, Data, Raw string
	HasData         bool
}

func clone(e sse.Event) ev {
	return ev{e.Name, string(e.Data), string(e.Raw), e.Data != nil}
}

// scan feeds the stream in the given cuts and returns every event.
func scan(limit int, cuts ...[]byte) ([]ev, error) {
	s := sse.NewScanner(limit)
	var out []ev
	var window []byte // one buffer, as a reader would use: old contents must not matter
	for _, c := range cuts {
		window = append(window[:0], c...)
		s.Feed(window)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			out = append(out, clone(e))
		}
		for i := range window {
			window[i] = 'X'
		}
	}
	if e, ok := s.End(); ok {
		out = append(out, clone(e))
	}
	return out, s.Err()
}

func TestScannerGrammar(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why, in string
		want    []ev
	}{
		{
			"LF, as OpenAI and Anthropic send", "event: a\ndata: 1\n\ndata: 2\n\n",
			[]ev{{"a", "1", "event: a\ndata: 1\n\n", true}, {"", "2", "data: 2\n\n", true}},
		},
		{
			"CRLF, as Gemini sends", "data: 1\r\n\r\ndata: 2\r\n\r\n",
			[]ev{{"", "1", "data: 1\r\n\r\n", true}, {"", "2", "data: 2\r\n\r\n", true}},
		},
		{
			"bare CR", "data: 1\r\rdata: 2\r\r",
			[]ev{{"", "1", "data: 1\r\r", true}, {"", "2", "data: 2\r\r", true}},
		},
		{
			"mixed line ends", "data: 1\r\n\ndata: 2\n\r\n",
			[]ev{{"", "1", "data: 1\r\n\n", true}, {"", "2", "data: 2\n\r\n", true}},
		},
		{"several data lines join with LF", "data: a\ndata:\ndata: b\n\n", []ev{{"", "a\n\nb", "data: a\ndata:\ndata: b\n\n", true}}},
		{
			"no space, two spaces, no colon", "data:a\n\ndata:  b\n\ndata\n\n",
			[]ev{{"", "a", "data:a\n\n", true}, {"", " b", "data:  b\n\n", true}, {"", "", "data\n\n", true}},
		},
		{
			"comment frames carry no data but keep their bytes", ": keepalive\n\ndata: 1\n\n",
			[]ev{{"", "", ": keepalive\n\n", false}, {"", "1", "data: 1\n\n", true}},
		},
		{"a lone blank line", "\ndata: 1\n\n", []ev{{"", "", "\n", false}, {"", "1", "data: 1\n\n", true}}},
		{
			"BOM at the start only", "\xEF\xBB\xBFdata: 1\n\n\xEF\xBB\xBFdata: 2\n\n",
			[]ev{{"", "1", "\xEF\xBB\xBFdata: 1\n\n", true}, {"", "", "\xEF\xBB\xBFdata: 2\n\n", false}},
		},
		{
			"unknown fields and prefixes of names are ignored", "id: 7\nretry: 1\ndatax: no\nevents: no\ndata: 1\n\n",
			[]ev{{"", "1", "id: 7\nretry: 1\ndatax: no\nevents: no\ndata: 1\n\n", true}},
		},
		{
			"the last blank line is missing", "data: 1\n\ndata: [DONE]\n",
			[]ev{{"", "1", "data: 1\n\n", true}, {"", "[DONE]", "data: [DONE]\n", true}},
		},
		{"the stream breaks off inside a line", "data: 1\n\ndata: {\"a", []ev{{"", "1", "data: 1\n\n", true}, {"", `{"a`, `data: {"a`, true}}},
		{"the event name does not leak into the next frame", "event: a\n\ndata: 1\n\n", []ev{{"a", "", "event: a\n\n", false}, {"", "1", "data: 1\n\n", true}}},
		{"nothing", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			got, err := scan(0, []byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
			one := make([][]byte, 0, len(tt.in))
			for i := range len(tt.in) {
				one = append(one, []byte(tt.in[i:i+1]))
			}
			byBytes, _ := scan(0, one...)
			if d := cmp.Diff(got, byBytes); d != "" {
				t.Errorf("byte by byte (-whole +bytes):\n%s", d)
			}
		})
	}
}

// An event must come out with its last byte: waiting for the next frame would freeze tokens.
func TestScannerNeverHoldsAnEventForTheNext(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"data: 1\n\n", "data: 1\r\n\r\n", "event: x\ndata: 1\r\n\n"} {
		s := sse.NewScanner(0)
		s.Feed([]byte(in))
		if e, ok := s.Next(); !ok || string(e.Data) != "1" {
			t.Errorf("%q: event %v %q was held back", in, ok, e.Data)
		}
	}
	s := sse.NewScanner(0) // bare CR: held at most once, until the style is known
	s.Feed([]byte("data: 0\r\r"))
	if _, ok := s.Next(); !ok {
		t.Error("first bare CR event was held back")
	}
	s.Feed([]byte("data: 1\r\r"))
	if _, ok := s.Next(); !ok {
		t.Error("second bare CR event was held back")
	}
}

func TestScannerRefusesOversizedEvents(t *testing.T) {
	t.Parallel()
	long := "data: " + strings.Repeat("x", 100) + "\n\n"
	for _, cuts := range [][][]byte{{[]byte("data: 1\n\n" + long)}, {[]byte("data: 1\n\n"), []byte(long[:60]), []byte(long[60:])}} {
		got, err := scan(50, cuts...)
		if f := fault.As(err); f == nil || f.Kind != fault.UpstreamProtocol {
			t.Errorf("err = %v, want UpstreamProtocol", err)
		}
		if len(got) != 1 || got[0].Data != "1" {
			t.Errorf("events before the large one = %v, want the first", got)
		}
	}
	if _, err := scan(len(long), []byte(long)); err != nil {
		t.Errorf("an event of exactly the limit: %v", err)
	}
}

// An event of 100 MB costs twice the limit, and nothing is kept after it was refused.
func TestScannerMemoryIsBounded(t *testing.T) {
	const limit = 1 << 20
	s := sse.NewScanner(limit)
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s.Feed([]byte("data: "))
	for range (100 << 20) / len(chunk) {
		if _, ok := s.Next(); ok {
			t.Fatal("an event")
		}
		s.Feed(chunk)
	}
	runtime.ReadMemStats(&after)
	if f := fault.As(s.Err()); f == nil || f.Kind != fault.UpstreamProtocol || s.Pending() != 0 {
		t.Errorf("err %v, %d bytes pending", s.Err(), s.Pending())
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 3*limit {
		t.Errorf("%d bytes allocated under a limit of %d", got, limit)
	}
}

func TestAppendIsReadBack(t *testing.T) {
	t.Parallel()
	b := sse.Append(nil, "error", []byte(`{"a":1}`))
	got, err := scan(0, b)
	want := []ev{{"error", `{"a":1}`, "event: error\ndata: {\"a\":1}\n\n", true}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("err %v (-want +got):\n%s", err, d)
	}
}

// FuzzScanner: the same bytes give the same events however they are cut, and no byte is lost.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		"event: a\ndata: {}\n\n", "data: 1\r\n\r\ndata: 2\r\n\r\n", "data: 1\r\rdata: 2\r\r", ": c\n\n", "\xEF\xBB\xBFdata: 1\r\r\n\n",
		"data: a\r\ndata: b\r\rdata\n\r\n", "event: x\n\ndata:\n\n\r\n\r\r\n", "\r", "\r\n\r", "data: a\n\r",
	} {
		f.Add([]byte(s), uint64(1), 64)
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, limit int) {
		if limit <= 0 || limit > 1<<16 {
			limit = 1 << 16
		}
		whole, wholeErr := scan(limit, in)
		r := rand.New(rand.NewPCG(seed, 1))
		var cuts [][]byte
		for rest := in; len(rest) > 0; {
			n := 1 + r.IntN(min(len(rest), 1+r.IntN(9)))
			cuts = append(cuts, rest[:n])
			rest = rest[n:]
		}
		cut, cutErr := scan(limit, cuts...)
		if (wholeErr == nil) != (cutErr == nil) {
			t.Fatalf("whole: %v, cut: %v", wholeErr, cutErr)
		}
		if d := cmp.Diff(whole, cut); d != "" {
			t.Fatalf("events differ (-whole +cut):\n%s", d)
		}
		if wholeErr != nil {
			return
		}
		var raw bytes.Buffer
		for _, e := range whole {
			raw.WriteString(e.Raw)
		}
		if !bytes.Equal(raw.Bytes(), in) {
			t.Fatalf("raw parts %q are not the stream %q", raw.Bytes(), in)
		}
		if d := cmp.Diff(reference(in), payloads(whole)); d != "" {
			t.Fatalf("against the reference (-reference +got):\n%s", d)
		}
	})
}

func payloads(es []ev) []string {
	var out []string
	for _, e := range es {
		if e.HasData {
			out = append(out, e.Name+"|"+e.Data)
		}
	}
	return out
}

// reference is the specification's algorithm, written for clarity: normalise line ends, then split.
// Unlike it, a last frame without blank line counts, as ours does.
func reference(in []byte) []string {
	in = bytes.TrimPrefix(in, []byte("\xEF\xBB\xBF"))
	s := strings.ReplaceAll(strings.ReplaceAll(string(in), "\r\n", "\n"), "\r", "\n")
	var out []string
	name, data := "", []string(nil)
	flush := func() {
		if data != nil {
			out = append(out, name+"|"+strings.Join(data, "\n"))
		}
		name, data = "", nil
	}
	for l := range strings.SplitSeq(s, "\n") {
		if l == "" {
			flush()
			continue
		}
		k, v, _ := strings.Cut(l, ":")
		v = strings.TrimPrefix(v, " ")
		switch k {
		case "data":
			data = append(data, v)
		case "event":
			name = v
		}
	}
	flush()
	return out
}

func TestScannerDoesNotAllocatePerEvent(t *testing.T) {
	frame := []byte("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"hi\"}}\n\n")
	s := sse.NewScanner(0)
	s.Feed(frame)
	s.Next() // the name is remembered
	n := testing.AllocsPerRun(200, func() {
		s.Feed(frame[:40])
		s.Next()
		s.Feed(frame[40:])
		if _, ok := s.Next(); !ok {
			t.Fatal("no event")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations an event, want 0", n)
	}
}

func BenchmarkScanner(b *testing.B) {
	frame := []byte("data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1747148050,\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" of\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n")
	s := sse.NewScanner(0)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		s.Feed(frame)
		for _, ok := s.Next(); ok; _, ok = s.Next() {
		}
	}
}
