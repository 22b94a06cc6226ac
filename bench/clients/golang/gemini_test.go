package golang

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"

	"google.golang.org/genai"
)

type googleGenAI struct{}

func (googleGenAI) about() about { return about{"google-genai", "google.golang.org/genai", "google"} }

func (googleGenAI) client(ctx context.Context, base, key string) (*genai.Client, error) {
	return genai.NewClient(ctx, &genai.ClientConfig{Backend: genai.BackendGeminiAPI, APIKey: key, HTTPOptions: genai.HTTPOptions{BaseURL: base}})
}

func (googleGenAI) failure(err error) failure {
	e, ok := errors.AsType[genai.APIError](err)
	if !ok {
		return failure{class: fmt.Sprintf("%T", err)}
	}
	return failure{class: fmt.Sprintf("%T", e), status: e.Code, said: e.Error()}
}

func (c googleGenAI) embed(ctx context.Context, r *request[*genai.Content], texts []string) (out [][]float64, err error) {
	sdk, err := c.client(ctx, r.base, r.key)
	if err != nil {
		return nil, err
	}
	var contents []*genai.Content
	for _, text := range texts {
		contents = append(contents, genai.NewContentFromText(text, genai.RoleUser))
	}
	got, err := sdk.Models.EmbedContent(ctx, r.model, contents, nil)
	if err != nil {
		return nil, err
	}
	for _, e := range got.Embeddings {
		v := make([]float64, len(e.Values))
		for i, x := range e.Values {
			v[i] = float64(x)
		}
		out = append(out, v)
	}
	return out, nil
}

func (c googleGenAI) count(ctx context.Context, r *request[*genai.Content]) (int64, error) {
	sdk, err := c.client(ctx, r.base, r.key)
	if err != nil {
		return 0, err
	}
	contents, err := c.contents(r)
	if err != nil {
		return 0, err
	}
	got, err := sdk.Models.CountTokens(ctx, r.model, contents, nil)
	if err != nil {
		return 0, err
	}
	return int64(got.TotalTokens), nil
}

func (googleGenAI) contents(r *request[*genai.Content]) ([]*genai.Content, error) {
	parts := []*genai.Part{genai.NewPartFromText(r.user)}
	if r.image != "" {
		png, err := base64.StdEncoding.DecodeString(r.image)
		if err != nil {
			return nil, err
		}
		parts = append(parts, genai.NewPartFromBytes(png, "image/png"))
	}
	out := []*genai.Content{genai.NewContentFromParts(parts, genai.RoleUser)}
	for _, t := range r.turns {
		var results []*genai.Part
		for _, res := range t.results {
			results = append(results, &genai.Part{FunctionResponse: &genai.FunctionResponse{ID: res.id, Name: res.name, Response: map[string]any{"output": res.text}}})
		}
		out = append(out, t.said, genai.NewContentFromParts(results, genai.RoleUser))
	}
	return out, nil
}

func (googleGenAI) config(r *request[*genai.Content]) *genai.GenerateContentConfig {
	c := &genai.GenerateContentConfig{
		SystemInstruction: genai.NewContentFromText(r.system, genai.RoleUser), MaxOutputTokens: int32(r.max), StopSequences: r.stop,
	}
	if len(r.tools) > 0 {
		all := &genai.Tool{}
		for _, t := range r.tools {
			all.FunctionDeclarations = append(all.FunctionDeclarations, &genai.FunctionDeclaration{Name: t.Name, Description: t.Description, ParametersJsonSchema: t.object()})
		}
		c.Tools = []*genai.Tool{all}
	}
	if r.schema != nil {
		c.ResponseMIMEType, c.ResponseJsonSchema = "application/json", r.schema.Schema
	}
	if r.think {
		c.ThinkingConfig = &genai.ThinkingConfig{IncludeThoughts: true, ThinkingLevel: genai.ThinkingLevelLow}
	}
	return c
}

func (c googleGenAI) ask(ctx context.Context, r *request[*genai.Content]) (*answer[*genai.Content], error) {
	sdk, err := c.client(ctx, r.base, r.key)
	if err != nil {
		return nil, err
	}
	contents, err := c.contents(r)
	if err != nil {
		return nil, err
	}
	var answers iter.Seq2[*genai.GenerateContentResponse, error]
	if r.stream {
		answers = sdk.Models.GenerateContentStream(ctx, r.model, contents, c.config(r))
	} else {
		answers = once(sdk.Models.GenerateContent(ctx, r.model, contents, c.config(r)))
	}
	a := &answer[*genai.Content]{turn: &genai.Content{Role: genai.RoleModel}, reasoning: -1}
	for got, err := range answers {
		if err != nil {
			return nil, err
		}
		a.chunks++
		r.chunk()
		if u := got.UsageMetadata; u != nil {
			a.in, a.out, a.reasoning = int64(u.PromptTokenCount), int64(u.CandidatesTokenCount)+int64(u.ThoughtsTokenCount), int64(u.ThoughtsTokenCount)
		}
		if len(got.Candidates) == 0 {
			continue
		}
		a.finish = string(got.Candidates[0].FinishReason)
		if content := got.Candidates[0].Content; content != nil {
			a.turn.Parts = append(a.turn.Parts, content.Parts...)
		}
	}
	for _, p := range a.turn.Parts {
		switch f := p.FunctionCall; {
		case f != nil:
			a.calls = append(a.calls, call{f.ID, f.Name, f.Args})
		case p.Thought:
			a.thinking += p.Text
		default:
			a.text += p.Text
		}
	}
	if a.finish == string(genai.FinishReasonStop) {
		a.finish = "stop"
		if len(a.calls) > 0 {
			a.finish = "tool_calls"
		}
	}
	return a, nil
}

// once makes a whole answer look like a stream of one.
func once(got *genai.GenerateContentResponse, err error) iter.Seq2[*genai.GenerateContentResponse, error] {
	return func(yield func(*genai.GenerateContentResponse, error) bool) { yield(got, err) }
}
