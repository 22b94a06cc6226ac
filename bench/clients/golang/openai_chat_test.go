package golang

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
)

// openAI is what Chat Completions and Responses share.
type openAI struct{}

func (openAI) client(base, key string) openai.Client {
	return openai.NewClient(option.WithBaseURL(base+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(0))
}

func (openAI) failure(err error) failure {
	e, ok := errors.AsType[*openai.Error](err)
	if !ok {
		return failure{class: fmt.Sprintf("%T", err)}
	}
	return failure{class: fmt.Sprintf("%T", e), status: e.StatusCode, said: e.RawJSON()}
}

type openAIChat struct{ openAI }

func (openAIChat) about() about {
	return about{"openai chat", "github.com/openai/openai-go/v3", "openai"}
}

func (openAIChat) count(context.Context, *request[openai.ChatCompletionMessageParamUnion]) (int64, error) {
	return 0, notApplicable("the client cannot count tokens")
}

func (c openAIChat) embed(ctx context.Context, r *request[openai.ChatCompletionMessageParamUnion], texts []string) (out [][]float64, err error) {
	sdk := c.client(r.base, r.key)
	got, err := sdk.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: r.model, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: texts}})
	if err != nil {
		return nil, err
	}
	for _, d := range got.Data {
		out = append(out, d.Embedding)
	}
	return out, nil
}

func (openAIChat) params(r *request[openai.ChatCompletionMessageParamUnion]) openai.ChatCompletionNewParams {
	p := openai.ChatCompletionNewParams{
		Model: r.model, MaxCompletionTokens: openai.Int(r.max),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.SystemMessage(r.system)},
	}
	if r.image == "" {
		p.Messages = append(p.Messages, openai.UserMessage(r.user))
	} else {
		p.Messages = append(p.Messages, openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
			openai.TextContentPart(r.user),
			openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + r.image}),
		}))
	}
	for _, t := range r.turns {
		p.Messages = append(p.Messages, t.said)
		for _, res := range t.results {
			p.Messages = append(p.Messages, openai.ToolMessage(res.text, res.id))
		}
	}
	for _, t := range r.tools {
		p.Tools = append(p.Tools, openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: t.Name, Description: openai.String(t.Description), Parameters: t.object(), Strict: openai.Bool(true),
		}))
	}
	if r.schema != nil {
		p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: r.schema.Name, Schema: r.schema.Schema, Strict: openai.Bool(true),
		}}
	}
	if r.stop != nil {
		p.Stop.OfStringArray = r.stop
	}
	if r.think {
		p.ReasoningEffort = shared.ReasoningEffortLow
	}
	return p
}

func (c openAIChat) ask(ctx context.Context, r *request[openai.ChatCompletionMessageParamUnion]) (*answer[openai.ChatCompletionMessageParamUnion], error) {
	sdk, p := c.client(r.base, r.key), c.params(r)
	chunks := 0
	var got *openai.ChatCompletion
	var usage openai.CompletionUsage
	if r.stream {
		p.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := sdk.Chat.Completions.NewStreaming(ctx, p)
		var all openai.ChatCompletionAccumulator
		for stream.Next() {
			part := stream.Current()
			if !all.AddChunk(part) {
				return nil, fmt.Errorf("a chunk does not belong to the stream: %s", part.RawJSON())
			}
			if part.JSON.Usage.Valid() {
				usage = part.Usage // the accumulator's does not tell which members came
			}
			chunks++
			r.chunk()
		}
		if err := stream.Err(); err != nil {
			return nil, err
		}
		got = &all.ChatCompletion
	} else {
		var err error
		if got, err = sdk.Chat.Completions.New(ctx, p); err != nil {
			return nil, err
		}
		usage = got.Usage
	}
	if len(got.Choices) == 0 {
		return nil, errors.New("no choices")
	}
	choice := got.Choices[0]
	a := &answer[openai.ChatCompletionMessageParamUnion]{
		text: choice.Message.Content, finish: choice.FinishReason, turn: choice.Message.ToParam(), chunks: chunks,
		in: usage.PromptTokens, out: usage.CompletionTokens, reasoning: -1,
	}
	if d := usage.CompletionTokensDetails; d.JSON.ReasoningTokens.Valid() {
		a.reasoning = d.ReasoningTokens
	}
	for _, call := range choice.Message.ToolCalls {
		if err := a.addCall(call.ID, call.Function.Name, []byte(call.Function.Arguments)); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *answer[T]) addCall(id, name string, arguments json.RawMessage) error {
	c := call{ID: id, Name: name}
	if err := json.Unmarshal(arguments, &c.Args); err != nil {
		return fmt.Errorf("the arguments of %s: %w", name, err)
	}
	a.calls = append(a.calls, c)
	return nil
}
