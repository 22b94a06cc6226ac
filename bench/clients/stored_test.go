package clients

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	claude "github.com/anthropics/anthropic-sdk-go/v2"
	claudeopt "github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/conversations"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"
)

// TestOpenAIFiles stores files and batches at one of the dev mesh's accounts.
func TestOpenAIFiles(t *testing.T) {
	t.Parallel()
	client := openAI(t, option.WithHeader("x-causeway-provider", "fake-us-openai"))
	const content = "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{}}\n"
	file, err := client.Files.New(t.Context(), openai.FileNewParams{File: openai.File(strings.NewReader(content), "in.jsonl", "application/jsonl"), Purpose: openai.FilePurposeBatch})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Files.Get(t.Context(), file.ID); err != nil || got.Bytes != int64(len(content)) || got.Filename != "in.jsonl" {
		t.Errorf("%+v, %v", got, err)
	}
	read := func(id string) string {
		res, err := client.Files.Content(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := read(file.ID); got != content {
		t.Errorf("read back %q", got)
	}
	found := false
	pages := client.Files.ListAutoPaging(t.Context(), openai.FileListParams{})
	for pages.Next() {
		found = found || pages.Current().ID == file.ID
	}
	if pages.Err() != nil || !found {
		t.Errorf("not in the list: %v", pages.Err())
	}
	batch, err := client.Batches.New(t.Context(), openai.BatchNewParams{InputFileID: file.ID, Endpoint: openai.BatchNewParamsEndpointV1ChatCompletions, CompletionWindow: openai.BatchNewParamsCompletionWindow24h})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Batches.Get(t.Context(), batch.ID); err != nil || got.Status != "completed" || !strings.Contains(read(got.OutputFileID), `"custom_id":"a"`) {
		t.Errorf("%+v, %v", got, err)
	}
	up, err := client.Uploads.New(t.Context(), openai.UploadNewParams{Bytes: 6, Filename: "b.txt", MimeType: "text/plain", Purpose: openai.FilePurposeUserData})
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, piece := range []string{"one", "two"} {
		p, err := client.Uploads.Parts.New(t.Context(), up.ID, openai.UploadPartNewParams{Data: strings.NewReader(piece)})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p.ID)
	}
	done, err := client.Uploads.Complete(t.Context(), up.ID, openai.UploadCompleteParams{PartIDs: parts})
	if err != nil || read(done.File.ID) != "onetwo" {
		t.Errorf("%+v, %v", done, err)
	}
	if got, err := client.Files.Delete(t.Context(), file.ID); err != nil || !got.Deleted {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := client.Files.Get(t.Context(), file.ID); err == nil {
		t.Error("a deleted file is still there")
	}
	// The dev mesh has three such accounts: without a name none is guessed.
	several := openAI(t)
	if _, err := several.Files.List(t.Context(), openai.FileListParams{}); !says(err, "x-causeway-provider") {
		t.Errorf("an account was guessed: %v", err)
	}
}

// TestOpenAIResponsesState follows responses over several turns, whichever account keeps them.
func TestOpenAIResponsesState(t *testing.T) {
	t.Parallel()
	client := openAI(t)
	first, err := client.Responses.New(t.Context(), ask("gpt-5.5", "the first of a chain"))
	if err != nil {
		t.Fatal(err)
	}
	next := ask("gpt-5.5", "the second of a chain")
	next.PreviousResponseID = openai.String(first.ID)
	second, err := client.Responses.New(t.Context(), next)
	if err != nil || second.PreviousResponseID != first.ID {
		t.Fatalf("%+v, %v", second, err)
	}
	next.PreviousResponseID = openai.String(second.ID)
	s, last := client.Responses.NewStreaming(t.Context(), next), ""
	for s.Next() {
		if ev := s.Current(); ev.Type == "response.completed" {
			if last = ev.Response.ID; ev.Response.PreviousResponseID != second.ID {
				t.Errorf("it follows %q", ev.Response.PreviousResponseID)
			}
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	if got, err := client.Responses.Get(t.Context(), last, responses.ResponseGetParams{}); err != nil || got.ID != last {
		t.Errorf("%v, %v", got, err)
	}
	// This version of the SDK asks for the stream in the body of its GET; the API reads the query.
	again, seen := client.Responses.GetStreaming(t.Context(), last, responses.ResponseGetParams{}, option.WithQuery("stream", "true")), ""
	for again.Next() {
		seen = again.Current().Response.ID
	}
	if again.Err() != nil || seen != last {
		t.Errorf("streamed again: %q, %v", seen, again.Err())
	}
	if _, err := client.Responses.InputItems.List(t.Context(), last, responses.InputItemListParams{}); err != nil {
		t.Error(err)
	}
	if err := client.Responses.Delete(t.Context(), last); err != nil {
		t.Error(err)
	}
	if _, err := client.Responses.Get(t.Context(), last, responses.ResponseGetParams{}); err == nil {
		t.Error("a deleted response is still there")
	}
	background := ask("gpt-5.5", "take your time")
	background.Background = openai.Bool(true)
	queued, err := client.Responses.New(t.Context(), background)
	if err != nil || queued.Status != "queued" {
		t.Fatalf("%+v, %v", queued, err)
	}
	if got, err := client.Responses.Cancel(t.Context(), queued.ID); err != nil || got.Status != "cancelled" {
		t.Errorf("%+v, %v", got, err)
	}
	next.PreviousResponseID = openai.String("resp_somebody_elses")
	if _, err := client.Responses.New(t.Context(), next); !says(err, "previous_response_not_found") {
		t.Errorf("a foreign response was followed: %v", err)
	}
	named := openAI(t, option.WithHeader("x-causeway-provider", "fake-us-openai"))
	conv, err := named.Conversations.New(t.Context(), conversations.ConversationNewParams{})
	if err != nil {
		t.Fatal(err)
	}
	in := ask("gpt-5.5", "within a conversation")
	in.Conversation = responses.ResponseNewParamsConversationUnion{OfString: openai.String(conv.ID)}
	if _, err := named.Responses.New(t.Context(), in); err != nil {
		t.Error(err)
	}
}

// says reports whether an answer of the API refuses with these words.
func says(err error, words string) bool {
	e, ok := errors.AsType[*openai.Error](err)
	return ok && strings.Contains(e.RawJSON(), words)
}

// TestAnthropicBatches runs a batch to its results; the addresses in it lead to the mesh.
func TestAnthropicBatches(t *testing.T) {
	t.Parallel()
	client := claudeNew(t, claudeopt.WithHeader("x-causeway-provider", "fake-us-anthropic"))
	batch, err := client.Messages.Batches.New(t.Context(), claude.MessageBatchNewParams{Requests: []claude.MessageBatchNewParamsRequest{{
		CustomID: "a", Params: claude.MessageBatchNewParamsRequestParams{Model: "claude-3.5", MaxTokens: 10, Messages: []claude.MessageParam{claude.NewUserMessage(claude.NewTextBlock("hello"))}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if u, err := url.Parse(batch.ResultsURL); err != nil || !strings.HasPrefix(batch.ResultsURL, edge(t, "us-west")+"/") || !strings.HasSuffix(u.Path, batch.ID+"/results") {
		t.Errorf("results are at %q", batch.ResultsURL)
	}
	if got, err := client.Messages.Batches.Get(t.Context(), batch.ID, claude.MessageBatchGetParams{}); err != nil || got.ProcessingStatus != "ended" {
		t.Errorf("%+v, %v", got, err)
	}
	s, n := client.Messages.Batches.ResultsStreaming(t.Context(), batch.ID, claude.MessageBatchResultsParams{}), 0
	for s.Next() {
		if n++; s.Current().CustomID != "a" || s.Current().Result.Type != "succeeded" {
			t.Errorf("%+v", s.Current())
		}
	}
	if s.Err() != nil || n != 1 {
		t.Errorf("%d results, %v", n, s.Err())
	}
	if list, err := client.Messages.Batches.List(t.Context(), claude.MessageBatchListParams{}); err != nil || len(list.Data) == 0 {
		t.Errorf("%v", err)
	}
	if _, err := client.Messages.Batches.Delete(t.Context(), batch.ID, claude.MessageBatchDeleteParams{}); err != nil {
		t.Error(err)
	}
	file, err := client.Beta.Files.Upload(t.Context(), claude.BetaFileUploadParams{File: claude.File(strings.NewReader("hello"), "a.txt", "text/plain")})
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Beta.Files.Download(t.Context(), file.ID, claude.BetaFileDownloadParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestGeminiFiles uploads in pieces: the SDK follows the address that the answer names.
func TestGeminiFiles(t *testing.T) {
	t.Parallel()
	client := gemini(t, mesh.APIKey, "v1beta")
	account := &genai.HTTPOptions{Headers: http.Header{"X-Causeway-Provider": {"fake-us-gemini"}}}
	content := bytes.Repeat([]byte("0123456789abcdef"), 9<<20/16) // the SDK's pieces are 8 MiB
	file, err := client.Files.Upload(t.Context(), bytes.NewReader(content), &genai.UploadFileConfig{MIMEType: "text/plain", HTTPOptions: account})
	if err != nil {
		t.Fatal(err)
	}
	if file.SizeBytes == nil || *file.SizeBytes != int64(len(content)) || file.State != genai.FileStateActive {
		t.Errorf("%+v", file)
	}
	if got, err := client.Files.Get(t.Context(), file.Name, &genai.GetFileConfig{HTTPOptions: account}); err != nil || got.Name != file.Name {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := client.Files.Delete(t.Context(), file.Name, &genai.DeleteFileConfig{HTTPOptions: account}); err != nil {
		t.Error(err)
	}
	cache, err := client.Caches.Create(t.Context(), "gemini-pro", &genai.CreateCachedContentConfig{HTTPOptions: account, Contents: genai.Text("a long text")})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Caches.Get(t.Context(), cache.Name, &genai.GetCachedContentConfig{HTTPOptions: account}); err != nil || got.Name != cache.Name {
		t.Errorf("%+v, %v", got, err)
	}
}
