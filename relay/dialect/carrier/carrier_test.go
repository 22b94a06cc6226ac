package carrier_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/dialect/carrier"
	"github.com/causeway-mesh/causeway/relay/llm"
)

var seals = rapid.Custom(func(t *rapid.T) *llm.Seal {
	return &llm.Seal{
		Origin: rapid.SampledFrom(llm.Dialects[:]).Draw(t, "origin"),
		Scope:  rapid.StringN(0, 20, 60).Draw(t, "scope"),
		Data:   rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
	}
})

var uses = rapid.SampledFrom([]carrier.Use{carrier.Own, carrier.Next, carrier.Prev, carrier.Redacted})

// TestRoundTripIsExact: any change of a signature makes the vendor refuse the next turn
// (anthropics/anthropic-sdk-python #1598). Google's SDKs re-encode base64 in the URL alphabet.
func TestRoundTripIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want, use := seals.Draw(t, "seal"), uses.Draw(t, "use")
		text := carrier.Encode(use, want)
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatalf("a carrier must be base64 for Gemini clients: %v", err)
		}
		for _, echoed := range []string{text, base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw)} {
			got, ok := carrier.Decode([]byte(echoed))
			if !ok || got.Use != use || got.Opaque != nil {
				t.Fatalf("%s: %t %+v", echoed, ok, got)
			}
			if d := cmp.Diff(want, got.Seal, cmp.Comparer(bytes.Equal)); d != "" {
				t.Fatal(d)
			}
		}
	})
}

func TestPartRoundTripIsExact(t *testing.T) {
	t.Parallel()
	want := &llm.Opaque{Origin: llm.OpenAIResponses, Scope: "acct", Type: "web_search_call", JSON: llm.Raw("{ \"id\":\"ws_1\", \"n\":1.0 }")}
	got, ok := carrier.Decode([]byte(carrier.EncodePart(want)))
	if !ok || got.Use != carrier.Part {
		t.Fatal(ok, got.Use)
	}
	if d := cmp.Diff(want, got.Opaque); d != "" {
		t.Error(d)
	}
	bad := *want
	for _, json := range []string{"", "[]", "{", `{"a":1}}`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}"} {
		bad.JSON = llm.Raw(json)
		if _, ok := carrier.Decode([]byte(carrier.EncodePart(&bad))); ok {
			t.Errorf("%q was accepted as a part: it would be spliced into a request", json)
		}
	}
}

// TestDamagedIsNeverForwarded: no change of a carrier yields another seal, and it is still seen to be
// one of ours, so that it is dropped and not sent to a vendor as its own.
func TestDamagedIsNeverForwarded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(carrier.Encode(carrier.Own, seals.Draw(t, "seal")))
		i := rapid.IntRange(8, len(text)-1).Draw(t, "at")
		if c := rapid.SampledFrom([]byte("ABCxyz059")).Draw(t, "byte"); text[i] != c && text[i] != '=' {
			text[i] = c
			if _, ok := carrier.Decode(text); ok {
				t.Fatalf("damaged at %d, yet accepted", i)
			}
			if s, _ := carrier.SealOf(llm.AnthropicMessages, text); s != nil {
				t.Fatalf("forwarded as the vendor's own: %s", s.Data)
			}
		}
		if cut := text[:rapid.IntRange(8, len(text)-5).Draw(t, "cut")]; !carrier.Looks(cut) {
			t.Fatal("a cut carrier looks like a vendor's own")
		} else if _, ok := carrier.Decode(cut); ok {
			t.Fatal("cut, yet accepted")
		}
	})
}

func TestVendorsOwnStaysAsItIs(t *testing.T) {
	t.Parallel()
	for _, sig := range []string{"EqQBCkYIARgCIkD+/=", "skip_thought_signature_validator", "not base64 at all", "Y3Rj"} {
		got, use := carrier.SealOf(llm.AnthropicMessages, []byte(sig))
		if got == nil || got.Origin != llm.AnthropicMessages || string(got.Data) != sig || use != carrier.Own {
			t.Errorf("%q became %+v", sig, got)
		} else if back := carrier.Text(llm.AnthropicMessages, carrier.Own, got); back != sig {
			t.Errorf("%q went back as %q", sig, back)
		}
	}
	if got, _ := carrier.SealOf(llm.Gemini, nil); got != nil {
		t.Error("nothing became a seal")
	}
}

