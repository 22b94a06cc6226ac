package clients

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	anthropic "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/shared"
)

// claudeOld is the last SDK before the API version of 2026-10-21: it sends 2023-06-01 and x-api-key.
func claudeOld(t testing.TB, opts ...option.RequestOption) anthropic.Client {
	return anthropic.NewClient(append([]option.RequestOption{
		option.WithBaseURL(edge(t, "us-west")), option.WithAPIKey(mesh.APIKey),
		option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			if r.Header.Get("X-Api-Key") == "" || r.Header.Get("Anthropic-Version") != "2023-06-01" {
				t.Errorf("this SDK was to send x-api-key and 2023-06-01, not %v", r.Header)
			}
			return next(r)
		}),
	}, opts...)...)
}

func messageOld(model string, blocks ...anthropic.ContentBlockParamUnion) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{Model: model, MaxTokens: 1024, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(blocks...)}}
}

func textOld(m *anthropic.Message) (out string) {
	for _, b := range m.Content {
		if b.Type == "text" {
			out += b.Text
		}
	}
	return out
}

func TestAnthropicOld(t *testing.T) {
	t.Parallel()
	client := claudeOld(t)

	t.Run("unary", func(t *testing.T) {
		var raw *http.Response
		p := messageOld("claude-3-5-sonnet-20241022", anthropic.NewTextBlock("Reply with exactly: pong"))
		p.System = []anthropic.TextBlockParam{{Text: "You are terse."}}
		p.Temperature = anthropic.Float(0.3)
		got, err := client.Messages.New(t.Context(), p, option.WithResponseInto(&raw))
		if err != nil {
			t.Fatal(err)
		}
		if textOld(got) != "pong" || got.StopReason != anthropic.StopReasonEndTurn || got.Usage.InputTokens == 0 || got.Usage.OutputTokens == 0 {
			t.Errorf("%q, stop %s, usage %+v", textOld(got), got.StopReason, got.Usage)
		}
		checkHeaders(t, raw.Header, "anthropic", "claude-3-5-sonnet-20241022")
		if raw.Header.Get("Request-Id") == "" {
			t.Error("request-id is missing: the SDK shows it in its errors")
		}
	})

	t.Run("long document", func(t *testing.T) {
		long := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 10_000) // 450 KB
		p := messageOld("claude-sonnet-4-5", anthropic.NewDocumentBlock(anthropic.PlainTextSourceParam{Data: long}), anthropic.NewTextBlock("Summarise. Reply with exactly: a fox"))
		got, err := client.Messages.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if textOld(got) != "a fox" || got.Usage.InputTokens < 50_000 {
			t.Errorf("%q, usage %+v", textOld(got), got.Usage)
		}
	})

	t.Run("stream", func(t *testing.T) {
		var raw *http.Response
		s := client.Messages.NewStreaming(t.Context(), messageOld("claude-3.5", anthropic.NewTextBlock("fake:tokens=8")), option.WithResponseInto(&raw))
		var got anthropic.Message
		deltas := 0
		for s.Next() {
			ev := s.Current()
			if err := got.Accumulate(ev); err != nil {
				t.Error(err)
			}
			if ev.Type == "content_block_delta" {
				deltas++
			}
		}
		if err := s.Err(); err != nil || deltas != 8 || got.StopReason != anthropic.StopReasonEndTurn || got.Usage.OutputTokens != 8 {
			t.Errorf("%d deltas, stop %s, usage %+v, %v", deltas, got.StopReason, got.Usage, err)
		}
		checkHeaders(t, raw.Header, "anthropic", "claude-3.5")
	})

	t.Run("tools", func(t *testing.T) {
		p := messageOld("claude-haiku-4-5", anthropic.NewTextBlock("Weather in Boston? Use the tool."))
		p.Tools = []anthropic.ToolUnionParam{anthropic.ToolUnionParamOfTool(anthropic.ToolInputSchemaParam{
			Properties: weather["properties"], Required: []string{"location"},
		}, "get_weather")}
		got, err := client.Messages.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(got.Content, func(b anthropic.ContentBlockUnion) bool { return b.Type == "tool_use" })
		if i < 0 || got.StopReason != anthropic.StopReasonToolUse {
			t.Fatalf("no call in %s", got.RawJSON())
		}
		checkArguments(t, string(got.Content[i].Input))
		p.Messages = append(p.Messages, got.ToParam(), anthropic.NewUserMessage(anthropic.NewToolResultBlock(got.Content[i].ID, `{"celsius":21}`, false)))
		if got, err = client.Messages.New(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(textOld(got), "21") {
			t.Errorf("the answer %q does not use the tool's result", textOld(got))
		}
	})

	t.Run("vision", func(t *testing.T) {
		got, err := client.Messages.New(t.Context(), messageOld("claude-opus-4-5", anthropic.NewImageBlockBase64("image/png", pixel), anthropic.NewTextBlock("What is this?")))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(textOld(got), "image/png") {
			t.Errorf("the picture did not arrive: %q", textOld(got))
		}
	})

	t.Run("structured output", func(t *testing.T) {
		p := messageOld("claude-sonnet-4-6", anthropic.NewTextBlock("Name a city."))
		p.OutputConfig.Format = anthropic.JSONOutputFormatParam{Schema: placeSchema}
		got, err := client.Messages.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		checkPlace(t, textOld(got))
	})

	t.Run("count tokens", func(t *testing.T) {
		got, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{
			Model: "claude-haiku-4-5", Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("How long is this?"))},
		})
		if err != nil || got.InputTokens == 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})

	t.Run("models", func(t *testing.T) {
		var ids []string
		pager := client.Models.ListAutoPaging(t.Context(), anthropic.ModelListParams{})
		for pager.Next() {
			ids = append(ids, pager.Current().ID)
		}
		if err := pager.Err(); err != nil || !slices.Contains(ids, "claude-3.5") || !slices.Contains(ids, "auto") {
			t.Errorf("models %v, %v", ids, err)
		}
		if got, err := client.Models.Get(t.Context(), "claude-opus-4-7", anthropic.ModelGetParams{}); err != nil || got.ID != "claude-opus-4-7" {
			t.Errorf("get: %+v, %v", got, err)
		}
	})

	t.Run("abort", func(t *testing.T) {
		abandoned(t, func(ctx context.Context) error {
			_, err := client.Messages.New(ctx, messageOld("fake-hang", anthropic.NewTextBlock("hello")))
			return err
		})
		abandoned(t, func(ctx context.Context) error {
			s := client.Messages.NewStreaming(ctx, messageOld("fake", anthropic.NewTextBlock("fake:tokens=4000")))
			defer s.Close()
			for s.Next() {
			}
			return s.Err()
		})
	})
}

