package golang

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

type openAIResponses struct{ openAI }

// items is a turn: all that the model put out.
type items = []responses.ResponseInputItemUnionParam

func (openAIResponses) about() about {
	return about{"openai responses", "github.com/openai/openai-go/v3", "openai"}
}

func (c openAIResponses) count(ctx context.Context, r *request[items]) (int64, error) {
	sdk := c.client(r.base, r.key)
	got, err := sdk.Responses.InputTokens.Count(ctx, responses.InputTokenCountParams{
		Model: openai.String(r.model), Input: responses.InputTokenCountParamsInputUnion{OfString: openai.String(r.user)},
	})
	if err != nil {
		return 0, err
	}
	return got.InputTokens, nil
}

func (openAIResponses) embed(context.Context, *request[items], []string) ([][]float64, error) {
	return nil, notApplicable("the client has no embeddings")
}

func (openAIResponses) params(r *request[items]) responses.ResponseNewParams {
	p := responses.ResponseNewParams{Model: r.model, Instructions: openai.String(r.system), MaxOutputTokens: openai.Int(r.max), Store: openai.Bool(false)}
	input := items{responses.ResponseInputItemParamOfMessage(r.user, responses.EasyInputMessageRoleUser)}
	if r.image != "" {
		input = items{responses.ResponseInputItemParamOfMessage(responses.ResponseInputMessageContentListParam{
			responses.ResponseInputContentParamOfInputText(r.user),
			{OfInputImage: &responses.ResponseInputImageParam{Detail: responses.ResponseInputImageDetailAuto, ImageURL: openai.String("data:image/png;base64," + r.image)}},
		}, responses.EasyInputMessageRoleUser)}
	}
	for _, t := range r.turns {
		input = append(input, t.said...)
		for _, res := range t.results {
			item := responses.ResponseInputItemParamOfFunctionCallOutput(res.text)
			item.OfFunctionCallOutput.CallID = openai.String(res.id)
			input = append(input, item)
		}
	}
	p.Input.OfInputItemList = input
	for _, t := range r.tools {
		p.Tools = append(p.Tools, responses.ToolUnionParam{OfFunction: &responses.FunctionToolParam{
			Name: t.Name, Description: openai.String(t.Description), Parameters: t.object(), Strict: openai.Bool(true),
		}})
	}
	if r.schema != nil {
		p.Text.Format.OfJSONSchema = &responses.ResponseFormatTextJSONSchemaConfigParam{Name: r.schema.Name, Schema: r.schema.Schema, Strict: openai.Bool(true)}
	}
	if r.think {
		p.Reasoning = shared.ReasoningParam{Effort: shared.ReasoningEffortLow, Summary: shared.ReasoningSummaryAuto}
		p.Include = []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent}
	}
	return p
}

func (c openAIResponses) ask(ctx context.Context, r *request[items]) (*answer[items], error) {
	if r.stop != nil {
		return nil, notApplicable("the Responses API has no stop sequences")
	}
	sdk, p := c.client(r.base, r.key), c.params(r)
	chunks := 0
	var got *responses.Response
	if r.stream {
		stream := sdk.Responses.NewStreaming(ctx, p)
		for stream.Next() {
			switch e := stream.Current(); {
			case strings.HasSuffix(e.Type, ".delta"):
				chunks++
				r.chunk()
			case e.Type == "response.completed" || e.Type == "response.incomplete" || e.Type == "response.failed":
				got = &e.Response
			}
		}
		if err := stream.Err(); err != nil {
			return nil, err
		}
		if got == nil {
			return nil, errors.New("the stream ended without a response")
		}
	} else {
		var err error
		if got, err = sdk.Responses.New(ctx, p); err != nil {
			return nil, err
		}
	}
	a := &answer[items]{
		text: got.OutputText(), finish: "stop", chunks: chunks,
		in: got.Usage.InputTokens, out: got.Usage.OutputTokens, reasoning: got.Usage.OutputTokensDetails.ReasoningTokens,
	}
	for _, item := range got.Output {
		a.turn = append(a.turn, param.Override[responses.ResponseInputItemUnionParam](json.RawMessage(item.RawJSON())))
		switch o := item.AsAny().(type) {
		case responses.ResponseReasoningItem:
			for _, s := range o.Summary {
				a.thinking += s.Text
			}
		case responses.ResponseFunctionToolCall:
			a.finish = "tool_calls"
			if err := a.addCall(o.CallID, o.Name, []byte(o.Arguments)); err != nil {
				return nil, err
			}
		}
	}
	if got.Status != responses.ResponseStatusCompleted {
		a.finish = string(got.Status)
	}
	return a, nil
}
