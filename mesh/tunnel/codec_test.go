package tunnel

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/quic-go/quic-go"
	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/fault"
)

func remote(c quic.StreamErrorCode) error { return &quic.StreamError{ErrorCode: c, Remote: true} }

func closed(c quic.ApplicationErrorCode) error {
	return &quic.ApplicationError{ErrorCode: c, Remote: true}
}

func drawFields(t *rapid.T) []Field {
	n := rapid.IntRange(0, 20).Draw(t, "fields")
	var out []Field
	for range n {
		out = append(out, Field{rapid.String().Draw(t, "name"), rapid.String().Draw(t, "value")})
	}
	return out
}

func drawDuration(t *rapid.T, limit time.Duration) time.Duration {
	return time.Duration(rapid.Int64Range(0, int64(limit/time.Microsecond)).Draw(t, "us")) * time.Microsecond
}

// What is appended is parsed back the same, whatever else follows the known fields.
func TestCodecRoundTrip(t *testing.T) {
	s := func(t *rapid.T) string { return rapid.String().Draw(t, "s") }
	rapid.Check(t, func(t *rapid.T) {
		req := Request{
			ID: [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), Attempt: rapid.Byte().Draw(t, "a"),
			Timeout: drawDuration(t, maxTimeout), Tenant: s(t), Provider: s(t), Dialect: s(t), Model: s(t), Op: rapid.Byte().Draw(t, "op"),
			Stream: rapid.Bool().Draw(t, "st"), Class: rapid.Byte().Draw(t, "c"), Method: s(t), Path: s(t), RawQuery: s(t),
			Header: drawFields(t), BodyLen: rapid.Int64Min(0).Draw(t, "n"), Traceparent: s(t), ViewIndex: rapid.Uint64().Draw(t, "v"),
		}
		b, err := AppendRequest(nil, &req)
		if err != nil {
			t.Fatal(err)
		}
		typ, n := parseHeader(b)
		if typ != frameRequest || n != len(b)-frameHeader {
			t.Fatalf("header %x", b[:frameHeader])
		}
		future := append(bytes.Clone(b[frameHeader:]), rapid.SliceOf(rapid.Byte()).Draw(t, "appended")...)
		got, err := ParseRequest(future)
		if diff := cmp.Diff(req, got); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}

		rep := Reply{Status: rapid.IntRange(0, 999).Draw(t, "status"), Header: drawFields(t), Secret: s(t)}
		if b, err = AppendReply(nil, &rep); err != nil {
			t.Fatal(err)
		}
		gotRep, err := ParseReply(b[frameHeader:])
		if diff := cmp.Diff(rep, gotRep); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}

		count := func() int64 { return rapid.Int64Min(0).Draw(t, "count") }
		tr := Trailer{
			HasUsage: rapid.Bool().Draw(t, "u"), Processing: s(t), Secret: s(t), Complete: rapid.Bool().Draw(t, "c"),
			Queue: drawDuration(t, time.Hour), Connect: drawDuration(t, time.Hour), FirstByte: drawDuration(t, time.Hour), Total: drawDuration(t, time.Hour),
		}
		if tr.HasUsage {
			tr.Usage = Usage{count(), count(), count(), count(), count(), count()}
		}
		if rapid.Bool().Draw(t, "fault") {
			tr.Fault = fault.New(fault.UpstreamError, "it broke").At(fault.Sent)
			tr.Fault.Raw = []byte("raw")
		}
		if b, err = AppendTrailer(nil, &tr); err != nil {
			t.Fatal(err)
		}
		gotTr, err := ParseTrailer(b[frameHeader:])
		if diff := cmp.Diff(tr, gotTr, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

// What is over the bounds is refused when it is made, and the buffer is as before.
func TestCodecBounds(t *testing.T) {
	many := make([]Field, MaxFields+1)
	for name, r := range map[string]Request{
		"too many fields":  {Header: many},
		"too long a field": {Header: []Field{{"x", strings.Repeat("a", MaxRequestFrame)}}},
		"negative length":  {BodyLen: -1},
		"endless timeout":  {Timeout: 25 * time.Hour},
	} {
		b, err := AppendRequest([]byte("kept"), &r)
		if err == nil || string(b) != "kept" {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if _, err := AppendReply(nil, &Reply{Header: many}); err == nil {
		t.Error("reply with too many fields")
	}
	f := fault.New(fault.UpstreamRejected, "%s", strings.Repeat("m", 1<<20))
	f.Raw = make([]byte, 1<<20)
	for range 1000 {
		f.Fields = append(f.Fields, strings.Repeat("f", 1<<10))
	}
	if _, err := AppendTrailer(nil, &Trailer{Fault: f}); err != nil {
		t.Errorf("the largest fault does not fit: %v", err)
	}
}

// FuzzParse feeds every parser: none may panic, allocate out of proportion, or accept what does not come back
// the same after another round.
func FuzzParse(f *testing.F) {
	req := smallRequest(make([]byte, 400))
	b, _ := AppendRequest(nil, &req)
	f.Add(b[frameHeader:])
	b, _ = AppendReply(nil, &Reply{Status: 200, Header: []Field{{"a", "b"}}, Secret: "s"})
	f.Add(b[frameHeader:])
	b, _ = AppendTrailer(nil, &Trailer{Fault: fault.New(fault.Internal, "x"), HasUsage: true, Usage: Usage{1, 2, 3, 4, 5, 6}, Total: time.Second})
	f.Add(b[frameHeader:])
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseRequest(data); err == nil {
			b, err := AppendRequest(nil, &r)
			if err != nil {
				t.Fatalf("parsed but cannot be made: %v", err)
			}
			again, err := ParseRequest(b[frameHeader:])
			if diff := cmp.Diff(r, again); err != nil || diff != "" {
				t.Fatalf("%v\n%s", err, diff)
			}
		}
		if r, err := ParseReply(data); err == nil {
			b, err := AppendReply(nil, &r)
			if err != nil {
				t.Fatalf("parsed but cannot be made: %v", err)
			}
			if again, err := ParseReply(b[frameHeader:]); err != nil || cmp.Diff(r, again) != "" {
				t.Fatalf("%v", err)
			}
		}
		if r, err := ParseTrailer(data); err == nil {
			b, err := AppendTrailer(nil, &r)
			if err != nil {
				t.Fatalf("parsed but cannot be made: %v", err)
			}
			if again, err := ParseTrailer(b[frameHeader:]); err != nil || cmp.Diff(r, again, cmpopts.EquateEmpty()) != "" {
				t.Fatalf("%v\n%s", err, cmp.Diff(r, again, cmpopts.EquateEmpty()))
			}
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	req := smallRequest(make([]byte, 400))
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out, err := AppendRequest(buf, &req)
		must(b, err)
		_, err = ParseRequest(out[frameHeader:])
		must(b, err)
	}
}
