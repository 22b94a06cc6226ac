// OpenAI's SDK: Chat Completions and Responses.
import OpenAI from "openai";
import { na } from "./core.js";

const sdk = ({ base, key }) => new OpenAI({ baseURL: base + "/v1", apiKey: key, maxRetries: 0 });
const failure = (err) => ({ class: err.constructor.name, status: err.status });

const embed = async (r, texts) => (await sdk(r).embeddings.create({ model: r.model, input: texts })).data.map((d) => d.embedding);

async function askChat(r) {
  const messages = [{ role: "system", content: r.system }];
  for (const h of r.history) {
    if (h.turn) messages.push(h.turn, ...h.results.map((t) => ({ role: "tool", tool_call_id: t.id, content: t.text })));
    else if (h.image) messages.push({ role: "user", content: [{ type: "text", text: h.user }, { type: "image_url", image_url: { url: "data:image/png;base64," + h.image } }] });
    else messages.push({ role: "user", content: h.user });
  }
  const body = { model: r.model, messages, max_completion_tokens: r.max };
  if (r.tools.length) body.tools = r.tools.map((f) => ({ type: "function", function: { ...f, strict: true } }));
  if (r.schema) body.response_format = { type: "json_schema", json_schema: { ...r.schema, strict: true } };
  if (r.stop) body.stop = r.stop;
  if (r.think) body.reasoning_effort = "low";
  let chunks = 0;
  let got;
  if (r.stream) {
    const stream = sdk(r).chat.completions.stream({ ...body, stream_options: { include_usage: true } }, { signal: r.signal });
    for await (const _ of stream) chunks++, r.chunk();
    got = await stream.finalChatCompletion();
  } else got = await sdk(r).chat.completions.create(body);
  const [{ message, finish_reason }] = got.choices;
  return {
    text: message.content ?? "",
    calls: (message.tool_calls ?? []).map((c) => ({ id: c.id, name: c.function.name, args: JSON.parse(c.function.arguments) })),
    finish: finish_reason,
    usage: { in: got.usage.prompt_tokens, out: got.usage.completion_tokens, reasoning: got.usage.completion_tokens_details?.reasoning_tokens },
    chunks,
    turn: { role: "assistant", content: message.content, tool_calls: message.tool_calls?.map(({ id, type, function: f }) => ({ id, type, function: { name: f.name, arguments: f.arguments } })) },
  };
}

async function askResponses(r) {
  if (r.stop) na("the Responses API has no stop sequences");
  const input = [];
  for (const h of r.history) {
    if (h.turn) input.push(...h.turn, ...h.results.map((t) => ({ type: "function_call_output", call_id: t.id, output: t.text })));
    else if (h.image) input.push({ role: "user", content: [{ type: "input_text", text: h.user }, { type: "input_image", detail: "auto", image_url: "data:image/png;base64," + h.image }] });
    else input.push({ role: "user", content: h.user });
  }
  const body = { model: r.model, instructions: r.system, input, max_output_tokens: r.max, store: false };
  if (r.tools.length) body.tools = r.tools.map((f) => ({ type: "function", ...f, strict: true }));
  if (r.schema) body.text = { format: { type: "json_schema", ...r.schema, strict: true } };
  if (r.think) (body.reasoning = { effort: "low", summary: "auto" }), (body.include = ["reasoning.encrypted_content"]);
  let chunks = 0;
  let got;
  if (r.stream) {
    const stream = sdk(r).responses.stream(body, { signal: r.signal });
    for await (const e of stream) if (e.type.endsWith(".delta")) chunks++, r.chunk();
    got = await stream.finalResponse();
  } else got = await sdk(r).responses.create(body);
  const calls = got.output.filter((o) => o.type === "function_call");
  return {
    text: got.output_text,
    thinking: got.output.filter((o) => o.type === "reasoning").flatMap((o) => o.summary).map((s) => s.text).join(""),
    calls: calls.map((c) => ({ id: c.call_id, name: c.name, args: JSON.parse(c.arguments) })),
    finish: got.status !== "completed" ? got.incomplete_details?.reason : calls.length ? "tool_calls" : "stop",
    usage: { in: got.usage.input_tokens, out: got.usage.output_tokens, reasoning: got.usage.output_tokens_details.reasoning_tokens },
    chunks,
    turn: got.output,
  };
}

export const openai = [
  { name: "openai chat", package: "openai", family: "openai", ask: askChat, failure, embed },
  { name: "openai responses", package: "openai", family: "openai", ask: askResponses, failure },
];
