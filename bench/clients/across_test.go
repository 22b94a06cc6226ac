package clients

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"testing"

	claude "github.com/anthropics/anthropic-sdk-go/v2"
	claudeopt "github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"
)

// Embeddings and counts of each SDK from providers of the other dialects: models that one of them serves.

func TestEmbeddingsAcross(t *testing.T) {
	t.Parallel()
	o, g := openAI(t), gemini(t, mesh.APIKey, "")

	t.Run("openai from gemini", func(t *testing.T) {
		t.Parallel()
		model := pinned(t, "fake-us-gemini", "gemini-embedding-001")
		ask := func(format openai.EmbeddingNewParamsEncodingFormat) (*openai.CreateEmbeddingResponse, http.Header) {
			var raw *http.Response
			got, err := o.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
				Model: model, EncodingFormat: format, Dimensions: openai.Int(64),
				Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two", "one"}},
			}, option.WithResponseInto(&raw))
			if err != nil {
				t.Fatal(err)
			}
			checkHeaders(t, raw.Header, "gemini", "gemini-embedding-001")
			return got, raw.Header
		}
		got, header := ask("")
		if len(got.Data) != 3 || len(got.Data[0].Embedding) != 64 || !slices.Equal(got.Data[0].Embedding, got.Data[2].Embedding) ||
			slices.Equal(got.Data[0].Embedding, got.Data[1].Embedding) || got.Data[1].Index != 1 || got.Model != model {
			t.Errorf("%+v", got)
		}
		if got.Usage.PromptTokens == 0 || header.Get("X-Causeway-Estimate") != "tokens" {
			t.Errorf("usage %+v, headers %v", got.Usage, header)
		}
		coded, _ := ask("base64") // what the SDKs for JavaScript and Python ask for by themselves
		var text string
		if err := json.Unmarshal([]byte(coded.Data[1].JSON.Embedding.Raw()), &text); err != nil {
			t.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != 4*64 {
			t.Fatalf("%d bytes, %v", len(raw), err)
		}
		for i, want := range got.Data[1].Embedding {
			if f := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])); f != float32(want) {
				t.Fatalf("value %d is %v in base64 and %v as a number", i, f, want)
			}
		}
	})

	t.Run("gemini from openai", func(t *testing.T) {
		t.Parallel()
		model := pinned(t, "fake-us-openai", "text-embedding-3-small")
		got, err := g.Models.EmbedContent(t.Context(), model, slices.Concat(genai.Text("one"), genai.Text("two")),
			&genai.EmbedContentConfig{OutputDimensionality: genai.Ptr[int32](64), TaskType: "CLUSTERING"})
		if err != nil {
			t.Fatal(err)
		}
		own, err := o.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
			Model: model, Dimensions: openai.Int(64), Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Embeddings) != 2 {
			t.Fatalf("%d vectors", len(got.Embeddings))
		}
		for i, e := range got.Embeddings {
			if !slices.EqualFunc(e.Values, own.Data[i].Embedding, func(a float32, b float64) bool { return a == float32(b) }) {
				t.Errorf("vector %d is another one than in its own dialect", i)
			}
		}
	})

	t.Run("nobody embeds at anthropic", func(t *testing.T) {
		t.Parallel()
		_, err := o.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: pinned(t, "fake-us-anthropic", "claude-3.5"), Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("x")}})
		if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusBadRequest || e.Code != "unsupported_conversion" {
			t.Errorf("%v", err)
		}
	})
}

func TestCountsAcross(t *testing.T) {
	t.Parallel()
	o, a, g := openAI(t), claudeNew(t), gemini(t, mesh.APIKey, "")
	const text = "How long is this?"
	// A provider that speaks Chat Completions only, and so counts nothing.
	var openAIs struct {
		BaseURL string `json:"base_url"`
	}
	if err := json.Unmarshal(admin(t, http.MethodGet, "/v1/providers/fake-us-openai", ""), &openAIs); err != nil {
		t.Fatal(err)
	}
	apply(t, fmt.Sprintf(`{"version":1,"providers":[{"id":"chat-only","dialects":["openai-chat"],"base_url":%q,"auth":{"scheme":"bearer","secrets":[{"id":"a","value":"k","weight":1}]},"processing":["US"],"storage":["US"]}]}`, openAIs.BaseURL))
	for _, to := range []struct{ provider, model string }{
		{"fake-us-openai", "gpt-4o"}, {"fake-us-anthropic", "claude-haiku-4-5"}, {"fake-us-gemini", "gemini-2.5-flash"}, {"chat-only", "gpt-4o"},
	} {
		t.Run(to.provider, func(t *testing.T) {
			t.Parallel()
			model := pinned(t, to.provider, to.model)
			var raw *http.Response
			anthropic, err := a.Messages.CountTokens(t.Context(), claude.MessageCountTokensParams{
				Model: claude.Model(model), Messages: []claude.MessageParam{claude.NewUserMessage(claude.NewTextBlock(text))},
			}, claudeopt.WithResponseInto(&raw))
			if err != nil {
				t.Fatal(err)
			}
			if got := raw.Header.Get("X-Causeway-Estimate") != ""; got != (to.provider == "chat-only") {
				t.Errorf("estimated: %v, headers %v", got, raw.Header)
			}
			google, err := g.Models.CountTokens(t.Context(), model, genai.Text(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			openAI, err := o.Responses.InputTokens.Count(t.Context(), responses.InputTokenCountParams{
				Model: openai.String(model), Input: responses.InputTokenCountParamsInputUnion{OfString: openai.String(text)},
			})
			if err != nil {
				t.Fatal(err)
			}
			// The same text for all three; the frame of a message may differ by form.
			counts := []int64{anthropic.InputTokens, int64(google.TotalTokens), openAI.InputTokens}
			if slices.Min(counts) < 4 || slices.Max(counts)-slices.Min(counts) > 4 {
				t.Errorf("anthropic, gemini, openai count %v", counts)
			}
		})
	}
}
