package splice_test

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/splice"
)

func TestApply(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"a","n":1}`)
	tests := []struct {
		why   string
		edits []splice.Edit
		want  string
	}{
		{"nothing to do", nil, `{"model":"a","n":1}`},
		{"replace", []splice.Edit{{splice.Span{Start: 9, End: 12}, []byte(`"longer"`)}}, `{"model":"longer","n":1}`},
		{"insert at both ends", []splice.Edit{{splice.Span{}, []byte(" ")}, {splice.Span{Start: 19, End: 19}, []byte("\n")}}, " {\"model\":\"a\",\"n\":1}\n"},
		{"delete", []splice.Edit{{splice.Span{Start: 12, End: 18}, nil}}, `{"model":"a"}`},
		{"two inserts in one place keep their order", []splice.Edit{{splice.Span{Start: 1, End: 1}, []byte("1")}, {splice.Span{Start: 1, End: 1}, []byte("2")}}, `{12"model":"a","n":1}`},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			if !splice.Valid(len(body), tt.edits) {
				t.Fatal("edits are not valid")
			}
			if got := splice.Apply(body, tt.edits); string(got) != tt.want {
				t.Errorf("Apply = %s, want %s", got, tt.want)
			}
		})
	}
	if string(body) != `{"model":"a","n":1}` {
		t.Errorf("the body was written to: %s", body)
	}
}

func TestValidRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why   string
		edits []splice.Edit
	}{
		{"outside", []splice.Edit{{splice.Span{Start: 3, End: 11}, nil}}},
		{"backwards", []splice.Edit{{splice.Span{Start: 3, End: 2}, nil}}},
		{"overlap", []splice.Edit{{splice.Span{Start: 1, End: 4}, nil}, {splice.Span{Start: 3, End: 5}, nil}}},
		{"not in order", []splice.Edit{{splice.Span{Start: 5, End: 6}, nil}, {splice.Span{Start: 1, End: 2}, nil}}},
		{"negative", []splice.Edit{{splice.Span{Start: -1, End: 2}, nil}}},
	}
	for _, tt := range tests {
		if splice.Valid(10, tt.edits) {
			t.Errorf("%s: accepted", tt.why)
		}
	}
}

func drawEdits(t *rapid.T, n int) []splice.Edit {
	var edits []splice.Edit
	at := 0
	for range rapid.IntRange(0, 5).Draw(t, "edits") {
		from := rapid.IntRange(at, n).Draw(t, "from")
		to := rapid.IntRange(from, n).Draw(t, "to")
		edits = append(edits, splice.Edit{Span: splice.Span{Start: from, End: to}, Text: rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "text")})
		at = to
	}
	return edits
}

// The reader, the writer and Apply agree, whatever the edits and however it is read.
func TestReaderEqualsApply(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "body")
		check(t, body, drawEdits(t, len(body)))
	})
}

type failer interface{ Fatalf(string, ...any) }

func check(t failer, body []byte, edits []splice.Edit) {
	want := splice.Apply(body, edits)
	if len(want) != splice.Len(body, edits) {
		t.Fatalf("Len = %d, Apply gave %d bytes", splice.Len(body, edits), len(want))
	}
	if ps := splice.Pieces(body, edits); !bytes.Equal(bytes.Join(ps, nil), want) {
		t.Fatalf("pieces %q, want %q", ps, want)
	}
	r := splice.NewReader(body, edits)
	got, err := io.ReadAll(iotest.OneByteReader(r))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("byte by byte: %q %v, want %q", got, err, want)
	}
	r = splice.NewReader(body, edits)
	if err := iotest.TestReader(r, want); err != nil {
		t.Fatalf("reader: %v", err)
	}
	r = splice.NewReader(body, edits)
	var w bytes.Buffer
	if n, err := r.WriteTo(&w); err != nil || n != int64(len(want)) || !bytes.Equal(w.Bytes(), want) {
		t.Fatalf("WriteTo: %d %v %q, want %q", n, err, w.Bytes(), want)
	}
}

func FuzzSplice(f *testing.F) {
	f.Add([]byte(`{"model":"a"}`), 9, 3, []byte(`"b"`), 0, 0, []byte(""))
	f.Fuzz(func(t *testing.T, body []byte, a, b int, x []byte, c, d int, y []byte) {
		edits := []splice.Edit{{splice.Span{Start: a, End: b}, x}, {splice.Span{Start: c, End: d}, y}}
		if splice.Valid(len(body), edits) {
			check(t, body, edits)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 100<<10)
	edits := []splice.Edit{{splice.Span{Start: 9, End: 12}, []byte(`"gpt-4o"`)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := splice.NewReader(body, edits).WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
