package clients

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genai"
)

func gemini(t testing.TB, key, version string) *genai.Client {
	t.Helper()
	c, err := genai.NewClient(t.Context(), &genai.ClientConfig{
		Backend: genai.BackendGeminiAPI, APIKey: key, HTTPOptions: genai.HTTPOptions{BaseURL: edge(t, "us-west"), APIVersion: version},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGemini runs with v1beta, which this SDK's default is, and with v1, which other SDKs' is.
func TestGemini(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "v1"} {
		client := gemini(t, mesh.APIKey, version)

		t.Run(version+"/unary", func(t *testing.T) {
			got, err := client.Models.GenerateContent(t.Context(), "gemini-pro", genai.Text("Reply with exactly: pong"), &genai.GenerateContentConfig{Temperature: genai.Ptr[float32](0.4), MaxOutputTokens: 100})
			if err != nil {
				t.Fatal(err)
			}
			if got.Text() != "pong" || got.Candidates[0].FinishReason != genai.FinishReasonStop || got.UsageMetadata.PromptTokenCount == 0 || got.UsageMetadata.CandidatesTokenCount == 0 {
				t.Errorf("%q, %s, usage %+v", got.Text(), got.Candidates[0].FinishReason, got.UsageMetadata)
			}
			checkHeaders(t, got.SDKHTTPResponse.Headers, "gemini", "gemini-pro")
		})

		t.Run(version+"/stream", func(t *testing.T) {
			text, chunks, out := "", 0, int32(0)
			for got, err := range client.Models.GenerateContentStream(t.Context(), "gemini-2.5-flash", genai.Text("fake:tokens=6"), nil) {
				if err != nil {
					t.Fatal(err)
				}
				text += got.Text()
				chunks++
				if got.UsageMetadata != nil {
					out = got.UsageMetadata.CandidatesTokenCount
				}
				checkHeaders(t, got.SDKHTTPResponse.Headers, "gemini", "gemini-2.5-flash")
			}
			if text == "" || chunks < 2 || out != 6 {
				t.Errorf("%d chunks, %q, %d tokens", chunks, text, out)
			}
		})
	}
	client := gemini(t, mesh.APIKey, "")

	t.Run("system instruction and chat", func(t *testing.T) {
		c, err := client.Chats.Create(t.Context(), "gemini-3.5-flash", &genai.GenerateContentConfig{SystemInstruction: genai.NewContentFromText("Be terse.", genai.RoleUser)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"one", "two"} {
			got, err := c.SendMessage(t.Context(), genai.Part{Text: "Reply with exactly: " + want})
			if err != nil || got.Text() != want {
				t.Errorf("%q, want %q, %v", got.Text(), want, err)
			}
		}
	})

	t.Run("multimodal", func(t *testing.T) {
		png, err := base64.StdEncoding.DecodeString(pixel)
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.Models.GenerateContent(t.Context(), "gemini-pro-vision", []*genai.Content{genai.NewContentFromParts([]*genai.Part{
			genai.NewPartFromText("What is this?"), genai.NewPartFromBytes(png, "image/png"),
		}, genai.RoleUser)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.Text(), "image/png") {
			t.Errorf("the picture did not arrive: %q", got.Text())
		}
	})

	t.Run("functions", func(t *testing.T) {
		config := &genai.GenerateContentConfig{Tools: []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{
			Name: "get_weather", Description: "Current weather", ParametersJsonSchema: weather,
		}}}}}
		contents := genai.Text("Weather in Boston? Use the tool.")
		got, err := client.Models.GenerateContent(t.Context(), "gemini-3-pro-preview", contents, config)
		if err != nil {
			t.Fatal(err)
		}
		calls := got.FunctionCalls()
		if len(calls) != 1 || calls[0].Name != "get_weather" {
			t.Fatalf("calls %+v", calls)
		}
		args, err := json.Marshal(calls[0].Args)
		if err != nil {
			t.Fatal(err)
		}
		checkArguments(t, string(args))
		// The model's turn goes back whole: a lost thoughtSignature would be a 400 (protocols of 2026).
		contents = append(contents, got.Candidates[0].Content, genai.NewContentFromFunctionResponse("get_weather", map[string]any{"celsius": 21}, genai.RoleUser))
		if got, err = client.Models.GenerateContent(t.Context(), "gemini-3-pro-preview", contents, config); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.Text(), "21") {
			t.Errorf("the answer %q does not use the function's result", got.Text())
		}
	})

	t.Run("structured output", func(t *testing.T) {
		got, err := client.Models.GenerateContent(t.Context(), "gemini-2.5-pro", genai.Text("Name a city."), &genai.GenerateContentConfig{ResponseMIMEType: "application/json", ResponseJsonSchema: placeSchema})
		if err != nil {
			t.Fatal(err)
		}
		checkPlace(t, got.Text())
	})

	t.Run("count tokens", func(t *testing.T) {
		got, err := client.Models.CountTokens(t.Context(), "gemini-2.5-flash", genai.Text("How long is this?"), nil)
		if err != nil || got.TotalTokens == 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})

	t.Run("embeddings", func(t *testing.T) {
		got, err := client.Models.EmbedContent(t.Context(), "gemini-embedding-001", slices.Concat(genai.Text("one"), genai.Text("two")), &genai.EmbedContentConfig{OutputDimensionality: genai.Ptr[int32](64)})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Embeddings) != 2 || len(got.Embeddings[0].Values) != 64 {
			t.Errorf("%d vectors", len(got.Embeddings))
		}
	})

	t.Run("models", func(t *testing.T) {
		var names []string
		for m, err := range client.Models.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, m.Name)
		}
		if !slices.Contains(names, "models/gemini-pro") || !slices.Contains(names, "models/auto") {
			t.Errorf("models %v", names)
		}
		if got, err := client.Models.Get(t.Context(), "gemini-pro", nil); err != nil || got.Name != "models/gemini-pro" {
			t.Errorf("get: %+v, %v", got, err)
		}
	})

	t.Run("abort", func(t *testing.T) {
		abandoned(t, func(ctx context.Context) error {
			_, err := client.Models.GenerateContent(ctx, "fake-hang", genai.Text("hello"), nil)
			return err
		})
		abandoned(t, func(ctx context.Context) error {
			for _, err := range client.Models.GenerateContentStream(ctx, "fake", genai.Text("fake:tokens=4000"), nil) {
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func TestGeminiErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why, key, model string
		code            int
		status          string
	}{
		{why: "wrong key", key: "AIza-wrong", model: "gemini-pro", code: 401, status: "UNAUTHENTICATED"},
		{why: "unknown model", model: "no-such-model", code: 404, status: "NOT_FOUND"},
		{why: "the provider limits: the operator's account, so not the client's 429", model: "fake-429", code: 503, status: "UNAVAILABLE"},
		{why: "the provider refuses our key: never the client's 401", model: "fake-401", code: 502},
	} {
		t.Run(c.why, func(t *testing.T) {
			t.Parallel()
			key := mesh.APIKey
			if c.key != "" {
				key = c.key
			}
			client := gemini(t, key, "")
			_, unary := client.Models.GenerateContent(t.Context(), c.model, genai.Text("hello"), nil)
			var streamed error
			for got, err := range client.Models.GenerateContentStream(t.Context(), c.model, genai.Text("hello"), nil) {
				if streamed = err; err == nil {
					t.Errorf("a refused stream has content: %q", got.Text())
				}
			}
			for how, err := range map[string]error{"unary": unary, "stream": streamed} {
				e, ok := errors.AsType[genai.APIError](err)
				if !ok || e.Code != c.code || c.status != "" && e.Status != c.status || e.Message == "" {
					t.Errorf("%s: %v, want a typed %d %s", how, err, c.code, c.status)
				}
			}
		})
	}

	t.Run("our own limit", func(t *testing.T) {
		client := gemini(t, limitedKey(t, "gemini-limited"), "")
		if _, err := client.Models.GenerateContent(t.Context(), "gemini-pro", genai.Text("hello"), nil); err != nil {
			t.Fatal(err)
		}
		_, err := client.Models.GenerateContent(t.Context(), "gemini-pro", genai.Text("hello"), nil)
		e, ok := errors.AsType[genai.APIError](err)
		if !ok || e.Code != http.StatusTooManyRequests || e.Status != "RESOURCE_EXHAUSTED" {
			t.Fatalf("the second request in a minute: %v", err)
		}
		if !slices.ContainsFunc(e.Details, func(d map[string]any) bool { return d["@type"] == "type.googleapis.com/google.rpc.RetryInfo" }) {
			t.Errorf("no RetryInfo in %v", e.Details)
		}
	})

	for _, model := range []string{"fake-error", "fake-midstream"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			chunks, last := 0, error(nil)
			for got, err := range gemini(t, mesh.APIKey, "").Models.GenerateContentStream(t.Context(), model, genai.Text("hello"), nil) {
				if err != nil {
					last = err
					break
				}
				if got.Text() != "" {
					chunks++
				}
			}
			if e, ok := errors.AsType[genai.APIError](last); !ok || e.Code == 0 || e.Status == "" || chunks == 0 {
				t.Errorf("%d chunks, then %v, want the SDK's typed error", chunks, last)
			}
		})
	}
}
