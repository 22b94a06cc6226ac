package state

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// testingT is testing.T or rapid.T.
type testingT interface {
	Helper()
	Fatal(args ...any)
}

func encode(t testingT, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func reload(t testingT, s *State) *State {
	t.Helper()
	out, err := Decode(bytes.NewReader(encode(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rich is a state with a record in every section.
func rich(t testing.TB) *rig {
	r := populated(t)
	r.do(&command.Init{Mesh: "m", Cluster: "c", CACert: []byte("pem"), SealedCAKey: []byte("k"), SealedPepper: []byte("p")})
	r.do(&command.Apply{Document: Document{Audit: []AuditRule{{Tenant: "acme"}}, Policy: &Policy{Rules: []Rule{{ID: "r", Allow: []string{"EU"}}}}}})
	r.token("tok")
	r.do(join("tok", "edge-1"))
	r.token("tok2")
	r.do(join("tok2", "edge-2"))
	r.do(&command.RevokeNode{ID: "edge-2"})
	r.try(command.Command{Time: r.now.UnixNano(), Actor: "a", Idempotency: command.Idempotency{Key: "k", Request: [32]byte{1}}, Body: &command.PutOrg{Org: Org{ID: "o2"}}})
	return r
}

func TestSnapshotRoundTrip(t *testing.T) {
	r := rich(t)
	back := reload(t, r.s)
	if back.Hash() != r.s.Hash() || back.Current().Index != r.s.Current().Index {
		t.Error("hash or index differ after a restore")
	}
	if !bytes.Equal(encode(t, back), encode(t, r.s)) {
		t.Error("a restored state writes another snapshot")
	}
	a, b := back.Current(), r.s.Current()
	if a.EdgeCount() != b.EdgeCount() || a.names.Len() != b.names.Len() || a.hashes.Len() != b.hashes.Len() || a.oldest.Len() != b.oldest.Len() {
		t.Error("an index was not rebuilt")
	}
	if m, ok := a.Model("gpt-4"); !ok || m.ID != "gpt-4o" {
		t.Error("aliases do not resolve after a restore")
	}
}

func TestDamagedSnapshotIsRefused(t *testing.T) {
	good := encode(t, rich(t).s)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, err := Decode(bytes.NewReader(bad)); err == nil {
			t.Fatalf("a flipped bit in byte %d of %d went unnoticed", i, len(good))
		}
		if _, err := Decode(bytes.NewReader(good[:i])); err == nil {
			t.Fatalf("the first %d of %d bytes restore", i, len(good))
		}
	}
	if _, err := Decode(bytes.NewReader(append(bytes.Clone(good), 0))); err == nil {
		t.Error("bytes after the end went unnoticed")
	}
}

func TestSnapshotOfAnotherFormat(t *testing.T) {
	good := encode(t, rich(t).s)
	bad := bytes.Clone(good)
	bad[len(magic)] = format + 1
	if _, err := Decode(bytes.NewReader(bad)); err == nil || !strings.Contains(err.Error(), "this build reads 1 to 1") {
		t.Errorf("got %v", err)
	}
}

// TestSnapshotWithContradictions: a well-formed file whose content no commands could make, such as two
// keys with one secret, is refused instead of giving one tenant's traffic to another.
func TestSnapshotWithContradictions(t *testing.T) {
	r := populated(t)
	s := *r.s.Current()
	twin := key("zwin", "acme", "one")
	s.Keys = s.Keys.with(twin.ID, twin)
	var b bytes.Buffer
	if err := s.Encode(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(&b); err == nil || !strings.Contains(err.Error(), "in use by another key") {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(encode(f, New()))
	f.Add(encode(f, rich(f).s))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(b) - 4; n > 0 { // let the fuzzer past the checksum
			b = binary.BigEndian.AppendUint32(bytes.Clone(b[:n]), crc32.Checksum(b[:n], castagnoli))
		}
		s, err := Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := encode(t, s); !bytes.Equal(again, b) {
			t.Fatal("two encodings of one state")
		}
	})
}
