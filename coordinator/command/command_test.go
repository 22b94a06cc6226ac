package command

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite golden files")

// fill gives every field below v a non-zero value unlike its neighbours', so that a field that Walk
// forgets or confuses shows.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("t%d-é", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n) * -7)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(*n%200 + 1))
	case reflect.Float64:
		v.SetFloat(float64(*n) / -3)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, n)
			fill(val, n)
			v.SetMapIndex(key, val)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Name == "Secret" && v.Type() == reflect.TypeFor[Key]() || f.Name == "Value" && v.Type() == reflect.TypeFor[Secret]() {
				continue // plain secrets never travel: TestPlainSecretsAreRefused
			}
			fill(v.Field(i), n)
		}
	default:
		panic("fill: " + v.Kind().String())
	}
}

func filled(k Kind) Command {
	n := int(k) * 100
	c := Command{Body: k.Body()}
	fill(reflect.ValueOf(&c.Idempotency).Elem(), &n)
	fill(reflect.ValueOf(c.Body).Elem(), &n)
	c.Time, c.Actor, c.Match = 1_795_305_600_000_000_000, "admin", Match{Version: 9, Absent: true}
	return c
}

func TestEveryKindRoundTrips(t *testing.T) {
	for k := Kind(1); k < kindEnd; k++ {
		t.Run(k.String(), func(t *testing.T) {
			c := filled(k)
			if c.Kind() != k {
				t.Fatalf("kind %d makes a body of kind %d", k, c.Kind())
			}
			b, err := Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c, got); diff != "" {
				t.Errorf("a field did not travel (-sent +got):\n%s", diff)
			}
			for i := range b {
				if _, err := Decode(b[:i]); err == nil {
					t.Errorf("the first %d of %d bytes decode", i, len(b))
				}
			}
		})
	}
}

// TestEncodingIsStable guards the log on disk: an old entry must read the same for ever. A new kind or
// field adds lines or bytes; it never changes what an older build wrote.
func TestEncodingIsStable(t *testing.T) {
	var got strings.Builder
	for k := Kind(1); k < kindEnd; k++ {
		b, err := Encode(filled(k))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%d %s %s\n", k, k, hex.EncodeToString(b))
	}
	const file = "testdata/encoding.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("encoding changed (-want +got), run with -update only for added fields:\n%s", diff)
	}
}

func TestPlainSecretsAreRefused(t *testing.T) {
	const canary = "sk-canary-1234567890"
	for _, body := range []Body{
		&PutKey{Key{ID: "k", Secret: canary}},
		&PutProvider{Provider{ID: "p", Auth: Auth{Secrets: []Secret{{ID: "a", Value: canary}}}}},
		&Apply{Document: Document{Keys: []Key{{ID: "k", Secret: canary}}}},
		&Apply{Document: Document{Providers: []Provider{{Auth: Auth{Secrets: []Secret{{ID: "a", Value: canary}}}}}}},
	} {
		b, err := Encode(Command{Body: body})
		if !errors.Is(err, errPlain) || b != nil {
			t.Errorf("%T with a plain secret: %q, %v", body, b, err)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestPresenceTravels(t *testing.T) {
	for _, d := range []Document{
		{Version: 1},
		{Version: 1, Tenants: []Tenant{}, Keys: nil, Policy: &Policy{}},
		Document{Version: 1}.Whole(),
	} {
		b, err := Encode(Command{Body: &Apply{Document: d}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, c.Body.(*Apply).Document); diff != "" {
			t.Errorf("absent and empty sections got mixed up (-sent +got):\n%s", diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	org := func(fields ...byte) []byte { // a put-org whose record is fields
		body := append([]byte{1, byte(len(fields))}, fields...)
		return append([]byte{byte(KindPutOrg), Layout, 0, byte(len(body))}, body...)
	}
	if c, err := Decode(org(1, 1, 'a')); err != nil || c.Body.(*PutOrg).Org.ID != "a" {
		t.Fatalf("the well-formed base of this test: %v, %v", c, err)
	}
	for _, tt := range []struct {
		why  string
		in   []byte
		want error
	}{
		{"nothing", nil, errCorrupt},
		{"a kind of a newer build must halt, not be skipped", []byte{byte(kindEnd), Layout, 0, 0}, ErrUnknownKind},
		{"kind zero", []byte{0, Layout, 0}, ErrUnknownKind},
		{"a layout of a newer build", []byte{byte(KindPutOrg), Layout + 1, 0}, ErrUnknownLayout},
		{"header longer than the entry", []byte{byte(KindPutOrg), Layout, 9, 1}, errCorrupt},
		{"a field of a newer build must not be dropped", org(1, 1, 'a', 9, 1, 1), errCorrupt},
		{"fields out of order", org(2, 1, 1, 1, 1, 'a'), errCorrupt},
		{"a field twice", org(1, 1, 'a', 1, 1, 'b'), errCorrupt},
		{"a zero value written out", org(1, 0), errCorrupt},
		{"a zero number written out", org(1, 1, 'a', 2, 1, 0), errCorrupt},
		{"a number with spare bytes", org(1, 1, 'a', 2, 2, 0x81, 0), errCorrupt},
		{"a length with spare bytes", org(1, 0x81, 0, 'a'), errCorrupt},
		{"text that is not UTF-8", org(1, 1, 0xff), errCorrupt},
		{"a length beyond the end", org(1, 100, 'a'), errCorrupt},
		{"a body cut off between fields", org(1, 1, 'a', 2, 1, 1)[:9], errCorrupt},
		{"bytes after the body", append(org(1, 1, 'a'), 0), errCorrupt},
	} {
		if _, err := Decode(tt.in); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.why, err, tt.want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for why, c := range map[string]Command{
		"no body":   {},
		"not UTF-8": {Body: &PutOrg{Org{ID: "a\xff"}}},
		"too large": {Body: &PutOrg{Org{ID: strings.Repeat("a", MaxSize)}}},
	} {
		if _, err := Encode(c); err == nil {
			t.Errorf("%s: encoded", why)
		}
	}
}

// TestMapOrderDoesNotShow is the codec's part of determinism: maps filled in any order encode alike.
func TestMapOrderDoesNotShow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "labels")
		keys := rapid.Permutation(slices.Collect(maps.Keys(labels))).Draw(t, "order")
		other := make(map[string]string)
		for _, k := range keys {
			other[k] = labels[k]
		}
		a, errA := Append(nil, &Tenant{ID: "x", Labels: labels})
		b, errB := Append(nil, &Tenant{ID: "x", Labels: other})
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Fatalf("%v %v\n%x\n%x", errA, errB, a, b)
		}
		var back Tenant
		if err := Parse(a, &back); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(back.Labels, labels) {
			t.Fatalf("got %v, want %v", back.Labels, labels)
		}
	})
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"5s": 5 * time.Second, "400d": 9600 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0, "0d": 0,
		"": -1, "d": -1, "-1s": -1, "-1d": -1, "5": -1, "5 s": -1, "1d2h": -1, "+3d": -1, "99999999d": -1, "1dd": -1,
	} {
		got, err := ParseDuration(in)
		if (want < 0) != (err != nil) || want >= 0 && got != want {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for k := Kind(1); k < kindEnd; k++ {
		b, err := Encode(filled(k))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(c)
		if err != nil {
			t.Fatalf("decoded but does not encode: %v", err)
		}
		if !bytes.Equal(b, again) {
			t.Fatalf("two encodings of one command:\n%x\n%x", b, again)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	c := filled(KindPutKey)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	in, err := Encode(filled(KindPutKey))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(in); err != nil {
			b.Fatal(err)
		}
	}
}
