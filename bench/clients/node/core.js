// The scenarios, once for every client: what is asked, and what of an answer must be the same
// whichever provider gave it.
import assert from "node:assert/strict";
import { appendFileSync, readFileSync } from "node:fs";
import { inspect } from "node:util";

export const spec = JSON.parse(readFileSync(new URL("../scenarios.json", import.meta.url)));

/** The mesh under test, written by the matrix program: {edge, key, fake, dialects, out}. */
export const mesh = process.env.CAUSEWAY_CLIENTS && JSON.parse(readFileSync(process.env.CAUSEWAY_CLIENTS));

/** NotApplicable says why a client cannot do what a scenario asks. */
export class NotApplicable extends Error {}

export const na = (why) => {
  throw new NotApplicable(why);
};

const direct = () => ({ direct: true, base: mesh.fake, key: "fake-provider-key", model: (name) => name });
const via = (dialect) => ({ dialect, base: mesh.edge, key: mesh.key, model: (name) => `${name}-via-${dialect}` });

const request = (client, s, end) => ({
  base: end.base,
  key: end.key,
  model: end.model((s.think ? spec.reasoning : { [client.family]: spec.families[client.family].model })[client.family]),
  system: spec.system,
  history: [{ user: (s.repeat ?? "").repeat(s.times ?? 0) + s.user, image: s.image && spec.image }],
  tools: s.tools ? spec.tools.slice(0, s.tools) : [],
  schema: s.schema && spec.schema,
  think: s.think ?? false,
  stop: s.stop,
  stream: s.stream ?? false,
  max: 4000,
  chunk() {},
});

/** What an answer means, whatever its protocol: what two ways to the same answer are compared by. */
function meaning(a, s) {
  const m = { finish: a.finish, usage: { out: a.usage?.out, counted: a.usage?.in > 0 } };
  if (s.calls) m.calls = a.calls.map(({ name, args }) => ({ name, args }));
  else if (s.json) m.json = JSON.parse(a.text);
  else if (s.contains) (m.contains = a.text.includes(s.contains)), delete m.usage.out;
  else m.text = a.text;
  if (s.stop) delete m.usage.out; // where the relay stops, the provider wrote on, and counts it
  if (s.think) m.thought = Boolean(a.thinking) || a.usage.reasoning > 0;
  if (s.stream && !s.calls) m.streamed = a.chunks > 1; // calls may come whole
  if (s.atLeast) m.read = a.usage.in >= s.atLeast;
  return m;
}

/** What the answer must mean: the direct call is held to it too. */
function expected(s, m) {
  if (s.calls) assert.deepEqual(m.calls, s.calls);
  if (s.json) assert.deepEqual(m.json, s.json);
  if (s.contains) assert.ok(m.contains, `the answer lacks ${s.contains}`);
  if (s.text !== undefined) assert.equal(m.text, s.text);
  if (s.think) assert.ok(m.thought, "no thinking, and none counted");
  if (s.stream && !s.calls) assert.ok(m.streamed, "came in one piece");
  if (s.atLeast) assert.ok(m.read, "too few input tokens");
  assert.equal(m.finish, s.calls ? "tool_calls" : "stop");
  assert.ok(m.usage.counted, "no input tokens are counted");
}

async function conversation(client, s, end) {
  const ask = request(client, s, end);
  const first = await client.ask(ask);
  if (s.think && end.dialect === "openai-chat" && first.usage.reasoning === undefined) na("Chat Completions counts thinking without showing it, and this client does not tell the count");
  const m = meaning(first, s);
  expected(s, m);
  if (s.results) {
    const results = first.calls.map((c, i) => ({ id: c.id, name: c.name, text: s.results[i] }));
    ask.history.push({ turn: first.turn, results });
    const second = await client.ask(ask);
    for (const text of s.results) assert.ok(second.text.includes(text), `${JSON.stringify(second.text)} lacks ${text}`);
    m.second = second.finish;
  }
  return m;
}

/** The provider's refusals must come as the same exceptions when the relay gives them. */
async function failing(client, s, end) {
  const out = {};
  for (const f of s.failures) {
    const ask = request(client, s, end);
    if (end.direct) ask.model = f.direct;
    else if (f.model) ask.model = end.model(f.model);
    else ask.key = mesh[f.key];
    let err;
    for (let tries = 0; tries < 3 && !err; tries++) await client.ask(ask).catch((e) => (err = e)); // a limit lets the first through
    assert.ok(err, `${f.direct} answered`);
    const got = client.failure(err);
    if (!end.direct) assert.equal(got.status, f.status, `${f.key ?? f.model}: ${err}`);
    out[f.direct] = f.except === client.family ? "refused" : got.class; // Google itself refuses a key with 400
  }
  return out;
}

async function aborted(client, s, end) {
  const controller = new AbortController();
  let chunks = 0;
  const ask = request(client, s, end);
  ask.signal = controller.signal;
  ask.chunk = () => ++chunks === s.abort && controller.abort();
  const ended = await client.ask(ask).then(
    () => "ended",
    (err) => err.name,
  );
  assert.ok(chunks >= s.abort && chunks < 100, `${chunks} chunks of 400 came`);
  return ended;
}

async function counted(client, s, end) {
  if (!client.count) na("the client cannot count tokens");
  const n = await client.count(request(client, s, end));
  assert.ok(n > 3 && n < 60, `${n} tokens`);
  return "counted";
}

async function embedded(client, s, end) {
  if (!client.embed) na("the client has no embeddings");
  const vectors = await client.embed({ ...request(client, s, end), model: end.model(spec.families[client.family].embed) }, s.texts);
  assert.equal(vectors.length, s.texts.length);
  for (const v of vectors) assert.ok(v.length >= 256 && Math.abs(Math.hypot(...v) - 1) < 0.01, `${v.length} dimensions, length ${Math.hypot(...v)}`);
  return "embedded";
}

const kinds = { error: failing, abort: aborted, count: counted, embed: embedded };
const run = (client, s, end) => (kinds[s.name] ?? conversation)(client, s, end);

/** Why a cell failed, in one line. */
function reason(err) {
  const differs = err instanceof assert.AssertionError && err.generatedMessage;
  const text = differs ? `got ${JSON.stringify(err.actual)}, want ${JSON.stringify(err.expected)}` : String(err?.message ?? err);
  return text.split("\n")[0].slice(0, 500);
}

/** One cell of the table: the client's scenario against each provider, compared with the direct call. */
export async function cells(client, s) {
  const record = (provider, status, reason) => {
    const cell = { client: client.name, package: client.package, provider, scenario: s.name, status, reason };
    appendFileSync(mesh.out, JSON.stringify(cell) + "\n");
    return cell;
  };
  const all = (status, reason) => mesh.dialects.map((d) => record(d, status, reason));
  let want;
  try {
    want = await run(client, s, direct());
  } catch (err) {
    return err instanceof NotApplicable ? all("n/a", err.message) : all("n/a", "fails at the provider itself: " + reason(err));
  }
  return Promise.all(
    mesh.dialects.map(async (d) => {
      try {
        assert.deepEqual(await run(client, s, via(d)), want);
        return record(d, "pass");
      } catch (err) {
        const refused = /unsupported_conversion/.test(inspect(err));
        return record(d, refused || err instanceof NotApplicable ? "n/a" : "fail", reason(err));
      }
    }),
  );
}