func TestAnthropicOldErrors(t *testing.T) {
	t.Parallel()
	once := option.WithMaxRetries(0)
	hello := anthropic.NewTextBlock("hello")
	for _, c := range []struct {
		why, key, model string
		status          int
		typ             shared.ErrorType
		retry           string
	}{
		{why: "wrong key", key: "sk-ant-wrong", model: "claude-3.5", status: 401, typ: shared.ErrorTypeAuthenticationError, retry: "false"},
		{why: "unknown model", model: "no-such-model", status: 404, typ: shared.ErrorTypeNotFoundError, retry: "false"},
		{why: "the provider limits: the operator's account, so not the client's 429", model: "fake-429", status: 503, typ: shared.ErrorTypeOverloadedError, retry: "false"},
		{why: "the provider refuses our key: never the client's 401", model: "fake-401", status: 502, typ: shared.ErrorTypeAPIError, retry: "false"},
	} {
		t.Run(c.why, func(t *testing.T) {
			t.Parallel()
			client := claudeOld(t, once)
			if c.key != "" {
				client = claudeOld(t, once, option.WithAPIKey(c.key))
			}
			_, unary := client.Messages.New(t.Context(), messageOld(c.model, hello))
			s := client.Messages.NewStreaming(t.Context(), messageOld(c.model, hello))
			if s.Next() {
				t.Error("a refused stream has content")
			}
			for how, err := range map[string]error{"unary": unary, "stream": s.Err()} {
				e, ok := errors.AsType[*anthropic.Error](err)
				if !ok {
					t.Fatalf("%s: not a typed error: %v", how, err)
				}
				if e.StatusCode != c.status || e.Type() != c.typ || e.RequestID == "" {
					t.Errorf("%s: %d %q, request id %q: %s", how, e.StatusCode, e.Type(), e.RequestID, e.RawJSON())
				}
				checkRefusal(t, e.Response.Header, c.retry)
			}
		})
	}

	t.Run("our own limit", func(t *testing.T) {
		client := claudeOld(t, once, option.WithAPIKey(limitedKey(t, "anthropic-old-limited")))
		var raw *http.Response
		if _, err := client.Messages.New(t.Context(), messageOld("claude-3.5", hello), option.WithResponseInto(&raw)); err != nil {
			t.Fatal(err)
		}
		if raw.Header.Get("Anthropic-Ratelimit-Requests-Limit") != "1" || raw.Header.Get("Anthropic-Ratelimit-Requests-Remaining") != "0" {
			t.Errorf("rate-limit headers: %v", raw.Header)
		}
		_, err := client.Messages.New(t.Context(), messageOld("claude-3.5", hello))
		e, ok := errors.AsType[*anthropic.Error](err)
		if !ok || e.StatusCode != 429 || e.Type() != shared.ErrorTypeRateLimitError {
			t.Fatalf("the second request in a minute: %v", err)
		}
		checkRefusal(t, e.Response.Header, "true")
	})

	for _, model := range []string{"fake-error", "fake-midstream"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			client := claudeOld(t, once)
			s := client.Messages.NewStreaming(t.Context(), messageOld(model, hello))
			deltas := 0
			for s.Next() {
				if s.Current().Type == "content_block_delta" {
					deltas++
				}
			}
			e, ok := errors.AsType[*anthropic.Error](s.Err())
			if !ok || e.Type() == "" || deltas == 0 {
				t.Errorf("%d deltas, then %v, want the SDK's typed error", deltas, s.Err())
			}
		})
	}
}
