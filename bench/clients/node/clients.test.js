import { test } from "node:test";
import { cells, mesh, spec } from "./core.js";
import { aisdk } from "./aisdk.js";
import { anthropic } from "./anthropic.js";
import { gemini } from "./gemini.js";
import { langchain } from "./langchain.js";
import { openai } from "./openai.js";

const why = mesh ? false : "needs a mesh: run it with `make clients`";

for (const client of [...openai, ...anthropic, ...gemini, ...aisdk, ...langchain]) {
  test(client.name, { skip: why, concurrency: true }, async (t) => {
    await Promise.all(
      spec.scenarios.map((s) =>
        t.test(s.name, async () => {
          const bad = (await cells(client, s)).filter((c) => c.status === "fail");
          if (bad.length) throw new Error(bad.map((c) => `${c.provider}: ${c.reason}`).join("\n"));
        }),
      ),
    );
  });
}
