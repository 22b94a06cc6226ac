package clients

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/shared"
)

func openAI(t testing.TB, opts ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{option.WithBaseURL(edge(t, "us-west") + "/v1"), option.WithAPIKey(mesh.APIKey)}, opts...)...)
}

func chat(model, text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
}

func TestOpenAIChat(t *testing.T) {
	t.Parallel()
	client := openAI(t)

	t.Run("unary", func(t *testing.T) {
		var raw *http.Response
		p := chat("gpt-4o", "Reply with exactly: pong")
		p.Messages = append([]openai.ChatCompletionMessageParamUnion{openai.SystemMessage("You are terse.")}, p.Messages...)
		p.Temperature = openai.Float(0.2)
		got, err := client.Chat.Completions.New(t.Context(), p, option.WithResponseInto(&raw))
		if err != nil {
			t.Fatal(err)
		}
		if text := got.Choices[0].Message.Content; text != "pong" || got.Choices[0].FinishReason != "stop" || got.Model != "gpt-4o" {
			t.Errorf("got %q (%s) of %s", text, got.Choices[0].FinishReason, got.Model)
		}
		if u := got.Usage; u.PromptTokens == 0 || u.CompletionTokens == 0 || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
			t.Errorf("usage %+v", u)
		}
		checkHeaders(t, raw.Header, "openai", "gpt-4o")
	})

	t.Run("stream with usage", func(t *testing.T) {
		var raw *http.Response
		p := chat("gpt-4.1-mini", "fake:tokens=9")
		p.StreamOptions.IncludeUsage = openai.Bool(true)
		s := client.Chat.Completions.NewStreaming(t.Context(), p, option.WithResponseInto(&raw))
		var acc openai.ChatCompletionAccumulator
		chunks := 0
		for s.Next() {
			if !acc.AddChunk(s.Current()) {
				t.Error("a chunk does not belong to the stream")
			}
			chunks++
		}
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		if acc.Usage.CompletionTokens != 9 || chunks < 9 || acc.Choices[0].FinishReason != "stop" {
			t.Errorf("%d chunks, usage %+v, %d choices", chunks, acc.Usage, len(acc.Choices))
		}
		checkHeaders(t, raw.Header, "openai", "gpt-4.1-mini")
	})

	// The relay asks the provider for usage on its own account: a client that did not ask sees none.
	t.Run("stream without usage", func(t *testing.T) {
		s := client.Chat.Completions.NewStreaming(t.Context(), chat("gpt-4", "fake:tokens=5"))
		words := 0
		for s.Next() {
			c := s.Current()
			if len(c.Choices) == 0 || c.JSON.Usage.Valid() || strings.Contains(c.RawJSON(), `"usage"`) {
				t.Errorf("unasked-for usage: %s", c.RawJSON())
				continue
			}
			if c.Choices[0].Delta.Content != "" {
				words++
			}
		}
		if err := s.Err(); err != nil || words != 5 {
			t.Errorf("%d words, %v", words, err)
		}
	})

	t.Run("functions", func(t *testing.T) {
		p := chat("gpt-4o", "What is the weather in Boston? Use the tool.")
		p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: "get_weather", Description: openai.String("Current weather"), Parameters: weather,
		})}
		got, err := client.Chat.Completions.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		calls := got.Choices[0].Message.ToolCalls
		if got.Choices[0].FinishReason != "tool_calls" || len(calls) != 1 || calls[0].Function.Name != "get_weather" {
			t.Fatalf("finish %s, calls %+v", got.Choices[0].FinishReason, calls)
		}
		checkArguments(t, calls[0].Function.Arguments)

		p.Messages = append(p.Messages, got.Choices[0].Message.ToParam(), openai.ToolMessage(`{"celsius":21}`, calls[0].ID))
		if got, err = client.Chat.Completions.New(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if text := got.Choices[0].Message.Content; !strings.Contains(text, "21") {
			t.Errorf("the answer %q does not use the tool's result", text)
		}
	})

	t.Run("functions in a stream", func(t *testing.T) {
		p := chat("gpt-4o", "Weather in Paris? Use the tool.")
		p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "get_weather", Parameters: weather})}
		s := client.Chat.Completions.NewStreaming(t.Context(), p)
		var acc openai.ChatCompletionAccumulator
		finished := 0
		for s.Next() {
			acc.AddChunk(s.Current())
			if call, ok := acc.JustFinishedToolCall(); ok {
				finished++
				checkArguments(t, call.Arguments)
			}
		}
		if err := s.Err(); err != nil || finished != 1 {
			t.Errorf("%d finished calls, %v", finished, err)
		}
	})

	t.Run("vision", func(t *testing.T) {
		p := openai.ChatCompletionNewParams{Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{
			openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
				openai.TextContentPart("What is in this picture?"),
				openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + pixel, Detail: "low"}),
			}),
		}}
		got, err := client.Chat.Completions.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if text := got.Choices[0].Message.Content; !strings.Contains(text, "image/png") {
			t.Errorf("the picture did not arrive: %q", text)
		}
	})

	t.Run("JSON mode", func(t *testing.T) {
		p := chat("gpt-4-turbo", "Answer in JSON.")
		p.ResponseFormat.OfJSONObject = &shared.ResponseFormatJSONObjectParam{}
		got, err := client.Chat.Completions.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if text := got.Choices[0].Message.Content; !json.Valid([]byte(text)) || text[0] != '{' {
			t.Errorf("not a JSON object: %q", text)
		}
	})

	t.Run("structured output", func(t *testing.T) {
		p := chat("gpt-5.2", "Name a city.")
		p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: "place", Strict: openai.Bool(true), Schema: placeSchema,
		}}
		got, err := client.Chat.Completions.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		checkPlace(t, got.Choices[0].Message.Content)
	})

	t.Run("abort", func(t *testing.T) {
		abandoned(t, func(ctx context.Context) error {
			_, err := client.Chat.Completions.New(ctx, chat("fake-hang", "hello"))
			return err
		})
	})
	t.Run("abort a stream", func(t *testing.T) {
		abandoned(t, func(ctx context.Context) error {
			s := client.Chat.Completions.NewStreaming(ctx, chat("gpt-4o", "fake:tokens=4000"))
			defer s.Close()
			for s.Next() {
			}
			return s.Err()
		})
	})
}

