// Google's SDK: 3.x asks under /v1, 2.x under /v1beta.
import { GoogleGenAI } from "@google/genai";
import { GoogleGenAI as Old } from "genai-old";

function contents(r) {
  return r.history.flatMap((h) => {
    if (h.turn) return [h.turn, { role: "user", parts: h.results.map((t) => ({ functionResponse: { id: t.id, name: t.name, response: { output: t.text } } })) }];
    const parts = [{ text: h.user }];
    if (h.image) parts.push({ inlineData: { mimeType: "image/png", data: h.image } });
    return [{ role: "user", parts }];
  });
}

function client(SDK, name, pkg) {
  const sdk = ({ base, key }) => new SDK({ apiKey: key, httpOptions: { baseUrl: base } });
  return {
    name,
    package: pkg,
    family: "google",
    failure: (err) => ({ class: err.constructor.name, status: err.status }),
    count: async (r) => (await sdk(r).models.countTokens({ model: r.model, contents: contents(r) })).totalTokens,
    embed: async (r, texts) => (await sdk(r).models.embedContent({ model: r.model, contents: texts })).embeddings.map((e) => e.values),
    async ask(r) {
      const config = { systemInstruction: r.system, maxOutputTokens: r.max, abortSignal: r.signal };
      if (r.tools.length) config.tools = [{ functionDeclarations: r.tools.map((f) => ({ name: f.name, description: f.description, parametersJsonSchema: f.parameters })) }];
      if (r.schema) (config.responseMimeType = "application/json"), (config.responseJsonSchema = r.schema.schema);
      if (r.stop) config.stopSequences = r.stop;
      if (r.think) config.thinkingConfig = { includeThoughts: true, thinkingLevel: "LOW" };
      const p = { model: r.model, contents: contents(r), config };
      const parts = [];
      let chunks = 0;
      let last;
      const take = (c) => (parts.push(...(c.candidates?.[0]?.content?.parts ?? [])), (last = c));
      if (r.stream) for await (const c of await sdk(r).models.generateContentStream(p)) take(c), chunks++, r.chunk();
      else take(await sdk(r).models.generateContent(p));
      const text = (thought) => parts.filter((x) => x.text && Boolean(x.thought) === thought).map((x) => x.text).join("");
      const calls = parts.filter((x) => x.functionCall).map(({ functionCall: f }) => ({ id: f.id, name: f.name, args: f.args }));
      const u = last.usageMetadata;
      const reason = last.candidates[0].finishReason;
      return {
        text: text(false),
        thinking: text(true),
        calls,
        finish: reason !== "STOP" ? reason : calls.length ? "tool_calls" : "stop",
        usage: { in: u.promptTokenCount, out: (u.candidatesTokenCount ?? 0) + (u.thoughtsTokenCount ?? 0), reasoning: u.thoughtsTokenCount },
        chunks,
        turn: { role: "model", parts },
      };
    },
  };
}

export const gemini = [client(GoogleGenAI, "google-genai", "@google/genai"), client(Old, "google-genai, old major", "genai-old")];
