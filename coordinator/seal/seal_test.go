package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func testSealer(t testing.TB) *Sealer {
	t.Helper()
	s, err := New(bytes.Repeat([]byte{7}, KEKSize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealRoundTrip(t *testing.T) {
	s := testSealer(t)
	rapid.Check(t, func(t *rapid.T) {
		aad := rapid.SliceOf(rapid.Byte()).Draw(t, "aad")
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		sealed := s.Seal(aad, plain)
		got, err := s.Open(aad, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("open(seal(x)) = %x, %v; want %x", got, err, plain)
		}
		if len(plain) >= 8 && bytes.Contains(sealed, plain) {
			t.Fatal("the sealed value contains the plaintext")
		}
	})
}

// Every single-bit change must be noticed: a sealed value sits in a log that disks can damage.
func TestSealRefusesAnyChangedBit(t *testing.T) {
	s := testSealer(t)
	aad := []byte("provider/openai-us/a")
	sealed := s.Seal(aad, []byte("sk-secret"))
	for i := range sealed {
		for bit := range 8 {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1 << bit
			if got, err := s.Open(aad, bad); err == nil {
				t.Fatalf("bit %d of byte %d changed, still opened as %q", bit, i, got)
			}
		}
	}
	for n := range len(sealed) {
		if _, err := s.Open(aad, sealed[:n]); err == nil {
			t.Fatalf("opened a value cut to %d bytes", n)
		}
	}
}

func TestSealIsBoundToPlaceAndKey(t *testing.T) {
	s := testSealer(t)
	sealed := s.Seal([]byte("provider/a"), []byte("secret"))
	if _, err := s.Open([]byte("provider/b"), sealed); !errors.Is(err, ErrOpen) {
		t.Errorf("opened in another place: %v", err)
	}
	other, err := New(NewKEK())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open([]byte("provider/a"), sealed); !errors.Is(err, ErrOpen) {
		t.Errorf("opened under another key: %v", err)
	}
	if bytes.Equal(sealed, s.Seal([]byte("provider/a"), []byte("secret"))) {
		t.Error("two seals of one secret are equal: the nonce is not random")
	}
	sealed[0] = 2
	if _, err := s.Open([]byte("provider/a"), sealed); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("unknown version: %v", err)
	}
}

func TestNewRefusesWrongKeySize(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := New(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
}

func TestFingerprint(t *testing.T) {
	a, b := Fingerprint("sk-aaaa"), Fingerprint("sk-aaab")
	if a == b || len(a) != 12 || Fingerprint("") != "" || a != Fingerprint("sk-aaaa") {
		t.Errorf("fingerprints %q %q", a, b)
	}
	if plain := sha256.Sum256([]byte("sk-aaaa")); a == hex.EncodeToString(plain[:6]) {
		t.Error("fingerprint is a bare hash")
	}
}

// The hand-spelled HMAC must be crypto/hmac for every length, on both sides of the fast path.
func TestHashKeyIsHMAC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pepper := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "pepper")
		secret := rapid.StringOfN(rapid.Rune(), 0, 300, -1).Draw(t, "secret")
		m := hmac.New(sha256.New, pepper)
		m.Write([]byte(secret))
		if got := HashKey(pepper, secret); !hmac.Equal(got[:], m.Sum(nil)) {
			t.Fatalf("hash %x is not HMAC-SHA-256", got)
		}
	})
	pepper := []byte("pepper")
	if n := testing.AllocsPerRun(100, func() { HashKey(pepper, "cw_key") }); n != 0 {
		t.Errorf("%v allocations per hash", n)
	}
}

func FuzzOpen(f *testing.F) {
	s := testSealer(f)
	f.Add([]byte("a"), s.Seal([]byte("a"), []byte("x")))
	f.Add([]byte{}, []byte{1})
	f.Fuzz(func(t *testing.T, aad, sealed []byte) {
		if got, err := s.Open(aad, sealed); err != nil && got != nil {
			t.Fatal("an error with data")
		}
	})
}

func BenchmarkHashKey(b *testing.B) {
	b.ReportAllocs()
	pepper := NewKEK()
	for b.Loop() {
		HashKey(pepper, "cw_live_abcdefghijkl_0123456789012345678901234567890123456789012_abcdef")
	}
}
