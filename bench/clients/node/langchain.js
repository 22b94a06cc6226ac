// LangChain's chat models and embeddings.
import { ChatAnthropic } from "@langchain/anthropic";
import { HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings } from "@langchain/google-genai";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { na } from "./core.js";

const finish = { end_turn: "stop", stop_sequence: "stop", completed: "stop", STOP: "stop", tool_use: "tool_calls" };

/** Text and thinking of a message whose content is a string or blocks of any vendor's kind. */
function read(message) {
  if (typeof message.content === "string") return { text: message.content, thinking: "" };
  const of = (type, key) => message.content.filter((b) => b.type === type).map((b) => b[key]).join("");
  return { text: of("text", "text"), thinking: of("thinking", "thinking") + of("reasoning", "reasoning") };
}

function ended(message, calls) {
  const m = { ...message.additional_kwargs, ...message.response_metadata };
  const reason = m.finish_reason ?? m.finishReason ?? m.stop_reason ?? m.status;
  return calls.length ? "tool_calls" : (finish[reason] ?? reason);
}

function client(name, pkg, family, { model, structured, embeddings, noStop, cumulative }) {
  const out = {
    name,
    package: pkg,
    family,
    failure: (err) => ({ class: err.constructor.name, status: err.status }),
    async ask(r) {
      if (r.stop && noStop) na(noStop);
      const messages = [new SystemMessage(r.system)];
      for (const h of r.history) {
        if (h.turn) messages.push(h.turn, ...h.results.map((t) => new ToolMessage({ tool_call_id: t.id, name: t.name, content: t.text })));
        else if (h.image) messages.push(new HumanMessage({ content: [{ type: "text", text: h.user }, { type: "image_url", image_url: { url: "data:image/png;base64," + h.image } }] }));
        else messages.push(new HumanMessage(h.user));
      }
      let chain = model(r);
      if (r.tools.length) chain = chain.bindTools(r.tools.map((f) => ({ type: "function", function: { ...f, strict: true } })));
      if (r.schema) {
        const got = await chain.withStructuredOutput(r.schema.schema, { name: r.schema.name, method: structured, includeRaw: true }).invoke(messages);
        return { ...read(got.raw), text: JSON.stringify(got.parsed), calls: [], finish: "stop", usage: { in: got.raw.usage_metadata.input_tokens, out: got.raw.usage_metadata.output_tokens } };
      }
      const options = { signal: r.signal, ...(r.stop && { stop: r.stop }) };
      let chunks = 0;
      let got;
      let told;
      if (r.stream) {
        for await (const chunk of await chain.stream(messages, options)) {
          got = got ? got.concat(chunk) : chunk;
          if (cumulative) told = chunk.usage_metadata?.output_tokens || told;
          chunks++;
          r.chunk();
        }
      } else got = await chain.invoke(messages, options);
      const { text, thinking } = read(got);
      const calls = (got.tool_calls ?? []).map((c) => ({ id: c.id, name: c.name, args: c.args }));
      const used = got.usage_metadata;
      const reasoning = used.output_token_details?.reasoning;
      return { text, thinking, calls, finish: ended(got, calls), usage: { in: used.input_tokens, out: told ?? used.output_tokens, reasoning }, chunks, turn: got };
    },
  };
  // Not embedDocuments: Google's gives empty vectors instead of the error.
  if (embeddings) out.embed = (r, texts) => Promise.all(texts.map((t) => embeddings(r).embedQuery(t)));
  return out;
}

const openai = (extra, think) => (r) =>
  new ChatOpenAI({ model: r.model, apiKey: r.key, maxRetries: 0, maxTokens: r.max, streamUsage: true, configuration: { baseURL: r.base + "/v1" }, ...extra, ...(r.think && { reasoning: think }) });

/** LangChain drops Google's promise of the whole answer, which nobody is left to handle when a stream is aborted. */
function handled(model) {
  const stream = model.client.generateContentStream.bind(model.client);
  model.client.generateContentStream = async (...args) => {
    const got = await stream(...args);
    got.response.catch(() => {});
    return got;
  };
  return model;
}

export const langchain = [
  client("langchain openai chat", "@langchain/openai", "openai", {
    model: openai({ useResponsesApi: false }, { effort: "low" }),
    structured: "jsonSchema",
    embeddings: (r) => new OpenAIEmbeddings({ model: r.model, apiKey: r.key, maxRetries: 0, configuration: { baseURL: r.base + "/v1" } }),
  }),
  client("langchain openai responses", "@langchain/openai", "openai", {
    model: openai({ useResponsesApi: true, zdrEnabled: true }, { effort: "low", summary: "auto" }),
    structured: "jsonSchema",
    noStop: "the Responses API has no stop sequences",
  }),
  client("langchain anthropic", "@langchain/anthropic", "anthropic", {
    model: (r) => new ChatAnthropic({ model: r.model, apiKey: r.key, anthropicApiUrl: r.base, maxRetries: 0, maxTokens: r.max, ...(r.think && { thinking: { type: "enabled", budget_tokens: 1024 } }) }),
    structured: "jsonSchema",
    cumulative: true, // it adds message_start's count to message_delta's, which holds it already
  }),
  client("langchain google-genai", "@langchain/google-genai", "google", {
    model: (r) =>
      handled(
        new ChatGoogleGenerativeAI({
          model: r.model,
          apiKey: r.key,
          baseUrl: r.base,
          maxRetries: 0,
          maxOutputTokens: r.max,
          stopSequences: r.stop,
          ...(r.think && { thinkingConfig: { includeThoughts: true, thinkingLevel: "LOW" } }),
        }),
      ),
    structured: "jsonSchema",
    embeddings: (r) => new GoogleGenerativeAIEmbeddings({ model: r.model, apiKey: r.key, baseUrl: r.base, maxRetries: 0 }),
  }),
];
