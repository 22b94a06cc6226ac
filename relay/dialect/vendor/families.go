package vendor

import (
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

var (
	claude = []llm.Dialect{llm.AnthropicMessages}
	gemini = []llm.Dialect{llm.Gemini}
	openAI = []llm.Dialect{llm.OpenAIChat, llm.OpenAIResponses}
	chat   = []llm.Dialect{llm.OpenAIChat}
)

const (
	migrateClaude = "https://platform.claude.com/docs/en/about-claude/models/migration-guide"
	migrateOpus55 = "https://platform.claude.com/docs/en/models/opus-5-5/migration-guide"
	claudeModels  = "https://platform.claude.com/docs/about-claude/models/overview"
	claudeSystem  = "https://github.com/langchain-ai/langchainjs/releases/tag/@langchain%2Fanthropic@1.5.13"
	claudeSonnets = "https://dev.to/persimmoq/claude-opus-55-sonnet-55-5-settings-that-return-400-when-you-only-change-the-model-name-5g36"
	claudeLengths = "https://github.com/Effect-TS/effect/releases/tag/@effect%2Fai-anthropic@4.0.0-beta.106"
	claudeSchemas = "https://app.unpkg.com/@langchain/anthropic@1.3.3/files/dist/profiles.cjs.map"
	geminiThinks  = "https://ai.google.dev/gemini-api/docs/thinking"
	geminiURLs    = "https://blog.google/innovation-and-ai/technology/developers-tools/gemini-api-new-file-limits"
	gptReasons    = "https://zenn.dev/headwaters/articles/a5468c45ec2e52"
	gptEfforts    = "https://learn.microsoft.com/en-us/javascript/api/@azure/ai-projects/reasoningeffort"
	gptNone       = "https://github.com/vercel/ai/issues/10932"
	gptSchemas    = "https://platform.openai.com/docs/guides/structured-outputs"
	kimi          = "https://java.agentscope.io/v2/en/integration/model/kimi"
	qwenSchemas   = "https://docs.instructorphp.com/cookbook/examples/B04_LLMApiSupport/llm_qwen"
	grokEfforts   = "https://newreleases.io/project/github/vercel/ai/release/@ai-sdk%2Fxai@4.0.0-canary.61"
	grokRefuses   = "https://docs.x.ai/guides/reasoning"
	reviewed      = "2026-11-22"
)

// What the generations of Claude have in common.
var (
	claudeFirst  = dialect.Quirks{NoSchema: true, NoReasoning: true}
	claudeBudget = dialect.Quirks{NoSchema: true, NoEffort: true}
	claude45     = dialect.Quirks{NoEffort: true}
	claude46     = dialect.Quirks{NoPrefill: true}
	claude47     = dialect.Quirks{NoPrefill: true, NoSampling: true, NoBudget: true}
	claude48     = dialect.Quirks{NoPrefill: true, NoSampling: true, NoBudget: true, SystemInPlace: true}
	claudeAlways = dialect.Quirks{NoPrefill: true, NoSampling: true, NoBudget: true, SystemInPlace: true, AlwaysThinks: true}
	claudeTools  = dialect.Quirks{NoPrefill: true, NoSampling: true, NoBudget: true, SystemInPlace: true, LeastBetween: true}
	gptThinks    = dialect.Quirks{NoSampling: true, NoPenalties: true, NoLogprobs: true, NoStop: true}
)

// families is the table of models; the first row that fits counts.
var families = []Family{
	// Claude, oldest first. Newer names than these are taken to be like the newest generation only
	// where a glob says so: claude-*-5-* and later.
	{Models: []string{"claude-3-opus*", "claude-3-sonnet*", "claude-3-haiku*"}, In: claude, Quirks: claudeFirst, MaxOutput: 4096, Fact: Fact{claudeSchemas, reviewed}},
	{Models: []string{"claude-3-5-*"}, In: claude, Quirks: claudeFirst, MaxOutput: 8192, Fact: Fact{claudeSchemas, reviewed}},
	{Models: []string{"claude-3-7-*"}, In: claude, Quirks: claudeBudget, MaxOutput: 64000, Fact: Fact{claudeSchemas, reviewed}},
	{Models: []string{"claude-opus-4-[01]", "claude-opus-4-[01]-*", "claude-opus-4-[01]@*", "claude-opus-4-2*", "claude-opus-4", "claude-opus-4@*", "claude-4-opus*"}, In: claude, Quirks: claudeBudget, MaxOutput: 32000, Fact: Fact{claudeSchemas, reviewed}},
	{Models: []string{"claude-sonnet-4-0*", "claude-sonnet-4-2*", "claude-sonnet-4", "claude-sonnet-4@*", "claude-4-sonnet*"}, In: claude, Quirks: claudeBudget, MaxOutput: 64000, Fact: Fact{claudeSchemas, reviewed}},
	{Models: []string{"claude-opus-4-5*", "claude-sonnet-4-5*", "claude-haiku-4-5*"}, In: claude, Quirks: claude45, MaxOutput: 64000, Fact: Fact{migrateClaude, reviewed}},
	{Models: []string{"claude-opus-4-6*", "claude-sonnet-4-6*"}, In: claude, Quirks: claude46, MaxOutput: 128000, Fact: Fact{migrateClaude + "; " + claudeLengths, reviewed}},
	{Models: []string{"claude-opus-4-7*"}, In: claude, Quirks: claude47, MaxOutput: 128000, Fact: Fact{claudeLengths, reviewed}},
	{Models: []string{"claude-mythos-preview*"}, In: claude, Quirks: dialect.Quirks{NoPrefill: true}, MaxOutput: 128000, Fact: Fact{claudeModels, reviewed}},
	{Models: []string{"claude-sonnet-5-5*"}, In: claude, Quirks: claudeTools, MaxOutput: 128000, Fact: Fact{claudeSonnets, reviewed}},
	{Models: []string{"claude-opus-5-5*", "claude-fable-*", "claude-mythos-*"}, In: claude, Quirks: claudeAlways, MaxOutput: 128000, Fact: Fact{migrateOpus55 + "; " + claudeModels, reviewed}},
	{Models: []string{"claude-opus-4-8*", "claude-opus-5*", "claude-sonnet-5*", "claude-haiku-5*"}, In: claude, Quirks: claude48, MaxOutput: 128000, Fact: Fact{claudeSystem + "; " + claudeModels, reviewed}},

	// Gemini.
	{Models: []string{"gemini-1.*", "gemini-2.0*", "gemma*", "learnlm*"}, In: gemini, Quirks: dialect.Quirks{NoReasoning: true}, MaxOutput: 8192, Fact: Fact{geminiThinks, reviewed}},
	{Models: []string{"gemini-2.5-pro*"}, In: gemini, Quirks: dialect.Quirks{NoEffort: true, AlwaysThinks: true, RemoteMedia: true}, MaxOutput: 65536, Fact: Fact{geminiThinks + "; " + geminiURLs, reviewed}},
	{Models: []string{"gemini-2.5-flash-image*"}, In: gemini, Quirks: dialect.Quirks{NoReasoning: true, RemoteMedia: true}, MaxOutput: 32768, Fact: Fact{geminiThinks, reviewed}},
	{Models: []string{"gemini-2.5-*"}, In: gemini, Quirks: dialect.Quirks{NoEffort: true, RemoteMedia: true}, MaxOutput: 65536, Fact: Fact{geminiThinks + "; " + geminiURLs, reviewed}},
	{Models: []string{"gemini-[3-9]*-pro*"}, In: gemini, Quirks: dialect.Quirks{AlwaysThinks: true, RemoteMedia: true}, MaxOutput: 65536, Fact: Fact{geminiThinks + "; " + geminiURLs, reviewed}},
	{Models: []string{"gemini-[3-9]*"}, In: gemini, Quirks: dialect.Quirks{RemoteMedia: true}, MaxOutput: 65536, Fact: Fact{geminiThinks + "; " + geminiURLs, reviewed}},

	// OpenAI, wherever it is served.
	{Models: []string{"gpt-3.5*"}, In: openAI, Quirks: dialect.Quirks{NoSchema: true, NoReasoning: true}, MaxOutput: 4096, Fact: Fact{gptSchemas, reviewed}},
	{Models: []string{"gpt-4", "gpt-4-0613", "gpt-4-0314"}, In: openAI, Quirks: dialect.Quirks{NoSchema: true, NoReasoning: true}, MaxOutput: 8192, Fact: Fact{gptSchemas, reviewed}},
	{Models: []string{"gpt-4-*", "gpt-4o-2024-05-13"}, In: openAI, Quirks: dialect.Quirks{NoSchema: true, NoReasoning: true}, MaxOutput: 4096, Fact: Fact{gptSchemas, reviewed}},
	{Models: []string{"gpt-4o*", "chatgpt-4o*"}, In: openAI, Quirks: dialect.Quirks{NoReasoning: true}, MaxOutput: 16384, Fact: Fact{gptEfforts, reviewed}},
	{Models: []string{"gpt-4.1*"}, In: openAI, Quirks: dialect.Quirks{NoReasoning: true}, MaxOutput: 32768, Fact: Fact{gptEfforts, reviewed}},
	{Models: []string{"gpt-5-chat*", "gpt-5.*-chat*"}, In: openAI, Quirks: dialect.Quirks{NoReasoning: true}, MaxOutput: 16384, Fact: Fact{"https://github.com/BerriAI/litellm/issues/13781", reviewed}},
	{Models: []string{"gpt-5", "gpt-5-*"}, In: openAI, Quirks: gptThinks, MaxOutput: 128000, Fact: Fact{gptReasons, reviewed}},
	// From 5.1 on sampling is taken with effort none, which is the default: what a request says is left to it.
	{Models: []string{"gpt-5.*", "gpt-[6-9]*"}, In: openAI, MaxOutput: 128000, Fact: Fact{gptNone, reviewed}},
	{Models: []string{"o1", "o1-*", "o3", "o3-*", "o4-mini*"}, In: openAI, Quirks: gptThinks, MaxOutput: 100000, Fact: Fact{gptReasons, reviewed}},

	// Open weights at their makers.
	{Models: []string{"kimi-*"}, At: []string{"moonshot"}, In: chat, Quirks: dialect.Quirks{NoSampling: true, NoPenalties: true}, Fact: Fact{kimi, reviewed}},
	{Models: []string{"moonshot-*"}, At: []string{"moonshot"}, In: chat, Quirks: dialect.Quirks{NoReasoning: true}, Fact: Fact{kimi, reviewed}},
	{Models: []string{"qwen3.8-max*", "qwen3.[7-9]*", "qwen[4-9]*"}, At: []string{"qwen"}, In: chat, Fact: Fact{qwenSchemas, reviewed}},
	{Models: []string{"qwen*", "qwq*", "qvq*"}, At: []string{"qwen"}, In: chat, Quirks: dialect.Quirks{NoSchema: true}, Fact: Fact{qwenSchemas, reviewed}},
	{Models: []string{"grok-4", "grok-4-*", "grok-4.1*", "grok-4.20*", "grok-code*"}, At: []string{"xai"}, In: chat, Quirks: dialect.Quirks{NoReasoning: true, NoPenalties: true, NoStop: true}, Fact: Fact{grokEfforts + "; " + grokRefuses, reviewed}},
	{Models: []string{"grok-3", "grok-3-latest", "grok-3-fast*", "grok-2*"}, At: []string{"xai"}, In: chat, Quirks: dialect.Quirks{NoReasoning: true}, Fact: Fact{grokEfforts, reviewed}},
}
