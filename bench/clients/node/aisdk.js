// Vercel's AI SDK with its providers for OpenAI (both APIs), Anthropic and Google.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { embedMany, generateText, jsonSchema, Output, streamText, tool } from "ai";
import { na } from "./core.js";

const finish = { "tool-calls": "tool_calls" };

function client(name, pkg, family, provider, { language, options, embedding, noStop }) {
  const model = (r) => language(provider(r), r.model);
  const out = {
    name,
    package: pkg,
    family,
    failure: (err) => ({ class: err.name, status: err.statusCode }),
    async ask(r) {
      if (r.stop && noStop) na(noStop);
      const messages = r.history.flatMap((h) => {
        if (h.turn) return [...h.turn, { role: "tool", content: h.results.map((t) => ({ type: "tool-result", toolCallId: t.id, toolName: t.name, output: { type: "text", value: t.text } })) }];
        const content = [{ type: "text", text: h.user }];
        if (h.image) content.push({ type: "file", data: h.image, mediaType: "image/png" });
        return [{ role: "user", content }];
      });
      const p = { model: model(r), instructions: r.system, messages, maxOutputTokens: r.max, maxRetries: 0, abortSignal: r.signal, stopSequences: r.stop };
      if (r.tools.length) p.tools = Object.fromEntries(r.tools.map((f) => [f.name, tool({ description: f.description, inputSchema: jsonSchema(f.parameters), strict: true })]));
      if (r.schema) p.output = Output.object({ name: r.schema.name, schema: jsonSchema(r.schema.schema) });
      if (r.think) p.providerOptions = options;
      let chunks = 0;
      let got;
      if (r.stream) {
        const stream = streamText({ ...p, onError() {} });
        for await (const part of stream.fullStream) {
          if (part.type === "error") throw part.error;
          if (part.type === "abort") throw new DOMException("aborted", "AbortError");
          if (part.type.endsWith("-delta")) chunks++, r.chunk();
        }
        const keys = ["text", "reasoningText", "toolCalls", "finishReason", "usage", "response"];
        got = Object.fromEntries(await Promise.all(keys.map(async (k) => [k, await stream[k]])));
      } else got = await generateText(p);
      return {
        text: got.text,
        thinking: got.reasoningText,
        calls: got.toolCalls.map((c) => ({ id: c.toolCallId, name: c.toolName, args: c.input })),
        finish: finish[got.finishReason] ?? got.finishReason,
        usage: { in: got.usage.inputTokens, out: got.usage.outputTokens, reasoning: got.usage.outputTokenDetails?.reasoningTokens },
        chunks,
        turn: got.response.messages,
      };
    },
  };
  if (embedding) out.embed = async (r, values) => (await embedMany({ model: embedding(provider(r), r.model), values, maxRetries: 0 })).embeddings;
  return out;
}

const openai = ({ base, key }) => createOpenAI({ baseURL: base + "/v1", apiKey: key });
const effort = { openai: { reasoningEffort: "low", reasoningSummary: "auto", store: false } };

export const aisdk = [
  client("ai-sdk openai chat", "@ai-sdk/openai", "openai", openai, { language: (p, m) => p.chat(m), options: { openai: { reasoningEffort: "low" } }, embedding: (p, m) => p.embedding(m) }),
  client("ai-sdk openai responses", "@ai-sdk/openai", "openai", openai, { language: (p, m) => p.responses(m), options: effort, noStop: "the Responses API has no stop sequences" }),
  client("ai-sdk anthropic", "@ai-sdk/anthropic", "anthropic", ({ base, key }) => createAnthropic({ baseURL: base + "/v1", apiKey: key }), {
    language: (p, m) => p(m),
    options: { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } },
  }),
  client("ai-sdk google", "@ai-sdk/google", "google", ({ base, key }) => createGoogleGenerativeAI({ baseURL: base + "/v1beta", apiKey: key }), {
    language: (p, m) => p(m),
    options: { google: { thinkingConfig: { includeThoughts: true, thinkingLevel: "low" } } },
    embedding: (p, m) => p.embedding(m),
  }),
];
