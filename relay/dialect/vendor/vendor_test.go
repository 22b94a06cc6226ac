package vendor_test

import (
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/vendor"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Every row says who it is, where that is known from, and when somebody last looked.
func TestRowsAreSound(t *testing.T) {
	t.Parallel()
	fact := func(what string, f vendor.Fact) {
		for s := range strings.SplitSeq(f.Source, "; ") {
			if u, err := url.Parse(s); err != nil || u.Scheme != "https" {
				t.Errorf("%s: source %q is no address", what, s)
			}
		}
		if _, err := time.Parse(time.DateOnly, f.Reviewed); err != nil {
			t.Errorf("%s: reviewed: %v", what, err)
		}
	}
	names := vendor.Names()
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("the names are not sorted, or one is there twice: %v", names)
	}
	hosts := map[string]string{}
	for _, v := range vendor.All() {
		fact(v.Name, v.Fact)
		for _, h := range v.Hosts {
			if other, twice := hosts[h]; twice {
				t.Errorf("host %s belongs to %s and %s", h, other, v.Name)
			}
			hosts[h] = v.Name
		}
		if _, err := url.Parse(v.Base); err != nil || v.Title == "" || v.Notes == "" || !slices.Contains([]string{"bearer", "x-goog-api-key"}, v.Scheme) {
			t.Errorf("%s: incomplete row: %+v", v.Name, v)
		}
		if got := vendor.For("", v.Base, llm.OpenAIChat, "m", 0).Vendor; len(v.Hosts) > 0 && v.Name != "ollama" && got != v.Name {
			t.Errorf("%s: its own base_url belongs to %q", v.Name, got)
		}
	}
	for _, f := range vendor.Families() {
		fact(f.Models[0], f.Fact)
		for _, glob := range f.Models {
			if _, err := path.Match(glob, "x"); err != nil || strings.ToLower(glob) != glob || strings.Contains(glob, "/") {
				t.Errorf("%q is no glob of bare names", glob)
			}
		}
		for _, at := range f.At {
			if !slices.Contains(names, at) {
				t.Errorf("%s: no vendor %q", f.Models[0], at)
			}
		}
		if len(f.In) == 0 {
			t.Errorf("%s: in no protocol", f.Models[0])
		}
	}
}

