package convtest

import (
	"testing"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/sse"
)

// Budget of a converted event.
const MaxAllocsPerEvent = 6

// BenchStream measures the conversion of a provider's stream for a client, per provider event:
// decoding and encoding, with buffers reused as the edge does.
func BenchStream(b *testing.B, p dialect.ProviderCodec, c dialect.ClientCodec, client llm.Dialect, stream []byte) {
	b.Helper()
	events := 0
	b.ReportAllocs()
	for b.Loop() {
		events = convertStream(b, p, c, client, stream)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
}

// CheckAllocs fails when the conversion of a stream costs more than MaxAllocsPerEvent allocations per
// provider event; the stream should have some fifty events or more.
func CheckAllocs(t *testing.T, p dialect.ProviderCodec, c dialect.ClientCodec, client llm.Dialect, stream []byte) {
	t.Helper()
	events := convertStream(t, p, c, client, stream)
	allocs := testing.AllocsPerRun(20, func() { convertStream(t, p, c, client, stream) })
	if per := allocs / float64(events); per > MaxAllocsPerEvent {
		t.Errorf("%.1f allocations per event, want at most %d", per, MaxAllocsPerEvent)
	}
}

func convertStream(t testing.TB, p dialect.ProviderCodec, c dialect.ClientCodec, client llm.Dialect, stream []byte) int {
	d := p.NewEventDecoder(dialect.DecodeOptions{Op: llm.OpGenerate, ID: RequestID})
	e := c.NewEventEncoder(Answer(client, nil))
	s := sse.NewScanner(0)
	s.Feed(stream)
	var events []llm.Event
	var out []byte
	n := 0
	write := func() {
		for i := range events {
			var err error
			if out, err = e.Append(out[:0], &events[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for f, ok := s.Next(); ok; f, ok = s.Next() {
		n++
		events = d.Push(events[:0], f.Name, f.Data)
		write()
	}
	events = d.End(events[:0])
	write()
	if _, err := e.Close(out[:0]); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	return n
}