func TestOpenAIEmbeddings(t *testing.T) {
	t.Parallel()
	client := openAI(t)
	for _, format := range []openai.EmbeddingNewParamsEncodingFormat{"float", ""} {
		var raw *http.Response
		got, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
			Model: "text-embedding-3-small", EncodingFormat: format, Dimensions: openai.Int(64),
			Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two", "one"}},
		}, option.WithResponseInto(&raw))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Data) != 3 || len(got.Data[0].Embedding) != 64 || !slices.Equal(got.Data[0].Embedding, got.Data[2].Embedding) || got.Usage.PromptTokens == 0 {
			t.Errorf("format %q: %d vectors, usage %+v", format, len(got.Data), got.Usage)
		}
		checkHeaders(t, raw.Header, "openai", "text-embedding-3-small")
	}
}

func TestOpenAIModels(t *testing.T) {
	t.Parallel()
	client := openAI(t)
	var ids []string
	for pager := client.Models.ListAutoPaging(t.Context()); pager.Next(); {
		ids = append(ids, pager.Current().ID)
	}
	for _, want := range mesh.Models {
		if !slices.Contains(ids, want) {
			t.Errorf("%s is not in the list %v", want, ids)
		}
	}
	if got, err := client.Models.Get(t.Context(), "auto"); err != nil || got.ID != "auto" {
		t.Errorf("get auto: %+v, %v", got, err)
	}
	_, err := client.Models.Get(t.Context(), "no-such-model")
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusNotFound {
		t.Errorf("get an unknown model: %v", err)
	}
}

func TestOpenAIErrors(t *testing.T) {
	t.Parallel()
	once := option.WithMaxRetries(0)
	for _, c := range []struct {
		why, key, model  string
		status           int
		code, typ, retry string
	}{
		{why: "wrong key", key: "sk-wrong", model: "gpt-4o", status: 401, code: "invalid_api_key", typ: "invalid_request_error", retry: "false"},
		{why: "unknown model", model: "no-such-model", status: 404, code: "model_not_found", typ: "invalid_request_error", retry: "false"},
		{why: "the provider limits: the operator's account, so not the client's 429", model: "fake-429", status: 503, code: "upstream_rate_limited", typ: "server_error", retry: "false"},
		{why: "the provider refuses our key: never the client's 401", model: "fake-401", status: 502, retry: "false"},
	} {
		t.Run(c.why, func(t *testing.T) {
			t.Parallel()
			client := openAI(t, once)
			if c.key != "" {
				client = openAI(t, once, option.WithAPIKey(c.key))
			}
			_, unary := client.Chat.Completions.New(t.Context(), chat(c.model, "hello"))
			s := client.Chat.Completions.NewStreaming(t.Context(), chat(c.model, "hello"))
			if s.Next() {
				t.Error("a refused stream has content")
			}
			for how, err := range map[string]error{"unary": unary, "stream": s.Err()} {
				e, ok := errors.AsType[*openai.Error](err)
				if !ok {
					t.Fatalf("%s: not a typed error: %v", how, err)
				}
				if e.StatusCode != c.status || c.code != "" && e.Code != c.code || c.typ != "" && e.Type != c.typ || e.Message == "" {
					t.Errorf("%s: %d code %q type %q: %s", how, e.StatusCode, e.Code, e.Type, e.Message)
				}
				checkRefusal(t, e.Response.Header, c.retry)
			}
		})
	}

	t.Run("our own limit", func(t *testing.T) {
		client := openAI(t, once, option.WithAPIKey(limitedKey(t, "openai-limited")))
		var raw *http.Response
		if _, err := client.Chat.Completions.New(t.Context(), chat("gpt-4o", "hello"), option.WithResponseInto(&raw)); err != nil {
			t.Fatal(err)
		}
		if raw.Header.Get("X-Ratelimit-Limit-Requests") != "1" || raw.Header.Get("X-Ratelimit-Remaining-Requests") != "0" {
			t.Errorf("rate-limit headers: %v", raw.Header)
		}
		_, err := client.Chat.Completions.New(t.Context(), chat("gpt-4o", "hello"))
		e, ok := errors.AsType[*openai.Error](err)
		if !ok || e.StatusCode != 429 || e.Code != "rate_limit_exceeded" {
			t.Fatalf("the second request in a minute: %v", err)
		}
		checkRefusal(t, e.Response.Header, "true")
	})

	for _, model := range []string{"fake-error", "fake-midstream"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			client := openAI(t, once)
			s := client.Chat.Completions.NewStreaming(t.Context(), chat(model, "hello"))
			chunks := 0
			for s.Next() {
				chunks++
			}
			if e, ok := errors.AsType[*ssestream.StreamError](s.Err()); !ok || e.Message == "" || chunks == 0 {
				t.Errorf("%d chunks, then %v, want the SDK's typed stream error", chunks, s.Err())
			}
		})
	}
}
