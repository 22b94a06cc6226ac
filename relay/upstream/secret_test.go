package upstream

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/causeway-mesh/causeway/relay/fault"
)

func mustURL(query string) *url.URL { return &url.URL{RawQuery: query} }

func TestValueNeverPrints(t *testing.T) {
	v := NewValue(canary)
	type holder struct {
		V Value
		P *Value
	}
	h := holder{v, &v}
	js, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		v.String(), fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v), fmt.Sprintf("%+v %#v", h, h), string(js),
		fmt.Sprint(Secret{ID: "a", Value: v}),
	} {
		if strings.Contains(s, "CANARY") || strings.Contains(s, fmt.Sprintf("%x", canary)) {
			t.Errorf("leaked: %s", s)
		}
	}
	if v.Reveal() != canary || NewValue("x").String() == v.String() {
		t.Error("Reveal or fingerprint is wrong")
	}
}

func pool(t testing.TB, list ...Secret) *Secrets {
	t.Helper()
	for i := range list {
		list[i].Value = NewValue("v-" + list[i].ID)
	}
	s, err := NewSecrets(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestPickByWeight(t *testing.T) {
	s := pool(t, Secret{ID: "a", Weight: 1}, Secret{ID: "b", Weight: 3})
	count := map[string]int{}
	for draw := range uint64(400) {
		x, _, ok := s.Pick(t0, "m", nil, draw)
		if !ok {
			t.Fatal("nothing picked")
		}
		count[x.ID]++
	}
	if count["a"] != 100 || count["b"] != 300 {
		t.Errorf("%v", count)
	}
	if x, _, ok := s.Pick(t0, "m", []string{"b"}, 3); !ok || x.ID != "a" {
		t.Errorf("tried secret picked again: %v", x)
	}
	if _, wait, ok := s.Pick(t0, "m", []string{"a", "b"}, 0); ok || wait != 0 {
		t.Errorf("all tried: wait %s, %v", wait, ok)
	}
}

// TestCooldown: peers 26 (litellm #7669, #40130): Retry-After ignored or shortened, and all
// deployments cooled down at once.
func TestCooldown(t *testing.T) {
	rate := func(after time.Duration) *fault.Error {
		return &fault.Error{Kind: fault.UpstreamRate, RetryAfter: after}
	}
	for _, c := range []struct {
		why    string
		faults []*fault.Error
		wait   time.Duration // 0 = usable at once, if only as a last resort
	}{
		{why: "the provider's word is kept", faults: []*fault.Error{rate(20 * time.Second)}, wait: 20 * time.Second},
		{why: "a shorter word does not shorten it", faults: []*fault.Error{rate(20 * time.Second), rate(time.Second)}, wait: 20 * time.Second},
		{why: "our own guess is a last resort", faults: []*fault.Error{rate(0)}},
		{why: "a refused credential rests", faults: []*fault.Error{{Kind: fault.UpstreamAuth}}, wait: authRest},
		{why: "an empty account rests", faults: []*fault.Error{{Kind: fault.UpstreamQuota}}, wait: quotaRest},
		{why: "a provider that is down is down for every secret", faults: []*fault.Error{{Kind: fault.UpstreamOverload, RetryAfter: time.Minute}, {Kind: fault.UpstreamTimeout}}},
		{why: "the client's own mistake says nothing of the secret", faults: []*fault.Error{{Kind: fault.UpstreamRejected}, nil}},
	} {
		s := pool(t, Secret{ID: "a"})
		for _, f := range c.faults {
			s.Report(t0, "m", "a", f)
		}
		_, wait, ok := s.Pick(t0, "m", nil, 1)
		if ok != (c.wait == 0) || wait != c.wait {
			t.Errorf("%s: wait %s, %v", c.why, wait, ok)
		}
		if _, _, ok := s.Pick(t0.Add(c.wait), "m", nil, 1); !ok {
			t.Errorf("%s: not usable after its wait", c.why)
		}
	}

	s := pool(t, Secret{ID: "a", Weight: 100}, Secret{ID: "b"})
	s.Report(t0, "m", "a", rate(0))
	for draw := range uint64(50) {
		if x, _, _ := s.Pick(t0, "m", nil, draw); x.ID != "b" {
			t.Fatal("a resting secret was preferred to a free one")
		}
	}
	s.Report(t0, "m", "b", rate(time.Minute))
	if x, _, ok := s.Pick(t0, "m", nil, 9); !ok || x.ID != "a" {
		t.Errorf("last resort: %v %v", x, ok)
	}
	s.Report(t0, "m", "nobody", rate(time.Minute))
}

// TestWhyNothingIsFree: a request must not wait a minute for a credential that the provider refused.
func TestWhyNothingIsFree(t *testing.T) {
	for _, c := range []struct {
		why  string
		a, b fault.Kind
		want fault.Kind
	}{
		{why: "refused", a: fault.UpstreamAuth, b: fault.UpstreamAuth, want: fault.UpstreamAuth},
		{why: "out of money", a: fault.UpstreamQuota, b: fault.UpstreamQuota, want: fault.UpstreamQuota},
		{why: "one only waits", a: fault.UpstreamAuth, b: fault.UpstreamRate, want: fault.UpstreamRate},
		{why: "one is free", a: fault.UpstreamAuth, want: fault.UpstreamRate},
	} {
		s := pool(t, Secret{ID: "a"}, Secret{ID: "b"})
		s.Report(t0, "m", "a", &fault.Error{Kind: c.a, RetryAfter: time.Minute})
		if c.b != fault.Unknown {
			s.Report(t0, "m", "b", &fault.Error{Kind: c.b, RetryAfter: time.Minute})
		}
		if got := s.Why(t0, "m"); got != c.want {
			t.Errorf("%s: %s, want %s", c.why, got, c.want)
		}
	}
}

func TestOwnLimits(t *testing.T) {
	s := pool(t, Secret{ID: "a", RPM: 60})
	n := 0
	for now := t0; now.Before(t0.Add(2 * time.Minute)); now = now.Add(100 * time.Millisecond) {
		if _, _, ok := s.Pick(now, "m", nil, 0); ok {
			n++
		}
	}
	if n < 120 || n > 120+10 {
		t.Errorf("60 rpm let %d through in two minutes", n)
	}
	_, wait, ok := s.Pick(t0.Add(2*time.Minute), "m", nil, 0)
	for ok {
		_, wait, ok = s.Pick(t0.Add(2*time.Minute), "m", nil, 0)
	}
	if wait <= 0 || wait > time.Second {
		t.Errorf("wait %s, want up to a second", wait)
	}

	s = pool(t, Secret{ID: "a", TPM: 1000})
	s.Settle(t0, "a", 1000)
	if _, wait, ok := s.Pick(t0, "m", nil, 0); ok || wait != 50*time.Second {
		t.Errorf("a spent minute: wait %s, %v", wait, ok)
	}
	s.Settle(t0, "a", 1<<62)
	if _, wait, ok := s.Pick(t0, "m", nil, 0); ok || wait > 25*time.Hour {
		t.Errorf("debt is not bounded: %s", wait)
	}
}

// TestPickKeepsItsPromises: a wait that was given is enough, and what was tried never comes back.
func TestPickKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := []string{"a", "b", "c"}
		var list []Secret
		for _, id := range ids {
			list = append(list, Secret{
				ID: id, Value: NewValue(id), Weight: rapid.IntRange(0, 5).Draw(t, "w"),
				RPM: rapid.Int64Range(0, 100).Draw(t, "rpm"), TPM: rapid.Int64Range(0, 1000).Draw(t, "tpm"),
			})
		}
		s, err := NewSecrets(list)
		if err != nil {
			t.Fatal(err)
		}
		now := t0
		for range 40 {
			id := rapid.SampledFrom(ids).Draw(t, "id")
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0:
				kind := rapid.SampledFrom(fault.Kinds()).Draw(t, "kind")
				s.Report(now, "m", id, &fault.Error{Kind: kind, RetryAfter: time.Duration(rapid.IntRange(0, 90).Draw(t, "after")) * time.Second})
			case 1:
				s.Settle(now, id, rapid.Int64Range(-1, 5000).Draw(t, "tokens"))
			case 2:
				now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "step")) * time.Second)
			default:
				x, wait, ok := s.Pick(now, "m", []string{id}, rapid.Uint64().Draw(t, "draw"))
				if ok && (x.ID == id || wait != 0) {
					t.Fatalf("picked %s with %s tried, wait %s", x.ID, id, wait)
				}
				if !ok {
					if wait <= 0 {
						t.Fatal("untried secrets but no wait")
					}
					if _, _, ok := s.Pick(now.Add(wait), "m", []string{id}, 0); !ok {
						t.Fatalf("still nothing after the promised %s", wait)
					}
					now = now.Add(wait)
				}
			}
		}
	})
}

func TestNewSecretsRefuses(t *testing.T) {
	for why, list := range map[string][]Secret{
		"no id":    {{Value: NewValue("x")}},
		"empty":    {{ID: "a"}},
		"twice":    {{ID: "a", Value: NewValue("x")}, {ID: "a", Value: NewValue("y")}},
		"negative": {{ID: "a", Value: NewValue("x"), RPM: -1}},
	} {
		if _, err := NewSecrets(list); err == nil {
			t.Errorf("%s: taken", why)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	s := pool(b, Secret{ID: "a", RPM: 1e9}, Secret{ID: "b", Weight: 2}, Secret{ID: "c"})
	tried := []string{"c"}
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = s.Pick(t0, "m", tried, 12345)
	}
}