func TestSealGoesHomeOnly(t *testing.T) {
	t.Parallel()
	s := &llm.Seal{Origin: llm.OpenAIResponses, Scope: "org-a"}
	for _, c := range []struct {
		d     llm.Dialect
		scope string
		want  bool
		why   string
	}{
		{llm.OpenAIResponses, "org-a", true, "same account"},
		{llm.OpenAIResponses, "", true, "account not known"},
		{llm.OpenAIResponses, "org-b", false, "another account (BerriAI/litellm #29733)"},
		{llm.OpenAIChat, "org-a", false, "another protocol"},
		{llm.AnthropicMessages, "org-a", false, "another vendor (ding113/claude-code-hub #518)"},
	} {
		if got := s.For(c.d, c.scope); got != c.want {
			t.Errorf("%s: %t", c.why, got)
		}
	}
	if (*llm.Seal)(nil).For(llm.Gemini, "") {
		t.Error("no seal goes anywhere")
	}
}

// TestIDsFit: agno-agi/agno #5382, BerriAI/litellm #17343 (40 characters), Anthropic's pattern.
func TestIDsFit(t *testing.T) {
	t.Parallel()
	ids := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9_-]{1,60}`), rapid.String(), rapid.StringMatching(`cwx_[a-zA-Z0-9_-]{0,36}`), rapid.StringMatching(`cw[xh]_.{0,10}`))
	rapid.Check(t, func(t *rapid.T) {
		id := ids.Draw(t, "id")
		for _, d := range []llm.Dialect{llm.OpenAIChat, llm.OpenAIResponses, llm.AnthropicMessages} {
			got := carrier.ID(d, id)
			if len(got) > carrier.MaxID || strings.Trim(got, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" || got == "" && id != "" {
				t.Fatalf("%q became %q", id, got)
			}
			if again := carrier.ID(d, got); again != got {
				t.Fatalf("%q became %q, then %q", id, got, again)
			}
			if strings.HasPrefix(got, "cwh_") {
				continue
			}
			if back, home := carrier.Original(got), carrier.Original(id); back != id && back != home {
				t.Fatalf("%q became %q and came back as %q", id, got, back)
			}
		}
	})
}

func TestIDExamples(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ why, id, want string }{
		{"a usual id stays", "call_abc123", "call_abc123"},
		{"40 characters stay", strings.Repeat("a", 40), strings.Repeat("a", 40)},
		{"41 are hashed", strings.Repeat("a", 41), "cwh_9d9a1d1d2c1c9b7a"},
		{"dots are escaped", "functions.get:0", "cwx_ZnVuY3Rpb25zLmdldDow"},
	} {
		got := carrier.ID(llm.AnthropicMessages, c.id)
		if got != c.want && !(strings.HasPrefix(c.want, "cwh_") && strings.HasPrefix(got, "cwh_") && len(got) == 36) {
			t.Errorf("%s: %q", c.why, got)
		}
	}
	if got := carrier.ID(llm.Gemini, "cwx_ZnVuY3Rpb25zLmdldDow"); got != "functions.get:0" {
		t.Errorf("gemini gets %q", got)
	}
}

func TestMadeIDs(t *testing.T) {
	t.Parallel()
	a, b := carrier.CallID("resp", 0, 1), carrier.CallID("resp", 0, 2)
	if a == b || a != carrier.CallID("resp", 0, 1) || !carrier.Made(a) || len(a) > carrier.MaxID || carrier.ID(llm.AnthropicMessages, a) != a {
		t.Errorf("%s %s", a, b)
	}
	for _, id := range []string{"", "call_cw", "call_abc", "call_cwZZZZZZZZZZZZZZZZZZZZZZZZ"} {
		if carrier.Made(id) {
			t.Errorf("%q is not ours", id)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(carrier.Encode(carrier.Own, &llm.Seal{Origin: llm.Gemini, Scope: "s", Data: []byte("abc")})))
	f.Add([]byte(carrier.EncodePart(&llm.Opaque{Origin: llm.OpenAIResponses, Type: "x", JSON: llm.Raw("{}")})))
	f.Add([]byte("Y3djYXIx"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, ok := carrier.Decode(text)
		if !ok {
			return
		}
		var again string
		if c.Opaque != nil {
			again = carrier.EncodePart(c.Opaque)
		} else {
			again = carrier.Encode(c.Use, c.Seal)
		}
		got, ok := carrier.Decode([]byte(again))
		if !ok || cmp.Diff(c, got, cmp.Comparer(bytes.Equal)) != "" {
			t.Errorf("%q and %q differ", text, again)
		}
	})
}
