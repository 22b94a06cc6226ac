package clients

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	claude "github.com/anthropics/anthropic-sdk-go/v2"
	claudeopt "github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"
)

// TestOnlyEnvironment changes nothing in a program but the variables that `causeway env` prints.
func TestOnlyEnvironment(t *testing.T) {
	t.Setenv("OPENAI_BASE_URL", edge(t, "eu-central")+"/v1")
	t.Setenv("OPENAI_API_KEY", mesh.APIKey)
	t.Setenv("ANTHROPIC_BASE_URL", edge(t, "eu-central"))
	t.Setenv("ANTHROPIC_API_KEY", mesh.APIKey)
	t.Setenv("GOOGLE_GEMINI_BASE_URL", edge(t, "eu-central"))
	t.Setenv("GEMINI_API_KEY", mesh.APIKey)

	o := openai.NewClient()
	if got, err := o.Chat.Completions.New(t.Context(), chat("gpt-4o", "Reply with exactly: pong")); err != nil || got.Choices[0].Message.Content != "pong" {
		t.Errorf("openai: %v", err)
	}
	a := claude.NewClient()
	if got, err := a.Messages.New(t.Context(), messageNew("claude-3.5", claude.NewTextBlock("Reply with exactly: pong"))); err != nil || textNew(got) != "pong" {
		t.Errorf("anthropic: %v", err)
	}
	g, err := genai.NewClient(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := g.Models.GenerateContent(t.Context(), "gemini-pro", genai.Text("Reply with exactly: pong"), nil); err != nil || got.Text() != "pong" {
		t.Errorf("gemini: %v", err)
	}
}

// TestBaseURLForms are the ways in which people write a base URL: all of them must work.
func TestBaseURLForms(t *testing.T) {
	t.Parallel()
	base := edge(t, "us-west")
	for _, suffix := range []string{"/v1", "/v1/", "", "/openai/v1", "/openai", "/v1/v1"} {
		c := openAI(t, option.WithBaseURL(base+suffix))
		if _, err := c.Chat.Completions.New(t.Context(), chat("gpt-4o", "hello")); err != nil {
			t.Errorf("openai at %q: %v", suffix, err)
		}
	}
	for _, suffix := range []string{"", "/", "/anthropic", "/v1"} {
		c := claudeNew(t, claudeopt.WithBaseURL(base+suffix))
		if _, err := c.Messages.New(t.Context(), messageNew("claude-3.5", claude.NewTextBlock("hello"))); err != nil {
			t.Errorf("anthropic at %q: %v", suffix, err)
		}
	}
	for _, suffix := range []string{"", "/gemini"} {
		c, err := genai.NewClient(t.Context(), &genai.ClientConfig{APIKey: mesh.APIKey, HTTPOptions: genai.HTTPOptions{BaseURL: base + suffix}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Models.GenerateContent(t.Context(), "gemini-pro", genai.Text("hello"), nil); err != nil {
			t.Errorf("gemini at %q: %v", suffix, err)
		}
	}
}

// TestOneModelForAll: every SDK may ask for the model `auto`.
func TestOneModelForAll(t *testing.T) {
	t.Parallel()
	o, a, g := openAI(t), claudeOld(t), gemini(t, mesh.APIKey, "")
	if _, err := o.Chat.Completions.New(t.Context(), chat("auto", "hello")); err != nil {
		t.Errorf("chat: %v", err)
	}
	if _, err := o.Responses.New(t.Context(), ask("auto", "hello")); err != nil {
		t.Errorf("responses: %v", err)
	}
	if _, err := a.Messages.New(t.Context(), messageOld("auto")); err == nil {
		t.Error("a message without content was accepted")
	}
	if _, err := g.Models.GenerateContent(t.Context(), "auto", genai.Text("hello"), nil); err != nil {
		t.Errorf("gemini: %v", err)
	}
}

// headers notes when an answer's headers have come.
type headers struct{ seen atomic.Bool }

func (h *headers) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusOK {
		h.seen.Store(true)
	}
	return res, err
}

// TestKeepalive lets a provider be silent for longer than keepalive_after (10 s). What the edge sends
// meanwhile must mean nothing to any SDK: Google's for Go takes even a comment for a broken stream.
func TestKeepalive(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 12 s")
	}
	t.Parallel()
	for name, stream := range map[string]func(ctx context.Context, h *http.Client) error{
		"openai": func(ctx context.Context, h *http.Client) error {
			c := openAI(t, option.WithHTTPClient(h))
			s := c.Chat.Completions.NewStreaming(ctx, chat("fake-hang", "hello"))
			if s.Next() {
				t.Errorf("a keepalive became an event: %s", s.Current().RawJSON())
			}
			return s.Err()
		},
		"anthropic": func(ctx context.Context, h *http.Client) error {
			c := claudeNew(t, claudeopt.WithHTTPClient(h))
			s := c.Messages.NewStreaming(ctx, messageNew("fake-hang", claude.NewTextBlock("hello")))
			if s.Next() {
				t.Errorf("a keepalive became an event: %s", s.Current().RawJSON())
			}
			return s.Err()
		},
		"gemini": func(ctx context.Context, h *http.Client) error {
			c, err := genai.NewClient(ctx, &genai.ClientConfig{APIKey: mesh.APIKey, HTTPClient: h, HTTPOptions: genai.HTTPOptions{BaseURL: edge(t, "us-west")}})
			if err != nil {
				return err
			}
			for _, err := range c.Models.GenerateContentStream(ctx, "fake-hang", genai.Text("hello"), nil) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 11500*time.Millisecond)
			defer cancel()
			h := &headers{}
			err := stream(ctx, &http.Client{Transport: h})
			if !h.seen.Load() {
				t.Errorf("no 200 within 11.5 s: %v", err)
			}
			if !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "deadline exceeded") {
				t.Errorf("the silent stream ended with %v, want our own deadline", err)
			}
		})
	}
}
