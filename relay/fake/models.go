package fake

import (
	"slices"
	"strings"
)

// Models lists the names that the fake provider knows: those of the seed article and current ones.
// Every name is served in every dialect; a dated snapshot of a listed name is known too.
func Models() []string { return slices.Clone(models[:]) }

// FailureModels lists the names that fail on purpose:
//
//	fake-429        429 in the vendor's form, retry after one second
//	fake-500        500
//	fake-503        503, or 529 for Anthropic
//	fake-401        the credential is refused
//	fake-hang       takes the request and never answers
//	fake-midstream  the connection breaks after three tokens (unary: half-way through the body)
//	fake-error      200, three tokens, then the dialect's in-stream error event (unary: 500)
//	fake-slow       1.5 s to the first token, 100 ms more for each one
func FailureModels() []string { return slices.Clone(failures[:]) }

var models = [...]string{
	// The seed article's.
	"gpt-4", "gpt-3.5-turbo", "claude-3.5", "claude-3-5-sonnet-20241022", "gemini-pro", "gemini-pro-vision",
	// Current ones.
	"gpt-4-turbo", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "o3", "o4-mini",
	"gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5.2", "gpt-5.4", "gpt-5.5",
	"claude-3-5-haiku-20241022", "claude-3-7-sonnet-20250219", "claude-sonnet-4-5", "claude-haiku-4-5",
	"claude-opus-4-5", "claude-opus-4-6", "claude-sonnet-4-6", "claude-opus-4-7",
	"gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-flash-preview", "gemini-3-pro-preview",
	"gemini-3.5-flash", "gemini-3.6-flash", "gemini-flash-latest",
	"text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large", "gemini-embedding-001", "gemini-embedding-2", "text-embedding-004",
	"gpt-3.5-turbo-instruct", "omni-moderation-latest", "gpt-image-1", "dall-e-2", "tts-1", "gpt-4o-mini-tts", "whisper-1", "gpt-4o-transcribe",
	// The fake provider's own.
	"fake", "fake-small", "fake-large", "fake-embed",
}

var failures = [...]string{
	"fake-429", "fake-500", "fake-503", "fake-401", "fake-hang", "fake-midstream", "fake-error", "fake-slow",
}

// known reports whether a model name is served. A dated snapshot (gpt-4o-2024-08-06,
// claude-haiku-4-5-20251001) and -latest count as their base name.
func known(name string) bool {
	if listed(name) {
		return true
	}
	if base, ok := strings.CutSuffix(name, "-latest"); ok {
		return listed(base)
	}
	i := strings.LastIndex(name, "-20")
	return i > 0 && len(name)-i >= 9 && strings.Trim(name[i:], "-0123456789") == "" && listed(name[:i])
}

func listed(name string) bool {
	return slices.Contains(models[:], name) || slices.Contains(failures[:], name)
}

// reasons reports whether an OpenAI model is of the reasoning kind, which refuses max_tokens and
// sampling parameters.
func reasons(model string) bool {
	return strings.HasPrefix(model, "o3") || strings.HasPrefix(model, "o4") || strings.HasPrefix(model, "gpt-5")
}

// takesEffort reports whether an OpenAI model knows reasoning effort; the fake provider's own do.
func takesEffort(model string) bool { return reasons(model) || strings.HasPrefix(model, "fake") }
