package clients

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
)

func ask(model, text string) responses.ResponseNewParams {
	return responses.ResponseNewParams{Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(text)}}
}

func TestOpenAIResponses(t *testing.T) {
	t.Parallel()
	client := openAI(t)

	t.Run("unary", func(t *testing.T) {
		var raw *http.Response
		p := ask("gpt-5.5", "Reply with exactly: pong")
		p.Instructions, p.Store = openai.String("You are terse."), openai.Bool(false)
		got, err := client.Responses.New(t.Context(), p, option.WithResponseInto(&raw))
		if err != nil {
			t.Fatal(err)
		}
		if got.OutputText() != "pong" || got.Status != "completed" || got.Usage.OutputTokens == 0 || got.Usage.InputTokens == 0 {
			t.Errorf("%s %q, usage %+v", got.Status, got.OutputText(), got.Usage)
		}
		checkHeaders(t, raw.Header, "openai", "gpt-5.5")
	})

	t.Run("stream", func(t *testing.T) {
		var raw *http.Response
		s := client.Responses.NewStreaming(t.Context(), ask("gpt-4o", "fake:tokens=7"), option.WithResponseInto(&raw))
		deltas, text, final := 0, "", ""
		last := int64(-1)
		for s.Next() {
			ev := s.Current()
			if ev.SequenceNumber != last+1 {
				t.Errorf("event %s has number %d after %d", ev.Type, ev.SequenceNumber, last)
			}
			last = ev.SequenceNumber
			switch ev.Type {
			case "response.output_text.delta":
				deltas++
				text += ev.Delta
			case "response.completed":
				final = ev.Response.OutputText()
				if ev.Response.Usage.OutputTokens != 7 {
					t.Errorf("usage %+v", ev.Response.Usage)
				}
			}
		}
		if err := s.Err(); err != nil || deltas != 7 || text != final {
			t.Errorf("%d deltas, %q, final %q, %v", deltas, text, final, err)
		}
		checkHeaders(t, raw.Header, "openai", "gpt-4o")
	})

	t.Run("functions", func(t *testing.T) {
		question := responses.ResponseInputItemParamOfMessage("Weather in Boston? Use the tool.", responses.EasyInputMessageRoleUser)
		p := responses.ResponseNewParams{
			Model: "gpt-4o", Input: responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{question}},
			Tools: []responses.ToolUnionParam{responses.ToolParamOfFunction("get_weather", weather, false)},
		}
		got, err := client.Responses.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		var call responses.ResponseFunctionToolCall
		for _, item := range got.Output {
			if item.Type == "function_call" {
				call = item.AsFunctionCall()
			}
		}
		if call.Name != "get_weather" {
			t.Fatalf("no call in %s", got.RawJSON())
		}
		checkArguments(t, call.Arguments)

		result := responses.ResponseInputItemParamOfFunctionCallOutput(`{"celsius":21}`)
		result.OfFunctionCallOutput.CallID = openai.String(call.CallID)
		p.Input.OfInputItemList = append(p.Input.OfInputItemList, responses.ResponseInputItemParamOfFunctionCall(call.Arguments, call.CallID, call.Name), result)
		if got, err = client.Responses.New(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.OutputText(), "21") {
			t.Errorf("the answer %q does not use the tool's result", got.OutputText())
		}
	})

	t.Run("vision", func(t *testing.T) {
		image := responses.ResponseInputContentParamOfInputImage("low")
		image.OfInputImage.ImageURL = openai.String("data:image/png;base64," + pixel)
		got, err := client.Responses.New(t.Context(), responses.ResponseNewParams{
			Model: "gpt-4o",
			Input: responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{
				responses.ResponseInputItemParamOfMessage(responses.ResponseInputMessageContentListParam{
					responses.ResponseInputContentParamOfInputText("What is this?"), image,
				}, responses.EasyInputMessageRoleUser),
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.OutputText(), "1 attachment") {
			t.Errorf("the picture did not arrive: %q", got.OutputText())
		}
	})

	t.Run("structured output", func(t *testing.T) {
		p := ask("gpt-5.2", "Name a city.")
		p.Text.Format = responses.ResponseFormatTextConfigParamOfJSONSchema("place", placeSchema)
		p.Text.Format.OfJSONSchema.Strict = openai.Bool(true)
		got, err := client.Responses.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		checkPlace(t, got.OutputText())
	})

	t.Run("errors", func(t *testing.T) {
		for model, status := range map[string]int{"no-such-model": 404, "fake-429": 503} {
			_, err := client.Responses.New(t.Context(), ask(model, "hello"), option.WithMaxRetries(0))
			if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != status {
				t.Errorf("%s: %v, want a typed %d", model, err, status)
			}
		}
		for _, model := range []string{"fake-error", "fake-midstream"} {
			s := client.Responses.NewStreaming(t.Context(), ask(model, "hello"), option.WithMaxRetries(0))
			deltas, failed := 0, false
			for s.Next() {
				switch s.Current().Type {
				case "response.output_text.delta":
					deltas++
				case "error", "response.failed":
					failed = true
				}
			}
			_, typed := errors.AsType[*ssestream.StreamError](s.Err())
			if deltas == 0 || !failed && !typed {
				t.Errorf("%s: %d deltas, failed event %v, error %v", model, deltas, failed, s.Err())
			}
		}
	})

	t.Run("abort", func(t *testing.T) {
		abandoned(t, func(ctx context.Context) error {
			_, err := client.Responses.New(ctx, ask("fake-hang", "hello"))
			return err
		})
	})
}
