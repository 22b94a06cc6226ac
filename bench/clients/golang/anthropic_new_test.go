package golang

import (
	"context"
	"errors"
	"fmt"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
)

// anthropicNew is the SDK of the API version 2026-10-21, which sends the key as a bearer token.
type anthropicNew struct{}

// anthropicFinish gives Anthropic's stop reasons the names by which answers are compared.
func anthropicFinish(reason string) string {
	switch reason {
	case "end_turn", "stop_sequence":
		return "stop"
	case "max_tokens":
		return "length"
	case "tool_use":
		return "tool_calls"
	}
	return reason
}

func (anthropicNew) about() about {
	return about{"anthropic", "github.com/anthropics/anthropic-sdk-go/v2", "anthropic"}
}

func (anthropicNew) client(base, key string) anthropic.Client {
	return anthropic.NewClient(option.WithBaseURL(base), option.WithAPIKey(key), option.WithMaxRetries(0))
}

func (anthropicNew) failure(err error) failure {
	e, ok := errors.AsType[*anthropic.Error](err)
	if !ok {
		return failure{class: fmt.Sprintf("%T", err)}
	}
	return failure{class: fmt.Sprintf("%T %s", e, e.Type()), status: e.StatusCode, said: e.RawJSON()}
}

func (anthropicNew) embed(context.Context, *request[anthropic.MessageParam], []string) ([][]float64, error) {
	return nil, notApplicable("the client has no embeddings")
}

func (anthropicNew) messages(r *request[anthropic.MessageParam]) []anthropic.MessageParam {
	var user []anthropic.ContentBlockParamUnion
	if r.image != "" {
		user = append(user, anthropic.NewImageBlockBase64("image/png", r.image))
	}
	out := []anthropic.MessageParam{anthropic.NewUserMessage(append(user, anthropic.NewTextBlock(r.user))...)}
	for _, t := range r.turns {
		var results []anthropic.ContentBlockParamUnion
		for _, res := range t.results {
			results = append(results, anthropic.NewToolResultBlock(res.id, res.text, false))
		}
		out = append(out, t.said, anthropic.NewUserMessage(results...))
	}
	return out
}

func (c anthropicNew) count(ctx context.Context, r *request[anthropic.MessageParam]) (int64, error) {
	sdk := c.client(r.base, r.key)
	got, err := sdk.Messages.CountTokens(ctx, anthropic.MessageCountTokensParams{
		Model: r.model, Messages: c.messages(r), System: anthropic.MessageCountTokensParamsSystemUnion{OfString: anthropic.String(r.system)},
	})
	if err != nil {
		return 0, err
	}
	return got.InputTokens, nil
}

func (c anthropicNew) params(r *request[anthropic.MessageParam]) anthropic.MessageNewParams {
	p := anthropic.MessageNewParams{
		Model: r.model, MaxTokens: r.max, System: []anthropic.TextBlockParam{{Text: r.system}}, Messages: c.messages(r), StopSequences: r.stop,
	}
	for _, t := range r.tools {
		p.Tools = append(p.Tools, anthropic.ToolUnionParam{OfTool: &anthropic.ToolParam{
			Name: t.Name, Description: anthropic.String(t.Description),
			InputSchema: anthropic.ToolInputSchemaParam{
				Properties: t.Parameters.Properties, Required: t.Parameters.Required,
				ExtraFields: map[string]any{"additionalProperties": t.Parameters.AdditionalProperties},
			},
		}})
	}
	if r.schema != nil {
		p.OutputConfig.Format.Schema = r.schema.Schema
	}
	if r.think {
		p.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
	}
	return p
}

func (c anthropicNew) ask(ctx context.Context, r *request[anthropic.MessageParam]) (*answer[anthropic.MessageParam], error) {
	sdk, p := c.client(r.base, r.key), c.params(r)
	chunks := 0
	got := new(anthropic.Message)
	if r.stream {
		stream := sdk.Messages.NewStreaming(ctx, p)
		for stream.Next() {
			e := stream.Current()
			if err := got.Accumulate(e); err != nil {
				return nil, err
			}
			if e.Type == "content_block_delta" {
				chunks++
				r.chunk()
			}
		}
		if err := stream.Err(); err != nil {
			return nil, err
		}
	} else {
		var err error
		if got, err = sdk.Messages.New(ctx, p); err != nil {
			return nil, err
		}
	}
	a := &answer[anthropic.MessageParam]{
		finish: anthropicFinish(string(got.StopReason)), turn: got.ToParam(), chunks: chunks,
		in: got.Usage.InputTokens, out: got.Usage.OutputTokens, reasoning: -1,
	}
	if d := got.Usage.OutputTokensDetails; d.JSON.ThinkingTokens.Valid() {
		a.reasoning = d.ThinkingTokens
	}
	for _, b := range got.Content {
		switch b.Type {
		case "text":
			a.text += b.Text
		case "thinking":
			a.thinking += b.Thinking
		case "tool_use":
			if err := a.addCall(b.ID, b.Name, b.Input); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}
