// Anthropic's SDK: the major with API version 2026-10-21 and bearer keys, and the one before it.
import Anthropic from "@anthropic-ai/sdk";
import Old from "anthropic-old";

const finish = { end_turn: "stop", stop_sequence: "stop", max_tokens: "length", tool_use: "tool_calls" };

function body(r) {
  const messages = [];
  for (const h of r.history) {
    if (h.turn) messages.push(h.turn, { role: "user", content: h.results.map((t) => ({ type: "tool_result", tool_use_id: t.id, content: t.text })) });
    else if (h.image) messages.push({ role: "user", content: [{ type: "image", source: { type: "base64", media_type: "image/png", data: h.image } }, { type: "text", text: h.user }] });
    else messages.push({ role: "user", content: h.user });
  }
  const out = { model: r.model, system: r.system, messages };
  if (r.tools.length) out.tools = r.tools.map((f) => ({ name: f.name, description: f.description, input_schema: f.parameters }));
  return out;
}

function client(SDK, name, pkg) {
  const sdk = ({ base, key }) => new SDK({ baseURL: base, apiKey: key, maxRetries: 0 });
  return {
    name,
    package: pkg,
    family: "anthropic",
    failure: (err) => ({ class: err.constructor.name, status: err.status }),
    count: async (r) => (await sdk(r).messages.countTokens(body(r))).input_tokens,
    async ask(r) {
      const p = { ...body(r), max_tokens: r.max };
      if (r.schema) p.output_config = { format: { type: "json_schema", schema: r.schema.schema } };
      if (r.stop) p.stop_sequences = r.stop;
      if (r.think) p.thinking = { type: "enabled", budget_tokens: 1024 };
      let chunks = 0;
      let got;
      if (r.stream) {
        const stream = sdk(r).messages.stream(p, { signal: r.signal });
        for await (const e of stream) if (e.type === "content_block_delta") chunks++, r.chunk();
        got = await stream.finalMessage();
      } else got = await sdk(r).messages.create(p);
      const of = (type) => got.content.filter((b) => b.type === type);
      return {
        text: of("text").map((b) => b.text).join(""),
        thinking: of("thinking").map((b) => b.thinking).join(""),
        calls: of("tool_use").map((b) => ({ id: b.id, name: b.name, args: b.input })),
        finish: finish[got.stop_reason] ?? got.stop_reason,
        usage: { in: got.usage.input_tokens, out: got.usage.output_tokens, reasoning: got.usage.output_tokens_details?.thinking_tokens },
        chunks,
        turn: { role: "assistant", content: got.content },
      };
    },
  };
}

export const anthropic = [client(Anthropic, "anthropic", "@anthropic-ai/sdk"), client(Old, "anthropic, old API version", "anthropic-old")];
