package state

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestTableIsAMap drives a table and a map alike, and checks that no earlier version of the table
// changes afterwards: snapshots rest on that.
func TestTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			table Table[Org]
			model map[string]Org
		}
		var (
			table Table[Org]
			model = map[string]Org{}
			old   []version
		)
		ids := rapid.IntRange(0, rapid.SampledFrom([]int{3, 60, 2000}).Draw(t, "ids"))
		for step := range rapid.IntRange(0, 1500).Draw(t, "steps") {
			id := fmt.Sprintf("o%04d", ids.Draw(t, "id"))
			if rapid.IntRange(0, 3).Draw(t, "op") > 0 {
				o := Org{ID: id, Version: uint64(step)}
				table, model[id] = table.with(id, o), o
			} else {
				table = table.without(id)
				delete(model, id)
			}
			if step%200 == 0 {
				old = append(old, version{table, maps.Clone(model)})
			}
		}
		for _, v := range append(old, version{table, model}) {
			want := make([]Org, 0, len(v.model))
			for _, id := range slices.Sorted(maps.Keys(v.model)) {
				want = append(want, v.model[id])
			}
			if diff := cmp.Diff(want, v.table.Slice()); diff != "" || v.table.Len() != len(want) {
				t.Fatalf("len %d, want %d (-want +got):\n%s", v.table.Len(), len(want), diff)
			}
			for id, o := range v.model {
				if got, ok := v.table.Get(id); !ok || got != o {
					t.Fatalf("Get(%s) = %v, %v", id, got, ok)
				}
			}
			if v.table.Has("absent") || v.table.Has("") || v.table.Has("zzz") {
				t.Fatal("has what it does not")
			}
			for i, c := range v.table.chunks {
				if len(c.rows) == 0 || len(c.rows) > chunkRows {
					t.Fatalf("chunk %d has %d rows", i, len(c.rows))
				}
			}
		}
	})
}

func TestDigestAdds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.Custom(func(t *rapid.T) (d digest) {
			for i := range d {
				d[i] = rapid.SampledFrom([]uint64{0, 1, 1<<63 - 1, 1 << 63, ^uint64(0)}).Draw(t, "word")
			}
			return d
		})
		a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
		left, right := a, c
		left.add(&b)
		left.add(&c)
		right.add(&b)
		right.add(&a)
		if left != right {
			t.Fatalf("a+b+c = %x, c+b+a = %x", left, right)
		}
	})
	d, one := digest{^uint64(0), ^uint64(0), 5, 0}, digest{1}
	if d.add(&one); d != (digest{0, 0, 6, 0}) {
		t.Errorf("the carry got lost: %x", d)
	}
}

func BenchmarkTable(b *testing.B) {
	var t Table[Org]
	ids := make([]string, 100_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("org-%06d", i)
		t.grow(row[Org]{ids[i], &Org{ID: ids[i]}})
	}
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if i = (i + 7919) % len(ids); !t.Has(ids[i]) {
				b.Fatal("lost")
			}
		}
	})
	b.Run("with", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i = (i + 7919) % len(ids)
			t = t.with(ids[i], Org{ID: ids[i]})
		}
	})
}
