package clients

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

// TestOpenAIOperations calls what OpenAI's API has around generation.
func TestOpenAIOperations(t *testing.T) {
	t.Parallel()
	client := openAI(t)
	var raw *http.Response
	into := option.WithResponseInto(&raw)

	t.Run("completions", func(t *testing.T) {
		p := openai.CompletionNewParams{Model: "gpt-3.5-turbo-instruct", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("Reply with exactly: pong")}}
		got, err := client.Completions.New(t.Context(), p, into)
		if err != nil || got.Choices[0].Text != "pong" || got.Usage.CompletionTokens == 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		checkHeaders(t, raw.Header, "openai", "gpt-3.5-turbo-instruct")
		s, text := client.Completions.NewStreaming(t.Context(), p), ""
		for s.Next() {
			if len(s.Current().Choices) == 0 {
				t.Error("the client did not ask for usage and got a chunk of it")
				continue
			}
			text += s.Current().Choices[0].Text
		}
		if s.Err() != nil || text != "pong" {
			t.Errorf("%q, %v", text, s.Err())
		}
	})

	t.Run("moderations", func(t *testing.T) {
		got, err := client.Moderations.New(t.Context(), openai.ModerationNewParams{Input: openai.ModerationNewParamsInputUnion{OfStringArray: []string{"hello", "flagged"}}})
		if err != nil || len(got.Results) != 2 || got.Results[0].Flagged || !got.Results[1].Flagged {
			t.Fatalf("%+v, %v", got, err)
		}
	})

	t.Run("images", func(t *testing.T) {
		got, err := client.Images.Generate(t.Context(), openai.ImageGenerateParams{Model: "gpt-image-1", Prompt: "a cat", N: openai.Int(2)})
		if err != nil || len(got.Data) != 2 || got.Data[0].B64JSON != pixel || got.Usage.OutputTokens == 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		edited, err := client.Images.Edit(t.Context(), openai.ImageEditParams{
			Model: "gpt-image-1", Prompt: "a dog",
			Image: openai.ImageEditParamsImageUnion{OfFileArray: []io.Reader{openai.File(strings.NewReader("one"), "a.png", "image/png"), openai.File(strings.NewReader("two"), "b.png", "image/png")}},
		})
		if err != nil || len(edited.Data) != 1 {
			t.Fatalf("%+v, %v", edited, err)
		}
		varied, err := client.Images.NewVariation(t.Context(), openai.ImageNewVariationParams{Model: "dall-e-2", Image: openai.File(strings.NewReader("one"), "a.png", "image/png")})
		if err != nil || len(varied.Data) != 1 {
			t.Fatalf("%+v, %v", varied, err)
		}
		s, last := client.Images.GenerateStreaming(t.Context(), openai.ImageGenerateParams{Model: "gpt-image-1", Prompt: "a cat"}), ""
		for s.Next() {
			last = s.Current().Type
		}
		if s.Err() != nil || last != "image_generation.completed" {
			t.Errorf("ended with %q, %v", last, s.Err())
		}
	})

	t.Run("speech", func(t *testing.T) {
		res, err := client.Audio.Speech.New(t.Context(), openai.AudioSpeechNewParams{
			Model: "tts-1", Input: "hello", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || strings.Count(string(b), "\xff\xfb\x90\x00") != len("hello") || res.Header.Get("Content-Type") != "audio/mpeg" {
			t.Errorf("%q, %s, %v", b, res.Header.Get("Content-Type"), err)
		}
	})

	t.Run("transcription", func(t *testing.T) {
		file := func() io.Reader { return openai.File(strings.NewReader("\x00\xff\r\n--"), "speech.mp3", "audio/mpeg") }
		got, err := client.Audio.Transcriptions.New(t.Context(), openai.AudioTranscriptionNewParams{Model: "gpt-4o-transcribe", File: file()})
		if err != nil || got.AsTranscription().Text != "heard 6 bytes" {
			t.Fatalf("%+v, %v", got, err)
		}
		s, text := client.Audio.Transcriptions.NewStreaming(t.Context(), openai.AudioTranscriptionNewParams{Model: "gpt-4o-transcribe", File: file()}), ""
		for s.Next() {
			if ev := s.Current(); ev.Type == "transcript.text.done" {
				text = ev.Text
			}
		}
		if s.Err() != nil || text != "heard 6 bytes" {
			t.Errorf("%q, %v", text, s.Err())
		}
		back, err := client.Audio.Translations.New(t.Context(), openai.AudioTranslationNewParams{Model: "whisper-1", File: file()})
		if err != nil || back.Text != "heard 6 bytes" {
			t.Errorf("%+v, %v", back, err)
		}
	})

	t.Run("compact", func(t *testing.T) {
		got, err := client.Responses.Compact(t.Context(), responses.ResponseCompactParams{
			Model: "gpt-5.5", Input: responses.ResponseCompactParamsInputUnion{OfString: openai.String("a long story")},
		})
		if err != nil || len(got.Output) != 1 || got.Output[0].Type != "compaction" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