func TestFactsOfTargets(t *testing.T) {
	t.Parallel()
	q := func(f func(*dialect.Quirks)) (q dialect.Quirks) { f(&q); return q }
	const own = "https://api.anthropic.com"
	for _, c := range []struct {
		name, base string
		d          llm.Dialect
		model      string
		limit      int64
		want       vendor.Facts
	}{
		// The vendor field counts before the host; a host is matched by whole labels.
		{"", "https://api.deepseek.com/v1", llm.OpenAIChat, "deepseek-chat", 0, vendor.Facts{Vendor: "deepseek", Quirks: q(func(q *dialect.Quirks) {
			q.NoDeveloperRole, q.LegacyMaxTokens, q.NoSchema, q.Switch, q.CallIDs = true, true, true, dialect.SwitchType, dialect.CallIDsAny
		})}},
		{"", "https://evilapi.deepseek.com.example/v1", llm.OpenAIChat, "x", 0, vendor.Facts{}},
		{"", "https://notapi.groq.com", llm.OpenAIChat, "x", 0, vendor.Facts{}},
		{"vllm", "https://api.deepseek.com/v1", llm.OpenAIChat, "x", 0, vendor.Facts{Vendor: "vllm", Quirks: q(func(q *dialect.Quirks) {
			q.NoDeveloperRole, q.LegacyMaxTokens, q.CallIDs = true, true, dialect.CallIDsAny
		})}},
		{"", "https://api.openai.com/v1", llm.OpenAIChat, "a-model-of-tomorrow", 0, vendor.Facts{}},
		{"", "https://r.openai.azure.com/openai/v1", llm.OpenAIResponses, "gpt-4o", 0, vendor.Facts{Vendor: "azure", Quirks: q(func(q *dialect.Quirks) { q.NoReasoning = true }), MaxOutput: 16384}},
		// What stands before a model's own name is not part of it; vendor and family add up.
		{"", "https://openrouter.ai/api/v1", llm.OpenAIChat, "openai/GPT-5-mini", 0, vendor.Facts{Vendor: "openrouter", Quirks: q(func(q *dialect.Quirks) {
			q.NoDeveloperRole, q.LegacyMaxTokens = true, true
			q.NoSampling, q.NoPenalties, q.NoLogprobs, q.NoStop = true, true, true, true
		}), MaxOutput: 128000}},
		{"", "https://api.openai.com/v1", llm.OpenAIChat, "gpt-5.6-sol", 0, vendor.Facts{MaxOutput: 128000}},
		{"", "https://api.openai.com/v1", llm.OpenAIChat, "gpt-5-chat-latest", 0, vendor.Facts{Quirks: q(func(q *dialect.Quirks) { q.NoReasoning = true }), MaxOutput: 16384}},
		// Quirks show in the model's own protocol only; its maximum everywhere.
		{"", "https://openrouter.ai/api/v1", llm.OpenAIChat, "anthropic/claude-opus-4-7", 0, vendor.Facts{Vendor: "openrouter", Quirks: q(func(q *dialect.Quirks) { q.NoDeveloperRole, q.LegacyMaxTokens = true, true }), MaxOutput: 128000}},
		// Anthropic demands a limit, and an edge must be able to reserve it.
		{"", own, llm.AnthropicMessages, "claude-3-5-sonnet-20241022", 0, vendor.Facts{Quirks: q(func(q *dialect.Quirks) { q.NoSchema, q.NoReasoning = true, true }), MaxOutput: 8192, Fill: 8192}},
		{"", own, llm.AnthropicMessages, "claude-sonnet-4-20250514", 0, vendor.Facts{Quirks: q(func(q *dialect.Quirks) { q.NoSchema, q.NoEffort = true, true }), MaxOutput: 64000, Fill: 32000}},
		{"", own, llm.AnthropicMessages, "claude-opus-4-1-20250805", 0, vendor.Facts{Quirks: q(func(q *dialect.Quirks) { q.NoSchema, q.NoEffort = true, true }), MaxOutput: 32000, Fill: 32000}},
		{"", own, llm.AnthropicMessages, "us.anthropic.claude-haiku-4-5-20251001-v1:0", 0, vendor.Facts{Quirks: q(func(q *dialect.Quirks) { q.NoEffort = true }), MaxOutput: 64000, Fill: 32000}},
		{"", own, llm.AnthropicMessages, "claude-sonnet-4-6", 4000, vendor.Facts{Quirks: q(func(q *dialect.Quirks) { q.NoPrefill = true }), MaxOutput: 4000, Fill: 4000}},
		{"", own, llm.AnthropicMessages, "claude-opus-4-8", 90000, vendor.Facts{Quirks: q(func(q *dialect.Quirks) {
			q.NoPrefill, q.NoSampling, q.NoBudget, q.SystemInPlace = true, true, true, true
		}), MaxOutput: 90000, Fill: 90000}},
		{"", own, llm.AnthropicMessages, "claude-opus-5-5", 0, vendor.Facts{Quirks: q(func(q *dialect.Quirks) {
			q.NoPrefill, q.NoSampling, q.NoBudget, q.SystemInPlace, q.AlwaysThinks = true, true, true, true, true
		}), MaxOutput: 128000, Fill: 32000}},
		{"", own, llm.AnthropicMessages, "claude-sonnet-5-5", 0, vendor.Facts{Quirks: q(func(q *dialect.Quirks) {
			q.NoPrefill, q.NoSampling, q.NoBudget, q.SystemInPlace, q.LeastBetween = true, true, true, true, true
		}), MaxOutput: 128000, Fill: 32000}},
		{"", own, llm.AnthropicMessages, "somebody-elses", 0, vendor.Facts{Fill: 32000}},
		{"", "https://generativelanguage.googleapis.com", llm.Gemini, "gemini-2.0-flash", 0, vendor.Facts{Vendor: "google", Quirks: q(func(q *dialect.Quirks) { q.NoReasoning = true }), MaxOutput: 8192}},
		{"", "https://generativelanguage.googleapis.com", llm.Gemini, "models/gemini-2.5-pro", 0, vendor.Facts{Vendor: "google", Quirks: q(func(q *dialect.Quirks) { q.NoEffort, q.AlwaysThinks, q.RemoteMedia = true, true, true }), MaxOutput: 65536}},
		{"", "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/publishers/google", llm.Gemini, "gemini-2.5-flash", 0, vendor.Facts{
			Vendor: "vertex", Quirks: q(func(q *dialect.Quirks) { q.NoEffort, q.RemoteMedia = true, true }), MaxOutput: 65536, Unversioned: true,
		}},
		{"", "https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi", llm.OpenAIChat, "google/gemini-3-flash", 0, vendor.Facts{Vendor: "vertex", Quirks: q(func(q *dialect.Quirks) { q.NoDeveloperRole = true }), MaxOutput: 65536}},
		// Families of one vendor say nothing of the same name elsewhere.
		{"xai", "", llm.OpenAIChat, "grok-4-0709", 0, vendor.Facts{Vendor: "xai", Quirks: q(func(q *dialect.Quirks) {
			q.NoDeveloperRole, q.NoReasoning, q.NoPenalties, q.NoStop = true, true, true, true
		})}},
		{"xai", "", llm.OpenAIChat, "grok-4.3", 0, vendor.Facts{Vendor: "xai", Quirks: q(func(q *dialect.Quirks) { q.NoDeveloperRole = true })}},
		{"", "https://gateway.example/v1", llm.OpenAIChat, "grok-4", 0, vendor.Facts{}},
	} {
		if got := vendor.For(c.name, c.base, c.d, c.model, c.limit); got != c.want {
			t.Errorf("%s %s %s:\n got %+v\nwant %+v", c.name+c.base, c.d, c.model, got, c.want)
		}
	}
}

// A base URL of Vertex ends where Gemini's version would follow.
func TestUnversionedPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		unversioned bool
		in, want    string
	}{
		{true, "/v1beta/models/gemini-2.5-pro:generateContent", "/models/gemini-2.5-pro:generateContent"},
		{true, "/v1/models", "/models"},
		{true, "", ""},
		{false, "/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"},
	} {
		if got := (vendor.Facts{Unversioned: c.unversioned}).Path(c.in); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
}

// The README's table of compatible vendors is this one.
func TestReadmeListsTheVendors(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vendor.All() {
		row := "| " + v.Title + " | `" + v.Name + "` | `" + v.Base + "` | " + v.Scheme + " | " + v.Notes + " |\n"
		if !strings.Contains(string(readme), row) {
			t.Errorf("README.md lacks the row:\n%s", row)
		}
	}
}
