package vendor

import "github.com/causeway-mesh/causeway/relay/dialect"

// vendors is the table of endpoints. All of them take the system role wherever OpenAI takes developer,
// so rows of servers that do not document the developer role do without it.
var vendors = []Vendor{
	{
		Name: "azure", Title: "Azure OpenAI (v1 API)", Hosts: []string{"openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com"},
		Base: "https://RESOURCE.openai.azure.com/openai/v1", Scheme: "bearer",
		Notes: "An API key goes as bearer, api-version is not needed. A target's model is the name of the deployment.",
		Fact:  Fact{"https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle", "2026-11-22"},
	},
	{
		Name: "bedrock", Title: "Amazon Bedrock (OpenAI-compatible)", Hosts: []string{"amazonaws.com", "api.aws"},
		Base: "https://bedrock-runtime.REGION.amazonaws.com/openai/v1", Scheme: "bearer",
		Notes: "Takes a Bedrock API key as bearer; SigV4 is not spoken.",
		Fact:  Fact{"https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html", "2026-11-22"},
	},
	{
		Name: "deepseek", Title: "DeepSeek", Hosts: []string{"api.deepseek.com"}, Base: "https://api.deepseek.com/v1", Scheme: "bearer",
		Quirks: dialect.Quirks{
			NoDeveloperRole: true, LegacyMaxTokens: true, NoSchema: true,
			Switch: dialect.SwitchType, CallIDs: dialect.CallIDsAny,
		},
		Notes: "Thinking comes as reasoning_content and goes back to it while a tool loop is open; a JSON schema becomes JSON mode and an instruction.",
		Fact:  Fact{"https://api-docs.deepseek.com/guides/thinking_mode; https://github.com/earendil-works/pi/issues/1048", "2026-11-22"},
	},
	{
		Name: "google", Title: "Gemini API (native and OpenAI-compatible)", Hosts: []string{"generativelanguage.googleapis.com"},
		Base: "https://generativelanguage.googleapis.com", Scheme: "x-goog-api-key",
		Quirks: dialect.Quirks{NoDeveloperRole: true},
		Notes:  "OpenAI-compatible: .../v1beta/openai with scheme bearer. Thought signatures travel in extra_content.",
		Fact:   Fact{"https://ai.google.dev/gemini-api/docs/openai", "2026-11-22"},
	},
	{
		Name: "groq", Title: "Groq", Hosts: []string{"api.groq.com"}, Base: "https://api.groq.com/openai/v1", Scheme: "bearer",
		Quirks: dialect.Quirks{NoDeveloperRole: true, NoLogprobs: true, NoNames: true},
		Notes:  "Refuses logprobs, logit_bias, names on messages and n > 1. Thinking comes as reasoning.",
		Fact:   Fact{"https://console.groq.com/docs/openai", "2026-11-22"},
	},
	{
		Name: "mistral", Title: "Mistral", Hosts: []string{"api.mistral.ai"}, Base: "https://api.mistral.ai/v1", Scheme: "bearer",
		Quirks: dialect.Quirks{
			NoDeveloperRole: true, LegacyMaxTokens: true, NoStreamUsage: true, NoLogprobs: true, NoNames: true, OnlyCommon: true,
			CallIDs: dialect.CallIDsNine,
		},
		Notes: "Unknown members are a 422; usage comes in the last chunk unasked; call ids are nine letters or digits.",
		Fact:  Fact{"https://github.com/editor-code-assistant/eca/issues/231; https://github.com/anomalyco/opencode/issues/1680", "2026-11-22"},
	},
	{
		Name: "moonshot", Title: "Moonshot (Kimi)", Hosts: []string{"api.moonshot.ai", "api.moonshot.cn"}, Base: "https://api.moonshot.ai/v1", Scheme: "bearer",
		Quirks: dialect.Quirks{NoDeveloperRole: true, Switch: dialect.SwitchType, CallIDs: dialect.CallIDsAny},
		Notes:  "Call ids such as functions.f:0 go back as they came. Thinking comes as reasoning_content.",
		Fact:   Fact{"https://java.agentscope.io/v2/en/integration/model/kimi; https://platform.kimi.ai/docs/api/quickstart", "2026-11-22"},
	},
	{
		Name: "ollama", Title: "Ollama", Hosts: []string{"ollama.com"}, Base: "http://127.0.0.1:11434/v1", Scheme: "bearer",
		Quirks: dialect.Quirks{NoDeveloperRole: true, LegacyMaxTokens: true, CallIDs: dialect.CallIDsAny},
		Notes:  "Self-hosted: say vendor: ollama; any secret will do.",
		Fact:   Fact{"https://docs.ollama.com/api/openai-compatibility", "2026-11-22"},
	},
	{
		Name: "openrouter", Title: "OpenRouter", Hosts: []string{"openrouter.ai"}, Base: "https://openrouter.ai/api/v1", Scheme: "bearer",
		Quirks: dialect.Quirks{NoDeveloperRole: true, LegacyMaxTokens: true},
		Notes:  "Thinking comes as reasoning and reasoning_details, which go back as they came. Where it processes is OpenRouter's choice.",
		Fact:   Fact{"https://openrouter.ai/docs/use-cases/reasoning-tokens", "2026-11-22"},
	},
	{
		Name: "qwen", Title: "Qwen (DashScope)", Hosts: []string{"dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"},
		Base: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", Scheme: "bearer",
		Quirks: dialect.Quirks{NoDeveloperRole: true, LegacyMaxTokens: true, Switch: dialect.SwitchBool, CallIDs: dialect.CallIDsAny},
		Notes:  "Thinking is switched by enable_thinking and comes as reasoning_content; JSON schemas by model.",
		Fact:   Fact{"https://help.aliyun.com/en/model-studio/deep-thinking", "2026-11-22"},
	},
	{
		Name: "together", Title: "Together AI", Hosts: []string{"api.together.xyz", "api.together.ai", "api-inference.together.ai"},
		Base: "https://api.together.ai/v1", Scheme: "bearer",
		Quirks: dialect.Quirks{NoDeveloperRole: true, LegacyMaxTokens: true, CallIDs: dialect.CallIDsAny},
		Notes:  "Thinking comes as reasoning.",
		Fact:   Fact{"https://docs.together.ai/docs/inference/responses-api", "2026-11-22"},
	},
	{
		Name: "vertex", Title: "Vertex AI (Gemini native and OpenAI-compatible)", Hosts: []string{"aiplatform.googleapis.com", "-aiplatform.googleapis.com"},
		Base: "https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION/publishers/google", Scheme: "bearer",
		Quirks: dialect.Quirks{NoDeveloperRole: true}, Unversioned: true,
		Notes: "OpenAI-compatible: .../locations/LOCATION/endpoints/openapi, models google/NAME. Access tokens end after an hour: rotate the secret.",
		Fact:  Fact{"https://docs.cloud.google.com/gemini-enterprise-agent-platform/reference/rest/v1beta1/projects.locations.endpoints.chat/completions", "2026-11-22"},
	},
	{
		Name: "vllm", Title: "vLLM", Base: "http://HOST:8000/v1", Scheme: "bearer",
		Quirks: dialect.Quirks{NoDeveloperRole: true, LegacyMaxTokens: true, CallIDs: dialect.CallIDsAny},
		Notes:  "Self-hosted: say vendor: vllm. Thinking comes as reasoning_content or reasoning, by version.",
		Fact:   Fact{"https://docs.vllm.ai/en/latest/serving/openai_compatible_server/", "2026-11-22"},
	},
	{
		Name: "xai", Title: "xAI", Hosts: []string{"api.x.ai"}, Base: "https://api.x.ai/v1", Scheme: "bearer",
		Quirks: dialect.Quirks{NoDeveloperRole: true},
		Notes:  "Which models take reasoning_effort, penalties and stop differs by model; the relay applies stop where they do not.",
		Fact:   Fact{"https://docs.x.ai/guides/reasoning", "2026-11-22"},
	},
}
